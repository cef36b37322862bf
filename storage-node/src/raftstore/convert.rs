//! Between our own region types and the wire's: the only place in the Raft store that knows both.

use engine::KeyRange;
use proto::{errorpb, metapb};

use crate::replication::{Epoch, Peer, PeerRole, Region, RegionContext, RegionError};

/// A peer as the wire has it.
pub fn peer_to_proto(peer: &Peer) -> metapb::Peer {
    let role = match peer.role {
        PeerRole::Voter => metapb::PeerRole::Voter,
        PeerRole::Learner => metapb::PeerRole::Learner,
        PeerRole::IncomingVoter => metapb::PeerRole::IncomingVoter,
        PeerRole::DemotingVoter => metapb::PeerRole::DemotingVoter,
    };
    metapb::Peer { id: peer.id, store_id: peer.store_id, role: role as i32, is_witness: false }
}

/// A peer from the wire; an unknown role reads as a voter, the protocol's default.
pub fn peer_from_proto(peer: &metapb::Peer) -> Peer {
    let role = match peer.role() {
        metapb::PeerRole::Voter => PeerRole::Voter,
        metapb::PeerRole::Learner => PeerRole::Learner,
        metapb::PeerRole::IncomingVoter => PeerRole::IncomingVoter,
        metapb::PeerRole::DemotingVoter => PeerRole::DemotingVoter,
    };
    Peer { id: peer.id, store_id: peer.store_id, role }
}

/// An epoch as the wire has it.
pub fn epoch_to_proto(epoch: Epoch) -> metapb::RegionEpoch {
    metapb::RegionEpoch { conf_ver: epoch.conf_ver, version: epoch.version }
}

/// An epoch from the wire; a missing one is zero, which matches no region.
pub fn epoch_from_proto(epoch: Option<&metapb::RegionEpoch>) -> Epoch {
    epoch.map_or_else(Epoch::default, |e| Epoch { conf_ver: e.conf_ver, version: e.version })
}

/// A region as the wire has it.
pub fn region_to_proto(region: &Region) -> metapb::Region {
    metapb::Region {
        id: region.id,
        start_key: region.range.start.clone(),
        end_key: region.range.end.clone(),
        region_epoch: Some(epoch_to_proto(region.epoch)),
        peers: region.peers.iter().map(peer_to_proto).collect(),
    }
}

/// A region from the wire.
pub fn region_from_proto(region: &metapb::Region) -> Region {
    Region {
        id: region.id,
        range: KeyRange::new(region.start_key.clone(), region.end_key.clone()),
        epoch: epoch_from_proto(region.region_epoch.as_ref()),
        peers: region.peers.iter().map(peer_from_proto).collect(),
    }
}

/// What a request's context says about the region it means.
pub fn context_from_proto(ctx: Option<&proto::kvrpcpb::Context>) -> RegionContext {
    let Some(ctx) = ctx else { return RegionContext::default() };
    RegionContext {
        region_id: ctx.region_id,
        epoch: epoch_from_proto(ctx.region_epoch.as_ref()),
        peer_id: ctx.peer.as_ref().map_or(0, |p| p.id),
        store_id: ctx.peer.as_ref().map_or(0, |p| p.store_id),
        term: ctx.term,
        replica_read: ctx.replica_read,
    }
}

/// A region error as the wire has it.
pub fn error_to_proto(error: &RegionError) -> errorpb::Error {
    let mut out = errorpb::Error { message: error.to_string(), ..Default::default() };
    match error {
        RegionError::NotLeader { region, leader } => {
            out.not_leader =
                Some(errorpb::NotLeader { region_id: *region, leader: leader.as_ref().map(peer_to_proto) });
        }
        RegionError::RegionNotFound(region) => {
            out.region_not_found = Some(errorpb::RegionNotFound { region_id: *region });
        }
        RegionError::RegionNotInitialized(region) => {
            out.region_not_initialized = Some(errorpb::RegionNotInitialized { region_id: *region });
        }
        RegionError::EpochNotMatch { current, .. } => {
            let current_regions = current.iter().map(region_to_proto).collect();
            out.epoch_not_match = Some(errorpb::EpochNotMatch { current_regions });
        }
        RegionError::KeyNotInRegion { key, region } => {
            out.key_not_in_region = Some(errorpb::KeyNotInRegion {
                key: key.clone(),
                region_id: region.id,
                start_key: region.range.start.clone(),
                end_key: region.range.end.clone(),
            });
        }
        RegionError::StoreNotMatch { requested, actual } => {
            out.store_not_match =
                Some(errorpb::StoreNotMatch { request_store_id: *requested, actual_store_id: *actual });
        }
        RegionError::MismatchPeerId { requested, actual } => {
            out.mismatch_peer_id =
                Some(errorpb::MismatchPeerId { request_peer_id: *requested, store_peer_id: *actual });
        }
        RegionError::ServerIsBusy { reason, backoff_ms } => {
            out.server_is_busy =
                Some(errorpb::ServerIsBusy { reason: reason.clone(), backoff_ms: *backoff_ms, ..Default::default() });
        }
        RegionError::StaleCommand(_) => out.stale_command = Some(errorpb::StaleCommand {}),
        RegionError::EntryTooLarge { region, size } => {
            out.raft_entry_too_large = Some(errorpb::RaftEntryTooLarge { region_id: *region, entry_size: *size });
        }
        RegionError::ReadIndexNotReady { region, reason } => {
            out.read_index_not_ready = Some(errorpb::ReadIndexNotReady { reason: reason.clone(), region_id: *region });
        }
        // The wire has no variant for it: the message says what failed, and clients back off and retry elsewhere.
        RegionError::Storage { .. } => {}
    }
    out
}
