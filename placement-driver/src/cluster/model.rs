//! Stores, regions and peers as PD thinks of them. Protobuf types stop at `server`.

use std::collections::BTreeMap;

/// Version of a region's membership and bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Epoch {
    /// Grows with each membership change.
    pub conf_ver: u64,
    /// Grows with each split or merge.
    pub version: u64,
}

/// What a peer is in its region's Raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerRole {
    /// Votes and may lead.
    Voter,
    /// Receives the log, does not vote.
    Learner,
    /// Joint consensus: a voter of the incoming configuration.
    IncomingVoter,
    /// Joint consensus: a voter of the outgoing configuration that becomes a learner.
    DemotingVoter,
}

/// One replica of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Unique in the cluster, never reused.
    pub id: u64,
    /// The store that holds it.
    pub store_id: u64,
    /// What it is in the group.
    pub role: PeerRole,
}

impl Peer {
    /// Whether it does not vote.
    pub fn is_learner(&self) -> bool {
        self.role == PeerRole::Learner
    }
}

/// A region as of its last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Region {
    /// Unique in the cluster, never reused.
    pub id: u64,
    /// First key, memcomparable-encoded.
    pub start_key: Vec<u8>,
    /// First key past the region; empty for "to the end".
    pub end_key: Vec<u8>,
    /// Version of membership and bounds.
    pub epoch: Epoch,
    /// The replicas.
    pub peers: Vec<Peer>,
    /// The leader's peer id, once one has reported.
    pub leader: Option<u64>,
    /// The leader's Raft term.
    pub term: u64,
    /// Peers that do not answer their leader, and for how many seconds.
    pub down_peers: Vec<(u64, u64)>,
    /// Peers that have not caught up with the log yet.
    pub pending_peers: Vec<u64>,
    /// Bytes stored, estimated.
    pub approximate_size_bytes: u64,
    /// Keys stored, estimated.
    pub approximate_keys: u64,
    /// Bytes written since the heartbeat before.
    pub written_bytes: u64,
    /// Bytes read since the heartbeat before.
    pub read_bytes: u64,
}

impl Region {
    /// The peer on that store.
    pub fn peer_on(&self, store_id: u64) -> Option<&Peer> {
        self.peers.iter().find(|p| p.store_id == store_id)
    }

    /// The peer with that id.
    pub fn peer(&self, peer_id: u64) -> Option<&Peer> {
        self.peers.iter().find(|p| p.id == peer_id)
    }

    /// The leader's peer.
    pub fn leader_peer(&self) -> Option<&Peer> {
        self.leader.and_then(|id| self.peer(id))
    }

    /// Whether the peer does not answer its leader.
    pub fn is_down(&self, peer_id: u64) -> bool {
        self.down_peers.iter().any(|(id, _)| *id == peer_id)
    }

    /// Whether the peer has not caught up yet.
    pub fn is_pending(&self, peer_id: u64) -> bool {
        self.pending_peers.contains(&peer_id)
    }

    /// Whether a membership change through joint consensus is under way.
    pub fn is_in_joint_state(&self) -> bool {
        self.peers.iter().any(|p| matches!(p.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter))
    }

    /// Whether the key lies in the region.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start_key.as_slice() && (self.end_key.is_empty() || key < self.end_key.as_slice())
    }
}

/// What was decided about a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum StoreState {
    /// In service.
    #[default]
    Up,
    /// Being emptied; its peers are moved away.
    Offline,
    /// Empty and gone for good.
    Tombstone,
}

/// How alive a store that should be in service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Liveness {
    /// It sends heartbeats.
    Up,
    /// No heartbeat for a short while: it gets no new peers or leaders.
    Disconnected,
    /// No heartbeat for so long that its replicas are rebuilt elsewhere.
    Down,
}

/// A store is disconnected after this long without a heartbeat (PD's figure is 20 s; ours send one every few seconds).
pub const STORE_DISCONNECTED_MS: u64 = 10_000;

/// A storage node.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Store {
    /// Unique in the cluster, never reused.
    pub id: u64,
    /// `host:port` that clients and peers connect to.
    pub address: String,
    /// `host:port` of its status pages.
    pub status_address: String,
    /// Its software version.
    pub version: String,
    /// The newest format of commands that it reads ([`net::format`]).
    pub format: u32,
    /// Where it stands: `region`, `zone`, `host` and whatever else the operator set.
    pub labels: BTreeMap<String, String>,
    /// What was decided about it.
    pub state: StoreState,
    /// When it was started, in seconds since the Unix epoch.
    pub start_time_s: u64,
    /// When it last reported, in milliseconds since the Unix epoch; zero before the first report.
    pub last_heartbeat_ms: u64,
    /// Bytes of its disk.
    pub capacity_bytes: u64,
    /// Bytes free on its disk.
    pub available_bytes: u64,
    /// Bytes it uses.
    pub used_bytes: u64,
}

impl Store {
    /// The label's value, empty when there is none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// How alive it is at `now_ms`, when a store counts as down after `down_after_ms` without a heartbeat.
    pub fn liveness(&self, now_ms: u64, down_after_ms: u64) -> Liveness {
        match now_ms.saturating_sub(self.last_heartbeat_ms) {
            silence if silence > down_after_ms => Liveness::Down,
            silence if silence > STORE_DISCONNECTED_MS => Liveness::Disconnected,
            _ => Liveness::Up,
        }
    }
}
