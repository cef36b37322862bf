//! Rules that make a bound plan cheap, in this order:
//!
//! 1. conditions move down to where their columns come from; pairs of equal columns become join keys ([`push_down`]);
//! 2. inner joins are ordered ([`join_order`]);
//! 3. columns and window functions that nobody reads are not computed ([`prune`]);
//! 4. each scan chooses its keys: points, ranges of the handle, an index, or everything ([`choose_access`]); an order that
//!    the keys have anyway replaces a sort; limits, orders and filters go to the storage nodes ([`place`]).
//!
//! Estimates are rough until there are statistics: a table has 10,000 rows, an equality on an index leaves one in a
//! thousand.

use std::collections::{HashMap, HashSet};

use codec::datum::Datum;
use codec::table;
use codec::types::TypeCode;
use query::context::TimeZone;
use query::expr::{CmpOp, Expr, Func};
use sql_catalog::{IndexInfo, TableInfo};

use super::plan::{Access, ColId, Columns, IndexHint, JoinKind, Plan, PushedAgg, Scan, SortKey, reads_only};
use super::ranges::{self, Interval, Restriction};
use super::{common_conditions, join_order, window};

/// Rows that a table is thought to have.
pub const TABLE_ROWS: f64 = 10_000.0;
/// Most combinations of IN lists over several index columns.
const COMBINATIONS_MAX: usize = 1_024;

/// How EXPLAIN words the range of all entries of an index.
pub const EVERYTHING: &str = "[NULL,+inf]";

/// What the rules may ask.
pub struct Rules<'a> {
    /// All columns.
    pub columns: &'a Columns,
    /// The session's zone: TIMESTAMP keys are in UTC.
    pub zone: &'a TimeZone,
    /// Whether the transaction has changed rows of this table, so that the storage nodes alone do not know them.
    pub dirty: &'a dyn Fn(&TableInfo) -> bool,
    /// Whether the storage nodes can evaluate this.
    pub pushable: &'a dyn Fn(&Expr) -> bool,
}

