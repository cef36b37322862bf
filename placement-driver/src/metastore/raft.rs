//! One member of the metadata store's Raft group: a [`Core`] without I/O of its own but the log file, and the thread
//! that drives it.
//!
//! A request travels: service → [`Input::Propose`] → (followers forward it) → leader's log → every member applies it →
//! the member that was asked answers. All inputs that are queued when the thread wakes share one sync of the log.
//! Reads don't enter the log: the leader confirms with one round of heartbeats that it still leads (one round for all
//! reads waiting), and the asked member answers when it has applied what was committed by then.
//!
//! Invariants: votes and acknowledgements leave after the sync; an answer is given at most once; only the leader ends
//! leases. A request whose leader disappears is not repeated here (it might run twice): its caller times out.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prost::Message as _;
use proto::etcdserverpb::{CompactionRequest, LeaseRevokeRequest};
use proto::meridian_pd::{LeaseRequest, LeaseResponse, Proposal, proposal::Command};
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics;

use super::joining::{self, Joining};
use super::lessor::Lessor;
use super::state::{Answer, EtcdError};
use super::wal::{SharedState, Wal};

/// One Raft tick. Everything below counts in it, and an idle member wakes this often.
pub const TICK: Duration = Duration::from_millis(100);
/// The leader's heartbeat: 0.3 s.
const HEARTBEAT_TICKS: usize = 3;
/// A silent leader is replaced after 1.5 to 3 s.
const ELECTION_TICKS: usize = 15;
/// A read whose confirmation may be lost is asked again after this, under its number: over a long way, the confirmation of
/// the first question is still coming and will do.
const READ_RETRY_MS: u64 = 500;
/// A snapshot of the state is made after this many entries or bytes of log.
const CHECKPOINT_ENTRIES: u64 = 10_000;
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// How much history watchers and old reads can go back, as embedded etcd in PD: one hour, but no more revisions than
/// memory is good for.
const HISTORY_MS: u64 = 3_600_000;
const HISTORY_REVISIONS: i64 = 100_000;
const HISTORY_CHECK_TICKS: u64 = 600;
/// How often the leader notes how far history is, and looks whether it takes too much of the quota: 1 s.
const HISTORY_NOTE_TICKS: u64 = 10;
/// History that is kept in that case: a minute.
const PRESSED_HISTORY_MS: u64 = 60_000;
/// Requests waiting for the member's thread. When full, a caller is refused with "too many requests".
const INPUTS_MAX: usize = 4_096;
/// Proposals kept while there is no leader. More are refused with "no leader".
const HELD_MAX: usize = 1_024;
/// Inputs taken before the log is synced; bounds the size of one batch.
const BATCH_MAX: usize = 1_024;

const _: () = assert!(ELECTION_TICKS > 3 * HEARTBEAT_TICKS);

/// Why a request got no answer from the state machine.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StoreError {
    /// The state machine refused.
    #[error(transparent)]
    Refused(#[from] EtcdError),
    /// No leader is known: the majority is away or an election runs.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// No answer in time; the request may still take effect.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// The queue is full.
    #[error("etcdserver: too many requests")]
    Busy,
    /// A request beyond the size limit.
    #[error("etcdserver: request is too large")]
    TooLarge,
    /// This member is stopping.
    #[error("etcdserver: server stopped")]
    Stopped,
}

/// What the member's thread is told.
pub enum Input {
    /// Run a command through the log.
    Propose(Command, oneshot::Sender<Result<Answer, StoreError>>),
    /// Tell when this member has applied everything that was committed before now.
    Read(oneshot::Sender<Result<(), StoreError>>),
    /// Ask or extend a lease's time (leader only). Answered when a majority has confirmed the leader.
    Lease(LeaseRequest, oneshot::Sender<LeaseResponse>),
    /// A message from another member.
    Message(Box<Message>),
    /// A message to this member could not be sent; true if it held a snapshot.
    Unreachable(u64, bool),
    /// Make this member the Raft leader, if it is not.
    Lead,
    /// Stop the thread.
    Stop,
}

