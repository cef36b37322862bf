//! Scans that go from segments to the disk engine and back, as the range is hot or not.

use std::sync::Arc;

use bytes::Bytes;

use super::HotSnapshot;
use super::loader::Wish;
use super::segment::{Place, Segment};
use crate::{Cf, Direction, KeyRange, Result, ScanIter, Snapshot};

/// Pairs that a scan yields before it counts as one that reads everything once: such a scan makes nothing hotter, and
/// comes into memory only as long as there is room.
const SHORT_PAIRS: usize = 256;

pub(super) struct HotScan<S> {
    view: HotSnapshot<S>,
    cf: Cf,
    family: usize,
    direction: Direction,
    /// What comes after the source.
    rest: KeyRange,
    source: Source,
    /// Pairs yielded.
    pairs: usize,
}

enum Source {
    /// To be looked up for the rest.
    Unknown,
    /// A segment, of which the pairs from `from` up to `to` are left.
    Memory {
        segment: Arc<Segment>,
        from: Place,
        to: Place,
    },
    Disk(ScanIter),
    /// Nothing is left.
    End,
}

impl<S: Snapshot> HotScan<S> {
    pub(super) fn new(view: HotSnapshot<S>, cf: Cf, family: usize, range: KeyRange, direction: Direction) -> Self {
        let source = if range.is_empty() { Source::End } else { Source::Unknown };
        HotScan { view, cf, family, direction, rest: range, source, pairs: 0 }
    }

    /// Finds where the rest begins, and takes that part from the rest; an empty rest is the end.
    fn find(&mut self) -> Source {
        let view = self.view.view.clone();
        let map = &view.maps[self.family];
        let forward = self.direction == Direction::Forward;
        let found = match self.direction {
            Direction::Forward => map.covering(&self.rest.start),
            Direction::Backward => map.covering_before(&self.rest.end),
        };
        let short = self.pairs < SHORT_PAIRS;
        if let Some((start, segment)) = found {
            if short {
                self.view.hit(segment);
            }
            let from = if self.rest.start.as_slice() > start.as_ref() {
                segment.lower_bound(&self.rest.start)
            } else {
                (0, 0)
            };
            let to = if self.rest.end.is_empty() { segment.last() } else { segment.lower_bound(&self.rest.end) };
            self.take(forward, start, &segment.end);
            return Source::Memory { segment: segment.clone(), from, to };
        }
        self.view.missed(match self.direction {
            Direction::Forward => Wish::at(self.family, &self.rest.start, short),
            Direction::Backward => Wish::before(self.family, &self.rest.end, short),
        });
        let (start, end) = match self.direction {
            Direction::Forward => (&[][..], map.start_after(&self.rest.start)),
            Direction::Backward => (map.end_before(&self.rest.end), &[][..]),
        };
        let part = self.rest.intersect(&KeyRange::new(start, end));
        self.take(forward, start, end);
        Source::Disk(view.disk.scan(self.cf, &part, self.direction))
    }

    /// Leaves what comes after a part of the rest, which reaches from `start` to `end`.
    fn take(&mut self, forward: bool, start: &[u8], end: &[u8]) {
        let last = match forward {
            true => end.is_empty() || (!self.rest.end.is_empty() && self.rest.end.as_slice() <= end),
            false => start <= self.rest.start.as_slice(),
        };
        if last {
            self.rest = KeyRange::new(*b"-", *b"-");
        } else if forward {
            self.rest.start = end.to_vec();
        } else {
            self.rest.end = start.to_vec();
        }
    }

    /// Asks for what a long scan reads from the disk, bit by bit.
    fn read_from_disk(&mut self, pair: &(Bytes, Bytes)) {
        if !self.view.once && self.pairs.is_multiple_of(SHORT_PAIRS) {
            self.view.view.requests.wish(Wish::at(self.family, &pair.0, false));
        }
    }
}

impl<S: Snapshot> Iterator for HotScan<S> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match &mut self.source {
                Source::Memory { segment, from, to } if *from < *to => {
                    let place = match self.direction {
                        Direction::Forward => std::mem::replace(from, segment.after(*from)),
                        Direction::Backward => {
                            *to = segment.before(*to);
                            *to
                        }
                    };
                    self.pairs += 1;
                    return segment.pair(place).map(Ok);
                }
                Source::Disk(iter) => match iter.next() {
                    Some(Ok(pair)) => {
                        self.pairs += 1;
                        self.read_from_disk(&pair);
                        return Some(Ok(pair));
                    }
                    Some(Err(e)) => {
                        self.source = Source::End;
                        return Some(Err(e));
                    }
                    None => self.source = Source::Unknown,
                },
                Source::Memory { .. } => self.source = Source::Unknown,
                Source::Unknown if self.rest.is_empty() => self.source = Source::End,
                Source::Unknown => self.source = self.find(),
                Source::End => return None,
            }
        }
    }
}
