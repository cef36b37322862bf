//! The Raft store as other threads see it: [`RaftStoreHandle`].
//!
//! A read under the leader's lease never leaves the caller's thread:
//!
//! ```text
//!   snapshot() → ReadDelegate of the region: leader? term's first entry applied? lease not over? epoch matches?
//!                yes → engine snapshot → delegate still valid? → done
//!                no  → read-index through the store's thread, then the engine snapshot
//! ```
//! Order matters: the lease is checked before the view is taken, so that the view holds every write acknowledged before
//! the check; validity is checked again after it, because a peer that left removes its data.
//!
//! Everything else is a [`Msg`] in the store's inbox, which is bounded: beyond it requests are refused as
//! `ServerIsBusy`, and Raft messages are dropped, which their sender repairs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use engine::{Engine, KeyRange, WriteBatch};
use futures::StreamExt;
use parking_lot::{Condvar, Mutex, RwLock};
use proto::meridian_raft::SnapshotMeta;
use proto::raft_serverpb::{RaftMessage, SnapshotChunk};
use protobuf::Message as _;
use tokio::sync::oneshot;

use super::keys;
use super::msg::{Msg, ReadKind, Reply};
use super::snapshot;
use crate::replication::{
    Epoch, Peer, RaftCalls, Region, RegionContext, RegionError, RegionSnapshot, Replication, SnapshotStream,
};

/// Requests that may wait for the store's thread. At a thousand syncs a second this is seconds of work.
const REQUESTS_MAX: usize = 8192;
/// Bytes of writes that may wait.
const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Raft messages that may wait; above it they are dropped.
const MESSAGES_MAX: usize = 65536;
/// And their bytes: a thread that hangs in a sync of a slow disk must not fill the memory.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What a refused client is told to wait.
const BUSY_BACKOFF_MS: u64 = 100;
/// Largest snapshot taken in: several times the size at which a region splits.
const SNAPSHOT_BYTES_MAX: usize = 1 << 30;
/// Snapshots received at once; each is in memory until it is applied.
const RECEIVING_MAX: u64 = 2;

/// Nanoseconds since some fixed moment, never going back. From outside, so that a simulation can own time.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a thread needs to know about a region to serve a read alone.
#[derive(Clone, Debug)]
pub struct DelegateState {
    /// The region.
    pub region: Arc<Region>,
    /// The peer on this store.
    pub peer: Peer,
    /// The leader, as far as this peer knows.
    pub leader: Option<Peer>,
    /// Its current term.
    pub term: u64,
    /// Whether the peer's data may be read at all: not while a snapshot is written over it, nor after it left.
    pub valid: bool,
}

/// Shares what a region's peer knows with reading threads. One writer, the store's thread.
#[derive(Debug)]
pub struct ReadDelegate {
    state: RwLock<DelegateState>,
    /// Until when no other leader can exist, by the clock; zero without a lease.
    lease_until: AtomicU64,
    /// Lease reads served, so that the store's thread renews leases only where there are readers.
    reads: AtomicU64,
    /// Versions applied since this replica was opened: what garbage there may be.
    versions: AtomicU64,
}

impl ReadDelegate {
    /// A delegate without a lease.
    pub fn new(state: DelegateState) -> Self {
        ReadDelegate {
            state: RwLock::new(state),
            lease_until: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            versions: AtomicU64::new(0),
        }
    }

    /// A copy of what readers see.
    pub fn state(&self) -> DelegateState {
        self.state.read().clone()
    }

    /// Changes what readers see.
    pub fn update(&self, change: impl FnOnce(&mut DelegateState)) {
        change(&mut self.state.write());
    }

    /// Ends the lease at once.
    pub fn expire_lease(&self) {
        self.lease_until.store(0, Ordering::Release);
    }

    /// Extends the lease; it never shrinks except by [`Self::expire_lease`].
    pub fn extend_lease(&self, until: u64) {
        self.lease_until.fetch_max(until, Ordering::AcqRel);
    }

