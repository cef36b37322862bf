//! Reads against a model: random histories of commits, rollbacks and locks, read at every timestamp.

use std::collections::BTreeMap;

use engine::memory::MemoryEngine;
use engine::{Engine, WriteBatch};
use proptest::prelude::*;

use super::*;
use crate::mvcc::lock::LockKind;
use crate::mvcc::write::Write;
use crate::mvcc::{MvccView, ReadView, SHORT_VALUE_BYTES_MAX};

#[derive(Clone, Debug)]
enum Event {
    /// A transaction of one timestamp step; whether it removes, only locks, or puts a value of that length.
    Commit(u8, Change),
    Rollback(u8),
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Put { long: bool },
    Delete,
    Lock,
}

#[derive(Clone, Debug)]
struct FinalLock {
    key: u8,
    kind: LockKind,
    start_ts: u64,
    min_commit_ts: u64,
}

fn any_event() -> impl Strategy<Value = Event> {
    let change = prop_oneof![
        5 => any::<bool>().prop_map(|long| Change::Put { long }),
        2 => Just(Change::Delete),
        2 => Just(Change::Lock),
    ];
    prop_oneof![4 => (0u8..4, change).prop_map(|(k, c)| Event::Commit(k, c)), 1 => (0u8..4).prop_map(Event::Rollback)]
}

fn any_final_lock() -> impl Strategy<Value = FinalLock> {
    let kind = prop::sample::select(vec![LockKind::Put, LockKind::Delete, LockKind::Lock, LockKind::Pessimistic]);
    (0u8..5, kind, 1u64..120, 0u64..120).prop_map(|(key, kind, start_ts, min_commit_ts)| FinalLock {
        key,
        kind,
        start_ts,
        min_commit_ts,
    })
}

fn user_key(n: u8) -> Vec<u8> {
    // Keys that are prefixes of each other, and one longer than an encoding group.
    [b"a".to_vec(), b"ab".to_vec(), b"abcdefgh-long".to_vec(), b"b".to_vec(), b"c".to_vec()][n as usize].clone()
}

type Versions = BTreeMap<(u8, u64), Option<Vec<u8>>>;

fn build(events: &[Event], locks: &[FinalLock]) -> (MemoryEngine, Versions, BTreeMap<u8, FinalLock>) {
    let engine = MemoryEngine::new();
    let mut model = Versions::new();
    let mut batch = WriteBatch::new();
    for (i, event) in events.iter().enumerate() {
        let (start, commit) = (Timestamp(i as u64 * 2 + 1), Timestamp(i as u64 * 2 + 2));
        match event {
            Event::Commit(k, change) => {
                let key = Key::from_user(&user_key(*k));
                let (kind, value) = match change {
                    Change::Put { long } => {
                        let mut value = format!("v{i}").into_bytes();
                        value.resize(if *long { SHORT_VALUE_BYTES_MAX + 1 } else { value.len() }, b'.');
                        model.insert((*k, commit.0), Some(value.clone()));
                        (WriteKind::Put, Some(value))
                    }
                    Change::Delete => {
                        model.insert((*k, commit.0), None);
                        (WriteKind::Delete, None)
                    }
                    Change::Lock => (WriteKind::Lock, None),
                };
                let short = value.clone().filter(|v| v.len() <= SHORT_VALUE_BYTES_MAX);
                if let (Some(value), None) = (value, &short) {
                    batch.put(Cf::Default, key.at(start), value);
                }
                batch.put(Cf::Write, key.at(commit), Write::new(kind, start, short).to_bytes());
            }
            Event::Rollback(k) => {
                let key = Key::from_user(&user_key(*k));
                batch.put(Cf::Write, key.at(start), Write::rollback(start, false).to_bytes());
            }
        }
    }
    let mut held = BTreeMap::new();
    for l in locks {
        let mut lock = Lock::new(l.kind, *b"primary", Timestamp(l.start_ts), 0);
        lock.min_commit_ts = Timestamp(l.min_commit_ts);
        lock.short_value = Some(b"locked".to_vec());
        batch.put(Cf::Lock, Key::from_user(&user_key(l.key)).into_encoded(), lock.to_bytes());
        held.insert(l.key, l.clone());
    }
    engine.write(batch).unwrap();
    (engine, model, held)
}

