//! Garbage collection: of the versions at or before the safe point, each key keeps the newest put and nothing else.
//!
//! No read comes at a timestamp before the safe point, and no transaction that started before it is under way: PD
//! moves the safe point only behind both, and locks before it were resolved.

use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot};

use crate::mvcc::{Key, MvccError, Write, WriteKind};
use crate::txn::{Changes, Result};

/// Records that one step removes at most, and reads before it stops at the next key: bounds how long it runs and how
/// large its write is.
pub const GC_STEP_RECORDS: usize = 1024;

/// One step: removes what is old among the next records of the range (encoded keys), and tells where to go on.
pub fn step<S: Snapshot>(snapshot: &S, range: &KeyRange, safe_point: Timestamp) -> Result<(Changes, Option<Vec<u8>>)> {
    let mut changes = Changes::default();
    let mut key = Key::from_encoded(Vec::new());
    // Whether the version that stays was met; older ones go.
    let mut kept = false;
    for (read, entry) in snapshot.scan(Cf::Write, range, Direction::Forward).enumerate() {
        let (versioned, data) = entry.map_err(MvccError::from)?;
        let corrupted = |e: codec::Error| MvccError::corrupted("write record", &versioned, e);
        let (encoded, commit_ts) = codec::key::split_ts(&versioned).map_err(corrupted)?;
        if read >= GC_STEP_RECORDS && encoded != key.encoded() {
            return Ok((changes, Some(versioned.to_vec())));
        }
        // In the middle of a key with very many versions: it starts over, without those removed now.
        if changes.batch.modifies.len() >= GC_STEP_RECORDS {
            return Ok((changes, Some(key.at(Timestamp::MAX))));
        }
        if encoded != key.encoded() {
            key = Key::from_encoded(encoded);
            kept = false;
        }
        if commit_ts > safe_point {
            continue;
        }
        let write = Write::parse(&data).map_err(corrupted)?;
        if !kept && write.kind == WriteKind::Put {
            kept = true;
            continue;
        }
        if write.kind == WriteKind::Delete {
            kept = true;
        }
        changes.delete_write(&key, commit_ts);
        if write.kind == WriteKind::Put && write.short_value.is_none() {
            changes.delete_value(&key, write.start_ts);
        }
    }
    Ok((changes, None))
}
