//! [`Snapshot`]: reads of what was committed up to a timestamp.
//!
//! Every read goes region by region, follows the regions when they move, and deals with locks on its way: a lock of a
//! transaction that is determined is cleaned up, one that was pushed past our timestamp is passed, any other is
//! waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use codec::timestamp::Timestamp;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use proto::kvrpcpb::{self, LockInfo};

use crate::backoff::{Backoff, Reason};
use crate::client::{Client, REQUEST_TIMEOUT};
use crate::error::{Error, Result, from_key_error};
use crate::live::InUse;
use crate::private::{Private, PrivateSnapshot};
use crate::region::Region;

/// Values asked for at once, when a scan has no smaller limit: until it is known how large they are, and at most.
const FIRST_BATCH: usize = 32;
const BATCH_MAX: usize = 1024;
/// Bytes that an answer should have at most: it is one message, which has a limit.
const ANSWER_BYTES: usize = 8 << 20;

/// A key and its value.
pub type KvPair = (Vec<u8>, Vec<u8>);

/// Reads at one timestamp. Clones share what was learned about locks.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) client: Client,
    ts: Timestamp,
    /// Transactions whose locks this snapshot passes: they cannot commit before `ts`. Grows only.
    passed: Arc<Mutex<Vec<u64>>>,
    /// Average bytes of the values of the last answer; 0 before the first.
    value_bytes: Arc<AtomicUsize>,
    /// What the session keeps to itself.
    private: Option<PrivateSnapshot>,
    /// Keeps the versions that it sees from being collected.
    _in_use: Option<Arc<InUse>>,
}

impl Snapshot {
    pub(crate) fn new(client: Client, ts: Timestamp) -> Self {
        let in_use = client.inner.live.pin(ts);
        Self { client, ts, passed: Arc::default(), value_bytes: Arc::default(), private: None, _in_use: in_use }
    }

    /// Refuses a read of what may be gone.
    pub(crate) fn check_age(&self) -> Result<()> {
        self.client.inner.live.check(self.ts)
    }

    /// The same, with what a session keeps to itself as it is now.
    pub fn with_private(mut self, private: Option<&Private>) -> Self {
        self.private = private.map(Private::snapshot);
        self
    }

    /// How many values to ask for at once.
    fn batch(&self) -> usize {
        match self.value_bytes.load(Ordering::Relaxed) {
            0 => FIRST_BATCH,
            average => (ANSWER_BYTES / average).clamp(1, BATCH_MAX),
        }
    }

    /// Learns from an answer how large values are.
    fn measure(&self, pairs: &[kvrpcpb::KvPair]) {
        let bytes: usize = pairs.iter().map(|pair| pair.value.len()).sum();
        if let Some(average) = bytes.checked_div(pairs.len()) {
            self.value_bytes.store(average.max(1), Ordering::Relaxed);
        }
    }

    /// The timestamp read at.
    pub fn ts(&self) -> Timestamp {
        self.ts
    }

    /// The request's context; the region is filled in when it is sent.
    pub(crate) fn context(&self) -> kvrpcpb::Context {
        kvrpcpb::Context { resolved_locks: self.passed.lock().clone(), ..Default::default() }
    }

    /// Deals with locks that are in the way; returns when the read may be tried again.
    pub(crate) async fn on_locks(&self, locks: Vec<LockInfo>, backoff: &mut Backoff) -> Result<()> {
        let resolution = self.client.resolve_locks(Some(self.ts), locks, backoff).await?;
        if !resolution.pass.is_empty() {
            self.passed.lock().extend(resolution.pass);
        }
        match resolution.wait {
            None => Ok(()),
            Some(left) => {
                let why = format!("a lock is in the way for {left:?} at most");
                // Most transactions end long before their locks' time: look again early, then less often.
                backoff.wait(Reason::ReadLock, None, why).await
            }
        }
    }

