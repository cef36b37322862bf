//! The suite that every engine passes, hot ranges above or not: order, atomicity, snapshots, ranges, and what a crash leaves.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use engine::disk::{FjallEngine, FjallOptions};
use engine::hot::{HotEngine, HotOptions};
use engine::memory::MemoryEngine;
use engine::{Cf, Direction, Engine, EngineError, KEY_BYTES_MAX, KeyRange, Modify, Snapshot, WriteBatch};
use proptest::prelude::*;

/// An engine under test, with the power to crash it.
trait Subject {
    type Engine: Engine;
    fn new() -> Self;
    fn engine(&self) -> Self::Engine;
    /// Cuts the power and starts again: what was synced is there, and a prefix of the rest.
    fn crash(&mut self);
    /// An orderly stop and start: everything written is there.
    fn reopen(&mut self);
}

struct Memory(MemoryEngine);

impl Subject for Memory {
    type Engine = MemoryEngine;
    fn new() -> Self {
        Memory(MemoryEngine::new())
    }
    fn engine(&self) -> MemoryEngine {
        self.0.clone()
    }
    fn crash(&mut self) {
        self.0.crash();
    }
    fn reopen(&mut self) {
        self.0.sync().unwrap();
        self.0.crash();
    }
}

struct Disk {
    dir: tempfile::TempDir,
    engine: Option<FjallEngine>,
}

impl Disk {
    fn open(dir: &Path) -> FjallEngine {
        // Small memtables, so that the suite flushes and compacts.
        let options = FjallOptions { memtable_bytes: 64 << 10, ..FjallOptions::default() };
        FjallEngine::open(dir, options).unwrap()
    }
}

impl Subject for Disk {
    type Engine = FjallEngine;
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Some(Disk::open(dir.path()));
        Disk { dir, engine }
    }
    fn engine(&self) -> FjallEngine {
        self.engine.clone().unwrap()
    }
    fn crash(&mut self) {
        // The files as they are now, seen by a second process: nothing was closed or synced for it.
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        drop(self.engine.take());
        self.dir = copy;
        self.engine = Some(Disk::open(self.dir.path()));
    }
    fn reopen(&mut self) {
        drop(self.engine.take());
        self.engine = Some(Disk::open(self.dir.path()));
    }
}

/// Hot ranges above another subject's engine, loaded as they are read.
struct Hot<S: Subject> {
    below: S,
    engine: Option<HotEngine<S::Engine>>,
}

impl<S: Subject> Hot<S> {
    fn above(below: &S) -> Option<HotEngine<S::Engine>> {
        Some(HotEngine::new(below.engine(), HotOptions::default()).unwrap())
    }
}

