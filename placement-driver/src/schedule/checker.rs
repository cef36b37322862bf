//! The rule checker: what is wrong with a region's replicas, worst first, and the operator that mends it.
//!
//! Order: split at rule boundaries; per rule a missing replica, a replica on a store that must be left, a wrong role;
//! then replicas that are too many; last, a better place. Redundancy is never reduced to gain it: a replica goes only
//! when every rule has all of its replicas and none of them is lagging.

use super::View;
use super::operator::{Operator, Priority, Step};
use crate::cluster::model::{Peer, Region, Store};
use crate::placement::fit::{RegionFit, RuleFit, fit, isolation};
use crate::placement::rule::RuleRole;
use crate::placement::rules::RuleSet;

/// Allocates a peer id; `None` when none can be had now.
pub type AllocId<'a> = &'a mut dyn FnMut() -> Option<u64>;

/// What a region's state says to somebody who waits for its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Every rule is met.
    Replicated,
    /// Not yet, and something can be done about it.
    InProgress,
    /// Not yet, and nothing can be done now: no store meets a rule, or the region has no leader.
    Pending,
}

/// How the region stands to its rules.
pub fn region_fit(region: &Region, rules: &RuleSet, view: &View<'_>) -> RegionFit {
    fit(region, &rules.rules_at(&region.start_key), &|id| view.store(id).cloned())
}

/// Tells whether the rules are met, for SHOW PLACEMENT. A region that lies across a rule boundary is not there yet.
pub fn replication(region: &Region, rules: &RuleSet, view: &View<'_>) -> Replication {
    let split = !rules.split_keys(&region.start_key, &region.end_key).is_empty();
    let fit = region_fit(region, rules, view);
    if !split && fit.is_satisfied() && region.leader_peer().is_some() {
        return Replication::Replicated;
    }
    let stuck =
        |f: &RuleFit| f.missing() > 0 && fit.orphans.is_empty() && choose_store(region, f, None, view).is_none();
    if region.leader_peer().is_none() || (!split && fit.rules.iter().any(stuck)) {
        return Replication::Pending;
    }
    Replication::InProgress
}

/// The operator that brings the region nearer to its rules, if one is needed and possible.
pub fn check(region: &Region, rules: &RuleSet, view: &View<'_>, alloc_id: AllocId<'_>) -> Option<Operator> {
    let leader = region.leader_peer()?;
    // The store leaves joint consensus by itself; nothing is added on top of it.
    if region.is_in_joint_state() {
        return None;
    }
    let operator =
        |description: &str, steps| Some(Operator::new(description, region, Priority::Rule, steps, view.now_ms));
    let keys = rules.split_keys(&region.start_key, &region.end_key);
    if !keys.is_empty() {
        return operator("split at the rules' boundaries", vec![Step::Split { keys }]);
    }
    let fit = region_fit(region, rules, view);
    for rule in &fit.rules {
        if rule.missing() > 0
            && let Some(store) = choose_store(region, rule, None, view)
        {
            return operator("add a missing replica", add_steps(store.id, rule.rule.role, alloc_id()?));
        }
    }
    for rule in &fit.rules {
        for peer in rule.peers.iter().filter(|p| view.must_be_left(p.store_id)) {
            if let Some(store) = choose_store(region, rule, Some(peer), view) {
                let mut steps = add_steps(store.id, rule.rule.role, alloc_id()?);
                if peer.id == leader.id {
                    steps.push(Step::TransferLeader { to_store: next_leader(region, &fit, view, peer)?.store_id });
                }
                steps.push(Step::RemovePeer { store_id: peer.store_id, peer_id: peer.id });
                return operator("replace a replica on a lost store", steps);
            }
        }
    }
    for rule in &fit.rules {
        for peer in &rule.wrong_role {
            if peer.is_learner() {
                if !region.is_pending(peer.id) && view.is_healthy(peer.store_id) {
                    let step = Step::PromoteLearner { store_id: peer.store_id, peer_id: peer.id };
                    return operator("promote a learner", vec![step]);
                }
            } else if rule.rule.role == RuleRole::Leader {
                if view.can_lead_now(region, peer) {
                    let step = Step::TransferLeader { to_store: peer.store_id };
                    return operator("bring the leader to its place", vec![step]);
                }
            } else if let Some(next) = next_leader(region, &fit, view, peer) {
                let step = Step::TransferLeader { to_store: next.store_id };
                return operator("take the leadership from a follower's place", vec![step]);
            }
        }
    }
    // While a replica is missing, the others are kept, except one that stands where the missing one is to be and
    // cannot become it: a voter in a learner's place.
    let blocks = |f: &RuleFit, orphan: &Peer| {
        !f.rule.role.can_become(orphan) && view.store(orphan.store_id).is_some_and(|s| f.rule.matches_store(s))
    };
    let missing: Vec<&RuleFit> = fit.rules.iter().filter(|f| f.missing() > 0).collect();
    let removable: Vec<&Peer> = fit.orphans.iter().filter(|o| missing.iter().all(|f| blocks(f, o))).collect();
    if let Some(operator) = remove_orphan(region, &fit, view, leader, removable) {
        return Some(operator);
    }
    if missing.is_empty() && fit.orphans.is_empty() {
        return better_place(region, &fit, view, leader, alloc_id);
    }
    None
}

