//! The placement driver in the simulation: its production decisions, called directly.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codec::timestamp::Timestamp;
use kv_client::pd::{PdClient, PdError, RegionHeartbeats, RegionInfo, Result};
use parking_lot::Mutex;
use placement_driver::cluster::Cluster;
use placement_driver::cluster::model::{self, Peer, PeerRole, Store};
use placement_driver::placement::rules::RuleSet;
use placement_driver::schedule::controller::Controller;
use placement_driver::schedule::operator::{Change, Instruction};
use placement_driver::schedule::{View, checker, schedulers};
use placement_driver::tso::Allocator;
use proto::{eraftpb, metapb, pdpb};
use rand::Rng;
use storage_node::raftstore::msg::{Msg, PdTask};
use storage_node::replication;
use storage_node::txn::TimestampOracle;

use super::{SharedWorld, World};

/// How far ahead timestamps are reserved.
const WINDOW_MS: u64 = 3_000;
/// A store counts as lost after this long: longer than a simulated outage.
const STORE_DOWN_MS: u64 = 30 * 60_000;
/// Milliseconds between two looks at all regions.
const PATROL_MS: u64 = 100;
/// The simulation's clock begins here, so that a PD's clock may jump back.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// Timestamps alone: what storage nodes and clients take them from.
pub struct Oracle(Mutex<OracleState>);

struct OracleState {
    tso: Allocator,
    saved_ms: u64,
    now_ms: u64,
    skew_ms: i64,
    last: u64,
}

impl Oracle {
    fn next(&self) -> Timestamp {
        let mut state = self.0.lock();
        let now_ms = (EPOCH_MS + state.now_ms).saturating_add_signed(state.skew_ms);
        loop {
            match state.tso.allocate(1, now_ms) {
                Ok(given) => {
                    let ts = Timestamp::compose(given.physical_ms as i64, given.logical as i64);
                    assert!(ts.0 > state.last, "the timestamp oracle went back: {} after {}", ts.0, state.last);
                    state.last = ts.0;
                    return ts;
                }
                Err(_) => {
                    let bound = state.tso.to_save(now_ms).unwrap_or(state.saved_ms + WINDOW_MS);
                    state.saved_ms = bound;
                    state.tso.saved(bound);
                }
            }
        }
    }
}

#[async_trait]
impl TimestampOracle for Oracle {
    async fn timestamp(&self) -> std::result::Result<Timestamp, String> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(self.next())
    }
}

/// The placement driver.
pub struct SimPd {
    /// Stores and regions, from heartbeats.
    pub cluster: Cluster,
    /// The placement rules.
    pub rules: RuleSet,
    /// Versions before it may be gone.
    pub safe_point: Timestamp,
    controller: Controller,
    oracle: Arc<Oracle>,
    next_id: u64,
    next_patrol_ms: u64,
}

impl SimPd {
    /// A cluster of so many stores, each in a region of its own.
    pub fn new(stores: u64) -> SimPd {
        let mut cluster = Cluster::default();
        for id in 1..=stores {
            let labels = BTreeMap::from([("region".to_owned(), format!("region-{id}"))]);
            cluster.load_store(Store { id, address: address(id), labels, ..Store::default() });
        }
        let state =
            OracleState { tso: Allocator::new(0, EPOCH_MS, WINDOW_MS), saved_ms: 0, now_ms: 0, skew_ms: 0, last: 0 };
        SimPd {
            cluster,
            rules: RuleSet::new(stores.min(3) as u32, &[]),
            safe_point: Timestamp::ZERO,
            controller: Controller::default(),
            oracle: Arc::new(Oracle(Mutex::new(state))),
            next_id: 100,
            next_patrol_ms: 0,
        }
    }

    /// The region that the first store begins with.
    pub fn first_region(&mut self) -> replication::Region {
        let peer = Peer { id: 3, store_id: 1, role: PeerRole::Voter };
        let epoch = model::Epoch { conf_ver: 1, version: 1 };
        let region = model::Region { id: 2, epoch, peers: vec![peer], ..model::Region::default() };
        self.cluster.load_region(region);
        replication::Region {
            id: 2,
            range: engine::KeyRange::default(),
            epoch: replication::Epoch { conf_ver: 1, version: 1 },
            peers: vec![replication::Peer { id: 3, store_id: 1, role: replication::PeerRole::Voter }],
        }
    }

