//! Drives a [`Committer`]: groups its keys by region, talks to stores and PD, resolves the locks of others, and goes
//! on in the background after the caller has been told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use codec::timestamp::Timestamp;
use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use proto::kvrpcpb::prewrite_request::PessimisticAction;
use proto::kvrpcpb::{self, Op};

use crate::backoff::{Backoff, Reason};
use crate::client::{Client, Failure, REQUEST_TIMEOUT};
use crate::committer::{Commit, Committer, Input, Keys, Output, Plan, Prewrite};
use crate::error::{Error, Result, from_key_error};
use crate::heartbeat::LOCK_TTL_MS;
use crate::live::InUse;
use crate::metrics::COMMITS;
use crate::region::Region;
use crate::resolve::locks_of;

/// Bytes of one prewrite request: well below what a log entry may be, and small enough that one does not hold up a
/// region for long.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Keys of one request.
const BATCH_KEYS_MAX: usize = 4096;
/// Async commit lists every key in the primary's lock; beyond this the list costs more than it saves.
const ASYNC_KEYS_MAX: usize = 256;
const ASYNC_KEY_BYTES_MAX: usize = 4096;
/// A commit timestamp that a store chooses may be at most this far ahead, also when a check permits more: a store that
/// would go further has seen what nobody should have read.
const COMMIT_AHEAD_MAX: Duration = Duration::from_millis(2000);
/// The shortest life of an optimistic transaction's locks: see [`lock_ttl_ms`].
const TTL_MS_MIN: u64 = 3000;

/// Checks a commit before it can happen, given a timestamp that PD gave out just now: how much later than that it may
/// happen, in PD's time; `Err` says what changed. See [`crate::Transaction::set_commit_check`].
pub type CommitCheck = Arc<dyn Fn(Timestamp) -> std::result::Result<Duration, String> + Send + Sync>;

/// One key's change.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    pub(crate) op: Op,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    /// In a pessimistic transaction: what prewrite finds on the key.
    pub(crate) action: PessimisticAction,
}

impl Mutation {
    fn is_locked(&self) -> bool {
        self.op != Op::CheckNotExists
    }
}

/// A transaction that is to be committed.
pub(crate) struct CommitJob {
    pub(crate) client: Client,
    pub(crate) start_ts: Timestamp,
    pub(crate) for_update_ts: Timestamp,
    pub(crate) pessimistic: bool,
    /// In key order; at least the primary leaves a lock.
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) primary: usize,
    pub(crate) lock_ttl_ms: u64,
    pub(crate) check: Option<CommitCheck>,
    pub(crate) deadline: Duration,
    /// Counts the commit among those under way, until its last lock is gone.
    pub(crate) _in_use: InUse,
}

/// What the requests of one commit share.
struct Shared {
    job: CommitJob,
    one_pc: bool,
    async_commit: bool,
    /// The least commit timestamp that a store may choose; zero without one-phase and async commit.
    min_commit_ts: u64,
    max_commit_ts: u64,
    /// Waits of all requests: one deadline. Cloned for each wait so that no lock is held meanwhile.
    backoff: Mutex<Backoff>,
}

type Step = Pin<Box<dyn Future<Output = Vec<Next>> + Send>>;

/// What a finished piece of work leads to.
enum Next {
    /// Something for the committer.
    Input(Input),
    /// More work.
    Work(Step),
}

/// Milliseconds that an optimistic transaction's locks live: grows with the square root of its size, up to what
/// heartbeats give to one that takes longer.
pub(crate) fn lock_ttl_ms(bytes: usize) -> u64 {
    let mib = bytes as f64 / f64::from(1 << 20);
    ((6000.0 * mib.sqrt()) as u64).clamp(TTL_MS_MIN, LOCK_TTL_MS)
}

