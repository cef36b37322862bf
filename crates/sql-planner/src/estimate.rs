//! How many rows a plan is thought to give. Rough until there are statistics.

use query::context::TimeZone;
use query::expr::CmpOp;

use crate::access::choose_access;
use crate::plan::{JoinKind, Plan};

/// Rough number of rows.
pub fn estimate(plan: &Plan) -> f64 {
    match plan {
        Plan::One => 1.0,
        Plan::Nothing(_) => 0.0,
        Plan::Values { rows, .. } => rows.len() as f64,
        Plan::Scan(scan) => {
            let rows = scan.estimate;
            match (&scan.pushed.aggregate, &scan.pushed.topn) {
                (Some(agg), _) if agg.group.is_empty() => 1.0,
                (Some(_), _) => rows * 0.8,
                (_, Some((_, n))) => rows.min(*n as f64),
                _ => rows,
            }
        }
        Plan::Memory { .. } | Plan::WorkTable { .. } => 100.0,
        Plan::Recursive(recursive) => recursive.inputs.iter().map(estimate).sum(),
        Plan::Expand { input, group, .. } => estimate(input) * (group.len() + 1) as f64,
        Plan::Filter { input, .. } => estimate(input) * 0.8,
        Plan::Project { input, .. } | Plan::Repeat { input, .. } | Plan::Apply { input, .. } => estimate(input),
        Plan::Lateral { left, .. } => estimate(left) * 10.0,
        Plan::Join { kind, left, right, equal, .. } => {
            let (l, r) = (estimate(left), estimate(right));
            match (kind, equal.is_empty()) {
                (JoinKind::Inner, false) => (l.max(r) * 1.25).min(l * r),
                (JoinKind::Inner, true) => l * r,
                (JoinKind::Left, _) => l * 1.25,
                (JoinKind::Semi | JoinKind::Anti, _) => l * 0.8,
            }
        }
        Plan::Aggregate { input, group, .. } => {
            if group.is_empty() {
                1.0
            } else {
                estimate(input) * 0.8
            }
        }
        Plan::Window { input, .. } => estimate(input),
        Plan::Distinct(input) => estimate(input) * 0.8,
        Plan::Sort { input, limit, .. } => limit.map_or(estimate(input), |n| estimate(input).min(n as f64)),
        Plan::Limit { input, count, .. } => estimate(input).min(*count as f64),
        Plan::Union { inputs, .. } => inputs.iter().map(estimate).sum(),
    }
}

/// Rough number of rows of a plan whose scans have no keys yet.
pub fn input_rows(plan: &Plan, zone: &TimeZone) -> f64 {
    match plan {
        Plan::Scan(scan) => {
            let choice = choose_access(scan, &scan.filters, &[], None, zone);
            let rest = (0..scan.filters.len()).filter(|i| !choice.consumed.contains(i));
            rest.fold(choice.estimate, |rows, i| match crate::expr::column_against(&scan.filters[i]) {
                Some((CmpOp::Eq | CmpOp::NullEq, ..)) => rows * 0.1,
                _ => rows * 0.5,
            })
        }
        Plan::Filter { input, .. } => input_rows(input, zone) * 0.8,
        Plan::Project { input, .. } | Plan::Apply { input, .. } | Plan::Window { input, .. } => input_rows(input, zone),
        plan => estimate(plan),
    }
}
