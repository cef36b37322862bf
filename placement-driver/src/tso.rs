//! Timestamps: 46 bits of milliseconds, 18 bits of counter, strictly increasing over the cluster's whole life.
//!
//! ```text
//!   saved window:          now .. ......... saved_ms                 durable in the metadata store
//!   handed out:       ... physical, logical < saved_ms               in the leader's memory
//! ```
//!
//! The leader hands out only timestamps below a bound that it has saved, in a transaction that also checks that it
//! leads. A new leader starts above the saved bound, whatever its clock says; a clock that jumps back only makes the
//! allocator stay ahead of it. Timestamps are made when asked for: no timer steps the physical part.
//!
//! Nor does a leader follow its clock when that jumps ([`Pace`]): what counts its time in timestamps (how long a lock
//! lives) must not stand still for as long as a clock was set back, or see an hour pass in a moment.
//!
//! Invariant: no two answers of [`Allocator::allocate`], of any leader, share a timestamp, and each is above all
//! answers given before it. [`Allocator`] is pure; saving is the caller's.

/// Bits of the counter, as TiDB composes timestamps.
const LOGICAL_BITS: u32 = 18;
/// Counter values in one millisecond.
const LOGICAL_MAX: u64 = 1 << LOGICAL_BITS;
/// How much faster or slower than time itself a leader's time runs until it meets the clock again: a tenth.
const SLEW: u64 = 10;
/// Most timestamps in one request: all of one millisecond but the zeroth.
pub const COUNT_MAX: u32 = (LOGICAL_MAX - 1) as u32;
/// A new leader begins this far above the saved bound, as PD does.
const GUARD_MS: u64 = 1;

/// Why there is no timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsoError {
    /// The saved window is used up: save another and ask again.
    #[error("timestamps are not reserved far enough ahead")]
    WindowExhausted,
    /// More in one request than a millisecond holds, or none.
    #[error("cannot give {0} timestamps at once, at least 1 and at most {COUNT_MAX}")]
    Count(u32),
}

/// The last of a run of timestamps with the same physical part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allocated {
    /// Milliseconds since the Unix epoch.
    pub physical_ms: u64,
    /// The counter of the last timestamp.
    pub logical: u64,
}

/// A leader's time: the wall clock's where it took over, from then on at the speed of a clock that nobody sets, a little
/// faster or slower for as long as the wall clock says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    now_ms: u64,
    monotonic_ms: u64,
}

impl Pace {
    /// Begins at the wall clock's time.
    pub fn new(wall_ms: u64, monotonic_ms: u64) -> Pace {
        Pace { now_ms: wall_ms, monotonic_ms }
    }

    /// The time now, by what both clocks say.
    pub fn now(&mut self, wall_ms: u64, monotonic_ms: u64) -> u64 {
        let passed = monotonic_ms.saturating_sub(self.monotonic_ms);
        // Too short a time to correct anything in is counted with the next.
        if passed >= SLEW {
            let expected = self.now_ms + passed;
            self.now_ms = wall_ms.clamp(expected - passed / SLEW, expected + passed / SLEW);
            self.monotonic_ms = monotonic_ms;
            return self.now_ms;
        }
        self.now_ms + passed
    }
}

/// See the module header.
#[derive(Clone, Debug)]
pub struct Allocator {
    physical_ms: u64,
    /// Counter values of this millisecond already given.
    used: u64,
    /// Timestamps from here on may not be given yet.
    saved_ms: u64,
    window_ms: u64,
}

impl Allocator {
    /// A new leader's allocator after `saved_ms`, the bound that the leaders before it have saved. It can't give
    /// anything until [`Allocator::saved`].
    pub fn new(saved_ms: u64, now_ms: u64, window_ms: u64) -> Allocator {
        let physical_ms = now_ms.max(saved_ms + GUARD_MS);
        Allocator { physical_ms, used: 0, saved_ms: physical_ms, window_ms }
    }

    /// Gives `count` timestamps; the answer is the last of them.
    pub fn allocate(&mut self, count: u32, now_ms: u64) -> Result<Allocated, TsoError> {
        if count == 0 || count > COUNT_MAX {
            return Err(TsoError::Count(count));
        }
        let (mut physical_ms, mut used) = (self.physical_ms, self.used);
        if now_ms > physical_ms {
            (physical_ms, used) = (now_ms, 0);
        }
        if used + u64::from(count) >= LOGICAL_MAX {
            // This millisecond is used up: borrow the next one.
            (physical_ms, used) = (physical_ms + 1, 0);
        }
        if physical_ms >= self.saved_ms {
            return Err(TsoError::WindowExhausted);
        }
        (self.physical_ms, self.used) = (physical_ms, used + u64::from(count));
        Ok(Allocated { physical_ms: self.physical_ms, logical: self.used })
    }

