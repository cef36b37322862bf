//! Hot ranges in memory above another engine.
//!
//! ```text
//!   key space of a family   ├──── segment ────┤   ├─ segment ─┤├──── segment ────┤
//!   in memory               all of its pairs, ▲   all          all
//!   only on disk                              gap                               to the end
//! ```
//!
//! Data is read far more often than it is loaded, and versions of keys are read in little steps: a point read seeks, a scan
//! steps from key to key and over old versions. An LSM tree makes each seek look into every level (13 to 17 µs, 41 to 70
//! with a hundred steps after it); memory does it in well under one. So what is read comes into memory in *segments*, and
//! stays as long as it is read and [`HotOptions::bytes`] allow. Writes go to the disk engine as before and change the
//! segments that they meet, so that nothing has to be made invalid.
//!
//! Why like this: RocksDB reads three times as fast as `fjall`, for ten minutes of C++ in every build, and still from
//! blocks that it searches. The newest version of a key apart from older ones would spare scans old versions, and cost
//! each write a second one, with records that TiKV's tools do not know. Memory keeps the disk engine, whose files a layer of
//! ours can encrypt, and nothing above has to know.
//!
//! Invariants:
//! - a segment holds every pair that the disk engine holds of its range, all versions, or it is not there at all;
//! - a [`HotSnapshot`] is a snapshot of the disk and the map of segments of the same moment: neither changes, and what is
//!   read from the one is what the other would give;
//! - memory of segments, with what they cost beside their pairs, stays within [`HotOptions::bytes`], but for what snapshots
//!   keep, one segment that was just loaded, and what writes add faster than their share of the clock finds cold ones.
//!
//! A write holds the state alone, from the disk's write to that of the memory. Segments are loaded by a thread of their own
//! ([`loader`]): from a snapshot, without holding anything, while writes to the range are noted and made good at the end.
//! A clock takes out segments that were not read since its last round ([`Segment::touch`]).
//!
//! Not here: the lock family, whose keys [`crate::disk`] follows, and the node's own state: both bypass it. Nothing is
//! kept over a restart.
//!
//! [`Segment::touch`]: segment::Segment::touch

mod block;
mod loader;
mod map;
mod scan;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::RwLock;

use self::loader::{Loading, Requests, Wish};
use self::map::{Effect, SegmentMap};
use self::scan::HotScan;
use self::segment::Segment;
use crate::{Cf, Direction, Engine, EngineError, KeyRange, Modify, Result, ScanIter, Snapshot, WriteBatch};

/// How much memory hot ranges may take.
#[derive(Clone, Debug)]
pub struct HotOptions {
    /// Memory of all segments, in bytes, with what they cost beside their pairs. Zero keeps nothing in memory.
    pub bytes: u64,
}

impl Default for HotOptions {
    fn default() -> Self {
        // It fills only with what is read: an idle cluster reads next to nothing.
        HotOptions { bytes: 256 << 20 }
    }
}

/// What the hot ranges are and did since the engine was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotStats {
    /// Memory of all segments, in bytes.
    pub bytes: u64,
    /// Segments in memory.
    pub segments: u64,
    /// Reads of keys, and of segments by short scans, from memory.
    pub hits: u64,
    /// Those that had to go to the disk engine.
    pub misses: u64,
    /// Segments loaded.
    pub loads: u64,
    /// Segments taken out to make room.
    pub evictions: u64,
}

/// How large the pieces are that memory is made of, in bytes. Small ones are cheap to change, large ones to keep.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A block that is cut; it may grow to twice that.
    block: usize,
    /// A segment that is loaded or split; it may grow to twice that, too.
    segment: usize,
}

const SIZES: Sizes = Sizes { block: 4 << 10, segment: 64 << 10 };

/// Segments that the clock looks at during one write. When it finds none to take out among them, the next write goes on.
const WRITE_STEPS: usize = 32;

/// How long the last clone that is dropped waits for a load to end: one that hangs in a call to a failing disk must not keep
/// the process.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// How often it looks.
const CLOSE_STEP: Duration = Duration::from_millis(1);

/// A family's place among those that are kept in memory.
fn family(cf: Cf) -> Option<usize> {
    match cf {
        Cf::Write => Some(0),
        Cf::Default => Some(1),
        Cf::Lock | Cf::Raft => None,
    }
}

/// A pair set, or removed.
#[derive(Clone, Copy)]
struct Change<'a> {
    key: &'a [u8],
    value: Option<&'a [u8]>,
}

/// An engine with hot ranges in memory. Clones share it; the last one dropped waits for the loader.
pub struct HotEngine<E: Engine>(Arc<Shared<E>>);

impl<E: Engine> Clone for HotEngine<E> {
    fn clone(&self) -> Self {
        HotEngine(self.0.clone())
    }
}

struct Shared<E: Engine> {
    inner: Arc<Inner<E>>,
    loader: Option<JoinHandle<()>>,
}

