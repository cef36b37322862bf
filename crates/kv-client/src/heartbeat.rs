//! Keeps the locks of long transactions alive: one task per client tells the primaries' stores that their
//! transactions are still being worked on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codec::timestamp::Timestamp;
use parking_lot::Mutex;
use proto::kvrpcpb;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::{Client, REQUEST_TIMEOUT};

/// How long a lock lives after its last heartbeat: long enough to survive a leader change and one lost heartbeat, short
/// enough that the rows which a crashed client had locked are free within the 15 s in which a cluster gets over a crash.
pub(crate) const LOCK_TTL_MS: u64 = 12_000;
/// Between two heartbeats: a third of the life, so that one may be lost.
const INTERVAL: Duration = Duration::from_millis(LOCK_TTL_MS / 3);
/// How often the task looks.
const TICK: Duration = Duration::from_secs(1);
const _: () = assert!(LOCK_TTL_MS < 15_000 && INTERVAL.as_millis() * 2 + TICK.as_millis() < LOCK_TTL_MS as u128);
/// A transaction older than this gets no more heartbeats: it was most likely forgotten, and its locks hurt others.
const AGE_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone)]
struct Beat {
    primary: Vec<u8>,
    started: Instant,
    last: Instant,
    lasting: bool,
}

impl Beat {
    fn is_forgotten(&self) -> bool {
        !self.lasting && self.started.elapsed() >= AGE_MAX
    }
}

#[derive(Default)]
struct Beats {
    running: bool,
    by_txn: BTreeMap<u64, Beat>,
}

/// The transactions whose locks are kept alive.
#[derive(Default)]
pub(crate) struct Heartbeats(Mutex<Beats>);

impl Client {
    /// Keeps a transaction's locks alive until [`Client::stop_heartbeat`]; unless `lasting`, at most [`AGE_MAX`] long.
    /// `started` is when its timestamp was taken.
    pub(crate) fn start_heartbeat(&self, start_ts: Timestamp, primary: Vec<u8>, started: Instant, lasting: bool) {
        let mut beats = self.inner.heartbeats.0.lock();
        beats.by_txn.insert(start_ts.0, Beat { primary, started, last: Instant::now(), lasting });
        if !beats.running {
            beats.running = true;
            tokio::spawn(run(Arc::downgrade(&self.inner)));
        }
    }

    pub(crate) fn stop_heartbeat(&self, start_ts: Timestamp) {
        self.inner.heartbeats.0.lock().by_txn.remove(&start_ts.0);
    }

    async fn beat(self, start_ts: u64, beat: Beat) {
        let mut backoff = Backoff::new(INTERVAL);
        let advise_lock_ttl = beat.started.elapsed().as_millis() as u64 + LOCK_TTL_MS;
        loop {
            let Ok(region) = self.locate(&beat.primary, &mut backoff).await else { return };
            let request = kvrpcpb::TxnHeartBeatRequest {
                primary_lock: beat.primary.clone(),
                start_version: start_ts,
                advise_lock_ttl,
                ..Default::default()
            };
            match self.send(&region, request, REQUEST_TIMEOUT).await {
                Ok(response) => {
                    if response.error.is_some() {
                        // The lock is gone: the transaction was committed or rolled back, its own commit will tell.
                        self.stop_heartbeat(Timestamp(start_ts));
                    }
                    return;
                }
                Err(failure) => {
                    if failure.wait(&mut backoff).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Ends when no transaction is left (the next one starts it again) or the client is gone.
async fn run(inner: std::sync::Weak<crate::client::Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        let client = Client { inner };
        let due: Vec<(u64, Beat)> = {
            let mut beats = client.inner.heartbeats.0.lock();
            beats.by_txn.retain(|_, beat| !beat.is_forgotten());
            if beats.by_txn.is_empty() {
                beats.running = false;
                return;
            }
            let due = beats.by_txn.iter_mut().filter(|(_, beat)| beat.last.elapsed() >= INTERVAL);
            due.map(|(start_ts, beat)| {
                beat.last = Instant::now();
                (*start_ts, beat.clone())
            })
            .collect()
        };
        for (start_ts, beat) in due {
            tokio::spawn(client.clone().beat(start_ts, beat));
        }
    }
}
