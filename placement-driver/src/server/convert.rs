//! Between the wire's messages and PD's own types, both ways.

use proto::{eraftpb, metapb, pdpb};

use crate::cluster::model::{Epoch, Peer, PeerRole, Region, Store, StoreState};
use crate::schedule::operator::{Change, Instruction};

/// A report of a region by its leader; nothing if it names no region.
pub fn region_from_heartbeat(hb: pdpb::RegionHeartbeatRequest) -> Option<Region> {
    let mut region = region_from_meta(hb.region?);
    region.leader = hb.leader.map(|leader| leader.id).filter(|id| region.peer(*id).is_some());
    region.term = hb.term;
    region.down_peers = hb.down_peers.iter().filter_map(|p| Some((p.peer.as_ref()?.id, p.down_seconds))).collect();
    region.pending_peers = hb.pending_peers.iter().map(|p| p.id).collect();
    region.approximate_size_bytes = hb.approximate_size;
    region.approximate_keys = hb.approximate_keys;
    region.written_bytes = hb.bytes_written;
    region.read_bytes = hb.bytes_read;
    Some(region)
}

/// A region as the metadata store or a split report has it: without leader.
pub fn region_from_meta(meta: metapb::Region) -> Region {
    let epoch = meta.region_epoch.unwrap_or_default();
    Region {
        id: meta.id,
        start_key: meta.start_key,
        end_key: meta.end_key,
        epoch: Epoch { conf_ver: epoch.conf_ver, version: epoch.version },
        peers: meta.peers.iter().map(peer_from).collect(),
        ..Region::default()
    }
}

/// A region's record.
pub fn region_to_meta(region: &Region) -> metapb::Region {
    metapb::Region {
        id: region.id,
        start_key: region.start_key.clone(),
        end_key: region.end_key.clone(),
        region_epoch: Some(epoch_to(region.epoch)),
        peers: region.peers.iter().map(peer_to).collect(),
    }
}

/// An epoch.
pub fn epoch_to(epoch: Epoch) -> metapb::RegionEpoch {
    metapb::RegionEpoch { conf_ver: epoch.conf_ver, version: epoch.version }
}

fn peer_from(peer: &metapb::Peer) -> Peer {
    let role = match peer.role() {
        metapb::PeerRole::Voter => PeerRole::Voter,
        metapb::PeerRole::Learner => PeerRole::Learner,
        metapb::PeerRole::IncomingVoter => PeerRole::IncomingVoter,
        metapb::PeerRole::DemotingVoter => PeerRole::DemotingVoter,
    };
    Peer { id: peer.id, store_id: peer.store_id, role }
}

/// A peer.
pub fn peer_to(peer: &Peer) -> metapb::Peer {
    let role = match peer.role {
        PeerRole::Voter => metapb::PeerRole::Voter,
        PeerRole::Learner => metapb::PeerRole::Learner,
        PeerRole::IncomingVoter => metapb::PeerRole::IncomingVoter,
        PeerRole::DemotingVoter => metapb::PeerRole::DemotingVoter,
    };
    metapb::Peer { id: peer.id, store_id: peer.store_id, role: role as i32, is_witness: false }
}

/// Down peers of a region.
pub fn down_peers(region: &Region) -> Vec<pdpb::PeerStats> {
    let stats = |(id, seconds): &(u64, u64)| {
        Some(pdpb::PeerStats { peer: Some(peer_to(region.peer(*id)?)), down_seconds: *seconds })
    };
    region.down_peers.iter().filter_map(stats).collect()
}

/// Peers of a region that have not caught up.
pub fn pending_peers(region: &Region) -> Vec<metapb::Peer> {
    region.pending_peers.iter().filter_map(|id| region.peer(*id).map(peer_to)).collect()
}

/// A region with its leader and health, as the scan answers it.
pub fn region_to_pd(region: &Region) -> pdpb::Region {
    pdpb::Region {
        region: Some(region_to_meta(region)),
        leader: region.leader_peer().map(peer_to),
        down_peers: down_peers(region),
        pending_peers: pending_peers(region),
    }
}

/// A store's record.
pub fn store_to_meta(store: &Store) -> metapb::Store {
    let (state, node_state) = match store.state {
        StoreState::Up => (metapb::StoreState::Up, metapb::NodeState::Serving),
        StoreState::Offline => (metapb::StoreState::Offline, metapb::NodeState::Removing),
        StoreState::Tombstone => (metapb::StoreState::Tombstone, metapb::NodeState::Removed),
    };
    metapb::Store {
        id: store.id,
        address: store.address.clone(),
        state: state as i32,
        labels: store
            .labels
            .iter()
            .map(|(key, value)| metapb::StoreLabel { key: key.clone(), value: value.clone() })
            .collect(),
        version: store.version.clone(),
        meridian_format: store.format,
        peer_address: String::new(),
        status_address: store.status_address.clone(),
        start_timestamp: store.start_time_s as i64,
        last_heartbeat: (store.last_heartbeat_ms as i64).saturating_mul(1_000_000),
        node_state: node_state as i32,
        ..Default::default()
    }
}

/// A store from its registration or record.
pub fn store_from_meta(meta: metapb::Store) -> Store {
    let state = match meta.state() {
        metapb::StoreState::Up => StoreState::Up,
        metapb::StoreState::Offline => StoreState::Offline,
        metapb::StoreState::Tombstone => StoreState::Tombstone,
    };
    Store {
        id: meta.id,
        address: meta.address,
        status_address: meta.status_address,
        version: meta.version,
        format: meta.meridian_format.max(1),
        labels: meta.labels.into_iter().map(|l| (l.key, l.value)).collect(),
        state,
        start_time_s: meta.start_timestamp.max(0) as u64,
        last_heartbeat_ms: (meta.last_heartbeat / 1_000_000).max(0) as u64,
        ..Store::default()
    }
}

/// What a region's leader is told.
pub fn instruction_to(region: &Region, instruction: Instruction) -> pdpb::RegionHeartbeatResponse {
    let mut response = pdpb::RegionHeartbeatResponse {
        region_id: region.id,
        region_epoch: Some(epoch_to(region.epoch)),
        target_peer: region.leader_peer().map(peer_to),
        ..Default::default()
    };
    match instruction {
        Instruction::ChangePeer { peer, change } => {
            let change_type = match change {
                Change::AddVoter => eraftpb::ConfChangeType::AddNode,
                Change::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
                Change::Remove => eraftpb::ConfChangeType::RemoveNode,
            };
            response.change_peer =
                Some(pdpb::ChangePeer { peer: Some(peer_to(&peer)), change_type: change_type as i32 });
        }
        Instruction::TransferLeader { peer } => {
            response.transfer_leader = Some(pdpb::TransferLeader { peer: Some(peer_to(&peer)), peers: Vec::new() });
        }
        Instruction::Split { keys } => {
            response.split_region = Some(pdpb::SplitRegion { policy: pdpb::CheckPolicy::Usekey as i32, keys });
        }
    }
    response
}