impl<E: Engine> Drop for Shared<E> {
    fn drop(&mut self) {
        self.inner.requests.close();
        let until = Instant::now() + CLOSE_WAIT;
        while self.loader.as_ref().is_some_and(|loader| !loader.is_finished()) {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(CLOSE_STEP);
        }
        if let Some(loader) = self.loader.take() {
            // It catches its panics: there is nothing to hear of.
            let _ = loader.join();
        }
    }
}

struct Inner<E> {
    disk: E,
    bytes_max: usize,
    sizes: Sizes,
    /// Exclusive for a write to a family that is kept here, and for a segment that comes or goes; shared while a snapshot
    /// is taken. The disk engine's own locks are taken under it.
    state: RwLock<State>,
    requests: Arc<Requests>,
}

/// What is in memory.
#[derive(Default)]
struct State {
    maps: [SegmentMap; 2],
    /// All segments, each once, in the order in which the clock looks at them. One that was removed may still be in it.
    clock: VecDeque<(usize, Bytes)>,
    bytes: usize,
    /// What the loader reads right now.
    loading: Option<Loading>,
    evictions: u64,
}

impl State {
    fn account(&mut self, family: usize, effect: Effect) {
        self.bytes = self.bytes.saturating_add_signed(effect.grown);
        self.clock.extend(effect.made.into_iter().map(|start| (family, start)));
    }

    /// Makes the changes of a batch in memory.
    fn apply(&mut self, modifies: &[Modify], sizes: Sizes) {
        let mut changes: [Vec<Change<'_>>; 2] = Default::default();
        for modify in modifies {
            match modify {
                Modify::Put(cf, key, value) => {
                    if let Some(family) = family(*cf) {
                        changes[family].push(Change { key, value: Some(value) });
                    }
                }
                Modify::Delete(cf, key) => {
                    if let Some(family) = family(*cf) {
                        changes[family].push(Change { key, value: None });
                    }
                }
                Modify::DeleteRange(cf, range) => {
                    let Some(family) = family(*cf) else { continue };
                    self.change(family, std::mem::take(&mut changes[family]), sizes);
                    let effect = self.maps[family].clear(range);
                    self.account(family, effect);
                    if let Some(loading) = &mut self.loading {
                        loading.clear(family, range);
                    }
                }
            }
        }
        for (family, changes) in changes.into_iter().enumerate() {
            self.change(family, changes, sizes);
        }
    }

    fn change(&mut self, family: usize, mut changes: Vec<Change<'_>>, sizes: Sizes) {
        if let Some(loading) = &mut self.loading {
            changes.iter().for_each(|change| loading.note(family, change));
        }
        if changes.is_empty() || self.maps[family].is_empty() {
            return;
        }
        // The sort keeps the order of changes of one key, of which the last one counts.
        changes.reverse();
        changes.sort_by(|a, b| a.key.cmp(b.key));
        changes.dedup_by(|later, kept| later.key == kept.key);
        let effect = self.maps[family].change(&changes, sizes);
        self.account(family, effect);
    }

    fn insert(&mut self, family: usize, start: Bytes, mut segment: Segment, sizes: Sizes) {
        let parts = segment.split(sizes);
        for (start, segment) in std::iter::once((start, segment)).chain(parts) {
            self.bytes += segment.bytes();
            self.clock.push_back((family, start.clone()));
            self.maps[family].insert(start, segment);
        }
    }

    /// Takes segments out until the rest fits, in a number of steps; whether it does.
    fn evict(&mut self, bytes_max: usize, steps: usize) -> bool {
        for _ in 0..steps {
            if self.bytes <= bytes_max {
                return true;
            }
            let Some((family, start)) = self.clock.pop_front() else { return true };
            let map = &mut self.maps[family];
            match map.get(&start) {
                Some(segment) if segment.cool() => {
                    self.bytes -= segment.bytes();
                    self.evictions += 1;
                    map.remove(&start);
                }
                Some(_) => self.clock.push_back((family, start)),
                None => {}
            }
        }
        self.bytes <= bytes_max
    }

    /// Forgets everything: what the disk engine holds is not known.
    fn forget(&mut self) {
        self.maps = Default::default();
        self.clock.clear();
        self.bytes = 0;
        if let Some(loading) = &mut self.loading {
            loading.give_up();
        }
    }
}

/// Forgets what is in memory, unless the disk engine did what memory did.
struct Unconfirmed<'a>(&'a mut State, bool);

impl Drop for Unconfirmed<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.forget();
        }
    }
}

impl<E: Engine> Inner<E> {
    fn new(disk: E, bytes: u64, sizes: Sizes) -> Arc<Inner<E>> {
        let bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        let requests = Arc::new(Requests::new(bytes > 0));
        Arc::new(Inner { disk, bytes_max, sizes, state: RwLock::default(), requests })
    }
}

impl<E: Engine> HotEngine<E> {
    /// Hot ranges above `disk`, which nobody may write to from now on but through this.
    pub fn new(disk: E, options: HotOptions) -> Result<HotEngine<E>> {
        let inner = Inner::new(disk, options.bytes, SIZES);
        let loader = if options.bytes == 0 { None } else { Some(loader::start(inner.clone())?) };
        Ok(HotEngine(Arc::new(Shared { inner, loader })))
    }

