//! One stream per store for every command: whatever is queued when the connection is ready goes out as one message.
//!
//! ```text
//!   caller ─ call() ─► queue ──poll──► BatchCommandsRequest{ids, requests} ──► store
//!      ▲                  registers ids in `waiting`                             │
//!      └──────── oneshot ◄── reader: by id ◄── BatchCommandsResponse ◄───────────┘
//! ```
//!
//! The request stream *is* the batcher: the HTTP/2 connection polls it when it can send, so no task stands between
//! the caller and the wire. With a store on the same machine the same messages go over a unix socket ([`net::frames`]), and one
//! task writes and reads them. When either breaks, everyone who waits is told at once (their commands may have been
//! executed), and the next call opens a new stream.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{Stream, StreamExt};
use net::frames::Frames;
use net::grpc::{ChannelOptions, Channels, MESSAGE_BYTES_MAX};
use parking_lot::Mutex;
use proto::tikvpb::tikv_client::TikvClient;
use proto::tikvpb::{
    BatchCommandsEmptyRequest, BatchCommandsRequest, BatchCommandsResponse, batch_commands_request,
    batch_commands_response,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use batch_commands_request::request::Cmd as RequestCmd;
pub use batch_commands_response::response::Cmd as ResponseCmd;

/// The most commands in one message: keeps one message's encoding and decoding short.
const BATCH_MAX: usize = 128;
/// Bytes that wait for a store on this machine to take them, beyond which no more are added.
const UNSENT_MAX: usize = 1 << 20;

/// Why a store gave no answer. The command may have been executed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("store at {address}: {reason}")]
pub(crate) struct RpcError {
    pub(crate) address: String,
    pub(crate) reason: &'static str,
}

/// A command on its way to a store. Dropping `reply` tells the caller that the connection broke; the command may have
/// been executed all the same.
#[derive(Debug)]
pub struct Call {
    /// The command.
    pub cmd: RequestCmd,
    /// Where its answer goes.
    pub reply: oneshot::Sender<ResponseCmd>,
}

/// How stores are reached: the seam between batched gRPC streams and a simulated network.
pub trait Dial: Send + Sync + 'static {
    /// Opens a connection that serves `calls` until it breaks; dropping the receiver makes the next call open another.
    /// Fails only for an address that cannot be one.
    fn dial(&self, address: &str, calls: mpsc::UnboundedReceiver<Call>) -> Result<(), &'static str>;
}

impl Dial for Channels {
    fn dial(&self, address: &str, calls: mpsc::UnboundedReceiver<Call>) -> Result<(), &'static str> {
        let channel = self.get(address).map_err(|_| "the address is invalid")?;
        let (channels, address) = (self.clone(), address.to_owned());
        tokio::spawn(async move {
            match channels.frames(&address, MESSAGE_BYTES_MAX).await {
                Some(frames) => run_local(&address, frames, calls, channels.options()).await,
                None => run(&address, stub(channel), calls).await,
            }
        });
        Ok(())
    }
}

/// The commands sent and not answered.
#[derive(Default)]
struct Waiting {
    /// Set when the reader has ended: nothing sent after that would be answered.
    closed: bool,
    next_id: u64,
    by_id: HashMap<u64, oneshot::Sender<ResponseCmd>>,
}

type SharedWaiting = Arc<Mutex<Waiting>>;

impl Waiting {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A message whose answer nobody waits for.
    fn probe(&mut self) -> BatchCommandsRequest {
        let cmd = RequestCmd::Empty(BatchCommandsEmptyRequest::default());
        BatchCommandsRequest {
            requests: vec![batch_commands_request::Request { cmd: Some(cmd) }],
            request_ids: vec![self.id()],
        }
    }
}

/// The connection to one store.
pub(crate) struct StoreConn {
    address: String,
    /// Where it is, as its labels say.
    region: Option<Arc<str>>,
    dial: Arc<dyn Dial>,
    /// Protects the current stream's queue; held to clone or replace it.
    queue: Mutex<Option<mpsc::UnboundedSender<Call>>>,
}

impl StoreConn {
    pub(crate) fn new(address: String, region: Option<Arc<str>>, dial: Arc<dyn Dial>) -> Self {
        Self { address, region, dial, queue: Mutex::default() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends one command and waits for its answer.
    pub(crate) async fn call(&self, cmd: RequestCmd, timeout: Duration) -> Result<ResponseCmd, RpcError> {
        crate::trips::to_storage(self.region.as_deref());
        let (reply, answer) = oneshot::channel();
        self.enqueue(Call { cmd, reply })?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(cmd)) => Ok(cmd),
            Ok(Err(_)) => Err(self.error("the connection broke")),
            Err(_) => Err(self.error("no answer in time")),
        }
    }

