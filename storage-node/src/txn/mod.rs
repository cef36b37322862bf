//! Percolator transactions, storage side, and raw access.
//!
//! ```text
//!   key | lock (cf)        | write (cf)
//!   "a" | t5, primary      |                 after prewrite at start_ts 5
//!   "a" |                  | 8 → put@5       after commit at commit_ts 8
//! ```
//!
//! A command runs in four steps: [`latch`]es on its keys keep conflicting commands of this node out; a snapshot of the
//! region is taken; a pure function of snapshot and parameters ([`commands`]) decides the changes and the answer; the
//! changes are replicated, and only then are the latches given back and waiting lockers ([`lock_wait`]) woken.
//! Pessimistic locks stay in the leader's memory ([`lock_table`]).
//!
//! Invariants: the primary commits first; a key holds at most one lock; `commit_ts > start_ts`; a transaction that was
//! rolled back on a key never commits on it; a read at `ts` that did not see a transaction on a key is never
//! contradicted by that transaction committing at or before `ts` ([`concurrency`] sees to it for commit timestamps
//! that are chosen here).
//!
//! Not here: choosing timestamps (PD), deciding to resolve a lock (clients), replication (`raftstore`).
//! Read next: [`commands`], then [`storage`].

pub mod commands;
pub mod concurrency;
pub mod deadlock;
pub mod detector;
pub mod latch;
pub mod lock_table;
pub mod lock_wait;
mod pd_time;
pub mod safe_point;
pub mod storage;

use codec::timestamp::Timestamp;
use engine::{Cf, EngineError, WriteBatch};

use crate::mvcc::{Key, Lock, LockInfo, MvccError, Write};
use crate::replication::RegionError;

pub use concurrency::ConcurrencyManager;
pub use safe_point::SafePoint;
pub use storage::{Storage, StorageOptions, TimestampOracle, WaitListener};

/// A change that a transaction prewrites on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// What to do.
    pub op: MutationOp,
    /// The key.
    pub key: Key,
    /// The value, for `Put` and `Insert`.
    pub value: Vec<u8>,
    /// What the client believes about the key.
    pub assertion: Assertion,
}

/// The kind of a [`Mutation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutationOp {
    /// Set the value.
    Put,
    /// Remove the key.
    Delete,
    /// Only keep others from it.
    Lock,
    /// Set the value of a key that must not exist.
    Insert,
    /// Only check that the key does not exist.
    CheckNotExists,
}

/// What a client believes about a key; a prewrite that finds otherwise fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assertion {
    /// Nothing.
    #[default]
    None,
    /// The key has a value.
    Exist,
    /// The key has no value.
    NotExist,
}

/// Why a write conflicts with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// An optimistic transaction met a newer version.
    Optimistic,
    /// A pessimistic lock must be taken at a newer timestamp.
    PessimisticRetry,
    /// The transaction was rolled back on this key.
    SelfRolledBack,
    /// A uniqueness check that was put off until prewrite met a newer version.
    LazyUniquenessCheck,
}

