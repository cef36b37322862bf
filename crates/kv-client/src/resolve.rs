//! What to do about another transaction's lock: find out what became of the transaction, and clean up after it.
//!
//! ```text
//!   lock on k (start_ts 5, primary p)
//!     └─ CheckTxnStatus(p, 5)
//!          committed at 8 ── ResolveLock(5 → 8)      the lock becomes a visible write
//!          rolled back ───── ResolveLock(5 → 0)      the lock goes
//!          alive ─────────── a reader passes it when its commit was pushed after the reader's timestamp;
//!                            everyone else waits
//!          async commit, expired ── CheckSecondaryLocks: all locks there means committed
//! ```
//!
//! The decision is in [`read_status`], which is pure. Determined outcomes never change, so they are cached.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use codec::timestamp::Timestamp;
use parking_lot::Mutex;
use proto::kvrpcpb::{self, Action, LockInfo, Op};

use crate::backoff::{Backoff, Reason};
use crate::client::{Client, REQUEST_TIMEOUT, slices};
use crate::error::{Error, Result, from_key_error};

/// Determined outcomes remembered.
const CACHE_MAX: usize = 4096;
/// A transaction with more keys than this in a region has its locks there resolved all at once.
const RESOLVE_LITE_KEYS_MAX: u64 = 16;

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TxnStatus {
    Committed(u64),
    RolledBack,
    /// Its pessimistic locks count for nothing; the transaction itself is not determined.
    PessimisticGone,
    Alive {
        /// How long the primary lock lives from the transaction's start.
        ttl_ms: u64,
        /// A reader may pass: the transaction cannot commit before the reader's timestamp any more.
        pushed: bool,
        /// The primary lock, when the transaction commits asynchronously.
        async_primary: Option<Box<LockInfo>>,
    },
}

/// What a store told about a transaction.
pub(crate) fn read_status(response: &kvrpcpb::CheckTxnStatusResponse) -> TxnStatus {
    if response.commit_version > 0 {
        return TxnStatus::Committed(response.commit_version);
    }
    let action = Action::try_from(response.action).unwrap_or(Action::NoAction);
    if response.lock_ttl > 0 || action == Action::MinCommitTsPushed {
        let async_primary = response.lock_info.as_ref().filter(|lock| lock.use_async_commit);
        return TxnStatus::Alive {
            ttl_ms: response.lock_ttl,
            pushed: action == Action::MinCommitTsPushed,
            async_primary: async_primary.cloned().map(Box::new),
        };
    }
    match action {
        Action::TtlExpirePessimisticRollback | Action::LockNotExistDoNothing => TxnStatus::PessimisticGone,
        _ => TxnStatus::RolledBack,
    }
}

/// What a reader or writer does after its locks were looked at.
#[derive(Debug, Default)]
pub(crate) struct Resolution {
    /// The longest remaining life of a lock that is in the way; `None` when nothing is.
    pub(crate) wait: Option<Duration>,
    /// Transactions that a reader may pass as if their locks were not there.
    pub(crate) pass: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Resolver {
    /// Protects the remembered outcomes, oldest first.
    determined: Mutex<(HashMap<u64, TxnStatus>, VecDeque<u64>)>,
}

impl Resolver {
    fn recall(&self, start_ts: u64) -> Option<TxnStatus> {
        self.determined.lock().0.get(&start_ts).cloned()
    }

