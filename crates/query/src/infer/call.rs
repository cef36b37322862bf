//! Functions by name.

use codec::datum::Datum;
use codec::time::Time;
use codec::types::{FieldType, TypeCode, flags};

use super::arith::{arith, arith_type, exact};
use super::cast::to_eval_type;
use super::collation::{coercibility, merge_collations};
use super::compare::{compare, regexp};
use super::control::{coalesce, extreme, if_then};
use super::logic::is_null;
use super::unify::coerce;
use crate::error::{EvalError, Result};
use crate::expr::{ArithOp, CmpOp, Expr, Func};
use crate::interval::Unit;
use crate::scalar::{Arg, Ret, ScalarFn, canonical};
use crate::types::{EvalType, decimal_shape, decimal_type};

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
    Ok(Expr::call(Func::Scalar(ScalarFn::Extract(unit)), vec![e], FieldType::bigint()))
}

/// `TIMESTAMPDIFF(unit, a, b)`.
pub fn timestamp_diff(unit: Unit, a: Expr, b: Expr) -> Result<Expr> {
    let args = vec![to_eval_type(a, EvalType::Time), to_eval_type(b, EvalType::Time)];
    Ok(Expr::call(Func::Scalar(ScalarFn::TimestampDiff(unit)), args, FieldType::bigint()))
}

/// A function by name.
pub fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let lower = name.to_ascii_lowercase();
    let name = canonical(&lower);
    let count = args.len();
    let wrong_count = || EvalError::WrongParamCount(lower.clone());
    fn take<const N: usize>(args: Vec<Expr>, e: EvalError) -> Result<[Expr; N]> {
        args.try_into().map_err(|_| e)
    }
    match name {
        "if" => {
            let [c, a, b] = take(args, wrong_count())?;
            return if_then(c, a, b);
        }
        "ifnull" => {
            let [a, b] = take(args, wrong_count())?;
            return coalesce(vec![a, b]);
        }
        "nullif" => {
            let [a, b] = take(args, wrong_count())?;
            let mut ty = a.ty().clone();
            ty.flags &= !flags::NOT_NULL;
            let equal = compare(CmpOp::Eq, a.clone(), b)?;
            let null = Expr::Const { value: Datum::Null, ty: ty.clone() };
            return Ok(Expr::call(Func::If, vec![equal, null, a], ty));
        }
        "coalesce" if count >= 1 => return coalesce(args),
        "greatest" | "least" if count >= 2 => return extreme(name == "greatest", args),
        "isnull" => {
            let [a] = take(args, wrong_count())?;
            return Ok(is_null(a));
        }
        "mod" => {
            let [a, b] = take(args, wrong_count())?;
            return arith(ArithOp::Mod, a, b);
        }
        "adddate" | "subdate" if count == 2 => {
            let [a, b] = take(args, wrong_count())?;
            return date_add(a, b, Unit::Day, name == "subdate");
        }
        "coercibility" => {
            let [a] = take(args, wrong_count())?;
            return Ok(Expr::constant(i64::from(coercibility(&a))));
        }
        "regexp_like" if count == 2 => {
            let [a, b] = take(args, wrong_count())?;
            return regexp(a, b);
        }
        _ => {}
    }
    let Some(f) = ScalarFn::by_name(name) else {
        return Err(match name {
            "coalesce" | "greatest" | "least" => wrong_count(),
            _ => EvalError::NoSuchFunction(lower),
        });
    };
    let (min, max) = f.arity();
    if count < min || count > max {
        return Err(wrong_count());
    }
    let kinds = f.args();
    let rounds = matches!(f, ScalarFn::Round | ScalarFn::Truncate | ScalarFn::Ceil | ScalarFn::Floor | ScalarFn::Sign);
    let args: Vec<Expr> = args
        .into_iter()
        .enumerate()
        .map(|(i, a)| match kinds.get(i).or(kinds.last()).copied().unwrap_or(Arg::Any) {
            Arg::Any => a,
            Arg::Str => to_eval_type(a, EvalType::String),
            Arg::Int => to_eval_type(a, EvalType::Int),
            Arg::Real => to_eval_type(a, EvalType::Real),
            Arg::Num => match arith_type(&a) {
                EvalType::Decimal if rounds => exact(to_eval_type(a, EvalType::Decimal)),
                EvalType::Real => to_eval_type(a, EvalType::Real),
                d => to_eval_type(a, d),
            },
            Arg::Time => to_eval_type(a, EvalType::Time),
            Arg::Span => to_eval_type(a, EvalType::Duration),
        })
        .collect();
    let ty = result_type(f, &args)?;
    Ok(Expr::call(Func::Scalar(f), args, ty))
}

/// Fractional digits from a constant argument such as `NOW(6)`.
fn fsp_argument(args: &[Expr]) -> Result<i32> {
    match args.first().map(|a| a.as_const()) {
        None => Ok(0),
        Some(Some(Datum::Int(n))) if (0..=6).contains(n) => Ok(*n as i32),
        _ => Err(EvalError::WrongArguments("now".into())),
    }
}

