//! What a metadata-store member keeps on disk: one snapshot file and one log file.
//!
//!   DIR/snapshot   crc32 u32 │ meridian_pd.StateSnapshot
//!   DIR/joining    there while the member's word counts for nothing yet (see `joining`)
//!   DIR/log        record*,  record = length u32 │ crc32 u32 of the rest │ kind u8 │ payload     (little endian)
//!                  kind 1 base (index u64, term u64 of the entry before the first), 2 hard state, 3 entry
//!
//! The metadata is small, so it lives in memory and the snapshot is the whole of it. A snapshot is written beside the
//! old one, synced and renamed; after that the log is rewritten with the entries that slow members may still need.
//! An entry overwrites entries of the same or a higher index, the last hard state counts.
//!
//! Invariants: what [`Wal::append`] returned for is synced; a torn last record is cut off on opening (it was never
//! acknowledged), a damaged record before the end is an error.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use prost::Message as _;
use proto::meridian_pd::StateSnapshot;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::state::State;

/// Entries kept behind the snapshot, so that a member that was away for a moment needs no snapshot.
const ENTRIES_KEPT: u64 = 2_000;

const KIND_BASE: u8 = 1;
const KIND_HARD_STATE: u8 = 2;
const KIND_ENTRY: u8 = 3;

/// Largest record that is believed on reading, in bytes.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// The state machine with the log position that it stands at.
#[derive(Debug, Default)]
pub struct Applied {
    /// The state.
    pub state: State,
    /// Index of the last entry applied to it.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
}

/// The state shared between the member that applies and the services that read.
pub type SharedState = Arc<RwLock<Applied>>;

/// The Raft log and its files. See the module header.
pub struct Wal {
    /// None keeps everything in memory (simulation).
    disk: Option<Disk>,
    /// The entry before `entries`.
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Entry>,
    hard_state: HardState,
    conf_state: ConfState,
    shared: SharedState,
    /// Index of the newest durable snapshot.
    snapshot_index: u64,
    /// Bytes appended since that snapshot.
    appended_bytes: u64,
    /// It began with nothing, and has not caught up since.
    joining: bool,
}

struct Disk {
    dir: PathBuf,
    log: File,
}

impl Wal {
    /// Opens or creates the files in `dir` (none: in memory) for a group of `voters`, and restores the state.
    pub fn open(dir: Option<&Path>, voters: &[u64]) -> io::Result<Wal> {
        let mut wal = Wal {
            disk: None,
            base_index: 0,
            base_term: 0,
            entries: VecDeque::new(),
            hard_state: HardState::default(),
            conf_state: ConfState { voters: voters.to_vec(), ..Default::default() },
            shared: Arc::default(),
            snapshot_index: 0,
            appended_bytes: 0,
            joining: true,
        };
        let Some(dir) = dir else { return Ok(wal) };
        fs::create_dir_all(dir)?;
        let mark = dir.join("joining");
        if !dir.join("log").try_exists()? {
            File::create(&mark)?.sync_all()?;
            sync_dir(dir)?;
        }
        wal.joining = mark.try_exists()?;
        let mut snapshot_term = 0;
        if let Some(snapshot) = read_snapshot(&dir.join("snapshot"))? {
            wal.snapshot_index = snapshot.index;
            snapshot_term = snapshot.term;
            let (index, term) = (snapshot.index, snapshot.term);
            *wal.shared.write() = Applied { state: State::restore(snapshot), index, term };
        }
        let path = dir.join("log");
        let kept = wal.read_log(&path)?;
        let log = OpenOptions::new().create(true).append(true).open(&path)?;
        if log.metadata()?.len() > kept {
            tracing::warn!(path = %path.display(), kept, "cutting off a torn record at the end of the log");
            log.set_len(kept)?;
            log.sync_all()?;
        }
        wal.disk = Some(Disk { dir: dir.to_path_buf(), log });
        sync_dir(dir)?;
        if wal.base_index > wal.snapshot_index {
            let gap =
                format!("the log begins after entry {}, the snapshot ends at {}", wal.base_index, wal.snapshot_index);
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {gap}", path.display())));
        }
        if wal.term(wal.snapshot_index).ok() != Some(snapshot_term) {
            // A snapshot from the leader arrived and the process ended before the log was rewritten: what the log has
            // there, and after, belongs to another history, or it has nothing there.
            wal.entries.clear();
            (wal.base_index, wal.base_term) = (wal.snapshot_index, snapshot_term);
        }
        wal.hard_state.commit = wal.hard_state.commit.clamp(wal.snapshot_index, wal.last());
        if wal.hard_state.term < snapshot_term {
            (wal.hard_state.term, wal.hard_state.vote) = (snapshot_term, 0);
        }
        Ok(wal)
    }

