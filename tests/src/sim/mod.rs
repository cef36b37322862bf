//! A cluster in one thread: the production code of storage nodes, placement driver and client over a simulated network,
//! disk and clock, all drawn from one seed.
//!
//! ```text
//!   bank clients ── kv_client ──┐ (delays, cuts, losses)     ┌── placement_driver: TSO, regions, checker, operators
//!                               ▼                            ▼
//!               node: TikvService ── Storage ── Store (multi-Raft) ── MemoryEngine, MemoryLog (forget what is unsynced)
//!                               ▲        messages, snapshots ▲
//!                               └────── World: time, links ──┘
//! ```
//!
//! Time is virtual: the runtime's clock is paused and jumps to the next timer when nothing can run, and [`World::step`]
//! is called once a virtual millisecond. A failing run prints its seed; `SIM_SEED=0x…` runs exactly the same again, and
//! `SIM_TRACE=FILE` writes down what is said in it (see [`trace`]).
//!
//! What is simulated and what is not: PD's decisions are the production code, its own replication is not (it has tests
//! of its own); a failover of PD is a new timestamp allocator over the saved window, with another clock. gRPC is left
//! out: commands go from the client's transport to the service's dispatcher.

pub mod bank;
pub mod node;
pub mod pd;
pub mod trace;
pub mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use codec::timestamp::Timestamp;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use storage_node::raftstore::msg::Msg;

use self::node::{Node, SimEngine};
use self::pd::SimPd;
use self::trace::Trace;

/// The client's place in the network; stores have their ids.
pub const CLIENT: u64 = 0;
/// How far the stores' clocks may run fast or slow, as a fraction: far worse than a quartz.
const CLOCK_DRIFT_MAX: f64 = 0.001;
/// Virtual nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// What may go wrong, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Mean virtual time between two faults that the schedule draws.
    pub every: Duration,
    /// Probability that a message between stores is lost.
    pub lose: f64,
    /// Probability, per write of a store's log, that the store crashes just before or after it.
    pub crash_at_write: f64,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults { every: Duration::MAX, lose: 0.0, crash_at_write: 0.0 };

    /// A mix drawn from the seed: each run stresses something else.
    pub fn swarm(seed: u64) -> Faults {
        let mut rng = StdRng::seed_from_u64(seed ^ 0xfa17);
        Faults {
            every: Duration::from_millis(rng.random_range(400..3_000)),
            lose: if rng.random_bool(0.5) { rng.random_range(0.0..0.05) } else { 0.0 },
            crash_at_write: if rng.random_bool(0.3) { 0.0005 } else { 0.0 },
        }
    }
}

/// Something on its way to a store.
enum Delivery {
    Message(Msg<SimEngine>),
    /// The end of a job that ran in the background of a store's life; a crash forgets it.
    Job {
        life: u64,
        done: Box<dyn FnOnce(&SimEngine) -> Msg<SimEngine> + Send>,
    },
    /// The store hears of a safe point.
    SafePoint(Timestamp),
    /// The store drops versions before it.
    Collect(Timestamp),
}

/// Everything but the clients.
pub struct World {
    /// All chance comes from here.
    pub rng: StdRng,
    /// Virtual nanoseconds since the beginning, for the stores' clocks too.
    now: Arc<AtomicU64>,
    /// The storage nodes by store id.
    pub nodes: BTreeMap<u64, Node>,
    /// The placement driver.
    pub pd: SimPd,
    deliveries: BTreeMap<(u64, u64), (u64, Delivery)>,
    sequence: u64,
    /// Links that carry nothing, as (from, to).
    cut: BTreeSet<(u64, u64)>,
    faults: Faults,
    next_fault: u64,
    /// What happened, for the person who reads a failure.
    pub history: Vec<String>,
    /// Everything that was said, done to the world, or drawn for it: two runs of one seed must agree.
    pub trace: Trace,
}

/// The world, shared by those who move in it. Never held across an await.
pub type SharedWorld = Arc<Mutex<World>>;

