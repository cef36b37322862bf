//! Whether all locks of an async commit are there. Where one is missing, a rollback record keeps it from arriving late.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use super::rollback::{rollback_lock, rollback_nothing};
use crate::mvcc::{CommitRecord, Key, LockInfo, LockKind, MvccReader};
use crate::txn::{Changes, Result};

/// What the keys tell of the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondaryLocks {
    /// All are locked: with the others of the transaction, that is a commit.
    Locked(Vec<LockInfo>),
    /// One is committed already, so all are.
    Committed(Timestamp),
    /// One is rolled back, so all are.
    RolledBack,
}

/// Looks at the keys of the transaction.
pub fn check_secondary_locks<S: Snapshot>(
    snapshot: &S,
    keys: &[Key],
    start_ts: Timestamp,
) -> Result<Outcome<SecondaryLocks>> {
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    let mut locks = Vec::new();
    for key in keys {
        match reader.lock(key)? {
            Some(lock) if lock.start_ts == start_ts && lock.kind != LockKind::Pessimistic => {
                locks.push(LockInfo { key: key.to_user()?, lock });
            }
            Some(lock) if lock.start_ts == start_ts => {
                // Not prewritten, hence not committed: it must not be prewritten any more.
                rollback_lock(&reader, &mut changes, key, &lock)?;
                return Ok(Outcome::new(changes, SecondaryLocks::RolledBack));
            }
            other => match reader.commit_record(key, start_ts)? {
                CommitRecord::Committed { commit_ts, .. } => {
                    return Ok(Outcome::new(changes, SecondaryLocks::Committed(commit_ts)));
                }
                CommitRecord::RolledBack => return Ok(Outcome::new(changes, SecondaryLocks::RolledBack)),
                record => {
                    rollback_nothing(&mut changes, key, start_ts, other, record, true);
                    return Ok(Outcome::new(changes, SecondaryLocks::RolledBack));
                }
            },
        }
    }
    Ok(Outcome::new(changes, SecondaryLocks::Locked(locks)))
}
