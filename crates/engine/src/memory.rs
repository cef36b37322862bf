//! The engine in memory: an ordered map of versions, for simulation and tests.
//!
//! ```text
//! (cf, key) → [(7, put "b"), (4, delete), (2, put "a")]      newest first; the number is the batch's
//! ```
//!
//! A snapshot is a batch number, so taking one costs nothing; a version is dropped once a newer one is both synced and
//! seen by every open snapshot. [`MemoryEngine::crash`] forgets the batches after the last sync, as a power cut does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::{Cf, Direction, Engine, EngineError, KeyRange, Modify, Result, ScanIter, Snapshot, WriteBatch};

/// Rows that a scan copies out at a time, so that it holds the lock shortly and need not hold it between rows.
const SCAN_CHUNK_ROWS: usize = 64;

/// The engine over an ordered map. Clones share the map.
#[derive(Clone, Default)]
pub struct MemoryEngine(Arc<RwLock<State>>);

impl std::fmt::Debug for MemoryEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryEngine").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    /// Versions of each key, newest first, by column family.
    maps: [BTreeMap<Bytes, Vec<Version>>; 4],
    /// Number of the last batch written.
    last: u64,
    /// Number of the last batch that a crash keeps.
    synced: u64,
    /// Open snapshots: their batch number and how many there are.
    snapshots: BTreeMap<u64, usize>,
    /// Keys to look at again once the batch of that number is synced and seen by all: older versions go then.
    garbage: VecDeque<(u64, Cf, Bytes)>,
    /// Whether the next sync is to fail.
    fail_sync: bool,
    poisoned: bool,
    /// What a reader is said to have met.
    damage: Option<EngineError>,
}

struct Version {
    batch: u64,
    /// Absent for a deletion.
    value: Option<Bytes>,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a power cut and a restart do: every batch after the last sync is forgotten, and a failed sync forgiven.
    /// Snapshots taken before must not be used any more.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// A power cut that found the first `batches` of the unsynced ones on the disk.
    pub fn crash_keeping(&self, batches: u64) {
        let mut state = self.0.write();
        let state = &mut *state;
        let keep = state.synced.saturating_add(batches).min(state.last);
        for map in &mut state.maps {
            map.retain(|_, versions| {
                versions.retain(|v| v.batch <= keep);
                !versions.is_empty()
            });
        }
        state.garbage.retain(|(batch, ..)| *batch <= keep);
        // Numbers of forgotten batches are not given again: a stale snapshot can miss data, but never see new data.
        state.synced = state.last;
        state.fail_sync = false;
        state.poisoned = false;
    }

    /// Batches that a crash now would forget.
    pub fn unsynced_batches(&self) -> u64 {
        let state = self.0.read();
        state.last - state.synced
    }

    /// Makes the next sync fail, as a broken disk does.
    pub fn fail_next_sync(&self) {
        self.0.write().fail_sync = true;
    }

    /// Has a reader met bytes that are not what was written.
    pub fn damage_now(&self) {
        self.0.write().damage = Some(EngineError::Corrupted("a block, as the test asked".into()));
    }
}

impl State {
    fn set(&mut self, cf: Cf, key: Bytes, value: Option<Bytes>) {
        let batch = self.last;
        let versions = self.maps[cf as usize].entry(key.clone()).or_default();
        match versions.first_mut() {
            Some(newest) if newest.batch == batch => newest.value = value,
            _ => versions.insert(0, Version { batch, value }),
        }
        self.garbage.push_back((batch, cf, key));
    }

    fn keys_in(&self, cf: Cf, range: &KeyRange, at: u64) -> Vec<Bytes> {
        if range.is_empty() {
            return Vec::new();
        }
        let live = |(key, versions): (&Bytes, &Vec<Version>)| visible(versions, at).map(|_| key.clone());
        self.maps[cf as usize].range::<[u8], _>(range.bounds()).filter_map(live).collect()
    }

    /// Drops versions that no snapshot and no crash can bring back.
    fn collect(&mut self) {
        let oldest_seen = self.snapshots.first_key_value().map_or(u64::MAX, |(batch, _)| *batch);
        let horizon = oldest_seen.min(self.synced);
        while self.garbage.front().is_some_and(|(batch, ..)| *batch <= horizon) {
            let Some((_, cf, key)) = self.garbage.pop_front() else { break };
            let map = &mut self.maps[cf as usize];
            let Some(versions) = map.get_mut(&key) else { continue };
            if let Some(newest_kept) = versions.iter().position(|v| v.batch <= horizon) {
                versions.truncate(newest_kept + 1);
                if versions[newest_kept].value.is_none() {
                    versions.pop();
                }
            }
            if versions.is_empty() {
                map.remove(&key);
            }
        }
    }
}

fn visible(versions: &[Version], at: u64) -> Option<&Bytes> {
    versions.iter().find(|v| v.batch <= at)?.value.as_ref()
}