/// What services see of the Raft group, without asking its thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The leader, or 0.
    pub leader: u64,
    /// The current term.
    pub term: u64,
    /// Index of the last applied entry.
    pub applied: u64,
    /// Index of the last entry in this member's log.
    pub last: u64,
}

/// The member's state, read by services.
pub struct Shared {
    /// This member.
    pub id: u64,
    /// The state machine.
    pub state: SharedState,
    /// See [`GroupStatus`].
    pub status: Mutex<GroupStatus>,
    /// The newest revision; watchers wait on it.
    pub revision: watch::Sender<i64>,
}

/// Who waits for the leader's confirmation.
enum ReadReply {
    Read(oneshot::Sender<Result<(), StoreError>>),
    /// What this member said of a lease as the leader of a term. It counts only once the others confirm that no later
    /// leader existed when it was said: that one would have given the lease another end, and told others of it.
    Lease(u64, LeaseResponse, oneshot::Sender<LeaseResponse>),
}

impl ReadReply {
    fn is_closed(&self) -> bool {
        match self {
            ReadReply::Read(reply) => reply.is_closed(),
            ReadReply::Lease(_, _, reply) => reply.is_closed(),
        }
    }
}

/// The member without thread and sockets; time is milliseconds of a monotonic clock.
pub struct Core {
    node: RawNode<Wal>,
    /// While its word counts for nothing.
    joining: Option<Joining>,
    /// What is to be sent beside Raft's own messages.
    outbox: Vec<Message>,
    shared: Arc<Shared>,
    lessor: Lessor,
    leading: bool,
    sequence: u64,
    proposals: HashMap<u64, oneshot::Sender<Result<Answer, StoreError>>>,
    /// Proposals that Raft did not take, for want of a leader: they surely had no effect and are made again.
    held: Vec<(Command, oneshot::Sender<Result<Answer, StoreError>>)>,
    /// Reads that came since the last question to the leader.
    reads_new: Vec<ReadReply>,
    /// Reads that await the leader's confirmation: number, since when, whom to answer.
    reads_asked: VecDeque<(u64, u64, Vec<ReadReply>)>,
    /// Reads that await this index.
    reads_confirmed: Vec<(u64, Vec<ReadReply>)>,
    ticks: u64,
    /// (time, revision) pairs of each second, for compaction.
    history: VecDeque<(u64, i64)>,
    /// Bytes that the state may take in memory.
    quota_bytes: u64,
}

impl Core {
    /// A member `id` over its log. `quota_bytes`: what the state may take in memory.
    pub fn new(id: u64, wal: Wal, single: bool, quota_bytes: u64) -> Result<Core, raft::Error> {
        let shared_state = wal.shared();
        let (applied, revision) = {
            let applied = shared_state.read();
            (applied.index, applied.state.revision())
        };
        let config = Config {
            id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            ..Default::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let joining = (wal.is_joining() && !single).then(|| Joining::new(id, wal.voters()));
        let mut node = RawNode::new(&config, wal, &logger)?;
        if single {
            // Nobody else could win, so don't wait for the election timeout.
            node.campaign()?;
        }
        let shared = Arc::new(Shared {
            id,
            state: shared_state,
            status: Mutex::default(),
            revision: watch::Sender::new(revision),
        });
        Ok(Core {
            node,
            joining,
            outbox: Vec::new(),
            shared,
            lessor: Lessor::default(),
            leading: false,
            // Numbers of an earlier life may still be in the log: start elsewhere.
            sequence: rand::random::<u64>() >> 1,
            proposals: HashMap::new(),
            held: Vec::new(),
            reads_new: Vec::new(),
            reads_asked: VecDeque::new(),
            reads_confirmed: Vec::new(),
            ticks: 0,
            history: VecDeque::new(),
            quota_bytes,
        })
    }

    /// What services read.
    pub fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    /// Takes one input. Returns false when told to stop.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> bool {
        match input {
            Input::Propose(command, reply) => self.propose(command, reply),
            Input::Read(reply) => self.reads_new.push(ReadReply::Read(reply)),
            Input::Lease(request, reply) => {
                let answer = self.lease(&request, now_ms);
                if answer.found {
                    self.reads_new.push(ReadReply::Lease(self.node.raft.term, answer, reply));
                } else {
                    let _ = reply.send(answer);
                }
            }
            Input::Message(message) => self.message(*message),
            Input::Unreachable(peer, snapshot) => {
                self.node.report_unreachable(peer);
                if snapshot {
                    self.node.report_snapshot(peer, SnapshotStatus::Failure);
                }
            }
            Input::Lead => {
                if !self.leading && self.node.raft.leader_id != 0 {
                    self.node.transfer_leader(self.shared.id);
                }
            }
            Input::Stop => return false,
        }
        true
    }

