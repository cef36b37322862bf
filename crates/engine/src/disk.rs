//! The engine on disk: one `fjall` database, one keyspace (an LSM tree) per column family.
//!
//! ```text
//! dir/  *.jnl                    the journal all column families share: a batch is one journal entry
//!       keyspaces/…              the trees; a memtable is flushed only after the journal was synced
//! ```
//!
//! A write goes to the journal's page-cache buffer and the memtables: it survives the death of the process at once and
//! that of the machine after [`Engine::sync`]. Range deletion is a scan that writes tombstones.
//!
//! There is one writer at a time, as in `fjall` itself, and snapshots are taken between writes: a flush that ends during
//! a write would make the half that is done visible to them. So nothing comes between a range deletion's scan and its
//! write either, and the keys of the lock family can be followed in memory: who looks for locks reads no tombstones.
//!
//! Memory is bounded by the block cache plus, per column family, up to five memtables (one active, four being flushed),
//! plus the keys of the locks held.

mod live;

use std::collections::HashSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use parking_lot::RwLock;

use self::live::LiveKeys;
use crate::{
    Cf, Direction, Engine, EngineError, KEY_BYTES_MAX, KeyRange, Modify, Result, ScanIter, Snapshot, WriteBatch,
};

/// Removed bytes that are not worth a merge of the whole tree.
const RECLAIM_BYTES_MIN: u64 = 1 << 20;
/// The part of a tree, as a divisor, that has to be removed before it is merged: between two merges readers find at most
/// this much more than there is.
const RECLAIM_PART: u64 = 8;
/// A tree larger than this, on disk, is left to its levels: each merge would write all of it anew.
const RECLAIM_TREE_BYTES_MAX: u64 = 1 << 30;

/// Locks that are read one by one; for more of them, the tree is scanned.
const FEW_LOCKS: usize = 16;

/// How much memory and disk the engine may use.
#[derive(Clone, Debug)]
pub struct FjallOptions {
    /// Block cache over all column families, in bytes. It fills only with what is read.
    pub cache_bytes: u64,
    /// Size at which a column family's memtable is flushed, in bytes.
    pub memtable_bytes: u64,
    /// Journal size at which the oldest memtables are flushed to free it, in bytes; at least 64 MiB.
    pub journal_bytes: u64,
    /// Background threads for flushes and compactions.
    pub worker_threads: usize,
}

impl Default for FjallOptions {
    fn default() -> Self {
        // Sized for several nodes on one small machine: the idle eight-process cluster must fit in 800 MiB.
        FjallOptions {
            cache_bytes: 64 << 20,
            memtable_bytes: 16 << 20,
            journal_bytes: JOURNAL_BYTES_MIN * 2,
            worker_threads: 2,
        }
    }
}

/// `fjall` refuses a smaller journal.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// The engine over a directory. Clones share it; the last one dropped closes it.
#[derive(Clone)]
pub struct FjallEngine(Arc<Inner>);

struct Inner {
    db: Database,
    keyspaces: Keyspaces,
    /// Bytes removed from each family since it was last merged, in the order of [`Cf::ALL`].
    removed: [AtomicU64; 4],
    /// Keys that [`Cf::Lock`] may hold. Exclusive for a write, from what it reads to what it has written; shared while a
    /// snapshot is taken.
    locks: RwLock<LiveKeys>,
}

/// The trees, and what is known against them.
struct Trees {
    /// In the order of [`Cf::ALL`].
    of: [Keyspace; 4],
    /// The first bytes that were not what was written, whoever read them.
    damage: OnceLock<EngineError>,
}

type Keyspaces = Arc<Trees>;

impl Trees {
    /// The error of reading or writing, which is kept if it tells of damage.
    fn noted(&self, error: fjall::Error) -> EngineError {
        let error = from_fjall(error);
        if matches!(error, EngineError::Corrupted(_)) {
            let _ = self.damage.set(error.clone());
        }
        error
    }
}

