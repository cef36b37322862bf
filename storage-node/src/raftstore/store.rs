//! All peers of a store, driven by one thread or by a simulation: inputs in, effects out, no clock, no socket.
//!
//! ```text
//!   loop {
//!       store.begin(now)
//!       store.handle(msg) for everything that arrived; store.tick() when a tick is due
//!       while store.collect()? {             readies of all peers that have one
//!           send(store.take_effects())       a leader's appends, before its own sync
//!           store.persist()?                 one batch, one sync, for all of them
//!           store.finish()?                  acknowledgements, applying, answers
//!       }
//!       perform(store.take_effects())
//!   }
//! ```
//! Which regions exist here is decided here: peers are created by the first message for them (unless it is for one that
//! was removed, or their range is still held by another), by splits, and on start. They are destroyed when a membership
//! change says that they left, or PD, which is asked when another store does: a message alone destroys nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Engine, KeyRange, WriteBatch};
use proto::meridian_raft::{ApplyState, RegionState, SnapshotMeta, StoreIdent, region_state};
use proto::pdpb;
use proto::raft_serverpb::RaftMessage;
use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::StoreConfig;
use super::admin;
use super::apply::{INIT_APPLIED, normal_state};
use super::convert;
use super::handle::Shared;
use super::keys;
use super::log::{LogBatchWrites, LogWrite, RaftLog};
use super::msg::{Effects, Job, JobDone, Msg, PdTask, Reply};
use super::peer::{Change, Context, Peer, StoreFailure};
use super::snapshot;
use super::sound;
use super::storage::PeerStorage;
use crate::replication::{Epoch, Peer as PeerMeta, Region, RegionContext, RegionError};

/// Entries that a follower keeps behind its applied index, for the case that it has to lead.
const FOLLOWER_LOG_KEPT: u64 = 2048;
/// Truncating fewer entries than this is not worth a write.
const TRUNCATE_MIN: u64 = 64;

/// Vote requests kept for peers that cannot exist yet. They come in bursts of a split's parts; a lost one costs the new
/// region an election timeout without leader and no more.
const EARLY_VOTES_MAX: usize = 128;

/// The end of a range, where empty means "past every key".
type RangeEnd = (bool, Vec<u8>);

fn range_end(range: &KeyRange) -> RangeEnd {
    (range.end.is_empty(), range.end.clone())
}

fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    (a.end.is_empty() || b.start < a.end) && (b.end.is_empty() || a.start < b.end)
}

struct PendingSplit {
    region: Region,
    keys: Vec<Vec<u8>>,
    reply: Option<Reply<Vec<Region>>>,
}

/// All peers of a store.
pub struct Store<E: Engine, L: RaftLog> {
    cfg: StoreConfig,
    store_id: u64,
    engine: E,
    log: L,
    shared: Arc<Shared<E>>,
    peers: BTreeMap<u64, Peer<E, L>>,
    /// Initialized regions by the end of their range: they never overlap.
    ranges: BTreeMap<RangeEnd, u64>,
    /// Ranges that regions here are about to have: their snapshots are being written. Nothing may be created over them, or
    /// two regions would hold the same keys: a snapshot from before a split, and one of a part that the split made.
    arriving: BTreeMap<u64, KeyRange>,
    /// Ranges whose data is being removed; nothing may be created over them.
    deleting: Vec<(u64, KeyRange)>,
    /// Vote requests for regions whose range another still holds here: most likely it is about to be split, and the
    /// candidate, on a store that applied the split earlier, will not ask again before its election timeout.
    early_votes: VecDeque<RaftMessage>,
    /// Peers that something happened to.
    dirty: BTreeSet<u64>,
    /// Peers whose readies are in the batch.
    in_round: Vec<u64>,
    batch: LogBatchWrites,
    effects: Effects<E>,
    changes: Vec<(u64, Change)>,
    splits: HashMap<u64, PendingSplit>,
    next_token: u64,
    /// When PD was last asked about a region, in ticks.
    checked: HashMap<u64, u64>,
    rng: StdRng,
    now: u64,
    ticks: u64,
    sending: AtomicUsize,
    syncing: bool,
    applied_since_sync: bool,
    written_bytes: u64,
}

macro_rules! context {
    ($store:ident) => {
        Context {
            cfg: &$store.cfg,
            engine: &$store.engine,
            format: $store.shared.format(),
            now: $store.now,
            ticks: $store.ticks,
            effects: &mut $store.effects,
            batch: &mut $store.batch,
            rng: &mut $store.rng,
            changes: &mut $store.changes,
            sending: &$store.sending,
        }
    };
}

