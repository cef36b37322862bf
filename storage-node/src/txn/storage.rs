//! Runs commands: the thin asynchronous shell around latches, snapshots, decisions, replication and lock waits.
//!
//! ```text
//! admit → latch keys → snapshot → decide ─┬─ nothing to write ───────────────────────→ answer
//!                        ▲                ├─ locks in memory → unlatch → wake ───────→ answer
//!                        │                ├─ changes → replicate → unlatch → wake ───→ answer
//!                        └── woken ───────┴─ locked by another: queue, unlatch, wait
//! ```
//!
//! A waiter is queued while its key is latched, and whoever removes the lock needs that latch, so that no wake-up is
//! lost. Replication runs in a task of its own: a client that goes away takes back neither the write nor the latches
//! that protect it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use codec::timestamp::Timestamp;
use engine::{Cf, Direction, KeyRange, Snapshot, WriteBatch};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::commands::check_secondary_locks::{SecondaryLocks, check_secondary_locks};
use super::commands::check_txn_status::{CheckTxnStatus, TxnStatus, check_txn_status};
use super::commands::inspect::{self, KeyRecords};
use super::commands::pessimistic_lock::{LockedKey, PessimisticLock, pessimistic_lock};
use super::commands::prewrite::{Prewrite, Prewritten, prewrite};
use super::commands::resolve::{self, TxnEnds};
use super::commands::{Outcome, commit, heartbeat, pessimistic_rollback, rollback};
use super::concurrency::ConcurrencyManager;
use super::latch::{CommandId, LatchTicket, Latches};
use super::lock_table::{LockTable, LockView};
use super::lock_wait::{Turn, WAKE_DELAY, WaitQueues, WaiterId, Wake};
use super::pd_time::PdTime;
use super::{Changes, CommandError, Released, SafePoint, TxnError, deadlock};
use crate::mvcc::view::encode_range;
use crate::mvcc::{
    Isolation, Key, LockInfo, LockKind, MvccError, MvccReader, MvccView, ReadParams, ScanOptions, Scanner, point,
};
use crate::replication::{Region, RegionContext, RegionError, RegionSnapshot, Replication};

/// How long new locks are replicated when another node was to lead their region: Raft gives a hand-over up sooner.
const LEAVING: Duration = Duration::from_secs(5);

/// Keys of a range that are removed at once: a removal keeps every other write of the node waiting.
const DELETE_RANGE_KEYS: usize = 4096;

/// Bounds of what is under way on a node.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Write commands under way; more are refused as busy. They wait for latches and for the log, so that more would
    /// only wait longer.
    pub commands_max: usize,
    /// Bytes of writes under way; more are refused as busy. Bounds the memory that a slow disk can pile up.
    pub pending_bytes_max: usize,
    /// The longest wait for a lock in one request. The client then looks at the lock's transaction, which may be dead.
    pub lock_wait_max: Duration,
    /// Bytes of pessimistic locks that are kept in memory only; zero replicates each of them.
    pub memory_lock_bytes_max: usize,
}

impl Default for StorageOptions {
    fn default() -> Self {
        StorageOptions {
            commands_max: 8192,
            pending_bytes_max: 100 << 20,
            lock_wait_max: Duration::from_millis(1000),
            memory_lock_bytes_max: 64 << 20,
        }
    }
}

/// Where timestamps come from: PD, or a test.
#[async_trait::async_trait]
pub trait TimestampOracle: Send + Sync + 'static {
    /// A timestamp later than every one given out before the call.
    async fn timestamp(&self) -> Result<Timestamp, String>;
}

/// Is told of waits for locks, so as to find circles of waits over several nodes; answers through
/// [`Storage::deadlock_found`]. Telling must not block; losing what is told costs a lock wait timeout and no more.
pub trait WaitListener: Send + Sync + 'static {
    /// A transaction waits.
    fn waits(&self, edge: deadlock::WaitEdge);
    /// It does not any more.
    fn waits_no_more(&self, edge: deadlock::WaitEdge);
}

/// Why a waiting command goes on.
enum Woken {
    /// It may try to take the lock.
    Turn,
    /// Another node found that its wait closes a circle.
    Deadlock(deadlock::Circle),
    /// Its transaction gave the lock back before it had it: nobody waits for the answer.
    RolledBack,
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockWait {
    /// Not at all.
    No,
    /// As long as the node allows.
    Default,
    /// So long, and no longer than the node allows.
    For(Duration),
}

/// A row, or the lock that hides it.
pub type RowResult = Result<(Vec<u8>, Bytes), Box<LockInfo>>;

/// Transactional and raw access to the regions of a node. Clones share it.
pub struct Storage<R: Replication>(Arc<Inner<R>>);

impl<R: Replication> Clone for Storage<R> {
    fn clone(&self) -> Self {
        Storage(self.0.clone())
    }
}

struct Inner<R> {
    replication: R,
    manager: ConcurrencyManager,
    oracle: Option<Arc<dyn TimestampOracle>>,
    options: StorageOptions,
    next_id: AtomicU64,
    commands: AtomicUsize,
    pending_bytes: AtomicUsize,
    latches: Mutex<LatchState>,
    waits: Mutex<WaitState>,
    lock_table: LockTable,
    safe_point: SafePoint,
    pd_time: PdTime,
    /// Terms and versions of regions for which `max_ts` covers the reads of former leaders.
    covered: Mutex<HashMap<u64, (u64, u64)>>,
    /// Set once at most, when the node is part of a cluster.
    listener: OnceLock<Arc<dyn WaitListener>>,
}

/// Protects the latch table. Held for a few operations, never across a wait.
#[derive(Default)]
struct LatchState {
    table: Latches,
    wakers: HashMap<CommandId, oneshot::Sender<()>>,
}

/// Protects the wait queues. Never taken together with the latch table's lock.
#[derive(Default)]
struct WaitState {
    queues: WaitQueues,
    wakers: HashMap<WaiterId, oneshot::Sender<Woken>>,
    /// What the listener was told of each waiter.
    told: HashMap<WaiterId, deadlock::WaitEdge>,
}

impl<R: Replication> Storage<R> {
    /// Storage over some replication. Without an oracle, reads are taken to be served by this node alone.
    pub fn new(replication: R, oracle: Option<Arc<dyn TimestampOracle>>, options: StorageOptions) -> Storage<R> {
        Storage(Arc::new(Inner {
            replication,
            manager: ConcurrencyManager::new(),
            oracle,
            lock_table: LockTable::new(options.memory_lock_bytes_max),
            options,
            next_id: AtomicU64::new(1),
            commands: AtomicUsize::new(0),
            pending_bytes: AtomicUsize::new(0),
            latches: Mutex::default(),
            waits: Mutex::default(),
            safe_point: SafePoint::default(),
            pd_time: PdTime::new(),
            covered: Mutex::default(),
            listener: OnceLock::new(),
        }))
    }

