//! Loops over Arrow buffers for the operators that matter. `None` means: not here, go row by row.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array};
use arrow_buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use codec::datum::Datum;
use codec::types::{CollationKind, trim_spaces};

use crate::batch::{Batch, decimal_to_i128};
use crate::context::EvalContext;
use crate::error::Result;
use crate::expr::function::Body;
use crate::expr::{ArithOp, Call, CmpOp, Expr, Func};
use crate::types::{EvalType, Physical};

/// A side of an operator: a column, or one value for all rows.
enum Side {
    Column(ArrayRef, Physical),
    Scalar(Datum),
}

impl Side {
    fn of(expr: &Expr, batch: &Batch, ctx: &mut EvalContext) -> Result<Side> {
        Ok(match expr {
            Expr::Const { value, .. } => Side::Scalar(value.clone()),
            e => Side::Column(super::eval(e, batch, ctx)?, Physical::of(e.ty())),
        })
    }

    fn is_null(&self) -> bool {
        matches!(self, Side::Scalar(Datum::Null))
    }
}

/// The nulls of both.
fn union_nulls(a: Option<&NullBuffer>, b: Option<&NullBuffer>) -> Option<NullBuffer> {
    NullBuffer::union(a, b)
}

fn side_nulls(s: &Side) -> Option<&NullBuffer> {
    match s {
        Side::Column(c, _) => c.nulls(),
        Side::Scalar(_) => None,
    }
}

/// Compares two sides whose values are `T`.
fn compare_values<T: Copy>(
    rows: usize,
    a: impl Fn(usize) -> T,
    b: impl Fn(usize) -> T,
    op: CmpOp,
    lt: impl Fn(T, T) -> bool,
    eq: impl Fn(T, T) -> bool,
) -> BooleanBuffer {
    match op {
        CmpOp::Eq | CmpOp::NullEq => BooleanBuffer::collect_bool(rows, |i| eq(a(i), b(i))),
        CmpOp::Ne => BooleanBuffer::collect_bool(rows, |i| !eq(a(i), b(i))),
        CmpOp::Lt => BooleanBuffer::collect_bool(rows, |i| lt(a(i), b(i))),
        CmpOp::Le => BooleanBuffer::collect_bool(rows, |i| !lt(b(i), a(i))),
        CmpOp::Gt => BooleanBuffer::collect_bool(rows, |i| lt(b(i), a(i))),
        CmpOp::Ge => BooleanBuffer::collect_bool(rows, |i| !lt(a(i), b(i))),
    }
}

/// Dispatches on which sides are columns, so that the loop has no branch in it.
macro_rules! compare_primitive {
    ($rows:expr, $op:expr, $ty:ty, $a:expr, $b:expr, $scalar:expr) => {{
        let scalar = $scalar;
        match ($a, $b) {
            (Side::Column(x, _), Side::Column(y, _)) => {
                let (x, y) = (x.as_primitive::<$ty>().values(), y.as_primitive::<$ty>().values());
                Some(compare_values($rows, |i| x[i], |i| y[i], $op, |p, q| p < q, |p, q| p == q))
            }
            (Side::Column(x, _), Side::Scalar(y)) => scalar(y).map(|y| {
                let x = x.as_primitive::<$ty>().values();
                compare_values($rows, |i| x[i], |_| y, $op, |p, q| p < q, |p, q| p == q)
            }),
            (Side::Scalar(x), Side::Column(y, _)) => scalar(x).map(|x| {
                let y = y.as_primitive::<$ty>().values();
                compare_values($rows, |_| x, |i| y[i], $op, |p, q| p < q, |p, q| p == q)
            }),
            _ => None,
        }
    }};
}