    pub(crate) fn error(&self, reason: &'static str) -> RpcError {
        RpcError { address: self.address.clone(), reason }
    }

    fn enqueue(&self, call: Call) -> Result<(), RpcError> {
        let mut queue = self.queue.lock();
        let call = match queue.as_ref() {
            Some(open) => match open.send(call) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::SendError(call)) => call, // the stream has ended: open another
            },
            None => call,
        };
        // Unbounded, but each entry is one caller that waits for it.
        let (sender, calls) = mpsc::unbounded_channel();
        let _ = sender.send(call);
        self.dial.dial(&self.address, calls).map_err(|reason| self.error(reason))?;
        *queue = Some(sender);
        Ok(())
    }
}

pub(crate) fn stub(channel: tonic::transport::Channel) -> TikvClient<tonic::transport::Channel> {
    TikvClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Opens the stream and hands out answers until it breaks.
async fn run(address: &str, mut client: TikvClient<tonic::transport::Channel>, calls: mpsc::UnboundedReceiver<Call>) {
    let waiting = SharedWaiting::default();
    // Whatever ends this task, those who wait are told.
    let _close = CloseOnDrop(waiting.clone());
    let outgoing = Batcher::new(calls, waiting.clone());
    let mut responses = match client.batch_commands(outgoing).await {
        Ok(response) => response.into_inner(),
        Err(status) => {
            tracing::debug!("store at {address}: {}", status.message());
            return;
        }
    };
    loop {
        match responses.message().await {
            Ok(Some(batch)) => deliver(&waiting, batch),
            Ok(None) => return,
            Err(status) => {
                tracing::debug!("store at {address}: {}", status.message());
                return;
            }
        }
    }
}

/// The same with a store on this machine. The system tells when it dies; if it only stands still, it gives no sign of life
/// when asked for one.
async fn run_local(address: &str, mut frames: Frames, calls: mpsc::UnboundedReceiver<Call>, options: &ChannelOptions) {
    let waiting = SharedWaiting::default();
    let _close = CloseOnDrop(waiting.clone());
    let mut outgoing = Batcher::new(calls, waiting.clone());
    let mut silence = Silence::since(Instant::now());
    let mut look = tokio::time::interval(options.keepalive_interval / 5);
    let result: io::Result<()> = async {
        loop {
            tokio::select! {
                answers = frames.next() => match answers? {
                    Some(batch) => {
                        silence = Silence::since(Instant::now());
                        deliver(&waiting, batch);
                    }
                    None => return Ok(()),
                },
                // While the store does not take what was sent, callers wait in the queue.
                calls = outgoing.next(), if frames.unsent() < UNSENT_MAX => match calls {
                    Some(message) => {
                        frames.push(&message)?;
                        frames.flush()?;
                    }
                    None => return Ok(()),
                },
                now = look.tick() => {
                    let waiting = &mut *waiting.lock();
                    match silence.at(now, !waiting.by_id.is_empty(), options) {
                        Sign::None => {}
                        Sign::Ask => frames.push(&waiting.probe())?,
                        Sign::GiveUp => return Err(io::ErrorKind::TimedOut.into()),
                    }
                    frames.flush()?;
                },
            }
        }
    }
    .await;
    if let Err(e) = result {
        tracing::debug!("store at {address}: {e}");
    }
}

/// Since when nothing has come from a store, and whether it was asked for a sign of life.
struct Silence {
    since: Instant,
    asked: bool,
}

/// What to do about it.
#[derive(Debug, PartialEq)]
enum Sign {
    None,
    Ask,
    GiveUp,
}

impl Silence {
    fn since(since: Instant) -> Silence {
        Silence { since, asked: false }
    }

    /// Nobody minds the silence of a store that owes nobody an answer.
    fn at(&mut self, now: Instant, owes: bool, options: &ChannelOptions) -> Sign {
        if !owes {
            *self = Silence::since(now);
        }
        let silent = now.saturating_duration_since(self.since);
        if silent >= options.keepalive_interval + options.keepalive_timeout && self.asked {
            Sign::GiveUp
        } else if silent >= options.keepalive_interval && !std::mem::replace(&mut self.asked, true) {
            Sign::Ask
        } else {
            Sign::None
        }
    }
}

fn deliver(waiting: &SharedWaiting, batch: BatchCommandsResponse) {
    let mut waiting = waiting.lock();
    for (response, id) in batch.responses.into_iter().zip(batch.request_ids) {
        let Some(reply) = waiting.by_id.remove(&id) else { continue };
        if let Some(cmd) = response.cmd {
            let _ = reply.send(cmd); // the caller may have given up
        }
    }
}

struct CloseOnDrop(SharedWaiting);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        waiting.by_id.clear();
    }
}

