//! Earlier reports of a tag, for `ctl drills`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::verdict::Status;

/// One earlier drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The directory with `report.json` and `report.html`.
    pub directory: PathBuf,
    /// When it began, seconds since 1970.
    pub started_unix: i64,
    /// The drill.
    pub drill: String,
    /// What the clients did.
    pub workload: String,
    /// The outcome.
    pub status: Status,
    /// The longest silence of a judged region, milliseconds.
    pub worst_rto_ms: Option<f64>,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Those that are not there.
    pub lost: u64,
}

/// The drills whose reports are below `drills` (`~/.meridian/TAG/drills`), oldest first. A directory without a readable
/// report (a drill that was interrupted) is passed over; a missing directory has none.
pub fn list(drills: &Path) -> std::io::Result<Vec<Summary>> {
    let entries = match std::fs::read_dir(drills) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let directory = entry?.path();
        let Ok(bytes) = std::fs::read(directory.join("report.json")) else { continue };
        let Ok(report) = serde_json::from_slice::<Report>(&bytes) else { continue };
        found.push(Summary {
            started_unix: report.started_unix,
            drill: report.drill.to_string(),
            workload: report.workload.to_string(),
            status: report.verdict.status,
            worst_rto_ms: report.worst_rto().map(|(ms, _, _)| ms),
            acknowledged: report.commits.acknowledged,
            lost: report.commits.lost,
            directory,
        });
    }
    found.sort_by(|a, b| (a.started_unix, &a.directory).cmp(&(b.started_unix, &b.directory)));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_listed_from_the_oldest_and_what_is_no_report_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let drills = directory.path().join("drills");
        assert_eq!(list(&drills).unwrap(), []);
        let mut report = crate::model::sample(crate::Name::PdLeader, 7);
        report.write(&drills.join("b")).unwrap();
        report.started_unix += 60;
        report.write(&drills.join("a")).unwrap();
        std::fs::create_dir(drills.join("interrupted")).unwrap();
        std::fs::write(drills.join("a file"), "").unwrap();
        let found: Vec<_> = list(&drills).unwrap().into_iter().map(|s| s.directory).collect();
        assert_eq!(found, [drills.join("b"), drills.join("a")]);
        let read: crate::Report =
            serde_json::from_slice(&std::fs::read(drills.join("a/report.json")).unwrap()).unwrap();
        assert_eq!(read, report);
    }
}
