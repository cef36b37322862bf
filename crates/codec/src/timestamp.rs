//! Timestamps of the cluster: milliseconds of the physical clock and a counter within each.

use std::fmt;

/// `physical_ms << 18 | logical`, handed out by PD; every read and every commit has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// Bits of the logical part.
pub const LOGICAL_BITS: u32 = 18;

impl Timestamp {
    /// Before every timestamp.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After every timestamp; a read at `MAX` sees the newest commit.
    pub const MAX: Timestamp = Timestamp(u64::MAX);

    /// From its parts.
    pub fn compose(physical_ms: i64, logical: i64) -> Timestamp {
        Timestamp(((physical_ms as u64) << LOGICAL_BITS) | (logical as u64 & ((1 << LOGICAL_BITS) - 1)))
    }

    /// Milliseconds since the Unix epoch.
    pub fn physical(self) -> i64 {
        (self.0 >> LOGICAL_BITS) as i64
    }

    /// The counter within the millisecond.
    pub fn logical(self) -> i64 {
        (self.0 & ((1 << LOGICAL_BITS) - 1)) as i64
    }

    /// The timestamp just before, or zero.
    pub fn prev(self) -> Timestamp {
        Timestamp(self.0.saturating_sub(1))
    }

    /// The timestamp just after.
    pub fn next(self) -> Timestamp {
        Timestamp(self.0.saturating_add(1))
    }
}

impl From<u64> for Timestamp {
    fn from(n: u64) -> Self {
        Timestamp(n)
    }
}

impl From<Timestamp> for u64 {
    fn from(ts: Timestamp) -> Self {
        ts.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let ts = Timestamp::compose(1_700_000_000_123, 77);
        assert_eq!((ts.physical(), ts.logical()), (1_700_000_000_123, 77));
        assert!(Timestamp::compose(5, 0) > Timestamp::compose(4, (1 << 18) - 1));
    }
}