impl Rules<'_> {
    /// Applies all rules.
    pub fn optimize(&self, plan: Plan) -> Plan {
        let plan = join_order::order_joins(push_down(plan, Vec::new()), self.zone);
        let needed: HashSet<ColId> = plan.outputs().into_iter().collect();
        let plan = prune(plan, &needed);
        self.place(plan, None)
    }

    /// Chooses access paths and pushes operators, from the top.
    fn place(&self, plan: Plan, limit: Option<u64>) -> Plan {
        match plan {
            Plan::Limit { input, offset, count } => {
                let need = offset.checked_add(count).filter(|_| count != u64::MAX);
                let input = match *input {
                    Plan::Sort { input, keys, limit: _ } => self.place_sort(*input, keys, need),
                    other => self.place(other, need),
                };
                Plan::Limit { input: Box::new(input), offset, count }
            }
            Plan::Sort { input, keys, limit } => self.place_sort(*input, keys, limit),
            Plan::Scan(scan) => Plan::Scan(Box::new(self.place_scan(*scan, &[], limit).0)),
            Plan::Filter { input, conditions } => {
                Plan::Filter { input: Box::new(self.place(*input, None)), conditions }
            }
            Plan::Project { input, exprs } => Plan::Project { input: Box::new(self.place(*input, limit)), exprs },
            Plan::Join { kind, left, right, equal, other, .. } => {
                let left = self.place(*left, None);
                let right = self.place(*right, None);
                self.place_join(kind, left, right, equal, other)
            }
            Plan::Aggregate { input, group, aggs, merge } => {
                let input = self.place(*input, None);
                push_aggregate(Plan::Aggregate { input: Box::new(input), group, aggs, merge }, self)
            }
            Plan::Window { input, partition, order, calls } => {
                let keys = window::input_order(&partition, &order);
                // What the keys have in order by themselves needs no sort.
                let input = match keys.is_empty() {
                    true => self.place(*input, None),
                    false => self.place_sort(*input, keys, None),
                };
                Plan::Window { input: Box::new(input), partition, order, calls }
            }
            Plan::Distinct(input) => Plan::Distinct(Box::new(self.place(*input, None))),
            Plan::Union { inputs, ids } => {
                Plan::Union { inputs: inputs.into_iter().map(|i| self.place(i, limit)).collect(), ids }
            }
            Plan::Apply { input, subquery } => Plan::Apply { input: Box::new(self.place(*input, None)), subquery },
            leaf => leaf,
        }
    }

    fn place_join(&self, kind: JoinKind, left: Plan, right: Plan, equal: Vec<(Expr, Expr)>, other: Vec<Expr>) -> Plan {
        let (l, r) = (estimate(&left), estimate(&right));
        let (left, right, equal) =
            if kind == JoinKind::Inner && l > r && !equal.is_empty() && lookup_key(&left, &equal, true).is_some() {
                // The large side that can be looked up goes to the right.
                (right, left, equal.into_iter().map(|(a, b)| (b, a)).collect())
            } else {
                (left, right, equal)
            };
        let (l, r) = (estimate(&left), estimate(&right));
        let lookup = (l * 20.0 < r).then(|| lookup_key(&right, &equal, false)).flatten();
        // A hash table over the smaller side.
        let (left, right, equal) = if kind == JoinKind::Inner && lookup.is_none() && l < r {
            (right, left, equal.into_iter().map(|(a, b)| (b, a)).collect())
        } else {
            (left, right, equal)
        };
        Plan::Join { kind, left: Box::new(left), right: Box::new(right), equal, other, lookup }
    }

    fn place_sort(&self, input: Plan, keys: Vec<SortKey>, limit: Option<u64>) -> Plan {
        let mut wanted = Vec::new();
        for k in &keys {
            match &k.expr {
                Expr::Column { index, .. } => wanted.push((*index, k.desc)),
                _ => {
                    wanted.clear();
                    break;
                }
            }
        }
        let (input, ordered) = self.place_ordered(input, &wanted, limit);
        if ordered {
            return input;
        }
        let input = match limit {
            Some(n) => self.push_topn(input, &keys, n),
            None => input,
        };
        Plan::Sort { input: Box::new(input), keys, limit }
    }

    /// As [`Rules::place`], for an input that should come in this order.
    fn place_ordered(&self, plan: Plan, wanted: &[(ColId, bool)], limit: Option<u64>) -> (Plan, bool) {
        if wanted.is_empty() {
            return (self.place(plan, None), false);
        }
        match plan {
            Plan::Project { input, exprs } => {
                let inner: Option<Vec<(ColId, bool)>> = wanted
                    .iter()
                    .map(|(id, desc)| match exprs.iter().find(|e| e.1 == *id) {
                        Some((Expr::Column { index, .. }, _)) => Some((*index, *desc)),
                        _ => None,
                    })
                    .collect();
                let (input, ordered) = match inner {
                    Some(inner) => self.place_ordered(*input, &inner, limit),
                    None => (self.place(*input, None), false),
                };
                (Plan::Project { input: Box::new(input), exprs }, ordered)
            }
            Plan::Filter { input, conditions } => {
                let (input, ordered) = self.place_ordered(*input, wanted, None);
                (Plan::Filter { input: Box::new(input), conditions }, ordered)
            }
            Plan::Window { input, partition, order, calls } => {
                // Its rows come in the order of its keys.
                let keys = window::input_order(&partition, &order);
                let ordered = wanted.len() <= keys.len()
                    && keys.iter().zip(wanted).all(|(k, (id, desc))| {
                        matches!(&k.expr, Expr::Column { index, .. } if index == id) && k.desc == *desc
                    });
                (self.place(Plan::Window { input, partition, order, calls }, None), ordered)
            }
            Plan::Scan(scan) => {
                let (scan, ordered) = self.place_scan(*scan, wanted, limit);
                (Plan::Scan(Box::new(scan)), ordered)
            }
            other => (self.place(other, None), false),
        }
    }

    fn push_topn(&self, plan: Plan, keys: &[SortKey], limit: u64) -> Plan {
        match plan {
            Plan::Project { input, exprs } => {
                let inner = keys.iter().map(|k| SortKey {
                    expr: k.expr.substitute(&|i| match exprs.iter().find(|e| e.1 == i) {
                        Some((e, _)) => e.clone(),
                        None => Expr::null(),
                    }),
                    desc: k.desc,
                });
                let inner: Vec<SortKey> = inner.collect();
                let input = self.push_topn(*input, &inner, limit);
                Plan::Project { input: Box::new(input), exprs }
            }
            Plan::Scan(mut scan) => {
                let points = matches!(scan.access, Access::PointHandles(_) | Access::PointIndex { .. } | Access::Empty);
                let lookup = matches!(scan.access, Access::Index { covering: false, .. });
                if scan.residual.is_empty()
                    && scan.pushed.aggregate.is_none()
                    && !points
                    && !lookup
                    && !(self.dirty)(&scan.table)
                    && limit <= 10_000
                    && keys.iter().all(|k| (self.pushable)(&k.expr))
                {
                    scan.pushed.topn = Some((keys.to_vec(), limit));
                }
                Plan::Scan(scan)
            }
            other => other,
        }
    }

    /// Chooses the keys of a scan and says whether its rows come in the wanted order.
    pub fn place_scan(&self, mut scan: Scan, wanted: &[(ColId, bool)], limit: Option<u64>) -> (Scan, bool) {
        let filters = std::mem::take(&mut scan.filters);
        let choice = choose_access(&scan, &filters, wanted, limit, self.zone);
        scan.access = choice.access;
        scan.estimate = choice.estimate;
        scan.order = choice.ordered;
        for (i, f) in filters.into_iter().enumerate() {
            if choice.consumed.contains(&i) {
                continue;
            }
            if (self.pushable)(&f) {
                scan.pushed.filters.push(f);
            } else {
                scan.residual.push(f);
            }
        }
        if !scan.pushed.filters.is_empty() || !scan.residual.is_empty() {
            scan.estimate = (scan.estimate * 0.8).max(1.0);
        }
        if scan.residual.is_empty() && (wanted.is_empty() || choice.ordered.is_some()) {
            scan.pushed.limit = limit;
            if let Some(n) = limit {
                scan.estimate = scan.estimate.min(n as f64);
            }
        }
        let ordered = choice.ordered.is_some();
        (scan, ordered)
    }
}

