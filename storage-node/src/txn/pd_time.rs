//! What time it is at PD, as far as this node knows: timestamps that clients bring must have been given out.
//!
//! A timestamp that PD has not reached raises what the node takes for read, and commits chosen here would go after it:
//! acknowledged, and seen by nobody. So one that is further ahead than clocks explain is believed only when PD says so.

use std::sync::atomic::{AtomicI64, Ordering};

use codec::timestamp::Timestamp;
use tokio::time::Instant;

/// How far ahead of the time expected at PD a timestamp is taken as it is, in milliseconds. PD's clock and this node's
/// run alike but for this, and PD's leaders do not set it back.
const AHEAD_MS: i64 = 2000;

/// PD's clock beside this node's.
#[derive(Debug)]
pub(super) struct PdTime {
    started: Instant,
    /// PD's physical time when `started` was, by the newest timestamp seen.
    at_start_ms: AtomicI64,
}

impl PdTime {
    pub(super) fn new() -> Self {
        PdTime { started: Instant::now(), at_start_ms: AtomicI64::new(i64::MIN) }
    }

    fn since_start_ms(&self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }

    /// PD gave this timestamp out just now.
    pub(super) fn note(&self, ts: Timestamp) {
        self.at_start_ms.store(ts.physical() - self.since_start_ms(), Ordering::Relaxed);
    }

    /// Whether PD can be expected to have given the timestamp out.
    pub(super) fn has_come(&self, ts: Timestamp) -> bool {
        let now = self.at_start_ms.load(Ordering::Relaxed).saturating_add(self.since_start_ms());
        ts.physical() <= now.saturating_add(AHEAD_MS)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_without_asking() {
        let time = PdTime::new();
        let at = |ms| Timestamp::compose(ms, 7);
        assert!(!time.has_come(at(1)));
        time.note(at(1_000_000));
        assert!(time.has_come(at(1_002_000)) && !time.has_come(at(1_002_001)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(time.has_come(at(1_012_000)) && !time.has_come(at(1_012_001)));
        time.note(at(1_003_000));
        assert!(!time.has_come(at(1_012_000)));
        assert!(!time.has_come(Timestamp(u64::MAX - 1)));
    }
}
