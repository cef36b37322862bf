//! Where regions are, as far as this client knows: a pure map from keys to regions, corrected by what stores and PD
//! answer.
//!
//! ```text
//!   keys:   ""          "g"            "p"          ""
//!   regions  │ 2 (v3)    │ 4 (v3)       │ 7 (v5)    │     each: epoch, peers, who leads
//! ```
//!
//! Invariants: cached regions do not overlap; of two versions of the same keys the newer epoch stays. A wrong entry
//! costs a round trip, never a wrong answer: the store checks epoch and leadership.
//!
//! Keys are plain user keys here. PD and the stores know them memcomparable-encoded; the conversion is in
//! [`Region::from_pb`] and [`encode`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use proto::metapb;

/// A region as the client routes by it.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Unique in the cluster.
    pub id: u64,
    /// Grows with each membership change.
    pub conf_ver: u64,
    /// Grows with each split or merge.
    pub version: u64,
    /// First key.
    pub start: Vec<u8>,
    /// First key after it; empty for no bound.
    pub end: Vec<u8>,
    /// The replicas.
    pub peers: Vec<metapb::Peer>,
    /// Which of `peers` is believed to lead.
    pub leader: usize,
}

/// A key as PD and the stores know it.
pub fn encode(key: &[u8]) -> Vec<u8> {
    codec::bytes::encoded(key)
}

/// A region's bound back to a user key. Bounds made by raw writes need not be encodings: then the part that is plain
/// text serves as the bound, and the store corrects what is routed wrongly by it.
fn decode_bound(bound: &[u8]) -> Vec<u8> {
    let mut rest = bound;
    if bound.is_empty() {
        return Vec::new();
    }
    if let Ok(key) = codec::bytes::decode_bytes(&mut rest)
        && rest.is_empty()
    {
        return key;
    }
    let mut key = Vec::with_capacity(bound.len());
    for group in bound.chunks(9) {
        key.extend_from_slice(&group[..group.len().min(8)]);
        if group.get(8) != Some(&0xff) {
            break;
        }
    }
    key
}

impl Region {
    /// From PD's or a store's description. Without a known leader the first voter is tried.
    pub fn from_pb(region: metapb::Region, leader: Option<&metapb::Peer>) -> Option<Self> {
        let epoch = region.region_epoch.unwrap_or_default();
        if region.id == 0 || region.peers.is_empty() {
            return None;
        }
        let by_leader = leader.and_then(|l| region.peers.iter().position(|p| p.id == l.id));
        let voter = |p: &metapb::Peer| p.role != metapb::PeerRole::Learner as i32 && !p.is_witness;
        let leader = by_leader.or_else(|| region.peers.iter().position(voter)).unwrap_or(0);
        Some(Self {
            id: region.id,
            conf_ver: epoch.conf_ver,
            version: epoch.version,
            start: decode_bound(&region.start_key),
            end: decode_bound(&region.end_key),
            peers: region.peers,
            leader,
        })
    }

    /// Whether a key is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start.as_slice() <= key && (self.end.is_empty() || key < self.end.as_slice())
    }

    /// The peer believed to lead.
    pub fn leader(&self) -> &metapb::Peer {
        &self.peers[self.leader]
    }

    /// Whether the keys before `end` (empty: no bound) reach into it from its left side on.
    fn contains_before(&self, end: &[u8]) -> bool {
        if end.is_empty() {
            return self.end.is_empty();
        }
        self.start.as_slice() < end && (self.end.is_empty() || end <= self.end.as_slice())
    }

    fn is_older_than(&self, other: &Region) -> bool {
        self.version < other.version || self.conf_ver < other.conf_ver
    }
}

/// The cached regions.
#[derive(Debug, Default)]
pub struct RegionCache {
    by_start: BTreeMap<Vec<u8>, Arc<Region>>,
    by_id: HashMap<u64, Arc<Region>>,
}

impl RegionCache {
    /// The region that holds a key.
    pub fn locate(&self, key: &[u8]) -> Option<Arc<Region>> {
        let (_, region) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        region.contains(key).then(|| region.clone())
    }

    /// The region that holds the last keys before `end` (empty: of all), for walking backwards.
    pub fn locate_before(&self, end: &[u8]) -> Option<Arc<Region>> {
        let bound = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let (_, region) = self.by_start.range::<[u8], _>((Bound::Unbounded, bound)).next_back()?;
        region.contains_before(end).then(|| region.clone())
    }

