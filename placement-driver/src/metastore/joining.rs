//! How a member begins that has no files: it may be new, as all others are, or have lost its disk.
//!
//! A member that has lost what it acknowledged must not vote: with its vote, others that never had it could lead, and it
//! would be forgotten. So until one of two things is known, it says only that it has nothing, and takes what it is sent:
//!
//! - all other members have nothing either: the group is new (its first start needs all of them, once);
//! - it has everything that a leader, elected without it, had committed when that said so: what it acknowledged in its
//!   earlier life is part of that.
//!
//! It may also have voted for a leader that it does not remember, and must not acknowledge anything to one before that. So
//! it listens to no leader before it knows the terms of so many members that one of those others is among them which
//! elected the last; and then to none of an older term.
//!
//! "I have nothing" is a request for a pre-vote with an empty log, which every member understands: those with a log
//! refuse it, and tell their term.

use std::collections::{BTreeMap, BTreeSet};

use raft::eraftpb::{Message, MessageType};
use raft::{Raft, Storage};

/// The mark of a hello of a member that joins, which asks whether others have nothing either.
const ASKS: &[u8] = b"joining";
/// Ticks between two hellos.
const HELLO_TICKS: u64 = 3;
/// Ticks after which whom it waits for is said again.
const TOLD_TICKS: u64 = 100;

/// A member that joins.
#[derive(Debug)]
pub(super) struct Joining {
    id: u64,
    others: BTreeSet<u64>,
    /// Those that have nothing.
    empty: BTreeSet<u64>,
    /// The terms of those that have something.
    terms: BTreeMap<u64, u64>,
    ticks: u64,
    /// The largest commit index that a leader has told of.
    committed: Option<u64>,
    due: bool,
}

/// Whether a message says that its sender has nothing.
pub(super) fn is_hello(message: &Message) -> bool {
    matches!(message.get_msg_type(), MessageType::MsgRequestPreVote | MessageType::MsgRequestVote)
        && (message.index, message.log_term) == (0, 0)
}

/// Whether a hello wants to be answered by one.
pub(super) fn wants_answer(message: &Message) -> bool {
    is_hello(message) && message.context[..] == *ASKS
}

/// What says that its sender has nothing.
pub(super) fn hello(from: u64, to: u64) -> Message {
    let mut message = Message { from, to, term: 1, ..Default::default() };
    message.set_msg_type(MessageType::MsgRequestPreVote);
    message
}

/// Why Raft must not be given a message: it would stop the process. Some come of a member that has lost its data, whose
/// leader takes for granted what it acknowledged.
pub(super) fn refuse<S: Storage>(raft: &Raft<S>, m: &Message) -> Option<&'static str> {
    let last = raft.raft_log.last_index();
    match m.get_msg_type() {
        MessageType::MsgHeartbeat if m.commit > last => Some("it commits what is not there"),
        MessageType::MsgAppendResponse if !m.reject && m.index > last => Some("it acknowledges what was not sent"),
        MessageType::MsgReadIndex | MessageType::MsgPropose if m.entries.is_empty() => Some("it holds nothing"),
        _ => None,
    }
}

