//! What is done to links, and how it is undone: other properties, cuts, and nodes that are cut off.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use wan::control::{LinkState, Request, Response};
use wan::shape::ShapeChange;

use super::{Isolation, Wan};
use crate::spec::{Breadth, Cluster};

/// What becomes of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LinkChange {
    /// Other properties; those that are not named stay.
    Shape(ShapeChange),
    /// Nothing passes.
    Cut,
    /// Nothing passes in the first direction.
    CutOneWay,
    /// As at the start.
    Heal,
}

impl LinkChange {
    /// Reads the properties as they are written on a command line.
    pub(crate) fn shape(
        rtt: Option<&str>,
        jitter: Option<&str>,
        bandwidth: Option<&str>,
        loss: Option<&str>,
    ) -> anyhow::Result<LinkChange> {
        Ok(LinkChange::Shape(ShapeChange {
            rtt: rtt.map(str::parse).transpose().context("--rtt")?,
            jitter: jitter.map(str::parse).transpose().context("--jitter")?,
            bandwidth: bandwidth.map(str::parse).transpose().context("--bandwidth")?,
            loss: loss.map(str::parse).transpose().context("--loss")?,
        }))
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkChange::Cut => f.write_str("cut"),
            LinkChange::CutOneWay => f.write_str("cut one way"),
            LinkChange::Heal => f.write_str("healed"),
            LinkChange::Shape(change) => {
                let mut parts = Vec::new();
                let mut add = |name: &str, value: Option<String>| parts.extend(value.map(|v| format!("{name} {v}")));
                add("rtt", change.rtt.map(|v| v.to_string()));
                add("jitter", change.jitter.map(|v| v.to_string()));
                add("bandwidth", change.bandwidth.map(|v| v.to_string()));
                add("loss", change.loss.map(|v| v.to_string()));
                f.write_str(&parts.join(", "))
            }
        }
    }
}

impl Wan {
    /// The addresses of nodes in their regions' networks.
    fn hosts(&self, nodes: &[String]) -> Vec<Ipv4Addr> {
        self.hosts.iter().filter(|(name, _)| nodes.contains(name)).map(|(_, host)| *host).collect()
    }

    /// Changes a link. Returns what it is like then.
    pub(crate) async fn change_link(&self, from: &str, to: &str, change: &LinkChange) -> anyhow::Result<String> {
        let (from, to) = (from.to_owned(), to.to_owned());
        if from == to && matches!(change, LinkChange::Cut | LinkChange::CutOneWay) {
            bail!(
                "a region is not cut off from itself; name two regions, or isolate a node: {}",
                self.regions.join(", ")
            );
        }
        let (a, b) = (from.clone(), to.clone());
        match change {
            LinkChange::Cut => self.call(&Request::Cut { from, to, one_way: false }).await?,
            LinkChange::CutOneWay => self.call(&Request::Cut { from, to, one_way: true }).await?,
            LinkChange::Shape(change) => {
                self.call(&Request::SetLink { from, to, one_way: false, change: *change }).await?
            }
            LinkChange::Heal => {
                self.restore(&a, &b).await?;
                Response::Done(())
            }
        };
        let states = self.link_states().await?;
        let mut text = String::new();
        for state in states.iter().filter(|l| (l.from == a && l.to == b) || (l.from == b && l.to == a)) {
            let how = match (state.cut, change) {
                (true, LinkChange::Shape(_)) => format!("{}, once it is no longer cut", state.shape),
                (true, _) => "cut".to_owned(),
                (false, _) => state.shape.to_string(),
            };
            text.push_str(&format!("{} to {}: {how}\n", state.from, state.to));
        }
        Ok(text.trim_end().to_owned())
    }

    /// Makes both directions of a link what they were at the start.
    async fn restore(&self, a: &str, b: &str) -> anyhow::Result<()> {
        self.call(&Request::Heal { from: a.to_owned(), to: b.to_owned(), one_way: false }).await?;
        for state in self.link_states().await? {
            let meant = (state.from == a && state.to == b) || (state.from == b && state.to == a);
            if meant && state.shape != state.original {
                let (from, to, change) = (state.from, state.to, state.original.into());
                self.call(&Request::SetLink { from, to, one_way: true, change }).await?;
            }
        }
        Ok(())
    }

