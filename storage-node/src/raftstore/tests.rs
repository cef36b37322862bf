//! Claims about the Raft store, checked on several stores in one thread.

use engine::{Cf, Snapshot as _, WriteBatch};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::sim::{Cluster, Faults};
use crate::replication::{PeerRole, RaftCalls, RegionContext, RegionError, Replication};

fn put(key: &str, value: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(Cf::Default, key, value);
    batch
}

/// Writes through whoever leads, retrying as a client would.
fn write(cluster: &mut Cluster, key: &str, value: &str) {
    for _ in 0..200 {
        let ctx = cluster.context(key.as_bytes());
        let Some(leader) = cluster.leader(ctx.region_id) else {
            cluster.run_ticks(1);
            continue;
        };
        let handle = cluster.handle(leader);
        let batch = put(key, value);
        match cluster.block_on(async move { handle.write(&ctx, batch).await }) {
            Ok(()) => return,
            Err(_) => cluster.run_ticks(1),
        }
    }
    panic!("{key} cannot be written; {}", cluster.describe());
}

fn read_at(cluster: &mut Cluster, store: u64, key: &str, replica: bool) -> Result<Option<String>, RegionError> {
    let ctx = RegionContext { replica_read: replica, ..cluster.context(key.as_bytes()) };
    let handle = cluster.handle(store);
    let snapshot = cluster.block_on(async move { handle.snapshot(&ctx).await })?;
    let value = snapshot.engine.get(Cf::Default, key.as_bytes()).expect("in memory");
    Ok(value.map(|v| String::from_utf8_lossy(&v).into_owned()))
}

fn read(cluster: &mut Cluster, key: &str) -> Option<String> {
    for _ in 0..200 {
        let region = cluster.context(key.as_bytes()).region_id;
        if let Some(leader) = cluster.leader(region)
            && let Ok(value) = read_at(cluster, leader, key, false)
        {
            return value;
        }
        cluster.run_ticks(1);
    }
    panic!("{key} cannot be read; {}", cluster.describe());
}

/// Three stores, one region on all of them, led by store 1.
fn three(seed: u64) -> (Cluster, u64) {
    let mut cluster = Cluster::new(seed, 3);
    let region = cluster.bootstrap(1);
    write(&mut cluster, "before", "members");
    cluster.add_voter(region, 2);
    cluster.add_voter(region, 3);
    (cluster, region)
}

#[test]
fn one_store_serves_writes_and_reads_and_keeps_them_over_a_crash() {
    let mut cluster = Cluster::new(1, 1);
    cluster.bootstrap(1);
    for i in 0..50 {
        write(&mut cluster, &format!("k{i}"), &format!("v{i}"));
    }
    cluster.crash(1);
    cluster.start(1);
    for i in 0..50 {
        assert_eq!(read(&mut cluster, &format!("k{i}")), Some(format!("v{i}")));
    }
}

#[test]
fn a_new_member_gets_a_snapshot_and_then_the_log() {
    let (mut cluster, region) = three(2);
    write(&mut cluster, "after", "members");
    cluster.run_until("all stores to have it", |c| (1..=3).all(|s| c.raw(s, b"after").is_some()));
    for store in 1..=3 {
        assert_eq!(cluster.raw(store, b"before").as_deref(), Some(&b"members"[..]));
    }
    let reported = cluster.reported(region).and_then(|h| h.region.clone()).expect("a heartbeat");
    assert_eq!(reported.peers.len(), 3);
}

#[test]
fn when_the_leader_dies_another_serves_what_was_acknowledged() {
    let (mut cluster, region) = three(3);
    for i in 0..20 {
        write(&mut cluster, &format!("k{i}"), "v");
    }
    let old = cluster.leader(region).expect("a leader");
    cluster.crash(old);
    cluster.run_until("another leader", |c| c.leader(region).is_some_and(|l| l != old));
    for i in 0..20 {
        assert_eq!(read(&mut cluster, &format!("k{i}")).as_deref(), Some("v"));
    }
    write(&mut cluster, "k0", "w");
    cluster.start(old);
    cluster.run_until("the old leader to catch up", |c| c.raw(old, b"k0").as_deref() == Some(b"w"));
}

