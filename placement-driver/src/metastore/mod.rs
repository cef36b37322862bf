//! The metadata store: an etcd v3 store replicated over the PD members, embedded in each of them.
//!
//! ```text
//!   etcd-client, etcdctl ──► service (etcdserverpb) ──► Metastore ──► raft::Core ──► state::State
//!                                                          │             │ log, snapshot: wal
//!                                                          └ watches     └ other members: transport
//! ```
//!
//! Everything else in PD talks to it through `etcd-client` only, so that a real etcd cluster can take its place.
//! Any member can be asked: followers forward what needs the leader.
//!
//! What it holds is bounded ([`Metastore::watch_quota`]): beyond that an alarm is raised, as in etcd, and only PD itself writes.
//!
//! A member without files does not vote before it knows that nothing can have been forgotten (`joining`).
//!
//! Not here: authentication, changing the set of members while running, defragmentation. Read next: [`state`], then
//! [`raft`].

mod joining;
pub mod lessor;
pub mod raft;
pub mod service;
pub mod state;
pub mod transport;
pub mod wal;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use net::grpc::Channels;
use parking_lot::Mutex;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{AlarmRequest, AlarmType, Member, ResponseHeader};
use proto::meridian_pd::{LeaseRequest, LeaseResponse, proposal::Command};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::raft::{Core, Input, Shared, StoreError};
use self::state::{Answer, State};
use self::transport::Transport;
use self::wal::Wal;

/// How long a request may wait for its answer, as etcd: 5 s and twice an election.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);

/// The identity of one member: the same name gives the same id on every member.
pub fn member_id(name: &str) -> u64 {
    fnv1a(name.as_bytes()).max(1)
}

/// The store's own cluster id (not PD's), from its members' names.
fn group_id(names: &[&str]) -> u64 {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    fnv1a(sorted.join(",").as_bytes()).max(1)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How a member is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member's name.
    pub name: String,
    /// All members: name and peer URL.
    pub members: BTreeMap<String, String>,
    /// Where this member can be reached by others.
    pub peer_urls: Vec<String>,
    /// Where clients reach this member.
    pub client_urls: Vec<String>,
    /// Bytes that the store may take in memory before others than PD are refused. See [`Metastore::watch_quota`].
    pub quota_bytes: u64,
}

/// A running member. Clones share it.
#[derive(Clone)]
pub struct Metastore {
    inner: Arc<Inner>,
}

struct Inner {
    group: u64,
    options: Options,
    shared: Arc<Shared>,
    inputs: SyncSender<Input>,
    transport: Transport,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Cancelled when the thread ends unasked.
    failed: CancellationToken,
}

impl Metastore {
    /// Opens the member's files in `dir` and starts its thread. Other members are reached through `channels`.
    pub fn start(dir: Option<&Path>, options: Options, channels: Channels) -> io::Result<Metastore> {
        let id = member_id(&options.name);
        let mut voters: Vec<u64> = options.members.keys().map(|name| member_id(name)).collect();
        voters.sort_unstable();
        voters.dedup();
        if voters.len() != options.members.len() {
            return Err(io::Error::other("two member names give the same id, rename one"));
        }
        if !voters.contains(&id) {
            return Err(io::Error::other(format!("member '{}' is not in the initial cluster", options.name)));
        }
        let wal = Wal::open(dir, &voters)?;
        let core = Core::new(id, wal, voters.len() == 1, options.quota_bytes).map_err(io::Error::other)?;
        let shared = core.shared();
        let transport = Transport::new(id, &options.members, channels);
        let sender = transport.clone();
        let failed = CancellationToken::new();
        let (inputs, thread) = raft::spawn(core, move |message| sender.send(message), failed.clone())?;
        transport.report_to(inputs.clone());
        let names: Vec<&str> = options.members.keys().map(String::as_str).collect();
        let group = group_id(&names);
        let inner = Inner { group, options, shared, inputs, transport, thread: Mutex::new(Some(thread)), failed };
        Ok(Metastore { inner: Arc::new(inner) })
    }

    /// Tells the other members where this one's clients connect, once there is a leader.
    pub async fn announce(&self) -> Result<(), StoreError> {
        let options = &self.inner.options;
        let member = Member {
            id: self.id(),
            name: options.name.clone(),
            peer_ur_ls: options.peer_urls.clone(),
            client_ur_ls: options.client_urls.clone(),
            is_learner: false,
        };
        if self.read_state(|state| state.members().any(|m| *m == member)) {
            return Ok(());
        }
        self.propose(Command::Member(member)).await.map(|_| ())
    }

    /// This member's id.
    pub fn id(&self) -> u64 {
        self.inner.shared.id
    }

