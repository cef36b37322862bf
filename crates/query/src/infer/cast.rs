//! Casts that the rules put in, and those that the user writes.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::Time;
use codec::types::{FieldType, TypeCode, flags};

use super::arith::exact;
use crate::expr::{Expr, Func};
use crate::types::{EvalType, decimal_shape, decimal_type, text_type};

/// Casts to a type without changing what the user sees; nothing when it is of that type already.
pub fn cast_to(e: Expr, ty: FieldType) -> Expr {
    if e.ty() == &ty { e } else { cast_always(e, ty) }
}

fn cast_always(e: Expr, ty: FieldType) -> Expr {
    let e = if ty.tp.is_numeric() { exact(e) } else { e };
    Expr::call(Func::Cast, vec![e], ty)
}

/// `CAST(e AS ty)`, as the user wrote it. `ty` is BIGINT, BIGINT UNSIGNED, CHAR(n), BINARY(n), DECIMAL(p,s), DOUBLE,
/// FLOAT, DATE, DATETIME(n), TIME(n), YEAR or JSON.
pub fn cast(e: Expr, ty: FieldType) -> Expr {
    let e = if is_bit_literal(&e) && ty.tp.is_numeric() { bit_number(e) } else { e };
    cast_always(e, ty)
}

/// A literal such as `0x41`, which is text unless a number is wanted.
pub fn bit_literal(bytes: Vec<u8>) -> Expr {
    let ty = FieldType::varbinary(bytes.len() as i32).with_flags(flags::NOT_NULL | flags::BINARY | flags::BIT_LITERAL);
    Expr::Const { value: Datum::Bytes(bytes), ty }
}

pub(crate) fn is_bit_literal(e: &Expr) -> bool {
    matches!(e, Expr::Const { value: Datum::Bytes(_), ty } if ty.has(flags::BIT_LITERAL))
}

/// The number that a literal such as `0x41` is.
fn bit_number(e: Expr) -> Expr {
    match e {
        Expr::Const { value: Datum::Bytes(b), .. } => Expr::constant(Datum::UInt(number_of_bytes(&b))),
        e => e,
    }
}

/// The big-endian number of the last eight bytes.
pub fn number_of_bytes(b: &[u8]) -> u64 {
    b[b.len().saturating_sub(8)..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// What a string that is known says.
fn text_of(e: &Expr) -> Option<std::borrow::Cow<'_, str>> {
    match e.ty().tp.is_string().then(|| e.as_const())?? {
        Datum::Bytes(b) => Some(String::from_utf8_lossy(b)),
        _ => None,
    }
}

/// Casts into a domain; nothing when it is there already.
pub fn to_eval_type(e: Expr, domain: EvalType) -> Expr {
    if is_bit_literal(&e) && matches!(domain, EvalType::Int | EvalType::Real | EvalType::Decimal) {
        return to_eval_type(bit_number(e), domain);
    }
    let ty = e.ty().clone();
    if ty.tp == TypeCode::Null {
        let null_ty = match domain {
            EvalType::Int => return e,
            EvalType::Real => FieldType::double(),
            EvalType::Decimal => FieldType::decimal(10, 0),
            EvalType::String => FieldType { flen: 0, ..FieldType::new(TypeCode::VarString) },
            EvalType::Time => FieldType::datetime(0),
            EvalType::Duration => FieldType::new(TypeCode::Duration),
            EvalType::Json => FieldType::new(TypeCode::Json),
        };
        return match e {
            Expr::Const { value: Datum::Null, .. } => Expr::Const { value: Datum::Null, ty: null_ty },
            e => cast_to(e, null_ty),
        };
    }
    if EvalType::of(&ty) == domain && !matches!(ty.tp, TypeCode::Enum | TypeCode::Set) {
        return e;
    }
    let target = match domain {
        EvalType::Int if matches!(ty.tp, TypeCode::Enum | TypeCode::Set) => FieldType::bigint_unsigned(),
        EvalType::Int => FieldType::bigint(),
        EvalType::Real => FieldType::double(),
        EvalType::Decimal => {
            let (p, s) = match text_of(&e) {
                Some(text) => match Decimal::parse_prefix(&text).0 {
                    Some(d) => (d.precision().into(), d.scale().into()),
                    None => (65, 0),
                },
                None => decimal_shape(&ty),
            };
            decimal_type(p, s)
        }
        EvalType::String => text_type(&ty),
        EvalType::Time => FieldType::datetime(match text_of(&e) {
            Some(text) => Time::fsp_of(&text).into(),
            _ if ty.tp == TypeCode::Duration => ty.fsp().into(),
            _ if ty.tp.is_integer() => 0,
            _ => 6,
        }),
        EvalType::Duration => {
            let fsp = match text_of(&e) {
                Some(text) => Time::fsp_of(&text).into(),
                _ if ty.tp.is_time() => ty.fsp().into(),
                _ if ty.tp.is_integer() => 0,
                _ => 6,
            };
            FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) }
        }
        EvalType::Json => FieldType::new(TypeCode::Json),
    };
    cast_to(e, target)
}
