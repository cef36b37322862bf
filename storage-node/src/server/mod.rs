//! The gRPC service `tikvpb.Tikv`: requests in, [`Storage`] calls, responses out.
//!
//! Protobuf stops here: [`convert`] turns messages into inner types and errors into messages, [`handlers`] has one
//! function per request, [`batch`] runs many of them over one stream, and this file declares the service.
//! `TikvService` knows neither Raft nor MVCC: it has a [`Storage`], the Raft store's [`RaftCalls`] and a
//! [`Coprocessor`].

mod batch;
mod convert;
mod deadlock;
mod handlers;

pub use deadlock::DeadlockService;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use proto::coprocessor::{Request as CopRequest, Response as CopResponse};
use proto::kvrpcpb::*;
use proto::raft_serverpb::{Done, RaftMessage, SnapshotChunk};
use proto::tikvpb::batch_commands_request::request;
use proto::tikvpb::batch_commands_response::response;
use proto::tikvpb::tikv_server::{Tikv, TikvServer};
use proto::tikvpb::{BatchCommandsRequest, BatchRaftMessage};
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::mvcc::ReadView;
use crate::replication::{RaftCalls, Replication};
use crate::txn::Storage;

/// The largest request or response, in bytes: a Raft snapshot chunk or a large batch fits, nonsense does not.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Runs pushed-down work over a view of one region. It blocks its thread while it runs.
pub trait Coprocessor: Send + Sync + 'static {
    /// Answers a request; the view is at the request's timestamp and cut to the region.
    fn handle(&self, request: &CopRequest, view: &dyn ReadView) -> CopResponse;
}

pub(crate) use convert::lock_info;

/// Refuses all pushed-down work.
pub struct NoCoprocessor;

impl Coprocessor for NoCoprocessor {
    fn handle(&self, _: &CopRequest, _: &dyn ReadView) -> CopResponse {
        CopResponse { other_error: "this node runs no coprocessor".into(), ..CopResponse::default() }
    }
}

/// The service. Clones share everything.
pub struct TikvService<R: Replication, C> {
    storage: Storage<R>,
    raft: C,
    coprocessor: Arc<dyn Coprocessor>,
    /// Pushed-down work that may run at a time: one per core, so that point reads keep a share.
    coprocessor_slots: Arc<Semaphore>,
}

impl<R: Replication, C: Clone> Clone for TikvService<R, C> {
    fn clone(&self) -> Self {
        TikvService {
            storage: self.storage.clone(),
            raft: self.raft.clone(),
            coprocessor: self.coprocessor.clone(),
            coprocessor_slots: self.coprocessor_slots.clone(),
        }
    }
}

impl<R: Replication, C: RaftCalls> TikvService<R, C> {
    /// A service over a storage, the Raft store and a coprocessor.
    pub fn new(storage: Storage<R>, raft: C, coprocessor: Arc<dyn Coprocessor>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        TikvService { storage, raft, coprocessor, coprocessor_slots: Arc::new(Semaphore::new(cores)) }
    }

    /// Executes one command of a [`batch`]: for callers that have no connection, such as a simulation.
    pub async fn execute(&self, request: request::Cmd) -> response::Cmd {
        batch::answer(self.clone(), request).await
    }

