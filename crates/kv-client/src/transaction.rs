//! [`Transaction`]: reads at its start, buffered writes, locks taken on the way (pessimistic), and the commit.
//!
//! ```text
//!   begin ── get/scan (snapshot at start_ts, merged with the buffer) ── put/insert/delete (buffer)
//!         ── lock_keys (pessimistic: on the stores, at for_update_ts) ── commit | rollback
//!         ── lock_at_commit (optimistic: remembered)
//! ```
//!
//! A pessimistic transaction keeps its locks alive by heartbeats until it ends. Dropping a transaction that has not
//! ended releases its locks in the background.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use codec::timestamp::Timestamp;
use futures::stream::{FuturesUnordered, StreamExt};
use proto::kvrpcpb::prewrite_request::PessimisticAction;
use proto::kvrpcpb::{self, Assertion, Op};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backoff::Reason;
use crate::buffer::{Buffer, Stage};
use crate::client::{Client, REQUEST_TIMEOUT};
use crate::commit::{CommitCheck, CommitJob, Mutation, commit, lock_ttl_ms};
use crate::error::{Error, Result};
use crate::heartbeat::LOCK_TTL_MS;
use crate::private::Private;
use crate::region::Region;
use crate::resolve::locks_of;
use crate::snapshot::{KvPair, Snapshot, remaining};

/// How long a lock is waited for when the caller does not say: MySQL's `innodb_lock_wait_timeout`.
pub const LOCK_WAIT: Duration = Duration::from_secs(50);
/// How long the end of a transaction waits until its locks are gone. They are released in any case; whoever ended it has
/// nothing to gain from waiting for a store that is away.
const RELEASE_WAIT: Duration = Duration::from_secs(1);
/// Keys in one lock request.
const LOCK_BATCH: usize = 1024;
/// An optimistic transaction larger than this may take longer to commit than its locks live: it sends heartbeats.
const HEARTBEAT_BYTES_MIN: usize = 4 << 20;

/// How a transaction works.
#[derive(Clone, Debug, Default)]
pub struct TxnOptions {
    /// Whether writes lock their keys at once ([`Transaction::lock_keys`]) rather than at commit.
    pub pessimistic: bool,
    /// Whether its locks are kept for as long as the transaction is, and not only for the longest that one takes which
    /// was not forgotten. For transactions that are held for their locks.
    pub lasting: bool,
}

impl TxnOptions {
    /// Locks on the way.
    pub fn pessimistic() -> Self {
        Self { pessimistic: true, ..Self::default() }
    }

    /// Conflicts are found at commit.
    pub fn optimistic() -> Self {
        Self::default()
    }
}

/// How long to wait for a lock that another transaction holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockWait {
    /// [`LOCK_WAIT`].
    #[default]
    Default,
    /// Not at all: [`Error::LockNoWait`].
    NoWait,
    /// This many milliseconds.
    Ms(u64),
}

/// How keys are locked.
#[derive(Clone, Debug, Default)]
pub struct LockOptions {
    /// How long to wait for other transactions.
    pub wait: LockWait,
    /// Whether to return the values as of the lock.
    pub return_values: bool,
    /// Whether to return if the keys have values.
    pub check_existence: bool,
    /// The timestamp that the caller has read at: a key committed since is a [`Error::WriteConflict`]. Without it the
    /// keys are locked as they are now: first at the newest timestamp that the transaction knows, which spares asking PD,
    /// and at a fresh one when a key has changed since.
    pub for_update_ts: Option<Timestamp>,
}

/// What locking found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locked {
    /// The timestamp at which the keys were locked; values are as of it.
    pub for_update_ts: Timestamp,
    /// Committed values in the order of the keys, with `return_values`. The buffer is not merged in.
    pub values: Vec<Option<Vec<u8>>>,
    /// Whether the keys have committed values, with `return_values` or `check_existence`.
    pub exists: Vec<bool>,
}

