//! Rows as a storage node sees them: all are counted, a few are kept.
//!
//! | method | keeps | memory |
//! |---|---|---|
//! | [`SamplingMethod::Rate`] | each row with the same chance | grows with the table |
//! | [`SamplingMethod::Size`] | the rows with the greatest random weights | bounded, and so is a merge |
//!
//! Both are uniform over the rows of all regions together: a merge of the first puts the samples together, one of the
//! second keeps the greatest weights of all. Chance comes from the seed alone.
//!
//! Columns, and groups of columns as an index has them, have counts of their own over *all* rows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::sketch::Sketch;

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SamplingMethod {
    /// Each with this chance.
    Rate(f64),
    /// So many.
    Size(usize),
}

/// What a collector collects.
#[derive(Debug, Clone)]
pub struct CollectorOptions {
    /// How rows are chosen.
    pub method: SamplingMethod,
    /// Hashes that a sketch keeps at most.
    pub sketch_size: usize,
    /// Columns of a row.
    pub columns: usize,
    /// Positions of columns that are counted together.
    pub groups: Vec<Vec<usize>>,
    /// Of chance.
    pub seed: u64,
}

/// A value of a row.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    /// The encoded datum: what the sample keeps.
    pub value: &'a [u8],
    /// What equal values have in common; the same as `value` unless a collation says otherwise.
    pub identity: &'a [u8],
    /// It is NULL.
    pub is_null: bool,
}

/// Of all values of a column or a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    /// NULLs. A group has none.
    pub nulls: u64,
    /// Bytes of what is not NULL.
    pub bytes: u64,
    /// Values that are not NULL.
    pub sketch: Sketch,
}

/// A row that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    /// Random.
    pub weight: i64,
    /// An encoded datum for each column.
    pub row: Vec<Vec<u8>>,
}

/// Counts rows and keeps some.
#[derive(Debug)]
pub struct Collector {
    method: SamplingMethod,
    /// Rows seen.
    pub rows: u64,
    /// Of the columns, then of the groups.
    pub counts: Vec<Counts>,
    columns: usize,
    groups: Vec<Vec<usize>>,
    /// The least weight first.
    chosen: BinaryHeap<Reverse<Sample>>,
    rng: StdRng,
    scratch: Vec<u8>,
}

impl Collector {
    /// Of no rows.
    pub fn new(options: CollectorOptions) -> Collector {
        let CollectorOptions { method, sketch_size, columns, groups, seed } = options;
        let none = Counts { nulls: 0, bytes: 0, sketch: Sketch::new(sketch_size) };
        Collector {
            method,
            rows: 0,
            counts: vec![none; columns + groups.len()],
            columns,
            groups,
            chosen: BinaryHeap::new(),
            rng: StdRng::seed_from_u64(seed),
            scratch: Vec::new(),
        }
    }

    /// Takes in a row, which has a cell for each column.
    pub fn add(&mut self, row: &[Cell<'_>]) {
        assert_eq!(row.len(), self.columns, "cells of a row");
        self.rows += 1;
        for (cell, counts) in row.iter().zip(&mut self.counts) {
            if cell.is_null {
                counts.nulls += 1;
            } else {
                counts.bytes += cell.value.len() as u64 - 1;
                counts.sketch.insert(cell.identity);
            }
        }
        for (group, counts) in self.groups.iter().zip(&mut self.counts[self.columns..]) {
            self.scratch.clear();
            for at in group {
                counts.bytes += (row[*at].value.len() as u64).saturating_sub(1);
                self.scratch.extend_from_slice(row[*at].identity);
            }
            counts.sketch.insert(&self.scratch);
        }
        let weight = self.rng.random_range(0..i64::MAX);
        match self.method {
            SamplingMethod::Rate(rate) if self.rng.random::<f64>() >= rate => return,
            SamplingMethod::Rate(_) => {}
            SamplingMethod::Size(most) => {
                let least = self.chosen.peek().map(|s| s.0.weight);
                if self.chosen.len() >= most && least.is_none_or(|least| weight <= least) {
                    return;
                }
            }
        }
        let row = row.iter().map(|cell| cell.value.to_vec()).collect();
        self.choose(Sample { weight, row });
    }

    fn choose(&mut self, sample: Sample) {
        self.chosen.push(Reverse(sample));
        if let SamplingMethod::Size(most) = self.method
            && self.chosen.len() > most
        {
            self.chosen.pop();
        }
    }

    /// Takes in what another saw of other rows of the table. `false`: it is of other columns.
    pub fn merge(&mut self, counts: &[Counts], rows: u64, samples: Vec<Sample>) -> bool {
        if counts.len() != self.counts.len() || samples.iter().any(|s| s.row.len() != self.columns) {
            return false;
        }
        self.rows += rows;
        for (own, other) in self.counts.iter_mut().zip(counts) {
            own.nulls += other.nulls;
            own.bytes += other.bytes;
            own.sketch.merge(&other.sketch);
        }
        samples.into_iter().for_each(|sample| self.choose(sample));
        true
    }

    /// The rows that were chosen, in no order.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.chosen.iter().map(|s| &s.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(method: SamplingMethod, seed: u64) -> Collector {
        Collector::new(CollectorOptions { method, sketch_size: 1000, columns: 2, groups: vec![vec![0, 1]], seed })
    }

