//! The placement driver as its clients see it: timestamps, ids, and where regions and stores are.
//!
//! [`PdClient`] is the seam: [`GrpcPd`] speaks to a PD cluster (ours or the original), a simulation brings its own.
//! Keys in this module are memcomparable-encoded, as PD and the Raft store know them; everything above
//! (`crate::region`, snapshots, transactions) uses plain user keys.
//!
//! Not here: retry on behalf of a transaction. A call is retried only while PD has no leader, up to a deadline.

mod grpc;
mod heartbeat;
mod tso;

use async_trait::async_trait;
use codec::timestamp::Timestamp;
use proto::{metapb, pdpb};
use tokio::sync::mpsc;

pub use grpc::{GrpcPd, PdOptions};

/// Why PD did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PdError {
    /// No PD leader answered within the deadline.
    #[error("placement driver unavailable: {0}")]
    Unavailable(String),
    /// The cluster has no first store and region yet.
    #[error("the cluster is not bootstrapped")]
    NotBootstrapped,
    /// Another node bootstrapped the cluster first.
    #[error("the cluster is bootstrapped already")]
    AlreadyBootstrapped,
    /// The store was removed for good and may not come back under its id.
    #[error("the store is a tombstone: {0}")]
    StoreTombstone(String),
    /// The endpoints answer for another cluster than the one connected to first.
    #[error("PD of cluster {actual} answered, expected cluster {expected}")]
    OtherCluster {
        /// The cluster connected to.
        expected: u64,
        /// The cluster that answered.
        actual: u64,
    },
    /// PD understood and refused; asking again would not help.
    #[error("placement driver refused: {0}")]
    Refused(String),
}

/// Result of a PD call.
pub type Result<T> = std::result::Result<T, PdError>;

/// A region with what PD knows about its replicas.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionInfo {
    /// The region, with encoded bounds.
    pub region: metapb::Region,
    /// Its leader, when known.
    pub leader: Option<metapb::Peer>,
    /// Peers that have not been heard of for a while.
    pub down_peers: Vec<pdpb::PeerStats>,
    /// Peers that lag behind.
    pub pending_peers: Vec<metapb::Peer>,
}

/// Both ends of the region heartbeat stream. It reconnects by itself and follows the PD leader; heartbeats sent while
/// there is no leader are dropped, because the next one says it all again.
#[derive(Debug)]
pub struct RegionHeartbeats {
    /// Heartbeats of regions whose leader is here. Bounded: use `try_send` and drop when full.
    pub sender: mpsc::Sender<pdpb::RegionHeartbeatRequest>,
    /// What PD wants done with a region.
    pub receiver: mpsc::Receiver<pdpb::RegionHeartbeatResponse>,
}

/// What clients and storage nodes ask of the placement driver.
#[async_trait]
pub trait PdClient: Send + Sync + 'static {
    /// The cluster's id.
    fn cluster_id(&self) -> u64;

    /// A timestamp greater than every one handed out before, cluster-wide.
    async fn timestamp(&self) -> Result<Timestamp>;

    /// Whether the first store and region exist.
    async fn is_bootstrapped(&self) -> Result<bool>;

    /// Registers the first store and region; [`PdError::AlreadyBootstrapped`] when another node was faster.
    async fn bootstrap(&self, store: metapb::Store, region: metapb::Region) -> Result<()>;

    /// An id never handed out before, for stores, regions and peers.
    async fn alloc_id(&self) -> Result<u64>;

    /// Registers or updates a store.
    async fn put_store(&self, store: metapb::Store) -> Result<()>;

    /// A store by id.
    async fn get_store(&self, store_id: u64) -> Result<Option<metapb::Store>>;

    /// Every store.
    async fn get_all_stores(&self, exclude_tombstones: bool) -> Result<Vec<metapb::Store>>;

    /// Tells PD that a store is alive and how it is.
    async fn store_heartbeat(&self, stats: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse>;

    /// Opens the region heartbeat stream.
    fn region_heartbeats(&self) -> RegionHeartbeats;

    /// Ids for splitting a region into `count + 1`.
    async fn ask_batch_split(&self, region: metapb::Region, count: u32) -> Result<Vec<pdpb::SplitId>>;

    /// Tells PD that a split is done: the resulting regions in key order.
    async fn report_batch_split(&self, regions: Vec<metapb::Region>) -> Result<()>;

    /// The region that holds an encoded key.
    async fn get_region(&self, key: &[u8]) -> Result<Option<RegionInfo>>;

    /// The region before the one that holds an encoded key.
    async fn get_prev_region(&self, key: &[u8]) -> Result<Option<RegionInfo>>;

    /// A region by id.
    async fn get_region_by_id(&self, region_id: u64) -> Result<Option<RegionInfo>>;

    /// Regions in key order that overlap `[start, end)` (encoded, `end` empty for no bound), at most `limit`.
    async fn scan_regions(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<RegionInfo>>;

    /// Asks PD to spread regions' leaders and peers over the stores.
    async fn scatter_regions(&self, region_ids: Vec<u64>) -> Result<()>;

    /// The operator that PD runs on a region.
    async fn get_operator(&self, region_id: u64) -> Result<pdpb::GetOperatorResponse>;

    /// Versions older than this may be gone.
    async fn gc_safe_point(&self) -> Result<Timestamp>;

    /// Moves the safe point forward; returns the one now in force.
    async fn update_gc_safe_point(&self, safe_point: Timestamp) -> Result<Timestamp>;

    /// Holds the safe point back on behalf of a service for `ttl_seconds`; returns the least of all services.
    async fn update_service_gc_safe_point(
        &self,
        service_id: &str,
        ttl_seconds: i64,
        safe_point: Timestamp,
    ) -> Result<Timestamp>;

    /// Tells PD up to where a store's followers can serve stale reads.
    async fn report_min_resolved_ts(&self, store_id: u64, min_resolved_ts: Timestamp) -> Result<()>;

    /// The members of the PD cluster and its leader.
    async fn members(&self) -> Result<pdpb::GetMembersResponse>;
}
