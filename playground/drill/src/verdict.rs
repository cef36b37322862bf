//! What it all comes to, as an exit status. A broken promise outranks a missed target.

use serde::{Deserialize, Serialize};

use crate::report::{Check, RegionReport};

/// Exit status of a drill that could not be run: the cluster was not healthy, or lacked something, or the fault did not
/// last, or the drill was interrupted and healed what it broke.
pub const EXIT_COULD_NOT_RUN: u8 = 3;
/// Exit status of a drill that was interrupted again while it healed, as shells have it for Ctrl-C: what it broke may
/// still be broken.
pub const EXIT_LEFT: u8 = 130;

/// The outcome of a drill that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All promises kept, all targets met.
    Pass,
    /// Something acknowledged is lost, or something read was wrong.
    Broken,
    /// Everything is right, but too slow.
    Missed,
}

impl Status {
    /// The exit status of the command.
    pub fn exit(self) -> u8 {
        match self {
            Status::Pass => 0,
            Status::Broken => 1,
            Status::Missed => 2,
        }
    }
}

/// The outcome, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// In a word.
    pub status: Status,
    /// Promises that were broken.
    pub broken: Vec<String>,
    /// Targets that were missed.
    pub missed: Vec<String>,
}

impl Verdict {
    /// For a terminal.
    pub fn text(&self) -> String {
        let reasons = |list: &[String]| list.iter().map(|r| format!("\n  {r}")).collect::<String>();
        match self.status {
            Status::Pass => "PASS: every promise kept, every target met".to_owned(),
            Status::Missed => format!("TARGET MISSED: every promise kept, but{}", reasons(&self.missed)),
            Status::Broken => format!("PROMISE BROKEN:{}{}", reasons(&self.broken), reasons(&self.missed)),
        }
    }
}

/// Judges. `not_whole` says what kept the cluster from being whole in time.
pub fn judge(checks: &[Check], regions: &[RegionReport], not_whole: &[String], rto_target_ms: u64) -> Verdict {
    let broken: Vec<String> = checks
        .iter()
        .filter(|c| !c.passed)
        .map(|c| match c.details.first() {
            Some(first) => format!("{}: {first}", c.name),
            None => c.name.clone(),
        })
        .collect();
    let mut missed = Vec::new();
    for r in regions {
        for (what, k) in [("reads", &r.reads), ("writes", &r.writes)] {
            if r.judged && k.rto_ms > rto_target_ms as f64 {
                missed.push(format!(
                    "{}: no {what} for {:.1} s, and {:.1} s is the target",
                    r.region,
                    k.rto_ms / 1000.0,
                    rto_target_ms as f64 / 1000.0
                ));
            }
            let by = if r.home.is_empty() { "" } else { " by its own SQL servers" };
            match k.first_after_heal_ms {
                None => missed.push(format!("{}: no {what} answered{by} after healing", r.region)),
                // A region that the fault may silence is judged by how soon it is back.
                Some(ms) if !r.judged && ms > rto_target_ms as f64 => missed.push(format!(
                    "{}: the first of its {what} was answered{by} {:.1} s after healing, and {:.1} s is the target",
                    r.region,
                    ms / 1000.0,
                    rto_target_ms as f64 / 1000.0
                )),
                Some(_) => {}
            }
        }
    }
    missed.extend(not_whole.iter().map(|why| format!("not whole in time: {why}")));
    let status = if !broken.is_empty() {
        Status::Broken
    } else if !missed.is_empty() {
        Status::Missed
    } else {
        Status::Pass
    };
    Verdict { status, broken, missed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use crate::model::sample;

    fn verdict(change: impl FnOnce(&mut crate::Report)) -> Verdict {
        let mut report = sample(Name::RegionFailure, 7);
        change(&mut report);
        judge(&report.checks, &report.regions, &[], report.rto_target_ms)
    }

    #[test]
    fn a_silenced_region_is_judged_by_its_return_and_the_others_by_their_silence() {
        assert_eq!(verdict(|_| {}).status.exit(), 0);
        assert_eq!(verdict(|r| r.regions[0].writes.rto_ms = 25_000.0).status.exit(), 0);
        let late = verdict(|r| r.regions[0].writes.first_after_heal_ms = Some(9_000.0));
        assert_eq!(late.status.exit(), 2);
        assert!(late.missed[0].contains("9.0 s after healing"), "{late:?}");
        let silent = verdict(|r| r.regions[1].reads.rto_ms = 5_100.0);
        assert_eq!(silent.status.exit(), 2);
        assert!(silent.missed[0].contains("no reads for 5.1 s"), "{silent:?}");
        assert_eq!(verdict(|r| r.regions[0].reads.first_after_heal_ms = None).status.exit(), 2);
    }

    #[test]
    fn a_broken_promise_outranks_a_missed_target() {
        let both = verdict(|r| {
            r.regions[1].reads.rto_ms = 5_100.0;
            r.checks[0].passed = false;
        });
        assert_eq!((both.status.exit(), both.missed.len(), both.broken.len()), (1, 1, 1));
    }
}
