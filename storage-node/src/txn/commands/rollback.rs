//! Rolls a transaction back on keys: `BatchRollback`, `Cleanup`, and what other commands use of it.
//!
//! A rollback leaves a record at `(key, start_ts)`, so that a prewrite that arrives late finds it. Such records of
//! optimistic transactions may be replaced by those of later ones, since then the late prewrite meets the later record
//! as a conflict; a pessimistic prewrite does not look for conflicts, so that on the primaries of pessimistic
//! transactions, and wherever a status check found nothing, the record is protected.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{CommitRecord, Key, Lock, LockKind, MvccError, MvccReader, Write};
use crate::txn::{Changes, Result, TxnError};

/// Rolls a transaction back on all of the keys.
pub fn batch_rollback<S: Snapshot>(snapshot: &S, keys: &[Key], start_ts: Timestamp) -> Result<Outcome<()>> {
    let mut changes = Changes::default();
    for key in keys {
        rollback_key(&MvccReader::new(snapshot), &mut changes, key, start_ts, None, false)?;
    }
    Ok(Outcome::new(changes, ()))
}

/// Rolls a transaction back on one key if its lock is overdue at `now` (zero: whatever its age).
pub fn cleanup<S: Snapshot>(snapshot: &S, key: &Key, start_ts: Timestamp, now: Timestamp) -> Result<Outcome<()>> {
    let mut changes = Changes::default();
    let now = (now != Timestamp::ZERO).then_some(now);
    rollback_key(&MvccReader::new(snapshot), &mut changes, key, start_ts, now, true)?;
    Ok(Outcome::new(changes, ()))
}

/// Rolls back whatever is there: a lock, or nothing yet. With `now`, a lock that is not overdue is left alone.
pub(super) fn rollback_key<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    changes: &mut Changes,
    key: &Key,
    start_ts: Timestamp,
    now: Option<Timestamp>,
    protect: bool,
) -> Result<()> {
    match reader.lock(key)? {
        Some(lock) if lock.start_ts == start_ts => {
            if now.is_some_and(|now| !lock.is_expired(now)) {
                return Err(MvccError::locked(key, lock).into());
            }
            rollback_lock(reader, changes, key, &lock)
        }
        other => match reader.commit_record(key, start_ts)? {
            CommitRecord::RolledBack => Ok(()),
            CommitRecord::Committed { commit_ts, .. } => {
                Err(TxnError::Committed { start_ts, commit_ts, key: key.to_user()? })
            }
            record => {
                rollback_nothing(changes, key, start_ts, other, record, protect);
                Ok(())
            }
        },
    }
}

/// Removes a lock and its value, and leaves a rollback record.
pub(super) fn rollback_lock<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    changes: &mut Changes,
    key: &Key,
    lock: &Lock,
) -> Result<()> {
    let start_ts = lock.start_ts;
    if lock.kind == LockKind::Put && lock.short_value.is_none() {
        changes.delete_value(key, start_ts);
    }
    let protect = lock.is_pessimistic_txn() && key.is_user(&lock.primary);
    match reader.commit_record(key, start_ts)? {
        CommitRecord::None => {
            changes.put_write(key, start_ts, &Write::rollback(start_ts, protect));
            if !protect {
                collapse_older_rollback(reader, changes, key, start_ts)?;
            }
        }
        CommitRecord::Overlapped(write) => mark_overlapped(changes, key, start_ts, write, protect),
        CommitRecord::RolledBack => {}
        // Only a bug writes a commit and leaves the lock: keep the commit, drop the lock.
        CommitRecord::Committed { .. } => {}
    }
    changes.unlock(key, start_ts, Timestamp::ZERO);
    Ok(())
}

/// Leaves a rollback record where the transaction has neither lock nor record; `other` is another one's lock there.
pub(super) fn rollback_nothing(
    changes: &mut Changes,
    key: &Key,
    start_ts: Timestamp,
    other: Option<Lock>,
    record: CommitRecord,
    protect: bool,
) {
    match record {
        CommitRecord::Overlapped(write) => mark_overlapped(changes, key, start_ts, write, protect),
        _ => changes.put_write(key, start_ts, &Write::rollback(start_ts, protect)),
    }
    // The other transaction may come to commit at exactly `start_ts` if its commit timestamp is not from PD; its
    // commit would then replace this record, so that it must know.
    if let Some(mut lock) = other
        && protect
        && lock.use_async_commit
        && start_ts >= lock.min_commit_ts
        && !lock.rollback_ts.contains(&start_ts)
    {
        lock.rollback_ts.push(start_ts);
        changes.put_lock(key, &lock);
    }
}

/// Marks another transaction's commit at `start_ts` as a rollback too, if the rollback has to stay.
fn mark_overlapped(changes: &mut Changes, key: &Key, start_ts: Timestamp, mut write: Write, protect: bool) {
    if protect && !write.overlapped_rollback {
        write.overlapped_rollback = true;
        changes.put_write(key, start_ts, &write);
    }
}

/// Drops the newest older rollback record when it is not protected: the new one does its work.
fn collapse_older_rollback<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    changes: &mut Changes,
    key: &Key,
    start_ts: Timestamp,
) -> Result<()> {
    if let Some((ts, write)) = reader.newest_write(key, start_ts.prev())?
        && ts == write.start_ts
        && write.kind == crate::mvcc::WriteKind::Rollback
        && !write.is_protected_rollback()
    {
        changes.delete_write(key, ts);
    }
    Ok(())
}
