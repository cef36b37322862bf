//! What the clients of a region felt: gaps, latencies, rates and errors. Pure.
//!
//! ```text
//!   calm ──────────── fault ───── healed ───── whole ──── end        (Phases)
//!        | before    |  during   |            |  after   |           latency
//!                    |◄───── longest gap between answers ─►|          RTO
//! ```
//!
//! A gap is counted from the fault on: what went before it is cut off, and a region that never answers again has a gap
//! up to the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::{Kind, Op, Outcome};

/// Answers a second and kind that a region should give in calm for its gaps to mean something.
pub const RATE_WANTED: f64 = 20.0;
/// Width of the timeline's buckets.
pub const BUCKET_US: u64 = 500_000;

/// The moments of a drill, on its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// The clients are warm; what they do from here on is measured.
    pub calm_us: u64,
    /// The first fault is injected.
    pub fault_us: u64,
    /// The first healing action begins: that servers need time to start belongs to the recovery.
    pub healed_us: u64,
    /// The cluster was whole again and as fast as before; `None` if it was not in time.
    pub whole_us: Option<u64>,
    /// The clients are stopped.
    pub end_us: u64,
}

/// Percentiles of latency, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Operations.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// Nineteen of twenty are faster.
    pub p95_ms: f64,
    /// Ninety-nine of a hundred are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Latency {
    /// The percentiles of some latencies; `None` without any.
    pub fn of(mut latencies_us: Vec<u64>) -> Option<Latency> {
        latencies_us.sort_unstable();
        let last = latencies_us.len().checked_sub(1)?;
        let at = |q: f64| latencies_us[(last as f64 * q).round() as usize] as f64 / 1000.0;
        let count = latencies_us.len() as u64;
        Some(Latency { count, p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: at(1.0) })
    }
}

/// The longest silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// When it began.
    pub from_us: u64,
    /// When it ended.
    pub to_us: u64,
}

impl Gap {
    /// How long it was, milliseconds.
    pub fn ms(&self) -> f64 {
        (self.to_us - self.from_us) as f64 / 1000.0
    }
}

/// Reads, or writes, of one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindReport {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Definitely did not happen.
    pub failed: u64,
    /// Of unknown outcome.
    pub unknown: u64,
    /// Answers a second before the fault.
    pub calm_per_second: f64,
    /// The recovery time: the longest gap between answers from the fault on, milliseconds.
    pub rto_ms: f64,
    /// Where that gap lies.
    pub gap: Gap,
    /// From healing to the first answer of one of the region's own SQL servers, milliseconds: what its clients get from
    /// other regions' servers says nothing about its return. In a region that has none
    /// ([`RegionReport::home`](crate::report::RegionReport::home)), to the first answer of any. `None`: there was none.
    pub first_after_heal_ms: Option<f64>,
    /// Before the fault.
    pub before: Option<Latency>,
    /// From the fault to healing.
    pub during: Option<Latency>,
    /// From the moment when the cluster was whole (or healed, if it never was) to the end.
    pub after: Option<Latency>,
}

/// Measures the reads or writes of one region. `ops` are those of that region and kind, in any order; `home` are the SQL
/// servers that stand in the region.
pub fn measure<'a>(ops: impl Iterator<Item = &'a Op> + Clone, home: &[String], phases: &Phases) -> KindReport {
    let mut answers: Vec<u64> = ops.clone().filter(|op| answered(op)).map(|op| op.complete_us).collect();
    answers.sort_unstable();
    let between = |from: u64, to: u64| {
        let inside = ops.clone().filter(|op| answered(op) && op.complete_us >= from && op.complete_us < to);
        Latency::of(inside.map(Op::latency_us).collect())
    };
    let before = between(phases.calm_us, phases.fault_us);
    let calm_seconds = phases.fault_us.saturating_sub(phases.calm_us) as f64 / 1e6;
    let gap = longest_gap(&answers, phases.fault_us, phases.end_us);
    let at_home = |op: &&Op| home.is_empty() || home.contains(&op.server);
    let back = ops.clone().filter(|op| answered(op) && op.complete_us >= phases.healed_us).filter(at_home);
    KindReport {
        acknowledged: ops.clone().filter(|op| op.is_ok()).count() as u64,
        failed: ops.clone().filter(|op| failed(op)).count() as u64,
        unknown: ops.clone().filter(|op| matches!(op.outcome, Outcome::Unknown(_))).count() as u64,
        calm_per_second: before.map_or(0.0, |l| l.count as f64 / calm_seconds.max(0.001)),
        rto_ms: gap.ms(),
        gap,
        first_after_heal_ms: back.map(|op| (op.complete_us - phases.healed_us) as f64 / 1000.0).min_by(f64::total_cmp),
        before,
        during: between(phases.fault_us, phases.healed_us),
        after: between(phases.whole_us.unwrap_or(phases.healed_us), phases.end_us + 1),
    }
}

/// Whether the cluster answered: a compare-and-set that found another value is an answer, too.
pub(crate) fn answered(op: &Op) -> bool {
    op.is_ok() || op.outcome.code() == Some(crate::workload::CAS_MISS)
}

/// Whether the cluster definitely did not do what it should have done.
pub(crate) fn failed(op: &Op) -> bool {
    op.outcome.is_fail() && !answered(op)
}

/// The longest stretch of `[from, to]` without an answer. `answers` are sorted.
fn longest_gap(answers: &[u64], from: u64, to: u64) -> Gap {
    let inside = answers.iter().copied().filter(|at| *at >= from && *at <= to);
    let mut longest = Gap { from_us: from, to_us: from };
    let mut last = from;
    for at in inside.chain([to.max(from)]) {
        if at - last > longest.to_us - longest.from_us {
            longest = Gap { from_us: last, to_us: at };
        }
        last = at;
    }
    longest
}

