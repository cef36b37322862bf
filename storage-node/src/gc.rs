//! Old versions go from this node, replica by replica and in the background.
//!
//! ```text
//!   PD ── safe point ──▶ reads and writes before it are refused (txn::safe_point)
//!                  │ a poll later
//!                  └───▶ Schedule: which replicas have garbage ── one step after the other (txn::commands::gc)
//!                                                             └── the engine is told what was removed (Engine::reclaim)
//! ```
//!
//! Each replica is cleaned by its own node: nothing is replicated, and replicas differ in versions that nobody may read. So
//! no command may decide by the *absence* of a version before the safe point what is to be removed elsewhere.
//!
//! A step is taken while no snapshot is written and no range is emptied ([`Shared::replacing`]): half a history could lose
//! the delete and keep what it hides. Applying goes on meanwhile: it only adds versions, or removes whole ranges.
//!
//! Not here: choosing the safe point, resolving the locks before it (SQL servers), and dropped tables, whose ranges are
//! deleted by request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use codec::timestamp::Timestamp;
use engine::{Cf, Engine, EngineError, KeyRange, Snapshot};
use kv_client::pd::PdClient;
use tokio_util::sync::CancellationToken;

use crate::raftstore::handle::{RaftStoreHandle, ReadDelegate, Shared};
use crate::txn::commands::gc::{GcStep, step};
use crate::txn::{SafePoint, TxnError};

/// How often PD is asked for the safe point.
const POLL: Duration = Duration::from_secs(2);
/// What one node reads and removes in a second: a few per cent of a core, and more than a node can be made to write.
const RECORDS_PER_SECOND: u32 = 100_000;
/// What removing a record costs, as reads.
const REMOVAL_COST: usize = 2;
/// A replica is looked through again when so many versions may have become garbage since.
const VERSIONS_MIN: u64 = 10_000;
/// Or when they are this part, as a divisor, of what it holds.
const VERSIONS_PART: u64 = 16;
/// Or, for the few, after so long.
const RARELY_MS: i64 = 3_600_000;

/// What is remembered of a replica's last pass.
#[derive(Clone, Copy, Debug)]
struct Pass {
    safe_point: Timestamp,
    /// Versions applied when it began.
    versions: u64,
    /// Versions that it found after the safe point.
    newer: u64,
    /// Records that it left.
    left: u64,
}

/// Which replicas are worth a pass.
#[derive(Debug, Default)]
struct Schedule {
    passes: HashMap<u64, Pass>,
}

impl Schedule {
    /// How many versions may have become garbage in a replica since its last pass; `None` when it is too early to look.
    fn garbage(&self, region: u64, versions: u64, safe_point: Timestamp) -> Option<u64> {
        let Some(pass) = self.passes.get(&region) else { return Some(u64::MAX) };
        // A counter that begins anew is that of another replica.
        let since = versions.checked_sub(pass.versions).map_or(u64::MAX, |applied| applied.saturating_add(pass.newer));
        let long_ago = safe_point.physical() - pass.safe_point.physical() >= RARELY_MS;
        let enough = since >= VERSIONS_MIN.min(pass.left / VERSIONS_PART) || long_ago;
        (since > 0 && safe_point > pass.safe_point && enough).then_some(since)
    }

    /// The replicas that are due, those with the most garbage first. Those that are gone are forgotten.
    fn due(&mut self, replicas: &[(u64, u64)], safe_point: Timestamp) -> Vec<u64> {
        self.passes.retain(|region, _| replicas.iter().any(|(id, _)| id == region));
        let garbage = |(id, versions): &(u64, u64)| Some((self.garbage(*id, *versions, safe_point)?, *id));
        let mut due: Vec<(u64, u64)> = replicas.iter().filter_map(garbage).collect();
        due.sort_by_key(|(garbage, id)| (std::cmp::Reverse(*garbage), *id));
        due.into_iter().map(|(_, id)| id).collect()
    }
}

/// One step over a range of an engine: what `step` decides is removed at once.
pub fn collect_step<E: Engine>(engine: &E, range: &KeyRange, safe_point: Timestamp) -> Result<GcStep, TxnError> {
    let mut step = step(&engine.snapshot().once(), range, safe_point)?;
    let batch = std::mem::take(&mut step.changes.batch);
    step.removed = batch.modifies.len();
    if step.removed > 0 {
        engine.write(batch)?;
    }
    Ok(step)
}

/// Takes PD's safe point before anything is served, then follows it and removes what is before it.
pub struct Collector<E: Engine> {
    handle: RaftStoreHandle<E>,
    safe_point: SafePoint,
    /// What all nodes had time to hear of: reads before it are refused everywhere.
    behind: SafePoint,
}

impl<E: Engine> Collector<E> {
    /// A collector that knows no safe point yet.
    pub fn new(handle: RaftStoreHandle<E>, safe_point: SafePoint) -> Arc<Self> {
        Arc::new(Collector { handle, safe_point, behind: SafePoint::default() })
    }

