//! Reads of single keys: one get in the lock family and one seek in the write family.

use bytes::Bytes;
use codec::key;
use codec::timestamp::Timestamp;
use engine::{Cf, Snapshot};

use super::cursor::Versions;
use super::lock::{Lock, LockKind};
use super::write::{WriteKind, WriteView};
use super::{Key, LockVerdict, MvccError, ReadParams, Result};

/// The value of `key` as the read sees it, with the commit timestamp of its version (zero when it is read through the
/// lock of a committed transaction).
pub fn get<S: Snapshot>(snapshot: &S, key: &Key, params: &ReadParams) -> Result<Option<(Bytes, Timestamp)>> {
    if let Some(lock) = load_lock(snapshot, key)? {
        match params.judge(key, &lock) {
            LockVerdict::Ignore => {}
            LockVerdict::Blocked => return Err(MvccError::locked(key, lock)),
            LockVerdict::ReadThrough => {
                return Ok(value_of_lock(snapshot, key, &lock)?.map(|v| (v, Timestamp::ZERO)));
            }
        }
    }
    newest_value(snapshot, key, params.ts)
}

/// The lock on a key.
pub fn load_lock<S: Snapshot>(snapshot: &S, key: &Key) -> Result<Option<Lock>> {
    let Some(data) = snapshot.get(Cf::Lock, key.encoded())? else { return Ok(None) };
    Lock::parse(&data).map(Some).map_err(|e| MvccError::corrupted("lock", key.encoded(), e))
}

/// The newest version committed at or before `ts`, whatever locks say; none when that is a removal.
pub fn newest_value<S: Snapshot>(snapshot: &S, key: &Key, ts: Timestamp) -> Result<Option<(Bytes, Timestamp)>> {
    for entry in Versions::of(snapshot, key, ts) {
        let (versioned, data) = entry?;
        let (_, commit_ts) = split(&versioned)?;
        let write = parse_write(&versioned, &data)?;
        if !write.kind.is_change() {
            continue;
        }
        if write.kind == WriteKind::Delete || !write.survives_gc_fence(ts) {
            return Ok(None);
        }
        let value = value_of_write(snapshot, key.encoded(), &data, &write)?;
        return Ok(Some((value, commit_ts)));
    }
    Ok(None)
}

/// The value that a committed transaction's lock will become.
pub(super) fn value_of_lock<S: Snapshot>(snapshot: &S, key: &Key, lock: &Lock) -> Result<Option<Bytes>> {
    if lock.kind != LockKind::Put {
        return Ok(None);
    }
    match &lock.short_value {
        Some(value) => Ok(Some(Bytes::copy_from_slice(value))),
        None => load_default(snapshot, key.encoded(), lock.start_ts).map(Some),
    }
}

/// The value of a put record; `data` are the record's bytes, which a short value shares.
pub(super) fn value_of_write<S: Snapshot>(
    snapshot: &S,
    encoded: &[u8],
    data: &Bytes,
    write: &WriteView<'_>,
) -> Result<Bytes> {
    match write.short_value {
        Some(value) => Ok(data.slice_ref(value)),
        None => load_default(snapshot, encoded, write.start_ts),
    }
}

/// A value from the default family, where a record promises it is.
pub(super) fn load_default<S: Snapshot>(snapshot: &S, encoded: &[u8], start_ts: Timestamp) -> Result<Bytes> {
    let mut at = Vec::with_capacity(encoded.len() + key::TS_LEN);
    at.extend_from_slice(encoded);
    key::append_ts(&mut at, start_ts);
    let missing = || MvccError::corrupted("value", &at, "its record refers to a value that is not there");
    snapshot.get(Cf::Default, &at)?.ok_or_else(missing)
}

/// The encoded user key and the timestamp of an engine key.
pub(super) fn split(versioned: &[u8]) -> Result<(&[u8], Timestamp)> {
    key::split_ts(versioned).map_err(|e| MvccError::corrupted("versioned key", versioned, e))
}

pub(super) fn parse_write<'a>(versioned: &[u8], data: &'a [u8]) -> Result<WriteView<'a>> {
    WriteView::parse(data).map_err(|e| MvccError::corrupted("write record", versioned, e))
}
