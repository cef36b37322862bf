//! Arithmetic and bit operators.

use codec::datum::Datum;
use codec::types::{FieldType, NOT_FIXED_DEC, TypeCode};

use super::cast::{cast_to, is_bit_literal, to_eval_type};
use crate::error::Result;
use crate::expr::{ArithOp, BitOp, Expr, Func};
use crate::types::{EvalType, decimal_shape, decimal_type};

/// Digits that division adds to the scale unless `div_precision_increment` says otherwise.
const DIV_INCREMENT: u8 = codec::decimal::DIV_INCREMENT;

/// The domain that a value takes in arithmetic.
pub(crate) fn arith_type(e: &Expr) -> EvalType {
    let ty = e.ty();
    match EvalType::of(ty) {
        EvalType::String if is_bit_literal(e) => EvalType::Int,
        EvalType::Time | EvalType::Duration if ty.fsp() > 0 => EvalType::Decimal,
        EvalType::Time | EvalType::Duration => EvalType::Int,
        EvalType::String if matches!(ty.tp, TypeCode::Enum | TypeCode::Set) => EvalType::Int,
        EvalType::String | EvalType::Json => EvalType::Real,
        d => d,
    }
}

/// Digits in a word of MySQL's decimals: a quotient is computed to whole words, and shown with fewer digits.
const WORD_DIGITS: i32 = 9;

/// Digits of the words that this many digits take. Division cuts its result there.
pub(crate) fn to_words(digits: i32) -> i32 {
    (digits + WORD_DIGITS - 1) / WORD_DIGITS * WORD_DIGITS
}

/// A quotient with all the digits that are computed of it, for what goes on computing: `ROUND(1 / 3, 6)` is 0.333333
/// though `1 / 3` is 0.3333. Anything else as it is; control flow hands the digits through.
pub fn exact(e: Expr) -> Expr {
    let Expr::Call(mut call) = e else { return e };
    if EvalType::of(&call.ty) != EvalType::Decimal {
        return Expr::Call(call);
    }
    let results: Vec<usize> = match call.func {
        Func::Arith(ArithOp::Div, _) => {
            let (dividend, divisor) = (decimal_shape(call.args[0].ty()).1, decimal_shape(call.args[1].ty()).1);
            let shown = call.ty.decimal;
            let spare = to_words(dividend) - dividend + to_words(divisor) - divisor;
            let more = (shown - dividend - spare).max(0);
            let computed = to_words(to_words(dividend) + to_words(divisor) + more).clamp(shown, 30);
            call.ty = decimal_type(call.ty.flen - shown + computed, computed).with_flags(call.ty.flags);
            return Expr::Call(call);
        }
        Func::Neg(_) | Func::Coalesce => (0..call.args.len()).collect(),
        Func::Scalar(f) if f.passes_digits => (0..call.args.len()).collect(),
        Func::If => vec![1, 2],
        Func::Case => (0..call.args.len()).filter(|i| i % 2 == 1 || i + 1 == call.args.len()).collect(),
        _ => return Expr::Call(call),
    };
    let before: Vec<i32> = results.iter().map(|&i| call.args[i].ty().decimal).collect();
    for &i in &results {
        call.args[i] = exact(std::mem::replace(&mut call.args[i], Expr::null()));
    }
    if results.iter().zip(before).any(|(&i, digits)| call.args[i].ty().decimal != digits) {
        let shapes = results.iter().map(|&i| decimal_shape(call.args[i].ty()));
        let (whole, digits) = shapes.fold((0, 0), |(whole, digits), (p, s)| (whole.max(p - s), digits.max(s)));
        call.ty = decimal_type(whole + digits, digits).with_flags(call.ty.flags);
        for &i in &results {
            let arg = std::mem::replace(&mut call.args[i], Expr::null());
            call.args[i] = if arg.ty().decimal == digits { arg } else { coerce_null_or_cast(arg, &call.ty) };
        }
    }
    Expr::Call(call)
}

fn coerce_null_or_cast(e: Expr, ty: &FieldType) -> Expr {
    match e {
        Expr::Const { value: Datum::Null, .. } => Expr::Const { value: Datum::Null, ty: ty.clone() },
        e => cast_to(e, ty.clone()),
    }
}

/// `a op b`.
pub fn arith(op: ArithOp, a: Expr, b: Expr) -> Result<Expr> {
    arith_with(op, a, b, DIV_INCREMENT)
}

