//! Rules, checker, schedulers and controller together, against stores that do what they are told, late or never.

use std::collections::BTreeMap;

use placement_driver::cluster::model::{Peer, PeerRole, Region, Store};
use placement_driver::placement::rule::{GroupBundle, Rule};
use placement_driver::placement::rules::RuleSet;
use placement_driver::schedule::checker::{self, Replication};
use placement_driver::schedule::controller::Controller;
use placement_driver::schedule::operator::{Change, Instruction};
use placement_driver::schedule::{View, schedulers};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const STORE_DOWN_MS: u64 = 30 * 60_000;

/// A cluster whose leaders obey at once, or lose instructions with some probability.
struct Sim {
    stores: BTreeMap<u64, Store>,
    regions: BTreeMap<u64, Region>,
    rules: RuleSet,
    controller: Controller,
    now_ms: u64,
    next_id: u64,
    rng: StdRng,
    lose: f64,
    instructions: usize,
}

impl Sim {
    /// Stores 1… in the given regions, one region with a single replica on store 1.
    fn new(seed: u64, store_regions: &[&str]) -> Sim {
        let store = |(index, region): (usize, &&str)| {
            let labels = BTreeMap::from([("region".to_owned(), region.to_string())]);
            let id = index as u64 + 1;
            (id, Store { id, labels, last_heartbeat_ms: 1, ..Store::default() })
        };
        let peer = Peer { id: 101, store_id: 1, role: PeerRole::Voter };
        let region = Region { id: 1, peers: vec![peer], leader: Some(101), ..Region::default() };
        Sim {
            stores: store_regions.iter().enumerate().map(store).collect(),
            regions: BTreeMap::from([(1, region)]),
            rules: RuleSet::new(3, &["region".to_owned()]),
            controller: Controller::default(),
            now_ms: 1,
            next_id: 1000,
            rng: StdRng::seed_from_u64(seed),
            lose: 0.0,
            instructions: 0,
        }
    }