#[test]
fn a_leader_cut_off_cannot_serve_a_stale_read_after_another_is_elected() {
    let (mut cluster, region) = three(4);
    cluster.transfer(region, 1);
    write(&mut cluster, "k", "old");
    assert_eq!(read_at(&mut cluster, 1, "k", false).unwrap().as_deref(), Some("old"));
    cluster.isolate(1);
    // Until another leads, the lease may serve: nobody could have written. From then on it must not.
    let mut elected = false;
    for _ in 0..400 {
        cluster.step();
        elected |= [2, 3].iter().any(|s| cluster.store(*s).and_then(|s| s.peer(region)).is_some_and(|p| p.is_leader()));
        let (handle, ctx) = (cluster.handle(1), cluster.context(b"k"));
        let mut future = std::pin::pin!(handle.snapshot(&ctx));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let answer = future.as_mut().poll(&mut cx);
        if elected {
            assert!(!matches!(answer, std::task::Poll::Ready(Ok(_))), "a stale read was served");
        }
    }
    assert!(elected, "{}", cluster.describe());
    write(&mut cluster, "k", "new");
    cluster.heal();
    cluster.run_until("the old leader to follow", |c| c.raw(1, b"k").as_deref() == Some(b"new"));
    assert!(matches!(read_at(&mut cluster, 1, "k", false), Err(RegionError::NotLeader { .. })));
}

/// Store 1 leads and says that it may be read, loses the lead to store 2, which acknowledges a write and dies, and wins
/// it back. What the reader is given then, if it came to that.
fn view_over_two_elections(seed: u64) -> Option<Result<Option<String>, RegionError>> {
    let (mut cluster, region) = three(seed);
    cluster.transfer(region, 1);
    write(&mut cluster, "k", "old");
    cluster.run_ticks(20);
    let (handle, ctx) = (cluster.handle(1), cluster.context(b"k"));
    let mut reader = std::pin::pin!(async move {
        let snapshot = handle.snapshot(&ctx).await?;
        let value = snapshot.engine.get(Cf::Default, b"k").expect("in memory");
        Ok(value.map(|v| String::from_utf8_lossy(&v).into_owned()))
    });
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    if reader.as_mut().poll(&mut cx).is_ready() {
        return None; // served under the lease
    }
    cluster.run_ticks(5); // confirmed, but the reader's thread does not run
    cluster.transfer(region, 2);
    cluster.run_ticks(5);
    let (handle, ctx) = (cluster.handle(2), cluster.context(b"k"));
    cluster.block_on(async move { handle.write(&ctx, put("k", "new")).await }).ok()?;
    cluster.crash(2);
    for _ in 0..1000 {
        let peer = cluster.store(1)?.peer(region)?;
        if peer.is_leader() && peer.term() > 6 && cluster.raw(1, b"k").as_deref() == Some(b"old") {
            return match reader.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(outcome) => Some(outcome),
                std::task::Poll::Pending => None,
            };
        }
        cluster.step();
    }
    None
}

#[test]
fn a_view_for_a_write_is_not_older_than_what_another_leader_acknowledged_in_between() {
    let outcomes: Vec<_> = (0..60).filter_map(view_over_two_elections).collect();
    assert!(!outcomes.is_empty(), "no seed came to the situation");
    for outcome in outcomes {
        assert!(matches!(outcome, Err(RegionError::ReadIndexNotReady { .. })), "{outcome:?}");
    }
}

#[test]
fn a_handover_ends_the_lease() {
    let (mut cluster, region) = three(5);
    for to in [2, 3, 1, 2] {
        cluster.transfer(region, to);
        write(&mut cluster, "k", &to.to_string());
        for store in 1..=3 {
            match read_at(&mut cluster, store, "k", false) {
                Ok(value) => assert_eq!((store, value), (to, Some(to.to_string()))),
                Err(e) => assert!(matches!(e, RegionError::NotLeader { .. }), "{e}"),
            }
        }
    }
}

#[test]
fn a_follower_reads_what_was_acknowledged_before() {
    let (mut cluster, region) = three(6);
    cluster.transfer(region, 1);
    for i in 0..10 {
        write(&mut cluster, "k", &i.to_string());
        for store in [2, 3] {
            assert_eq!(read_at(&mut cluster, store, "k", true).unwrap(), Some(i.to_string()));
        }
    }
    assert!(matches!(read_at(&mut cluster, 2, "k", false), Err(RegionError::NotLeader { .. })));
}

