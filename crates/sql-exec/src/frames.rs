//! Which rows a window function sees: arithmetic on the numbers of a partition's rows, and nothing else.
//!
//! ```text
//! key    3  5  5  5  8         a partition in its order; rows with equal keys are peers
//! row    0  1  2  3  4
//! group  0  1  1  1  2
//!           └──┬──┘
//! RANGE … CURRENT ROW ends after row 3 for all three
//! ```
//!
//! Frames are half-open ranges of row numbers, perhaps empty. From row to row neither end of a frame goes back, which is what
//! lets the operator slide over them.
//!
//! Not here: values, and where in them an edge is that counts in values: the caller finds that row.

use std::ops::Range;

use sql_planner::plan::{Edge, Units};

/// The rows of a partition.
#[derive(Debug)]
pub(crate) struct Partition {
    /// The first row of each group of peers, and the number of rows.
    groups: Vec<usize>,
}

/// A row of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: usize,
    /// Groups of peers before its own.
    pub(crate) group: usize,
    /// Its group.
    pub(crate) peers: Range<usize>,
    /// Rows of the partition.
    pub(crate) rows: usize,
}

impl Partition {
    /// Of so many rows, of which those that `begins` a group are said to.
    pub(crate) fn new(rows: usize, begins: impl Fn(usize) -> bool) -> Partition {
        let mut groups: Vec<usize> = (0..rows).filter(|row| *row == 0 || begins(*row)).collect();
        groups.push(rows);
        Partition { groups }
    }

    /// Its rows in order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + Send {
        let rows = self.groups.last().copied().unwrap_or(0);
        self.groups.windows(2).enumerate().flat_map(move |(group, ends)| {
            let peers = ends[0]..ends[1];
            peers.clone().map(move |number| Row { number, group, peers: peers.clone(), rows })
        })
    }
}

impl Row {
    /// The first row of its frame. `at_value` finds the first row at or after an edge that counts in values.
    pub(crate) fn start(&self, units: Units, edge: &Edge, at_value: impl FnOnce() -> usize) -> usize {
        match edge {
            Edge::Unbounded => 0,
            Edge::Current if units == Units::Range => self.peers.start,
            Edge::Current => self.number,
            Edge::Preceding(n) => self.number.saturating_sub(to_usize(*n)),
            Edge::Following(n) => self.number.saturating_add(to_usize(*n)).min(self.rows),
            Edge::Value { .. } => at_value(),
        }
    }

    /// The row after the last of its frame. `at_value` finds the first row after an edge that counts in values.
    pub(crate) fn end(&self, units: Units, edge: &Edge, at_value: impl FnOnce() -> usize) -> usize {
        match edge {
            Edge::Unbounded => self.rows,
            Edge::Current if units == Units::Range => self.peers.end,
            Edge::Current => self.number + 1,
            Edge::Preceding(n) => (self.number + 1).saturating_sub(to_usize(*n)),
            Edge::Following(n) => (self.number + 1).saturating_add(to_usize(*n)).min(self.rows),
            Edge::Value { .. } => at_value(),
        }
    }

    /// RANK().
    pub(crate) fn rank(&self) -> u64 {
        self.peers.start as u64 + 1
    }

    /// PERCENT_RANK().
    pub(crate) fn percent_rank(&self) -> f64 {
        if self.rows > 1 { self.peers.start as f64 / (self.rows - 1) as f64 } else { 0.0 }
    }

    /// CUME_DIST().
    pub(crate) fn cume_dist(&self) -> f64 {
        self.peers.end as f64 / self.rows as f64
    }

    /// NTILE(parts): the first parts have a row more where the rows cannot be divided.
    pub(crate) fn ntile(&self, parts: u64) -> u64 {
        let (number, rows) = (self.number as u64, self.rows as u64);
        let (size, larger) = (rows / parts, rows % parts);
        let in_larger = larger * (size + 1);
        let part = match number < in_larger {
            true => number / (size + 1),
            false => larger + (number - in_larger) / size,
        };
        part + 1
    }

    /// The row so many before.
    pub(crate) fn before(&self, n: u64) -> Option<usize> {
        self.number.checked_sub(to_usize(n))
    }

    /// The row so many after.
    pub(crate) fn after(&self, n: u64) -> Option<usize> {
        self.number.checked_add(to_usize(n)).filter(|row| *row < self.rows)
    }
}

