//! The Raft logs of all regions of a store: one place on disk, so that one sync serves every region that is ready.
//!
//! [`RaftLog`] is a seam with two implementations: [`DiskLog`] over `raft-engine`, and [`MemoryLog`], which can forget
//! what was not synced, for simulation.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use prost::Message as _;
use proto::meridian_raft::LogState;
use raft::eraftpb::Entry;
use raft_engine::{Command, LogBatch, MessageExt, ReadableSize};

/// Why the log did not do what it was asked. The store stops: without its log it can promise nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("raft log: {0}")]
pub struct LogError(pub String);

/// What happens to one region's log.
#[derive(Clone, Debug)]
pub enum LogWrite {
    /// Appends entries; those with an index at or past the first one are replaced.
    Append(Vec<Entry>),
    /// Sets the state beside the entries.
    State(LogState),
    /// Drops the entries before the index.
    TruncateTo(u64),
    /// Drops entries and state: the peer is gone, or the log restarts after a snapshot.
    Clear,
}

/// Changes of many regions' logs, written together and in order.
#[derive(Clone, Debug, Default)]
pub struct LogBatchWrites {
    /// Region and change.
    pub writes: Vec<(u64, LogWrite)>,
    /// Whether it must be durable before the write returns.
    pub sync: bool,
}

impl LogBatchWrites {
    /// Adds a change.
    pub fn push(&mut self, region: u64, write: LogWrite) {
        self.writes.push((region, write));
    }
}

/// The logs of a store. Clones share them.
pub trait RaftLog: Clone + Send + 'static {
    /// Writes a batch, whole or not at all.
    fn write(&self, batch: LogBatchWrites) -> Result<(), LogError>;

    /// The entries `[low, high)`, fewer if they exceed `bytes_max`, but at least one.
    fn entries(&self, region: u64, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError>;

    /// The state beside the entries.
    fn state(&self, region: u64) -> Result<Option<LogState>, LogError>;

    /// Every region with entries or a state.
    fn regions(&self) -> Vec<u64>;

    /// Gives back disk space of truncated entries. Called now and then, from a background thread.
    fn reclaim(&self) -> Result<(), LogError>;

    /// Bytes on disk.
    fn used_bytes(&self) -> u64;
}

const STATE_KEY: &[u8] = b"s";
/// Log files rotate at this size; small enough that truncation soon frees whole files.
const LOG_FILE_BYTES: u64 = 16 << 20;
/// Past this, old files are rewritten so that one idle region does not keep all of them.
const LOG_PURGE_BYTES: u64 = 128 << 20;

#[derive(Clone)]
struct EntryExt;

impl MessageExt for EntryExt {
    type Entry = Entry;
    fn index(e: &Entry) -> u64 {
        e.index
    }
}

/// The log on disk.
#[derive(Clone)]
pub struct DiskLog {
    engine: Arc<raft_engine::Engine>,
}

impl DiskLog {
    /// Opens or creates the log in a directory.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let dir = dir.to_str().ok_or_else(|| LogError(format!("path {} is not UTF-8", dir.display())))?;
        let config = raft_engine::Config {
            dir: dir.to_owned(),
            target_file_size: ReadableSize(LOG_FILE_BYTES),
            purge_threshold: ReadableSize(LOG_PURGE_BYTES),
            recovery_threads: 2,
            ..Default::default()
        };
        let engine = raft_engine::Engine::open(config).map_err(|e| LogError(format!("open {dir}: {e}")))?;
        Ok(DiskLog { engine: Arc::new(engine) })
    }
}

impl RaftLog for DiskLog {
    fn write(&self, batch: LogBatchWrites) -> Result<(), LogError> {
        let mut out = LogBatch::with_capacity(batch.writes.len());
        for (region, write) in batch.writes {
            match write {
                LogWrite::Append(entries) => {
                    out.add_entries::<EntryExt>(region, &entries).map_err(|e| LogError(format!("append: {e}")))?;
                }
                LogWrite::State(state) => out
                    .put(region, STATE_KEY.to_vec(), state.encode_to_vec())
                    .map_err(|e| LogError(format!("put state: {e}")))?,
                LogWrite::TruncateTo(index) => out.add_command(region, Command::Compact { index }),
                LogWrite::Clear => out.add_command(region, Command::Clean),
            }
        }
        self.engine.write(&mut out, batch.sync).map(|_| ()).map_err(|e| LogError(format!("write: {e}")))
    }

    fn entries(&self, region: u64, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::with_capacity((high.saturating_sub(low)).min(1024) as usize);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.engine
            .fetch_entries_to::<EntryExt>(region, low, high, Some(bytes_max), &mut entries)
            .map_err(|e| LogError(format!("read {low}..{high} of region {region}: {e}")))?;
        Ok(entries)
    }

