//! The cluster as PD knows it: stores and regions, from what they report.
//!
//! [`Cluster`] is plain data with rules for what may replace what. It remembers which of its records are not in the
//! metadata store yet; the leader writes those in the background, so that a later leader knows the regions before
//! their heartbeats arrive. Losing the last second of that is harmless: heartbeats repeat it.
//!
//! Not here: placement and scheduling decisions, time (it is an argument), persistence.

pub mod model;
pub mod regions;

use std::collections::{BTreeMap, BTreeSet};

use self::model::{Region, Store, StoreState};
use self::regions::{RegionChange, Regions, StaleRegion};

/// Why a store's registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The id was retired.
    #[error("store {0} is tombstone")]
    Tombstone(u64),
    /// Another live store uses the address.
    #[error("duplicated store address: store {id} already has '{address}'")]
    DuplicateAddress {
        /// The store that has it.
        id: u64,
        /// The address.
        address: String,
    },
    /// No such store.
    #[error("store {0} not found")]
    NotFound(u64),
    /// The store does not read what the others write.
    #[error(
        "store {id} reads up to format {format}, and the cluster writes format {cluster}: start it with the version of the \
         other stores"
    )]
    OlderFormat {
        /// The store.
        id: u64,
        /// What it reads.
        format: u32,
        /// What the cluster writes.
        cluster: u32,
    },
    /// Zero is no id.
    #[error("invalid store id 0")]
    InvalidId,
    /// The store still has regions, or the change makes no sense in its state.
    #[error("store {0} is {1:?} and can't become {2:?}")]
    Transition(u64, StoreState, StoreState),
}

/// Stores and regions. See the module header.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Regions by id and by key.
    pub regions: Regions,
    stores: BTreeMap<u64, Store>,
    dirty: Dirty,
}

/// Records that differ from what the metadata store has.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Regions to be written.
    pub regions: BTreeSet<u64>,
    /// Regions to be deleted.
    pub gone: BTreeSet<u64>,
}

impl Dirty {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty() && self.gone.is_empty()
    }
}

impl Cluster {
    /// Puts a store or region read from the metadata store.
    pub fn load_store(&mut self, store: Store) {
        self.stores.insert(store.id, store);
    }

    /// Puts a region read from the metadata store.
    pub fn load_region(&mut self, region: Region) {
        // Of overlapping records the newer one wins, whatever the order of reading.
        if let Ok(change) = self.regions.put(region) {
            self.dirty.gone.extend(change.evicted);
        }
    }

    /// All stores.
    pub fn stores(&self) -> &BTreeMap<u64, Store> {
        &self.stores
    }

    /// A store.
    pub fn store(&self, id: u64) -> Option<&Store> {
        self.stores.get(&id)
    }

    /// Takes a store's registration (a new one, or its restart), and returns the record to be written.
    pub fn register_store(&self, mut store: Store, now_ms: u64) -> Result<Store, StoreError> {
        if store.id == 0 {
            return Err(StoreError::InvalidId);
        }
        let same_address = |other: &&Store| {
            other.id != store.id && other.address == store.address && other.state != StoreState::Tombstone
        };
        if let Some(other) = self.stores.values().find(same_address) {
            return Err(StoreError::DuplicateAddress { id: other.id, address: store.address });
        }
        if let Some(cluster) = self.format().filter(|cluster| store.format < *cluster) {
            return Err(StoreError::OlderFormat { id: store.id, format: store.format, cluster });
        }
        if let Some(known) = self.stores.get(&store.id) {
            if known.state == StoreState::Tombstone {
                return Err(StoreError::Tombstone(store.id));
            }
            // Being emptied is PD's decision, which a restart does not undo.
            store.state = known.state;
            (store.capacity_bytes, store.available_bytes) = (known.capacity_bytes, known.available_bytes);
            store.used_bytes = known.used_bytes;
        }
        store.last_heartbeat_ms = now_ms;
        Ok(store)
    }

    /// The format that may be written: the newest that every store reads. It does not fall, since who reads less is refused.
    pub fn format(&self) -> Option<u32> {
        let there = self.stores.values().filter(|store| store.state != StoreState::Tombstone);
        there.map(|store| store.format).min()
    }

    /// Puts a registered store, after its record was written.
    pub fn put_store(&mut self, store: Store) {
        self.stores.insert(store.id, store);
    }

    /// Removes a tombstone, after its record was deleted.
    pub fn remove_store(&mut self, id: u64) {
        self.stores.remove(&id);
    }