    /// A region by id.
    pub fn by_id(&self, id: u64) -> Option<Arc<Region>> {
        self.by_id.get(&id).cloned()
    }

    /// Takes in what PD or a store told, unless something newer is known of the same region or keys.
    pub fn insert(&mut self, region: Region) -> Arc<Region> {
        let region = Arc::new(region);
        let overlapping = self.overlapping(&region);
        if self.by_id.get(&region.id).is_some_and(|known| region.is_older_than(known))
            || overlapping.iter().any(|known| known.version > region.version)
        {
            return region;
        }
        for old in overlapping {
            self.remove(old.id);
        }
        self.remove(region.id);
        self.by_start.insert(region.start.clone(), region.clone());
        self.by_id.insert(region.id, region.clone());
        region
    }

    fn overlapping(&self, region: &Region) -> Vec<Arc<Region>> {
        let mut before = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(region.start.as_slice())));
        let mut found: Vec<Arc<Region>> = before
            .next_back()
            .map(|(_, r)| r)
            .filter(|r| r.end.is_empty() || r.end > region.start)
            .cloned()
            .into_iter()
            .collect();
        let upper = if region.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(region.end.as_slice()) };
        if region.end.is_empty() || region.start < region.end {
            let inside = self.by_start.range::<[u8], _>((Bound::Excluded(region.start.as_slice()), upper));
            found.extend(inside.map(|(_, r)| r.clone()));
        }
        found
    }

    fn remove(&mut self, id: u64) {
        if let Some(region) = self.by_id.remove(&id)
            && self.by_start.get(&region.start).is_some_and(|r| r.id == id)
        {
            self.by_start.remove(&region.start);
        }
    }

    /// Forgets the version of a region that proved wrong; a newer one that arrived meanwhile stays.
    pub fn invalidate(&mut self, wrong: &Region) {
        if self.by_id.get(&wrong.id).is_some_and(|known| !wrong.is_older_than(known)) {
            self.remove(wrong.id);
        }
    }

    /// A store is not the leader. With a hint that names a peer the route follows it; otherwise PD is to be asked.
    pub fn on_not_leader(&mut self, asked: &Region, hint: Option<&metapb::Peer>) {
        let Some(known) = self.by_id.get(&asked.id) else { return };
        match hint.and_then(|hint| known.peers.iter().position(|p| p.id == hint.id)) {
            Some(leader) => self.set_leader(asked.id, leader),
            None => self.invalidate(asked),
        }
    }

    /// The store of the believed leader does not answer: the next replica may know better. After a full round the
    /// region is forgotten, so that PD is asked again.
    pub fn on_unreachable(&mut self, asked: &Region) {
        let Some(known) = self.by_id.get(&asked.id) else { return };
        if known.leader().id != asked.leader().id {
            return; // another request has moved on already
        }
        let next = (asked.leader + 1) % known.peers.len().max(1);
        if next == 0 {
            self.invalidate(asked);
        } else {
            self.set_leader(asked.id, next);
        }
    }

    fn set_leader(&mut self, id: u64, leader: usize) {
        let Some(known) = self.by_id.get(&id) else { return };
        if known.leader == leader {
            return;
        }
        let moved = Arc::new(Region { leader, ..Region::clone(known) });
        if let Some(slot) = self.by_start.get_mut(&moved.start).filter(|r| r.id == id) {
            *slot = moved.clone();
        }
        self.by_id.insert(id, moved);
    }

    /// The store knows newer regions for these keys. It answered as leader of one of them, so it is tried first for
    /// each that it has a peer of.
    pub fn on_epoch_not_match(&mut self, asked: &Region, current: Vec<metapb::Region>) {
        self.invalidate(asked);
        let store = asked.leader().store_id;
        for region in current {
            let leader = region.peers.iter().find(|p| p.store_id == store).cloned();
            if let Some(region) = Region::from_pb(region, leader.as_ref()) {
                self.insert(region);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peers(ids: &[u64]) -> Vec<metapb::Peer> {
        ids.iter().map(|&id| metapb::Peer { id, store_id: id % 10, ..Default::default() }).collect()
    }

    fn region(id: u64, version: u64, start: &str, end: &str) -> Region {
        let peers = peers(&[id * 10 + 1, id * 10 + 2, id * 10 + 3]);
        Region { id, conf_ver: 1, version, start: start.into(), end: end.into(), peers, leader: 0 }
    }

    fn ids(cache: &RegionCache) -> Vec<u64> {
        cache.by_start.values().map(|r| r.id).collect()
    }

    #[test]
    fn keys_find_their_region_in_both_directions() {
        let mut cache = RegionCache::default();
        for r in [region(1, 1, "", "g"), region(2, 1, "g", "p"), region(3, 1, "p", "")] {
            cache.insert(r);
        }
        let at = |key: &str| cache.locate(key.as_bytes()).map(|r| r.id);
        assert_eq!([at(""), at("f"), at("g"), at("p"), at("zz")], [1, 1, 2, 3, 3].map(Some));
        let before = |key: &str| cache.locate_before(key.as_bytes()).map(|r| r.id);
        assert_eq!([before("a"), before("g"), before("h"), before("p"), before("")], [1, 1, 2, 2, 3].map(Some));
    }

    #[test]
    fn a_split_replaces_and_an_old_answer_does_not_bring_it_back() {
        let mut cache = RegionCache::default();
        cache.insert(region(1, 1, "", ""));
        cache.insert(region(2, 2, "", "m"));
        assert_eq!(ids(&cache), [2]);
        assert!(cache.locate(b"x").is_none());
        cache.insert(region(1, 2, "m", ""));
        cache.insert(region(1, 1, "", ""));
        assert_eq!(ids(&cache), [2, 1]);
        cache.insert(region(2, 3, "", ""));
        assert_eq!(ids(&cache), [2]);
    }

    #[test]
    fn the_leader_follows_hints_and_rotates_over_dead_stores() {
        let mut cache = RegionCache::default();
        let asked = cache.insert(region(1, 1, "", ""));
        cache.on_not_leader(&asked, Some(&asked.peers[2].clone()));
        assert_eq!(cache.by_id(1).unwrap().leader, 2);
        cache.on_unreachable(&asked); // an answer to an old question changes nothing
        assert_eq!(cache.by_id(1).unwrap().leader, 2);
        let asked = cache.by_id(1).unwrap();
        cache.on_unreachable(&asked);
        assert!(cache.by_id(1).is_none(), "after the last replica PD is asked");
        let asked = cache.insert(region(1, 1, "", ""));
        cache.on_unreachable(&asked);
        assert_eq!(cache.locate(b"k").unwrap().leader, 1);
        let asked = cache.by_id(1).unwrap();
        cache.on_not_leader(&asked, None);
        assert!(cache.locate(b"k").is_none());
    }

    #[test]
    fn an_epoch_error_brings_the_current_regions() {
        let mut cache = RegionCache::default();
        let mut old = region(1, 1, "", "");
        old.leader = 1;
        let asked = cache.insert(old);
        let pb = |id: u64, start: &str, end: &str| metapb::Region {
            id,
            start_key: if start.is_empty() { vec![] } else { encode(start.as_bytes()) },
            end_key: if end.is_empty() { vec![] } else { encode(end.as_bytes()) },
            region_epoch: Some(metapb::RegionEpoch { conf_ver: 1, version: 2 }),
            peers: peers(&[id * 10 + 1, id * 10 + 2, id * 10 + 3]),
        };
        cache.on_epoch_not_match(&asked, vec![pb(1, "m", ""), pb(5, "", "m")]);
        assert_eq!(ids(&cache), [5, 1]);
        assert_eq!(cache.locate(b"a").unwrap().leader().store_id, asked.leader().store_id);
        assert_eq!(cache.locate(b"m").unwrap().start, b"m");
    }

    proptest! {
        #[test]
        fn regions_never_overlap(inserts in proptest::collection::vec((1u64..6, 1u64..5, 0u8..10, 1u8..11), 0..40)) {
            let mut cache = RegionCache::default();
            for (id, version, start, len) in inserts {
                let end = if start + len >= 10 { String::new() } else { (start + len).to_string() };
                let start = if start == 0 { String::new() } else { start.to_string() };
                cache.insert(region(id, version, &start, &end));
                let all: Vec<_> = cache.by_start.values().collect();
                for pair in all.windows(2) {
                    prop_assert!(!pair[0].end.is_empty() && pair[0].end <= pair[1].start, "{all:?}");
                }
                prop_assert_eq!(cache.by_id.len(), cache.by_start.len());
            }
        }

        #[test]
        fn bounds_survive_the_encoding(key in proptest::collection::vec(any::<u8>(), 1..40)) {
            prop_assert_eq!(decode_bound(&encode(&key)), key);
        }
    }
}
