//! A region's data on its way to a new replica: read from an engine view in chunks, checked and written at the other end.
//!
//! A chunk is a `SnapshotPairs` message: pairs of one family in key order, about [`CHUNK_BYTES`] each. The receiver
//! keeps the chunks in memory until the last one is there (a region is bounded, and so is the number of snapshots in
//! flight), then hands them to its peer, which writes them in a background job.

use engine::{Cf, Direction, Engine, EngineError, KeyRange, Snapshot, WriteBatch};
use prost::Message;
use proto::meridian_raft::{ApplyState, RegionState, SnapshotPairs, region_state};

use super::{command, convert, keys};
use crate::replication::{Peer, Region};

/// Bytes of keys and values in one chunk; small enough to interleave with other traffic.
pub const CHUNK_BYTES: usize = 512 << 10;
/// Bytes written to the engine in one batch while a snapshot is applied.
const BATCH_BYTES: usize = 1 << 20;
/// Keys removed from the engine in one batch: other regions' writes wait for as long as it takes.
const DELETE_KEYS: usize = 1024;
/// The families that hold a region's data.
pub const DATA_FAMILIES: [Cf; 3] = [Cf::Default, Cf::Lock, Cf::Write];

/// The data of a snapshot, in chunks as they travel.
pub struct SnapshotChunks<S: Snapshot> {
    view: S,
    range: KeyRange,
    family: usize,
    iter: Option<engine::ScanIter>,
}

impl<S: Snapshot> SnapshotChunks<S> {
    /// The data of a range in a view.
    pub fn new(view: S, range: KeyRange) -> Self {
        SnapshotChunks { view: view.once(), range, family: 0, iter: None }
    }
}

impl<S: Snapshot> Iterator for SnapshotChunks<S> {
    type Item = Result<Vec<u8>, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(cf) = DATA_FAMILIES.get(self.family).copied() {
            let iter = self.iter.get_or_insert_with(|| self.view.scan(cf, &self.range, Direction::Forward));
            let mut pairs = SnapshotPairs { family: command::family_of(cf), ..Default::default() };
            let mut bytes = 0;
            for pair in iter.by_ref() {
                let (key, value) = match pair {
                    Ok(pair) => pair,
                    Err(e) => return Some(Err(e)),
                };
                bytes += key.len() + value.len();
                pairs.keys.push(key.to_vec());
                pairs.values.push(value.to_vec());
                if bytes >= CHUNK_BYTES {
                    return Some(Ok(pairs.encode_to_vec()));
                }
            }
            self.iter = None;
            self.family += 1;
            if bytes > 0 {
                return Some(Ok(pairs.encode_to_vec()));
            }
        }
        None
    }
}

/// A snapshot to be written over a region's data.
pub struct ApplySnapshot {
    /// The peer that waits for it.
    pub peer: Peer,
    /// The region as it is now; without peers when the peer is new.
    pub before: Region,
    /// The region as it will be.
    pub after: Region,
    /// The index and term of the snapshot.
    pub applied: ApplyState,
    /// Its data.
    pub chunks: Vec<Vec<u8>>,
}

/// Removes the data of ranges that no region here covers any more, or that is marked as incomplete. It goes batch by
/// batch: nobody reads it, and a crash half-way leaves what is removed at the next start.
pub fn delete_ranges<E: Engine>(engine: &E, ranges: &[KeyRange]) -> Result<(), EngineError> {
    for range in ranges {
        for cf in DATA_FAMILIES {
            let mut batch = WriteBatch::new();
            for pair in engine.snapshot().once().scan(cf, range, Direction::Forward) {
                batch.delete(cf, pair?.0);
                if batch.modifies.len() >= DELETE_KEYS {
                    engine.write(std::mem::take(&mut batch))?;
                }
            }
            if !batch.is_empty() {
                engine.write(batch)?;
            }
        }
    }
    Ok(())
}

/// Writes a snapshot. A crash at any point leaves either the old state, the mark that the data is incomplete, or the
/// new state, and the last is durable on return.
pub fn apply<E: Engine>(engine: &E, job: ApplySnapshot) -> Result<(), EngineError> {
    let ApplySnapshot { peer, before, after, applied, chunks } = job;
    let mut batch = WriteBatch::new();
    let mark = RegionState {
        phase: region_state::Phase::Applying as i32,
        region: Some(convert::region_to_proto(&before)),
        applying: Some(convert::region_to_proto(&after)),
        peer: Some(convert::peer_to_proto(&peer)),
    };
    keys::put_region_state(&mut batch, after.id, &mark);
    engine.write(batch)?;
    if !before.peers.is_empty() {
        delete_ranges(engine, std::slice::from_ref(&before.range))?;
    }
    delete_ranges(engine, std::slice::from_ref(&after.range))?;

    let mut batch = WriteBatch::new();
    let mut bytes = 0;
    for chunk in chunks {
        let corrupted = |what: String| EngineError::Corrupted(format!("snapshot of region {}: {what}", after.id));
        let pairs = SnapshotPairs::decode(chunk.as_slice()).map_err(|e| corrupted(e.to_string()))?;
        let cf = command::cf_of(pairs.family).map_err(|e| corrupted(e.to_string()))?;
        for (key, value) in pairs.keys.into_iter().zip(pairs.values) {
            bytes += key.len() + value.len();
            batch.put(cf, key, value);
        }
        if bytes >= BATCH_BYTES {
            engine.write(std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    let state = RegionState {
        phase: region_state::Phase::Normal as i32,
        region: Some(convert::region_to_proto(&after)),
        applying: None,
        peer: Some(convert::peer_to_proto(&peer)),
    };
    keys::put_region_state(&mut batch, after.id, &state);
    keys::put_apply_state(&mut batch, after.id, &applied);
    engine.write(batch)?;
    engine.sync()
}

/// Whether a received chunk is what a snapshot of the range may hold: a known family, as many values as keys, keys
/// inside. Checked before a peer takes it, so that a broken sender cannot harm other regions.
pub fn validate(chunk: &[u8], range: &KeyRange) -> Result<(), String> {
    let pairs = SnapshotPairs::decode(chunk).map_err(|e| e.to_string())?;
    command::cf_of(pairs.family).map_err(|e| e.to_string())?;
    if pairs.keys.len() != pairs.values.len() {
        return Err("as many values as keys were expected".into());
    }
    if !pairs.keys.iter().all(|k| range.contains(k)) {
        return Err("a key outside of the region".into());
    }
    Ok(())
}
