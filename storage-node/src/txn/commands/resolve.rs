//! Finishes locks of transactions whose end is known: committed, or rolled back.

use std::collections::HashMap;

use codec::timestamp::Timestamp;
use engine::{KeyRange, Snapshot};

use super::Outcome;
use super::commit::commit_lock;
use super::rollback::{rollback_key, rollback_lock};
use crate::mvcc::{Key, MvccReader};
use crate::txn::{Changes, Result};

/// Locks that are resolved in one write, so that none grows beyond what a log entry may be.
pub const RESOLVE_BATCH: usize = 256;

/// Transactions and when they committed; zero for rolled back.
pub type TxnEnds = HashMap<Timestamp, Timestamp>;

/// Keys in the range that are locked by one of the transactions, at most [`RESOLVE_BATCH`], and where to go on.
pub fn find<S: Snapshot>(snapshot: &S, range: &KeyRange, ends: &TxnEnds) -> Result<(Vec<Key>, Option<Vec<u8>>)> {
    let reader = MvccReader::new(snapshot);
    let (locks, all) = reader.scan_locks(range, RESOLVE_BATCH, |lock| ends.contains_key(&lock.start_ts))?;
    let keys: Vec<Key> = locks.into_iter().map(|(key, _)| key).collect();
    let next = match (all, keys.last()) {
        (false, Some(last)) => Some(codec::key::next(last.encoded())),
        _ => None,
    };
    Ok((keys, next))
}

/// Finishes the locks on keys that [`find`] found; whatever else is there by now is left alone.
pub fn resolve_found<S: Snapshot>(snapshot: &S, keys: &[Key], ends: &TxnEnds) -> Result<Outcome<()>> {
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    for key in keys {
        let Some(lock) = reader.lock(key)? else { continue };
        match ends.get(&lock.start_ts) {
            Some(&Timestamp::ZERO) => rollback_lock(&reader, &mut changes, key, &lock)?,
            Some(&commit_ts) => commit_lock(&mut changes, key, &lock, commit_ts)?,
            None => {}
        }
    }
    Ok(Outcome::new(changes, ()))
}

/// Finishes one transaction on keys that the client names. On a rollback a key without its lock gets a record, so that
/// the lock cannot arrive late.
pub fn resolve_lite<S: Snapshot>(
    snapshot: &S,
    keys: &[Key],
    start_ts: Timestamp,
    commit_ts: Timestamp,
) -> Result<Outcome<()>> {
    if commit_ts != Timestamp::ZERO {
        return resolve_found(snapshot, keys, &TxnEnds::from([(start_ts, commit_ts)]));
    }
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    for key in keys {
        rollback_key(&reader, &mut changes, key, start_ts, None, false)?;
    }
    Ok(Outcome::new(changes, ()))
}