impl<S: Subject> Subject for Hot<S> {
    type Engine = HotEngine<S::Engine>;
    fn new() -> Self {
        let below = S::new();
        Hot { engine: Self::above(&below), below }
    }
    fn engine(&self) -> Self::Engine {
        self.engine.clone().unwrap()
    }
    fn crash(&mut self) {
        drop(self.engine.take());
        self.below.crash();
        self.engine = Self::above(&self.below);
    }
    fn reopen(&mut self) {
        drop(self.engine.take());
        self.below.reopen();
        self.engine = Self::above(&self.below);
    }
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if let Err(e) = std::fs::copy(entry.path(), target) {
            // A compaction may remove a table while the copy runs.
            assert_eq!(e.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

macro_rules! suite {
    ($($name:ident),* $(,)?) => {
        mod memory { $(#[test] fn $name() { super::$name::<super::Memory>(); })* }
        mod disk { $(#[test] fn $name() { super::$name::<super::Disk>(); })* }
        mod hot_above_memory { $(#[test] fn $name() { super::$name::<super::Hot<super::Memory>>(); })* }
        mod hot_above_disk { $(#[test] fn $name() { super::$name::<super::Hot<super::Disk>>(); })* }
    };
}

suite! {
    reads_what_was_written, families_are_apart, later_change_wins_within_a_batch, snapshot_never_changes,
    scans_in_both_directions, empty_and_inverted_ranges_are_empty, range_delete_sees_the_batch_before_it,
    large_values_survive, synced_batches_survive_a_crash, reopening_keeps_everything, size_is_that_of_live_data,
    long_scans_cross_chunks, refuses_keys_of_a_wrong_length, behaves_as_a_map, concurrent_batches_are_seen_whole,
    concurrent_locks_are_seen_with_what_came_with_them, many_locks_and_few_are_found_alike,
}

fn put<E: Engine>(engine: &E, cf: Cf, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(cf, key, value);
    engine.write(batch).unwrap();
}

fn get<E: Engine>(engine: &E, cf: Cf, key: &[u8]) -> Option<Vec<u8>> {
    engine.snapshot().get(cf, key).unwrap().map(|v| v.to_vec())
}

fn keys<S: Snapshot>(view: &S, cf: Cf, range: &KeyRange, direction: Direction) -> Vec<Vec<u8>> {
    view.scan(cf, range, direction).map(|e| e.unwrap().0.to_vec()).collect()
}

fn reads_what_was_written<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    assert_eq!(get(&engine, Cf::Default, b"k"), None);
    put(&engine, Cf::Default, b"k", b"v");
    put(&engine, Cf::Default, b"e", b"");
    assert_eq!(get(&engine, Cf::Default, b"k").unwrap(), b"v");
    assert_eq!(get(&engine, Cf::Default, b"e").unwrap(), b"");
    let mut batch = WriteBatch::new();
    batch.delete(Cf::Default, *b"k");
    batch.delete(Cf::Default, *b"never there");
    engine.write(batch).unwrap();
    assert_eq!(get(&engine, Cf::Default, b"k"), None);
    engine.write(WriteBatch::new()).unwrap();
}

fn families_are_apart<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    for cf in Cf::ALL {
        put(&engine, cf, b"k", cf.name().as_bytes());
    }
    for cf in Cf::ALL {
        assert_eq!(get(&engine, cf, b"k").unwrap(), cf.name().as_bytes());
    }
    let mut batch = WriteBatch::new();
    batch.delete_range(Cf::Lock, KeyRange::default());
    engine.write(batch).unwrap();
    assert_eq!(get(&engine, Cf::Lock, b"k"), None);
    assert_eq!(get(&engine, Cf::Write, b"k").unwrap(), b"write");
}

fn later_change_wins_within_a_batch<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    let mut batch = WriteBatch::new();
    batch.put(Cf::Default, *b"a", *b"1");
    batch.put(Cf::Default, *b"a", *b"2");
    batch.put(Cf::Default, *b"b", *b"1");
    batch.delete(Cf::Default, *b"b");
    batch.delete(Cf::Default, *b"c");
    batch.put(Cf::Default, *b"c", *b"3");
    engine.write(batch).unwrap();
    assert_eq!(get(&engine, Cf::Default, b"a").unwrap(), b"2");
    assert_eq!(get(&engine, Cf::Default, b"b"), None);
    assert_eq!(get(&engine, Cf::Default, b"c").unwrap(), b"3");
}

fn snapshot_never_changes<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    put(&engine, Cf::Default, b"a", b"1");
    put(&engine, Cf::Default, b"b", b"1");
    let before = engine.snapshot();
    let mut scan = before.scan(Cf::Default, &KeyRange::default(), Direction::Forward);
    assert_eq!(scan.next().unwrap().unwrap().0.as_ref(), b"a");
    put(&engine, Cf::Default, b"a", b"2");
    put(&engine, Cf::Default, b"c", b"2");
    let mut batch = WriteBatch::new();
    batch.delete_range(Cf::Default, KeyRange::new(*b"b", *b"c"));
    engine.write(batch).unwrap();
    engine.sync().unwrap();
    assert_eq!(before.get(Cf::Default, b"a").unwrap().unwrap().as_ref(), b"1");
    assert_eq!(before.get(Cf::Default, b"c").unwrap(), None);
    let rest: Vec<_> = scan.map(|e| e.unwrap()).collect();
    assert_eq!(rest, [(Bytes::from_static(b"b"), Bytes::from_static(b"1"))]);
    assert_eq!(keys(&engine.snapshot(), Cf::Default, &KeyRange::default(), Direction::Forward), [b"a", b"c"]);
}

fn scans_in_both_directions<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    for key in [b"a", b"b", b"c", b"d"] {
        put(&engine, Cf::Write, key, b"v");
    }
    let view = engine.snapshot();
    let range = KeyRange::new(*b"b", *b"d");
    assert_eq!(keys(&view, Cf::Write, &range, Direction::Forward), [b"b", b"c"]);
    assert_eq!(keys(&view, Cf::Write, &range, Direction::Backward), [b"c", b"b"]);
    assert_eq!(keys(&view, Cf::Write, &KeyRange::new(*b"c", *b""), Direction::Backward), [b"d", b"c"]);
}

fn empty_and_inverted_ranges_are_empty<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    put(&engine, Cf::Default, b"b", b"v");
    let view = engine.snapshot();
    for range in [KeyRange::new(*b"b", *b"b"), KeyRange::new(*b"c", *b"a")] {
        for direction in [Direction::Forward, Direction::Backward] {
            assert!(keys(&view, Cf::Default, &range, direction).is_empty());
        }
        assert_eq!(engine.approximate_size(Cf::Default, &range).unwrap(), 0);
        let mut batch = WriteBatch::new();
        batch.delete_range(Cf::Default, range);
        engine.write(batch).unwrap();
    }
    assert!(get(&engine, Cf::Default, b"b").is_some());
}

fn range_delete_sees_the_batch_before_it<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    put(&engine, Cf::Default, b"b", b"stored");
    let mut batch = WriteBatch::new();
    batch.put(Cf::Default, *b"a", *b"before");
    batch.put(Cf::Default, *b"z", *b"outside");
    batch.delete_range(Cf::Default, KeyRange::new(*b"a", *b"m"));
    batch.put(Cf::Default, *b"c", *b"after");
    engine.write(batch).unwrap();
    assert_eq!(keys(&engine.snapshot(), Cf::Default, &KeyRange::default(), Direction::Forward), [b"c", b"z"]);
}

fn large_values_survive<S: Subject>() {
    let mut subject = S::new();
    let value = vec![7u8; 3 << 20];
    put(&subject.engine(), Cf::Default, b"big", &value);
    subject.engine().sync().unwrap();
    subject.crash();
    assert_eq!(get(&subject.engine(), Cf::Default, b"big").unwrap(), value);
}

fn synced_batches_survive_a_crash<S: Subject>() {
    let mut subject = S::new();
    let engine = subject.engine();
    let write = |n: u32| {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Default, n.to_be_bytes(), vec![1; 500]);
        batch.put(Cf::Write, n.to_be_bytes(), vec![2; 500]);
        batch.put(Cf::Raft, *b"applied", n.to_be_bytes());
        engine.write(batch).unwrap();
    };
    (0..500).for_each(write);
    engine.sync().unwrap();
    (500..600).for_each(write);
    drop(engine);
    subject.crash();
    let engine = subject.engine();
    let applied = get(&engine, Cf::Raft, b"applied").unwrap();
    let applied = u32::from_be_bytes(applied.try_into().unwrap());
    assert!((499..600).contains(&applied), "applied {applied}");
    let all: Vec<Vec<u8>> = (0..=applied).map(|n| n.to_be_bytes().to_vec()).collect();
    for cf in [Cf::Default, Cf::Write] {
        assert_eq!(keys(&engine.snapshot(), cf, &KeyRange::default(), Direction::Forward), all, "{cf:?}");
    }
    put(&engine, Cf::Default, b"writable", b"again");
}

fn reopening_keeps_everything<S: Subject>() {
    let mut subject = S::new();
    for n in 0..300u32 {
        put(&subject.engine(), Cf::Default, &n.to_be_bytes(), &[0; 1000]);
    }
    let mut batch = WriteBatch::new();
    batch.delete_range(Cf::Default, KeyRange::new(10u32.to_be_bytes(), 290u32.to_be_bytes()));
    subject.engine().write(batch).unwrap();
    subject.reopen();
    let left = keys(&subject.engine().snapshot(), Cf::Default, &KeyRange::default(), Direction::Forward);
    let expected: Vec<Vec<u8>> = (0..10u32).chain(290..300).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(left, expected);
}

fn size_is_that_of_live_data<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    for n in 0..100u32 {
        put(&engine, Cf::Default, &n.to_be_bytes(), &[0; 96]);
        put(&engine, Cf::Default, &n.to_be_bytes(), &[0; 96]);
    }
    let range = KeyRange::new(0u32.to_be_bytes(), 50u32.to_be_bytes());
    let size = engine.approximate_size(Cf::Default, &range).unwrap();
    assert!((4500..5500).contains(&size), "size {size}");
}

fn long_scans_cross_chunks<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    let all: Vec<Vec<u8>> = (0..1000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    for key in &all {
        put(&engine, Cf::Default, key, b"v");
    }
    let view = engine.snapshot();
    assert_eq!(keys(&view, Cf::Default, &KeyRange::default(), Direction::Forward), all);
    let mut backward = keys(&view, Cf::Default, &KeyRange::default(), Direction::Backward);
    backward.reverse();
    assert_eq!(backward, all);
    let exact = KeyRange::new(all[0].clone(), all[64].clone());
    assert_eq!(keys(&view, Cf::Default, &exact, Direction::Forward).len(), 64);
}

fn refuses_keys_of_a_wrong_length<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    for key in [vec![], vec![1; KEY_BYTES_MAX + 1]] {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Default, *b"a", *b"1");
        batch.put(Cf::Default, key.clone(), *b"v");
        assert!(matches!(engine.write(batch), Err(EngineError::KeyLength(_))));
        assert_eq!(engine.snapshot().get(Cf::Default, &key).unwrap(), None);
    }
    assert_eq!(get(&engine, Cf::Default, b"a"), None);
    put(&engine, Cf::Default, &[1; KEY_BYTES_MAX], b"longest");
    let view = engine.snapshot();
    let too_long = vec![1; KEY_BYTES_MAX + 1];
    for direction in [Direction::Forward, Direction::Backward] {
        assert!(keys(&view, Cf::Default, &KeyRange::new(too_long.clone(), *b""), direction).is_empty());
        assert_eq!(keys(&view, Cf::Default, &KeyRange::new(*b"", too_long.clone()), direction).len(), 1);
    }
}

