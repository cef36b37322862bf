//! One replica of a region: Raft, the requests that wait on it, and the lease.
//!
//! A peer is a value that the [`Store`](super::store::Store) drives. Each round:
//!
//! ```text
//!   step / propose / read / tick     inputs change Raft's state in memory
//!   collect                          Raft's ready: a leader's messages go out at once; entries and votes join the batch
//!   (the store writes one log batch for all its peers, with one sync)
//!   finish                           acknowledgements go out; committed entries are applied; waiting requests answered
//! ```
//! Invariants:
//! - a vote or an acknowledgement leaves only after what it promises is durable;
//! - a write is answered after it is applied here, so a later read under the lease sees it;
//! - the lease runs from before a heartbeat or append was sent, and ends well before any follower that answered it may
//!   vote for another; it ends at once when leadership is handed over;
//! - after a restart a peer grants no vote for an election timeout: it may have promised a lease that it forgot.
//!
//! Applying entries is in `apply`, splits and membership in `admin`, reports to PD in `report`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Engine, EngineError, WriteBatch};
use proto::meridian_raft::{ApplyState, SnapshotMeta};
use proto::raft_serverpb::RaftMessage;
use protobuf::Message as _;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{RawNode, Ready, SnapshotStatus, StateRole};
use rand::Rng;
use rand::rngs::StdRng;

use super::StoreConfig;
use super::command;
use super::convert;
use super::handle::{DelegateState, ReadDelegate, check_context};
use super::log::{LogBatchWrites, LogError, RaftLog};
use super::msg::{Effects, Job, ReadKind, Reply, SnapshotSend};
use super::snapshot::ApplySnapshot;
use super::storage::PeerStorage;
use crate::replication::{Peer as PeerMeta, PeerRole, Region, RegionContext, RegionError};

/// Largest Raft append message; a larger one delays heartbeats behind it.
const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Appends in flight to one follower.
const APPENDS_IN_FLIGHT_MAX: usize = 256;
/// Entries proposed and not yet committed; more is refused, so that a stuck quorum does not fill the memory.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// Entries applied in one round; more would keep other regions waiting.
const COMMITTED_BYTES_PER_ROUND: u64 = 16 << 20;
/// Read requests waiting in one region; more are refused.
const READS_MAX: usize = 4096;
/// Snapshots being sent at once by one store.
pub const SENDING_MAX: usize = 2;
/// Raft's mark on a vote request that a leader asked for when it handed over.
const TRANSFER_MARK: &[u8] = b"CampaignTransfer";

/// Why a store must stop: it cannot keep its promises any more.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The Raft log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A committed entry cannot be understood.
    #[error("region {region}: {what}")]
    Entry {
        /// The region.
        region: u64,
        /// What is wrong.
        what: String,
    },
    /// Raft itself failed.
    #[error("region {region}: raft: {what}")]
    Raft {
        /// The region.
        region: u64,
        /// What is wrong.
        what: String,
    },
}

/// What a peer may use while it is driven.
pub(crate) struct Context<'a, E: Engine> {
    pub(crate) cfg: &'a StoreConfig,
    pub(crate) engine: &'a E,
    /// The format of entries that are proposed ([`net::format`]).
    pub(crate) format: u32,
    /// The clock when this round began.
    pub(crate) now: u64,
    /// Ticks since the store started.
    pub(crate) ticks: u64,
    pub(crate) effects: &'a mut Effects<E>,
    pub(crate) batch: &'a mut LogBatchWrites,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) changes: &'a mut Vec<(u64, Change)>,
    pub(crate) sending: &'a AtomicUsize,
}

/// What a peer did that concerns the whole store.
pub(crate) enum Change {
    /// It has other bounds or members.
    Region { before: Region },
    /// It was split: the new regions, whose states are in the engine, and the peers for this store.
    Split { parent_led: bool, regions: Vec<Region> },
    /// PD wants it split at these keys, for which new ids are needed first.
    WantSplit { ctx: RegionContext, keys: Vec<Vec<u8>> },
    /// It left the region.
    Removed,
}

/// What waits for an entry to be applied.
pub(crate) enum Waiter {
    Write(Reply<()>),
    Split(Reply<Vec<Region>>),
    Nobody,
}

impl Waiter {
    pub(crate) fn fail(self, error: RegionError) {
        match self {
            Waiter::Write(reply) => reply.send(Err(error)),
            Waiter::Split(reply) => reply.send(Err(error)),
            Waiter::Nobody => {}
        }
    }
}

