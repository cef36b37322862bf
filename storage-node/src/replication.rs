//! The seam between transactions and replication.
//!
//! `txn` and `coprocessor` ask for a view of one region and hand over changes to be replicated; they never see Raft.
//! `raftstore` answers, checks the region's epoch and leadership, and never sees MVCC. Two implementations exist:
//! the Raft store, and a single-region one over a bare engine for tests.

use std::future::Future;

use engine::WriteBatch;

/// Version of a region's membership and bounds: each counter grows with each change of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Epoch {
    /// Grows with each membership change.
    pub conf_ver: u64,
    /// Grows with each split or merge.
    pub version: u64,
}

/// What a peer is in its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// Votes and may lead.
    Voter,
    /// Receives the log, does not vote.
    Learner,
    /// Joint consensus: votes in the incoming configuration only.
    IncomingVoter,
    /// Joint consensus: votes in the outgoing configuration only, then becomes a learner.
    DemotingVoter,
}

/// One replica of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Unique in the cluster, never reused.
    pub id: u64,
    /// The store that holds it.
    pub store_id: u64,
    /// What it is in the region.
    pub role: PeerRole,
}

/// A region: a range of keys and the replicas that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Unique in the cluster, never reused.
    pub id: u64,
    /// Keys (memcomparable-encoded, without timestamps), `end` empty for "to the end".
    pub range: engine::KeyRange,
    /// Version of membership and bounds.
    pub epoch: Epoch,
    /// The replicas.
    pub peers: Vec<Peer>,
}

/// Which region a request means, as its sender knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionContext {
    /// The region.
    pub region_id: u64,
    /// Its epoch as the sender knows it; another one is refused.
    pub epoch: Epoch,
    /// The peer meant; zero when the sender names none.
    pub peer_id: u64,
    /// The store meant; zero when the sender names none. Another one is refused.
    pub store_id: u64,
    /// The term in which the sender saw the leader; zero when it names none.
    pub term: u64,
    /// Whether a follower may answer after a read-index round to the leader: not what is read at a timestamp, which the
    /// leader must know of (see `txn::Storage`).
    pub replica_read: bool,
}

/// Why a region did not serve a request. The caller's next step differs by variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegionError {
    /// Retry at the hinted peer, or ask PD.
    #[error("region {region}: not leader, try {leader:?}")]
    NotLeader {
        /// The region.
        region: u64,
        /// The leader, when known.
        leader: Option<Peer>,
    },
    /// The region is not on this store: ask PD.
    #[error("region {0}: not found on this store")]
    RegionNotFound(u64),
    /// A peer of the region is here, but waits for its first snapshot: retry later, or go to the leader.
    #[error("region {0}: not initialized yet")]
    RegionNotInitialized(u64),
    /// The request names another peer than the one on this store: the region moved away and back.
    #[error("peer {actual}: the request is for peer {requested}")]
    MismatchPeerId {
        /// The peer named by the request.
        requested: u64,
        /// The peer on this store.
        actual: u64,
    },
    /// The region was split, merged or moved since: take the current ones.
    #[error("region {region}: epoch does not match, current regions {current:?}")]
    EpochNotMatch {
        /// The region.
        region: u64,
        /// What covers its range now, as far as this store knows.
        current: Vec<Region>,
    },
    /// A key outside the region's bounds: the sender's route is wrong.
    #[error("region {}: key is outside of it", region.id)]
    KeyNotInRegion {
        /// The key, encoded.
        key: Vec<u8>,
        /// The region asked.
        region: Region,
    },
    /// The request names another store than this one: its address moved.
    #[error("store {actual}: the request is for store {requested}")]
    StoreNotMatch {
        /// The store named by the request.
        requested: u64,
        /// This store.
        actual: u64,
    },
    /// A queue is full: retry after `backoff_ms`.
    #[error("server is busy: {reason}")]
    ServerIsBusy {
        /// Which bound was met.
        reason: String,
        /// How long to wait, in milliseconds.
        backoff_ms: u64,
    },
    /// The proposal was dropped (leader change, region moved): its outcome is unknown to the sender, retry.
    #[error("region {0}: stale command")]
    StaleCommand(u64),
    /// One write is larger than a log entry may be: send smaller ones.
    #[error("region {region}: entry of {size} bytes is too large")]
    EntryTooLarge {
        /// The region.
        region: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// A follower cannot serve the read now: retry, or go to the leader.
    #[error("region {region}: read index not ready: {reason}")]
    ReadIndexNotReady {
        /// The region.
        region: u64,
        /// Why.
        reason: String,
    },
    /// The engine or the log failed; the peer stops.
    #[error("region {region}: storage failed")]
    Storage {
        /// The region.
        region: u64,
        /// What failed.
        #[source]
        source: engine::EngineError,
    },
}

/// A view of one region, taken at a moment when this store could answer for it.
#[derive(Clone, Debug)]
pub struct RegionSnapshot<S> {
    /// The engine's view. It holds other regions' keys too: readers stay inside `region.range`.
    pub engine: S,
    /// The region as of the view.
    pub region: Region,
    /// The Raft term in which it was taken; a write that builds on the view names it.
    pub term: u64,
}

/// What transactions ask of replication.
pub trait Replication: Clone + Send + Sync + 'static {
    /// The engine's view type.
    type Snapshot: engine::Snapshot;

    /// A linearizable view of a region: it sees every write acknowledged before the call.
    fn snapshot(
        &self,
        ctx: &RegionContext,
    ) -> impl Future<Output = Result<RegionSnapshot<Self::Snapshot>, RegionError>> + Send;

    /// Replicates and applies a batch atomically; returns when it is committed and applied here.
    /// With `ctx.term` set, the batch is refused if the leader's term changed since.
    fn write(&self, ctx: &RegionContext, batch: WriteBatch) -> impl Future<Output = Result<(), RegionError>> + Send;
}

/// A snapshot that another node streams here: the messages of `tikvpb.Tikv/Snapshot`, or why the stream broke.
pub type SnapshotStream =
    std::pin::Pin<Box<dyn futures::Stream<Item = Result<proto::raft_serverpb::SnapshotChunk, String>> + Send>>;

/// What the gRPC service hands to the Raft store: calls that concern Raft itself and no transaction.
pub trait RaftCalls: Clone + Send + Sync + 'static {
    /// Takes a message of `Raft` or `BatchRaft`. Never waits: when the queue is full the message is dropped, as the
    /// network might, and its sender repeats it.
    fn deliver(&self, message: proto::raft_serverpb::RaftMessage);

    /// Takes a snapshot stream; returns when all of it is received, which is before it is applied.
    fn receive_snapshot(&self, stream: SnapshotStream) -> impl Future<Output = Result<(), String>> + Send;

    /// Splits a region at the given keys (memcomparable-encoded); returns the resulting regions in key order.
    fn split_region(
        &self,
        ctx: &RegionContext,
        keys: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Vec<Region>, RegionError>> + Send;

    /// The index up to which a replica must have applied for a read issued now to be linearizable.
    fn read_index(&self, ctx: &RegionContext) -> impl Future<Output = Result<u64, RegionError>> + Send;
}
