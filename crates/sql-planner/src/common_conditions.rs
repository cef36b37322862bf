//! Conditions that all branches of an OR have in common are taken out of it: `(a AND b) OR (a AND c)` is `a AND (b OR c)`,
//! also with NULLs. Outside, such a condition can be a join's key or choose a table's keys; inside it is only a filter.

use query::expr::{Expr, Func};

/// The conditions that an AND joins, through all levels, with common ones taken out of ORs.
pub fn split(condition: Expr, out: &mut Vec<Expr>) {
    let mut parts = Vec::new();
    condition.split_and(&mut parts);
    for part in parts {
        match take_out(&part) {
            Some((common, rest)) => {
                common.into_iter().for_each(|c| split(c, out));
                out.extend(rest);
            }
            None => out.push(part),
        }
    }
}

/// What all branches have in common, and the OR of what is left of them, if that is not true anyway.
fn take_out(condition: &Expr) -> Option<(Vec<Expr>, Option<Expr>)> {
    let Expr::Call(call) = condition else { return None };
    if call.func != Func::Or || condition.is_volatile() {
        return None;
    }
    let mut branches = Vec::new();
    let mut rest = vec![condition];
    while let Some(e) = rest.pop() {
        match e {
            Expr::Call(call) if call.func == Func::Or => rest.extend(call.args.iter().rev()),
            e => {
                let mut parts = Vec::new();
                e.clone().split_and(&mut parts);
                branches.push(parts);
            }
        }
    }
    let (first, others) = branches.split_first()?;
    let mut common: Vec<Expr> = Vec::new();
    for c in first {
        if !common.contains(c) && others.iter().all(|branch| branch.contains(c)) {
            common.push(c.clone());
        }
    }
    if common.is_empty() {
        return None;
    }
    let mut left = Vec::new();
    for mut branch in branches {
        branch.retain(|c| !common.contains(c));
        let and =
            |parts: Vec<Expr>| parts.into_iter().reduce(|a, b| Expr::call(Func::And, vec![a, b], call.ty.clone()));
        match and(branch) {
            Some(e) => left.push(e),
            // A branch that asks for nothing else: the others add nothing.
            None => return Some((common, None)),
        }
    }
    let rest = left.into_iter().reduce(|a, b| Expr::call(Func::Or, vec![a, b], call.ty.clone()));
    Some((common, rest))
}

#[cfg(test)]
mod tests {
    use codec::datum::Datum;
    use codec::types::FieldType;
    use query::expr::CmpOp;
    use query::infer::{and, compare, or};

    use super::*;

    fn is(column: usize, value: i64) -> Expr {
        compare(CmpOp::Eq, Expr::column(column, FieldType::bigint()), Expr::constant(Datum::Int(value))).unwrap()
    }

    fn parts(condition: Expr) -> Vec<Expr> {
        let mut out = Vec::new();
        split(condition, &mut out);
        out
    }

    #[test]
    fn what_all_branches_ask_for_comes_out() {
        let c = or(or(and(is(0, 1), is(1, 1)), and(is(1, 2), is(0, 1))), and(and(is(2, 3), is(0, 1)), is(1, 3)));
        let rest = or(or(is(1, 1), is(1, 2)), and(is(2, 3), is(1, 3)));
        assert_eq!(parts(c), [is(0, 1), rest]);
    }

    #[test]
    fn a_branch_that_asks_for_nothing_else_decides() {
        assert_eq!(parts(or(is(0, 1), and(is(0, 1), is(1, 2)))), [is(0, 1)]);
    }

    #[test]
    fn nothing_in_common_stays() {
        let c = or(and(is(0, 1), is(1, 1)), and(is(0, 2), is(1, 1)));
        assert_eq!(parts(c.clone()), [is(1, 1), or(is(0, 1), is(0, 2))]);
        let c = or(is(0, 1), is(1, 1));
        assert_eq!(parts(c.clone()), [c]);
    }
}
