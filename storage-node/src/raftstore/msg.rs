//! What goes into the store and what comes out: every input is a [`Msg`] or a tick, every output an [`Effects`] entry.

use engine::{Engine, EngineError, KeyRange, WriteBatch};
use proto::pdpb;
use proto::raft_serverpb::RaftMessage;
use tokio::sync::oneshot;

use super::snapshot::ApplySnapshot;
use crate::replication::{Region, RegionContext, RegionError};

/// Where an answer goes. Dropping it unanswered tells the asker that the outcome is unknown.
pub struct Reply<T>(oneshot::Sender<Result<T, RegionError>>);

impl<T> Reply<T> {
    /// An answer into a channel.
    pub fn new(sender: oneshot::Sender<Result<T, RegionError>>) -> Self {
        Reply(sender)
    }

    /// Answers. Nobody waiting any more is fine.
    pub fn send(self, result: Result<T, RegionError>) {
        let _ = self.0.send(result);
    }
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply")
    }
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// The index to wait for.
    Index,
    /// To be told when this peer has applied up to it.
    Applied,
}

/// An input of the store.
#[derive(Debug)]
pub enum Msg<E: Engine> {
    /// From another store.
    Raft(Box<RaftMessage>),
    /// A whole snapshot from another store.
    Snapshot {
        /// The Raft message that announces it.
        message: Box<RaftMessage>,
        /// Its data.
        chunks: Vec<Vec<u8>>,
    },
    /// Replicate and apply a batch.
    Write {
        /// The region meant.
        ctx: RegionContext,
        /// The batch.
        batch: WriteBatch,
        /// Answered when it is applied here.
        reply: Reply<()>,
    },
    /// Make sure that a read is linearizable.
    Read {
        /// The region meant.
        ctx: RegionContext,
        /// What to answer with.
        kind: ReadKind,
        /// Answered with the read index.
        reply: Reply<u64>,
    },
    /// Split a region.
    Split {
        /// The region meant.
        ctx: RegionContext,
        /// Where, memcomparable-encoded.
        keys: Vec<Vec<u8>>,
        /// Answered with the resulting regions.
        reply: Option<Reply<Vec<Region>>>,
    },
    /// PD's answer to a region heartbeat: something to do.
    PdCommand(Box<pdpb::RegionHeartbeatResponse>),
    /// PD's answer to [`PdTask::AskSplit`].
    SplitIds {
        /// Which question.
        token: u64,
        /// The ids, or why there are none.
        result: Result<Vec<pdpb::SplitId>, String>,
    },
    /// PD's answer to [`PdTask::CheckRegion`]: the region as PD knows it.
    RegionChecked {
        /// The region asked about.
        region_id: u64,
        /// What PD said; `None` when it does not know the region.
        region: Option<Region>,
    },
    /// Messages to a store could not be sent.
    Unreachable {
        /// The store.
        store_id: u64,
    },
    /// A snapshot was sent, or could not be.
    SnapshotSent {
        /// The region.
        region_id: u64,
        /// The peer it was for.
        to_peer: u64,
        /// Whether all of it was received.
        ok: bool,
    },
    /// A background job ended.
    JobDone(JobDone),
    /// Nothing; names the engine's type.
    #[doc(hidden)]
    Phantom(std::marker::PhantomData<fn(E)>),
}

/// A snapshot to be streamed to another store.
pub struct SnapshotSend<S> {
    /// The message that announces it.
    pub message: RaftMessage,
    /// What to read.
    pub view: S,
    /// Which part of it.
    pub range: KeyRange,
}

/// Slow work, done off the store's thread. [`Job::run`] does it; its result goes back as [`Msg::JobDone`].
pub enum Job {
    /// Writes a received snapshot.
    ApplySnapshot(Box<ApplySnapshot>),
    /// Makes the engine durable up to what was applied when the job was made.
    Sync {
        /// Region and applied index then.
        applied: Vec<(u64, u64)>,
    },
    /// Looks for keys at which a region should be split.
    SplitCheck {
        /// The region.
        region: Region,
        /// Whether to look for a middle key even if it is small.
        halve: bool,
        /// Split above this size.
        bytes_max: u64,
        /// Into parts of this size.
        bytes_split: u64,
    },
    /// Removes the data of a peer that left.
    DeleteRanges {
        /// The region that left; zero for ranges of none.
        region_id: u64,
        /// Its ranges.
        ranges: Vec<KeyRange>,
    },
    /// Gives back space of truncated logs; run by whoever holds the log.
    ReclaimLog,
}

/// How a job ended.
#[derive(Debug)]
pub enum JobDone {
    /// The snapshot is in the engine, durably.
    SnapshotApplied {
        /// The region.
        region_id: u64,
        /// The peer.
        peer_id: u64,
    },
    /// Everything up to these indexes is durable.
    Synced(Vec<(u64, u64)>),
    /// The region's size, and where to split it.
    SplitChecked {
        /// The region as it was.
        region: Region,
        /// Its size in bytes, estimated.
        bytes: u64,
        /// Its number of keys, estimated.
        keys_count: u64,
        /// Where to split it; empty for nowhere.
        split_keys: Vec<Vec<u8>>,
    },
    /// The ranges are empty.
    RangesDeleted {
        /// Of which region.
        region_id: u64,
    },
    /// Truncated logs gave back their space.
    LogReclaimed,
    /// The engine failed: the store must stop.
    Failed(EngineError),
}

/// Something to ask or tell PD.
#[derive(Debug)]
pub enum PdTask {
    /// A leader's report on its region.
    RegionHeartbeat(Box<pdpb::RegionHeartbeatRequest>),
    /// The store's report.
    StoreHeartbeat(Box<pdpb::StoreStats>),
    /// Asks for ids of new regions; answered as [`Msg::SplitIds`].
    AskSplit {
        /// Names the question.
        token: u64,
        /// The region to split.
        region: Region,
        /// Into how many more.
        count: u32,
    },
    /// Tells of new regions.
    ReportSplit(Vec<Region>),
    /// Asks about a region whose leader was not heard for long; answered as [`Msg::RegionChecked`].
    CheckRegion {
        /// The region.
        region_id: u64,
    },
}

/// Everything the outside must do after the store handled its inputs.
pub struct Effects<E: Engine> {
    /// To be sent, in order per receiver. Losing some is fine.
    pub messages: Vec<RaftMessage>,
    /// To be streamed; each must be answered with [`Msg::SnapshotSent`].
    pub snapshots: Vec<SnapshotSend<E::Snapshot>>,
    /// To be run in their order.
    pub jobs: Vec<Job>,
    /// To be told to PD.
    pub pd: Vec<PdTask>,
}

impl<E: Engine> Default for Effects<E> {
    fn default() -> Self {
        Effects { messages: Vec::new(), snapshots: Vec::new(), jobs: Vec::new(), pd: Vec::new() }
    }
}
