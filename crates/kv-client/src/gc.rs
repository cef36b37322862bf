//! Garbage collection from the client's side: before old versions may go, no lock of an old transaction may be left.

use codec::timestamp::Timestamp;
use futures::stream::{self, StreamExt, TryStreamExt};
use proto::kvrpcpb;

use crate::client::{Client, REQUEST_TIMEOUT};
use crate::error::{Result, from_key_error};

/// Locks in one answer.
const LOCKS: u32 = 512;
/// Regions whose locks are looked for one after the other; as many of these groups as asked for at once.
const REGIONS: usize = 64;
/// Groups at once at most.
const CONCURRENCY_MAX: usize = 128;

impl Client {
    /// Finishes all transactions that started up to `safe_point`, in the whole key space; returns how many locks that took.
    /// The caller knows that none of them may go on: what is not committed is rolled back, also if its locks would live
    /// longer. `concurrency` groups of regions at once; `None` for as many as there are stores.
    pub async fn resolve_locks_before(&self, safe_point: Timestamp, concurrency: Option<usize>) -> Result<usize> {
        let pd = self.pd();
        let concurrency = match concurrency {
            Some(concurrency) => concurrency,
            None => pd.get_all_stores(true).await?.len(),
        };
        // Regions may be split meanwhile: their bounds only cut the key space into parts.
        let mut bounds = vec![Vec::new()];
        loop {
            let from = bounds.last().cloned().unwrap_or_default();
            let regions = pd.scan_regions(&from, &[], REGIONS).await?;
            match regions.last().map(|last| last.region.end_key.clone()) {
                Some(end) if !end.is_empty() && end > from => bounds.push(end),
                _ => break,
            }
        }
        bounds.push(Vec::new());
        let user_key = |encoded: &Vec<u8>| codec::key::decode_user_key(encoded).unwrap_or_default();
        let bounds: Vec<Vec<u8>> = bounds.iter().map(user_key).collect();
        let parts = bounds.windows(2).map(|part| self.resolve_part(part[0].clone(), part[1].clone(), safe_point));
        stream::iter(parts.collect::<Vec<_>>())
            .buffer_unordered(concurrency.clamp(1, CONCURRENCY_MAX))
            .try_fold(0, |sum, resolved| async move { Ok(sum + resolved) })
            .await
    }

    async fn resolve_part(&self, start: Vec<u8>, end: Vec<u8>, safe_point: Timestamp) -> Result<usize> {
        let mut backoff = self.backoff();
        let mut at = start;
        let mut resolved = 0;
        loop {
            let region = self.locate(&at, &mut backoff).await?;
            let request = kvrpcpb::ScanLockRequest {
                max_version: safe_point.0,
                start_key: at.clone(),
                end_key: region.end.clone(),
                limit: LOCKS,
                ..Default::default()
            };
            let response = match self.send(&region, request, REQUEST_TIMEOUT).await {
                Ok(response) => response,
                Err(failure) => {
                    failure.wait(&mut backoff).await?;
                    continue;
                }
            };
            if let Some(mut error) = response.error {
                // One that is in its leader's memory until its record is written.
                match error.locked.take() {
                    Some(lock) => {
                        self.resolve_locks_at(None, vec![lock], Timestamp::MAX, &mut backoff).await?;
                        let why = "a lock is being written";
                        backoff.wait(crate::backoff::Reason::WriteLock, None, why).await?;
                        continue;
                    }
                    None => return Err(from_key_error(safe_point.0, error)),
                }
            }
            let found = response.locks.len();
            if found > 0 {
                let last = response.locks.last().map(|lock| lock.key.clone()).unwrap_or_default();
                self.resolve_locks_at(None, response.locks, Timestamp::MAX, &mut backoff).await?;
                resolved += found;
                if found == LOCKS as usize {
                    at = last;
                    at.push(0);
                    continue;
                }
            }
            if region.end.is_empty() || (!end.is_empty() && region.end >= end) {
                return Ok(resolved);
            }
            at = region.end.clone();
            backoff = self.backoff();
        }
    }
}
