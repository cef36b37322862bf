//! etcd's services on the client port when the metadata is in an external etcd: every call is passed on.
//!
//! SQL servers and tools that coordinate through PD's endpoints thus need not know where the metadata is. Only the
//! declared fields and methods pass; authentication does not.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{Stream, StreamExt as _};
use net::grpc::Channels;
use proto::etcdserverpb::cluster_client::ClusterClient;
use proto::etcdserverpb::cluster_server::{Cluster, ClusterServer};
use proto::etcdserverpb::kv_client::KvClient;
use proto::etcdserverpb::kv_server::{Kv, KvServer};
use proto::etcdserverpb::lease_client::LeaseClient;
use proto::etcdserverpb::lease_server::{Lease, LeaseServer};
use proto::etcdserverpb::maintenance_client::MaintenanceClient;
use proto::etcdserverpb::maintenance_server::{Maintenance, MaintenanceServer};
use proto::etcdserverpb::watch_client::WatchClient;
use proto::etcdserverpb::watch_server::{Watch, WatchServer};
use proto::etcdserverpb::*;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

/// Passes calls on to an external etcd.
#[derive(Clone)]
pub struct EtcdProxy {
    channels: Channels,
    endpoints: Arc<Vec<String>>,
    /// The endpoint used until it fails.
    current: Arc<AtomicUsize>,
}

impl EtcdProxy {
    /// Adds the services to a port's routes.
    pub fn add_to(
        channels: Channels,
        endpoints: Vec<String>,
        routes: tonic::service::Routes,
    ) -> tonic::service::Routes {
        let proxy = EtcdProxy { channels, endpoints: Arc::new(endpoints), current: Arc::default() };
        routes
            .add_service(KvServer::new(proxy.clone()))
            .add_service(WatchServer::new(proxy.clone()))
            .add_service(LeaseServer::new(proxy.clone()))
            .add_service(ClusterServer::new(proxy.clone()))
            .add_service(MaintenanceServer::new(proxy))
    }

    fn channel(&self) -> Result<Channel, Status> {
        let at = self.current.load(Ordering::Relaxed) % self.endpoints.len().max(1);
        let endpoint = self.endpoints.get(at).ok_or_else(|| Status::unavailable("no external etcd"))?;
        self.channels.get(endpoint).map_err(|e| Status::unavailable(e.to_string()))
    }

    /// The next call goes elsewhere if this one met an endpoint that doesn't answer; etcd's clients repeat calls.
    fn judge<T>(&self, result: Result<T, Status>) -> Result<T, Status> {
        if result.as_ref().is_err_and(|status| status.code() == Code::Unavailable) {
            self.current.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A client's requests until its stream breaks, which ends the stream to etcd, too.
fn requests<T: Send + 'static>(stream: Streaming<T>) -> impl Stream<Item = T> + Send + 'static {
    stream.take_while(|request| futures::future::ready(request.is_ok())).filter_map(|r| futures::future::ready(r.ok()))
}

macro_rules! pass {
    ($self:ident, $client:ident, $method:ident, $request:ident) => {{
        let mut client = $client::new($self.channel()?).max_decoding_message_size(net::grpc::MESSAGE_BYTES_MAX);
        $self.judge(client.$method($request.into_inner()).await)
    }};
}

#[tonic::async_trait]
impl Kv for EtcdProxy {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        pass!(self, KvClient, range, request)
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        pass!(self, KvClient, put, request)
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        pass!(self, KvClient, delete_range, request)
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        pass!(self, KvClient, txn, request)
    }

    async fn compact(&self, request: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        pass!(self, KvClient, compact, request)
    }
}

#[tonic::async_trait]
impl Lease for EtcdProxy {
    async fn lease_grant(&self, request: Request<LeaseGrantRequest>) -> Result<Response<LeaseGrantResponse>, Status> {
        pass!(self, LeaseClient, lease_grant, request)
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        pass!(self, LeaseClient, lease_revoke, request)
    }

    type LeaseKeepAliveStream = Responses<LeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let mut client = LeaseClient::new(self.channel()?);
        let answers = self.judge(client.lease_keep_alive(requests(request.into_inner())).await)?;
        Ok(Response::new(Box::pin(answers.into_inner())))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        pass!(self, LeaseClient, lease_time_to_live, request)
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        pass!(self, LeaseClient, lease_leases, request)
    }
}

#[tonic::async_trait]
impl Watch for EtcdProxy {
    type WatchStream = Responses<WatchResponse>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Self::WatchStream>, Status> {
        let mut client = WatchClient::new(self.channel()?).max_decoding_message_size(net::grpc::MESSAGE_BYTES_MAX);
        let answers = self.judge(client.watch(requests(request.into_inner())).await)?;
        Ok(Response::new(Box::pin(answers.into_inner())))
    }
}

#[tonic::async_trait]
impl Cluster for EtcdProxy {
    async fn member_list(&self, request: Request<MemberListRequest>) -> Result<Response<MemberListResponse>, Status> {
        pass!(self, ClusterClient, member_list, request)
    }
}

#[tonic::async_trait]
impl Maintenance for EtcdProxy {
    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        self.judge(MaintenanceClient::new(self.channel()?).alarm(request).await)
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        pass!(self, MaintenanceClient, status, request)
    }
}
