//! Comparisons, IN, BETWEEN, LIKE, ANY and ALL.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::{Collation, FieldType, TypeCode};

use super::cast::{cast_to, is_bit_literal, to_eval_type};
use super::collation::merge_collations;
use super::logic::{and, any, every, not, or};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::expr::{CmpOp, Expr, Func};
use crate::types::{EvalType, bool_type, span_type};

/// A string constant that is exactly an integer or decimal, as the number.
fn exact_number(e: &Expr) -> Option<Decimal> {
    match e.as_const()? {
        Datum::Bytes(b) => std::str::from_utf8(b).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// Whether a constant, which is a number, is a day or time of that type.
fn names_time(e: &Expr, ty: &FieldType) -> bool {
    e.as_const().is_some_and(|number| {
        let mut strict = EvalContext::default();
        crate::value::cast(number.clone(), e.ty(), ty, &mut strict).is_ok_and(|time| !time.is_null())
            && strict.warning_count == 0
    })
}

/// The domain in which two expressions are compared.
pub fn comparison_type(a: &Expr, b: &Expr) -> EvalType {
    let (ta, tb) = (a.ty(), b.ty());
    let (da, db) = (EvalType::of(ta), EvalType::of(tb));
    if ta.tp == TypeCode::Null {
        return db;
    }
    if tb.tp == TypeCode::Null {
        return da;
    }
    // YEAR compares as the number; ENUM and SET with numbers as their numbers.
    match (da, db) {
        (EvalType::Json, _) | (_, EvalType::Json) => EvalType::Json,
        (x, y) if x == y => x,
        (EvalType::String, n) | (n, EvalType::String)
            if matches!(n, EvalType::Int | EvalType::Decimal | EvalType::Real) =>
        {
            let (text, number) = if da == EvalType::String { (a, b) } else { (b, a) };
            if is_bit_literal(text) {
                return n;
            }
            if matches!(text.ty().tp, TypeCode::Enum | TypeCode::Set) {
                return if n == EvalType::Int { EvalType::Int } else { EvalType::Real };
            }
            // An exact constant keeps the comparison exact, and an index on the column usable.
            match (exact_number(text), n) {
                (Some(d), EvalType::Int) if d.to_i64().is_ok() && d.truncate(0) == d => EvalType::Int,
                (Some(_), EvalType::Int | EvalType::Decimal) if number.as_const().is_none() => EvalType::Decimal,
                _ => EvalType::Real,
            }
        }
        (EvalType::Time, EvalType::String) | (EvalType::String, EvalType::Time) => EvalType::Time,
        (EvalType::Duration, EvalType::String) | (EvalType::String, EvalType::Duration) => EvalType::Duration,
        (EvalType::Time, EvalType::Duration) | (EvalType::Duration, EvalType::Time) => EvalType::Time,
        // A number that names a day or a time is compared as one, which keeps an index usable.
        (EvalType::Time, _) if names_time(b, &FieldType::datetime(6)) => EvalType::Time,
        (_, EvalType::Time) if names_time(a, &FieldType::datetime(6)) => EvalType::Time,
        (EvalType::Duration, _) if names_time(b, &span_type()) => EvalType::Duration,
        (_, EvalType::Duration) if names_time(a, &span_type()) => EvalType::Duration,
        (EvalType::Int, EvalType::Decimal) | (EvalType::Decimal, EvalType::Int) => EvalType::Decimal,
        _ => EvalType::Real,
    }
}

/// `a op b`.
pub fn compare(op: CmpOp, a: Expr, b: Expr) -> Result<Expr> {
    let domain = comparison_type(&a, &b);
    let collation = match domain {
        EvalType::String => merge_collations([&a, &b], op.symbol())?,
        _ => Collation::BINARY,
    };
    let args = vec![compare_side(a, domain), compare_side(b, domain)];
    Ok(Expr::call(Func::Compare(op, domain, collation), args, bool_type()))
}

/// As [`to_eval_type`]; but beside JSON text is a JSON string, and no document to parse.
fn compare_side(e: Expr, domain: EvalType) -> Expr {
    match domain {
        EvalType::Json if !matches!(e.ty().tp, TypeCode::Json | TypeCode::Null) => {
            Expr::call(Func::JsonAtom, vec![e], FieldType::new(TypeCode::Json))
        }
        // Whatever fraction a second has in it, it counts.
        EvalType::Time if matches!(e, Expr::Param(_)) && e.ty().tp.is_string() => cast_to(e, FieldType::datetime(6)),
        EvalType::Duration if matches!(e, Expr::Param(_)) && e.ty().tp.is_string() => cast_to(e, span_type()),
        _ => to_eval_type(e, domain),
    }
}

/// `(a1, a2, …) op (b1, b2, …)`: equality by parts, order lexicographically.
pub fn compare_rows(op: CmpOp, a: Vec<Expr>, b: Vec<Expr>) -> Result<Expr> {
    if a.len() != b.len() || a.is_empty() {
        return Err(EvalError::Operand(a.len()));
    }
    let pairs = a.into_iter().zip(b);
    match op {
        CmpOp::Eq | CmpOp::NullEq => {
            let parts = pairs.map(|(x, y)| compare(op, x, y)).collect::<Result<Vec<_>>>()?;
            Ok(Expr::conjunction(parts))
        }
        CmpOp::Ne => {
            let parts = pairs.map(|(x, y)| compare(op, x, y)).collect::<Result<Vec<_>>>()?;
            Ok(parts.into_iter().reduce(or).unwrap_or_else(|| Expr::bool(false)))
        }
        CmpOp::Lt | CmpOp::Le | CmpOp::Gt | CmpOp::Ge => {
            let strict = match op {
                CmpOp::Lt | CmpOp::Le => CmpOp::Lt,
                _ => CmpOp::Gt,
            };
            let mut pairs: Vec<_> = pairs.collect();
            let Some((x, y)) = pairs.pop() else { return Err(EvalError::Operand(1)) };
            let mut out = compare(op, x, y)?;
            while let Some((x, y)) = pairs.pop() {
                let equal = compare(CmpOp::Eq, x.clone(), y.clone())?;
                out = or(compare(strict, x, y)?, and(equal, out));
            }
            Ok(out)
        }
    }
}

/// `e IN (list)`; `NOT IN` is [`not`] of it. Items that compare with `e` in different domains make a list each.
pub fn in_list(e: Expr, list: Vec<Expr>) -> Result<Expr> {
    let mut lists: Vec<(EvalType, Vec<Expr>)> = Vec::new();
    let (nulls, items): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(Expr::is_null_const);
    for item in items {
        let domain = comparison_type(&e, &item);
        match lists.iter_mut().find(|l| l.0 == domain) {
            Some((_, list)) => list.push(item),
            None => lists.push((domain, vec![item])),
        }
    }
    match lists.first_mut() {
        Some((_, list)) => list.extend(nulls),
        None if nulls.is_empty() => {}
        None => lists.push((comparison_type(&e, &nulls[0]), nulls)),
    }
    let calls = lists.into_iter().map(|(domain, list)| {
        let collation = match domain {
            EvalType::String => merge_collations(std::iter::once(&e).chain(&list), "IN")?,
            _ => Collation::BINARY,
        };
        let args = std::iter::once(e.clone()).chain(list).map(|a| compare_side(a, domain)).collect();
        Ok(Expr::call(Func::In(domain, collation), args, bool_type()))
    });
    Ok(any(calls.collect::<Result<Vec<_>>>()?))
}

/// `e op ANY (list)` and, with `all`, `e op ALL (list)`: true if one of the comparisons is (if all are), and of no
/// comparison FALSE (TRUE). `list` are constants, each once; strings compare by `collation` where it is given, because
/// the column that they are from may insist on it more than a constant does.
pub fn quantified(op: CmpOp, all: bool, e: Expr, list: Vec<Expr>, collation: Option<Collation>) -> Result<Expr> {
    match (op, all) {
        _ if list.is_empty() => return Ok(Expr::bool(all)),
        (CmpOp::Eq, false) => return Ok(by_collation(in_list(e, list)?, collation)),
        (CmpOp::Ne, true) => return Ok(not(by_collation(in_list(e, list)?, collation))),
        _ => {}
    }
    let tests = list.into_iter().map(|value| Ok(by_collation(compare(op, e.clone(), value)?, collation)));
    let tests = deciding(op, all, tests.collect::<Result<Vec<_>>>()?);
    Ok(if all { every(tests) } else { any(tests) })
}

/// The same comparisons, of strings by this collation.
fn by_collation(mut e: Expr, collation: Option<Collation>) -> Expr {
    if let (Some(new), Expr::Call(call)) = (collation, &mut e) {
        match &mut call.func {
            Func::Compare(_, EvalType::String, old) | Func::In(EvalType::String, old) => *old = new,
            Func::Or => {
                let args = std::mem::take(&mut call.args);
                call.args = args.into_iter().map(|arg| by_collation(arg, collation)).collect();
            }
            _ => {}
        }
    }
    e
}

/// Of comparisons with constants those that decide for all: with the least or greatest value, or with two different
/// ones; and with NULL. Where values must be cast first, or not all in the same way, all stay.
fn deciding(op: CmpOp, all: bool, tests: Vec<Expr>) -> Vec<Expr> {
    let is_null = |e: &Expr| e.args().iter().any(Expr::is_null_const);
    let (nulls, mut tests): (Vec<Expr>, Vec<Expr>) = tests.into_iter().partition(is_null);
    let how = |e: &Expr| match e {
        Expr::Call(call) => match (call.func, call.args.last()) {
            (Func::Compare(_, domain, collation), Some(Expr::Const { .. })) => Some((domain, collation)),
            _ => None,
        },
        _ => None,
    };
    if let Some((domain, collation)) = tests.first().and_then(how)
        && tests.iter().all(|t| how(t) == Some((domain, collation)))
    {
        let order = |a: &Expr, b: &Expr| match (a.args().last(), b.args().last()) {
            (Some(Expr::Const { value: a, .. }), Some(Expr::Const { value: b, .. })) => {
                crate::value::compare(domain, collation, a, b)
            }
            _ => std::cmp::Ordering::Equal,
        };
        tests.sort_by(order);
        tests.dedup_by(|a, b| order(a, b).is_eq());
        match op {
            CmpOp::Eq | CmpOp::Ne | CmpOp::NullEq => tests.truncate(2),
            // More than all is more than the greatest, more than any is more than the least.
            CmpOp::Gt | CmpOp::Ge if all => drop(tests.drain(..tests.len() - 1)),
            CmpOp::Lt | CmpOp::Le if !all => drop(tests.drain(..tests.len() - 1)),
            CmpOp::Gt | CmpOp::Ge | CmpOp::Lt | CmpOp::Le => tests.truncate(1),
        }
    }
    tests.extend(nulls.into_iter().next());
    tests
}

/// `e BETWEEN low AND high`.
pub fn between(e: Expr, low: Expr, high: Expr) -> Result<Expr> {
    Ok(and(compare(CmpOp::Ge, e.clone(), low)?, compare(CmpOp::Le, e, high)?))
}

/// `e LIKE pattern ESCAPE escape`.
pub fn like(e: Expr, pattern: Expr, escape: Option<char>) -> Result<Expr> {
    let (e, pattern) = (to_eval_type(e, EvalType::String), to_eval_type(pattern, EvalType::String));
    let collation = merge_collations([&e, &pattern], "like")?;
    let escape = Expr::constant(Datum::Int(escape.map_or(0, |c| i64::from(u32::from(c)))));
    Ok(Expr::call(Func::Like(collation), vec![e, pattern, escape], bool_type()))
}

/// `e REGEXP pattern`.
pub fn regexp(e: Expr, pattern: Expr) -> Result<Expr> {
    let (e, pattern) = (to_eval_type(e, EvalType::String), to_eval_type(pattern, EvalType::String));
    let collation = merge_collations([&e, &pattern], "regexp")?;
    Ok(Expr::call(Func::Regexp(collation), vec![e, pattern], bool_type()))
}