    /// Timestamps for a storage node.
    pub fn oracle(&self) -> Arc<dyn TimestampOracle> {
        Arc::clone(&self.oracle) as Arc<dyn TimestampOracle>
    }

    /// Another PD leads: only what was saved remains, and its clock differs.
    pub fn fail_over(&mut self, now_ms: u64, jump_ms: i64) {
        self.controller.clear();
        let mut state = self.oracle.0.lock();
        state.skew_ms = jump_ms;
        let clock = (EPOCH_MS + now_ms).saturating_add_signed(jump_ms);
        state.tso = Allocator::new(state.saved_ms, clock, WINDOW_MS);
    }

    fn alloc_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn split_ids(&mut self, peers: usize, count: u32) -> Vec<pdpb::SplitId> {
        let ids = |pd: &mut SimPd| pdpb::SplitId {
            new_region_id: pd.alloc_id(),
            new_peer_ids: (0..peers).map(|_| pd.alloc_id()).collect(),
        };
        (0..count).map(|_| ids(self)).collect()
    }

    fn info(&self, region: &model::Region) -> RegionInfo {
        RegionInfo {
            region: to_metapb(region),
            leader: region.leader_peer().map(peer_to_metapb),
            down_peers: Vec::new(),
            pending_peers: Vec::new(),
        }
    }
}

/// The address that the client knows a store by.
pub fn address(store_id: u64) -> String {
    format!("store-{store_id}")
}

fn peer_to_metapb(peer: &Peer) -> metapb::Peer {
    let role = match peer.role {
        PeerRole::Voter => metapb::PeerRole::Voter,
        PeerRole::Learner => metapb::PeerRole::Learner,
        PeerRole::IncomingVoter => metapb::PeerRole::IncomingVoter,
        PeerRole::DemotingVoter => metapb::PeerRole::DemotingVoter,
    };
    metapb::Peer { id: peer.id, store_id: peer.store_id, role: role.into(), is_witness: false }
}

fn peer_from_metapb(peer: &metapb::Peer) -> Peer {
    let role = match peer.role() {
        metapb::PeerRole::Voter => PeerRole::Voter,
        metapb::PeerRole::Learner => PeerRole::Learner,
        metapb::PeerRole::IncomingVoter => PeerRole::IncomingVoter,
        metapb::PeerRole::DemotingVoter => PeerRole::DemotingVoter,
    };
    Peer { id: peer.id, store_id: peer.store_id, role }
}

fn to_metapb(region: &model::Region) -> metapb::Region {
    metapb::Region {
        id: region.id,
        start_key: region.start_key.clone(),
        end_key: region.end_key.clone(),
        region_epoch: Some(metapb::RegionEpoch { conf_ver: region.epoch.conf_ver, version: region.epoch.version }),
        peers: region.peers.iter().map(peer_to_metapb).collect(),
    }
}

fn from_heartbeat(heartbeat: &pdpb::RegionHeartbeatRequest) -> model::Region {
    let region = heartbeat.region.clone().unwrap_or_default();
    let epoch = region.region_epoch.unwrap_or_default();
    model::Region {
        id: region.id,
        start_key: region.start_key,
        end_key: region.end_key,
        epoch: model::Epoch { conf_ver: epoch.conf_ver, version: epoch.version },
        peers: region.peers.iter().map(peer_from_metapb).collect(),
        leader: heartbeat.leader.as_ref().map(|p| p.id),
        term: heartbeat.term,
        pending_peers: heartbeat.pending_peers.iter().map(|p| p.id).collect(),
        ..model::Region::default()
    }
}

fn to_response(region: &model::Region, instruction: Instruction) -> pdpb::RegionHeartbeatResponse {
    let mut response = pdpb::RegionHeartbeatResponse {
        region_id: region.id,
        region_epoch: to_metapb(region).region_epoch,
        target_peer: region.leader_peer().map(peer_to_metapb),
        ..Default::default()
    };
    match instruction {
        Instruction::ChangePeer { peer, change } => {
            let change_type = match change {
                Change::AddVoter => eraftpb::ConfChangeType::AddNode,
                Change::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
                Change::Remove => eraftpb::ConfChangeType::RemoveNode,
            };
            response.change_peer =
                Some(pdpb::ChangePeer { peer: Some(peer_to_metapb(&peer)), change_type: change_type.into() });
        }
        Instruction::TransferLeader { peer } => {
            response.transfer_leader =
                Some(pdpb::TransferLeader { peer: Some(peer_to_metapb(&peer)), peers: Vec::new() });
        }
        Instruction::Split { keys } => {
            response.split_region = Some(pdpb::SplitRegion { policy: pdpb::CheckPolicy::Usekey.into(), keys });
        }
    }
    response
}

