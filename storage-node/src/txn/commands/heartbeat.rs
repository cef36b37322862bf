//! Prolongs the life of a transaction through its primary lock.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{Key, MvccReader};
use crate::txn::{Changes, Result, TxnError};

/// Raises the time to live of the primary lock to at least `ttl_ms`; returns what it is then.
pub fn txn_heartbeat<S: Snapshot>(
    snapshot: &S,
    primary: &Key,
    start_ts: Timestamp,
    ttl_ms: u64,
) -> Result<Outcome<u64>> {
    match MvccReader::new(snapshot).lock(primary)? {
        Some(mut lock) if lock.start_ts == start_ts => {
            let mut changes = Changes::default();
            if lock.ttl_ms < ttl_ms {
                lock.ttl_ms = ttl_ms;
                changes.put_lock(primary, &lock);
            }
            Ok(Outcome::new(changes, lock.ttl_ms))
        }
        _ => Err(TxnError::TxnNotFound { start_ts, key: primary.to_user()? }),
    }
}