    /// Cuts the nodes off from everything that is not among them.
    pub(crate) async fn isolate(&self, target: &str, breadth: Breadth, nodes: &[String]) -> anyhow::Result<String> {
        if self.regions.iter().any(|r| r == target) {
            if self.regions.len() == 1 {
                bail!("there is no region that {target} could be cut off from");
            }
            for other in self.regions.iter().filter(|r| *r != target) {
                self.call(&Request::Cut { from: target.to_owned(), to: other.clone(), one_way: false }).await?;
            }
        } else {
            self.call(&Request::Isolate { name: target.to_owned(), hosts: self.hosts(nodes) }).await?;
            let mut isolated = self.isolated.lock();
            if !isolated.iter().any(|i| i.target == target) {
                isolated.push(Isolation { target: target.to_owned(), breadth, nodes: nodes.to_vec() });
            }
        }
        Ok(format!("{target} is cut off from everything else"))
    }

    /// Undoes what was done to links. Returns a line for each that was.
    pub(crate) async fn heal_all(&self) -> anyhow::Result<Vec<String>> {
        let disturbed = self.disturbed().await?;
        self.call(&Request::HealAll).await?;
        self.isolated.lock().clear();
        Ok(disturbed.into_iter().map(|what| format!("no longer: {what}")).collect())
    }

    /// Undoes the isolation of what is among the target's nodes and no wider than it, and if it is a region what was done
    /// to its links.
    pub(crate) async fn heal_target(
        &self,
        target: &str,
        breadth: Breadth,
        nodes: &[String],
    ) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        let isolated = self.isolated.lock().clone();
        for Isolation { target: name, .. } in isolated.into_iter().filter(|i| i.is_undone_by(breadth, nodes)) {
            self.call(&Request::Rejoin { name: name.clone() }).await?;
            self.isolated.lock().retain(|i| i.target != name);
            lines.push(format!("{name} is connected again"));
        }
        if self.regions.iter().any(|r| r == target) {
            for state in self.link_states().await? {
                if state.from == target && !disturbances(&state).is_empty() {
                    self.restore(&state.from, &state.to).await?;
                    lines.push(format!("the link between {} and {} is as at the start", state.from, state.to));
                } else if state.to == target && !disturbances(&state).is_empty() {
                    self.restore(&state.from, &state.to).await?;
                }
            }
        }
        Ok(lines)
    }

    /// What is not as at the start, a sentence each.
    pub(crate) async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
        let mut sentences: Vec<String> = self.link_states().await?.iter().flat_map(disturbances).collect();
        sentences.extend(self.isolated.lock().iter().map(|i| format!("{} is cut off", i.target)));
        Ok(sentences)
    }

    /// The nodes that are cut off, alone or with their zone or region.
    pub(crate) async fn cut_off(&self, cluster: &Cluster) -> anyhow::Result<Vec<String>> {
        let links = self.link_states().await?;
        let isolated = self.isolated.lock();
        let off = cluster.nodes.iter().filter(|n| is_cut_off(&n.name, &n.region, &isolated, &links));
        Ok(off.map(|n| n.name.clone()).collect())
    }

    /// What still cuts a target off, and how that is undone, a phrase each.
    pub(crate) async fn cuts(&self, cluster: &Cluster, target: &str) -> anyhow::Result<Vec<String>> {
        let nodes = cluster.select(target).map_err(anyhow::Error::msg)?;
        let Some(first) = nodes.first() else { return Ok(Vec::new()) };
        let links = self.link_states().await?;
        let isolated = self.isolated.lock();
        Ok(cuts_of(&first.name, &first.region, &isolated, &links))
    }
}

impl Isolation {
    /// Whether healing a target with these nodes ends it.
    fn is_undone_by(&self, breadth: Breadth, nodes: &[String]) -> bool {
        self.breadth <= breadth && self.nodes.iter().all(|node| nodes.contains(node))
    }
}

/// Whether everything outside of a node, its zone or its region is cut off from it.
fn is_cut_off(node: &str, region: &str, isolated: &[Isolation], links: &[LinkState]) -> bool {
    isolated.iter().any(|i| i.nodes.iter().any(|n| n == node)) || has_no_link(region, links)
}

fn has_no_link(region: &str, links: &[LinkState]) -> bool {
    let mut far = links.iter().filter(|l| l.from != l.to && (l.from == region || l.to == region)).peekable();
    far.peek().is_some() && far.all(|l| l.cut)
}

