//! Rules that make a bound plan cheap ([`optimize`]), in this order:
//!
//! 1. CTEs that are named once take the place of their names ([`shared`]), subqueries that are conditions become joins
//!    ([`unnest`]);
//! 2. conditions move down to where their columns come from; pairs of equal columns become join keys ([`push_down`]);
//! 3. inner joins are ordered ([`join_order`]);
//! 4. columns and window functions that nobody reads are not computed ([`prune`]);
//! 5. each scan chooses its keys: points, ranges of the handle, an index, or everything ([`crate::access`]); an order that
//!    the keys have anyway replaces a sort; limits, orders and filters go to the storage nodes.
//!
//! A plan is made of the statement, the schema in its tree and the settings, and of nothing else: no snapshot, no row, no
//! moment. A subquery's plan is made once, with parameters for what it reads of the rows around it; so is the side of a
//! join that is looked up, with a parameter for the keys. Whether a transaction has changed rows that the plan reads is a
//! matter of the run: then the executor does what storage nodes would have done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::TypeCode;
use query::context::TimeZone;
use query::expr::{CmpOp, Expr, Func, Param};
use statistics::Statistics;

use super::access::{EVERYTHING, choose_access};
use super::decorrelate::Decorrelate;
use super::estimate::{LOOKUP_ROW, LOOKUP_START, estimate, rows_of_a_key};
use super::expr::equality;
use super::plan::{
    Access, ColId, Columns, IndexHint, JoinKind, JoinWay, Logical, Path, Physical, Plan, PushedAgg, Scan, Shared,
    SortKey, Subquery, SubqueryKind, bind_values, reads_only,
};
use super::{common_conditions, join_order, shared, unnest, window};

mod merge_join;

/// What plans depend on beside statement and schema.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The session's zone: TIMESTAMP keys are in UTC.
    pub zone: TimeZone,
    /// What is known of tables' values.
    pub statistics: Arc<Statistics>,
}

/// The plan of a statement.
pub fn optimize(logical: Logical, settings: &Settings) -> Physical {
    let Logical { mut plan, mut subqueries, shared, columns } = logical;
    let columns: Arc<Columns> = columns.into();
    let rules = Rules { zone: &settings.zone, statistics: &settings.statistics, columns: &columns };
    let mut shared = shared::merge_single(&mut plan, &mut subqueries, shared, &columns);
    let slots = slots(&subqueries, &columns);
    let unnested = |plan: &mut Plan| {
        let reads = unnest::reads(plan);
        *plan = unnest::unnest(std::mem::take(plan), &reads);
    };
    unnested(&mut plan);
    subqueries.iter_mut().for_each(|subquery| unnested(&mut subquery.plan));
    shared.iter_mut().for_each(|cte| unnested(&mut cte.plan));
    if !shared.is_empty() {
        ask_inside(&mut plan, &mut subqueries, &mut shared);
    }
    let mut rows = HashMap::new();
    for cte in &mut shared {
        shared::tell_rows(&mut cte.plan, &rows);
        cte.plan.each_expr(&mut |e| bind_values(e, &slots));
        cte.plan = rules.optimize(std::mem::take(&mut cte.plan));
        rows.insert(cte.number, estimate(&cte.plan));
    }
    for subquery in &mut subqueries {
        shared::tell_rows(&mut subquery.plan, &rows);
        subquery.each_expr(&mut |e| bind_values(e, &slots));
        subquery.plan = rules.optimize(std::mem::take(&mut subquery.plan));
    }
    shared::tell_rows(&mut plan, &rows);
    plan.each_expr(&mut |e| bind_values(e, &slots));
    let plan = rules.optimize(plan);
    Physical { plan, subqueries, shared, columns }
}

/// Moves what all who name a CTE ask of its rows into it.
fn ask_inside(plan: &mut Plan, subqueries: &mut [Subquery], ctes: &mut [Shared]) {
    let mut asked = HashMap::new();
    let readers = std::iter::once(plan).chain(subqueries.iter_mut().map(|s| &mut s.plan));
    for reader in readers {
        *reader = push_down(std::mem::take(reader), Vec::new());
        shared::collect(reader, ctes, &mut asked);
    }
    for at in (0..ctes.len()).rev() {
        let conditions = shared::ask_inside(ctes[at].number, &mut asked).into_iter().collect();
        ctes[at].plan = push_down(std::mem::take(&mut ctes[at].plan), conditions);
        shared::collect(&ctes[at].plan, ctes, &mut asked);
    }
}