/// Lets the storage nodes aggregate what they scan, when they can.
fn push_aggregate(plan: Plan, rules: &Rules<'_>) -> Plan {
    let Plan::Aggregate { mut input, group, aggs, merge: false } = plan else { return plan };
    let fits = match &*input {
        Plan::Scan(scan) => {
            let ranges = match &scan.access {
                Access::Full | Access::Handles(_) => true,
                Access::Index { covering, .. } => *covering,
                _ => false,
            };
            ranges
                && scan.lock.is_none()
                && scan.residual.is_empty()
                && scan.pushed.limit.is_none()
                && scan.pushed.topn.is_none()
                && scan.order.is_none()
                && !(rules.dirty)(&scan.table)
                && group.iter().all(|g| (rules.pushable)(&g.0))
                && aggs.iter().all(|(a, _)| {
                    !a.distinct
                        && matches!(a.name.as_str(), "count" | "sum" | "min" | "max" | "firstrow")
                        && a.args.len() <= 1
                        && !matches!(a.ty.tp, TypeCode::Json | TypeCode::Enum | TypeCode::Set | TypeCode::Bit)
                        && a.args.iter().all(|e| (rules.pushable)(e))
                })
        }
        _ => false,
    };
    if !fits {
        return Plan::Aggregate { input, group, aggs, merge: false };
    }
    if let Plan::Scan(scan) = &mut *input {
        scan.pushed.aggregate = Some(PushedAgg { group: group.clone(), aggs: aggs.clone() });
    }
    Plan::Aggregate { input, group, aggs, merge: true }
}

/// The position among `equal` by which the rows of a scan can be looked up. `left`: the scan is the left side.
fn lookup_key(plan: &Plan, equal: &[(Expr, Expr)], left: bool) -> Option<usize> {
    let scan = bare_scan(plan)?;
    let everything = match &scan.access {
        Access::Full => true,
        Access::Index { words, covering, .. } => *covering && words == EVERYTHING,
        _ => false,
    };
    if !everything || scan.pushed.limit.is_some() {
        return None;
    }
    equal.iter().position(|(a, b)| {
        let (own, outer) = if left { (a, b) } else { (b, a) };
        let Expr::Column { index, ty, .. } = own else { return false };
        // Only where the probe's values are values of the column without conversion.
        let same = query::batch::Physical::of(ty) == query::batch::Physical::of(outer.ty())
            && (!ty.tp.is_string() || ty.collation == outer.ty().collation);
        let Some(offset) = scan.offset_of(*index) else { return false };
        let handle = scan.table.handle_column().is_some_and(|c| c.offset == offset);
        let leads = scan
            .table
            .public_indexes()
            .any(|i| !i.invisible && i.columns.first().is_some_and(|c| c.offset == offset && c.length.is_none()));
        same && (handle || leads)
    })
}

/// The scan under filters and projections that only choose columns.
pub fn bare_scan(plan: &Plan) -> Option<&Scan> {
    match plan {
        Plan::Scan(scan) => Some(scan),
        _ => None,
    }
}

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
        Plan::Memory { .. } => 100.0,
        Plan::Filter { input, .. } => estimate(input) * 0.8,
        Plan::Project { input, .. } | Plan::Apply { input, .. } => estimate(input),
        Plan::Join { kind, left, right, equal, .. } => {
            let (l, r) = (estimate(left), estimate(right));
            match (kind, equal.is_empty()) {
                (JoinKind::Inner, false) => (l.max(r) * 1.25).min(l * r),
                (JoinKind::Inner, true) => l * r,
                (JoinKind::Left, _) => l * 1.25,
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
            rest.fold(choice.estimate, |rows, i| match super::expr::column_compare(&scan.filters[i]) {
                Some((CmpOp::Eq | CmpOp::NullEq, ..)) => rows * 0.1,
                _ => rows * 0.5,
            })
        }
        Plan::Filter { input, .. } => input_rows(input, zone) * 0.8,
        Plan::Project { input, .. } | Plan::Apply { input, .. } | Plan::Window { input, .. } => input_rows(input, zone),
        plan => estimate(plan),
    }
}

// ---- Conditions move down ----

/// The plan's rows for which all conditions are true.
pub fn filter(plan: Plan, conditions: Vec<Expr>) -> Plan {
    if conditions.is_empty() { plan } else { Plan::Filter { input: Box::new(plan), conditions } }
}

fn is_false(e: &Expr) -> bool {
    matches!(e.as_const(), Some(Datum::Null | Datum::Int(0) | Datum::UInt(0)))
}

fn is_true(e: &Expr) -> bool {
    matches!(e.as_const(), Some(Datum::Int(n)) if *n != 0)
}

