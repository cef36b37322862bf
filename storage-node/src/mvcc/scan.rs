//! Scans over user keys: one cursor in the lock family and one in the write family, merged.
//!
//! ```text
//! lock   ........b...........................e...
//! write  a@9 a@5     b@7     c@8 c@3     d@2          at ts 6, forward: a (5), b is locked, c (3), d (2), e is locked
//! ```
//!
//! Forward, the versions of a key come newest first: the first one at or below the timestamp decides. Backward, they
//! come oldest first: the last one at or below the timestamp does; when a key turns out to have many versions, a point
//! read takes over. A locked key is an error of that key only: the scan can go on after it.

use bytes::Bytes;
use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot};

use super::cursor::Cursor;
use super::lock::Lock;
use super::write::WriteKind;
use super::{Isolation, Key, LockVerdict, MvccError, ReadParams, Result, point};

/// Versions of one key that a backward scan reads before it turns to a point read.
const BACKWARD_VERSIONS_MAX: usize = 8;

/// Versions of one key that a forward scan steps over before it seeks behind them.
const STEPPED_VERSIONS_MAX: usize = 4;

/// What a scan yields, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions {
    /// The order of keys.
    pub direction: Direction,
    /// Leave the values empty.
    pub key_only: bool,
}

impl Default for ScanOptions {
    fn default() -> Self {
        ScanOptions { direction: Direction::Forward, key_only: false }
    }
}

/// A scan over a range of encoded keys at one timestamp.
pub struct Scanner<S> {
    snapshot: S,
    params: ReadParams,
    options: ScanOptions,
    /// Absent when locks do not matter.
    locks: Option<Cursor<S>>,
    writes: Cursor<S>,
}

/// A row of a scan: the encoded key and the value.
pub type ScanRow = (Key, Bytes);

impl<S: Snapshot> Scanner<S> {
    /// Opens a scan over the encoded keys of `range`.
    pub fn open(snapshot: S, range: &KeyRange, params: ReadParams, options: ScanOptions) -> Result<Scanner<S>> {
        let direction = options.direction;
        let locks = match params.isolation {
            Isolation::Snapshot => Some(Cursor::open(snapshot.clone(), Cf::Lock, range.clone(), direction)?),
            Isolation::ReadCommitted => None,
        };
        let writes = Cursor::open(snapshot.clone(), Cf::Write, range.clone(), direction)?;
        Ok(Scanner { snapshot, params, options, locks, writes })
    }

    /// The next row; none at the end. After [`MvccError::KeyIsLocked`] the scan goes on behind that key.
    pub fn next_row(&mut self) -> Result<Option<ScanRow>> {
        loop {
            let Some((key, has_lock, has_writes)) = self.next_key()? else { return Ok(None) };
            let locked = if has_lock { self.take_lock(&key)? } else { None };
            match locked.as_ref().map_or(LockVerdict::Ignore, |lock| self.params.judge(&key, lock)) {
                LockVerdict::Ignore => {
                    let value = if has_writes { self.take_versions(&key)? } else { None };
                    if let Some(value) = value {
                        return Ok(Some((key, value)));
                    }
                }
                LockVerdict::ReadThrough => {
                    self.skip_versions(&key, has_writes)?;
                    let lock = locked.as_ref().expect("judged above");
                    if let Some(value) = point::value_of_lock(&self.snapshot, &key, lock)? {
                        let value = if self.options.key_only { Bytes::new() } else { value };
                        return Ok(Some((key, value)));
                    }
                }
                LockVerdict::Blocked => {
                    self.skip_versions(&key, has_writes)?;
                    let lock = locked.expect("judged above");
                    return Err(MvccError::locked(&key, lock));
                }
            }
        }
    }

    /// The next key in scan order, and in which families it is.
    fn next_key(&self) -> Result<Option<(Key, bool, bool)>> {
        let write_key = self.writes.current().map(|(k, _)| point::split(k).map(|(key, _)| key)).transpose()?;
        let lock_key = self.locks.as_ref().and_then(Cursor::current).map(|(k, _)| k.as_ref());
        let forward = self.options.direction == Direction::Forward;
        let (key, has_lock, has_writes) = match (lock_key, write_key) {
            (None, None) => return Ok(None),
            (Some(l), None) => (l, true, false),
            (None, Some(w)) => (w, false, true),
            (Some(l), Some(w)) if l == w => (l, true, true),
            (Some(l), Some(w)) if (l < w) == forward => (l, true, false),
            (Some(_), Some(w)) => (w, false, true),
        };
        Ok(Some((Key::from_encoded(key), has_lock, has_writes)))
    }

