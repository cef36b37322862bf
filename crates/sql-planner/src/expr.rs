//! The planner's side of `query::expr`: operators and functions by name, literals, casts, constant folding.

use std::collections::HashSet;

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode, flags};
use query::batch::Batch;
use query::context::{EvalContext, sql_mode};
use query::error::EvalError;
use query::expr::{ArithOp, BitOp, CmpOp, Expr, Func};
use query::infer;
use query::interval::Unit;
use query::types::EvalType;
use sql_base::SqlError;
use sql_parser::ast::{CastType, TemporalKind};

use crate::plan::{ColId, reads_only};

/// `a = b` with one side of each input.
pub fn equality(c: &Expr, l: &HashSet<ColId>, r: &HashSet<ColId>) -> Option<(Expr, Expr)> {
    let Expr::Call(call) = c else { return None };
    let Func::Compare(CmpOp::Eq, domain, collation) = call.func else { return None };
    let [a, b] = &call.args[..] else { return None };
    // Each side carries the collation of the comparison.
    let side = |e: &Expr| match domain == query::types::EvalType::String && e.ty().collation != collation {
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

fn take<const N: usize>(name: &str, args: Vec<Expr>) -> Result<[Expr; N], SqlError> {
    args.try_into().map_err(|_| SqlError::WrongParameterCount(name.to_owned()))
}

/// An operator or function by name, folded when its arguments are constant.
pub fn call(name: &str, args: Vec<Expr>, cx: &EvalContext) -> Result<Expr, SqlError> {
    let compare = |op, args| {
        let [a, b] = take(name, args)?;
        Ok::<Expr, SqlError>(infer::compare(op, a, b)?)
    };
    let arith = |op, args| {
        let [a, b] = take(name, args)?;
        Ok::<Expr, SqlError>(infer::arith_with(op, a, b, cx.div_precision_increment)?)
    };
    let bit = |op, args| {
        let [a, b] = take(name, args)?;
        Ok::<Expr, SqlError>(infer::bit(op, a, b))
    };
    let two = |f: fn(Expr, Expr) -> Expr, args| {
        let [a, b] = take(name, args)?;
        Ok::<Expr, SqlError>(f(a, b))
    };
    let one = |f: fn(Expr) -> Expr, args| {
        let [a] = take(name, args)?;
        Ok::<Expr, SqlError>(f(a))
    };
    let e = match name {
        "=" => compare(CmpOp::Eq, args)?,
        "<>" => compare(CmpOp::Ne, args)?,
        "<" => compare(CmpOp::Lt, args)?,
        "<=" => compare(CmpOp::Le, args)?,
        ">" => compare(CmpOp::Gt, args)?,
        ">=" => compare(CmpOp::Ge, args)?,
        "<=>" => compare(CmpOp::NullEq, args)?,
        "+" => arith(ArithOp::Add, args)?,
        "-" => arith(ArithOp::Sub, args)?,
        "*" => arith(ArithOp::Mul, args)?,
        "/" => arith(ArithOp::Div, args)?,
        "%" => arith(ArithOp::Mod, args)?,
        "div" => arith(ArithOp::IntDiv, args)?,
        "|" => bit(BitOp::Or, args)?,
        "&" => bit(BitOp::And, args)?,
        "^" => bit(BitOp::Xor, args)?,
        "<<" => bit(BitOp::ShiftLeft, args)?,
        ">>" => bit(BitOp::ShiftRight, args)?,
        "and" => two(infer::and, args)?,
        "or" => two(infer::or, args)?,
        "xor" => two(infer::xor, args)?,
        "not" => one(infer::not, args)?,
        "bitneg" => one(infer::bit_not, args)?,
        "istrue" => one(infer::is_true, args)?,
        "isfalse" => one(infer::is_false, args)?,
        "unaryminus" => {
            let [a] = take(name, args)?;
            infer::neg(a)?
        }
        "in" => {
            let mut args = args.into_iter();
            let probe = args.next().unwrap_or_else(Expr::null);
            infer::in_list(probe, args.collect())?
        }
        "like" => {
            let escape = match args.get(2).map(Expr::as_const) {
                None | Some(Some(Datum::Null)) => (cx.sql_mode & sql_mode::NO_BACKSLASH_ESCAPES == 0).then_some('\\'),
                Some(Some(Datum::Bytes(b))) if b.len() <= 4 => {
                    std::str::from_utf8(b).ok().and_then(|s| s.chars().next())
                }
                Some(_) => return Err(SqlError::WrongArguments("ESCAPE".into())),
            };
            let mut args = args.into_iter();
            let (a, b) = (args.next().unwrap_or_else(Expr::null), args.next().unwrap_or_else(Expr::null));
            infer::like(a, b, escape)?
        }
        "regexp" => {
            let [a, b] = take(name, args)?;
            infer::regexp(a, b)?
        }
        "case" => {
            let mut whens = Vec::new();
            let mut args = args.into_iter();
            let mut otherwise = None;
            while let Some(condition) = args.next() {
                match args.next() {
                    Some(result) => whens.push((condition, result)),
                    None => otherwise = Some(condition),
                }
            }
            infer::case(None, whens, otherwise)?
        }
        "timestampdiff" => {
            let [unit, a, b] = take(name, args)?;
            let unit = match unit.as_const() {
                Some(Datum::Bytes(b)) => Unit::parse(&String::from_utf8_lossy(b)),
                _ => None,
            };
            infer::timestamp_diff(unit.ok_or_else(|| SqlError::WrongArguments("TIMESTAMPDIFF".into()))?, a, b)?
        }
        _ => query::functions::call(name, args)?,
    };
    Ok(fold(e, cx))
}

/// The constant that a constant expression is worth. What fails or warns is left to fail or warn at its time.
///
/// Arguments were folded when they were bound; the casts that type rules put around them since are folded too, or a date
/// written as text would not look like a constant to the choice of keys.
pub fn fold(mut e: Expr, cx: &EvalContext) -> Expr {
    if let Expr::Call(call) = &mut e {
        for arg in &mut call.args {
            if matches!(arg, Expr::Call(c) if c.func == Func::Cast) || is_quotient(arg) {
                *arg = fold_constant(std::mem::replace(arg, Expr::null()), cx);
            }
        }
    }
    // How many digits of a quotient count is known only to what it becomes a part of.
    if is_quotient(&e) { e } else { fold_constant(e, cx) }
}

fn is_quotient(e: &Expr) -> bool {
    matches!(e, Expr::Call(c) if c.func == Func::Arith(ArithOp::Div, EvalType::Decimal))
}

fn fold_constant(e: Expr, cx: &EvalContext) -> Expr {
    // What asks for the moment or the session is computed when the plan is run.
    let constant = |a: &Expr| matches!(a, Expr::Const { .. });
    if constant(&e) || !e.args().iter().all(constant) || !e.is_constant() || e.is_of_run() {
        return e;
    }
    let mut cx = cx.clone();
    let before = cx.warning_count;
    match eval_row(&e, &mut cx) {
        Ok(value) if cx.warning_count == before => {
            let ty = e.ty().clone();
            Expr::Const { value, ty }
        }
        _ => e,
    }
}

/// The value of an expression that reads no columns.
pub fn eval_row(e: &Expr, cx: &mut EvalContext) -> Result<Datum, EvalError> {
    if let Expr::Const { value, .. } = e {
        return Ok(value.clone());
    }
    let column = query::eval::eval(e, &Batch::one_empty_row(), cx)?;
    Ok(query::batch::datum_at(&column, 0, e.ty()))
}

/// A numeric literal.
pub fn number(text: &str) -> Result<Expr, SqlError> {
    number_value(text).map(Expr::constant)
}

/// The value of a numeric literal, which may have a sign: an integer where it is one of 64 bits, a float where it has an
/// exponent, else exact.
pub fn number_value(text: &str) -> Result<Datum, SqlError> {
    if !text.contains(['.', 'e', 'E']) {
        if let Ok(v) = text.parse::<i64>() {
            return Ok(Datum::Int(v));
        }
        if let Ok(v) = text.parse::<u64>() {
            return Ok(Datum::UInt(v));
        }
    }
    if text.contains(['e', 'E']) {
        return match text.parse::<f64>() {
            Ok(v) if v.is_finite() => Ok(Datum::Float(v)),
            _ => Err(SqlError::OutOfRange { kind: "DOUBLE".into(), expr: text.into() }),
        };
    }
    match Decimal::parse_prefix(text) {
        (Some(d), _) => Ok(Datum::Decimal(d)),
        (None, _) => text
            .parse::<f64>()
            .map(Datum::Float)
            .map_err(|_| SqlError::OutOfRange { kind: "DECIMAL".into(), expr: text.into() }),
    }
}

/// A string literal in the connection's collation.
pub fn string(s: &str, cx: &EvalContext) -> Expr {
    let mut e = Expr::constant(Datum::string(s));
    if let Expr::Const { ty, .. } = &mut e {
        ty.collation = cx.collation;
    }
    e
}

/// A binary literal.
pub fn bytes(b: Vec<u8>) -> Expr {
    let ty = FieldType::varbinary(b.len() as i32);
    Expr::Const { value: Datum::Bytes(b), ty }
}

/// A value with the type that a literal of it has.
pub fn parameter(value: Datum, cx: &EvalContext) -> Expr {
    let ty = parameter_type(&value, cx.collation);
    Expr::Const { value, ty }
}

/// The type that a literal of a value has, where literals are of this collation. Bytes that are no text are binary.
pub fn parameter_type(value: &Datum, collation: Collation) -> FieldType {
    match value {
        Datum::Bytes(b) if std::str::from_utf8(b).is_err() => FieldType::varbinary(b.len() as i32),
        Datum::Bytes(_) => FieldType { collation, ..query::types::literal_type(value) },
        value => query::types::literal_type(value),
    }
}

/// `DATE '…'`, `TIME '…'`, `TIMESTAMP '…'`.
pub fn typed_literal(kind: TemporalKind, text: &str) -> Result<Expr, SqlError> {
    let wrong = |kind: &str| SqlError::WrongValue { kind: kind.into(), value: text.into() };
    Ok(match kind {
        TemporalKind::Date => match Time::parse(text, TimeKind::Date, 0) {
            Ok(p) if !p.truncated => Expr::constant(Datum::Time(p.value)),
            _ => return Err(wrong("DATE")),
        },
        TemporalKind::Time => match Duration::parse(text, Time::fsp_of(text)) {
            Ok(p) if !p.truncated => Expr::constant(Datum::Duration(p.value)),
            _ => return Err(wrong("TIME")),
        },
        TemporalKind::Timestamp | TemporalKind::DateTime => {
            match Time::parse(text, TimeKind::DateTime, Time::fsp_of(text)) {
                Ok(p) if !p.truncated => Expr::constant(Datum::Time(p.value)),
                _ => return Err(wrong("DATETIME")),
            }
        }
    })
}

/// `CAST(e AS ty)`.
pub fn cast(e: Expr, ty: CastType, cx: &EvalContext) -> Result<Expr, SqlError> {
    let length = |n: Option<u64>| n.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    let fsp = |n: Option<u64>| n.unwrap_or(0).min(6) as i32;
    let ty = match ty {
        CastType::Signed => FieldType::bigint(),
        CastType::Unsigned => FieldType::bigint_unsigned(),
        CastType::Char(n) => {
            FieldType { flen: length(n), ..FieldType::new(TypeCode::VarString) }.with_collation(cx.collation)
        }
        CastType::Binary(n) => {
            let n = length(n);
            FieldType { flen: n, ..FieldType::new(if n >= 0 { TypeCode::String } else { TypeCode::VarString }) }
                .with_collation(Collation::BINARY)
        }
        CastType::Decimal(digits) => {
            let (p, s) = digits.map_or((10, 0), |(p, s)| (p as i32, s as i32));
            if p > 65 {
                return Err(SqlError::TooBigPrecision { column: e.to_string(), precision: p as u32, max: 65 });
            }
            if s > 30 {
                return Err(SqlError::TooBigScale { column: e.to_string(), scale: s as u32, max: 30 });
            }
            if s > p {
                return Err(SqlError::MBiggerThanD(e.to_string()));
            }
            FieldType::decimal(if p == 0 { 10 } else { p }, s)
        }
        CastType::Double => FieldType::double(),
        CastType::Float => FieldType::new(TypeCode::Float),
        CastType::Date => FieldType::new(TypeCode::Date),
        CastType::DateTime(n) => FieldType::datetime(fsp(n)),
        CastType::Time(n) => FieldType { decimal: fsp(n), ..FieldType::new(TypeCode::Duration) },
        CastType::Json => FieldType::new(TypeCode::Json),
        CastType::Year => FieldType::new(TypeCode::Year),
    };
    Ok(fold(infer::cast(e, ty), cx))
}

/// Casts where values of the type would look different.
pub fn cast_to(e: Expr, ty: &FieldType, cx: &EvalContext) -> Result<Expr, SqlError> {
    let mut ty = ty.clone();
    ty.flags &= !flags::NOT_NULL;
    Ok(fold(infer::coerce(e, &ty), cx))
}

/// `CONVERT(e USING charset)`: also where it is a string already.
pub fn convert_using(e: Expr, collation: Collation, cx: &EvalContext) -> Expr {
    let ty = FieldType { flen: e.ty().flen, ..FieldType::new(TypeCode::VarString) }.with_collation(collation);
    fold(infer::cast(e, ty), cx)
}

/// `EXTRACT(unit FROM e)`.
pub fn extract(unit: &str, e: Expr, cx: &EvalContext) -> Result<Expr, SqlError> {
    let unit = Unit::parse(unit).ok_or_else(|| SqlError::WrongArguments("EXTRACT".into()))?;
    Ok(fold(infer::extract(unit, e)?, cx))
}

/// `date + INTERVAL amount unit`.
pub fn date_add(date: Expr, amount: Expr, unit: &str, subtract: bool, cx: &EvalContext) -> Result<Expr, SqlError> {
    let unit = Unit::parse(unit).ok_or_else(|| SqlError::WrongArguments("INTERVAL".into()))?;
    Ok(fold(infer::date_add(date, amount, unit, subtract)?, cx))
}

/// The type that holds values of both.
pub fn union_type(a: &FieldType, b: &FieldType) -> Result<FieldType, SqlError> {
    let mut ty = infer::unify(&[&Expr::column(0, a.clone()), &Expr::column(1, b.clone())])?;
    // A CHAR of one length stays one; strings of unknown length stay unknown.
    if ty.tp == TypeCode::Null {
        ty = FieldType::new(TypeCode::Null);
    }
    Ok(ty)
}
/// The operands of `column op constant` (or the reverse), as a comparison of the column. The constant may be one that only
/// the run knows.
pub fn column_against(e: &Expr) -> Option<(CmpOp, usize, &FieldType, &Expr)> {
    let Expr::Call(call) = e else { return None };
    let Func::Compare(op, domain, collation) = call.func else { return None };
    let [a, b] = &call.args[..] else { return None };
    let (op, index, ty, value) = match (strip_cast(a), strip_cast(b)) {
        (Some((index, ty)), None) if is_known(b) => (op, index, ty, b),
        (None, Some((index, ty))) if is_known(a) => (op.swap(), index, ty, a),
        _ => return None,
    };
    orders_as(domain, collation, ty).then_some((op, index, ty, value))
}

/// Whether strings are compared as the column's keys are ordered.
fn orders_as(domain: EvalType, collation: Collation, column: &FieldType) -> bool {
    let bytes = |c: Collation| c.is_bin();
    domain != EvalType::String
        || !column.tp.is_string()
        || collation == column.collation
        || column.is_text() && collation != Collation::BINARY && bytes(collation) && bytes(column.collation)
}

/// A constant, or what is one when the plan is run. A constant that could not be computed, because it fails or warns, is
/// neither.
fn is_known(e: &Expr) -> bool {
    matches!(e, Expr::Const { .. }) || e.is_constant() && e.is_of_run()
}

/// The same where the constant is known already.
pub fn column_compare(e: &Expr) -> Option<(CmpOp, usize, &FieldType, &Datum, &FieldType)> {
    match column_against(e)? {
        (op, index, ty, Expr::Const { value, ty: of_value }) => Some((op, index, ty, value, of_value)),
        _ => None,
    }
}

/// The column of `column IN (constants)`, and the constants, which may be such that only the run knows.
pub fn column_in_any(e: &Expr) -> Option<(usize, &FieldType, &[Expr])> {
    let Expr::Call(call) = e else { return None };
    let Func::In(domain, collation) = call.func else { return None };
    let (index, ty) = strip_cast(call.args.first()?)?;
    (orders_as(domain, collation, ty) && call.args[1..].iter().all(is_known)).then_some((index, ty, &call.args[1..]))
}

/// The column of `column LIKE pattern`, its type, the pattern, and what takes the next character of the pattern as it is. The
/// pattern may be such that only the run knows it.
pub fn column_like(e: &Expr) -> Option<(usize, &FieldType, &Expr, Option<char>)> {
    let Expr::Call(call) = e else { return None };
    let Func::Like(collation) = call.func else { return None };
    let [Expr::Column { index, ty, .. }, pattern, Expr::Const { value: escape, .. }] = &call.args[..] else {
        return None;
    };
    let escape = escape.as_i64().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32).filter(|c| *c != '\0');
    let fits = ty.tp.is_string() && orders_as(EvalType::String, collation, ty);
    (fits && is_known(pattern)).then_some((*index, ty, pattern, escape))
}

/// The column of `column IS NULL`.
pub fn column_is_null(e: &Expr) -> Option<usize> {
    match e {
        Expr::Call(call) if call.func == query::expr::Func::IsNull => match &call.args[0] {
            Expr::Column { index, .. } => Some(*index),
            _ => None,
        },
        _ => None,
    }
}

/// A column, perhaps under a cast that comparison put there, which keeps different values different and in their order; the
/// value range of the column's own type decides later whether the comparison can be turned into a range of keys.
fn strip_cast(e: &Expr) -> Option<(usize, &FieldType)> {
    match e {
        Expr::Column { index, ty, .. } => Some((*index, ty)),
        Expr::Call(call) if call.func == query::expr::Func::Cast => match &call.args[..] {
            [Expr::Column { index, ty, .. }] if keeps_values(ty, &call.ty) => Some((*index, ty)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a cast makes the same value of each value, in another form.
pub fn keeps_values(from: &FieldType, to: &FieldType) -> bool {
    use TypeCode::*;
    let whole = |ty: &FieldType| ty.flen - ty.decimal.max(0);
    match (from.tp, to.tp) {
        (Tiny | Short | Int24 | Long | LongLong | Year, LongLong) => {
            from.is_unsigned() == to.is_unsigned() || from.is_unsigned() && from.tp != LongLong
        }
        // Beyond 2^53 integers are not all different as floats; constants there are not taken for keys.
        (tp, Double) => tp.is_numeric(),
        (NewDecimal, NewDecimal) => to.decimal >= from.decimal && whole(to) >= whole(from),
        (Tiny | Short | Int24 | Long | LongLong | Year, NewDecimal) => {
            whole(to) >= query::types::decimal_shape(&FieldType { flags: 0, ..from.clone() }).0
        }
        (Date | DateTime | Timestamp, DateTime | Timestamp) | (Duration, Duration) => to.fsp() >= from.fsp(),
        (tp, of_cast) => {
            tp.is_string()
                && of_cast.is_string()
                && from.collation == to.collation
                && (to.flen < 0 || (0..=to.flen).contains(&from.flen))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_by_which_values_become_equal_is_no_key() {
        let day = FieldType::new(TypeCode::Date);
        assert!(!keeps_values(&FieldType::datetime(0), &day), "a day has many moments");
        assert!(keeps_values(&day, &FieldType::datetime(0)));
        assert!(!keeps_values(&FieldType::datetime(6), &FieldType::datetime(0)));
        assert!(!keeps_values(&FieldType::decimal(10, 2), &FieldType::bigint()));
        assert!(!keeps_values(&FieldType::double(), &FieldType::bigint()));
        assert!(!keeps_values(&FieldType::decimal(10, 2), &FieldType::decimal(10, 1)));
        assert!(!keeps_values(&FieldType::varchar(10), &FieldType::varchar(2)), "CAST(c AS CHAR(2))");
        let other = FieldType::varchar(10).with_collation(Collation::UTF8MB4_GENERAL_CI);
        assert!(!keeps_values(&FieldType::varchar(10), &other), "c COLLATE utf8mb4_general_ci");
        assert!(keeps_values(&FieldType::new(TypeCode::Long), &FieldType::decimal(20, 0)));
        assert!(!keeps_values(&FieldType::new(TypeCode::Long), &FieldType::decimal(5, 0)));
    }
}
