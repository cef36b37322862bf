//! Whatever is loaded, taken out, written and kept: a snapshot gives what a plain map of that moment gives.
//!
//! Here nothing loads by itself, and pieces are so small that a few pairs fill several.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::EngineError;
use crate::disk::{FjallEngine, FjallOptions};
use crate::memory::MemoryEngine;

const SMALL: Sizes = Sizes { block: 48, segment: 160 };
const FAMILIES: [Cf; 2] = [Cf::Write, Cf::Default];

/// Whether what was found is what was expected.
type Checked = std::result::Result<(), TestCaseError>;
type Model = BTreeMap<(Cf, Vec<u8>), Vec<u8>>;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Modify>),
    /// A load, with writes while it reads.
    Load {
        cf: Cf,
        key: Vec<u8>,
        before: bool,
        meanwhile: Vec<Vec<Modify>>,
    },
    /// Leaves this much in memory.
    Evict(usize),
    Keep,
    Crash,
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0u8..4, 0..4)
}

fn any_modify() -> impl Strategy<Value = Modify> {
    let cf = prop::sample::select(vec![Cf::Default, Cf::Write, Cf::Write, Cf::Lock]);
    let row = prop::collection::vec(0u8..4, 1..4);
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        8 => (cf.clone(), row.clone(), value).prop_map(|(c, k, v)| Modify::Put(c, k, v)),
        4 => (cf.clone(), row).prop_map(|(c, k)| Modify::Delete(c, k)),
        1 => (cf, any_key(), any_key()).prop_map(|(c, a, b)| Modify::DeleteRange(c, KeyRange::new(a, b))),
    ]
}

fn any_batch() -> impl Strategy<Value = Vec<Modify>> {
    prop::collection::vec(any_modify(), 1..12)
}

fn any_step() -> impl Strategy<Value = Step> {
    let load =
        (prop::sample::select(FAMILIES.to_vec()), any_key(), any::<bool>(), prop::collection::vec(any_batch(), 0..3));
    prop_oneof![
        6 => any_batch().prop_map(Step::Write),
        6 => load.prop_map(|(cf, key, before, meanwhile)| Step::Load { cf, key, before, meanwhile }),
        1 => (0usize..3000).prop_map(Step::Evict),
        2 => Just(Step::Keep),
        1 => Just(Step::Crash),
    ]
}

fn apply(model: &mut Model, modifies: &[Modify]) {
    for modify in modifies {
        match modify.clone() {
            Modify::Put(cf, key, value) => drop(model.insert((cf, key), value)),
            Modify::Delete(cf, key) => drop(model.remove(&(cf, key))),
            Modify::DeleteRange(cf, range) => model.retain(|(c, k), _| *c != cf || !range.contains(k)),
        }
    }
}

fn over<E: Engine>(disk: E) -> HotEngine<E> {
    HotEngine(Arc::new(Shared { inner: Inner::new(disk, 1 << 20, SMALL), loader: None }))
}

fn load<E: Engine>(engine: &HotEngine<E>, wish: &Wish, mut meanwhile: impl FnMut()) {
    let inner = &engine.0.inner;
    let Some(begun) = inner.begin(wish) else { return };
    meanwhile();
    let read = inner.read(&begun, wish).unwrap();
    meanwhile();
    inner.finish(wish, read);
}

