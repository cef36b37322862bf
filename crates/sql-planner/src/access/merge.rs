//! Several indexes of a table together (index merge).
//!
//! ```text
//!   a = 1 OR b > 7     rows to which either leads     type: union
//!   a = 1 AND b = 2    rows to which both lead        type: intersection
//! ```
//!
//! Each part is a way to rows as if its branch were all that is asked ([`super::by_keys`]); it is followed up to the handles,
//! and only the rows that are left are fetched. Of an OR every branch must choose keys. Of an AND parts are added while that
//! makes it cheaper, which nothing but statistics or a hint can tell: guessed parts always look better together.

use std::collections::HashSet;

use query::context::TimeZone;
use query::expr::{Expr, Func};

use super::{Choice, EVERYTHING, LOOKUP, LOOKUP_UNKNOWN, by_keys, is_allowed};
use crate::plan::{Access, IndexHint, Merge, MergePart, Path, Scan};
use crate::ranges;
use crate::selectivity;

/// An OR of more branches is looked at row by row.
const BRANCHES_MAX: usize = 64;
/// What it costs to begin with another part, in rows that are scanned.
const PART: f64 = 5.0;

/// The ways to the rows that satisfy the filters by several indexes.
pub(super) fn choices(scan: &Scan, filters: &[Expr], zone: &TimeZone) -> Vec<Choice> {
    let said = |wanted| scan.hints.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, names)| names);
    if said(IndexHint::Apart).any(Vec::is_empty) {
        return Vec::new();
    }
    let allowed = |name: &str| {
        let named = |names: &Vec<String>| names.iter().any(|n| n.eq_ignore_ascii_case(name));
        is_allowed(scan, name)
            && said(IndexHint::Merge).all(|names| names.is_empty() || named(names))
            && !said(IndexHint::Apart).any(named)
    };
    let ors = filters.iter().enumerate().filter_map(|(at, f)| union(scan, f, at, zone, &allowed));
    let mut found: Vec<Choice> = ors.collect();
    let hinted = said(IndexHint::Merge).next().is_some();
    if hinted || !scan.known.is_pseudo() {
        found.extend(intersection(scan, filters, zone, &allowed, hinted && found.is_empty()));
    }
    found
}

/// Whether a way is one by keys that conditions choose.
fn chooses(choice: &Choice) -> bool {
    match &choice.access {
        Access::Index { words, .. } => words != EVERYTHING,
        Access::Full | Access::Merge(_) => false,
        _ => true,
    }
}

/// What it costs to learn the handles of a part, in rows that are scanned.
fn cost_of_handles(part: &MergePart) -> f64 {
    match &part.access {
        Access::PointHandles(_) => 0.0,
        Access::Late(late) if matches!(late.path, Path::Handle { points: true }) => 0.0,
        _ => part.rows,
    }
}

fn cost(scan: &Scan, parts: &[MergePart], rows: f64) -> f64 {
    let lookup = if scan.known.is_pseudo() { LOOKUP_UNKNOWN } else { LOOKUP };
    parts.iter().map(|part| cost_of_handles(part) + PART).sum::<f64>() + rows * lookup
}

/// The part of a choice: its entries need not have the wanted columns.
fn part(choice: Choice) -> MergePart {
    let mut access = choice.access;
    match &mut access {
        Access::Index { covering, .. } => *covering = false,
        Access::Late(late) => {
            if let Path::Index { covering, .. } = &mut late.path {
                *covering = false;
            }
        }
        _ => {}
    }
    MergePart { access, rows: choice.estimate }
}

/// The rows to which any branch of an OR leads.
fn union(scan: &Scan, filter: &Expr, at: usize, zone: &TimeZone, allowed: &dyn Fn(&str) -> bool) -> Option<Choice> {
    let branches = ranges::parts(filter, Func::Or);
    if !(2..=BRANCHES_MAX).contains(&branches.len()) {
        return None;
    }
    let (mut parts, mut exact) = (Vec::new(), true);
    for branch in branches {
        let mut conditions = Vec::new();
        branch.clone().split_and(&mut conditions);
        let ways = by_keys(scan, &conditions, None, false, zone, allowed).into_iter().filter(chooses);
        let best = ways.reduce(|a, b| if b.cost < a.cost { b } else { a })?;
        // A branch that is never true adds nothing.
        if best.access != Access::Empty {
            exact &= best.consumed.len() == conditions.len();
            parts.push(part(best));
        }
    }
    if parts.len() < 2 {
        return None;
    }
    let all = scan.known.rows();
    let sum: f64 = parts.iter().map(|part| part.rows).sum();
    let rows = match scan.known.is_pseudo() {
        true => sum.min(all),
        false => (all * selectivity::of_conditions(scan, [filter], zone)).clamp(1.0, sum.max(1.0)),
    };
    let consumed = if exact { HashSet::from([at]) } else { HashSet::new() };
    let cost = cost(scan, &parts, rows);
    let access = Access::Merge(Box::new(Merge { all: false, parts }));
    Some(Choice { access, consumed, estimate: rows, result: None, ordered: None, cost })
}

