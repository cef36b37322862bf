//! Raft messages on their way to other stores: one `BatchRaft` stream per store, made when there is something to send.
//!
//! Whatever is queued when the stream asks goes out as one message. A stream that breaks is told to the store (which
//! then probes instead of pushing) and is made again after a pause; messages in between are dropped, as Raft allows.
//! Snapshots travel on streams of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
/// And their bytes: a store that takes nothing must not fill this one's memory.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Bytes gathered into one message of the stream.
const BATCH_BYTES: usize = 1 << 20;
/// Pause after a broken stream. Short: an election may be waiting for it.
const PAUSE: Duration = Duration::from_millis(200);
/// How long PD is waited for when it is known where a store was.
const PD_PATIENCE: Duration = Duration::from_millis(500);
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
    queues: Mutex<HashMap<u64, Queue>>,
    /// Where PD last said that stores are. Protects the map only.
    addresses: Mutex<HashMap<u64, String>>,
    stop: CancellationToken,
}

/// Messages for one store, and how many bytes of them wait.
#[derive(Clone)]
struct Queue {
    messages: mpsc::Sender<RaftMessage>,
    bytes: Arc<AtomicUsize>,
}

impl Queue {
    /// Whether the queue took the message; one that it refused is gone.
    fn push(&self, message: RaftMessage) -> bool {
        let size = message.message.len();
        let waiting = self.bytes.fetch_add(size, Ordering::Relaxed);
        let taken = (waiting == 0 || waiting + size <= QUEUE_BYTES_MAX) && self.messages.try_send(message).is_ok();
        if !taken {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
        }
        taken
    }
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
        let (queues, addresses) = Default::default();
        let inner = Inner { runtime, shared, pd, channels, queues, addresses, stop };
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
            if !queue.push(message) {
                metrics::DROPPED.inc();
            }
        }
    }

    fn open(&self, store_id: u64) -> Queue {
        let (messages, receiver) = mpsc::channel(QUEUE_MAX);
        let bytes = Arc::new(AtomicUsize::new(0));
        let (inner, waiting) = (self.inner.clone(), bytes.clone());
        self.inner.runtime.spawn(async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = inner.run(store_id, receiver, waiting) => {}
            }
        });
        Queue { messages, bytes }
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
    /// Where a store is. PD is asked each time, since stores move; but replication goes on without PD, to where the store
    /// was before.
    async fn address(&self, store_id: u64) -> Result<String, String> {
        let before = self.addresses.lock().get(&store_id).cloned();
        let patience = if before.is_some() { PD_PATIENCE } else { Duration::MAX };
        let why = match tokio::time::timeout(patience, self.pd.get_store(store_id)).await {
            Ok(Ok(None)) => return Err(format!("PD knows no store {store_id}")),
            Ok(Ok(Some(store))) => {
                let address = if store.peer_address.is_empty() { store.address } else { store.peer_address };
                self.addresses.lock().insert(store_id, address.clone());
                return Ok(address);
            }
            Ok(Err(e)) => e.to_string(),
            Err(_) => "PD does not answer".to_owned(),
        };
        before.ok_or(why)
    }

    async fn client(&self, store_id: u64) -> Result<TikvClient<tonic::transport::Channel>, String> {
        let address = self.address(store_id).await?;
        let channel = self.channels.get(&address).map_err(|e| e.to_string())?;
        Ok(TikvClient::new(channel).max_decoding_message_size(net::grpc::MESSAGE_BYTES_MAX))
    }

    async fn run(self: Arc<Self>, store_id: u64, receiver: mpsc::Receiver<RaftMessage>, bytes: Arc<AtomicUsize>) {
        let outcome = match self.client(store_id).await {
            Ok(mut client) => client.batch_raft(gather(receiver, bytes)).await.map(|_| ()).map_err(|e| e.to_string()),
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
fn gather(
    receiver: mpsc::Receiver<RaftMessage>,
    waiting: Arc<AtomicUsize>,
) -> impl futures::Stream<Item = BatchRaftMessage> + Send {
    let first = (receiver, waiting, None::<RaftMessage>);
    futures::stream::unfold(first, |(mut receiver, waiting, held)| async move {
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
        waiting.fetch_sub(msgs.iter().map(|m| m.message.len()).sum(), Ordering::Relaxed);
        Some((BatchRaftMessage { msgs }, (receiver, waiting, held)))
    })
    .boxed()
}
