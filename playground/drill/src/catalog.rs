//! The drills by name: what each breaks, how it is healed, and what is expected of the cluster meanwhile.
//!
//! [`plan`] is pure: it takes a description of the cluster and says what will be done, or by name what the cluster
//! lacks. The actions are data; [`crate::cluster::Cluster::act`] carries them out, and they are printed and written to
//! the report as the sentences that [`Action`]'s `Display` makes.
//!
//! Invariants: every action that breaks something has its opposite in [`Plan::heal`]; a region is silenced only if the
//! fault itself may take every way to answer from it, and then the expectation names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How much longer a slow link's round trip becomes, milliseconds.
pub const SLOW_LINK_RTT_MS: u64 = 300;
/// How long a slow disk takes for a sync, milliseconds.
pub const SLOW_DISK_MS: u64 = 80;
/// How far a clock jumps, milliseconds.
pub const CLOCK_JUMP_MS: i64 = 30_000;

/// A drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// All processes of one region are killed
    RegionFailure,
    /// The link between two regions is cut; both still see the third
    RegionPartition,
    /// One region's packets to another are lost; those of the other direction arrive
    OneWayCut,
    /// One region is cut off from both others
    Minority,
    /// The leader of the placement drivers is killed
    PdLeader,
    /// A storage node is stopped in its tracks (SIGSTOP) and goes on later
    StorePause,
    /// The round trip between two regions takes 300 ms longer
    SlowLink,
    /// Every sync of a storage node's disk takes 80 ms longer
    SlowDisk,
    /// The clocks of a placement driver and a storage node jump by half a minute, in opposite directions
    ClockJump,
    /// Every process is restarted, one after the other
    RollingRestart,
}

impl Name {
    /// All drills, in the order in which they are documented.
    pub const ALL: [Name; 10] = [
        Name::RegionFailure,
        Name::RegionPartition,
        Name::OneWayCut,
        Name::Minority,
        Name::PdLeader,
        Name::StorePause,
        Name::SlowLink,
        Name::SlowDisk,
        Name::ClockJump,
        Name::RollingRestart,
    ];

    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Name::RegionFailure => "region-failure",
            Name::RegionPartition => "region-partition",
            Name::OneWayCut => "one-way-cut",
            Name::Minority => "minority",
            Name::PdLeader => "pd-leader",
            Name::StorePause => "store-pause",
            Name::SlowLink => "slow-link",
            Name::SlowDisk => "slow-disk",
            Name::ClockJump => "clock-jump",
            Name::RollingRestart => "rolling-restart",
        }
    }

    fn needs_wan(self) -> bool {
        matches!(self, Name::RegionPartition | Name::OneWayCut | Name::Minority | Name::SlowLink)
    }

    fn needs_faults(self) -> bool {
        matches!(self, Name::SlowDisk | Name::ClockJump)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tier that a process belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Placement driver.
    Pd,
    /// Storage node.
    Kv,
    /// SQL server.
    Sql,
}

/// One process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// `pd-1`, `kv-2`, `sql-3`.
    pub name: String,
    /// Its tier.
    pub tier: Tier,
    /// The region in which it stands.
    pub region: String,
}

/// What a plan has to know about the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The regions, in the cluster's order. Clients are started in each of them.
    pub regions: Vec<String>,
    /// The processes.
    pub nodes: Vec<NodeInfo>,
    /// The name of the PD member that leads, if that is known.
    pub pd_leader: Option<String>,
    /// Whether traffic between regions goes through the relay, which can delay and cut it.
    pub wan: bool,
    /// Whether the servers run with the library that can slow their disks and turn their clocks.
    pub faults: bool,
}

impl Topology {
    /// The SQL servers that stand in each region.
    pub fn homes(&self) -> BTreeMap<String, Vec<String>> {
        let home =
            |region: &String| self.of(Tier::Sql).filter(|n| n.region == *region).map(|n| n.name.clone()).collect();
        self.regions.iter().map(|region| (region.clone(), home(region))).collect()
    }

    fn of(&self, tier: Tier) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(move |n| n.tier == tier)
    }

    fn inhabited(&self) -> Vec<&str> {
        let here: BTreeSet<&str> = self.nodes.iter().map(|n| n.region.as_str()).collect();
        self.regions.iter().map(String::as_str).filter(|r| here.contains(r)).collect()
    }

    fn region_of(&self, node: &str) -> Option<&str> {
        self.nodes.iter().find(|n| n.name == node).map(|n| n.region.as_str())
    }
}