/// Moves conditions from above, and those inside, as far down as they go.
pub fn push_down(plan: Plan, mut conditions: Vec<Expr>) -> Plan {
    conditions.retain(|c| !is_true(c));
    if conditions.iter().any(is_false) {
        return Plan::Nothing(plan.outputs());
    }
    match plan {
        Plan::Filter { input, conditions: own } => {
            for c in own {
                common_conditions::split(c, &mut conditions);
            }
            push_down(*input, conditions)
        }
        Plan::Project { input, exprs } => {
            let (down, stay) = partition(conditions, |c| {
                !c.is_volatile() && c.columns().iter().all(|i| exprs.iter().any(|e| e.1 == *i && !e.0.is_volatile()))
            });
            let down = down.into_iter().map(|c| {
                c.substitute(&|i| match exprs.iter().find(|e| e.1 == i) {
                    Some((e, _)) => e.clone(),
                    None => Expr::null(),
                })
            });
            let input = push_down(*input, down.collect());
            filter(Plan::Project { input: Box::new(input), exprs }, stay)
        }
        Plan::Join { kind, left, right, equal, other, lookup } => {
            push_join(kind, *left, *right, equal, other, lookup, conditions)
        }
        Plan::Aggregate { input, group, aggs, merge } => {
            let (down, stay) = partition(conditions, |c| {
                let columns = c.columns();
                !columns.is_empty() && columns.iter().all(|i| group.iter().any(|g| g.1 == *i)) && !c.is_volatile()
            });
            let down = down.into_iter().map(|c| {
                c.substitute(&|i| match group.iter().find(|g| g.1 == i) {
                    Some((e, _)) => e.clone(),
                    None => Expr::null(),
                })
            });
            let input = push_down(*input, down.collect());
            filter(Plan::Aggregate { input: Box::new(input), group, aggs, merge }, stay)
        }
        Plan::Window { input, partition, order, calls } => {
            // Only whole partitions may be missing below: anything else would change what is counted in the others.
            let (down, stay) = self::partition(conditions, |c| window::is_of_partition(c, &partition));
            let input = Box::new(push_down(*input, down));
            filter(Plan::Window { input, partition, order, calls }, stay)
        }
        Plan::Distinct(input) => Plan::Distinct(Box::new(push_down(*input, conditions))),
        Plan::Sort { input, keys, limit: None } => {
            Plan::Sort { input: Box::new(push_down(*input, conditions)), keys, limit: None }
        }
        Plan::Union { inputs, ids } => {
            let inputs = inputs
                .into_iter()
                .map(|input| {
                    let outputs = input.outputs();
                    let mine = conditions.iter().map(|c| {
                        let types = super::plan::column_types(c);
                        c.substitute(&|i| match ids.iter().position(|id| *id == i) {
                            Some(at) => Expr::column(outputs[at], types[&i].clone()),
                            None => Expr::null(),
                        })
                    });
                    push_down(input, mine.collect())
                })
                .collect();
            Plan::Union { inputs, ids }
        }
        Plan::Apply { input, subquery } => {
            let slot = subquery.slot;
            let (stay, down) = partition(conditions, |c| c.columns().contains(&slot));
            let input = push_down(*input, down);
            filter(Plan::Apply { input: Box::new(input), subquery }, stay)
        }
        Plan::Scan(mut scan) => {
            let (down, stay) = partition(conditions, |c| !c.is_volatile());
            scan.filters.extend(down);
            filter(Plan::Scan(scan), stay)
        }
        Plan::Limit { input, offset, count } => {
            filter(Plan::Limit { input: Box::new(push_down(*input, Vec::new())), offset, count }, conditions)
        }
        Plan::Sort { input, keys, limit } => {
            filter(Plan::Sort { input: Box::new(push_down(*input, Vec::new())), keys, limit }, conditions)
        }
        leaf => filter(leaf, conditions),
    }
}

fn partition(list: Vec<Expr>, f: impl Fn(&Expr) -> bool) -> (Vec<Expr>, Vec<Expr>) {
    list.into_iter().partition(f)
}

/// A condition that no row with NULLs in all of these columns satisfies.
fn rejects_nulls(c: &Expr, ids: &HashSet<ColId>) -> bool {
    let Expr::Call(call) = c else { return false };
    let strict = match call.func {
        Func::Compare(op, ..) => op != CmpOp::NullEq,
        Func::In(..) | Func::Like(_) => true,
        _ => false,
    };
    fn direct(e: &Expr, ids: &HashSet<ColId>) -> bool {
        match e {
            Expr::Column { index, .. } => ids.contains(index),
            Expr::Call(call) => {
                matches!(call.func, Func::Cast | Func::Arith(..)) && call.args.iter().any(|a| direct(a, ids))
            }
            Expr::Const { .. } => false,
        }
    }
    let args = if matches!(call.func, Func::In(..)) { &call.args[..1] } else { &call.args[..] };
    strict && args.iter().any(|a| direct(a, ids))
}

fn push_join(
    kind: JoinKind,
    left: Plan,
    right: Plan,
    mut equal: Vec<(Expr, Expr)>,
    on: Vec<Expr>,
    lookup: Option<usize>,
    conditions: Vec<Expr>,
) -> Plan {
    let l: HashSet<ColId> = left.outputs().into_iter().collect();
    let r: HashSet<ColId> = right.outputs().into_iter().collect();
    let kind = match kind {
        JoinKind::Left if conditions.iter().any(|c| rejects_nulls(c, &r)) => JoinKind::Inner,
        kind => kind,
    };
    let (mut to_left, mut to_right, mut other, mut above) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut parts = Vec::new();
    for c in on {
        common_conditions::split(c, &mut parts);
    }
    let from_above = parts.len();
    parts.extend(conditions);
    for (i, c) in parts.into_iter().enumerate() {
        let is_on = i < from_above;
        if c.is_volatile() {
            if is_on {
                other.push(c)
            } else {
                above.push(c)
            }
            continue;
        }
        let (reads_left, reads_right) = (reads_only(&c, &l), reads_only(&c, &r));
        match kind {
            JoinKind::Inner if reads_left => to_left.push(c),
            JoinKind::Inner if reads_right => to_right.push(c),
            JoinKind::Left if !is_on && reads_left => to_left.push(c),
            JoinKind::Left if is_on && reads_right => to_right.push(c),
            JoinKind::Left if !is_on => above.push(c),
            _ => match equality(&c, &l, &r) {
                Some(pair) => equal.push(pair),
                None => other.push(c),
            },
        }
    }
    let join = Plan::Join {
        kind,
        left: Box::new(push_down(left, to_left)),
        right: Box::new(push_down(right, to_right)),
        equal,
        other,
        lookup,
    };
    filter(join, above)
}

