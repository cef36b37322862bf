//! A range of keys of which every pair is in memory.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;

use super::block::Block;
use super::{Change, Sizes};

/// How often the clock passes a segment that was read often before it goes.
const HEAT_MAX: u8 = 3;
/// Memory of a segment beside its blocks: itself, its counter, its place in the map and in the clock.
const OVERHEAD_BYTES: usize = 384;
/// A block this part, as a divisor, of what blocks should have is joined with its neighbour.
const SMALL_PART: usize = 4;

/// The pairs from its start, by which the map knows it, to its end.
pub(super) struct Segment {
    /// The first key past it; empty for "to the end".
    pub(super) end: Bytes,
    /// In ascending order; none is empty.
    blocks: Vec<Block>,
    bytes: usize,
    /// Raised by readers, lowered by the clock.
    heat: AtomicU8,
}

impl Clone for Segment {
    fn clone(&self) -> Segment {
        let heat = AtomicU8::new(self.heat.load(Ordering::Relaxed));
        Segment { end: self.end.clone(), blocks: self.blocks.clone(), bytes: self.bytes, heat }
    }
}

/// Where a pair is: block, pair. The end of the segment is the block past the last one.
pub(super) type Place = (usize, usize);

impl Segment {
    /// A segment of blocks in ascending order.
    pub(super) fn new(end: Bytes, blocks: Vec<Block>) -> Segment {
        let bytes = OVERHEAD_BYTES + blocks.iter().map(Block::bytes).sum::<usize>();
        Segment { end, blocks, bytes, heat: AtomicU8::new(1) }
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn bytes_counted(&self) -> usize {
        OVERHEAD_BYTES + self.blocks.iter().map(Block::bytes).sum::<usize>()
    }

    /// Whether the segment's range goes on past a key that is not before its start.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < self.end.as_ref()
    }

    /// Whether the segment's range reaches the end of a range, which is empty for "to the end".
    pub(super) fn reaches(&self, end: &[u8]) -> bool {
        self.end.is_empty() || (!end.is_empty() && end <= self.end.as_ref())
    }

    /// Remembers that it was read.
    pub(super) fn touch(&self) {
        let heat = self.heat.load(Ordering::Relaxed);
        if heat < HEAT_MAX {
            // Readers at the same moment may count as one.
            self.heat.store(heat + 1, Ordering::Relaxed);
        }
    }

    /// Takes a part of its heat; whether there was none left.
    pub(super) fn cool(&self) -> bool {
        let heat = self.heat.load(Ordering::Relaxed);
        self.heat.store(heat.saturating_sub(1), Ordering::Relaxed);
        heat == 0
    }

    /// The block that a key belongs to.
    fn block_of(&self, key: &[u8]) -> usize {
        self.blocks.partition_point(|block| block.key(0) <= key).saturating_sub(1)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let block = self.blocks.get(self.block_of(key))?;
        let pair = block.lower_bound(key);
        (pair < block.len() && block.key(pair) == key).then(|| block.value(pair))
    }

    /// The first pair at or after a key.
    pub(super) fn lower_bound(&self, key: &[u8]) -> Place {
        let at = self.block_of(key);
        let pair = self.blocks.get(at).map_or(0, |block| block.lower_bound(key));
        match self.blocks.get(at) {
            Some(block) if pair == block.len() => (at + 1, 0),
            _ => (at, pair),
        }
    }

    /// The place past the last pair.
    pub(super) fn last(&self) -> Place {
        (self.blocks.len(), 0)
    }

    /// The pair of a place, if that is not past the last one.
    pub(super) fn pair(&self, place: Place) -> Option<(Bytes, Bytes)> {
        self.blocks.get(place.0).map(|block| block.pair(place.1))
    }

    /// The key of a place, if that is not past the last pair.
    pub(super) fn key(&self, place: Place) -> Option<&[u8]> {
        self.blocks.get(place.0).map(|block| block.key(place.1))
    }