/// Something done to the cluster. `target` and `node` are names of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Kill processes at the same moment, without a chance to say goodbye (SIGKILL).
    Kill {
        /// The processes.
        nodes: Vec<String>,
    },
    /// Start processes that were killed, and wait until they answer.
    Start {
        /// The processes.
        nodes: Vec<String>,
    },
    /// Stop a process in its tracks (SIGSTOP).
    Pause {
        /// The process.
        node: String,
    },
    /// Let a paused process go on (SIGCONT).
    Resume {
        /// The process.
        node: String,
    },
    /// Stop a process as an operator would (SIGTERM), start it again and wait until it answers.
    Restart {
        /// The process.
        node: String,
    },
    /// Cut the link between two regions: existing connections go silent, new ones do not come about.
    Cut {
        /// The region whose packets are lost…
        from: String,
        /// …on the way to this one.
        to: String,
        /// Whether the packets of the other direction arrive.
        one_way: bool,
    },
    /// Cut a region off from all others.
    Isolate {
        /// The region.
        region: String,
    },
    /// Make the round trip between two regions longer.
    SlowLink {
        /// One end.
        a: String,
        /// The other.
        b: String,
        /// Added to the round trip, milliseconds.
        extra_rtt_ms: u64,
    },
    /// Give the link between two regions back its usual delay, in both directions.
    HealLink {
        /// One end.
        a: String,
        /// The other.
        b: String,
    },
    /// Heal all links of a region.
    HealRegion {
        /// The region.
        region: String,
    },
    /// Delay every sync of a node's disk.
    SlowDisk {
        /// The node.
        node: String,
        /// The delay, milliseconds.
        ms: u64,
    },
    /// Give a node's disk back its usual speed.
    HealDisk {
        /// The node.
        node: String,
    },
    /// Turn a node's clock.
    ClockJump {
        /// The node.
        node: String,
        /// How far, milliseconds; negative is back.
        ms: i64,
    },
    /// Give a node the machine's clock.
    ResetClock {
        /// The node.
        node: String,
    },
    /// Wait until the cluster is whole again. The driver does this itself: `Cluster::act` never sees it.
    AwaitWhole,
    /// Heal everything, whatever was broken. Carried out when a drill is interrupted or fails half-way.
    HealAll,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Kill { nodes } => write!(f, "kill {}", nodes.join(", ")),
            Action::Start { nodes } => write!(f, "start {}", nodes.join(", ")),
            Action::Pause { node } => write!(f, "pause {node}"),
            Action::Resume { node } => write!(f, "resume {node}"),
            Action::Restart { node } => write!(f, "restart {node}"),
            Action::Cut { from, to, one_way: true } => write!(f, "lose what {from} sends to {to}"),
            Action::Cut { from, to, one_way: false } => write!(f, "cut the link between {from} and {to}"),
            Action::Isolate { region } => write!(f, "cut {region} off from all other regions"),
            Action::SlowLink { a, b, extra_rtt_ms } => {
                write!(f, "add {extra_rtt_ms} ms to the round trip between {a} and {b}")
            }
            Action::HealLink { a, b } => write!(f, "heal the link between {a} and {b}"),
            Action::HealRegion { region } => write!(f, "heal the links of {region}"),
            Action::SlowDisk { node, ms } => write!(f, "add {ms} ms to every sync of {node}'s disk"),
            Action::HealDisk { node } => write!(f, "heal the disk of {node}"),
            Action::ClockJump { node, ms } => write!(f, "turn the clock of {node} by {:+.0} s", *ms as f64 / 1000.0),
            Action::ResetClock { node } => write!(f, "give {node} the right time"),
            Action::AwaitWhole => f.write_str("wait until the cluster is whole"),
            Action::HealAll => f.write_str("heal everything"),
        }
    }
}

/// What will be done, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The drill.
    pub name: Name,
    /// One line: `region-failure: all of us-east-1 is killed`.
    pub title: String,
    /// Plain sentences, said before anything is done.
    pub expectation: Vec<String>,
    /// Regions that the fault itself may silence: reported, not judged by RTO.
    pub silenced: Vec<String>,
    /// The region that leads the drill's tables, so that the fault hits where it hurts. `None`: no policy is made.
    pub primary: Option<String>,
    /// Carried out in order, at once.
    pub inject: Vec<Action>,
    /// Whether the fault is over when `inject` is done (a rolling restart): then nothing is held.
    pub transient: bool,
    /// Carried out in order after the hold.
    pub heal: Vec<Action>,
}

