//! What a local cluster consists of: its nodes, their regions, names and ports. Pure: the ports that are taken come
//! in as a function.
//!
//! A cluster with a tag is written to `cluster.json` in its directory, and a later start with that tag gets the same
//! nodes at the same addresses. Storage nodes and SQL servers may be added by a later start, nothing is taken away, and
//! the PD members are fixed, because they are the members of a Raft group.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// The tier that a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Placement driver.
    Pd,
    /// Storage node.
    Kv,
    /// SQL server.
    Sql,
}

impl Role {
    /// All roles, in the order in which they are started.
    pub(crate) const ALL: [Role; 3] = [Role::Pd, Role::Kv, Role::Sql];

    /// The prefix of node names.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Role::Pd => "pd",
            Role::Kv => "kv",
            Role::Sql => "sql",
        }
    }

    /// What a person calls it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Role::Pd => "placement driver",
            Role::Kv => "storage node",
            Role::Sql => "SQL server",
        }
    }

    /// The binary, which stands beside the playground's own.
    pub(crate) fn binary(self) -> &'static str {
        match self {
            Role::Pd => "placement-driver",
            Role::Kv => "storage-node",
            Role::Sql => "sql-server",
        }
    }

    /// The first node's two ports: for clients, and for peers (PD) or status pages. They are TiDB's.
    fn first_ports(self) -> (u16, u16) {
        match self {
            Role::Pd => (2379, 2380),
            Role::Kv => (20160, 20180),
            Role::Sql => (4000, 10080),
        }
    }

    /// How far apart the ports of neighbours are: PD's two ports are neighbours themselves.
    fn port_step(self) -> u16 {
        if self == Role::Pd { 2 } else { 1 }
    }
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Unique in the cluster: `pd-1`, `kv-2`, `sql-1`.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) role: Role,
    /// The region that it stands in: the value of its `region` label.
    pub(crate) region: String,
    /// The zone of the region, and the machine in it, in a cluster with zones: the values of its labels `zone` and `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<Zone>,
    /// The address that others know it by, and that it binds unless it has one in its region's network.
    pub(crate) host: String,
    /// With distance between the regions: its own address in its region's network. It listens there and sends from
    /// there, while the relay listens at `host`. Laid out anew at each start.
    #[serde(skip)]
    pub(crate) own_host: Option<Ipv4Addr>,
    /// Its client port: gRPC and HTTP for PD, gRPC for a storage node, MySQL for a SQL server.
    pub(crate) port: u16,
    /// PD: the port for its peers. Others: the port of the status pages.
    pub(crate) second_port: u16,
}

/// Where in its region a node stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Zone {
    /// Unique among all regions: `eu-west-1b`.
    pub(crate) name: String,
    /// The machine: `eu-west-1b-1`. Nodes of different tiers share one, those of the same tier do not.
    pub(crate) host: String,
}

impl Node {
    /// `host:port` of the client port, as others know it.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// `host:port` of the second port, as others know it.
    pub(crate) fn second_address(&self) -> String {
        format!("{}:{}", self.host, self.second_port)
    }

    /// The address that the server binds.
    pub(crate) fn bound_host(&self) -> String {
        self.own_host.map_or_else(|| self.host.clone(), |own| own.to_string())
    }

    /// Where the node is, as placement rules name it.
    pub(crate) fn labels(&self) -> String {
        let mut labels = format!("region={}", self.region);
        if let Some(zone) = &self.zone {
            labels.push_str(&format!(",zone={},host={}", zone.name, zone.host));
        }
        labels
    }

    /// Whether `target` means this node: by its name, its region, its zone, or `REGION/ZONE` with the zone's name or
    /// what it adds to the region's.
    fn is_meant_by(&self, target: &str) -> bool {
        if self.name == target || self.region == target {
            return true;
        }
        let Some(zone) = &self.zone else { return false };
        let in_region = target.strip_prefix(self.region.as_str()).and_then(|rest| rest.strip_prefix('/'));
        let suffix = zone.name.strip_prefix(self.region.as_str());
        zone.name == target || in_region.is_some_and(|wanted| wanted == zone.name || Some(wanted) == suffix)
    }
}

/// How much a target names. What is done to a wider one is not undone by a narrower one, even if both mean the same
/// nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breadth {
    /// One node.
    Node,
    /// A zone of a region.
    Zone,
    /// A whole region.
    Region,
}