pub(crate) struct Proposal {
    pub(crate) index: u64,
    pub(crate) term: u64,
    /// When it was proposed: what the lease may be extended from.
    pub(crate) at: u64,
    pub(crate) waiter: Waiter,
}

struct ReadRequest {
    kind: ReadKind,
    reply: Reply<u64>,
    /// The tick at which it arrived.
    tick: u64,
}

/// Read requests from arrival to answer.
#[derive(Default)]
struct Reads {
    /// Not yet sent round.
    waiting: Vec<ReadRequest>,
    /// Sent round, by the id that comes back: when, and for whom.
    asked: BTreeMap<u64, (u64, Vec<ReadRequest>)>,
    /// Confirmed, waiting for the index to be applied.
    confirmed: Vec<(u64, ReadRequest)>,
    next_id: u64,
}

impl Reads {
    fn len(&self) -> usize {
        self.waiting.len() + self.confirmed.len() + self.asked.values().map(|(_, r)| r.len()).sum::<usize>()
    }

    fn take_all(&mut self) -> Vec<ReadRequest> {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(std::mem::take(&mut self.asked).into_values().flat_map(|(_, r)| r));
        all.extend(std::mem::take(&mut self.confirmed).into_iter().map(|(_, r)| r));
        all
    }
}

/// Bytes and keys since the last report.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) written_bytes: u64,
    pub(crate) written_keys: u64,
}

/// One replica of a region on this store.
pub struct Peer<E: Engine, L: RaftLog> {
    pub(crate) me: PeerMeta,
    pub(crate) region_id: u64,
    pub(crate) node: RawNode<PeerStorage<E, L>>,
    /// A ready whose log writes are in the store's batch.
    ready: Option<Ready>,
    /// A ready whose snapshot is being written by a job.
    applying: Option<Ready>,
    /// That job is done.
    snapshot_written: bool,
    /// A received snapshot's data, until Raft accepts its message.
    received: Option<(u64, Vec<Vec<u8>>)>,
    /// The data here is incomplete: a snapshot was being written when the node stopped. The log is whole.
    pub(crate) damaged: bool,
    /// Entries to propose with the next round: data, when they came, who waits.
    queued: Vec<(Vec<u8>, u64, Waiter)>,
    pub(crate) proposals: VecDeque<Proposal>,
    reads: Reads,
    pub(crate) delegate: Arc<ReadDelegate>,
    /// The term in which leadership was offered to another: no lease any more, since the offer may arrive late.
    offered_term: u64,
    /// No vote is granted before this tick.
    votes_from_tick: u64,
    /// How long a quorum's answer keeps other leaders away.
    lease_nanos: u64,
    /// Drawn at start: distinguishes this life of the peer from earlier ones.
    nonce: u64,
    /// Our draw of the election timeout, in ticks.
    election_timeout: usize,
    /// The term, role and leader it was drawn for.
    drawn_for: (u64, StateRole, u64),
    /// Peers met that the region does not list (yet, or any more).
    strangers: HashMap<u64, PeerMeta>,
    /// When each follower was last heard, by peer id; only while leading.
    pub(crate) heard: HashMap<u64, u64>,
    /// The tick at which a leader was last known.
    pub(crate) leader_seen_tick: u64,
    pub(crate) reported: super::report::Reported,
    pub(crate) traffic: Traffic,
    /// Size estimates, from the last split check plus what was written since.
    pub(crate) size_bytes: u64,
    pub(crate) keys_count: u64,
    /// Bytes written since the last split check.
    pub(crate) unchecked_bytes: u64,
    pub(crate) split_checking: bool,
    /// Up to here the engine is durable.
    pub(crate) durable_index: u64,
    /// The tick at which the joint state was entered.
    pub(crate) joint_since: Option<u64>,
}

