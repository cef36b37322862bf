//! Several stores in one thread, with time, network and disks under control: for tests of the Raft store and of what
//! stands on it. The stores are the production code; only what surrounds them is made up here.
//!
//! ```no_run
//! # use storage_node::raftstore::sim::Cluster;
//! # use storage_node::replication::Replication;
//! let mut cluster = Cluster::new(0x51f2, 3);
//! cluster.bootstrap(1);
//! cluster.add_voter(1, 2);
//! let (handle, ctx) = (cluster.handle(1), cluster.context(b"k"));
//! let snapshot = cluster.block_on(async move { handle.snapshot(&ctx).await });
//! ```
//! Each [`Cluster::step`] delivers what is due, lets every store run one round, and moves time by a fraction of a tick.
//! The same seed gives the same run.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use engine::memory::MemoryEngine;
use engine::{Engine, KeyRange};
use proto::pdpb;
use proto::raft_serverpb::RaftMessage;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::StoreConfig;
use super::convert;
use super::handle::{RaftStoreHandle, Shared};
use super::log::MemoryLog;
use super::msg::{Effects, Job, JobDone, Msg, PdTask};
use super::snapshot::SnapshotChunks;
use super::store::{self, Store};
use crate::replication::{Epoch, Peer, PeerRole, Region, RegionContext};

/// Steps in one tick.
const STEPS_PER_TICK: u64 = 10;

enum Delivery {
    Message(RaftMessage),
    Snapshot(RaftMessage, Vec<Vec<u8>>),
}

struct SimNode {
    engine: MemoryEngine,
    log: MemoryLog,
    store: Option<Store<MemoryEngine, MemoryLog>>,
    handle: Option<RaftStoreHandle<MemoryEngine>>,
    /// Background work and the step at which it is done. A crash forgets it.
    jobs: std::collections::VecDeque<(u64, Job)>,
    /// Steps until the next tick: stores do not tick together.
    phase: u64,
    seed: u64,
}

/// What the network does to messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Lost messages in a thousand.
    pub lost_per_mille: u32,
    /// Largest delay of a message, in steps; messages overtake each other.
    pub delay_steps_max: u64,
    /// Largest duration of background work, in steps.
    pub job_steps_max: u64,
}

/// Stores, the network between them, and a placement driver that does what the test says.
pub struct Cluster {
    /// The configuration of stores started from now on.
    pub config: StoreConfig,
    /// What the network does from now on.
    pub faults: Faults,
    nodes: BTreeMap<u64, SimNode>,
    clock: Arc<AtomicU64>,
    steps: u64,
    in_flight: BTreeMap<(u64, u64), Delivery>,
    sequence: u64,
    cut: BTreeSet<(u64, u64)>,
    next_id: u64,
    /// The last heartbeat of each region, as PD has it: the one with the greatest epoch and term.
    regions: BTreeMap<u64, pdpb::RegionHeartbeatRequest>,
    rng: StdRng,
}