/// Whether the locks of a transaction may decide that it is committed: there are few enough for the primary to name them,
/// and there is nothing else to go by. A mere check leaves no lock: others would take the transaction for committed when
/// it failed, or commit it before the time that the check was answered for.
fn locks_decide(mutations: &[Mutation]) -> bool {
    let key_bytes: usize = mutations.iter().map(|m| m.key.len()).sum();
    mutations.len() <= ASYNC_KEYS_MAX && key_bytes <= ASYNC_KEY_BYTES_MAX && mutations.iter().all(Mutation::is_locked)
}

/// Commits; returns the commit timestamp when the transaction is committed. Cleaning up goes on in the background.
pub(crate) async fn commit(job: CommitJob) -> Result<Timestamp> {
    let mut backoff = Backoff::new(job.deadline);
    let client = job.client.clone();
    let one_region = {
        let keys: Vec<&[u8]> = job.mutations.iter().map(|m| m.key.as_slice()).collect();
        client.group(&keys, &mut backoff).await?.len() == 1
    };
    let bytes: usize = job.mutations.iter().map(|m| m.key.len() + m.value.len()).sum();
    let one_pc =
        client.options().one_pc && one_region && bytes <= BATCH_BYTES_MAX && job.mutations.len() <= BATCH_KEYS_MAX;
    let async_commit = client.options().async_commit && locks_decide(&job.mutations);
    let (mut min_commit_ts, mut max_commit_ts) = (0, 0);
    if one_pc || async_commit {
        // A store that chooses the commit timestamp must choose one after everything that was committed before we
        // began to commit, or two transactions of one session could appear in the wrong order.
        let now = client.timestamp().await?;
        if let Some(check) = &job.check {
            let ahead = check(now).map_err(Error::SchemaChanged)?.min(COMMIT_AHEAD_MAX);
            max_commit_ts = Timestamp::compose(now.physical() + ahead.as_millis() as i64, 0).0;
        }
        min_commit_ts = now.next().0.max(job.for_update_ts.0 + 1);
    }
    let plan = Plan { start_ts: job.start_ts, keys: job.mutations.len(), primary: job.primary, async_commit, one_pc };
    let backoff = Mutex::new(backoff);
    let shared = Arc::new(Shared { job, one_pc, async_commit, min_commit_ts, max_commit_ts, backoff });
    let mut driver = Driver { committer: Committer::new(plan), shared, work: FuturesUnordered::new() };
    let first = driver.committer.start();
    let mut outcome = driver.act(first);
    while outcome.is_none() {
        outcome = driver.next().await;
    }
    if !driver.work.is_empty() {
        // Secondaries or a rollback: nobody waits for them, and whoever meets such a lock can finish it too.
        tokio::spawn(driver.finish());
    }
    outcome.unwrap_or_else(|| Err(Error::Undetermined("the commit ended without an outcome".into())))
}

struct Driver {
    committer: Committer,
    shared: Arc<Shared>,
    work: FuturesUnordered<Step>,
}

impl Driver {
    /// Starts what the committer wants; returns the outcome when it tells one.
    fn act(&mut self, outputs: Vec<Output>) -> Option<Result<Timestamp>> {
        let mut outcome = None;
        for output in outputs {
            let shared = self.shared.clone();
            match output {
                Output::Prewrite(keys) => self.work.push(Box::pin(fan_out(shared, keys, prewrite))),
                Output::FetchCommitTs => self.work.push(Box::pin(fetch_commit_ts(shared))),
                Output::CommitPrimary(keys, ts) => self.work.push(Box::pin(commit_primary(shared, keys, ts))),
                Output::CommitSecondaries(keys, ts) => {
                    self.work.push(Box::pin(fan_out(shared, keys, move |shared, region, keys| {
                        commit_keys(shared, region, keys, ts)
                    })))
                }
                Output::Rollback(keys) => self.work.push(Box::pin(fan_out(shared, keys, rollback))),
                Output::Finish(result) => {
                    // Background work has a deadline of its own.
                    *self.shared.backoff.lock() = Backoff::new(self.shared.job.deadline);
                    outcome = Some(result);
                }
            }
        }
        outcome
    }

