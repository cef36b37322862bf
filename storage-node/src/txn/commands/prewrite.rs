//! Locks the keys of a transaction with the values they are to have; the first half of two-phase commit.
//!
//! Three ways to end:
//! - **two phases**: locks are written; the client commits them at a timestamp from PD;
//! - **async commit**: each lock carries the timestamp from which the transaction may commit, and the primary the names
//!   of the others, so that the transaction *is* committed, at the latest of these timestamps, once all locks are there;
//! - **one phase**: this request has all keys, so that versions are written at once, without locks.
//!
//! The last two choose timestamps through [`ConcurrencyManager::lock_keys`]; when that is later than the client allows
//! (`max_commit_ts`), they fall back to the first, and say so by answering no timestamp.
//!
//! A request may arrive again after its transaction was committed by others; then the answer is success.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{
    CommitRecord, Key, Lock, LockInfo, LockKind, MvccError, MvccReader, SHORT_VALUE_BYTES_MAX, Write, WriteKind,
};
use crate::txn::concurrency::ConcurrencyManager;
use crate::txn::{Assertion, Changes, ConflictReason, Mutation, MutationOp, Result, TxnError};

/// What to check on a key of a pessimistic transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PessimisticCheck {
    /// Conflicts, as an optimistic transaction does: the key was not locked before.
    #[default]
    None,
    /// That the pessimistic lock is there.
    Lock,
    /// Conflicts after `for_update_ts`: a uniqueness check put off until now.
    Constraint,
}

/// How often assertions are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AssertionLevel {
    /// Never.
    #[default]
    Off,
    /// When the version is read anyway.
    Fast,
    /// Always.
    Strict,
}