impl FjallEngine {
    /// Opens the engine in `dir`, which is created when missing. One process at a time may have it open.
    pub fn open(dir: impl AsRef<Path>, options: FjallOptions) -> Result<FjallEngine> {
        let db = Database::builder(dir)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes.max(JOURNAL_BYTES_MIN))
            .worker_threads(options.worker_threads.max(1))
            .open()
            .map_err(from_fjall)?;
        let open = |cf: Cf| {
            let create = || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
            db.keyspace(cf.name(), create).map_err(from_fjall)
        };
        let of = [open(Cf::ALL[0])?, open(Cf::ALL[1])?, open(Cf::ALL[2])?, open(Cf::ALL[3])?];
        let keyspaces = Arc::new(Trees { of, damage: OnceLock::new() });
        let mut locks = LiveKeys::default();
        for entry in db.snapshot().iter(&keyspaces.of[Cf::Lock as usize]) {
            locks.add(&entry.key().map_err(from_fjall)?);
        }
        let removed = Default::default();
        Ok(FjallEngine(Arc::new(Inner { db, keyspaces, removed, locks: RwLock::new(locks) })))
    }
}

impl Inner {
    fn keyspace(&self, cf: Cf) -> &Keyspace {
        &self.keyspaces.of[cf as usize]
    }

    fn snapshot(&self, locks: &LiveKeys) -> FjallSnapshot {
        let tree = self.db.snapshot();
        FjallSnapshot(Arc::new(View { tree, locks: locks.clone(), keyspaces: self.keyspaces.clone() }))
    }

    /// Commits modifies without range deletions. All entries of a `fjall` batch share one sequence number, so only
    /// the last change of each key may go in.
    fn commit(&self, locks: &mut LiveKeys, modifies: Vec<Modify>) -> Result<()> {
        let keep = last_of_each_key(&modifies);
        let mut unlocked = Vec::new();
        for (modify, keep) in modifies.iter().zip(&keep) {
            match modify {
                _ if !keep => {}
                Modify::Put(Cf::Lock, key, _) => locks.add(key),
                Modify::Delete(Cf::Lock, key) => unlocked.push(key.clone()),
                _ => {}
            }
        }
        let mut batch = self.db.batch();
        for (modify, keep) in modifies.into_iter().zip(keep) {
            match modify {
                _ if !keep => {}
                Modify::Put(cf, key, value) => batch.insert(self.keyspace(cf), key, value),
                Modify::Delete(cf, key) => batch.remove(self.keyspace(cf), key),
                Modify::DeleteRange(..) => unreachable!("expanded by the caller"),
            }
        }
        batch.commit().map_err(from_fjall)?;
        unlocked.iter().for_each(|key| locks.take_away(key));
        Ok(())
    }

    /// Replaces each range deletion by deletions of the keys it covers: those stored and those put before it in the
    /// same batch.
    fn expand_range_deletes(&self, locks: &LiveKeys, modifies: Vec<Modify>) -> Result<Vec<Modify>> {
        let view = self.snapshot(locks);
        let mut expanded = Vec::with_capacity(modifies.len());
        for modify in modifies {
            let Modify::DeleteRange(cf, range) = modify else {
                expanded.push(modify);
                continue;
            };
            expanded.retain(|m| !matches!(m, Modify::Put(c, k, _) if *c == cf && range.contains(k)));
            for entry in view.scan(cf, &range, Direction::Forward) {
                expanded.push(Modify::Delete(cf, entry?.0.to_vec()));
            }
        }
        Ok(expanded)
    }
}

/// For each modify, whether no later one changes the same key.
fn last_of_each_key(modifies: &[Modify]) -> Vec<bool> {
    let mut keep = vec![true; modifies.len()];
    if modifies.len() > 1 {
        let mut seen = HashSet::with_capacity(modifies.len());
        for (i, modify) in modifies.iter().enumerate().rev() {
            if let Modify::Put(cf, key, _) | Modify::Delete(cf, key) = modify {
                keep[i] = seen.insert((*cf, key.as_slice()));
            }
        }
    }
    keep
}

impl Engine for FjallEngine {
    type Snapshot = FjallSnapshot;

    fn snapshot(&self) -> FjallSnapshot {
        self.0.snapshot(&self.0.locks.read())
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        batch.check()?;
        let mut locks = self.0.locks.write();
        let mut modifies = batch.modifies;
        if modifies.iter().any(|m| matches!(m, Modify::DeleteRange(..))) {
            modifies = self.0.expand_range_deletes(&locks, modifies)?;
        }
        self.0.commit(&mut locks, modifies)
    }

    fn sync(&self) -> Result<()> {
        self.0.db.persist(PersistMode::SyncAll).map_err(from_fjall)
    }

    fn approximate_size(&self, cf: Cf, range: &KeyRange) -> Result<u64> {
        let mut bytes = 0;
        for entry in self.snapshot().0.iter(cf, range) {
            let (key, value) = entry.into_inner().map_err(|e| self.0.keyspaces.noted(e))?;
            bytes += (key.len() + value.len()) as u64;
        }
        Ok(bytes)
    }

