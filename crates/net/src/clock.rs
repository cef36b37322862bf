//! The clock that promises are counted by.
//!
//! Who holds a lease must not believe in it for longer than those who gave it. `Instant` stands still while a machine sleeps or
//! a virtual one is suspended, and the others' clocks run on: a leader that wakes up after an hour would answer by a lease that
//! ended long ago. So holders count by [`since_boot`]. Those who wait for a lease of others to end may use either clock: one
//! that stands still only makes them wait longer.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
/// Elsewhere, the monotonic clock is the one that counts sleep, or there is none that does.
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

/// Time since the machine was started, with the time that it slept (clock_gettime(2), `CLOCK_BOOTTIME`). Nobody can set it.
pub fn since_boot() -> Duration {
    let now = clock_gettime(CLOCK);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own answer to the same question, which counts sleep too (proc(5), `/proc/uptime`). On a machine that has
    /// not slept since it was started, `CLOCK_MONOTONIC` would pass as well.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_of_leases_is_the_time_since_the_machine_was_started() {
        let kernel = || {
            let text = std::fs::read_to_string("/proc/uptime").unwrap();
            text.split_whitespace().next().unwrap().parse::<f64>().unwrap()
        };
        let (before, ours, after) = (kernel(), since_boot().as_secs_f64(), kernel());
        assert!(before - 0.02 <= ours && ours <= after + 0.02, "{before} {ours} {after}");
    }
}
