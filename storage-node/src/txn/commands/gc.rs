//! Garbage collection: of the versions at or before the safe point, each key keeps the newest put and nothing else.
//!
//! No read comes at a timestamp before the safe point, and no transaction that started before it is under way: PD
//! moves the safe point only behind both, and locks before it were resolved.
//!
//! A delete goes after everything that it hides: a step that ends within a key leaves it, so that at no moment an older
//! value shows.

use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot};

use crate::mvcc::{Key, MvccError, SHORT_VALUE_BYTES_MAX, Write, WriteKind};
use crate::txn::{Changes, Result};

/// Records that one step removes at most, and reads before it stops where nothing has to be remembered: bounds how long
/// it runs and how large its write is.
pub const GC_STEP_RECORDS: usize = 1024;

/// What a step found among the records that it read.
#[derive(Debug, Default)]
pub struct GcStep {
    /// The removals.
    pub changes: Changes,
    /// Where to go on; `None` at the end of the range.
    pub next: Option<Vec<u8>>,
    /// Records read.
    pub read: usize,
    /// Records after the safe point: they may be what makes others old next time.
    pub newer: usize,
    /// Removals that were written: [`step`] writes none.
    pub removed: usize,
    /// Bytes removed from the write family.
    pub write_bytes: u64,
    /// Bytes removed from the default family, at least.
    pub default_bytes: u64,
}

impl GcStep {
    fn remove(&mut self, key: &Key, commit_ts: Timestamp, bytes: usize) {
        self.changes.delete_write(key, commit_ts);
        self.write_bytes += bytes as u64;
    }

    fn remove_value(&mut self, key: &Key, start_ts: Timestamp) {
        self.changes.delete_value(key, start_ts);
        // Its length is not worth a read: it is longer than what a record holds.
        self.default_bytes += (key.encoded().len() + SHORT_VALUE_BYTES_MAX) as u64;
    }
}

/// One step: removes what is old among the next records of the range (encoded keys), and tells where to go on.
pub fn step<S: Snapshot>(snapshot: &S, range: &KeyRange, safe_point: Timestamp) -> Result<GcStep> {
    let mut step = GcStep::default();
    let mut key = Key::from_encoded(Vec::new());
    // Whether the version that stays, or the delete that says that there is none, was met; older ones go.
    let mut decided = false;
    // The delete that goes once nothing older is left, and its bytes.
    let mut delete: Option<(Timestamp, usize)> = None;
    for entry in snapshot.scan(Cf::Write, range, Direction::Forward) {
        let (versioned, data) = entry.map_err(MvccError::from)?;
        let corrupted = |e: codec::Error| MvccError::corrupted("write record", &versioned, e);
        let (encoded, commit_ts) = codec::key::split_ts(&versioned).map_err(corrupted)?;
        if encoded != key.encoded() {
            if let Some((ts, bytes)) = delete.take() {
                step.remove(&key, ts, bytes);
            }
            key = Key::from_encoded(encoded);
            decided = false;
        }
        if step.read >= GC_STEP_RECORDS && !decided {
            step.next = Some(versioned.to_vec());
            return Ok(step);
        }
        // In the middle of a key with very many versions: it starts over, without those removed now.
        if step.changes.batch.modifies.len() >= GC_STEP_RECORDS {
            step.next = Some(key.at(Timestamp::MAX));
            return Ok(step);
        }
        step.read += 1;
        if commit_ts > safe_point {
            step.newer += 1;
            continue;
        }
        let write = Write::parse(&data).map_err(corrupted)?;
        let bytes = versioned.len() + data.len();
        match write.kind {
            // One that was written again when what replaced it was gone already shows to nobody.
            WriteKind::Put if !decided && write.survives_gc_fence(safe_point) => decided = true,
            WriteKind::Delete if !decided => {
                decided = true;
                delete = Some((commit_ts, bytes));
            }
            kind => {
                step.remove(&key, commit_ts, bytes);
                if kind == WriteKind::Put && write.short_value.is_none() {
                    step.remove_value(&key, write.start_ts);
                }
            }
        }
    }
    if let Some((ts, bytes)) = delete {
        step.remove(&key, ts, bytes);
    }
    Ok(step)
}
