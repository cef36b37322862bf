//! What is inside a Raft entry, and how a membership change alters a region.
//!
//! Encoded as `proto::meridian_raft` messages. Decoding refuses what it does not know: an entry that one replica
//! understands and another does not would make them differ. So an entry says which format it takes to understand it
//! ([`net::format`]), and nobody proposes one of a format that a store of the cluster does not read.

use engine::{Cf, KeyRange, Modify, WriteBatch};
use prost::Message;
use proto::meridian_raft::{self as pb, change, peer_change};
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState};

use super::convert;
use crate::replication::{Epoch, Peer, PeerRole, Region};

/// A committed entry that cannot be understood: the peer stops rather than guess.
#[derive(Clone, Debug, thiserror::Error)]
#[error("raft entry: {0}")]
pub struct CommandError(pub String);

/// What an entry asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Applies a batch.
    Write(WriteBatch),
    /// Splits the region.
    Split(Vec<SplitPart>),
}

/// A region that a split makes: it ends at the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitPart {
    /// Where the new region ends, and its right neighbour starts.
    pub key: Vec<u8>,
    /// The new region's id.
    pub region_id: u64,
    /// Its peers' ids, in the order of the original region's peers.
    pub peer_ids: Vec<u64>,
}

fn family(cf: Cf) -> Option<change::Family> {
    match cf {
        Cf::Default => Some(change::Family::Default),
        Cf::Lock => Some(change::Family::Lock),
        Cf::Write => Some(change::Family::Write),
        Cf::Raft => None,
    }
}

/// The family as an entry or a snapshot names it.
pub fn family_of(cf: Cf) -> i32 {
    family(cf).unwrap_or(change::Family::Default) as i32
}

/// The column family that an entry or a snapshot names.
pub fn cf_of(family: i32) -> Result<Cf, CommandError> {
    match change::Family::try_from(family) {
        Ok(change::Family::Default) => Ok(Cf::Default),
        Ok(change::Family::Lock) => Ok(Cf::Lock),
        Ok(change::Family::Write) => Ok(Cf::Write),
        Err(_) => Err(CommandError(format!("unknown column family {family}"))),
    }
}

/// Encodes an entry in the cluster's format.
///
/// A format that this version does not have is one that a test makes it announce: the entry then has in it what a later version
/// may add, a command and a field that nobody before it knows.
fn encode(epoch: Epoch, changes: Vec<pb::Change>, split: Option<pb::Split>, format: u32) -> Vec<u8> {
    let epoch = Some(convert::epoch_to_proto(epoch));
    let mut command = pb::Command { epoch, changes, split, format, ..Default::default() };
    if format > net::format::NEWEST {
        command.changes.push(pb::Change { kind: change::Kind::Nothing as i32, ..Default::default() });
        command.unknown = b"to come".to_vec();
    }
    command.encode_to_vec()
}

/// Encodes a batch in the cluster's format. Changes of the node's own family are refused: they are not part of a region.
pub fn encode_write(epoch: Epoch, batch: WriteBatch, format: u32) -> Result<Vec<u8>, CommandError> {
    let refused = || CommandError("a write may not touch the raft column family".into());
    let mut changes = Vec::with_capacity(batch.modifies.len());
    for modify in batch.modifies {
        let (kind, cf, key, value) = match modify {
            Modify::Put(cf, key, value) => (change::Kind::Put, cf, key, value),
            Modify::Delete(cf, key) => (change::Kind::Delete, cf, key, Vec::new()),
            Modify::DeleteRange(cf, range) => (change::Kind::DeleteRange, cf, range.start, range.end),
        };
        let family = family(cf).ok_or_else(refused)? as i32;
        changes.push(pb::Change { kind: kind as i32, family, key, value });
    }
    Ok(encode(epoch, changes, None, format))
}

/// Encodes a split in the cluster's format.
pub fn encode_split(epoch: Epoch, parts: &[SplitPart], format: u32) -> Vec<u8> {
    let requests = parts
        .iter()
        .map(|p| pb::SplitRequest {
            split_key: p.key.clone(),
            new_region_id: p.region_id,
            new_peer_ids: p.peer_ids.clone(),
        })
        .collect();
    encode(epoch, Vec::new(), Some(pb::Split { requests }), format)
}