/// Checks snapshots as long as two threads write.
fn beside_two_writers<E: Engine>(engine: &E, write: impl Fn(u8) + Sync, check: impl Fn(E::Snapshot)) {
    let write = &write;
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|writer| scope.spawn(move || write(writer)));
        while writers.iter().any(|w| !w.is_finished()) {
            check(engine.snapshot());
        }
    });
}

fn concurrent_batches_are_seen_whole<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    let write = |writer: u8| {
        for n in 0..300u32 {
            let mut batch = WriteBatch::new();
            batch.put(Cf::Default, [writer, 1], n.to_be_bytes());
            batch.put(Cf::Write, [writer, 2], n.to_be_bytes());
            engine.write(batch).unwrap();
        }
    };
    beside_two_writers(&engine, write, |view| {
        for writer in 0..2u8 {
            let left = view.get(Cf::Default, &[writer, 1]).unwrap();
            assert_eq!(left, view.get(Cf::Write, &[writer, 2]).unwrap());
        }
    });
}

/// The disk engine follows the lock family's keys in memory: what a snapshot says of them is what the tree says.
fn concurrent_locks_are_seen_with_what_came_with_them<S: Subject>() {
    let subject = S::new();
    let engine = subject.engine();
    let write = |writer: u8| {
        for _ in 0..3000 {
            let (mut lock, mut unlock) = (WriteBatch::new(), WriteBatch::new());
            for cf in [Cf::Default, Cf::Lock] {
                lock.put(cf, [writer], *b"held");
                unlock.delete(cf, [writer]);
            }
            engine.write(lock).unwrap();
            engine.write(unlock).unwrap();
        }
    };
    beside_two_writers(&engine, write, |view| {
        let held = keys(&view, Cf::Default, &KeyRange::default(), Direction::Forward);
        assert_eq!(keys(&view, Cf::Lock, &KeyRange::default(), Direction::Forward), held);
        for writer in 0..2u8 {
            assert_eq!(view.get(Cf::Lock, &[writer]).unwrap().is_some(), held.contains(&vec![writer]));
        }
    });
    assert_eq!(keys(&engine.snapshot(), Cf::Lock, &KeyRange::default(), Direction::Forward).len(), 0);
}