    /// The bound to save now, if the window is more than half used.
    pub fn to_save(&self, now_ms: u64) -> Option<u64> {
        let next = now_ms.max(self.physical_ms);
        (self.saved_ms < next + self.window_ms / 2).then_some(next + self.window_ms)
    }

    /// The bound is durable.
    pub fn saved(&mut self, saved_ms: u64) {
        self.saved_ms = self.saved_ms.max(saved_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    #[test]
    fn a_batch_answers_with_its_last_and_overflow_borrows_the_next_millisecond() {
        let mut tso = Allocator::new(0, 1_000, 3_000);
        assert_eq!(tso.allocate(1, 1_000), Err(TsoError::WindowExhausted));
        assert_eq!(tso.to_save(1_000), Some(4_000));
        tso.saved(4_000);
        assert_eq!(tso.allocate(10, 1_000), Ok(Allocated { physical_ms: 1_000, logical: 10 }));
        assert_eq!(tso.allocate(5, 1_000), Ok(Allocated { physical_ms: 1_000, logical: 15 }));
        assert_eq!(tso.allocate(COUNT_MAX, 1_000), Ok(Allocated { physical_ms: 1_001, logical: u64::from(COUNT_MAX) }));
        assert_eq!(tso.allocate(1, 900), Ok(Allocated { physical_ms: 1_002, logical: 1 }), "the clock went back");
        assert_eq!(tso.allocate(0, 1_000), Err(TsoError::Count(0)));
        assert_eq!(tso.allocate(COUNT_MAX + 1, 1_000), Err(TsoError::Count(COUNT_MAX + 1)));
        assert_eq!(tso.allocate(1, 4_000), Err(TsoError::WindowExhausted));
    }

    #[test]
    fn time_goes_on_at_its_pace_when_the_clock_is_set() {
        let mut pace = Pace::new(10_000_000, 500);
        let (mut monotonic, mut last) = (500u64, 10_000_000u64);
        let mut after = |offset: i64, ms: u64| {
            for _ in 0..ms {
                monotonic += 1;
                let wall = (10_000_000 + monotonic - 500).saturating_add_signed(offset);
                let now = pace.now(wall, monotonic);
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
            last - 10_000_000
        };
        assert_eq!(after(0, 1000), 1000);
        // An hour ahead, then an hour behind: ten seconds are ten seconds, give or take a tenth.
        let ahead = after(3_600_000, 10_000);
        assert!((11_900..=12_000).contains(&ahead), "{ahead}");
        let behind = after(-3_600_000, 10_000) - ahead;
        assert!((9_000..=9_100).contains(&behind), "{behind}");
        // A small difference is made up for.
        assert_eq!(after(200, 20_000), 41_200);
        // And a process that was stopped sees the time that has passed.
        assert_eq!(pace.now(10_000_000 + 41_000 + 60_200, 500 + 41_000 + 60_000), 10_101_200);
    }

    /// Leaders come and go with clocks that jump; saves are lost on the way or arrive late.
    #[test]
    fn never_back_over_failovers_and_clock_jumps() {
        let seed = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
        println!("SIM_SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..200 {
            let (mut durable, mut last) = (0u64, (0u64, 0u64));
            let mut given = 0;
            for _leader in 0..rng.random_range(1..8) {
                let mut clock = rng.random_range(1_000..100_000u64);
                let mut tso = Allocator::new(durable, clock, 3_000);
                for _ in 0..rng.random_range(1..200) {
                    clock = match rng.random_range(0..20) {
                        0 => clock.saturating_sub(rng.random_range(0..5_000)),
                        1 => clock + rng.random_range(0..10_000),
                        _ => clock + rng.random_range(0..50),
                    };
                    if let Some(bound) = tso.to_save(clock)
                        && rng.random_bool(0.7)
                    {
                        durable = bound;
                        if rng.random_bool(0.9) {
                            tso.saved(bound);
                        }
                    }
                    let count =
                        if rng.random_bool(0.1) { rng.random_range(1..=COUNT_MAX) } else { rng.random_range(1..64) };
                    if let Ok(end) = tso.allocate(count, clock) {
                        let first = (end.physical_ms, end.logical - u64::from(count) + 1);
                        assert!(first > last, "{first:?} after {last:?}");
                        assert!(end.logical < LOGICAL_MAX && end.physical_ms < durable);
                        last = (end.physical_ms, end.logical);
                        given += 1;
                    }
                }
            }
            assert!(given > 0 || last == (0, 0));
        }
    }
}
