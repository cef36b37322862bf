//! [`GrpcPd`]: finds the PD leader, speaks to it, and finds the next one when it is gone.
//!
//! ```text
//!   endpoints (given, then all members' client URLs)
//!      └─ GetMembers on all at once: the first answer that names a leader wins
//!            └─ every call goes to the leader; a failure forgets it, waits a little and starts over until the deadline
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codec::timestamp::Timestamp;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use net::grpc::{Channels, MESSAGE_BYTES_MAX};
use parking_lot::RwLock;
use proto::pdpb::pd_client::PdClient as PdStub;
use proto::{metapb, pdpb};
use tokio::time::Instant;
use tonic::transport::Channel;

use super::tso::Tso;
use super::{PdClient, PdError, RegionHeartbeats, RegionInfo, Result, heartbeat};
use crate::trips;

/// How calls are tried.
#[derive(Clone, Debug)]
pub struct PdOptions {
    /// How long a call is tried over leader changes.
    pub deadline: Duration,
    /// How long one attempt may take.
    pub attempt: Duration,
}

impl Default for PdOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(15), attempt: Duration::from_secs(3) }
    }
}

/// Pause before the leader is looked for again, doubled up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// How long one member may take to tell who leads.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of a PD cluster. Clones share connections and the timestamp stream.
#[derive(Clone)]
pub struct GrpcPd {
    core: Arc<PdCore>,
    tso: Tso,
}

/// The leader as last found.
#[derive(Clone)]
pub(super) struct Leader {
    pub(super) stub: PdStub<Channel>,
    /// Grows with each discovery, so that a failure of an old leader does not forget the new one.
    generation: u64,
    address: String,
    /// Where it is, if it tells.
    pub(super) region: Option<Arc<str>>,
}

/// What the client's tasks share.
pub(super) struct PdCore {
    channels: Channels,
    options: PdOptions,
    cluster_id: u64,
    /// Protects the two below; never held over an await.
    state: RwLock<State>,
}

struct State {
    endpoints: Vec<String>,
    leader: Option<Leader>,
    generation: u64,
}

