//! The report of a drill: what is written to `report.json`, and what `report.html` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::{Name, Plan};
use crate::check::Findings;
use crate::history::{Kind, Op, Outcome};
use crate::rto::{self, KindReport, Phases, Series};
use crate::verdict::{Verdict, judge};
use crate::workload::Workload;

/// Raised when a field of the report changes its meaning.
pub const VERSION: u32 = 2;

/// Something that was done or seen during the drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, on the drill's clock.
    pub at_us: u64,
    /// What it was.
    pub kind: EventKind,
    /// In words.
    pub text: String,
}

/// What an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A fault began.
    Fault,
    /// A fault ended.
    Heal,
    /// Anything else.
    Note,
}

/// One region's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionReport {
    /// The region.
    pub region: String,
    /// Whether its recovery time is judged; not if the fault itself may silence it.
    pub judged: bool,
    /// Its clients' reads.
    pub reads: KindReport,
    /// Its clients' writes.
    pub writes: KindReport,
    /// Errors by code.
    pub errors: BTreeMap<String, u64>,
    /// The SQL servers that stand in the region.
    #[serde(default)]
    pub home: Vec<String>,
    /// Acknowledged operations by the SQL server that answered.
    pub servers: BTreeMap<String, u64>,
    /// The timeline.
    pub series: Series,
}

/// The fate of all writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commits {
    /// Acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// The client cannot know.
    pub unknown: u64,
    /// Definitely did not happen. A compare-and-set that found another value is an answer, and counts nowhere here.
    pub failed: u64,
}

/// One judge's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked, in words.
    pub name: String,
    /// Whether the promise was kept.
    pub passed: bool,
    /// How much was looked at, or what is wrong: the first few cases.
    pub details: Vec<String>,
}

/// Everything about one drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// The cluster's tag.
    pub tag: String,
    /// The drill.
    pub drill: Name,
    /// One line.
    pub title: String,
    /// What the clients did.
    pub workload: Workload,
    /// The seed of the clients' choices.
    pub seed: u64,
    /// When the drill began, seconds since 1970.
    pub started_unix: i64,
    /// The longest silence that was allowed, milliseconds.
    pub rto_target_ms: u64,
    /// What was expected, said beforehand.
    pub expectation: Vec<String>,
    /// Regions that the fault may silence.
    pub silenced: Vec<String>,
    /// When what happened.
    pub phases: Phases,
    /// Faults, healing and other events, with their times.
    pub events: Vec<Event>,
    /// By region.
    pub regions: Vec<RegionReport>,
    /// The fate of all writes.
    pub commits: Commits,
    /// The judges' words.
    pub checks: Vec<Check>,
    /// What a reader should know: a rate that was too low, a shortcut.
    pub warnings: Vec<String>,
    /// The outcome.
    pub verdict: Verdict,
    /// Width of the timeline's buckets, microseconds.
    pub bucket_us: u64,
}

/// What the driver knows at the end of a drill besides the history.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The cluster's tag.
    pub tag: String,
    /// The plan.
    pub plan: Plan,
    /// The regions that had clients.
    pub regions: Vec<String>,
    /// The SQL servers that stand in each region.
    pub homes: BTreeMap<String, Vec<String>>,
    /// What the clients did.
    pub workload: Workload,
    /// The seed of their choices.
    pub seed: u64,
    /// When the drill began, seconds since 1970.
    pub started_unix: i64,
    /// The longest silence that is allowed, milliseconds.
    pub rto_target_ms: u64,
    /// When what happened.
    pub phases: Phases,
    /// What happened.
    pub events: Vec<Event>,
    /// Checks other than those of the history: tables, replicas.
    pub checks: Vec<Check>,
    /// Why the cluster was not whole in time; empty if it was.
    pub not_whole: Vec<String>,
    /// What a reader should know.
    pub warnings: Vec<String>,
}

