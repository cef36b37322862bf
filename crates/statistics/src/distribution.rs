//! How the values of a column or an index are distributed: NULLs, frequent values with their rows, and a histogram of
//! equal depth over all others.
//!
//! ```text
//!   rows   nulls │ frequent: 7 → 900, 12 → 400 │ buckets: [1 … 30] 51 rows, 12 values, 30 comes 3 times │ [31 … ]
//! ```
//!
//! Estimates here are of the rows that the analysis saw; [`crate::TableStatistics`] turns them to the rows of now.

use codec::datum::flag;

use crate::scalar::{position, width_in};

/// A frequent value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequent {
    /// The sortable key.
    pub key: Vec<u8>,
    /// Its rows.
    pub rows: u64,
}

/// Values from `lower` to `upper`, both of which occur.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Rows in it.
    pub rows: u64,
    /// The least value.
    pub lower: Vec<u8>,
    /// The greatest.
    pub upper: Vec<u8>,
    /// Rows that have the greatest.
    pub repeats: u64,
    /// Different values.
    pub distinct: u64,
}

/// How values are distributed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    /// Names the analysis that it is of.
    pub version: u64,
    /// All rows that the analysis saw.
    pub rows: u64,
    /// NULLs. In an index they are values like others, and none are counted here.
    pub nulls: u64,
    /// Different values, without NULL.
    pub distinct: u64,
    /// Bytes of all values.
    pub bytes: u64,
    /// From -1 to 1: whether values are in the order of the row handles.
    pub correlation: f64,
    /// In the order of their keys.
    pub frequent: Vec<Frequent>,
    /// In order, without overlaps.
    pub buckets: Vec<Bucket>,
}

impl Distribution {
    /// Rows in all buckets.
    fn bucket_rows(&self) -> u64 {
        self.buckets.iter().map(|b| b.rows).sum()
    }

    /// Rows that a value has on average, of those that are not frequent.
    fn average(&self) -> f64 {
        let distinct = self.distinct.saturating_sub(self.frequent.len() as u64).max(1);
        self.bucket_rows() as f64 / distinct as f64
    }

    /// Bytes that a value has on average.
    pub fn average_bytes(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.bytes as f64 / self.rows as f64 }
    }

    /// Rows whose value this is.
    pub fn equal(&self, key: &[u8]) -> f64 {
        if key == [flag::NIL] && self.nulls > 0 {
            return self.nulls as f64;
        }
        if let Ok(at) = self.frequent.binary_search_by(|f| f.key.as_slice().cmp(key)) {
            return self.frequent[at].rows as f64;
        }
        let at = self.buckets.partition_point(|b| b.upper.as_slice() < key);
        match self.buckets.get(at) {
            Some(b) if b.upper == key => b.repeats as f64,
            Some(b) if b.lower.as_slice() <= key && b.distinct > 1 => {
                (b.rows.saturating_sub(b.repeats)) as f64 / (b.distinct - 1) as f64
            }
            // Between buckets or beyond them: a value that the sample did not meet.
            _ => self.average().min(1.0),
        }
    }

    /// Rows of buckets below a key.
    fn below(&self, key: &[u8]) -> f64 {
        let at = self.buckets.partition_point(|b| b.upper.as_slice() < key);
        let before: u64 = self.buckets[..at].iter().map(|b| b.rows).sum();
        let inside = match self.buckets.get(at) {
            Some(b) if b.lower.as_slice() < key => {
                b.rows.saturating_sub(b.repeats) as f64 * position(&b.lower, &b.upper, key)
            }
            _ => 0.0,
        };
        before as f64 + inside
    }

    /// Rows whose key is in a half-open range. `None` is no bound above.
    pub fn range(&self, low: &[u8], high: Option<&[u8]>) -> f64 {
        if high.is_some_and(|high| high <= low) {
            return 0.0;
        }
        if high.is_some_and(|high| high == codec::key::prefix_next(low)) && is_value(low) {
            let exact = self.equal(low);
            // A prefix of an index's columns is no value of its own: what begins with it is in between.
            return exact.max(self.between(low, high));
        }
        self.between(low, high)
    }

    fn between(&self, low: &[u8], high: Option<&[u8]>) -> f64 {
        let inside = |key: &[u8]| key >= low && high.is_none_or(|high| key < high);
        let nulls = if inside(&[flag::NIL]) { self.nulls } else { 0 };
        let from = self.frequent.partition_point(|f| f.key.as_slice() < low);
        let frequent: u64 = self.frequent[from..].iter().take_while(|f| inside(&f.key)).map(|f| f.rows).sum();
        let to = high.map_or(self.bucket_rows() as f64, |high| self.below(high));
        (nulls + frequent) as f64 + (to - self.below(low)).max(0.0)
    }

    /// The least and the greatest value.
    fn bounds(&self) -> Option<(&[u8], &[u8])> {
        let least = [self.frequent.first().map(|f| &f.key), self.buckets.first().map(|b| &b.lower)];
        let greatest = [self.frequent.last().map(|f| &f.key), self.buckets.last().map(|b| &b.upper)];
        let least = least.into_iter().flatten().min()?;
        let greatest = greatest.into_iter().flatten().max()?;
        Some((least, greatest))
    }

    /// The part of rows added since the analysis that is thought to lie in a range: what is inside of the range and
    /// outside of the values that were there, in widths of them. Columns that grow (times, numbers given in order) get
    /// their new rows there.
    pub fn part_beyond(&self, low: &[u8], high: Option<&[u8]>) -> f64 {
        let Some((least, greatest)) = self.bounds() else { return 1.0 };
        let above = match high {
            None => 1.0,
            Some(high) if high > greatest => {
                let from = low.max(greatest);
                if least < greatest { width_in((least, greatest), (from, high)) } else { 1.0 }
            }
            Some(_) => 0.0,
        };
        let below = match high.map_or(least, |high| high.min(least)) {
            to if low < to && low > [flag::NIL, 0].as_slice() && least < greatest => {
                width_in((least, greatest), (low, to))
            }
            to if low < to => 1.0,
            _ => 0.0,
        };
        (above + below).clamp(0.0, 1.0)
    }
}

/// Whether a key is one or more encoded datums, and not a part of one.
fn is_value(key: &[u8]) -> bool {
    let mut rest = key;
    while !rest.is_empty() {
        match codec::datum::skip_len(rest) {
            Ok(length) => rest = &rest[length..],
            Err(_) => return false,
        }
    }
    !key.is_empty()
}