/// Decodes an entry's data, up to the format that this node reads.
pub fn decode(data: &[u8], newest: u32) -> Result<(Epoch, Command), CommandError> {
    let command = pb::Command::decode(data).map_err(|e| CommandError(e.to_string()))?;
    if command.format > newest {
        return Err(CommandError(format!(
            "it is of format {}, and this version reads up to {newest}: start this node with the version of the others",
            command.format
        )));
    }
    let epoch = convert::epoch_from_proto(command.epoch.as_ref());
    if let Some(split) = command.split {
        let parts = split
            .requests
            .into_iter()
            .map(|r| SplitPart { key: r.split_key, region_id: r.new_region_id, peer_ids: r.new_peer_ids })
            .collect();
        return Ok((epoch, Command::Split(parts)));
    }
    let mut batch = WriteBatch { modifies: Vec::with_capacity(command.changes.len() + 1) };
    for c in command.changes {
        if c.kind == change::Kind::Nothing as i32 && command.format > net::format::NEWEST {
            continue;
        }
        let cf = cf_of(c.family)?;
        batch.modifies.push(match change::Kind::try_from(c.kind) {
            Ok(change::Kind::Put) => Modify::Put(cf, c.key, c.value),
            Ok(change::Kind::Delete) => Modify::Delete(cf, c.key),
            Ok(change::Kind::DeleteRange) => Modify::DeleteRange(cf, KeyRange { start: c.key, end: c.value }),
            Ok(change::Kind::Nothing) | Err(_) => return Err(CommandError(format!("unknown change {}", c.kind))),
        });
    }
    Ok((epoch, Command::Write(batch)))
}

/// Whether every key a batch touches lies in the range. The first one that does not is returned.
pub fn key_outside(batch: &WriteBatch, range: &KeyRange) -> Option<Vec<u8>> {
    batch.modifies.iter().find_map(|m| match m {
        Modify::Put(_, key, _) | Modify::Delete(_, key) => (!range.contains(key)).then(|| key.clone()),
        Modify::DeleteRange(_, r) => {
            let end_inside = range.end.is_empty() || (!r.end.is_empty() && r.end <= range.end);
            (r.start < range.start || !end_inside).then(|| r.start.clone())
        }
    })
}

/// What a membership change does to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Adds a voter, or promotes a learner.
    AddVoter,
    /// Adds a learner, or demotes a voter.
    AddLearner,
    /// Removes the peer.
    Remove,
}

/// A membership change of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// What happens.
    pub kind: ChangeKind,
    /// To whom.
    pub peer: Peer,
}

/// Encodes the context of a membership change.
pub fn encode_membership(epoch: Epoch, changes: &[PeerChange]) -> Vec<u8> {
    let changes = changes
        .iter()
        .map(|c| {
            let kind = match c.kind {
                ChangeKind::AddVoter => peer_change::Kind::AddNode,
                ChangeKind::AddLearner => peer_change::Kind::AddLearner,
                ChangeKind::Remove => peer_change::Kind::RemoveNode,
            };
            pb::PeerChange { kind: kind as i32, peer: Some(convert::peer_to_proto(&c.peer)) }
        })
        .collect();
    pb::MembershipChange { epoch: Some(convert::epoch_to_proto(epoch)), changes }.encode_to_vec()
}

/// Decodes the context of a membership change.
pub fn decode_membership(context: &[u8]) -> Result<(Epoch, Vec<PeerChange>), CommandError> {
    let message = pb::MembershipChange::decode(context).map_err(|e| CommandError(e.to_string()))?;
    let mut changes = Vec::with_capacity(message.changes.len());
    for c in &message.changes {
        let peer = c.peer.as_ref().ok_or_else(|| CommandError("membership change without a peer".into()))?;
        let kind = match peer_change::Kind::try_from(c.kind) {
            Ok(peer_change::Kind::AddNode) => ChangeKind::AddVoter,
            Ok(peer_change::Kind::AddLearner) => ChangeKind::AddLearner,
            Ok(peer_change::Kind::RemoveNode) => ChangeKind::Remove,
            Err(_) => return Err(CommandError(format!("unknown peer change {}", c.kind))),
        };
        changes.push(PeerChange { kind, peer: convert::peer_from_proto(peer) });
    }
    Ok((convert::epoch_from_proto(message.epoch.as_ref()), changes))
}

/// The change as Raft sees it. None leaves the joint state, one is simple, more enter it.
pub fn to_conf_change(changes: &[PeerChange], context: Vec<u8>) -> ConfChangeV2 {
    let mut cc = ConfChangeV2::default();
    if changes.len() > 1 {
        cc.set_transition(ConfChangeTransition::Explicit);
    }
    for change in changes {
        let mut single = ConfChangeSingle::default();
        single.node_id = change.peer.id;
        single.set_change_type(match change.kind {
            ChangeKind::AddVoter => ConfChangeType::AddNode,
            ChangeKind::AddLearner => ConfChangeType::AddLearnerNode,
            ChangeKind::Remove => ConfChangeType::RemoveNode,
        });
        cc.mut_changes().push(single);
    }
    cc.context = context.into();
    cc
}

/// Whether the region is in the joint state.
pub fn is_joint(region: &Region) -> bool {
    region.peers.iter().any(|p| matches!(p.role, PeerRole::IncomingVoter | PeerRole::DemotingVoter))
}

