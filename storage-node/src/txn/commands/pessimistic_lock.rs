//! Locks keys for a transaction before it knows what it will write.
//!
//! The lock is taken at `for_update_ts`: the statement reads the newest versions at that time, so that a version newer
//! than it is a conflict, and the statement runs again at a newer time. From then on the transaction's prewrite of the
//! key cannot conflict.

use bytes::Bytes;
use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{CommitRecord, Key, Lock, LockKind, MvccError, MvccReader, WriteKind};
use crate::txn::{Changes, ConflictReason, Result, TxnError};

/// What to lock, and what to tell of it.
#[derive(Clone, Debug)]
pub struct PessimisticLock {
    /// The keys, and for each whether it must not exist.
    pub keys: Vec<(Key, bool)>,
    /// The transaction's primary, a user key.
    pub primary: Vec<u8>,
    /// The transaction.
    pub start_ts: Timestamp,
    /// How long others leave the lock alone, in milliseconds after `start_ts`.
    pub ttl_ms: u64,
    /// The time at which the statement reads.
    pub for_update_ts: Timestamp,
    /// Promised to be before the commit; zero when nothing is.
    pub min_commit_ts: Timestamp,
    /// Tell the values.
    pub return_values: bool,
    /// Tell whether the keys exist.
    pub check_existence: bool,
    /// Lock only keys that exist; needs `return_values` or `check_existence`.
    pub lock_only_if_exists: bool,
    /// Lock one key in spite of a newer version, and tell that version's time.
    pub allow_conflict: bool,
}

/// What is told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedKey {
    /// The value, when asked for and there is one.
    pub value: Option<Bytes>,
    /// Whether there is one, when asked for or found out.
    pub exists: bool,
    /// The newer version in spite of which the key was locked.
    pub conflict_ts: Option<Timestamp>,
}

/// Locks all of the keys or none.
pub fn pessimistic_lock<S: Snapshot>(snapshot: &S, cmd: &PessimisticLock) -> Result<Outcome<Vec<LockedKey>>> {
    if cmd.lock_only_if_exists && !cmd.return_values && !cmd.check_existence {
        return Err(TxnError::Invalid("lock_only_if_exists without return_values or check_existence".into()));
    }
    if cmd.allow_conflict && cmd.keys.len() != 1 {
        return Err(TxnError::Invalid("locking with conflict takes one key at a time".into()));
    }
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    let mut told = Vec::with_capacity(cmd.keys.len());
    for (key, must_not_exist) in &cmd.keys {
        told.push(lock_key(&reader, &mut changes, cmd, key, *must_not_exist)?);
    }
    Ok(Outcome::new(changes, told))
}

fn lock_key<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    changes: &mut Changes,
    cmd: &PessimisticLock,
    key: &Key,
    must_not_exist: bool,
) -> Result<LockedKey> {
    let need_value = cmd.return_values || cmd.check_existence || cmd.lock_only_if_exists || must_not_exist;
    if let Some(lock) = reader.lock(key)? {
        return own_lock(reader, changes, cmd, key, lock, need_value);
    }
    let mut for_update_ts = cmd.for_update_ts;
    let mut conflict_ts = None;
    let newest = reader.newest_write(key, Timestamp::MAX)?;
    if let Some((commit_ts, write)) = &newest {
        // Only a rollback that came first can be at or after the start: look for one before anything else is said.
        if *commit_ts >= cmd.start_ts && reader.commit_record(key, cmd.start_ts)? == CommitRecord::RolledBack {
            return Err(TxnError::PessimisticLockRolledBack { start_ts: cmd.start_ts, key: key.to_user()? });
        }
        if *commit_ts > cmd.for_update_ts {
            if !cmd.allow_conflict {
                return Err(TxnError::WriteConflict {
                    start_ts: cmd.start_ts,
                    conflict_start_ts: write.start_ts,
                    conflict_commit_ts: *commit_ts,
                    key: key.to_user()?,
                    primary: cmd.primary.clone(),
                    reason: ConflictReason::PessimisticRetry,
                });
            }
            for_update_ts = *commit_ts;
            conflict_ts = Some(*commit_ts);
        }
    }
    let mut locked = LockedKey { value: None, exists: false, conflict_ts };
    if need_value || conflict_ts.is_some() {
        (locked.value, locked.exists) = current_value(reader, cmd, key, newest)?;
    }
    if must_not_exist && locked.exists {
        return Err(TxnError::AlreadyExist { key: key.to_user()? });
    }
    if cmd.lock_only_if_exists && !locked.exists {
        return Ok(locked);
    }
    let mut lock = Lock::new(LockKind::Pessimistic, cmd.primary.clone(), cmd.start_ts, cmd.ttl_ms);
    lock.for_update_ts = for_update_ts;
    lock.min_commit_ts = cmd.min_commit_ts;
    lock.locked_with_conflict = conflict_ts.is_some();
    changes.put_lock(key, &lock);
    Ok(locked)
}

/// The key is locked: by somebody else, or by this transaction, whose lock is refreshed.
fn own_lock<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    changes: &mut Changes,
    cmd: &PessimisticLock,
    key: &Key,
    mut lock: Lock,
    need_value: bool,
) -> Result<LockedKey> {
    if lock.start_ts != cmd.start_ts {
        return Err(MvccError::locked(key, lock).into());
    }
    if lock.kind != LockKind::Pessimistic {
        return Err(TxnError::LockKindMismatch { start_ts: cmd.start_ts, key: key.to_user()?, kind: lock.kind });
    }
    let mut locked = LockedKey { value: None, exists: false, conflict_ts: None };
    if lock.locked_with_conflict && cmd.allow_conflict && lock.for_update_ts > cmd.for_update_ts {
        locked.conflict_ts = Some(lock.for_update_ts);
    }
    if need_value || locked.conflict_ts.is_some() {
        let newest = reader.newest_write(key, Timestamp::MAX)?;
        (locked.value, locked.exists) = current_value(reader, cmd, key, newest)?;
    }
    if cmd.for_update_ts > lock.for_update_ts {
        lock.primary = cmd.primary.clone();
        lock.for_update_ts = cmd.for_update_ts;
        lock.ttl_ms = lock.ttl_ms.max(cmd.ttl_ms);
        lock.min_commit_ts = lock.min_commit_ts.max(cmd.min_commit_ts);
        lock.locked_with_conflict = false;
        changes.put_lock(key, &lock);
    }
    Ok(locked)
}

/// The newest value, which is the one at `for_update_ts` once the key is locked; loaded only when asked for.
fn current_value<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    cmd: &PessimisticLock,
    key: &Key,
    newest: Option<(Timestamp, crate::mvcc::Write)>,
) -> Result<(Option<Bytes>, bool)> {
    let change = match newest {
        Some((_, write)) if write.kind.is_change() => Some(write),
        Some((commit_ts, _)) => reader.newest_change(key, commit_ts.prev())?.map(|(_, write)| write),
        None => None,
    };
    let Some(write) = change.filter(|w| w.kind == WriteKind::Put) else { return Ok((None, false)) };
    let value = if cmd.return_values || cmd.allow_conflict { reader.value_of(key, &write)? } else { None };
    Ok((value, true))
}
