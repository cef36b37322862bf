//! The timestamp stream: everyone who waits when the sender wakes shares one request.
//!
//! ```text
//!   timestamp() ─┐                     count = n
//!   timestamp() ─┼─ queue ─ take all ────────────► PD
//!   timestamp() ─┘            │
//!                      batches in flight (first in, first out)
//!                             ▲      the last of n timestamps
//!                             └──────────────────── PD
//! ```
//!
//! PD answers in order, so batches are matched by position. When the stream breaks, whoever waits asks again: a
//! timestamp that was handed out but never arrived is simply not used.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use codec::timestamp::Timestamp;
use proto::pdpb;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::grpc::{PdCore, check_header};
use super::{PdError, Result};

/// The most timestamps asked for at once; PD's logical counter has 18 bits for each millisecond.
const BATCH_MAX: usize = 4096;
/// Batches on the wire at once. More would only queue at PD.
const IN_FLIGHT_MAX: usize = 64;
/// Pause before the stream is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(30);

type Waiter = oneshot::Sender<Timestamp>;

/// A batch on the wire.
struct Asked {
    at: Instant,
    waiters: Vec<Waiter>,
}

/// Handle to the stream's task; the task ends with the last handle.
#[derive(Clone)]
pub(super) struct Tso {
    core: Arc<PdCore>,
    queue: mpsc::UnboundedSender<Waiter>,
}

impl Tso {
    pub(super) fn start(core: Arc<PdCore>) -> Self {
        // Unbounded, but each entry is one caller that waits for it.
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(run(core.clone(), waiting));
        Self { core, queue }
    }

    pub(super) async fn timestamp(&self) -> Result<Timestamp> {
        crate::trips::to_pd(self.core.region().as_deref());
        let deadline = Instant::now() + self.core.options().deadline;
        loop {
            let (waiter, answer) = oneshot::channel();
            let gone = || PdError::Unavailable("the timestamp stream has ended".into());
            self.queue.send(waiter).map_err(|_| gone())?;
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(timestamp)) => return Ok(timestamp),
                Ok(Err(_)) => {} // the stream broke: ask again
                Err(_) => return Err(PdError::Unavailable("no timestamp in time".into())),
            }
        }
    }
}