/// Draws everything up.
pub fn draw_up(facts: Facts, ops: &[Op], findings: Findings) -> Report {
    let regions: Vec<RegionReport> = facts
        .regions
        .iter()
        .map(|region| {
            let of = ops.iter().filter(|op| op.region == *region);
            let home = facts.homes.get(region).cloned().unwrap_or_default();
            let kind = |kind| rto::measure(of.clone().filter(move |op| op.kind == kind), &home, &facts.phases);
            let mut servers = BTreeMap::new();
            for op in of.clone().filter(|op| op.is_ok()) {
                *servers.entry(op.server.clone()).or_default() += 1;
            }
            RegionReport {
                region: region.clone(),
                judged: !facts.plan.silenced.contains(region),
                reads: kind(Kind::Read),
                writes: kind(Kind::Write),
                errors: rto::errors(of.clone()),
                home,
                servers,
                series: rto::series(of, facts.phases.end_us),
            }
        })
        .collect();
    let writes = ops.iter().filter(|op| op.kind == Kind::Write);
    let commits = Commits {
        acknowledged: writes.clone().filter(|op| op.is_ok()).count() as u64,
        lost: findings.lost,
        unknown: writes.clone().filter(|op| matches!(op.outcome, Outcome::Unknown(_))).count() as u64,
        failed: writes.filter(|op| rto::failed(op)).count() as u64,
    };
    let mut warnings = facts.warnings;
    for r in &regions {
        for (what, k) in [("reads", &r.reads), ("writes", &r.writes)] {
            if k.calm_per_second < rto::RATE_WANTED {
                warnings.push(format!(
                    "{}: only {:.1} {what} a second in calm, fewer than the {} wanted: its gaps are {:.0} ms apart \
                     without any fault",
                    r.region,
                    k.calm_per_second,
                    rto::RATE_WANTED,
                    1000.0 / k.calm_per_second.max(0.001)
                ));
            }
        }
    }
    let checks = [findings.checks(), facts.checks].concat();
    let verdict = judge(&checks, &regions, &facts.not_whole, facts.rto_target_ms);
    Report {
        version: VERSION,
        tag: facts.tag,
        drill: facts.plan.name,
        title: facts.plan.title,
        workload: facts.workload,
        seed: facts.seed,
        started_unix: facts.started_unix,
        rto_target_ms: facts.rto_target_ms,
        expectation: facts.plan.expectation,
        silenced: facts.plan.silenced,
        phases: facts.phases,
        events: facts.events,
        regions,
        commits,
        checks,
        warnings,
        verdict,
        bucket_us: rto::BUCKET_US,
    }
}

