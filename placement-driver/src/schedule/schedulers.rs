//! Evening out: leaders and replicas move from the fullest store to the emptiest, as far as the rules allow it.
//!
//! A move is made only when it leaves the two stores closer together and every rule as well served as before, so
//! that the schedulers never work against the checker (tikv/pd#11275 tells what happens otherwise).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::View;
use super::checker::{AllocId, move_steps, region_fit};
use super::controller::Controller;
use super::operator::{Operator, Priority, Step};
use crate::cluster::model::Region;
use crate::placement::fit::fit;
use crate::placement::rules::RuleSet;

/// Two stores count as even while they differ by less than this.
const IMBALANCE_MIN: usize = 2;
/// Regions looked at per call: a bound on the time that one call takes.
const REGIONS_TRIED_MAX: usize = 512;

/// The operator that moves one leader from the store with most leaders to one with fewer.
pub fn balance_leader<'a>(
    regions: impl Iterator<Item = &'a Region> + Clone,
    rules: &RuleSet,
    view: &View<'_>,
    busy: &Controller,
) -> Option<Operator> {
    let mut leaders: BTreeMap<u64, usize> = view.stores.keys().map(|id| (*id, 0)).collect();
    for region in regions.clone() {
        if let Some(count) = region.leader_peer().and_then(|p| leaders.get_mut(&p.store_id)) {
            *count += 1;
        }
    }
    for (from, to) in uneven_pairs(&leaders, view) {
        let led = regions.clone().filter(|r| r.leader_peer().is_some_and(|p| p.store_id == from));
        for region in led.filter(|r| !busy.is_busy(r.id)).take(REGIONS_TRIED_MAX) {
            let Some(peer) = region.peer_on(to).filter(|p| view.can_lead_now(region, p)) else { continue };
            let now = region_fit(region, rules, view);
            let moved = Region { leader: Some(peer.id), ..region.clone() };
            if !now.may_lead(peer) || region_fit(&moved, rules, view).compare(&now) == Ordering::Less {
                continue;
            }
            let steps = vec![Step::TransferLeader { to_store: to }];
            return Some(Operator::new("balance leaders", region, Priority::Balance, steps, view.now_ms));
        }
    }
    None
}

/// The operator that moves one replica from the store with most replicas to one with fewer.
pub fn balance_region<'a>(
    regions: impl Iterator<Item = &'a Region> + Clone,
    rules: &RuleSet,
    view: &View<'_>,
    busy: &Controller,
    alloc_id: AllocId<'_>,
) -> Option<Operator> {
    let counts: BTreeMap<u64, usize> = view.stores.keys().map(|id| (*id, view.region_count(*id))).collect();
    for (from, to) in uneven_pairs(&counts, view) {
        let held = regions.clone().filter(|r| r.peer_on(from).is_some() && r.peer_on(to).is_none());
        for region in held.filter(|r| !busy.is_busy(r.id)).take(REGIONS_TRIED_MAX) {
            let (Some(leader), Some(peer)) = (region.leader_peer(), region.peer_on(from)) else { continue };
            let healthy =
                region.pending_peers.is_empty() && region.down_peers.is_empty() && !region.is_in_joint_state();
            let now = region_fit(region, rules, view);
            if !healthy || !now.is_satisfied() {
                continue;
            }
            let Some(role) = now.rule_of(peer.id).map(|f| f.rule.role) else { continue };
            let mut moved = region.clone();
            for p in moved.peers.iter_mut().filter(|p| p.id == peer.id) {
                p.store_id = to;
            }
            let after = fit(&moved, &rules.rules_at(&region.start_key), &|id| view.store(id).cloned());
            if after.compare(&now) == Ordering::Less || !after.is_satisfied() {
                continue;
            }
            let steps = move_steps(region, &now, view, leader, peer, to, role, alloc_id()?)?;
            return Some(Operator::new("balance regions", region, Priority::Balance, steps, view.now_ms));
        }
    }
    None
}

/// Pairs of stores worth evening out, the widest gap first. Both must be healthy: a store in trouble is the checker's
/// business.
fn uneven_pairs(counts: &BTreeMap<u64, usize>, view: &View<'_>) -> Vec<(u64, u64)> {
    let healthy: Vec<(u64, usize)> = counts.iter().map(|(k, v)| (*k, *v)).filter(|(s, _)| view.is_fresh(*s)).collect();
    let mut pairs = Vec::new();
    for (from, many) in &healthy {
        for (to, few) in &healthy {
            if *many >= few + IMBALANCE_MIN {
                pairs.push((many - few, *from, *to));
            }
        }
    }
    pairs.sort_by_key(|(gap, from, to)| (std::cmp::Reverse(*gap), *from, *to));
    pairs.into_iter().map(|(_, from, to)| (from, to)).collect()
}