/// A cluster as it is written to `cluster.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// The nodes, in the order in which they are started.
    pub(crate) nodes: Vec<Node>,
    /// It had distance between its regions when it was started last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) wan: bool,
    /// Its servers were started with the fault library then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) faults: bool,
}

impl Cluster {
    /// The nodes of one tier.
    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |n| n.role == role)
    }

    /// PD's client addresses, as the other tiers are told them.
    pub(crate) fn pd_endpoints(&self) -> String {
        self.of(Role::Pd).map(Node::address).collect::<Vec<_>>().join(",")
    }

    /// The regions in which nodes stand, in the order in which they first appear.
    pub(crate) fn regions(&self) -> Vec<String> {
        let mut regions: Vec<String> = Vec::new();
        for node in &self.nodes {
            if !regions.contains(&node.region) {
                regions.push(node.region.clone());
            }
        }
        regions
    }

    /// How many zones a region has at most.
    fn zones(&self) -> usize {
        let in_region = |region: &String| {
            let zones = self.nodes.iter().filter(|n| n.region == *region).filter_map(|n| Some(&n.zone.as_ref()?.name));
            zones.collect::<BTreeSet<_>>().len()
        };
        self.regions().iter().map(in_region).max().unwrap_or(0)
    }

    /// The labels that replicas are spread over, widest first.
    pub(crate) fn location_labels(&self) -> &'static [&'static str] {
        if self.nodes.iter().any(|n| n.zone.is_some()) { &["region", "zone", "host"] } else { &["region"] }
    }

    /// Gives every node an address in its region's network: `127.0.R.N`, R and N counted from 1.
    pub(crate) fn spread_over_networks(&mut self) -> Result<(), PlanError> {
        let regions = self.regions();
        let mut in_region = vec![0usize; regions.len()];
        for node in &mut self.nodes {
            let region = regions.iter().position(|r| *r == node.region).expect("a region of the nodes");
            in_region[region] += 1;
            let octet = |number: usize| u8::try_from(number).ok().filter(|n| *n <= NETWORK_NODES_MAX);
            let (Some(r), Some(n)) = (octet(region + 1), octet(in_region[region])) else {
                return Err(PlanError::TooLargeForNetworks);
            };
            node.own_host = Some(Ipv4Addr::new(127, 0, r, n));
        }
        Ok(())
    }

    /// How much a target names that [`select`](Self::select) finds.
    pub(crate) fn breadth(&self, target: &str) -> Breadth {
        if self.nodes.iter().any(|n| n.region == target) {
            Breadth::Region
        } else if self.nodes.iter().any(|n| n.name == target) {
            Breadth::Node
        } else {
            Breadth::Zone
        }
    }

    /// The nodes meant by a name, a region, or a zone of a region.
    pub(crate) fn select(&self, target: &str) -> Result<Vec<&Node>, String> {
        let found: Vec<&Node> = self.nodes.iter().filter(|n| n.is_meant_by(target)).collect();
        if found.is_empty() {
            let names: Vec<&str> = self.nodes.iter().map(|n| n.name.as_str()).collect();
            let mut zones: Vec<&str> = self.nodes.iter().filter_map(|n| Some(n.zone.as_ref()?.name.as_str())).collect();
            zones.sort_unstable();
            zones.dedup();
            let mut known = format!("nodes: {}; regions: {}", names.join(", "), self.regions().join(", "));
            if !zones.is_empty() {
                known.push_str(&format!("; zones: {}", zones.join(", ")));
            }
            return Err(format!("no node, region or zone is called '{target}'; {known}"));
        }
        Ok(found)
    }
}

/// The regions of a cluster of which nothing else is said.
const DEFAULT_REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];

/// Nodes of one region, and regions, that fit into the loopback networks; what is above belongs to the relay.
const NETWORK_NODES_MAX: u8 = 200;

/// What the user asked for. A count or port that is `None` was not mentioned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// PD members.
    pub(crate) pd: Option<usize>,
    /// Storage nodes.
    pub(crate) kv: Option<usize>,
    /// SQL servers.
    pub(crate) sql: Option<usize>,
    /// Region names, dealt round-robin over the nodes of each tier; empty for those of the saved cluster, or the usual.
    pub(crate) regions: Vec<String>,
    /// Zones in each region; `None` for none, or as in the saved cluster.
    pub(crate) zones: Option<usize>,
    /// The address to bind.
    pub(crate) host: String,
    /// First client port of the PDs.
    pub(crate) pd_port: Option<u16>,
    /// First client port of the storage nodes.
    pub(crate) kv_port: Option<u16>,
    /// First port of the SQL servers.
    pub(crate) sql_port: Option<u16>,
}

