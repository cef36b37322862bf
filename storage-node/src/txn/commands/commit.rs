//! Turns a transaction's locks into visible versions.
//!
//! Repeating a commit is fine; committing what was rolled back, or never prewritten, is refused. A commit earlier than
//! the lock's `min_commit_ts` is refused: somebody has read past it.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{CommitRecord, Key, Lock, MvccReader, Write};
use crate::txn::{Changes, Result, TxnError};

/// Commits a transaction on all of the keys.
pub fn commit<S: Snapshot>(
    snapshot: &S,
    keys: &[Key],
    start_ts: Timestamp,
    commit_ts: Timestamp,
) -> Result<Outcome<()>> {
    if commit_ts <= start_ts {
        return Err(TxnError::Invalid(format!("commit at {commit_ts} is not after the start at {start_ts}")));
    }
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    for key in keys {
        match reader.lock(key)? {
            Some(lock) if lock.start_ts == start_ts => commit_lock(&mut changes, key, &lock, commit_ts)?,
            _ => match reader.commit_record(key, start_ts)? {
                CommitRecord::Committed { .. } => {}
                _ => return Err(TxnError::TxnLockNotFound { start_ts, commit_ts, key: key.to_user()? }),
            },
        }
    }
    Ok(Outcome::new(changes, ()))
}

/// Turns one lock into a version. A pessimistic lock that its transaction did not prewrite is only removed.
pub(super) fn commit_lock(changes: &mut Changes, key: &Key, lock: &Lock, commit_ts: Timestamp) -> Result<()> {
    let start_ts = lock.start_ts;
    if commit_ts < lock.min_commit_ts {
        let min_commit_ts = lock.min_commit_ts;
        return Err(TxnError::CommitTsExpired { start_ts, commit_ts, key: key.to_user()?, min_commit_ts });
    }
    if let Some(kind) = lock.kind.write_kind() {
        let mut write = Write::new(kind, start_ts, lock.short_value.clone());
        write.overlapped_rollback = lock.rollback_ts.contains(&commit_ts);
        write.txn_source = lock.txn_source;
        changes.put_write(key, commit_ts, &write);
    }
    changes.unlock(key, start_ts, commit_ts);
    Ok(())
}
