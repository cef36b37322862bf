//! Keys of the node's own state in the engine's `raft` column family, and what is stored under them.
//!
//! ```text
//!   01 01                    → StoreIdent
//!   01 02 region-id(8) 01    → RegionState   what the peer here is: normal, applying a snapshot, or a tombstone
//!   01 02 region-id(8) 02    → ApplyState    how far its log is applied, written with the data itself
//! ```
//! Ids are big-endian, so that a scan yields regions in order of id.

use engine::{Cf, Direction, EngineError, KeyRange, Snapshot, WriteBatch};
use prost::Message;
use proto::meridian_raft::{ApplyState, RegionState, StoreIdent};

const LOCAL: u8 = 0x01;
const IDENT: u8 = 0x01;
const REGION: u8 = 0x02;
const REGION_STATE: u8 = 0x01;
const APPLY_STATE: u8 = 0x02;

fn ident_key() -> Vec<u8> {
    vec![LOCAL, IDENT]
}

fn region_key(region: u64, kind: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(11);
    key.extend_from_slice(&[LOCAL, REGION]);
    key.extend_from_slice(&region.to_be_bytes());
    key.push(kind);
    key
}

fn decode<M: Message + Default>(what: &str, bytes: &[u8]) -> Result<M, EngineError> {
    M::decode(bytes).map_err(|e| EngineError::Corrupted(format!("{what}: {e}")))
}

/// Who this store is, if it was ever told.
pub fn read_ident<S: Snapshot>(snapshot: &S) -> Result<Option<StoreIdent>, EngineError> {
    snapshot.get(Cf::Raft, &ident_key())?.map(|v| decode("store identity", &v)).transpose()
}

/// Adds the store's identity to a batch.
pub fn put_ident(batch: &mut WriteBatch, ident: &StoreIdent) {
    batch.put(Cf::Raft, ident_key(), ident.encode_to_vec());
}

/// What the peer of a region is on this store.
pub fn read_region_state<S: Snapshot>(snapshot: &S, region: u64) -> Result<Option<RegionState>, EngineError> {
    snapshot.get(Cf::Raft, &region_key(region, REGION_STATE))?.map(|v| decode("region state", &v)).transpose()
}

/// Adds a region's state to a batch.
pub fn put_region_state(batch: &mut WriteBatch, region: u64, state: &RegionState) {
    batch.put(Cf::Raft, region_key(region, REGION_STATE), state.encode_to_vec());
}

/// Removes a region's state.
pub fn delete_region_state(batch: &mut WriteBatch, region: u64) {
    batch.delete(Cf::Raft, region_key(region, REGION_STATE));
}

/// How far a region's log is applied.
pub fn read_apply_state<S: Snapshot>(snapshot: &S, region: u64) -> Result<Option<ApplyState>, EngineError> {
    snapshot.get(Cf::Raft, &region_key(region, APPLY_STATE))?.map(|v| decode("apply state", &v)).transpose()
}

/// Adds a region's apply state to a batch.
pub fn put_apply_state(batch: &mut WriteBatch, region: u64, state: &ApplyState) {
    batch.put(Cf::Raft, region_key(region, APPLY_STATE), state.encode_to_vec());
}

/// Removes a region's apply state.
pub fn delete_apply_state(batch: &mut WriteBatch, region: u64) {
    batch.delete(Cf::Raft, region_key(region, APPLY_STATE));
}

/// Every region this store has a state of, tombstones included, in order of id.
pub fn all_region_states<S: Snapshot>(snapshot: &S) -> Result<Vec<(u64, RegionState)>, EngineError> {
    let range = KeyRange::new(vec![LOCAL, REGION], vec![LOCAL, REGION + 1]);
    let mut states = Vec::new();
    for pair in snapshot.scan(Cf::Raft, &range, Direction::Forward) {
        let (key, value) = pair?;
        if key.len() != 11 || key[10] != REGION_STATE {
            continue;
        }
        let mut id = [0; 8];
        id.copy_from_slice(&key[2..10]);
        states.push((u64::from_be_bytes(id), decode("region state", &value)?));
    }
    Ok(states)
}