/// What to prewrite.
#[derive(Clone, Debug, Default)]
pub struct Prewrite {
    /// The changes.
    pub mutations: Vec<Mutation>,
    /// What to check on each key of a pessimistic transaction; empty for an optimistic one.
    pub checks: Vec<PessimisticCheck>,
    /// `for_update_ts` that the client saw when it locked the key, by index.
    pub expected_for_update_ts: Vec<(usize, Timestamp)>,
    /// The transaction's primary, a user key.
    pub primary: Vec<u8>,
    /// The transaction.
    pub start_ts: Timestamp,
    /// How long others leave the locks alone, in milliseconds after `start_ts`.
    pub ttl_ms: u64,
    /// Keys in the transaction, roughly.
    pub txn_size: u64,
    /// The newest time at which the transaction locked; zero for an optimistic one.
    pub for_update_ts: Timestamp,
    /// Promised to be before the commit; zero when nothing is.
    pub min_commit_ts: Timestamp,
    /// Commit no later than this with a timestamp chosen here; zero for no limit.
    pub max_commit_ts: Timestamp,
    /// Async commit: on the primary, the other user keys.
    pub async_commit: Option<Vec<Vec<u8>>>,
    /// All keys of the transaction are here: commit at once.
    pub one_phase: bool,
    /// How often assertions are checked.
    pub assertion_level: AssertionLevel,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prewritten {
    /// Locks of others in the way; then nothing was written.
    pub locked: Vec<LockInfo>,
    /// Async commit: the transaction commits at or after it. Zero: commit in two phases.
    pub min_commit_ts: Timestamp,
    /// One phase: committed then. Zero: commit in two phases.
    pub one_phase_commit_ts: Timestamp,
}

/// What one mutation needs.
enum Step {
    /// A new lock, whose own minimal commit timestamp is at least that of the old pessimistic one.
    Write(Lock, Option<Vec<u8>>),
    /// It was prewritten before: with async commit, at that minimal commit timestamp.
    Repeated(Lock),
    /// Nothing to write.
    Checked,
}

/// Decides on all mutations; writes either all of them or nothing.
pub fn prewrite<S: Snapshot>(
    snapshot: &S,
    cmd: &Prewrite,
    manager: &ConcurrencyManager,
) -> Result<Outcome<Prewritten>> {
    if cmd.for_update_ts == Timestamp::ZERO && cmd.checks.iter().any(|c| *c != PessimisticCheck::None) {
        return Err(TxnError::Invalid("pessimistic checks in an optimistic prewrite".into()));
    }
    let reader = MvccReader::new(snapshot);
    let mut locked = Vec::new();
    let mut writes: Vec<(&Mutation, Lock, Option<Vec<u8>>)> = Vec::new();
    let mut repeated: Vec<Lock> = Vec::new();
    for (i, mutation) in cmd.mutations.iter().enumerate() {
        match check(&reader, cmd, i, mutation) {
            Ok(Step::Write(lock, value)) => writes.push((mutation, lock, value)),
            Ok(Step::Repeated(lock)) => repeated.push(lock),
            Ok(Step::Checked) => {}
            Err(TxnError::Mvcc(MvccError::KeyIsLocked(info))) => locked.push(*info),
            Err(e @ (TxnError::WriteConflict { .. } | TxnError::PessimisticLockNotFound { .. })) => {
                return committed_before(&reader, cmd, &mutation.key).and_then(|answer| answer.ok_or(e));
            }
            Err(e) => return Err(e),
        }
    }
    if !locked.is_empty() {
        return Ok(Outcome::unchanged(Prewritten { locked, ..Prewritten::default() }));
    }
    if repeated.is_empty() && cmd.one_phase {
        return Ok(write_one_phase(cmd, writes, manager));
    }
    Ok(write_locks(cmd, writes, &repeated, manager))
}

/// What a mutation needs, given what is stored of its key.
fn check<S: Snapshot>(reader: &MvccReader<'_, S>, cmd: &Prewrite, i: usize, mutation: &Mutation) -> Result<Step> {
    let key = &mutation.key;
    let check = cmd.checks.get(i).copied().unwrap_or_default();
    let start_ts = cmd.start_ts;
    let not_found = |reason| {
        let key = key.to_user()?;
        Err(TxnError::PessimisticLockNotFound { start_ts, key, reason })
    };
    let mut ttl_ms = cmd.ttl_ms;
    let mut min_commit_ts = cmd.min_commit_ts;
    // The newest record, once it is read.
    let mut newest: Option<Option<(Timestamp, Write)>> = None;
    match reader.lock(key)? {
        Some(lock) if lock.start_ts != start_ts && check == PessimisticCheck::Lock => {
            return not_found("another transaction holds the key");
        }
        Some(lock) if lock.start_ts != start_ts => return Err(MvccError::locked(key, lock).into()),
        Some(lock) if lock.kind != LockKind::Pessimistic => return Ok(Step::Repeated(lock)),
        Some(lock) if cmd.for_update_ts == Timestamp::ZERO => {
            return Err(TxnError::LockKindMismatch { start_ts, key: key.to_user()?, kind: lock.kind });
        }
        Some(lock) => {
            let expected = cmd.expected_for_update_ts.iter().find(|(at, _)| *at == i);
            if expected.is_some_and(|(_, ts)| *ts != lock.for_update_ts) {
                return not_found("it was locked again at another time");
            }
            ttl_ms = ttl_ms.max(lock.ttl_ms);
            min_commit_ts = min_commit_ts.max(lock.min_commit_ts);
        }
        None if check == PessimisticCheck::Lock => {
            // The lock may have been lost with the node that kept it. As long as nobody wrote the key since, it is as
            // good as held.
            let record = reader.newest_write(key, Timestamp::MAX)?;
            if record.as_ref().is_some_and(|(commit_ts, _)| *commit_ts >= start_ts) {
                return not_found("it is gone, and the key was written since");
            }
            newest = Some(record);
        }
        None => {
            let record = reader.newest_write(key, Timestamp::MAX)?;
            check_conflict(reader, cmd, check, key, record.as_ref())?;
            if matches!(mutation.op, MutationOp::Insert | MutationOp::CheckNotExists)
                && exists(reader, key, record.as_ref())?
            {
                return Err(TxnError::AlreadyExist { key: key.to_user()? });
            }
            newest = Some(record);
        }
    }
    check_assertion(reader, cmd, mutation, newest)?;
    let kind = match mutation.op {
        MutationOp::CheckNotExists => return Ok(Step::Checked),
        MutationOp::Put | MutationOp::Insert => LockKind::Put,
        MutationOp::Delete => LockKind::Delete,
        MutationOp::Lock => LockKind::Lock,
    };
    let mut lock = Lock::new(kind, cmd.primary.clone(), start_ts, ttl_ms);
    lock.for_update_ts = cmd.for_update_ts;
    lock.txn_size = cmd.txn_size;
    lock.min_commit_ts = min_commit_ts;
    let mut long_value = None;
    if kind == LockKind::Put {
        match mutation.value.len() <= SHORT_VALUE_BYTES_MAX {
            true => lock.short_value = Some(mutation.value.clone()),
            false => long_value = Some(mutation.value.clone()),
        }
    }
    Ok(Step::Write(lock, long_value))
}

fn check_conflict<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    cmd: &Prewrite,
    check: PessimisticCheck,
    key: &Key,
    newest: Option<&(Timestamp, Write)>,
) -> Result<()> {
    let Some((commit_ts, write)) = newest else { return Ok(()) };
    let start_ts = cmd.start_ts;
    let conflict = |write: &Write, commit_ts, reason| {
        Err(TxnError::WriteConflict {
            start_ts,
            conflict_start_ts: write.start_ts,
            conflict_commit_ts: commit_ts,
            key: key.to_user()?,
            primary: cmd.primary.clone(),
            reason,
        })
    };
    match check {
        PessimisticCheck::Constraint => {
            if *commit_ts >= start_ts && reader.commit_record(key, start_ts)? == CommitRecord::RolledBack {
                return conflict(write, *commit_ts, ConflictReason::SelfRolledBack);
            }
            if *commit_ts > cmd.for_update_ts {
                return conflict(write, *commit_ts, ConflictReason::LazyUniquenessCheck);
            }
        }
        // A key of a pessimistic transaction that it did not lock (an entry of a plain index) is protected by the lock on
        // its row: a newer version is no conflict. Only the transaction's own end on the key counts, for a repeated
        // request.
        PessimisticCheck::None if cmd.for_update_ts != Timestamp::ZERO => {
            let ended = match reader.commit_record(key, start_ts)? {
                CommitRecord::Committed { .. } | CommitRecord::RolledBack => *commit_ts >= start_ts,
                CommitRecord::Overlapped(_) | CommitRecord::None => false,
            };
            if ended {
                return conflict(write, *commit_ts, ConflictReason::SelfRolledBack);
            }
        }
        _ => {
            if *commit_ts > start_ts {
                return conflict(write, *commit_ts, ConflictReason::Optimistic);
            }
            if *commit_ts == start_ts && (write.kind == WriteKind::Rollback || write.overlapped_rollback) {
                return conflict(write, *commit_ts, ConflictReason::SelfRolledBack);
            }
        }
    }
    Ok(())
}