    /// One [`TICK`] has passed.
    pub fn tick(&mut self, now_ms: u64) {
        match &mut self.joining {
            Some(joining) => joining.tick(),
            None => drop(self.node.tick()),
        }
        self.ticks += 1;
        if self.leading {
            for id in self.lessor.expired(now_ms) {
                tracing::debug!(lease = id, "metastore: lease expired");
                self.propose_own(Command::LeaseRevoke(LeaseRevokeRequest { id }));
            }
            if self.ticks.is_multiple_of(HISTORY_NOTE_TICKS) {
                self.limit_history(now_ms);
            }
        }
        if self.ticks.is_multiple_of(50) {
            self.proposals.retain(|_, reply| !reply.is_closed());
            self.held.retain(|(_, reply)| !reply.is_closed());
            self.reads_new.retain(|reply| !reply.is_closed());
        }
        self.repeat_reads(now_ms);
    }

    /// Does what Raft has ready: sends, appends, applies, answers.
    pub fn advance(&mut self, now_ms: u64, send: &mut dyn FnMut(Message)) -> io::Result<()> {
        self.join(send)?;
        self.propose_held();
        self.ask_reads(now_ms);
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            ready.take_messages().into_iter().for_each(&mut *send);
            if !ready.snapshot().is_empty() {
                let snapshot = ready.snapshot().clone();
                self.node.mut_store().install(&snapshot)?;
                self.publish();
            }
            for read in ready.take_read_states() {
                self.confirm_reads(&read.request_ctx, read.index);
            }
            self.apply(ready.take_committed_entries(), now_ms)?;
            let hard_state = ready.hs().cloned();
            let sync = ready.must_sync();
            {
                let _timed = sync.then(|| metrics::STORE_SYNC.start_timer());
                self.node.mut_store().append(ready.entries(), hard_state.as_ref(), sync)?;
            }
            ready.take_persisted_messages().into_iter().for_each(&mut *send);
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.node.mut_store().set_commit(commit)?;
            }
            light.take_messages().into_iter().for_each(&mut *send);
            self.apply(light.take_committed_entries(), now_ms)?;
            self.node.advance_apply();
        }
        self.follow_leadership(now_ms);
        self.answer_reads();
        let (snapshot_index, bytes) = self.node.store().since_snapshot();
        let applied = self.shared.state.read().index;
        if applied >= snapshot_index + CHECKPOINT_ENTRIES || (bytes >= CHECKPOINT_BYTES && applied > snapshot_index) {
            self.node.mut_store().checkpoint()?;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) {
        if let Some(joining) = &mut self.joining
            && !joining.may_be_stepped(&message)
        {
            return;
        }
        // So that the others of a new group learn it from those that know already.
        let empty = self.joining.is_none() && self.node.raft.raft_log.last_index() == 0;
        if empty && joining::wants_answer(&message) {
            self.outbox.push(joining::hello(self.shared.id, message.from));
        }
        // Whoever says that it has nothing has lost what it acknowledged: it gets everything anew.
        if self.leading
            && joining::is_hello(&message)
            && let Some(progress) = self.node.raft.mut_prs().get_mut(message.from)
            && progress.matched > 0
        {
            tracing::warn!(member = message.from, "metastore: a member has lost its data");
            progress.become_probe();
            (progress.matched, progress.next_idx) = (0, 1);
        }
        let refused = joining::refuse(&self.node.raft, &message);
        if let Some(why) = refused {
            tracing::warn!(from = message.from, kind = ?message.get_msg_type(), "metastore: message refused: {why}");
            return;
        }
        if let Err(e) = self.node.step(message) {
            tracing::debug!(error = %e, "metastore: message refused");
        }
    }

    /// While this member joins: asks around, and ends that once its word counts.
    fn join(&mut self, send: &mut dyn FnMut(Message)) -> io::Result<()> {
        self.outbox.drain(..).for_each(&mut *send);
        let Some(joining) = &mut self.joining else { return Ok(()) };
        let raft = &self.node.raft;
        let log = &raft.raft_log;
        let of_this_term = raft.leader_id != raft::INVALID_ID && log.term(log.committed).ok() == Some(raft.term);
        if joining.is_over(log.committed, of_this_term) {
            self.joining = None;
            return self.node.mut_store().joined();
        }
        joining.take_hellos(log.last_index()).into_iter().for_each(&mut *send);
        Ok(())
    }

    fn propose(&mut self, command: Command, reply: oneshot::Sender<Result<Answer, StoreError>>) {
        self.sequence += 1;
        let proposal = Proposal {
            origin: self.shared.id,
            sequence: self.sequence,
            format: net::format::OLDEST,
            command: Some(command),
        };
        match self.node.propose(Vec::new(), proposal.encode_to_vec()) {
            Ok(()) => {
                self.proposals.insert(self.sequence, reply);
            }
            Err(raft::Error::ProposalDropped) if self.held.len() < HELD_MAX => {
                self.held.extend(proposal.command.map(|command| (command, reply)));
            }
            Err(e) => {
                tracing::debug!(error = %e, "metastore: proposal dropped");
                let _ = reply.send(Err(StoreError::NoLeader));
            }
        }
    }

    /// Makes held proposals again, if there is a leader.
    fn propose_held(&mut self) {
        if self.held.is_empty() || self.node.raft.leader_id == raft::INVALID_ID {
            return;
        }
        for (command, reply) in std::mem::take(&mut self.held) {
            if !reply.is_closed() {
                self.propose(command, reply);
            }
        }
    }

    /// Proposes on the member's own account; a lost proposal is made again by whoever leads then.
    fn propose_own(&mut self, command: Command) {
        let proposal = Proposal { origin: 0, sequence: 0, format: net::format::OLDEST, command: Some(command) };
        if let Err(e) = self.node.propose(Vec::new(), proposal.encode_to_vec()) {
            tracing::debug!(error = %e, "metastore: own proposal dropped");
        }
    }

    fn lease(&mut self, request: &LeaseRequest, now_ms: u64) -> LeaseResponse {
        if !self.leading {
            return not_leader();
        }
        if request.renew && self.lessor.renew(request.id, now_ms).is_none() {
            return LeaseResponse::default();
        }
        match self.lessor.remaining(request.id, now_ms) {
            Some((granted_ttl, remaining_ttl)) => {
                LeaseResponse { found: true, granted_ttl, remaining_ttl, not_leader: false }
            }
            None => LeaseResponse::default(),
        }
    }

    /// Has history forgotten that is too old or too long; every minute, or at once where the store takes more than half of
    /// its quota: keys that change often may not raise the alarm by what they were before.
    fn limit_history(&mut self, now_ms: u64) {
        let (revision, compacted, bytes) = {
            let applied = self.shared.state.read();
            (applied.state.revision(), applied.state.compacted(), applied.state.bytes())
        };
        self.history.push_back((now_ms, revision));
        let pressed = bytes > self.quota_bytes / 2;
        if !pressed && !self.ticks.is_multiple_of(HISTORY_CHECK_TICKS) {
            return;
        }
        let kept_ms = if pressed { PRESSED_HISTORY_MS } else { HISTORY_MS };
        let old = self.history.partition_point(|(at, _)| now_ms.saturating_sub(*at) >= kept_ms);
        let forgotten = self.history.drain(..old).next_back().map_or(0, |(_, revision)| revision);
        let target = forgotten.max(revision - HISTORY_REVISIONS);
        if target > compacted {
            self.propose_own(Command::Compaction(CompactionRequest { revision: target, physical: false }));
        }
    }

    fn ask_reads(&mut self, now_ms: u64) {
        // Without a leader they wait for one, or for their callers to give up.
        if self.reads_new.is_empty() || self.node.raft.leader_id == raft::INVALID_ID {
            return;
        }
        let replies = std::mem::take(&mut self.reads_new);
        self.sequence += 1;
        self.ask_leader(self.sequence, now_ms, replies);
    }

    fn ask_leader(&mut self, number: u64, now_ms: u64, replies: Vec<ReadReply>) {
        self.reads_asked.push_back((number, now_ms, replies));
        let mut context = self.shared.id.to_be_bytes().to_vec();
        context.extend(number.to_be_bytes());
        self.node.read_index(context);
    }

    /// Asks again what has been without an answer for long; those who gave up are forgotten.
    fn repeat_reads(&mut self, now_ms: u64) {
        let due = self.reads_asked.iter().take_while(|(_, since, _)| now_ms >= since + READ_RETRY_MS).count();
        let overdue: Vec<_> = self.reads_asked.drain(..due).collect();
        for (number, _, mut replies) in overdue {
            replies.retain(|reply| !reply.is_closed());
            if replies.is_empty() {
                continue;
            }
            if self.node.raft.leader_id == raft::INVALID_ID {
                self.reads_new.extend(replies);
            } else {
                self.ask_leader(number, now_ms, replies);
            }
        }
    }

    fn confirm_reads(&mut self, context: &[u8], index: u64) {
        let Some(number) = context.get(8..16).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes) else { return };
        if context[..8] != self.shared.id.to_be_bytes() {
            return;
        }
        if let Some(at) = self.reads_asked.iter().position(|(n, ..)| *n == number)
            && let Some((_, _, replies)) = self.reads_asked.remove(at)
        {
            self.reads_confirmed.push((index, replies));
        }
    }

    fn answer_reads(&mut self) {
        if self.reads_confirmed.is_empty() {
            return;
        }
        let applied = self.shared.state.read().index;
        let (done, waiting) = std::mem::take(&mut self.reads_confirmed).into_iter().partition(|(i, _)| *i <= applied);
        self.reads_confirmed = waiting;
        let done: Vec<(u64, Vec<_>)> = done;
        let term = self.node.raft.term;
        for reply in done.into_iter().flat_map(|(_, replies)| replies) {
            match reply {
                ReadReply::Read(reply) => {
                    let _ = reply.send(Ok(()));
                }
                ReadReply::Lease(said_in, answer, reply) => {
                    let counts = self.leading && said_in == term;
                    let _ = reply.send(if counts { answer } else { not_leader() });
                }
            }
        }
    }

    /// Those who asked this member about leases ask the next leader.
    fn refuse_leases(&mut self) {
        let asked = self.reads_asked.iter_mut().map(|(_, _, replies)| replies);
        for replies in asked.chain([&mut self.reads_new]).chain(self.reads_confirmed.iter_mut().map(|(_, r)| r)) {
            for reply in std::mem::take(replies) {
                match reply {
                    ReadReply::Lease(_, _, reply) => {
                        let _ = reply.send(not_leader());
                    }
                    read => replies.push(read),
                }
            }
        }
    }

    /// Applies what is committed. An entry that this build cannot read ends the member: to go on without it would leave a
    /// state unlike that of the others.
    fn apply(&mut self, entries: Vec<Entry>, now_ms: u64) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut answers = Vec::new();
        {
            let mut applied = self.shared.state.write();
            for entry in entries {
                assert_eq!(entry.index, applied.index + 1, "metastore: applied out of order");
                (applied.index, applied.term) = (entry.index, entry.term);
                if entry.data.is_empty() {
                    continue;
                }
                let (command, origin, sequence) = match Proposal::decode(&*entry.data) {
                    Ok(Proposal { command: Some(command), origin, sequence, format })
                        if format <= net::format::NEWEST =>
                    {
                        (command, origin, sequence)
                    }
                    _ => return Err(unknown_entry(entry.index)),
                };
                let answer = applied.state.apply(&command);
                if self.leading {
                    match &answer {
                        Ok(Answer::LeaseGrant(grant)) => self.lessor.granted(grant.id, grant.ttl, now_ms),
                        Ok(Answer::LeaseRevoke(_)) | Err(EtcdError::LeaseNotFound) => {
                            if let Command::LeaseRevoke(request) = &command {
                                self.lessor.revoked(request.id);
                            }
                        }
                        _ => {}
                    }
                }
                if origin == self.shared.id
                    && let Some(reply) = self.proposals.remove(&sequence)
                {
                    answers.push((reply, answer));
                }
            }
        }
        self.publish();
        for (reply, answer) in answers {
            let _ = reply.send(answer.map_err(StoreError::Refused));
        }
        Ok(())
    }

    fn publish(&self) {
        let revision = self.shared.state.read().state.revision();
        self.shared.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
    }

    fn follow_leadership(&mut self, now_ms: u64) {
        let leading = self.node.raft.state == StateRole::Leader;
        if leading != self.leading {
            self.leading = leading;
            if leading {
                let applied = self.shared.state.read();
                self.lessor.promote(applied.state.leases(), now_ms);
                tracing::info!(term = self.node.raft.term, "metastore: this member leads the Raft group");
            } else {
                self.lessor.demote();
                self.history.clear();
                self.refuse_leases();
                tracing::info!(term = self.node.raft.term, "metastore: this member follows");
            }
        }
        *self.shared.status.lock() = GroupStatus {
            leader: self.node.raft.leader_id,
            term: self.node.raft.term,
            applied: self.shared.state.read().index,
            last: self.node.raft.raft_log.last_index(),
        };
    }
}