#[test]
fn a_follower_that_slept_through_truncation_gets_a_snapshot() {
    let mut cluster = Cluster::new(7, 3);
    cluster.config.log_bytes_max = 1000;
    (1..=3).for_each(|store| {
        cluster.stop(store);
        cluster.start(store);
    });
    let region = cluster.bootstrap(1);
    cluster.add_voter(region, 2);
    cluster.add_voter(region, 3);
    cluster.transfer(region, 1);
    cluster.stop(3);
    for i in 0..300 {
        write(&mut cluster, &format!("k{i:03}"), "v");
    }
    write(&mut cluster, "k000", "w");
    cluster.run_ticks(50);
    let truncated = cluster.store(1).and_then(|s| s.peer(region)).map(|p| p.truncated());
    assert!(truncated.is_some_and(|t| t > 200), "{truncated:?}");
    cluster.start(3);
    cluster.run_until("store 3 to catch up", |c| c.raw(3, b"k000").as_deref() == Some(b"w"));
    assert_eq!(cluster.raw(3, b"k299").as_deref(), Some(&b"v"[..]));
}

/// Three stores of which store 3 is stopped, in the middle of writing a snapshot over what it had.
fn stopped_while_writing_a_snapshot() -> (Cluster, u64) {
    use proto::meridian_raft::{RegionState, region_state};
    let (mut cluster, region) = three(15);
    write(&mut cluster, "k", "v");
    cluster.transfer(region, 1);
    cluster.run_until("store 3 to have it", |c| c.raw(3, b"k").is_some());
    let member = cluster.region_of(b"k").expect("a region");
    let me = member.peers.iter().find(|p| p.store_id == 3).expect("a member");
    cluster.stop(3);
    let bounds = super::convert::region_to_proto(&member);
    let mark = RegionState {
        phase: region_state::Phase::Applying as i32,
        region: Some(bounds.clone()),
        applying: Some(bounds),
        peer: Some(super::convert::peer_to_proto(me)),
    };
    let mut batch = WriteBatch::new();
    super::keys::put_region_state(&mut batch, region, &mark);
    batch.delete(Cf::Default, "k");
    engine::Engine::write(&cluster.engine(3), batch).expect("in memory");
    (cluster, region)
}

#[test]
fn leadership_handed_to_a_store_without_its_data_is_not_taken() {
    use super::msg::Msg;
    let (mut cluster, region) = stopped_while_writing_a_snapshot();
    let members = cluster.region_of(b"k").expect("a region").peers;
    let (leader, damaged) = (members[0], members.iter().find(|p| p.store_id == 3).copied().expect("a member"));
    let term = cluster.store(1).and_then(|s| s.peer(region)).expect("it leads").term();
    let mut offer = raft::eraftpb::Message { from: leader.id, to: damaged.id, term, ..Default::default() };
    offer.set_msg_type(raft::eraftpb::MessageType::MsgTimeoutNow);
    cluster.start(3);
    cluster.push(3, Msg::Raft(Box::new(message_for(region, 1, 3, &offer))));
    for _ in 0..100 {
        cluster.step();
        let peer = cluster.store(3).and_then(|s| s.peer(region)).expect("it votes");
        assert!(!peer.damaged || !peer.is_leader());
    }
    cluster.run_until("its data to be back", |c| c.raw(3, b"k").is_some());
}

#[test]
fn a_store_that_stopped_while_writing_a_snapshot_votes_and_gets_another() {
    let (mut cluster, region) = stopped_while_writing_a_snapshot();
    cluster.start(3);
    // Its vote is needed for another leader, and it must not become one itself.
    cluster.isolate(1);
    cluster.run_until("another leader", |c| c.leader(region) == Some(2));
    write(&mut cluster, "k2", "v2");
    cluster.run_until("its data to be back", |c| c.raw(3, b"k").is_some() && c.raw(3, b"k2").is_some());
}

/// A message to a store about a region whose bounds are not taken there.
fn message_for(region: u64, from: u64, to: u64, inner: &raft::eraftpb::Message) -> proto::raft_serverpb::RaftMessage {
    use protobuf::Message as _;
    let peer = |id, store_id| Some(proto::metapb::Peer { id, store_id, ..Default::default() });
    proto::raft_serverpb::RaftMessage {
        region_id: region,
        from_peer: peer(inner.from, from),
        to_peer: peer(inner.to, to),
        message: inner.write_to_bytes().expect("in memory"),
        region_epoch: Some(proto::metapb::RegionEpoch { conf_ver: 3, version: 1 }),
        ..Default::default()
    }
}

