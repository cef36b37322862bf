//! The thread that owns the store: where the pure core meets the clock, the disk and the network.
//!
//! One thread drives all regions, so that one sync serves all that are ready; a second one does slow work in order.
//! Sending and PD belong to the async runtime. The loop sleeps until a message arrives or a tick is due; ticks that were
//! missed are not made up for, since a burst of them would shorten every timeout.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use engine::Engine;

use super::handle::Shared;
use super::log::{LogError, RaftLog};
use super::metrics;
use super::msg::{Effects, Job, JobDone, Msg};
use super::peer::StoreFailure;
use super::store::Store;

/// Where the store's effects go.
pub trait Outside<E: Engine>: Send + 'static {
    /// Sends messages and snapshots, and tells PD. Must not block.
    fn perform(&self, effects: Effects<E>);
}

/// The running store.
pub struct Driver<E: Engine> {
    shared: Arc<Shared<E>>,
    store: Option<JoinHandle<()>>,
    jobs: Option<JoinHandle<()>>,
}

impl<E: Engine> Driver<E> {
    /// Starts the threads. `failed` is called when the store had to stop; nothing is served after that.
    pub fn start<L: RaftLog + Sync>(
        store: Store<E, L>,
        tick: Duration,
        outside: impl Outside<E>,
        failed: impl FnOnce(StoreFailure) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = store.shared().clone();
        let (jobs, queue) = mpsc::channel::<Job>();
        let (log, engine, results) = (store.log().clone(), shared.engine.clone(), shared.clone());
        let job_thread = std::thread::Builder::new().name("raft-jobs".into()).spawn(move || {
            for job in queue {
                let done = match job {
                    Job::ReclaimLog => reclaim(&log),
                    job => job.run(&engine),
                };
                results.inbox.push(Msg::JobDone(done));
            }
        })?;
        let inbox = shared.clone();
        let store_thread = std::thread::Builder::new().name("raft-store".into()).spawn(move || {
            let outcome = run(store, tick, &outside, &jobs);
            inbox.inbox.close();
            inbox.delegates.write().clear();
            if let Err(failure) = outcome {
                tracing::error!("the store stops: {failure}");
                failed(failure);
            }
        })?;
        Ok(Driver { shared, store: Some(store_thread), jobs: Some(job_thread) })
    }

    /// Stops the threads and waits for them.
    pub fn stop(&mut self) {
        self.shared.inbox.close();
        for thread in [self.store.take(), self.jobs.take()].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!("a store thread panicked");
            }
        }
    }
}

impl<E: Engine> Drop for Driver<E> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn reclaim<L: RaftLog>(log: &L) -> JobDone {
    if let Err(LogError(e)) = log.reclaim() {
        tracing::warn!("raft log space not reclaimed: {e}");
    }
    JobDone::LogReclaimed
}

fn run<E: Engine, L: RaftLog>(
    mut store: Store<E, L>,
    tick: Duration,
    outside: &impl Outside<E>,
    jobs: &mpsc::Sender<Job>,
) -> Result<(), StoreFailure> {
    let shared = store.shared().clone();
    let clock = || (shared.clock)();
    let tick_nanos = tick.as_nanos() as u64;
    let mut next_tick = clock() + tick_nanos;
    let mut inbox = Vec::new();
    let perform = |store: &mut Store<E, L>| {
        let mut effects = store.take_effects();
        for job in effects.jobs.drain(..) {
            let _ = jobs.send(job);
        }
        outside.perform(effects);
    };
    loop {
        let idle = if store.is_dirty() { 0 } else { next_tick.saturating_sub(clock()) };
        shared.inbox.wait(Duration::from_nanos(idle), &mut inbox);
        if shared.inbox.is_closed() {
            return Ok(());
        }
        store.begin(clock());
        metrics::INBOX.observe(inbox.len());
        for msg in inbox.drain(..) {
            store.handle(msg)?;
        }
        if clock() >= next_tick {
            store.tick();
            next_tick = clock() + tick_nanos;
        }
        if store.collect()? {
            perform(&mut store);
            let begun = clock();
            if store.persist()? {
                metrics::SYNC.observe(Duration::from_nanos(clock().saturating_sub(begun)).as_secs_f64());
            }
            let begun = clock();
            store.begin(begun);
            store.finish()?;
            metrics::APPLY.observe(Duration::from_nanos(clock().saturating_sub(begun)).as_secs_f64());
        }
        perform(&mut store);
    }
}
