//! What a leader tells PD about its region, and when: at once when something changed that PD acts on, else now and then.

use engine::Engine;
use proto::pdpb;

use super::convert;
use super::log::RaftLog;
use super::msg::PdTask;
use super::peer::{Context, Peer};
use crate::replication::{Epoch, Peer as PeerMeta};

/// What the last report said, so that the next is sent when it would differ.
#[derive(Default)]
pub(crate) struct Reported {
    forced: bool,
    tick: u64,
    at: u64,
    epoch: Epoch,
    pending: Vec<u64>,
    down: Vec<u64>,
}

impl Reported {
    /// The next tick or round reports.
    pub(crate) fn force(&mut self) {
        self.forced = true;
    }
}

impl<E: Engine, L: RaftLog> Peer<E, L> {
    /// The peers that wait for a snapshot or are behind what is still in the log.
    fn pending_peers(&self) -> Vec<PeerMeta> {
        let truncated = self.node.store().truncated_index();
        let progress = self.node.raft.prs();
        let peers = self.region().peers.iter().filter(|p| p.id != self.me.id);
        peers.filter(|p| progress.get(p.id).is_some_and(|pr| pr.matched < truncated)).copied().collect()
    }

    fn down_peers(&self, cx: &Context<'_, E>) -> Vec<pdpb::PeerStats> {
        let mut down = Vec::new();
        for peer in &self.region().peers {
            let Some(heard) = self.heard.get(&peer.id) else { continue };
            let seconds = cx.now.saturating_sub(*heard) / 1_000_000_000;
            if peer.id != self.me.id && seconds >= cx.cfg.peer_down_secs {
                down.push(pdpb::PeerStats { peer: Some(convert::peer_to_proto(peer)), down_seconds: seconds });
            }
        }
        down
    }

    /// Reports if there is something new, or it is time.
    pub(crate) fn maybe_report(&mut self, cx: &mut Context<'_, E>) {
        if !self.is_leader() || !self.is_initialized() {
            return;
        }
        let due = self.reported.forced
            || self.reported.tick + cx.cfg.region_heartbeat_ticks <= cx.ticks
            || self.reported.epoch != self.region().epoch;
        let pending = self.pending_peers();
        let down = self.down_peers(cx);
        let pending_ids: Vec<u64> = pending.iter().map(|p| p.id).collect();
        let down_ids: Vec<u64> = down.iter().filter_map(|s| s.peer.as_ref()).map(|p| p.id).collect();
        if !due && pending_ids == self.reported.pending && down_ids == self.reported.down {
            return;
        }
        let traffic = std::mem::take(&mut self.traffic);
        let seconds_since = |at: u64| at / 1_000_000_000;
        let heartbeat = pdpb::RegionHeartbeatRequest {
            region: Some(convert::region_to_proto(self.region())),
            leader: Some(convert::peer_to_proto(&self.me)),
            down_peers: down,
            pending_peers: pending.iter().map(convert::peer_to_proto).collect(),
            bytes_written: traffic.written_bytes,
            keys_written: traffic.written_keys,
            approximate_size: self.size_bytes,
            approximate_keys: self.keys_count,
            interval: Some(pdpb::TimeInterval {
                start_timestamp: seconds_since(self.reported.at),
                end_timestamp: seconds_since(cx.now),
            }),
            term: self.term(),
            ..Default::default()
        };
        self.reported = Reported {
            forced: false,
            tick: cx.ticks,
            at: cx.now,
            epoch: self.region().epoch,
            pending: pending_ids,
            down: down_ids,
        };
        cx.effects.pd.push(PdTask::RegionHeartbeat(Box::new(heartbeat)));
    }
}
