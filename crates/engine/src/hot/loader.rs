//! The thread that brings segments into memory, where readers missed them.
//!
//! ```text
//!   reader misses a key ──▶ Requests ──▶ 1 state held: the gap around the key, a snapshot, begin to note writes there
//!                                        2 nothing held: read the snapshot, from before the key to behind it
//!                                        3 state held: make the noted writes, put the segment into the map, make room
//! ```
//!
//! Only this thread puts segments where there are none, so that the gap cannot be filled meanwhile.
//!
//! Loading costs more than the miss: while segments have to go for others, it takes [`BUSY_PART`] of a core at most, so that
//! data far larger than memory, read all over, costs that and no more. Long scans do not make others go at all.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::block::Block;
use super::segment::Segment;
use super::{Change, Counts, Inner, count};
use crate::{Cf, Direction, Engine, EngineError, KeyRange, Result, Snapshot};

/// Wishes that wait; further ones are dropped, and come again with the next miss.
const WISHES_MAX: usize = 64;
/// Writes noted during a load, in bytes, after which it is given up.
const NOTED_BYTES_MAX: usize = 4 << 20;
/// The part of a core, as a divisor, that loading takes while others have to go for what is loaded.
const BUSY_PART: u32 = 8;
/// Segments that the clock looks at while it holds the state.
const STEPS: usize = 256;
/// A segment larger than this part of all memory, as a divisor, is not worth what would have to go.
const SEGMENT_PART_MAX: usize = 8;
/// Memory counts as full above this part, as a divisor less than one, for scans that read everything once.
const ROOM_PART: usize = 16;

/// A place that a reader wants to be hot. Its key is copied when it is queued.
pub(super) struct Wish<K = Bytes> {
    family: usize,
    key: K,
    /// The keys before it rather than it and those behind; before the end of all keys, if it is empty.
    before: bool,
    /// Whether others may go for it.
    worth: bool,
}

impl<'a> Wish<&'a [u8]> {
    /// The range that a key lies in.
    pub(super) fn at(family: usize, key: &'a [u8], worth: bool) -> Self {
        Wish { family, key, before: false, worth }
    }

    /// The range right before a key.
    pub(super) fn before(family: usize, key: &'a [u8], worth: bool) -> Self {
        Wish { family, key, before: true, worth }
    }

    pub(super) fn owned(&self) -> Wish {
        let Wish { family, before, worth, .. } = *self;
        Wish { family, key: Bytes::copy_from_slice(self.key), before, worth }
    }
}

/// What readers tell the loader, without ever waiting for it.
pub(super) struct Requests {
    enabled: bool,
    wishes: Mutex<VecDeque<Wish>>,
    arrived: Condvar,
    /// Length of the queue, for those who would find it full.
    waiting: AtomicUsize,
    closed: AtomicBool,
    pub(super) counts: Counts,
}

impl Requests {
    pub(super) fn new(enabled: bool) -> Requests {
        Requests {
            enabled,
            wishes: Mutex::default(),
            arrived: Condvar::new(),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            counts: Counts::default(),
        }
    }

    /// Asks for a place, if the loader is not busy enough.
    pub(super) fn wish(&self, wish: Wish<&[u8]>) {
        if !self.enabled || self.waiting.load(Ordering::Relaxed) >= WISHES_MAX {
            return;
        }
        let Some(mut wishes) = self.wishes.try_lock() else { return };
        if wishes.len() < WISHES_MAX {
            wishes.push_back(wish.owned());
            self.waiting.store(wishes.len(), Ordering::Relaxed);
            self.arrived.notify_one();
        }
    }

    /// The next wish; `None` when the engine is closed.
    fn next(&self) -> Option<Wish> {
        let mut wishes = self.wishes.lock();
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(wish) = wishes.pop_front() {
                self.waiting.store(wishes.len(), Ordering::Relaxed);
                return Some(wish);
            }
            self.arrived.wait(&mut wishes);
        }
    }

    /// A wish that waits.
    #[cfg(test)]
    pub(super) fn take(&self) -> Option<Wish> {
        let mut wishes = self.wishes.lock();
        let wish = wishes.pop_front();
        self.waiting.store(wishes.len(), Ordering::Relaxed);
        wish
    }

    /// Waits, unless the engine is closed meanwhile.
    fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut wishes = self.wishes.lock();
        while !self.is_closed() && !self.arrived.wait_until(&mut wishes, until).timed_out() {}
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Ends the loader.
    pub(super) fn close(&self) {
        let _wishes = self.wishes.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.arrived.notify_all();
    }
}

/// A range that is being read, and what is written to it meanwhile.
pub(super) struct Loading {
    family: usize,
    range: KeyRange,
    noted: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    noted_bytes: usize,
    given_up: bool,
}

impl Loading {
    /// Notes a write.
    pub(super) fn note(&mut self, family: usize, change: &Change<'_>) {
        if self.given_up || family != self.family || !self.range.contains(change.key) {
            return;
        }
        self.noted_bytes += change.key.len() + change.value.map_or(0, <[u8]>::len);
        if self.noted_bytes > NOTED_BYTES_MAX {
            self.give_up();
        } else {
            self.noted.push((change.key.to_vec(), change.value.map(<[u8]>::to_vec)));
        }
    }

    /// Takes note of a removed range.
    pub(super) fn clear(&mut self, family: usize, range: &KeyRange) {
        if family == self.family && !self.range.intersect(range).is_empty() {
            self.give_up();
        }
    }

    /// Has the load come to nothing.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.noted = Vec::new();
    }
}