/// The identity of the store whose data the engine holds, if any.
pub fn read_ident<E: Engine>(engine: &E) -> Result<Option<StoreIdent>, StoreFailure> {
    Ok(keys::read_ident(&engine.snapshot())?)
}

/// Writes the identity of a new store, durably.
pub fn write_ident<E: Engine>(engine: &E, ident: StoreIdent) -> Result<(), StoreFailure> {
    let mut batch = WriteBatch::new();
    keys::put_ident(&mut batch, &ident);
    engine.write(batch)?;
    Ok(engine.sync()?)
}

/// Writes the first region of a cluster, durably. It becomes real when PD accepts it; see [`forget_first_region`].
pub fn write_first_region<E: Engine>(engine: &E, region: &Region) -> Result<(), StoreFailure> {
    let mut batch = WriteBatch::new();
    let me = region
        .peers
        .first()
        .ok_or_else(|| StoreFailure::Raft { region: region.id, what: "the first region must have a peer".into() })?;
    keys::put_region_state(&mut batch, region.id, &normal_state(region, me));
    keys::put_apply_state(&mut batch, region.id, &INIT_APPLIED);
    engine.write(batch)?;
    Ok(engine.sync()?)
}

/// The region of a bootstrap that may not have been accepted: the only region here, with the only peer.
pub fn read_only_region<E: Engine>(engine: &E) -> Result<Option<Region>, StoreFailure> {
    let states = keys::all_region_states(&engine.snapshot())?;
    let [(_, state)] = states.as_slice() else { return Ok(None) };
    let region = state.region.as_ref().map(convert::region_from_proto);
    Ok(region.filter(|r| r.peers.len() == 1 && *r.range.start == *b"" && *r.range.end == *b""))
}

/// Removes the first region that PD did not accept, because another store was first.
pub fn forget_first_region<E: Engine>(engine: &E, region: u64) -> Result<(), StoreFailure> {
    let mut batch = WriteBatch::new();
    keys::delete_region_state(&mut batch, region);
    keys::delete_apply_state(&mut batch, region);
    engine.write(batch)?;
    Ok(engine.sync()?)
}

impl<E: Engine, L: RaftLog> Store<E, L> {
    /// The store as its disk has it.
    pub fn open(cfg: StoreConfig, shared: Arc<Shared<E>>, log: L, seed: u64) -> Result<Self, StoreFailure> {
        let engine = shared.engine.clone();
        let mut store = Store {
            store_id: shared.store_id,
            cfg,
            engine,
            log,
            shared,
            peers: BTreeMap::new(),
            ranges: BTreeMap::new(),
            arriving: BTreeMap::new(),
            deleting: Vec::new(),
            early_votes: VecDeque::new(),
            dirty: BTreeSet::new(),
            in_round: Vec::new(),
            batch: LogBatchWrites::default(),
            effects: Effects::default(),
            changes: Vec::new(),
            splits: HashMap::new(),
            next_token: 0,
            checked: HashMap::new(),
            rng: StdRng::seed_from_u64(seed),
            now: 0,
            ticks: 0,
            sending: AtomicUsize::new(0),
            syncing: false,
            applied_since_sync: true,
            written_bytes: 0,
        };
        store.now = (store.shared.clock)();
        store.load()?;
        Ok(store)
    }