fn add_steps(store_id: u64, role: RuleRole, peer_id: u64) -> Vec<Step> {
    let mut steps = vec![Step::AddLearner { store_id, peer_id }];
    if role != RuleRole::Learner {
        steps.push(Step::PromoteLearner { store_id, peer_id });
    }
    steps
}

/// A peer that may lead in the place of `instead_of`, the one on the least loaded store first.
fn next_leader<'a>(region: &'a Region, fit: &RegionFit, view: &View<'_>, instead_of: &Peer) -> Option<&'a Peer> {
    let able = |peer: &&Peer| peer.id != instead_of.id && view.can_lead_now(region, peer);
    let allowed = region.peers.iter().filter(able).filter(|p| fit.may_lead(p));
    allowed.min_by_key(|p| (view.region_count(p.store_id), p.store_id))
}

/// The best store for one more replica of the rule, in the place of `instead_of` if given: as isolated as can be from
/// the rule's other replicas, then the emptiest.
fn choose_store<'a>(region: &Region, rule: &RuleFit, instead_of: Option<&Peer>, view: &View<'a>) -> Option<&'a Store> {
    let others: Vec<&Store> = (rule.peers.iter())
        .filter(|p| instead_of.is_none_or(|gone| gone.id != p.id))
        .filter_map(|p| view.store(p.store_id))
        .collect();
    let level = &rule.rule.isolation_level;
    let isolated_enough =
        |store: &Store| level.is_empty() || others.iter().all(|other| other.label(level) != store.label(level));
    let score = |store: &Store| {
        let mut group = others.clone();
        group.push(store);
        isolation(&rule.rule.location_labels, &group)
    };
    (view.stores.values())
        .filter(|store| view.is_healthy(store.id) && region.peer_on(store.id).is_none())
        .filter(|store| rule.rule.matches_store(store) && isolated_enough(store))
        .max_by_key(|store| (score(store), std::cmp::Reverse((view.region_count(store.id), store.id))))
}

fn remove_orphan(
    region: &Region,
    fit: &RegionFit,
    view: &View<'_>,
    leader: &Peer,
    mut orphans: Vec<&Peer>,
) -> Option<Operator> {
    let lagging = |p: &Peer| region.is_pending(p.id) || region.is_down(p.id) || view.must_be_left(p.store_id);
    let rules_are_served = fit.rules.iter().flat_map(|f| &f.peers).all(|p| !lagging(p));
    // A replica that does not help goes first, and may go at any time.
    orphans.retain(|p| rules_are_served || lagging(p));
    orphans.sort_by_key(|p| (!lagging(p), p.id == leader.id, p.id));
    let orphan = orphans.first()?;
    let mut steps = Vec::new();
    if orphan.id == leader.id {
        steps.push(Step::TransferLeader { to_store: next_leader(region, fit, view, orphan)?.store_id });
    }
    steps.push(Step::RemovePeer { store_id: orphan.store_id, peer_id: orphan.id });
    Some(Operator::new("remove a replica that is too many", region, Priority::Rule, steps, view.now_ms))
}

/// Moves a replica when that sets the rule's replicas further apart.
fn better_place(
    region: &Region,
    fit: &RegionFit,
    view: &View<'_>,
    leader: &Peer,
    alloc_id: AllocId<'_>,
) -> Option<Operator> {
    for rule in fit.rules.iter().filter(|f| !f.rule.location_labels.is_empty()) {
        for peer in &rule.peers {
            let Some(store) = choose_store(region, rule, Some(peer), view) else { continue };
            let mut moved: Vec<&Store> =
                (rule.peers.iter()).filter(|p| p.id != peer.id).filter_map(|p| view.store(p.store_id)).collect();
            moved.push(store);
            if isolation(&rule.rule.location_labels, &moved) > rule.isolation {
                let steps = move_steps(region, fit, view, leader, peer, store.id, rule.rule.role, alloc_id()?)?;
                return Some(Operator::new("move a replica further away", region, Priority::Rule, steps, view.now_ms));
            }
        }
    }
    None
}

/// The steps that move `peer` to another store.
#[allow(clippy::too_many_arguments)] // what a move is made of; a struct would only rename them
pub(super) fn move_steps(
    region: &Region,
    fit: &RegionFit,
    view: &View<'_>,
    leader: &Peer,
    peer: &Peer,
    to_store: u64,
    role: RuleRole,
    peer_id: u64,
) -> Option<Vec<Step>> {
    let mut steps = add_steps(to_store, role, peer_id);
    if peer.id == leader.id {
        // The new replica leads where the old one did, if its rule says that it must.
        let heir = match role {
            RuleRole::Leader => to_store,
            _ => next_leader(region, fit, view, peer).map_or(to_store, |p| p.store_id),
        };
        steps.push(Step::TransferLeader { to_store: heir });
    }
    steps.push(Step::RemovePeer { store_id: peer.store_id, peer_id: peer.id });
    Some(steps)
}