    /// Until when the lease lasts.
    pub fn lease_until(&self) -> u64 {
        self.lease_until.load(Ordering::Acquire)
    }

    /// Versions applied since this replica was opened.
    pub fn versions(&self) -> u64 {
        self.versions.load(Ordering::Relaxed)
    }

    /// Counts versions that were applied.
    pub fn count_versions(&self, applied: u64) {
        self.versions.fetch_add(applied, Ordering::Relaxed);
    }

    /// Lease reads served since this was last asked.
    pub fn take_reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

/// Messages for the store's thread. Bounded; see the constants of this module.
pub struct Inbox<E: Engine> {
    queue: Mutex<InboxQueue<E>>,
    arrived: Condvar,
}

struct InboxQueue<E: Engine> {
    messages: VecDeque<Msg<E>>,
    request_bytes: usize,
    raft_bytes: usize,
    waiting: bool,
    closed: bool,
}

impl<E: Engine> Inbox<E> {
    fn new() -> Self {
        let queue =
            InboxQueue { messages: VecDeque::new(), request_bytes: 0, raft_bytes: 0, waiting: false, closed: false };
        Inbox { queue: Mutex::new(queue), arrived: Condvar::new() }
    }

    /// Adds a Raft message; whether the queue took it. A single one larger than the bound passes when no other waits.
    #[must_use]
    fn push_raft(&self, message: Box<RaftMessage>) -> bool {
        let bytes = message.message.len();
        let mut queue = self.queue.lock();
        let full = queue.raft_bytes > 0 && queue.raft_bytes + bytes > MESSAGE_BYTES_MAX;
        if queue.closed || queue.messages.len() >= MESSAGES_MAX || full {
            return false;
        }
        queue.raft_bytes += bytes;
        queue.messages.push_back(Msg::Raft(message));
        if queue.waiting {
            queue.waiting = false;
            self.arrived.notify_one();
        }
        true
    }

    /// Adds a message that must not be lost: results of the store's own work, which is bounded elsewhere.
    pub fn push(&self, msg: Msg<E>) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.messages.push_back(msg);
        if queue.waiting {
            queue.waiting = false;
            self.arrived.notify_one();
        }
    }

    /// Whether the queue took the message; one that it refused is gone.
    #[must_use]
    fn push_request(&self, msg: Msg<E>, bytes: usize) -> bool {
        let mut queue = self.queue.lock();
        if queue.closed
            || queue.messages.len() >= REQUESTS_MAX
            || (bytes > 0 && queue.request_bytes + bytes > REQUEST_BYTES_MAX)
        {
            return false;
        }
        queue.request_bytes += bytes;
        queue.messages.push_back(msg);
        if queue.waiting {
            queue.waiting = false;
            self.arrived.notify_one();
        }
        true
    }

    /// Everything that waits, in order.
    pub fn drain(&self, into: &mut Vec<Msg<E>>) {
        let mut queue = self.queue.lock();
        (queue.request_bytes, queue.raft_bytes) = (0, 0);
        into.extend(queue.messages.drain(..));
    }

    /// Like [`Self::drain`], but waits up to `timeout` for a first message.
    pub fn wait(&self, timeout: Duration, into: &mut Vec<Msg<E>>) {
        let mut queue = self.queue.lock();
        if queue.messages.is_empty() && !queue.closed {
            queue.waiting = true;
            self.arrived.wait_for(&mut queue, timeout);
            queue.waiting = false;
        }
        (queue.request_bytes, queue.raft_bytes) = (0, 0);
        into.extend(queue.messages.drain(..));
    }

    /// Refuses messages from now on and wakes the store's thread.
    pub fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        self.arrived.notify_one();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }
}

