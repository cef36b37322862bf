//! Garbage collection, as the DDL owner runs it: how old what is read may be, from `tidb_gc_life_time` on.
//!
//! ```text
//!   now − life time ── not past the oldest transaction of any server, nor what PD's other services want kept
//!        │ resolve all locks before it
//!        │ PD: this is the safe point ──▶ storage nodes refuse what is before it, and drop old versions (by themselves)
//!        └ dropped tables and indexes: their ranges are emptied; until then RECOVER TABLE brings a table back
//! ```
//!
//! No transaction of a living server is older than the safe point when locks are resolved: each tells its oldest
//! (`Domain::run_age`) after it has refused those before. A server whose lease ended may have older ones, which it cannot
//! commit. So a lock before the safe point is nobody's any more, and is not waited for.
//!
//! Not here: dropping versions (`storage-node`), the variables (`sql-context`).

use std::time::Duration;

use kv_client::{Timestamp, TxnOptions};
use serde::{Deserialize, Serialize};
use sql_base::SqlError;
use sql_catalog::meta::DeleteRange;
use sql_catalog::{Meta, transact};
use sql_context::vars::GcSettings;

use super::domain::{Domain, PAUSE};

/// How often it is looked whether a run is due.
const LOOK: Duration = Duration::from_secs(1);
/// After this long every storage node refuses reads before a new safe point: they ask PD every two seconds. What is
/// emptied at once and without a trace waits for it.
const NODES_HEAR: Duration = Duration::from_secs(5);
/// The name under which the safe point is registered at PD, as that of the original.
const SERVICE: &str = "gc_worker";

/// How far garbage collection has come, as `mysql.tidb` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcState {
    /// The server that ran it last.
    pub leader: String,
    /// When: a timestamp.
    pub last_run: u64,
    /// Versions before it may be gone: a timestamp.
    pub safe_point: u64,
}

/// Runs for as long as this server is the owner.
pub(super) async fn run(domain: &Domain) {
    let mut state = loop {
        match read_state(domain).await {
            Ok(state) => break state,
            Err(error) => tracing::info!(%error, "the state of garbage collection is not known"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    loop {
        tokio::time::sleep(LOOK).await;
        let settings = domain.globals().server().gc;
        if !settings.enabled {
            continue;
        }
        if let Err(error) = turn(domain, &settings, &mut state).await {
            tracing::info!(%error, "garbage is not collected");
        }
    }
}

/// How far garbage collection has come.
pub(crate) async fn read_state(domain: &Domain) -> Result<GcState, SqlError> {
    let mut txn = domain.kv.begin(TxnOptions::optimistic()).await?;
    Ok(Meta::new(&mut txn).gc_state().await?.unwrap_or_default())
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    Timestamp::compose(now.physical().saturating_sub_unsigned(age.as_millis() as u64).max(0), 0)
}

/// A run, if one is due.
async fn turn(domain: &Domain, settings: &GcSettings, state: &mut GcState) -> Result<(), SqlError> {
    let now = domain.kv.timestamp().await?;
    if Timestamp(state.last_run) > before(now, settings.run_interval) {
        return Ok(());
    }
    let wanted = before(now, settings.life_time);
    let oldest = domain.coordinator.oldest().await?.map_or(wanted, Timestamp);
    let pd = domain.kv.pd();
    let allowed =
        pd.update_service_gc_safe_point(SERVICE, i64::MAX, wanted.min(oldest)).await.map_err(kv_client::Error::from)?;
    let safe_point = wanted.min(oldest).min(allowed);
    let mut next = GcState { leader: domain.server.id.clone(), last_run: now.0, safe_point: state.safe_point };
    if safe_point.0 > state.safe_point {
        let locks = domain.kv.resolve_locks_before(safe_point, settings.concurrency).await?;
        next.safe_point = pd.update_gc_safe_point(safe_point).await.map_err(kv_client::Error::from)?.0;
        tracing::info!(safe_point = next.safe_point, locks, "the safe point was moved");
    }
    transact!(&domain.kv, |meta| meta.put_gc_state(&next).await)?;
    *state = next;
    empty_ranges(domain, state.safe_point).await
}

/// Empties the ranges that were dropped before the safe point.
async fn empty_ranges(domain: &Domain, safe_point: u64) -> Result<(), SqlError> {
    let mut due = {
        let mut txn = domain.kv.begin(TxnOptions::optimistic()).await?;
        Meta::new(&mut txn).delete_ranges().await?
    };
    due.retain(|range| range.ts < safe_point);
    if due.is_empty() {
        return Ok(());
    }
    // From here on, none of these tables can come back: who brings one back and this meet at its record.
    let due = transact!(&domain.kv, |meta| begin_to_empty(meta, &due).await)?;
    tokio::time::sleep(NODES_HEAR).await;
    for range in due {
        for (start, end) in std::iter::once((&range.start, &range.end)).chain(range.more.iter().map(|(s, e)| (s, e))) {
            if let (Some(first), Some(last)) = (sql_base::unhex(start), sql_base::unhex(end)) {
                domain.kv.delete_range(&first, &last).await?;
                tracing::info!(start, end, "a dropped range was emptied");
            }
        }
        transact!(&domain.kv, |meta| meta.forget_delete_range(range.id).await)?;
    }
    Ok(())
}

/// Marks ranges as being emptied: those that are still there.
async fn begin_to_empty(meta: &mut Meta<'_>, due: &[DeleteRange]) -> Result<Vec<DeleteRange>, SqlError> {
    let mut marked = Vec::with_capacity(due.len());
    for range in due {
        let Some(mut held) = meta.delete_range(range.id).await? else { continue };
        if !held.emptying {
            (held.emptying, held.table) = (true, None);
            meta.put_delete_range(&held).await?;
        }
        marked.push(held);
    }
    Ok(marked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_time_longer_than_the_cluster_is_old_keeps_everything() {
        let now = Timestamp::compose(5000, 3);
        assert_eq!(before(now, Duration::from_secs(2)), Timestamp::compose(3000, 0));
        assert_eq!(before(now, Duration::from_secs(60)), Timestamp::ZERO);
    }
}
