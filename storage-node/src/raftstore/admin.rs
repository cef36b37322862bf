//! Changes of a region itself: membership, leader, bounds. PD decides, the leader proposes, everybody applies.

use engine::Engine;
use proto::pdpb;
use proto::raft_serverpb::RaftMessage;

use super::command::{self, ChangeKind, PeerChange, SplitPart};
use super::convert;
use super::log::RaftLog;
use super::msg::{Job, PdTask, Reply};
use super::peer::{Change, Context, Peer, Waiter};
use crate::replication::{Peer as PeerMeta, PeerRole, Region, RegionContext, RegionError};

/// How long a region may stay in the joint state before its leader ends it, in election timeouts: PD does it sooner.
const JOINT_TIMEOUTS: u64 = 2;

impl<E: Engine, L: RaftLog> Peer<E, L> {
    /// What a leader does at each tick besides Raft's own.
    pub(crate) fn tick_leader(&mut self, cx: &mut Context<'_, E>) {
        let patience = JOINT_TIMEOUTS * cx.cfg.election_ticks as u64;
        if self.joint_since.is_some_and(|since| since + patience <= cx.ticks) {
            self.joint_since = Some(cx.ticks);
            self.change_peers(Vec::new());
        }
        if cx.cfg.split_check_bytes > 0 && self.unchecked_bytes >= cx.cfg.split_check_bytes {
            self.check_split(cx, false);
        }
        self.maybe_report(cx);
    }

    pub(crate) fn check_split(&mut self, cx: &mut Context<'_, E>, halve: bool) {
        if self.split_checking || !self.is_initialized() {
            return;
        }
        self.split_checking = true;
        self.unchecked_bytes = 0;
        cx.effects.jobs.push(Job::SplitCheck {
            region: self.region().clone(),
            halve,
            bytes_max: cx.cfg.region_bytes_max,
            bytes_split: cx.cfg.region_bytes_split,
        });
    }

    /// Executes what PD answered to a heartbeat.
    pub(crate) fn on_pd_command(&mut self, cx: &mut Context<'_, E>, command: pdpb::RegionHeartbeatResponse) {
        if !self.is_leader() {
            return;
        }
        let sent = convert::epoch_from_proto(command.region_epoch.as_ref());
        let current = self.region().epoch;
        if let Some(target) = &command.transfer_leader {
            let named = target.peers.iter().chain(target.peer.as_ref());
            let to = named.map(convert::peer_from_proto).find(|p| p.id != self.me.id);
            if let Some(to) = to {
                self.transfer_leader(&to);
            }
            return;
        }
        if sent != current && (command.change_peer.is_some() || command.change_peer_v2.is_some()) {
            tracing::info!(region = self.region_id, ?sent, ?current, "PD's command is for another epoch");
            self.reported.force();
            return;
        }
        if let Some(change) = command.change_peer {
            let changes = change_from_proto(&change).into_iter().collect::<Vec<_>>();
            if !changes.is_empty() {
                self.change_peers(changes);
            }
        } else if let Some(change) = command.change_peer_v2 {
            let changes: Vec<_> = change.changes.iter().filter_map(change_from_proto).collect();
            if changes.len() == change.changes.len() {
                self.change_peers(changes);
            }
        } else if let Some(split) = command.split_region {
            if split.policy() == pdpb::CheckPolicy::Usekey {
                let ctx = RegionContext { region_id: self.region_id, epoch: current, ..Default::default() };
                cx.changes.push((self.region_id, Change::WantSplit { ctx, keys: split.keys }));
            } else {
                self.check_split(cx, true);
            }
        } else if command.merge.is_some() {
            tracing::warn!(region = self.region_id, "PD asked for a merge, which is not supported");
        }
    }

    /// Hands leadership to another voter.
    pub(crate) fn transfer_leader(&mut self, to: &PeerMeta) {
        let votes = |role| matches!(role, PeerRole::Voter | PeerRole::IncomingVoter);
        if !self.region().peers.iter().any(|p| p.id == to.id && votes(p.role)) || to.id == self.me.id {
            tracing::info!(region = self.region_id, to = to.id, "cannot lead: not another voter");
            return;
        }
        tracing::info!(region = self.region_id, term = self.term(), to = to.id, "handing over leadership");
        self.node.transfer_leader(to.id);
    }

