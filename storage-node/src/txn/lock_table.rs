//! Pessimistic locks in the memory of the region's leader, as long as the leader stays.
//!
//! A pessimistic lock only spares its transaction conflicts: what keeps the data right is the check at prewrite, which
//! makes good a lock that is gone as long as nobody wrote the key since, and otherwise refuses. So a lock need not
//! survive its leader, and taking it costs no log entry: of a transaction with four locking statements that commits in
//! one phase, one entry of five is left (TiKV: `pessimistic-txn.in-memory`). A leader that is about to hand over replicates
//! what is here first: then a planned move of leadership loses no lock.
//!
//! Invariants:
//! - a key's lock is either here or in the lock column family, never in both;
//! - what is here was put in the region's current term: a new term voids it, a split drops what moved away;
//! - entries of a key are read and changed under its latch only, except to be dropped.
//!
//! Not here: prewritten locks, which decide transactions and are always replicated.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use engine::{Cf, Direction, KeyRange, Modify, ScanIter, Snapshot, WriteBatch};
use parking_lot::Mutex;

use crate::mvcc::{Key, Lock, LockKind};
use crate::replication::{Region, RegionSnapshot};

/// Bytes of one region's locks; more are replicated, so that losing a leader loses little.
const REGION_BYTES_MAX: usize = 512 << 10;
/// Memory of an entry beside key and lock, roughly.
const ENTRY_BYTES: usize = 64;

/// Locks by encoded key.
type Locks = BTreeMap<Vec<u8>, Bytes>;

/// The locks of a node's regions.
pub struct LockTable {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    regions: HashMap<u64, RegionLocks>,
    bytes: usize,
    clock: u64,
}

/// The locks of one region in one term.
#[derive(Default)]
struct RegionLocks {
    term: u64,
    version: u64,
    locks: Locks,
    bytes: usize,
    used: u64,
    /// Another node is about to lead: what is locked from now on is replicated.
    leaving: bool,
}

fn cost(key: &[u8], lock: &[u8]) -> usize {
    key.len() + lock.len() + ENTRY_BYTES
}

impl RegionLocks {
    /// Brings it up to the region's term and bounds. False when those are older than what it knows.
    fn enter(&mut self, region: &Region, term: u64) -> bool {
        if term < self.term || (term == self.term && region.epoch.version < self.version) {
            return false;
        }
        if term > self.term {
            self.locks.clear();
            self.leaving = false;
        } else if region.epoch.version > self.version {
            self.locks.retain(|key, _| region.range.contains(key));
        }
        (self.term, self.version) = (term, region.epoch.version);
        self.bytes = self.locks.iter().map(|(key, lock)| cost(key, lock)).sum();
        true
    }
}

impl State {
    /// The region's locks, when the view is not of the past.
    fn region(&mut self, region: &Region, term: u64) -> Option<&mut RegionLocks> {
        self.clock += 1;
        let locks = self.regions.get_mut(&region.id)?;
        if (locks.term, locks.version) != (term, region.epoch.version) {
            let before = locks.bytes;
            if !locks.enter(region, term) {
                return None;
            }
            self.bytes -= before - locks.bytes;
        }
        locks.used = self.clock;
        Some(locks)
    }
}

/// What a command's changes mean for the table, decided by [`LockTable::plan`].
#[derive(Default)]
pub struct TableChanges {
    gone: Vec<Vec<u8>>,
    put: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Locks that a command is about to replace, to be put back if nothing came of it.
pub struct Taken(Vec<(Vec<u8>, Bytes)>);

impl LockTable {
    /// An empty table of at most so many bytes; with none, every lock is replicated.
    pub fn new(bytes_max: usize) -> LockTable {
        LockTable { bytes_max, state: Mutex::default() }
    }

    /// The view with the locks that are here of these keys.
    pub fn view_of_keys<S: Snapshot>(&self, view: RegionSnapshot<S>, keys: &[Key]) -> RegionSnapshot<LockView<S>> {
        self.view(view, |held| {
            keys.iter()
                .filter_map(|key| held.get_key_value(key.encoded()))
                .map(|(k, l)| (k.clone(), l.clone()))
                .collect()
        })
    }