    fn take_lock(&mut self, key: &Key) -> Result<Option<Lock>> {
        let Some(cursor) = &mut self.locks else { return Ok(None) };
        let Some((_, data)) = cursor.current() else { return Ok(None) };
        let lock = Lock::parse(data).map_err(|e| MvccError::corrupted("lock", key.encoded(), e))?;
        cursor.advance()?;
        Ok(Some(lock))
    }

    /// Reads past all versions of the key under the write cursor; returns the visible value.
    fn take_versions(&mut self, key: &Key) -> Result<Option<Bytes>> {
        match self.options.direction {
            Direction::Forward => self.take_versions_forward(key),
            Direction::Backward => self.take_versions_backward(key),
        }
    }

    fn take_versions_forward(&mut self, key: &Key) -> Result<Option<Bytes>> {
        // Most keys have one version, and it is visible: where to seek to is made up only when a seek is needed.
        let too_new = match self.version_of(key)? {
            Some((versioned, _)) => point::split(versioned)?.1 > self.params.ts,
            None => false,
        };
        if too_new {
            self.writes.seek(&key.at(self.params.ts))?;
        }
        while let Some((versioned, data)) = self.version_of(key)? {
            let write = point::parse_write(versioned, data)?;
            if !write.kind.is_change() {
                self.writes.advance()?;
                continue;
            }
            let mut value = None;
            if write.kind == WriteKind::Put && write.survives_gc_fence(self.params.ts) {
                value = Some(match self.options.key_only {
                    true => Bytes::new(),
                    false => point::value_of_write(&self.snapshot, key.encoded(), data, &write)?,
                });
            }
            self.writes.advance()?;
            if self.version_of(key)?.is_some() {
                self.skip_versions(key, true)?;
            }
            return Ok(value);
        }
        Ok(None)
    }

    /// The entry under the write cursor, if it is a version of the key.
    fn version_of(&self, key: &Key) -> Result<Option<(&Bytes, &Bytes)>> {
        match self.writes.current() {
            Some(entry) => Ok((point::split(entry.0)?.0 == key.encoded()).then_some(entry)),
            None => Ok(None),
        }
    }

    fn take_versions_backward(&mut self, key: &Key) -> Result<Option<Bytes>> {
        // The record of the newest change so far.
        let mut newest: Option<Bytes> = None;
        for _ in 0..BACKWARD_VERSIONS_MAX {
            let Some((versioned, data)) = self.writes.current() else { return self.finish(key, newest) };
            let (encoded, commit_ts) = point::split(versioned)?;
            if encoded != key.encoded() {
                return self.finish(key, newest);
            }
            if commit_ts > self.params.ts {
                self.skip_versions(key, true)?;
                return self.finish(key, newest);
            }
            if point::parse_write(versioned, data)?.kind.is_change() {
                newest = Some(data.clone());
            }
            self.writes.advance()?;
        }
        self.skip_versions(key, true)?;
        let value = point::newest_value(&self.snapshot, key, self.params.ts)?.map(|(value, _)| value);
        Ok(value.map(|v| if self.options.key_only { Bytes::new() } else { v }))
    }

    fn finish(&self, key: &Key, newest: Option<Bytes>) -> Result<Option<Bytes>> {
        let Some(data) = newest else { return Ok(None) };
        let write = point::parse_write(key.encoded(), &data)?;
        if write.kind != WriteKind::Put || !write.survives_gc_fence(self.params.ts) {
            return Ok(None);
        }
        if self.options.key_only {
            return Ok(Some(Bytes::new()));
        }
        point::value_of_write(&self.snapshot, key.encoded(), &data, &write).map(Some)
    }

    fn skip_versions(&mut self, key: &Key, has_writes: bool) -> Result<()> {
        if has_writes && self.options.direction == Direction::Forward {
            // A few are stepped over: where to seek to is made up only when a seek is needed.
            for _ in 0..STEPPED_VERSIONS_MAX {
                if self.version_of(key)?.is_none() {
                    return Ok(());
                }
                self.writes.advance()?;
            }
        }
        match self.options.direction {
            _ if !has_writes => Ok(()),
            Direction::Forward => self.writes.seek(&key.after_versions()),
            Direction::Backward => self.writes.seek_before(&key.at(Timestamp::MAX)),
        }
    }
}

#[cfg(test)]
mod tests;