    /// The store's record with another state, to be written and then put.
    pub fn with_state(&self, id: u64, to: StoreState) -> Result<Store, StoreError> {
        let mut store = self.stores.get(&id).cloned().ok_or(StoreError::NotFound(id))?;
        let allowed = match (store.state, to) {
            (from, to) if from == to => true,
            (StoreState::Up, StoreState::Offline) | (StoreState::Offline, StoreState::Up) => true,
            (StoreState::Offline, StoreState::Tombstone) => self.regions.count_on(id) == 0,
            _ => false,
        };
        if !allowed {
            return Err(StoreError::Transition(id, store.state, to));
        }
        store.state = to;
        Ok(store)
    }

    /// A store reports that it lives.
    pub fn store_heartbeat(&mut self, id: u64, now_ms: u64, sizes: [u64; 3]) -> Result<(), StoreError> {
        let store = self.stores.get_mut(&id).ok_or(StoreError::NotFound(id))?;
        if store.state == StoreState::Tombstone {
            return Err(StoreError::Tombstone(id));
        }
        store.last_heartbeat_ms = now_ms;
        [store.capacity_bytes, store.available_bytes, store.used_bytes] = sizes;
        Ok(())
    }

    /// A region's leader reports the region.
    pub fn region_heartbeat(&mut self, region: Region) -> Result<RegionChange, StaleRegion> {
        let id = region.id;
        let change = self.regions.put(region)?;
        if change.meta {
            self.dirty.regions.insert(id);
            self.dirty.gone.remove(&id);
        }
        for gone in &change.evicted {
            self.dirty.regions.remove(gone);
            self.dirty.gone.insert(*gone);
        }
        Ok(change)
    }

    /// Takes what must be written to the metadata store.
    pub fn take_dirty(&mut self) -> Dirty {
        std::mem::take(&mut self.dirty)
    }

    /// Gives back what could not be written.
    pub fn restore_dirty(&mut self, dirty: Dirty) {
        for id in dirty.regions {
            if !self.dirty.gone.contains(&id) {
                self.dirty.regions.insert(id);
            }
        }
        for id in dirty.gone {
            if !self.dirty.regions.contains(&id) {
                self.dirty.gone.insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: u64, address: &str) -> Store {
        Store { id, address: address.into(), ..Store::default() }
    }

    #[test]
    fn stores_register_restart_and_retire() {
        let mut cluster = Cluster::default();
        let first = cluster.register_store(store(1, "a:1"), 5).unwrap();
        cluster.put_store(first);
        assert!(matches!(cluster.register_store(store(2, "a:1"), 5), Err(StoreError::DuplicateAddress { id: 1, .. })));
        assert_eq!(cluster.register_store(store(0, "b:1"), 5), Err(StoreError::InvalidId));
        cluster.put_store(cluster.with_state(1, StoreState::Offline).unwrap());
        assert_eq!(cluster.register_store(store(1, "a:2"), 9).unwrap().state, StoreState::Offline);
        assert!(cluster.with_state(1, StoreState::Tombstone).is_ok());
        let tombstone = cluster.with_state(1, StoreState::Tombstone).unwrap();
        cluster.put_store(tombstone);
        assert_eq!(cluster.register_store(store(1, "a:2"), 9), Err(StoreError::Tombstone(1)));
        assert!(cluster.register_store(store(2, "a:1"), 9).is_ok(), "a tombstone's address is free");
        assert_eq!(cluster.store_heartbeat(1, 10, [0; 3]), Err(StoreError::Tombstone(1)));
        assert_eq!(cluster.store_heartbeat(7, 10, [0; 3]), Err(StoreError::NotFound(7)));
    }

    #[test]
    fn the_format_rises_when_the_last_store_reads_it_and_never_falls() {
        let mut cluster = Cluster::default();
        assert_eq!(cluster.format(), None);
        let register = |cluster: &mut Cluster, id: u64, format| {
            let store = Store { format, ..store(id, &format!("a:{id}")) };
            cluster.register_store(store, 5).map(|store| cluster.put_store(store))
        };
        register(&mut cluster, 1, 1).unwrap();
        register(&mut cluster, 2, 2).unwrap();
        assert_eq!(cluster.format(), Some(1));
        register(&mut cluster, 1, 2).unwrap();
        assert_eq!(cluster.format(), Some(2));
        for id in [1, 3] {
            assert_eq!(register(&mut cluster, id, 1), Err(StoreError::OlderFormat { id, format: 1, cluster: 2 }));
        }
        register(&mut cluster, 3, 3).unwrap();
        assert_eq!(cluster.format(), Some(2));
    }
}