/// What a read of key `k` at `ts` must find: a value, nothing, or a lock.
fn expected(model: &Versions, locks: &BTreeMap<u8, FinalLock>, k: u8, ts: u64) -> Result<Option<Vec<u8>>, ()> {
    if let Some(lock) = locks.get(&k) {
        let visible = matches!(lock.kind, LockKind::Put | LockKind::Delete);
        if visible && lock.start_ts <= ts && lock.min_commit_ts <= ts {
            return Err(());
        }
    }
    Ok(model.range((k, 0)..=(k, ts)).next_back().and_then(|(_, v)| v.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn reads_agree_with_the_model(
        events in prop::collection::vec(any_event(), 0..60),
        locks in prop::collection::vec(any_final_lock(), 0..3),
        range in (0u8..5, 0u8..6),
    ) {
        let (engine, model, held) = build(&events, &locks);
        for ts in [0, 1, 7, 20, 50, 119, u64::MAX] {
            let view = MvccView::new(engine.snapshot(), KeyRange::default(), ReadParams::at(Timestamp(ts)));
            for k in 0..5 {
                let found = view.get(&user_key(k)).map(|v| v.map(|v| v.to_vec())).map_err(|_| ());
                prop_assert_eq!(found, expected(&model, &held, k, ts), "key {} at {}", k, ts);
            }
            let end = if range.1 == 5 { Vec::new() } else { user_key(range.1) };
            let keys = KeyRange::new(user_key(range.0), end);
            let mut rows: Vec<_> = (range.0..range.1.min(5))
                .map(|k| (user_key(k), expected(&model, &held, k, ts)))
                .filter(|(_, v)| *v != Ok(None))
                .map(|(k, v)| v.map(|v| (k.clone(), v.unwrap())).map_err(|()| k))
                .collect();
            for direction in [Direction::Forward, Direction::Backward] {
                let found: Vec<_> = view
                    .scan(&keys, ScanOptions { direction, key_only: false })
                    .unwrap()
                    .map(|row| match row {
                        Ok((k, v)) => Ok((k, v.to_vec())),
                        Err(MvccError::KeyIsLocked(info)) => Err(info.key),
                        Err(e) => panic!("{e}"),
                    })
                    .collect();
                prop_assert_eq!(&found, &rows, "{:?} at {}", direction, ts);
                let keys_only = view
                    .scan(&keys, ScanOptions { direction, key_only: true })
                    .unwrap()
                    .filter_map(|row| row.ok())
                    .collect::<Vec<_>>();
                prop_assert!(keys_only.iter().all(|(_, v)| v.is_empty()));
                prop_assert_eq!(keys_only.len(), rows.iter().filter(|r| r.is_ok()).count());
                rows.reverse();
            }
        }
    }
}

#[test]
fn many_versions_are_skipped_in_both_directions() {
    let engine = MemoryEngine::new();
    let mut batch = WriteBatch::new();
    for k in [b"a", b"b", b"c"] {
        for n in 1..200u64 {
            let write = Write::new(WriteKind::Put, Timestamp(n * 2 - 1), Some(n.to_string().into_bytes()));
            batch.put(Cf::Write, Key::from_user(k).at(Timestamp(n * 2)), write.to_bytes());
        }
    }
    engine.write(batch).unwrap();
    for ts in [1, 2, 3, 100, 399, 1000] {
        let view = MvccView::new(engine.snapshot(), KeyRange::default(), ReadParams::at(Timestamp(ts)));
        for direction in [Direction::Forward, Direction::Backward] {
            let rows: Vec<_> =
                view.scan(&KeyRange::default(), ScanOptions { direction, key_only: false }).unwrap().collect();
            let newest = (ts / 2).min(199).to_string();
            assert_eq!(rows.len(), if ts < 2 { 0 } else { 3 });
            assert!(rows.into_iter().all(|row| row.unwrap().1 == newest));
        }
    }
}

#[test]
fn bypassed_and_committed_locks() {
    let engine = MemoryEngine::new();
    let mut batch = WriteBatch::new();
    let key = Key::from_user(b"k");
    batch.put(
        Cf::Write,
        key.at(Timestamp(5)),
        Write::new(WriteKind::Put, Timestamp(4), Some(b"old".to_vec())).to_bytes(),
    );
    let mut lock = Lock::new(LockKind::Put, *b"other", Timestamp(10), 100);
    lock.short_value = Some(b"new".to_vec());
    batch.put(Cf::Lock, key.encoded(), lock.to_bytes());
    engine.write(batch).unwrap();
    let read = |params: ReadParams| {
        let view = MvccView::new(engine.snapshot(), KeyRange::default(), params);
        let got = view.get(b"k").map(|v| v.map(|v| v.to_vec()));
        let scanned = view.scan(&KeyRange::default(), ScanOptions::default()).unwrap().next();
        match (got, scanned) {
            (Ok(Some(a)), Some(Ok((_, b)))) => {
                assert_eq!(a, b.to_vec());
                Some(String::from_utf8(a).unwrap())
            }
            (Err(MvccError::KeyIsLocked(_)), Some(Err(MvccError::KeyIsLocked(_)))) => None,
            other => panic!("{other:?}"),
        }
    };
    let at = |ts| ReadParams::at(Timestamp(ts));
    assert_eq!(read(at(9)).as_deref(), Some("old"));
    assert_eq!(read(at(10)), None);
    assert_eq!(read(at(u64::MAX)), None);
    let bypass = ReadParams { resolved_locks: vec![Timestamp(10)], ..at(20) };
    assert_eq!(read(bypass).as_deref(), Some("old"));
    let committed = ReadParams { committed_locks: vec![Timestamp(10)], ..at(20) };
    assert_eq!(read(committed).as_deref(), Some("new"));
    let read_committed = ReadParams { isolation: Isolation::ReadCommitted, ..at(20) };
    assert_eq!(read(read_committed).as_deref(), Some("old"));
}