pub(super) fn start<E: Engine>(inner: Arc<Inner<E>>) -> Result<JoinHandle<()>> {
    let run = move || {
        while let Some(wish) = inner.requests.next() {
            let begun = Instant::now();
            // A disk that fails panics, or tells of itself: who reads from it then, or writes to it, ends the process.
            let others_go =
                catch_unwind(AssertUnwindSafe(|| inner.load(&wish))).is_ok_and(|done| matches!(done, Ok(true)));
            if others_go {
                inner.requests.rest(begun.elapsed() * (BUSY_PART - 1));
            }
        }
    };
    std::thread::Builder::new().name("engine-hot".into()).spawn(run).map_err(|e| EngineError::Io(e.to_string()))
}

/// Ends a load, however it ends.
struct Noting<'a, E: Engine>(&'a Inner<E>);

impl<E: Engine> Drop for Noting<'_, E> {
    fn drop(&mut self) {
        self.0.state.write().loading = None;
    }
}

/// A load that has begun.
pub(super) struct Load<S> {
    view: S,
    gap: KeyRange,
    /// Whether others have to go for it.
    full: bool,
}

/// Pairs read for a segment, and the range that they are all of.
pub(super) struct Read {
    range: KeyRange,
    /// In ascending order.
    pairs: VecDeque<(Bytes, Bytes)>,
}

impl<E: Engine> Inner<E> {
    /// Loads what is wished for, if it is not there; whether others had to go for it.
    fn load(&self, wish: &Wish) -> Result<bool> {
        let Some(load) = self.begin(wish) else { return Ok(false) };
        let _noting = Noting(self);
        let read = self.read(&load, wish)?;
        self.finish(wish, read);
        let mut room = false;
        while !room {
            room = self.state.write().evict(self.bytes_max, STEPS);
        }
        Ok(load.full)
    }

    /// From now on writes to the gap around the place are noted; `None` when there is none, or it is not worth it.
    pub(super) fn begin(&self, wish: &Wish) -> Option<Load<E::Snapshot>> {
        let mut state = self.state.write();
        let full = state.bytes >= self.bytes_max - self.bytes_max / ROOM_PART;
        let map = &state.maps[wish.family];
        let gap = if wish.before { map.gap_before(&wish.key) } else { map.gap(&wish.key) };
        let gap = gap.filter(|_| wish.worth || !full)?;
        let (family, range) = (wish.family, gap.clone());
        state.loading = Some(Loading { family, range, noted: Vec::new(), noted_bytes: 0, given_up: false });
        Some(Load { view: self.disk.snapshot(), gap, full })
    }

    /// Puts what was read into the map, with what was written meanwhile.
    pub(super) fn finish(&self, wish: &Wish, read: Read) {
        let Read { range, pairs } = read;
        let mut segment = Segment::new(range.end.clone().into(), self.packed(pairs));
        let mut state = self.state.write();
        let Some(loading) = state.loading.take().filter(|loading| !loading.given_up) else { return };
        for (key, value) in loading.noted.iter().filter(|(key, _)| range.contains(key)) {
            segment.change(&[Change { key, value: value.as_deref() }], self.sizes);
        }
        if segment.bytes() <= self.bytes_max / SEGMENT_PART_MAX {
            state.insert(wish.family, range.start.into(), segment, self.sizes);
            count(&self.requests.counts.loads);
        }
    }

    /// Reads the pairs around a place: half of a segment before it, if there is so much, and the rest behind.
    pub(super) fn read(&self, load: &Load<E::Snapshot>, wish: &Wish) -> Result<Read> {
        let Load { view, gap, .. } = load;
        let cf = [Cf::Write, Cf::Default][wish.family];
        let mut read = Read { range: gap.clone(), pairs: VecDeque::new() };
        let mut bytes = 0;
        let behind_all = wish.before && wish.key.is_empty();
        if behind_all || wish.key.as_ref() > gap.start.as_slice() {
            let before = gap.intersect(&KeyRange::new(gap.start.clone(), wish.key.to_vec()));
            let most = if behind_all { self.sizes.segment } else { self.sizes.segment / 2 };
            for pair in view.scan(cf, &before, Direction::Backward) {
                let (key, value) = pair?;
                bytes += key.len() + value.len();
                // The segment holds the place itself: what is right before it, if that is wished for.
                if bytes > most && !(wish.before && read.pairs.is_empty()) {
                    // What is read is whole from the pair behind this one on.
                    let first = read.pairs.front().map(|(key, _)| key.to_vec());
                    read.range.start = first.unwrap_or_else(|| successor(&key));
                    break;
                }
                read.pairs.push_front((key, value));
            }
        }
        if !behind_all {
            let start = wish.key.as_ref().max(gap.start.as_slice());
            let mut any = false;
            for pair in view.scan(cf, &KeyRange::new(start, gap.end.clone()), Direction::Forward) {
                let (key, value) = pair?;
                bytes += key.len() + value.len();
                if any && bytes > self.sizes.segment {
                    read.range.end = key.to_vec();
                    break;
                }
                any = true;
                read.pairs.push_back((key, value));
            }
        }
        Ok(read)
    }

    /// Pairs in ascending order, in blocks.
    fn packed(&self, pairs: VecDeque<(Bytes, Bytes)>) -> Vec<Block> {
        let (mut blocks, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        let pack = |part: &[(Bytes, Bytes)]| Block::new(part.iter().map(|(key, value)| (key.as_ref(), value.as_ref())));
        for (key, value) in pairs {
            bytes += key.len() + value.len();
            part.push((key, value));
            if bytes >= self.sizes.block {
                blocks.extend(pack(&part));
                part.clear();
                bytes = 0;
            }
        }
        blocks.extend(pack(&part));
        blocks
    }
}

/// The smallest key after a key.
fn successor(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}