/// More rows than there are addresses are not to be had.
fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Partition of rows with these keys.
    fn partition(keys: &[i32]) -> Partition {
        Partition::new(keys.len(), |row| keys[row] != keys[row - 1])
    }

    fn frames(keys: &[i32], units: Units, start: Edge, end: Edge) -> Vec<(usize, usize)> {
        let none = || unreachable!("no edge at a value");
        partition(keys).rows().map(|r| (r.start(units, &start, none), r.end(units, &end, none))).collect()
    }

    #[test]
    fn peers_have_one_group_and_one_rank() {
        let rows: Vec<Row> = partition(&[3, 5, 5, 5, 8]).rows().collect();
        assert_eq!(rows.iter().map(|r| r.group).collect::<Vec<_>>(), [0, 1, 1, 1, 2]);
        assert_eq!(rows.iter().map(Row::rank).collect::<Vec<_>>(), [1, 2, 2, 2, 5]);
        assert_eq!(rows.iter().map(Row::percent_rank).collect::<Vec<_>>(), [0.0, 0.25, 0.25, 0.25, 1.0]);
        assert_eq!(rows.iter().map(Row::cume_dist).collect::<Vec<_>>(), [0.2, 0.8, 0.8, 0.8, 1.0]);
    }

    #[test]
    fn one_row_is_at_zero_percent() {
        let rows: Vec<Row> = partition(&[1]).rows().collect();
        assert_eq!((rows[0].percent_rank(), rows[0].cume_dist()), (0.0, 1.0));
    }

    #[test]
    fn no_rows_have_no_groups() {
        assert_eq!(partition(&[]).rows().count(), 0);
    }

    #[test]
    fn frames_of_rows_are_cut_at_the_partition() {
        let frame = frames(&[1, 2, 3, 4], Units::Rows, Edge::Preceding(1), Edge::Following(1));
        assert_eq!(frame, [(0, 2), (0, 3), (1, 4), (2, 4)]);
        let ahead = frames(&[1, 2, 3], Units::Rows, Edge::Following(1), Edge::Following(2));
        assert_eq!(ahead, [(1, 3), (2, 3), (3, 3)]);
        let behind = frames(&[1, 2, 3], Units::Rows, Edge::Preceding(2), Edge::Preceding(1));
        assert_eq!(behind, [(0, 0), (0, 1), (0, 2)]);
        let far = frames(&[1, 2], Units::Rows, Edge::Preceding(u64::MAX), Edge::Following(u64::MAX));
        assert_eq!(far, [(0, 2), (0, 2)]);
    }

    #[test]
    fn by_values_the_current_row_is_all_its_peers() {
        let frame = frames(&[3, 5, 5, 8], Units::Range, Edge::Unbounded, Edge::Current);
        assert_eq!(frame, [(0, 1), (0, 3), (0, 3), (0, 4)]);
        let frame = frames(&[3, 5, 5, 8], Units::Range, Edge::Current, Edge::Unbounded);
        assert_eq!(frame, [(0, 4), (1, 4), (1, 4), (3, 4)]);
        let frame = frames(&[3, 5, 5, 8], Units::Rows, Edge::Unbounded, Edge::Current);
        assert_eq!(frame, [(0, 1), (0, 2), (0, 3), (0, 4)]);
    }

    #[test]
    fn no_end_of_a_frame_goes_back() {
        let keys = [1, 1, 2, 3, 3, 3, 9];
        let edges = || [Edge::Unbounded, Edge::Current, Edge::Preceding(2), Edge::Following(3)];
        for units in [Units::Rows, Units::Range] {
            for (start, end) in edges().into_iter().flat_map(|s| edges().map(|e| (s.clone(), e))) {
                let frame = frames(&keys, units, start, end);
                assert!(frame.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1), "{frame:?}");
            }
        }
    }

    #[test]
    fn parts_differ_by_one_row_at_most() {
        let parts = |rows: usize, n| partition(&vec![0; rows]).rows().map(|r| r.ntile(n)).collect::<Vec<_>>();
        assert_eq!(parts(7, 3), [1, 1, 1, 2, 2, 3, 3]);
        assert_eq!(parts(6, 3), [1, 1, 2, 2, 3, 3]);
        assert_eq!(parts(2, 5), [1, 2]);
        assert_eq!(parts(1, u64::MAX), [1]);
    }

    #[test]
    fn other_rows_are_those_of_the_partition() {
        let rows: Vec<Row> = partition(&[1, 2, 3]).rows().collect();
        assert_eq!((rows[0].before(1), rows[2].before(2), rows[1].before(0)), (None, Some(0), Some(1)));
        assert_eq!((rows[2].after(1), rows[0].after(2), rows[0].after(u64::MAX)), (None, Some(2), None));
    }
}