/// Why the cluster cannot run a drill; the text says how to start one that can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The relay is missing.
    #[error(
        "{0} needs links that can be cut and slowed: start the cluster with emulated distances (./playground/start --wan …)"
    )]
    NeedsWan(Name),
    /// The fault library is missing.
    #[error("{0} needs servers whose disk and clock can be touched: start the cluster with --faults")]
    NeedsFaults(Name),
    /// Too few regions.
    #[error("{name} needs {needed} regions with processes, and the cluster has {found}: start it with --regions a,b,c")]
    FewRegions {
        /// The drill.
        name: Name,
        /// Regions needed.
        needed: usize,
        /// Regions there are.
        found: usize,
    },
    /// A region that has no nodes, or does not exist.
    #[error("no process stands in region '{region}'; regions: {known}")]
    NoSuchRegion {
        /// What was asked for.
        region: String,
        /// What there is.
        known: String,
    },
    /// A tier has too few nodes to lose one.
    #[error("{name} needs {needed} {what}, and the cluster has {found}: start it with {flag} {needed} or more")]
    FewNodes {
        /// The drill.
        name: Name,
        /// Nodes needed.
        needed: usize,
        /// `placement drivers` …
        what: &'static str,
        /// Nodes there are.
        found: usize,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// The node to be hit is not there.
    #[error("{name} needs a {what} in region {region}: choose another with --region")]
    NothingToHit {
        /// The drill.
        name: Name,
        /// `storage node`.
        what: &'static str,
        /// The region.
        region: String,
    },
    /// Nobody knows who leads PD.
    #[error("the placement drivers have no leader that is known: look at ./playground/ctl display")]
    NoPdLeader,
}