async fn run(core: Arc<PdCore>, mut waiting: mpsc::UnboundedReceiver<Waiter>) {
    loop {
        // Nobody waits: no reason to hold a stream to a leader that may change meanwhile.
        let Some(first) = waiting.recv().await else { return };
        let mut first = Some(first);
        match serve(&core, &mut waiting, &mut first).await {
            Ok(()) => return,
            Err(reason) => tracing::debug!("timestamp stream: {reason}"),
        }
        drop(first);
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Serves waiters over one stream until it breaks (`Err`) or every handle is gone (`Ok`).
async fn serve(
    core: &PdCore,
    waiting: &mut mpsc::UnboundedReceiver<Waiter>,
    first: &mut Option<Waiter>,
) -> std::result::Result<(), String> {
    let mut leader = core.leader().await.map_err(|e| e.to_string())?;
    let attempt = core.options().attempt;
    let (requests, outgoing) = mpsc::unbounded_channel();
    let mut batch: Vec<Waiter> = first.take().into_iter().collect();
    let mut in_flight: VecDeque<Asked> = VecDeque::new();
    // The first request goes with the call: some servers answer the headers only after it.
    drain(waiting, &mut batch);
    send(core, &requests, &mut in_flight, std::mem::take(&mut batch))?;
    let opened = tokio::time::timeout(attempt, leader.stub.tso(UnboundedReceiverStream::new(outgoing))).await;
    let mut responses = match opened {
        Ok(Ok(response)) => response.into_inner(),
        failed => {
            core.forget(&leader);
            return Err(failed.map_or("no answer in time".into(), |r| r.err().map_or(String::new(), |s| s.to_string())));
        }
    };
    let broken = |reason: String| {
        core.forget(&leader);
        Err(reason)
    };
    loop {
        // The oldest question's: those that follow it do not give the stream more time.
        let deadline = in_flight.front().map_or_else(Instant::now, |oldest| oldest.at) + attempt;
        tokio::select! {
            biased;
            response = tokio::time::timeout_at(deadline, responses.message()), if !in_flight.is_empty() => {
                let response = match response {
                    Ok(Ok(Some(response))) => response,
                    Ok(Ok(None)) => return broken("closed by PD".into()),
                    Ok(Err(status)) => return broken(status.message().into()),
                    Err(_) => return broken("no answer in time".into()),
                };
                if let Err(e) = check_header(response.header.as_ref()) {
                    return broken(e.to_string());
                }
                let Some(asked) = in_flight.pop_front() else { return broken("an answer to no question".into()) };
                if let Err(reason) = hand_out(&response, asked.waiters) {
                    return broken(reason);
                }
            }
            n = waiting.recv_many(&mut batch, BATCH_MAX), if in_flight.len() < IN_FLIGHT_MAX => {
                if n == 0 {
                    return Ok(());
                }
                if let Err(reason) = send(core, &requests, &mut in_flight, std::mem::take(&mut batch)) {
                    return broken(reason);
                }
            }
        }
    }
}

fn drain(waiting: &mut mpsc::UnboundedReceiver<Waiter>, batch: &mut Vec<Waiter>) {
    while batch.len() < BATCH_MAX {
        match waiting.try_recv() {
            Ok(waiter) => batch.push(waiter),
            Err(_) => return,
        }
    }
}

fn send(
    core: &PdCore,
    requests: &mpsc::UnboundedSender<pdpb::TsoRequest>,
    in_flight: &mut VecDeque<Asked>,
    batch: Vec<Waiter>,
) -> std::result::Result<(), String> {
    let count = batch.len() as u32;
    let request = pdpb::TsoRequest { header: core.header(), count, dc_location: "global".into() };
    in_flight.push_back(Asked { at: Instant::now(), waiters: batch });
    requests.send(request).map_err(|_| "the stream is closed".to_string())
}

/// The answer names the last of `count` timestamps; they differ in the logical part.
fn hand_out(response: &pdpb::TsoResponse, batch: Vec<Waiter>) -> std::result::Result<(), String> {
    let last = response.timestamp.as_ref().ok_or("an answer without a timestamp")?;
    let count = batch.len() as i64;
    if i64::from(response.count) != count || last.logical + 1 < count || last.logical >= 1 << 18 || last.physical <= 0 {
        return Err(format!("{count} timestamps asked, got {} up to {:?}", response.count, last));
    }
    for (i, waiter) in batch.into_iter().enumerate() {
        // A caller that gave up leaves a gap; gaps are harmless.
        let _ = waiter.send(Timestamp::compose(last.physical, last.logical - (count - 1) + i as i64));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(count: u32, physical: i64, logical: i64) -> pdpb::TsoResponse {
        let timestamp = Some(pdpb::Timestamp { physical, logical, suffix_bits: 0 });
        pdpb::TsoResponse { header: None, count, timestamp }
    }

    fn waiters(n: usize) -> (Vec<Waiter>, Vec<oneshot::Receiver<Timestamp>>) {
        (0..n).map(|_| oneshot::channel()).unzip()
    }

    #[test]
    fn a_batch_shares_the_answer_in_order() {
        let (batch, receivers) = waiters(3);
        hand_out(&answer(3, 7, 10), batch).unwrap();
        let got: Vec<Timestamp> = receivers.into_iter().map(|mut r| r.try_recv().unwrap()).collect();
        assert_eq!(got, [8, 9, 10].map(|logical| Timestamp::compose(7, logical)));
    }

    #[test]
    fn an_answer_that_does_not_cover_the_batch_is_refused() {
        for wrong in [answer(2, 7, 10), answer(3, 7, 1), answer(3, 0, 10), answer(3, 7, 1 << 18)] {
            let (batch, mut receivers) = waiters(3);
            assert!(hand_out(&wrong, batch).is_err());
            assert!(receivers[0].try_recv().is_err());
        }
    }
}
