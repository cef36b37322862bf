//! What raft-rs reads about one peer: its log, its vote, its membership, and snapshots of its data.
//!
//! ```text
//!   index   1 … truncated | first … last          the log (raft-engine), recent entries also in the cache
//!                  applied ^ .. committed ^        applied: in the engine, written with the data
//! ```
//! A region's log starts at [`INIT_INDEX`]: entries before it do not exist, so that a new replica of any region, however
//! young, first receives a snapshot, which is how it learns the region's bounds.
//!
//! Making a snapshot costs nothing here: it is the engine's view at the applied index, read later while it is sent.

use std::collections::{BTreeMap, VecDeque};

use engine::Engine;
use prost::Message as _;
use proto::meridian_raft::{ApplyState, LogState, SnapshotMeta};
use raft::eraftpb::{Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::command;
use super::convert;
use super::log::{LogBatchWrites, LogError, LogWrite, RaftLog};
use crate::replication::Region;

/// Index and term that the log of every new region starts after.
pub const INIT_INDEX: u64 = 5;

/// Entries kept in memory per region, so that committed entries and appends to followers are not read from disk.
const CACHE_ENTRIES_MAX: usize = 1024;
/// The same bound in bytes.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// A snapshot made for a peer, waiting for the message that announces it.
pub struct OutgoingSnapshot<S> {
    /// The region as of the view.
    pub region: Region,
    /// The engine's view.
    pub view: S,
}

/// The storage behind one peer's Raft.
pub struct PeerStorage<E: Engine, L: RaftLog> {
    engine: E,
    log: L,
    region: Region,
    peer_id: u64,
    hard_state: HardState,
    truncated: (u64, u64),
    last: (u64, u64),
    applied: ApplyState,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// Bytes of entries appended since the last truncation, roughly.
    log_bytes: u64,
    /// Snapshots made for peers and not sent yet. Behind a lock because raft-rs asks through a shared reference.
    outgoing: std::sync::Mutex<BTreeMap<u64, OutgoingSnapshot<E::Snapshot>>>,
    /// Snapshots may be made at all: false while this peer's own data is incomplete.
    can_snapshot: bool,
}

fn raft_error(e: LogError) -> raft::Error {
    raft::Error::Store(StorageError::Other(Box::new(e)))
}

impl<E: Engine, L: RaftLog> PeerStorage<E, L> {
    /// The storage of a peer as found on disk. A region without peers is one that waits for its first snapshot.
    ///
    /// The engine may be ahead of the log (a snapshot was applied, or a split made the region, and the node stopped
    /// before the log was written), never the other way: then the log restarts after the applied index.
    pub fn load(engine: E, log: L, region: Region, peer_id: u64, applied: ApplyState) -> Result<Self, LogError> {
        let found = log.state(region.id)?;
        let state = found.filter(|s| s.peer_id == peer_id).unwrap_or(LogState { peer_id, ..Default::default() });
        let mut hard_state = HardState { term: state.term, vote: state.vote, ..Default::default() };
        let mut last = (state.last_index, state.last_term);
        let mut truncated = (state.truncated_index, state.truncated_term);
        // A snapshot may have been written over the data of a log that had other entries there.
        let differs = || -> Result<bool, LogError> {
            if applied.index <= truncated.0 || applied.index >= last.0 {
                return Ok(applied.index == last.0 && applied.term != last.1);
            }
            let entries = log.entries(region.id, applied.index, applied.index + 1, u64::MAX)?;
            Ok(entries.first().is_none_or(|e| e.term != applied.term))
        };
        let restarted = applied.index > last.0 || differs()?;
        if restarted {
            last = (applied.index, applied.term);
            truncated = last;
        }
        if hard_state.term < last.1 {
            hard_state.term = last.1;
            hard_state.vote = 0;
        }
        hard_state.commit = state.commit.max(applied.index);
        let mut storage = PeerStorage {
            engine,
            log,
            region,
            peer_id,
            hard_state,
            truncated,
            last,
            applied,
            cache: VecDeque::new(),
            cache_bytes: 0,
            log_bytes: 0,
            outgoing: Default::default(),
            can_snapshot: true,
        };
        if last.0 > truncated.0 {
            // The size of what is there is unknown; the next truncation sets it right.
            storage.log_bytes = (last.0 - truncated.0) * 256;
        }
        // A log that ends before the applied index, or was another peer's, holds nothing of use any more.
        if found.is_some_and(|s| s.peer_id != peer_id || (restarted && s.last_index != 0)) {
            let mut batch = LogBatchWrites { sync: true, ..Default::default() };
            batch.push(storage.region.id, LogWrite::Clear);
            batch.push(storage.region.id, LogWrite::State(storage.state()));
            storage.log.write(batch)?;
        }
        Ok(storage)
    }

    /// The region; without peers while it waits for its first snapshot.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Takes the region after a change of membership or bounds.
    pub fn set_region(&mut self, region: Region) {
        self.region = region;
    }

    /// Whether the peer knows its region's bounds and members.
    pub fn is_initialized(&self) -> bool {
        !self.region.peers.is_empty()
    }

    /// How far the log is applied.
    pub fn applied(&self) -> ApplyState {
        self.applied
    }

    /// Notes how far the log is applied.
    pub fn set_applied(&mut self, applied: ApplyState) {
        self.applied = applied;
    }

    /// Allows or forbids making snapshots of this peer's data.
    pub fn set_can_snapshot(&mut self, can: bool) {
        self.can_snapshot = can;
    }

    /// The last index that is not in the log any more.
    pub fn truncated_index(&self) -> u64 {
        self.truncated.0
    }

    /// Index of the last entry.
    pub fn last(&self) -> u64 {
        self.last.0
    }

    /// Bytes of the log's entries, roughly.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Notes the commit index, term and vote; written by the next [`Self::write_state`].
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// Notes the commit index.
    pub fn set_commit(&mut self, commit: u64) {
        self.hard_state.commit = commit;
    }

    /// The state beside the entries.
    pub fn state(&self) -> LogState {
        LogState {
            peer_id: self.peer_id,
            term: self.hard_state.term,
            vote: self.hard_state.vote,
            commit: self.hard_state.commit,
            last_index: self.last.0,
            last_term: self.last.1,
            truncated_index: self.truncated.0,
            truncated_term: self.truncated.1,
        }
    }

    /// Adds the state beside the entries to a batch.
    pub fn write_state(&self, batch: &mut LogBatchWrites) {
        batch.push(self.region.id, LogWrite::State(self.state()));
    }

    /// Appends entries, replacing those at or past the first index.
    pub fn append(&mut self, entries: Vec<Entry>, batch: &mut LogBatchWrites) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        self.last = (last.index, last.term);
        while self.cache.back().is_some_and(|e| e.index >= first.index) {
            let dropped = self.cache.pop_back();
            self.cache_bytes -= dropped.map_or(0, |e| e.data.len());
        }
        if self.cache.back().is_some_and(|e| e.index + 1 != first.index) {
            self.cache.clear();
            self.cache_bytes = 0;
        }
        for entry in &entries {
            self.cache_bytes += entry.data.len();
            self.log_bytes += entry.data.len() as u64 + 32;
            self.cache.push_back(entry.clone());
        }
        batch.push(self.region.id, LogWrite::Append(entries));
    }

    /// Shrinks the cache to its bounds, but keeps what is not applied yet.
    pub fn trim_cache(&mut self) {
        while (self.cache.len() > CACHE_ENTRIES_MAX || self.cache_bytes > CACHE_BYTES_MAX)
            && self.cache.front().is_some_and(|e| e.index <= self.applied.index)
        {
            let dropped = self.cache.pop_front();
            self.cache_bytes -= dropped.map_or(0, |e| e.data.len());
        }
    }

    /// Drops the log up to the index, which must be applied, durably.
    pub fn truncate(&mut self, index: u64, batch: &mut LogBatchWrites) -> Result<(), raft::Error> {
        assert!(index <= self.applied.index, "region {}: truncated past applied", self.region.id);
        if index <= self.truncated.0 {
            return Ok(());
        }
        let term = self.term(index)?;
        let kept = (self.last.0 - index) as u128;
        let had = (self.last.0 - self.truncated.0) as u128;
        self.log_bytes = (u128::from(self.log_bytes) * kept / had.max(1)) as u64;
        self.truncated = (index, term);
        while self.cache.front().is_some_and(|e| e.index <= index) {
            let dropped = self.cache.pop_front();
            self.cache_bytes -= dropped.map_or(0, |e| e.data.len());
        }
        batch.push(self.region.id, LogWrite::TruncateTo(index + 1));
        self.write_state(batch);
        Ok(())
    }

    /// Restarts the log after a snapshot that is in the engine.
    pub fn restart_log(&mut self, region: Region, applied: ApplyState, batch: &mut LogBatchWrites) {
        self.region = region;
        self.applied = applied;
        self.last = (applied.index, applied.term);
        self.truncated = self.last;
        self.hard_state.commit = self.hard_state.commit.max(applied.index);
        self.cache.clear();
        self.cache_bytes = 0;
        self.log_bytes = 0;
        batch.push(self.region.id, LogWrite::Clear);
        self.write_state(batch);
        batch.sync = true;
    }

    /// The snapshot made for a peer, to be sent with its message.
    pub fn take_outgoing(&self, peer: u64) -> Option<OutgoingSnapshot<E::Snapshot>> {
        self.outgoing.lock().ok()?.remove(&peer)
    }
}