/// Says what a drill will do to this cluster. `region` is where the fault strikes; by default the region of PD's leader,
/// which is the hardest.
pub fn plan(name: Name, topology: &Topology, region: Option<&str>) -> Result<Plan, PlanError> {
    let inhabited = topology.inhabited();
    if name.needs_wan() && !topology.wan {
        return Err(PlanError::NeedsWan(name));
    }
    if name.needs_faults() && !topology.faults {
        return Err(PlanError::NeedsFaults(name));
    }
    let regions_needed = match name {
        Name::RegionFailure | Name::RegionPartition | Name::OneWayCut | Name::Minority => 3,
        Name::SlowLink => 2,
        _ => 1,
    };
    if inhabited.len() < regions_needed {
        return Err(PlanError::FewRegions { name, needed: regions_needed, found: inhabited.len() });
    }
    let leader_region = topology.pd_leader.as_deref().and_then(|l| topology.region_of(l));
    let struck = match region {
        Some(r) if inhabited.contains(&r) => r,
        Some(r) => {
            return Err(PlanError::NoSuchRegion { region: r.to_owned(), known: inhabited.join(", ") });
        }
        None => leader_region.or(inhabited.first().copied()).unwrap_or_default(),
    };
    enough_nodes(name, topology)?;

    let other = *inhabited.iter().cycle().skip_while(|r| **r != struck).nth(1).expect("regions come round again");
    let rest: Vec<&str> = inhabited.iter().copied().filter(|r| *r != struck).collect();
    let store = || {
        let store = topology.of(Tier::Kv).find(|n| n.region == struck).map(|n| n.name.clone());
        store.ok_or_else(|| PlanError::NothingToHit { name, what: "storage node", region: struck.to_owned() })
    };
    let pd_leader = || topology.pd_leader.clone().ok_or(PlanError::NoPdLeader);
    let s = str::to_owned;

    let mut silenced = Vec::new();
    let (summary, expected, inject, heal): (String, Vec<String>, Vec<Action>, Vec<Action>) = match name {
        Name::RegionFailure => {
            silenced.push(s(struck));
            let nodes: Vec<String> =
                topology.nodes.iter().filter(|n| n.region == struck).map(|n| n.name.clone()).collect();
            (
                format!("every process of {struck} is killed at once"),
                vec![
                    format!(
                        "The fault may silence the clients of {struck}: they have lost their own SQL server and must go to \
                         another region's. They are reported, not judged; the time from healing until their own answers is."
                    ),
                    format!("{} go on: leaders of {struck} are elected anew elsewhere.", and(&rest)),
                ],
                vec![Action::Kill { nodes: nodes.clone() }],
                vec![Action::Start { nodes }],
            )
        }
        Name::RegionPartition => (
            format!("the link between {struck} and {other} is cut; both still see the others"),
            vec!["No region falls silent: what two regions cannot tell each other goes through the third.".to_owned()],
            vec![Action::Cut { from: s(struck), to: s(other), one_way: false }],
            vec![Action::HealLink { a: s(struck), b: s(other) }],
        ),
        Name::OneWayCut => (
            format!("what {struck} sends to {other} is lost; what {other} sends arrives"),
            vec!["No region falls silent: half a link is treated as none, and the third region helps out.".to_owned()],
            vec![Action::Cut { from: s(struck), to: s(other), one_way: true }],
            vec![Action::HealLink { a: s(struck), b: s(other) }],
        ),
        Name::Minority => {
            silenced.push(s(struck));
            (
                format!("{struck} is cut off from all other regions"),
                vec![
                    format!(
                        "The fault may silence the clients of {struck}: what is left there is a minority and must refuse \
                         rather than answer with old data. They are reported, not judged; the time from healing until \
                         their own SQL server answers is."
                    ),
                    format!("{} go on: they are the majority.", and(&rest)),
                ],
                vec![Action::Isolate { region: s(struck) }],
                vec![Action::HealRegion { region: s(struck) }],
            )
        }
        Name::PdLeader => {
            let leader = pd_leader()?;
            (
                format!("{leader}, which leads the placement drivers, is killed"),
                vec![
                    "No region falls silent: another placement driver takes over and timestamps go on rising."
                        .to_owned(),
                ],
                vec![Action::Kill { nodes: vec![leader.clone()] }],
                vec![Action::Start { nodes: vec![leader] }],
            )
        }
        Name::StorePause => {
            let node = store()?;
            (
                format!("{node} in {struck} is stopped in its tracks and goes on later"),
                vec![
                    format!("No region falls silent: the regions that {node} led elect other leaders."),
                    format!("When {node} goes on, it does not answer from what it believed before."),
                ],
                vec![Action::Pause { node: node.clone() }],
                vec![Action::Resume { node }],
            )
        }
        Name::SlowLink => (
            format!("the round trip between {struck} and {other} takes {SLOW_LINK_RTT_MS} ms longer"),
            vec!["No region falls silent: what crosses this link becomes slower, and nothing else.".to_owned()],
            vec![Action::SlowLink { a: s(struck), b: s(other), extra_rtt_ms: SLOW_LINK_RTT_MS }],
            vec![Action::HealLink { a: s(struck), b: s(other) }],
        ),
        Name::SlowDisk => {
            let node = store()?;
            (
                format!("every sync of {node}'s disk in {struck} takes {SLOW_DISK_MS} ms longer"),
                vec!["No region falls silent: writes become slower at most by a few syncs.".to_owned()],
                vec![Action::SlowDisk { node: node.clone(), ms: SLOW_DISK_MS }],
                vec![Action::HealDisk { node }],
            )
        }
        Name::ClockJump => {
            let (leader, node) = (pd_leader()?, store()?);
            let seconds = CLOCK_JUMP_MS / 1000;
            (
                format!("the clock of {leader} jumps back by {seconds} s, that of {node} ahead by {seconds} s"),
                vec![
                    "No region falls silent: timestamps never run backwards, whatever the clocks say.".to_owned(),
                    "Healing is a jump, too, in the other direction.".to_owned(),
                ],
                vec![
                    Action::ClockJump { node: leader.clone(), ms: -CLOCK_JUMP_MS },
                    Action::ClockJump { node: node.clone(), ms: CLOCK_JUMP_MS },
                ],
                vec![Action::ResetClock { node: leader }, Action::ResetClock { node }],
            )
        }
        Name::RollingRestart => {
            // As operators do it: SQL servers first or last does not matter, the leader of PD goes last.
            let mut order: Vec<&NodeInfo> = topology.nodes.iter().collect();
            order.sort_by_key(|n| (n.tier, topology.pd_leader.as_ref() == Some(&n.name)));
            let steps = order.iter().flat_map(|n| [Action::Restart { node: n.name.clone() }, Action::AwaitWhole]);
            (
                format!("all {} processes are restarted, one after the other", order.len()),
                vec!["No region falls silent: the cluster is whole again before the next process stops.".to_owned()],
                steps.collect(),
                vec![],
            )
        }
    };
    let mut expectation = expected;
    expectation.push("No acknowledged write is lost, no read is stale or torn, nothing is there twice.".to_owned());
    expectation.push(
        "After healing the cluster becomes whole by itself, and as fast as before: medians within a fifth, and 10 ms."
            .to_owned(),
    );
    let stores: BTreeSet<&str> = topology.of(Tier::Kv).map(|n| n.region.as_str()).collect();
    Ok(Plan {
        name,
        title: format!("{name}: {summary}"),
        expectation,
        silenced,
        primary: (stores.len() >= 3 && stores.contains(struck)).then(|| s(struck)),
        inject,
        transient: name == Name::RollingRestart,
        heal,
    })
}

