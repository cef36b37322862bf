//! The statistics of a table, and of all tables, as the planner takes them.
//!
//! A distribution is of the moment of its analysis; the table's rows are of now, because sessions count what they change.
//! Estimates join the two: where rows are gone, all values are thought to have lost alike; rows added are thought to be
//! like those that were there, or beyond them where the range goes on.

use std::collections::HashMap;
use std::sync::Arc;

use crate::distribution::Distribution;

/// Rows that a table is thought to have at least as long as it has not been analysed: an index is then used wherever it
/// may help, as it must be for the first rows of a table that will grow.
pub const PSEUDO_ROWS: f64 = 10_000.0;

/// With more different values for each row than this, a column is thought to be a key.
const NEARLY_ALL: f64 = 0.9;

/// Of a table as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableMeta {
    /// Rows now, as far as changes have been counted.
    pub rows: u64,
    /// Rows inserted, updated or deleted since the analysis.
    pub modified: u64,
    /// What the analysis saw; 0: there was none.
    pub snapshot_ts: u64,
    /// Names the distributions that belong to it.
    pub version: u64,
}

impl TableMeta {
    /// How much of the analysed rows is unchanged, of a hundred; 0 when more was changed than there is.
    pub fn health(&self) -> u8 {
        match (self.modified, self.rows) {
            (0, _) => 100,
            (changed, rows) if changed < rows => (100 - changed * 100 / rows) as u8,
            _ => 0,
        }
    }
}

/// The statistics of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TableStatistics {
    /// Of the whole.
    pub meta: TableMeta,
    columns: HashMap<i64, Arc<Distribution>>,
    indexes: HashMap<i64, Arc<Distribution>>,
}

impl TableStatistics {
    /// Of a table with these distributions, by column and index id.
    pub fn new(
        meta: TableMeta,
        columns: HashMap<i64, Arc<Distribution>>,
        indexes: HashMap<i64, Arc<Distribution>>,
    ) -> TableStatistics {
        TableStatistics { meta, columns, indexes }
    }

    /// The same distributions with other counts.
    pub fn with_meta(&self, meta: TableMeta) -> TableStatistics {
        TableStatistics { meta, ..self.clone() }
    }

    /// There are no distributions: what is said of values is a guess.
    pub fn is_pseudo(&self) -> bool {
        self.columns.is_empty() && self.indexes.is_empty()
    }

    /// Rows now.
    pub fn rows(&self) -> f64 {
        let counted = self.meta.rows as f64;
        if self.is_pseudo() { counted.max(PSEUDO_ROWS) } else { counted.max(1.0) }
    }

    /// A column's, if it is known: nothing is of a column that was empty.
    pub fn column(&self, id: i64) -> Option<&Distribution> {
        self.columns.get(&id).map(|d| &**d).filter(|d| d.rows > 0)
    }

    /// An index's.
    pub fn index(&self, id: i64) -> Option<&Distribution> {
        self.indexes.get(&id).map(|d| &**d).filter(|d| d.rows > 0)
    }

    /// All columns that have been analysed, by id, those that were empty too.
    pub fn columns(&self) -> impl Iterator<Item = (i64, &Distribution)> {
        self.columns.iter().map(|(id, d)| (*id, &**d))
    }

    /// All indexes.
    pub fn indexes(&self) -> impl Iterator<Item = (i64, &Distribution)> {
        self.indexes.iter().map(|(id, d)| (*id, &**d))
    }

    /// Rows of now whose key, in one of the table's distributions, is in a half-open range.
    pub fn range_rows(&self, d: &Distribution, low: &[u8], high: Option<&[u8]>) -> f64 {
        let (now, then) = (self.rows(), d.rows as f64);
        let found = d.range(low, high);
        let part = (found / then.max(1.0)).min(1.0);
        let rows = match now > then {
            true => found + (now - then) * part.max(d.part_beyond(low, high)),
            false => now * part,
        };
        rows.clamp(0.0, now)
    }

    /// Rows of now that have a value, and not NULL, in one of the table's distributions.
    fn present(&self, d: &Distribution) -> f64 {
        self.rows() * d.rows.saturating_sub(d.nulls) as f64 / d.rows.max(1) as f64
    }

