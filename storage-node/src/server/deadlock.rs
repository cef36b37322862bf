//! The gRPC service `deadlock.Deadlock`: the cluster's wait-for graph, on the node that leads the first region.

use std::pin::Pin;
use std::time::Instant;

use futures::{Stream, StreamExt};
use proto::deadlock::deadlock_server::{Deadlock, DeadlockServer};
use proto::deadlock::{DeadlockRequest, DeadlockResponse, WaitForEntriesRequest, WaitForEntriesResponse};
use tonic::{Request, Response, Status, Streaming};

use crate::txn::detector::Detector;

/// The service over a graph.
#[derive(Clone, Default)]
pub struct DeadlockService {
    detector: Detector,
}

impl DeadlockService {
    /// What to add to a gRPC router.
    pub fn into_server(self) -> DeadlockServer<Self> {
        DeadlockServer::new(self)
    }
}

#[tonic::async_trait]
impl Deadlock for DeadlockService {
    type DetectStream = Pin<Box<dyn Stream<Item = Result<DeadlockResponse, Status>> + Send>>;

    async fn get_wait_for_entries(
        &self,
        _: Request<WaitForEntriesRequest>,
    ) -> Result<Response<WaitForEntriesResponse>, Status> {
        Ok(Response::new(WaitForEntriesResponse { entries: self.detector.entries() }))
    }

    async fn detect(
        &self,
        request: Request<Streaming<DeadlockRequest>>,
    ) -> Result<Response<Self::DetectStream>, Status> {
        let detector = self.detector.clone();
        let found = request.into_inner().filter_map(move |request| {
            let answer = match request {
                Ok(request) => detector.take(Instant::now(), request).map(Ok),
                Err(status) => Some(Err(status)),
            };
            std::future::ready(answer)
        });
        Ok(Response::new(Box::pin(found)))
    }
}