    /// The state that this log feeds.
    pub fn shared(&self) -> SharedState {
        self.shared.clone()
    }

    /// All members.
    pub fn voters(&self) -> &[u64] {
        &self.conf_state.voters
    }

    /// Whether this member began with nothing and has not caught up since.
    pub fn is_joining(&self) -> bool {
        self.joining
    }

    /// From now on its word counts, also after a restart.
    pub fn joined(&mut self) -> io::Result<()> {
        self.joining = false;
        let Some(disk) = &self.disk else { return Ok(()) };
        match fs::remove_file(disk.dir.join("joining")) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => sync_dir(&disk.dir),
        }
    }

    /// Index of the newest durable snapshot, and bytes appended since.
    pub fn since_snapshot(&self) -> (u64, u64) {
        (self.snapshot_index, self.appended_bytes)
    }

    /// Appends entries (replacing what they overwrite) and the hard state; with `sync`, returns when they are durable.
    pub fn append(&mut self, entries: &[Entry], hard_state: Option<&HardState>, sync: bool) -> io::Result<()> {
        let mut buffer = Vec::new();
        for entry in entries {
            while self.last() >= entry.index && !self.entries.is_empty() {
                self.entries.pop_back();
            }
            assert_eq!(entry.index, self.last() + 1, "a gap in the Raft log");
            self.entries.push_back(entry.clone());
            push_record(&mut buffer, KIND_ENTRY, &to_bytes(entry)?);
        }
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state.clone();
            push_record(&mut buffer, KIND_HARD_STATE, &to_bytes(hard_state)?);
        }
        self.appended_bytes += buffer.len() as u64;
        if let Some(disk) = &mut self.disk
            && !buffer.is_empty()
        {
            disk.log.write_all(&buffer)?;
            if sync {
                disk.log.sync_data()?;
            }
        }
        Ok(())
    }

    /// Notes the commit index. Not synced: after a crash the leader tells it again.
    pub fn set_commit(&mut self, commit: u64) -> io::Result<()> {
        self.hard_state.commit = commit;
        let hard_state = self.hard_state.clone();
        self.append(&[], Some(&hard_state), false)
    }

    /// Makes the applied state durable and drops the log before it, up to what slow members may need.
    pub fn checkpoint(&mut self) -> io::Result<()> {
        let snapshot = {
            let applied = self.shared.read();
            applied.state.snapshot(applied.index, applied.term)
        };
        let index = snapshot.index;
        if let Some(disk) = &self.disk {
            write_snapshot(&disk.dir, &snapshot)?;
        }
        self.snapshot_index = index;
        let base = index.saturating_sub(ENTRIES_KEPT);
        while let Some(first) = self.entries.front()
            && first.index <= base
        {
            (self.base_index, self.base_term) = (first.index, first.term);
            self.entries.pop_front();
        }
        self.rewrite_log()
    }

    /// Replaces everything with a snapshot from the leader.
    pub fn install(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let state = StateSnapshot::decode(snapshot.get_data()).map_err(io::Error::other)?;
        let (index, term) = (snapshot.get_metadata().index, snapshot.get_metadata().term);
        if let Some(disk) = &self.disk {
            write_snapshot(&disk.dir, &state)?;
        }
        self.snapshot_index = index;
        self.entries.clear();
        (self.base_index, self.base_term) = (index, term);
        self.hard_state.commit = self.hard_state.commit.max(index);
        self.hard_state.term = self.hard_state.term.max(term);
        *self.shared.write() = Applied { state: State::restore(state), index, term };
        self.rewrite_log()
    }

    fn last(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    fn rewrite_log(&mut self) -> io::Result<()> {
        self.appended_bytes = 0;
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let mut buffer = Vec::new();
        let mut base = self.base_index.to_le_bytes().to_vec();
        base.extend(self.base_term.to_le_bytes());
        push_record(&mut buffer, KIND_BASE, &base);
        push_record(&mut buffer, KIND_HARD_STATE, &to_bytes(&self.hard_state)?);
        for entry in &self.entries {
            push_record(&mut buffer, KIND_ENTRY, &to_bytes(entry)?);
        }
        let (temporary, path) = (disk.dir.join("log.new"), disk.dir.join("log"));
        let mut file = File::create(&temporary)?;
        file.write_all(&buffer)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_dir(&disk.dir)?;
        disk.log = OpenOptions::new().append(true).open(&path)?;
        Ok(())
    }

    /// Reads the log and returns how many of its bytes are whole records.
    fn read_log(&mut self, path: &Path) -> io::Result<u64> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(e),
        };
        let damaged = |at: usize, what: &str| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what} at byte {at}", path.display()))
        };
        let mut at = 0;
        while let Some((kind, payload, next)) = read_record(&bytes, at) {
            match kind {
                KIND_BASE if payload.len() == 16 => {
                    self.base_index = u64::from_le_bytes(payload[..8].try_into().expect("16 bytes"));
                    self.base_term = u64::from_le_bytes(payload[8..].try_into().expect("16 bytes"));
                }
                KIND_HARD_STATE => {
                    self.hard_state = from_bytes(payload).map_err(|_| damaged(at, "unreadable hard state"))?;
                }
                KIND_ENTRY => {
                    let entry: Entry = from_bytes(payload).map_err(|_| damaged(at, "unreadable entry"))?;
                    while self.last() >= entry.index && !self.entries.is_empty() {
                        self.entries.pop_back();
                    }
                    if entry.index != self.last() + 1 {
                        return Err(damaged(at, "gap between entries"));
                    }
                    self.entries.push_back(entry);
                }
                _ => return Err(damaged(at, "unknown record")),
            }
            at = next;
        }
        // A bad record is a torn write only if no whole record follows it.
        if (at + 1..bytes.len().min(at + RECORD_BYTES_MAX))
            .any(|later| read_record(&bytes, later).is_some_and(|(kind, ..)| (KIND_BASE..=KIND_ENTRY).contains(&kind)))
        {
            return Err(damaged(at, "damaged record"));
        }
        Ok(at as u64)
    }
}