/// `a = b` with one side of each input.
pub fn equality(c: &Expr, l: &HashSet<ColId>, r: &HashSet<ColId>) -> Option<(Expr, Expr)> {
    let Expr::Call(call) = c else { return None };
    let Func::Compare(CmpOp::Eq, domain, collation) = call.func else { return None };
    let [a, b] = &call.args[..] else { return None };
    // Each side carries the collation of the comparison.
    let side = |e: &Expr| match domain == query::expr::Domain::String && e.ty().collation != collation {
        true => query::infer::collate(e.clone(), collation),
        false => e.clone(),
    };
    if a.columns().is_empty() || b.columns().is_empty() {
        return None;
    }
    if reads_only(a, l) && reads_only(b, r) {
        return Some((side(a), side(b)));
    }
    (reads_only(a, r) && reads_only(b, l)).then(|| (side(b), side(a)))
}

// ---- Unread columns go ----

fn need(e: &Expr, set: &mut HashSet<ColId>) {
    set.extend(e.columns());
}

/// Drops what nothing above reads.
pub fn prune(plan: Plan, needed: &HashSet<ColId>) -> Plan {
    match plan {
        Plan::Project { input, exprs } => {
            let exprs: Vec<_> = exprs.into_iter().filter(|e| needed.contains(&e.1)).collect();
            let mut below = HashSet::new();
            exprs.iter().for_each(|e| need(&e.0, &mut below));
            Plan::Project { input: Box::new(prune(*input, &below)), exprs }
        }
        Plan::Filter { input, conditions } => {
            let mut below = needed.clone();
            conditions.iter().for_each(|c| need(c, &mut below));
            Plan::Filter { input: Box::new(prune(*input, &below)), conditions }
        }
        Plan::Sort { input, keys, limit } => {
            let mut below = needed.clone();
            keys.iter().for_each(|k| need(&k.expr, &mut below));
            Plan::Sort { input: Box::new(prune(*input, &below)), keys, limit }
        }
        Plan::Limit { input, offset, count } => Plan::Limit { input: Box::new(prune(*input, needed)), offset, count },
        // Every column decides which rows are distinct.
        Plan::Distinct(input) => {
            let all = input.outputs().into_iter().collect();
            Plan::Distinct(Box::new(prune(*input, &all)))
        }
        Plan::Union { inputs, ids } => {
            let inputs = inputs.into_iter().map(|i| {
                let all = i.outputs().into_iter().collect();
                prune(i, &all)
            });
            Plan::Union { inputs: inputs.collect(), ids }
        }
        Plan::Join { kind, left, right, equal, other, lookup } => {
            let mut below = needed.clone();
            for (a, b) in &equal {
                need(a, &mut below);
                need(b, &mut below);
            }
            other.iter().for_each(|c| need(c, &mut below));
            Plan::Join {
                kind,
                left: Box::new(prune(*left, &below)),
                right: Box::new(prune(*right, &below)),
                equal,
                other,
                lookup,
            }
        }
        Plan::Aggregate { input, group, aggs, merge } => {
            let aggs: Vec<_> = aggs.into_iter().filter(|a| needed.contains(&a.1)).collect();
            let mut below = HashSet::new();
            group.iter().for_each(|g| need(&g.0, &mut below));
            for (a, _) in &aggs {
                a.args.iter().for_each(|e| need(e, &mut below));
                a.order_by.iter().for_each(|k| need(&k.expr, &mut below));
            }
            Plan::Aggregate { input: Box::new(prune(*input, &below)), group, aggs, merge }
        }
        Plan::Window { input, partition, order, calls } => {
            let calls: Vec<_> = calls.into_iter().filter(|c| needed.contains(&c.1)).collect();
            if calls.is_empty() {
                return prune(*input, needed);
            }
            let mut below = needed.clone();
            partition.iter().for_each(|e| need(e, &mut below));
            order.iter().for_each(|k| need(&k.expr, &mut below));
            calls.iter().for_each(|c| below.extend(c.0.columns()));
            Plan::Window { input: Box::new(prune(*input, &below)), partition, order, calls }
        }
        Plan::Apply { input, mut subquery } => {
            if !needed.contains(&subquery.slot) {
                return prune(*input, needed);
            }
            let mut below = needed.clone();
            subquery.each_expr(&mut |e| below.extend(e.columns()));
            Plan::Apply { input: Box::new(prune(*input, &below)), subquery }
        }
        Plan::Scan(mut scan) => {
            let mut wanted = needed.clone();
            scan.filters.iter().for_each(|c| need(c, &mut wanted));
            scan.columns.retain(|c| wanted.contains(&c.1));
            // Rows to be locked are known by their handles.
            scan.handle = scan.handle.filter(|h| scan.lock.is_some() || wanted.contains(h));
            Plan::Scan(scan)
        }
        Plan::Memory { table, database, mut columns } => {
            columns.retain(|c| needed.contains(&c.1));
            Plan::Memory { table, database, columns }
        }
        Plan::Nothing(mut ids) => {
            ids.retain(|i| needed.contains(i));
            Plan::Nothing(ids)
        }
        Plan::Values { ids, rows } => {
            let keep: Vec<usize> = (0..ids.len()).filter(|i| needed.contains(&ids[*i])).collect();
            Plan::Values {
                ids: keep.iter().map(|i| ids[*i]).collect(),
                rows: rows.into_iter().map(|r| keep.iter().map(|i| r[*i].clone()).collect()).collect(),
            }
        }
        Plan::One => Plan::One,
    }
}

// ---- Access paths ----

