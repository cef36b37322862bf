//! etcd semantics by script, and against a naive model.
use super::*;

fn put(key: &str, value: &str) -> Command {
    Command::Put(PutRequest { key: key.into(), value: value.into(), ..Default::default() })
}

fn delete(key: &str, end: &str) -> Command {
    Command::DeleteRange(DeleteRangeRequest { key: key.into(), range_end: end.into(), prev_kv: false })
}

fn range(key: &str, end: &[u8]) -> RangeRequest {
    RangeRequest { key: key.into(), range_end: end.to_vec(), ..Default::default() }
}

fn values(response: &RangeResponse) -> Vec<String> {
    response
        .kvs
        .iter()
        .map(|kv| format!("{}={}", String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value)))
        .collect()
}

fn op(command: Command) -> RequestOp {
    let request = match command {
        Command::Put(r) => request_op::Request::RequestPut(r),
        Command::DeleteRange(r) => request_op::Request::RequestDeleteRange(r),
        Command::Txn(r) => request_op::Request::RequestTxn(r),
        other => panic!("not an operation: {other:?}"),
    };
    RequestOp { request: Some(request) }
}

#[test]
fn revisions_versions_and_history() {
    let mut state = State::default();
    assert_eq!(state.revision(), 1);
    state.apply(&put("a", "1")).unwrap();
    state.apply(&put("a", "2")).unwrap();
    state.apply(&put("b", "3")).unwrap();
    state.apply(&delete("a", "")).unwrap();
    assert_eq!(state.revision(), 5);
    state.apply(&delete("a", "")).unwrap();
    assert_eq!(state.revision(), 5, "deleting nothing makes no revision");
    let at = |revision| values(&state.range(&RangeRequest { revision, ..range("a", &[0]) }).unwrap());
    assert_eq!(at(2), ["a=1"]);
    assert_eq!(at(3), ["a=2"]);
    assert_eq!(at(4), ["a=2", "b=3"]);
    assert_eq!(at(0), ["b=3"]);
    let kv = &state.range(&RangeRequest { revision: 3, ..range("a", b"") }).unwrap().kvs[0];
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    assert_eq!(state.range(&RangeRequest { revision: 6, ..range("a", b"") }), Err(EtcdError::FutureRevision));
}

#[test]
fn compaction_forgets_only_what_no_later_read_sees() {
    let mut state = State::default();
    for command in [put("a", "1"), put("a", "2"), put("b", "x"), delete("b", ""), put("c", "y")] {
        state.apply(&command).unwrap();
    }
    state.apply(&Command::Compaction(CompactionRequest { revision: 5, physical: false })).unwrap();
    let read = |revision| state.range(&RangeRequest { revision, ..range("a", &[0]) });
    assert_eq!(read(4), Err(EtcdError::Compacted));
    assert_eq!(values(&read(5).unwrap()), ["a=2"]);
    assert_eq!(values(&read(0).unwrap()), ["a=2", "c=y"]);
    assert_eq!(state.events(3, b"a", &[0], false, 100), Err(EtcdError::Compacted));
    assert_eq!(state.events(6, b"a", &[0], false, 100).unwrap().0.len(), 1);
    let mut again = state.clone();
    let compact = |revision| Command::Compaction(CompactionRequest { revision, physical: false });
    assert_eq!(again.apply(&compact(5)), Err(EtcdError::Compacted));
    assert_eq!(again.apply(&compact(7)), Err(EtcdError::FutureRevision));
}

#[test]
fn a_transaction_has_one_revision_and_refusal_changes_nothing() {
    let mut state = State::default();
    let create = |key: &str| Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Create as i32,
        key: key.into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Default::default()
    };
    let txn = Command::Txn(TxnRequest {
        compare: vec![create("a")],
        success: vec![op(put("a", "1")), op(put("b", "2"))],
        failure: vec![op(delete("a", "z"))],
    });
    let Answer::Txn(first) = state.apply(&txn).unwrap() else { panic!() };
    assert!(first.succeeded);
    assert_eq!(state.revision(), 2);
    let (events, next) = state.events(2, b"a", &[0], false, 100).unwrap();
    assert_eq!((events.len(), next), (2, 3));
    let Answer::Txn(second) = state.apply(&txn).unwrap() else { panic!() };
    assert!(!second.succeeded);
    assert_eq!(state.range(&range("a", &[0])).unwrap().count, 0);

    let before = state.clone();
    let twice = Command::Txn(TxnRequest { success: vec![op(put("k", "1")), op(put("k", "2"))], ..Default::default() });
    assert_eq!(state.apply(&twice), Err(EtcdError::DuplicateKey));
    let dead_lease = PutRequest { key: b"k2".to_vec(), lease: 99, ..Default::default() };
    let late = Command::Txn(TxnRequest {
        success: vec![op(put("k", "1")), op(Command::Put(dead_lease))],
        ..Default::default()
    });
    assert_eq!(state.apply(&late), Err(EtcdError::LeaseNotFound));
    assert_eq!(state, before);
}

