//! Subqueries that are conditions become joins: `EXISTS`, `IN`, `ANY` and `ALL` over rows that depend on the row outside.
//!
//! ```text
//!   WHERE EXISTS (SELECT … FROM u WHERE u.t_id = t.id AND u.v > t.b)       semi join t, u on u.t_id = t.id and u.v > t.b
//!   WHERE NOT EXISTS (…)                                                   anti join, on the same
//!   WHERE x IN (SELECT v FROM u WHERE u.t_id = t.id)                       semi join on x = v and u.t_id = t.id
//!   WHERE x NOT IN (…)                                                     anti join on x = v is not false and …
//! ```
//!
//! A condition keeps a row only if it is true, so the positive forms need to know only whether a row inside makes it true.
//! `NOT IN` is true where all comparisons are false, so a row inside for which the comparison is unknown (NULL on either
//! side) forbids the row as one does for which it is true; likewise `ALL`, which is true where none is false or unknown.
//!
//! What stays an [`Plan::Apply`]: a subquery whose value is wanted elsewhere than in a condition of its own, one with a
//! limit or a lock clause, one that reads the row outside anywhere but in the conditions at its top, and scalar ones, for some of
//! which `decorrelate` knows a join.

use std::collections::{HashMap, HashSet};

use query::expr::{Expr, Func};
use query::infer;

use crate::plan::{ColId, JoinKind, JoinWay, Plan, Subquery, SubqueryKind, TestRows, reads_only};

/// How often each column is read in a plan.
pub fn reads(plan: &mut Plan) -> HashMap<ColId, usize> {
    let mut reads = HashMap::new();
    plan.each_expr(&mut |e| {
        for id in e.columns() {
            *reads.entry(id).or_insert(0) += 1;
        }
    });
    reads
}

/// The plan with joins for subqueries, wherever that is sound. `reads` is [`reads`] of all of it.
pub fn unnest(mut plan: Plan, reads: &HashMap<ColId, usize>) -> Plan {
    for input in plan.inputs_mut() {
        *input = unnest(std::mem::take(input), reads);
    }
    if let Plan::Apply { subquery, .. } = &mut plan {
        subquery.plan = unnest(std::mem::take(&mut subquery.plan), reads);
    }
    match plan {
        Plan::Filter { input, conditions } if matches!(*input, Plan::Apply { .. }) => {
            conditions_to_joins(*input, conditions, reads)
        }
        plan => plan,
    }
}

/// A filter over subqueries.
fn conditions_to_joins(input: Plan, mut conditions: Vec<Expr>, reads: &HashMap<ColId, usize>) -> Plan {
    let (mut plan, mut subqueries) = (input, Vec::new());
    while let Plan::Apply { input, subquery } = plan {
        subqueries.push(subquery);
        plan = *input;
    }
    // From the inside out, as they were.
    for subquery in subqueries.into_iter().rev() {
        let found = conditions
            .iter()
            .position(|c| answer(c) == Some((subquery.slot, false)) || answer(c) == Some((subquery.slot, true)));
        let once = reads.get(&subquery.slot) == Some(&1);
        let joined = found.filter(|_| once).and_then(|at| {
            let negated = answer(&conditions[at])?.1;
            Some((at, join(&plan, &subquery, negated)?))
        });
        plan = match joined {
            Some((at, (kind, right, on))) => {
                conditions.remove(at);
                let (left, right) = (Box::new(plan), Box::new(right));
                Plan::Join { kind, left, right, equal: Vec::new(), other: on, way: JoinWay::Hash }
            }
            None => Plan::Apply { input: Box::new(plan), subquery },
        };
    }
    if conditions.is_empty() { plan } else { Plan::Filter { input: Box::new(plan), conditions } }
}

/// The subquery whose answer is the condition, and whether it is to be false.
fn answer(condition: &Expr) -> Option<(ColId, bool)> {
    match condition {
        Expr::Column { index, .. } => Some((*index, false)),
        Expr::Call(call) if call.func == Func::Not => answer(&call.args[0]).map(|(slot, negated)| (slot, !negated)),
        _ => None,
    }
}