impl Cluster {
    /// Stores `1..=stores`, empty and running.
    pub fn new(seed: u64, stores: u64) -> Self {
        let mut cluster = Cluster {
            config: StoreConfig { sync_ticks: 20, region_heartbeat_ticks: 5, ..StoreConfig::default() },
            faults: Faults::default(),
            nodes: BTreeMap::new(),
            clock: Arc::new(AtomicU64::new(1)),
            steps: 0,
            in_flight: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            next_id: 1000,
            regions: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        for id in 1..=stores {
            let node = SimNode {
                engine: MemoryEngine::new(),
                log: MemoryLog::new(),
                store: None,
                handle: None,
                jobs: Default::default(),
                phase: id % STEPS_PER_TICK,
                seed: cluster.rng.random(),
            };
            cluster.nodes.insert(id, node);
            cluster.start(id);
        }
        cluster
    }

    /// An id never used before.
    pub fn alloc_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Makes the first region on a store.
    pub fn bootstrap(&mut self, store_id: u64) -> u64 {
        let peer = Peer { id: self.alloc_id(), store_id, role: PeerRole::Voter };
        let id = self.alloc_id();
        let epoch = Epoch { conf_ver: 1, version: 1 };
        let region = Region { id, range: KeyRange::default(), epoch, peers: vec![peer] };
        self.stop(store_id);
        if let Some(node) = self.nodes.get(&store_id) {
            store::write_first_region(&node.engine, &region).expect("the engine is in memory");
        }
        self.start(store_id);
        self.run_until("the first leader", |c| c.leader(id).is_some());
        id
    }

    /// Starts a store on what its disk has.
    pub fn start(&mut self, id: u64) {
        let clock = self.clock.clone();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let shared = Shared::new(id, node.engine.clone(), clock, self.config.entry_bytes_max);
        node.seed = node.seed.wrapping_mul(6364136223846793005).wrapping_add(1);
        node.handle = Some(RaftStoreHandle::new(shared.clone()));
        let store = Store::open(self.config.clone(), shared, node.log.clone(), node.seed);
        node.store = Some(store.unwrap_or_else(|e| panic!("store {id}: {e}")));
    }

    /// Stops a store without losing anything.
    pub fn stop(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            if let Some(handle) = node.handle.take() {
                handle.shared().inbox.close();
            }
            node.store = None;
            node.jobs.clear();
        }
    }

    /// Stops a store and loses what it had not synced, or a part of it.
    pub fn crash(&mut self, id: u64) {
        self.stop(id);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.log.crash(self.rng.random_range(0..=node.log.unsynced()));
        node.engine.crash_keeping(self.rng.random_range(0..=node.engine.unsynced_batches()));
    }

    /// Whether a store runs.
    pub fn is_up(&self, id: u64) -> bool {
        self.nodes.get(&id).is_some_and(|n| n.store.is_some())
    }

    /// Cuts every link of a store.
    pub fn isolate(&mut self, id: u64) {
        for other in self.nodes.keys().filter(|o| **o != id) {
            self.cut.insert((id, *other));
            self.cut.insert((*other, id));
        }
    }

    /// Cuts the link between two stores.
    pub fn cut(&mut self, a: u64, b: u64) {
        self.cut.insert((a, b));
        self.cut.insert((b, a));
    }

    /// Heals every link.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// The running store.
    pub fn store(&self, id: u64) -> Option<&Store<MemoryEngine, MemoryLog>> {
        self.nodes.get(&id)?.store.as_ref()
    }

    /// A store's engine.
    pub fn engine(&self, id: u64) -> MemoryEngine {
        self.nodes[&id].engine.clone()
    }

    /// The handle of a running store.
    pub fn handle(&self, id: u64) -> RaftStoreHandle<MemoryEngine> {
        self.nodes[&id].handle.clone().unwrap_or_else(|| panic!("store {id} is down"))
    }

    /// Gives a store an input.
    pub fn push(&mut self, id: u64, msg: Msg<MemoryEngine>) {
        if let Some(handle) = self.nodes.get(&id).and_then(|n| n.handle.as_ref()) {
            handle.shared().inbox.push(msg);
        }
    }

    /// The store that leads a region, in the greatest term if several think so.
    pub fn leader(&self, region: u64) -> Option<u64> {
        let peers = self.nodes.iter().filter_map(|(id, n)| Some((*id, n.store.as_ref()?.peer(region)?)));
        peers.filter(|(_, p)| p.is_leader()).max_by_key(|(_, p)| p.term()).map(|(id, _)| id)
    }

    /// The newest form of the region that holds a key, as any running store knows it.
    pub fn region_of(&self, key: &[u8]) -> Option<Region> {
        let stores = self.nodes.values().filter_map(|n| n.store.as_ref());
        let regions = stores.flat_map(|s| s.peers()).map(|p| p.region()).filter(|r| !r.peers.is_empty());
        regions.filter(|r| r.range.contains(key)).max_by_key(|r| (r.epoch.version, r.epoch.conf_ver)).cloned()
    }