/// The region after a membership change, or why the change does not fit it.
pub fn change_membership(region: &Region, changes: &[PeerChange]) -> Result<Region, String> {
    let mut next = region.clone();
    if changes.is_empty() {
        if !is_joint(region) {
            return Err("not in the joint state".into());
        }
        let mut changed = 0;
        for peer in &mut next.peers {
            match peer.role {
                PeerRole::IncomingVoter => peer.role = PeerRole::Voter,
                PeerRole::DemotingVoter => peer.role = PeerRole::Learner,
                PeerRole::Voter | PeerRole::Learner => continue,
            }
            changed += 1;
        }
        next.epoch.conf_ver += changed;
        return Ok(next);
    }
    if is_joint(region) {
        return Err("in the joint state: leave it first".into());
    }
    let simple = changes.len() == 1;
    for change in changes {
        let store = change.peer.store_id;
        let existing = next.peers.iter().position(|p| p.store_id == store);
        let id_matches = existing.is_some_and(|i| next.peers[i].id == change.peer.id);
        match (existing, change.kind) {
            (Some(i), _) if !id_matches => {
                return Err(format!("store {store} has peer {} of this region already", next.peers[i].id));
            }
            (None, ChangeKind::AddVoter) => {
                let role = if simple { PeerRole::Voter } else { PeerRole::IncomingVoter };
                next.peers.push(Peer { role, ..change.peer });
            }
            (None, ChangeKind::AddLearner) => next.peers.push(Peer { role: PeerRole::Learner, ..change.peer }),
            (None, ChangeKind::Remove) => return Err(format!("no peer {} to remove", change.peer.id)),
            (Some(i), kind) => {
                let role = next.peers[i].role;
                match (role, kind, simple) {
                    (PeerRole::Learner, ChangeKind::AddVoter, true) => next.peers[i].role = PeerRole::Voter,
                    (PeerRole::Learner, ChangeKind::AddVoter, false) => next.peers[i].role = PeerRole::IncomingVoter,
                    (PeerRole::Voter, ChangeKind::AddLearner, true) => next.peers[i].role = PeerRole::Learner,
                    (PeerRole::Voter, ChangeKind::AddLearner, false) => next.peers[i].role = PeerRole::DemotingVoter,
                    (PeerRole::Voter, ChangeKind::Remove, false) => {
                        return Err(format!("voter {} must be demoted before it is removed", change.peer.id));
                    }
                    (_, ChangeKind::Remove, _) => {
                        next.peers.remove(i);
                    }
                    _ => return Err(format!("peer {} is {role:?} already", change.peer.id)),
                }
            }
        }
    }
    next.epoch.conf_ver += changes.len() as u64;
    if !next.peers.iter().any(|p| matches!(p.role, PeerRole::Voter | PeerRole::IncomingVoter)) {
        return Err("no voter would remain".into());
    }
    Ok(next)
}

/// The membership of a region as Raft sees it.
pub fn conf_state(region: &Region) -> ConfState {
    let mut cs = ConfState::default();
    let joint = is_joint(region);
    for peer in &region.peers {
        match peer.role {
            PeerRole::Voter => {
                cs.voters.push(peer.id);
                if joint {
                    cs.voters_outgoing.push(peer.id);
                }
            }
            PeerRole::Learner => cs.learners.push(peer.id),
            PeerRole::IncomingVoter => cs.voters.push(peer.id),
            PeerRole::DemotingVoter => {
                cs.voters_outgoing.push(peer.id);
                cs.learners_next.push(peer.id);
            }
        }
    }
    cs
}

