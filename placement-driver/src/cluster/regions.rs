//! All regions, by id and by key, with the rule for which report counts.
//!
//! A report with an older epoch than what is known is stale, and so is one that overlaps a region of a higher version:
//! it speaks of a time before a split or merge. A newer report evicts whatever it overlaps.
//!
//! Invariant: regions in the tree never overlap.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::model::{Epoch, Region};

/// A report that is older than what is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("region {region} is stale: it reports epoch {reported:?}, region {by} is at {known:?}")]
pub struct StaleRegion {
    /// The region reported.
    pub region: u64,
    /// Its epoch as reported.
    pub reported: Epoch,
    /// The region that is newer: itself or one that it overlaps.
    pub by: u64,
    /// The epoch of that.
    pub known: Epoch,
}

/// What a report changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionChange {
    /// Range, epoch or peers: what is kept in the metadata store.
    pub meta: bool,
    /// The leader.
    pub leader: bool,
    /// Peers that are down or behind.
    pub health: bool,
    /// Regions that no longer exist.
    pub evicted: Vec<u64>,
}

impl RegionChange {
    /// Whether a scheduler might decide otherwise now.
    pub fn matters(&self) -> bool {
        self.meta || self.leader || self.health || !self.evicted.is_empty()
    }
}

/// See the module header.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    by_id: HashMap<u64, Region>,
    by_start: BTreeMap<Vec<u8>, u64>,
    on_store: HashMap<u64, StoreCounts>,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Peers of any role.
    pub peers: usize,
    /// Leaders.
    pub leaders: usize,
    /// Sum of the regions' estimated sizes.
    pub bytes: u64,
    /// Sum of the led regions' estimated sizes.
    pub leader_bytes: u64,
}

impl Regions {
    /// How many.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// By id.
    pub fn get(&self, id: u64) -> Option<&Region> {
        self.by_id.get(&id)
    }

    /// The region that holds a key.
    pub fn by_key(&self, key: &[u8]) -> Option<&Region> {
        let (_, id) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        self.by_id.get(id).filter(|region| region.contains(key))
    }