    fn load(&mut self) -> Result<(), StoreFailure> {
        let view = self.engine.snapshot();
        for (id, state) in keys::all_region_states(&view)? {
            let region = state.region.as_ref().map(convert::region_from_proto);
            let me = state.peer.as_ref().map(convert::peer_from_proto);
            let bad = |what: &str| StoreFailure::Entry { region: id, what: what.into() };
            match region_state::Phase::try_from(state.phase) {
                Ok(region_state::Phase::Normal) => {
                    let (Some(region), Some(me)) = (region, me) else { return Err(bad("region state is incomplete")) };
                    let applied = keys::read_apply_state(&view, id)?.ok_or_else(|| bad("no apply state"))?;
                    self.add_peer(region, me, applied, false, true)?;
                }
                Ok(region_state::Phase::Applying) => {
                    let applying = state.applying.as_ref().map(convert::region_from_proto);
                    let (Some(before), Some(applying), Some(me)) = (region, applying, me) else {
                        return Err(bad("region state is incomplete"));
                    };
                    if before.peers.is_empty() {
                        // A new replica that never had data: it starts over with the leader's next snapshot.
                        snapshot::delete_ranges(&self.engine, &[applying.range])?;
                        let mut batch = WriteBatch::new();
                        keys::delete_region_state(&mut batch, id);
                        self.engine.write(batch)?;
                        continue;
                    }
                    let applied = keys::read_apply_state(&view, id)?.unwrap_or_default();
                    tracing::warn!(
                        region = id,
                        "a snapshot was being written when the node stopped: asking for another"
                    );
                    self.add_peer(before, me, applied, true, true)?;
                }
                Ok(region_state::Phase::Tombstone) => {
                    if self.log.state(id)?.is_some() {
                        self.batch.push(id, LogWrite::Clear);
                    }
                }
                Err(_) => return Err(bad("unknown region phase")),
            }
        }
        for peer in self.peers.values_mut().filter(|p| p.is_alone()) {
            // Nobody else could lead: no need to wait for the absence of others.
            let _ = peer.node.campaign();
        }
        let gaps = self.gaps();
        if !gaps.is_empty() && !view_is_empty(&view, &gaps)? {
            tracing::info!(ranges = gaps.len(), "removing data that no region here covers");
            snapshot::delete_ranges(&self.engine, &gaps)?;
        }
        tracing::info!(store = self.store_id, regions = self.peers.len(), "store opened");
        Ok(())
    }

    /// The ranges that no region here covers.
    fn gaps(&self) -> Vec<KeyRange> {
        let (mut gaps, mut start, mut open) = (Vec::new(), Vec::new(), true);
        for id in self.ranges.values() {
            let Some(range) = self.peers.get(id).map(|p| &p.region().range) else { continue };
            if range.start > start {
                gaps.push(KeyRange::new(start.clone(), range.start.clone()));
            }
            start = range.end.clone();
            open = !range.end.is_empty();
        }
        if open {
            gaps.push(KeyRange::new(start, Vec::new()));
        }
        gaps
    }

    fn add_peer(
        &mut self,
        region: Region,
        me: PeerMeta,
        applied: ApplyState,
        damaged: bool,
        restarted: bool,
    ) -> Result<&mut Peer<E, L>, StoreFailure> {
        let id = region.id;
        let mut storage = PeerStorage::load(self.engine.clone(), self.log.clone(), region, me.id, applied)?;
        storage.set_can_snapshot(!damaged);
        if storage.is_initialized() {
            self.ranges.insert(range_end(&storage.region().range), id);
        }
        let peer = Peer::new(&self.cfg, &mut self.rng, self.ticks, storage, me, damaged, restarted)?;
        self.shared.delegates.write().insert(id, peer.delegate.clone());
        self.dirty.insert(id);
        self.peers.remove(&id);
        Ok(self.peers.entry(id).or_insert(peer))
    }

    /// This store's id.
    pub fn store_id(&self) -> u64 {
        self.store_id
    }

    /// The log under it.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// What it shares with other threads.
    pub fn shared(&self) -> &Arc<Shared<E>> {
        &self.shared
    }

    /// Its peers, in order of region id.
    pub fn peers(&self) -> impl Iterator<Item = &Peer<E, L>> {
        self.peers.values()
    }

    /// The peer of a region.
    pub fn peer(&self, region: u64) -> Option<&Peer<E, L>> {
        self.peers.get(&region)
    }

