//! The local storage under a node: ordered column families with snapshots and atomic batches.
//!
//! One trait, two implementations: [`fjall`](https://docs.rs/fjall) on disk and an ordered map in memory for
//! simulation; over either, [`hot`] keeps the ranges that are read in memory. All pass one suite of tests.
//!
//! Invariants:
//! - a [`WriteBatch`] is applied whole or not at all, also across a crash, and over all column families;
//! - a [`Snapshot`] never changes, and sees either all of a batch or nothing of it;
//! - what was written before [`Engine::sync`] returned survives a crash; what was written after it may be lost,
//!   but only as a suffix: no batch survives whose predecessor is lost;
//! - after a failed sync the engine refuses writes until it is reopened.
//!
//! Not here: versions of a key, transactions, replication. The Raft log lives elsewhere (`raft-engine`) and is the
//! source of truth, so that a write here needs no sync of its own.
//!
//! ```
//! use engine::{Cf, Direction, Engine, KeyRange, Snapshot, WriteBatch, memory::MemoryEngine};
//!
//! let engine = MemoryEngine::new();
//! let mut batch = WriteBatch::new();
//! batch.put(Cf::Default, b"a", b"1");
//! batch.put(Cf::Default, b"b", b"2");
//! engine.write(batch).unwrap();
//!
//! let view = engine.snapshot();
//! let last = view.scan(Cf::Default, &KeyRange::new(*b"a", *b"c"), Direction::Backward).next().unwrap().unwrap();
//! assert_eq!(last.0.as_ref(), b"b");
//! ```

pub mod disk;
pub mod hot;
pub mod memory;

use std::ops::Bound;

use bytes::Bytes;

/// A column family: a key space of its own inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cf {
    /// Values too long to be kept in a lock or write record, and raw key-values.
    Default,
    /// Locks of transactions in progress.
    Lock,
    /// Commit and rollback records.
    Write,
    /// The node's own state: store identity, region states, applied indexes.
    Raft,
}

impl Cf {
    /// Every column family, in the order in which they are declared.
    pub const ALL: [Cf; 4] = [Cf::Default, Cf::Lock, Cf::Write, Cf::Raft];

    /// The name used on disk, in messages and in TiKV's interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Cf::Default => "default",
            Cf::Lock => "lock",
            Cf::Write => "write",
            Cf::Raft => "raft",
        }
    }

    /// The family of that name; the empty string means `default`, as in TiKV's raw interface.
    pub fn from_name(name: &str) -> Option<Cf> {
        match name {
            "" | "default" => Some(Cf::Default),
            "lock" => Some(Cf::Lock),
            "write" => Some(Cf::Write),
            "raft" => Some(Cf::Raft),
            _ => None,
        }
    }
}

/// Keys from `start` (included) to `end` (excluded); an empty `end` means no upper bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct KeyRange {
    /// First key, included.
    pub start: Vec<u8>,
    /// First key past the range; empty for "to the end".
    pub end: Vec<u8>,
}

impl KeyRange {
    /// The range `[start, end)`; an empty `end` means no upper bound.
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        KeyRange { start: start.into(), end: end.into() }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && (self.end.is_empty() || key < self.end.as_slice())
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }

    /// The part that both ranges cover; possibly empty.
    pub fn intersect(&self, other: &KeyRange) -> KeyRange {
        let start = self.start.as_slice().max(other.start.as_slice());
        let end = match (self.end.is_empty(), other.end.is_empty()) {
            (true, _) => other.end.as_slice(),
            (_, true) => self.end.as_slice(),
            _ => self.end.as_slice().min(other.end.as_slice()),
        };
        KeyRange::new(start, end)
    }

    /// The range as the standard library's pair of bounds.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let end = if self.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(self.end.as_slice()) };
        (Bound::Included(self.start.as_slice()), end)
    }
}

/// The longest key that can be written, in bytes.
pub const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The order in which a scan yields keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Backward,
}

/// One change of one key or range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modify {
    /// Sets a key.
    Put(Cf, Vec<u8>, Vec<u8>),
    /// Removes a key; removing what is not there is fine.
    Delete(Cf, Vec<u8>),
    /// Removes every key of a range.
    DeleteRange(Cf, KeyRange),
}