    /// The region before the one that holds a key.
    pub fn before_key(&self, key: &[u8]) -> Option<&Region> {
        let start = &self.by_key(key)?.start_key;
        let (_, id) =
            self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(start.as_slice()))).next_back()?;
        self.by_id.get(id).filter(|before| before.end_key == *start)
    }

    /// Regions that intersect `start..end` (`end` empty: to the last one), in key order.
    pub fn scan<'a>(&'a self, start: &[u8], end: &'a [u8]) -> impl Iterator<Item = &'a Region> + Clone + use<'a> {
        let from = self.by_key(start).map_or_else(|| start.to_vec(), |region| region.start_key.clone());
        self.by_start
            .range::<Vec<u8>, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(key, _)| end.is_empty() || key.as_slice() < end)
            .filter_map(|(_, id)| self.by_id.get(id))
    }

    /// All regions, in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Region> + Clone {
        self.scan(&[], &[])
    }

    /// Peers on a store.
    pub fn count_on(&self, store: u64) -> usize {
        self.counts(store).peers
    }

    /// What a store holds.
    pub fn counts(&self, store: u64) -> StoreCounts {
        self.on_store.get(&store).copied().unwrap_or_default()
    }

    /// Takes a report.
    pub fn put(&mut self, mut region: Region) -> Result<RegionChange, StaleRegion> {
        let stale = |by: &Region| StaleRegion { region: region.id, reported: region.epoch, by: by.id, known: by.epoch };
        let mut change = RegionChange::default();
        if let Some(known) = self.by_id.get(&region.id) {
            let older = region.epoch.version < known.epoch.version || region.epoch.conf_ver < known.epoch.conf_ver;
            // A leader of an earlier term may not know yet that it was replaced. (Term 0: not reported.)
            let deposed = region.term != 0 && region.term < known.term;
            if older || deposed {
                return Err(stale(known));
            }
            change.meta = known.epoch != region.epoch
                || known.peers != region.peers
                || known.start_key != region.start_key
                || known.end_key != region.end_key;
            change.leader = known.leader != region.leader;
            change.health = known.pending_peers != region.pending_peers
                || known.down_peers.len() != region.down_peers.len()
                || known.down_peers.iter().zip(&region.down_peers).any(|(a, b)| a.0 != b.0);
            if region.leader.is_none() && known.leader.is_some_and(|leader| region.peer(leader).is_some()) {
                // A report of a split names no leader: keep the one that is known.
                (region.leader, change.leader) = (known.leader, false);
                region.term = known.term;
            }
        } else {
            (change.meta, change.leader) = (true, true);
        }
        for other in self.scan(&region.start_key, &region.end_key).filter(|other| other.id != region.id) {
            if other.epoch.version > region.epoch.version {
                return Err(stale(other));
            }
            change.evicted.push(other.id);
        }
        for id in &change.evicted {
            self.remove(*id);
        }
        self.remove(region.id);
        self.count(&region, 1);
        self.by_start.insert(region.start_key.clone(), region.id);
        self.by_id.insert(region.id, region);
        Ok(change)
    }

    fn remove(&mut self, id: u64) {
        if let Some(region) = self.by_id.remove(&id) {
            if self.by_start.get(&region.start_key) == Some(&id) {
                self.by_start.remove(&region.start_key);
            }
            self.count(&region, -1);
        }
    }

    fn count(&mut self, region: &Region, sign: i64) {
        let bytes = region.approximate_size_bytes as i64 * sign;
        for peer in &region.peers {
            let counts = self.on_store.entry(peer.store_id).or_default();
            counts.peers = counts.peers.wrapping_add_signed(sign as isize);
            counts.bytes = counts.bytes.wrapping_add_signed(bytes);
            if region.leader == Some(peer.id) {
                counts.leaders = counts.leaders.wrapping_add_signed(sign as isize);
                counts.leader_bytes = counts.leader_bytes.wrapping_add_signed(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Peer, PeerRole};
    use super::*;
    use proptest::prelude::*;

    fn region(id: u64, start: &str, end: &str, version: u64, conf_ver: u64) -> Region {
        Region {
            id,
            start_key: start.into(),
            end_key: end.into(),
            epoch: Epoch { conf_ver, version },
            peers: vec![Peer { id: id * 10, store_id: 1, role: PeerRole::Voter }],
            leader: Some(id * 10),
            ..Region::default()
        }
    }

    fn layout(regions: &Regions) -> Vec<(u64, String, String)> {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        regions.iter().map(|r| (r.id, text(&r.start_key), text(&r.end_key))).collect()
    }

    #[test]
    fn a_split_shrinks_and_old_reports_are_stale() {
        let mut regions = Regions::default();
        regions.put(region(1, "", "", 1, 1)).unwrap();
        let change = regions.put(region(2, "m", "", 2, 1)).unwrap();
        assert_eq!(change.evicted, [1], "the right half came first, the left one is not known yet");
        regions.put(region(1, "", "m", 2, 1)).unwrap();
        assert_eq!(layout(&regions), [(1, "".into(), "m".into()), (2, "m".into(), "".into())]);
        assert!(regions.put(region(1, "", "", 1, 2)).is_err());
        assert_eq!(regions.by_key(b"a").unwrap().id, 1);
        assert_eq!(regions.by_key(b"m").unwrap().id, 2);
        assert_eq!(regions.before_key(b"x").unwrap().id, 1);
        assert_eq!(regions.before_key(b"a"), None);
        assert_eq!(regions.scan(b"b", b"m").map(|r| r.id).collect::<Vec<_>>(), [1]);
        assert_eq!(regions.scan(b"b", b"").map(|r| r.id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(regions.counts(1), StoreCounts { peers: 2, leaders: 2, bytes: 0, leader_bytes: 0 });
    }

    #[test]
    fn a_deposed_leader_is_not_believed() {
        let mut regions = Regions::default();
        regions.put(Region { term: 6, ..region(1, "", "", 1, 1) }).unwrap();
        assert!(regions.put(Region { term: 5, leader: None, ..region(1, "", "", 1, 1) }).is_err());
        assert!(regions.put(Region { term: 7, ..region(1, "", "", 1, 1) }).is_ok());
    }

    proptest! {
        #[test]
        fn regions_never_overlap(reports in proptest::collection::vec((1u64..8, 0u8..9, 1u8..10, 1u64..6), 1..60)) {
            let mut regions = Regions::default();
            for (id, start, length, version) in reports {
                let (start, end) = (vec![start], if start + length >= 9 { vec![] } else { vec![start + length] });
                let report = Region { start_key: start, end_key: end, ..region(id, "", "", version, 1) };
                let _ = regions.put(report);
                let all: Vec<&Region> = regions.iter().collect();
                prop_assert_eq!(all.len(), regions.len());
                for pair in all.windows(2) {
                    prop_assert!(!pair[0].end_key.is_empty() && pair[0].end_key <= pair[1].start_key);
                }
                prop_assert_eq!(regions.counts(1).peers, all.len());
            }
        }
    }
}