    /// Begins a round at this moment of the clock.
    pub fn begin(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Everything to be done outside.
    pub fn take_effects(&mut self) -> Effects<E> {
        std::mem::take(&mut self.effects)
    }

    /// Advances time by a tick.
    pub fn tick(&mut self) {
        self.ticks += 1;
        let ids: Vec<u64> = self.peers.keys().copied().collect();
        for id in ids {
            self.with_peer(id, |peer, cx| peer.tick(cx));
        }
        if self.ticks % self.cfg.store_heartbeat_ticks == 1 % self.cfg.store_heartbeat_ticks {
            self.report_store();
        }
        if self.ticks.is_multiple_of(self.cfg.sync_ticks) {
            self.start_sync();
        }
        if self.ticks.is_multiple_of(self.cfg.leader_missing_ticks) {
            self.check_missing_leaders();
        }
    }

    fn with_peer<T>(&mut self, id: u64, f: impl FnOnce(&mut Peer<E, L>, &mut Context<'_, E>) -> T) -> Option<T> {
        let peer = self.peers.get_mut(&id)?;
        self.dirty.insert(id);
        let mut cx = context!(self);
        Some(f(peer, &mut cx))
    }

    /// Takes an input.
    pub fn handle(&mut self, msg: Msg<E>) -> Result<(), StoreFailure> {
        match msg {
            Msg::Raft(message) => self.on_raft(*message, None)?,
            Msg::Snapshot { message, chunks } => self.on_raft(*message, Some(chunks))?,
            Msg::Write { ctx, batch, reply } => match self.peers.get_mut(&ctx.region_id) {
                Some(peer) => {
                    self.dirty.insert(ctx.region_id);
                    self.written_bytes += batch.size_bytes() as u64;
                    peer.write(&mut context!(self), &ctx, batch, reply);
                }
                None => reply.send(Err(RegionError::RegionNotFound(ctx.region_id))),
            },
            Msg::Read { ctx, kind, reply } => match self.peers.get_mut(&ctx.region_id) {
                Some(peer) => {
                    self.dirty.insert(ctx.region_id);
                    peer.read(&mut context!(self), &ctx, kind, reply);
                }
                None => reply.send(Err(RegionError::RegionNotFound(ctx.region_id))),
            },
            Msg::Split { ctx, keys, reply } => self.on_split(ctx, keys, reply),
            Msg::PdCommand(command) => {
                let id = command.region_id;
                self.with_peer(id, |peer, cx| peer.on_pd_command(cx, *command));
                self.handle_changes()?;
            }
            Msg::SplitIds { token, result } => self.on_split_ids(token, result),
            Msg::RegionChecked { region_id, region } => self.on_region_checked(region_id, region)?,
            Msg::Unreachable { store_id } => {
                for peer in self.peers.values_mut() {
                    peer.on_unreachable(store_id);
                }
            }
            Msg::SnapshotSent { region_id, to_peer, ok } => {
                self.sending.fetch_sub(1, Ordering::Relaxed);
                self.with_peer(region_id, |peer, _| peer.on_snapshot_sent(to_peer, ok));
            }
            Msg::JobDone(done) => self.on_job(done)?,
            Msg::Phantom(_) => {}
        }
        Ok(())
    }

    /// Collects the readies of all peers that have one; whether [`Self::persist`] and [`Self::finish`] must follow.
    pub fn collect(&mut self) -> Result<bool, StoreFailure> {
        for id in std::mem::take(&mut self.dirty) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.collect(&mut context!(self))? {
                self.in_round.push(id);
            }
        }
        Ok(!self.in_round.is_empty() || !self.batch.writes.is_empty())
    }

    /// Whether there may be something to collect.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.batch.writes.is_empty()
    }

    /// Writes what was collected; whether that took a sync.
    pub fn persist(&mut self) -> Result<bool, StoreFailure> {
        let batch = std::mem::take(&mut self.batch);
        let sync = batch.sync;
        if !batch.writes.is_empty() {
            self.log.write(batch)?;
        }
        Ok(sync)
    }

