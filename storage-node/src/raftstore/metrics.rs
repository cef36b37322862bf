//! What the Raft store counts. Units are in the names.

use std::sync::LazyLock;

use net::metrics::{Histogram, IntCounter, IntGauge};

/// Time of one log write with its sync, for all regions that were ready.
pub(super) static SYNC: LazyLock<Histogram> =
    LazyLock::new(|| net::metrics::seconds("storage_node_raft_log_sync_seconds", "one write and sync of the raft log"));
/// Time of applying what one round committed.
pub(super) static APPLY: LazyLock<Histogram> =
    LazyLock::new(|| net::metrics::seconds("storage_node_raft_apply_seconds", "applying what one round committed"));
/// Messages of other stores that were dropped because a queue was full or the store unreachable.
pub(super) static DROPPED: LazyLock<IntCounter> = LazyLock::new(|| {
    net::metrics::counter("storage_node_raft_messages_dropped_total", "raft messages that could not be queued")
});
/// Regions with a peer here.
pub(super) static REGIONS: LazyLock<IntGauge> =
    LazyLock::new(|| net::metrics::gauge("storage_node_regions", "regions with a peer on this node"));

/// Messages handled per round: how much is gathered under one sync.
pub(super) static INBOX: LazyLock<Inbox> = LazyLock::new(|| Inbox {
    rounds: net::metrics::counter("storage_node_raft_rounds_total", "rounds of the raft store"),
    messages: net::metrics::counter("storage_node_raft_inbox_messages_total", "messages handled by the raft store"),
});

/// Counts rounds and the messages in them.
pub(super) struct Inbox {
    rounds: IntCounter,
    messages: IntCounter,
}

impl Inbox {
    /// Counts a round.
    pub(super) fn observe(&self, messages: usize) {
        self.rounds.inc();
        self.messages.inc_by(messages as u64);
    }
}
