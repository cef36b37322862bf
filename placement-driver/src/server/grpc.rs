//! The pdpb.PD service.
//!
//! A member that doesn't lead refuses with UNAVAILABLE "not leader", as PD does: clients then ask for the members
//! again and go to the leader. Errors of a request itself travel in the response header.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use proto::pdpb::pd_server::{Pd, PdServer};
use proto::pdpb::*;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::convert;
use crate::cluster::StoreError;
use crate::cluster::model::{Region as ModelRegion, StoreState};
use crate::kv::KvError;
use crate::leader::{Leader, LeaderError};
use crate::metastore::member_id;
use crate::pd::Shared;

/// The software version that stores are told the cluster has: TiKV-compatible clients compare it.
const CLUSTER_VERSION: &str = "8.5.0";
/// How long SplitRegions waits for the stores.
const SPLIT_WAIT: Duration = Duration::from_secs(8);
/// Most regions in one scan when the caller names no limit.
const SCAN_MAX: usize = 10_240;

/// The service's routes.
pub fn routes(shared: Arc<Shared>, stop: CancellationToken) -> tonic::service::Routes {
    let server = PdServer::new(PdService { shared, stop }).max_decoding_message_size(net::grpc::MESSAGE_BYTES_MAX);
    tonic::service::Routes::new(server)
}

struct PdService {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// What PD calls it, and what clients look for.
fn not_leader() -> Status {
    Status::unavailable("not leader")
}

impl PdService {
    fn cluster_id(&self) -> Result<u64, Status> {
        let connected = self.shared.connected();
        connected.map(|c| c.cluster_id).ok_or_else(|| Status::unavailable("the metadata store is not ready yet"))
    }

    /// The leader's term, for a request of this cluster.
    fn leader(&self, header: Option<&RequestHeader>) -> Result<Arc<Leader>, Status> {
        let ours = self.cluster_id()?;
        let theirs = header.map_or(0, |h| h.cluster_id);
        if theirs != ours {
            return Err(Status::failed_precondition(format!("mismatch cluster id, need {ours} but got {theirs}")));
        }
        self.shared.active().ok_or_else(not_leader)
    }

    fn header(&self) -> Option<ResponseHeader> {
        Some(ResponseHeader { cluster_id: self.cluster_id().unwrap_or(0), error: None })
    }

