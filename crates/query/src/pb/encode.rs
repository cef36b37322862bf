//! Expressions and aggregates to messages.

use codec::datum::{self, Datum};
use codec::number;
use codec::types::{Collation, FieldType, TypeCode};
use proto::tipb::{self, ExprType, ScalarFuncSig as Sig};

use super::field_type_to_pb;
use super::signature::*;
use crate::expr::{BitOp, Expr, Func};
use crate::ops::Aggregate;
use crate::types::{EvalType, bool_type};

/// Whether storage nodes can evaluate it. What is computed before it is sent ([`Expr::is_of_run`]) is a constant to them.
pub fn can_push(expr: &Expr) -> bool {
    if !expr.is_of_run() {
        return to_pb(expr).is_some();
    }
    to_pb(&as_sent(expr)).is_some()
}

/// The same with constants, of whatever value, for what will be constant.
fn as_sent(expr: &Expr) -> Expr {
    match expr {
        e if e.is_constant() && e.is_of_run() => Expr::Const { value: Datum::Null, ty: e.ty().clone() },
        Expr::Call(call) => Expr::call(call.func, call.args.iter().map(as_sent).collect(), call.ty.clone()),
        e => e.clone(),
    }
}

/// Whether a TIMESTAMP is in it, whose value depends on the session's zone.
pub fn uses_timestamp(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |e| found |= e.ty().tp == TypeCode::Timestamp);
    found
}

fn leaf(tp: ExprType, val: Vec<u8>, ty: &FieldType) -> tipb::Expr {
    tipb::Expr { tp: tp.into(), val, field_type: Some(field_type_to_pb(ty)), ..Default::default() }
}

fn encoded(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut buf = Vec::with_capacity(8);
    f(&mut buf);
    buf
}

fn constant_to_pb(value: &Datum, ty: &FieldType) -> Option<tipb::Expr> {
    let (tp, val) = match value {
        Datum::Null => (ExprType::Null, Vec::new()),
        Datum::Int(v) => (ExprType::Int64, encoded(|b| number::encode_i64(b, *v))),
        Datum::UInt(v) => (ExprType::Uint64, encoded(|b| number::encode_u64(b, *v))),
        Datum::Float(v) => (ExprType::Float64, encoded(|b| number::encode_f64(b, *v))),
        Datum::Decimal(d) => {
            let mut val = Vec::new();
            datum::encode_decimal(&mut val, d, None).ok()?;
            (ExprType::MysqlDecimal, val)
        }
        Datum::Bytes(v) => (ExprType::String, v.clone()),
        Datum::Time(t) => (ExprType::MysqlTime, encoded(|b| number::encode_u64(b, t.to_packed()))),
        Datum::Duration(d) => (ExprType::MysqlDuration, encoded(|b| number::encode_i64(b, d.to_nanos()))),
        _ => return None,
    };
    Some(leaf(tp, val, ty))
}