    /// The view with all of the region's locks that are here.
    pub fn view_of_region<S: Snapshot>(&self, view: RegionSnapshot<S>) -> RegionSnapshot<LockView<S>> {
        self.view(view, Locks::clone)
    }

    fn view<S: Snapshot>(
        &self,
        view: RegionSnapshot<S>,
        select: impl FnOnce(&Locks) -> Locks,
    ) -> RegionSnapshot<LockView<S>> {
        let RegionSnapshot { engine, region, term } = view;
        let held = self.state.lock().region(&region, term).map(|r| select(&r.locks)).unwrap_or_default();
        RegionSnapshot { engine: LockView { engine, held: Arc::new(held) }, region, term }
    }

    /// Takes from a batch what concerns locks that are here, or may be.
    pub fn plan<S: Snapshot>(
        &self,
        view: &RegionSnapshot<LockView<S>>,
        batch: &mut WriteBatch,
    ) -> engine::Result<TableChanges> {
        let mut changes = TableChanges::default();
        let LockView { engine, held } = &view.engine;
        let room = self.room(&view.region);
        let mut added = 0;
        let mut rest = Vec::with_capacity(batch.modifies.len());
        for modify in std::mem::take(&mut batch.modifies) {
            match modify {
                Modify::Put(Cf::Lock, key, lock) if is_pessimistic(&lock) => {
                    let here = held.contains_key(&key);
                    let bytes = cost(&key, &lock);
                    if added + bytes <= room && (here || engine.get(Cf::Lock, &key)?.is_none()) {
                        added += bytes;
                        changes.put.push((key, lock));
                        continue;
                    }
                    if here {
                        changes.gone.push(key.clone());
                    }
                    rest.push(Modify::Put(Cf::Lock, key, lock));
                }
                Modify::Put(Cf::Lock, key, lock) => {
                    if held.contains_key(&key) {
                        changes.gone.push(key.clone());
                    }
                    rest.push(Modify::Put(Cf::Lock, key, lock));
                }
                Modify::Delete(Cf::Lock, key) if held.contains_key(&key) => changes.gone.push(key),
                // Nothing to remove: one-phase commit says so of keys that it never locked.
                Modify::Delete(Cf::Lock, key) if engine.get(Cf::Lock, &key)?.is_none() => {}
                other => rest.push(other),
            }
        }
        batch.modifies = rest;
        Ok(changes)
    }

    fn room(&self, region: &Region) -> usize {
        if self.bytes_max == 0 {
            return 0;
        }
        match self.state.lock().regions.get(&region.id) {
            Some(held) if held.leaving => 0,
            held => REGION_BYTES_MAX.saturating_sub(held.map_or(0, |r| r.bytes)),
        }
    }

    /// Another node is about to lead the region: new locks are replicated from here on. Names the keys whose locks are
    /// here, which are to be locked anew.
    pub fn leave(&self, region: &Region, term: u64) -> Vec<Key> {
        let mut state = self.state.lock();
        state.regions.entry(region.id).or_default();
        let Some(held) = state.region(region, term) else { return Vec::new() };
        held.leaving = true;
        held.locks.keys().map(|key| Key::from_encoded(key.clone())).collect()
    }

    /// Nothing came of it, if the region is still led in that term: new locks are kept here again.
    pub fn stay(&self, region: u64, term: u64) {
        if let Some(held) = self.state.lock().regions.get_mut(&region).filter(|held| held.term == term) {
            held.leaving = false;
        }
    }

    /// Before a command's other changes are replicated: removes the locks that they replace. From here on they count as
    /// lost, which prewrite makes good, and never as held next to what replaced them.
    pub fn take(&self, region: &Region, term: u64, changes: &mut TableChanges) -> Taken {
        let mut state = self.state.lock();
        let mut taken = Vec::new();
        let Some(locks) = state.region(region, term) else { return Taken(taken) };
        let before = locks.bytes;
        for key in std::mem::take(&mut changes.gone) {
            if let Some(lock) = locks.locks.remove(&key) {
                locks.bytes -= cost(&key, &lock);
                taken.push((key, lock));
            }
        }
        state.bytes -= before - locks_bytes(&state, region.id);
        Taken(taken)
    }

