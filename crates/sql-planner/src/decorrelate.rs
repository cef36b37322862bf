//! A scalar subquery that aggregates rows of the row outside becomes a left join with groups.
//!
//! ```text
//!   SELECT a, (SELECT COUNT(*) FROM u WHERE u.t_id = t.id) FROM t
//!
//!   Projection  a, coalesce(n, 0)
//!   └─left join  on t.id = u.t_id
//!     ├─t
//!     └─count(*) as n  group by u.t_id
//!       └─u
//! ```
//!
//! All groups are made once instead of one for each row outside. Where the rows of a group can be looked up and there are few
//! rows outside, that is more work: then the subquery stays an [`Plan::Apply`].
//!
//! Sound where the value of no rows is known (NULL, or 0 for COUNT), every condition that reads the row outside compares a
//! column of the inside for equality, and groups are as that comparison has it: one row outside finds one group at most.
//!
//! What stays an [`Plan::Apply`]: a subquery without an aggregate (it may give several rows, which is an error), with GROUP BY,
//! HAVING, DISTINCT below the aggregate, a lock clause, or other conditions on the row outside.

use std::collections::{HashMap, HashSet};

use codec::datum::Datum;
use codec::types::flags;
use query::context::TimeZone;
use query::expr::{CmpOp, Expr, Func};
use query::infer;
use query::types::EvalType;

use crate::access::choose_access;
use crate::estimate::{LOOKUP_ROW, LOOKUP_START, estimate, rows_of_a_key};
use crate::plan::{AggCall, ColId, Columns, JoinKind, JoinWay, Plan, Scan, Subquery, SubqueryKind, reads_only};
use crate::unnest::{columns_of, conditions_at_the_top};

/// Rows of a key where nothing is known.
const ROWS_OF_A_KEY: f64 = 10.0;

/// What the rule asks.
pub(crate) struct Decorrelate<'a> {
    /// Types of columns.
    pub(crate) columns: &'a Columns,
    /// The session's zone.
    pub(crate) zone: &'a TimeZone,
    /// Gives the scans of a plan their conditions, and what is known of their tables.
    pub(crate) prepare: &'a dyn Fn(Plan) -> Plan,
}

impl Decorrelate<'_> {
    /// The plan with joins for such subqueries. It is prepared, but for its subqueries.
    pub(crate) fn apply(&self, mut plan: Plan) -> Plan {
        for input in plan.inputs_mut() {
            *input = self.apply(std::mem::take(input));
        }
        match plan {
            Plan::Apply { input, subquery } => match as_join(&input, &subquery, self) {
                Some(join) => join,
                None => Plan::Apply { input, subquery },
            },
            plan => plan,
        }
    }
}

/// The aggregate of a subquery, and what the subquery gives in terms of its results.
fn aggregate(subquery: &Subquery) -> Option<(&Plan, &[(AggCall, ColId)], Expr)> {
    let mut plan = &subquery.plan;
    // The one row is not limited away.
    while let Plan::Limit { input, offset: 0, count } = plan
        && *count > 0
    {
        plan = input;
    }
    let Plan::Project { input, exprs } = plan else { return None };
    let ([(value, _)], Plan::Aggregate { input, group, aggs, merge: false }) = (&exprs[..], &**input) else {
        return None;
    };
    group.is_empty().then_some((&**input, &aggs[..], value.clone()))
}

/// The value of an aggregate over no rows, where groups have NULL.
fn of_no_rows(call: &AggCall) -> Option<Option<Datum>> {
    match call.name.as_str() {
        "count" => Some(Some(Datum::Int(0))),
        "sum" | "avg" | "min" | "max" | "group_concat" | "stddev_pop" | "stddev_samp" | "var_pop" | "var_samp" => {
            Some(None)
        }
        _ => None,
    }
}

/// Whether distinct rows below the aggregate would be told apart otherwise.
fn has_distinct(mut plan: &Plan) -> bool {
    loop {
        match plan {
            Plan::Distinct(_) | Plan::Limit { .. } => return true,
            Plan::Project { input, .. } | Plan::Filter { input, .. } | Plan::Sort { input, .. } => plan = input,
            _ => return false,
        }
    }
}