/// The join that keeps the rows of `outer` for which the subquery is true (or, `negated`, false).
fn join(outer: &Plan, subquery: &Subquery, negated: bool) -> Option<(JoinKind, Plan, Vec<Expr>)> {
    let own: HashSet<ColId> = outer.outputs().into_iter().collect();
    let exists = matches!(subquery.kind, SubqueryKind::Exists);
    // A join would lock rows that no row outside leads to.
    if subquery.plan.reads(true) {
        return None;
    }
    let mut on = Vec::new();
    let (inner, values) = conditions_at_the_top(subquery.plan.clone(), exists, &own, &mut on)?;
    let kind = match &subquery.kind {
        SubqueryKind::Exists => {
            if negated {
                JoinKind::Anti
            } else {
                JoinKind::Semi
            }
        }
        SubqueryKind::Test { condition, rows } => {
            let columns: HashMap<ColId, Expr> = columns_of(condition);
            let test = condition.substitute(&|id| values.get(&id).unwrap_or(&columns[&id]).clone());
            let (kind, test) = match (rows, negated) {
                (TestRows::Any, false) => (JoinKind::Semi, test),
                (TestRows::Any, true) => (JoinKind::Anti, not_false(test)),
                (TestRows::All, false) => (JoinKind::Anti, infer::not(infer::is_true(test))),
                (TestRows::All, true) => (JoinKind::Semi, infer::is_false(test)),
                (TestRows::One, _) => return None,
            };
            on.push(test);
            kind
        }
        SubqueryKind::Scalar | SubqueryKind::List { .. } => return None,
    };
    let mut both = own;
    both.extend(inner.outputs());
    (on.iter().all(|c| !c.is_volatile() && reads_only(c, &both))).then_some((kind, inner, on))
}

/// `condition IS NOT FALSE`; the condition itself where it cannot be unknown, so that it can be a key of the join.
fn not_false(condition: Expr) -> Expr {
    let mut nullable = false;
    condition.walk(&mut |e| nullable |= matches!(e, Expr::Column { ty, .. } if !ty.is_not_null()));
    let plain = matches!(&condition, Expr::Call(call) if matches!(call.func, Func::Compare(..)) && call.args.iter().all(|a| matches!(a, Expr::Column { .. })));
    if plain && !nullable { condition } else { infer::not(infer::is_false(condition)) }
}

/// Takes the conditions at the top of a subquery that read the rows outside out of it. What is left reads none of them. Gives
/// it, and what the subquery's columns are in terms of its columns; with `exists`, those are wanted by nobody.
pub(crate) fn conditions_at_the_top(
    plan: Plan,
    exists: bool,
    outer: &HashSet<ColId>,
    on: &mut Vec<Expr>,
) -> Option<(Plan, HashMap<ColId, Expr>)> {
    match plan {
        // One row more or less changes nothing, as long as there is one.
        Plan::Limit { input, offset: 0, count } if exists && count > 0 => {
            conditions_at_the_top(*input, exists, outer, on)
        }
        Plan::Sort { input, limit: None, .. } => conditions_at_the_top(*input, exists, outer, on),
        Plan::Distinct(input) => conditions_at_the_top(*input, exists, outer, on),
        Plan::Project { input, exprs } => {
            let (plan, below) = conditions_at_the_top(*input, exists, outer, on)?;
            let exprs = exprs.into_iter().map(|(e, id)| {
                let columns = columns_of(&e);
                (id, e.substitute(&|id| below.get(&id).unwrap_or(&columns[&id]).clone()))
            });
            let exprs = if exists { HashMap::new() } else { exprs.collect() };
            Some((plan, exprs))
        }
        Plan::Filter { input, conditions } => {
            let (mut plan, below) = conditions_at_the_top(*input, exists, outer, on)?;
            let mut stay = Vec::new();
            for c in conditions {
                let columns = columns_of(&c);
                let c = c.substitute(&|id| below.get(&id).unwrap_or(&columns[&id]).clone());
                if c.columns().iter().any(|id| outer.contains(id)) { on.push(c) } else { stay.push(c) }
            }
            if !stay.is_empty() {
                plan = Plan::Filter { input: Box::new(plan), conditions: stay };
            }
            Some((plan, below))
        }
        mut plan => {
            let mut depends = false;
            plan.each_expr(&mut |e| depends |= e.columns().iter().any(|id| outer.contains(id)));
            (!depends).then_some((plan, HashMap::new()))
        }
    }
}

pub(crate) fn columns_of(e: &Expr) -> HashMap<ColId, Expr> {
    let mut columns = HashMap::new();
    e.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            columns.insert(*index, e.clone());
        }
    });
    columns
}