    /// Starts following PD and collecting, until the token ends it.
    pub fn start(self: Arc<Self>, pd: Arc<dyn PdClient>, stop: CancellationToken) {
        let follower = Arc::clone(&self);
        let follow = async move {
            loop {
                tokio::time::sleep(POLL).await;
                let heard = follower.safe_point.get();
                match pd.gc_safe_point().await {
                    Ok(newest) => {
                        follower.behind.raise(heard);
                        follower.safe_point.raise(newest);
                    }
                    Err(e) => tracing::debug!("the safe point is not known: {e}"),
                }
            }
        };
        let collect = async move {
            let mut schedule = Schedule::default();
            loop {
                tokio::time::sleep(POLL).await;
                if let Err(e) = self.collect(&mut schedule).await {
                    tracing::error!("garbage is not collected: {e}");
                }
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow => {}
                () = collect => {}
            }
        });
    }

    /// One pass over each replica that is due.
    async fn collect(&self, schedule: &mut Schedule) -> Result<(), TxnError> {
        let safe_point = self.behind.get();
        if safe_point == Timestamp::ZERO {
            return Ok(());
        }
        let delegates: HashMap<u64, Arc<ReadDelegate>> =
            self.handle.delegates().into_iter().map(|d| (d.state().region.id, d)).collect();
        let replicas: Vec<(u64, u64)> = delegates.iter().map(|(id, d)| (*id, d.versions())).collect();
        let (mut write_bytes, mut default_bytes) = (0, 0);
        for region in schedule.due(&replicas, safe_point) {
            let Some(delegate) = delegates.get(&region) else { continue };
            let mut pass = Pass { safe_point, versions: delegate.versions(), newer: 0, left: 0 };
            let mut range = KeyRange::clone(&delegate.state().region.range);
            loop {
                let Some(step) = self.step(delegate, &range, safe_point).await? else { break };
                pass.newer += step.newer as u64;
                pass.left += step.read.saturating_sub(step.removed) as u64;
                write_bytes += step.write_bytes;
                default_bytes += step.default_bytes;
                metrics::READ.inc_by(step.read as u64);
                metrics::REMOVED.inc_by(step.removed as u64);
                let cost = (step.read + REMOVAL_COST * step.removed) as u32;
                tokio::time::sleep(Duration::from_secs(1) * cost / RECORDS_PER_SECOND).await;
                match step.next {
                    Some(next) => range.start = next,
                    None => break,
                }
            }
            schedule.passes.insert(region, pass);
        }
        let engine = self.handle.shared().engine.clone();
        blocking(move || {
            engine.reclaim(Cf::Write, write_bytes)?;
            engine.reclaim(Cf::Default, default_bytes)
        })
        .await?;
        Ok(())
    }

    /// A step, unless the replica's data may not be looked at.
    async fn step(
        &self,
        delegate: &Arc<ReadDelegate>,
        range: &KeyRange,
        safe_point: Timestamp,
    ) -> Result<Option<GcStep>, TxnError> {
        let shared: Arc<Shared<E>> = self.handle.shared().clone();
        let (delegate, range) = (Arc::clone(delegate), range.clone());
        blocking(move || {
            let _whole = shared.replacing.lock();
            match delegate.state().valid {
                true => collect_step(&shared.engine, &range, safe_point).map(Some),
                false => Ok(None),
            }
        })
        .await
    }
}

/// Work that waits for the disk. It ends with the process if need be.
async fn blocking<T: Send + 'static, F>(work: impl FnOnce() -> Result<T, F> + Send + 'static) -> Result<T, TxnError>
where
    F: Into<TxnError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(EngineError::Io("the work was given up".into()).into()),
    }
}

mod metrics {
    use std::sync::LazyLock;

    use net::metrics::IntCounter;

    /// Records looked at.
    pub(super) static READ: LazyLock<IntCounter> = LazyLock::new(|| {
        net::metrics::counter("storage_node_gc_records_read_total", "records that garbage collection has looked at")
    });
    /// Records and values removed.
    pub(super) static REMOVED: LazyLock<IntCounter> = LazyLock::new(|| {
        net::metrics::counter("storage_node_gc_removed_total", "records and values that garbage collection has removed")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::compose(secs * 1000, 0)
    }

    #[test]
    fn a_replica_is_looked_through_once_and_again_when_enough_was_written() {
        let mut schedule = Schedule::default();
        let replicas = |versions| [(1, versions), (2, 0)];
        assert_eq!(schedule.due(&replicas(5), at(100)), [1, 2]);
        let pass = |versions, newer, left| Pass { safe_point: at(100), versions, newer, left };
        schedule.passes.insert(1, pass(5, 0, 16_000));
        schedule.passes.insert(2, pass(0, 0, 10));
        assert!(schedule.due(&replicas(5), at(200)).is_empty());
        assert!(schedule.due(&replicas(1004), at(200)).is_empty());
        assert_eq!(schedule.due(&replicas(1005), at(200)), [1]);
        assert!(schedule.due(&replicas(1005), at(100)).is_empty(), "nothing has become older");
        // A few are enough in the end; none never are.
        assert_eq!(schedule.due(&replicas(6), at(100 + 3600)), [1]);
        assert!(schedule.due(&replicas(5), at(100 + 3600)).is_empty());
        // What was too new last time counts, too.
        schedule.passes.insert(1, pass(5, 1000, 16_000));
        assert_eq!(schedule.due(&replicas(5), at(200)), [1]);
    }

    #[test]
    fn a_replica_that_left_and_came_back_is_looked_through_anew() {
        let mut schedule = Schedule::default();
        schedule.passes.insert(1, Pass { safe_point: at(100), versions: 500, newer: 0, left: 1_000_000 });
        assert_eq!(schedule.due(&[(1, 3)], at(101)), [1]);
        assert!(schedule.due(&[], at(101)).is_empty());
        assert_eq!(schedule.due(&[(1, 500)], at(101)), [1], "it was forgotten");
    }
}