/// A transaction.
pub struct Transaction {
    client: Client,
    snapshot: Snapshot,
    start_ts: Timestamp,
    options: TxnOptions,
    started: Instant,
    buffer: Buffer,
    /// Keys locked on the stores; none of an optimistic transaction.
    locked: BTreeSet<Vec<u8>>,
    /// Keys that an optimistic transaction's commit locks beside those that it writes.
    locked_at_commit: BTreeSet<Vec<u8>>,
    /// Fixed once the first key is locked.
    primary: Option<Vec<u8>>,
    /// The newest timestamp that keys were locked at.
    for_update_ts: Timestamp,
    /// Whether the last call for locks failed or was dropped. What it may have locked is released in the background,
    /// locks up to its timestamp: the next ones are taken at a fresh timestamp, or that would release them too.
    gave_up: bool,
    check: Option<CommitCheck>,
    /// What the session keeps to itself.
    private: Option<Private>,
    finished: bool,
}

/// One key's part of a lock answer.
#[derive(Clone, Debug, Default)]
struct LockedKey {
    value: Option<Vec<u8>>,
    exists: bool,
}

impl Transaction {
    pub(crate) fn new(client: Client, start_ts: Timestamp, options: TxnOptions) -> Self {
        let limits = client.options();
        Self {
            buffer: Buffer::new(limits.entry_bytes_max, limits.txn_bytes_max),
            snapshot: client.snapshot(start_ts),
            client,
            start_ts,
            options,
            started: Instant::now(),
            locked: BTreeSet::new(),
            locked_at_commit: BTreeSet::new(),
            primary: None,
            for_update_ts: start_ts,
            gave_up: false,
            check: None,
            private: None,
            finished: false,
        }
    }

    /// Lets it read and write what a session keeps to itself.
    pub fn use_private(&mut self, private: &Private) {
        self.snapshot = self.snapshot.clone().with_private(Some(private));
        self.private = Some(private.clone());
    }

    /// What the session keeps to itself.
    pub fn private(&self) -> Option<&Private> {
        self.private.as_ref()
    }

    /// Where its snapshot is.
    pub fn start_ts(&self) -> Timestamp {
        self.start_ts
    }

    /// The newest timestamp that keys were locked at; the start when none was.
    pub fn for_update_ts(&self) -> Timestamp {
        self.for_update_ts
    }

    /// Whether writes lock their keys at once.
    pub fn is_pessimistic(&self) -> bool {
        self.options.pessimistic
    }

    /// Whether it neither wrote nor locked anything.
    pub fn is_readonly(&self) -> bool {
        self.buffer.is_empty() && self.locked.is_empty() && self.locked_at_commit.is_empty()
    }

    /// Whether it was committed or rolled back.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes of the pending writes.
    pub fn bytes(&self) -> usize {
        self.buffer.bytes()
    }

    /// Pending writes.
    pub fn pending(&self) -> usize {
        self.buffer.len()
    }

    /// The client that it came from.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its snapshot, without the pending writes.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Has commits refused with [`Error::SchemaChanged`] when `check` says so for the commit timestamp.
    pub fn set_commit_check(&mut self, check: CommitCheck) {
        self.check = Some(check);
    }