#[test]
fn nested_transactions_compare_against_the_state_before() {
    let mut state = State::default();
    let nested = TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Greater as i32,
            target: CompareTarget::Version as i32,
            key: b"a".to_vec(),
            target_union: Some(TargetUnion::Version(0)),
            ..Default::default()
        }],
        success: vec![op(put("b", "saw a"))],
        failure: vec![op(put("b", "no a yet"))],
    };
    let outer = TxnRequest { success: vec![op(put("a", "1")), op(Command::Txn(nested))], ..Default::default() };
    state.apply(&Command::Txn(outer)).unwrap();
    assert_eq!(values(&state.range(&range("b", b"")).unwrap()), ["b=no a yet"]);
}

#[test]
fn ranges_sort_limit_count_and_filter() {
    let mut state = State::default();
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2")] {
        state.apply(&put(key, value)).unwrap();
    }
    let all = range("a", &[0]);
    let limited = state.range(&RangeRequest { limit: 2, ..all.clone() }).unwrap();
    assert_eq!((values(&limited).len(), limited.more, limited.count), (2, true, 3));
    let by_value = RangeRequest { sort_target: SortTarget::Value as i32, limit: 1, ..all.clone() };
    assert_eq!(values(&state.range(&by_value).unwrap()), ["b=1"]);
    let newest = RangeRequest {
        sort_target: SortTarget::Mod as i32,
        sort_order: SortOrder::Descend as i32,
        limit: 1,
        ..all.clone()
    };
    assert_eq!(values(&state.range(&newest).unwrap()), ["c=2"]);
    let counted = state.range(&RangeRequest { count_only: true, ..all.clone() }).unwrap();
    assert_eq!((counted.count, counted.kvs.len(), counted.more), (3, 0, false));
    let recent = state.range(&RangeRequest { min_mod_revision: 3, ..all.clone() }).unwrap();
    assert_eq!(values(&recent), ["b=1", "c=2"]);
    let keys = state.range(&RangeRequest { keys_only: true, ..all }).unwrap();
    assert!(keys.kvs.iter().all(|kv| kv.value.is_empty()));
    assert_eq!(state.range(&range("c", b"a")).unwrap().count, 0, "an empty range is no error");
    assert_eq!(state.range(&range("", b"")), Err(EtcdError::EmptyKey));
}