    /// The command's other changes were not even proposed: the locks that it took are as good as before.
    pub fn put_back(&self, region: &Region, term: u64, taken: Taken) {
        self.put(region, term, taken.0);
    }

    /// After a command's other changes are replicated: the locks that it took. False when the view was of the past.
    pub fn finish(&self, region: &Region, term: u64, changes: TableChanges) -> bool {
        changes.put.is_empty()
            || self.put(region, term, changes.put.into_iter().map(|(k, l)| (k, Bytes::from(l))).collect())
    }

    fn put(&self, region: &Region, term: u64, put: Vec<(Vec<u8>, Bytes)>) -> bool {
        let mut state = self.state.lock();
        state.regions.entry(region.id).or_default();
        let Some(locks) = state.region(region, term) else { return false };
        let before = locks.bytes;
        for (key, lock) in put {
            locks.bytes += cost(&key, &lock);
            if let Some(old) = locks.locks.insert(key.clone(), lock) {
                locks.bytes -= cost(&key, &old);
            }
        }
        let now = locks.bytes;
        state.bytes = state.bytes + now - before;
        // Most likely regions that this node led once: their locks are void.
        while state.bytes > self.bytes_max {
            let others = state.regions.iter().filter(|(id, _)| **id != region.id);
            let Some(oldest) = others.min_by_key(|(_, locks)| locks.used).map(|(id, _)| *id) else { break };
            let dropped = state.regions.remove(&oldest).map_or(0, |locks| locks.bytes);
            state.bytes -= dropped;
        }
        true
    }

    /// Locks that are here.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().regions.values().map(|r| r.locks.len()).sum()
    }
}

fn locks_bytes(state: &State, region: u64) -> usize {
    state.regions.get(&region).map_or(0, |r| r.bytes)
}

fn is_pessimistic(lock: &[u8]) -> bool {
    Lock::parse(lock).is_ok_and(|lock| lock.kind == LockKind::Pessimistic)
}

/// An engine's view with locks from a [`LockTable`] in its lock column family.
#[derive(Clone)]
pub struct LockView<S> {
    engine: S,
    held: Arc<Locks>,
}

impl<S: Snapshot> Snapshot for LockView<S> {
    fn get(&self, cf: Cf, key: &[u8]) -> engine::Result<Option<Bytes>> {
        match self.held.get(key) {
            Some(lock) if cf == Cf::Lock => Ok(Some(lock.clone())),
            _ => self.engine.get(cf, key),
        }
    }

    fn first(&self, cf: Cf, start: &[u8], end: &[u8]) -> engine::Result<Option<(Bytes, Bytes)>> {
        match cf {
            Cf::Lock => self.scan(cf, &KeyRange::new(start, end), Direction::Forward).next().transpose(),
            _ => self.engine.first(cf, start, end),
        }
    }

    fn scan(&self, cf: Cf, range: &KeyRange, direction: Direction) -> ScanIter {
        let stored = self.engine.scan(cf, range, direction);
        if cf != Cf::Lock || self.held.is_empty() || range.is_empty() {
            return stored;
        }
        let held = self.held.range::<[u8], _>(range.bounds());
        let mut held: Vec<(Bytes, Bytes)> = held.map(|(k, l)| (Bytes::copy_from_slice(k), l.clone())).collect();
        if direction == Direction::Backward {
            held.reverse();
        }
        let (mut stored, mut held) = (stored.peekable(), held.into_iter().peekable());
        Box::new(std::iter::from_fn(move || {
            let here_first = match (stored.peek(), held.peek()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(Err(_)), _) => false,
                (Some(Ok((s, _))), Some((h, _))) => (h < s) == (direction == Direction::Forward),
            };
            if here_first { held.next().map(Ok) } else { stored.next() }
        }))
    }
}

#[cfg(test)]
mod tests;