    /// Serves the commands of a [`batch`] to clients on this machine, until the token is cancelled; those that are under way
    /// then have `grace` to end.
    pub async fn serve_local(self, listener: UnixListener, grace: Duration, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.map(|(stream, _)| stream),
                () = shutdown.cancelled() => break,
            };
            match stream {
                Ok(stream) => {
                    let (service, shutdown) = (self.clone(), shutdown.clone());
                    connections.spawn(async move {
                        if let Err(e) = batch::serve_frames(service, stream, grace, shutdown).await {
                            tracing::debug!("a connection on this machine: {e}");
                        }
                    });
                }
                Err(e) => {
                    tracing::warn!("accept: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    /// What to add to a gRPC router.
    pub fn into_server(self) -> TikvServer<Self> {
        TikvServer::new(self).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// A stream of responses.
type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service's methods: for unary calls the handler of the same name does the work, the others are written out.
macro_rules! service {
    ($($method:ident: $request:ident => $response:ident,)* ; $($other:tt)*) => {
        #[tonic::async_trait]
        impl<R: Replication, C: RaftCalls> Tikv for TikvService<R, C> {
            $(
                async fn $method(&self, request: Request<$request>) -> Result<Response<$response>, Status> {
                    Ok(Response::new(handlers::$method(self, request.into_inner()).await))
                }
            )*

            $($other)*
        }
    };
}

service! {
    kv_get: GetRequest => GetResponse,
    kv_scan: ScanRequest => ScanResponse,
    kv_prewrite: PrewriteRequest => PrewriteResponse,
    kv_pessimistic_lock: PessimisticLockRequest => PessimisticLockResponse,
    kv_pessimistic_rollback: PessimisticRollbackRequest => PessimisticRollbackResponse,
    kv_txn_heart_beat: TxnHeartBeatRequest => TxnHeartBeatResponse,
    kv_check_txn_status: CheckTxnStatusRequest => CheckTxnStatusResponse,
    kv_check_secondary_locks: CheckSecondaryLocksRequest => CheckSecondaryLocksResponse,
    kv_commit: CommitRequest => CommitResponse,
    kv_cleanup: CleanupRequest => CleanupResponse,
    kv_batch_get: BatchGetRequest => BatchGetResponse,
    kv_batch_rollback: BatchRollbackRequest => BatchRollbackResponse,
    kv_scan_lock: ScanLockRequest => ScanLockResponse,
    kv_resolve_lock: ResolveLockRequest => ResolveLockResponse,
    kv_gc: GcRequest => GcResponse,
    kv_delete_range: DeleteRangeRequest => DeleteRangeResponse,
    raw_get: RawGetRequest => RawGetResponse,
    raw_batch_get: RawBatchGetRequest => RawBatchGetResponse,
    raw_put: RawPutRequest => RawPutResponse,
    raw_batch_put: RawBatchPutRequest => RawBatchPutResponse,
    raw_delete: RawDeleteRequest => RawDeleteResponse,
    raw_batch_delete: RawBatchDeleteRequest => RawBatchDeleteResponse,
    raw_scan: RawScanRequest => RawScanResponse,
    raw_delete_range: RawDeleteRangeRequest => RawDeleteRangeResponse,
    raw_batch_scan: RawBatchScanRequest => RawBatchScanResponse,
    raw_compare_and_swap: RawCasRequest => RawCasResponse,
    raw_get_key_ttl: RawGetKeyTtlRequest => RawGetKeyTtlResponse,
    split_region: SplitRegionRequest => SplitRegionResponse,
    read_index: ReadIndexRequest => ReadIndexResponse,
    mvcc_get_by_key: MvccGetByKeyRequest => MvccGetByKeyResponse,
    mvcc_get_by_start_ts: MvccGetByStartTsRequest => MvccGetByStartTsResponse,
    coprocessor: CopRequest => CopResponse,

    ;

    type CoprocessorStreamStream = ResponseStream<CopResponse>;
    type BatchCommandsStream = batch::Replies;

    async fn coprocessor_stream(
        &self,
        _: Request<CopRequest>,
    ) -> Result<Response<Self::CoprocessorStreamStream>, Status> {
        Err(Status::unimplemented("streamed coprocessor responses: use paging"))
    }

    async fn unsafe_destroy_range(
        &self,
        _: Request<UnsafeDestroyRangeRequest>,
    ) -> Result<Response<UnsafeDestroyRangeResponse>, Status> {
        Err(Status::unimplemented("UnsafeDestroyRange: use DeleteRange"))
    }

    async fn get_store_safe_ts(
        &self,
        _: Request<StoreSafeTsRequest>,
    ) -> Result<Response<StoreSafeTsResponse>, Status> {
        Err(Status::unimplemented("GetStoreSafeTS: stale reads are not served"))
    }

    async fn raft(&self, request: Request<Streaming<RaftMessage>>) -> Result<Response<Done>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            self.raft.deliver(message);
        }
        Ok(Response::new(Done {}))
    }

    async fn batch_raft(&self, request: Request<Streaming<BatchRaftMessage>>) -> Result<Response<Done>, Status> {
        let mut batches = request.into_inner();
        while let Some(batch) = batches.message().await? {
            batch.msgs.into_iter().for_each(|message| self.raft.deliver(message));
        }
        Ok(Response::new(Done {}))
    }

    async fn snapshot(&self, request: Request<Streaming<SnapshotChunk>>) -> Result<Response<Done>, Status> {
        let chunks = request.into_inner().map(|chunk| chunk.map_err(|status| status.to_string()));
        self.raft.receive_snapshot(Box::pin(chunks)).await.map_err(Status::aborted)?;
        Ok(Response::new(Done {}))
    }

    async fn batch_commands(
        &self,
        request: Request<Streaming<BatchCommandsRequest>>,
    ) -> Result<Response<Self::BatchCommandsStream>, Status> {
        Ok(Response::new(batch::serve(self.clone(), request.into_inner())))
    }
}
