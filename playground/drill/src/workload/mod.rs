//! What the clients do, and the loop in which they do it.
//!
//! Each region has clients that read and clients that write. The clients of a kind share a pace of
//! [`RATE_PER_REGION`] operations a second, evenly spread, so that a silence can be told to some tens of milliseconds; if
//! distances make their operations slow, there are more clients, not fewer operations (see [`crate::run`]).

pub mod append;
pub mod bank;
pub mod orders;
pub mod register;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use mysql_async::Conn;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::door::Doors;
use crate::history::{Call, Kind, Op, Outcome, Recorder, Rows};
use crate::mysql::{self, Trouble};

/// The error of a compare-and-set that found another value: an answer, but nothing was written.
pub const CAS_MISS: &str = "another value";
/// Operations a second that the clients of one region and kind begin.
pub const RATE_PER_REGION: u64 = 30;
/// How long a client rests after an operation for which it found no server.
const REST: Duration = Duration::from_millis(100);
/// Acknowledged writes that readers may look up.
const RECENT_MAX: usize = 512;

/// What the clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Transfers between accounts with a log; sums and look-ups
    #[default]
    Bank,
    /// Transactions that append to lists and read them
    Append,
    /// Reads, writes and compare-and-sets of single rows
    Register,
    /// Orders with their lines
    Orders,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 4] = [Workload::Bank, Workload::Append, Workload::Register, Workload::Orders];

    /// As it is typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Workload::Bank => "bank",
            Workload::Append => "append",
            Workload::Register => "register",
            Workload::Orders => "orders",
        }
    }

    /// The database of its tables.
    pub fn database(self) -> String {
        format!("drill_{}", self.as_str())
    }

    /// The names of its tables.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Workload::Bank => &["accounts", "log"],
            Workload::Append => &["lists"],
            Workload::Register => &["registers"],
            Workload::Orders => &["orders", "order_lines"],
        }
    }

    /// The statements that create and fill its tables.
    pub(crate) fn setup(self) -> Vec<String> {
        match self {
            Workload::Bank => bank::setup(),
            Workload::Append => append::setup(),
            Workload::Register => register::setup(),
            Workload::Orders => orders::setup(),
        }
    }

    /// Draws the next operation; its answers are still missing.
    fn next(self, kind: Kind, shared: &Shared, rng: &mut StdRng) -> Call {
        match self {
            Workload::Bank => bank::next(kind, shared, rng),
            Workload::Append => append::next(kind, shared, rng),
            Workload::Register => register::next(kind, shared, rng),
            Workload::Orders => orders::next(kind, shared, rng),
        }
    }

    /// Carries out an operation and fills in its answers.
    async fn perform(self, conn: &mut Conn, call: &mut Call, lock: bool) -> Result<(), Trouble> {
        match self {
            Workload::Bank => bank::perform(conn, call).await,
            Workload::Append => append::perform(conn, call, lock).await,
            Workload::Register => register::perform(conn, call).await,
            Workload::Orders => orders::perform(conn, call).await,
        }
    }

    /// Reads all of its tables in one snapshot.
    pub(crate) async fn rows(self, conn: &mut Conn) -> Result<Rows, Trouble> {
        match self {
            Workload::Bank => bank::rows(conn).await,
            Workload::Append => append::rows(conn).await,
            Workload::Register => register::rows(conn).await,
            Workload::Orders => orders::rows(conn).await,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all clients share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Where they write down what they do.
    pub(crate) recorder: Recorder,
    /// Set when they are to stop after their present operation.
    pub(crate) stop: AtomicBool,
    /// Acknowledged writes, for look-ups: a ring.
    recent: Mutex<(Vec<u64>, usize)>,
    /// Values that registers were seen to have, for compare-and-set.
    pub(crate) seen: Mutex<std::collections::BTreeMap<u32, u64>>,
}

impl Shared {
    /// Remembers a write that readers may look up.
    fn acknowledged(&self, id: u64) {
        let (ring, next) = &mut *self.recent.lock();
        if ring.len() < RECENT_MAX {
            ring.push(id);
        } else {
            ring[*next] = id;
        }
        *next = (*next + 1) % RECENT_MAX;
    }

    /// A write that was acknowledged: mostly one of the last few, which is where stale reads show.
    fn recent(&self, rng: &mut StdRng) -> Option<u64> {
        let (ring, next) = &*self.recent.lock();
        let reach = if rng.random_bool(0.7) { 8 } else { RECENT_MAX }.min(ring.len());
        if reach == 0 {
            return None;
        }
        let back = rng.random_range(1..=reach);
        Some(ring[(*next + RECENT_MAX - back) % RECENT_MAX])
    }
}

/// The pace of one region and kind: each taker gets the next moment at which an operation may begin.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next_us: Mutex<u64>,
}

