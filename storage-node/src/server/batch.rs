//! `BatchCommands`: many requests over one stream, answered in any order, gathered into few messages.
//!
//! ```text
//! message [3: get a, 4: prewrite b, 5: get c] → 3 and 5 answered at once by the reading task, 4 by a task of its own
//! replies: whatever is there when the connection can send goes out as one message: [3, 5], later [4]
//! ```
//!
//! A client on the same machine sends the same messages over a unix socket ([`serve_frames`]): then the task that reads them
//! also writes what it has answered.
//!
//! Point reads and locks of a few keys cost less than a task switch, so that the reading task runs them itself as far as
//! they go without waiting, and so a short scan, if no other request of the message waits behind it. The requests under
//! way on a stream are bounded: past that, it is not read further, and the client's flow-control window fills.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use net::frames::Frames;
use proto::tikvpb::batch_commands_request::request::Cmd as Request;
use proto::tikvpb::batch_commands_response::Response as Reply;
use proto::tikvpb::batch_commands_response::response::Cmd as Answer;
use proto::tikvpb::{BatchCommandsEmptyResponse, BatchCommandsRequest, BatchCommandsResponse};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{MESSAGE_BYTES_MAX, TikvService, handlers};
use crate::replication::{RaftCalls, Replication};

/// Requests under way and answers not sent, on one stream.
const UNDER_WAY_MAX: usize = 4096;

/// Bytes of answers that a client on this machine has not taken, beyond which its requests are not read.
const UNSENT_MAX: usize = 1 << 20;

/// Answers in one message at most.
const GATHERED_MAX: usize = 256;

/// Keys up to which a batch read or a lock runs on the reading task.
const INLINE_KEYS_MAX: usize = 8;

/// An answer, and the place among those under way that it gives back when it is sent.
type Ready = (u64, Answer, OwnedSemaphorePermit);

/// Starts reading a stream of requests; returns the stream of replies.
pub(super) fn serve<R: Replication, C: RaftCalls>(
    service: TikvService<R, C>,
    requests: Streaming<BatchCommandsRequest>,
) -> Replies {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(read(service, requests, sender));
    Replies { receiver }
}

async fn read<R: Replication, C: RaftCalls>(
    service: TikvService<R, C>,
    mut requests: Streaming<BatchCommandsRequest>,
    sender: mpsc::UnboundedSender<Ready>,
) {
    let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    // An error or the end: the client is gone, and has no use for answers.
    while let Ok(Some(message)) = requests.message().await {
        let mut ready: Vec<Ready> = Vec::new();
        for (id, request, last) in requests_of(message) {
            let place = match places.clone().try_acquire_owned() {
                Ok(place) => place,
                Err(_) => {
                    send(&sender, &mut ready);
                    let Ok(place) = places.clone().acquire_owned().await else { return };
                    place
                }
            };
            match begin(&service, request, last).await {
                Ok(answer) => ready.push((id, answer, place)),
                Err(rest) => {
                    let sender = sender.clone();
                    tokio::spawn(async move {
                        let _ = sender.send((id, rest.await, place));
                    });
                }
            }
        }
        send(&sender, &mut ready);
        if sender.is_closed() {
            return;
        }
    }
}

fn send(sender: &mpsc::UnboundedSender<Ready>, ready: &mut Vec<Ready>) {
    for reply in ready.drain(..) {
        let _ = sender.send(reply);
    }
}

/// Serves a client on the same machine until it closes the connection; once the token is cancelled, until what is under way is
/// answered or `grace` is over.
pub(super) async fn serve_frames<R: Replication, C: RaftCalls>(
    service: TikvService<R, C>,
    stream: UnixStream,
    grace: Duration,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let mut frames = Frames::new(stream, MESSAGE_BYTES_MAX);
    let (sender, mut later) = mpsc::unbounded_channel();
    let mut answered: Vec<(u64, Answer)> = Vec::new();
    let mut under_way = 0;
    let mut until = None;
    while until.is_none() || under_way > 0 {
        let open = until.is_none() && under_way < UNDER_WAY_MAX;
        let incoming = async {
            // Who does not take answers asks nothing more.
            frames.drain(if open { UNSENT_MAX } else { 0 }).await?;
            if open { frames.next::<BatchCommandsRequest>().await } else { std::future::pending().await }
        };
        tokio::select! {
            message = incoming => {
                let Some(message) = message? else { return Ok(()) };
                for (id, request, last) in requests_of(message) {
                    match begin(&service, request, last).await {
                        Ok(answer) => answered.push((id, answer)),
                        Err(rest) => {
                            under_way += 1;
                            let sender = sender.clone();
                            tokio::spawn(async move {
                                let _ = sender.send((id, rest.await));
                            });
                        }
                    }
                }
            }
            Some(answer) = later.recv() => {
                answered.push(answer);
                while answered.len() < GATHERED_MAX && let Ok(answer) = later.try_recv() {
                    answered.push(answer);
                }
                under_way -= answered.len();
            }
            () = shutdown.cancelled(), if until.is_none() => until = Some(Instant::now() + grace),
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(()),
        }
        if !answered.is_empty() {
            let mut reply = BatchCommandsResponse::default();
            answered.drain(..).for_each(|(id, answer)| add(&mut reply, id, answer));
            frames.push(&reply)?;
            frames.flush()?;
        }
    }
    frames.drain(0).await
}