/// What makes a new peer on store 2 of a region that begins at `start`, led on store 1: a heartbeat and a snapshot.
fn snapshot_for(cluster: &mut Cluster, region: u64, start: &str, index: u64) {
    use super::msg::Msg;
    use prost::Message as _;
    use raft::eraftpb::MessageType;
    let (leader, me) = (region * 10 + 1, region * 10 + 2);
    let peer = |id, store_id| proto::metapb::Peer { id, store_id, ..Default::default() };
    let bounds = proto::metapb::Region {
        id: region,
        start_key: start.into(),
        region_epoch: Some(proto::metapb::RegionEpoch { conf_ver: 3, version: 1 }),
        peers: vec![peer(leader, 1), peer(me, 2)],
        ..Default::default()
    };
    let mut hello = raft::eraftpb::Message { from: leader, to: me, term: 6, ..Default::default() };
    hello.set_msg_type(MessageType::MsgHeartbeat);
    let mut hello = message_for(region, 1, 2, &hello);
    hello.start_key = start.into();
    cluster.push(2, Msg::Raft(Box::new(hello)));
    let mut inner = raft::eraftpb::Message { from: leader, to: me, term: 6, ..Default::default() };
    inner.set_msg_type(MessageType::MsgSnapshot);
    let snapshot = inner.mut_snapshot();
    snapshot.data = proto::meridian_raft::SnapshotMeta { region: Some(bounds) }.encode_to_vec().into();
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = 6;
    snapshot.mut_metadata().mut_conf_state().voters = vec![leader, me];
    cluster.push(2, Msg::Snapshot { message: Box::new(message_for(region, 1, 2, &inner)), chunks: Vec::new() });
}

/// What no working peer sends, for one that has a log up to `last` in `term`.
fn crafted(last: u64, term: u64) -> Vec<raft::eraftpb::Message> {
    use raft::eraftpb::{Entry, Message, MessageType};
    let entry = |index, term| Entry { index, term, data: b"?".to_vec().into(), ..Default::default() };
    let message = |kind, fill: &dyn Fn(&mut Message)| {
        let mut m = Message { term, ..Default::default() };
        m.set_msg_type(kind);
        fill(&mut m);
        m
    };
    vec![
        message(MessageType::MsgHeartbeat, &|m| m.commit = last + 1000),
        message(MessageType::MsgHeartbeat, &|m| m.commit = u64::MAX),
        message(MessageType::MsgHeartbeat, &|m| m.term = u64::MAX),
        message(MessageType::MsgAppend, &|m| (m.index, m.log_term) = (last, 0)),
        message(MessageType::MsgAppend, &|m| (m.index, m.log_term, m.commit) = (u64::MAX, term, u64::MAX)),
        message(MessageType::MsgAppend, &|m| {
            (m.index, m.log_term) = (last, term);
            m.mut_entries().push(entry(last + 7, term));
        }),
        message(MessageType::MsgAppend, &|m| {
            (m.index, m.log_term) = (last, term);
            m.mut_entries().push(entry(3, 1));
        }),
        message(MessageType::MsgAppendResponse, &|m| m.index = last + 1000),
        message(MessageType::MsgAppendResponse, &|m| {
            (m.index, m.reject, m.reject_hint, m.request_snapshot) = (last, true, u64::MAX, u64::MAX);
        }),
        message(MessageType::MsgReadIndex, &|_| {}),
        message(MessageType::MsgReadIndexResp, &|m| m.index = u64::MAX),
        message(MessageType::MsgPropose, &|_| {}),
        message(MessageType::MsgSnapshot, &|m| m.mut_snapshot().mut_metadata().index = u64::MAX),
        message(MessageType::MsgHup, &|_| {}),
        message(MessageType::MsgBeat, &|_| {}),
        message(MessageType::MsgUnreachable, &|_| {}),
        message(MessageType::MsgSnapStatus, &|_| {}),
        message(MessageType::MsgCheckQuorum, &|_| {}),
    ]
}

