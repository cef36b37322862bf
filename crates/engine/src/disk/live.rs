//! The keys that a column family of short-lived entries may hold, in memory.
//!
//! Locks come and go: the tree of their family is little but overwritten entries and tombstones, which a scan would
//! read one by one to find nothing. A [`LiveKeys`] knows which few keys are worth a look.
//!
//! Invariant: the set of a snapshot holds every key that its view of the tree holds. It may hold more, after a write that
//! failed, so that the tree has the last word.

use rpds::RedBlackTreeSetSync;

use crate::KeyRange;

/// A set of keys; a clone is a snapshot of it and costs no more than a pointer.
#[derive(Clone, Default)]
pub(super) struct LiveKeys(RedBlackTreeSetSync<Box<[u8]>>);

impl LiveKeys {
    pub(super) fn add(&mut self, key: &[u8]) {
        self.0.insert_mut(key.into());
    }

    pub(super) fn take_away(&mut self, key: &[u8]) {
        self.0.remove_mut(key);
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.0.contains(key)
    }

    /// The keys of a range, which is not empty, in ascending order, if there are no more than `max` of them.
    pub(super) fn few_of(&self, range: &KeyRange, max: usize) -> Option<Vec<Box<[u8]>>> {
        let keys: Vec<_> = self.0.range::<[u8], _>(range.bounds()).take(max + 1).cloned().collect();
        (keys.len() <= max).then_some(keys)
    }
}
