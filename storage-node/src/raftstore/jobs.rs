//! Slow work off the store's thread: writing snapshots, syncing the engine, looking for split keys, removing data.

use engine::{Cf, Direction, Engine, EngineError, KeyRange, Snapshot};

use super::msg::{Job, JobDone};
use super::snapshot::{self, DATA_FAMILIES};
use crate::replication::Region;

/// Bytes of the version that ends a key in the default and write families.
const VERSION_BYTES: usize = 8;
/// Memcomparable keys consist of groups of this many bytes, the last of each telling how many are used.
const GROUP_BYTES: usize = 9;

impl Job {
    /// Whether it replaces or removes the data of a range as a whole.
    pub fn replaces_data(&self) -> bool {
        matches!(self, Job::ApplySnapshot(_) | Job::DeleteRanges { .. })
    }

    /// Does the work. `ReclaimLog` is not the engine's and reports itself done.
    pub fn run<E: Engine>(self, engine: &E) -> JobDone {
        let result = match self {
            Job::ApplySnapshot(job) => {
                let (region_id, peer_id) = (job.after.id, job.peer.id);
                snapshot::apply(engine, *job).map(|()| JobDone::SnapshotApplied { region_id, peer_id })
            }
            Job::Sync { applied } => engine.sync().map(|()| JobDone::Synced(applied)),
            Job::SplitCheck { region, halve, bytes_max, bytes_split } => {
                check_split(engine, region, halve, bytes_max, bytes_split)
            }
            Job::DeleteRanges { region_id, ranges } => {
                snapshot::delete_ranges(engine, &ranges).map(|()| JobDone::RangesDeleted { region_id })
            }
            Job::ReclaimLog => Ok(JobDone::LogReclaimed),
        };
        result.unwrap_or_else(JobDone::Failed)
    }
}

/// The part of an engine key that a region may be split at: all versions of a key stay together.
///
/// A memcomparable key is whole groups of nine bytes, all but the last full; after it stand eight bytes of version.
/// What is not of that form is a raw key, which has no versions.
fn split_key(key: &[u8]) -> &[u8] {
    let Some(body) = key.len().checked_sub(VERSION_BYTES).filter(|n| *n > 0 && n % GROUP_BYTES == 0) else {
        return key;
    };
    let groups = key[..body].chunks_exact(GROUP_BYTES);
    let last = groups.len() - 1;
    let well_formed = groups.enumerate().all(|(i, g)| (g[GROUP_BYTES - 1] == 0xff) == (i != last));
    if well_formed { &key[..body] } else { key }
}

fn check_split<E: Engine>(
    engine: &E,
    region: Region,
    halve: bool,
    bytes_max: u64,
    bytes_split: u64,
) -> Result<JobDone, EngineError> {
    let mut sizes = Vec::with_capacity(DATA_FAMILIES.len());
    for cf in DATA_FAMILIES {
        sizes.push((engine.approximate_size(cf, &region.range)?, cf));
    }
    let bytes: u64 = sizes.iter().map(|(size, _)| size).sum();
    let (largest, cf) = sizes.into_iter().max_by_key(|(size, _)| *size).unwrap_or((0, Cf::Write));
    if largest == 0 || (!halve && bytes < bytes_max) {
        return Ok(JobDone::SplitChecked { region, bytes, keys_count: 0, split_keys: Vec::new() });
    }
    // The largest family stands for all: its keys are cut where its share of a part is full.
    let part = if bytes >= bytes_max { bytes_split } else { bytes / 2 };
    let share = (u128::from(part) * u128::from(largest) / u128::from(bytes)) as u64;
    let (mut split_keys, mut seen, mut total, mut count): (Vec<Vec<u8>>, _, _, _) = (Vec::new(), 0u64, 0u64, 0u64);
    let view = engine.snapshot().once();
    for pair in view.scan(cf, &KeyRange::clone(&region.range), Direction::Forward) {
        let (key, value) = pair?;
        let size = (key.len() + value.len()) as u64;
        count += 1;
        total += size;
        if seen > 0 && seen + size > share {
            let cut = split_key(&key);
            let new = split_keys.last().is_none_or(|last| last.as_slice() < cut) && cut > region.range.start.as_slice();
            if new && (!halve || bytes >= bytes_max || split_keys.is_empty()) {
                split_keys.push(cut.to_vec());
                seen = 0;
            }
        }
        seen += size;
    }
    // A last part far below the size of a part is left with its neighbour.
    if split_keys.len() > 1 && seen < share / 4 {
        split_keys.pop();
    }
    Ok(JobDone::SplitChecked { region, bytes: bytes.max(total), keys_count: count, split_keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Epoch;
    use engine::WriteBatch;
    use engine::memory::MemoryEngine;

    #[test]
    fn all_versions_of_a_key_stay_in_one_region() {
        let key = b"abcdefgh\xffxy\0\0\0\0\0\0\xf9";
        let mut versioned = key.to_vec();
        versioned.extend_from_slice(&[1; 8]);
        assert_eq!(split_key(&versioned), key);
        assert_eq!(split_key(b"a raw key of some length"), b"a raw key of some length");
        assert_eq!(split_key(b""), b"");
    }

    #[test]
    fn a_large_region_is_cut_into_parts_and_a_small_one_is_not() {
        let engine = MemoryEngine::new();
        let mut batch = WriteBatch::new();
        for i in 0..1000u32 {
            batch.put(Cf::Write, format!("k{i:04}"), vec![0; 95]);
        }
        engine.write(batch).unwrap();
        let region = Region { id: 1, range: KeyRange::default(), epoch: Epoch::default(), peers: Vec::new() };
        let check = |halve, max, split| match check_split(&engine, region.clone(), halve, max, split).unwrap() {
            JobDone::SplitChecked { split_keys, .. } => split_keys,
            other => panic!("{other:?}"),
        };
        assert!(check(false, 1 << 20, 1 << 19).is_empty());
        assert_eq!(check(true, 1 << 20, 1 << 19).len(), 1);
        let parts = check(false, 50_000, 25_000);
        assert!((3..=4).contains(&parts.len()), "{} parts", parts.len());
        assert!(parts.is_sorted());
    }
}
