//! Gives pessimistic locks back. No record is left: the transaction goes on, and may lock the keys again.

use codec::timestamp::Timestamp;
use engine::Snapshot;

use super::Outcome;
use crate::mvcc::{Key, LockKind, MvccReader};
use crate::txn::{Changes, Result};

/// Removes the transaction's pessimistic locks taken at `for_update_ts` or before; later ones belong to a newer
/// statement, and prewritten ones are left alone.
pub fn pessimistic_rollback<S: Snapshot>(
    snapshot: &S,
    keys: &[Key],
    start_ts: Timestamp,
    for_update_ts: Timestamp,
) -> Result<Outcome<()>> {
    let reader = MvccReader::new(snapshot);
    let mut changes = Changes::default();
    for key in keys {
        if let Some(lock) = reader.lock(key)?
            && lock.kind == LockKind::Pessimistic
            && lock.start_ts == start_ts
            && lock.for_update_ts <= for_update_ts
        {
            changes.unlock(key, start_ts, Timestamp::ZERO);
        }
    }
    Ok(Outcome::new(changes, ()))
}
