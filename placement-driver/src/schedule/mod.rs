//! Moving replicas and leaders to where the rules want them, one operator per region at a time.
//!
//! *Policy* is the rule set, *observed* is the last heartbeat; [`checker`] compares the two and makes an
//! [`operator::Operator`] that closes the gap, [`schedulers`] make those that even out the load, and the
//! [`controller`] hands the current step of each to its region's leader until heartbeats show it done.
//!
//! Everything here is pure: time is a `now_ms` argument, ids come from a closure, instructions are returned.
//! Not here: timers, heartbeat streams, persistence. Operators are not saved: a new PD leader makes them again.

pub mod checker;
pub mod controller;
pub mod operator;
pub mod schedulers;

use std::collections::BTreeMap;

use crate::cluster::model::{Liveness, Peer, Region, Store, StoreState};

/// A store that balancing may use has reported within this time: two of its heartbeats, 3 s apart.
const STORE_FRESH_MS: u64 = 6_500;

/// The stores as scheduling sees them at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// All stores that are not tombstones.
    pub stores: &'a BTreeMap<u64, Store>,
    /// Replicas per store, for choosing the emptier one.
    pub region_counts: &'a BTreeMap<u64, usize>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// A store's replicas are rebuilt elsewhere after this long without a heartbeat.
    pub store_down_ms: u64,
}

impl View<'_> {
    fn store(&self, id: u64) -> Option<&Store> {
        self.stores.get(&id)
    }

    /// Whether the store may get new peers and leaders.
    fn is_healthy(&self, store_id: u64) -> bool {
        self.store(store_id)
            .is_some_and(|s| s.state == StoreState::Up && s.liveness(self.now_ms, self.store_down_ms) == Liveness::Up)
    }

    /// Whether the store reported so lately that it surely lives: balancing is never urgent, and a leader handed to a
    /// store that has just died costs an election.
    fn is_fresh(&self, store_id: u64) -> bool {
        self.is_healthy(store_id)
            && self.store(store_id).is_some_and(|s| self.now_ms.saturating_sub(s.last_heartbeat_ms) <= STORE_FRESH_MS)
    }

    /// Whether the store's replicas must be moved away.
    fn must_be_left(&self, store_id: u64) -> bool {
        self.store(store_id)
            .is_none_or(|s| s.state != StoreState::Up || s.liveness(self.now_ms, self.store_down_ms) == Liveness::Down)
    }

    /// Whether the peer could take over the leadership right now.
    fn can_lead_now(&self, region: &Region, peer: &Peer) -> bool {
        !peer.is_learner() && !region.is_pending(peer.id) && !region.is_down(peer.id) && self.is_healthy(peer.store_id)
    }

    fn region_count(&self, store_id: u64) -> usize {
        self.region_counts.get(&store_id).copied().unwrap_or(0)
    }
}
