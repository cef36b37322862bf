//! How many rows a plan is thought to give: from the statistics of its tables, and rough where there are none.

use query::context::TimeZone;
use query::expr::{CmpOp, Expr};

use crate::access::choose_access;
use crate::plan::{JoinKind, Plan, Scan};
use crate::selectivity::distinct;

/// What it costs to look up a key, and each row of it, in rows that are scanned.
pub const LOOKUP_START: f64 = 4.0;
/// See `LOOKUP_START`.
pub const LOOKUP_ROW: f64 = 8.0;

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
                (Some(agg), _) => {
                    let values = agg.group.iter().map(|(e, _)| match e {
                        Expr::Column { index, .. } => distinct(scan, *index),
                        _ => None,
                    });
                    groups(values, rows)
                }
                (_, Some((_, n))) => rows.min(*n as f64),
                _ => rows,
            }
        }
        Plan::Cte(cte) => cte.rows,
        Plan::Memory { .. } | Plan::WorkTable { .. } => 100.0,
        Plan::Recursive(recursive) => recursive.inputs.iter().map(estimate).sum(),
        Plan::Expand { input, group, .. } => estimate(input) * (group.len() + 1) as f64,
        Plan::Filter { input, .. } => estimate(input) * 0.8,
        Plan::Project { input, .. } | Plan::Repeat { input, .. } | Plan::Apply { input, .. } => estimate(input),
        Plan::Lateral { left, .. } => estimate(left) * 10.0,
        Plan::Join { kind, left, right, equal, .. } => {
            let (l, r) = (estimate(left), estimate(right));
            let matching = matching(left, right, equal).map(|part| l * r * part);
            match (kind, equal.is_empty()) {
                (JoinKind::Inner, false) => matching.unwrap_or((l.max(r) * 1.25).min(l * r)),
                (JoinKind::Inner, true) => l * r,
                (JoinKind::Left, _) => matching.map_or(l * 1.25, |rows| rows.max(l)),
                (JoinKind::Semi | JoinKind::Anti, _) => l * 0.8,
            }
        }
        Plan::Aggregate { input, group, .. } => {
            if group.is_empty() {
                1.0
            } else {
                groups(group.iter().map(|(e, _)| distinct_in(input, e)), estimate(input))
            }
        }
        Plan::Window { input, .. } => estimate(input),
        Plan::Distinct(input) => estimate(input) * 0.8,
        Plan::Sort { input, limit, .. } => limit.map_or(estimate(input), |n| estimate(input).min(n as f64)),
        Plan::Limit { input, count, .. } => estimate(input).min(*count as f64),
        Plan::Union { inputs, .. } => inputs.iter().map(estimate).sum(),
    }
}

/// How many groups rows fall into, by how many values each of the expressions has.
fn groups(values: impl Iterator<Item = Option<f64>>, rows: f64) -> f64 {
    match values.product::<Option<f64>>() {
        Some(values) => values.min(rows).max(1.0),
        None => rows * 0.8,
    }
}

/// How many different values a column of a plan has at most, as far as its table's statistics tell.
fn distinct_in(plan: &Plan, e: &Expr) -> Option<f64> {
    let Expr::Column { index, .. } = e else { return None };
    match plan {
        Plan::Scan(scan) if scan.pushed.aggregate.is_none() => {
            Some(distinct(scan, *index)?.min(estimate(plan).max(1.0)))
        }
        Plan::Filter { input, .. } | Plan::Sort { input, .. } | Plan::Limit { input, .. } => {
            Some(distinct_in(input, e)?.min(estimate(plan).max(1.0)))
        }
        Plan::Project { input, exprs } => distinct_in(input, &exprs.iter().find(|(_, id)| id == index)?.0),
        Plan::Join { left, right, .. } => distinct_in(left, e).or_else(|| distinct_in(right, e)),
        _ => None,
    }
}

/// The part of all pairs of rows that have equal keys: one in as many as the side with more values has. Of several keys the
/// most selective counts in full, the others by their roots: they tend to belong together. `None` where nothing is known.
fn matching(left: &Plan, right: &Plan, equal: &[(Expr, Expr)]) -> Option<f64> {
    let values = |(a, b): &(Expr, Expr)| match (distinct_in(left, a), distinct_in(right, b)) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    };
    let mut known: Vec<f64> = equal.iter().filter_map(values).collect();
    known.sort_by(|a, b| b.total_cmp(a));
    let (first, rest) = known.split_first()?;
    Some(rest.iter().fold(1.0 / first.max(1.0), |part, values| part / values.max(1.0).sqrt()))
}

/// Rows of a table that have one value of a column, on average; `None` where nothing is known of it.
pub fn rows_of_a_key(scan: &Scan, column: &Expr) -> Option<f64> {
    let Expr::Column { index, .. } = column else { return None };
    Some(scan.known.rows() / distinct(scan, *index)?)
}

/// Rough number of rows of a plan whose scans have no keys yet.
pub fn input_rows(plan: &Plan, zone: &TimeZone) -> f64 {
    match plan {
        Plan::Scan(scan) => {
            let choice = choose_access(scan, &scan.filters, &[], None, zone);
            if let Some(result) = choice.result {
                return result.min(choice.estimate);
            }
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