/// The regions after a split: the new ones from left to right, then the original, which keeps the rightmost part.
pub fn split(region: &Region, parts: &[SplitPart]) -> Result<Vec<Region>, String> {
    if parts.is_empty() {
        return Err("no split key".into());
    }
    let version = region.epoch.version + parts.len() as u64;
    let epoch = Epoch { version, ..region.epoch };
    let mut start = region.range.start.clone();
    let mut regions = Vec::with_capacity(parts.len() + 1);
    for part in parts {
        if part.key <= start || !region.range.contains(&part.key) {
            return Err("split keys must be inside the region and in order".into());
        }
        if part.peer_ids.len() != region.peers.len() {
            return Err(format!("{} new peers for {} replicas", part.peer_ids.len(), region.peers.len()));
        }
        let peers = region.peers.iter().zip(&part.peer_ids).map(|(peer, id)| Peer { id: *id, ..*peer }).collect();
        let range = KeyRange::new(std::mem::replace(&mut start, part.key.clone()), part.key.clone());
        regions.push(Region { id: part.region_id, range, epoch, peers });
    }
    regions.push(Region { range: KeyRange::new(start, region.range.end.clone()), epoch, ..region.clone() });
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use net::format::NEWEST;

    use super::*;

    fn region(roles: &[PeerRole]) -> Region {
        let peers =
            roles.iter().enumerate().map(|(i, role)| Peer { id: i as u64 + 11, store_id: i as u64 + 1, role: *role });
        Region {
            id: 1,
            range: KeyRange::new(b"b", b"y"),
            epoch: Epoch { conf_ver: 3, version: 7 },
            peers: peers.collect(),
        }
    }

    #[test]
    fn an_entry_decodes_to_what_was_encoded() {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Write, "k", "v");
        batch.delete(Cf::Lock, "k");
        batch.delete_range(Cf::Default, KeyRange::new("a", "b"));
        let epoch = Epoch { conf_ver: 2, version: 9 };
        let parts = vec![SplitPart { key: b"m".to_vec(), region_id: 4, peer_ids: vec![5, 6] }];
        for format in [NEWEST, NEWEST + 1] {
            let data = encode_write(epoch, batch.clone(), format).unwrap();
            assert_eq!(decode(&data, format).unwrap(), (epoch, Command::Write(batch.clone())));
            let data = encode_split(epoch, &parts, format);
            assert_eq!(decode(&data, format).unwrap(), (epoch, Command::Split(parts.clone())));
        }
    }

    #[test]
    fn a_write_to_the_nodes_own_family_is_refused() {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Raft, "k", "v");
        assert!(encode_write(Epoch::default(), batch, NEWEST).is_err());
    }

    #[test]
    fn an_entry_of_a_later_version_is_refused_and_not_applied_in_part() {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Write, "k", "v");
        let to_come = encode_write(Epoch::default(), batch, NEWEST + 1).unwrap();
        let refused = decode(&to_come, NEWEST).unwrap_err().to_string();
        assert!(refused.contains("is of format 2, and this version reads up to 1"), "{refused}");
        // A change that nobody knows is none that can be left out, whatever the entry says of its format.
        let mut claims_less = pb::Command::decode(&*to_come).unwrap();
        claims_less.format = NEWEST;
        assert!(decode(&claims_less.encode_to_vec(), NEWEST + 1).is_err());
    }

    #[test]
    fn replacing_a_voter_goes_through_the_joint_state() {
        let before = region(&[PeerRole::Voter, PeerRole::Voter, PeerRole::Voter, PeerRole::Learner]);
        let learner = before.peers[3];
        let voter = before.peers[2];
        let joint = change_membership(
            &before,
            &[
                PeerChange { kind: ChangeKind::AddVoter, peer: learner },
                PeerChange { kind: ChangeKind::AddLearner, peer: voter },
            ],
        )
        .unwrap();
        assert!(is_joint(&joint));
        assert_eq!(joint.epoch.conf_ver, 5);
        let cs = conf_state(&joint);
        assert_eq!(cs.voters, [11, 12, 14]);
        assert_eq!(cs.voters_outgoing, [11, 12, 13]);
        assert_eq!(cs.learners_next, [13]);
        let after = change_membership(&joint, &[]).unwrap();
        assert_eq!(after.epoch.conf_ver, 7);
        assert_eq!(after.peers[3].role, PeerRole::Voter);
        assert_eq!(after.peers[2].role, PeerRole::Learner);
    }

    #[test]
    fn a_change_that_does_not_fit_is_refused() {
        let one = region(&[PeerRole::Voter]);
        let me = one.peers[0];
        assert!(change_membership(&one, &[PeerChange { kind: ChangeKind::Remove, peer: me }]).is_err());
        assert!(change_membership(&one, &[]).is_err());
        let other = Peer { id: 99, ..me };
        assert!(change_membership(&one, &[PeerChange { kind: ChangeKind::AddVoter, peer: other }]).is_err());
    }

    #[test]
    fn a_split_keeps_the_right_part_in_the_original() {
        let before = region(&[PeerRole::Voter, PeerRole::Voter]);
        let parts = [
            SplitPart { key: b"d".to_vec(), region_id: 2, peer_ids: vec![21, 22] },
            SplitPart { key: b"k".to_vec(), region_id: 3, peer_ids: vec![31, 32] },
        ];
        let after = split(&before, &parts).unwrap();
        let ranges: Vec<_> = after.iter().map(|r| (r.id, r.range.start.as_slice(), r.range.end.as_slice())).collect();
        assert_eq!(ranges, [(2, &b"b"[..], &b"d"[..]), (3, b"d", b"k"), (1, b"k", b"y")]);
        assert!(after.iter().all(|r| r.epoch == Epoch { conf_ver: 3, version: 9 }));
        assert!(split(&before, &[SplitPart { key: b"b".to_vec(), region_id: 2, peer_ids: vec![1, 2] }]).is_err());
        assert!(split(&before, &[SplitPart { key: b"z".to_vec(), region_id: 2, peer_ids: vec![1, 2] }]).is_err());
    }
}