    fn remember(&self, start_ts: u64, status: &TxnStatus) {
        if !matches!(status, TxnStatus::Committed(_) | TxnStatus::RolledBack) {
            return;
        }
        let (map, order) = &mut *self.determined.lock();
        if map.insert(start_ts, status.clone()).is_none() {
            order.push_back(start_ts);
            if order.len() > CACHE_MAX
                && let Some(oldest) = order.pop_front()
            {
                map.remove(&oldest);
            }
        }
    }
}

fn is_pessimistic(lock: &LockInfo) -> bool {
    lock.lock_type == Op::PessimisticLock as i32
}

fn time_left(lock_ts: u64, ttl_ms: u64, now: Timestamp) -> Option<Duration> {
    let end = Timestamp(lock_ts).physical().saturating_add_unsigned(ttl_ms);
    u64::try_from(end - now.physical()).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

impl Client {
    /// Looks at locks met by a reader at `read_ts`, or by a writer (`None`): resolves those whose transactions are
    /// determined, and says what remains.
    pub(crate) async fn resolve_locks(
        &self,
        read_ts: Option<Timestamp>,
        locks: Vec<LockInfo>,
        backoff: &mut Backoff,
    ) -> Result<Resolution> {
        let now = self.timestamp().await?;
        self.resolve_locks_at(read_ts, locks, now, backoff).await
    }

    /// The same at a time of the caller's choosing: at [`Timestamp::MAX`] no lock lives any more.
    pub(crate) async fn resolve_locks_at(
        &self,
        read_ts: Option<Timestamp>,
        locks: Vec<LockInfo>,
        now: Timestamp,
        backoff: &mut Backoff,
    ) -> Result<Resolution> {
        let mut resolution = Resolution::default();
        let mut by_txn: BTreeMap<u64, Vec<LockInfo>> = BTreeMap::new();
        for lock in locks {
            by_txn.entry(lock.lock_version).or_default().push(lock);
        }
        for (start_ts, locks) in by_txn {
            let status = match self.inner.resolver.recall(start_ts) {
                Some(status) => status,
                None => self.txn_status(&locks[0], read_ts, now, false, backoff).await?,
            };
            match status {
                TxnStatus::Alive { pushed: true, .. } if read_ts.is_some() => resolution.pass.push(start_ts),
                TxnStatus::Alive { ttl_ms, async_primary, .. } => {
                    if let Some(left) = time_left(start_ts, ttl_ms, now) {
                        resolution.wait = Some(resolution.wait.map_or(left, |w| w.max(left)));
                        continue;
                    }
                    let status = match async_primary {
                        Some(primary) => self.finish_async_commit(&primary, now, backoff).await?,
                        None => {
                            // Alive without a life left and not rolled back: another client is at it.
                            resolution.wait = Some(resolution.wait.unwrap_or(Duration::from_millis(10)));
                            continue;
                        }
                    };
                    self.clean_up(&locks, &status, backoff).await?;
                }
                status => self.clean_up(&locks, &status, backoff).await?,
            }
        }
        Ok(resolution)
    }

    /// Asks the primary's region what became of a lock's transaction.
    async fn txn_status(
        &self,
        lock: &LockInfo,
        read_ts: Option<Timestamp>,
        now: Timestamp,
        force_sync_commit: bool,
        backoff: &mut Backoff,
    ) -> Result<TxnStatus> {
        let mut rollback_if_not_exist = time_left(lock.lock_version, lock.lock_ttl, now).is_none();
        loop {
            let region = self.locate(&lock.primary_lock, backoff).await?;
            let request = kvrpcpb::CheckTxnStatusRequest {
                primary_key: lock.primary_lock.clone(),
                lock_ts: lock.lock_version,
                caller_start_ts: read_ts.map_or(0, |ts| ts.0),
                // A lock that lives for no time belongs to a transaction that was given up.
                current_ts: if lock.lock_ttl == 0 { u64::MAX } else { now.0 },
                rollback_if_not_exist,
                force_sync_commit,
                resolving_pessimistic_lock: is_pessimistic(lock),
                verify_is_primary: true,
                ..Default::default()
            };
            let response = match self.send(&region, request, REQUEST_TIMEOUT).await {
                Ok(response) => response,
                Err(failure) => {
                    failure.wait(backoff).await?;
                    continue;
                }
            };
            let Some(error) = response.error else {
                let status = read_status(&response);
                self.inner.resolver.remember(lock.lock_version, &status);
                return Ok(status);
            };
            if error.txn_not_found.is_some() {
                // The lock was seen before its primary was written. It is waited for as long as the lock lives.
                let now = self.timestamp().await?;
                if let Some(left) = time_left(lock.lock_version, lock.lock_ttl, now) {
                    if is_pessimistic(lock) {
                        let ttl_ms = lock.lock_ttl;
                        return Ok(TxnStatus::Alive { ttl_ms, pushed: false, async_primary: None });
                    }
                    backoff.wait(Reason::ReadLock, None, format!("primary not found yet, {left:?} left")).await?;
                } else {
                    rollback_if_not_exist = true;
                }
                continue;
            }
            if error.primary_mismatch.is_some() && is_pessimistic(lock) {
                return Ok(TxnStatus::PessimisticGone);
            }
            return Err(from_key_error(lock.lock_version, error));
        }
    }

    /// Decides a transaction that commits asynchronously and was not heard of: it is committed if every key is
    /// locked, and any missing lock tells the outcome.
    async fn finish_async_commit(
        &self,
        primary: &LockInfo,
        now: Timestamp,
        backoff: &mut Backoff,
    ) -> Result<TxnStatus> {
        let start_ts = primary.lock_version;
        let mut commit_ts = primary.min_commit_ts;
        let mut left: Vec<Vec<u8>> = primary.secondaries.clone();
        let mut outcome = None;
        'check: while !left.is_empty() {
            let groups = self.group(&slices(&left), backoff).await?;
            let mut again = Vec::new();
            for (region, members) in groups {
                let keys: Vec<Vec<u8>> = members.iter().map(|&i| left[i].clone()).collect();
                let count = keys.len();
                let request =
                    kvrpcpb::CheckSecondaryLocksRequest { keys, start_version: start_ts, ..Default::default() };
                match self.send(&region, request, REQUEST_TIMEOUT).await {
                    Ok(response) => {
                        if let Some(error) = response.error {
                            return Err(from_key_error(start_ts, error));
                        }
                        if response.commit_ts > 0 {
                            outcome = Some(TxnStatus::Committed(response.commit_ts));
                            break 'check;
                        }
                        if response.locks.len() < count {
                            outcome = Some(TxnStatus::RolledBack);
                            break 'check;
                        }
                        if response.locks.iter().any(|lock| !lock.use_async_commit) {
                            // It fell back to two phases: the primary alone decides.
                            return Box::pin(self.txn_status(primary, None, now, true, backoff)).await;
                        }
                        commit_ts = response.locks.iter().map(|lock| lock.min_commit_ts).fold(commit_ts, u64::max);
                    }
                    Err(failure) => {
                        failure.wait(backoff).await?;
                        again.extend(members.iter().map(|&i| left[i].clone()));
                    }
                }
            }
            left = again;
        }
        let status = outcome.unwrap_or(TxnStatus::Committed(commit_ts));
        let mut keys = primary.secondaries.clone();
        keys.push(primary.key.clone());
        let commit_version = match status {
            TxnStatus::Committed(ts) => ts,
            _ => 0,
        };
        self.resolve_keys(start_ts, commit_version, keys, false, backoff).await?;
        self.inner.resolver.remember(start_ts, &status);
        Ok(status)
    }

    /// Turns or removes locks of one transaction whose outcome is known.
    async fn clean_up(&self, locks: &[LockInfo], status: &TxnStatus, backoff: &mut Backoff) -> Result<()> {
        let Some(first) = locks.first() else { return Ok(()) };
        let start_ts = first.lock_version;
        let pessimistic = locks.iter().filter(|lock| is_pessimistic(lock));
        let for_update_ts = pessimistic.clone().map(|lock| lock.lock_for_update_ts).fold(start_ts, u64::max);
        let keys: Vec<Vec<u8>> = pessimistic.map(|lock| lock.key.clone()).collect();
        if !keys.is_empty() {
            self.pessimistic_rollback(start_ts, for_update_ts, keys, backoff).await?;
        }
        let written: Vec<&LockInfo> = locks.iter().filter(|lock| !is_pessimistic(lock)).collect();
        if written.is_empty() {
            return Ok(());
        }
        let commit_version = match status {
            TxnStatus::Committed(ts) => *ts,
            TxnStatus::RolledBack => 0,
            _ => return Ok(()),
        };
        let whole_region = written.iter().any(|lock| lock.txn_size > RESOLVE_LITE_KEYS_MAX);
        let keys = written.into_iter().map(|lock| lock.key.clone()).collect();
        self.resolve_keys(start_ts, commit_version, keys, whole_region, backoff).await
    }

    async fn resolve_keys(
        &self,
        start_ts: u64,
        commit_version: u64,
        keys: Vec<Vec<u8>>,
        whole_region: bool,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let mut left = keys;
        while !left.is_empty() {
            let groups = self.group(&slices(&left), backoff).await?;
            let mut again = Vec::new();
            for (region, members) in groups {
                let keys: Vec<Vec<u8>> = members.iter().map(|&i| left[i].clone()).collect();
                let request = kvrpcpb::ResolveLockRequest {
                    start_version: start_ts,
                    commit_version,
                    keys: if whole_region { Vec::new() } else { keys.clone() },
                    ..Default::default()
                };
                match self.send(&region, request, REQUEST_TIMEOUT).await {
                    Ok(response) => {
                        if let Some(error) = response.error {
                            return Err(from_key_error(start_ts, error));
                        }
                    }
                    Err(failure) => {
                        failure.wait(backoff).await?;
                        again.extend(keys);
                    }
                }
            }
            left = again;
        }
        Ok(())
    }

    /// Releases pessimistic locks.
    pub(crate) async fn pessimistic_rollback(
        &self,
        start_ts: u64,
        for_update_ts: u64,
        keys: Vec<Vec<u8>>,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let mut left = keys;
        while !left.is_empty() {
            let groups = self.group(&slices(&left), backoff).await?;
            let mut again = Vec::new();
            for (region, members) in groups {
                let keys: Vec<Vec<u8>> = members.iter().map(|&i| left[i].clone()).collect();
                let request = kvrpcpb::PessimisticRollbackRequest {
                    start_version: start_ts,
                    for_update_ts,
                    keys: keys.clone(),
                    ..Default::default()
                };
                match self.send(&region, request, REQUEST_TIMEOUT).await {
                    Ok(response) => {
                        if let Some(error) = response.errors.into_iter().next() {
                            return Err(from_key_error(start_ts, error));
                        }
                    }
                    Err(failure) => {
                        failure.wait(backoff).await?;
                        again.extend(keys);
                    }
                }
            }
            left = again;
        }
        Ok(())
    }
}

/// The locks among key errors, or the first error that is none.
pub(crate) fn locks_of(start_ts: u64, errors: Vec<kvrpcpb::KeyError>) -> Result<Vec<LockInfo>> {
    let mut locks = Vec::with_capacity(errors.len());
    let mut other = None;
    for mut error in errors {
        match error.locked.take() {
            Some(lock) => locks.push(lock),
            None => other = other.or(Some(error)),
        }
    }
    match other {
        Some(error) => Err(from_key_error(start_ts, error)),
        None if locks.is_empty() => Err(Error::Refused("an error without a reason".into())),
        None => Ok(locks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(ttl: u64, commit: u64, action: Action) -> kvrpcpb::CheckTxnStatusResponse {
        kvrpcpb::CheckTxnStatusResponse {
            lock_ttl: ttl,
            commit_version: commit,
            action: action as i32,
            ..Default::default()
        }
    }

    #[test]
    fn a_status_is_read_from_ttl_commit_version_and_action() {
        assert_eq!(read_status(&response(0, 8, Action::NoAction)), TxnStatus::Committed(8));
        for action in [Action::NoAction, Action::TtlExpireRollback, Action::LockNotExistRollback] {
            assert_eq!(read_status(&response(0, 0, action)), TxnStatus::RolledBack);
        }
        for action in [Action::TtlExpirePessimisticRollback, Action::LockNotExistDoNothing] {
            assert_eq!(read_status(&response(0, 0, action)), TxnStatus::PessimisticGone);
        }
        let alive = |pushed| TxnStatus::Alive { ttl_ms: 3000, pushed, async_primary: None };
        assert_eq!(read_status(&response(3000, 0, Action::NoAction)), alive(false));
        assert_eq!(read_status(&response(3000, 0, Action::MinCommitTsPushed)), alive(true));
    }

    #[test]
    fn a_lock_lives_until_start_plus_ttl() {
        let at = |ms| Timestamp::compose(ms, 0);
        assert_eq!(time_left(at(1000).0, 500, at(1400)), Some(Duration::from_millis(100)));
        assert_eq!(time_left(at(1000).0, 500, at(1500)), None);
        assert_eq!(time_left(at(1000).0, 500, at(9000)), None);
    }

    #[test]
    fn only_determined_outcomes_are_remembered_and_the_oldest_go() {
        let resolver = Resolver::default();
        resolver.remember(1, &TxnStatus::PessimisticGone);
        assert_eq!(resolver.recall(1), None);
        for ts in 0..=CACHE_MAX as u64 {
            resolver.remember(ts, &TxnStatus::Committed(ts + 1));
        }
        assert_eq!(resolver.recall(0), None);
        assert_eq!(resolver.recall(1), Some(TxnStatus::Committed(2)));
    }
}