/// `a op b`, where division adds these digits to the scale.
pub fn arith_with(op: ArithOp, a: Expr, b: Expr, div_increment: u8) -> Result<Expr> {
    let div_increment = i32::from(div_increment);
    let (da, db) = (arith_type(&a), arith_type(&b));
    let decimals = (fixed_decimals(a.ty()), fixed_decimals(b.ty()));
    let mut domain = match (da, db) {
        (EvalType::Real, _) | (_, EvalType::Real) => EvalType::Real,
        (EvalType::Decimal, _) | (_, EvalType::Decimal) => EvalType::Decimal,
        _ => EvalType::Int,
    };
    if op == ArithOp::Div && domain == EvalType::Int {
        domain = EvalType::Decimal;
    }
    if op == ArithOp::IntDiv && domain == EvalType::Real {
        domain = EvalType::Decimal;
    }
    let (a, b) = (number_for_arith(a, domain), number_for_arith(b, domain));
    let (ta, tb) = (a.ty().clone(), b.ty().clone());
    let unsigned = ta.is_unsigned() || tb.is_unsigned();
    let ty = match (domain, op) {
        (EvalType::Real, _) => {
            let decimal = match (op, decimals) {
                (ArithOp::Mul, (Some(a), Some(b))) => a + b,
                (ArithOp::Div, (Some(a), Some(b))) => a.max(b) + div_increment,
                (_, (Some(a), Some(b))) => a.max(b),
                _ => NOT_FIXED_DEC,
            };
            FieldType { decimal: if decimal < NOT_FIXED_DEC { decimal } else { -1 }, ..FieldType::double() }
        }
        (_, ArithOp::IntDiv) | (EvalType::Int, _) => {
            let unsigned = if op == ArithOp::Mod { ta.is_unsigned() } else { unsigned };
            if unsigned { FieldType::bigint_unsigned() } else { FieldType::bigint() }
        }
        _ => {
            let ((p1, s1), (p2, s2)) = (decimal_shape(&ta), decimal_shape(&tb));
            match op {
                ArithOp::Add | ArithOp::Sub => {
                    let s = s1.max(s2);
                    decimal_type((p1 - s1).max(p2 - s2) + s + 1, s)
                }
                ArithOp::Mul => decimal_type(p1 + p2, s1 + s2),
                ArithOp::Div => {
                    let s = (s1 + div_increment).min(30);
                    // The quotient's integer part can have all of the dividend's digits and the divisor's fraction.
                    decimal_type(p1 - s1 + s2 + s, s)
                }
                _ => {
                    let s = s1.max(s2);
                    decimal_type((p1 - s1).max(p2 - s2) + s, s)
                }
            }
        }
    };
    Ok(Expr::call(Func::Arith(op, domain), vec![exact(a), exact(b)], ty))
}

/// Digits after the point that a number is always printed with: PI() and DOUBLE(10,2) have some, DOUBLE has none fixed.
fn fixed_decimals(ty: &FieldType) -> Option<i32> {
    match EvalType::of(ty) {
        EvalType::Int => Some(0),
        EvalType::Decimal | EvalType::Real => Some(ty.decimal).filter(|d| (0..NOT_FIXED_DEC).contains(d)),
        _ => None,
    }
}

fn number_for_arith(e: Expr, domain: EvalType) -> Expr {
    if is_bit_literal(&e) {
        return to_eval_type(e, domain);
    }
    match (domain, EvalType::of(e.ty())) {
        // Integers take part in exact arithmetic as they are; no cast is needed to widen them.
        (EvalType::Int, EvalType::Int) | (EvalType::Decimal, EvalType::Decimal) | (EvalType::Real, EvalType::Real) => e,
        (EvalType::Decimal, EvalType::Real) => cast_to(e, FieldType::decimal(65, 30)),
        (EvalType::Decimal, EvalType::String | EvalType::Json) => {
            to_eval_type(to_eval_type(e, EvalType::Real), EvalType::Decimal)
        }
        _ => to_eval_type(e, domain),
    }
}

/// `-a`.
pub fn neg(a: Expr) -> Result<Expr> {
    if let Some(Datum::UInt(v)) = a.as_const()
        && *v == 1 << 63
    {
        return Ok(Expr::constant(Datum::Int(i64::MIN)));
    }
    let domain = arith_type(&a);
    let decimals = fixed_decimals(a.ty());
    let a = to_eval_type(a, domain);
    let ty = match domain {
        EvalType::Real => FieldType { decimal: decimals.unwrap_or(-1), ..FieldType::double() },
        EvalType::Decimal => decimal_type(decimal_shape(a.ty()).0, decimal_shape(a.ty()).1),
        _ => FieldType::bigint(),
    };
    Ok(Expr::call(Func::Neg(domain), vec![a], ty))
}

/// `a op b` on bits.
pub fn bit(op: BitOp, a: Expr, b: Expr) -> Expr {
    Expr::call(Func::Bit(op), vec![bits(a), bits(b)], FieldType::bigint_unsigned())
}

/// `~a`.
pub fn bit_not(a: Expr) -> Expr {
    Expr::call(Func::BitNot, vec![bits(a)], FieldType::bigint_unsigned())
}

fn bits(e: Expr) -> Expr {
    to_eval_type(e, EvalType::Int)
}