fn read_all<S: Snapshot>(view: &S, cf: Cf, range: &KeyRange, direction: Direction) -> Vec<(Vec<u8>, Vec<u8>)> {
    view.scan(cf, range, direction).map(|e| e.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

fn check_view<S: Snapshot>(view: &S, model: &Model, ranges: &[KeyRange], keys: &[Vec<u8>]) -> Checked {
    for cf in Cf::ALL {
        for range in ranges {
            let inside = |((c, k), v): (&(Cf, Vec<u8>), &Vec<u8>)| {
                (*c == cf && range.contains(k)).then(|| (k.clone(), v.clone()))
            };
            let mut expected: Vec<_> = model.iter().filter_map(inside).collect();
            prop_assert_eq!(&read_all(view, cf, range, Direction::Forward), &expected, "{:?} {:?}", cf, range);
            expected.reverse();
            prop_assert_eq!(
                &read_all(view, cf, range, Direction::Backward),
                &expected,
                "{:?} {:?} backward",
                cf,
                range
            );
        }
        for key in keys.iter().filter(|key| !key.is_empty()) {
            let expected = model.get(&(cf, key.clone())).cloned();
            prop_assert_eq!(view.get(cf, key).unwrap().map(|v| v.to_vec()), expected);
        }
    }
    Ok(())
}

/// Each segment is whole, they do not overlap, and what is accounted is there.
fn check_state<E: Engine>(engine: &HotEngine<E>) -> Checked {
    let Inner { disk, state, .. } = &*engine.0.inner;
    let (state, view) = (state.read(), disk.snapshot());
    let mut bytes = 0;
    let mut expected = BTreeSet::new();
    for (family, cf) in FAMILIES.into_iter().enumerate() {
        let mut at: Option<Bytes> = None;
        for (start, segment) in state.maps[family].segments() {
            prop_assert!(
                at.as_ref().is_none_or(|end| !end.is_empty() && end <= start),
                "segments overlap at {:?}",
                start
            );
            prop_assert!(segment.end.is_empty() || *start < segment.end);
            let range = KeyRange::new(start.to_vec(), segment.end.to_vec());
            let mut place = (0, 0);
            let mut held = Vec::new();
            while let Some((key, value)) = segment.pair(place) {
                held.push((key.to_vec(), value.to_vec()));
                place = segment.after(place);
            }
            prop_assert_eq!(held, read_all(&view, cf, &range, Direction::Forward));
            prop_assert_eq!(segment.bytes(), segment.bytes_counted());
            bytes += segment.bytes();
            expected.insert((family, start.clone()));
            at = Some(segment.end.clone());
        }
    }
    prop_assert_eq!(bytes, state.bytes);
    let live = |(family, start): &&(usize, Bytes)| state.maps[*family].get(start).is_some();
    let clock: Vec<_> = state.clock.iter().filter(live).cloned().collect();
    prop_assert_eq!(clock.len(), expected.len());
    prop_assert_eq!(clock.into_iter().collect::<BTreeSet<_>>(), expected);
    Ok(())
}

fn behaves_as_a_map<E: Engine>(
    disk: E,
    steps: Vec<Step>,
    ranges: &[KeyRange],
    mut reopen: impl FnMut(E) -> E,
) -> Checked {
    let mut engine = over(disk);
    let (mut model, mut kept) = (Model::new(), Vec::new());
    let mut keys = Vec::new();
    for step in steps {
        match step {
            Step::Write(modifies) => {
                apply(&mut model, &modifies);
                engine.write(WriteBatch { modifies }).unwrap();
            }
            Step::Load { cf, key, before, meanwhile } => {
                let family = family(cf).unwrap();
                let wish = if before {
                    Wish::before(family, &key, true).owned()
                } else {
                    Wish::at(family, &key, true).owned()
                };
                keys.push(key);
                let mut meanwhile = meanwhile.into_iter();
                load(&engine, &wish, || {
                    if let Some(modifies) = meanwhile.next() {
                        apply(&mut model, &modifies);
                        engine.write(WriteBatch { modifies }).unwrap();
                    }
                });
            }
            Step::Evict(bytes) => drop(engine.0.inner.state.write().evict(bytes, 10_000)),
            Step::Keep => kept.push((engine.snapshot(), model.clone())),
            Step::Crash => {
                engine.sync().unwrap();
                kept.clear();
                let disk = engine.0.inner.disk.clone();
                drop(engine);
                engine = over(reopen(disk));
            }
        }
        check_state(&engine)?;
        check_view(&engine.snapshot(), &model, ranges, &keys)?;
    }
    for (view, model) in &kept {
        check_view(view, model, ranges, &keys)?;
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn any_ranges() -> impl Strategy<Value = Vec<KeyRange>> {
    let range = (any_key(), any_key()).prop_map(|(start, end)| KeyRange::new(start, end));
    prop::collection::vec(range, 3).prop_map(|mut ranges| {
        ranges.push(KeyRange::default());
        ranges
    })
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn over_memory_it_behaves_as_a_map(steps in prop::collection::vec(any_step(), 1..40), ranges in any_ranges()) {
        behaves_as_a_map(MemoryEngine::new(), steps, &ranges, |disk| {
            disk.crash();
            disk
        })?;
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn over_the_disk_it_behaves_as_a_map(steps in prop::collection::vec(any_step(), 1..30), ranges in any_ranges()) {
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallEngine::open(dir.path(), FjallOptions::default()).unwrap();
        behaves_as_a_map(open(), steps, &ranges, |disk| {
            drop(disk);
            open()
        })?;
    }
}

fn put(engine: &impl Engine, key: &[u8], value: &[u8]) {
    let mut batch = WriteBatch::new();
    batch.put(Cf::Write, key, value);
    engine.write(batch).unwrap();
}

fn number(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// What the loader would do about it.
fn serve<E: Engine>(engine: &HotEngine<E>) {
    while let Some(wish) = engine.0.inner.requests.take() {
        load(engine, &wish, || {});
    }
}

#[test]
fn what_is_read_becomes_hot_and_what_is_not_read_goes_first() {
    let engine = over(MemoryEngine::new());
    (0..1000).for_each(|n| put(&engine, &number(n), b"value"));
    let read = |n| engine.snapshot().get(Cf::Write, &number(n)).unwrap();
    assert_eq!(engine.stats(), HotStats::default(), "writes make nothing hot");
    for n in [100, 500] {
        assert_eq!(read(n).as_deref(), Some(&b"value"[..]));
        serve(&engine);
    }
    let loaded = engine.stats();
    assert_eq!((loaded.misses, loaded.hits, loaded.loads), (2, 0, 2));
    assert!(loaded.bytes > 0 && loaded.segments >= 2);
    // An answer that there is nothing comes from memory, too.
    let mut batch = WriteBatch::new();
    batch.delete(Cf::Write, number(101));
    engine.write(batch).unwrap();
    assert_eq!(read(101), None);
    (0..10).for_each(|_| drop(read(500)));
    assert_eq!(engine.stats().misses, 2);
    let state = || engine.0.inner.state.write();
    let most_read = state().maps[0].covering(&number(500)).map(|(_, segment)| segment.bytes()).unwrap();
    state().evict(most_read, 1000);
    assert!(state().maps[0].covering(&number(100)).is_none());
    assert!(state().maps[0].covering(&number(500)).is_some());
    assert!(engine.stats().evictions > 0);
    state().evict(0, 1000);
    assert_eq!((engine.stats().bytes, engine.stats().segments), (0, 0));
}

#[test]
fn a_range_that_grows_is_split_and_one_that_is_emptied_shrinks() {
    let engine = over(MemoryEngine::new());
    load(&engine, &Wish::at(0, b"x", true).owned(), || {});
    assert_eq!(engine.stats().segments, 1, "all keys, and none of them");
    let empty = engine.stats().bytes;
    (0..500).for_each(|n| put(&engine, &number(n * 7 % 500), b"value"));
    check_state(&engine).unwrap();
    let grown = engine.stats();
    assert!(grown.segments > 10, "{grown:?}");
    assert!(grown.bytes > 500 * 9, "{grown:?}");
    for n in 0..500 {
        let mut batch = WriteBatch::new();
        batch.delete(Cf::Write, number(n));
        engine.write(batch).unwrap();
    }
    check_state(&engine).unwrap();
    assert_eq!(engine.stats().bytes, empty * grown.segments);
}

#[test]
fn scans_that_read_everything_once_make_nothing_go() {
    let engine = over(MemoryEngine::new());
    (0..5000).for_each(|n| put(&engine, &number(n), b"value"));
    let all = |engine: &HotEngine<MemoryEngine>| {
        engine.snapshot().scan(Cf::Write, &KeyRange::default(), Direction::Forward).count()
    };
    for _ in 0..200 {
        assert_eq!(all(&engine), 5000);
        serve(&engine);
    }
    let warm = engine.stats();
    assert!(warm.loads > 20, "with room, they bring in what they read: {warm:?}");
    // What reads once by its own account brings in nothing.
    let aside = over(engine.0.inner.disk.clone());
    assert_eq!(aside.snapshot().once().scan(Cf::Write, &KeyRange::default(), Direction::Forward).count(), 5000);
    aside.snapshot().once().get(Cf::Write, &number(1)).unwrap();
    aside.snapshot().once().first(Cf::Write, &number(1), &[]).unwrap();
    serve(&aside);
    assert_eq!(aside.stats(), HotStats::default());
    // Without room they do not.
    let small =
        HotEngine(Arc::new(Shared { inner: Inner::new(engine.0.inner.disk.clone(), 20_000, SMALL), loader: None }));
    for n in 0..40 {
        small.snapshot().get(Cf::Write, &number(n * 100)).unwrap();
        serve(&small);
    }
    let full = small.stats();
    for _ in 0..20 {
        assert_eq!(all(&small), 5000);
        serve(&small);
    }
    let after = small.stats();
    assert!(after.loads <= full.loads + 20, "only where they begin: {full:?} {after:?}");
}

/// Fails or panics in the middle of a write, as a disk does.
#[derive(Clone)]
struct Failing(MemoryEngine, Arc<std::sync::atomic::AtomicU8>);

impl Engine for Failing {
    type Snapshot = crate::memory::MemorySnapshot;
    fn snapshot(&self) -> Self::Snapshot {
        self.0.snapshot()
    }
    fn write(&self, batch: WriteBatch) -> Result<()> {
        match self.1.swap(0, Ordering::Relaxed) {
            0 => self.0.write(batch),
            1 => Err(EngineError::Poisoned),
            _ => panic!("as the test asked"),
        }
    }
    fn sync(&self) -> Result<()> {
        self.0.sync()
    }
    fn approximate_size(&self, cf: Cf, range: &KeyRange) -> Result<u64> {
        self.0.approximate_size(cf, range)
    }
    fn reclaim(&self, cf: Cf, removed_bytes: u64) -> Result<()> {
        self.0.reclaim(cf, removed_bytes)
    }
    fn damage(&self) -> Option<EngineError> {
        self.0.damage()
    }
}

#[test]
fn a_write_that_the_disk_refused_is_not_in_memory() {
    let failure = Arc::new(std::sync::atomic::AtomicU8::new(0));
    let engine = over(Failing(MemoryEngine::new(), failure.clone()));
    put(&engine, b"a", b"1");
    for kind in [1, 2] {
        load(&engine, &Wish::at(0, b"a", true).owned(), || {});
        assert_eq!(engine.stats().segments, 1);
        failure.store(kind, Ordering::Relaxed);
        let mut batch = WriteBatch::new();
        batch.put(Cf::Write, *b"a", *b"2");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| engine.write(batch)));
        assert!(!matches!(outcome, Ok(Ok(()))));
        assert_eq!(engine.snapshot().get(Cf::Write, b"a").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(engine.stats().segments, 0);
    }
}

#[test]
fn a_load_is_given_up_when_a_range_is_removed_meanwhile() {
    let engine = over(MemoryEngine::new());
    put(&engine, b"a", b"1");
    let mut rounds = 0;
    load(&engine, &Wish::at(0, b"a", true).owned(), || {
        rounds += 1;
        let mut batch = WriteBatch::new();
        batch.delete_range(Cf::Write, KeyRange::new(*b"0", *b"b"));
        batch.put(Cf::Write, *b"b", *b"2");
        engine.write(batch).unwrap();
    });
    assert_eq!((rounds, engine.stats().segments), (2, 0));
    assert_eq!(read_all(&engine.snapshot(), Cf::Write, &KeyRange::default(), Direction::Forward).len(), 1);
}

#[test]
fn what_is_far_larger_than_others_is_left_on_the_disk() {
    let engine = HotEngine(Arc::new(Shared { inner: Inner::new(MemoryEngine::new(), 8000, SMALL), loader: None }));
    put(&engine, b"a", &[0; 2000]);
    engine.snapshot().get(Cf::Write, b"a").unwrap();
    serve(&engine);
    assert_eq!(engine.stats().segments, 0);
    assert_eq!(engine.snapshot().get(Cf::Write, b"a").unwrap().unwrap().len(), 2000);
}

#[test]
fn readers_writers_and_the_loader_together_see_batches_whole() {
    let inner = Inner::new(MemoryEngine::new(), 30_000, SMALL);
    let loader = loader::start(inner.clone()).unwrap();
    let engine = HotEngine(Arc::new(Shared { inner, loader: Some(loader) }));
    let (writers, rounds, keys) = (2u8, 2000u32, 50u32);
    // Each batch of a writer sets one number under keys all over its range and in both families.
    let write = |writer: u8| {
        for round in 0..rounds {
            let mut batch = WriteBatch::new();
            for n in (round % 3..keys).step_by(3) {
                for cf in FAMILIES {
                    batch.put(cf, [&number(n * 20)[..], &[writer, (round % 3) as u8]].concat(), number(round));
                }
            }
            engine.write(batch).unwrap();
        }
    };
    let write = &write;
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..writers).map(|writer| scope.spawn(move || write(writer))).collect();
        let mut checks = 0;
        while running.iter().any(|w| !w.is_finished()) || checks < 50 {
            checks += 1;
            let view = engine.snapshot();
            let direction = [Direction::Forward, Direction::Backward][checks % 2];
            let [write, default] = FAMILIES.map(|cf| read_all(&view, cf, &KeyRange::default(), direction));
            assert_eq!(write, default);
            for writer in 0..writers {
                for residue in 0..3u8 {
                    let of_batch = |key: &&(Vec<u8>, Vec<u8>)| key.0[4..] == [writer, residue];
                    let values: BTreeSet<_> = write.iter().filter(of_batch).map(|(_, value)| value.clone()).collect();
                    assert!(values.len() <= 1, "one batch wrote them all: {values:?}");
                }
            }
            for (key, value) in write.iter().step_by(7) {
                assert_eq!(view.get(Cf::Write, key).unwrap().as_deref(), Some(&value[..]));
            }
        }
    });
    check_state(&engine).unwrap();
    let stats = engine.stats();
    assert!(stats.loads > 0 && stats.hits > 0, "{stats:?}");
}
