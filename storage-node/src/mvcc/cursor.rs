//! Positions in a column family: one that moves one way and skips cheaply, and the versions of a key from a timestamp down.
//!
//! Skipping a few entries by reading them costs less than opening a new iterator, skipping many costs more: a seek
//! reads up to [`NEAR_SEEK_ENTRIES`] and then opens one.

use bytes::Bytes;
use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, ScanIter, Snapshot};

use super::{Key, Result};

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

/// The write records of a key from a timestamp down, with their engine keys. Mostly the first one is all that is wanted, so
/// that a scan begins only with the second.
pub(crate) struct Versions<'a, S> {
    snapshot: &'a S,
    /// What is left.
    range: KeyRange,
    rest: Rest,
}

enum Rest {
    All,
    Others,
    Scan(ScanIter),
    Nothing,
}

impl<'a, S: Snapshot> Versions<'a, S> {
    /// The records committed at or before `ts`.
    pub(crate) fn of(snapshot: &'a S, key: &Key, ts: Timestamp) -> Versions<'a, S> {
        Versions { snapshot, range: KeyRange::new(key.at(ts), key.after_versions()), rest: Rest::All }
    }
}

impl<S: Snapshot> Iterator for Versions<'_, S> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Rest::All = self.rest {
            let first = self.snapshot.first(Cf::Write, &self.range.start, &self.range.end);
            self.rest = Rest::Nothing;
            if let Ok(Some((versioned, _))) = &first {
                self.range.start.clear();
                self.range.start.extend_from_slice(versioned);
                // The smallest key after it.
                self.range.start.push(0);
                self.rest = Rest::Others;
            }
            return first.transpose().map(|entry| entry.map_err(Into::into));
        }
        if let Rest::Others = self.rest {
            self.rest = Rest::Scan(self.snapshot.scan(Cf::Write, &self.range, Direction::Forward));
        }
        match &mut self.rest {
            Rest::Scan(scan) => scan.next().map(|entry| entry.map_err(Into::into)),
            _ => None,
        }
    }
}