impl<E: Engine, L: RaftLog> Peer<E, L> {
    /// A peer over its storage. `restarted`: it may have promised things in an earlier life.
    pub(crate) fn new(
        cfg: &StoreConfig,
        rng: &mut StdRng,
        ticks: u64,
        storage: PeerStorage<E, L>,
        me: PeerMeta,
        damaged: bool,
        restarted: bool,
    ) -> Result<Self, StoreFailure> {
        let region = storage.region().clone();
        let commit = storage.state().commit;
        let config = raft::Config {
            id: me.id,
            election_tick: cfg.election_ticks,
            heartbeat_tick: cfg.heartbeat_ticks,
            // Nothing can be applied over incomplete data: the log up to the commit index counts as done.
            applied: if damaged { commit } else { storage.applied().index },
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            skip_bcast_commit: true,
            // Raft's own batching joins a new append to an empty one that starts elsewhere, after which the follower
            // acknowledges entries it does not have (simulation, seed 0x51f4). Proposals are gathered here instead.
            batch_append: false,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_PER_ROUND,
            ..Default::default()
        };
        let voters = region.peers.iter().filter(|p| p.role != PeerRole::Learner).count();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&config, storage, &logger)
            .map_err(|e| StoreFailure::Raft { region: region.id, what: e.to_string() })?;
        let delegate = ReadDelegate::new(DelegateState {
            region: Arc::new(region.clone()),
            peer: me,
            leader: None,
            term: node.raft.term,
            valid: !damaged && !region.peers.is_empty(),
        });
        let election_timeout = rng.random_range(cfg.election_ticks..2 * cfg.election_ticks);
        Ok(Peer {
            me,
            region_id: region.id,
            durable_index: 0,
            node,
            ready: None,
            applying: None,
            snapshot_written: false,
            received: None,
            damaged,
            queued: Vec::new(),
            proposals: VecDeque::new(),
            reads: Reads::default(),
            delegate: Arc::new(delegate),
            offered_term: 0,
            // (Without data it does not know the voters.)
            votes_from_tick: if restarted && voters != 1 { ticks + cfg.election_ticks as u64 } else { 0 },
            lease_nanos: cfg.lease_nanos(),
            nonce: rng.random(),
            election_timeout,
            drawn_for: (0, StateRole::Follower, 0),
            strangers: HashMap::new(),
            heard: HashMap::new(),
            leader_seen_tick: ticks,
            reported: Default::default(),
            traffic: Traffic::default(),
            size_bytes: 0,
            keys_count: 0,
            // An old region's size is unknown: its leader looks at the first tick.
            unchecked_bytes: cfg.split_check_bytes,
            split_checking: false,
            joint_since: None,
        })
    }

    /// Whether a leader may rely on this peer to vote for nobody else for a while.
    pub(crate) fn may_have_promised(&self, ticks: u64) -> bool {
        self.node.raft.leader_id != 0 || ticks < self.votes_from_tick
    }

    /// The region; without peers while this peer waits for its first snapshot.
    pub fn region(&self) -> &Region {
        self.node.store().region()
    }

    /// Whether this peer leads its region, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// The current term.
    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// How far the log is applied.
    pub fn applied(&self) -> u64 {
        self.node.store().applied().index
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.node.store().is_initialized()
    }

    /// The last index that is not in the log any more.
    pub fn truncated(&self) -> u64 {
        self.node.store().truncated_index()
    }

    /// Whether this peer is the region's only voter.
    pub(crate) fn is_alone(&self) -> bool {
        !self.damaged && self.node.raft.prs().is_singleton() && self.me.role == PeerRole::Voter
    }

    pub(crate) fn is_applying_snapshot(&self) -> bool {
        self.applying.is_some()
    }

    /// The leader as far as this peer knows.
    pub fn leader(&self) -> Option<PeerMeta> {
        self.peer_by_id(self.node.raft.leader_id)
    }

    pub(crate) fn peer_by_id(&self, id: u64) -> Option<PeerMeta> {
        if id == 0 {
            return None;
        }
        if id == self.me.id {
            return Some(self.me);
        }
        let peers = &self.region().peers;
        peers.iter().find(|p| p.id == id).or_else(|| self.strangers.get(&id)).copied()
    }

    pub(crate) fn not_leader(&self) -> RegionError {
        RegionError::NotLeader { region: self.region_id, leader: self.leader() }
    }

    /// Advances time by a tick.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_, E>) {
        if self.applying.is_some() {
            return;
        }
        let raft = &mut self.node.raft;
        if self.damaged {
            // It votes, since its log is whole, but it must not lead: it has no data to serve.
            raft.election_elapsed = (raft.election_elapsed + 1).min(cx.cfg.election_ticks);
            if raft.leader_id != 0 {
                let _ = self.node.request_snapshot();
            }
        } else {
            // Raft draws its timeout from a global source of chance: ours is drawn from the seeded one, as often.
            let drawn_for = (raft.term, raft.state, raft.leader_id);
            if drawn_for != self.drawn_for || (raft.state != StateRole::Follower && raft.election_elapsed == 0) {
                self.drawn_for = drawn_for;
                self.election_timeout = cx.rng.random_range(cx.cfg.election_ticks..2 * cx.cfg.election_ticks);
            }
            raft.set_randomized_election_timeout(self.election_timeout);
            self.node.tick();
        }
        if self.is_leader() {
            self.leader_seen_tick = cx.ticks;
        }
        self.renew_lease(cx);
        self.retry_reads(cx);
        if self.is_leader() {
            self.tick_leader(cx);
        }
    }

    /// Takes a message of another peer of the region.
    pub(crate) fn step(&mut self, cx: &mut Context<'_, E>, from: PeerMeta, message: Message) {
        if self.applying.is_some() {
            return;
        }
        let kind = message.get_msg_type();
        if cx.ticks < self.votes_from_tick
            && matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote)
            && message.context[..] != *TRANSFER_MARK
        {
            return;
        }
        if kind == MessageType::MsgTransferLeader {
            return; // only PD hands over leadership, through the leader's own store
        }
        if self.damaged && kind == MessageType::MsgTimeoutNow {
            return; // its log is as good as the leader's, but it has no data to serve, and a leader is sent none
        }
        if let Some(why) = super::sound::refuse(&self.node.raft, &message) {
            tracing::warn!(region = self.region_id, from = from.id, store = from.store_id, kind = ?kind, "raft message refused: {why}");
            return;
        }
        if self.region().peers.iter().all(|p| p.id != from.id) {
            self.strangers.insert(from.id, from);
        }
        if self.is_leader() {
            self.heard.insert(from.id, cx.now);
        }
        if let Err(e) = self.node.step(message) {
            tracing::debug!(region = self.region_id, from = from.id, kind = ?kind, "raft message not taken: {e}");
        }
        if self.node.raft.leader_id == from.id {
            self.leader_seen_tick = cx.ticks;
        }
    }

    /// Takes a snapshot: its data, and the message that makes Raft restart from it. Returns whether it will.
    pub(crate) fn step_snapshot(
        &mut self,
        cx: &mut Context<'_, E>,
        from: PeerMeta,
        message: Message,
        chunks: Vec<Vec<u8>>,
    ) -> bool {
        let index = message.get_snapshot().get_metadata().index;
        // One that is not taken (an old one, late) leaves the data of one that was.
        let before = self.received.replace((index, chunks));
        self.step(cx, from, message);
        let accepted = self.node.raft.snap().is_some_and(|s| s.get_metadata().index == index);
        if !accepted {
            self.received = before;
        }
        accepted
    }

    /// A store was not reached: whatever was sent to its peer may be lost.
    pub(crate) fn on_unreachable(&mut self, store_id: u64) {
        if self.applying.is_some() || !self.is_leader() {
            return;
        }
        let ids: Vec<u64> = self.region().peers.iter().filter(|p| p.store_id == store_id).map(|p| p.id).collect();
        for id in ids {
            self.node.report_unreachable(id);
        }
    }

    pub(crate) fn on_snapshot_sent(&mut self, to: u64, ok: bool) {
        if self.applying.is_none() {
            self.node.report_snapshot(to, if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
        }
    }

    /// Whether a request may be served by this peer at all.
    pub(crate) fn check(&self, ctx: &RegionContext, store_id: u64) -> Result<(), RegionError> {
        if !self.is_initialized() {
            return Err(RegionError::RegionNotInitialized(self.region_id));
        }
        check_context(ctx, store_id, &self.me, self.region())
    }

    /// Proposes a batch.
    pub(crate) fn write(&mut self, cx: &mut Context<'_, E>, ctx: &RegionContext, batch: WriteBatch, reply: Reply<()>) {
        match self.encode_write(ctx, batch, cx) {
            Ok(data) => self.propose(cx, data, Waiter::Write(reply)),
            Err(e) => reply.send(Err(e)),
        }
    }

    fn encode_write(
        &self,
        ctx: &RegionContext,
        batch: WriteBatch,
        cx: &Context<'_, E>,
    ) -> Result<Vec<u8>, RegionError> {
        self.check(ctx, self.me.store_id)?;
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        if ctx.term != 0 && ctx.term != self.term() {
            return Err(RegionError::StaleCommand(self.region_id));
        }
        if let Some(key) = command::key_outside(&batch, &self.region().range) {
            return Err(RegionError::KeyNotInRegion { key, region: self.region().clone() });
        }
        let data = command::encode_write(self.region().epoch, batch, cx.format)
            .map_err(|e| RegionError::Storage { region: self.region_id, source: EngineError::Io(e.to_string()) })?;
        if data.len() > cx.cfg.entry_bytes_max {
            return Err(RegionError::EntryTooLarge { region: self.region_id, size: data.len() as u64 });
        }
        Ok(data)
    }

    /// Queues an entry: all of a round go into Raft, and to the followers, together.
    pub(crate) fn propose(&mut self, cx: &mut Context<'_, E>, data: Vec<u8>, waiter: Waiter) {
        self.queued.push((data, cx.now, waiter));
    }

    fn propose_queued(&mut self) {
        if self.queued.is_empty() {
            return;
        }
        let queued = std::mem::take(&mut self.queued);
        let first = self.node.raft.raft_log.last_index() + 1;
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.me.id;
        let mut waiters = Vec::with_capacity(queued.len());
        for (data, at, waiter) in queued {
            let entry = Entry { data: data.into(), ..Default::default() };
            message.mut_entries().push(entry);
            waiters.push((at, waiter));
        }
        // A follower would pass the entries on to its leader, and nobody would answer.
        let leads = self.is_leader();
        let accepted = leads && self.node.step(message).is_ok();
        let term = self.term();
        for (i, (at, waiter)) in waiters.into_iter().enumerate() {
            if accepted {
                self.proposals.push_back(Proposal { index: first + i as u64, term, at, waiter });
            } else if leads {
                waiter.fail(RegionError::ServerIsBusy {
                    reason: "leadership is being transferred, or too much is uncommitted".into(),
                    backoff_ms: 50,
                });
            } else {
                waiter.fail(self.not_leader());
            }
        }
    }

    /// Takes a read request; it is answered when a quorum confirmed our lead, or the leader told its index.
    pub(crate) fn read(&mut self, cx: &mut Context<'_, E>, ctx: &RegionContext, kind: ReadKind, reply: Reply<u64>) {
        if let Err(e) = self.check(ctx, self.me.store_id) {
            return reply.send(Err(e));
        }
        if !self.is_leader() && (!ctx.replica_read && kind == ReadKind::Applied || self.node.raft.leader_id == 0) {
            return reply.send(Err(self.not_leader()));
        }
        if self.damaged {
            let reason = "its data is being restored".into();
            return reply.send(Err(RegionError::ReadIndexNotReady { region: self.region_id, reason }));
        }
        if self.reads.len() >= READS_MAX {
            let reason = "too many reads wait for the leader's confirmation".into();
            return reply.send(Err(RegionError::ServerIsBusy { reason, backoff_ms: 50 }));
        }
        self.reads.waiting.push(ReadRequest { kind, reply, tick: cx.ticks });
    }

    /// Sends the waiting reads round, all under one question.
    pub(crate) fn ask_reads(&mut self, cx: &mut Context<'_, E>) {
        if self.reads.waiting.is_empty() || self.applying.is_some() {
            return;
        }
        if self.is_leader() {
            if !self.leads_its_term() {
                return; // asked again when the term's first entry is applied
            }
            if cx.now < self.delegate.lease_until() {
                let index = self.node.raft.raft_log.committed;
                let waiting = std::mem::take(&mut self.reads.waiting);
                self.reads.confirmed.extend(waiting.into_iter().map(|r| (index, r)));
                self.answer_reads();
                return;
            }
        } else if self.node.raft.leader_id == 0 {
            return; // retried, and given up, by ticks
        }
        let waiting = std::mem::take(&mut self.reads.waiting);
        self.ask_round(cx, waiting);
    }

    fn ask_round(&mut self, cx: &mut Context<'_, E>, requests: Vec<ReadRequest>) {
        self.reads.next_id += 1;
        let id = self.reads.next_id;
        self.reads.asked.insert(id, (cx.now, requests));
        // The peer's id makes the question unique among the peers whose questions meet at the leader, the nonce among
        // this peer's lives: a late answer to a question of an earlier life must not answer one of this life.
        let mut question = Vec::with_capacity(24);
        question.extend_from_slice(&self.me.id.to_be_bytes());
        question.extend_from_slice(&self.nonce.to_be_bytes());
        question.extend_from_slice(&id.to_be_bytes());
        self.node.read_index(question);
    }

    fn on_read_states(&mut self, states: Vec<raft::ReadState>) {
        for state in states {
            if state.request_ctx.get(8..16) != Some(&self.nonce.to_be_bytes()[..]) {
                continue;
            }
            let Some(id) = state.request_ctx.get(16..24).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes) else {
                continue;
            };
            let Some((at, requests)) = self.reads.asked.remove(&id) else { continue };
            if self.is_leader() {
                self.extend_lease_from(at);
            }
            self.reads.confirmed.extend(requests.into_iter().map(|r| (state.index, r)));
        }
        self.answer_reads();
    }

    pub(crate) fn answer_reads(&mut self) {
        if self.reads.confirmed.is_empty() {
            return;
        }
        let applied = self.applied();
        let mut i = 0;
        while i < self.reads.confirmed.len() {
            let (index, request) = &self.reads.confirmed[i];
            if request.kind == ReadKind::Index || *index <= applied {
                let (index, request) = self.reads.confirmed.swap_remove(i);
                request.reply.send(Ok(index));
            } else {
                i += 1;
            }
        }
    }

    fn retry_reads(&mut self, cx: &mut Context<'_, E>) {
        if self.reads.len() == 0 && self.reads.asked.is_empty() {
            return;
        }
        // Lost questions are asked again after a heartbeat interval; after an election timeout the client is told.
        let patience = cx.cfg.election_ticks as u64;
        let all: Vec<u64> = self.reads.asked.keys().copied().collect();
        let mut again = std::mem::take(&mut self.reads.waiting);
        for id in all {
            let lost = self.reads.asked.get(&id).is_some_and(|(at, _)| {
                cx.now.saturating_sub(*at) > cx.cfg.tick_nanos * 2 * cx.cfg.heartbeat_ticks as u64
            });
            if lost && let Some((_, requests)) = self.reads.asked.remove(&id) {
                again.extend(requests);
            }
        }
        for request in again {
            if request.tick + patience <= cx.ticks {
                let reason = "no confirmation of the leader in time".to_owned();
                request.reply.send(Err(match self.is_leader() || self.node.raft.leader_id != 0 {
                    true => RegionError::ReadIndexNotReady { region: self.region_id, reason },
                    false => self.not_leader(),
                }));
            } else {
                self.reads.waiting.push(request);
            }
        }
        self.ask_reads(cx);
    }

    /// Whether this leader has applied an entry of its own term, so that it knows everything acknowledged before.
    pub(crate) fn leads_its_term(&self) -> bool {
        self.is_leader() && self.node.store().applied().term == self.term()
    }

    /// A quorum answered something that was sent no earlier than `at`.
    pub(crate) fn extend_lease_from(&mut self, at: u64) {
        let handing_over = self.node.raft.lead_transferee.is_some() || self.offered_term == self.term();
        if self.leads_its_term() && !handing_over && self.applying.is_none() {
            self.delegate.extend_lease(at + self.lease_nanos);
        }
    }

    fn renew_lease(&mut self, cx: &mut Context<'_, E>) {
        if !self.leads_its_term() {
            return;
        }
        if self.node.raft.prs().is_singleton() {
            return self.extend_lease_from(cx.now);
        }
        let soon = cx.now + self.lease_nanos / 2;
        let handing_over = self.node.raft.lead_transferee.is_some() || self.offered_term == self.term();
        if self.delegate.take_reads() > 0 && self.delegate.lease_until() < soon && !handing_over {
            self.ask_round(cx, Vec::new());
        }
    }

    /// Takes Raft's ready: sends what may be sent before the sync, and adds what must be durable to the batch.
    /// Returns whether [`Self::finish`] must follow.
    pub(crate) fn collect(&mut self, cx: &mut Context<'_, E>) -> Result<bool, StoreFailure> {
        if let Some(ready) = self.applying.take() {
            if !self.snapshot_written {
                self.applying = Some(ready);
                return Ok(false);
            }
            self.collect_snapshot(cx, ready)?;
            return Ok(true);
        }
        self.propose_queued();
        self.ask_reads(cx);
        if !self.node.has_ready() {
            return Ok(false);
        }
        let mut ready = self.node.ready();
        if ready.ss().is_some() || ready.hs().is_some() {
            self.on_role(cx);
        }
        let messages = ready.take_messages();
        self.send(cx, messages);
        self.on_read_states(ready.take_read_states());
        if !ready.snapshot().is_empty() {
            self.start_applying(cx, ready)?;
            return Ok(false);
        }
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        let storage = self.node.mut_store();
        // A commit index alone is not worth a write: after a restart it is learned again.
        let write_state = !entries.is_empty() || ready.must_sync();
        if let Some(hard_state) = hard_state {
            storage.set_hard_state(hard_state);
        }
        storage.append(entries, cx.batch);
        if write_state {
            storage.write_state(cx.batch);
            cx.batch.sync |= ready.must_sync();
        }
        self.ready = Some(ready);
        Ok(true)
    }

    /// After the batch is durable: acknowledges, applies, answers.
    pub(crate) fn finish(&mut self, cx: &mut Context<'_, E>) -> Result<(), StoreFailure> {
        let Some(mut ready) = self.ready.take() else { return Ok(()) };
        let messages = ready.take_persisted_messages();
        self.send(cx, messages);
        let mut committed = ready.take_committed_entries();
        let mut light = self.node.advance_append(ready);
        if let Some(commit) = light.commit_index() {
            self.node.mut_store().set_commit(commit);
        }
        let messages = light.take_messages();
        self.send(cx, messages);
        committed.extend(light.take_committed_entries());
        if self.snapshot_written {
            self.snapshot_written = false;
            self.finish_snapshot(cx);
        }
        self.apply(cx, committed)?;
        self.node.mut_store().trim_cache();
        Ok(())
    }

    pub(crate) fn has_ready(&self) -> bool {
        match self.applying {
            Some(_) => self.snapshot_written,
            None => self.node.has_ready() || (!self.reads.waiting.is_empty() && self.leads_its_term()),
        }
    }

    fn start_applying(&mut self, cx: &mut Context<'_, E>, ready: Ready) -> Result<(), StoreFailure> {
        let metadata = ready.snapshot().get_metadata();
        let applied = ApplyState { index: metadata.index, term: metadata.term };
        let failure = |what: String| StoreFailure::Raft { region: self.region_id, what };
        let meta = <SnapshotMeta as prost::Message>::decode(&ready.snapshot().data[..])
            .map_err(|e| failure(format!("snapshot metadata: {e}")))?;
        let after = meta.region.as_ref().map(convert::region_from_proto);
        let after = after.ok_or_else(|| failure("snapshot without a region".into()))?;
        let chunks = match self.received.take() {
            Some((index, chunks)) if index == applied.index => chunks,
            _ => return Err(failure("snapshot without its data".into())),
        };
        tracing::info!(region = self.region_id, peer = self.me.id, index = applied.index, "applying a snapshot");
        self.delegate.expire_lease();
        self.delegate.update(|d| d.valid = false);
        let me = after.peers.iter().find(|p| p.id == self.me.id).copied().unwrap_or(self.me);
        let job = ApplySnapshot { peer: me, before: self.region().clone(), after, applied, chunks };
        cx.effects.jobs.push(Job::ApplySnapshot(Box::new(job)));
        self.applying = Some(ready);
        self.snapshot_written = false;
        Ok(())
    }

    pub(crate) fn on_snapshot_written(&mut self, peer_id: u64) {
        if self.applying.is_some() && self.me.id == peer_id {
            self.snapshot_written = true;
        }
    }

    fn collect_snapshot(&mut self, cx: &mut Context<'_, E>, mut ready: Ready) -> Result<(), StoreFailure> {
        let metadata = ready.snapshot().get_metadata().clone();
        let meta = <SnapshotMeta as prost::Message>::decode(&ready.snapshot().data[..])
            .map_err(|e| StoreFailure::Raft { region: self.region_id, what: e.to_string() })?;
        let region = meta.region.as_ref().map(convert::region_from_proto).unwrap_or_else(|| self.region().clone());
        let before = self.region().clone();
        let hard_state = ready.hs().cloned();
        let entries = ready.take_entries();
        let storage = self.node.mut_store();
        if let Some(hard_state) = hard_state {
            storage.set_hard_state(hard_state);
        }
        storage.restart_log(region, ApplyState { index: metadata.index, term: metadata.term }, cx.batch);
        if !entries.is_empty() {
            storage.append(entries, cx.batch);
            storage.write_state(cx.batch);
        }
        cx.changes.push((self.region_id, Change::Region { before }));
        self.ready = Some(ready);
        Ok(())
    }

    fn finish_snapshot(&mut self, cx: &mut Context<'_, E>) {
        let applied = self.applied();
        self.durable_index = applied;
        self.damaged = false;
        self.node.mut_store().set_can_snapshot(true);
        self.node.advance_apply_to(applied);
        let region = self.region().clone();
        if let Some(me) = region.peers.iter().find(|p| p.id == self.me.id) {
            self.me = *me;
        }
        self.leader_seen_tick = cx.ticks;
        tracing::info!(region = self.region_id, peer = self.me.id, index = applied, "snapshot applied");
        self.publish();
        // What came with the snapshot may be garbage, however little was written here.
        self.delegate.count_versions(u64::from(u32::MAX));
        self.delegate.update(|d| d.valid = true);
    }

    /// Shows readers the region, term and leader.
    pub(crate) fn publish(&self) {
        let (leader, term, me) = (self.leader(), self.term(), self.me);
        let region = self.region();
        self.delegate.update(|d| {
            if *d.region != *region {
                d.region = Arc::new(region.clone());
            }
            d.leader = leader;
            d.term = term;
            d.peer = me;
        });
    }

    fn on_role(&mut self, cx: &mut Context<'_, E>) {
        let before = self.delegate.state();
        let led = before.leader.is_some_and(|l| l.id == self.me.id);
        let (leader, term) = (self.leader(), self.term());
        if before.leader == leader && before.term == term {
            return;
        }
        if !self.is_leader() || before.term != term {
            self.delegate.expire_lease();
        }
        self.publish();
        if self.is_leader() {
            tracing::info!(region = self.region_id, term, peer = self.me.id, "leads");
            self.heard = self.region().peers.iter().map(|p| (p.id, cx.now)).collect();
            self.joint_since = command::is_joint(self.region()).then_some(cx.ticks);
            self.reported.force();
        } else if led {
            tracing::info!(region = self.region_id, term, peer = self.me.id, leader = ?leader, "leads no more");
            self.heard.clear();
            // Their entries may still be committed by the next leader; the askers are told that nobody knows.
            for proposal in std::mem::take(&mut self.proposals) {
                proposal.waiter.fail(RegionError::StaleCommand(self.region_id));
            }
            let not_leader = self.not_leader();
            for request in self.reads.take_all() {
                request.reply.send(Err(not_leader.clone()));
            }
        }
    }

    fn send(&mut self, cx: &mut Context<'_, E>, messages: Vec<Message>) {
        for message in messages {
            let kind = message.get_msg_type();
            if kind == MessageType::MsgTimeoutNow {
                self.delegate.expire_lease();
                self.offered_term = self.term();
            }
            let Some(to) = self.peer_by_id(message.to) else { continue };
            // Messages that may have to create the peer tell it the region's bounds.
            let introduces = match kind {
                MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => true,
                MessageType::MsgHeartbeat => message.commit == 0,
                MessageType::MsgAppend => self.node.raft.prs().get(message.to).is_some_and(|p| p.matched == 0),
                _ => false,
            };
            let Ok(bytes) = message.write_to_bytes() else { continue };
            let region = self.region();
            let mut out = RaftMessage {
                region_id: self.region_id,
                from_peer: Some(convert::peer_to_proto(&self.me)),
                to_peer: Some(convert::peer_to_proto(&to)),
                message: bytes,
                region_epoch: Some(convert::epoch_to_proto(region.epoch)),
                ..Default::default()
            };
            if introduces && self.is_initialized() {
                out.start_key = region.range.start.clone();
                out.end_key = region.range.end.clone();
            }
            if kind != MessageType::MsgSnapshot {
                cx.effects.messages.push(out);
                continue;
            }
            match self.node.store().take_outgoing(to.id) {
                Some(snapshot) if cx.sending.load(Ordering::Relaxed) < SENDING_MAX => {
                    cx.sending.fetch_add(1, Ordering::Relaxed);
                    let range = snapshot.region.range;
                    cx.effects.snapshots.push(SnapshotSend { message: out, view: snapshot.view, range });
                }
                _ => self.node.report_snapshot(to.id, SnapshotStatus::Failure),
            }
        }
    }

    /// Fails everything that waits: the peer is leaving the store.
    pub(crate) fn shut(&mut self) {
        self.delegate.expire_lease();
        self.delegate.update(|d| d.valid = false);
        let gone = RegionError::RegionNotFound(self.region_id);
        for proposal in std::mem::take(&mut self.proposals) {
            proposal.waiter.fail(RegionError::StaleCommand(self.region_id));
        }
        for (_, _, waiter) in std::mem::take(&mut self.queued) {
            waiter.fail(gone.clone());
        }
        for request in self.reads.take_all() {
            request.reply.send(Err(gone.clone()));
        }
    }
}