impl World {
    /// `stores` storage nodes, the first of which bootstraps the cluster; nothing goes wrong yet.
    pub fn new(seed: u64, stores: u64) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = Arc::new(AtomicU64::new(MS));
        let mut pd = SimPd::new(stores);
        let mut nodes = BTreeMap::new();
        for id in 1..=stores {
            let drift = rng.random_range(-CLOCK_DRIFT_MAX..=CLOCK_DRIFT_MAX);
            nodes.insert(id, Node::new(id, Arc::clone(&now), drift));
        }
        let first = pd.first_region();
        nodes.get_mut(&1).expect("at least one store").bootstrap(&first);
        World {
            rng,
            now,
            nodes,
            pd,
            deliveries: BTreeMap::new(),
            sequence: 0,
            cut: BTreeSet::new(),
            faults: Faults::NONE,
            next_fault: 0,
            history: Vec::new(),
            trace: Trace::new(),
        }
    }

    /// Virtual nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// Virtual milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.now() / MS
    }

    /// Remembers something for the person who reads a failure.
    pub fn note(&mut self, what: impl Into<String>) {
        let line = format!("{:>8.3} s  {}", self.now() as f64 / 1e9, what.into());
        self.trace.add(self.now(), "world", line.as_bytes());
        self.history.push(line);
    }

    /// The time that a message takes on a link, or `None` if it is lost.
    pub fn delay(&mut self, from: u64, to: u64) -> Option<Duration> {
        if self.cut.contains(&(from, to)) || (from != CLIENT && to != CLIENT && self.rng.random_bool(self.faults.lose))
        {
            return None;
        }
        // Mostly quick, sometimes slow enough to be overtaken by others.
        let us = if self.rng.random_bool(0.02) {
            self.rng.random_range(2_000..80_000)
        } else {
            self.rng.random_range(200..3_000)
        };
        Some(Duration::from_micros(us))
    }

    fn deliver_after(&mut self, delay: Duration, to: u64, what: Delivery) {
        self.sequence += 1;
        self.deliveries.insert((self.now() + delay.as_nanos() as u64, self.sequence), (to, what));
    }

    /// Sends a message to a store.
    pub fn send(&mut self, from: u64, to: u64, message: Msg<SimEngine>) {
        if let Some(delay) = self.delay(from, to) {
            self.deliver_after(delay, to, Delivery::Message(message));
        }
    }

    /// One virtual millisecond: time moves, what is due arrives, every store and PD do their rounds, faults strike.
    pub fn step(&mut self) {
        self.now.fetch_add(MS, Ordering::Relaxed);
        while let Some(entry) = self.deliveries.first_entry().filter(|e| e.key().0 <= self.now.load(Ordering::Relaxed))
        {
            let ((at, _), (to, what)) = entry.remove_entry();
            self.trace.add_delivery(at, to, &what);
            let Some(node) = self.nodes.get_mut(&to) else { continue };
            match what {
                Delivery::Message(message) => node.receive(message),
                Delivery::Job { life, done } => node.finish_job(life, done),
                Delivery::SafePoint(safe_point) => node.hear_safe_point(safe_point),
                Delivery::Collect(safe_point) => node.collect_garbage(safe_point),
            }
        }
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.run_node(id);
        }
        self.pd_round();
        self.draw_fault();
    }

    /// PD has a new safe point: every store hears of it within the time between two questions, and drops what is before it
    /// some time after that.
    pub fn move_safe_point(&mut self, safe_point: Timestamp) {
        self.note(format!("the safe point is {safe_point}"));
        self.pd.safe_point = safe_point;
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let hear = Duration::from_millis(self.rng.random_range(0..2_000));
            let collect = Duration::from_millis(self.rng.random_range(2_000..5_000));
            self.deliver_after(hear, id, Delivery::SafePoint(safe_point));
            self.deliver_after(collect, id, Delivery::Collect(safe_point));
        }
    }

    /// Every store drops what is before the safe point, now.
    pub fn collect_garbage(&mut self) {
        let safe_point = self.pd.safe_point;
        for node in self.nodes.values_mut() {
            node.hear_safe_point(safe_point);
            node.collect_garbage(safe_point);
        }
    }

    /// From now on things go wrong.
    pub fn begin_faults(&mut self, faults: Faults) {
        self.faults = faults;
        self.note(format!("faults begin: {faults:?}"));
        self.draw_next_fault();
    }

    fn draw_next_fault(&mut self) {
        let mean = self.faults.every.as_nanos() as u64;
        self.next_fault = self.now() + self.rng.random_range(mean / 4..mean * 2);
    }

    fn draw_fault(&mut self) {
        if self.faults.every == Duration::MAX || self.now() < self.next_fault {
            return;
        }
        self.draw_next_fault();
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let id = ids[self.rng.random_range(0..ids.len())];
        let kind = match self.rng.random_range(0..11) {
            // Where links are cut already they are healed as often, or most of a run would pass without a quorum.
            4..=6 if !self.cut.is_empty() && self.rng.random_bool(0.5) => 7,
            kind => kind,
        };
        match kind {
            0..=3 => {
                // At most a minority is down at once: longer outages are the healing's business.
                let down: Vec<u64> = ids.iter().copied().filter(|id| !self.nodes[id].is_running()).collect();
                match down.first() {
                    Some(victim) => self.restart(*victim),
                    None => self.crash(id),
                }
            }
            4..=5 => {
                // The client's links too: to a store or back.
                let other = self.rng.random_range(CLIENT..=ids.len() as u64);
                let link = if self.rng.random_bool(0.5) { (id, other) } else { (other, id) };
                self.note(format!("link {} → {} is cut", link.0, link.1));
                self.cut.insert(link);
            }
            6 => {
                self.note(format!("store {id} is cut off from the other stores, not from clients"));
                for other in ids.iter().filter(|o| **o != id) {
                    self.cut.extend([(id, *other), (*other, id)]);
                }
            }
            7 => {
                self.note("all links are healed");
                self.cut.clear();
            }
            8 => {
                let jump_ms = self.rng.random_range(-2_000..2_000);
                self.note(format!("PD fails over, its clock jumps by {jump_ms} ms"));
                self.pd.fail_over(self.now_ms(), jump_ms);
            }
            9 => {
                let ms = self.rng.random_range(300..6_000);
                self.note(format!("the thread of store {id} sleeps for {ms} ms, its readers do not"));
                let until = self.now() + ms * MS;
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.sleep_until(until);
                }
            }
            _ => self.split_somewhere(),
        }
    }

    /// A power cut: what the store did not sync is gone, but for a part that chance keeps.
    pub fn crash(&mut self, id: u64) {
        let keep = self.rng.random::<f64>();
        self.note(format!("store {id} crashes"));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.crash(keep);
        }
    }

    /// The store comes back with what its disk kept.
    pub fn restart(&mut self, id: u64) {
        self.note(format!("store {id} starts"));
        let seed = self.rng.random();
        let (pd, safe_point) = (self.pd.oracle(), self.pd.safe_point);
        if let Some(node) = self.nodes.get_mut(&id) {
            node.start(seed, pd);
            node.hear_safe_point(safe_point);
        }
    }

    /// Everything works from now on: stores run, links carry, nothing is lost.
    pub fn heal(&mut self) {
        self.note("everything is healed");
        self.faults = Faults::NONE;
        self.cut.clear();
        self.nodes.values_mut().for_each(|node| node.sleep_until(0));
        let down: Vec<u64> = self.nodes.iter().filter(|(_, n)| !n.is_running()).map(|(id, _)| *id).collect();
        for id in down {
            self.restart(id);
        }
    }
}

/// Moves time on until `end`, one virtual millisecond at a time, with everybody else in between.
pub async fn run_world(world: &SharedWorld, end: impl Fn(&World) -> bool) {
    loop {
        {
            let mut world = world.lock();
            if end(&world) {
                return;
            }
            world.step();
        }
        // The paused clock moves only when every task waits, so that clients run as far as they can first.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Runs a future on a single thread with a paused clock.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The seeds to run: `SIM_SEED` alone if it is set, otherwise `count` fixed ones from `first`.
pub fn seeds(first: u64, count: u64) -> Vec<u64> {
    match std::env::var("SIM_SEED") {
        Ok(text) => {
            let digits = text.trim_start_matches("0x");
            let radix = if digits.len() < text.len() { 16 } else { 10 };
            vec![u64::from_str_radix(digits, radix).expect("SIM_SEED is a number, decimal or 0x…")]
        }
        Err(_) => (first..first + count).collect(),
    }
}
