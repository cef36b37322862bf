//! A storage node in the simulation: the production store and storage over a disk that can forget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codec::timestamp::Timestamp;
use engine::Engine;
use engine::memory::MemoryEngine;
use protobuf::Message as _;
use rand::Rng;
use storage_node::gc::collect_step;
use storage_node::raftstore::StoreConfig;
use storage_node::raftstore::handle::{Clock, RaftStoreHandle, Shared};
use storage_node::raftstore::log::MemoryLog;
use storage_node::raftstore::msg::{Effects, Job, JobDone, Msg, SnapshotSend};
use storage_node::raftstore::pd;
use storage_node::raftstore::snapshot::SnapshotChunks;
use storage_node::raftstore::store::{self, Store};
use storage_node::replication::Region;
use storage_node::server::{NoCoprocessor, TikvService};
use storage_node::txn::{Storage, StorageOptions, TimestampOracle};
use tokio::task::JoinSet;

use super::{Delivery, World};

/// The engine under a simulated node.
pub type SimEngine = MemoryEngine;
/// The service of a simulated node.
pub type SimService = TikvService<RaftStoreHandle<SimEngine>, RaftStoreHandle<SimEngine>>;

/// Largest log entry.
const ENTRY_BYTES_MAX: usize = 8 << 20;

fn config() -> StoreConfig {
    StoreConfig {
        tick_nanos: 100_000_000,
        heartbeat_ticks: 2,
        election_ticks: 10,
        region_heartbeat_ticks: 10,
        store_heartbeat_ticks: 10,
        sync_ticks: 20,
        leader_missing_ticks: 50,
        ..StoreConfig::default()
    }
}

struct Running {
    store: Store<SimEngine, MemoryLog>,
    shared: Arc<Shared<SimEngine>>,
    service: Arc<SimService>,
    storage: Storage<RaftStoreHandle<SimEngine>>,
    /// Commands being executed; a crash ends them.
    commands: JoinSet<()>,
    next_tick: u64,
}

/// A storage node.
pub struct Node {
    /// The store's id.
    pub id: u64,
    /// The disk: engine and log survive a crash, as far as they were synced.
    pub engine: SimEngine,
    log: MemoryLog,
    world_now: Arc<AtomicU64>,
    /// How much faster its clock runs, as a fraction.
    drift: f64,
    /// Which life this is: jobs of an earlier one are forgotten.
    life: u64,
    /// Until then, in the world's time, the store's thread gets no turn.
    asleep_until: u64,
    running: Option<Running>,
}

impl Node {
    /// A node with an empty disk, not running.
    pub fn new(id: u64, world_now: Arc<AtomicU64>, drift: f64) -> Node {
        let (engine, log) = (MemoryEngine::new(), MemoryLog::new());
        let node = Node { id, engine, log, world_now, drift, life: 0, asleep_until: 0, running: None };
        let ident = proto::meridian_raft::StoreIdent { cluster_id: 1, store_id: id };
        store::write_ident(&node.engine, ident).expect("an empty disk takes an identity");
        node
    }

    /// Puts the cluster's first region on its disk.
    pub fn bootstrap(&mut self, region: &Region) {
        store::write_first_region(&self.engine, region).expect("an empty disk takes a region");
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The store, while it runs.
    pub fn store(&self) -> Option<&Store<SimEngine, MemoryLog>> {
        self.running.as_ref().map(|r| &r.store)
    }

    fn clock(&self) -> Clock {
        let (now, drift) = (Arc::clone(&self.world_now), self.drift);
        Arc::new(move || (now.load(Ordering::Relaxed) as f64 * (1.0 + drift)) as u64)
    }

    /// Starts it over what its disk has.
    pub fn start(&mut self, seed: u64, oracle: Arc<dyn TimestampOracle>) {
        self.life += 1;
        let shared = Shared::new(self.id, self.engine.clone(), self.clock(), ENTRY_BYTES_MAX);
        let store = Store::open(config(), Arc::clone(&shared), self.log.clone(), seed)
            .unwrap_or_else(|e| panic!("store {}: {e}", self.id));
        let handle = RaftStoreHandle::new(Arc::clone(&shared));
        let storage = Storage::new(handle.clone(), Some(oracle), StorageOptions::default());
        let service = Arc::new(TikvService::new(storage.clone(), handle, Arc::new(NoCoprocessor)));
        self.running = Some(Running { store, shared, service, storage, commands: JoinSet::new(), next_tick: 0 });
    }

    /// Ends it; of what was not synced, the share `keep` stays.
    pub fn crash(&mut self, keep: f64) {
        self.running = None;
        self.asleep_until = 0;
        let part = |unsynced: u64| (unsynced as f64 * keep) as u64;
        self.engine.crash_keeping(part(self.engine.unsynced_batches()));
        self.log.crash(part(self.log.unsynced() as u64) as usize);
    }

    /// The store's thread gets no turn until then; messages wait, and other threads go on.
    pub(super) fn sleep_until(&mut self, world_time: u64) {
        self.asleep_until = world_time;
    }

    /// Takes a message in.
    pub(super) fn receive(&mut self, message: Msg<SimEngine>) {
        let Some(running) = &mut self.running else { return };
        match message {
            // As the worker for PD does: the locks in memory go first.
            Msg::PdCommand(command) if pd::moves_leader(&command, self.id) => {
                let (storage, shared) = (running.storage.clone(), Arc::clone(&running.shared));
                running.commands.spawn(async move {
                    let _ = storage.hand_over_locks(&pd::context_of(&command)).await;
                    shared.inbox.push(Msg::PdCommand(command));
                });
            }
            message => running.shared.inbox.push(message),
        }
    }

    pub(super) fn finish_job(&mut self, life: u64, done: Box<dyn FnOnce(&SimEngine) -> Msg<SimEngine> + Send>) {
        if life == self.life && self.running.is_some() {
            let message = done(&self.engine);
            self.receive(message);
        }
    }

    pub(super) fn hear_safe_point(&mut self, safe_point: Timestamp) {
        if let Some(running) = &self.running {
            running.storage.safe_point().raise(safe_point);
        }
    }

    /// Drops versions before a safe point from every replica whose data is whole.
    pub(super) fn collect_garbage(&mut self, safe_point: Timestamp) {
        let Some(running) = &self.running else { return };
        assert!(running.storage.safe_point().get() >= safe_point, "versions go that may be read");
        let mut replicas: Vec<_> = running.shared.delegates.read().values().map(|d| d.state()).collect();
        replicas.retain(|replica| replica.valid);
        replicas.sort_by_key(|replica| replica.region.id);
        for replica in replicas {
            let mut range = replica.region.range.clone();
            while let Some(next) = collect_step(&self.engine, &range, safe_point).expect("memory can be read").next {
                range.start = next;
            }
        }
    }

    /// Runs something on the node's service, unless the node goes down.
    pub fn execute<F, T>(
        &mut self,
        work: impl FnOnce(Arc<SimService>) -> F,
    ) -> Option<tokio::sync::oneshot::Receiver<T>>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let running = self.running.as_mut()?;
        while running.commands.try_join_next().is_some() {}
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let future = work(Arc::clone(&running.service));
        running.commands.spawn(async move {
            let _ = sender.send(future.await);
        });
        Some(receiver)
    }
}