impl World {
    /// A store asks or tells PD something.
    pub(super) fn pd_task(&mut self, from: u64, task: PdTask) {
        self.trace.add(self.now(), format_args!("store {from} to PD"), format!("{task:?}").as_bytes());
        match task {
            PdTask::RegionHeartbeat(heartbeat) => {
                let region = from_heartbeat(&heartbeat);
                let id = region.id;
                if self.pd.cluster.region_heartbeat(region).is_ok() {
                    self.dispatch(id);
                }
            }
            PdTask::StoreHeartbeat(_) => {
                let now_ms = self.now_ms();
                let _ = self.pd.cluster.store_heartbeat(from, now_ms, [0; 3]);
            }
            PdTask::AskSplit { token, region, count } => {
                let ids = self.pd.split_ids(region.peers.len(), count);
                self.send(from, from, Msg::SplitIds { token, result: Ok(ids) });
            }
            PdTask::ReportSplit(_) => {} // heartbeats say the same
            PdTask::CheckRegion { region_id } => {
                let region = self
                    .pd
                    .cluster
                    .regions
                    .get(region_id)
                    .map(|r| storage_node::raftstore::convert::region_from_proto(&to_metapb(r)));
                self.send(from, from, Msg::RegionChecked { region_id, region });
            }
        }
    }

    /// Tells a region's leader what its operator wants now.
    fn dispatch(&mut self, region_id: u64) {
        let now_ms = self.now_ms();
        let Some(region) = self.pd.cluster.regions.get(region_id) else { return };
        let Some(instruction) = self.pd.controller.dispatch(region, now_ms) else { return };
        let Some(leader) = region.leader_peer().map(|p| p.store_id) else { return };
        let response = to_response(region, instruction);
        self.send(leader, leader, Msg::PdCommand(Box::new(response)));
    }

    /// PD looks at all regions now and then, as its patrol does.
    pub(super) fn pd_round(&mut self) {
        let now_ms = self.now_ms();
        self.pd.oracle.0.lock().now_ms = now_ms;
        if now_ms < self.pd.next_patrol_ms {
            return;
        }
        self.pd.next_patrol_ms = now_ms + PATROL_MS;
        let mut next_id = self.pd.next_id;
        let mut alloc = || {
            next_id += 1;
            Some(next_id)
        };
        let stores = self.pd.cluster.stores();
        let region_counts: BTreeMap<u64, usize> =
            stores.keys().map(|id| (*id, self.pd.cluster.regions.count_on(*id))).collect();
        let view = View { stores, region_counts: &region_counts, now_ms, store_down_ms: STORE_DOWN_MS };
        let (regions, rules) = (&self.pd.cluster.regions, &self.pd.rules);
        let controller = &mut self.pd.controller;
        for region in regions.iter().filter(|r| r.leader.is_some()) {
            if !controller.is_busy(region.id)
                && let Some(operator) = checker::check(region, rules, &view, &mut alloc)
            {
                controller.add(operator, now_ms);
            }
        }
        if let Some(operator) = schedulers::balance_leader(regions.iter(), rules, &view, controller) {
            controller.add(operator, now_ms);
        }
        let ids: Vec<u64> = controller.operators().map(|o| o.region_id).collect();
        self.pd.next_id = next_id;
        for id in ids {
            self.dispatch(id);
        }
    }

    /// Splits a region at a key of the bank, as its size would make it.
    pub(super) fn split_somewhere(&mut self) {
        let account = self.rng.random_range(0..super::bank::ACCOUNTS);
        let mut key = Vec::new();
        codec::bytes::encode_bytes(&mut key, &super::bank::account_key(account));
        let Some(region) = self.pd.cluster.regions.by_key(&key).cloned() else { return };
        let Some(leader) = region.leader_peer().map(|p| p.store_id) else { return };
        if region.start_key == key {
            return;
        }
        self.note(format!("region {} is split before account {account}", region.id));
        let response = to_response(&region, Instruction::Split { keys: vec![key] });
        self.send(leader, leader, Msg::PdCommand(Box::new(response)));
    }
}