impl Joining {
    pub(super) fn new(id: u64, members: &[u64]) -> Joining {
        let others = members.iter().copied().filter(|member| *member != id).collect();
        Joining { id, others, empty: BTreeSet::new(), terms: BTreeMap::new(), ticks: 0, committed: None, due: true }
    }

    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.due |= self.ticks.is_multiple_of(HELLO_TICKS);
        if self.ticks.is_multiple_of(TOLD_TICKS) {
            let heard = self.terms.len() + self.empty.len();
            let others = self.others.len();
            tracing::info!(
                heard,
                others,
                "metastore: this member has no data: waiting for a leader's, or for the others"
            );
        }
    }

    /// The hellos that are due, for as long as the log is empty.
    pub(super) fn take_hellos(&mut self, last_index: u64) -> Vec<Message> {
        match std::mem::take(&mut self.due) && last_index == 0 {
            true => {
                let asking = |to: &u64| Message { context: ASKS.to_vec().into(), ..hello(self.id, *to) };
                self.others.iter().map(asking).collect()
            }
            false => Vec::new(),
        }
    }

    /// Whether a leader of that term may be listened to.
    fn may_listen(&self, term: u64) -> bool {
        let members = self.others.len() + 1;
        let enough = members - (members / 2 + 1) + 1;
        self.terms.len() >= enough && self.terms.values().all(|known| term >= *known)
    }

    /// Learns from a message, and tells whether Raft may be given it: nothing that asks for this member's word.
    pub(super) fn may_be_stepped(&mut self, message: &Message) -> bool {
        match message.get_msg_type() {
            _ if is_hello(message) => {
                self.empty.insert(message.from);
                false
            }
            MessageType::MsgRequestPreVoteResponse => {
                self.terms.insert(message.from, message.term);
                false
            }
            _ if !self.may_listen(message.term) => false,
            MessageType::MsgAppend | MessageType::MsgSnapshot => {
                let commit = message.commit.max(message.get_snapshot().get_metadata().index);
                self.committed = self.committed.max(Some(commit));
                true
            }
            MessageType::MsgHeartbeat | MessageType::MsgReadIndexResp => true,
            _ => false,
        }
    }

    /// Whether its word counts from now on. `committed` is what it has of the leader's committed log, `of_this_term` whether
    /// that ends with an entry of the leader's own term.
    pub(super) fn is_over(&self, committed: u64, of_this_term: bool) -> bool {
        let all_new = self.committed.is_none() && self.others.is_subset(&self.empty);
        all_new || (of_this_term && self.committed.is_some_and(|told| committed >= told && committed > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: MessageType, from: u64) -> Message {
        let mut message = Message { from, to: 1, term: 4, ..Default::default() };
        message.set_msg_type(kind);
        message
    }

    #[test]
    fn a_new_group_begins_when_all_have_said_that_they_have_nothing() {
        let mut joining = Joining::new(1, &[1, 2, 3]);
        let hellos = joining.take_hellos(0);
        assert_eq!(hellos.iter().map(|m| m.to).collect::<Vec<_>>(), [2, 3]);
        assert!(hellos.iter().all(is_hello) && joining.take_hellos(0).is_empty());
        let mut hello = hellos[0].clone();
        for (from, over) in [(2, false), (2, false), (3, true)] {
            hello.from = from;
            assert!(!joining.may_be_stepped(&hello));
            assert_eq!(joining.is_over(0, false), over);
        }
    }

    #[test]
    fn a_member_without_data_gives_no_vote_until_it_has_what_the_leader_has() {
        let mut joining = Joining::new(1, &[1, 2, 3]);
        let mut vote = message(MessageType::MsgRequestVote, 2);
        (vote.index, vote.log_term) = (120, 3);
        assert!(!joining.may_be_stepped(&vote));
        assert!(!joining.may_be_stepped(&message(MessageType::MsgTimeoutNow, 2)));
        let mut append = message(MessageType::MsgAppend, 2);
        (append.commit, append.index) = (130, 100);
        // It may have voted for 3 in a later term than 2 leads in.
        assert!(!joining.may_be_stepped(&append));
        for (from, term) in [(2, 4), (3, 5)] {
            let refused = Message { term, ..message(MessageType::MsgRequestPreVoteResponse, from) };
            assert!(!joining.may_be_stepped(&refused));
        }
        assert!(!joining.may_be_stepped(&append));
        append.term = 5;
        assert!(joining.may_be_stepped(&append));
        assert!(!joining.is_over(125, true) && !joining.is_over(130, false) && joining.is_over(130, true));
        // Others without data do not make the group new.
        for from in [2, 3] {
            let mut hello = message(MessageType::MsgRequestPreVote, from);
            (hello.index, hello.log_term) = (0, 0);
            joining.may_be_stepped(&hello);
        }
        assert!(!joining.is_over(0, false));
    }
}
