//! Which segments of a family are in memory: an ordered map that is copied at the price of a pointer.
//!
//! Invariant: segments do not overlap, and each holds what the disk engine holds of its range.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use rpds::RedBlackTreeMapSync;

use super::segment::Segment;
use super::{Change, Sizes};
use crate::KeyRange;

/// The segments of a family by their first key. A clone is a version that never changes.
#[derive(Clone, Default)]
pub(super) struct SegmentMap(RedBlackTreeMapSync<Bytes, Arc<Segment>>);

/// A segment that came into the map or changed its size.
#[derive(Default)]
pub(super) struct Effect {
    /// Memory more than before.
    pub(super) grown: isize,
    /// Starts of segments that were split off.
    pub(super) made: Vec<Bytes>,
}

impl SegmentMap {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of segments.
    pub(super) fn len(&self) -> usize {
        self.0.size()
    }

    /// The last segment that starts at or before a key.
    fn floor(&self, key: &[u8]) -> Option<(&Bytes, &Arc<Segment>)> {
        self.0.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()
    }

    /// The segment that a key lies in.
    pub(super) fn covering(&self, key: &[u8]) -> Option<(&Bytes, &Arc<Segment>)> {
        self.floor(key).filter(|(_, segment)| segment.covers(key))
    }

    /// The last segment that starts before a key, or of all if that is empty.
    fn last_before(&self, end: &[u8]) -> Option<(&Bytes, &Arc<Segment>)> {
        match end.is_empty() {
            true => self.0.last(),
            false => self.0.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(end))).next_back(),
        }
    }

    /// The segment that the keys right before `end`, or the last ones if that is empty, lie in.
    pub(super) fn covering_before(&self, end: &[u8]) -> Option<(&Bytes, &Arc<Segment>)> {
        self.last_before(end).filter(|(_, segment)| segment.reaches(end))
    }

    /// The start of the first segment after a key; empty when there is none.
    pub(super) fn start_after(&self, key: &[u8]) -> &[u8] {
        let next = self.0.range::<[u8], _>((Bound::Excluded(key), Bound::Unbounded)).next();
        next.map_or(&[], |(start, _)| start.as_ref())
    }

    /// The end of the last segment before `end`, in whose range it is not; empty when there is none.
    pub(super) fn end_before(&self, end: &[u8]) -> &[u8] {
        self.last_before(end).map_or(&[], |(_, segment)| segment.end.as_ref())
    }

    /// The range around a key that is in no segment; `None` when the key is in one.
    pub(super) fn gap(&self, key: &[u8]) -> Option<KeyRange> {
        match self.floor(key) {
            Some((_, segment)) if segment.covers(key) => None,
            floor => Some(KeyRange::new(floor.map_or(&[][..], |(_, s)| &s.end), self.start_after(key))),
        }
    }

    /// The range before `end` that is in no segment; `None` when what lies there is in one.
    pub(super) fn gap_before(&self, end: &[u8]) -> Option<KeyRange> {
        match self.last_before(end) {
            Some((_, segment)) if segment.reaches(end) => None,
            last => {
                let next = match end.is_empty() {
                    true => &[],
                    // A segment may start right at the end.
                    false => self
                        .0
                        .range::<[u8], _>((Bound::Included(end), Bound::Unbounded))
                        .next()
                        .map_or(&[][..], |(start, _)| start),
                };
                Some(KeyRange::new(last.map_or(&[][..], |(_, s)| &s.end), next))
            }
        }
    }

    /// The segment of a start.
    pub(super) fn get(&self, start: &[u8]) -> Option<&Arc<Segment>> {
        self.0.get(start)
    }

    /// All segments with their starts, in order.
    #[cfg(test)]
    pub(super) fn segments(&self) -> impl Iterator<Item = (&Bytes, &Arc<Segment>)> {
        self.0.iter()
    }

    /// Adds a segment where there is none.
    pub(super) fn insert(&mut self, start: Bytes, segment: Segment) {
        self.0.insert_mut(start, Arc::new(segment));
    }

    /// Takes a segment out.
    pub(super) fn remove(&mut self, start: &[u8]) {
        self.0.remove_mut(start);
    }

    /// Makes changes, whose keys ascend, in the segments that they lie in; others are left to the disk.
    pub(super) fn change(&mut self, changes: &[Change<'_>], sizes: Sizes) -> Effect {
        let mut effect = Effect::default();
        let mut rest = changes;
        while let Some(first) = rest.first() {
            match self.floor(first.key) {
                Some((start, segment)) if segment.covers(first.key) => {
                    let (start, end) = (start.clone(), segment.end.clone());
                    let inside = match end.is_empty() {
                        true => rest.len(),
                        false => rest.partition_point(|change| change.key < end.as_ref()),
                    };
                    let (now, later) = rest.split_at(inside);
                    self.update(&start, &mut effect, |segment| {
                        segment.change(now, sizes);
                        segment.split(sizes)
                    });
                    rest = later;
                }
                _ if rest.len() == 1 => break,
                _ => {
                    let next = self.start_after(first.key);
                    if next.is_empty() {
                        break;
                    }
                    let cold = rest.partition_point(|change| change.key < next);
                    rest = &rest[cold..];
                }
            }
        }
        effect
    }

    /// Removes the pairs of a range.
    pub(super) fn clear(&mut self, range: &KeyRange) -> Effect {
        let mut effect = Effect::default();
        if range.is_empty() {
            return effect;
        }
        let first = self.floor(&range.start).filter(|(_, s)| s.covers(&range.start)).map(|(start, _)| start.clone());
        let (_, end) = range.bounds();
        let others =
            self.0.range::<[u8], _>((Bound::Excluded(range.start.as_slice()), end)).map(|(start, _)| start.clone());
        let starts: Vec<Bytes> = first.into_iter().chain(others).collect();
        for start in starts {
            self.update(&start, &mut effect, |segment| {
                segment.clear(&range.start, &range.end);
                Vec::new()
            });
        }
        effect
    }

    fn update(
        &mut self,
        start: &[u8],
        effect: &mut Effect,
        change: impl FnOnce(&mut Segment) -> Vec<(Bytes, Segment)>,
    ) {
        let Some(segment) = self.0.get_mut(start) else { return };
        let before = segment.bytes();
        let segment = Arc::make_mut(segment);
        let made = change(segment);
        effect.grown += segment.bytes() as isize - before as isize;
        for (start, segment) in made {
            effect.grown += segment.bytes() as isize;
            effect.made.push(start.clone());
            self.insert(start, segment);
        }
    }
}
