//! Raft messages between members: one stream per direction, and the small service that receives them.
//!
//! A message is queued, or dropped when the queue is full or the peer is away: Raft repeats what matters. Whatever is
//! queued when the sender wakes goes out as one batch.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use futures::StreamExt as _;
use net::grpc::{Channels, MESSAGE_BYTES_MAX};
use parking_lot::Mutex;
use proto::meridian_pd::peer_client::PeerClient;
use proto::meridian_pd::peer_server::{Peer, PeerServer};
use proto::meridian_pd::{LeaseRequest, LeaseResponse, RaftBatch, RaftDone};
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::raft::{Input, StoreError, holds_snapshot};
use super::{Metastore, member_id};

/// Messages waiting for one peer. When full, new ones are dropped: Raft repeats.
const QUEUE_MAX: usize = 1_024;
/// Messages in one batch.
const BATCH_MAX: usize = 128;
/// Pause before a broken connection is tried again.
const RECONNECT: Duration = Duration::from_millis(200);
/// How long a question to the leader may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// The sending side. Clones share it.
#[derive(Clone)]
pub struct Transport {
    inner: Arc<Inner>,
}

struct Inner {
    id: u64,
    channels: Channels,
    peers: HashMap<u64, PeerQueue>,
    stop: CancellationToken,
    /// Where lost messages are reported; set once the member's thread runs.
    reports: Mutex<Option<SyncSender<Input>>>,
}

struct PeerQueue {
    url: String,
    queue: mpsc::Sender<Message>,
}

impl Transport {
    /// Prepares a connection to each other member. Must be called inside a Tokio runtime.
    pub fn new(id: u64, members: &BTreeMap<String, String>, channels: Channels) -> Transport {
        let mut peers = HashMap::new();
        let mut starting = Vec::new();
        for (name, url) in members.iter().filter(|(name, _)| member_id(name) != id) {
            let (queue, receiver) = mpsc::channel(QUEUE_MAX);
            let peer = member_id(name);
            peers.insert(peer, PeerQueue { url: url.clone(), queue });
            starting.push((peer, url.clone(), receiver));
        }
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner { id, channels, peers, stop: stop.clone(), reports: Mutex::new(None) });
        let transport = Transport { inner };
        for (peer, url, receiver) in starting {
            let (task, stop) = (transport.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = task.run(peer, url, receiver) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        transport
    }

    /// Names the queue that learns of lost messages.
    pub fn report_to(&self, inputs: SyncSender<Input>) {
        *self.inner.reports.lock() = Some(inputs);
    }

    /// Ends all connections.
    pub fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.reports.lock().take();
    }

    /// Queues a message for its receiver.
    pub fn send(&self, message: Message) {
        let (to, snapshot) = (message.to, holds_snapshot(&message));
        let sent = self.inner.peers.get(&to).is_some_and(|peer| peer.queue.try_send(message).is_ok());
        if !sent {
            self.lost(to, snapshot);
        }
    }

    /// Asks another member about a lease. Nothing means no answer.
    pub async fn lease(&self, peer: u64, request: LeaseRequest) -> Option<LeaseResponse> {
        let url = &self.inner.peers.get(&peer)?.url;
        let channel = self.inner.channels.get(url).ok()?;
        let mut request = Request::new(request);
        request.set_timeout(ASK_TIMEOUT);
        match PeerClient::new(channel).lease(request).await {
            Ok(response) => Some(response.into_inner()),
            Err(status) => {
                tracing::debug!(%url, %status, "metastore: asking the leader failed");
                None
            }
        }
    }

    fn lost(&self, peer: u64, snapshot: bool) {
        if let Some(inputs) = &*self.inner.reports.lock() {
            let _ = inputs.try_send(Input::Unreachable(peer, snapshot));
        }
    }

    async fn run(&self, peer: u64, url: String, queue: mpsc::Receiver<Message>) {
        let queue = Arc::new(tokio::sync::Mutex::new(queue));
        let mut failing = false;
        loop {
            let Ok(channel) = self.inner.channels.dedicated(&url) else {
                tracing::error!(%url, "metastore: a member's peer URL is no address");
                return;
            };
            let mut client = PeerClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);
            let (from, source) = (self.inner.id, queue.clone());
            let batches = futures::stream::unfold(Vec::new(), move |mut messages: Vec<Message>| {
                let source = source.clone();
                async move {
                    let count = source.lock().await.recv_many(&mut messages, BATCH_MAX).await;
                    if count == 0 {
                        return None;
                    }
                    let to = messages[0].to;
                    let bytes = messages.drain(..).filter_map(|m| m.write_to_bytes().ok()).collect();
                    Some((RaftBatch { from, to, messages: bytes }, messages))
                }
            });
            let ended = client.raft(batches).await;
            match ended {
                Ok(_) => failing = false,
                Err(status) if !failing => {
                    failing = true;
                    tracing::info!(%url, status = status.message(), "metastore: member is unreachable");
                }
                Err(_) => {}
            }
            // What waited during the outage is old news, and may have held the last message of a snapshot.
            let mut stale = queue.lock().await;
            while stale.try_recv().is_ok() {}
            drop(stale);
            self.lost(peer, true);
            tokio::time::sleep(RECONNECT).await;
        }
    }
}

/// The receiving side.
pub struct PeerService(Metastore);

impl PeerService {
    /// The peer port's service for a member.
    pub fn server(store: Metastore) -> PeerServer<PeerService> {
        PeerServer::new(PeerService(store))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    async fn raft(&self, request: Request<Streaming<RaftBatch>>) -> Result<Response<RaftDone>, Status> {
        let mut batches: Pin<Box<Streaming<RaftBatch>>> = Box::pin(request.into_inner());
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            if batch.to != self.0.id() {
                return Err(Status::invalid_argument("these messages are for another member"));
            }
            for bytes in batch.messages {
                let mut message = Message::default();
                message.merge_from_bytes(&bytes).map_err(|e| Status::invalid_argument(e.to_string()))?;
                if !self.0.knows(message.from) || raft::raw_node::is_local_msg(message.msg_type) {
                    return Err(Status::permission_denied("messages of a member of another cluster"));
                }
                // A full queue drops the message: Raft repeats.
                if self.0.deliver(message) == Err(StoreError::Stopped) {
                    return Err(Status::unavailable(StoreError::Stopped.to_string()));
                }
            }
        }
        Ok(Response::new(RaftDone {}))
    }

    async fn lease(&self, request: Request<LeaseRequest>) -> Result<Response<LeaseResponse>, Status> {
        let answer = self.0.local_lease(request.into_inner()).await;
        answer.map(Response::new).map_err(|e| Status::unavailable(e.to_string()))
    }
}
