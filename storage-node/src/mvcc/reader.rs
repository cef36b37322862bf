//! What transaction commands ask about a key: its lock, its newest record, and what became of a transaction on it.

use bytes::Bytes;
use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot};

use super::cursor::Versions;
use super::lock::Lock;
use super::write::{Write, WriteKind};
use super::{Key, MvccError, Result, point};

/// Reads the records of keys in one snapshot, ignoring what locks mean to readers.
#[derive(Clone, Copy)]
pub struct MvccReader<'a, S> {
    snapshot: &'a S,
}

/// What is known of a transaction's end on a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitRecord {
    /// Committed.
    Committed {
        /// When.
        commit_ts: Timestamp,
        /// Its record.
        write: Write,
    },
    /// Rolled back, by a record of its own or by the mark on another transaction's commit.
    RolledBack,
    /// Nothing, yet another transaction committed at exactly its start timestamp: a rollback would have to mark that
    /// record. Its fence says which change has replaced it, in case that is collected as garbage in the meantime.
    Overlapped(Write),
    /// Nothing.
    None,
}

impl<'a, S: Snapshot> MvccReader<'a, S> {
    /// A reader over a snapshot.
    pub fn new(snapshot: &'a S) -> Self {
        MvccReader { snapshot }
    }

    /// The lock on a key.
    pub fn lock(&self, key: &Key) -> Result<Option<Lock>> {
        point::load_lock(self.snapshot, key)
    }

    /// The records of a key from `ts` down.
    pub fn writes(&self, key: &Key, ts: Timestamp) -> impl Iterator<Item = Result<(Timestamp, Write)>> + use<'a, S> {
        Versions::of(self.snapshot, key, ts).map(|entry| {
            let (versioned, data) = entry?;
            let (_, commit_ts) = point::split(&versioned)?;
            let write = Write::parse(&data).map_err(|e| MvccError::corrupted("write record", &versioned, e))?;
            Ok((commit_ts, write))
        })
    }

    /// The newest record at or before `ts`, of any kind.
    pub fn newest_write(&self, key: &Key, ts: Timestamp) -> Result<Option<(Timestamp, Write)>> {
        self.writes(key, ts).next().transpose()
    }

    /// The newest put or delete at or before `ts`.
    pub fn newest_change(&self, key: &Key, ts: Timestamp) -> Result<Option<(Timestamp, Write)>> {
        for entry in self.writes(key, ts) {
            let (commit_ts, write) = entry?;
            if write.kind.is_change() {
                return Ok(write.survives_gc_fence(ts).then_some((commit_ts, write)));
            }
        }
        Ok(None)
    }

    /// The value at `ts`, whatever locks say.
    pub fn value(&self, key: &Key, ts: Timestamp) -> Result<Option<Bytes>> {
        Ok(point::newest_value(self.snapshot, key, ts)?.map(|(value, _)| value))
    }

    /// The value of a put record of this key.
    pub fn value_of(&self, key: &Key, write: &Write) -> Result<Option<Bytes>> {
        match (write.kind, &write.short_value) {
            (WriteKind::Put, Some(value)) => Ok(Some(Bytes::copy_from_slice(value))),
            (WriteKind::Put, None) => point::load_default(self.snapshot, key.encoded(), write.start_ts).map(Some),
            _ => Ok(None),
        }
    }

    /// What became of the transaction started at `start_ts` on this key.
    pub fn commit_record(&self, key: &Key, start_ts: Timestamp) -> Result<CommitRecord> {
        // The oldest change after `start_ts`.
        let mut replaced_at = Timestamp::ZERO;
        for entry in self.writes(key, Timestamp::MAX) {
            let (commit_ts, mut write) = entry?;
            if commit_ts < start_ts {
                break;
            }
            if write.start_ts == start_ts {
                return Ok(match write.kind {
                    WriteKind::Rollback => CommitRecord::RolledBack,
                    _ => CommitRecord::Committed { commit_ts, write },
                });
            }
            if commit_ts == start_ts {
                return Ok(match write.overlapped_rollback {
                    true => CommitRecord::RolledBack,
                    false => {
                        write.gc_fence.get_or_insert(replaced_at);
                        CommitRecord::Overlapped(write)
                    }
                });
            }
            if write.kind.is_change() {
                replaced_at = commit_ts;
            }
        }
        Ok(CommitRecord::None)
    }

    /// Locks of a range of encoded keys that `wanted` asks for, up to `limit` (zero for all), and whether the range was
    /// read to its end.
    pub fn scan_locks(
        &self,
        range: &KeyRange,
        limit: usize,
        mut wanted: impl FnMut(&Lock) -> bool,
    ) -> Result<(Vec<(Key, Lock)>, bool)> {
        let mut found = Vec::new();
        for entry in self.snapshot.scan(Cf::Lock, range, Direction::Forward) {
            let (encoded, data) = entry?;
            let lock = Lock::parse(&data).map_err(|e| MvccError::corrupted("lock", &encoded, e))?;
            if !wanted(&lock) {
                continue;
            }
            if limit > 0 && found.len() == limit {
                return Ok((found, false));
            }
            found.push((Key::from_encoded(encoded.to_vec()), lock));
        }
        Ok((found, true))
    }

    /// The snapshot under the reader.
    pub fn snapshot(&self) -> &'a S {
        self.snapshot
    }
}