/// Whether the key has a value, given its newest record.
fn exists<S: Snapshot>(reader: &MvccReader<'_, S>, key: &Key, newest: Option<&(Timestamp, Write)>) -> Result<bool> {
    Ok(match newest {
        None => false,
        Some((_, write)) if write.kind.is_change() => write.kind == WriteKind::Put,
        Some((commit_ts, _)) => {
            reader.newest_change(key, commit_ts.prev())?.is_some_and(|(_, w)| w.kind == WriteKind::Put)
        }
    })
}

fn check_assertion<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    cmd: &Prewrite,
    mutation: &Mutation,
    newest: Option<Option<(Timestamp, Write)>>,
) -> Result<()> {
    let skip = mutation.assertion == Assertion::None
        || cmd.assertion_level == AssertionLevel::Off
        || (cmd.assertion_level == AssertionLevel::Fast && newest.is_none());
    if skip {
        return Ok(());
    }
    let key = &mutation.key;
    let newest = match newest {
        Some(record) => record,
        None => reader.newest_write(key, Timestamp::MAX)?,
    };
    let change = match newest {
        Some((commit_ts, write)) if write.kind.is_change() => Some((commit_ts, write)),
        Some((commit_ts, _)) => reader.newest_change(key, commit_ts.prev())?,
        None => None,
    };
    let exists = change.as_ref().is_some_and(|(_, write)| write.kind == WriteKind::Put);
    if exists == (mutation.assertion == Assertion::Exist) {
        return Ok(());
    }
    let (existing_commit_ts, existing_start_ts) = change.map(|(ts, w)| (ts, w.start_ts)).unwrap_or_default();
    Err(TxnError::AssertionFailed {
        start_ts: cmd.start_ts,
        key: key.to_user()?,
        assertion: mutation.assertion,
        existing_start_ts,
        existing_commit_ts,
    })
}

/// The answer to a repeated request whose transaction was committed in the meantime.
fn committed_before<S: Snapshot>(
    reader: &MvccReader<'_, S>,
    cmd: &Prewrite,
    key: &Key,
) -> Result<Option<Outcome<Prewritten>>> {
    let CommitRecord::Committed { commit_ts, .. } = reader.commit_record(key, cmd.start_ts)? else { return Ok(None) };
    let one_phase_commit_ts = if cmd.one_phase { commit_ts } else { Timestamp::ZERO };
    Ok(Some(Outcome::unchanged(Prewritten { locked: Vec::new(), min_commit_ts: commit_ts, one_phase_commit_ts })))
}