fn compare(op: CmpOp, call: &Call, batch: &Batch, ctx: &mut EvalContext) -> Result<Option<BooleanArray>> {
    let Func::Compare(_, domain, collation) = call.func else { return Ok(None) };
    if op == CmpOp::NullEq {
        return Ok(None);
    }
    let rows = batch.num_rows();
    let (a, b) = (Side::of(&call.args[0], batch, ctx)?, Side::of(&call.args[1], batch, ctx)?);
    if a.is_null() || b.is_null() {
        return Ok(Some(BooleanArray::new_null(rows)));
    }
    let physical = match (&a, &b) {
        (Side::Column(_, p), Side::Column(_, q)) if p == q => *p,
        (Side::Column(_, p), Side::Scalar(_)) | (Side::Scalar(_), Side::Column(_, p)) => *p,
        _ => return Ok(None),
    };
    let bits = match (domain, physical) {
        (EvalType::Int, Physical::Int) => compare_primitive!(rows, op, Int64Type, &a, &b, |d: &Datum| d.as_i64()),
        (EvalType::Int, Physical::UInt) => compare_primitive!(rows, op, UInt64Type, &a, &b, |d: &Datum| match d {
            Datum::Int(v) => u64::try_from(*v).ok(),
            Datum::UInt(v) | Datum::Bit(v) | Datum::Enum(v) | Datum::Set(v) => Some(*v),
            _ => None,
        }),
        (EvalType::Real, Physical::Real) => compare_primitive!(rows, op, Float64Type, &a, &b, |d: &Datum| match d {
            Datum::Float(v) => Some(*v),
            _ => None,
        }),
        (EvalType::Time, Physical::Time) => compare_primitive!(rows, op, UInt64Type, &a, &b, |d: &Datum| match d {
            Datum::Time(t) => Some(t.to_packed()),
            _ => None,
        }),
        (EvalType::Duration, Physical::Duration) => {
            compare_primitive!(rows, op, Int64Type, &a, &b, |d: &Datum| match d {
                Datum::Duration(d) => Some(d.to_nanos()),
                _ => None,
            })
        }
        (EvalType::Decimal, Physical::Decimal128(scale)) => {
            compare_primitive!(rows, op, Decimal128Type, &a, &b, |d: &Datum| exact_i128(d, scale))
        }
        (EvalType::String, Physical::Bytes) => {
            let trim: fn(&[u8]) -> &[u8] = match collation.kind() {
                CollationKind::Binary => |s| s,
                CollationKind::BinPad => trim_spaces,
                _ => return Ok(None),
            };
            fn bytes(s: &Side) -> Option<&BinaryArray> {
                match s {
                    Side::Column(c, _) => Some(c.as_binary::<i32>()),
                    Side::Scalar(_) => None,
                }
            }
            let constant = |s: &Side| match s {
                Side::Scalar(Datum::Bytes(b)) => Some(trim(b).to_vec()),
                _ => None,
            };
            match (bytes(&a), bytes(&b), constant(&a), constant(&b)) {
                (Some(x), Some(y), ..) => Some(compare_values(
                    rows,
                    |i| trim(x.value(i)),
                    |i| trim(y.value(i)),
                    op,
                    |p, q| p < q,
                    |p, q| p == q,
                )),
                (Some(x), None, _, Some(y)) => {
                    Some(compare_values(rows, |i| trim(x.value(i)), |_| &y[..], op, |p, q| p < q, |p, q| p == q))
                }
                (None, Some(y), Some(x), _) => {
                    Some(compare_values(rows, |_| &x[..], |i| trim(y.value(i)), op, |p, q| p < q, |p, q| p == q))
                }
                _ => None,
            }
        }
        _ => None,
    };
    Ok(bits.map(|bits| BooleanArray::new(bits, union_nulls(side_nulls(&a), side_nulls(&b)))))
}

/// A number at this scale when it is exact there.
fn exact_i128(d: &Datum, scale: u8) -> Option<i128> {
    let d = match d {
        Datum::Decimal(d) => d.normalize(),
        Datum::Int(v) => codec::decimal::Decimal::from(*v),
        Datum::UInt(v) => codec::decimal::Decimal::from(*v),
        _ => return None,
    };
    if d.scale() > scale { None } else { decimal_to_i128(&d, scale) }
}