#[test]
fn a_revoked_lease_takes_its_keys_along() {
    let mut state = State::default();
    let grant = |id| Command::LeaseGrant(LeaseGrantRequest { ttl: 5, id });
    let leased = |key: &str, lease| {
        Command::Put(PutRequest { key: key.into(), value: b"v".to_vec(), lease, ..Default::default() })
    };
    state.apply(&grant(7)).unwrap();
    state.apply(&grant(8)).unwrap();
    assert_eq!(state.apply(&grant(7)), Err(EtcdError::LeaseExists));
    for command in [leased("a", 7), leased("b", 7), leased("c", 7), leased("b", 8)] {
        state.apply(&command).unwrap();
    }
    state.apply(&put("c", "free now")).unwrap();
    assert_eq!(state.lease_keys(7), Some(vec![b"a".to_vec()]));
    let revoke = Command::LeaseRevoke(LeaseRevokeRequest { id: 7 });
    state.apply(&revoke).unwrap();
    assert_eq!(values(&state.range(&range("a", &[0])).unwrap()), ["b=v", "c=free now"]);
    assert_eq!(state.apply(&revoke), Err(EtcdError::LeaseNotFound));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Delete(u8, u8),
        Txn(u8, u8, u8),
        Compact,
        Reload,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..6, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
            2 => (0u8..6, 0u8..6).prop_map(|(a, b)| Step::Delete(a, b)),
            2 => (0u8..6, 0u8..6, any::<u8>()).prop_map(|(a, b, v)| Step::Txn(a, b, v)),
            1 => Just(Step::Compact),
            1 => Just(Step::Reload),
        ]
    }

    type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

    proptest! {
        /// Every retained revision reads as the model's copy of that moment, and watching replays to the same end.
        #[test]
        fn reads_and_watches_match_a_copy_per_revision(steps in proptest::collection::vec(step(), 1..60)) {
            let mut state = State::default();
            let mut moments: BTreeMap<i64, Contents> = BTreeMap::from([(1, Contents::new())]);
            for step in steps {
                let mut now = moments.values().next_back().unwrap().clone();
                match step {
                    Step::Put(k, v) => {
                        now.insert(vec![k + 1], vec![v]);
                        state.apply(&Command::Put(PutRequest { key: vec![k + 1], value: vec![v], ..Default::default() })).unwrap();
                    }
                    Step::Delete(a, b) => {
                        now.retain(|k, _| !in_range(k, &[a + 1], &[b + 1]));
                        let request = DeleteRangeRequest { key: vec![a + 1], range_end: vec![b + 1], prev_kv: true };
                        state.apply(&Command::DeleteRange(request)).unwrap();
                    }
                    Step::Txn(a, b, v) => {
                        let exists = now.contains_key(&vec![a + 1]);
                        let compare = Compare {
                            result: CompareResult::NotEqual as i32, target: CompareTarget::Version as i32, key: vec![a + 1],
                            target_union: Some(TargetUnion::Version(0)), ..Default::default()
                        };
                        let write = |key: u8, v: u8| op(Command::Put(PutRequest { key: vec![key], value: vec![v], ..Default::default() }));
                        let remove = op(Command::DeleteRange(DeleteRangeRequest { key: vec![a + 1], ..Default::default() }));
                        let request = TxnRequest {
                            compare: vec![compare], success: vec![remove, write(b + 100, v)], failure: vec![write(b + 1, v)],
                        };
                        if exists { now.remove(&vec![a + 1]); now.insert(vec![b + 100], vec![v]); } else { now.insert(vec![b + 1], vec![v]); }
                        state.apply(&Command::Txn(request)).unwrap();
                    }
                    Step::Compact => {
                        let at = (state.compacted() + state.revision()) / 2;
                        if at > state.compacted() {
                            state.apply(&Command::Compaction(CompactionRequest { revision: at, physical: false })).unwrap();
                        }
                    }
                    Step::Reload => {
                        let reloaded = State::restore(state.snapshot(1, 1));
                        prop_assert_eq!(reloaded.range(&range("\u{0}", &[0])), state.range(&range("\u{0}", &[0])));
                        state = reloaded;
                    }
                }
                moments.insert(state.revision(), now);
            }
            for (revision, contents) in moments.range(state.compacted().max(1)..) {
                let request = RangeRequest { key: vec![0], range_end: vec![0], revision: *revision, ..Default::default() };
                let read: Contents = state.range(&request).unwrap().kvs.into_iter().map(|kv| (kv.key, kv.value)).collect();
                prop_assert_eq!(&read, contents);
                // Replaying the changes after this revision gives the newest contents.
                let mut replayed = read;
                let mut from = revision + 1;
                while from <= state.revision() {
                    let (events, next) = state.events(from, &[0], &[0], true, 3).unwrap();
                    for event in events {
                        let kv = event.kv.unwrap();
                        prop_assert_eq!(event.prev_kv.map(|kv| kv.value), replayed.get(&kv.key).cloned());
                        if event.r#type == EventType::Put as i32 { replayed.insert(kv.key, kv.value); } else { replayed.remove(&kv.key); }
                    }
                    from = next;
                }
                prop_assert_eq!(&replayed, moments.values().next_back().unwrap());
            }
        }
    }
}

#[test]
fn a_full_store_takes_deletions_and_what_pd_itself_writes() {
    let mut state = State::default();
    state.apply(&put("a", "1")).unwrap();
    let alarm = |action: AlarmAction, member_id, alarm: AlarmType| {
        Command::Alarm(AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 })
    };
    let alarms = |state: &mut State, command| match state.apply(&command).unwrap() {
        Answer::Alarm(response) => response.alarms,
        other => panic!("{other:?}"),
    };
    let raised = AlarmMember { member_id: 9, alarm: AlarmType::Nospace as i32 };
    assert_eq!(alarms(&mut state, alarm(AlarmAction::Activate, 9, AlarmType::Nospace)), [raised]);
    let before = state.clone();
    assert_eq!(state.apply(&put("a", "2")), Err(EtcdError::NoSpace));
    let both = TxnRequest { success: vec![op(delete("a", "")), op(put("b", "2"))], ..Default::default() };
    assert_eq!(state.apply(&Command::Txn(both)), Err(EtcdError::NoSpace));
    assert_eq!(state, before, "what is refused changes nothing");
    assert_eq!(State::restore(state.snapshot(3, 1)), state, "members that come later know of the alarm");

    state.apply(&put("/pd/7/timestamp", "1")).unwrap();
    state.apply(&Command::LeaseGrant(LeaseGrantRequest { id: 5, ttl: 3 })).unwrap();
    state.apply(&delete("a", "")).unwrap();
    assert_eq!(alarms(&mut state, alarm(AlarmAction::Get, 0, AlarmType::None)), [raised]);
    assert_eq!(alarms(&mut state, alarm(AlarmAction::Get, 0, AlarmType::Corrupt)), []);
    assert_eq!(alarms(&mut state, alarm(AlarmAction::Deactivate, 9, AlarmType::Nospace)), [raised]);
    assert_eq!(state.apply(&alarm(AlarmAction::Activate, 9, AlarmType::None)), Err(EtcdError::Invalid));
    state.apply(&put("a", "3")).unwrap();
}
