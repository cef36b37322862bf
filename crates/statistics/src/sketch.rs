//! How many different values there are, from a set of hashes that thins itself out (after Flajolet and Martin).
//!
//! A hash is kept while its lowest `level` bits are zero. When there are too many, the level rises by one and about half
//! of them go: each that is left stands for `2^level` values. Two sketches of one hash function merge into that of the
//! union, whichever rows they saw, so regions need not know of each other.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Hashes are random enough to be their own places in a table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached: only numbers are hashed.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        // The low bits of what is kept are zero; a table places by low bits and compares by high ones.
        self.0 = n.rotate_right(20);
    }
}

type Hashes = HashSet<u64, BuildHasherDefault<AsIs>>;

/// A sketch of a set of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    /// `2^level - 1`.
    mask: u64,
    hashes: Hashes,
    hashes_max: usize,
}

impl Sketch {
    /// Hashes that are kept unless something else is said: the error of a count is about one in a hundred.
    pub const HASHES_MAX: usize = 10_000;

    /// Of no values; of at most so many hashes.
    pub fn new(hashes_max: usize) -> Sketch {
        Sketch { mask: 0, hashes: Hashes::default(), hashes_max: hashes_max.max(1) }
    }

    /// From its parts, as another made them.
    pub fn from_parts(mask: u64, hashes: impl IntoIterator<Item = u64>, hashes_max: usize) -> Sketch {
        let mut sketch = Sketch { mask, ..Sketch::new(hashes_max) };
        for hash in hashes {
            sketch.insert_hash(hash);
        }
        sketch
    }

    /// Its mask and its hashes.
    pub fn parts(&self) -> (u64, Vec<u64>) {
        (self.mask, self.hashes.iter().copied().collect())
    }

    /// Adds a value.
    pub fn insert(&mut self, value: &[u8]) {
        self.insert_hash(xxhash_rust::xxh3::xxh3_64(value));
    }

    fn insert_hash(&mut self, hash: u64) {
        if hash & self.mask != 0 {
            return;
        }
        self.hashes.insert(hash);
        while self.hashes.len() > self.hashes_max && self.mask != u64::MAX {
            self.raise((self.mask << 1) | 1);
        }
    }

    fn raise(&mut self, mask: u64) {
        self.mask = mask;
        self.hashes.retain(|hash| hash & mask == 0);
    }

    /// Adds all values of another sketch.
    pub fn merge(&mut self, other: &Sketch) {
        if other.mask > self.mask {
            self.raise(other.mask);
        }
        for hash in &other.hashes {
            self.insert_hash(*hash);
        }
    }

    /// How many different values it has seen, about.
    pub fn distinct(&self) -> u64 {
        self.mask.saturating_add(1).saturating_mul(self.hashes.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: impl IntoIterator<Item = u64>, max: usize) -> Sketch {
        let mut sketch = Sketch::new(max);
        values.into_iter().for_each(|v| sketch.insert(&v.to_be_bytes()));
        sketch
    }

    #[test]
    fn few_values_are_counted_exactly_however_often_they_come() {
        for n in [0, 1, 7, 10_000] {
            let sketch = of((0..n).chain(0..n), Sketch::HASHES_MAX);
            assert_eq!(sketch.distinct(), n);
        }
    }

    #[test]
    fn many_values_are_counted_within_a_few_percent() {
        for n in [20_000_u64, 100_000, 1_000_000] {
            let found = of(0..n, Sketch::HASHES_MAX).distinct();
            let error = found.abs_diff(n) as f64 / n as f64;
            assert!(error < 0.05, "{n} values: {found}");
        }
    }

    proptest! {
        /// Sketches of parts, however they overlap, give the sketch of the whole.
        #[test]
        fn a_merge_is_the_sketch_of_the_union(
            a in prop::collection::vec(0_u64..5_000, 0..800),
            b in prop::collection::vec(0_u64..5_000, 0..800),
            max in 1_usize..300,
        ) {
            let mut merged = of(a.iter().copied(), max);
            merged.merge(&of(b.iter().copied(), max));
            prop_assert_eq!(merged, of(a.into_iter().chain(b), max));
        }

        #[test]
        fn parts_make_the_sketch_again(a in prop::collection::vec(any::<u64>(), 0..500), max in 1_usize..300) {
            let sketch = of(a, max);
            let (mask, hashes) = sketch.parts();
            prop_assert_eq!(Sketch::from_parts(mask, hashes, max), sketch);
        }
    }
}
