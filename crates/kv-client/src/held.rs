//! Who holds the lock of a key: a look that locks nothing and waits for nobody.

use codec::timestamp::Timestamp;
use proto::kvrpcpb;

use crate::client::{Client, REQUEST_TIMEOUT};
use crate::error::{Result, from_key_error};

/// A lock of a transaction that still lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLock {
    /// The transaction.
    pub start_ts: Timestamp,
    /// Its primary key.
    pub primary: Vec<u8>,
}

impl Client {
    /// The lock on a key, if one is there whose transaction has not stopped its heartbeats.
    pub async fn lock_on(&self, key: &[u8]) -> Result<Option<HeldLock>> {
        let now = self.timestamp().await?;
        let mut backoff = self.backoff();
        let end: Vec<u8> = key.iter().copied().chain([0]).collect();
        loop {
            let region = self.locate(key, &mut backoff).await?;
            let request = kvrpcpb::ScanLockRequest {
                max_version: now.0,
                start_key: key.to_vec(),
                end_key: end.clone(),
                limit: 1,
                ..Default::default()
            };
            match self.send(&region, request, REQUEST_TIMEOUT).await {
                Err(failure) => failure.wait(&mut backoff).await?,
                Ok(kvrpcpb::ScanLockResponse { error: Some(error), .. }) => return Err(from_key_error(now.0, error)),
                Ok(response) => {
                    let lives = |lock: &kvrpcpb::LockInfo| {
                        let age_ms = now.physical() - Timestamp(lock.lock_version).physical();
                        u64::try_from(age_ms).unwrap_or(0) <= lock.lock_ttl
                    };
                    let lock = response.locks.into_iter().find(lives);
                    return Ok(lock
                        .map(|lock| HeldLock { start_ts: Timestamp(lock.lock_version), primary: lock.primary_lock }));
                }
            }
        }
    }
}