/// A way to read a table.
pub struct Choice {
    /// The keys.
    pub access: Access,
    /// Positions of filters that the keys make true.
    pub consumed: HashSet<usize>,
    /// Rough number of rows.
    pub estimate: f64,
    /// The wanted order comes for free: `Some(descending)`.
    pub ordered: Option<bool>,
    cost: f64,
}

/// Intersection of what all filters say about a column: intervals, and which filters that were.
fn column_intervals(
    filters: &[Expr],
    id: ColId,
    zone: &TimeZone,
    ty: &codec::types::FieldType,
) -> (Option<Vec<Interval>>, Vec<usize>) {
    let mut intervals: Option<Vec<Interval>> = None;
    let mut used = Vec::new();
    for (i, f) in filters.iter().enumerate() {
        match ranges::restriction(f, id, zone) {
            None => {}
            Some(Restriction::Never) => {
                used.push(i);
                intervals = Some(Vec::new());
            }
            Some(Restriction::Exact(list)) => {
                used.push(i);
                intervals = Some(match intervals {
                    None => list,
                    Some(old) => ranges::intersect(&old, &list, ty),
                });
            }
        }
    }
    (intervals, used)
}

fn selectivity(intervals: &[Interval]) -> f64 {
    use super::ranges::Bound;
    intervals
        .iter()
        .map(|i| match (&i.low, &i.high) {
            _ if i.as_point().is_some() => 0.001,
            (Bound::Open, Bound::Open) => 1.0,
            (Bound::Excluded(Datum::Null), Bound::Open) => 1.0,
            (Bound::Open | Bound::Excluded(Datum::Null), _) | (_, Bound::Open) => 1.0 / 3.0,
            _ => 1.0 / 40.0,
        })
        .sum::<f64>()
        .min(1.0)
}

/// The cheapest way to read the rows that satisfy the filters, preferably in the wanted order.
pub fn choose_access(
    scan: &Scan,
    filters: &[Expr],
    wanted: &[(ColId, bool)],
    limit: Option<u64>,
    zone: &TimeZone,
) -> Choice {
    let table = &scan.table;
    let same_direction = wanted.windows(2).all(|w| w[0].1 == w[1].1);
    let desc = wanted.first().is_some_and(|w| w.1);
    let wanted_offsets: Option<Vec<usize>> = if wanted.is_empty() || !same_direction {
        None
    } else {
        wanted.iter().map(|(id, _)| scan.offset_of(*id)).collect()
    };
    // A sort costs as much as reading what it sorts.
    let finish = |mut c: Choice, remaining_filters: bool| {
        if c.ordered.is_some() {
            if let (Some(n), false) = (limit, remaining_filters) {
                c.cost = c.cost.min(c.cost / c.estimate.max(1.0) * n as f64 + 1.0);
            }
        } else if !wanted.is_empty() {
            c.cost += c.estimate;
        }
        c
    };
    let mut choices: Vec<Choice> = Vec::new();
    let allowed = |name: &str| {
        scan.hints.iter().all(|(kind, names)| {
            let named = names.iter().any(|n| n.eq_ignore_ascii_case(name));
            match kind {
                IndexHint::Use => named || names.is_empty() && name.eq_ignore_ascii_case("primary"),
                IndexHint::Ignore => !named,
            }
        })
    };

    // Everything, in handle order.
    let handle_column = table.handle_column();
    let handle_ordered = || {
        let offsets = wanted_offsets.as_ref()?;
        let column = handle_column?;
        // A handle of an unsigned column is not in its order.
        (!column.field_type.is_unsigned() && offsets.first() == Some(&column.offset)).then_some(desc)
    };
    let full = Choice {
        access: Access::Full,
        consumed: HashSet::new(),
        estimate: TABLE_ROWS,
        ordered: handle_ordered(),
        cost: TABLE_ROWS,
    };
    choices.push(finish(full, !filters.is_empty()));

    // The handle.
    if let Some(column) = handle_column
        && let Some(id) = scan.id_of(column.offset)
        && allowed("primary")
    {
        let (intervals, used) = column_intervals(filters, id, zone, &column.field_type);
        if let Some(intervals) = intervals {
            let consumed: HashSet<usize> = used.into_iter().collect();
            let rest = consumed.len() < filters.len();
            if intervals.is_empty() {
                return Choice { access: Access::Empty, consumed, estimate: 0.0, ordered: Some(desc), cost: 0.0 };
            }
            let points: Option<Vec<i64>> = intervals
                .iter()
                .map(|i| {
                    i.as_point()
                        .and_then(|d| d.as_i64().or(if let Datum::UInt(u) = d { Some(*u as i64) } else { None }))
                })
                .collect();
            match points {
                Some(mut points) => {
                    points.sort_unstable();
                    points.dedup();
                    // However long the list is, the table has no more rows.
                    let n = (points.len() as f64).min(TABLE_ROWS);
                    // Points are fetched together, so they come in their own order at no cost.
                    let ordered = if points.len() == 1 { Some(desc) } else { handle_ordered() };
                    if ordered == Some(true) {
                        points.reverse();
                    }
                    let access = Access::PointHandles(points);
                    choices.push(finish(Choice { access, consumed, estimate: n, ordered, cost: n * 0.5 }, rest));
                }
                None => {
                    if let Some(ranges) = handle_ranges(&intervals, column.field_type.is_unsigned()) {
                        let rows = (TABLE_ROWS * selectivity(&intervals)).max(1.0);
                        let ordered = handle_ordered();
                        choices.push(finish(
                            Choice { access: Access::Handles(ranges), consumed, estimate: rows, ordered, cost: rows },
                            rest,
                        ));
                    }
                }
            }
        }
    }

    for index in table.public_indexes().filter(|i| !i.invisible && allowed(i.name.as_str())) {
        if let Some(choice) = index_access(scan, index, filters, wanted_offsets.as_deref(), desc, zone) {
            if matches!(choice.access, Access::Empty) {
                return choice;
            }
            let rest = choice.consumed.len() < filters.len();
            choices.push(finish(choice, rest));
        }
    }
    let forced = scan.hints.iter().any(|(kind, names)| *kind == IndexHint::Use && !names.is_empty());
    if forced && choices.len() > 1 {
        choices.remove(0);
    }
    let mut best = choices.into_iter().reduce(|a, b| if b.cost < a.cost { b } else { a });
    if let Some(c) = &mut best
        && wanted.is_empty()
    {
        c.ordered = None;
    }
    best.unwrap_or(Choice {
        access: Access::Full,
        consumed: HashSet::new(),
        estimate: TABLE_ROWS,
        ordered: None,
        cost: TABLE_ROWS,
    })
}