impl Report {
    /// The longest silence of the judged regions: milliseconds, region, kind.
    pub fn worst_rto(&self) -> Option<(f64, &str, Kind)> {
        let judged = self.regions.iter().filter(|r| r.judged);
        let all = judged.flat_map(|r| {
            [(r.reads.rto_ms, r.region.as_str(), Kind::Read), (r.writes.rto_ms, r.region.as_str(), Kind::Write)]
        });
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The report as text for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.title);
        let ms = |l: Option<&rto::Latency>| l.map_or("–".to_owned(), |l| format!("{:.0}/{:.0}", l.p50_ms, l.p99_ms));
        out += &format!(
            "{:<14} {:<6} {:>8} {:>8} {:>7} {:>9} {:>11}   {:<28}\n",
            "region", "", "acked", "failed", "unknown", "RTO s", "after heal", "ms p50/p99 before, during, after"
        );
        for r in &self.regions {
            for (what, k) in [("reads", &r.reads), ("writes", &r.writes)] {
                let rto = format!("{:.2}{}", k.rto_ms / 1000.0, if r.judged { "" } else { "*" });
                let away = if r.home.is_empty() { "†" } else { "" };
                let heal = k.first_after_heal_ms.map_or("never".to_owned(), |ms| format!("{:.2}{away}", ms / 1000.0));
                out += &format!(
                    "{:<14} {what:<6} {:>8} {:>8} {:>7} {rto:>9} {heal:>11}   {}, {}, {}\n",
                    r.region,
                    k.acknowledged,
                    k.failed,
                    k.unknown,
                    ms(k.before.as_ref()),
                    ms(k.during.as_ref()),
                    ms(k.after.as_ref()),
                );
            }
        }
        if !self.silenced.is_empty() {
            out += "* not judged: the fault itself may silence it; how soon it is back after healing is\n";
        }
        out += "after heal: seconds until one of the region's own SQL servers answered\n";
        if self.regions.iter().any(|r| r.home.is_empty()) {
            out += "† no SQL server stands in the region: another region's answered\n";
        }
        for r in self.regions.iter().filter(|r| !r.errors.is_empty()) {
            let errors: Vec<String> = r.errors.iter().map(|(code, n)| format!("{code} × {n}")).collect();
            out += &format!("errors in {}: {}\n", r.region, errors.join(", "));
        }
        let c = self.commits;
        out += &format!(
            "\ncommits: {} acknowledged, {} lost, {} of unknown outcome, {} failed\n",
            c.acknowledged, c.lost, c.unknown, c.failed
        );
        for check in &self.checks {
            let mark = if check.passed { "ok    " } else { "BROKEN" };
            out += &format!("{mark} {}\n", check.name);
            for detail in check.details.iter().filter(|_| !check.passed) {
                out += &format!("         {detail}\n");
            }
        }
        for warning in &self.warnings {
            out += &format!("note: {warning}\n");
        }
        out += &format!("\n{}\n", self.verdict.text());
        out
    }

    /// Codes of all errors, for the table's head.
    pub fn error_codes(&self) -> BTreeSet<&str> {
        self.regions.iter().flat_map(|r| r.errors.keys().map(String::as_str)).collect()
    }

    /// Writes `report.json` and `report.html` below a directory.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(directory.join("report.html"), crate::html::render(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{NodeInfo, Tier, Topology, plan};
    use crate::history::Call;
    use crate::verdict::Status;

    /// Clients of eu-west-1, whose processes were all killed, in a history as a drill writes it down: fault at 10 s,
    /// healing from 20 s on, end at 40 s.
    fn report_of(regions: &[&str], sql_servers: &[&str], answers: &[(u64, &str)]) -> Report {
        let regions: Vec<String> = regions.iter().map(|r| (*r).to_owned()).collect();
        let mut nodes = Vec::new();
        for tier in [Tier::Pd, Tier::Kv] {
            nodes.extend(regions.iter().map(|r| NodeInfo { name: format!("{tier:?}-{r}"), tier, region: r.clone() }));
        }
        for (i, region) in sql_servers.iter().enumerate() {
            nodes.push(NodeInfo { name: format!("sql-{}", i + 1), tier: Tier::Sql, region: (*region).to_owned() });
        }
        let topology = Topology { regions: regions.clone(), nodes, pd_leader: None, wan: true, faults: false };
        let plan = plan(Name::RegionFailure, &topology, Some("eu-west-1")).unwrap();
        let op = |(process, (at_ms, server)): (usize, &(u64, &str)), kind| Op {
            process: process as u32,
            region: "eu-west-1".into(),
            server: (*server).to_owned(),
            kind,
            invoke_us: at_ms * 1000 - 500,
            complete_us: at_ms * 1000,
            outcome: Outcome::Ok,
            call: Call::Get { key: 0, value: Some(0) },
        };
        let of_kind = |kind| answers.iter().enumerate().map(move |answer| op(answer, kind));
        let ops: Vec<Op> = of_kind(Kind::Read).chain(of_kind(Kind::Write)).collect();
        let us = |s: u64| s * 1_000_000;
        let phases = Phases { calm_us: 0, fault_us: us(10), healed_us: us(20), whole_us: Some(us(30)), end_us: us(40) };
        let facts = Facts {
            tag: "test".into(),
            plan,
            regions: vec!["eu-west-1".into()],
            homes: topology.homes(),
            workload: Workload::Register,
            seed: 1,
            started_unix: 0,
            rto_target_ms: 5000,
            phases,
            events: vec![],
            checks: vec![],
            not_whole: vec![],
            warnings: vec![],
        };
        draw_up(facts, &ops, Findings::default())
    }

    const REGIONS: [&str; 3] = ["us-east-1", "us-west-2", "eu-west-1"];

    #[test]
    fn a_region_is_not_back_as_long_as_other_regions_answer_its_clients() {
        let away = [(5_000, "sql-3"), (12_000, "sql-1"), (20_050, "sql-1"), (20_500, "sql-2"), (39_000, "sql-1")];
        let report = report_of(&REGIONS, &REGIONS, &away);
        assert_eq!(report.regions[0].reads.first_after_heal_ms, None);
        assert_eq!(report.verdict.status, Status::Missed);
        assert_eq!(report.verdict.missed[0], "eu-west-1: no reads answered by its own SQL servers after healing");

        let late = [&away[..], &[(26_500, "sql-3")]].concat();
        let report = report_of(&REGIONS, &REGIONS, &late);
        assert_eq!(report.regions[0].writes.first_after_heal_ms, Some(6_500.0));
        assert!(report.verdict.missed[1].contains("own SQL servers 6.5 s after healing"), "{:?}", report.verdict);

        let in_time = [&late[..], &[(24_200, "sql-3")]].concat();
        let report = report_of(&REGIONS, &REGIONS, &in_time);
        assert_eq!(report.regions[0].writes.first_after_heal_ms, Some(4_200.0));
        assert_eq!(report.verdict.status, Status::Pass);
    }

    #[test]
    fn a_region_without_a_sql_server_of_its_own_is_said_to_be_answered_by_others() {
        let report = report_of(&REGIONS, &REGIONS[..2], &[(5_000, "sql-1"), (20_050, "sql-2")]);
        assert_eq!(report.regions[0].reads.first_after_heal_ms, Some(50.0));
        assert!(report.text().contains("0.05†") && report.text().contains("another region's answered"));
    }
}