    fn error_header(&self, kind: ErrorType, message: String) -> Option<ResponseHeader> {
        let cluster_id = self.cluster_id().unwrap_or(0);
        Some(ResponseHeader { cluster_id, error: Some(Error { r#type: kind as i32, message }) })
    }

    /// The header for a request that the leader refused, or the status if it is not the request's fault.
    fn refuse(&self, error: &LeaderError) -> Result<Option<ResponseHeader>, Status> {
        let kind = match error {
            LeaderError::Kv(KvError::NotLeader) | LeaderError::LeaseLapsed => return Err(not_leader()),
            LeaderError::Kv(_) | LeaderError::Tso(_) => return Err(Status::unavailable(error.to_string())),
            LeaderError::NotBootstrapped => ErrorType::NotBootstrapped,
            LeaderError::AlreadyBootstrapped => ErrorType::AlreadyBootstrapped,
            LeaderError::Store(StoreError::Tombstone(_)) => ErrorType::StoreTombstone,
            LeaderError::Store(_)
            | LeaderError::Rule(_)
            | LeaderError::InvalidBootstrap(_)
            | LeaderError::Invalid(_) => ErrorType::Unknown,
        };
        Ok(self.error_header(kind, error.to_string()))
    }

    fn header_of<T>(&self, result: Result<T, LeaderError>) -> Result<Option<ResponseHeader>, Status> {
        match result {
            Ok(_) => Ok(self.header()),
            Err(e) => self.refuse(&e),
        }
    }

    fn region_response(&self, region: Option<&ModelRegion>) -> GetRegionResponse {
        let mut response = GetRegionResponse { header: self.header(), ..Default::default() };
        if let Some(region) = region {
            response.region = Some(convert::region_to_meta(region));
            response.leader = region.leader_peer().map(convert::peer_to);
            response.down_peers = convert::down_peers(region);
            response.pending_peers = convert::pending_peers(region);
        }
        response
    }
}

type Stream_<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

/// Fails unless bootstrapped, in the response's header.
macro_rules! bootstrapped {
    ($self:ident, $leader:ident, $response:ident) => {
        if let Err(e) = $leader.check_bootstrapped() {
            return Ok(Response::new($response { header: $self.refuse(&e)?, ..Default::default() }));
        }
    };
}

#[tonic::async_trait]
impl Pd for PdService {
    async fn get_members(&self, _: Request<GetMembersRequest>) -> Answer<GetMembersResponse> {
        self.cluster_id()?;
        let members = self.shared.members().await.map_err(|e| Status::unavailable(e.to_string()))?;
        let leader = match self.shared.active() {
            Some(_) => Some(self.shared.member()),
            None => self.shared.leader_seen(),
        };
        let store_leader = self.shared.metastore.as_ref().map(|store| store.status().leader);
        let etcd_leader = members.iter().find(|m| Some(member_id(&m.name)) == store_leader).cloned();
        Ok(Response::new(GetMembersResponse { header: self.header(), members, leader, etcd_leader }))
    }

    async fn get_cluster_info(&self, _: Request<GetClusterInfoRequest>) -> Answer<GetClusterInfoResponse> {
        self.cluster_id()?;
        Ok(Response::new(GetClusterInfoResponse {
            header: self.header(),
            service_modes: vec![ServiceMode::PdSvcMode as i32],
            tso_urls: Vec::new(),
        }))
    }

    type TsoStream = Stream_<TsoResponse>;

    async fn tso(&self, request: Request<Streaming<TsoRequest>>) -> Answer<Self::TsoStream> {
        let cluster_id = self.cluster_id()?;
        if self.shared.active().is_none() {
            return Err(not_leader());
        }
        let shared = self.shared.clone();
        // One request at a time and in order: a batch is answered before the next is read, without any hand-over.
        let responses = request.into_inner().then(move |request| {
            let shared = shared.clone();
            async move {
                let request = request?;
                let theirs = request.header.map_or(0, |h| h.cluster_id);
                if theirs != cluster_id {
                    let text = format!("mismatch cluster id, need {cluster_id} but got {theirs}");
                    return Err(Status::failed_precondition(text));
                }
                let leader = shared.active().ok_or_else(not_leader)?;
                let last = leader.timestamps(request.count).await.map_err(|e| match e {
                    LeaderError::Tso(crate::tso::TsoError::Count(_)) => Status::invalid_argument(e.to_string()),
                    other => Status::unavailable(other.to_string()),
                })?;
                Ok(TsoResponse {
                    header: Some(ResponseHeader { cluster_id, error: None }),
                    count: request.count,
                    timestamp: Some(Timestamp {
                        physical: last.physical_ms as i64,
                        logical: last.logical as i64,
                        suffix_bits: 0,
                    }),
                })
            }
        });
        let stop = self.stop.clone();
        Ok(Response::new(Box::pin(responses.take_until(stop.cancelled_owned()))))
    }

    async fn bootstrap(&self, request: Request<BootstrapRequest>) -> Answer<BootstrapResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let (Some(store), Some(region)) = (request.store, request.region) else {
            return Err(Status::invalid_argument("bootstrap needs a store and a region"));
        };
        let header = self.header_of(leader.bootstrap(store, region).await)?;
        Ok(Response::new(BootstrapResponse { header }))
    }

    async fn is_bootstrapped(&self, request: Request<IsBootstrappedRequest>) -> Answer<IsBootstrappedResponse> {
        let leader = self.leader(request.get_ref().header.as_ref())?;
        let bootstrapped = leader.bootstrapped().is_some();
        Ok(Response::new(IsBootstrappedResponse { header: self.header(), bootstrapped }))
    }

    async fn alloc_id(&self, request: Request<AllocIdRequest>) -> Answer<AllocIdResponse> {
        let leader = self.leader(request.get_ref().header.as_ref())?;
        let result = leader.alloc_id().await;
        let id = *result.as_ref().unwrap_or(&0);
        Ok(Response::new(AllocIdResponse { header: self.header_of(result)?, id }))
    }

    async fn get_store(&self, request: Request<GetStoreRequest>) -> Answer<GetStoreResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, GetStoreResponse);
        let Some(store) = leader.read(|brain| brain.cluster.store(request.store_id).cloned()) else {
            let header = self.refuse(&StoreError::NotFound(request.store_id).into())?;
            return Ok(Response::new(GetStoreResponse { header, ..Default::default() }));
        };
        let stats = StoreStats {
            store_id: store.id,
            capacity: store.capacity_bytes,
            available: store.available_bytes,
            used_size: store.used_bytes,
            start_time: store.start_time_s as u32,
            ..Default::default()
        };
        let store = Some(convert::store_to_meta(&store));
        Ok(Response::new(GetStoreResponse { header: self.header(), store, stats: Some(stats) }))
    }

    async fn put_store(&self, request: Request<PutStoreRequest>) -> Answer<PutStoreResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let store = request.store.ok_or_else(|| Status::invalid_argument("invalid put store command: no store"))?;
        let header = self.header_of(leader.put_store(store).await)?;
        Ok(Response::new(PutStoreResponse { header }))
    }

