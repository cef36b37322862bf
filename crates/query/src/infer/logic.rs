//! AND, OR, XOR, NOT, IS.

use codec::types::flags;

use super::cast::to_eval_type;
use crate::expr::{Expr, Func};
use crate::types::{EvalType, bool_type};

/// An argument of AND, OR, NOT: any number is a truth value; text, dates and all else become one first.
pub(crate) fn truth(e: Expr) -> Expr {
    match EvalType::of(e.ty()) {
        EvalType::Int | EvalType::Real | EvalType::Decimal => e,
        _ => to_eval_type(e, EvalType::Real),
    }
}

/// `a AND b`.
pub fn and(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::And, vec![truth(a), truth(b)], bool_type())
}

/// `a OR b`.
pub fn or(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Or, vec![truth(a), truth(b)], bool_type())
}

/// `a XOR b`.
pub fn xor(a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Xor, vec![truth(a), truth(b)], bool_type())
}

/// `NOT a`.
pub fn not(a: Expr) -> Expr {
    Expr::call(Func::Not, vec![truth(a)], bool_type())
}

/// `a IS NULL`.
pub fn is_null(a: Expr) -> Expr {
    Expr::call(Func::IsNull, vec![a], bool_type().with_flags(flags::NOT_NULL))
}

/// `a IS TRUE`.
pub fn is_true(a: Expr) -> Expr {
    Expr::call(Func::IsTrue, vec![truth(a)], bool_type().with_flags(flags::NOT_NULL))
}

/// `a IS FALSE`.
pub fn is_false(a: Expr) -> Expr {
    Expr::call(Func::IsFalse, vec![truth(a)], bool_type().with_flags(flags::NOT_NULL))
}

/// The disjunction of these, as flat a tree as can be; FALSE when there are none.
pub fn any(parts: Vec<Expr>) -> Expr {
    flat(parts, or).unwrap_or_else(|| Expr::bool(false))
}

/// The conjunction of these, as flat a tree as can be; TRUE when there are none.
pub fn every(parts: Vec<Expr>) -> Expr {
    flat(parts, and).unwrap_or_else(|| Expr::bool(true))
}

fn flat(mut parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let right = parts.split_off(parts.len() / 2);
    match parts.is_empty() {
        true => right.into_iter().next(),
        false => Some(join(flat(parts, join)?, flat(right, join)?)),
    }
}