impl World {
    /// A store's rounds until nothing is ready, as its driver does them.
    pub(super) fn run_node(&mut self, id: u64) {
        let crash_at_write = self.faults.crash_at_write;
        let world_now = self.now();
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.asleep_until <= world_now) else { return };
        let now = (node.clock())();
        let Some(running) = &mut node.running else { return };
        let fail = |e: &dyn std::fmt::Display| -> ! { panic!("store {id} stopped: {e}") };
        running.store.begin(now);
        let mut inbox = Vec::new();
        running.shared.inbox.drain(&mut inbox);
        for message in inbox {
            running.store.handle(message).unwrap_or_else(|e| fail(&e));
        }
        if now >= running.next_tick {
            running.store.tick();
            running.next_tick = now + config().tick_nanos;
        }
        loop {
            let Some(running) = self.nodes.get_mut(&id).and_then(|n| n.running.as_mut()) else { return };
            let ready = running.store.collect().unwrap_or_else(|e| fail(&e));
            let effects = running.store.take_effects();
            self.perform(id, effects);
            if !ready {
                return;
            }
            // Messages that may go before the sync are out; now the power fails, or just after the sync.
            if self.rng.random_bool(crash_at_write) {
                self.crash(id);
                return;
            }
            let Some(running) = self.nodes.get_mut(&id).and_then(|n| n.running.as_mut()) else { return };
            running.store.persist().unwrap_or_else(|e| fail(&e));
            if self.rng.random_bool(crash_at_write) {
                self.crash(id);
                return;
            }
            let Some(running) = self.nodes.get_mut(&id).and_then(|n| n.running.as_mut()) else { return };
            running.store.begin(now);
            running.store.finish().unwrap_or_else(|e| fail(&e));
        }
    }

    fn perform(&mut self, from: u64, effects: Effects<SimEngine>) {
        for message in effects.messages {
            let to = message.to_peer.as_ref().map_or(0, |p| p.store_id);
            self.send(from, to, Msg::Raft(Box::new(message)));
        }
        for snapshot in effects.snapshots {
            self.send_snapshot(from, snapshot);
        }
        let life = self.nodes[&from].life;
        for job in effects.jobs {
            let delay = Duration::from_micros(self.rng.random_range(100..20_000));
            let done: Box<dyn FnOnce(&SimEngine) -> Msg<SimEngine> + Send> = Box::new(move |engine| {
                Msg::JobDone(match job {
                    Job::ReclaimLog => JobDone::LogReclaimed,
                    job => job.run(engine),
                })
            });
            self.deliver_after(delay, from, Delivery::Job { life, done });
        }
        for task in effects.pd {
            self.pd_task(from, task);
        }
    }

    fn send_snapshot(&mut self, from: u64, snapshot: SnapshotSend<<SimEngine as Engine>::Snapshot>) {
        let SnapshotSend { message, view, range } = snapshot;
        let (region_id, to) = (message.region_id, message.to_peer.unwrap_or_default());
        let chunks: Vec<Vec<u8>> =
            SnapshotChunks::new(view, range).collect::<Result<_, _>>().expect("memory can be read");
        assert!(raft::eraftpb::Message::parse_from_bytes(&message.message).is_ok());
        let sent = |ok| Msg::SnapshotSent { region_id, to_peer: to.id, ok };
        match self.delay(from, to.store_id).filter(|_| self.nodes.get(&to.store_id).is_some_and(Node::is_running)) {
            Some(delay) => {
                let arrived = Msg::Snapshot { message: Box::new(message), chunks };
                self.deliver_after(delay, to.store_id, Delivery::Message(arrived));
                self.deliver_after(delay * 2, from, Delivery::Message(sent(true)));
            }
            None => self.deliver_after(Duration::from_millis(50), from, Delivery::Message(sent(false))),
        }
    }
}