    /// The value of a key.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(private) = self.private.as_ref().filter(|private| private.covers(key)) {
            return Ok(private.get(key));
        }
        self.check_age()?;
        let mut backoff = self.client.backoff();
        loop {
            let region = self.client.locate(key, &mut backoff).await?;
            let request = kvrpcpb::GetRequest { context: Some(self.context()), key: key.to_vec(), version: self.ts.0 };
            match self.client.send(&region, request, REQUEST_TIMEOUT).await {
                Ok(response) => match response.error {
                    None => return Ok((!response.not_found).then_some(response.value)),
                    Some(kvrpcpb::KeyError { locked: Some(lock), .. }) => {
                        self.on_locks(vec![lock], &mut backoff).await?;
                    }
                    Some(error) => return Err(from_key_error(self.ts.0, error)),
                },
                Err(failure) => failure.wait(&mut backoff).await?,
            }
        }
    }

    /// The values of keys, in their order.
    pub async fn batch_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        match keys {
            [] => return Ok(Vec::new()),
            [key] => return Ok(vec![self.get(key).await?]),
            _ => {}
        }
        self.check_age()?;
        let mut backoff = self.client.backoff();
        let mut found: HashMap<Vec<u8>, Vec<u8>> = HashMap::with_capacity(keys.len());
        let mut left: Vec<usize> = (0..keys.len()).collect();
        if let Some(private) = &self.private {
            left.retain(|&i| {
                let ours = private.covers(&keys[i]);
                if ours && let Some(value) = private.get(&keys[i]) {
                    found.insert(keys[i].clone(), value);
                }
                !ours
            });
        }
        while !left.is_empty() {
            let asked: Vec<&[u8]> = left.iter().map(|&i| keys[i].as_slice()).collect();
            let groups = self.client.group(&asked, &mut backoff).await?;
            let mut asked: FuturesUnordered<_> = groups
                .into_iter()
                .flat_map(|(region, members)| {
                    let members: Vec<usize> = members.into_iter().map(|position| left[position]).collect();
                    let chunks: Vec<Vec<usize>> = members.chunks(self.batch()).map(<[usize]>::to_vec).collect();
                    chunks.into_iter().map(move |chunk| (region.clone(), chunk))
                })
                .map(|(region, members)| async move {
                    let request = kvrpcpb::BatchGetRequest {
                        context: Some(self.context()),
                        keys: members.iter().map(|&i| keys[i].clone()).collect(),
                        version: self.ts.0,
                    };
                    let answer = self.client.send(&region, request, REQUEST_TIMEOUT).await;
                    (members, answer)
                })
                .collect();
            left = Vec::new();
            let mut locks = Vec::new();
            let mut failed = None;
            while let Some((members, answer)) = asked.next().await {
                match answer {
                    Ok(response) => {
                        if let Some(error) = response.error {
                            match error.locked {
                                Some(lock) => locks.push(lock),
                                None => return Err(from_key_error(self.ts.0, error)),
                            }
                            left.extend(members);
                            continue;
                        }
                        self.measure(&response.pairs);
                        let mut locked = Vec::new();
                        for pair in response.pairs {
                            match pair.error {
                                None => {
                                    found.insert(pair.key, pair.value);
                                }
                                Some(kvrpcpb::KeyError { locked: Some(lock), .. }) => {
                                    locked.push(if pair.key.is_empty() { lock.key.clone() } else { pair.key });
                                    locks.push(lock);
                                }
                                Some(error) => return Err(from_key_error(self.ts.0, error)),
                            }
                        }
                        left.extend(members.into_iter().filter(|&i| locked.contains(&keys[i])));
                    }
                    Err(failure) => {
                        left.extend(members);
                        failed = Some(failure);
                    }
                }
            }
            drop(asked);
            if !locks.is_empty() {
                self.on_locks(locks, &mut backoff).await?;
            }
            if let Some(failure) = failed {
                failure.wait(&mut backoff).await?;
            }
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    /// Up to `limit` pairs of `[start, end)` (`end` empty: no bound), ascending, or descending from its end when
    /// `reverse`. With `key_only` the values are empty.
    pub async fn scan(
        &self,
        start: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        key_only: bool,
    ) -> Result<Vec<KvPair>> {
        if let Some(private) = self.private.as_ref().filter(|private| private.covers(start)) {
            return Ok(private.scan(start, end, limit, reverse, key_only));
        }
        let mut pairs = Vec::new();
        let mut rest = Some((start.to_vec(), end.to_vec()));
        while let Some((start, end)) = rest.take() {
            if pairs.len() >= limit || (!end.is_empty() && start >= end) {
                break;
            }
            let batch = (limit - pairs.len()).min(self.batch());
            rest = self.scan_some(start, end, batch, reverse, key_only, &mut pairs).await?;
        }
        Ok(pairs)
    }

    /// One request's worth of a scan; returns what is left of the range.
    async fn scan_some(
        &self,
        start: Vec<u8>,
        end: Vec<u8>,
        limit: usize,
        reverse: bool,
        key_only: bool,
        pairs: &mut Vec<KvPair>,
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.check_age()?;
        let mut backoff = self.client.backoff();
        loop {
            let region = if reverse {
                self.client.locate_before(&end, &mut backoff).await?
            } else {
                self.client.locate(&start, &mut backoff).await?
            };
            let (low, high) = clip(&region, &start, &end);
            let (start_key, end_key) = if reverse { (high.clone(), low.clone()) } else { (low.clone(), high.clone()) };
            let request = kvrpcpb::ScanRequest {
                context: Some(self.context()),
                start_key,
                end_key,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
                version: self.ts.0,
                key_only,
                reverse,
                sample_step: 0,
            };
            let response = match self.client.send(&region, request, REQUEST_TIMEOUT).await {
                Ok(response) => response,
                Err(failure) => {
                    failure.wait(&mut backoff).await?;
                    continue;
                }
            };
            if let Some(error) = response.error {
                let lock = locked(self.ts, error)?;
                self.on_locks(vec![lock], &mut backoff).await?;
                continue;
            }
            self.measure(&response.pairs);
            let returned = response.pairs.len();
            let mut last = None;
            let mut lock = None;
            for pair in response.pairs {
                if let Some(error) = pair.error {
                    lock = Some(locked(self.ts, error)?);
                    break;
                }
                last = Some(pair.key.clone());
                pairs.push((pair.key, pair.value));
            }
            if let Some(lock) = lock {
                self.on_locks(vec![lock], &mut backoff).await?;
            } else if returned < limit {
                // The region has no more: go on beyond it.
                return Ok(if reverse {
                    (low > start).then_some((start, low))
                } else {
                    (!high.is_empty() && (end.is_empty() || high < end)).then_some((high, end))
                });
            }
            // Go on after (before) the last pair taken, or from the same place when none was.
            return Ok(Some(match (last, reverse) {
                (Some(key), true) => (start, key),
                (Some(mut key), false) => {
                    key.push(0);
                    (key, end)
                }
                (None, _) => (start, end),
            }));
        }
    }
}

