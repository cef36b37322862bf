//! Claims about the group of members, several in one thread: their clock, their network and no disk.
use proto::etcdserverpb::{LeaseGrantRequest, PutRequest};

use super::*;

/// What the members of these tests may hold.
const QUOTA_BYTES: u64 = 1 << 20;

struct Group {
    members: Vec<Core>,
    in_flight: Vec<Message>,
    /// A member that nobody hears and that hears nobody.
    alone: Option<u64>,
    now_ms: u64,
}

impl Group {
    fn new(size: u64) -> Group {
        let voters: Vec<u64> = (1..=size).collect();
        let core = |id| Core::new(id, Wal::open(None, &voters).unwrap(), false, QUOTA_BYTES).unwrap();
        Group { members: (1..=size).map(core).collect(), in_flight: Vec::new(), alone: None, now_ms: 0 }
    }

    fn member(&mut self, id: u64) -> &mut Core {
        &mut self.members[id as usize - 1]
    }

    /// One tick, and messages until there are none.
    fn tick(&mut self) {
        self.now_ms += TICK.as_millis() as u64;
        for member in &mut self.members {
            member.tick(self.now_ms);
        }
        self.settle();
    }

    /// One tick in a group whose messages are under way for so many ticks.
    fn far_tick(&mut self, way: u64, under_way: &mut VecDeque<(u64, Message)>) {
        self.now_ms += TICK.as_millis() as u64;
        let now_ms = self.now_ms;
        while under_way.front().is_some_and(|(due, _)| *due <= now_ms) {
            let (_, message) = under_way.pop_front().unwrap();
            self.member(message.to).handle(Input::Message(Box::new(message)), now_ms);
        }
        let due = now_ms + way * TICK.as_millis() as u64;
        for member in &mut self.members {
            member.tick(now_ms);
            member.advance(now_ms, &mut |message| under_way.push_back((due, message))).unwrap();
        }
    }

    fn settle(&mut self) {
        loop {
            for message in std::mem::take(&mut self.in_flight) {
                if self.alone.is_none_or(|alone| message.from != alone && message.to != alone) {
                    let now_ms = self.now_ms;
                    self.member(message.to).handle(Input::Message(Box::new(message)), now_ms);
                }
            }
            for member in &mut self.members {
                member.advance(self.now_ms, &mut |message| self.in_flight.push(message)).unwrap();
            }
            if self.in_flight.is_empty() {
                return;
            }
        }
    }

    /// The newest leader, when it is another than `not`.
    fn leader(&mut self, not: u64) -> u64 {
        for _ in 0..200 {
            self.tick();
            let leading = self.members.iter().filter(|m| m.leading && m.shared.id != not);
            if let Some(leader) = leading.max_by_key(|m| m.node.raft.term) {
                return leader.shared.id;
            }
        }
        panic!("no leader");
    }

    fn ask<T>(&mut self, id: u64, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        let now_ms = self.now_ms;
        self.member(id).handle(input(reply), now_ms);
        answer
    }
}

fn renew(reply: oneshot::Sender<LeaseResponse>) -> Input {
    Input::Lease(LeaseRequest { id: 7, renew: true }, reply)
}

#[test]
fn a_deposed_leader_that_does_not_know_it_renews_no_lease() {
    let mut group = Group::new(3);
    let old = group.leader(0);
    let grant = Command::LeaseGrant(LeaseGrantRequest { id: 7, ttl: 3 });
    let mut granted = group.ask(old, |reply| Input::Propose(grant, reply));
    group.settle();
    granted.try_recv().unwrap().unwrap();
    let mut renewed = group.ask(old, renew);
    group.settle();
    assert!(renewed.try_recv().unwrap().found, "a leader that is heard renews at once");

    // Cut off, it leads for its own eyes for a while; elsewhere the lease's time runs already.
    group.alone = Some(old);
    let mut answers = Vec::new();
    let mut next = 0;
    for _ in 0..60 {
        if group.member(old).leading {
            answers.push(group.ask(old, renew));
        }
        group.tick();
        let leading = group.members.iter().find(|m| m.leading && m.shared.id != old);
        next = leading.map_or(next, |m| m.shared.id);
    }
    assert!(next != 0 && !answers.is_empty());
    for answer in &mut answers {
        assert!(answer.try_recv().is_ok_and(|a| a.not_leader), "who asked it asks the next leader");
    }
}

#[test]
fn a_read_is_answered_though_its_confirmation_takes_longer_than_the_time_to_ask_again() {
    const WAY_TICKS: u64 = 2;
    let mut group = Group::new(3);
    let mut under_way = VecDeque::new();
    let leader = loop {
        group.far_tick(WAY_TICKS, &mut under_way);
        let known = group.members.iter().all(|m| m.node.raft.leader_id != raft::INVALID_ID);
        match group.members.iter().find(|m| m.leading) {
            Some(leader) if known => break leader.shared.id,
            _ => assert!(group.now_ms < 60_000, "no leader"),
        }
    };
    // To the leader, from there to the others, and back twice.
    assert!(4 * WAY_TICKS * TICK.as_millis() as u64 > READ_RETRY_MS);
    let mut read = group.ask(leader % 3 + 1, Input::Read);
    for _ in 0..5 * WAY_TICKS {
        group.far_tick(WAY_TICKS, &mut under_way);
    }
    read.try_recv().expect("an answer").unwrap();
}

#[test]
fn a_key_that_changes_often_does_not_fill_the_store_with_its_history() {
    let mut group = Group::new(3);
    let leader = group.leader(0);
    let mut greatest = 0;
    // Ten minutes, some 60 KiB in each; an hour of it would be kept otherwise.
    for tick in 0..6_000 {
        if tick % 10 == 0 {
            let put = PutRequest { key: b"k".to_vec(), value: vec![b'v'; 1_000], ..Default::default() };
            drop(group.ask(leader, |reply| Input::Propose(Command::Put(put), reply)));
        }
        group.tick();
        greatest = greatest.max(group.member(leader).shared.state.read().state.bytes());
    }
    assert!(group.member(leader).leading && greatest > QUOTA_BYTES / 2, "{greatest} bytes");
    assert!(greatest < QUOTA_BYTES, "{greatest} bytes");
    // What was there a moment ago can still be read.
    let state = &group.member(leader).shared.state.read().state;
    assert!(state.revision() - state.compacted() > 50);
}

#[test]
fn an_entry_that_this_version_does_not_know_ends_the_member() {
    let put = Command::Put(PutRequest { key: b"k".to_vec(), ..Default::default() });
    let to_come = Proposal { origin: 1, sequence: 1, format: net::format::NEWEST + 1, command: Some(put) };
    for unknown in [Proposal { command: None, format: 0, ..to_come.clone() }, to_come] {
        let mut group = Group::new(1);
        group.leader(0);
        let member = group.member(1);
        member.node.propose(Vec::new(), unknown.encode_to_vec()).unwrap();
        let ended = member.advance(0, &mut |_| {}).unwrap_err();
        assert!(ended.to_string().contains("start this member with the version"), "{ended}");
    }
}