    /// The context of a request for a key.
    pub fn context(&self, key: &[u8]) -> RegionContext {
        let region = self.region_of(key).unwrap_or_else(|| panic!("no region holds {key:?}"));
        RegionContext { region_id: region.id, epoch: region.epoch, ..Default::default() }
    }

    /// What PD knows of a region.
    pub fn reported(&self, region: u64) -> Option<&pdpb::RegionHeartbeatRequest> {
        self.regions.get(&region)
    }

    /// Moves time and everything in it by one step.
    pub fn step(&mut self) {
        self.steps += 1;
        self.clock.fetch_add(self.config.tick_nanos / STEPS_PER_TICK, Ordering::Relaxed);
        let later = self.in_flight.split_off(&(self.steps + 1, 0));
        for (_, delivery) in std::mem::replace(&mut self.in_flight, later) {
            self.deliver(delivery);
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.run_jobs(id);
            self.run_store(id);
        }
    }

    fn run_jobs(&mut self, id: u64) {
        let steps = self.steps;
        let engine = self.engine(id);
        loop {
            let Some(node) = self.nodes.get_mut(&id) else { return };
            if node.jobs.front().is_none_or(|(due, _)| *due > steps) {
                return;
            }
            let Some((_, job)) = node.jobs.pop_front() else { return };
            let done = match job {
                Job::ReclaimLog => JobDone::LogReclaimed,
                job => job.run(&engine),
            };
            self.push(id, Msg::JobDone(done));
        }
    }

    fn run_store(&mut self, id: u64) {
        let now = self.clock.load(Ordering::Relaxed);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let (Some(store), Some(handle)) = (node.store.as_mut(), node.handle.as_ref()) else { return };
        store.begin(now);
        let mut inbox = Vec::new();
        handle.shared().inbox.drain(&mut inbox);
        fn alive<T>(id: u64, outcome: Result<T, super::peer::StoreFailure>) -> T {
            outcome.unwrap_or_else(|e| panic!("store {id} failed: {e}"))
        }
        for msg in inbox {
            alive(id, store.handle(msg));
        }
        if (self.steps + node.phase).is_multiple_of(STEPS_PER_TICK) {
            store.tick();
        }
        let mut all = Vec::new();
        while alive(id, store.collect()) {
            all.push(store.take_effects());
            alive(id, store.persist());
            alive(id, store.finish());
        }
        all.push(store.take_effects());
        for effects in all {
            self.perform(id, effects);
        }
    }

    fn perform(&mut self, id: u64, effects: Effects<MemoryEngine>) {
        for message in effects.messages {
            self.send(id, Delivery::Message(message));
        }
        for snapshot in effects.snapshots {
            let chunks: Result<Vec<_>, _> = SnapshotChunks::new(snapshot.view, snapshot.range).collect();
            let chunks = chunks.unwrap_or_else(|e| panic!("store {id}: {e}"));
            let (region_id, to) = (snapshot.message.region_id, snapshot.message.to_peer.unwrap_or_default());
            let ok = !self.cut.contains(&(id, to.store_id)) && self.is_up(to.store_id);
            self.send(id, Delivery::Snapshot(snapshot.message, chunks));
            self.push(id, Msg::SnapshotSent { region_id, to_peer: to.id, ok });
        }
        for job in effects.jobs {
            let due = self.steps + self.rng.random_range(0..=self.faults.job_steps_max);
            if let Some(node) = self.nodes.get_mut(&id) {
                // One after another, as the job thread does them.
                let due = node.jobs.back().map_or(due, |(last, _)| due.max(*last));
                node.jobs.push_back((due, job));
            }
        }
        for task in effects.pd {
            self.perform_pd(id, task);
        }
    }