    async fn next(&mut self) -> Option<Result<Timestamp>> {
        let Some(finished) = self.work.next().await else {
            let outputs = self.committer.step(Input::GiveUp {
                error: Error::Refused("nothing is left to try".into()),
                keys: Vec::new(),
                maybe_executed: false,
            });
            return self.act(outputs);
        };
        let mut outcome = None;
        for next in finished {
            match next {
                Next::Work(step) => self.work.push(step),
                Next::Input(input) => {
                    if let Input::Prewritten(_, Prewrite::Done { min_commit_ts, one_pc_commit_ts }) = &input {
                        let mode = match (one_pc_commit_ts, min_commit_ts) {
                            (1.., _) => "one_pc",
                            (0, 1..) => "async",
                            _ => "two_phase",
                        };
                        COMMITS.with_label_values(&[mode]).inc();
                    }
                    let outputs = self.committer.step(input);
                    outcome = outcome.or(self.act(outputs));
                }
            }
        }
        outcome
    }

    async fn finish(mut self) {
        while !self.committer.is_over() && !self.work.is_empty() {
            self.next().await;
        }
    }
}

/// These keys are not tried any more; the last request for them was surely not executed.
fn give_up(error: Error, keys: Keys) -> Vec<Next> {
    vec![Next::Input(Input::GiveUp { error, keys, maybe_executed: false })]
}

impl Shared {
    fn bytes(&self, key: usize) -> usize {
        let mutation = &self.job.mutations[key];
        mutation.key.len() + mutation.value.len()
    }

    /// The keys that prewrite locks: a mere check leaves nothing to commit or roll back.
    fn locked_keys(&self, keys: &[usize]) -> Vec<Vec<u8>> {
        keys.iter().map(|&i| &self.job.mutations[i]).filter(|m| m.is_locked()).map(|m| m.key.clone()).collect()
    }

    async fn group(&self, keys: &[usize]) -> Result<Vec<(Arc<Region>, Keys)>> {
        let mut backoff = self.backoff.lock().clone();
        let slices: Vec<&[u8]> = keys.iter().map(|&i| self.job.mutations[i].key.as_slice()).collect();
        let groups = self.job.client.group(&slices, &mut backoff).await?;
        let positions = |members: Keys| members.into_iter().map(|position| keys[position]).collect();
        Ok(groups.into_iter().map(|(region, members)| (region, positions(members))).collect())
    }

    /// Waits after a failure; the reason's next wait is longer for everyone.
    async fn wait(&self, failure: Failure) -> Result<()> {
        let mut backoff = self.backoff.lock().clone();
        let result = failure.wait(&mut backoff).await;
        *self.backoff.lock() = backoff;
        result
    }
}