/// The parameters that stand for what subqueries answer, by the columns that stood for it.
pub fn slots(subqueries: &[Subquery], columns: &Columns) -> HashMap<ColId, Expr> {
    let slot = |s: &Subquery| {
        let many = matches!(s.kind, SubqueryKind::List { .. });
        (s.slot, Expr::Param(Box::new(Param { many, ..Param::one(s.slot, columns.ty(s.slot).clone()) })))
    };
    subqueries.iter().map(slot).collect()
}

/// A parameter for each column of `input` that an inner plan reads, whose expressions `each` visits.
fn params_of(input: &Plan, each: impl FnOnce(&mut dyn FnMut(&mut Expr))) -> HashMap<ColId, Expr> {
    let own: HashSet<ColId> = input.outputs().into_iter().collect();
    let mut params = HashMap::new();
    each(&mut |e| {
        e.walk(&mut |e| {
            if let Expr::Column { index, ty, .. } = e
                && own.contains(index)
            {
                params.entry(*index).or_insert_with(|| Expr::Param(Box::new(Param::one(*index, ty.clone()))));
            }
        });
    });
    params
}

/// The rules, with what they may ask.
struct Rules<'a> {
    zone: &'a TimeZone,
    statistics: &'a Statistics,
    columns: &'a Columns,
}