#[test]
fn messages_that_no_peer_sends_neither_stop_a_store_nor_destroy_a_replica() {
    use super::msg::Msg;
    let (mut cluster, region) = three(40);
    cluster.transfer(region, 1);
    for i in 0..5 {
        write(&mut cluster, &format!("k{i}"), "v");
    }
    let peer_of = |c: &Cluster, store| c.store(store).and_then(|s| s.peer(region)).map(|p| (p.me.id, p.term()));
    let deliver = |c: &mut Cluster, from: u64, to: u64, mut m: raft::eraftpb::Message, to_peer: u64| {
        (m.from, m.to) = (peer_of(c, from).expect("a peer").0, to_peer);
        c.push(to, Msg::Raft(Box::new(message_for(region, from, to, &m))));
        c.run_ticks(1);
    };
    for (from, to) in [(1, 2), (2, 1)] {
        for i in 0..crafted(0, 0).len() {
            let (id, term) = peer_of(&cluster, to).expect("a peer");
            let last = cluster.store(to).and_then(|s| s.peer(region)).map_or(0, |p| p.applied());
            let message = crafted(last, term).swap_remove(i);
            deliver(&mut cluster, from, to, message, id);
        }
    }
    // "You left", and "you are the next peer of this store here": PD does not know of it.
    let (id, term) = peer_of(&cluster, 2).expect("a peer");
    let mut vote = raft::eraftpb::Message { from: 1, to: id, term, ..Default::default() };
    vote.set_msg_type(raft::eraftpb::MessageType::MsgRequestVote);
    let mut left = message_for(region, 1, 2, &vote);
    left.is_tombstone = true;
    left.region_epoch = Some(proto::metapb::RegionEpoch { conf_ver: 1 << 40, version: 1 << 40 });
    cluster.push(2, Msg::Raft(Box::new(left)));
    cluster.run_ticks(3);
    deliver(&mut cluster, 1, 2, vote, id + 1_000_000);
    cluster.run_ticks(40);
    for store in 1..=3 {
        assert!(peer_of(&cluster, store).is_some(), "the replica on store {store} is gone");
        assert_eq!(cluster.raw(store, b"k3").as_deref(), Some(&b"v"[..]));
    }
    write(&mut cluster, "after", "all");
    assert_eq!(read(&mut cluster, "after").as_deref(), Some("all"));
}

#[test]
fn two_regions_never_hold_the_same_keys_though_a_snapshot_from_before_the_split_is_still_being_written() {
    let mut cluster = Cluster::new(33, 2);
    cluster.faults.job_steps_max = 1000;
    let applied = |c: &Cluster, region| c.store(2).and_then(|s| s.peer(region)).map_or(0, |p| p.applied());
    snapshot_for(&mut cluster, 7, "", 20);
    cluster.step();
    assert!(cluster.store(2).is_some_and(|s| s.peer(7).is_some()) && applied(&cluster, 7) == 0, "it takes time");
    // Its right half was split off meanwhile, and is on its way, too.
    snapshot_for(&mut cluster, 8, "m", 30);
    cluster.run_until("the first snapshot to be written", |c| applied(c, 7) == 20);
    cluster.run_ticks(200);
    assert_eq!(applied(&cluster, 8), 0, "it has to wait until the first region learns of the split");
}

#[test]
fn an_older_snapshot_that_comes_late_does_not_stop_the_store() {
    let mut cluster = Cluster::new(31, 2);
    // Both at once: the second must not cost the first its data.
    snapshot_for(&mut cluster, 7, "", 20);
    snapshot_for(&mut cluster, 7, "", 15);
    cluster.run_ticks(2);
    assert_eq!(cluster.store(2).and_then(|s| s.peer(7)).map(|p| p.applied()), Some(20));
}

#[test]
fn a_peer_without_data_that_restarted_grants_no_vote_while_it_may_have_promised_a_lease() {
    use super::msg::Msg;
    use raft::eraftpb::MessageType;
    let mut cluster = Cluster::new(32, 3);
    let ask = |from: u64, store: u64, term: u64| {
        let mut vote = raft::eraftpb::Message { from, to: 72, term, index: 20, log_term: 6, ..Default::default() };
        vote.set_msg_type(MessageType::MsgRequestVote);
        Msg::Raft(Box::new(message_for(7, store, 2, &vote)))
    };
    cluster.push(2, ask(71, 1, 6));
    cluster.run_ticks(1);
    let term = |c: &Cluster| c.store(2).and_then(|s| s.peer(7)).map(|p| p.term());
    assert_eq!(term(&cluster), Some(6), "the first vote is granted at once");
    cluster.stop(2);
    cluster.start(2);
    cluster.push(2, ask(73, 3, 7));
    cluster.run_ticks(1);
    assert_eq!(term(&cluster), Some(6), "it may have answered heartbeats of the leader of term 6");
    cluster.run_ticks(20);
    cluster.push(2, ask(73, 3, 7));
    cluster.run_ticks(1);
    assert_eq!(term(&cluster), Some(7));
}