fn result_type(f: ScalarFn, args: &[Expr]) -> Result<FieldType> {
    use ScalarFn as F;
    let text = |flen: i32| FieldType { flen, ..FieldType::new(TypeCode::VarString) };
    let fsp = args.first().map_or(0, |a| match a.ty().tp {
        TypeCode::DateTime | TypeCode::Timestamp | TypeCode::Duration => a.ty().fsp().into(),
        _ => 0,
    });
    let span = |fsp: i32| FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) };
    Ok(match f.ret() {
        Ret::Int => FieldType::bigint(),
        Ret::UInt => FieldType::bigint_unsigned(),
        // The only function whose digits are fixed.
        Ret::Real if f == F::Pi => FieldType { decimal: 6, ..FieldType::double() },
        Ret::Real => FieldType::double(),
        Ret::Text => {
            let total: i32 = args.iter().map(|a| a.ty().flen).try_fold(0_i32, i32::checked_add).unwrap_or(-1);
            let flen = match f {
                F::Concat => total,
                F::Left | F::Right | F::Substring | F::Upper | F::Lower | F::Reverse | F::SubstringIndex => {
                    args[0].ty().flen
                }
                _ => -1,
            };
            text(flen.max(-1)).with_collation(merge_collations(args, f.name())?)
        }
        Ret::Ascii => text(match f {
            F::Md5 => 32,
            F::Sha1 => 40,
            F::Sha2 => 128,
            F::Uuid => 36,
            F::DayName | F::MonthName => 9,
            F::Conv | F::Bin | F::Oct => 65,
            F::Database | F::User | F::CurrentUser | F::Version | F::Charset | F::Collation => 64,
            F::Hex => args[0].ty().flen.saturating_mul(8).max(-1),
            _ => -1,
        }),
        Ret::Binary => FieldType::varbinary(-1),
        Ret::Date => FieldType::new(TypeCode::Date),
        Ret::DateTime => FieldType::datetime(fsp),
        Ret::Span => span(fsp),
        Ret::First => args[0].ty().clone(),
        Ret::Json => FieldType::new(TypeCode::Json),
        Ret::Special => match f {
            F::Abs => match EvalType::of(args[0].ty()) {
                EvalType::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                EvalType::Int => FieldType::bigint(),
                EvalType::Decimal => decimal_type(decimal_shape(args[0].ty()).0, decimal_shape(args[0].ty()).1),
                _ => FieldType::double(),
            },
            F::Ceil | F::Floor => match EvalType::of(args[0].ty()) {
                EvalType::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                EvalType::Int => FieldType::bigint(),
                EvalType::Decimal => {
                    let (p, s) = decimal_shape(args[0].ty());
                    if p - s < 18 { FieldType::bigint() } else { decimal_type(p - s + 1, 0) }
                }
                _ => FieldType { decimal: 0, ..FieldType::double() },
            },
            F::Round | F::Truncate => match EvalType::of(args[0].ty()) {
                EvalType::Int if args[0].ty().is_unsigned() => FieldType::bigint_unsigned(),
                EvalType::Int => FieldType::bigint(),
                EvalType::Decimal => {
                    let (p, s) = decimal_shape(args[0].ty());
                    let wanted = match args.get(1).map(Expr::as_const) {
                        None => 0,
                        Some(Some(Datum::Int(n))) => (*n).clamp(0, 30) as i32,
                        _ => s,
                    };
                    decimal_type(p - s + wanted + 1, wanted)
                }
                // Printed with as many digits as it is rounded to.
                _ => match args.get(1).map_or(Some(&Datum::Int(0)), Expr::as_const) {
                    Some(Datum::Int(n)) => FieldType { decimal: (*n).clamp(0, 30) as i32, ..FieldType::double() },
                    _ => FieldType::double(),
                },
            },
            F::StrToDate => {
                let pattern = match args[1].as_const() {
                    Some(Datum::Bytes(b)) => String::from_utf8_lossy(b).into_owned(),
                    _ => "%Y %f %T".into(),
                };
                let has =
                    |set: &str| pattern.as_bytes().windows(2).any(|w| w[0] == b'%' && set.as_bytes().contains(&w[1]));
                let fsp = if has("f") { 6 } else { 0 };
                match (has("YymcdeDMbWaj"), has("HkhIlisSfpT")) {
                    (true, false) => FieldType::new(TypeCode::Date),
                    (false, true) => span(fsp),
                    _ => FieldType::datetime(fsp),
                }
            }
            F::UnixTimestamp => match args.first() {
                None => FieldType::bigint(),
                Some(_) if fsp == 0 => FieldType::bigint(),
                Some(_) => decimal_type(12 + fsp, fsp),
            },
            F::FromUnixTime if args.len() == 2 => text(-1),
            F::FromUnixTime => match EvalType::of(args[0].ty()) {
                EvalType::Int => FieldType::datetime(0),
                EvalType::Decimal => FieldType::datetime(args[0].ty().decimal.clamp(0, 6)),
                _ => FieldType::datetime(6),
            },
            F::Now | F::SysDate | F::UtcTimestamp => FieldType::datetime(fsp_argument(args)?),
            F::CurTime | F::UtcTime => span(fsp_argument(args)?),
            F::MakeTime | F::SecToTime => span(match EvalType::of(args[args.len() - 1].ty()) {
                EvalType::Int => 0,
                EvalType::Decimal => args[args.len() - 1].ty().decimal.clamp(0, 6),
                _ => 6,
            }),
            F::AddTime | F::SubTime => match EvalType::of(args[0].ty()) {
                EvalType::Time => FieldType::datetime(fsp.max(args[1].ty().fsp().into())),
                EvalType::Duration => span(fsp.max(args[1].ty().fsp().into())),
                _ => text(29),
            },
            F::TimeDiff => span(
                args.iter()
                    .map(|a| match a {
                        Expr::Const { value: Datum::Bytes(b), .. } => Time::fsp_of(&String::from_utf8_lossy(b)).into(),
                        a if a.ty().tp.is_string() => 6,
                        a => a.ty().fsp().into(),
                    })
                    .max()
                    .unwrap_or(0),
            ),
            _ => FieldType::bigint(),
        },
    })
}