    /// Rows `(n % 10, NULL if n is even, else n % 3)`.
    fn feed(collector: &mut Collector, rows: impl IntoIterator<Item = u64>) {
        for n in rows {
            let (a, b) = ([9, (n % 10) as u8], [9, (n % 3) as u8]);
            let null = [0];
            let second = if n % 2 == 0 { &null[..] } else { &b[..] };
            let cell = |value| Cell { value, identity: value, is_null: value == null };
            collector.add(&[cell(&a), cell(second)]);
        }
    }

    #[test]
    fn every_row_is_counted_and_a_group_counts_combinations() {
        let mut all = collector(SamplingMethod::Size(5), 1);
        feed(&mut all, 0..1000);
        let nulls: Vec<_> = all.counts.iter().map(|c| c.nulls).collect();
        let distinct: Vec<_> = all.counts.iter().map(|c| c.sketch.distinct()).collect();
        let bytes: Vec<_> = all.counts.iter().map(|c| c.bytes).collect();
        // Five even digits go with NULL; five odd ones with three values each.
        assert_eq!((all.rows, nulls, distinct), (1000, vec![0, 500, 0], vec![10, 3, 20]));
        assert_eq!(bytes, [1000, 500, 1500]);
        assert_eq!(all.samples().len(), 5);
    }

    #[test]
    fn samples_of_parts_merge_into_one_as_uniform_as_of_the_whole() {
        // The first region has nine rows in ten; so must the sample.
        let mut merged = collector(SamplingMethod::Size(2_000), 1);
        for (seed, range) in [(2, 0..18_000), (3, 18_000..20_000)] {
            let mut part = collector(SamplingMethod::Size(2_000), seed);
            // The region is in the first column's first byte.
            for _ in range {
                let value = [seed as u8, 0];
                let cell = Cell { value: &value, identity: &value, is_null: false };
                part.add(&[cell, cell]);
            }
            let samples: Vec<Sample> = part.samples().cloned().collect();
            assert!(merged.merge(&part.counts, part.rows, samples));
        }
        assert_eq!((merged.rows, merged.samples().len()), (20_000, 2_000));
        let small = merged.samples().filter(|s| s.row[0][0] == 3).count();
        // 200 expected, a deviation of 13.
        assert!((140..260).contains(&small), "{small} of 2000 from a tenth of the rows");
    }

    #[test]
    fn a_rate_keeps_its_part() {
        let mut all = collector(SamplingMethod::Rate(0.1), 7);
        feed(&mut all, 0..20_000);
        let kept = all.samples().len();
        assert!((1_800..2_200).contains(&kept), "{kept} of 20000");
        let mut whole = collector(SamplingMethod::Rate(1.0), 7);
        feed(&mut whole, 0..500);
        assert_eq!(whole.samples().len(), 500);
    }

    #[test]
    fn what_is_of_other_columns_is_not_merged() {
        let other = Collector::new(CollectorOptions {
            method: SamplingMethod::Size(1),
            sketch_size: 10,
            columns: 1,
            groups: Vec::new(),
            seed: 0,
        });
        assert!(!collector(SamplingMethod::Size(1), 0).merge(&other.counts, 3, Vec::new()));
    }
}