fn locked(ts: Timestamp, error: kvrpcpb::KeyError) -> Result<LockInfo> {
    match error.locked {
        Some(lock) => Ok(lock),
        None => Err(from_key_error(ts.0, error)),
    }
}

/// The part of `[start, end)` inside a region.
pub(crate) fn clip(region: &Region, start: &[u8], end: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let low = if region.start.as_slice() > start { region.start.clone() } else { start.to_vec() };
    let high = match (region.end.is_empty(), end.is_empty()) {
        (true, _) => end.to_vec(),
        (false, true) => region.end.clone(),
        (false, false) => region.end.as_slice().min(end).to_vec(),
    };
    (low, high)
}

/// How long a lock may be waited for in all, for callers that set their own limit.
pub(crate) fn remaining(deadline: tokio::time::Instant) -> Option<Duration> {
    deadline.checked_duration_since(tokio::time::Instant::now()).filter(|left| !left.is_zero())
}

#[allow(dead_code)]
fn assert_traits(snapshot: Snapshot) -> impl Send + Sync + Clone + 'static {
    snapshot
}

/// Errors of reads are the same for all of them.
impl From<crate::client::Failure> for Error {
    fn from(failure: crate::client::Failure) -> Self {
        failure.fatal.unwrap_or(Error::RegionUnavailable(failure.why))
    }
}