    fn place(&mut self, group: &str, start: &str, end: &str, rules: &[(&str, u32, &str)]) {
        let rule = |(index, (role, count, region)): (usize, &(&str, u32, &str))| {
            let constraints = match *region {
                "" => "[]".to_owned(),
                _ => format!(r#"[{{"key":"region","op":"in","values":["{region}"]}}]"#),
            };
            let json = format!(
                r#"{{"group_id":"{group}","id":"{index}","role":"{role}","count":{count},"start_key":"{start}",
                    "end_key":"{end}","label_constraints":{constraints}}}"#
            );
            serde_json::from_str::<Rule>(&json).unwrap()
        };
        let rules = rules.iter().enumerate().map(rule).collect();
        let bundle = GroupBundle { group_id: group.into(), group_index: 40, group_override: true, rules };
        let stores: Vec<&Store> = self.stores.values().collect();
        self.rules = self.rules.with_bundles(vec![bundle], &stores).unwrap();
    }

    fn step(&mut self) {
        self.now_ms += 100;
        for store in self.stores.values_mut().filter(|s| s.last_heartbeat_ms != 0) {
            store.last_heartbeat_ms = self.now_ms;
        }
        let mut region_counts = BTreeMap::new();
        for peer in self.regions.values().flat_map(|r| &r.peers) {
            *region_counts.entry(peer.store_id).or_insert(0) += 1;
        }
        let view = View {
            stores: &self.stores,
            region_counts: &region_counts,
            now_ms: self.now_ms,
            store_down_ms: STORE_DOWN_MS,
        };
        let mut next_id = self.next_id;
        let mut alloc = || {
            next_id += 1;
            Some(next_id)
        };
        for region in self.regions.values() {
            if !self.controller.is_busy(region.id)
                && let Some(operator) = checker::check(region, &self.rules, &view, &mut alloc)
            {
                self.controller.add(operator, self.now_ms);
            }
        }
        if let Some(o) = schedulers::balance_leader(self.regions.values(), &self.rules, &view, &self.controller) {
            self.controller.add(o, self.now_ms);
        }
        if let Some(o) =
            schedulers::balance_region(self.regions.values(), &self.rules, &view, &self.controller, &mut alloc)
        {
            self.controller.add(o, self.now_ms);
        }
        self.next_id = next_id;
        let ids: Vec<u64> = self.regions.keys().copied().collect();
        for id in ids {
            let region = self.regions[&id].clone();
            if let Some(instruction) = self.controller.dispatch(&region, self.now_ms) {
                self.instructions += 1;
                if !self.rng.random_bool(self.lose) {
                    self.obey(id, instruction);
                }
            }
        }
        // Replicas catch up a step after they were added.
        for region in self.regions.values_mut() {
            if self.rng.random_bool(0.5) {
                region.pending_peers.clear();
            }
        }
    }

    fn obey(&mut self, id: u64, instruction: Instruction) {
        let region = self.regions.get_mut(&id).unwrap();
        match instruction {
            Instruction::ChangePeer { peer, change } => {
                region.epoch.conf_ver += 1;
                match change {
                    Change::AddLearner => {
                        assert!(region.peer_on(peer.store_id).is_none(), "two replicas on store {}", peer.store_id);
                        region.peers.push(peer);
                        region.pending_peers.push(peer.id);
                    }
                    Change::AddVoter => {
                        let promoted = region.peers.iter_mut().find(|p| p.id == peer.id).expect("a learner first");
                        promoted.role = PeerRole::Voter;
                    }
                    Change::Remove => {
                        assert_ne!(region.leader, Some(peer.id), "the leader was told to remove itself");
                        region.peers.retain(|p| p.id != peer.id);
                    }
                }
            }
            Instruction::TransferLeader { peer } => {
                assert!(!region.is_pending(peer.id), "a lagging peer was made the leader");
                region.leader = Some(peer.id);
            }
            Instruction::Split { keys } => {
                let mut bounds = vec![region.start_key.clone()];
                bounds.extend(keys);
                bounds.push(region.end_key.clone());
                region.epoch.version += bounds.len() as u64 - 2;
                let template = region.clone();
                let parts = bounds.len() - 1;
                for (index, pair) in bounds.windows(2).enumerate() {
                    let mut part = template.clone();
                    (part.start_key, part.end_key) = (pair[0].clone(), pair[1].clone());
                    if index + 1 < parts {
                        self.next_id += 100;
                        part.id = self.next_id;
                        for p in &mut part.peers {
                            self.next_id += 1;
                            let old = std::mem::replace(&mut p.id, self.next_id);
                            if part.leader == Some(old) {
                                part.leader = Some(p.id);
                            }
                        }
                        part.pending_peers.clear();
                    }
                    self.regions.insert(part.id, part);
                }
            }
        }
    }

    fn settle(&mut self, what: &str) {
        for _ in 0..3_000 {
            self.step();
            let quiet = self.controller.operators().next().is_none();
            if quiet && self.states().iter().all(|s| *s == Replication::Replicated) {
                let before = self.instructions;
                for _ in 0..50 {
                    self.step();
                }
                if self.instructions == before {
                    return;
                }
            }
        }
        panic!("{what}: not settled: {:#?}\n{:#?}", self.describe(), self.controller.records().collect::<Vec<_>>());
    }

    fn states(&self) -> Vec<Replication> {
        let counts = BTreeMap::new();
        let view =
            View { stores: &self.stores, region_counts: &counts, now_ms: self.now_ms, store_down_ms: STORE_DOWN_MS };
        self.regions.values().map(|r| checker::replication(r, &self.rules, &view)).collect()
    }

    fn describe(&self) -> Vec<String> {
        let region = |r: &Region| {
            let peer = |p: &Peer| {
                let mark = if r.leader == Some(p.id) {
                    "*"
                } else if p.is_learner() {
                    "L"
                } else {
                    ""
                };
                format!("{}{mark}", p.store_id)
            };
            let mut peers: Vec<String> = r.peers.iter().map(peer).collect();
            peers.sort();
            format!("{:02x?}: {}", r.start_key, peers.join(" "))
        };
        let mut regions: Vec<&Region> = self.regions.values().collect();
        regions.sort_by_key(|r| r.start_key.clone());
        regions.into_iter().map(region).collect()
    }
}