impl Engine for MemoryEngine {
    type Snapshot = MemorySnapshot;

    fn snapshot(&self) -> MemorySnapshot {
        let mut state = self.0.write();
        let at = state.last;
        *state.snapshots.entry(at).or_default() += 1;
        MemorySnapshot(Arc::new(View { state: self.0.clone(), at }))
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        batch.check()?;
        let mut state = self.0.write();
        if state.poisoned {
            return Err(EngineError::Poisoned);
        }
        state.last += 1;
        for modify in batch.modifies {
            match modify {
                Modify::Put(cf, key, value) => state.set(cf, key.into(), Some(value.into())),
                Modify::Delete(cf, key) => state.set(cf, key.into(), None),
                Modify::DeleteRange(cf, range) => {
                    let now = state.last;
                    for key in state.keys_in(cf, &range, now) {
                        state.set(cf, key, None);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.0.write();
        if state.poisoned {
            return Err(EngineError::Poisoned);
        }
        if std::mem::take(&mut state.fail_sync) {
            state.poisoned = true;
            return Err(EngineError::Io("sync failed, as the test asked".into()));
        }
        state.synced = state.last;
        state.collect();
        Ok(())
    }

    fn approximate_size(&self, cf: Cf, range: &KeyRange) -> Result<u64> {
        if range.is_empty() {
            return Ok(0);
        }
        let state = self.0.read();
        let live = |(key, versions): (&Bytes, &Vec<Version>)| {
            visible(versions, state.last).map_or(0, |value| (key.len() + value.len()) as u64)
        };
        Ok(state.maps[cf as usize].range::<[u8], _>(range.bounds()).map(live).sum())
    }

    fn reclaim(&self, _: Cf, _: u64) -> Result<()> {
        // What nobody sees any more goes with each write.
        Ok(())
    }

    fn damage(&self) -> Option<EngineError> {
        self.0.read().damage.clone()
    }
}

/// A consistent view of a [`MemoryEngine`].
#[derive(Clone)]
pub struct MemorySnapshot(Arc<View>);

struct View {
    state: Arc<RwLock<State>>,
    /// The last batch that the view sees.
    at: u64,
}

impl Drop for View {
    fn drop(&mut self) {
        let mut state = self.state.write();
        if let Some(count) = state.snapshots.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                state.snapshots.remove(&self.at);
                state.collect();
            }
        }
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>> {
        let state = self.0.state.read();
        Ok(state.maps[cf as usize].get(key).and_then(|versions| visible(versions, self.0.at).cloned()))
    }

    fn scan(&self, cf: Cf, range: &KeyRange, direction: Direction) -> ScanIter {
        let rest = (!range.is_empty()).then(|| {
            let end = match range.end.is_empty() {
                true => Bound::Unbounded,
                false => Bound::Excluded(Bytes::copy_from_slice(&range.end)),
            };
            (Bound::Included(Bytes::copy_from_slice(&range.start)), end)
        });
        Box::new(Scan { view: self.clone(), cf, direction, rest, chunk: VecDeque::new() })
    }
}

struct Scan {
    view: MemorySnapshot,
    cf: Cf,
    direction: Direction,
    /// What is still to be read; absent when nothing is.
    rest: Option<(Bound<Bytes>, Bound<Bytes>)>,
    chunk: VecDeque<(Bytes, Bytes)>,
}

impl Scan {
    fn fill(&mut self) {
        let Some(rest) = self.rest.take() else { return };
        let state = self.view.0.state.read();
        let at = self.view.0.at;
        let live = |(key, versions): (&Bytes, &Vec<Version>)| visible(versions, at).map(|v| (key.clone(), v.clone()));
        let range = state.maps[self.cf as usize].range::<Bytes, _>(rest.clone());
        let chunk: Vec<_> = match self.direction {
            Direction::Forward => range.filter_map(live).take(SCAN_CHUNK_ROWS).collect(),
            Direction::Backward => range.rev().filter_map(live).take(SCAN_CHUNK_ROWS).collect(),
        };
        if chunk.len() == SCAN_CHUNK_ROWS {
            let reached = Bound::Excluded(chunk[SCAN_CHUNK_ROWS - 1].0.clone());
            let next = match self.direction {
                Direction::Forward => (reached, rest.1),
                Direction::Backward => (rest.0, reached),
            };
            // Two excluded bounds on one key would be refused by the map; nothing lies between them anyway.
            let nothing_left = matches!((&next.0, &next.1),
                (Bound::Excluded(a) | Bound::Included(a), Bound::Excluded(b)) if a >= b);
            self.rest = (!nothing_left).then_some(next);
        }
        self.chunk.extend(chunk);
    }
}

impl Iterator for Scan {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.is_empty() {
            self.fill();
        }
        self.chunk.pop_front().map(Ok)
    }
}