impl Rules<'_> {
    /// Applies all rules.
    fn optimize(&self, mut plan: Plan) -> Plan {
        attach(&mut plan, self.statistics);
        let plan = push_down(plan, Vec::new());
        let prepare = |mut plan: Plan| {
            attach(&mut plan, self.statistics);
            push_down(plan, Vec::new())
        };
        let plan = Decorrelate { columns: self.columns, zone: self.zone, prepare: &prepare }.apply(plan);
        let plan = join_order::order_joins(plan, self.zone);
        let needed: HashSet<ColId> = plan.outputs().into_iter().collect();
        let plan = prune(plan, &needed);
        self.place(plan, None)
    }

    /// Whether storage nodes can tell the value of an expression. They know offsets, not rules of zones.
    fn pushable(&self, e: &Expr) -> bool {
        let fixed = matches!(self.zone, TimeZone::Fixed(_));
        !e.is_volatile() && (fixed || !query::pb::uses_timestamp(e)) && query::pb::can_push(e)
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
                // As it was, a scan may still be read in another order.
                let unplaced = [&*left, &*right].map(|side| bare_scan(side).cloned());
                let left = self.place(*left, None);
                let right = self.place(*right, None);
                self.place_join(kind, (left, right), unplaced, equal, other)
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
            Plan::Expand { input, group, level } => {
                Plan::Expand { input: Box::new(self.place(*input, None)), group, level }
            }
            Plan::Recursive(mut recursive) => {
                recursive.inputs = recursive.inputs.into_iter().map(|i| self.place(i, None)).collect();
                Plan::Recursive(recursive)
            }
            Plan::Repeat { input, times } => Plan::Repeat { input: Box::new(self.place(*input, None)), times },
            Plan::Apply { input, subquery } => {
                let input = Box::new(self.place(*input, None));
                Plan::Apply { subquery: Box::new(self.place_subquery(*subquery, &input)), input }
            }
            Plan::Lateral { left, right, outer } => {
                let left = Box::new(self.place(*left, None));
                let mut right = *right;
                let params = params_of(&left, |f| right.each_expr(f));
                right.each_expr(&mut |e| bind_values(e, &params));
                Plan::Lateral { right: Box::new(self.optimize(right)), left, outer }
            }
            leaf => leaf,
        }
    }

    /// The subquery with its own plan, in which what it reads of the rows around it are parameters.
    fn place_subquery(&self, mut subquery: Subquery, input: &Plan) -> Subquery {
        let params = params_of(input, |f| subquery.each_expr(f));
        subquery.each_expr(&mut |e| bind_values(e, &params));
        Subquery { plan: self.optimize(subquery.plan), ..subquery }
    }

    fn place_join(
        &self,
        kind: JoinKind,
        (left, right): (Plan, Plan),
        unplaced: [Option<Scan>; 2],
        equal: Vec<(Expr, Expr)>,
        other: Vec<Expr>,
    ) -> Plan {
        let merged = self.place_merge(kind, (&left, &right), &unplaced, (&equal, &other));
        if let Some((plan, true)) = merged {
            return plan;
        }
        let (l, r) = (estimate(&left), estimate(&right));
        let wish = |side: &Plan| bare_scan(side).and_then(|scan| scan.join_hint.lookup);
        // What is to be looked up goes to the right, and what is not goes to the left, whichever is larger.
        let turn = match (wish(&left), wish(&right)) {
            (Some(true), Some(true)) | (None, None) => l > r,
            (Some(true), _) => true,
            (_, Some(true)) => false,
            (Some(false), None) => false,
            (_, Some(false)) => l > r,
        };
        let (left, right, equal) =
            if kind == JoinKind::Inner && turn && !equal.is_empty() && lookup_key(&left, &equal, true).is_some() {
                // The large side that can be looked up goes to the right.
                (right, left, equal.into_iter().map(|(a, b)| (b, a)).collect())
            } else {
                (left, right, equal)
            };
        let (l, r) = (estimate(&left), estimate(&right));
        let lookup = lookup_key(&right, &equal, false).filter(|at| {
            if let Some(wish) = bare_scan(&right).and_then(|scan| scan.join_hint.lookup) {
                return wish;
            }
            // Without statistics a lookup must be better by far: the rows of a key may be many.
            match bare_scan(&right).and_then(|scan| Some((scan.known.rows(), rows_of_a_key(scan, &equal[*at].1)?))) {
                Some((all, of_a_key)) => l * (LOOKUP_START + of_a_key * LOOKUP_ROW) < all + r,
                None => l * 20.0 < r,
            }
        });
        if let Some(pair) = lookup
            && let Plan::Scan(scan) = &right
            && let Some(scan) = self.place_lookup(scan, &equal[pair].1)
        {
            let right = Box::new(Plan::Scan(Box::new(scan)));
            return Plan::Join { kind, left: Box::new(left), right, equal, other, way: JoinWay::Lookup(pair) };
        }
        if let Some((plan, _)) = merged {
            return plan;
        }
        // A hash table over the smaller side.
        let (left, right, equal) = if kind == JoinKind::Inner && l < r {
            (right, left, equal.into_iter().map(|(a, b)| (b, a)).collect())
        } else {
            (left, right, equal)
        };
        Plan::Join { kind, left: Box::new(left), right: Box::new(right), equal, other, way: JoinWay::Hash }
    }

    /// A scan of whose rows those are read that have some values in a column: a parameter with the number of the column,
    /// of as many values as the other side of the join has at a time.
    fn place_lookup(&self, scan: &Scan, column: &Expr) -> Option<Scan> {
        let Expr::Column { index, ty, .. } = column else { return None };
        let keys = Expr::Param(Box::new(Param { many: true, ..Param::one(*index, ty.clone()) }));
        let keys = query::infer::in_list(column.clone(), vec![keys]).ok()?;
        let mut scan = scan.clone();
        let estimate = scan.estimate;
        // Conditions that were placed already go back, beside the keys.
        scan.filters = std::mem::take(&mut scan.pushed.filters);
        scan.filters.append(&mut scan.residual);
        scan.filters.push(keys.clone());
        // The keys are one index's: another would have to be read anew for each batch of them.
        scan.hints.push((IndexHint::Apart, Vec::new()));
        // That the keys are looked up is settled, however many rows they have.
        let known = std::mem::take(&mut scan.known);
        let (mut scan, _) = self.place_scan(scan, &[], None);
        scan.known = known;
        let by_keys = matches!(&scan.access, Access::Late(late) if late.conditions.contains(&keys));
        // Where the keys do not make it true, the join does.
        scan.pushed.filters.retain(|f| *f != keys);
        scan.residual.retain(|f| *f != keys);
        scan.estimate = estimate;
        by_keys.then_some(scan)
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
                if scan.residual.is_empty()
                    && scan.pushed.aggregate.is_none()
                    && !scan.access.is_points()
                    && !scan.access.is_lookup()
                    && limit <= 10_000
                    && keys.iter().all(|k| self.pushable(&k.expr))
                {
                    scan.pushed.topn = Some((keys.to_vec(), limit));
                }
                Plan::Scan(scan)
            }
            other => other,
        }
    }

    /// Chooses the keys of a scan and says whether its rows come in the wanted order.
    fn place_scan(&self, mut scan: Scan, wanted: &[(ColId, bool)], limit: Option<u64>) -> (Scan, bool) {
        let filters = std::mem::take(&mut scan.filters);
        scan.note_partitions(&filters, self.zone);
        // Rows of several partitions are in no order together.
        let in_order = if scan.is_spread() { &[] } else { wanted };
        let choice =
            choose_access(&scan, &filters, in_order, limit.filter(|_| in_order.len() == wanted.len()), self.zone);
        scan.access = choice.access;
        scan.estimate = choice.estimate;
        scan.order = choice.ordered;
        for (i, f) in filters.into_iter().enumerate() {
            if choice.consumed.contains(&i) {
                continue;
            }
            if self.pushable(&f) {
                scan.pushed.filters.push(f);
            } else {
                scan.residual.push(f);
            }
        }
        if !scan.pushed.filters.is_empty() || !scan.residual.is_empty() {
            scan.estimate = match choice.result {
                Some(result) => result.min(scan.estimate).max(1.0),
                None => (scan.estimate * 0.8).max(1.0),
            };
        }
        let enough = wanted.is_empty() || (choice.ordered.is_some() && in_order.len() == wanted.len());
        if scan.residual.is_empty() && enough {
            scan.pushed.limit = limit;
            if let Some(n) = limit {
                scan.estimate = scan.estimate.min(n as f64);
            }
        }
        let ordered = choice.ordered.is_some() && in_order.len() == wanted.len();
        (scan, ordered)
    }
}

