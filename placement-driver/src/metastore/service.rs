//! etcd's gRPC services over a [`Metastore`]: KV, Watch, Lease, Cluster and Maintenance, as far as declared.
//!
//! A watch is a cursor over the state's history: a task per stream wakes when the revision moves, reads what is new
//! for each of its watches and sends it. A slow client therefore costs nothing but its own delay, and falls out with
//! "compacted" if the history it needs is forgotten.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use proto::etcdserverpb::cluster_server::{Cluster, ClusterServer};
use proto::etcdserverpb::kv_server::{Kv, KvServer};
use proto::etcdserverpb::lease_server::{Lease, LeaseServer};
use proto::etcdserverpb::maintenance_server::{Maintenance, MaintenanceServer};
use proto::etcdserverpb::watch_server::{Watch, WatchServer};
use proto::etcdserverpb::*;
use proto::meridian_pd::{LeaseRequest, proposal::Command};
use proto::mvccpb::event::EventType;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::Metastore;
use super::raft::StoreError;
use super::state::{Answer, EtcdError};

/// The etcd release whose behaviour is followed.
const ETCD_VERSION: &str = "3.4.35";
/// Largest request, in bytes, as etcd's `--max-request-bytes`.
const REQUEST_BYTES_MAX: usize = 1_536 * 1024;
/// Events in one watch response.
const WATCH_EVENTS_MAX: usize = 1_000;
/// Watches on one stream. More are refused.
const WATCHES_MAX: usize = 10_000;
/// Responses waiting for one client. When full, its cursor waits.
const RESPONSES_MAX: usize = 64;
/// How often a quiet watch that asked for it hears the revision.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// All of etcd's services for one member.
#[derive(Clone)]
pub struct EtcdService(Metastore);

impl EtcdService {
    /// Adds the services to a port's routes.
    pub fn add_to(store: Metastore, routes: tonic::service::Routes) -> tonic::service::Routes {
        let service = EtcdService(store);
        routes
            .add_service(KvServer::new(service.clone()))
            .add_service(WatchServer::new(service.clone()))
            .add_service(LeaseServer::new(service.clone()))
            .add_service(ClusterServer::new(service.clone()))
            .add_service(MaintenanceServer::new(service))
    }

    async fn run(&self, command: Command, size: usize) -> Result<Answer, Status> {
        if size > REQUEST_BYTES_MAX {
            return Err(StoreError::TooLarge.into());
        }
        if matches!(command, Command::Put(_) | Command::Txn(_) | Command::LeaseGrant(_)) {
            self.0.watch_quota().await?;
        }
        Ok(self.0.propose(command).await?)
    }

