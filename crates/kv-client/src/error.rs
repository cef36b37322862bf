//! What can go wrong, by what the caller does next.

use proto::kvrpcpb;

use crate::pd::PdError;

/// Result of a key-value operation.
pub type Result<T> = std::result::Result<T, Error>;

/// One edge of a deadlock's cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitFor {
    /// The transaction that waits (its start timestamp).
    pub txn: u64,
    /// The one it waits for.
    pub wait_for: u64,
    /// The key it waits on.
    pub key: Vec<u8>,
}

/// Why an operation failed. Waits and retries that can help have been done before one of these is returned.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An inserted key has a value already: a duplicate.
    #[error("key exists: {}", hex(key))]
    KeyExists {
        /// The key.
        key: Vec<u8>,
    },
    /// Another transaction committed the key after our snapshot: retry the statement (pessimistic, at a fresh
    /// timestamp) or the transaction (optimistic).
    #[error(
        "write conflict: txn {start_ts}, conflicting txn {conflict_ts} committed at {conflict_commit_ts}, key {}",
        hex(key)
    )]
    WriteConflict {
        /// Our transaction.
        start_ts: u64,
        /// The other one's start.
        conflict_ts: u64,
        /// The other one's commit; zero when it is not known.
        conflict_commit_ts: u64,
        /// The key.
        key: Vec<u8>,
    },
    /// Waiting for this lock would close a cycle: roll the transaction back.
    #[error("deadlock: waiting for txn {lock_ts} on key {}", hex(lock_key))]
    Deadlock {
        /// The holder of the lock.
        lock_ts: u64,
        /// The key waited for.
        lock_key: Vec<u8>,
        /// The cycle, as the detector saw it.
        wait_chain: Vec<WaitFor>,
    },
    /// The lock was not free within the time the caller allowed.
    #[error("lock wait timeout: key {}", hex(key))]
    LockWaitTimeout {
        /// The key.
        key: Vec<u8>,
    },
    /// The lock is taken and the caller would not wait.
    #[error("lock is taken: key {}", hex(key))]
    LockNoWait {
        /// The key.
        key: Vec<u8>,
        /// All that were found to be taken in its region, this one among them.
        taken: Vec<Vec<u8>>,
    },
    /// One key and value are larger than an entry may be.
    #[error("entry too large: {size} bytes, the limit is {limit}")]
    EntryTooLarge {
        /// Bytes of key and value.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The transaction's keys and values together are larger than allowed.
    #[error("transaction too large: {size} bytes, the limit is {limit}")]
    TxnTooLarge {
        /// Bytes so far.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// No replica served the request within the deadline.
    #[error("region unavailable: {0}")]
    RegionUnavailable(String),
    /// PD did not do its part.
    #[error(transparent)]
    Pd(#[from] PdError),
    /// The commit was sent and no answer came: it may or may not have happened. Nothing was told to be false.
    #[error("the outcome of the commit is unknown: {0}")]
    Undetermined(String),
    /// The commit hook refused: tables of the transaction changed since it started.
    #[error("schema changed: {0}")]
    SchemaChanged(String),
    /// Others rolled the transaction back, because it was not heard of for longer than its locks live.
    #[error("transaction {start_ts} was aborted: {reason}")]
    Aborted {
        /// The transaction.
        start_ts: u64,
        /// What the storage said.
        reason: String,
    },
    /// The snapshot or transaction is older than what is kept: versions that it would need may be gone.
    #[error(
        "GC life time is shorter than transaction duration, transaction starts at {start_ts}, GC safe point is {safe_point}"
    )]
    TooOld {
        /// When it started, or reads.
        start_ts: u64,
        /// Versions before it may be gone.
        safe_point: u64,
    },
    /// An expression failed in the coprocessor, with MySQL's number and words.
    #[error("{message}")]
    Evaluation {
        /// MySQL's number.
        code: u16,
        /// The text.
        message: String,
    },
    /// The coprocessor failed; the text is its own.
    #[error("coprocessor: {0}")]
    Coprocessor(String),
    /// The storage refused in a way that retrying does not help.
    #[error("storage refused: {0}")]
    Refused(String),
    /// The transaction is committed or rolled back already.
    #[error("the transaction is finished")]
    Finished,
}

/// Keys in messages: lower-case hex, cut at 64 bytes.
pub(crate) fn hex(key: &[u8]) -> String {
    let mut out: String = key.iter().take(64).map(|b| format!("{b:02x}")).collect();
    if key.len() > 64 {
        out.push('…');
    }
    out
}

/// A key error that is not a lock, as ours. Locks are dealt with by the caller before.
pub(crate) fn from_key_error(start_ts: u64, error: kvrpcpb::KeyError) -> Error {
    if let Some(old) = error.below_safe_point {
        return Error::TooOld { start_ts: old.start_ts, safe_point: old.safe_point };
    }
    if let Some(conflict) = error.conflict {
        use kvrpcpb::write_conflict::Reason;
        if conflict.reason == Reason::SelfRolledBack as i32 {
            return Error::Aborted { start_ts, reason: "it was rolled back by another transaction".into() };
        }
        return Error::WriteConflict {
            start_ts: conflict.start_ts,
            conflict_ts: conflict.conflict_ts,
            conflict_commit_ts: conflict.conflict_commit_ts,
            key: conflict.key,
        };
    }
    if let Some(exists) = error.already_exist {
        return Error::KeyExists { key: exists.key };
    }
    if let Some(deadlock) = error.deadlock {
        let edge = |e: proto::deadlock::WaitForEntry| WaitFor { txn: e.txn, wait_for: e.wait_for_txn, key: e.key };
        return Error::Deadlock {
            lock_ts: deadlock.lock_ts,
            lock_key: deadlock.lock_key,
            wait_chain: deadlock.wait_chain.into_iter().map(edge).collect(),
        };
    }
    if let Some(missing) = error.txn_not_found {
        return Error::Aborted { start_ts, reason: format!("no lock on primary {}", hex(&missing.primary_key)) };
    }
    if let Some(late) = error.commit_ts_too_large {
        return Error::Refused(format!("commit timestamp {} is too large", late.commit_ts));
    }
    if let Some(failed) = error.assertion_failed {
        return Error::Refused(format!("assertion {} failed on key {}", failed.assertion, hex(&failed.key)));
    }
    if !error.abort.is_empty() {
        return Error::Aborted { start_ts, reason: error.abort };
    }
    if !error.retryable.is_empty() {
        // The storage's word for "you were too slow": the lock is gone.
        return Error::Aborted { start_ts, reason: error.retryable };
    }
    Error::Refused(format!("{error:?}"))
}