impl<E: Engine, L: RaftLog> Storage for PeerStorage<E, L> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), command::conf_state(&self.region)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last.0 + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        match self.cache.front().map(|e| e.index) {
            Some(first) if first <= low => {
                let (mut out, mut bytes) = (Vec::with_capacity((high - low).min(256) as usize), 0u64);
                for entry in self.cache.range((low - first) as usize..).take_while(|e| e.index < high) {
                    bytes += entry.data.len() as u64 + 32;
                    if bytes > max_size && !out.is_empty() {
                        break;
                    }
                    out.push(entry.clone());
                }
                Ok(out)
            }
            _ => self.log.entries(self.region.id, low, high, max_size).map_err(raft_error),
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        if index == self.last.0 {
            return Ok(self.last.1);
        }
        if index < self.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last.0 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        if index == self.applied.index {
            return Ok(self.applied.term);
        }
        if let Some(first) = self.cache.front().map(|e| e.index)
            && first <= index
            && let Some(entry) = self.cache.get((index - first) as usize)
        {
            return Ok(entry.term);
        }
        let entries = self.log.entries(self.region.id, index, index + 1, u64::MAX).map_err(raft_error)?;
        entries.first().map(|e| e.term).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last.0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let unavailable = || raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable);
        if !self.can_snapshot || self.applied.index < request_index || self.applied.index == 0 {
            return Err(unavailable());
        }
        let mut outgoing = self.outgoing.lock().map_err(|_| unavailable())?;
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.applied.index;
        metadata.term = self.applied.term;
        metadata.set_conf_state(command::conf_state(&self.region));
        let meta = SnapshotMeta { region: Some(convert::region_to_proto(&self.region)) };
        snapshot.data = meta.encode_to_vec().into();
        outgoing.insert(to, OutgoingSnapshot { region: self.region.clone(), view: self.engine.snapshot() });
        Ok(snapshot)
    }
}