impl GrpcPd {
    /// Connects to a PD cluster through any of its members (`host:port` or URLs), waiting for a leader up to the
    /// deadline of the options.
    ///
    /// Boxed, so that the client is compiled here and not with everybody who connects one.
    pub fn connect(endpoints: &[String], channels: Channels) -> BoxFuture<'_, Result<Self>> {
        Box::pin(Self::connect_with(endpoints, channels, PdOptions::default()))
    }

    /// The same with other options.
    pub async fn connect_with(endpoints: &[String], channels: Channels, options: PdOptions) -> Result<Self> {
        let endpoints: Vec<String> = endpoints.iter().map(|e| normalize(e)).filter(|e| !e.is_empty()).collect();
        if endpoints.is_empty() {
            return Err(PdError::Unavailable("no PD endpoint is configured".into()));
        }
        let deadline = Instant::now() + options.deadline;
        let mut pause = RETRY_MIN;
        loop {
            match discover(&endpoints, &channels).await {
                Ok(found) => {
                    let cluster_id = found.cluster_id;
                    let state = State { endpoints, leader: None, generation: 0 };
                    let core = Arc::new(PdCore { channels, options, cluster_id, state: RwLock::new(state) });
                    core.remember(found)?;
                    return Ok(Self { tso: Tso::start(core.clone()), core });
                }
                Err(e) if Instant::now() + pause >= deadline => return Err(e),
                Err(e) => tracing::debug!("looking for the PD leader: {e}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// The leader's address, when one is known.
    pub fn leader_address(&self) -> Option<String> {
        self.core.state.read().leader.as_ref().map(|leader| leader.address.clone())
    }

    /// The members' client addresses as last seen (the given ones until the first answer).
    pub fn endpoints(&self) -> Vec<String> {
        self.core.state.read().endpoints.clone()
    }
}

/// `http://host:port/` → `host:port`; `https://` is kept, because it says something.
fn normalize(url: &str) -> String {
    url.trim().trim_end_matches('/').trim_start_matches("http://").to_string()
}

/// What GetMembers told.
struct Found {
    cluster_id: u64,
    leader: String,
    region: Option<Arc<str>>,
    endpoints: Vec<String>,
}

fn stub(channel: Channel) -> PdStub<Channel> {
    PdStub::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Asks every endpoint at once who leads.
async fn discover(endpoints: &[String], channels: &Channels) -> Result<Found> {
    let mut asked: FuturesUnordered<_> = endpoints
        .iter()
        .map(|endpoint| async move {
            let answer = async {
                let channel = channels.get(endpoint).map_err(|e| e.to_string())?;
                let response = stub(channel)
                    .get_members(pdpb::GetMembersRequest::default())
                    .await
                    .map_err(|e| e.message().to_string())?;
                Ok::<_, String>(response.into_inner())
            };
            (endpoint, tokio::time::timeout(MEMBERS_TIMEOUT, answer).await.unwrap_or(Err("no answer in time".into())))
        })
        .collect();
    let mut reasons = Vec::new();
    while let Some((endpoint, answer)) = asked.next().await {
        match answer.and_then(read_members) {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("{endpoint}: {reason}")),
        }
    }
    Err(PdError::Unavailable(reasons.join("; ")))
}

fn read_members(response: pdpb::GetMembersResponse) -> std::result::Result<Found, String> {
    let header = response.header.unwrap_or_default();
    if let Some(error) = header.error.filter(|e| e.r#type != pdpb::ErrorType::Ok as i32) {
        return Err(error.message);
    }
    let leader = response.leader.unwrap_or_default();
    let region = Some(leader.dc_location).filter(|place| !place.is_empty()).map(Arc::from);
    let leader = leader.client_urls.into_iter().next().ok_or("no leader yet")?;
    let endpoints = response.members.into_iter().filter_map(|m| m.client_urls.into_iter().next());
    Ok(Found {
        cluster_id: header.cluster_id,
        leader: normalize(&leader),
        region,
        endpoints: endpoints.map(|url| normalize(&url)).collect(),
    })
}

impl PdCore {
    fn remember(&self, found: Found) -> Result<Leader> {
        if found.cluster_id != self.cluster_id {
            return Err(PdError::OtherCluster { expected: self.cluster_id, actual: found.cluster_id });
        }
        let channel = self.channels.get(&found.leader).map_err(|e| PdError::Unavailable(e.to_string()))?;
        let mut state = self.state.write();
        state.generation += 1;
        let (generation, region) = (state.generation, found.region);
        let leader = Leader { stub: stub(channel), generation, address: found.leader, region };
        // The given endpoints stay: members may advertise addresses that do not resolve from here.
        for endpoint in found.endpoints {
            if !state.endpoints.contains(&endpoint) {
                state.endpoints.push(endpoint);
            }
        }
        state.leader = Some(leader.clone());
        Ok(leader)
    }

    /// The leader, found anew when it was forgotten.
    pub(super) async fn leader(&self) -> Result<Leader> {
        let endpoints = {
            let state = self.state.read();
            if let Some(leader) = &state.leader {
                return Ok(leader.clone());
            }
            state.endpoints.clone()
        };
        let found = discover(&endpoints, &self.channels).await?;
        self.remember(found)
    }

    /// Forgets a leader that failed, unless another was found since.
    pub(super) fn forget(&self, leader: &Leader) {
        let mut state = self.state.write();
        if state.leader.as_ref().is_some_and(|current| current.generation == leader.generation) {
            state.leader = None;
        }
    }

    /// Where the leader is, if one is known and tells.
    pub(super) fn region(&self) -> Option<Arc<str>> {
        self.state.read().leader.as_ref().and_then(|leader| leader.region.clone())
    }

    pub(super) fn options(&self) -> &PdOptions {
        &self.options
    }

    pub(super) fn header(&self) -> Option<pdpb::RequestHeader> {
        Some(pdpb::RequestHeader { cluster_id: self.cluster_id, sender_id: 0 })
    }

    /// Runs one call against the leader until it is answered, refused or the deadline passes.
    async fn call<R, F>(&self, what: &'static str, mut call: impl FnMut(PdStub<Channel>) -> F) -> Result<R>
    where
        R: HasHeader,
        F: Future<Output = std::result::Result<tonic::Response<R>, tonic::Status>>,
    {
        let deadline = Instant::now() + self.options.deadline;
        let mut pause = RETRY_MIN;
        loop {
            let reason = match self.leader().await {
                Err(e @ PdError::OtherCluster { .. }) => return Err(e),
                Err(e) => e.to_string(),
                Ok(leader) => {
                    trips::to_pd(leader.region.as_deref());
                    let answer = tokio::time::timeout(self.options.attempt, call(leader.stub.clone())).await;
                    match answer {
                        Ok(Ok(response)) => match check_header(response.get_ref().header()) {
                            Ok(()) => return Ok(response.into_inner()),
                            Err(PdError::Unavailable(reason)) => {
                                self.forget(&leader);
                                reason
                            }
                            Err(e) => return Err(e),
                        },
                        Ok(Err(status)) if is_final(&status) => {
                            return Err(PdError::Refused(format!("{what}: {}", status.message())));
                        }
                        Ok(Err(status)) => {
                            self.forget(&leader);
                            format!("{what} at {}: {}", leader.address, status.message())
                        }
                        Err(_) => {
                            self.forget(&leader);
                            format!("{what} at {}: no answer in time", leader.address)
                        }
                    }
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(PdError::Unavailable(reason));
            }
            tracing::debug!("PD call is tried again: {reason}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

/// Statuses that another leader would answer the same way.
fn is_final(status: &tonic::Status) -> bool {
    use tonic::Code;
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::OutOfRange
            | Code::AlreadyExists
            | Code::NotFound
    )
}

/// The header's error as ours. "Not leader" comes as `UNKNOWN` with a text, so every unknown that speaks of a leader
/// or of a server that is not ready counts as unavailable.
pub(super) fn check_header(header: Option<&pdpb::ResponseHeader>) -> Result<()> {
    let Some(error) = header.and_then(|h| h.error.as_ref()) else { return Ok(()) };
    let message = error.message.clone();
    match pdpb::ErrorType::try_from(error.r#type).unwrap_or(pdpb::ErrorType::Unknown) {
        pdpb::ErrorType::Ok => Ok(()),
        pdpb::ErrorType::NotBootstrapped => Err(PdError::NotBootstrapped),
        pdpb::ErrorType::AlreadyBootstrapped => Err(PdError::AlreadyBootstrapped),
        pdpb::ErrorType::StoreTombstone => Err(PdError::StoreTombstone(message)),
        pdpb::ErrorType::Unknown if is_transient(&message) => Err(PdError::Unavailable(message)),
        _ => Err(PdError::Refused(message)),
    }
}

fn is_transient(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["leader", "lease", "not started", "not ready", "unavailable"].iter().any(|word| message.contains(word))
}

/// A response whose header may carry an error.
pub(super) trait HasHeader {
    fn header(&self) -> Option<&pdpb::ResponseHeader>;
}

macro_rules! has_header {
    ($($response:ident),* $(,)?) => {
        $(impl HasHeader for pdpb::$response {
            fn header(&self) -> Option<&pdpb::ResponseHeader> {
                self.header.as_ref()
            }
        })*
    };
}

has_header!(
    AllocIdResponse,
    AskBatchSplitResponse,
    BootstrapResponse,
    GetAllStoresResponse,
    GetGcSafePointResponse,
    GetMembersResponse,
    GetOperatorResponse,
    GetRegionResponse,
    GetStoreResponse,
    IsBootstrappedResponse,
    PutStoreResponse,
    ReportBatchSplitResponse,
    ReportMinResolvedTsResponse,
    ScanRegionsResponse,
    ScatterRegionResponse,
    StoreHeartbeatResponse,
    UpdateGcSafePointResponse,
    UpdateServiceGcSafePointResponse,
);

/// `call!(self, method, Request { fields })`: fills in the header and runs the call.
macro_rules! call {
    ($self:ident, $method:ident, $request:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        #[allow(clippy::needless_update)] // some requests have no other fields
        let request = pdpb::$request { header: $self.core.header(), $($field: $value,)* ..Default::default() };
        $self.core.call(stringify!($method), move |mut stub| {
            let request = request.clone();
            async move { stub.$method(request).await }
        })
    }};
}

fn region_info(response: pdpb::GetRegionResponse) -> Option<RegionInfo> {
    Some(RegionInfo {
        region: response.region?,
        leader: response.leader.filter(|leader| leader.id != 0),
        down_peers: response.down_peers,
        pending_peers: response.pending_peers,
    })
}

/// A missing thing is an answer, not a failure.
fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(PdError::Refused(message)) if message.to_ascii_lowercase().contains("not found") => Ok(None),
        Err(e) => Err(e),
    }
}

#[async_trait]
impl PdClient for GrpcPd {
    fn cluster_id(&self) -> u64 {
        self.core.cluster_id
    }

    async fn timestamp(&self) -> Result<Timestamp> {
        self.tso.timestamp().await
    }

    async fn is_bootstrapped(&self) -> Result<bool> {
        Ok(call!(self, is_bootstrapped, IsBootstrappedRequest {}).await?.bootstrapped)
    }

    async fn bootstrap(&self, store: metapb::Store, region: metapb::Region) -> Result<()> {
        call!(self, bootstrap, BootstrapRequest { store: Some(store), region: Some(region) }).await.map(drop)
    }

    async fn alloc_id(&self) -> Result<u64> {
        Ok(call!(self, alloc_id, AllocIdRequest {}).await?.id)
    }

    async fn put_store(&self, store: metapb::Store) -> Result<()> {
        call!(self, put_store, PutStoreRequest { store: Some(store) }).await.map(drop)
    }

    async fn get_store(&self, store_id: u64) -> Result<Option<metapb::Store>> {
        let response = call!(self, get_store, GetStoreRequest { store_id: store_id }).await;
        Ok(found(response)?.and_then(|r| r.store))
    }

    async fn get_all_stores(&self, exclude_tombstones: bool) -> Result<Vec<metapb::Store>> {
        let exclude = exclude_tombstones;
        Ok(call!(self, get_all_stores, GetAllStoresRequest { exclude_tombstone_stores: exclude }).await?.stores)
    }

    async fn store_heartbeat(&self, stats: pdpb::StoreStats) -> Result<pdpb::StoreHeartbeatResponse> {
        call!(self, store_heartbeat, StoreHeartbeatRequest { stats: Some(stats) }).await
    }

    fn region_heartbeats(&self) -> RegionHeartbeats {
        heartbeat::start(self.core.clone())
    }

    async fn ask_batch_split(&self, region: metapb::Region, count: u32) -> Result<Vec<pdpb::SplitId>> {
        Ok(call!(self, ask_batch_split, AskBatchSplitRequest { region: Some(region), split_count: count }).await?.ids)
    }

    async fn report_batch_split(&self, regions: Vec<metapb::Region>) -> Result<()> {
        call!(self, report_batch_split, ReportBatchSplitRequest { regions: regions }).await.map(drop)
    }

    async fn get_region(&self, key: &[u8]) -> Result<Option<RegionInfo>> {
        let response = call!(self, get_region, GetRegionRequest { region_key: key.to_vec() }).await;
        Ok(found(response)?.and_then(region_info))
    }

    async fn get_prev_region(&self, key: &[u8]) -> Result<Option<RegionInfo>> {
        let response = call!(self, get_prev_region, GetRegionRequest { region_key: key.to_vec() }).await;
        Ok(found(response)?.and_then(region_info))
    }

    async fn get_region_by_id(&self, region_id: u64) -> Result<Option<RegionInfo>> {
        let response = call!(self, get_region_by_id, GetRegionByIdRequest { region_id: region_id }).await;
        Ok(found(response)?.and_then(region_info))
    }

    async fn scan_regions(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<RegionInfo>> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let request = call!(
            self,
            scan_regions,
            ScanRegionsRequest { start_key: start.to_vec(), end_key: end.to_vec(), limit: limit }
        );
        let response = request.await?;
        if !response.regions.is_empty() {
            let infos = response.regions.into_iter().filter_map(|r| {
                Some(RegionInfo {
                    region: r.region?,
                    leader: r.leader.filter(|leader| leader.id != 0),
                    down_peers: r.down_peers,
                    pending_peers: r.pending_peers,
                })
            });
            return Ok(infos.collect());
        }
        // Older servers fill the two parallel lists only.
        let leaders = response.leaders.into_iter().map(Some).chain(std::iter::repeat(None));
        let infos = response.region_metas.into_iter().zip(leaders).map(|(region, leader)| RegionInfo {
            region,
            leader: leader.filter(|leader| leader.id != 0),
            ..RegionInfo::default()
        });
        Ok(infos.collect())
    }

    async fn scatter_regions(&self, region_ids: Vec<u64>) -> Result<()> {
        call!(self, scatter_region, ScatterRegionRequest { regions_id: region_ids, retry_limit: 3 }).await.map(drop)
    }

    async fn get_operator(&self, region_id: u64) -> Result<pdpb::GetOperatorResponse> {
        call!(self, get_operator, GetOperatorRequest { region_id: region_id }).await
    }

    async fn gc_safe_point(&self) -> Result<Timestamp> {
        Ok(Timestamp(call!(self, get_gc_safe_point, GetGcSafePointRequest {}).await?.safe_point))
    }

    async fn update_gc_safe_point(&self, safe_point: Timestamp) -> Result<Timestamp> {
        let request = call!(self, update_gc_safe_point, UpdateGcSafePointRequest { safe_point: safe_point.0 });
        Ok(Timestamp(request.await?.new_safe_point))
    }

    async fn update_service_gc_safe_point(
        &self,
        service_id: &str,
        ttl_seconds: i64,
        safe_point: Timestamp,
    ) -> Result<Timestamp> {
        let request = call!(
            self,
            update_service_gc_safe_point,
            UpdateServiceGcSafePointRequest {
                service_id: service_id.as_bytes().to_vec(),
                ttl: ttl_seconds,
                safe_point: safe_point.0,
            }
        );
        Ok(Timestamp(request.await?.min_safe_point))
    }

    async fn report_min_resolved_ts(&self, store_id: u64, min_resolved_ts: Timestamp) -> Result<()> {
        let ts = min_resolved_ts.0;
        let request =
            call!(self, report_min_resolved_ts, ReportMinResolvedTsRequest { store_id: store_id, min_resolved_ts: ts });
        request.await.map(drop)
    }

    async fn members(&self) -> Result<pdpb::GetMembersResponse> {
        call!(self, get_members, GetMembersRequest {}).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: pdpb::ErrorType, message: &str) -> Option<pdpb::ResponseHeader> {
        Some(pdpb::ResponseHeader {
            cluster_id: 1,
            error: Some(pdpb::Error { r#type: kind as i32, message: message.into() }),
        })
    }

    #[test]
    fn header_errors_say_what_to_do_next() {
        use pdpb::ErrorType as T;
        assert!(check_header(None).is_ok());
        assert!(check_header(header(T::Ok, "").as_ref()).is_ok());
        let of = |kind, message| check_header(header(kind, message).as_ref()).unwrap_err();
        assert!(matches!(of(T::NotBootstrapped, ""), PdError::NotBootstrapped));
        assert!(matches!(of(T::Unknown, "is not leader"), PdError::Unavailable(_)));
        assert!(matches!(of(T::Unknown, "bad rule"), PdError::Refused(_)));
    }

    #[test]
    fn urls_become_addresses() {
        assert_eq!(normalize(" http://127.0.0.1:2379/ "), "127.0.0.1:2379");
        assert_eq!(normalize("pd:2379"), "pd:2379");
        assert_eq!(normalize("https://pd:2379"), "https://pd:2379");
    }

    #[tokio::test]
    async fn no_pd_is_reported_with_its_address_within_the_deadline() {
        let options = PdOptions { deadline: Duration::from_millis(50), attempt: Duration::from_millis(50) };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error =
            GrpcPd::connect_with(std::slice::from_ref(&address), Channels::default(), options).await.err().unwrap();
        assert!(error.to_string().contains(&address), "{error}");
    }
}