impl Wanted {
    fn count(&self, role: Role) -> Option<usize> {
        match role {
            Role::Pd => self.pd,
            Role::Kv => self.kv,
            Role::Sql => self.sql,
        }
    }

    fn first_port(&self, role: Role) -> Option<u16> {
        match role {
            Role::Pd => self.pd_port,
            Role::Kv => self.kv_port,
            Role::Sql => self.sql_port,
        }
    }
}

/// Why no cluster could be laid out; the text says what to change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// The user asked for a port that somebody else has.
    #[error("port {port} for {name} is in use by {owner}; stop it or choose another with {flag}")]
    PortTaken {
        /// The port.
        port: u16,
        /// The node that was to have it.
        name: String,
        /// Who has it, as far as can be found out.
        owner: String,
        /// The flag that sets it.
        flag: String,
    },
    /// Nothing is free above the first port.
    #[error("no free port for {0} above {1}")]
    NoFreePort(String, u16),
    /// A saved cluster cannot shrink, and its PD members are fixed.
    #[error("the saved cluster has {saved} × {role}, and {wanted} were asked for: {hint}")]
    CountDiffers {
        /// The tier.
        role: &'static str,
        /// Nodes it has.
        saved: usize,
        /// Nodes asked for.
        wanted: usize,
        /// What to do.
        hint: &'static str,
    },
    /// The zones of a saved cluster are in its labels.
    #[error(
        "the saved cluster has {saved} zones in a region, and {wanted} were asked for: leave --zones out, or `clean` the tag"
    )]
    ZonesDiffer {
        /// Zones it has.
        saved: usize,
        /// Zones asked for.
        wanted: usize,
    },
    /// The regions of a saved cluster are in its labels.
    #[error(
        "the saved cluster has its nodes in {saved}, and {wanted} were asked for, which would place {node} elsewhere: \
         leave --regions out, or `clean` the tag"
    )]
    RegionsDiffer {
        /// Regions it has.
        saved: String,
        /// Regions asked for.
        wanted: String,
        /// The first node that would stand in another one.
        node: String,
    },
    /// Commands could not tell them apart.
    #[error("a region can't be called '{0}', as nodes are: commands could not tell them apart")]
    RegionNamedLikeNode(String),
    /// Nodes would be dealt to it more often than to others, and nobody can have meant that.
    #[error("region '{0}' is named twice: name each region once, nodes are dealt over them in turn")]
    RegionTwice(String),
    /// More regions, or nodes in one, than there are addresses for.
    #[error("a cluster with --wan has room for {NETWORK_NODES_MAX} regions and {NETWORK_NODES_MAX} nodes in each")]
    TooLargeForNetworks,
}