/// The requests of a message with their numbers; and whether no other waits behind it.
fn requests_of(message: BatchCommandsRequest) -> impl Iterator<Item = (u64, Request, bool)> {
    let count = message.requests.len();
    let numbered = message.request_ids.into_iter().zip(message.requests).enumerate();
    numbered.filter_map(move |(n, (id, request))| Some((id, request.cmd?, n + 1 == count)))
}

/// Runs a short request at once, as far as it goes without waiting: its answer, or the work that is left.
async fn begin<R: Replication, C: RaftCalls>(
    service: &TikvService<R, C>,
    request: Request,
    last: bool,
) -> Result<Answer, BoxFuture<'static, Answer>> {
    let inline = is_short(&request, last);
    let mut answer: BoxFuture<'static, Answer> = Box::pin(answer(service.clone(), request));
    if inline && let Poll::Ready(answer) = futures::poll!(answer.as_mut()) { Ok(answer) } else { Err(answer) }
}

fn add(message: &mut BatchCommandsResponse, id: u64, answer: Answer) {
    message.request_ids.push(id);
    message.responses.push(Reply { cmd: Some(answer) });
}

/// Whether the request is worth running at once; `last`: no other of its message waits for it.
fn is_short(request: &Request, last: bool) -> bool {
    match request {
        Request::Get(_) | Request::RawGet(_) | Request::Empty(_) => true,
        Request::BatchGet(batch) => batch.keys.len() <= INLINE_KEYS_MAX,
        Request::RawBatchGet(batch) => batch.keys.len() <= INLINE_KEYS_MAX,
        Request::PessimisticLock(lock) => lock.mutations.len() <= INLINE_KEYS_MAX,
        Request::Coprocessor(scan) => last && handlers::is_short_scan(scan),
        _ => false,
    }
}

pub(super) async fn answer<R: Replication, C: RaftCalls>(service: TikvService<R, C>, request: Request) -> Answer {
    let s = &service;
    match request {
        Request::Get(r) => Answer::Get(handlers::kv_get(s, r).await),
        Request::Scan(r) => Answer::Scan(handlers::kv_scan(s, r).await),
        Request::Prewrite(r) => Answer::Prewrite(handlers::kv_prewrite(s, r).await),
        Request::Commit(r) => Answer::Commit(handlers::kv_commit(s, r).await),
        Request::Cleanup(r) => Answer::Cleanup(handlers::kv_cleanup(s, r).await),
        Request::BatchGet(r) => Answer::BatchGet(handlers::kv_batch_get(s, r).await),
        Request::BatchRollback(r) => Answer::BatchRollback(handlers::kv_batch_rollback(s, r).await),
        Request::ScanLock(r) => Answer::ScanLock(handlers::kv_scan_lock(s, r).await),
        Request::ResolveLock(r) => Answer::ResolveLock(handlers::kv_resolve_lock(s, r).await),
        Request::Gc(r) => Answer::Gc(handlers::kv_gc(s, r).await),
        Request::DeleteRange(r) => Answer::DeleteRange(handlers::kv_delete_range(s, r).await),
        Request::RawGet(r) => Answer::RawGet(handlers::raw_get(s, r).await),
        Request::RawBatchGet(r) => Answer::RawBatchGet(handlers::raw_batch_get(s, r).await),
        Request::RawPut(r) => Answer::RawPut(handlers::raw_put(s, r).await),
        Request::RawBatchPut(r) => Answer::RawBatchPut(handlers::raw_batch_put(s, r).await),
        Request::RawDelete(r) => Answer::RawDelete(handlers::raw_delete(s, r).await),
        Request::RawBatchDelete(r) => Answer::RawBatchDelete(handlers::raw_batch_delete(s, r).await),
        Request::RawScan(r) => Answer::RawScan(handlers::raw_scan(s, r).await),
        Request::RawDeleteRange(r) => Answer::RawDeleteRange(handlers::raw_delete_range(s, r).await),
        Request::RawBatchScan(r) => Answer::RawBatchScan(handlers::raw_batch_scan(s, r).await),
        Request::Coprocessor(r) => Answer::Coprocessor(handlers::coprocessor(s, r).await),
        Request::PessimisticLock(r) => Answer::PessimisticLock(handlers::kv_pessimistic_lock(s, r).await),
        Request::PessimisticRollback(r) => Answer::PessimisticRollback(handlers::kv_pessimistic_rollback(s, r).await),
        Request::CheckTxnStatus(r) => Answer::CheckTxnStatus(handlers::kv_check_txn_status(s, r).await),
        Request::TxnHeartBeat(r) => Answer::TxnHeartBeat(handlers::kv_txn_heart_beat(s, r).await),
        Request::CheckSecondaryLocks(r) => Answer::CheckSecondaryLocks(handlers::kv_check_secondary_locks(s, r).await),
        Request::Empty(r) => Answer::Empty(BatchCommandsEmptyResponse { test_id: r.test_id }),
    }
}

/// The replies of a stream.
pub struct Replies {
    receiver: mpsc::UnboundedReceiver<Ready>,
}

impl Stream for Replies {
    type Item = Result<BatchCommandsResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut message = BatchCommandsResponse::default();
        while message.request_ids.len() < GATHERED_MAX {
            match self.receiver.poll_recv(cx) {
                Poll::Ready(Some((id, answer, _))) => {
                    add(&mut message, id, answer);
                }
                Poll::Ready(None) if message.request_ids.is_empty() => return Poll::Ready(None),
                Poll::Pending if message.request_ids.is_empty() => return Poll::Pending,
                _ => break,
            }
        }
        Poll::Ready(Some(Ok(message)))
    }
}