/// The rows to which several indexes lead. `wanted`: even where one alone is thought to be cheaper.
fn intersection(
    scan: &Scan,
    filters: &[Expr],
    zone: &TimeZone,
    allowed: &dyn Fn(&str) -> bool,
    wanted: bool,
) -> Option<Choice> {
    // Single rows need no help.
    let of_ranges = |c: &Choice| {
        let index = match &c.access {
            Access::Index { .. } => true,
            Access::Late(late) => matches!(late.path, Path::Index { points: false, .. }),
            _ => false,
        };
        index && chooses(c)
    };
    let clustered = |c: &Choice| match (&c.access, scan.table.clustered_index()) {
        (Access::Index { index, .. }, Some(key)) => key.id == *index,
        (Access::Late(late), Some(key)) => matches!(late.path, Path::Index { index, .. } if index == key.id),
        _ => false,
    };
    let mut ways: Vec<Choice> = by_keys(scan, filters, None, false, zone, allowed);
    ways.retain(|c| of_ranges(c) && !clustered(c));
    ways.sort_by(|a, b| a.estimate.total_cmp(&b.estimate));
    let (mut parts, mut consumed) = (Vec::new(), HashSet::new());
    let mut best = f64::INFINITY;
    let mut rows = scan.known.rows();
    for way in ways {
        if way.consumed.is_subset(&consumed) {
            continue;
        }
        let both: HashSet<usize> = consumed.union(&way.consumed).copied().collect();
        let of_both = selectivity::of_conditions(scan, both.iter().map(|at| &filters[*at]), zone);
        let rows_of_both = (scan.known.rows() * of_both).clamp(1.0, rows.min(way.estimate).max(1.0));
        let added = part(way);
        let mut longer = parts.clone();
        longer.push(added);
        let of_longer = cost(scan, &longer, rows_of_both);
        if of_longer < best || wanted && parts.len() < 2 {
            (parts, consumed, best, rows) = (longer, both, of_longer, rows_of_both);
        }
    }
    if parts.len() < 2 {
        return None;
    }
    let access = Access::Merge(Box::new(Merge { all: true, parts }));
    Some(Choice { access, consumed, estimate: rows, result: None, ordered: None, cost: best })
}

/// The keys of a run, from those of its parts ([`super::settle`]). What turned out to say nothing about keys leaves all rows to
/// be read, which is then checked on the rows.
pub fn settle_merge(all: bool, parts: Vec<MergePart>) -> Access {
    let (without, neutral) = match all {
        true => (Access::Empty, Access::Full),
        false => (Access::Full, Access::Empty),
    };
    if parts.iter().any(|part| part.access == without) {
        return without;
    }
    let mut parts: Vec<MergePart> = parts.into_iter().filter(|part| part.access != neutral).collect();
    match (parts.pop(), parts.is_empty()) {
        (None, _) => neutral,
        (Some(only), true) => only.access,
        (Some(last), false) => {
            parts.push(last);
            Access::Merge(Box::new(Merge { all, parts }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_say_nothing_or_everything_settle() {
        let part = |access| MergePart { access, rows: 1.0 };
        let one = || part(Access::PointHandles(vec![1]));
        let two = || part(Access::Handles(vec![(2, 3)]));
        assert_eq!(settle_merge(false, vec![one(), part(Access::Full), two()]), Access::Full);
        assert_eq!(settle_merge(false, vec![one(), part(Access::Empty)]), Access::PointHandles(vec![1]));
        assert_eq!(settle_merge(false, vec![part(Access::Empty), part(Access::Empty)]), Access::Empty);
        assert_eq!(settle_merge(true, vec![one(), part(Access::Empty)]), Access::Empty);
        assert_eq!(settle_merge(true, vec![one(), part(Access::Full)]), Access::PointHandles(vec![1]));
        assert_eq!(settle_merge(true, vec![part(Access::Full)]), Access::Full);
        let both = Access::Merge(Box::new(Merge { all: false, parts: vec![one(), two()] }));
        assert_eq!(settle_merge(false, vec![one(), part(Access::Empty), two()]), both);
    }
}