/// PD as the client sees it.
pub struct SimPdClient(pub SharedWorld);

impl SimPdClient {
    async fn ask<T>(&self, question: impl FnOnce(&mut World) -> T) -> Result<T> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(question(&mut self.0.lock()))
    }

    fn refuse<T>(what: &str) -> Result<T> {
        Err(PdError::Refused(format!("the simulated PD does not serve {what}")))
    }
}

#[async_trait]
impl PdClient for SimPdClient {
    fn cluster_id(&self) -> u64 {
        1
    }

    async fn timestamp(&self) -> Result<Timestamp> {
        self.ask(|world| world.pd.oracle.next()).await
    }

    async fn is_bootstrapped(&self) -> Result<bool> {
        Ok(true)
    }

    async fn bootstrap(&self, _: metapb::Store, _: metapb::Region) -> Result<()> {
        Err(PdError::AlreadyBootstrapped)
    }

    async fn alloc_id(&self) -> Result<u64> {
        self.ask(|world| world.pd.alloc_id()).await
    }

    async fn put_store(&self, _: metapb::Store) -> Result<()> {
        Self::refuse("put_store")
    }

    async fn get_store(&self, store_id: u64) -> Result<Option<metapb::Store>> {
        let store = |world: &mut World| {
            let store = world.pd.cluster.store(store_id)?;
            Some(metapb::Store { id: store.id, address: store.address.clone(), ..Default::default() })
        };
        self.ask(store).await
    }

    async fn get_all_stores(&self, _: bool) -> Result<Vec<metapb::Store>> {
        Self::refuse("get_all_stores")
    }

    async fn store_heartbeat(&self, _: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse> {
        Self::refuse("store_heartbeat")
    }

    fn region_heartbeats(&self) -> RegionHeartbeats {
        let (sender, _) = tokio::sync::mpsc::channel(1);
        let (_, receiver) = tokio::sync::mpsc::channel(1);
        RegionHeartbeats { sender, receiver }
    }

    async fn ask_batch_split(&self, region: metapb::Region, count: u32) -> Result<Vec<pdpb::SplitId>> {
        self.ask(|world| world.pd.split_ids(region.peers.len(), count)).await
    }

    async fn report_batch_split(&self, _: Vec<metapb::Region>) -> Result<()> {
        Ok(())
    }

    async fn get_region(&self, key: &[u8]) -> Result<Option<RegionInfo>> {
        self.ask(|world| world.pd.cluster.regions.by_key(key).map(|r| world.pd.info(r))).await
    }

    async fn get_prev_region(&self, key: &[u8]) -> Result<Option<RegionInfo>> {
        self.ask(|world| world.pd.cluster.regions.before_key(key).map(|r| world.pd.info(r))).await
    }

    async fn get_region_by_id(&self, region_id: u64) -> Result<Option<RegionInfo>> {
        self.ask(|world| world.pd.cluster.regions.get(region_id).map(|r| world.pd.info(r))).await
    }

    async fn scan_regions(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<RegionInfo>> {
        self.ask(|world| {
            let regions = world.pd.cluster.regions.scan(start, end).take(limit);
            regions.map(|r| world.pd.info(r)).collect()
        })
        .await
    }

    async fn scatter_regions(&self, _: Vec<u64>) -> Result<()> {
        Self::refuse("scatter_regions")
    }

    async fn get_operator(&self, _: u64) -> Result<pdpb::GetOperatorResponse> {
        Self::refuse("get_operator")
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        self.ask(|world| world.pd.safe_point).await
    }

    async fn update_gc_safe_point(&self, _: Timestamp) -> Result<Timestamp> {
        Self::refuse("update_gc_safe_point")
    }

    async fn update_service_gc_safe_point(&self, _: &str, _: i64, _: Timestamp) -> Result<Timestamp> {
        Self::refuse("update_service_gc_safe_point")
    }

    async fn report_min_resolved_ts(&self, _: u64, _: Timestamp) -> Result<()> {
        Self::refuse("report_min_resolved_ts")
    }

    async fn members(&self) -> Result<pdpb::GetMembersResponse> {
        Self::refuse("members")
    }
}