    /// The value of a key: the pending one, or as of the start.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_from(&self.snapshot, key).await
    }

    /// The value of a key: the pending one, or as of another snapshot (`SELECT … FOR UPDATE` reads at its own).
    pub async fn get_from(&self, snapshot: &Snapshot, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.buffer.get(key) {
            Some(entry) => Ok(entry.value.clone()),
            None => snapshot.get(key).await,
        }
    }

    /// The values of keys, in their order.
    pub async fn batch_get(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        self.batch_get_from(&self.snapshot, keys).await
    }

    /// The values of keys, in their order: pending ones, or as of another snapshot.
    pub async fn batch_get_from(&self, snapshot: &Snapshot, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        if self.buffer.is_empty() {
            return snapshot.batch_get(keys).await;
        }
        let pending = |key: &Vec<u8>| self.buffer.get(key);
        let asked: Vec<Vec<u8>> = keys.iter().filter(|key| pending(key).is_none()).cloned().collect();
        let mut committed = snapshot.batch_get(&asked).await?.into_iter();
        Ok(keys
            .iter()
            .map(|key| match pending(key) {
                Some(entry) => entry.value.clone(),
                None => committed.next().flatten(),
            })
            .collect())
    }

    /// Up to `limit` pairs of `[start, end)` in key order (`end` empty: no bound): pending writes over the snapshot.
    pub async fn scan(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<KvPair>> {
        self.scan_with(&self.snapshot, start, end, limit, false, false).await
    }

    /// The same from another snapshot, in either direction, with or without values (of committed pairs).
    pub async fn scan_with(
        &self,
        snapshot: &Snapshot,
        start: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        key_only: bool,
    ) -> Result<Vec<KvPair>> {
        // Each pending delete can hide one committed pair.
        let deleted = self.buffer.range(start, end).filter(|(_, value)| value.is_none()).count();
        let committed = snapshot.scan(start, end, limit.saturating_add(deleted), reverse, key_only).await?;
        let pending = self.buffer.range(start, end);
        Ok(if reverse {
            merge(committed, pending.rev(), limit, |a, b| a > b)
        } else {
            merge(committed, pending, limit, |a, b| a < b)
        })
    }

    /// Pending writes of `[start, end)` (`end` empty: no bound) in key order; `None` is a delete.
    pub fn iter_buffer<'a>(
        &'a self,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        self.buffer.range(start, end)
    }

    /// The pending writes.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Writes a value.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.writable()?;
        self.buffer.put(key, value)
    }

    /// Writes a value for a key that must have none: [`Error::KeyExists`] now, when the key is locked, or at commit.
    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.writable()?;
        self.buffer.insert(key, value)
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: Vec<u8>) -> Result<()> {
        self.writable()?;
        self.buffer.delete(key)
    }

    fn writable(&self) -> Result<()> {
        if self.finished { Err(Error::Finished) } else { Ok(()) }
    }

    /// Opens a stage of the pending writes: a statement, or a savepoint.
    pub fn stage(&mut self) -> Stage {
        self.buffer.stage()
    }

    /// Closes a stage and keeps its writes.
    pub fn release(&mut self, stage: Stage) {
        self.buffer.release(stage);
    }

    /// Undoes the writes since a stage was opened; locks stay. The stage stays open. `false` when it is gone.
    pub fn rollback_to(&mut self, stage: Stage) -> bool {
        self.buffer.rollback_to(stage)
    }

    /// Whether a key is locked on its store by this transaction.
    pub fn is_locked(&self, key: &[u8]) -> bool {
        self.locked.contains(key)
    }

    /// Locks keys on their stores, so that nobody else can change them until this transaction ends. Keys with a pending
    /// [`Transaction::insert`] are checked to have no committed value.
    ///
    /// On failure, and when the future is dropped, the keys that this call locked are released; earlier locks stay.
    pub async fn lock_keys(&mut self, keys: Vec<Vec<u8>>, options: LockOptions) -> Result<Locked> {
        self.writable()?;
        if !self.options.pessimistic {
            return Err(Error::Refused("an optimistic transaction takes no locks before its commit".into()));
        }
        match self.private.clone() {
            Some(private) if keys.iter().any(|key| private.covers(key)) => {
                self.lock_beside(&private, keys, options).await
            }
            _ => self.lock_stored(keys, options).await,
        }
    }

    /// As [`Transaction::lock_keys`], some keys being the session's own: nobody else can change those.
    async fn lock_beside(&mut self, private: &Private, keys: Vec<Vec<u8>>, options: LockOptions) -> Result<Locked> {
        for key in keys.iter().filter(|key| private.covers(key)) {
            if self.buffer.get(key).is_some_and(|entry| entry.must_not_exist) {
                if private.get(key).is_some() {
                    return Err(Error::KeyExists { key: key.clone() });
                }
                self.buffer.set_checked(key);
            }
        }
        let stored: Vec<Vec<u8>> = keys.iter().filter(|key| !private.covers(key)).cloned().collect();
        let found = match stored.is_empty() {
            true => Locked { for_update_ts: self.for_update_ts, ..Locked::default() },
            false => self.lock_stored(stored, options.clone()).await?,
        };
        let mut locked = Locked { for_update_ts: found.for_update_ts, ..Locked::default() };
        let (mut values, mut exists) = (found.values.into_iter(), found.exists.into_iter());
        if options.return_values || options.check_existence {
            for key in &keys {
                let (value, there) = match private.covers(key) {
                    true => {
                        let value = private.get(key);
                        let there = value.is_some();
                        (value, there)
                    }
                    false => (values.next().flatten(), exists.next().unwrap_or_default()),
                };
                locked.exists.push(there);
                if options.return_values {
                    locked.values.push(value);
                }
            }
        }
        Ok(locked)
    }

    async fn lock_stored(&mut self, keys: Vec<Vec<u8>>, options: LockOptions) -> Result<Locked> {
        self.snapshot.check_age()?;
        let mut ts = match options.for_update_ts {
            Some(ts) => ts,
            None if self.gave_up && !keys.is_empty() => self.client.timestamp().await?,
            None => self.for_update_ts,
        };
        let wait = match options.wait {
            LockWait::Default => LOCK_WAIT,
            LockWait::NoWait => Duration::ZERO,
            LockWait::Ms(ms) => Duration::from_millis(ms),
        };
        let deadline = Instant::now() + wait;
        let mut fresh: Vec<&[u8]> = keys.iter().map(Vec::as_slice).filter(|key| !self.is_locked(key)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        let mut found = HashMap::new();
        if !fresh.is_empty() {
            self.gave_up = true;
            loop {
                match self.lock_fresh(&fresh, ts, &options, deadline).await {
                    Ok(answers) => {
                        self.gave_up = false;
                        found = answers;
                        break;
                    }
                    // The caller has read nothing at this timestamp: a newer one is as good.
                    Err(Error::WriteConflict { .. }) if options.for_update_ts.is_none() => {
                        ts = self.client.timestamp().await?;
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        self.for_update_ts = self.for_update_ts.max(ts);
        let mut locked = Locked { for_update_ts: ts, ..Locked::default() };
        self.check_owned(&keys, &found, ts).await?;
        if options.return_values || options.check_existence {
            // Keys locked by earlier statements cannot have changed since: read them as of now.
            let owned: Vec<Vec<u8>> = keys.iter().filter(|key| !found.contains_key(key.as_slice())).cloned().collect();
            let mut values = self.client.snapshot(ts).batch_get(&owned).await?.into_iter();
            for key in &keys {
                let (value, exists) = match found.get(key.as_slice()) {
                    Some(answer) => (answer.value.clone(), answer.exists),
                    None => {
                        let value = values.next().flatten();
                        let exists = value.is_some();
                        (value, exists)
                    }
                };
                locked.exists.push(exists);
                if options.return_values {
                    locked.values.push(value);
                }
            }
        }
        Ok(locked)
    }

    /// Has an optimistic transaction's commit fail with [`Error::WriteConflict`] when somebody else changed, or locked so,
    /// one of these keys after its start: `SELECT … FOR UPDATE`. Rolling back to a stage does not take it back.
    pub fn lock_at_commit(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<()> {
        self.writable()?;
        if self.options.pessimistic {
            return Err(Error::Refused("a pessimistic transaction locks its keys at once".into()));
        }
        let private = self.private.as_ref();
        self.locked_at_commit
            .extend(keys.into_iter().filter(|key| !private.is_some_and(|private| private.covers(key))));
        Ok(())
    }

    /// Pending inserts of keys that were locked before this call: their existence has not been checked yet.
    async fn check_owned(
        &mut self,
        keys: &[Vec<u8>],
        found: &HashMap<Vec<u8>, LockedKey>,
        ts: Timestamp,
    ) -> Result<()> {
        let unchecked = |key: &&Vec<u8>| self.buffer.get(key).is_some_and(|entry| entry.must_not_exist);
        let unchecked: Vec<Vec<u8>> = keys.iter().filter(unchecked).cloned().collect();
        let owned: Vec<Vec<u8>> = unchecked.iter().filter(|key| !found.contains_key(key.as_slice())).cloned().collect();
        let values = self.client.snapshot(ts).batch_get(&owned).await?;
        if let Some((key, _)) = owned.iter().zip(&values).find(|(_, value)| value.is_some()) {
            return Err(Error::KeyExists { key: key.clone() });
        }
        for key in &unchecked {
            self.buffer.set_checked(key);
        }
        Ok(())
    }

    /// Locks keys that are not locked yet, all or none.
    async fn lock_fresh(
        &mut self,
        keys: &[&[u8]],
        ts: Timestamp,
        options: &LockOptions,
        deadline: Instant,
    ) -> Result<HashMap<Vec<u8>, LockedKey>> {
        let first_lock = self.primary.is_none();
        let primary = self.primary.clone().unwrap_or_else(|| keys[0].to_vec());
        // A request without an answer may have locked its keys, also one that nobody waits for any more.
        let keys_asked = keys.iter().map(|key| key.to_vec()).collect();
        let mut asked = Asked { client: self.client.clone(), start_ts: self.start_ts, ts, keys: keys_asked };
        let request = LockRequest { txn: self, primary: &primary, ts, options, deadline, first_lock };
        let mut found = HashMap::with_capacity(keys.len());
        let mut rest = keys;
        if first_lock && keys.len() > 1 {
            // The primary's lock must stand before others point to it.
            request.lock(&keys[..1], &mut found).await?;
            rest = &keys[1..];
        }
        request.lock(rest, &mut found).await?;
        if first_lock {
            self.client.start_heartbeat(self.start_ts, primary.clone(), self.started, self.options.lasting);
            self.primary = Some(primary);
        }
        self.locked.extend(std::mem::take(&mut asked.keys));
        Ok(found)
    }

    /// Releases pessimistic locks in the background, by a task that may be waited for.
    fn release_locks(&self, keys: Vec<Vec<u8>>, ts: Timestamp) -> Option<JoinHandle<()>> {
        Asked { client: self.client.clone(), start_ts: self.start_ts, ts, keys }.release()
    }

    /// Commits the pending writes and checks [`Transaction::lock_at_commit`]'s keys; returns the commit timestamp (the
    /// start for a transaction with neither).
    pub async fn commit(&mut self) -> Result<Timestamp> {
        self.writable()?;
        let Some(private) = self.private.clone() else { return self.commit_stored().await };
        let (start, end) = private.range();
        let own = self.buffer.take_range(start, end);
        let duplicate = own.iter().find(|(key, entry)| entry.must_not_exist && private.get(key).is_some());
        if let Some((key, _)) = duplicate {
            self.finished = true;
            self.end_and_wait().await;
            return Err(Error::KeyExists { key: key.clone() });
        }
        let committed = self.commit_stored().await?;
        // Whoever still reads the pairs makes taking these a copy of them all.
        self.snapshot = self.snapshot.clone().with_private(None);
        private.apply(own);
        Ok(committed)
    }

    async fn commit_stored(&mut self) -> Result<Timestamp> {
        self.finished = true;
        if self.buffer.is_empty() && self.locked_at_commit.is_empty() {
            self.end_and_wait().await;
            return Ok(self.start_ts);
        }
        // Until the end: what it needs stays, and nobody takes its locks for those of a transaction that is gone.
        let in_use = match self.client.inner.live.begin_commit(self.start_ts) {
            Ok(in_use) => in_use,
            Err(e) => {
                self.end_and_wait().await;
                return Err(e);
            }
        };
        if let Err(e) = self.check_inserts().await {
            self.end_and_wait().await;
            return Err(e);
        }
        let bytes = self.buffer.bytes() + self.locked_at_commit.iter().map(Vec::len).sum::<usize>();
        let mutations = self.mutations();
        if mutations.iter().all(|m| m.op == Op::CheckNotExists) {
            self.end_and_wait().await;
            return Ok(self.start_ts);
        }
        // The buffer's order is the keys' order, and so is the list's: the primary is found by search.
        let at = |key: &Vec<u8>| mutations.binary_search_by(|m| m.key.cmp(key)).ok();
        let real = |m: &Mutation| m.op != Op::CheckNotExists;
        let primary = self.primary.as_ref().and_then(at).or_else(|| mutations.iter().position(real)).unwrap_or(0);
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        let ttl_ms = if self.locked.is_empty() { lock_ttl_ms(bytes) } else { LOCK_TTL_MS };
        if self.locked.is_empty() && bytes >= HEARTBEAT_BYTES_MIN {
            self.client.start_heartbeat(
                self.start_ts,
                mutations[primary].key.clone(),
                self.started,
                self.options.lasting,
            );
        }
        let job = CommitJob {
            client: self.client.clone(),
            start_ts: self.start_ts,
            for_update_ts: self.for_update_ts,
            pessimistic: !self.locked.is_empty(),
            mutations,
            primary,
            lock_ttl_ms: ttl_ms + elapsed_ms,
            check: self.check.clone(),
            _in_use: in_use,
            deadline: self.client.options().deadline,
        };
        let result = commit(job).await;
        self.client.stop_heartbeat(self.start_ts);
        if !matches!(result, Ok(_) | Err(Error::Undetermined(_))) {
            // The committer's rollback covers its keys; these are the ones it may never have reached.
            let keys = self.locked.iter().cloned().collect();
            self.release_locks(keys, self.for_update_ts);
        }
        self.locked.clear();
        result
    }

    /// Checks the inserts that prewrite would not: of keys that were locked before they were inserted, and, when nothing
    /// else is to be written, of keys that were deleted again.
    async fn check_inserts(&mut self) -> Result<()> {
        let nothing_left = self.locked.is_empty()
            && self.buffer.iter().all(|(_, entry)| entry.must_not_exist && entry.value.is_none());
        let unchecked: Vec<Vec<u8>> = self
            .buffer
            .iter()
            .filter(|(key, entry)| entry.must_not_exist && (nothing_left || self.locked.contains(*key)))
            .map(|(key, _)| key.clone())
            .collect();
        if unchecked.is_empty() {
            return Ok(());
        }
        let ts = if nothing_left { self.start_ts } else { self.for_update_ts };
        self.check_owned(&unchecked, &HashMap::new(), ts).await?;
        if nothing_left {
            self.buffer.take();
        }
        Ok(())
    }

    /// What commit sends: pending writes, and the locked keys that were not written.
    fn mutations(&mut self) -> Vec<Mutation> {
        let pessimistic = !self.locked.is_empty();
        let (to_lock, action) = match self.options.pessimistic {
            true => (&self.locked, PessimisticAction::DoPessimisticCheck),
            false => (&self.locked_at_commit, PessimisticAction::SkipPessimisticCheck),
        };
        let lock_only = |key: &Vec<u8>| Mutation { op: Op::Lock, key: key.clone(), value: Vec::new(), action };
        let mut mutations = Vec::with_capacity(self.buffer.len() + to_lock.len());
        let mut to_lock = to_lock.iter().peekable();
        for (key, entry) in self.buffer.take() {
            while let Some(before) = to_lock.next_if(|locked| **locked < key) {
                mutations.push(lock_only(before));
            }
            // A write of the key checks, and locks, as much.
            to_lock.next_if(|locked| **locked == key);
            let is_locked = self.locked.contains(&key);
            let action = match (pessimistic, is_locked, entry.must_not_exist) {
                (true, true, _) => PessimisticAction::DoPessimisticCheck,
                (true, false, true) => PessimisticAction::DoConstraintCheck,
                _ => PessimisticAction::SkipPessimisticCheck,
            };
            let (op, value) = match (entry.value, entry.must_not_exist) {
                (Some(value), true) => (Op::Insert, value),
                (Some(value), false) => (Op::Put, value),
                (None, true) if is_locked => (Op::Lock, Vec::new()),
                // Inserted and deleted again: nothing to write, but the insert must have been right.
                (None, true) => (Op::CheckNotExists, Vec::new()),
                (None, false) => (Op::Del, Vec::new()),
            };
            mutations.push(Mutation { op, key, value, action });
        }
        mutations.extend(to_lock.map(lock_only));
        mutations
    }

    /// Gives up the pending writes and releases the locks: when it returns others can have them, unless a store is away.
    pub async fn rollback(&mut self) -> Result<()> {
        if !self.finished {
            self.finished = true;
            self.end_and_wait().await;
        }
        Ok(())
    }

    /// Ends without a commit: heartbeats stop, locks go.
    fn end(&mut self) -> Option<JoinHandle<()>> {
        self.buffer.take();
        if self.locked.is_empty() {
            return None;
        }
        self.client.stop_heartbeat(self.start_ts);
        let keys = std::mem::take(&mut self.locked).into_iter().collect();
        self.release_locks(keys, self.for_update_ts)
    }

    async fn end_and_wait(&mut self) {
        if let Some(released) = self.end() {
            let _ = tokio::time::timeout(RELEASE_WAIT, released).await;
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.finished {
            self.end();
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("start_ts", &self.start_ts)
            .field("pending", &self.buffer.len())
            .field("locked", &(self.locked.len() + self.locked_at_commit.len()))
            .finish_non_exhaustive()
    }
}

/// Merges committed pairs with pending writes that hide them. `before` is the order of both.
fn merge<'a>(
    committed: Vec<KvPair>,
    pending: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    limit: usize,
    before: impl Fn(&[u8], &[u8]) -> bool,
) -> Vec<KvPair> {
    let mut committed = committed.into_iter().peekable();
    let mut pending = pending.peekable();
    let mut merged = Vec::new();
    while merged.len() < limit {
        let take_committed = match (committed.peek(), pending.peek()) {
            (None, None) => break,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((c, _)), Some((p, _))) => before(c, p),
        };
        if take_committed {
            merged.extend(committed.next());
        } else if let Some((key, value)) = pending.next() {
            committed.next_if(|(c, _)| c == key);
            merged.extend(value.map(|value| (key.to_vec(), value.to_vec())));
        }
    }
    merged
}

/// Keys that the stores were asked to lock. Dropped, it releases them in the background: the request failed, or whoever
/// waited for it went away (`KILL`, `max_execution_time`).
struct Asked {
    client: Client,
    start_ts: Timestamp,
    ts: Timestamp,
    keys: Vec<Vec<u8>>,
}

impl Asked {
    fn release(&mut self) -> Option<JoinHandle<()>> {
        let keys = std::mem::take(&mut self.keys);
        if keys.is_empty() {
            return None;
        }
        let (client, start_ts, ts) = (self.client.clone(), self.start_ts, self.ts);
        let release = async move {
            let mut backoff = client.backoff();
            if let Err(e) = client.pessimistic_rollback(start_ts.0, ts.0, keys, &mut backoff).await {
                tracing::debug!(start_ts = start_ts.0, "releasing locks: {e}");
            }
        };
        // Without a runtime (process ends) the locks expire by themselves.
        Some(tokio::runtime::Handle::try_current().ok()?.spawn(release))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the lock requests of one call share.
struct LockRequest<'a> {
    txn: &'a Transaction,
    primary: &'a [u8],
    ts: Timestamp,
    options: &'a LockOptions,
    deadline: Instant,
    first_lock: bool,
}

impl LockRequest<'_> {
    /// Locks keys, region by region at once, until all are locked or one cannot be.
    async fn lock(&self, keys: &[&[u8]], found: &mut HashMap<Vec<u8>, LockedKey>) -> Result<()> {
        let client = &self.txn.client;
        let mut backoff = client.backoff();
        let groups = client.group(keys, &mut backoff).await?;
        let mut asked: FuturesUnordered<_> = groups
            .into_iter()
            .flat_map(|(region, members)| {
                let chunks: Vec<Vec<&[u8]>> =
                    members.chunks(LOCK_BATCH).map(|chunk| chunk.iter().map(|&i| keys[i]).collect()).collect();
                chunks.into_iter().map(move |chunk| self.lock_batch(region.clone(), chunk))
            })
            .collect();
        let mut result = Ok(());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(pairs) => found.extend(pairs),
                // Go on: what is under way is to be known before the caller releases it.
                Err(e) => result = result.and(Err(e)),
            }
        }
        result
    }

    async fn lock_batch(&self, region: std::sync::Arc<Region>, keys: Vec<&[u8]>) -> Result<Vec<(Vec<u8>, LockedKey)>> {
        let client = &self.txn.client;
        let mut backoff = client.backoff();
        let mut region = region;
        loop {
            let started = Instant::now();
            let wait = remaining(self.deadline);
            let elapsed_ms = self.txn.started.elapsed().as_millis() as u64;
            let must_not_exist = |key: &&[u8]| self.txn.buffer.get(key).is_some_and(|e| e.must_not_exist);
            let mutation = |key: &&[u8]| kvrpcpb::Mutation {
                op: Op::PessimisticLock as i32,
                key: key.to_vec(),
                value: Vec::new(),
                assertion: if must_not_exist(key) { Assertion::NotExist } else { Assertion::None } as i32,
            };
            let request = kvrpcpb::PessimisticLockRequest {
                mutations: keys.iter().map(mutation).collect(),
                primary_lock: self.primary.to_vec(),
                start_version: self.txn.start_ts.0,
                lock_ttl: LOCK_TTL_MS + elapsed_ms,
                for_update_ts: self.ts.0,
                is_first_lock: self.first_lock,
                wait_timeout: wait.map_or(-1, |left| left.as_millis().max(1) as i64),
                return_values: self.options.return_values,
                check_existence: self.options.check_existence,
                min_commit_ts: self.ts.0 + 1,
                ..Default::default()
            };
            let timeout = REQUEST_TIMEOUT + wait.unwrap_or_default();
            let response = match client.send(&region, request, timeout).await {
                Ok(response) => response,
                Err(failure) => {
                    failure.wait(&mut backoff).await?;
                    let groups = client.group(&keys, &mut backoff).await?;
                    if let [(only, _)] = groups.as_slice() {
                        region = only.clone();
                        continue;
                    }
                    // The region was split: each part on its own.
                    let mut locked = Vec::new();
                    for (region, members) in groups {
                        let part = members.iter().map(|&i| keys[i]).collect();
                        locked.extend(Box::pin(self.lock_batch(region, part)).await?);
                    }
                    return Ok(locked);
                }
            };
            if response.errors.is_empty() {
                return Ok(self.read(&keys, response));
            }
            let locks = locks_of(self.txn.start_ts.0, response.errors)?;
            if self.options.wait == LockWait::NoWait {
                // Each by itself: locks of transactions that have ended are cleaned up, and not in the way.
                let mut taken = Vec::new();
                for lock in locks {
                    let key = lock.key.clone();
                    if client.resolve_locks(None, vec![lock], &mut backoff).await?.wait.is_some() {
                        taken.push(key);
                    }
                }
                match taken.first().cloned() {
                    Some(key) => return Err(Error::LockNoWait { key, taken }),
                    None => continue,
                }
            }
            let key = locks.first().map(|lock| lock.key.clone()).unwrap_or_default();
            let resolution = client.resolve_locks(None, locks, &mut backoff).await?;
            if resolution.wait.is_none() {
                continue;
            }
            if remaining(self.deadline).is_none() {
                return Err(Error::LockWaitTimeout { key });
            }
            // The store waits for the lock itself; one that answers at once is not asked in a tight loop.
            if started.elapsed() < Duration::from_millis(50)
                && let Err(Error::RegionUnavailable(_)) =
                    backoff.wait(Reason::WriteLock, None, "a lock is in the way").await
            {
                backoff = client.backoff();
            }
        }
    }

    /// Values and existence by key; stores that answer in the older form (`value`, `values`, `not_founds`) and in the
    /// newer (`results`) are both understood.
    fn read(&self, keys: &[&[u8]], response: kvrpcpb::PessimisticLockResponse) -> Vec<(Vec<u8>, LockedKey)> {
        let kvrpcpb::PessimisticLockResponse { mut values, mut not_founds, value, results, .. } = response;
        if !results.is_empty() {
            let answer = |r: kvrpcpb::PessimisticLockKeyResult| LockedKey {
                value: (self.options.return_values && r.existence).then_some(r.value),
                exists: r.existence,
            };
            return keys.iter().map(|key| key.to_vec()).zip(results.into_iter().map(answer)).collect();
        }
        if values.is_empty() && !value.is_empty() && keys.len() == 1 {
            values = vec![value];
        }
        values.resize(keys.len(), Vec::new());
        let known = !not_founds.is_empty();
        not_founds.resize(keys.len(), true);
        let answer = |(value, not_found): (Vec<u8>, bool)| {
            let exists = if known { !not_found } else { !value.is_empty() };
            LockedKey { value: (self.options.return_values && exists).then_some(value), exists }
        };
        keys.iter().map(|key| key.to_vec()).zip(values.into_iter().zip(not_founds).map(answer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> KvPair {
        (key.into(), value.into())
    }

    #[test]
    fn pending_writes_hide_committed_pairs_in_both_directions() {
        let committed = vec![pair("a", "1"), pair("c", "3"), pair("e", "5")];
        let pending: Vec<(&[u8], Option<&[u8]>)> =
            vec![(b"b", Some(b"B")), (b"c", None), (b"e", Some(b"E")), (b"x", None)];
        let up = merge(committed.clone(), pending.iter().copied(), 10, |a, b| a < b);
        assert_eq!(up, [pair("a", "1"), pair("b", "B"), pair("e", "E")]);
        let down = merge(committed.into_iter().rev().collect(), pending.iter().rev().copied(), 2, |a, b| a > b);
        assert_eq!(down, [pair("e", "E"), pair("b", "B")]);
    }
}