impl Pace {
    fn take(&self, now_us: u64) -> u64 {
        let mut next = self.next_us.lock();
        // What was missed is not made up for.
        let at = (*next).max(now_us);
        *next = at + 1_000_000 / RATE_PER_REGION;
        at
    }
}

/// One client.
pub(crate) struct Client {
    /// Its number.
    pub(crate) process: u32,
    /// Where it stands.
    pub(crate) region: String,
    /// What it does.
    pub(crate) workload: Workload,
    /// Whether it reads or writes.
    pub(crate) kind: Kind,
    /// Its region's doors.
    pub(crate) doors: Arc<Doors>,
    /// Its region's pace.
    pub(crate) pace: Arc<Pace>,
    /// What it shares with others.
    pub(crate) shared: Arc<Shared>,
    /// Seeds its choices.
    pub(crate) seed: u64,
}

impl Client {
    /// Works until it is told to stop.
    pub(crate) async fn work(self) {
        let mut rng = StdRng::seed_from_u64(self.seed ^ u64::from(self.process).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut open: Option<(usize, Conn)> = None;
        let recorder = &self.shared.recorder;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let at = self.pace.take(recorder.now_us());
            tokio::time::sleep_until(recorder.instant(at).into()).await;
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let mut call = self.workload.next(self.kind, &self.shared, &mut rng);
            let lock = rng.random_bool(0.5);
            let invoke_us = recorder.now_us();
            let result = match self.open(&mut open).await {
                Ok(conn) => self.workload.perform(conn, &mut call, lock).await,
                Err(trouble) => Err(trouble),
            };
            let complete_us = recorder.now_us();
            let server = open.as_ref().map(|(i, _)| self.doors.door(*i).server.clone()).unwrap_or_default();
            let outcome = match &result {
                Ok(()) => Outcome::Ok,
                Err(trouble) => trouble.outcome(),
            };
            let mut troubled = None;
            if let Err(trouble) = result {
                if let Some((index, _)) = &open {
                    self.doors.report(*index, &trouble, false);
                }
                troubled = Some(trouble);
            } else if let Call::Transfer { id, .. } | Call::Place { id, .. } = call {
                self.shared.acknowledged(id);
            } else if let Call::Get { key, value: Some(value) } = call {
                self.shared.seen.lock().insert(key, value);
            }
            let (process, region, kind) = (self.process, self.region.clone(), self.kind);
            recorder.record(Op { process, region, server, kind, invoke_us, complete_us, outcome, call });
            // Only then: it may take its time, and others look at what was recorded.
            if let Some(trouble) = troubled {
                self.after(&trouble, &mut open).await;
            }
        }
        if let Some((_, conn)) = open {
            let _ = tokio::time::timeout(Duration::from_secs(1), conn.disconnect()).await;
        }
    }

    /// The connection: the one that is there if it leads to the best door, and else a new one.
    async fn open<'a>(&self, open: &'a mut Option<(usize, Conn)>) -> Result<&'a mut Conn, Trouble> {
        let order = self.doors.order(self.process);
        let best = order.first().copied();
        if open.as_ref().map(|(index, _)| *index) != best {
            *open = None;
            let mut last = Trouble::failed("no server");
            for index in order {
                match mysql::connect(self.doors.door(index), Some(&self.workload.database())).await {
                    Ok(conn) => {
                        *open = Some((index, conn));
                        break;
                    }
                    Err(trouble) => {
                        self.doors.report(index, &trouble, true);
                        last = trouble;
                    }
                }
            }
            if open.is_none() {
                return Err(last);
            }
        }
        Ok(&mut open.as_mut().expect("just opened").1)
    }

    /// Leaves a failed operation behind: a connection that is gone is dropped, a transaction is rolled back.
    async fn after(&self, trouble: &Trouble, open: &mut Option<(usize, Conn)>) {
        match open {
            _ if trouble.gone => *open = None,
            None => tokio::time::sleep(REST).await,
            Some((_, conn)) => {
                if mysql::statement(conn, "ROLLBACK").await.is_err() {
                    *open = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_spreads_operations_and_does_not_make_up_for_a_silence() {
        let pace = Pace::default();
        let gap = 1_000_000 / RATE_PER_REGION;
        assert_eq!([pace.take(5), pace.take(5), pace.take(6)], [5, 5 + gap, 5 + 2 * gap]);
        assert_eq!([pace.take(9_000_000), pace.take(9_000_000)], [9_000_000, 9_000_000 + gap]);
    }

    #[test]
    fn only_acknowledged_writes_are_looked_up() {
        let (shared, mut rng) = (Shared::default(), StdRng::seed_from_u64(1));
        assert_eq!(shared.recent(&mut rng), None);
        for id in 1..2000 {
            shared.acknowledged(id);
            let found = shared.recent(&mut rng).unwrap();
            assert!(found <= id && found + RECENT_MAX as u64 > id, "{found} of {id}");
        }
    }
}