#[test]
fn a_single_replica_grows_to_three_far_apart() {
    let mut sim = Sim::new(1, &["a", "a", "b", "c"]);
    sim.settle("growth");
    let peers: Vec<u64> = sim.regions[&1].peers.iter().map(|p| p.store_id).collect();
    assert!(peers.contains(&3) && peers.contains(&4) && peers.len() == 3, "{:?}", sim.describe());
}

#[test]
fn a_table_policy_splits_the_range_and_brings_only_its_leader_to_the_primary_region() {
    let mut sim = Sim::new(2, &["us-east-1", "us-west-2", "eu-west-1"]);
    sim.settle("growth");
    sim.place("t", "20", "30", &[("leader", 1, "eu-west-1"), ("voter", 2, "")]);
    assert!(sim.states().contains(&Replication::InProgress));
    sim.settle("policy");
    assert_eq!(sim.describe().len(), 3);
    assert!(sim.describe()[1].ends_with("[20]: 1 2 3*"), "{:?}", sim.describe());
}

#[test]
fn a_rule_that_no_store_can_meet_now_is_pending_and_moves_nothing_away() {
    let mut sim = Sim::new(3, &["a", "b", "c"]);
    sim.settle("growth");
    sim.place("t", "", "", &[("voter", 2, "a"), ("voter", 1, "b")]);
    for _ in 0..200 {
        sim.step();
    }
    assert_eq!(sim.regions[&1].peers.len(), 3, "redundancy was given up: {:?}", sim.describe());
}

#[test]
fn a_lost_store_is_replaced_after_the_time_allowed_and_not_before() {
    let mut sim = Sim::new(4, &["a", "b", "c", "d"]);
    sim.settle("growth");
    let victim = sim.regions[&1].peers.iter().find(|p| sim.regions[&1].leader != Some(p.id)).unwrap().store_id;
    let peer_id = sim.regions[&1].peer_on(victim).unwrap().id;
    sim.stores.get_mut(&victim).unwrap().last_heartbeat_ms = 0;
    sim.regions.get_mut(&1).unwrap().down_peers.push((peer_id, 60));
    for _ in 0..100 {
        sim.step();
    }
    assert!(sim.regions[&1].peer_on(victim).is_some(), "replaced too early");
    sim.now_ms += STORE_DOWN_MS;
    for _ in 0..300 {
        sim.step();
    }
    assert!(sim.regions[&1].peer_on(victim).is_none(), "{:?}", sim.describe());
    assert_eq!(sim.regions[&1].peers.len(), 3);
}

#[test]
fn random_policies_over_random_stores_converge_and_stay_though_instructions_are_lost() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let names = ["a", "b", "c", "d"];
        let count = rng.random_range(3..=8);
        let store_regions: Vec<&str> =
            (0..count).map(|i| if i < 4 { names[i] } else { names[rng.random_range(0..4)] }).collect();
        let mut sim = Sim::new(seed, &store_regions);
        sim.lose = 0.2;
        sim.settle(&format!("seed {seed}: growth"));
        for table in 0..6u8 {
            let (start, end) = (format!("{:02x}", 0x20 + table * 8), format!("{:02x}", 0x24 + table * 8));
            let primary = store_regions[rng.random_range(0..store_regions.len())];
            let rules: &[(&str, u32, &str)] = match rng.random_range(0..3) {
                0 => &[("leader", 1, primary), ("voter", 2, "")],
                1 => &[("leader", 1, primary), ("follower", 1, "")],
                _ => &[("voter", 1, primary), ("voter", 1, ""), ("learner", 1, "")],
            };
            sim.place(&format!("t{table}"), &start, &end, rules);
        }
        sim.settle(&format!("seed {seed}: policies over {store_regions:?}"));
    }
}