/// What the store's thread and the threads around it share.
pub struct Shared<E: Engine> {
    /// This store.
    pub store_id: u64,
    /// Its engine.
    pub engine: E,
    /// Messages for the store's thread.
    pub inbox: Inbox<E>,
    /// What reads need to know, by region.
    pub delegates: RwLock<HashMap<u64, Arc<ReadDelegate>>>,
    /// The clock that leases are measured with.
    pub clock: Clock,
    /// Largest write taken, in bytes.
    pub entry_bytes_max: usize,
    /// Snapshots being received.
    pub receiving: AtomicU64,
    /// Held while the data of a range is replaced or removed as a whole, so that nobody collects garbage from what is
    /// not whole. Never held by the store's thread.
    pub replacing: Mutex<()>,
    /// The format that entries are written in: the one that all stores of the cluster read.
    format: AtomicU32,
}

impl<E: Engine> Shared<E> {
    /// The parts around a store.
    pub fn new(store_id: u64, engine: E, clock: Clock, entry_bytes_max: usize) -> Arc<Self> {
        Arc::new(Shared {
            store_id,
            engine,
            inbox: Inbox::new(),
            delegates: RwLock::default(),
            clock,
            entry_bytes_max,
            receiving: AtomicU64::new(0),
            replacing: Mutex::new(()),
            format: AtomicU32::new(net::format::OLDEST),
        })
    }

    /// The format that entries are written in ([`net::format`]).
    pub fn format(&self) -> u32 {
        self.format.load(Ordering::Acquire)
    }

    /// All stores read this format, and this store's directory says that it may hold it.
    pub fn set_format(&self, format: u32) {
        self.format.store(format, Ordering::Release);
    }
}

/// The Raft store as other threads see it. Cheap to clone.
pub struct RaftStoreHandle<E: Engine> {
    shared: Arc<Shared<E>>,
}

impl<E: Engine> Clone for RaftStoreHandle<E> {
    fn clone(&self) -> Self {
        RaftStoreHandle { shared: self.shared.clone() }
    }
}

/// Checks what a request says of its region against what the region is.
pub(crate) fn check_context(
    ctx: &RegionContext,
    store_id: u64,
    peer: &Peer,
    region: &Region,
) -> Result<(), RegionError> {
    if ctx.store_id != 0 && ctx.store_id != store_id {
        return Err(RegionError::StoreNotMatch { requested: ctx.store_id, actual: store_id });
    }
    if ctx.peer_id != 0 && ctx.peer_id != peer.id {
        return Err(RegionError::MismatchPeerId { requested: ctx.peer_id, actual: peer.id });
    }
    check_version(ctx.epoch, region)
}

/// Data requests depend on the bounds only, not on the members.
fn check_version(epoch: Epoch, region: &Region) -> Result<(), RegionError> {
    if epoch.version != region.epoch.version {
        return Err(RegionError::EpochNotMatch { region: region.id, current: vec![region.clone()] });
    }
    Ok(())
}

fn busy(what: &str) -> RegionError {
    RegionError::ServerIsBusy { reason: format!("{what} is full"), backoff_ms: BUSY_BACKOFF_MS }
}

impl<E: Engine> RaftStoreHandle<E> {
    /// A handle on a store.
    pub fn new(shared: Arc<Shared<E>>) -> Self {
        RaftStoreHandle { shared }
    }

    /// The store's id.
    pub fn store_id(&self) -> u64 {
        self.shared.store_id
    }

    /// What the threads share.
    pub fn shared(&self) -> &Arc<Shared<E>> {
        &self.shared
    }

    /// The regions with a peer on this store, with their leaders and terms, in order of their keys.
    pub fn regions(&self) -> Vec<DelegateState> {
        let mut regions: Vec<_> = self.shared.delegates.read().values().map(|d| d.state()).collect();
        regions.sort_by(|a, b| a.region.range.start.cmp(&b.region.range.start));
        regions
    }

    /// What readers know of the regions with a peer on this store.
    pub fn delegates(&self) -> Vec<Arc<ReadDelegate>> {
        self.shared.delegates.read().values().cloned().collect()
    }

    fn delegate(&self, ctx: &RegionContext) -> Result<Arc<ReadDelegate>, RegionError> {
        if ctx.store_id != 0 && ctx.store_id != self.shared.store_id {
            return Err(RegionError::StoreNotMatch { requested: ctx.store_id, actual: self.shared.store_id });
        }
        let delegates = self.shared.delegates.read();
        delegates.get(&ctx.region_id).cloned().ok_or(RegionError::RegionNotFound(ctx.region_id))
    }