fn many_locks_and_few_are_found_alike<S: Subject>() {
    let mut subject = S::new();
    let mut model = Model::new();
    let mut write = |engine: S::Engine, modifies: Vec<Modify>| {
        let batch = WriteBatch { modifies };
        apply(&mut model, &batch);
        engine.write(batch).unwrap();
        model.clone()
    };
    let put = |n: u8| Modify::Put(Cf::Lock, vec![n], vec![n, n]);
    let all = write(subject.engine(), (0..60).map(put).collect());
    let before = subject.engine().snapshot();
    write(subject.engine(), (0..60).filter(|n| n % 3 != 0).map(|n| Modify::Delete(Cf::Lock, vec![n])).collect());
    let left = write(subject.engine(), vec![Modify::DeleteRange(Cf::Lock, KeyRange::new(*b"\x28", *b"\x32")), put(41)]);
    let check = |view: &_, model: &_| {
        for (start, end) in [(0, 60), (0, 16), (0, 17), (5, 5), (7, 22), (30, 55), (41, 42)] {
            check_range(view, model, &KeyRange::new([start], [end])).unwrap();
        }
        check_range(view, model, &KeyRange::default()).unwrap();
    };
    check(&subject.engine().snapshot(), &left);
    check(&before, &all);
    drop(before);
    subject.reopen();
    check(&subject.engine().snapshot(), &left);
}