/// Changes that are applied together, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// The changes, first to last: a later change of the same key wins.
    pub modifies: Vec<Modify>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a put.
    pub fn put(&mut self, cf: Cf, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.modifies.push(Modify::Put(cf, key.into(), value.into()));
    }

    /// Adds a delete.
    pub fn delete(&mut self, cf: Cf, key: impl Into<Vec<u8>>) {
        self.modifies.push(Modify::Delete(cf, key.into()));
    }

    /// Adds the removal of a range.
    pub fn delete_range(&mut self, cf: Cf, range: KeyRange) {
        self.modifies.push(Modify::DeleteRange(cf, range));
    }

    /// Refuses a batch that no engine can store. Engines call it before they apply anything.
    pub fn check(&self) -> Result<()> {
        for modify in &self.modifies {
            if let Modify::Put(_, key, _) | Modify::Delete(_, key) = modify
                && !(1..=KEY_BYTES_MAX).contains(&key.len())
            {
                return Err(EngineError::KeyLength(key.len()));
            }
        }
        Ok(())
    }

    /// Whether there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.modifies.is_empty()
    }

    /// Bytes of all keys and values: what the batch costs a log or a buffer, roughly.
    pub fn size_bytes(&self) -> usize {
        self.modifies
            .iter()
            .map(|m| match m {
                Modify::Put(_, k, v) => k.len() + v.len(),
                Modify::Delete(_, k) => k.len(),
                Modify::DeleteRange(_, r) => r.start.len() + r.end.len(),
            })
            .sum()
    }
}

/// Why the engine did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk or the file system failed; the engine refuses writes until it is reopened.
    #[error("storage engine: {0}")]
    Io(String),
    /// Bytes on disk are not what was written. The store must stop and keep the bytes.
    #[error("storage engine: corrupted data: {0}")]
    Corrupted(String),
    /// A key is empty or longer than [`KEY_BYTES_MAX`]; nothing of the batch was applied.
    #[error("storage engine: a key of {0} bytes, it must have 1 to {KEY_BYTES_MAX}")]
    KeyLength(usize),
    /// An earlier sync failed; only reopening helps.
    #[error("storage engine: closed after a failed sync, reopen it")]
    Poisoned,
}

/// A result of an engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// The keys and values of a scan, in its order. Owned, so that a scan can be suspended and kept.
pub type ScanIter = Box<dyn Iterator<Item = Result<(Bytes, Bytes)>> + Send>;

/// The engine under a node. Cheap to clone: clones share the same storage.
pub trait Engine: Clone + Send + Sync + 'static {
    /// A consistent view of all column families.
    type Snapshot: Snapshot;

    /// A view of everything written so far.
    fn snapshot(&self) -> Self::Snapshot;

    /// Applies a batch atomically. It is visible to later snapshots at once and durable after the next [`sync`].
    ///
    /// [`sync`]: Engine::sync
    fn write(&self, batch: WriteBatch) -> Result<()>;

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<()>;

    /// Bytes of keys and values under the range, as a scan would see them; a few percent off is fine.
    ///
    /// It may read the whole range (about half a second per million rows), so callers ask after much was written, not
    /// per write.
    fn approximate_size(&self, cf: Cf, range: &KeyRange) -> Result<u64>;

    /// Tells that about so many bytes of a column family were removed, by deletions all over it. What is removed goes on
    /// to take space, and readers' time, until it is merged with what it removes: the engine may do that now, before it
    /// returns, which takes seconds, or find that it is not worth it yet.
    fn reclaim(&self, cf: Cf, removed_bytes: u64) -> Result<()>;

    /// The damage that any reader has met: bytes that are not what was written. Who runs the engine asks now and then, and
    /// stops with it: the other replicas are whole, and whoever reads here goes on meeting it.
    fn damage(&self) -> Option<EngineError>;
}

/// A consistent view of the engine at one moment. Cheap to clone.
pub trait Snapshot: Clone + Send + Sync + 'static {
    /// The value of a key, if there is one.
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>>;

    /// The same view for work that reads everything once: what it reads is not kept at hand for its sake.
    fn once(self) -> Self {
        self
    }

    /// The first pair at or after `start` and before `end`, which is empty for "to the end": what a scan begins with, which
    /// an engine may find at less than the price of a scan.
    fn first(&self, cf: Cf, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>> {
        self.scan(cf, &KeyRange::new(start, end), Direction::Forward).next().transpose()
    }

    /// The keys of the range and their values, in the given direction.
    fn scan(&self, cf: Cf, range: &KeyRange, direction: Direction) -> ScanIter;
}