fn as_join(outer: &Plan, subquery: &Subquery, rule: &Decorrelate<'_>) -> Option<Plan> {
    if !matches!(subquery.kind, SubqueryKind::Scalar) || subquery.plan.reads(true) {
        return None;
    }
    let (input, aggs, value) = aggregate(subquery)?;
    if has_distinct(input) {
        return None;
    }
    let outputs = outer.outputs();
    let own: HashSet<ColId> = outputs.iter().copied().collect();
    let mut on = Vec::new();
    let (inner, values) = conditions_at_the_top(input.clone(), false, &own, &mut on)?;
    let inner = (rule.prepare)(inner);
    let below: HashSet<ColId> = inner.outputs().into_iter().collect();
    let (mut equal, mut group) = (Vec::new(), Vec::new());
    for condition in &on {
        let (of_outer, key) = key_of(condition, &own, &below)?;
        let Expr::Column { index, .. } = &key else { return None };
        if !group.iter().any(|(_, id)| id == index) {
            group.push((key.clone(), *index));
        }
        equal.push((of_outer, key));
    }
    if equal.is_empty() || stays_cheap(outer, &inner, &equal, rule.zone) {
        return None;
    }
    let in_terms_of_inner = |e: &Expr| {
        let known = columns_of(e);
        e.substitute(&|id| values.get(&id).unwrap_or(&known[&id]).clone())
    };
    let mut calls = Vec::with_capacity(aggs.len());
    let mut results: HashMap<ColId, Expr> = HashMap::new();
    for (call, id) in aggs {
        let mut call = call.clone();
        for e in call.args.iter_mut().chain(call.order_by.iter_mut().map(|k| &mut k.expr)) {
            *e = in_terms_of_inner(e);
            // What reads the row outside would have to be computed for each.
            if e.is_volatile() || !reads_only(e, &below) {
                return None;
            }
        }
        // Of a row outside without a group all results are NULL, whatever their types say.
        let mut ty = rule.columns.ty(*id).clone();
        ty.flags &= !flags::NOT_NULL;
        let result = Expr::column(*id, ty);
        results.insert(
            *id,
            match of_no_rows(&call)? {
                None => result,
                Some(none) => infer::coalesce(vec![result, Expr::constant(none)]).ok()?,
            },
        );
        calls.push((call, *id));
    }
    let mut read = own.clone();
    read.extend(results.keys());
    if value.is_volatile() || !reads_only(&value, &read) {
        return None;
    }
    let known = columns_of(&value);
    let value = value.substitute(&|id| results.get(&id).unwrap_or(&known[&id]).clone());
    let mut exprs: Vec<(Expr, ColId)> = outputs.iter().map(|id| (rule.columns.expr(*id), *id)).collect();
    exprs.push((value, subquery.slot));
    let right = Plan::Aggregate { input: Box::new(inner), group, aggs: calls, merge: false };
    let (left, right) = (Box::new(outer.clone()), Box::new(right));
    let join = Plan::Join { kind: JoinKind::Left, left, right, equal, other: Vec::new(), way: JoinWay::Hash };
    Some(Plan::Project { input: Box::new(join), exprs })
}

/// The side of an equality that is of the row outside, and the other one, of the inside, by which rows can be grouped: what is
/// equal for the comparison is equal for groups, and what is not is not.
fn key_of(condition: &Expr, own: &HashSet<ColId>, below: &HashSet<ColId>) -> Option<(Expr, Expr)> {
    let Expr::Call(call) = condition else { return None };
    let Func::Compare(CmpOp::Eq, domain, collation) = call.func else { return None };
    let [a, b] = &call.args[..] else { return None };
    if condition.is_volatile() {
        return None;
    }
    let (outer, inner) = match (reads_only(a, own) && reads_only(b, below), reads_only(b, own) && reads_only(a, below))
    {
        (true, _) => (a, b),
        (_, true) => (b, a),
        _ => return None,
    };
    let exact = [outer, inner].into_iter().all(|side| EvalType::of(side.ty()) == domain);
    let collated =
        domain != EvalType::String || [outer, inner].into_iter().all(|side| side.ty().collation == collation);
    // Members of ENUM and SET compare as their names, and group as their numbers.
    let named = inner.ty().elems.is_empty() && outer.ty().elems.is_empty();
    let same = inner.ty().tp == outer.ty().tp || matches!(domain, EvalType::Int | EvalType::Decimal);
    (exact && collated && named && (same || domain == EvalType::String) && domain != EvalType::Json)
        .then(|| (outer.clone(), inner.clone()))
}

/// Whether it is less work to look the rows of each group up.
fn stays_cheap(outer: &Plan, inner: &Plan, equal: &[(Expr, Expr)], zone: &TimeZone) -> bool {
    let rows = match outer {
        Plan::Scan(scan) => {
            let choice = choose_access(scan, &scan.filters, &[], None, zone);
            choice.result.unwrap_or(choice.estimate).min(choice.estimate)
        }
        other => estimate(other),
    };
    let Some(scan) = scan_of(inner) else { return rows <= 1.0 };
    let leads = |id: ColId| {
        let Some(offset) = scan.offset_of(id) else { return false };
        scan.table.handle_column().is_some_and(|c| c.offset == offset)
            || scan.table.indexes.iter().any(|i| i.columns.first().is_some_and(|c| c.offset == offset))
    };
    let looked_up = equal.iter().find(|(_, key)| matches!(key, Expr::Column { index, .. } if leads(*index)));
    match looked_up {
        Some((_, key)) => {
            let of_a_key = rows_of_a_key(scan, key).unwrap_or(ROWS_OF_A_KEY);
            rows * (LOOKUP_START + of_a_key * LOOKUP_ROW) < scan.known.rows()
        }
        None => rows <= 1.0,
    }
}

/// The one table whose rows a plan gives, some of them.
fn scan_of(plan: &Plan) -> Option<&Scan> {
    match plan {
        Plan::Scan(scan) => Some(scan),
        Plan::Filter { input, .. } => scan_of(input),
        _ => None,
    }
}