/// Why a transaction command did not do what it was asked. The client's next step differs by variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TxnError {
    /// Reading failed: a lock in the way, or the engine.
    #[error(transparent)]
    Mvcc(#[from] MvccError),
    /// Another transaction wrote the key later: start over, or lock again at a newer timestamp.
    #[error("write conflict: {start_ts} against a version of {conflict_start_ts} at {conflict_commit_ts}")]
    WriteConflict {
        /// The transaction.
        start_ts: Timestamp,
        /// The other transaction.
        conflict_start_ts: Timestamp,
        /// When the other one committed.
        conflict_commit_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// The transaction's primary.
        primary: Vec<u8>,
        /// In what situation.
        reason: ConflictReason,
    },
    /// The key to insert exists.
    #[error("key exists already")]
    AlreadyExist {
        /// The user key.
        key: Vec<u8>,
    },
    /// Nothing to commit: the transaction was rolled back on this key, or never prewrote it.
    #[error("no lock of {start_ts} to commit at {commit_ts}")]
    TxnLockNotFound {
        /// The transaction.
        start_ts: Timestamp,
        /// When it wanted to commit.
        commit_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
    },
    /// The pessimistic lock that the prewrite builds on is gone.
    #[error("pessimistic lock of {start_ts} not found: {reason}")]
    PessimisticLockNotFound {
        /// The transaction.
        start_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// What was found instead.
        reason: &'static str,
    },
    /// The transaction was rolled back on this key before it could lock it.
    #[error("pessimistic lock of {start_ts} was rolled back")]
    PessimisticLockRolledBack {
        /// The transaction.
        start_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
    },
    /// The key holds a lock of this transaction of another kind than the command works on.
    #[error("lock of {start_ts} is of another kind ({kind:?})")]
    LockKindMismatch {
        /// The transaction.
        start_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// What it is.
        kind: crate::mvcc::LockKind,
    },
    /// Nothing is known of the transaction here.
    #[error("transaction {start_ts} not found")]
    TxnNotFound {
        /// The transaction.
        start_ts: Timestamp,
        /// The user key that was to be its primary.
        key: Vec<u8>,
    },
    /// It is committed: it cannot be rolled back.
    #[error("transaction {start_ts} is committed at {commit_ts}")]
    Committed {
        /// The transaction.
        start_ts: Timestamp,
        /// When.
        commit_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
    },
    /// Others read past the timestamp at which it wants to commit: commit later.
    #[error("transaction {start_ts} cannot commit at {commit_ts}, only from {min_commit_ts} on")]
    CommitTsExpired {
        /// The transaction.
        start_ts: Timestamp,
        /// When it wanted to commit.
        commit_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// From when on it may.
        min_commit_ts: Timestamp,
    },
    /// What the client believed about the key is wrong.
    #[error("assertion {assertion:?} failed")]
    AssertionFailed {
        /// The transaction.
        start_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// What was believed.
        assertion: Assertion,
        /// The transaction of the version found; zero for none.
        existing_start_ts: Timestamp,
        /// When that one committed; zero for none.
        existing_commit_ts: Timestamp,
    },
    /// The lock asked about is not the primary of its transaction.
    #[error("key is not the primary of transaction {}", .0.lock.start_ts)]
    PrimaryMismatch(Box<LockInfo>),
    /// Waiting for the lock would close a circle of waiters.
    #[error("deadlock: {start_ts} would wait for {lock_ts}")]
    Deadlock {
        /// The transaction that would wait.
        start_ts: Timestamp,
        /// The transaction that holds the lock.
        lock_ts: Timestamp,
        /// The user key.
        key: Vec<u8>,
        /// Hash of the key whose wait closed the circle.
        deadlock_key_hash: u64,
        /// The circle, from the transaction that would wait.
        wait_chain: Vec<deadlock::WaitEdge>,
    },
    /// What would be read may be gone, and what would be written may go unseen: only a new transaction helps.
    #[error(
        "GC life time is shorter than transaction duration, transaction starts at {ts}, GC safe point is {safe_point}"
    )]
    BelowSafePoint {
        /// When the transaction started, or reads.
        ts: Timestamp,
        /// Versions before it may be gone.
        safe_point: Timestamp,
    },
    /// The request makes no sense.
    #[error("invalid request: {0}")]
    Invalid(String),
}

impl From<EngineError> for TxnError {
    fn from(e: EngineError) -> Self {
        TxnError::Mvcc(MvccError::Engine(e))
    }
}

/// Why a command got no answer of its own: the region's error, or the transaction's.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// The region did not serve it: the client refreshes its route and retries.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The transaction's own error.
    #[error(transparent)]
    Txn(#[from] TxnError),
}

impl From<MvccError> for CommandError {
    fn from(e: MvccError) -> Self {
        CommandError::Txn(e.into())
    }
}

/// A result of a transaction command.
pub type Result<T, E = TxnError> = std::result::Result<T, E>;

/// A lock that a command removes, or turns into a pessimistic lock that others may take: who waits for it is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// The key.
    pub key: Key,
    /// The transaction that held it.
    pub start_ts: Timestamp,
    /// When that committed; zero when it did not.
    pub commit_ts: Timestamp,
}

/// The changes of a command, collected key by key.
#[derive(Debug, Default)]
pub struct Changes {
    /// What to replicate.
    pub batch: WriteBatch,
    /// Locks that are gone once it is.
    pub released: Vec<Released>,
}

impl Changes {
    fn put_lock(&mut self, key: &Key, lock: &Lock) {
        self.batch.put(Cf::Lock, key.encoded(), lock.to_bytes());
    }

    fn unlock(&mut self, key: &Key, start_ts: Timestamp, commit_ts: Timestamp) {
        self.batch.delete(Cf::Lock, key.encoded());
        self.released.push(Released { key: key.clone(), start_ts, commit_ts });
    }

    fn put_value(&mut self, key: &Key, start_ts: Timestamp, value: Vec<u8>) {
        self.batch.put(Cf::Default, key.at(start_ts), value);
    }

    fn delete_value(&mut self, key: &Key, start_ts: Timestamp) {
        self.batch.delete(Cf::Default, key.at(start_ts));
    }

    fn put_write(&mut self, key: &Key, ts: Timestamp, write: &Write) {
        self.batch.put(Cf::Write, key.at(ts), write.to_bytes());
    }

    fn delete_write(&mut self, key: &Key, ts: Timestamp) {
        self.batch.delete(Cf::Write, key.at(ts));
    }
}