/// What cuts a node of a region off, and how that is undone.
fn cuts_of(node: &str, region: &str, isolated: &[Isolation], links: &[LinkState]) -> Vec<String> {
    let around = isolated.iter().filter(|i| i.nodes.iter().any(|n| n == node));
    let mut cuts: Vec<String> = around.map(|i| format!("{} is isolated (ctl heal {})", i.target, i.target)).collect();
    let far = links.iter().filter(|l| l.from != l.to && (l.from == region || l.to == region));
    let cut: Vec<&LinkState> = far.filter(|l| l.cut).collect();
    if has_no_link(region, links) {
        cuts.push(format!("{region} is isolated (ctl heal {region})"));
        return cuts;
    }
    for link in &cut {
        let LinkState { from, to, .. } = link;
        let back = cut.iter().any(|l| l.from == *to && l.to == *from);
        if back && to == region {
            continue; // told already
        }
        let way = if back { format!("between {from} and {to}") } else { format!("from {from} to {to}") };
        cuts.push(format!("nothing passes {way} (ctl link {from} {to} --heal)"));
    }
    cuts
}

/// What is not as at the start about one direction, a sentence each: a cut hides no other change, which outlasts it.
fn disturbances(link: &LinkState) -> Vec<String> {
    let LinkState { from, to, shape, original, cut } = link;
    let cut = cut.then(|| format!("nothing passes from {from} to {to}"));
    let changed = (shape != original).then(|| format!("{from} to {to}: {shape} instead of {original}"));
    cut.into_iter().chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(from: &str, to: &str, cut: bool) -> LinkState {
        let (shape, original) = Default::default();
        LinkState { from: from.into(), to: to.into(), shape, original, cut }
    }

    fn isolation(target: &str, breadth: Breadth, nodes: &[&str]) -> Isolation {
        Isolation { target: target.into(), breadth, nodes: nodes.iter().map(|n| (*n).to_owned()).collect() }
    }

    #[test]
    fn a_link_that_is_made_slower_while_it_is_cut_is_disturbed_in_two_ways() {
        let mut state = link("us", "eu", false);
        assert_eq!(disturbances(&state), [""; 0]);
        state.cut = true;
        assert_eq!(disturbances(&state), ["nothing passes from us to eu"]);
        state.shape.rtt = "200ms".parse().unwrap();
        let both = disturbances(&state);
        assert_eq!((both.len(), both[0].as_str()), (2, "nothing passes from us to eu"));
        assert!(both[1].starts_with("us to eu: ") && both[1].contains("200"), "{both:?}");
    }

    #[test]
    fn healing_a_node_leaves_the_isolation_of_its_zone_even_if_it_stands_there_alone() {
        let zone = isolation("us/b", Breadth::Zone, &["kv-4"]);
        let node = isolation("kv-4", Breadth::Node, &["kv-4"]);
        let alone = ["kv-4".to_owned()];
        assert!(!zone.is_undone_by(Breadth::Node, &alone));
        assert!(zone.is_undone_by(Breadth::Zone, &alone) && node.is_undone_by(Breadth::Node, &alone));
        let more = ["kv-3".to_owned(), "kv-4".to_owned()];
        assert!(zone.is_undone_by(Breadth::Region, &more) && node.is_undone_by(Breadth::Region, &more));
        assert!(!isolation("us/b", Breadth::Zone, &["kv-4", "kv-5"]).is_undone_by(Breadth::Zone, &alone));
    }

    #[test]
    fn a_node_that_a_wider_cut_keeps_off_is_told_of_it_and_of_what_undoes_it() {
        let open = [link("us", "eu", false), link("eu", "us", false), link("us", "ap", false), link("ap", "us", false)];
        assert_eq!(cuts_of("kv-1", "us", &[], &open), [""; 0]);
        let zone = [isolation("us/a", Breadth::Zone, &["kv-1", "kv-2"])];
        assert_eq!(cuts_of("kv-1", "us", &zone, &open), ["us/a is isolated (ctl heal us/a)"]);
        assert_eq!(cuts_of("kv-3", "us", &zone, &open), [""; 0]);
        assert!(is_cut_off("kv-1", "us", &zone, &open) && !is_cut_off("kv-3", "us", &zone, &open));
        let apart = [link("us", "eu", true), link("eu", "us", true), link("us", "ap", true), link("ap", "us", true)];
        assert_eq!(cuts_of("kv-1", "us", &[], &apart), ["us is isolated (ctl heal us)"]);
        assert!(is_cut_off("kv-1", "us", &[], &apart) && !is_cut_off("kv-1", "us", &[], &open));
        let one = [link("us", "eu", true), link("eu", "us", true), link("us", "ap", false), link("ap", "us", true)];
        assert_eq!(
            cuts_of("kv-1", "us", &[], &one),
            [
                "nothing passes between us and eu (ctl link us eu --heal)",
                "nothing passes from ap to us (ctl link ap us --heal)"
            ]
        );
        assert_eq!(cuts_of("kv-9", "ap", &[], &[link("us", "eu", true), link("us", "ap", false)]), [""; 0]);
    }
}
