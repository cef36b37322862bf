//! Common table expressions that are named more than once: planned and run once, for all who name them.
//!
//! ```text
//!   WITH c AS (…) SELECT … FROM c AS a JOIN c AS b …
//!
//!   Join ─┬─ Plan::Cte a ─┐
//!         └─ Plan::Cte b ─┴─▶ Shared c: its rows, computed when the first of them is asked for
//! ```
//!
//! The binder binds a CTE where it is first named and leaves a [`Plan::Cte`] there and wherever it is named again. What is
//! named once then takes the place of its name ([`merge_single`]) and is planned with the query around it, as a derived table
//! is. Of what stays shared no row is needed that all who read it leave out: what they all ask is asked inside
//! ([`ask_inside`]), too.

use std::collections::{HashMap, HashSet};

use query::expr::Expr;
use query::infer;

use crate::plan::{ColId, Columns, Plan, Shared, Subquery, reads_only};

/// The plans right below one, those of subqueries too.
fn below_mut(plan: &mut Plan) -> Vec<&mut Plan> {
    match plan {
        Plan::Apply { input, subquery } => vec![&mut **input, &mut subquery.plan],
        plan => plan.inputs_mut(),
    }
}

/// Counts how often each is named.
fn count(plan: &Plan, named: &mut HashMap<usize, usize>) {
    if let Plan::Cte(cte) = plan {
        *named.entry(cte.number).or_insert(0) += 1;
    }
    plan.below().into_iter().for_each(|p| count(p, named));
}

/// Puts what is named once where it is named, and drops what nobody names. What is left is in the order in which it was
/// bound: each names only those before it.
pub(crate) fn merge_single(
    plan: &mut Plan,
    subqueries: &mut [Subquery],
    shared: Vec<Shared>,
    columns: &Columns,
) -> Vec<Shared> {
    let mut named = HashMap::new();
    count(plan, &mut named);
    subqueries.iter().for_each(|s| count(&s.plan, &mut named));
    // From the last on, so that only what is itself named counts.
    for cte in shared.iter().rev() {
        if named.contains_key(&cte.number) {
            count(&cte.plan, &mut named);
        }
    }
    let mut single: HashMap<usize, Shared> = HashMap::new();
    let mut left = Vec::new();
    for mut cte in shared {
        let Some(times) = named.get(&cte.number) else { continue };
        put(&mut cte.plan, &mut single, columns);
        match times {
            1 => drop(single.insert(cte.number, cte)),
            _ => left.push(cte),
        }
    }
    put(plan, &mut single, columns);
    subqueries.iter_mut().for_each(|s| put(&mut s.plan, &mut single, columns));
    left
}

fn put(plan: &mut Plan, single: &mut HashMap<usize, Shared>, columns: &Columns) {
    if let Plan::Cte(cte) = plan
        && let Some(found) = single.remove(&cte.number)
    {
        *plan = if found.ids == cte.ids {
            found.plan
        } else {
            let exprs = found.ids.iter().zip(&cte.ids).map(|(from, to)| (columns.expr(*from), *to)).collect();
            Plan::Project { input: Box::new(found.plan), exprs }
        };
        return;
    }
    below_mut(plan).into_iter().for_each(|p| put(p, single, columns));
}

/// What those who read a CTE ask of its rows: of each reader the conditions, in the CTE's own columns. `None`: one asks for all.
type Asked = HashMap<usize, Option<Vec<Vec<Expr>>>>;

/// Collects what is asked right above each name. Conditions are to be as far down as they go.
pub(crate) fn collect(plan: &Plan, shared: &[Shared], asked: &mut Asked) {
    match plan {
        Plan::Filter { input, conditions } if matches!(**input, Plan::Cte(_)) => {
            if let Plan::Cte(cte) = &**input {
                note(cte, conditions, shared, asked);
            }
        }
        Plan::Cte(cte) => note(cte, &[], shared, asked),
        plan => plan.below().into_iter().for_each(|p| collect(p, shared, asked)),
    }
}