    /// Acts on what is durable now.
    pub fn finish(&mut self) -> Result<(), StoreFailure> {
        for id in std::mem::take(&mut self.in_round) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let before = peer.applied();
            peer.finish(&mut context!(self))?;
            self.applied_since_sync |= peer.applied() != before;
            if peer.has_ready() {
                self.dirty.insert(id);
            }
        }
        self.handle_changes()
    }

    /// Rounds until nothing is ready, for those who need no say in between (tests).
    pub fn run_rounds(&mut self) -> Result<(), StoreFailure> {
        while self.collect()? {
            self.persist()?;
            self.finish()?;
        }
        Ok(())
    }

    fn handle_changes(&mut self) -> Result<(), StoreFailure> {
        while !self.changes.is_empty() {
            for (id, change) in std::mem::take(&mut self.changes) {
                match change {
                    Change::Region { before } => self.on_region_change(id, &before),
                    Change::Split { parent_led, regions } => self.on_split_applied(id, parent_led, regions)?,
                    Change::WantSplit { ctx, keys } => self.on_split(ctx, keys, None),
                    Change::Removed => {
                        let epoch = self.peers.get(&id).map(|p| p.region().epoch).unwrap_or_default();
                        self.destroy(id, epoch)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn on_region_change(&mut self, id: u64, before: &Region) {
        self.arriving.remove(&id);
        if !before.peers.is_empty() && self.ranges.get(&range_end(&before.range)) == Some(&id) {
            self.ranges.remove(&range_end(&before.range));
        }
        if let Some(peer) = self.peers.get(&id) {
            self.ranges.insert(range_end(&peer.region().range), id);
        }
        self.with_peer(id, |peer, cx| peer.maybe_report(cx));
    }

    fn on_split_applied(&mut self, parent: u64, parent_led: bool, regions: Vec<Region>) -> Result<(), StoreFailure> {
        let mut all = regions.clone();
        for region in regions {
            let id = region.id;
            let Some(me) = region.peers.iter().find(|p| p.store_id == self.store_id).copied() else { continue };
            // It may have answered a leader's heartbeats already, which promises a lease: while it waited for a snapshot,
            // created by an early message (its vote stays in the log), or before a power cut took the split away.
            let promised = match self.peers.remove(&id) {
                Some(mut waiting) => {
                    waiting.shut();
                    waiting.may_have_promised(self.ticks)
                }
                None => self.log.state(id)?.is_some_and(|state| state.peer_id == me.id),
            };
            let peer = self.add_peer(region, me, INIT_APPLIED, false, promised)?;
            if parent_led {
                // This store led the parent: leading the parts, too, keeps requests where they are.
                let _ = peer.node.campaign();
            }
            self.step_early_votes(id)?;
        }
        if let Some(peer) = self.peers.get(&parent) {
            all.push(peer.region().clone());
        }
        if parent_led {
            // The other replicas would hear of it with the next heartbeat, and cannot vote in the parts before.
            self.with_peer(parent, |peer, _| peer.node.ping());
            self.effects.pd.push(PdTask::ReportSplit(all));
        }
        Ok(())
    }

    // Messages of other stores.

    fn on_raft(&mut self, message: RaftMessage, chunks: Option<Vec<Vec<u8>>>) -> Result<(), StoreFailure> {
        let region_id = message.region_id;
        let (Some(from), Some(to)) = (&message.from_peer, &message.to_peer) else { return Ok(()) };
        let (from, to) = (convert::peer_from_proto(from), convert::peer_from_proto(to));
        if to.store_id != self.store_id || from.id == 0 || to.id == 0 || region_id == 0 {
            return Ok(());
        }
        let epoch = convert::epoch_from_proto(message.region_epoch.as_ref());
        if message.is_tombstone {
            self.on_tombstone(region_id, to, epoch);
            return Ok(());
        }
        let Ok(inner) = Message::parse_from_bytes(&message.message) else {
            tracing::warn!(region = region_id, from = from.store_id, "raft message cannot be decoded");
            return Ok(());
        };
        if inner.to != to.id || inner.from != from.id {
            return Ok(());
        }
        if let Some(peer) = self.peers.get(&region_id) {
            if to.id < peer.me.id {
                return Ok(()); // for a peer that was here before
            }
            if to.id > peer.me.id {
                // The region moved away and came back: what is here is the old peer, if PD knows of it. The sender tries
                // again.
                self.check_region(region_id);
                return Ok(());
            } else if peer.is_initialized()
                && epoch.conf_ver < peer.region().epoch.conf_ver
                && peer.region().peers.iter().all(|p| p.id != from.id)
            {
                // A peer that was removed and does not know it yet: it asks for votes for ever unless it is told.
                if !self.peers.is_empty() && is_request(&inner) {
                    let tombstone = admin::tombstone(peer.region(), &peer.me, &from);
                    self.effects.messages.push(tombstone);
                }
                return Ok(());
            }
        }
        if !self.peers.contains_key(&region_id) && !self.create(&message, &inner, to)? {
            return Ok(());
        }
        match chunks {
            None if inner.get_msg_type() == MessageType::MsgSnapshot => {} // its data comes by a stream of its own
            None => {
                self.with_peer(region_id, |peer, cx| peer.step(cx, from, inner));
            }
            Some(chunks) => {
                if let Some(range) = self.may_apply(&inner, region_id, to.id)
                    && let Some(true) =
                        self.with_peer(region_id, |peer, cx| peer.step_snapshot(cx, from, inner, chunks))
                {
                    self.arriving.insert(region_id, range);
                }
            }
        }
        Ok(())
    }

    /// Creates the peer that a message is for, if it may exist.
    fn create(&mut self, message: &RaftMessage, inner: &Message, to: PeerMeta) -> Result<bool, StoreFailure> {
        let id = message.region_id;
        let introduces = match inner.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote | MessageType::MsgAppend => true,
            MessageType::MsgHeartbeat => inner.commit == 0,
            _ => false,
        };
        if !introduces {
            return Ok(false);
        }
        if let Some(state) = keys::read_region_state(&self.engine.snapshot(), id)?
            && state.phase == region_state::Phase::Tombstone as i32
            && state.peer.as_ref().is_some_and(|p| p.id >= to.id)
        {
            return Ok(false);
        }
        let range = KeyRange::new(message.start_key.clone(), message.end_key.clone());
        if self.is_taken(&range, id) {
            if is_vote_request(inner) {
                self.keep_early_vote(message);
            }
            return Ok(false);
        }
        tracing::info!(region = id, peer = to.id, "peer created, waiting for its snapshot");
        let region = Region { id, range: KeyRange::default(), epoch: Epoch::default(), peers: Vec::new() };
        // It may have been here before the node was started, without data, and have promised a lease.
        let known = self.log.state(id)?.is_some_and(|state| state.peer_id == to.id);
        self.add_peer(region, to, ApplyState::default(), false, known)?;
        Ok(true)
    }

    /// Keeps the newest vote request of each candidate.
    fn keep_early_vote(&mut self, message: &RaftMessage) {
        self.early_votes.retain(|m| (m.region_id, &m.from_peer) != (message.region_id, &message.from_peer));
        if self.early_votes.len() == EARLY_VOTES_MAX {
            self.early_votes.pop_front();
        }
        self.early_votes.push_back(message.clone());
    }

    /// A split made the region that vote requests were waiting for.
    fn step_early_votes(&mut self, region: u64) -> Result<(), StoreFailure> {
        let (due, rest): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.early_votes).into_iter().partition(|m| m.region_id == region);
        self.early_votes = rest;
        due.into_iter().try_for_each(|message| self.on_raft(message, None))
    }

    /// Whether a range is held by other regions here, or still being emptied. Holders that lost their leader are checked.
    fn is_taken(&mut self, range: &KeyRange, except: u64) -> bool {
        let arriving = self.arriving.iter().any(|(id, r)| *id != except && overlap(r, range));
        if arriving || self.deleting.iter().any(|(_, r)| overlap(r, range)) {
            return true;
        }
        let first = (false, range.start.clone());
        let mut holders = Vec::new();
        for id in self.ranges.range(first..).map(|(_, id)| *id) {
            let Some(peer) = self.peers.get(&id) else { continue };
            if overlap(&peer.region().range, range) {
                if id != except {
                    holders.push(id);
                }
            } else if !range.end.is_empty() && peer.region().range.start >= range.end {
                break;
            }
        }
        for id in &holders {
            let stale = self
                .peers
                .get(id)
                .is_some_and(|p| p.leader_seen_tick + 2 * self.cfg.election_ticks as u64 <= self.ticks);
            if stale {
                self.check_region(*id);
            }
        }
        !holders.is_empty()
    }

    /// The range that a snapshot brings, if it may be written here.
    fn may_apply(&mut self, inner: &Message, region_id: u64, me: u64) -> Option<KeyRange> {
        let data = &inner.get_snapshot().data[..];
        let region = <SnapshotMeta as prost::Message>::decode(data).ok()?.region?;
        let region = convert::region_from_proto(&region);
        let fits = region.id == region_id
            && region.peers.iter().any(|p| p.id == me)
            && sound::fits(&region, inner.get_snapshot().get_metadata().get_conf_state());
        (fits && !self.is_taken(&region.range, region_id)).then_some(region.range)
    }

    /// Another store says that a peer here left its region: PD knows.
    fn on_tombstone(&mut self, region_id: u64, to: PeerMeta, epoch: Epoch) {
        let Some(peer) = self.peers.get(&region_id) else { return };
        let newer = !peer.is_initialized() || epoch.conf_ver > peer.region().epoch.conf_ver;
        if peer.me.id == to.id && newer && !peer.is_applying_snapshot() {
            tracing::info!(region = region_id, peer = to.id, "removed from the region, as another store says");
            self.check_region(region_id);
        }
    }

    /// Removes a peer from this store: its state becomes a tombstone at once, its data goes in the background.
    fn destroy(&mut self, region_id: u64, epoch: Epoch) -> Result<(), StoreFailure> {
        let Some(mut peer) = self.peers.remove(&region_id) else { return Ok(()) };
        self.arriving.remove(&region_id);
        self.checked.remove(&region_id);
        peer.shut();
        self.shared.delegates.write().remove(&region_id);
        let mut region = peer.region().clone();
        if self.ranges.get(&range_end(&region.range)) == Some(&region_id) {
            self.ranges.remove(&range_end(&region.range));
        }
        region.epoch.conf_ver = region.epoch.conf_ver.max(epoch.conf_ver);
        let mut batch = WriteBatch::new();
        let state = RegionState {
            phase: region_state::Phase::Tombstone as i32,
            region: Some(convert::region_to_proto(&region)),
            applying: None,
            peer: Some(convert::peer_to_proto(&peer.me)),
        };
        keys::put_region_state(&mut batch, region_id, &state);
        keys::delete_apply_state(&mut batch, region_id);
        self.engine.write(batch)?;
        // The tombstone must outlive the log: a peer without its log would not know what it voted.
        self.engine.sync()?;
        self.batch.writes.retain(|(id, _)| *id != region_id);
        self.in_round.retain(|id| *id != region_id);
        self.batch.push(region_id, LogWrite::Clear);
        if peer.is_initialized() {
            self.deleting.push((region_id, region.range.clone()));
            self.effects.jobs.push(Job::DeleteRanges { region_id, ranges: vec![region.range] });
        }
        tracing::info!(region = region_id, peer = peer.me.id, "peer destroyed");
        Ok(())
    }

    // Splits.

    fn on_split(&mut self, ctx: RegionContext, keys: Vec<Vec<u8>>, reply: Option<Reply<Vec<Region>>>) {
        let answer = |reply: Option<Reply<Vec<Region>>>, result| {
            if let Some(reply) = reply {
                reply.send(result);
            }
        };
        let Some(peer) = self.peers.get(&ctx.region_id) else {
            return answer(reply, Err(RegionError::RegionNotFound(ctx.region_id)));
        };
        match peer.check_split_keys(&ctx, keys) {
            Err(e) => answer(reply, Err(e)),
            Ok(keys) if keys.is_empty() => answer(reply, Ok(vec![peer.region().clone()])),
            Ok(keys) => {
                self.next_token += 1;
                let region = peer.region().clone();
                self.effects.pd.push(admin::ask_split(self.next_token, &region, keys.len()));
                self.splits.insert(self.next_token, PendingSplit { region, keys, reply });
            }
        }
    }

    fn on_split_ids(&mut self, token: u64, result: Result<Vec<pdpb::SplitId>, String>) {
        let Some(PendingSplit { region, keys, reply }) = self.splits.remove(&token) else { return };
        let ids = result.and_then(|ids| match ids.len() == keys.len() {
            true => Ok(ids),
            false => Err(format!("PD gave {} ids for {} keys", ids.len(), keys.len())),
        });
        match (ids, self.peers.contains_key(&region.id)) {
            (Ok(ids), true) => {
                self.with_peer(region.id, |peer, cx| peer.split(cx, &region, keys, ids, reply));
            }
            (result, _) => {
                let error = match result {
                    Ok(_) => RegionError::RegionNotFound(region.id),
                    Err(reason) => {
                        tracing::warn!(region = region.id, "split: PD gave no ids: {reason}");
                        RegionError::ServerIsBusy { reason: format!("PD gave no ids: {reason}"), backoff_ms: 200 }
                    }
                };
                if let Some(reply) = reply {
                    reply.send(Err(error));
                }
            }
        }
    }

    // Background work.

    fn on_job(&mut self, done: JobDone) -> Result<(), StoreFailure> {
        match done {
            JobDone::SnapshotApplied { region_id, peer_id } => {
                self.applied_since_sync = true;
                self.with_peer(region_id, |peer, _| peer.on_snapshot_written(peer_id));
            }
            JobDone::Synced(applied) => {
                self.syncing = false;
                self.truncate_logs(applied)?;
            }
            JobDone::SplitChecked { region, bytes, keys_count, split_keys } => {
                let Some(peer) = self.peers.get_mut(&region.id) else { return Ok(()) };
                peer.split_checking = false;
                if peer.region().epoch.version != region.epoch.version {
                    return Ok(());
                }
                peer.size_bytes = bytes;
                if keys_count > 0 {
                    peer.keys_count = keys_count;
                }
                if !split_keys.is_empty() {
                    tracing::info!(region = region.id, bytes, parts = split_keys.len() + 1, "splitting by size");
                    let ctx = RegionContext { region_id: region.id, epoch: region.epoch, ..Default::default() };
                    self.on_split(ctx, split_keys, None);
                }
            }
            JobDone::RangesDeleted { region_id } => self.deleting.retain(|(id, _)| *id != region_id),
            JobDone::LogReclaimed => {}
            JobDone::Failed(e) => return Err(e.into()),
        }
        Ok(())
    }

    fn start_sync(&mut self) {
        if self.syncing || !self.applied_since_sync {
            return;
        }
        self.syncing = true;
        self.applied_since_sync = false;
        let applied = self.peers.values().filter(|p| !p.damaged).map(|p| (p.region_id, p.applied())).collect();
        self.effects.jobs.push(Job::Sync { applied });
    }

    /// Drops log entries whose effects are durable in the engine, but not those that a follower still needs, unless
    /// there are too many.
    fn truncate_logs(&mut self, applied: Vec<(u64, u64)>) -> Result<(), StoreFailure> {
        let mut truncated = false;
        for (id, durable) in applied {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if peer.damaged || peer.is_applying_snapshot() {
                continue;
            }
            peer.durable_index = peer.durable_index.max(durable.min(peer.applied()));
            let storage = peer.node.store();
            let (first, last) = (storage.truncated_index(), storage.last());
            let needed = if peer.is_leader() {
                let progress = peer.node.raft.prs();
                progress.iter().filter(|(id, _)| **id != peer.me.id).map(|(_, pr)| pr.matched).min().unwrap_or(last)
            } else {
                last.saturating_sub(FOLLOWER_LOG_KEPT)
            };
            let to = match storage.log_bytes() > self.cfg.log_bytes_max {
                true => peer.durable_index,
                false => peer.durable_index.min(needed),
            };
            if to >= first + TRUNCATE_MIN {
                let outcome = peer.node.mut_store().truncate(to, &mut self.batch);
                outcome.map_err(|e| StoreFailure::Raft { region: id, what: format!("truncate: {e}") })?;
                truncated = true;
            }
        }
        if truncated {
            self.effects.jobs.push(Job::ReclaimLog);
        }
        Ok(())
    }

    // Reports.

    fn report_store(&mut self) {
        let applying = self.peers.values().filter(|p| p.is_applying_snapshot()).count();
        let stats = pdpb::StoreStats {
            store_id: self.store_id,
            region_count: self.peers.values().filter(|p| p.is_initialized()).count() as u32,
            sending_snap_count: self.sending.load(Ordering::Relaxed) as u32,
            receiving_snap_count: self.shared.receiving.load(Ordering::Relaxed) as u32,
            applying_snap_count: applying as u32,
            bytes_written: std::mem::take(&mut self.written_bytes),
            ..Default::default()
        };
        self.effects.pd.push(PdTask::StoreHeartbeat(Box::new(stats)));
    }

    fn check_missing_leaders(&mut self) {
        let patience = self.cfg.leader_missing_ticks;
        let missing = self.peers.values().filter(|p| !p.is_leader() && p.leader_seen_tick + patience <= self.ticks);
        for id in missing.map(|p| p.region_id).collect::<Vec<_>>() {
            self.check_region(id);
        }
    }

    /// Asks PD whether a peer still belongs to its region, but not too often.
    fn check_region(&mut self, region_id: u64) {
        let wait = self.cfg.election_ticks as u64;
        if self.checked.get(&region_id).is_some_and(|at| at + wait > self.ticks) {
            return;
        }
        self.checked.insert(region_id, self.ticks);
        self.effects.pd.push(PdTask::CheckRegion { region_id });
    }

    fn on_region_checked(&mut self, region_id: u64, region: Option<Region>) -> Result<(), StoreFailure> {
        let Some(region) = region.filter(|r| r.id == region_id) else { return Ok(()) };
        let Some(peer) = self.peers.get(&region_id) else { return Ok(()) };
        let newer = !peer.is_initialized() || region.epoch.conf_ver > peer.region().epoch.conf_ver;
        let member = region.peers.iter().any(|p| p.id == peer.me.id);
        if newer && !member && !peer.is_applying_snapshot() && !peer.is_leader() {
            tracing::info!(region = region_id, "PD says that this peer left its region");
            self.destroy(region_id, region.epoch)?;
        }
        Ok(())
    }
}

fn is_vote_request(message: &Message) -> bool {
    matches!(message.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
}

/// Whether a message asks for something, so that its sender can be told that it left.
fn is_request(message: &Message) -> bool {
    is_vote_request(message) || matches!(message.get_msg_type(), MessageType::MsgHeartbeat | MessageType::MsgAppend)
}

fn view_is_empty<S: engine::Snapshot>(view: &S, ranges: &[KeyRange]) -> Result<bool, StoreFailure> {
    for range in ranges {
        for cf in snapshot::DATA_FAMILIES {
            if let Some(pair) = view.scan(cf, range, engine::Direction::Forward).next() {
                pair?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}
