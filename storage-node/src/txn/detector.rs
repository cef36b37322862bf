//! Deadlocks over several nodes: each node tells its waits to the one that leads the first region, over one stream.
//!
//! ```text
//! node 1: t1 waits for t2 ──┐
//!                           ├──▶ detector: t1 → t2 → t1 is a circle ──▶ node 2: t2's wait ends with an error
//! node 2: t2 waits for t1 ──┘
//! ```
//!
//! It is best effort: what is lost with a stream, a full queue or a change of leader is told again by the waits that go
//! on, since no wait lasts longer than a second on its node, and clients ask again. At worst a lock wait times out.
//! Nothing is sent, and no stream is open, until somebody waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::timestamp::Timestamp;
use parking_lot::Mutex;
use proto::deadlock::deadlock_client::DeadlockClient;
use proto::deadlock::{DeadlockRequest, DeadlockRequestType, DeadlockResponse, WaitForEntry};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::deadlock::{ClusterGraph, WaitEdge};
use super::storage::{Storage, WaitListener};
use crate::replication::Replication;

/// Waits and ends of waits that are not sent yet; more are dropped.
const QUEUE: usize = 4096;

/// A stream is opened anew after this time, in case that another node leads the first region by now.
const STREAM_AGE_MAX: Duration = Duration::from_secs(10);

/// After a failure nothing is sent for this long.
const PAUSE: Duration = Duration::from_millis(500);

/// Finds the node that keeps the cluster's graph.
#[async_trait::async_trait]
pub trait DetectorLocator: Send + Sync + 'static {
    /// A connection to the leader of the first region; none when it is not known.
    async fn locate(&self) -> Option<tonic::transport::Channel>;
}

/// The cluster's graph, kept by every node and used on the one that leads the first region.
#[derive(Clone, Default)]
pub struct Detector(Arc<Mutex<ClusterGraph>>);

impl Detector {
    /// Takes what a node tells; answers when that closes a circle.
    pub fn take(&self, now: Instant, request: DeadlockRequest) -> Option<DeadlockResponse> {
        let kind = request.tp();
        let entry = request.entry?;
        let edge = edge_from_proto(&entry);
        let mut graph = self.0.lock();
        match kind {
            DeadlockRequestType::CleanUpWaitFor => graph.end(edge),
            DeadlockRequestType::CleanUp => graph.end_all(edge.waiter),
            DeadlockRequestType::Detect => {
                let circle = graph.wait(now, edge).err()?;
                return Some(DeadlockResponse {
                    entry: Some(entry),
                    deadlock_key_hash: circle.last().map_or(0, |edge| edge.key_hash),
                    wait_chain: circle.iter().skip(1).map(edge_to_proto).collect(),
                });
            }
        }
        None
    }

    /// All waits.
    pub fn entries(&self) -> Vec<WaitForEntry> {
        self.0.lock().edges().iter().map(edge_to_proto).collect()
    }
}

fn edge_to_proto(edge: &WaitEdge) -> WaitForEntry {
    WaitForEntry {
        txn: edge.waiter.0,
        wait_for_txn: edge.holder.0,
        key_hash: edge.key_hash,
        key: edge.key.clone(),
        ..WaitForEntry::default()
    }
}

fn edge_from_proto(entry: &WaitForEntry) -> WaitEdge {
    WaitEdge {
        waiter: Timestamp(entry.txn),
        holder: Timestamp(entry.wait_for_txn),
        key: entry.key.clone(),
        key_hash: entry.key_hash,
    }
}

struct Teller(mpsc::Sender<DeadlockRequest>);

impl WaitListener for Teller {
    fn waits(&self, edge: WaitEdge) {
        let entry = Some(edge_to_proto(&edge));
        let _ = self.0.try_send(DeadlockRequest { tp: DeadlockRequestType::Detect as i32, entry });
    }

    fn waits_no_more(&self, edge: WaitEdge) {
        let entry = Some(edge_to_proto(&edge));
        let _ = self.0.try_send(DeadlockRequest { tp: DeadlockRequestType::CleanUpWaitFor as i32, entry });
    }
}

/// Tells the storage's waits to the cluster's detector until `stop`.
pub fn start<R: Replication>(storage: Storage<R>, locator: Arc<dyn DetectorLocator>, stop: CancellationToken) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    storage.listen_to_waits(Arc::new(Teller(sender)));
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = run(storage, locator, receiver) => {}
        }
    });
}

async fn run<R: Replication>(
    storage: Storage<R>,
    locator: Arc<dyn DetectorLocator>,
    mut told: mpsc::Receiver<DeadlockRequest>,
) {
    while let Some(first) = told.recv().await {
        let Some(channel) = locator.locate().await else {
            pause(&mut told).await;
            continue;
        };
        if let Err(status) = stream(&storage, channel, first, &mut told).await {
            tracing::debug!(%status, "deadlock detector is out of reach");
            pause(&mut told).await;
        }
    }
}

/// One stream, until it is old or broken, or nobody waits any more.
async fn stream<R: Replication>(
    storage: &Storage<R>,
    channel: tonic::transport::Channel,
    first: DeadlockRequest,
    told: &mut mpsc::Receiver<DeadlockRequest>,
) -> Result<(), tonic::Status> {
    let (sender, requests) = mpsc::channel(QUEUE);
    let _ = sender.try_send(first);
    let mut found = DeadlockClient::new(channel).detect(ReceiverStream::new(requests)).await?.into_inner();
    let until = tokio::time::sleep(STREAM_AGE_MAX);
    tokio::pin!(until);
    loop {
        tokio::select! {
            request = told.recv() => match request {
                Some(request) => {
                    if sender.send(request).await.is_err() {
                        return Err(tonic::Status::unavailable("the stream ended"));
                    }
                }
                None => return Ok(()),
            },
            response = found.message() => {
                let Some(response) = response? else { return Ok(()) };
                let Some(entry) = response.entry else { continue };
                let mut circle = vec![edge_from_proto(&entry)];
                circle.extend(response.wait_chain.iter().map(edge_from_proto));
                storage.deadlock_found(&circle[0].clone(), circle);
            }
            () = &mut until => return Ok(()),
        }
    }
}

/// Waits a little, and forgets what was told meanwhile.
async fn pause(told: &mut mpsc::Receiver<DeadlockRequest>) {
    tokio::time::sleep(PAUSE).await;
    while told.try_recv().is_ok() {}
}