#[test]
fn a_split_serves_both_parts_and_refuses_the_old_bounds() {
    let (mut cluster, region) = three(8);
    write(&mut cluster, "a", "1");
    write(&mut cluster, "x", "2");
    let ctx = cluster.context(b"a");
    let leader = cluster.leader(region).expect("a leader");
    let (handle, keys) = (cluster.handle(leader), vec![b"m".to_vec()]);
    let old = ctx.clone();
    let regions = cluster.block_on(async move { handle.split_region(&ctx, keys).await }).unwrap();
    assert_eq!(regions.len(), 2);
    assert_eq!((regions[0].range.end.as_slice(), regions[1].range.start.as_slice()), (&b"m"[..], &b"m"[..]));
    let handle = cluster.handle(leader);
    let stale = cluster.block_on(async move { handle.write(&old, put("a", "3")).await });
    assert!(matches!(stale, Err(RegionError::EpochNotMatch { .. })), "{stale:?}");
    write(&mut cluster, "a", "4");
    write(&mut cluster, "x", "5");
    assert_eq!(read(&mut cluster, "a").as_deref(), Some("4"));
    assert_eq!(read(&mut cluster, "x").as_deref(), Some("5"));
    cluster.run_until("all stores to have both", |c| {
        (1..=3).all(|s| c.raw(s, b"a").as_deref() == Some(b"4") && c.raw(s, b"x").as_deref() == Some(b"5"))
    });
    let outside = RegionContext { epoch: regions[0].epoch, region_id: regions[0].id, ..Default::default() };
    let holder = cluster.leader(regions[0].id).expect("a leader");
    let handle = cluster.handle(holder);
    let refused = cluster.block_on(async move { handle.write(&outside, put("x", "6")).await });
    assert!(matches!(refused, Err(RegionError::KeyNotInRegion { .. })), "{refused:?}");
}

/// Splits the region at `m` through its leader and returns in how many steps the new region has one.
fn steps_without_leader(cluster: &mut Cluster, region: u64) -> u64 {
    let leader = cluster.leader(region).expect("a leader");
    let (handle, ctx) = (cluster.handle(leader), cluster.context(b"a"));
    let split = async move { handle.split_region(&ctx, vec![b"m".to_vec()]).await };
    let regions = cluster.block_on(split).expect("the leader splits");
    let new = regions.iter().find(|r| r.id != region).expect("two parts").id;
    (0..)
        .find(|_| {
            let led = cluster.leader(new).is_some();
            cluster.step();
            led
        })
        .expect("an endless range")
}

#[test]
fn a_new_region_is_not_without_leader_for_an_election_timeout_after_a_split() {
    let (mut cluster, region) = three(17);
    cluster.transfer(region, 1);
    // The new candidate's first question comes with the news of the split; both rounds of the election follow at once.
    let steps = steps_without_leader(&mut cluster, region);
    assert!(steps < 10, "no leader for {steps} steps, more than a tick");
    // On a slow network questions overtake the news, and arrive where the range is still the parent's.
    for seed in 0..20 {
        let (mut cluster, region) = three(100 + seed);
        cluster.transfer(region, 1);
        cluster.faults.delay_steps_max = 5;
        let steps = steps_without_leader(&mut cluster, region);
        assert!(steps < 40, "seed {seed}: no leader for {steps} steps, more than four ticks");
    }
}

#[test]
fn a_store_that_missed_a_split_catches_up() {
    let (mut cluster, region) = three(9);
    write(&mut cluster, "a", "1");
    cluster.transfer(region, 1);
    cluster.isolate(3);
    let (handle, ctx) = (cluster.handle(1), cluster.context(b"a"));
    cluster.block_on(async move { handle.split_region(&ctx, vec![b"m".to_vec()]).await }).unwrap();
    write(&mut cluster, "a", "2");
    write(&mut cluster, "z", "2");
    cluster.heal();
    cluster.run_until("store 3 to catch up", |c| {
        c.raw(3, b"a").as_deref() == Some(b"2") && c.raw(3, b"z").as_deref() == Some(b"2")
    });
}

#[test]
fn a_removed_peer_leaves_with_its_data_and_may_come_back() {
    let (mut cluster, region) = three(10);
    write(&mut cluster, "k", "v");
    cluster.transfer(region, 1);
    cluster.remove(region, 3);
    cluster.run_until("the peer to be gone", |c| c.store(3).is_some_and(|s| s.peer(region).is_none()));
    cluster.run_until("its data to be gone", |c| c.raw(3, b"k").is_none());
    cluster.crash(3);
    cluster.start(3);
    assert!(cluster.store(3).is_some_and(|s| s.peers().count() == 0));
    cluster.add_voter(region, 3);
    cluster.run_until("the data to be back", |c| c.raw(3, b"k").as_deref() == Some(b"v"));
}

#[test]
fn a_peer_that_was_removed_while_cut_off_learns_it_later() {
    let (mut cluster, region) = three(11);
    cluster.transfer(region, 1);
    cluster.isolate(3);
    cluster.remove(region, 3);
    cluster.run_ticks(20);
    cluster.heal();
    cluster.run_until("the peer to be gone", |c| c.store(3).is_some_and(|s| s.peer(region).is_none()));
}

