//! How long to wait before trying again, and when to stop: one [`Backoff`] per operation, shared by its retries.
//!
//! Each reason grows on its own (exponential with jitter), so that waiting for an election does not make the first
//! wait for a lock long. The deadline is the operation's, whatever the reasons.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long an operation is tried when its caller does not say.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// Why an operation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The route was wrong: region moved, split or merged.
    RegionMiss,
    /// The region has no leader that is known.
    NotLeader,
    /// The store did not answer or the connection broke.
    Unreachable,
    /// The store asks to come back later.
    Busy,
    /// The region will serve soon: a new leader that is not ready, a command dropped on the way.
    NotReady,
    /// A writer waits for another transaction's lock.
    WriteLock,
    /// A reader waits for another transaction's lock.
    ReadLock,
}

const REASONS: usize = 7;

impl Reason {
    /// First and longest pause in milliseconds.
    fn pauses(self) -> (u64, u64) {
        match self {
            Reason::RegionMiss => (2, 500),
            Reason::NotLeader => (4, 400),
            Reason::Unreachable => (20, 1000),
            Reason::Busy => (100, 3000),
            Reason::NotReady => (2, 300),
            Reason::WriteLock => (10, 1000),
            Reason::ReadLock => (2, 500),
        }
    }
}

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// From now on, pauses on this thread are drawn from `seed`: a simulation, which has one thread, replays with it.
pub fn seed_jitter(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

fn chance() -> f64 {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(rng) => rng.random(),
        None => rand::rng().random(),
    })
}

/// The waits of one operation.
#[derive(Clone, Debug)]
pub struct Backoff {
    deadline: Instant,
    attempts: [u8; REASONS],
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(DEADLINE)
    }
}

impl Backoff {
    /// An operation that may take this long from now.
    pub fn new(limit: Duration) -> Self {
        Self { deadline: Instant::now() + limit, attempts: [0; REASONS] }
    }

    /// The moment after which nothing is tried again.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next pause for a reason, without its jitter; `None` when the deadline comes first. `asked` is the pause that
    /// the server named, which counts when it is longer.
    fn next(&mut self, reason: Reason, asked: Option<Duration>, now: Instant) -> Option<Duration> {
        let (first, longest) = reason.pauses();
        let attempt = &mut self.attempts[reason as usize];
        let pause = first.saturating_mul(1 << (*attempt).min(20)).min(longest);
        *attempt = attempt.saturating_add(1);
        let pause = Duration::from_millis(pause).max(asked.unwrap_or_default());
        (now + pause < self.deadline).then_some(pause)
    }

    /// Waits before the next attempt, or fails with what went wrong when the deadline would pass.
    pub async fn wait(&mut self, reason: Reason, asked: Option<Duration>, why: impl Display) -> Result<()> {
        match self.next(reason, asked, Instant::now()) {
            Some(pause) => {
                tracing::debug!(?reason, ?pause, "{why}");
                // Half fixed, half random: those who failed together do not come back together.
                let half = pause / 2;
                let jitter = half.mul_f64(chance());
                tokio::time::sleep(half + jitter).await;
                Ok(())
            }
            None => Err(Error::RegionUnavailable(why.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_each_reason_has_its_own() {
        let mut backoff = Backoff::new(Duration::from_secs(3600));
        let now = Instant::now();
        let mut pause = |reason, asked| backoff.next(reason, asked, now).unwrap().as_millis();
        assert_eq!([(); 4].map(|()| pause(Reason::NotLeader, None)), [4, 8, 16, 32]);
        assert_eq!(pause(Reason::ReadLock, None), 2);
        assert_eq!(pause(Reason::Busy, Some(Duration::from_millis(700))), 700);
        for _ in 0..300 {
            pause(Reason::NotLeader, None);
        }
        assert_eq!(pause(Reason::NotLeader, None), 400);
    }

    #[test]
    fn the_deadline_ends_it() {
        let mut backoff = Backoff::new(Duration::from_millis(100));
        let now = Instant::now();
        assert!(backoff.next(Reason::ReadLock, None, now).is_some());
        assert!(backoff.next(Reason::ReadLock, Some(Duration::from_millis(200)), now).is_none());
        assert!(backoff.next(Reason::RegionMiss, None, now + Duration::from_secs(1)).is_none());
    }
}
