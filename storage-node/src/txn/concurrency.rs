//! Keeps commit timestamps that are chosen on this node (async commit, one-phase commit) after every read that did not
//! see the commit.
//!
//! ```text
//! reader at ts                          prewrite that chooses its commit timestamp
//! 1. max_ts = max(max_ts, ts)           1. lock the key in memory
//! 2. is the key locked in memory?       2. min_commit_ts = max_ts + 1, published with the lock
//! 3. take a snapshot                    3. replicate, then drop the lock in memory
//! ```
//!
//! Either the reader's first step comes before the writer's second, then the writer commits after `ts`; or the reader
//! finds the lock in memory with `min_commit_ts <= ts` and must wait; or the lock is gone from memory, then its record
//! is in the snapshot.
//!
//! `max_ts` covers reads served by this node. Whoever becomes leader of a region must first raise it to a timestamp
//! taken from PD after it became leader ([`super::storage`] does), since reads may have been served elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use codec::timestamp::Timestamp;
use engine::KeyRange;
use parking_lot::RwLock;

use crate::mvcc::{Key, Lock, LockVerdict, MvccError, ReadParams};

/// The largest timestamp read at on this node, and the locks of commits under way. Clones share them.
#[derive(Clone, Default)]
pub struct ConcurrencyManager(Arc<Inner>);

#[derive(Default)]
struct Inner {
    max_ts: AtomicU64,
    /// Locks whose records are being replicated, by key; none until the minimal commit timestamp is known.
    locks: RwLock<BTreeMap<Key, Lock>>,
    /// How many there are, or are about to be: readers look no further when it is zero.
    count: AtomicUsize,
}

impl ConcurrencyManager {
    /// One that has seen no read.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest timestamp read at.
    pub fn max_ts(&self) -> Timestamp {
        Timestamp(self.0.max_ts.load(Ordering::SeqCst))
    }

    /// Notes a read at `ts`. A read of the newest version, at no particular time, is not noted.
    pub fn update_max_ts(&self, ts: Timestamp) {
        if ts != Timestamp::MAX && self.0.max_ts.load(Ordering::SeqCst) < ts.0 {
            self.0.max_ts.fetch_max(ts.0, Ordering::SeqCst);
        }
    }

    /// Whether a commit under way stands in the way of a read of `key`. Call after [`Self::update_max_ts`] and before
    /// taking the snapshot.
    pub fn check_key(&self, key: &Key, params: &ReadParams) -> Result<(), MvccError> {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        match self.0.locks.read().get(key) {
            Some(lock) => check(key, lock, params),
            None => Ok(()),
        }
    }

    /// The same for every key of a range of encoded keys.
    pub fn check_range(&self, range: &KeyRange, params: &ReadParams) -> Result<(), MvccError> {
        if self.0.count.load(Ordering::SeqCst) == 0 || range.is_empty() {
            return Ok(());
        }
        let locks = self.0.locks.read();
        let from = Key::from_encoded(range.start.clone());
        for (key, lock) in locks.range(from..).take_while(|(k, _)| range.contains(k.encoded())) {
            check(key, lock, params)?;
        }
        Ok(())
    }

    /// Locks the keys in memory with the locks that `make` returns for the minimal commit timestamp, which is later
    /// than every read so far and than `floor`. They stay until the guard is dropped.
    pub fn lock_keys(
        &self,
        floor: Timestamp,
        make: impl FnOnce(Timestamp) -> Option<Vec<(Key, Lock)>>,
    ) -> (Timestamp, MemoryLocks) {
        let mut table = self.0.locks.write();
        // Readers that come from here on look into the table, and wait there until the locks are in it.
        self.0.count.fetch_add(1, Ordering::SeqCst);
        let min_commit_ts = self.max_ts().next().max(floor);
        let locks = make(min_commit_ts).unwrap_or_default();
        let keys: Vec<Key> = locks.iter().map(|(key, _)| key.clone()).collect();
        table.extend(locks);
        (min_commit_ts, MemoryLocks { manager: self.0.clone(), keys })
    }
}

fn check(key: &Key, lock: &Lock, params: &ReadParams) -> Result<(), MvccError> {
    match params.judge(key, lock) {
        LockVerdict::Ignore => Ok(()),
        // Reading through it needs its record: the client comes again when that is written.
        LockVerdict::ReadThrough | LockVerdict::Blocked => Err(MvccError::locked(key, lock.clone())),
    }
}

/// Keeps locks in memory until dropped: after their records, or the commit, are replicated.
pub struct MemoryLocks {
    manager: Arc<Inner>,
    keys: Vec<Key>,
}

impl std::fmt::Debug for MemoryLocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

impl Drop for MemoryLocks {
    fn drop(&mut self) {
        let mut table = self.manager.locks.write();
        for key in &self.keys {
            table.remove(key);
        }
        self.manager.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::LockKind;

    fn lock_at(manager: &ConcurrencyManager, key: &[u8], floor: u64) -> (Timestamp, MemoryLocks) {
        manager.lock_keys(Timestamp(floor), |min_commit_ts| {
            let mut lock = Lock::new(LockKind::Put, key, Timestamp(5), 1000);
            lock.use_async_commit = true;
            lock.min_commit_ts = min_commit_ts;
            Some(vec![(Key::from_user(key), lock)])
        })
    }

    #[test]
    fn commits_come_after_earlier_reads_and_block_later_ones() {
        let manager = ConcurrencyManager::new();
        manager.update_max_ts(Timestamp(100));
        manager.update_max_ts(Timestamp(50));
        manager.update_max_ts(Timestamp::MAX);
        let (min_commit_ts, guard) = lock_at(&manager, b"k", 7);
        assert_eq!(min_commit_ts, Timestamp(101));
        let key = Key::from_user(b"k");
        assert!(manager.check_key(&key, &ReadParams::at(Timestamp(100))).is_ok());
        assert!(manager.check_key(&key, &ReadParams::at(Timestamp(101))).is_err());
        assert!(manager.check_key(&Key::from_user(b"other"), &ReadParams::at(Timestamp(101))).is_ok());
        let range = |a: &[u8], b: &[u8]| crate::mvcc::view::encode_range(&KeyRange::new(a, b));
        assert!(manager.check_range(&range(b"a", b"z"), &ReadParams::at(Timestamp(101))).is_err());
        assert!(manager.check_range(&range(b"", b""), &ReadParams::at(Timestamp(101))).is_err());
        assert!(manager.check_range(&range(b"a", b"k"), &ReadParams::at(Timestamp(101))).is_ok());
        drop(guard);
        assert!(manager.check_key(&key, &ReadParams::at(Timestamp(101))).is_ok());
        let (min_commit_ts, _guard) = lock_at(&manager, b"k", 500);
        assert_eq!(min_commit_ts, Timestamp(500));
    }
}