    fn perform_pd(&mut self, id: u64, task: PdTask) {
        match task {
            PdTask::RegionHeartbeat(heartbeat) => {
                let rank = |h: &pdpb::RegionHeartbeatRequest| {
                    let epoch = convert::epoch_from_proto(h.region.as_ref().and_then(|r| r.region_epoch.as_ref()));
                    (epoch.version, epoch.conf_ver, h.term)
                };
                let region = heartbeat.region.as_ref().map_or(0, |r| r.id);
                if self.regions.get(&region).is_none_or(|known| rank(known) <= rank(&heartbeat)) {
                    self.regions.insert(region, *heartbeat);
                }
            }
            PdTask::AskSplit { token, region, count } => {
                let ids = (0..count)
                    .map(|_| pdpb::SplitId {
                        new_region_id: self.alloc_id(),
                        new_peer_ids: region.peers.iter().map(|_| self.alloc_id()).collect(),
                    })
                    .collect();
                self.push(id, Msg::SplitIds { token, result: Ok(ids) });
            }
            PdTask::CheckRegion { region_id } => {
                let known = self.regions.get(&region_id).and_then(|h| h.region.as_ref());
                let region = known.map(convert::region_from_proto);
                self.push(id, Msg::RegionChecked { region_id, region });
            }
            PdTask::StoreHeartbeat(_) | PdTask::ReportSplit(_) => {}
        }
    }

    fn send(&mut self, _from: u64, delivery: Delivery) {
        if self.faults.lost_per_mille > 0 && self.rng.random_range(0..1000) < self.faults.lost_per_mille {
            return;
        }
        let delay = match self.faults.delay_steps_max {
            0 => 1,
            max => self.rng.random_range(1..=max),
        };
        self.sequence += 1;
        self.in_flight.insert((self.steps + delay, self.sequence), delivery);
    }

    fn deliver(&mut self, delivery: Delivery) {
        let (Delivery::Message(message) | Delivery::Snapshot(message, _)) = &delivery;
        let store = |p: &Option<proto::metapb::Peer>| p.as_ref().map_or(0, |p| p.store_id);
        let (from, to) = (store(&message.from_peer), store(&message.to_peer));
        if self.cut.contains(&(from, to)) || !self.is_up(to) {
            if self.is_up(from) && !self.is_up(to) {
                self.push(from, Msg::Unreachable { store_id: to });
            }
            return;
        }
        let msg = match delivery {
            Delivery::Message(message) => Msg::Raft(Box::new(message)),
            Delivery::Snapshot(message, chunks) => Msg::Snapshot { message: Box::new(message), chunks },
        };
        self.push(to, msg);
    }

    /// Steps until something holds; panics with the reason after a minute of the simulation's time.
    pub fn run_until(&mut self, what: &str, mut holds: impl FnMut(&Cluster) -> bool) {
        let steps_max = 60_000_000_000 / self.config.tick_nanos * STEPS_PER_TICK;
        for _ in 0..steps_max {
            if holds(self) {
                return;
            }
            self.step();
        }
        panic!("in vain: {what}; {}", self.describe());
    }

    /// Steps for so many ticks.
    pub fn run_ticks(&mut self, ticks: u64) {
        for _ in 0..ticks * STEPS_PER_TICK {
            self.step();
        }
    }