    /// Stops the member's thread and its connections. What was acknowledged is on disk.
    pub fn stop(&self) {
        self.inner.transport.stop();
        // A full queue drains: the thread is alive until it sees this.
        let _ = self.inner.inputs.send(Input::Stop);
        if let Some(thread) = self.inner.thread.lock().take() {
            let _ = thread.join();
        }
    }

    /// Ends when the member stopped by itself: its disk failed. It answers nothing any more.
    pub async fn failed(&self) {
        self.inner.failed.cancelled().await;
    }

    /// Runs a command through the log.
    pub async fn propose(&self, command: Command) -> Result<Answer, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.input(Input::Propose(command, reply))?;
        self.wait(answer).await?
    }

    /// Bytes that the store may take.
    pub fn quota_bytes(&self) -> u64 {
        self.inner.options.quota_bytes
    }

    /// Raises the alarm for all members if the store takes more than its quota, as etcd does: from then on the state machine
    /// refuses what others than PD would add, until somebody has deleted keys and disarmed the alarm.
    pub async fn watch_quota(&self) -> Result<(), StoreError> {
        let quota = self.quota_bytes();
        let (bytes, full) = self.read_state(|state| (state.bytes(), state.is_full()));
        if full || bytes <= quota {
            return Ok(());
        }
        let (action, alarm) = (AlarmAction::Activate as i32, AlarmType::Nospace as i32);
        self.propose(Command::Alarm(AlarmRequest { action, member_id: self.id(), alarm })).await?;
        tracing::error!(
            bytes,
            quota,
            "metastore: over its quota, so writes of others than PD are refused; delete keys that are not needed, wait \
             a minute until their history is forgotten, then `etcdctl alarm disarm`"
        );
        Ok(())
    }

    /// Returns when this member's state includes everything that was acknowledged before the call.
    pub async fn read_barrier(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.input(Input::Read(reply))?;
        self.wait(answer).await?
    }

    /// Reads the state as this member has it.
    pub fn read_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.inner.shared.state.read().state)
    }

    /// Asks the Raft leader for a lease's time, or to extend it.
    pub async fn lease(&self, request: LeaseRequest) -> Result<LeaseResponse, StoreError> {
        let deadline = tokio::time::Instant::now() + REQUEST_TIMEOUT;
        loop {
            let leader = self.status().leader;
            let answer = match leader {
                0 => None,
                leader if leader == self.id() => Some(self.local_lease(request).await?),
                leader => self.inner.transport.lease(leader, request).await,
            };
            match answer {
                Some(answer) if !answer.not_leader => return Ok(answer),
                _ if tokio::time::Instant::now() >= deadline => {
                    return Err(if leader == 0 { StoreError::NoLeader } else { StoreError::Timeout });
                }
                // An election is short; its result is in the status.
                _ => tokio::time::sleep(raft::TICK).await,
            }
        }
    }

    /// The lease answer of this member alone.
    pub async fn local_lease(&self, request: LeaseRequest) -> Result<LeaseResponse, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.input(Input::Lease(request, reply))?;
        self.wait(answer).await
    }

    /// Takes the Raft leadership over, so that this member's writes save a hop. Best effort.
    pub fn lead(&self) {
        let _ = self.input(Input::Lead);
    }

    /// Leader, term and positions.
    pub fn status(&self) -> raft::GroupStatus {
        *self.inner.shared.status.lock()
    }

    /// Follows the newest revision.
    pub fn revisions(&self) -> watch::Receiver<i64> {
        self.inner.shared.revision.subscribe()
    }

    /// All configured members, with what they announced of themselves.
    pub fn members(&self) -> Vec<Member> {
        let announced: BTreeMap<u64, Member> = self.read_state(|s| s.members().map(|m| (m.id, m.clone())).collect());
        self.inner
            .options
            .members
            .iter()
            .map(|(name, url)| {
                let id = member_id(name);
                announced.get(&id).cloned().unwrap_or_else(|| Member {
                    id,
                    name: name.clone(),
                    peer_ur_ls: vec![url.clone()],
                    ..Default::default()
                })
            })
            .collect()
    }

    fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader { cluster_id: self.inner.group, member_id: self.id(), revision, raft_term: self.status().term }
    }

    /// True when `id` is a member of this group.
    fn knows(&self, id: u64) -> bool {
        self.inner.options.members.keys().any(|name| member_id(name) == id)
    }

    /// Hands over a message from another member.
    fn deliver(&self, message: ::raft::eraftpb::Message) -> Result<(), StoreError> {
        self.input(Input::Message(Box::new(message)))
    }

    fn input(&self, input: Input) -> Result<(), StoreError> {
        self.inner.inputs.try_send(input).map_err(|e| match e {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Stopped,
        })
    }

    async fn wait<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, StoreError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(StoreError::Stopped),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}