type Model = BTreeMap<(Cf, Vec<u8>), Vec<u8>>;

fn apply(model: &mut Model, batch: &WriteBatch) {
    for modify in &batch.modifies {
        match modify.clone() {
            Modify::Put(cf, key, value) => drop(model.insert((cf, key), value)),
            Modify::Delete(cf, key) => drop(model.remove(&(cf, key))),
            Modify::DeleteRange(cf, range) => model.retain(|(c, k), _| *c != cf || !range.contains(k)),
        }
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0u8..3, 0..3)
}

fn any_row_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0u8..3, 1..3)
}

fn any_modify() -> impl Strategy<Value = Modify> {
    let cf = prop::sample::select(vec![Cf::Default, Cf::Lock, Cf::Write]);
    prop_oneof![
        4 => (cf.clone(), any_row_key(), prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(c, k, v)| Modify::Put(c, k, v)),
        2 => (cf.clone(), any_row_key()).prop_map(|(c, k)| Modify::Delete(c, k)),
        1 => (cf, any_key(), any_key()).prop_map(|(c, a, b)| Modify::DeleteRange(c, KeyRange::new(a, b))),
    ]
}

fn behaves_as_a_map<S: Subject>() {
    let batches = prop::collection::vec(prop::collection::vec(any_modify(), 1..5), 1..20);
    let ranges = prop::collection::vec((any_key(), any_key()), 4);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) };
    proptest!(config, |(batches in batches, ranges in ranges)| {
        let mut subject = S::new();
        let mut model = Model::new();
        let mut views = Vec::new();
        for modifies in batches {
            let batch = WriteBatch { modifies };
            apply(&mut model, &batch);
            subject.engine().write(batch).unwrap();
            views.push((subject.engine().snapshot(), model.clone()));
        }
        for (view, model) in &views {
            for (start, end) in &ranges {
                check_range(view, model, &KeyRange::new(start.clone(), end.clone()))?;
            }
        }
        drop(views);
        subject.engine().sync().unwrap();
        subject.crash();
        check_range(&subject.engine().snapshot(), &model, &KeyRange::default())?;
    });
}