impl Storage for Wal {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.conf_state.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let mut entries = Vec::new();
        let mut size = 0;
        for entry in self.entries.range((low - self.base_index - 1) as usize..(high - self.base_index - 1) as usize) {
            size += u64::from(entry.compute_size());
            if size > max_size && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        match self.entries.get((index - self.base_index - 1) as usize) {
            Some(entry) => Ok(entry.term),
            None => Err(raft::Error::Store(StorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let applied = self.shared.read();
        if applied.index < request_index {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        snapshot.set_data(applied.state.snapshot(applied.index, applied.term).encode_to_vec().into());
        let metadata = snapshot.mut_metadata();
        metadata.set_conf_state(self.conf_state.clone());
        metadata.index = applied.index;
        metadata.term = applied.term;
        Ok(snapshot)
    }
}

fn push_record(buffer: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    buffer.extend((payload.len() as u32 + 1).to_le_bytes());
    buffer.extend(hasher.finalize().to_le_bytes());
    buffer.push(kind);
    buffer.extend(payload);
}

/// The record at `at`: kind, payload, and where the next one starts; nothing if it isn't whole.
fn read_record(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let header = bytes.get(at..at + 8)?;
    let length = u32::from_le_bytes(header[..4].try_into().ok()?) as usize;
    let crc = u32::from_le_bytes(header[4..].try_into().ok()?);
    if length == 0 || length > RECORD_BYTES_MAX {
        return None;
    }
    let body = bytes.get(at + 8..at + 8 + length)?;
    (crc32fast::hash(body) == crc).then(|| (body[0], &body[1..], at + 8 + length))
}

fn to_bytes<M: protobuf::Message>(message: &M) -> io::Result<Vec<u8>> {
    message.write_to_bytes().map_err(io::Error::other)
}

fn from_bytes<M: protobuf::Message + Default>(bytes: &[u8]) -> io::Result<M> {
    let mut message = M::default();
    message.merge_from_bytes(bytes).map_err(io::Error::other)?;
    Ok(message)
}

fn read_snapshot(path: &Path) -> io::Result<Option<StateSnapshot>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: damaged snapshot", path.display()));
    let (crc, data) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    if crc32fast::hash(data) != u32::from_le_bytes(*crc) {
        return Err(damaged());
    }
    StateSnapshot::decode(data).map(Some).map_err(|_| damaged())
}

fn write_snapshot(dir: &Path, snapshot: &StateSnapshot) -> io::Result<()> {
    let data = snapshot.encode_to_vec();
    let temporary = dir.join("snapshot.new");
    let mut file = File::create(&temporary)?;
    file.write_all(&crc32fast::hash(&data).to_le_bytes())?;
    file.write_all(&data)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join("snapshot"))?;
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![index as u8; 10].into(), ..Default::default() }
    }