fn note(cte: &crate::plan::Cte, conditions: &[Expr], shared: &[Shared], asked: &mut Asked) {
    let Some(found) = shared.iter().find(|s| s.number == cte.number) else { return };
    let own: HashSet<ColId> = cte.ids.iter().copied().collect();
    let place = |id: ColId| cte.ids.iter().position(|i| *i == id);
    let inside = |c: &Expr| {
        // What is not known when the first reader asks cannot be asked then.
        let known = !c.is_volatile() && !c.columns().is_empty() && reads_only(c, &own);
        let types = crate::plan::column_types(c);
        known.then(|| c.substitute(&|id| Expr::column(place(id).map_or(id, |at| found.ids[at]), types[&id].clone())))
    };
    let conditions: Vec<Expr> = conditions.iter().filter_map(inside).collect();
    let all = asked.entry(cte.number).or_insert_with(|| Some(Vec::new()));
    match all {
        Some(all) if !conditions.is_empty() => all.push(conditions),
        all => *all = None,
    }
}

/// The condition that a row satisfies which any reader wants; `None` if one wants all.
pub(crate) fn ask_inside(number: usize, asked: &mut Asked) -> Option<Expr> {
    let readers = asked.remove(&number)??;
    let mut different: Vec<Expr> = Vec::new();
    for reader in readers {
        let all = Expr::conjunction(reader);
        if !different.contains(&all) {
            different.push(all);
        }
    }
    different.into_iter().reduce(infer::or)
}

/// Tells the names how many rows there are thought to be.
pub(crate) fn tell_rows(plan: &mut Plan, rows: &HashMap<usize, f64>) {
    if let Plan::Cte(cte) = plan
        && let Some(rows) = rows.get(&cte.number)
    {
        cte.rows = *rows;
    }
    below_mut(plan).into_iter().for_each(|p| tell_rows(p, rows));
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;

    use super::*;
    use crate::plan::Cte;

    fn cte(number: usize, ids: &[ColId]) -> Plan {
        let (name, alias) = ("c".into(), "c".into());
        Plan::Cte(Box::new(Cte { number, name, alias, ids: ids.to_vec(), rows: 1.0 }))
    }

    fn union(a: Plan, b: Plan, id: ColId) -> Plan {
        Plan::Union { inputs: vec![a, b], ids: vec![id] }
    }

    fn shared(number: usize, plan: Plan) -> Shared {
        Shared { number, name: "c".into(), ids: plan.outputs(), plan }
    }

    #[test]
    fn only_what_is_named_more_than_once_is_shared() {
        let mut columns = Columns::default();
        for _ in 0..9 {
            columns.add("x", FieldType::bigint());
        }
        let values = |id| Plan::Values { ids: vec![id], rows: Vec::new() };
        // 0 is named by 1, which is named twice; 2 is named under other columns; nobody names 3, which names 2 as well.
        let list = vec![
            shared(0, values(0)),
            shared(1, cte(0, &[0])),
            shared(2, values(3)),
            shared(3, union(cte(2, &[3]), cte(2, &[7]), 8)),
        ];
        let mut plan = union(union(cte(1, &[0]), cte(1, &[4]), 5), cte(2, &[6]), 2);
        let left = merge_single(&mut plan, &mut [], list, &columns);
        assert_eq!(left.iter().map(|s| s.number).collect::<Vec<_>>(), [1]);
        assert!(matches!(left[0].plan, Plan::Values { .. }), "{:?}", left[0].plan);
        assert!(matches!(&plan, Plan::Union { inputs, .. } if matches!(inputs[1], Plan::Project { .. })), "{plan:?}");
    }

    #[test]
    fn rows_that_no_reader_wants_are_not_made() {
        let more = |id, than: i64| {
            let column = Expr::column(id, FieldType::bigint());
            infer::compare(query::expr::CmpOp::Gt, column, Expr::constant(than)).unwrap()
        };
        let filter = |plan, c| Plan::Filter { input: Box::new(plan), conditions: vec![c] };
        let list = [shared(0, Plan::Values { ids: vec![0], rows: Vec::new() })];
        let ask = |plan: &Plan| {
            let mut asked = HashMap::new();
            collect(plan, &list, &mut asked);
            ask_inside(0, &mut asked)
        };
        let (a, b) = (filter(cte(0, &[0]), more(0, 1)), filter(cte(0, &[4]), more(4, 5)));
        assert_eq!(ask(&union(a.clone(), b, 5)), Some(infer::or(more(0, 1), more(0, 5))));
        assert_eq!(ask(&union(a.clone(), filter(cte(0, &[4]), more(4, 1)), 5)), Some(more(0, 1)));
        assert_eq!(ask(&union(a.clone(), cte(0, &[4]), 5)), None);
        assert_eq!(ask(&union(a, filter(cte(0, &[4]), more(9, 1)), 5)), None, "a row outside is not known inside");
    }
}
