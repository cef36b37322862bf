//! One row at a time: the meaning of every operator. The vectorised kernels must agree with it; tests compare them.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time, TimeKind};

use crate::batch::Batch;
use crate::context::{EvalContext, sql_mode};
use crate::error::{EvalError, Result};
use crate::expr::function::Body;
use crate::expr::{ArithOp, BitOp, Call, CmpOp, Expr, Func, Sql};
use crate::interval::{self, Unit};
use crate::types::EvalType;
use crate::value::{self as cast, compare};

/// Where column references find their values.
pub trait Row {
    /// The value of a column.
    fn value(&self, column: usize) -> Datum;
}

impl Row for [Datum] {
    fn value(&self, column: usize) -> Datum {
        self.get(column).cloned().unwrap_or_default()
    }
}

impl Row for Vec<Datum> {
    fn value(&self, column: usize) -> Datum {
        self.as_slice().value(column)
    }
}

/// A row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchRow<'a>(pub &'a Batch, pub usize);

impl Row for BatchRow<'_> {
    fn value(&self, column: usize) -> Datum {
        self.0.datum(self.1, column)
    }
}

/// The value of an expression on a row.
pub fn eval_row<R: Row + ?Sized>(expr: &Expr, row: &R, ctx: &mut EvalContext) -> Result<Datum> {
    match expr {
        Expr::Const { value, .. } => Ok(value.clone()),
        Expr::Column { index, .. } => Ok(row.value(*index)),
        Expr::Param(param) => Err(EvalError::NoValue(param.id)),
        Expr::Call(call) => eval_call(call, row, ctx),
    }
}

fn truth_at<R: Row + ?Sized>(expr: &Expr, row: &R, ctx: &mut EvalContext) -> Result<Option<bool>> {
    let value = eval_row(expr, row, ctx)?;
    cast::truth(&value, ctx)
}

fn boolean(v: Option<bool>) -> Datum {
    v.map_or(Datum::Null, |b| Datum::Int(b.into()))
}

