//! A position in a column family that moves one way and skips cheaply.
//!
//! Skipping a few entries by reading them costs less than opening a new iterator, skipping many costs more: a seek
//! reads up to [`NEAR_SEEK_ENTRIES`] and then opens one.

use bytes::Bytes;
use engine::{Cf, Direction, KeyRange, ScanIter, Snapshot};

use super::Result;

/// Entries to read before a new iterator is opened. Opening costs about as much as reading sixteen.
const NEAR_SEEK_ENTRIES: usize = 16;

/// A forward or backward cursor over a range of a snapshot.
pub(crate) struct Cursor<S> {
    snapshot: S,
    cf: Cf,
    range: KeyRange,
    direction: Direction,
    iter: ScanIter,
    current: Option<(Bytes, Bytes)>,
}

impl<S: Snapshot> Cursor<S> {
    /// A cursor on the first entry of the range in the given direction.
    pub(crate) fn open(snapshot: S, cf: Cf, range: KeyRange, direction: Direction) -> Result<Cursor<S>> {
        let iter = snapshot.scan(cf, &range, direction);
        let mut cursor = Cursor { snapshot, cf, range, direction, iter, current: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The entry under the cursor; none at the end.
    pub(crate) fn current(&self) -> Option<(&Bytes, &Bytes)> {
        self.current.as_ref().map(|(k, v)| (k, v))
    }

    /// Moves by one entry.
    pub(crate) fn advance(&mut self) -> Result<()> {
        self.current = self.iter.next().transpose()?;
        Ok(())
    }

    /// Moves a forward cursor to the first entry at or after `key`. It never moves back.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<()> {
        assert_eq!(self.direction, Direction::Forward);
        for _ in 0..NEAR_SEEK_ENTRIES {
            match &self.current {
                Some((k, _)) if k.as_ref() < key => self.advance()?,
                _ => return Ok(()),
            }
        }
        if key > self.range.start.as_slice() {
            self.range.start = key.to_vec();
        }
        self.reopen()
    }

    /// Moves a backward cursor to the last entry before `key`. It never moves back.
    pub(crate) fn seek_before(&mut self, key: &[u8]) -> Result<()> {
        assert_eq!(self.direction, Direction::Backward);
        for _ in 0..NEAR_SEEK_ENTRIES {
            match &self.current {
                Some((k, _)) if k.as_ref() >= key => self.advance()?,
                _ => return Ok(()),
            }
        }
        if key.is_empty() {
            self.current = None;
            return Ok(());
        }
        if self.range.end.is_empty() || key < self.range.end.as_slice() {
            self.range.end = key.to_vec();
        }
        self.reopen()
    }

    fn reopen(&mut self) -> Result<()> {
        self.iter = self.snapshot.scan(self.cf, &self.range, self.direction);
        self.advance()
    }
}
