//! What this server's statements took: sums by kind of statement (`information_schema.STATEMENTS_SUMMARY`), and those that
//! were slow (`information_schema.SLOW_QUERY`, and the log). Kept in memory, with a bound on both.
//!
//! Statements are of one kind when their texts are equal but for constants, in one database. Where there are too many
//! kinds, the one that was not seen for the longest time is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kv_client::TripCounts;
use parking_lot::Mutex;

/// Slow statements that are kept.
const SLOW_MAX: usize = 512;

/// What a statement that has ended took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// When it began.
    pub began: DateTime<Utc>,
    /// How long it took, until its last row was sent.
    pub time: Duration,
    /// SELECT, INSERT, …
    pub kind: &'static str,
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
}

/// A slow statement.
#[derive(Debug, Clone)]
pub struct Slow {
    /// What it took.
    pub took: Took,
    /// Connection.
    pub connection: u64,
    /// User.
    pub user: String,
    /// Address.
    pub host: String,
    /// Current database, or empty.
    pub database: String,
    /// Of its text without constants.
    pub digest: String,
    /// Its text, cut.
    pub text: String,
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
    pub normalized: Arc<str>,
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
    /// Held for a look-up or a copy, never across an await.
    kinds: Mutex<Kinds>,
    slow: Mutex<VecDeque<Slow>>,
}

/// Sums by text without constants, of each database.
#[derive(Debug, Default)]
struct Kinds {
    by_text: HashMap<Arc<str>, Vec<Sums>>,
    count: usize,
}

impl Kinds {
    /// Forgets the kind that was not seen for the longest time.
    fn forget_one(&mut self) {
        let all = self.by_text.values().flatten();
        let oldest = all.min_by_key(|sums| sums.seen.1).map(|sums| (sums.normalized.clone(), sums.database.clone()));
        let Some((text, database)) = oldest else { return };
        if let Some(of_text) = self.by_text.get_mut(&text) {
            of_text.retain(|sums| sums.database != database);
            if of_text.is_empty() {
                self.by_text.remove(&text);
            }
        }
        self.count -= 1;
    }
}

/// SHA-256 of a text without constants.
pub fn digest(normalized: &str) -> String {
    String::from_utf8_lossy(&query::digest::sha2(normalized.as_bytes(), 256).unwrap_or_default()).into_owned()
}

impl Statements {
    /// Counts a statement of this text without constants in this database; of at most so many kinds. `sample` gives its own
    /// text and its user.
    pub fn count(
        &self,
        normalized: &Arc<str>,
        database: &str,
        took: &Took,
        kinds_max: usize,
        sample: impl FnOnce() -> (String, String),
    ) {
        let mut kinds = self.kinds.lock();
        let known = |kinds: &Kinds| {
            kinds.by_text.get(normalized).and_then(|all| all.iter().position(|k| k.database == database))
        };
        let at = match known(&kinds) {
            Some(at) => at,
            None => {
                while kinds.count >= kinds_max.max(1) {
                    kinds.forget_one();
                }
                let (sample, user) = sample();
                kinds.count += 1;
                let of_text = kinds.by_text.entry(normalized.clone()).or_default();
                of_text.push(Sums {
                    digest: digest(normalized),
                    database: database.to_owned(),
                    kind: took.kind,
                    normalized: normalized.clone(),
                    sample,
                    user,
                    count: 0,
                    errors: 0,
                    latency: (Duration::ZERO, Duration::ZERO, Duration::MAX),
                    memory: (0, 0),
                    disk: (0, 0),
                    rows: 0,
                    affected: 0,
                    plans_from_cache: 0,
                    trips: TripCounts::default(),
                    seen: (took.began, took.began),
                });
                of_text.len() - 1
            }
        };
        let Some(sums) = kinds.by_text.get_mut(normalized).and_then(|all| all.get_mut(at)) else { return };
        sums.count += 1;
        sums.errors += u64::from(!took.ok);
        let (sum, most, least) = sums.latency;
        sums.latency = (sum + took.time, most.max(took.time), least.min(took.time));
        sums.memory = (sums.memory.0.max(took.memory), sums.memory.1 + took.memory);
        sums.disk = (sums.disk.0.max(took.disk), sums.disk.1 + took.disk);
        sums.rows += took.rows;
        sums.affected += took.affected;
        sums.plans_from_cache += u64::from(took.plan_from_cache);
        sums.trips = sums.trips.and(took.trips);
        sums.seen.1 = took.began;
    }

    /// Keeps a slow statement, and writes it to the log.
    pub fn slow(&self, slow: Slow) {
        let took = &slow.took;
        tracing::info!(
            conn = slow.connection,
            ms = took.time.as_millis() as u64,
            database = slow.database,
            ok = took.ok,
            rows = took.rows,
            memory_bytes = took.memory,
            disk_bytes = took.disk,
            pd_trips = took.trips.pd,
            storage_trips = took.trips.storage,
            other_region_trips = took.trips.away(),
            digest = slow.digest,
            sql = slow.text,
            "slow statement"
        );
        let mut kept = self.slow.lock();
        if kept.len() >= SLOW_MAX {
            kept.pop_front();
        }
        kept.push_back(slow);
    }

    /// The kinds there are.
    pub fn kinds(&self) -> Vec<Sums> {
        self.kinds.lock().by_text.values().flatten().cloned().collect()
    }

    /// Slow statements, the oldest first.
    pub fn slow_ones(&self) -> Vec<Slow> {
        self.slow.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(at: i64, ms: u64) -> Took {
        Took {
            began: DateTime::from_timestamp(at, 0).unwrap(),
            time: Duration::from_millis(ms),
            kind: "SELECT",
            ok: at % 2 == 0,
            rows: 3,
            affected: 0,
            plan_from_cache: false,
            memory: ms,
            disk: 0,
            trips: TripCounts { pd: 1, pd_away: 0, storage: 2, storage_away: 1 },
        }
    }

    #[test]
    fn statements_of_a_kind_are_summed_and_old_kinds_forgotten() {
        let statements = Statements::default();
        for (text, database, at, ms) in [("a", "d", 1, 10), ("a", "e", 2, 5), ("a", "d", 3, 30), ("c", "d", 4, 1)] {
            statements.count(&text.into(), database, &took(at, ms), 2, || (format!("{text} {at}"), "root".into()));
        }
        let mut kinds = statements.kinds();
        kinds.sort_by(|a, b| a.normalized.cmp(&b.normalized));
        let names: Vec<_> = kinds.iter().map(|k| (&*k.normalized, k.database.as_str())).collect();
        assert_eq!(names, [("a", "d"), ("c", "d")], "that of the other database was the oldest");
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
            let text = || String::from("x");
            let (user, host, database, digest) = (text(), text(), text(), text());
            statements.slow(Slow {
                took: took(at, 1),
                connection: 1,
                user,
                host,
                database,
                digest,
                text: text(),
                start_ts: 0,
            });
        }
        let slow = statements.slow_ones();
        assert_eq!((slow.len(), slow[0].took.began.timestamp()), (SLOW_MAX, 3));
    }
}