    /// How many different values there are now in one of the table's distributions: where nearly every row had its own, the
    /// rows that were added have theirs, too.
    pub fn distinct(&self, d: &Distribution) -> f64 {
        let own = d.distinct as f64 / d.rows.saturating_sub(d.nulls).max(1) as f64;
        let now = if own > NEARLY_ALL { own * self.present(d) } else { d.distinct as f64 };
        now.min(self.present(d)).max(1.0)
    }

    /// Rows of now that a value of one of the table's distributions has on average.
    pub fn rows_of_a_value(&self, d: &Distribution) -> f64 {
        self.present(d) / self.distinct(d)
    }
}

/// The statistics of all tables at one moment.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// Changes when plans made before may be worse than those made now.
    version: u64,
    tables: HashMap<i64, Arc<TableStatistics>>,
    /// Of a table that nobody has counted.
    unknown: TableStatistics,
}

impl Statistics {
    /// Of these tables.
    pub fn new(version: u64, tables: HashMap<i64, Arc<TableStatistics>>) -> Statistics {
        Statistics { version, tables, unknown: TableStatistics::default() }
    }

    /// Changes when plans made before may be worse than those made now.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Of a table; of one that nothing is known of, guesses.
    pub fn table(&self, id: i64) -> &TableStatistics {
        self.tables.get(&id).map_or(&self.unknown, |t| t)
    }

    /// Of the tables that something is known of.
    pub fn tables(&self) -> &HashMap<i64, Arc<TableStatistics>> {
        &self.tables
    }
}

#[cfg(test)]
mod tests {
    use codec::datum::{Datum, encode_key};

    use super::*;
    use crate::build::{BuildOptions, Totals, build};

    fn key(n: i64) -> Vec<u8> {
        let mut out = Vec::new();
        encode_key(&mut out, &Datum::Int(n), None).unwrap();
        out
    }

    fn table(rows_now: u64) -> (TableStatistics, Arc<Distribution>) {
        let totals = Totals { rows: 1_000, distinct: 1_000, ..Totals::default() };
        let options = BuildOptions { buckets: 100, top_n: 10 };
        let d = Arc::new(build((0..1_000).map(key).collect(), totals, options));
        let meta = TableMeta { rows: rows_now, modified: 0, snapshot_ts: 1, version: 1 };
        (TableStatistics::new(meta, HashMap::from([(1, d.clone())]), HashMap::new()), d)
    }

    #[test]
    fn estimates_follow_the_rows_that_there_are_now() {
        let half = |rows_now| {
            let (t, d) = table(rows_now);
            t.range_rows(&d, &key(0), Some(&key(500))).round()
        };
        assert_eq!([half(1_000), half(100), half(3_000)], [500.0, 50.0, 1_500.0]);
    }

    #[test]
    fn rows_added_behind_the_last_are_found_by_a_range_that_goes_on() {
        let (t, d) = table(3_000);
        assert_eq!(t.range_rows(&d, &key(1_000), None).round(), 2_000.0);
        assert!(t.range_rows(&d, &key(-50), Some(&key(-10))) < 200.0);
    }

    #[test]
    fn a_table_that_was_not_analysed_has_its_rows_or_more() {
        assert_eq!(Statistics::default().table(7).rows(), PSEUDO_ROWS);
        let counted = |rows| TableStatistics::default().with_meta(TableMeta { rows, ..TableMeta::default() }).rows();
        assert_eq!([counted(5), counted(2_000_000)], [PSEUDO_ROWS, 2_000_000.0]);
    }

    #[test]
    fn a_key_has_as_many_values_as_there_are_rows_now_and_others_have_theirs() {
        let (t, key) = table(3_000);
        assert_eq!((t.distinct(&key), t.rows_of_a_value(&key)), (3_000.0, 1.0));
        let few = Distribution { rows: 1_000, nulls: 100, distinct: 9, ..Distribution::default() };
        assert_eq!((t.distinct(&few), t.rows_of_a_value(&few)), (9.0, 300.0));
    }

    #[test]
    fn health_is_the_unchanged_part() {
        let health = |modified, rows| TableMeta { rows, modified, ..TableMeta::default() }.health();
        assert_eq!([health(0, 0), health(0, 10), health(3, 10), health(10, 10), health(1, 0)], [100, 100, 70, 0, 0]);
    }
}
