//! Applying committed entries: the same on every replica, in the order of the log.
//!
//! The entries of a round go to the engine in as few batches as possible, each with the index it reaches, so that after
//! a crash the log continues exactly where the data ends. A membership change or a split ends the batch, since what
//! follows depends on it. An entry whose epoch is not the region's any more changes nothing, on any replica.

use engine::{Cf, Engine, KeyRange, Modify, WriteBatch};
use proto::meridian_raft::{ApplyState, RegionState, region_state};
use raft::eraftpb::{ConfChange, ConfChangeV2, Entry, EntryType};

use super::command::{self, Command};
use super::convert;
use super::keys;
use super::log::RaftLog;
use super::msg::Job;
use super::peer::{Change, Context, Peer, Proposal, StoreFailure, Waiter};
use super::storage::INIT_INDEX;
use crate::replication::{Peer as PeerMeta, Region, RegionError};

/// The apply state of a region that a split just made.
pub(crate) const INIT_APPLIED: ApplyState = ApplyState { index: INIT_INDEX, term: INIT_INDEX };

pub(crate) fn normal_state(region: &Region, me: &PeerMeta) -> RegionState {
    RegionState {
        phase: region_state::Phase::Normal as i32,
        region: Some(convert::region_to_proto(region)),
        applying: None,
        peer: Some(convert::peer_to_proto(me)),
    }
}

/// Writes not yet handed to the engine, and who waits for them.
#[derive(Default)]
struct Pending {
    batch: WriteBatch,
    answers: Vec<(Waiter, Result<(), RegionError>)>,
    applied: Option<ApplyState>,
}