#[test]
fn pd_asking_to_remove_the_leader_first_moves_it() {
    let (mut cluster, region) = three(12);
    cluster.transfer(region, 1);
    cluster.remove(region, 1);
    cluster.run_until("the peer to be gone", |c| c.store(1).is_some_and(|s| s.peer(region).is_none()));
    write(&mut cluster, "k", "v");
    assert_eq!(read(&mut cluster, "k").as_deref(), Some("v"));
}

#[test]
fn a_joint_change_replaces_a_voter_and_is_left_even_if_pd_forgets() {
    use proto::eraftpb::ConfChangeType;
    use proto::pdpb::{ChangePeer, ChangePeerV2};
    let mut cluster = Cluster::new(13, 4);
    let region = cluster.bootstrap(1);
    cluster.add_voter(region, 2);
    let three = cluster.add_voter(region, 3);
    write(&mut cluster, "k", "v");
    cluster.transfer(region, 1);
    let four = crate::replication::Peer { id: cluster.alloc_id(), store_id: 4, role: PeerRole::Learner };
    let change = |peer: &crate::replication::Peer, kind: ConfChangeType| ChangePeer {
        peer: Some(super::convert::peer_to_proto(peer)),
        change_type: kind as i32,
    };
    let learner = change(&four, ConfChangeType::AddLearnerNode);
    cluster.command(region, |r| r.change_peer = Some(learner));
    cluster.run_until("the learner's data", |c| c.raw(4, b"k").is_some());
    let changes = vec![change(&four, ConfChangeType::AddNode), change(&three, ConfChangeType::AddLearnerNode)];
    cluster.command(region, |r| r.change_peer_v2 = Some(ChangePeerV2 { changes }));
    cluster.run_until("the joint state to be left", |c| {
        let peers = c.region_of(b"k").map(|r| r.peers).unwrap_or_default();
        let role = |store| peers.iter().find(|p| p.store_id == store).map(|p| p.role);
        role(4) == Some(PeerRole::Voter) && role(3) == Some(PeerRole::Learner)
    });
    cluster.remove(region, 3);
    write(&mut cluster, "k", "w");
    assert_eq!(read(&mut cluster, "k").as_deref(), Some("w"));
}

#[test]
fn too_large_a_write_is_refused() {
    let mut cluster = Cluster::new(14, 1);
    cluster.bootstrap(1);
    let (handle, ctx) = (cluster.handle(1), cluster.context(b"k"));
    let batch = put("k", &"x".repeat(9 << 20));
    let refused = cluster.block_on(async move { handle.write(&ctx, batch).await });
    assert!(matches!(refused, Err(RegionError::EntryTooLarge { .. })), "{refused:?}");
}

