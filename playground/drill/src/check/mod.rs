//! The judges: pure functions over a history and the rows read at the end. They know what clients asked and were told,
//! and nothing about servers.
//!
//! | workload | what must hold                                                                                     |
//! |----------|----------------------------------------------------------------------------------------------------|
//! | bank     | every sum is the total; acknowledged transfers are logged once; balances follow from the log       |
//! | append   | lists grow by whole, committed transactions; no cycle that snapshot isolation forbids, real time included |
//! | register | every row is linearizable                                                                          |
//! | orders   | acknowledged orders are there once, with all their lines, always                                   |
//!
//! What every judge grants: an operation of unknown outcome may have happened, may happen later, or never. What none
//! grants: an acknowledged operation that is not there, a failed one that is, an answer that is older than something
//! acknowledged before the question was asked.

pub mod append;
pub mod bank;
pub mod orders;
pub mod register;

use crate::history::{Final, Op, Outcome};
use crate::report::Check;
use crate::workload::Workload;

/// Cases of a violation that are written to the report.
const DETAILS_MAX: usize = 10;

/// The code of an operation that did not find a row which is there from the beginning to the end.
pub(crate) const ROW_IS_GONE: &str = "row is gone";

/// What a judge found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged writes that are not there.
    pub lost: u64,
    /// The promises, kept or not.
    claims: Vec<Claim>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Claim {
    name: &'static str,
    looked_at: String,
    violations: Vec<String>,
}

impl Findings {
    /// Adds a promise and the cases in which it was broken.
    fn claim(&mut self, name: &'static str, looked_at: String, violations: Vec<String>) {
        self.claims.push(Claim { name, looked_at, violations });
    }

    /// Whether all promises were kept.
    pub fn clean(&self) -> bool {
        self.claims.iter().all(|c| c.violations.is_empty())
    }

    /// The promises, as the report words them.
    pub fn checks(&self) -> Vec<Check> {
        let check = |c: &Claim| {
            let mut details: Vec<String> = c.violations.iter().take(DETAILS_MAX).cloned().collect();
            if c.violations.is_empty() {
                details.push(c.looked_at.clone());
            } else if c.violations.len() > DETAILS_MAX {
                details.push(format!("and {} more", c.violations.len() - DETAILS_MAX));
            }
            Check { name: c.name.to_owned(), passed: c.violations.is_empty(), details }
        };
        self.claims.iter().map(check).collect()
    }
}

/// Judges a history of a workload. `finals` are the tables as they were read at the end through each SQL server; without
/// any, acknowledged writes count as unproven, and [`crate::run`] adds a broken promise.
pub fn check(workload: Workload, ops: &[Op], finals: &[Final]) -> Findings {
    let mut findings = match workload {
        Workload::Bank => bank::check(ops, finals),
        Workload::Append => append::check(ops, finals),
        Workload::Register => register::check(ops, finals),
        Workload::Orders => orders::check(ops, finals),
    };
    // A transaction that missed a row rolled back and is a failed one to the judges; that it missed it is none's doing.
    let missed = ops.iter().filter(|op| matches!(&op.outcome, Outcome::Fail(code) if code == ROW_IS_GONE));
    let violations =
        missed.map(|op| format!("client {} in {}, through {}: {:?}", op.process, op.region, op.server, op.call));
    findings.claim("no row is ever missed", format!("{} operations", ops.len()), violations.collect());
    findings
}

#[cfg(test)]
mod planted;