/// Lays out the cluster: the saved nodes, then those that are new. `owner_of(host, port)` tells who listens there.
pub(crate) fn plan(
    saved: Option<Cluster>,
    wanted: &Wanted,
    owner_of: &mut dyn FnMut(&str, u16) -> Option<String>,
) -> Result<Cluster, PlanError> {
    let is_new = saved.is_none();
    let saved = saved.unwrap_or_default();
    let zones = wanted.zones.unwrap_or_else(|| saved.zones());
    if !is_new && zones != saved.zones() {
        return Err(PlanError::ZonesDiffer { saved: saved.zones(), wanted: zones });
    }
    let regions = regions(&saved, &wanted.regions)?;
    let mut used: Vec<u16> = Vec::new();
    let mut nodes = Vec::new();
    for role in Role::ALL {
        let mut tier: Vec<Node> = saved.of(role).cloned().collect();
        let count = wanted.count(role).unwrap_or(if is_new { 1 } else { tier.len() });
        if count < tier.len() {
            return Err(PlanError::CountDiffers {
                role: role.title(),
                saved: tier.len(),
                wanted: count,
                hint: "nodes are not taken away; leave the flag out, or `clean` the tag to begin anew",
            });
        }
        if !is_new && role == Role::Pd && count != tier.len() {
            return Err(PlanError::CountDiffers {
                role: role.title(),
                saved: tier.len(),
                wanted: count,
                hint: "the members of a PD group are fixed when it is created; `clean` the tag to begin anew",
            });
        }
        // A saved node keeps its ports unless somebody took them meanwhile.
        for node in &mut tier {
            let mut taken = |port: u16| owner_of(&node.host, port).is_some() || used.contains(&port);
            if taken(node.port) {
                node.port = next_free(node.port, role.port_step(), &mut taken)
                    .ok_or_else(|| PlanError::NoFreePort(node.name.clone(), node.port))?;
            }
            used.push(node.port);
            let mut taken = |port: u16| owner_of(&node.host, port).is_some() || used.contains(&port);
            if taken(node.second_port) {
                node.second_port = next_free(node.second_port, role.port_step(), &mut taken)
                    .ok_or_else(|| PlanError::NoFreePort(node.name.clone(), node.second_port))?;
            }
            used.push(node.second_port);
        }
        let (default_first, default_second) = role.first_ports();
        let first = wanted.first_port(role).unwrap_or(default_first);
        for index in tier.len()..count {
            let name = format!("{}-{}", role.prefix(), index + 1);
            let offset = index as u16 * role.port_step();
            let mut port = first + offset;
            let mut taken = |port: u16| owner_of(&wanted.host, port).is_some() || used.contains(&port);
            if taken(port) {
                if wanted.first_port(role).is_some() {
                    let owner = owner_of(&wanted.host, port).unwrap_or_else(|| "another node".to_owned());
                    let flag = format!("--{}-port", role.prefix());
                    return Err(PlanError::PortTaken { port, name, owner, flag });
                }
                port = next_free(port, role.port_step(), &mut taken)
                    .ok_or_else(|| PlanError::NoFreePort(name.clone(), port))?;
            }
            used.push(port);
            let mut second_port = if role == Role::Pd { port + 1 } else { default_second + offset };
            let mut taken = |port: u16| owner_of(&wanted.host, port).is_some() || used.contains(&port);
            if taken(second_port) {
                second_port = next_free(second_port, role.port_step(), &mut taken)
                    .ok_or_else(|| PlanError::NoFreePort(name.clone(), second_port))?;
            }
            used.push(second_port);
            let region = regions[index % regions.len()].clone();
            let before = tier.iter().filter(|n| n.region == region).count();
            let zone = (zones > 0).then(|| zone(&region, zones, before));
            tier.push(Node { name, role, region, zone, host: wanted.host.clone(), own_host: None, port, second_port });
        }
        nodes.extend(tier);
    }
    Ok(Cluster { nodes, ..saved })
}

/// The regions that nodes are dealt over: those that are asked for, if the saved nodes stand where these deal them.
fn regions(saved: &Cluster, wanted: &[String]) -> Result<Vec<String>, PlanError> {
    if let Some(region) = wanted.iter().find(|region| is_named_like_node(region)) {
        return Err(PlanError::RegionNamedLikeNode(region.clone()));
    }
    if let Some((_, twice)) = wanted.iter().enumerate().find(|(i, region)| wanted[..*i].contains(region)) {
        return Err(PlanError::RegionTwice(twice.clone()));
    }
    let elsewhere = |regions: &[String]| {
        let mut tiers = Role::ALL.iter().map(|role| saved.of(*role).enumerate());
        tiers.find_map(|mut tier| {
            tier.find(|(i, n)| n.region != regions[i % regions.len()]).map(|(_, n)| n.name.clone())
        })
    };
    if wanted.is_empty() {
        let usual = DEFAULT_REGIONS.map(String::from).to_vec();
        return Ok(if elsewhere(&usual).is_none() { usual } else { saved.regions() });
    }
    match elsewhere(wanted) {
        Some(node) => {
            Err(PlanError::RegionsDiffer { saved: saved.regions().join(", "), wanted: wanted.join(", "), node })
        }
        None => Ok(wanted.to_vec()),
    }
}

fn is_named_like_node(region: &str) -> bool {
    let number = |role: &Role| region.strip_prefix(role.prefix())?.strip_prefix('-')?.parse::<u32>().ok();
    Role::ALL.iter().any(|role| number(role).is_some())
}

/// Where the next node of a tier stands in a region that has `before` of that tier already: zones are dealt round-robin.
fn zone(region: &str, zones: usize, before: usize) -> Zone {
    let letter = char::from(b'a' + (before % zones) as u8);
    let name = format!("{region}{letter}");
    Zone { host: format!("{name}-{}", before / zones + 1), name }
}

/// Ports are searched this many steps up before giving up.
const PORT_STEPS_MAX: u16 = 200;