fn unknown_entry(index: u64) -> io::Error {
    io::Error::other(format!(
        "entry {index} of the metadata store's log holds a command that this version does not know; start this member \
         with the version of the other members"
    ))
}

fn not_leader() -> LeaseResponse {
    LeaseResponse { not_leader: true, ..Default::default() }
}

/// Starts the thread that owns a member. It ends on [`Input::Stop`], when all senders are gone, or when the disk fails
/// (after which nothing is acknowledged any more). Unless it ends as it was told, `failed` is cancelled.
pub fn spawn(
    mut core: Core,
    mut send: impl FnMut(Message) + Send + 'static,
    failed: CancellationToken,
) -> io::Result<(SyncSender<Input>, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(INPUTS_MAX);
    let thread = std::thread::Builder::new().name("metastore".into()).spawn(move || {
        // A panic is a failure too.
        let failed = failed.drop_guard();
        match run(&mut core, &receiver, &mut send) {
            Ok(()) => drop(failed.disarm()),
            Err(e) => tracing::error!(error = %e, "metastore: disk failed, this member stops"),
        }
    })?;
    Ok((sender, thread))
}

fn run(core: &mut Core, receiver: &Receiver<Input>, send: &mut dyn FnMut(Message)) -> io::Result<()> {
    let started = Instant::now();
    let mut next_tick = started + TICK;
    core.advance(0, send)?;
    loop {
        let wait = next_tick.saturating_duration_since(Instant::now());
        let now_ms = |at: Instant| (at - started).as_millis() as u64;
        match receiver.recv_timeout(wait) {
            Ok(first) => {
                let now = now_ms(Instant::now());
                let rest = receiver.try_iter().take(BATCH_MAX);
                for input in std::iter::once(first).chain(rest) {
                    if !core.handle(input, now) {
                        return Ok(());
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let now = Instant::now();
        if now >= next_tick {
            core.tick(now_ms(now));
            // After a pause of the process the missed ticks are not made up, else it would depose a healthy leader.
            next_tick = now + TICK;
        }
        core.advance(now_ms(now), send)?;
    }
}

/// True when a message's loss must be reported as a failed snapshot.
pub fn holds_snapshot(message: &Message) -> bool {
    message.msg_type == MessageType::MsgSnapshot
}

#[cfg(test)]
#[path = "raft_tests.rs"]
mod tests;
