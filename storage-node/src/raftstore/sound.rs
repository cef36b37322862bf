//! Which messages of other stores Raft may be given. It takes its peers' word for much and stops the process where that
//! cannot be true; a message is bytes from the network, and a broken sender must not stop its receivers.
//!
//! Every rule here holds of each message that a working peer sends, so that nothing of use is lost. Against a peer that
//! lies within these rules there is no help but to know who is talking (TLS).

use raft::eraftpb::{ConfState, Message, MessageType};
use raft::{Raft, Storage};

use crate::replication::{PeerRole, Region};

/// Indexes and terms beyond this were never reached by counting, and adding to them could overflow.
const COUNT_MAX: u64 = u64::MAX >> 1;
/// Terms that a peer may be behind: elections, one a second for a century.
const TERMS_AHEAD_MAX: u64 = 1 << 32;

/// Why Raft must not be given the message; `None` when it may.
pub(crate) fn refuse<S: Storage>(raft: &Raft<S>, m: &Message) -> Option<&'static str> {
    let log = &raft.raft_log;
    let last = log.last_index();
    if m.term.saturating_sub(raft.term) > TERMS_AHEAD_MAX {
        return Some("its term is far ahead");
    }
    if [m.index, m.log_term, m.commit, m.commit_term, m.reject_hint, m.request_snapshot].iter().any(|n| *n > COUNT_MAX)
    {
        return Some("its numbers are too large");
    }
    match m.get_msg_type() {
        MessageType::MsgPropose => Some("proposals come from this store only"),
        MessageType::MsgHeartbeat if m.commit > last => Some("it commits what is not there"),
        MessageType::MsgAppend => {
            let consecutive = m.entries.iter().zip(m.index + 1..).all(|(e, index)| e.index == index);
            let mut term = m.log_term;
            let rising = m.entries.iter().all(|e| std::mem::replace(&mut term, e.term) <= e.term && e.term <= m.term);
            if !consecutive || !rising {
                return Some("its entries are no part of a log");
            }
            // What is committed here the leader has: what it sends after that is no older.
            let old = m.index >= log.committed && log.term(log.committed).is_ok_and(|term| m.log_term < term);
            old.then_some("it is older than what is committed")
        }
        MessageType::MsgAppendResponse if !m.reject && m.index > last => Some("it acknowledges what was not sent"),
        MessageType::MsgAppendResponse if m.request_snapshot > last => Some("it asks for what is not there"),
        MessageType::MsgReadIndex | MessageType::MsgReadIndexResp if m.entries.len() != 1 => {
            Some("a question is one entry")
        }
        MessageType::MsgSnapshot if m.get_snapshot().get_metadata().index > COUNT_MAX => {
            Some("its numbers are too large")
        }
        _ => None,
    }
}

/// Whether a snapshot's membership is that of its region, and one that a region can have.
pub(crate) fn fits(region: &Region, told: &ConfState) -> bool {
    let voters = region.peers.iter().filter(|p| matches!(p.role, PeerRole::Voter | PeerRole::IncomingVoter)).count();
    let distinct = |of: fn(&crate::replication::Peer) -> u64| {
        let mut all: Vec<u64> = region.peers.iter().map(of).collect();
        all.sort_unstable();
        all.windows(2).all(|pair| pair[0] != pair[1]) && all.first().is_none_or(|id| *id != 0)
    };
    let same = |a: &[u64], b: &[u64]| {
        let sorted = |ids: &[u64]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        sorted(a) == sorted(b)
    };
    let expected = super::command::conf_state(region);
    voters > 0
        && !region.range.is_empty()
        && distinct(|p| p.id)
        && distinct(|p| p.store_id)
        && same(&expected.voters, &told.voters)
        && same(&expected.voters_outgoing, &told.voters_outgoing)
        && same(&expected.learners, &told.learners)
        && same(&expected.learners_next, &told.learners_next)
}