impl<E: Engine, L: RaftLog> Peer<E, L> {
    pub(crate) fn apply(&mut self, cx: &mut Context<'_, E>, entries: Vec<Entry>) -> Result<(), StoreFailure> {
        let Some(last) = entries.last().map(|e| e.index) else { return Ok(()) };
        if self.damaged {
            self.node.advance_apply_to(last);
            return Ok(());
        }
        let mut pending = Pending::default();
        let mut lease_from = 0;
        let led_before = self.leads_its_term();
        for entry in entries {
            let applied = ApplyState { index: entry.index, term: entry.term };
            let proposal = self.take_proposal(&entry);
            if entry.term == self.term() {
                lease_from = lease_from.max(proposal.as_ref().map_or(0, |p| p.at));
            }
            let waiter = proposal.map_or(Waiter::Nobody, |p| p.waiter);
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {
                    // A new leader's first entry, or a membership change that Raft itself dropped.
                    pending.applied = Some(applied);
                    waiter.fail(RegionError::StaleCommand(self.region_id));
                }
                EntryType::EntryNormal => {
                    let (epoch, command) = {
                        let decoded = command::decode(&entry.data, cx.cfg.format);
                        decoded.map_err(|e| self.bad_entry(e.to_string()))?
                    };
                    match command {
                        Command::Write(batch) => {
                            let result = if epoch.version == self.region().epoch.version {
                                self.count_written(&batch);
                                pending.batch.modifies.extend(batch.modifies);
                                Ok(())
                            } else {
                                Err(self.epoch_not_match())
                            };
                            pending.answers.push((waiter, result));
                            pending.applied = Some(applied);
                        }
                        Command::Split(parts) => {
                            self.flush(cx, &mut pending)?;
                            let fits = epoch == self.region().epoch;
                            let regions = fits.then(|| command::split(self.region(), &parts).ok()).flatten();
                            self.apply_split(cx, applied, regions, waiter)?;
                        }
                    }
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.flush(cx, &mut pending)?;
                    let removed = self.apply_membership(cx, applied, &entry)?;
                    waiter.fail(RegionError::StaleCommand(self.region_id));
                    if removed {
                        return Ok(());
                    }
                }
            }
        }
        self.flush(cx, &mut pending)?;
        self.node.advance_apply_to(last);
        if lease_from > 0 {
            self.extend_lease_from(lease_from);
        }
        if !led_before && self.leads_its_term() {
            // Everything acknowledged by earlier leaders is here now: reads may begin.
            self.ask_reads(cx);
            if self.node.raft.prs().is_singleton() {
                self.extend_lease_from(cx.now);
            }
        }
        self.answer_reads();
        Ok(())
    }

    fn bad_entry(&self, what: String) -> StoreFailure {
        StoreFailure::Entry { region: self.region_id, what }
    }

    fn epoch_not_match(&self) -> RegionError {
        RegionError::EpochNotMatch { region: self.region_id, current: vec![self.region().clone()] }
    }

    fn count_written(&mut self, batch: &WriteBatch) {
        let bytes = batch.size_bytes() as u64;
        let keys = batch.modifies.len() as u64;
        self.traffic.written_bytes += bytes;
        self.traffic.written_keys += keys;
        self.unchecked_bytes += bytes;
        let is_version = |m: &&Modify| matches!(m, Modify::Put(Cf::Write, ..));
        self.delegate.count_versions(batch.modifies.iter().filter(is_version).count() as u64);
        let rows = batch.modifies.iter().filter(|m| matches!(m, Modify::Put(Cf::Write | Cf::Default, ..)));
        for row in rows {
            if let Modify::Put(_, key, value) = row {
                self.size_bytes += (key.len() + value.len()) as u64;
                self.keys_count += 1;
            }
        }
    }

    /// Who proposed the entry here; those whose entries were overwritten are told.
    fn take_proposal(&mut self, entry: &Entry) -> Option<Proposal> {
        while let Some(front) = self.proposals.front() {
            if front.index > entry.index {
                return None;
            }
            let proposal = self.proposals.pop_front()?;
            if proposal.index == entry.index && proposal.term == entry.term {
                return Some(proposal);
            }
            proposal.waiter.fail(RegionError::StaleCommand(self.region_id));
        }
        None
    }

    fn flush(&mut self, cx: &mut Context<'_, E>, pending: &mut Pending) -> Result<(), StoreFailure> {
        let Some(applied) = pending.applied.take() else { return Ok(()) };
        let mut batch = std::mem::take(&mut pending.batch);
        keys::put_apply_state(&mut batch, self.region_id, &applied);
        cx.engine.write(batch)?;
        self.node.mut_store().set_applied(applied);
        for (waiter, result) in pending.answers.drain(..) {
            match (waiter, result) {
                (Waiter::Write(reply), result) => reply.send(result),
                (waiter, Err(e)) => waiter.fail(e),
                (_, Ok(())) => {}
            }
        }
        Ok(())
    }

    /// Applies a membership change; returns whether this peer was removed.
    fn apply_membership(
        &mut self,
        cx: &mut Context<'_, E>,
        applied: ApplyState,
        entry: &Entry,
    ) -> Result<bool, StoreFailure> {
        let change = self.parse_conf_change(entry)?;
        let (epoch, changes) =
            command::decode_membership(&change.context).map_err(|e| self.bad_entry(e.to_string()))?;
        let before = self.region().clone();
        let after = match epoch == before.epoch {
            true => command::change_membership(&before, &changes),
            false => Err(format!("proposed at {epoch:?}, now {:?}", before.epoch)),
        };
        let mut batch = WriteBatch::new();
        keys::put_apply_state(&mut batch, self.region_id, &applied);
        let after = match after {
            Ok(after) => after,
            Err(why) => {
                tracing::info!(region = self.region_id, "membership change refused: {why}");
                cx.engine.write(batch)?;
                self.node.mut_store().set_applied(applied);
                return Ok(false);
            }
        };
        tracing::info!(region = self.region_id, term = entry.term, peers = ?after.peers, epoch = ?after.epoch,
            "membership changed");
        let me = after.peers.iter().find(|p| p.id == self.me.id).copied();
        keys::put_region_state(&mut batch, self.region_id, &normal_state(&after, &me.unwrap_or(self.me)));
        cx.engine.write(batch)?;
        let storage = self.node.mut_store();
        storage.set_applied(applied);
        storage.set_region(after.clone());
        self.node
            .apply_conf_change(&change)
            .map_err(|e| StoreFailure::Raft { region: self.region_id, what: format!("membership: {e}") })?;
        let Some(me) = me else {
            cx.changes.push((self.region_id, Change::Removed));
            return Ok(true);
        };
        self.me = me;
        self.joint_since = command::is_joint(&after).then_some(cx.ticks);
        if self.is_leader() {
            for peer in &after.peers {
                self.heard.entry(peer.id).or_insert(cx.now);
            }
            for gone in before.peers.iter().filter(|p| after.peers.iter().all(|q| q.id != p.id)) {
                self.heard.remove(&gone.id);
                self.send_tombstone(cx, gone);
            }
            self.reported.force();
        }
        self.publish();
        cx.changes.push((self.region_id, Change::Region { before }));
        Ok(false)
    }

    fn parse_conf_change(&self, entry: &Entry) -> Result<ConfChangeV2, StoreFailure> {
        use protobuf::Message as _;
        use raft::prelude::ConfChangeSingle;
        let mut change = ConfChangeV2::default();
        if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
            change.merge_from_bytes(&entry.data).map_err(|e| self.bad_entry(e.to_string()))?;
            return Ok(change);
        }
        let mut simple = ConfChange::default();
        simple.merge_from_bytes(&entry.data).map_err(|e| self.bad_entry(e.to_string()))?;
        let mut single = ConfChangeSingle::default();
        single.node_id = simple.node_id;
        single.set_change_type(simple.get_change_type());
        change.mut_changes().push(single);
        change.context = simple.context.clone();
        Ok(change)
    }

    /// Applies a split. `regions` are the parts, this one last; `None` when the split does not fit any more.
    fn apply_split(
        &mut self,
        cx: &mut Context<'_, E>,
        applied: ApplyState,
        regions: Option<Vec<Region>>,
        waiter: Waiter,
    ) -> Result<(), StoreFailure> {
        let mut batch = WriteBatch::new();
        keys::put_apply_state(&mut batch, self.region_id, &applied);
        let Some(regions) = regions else {
            cx.engine.write(batch)?;
            self.node.mut_store().set_applied(applied);
            waiter.fail(self.epoch_not_match());
            return Ok(());
        };
        let before = self.region().clone();
        let view = cx.engine.snapshot();
        let (mut made, mut skipped) = (Vec::new(), Vec::new());
        for region in &regions {
            if region.id == self.region_id {
                keys::put_region_state(&mut batch, region.id, &normal_state(region, &self.me));
                self.node.mut_store().set_region(region.clone());
                continue;
            }
            let Some(me) = region.peers.iter().find(|p| p.store_id == self.me.store_id) else { continue };
            // This replica may be so far behind that the new region already left this store.
            let left = keys::read_region_state(&view, region.id)?
                .is_some_and(|s| s.phase == region_state::Phase::Tombstone as i32);
            if left {
                skipped.push(region.clone());
                continue;
            }
            keys::put_region_state(&mut batch, region.id, &normal_state(region, me));
            keys::put_apply_state(&mut batch, region.id, &INIT_APPLIED);
            made.push(region.clone());
        }
        drop(view);
        cx.engine.write(batch)?;
        self.node.mut_store().set_applied(applied);
        tracing::info!(region = self.region_id, made = ?made.iter().map(|r| r.id).collect::<Vec<_>>(), "split");
        let share = regions.len() as u64;
        self.size_bytes /= share;
        self.keys_count /= share;
        self.unchecked_bytes = 0;
        self.publish();
        self.reported.force();
        if !skipped.is_empty() {
            let ranges: Vec<KeyRange> = skipped.iter().map(|r| r.range.clone()).collect();
            cx.effects.jobs.push(Job::DeleteRanges { region_id: 0, ranges });
        }
        cx.changes.push((self.region_id, Change::Region { before }));
        cx.changes.push((self.region_id, Change::Split { parent_led: self.is_leader(), regions: made }));
        if let Waiter::Split(reply) = waiter {
            reply.send(Ok(regions));
        }
        Ok(())
    }
}