    /// A view under the lease: `None` when only the store's thread can answer.
    fn lease_snapshot(
        &self,
        ctx: &RegionContext,
        delegate: &ReadDelegate,
    ) -> Result<Option<RegionSnapshot<E::Snapshot>>, RegionError> {
        let (region, term) = {
            let state = delegate.state.read();
            check_context(ctx, self.shared.store_id, &state.peer, &state.region)?;
            let leads = state.leader.is_some_and(|l| l.id == state.peer.id);
            if !leads && !ctx.replica_read {
                return Err(RegionError::NotLeader { region: state.region.id, leader: state.leader });
            }
            if !leads || !state.valid || (self.shared.clock)() >= delegate.lease_until() {
                return Ok(None);
            }
            (state.region.clone(), state.term)
        };
        let engine = self.shared.engine.snapshot();
        let state = delegate.state.read();
        if !state.valid || state.region.epoch.version != region.epoch.version {
            return Ok(None);
        }
        delegate.reads.fetch_add(1, Ordering::Relaxed);
        Ok(Some(RegionSnapshot { engine, region: Region::clone(&region), term }))
    }

    /// A view after the store's thread said that this peer has applied enough.
    fn applied_snapshot(&self, ctx: &RegionContext) -> Result<RegionSnapshot<E::Snapshot>, RegionError> {
        let delegate = self.delegate(ctx)?;
        let engine = self.shared.engine.snapshot();
        let state = delegate.state.read();
        check_context(ctx, self.shared.store_id, &state.peer, &state.region)?;
        if !state.valid {
            return Err(RegionError::RegionNotFound(ctx.region_id));
        }
        if !ctx.replica_read {
            // What is written on the strength of this view is accepted in its term. So the view must hold what leaders of
            // earlier terms acknowledged, even if this peer lost the lead and won it back since it was asked.
            if state.leader.is_none_or(|leader| leader.id != state.peer.id) {
                return Err(RegionError::NotLeader { region: ctx.region_id, leader: state.leader });
            }
            let applied = keys::read_apply_state(&engine, ctx.region_id)
                .map_err(|source| RegionError::Storage { region: ctx.region_id, source })?;
            if applied.is_none_or(|applied| applied.term != state.term) {
                let reason = "the leader was elected anew".to_owned();
                return Err(RegionError::ReadIndexNotReady { region: ctx.region_id, reason });
            }
        }
        Ok(RegionSnapshot { engine, region: Region::clone(&state.region), term: state.term })
    }

    async fn ask<T>(&self, region: u64, bytes: usize, msg: impl FnOnce(Reply<T>) -> Msg<E>) -> Result<T, RegionError> {
        let (reply, answer) = oneshot::channel();
        if !self.shared.inbox.push_request(msg(Reply::new(reply)), bytes) {
            if self.shared.inbox.is_closed() {
                return Err(RegionError::RegionNotFound(region));
            }
            return Err(busy("the raft store's queue"));
        }
        // A dropped reply means that the peer was destroyed or the store stopped: the outcome is unknown.
        answer.await.unwrap_or(Err(RegionError::StaleCommand(region)))
    }
}

impl<E: Engine> Replication for RaftStoreHandle<E> {
    type Snapshot = E::Snapshot;

    async fn snapshot(&self, ctx: &RegionContext) -> Result<RegionSnapshot<E::Snapshot>, RegionError> {
        let delegate = self.delegate(ctx)?;
        if let Some(snapshot) = self.lease_snapshot(ctx, &delegate)? {
            return Ok(snapshot);
        }
        let request = ctx.clone();
        self.ask(ctx.region_id, 0, |reply| Msg::Read { ctx: request, kind: ReadKind::Applied, reply }).await?;
        self.applied_snapshot(ctx)
    }