    /// Runs a future while the cluster runs.
    pub fn block_on<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..600_000 {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            self.step();
        }
        panic!("a request was never answered; {}", self.describe());
    }

    /// Every peer of every store, for messages of failed tests.
    pub fn describe(&self) -> String {
        let mut out = String::new();
        for (id, node) in &self.nodes {
            let Some(store) = &node.store else {
                out.push_str(&format!("\n  store {id}: down"));
                continue;
            };
            for peer in store.peers() {
                let region = peer.region();
                out.push_str(&format!(
                    "\n  store {id}: region {} epoch {}/{} [{}, {}) term {} applied {} leads {} members {:?}",
                    region.id,
                    region.epoch.conf_ver,
                    region.epoch.version,
                    String::from_utf8_lossy(&region.range.start),
                    String::from_utf8_lossy(&region.range.end),
                    peer.term(),
                    peer.applied(),
                    peer.is_leader(),
                    region.peers.iter().map(|p| (p.store_id, p.role)).collect::<Vec<_>>(),
                ));
            }
        }
        out
    }

    /// Sends PD's command to the leader of a region.
    pub fn command(&mut self, region: u64, fill: impl FnOnce(&mut pdpb::RegionHeartbeatResponse)) {
        self.run_until("a leader to command", |c| c.leader(region).is_some());
        let Some(leader) = self.leader(region) else { return };
        let epoch = self.store(leader).and_then(|s| s.peer(region)).map(|p| p.region().epoch).unwrap_or_default();
        let mut response = pdpb::RegionHeartbeatResponse {
            region_id: region,
            region_epoch: Some(convert::epoch_to_proto(epoch)),
            ..Default::default()
        };
        fill(&mut response);
        self.push(leader, Msg::PdCommand(Box::new(response)));
    }

    fn change(&mut self, region: u64, kind: proto::eraftpb::ConfChangeType, peer: &Peer) {
        let change = pdpb::ChangePeer { peer: Some(convert::peer_to_proto(peer)), change_type: kind as i32 };
        self.command(region, |r| r.change_peer = Some(change));
    }

    /// Makes a store a member: first a learner, then, when it has the data, a voter.
    pub fn add_voter(&mut self, region: u64, store_id: u64) -> Peer {
        use proto::eraftpb::ConfChangeType;
        let peer = Peer { id: self.alloc_id(), store_id, role: PeerRole::Learner };
        for kind in [ConfChangeType::AddLearnerNode, ConfChangeType::AddNode] {
            let want = if kind == ConfChangeType::AddNode { PeerRole::Voter } else { PeerRole::Learner };
            let mut tries = 0;
            loop {
                self.change(region, kind, &peer);
                self.run_ticks(3);
                let there = |c: &Cluster| {
                    let known = c.store(store_id).and_then(|s| s.peer(region));
                    known.is_some_and(|p| p.region().peers.iter().any(|p| p.id == peer.id && p.role == want))
                };
                if there(self) {
                    break;
                }
                tries += 1;
                assert!(tries < 100, "store {store_id} did not become {want:?}; {}", self.describe());
            }
        }
        Peer { role: PeerRole::Voter, ..peer }
    }

    /// Removes a store's peer from a region and waits until it is gone from the store.
    pub fn remove(&mut self, region: u64, store_id: u64) {
        let peer = self.regions_peer(region, store_id);
        for _ in 0..50 {
            let leads = self.leader(region).and_then(|l| self.store(l)).and_then(|s| s.peer(region));
            if !leads.is_some_and(|p| p.region().peers.iter().any(|p| p.id == peer.id)) {
                break;
            }
            self.change(region, proto::eraftpb::ConfChangeType::RemoveNode, &peer);
            self.run_ticks(5);
        }
    }

    /// Hands leadership to a store.
    pub fn transfer(&mut self, region: u64, store_id: u64) {
        let peer = convert::peer_to_proto(&self.regions_peer(region, store_id));
        for _ in 0..50 {
            if self.leader(region) == Some(store_id) {
                return;
            }
            let to = pdpb::TransferLeader { peer: Some(peer), peers: Vec::new() };
            self.command(region, |r| r.transfer_leader = Some(to));
            self.run_ticks(5);
        }
        panic!("store {store_id} does not lead region {region}; {}", self.describe());
    }

    fn regions_peer(&self, region: u64, store_id: u64) -> Peer {
        let peers = self.nodes.values().filter_map(|n| n.store.as_ref()?.peer(region));
        let newest = peers.map(|p| p.region()).max_by_key(|r| r.epoch.conf_ver);
        let peer = newest.and_then(|r| r.peers.iter().find(|p| p.store_id == store_id));
        *peer.unwrap_or_else(|| panic!("store {store_id} has no peer of region {region}; {}", self.describe()))
    }

    /// What a store's engine has under a key of the default family, whatever the regions say.
    pub fn raw(&self, store_id: u64, key: &[u8]) -> Option<Vec<u8>> {
        use engine::Snapshot;
        self.engine(store_id).snapshot().get(engine::Cf::Default, key).ok().flatten().map(|v| v.to_vec())
    }
}
