//! Dates with intervals.

use codec::types::{FieldType, TypeCode};

use super::cast::to_eval_type;
use super::unify::coerce;
use crate::error::Result;
use crate::expr::{Expr, Func};
use crate::interval::Unit;
use crate::types::EvalType;

/// `date + INTERVAL amount unit` (minus when `subtract`).
pub fn date_add(date: Expr, amount: Expr, unit: Unit, subtract: bool) -> Result<Expr> {
    let from = date.ty().clone();
    let fractional = match EvalType::of(amount.ty()) {
        EvalType::Decimal => amount.ty().decimal > 0,
        domain => domain == EvalType::Real,
    };
    let has_micros = unit.has_micros() || unit == Unit::Second && fractional;
    let (date, ty) = match EvalType::of(&from) {
        EvalType::Time => {
            let fsp = if has_micros { 6 } else { i32::from(from.fsp()) };
            let ty = if matches!(from.tp, TypeCode::Date | TypeCode::NewDate) && !unit.has_clock() {
                FieldType::new(TypeCode::Date)
            } else {
                FieldType::datetime(fsp)
            };
            (coerce(date, &if from.tp == TypeCode::Timestamp { ty.clone() } else { from }), ty)
        }
        EvalType::Duration if unit.has_clock() || matches!(unit, Unit::Day | Unit::Week) => {
            let fsp = if has_micros { 6 } else { i32::from(from.fsp()) };
            (date, FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) })
        }
        EvalType::String => (date, FieldType { flen: 29, ..FieldType::new(TypeCode::VarString) }),
        _ => (to_eval_type(date, EvalType::Time), FieldType::datetime(if has_micros { 6 } else { 0 })),
    };
    // The amount is read as text; other than seconds, fractions round first.
    let amount = match EvalType::of(amount.ty()) {
        EvalType::Int | EvalType::String => amount,
        EvalType::Decimal | EvalType::Real if unit != Unit::Second => to_eval_type(amount, EvalType::Int),
        _ => amount,
    };
    let amount = to_eval_type(amount, EvalType::String);
    Ok(Expr::call(Func::DateAdd(unit, subtract), vec![date, amount], ty))
}

/// `EXTRACT(unit FROM e)`.
pub fn extract(unit: Unit, e: Expr) -> Result<Expr> {
    let e = match EvalType::of(e.ty()) {
        EvalType::Time | EvalType::Duration => e,
        EvalType::String if unit.has_clock() => e,
        _ => to_eval_type(e, EvalType::Time),
    };
    Ok(Expr::call(Func::Extract(unit), vec![e], FieldType::bigint()))
}

/// `TIMESTAMPDIFF(unit, a, b)`.
pub fn timestamp_diff(unit: Unit, a: Expr, b: Expr) -> Result<Expr> {
    let args = vec![to_eval_type(a, EvalType::Time), to_eval_type(b, EvalType::Time)];
    Ok(Expr::call(Func::TimestampDiff(unit), args, FieldType::bigint()))
}