    async fn write(&self, ctx: &RegionContext, batch: WriteBatch) -> Result<(), RegionError> {
        batch.check().map_err(|source| RegionError::Storage { region: ctx.region_id, source })?;
        let size = batch.size_bytes();
        if size > self.shared.entry_bytes_max {
            return Err(RegionError::EntryTooLarge { region: ctx.region_id, size: size as u64 });
        }
        let ctx = ctx.clone();
        self.ask(ctx.region_id, size + 1, |reply| Msg::Write { ctx, batch, reply }).await
    }
}

/// The range of the region that a snapshot is of.
fn snapshot_range(message: &RaftMessage) -> Result<KeyRange, String> {
    let inner = raft::eraftpb::Message::parse_from_bytes(&message.message).map_err(|e| e.to_string())?;
    let meta = <SnapshotMeta as prost::Message>::decode(&inner.get_snapshot().data[..]).map_err(|e| e.to_string())?;
    let region = meta.region.ok_or("a snapshot must carry its region")?;
    Ok(KeyRange::new(region.start_key, region.end_key))
}

impl<E: Engine> RaftCalls for RaftStoreHandle<E> {
    fn deliver(&self, message: RaftMessage) {
        if !self.shared.inbox.push_raft(Box::new(message)) {
            tracing::debug!("raft message dropped: inbox is full or closed");
        }
    }

    async fn receive_snapshot(&self, mut stream: SnapshotStream) -> Result<(), String> {
        struct Slot<'a>(&'a AtomicU64);
        impl Drop for Slot<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let taken = self.shared.receiving.fetch_add(1, Ordering::AcqRel);
        let _slot = Slot(&self.shared.receiving);
        if taken >= RECEIVING_MAX {
            return Err("too many snapshots are being received".into());
        }
        let first = stream.next().await.ok_or("empty snapshot stream")??;
        let message = first.message.ok_or("the first chunk of a snapshot must carry its message")?;
        let range = snapshot_range(&message)?;
        let (mut chunks, mut bytes, mut whole) = (Vec::new(), 0, false);
        while let Some(chunk) = stream.next().await {
            let SnapshotChunk { data, .. } = chunk?;
            if data.is_empty() {
                whole = true;
                break;
            }
            bytes += data.len();
            if bytes > SNAPSHOT_BYTES_MAX {
                return Err(format!("snapshot exceeds {SNAPSHOT_BYTES_MAX} bytes"));
            }
            snapshot::validate(&data, &range)?;
            chunks.push(data);
        }
        if !whole {
            return Err("the snapshot stream broke off".into());
        }
        self.shared.inbox.push(Msg::Snapshot { message: Box::new(message), chunks });
        Ok(())
    }

    async fn split_region(&self, ctx: &RegionContext, keys: Vec<Vec<u8>>) -> Result<Vec<Region>, RegionError> {
        let ctx = ctx.clone();
        self.ask(ctx.region_id, 0, |reply| Msg::Split { ctx, keys, reply: Some(reply) }).await
    }

    async fn read_index(&self, ctx: &RegionContext) -> Result<u64, RegionError> {
        let ctx = ctx.clone();
        self.ask(ctx.region_id, 0, |reply| Msg::Read { ctx, kind: ReadKind::Index, reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raft_messages_that_wait_for_a_thread_that_hangs_are_bounded_in_bytes() {
        let inbox = Inbox::<engine::memory::MemoryEngine>::new();
        let message = |bytes: usize| Box::new(RaftMessage { message: vec![0; bytes], ..Default::default() });
        let taken = (0..200).filter(|_| inbox.push_raft(message(1 << 20))).count();
        assert_eq!(taken, MESSAGE_BYTES_MAX >> 20);
        assert!(!inbox.push_raft(message(1)));
        let mut drained = Vec::new();
        inbox.drain(&mut drained);
        assert_eq!(drained.len(), taken);
        assert!(inbox.push_raft(message(MESSAGE_BYTES_MAX + 1)), "a single one passes");
        assert!(!inbox.push_raft(message(1)));
    }
}