/// One region's timeline, a value per bucket of [`BUCKET_US`] since the drill's clock began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Reads answered.
    pub reads: Vec<u32>,
    /// Writes answered.
    pub writes: Vec<u32>,
    /// Operations that ended in an error.
    pub errors: Vec<u32>,
    /// Median latency of answered reads, milliseconds.
    pub read_p50_ms: Vec<Option<f32>>,
    /// 99th percentile of answered reads, milliseconds.
    pub read_p99_ms: Vec<Option<f32>>,
    /// Median latency of answered writes, milliseconds.
    pub write_p50_ms: Vec<Option<f32>>,
    /// 99th percentile of answered writes, milliseconds.
    pub write_p99_ms: Vec<Option<f32>>,
}

/// Sorts the operations of one region into buckets.
pub fn series<'a>(ops: impl Iterator<Item = &'a Op>, end_us: u64) -> Series {
    let buckets = end_us.div_ceil(BUCKET_US) as usize;
    let mut latencies = [vec![Vec::new(); buckets], vec![Vec::new(); buckets]];
    let mut errors = vec![0; buckets];
    for op in ops {
        let Some(bucket) = Some((op.complete_us / BUCKET_US) as usize).filter(|b| *b < buckets) else { continue };
        if answered(op) {
            latencies[usize::from(op.kind == Kind::Write)][bucket].push(op.latency_us());
        } else {
            errors[bucket] += 1;
        }
    }
    let [reads, writes] = latencies;
    let counts = |kind: &[Vec<u64>]| kind.iter().map(|b| b.len() as u32).collect();
    let percentiles = |kind: &[Vec<u64>], pick: fn(Latency) -> f64| {
        kind.iter().map(|b| Latency::of(b.clone()).map(|l| ((pick(l) * 100.0).round() / 100.0) as f32)).collect()
    };
    Series {
        reads: counts(&reads),
        writes: counts(&writes),
        errors,
        read_p50_ms: percentiles(&reads, |l| l.p50_ms),
        read_p99_ms: percentiles(&reads, |l| l.p99_ms),
        write_p50_ms: percentiles(&writes, |l| l.p50_ms),
        write_p99_ms: percentiles(&writes, |l| l.p99_ms),
    }
}

/// Errors by code.
pub fn errors<'a>(ops: impl Iterator<Item = &'a Op>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for code in ops.filter(|op| !answered(op)).filter_map(|op| op.outcome.code()) {
        *counts.entry(code.to_owned()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Call;

    #[test]
    fn a_compare_and_set_that_found_another_value_is_an_answer_and_no_failure() {
        let ops = [
            op(0, 10, Outcome::Fail(crate::workload::CAS_MISS.into())),
            op(0, 20, Outcome::Fail("9005".into())),
            op(0, 30, Outcome::Ok),
        ];
        let report = measure(ops.iter(), &[], &phases());
        assert_eq!((report.failed, report.acknowledged, report.unknown), (1, 1, 0));
        assert_eq!(errors(ops.iter()).into_keys().collect::<Vec<_>>(), ["9005"]);
    }

    fn op(invoke_ms: u64, complete_ms: u64, outcome: Outcome) -> Op {
        Op {
            process: 0,
            region: "eu".into(),
            server: "sql-1".into(),
            kind: Kind::Read,
            invoke_us: invoke_ms * 1000,
            complete_us: complete_ms * 1000,
            outcome,
            call: Call::Get { key: 0, value: Some(0) },
        }
    }

    fn phases() -> Phases {
        Phases { calm_us: 0, fault_us: 1_000_000, healed_us: 2_000_000, whole_us: Some(2_500_000), end_us: 3_000_000 }
    }

    #[test]
    fn the_gap_is_counted_from_the_fault_and_errors_do_not_end_it() {
        let fail = Outcome::Fail("9005".into());
        let ops = [
            op(0, 100, Outcome::Ok),
            op(900, 990, Outcome::Ok),
            op(1000, 1300, fail),
            op(1300, 1600, Outcome::Ok),
            op(1900, 2100, Outcome::Ok),
            op(2500, 2700, Outcome::Ok),
        ];
        let report = measure(ops.iter(), &[], &phases());
        assert_eq!(report.rto_ms, 600.0);
        assert_eq!(report.gap, Gap { from_us: 1_000_000, to_us: 1_600_000 });
        assert_eq!(report.first_after_heal_ms, Some(100.0));
        assert_eq!(report.calm_per_second, 2.0);
        assert_eq!((report.acknowledged, report.failed), (5, 1));
        assert_eq!(report.after.unwrap().count, 1);
    }

    #[test]
    fn a_region_that_never_answers_again_has_a_gap_up_to_the_end() {
        let report = measure([op(0, 100, Outcome::Ok)].iter(), &[], &phases());
        assert_eq!((report.rto_ms, report.first_after_heal_ms), (2000.0, None));
    }

    #[test]
    fn the_timeline_has_a_bucket_for_every_half_second() {
        let ops =
            [op(0, 100, Outcome::Ok), op(500, 700, Outcome::Ok), op(500, 710, Outcome::Unknown("timeout".into()))];
        let series = series(ops.iter(), 1_700_000);
        assert_eq!(series.reads, [1, 1, 0, 0]);
        assert_eq!(series.errors, [0, 1, 0, 0]);
        assert_eq!(series.read_p50_ms, [Some(100.0), Some(200.0), None, None]);
        assert_eq!(errors(ops.iter()), BTreeMap::from([("timeout".to_owned(), 1)]));
    }
}
