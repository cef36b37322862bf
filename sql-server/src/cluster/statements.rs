//! What this server's statements took: sums by kind of statement (`information_schema.STATEMENTS_SUMMARY`), and those that
//! were slow (`information_schema.SLOW_QUERY`, and the log). Kept in memory, with a bound on both.
//!
//! Statements are of one kind when their texts are equal but for constants, in one database. Where there are too many
//! kinds, the one that was not seen for the longest time is forgotten.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use kv_client::TripCounts;
use parking_lot::Mutex;

/// Slow statements that are kept.
const SLOW_MAX: usize = 512;

/// A statement that has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// When it began.
    pub began: DateTime<Utc>,
    /// How long it took, until its last row was sent.
    pub took: Duration,
    /// Connection.
    pub connection: u64,
    /// User.
    pub user: String,
    /// Address.
    pub host: String,
    /// Current database, or empty.
    pub database: String,
    /// SELECT, INSERT, …
    pub kind: &'static str,
    /// Its text without constants.
    pub normalized: String,
    /// Its text, cut.
    pub text: String,
    /// Whether it succeeded.
    pub ok: bool,
    /// Rows that were sent.
    pub rows: u64,
    /// Rows that were changed.
    pub affected: u64,
    /// Its plan was kept from before.
    pub plan_from_cache: bool,
    /// The most that it held, in bytes.
    pub memory: u64,
    /// Bytes that it wrote to disk.
    pub disk: u64,
    /// Its round trips.
    pub trips: TripCounts,
    /// Its transaction, or 0.
    pub start_ts: u64,
}

/// Sums of one kind of statement.
#[derive(Debug, Clone)]
pub struct Sums {
    /// SHA-256 of the text without constants.
    pub digest: String,
    /// Current database, or empty.
    pub database: String,
    /// SELECT, INSERT, …
    pub kind: &'static str,
    /// The text without constants.
    pub normalized: String,
    /// One of them.
    pub sample: String,
    /// Who ran that one.
    pub user: String,
    /// How many.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// How long all took, the longest, the shortest.
    pub latency: (Duration, Duration, Duration),
    /// Most and sum of bytes held.
    pub memory: (u64, u64),
    /// Most and sum of bytes written to disk.
    pub disk: (u64, u64),
    /// Rows sent.
    pub rows: u64,
    /// Rows changed.
    pub affected: u64,
    /// Those with a plan from before.
    pub plans_from_cache: u64,
    /// Round trips.
    pub trips: TripCounts,
    /// When the first and the last one began.
    pub seen: (DateTime<Utc>, DateTime<Utc>),
}

/// What the statements of a server took.
#[derive(Debug, Default)]
pub struct Statements {
    /// By database and text without constants. Held for a look-up or a copy, never across an await.
    kinds: Mutex<HashMap<(String, String), Sums>>,
    slow: Mutex<VecDeque<(String, Ended)>>,
}

fn digest(normalized: &str) -> String {
    String::from_utf8_lossy(&query::digest::sha2(normalized.as_bytes(), 256).unwrap_or_default()).into_owned()
}

impl Statements {
    /// Counts a statement; of at most so many kinds.
    pub fn count(&self, ended: &Ended, kinds_max: usize) {
        let mut kinds = self.kinds.lock();
        let key = (ended.database.clone(), ended.normalized.clone());
        if !kinds.contains_key(&key) {
            while kinds.len() >= kinds_max.max(1) {
                let Some(oldest) = kinds.iter().min_by_key(|(_, sums)| sums.seen.1).map(|(key, _)| key.clone()) else {
                    break;
                };
                kinds.remove(&oldest);
            }
        }
        let sums = kinds.entry(key).or_insert_with(|| Sums {
            digest: digest(&ended.normalized),
            database: ended.database.clone(),
            kind: ended.kind,
            normalized: ended.normalized.clone(),
            sample: ended.text.clone(),
            user: ended.user.clone(),
            count: 0,
            errors: 0,
            latency: (Duration::ZERO, Duration::ZERO, Duration::MAX),
            memory: (0, 0),
            disk: (0, 0),
            rows: 0,
            affected: 0,
            plans_from_cache: 0,
            trips: TripCounts::default(),
            seen: (ended.began, ended.began),
        });
        sums.count += 1;
        sums.errors += u64::from(!ended.ok);
        let (sum, most, least) = sums.latency;
        sums.latency = (sum + ended.took, most.max(ended.took), least.min(ended.took));
        sums.memory = (sums.memory.0.max(ended.memory), sums.memory.1 + ended.memory);
        sums.disk = (sums.disk.0.max(ended.disk), sums.disk.1 + ended.disk);
        sums.rows += ended.rows;
        sums.affected += ended.affected;
        sums.plans_from_cache += u64::from(ended.plan_from_cache);
        sums.trips = sums.trips.and(ended.trips);
        sums.seen.1 = ended.began;
    }

