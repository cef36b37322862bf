//! All that is stored of a key, for debugging: `MvccGetByKey`, `MvccGetByStartTs`.

use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot};

use crate::mvcc::{Key, Lock, MvccError, MvccReader, Write};
use crate::txn::Result;

/// All records of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecords {
    /// The lock.
    pub lock: Option<Lock>,
    /// Commit timestamps and records, newest first.
    pub writes: Vec<(Timestamp, Write)>,
    /// Start timestamps and values of the default family.
    pub values: Vec<(Timestamp, Vec<u8>)>,
}

/// Reads them.
pub fn records<S: Snapshot>(snapshot: &S, key: &Key) -> Result<KeyRecords> {
    let reader = MvccReader::new(snapshot);
    let mut records = KeyRecords { lock: reader.lock(key)?, ..KeyRecords::default() };
    records.writes = reader.writes(key, Timestamp::MAX).collect::<Result<_, _>>()?;
    let versions = KeyRange::new(key.at(Timestamp::MAX), key.after_versions());
    for entry in snapshot.scan(Cf::Default, &versions, Direction::Forward) {
        let (versioned, value) = entry.map_err(MvccError::from)?;
        let ts = codec::key::decode_ts(&versioned).map_err(|e| MvccError::corrupted("value key", &versioned, e))?;
        records.values.push((ts, value.to_vec()));
    }
    Ok(records)
}

/// The first key of the range that a transaction has locked or written.
pub fn find_txn<S: Snapshot>(snapshot: &S, range: &KeyRange, start_ts: Timestamp) -> Result<Option<Key>> {
    let reader = MvccReader::new(snapshot);
    let (locks, _) = reader.scan_locks(range, 1, |lock| lock.start_ts == start_ts)?;
    if let Some((key, _)) = locks.into_iter().next() {
        return Ok(Some(key));
    }
    for entry in snapshot.scan(Cf::Write, range, Direction::Forward) {
        let (versioned, data) = entry.map_err(MvccError::from)?;
        let corrupted = |e: codec::Error| MvccError::corrupted("write record", &versioned, e);
        if Write::parse(&data).map_err(corrupted)?.start_ts == start_ts {
            let (encoded, _) = codec::key::split_ts(&versioned).map_err(corrupted)?;
            return Ok(Some(Key::from_encoded(encoded)));
        }
    }
    Ok(None)
}