fn handle_ranges(intervals: &[Interval], unsigned: bool) -> Option<Vec<(i64, i64)>> {
    use super::ranges::Bound;
    if unsigned {
        return None;
    }
    let mut out = Vec::new();
    for i in intervals {
        let low = match &i.low {
            Bound::Open | Bound::Excluded(Datum::Null) => i64::MIN,
            Bound::Included(d) => d.as_i64()?,
            Bound::Excluded(d) => match d.as_i64()?.checked_add(1) {
                Some(v) => v,
                None => continue,
            },
        };
        let high = match &i.high {
            Bound::Open => i64::MAX,
            Bound::Included(d) => d.as_i64()?,
            Bound::Excluded(d) => match d.as_i64()?.checked_sub(1) {
                Some(v) => v,
                None => continue,
            },
        };
        if low <= high {
            out.push((low, high));
        }
    }
    Some(out)
}

fn index_access(
    scan: &Scan,
    index: &IndexInfo,
    filters: &[Expr],
    wanted: Option<&[usize]>,
    desc: bool,
    zone: &TimeZone,
) -> Option<Choice> {
    let table = &scan.table;
    let mut combos: Vec<Vec<Datum>> = vec![Vec::new()];
    let mut consumed = HashSet::new();
    let mut tail: Option<(Vec<Interval>, &codec::types::FieldType)> = None;
    let mut rows = TABLE_ROWS;
    let mut depth = 0;
    let mut whole = true;
    for part in &index.columns {
        let column = table.columns.get(part.offset)?;
        let Some(id) = scan.id_of(part.offset) else {
            whole = false;
            break;
        };
        let (intervals, used) = column_intervals(filters, id, zone, &column.field_type);
        let Some(mut intervals) = intervals else {
            whole = false;
            break;
        };
        if intervals.is_empty() {
            let consumed = used.into_iter().collect();
            return Some(Choice { access: Access::Empty, consumed, estimate: 0.0, ordered: Some(desc), cost: 0.0 });
        }
        let cut = match part.length {
            Some(n) => {
                // The index holds a prefix: equal values have equal prefixes, and nothing more is known.
                if intervals.iter().any(|i| i.as_point().is_none()) {
                    whole = false;
                    break;
                }
                for i in &mut intervals {
                    if let Some(Datum::Bytes(b)) = i.as_point() {
                        *i = Interval::point(Datum::Bytes(
                            table::index_prefix_of(b, &column.field_type, n as usize).to_vec(),
                        ));
                    }
                }
                // Different values may have one prefix.
                intervals = ranges::union(intervals, &column.field_type);
                true
            }
            None => {
                consumed.extend(used);
                false
            }
        };
        depth += 1;
        let points: Option<Vec<Datum>> = intervals.iter().map(|i| i.as_point().cloned()).collect();
        match points {
            Some(points) if combos.len() == 1 || combos.len() * points.len() <= COMBINATIONS_MAX => {
                rows = (rows * 0.001 * points.len() as f64).min(TABLE_ROWS);
                combos = combos
                    .iter()
                    .flat_map(|c| {
                        points.iter().map(move |p| {
                            let mut c = c.clone();
                            c.push(p.clone());
                            c
                        })
                    })
                    .collect();
                if cut {
                    whole = false;
                    break;
                }
            }
            _ => {
                rows *= selectivity(&intervals);
                tail = Some((intervals, &column.field_type));
                whole = false;
                break;
            }
        }
    }
    let rows = rows.max(1.0);
    if whole && index.unique && combos.iter().flatten().all(|d| !d.is_null()) {
        let n = (combos.len() as f64).min(TABLE_ROWS / 2.0);
        let ordered = (combos.len() == 1).then_some(desc);
        let access = Access::PointIndex { index: index.id, keys: combos };
        return Some(Choice { access, consumed, estimate: n, ordered, cost: n * 1.5 });
    }

    // Does the order of the entries, after the columns that are fixed, begin with the wanted one?
    let ordered = wanted.and_then(|wanted| {
        if combos.len() > 1 || table.handle_column().is_some_and(|c| c.field_type.is_unsigned()) {
            return None;
        }
        let fixed = combos[0].len();
        let mut keys = index.columns.iter().enumerate();
        for offset in wanted {
            loop {
                match keys.next() {
                    Some((_, c)) if c.offset == *offset && c.length.is_none() => break,
                    Some((i, _)) if i < fixed => {}
                    _ => return None,
                }
            }
        }
        Some(desc)
    });
    let covering = scan.columns.iter().all(|(offset, _)| {
        table.handle_column().is_some_and(|c| c.offset == *offset)
            || index.columns.iter().any(|c| c.offset == *offset && c.length.is_none())
    });
    if depth == 0 && ordered.is_none() && !covering {
        return None;
    }
    let mut key_ranges = Vec::new();
    let mut words = Vec::new();
    let parts = sql_catalog::row::index_parts(table, index);
    for combo in &combos {
        let prefix = table::index_values_key(table.id, index.id, &parts[..combo.len()], combo).ok()?;
        match &tail {
            Some((intervals, ty)) => {
                key_ranges.extend(ranges::key_ranges(&prefix, intervals, ty).ok()?);
                words.push(ranges::words(combo, intervals));
            }
            None => {
                let end = codec::key::prefix_next(&prefix);
                key_ranges.push((prefix, end));
                words.push(match combo.is_empty() {
                    true => EVERYTHING.to_owned(),
                    false => {
                        ranges::words(&combo[..combo.len() - 1], &[Interval::point(combo[combo.len() - 1].clone())])
                    }
                });
            }
        }
    }
    key_ranges.sort();
    let cost = if covering { rows * 0.9 } else { rows * 3.0 + 5.0 };
    let words = if words.len() > 8 {
        format!("{}, …({} ranges)", words[..8].join(", "), words.len())
    } else {
        words.join(", ")
    };
    let access = Access::Index { index: index.id, ranges: key_ranges, words, covering };
    Some(Choice { access, consumed, estimate: rows, ordered, cost })
}