    /// Keeps a slow statement, and writes it to the log.
    pub fn slow(&self, ended: Ended) {
        let digest = digest(&ended.normalized);
        tracing::info!(
            conn = ended.connection,
            ms = ended.took.as_millis() as u64,
            database = ended.database,
            ok = ended.ok,
            rows = ended.rows,
            memory_bytes = ended.memory,
            disk_bytes = ended.disk,
            pd_trips = ended.trips.pd,
            storage_trips = ended.trips.storage,
            other_region_trips = ended.trips.away(),
            digest,
            sql = ended.text,
            "slow statement"
        );
        let mut slow = self.slow.lock();
        if slow.len() >= SLOW_MAX {
            slow.pop_front();
        }
        slow.push_back((digest, ended));
    }

    /// The kinds there are.
    pub fn kinds(&self) -> Vec<Sums> {
        self.kinds.lock().values().cloned().collect()
    }

    /// Slow statements with their digests, the oldest first.
    pub fn slow_ones(&self) -> Vec<(String, Ended)> {
        self.slow.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(normalized: &str, at: i64, ms: u64) -> Ended {
        Ended {
            began: DateTime::from_timestamp(at, 0).unwrap(),
            took: Duration::from_millis(ms),
            connection: 1,
            user: "root".into(),
            host: "h".into(),
            database: "d".into(),
            kind: "SELECT",
            normalized: normalized.into(),
            text: format!("{normalized} {at}"),
            ok: at % 2 == 0,
            rows: 3,
            affected: 0,
            plan_from_cache: false,
            memory: ms,
            disk: 0,
            trips: TripCounts { pd: 1, pd_away: 0, storage: 2, storage_away: 1 },
            start_ts: 0,
        }
    }

    #[test]
    fn statements_of_a_kind_are_summed_and_old_kinds_forgotten() {
        let statements = Statements::default();
        for (text, at, ms) in [("a", 1, 10), ("b", 2, 5), ("a", 3, 30), ("c", 4, 1)] {
            statements.count(&ended(text, at, ms), 2);
        }
        let mut kinds = statements.kinds();
        kinds.sort_by(|a, b| a.normalized.cmp(&b.normalized));
        assert_eq!(kinds.iter().map(|k| k.normalized.as_str()).collect::<Vec<_>>(), ["a", "c"], "b was the oldest");
        let a = &kinds[0];
        assert_eq!((a.count, a.errors, a.rows, a.memory), (2, 2, 6, (30, 40)));
        assert_eq!(a.latency, (Duration::from_millis(40), Duration::from_millis(30), Duration::from_millis(10)));
        assert_eq!(a.trips, TripCounts { pd: 2, pd_away: 0, storage: 4, storage_away: 2 });
        assert_eq!(a.sample, "a 1");
        assert_ne!(kinds[0].digest, kinds[1].digest);
    }

    #[test]
    fn the_last_slow_ones_are_kept() {
        let statements = Statements::default();
        for at in 0..SLOW_MAX as i64 + 3 {
            statements.slow(ended("a", at, 1));
        }
        let slow = statements.slow_ones();
        assert_eq!((slow.len(), slow[0].1.began.timestamp()), (SLOW_MAX, 3));
    }
}
