//! Raft messages on their way to other stores: one `BatchRaft` stream per store, made when there is something to send.
//!
//! Whatever is queued when the stream asks goes out as one message. A stream that breaks is told to the store (which
//! then probes instead of pushing) and is made again after a pause; messages in between are dropped, as Raft allows.
//! Snapshots travel on streams of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use futures::StreamExt;
use kv_client::pd::PdClient;
use net::grpc::Channels;
use parking_lot::Mutex;
use prost::Message as _;
use proto::raft_serverpb::{RaftMessage, SnapshotChunk};
use proto::tikvpb::BatchRaftMessage;
use proto::tikvpb::tikv_client::TikvClient;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::handle::Shared;
use super::metrics;
use super::msg::{Msg, SnapshotSend};
use super::snapshot::SnapshotChunks;

/// Messages that may wait for one store; beyond it they are dropped.
const QUEUE_MAX: usize = 8192;
/// Bytes gathered into one message of the stream.
const BATCH_BYTES: usize = 1 << 20;
/// Pause after a broken stream. Short: an election may be waiting for it.
const PAUSE: Duration = Duration::from_millis(200);
/// Chunks of a snapshot read ahead of the network.
const CHUNKS_AHEAD: usize = 4;
/// A snapshot that takes longer has failed.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);

/// Sends to other stores.
pub struct Transport<E: Engine> {
    inner: Arc<Inner<E>>,
}

impl<E: Engine> Clone for Transport<E> {
    fn clone(&self) -> Self {
        Transport { inner: self.inner.clone() }
    }
}

struct Inner<E: Engine> {
    runtime: tokio::runtime::Handle,
    shared: Arc<Shared<E>>,
    pd: Arc<dyn PdClient>,
    channels: Channels,
    /// Queues by store; one that is absent has no stream. Protects the map only.
    queues: Mutex<HashMap<u64, mpsc::Sender<RaftMessage>>>,
    stop: CancellationToken,
}

impl<E: Engine> Transport<E> {
    /// A transport that finds stores through PD and ends with the token.
    pub fn new(
        runtime: tokio::runtime::Handle,
        shared: Arc<Shared<E>>,
        pd: Arc<dyn PdClient>,
        channels: Channels,
        stop: CancellationToken,
    ) -> Self {
        let inner = Inner { runtime, shared, pd, channels, queues: Mutex::default(), stop };
        Transport { inner: Arc::new(inner) }
    }

    /// Queues messages. Never blocks.
    pub fn send(&self, messages: Vec<RaftMessage>) {
        if messages.is_empty() {
            return;
        }
        let mut queues = self.inner.queues.lock();
        for message in messages {
            let Some(store_id) = message.to_peer.as_ref().map(|p| p.store_id) else { continue };
            let queue = queues.entry(store_id).or_insert_with(|| self.open(store_id));
            if queue.try_send(message).is_err() {
                metrics::DROPPED.inc();
            }
        }
    }

    fn open(&self, store_id: u64) -> mpsc::Sender<RaftMessage> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let inner = self.inner.clone();
        self.inner.runtime.spawn(async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = inner.run(store_id, receiver) => {}
            }
        });
        sender
    }

    /// Streams a snapshot in the background and reports how it ended.
    pub fn send_snapshot(&self, snapshot: SnapshotSend<E::Snapshot>) {
        let inner = self.inner.clone();
        self.inner.runtime.spawn(async move {
            let region_id = snapshot.message.region_id;
            let to = snapshot.message.to_peer.unwrap_or_default();
            let outcome = tokio::select! {
                () = inner.stop.cancelled() => Err("stopping".into()),
                outcome = tokio::time::timeout(SNAPSHOT_TIMEOUT, inner.stream_snapshot(to.store_id, snapshot)) => {
                    outcome.unwrap_or_else(|_| Err("timed out".into()))
                }
            };
            if let Err(e) = &outcome {
                tracing::info!(region = region_id, store = to.store_id, "snapshot not sent: {e}");
            }
            inner.shared.inbox.push(Msg::SnapshotSent { region_id, to_peer: to.id, ok: outcome.is_ok() });
        });
    }
}

impl<E: Engine> Inner<E> {
    async fn client(&self, store_id: u64) -> Result<TikvClient<tonic::transport::Channel>, String> {
        let store = self.pd.get_store(store_id).await.map_err(|e| e.to_string())?;
        let store = store.ok_or_else(|| format!("PD knows no store {store_id}"))?;
        let address = if store.peer_address.is_empty() { &store.address } else { &store.peer_address };
        let channel = self.channels.get(address).map_err(|e| e.to_string())?;
        Ok(TikvClient::new(channel).max_decoding_message_size(net::grpc::MESSAGE_BYTES_MAX))
    }

    async fn run(self: Arc<Self>, store_id: u64, receiver: mpsc::Receiver<RaftMessage>) {
        let outcome = match self.client(store_id).await {
            Ok(mut client) => client.batch_raft(gather(receiver)).await.map(|_| ()).map_err(|e| e.to_string()),
            Err(e) => Err(e),
        };
        if let Err(e) = outcome {
            tracing::debug!(store = store_id, "raft stream ended: {e}");
        }
        self.shared.inbox.push(Msg::Unreachable { store_id });
        tokio::time::sleep(PAUSE).await;
        self.queues.lock().remove(&store_id);
    }

    async fn stream_snapshot(&self, store_id: u64, snapshot: SnapshotSend<E::Snapshot>) -> Result<(), String> {
        let mut client = self.client(store_id).await?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let reader = tokio::task::spawn_blocking(move || {
            let SnapshotSend { message, view, range } = snapshot;
            let first = SnapshotChunk { message: Some(message), data: Vec::new() };
            if chunks.blocking_send(first).is_err() {
                return Err("the receiver went away".to_owned());
            }
            for chunk in SnapshotChunks::new(view, range) {
                let data = chunk.map_err(|e| e.to_string())?;
                if chunks.blocking_send(SnapshotChunk { message: None, data }).is_err() {
                    return Err("the receiver went away".to_owned());
                }
            }
            // An empty chunk marks the end: a stream that breaks off must not look like a whole one.
            chunks.blocking_send(SnapshotChunk::default()).map_err(|_| "the receiver went away".to_owned())
        });
        let sent = client.snapshot(tokio_stream::wrappers::ReceiverStream::new(receiver)).await;
        let read = reader.await.map_err(|e| e.to_string())?;
        sent.map_err(|e| e.to_string())?;
        read
    }
}

/// What is queued, as much at once as fits.
fn gather(receiver: mpsc::Receiver<RaftMessage>) -> impl futures::Stream<Item = BatchRaftMessage> + Send {
    let first = (receiver, None::<RaftMessage>);
    futures::stream::unfold(first, |(mut receiver, held)| async move {
        let message = match held {
            Some(message) => message,
            None => receiver.recv().await?,
        };
        let mut bytes = message.encoded_len();
        let mut msgs = vec![message];
        let mut held = None;
        while let Ok(message) = receiver.try_recv() {
            bytes += message.encoded_len();
            if bytes > BATCH_BYTES {
                held = Some(message);
                break;
            }
            msgs.push(message);
        }
        Some((BatchRaftMessage { msgs }, (receiver, held)))
    })
    .boxed()
}