fn check_range<S: Snapshot>(view: &S, model: &Model, range: &KeyRange) -> Result<(), TestCaseError> {
    for cf in Cf::ALL {
        let expected: Vec<(Vec<u8>, Vec<u8>)> = model
            .iter()
            .filter(|((c, k), _)| *c == cf && range.contains(k))
            .map(|((_, k), v)| (k.clone(), v.clone()))
            .collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let mut found: Vec<(Vec<u8>, Vec<u8>)> =
                view.scan(cf, range, direction).map(|e| e.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            if direction == Direction::Backward {
                found.reverse();
            }
            prop_assert_eq!(&found, &expected);
        }
        for (key, value) in &expected {
            let got = view.get(cf, key).unwrap();
            prop_assert_eq!(got.as_deref(), Some(value.as_slice()));
        }
    }
    Ok(())
}

#[test]
fn memory_crash_keeps_the_asked_prefix() {
    let engine = MemoryEngine::new();
    for n in 0..10u8 {
        put(&engine, Cf::Default, &[n], b"v");
        if n == 3 {
            engine.sync().unwrap();
        }
    }
    assert_eq!(engine.unsynced_batches(), 6);
    engine.crash_keeping(2);
    assert_eq!(keys(&engine.snapshot(), Cf::Default, &KeyRange::default(), Direction::Forward).len(), 6);
    put(&engine, Cf::Default, &[9], b"new");
    engine.crash();
    assert_eq!(get(&engine, Cf::Default, &[9]), None);
}

#[test]
fn memory_refuses_writes_after_a_failed_sync_until_reopened() {
    let engine = MemoryEngine::new();
    put(&engine, Cf::Default, b"a", b"1");
    engine.sync().unwrap();
    put(&engine, Cf::Default, b"a", b"2");
    engine.fail_next_sync();
    assert!(matches!(engine.sync(), Err(EngineError::Io(_))));
    assert!(matches!(engine.write(WriteBatch::new()), Err(EngineError::Poisoned)));
    assert!(matches!(engine.sync(), Err(EngineError::Poisoned)));
    engine.crash();
    assert_eq!(get(&engine, Cf::Default, b"a").unwrap(), b"1");
    put(&engine, Cf::Default, b"a", b"3");
}

#[test]
fn disk_recovers_from_a_torn_journal_to_a_prefix() {
    for torn_bytes in [1, 7, 64, 300, 5000] {
        let mut subject = Disk::new();
        let engine = subject.engine();
        for n in 0..100u32 {
            let mut batch = WriteBatch::new();
            batch.put(Cf::Default, n.to_be_bytes(), vec![1; 100]);
            batch.put(Cf::Raft, n.to_be_bytes(), vec![2; 100]);
            engine.write(batch).unwrap();
        }
        engine.sync().unwrap();
        drop(engine);
        drop(subject.engine.take());
        tear_journal(subject.dir.path(), torn_bytes);
        subject.engine = Some(Disk::open(subject.dir.path()));
        let view = subject.engine().snapshot();
        let left = keys(&view, Cf::Default, &KeyRange::default(), Direction::Forward);
        assert!(left.len() < 100 && left.len() >= 100 - 2 - torn_bytes as usize / 100, "{torn_bytes}: {}", left.len());
        let prefix: Vec<Vec<u8>> = (0..left.len() as u32).map(|n| n.to_be_bytes().to_vec()).collect();
        assert_eq!(left, prefix);
        assert_eq!(keys(&view, Cf::Raft, &KeyRange::default(), Direction::Forward), prefix);
    }
}