/// The request stream: each poll takes all that is queued.
struct Batcher {
    calls: mpsc::UnboundedReceiver<Call>,
    buffer: Vec<Call>,
    waiting: SharedWaiting,
}

impl Batcher {
    fn new(calls: mpsc::UnboundedReceiver<Call>, waiting: SharedWaiting) -> Batcher {
        Batcher { calls, buffer: Vec::with_capacity(BATCH_MAX), waiting }
    }
}

impl Stream for Batcher {
    type Item = BatchCommandsRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BatchCommandsRequest>> {
        let this = &mut *self;
        match this.calls.poll_recv_many(cx, &mut this.buffer, BATCH_MAX) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(0) => Poll::Ready(None),
            Poll::Ready(n) => {
                let mut waiting = this.waiting.lock();
                if waiting.closed {
                    this.buffer.clear();
                    this.calls.close();
                    return Poll::Ready(None);
                }
                let mut message =
                    BatchCommandsRequest { requests: Vec::with_capacity(n), request_ids: Vec::with_capacity(n) };
                for call in this.buffer.drain(..) {
                    if call.reply.is_closed() {
                        continue; // the caller gave up while queued
                    }
                    let id = waiting.id();
                    waiting.by_id.insert(id, call.reply);
                    message.requests.push(batch_commands_request::Request { cmd: Some(call.cmd) });
                    message.request_ids.push(id);
                }
                Poll::Ready(Some(message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::tikvpb::BatchCommandsEmptyResponse;

    fn empty(test_id: u64) -> RequestCmd {
        RequestCmd::Empty(BatchCommandsEmptyRequest { test_id, delay_time: 0 })
    }

    #[tokio::test]
    async fn what_is_queued_goes_out_as_one_message_and_answers_find_their_callers() {
        let (sender, calls) = mpsc::unbounded_channel();
        let waiting = SharedWaiting::default();
        let mut batcher = Batcher::new(calls, waiting.clone());
        let mut answers = Vec::new();
        for id in 0..3 {
            let (reply, answer) = oneshot::channel();
            assert!(sender.send(Call { cmd: empty(id), reply }).is_ok());
            answers.push(answer);
        }
        let message = batcher.next().await.unwrap();
        assert_eq!(message.requests.len(), 3);
        let response = |test_id| batch_commands_response::Response {
            cmd: Some(ResponseCmd::Empty(BatchCommandsEmptyResponse { test_id })),
        };
        // Answers come in any order and in any grouping.
        let ids = &message.request_ids;
        deliver(
            &waiting,
            BatchCommandsResponse {
                responses: vec![response(22), response(20)],
                request_ids: vec![ids[2], ids[0]],
                ..Default::default()
            },
        );
        let got = answers.remove(2).await.unwrap();
        assert!(matches!(got, ResponseCmd::Empty(e) if e.test_id == 22));
        let got = answers.remove(0).await.unwrap();
        assert!(matches!(got, ResponseCmd::Empty(e) if e.test_id == 20));
        // The stream breaks: who waits is told, and so is who comes later.
        drop(CloseOnDrop(waiting));
        assert!(answers.remove(0).await.is_err());
        let (reply, answer) = oneshot::channel();
        assert!(sender.send(Call { cmd: empty(9), reply }).is_ok());
        assert!(batcher.next().await.is_none());
        assert!(answer.await.is_err());
        assert!(sender.is_closed());
    }

    #[test]
    fn a_store_that_stands_still_is_asked_and_then_given_up() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let (keepalive_interval, keepalive_timeout) = (5 * second, 5 * second);
        let options = ChannelOptions { keepalive_interval, keepalive_timeout, ..ChannelOptions::default() };
        let mut silence = Silence::since(began);
        let mut signs = |owes: bool, from: u32, to: u32| -> Vec<Sign> {
            (from..=to).map(|n| silence.at(began + n * second, owes, &options)).filter(|s| *s != Sign::None).collect()
        };
        assert!(signs(false, 0, 100).is_empty());
        assert!(signs(true, 101, 104).is_empty());
        assert_eq!(signs(true, 105, 109), [Sign::Ask]);
        assert_eq!(signs(true, 110, 110), [Sign::GiveUp]);
        silence = Silence::since(began + 110 * second);
        assert_eq!(silence.at(began + 115 * second, true, &options), Sign::Ask);
        assert_eq!(silence.at(began + 119 * second, true, &options), Sign::None, "an answer counts");
    }

    #[tokio::test]
    async fn a_store_that_is_down_is_an_error_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let conn = StoreConn::new(address.clone(), None, Arc::new(Channels::default()));
        for _ in 0..2 {
            let error = conn.call(empty(1), Duration::from_secs(20)).await.unwrap_err();
            assert_eq!(error.reason, "the connection broke");
        }
    }
}