/// Comparisons, IN with constants, LIKE and REGEXP with a constant pattern.
pub(super) fn predicate(call: &Call, batch: &Batch, ctx: &mut EvalContext) -> Result<Option<BooleanArray>> {
    match call.func {
        Func::Compare(op, ..) => compare(op, call, batch, ctx),
        Func::In(domain, collation) => {
            let physical = Physical::of(call.args[0].ty());
            let constants: Option<Vec<&Datum>> = call.args[1..].iter().map(Expr::as_const).collect();
            let Some(constants) = constants else { return Ok(None) };
            let has_null = constants.iter().any(|d| d.is_null());
            let values = constants.iter().filter(|d| !d.is_null());
            let unknown = if has_null { None } else { Some(false) };
            match (domain, physical) {
                (EvalType::Int, Physical::Int) => {
                    let set: HashSet<i64> = values.filter_map(|d| d.as_i64()).collect();
                    let column = super::eval(&call.args[0], batch, ctx)?;
                    let column = column.as_primitive::<Int64Type>();
                    let hit = |v: i64| if set.contains(&v) { Some(true) } else { unknown };
                    Ok(Some(column.iter().map(|v| v.and_then(hit)).collect()))
                }
                (EvalType::String, Physical::Bytes) => {
                    let set: HashSet<Vec<u8>> = values
                        .filter_map(|d| {
                            if let Datum::Bytes(b) = d { Some(collation.sort_key(b).into_owned()) } else { None }
                        })
                        .collect();
                    let column = super::eval(&call.args[0], batch, ctx)?;
                    let column = column.as_binary::<i32>();
                    let hit = |v: &[u8]| if set.contains(&*collation.sort_key(v)) { Some(true) } else { unknown };
                    Ok(Some(column.iter().map(|v| v.and_then(hit)).collect()))
                }
                // A few comparisons per row cost less than a sort.
                _ if constants.len() <= 8 => Ok(None),
                _ => {
                    let compare = |a: &Datum, b: &Datum| crate::value::compare(domain, collation, a, b);
                    let mut sorted: Vec<&Datum> = values.copied().collect();
                    sorted.sort_by(|a, b| compare(a, b));
                    let ty = call.args[0].ty();
                    let column = super::eval(&call.args[0], batch, ctx)?;
                    let hit = |i| match crate::batch::datum_at(&column, i, ty) {
                        Datum::Null => None,
                        v if sorted.binary_search_by(|d| compare(d, &v)).is_ok() => Some(true),
                        _ => unknown,
                    };
                    Ok(Some((0..column.len()).map(hit).collect()))
                }
            }
        }
        Func::Like(collation) => {
            let (Some(Datum::Bytes(pattern)), Some(escape)) = (call.args[1].as_const(), call.args[2].as_const()) else {
                return Ok(None);
            };
            let escape = escape.as_i64().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32);
            let pattern = crate::value::Pattern::new(pattern, escape.filter(|c| *c != '\0'), collation);
            if Physical::of(call.args[0].ty()) != Physical::Bytes {
                return Ok(None);
            }
            let column = super::eval(&call.args[0], batch, ctx)?;
            Ok(Some(column.as_binary::<i32>().iter().map(|v| v.map(|v| pattern.matches(v))).collect()))
        }
        Func::Regexp(collation) => {
            let Some(Datum::Bytes(pattern)) = call.args[1].as_const() else { return Ok(None) };
            if Physical::of(call.args[0].ty()) != Physical::Bytes {
                return Ok(None);
            }
            let regex = crate::value::regex(pattern, collation)?;
            let column = super::eval(&call.args[0], batch, ctx)?;
            let hit = |v: &[u8]| regex.is_match(&String::from_utf8_lossy(v));
            Ok(Some(column.as_binary::<i32>().iter().map(|v| v.map(hit)).collect()))
        }
        _ => Ok(None),
    }
}

/// Three-valued AND and OR.
pub(super) fn and_or(and: bool, a: &BooleanArray, b: &BooleanArray) -> BooleanArray {
    if a.null_count() == 0 && b.null_count() == 0 {
        let bits = if and { a.values() & b.values() } else { a.values() | b.values() };
        return BooleanArray::new(bits, None);
    }
    let decisive = !and;
    (a.iter().zip(b.iter()))
        .map(|(a, b)| match (a, b) {
            (Some(x), _) if x == decisive => Some(decisive),
            (_, Some(x)) if x == decisive => Some(decisive),
            (Some(_), Some(_)) => Some(and),
            _ => None,
        })
        .collect()
}