/// Gives the scans what is known of their tables.
fn attach(plan: &mut Plan, statistics: &Statistics) {
    if let Plan::Scan(scan) = plan
        && let Some(known) = statistics.tables().get(&scan.table.id)
    {
        scan.known = Arc::clone(known);
    }
    plan.inputs_mut().into_iter().for_each(|input| attach(input, statistics));
}

/// Lets the storage nodes aggregate what they scan, when they can.
fn push_aggregate(plan: Plan, rules: &Rules<'_>) -> Plan {
    let Plan::Aggregate { mut input, group, aggs, merge: false } = plan else { return plan };
    let fits = match &*input {
        Plan::Scan(scan) => {
            let ranges = match &scan.access {
                Access::Full | Access::Handles(_) => true,
                Access::Index { covering, .. } => *covering,
                Access::Late(late) => match late.path {
                    Path::Handle { points } => !points,
                    Path::Index { points, covering, .. } => !points && covering,
                },
                _ => false,
            };
            ranges
                && scan.lock.is_none()
                && scan.residual.is_empty()
                && scan.pushed.limit.is_none()
                && scan.pushed.topn.is_none()
                && scan.order.is_none()
                && group.iter().all(|g| rules.pushable(&g.0))
                && aggs.iter().all(|(a, _)| {
                    !a.distinct
                        && matches!(a.name.as_str(), "count" | "sum" | "min" | "max" | "firstrow")
                        && a.args.len() <= 1
                        && !matches!(a.ty.tp, TypeCode::Json | TypeCode::Enum | TypeCode::Set | TypeCode::Bit)
                        && a.args.iter().all(|e| rules.pushable(e))
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
        let same = query::types::Physical::of(ty) == query::types::Physical::of(outer.ty())
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
        Plan::Join { kind, left, right, equal, other, way } => {
            push_join(kind, *left, *right, equal, other, way, conditions)
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
        // What is true of a key that is left out says nothing of the row.
        Plan::Expand { input, group, level } => {
            filter(Plan::Expand { input: Box::new(push_down(*input, Vec::new())), group, level }, conditions)
        }
        // A row that is not wanted may be what others come from.
        Plan::Recursive(mut recursive) => {
            recursive.inputs = recursive.inputs.into_iter().map(|i| push_down(i, Vec::new())).collect();
            filter(Plan::Recursive(recursive), conditions)
        }
        Plan::Repeat { input, times } => {
            let (stay, down) = partition(conditions, Expr::is_volatile);
            filter(Plan::Repeat { input: Box::new(push_down(*input, down)), times }, stay)
        }
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
        Plan::Lateral { left, right, outer } => {
            let ids: HashSet<ColId> = left.outputs().into_iter().collect();
            let (down, stay) = partition(conditions, |c| !c.is_volatile() && reads_only(c, &ids));
            let (inside, stay) = partition(stay, |c| !outer && !c.is_volatile());
            let (left, right) = (push_down(*left, down), filter(*right, inside));
            filter(Plan::Lateral { left: Box::new(left), right: Box::new(right), outer }, stay)
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
            Expr::Const { .. } | Expr::Param(_) => false,
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
    way: JoinWay,
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
            // A row that the condition excludes matches nothing; of an anti join it is kept for that.
            JoinKind::Semi if reads_left => to_left.push(c),
            JoinKind::Anti if !is_on && reads_left => to_left.push(c),
            JoinKind::Semi | JoinKind::Anti if reads_right => to_right.push(c),
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
        way,
    };
    filter(join, above)
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
        Plan::Expand { input, group, level } => {
            let mut below = needed.clone();
            group.iter().for_each(|g| need(&g.0, &mut below));
            Plan::Expand { input: Box::new(prune(*input, &below)), group, level }
        }
        // Every column may be what the next round reads.
        Plan::Recursive(mut recursive) => {
            let inputs = recursive.inputs.into_iter().map(|i| {
                let all = i.outputs().into_iter().collect();
                prune(i, &all)
            });
            recursive.inputs = inputs.collect();
            Plan::Recursive(recursive)
        }
        table @ (Plan::WorkTable { .. } | Plan::Cte(_)) => table,
        Plan::Repeat { input, times } => {
            let mut below = needed.clone();
            need(&times, &mut below);
            Plan::Repeat { input: Box::new(prune(*input, &below)), times }
        }
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
        Plan::Join { kind, left, right, equal, other, way } => {
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
                way,
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
        Plan::Lateral { left, mut right, outer } => {
            let mut below = needed.clone();
            right.each_expr(&mut |e| below.extend(e.columns()));
            Plan::Lateral { left: Box::new(prune(*left, &below)), right, outer }
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

/// Replaces column numbers by positions in these outputs.
pub fn positions(outputs: &[ColId]) -> HashMap<ColId, usize> {
    outputs.iter().enumerate().map(|(i, id)| (*id, i)).collect()
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;

    use super::super::plan::{Frame, WindowCall, WindowFunc};
    use super::*;

    fn rows(ids: Vec<ColId>) -> Plan {
        let rows = vec![ids.iter().map(|_| Expr::constant(1_i64)).collect()];
        Plan::Values { ids, rows }
    }

    fn positive(id: ColId) -> Expr {
        let column = Expr::column(id, FieldType::bigint());
        query::infer::compare(CmpOp::Gt, column, Expr::constant(0_i64)).unwrap()
    }

    /// Whether a condition over the plan stays right over it.
    fn stays(plan: Plan, condition: Expr) -> bool {
        let is_it = |p: &Plan| std::mem::discriminant(p) == std::mem::discriminant(&plan);
        match push_down(filter(plan.clone(), vec![condition]), Vec::new()) {
            Plan::Filter { input, .. } => is_it(&input),
            _ => false,
        }
    }

    #[test]
    fn conditions_go_below_a_repetition() {
        let repeat = Plan::Repeat { input: Box::new(rows(vec![1, 2])), times: Expr::column(2, FieldType::bigint()) };
        assert!(!stays(repeat, positive(1)));
    }

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
        let rules = Rules { zone: &TimeZone::UTC, statistics: &Statistics::default(), columns: &Columns::default() };
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