    fn state(&self, region: u64) -> Result<Option<LogState>, LogError> {
        let Some(bytes) = self.engine.get(region, STATE_KEY) else { return Ok(None) };
        LogState::decode(bytes.as_slice()).map(Some).map_err(|e| LogError(format!("state of region {region}: {e}")))
    }

    fn regions(&self) -> Vec<u64> {
        self.engine.raft_groups()
    }

    fn reclaim(&self) -> Result<(), LogError> {
        // The regions it returns hold old files open; they are truncated by their own rule at the next round.
        self.engine.purge_expired_files().map(|_| ()).map_err(|e| LogError(format!("purge: {e}")))
    }

    fn used_bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

#[derive(Clone, Default)]
struct MemoryRegion {
    entries: VecDeque<Entry>,
    state: Option<LogState>,
}

impl MemoryRegion {
    fn apply(&mut self, write: LogWrite) {
        match write {
            LogWrite::Append(entries) => {
                let Some(first) = entries.first().map(|e| e.index) else { return };
                while self.entries.back().is_some_and(|e| e.index >= first) {
                    self.entries.pop_back();
                }
                assert!(self.entries.back().is_none_or(|e| e.index + 1 == first), "raft log has a hole at {first}");
                self.entries.extend(entries);
            }
            LogWrite::State(state) => self.state = Some(state),
            LogWrite::TruncateTo(index) => {
                while self.entries.front().is_some_and(|e| e.index < index) {
                    self.entries.pop_front();
                }
            }
            LogWrite::Clear => *self = MemoryRegion::default(),
        }
    }
}

#[derive(Default)]
struct MemoryInner {
    regions: BTreeMap<u64, MemoryRegion>,
    /// What a crash leaves.
    durable: BTreeMap<u64, MemoryRegion>,
    /// Batches written since the last sync, in order.
    unsynced: Vec<LogBatchWrites>,
}

fn apply_to(regions: &mut BTreeMap<u64, MemoryRegion>, batch: &LogBatchWrites) {
    for (region, write) in &batch.writes {
        let entry = regions.entry(*region).or_default();
        entry.apply(write.clone());
        if entry.state.is_none() && entry.entries.is_empty() {
            regions.remove(region);
        }
    }
}

/// The log in memory, with a crash that forgets what was not synced.
#[derive(Clone, Default)]
pub struct MemoryLog {
    inner: Arc<Mutex<MemoryInner>>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses every batch after the last sync, but for the first `kept` of them (a crash may keep any prefix).
    pub fn crash(&self, kept: usize) {
        let mut inner = self.inner.lock();
        let unsynced = std::mem::take(&mut inner.unsynced);
        for batch in unsynced.iter().take(kept) {
            apply_to(&mut inner.durable, batch);
        }
        inner.regions = inner.durable.clone();
    }

    /// How many batches a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.inner.lock().unsynced.len()
    }
}

impl RaftLog for MemoryLog {
    fn write(&self, batch: LogBatchWrites) -> Result<(), LogError> {
        let mut inner = self.inner.lock();
        apply_to(&mut inner.regions, &batch);
        let sync = batch.sync;
        inner.unsynced.push(batch);
        if sync {
            let unsynced = std::mem::take(&mut inner.unsynced);
            for batch in &unsynced {
                apply_to(&mut inner.durable, batch);
            }
        }
        Ok(())
    }

    fn entries(&self, region: u64, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, LogError> {
        let inner = self.inner.lock();
        let missing = || LogError(format!("entries {low}..{high} of region {region} are not in the log"));
        let region = inner.regions.get(&region).ok_or_else(missing)?;
        let first = region.entries.front().map(|e| e.index).ok_or_else(missing)?;
        let skip = low.checked_sub(first).ok_or_else(missing)? as usize;
        let (mut out, mut bytes) = (Vec::new(), 0u64);
        for entry in region.entries.iter().skip(skip).take_while(|e| e.index < high) {
            bytes += entry.data.len() as u64 + 16;
            if bytes > bytes_max && !out.is_empty() {
                return Ok(out);
            }
            out.push(entry.clone());
        }
        if out.is_empty() { Err(missing()) } else { Ok(out) }
    }

    fn state(&self, region: u64) -> Result<Option<LogState>, LogError> {
        Ok(self.inner.lock().regions.get(&region).and_then(|r| r.state))
    }

    fn regions(&self) -> Vec<u64> {
        self.inner.lock().regions.keys().copied().collect()
    }

    fn reclaim(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn used_bytes(&self) -> u64 {
        let inner = self.inner.lock();
        inner.regions.values().flat_map(|r| &r.entries).map(|e| e.data.len() as u64).sum()
    }
}
