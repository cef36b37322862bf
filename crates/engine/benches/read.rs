//! Reads and writes of versions as transactions make them, on the disk alone and with hot ranges above it.
//!
//! `cargo bench -p engine`; compare only what one run measured. `KEYS=…` sets how many keys there are (200,000).
//!
//! Keys are memcomparable row keys with the complement of a timestamp, values as long as a row of sysbench; every key has
//! two versions, as after some updates and a garbage collection. Each figure is of one snapshot with one read, at a random
//! key, or of one batch of one or four new versions at random keys, each followed by a snapshot that a reader holds.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::{Bencher, black_box};
use engine::disk::{FjallEngine, FjallOptions};
use engine::hot::{HotEngine, HotOptions};
use engine::{Cf, Direction, Engine, KeyRange, Snapshot, WriteBatch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
    for dir in &*DIRS {
        // What is static is never dropped.
        let _ = std::fs::remove_dir_all(dir.path());
    }
}

/// Versions of the rows that are there at the beginning.
const OLD: [u64; 2] = [1_000, 2_000];
const VALUE_BYTES: usize = 195;

fn keys() -> u64 {
    std::env::var("KEYS").ok().and_then(|keys| keys.parse().ok()).unwrap_or(200_000)
}

/// A row's key in groups of eight with their marks, and the complement of a timestamp.
fn key(row: u64, ts: u64) -> Vec<u8> {
    let mut raw = b"t\x80\0\0\0\0\0\0\x2a_r".to_vec();
    raw.extend_from_slice(&(row ^ 1 << 63).to_be_bytes());
    let mut out = Vec::new();
    for group in raw.chunks(8) {
        let mut padded = [0; 8];
        padded[..group.len()].copy_from_slice(group);
        out.extend_from_slice(&padded);
        out.push(0xff - (8 - group.len()) as u8);
    }
    out.extend_from_slice(&(!ts).to_be_bytes());
    out
}

fn value(row: u64) -> Vec<u8> {
    (0..VALUE_BYTES as u64).map(|i| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (i % 57)) as u8).collect()
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// A number that looks random, from a counter.
fn random() -> u64 {
    let mut x = COUNTER.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ x >> 31
}

fn load(dir: &std::path::Path) -> FjallEngine {
    let engine = FjallEngine::open(dir, FjallOptions::default()).expect("an engine");
    for ts in OLD {
        for first in (0..keys()).step_by(16) {
            let mut batch = WriteBatch::new();
            (first..first + 16).for_each(|row| batch.put(Cf::Write, key(row, ts), value(row)));
            engine.write(batch).expect("written");
        }
    }
    engine.reclaim(Cf::Write, 1 << 30).expect("merged");
    engine
}

static DIRS: LazyLock<[tempfile::TempDir; 2]> =
    LazyLock::new(|| [0, 1].map(|_| tempfile::tempdir().expect("a directory")));
static DISK: LazyLock<FjallEngine> = LazyLock::new(|| load(DIRS[0].path()));
static HOT: LazyLock<HotEngine<FjallEngine>> = LazyLock::new(|| {
    let engine = HotEngine::new(load(DIRS[1].path()), HotOptions { bytes: 4 << 30 }).expect("an engine");
    // Everything that is asked for becomes hot, in a moment.
    while engine.snapshot().scan(Cf::Write, &KeyRange::default(), Direction::Forward).count() > 0 {
        let before = engine.stats();
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = engine.snapshot().scan(Cf::Write, &KeyRange::default(), Direction::Forward).count();
        if engine.stats().misses == before.misses {
            break;
        }
    }
    eprintln!("hot: {:?}", engine.stats());
    engine
});

#[derive(Clone, Copy, Debug)]
enum Which {
    Disk,
    Hot,
}

const BOTH: [Which; 2] = [Which::Disk, Which::Hot];

fn read<E: Engine>(engine: &E, pairs: usize, direction: Direction) {
    let row = random() % keys();
    let view = engine.snapshot();
    let range = match direction {
        Direction::Forward => KeyRange::new(key(row, u64::MAX), Vec::new()),
        Direction::Backward => KeyRange::new(Vec::new(), key(row, 0)),
    };
    for pair in view.scan(Cf::Write, &range, direction).take(pairs) {
        black_box(pair.expect("a pair"));
    }
}

fn bench_read(bencher: Bencher<'_, '_>, which: Which, pairs: usize, direction: Direction) {
    match which {
        Which::Disk => bencher.bench(|| read(&*DISK, pairs, direction)),
        Which::Hot => bencher.bench(|| read(&*HOT, pairs, direction)),
    }
}

fn snapshot_of<E: Engine>(bencher: Bencher<'_, '_>, engine: &E) {
    bencher.bench(|| engine.snapshot());
}

#[divan::bench(args = BOTH)]
fn a_snapshot(bencher: Bencher<'_, '_>, which: Which) {
    match which {
        Which::Disk => snapshot_of(bencher, &*DISK),
        Which::Hot => snapshot_of(bencher, &*HOT),
    }
}

#[divan::bench(args = BOTH)]
fn b_get(bencher: Bencher<'_, '_>, which: Which) {
    fn get<E: Engine>(engine: &E) {
        let found = engine.snapshot().get(Cf::Write, &key(random() % keys(), OLD[1])).expect("read");
        black_box(found.expect("a version"));
    }
    match which {
        Which::Disk => bencher.bench(|| get(&*DISK)),
        Which::Hot => bencher.bench(|| get(&*HOT)),
    }
}

#[divan::bench(args = BOTH)]
fn c_seek(bencher: Bencher<'_, '_>, which: Which) {
    bench_read(bencher, which, 1, Direction::Forward);
}

#[divan::bench(args = BOTH)]
fn d_seek_and_100_pairs(bencher: Bencher<'_, '_>, which: Which) {
    bench_read(bencher, which, 100, Direction::Forward);
}

#[divan::bench(args = BOTH)]
fn e_seek_and_100_pairs_backward(bencher: Bencher<'_, '_>, which: Which) {
    bench_read(bencher, which, 100, Direction::Backward);
}

fn write<E: Engine>(engine: &E, rows: usize) -> E::Snapshot {
    let mut batch = WriteBatch::new();
    for _ in 0..rows {
        let row = random() % keys();
        batch.put(Cf::Write, key(row, OLD[1] + 1 + COUNTER.load(Ordering::Relaxed)), value(row));
    }
    engine.write(batch).expect("written");
    engine.snapshot()
}

fn bench_write(bencher: Bencher<'_, '_>, which: Which, rows: usize) {
    match which {
        Which::Disk => bencher.bench(|| write(&*DISK, rows)),
        Which::Hot => bencher.bench(|| write(&*HOT, rows)),
    }
}

#[divan::bench(args = BOTH)]
fn f_write_1(bencher: Bencher<'_, '_>, which: Which) {
    bench_write(bencher, which, 1);
}

#[divan::bench(args = BOTH)]
fn g_write_4(bencher: Bencher<'_, '_>, which: Which) {
    bench_write(bencher, which, 4);
}