    async fn get_all_stores(&self, request: Request<GetAllStoresRequest>) -> Answer<GetAllStoresResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, GetAllStoresResponse);
        let stores = leader.read(|brain| {
            let all = brain.cluster.stores().values();
            all.filter(|s| !request.exclude_tombstone_stores || s.state != StoreState::Tombstone)
                .map(convert::store_to_meta)
                .collect()
        });
        Ok(Response::new(GetAllStoresResponse { header: self.header(), stores }))
    }

    async fn store_heartbeat(&self, request: Request<StoreHeartbeatRequest>) -> Answer<StoreHeartbeatResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let stats = request.stats.ok_or_else(|| Status::invalid_argument("store heartbeat without stats"))?;
        let header = self.header_of(leader.store_heartbeat(&stats))?;
        Ok(Response::new(StoreHeartbeatResponse {
            header,
            cluster_version: CLUSTER_VERSION.into(),
            require_detailed_report: false,
            meridian_format: leader.read(|brain| brain.cluster.format()).unwrap_or(net::format::OLDEST),
        }))
    }

    type RegionHeartbeatStream = Stream_<RegionHeartbeatResponse>;

    async fn region_heartbeat(
        &self,
        request: Request<Streaming<RegionHeartbeatRequest>>,
    ) -> Answer<Self::RegionHeartbeatStream> {
        self.cluster_id()?;
        if self.shared.active().is_none() {
            return Err(not_leader());
        }
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        let service = PdService { shared: self.shared.clone(), stop: self.stop.clone() };
        let stop = self.stop.clone();
        let ended = sender.clone();
        let mut heartbeats = request.into_inner();
        tokio::spawn(async move {
            let work = async {
                // The term whose instructions this stream carries, and for which store.
                let mut bound: Option<(i64, u64)> = None;
                while let Some(heartbeat) = heartbeats.next().await {
                    let heartbeat = heartbeat?;
                    let leader = service.leader(heartbeat.header.as_ref())?;
                    let store_id = heartbeat.leader.as_ref().map_or(0, |peer| peer.store_id);
                    if store_id == 0 {
                        return Err(Status::invalid_argument("region heartbeat without leader"));
                    }
                    if bound != Some((leader.term.created, store_id)) {
                        bound = Some((leader.term.created, store_id));
                        forward(leader.open_stream(store_id), sender.clone());
                    }
                    if let Some(region) = convert::region_from_heartbeat(heartbeat) {
                        leader.region_heartbeat(region);
                    }
                }
                Ok(())
            };
            tokio::select! {
                result = work => if let Err(status) = result {
                    let _ = ended.send(Err(status)).await;
                },
                () = stop.cancelled() => {}
                () = ended.closed() => {}
            }
        });
        let stop = self.stop.clone();
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).take_until(stop.cancelled_owned()))))
    }

    async fn get_region(&self, request: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, GetRegionResponse);
        let response = leader.read(|b| self.region_response(b.cluster.regions.by_key(&request.region_key)));
        Ok(Response::new(response))
    }

    async fn get_prev_region(&self, request: Request<GetRegionRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, GetRegionResponse);
        let response = leader.read(|b| self.region_response(b.cluster.regions.before_key(&request.region_key)));
        Ok(Response::new(response))
    }

    async fn get_region_by_id(&self, request: Request<GetRegionByIdRequest>) -> Answer<GetRegionResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, GetRegionResponse);
        let response = leader.read(|b| self.region_response(b.cluster.regions.get(request.region_id)));
        Ok(Response::new(response))
    }

    async fn scan_regions(&self, request: Request<ScanRegionsRequest>) -> Answer<ScanRegionsResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, ScanRegionsResponse);
        let limit = if request.limit > 0 { (request.limit as usize).min(SCAN_MAX) } else { SCAN_MAX };
        let mut response = ScanRegionsResponse { header: self.header(), ..Default::default() };
        leader.read(|brain| {
            for region in brain.cluster.regions.scan(&request.start_key, &request.end_key).take(limit) {
                let region = convert::region_to_pd(region);
                response.region_metas.push(region.region.clone().unwrap_or_default());
                response.leaders.push(region.leader.unwrap_or_default());
                response.regions.push(region);
            }
        });
        Ok(Response::new(response))
    }

    async fn ask_split(&self, request: Request<AskSplitRequest>) -> Answer<AskSplitResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let region = request.region.ok_or_else(|| Status::invalid_argument("missing region for split"))?;
        match leader.ask_split(&region, 1).await {
            Ok(ids) => {
                let id = ids.into_iter().next().unwrap_or_default();
                let (new_region_id, new_peer_ids) = (id.new_region_id, id.new_peer_ids);
                Ok(Response::new(AskSplitResponse { header: self.header(), new_region_id, new_peer_ids }))
            }
            Err(e) => Ok(Response::new(AskSplitResponse { header: self.refuse(&e)?, ..Default::default() })),
        }
    }

    async fn report_split(&self, request: Request<ReportSplitRequest>) -> Answer<ReportSplitResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        leader.report_split(request.left.into_iter().chain(request.right).collect());
        Ok(Response::new(ReportSplitResponse { header: self.header() }))
    }

    async fn ask_batch_split(&self, request: Request<AskBatchSplitRequest>) -> Answer<AskBatchSplitResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let region = request.region.ok_or_else(|| Status::invalid_argument("missing region for split"))?;
        let result = leader.ask_split(&region, request.split_count).await;
        let (header, ids) = match result {
            Ok(ids) => (self.header(), ids),
            Err(e) => (self.refuse(&e)?, Vec::new()),
        };
        Ok(Response::new(AskBatchSplitResponse { header, ids }))
    }

    async fn report_batch_split(&self, request: Request<ReportBatchSplitRequest>) -> Answer<ReportBatchSplitResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        leader.report_split(request.regions);
        Ok(Response::new(ReportBatchSplitResponse { header: self.header() }))
    }

    async fn get_cluster_config(&self, request: Request<GetClusterConfigRequest>) -> Answer<GetClusterConfigResponse> {
        let leader = self.leader(request.get_ref().header.as_ref())?;
        bootstrapped!(self, leader, GetClusterConfigResponse);
        Ok(Response::new(GetClusterConfigResponse { header: self.header(), cluster: leader.bootstrapped() }))
    }

    async fn put_cluster_config(&self, _: Request<PutClusterConfigRequest>) -> Answer<PutClusterConfigResponse> {
        Err(Status::unimplemented("PutClusterConfig is not supported, change replication.max-replicas instead"))
    }

    async fn scatter_region(&self, request: Request<ScatterRegionRequest>) -> Answer<ScatterRegionResponse> {
        self.leader(request.get_ref().header.as_ref())?;
        Err(Status::unimplemented("ScatterRegion is not supported, the balance schedulers even regions out"))
    }

    async fn get_gc_safe_point(&self, request: Request<GetGcSafePointRequest>) -> Answer<GetGcSafePointResponse> {
        let leader = self.leader(request.get_ref().header.as_ref())?;
        let safe_point = leader.gc_safe_point().await;
        Ok(Response::new(GetGcSafePointResponse { header: self.header(), safe_point }))
    }

    async fn update_gc_safe_point(
        &self,
        request: Request<UpdateGcSafePointRequest>,
    ) -> Answer<UpdateGcSafePointResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let result = leader.update_gc_safe_point(request.safe_point).await;
        let new_safe_point = *result.as_ref().unwrap_or(&0);
        Ok(Response::new(UpdateGcSafePointResponse { header: self.header_of(result)?, new_safe_point }))
    }

    async fn update_service_gc_safe_point(
        &self,
        request: Request<UpdateServiceGcSafePointRequest>,
    ) -> Answer<UpdateServiceGcSafePointResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let Ok(service_id) = String::from_utf8(request.service_id) else {
            return Err(Status::invalid_argument("service id is not UTF-8"));
        };
        if service_id.is_empty() || service_id.contains('/') {
            return Err(Status::invalid_argument(format!("'{service_id}' is no service id")));
        }
        let result = leader.update_service_safe_point(service_id, request.ttl, request.safe_point).await;
        let mut response = UpdateServiceGcSafePointResponse::default();
        if let Ok(oldest) = &result {
            let now_s = (leader.now_ms() / 1000) as i64;
            response.service_id = oldest.service_id.clone().into_bytes();
            response.ttl = oldest.expired_at.saturating_sub(now_s);
            response.min_safe_point = oldest.safe_point;
        }
        response.header = self.header_of(result)?;
        Ok(Response::new(response))
    }

    async fn get_operator(&self, request: Request<GetOperatorRequest>) -> Answer<GetOperatorResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        let id = request.region_id;
        let mut response = GetOperatorResponse { header: self.header(), region_id: id, ..Default::default() };
        leader.read(|brain| {
            if let Some(operator) = brain.controller.get(id) {
                response.desc = operator.description.clone().into_bytes();
                response.status = OperatorStatus::Running as i32;
                response.kind = format!("{:?}", operator.priority).to_lowercase().into_bytes();
            } else if let Some(record) = brain.controller.records().filter(|r| r.region_id == id).last() {
                response.desc = record.operator.clone().into_bytes();
                response.status = match record.outcome.as_str() {
                    "finished" => OperatorStatus::Success,
                    text if text.contains("timeout") => OperatorStatus::Timeout,
                    text if text.contains("replaced") => OperatorStatus::Replace,
                    _ => OperatorStatus::Cancel,
                } as i32;
            } else {
                response.header = self.error_header(ErrorType::RegionNotFound, "operator not found".into());
            }
        });
        Ok(Response::new(response))
    }

    async fn split_regions(&self, request: Request<SplitRegionsRequest>) -> Answer<SplitRegionsResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        bootstrapped!(self, leader, SplitRegionsResponse);
        let total = request.split_keys.len().max(1);
        let (done, regions_id) = leader.split_at(&request.split_keys, SPLIT_WAIT).await;
        let finished_percentage = (done * 100 / total) as u64;
        Ok(Response::new(SplitRegionsResponse { header: self.header(), finished_percentage, regions_id }))
    }

    async fn get_min_ts(&self, request: Request<GetMinTsRequest>) -> Answer<GetMinTsResponse> {
        let leader = self.leader(request.get_ref().header.as_ref())?;
        let result = leader.timestamps(1).await;
        let timestamp = result.as_ref().ok().map(|ts| Timestamp {
            physical: ts.physical_ms as i64,
            logical: ts.logical as i64,
            suffix_bits: 0,
        });
        Ok(Response::new(GetMinTsResponse { header: self.header_of(result)?, timestamp }))
    }

    async fn report_min_resolved_ts(
        &self,
        request: Request<ReportMinResolvedTsRequest>,
    ) -> Answer<ReportMinResolvedTsResponse> {
        let request = request.into_inner();
        let leader = self.leader(request.header.as_ref())?;
        leader.report_min_resolved(request.store_id, request.min_resolved_ts);
        Ok(Response::new(ReportMinResolvedTsResponse { header: self.header() }))
    }
}

/// Carries a store's instructions to its stream until either ends.
fn forward(
    mut instructions: tokio::sync::mpsc::Receiver<RegionHeartbeatResponse>,
    stream: tokio::sync::mpsc::Sender<Result<RegionHeartbeatResponse, Status>>,
) {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                instruction = instructions.recv() => match instruction {
                    Some(instruction) => if stream.send(Ok(instruction)).await.is_err() { return },
                    None => return,
                },
                () = stream.closed() => return,
            }
        }
    });
}