    /// Tells the waits for locks of this node to `listener` from now on. The first call counts.
    pub fn listen_to_waits(&self, listener: Arc<dyn WaitListener>) {
        let _ = self.0.listener.set(listener);
    }

    /// A wait of this node closes a circle over several nodes: it ends with an error.
    pub fn deadlock_found(&self, edge: &deadlock::WaitEdge, chain: deadlock::Circle) {
        let mut waits = self.0.waits.lock();
        let told = waits
            .told
            .iter()
            .find(|(_, told)| told.waiter == edge.waiter && told.holder == edge.holder && told.key == edge.key);
        if let Some(waker) = told.map(|(id, _)| *id).and_then(|id| waits.wakers.remove(&id)) {
            let _ = waker.send(Woken::Deadlock(chain));
        }
    }

    /// What is under the storage.
    pub fn replication(&self) -> &R {
        &self.0.replication
    }

    /// The timestamps read at on this node. Who reads at another replica must raise it here first.
    pub fn concurrency(&self) -> &ConcurrencyManager {
        &self.0.manager
    }

    /// The safe point that reads and writes are refused below. Whoever hears of a newer one raises it.
    pub fn safe_point(&self) -> &SafePoint {
        &self.0.safe_point
    }

    /// Commands under way and transactions that wait for locks: for metrics.
    pub fn load(&self) -> (usize, usize) {
        (self.0.commands.load(Ordering::Relaxed), self.0.waits.lock().queues.len())
    }
}

// Transactional reads.
impl<R: Replication> Storage<R> {
    /// The value of a user key.
    pub async fn get(
        &self,
        ctx: &RegionContext,
        user_key: &[u8],
        params: &ReadParams,
    ) -> Result<Option<Bytes>, CommandError> {
        let key = Key::from_user(user_key);
        self.before_read(params, |manager| manager.check_key(&key, params)).await?;
        let view = self.view_at(ctx, params).await?;
        check_key(&view.region, key.encoded())?;
        Ok(point::get(&view.engine, &key, params)?.map(|(value, _)| value))
    }