    fn indexes(wal: &Wal) -> Vec<(u64, u64)> {
        wal.entries.iter().map(|e| (e.index, e.term)).collect()
    }

    #[test]
    fn reopening_finds_what_was_synced_and_cuts_a_torn_tail() {
        let dir = tempfile::tempdir().unwrap();
        let hard_state = HardState { term: 2, vote: 1, commit: 2, ..Default::default() };
        let mut wal = Wal::open(Some(dir.path()), &[1]).unwrap();
        wal.append(&[entry(1, 1), entry(2, 1), entry(3, 1)], None, true).unwrap();
        wal.append(&[entry(2, 2)], Some(&hard_state), true).unwrap();
        drop(wal);
        let path = dir.path().join("log");
        let whole = fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend(&whole[..12]);
        fs::write(&path, &torn).unwrap();
        let wal = Wal::open(Some(dir.path()), &[1]).unwrap();
        assert_eq!(indexes(&wal), [(1, 1), (2, 2)]);
        assert_eq!(wal.hard_state, hard_state);
        assert_eq!(fs::read(&path).unwrap(), whole);
        drop(wal);
        let mut damaged = whole;
        damaged[10] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert!(Wal::open(Some(dir.path()), &[1]).is_err(), "damage before the end is no torn write");
    }

    #[test]
    fn entries_of_another_history_go_when_a_snapshot_was_installed_and_the_log_not_yet_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut wal = Wal::open(Some(dir.path()), &[1, 2, 3]).unwrap();
        let entries: Vec<Entry> = (1..=120).map(|i| entry(i, 3)).collect();
        let hard_state = HardState { term: 3, vote: 1, commit: 90, ..Default::default() };
        wal.append(&entries, Some(&hard_state), true).unwrap();
        drop(wal);
        // What `install` does first.
        write_snapshot(dir.path(), &State::default().snapshot(100, 5)).unwrap();
        let wal = Wal::open(Some(dir.path()), &[1, 2, 3]).unwrap();
        assert!(wal.entries.is_empty(), "entries 101 to 120 were never committed: {:?}", indexes(&wal));
        assert_eq!((wal.base_index, wal.base_term, wal.last()), (100, 5, 100));
        assert_eq!((wal.hard_state.term, wal.hard_state.vote, wal.hard_state.commit), (5, 0, 100));
        drop(wal);
        // The same history: what comes after the snapshot stays.
        write_snapshot(dir.path(), &State::default().snapshot(100, 3)).unwrap();
        let wal = Wal::open(Some(dir.path()), &[1, 2, 3]).unwrap();
        assert_eq!((wal.last(), wal.hard_state.term, wal.hard_state.vote), (120, 3, 1));
    }

    #[test]
    fn a_checkpoint_survives_and_shortens_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut wal = Wal::open(Some(dir.path()), &[1]).unwrap();
        let total = ENTRIES_KEPT + 10;
        let entries: Vec<Entry> = (1..=total).map(|i| entry(i, 1)).collect();
        wal.append(&entries, Some(&HardState { term: 1, commit: total, ..Default::default() }), true).unwrap();
        {
            let mut applied = wal.shared.write();
            (applied.index, applied.term) = (total, 1);
        }
        wal.checkpoint().unwrap();
        drop(wal);
        let wal = Wal::open(Some(dir.path()), &[1]).unwrap();
        assert_eq!((wal.base_index, wal.last(), wal.snapshot_index), (10, total, total));
        assert_eq!(wal.shared.read().index, total);
    }
}