/// Losing one of a tier must leave a majority, or another that clients can go to.
fn enough_nodes(name: Name, topology: &Topology) -> Result<(), PlanError> {
    let tiers: &[Tier] = match name {
        Name::RegionFailure | Name::RegionPartition | Name::OneWayCut | Name::Minority => {
            &[Tier::Pd, Tier::Kv, Tier::Sql]
        }
        Name::PdLeader | Name::ClockJump => &[Tier::Pd],
        Name::StorePause => &[Tier::Kv],
        Name::SlowLink | Name::SlowDisk => &[],
        Name::RollingRestart => &[Tier::Pd, Tier::Kv, Tier::Sql],
    };
    for tier in tiers {
        let (needed, what, flag) = match tier {
            Tier::Pd => (3, "placement drivers", "--pd"),
            Tier::Kv => (3, "storage nodes", "--kv"),
            Tier::Sql => (2, "SQL servers", "--sql"),
        };
        let found = topology.of(*tier).count();
        if found < needed {
            return Err(PlanError::FewNodes { name, needed, what, found, flag });
        }
    }
    Ok(())
}

/// `a`, `a and b`, `a, b and c`.
fn and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let regions: Vec<String> = ["us", "eu", "ap"].map(String::from).to_vec();
        let tier = |tier, prefix: &str| {
            let node =
                |(i, r): (usize, &String)| NodeInfo { name: format!("{prefix}-{}", i + 1), tier, region: r.clone() };
            regions.iter().enumerate().map(node).collect::<Vec<_>>()
        };
        let nodes = [tier(Tier::Pd, "pd"), tier(Tier::Kv, "kv"), tier(Tier::Sql, "sql")].concat();
        Topology { regions, nodes, pd_leader: Some("pd-2".into()), wan: true, faults: true }
    }

    #[test]
    fn every_drill_has_a_plan_and_says_what_it_expects() {
        for name in Name::ALL {
            let plan = plan(name, &topology(), None).unwrap();
            assert!(plan.title.starts_with(name.as_str()) && plan.expectation.len() >= 3, "{plan:?}");
            assert!(!plan.inject.is_empty() && (plan.heal.is_empty() == plan.transient), "{plan:?}");
            assert_eq!(name.to_possible_value().unwrap().get_name(), name.as_str());
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }

    #[test]
    fn the_region_of_pds_leader_is_struck_unless_another_is_named() {
        let plan_of = |region| plan(Name::Minority, &topology(), region).unwrap();
        assert_eq!(plan_of(None).silenced, ["eu"]);
        assert_eq!(plan_of(Some("ap")).inject, [Action::Isolate { region: "ap".into() }]);
        let cut = plan(Name::RegionPartition, &topology(), Some("ap")).unwrap();
        assert_eq!(cut.inject, [Action::Cut { from: "ap".into(), to: "us".into(), one_way: false }]);
        assert!(cut.silenced.is_empty());
    }

    #[test]
    fn what_the_cluster_cannot_do_is_refused_by_name() {
        let refused = |name, t: &Topology, region| plan(name, t, region).unwrap_err().to_string();
        let no_wan = Topology { wan: false, ..topology() };
        assert!(refused(Name::Minority, &no_wan, None).contains("--wan"));
        let no_faults = Topology { faults: false, ..topology() };
        assert!(refused(Name::SlowDisk, &no_faults, None).contains("--faults"));
        assert!(refused(Name::RegionFailure, &topology(), Some("mars")).contains("us, eu, ap"));
        let mut two = topology();
        two.nodes.retain(|n| n.region != "ap");
        assert!(refused(Name::RegionPartition, &two, None).contains("3 regions"));
        assert!(refused(Name::PdLeader, &two, None).contains("--pd 3"));
        let unknown = Topology { pd_leader: None, ..topology() };
        assert!(refused(Name::PdLeader, &unknown, None).contains("no leader"));
    }

    #[test]
    fn a_rolling_restart_waits_between_processes_and_leaves_pds_leader_to_the_end_of_its_tier() {
        let plan = plan(Name::RollingRestart, &topology(), None).unwrap();
        let restarted: Vec<String> =
            plan.inject.iter().filter(|a| **a != Action::AwaitWhole).map(|a| a.to_string()).collect();
        assert_eq!(restarted[..3], ["restart pd-1", "restart pd-3", "restart pd-2"]);
        assert_eq!(plan.inject.len(), 18);
    }
}