/// Cuts written bytes off the end of the journal, as a power cut in the middle of a write does.
fn tear_journal(dir: &Path, bytes: u64) {
    let journal = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "jnl"))
        .unwrap();
    let content = std::fs::read(&journal).unwrap();
    let written = content.iter().rposition(|b| *b != 0).unwrap() as u64 + 1;
    std::fs::OpenOptions::new().write(true).open(&journal).unwrap().set_len(written - bytes).unwrap();
}

#[test]
fn disk_gives_the_space_of_removed_entries_back_when_it_is_told() {
    let subject = Disk::new();
    let engine = subject.engine();
    let key = |i: u32| format!("k{i:06}").into_bytes();
    for i in 0..40_000u32 {
        // Does not compress.
        let value: Vec<u8> =
            (0..8).flat_map(|n| u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ n).to_le_bytes()).collect();
        put(&engine, Cf::Write, &key(i), &value);
    }
    engine.reclaim(Cf::Write, 8 << 20).unwrap();
    let tables = || directory_bytes(&subject.dir.path().join("keyspaces"));
    let before = tables();
    assert!(before > 2 << 20, "{before}");
    let held = engine.snapshot();
    let mut batch = WriteBatch::new();
    (0..39_000).for_each(|i| batch.delete(Cf::Write, key(i)));
    engine.write(batch).unwrap();
    // Too little to be worth it, then enough; what a snapshot sees stays with it.
    engine.reclaim(Cf::Write, 1).unwrap();
    assert!(tables() > before / 2);
    assert_eq!(keys(&held, Cf::Write, &KeyRange::default(), Direction::Forward).len(), 40_000);
    drop(held);
    engine.reclaim(Cf::Write, 8 << 20).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while tables() > before / 4 {
        assert!(std::time::Instant::now() < deadline, "{} of {before} bytes are left", tables());
        // Tables that were merged are removed with the next change of the tree.
        put(&engine, Cf::Write, b"k", b"v");
        engine.reclaim(Cf::Write, 8 << 20).unwrap();
    }
    let view = engine.snapshot();
    assert_eq!(keys(&view, Cf::Write, &KeyRange::default(), Direction::Forward).len(), 1001);
}

fn directory_bytes(dir: &Path) -> u64 {
    let size = |entry: std::io::Result<std::fs::DirEntry>| match entry {
        Ok(entry) if entry.path().is_dir() => directory_bytes(&entry.path()),
        Ok(entry) => entry.metadata().map_or(0, |m| m.len()),
        Err(_) => 0,
    };
    std::fs::read_dir(dir).map_or(0, |entries| entries.map(size).sum())
}

#[test]
fn disk_remembers_that_a_reader_met_flipped_bits() {
    let mut subject = Disk::new();
    let engine = subject.engine();
    (0..20_000u32).for_each(|i| put(&engine, Cf::Write, format!("k{i:06}").as_bytes(), &[i as u8; 100]));
    // Into tables on disk.
    engine.reclaim(Cf::Write, 64 << 20).unwrap();
    engine.sync().unwrap();
    drop(engine);
    drop(subject.engine.take());
    let flipped = flip_bits(&subject.dir.path().join("keyspaces"));
    assert!(flipped > 0, "no table was large enough");
    let engine = Disk::open(subject.dir.path());
    assert!(engine.damage().is_none(), "nobody read it yet");
    let met = engine.snapshot().scan(Cf::Write, &KeyRange::default(), Direction::Forward).find_map(Result::err);
    assert!(matches!(met, Some(EngineError::Corrupted(_))), "{met:?}");
    assert!(matches!(engine.damage(), Some(EngineError::Corrupted(_))));
}

/// Flips a bit in the middle of each large file under a directory; returns how many.
fn flip_bits(dir: &Path) -> usize {
    let mut flipped = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            flipped += flip_bits(&path);
            continue;
        }
        let mut content = std::fs::read(&path).unwrap();
        if content.len() > 50_000 {
            let middle = content.len() / 2;
            content[middle] ^= 0x10;
            std::fs::write(&path, content).unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[test]
fn disk_refuses_a_directory_in_use() {
    let subject = Disk::new();
    assert!(FjallEngine::open(subject.dir.path(), FjallOptions::default()).is_err());
}