    /// What the hot ranges are and did.
    pub fn stats(&self) -> HotStats {
        let (state, counts) = (self.0.inner.state.read(), &self.0.inner.requests.counts);
        HotStats {
            bytes: state.bytes as u64,
            segments: state.maps.iter().map(|map| map.len() as u64).sum(),
            hits: counts.hits.load(Ordering::Relaxed),
            misses: counts.misses.load(Ordering::Relaxed),
            loads: counts.loads.load(Ordering::Relaxed),
            evictions: state.evictions,
        }
    }
}

impl<E: Engine> Engine for HotEngine<E> {
    type Snapshot = HotSnapshot<E::Snapshot>;

    fn snapshot(&self) -> Self::Snapshot {
        let Inner { disk, state, requests, .. } = &*self.0.inner;
        let state = state.read();
        let (disk, maps, requests) = (disk.snapshot(), state.maps.clone(), requests.clone());
        HotSnapshot { view: Arc::new(View { disk, maps, requests }), once: false }
    }

    fn write(&self, batch: WriteBatch) -> Result<()> {
        batch.check()?;
        let Inner { disk, bytes_max, sizes, state, .. } = &*self.0.inner;
        let kept = |modify: &Modify| match modify {
            Modify::Put(cf, ..) | Modify::Delete(cf, _) | Modify::DeleteRange(cf, _) => family(*cf).is_some(),
        };
        if *bytes_max == 0 || !batch.modifies.iter().any(kept) {
            return disk.write(batch);
        }
        let mut state = state.write();
        // Memory first, which can be forgotten again: the batch is the disk engine's then.
        let mut unconfirmed = Unconfirmed(&mut state, false);
        unconfirmed.0.apply(&batch.modifies, *sizes);
        disk.write(batch)?;
        unconfirmed.1 = true;
        unconfirmed.0.evict(*bytes_max, WRITE_STEPS);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.0.inner.disk.sync()
    }

    fn approximate_size(&self, cf: Cf, range: &KeyRange) -> Result<u64> {
        self.0.inner.disk.approximate_size(cf, range)
    }

    fn reclaim(&self, cf: Cf, removed_bytes: u64) -> Result<()> {
        self.0.inner.disk.reclaim(cf, removed_bytes)
    }

    fn damage(&self) -> Option<EngineError> {
        self.0.inner.disk.damage()
    }
}

/// What readers and the loader count.
#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    loads: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A consistent view of a [`HotEngine`]. It keeps overwritten values and segments while it lives.
#[derive(Clone)]
pub struct HotSnapshot<S> {
    view: Arc<View<S>>,
    /// Reads leave no trace.
    once: bool,
}

struct View<S> {
    disk: S,
    maps: [SegmentMap; 2],
    requests: Arc<Requests>,
}

impl<S> HotSnapshot<S> {
    /// A read was answered by a segment.
    fn hit(&self, segment: &Segment) {
        if !self.once {
            segment.touch();
            count(&self.view.requests.counts.hits);
        }
    }

    /// A read goes on to the disk engine: what it looks for should be hot.
    fn missed(&self, wish: Wish<&[u8]>) {
        if !self.once {
            count(&self.view.requests.counts.misses);
            self.view.requests.wish(wish);
        }
    }
}

/// What it returns are slices of blocks, as those of the disk are: not for keeping.
impl<S: Snapshot> Snapshot for HotSnapshot<S> {
    fn get(&self, cf: Cf, key: &[u8]) -> Result<Option<Bytes>> {
        let View { disk, maps, .. } = &*self.view;
        let Some(family) = family(cf) else { return disk.get(cf, key) };
        if let Some((_, segment)) = maps[family].covering(key) {
            self.hit(segment);
            return Ok(segment.get(key));
        }
        self.missed(Wish::at(family, key, true));
        disk.get(cf, key)
    }

    fn once(self) -> Self {
        HotSnapshot { once: true, ..self }
    }

    fn first(&self, cf: Cf, start: &[u8], end: &[u8]) -> Result<Option<(Bytes, Bytes)>> {
        let View { disk, maps, .. } = &*self.view;
        let Some(family) = family(cf) else { return disk.first(cf, start, end) };
        if let Some((_, segment)) = maps[family].covering(start) {
            let place = segment.lower_bound(start);
            let found = segment.key(place);
            if found.is_some() || segment.reaches(end) {
                self.hit(segment);
                let inside = found.is_some_and(|key| end.is_empty() || key < end);
                return Ok(inside.then(|| segment.pair(place)).flatten());
            }
        }
        self.scan(cf, &KeyRange::new(start, end), Direction::Forward).next().transpose()
    }

    fn scan(&self, cf: Cf, range: &KeyRange, direction: Direction) -> ScanIter {
        match family(cf) {
            Some(family) => Box::new(HotScan::new(self.clone(), cf, family, range.clone(), direction)),
            None => self.view.disk.scan(cf, range, direction),
        }
    }
}