    /// Completes the header that the state machine began.
    fn header(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |h| h.revision);
        *header = Some(self.0.header(revision));
    }

    fn now(&self) -> Option<ResponseHeader> {
        Some(self.0.header(self.0.read_state(|s| s.revision())))
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Status {
        let code = match &error {
            StoreError::Refused(refusal) => match refusal {
                EtcdError::Compacted | EtcdError::FutureRevision | EtcdError::LeaseTtlTooLarge => Code::OutOfRange,
                EtcdError::LeaseNotFound => Code::NotFound,
                EtcdError::LeaseExists => Code::FailedPrecondition,
                EtcdError::NoSpace => Code::ResourceExhausted,
                _ => Code::InvalidArgument,
            },
            StoreError::TooLarge => Code::InvalidArgument,
            StoreError::Busy => Code::ResourceExhausted,
            StoreError::NoLeader | StoreError::Timeout | StoreError::Stopped => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

fn wrong_answer() -> Status {
    Status::internal("etcdserver: the state machine answered another request")
}

#[tonic::async_trait]
impl Kv for EtcdService {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let request = request.into_inner();
        if !request.serializable {
            self.0.read_barrier().await?;
        }
        let mut response = self.0.read_state(|state| state.range(&request)).map_err(StoreError::Refused)?;
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        let size = request.encoded_len();
        let Answer::Put(mut response) = self.run(Command::Put(request), size).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let request = request.into_inner();
        let size = request.encoded_len();
        let Answer::DeleteRange(mut response) = self.run(Command::DeleteRange(request), size).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        let size = request.encoded_len();
        let Answer::Txn(mut response) = self.run(Command::Txn(request), size).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        let Answer::Compaction(mut response) = self.run(Command::Compaction(request.into_inner()), 0).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for EtcdService {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        let mut request = request.into_inner();
        if request.id == 0 {
            // Positive, and unlike any other: chosen before the log, so that all members agree.
            request.id = (rand::random::<u64>() >> 1).max(1) as i64;
        }
        let Answer::LeaseGrant(mut response) = self.run(Command::LeaseGrant(request), 0).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let Answer::LeaseRevoke(mut response) = self.run(Command::LeaseRevoke(request.into_inner()), 0).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    type LeaseKeepAliveStream = Responses<LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let service = self.clone();
        let responses = request.into_inner().then(move |request| {
            let service = service.clone();
            async move {
                let id = request?.id;
                let lease = service.0.lease(LeaseRequest { id, renew: true }).await?;
                // A lease that is over is answered with no time left, not with an error.
                let ttl = if lease.found { lease.granted_ttl } else { 0 };
                Ok(LeaseKeepAliveResponse { header: service.now(), id, ttl })
            }
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let lease = self.0.lease(LeaseRequest { id, renew: false }).await?;
        let mut response = LeaseTimeToLiveResponse { header: self.now(), id, ttl: -1, ..Default::default() };
        if lease.found {
            (response.ttl, response.granted_ttl) = (lease.remaining_ttl, lease.granted_ttl);
            if keys {
                self.0.read_barrier().await?;
                response.keys = self.0.read_state(|state| state.lease_keys(id)).unwrap_or_default();
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(&self, _: Request<LeaseLeasesRequest>) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.0.read_barrier().await?;
        let leases = self.0.read_state(|state| state.leases().map(|(id, _)| LeaseStatus { id }).collect());
        Ok(Response::new(LeaseLeasesResponse { header: self.now(), leases }))
    }
}

#[tonic::async_trait]
impl Cluster for EtcdService {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        if request.into_inner().linearizable {
            self.0.read_barrier().await?;
        }
        Ok(Response::new(MemberListResponse { header: self.now(), members: self.0.members() }))
    }
}

#[tonic::async_trait]
impl Maintenance for EtcdService {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let Answer::Alarm(mut response) = self.run(Command::Alarm(request.into_inner()), 0).await? else {
            return Err(wrong_answer());
        };
        self.header(&mut response.header);
        Ok(Response::new(response))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = self.0.status();
        let (bytes, full) = self.0.read_state(|state| (state.bytes() as i64, state.is_full()));
        let mut errors = Vec::new();
        if status.leader == 0 {
            errors.push(StoreError::NoLeader.to_string());
        }
        if full {
            // As etcdctl shows it.
            errors.push("alarm:NOSPACE".into());
        }
        Ok(Response::new(StatusResponse {
            header: self.now(),
            version: ETCD_VERSION.into(),
            db_size: bytes,
            db_size_in_use: bytes,
            db_size_quota: self.0.quota_bytes() as i64,
            leader: status.leader,
            raft_index: status.last,
            raft_term: status.term,
            raft_applied_index: status.applied,
            errors,
            ..Default::default()
        }))
    }
}

#[tonic::async_trait]
impl Watch for EtcdService {
    type WatchStream = Responses<WatchResponse>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(RESPONSES_MAX);
        let stream =
            WatchStreamTask { service: self.clone(), sender: sender.clone(), watches: BTreeMap::new(), next_id: 0 };
        let requests = request.into_inner();
        tokio::spawn(async move {
            tokio::select! {
                // An end of the stream by either side is no error.
                _ = stream.run(requests) => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver).map(Ok))))
    }
}

struct WatchState {
    create: WatchCreateRequest,
    /// The first revision not yet sent.
    next: i64,
}

struct WatchStreamTask {
    service: EtcdService,
    sender: mpsc::Sender<WatchResponse>,
    watches: BTreeMap<i64, WatchState>,
    next_id: i64,
}

/// The client went away.
struct Gone;

impl WatchStreamTask {
    async fn run(mut self, mut requests: Streaming<WatchRequest>) -> Result<(), Gone> {
        let mut revisions = self.service.0.revisions();
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        progress.tick().await;
        loop {
            tokio::select! {
                request = requests.next() => match request {
                    Some(Ok(request)) => self.request(request).await?,
                    _ => return Ok(()),
                },
                changed = revisions.changed() => if changed.is_err() { return Ok(()) },
                _ = progress.tick() => {
                    let asked = self.watches.iter().filter(|(_, w)| w.create.progress_notify);
                    let ids: Vec<i64> = asked.map(|(id, _)| *id).collect();
                    for id in ids {
                        self.send(WatchResponse { watch_id: id, ..Default::default() }).await?;
                    }
                }
            }
            revisions.borrow_and_update();
            self.catch_up().await?;
        }
    }

    async fn request(&mut self, request: WatchRequest) -> Result<(), Gone> {
        match request.request_union {
            Some(watch_request::RequestUnion::CreateRequest(create)) => self.create(create).await,
            Some(watch_request::RequestUnion::CancelRequest(cancel)) => {
                let known = self.watches.remove(&cancel.watch_id).is_some();
                let response = WatchResponse { watch_id: cancel.watch_id, canceled: true, ..Default::default() };
                if known { self.send(response).await } else { Ok(()) }
            }
            Some(watch_request::RequestUnion::ProgressRequest(_)) => {
                self.catch_up().await?;
                self.send(WatchResponse { watch_id: -1, ..Default::default() }).await
            }
            None => Ok(()),
        }
    }

    async fn create(&mut self, mut create: WatchCreateRequest) -> Result<(), Gone> {
        let refuse = |id, reason: &str| WatchResponse {
            watch_id: id,
            created: true,
            canceled: true,
            cancel_reason: reason.into(),
            ..Default::default()
        };
        if create.watch_id != 0 && self.watches.contains_key(&create.watch_id) {
            return self.send(refuse(-1, "etcdserver: mvcc: duplicate watch ID provided on the WatchStream")).await;
        }
        if self.watches.len() >= WATCHES_MAX {
            return self.send(refuse(-1, "etcdserver: too many watches on one stream")).await;
        }
        if create.key.is_empty() {
            // etcd's clients send an empty key for "from the first key on".
            create.key = vec![0];
        }
        let id = if create.watch_id != 0 {
            create.watch_id
        } else {
            while self.watches.contains_key(&self.next_id) {
                self.next_id += 1;
            }
            self.next_id += 1;
            self.next_id - 1
        };
        // Answered with the revision that the watch begins after, so that a client can tell what it has missed.
        let revision = self.service.0.read_state(|state| state.revision());
        let next = if create.start_revision > 0 { create.start_revision } else { revision + 1 };
        self.watches.insert(id, WatchState { create, next });
        let header = Some(self.service.0.header(revision));
        let created = WatchResponse { header, watch_id: id, created: true, ..Default::default() };
        self.sender.send(created).await.map_err(|_| Gone)
    }

    async fn catch_up(&mut self) -> Result<(), Gone> {
        let ids: Vec<i64> = self.watches.keys().copied().collect();
        for id in ids {
            while self.advance(id).await? {}
        }
        Ok(())
    }

    /// Sends one response of what is new for a watch; true if there may be more.
    async fn advance(&mut self, id: i64) -> Result<bool, Gone> {
        let Some(watch) = self.watches.get_mut(&id) else { return Ok(false) };
        let create = &watch.create;
        let (read, revision, compacted) = self.service.0.read_state(|state| {
            let read = if watch.next > state.revision() {
                Ok((Vec::new(), watch.next))
            } else {
                state.events(watch.next, &create.key, &create.range_end, create.prev_kv, WATCH_EVENTS_MAX)
            };
            (read, state.revision(), state.compacted())
        });
        let Ok((mut events, next)) = read else {
            self.watches.remove(&id);
            let response = WatchResponse {
                watch_id: id,
                canceled: true,
                compact_revision: compacted,
                cancel_reason: EtcdError::Compacted.to_string(),
                ..Default::default()
            };
            self.send(response).await?;
            return Ok(false);
        };
        watch.next = next;
        events.retain(|event| {
            let filter = if event.r#type == EventType::Put as i32 {
                watch_create_request::FilterType::Noput
            } else {
                watch_create_request::FilterType::Nodelete
            };
            !create.filters.contains(&(filter as i32))
        });
        let more = next <= revision;
        if !events.is_empty() {
            let header = Some(self.service.0.header(next.min(revision + 1) - 1));
            let response = WatchResponse { header, watch_id: id, events, ..Default::default() };
            self.sender.send(response).await.map_err(|_| Gone)?;
        }
        Ok(more)
    }

    async fn send(&self, mut response: WatchResponse) -> Result<(), Gone> {
        response.header = self.service.now();
        self.sender.send(response).await.map_err(|_| Gone)
    }
}