/// Groups keys by region, cuts large groups, and starts one piece of work for each.
async fn fan_out<F, W>(shared: Arc<Shared>, keys: Keys, work: F) -> Vec<Next>
where
    F: Fn(Arc<Shared>, Arc<Region>, Keys) -> W,
    W: Future<Output = Vec<Next>> + Send + 'static,
{
    let groups = match shared.group(&keys).await {
        Ok(groups) => groups,
        Err(e) => return give_up(e, keys),
    };
    let mut batches = Vec::new();
    for (region, members) in groups {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for key in members {
            let size = shared.bytes(key);
            if !batch.is_empty() && (bytes + size > BATCH_BYTES_MAX || batch.len() >= BATCH_KEYS_MAX) {
                batches.push((region.clone(), std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += size;
            batch.push(key);
        }
        batches.push((region, batch));
    }
    if batches.len() == 1
        && let Some((region, keys)) = batches.pop()
    {
        return work(shared, region, keys).await;
    }
    batches.into_iter().map(|(region, keys)| Next::Work(Box::pin(work(shared.clone(), region, keys)) as Step)).collect()
}

async fn prewrite(shared: Arc<Shared>, region: Arc<Region>, keys: Keys) -> Vec<Next> {
    let job = &shared.job;
    let has_primary = keys.contains(&job.primary);
    let mutation = |&i: &usize| {
        let Mutation { op, key, value, .. } = &job.mutations[i];
        kvrpcpb::Mutation { op: *op as i32, key: key.clone(), value: value.clone(), ..Default::default() }
    };
    let secondaries = if shared.async_commit && has_primary {
        let others = job.mutations.iter().enumerate().filter(|(i, m)| *i != job.primary && m.is_locked());
        others.map(|(_, m)| m.key.clone()).collect()
    } else {
        Vec::new()
    };
    let actions = |&i: &usize| job.mutations[i].action as i32;
    let request = kvrpcpb::PrewriteRequest {
        mutations: keys.iter().map(mutation).collect(),
        primary_lock: job.mutations[job.primary].key.clone(),
        start_version: job.start_ts.0,
        lock_ttl: job.lock_ttl_ms,
        pessimistic_actions: if job.pessimistic { keys.iter().map(actions).collect() } else { Vec::new() },
        txn_size: keys.len() as u64,
        for_update_ts: if job.pessimistic { job.for_update_ts.0 } else { 0 },
        min_commit_ts: shared.min_commit_ts,
        max_commit_ts: shared.max_commit_ts,
        use_async_commit: shared.async_commit,
        secondaries,
        try_one_pc: shared.one_pc && keys.len() == job.mutations.len(),
        ..Default::default()
    };
    let answer = job.client.send(&region, request, REQUEST_TIMEOUT).await;
    let outcome = match answer {
        Err(failure) => {
            let maybe_executed = failure.maybe_executed;
            return vec![Next::Input(match shared.wait(failure).await {
                Ok(()) => Input::Prewritten(keys, Prewrite::Again { maybe_executed }),
                Err(error) => Input::GiveUp { error, keys, maybe_executed },
            })];
        }
        Ok(response) if response.errors.is_empty() => {
            Prewrite::Done { min_commit_ts: response.min_commit_ts, one_pc_commit_ts: response.one_pc_commit_ts }
        }
        Ok(response) => match locks_of(job.start_ts.0, response.errors) {
            Err(error) => Prewrite::Failed(error),
            Ok(locks) => {
                let key = locks.first().map(|lock| lock.key.clone()).unwrap_or_default();
                let mut backoff = shared.backoff.lock().clone();
                let resolved = match job.client.resolve_locks(None, locks, &mut backoff).await {
                    Ok(resolution) => match resolution.wait {
                        None => Ok(()),
                        Some(_) => match backoff.wait(Reason::WriteLock, None, "a lock is in the way").await {
                            Err(Error::RegionUnavailable(_)) => Err(Error::LockWaitTimeout { key }),
                            waited => waited,
                        },
                    },
                    Err(e) => Err(e),
                };
                *shared.backoff.lock() = backoff;
                match resolved {
                    Ok(()) => Prewrite::Again { maybe_executed: false },
                    Err(e) => return give_up(e, keys),
                }
            }
        },
    };
    vec![Next::Input(Input::Prewritten(keys, outcome))]
}

async fn fetch_commit_ts(shared: Arc<Shared>) -> Vec<Next> {
    let ts = match shared.job.client.timestamp().await {
        Ok(ts) => ts,
        Err(e) => return give_up(e, Vec::new()),
    };
    if let Some(check) = &shared.job.check
        && let Err(reason) = check(ts)
    {
        return give_up(Error::SchemaChanged(reason), Vec::new());
    }
    vec![Next::Input(Input::CommitTs(ts))]
}

/// Commits the group that holds the primary; other groups of the same keys wait for it.
async fn commit_primary(shared: Arc<Shared>, keys: Keys, ts: Timestamp) -> Vec<Next> {
    let groups = match shared.group(&keys).await {
        Ok(groups) => groups,
        Err(e) => return give_up(e, keys),
    };
    let primary = shared.job.primary;
    match groups.into_iter().find(|(_, members)| members.contains(&primary)) {
        Some((region, members)) => commit_keys(shared, region, members, ts).await,
        None => give_up(Error::Refused("the primary is in no group".into()), keys),
    }
}

async fn commit_keys(shared: Arc<Shared>, region: Arc<Region>, keys: Keys, ts: Timestamp) -> Vec<Next> {
    let job = &shared.job;
    let locked = shared.locked_keys(&keys);
    if locked.is_empty() {
        return vec![Next::Input(Input::Committed(keys, Commit::Done))];
    }
    let request = kvrpcpb::CommitRequest {
        start_version: job.start_ts.0,
        keys: locked,
        commit_version: ts.0,
        ..Default::default()
    };
    let outcome = match job.client.send(&region, request, REQUEST_TIMEOUT).await {
        Err(failure) => {
            let maybe_executed = failure.maybe_executed;
            return vec![Next::Input(match shared.wait(failure).await {
                Ok(()) => Input::Committed(keys, Commit::Again { maybe_executed }),
                Err(error) => Input::GiveUp { error, keys, maybe_executed },
            })];
        }
        Ok(response) => match response.error {
            None => Commit::Done,
            Some(error) => match error.commit_ts_expired {
                Some(expired) => Commit::Expired { min_commit_ts: expired.min_commit_ts },
                None => Commit::Failed(from_key_error(job.start_ts.0, error)),
            },
        },
    };
    vec![Next::Input(Input::Committed(keys, outcome))]
}

async fn rollback(shared: Arc<Shared>, region: Arc<Region>, keys: Keys) -> Vec<Next> {
    let job = &shared.job;
    let locked = shared.locked_keys(&keys);
    if locked.is_empty() {
        return vec![Next::Input(Input::RolledBack(keys))];
    }
    let request = kvrpcpb::BatchRollbackRequest { start_version: job.start_ts.0, keys: locked, ..Default::default() };
    match job.client.send(&region, request, REQUEST_TIMEOUT).await {
        Err(failure) => match shared.wait(failure).await {
            Ok(()) => vec![Next::Input(Input::RollbackAgain(keys))],
            Err(e) => give_up(e, keys),
        },
        Ok(response) => {
            if let Some(error) = response.error {
                tracing::warn!(start_ts = job.start_ts.0, "rollback: {}", from_key_error(job.start_ts.0, error));
            }
            vec![Next::Input(Input::RolledBack(keys))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_with_a_mere_check_is_not_decided_by_its_locks() {
        let mutation =
            |op, key: &str| Mutation { op, key: key.into(), value: Vec::new(), action: PessimisticAction::default() };
        let writes = vec![mutation(Op::Put, "a"), mutation(Op::Lock, "b"), mutation(Op::Insert, "c")];
        assert!(locks_decide(&writes));
        // Inserted and deleted again: nothing is locked there.
        let checks = [writes.clone(), vec![mutation(Op::CheckNotExists, "d")]].concat();
        assert!(!locks_decide(&checks));
        assert!(!locks_decide(&vec![mutation(Op::Put, "k"); ASYNC_KEYS_MAX + 1]));
        assert!(!locks_decide(&[mutation(Op::Put, &"k".repeat(ASYNC_KEY_BYTES_MAX + 1))]));
    }

    #[test]
    fn locks_of_larger_transactions_live_longer() {
        assert_eq!(lock_ttl_ms(0), 3000);
        assert_eq!(lock_ttl_ms(1 << 20), 6000);
        assert_eq!(lock_ttl_ms(4 << 20), 12_000);
        assert_eq!(lock_ttl_ms(100 << 20), LOCK_TTL_MS);
    }
}
