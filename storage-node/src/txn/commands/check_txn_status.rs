//! What became of a transaction, asked at its primary key by somebody whom one of its locks blocks.
//!
//! An overdue transaction is rolled back on the way, and one that left no trace is kept from ever committing; a living
//! one is told to commit after the reader that asks.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use super::rollback::{rollback_lock, rollback_nothing};
use crate::mvcc::{CommitRecord, Key, LockInfo, LockKind, MvccReader};
use crate::txn::{Changes, Result, TxnError};

/// What to ask, and what may be done.
#[derive(Clone, Debug)]
pub struct CheckTxnStatus {
    /// The transaction's primary.
    pub primary: Key,
    /// The transaction.
    pub lock_ts: Timestamp,
    /// The reader that is blocked; zero when nothing is to be pushed, `MAX` for one that reads the newest version.
    pub caller_start_ts: Timestamp,
    /// Now, by PD's clock.
    pub current_ts: Timestamp,
    /// Roll back a transaction that left no trace here.
    pub rollback_if_not_exist: bool,
    /// Treat an async commit as an ordinary one: a secondary was found missing.
    pub force_sync_commit: bool,
    /// The lock that blocks is a pessimistic one.
    pub resolving_pessimistic_lock: bool,
    /// Refuse when the lock found is not the primary.
    pub verify_is_primary: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnStatus {
    /// Rolled back before.
    RolledBack,
    /// Rolled back now, since it is overdue.
    Expired,
    /// Its overdue pessimistic primary lock is removed, without a record.
    PessimisticRolledBack,
    /// It left no trace; now it is rolled back.
    LockNotExist,
    /// It left no trace, and none was made: a pessimistic lock may still arrive.
    LockNotExistDoNothing,
    /// Committed then.
    Committed(Timestamp),
    /// Under way.
    Uncommitted {
        /// Its primary lock.
        lock: Box<LockInfo>,
        /// It will commit after the caller's timestamp.
        pushed: bool,
    },
}

/// Finds out.
pub fn check_txn_status<S: Snapshot>(snapshot: &S, cmd: &CheckTxnStatus) -> Result<Outcome<TxnStatus>> {
    let reader = MvccReader::new(snapshot);
    let key = &cmd.primary;
    let mut changes = Changes::default();
    let lock = reader.lock(key)?;
    let Some(mut lock) = lock.clone().filter(|l| l.start_ts == cmd.lock_ts) else {
        let status = match reader.commit_record(key, cmd.lock_ts)? {
            CommitRecord::Committed { commit_ts, .. } => TxnStatus::Committed(commit_ts),
            CommitRecord::RolledBack => TxnStatus::RolledBack,
            _ if !cmd.rollback_if_not_exist => {
                return Err(TxnError::TxnNotFound { start_ts: cmd.lock_ts, key: key.to_user()? });
            }
            _ if cmd.resolving_pessimistic_lock => TxnStatus::LockNotExistDoNothing,
            record => {
                rollback_nothing(&mut changes, key, cmd.lock_ts, lock, record, true);
                TxnStatus::LockNotExist
            }
        };
        return Ok(Outcome::new(changes, status));
    };
    let info = |lock| Ok::<_, TxnError>(Box::new(LockInfo { key: key.to_user()?, lock }));
    if cmd.verify_is_primary && !key.is_user(&lock.primary) {
        return Err(TxnError::PrimaryMismatch(info(lock)?));
    }
    if lock.use_async_commit && !cmd.force_sync_commit {
        // It is committed if all of its locks are there, however old: the secondaries decide.
        return Ok(Outcome::unchanged(TxnStatus::Uncommitted { lock: info(lock)?, pushed: false }));
    }
    if lock.is_expired(cmd.current_ts) {
        if cmd.resolving_pessimistic_lock && lock.kind == LockKind::Pessimistic {
            changes.unlock(key, lock.start_ts, Timestamp::ZERO);
            return Ok(Outcome::new(changes, TxnStatus::PessimisticRolledBack));
        }
        rollback_lock(&reader, &mut changes, key, &lock)?;
        return Ok(Outcome::new(changes, TxnStatus::Expired));
    }
    let caller = cmd.caller_start_ts;
    // Zero means that the transaction's client makes no use of it, so that it could not be told.
    if lock.min_commit_ts != Timestamp::ZERO && caller != Timestamp::MAX && caller >= lock.min_commit_ts {
        lock.min_commit_ts = caller.next().max(cmd.current_ts);
        changes.put_lock(key, &lock);
    }
    let pushed = caller == Timestamp::MAX || (caller != Timestamp::ZERO && lock.min_commit_ts > caller);
    Ok(Outcome::new(changes, TxnStatus::Uncommitted { lock: info(lock)?, pushed }))
}