/// Arithmetic, widening casts, and functions that have a kernel for columns.
pub(super) fn compute(call: &Call, batch: &Batch, ctx: &mut EvalContext) -> Result<Option<ArrayRef>> {
    match call.func {
        Func::Scalar(f) => match f.body {
            Body::Kernel(_, _, Some(kernel)) => {
                let columns = call.args.iter().map(|a| super::eval(a, batch, ctx)).collect::<Result<Vec<_>>>()?;
                Ok(kernel(call, &columns, batch.num_rows()))
            }
            _ => Ok(None),
        },
        Func::Arith(op @ (ArithOp::Add | ArithOp::Sub | ArithOp::Mul), domain) => arith(op, domain, call, batch, ctx),
        Func::Cast => {
            let (from, to) = (Physical::of(call.args[0].ty()), Physical::of(&call.ty));
            if from != Physical::Int || call.ty.tp == codec::types::TypeCode::Float {
                return Ok(None);
            }
            match to {
                Physical::Real => {
                    let column = super::eval(&call.args[0], batch, ctx)?;
                    let out: Float64Array = column.as_primitive::<Int64Type>().unary(|v| v as f64);
                    Ok(Some(Arc::new(out)))
                }
                // Wide enough for every BIGINT: no range to check.
                Physical::Decimal128(scale) if call.ty.flen - i32::from(scale) >= 19 => {
                    let column = super::eval(&call.args[0], batch, ctx)?;
                    let unit = 10_i128.pow(scale.into());
                    let out: Decimal128Array = column.as_primitive::<Int64Type>().unary(|v| i128::from(v) * unit);
                    Ok(Some(Arc::new(out.with_data_type(to.data_type()))))
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn arith(op: ArithOp, domain: EvalType, call: &Call, batch: &Batch, ctx: &mut EvalContext) -> Result<Option<ArrayRef>> {
    let rows = batch.num_rows();
    let result = Physical::of(&call.ty);
    let inputs = [Physical::of(call.args[0].ty()), Physical::of(call.args[1].ty())];
    let supported = match (domain, result) {
        (EvalType::Int, Physical::Int) => inputs == [Physical::Int; 2],
        (EvalType::Real, Physical::Real) => inputs == [Physical::Real; 2],
        (EvalType::Decimal, Physical::Decimal128(_)) => {
            inputs.iter().all(|p| matches!(p, Physical::Decimal128(_) | Physical::Int))
        }
        _ => false,
    };
    if !supported {
        return Ok(None);
    }
    let (a, b) = (Side::of(&call.args[0], batch, ctx)?, Side::of(&call.args[1], batch, ctx)?);
    if a.is_null() || b.is_null() {
        return Ok(None);
    }
    let nulls = union_nulls(side_nulls(&a), side_nulls(&b));
    let valid = |i: usize| nulls.as_ref().is_none_or(|n| n.is_valid(i));
    match result {
        Physical::Real => {
            let get = |s: &Side, i: usize| match s {
                Side::Column(c, _) => c.as_primitive::<Float64Type>().value(i),
                Side::Scalar(Datum::Float(v)) => *v,
                Side::Scalar(_) => f64::NAN,
            };
            let mut out = Vec::with_capacity(rows);
            for i in 0..rows {
                let (x, y) = (get(&a, i), get(&b, i));
                let v = match op {
                    ArithOp::Add => x + y,
                    ArithOp::Sub => x - y,
                    _ => x * y,
                };
                if !v.is_finite() && valid(i) {
                    return Ok(None);
                }
                out.push(v);
            }
            Ok(Some(Arc::new(Float64Array::new(ScalarBuffer::from(out), nulls))))
        }
        Physical::Int => {
            let get = |s: &Side, i: usize| match s {
                Side::Column(c, _) => Some(c.as_primitive::<Int64Type>().value(i)),
                Side::Scalar(d) => d.as_i64(),
            };
            let mut out = Vec::with_capacity(rows);
            for i in 0..rows {
                let (Some(x), Some(y)) = (get(&a, i), get(&b, i)) else { return Ok(None) };
                let v = match op {
                    ArithOp::Add => x.checked_add(y),
                    ArithOp::Sub => x.checked_sub(y),
                    _ => x.checked_mul(y),
                };
                match v {
                    Some(v) => out.push(v),
                    None if !valid(i) => out.push(0),
                    // The row evaluator words the error.
                    None => return Ok(None),
                }
            }
            Ok(Some(Arc::new(Int64Array::new(ScalarBuffer::from(out), nulls))))
        }
        Physical::Decimal128(scale) => {
            // Addition works at the result's scale; the product's scale is the sum of the factors'.
            let scale_of = |s: &Side| match s {
                Side::Column(_, Physical::Decimal128(s)) => *s,
                Side::Scalar(Datum::Decimal(d)) => d.scale(),
                _ => 0,
            };
            let (sa, sb) = (scale_of(&a), scale_of(&b));
            let (ua, ub) = match op {
                ArithOp::Mul if sa + sb == scale => (1, 1),
                ArithOp::Mul => return Ok(None),
                _ if sa <= scale && sb <= scale => (10_i128.pow((scale - sa).into()), 10_i128.pow((scale - sb).into())),
                _ => return Ok(None),
            };
            let get = |s: &Side, i: usize| match s {
                Side::Column(c, Physical::Decimal128(_)) => Some(c.as_primitive::<Decimal128Type>().value(i)),
                Side::Column(c, _) => Some(c.as_primitive::<Int64Type>().value(i).into()),
                Side::Scalar(Datum::Decimal(d)) => d.to_i128_unscaled(),
                Side::Scalar(d) => d.as_i64().map(i128::from),
            };
            let mut out = Vec::with_capacity(rows);
            for i in 0..rows {
                let (Some(x), Some(y)) = (get(&a, i), get(&b, i)) else { return Ok(None) };
                let v = x.checked_mul(ua).zip(y.checked_mul(ub)).and_then(|(x, y)| match op {
                    ArithOp::Add => x.checked_add(y),
                    ArithOp::Sub => x.checked_sub(y),
                    _ => x.checked_mul(y),
                });
                match v {
                    Some(v) => out.push(v),
                    None if !valid(i) => out.push(0),
                    None => return Ok(None),
                }
            }
            let out = Decimal128Array::new(ScalarBuffer::from(out), nulls).with_data_type(result.data_type());
            Ok(Some(Arc::new(out)))
        }
        _ => Ok(None),
    }
}