    /// The values of user keys that have one, and the locks in the way, in the order of the keys.
    pub async fn batch_get(
        &self,
        ctx: &RegionContext,
        user_keys: Vec<Vec<u8>>,
        params: &ReadParams,
    ) -> Result<Vec<RowResult>, CommandError> {
        let keys: Vec<Key> = user_keys.iter().map(|k| Key::from_user(k)).collect();
        self.before_read(params, |manager| keys.iter().try_for_each(|key| manager.check_key(key, params))).await?;
        let view = self.view_at(ctx, params).await?;
        let mut rows = Vec::with_capacity(keys.len());
        for (key, user) in keys.iter().zip(user_keys) {
            check_key(&view.region, key.encoded())?;
            match point::get(&view.engine, key, params) {
                Ok(None) => {}
                Ok(Some((value, _))) => rows.push(Ok((user, value))),
                Err(MvccError::KeyIsLocked(info)) => rows.push(Err(info)),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(rows)
    }

    /// At most `limit` rows of a range of user keys, cut to the region.
    pub async fn scan(
        &self,
        ctx: &RegionContext,
        range: &KeyRange,
        limit: usize,
        params: ReadParams,
        options: ScanOptions,
    ) -> Result<Vec<RowResult>, CommandError> {
        let range = encode_range(range);
        self.before_read(&params, |manager| manager.check_range(&range, &params)).await?;
        let view = self.view_at(ctx, &params).await?;
        let range = range.intersect(&view.region.range);
        let mut scanner = Scanner::open(view.engine, &range, params, options)?;
        let mut rows = Vec::new();
        while rows.len() < limit {
            match scanner.next_row() {
                Ok(None) => break,
                Ok(Some((key, value))) => rows.push(Ok((key.to_user()?, value))),
                Err(MvccError::KeyIsLocked(info)) => rows.push(Err(info)),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(rows)
    }

    /// A view of the region for reading some ranges of user keys, as the coprocessor does.
    pub async fn view(
        &self,
        ctx: &RegionContext,
        ranges: &[KeyRange],
        params: ReadParams,
    ) -> Result<MvccView<R::Snapshot>, CommandError> {
        self.before_read(&params, |manager| {
            ranges.iter().try_for_each(|range| manager.check_range(&encode_range(range), &params))
        })
        .await?;
        let view = self.view_at(ctx, &params).await?;
        Ok(MvccView::new(view.engine, view.region.range, params))
    }

    /// Locks of transactions started at or before `max_ts` in a range of user keys.
    pub async fn scan_lock(
        &self,
        ctx: &RegionContext,
        range: &KeyRange,
        limit: usize,
        max_ts: Timestamp,
    ) -> Result<Vec<LockInfo>, CommandError> {
        let range = encode_range(range);
        let params = ReadParams::at(max_ts);
        self.before_read(&params, |manager| manager.check_range(&range, &params)).await?;
        let view = self.0.lock_table.view_of_region(self.0.replication.snapshot(&readable(ctx, &params)).await?);
        let range = range.intersect(&view.region.range);
        let reader = MvccReader::new(&view.engine);
        let (locks, _) = reader.scan_locks(&range, limit, |lock| lock.start_ts <= max_ts)?;
        let info = |(key, lock): (Key, _)| Ok(LockInfo { key: key.to_user()?, lock });
        locks.into_iter().map(info).collect()
    }

    /// All records of a user key.
    pub async fn inspect(&self, ctx: &RegionContext, user_key: &[u8]) -> Result<KeyRecords, CommandError> {
        let key = Key::from_user(user_key);
        let view = self.0.lock_table.view_of_region(self.0.replication.snapshot(ctx).await?);
        check_key(&view.region, key.encoded())?;
        Ok(inspect::records(&view.engine, &key)?)
    }

    /// The first user key of the region that a transaction locked or wrote, and its records.
    pub async fn inspect_txn(
        &self,
        ctx: &RegionContext,
        start_ts: Timestamp,
    ) -> Result<Option<(Vec<u8>, KeyRecords)>, CommandError> {
        let view = self.0.lock_table.view_of_region(self.0.replication.snapshot(ctx).await?);
        let Some(key) = inspect::find_txn(&view.engine, &view.region.range, start_ts)? else { return Ok(None) };
        let records = inspect::records(&view.engine, &key)?;
        Ok(Some((key.to_user()?, records)))
    }

    /// Notes the read's timestamp, then looks for commits under way.
    async fn before_read(
        &self,
        params: &ReadParams,
        check: impl FnOnce(&ConcurrencyManager) -> Result<(), MvccError>,
    ) -> Result<(), CommandError> {
        if params.isolation == Isolation::ReadCommitted {
            return Ok(());
        }
        self.note_read(params.ts).await?;
        Ok(check(&self.0.manager)?)
    }

    /// A view that holds everything committed at or before the read's time.
    async fn view_at(
        &self,
        ctx: &RegionContext,
        params: &ReadParams,
    ) -> Result<RegionSnapshot<R::Snapshot>, CommandError> {
        let view = self.0.replication.snapshot(&readable(ctx, params)).await?;
        self.0.safe_point.check(params.ts)?;
        Ok(view)
    }

    /// Has commit timestamps chosen here come after `ts`, which somebody reads at, here or elsewhere.
    pub async fn note_read(&self, ts: Timestamp) -> Result<(), CommandError> {
        self.given_out(ts).await?;
        self.0.manager.update_max_ts(ts);
        Ok(())
    }

    /// The same of a timestamp that something is written at: when PD cannot be asked, the write goes on. It hides nothing of
    /// what others write.
    async fn not_ahead(&self, ts: Timestamp) -> Result<(), CommandError> {
        match self.given_out(ts).await {
            Err(CommandError::Region(_)) => Ok(()),
            known => known,
        }
    }

    /// Refuses a timestamp that PD has not given out. The largest one stands for no time in particular.
    async fn given_out(&self, ts: Timestamp) -> Result<(), CommandError> {
        let Some(oracle) = &self.0.oracle else { return Ok(()) };
        if ts == Timestamp::MAX || ts <= self.0.manager.max_ts() || self.0.pd_time.has_come(ts) {
            return Ok(());
        }
        match oracle.timestamp().await {
            Ok(now) => self.0.pd_time.note(now),
            Err(reason) => {
                let reason = format!("no timestamp from the placement driver to compare {ts} with: {reason}");
                return Err(RegionError::ServerIsBusy { reason, backoff_ms: 100 }.into());
            }
        }
        match self.0.pd_time.has_come(ts) {
            true => Ok(()),
            false => Err(TxnError::Invalid(format!("timestamp {ts} is ahead of those of the placement driver")).into()),
        }
    }
}

// Transactional writes.
impl<R: Replication> Storage<R> {
    /// See [`super::commands::prewrite`].
    pub async fn prewrite(&self, ctx: &RegionContext, mut cmd: Prewrite) -> Result<Prewritten, CommandError> {
        for ts in [cmd.start_ts, cmd.for_update_ts, cmd.min_commit_ts] {
            self.not_ahead(ts).await?;
        }
        let keys: Vec<Key> = cmd.mutations.iter().map(|m| m.key.clone()).collect();
        let bytes = cmd.mutations.iter().map(|m| m.key.encoded().len() + m.value.len()).sum();
        let manager = self.0.manager.clone();
        if (cmd.one_phase || cmd.async_commit.is_some()) && !self.cover_former_reads(ctx).await? {
            cmd.one_phase = false;
            cmd.async_commit = None;
        }
        let chosen_here = cmd.one_phase || cmd.async_commit.is_some();
        let covered = self.0.covered.lock().get(&ctx.region_id).copied();
        let (answer, _) = self
            .run(ctx, keys, bytes, |view| {
                if chosen_here && self.0.oracle.is_some() && covered != Some((view.term, view.region.epoch.version)) {
                    // The leader changed in between: the next attempt covers the new term's reads.
                    return Err(RegionError::StaleCommand(view.region.id).into());
                }
                self.0.safe_point.check(cmd.start_ts)?;
                Ok(prewrite(&view.engine, &cmd, &manager)?)
            })
            .await?;
        Ok(answer)
    }

    /// See [`super::commands::commit`].
    pub async fn commit(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        start_ts: Timestamp,
        commit_ts: Timestamp,
    ) -> Result<(), CommandError> {
        self.not_ahead(commit_ts).await?;
        let bytes = key_bytes(&keys);
        let run =
            self.run(ctx, keys.clone(), bytes, |view| Ok(commit::commit(&view.engine, &keys, start_ts, commit_ts)?));
        run.await.map(|(answer, _)| answer)
    }

    /// See [`rollback::batch_rollback`].
    pub async fn batch_rollback(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        start_ts: Timestamp,
    ) -> Result<(), CommandError> {
        let bytes = key_bytes(&keys);
        let run =
            self.run(ctx, keys.clone(), bytes, |view| Ok(rollback::batch_rollback(&view.engine, &keys, start_ts)?));
        run.await.map(|(answer, _)| answer)
    }

    /// See [`rollback::cleanup`].
    pub async fn cleanup(
        &self,
        ctx: &RegionContext,
        key: Key,
        start_ts: Timestamp,
        now: Timestamp,
    ) -> Result<(), CommandError> {
        // A commit timestamp chosen here must not fall on the rollback's record.
        self.note_read(start_ts).await?;
        let run = self.run(ctx, vec![key.clone()], key.encoded().len(), |view| {
            Ok(rollback::cleanup(&view.engine, &key, start_ts, now)?)
        });
        run.await.map(|(answer, _)| answer)
    }

    /// See [`super::commands::pessimistic_rollback`]. Nor does the transaction want the locks any more that it still waits
    /// for: the statement that asked for them is over.
    pub async fn pessimistic_rollback(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        start_ts: Timestamp,
        for_update_ts: Timestamp,
    ) -> Result<(), CommandError> {
        let bytes = key_bytes(&keys);
        let run = self.run(ctx, keys.clone(), bytes, |view| {
            // While the keys are latched: who waits is in the queue, and who was woken has yet to look at the lock.
            self.end_waits(&keys, start_ts, for_update_ts);
            Ok(pessimistic_rollback::pessimistic_rollback(&view.engine, &keys, start_ts, for_update_ts)?)
        });
        run.await.map(|(answer, _)| answer)
    }

    /// Before another node leads the region: replicates its pessimistic locks that are in memory, which it would lose, and
    /// for [`LEAVING`] those that are taken.
    pub async fn hand_over_locks(&self, ctx: &RegionContext) -> Result<(), CommandError> {
        let view = self.0.replication.snapshot(ctx).await?;
        let (region, term) = (view.region.id, view.term);
        let keys = self.0.lock_table.leave(&view.region, term);
        drop(view);
        let storage = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LEAVING).await;
            storage.0.lock_table.stay(region, term);
        });
        let run = self.run(ctx, keys.clone(), key_bytes(&keys), |view| {
            // While the keys are latched: what others made of the locks in the meantime stands.
            let reader = MvccReader::new(&view.engine);
            let mut changes = Changes::default();
            for key in &keys {
                if let Some(lock) = reader.lock(key)?.filter(|lock| lock.kind == LockKind::Pessimistic) {
                    changes.put_lock(key, &lock);
                }
            }
            Ok(Outcome::new(changes, ()))
        });
        run.await.map(|(answer, _)| answer)
    }

    /// See [`super::commands::heartbeat`].
    pub async fn txn_heartbeat(
        &self,
        ctx: &RegionContext,
        primary: Key,
        start_ts: Timestamp,
        ttl_ms: u64,
    ) -> Result<u64, CommandError> {
        let run = self.run(ctx, vec![primary.clone()], primary.encoded().len(), |view| {
            Ok(heartbeat::txn_heartbeat(&view.engine, &primary, start_ts, ttl_ms)?)
        });
        run.await.map(|(answer, _)| answer)
    }

    /// See [`super::commands::check_txn_status`].
    pub async fn check_txn_status(&self, ctx: &RegionContext, cmd: CheckTxnStatus) -> Result<TxnStatus, CommandError> {
        for ts in [cmd.lock_ts, cmd.caller_start_ts, cmd.current_ts] {
            self.note_read(ts).await?;
        }
        let run = self.run(ctx, vec![cmd.primary.clone()], cmd.primary.encoded().len(), |view| {
            Ok(check_txn_status(&view.engine, &cmd)?)
        });
        run.await.map(|(answer, _)| answer)
    }

    /// See [`super::commands::check_secondary_locks`].
    pub async fn check_secondary_locks(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        start_ts: Timestamp,
    ) -> Result<SecondaryLocks, CommandError> {
        self.note_read(start_ts).await?;
        let bytes = key_bytes(&keys);
        let run = self.run(ctx, keys.clone(), bytes, |view| Ok(check_secondary_locks(&view.engine, &keys, start_ts)?));
        run.await.map(|(answer, _)| answer)
    }

    /// Finishes all locks of the transactions in the region.
    pub async fn resolve_locks(&self, ctx: &RegionContext, ends: TxnEnds) -> Result<(), CommandError> {
        let mut from = None;
        loop {
            let view = self.0.lock_table.view_of_region(self.0.replication.snapshot(ctx).await?);
            let mut range = view.region.range.clone();
            if let Some(from) = from {
                range.start = from;
            }
            let (keys, next) = resolve::find(&view.engine, &range, &ends)?;
            drop(view);
            if !keys.is_empty() {
                let bytes = key_bytes(&keys);
                self.run(ctx, keys.clone(), bytes, |view| Ok(resolve::resolve_found(&view.engine, &keys, &ends)?))
                    .await?;
            }
            match next {
                Some(next) => from = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Finishes a transaction on some keys.
    pub async fn resolve_locks_lite(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        start_ts: Timestamp,
        commit_ts: Timestamp,
    ) -> Result<(), CommandError> {
        let bytes = key_bytes(&keys);
        let run = self
            .run(ctx, keys.clone(), bytes, |view| Ok(resolve::resolve_lite(&view.engine, &keys, start_ts, commit_ts)?));
        run.await.map(|(answer, _)| answer)
    }

    /// Has versions removed that no read at or after the safe point can see: nodes do that by themselves, replica by
    /// replica (`crate::gc`), once they have heard of it from PD. One that this node has not heard of is refused.
    pub fn gc(&self, safe_point: Timestamp) -> Result<(), CommandError> {
        let known = self.0.safe_point.get();
        if safe_point > known {
            let reason = format!("the placement driver's safe point is {known}, as far as this node knows");
            return Err(RegionError::ServerIsBusy { reason, backoff_ms: 1000 }.into());
        }
        Ok(())
    }

    /// Removes a range of user keys, with all versions and locks and without a trace: part by part, so that it may stop
    /// half-way.
    pub async fn delete_range(&self, ctx: &RegionContext, range: &KeyRange) -> Result<(), CommandError> {
        for cf in [Cf::Lock, Cf::Write, Cf::Default] {
            let mut rest = encode_range(range);
            loop {
                let view = self.0.replication.snapshot(ctx).await?;
                let whole = rest.intersect(&view.region.range);
                let mut keys = view.engine.scan(cf, &whole, Direction::Forward);
                if keys.next().transpose().map_err(TxnError::from)?.is_none() {
                    break;
                }
                let end = keys.nth(DELETE_RANGE_KEYS - 2).transpose().map_err(TxnError::from)?;
                drop(keys);
                let part = match &end {
                    Some((key, _)) => KeyRange::new(whole.start, key.as_ref()),
                    None => whole,
                };
                let ctx = RegionContext { term: view.term, ..ctx.clone() };
                drop(view);
                let mut batch = WriteBatch::new();
                batch.delete_range(cf, part);
                self.0.replication.write(&ctx, batch).await?;
                match end {
                    Some((key, _)) => rest.start = key.to_vec(),
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Locks keys, waiting for other transactions' locks if asked to. `waits_first` is false for a transaction that
    /// holds no lock yet.
    pub async fn pessimistic_lock(
        &self,
        ctx: &RegionContext,
        cmd: PessimisticLock,
        wait: LockWait,
    ) -> Result<Vec<LockedKey>, CommandError> {
        for ts in [cmd.start_ts, cmd.for_update_ts] {
            self.not_ahead(ts).await?;
        }
        let keys: Vec<Key> = cmd.keys.iter().map(|(key, _)| key.clone()).collect();
        let bytes = key_bytes(&keys);
        let wait = match wait {
            LockWait::No => None,
            LockWait::Default => Some(self.0.options.lock_wait_max),
            LockWait::For(time) => Some(time.min(self.0.options.lock_wait_max)),
        };
        let deadline = wait.map(|wait| Instant::now() + wait);
        // Whose turn it is when woken, and the key it waited for.
        let mut turn: Option<(Waiting<R>, Key)> = None;
        loop {
            let mut queued: Option<(Waiting<R>, oneshot::Receiver<Woken>)> = None;
            let result = self
                .run(ctx, keys.clone(), bytes, |view| {
                    if let Some((waiting, key)) = &turn
                        && self.0.waits.lock().queues.is_rolled_back(waiting.id)
                    {
                        return Err(rolled_back(&cmd, key));
                    }
                    self.0.safe_point.check(cmd.start_ts)?;
                    match pessimistic_lock(&view.engine, &cmd) {
                        Err(TxnError::Mvcc(MvccError::KeyIsLocked(info)))
                            if deadline.is_some_and(|d| d > Instant::now()) =>
                        {
                            let key = Key::from_user(&info.key);
                            queued = Some(self.queue(turn.take(), &cmd, &key, &info)?);
                            Err(TxnError::Mvcc(MvccError::KeyIsLocked(info)).into())
                        }
                        other => Ok(other?),
                    }
                })
                .await;
            let Some((waiting, woken)) = queued else {
                if let Some((waiting, _)) = turn.take() {
                    waiting.turn_over(match &result {
                        Ok((_, wrote)) if *wrote => Turn::Locked,
                        Err(CommandError::Txn(TxnError::WriteConflict { .. })) => Turn::Conflict,
                        _ => Turn::Passed,
                    });
                }
                return result.map(|(answer, _)| answer);
            };
            let key = match &result {
                Err(CommandError::Txn(TxnError::Mvcc(MvccError::KeyIsLocked(info)))) => Key::from_user(&info.key),
                _ => unreachable!("queued for a lock"),
            };
            let deadline = deadline.expect("queued only with a deadline");
            match tokio::time::timeout_at(deadline, woken).await {
                Ok(Ok(Woken::Deadlock(chain))) => {
                    waiting.give_up();
                    let Err(CommandError::Txn(TxnError::Mvcc(MvccError::KeyIsLocked(info)))) = result else {
                        unreachable!("queued for a lock")
                    };
                    return Err(deadlock_error(&cmd, &info, chain));
                }
                Ok(Ok(Woken::RolledBack)) => {
                    waiting.give_up();
                    return Err(rolled_back(&cmd, &key));
                }
                Ok(Ok(Woken::Turn) | Err(_)) => {
                    self.tell_no_more(waiting.id);
                    turn = Some((waiting, key));
                }
                Err(_) => {
                    waiting.give_up();
                    return result.map(|(answer, _)| answer);
                }
            }
        }
    }

    /// Queues a transaction for a lock, while the lock's key is latched.
    fn queue(
        &self,
        turn: Option<(Waiting<R>, Key)>,
        cmd: &PessimisticLock,
        key: &Key,
        info: &LockInfo,
    ) -> Result<(Waiting<R>, oneshot::Receiver<Woken>), CommandError> {
        let holder = info.lock.start_ts;
        let (tx, rx) = oneshot::channel();
        let deadlock = |chain| deadlock_error(cmd, info, chain);
        match turn {
            Some((waiting, waited_for)) if waited_for == *key => {
                let mut waits = self.0.waits.lock();
                let again = waits.queues.wait_again(waiting.id, holder);
                match again {
                    Ok(wake) => {
                        waits.wakers.insert(waiting.id, tx);
                        drop(waits);
                        self.wake(key, wake);
                        self.tell(waiting.id, cmd.start_ts, info);
                        Ok((waiting, rx))
                    }
                    Err(chain) => {
                        drop(waits);
                        waiting.turn_over(Turn::Passed);
                        Err(deadlock(chain))
                    }
                }
            }
            other => {
                if let Some((waiting, _)) = other {
                    waiting.turn_over(Turn::Passed);
                }
                let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
                let mut waits = self.0.waits.lock();
                waits.queues.wait(id, cmd.start_ts, cmd.for_update_ts, key, holder).map_err(deadlock)?;
                waits.wakers.insert(id, tx);
                drop(waits);
                self.tell(id, cmd.start_ts, info);
                Ok((Waiting { storage: self.clone(), id, key: key.clone(), left: false }, rx))
            }
        }
    }

    /// Ends the waits of a transaction for keys, while they are latched.
    fn end_waits(&self, keys: &[Key], start_ts: Timestamp, for_update_ts: Timestamp) {
        let mut waits = self.0.waits.lock();
        for key in keys {
            for id in waits.queues.roll_back(key, start_ts, for_update_ts) {
                if let Some(waker) = waits.wakers.remove(&id) {
                    let _ = waker.send(Woken::RolledBack);
                }
            }
        }
    }

    /// Tells the listener of a wait.
    fn tell(&self, id: WaiterId, waiter: Timestamp, info: &LockInfo) {
        let Some(listener) = self.0.listener.get() else { return };
        let key_hash = deadlock::hash(&info.key);
        let edge = deadlock::WaitEdge { waiter, holder: info.lock.start_ts, key: info.key.clone(), key_hash };
        self.0.waits.lock().told.insert(id, edge.clone());
        listener.waits(edge);
    }

    fn tell_no_more(&self, id: WaiterId) {
        let Some(listener) = self.0.listener.get() else { return };
        let told = self.0.waits.lock().told.remove(&id);
        if let Some(edge) = told {
            listener.waits_no_more(edge);
        }
    }

    /// Wakes whom a lock queue names.
    fn wake(&self, key: &Key, wake: Wake) {
        match wake {
            Wake::Nobody => {}
            Wake::Now(id) => {
                let waker = self.0.waits.lock().wakers.remove(&id);
                // One that is gone gives its turn up when it is dropped.
                if let Some(waker) = waker {
                    let _ = waker.send(Woken::Turn);
                }
            }
            Wake::Later => {
                let (storage, key) = (self.clone(), key.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(WAKE_DELAY).await;
                    let wake = storage.0.waits.lock().queues.wake_next(&key);
                    storage.wake(&key, wake);
                });
            }
        }
    }

    fn wake_released(&self, released: &[Released]) {
        if released.is_empty() {
            return;
        }
        for lock in released {
            let wake = {
                let mut waits = self.0.waits.lock();
                if waits.queues.is_empty() {
                    return;
                }
                waits.queues.released(&lock.key)
            };
            self.wake(&lock.key, wake);
        }
    }

    /// Latches, takes a snapshot, decides, replicates. Also tells whether anything was written.
    async fn run<T: Send + 'static>(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        bytes: usize,
        decide: impl FnOnce(&RegionSnapshot<LockView<R::Snapshot>>) -> Result<Outcome<T>, CommandError> + Send,
    ) -> Result<(T, bool), CommandError> {
        let admitted = self.admit(bytes)?;
        let latch = self.latch(&keys).await;
        let view = self.0.replication.snapshot(ctx).await?;
        for key in &keys {
            check_key(&view.region, key.encoded())?;
        }
        let view = self.0.lock_table.view_of_keys(view, &keys);
        let Outcome { changes, memory_locks, answer } = decide(&view)?;
        let Changes { mut batch, released } = changes;
        if batch.is_empty() {
            return Ok((answer, false));
        }
        let mut locks = self.0.lock_table.plan(&view, &mut batch).map_err(TxnError::from)?;
        let RegionSnapshot { region, term, .. } = view;
        let taken = self.0.lock_table.take(&region, term, &mut locks);
        if batch.is_empty() {
            if !self.0.lock_table.finish(&region, term, locks) {
                return Err(RegionError::StaleCommand(region.id).into());
            }
            drop((memory_locks, latch, admitted));
            self.wake_released(&released);
            return Ok((answer, true));
        }
        let ctx = RegionContext { term, ..ctx.clone() };
        let storage = self.clone();
        let task = tokio::spawn(async move {
            let written = storage.0.replication.write(&ctx, batch).await;
            let locked = match &written {
                Ok(()) => storage.0.lock_table.finish(&region, term, locks),
                Err(RegionError::ServerIsBusy { .. }) => {
                    storage.0.lock_table.put_back(&region, term, taken);
                    false
                }
                Err(_) => false,
            };
            drop((memory_locks, latch, admitted));
            written?;
            storage.wake_released(&released);
            if !locked {
                return Err(RegionError::StaleCommand(region.id).into());
            }
            Ok((answer, true))
        });
        match task.await {
            Ok(result) => result,
            // The runtime is being shut down, or the task panicked: whether the write happened is unknown.
            Err(_) => Err(RegionError::StaleCommand(0).into()),
        }
    }

    fn admit(&self, bytes: usize) -> Result<Admitted<R>, RegionError> {
        let inner = &self.0;
        let admitted = Admitted { inner: inner.clone(), bytes };
        let commands = inner.commands.fetch_add(1, Ordering::Relaxed);
        let pending = inner.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A single write larger than the bound may pass when nothing else is under way.
        if commands >= inner.options.commands_max || (pending > 0 && pending + bytes > inner.options.pending_bytes_max)
        {
            let reason = "too many writes under way".to_string();
            return Err(RegionError::ServerIsBusy { reason, backoff_ms: 50 });
        }
        Ok(admitted)
    }

    async fn latch(&self, keys: &[Key]) -> LatchGuard<R> {
        let command = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let ticket = self.0.latches.lock().table.ticket(command, keys.iter().map(Key::encoded));
        let mut guard = LatchGuard { inner: self.0.clone(), command, ticket: Some(ticket) };
        loop {
            let woken = {
                let mut latches = self.0.latches.lock();
                let ticket = guard.ticket.as_mut().expect("taken only on drop");
                if latches.table.acquire(ticket) {
                    return guard;
                }
                let (tx, rx) = oneshot::channel();
                latches.wakers.insert(command, tx);
                rx
            };
            let _ = woken.await;
        }
    }

    /// Makes sure that commit timestamps chosen here come after the reads that former leaders of the region served.
    /// False when PD could not be asked.
    async fn cover_former_reads(&self, ctx: &RegionContext) -> Result<bool, CommandError> {
        let Some(oracle) = &self.0.oracle else { return Ok(true) };
        let view = self.0.replication.snapshot(ctx).await?;
        let now = (view.term, view.region.epoch.version);
        if self.0.covered.lock().get(&ctx.region_id) == Some(&now) {
            return Ok(true);
        }
        drop(view);
        match oracle.timestamp().await {
            Ok(ts) => {
                self.0.pd_time.note(ts);
                self.0.manager.update_max_ts(ts);
                self.0.covered.lock().insert(ctx.region_id, now);
                Ok(true)
            }
            Err(reason) => {
                tracing::debug!(region = ctx.region_id, reason, "no timestamp from PD, committing in two phases");
                Ok(false)
            }
        }
    }
}

// Raw access.
impl<R: Replication> Storage<R> {
    /// The value of a raw key.
    pub async fn raw_get(&self, ctx: &RegionContext, cf: Cf, key: &[u8]) -> Result<Option<Bytes>, CommandError> {
        let view = self.0.replication.snapshot(ctx).await?;
        check_key(&view.region, key)?;
        Ok(view.engine.get(cf, key).map_err(TxnError::from)?)
    }

    /// The raw keys that have a value.
    pub async fn raw_batch_get(
        &self,
        ctx: &RegionContext,
        cf: Cf,
        keys: Vec<Vec<u8>>,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, CommandError> {
        let view = self.0.replication.snapshot(ctx).await?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            check_key(&view.region, &key)?;
            if let Some(value) = view.engine.get(cf, &key).map_err(TxnError::from)? {
                rows.push((key, value));
            }
        }
        Ok(rows)
    }

    /// At most `limit` raw keys of a range, cut to the region.
    pub async fn raw_scan(
        &self,
        ctx: &RegionContext,
        cf: Cf,
        ranges: &[KeyRange],
        limit_each: usize,
        options: ScanOptions,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, CommandError> {
        let view = self.0.replication.snapshot(ctx).await?;
        let mut rows = Vec::new();
        for range in ranges {
            let range = range.intersect(&view.region.range);
            for entry in view.engine.scan(cf, &range, options.direction).take(limit_each) {
                let (key, value) = entry.map_err(TxnError::from)?;
                rows.push((key.to_vec(), if options.key_only { Bytes::new() } else { value }));
            }
        }
        Ok(rows)
    }

    /// Sets raw keys, all or none. With `latched`, [`Self::raw_compare_and_swap`] sees either before or after.
    pub async fn raw_put(
        &self,
        ctx: &RegionContext,
        cf: Cf,
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
        latched: bool,
    ) -> Result<(), CommandError> {
        let keys = pairs.iter().map(|(key, _)| Key::from_encoded(key.clone())).collect();
        let mut batch = WriteBatch::new();
        for (key, value) in pairs {
            batch.put(cf, key, value);
        }
        self.raw_write(ctx, keys, batch, latched).await
    }

    /// Removes raw keys, all or none.
    pub async fn raw_delete(
        &self,
        ctx: &RegionContext,
        cf: Cf,
        keys: Vec<Vec<u8>>,
        latched: bool,
    ) -> Result<(), CommandError> {
        let mut batch = WriteBatch::new();
        for key in &keys {
            batch.delete(cf, key.clone());
        }
        let keys = keys.into_iter().map(Key::from_encoded).collect();
        self.raw_write(ctx, keys, batch, latched).await
    }

    /// Removes the raw keys of a range, which must lie in the region.
    pub async fn raw_delete_range(&self, ctx: &RegionContext, cf: Cf, range: KeyRange) -> Result<(), CommandError> {
        let view = self.0.replication.snapshot(ctx).await?;
        let range = range.intersect(&view.region.range);
        drop(view);
        let mut batch = WriteBatch::new();
        batch.delete_range(cf, range);
        self.raw_write(ctx, Vec::new(), batch, false).await
    }

    /// Sets a raw key if its value is the expected one (none for absent). Returns whether it did, and what was there.
    pub async fn raw_compare_and_swap(
        &self,
        ctx: &RegionContext,
        cf: Cf,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
    ) -> Result<(bool, Option<Bytes>), CommandError> {
        check_raw_key(&key)?;
        let bytes = key.len() + value.len();
        let run = self.run(ctx, vec![Key::from_encoded(key.clone())], bytes, move |view| {
            let found = view.engine.get(cf, &key).map_err(TxnError::from)?;
            let mut changes = super::Changes::default();
            let swap = found.as_deref() == expected.as_deref();
            if swap {
                changes.batch.put(cf, key, value);
            }
            Ok(Outcome::new(changes, (swap, found)))
        });
        run.await.map(|(answer, _)| answer)
    }

    async fn raw_write(
        &self,
        ctx: &RegionContext,
        keys: Vec<Key>,
        batch: WriteBatch,
        latched: bool,
    ) -> Result<(), CommandError> {
        keys.iter().try_for_each(|key| check_raw_key(key.encoded()))?;
        let bytes = batch.size_bytes();
        if latched {
            let changes = Changes { batch, released: Vec::new() };
            return self.run(ctx, keys, bytes, move |_| Ok(Outcome::new(changes, ()))).await.map(|(answer, _)| answer);
        }
        let _admitted = self.admit(bytes)?;
        let view = self.0.replication.snapshot(ctx).await?;
        for key in &keys {
            check_key(&view.region, key.encoded())?;
        }
        drop(view);
        Ok(self.0.replication.write(ctx, batch).await?)
    }
}

/// Where a read may be served. One at a timestamp is the leader's alone: a follower does not tell it what was read, so that
/// the leader could choose a commit timestamp that the reader should have seen.
fn readable(ctx: &RegionContext, params: &ReadParams) -> RegionContext {
    let any_replica = ctx.replica_read && params.isolation == Isolation::ReadCommitted;
    RegionContext { replica_read: any_replica, ..ctx.clone() }
}

fn deadlock_error(cmd: &PessimisticLock, info: &LockInfo, chain: deadlock::Circle) -> CommandError {
    CommandError::Txn(TxnError::Deadlock {
        start_ts: cmd.start_ts,
        lock_ts: info.lock.start_ts,
        key: info.key.clone(),
        deadlock_key_hash: chain.last().map_or(0, |edge| edge.key_hash),
        wait_chain: chain,
    })
}

fn rolled_back(cmd: &PessimisticLock, key: &Key) -> CommandError {
    let start_ts = cmd.start_ts;
    match key.to_user() {
        Ok(key) => TxnError::PessimisticLockRolledBack { start_ts, key }.into(),
        Err(e) => e.into(),
    }
}

fn check_key(region: &Region, encoded: &[u8]) -> Result<(), RegionError> {
    match region.range.contains(encoded) {
        true => Ok(()),
        false => Err(RegionError::KeyNotInRegion { key: encoded.to_vec(), region: region.clone() }),
    }
}

fn check_raw_key(key: &[u8]) -> Result<(), TxnError> {
    match (1..=engine::KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(()),
        false => Err(engine::EngineError::KeyLength(key.len()).into()),
    }
}

fn key_bytes(keys: &[Key]) -> usize {
    keys.iter().map(|key| key.encoded().len()).sum()
}

/// Counts a command among those under way until dropped.
struct Admitted<R> {
    inner: Arc<Inner<R>>,
    bytes: usize,
}

impl<R> Drop for Admitted<R> {
    fn drop(&mut self) {
        self.inner.commands.fetch_sub(1, Ordering::Relaxed);
        self.inner.pending_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Latches, owned or waited for, until dropped.
struct LatchGuard<R> {
    inner: Arc<Inner<R>>,
    command: CommandId,
    ticket: Option<LatchTicket>,
}

impl<R> Drop for LatchGuard<R> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let mut latches = self.inner.latches.lock();
        latches.wakers.remove(&self.command);
        for command in latches.table.release(ticket) {
            if let Some(waker) = latches.wakers.remove(&command) {
                let _ = waker.send(());
            }
        }
    }
}

/// A place in a lock's queue, or a turn at the lock; given up when dropped.
struct Waiting<R: Replication> {
    storage: Storage<R>,
    id: WaiterId,
    key: Key,
    left: bool,
}

impl<R: Replication> Waiting<R> {
    fn turn_over(mut self, turn: Turn) {
        self.left = true;
        self.storage.tell_no_more(self.id);
        let wake = self.storage.0.waits.lock().queues.turn_over(self.id, turn);
        self.storage.wake(&self.key, wake);
    }

    fn give_up(self) {}
}

impl<R: Replication> Drop for Waiting<R> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let wake = {
            let mut waits = self.storage.0.waits.lock();
            waits.wakers.remove(&self.id);
            waits.queues.give_up(self.id)
        };
        self.storage.tell_no_more(self.id);
        self.storage.wake(&self.key, wake);
    }
}

#[cfg(test)]
mod tests;