    /// The place after one that has a pair.
    pub(super) fn after(&self, place: Place) -> Place {
        match self.blocks.get(place.0) {
            Some(block) if place.1 + 1 < block.len() => (place.0, place.1 + 1),
            _ => (place.0 + 1, 0),
        }
    }

    /// The place before one that is not the first.
    pub(super) fn before(&self, place: Place) -> Place {
        match place.1.checked_sub(1) {
            Some(pair) => (place.0, pair),
            None => {
                let block = place.0.saturating_sub(1);
                (block, self.blocks.get(block).map_or(0, |b| b.len() - 1))
            }
        }
    }

    /// Makes changes, whose keys ascend and lie in the segment.
    pub(super) fn change(&mut self, changes: &[Change<'_>], sizes: Sizes) {
        let mut rest = changes.len();
        // From the last block down, so that places of the others stay what they are.
        while rest > 0 {
            let at = self.block_of(changes[rest - 1].key);
            let from = match self.blocks.get(at) {
                Some(block) if at > 0 => changes[..rest].partition_point(|c| c.key < block.key(0)),
                _ => 0,
            };
            let old = self.blocks.get(at);
            if let Some(made) = Block::changed(old, &changes[from..rest], sizes.block) {
                self.replace(at..at + usize::from(old.is_some()), made);
                self.join_small(at, sizes);
            }
            rest = from;
        }
    }

    /// Removes the pairs of a range, whose end may be empty for "to the end".
    pub(super) fn clear(&mut self, start: &[u8], end: &[u8]) {
        let from = self.lower_bound(start);
        let to = if end.is_empty() { self.last() } else { self.lower_bound(end) };
        if from >= to {
            return;
        }
        let mut left = Vec::new();
        if from.0 == to.0 {
            left.extend(self.blocks[from.0].without(from.1..to.1));
        } else {
            left.extend(self.blocks[from.0].without(from.1..self.blocks[from.0].len()));
            left.extend(self.blocks.get(to.0).and_then(|block| block.without(0..to.1)));
        }
        let past = if to.0 < self.blocks.len() { to.0 + 1 } else { to.0 };
        self.replace(from.0..past, left);
    }

    fn replace(&mut self, old: Range<usize>, made: Vec<Block>) {
        self.bytes += made.iter().map(Block::bytes).sum::<usize>();
        let gone: usize = self.blocks.splice(old, made).map(|block| block.bytes()).sum();
        self.bytes -= gone;
    }

    /// Joins a block that has become small with the one after it.
    fn join_small(&mut self, at: usize, sizes: Sizes) {
        let Some([block, next]) = self.blocks.get(at..at + 2) else { return };
        let small = block.bytes().min(next.bytes()) < sizes.block / SMALL_PART;
        if small && block.bytes() + next.bytes() <= sizes.block {
            let joined = block.joined(next);
            self.replace(at..at + 2, vec![joined]);
        }
    }

    /// Cuts off what is too much: the parts after this one, with their starts.
    pub(super) fn split(&mut self, sizes: Sizes) -> Vec<(Bytes, Segment)> {
        if self.bytes <= 2 * sizes.segment || self.blocks.len() < 2 {
            return Vec::new();
        }
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
        for block in self.blocks.drain(..) {
            if bytes >= sizes.segment {
                parts.push(std::mem::take(&mut part));
                bytes = 0;
            }
            bytes += block.bytes();
            part.push(block);
        }
        parts.push(part);
        let mut end = std::mem::take(&mut self.end);
        let mut made = Vec::with_capacity(parts.len() - 1);
        while let Some(blocks) = parts.pop() {
            if parts.is_empty() {
                let heat = AtomicU8::new(self.heat.load(Ordering::Relaxed));
                *self = Segment { heat, ..Segment::new(end, blocks) };
                break;
            }
            // A copy: a slice would keep the block, whatever becomes of it.
            let start = Bytes::copy_from_slice(blocks[0].key(0));
            made.push((start.clone(), Segment::new(std::mem::replace(&mut end, start), blocks)));
        }
        made
    }
}
