//! Replication without replicas: one region over a bare engine. For tests, and for tools that look into a data
//! directory.

use engine::{Engine, EngineError, KeyRange, WriteBatch};

use crate::replication::{
    Epoch, Peer, PeerRole, RaftCalls, Region, RegionContext, RegionError, RegionSnapshot, Replication, SnapshotStream,
};

/// One region on one peer, always leader.
#[derive(Clone)]
pub struct BareReplication<E> {
    engine: E,
    region: Region,
}

impl<E: Engine> BareReplication<E> {
    /// Region 1, over all keys, in store 1.
    pub fn new(engine: E) -> Self {
        Self::with_range(engine, KeyRange::default())
    }

    /// The same over a range of encoded keys.
    pub fn with_range(engine: E, range: KeyRange) -> Self {
        let peers = vec![Peer { id: 1, store_id: 1, role: PeerRole::Voter }];
        let region = Region { id: 1, range, epoch: Epoch { conf_ver: 1, version: 1 }, peers };
        BareReplication { engine, region }
    }

    /// The region.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// A context that the region accepts.
    pub fn context(&self) -> RegionContext {
        RegionContext { region_id: self.region.id, epoch: self.region.epoch, ..RegionContext::default() }
    }

    fn check(&self, ctx: &RegionContext) -> Result<(), RegionError> {
        if ctx.store_id != 0 && ctx.store_id != 1 {
            return Err(RegionError::StoreNotMatch { requested: ctx.store_id, actual: 1 });
        }
        if ctx.region_id != self.region.id {
            return Err(RegionError::RegionNotFound(ctx.region_id));
        }
        if ctx.epoch != self.region.epoch {
            return Err(RegionError::EpochNotMatch { region: self.region.id, current: vec![self.region.clone()] });
        }
        Ok(())
    }
}

impl<E: Engine> Replication for BareReplication<E> {
    type Snapshot = E::Snapshot;

    async fn snapshot(&self, ctx: &RegionContext) -> Result<RegionSnapshot<E::Snapshot>, RegionError> {
        self.check(ctx)?;
        Ok(RegionSnapshot { engine: self.engine.snapshot(), region: self.region.clone(), term: 1 })
    }

    async fn write(&self, ctx: &RegionContext, batch: WriteBatch) -> Result<(), RegionError> {
        self.check(ctx)?;
        let failed = |source: EngineError| RegionError::Storage { region: self.region.id, source };
        self.engine.write(batch).map_err(failed)
    }
}

impl<E: Engine> RaftCalls for BareReplication<E> {
    fn deliver(&self, _: proto::raft_serverpb::RaftMessage) {}

    async fn receive_snapshot(&self, _: SnapshotStream) -> Result<(), String> {
        Err("a bare engine takes no Raft snapshots".into())
    }

    async fn split_region(&self, ctx: &RegionContext, _: Vec<Vec<u8>>) -> Result<Vec<Region>, RegionError> {
        self.check(ctx)?;
        Err(RegionError::ServerIsBusy { reason: "a bare engine's region cannot be split".into(), backoff_ms: 1000 })
    }

    async fn read_index(&self, ctx: &RegionContext) -> Result<u64, RegionError> {
        self.check(ctx)?;
        Ok(0)
    }
}
