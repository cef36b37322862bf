//! The multi-Raft store: many regions, each a Raft group, on one node.
//!
//! ```text
//!   caller ── RaftStoreHandle ── lease? ── engine snapshot                        (handle: reads on the caller's thread)
//!                 │ Msg
//!              Inbox ── Store ── Peer… ── raft-rs                                 (store, peer, apply, admin: pure)
//!                         │ Effects
//!                  driver: raft log, transport, background jobs, PD               (driver, transport, pd: the shell)
//! ```
//! The core ([`store::Store`]) is a value: messages and ticks in, effects out; time, chance, disk and network belong to
//! whoever drives it, which is [`driver`] in a node and a simulation in tests.
//!
//! Not here: versions of keys and transactions (`mvcc`, `txn`), which see regions through `crate::replication` only;
//! where replicas should be (the placement driver). Merging regions is refused by name.
//! Read next: [`store`], then [`peer`].

mod admin;
mod apply;
pub mod command;
pub mod convert;
pub mod driver;
pub mod handle;
mod jobs;
pub mod keys;
pub mod log;
mod metrics;
pub mod msg;
pub mod pd;
pub mod peer;
mod report;
pub mod sim;
pub mod snapshot;
mod sound;
pub mod storage;
pub mod store;
pub mod transport;

#[cfg(test)]
mod tests;

/// What the core needs to know of its configuration. Times are in ticks of `tick_nanos`.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Nanoseconds between two ticks; followers' clocks may run a little faster or slower.
    pub tick_nanos: u64,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader after which a follower may stand for election; it waits up to twice as long.
    pub election_ticks: usize,
    /// Ticks between two reports of an unchanged region.
    pub region_heartbeat_ticks: u64,
    /// Ticks between two reports of the store.
    pub store_heartbeat_ticks: u64,
    /// Ticks between two syncs of the engine, after which logs are truncated.
    pub sync_ticks: u64,
    /// Ticks without a leader after which PD is asked whether the peer still belongs to its region.
    pub leader_missing_ticks: u64,
    /// Silence after which a follower is reported as down, in seconds.
    pub peer_down_secs: u64,
    /// A region is split above this size.
    pub region_bytes_max: u64,
    /// Into parts of this size.
    pub region_bytes_split: u64,
    /// Bytes written to a region before its size is looked at again; zero for never.
    pub split_check_bytes: u64,
    /// Largest entry.
    pub entry_bytes_max: usize,
    /// A log above this size is truncated even if a follower then needs a snapshot.
    pub log_bytes_max: u64,
    /// The newest format of entries that is read ([`net::format`]).
    pub format: u32,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            tick_nanos: 200_000_000,
            heartbeat_ticks: 2,
            election_ticks: 10,
            region_heartbeat_ticks: 50,
            store_heartbeat_ticks: 15,
            sync_ticks: 50,
            leader_missing_ticks: 150,
            peer_down_secs: 30,
            region_bytes_max: 144 << 20,
            region_bytes_split: 96 << 20,
            split_check_bytes: 8 << 20,
            entry_bytes_max: 8 << 20,
            log_bytes_max: 48 << 20,
            format: net::format::NEWEST,
        }
    }
}

impl StoreConfig {
    /// How long a quorum's answer keeps other leaders away. A follower votes for nobody else for `election_ticks`, the
    /// first of which may be due at once; what remains is cut by a tenth for clocks that do not run alike.
    pub fn lease_nanos(&self) -> u64 {
        (self.election_ticks as u64).saturating_sub(1) * self.tick_nanos / 10 * 9
    }
}