/// Before this the transaction cannot commit, whatever readers did.
fn commit_floor<'a>(cmd: &Prewrite, locks: impl Iterator<Item = &'a Lock>) -> Timestamp {
    let floor = cmd.start_ts.next().max(cmd.for_update_ts.next()).max(cmd.min_commit_ts);
    locks.map(|lock| lock.min_commit_ts).fold(floor, Timestamp::max)
}

fn too_late(cmd: &Prewrite, ts: Timestamp) -> bool {
    cmd.max_commit_ts != Timestamp::ZERO && ts > cmd.max_commit_ts
}

fn write_one_phase(
    cmd: &Prewrite,
    writes: Vec<(&Mutation, Lock, Option<Vec<u8>>)>,
    manager: &ConcurrencyManager,
) -> Outcome<Prewritten> {
    let floor = commit_floor(cmd, writes.iter().map(|(_, lock, _)| lock));
    let (commit_ts, memory_locks) = manager.lock_keys(floor, |ts| {
        // Async commit in memory: a reader without a time of its own must wait for it, too.
        let lock = |lock: &Lock| Lock { min_commit_ts: ts, use_async_commit: true, ..lock.clone() };
        (!too_late(cmd, ts)).then(|| writes.iter().map(|(m, l, _)| (m.key.clone(), lock(l))).collect())
    });
    if too_late(cmd, commit_ts) {
        drop(memory_locks);
        return write_locks(&Prewrite { async_commit: None, ..cmd.clone() }, writes, &[], manager);
    }
    let mut changes = Changes::default();
    for (mutation, lock, long_value) in writes {
        let key = &mutation.key;
        if let Some(value) = long_value {
            changes.put_value(key, cmd.start_ts, value);
        }
        if let Some(kind) = lock.kind.write_kind() {
            changes.put_write(key, commit_ts, &Write::new(kind, cmd.start_ts, lock.short_value));
        }
        if cmd.for_update_ts != Timestamp::ZERO {
            changes.unlock(key, cmd.start_ts, commit_ts);
        }
    }
    let answer = Prewritten { one_phase_commit_ts: commit_ts, ..Prewritten::default() };
    Outcome { changes, memory_locks: Some(memory_locks), answer }
}

fn write_locks(
    cmd: &Prewrite,
    mut writes: Vec<(&Mutation, Lock, Option<Vec<u8>>)>,
    repeated: &[Lock],
    manager: &ConcurrencyManager,
) -> Outcome<Prewritten> {
    let mut memory_locks = None;
    let mut min_commit_ts = Timestamp::ZERO;
    // A request that was prewritten in two phases before stays so; its locks say.
    let all_async = repeated.iter().all(|lock| lock.use_async_commit);
    let asynchronous = cmd.async_commit.is_some() && all_async;
    if let Some(secondaries) = cmd.async_commit.as_ref().filter(|_| asynchronous) {
        let floor = commit_floor(cmd, writes.iter().map(|(_, lock, _)| lock).chain(repeated));
        let (ts, guard) = manager.lock_keys(floor, |ts| {
            if too_late(cmd, ts) {
                return None;
            }
            for (mutation, lock, _) in &mut writes {
                lock.use_async_commit = true;
                lock.min_commit_ts = ts;
                if mutation.key.is_user(&cmd.primary) {
                    lock.secondaries = secondaries.clone();
                }
            }
            Some(writes.iter().map(|(mutation, lock, _)| (mutation.key.clone(), lock.clone())).collect())
        });
        if !too_late(cmd, ts) {
            min_commit_ts = ts;
            memory_locks = Some(guard);
        }
    }
    if writes.is_empty() && all_async {
        // All of it was there, and the locks say when, even to a request that would have two phases now: others may find
        // the transaction committed by these locks, and it must not be committed at another time.
        min_commit_ts = repeated.iter().map(|lock| lock.min_commit_ts).max().unwrap_or(min_commit_ts);
    }
    let mut changes = Changes::default();
    for (mutation, lock, long_value) in writes {
        if let Some(value) = long_value {
            changes.put_value(&mutation.key, cmd.start_ts, value);
        }
        changes.put_lock(&mutation.key, &lock);
    }
    let answer = Prewritten { min_commit_ts, ..Prewritten::default() };
    Outcome { changes, memory_locks, answer }
}