/// One key per writer, each write a greater number: what was acknowledged is never lost, what is read never goes back.
fn chaos(seed: u64) {
    eprintln!("seed {seed:#x}");
    let mut cluster = Cluster::new(seed, 4);
    cluster.config.log_bytes_max = 2000;
    let region = cluster.bootstrap(1);
    cluster.add_voter(region, 2);
    cluster.add_voter(region, 3);
    let mut rng = StdRng::seed_from_u64(seed);
    cluster.faults = Faults {
        lost_per_mille: rng.random_range(0..50),
        delay_steps_max: rng.random_range(1..15),
        job_steps_max: rng.random_range(0..40),
    };
    let mut acknowledged = [0u64; 4];
    let mut attempted = [0u64; 4];
    for round in 0..60 {
        match rng.random_range(0..10) {
            0 => cluster.isolate(rng.random_range(1..=4)),
            1 => cluster.cut(rng.random_range(1..=4), rng.random_range(1..=4)),
            2 | 3 => cluster.heal(),
            4 => {
                let store = rng.random_range(1..=4);
                cluster.crash(store);
                cluster.run_ticks(rng.random_range(0..15));
                cluster.start(store);
            }
            5 => {
                let store = rng.random_range(1..=4);
                if let Some(peer) =
                    cluster.region_of(b"k").and_then(|r| r.peers.iter().find(|p| p.store_id == store).copied())
                    && cluster.leader(region).is_some()
                {
                    let to = proto::pdpb::TransferLeader {
                        peer: Some(super::convert::peer_to_proto(&peer)),
                        peers: Vec::new(),
                    };
                    cluster.command(region, |r| r.transfer_leader = Some(to));
                }
            }
            7 => move_peer(&mut cluster, &mut rng),
            6 if round > 20 => {
                let key = format!("k{}", rng.random_range(0..4));
                let ctx = cluster.context(key.as_bytes());
                if let Some(leader) = cluster.leader(ctx.region_id) {
                    let handle = cluster.handle(leader);
                    let (reply, _) = tokio::sync::oneshot::channel();
                    let keys = vec![key.into_bytes()];
                    handle.shared().inbox.push(super::msg::Msg::Split {
                        ctx,
                        keys,
                        reply: Some(super::msg::Reply::new(reply)),
                    });
                }
            }
            _ => {}
        }
        // Each client writes through any store that may lead, without waiting for the answer of a lost one.
        for client in 0..4 {
            let key = format!("k{client}");
            let store = rng.random_range(1..=4);
            let (handle, ctx) = (cluster.handle(store), cluster.context(key.as_bytes()));
            attempted[client] += 1;
            let value = attempted[client];
            let batch = put(&key, &format!("{value:010}"));
            let mut future = Box::pin(async move { handle.write(&ctx, batch).await });
            for _ in 0..rng.random_range(1..60) {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut cx) {
                    if answer.is_ok() {
                        acknowledged[client] = value;
                    }
                    break;
                }
                cluster.step();
            }
            let store = rng.random_range(1..=4);
            let (handle, ctx) = (cluster.handle(store), cluster.context(key.as_bytes()));
            let ctx = RegionContext { replica_read: rng.random_bool(0.3), ..ctx };
            let floor = acknowledged[client];
            let mut future = Box::pin(async move { handle.snapshot(&ctx).await });
            for _ in 0..rng.random_range(1..40) {
                let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                if let std::task::Poll::Ready(answer) = future.as_mut().poll(&mut cx) {
                    if let Ok(snapshot) = answer {
                        let value = snapshot.engine.get(Cf::Default, key.as_bytes()).expect("in memory");
                        let seen = value.map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap_or(0));
                        assert!(seen >= floor, "seed {seed:#x}: {key} is {seen}, acknowledged was {floor}");
                    }
                    break;
                }
                cluster.step();
            }
        }
    }
    cluster.heal();
    cluster.faults = Faults::default();
    for (client, floor) in acknowledged.iter().enumerate() {
        let seen: u64 = read(&mut cluster, &format!("k{client}")).map_or(0, |v| v.parse().unwrap_or(0));
        assert!(seen >= *floor, "seed {seed:#x}: k{client} lost {floor} for {seen}");
    }
    cluster.run_until("replicas to agree", |c| {
        (0..4).all(|k| {
            let key = format!("k{k}");
            let members = c.region_of(key.as_bytes()).map(|r| r.peers).unwrap_or_default();
            let values: Vec<_> = members.iter().map(|p| c.raw(p.store_id, key.as_bytes())).collect();
            values.iter().all(|v| *v == values[0])
        })
    });
    eprintln!("seed {seed:#x}: acknowledged {acknowledged:?} of {attempted:?}");
}

/// Adds, promotes or removes a replica of the region of some key, as PD might.
fn move_peer(cluster: &mut Cluster, rng: &mut StdRng) {
    use proto::eraftpb::ConfChangeType;
    let key = format!("k{}", rng.random_range(0..4));
    let Some(region) = cluster.region_of(key.as_bytes()) else { return };
    if cluster.leader(region.id).is_none() {
        return;
    }
    let voters = region.peers.iter().filter(|p| p.role == PeerRole::Voter).count();
    let learner = region.peers.iter().find(|p| p.role == PeerRole::Learner).copied();
    let absent = (1..=4).find(|s| region.peers.iter().all(|p| p.store_id != *s));
    let (peer, kind) = match (learner, absent) {
        (Some(learner), _) => (learner, ConfChangeType::AddNode),
        (None, Some(store_id)) if voters < 4 => {
            let peer = crate::replication::Peer { id: cluster.alloc_id(), store_id, role: PeerRole::Learner };
            (peer, ConfChangeType::AddLearnerNode)
        }
        _ => (region.peers[rng.random_range(0..region.peers.len())], ConfChangeType::RemoveNode),
    };
    let change = proto::pdpb::ChangePeer { peer: Some(super::convert::peer_to_proto(&peer)), change_type: kind as i32 };
    cluster.command(region.id, |r| r.change_peer = Some(change));
}

#[test]
fn nothing_acknowledged_is_lost_while_stores_crash_and_links_are_cut() {
    match std::env::var("SIM_SEED").ok().and_then(|s| u64::from_str_radix(s.trim_start_matches("0x"), 16).ok()) {
        Some(seed) => chaos(seed),
        None => {
            let seeds = std::env::var("SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(12);
            (0..seeds).for_each(|i| chaos(0x51f2 + i));
        }
    }
}