    /// Proposes a membership change; an empty one leaves the joint state.
    pub(crate) fn change_peers(&mut self, changes: Vec<PeerChange>) {
        let region = self.region().clone();
        let refused = |why: &str| tracing::info!(region = region.id, ?changes, "membership change refused: {why}");
        if self.node.raft.has_pending_conf() || !self.leads_its_term() {
            return refused("another one is under way");
        }
        let after = match command::change_membership(&region, &changes) {
            Ok(after) => after,
            Err(why) => return refused(&why),
        };
        // A leader never votes itself out: it hands over first, and PD repeats the command to the next one.
        let stays = after
            .peers
            .iter()
            .any(|p| p.id == self.me.id && matches!(p.role, PeerRole::Voter | PeerRole::IncomingVoter));
        if !stays {
            let progress = self.node.raft.prs();
            let matched = |p: &&PeerMeta| progress.get(p.id).map_or(0, |pr| pr.matched);
            let voters = after.peers.iter().filter(|p| p.role == PeerRole::Voter && p.id != self.me.id);
            let to = voters.filter(|p| progress.get(p.id).is_some_and(|pr| pr.recent_active)).max_by_key(matched);
            refused("it removes the leader; handing over first");
            if let Some(to) = to.copied() {
                self.transfer_leader(&to);
            }
            return;
        }
        let context = command::encode_membership(region.epoch, &changes);
        let conf_change = command::to_conf_change(&changes, context);
        if let Err(e) = self.node.propose_conf_change(Vec::new(), conf_change) {
            refused(&e.to_string());
        }
    }

    /// Whether a split at these keys may be asked for. Returns the keys that are not boundaries already, in order.
    pub(crate) fn check_split_keys(
        &self,
        ctx: &RegionContext,
        mut keys: Vec<Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, RegionError> {
        self.check(ctx, self.me.store_id)?;
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        let region = self.region();
        keys.sort();
        keys.dedup();
        keys.retain(|k| *k != region.range.start && !k.is_empty() && *k != region.range.end);
        match keys.iter().find(|k| !region.range.contains(k)) {
            Some(key) => Err(RegionError::KeyNotInRegion { key: key.clone(), region: region.clone() }),
            None => Ok(keys),
        }
    }

    /// Proposes a split with the ids that PD gave.
    pub(crate) fn split(
        &mut self,
        cx: &mut Context<'_, E>,
        region: &Region,
        keys: Vec<Vec<u8>>,
        ids: Vec<pdpb::SplitId>,
        reply: Option<Reply<Vec<Region>>>,
    ) {
        let waiter = reply.map_or(Waiter::Nobody, Waiter::Split);
        if !self.is_leader() {
            return waiter.fail(self.not_leader());
        }
        if self.region().epoch != region.epoch {
            let current = vec![self.region().clone()];
            return waiter.fail(RegionError::EpochNotMatch { region: self.region_id, current });
        }
        let parts: Vec<SplitPart> = keys
            .into_iter()
            .zip(ids)
            .map(|(key, id)| SplitPart { key, region_id: id.new_region_id, peer_ids: id.new_peer_ids })
            .collect();
        if let Err(why) = command::split(self.region(), &parts) {
            tracing::warn!(region = self.region_id, "split refused: {why}");
            return waiter.fail(RegionError::StaleCommand(self.region_id));
        }
        let data = command::encode_split(self.region().epoch, &parts, cx.format);
        self.propose(cx, data, waiter);
    }

    /// Tells a peer that it is not a member any more.
    pub(crate) fn send_tombstone(&self, cx: &mut Context<'_, E>, to: &PeerMeta) {
        cx.effects.messages.push(tombstone(self.region(), &self.me, to));
    }
}

/// The message that tells a peer that it is not a member any more.
pub(crate) fn tombstone(region: &Region, from: &PeerMeta, to: &PeerMeta) -> RaftMessage {
    RaftMessage {
        region_id: region.id,
        from_peer: Some(convert::peer_to_proto(from)),
        to_peer: Some(convert::peer_to_proto(to)),
        region_epoch: Some(convert::epoch_to_proto(region.epoch)),
        is_tombstone: true,
        ..Default::default()
    }
}

fn change_from_proto(change: &pdpb::ChangePeer) -> Option<PeerChange> {
    use proto::eraftpb::ConfChangeType;
    let peer = convert::peer_from_proto(change.peer.as_ref()?);
    let kind = match change.change_type() {
        ConfChangeType::AddNode => ChangeKind::AddVoter,
        ConfChangeType::RemoveNode => ChangeKind::Remove,
        ConfChangeType::AddLearnerNode => ChangeKind::AddLearner,
    };
    Some(PeerChange { kind, peer })
}

/// Asks PD for the ids of a split.
pub(crate) fn ask_split(token: u64, region: &Region, count: usize) -> PdTask {
    PdTask::AskSplit { token, region: region.clone(), count: count as u32 }
}