/// The message of an expression; `None` when it must not be pushed down.
pub fn to_pb(expr: &Expr) -> Option<tipb::Expr> {
    if matches!(expr.ty().tp, TypeCode::Enum | TypeCode::Set | TypeCode::Json | TypeCode::Bit | TypeCode::Geometry) {
        return None;
    }
    match expr {
        Expr::Const { value, ty } => constant_to_pb(value, ty),
        Expr::Param(_) => None,
        Expr::Column { index, ty, .. } => {
            let val = encoded(|b| number::encode_i64(b, *index as i64));
            Some(leaf(ExprType::ColumnRef, val, ty))
        }
        Expr::Call(call) => {
            let mut ty = call.ty.clone();
            let mut children = call.args.iter().map(to_pb).collect::<Option<Vec<_>>>()?;
            let domain = |i: usize| EvalType::of(call.args[i].ty());
            let sig = match call.func {
                Func::Compare(op, domain, collation) => {
                    if domain == EvalType::String {
                        ty.collation = collation;
                    }
                    compare_sig(op, domain)?
                }
                Func::In(domain, collation) => {
                    if domain == EvalType::String {
                        ty.collation = collation;
                    }
                    IN.pick(domain)?
                }
                Func::And | Func::Or | Func::Xor => {
                    for (child, arg) in children.iter_mut().zip(&call.args) {
                        wrap_truth(child, EvalType::of(arg.ty()))?;
                    }
                    match call.func {
                        Func::And => Sig::LogicalAnd,
                        Func::Or => Sig::LogicalOr,
                        _ => Sig::LogicalXor,
                    }
                }
                Func::Not => match domain(0) {
                    EvalType::Int => Sig::UnaryNotInt,
                    EvalType::Real => Sig::UnaryNotReal,
                    EvalType::Decimal => Sig::UnaryNotDecimal,
                    _ => return None,
                },
                Func::IsNull => IS_NULL.pick(domain(0))?,
                Func::IsTrue => match domain(0) {
                    EvalType::Int => Sig::IntIsTrue,
                    EvalType::Real => Sig::RealIsTrue,
                    EvalType::Decimal => Sig::DecimalIsTrue,
                    _ => return None,
                },
                Func::IsFalse => match domain(0) {
                    EvalType::Int => Sig::IntIsFalse,
                    EvalType::Real => Sig::RealIsFalse,
                    EvalType::Decimal => Sig::DecimalIsFalse,
                    _ => return None,
                },
                Func::Arith(op, domain) => arith_sig(op, domain, ty.is_unsigned())?,
                Func::Neg(EvalType::Int) => Sig::UnaryMinusInt,
                Func::Neg(EvalType::Real) => Sig::UnaryMinusReal,
                Func::Neg(EvalType::Decimal) => Sig::UnaryMinusDecimal,
                Func::Neg(_) => return None,
                Func::Bit(op) => match op {
                    BitOp::And => Sig::BitAndSig,
                    BitOp::Or => Sig::BitOrSig,
                    BitOp::Xor => Sig::BitXorSig,
                    BitOp::ShiftLeft => Sig::LeftShift,
                    BitOp::ShiftRight => Sig::RightShift,
                },
                Func::BitNot => Sig::BitNegSig,
                Func::Cast => cast_sig(call.args[0].ty(), &ty)?,
                Func::If => {
                    wrap_truth(&mut children[0], domain(0))?;
                    IF.pick(EvalType::of(&ty))?
                }
                Func::Coalesce => COALESCE.pick(EvalType::of(&ty))?,
                Func::Case => {
                    let conditions = call.args.len() / 2;
                    for i in 0..conditions {
                        wrap_truth(&mut children[i * 2], domain(i * 2))?;
                    }
                    CASE.pick(EvalType::of(&ty))?
                }
                Func::Greatest(domain, collation) => {
                    if domain == EvalType::String {
                        ty.collation = collation;
                    }
                    GREATEST.pick(domain)?
                }
                Func::Least(domain, collation) => {
                    if domain == EvalType::String {
                        ty.collation = collation;
                    }
                    LEAST.pick(domain)?
                }
                Func::Like(collation) => {
                    ty.collation = collation;
                    Sig::LikeSig
                }
                Func::Regexp(collation) => {
                    ty.collation = collation;
                    if collation == Collation::BINARY { Sig::RegexpSig } else { Sig::RegexpUtf8Sig }
                }
                Func::JsonAtom | Func::DateAdd(..) | Func::Extract(_) | Func::TimestampDiff(_) => return None,
                Func::Scalar(f) => f.signature(&call.args)?,
            };
            let mut field_type = field_type_to_pb(&ty);
            if ty.collation != Collation::BINARY {
                // Comparisons return numbers but carry the collation of their arguments.
                field_type.collate = -i32::from(ty.collation.id());
            }
            Some(tipb::Expr {
                tp: ExprType::ScalarFunc.into(),
                sig: sig.into(),
                children,
                field_type: Some(field_type),
                ..Default::default()
            })
        }
    }
}

/// Makes a truth value (0, 1 or NULL) of a number that is no integer.
fn wrap_truth(child: &mut tipb::Expr, domain: EvalType) -> Option<()> {
    let sig = match domain {
        EvalType::Int => return Some(()),
        EvalType::Real => Sig::RealIsTrueWithNull,
        EvalType::Decimal => Sig::DecimalIsTrueWithNull,
        _ => return None,
    };
    let inner = std::mem::take(child);
    *child = tipb::Expr {
        tp: ExprType::ScalarFunc.into(),
        sig: sig.into(),
        children: vec![inner],
        field_type: Some(field_type_to_pb(&bool_type())),
        ..Default::default()
    };
    Some(())
}

/// The message of an aggregate; `None` when storage nodes do not compute it in part. COUNT without arguments becomes
/// COUNT(1).
pub fn aggregate_to_pb(agg: &Aggregate) -> Option<tipb::Expr> {
    if agg.distinct || matches!(agg.ty.tp, TypeCode::Json | TypeCode::Enum | TypeCode::Set | TypeCode::Bit) {
        return None;
    }
    let (_, tp) = AGGREGATES.iter().find(|a| a.0 == agg.func)?;
    let mut children = agg.args.iter().map(to_pb).collect::<Option<Vec<_>>>()?;
    if children.is_empty() {
        children.push(to_pb(&Expr::constant(Datum::Int(1)))?);
    }
    Some(tipb::Expr {
        tp: (*tp).into(),
        children,
        field_type: Some(field_type_to_pb(&agg.ty)),
        agg_func_mode: tipb::AggFunctionMode::Partial1Mode.into(),
        ..Default::default()
    })
}