fn eval_call<R: Row + ?Sized>(call: &Call, row: &R, ctx: &mut EvalContext) -> Result<Datum> {
    let args = &call.args;
    match call.func {
        // Those that do not evaluate all their arguments.
        Func::And => {
            let a = truth_at(&args[0], row, ctx)?;
            if a == Some(false) {
                return Ok(Datum::Int(0));
            }
            let b = truth_at(&args[1], row, ctx)?;
            Ok(boolean(match (a, b) {
                (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }))
        }
        Func::Or => {
            let a = truth_at(&args[0], row, ctx)?;
            if a == Some(true) {
                return Ok(Datum::Int(1));
            }
            let b = truth_at(&args[1], row, ctx)?;
            Ok(boolean(match (a, b) {
                (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }))
        }
        Func::If => {
            let chosen = if truth_at(&args[0], row, ctx)? == Some(true) { &args[1] } else { &args[2] };
            eval_row(chosen, row, ctx)
        }
        Func::Coalesce => {
            for arg in args {
                let v = eval_row(arg, row, ctx)?;
                if !v.is_null() {
                    return Ok(v);
                }
            }
            Ok(Datum::Null)
        }
        Func::Case => {
            let mut pairs = args.chunks_exact(2);
            for pair in &mut pairs {
                if truth_at(&pair[0], row, ctx)? == Some(true) {
                    return eval_row(&pair[1], row, ctx);
                }
            }
            pairs.remainder().first().map_or(Ok(Datum::Null), |e| eval_row(e, row, ctx))
        }
        Func::In(domain, collation) => {
            let first = eval_row(&args[0], row, ctx)?;
            if first.is_null() {
                return Ok(Datum::Null);
            }
            let mut unknown = false;
            for arg in &args[1..] {
                let v = eval_row(arg, row, ctx)?;
                if v.is_null() {
                    unknown = true;
                } else if compare(domain, collation, &first, &v).is_eq() {
                    return Ok(Datum::Int(1));
                }
            }
            Ok(if unknown { Datum::Null } else { Datum::Int(0) })
        }
        _ => {
            let values = args.iter().map(|a| eval_row(a, row, ctx)).collect::<Result<Vec<_>>>()?;
            apply(call, values, ctx)
        }
    }
}

/// A function that evaluates all its arguments.
fn apply(call: &Call, mut values: Vec<Datum>, ctx: &mut EvalContext) -> Result<Datum> {
    match call.func {
        Func::Compare(op, domain, collation) => {
            let (a, b) = (&values[0], &values[1]);
            Ok(match (a.is_null(), b.is_null()) {
                (false, false) => Datum::Int(op.holds(compare(domain, collation, a, b)).into()),
                (x, y) if op == CmpOp::NullEq => Datum::Int((x && y).into()),
                _ => Datum::Null,
            })
        }
        Func::IsNull => Ok(Datum::Int(values[0].is_null().into())),
        Func::Not => Ok(boolean(cast::truth(&values[0], ctx)?.map(|b| !b))),
        Func::IsTrue => Ok(Datum::Int((cast::truth(&values[0], ctx)? == Some(true)).into())),
        Func::IsFalse => Ok(Datum::Int((cast::truth(&values[0], ctx)? == Some(false)).into())),
        Func::Xor => {
            let (a, b) = (cast::truth(&values[0], ctx)?, cast::truth(&values[1], ctx)?);
            Ok(boolean(a.zip(b).map(|(a, b)| a != b)))
        }
        Func::Cast => cast::cast(values.swap_remove(0), call.args[0].ty(), &call.ty, ctx),
        Func::JsonAtom if values[0].is_null() => Ok(Datum::Null),
        Func::JsonAtom => Ok(Datum::Json(cast::to_json(&values[0], call.args[0].ty()))),
        Func::Scalar(f) => match f.body {
            Body::Kernel(..) if !f.sees_nulls && values.iter().any(Datum::is_null) => Ok(Datum::Null),
            Body::Kernel(_, kernel, _) => kernel(call, &values, ctx),
            _ => Err(EvalError::Unsupported(f.name.into())),
        },
        Func::Greatest(domain, collation) | Func::Least(domain, collation) => {
            if values.iter().any(Datum::is_null) {
                return Ok(Datum::Null);
            }
            let largest = matches!(call.func, Func::Greatest(..));
            let better = |a: &Datum, b: &Datum| {
                let order = compare(domain, collation, a, b);
                if largest { order.is_gt() } else { order.is_lt() }
            };
            Ok(values.into_iter().reduce(|best, v| if better(&v, &best) { v } else { best }).unwrap_or_default())
        }
        _ if values.iter().any(Datum::is_null) => Ok(Datum::Null),
        Func::Arith(op, domain) => arith(op, domain, &values[0], &values[1], call, ctx),
        Func::Neg(_) => negate(&values[0], call),
        Func::Bit(op) => {
            let (a, b) = (bits(&values[0]), bits(&values[1]));
            Ok(Datum::UInt(match op {
                BitOp::And => a & b,
                BitOp::Or => a | b,
                BitOp::Xor => a ^ b,
                BitOp::ShiftLeft => u32::try_from(b).ok().and_then(|n| a.checked_shl(n)).unwrap_or(0),
                BitOp::ShiftRight => u32::try_from(b).ok().and_then(|n| a.checked_shr(n)).unwrap_or(0),
            }))
        }
        Func::BitNot => Ok(Datum::UInt(!bits(&values[0]))),
        Func::Like(collation) => match (&values[0], &values[1], &values[2]) {
            (Datum::Bytes(text), Datum::Bytes(pattern), escape) => {
                let escape =
                    escape.as_i64().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32).filter(|c| *c != '\0');
                Ok(Datum::Int(crate::value::Pattern::new(pattern, escape, collation).matches(text).into()))
            }
            (text, ..) => Err(EvalError::mismatch(call.args[0].ty(), text)),
        },
        Func::Regexp(collation) => match (&values[0], &values[1]) {
            (Datum::Bytes(text), Datum::Bytes(pattern)) => {
                let regex = crate::value::regex(pattern, collation)?;
                Ok(Datum::Int(regex.is_match(&String::from_utf8_lossy(text)).into()))
            }
            (text, _) => Err(EvalError::mismatch(call.args[0].ty(), text)),
        },
        Func::Extract(unit) => extract(unit, &values[0], ctx),
        Func::TimestampDiff(unit) => Ok(match (&values[0], &values[1]) {
            (Datum::Time(a), Datum::Time(b)) => interval::timestamp_diff(unit, a, b).map_or(Datum::Null, Datum::Int),
            _ => Datum::Null,
        }),
        Func::DateAdd(unit, subtract) => date_add(&values[0], &values[1], unit, subtract, call, ctx),
        // Handled by the caller.
        Func::And | Func::Or | Func::If | Func::Coalesce | Func::Case | Func::In(..) => {
            Err(EvalError::Unsupported(call.func.name().into()))
        }
    }
}

/// An integer's 64 bits.
fn bits(v: &Datum) -> u64 {
    match v {
        Datum::Int(v) => *v as u64,
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => *v,
        _ => 0,
    }
}

fn wide(v: &Datum) -> i128 {
    match v {
        Datum::Int(v) => (*v).into(),
        v => bits(v).into(),
    }
}

pub(crate) fn out_of_range(ty: &str, call: &Call) -> EvalError {
    EvalError::OutOfRange { ty: ty.into(), expr: Sql(&Expr::Call(Box::new(call.clone()))).to_string() }
}

/// An integer result in the type of the call, or error 1690.
pub(crate) fn fit_integer(n: i128, call: &Call, ctx: &EvalContext) -> Result<Datum> {
    let unsigned = call.ty.is_unsigned()
        && !(matches!(call.func, Func::Arith(ArithOp::Sub, _)) && ctx.has_mode(sql_mode::NO_UNSIGNED_SUBTRACTION));
    if unsigned {
        u64::try_from(n).map(Datum::UInt).map_err(|_| out_of_range("BIGINT UNSIGNED", call))
    } else {
        i64::try_from(n).map(Datum::Int).map_err(|_| out_of_range("BIGINT", call))
    }
}

fn decimal_of(v: &Datum) -> Result<Decimal> {
    Ok(match v {
        Datum::Decimal(d) => d.clone(),
        Datum::Int(v) => Decimal::from(*v),
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => Decimal::from(*v),
        v => return Err(EvalError::Mismatch { expected: "a number".into(), found: format!("{v:?}") }),
    })
}

fn arith(op: ArithOp, domain: EvalType, a: &Datum, b: &Datum, call: &Call, ctx: &mut EvalContext) -> Result<Datum> {
    match domain {
        EvalType::Int => {
            let (x, y) = (wide(a), wide(b));
            let n = match op {
                ArithOp::Add => x + y,
                ArithOp::Sub => x - y,
                ArithOp::Mul => match x.checked_mul(y) {
                    Some(n) => n,
                    None => return Err(out_of_range("BIGINT UNSIGNED", call)),
                },
                ArithOp::IntDiv | ArithOp::Mod | ArithOp::Div if y == 0 => return ctx.division_by_zero(),
                ArithOp::IntDiv | ArithOp::Div => x / y,
                ArithOp::Mod => x % y,
            };
            fit_integer(n, call, ctx)
        }
        EvalType::Real => {
            let (Datum::Float(x), Datum::Float(y)) = (a, b) else { return Err(EvalError::mismatch(&call.ty, a)) };
            let v = match op {
                ArithOp::Add => x + y,
                ArithOp::Sub => x - y,
                ArithOp::Mul => x * y,
                ArithOp::Div | ArithOp::IntDiv | ArithOp::Mod if *y == 0.0 => return ctx.division_by_zero(),
                ArithOp::Div => x / y,
                ArithOp::IntDiv => (x / y).trunc(),
                ArithOp::Mod => x % y,
            };
            if v.is_finite() { Ok(Datum::Float(v)) } else { Err(out_of_range("DOUBLE", call)) }
        }
        _ => {
            let (x, y) = (decimal_of(a)?, decimal_of(b)?);
            let scale = call.ty.decimal.clamp(0, 30);
            let result = match op {
                ArithOp::Add => Some(x.add(&y)),
                ArithOp::Sub => Some(x.sub(&y)),
                ArithOp::Mul => Some(x.mul(&y)),
                ArithOp::Div => x.div(&y, crate::infer::to_words(scale).clamp(0, 30) as u8),
                ArithOp::IntDiv => x.int_div(&y),
                ArithOp::Mod => x.rem(&y),
            };
            let Some(result) = result else { return ctx.division_by_zero() };
            let d = result.map_err(|_| out_of_range("DECIMAL", call))?;
            if op == ArithOp::IntDiv {
                let n = d.to_i128_unscaled().ok_or_else(|| out_of_range("BIGINT", call))?;
                return fit_integer(n, call, ctx);
            }
            Ok(Datum::Decimal(if i32::from(d.scale()) == scale { d } else { d.round(scale) }))
        }
    }
}

fn negate(v: &Datum, call: &Call) -> Result<Datum> {
    Ok(match v {
        Datum::Int(v) => Datum::Int(v.checked_neg().ok_or_else(|| out_of_range("BIGINT", call))?),
        Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => {
            Datum::Int(i64::try_from(-i128::from(*v)).map_err(|_| out_of_range("BIGINT", call))?)
        }
        Datum::Float(v) => Datum::Float(-v),
        Datum::Decimal(d) => Datum::Decimal(d.neg()),
        v => return Err(EvalError::mismatch(&call.ty, v)),
    })
}

fn date_add(
    date: &Datum,
    amount: &Datum,
    unit: Unit,
    subtract: bool,
    call: &Call,
    ctx: &mut EvalContext,
) -> Result<Datum> {
    let Datum::Bytes(amount) = amount else { return Err(EvalError::mismatch(call.args[1].ty(), amount)) };
    let Some(interval) = unit.read(&String::from_utf8_lossy(amount)) else {
        return Ok(Datum::Null);
    };
    let interval = if subtract { interval.negate() } else { interval };
    if let Datum::Duration(d) = date {
        let moved = interval.add_to_duration(Duration { fsp: call.ty.fsp(), ..*d });
        return Ok(moved.map_or(Datum::Null, Datum::Duration));
    }
    let (t, text) = match date {
        Datum::Time(t) => (*t, false),
        Datum::Bytes(b) => {
            let text = String::from_utf8_lossy(b);
            let has_clock = text.trim().len() > 10 || unit.has_clock();
            let kind = if has_clock { TimeKind::DateTime } else { TimeKind::Date };
            match cast::to_time(
                date,
                kind,
                if interval.micros % 1_000_000 != 0 { 6 } else { Time::fsp_of(&text) },
                ctx,
            )? {
                Some(t) => (t, true),
                None => return Ok(Datum::Null),
            }
        }
        v => return Err(EvalError::mismatch(call.args[0].ty(), v)),
    };
    let kind = if text { t.kind } else { TimeKind::from_type(call.ty.tp).unwrap_or(TimeKind::DateTime) };
    let fsp = if text { t.fsp } else { call.ty.fsp() };
    match interval.add_to(&Time { kind, fsp, ..t }) {
        Some(t) if text => Ok(Datum::string(t.to_string())),
        Some(t) => Ok(Datum::Time(t)),
        None => {
            ctx.warn((&EvalError::OutOfRange { ty: "datetime".into(), expr: call.func.name().into() }).into());
            Ok(Datum::Null)
        }
    }
}

fn extract(unit: Unit, from: &Datum, ctx: &mut EvalContext) -> Result<Datum> {
    Ok(match from {
        Datum::Time(t) => Datum::Int(interval::extract(unit, t)),
        Datum::Duration(d) => Datum::Int(interval::extract_duration(unit, *d)),
        s => {
            let text = cast::display(s);
            // No date is so short before its first colon.
            let clock_only = text.trim().split_once(':').is_some_and(|(hours, _)| hours.len() <= 5);
            if text.trim().len() > 10 && !clock_only {
                let t = cast::to_time(s, TimeKind::DateTime, 6, ctx)?;
                t.map_or(Datum::Null, |t| Datum::Int(interval::extract(unit, &t)))
            } else {
                let d = cast::to_duration(s, 6, ctx)?;
                d.map_or(Datum::Null, |d| Datum::Int(interval::extract_duration(unit, d)))
            }
        }
    })
}
