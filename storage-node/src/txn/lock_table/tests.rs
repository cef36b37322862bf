//! What voids locks in memory, and how views show them.

use codec::timestamp::Timestamp;
use engine::Engine;
use engine::memory::MemoryEngine;

use super::*;
use crate::replication::Epoch;

fn lock(start: u64) -> Vec<u8> {
    Lock::new(LockKind::Pessimistic, b"p".to_vec(), Timestamp(start), 3000).to_bytes()
}

fn region(version: u64, end: &str) -> Region {
    let epoch = Epoch { conf_ver: 1, version };
    Region { id: 1, range: KeyRange::new("", end), epoch, peers: Vec::new() }
}

fn put(table: &LockTable, region: &Region, term: u64, key: &str, start: u64) -> bool {
    let changes = TableChanges { put: vec![(key.into(), lock(start))], ..TableChanges::default() };
    table.finish(region, term, changes)
}

/// The keys that a view of the region shows as locked.
fn shown(table: &LockTable, engine: &MemoryEngine, region: &Region, term: u64, direction: Direction) -> Vec<String> {
    let view = RegionSnapshot { engine: engine.snapshot(), region: region.clone(), term };
    let view = table.view_of_region(view);
    let scan = view.engine.scan(Cf::Lock, &region.range, direction);
    scan.map(|entry| String::from_utf8(entry.unwrap().0.to_vec()).unwrap()).collect()
}

#[test]
fn a_view_merges_stored_locks_with_those_in_memory() {
    let (table, engine, region) = (LockTable::new(1 << 20), MemoryEngine::new(), region(1, ""));
    let mut batch = WriteBatch::new();
    batch.put(Cf::Lock, "b", lock(1));
    batch.put(Cf::Lock, "d", lock(1));
    engine.write(batch).unwrap();
    for key in ["a", "c", "e"] {
        assert!(put(&table, &region, 5, key, 2));
    }
    assert_eq!(shown(&table, &engine, &region, 5, Direction::Forward), ["a", "b", "c", "d", "e"]);
    assert_eq!(shown(&table, &engine, &region, 5, Direction::Backward), ["e", "d", "c", "b", "a"]);
}

#[test]
fn a_new_term_voids_locks_and_an_old_one_takes_none() {
    let (table, engine, region) = (LockTable::new(1 << 20), MemoryEngine::new(), region(1, ""));
    assert!(put(&table, &region, 5, "a", 2));
    assert_eq!(shown(&table, &engine, &region, 6, Direction::Forward), [""; 0]);
    assert!(!put(&table, &region, 5, "b", 3), "the command was decided in a term that is over");
    assert_eq!(shown(&table, &engine, &region, 5, Direction::Forward), [""; 0]);
    assert_eq!(table.len(), 0);
    assert_eq!(table.state.lock().bytes, 0);
}

#[test]
fn a_split_drops_the_locks_that_moved_away() {
    let (table, engine) = (LockTable::new(1 << 20), MemoryEngine::new());
    assert!(put(&table, &region(1, ""), 5, "a", 2));
    assert!(put(&table, &region(1, ""), 5, "x", 2));
    assert_eq!(shown(&table, &engine, &region(2, "m"), 5, Direction::Forward), ["a"]);
    assert_eq!(table.len(), 1);
}

#[test]
fn memory_is_bounded_by_dropping_regions_used_longest_ago() {
    let table = LockTable::new(1000);
    for id in 1..=20 {
        let region = Region { id, ..region(1, "") };
        for n in 0..3 {
            assert!(put(&table, &region, 5, &format!("key-{n}"), 2));
        }
    }
    let state = table.state.lock();
    assert!(state.bytes <= 1000, "{} bytes", state.bytes);
    assert_eq!(state.bytes, state.regions.values().map(|r| r.bytes).sum::<usize>());
    assert!(state.regions.contains_key(&20) && !state.regions.contains_key(&1));
}

#[test]
fn a_region_that_another_node_will_lead_names_its_locks_and_takes_no_more() {
    let (table, engine, region) = (LockTable::new(1 << 20), MemoryEngine::new(), region(1, ""));
    for key in ["a", "b"] {
        assert!(put(&table, &region, 5, key, 2));
    }
    // Which of a new lock and those of "a" and "b", taken anew, stay in memory.
    let kept = |term| {
        let keys = ["a", "b", "c"].map(Key::from_encoded);
        let view = RegionSnapshot { engine: engine.snapshot(), region: region.clone(), term };
        let view = table.view_of_keys(view, &keys);
        let mut batch = WriteBatch::new();
        keys.iter().for_each(|key| batch.put(Cf::Lock, key.encoded(), lock(2)));
        let changes = table.plan(&view, &mut batch).unwrap();
        assert_eq!(batch.modifies.len() + changes.put.len(), 3, "each is written once");
        (changes.put.len(), changes.gone.len())
    };
    assert_eq!(kept(5), (3, 0));
    assert_eq!(table.leave(&region, 4), []);
    assert_eq!(kept(5), (3, 0), "that was in an earlier term");
    let named: Vec<_> = table.leave(&region, 5).iter().map(|key| key.encoded().to_vec()).collect();
    assert_eq!(named, [b"a", b"b"]);
    assert_eq!(kept(5), (0, 2));
    table.stay(region.id, 4);
    assert_eq!(kept(5), (0, 2));
    table.stay(region.id, 5);
    assert_eq!(kept(5), (3, 0));
    // Elected again, it keeps locks again.
    table.leave(&region, 5);
    assert_eq!(kept(6), (3, 0));
}