    fn damage(&self) -> Option<EngineError> {
        self.0.keyspaces.damage.get().cloned()
    }

    fn reclaim(&self, cf: Cf, removed_bytes: u64) -> Result<()> {
        let (keyspace, removed) = (self.0.keyspace(cf), &self.0.removed[cf as usize]);
        let total = removed.fetch_add(removed_bytes, Ordering::Relaxed) + removed_bytes;
        let size = keyspace.disk_space();
        if total < RECLAIM_BYTES_MIN.max(size / RECLAIM_PART) || size > RECLAIM_TREE_BYTES_MAX {
            return Ok(());
        }
        removed.fetch_sub(total, Ordering::Relaxed);
        // What is in the memtable would not be merged.
        let noted = |e| self.0.keyspaces.noted(e);
        keyspace.rotate_memtable_and_wait().map_err(noted)?;
        keyspace.major_compact().map_err(noted)
    }
}

/// A consistent view of a [`FjallEngine`]. It keeps overwritten values from being collected while it lives.
#[derive(Clone)]
pub struct FjallSnapshot(Arc<View>);

struct View {
    tree: fjall::Snapshot,
    locks: LiveKeys,
    keyspaces: Keyspaces,
}

impl View {
    fn iter(&self, cf: Cf, range: &KeyRange) -> fjall::Iter {
        let keyspace = &self.keyspaces.of[cf as usize];
        // The tree panics on an inverted range and on bounds longer than a key may be. No key lies between such a
        // bound and its longest permitted prefix, so that the prefix does instead.
        if range.is_empty() {
            return self.tree.range(keyspace, *b"-"..*b"-");
        }
        let prefix = |bound: &[u8]| bound[..KEY_BYTES_MAX].to_vec();
        let start = match range.start.len() <= KEY_BYTES_MAX {
            true => Bound::Included(range.start.clone()),
            false => Bound::Excluded(prefix(&range.start)),
        };
        let end = match range.end.len() {
            0 => Bound::Unbounded,
            n if n <= KEY_BYTES_MAX => Bound::Excluded(range.end.clone()),
            _ => Bound::Included(prefix(&range.end)),
        };
        match (&start, &end) {
            (Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) if a >= b => {
                self.tree.range(keyspace, *b"-"..*b"-")
            }
            _ => self.tree.range::<Vec<u8>, _>(keyspace, (start, end)),
        }
    }
}

/// What it returns are the tree's own bytes, not copies: each keeps a block or an entry of a memtable in memory, so that
/// it is not for keeping.
impl Snapshot for FjallSnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>> {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Ok(None);
        }
        let View { tree, locks, keyspaces } = &*self.0;
        if cf == Cf::Lock && !locks.contains(key) {
            return Ok(None);
        }
        let value = tree.get(&keyspaces.of[cf as usize], key).map_err(|e| keyspaces.noted(e))?;
        Ok(value.map(Bytes::from))
    }

    fn scan(&self, cf: Cf, range: &KeyRange, direction: Direction) -> ScanIter {
        if cf == Cf::Lock
            && !range.is_empty()
            && let Some(keys) = self.0.locks.few_of(range, FEW_LOCKS)
        {
            let view = self.clone();
            let lock = move |key: Box<[u8]>| Some(view.get(Cf::Lock, &key).transpose()?.map(|lock| (key.into(), lock)));
            return match direction {
                Direction::Forward => Box::new(keys.into_iter().filter_map(lock)),
                Direction::Backward => Box::new(keys.into_iter().rev().filter_map(lock)),
            };
        }
        let keyspaces = self.0.keyspaces.clone();
        let decode = move |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(|e| keyspaces.noted(e))?;
            Ok((key.into(), value.into()))
        };
        let iter = self.0.iter(cf, range);
        match direction {
            Direction::Forward => Box::new(iter.map(decode)),
            Direction::Backward => Box::new(iter.rev().map(decode)),
        }
    }
}

fn from_fjall(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Poisoned => EngineError::Poisoned,
        fjall::Error::Io(e) => EngineError::Io(e.to_string()),
        fjall::Error::Storage(fjall::LsmError::Io(e)) => EngineError::Io(e.to_string()),
        fjall::Error::Locked => EngineError::Io("the directory is open in another process".into()),
        other => EngineError::Corrupted(other.to_string()),
    }
}
