//! For tests: a statement without a cluster, whose rows are given.

use std::sync::Arc;

use async_trait::async_trait;
use codec::timestamp::Timestamp;
use kv_client::pd::{RegionHeartbeats, RegionInfo, Result};
use kv_client::{Call, Client, ClientOptions, Dial, PdClient, PdError};
use proto::{metapb, pdpb};
use query::context::EvalContext;
use sql_base::Interrupt;
use sql_base::memory::{Limits, ServerMemory, StatementMemory};
use sql_planner::plan::Columns;
use tokio::sync::mpsc;

use crate::reader::Reader;
use crate::runtime::Runtime;

/// A statement with these columns and limits. It reaches nothing.
pub(crate) fn statement(columns: Columns, limits: Limits) -> Runtime {
    let client = Client::with_dial(Arc::new(Nowhere), Arc::new(Nowhere), ClientOptions::default());
    let interrupt = Arc::new(Interrupt::new(1));
    let reader = Reader::new(client.snapshot(Timestamp::MAX));
    let mut rt = Runtime::new(reader, Arc::new(columns), EvalContext::default(), interrupt.clone());
    let budget = StatementMemory::new(Arc::new(ServerMemory::default()), limits, interrupt, 1);
    rt.limit(budget, std::env::temp_dir().into());
    rt
}

/// No cluster.
struct Nowhere;

fn nothing<T>() -> Result<T> {
    Err(PdError::Unavailable("this test has no cluster".into()))
}

impl Dial for Nowhere {
    fn dial(&self, _: &str, _: mpsc::UnboundedReceiver<Call>) -> std::result::Result<(), &'static str> {
        Err("this test has no cluster")
    }
}

#[async_trait]
impl PdClient for Nowhere {
    fn cluster_id(&self) -> u64 {
        1
    }
    async fn timestamp(&self) -> Result<Timestamp> {
        nothing()
    }
    async fn is_bootstrapped(&self) -> Result<bool> {
        nothing()
    }
    async fn bootstrap(&self, _: metapb::Store, _: metapb::Region) -> Result<()> {
        nothing()
    }
    async fn alloc_id(&self) -> Result<u64> {
        nothing()
    }
    async fn put_store(&self, _: metapb::Store) -> Result<()> {
        nothing()
    }
    async fn get_store(&self, _: u64) -> Result<Option<metapb::Store>> {
        nothing()
    }
    async fn get_all_stores(&self, _: bool) -> Result<Vec<metapb::Store>> {
        nothing()
    }
    async fn store_heartbeat(&self, _: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse> {
        nothing()
    }
    fn region_heartbeats(&self) -> RegionHeartbeats {
        let (sender, _) = mpsc::channel(1);
        let (_, receiver) = mpsc::channel(1);
        RegionHeartbeats { sender, receiver }
    }
    async fn ask_batch_split(&self, _: metapb::Region, _: u32) -> Result<Vec<pdpb::SplitId>> {
        nothing()
    }
    async fn report_batch_split(&self, _: Vec<metapb::Region>) -> Result<()> {
        nothing()
    }
    async fn get_region(&self, _: &[u8]) -> Result<Option<RegionInfo>> {
        nothing()
    }
    async fn get_prev_region(&self, _: &[u8]) -> Result<Option<RegionInfo>> {
        nothing()
    }
    async fn get_region_by_id(&self, _: u64) -> Result<Option<RegionInfo>> {
        nothing()
    }
    async fn scan_regions(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<RegionInfo>> {
        nothing()
    }
    async fn scatter_regions(&self, _: Vec<u64>) -> Result<()> {
        nothing()
    }
    async fn get_operator(&self, _: u64) -> Result<pdpb::GetOperatorResponse> {
        nothing()
    }
    async fn gc_safe_point(&self) -> Result<Timestamp> {
        nothing()
    }
    async fn update_gc_safe_point(&self, _: Timestamp) -> Result<Timestamp> {
        nothing()
    }
    async fn update_service_gc_safe_point(&self, _: &str, _: i64, _: Timestamp) -> Result<Timestamp> {
        nothing()
    }
    async fn report_min_resolved_ts(&self, _: u64, _: Timestamp) -> Result<()> {
        nothing()
    }
    async fn members(&self) -> Result<pdpb::GetMembersResponse> {
        nothing()
    }
}
