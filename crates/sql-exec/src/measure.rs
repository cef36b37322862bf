//! What the operators of a statement did, for EXPLAIN ANALYZE: counted by whoever runs them, node by node.
//!
//! A node's time is that of its own calls with those that it makes of the nodes below, as in TiDB.
//!
//! Whoever wants to know runs the statement within [`measured`]; the plan that is run there gets meters, wherever it is made.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use proto::tipb;
use sql_planner::plan::{NodeId, Physical};

/// What the operators of one node did.
#[derive(Debug, Default)]
pub struct Meter {
    /// Rows that they gave.
    rows: AtomicU64,
    /// How often they were asked for some.
    loops: AtomicU64,
    nanos: AtomicU64,
    /// The most that one of them held, in bytes.
    pub(crate) memory: Arc<AtomicUsize>,
    /// Bytes that they wrote to disk.
    pub(crate) disk: Arc<AtomicU64>,
    /// What storage nodes did for them. Held for a push, never across an await.
    remote: Mutex<Remote>,
}

/// What storage nodes did for a scan.
#[derive(Debug, Default, Clone)]
pub struct Remote {
    /// Answers.
    pub tasks: u64,
    /// Of each of their executors, from the one that reads on: rows, calls, and time.
    pub executors: Vec<(u64, u64, Duration)>,
}

impl Meter {
    /// Rows that were given.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// How often they were asked for some.
    pub fn loops(&self) -> u64 {
        self.loops.load(Ordering::Relaxed)
    }

    /// How long that took.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// The most that one of them held, in bytes.
    pub fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Bytes that they wrote to disk.
    pub fn disk(&self) -> u64 {
        self.disk.load(Ordering::Relaxed)
    }

    /// What storage nodes did for them.
    pub fn remote(&self) -> Remote {
        self.remote.lock().clone()
    }

    /// Counts an answer of a storage node.
    pub(crate) fn answered(&self, summaries: &[tipb::ExecutorExecutionSummary]) {
        let mut remote = self.remote.lock();
        remote.tasks += 1;
        if remote.executors.len() < summaries.len() {
            remote.executors.resize(summaries.len(), Default::default());
        }
        for (sum, summary) in remote.executors.iter_mut().zip(summaries) {
            sum.0 += summary.num_produced_rows.unwrap_or(0);
            sum.1 += summary.num_iterations.unwrap_or(0);
            sum.2 += Duration::from_nanos(summary.time_processed_ns.unwrap_or(0));
        }
    }

    pub(crate) fn count(&self, began: Instant, rows: usize) {
        self.loops.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.nanos.fetch_add(began.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Those of a statement, by the number of the node.
#[derive(Debug)]
pub struct Meters(Vec<Meter>);

impl Meters {
    /// For all nodes of a plan.
    pub fn new(physical: &Physical) -> Meters {
        Meters((0..physical.nodes()).map(|_| Meter::default()).collect())
    }

    /// Of a node.
    pub fn of(&self, at: NodeId) -> &Meter {
        &self.0[at.0]
    }
}

/// A plan that was run, and what its operators did.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) physical: Physical,
    pub(crate) meters: Arc<Meters>,
}

tokio::task_local! {
    /// Held for an assignment, never across an await.
    static RUN: Mutex<Option<Run>>;
}

/// Runs a statement, and has its plan measured: the last one, if it is tried more than once. None if it has no plan.
pub(crate) async fn measured<F: Future>(work: F) -> (F::Output, Option<Run>) {
    let both = async {
        let result = work.await;
        (result, RUN.with(|run| run.lock().take()))
    };
    RUN.scope(Mutex::default(), both).await
}

/// Meters for a plan that is about to be run, if somebody wants to know.
pub(crate) fn meters_of(physical: &Physical) -> Option<Arc<Meters>> {
    let known = RUN.try_with(|run| {
        let meters = Arc::new(Meters::new(physical));
        *run.lock() = Some(Run { physical: physical.clone(), meters: meters.clone() });
        meters
    });
    known.ok()
}
