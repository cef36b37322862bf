//! Versions of keys: how percolator's locks and writes lie in the engine, and how they are read at a timestamp.
//!
//! ```text
//! cf        key                            value
//! lock      encode(user key)               Lock { start_ts, primary, ttl, short value? … }
//! write     encode(user key) ++ !commit_ts Write { kind, start_ts, short value? }
//! default   encode(user key) ++ !start_ts  a value too long for its record
//! ```
//!
//! `encode` is the memcomparable encoding, `!` the complement in big endian, so that newer versions come first. Both
//! record formats are TiKV's to the byte ([`lock`], [`write`]).
//!
//! Invariants: a key holds at most one lock; a commit record's `commit_ts` is greater than its `start_ts`; a value in
//! `default` is referred to by exactly one lock or write record.
//!
//! Not here: deciding what to write (`txn`), other regions, the network. Read next: [`reader`], [`scan`], then
//! [`view::ReadView`], which is what the coprocessor sees.

pub mod cursor;
pub mod lock;
pub mod point;
pub mod reader;
pub mod scan;
pub mod view;
pub mod write;

use codec::timestamp::Timestamp;
use codec::{bytes, key};
use engine::EngineError;

pub use lock::{Lock, LockKind};
pub use reader::{CommitRecord, MvccReader};
pub use scan::{ScanOptions, Scanner};
pub use view::{MvccView, ReadView};
pub use write::{Write, WriteKind};

/// The longest value that is kept inside its lock or write record, in bytes.
pub const SHORT_VALUE_BYTES_MAX: usize = 255;

/// A user key in its memcomparable encoding, without a timestamp.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// Encodes a user key.
    pub fn from_user(user_key: &[u8]) -> Key {
        Key(bytes::encoded(user_key))
    }

    /// Takes bytes that are an encoded key already, as read from the engine.
    pub fn from_encoded(encoded: impl Into<Vec<u8>>) -> Key {
        Key(encoded.into())
    }

    /// The encoded bytes.
    pub fn encoded(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, taken.
    pub fn into_encoded(self) -> Vec<u8> {
        self.0
    }

    /// The user key.
    pub fn to_user(&self) -> Result<Vec<u8>, MvccError> {
        key::decode_user_key(&self.0).map_err(|e| MvccError::corrupted("key", &self.0, e))
    }

    /// Whether this is the encoding of `user_key`.
    pub fn is_user(&self, user_key: &[u8]) -> bool {
        self.0.len() == bytes::encoded_len(user_key.len()) && self.0 == bytes::encoded(user_key)
    }

    /// The engine key of the version of that timestamp.
    pub fn at(&self, ts: Timestamp) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + key::TS_LEN);
        out.extend_from_slice(&self.0);
        key::append_ts(&mut out, ts);
        out
    }

    /// The first engine key after every version of this key.
    pub fn after_versions(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.0.len() + key::TS_LEN + 1);
        out.extend_from_slice(&self.0);
        key::append_ts(&mut out, Timestamp::ZERO);
        out.push(0);
        out
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match key::decode_user_key(&self.0) {
            Ok(user) => write!(f, "Key({})", user.escape_ascii()),
            Err(_) => write!(f, "Key(encoded {})", self.0.escape_ascii()),
        }
    }
}

/// A lock that stands in the way, as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// The user key that is locked.
    pub key: Vec<u8>,
    /// The lock.
    pub lock: Lock,
}

/// Why a read did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MvccError {
    /// Another transaction's lock may hide the answer: resolve it and retry.
    #[error("key is locked by the transaction started at {}", .0.lock.start_ts)]
    KeyIsLocked(Box<LockInfo>),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Bytes in the engine that nothing of ours writes: the store must stop and keep them.
    #[error("corrupted {what} at {key}: {reason}")]
    Corrupted {
        /// What was being decoded.
        what: &'static str,
        /// The engine key, escaped.
        key: String,
        /// What is wrong with the bytes.
        reason: String,
    },
}

impl MvccError {
    pub(crate) fn corrupted(what: &'static str, key: &[u8], reason: impl ToString) -> MvccError {
        MvccError::Corrupted { what, key: key.escape_ascii().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn locked(key: &Key, lock: Lock) -> MvccError {
        match key.to_user() {
            Ok(user) => MvccError::KeyIsLocked(Box::new(LockInfo { key: user, lock })),
            Err(e) => e,
        }
    }
}

/// A result of reading.
pub type Result<T, E = MvccError> = std::result::Result<T, E>;

/// How much other transactions' locks matter to a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Snapshot isolation: a lock that might commit at or before the read's timestamp stops the read.
    #[default]
    Snapshot,
    /// The newest committed version at the timestamp; locks are ignored.
    ReadCommitted,
}

/// At which time, and past which locks, a read goes.
#[derive(Clone, Debug, Default)]
pub struct ReadParams {
    /// Versions committed at or before it are seen.
    pub ts: Timestamp,
    /// What locks mean.
    pub isolation: Isolation,
    /// Transactions (start timestamps) that the client knows to be rolled back, or to commit after `ts`: their locks
    /// are ignored.
    pub resolved_locks: Vec<Timestamp>,
    /// Transactions that the client knows to be committed at or before `ts`: the value is read through their locks.
    pub committed_locks: Vec<Timestamp>,
}

impl ReadParams {
    /// A plain snapshot read.
    pub fn at(ts: Timestamp) -> ReadParams {
        ReadParams { ts, ..ReadParams::default() }
    }
}

/// What a lock means to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockVerdict {
    /// Read as if it was not there.
    Ignore,
    /// Its transaction is committed: the value it holds is the answer.
    ReadThrough,
    /// The read must wait for it to be resolved.
    Blocked,
}

impl ReadParams {
    /// What `lock` on `key` means to this read.
    pub fn judge(&self, key: &Key, lock: &Lock) -> LockVerdict {
        let harmless = self.isolation == Isolation::ReadCommitted
            || lock.start_ts > self.ts
            || matches!(lock.kind, LockKind::Lock | LockKind::Pessimistic)
            || lock.min_commit_ts > self.ts
            || self.resolved_locks.contains(&lock.start_ts);
        if harmless {
            return LockVerdict::Ignore;
        }
        // A read of the newest version at no particular time may come before a commit that has not happened: the
        // primary decides whether it has. With async commit it may have happened already.
        if self.ts == Timestamp::MAX && !lock.use_async_commit && key.is_user(&lock.primary) {
            return LockVerdict::Ignore;
        }
        if self.committed_locks.contains(&lock.start_ts) {
            return LockVerdict::ReadThrough;
        }
        LockVerdict::Blocked
    }
}