/// Replaces column numbers by positions in these outputs.
pub fn positions(outputs: &[ColId]) -> HashMap<ColId, usize> {
    outputs.iter().enumerate().map(|(i, id)| (*id, i)).collect()
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;

    use super::super::plan::{Frame, WindowCall, WindowFunc};
    use super::*;

    const G: ColId = 0;
    const V: ColId = 1;
    const RANK: ColId = 2;

    fn column(id: ColId) -> Expr {
        Expr::column(id, FieldType::bigint())
    }

    fn is(id: ColId, value: i64) -> Expr {
        query::infer::compare(CmpOp::Eq, column(id), Expr::constant(value)).unwrap()
    }

    fn key(id: ColId, desc: bool) -> SortKey {
        SortKey { expr: column(id), desc }
    }

    /// `RANK() OVER (PARTITION BY g ORDER BY v DESC)` over two columns of no rows.
    fn ranked() -> Plan {
        let func = WindowFunc::Rank;
        let call = WindowCall { func, args: Vec::new(), frame: Frame::whole(), ty: window::number_type() };
        Plan::Window {
            input: Box::new(Plan::Values { ids: vec![G, V], rows: Vec::new() }),
            partition: vec![column(G)],
            order: vec![key(V, true)],
            calls: vec![(call, RANK)],
        }
    }

    /// Names of nodes from the top, with what tells them apart.
    fn names(plan: &Plan) -> Vec<String> {
        let name = match plan {
            Plan::Window { .. } => "window".to_owned(),
            Plan::Filter { conditions, .. } => format!("filter {}", conditions.len()),
            Plan::Sort { keys, .. } => {
                format!("sort {:?}", keys.iter().map(|k| (k.expr.columns()[0], k.desc)).collect::<Vec<_>>())
            }
            Plan::Limit { count, .. } => format!("limit {count}"),
            Plan::Values { ids, .. } => format!("values {ids:?}"),
            other => format!("{other:?}"),
        };
        std::iter::once(name).chain(plan.inputs().into_iter().flat_map(names)).collect()
    }

    fn placed(plan: Plan) -> Vec<String> {
        let (mut columns, zone) = (Columns::default(), TimeZone::UTC);
        for name in ["g", "v", "rank"] {
            columns.add(name, FieldType::bigint());
        }
        let rules = Rules { columns: &columns, zone: &zone, dirty: &|_| false, pushable: &|_| false };
        names(&rules.optimize(plan))
    }

    #[test]
    fn only_conditions_on_partitions_go_below_a_window() {
        let conditions = vec![is(G, 1), is(V, 2), is(RANK, 1)];
        let plan = push_down(ranked(), conditions);
        assert_eq!(names(&plan), ["filter 2", "window", "filter 1", "values [0, 1]"]);
    }

    #[test]
    fn a_window_that_nobody_reads_is_gone() {
        assert_eq!(names(&prune(ranked(), &HashSet::from([V]))), ["values [1]"]);
        assert_eq!(names(&prune(ranked(), &HashSet::from([RANK]))), ["window", "values [0, 1]"]);
    }

    #[test]
    fn a_window_is_sorted_for_and_its_order_is_known() {
        assert_eq!(placed(ranked()), ["window", "sort [(0, false), (1, true)]", "values [0, 1]"]);
        let sorted = |keys| Plan::Sort { input: Box::new(ranked()), keys, limit: None };
        assert_eq!(placed(sorted(vec![key(G, false), key(V, true)])), placed(ranked()));
        assert_eq!(placed(sorted(vec![key(G, false)])), placed(ranked()));
        assert_eq!(placed(sorted(vec![key(G, true)]))[..2], ["sort [(0, true)]", "window"]);
    }

    #[test]
    fn a_limit_stays_above_a_window() {
        let plan = Plan::Limit { input: Box::new(ranked()), offset: 0, count: 1 };
        assert_eq!(placed(plan), ["limit 1", "window", "sort [(0, false), (1, true)]", "values [0, 1]"]);
    }
}