fn next_free(from: u16, step: u16, taken: &mut dyn FnMut(u16) -> bool) -> Option<u16> {
    (1..=PORT_STEPS_MAX).filter_map(|i| from.checked_add(i * step)).find(|port| !taken(*port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            pd: Some(3),
            kv: Some(3),
            sql: Some(2),
            regions: ["us-east-1", "us-west-2", "eu-west-1"].map(String::from).to_vec(),
            host: "127.0.0.1".into(),
            ..Wanted::default()
        }
    }

    fn describe(cluster: &Cluster) -> Vec<String> {
        let line = |n: &Node| format!("{} {} {}/{}", n.name, n.region, n.port, n.second_port);
        cluster.nodes.iter().map(line).collect()
    }

    #[test]
    fn regions_are_dealt_round_robin_over_each_tier_and_ports_are_tidbs() {
        let cluster = plan(None, &wanted(), &mut |_, _| None).unwrap();
        assert_eq!(
            describe(&cluster),
            [
                "pd-1 us-east-1 2379/2380",
                "pd-2 us-west-2 2381/2382",
                "pd-3 eu-west-1 2383/2384",
                "kv-1 us-east-1 20160/20180",
                "kv-2 us-west-2 20161/20181",
                "kv-3 eu-west-1 20162/20182",
                "sql-1 us-east-1 4000/10080",
                "sql-2 us-west-2 4001/10081",
            ]
        );
    }

    #[test]
    fn a_busy_default_port_is_passed_over_and_an_asked_one_is_named_with_its_owner() {
        let mut busy = |_: &str, port: u16| (port == 4000).then(|| "mysqld (pid 7)".to_owned());
        let cluster = plan(None, &wanted(), &mut busy).unwrap();
        let ports: Vec<u16> = cluster.of(Role::Sql).map(|n| n.port).collect();
        assert_eq!(ports, [4001, 4002]);
        let asked = Wanted { sql_port: Some(4000), ..wanted() };
        let error = plan(None, &asked, &mut busy).unwrap_err().to_string();
        assert_eq!(error, "port 4000 for sql-1 is in use by mysqld (pid 7); stop it or choose another with --sql-port");
    }

    #[test]
    fn a_saved_cluster_comes_back_as_it_was_and_grows_but_never_shrinks() {
        let first = plan(None, &wanted(), &mut |_, _| None).unwrap();
        let silent = Wanted { pd: None, kv: None, sql: None, ..wanted() };
        assert_eq!(plan(Some(first.clone()), &silent, &mut |_, _| None).unwrap(), first);
        let more = Wanted { kv: Some(4), ..silent.clone() };
        let grown = plan(Some(first.clone()), &more, &mut |_, _| None).unwrap();
        assert_eq!(grown.of(Role::Kv).last().unwrap().name, "kv-4");
        let fewer = Wanted { kv: Some(2), ..silent.clone() };
        assert!(matches!(
            plan(Some(first.clone()), &fewer, &mut |_, _| None),
            Err(PlanError::CountDiffers { saved: 3, wanted: 2, .. })
        ));
        let more_pd = Wanted { pd: Some(5), ..silent };
        assert!(matches!(plan(Some(first), &more_pd, &mut |_, _| None), Err(PlanError::CountDiffers { .. })));
    }

    #[test]
    fn other_regions_for_a_saved_cluster_are_refused_and_its_own_need_not_be_said() {
        let own = Wanted { regions: ["a", "b"].map(String::from).to_vec(), ..wanted() };
        let saved = plan(None, &own, &mut |_, _| None).unwrap();
        assert_eq!(plan(Some(saved.clone()), &own, &mut |_, _| None).unwrap(), saved);
        let other = Wanted { regions: ["a", "c"].map(String::from).to_vec(), ..wanted() };
        let error = plan(Some(saved.clone()), &other, &mut |_, _| None).unwrap_err().to_string();
        assert!(error.contains("nodes in a, b, and a, c were asked for") && error.contains("pd-2"), "{error}");
        let unsaid = Wanted { regions: Vec::new(), kv: Some(5), ..wanted() };
        let grown = plan(Some(saved), &unsaid, &mut |_, _| None).unwrap();
        let regions: Vec<&str> = grown.of(Role::Kv).map(|n| n.region.as_str()).collect();
        assert_eq!(regions, ["a", "b", "a", "b", "a"]);

        let small = Wanted { pd: Some(1), kv: Some(1), sql: Some(1), ..wanted() };
        let small = plan(None, &small, &mut |_, _| None).unwrap();
        let unsaid = Wanted { pd: None, sql: None, regions: Vec::new(), ..wanted() };
        let grown = plan(Some(small), &unsaid, &mut |_, _| None).unwrap();
        assert_eq!(grown.regions(), DEFAULT_REGIONS, "where nothing else was ever said");
    }

    #[test]
    fn a_region_that_is_named_like_a_node_is_refused() {
        for name in ["kv-1", "pd-2", "sql-30"] {
            let wanted = Wanted { regions: vec!["eu".into(), name.into()], ..wanted() };
            let error = plan(None, &wanted, &mut |_, _| None).unwrap_err();
            assert_eq!(error, PlanError::RegionNamedLikeNode(name.into()));
        }
        let fine = Wanted { regions: vec!["kv-east".into(), "sql-".into()], ..wanted() };
        assert!(plan(None, &fine, &mut |_, _| None).is_ok());
    }

    #[test]
    fn a_region_that_is_named_twice_is_refused() {
        let twice = Wanted { regions: ["a", "b", "a"].map(String::from).to_vec(), ..wanted() };
        assert_eq!(plan(None, &twice, &mut |_, _| None), Err(PlanError::RegionTwice("a".into())));
    }

    #[test]
    fn a_target_is_a_node_or_a_whole_region_and_a_wrong_one_lists_both() {
        let cluster = plan(None, &wanted(), &mut |_, _| None).unwrap();
        let names = |target| cluster.select(target).unwrap().iter().map(|n| n.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names("kv-2"), ["kv-2"]);
        assert_eq!(names("eu-west-1"), ["pd-3", "kv-3"]);
        let error = cluster.select("mars").unwrap_err();
        assert!(error.contains("pd-1, pd-2") && error.contains("eu-west-1"), "{error}");
        assert!(cluster.select("eu-west-1/a").is_err(), "it has no zones");
    }

    #[test]
    fn zones_are_dealt_in_each_region_and_a_target_can_be_one() {
        let cluster = plan(None, &Wanted { kv: Some(12), zones: Some(2), ..wanted() }, &mut |_, _| None).unwrap();
        let labels: Vec<String> = cluster.of(Role::Kv).filter(|n| n.region == "eu-west-1").map(Node::labels).collect();
        assert_eq!(
            labels,
            [
                "region=eu-west-1,zone=eu-west-1a,host=eu-west-1a-1",
                "region=eu-west-1,zone=eu-west-1b,host=eu-west-1b-1",
                "region=eu-west-1,zone=eu-west-1a,host=eu-west-1a-2",
                "region=eu-west-1,zone=eu-west-1b,host=eu-west-1b-2",
            ]
        );
        let names = |target| cluster.select(target).unwrap().iter().map(|n| n.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names("eu-west-1/b"), ["kv-6", "kv-12"]);
        assert_eq!(names("eu-west-1/eu-west-1b"), names("eu-west-1/b"));
        assert_eq!(names("eu-west-1b"), names("eu-west-1/b"));
        assert!(cluster.select("eu-west-1/c").unwrap_err().contains("zones: eu-west-1a, eu-west-1b"));
        let grown = plan(Some(cluster), &Wanted { kv: Some(13), ..wanted() }, &mut |_, _| None).unwrap();
        assert_eq!(grown.of(Role::Kv).last().unwrap().labels(), "region=us-east-1,zone=us-east-1a,host=us-east-1a-3");
        let other = plan(Some(grown), &Wanted { zones: Some(3), ..wanted() }, &mut |_, _| None);
        assert_eq!(other, Err(PlanError::ZonesDiffer { saved: 2, wanted: 3 }));
    }

    #[test]
    fn every_region_has_a_network_and_every_node_an_address_in_it() {
        let mut cluster = plan(None, &wanted(), &mut |_, _| None).unwrap();
        cluster.spread_over_networks().unwrap();
        let hosts: Vec<String> = cluster.nodes.iter().map(|n| format!("{} {}", n.name, n.bound_host())).collect();
        assert_eq!(
            hosts,
            [
                "pd-1 127.0.1.1",
                "pd-2 127.0.2.1",
                "pd-3 127.0.3.1",
                "kv-1 127.0.1.2",
                "kv-2 127.0.2.2",
                "kv-3 127.0.3.2",
                "sql-1 127.0.1.3",
                "sql-2 127.0.2.3",
            ]
        );
        assert_eq!(cluster.nodes[0].address(), "127.0.0.1:2379", "others know it by the relay's address");
    }
}
