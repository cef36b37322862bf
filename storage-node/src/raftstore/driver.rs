//! The thread that owns the store: where the pure core meets the clock, the disk and the network.
//!
//! One thread drives all regions, so that one sync serves all that are ready; a second one does slow work in order.
//! A thread that fails or panics ends the store: nothing is served any more, and whoever runs the store is told why, so
//! that the process can end and its log ends with the reason. (Some calls of a failing disk panic in the libraries.) Half a
//! store would keep its leaderships and answer nobody. The same goes for a store whose readers meet damaged data: it ends
//! with the next tick, since what was damaged is whole on the other replicas.
//!
//! Sending and PD belong to the async runtime. The loop sleeps until a message arrives or a tick is due; ticks that were
//! missed are not made up for, since a burst of them would shorten every timeout.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// Starts the threads. `failed` is called with the reason when one of them has failed or panicked; nothing is served
    /// after that.
    pub fn start<L: RaftLog + Sync>(
        store: Store<E, L>,
        tick: Duration,
        outside: impl Outside<E>,
        failed: impl Fn(&str) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = store.shared().clone();
        let failed: Arc<dyn Fn(&str) + Send + Sync> = Arc::new(failed);
        let (jobs, queue) = mpsc::channel::<Job>();
        let (log, engine, results) = (store.log().clone(), shared.engine.clone(), shared.clone());
        let end = EndOfThread { shared: shared.clone(), failed: Some(failed.clone()), reason: String::new() };
        let work = move || {
            for job in queue {
                let _replacing = job.replaces_data().then(|| results.replacing.lock());
                let done = match job {
                    Job::ReclaimLog => reclaim(&log),
                    job => job.run(&engine),
                };
                results.inbox.push(Msg::JobDone(done));
            }
            Ok(())
        };
        let job_thread = std::thread::Builder::new().name("raft-jobs".into()).spawn(move || end.after(work))?;
        let end = EndOfThread { shared: shared.clone(), failed: Some(failed), reason: String::new() };
        let work = move || run(store, tick, &outside, &jobs);
        let store_thread = std::thread::Builder::new().name("raft-store".into()).spawn(move || end.after(work))?;
        Ok(Driver { shared, store: Some(store_thread), jobs: Some(job_thread) })
    }

    /// Leaves the threads alone instead of stopping them: after a failure one may hang in a call to the disk.
    pub fn abandon(&mut self) {
        (self.store, self.jobs) = (None, None);
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

/// Ends the store's service with one of its threads, whatever ends that.
struct EndOfThread<E: Engine> {
    shared: Arc<Shared<E>>,
    /// To be told, unless the thread ends in order.
    failed: Option<Arc<dyn Fn(&str) + Send + Sync>>,
    /// Why it does not.
    reason: String,
}

impl<E: Engine> EndOfThread<E> {
    /// Does the thread's work, which ends without a failure only when the store is stopped.
    fn after(mut self, work: impl FnOnce() -> Result<(), StoreFailure>) {
        let reason = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(())) => {
                self.failed = None;
                return;
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(panic) => why(std::thread::current().name().unwrap_or_default(), &*panic),
        };
        tracing::error!("the store stops: {reason}");
        self.reason = reason;
    }
}

/// What to say of a thread that panicked.
fn why(thread: &str, panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("its thread {thread} panicked, most likely as its disk failed: {}", text.unwrap_or("without a word"))
}

impl<E: Engine> Drop for EndOfThread<E> {
    fn drop(&mut self) {
        self.shared.inbox.close();
        self.shared.delegates.write().clear();
        if let Some(failed) = self.failed.take() {
            failed(&self.reason);
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
            // A reader met it and could only say that it has no answer: as long as this store leads, nobody else has.
            if let Some(damage) = shared.engine.damage() {
                return Err(damage.into());
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftstore::StoreConfig;
    use crate::raftstore::log::MemoryLog;
    use engine::memory::MemoryEngine;
    use std::time::Instant;

    struct Nowhere;

    impl Outside<MemoryEngine> for Nowhere {
        fn perform(&self, _: Effects<MemoryEngine>) {}
    }

    #[test]
    fn a_store_whose_readers_meet_damaged_data_ends_and_says_why() {
        let (engine, begun) = (MemoryEngine::new(), Instant::now());
        let clock = Arc::new(move || begun.elapsed().as_nanos() as u64);
        let shared = Shared::new(1, engine.clone(), clock, 1 << 20);
        let store = Store::open(StoreConfig::default(), shared.clone(), MemoryLog::new(), 1).unwrap();
        let (told, reason) = mpsc::channel();
        let failed = move |why: &str| drop(told.send(why.to_owned()));
        let _driver = Driver::start(store, Duration::from_millis(10), Nowhere, failed).unwrap();
        assert!(reason.recv_timeout(Duration::from_millis(200)).is_err(), "nothing is wrong yet");
        engine.damage_now();
        let reason = reason.recv_timeout(Duration::from_secs(5)).expect("the store ends");
        assert!(reason.contains("corrupted data: a block"), "{reason}");
        assert!(shared.inbox.is_closed());
    }

    #[test]
    fn a_thread_that_panics_in_a_call_of_a_failing_disk_leaves_the_reason() {
        let panicked = |work: fn()| catch_unwind(work).unwrap_err();
        let error = panicked(|| panic!("an Err value: {:?}", std::io::Error::other("fdatasync")));
        let reason = why("raft-store", &*error);
        assert!(reason.starts_with("its thread raft-store panicked, most likely as its disk failed: "), "{reason}");
        assert!(reason.ends_with("error: \"fdatasync\" }"), "{reason}");
        assert!(why("raft-jobs", &*panicked(|| panic!("no space"))).ends_with(": no space"));
        assert!(why("raft-jobs", &*panicked(|| std::panic::panic_any(7))).ends_with(": without a word"));
    }
}
