//! Expressions and aggregates from messages.

use codec::datum::{self, Datum};
use codec::number;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode, flags};
use proto::tipb::{self, ExprType, ScalarFuncSig as Sig};

use super::field_type_from_pb;
use super::signature::*;
use crate::error::{EvalError, Result};
use crate::expr::{BitOp, Expr, Func, ScalarFn};
use crate::functions;
use crate::ops::{AggFunc, Aggregate};
use crate::types::{EvalType, bool_type};

fn number_of<T>(val: &[u8], decode: impl FnOnce(&mut &[u8]) -> codec::Result<T>) -> Result<T> {
    let mut val = val;
    Ok(decode(&mut val)?)
}

/// The expression of a message; `input` are the types of the columns it may refer to.
pub fn from_pb(pb: &tipb::Expr, input: &[FieldType]) -> Result<Expr> {
    from_pb_at(pb, input, 0)
}

/// Deeper trees are refused: they would overflow the stack before they mean anything.
const DEPTH_MAX: usize = 200;

fn from_pb_at(pb: &tipb::Expr, input: &[FieldType], depth: usize) -> Result<Expr> {
    if depth > DEPTH_MAX {
        return Err(EvalError::Unsupported(format!("expressions deeper than {DEPTH_MAX}")));
    }
    let unknown = || EvalError::Unsupported(format!("expression type {}", pb.tp));
    let tp = ExprType::try_from(pb.tp).map_err(|_| unknown())?;
    let declared = pb.field_type.as_ref().map(field_type_from_pb).transpose()?;
    let literal = |value: Datum| {
        let ty = match &declared {
            Some(ty) if ty.tp != TypeCode::Unspecified => ty.clone(),
            _ => crate::types::literal_type(&value),
        };
        // The declared type must hold the value as it is, or columns of it could not.
        let ty = match (&value, crate::types::Physical::of(&ty)) {
            (Datum::Null, _) => ty,
            (v, p) if p == crate::types::Physical::of(&crate::types::literal_type(v)) => ty,
            (v, _) => crate::types::literal_type(v),
        };
        Expr::Const { value, ty }
    };
    Ok(match tp {
        ExprType::Null => literal(Datum::Null),
        ExprType::Int64 => literal(Datum::Int(number_of(&pb.val, number::decode_i64)?)),
        ExprType::Uint64 => literal(Datum::UInt(number_of(&pb.val, number::decode_u64)?)),
        ExprType::Float32 | ExprType::Float64 => literal(Datum::Float(number_of(&pb.val, number::decode_f64)?)),
        ExprType::String | ExprType::Bytes => literal(Datum::Bytes(pb.val.clone())),
        ExprType::MysqlDecimal => literal(Datum::Decimal(number_of(&pb.val, datum::decode_decimal)?)),
        ExprType::MysqlDuration => {
            let fsp = declared.as_ref().map_or(6, FieldType::fsp);
            literal(Datum::Duration(Duration::from_nanos(number_of(&pb.val, number::decode_i64)?, fsp)))
        }
        ExprType::MysqlTime => {
            let kind = declared.as_ref().and_then(|t| TimeKind::from_type(t.tp)).unwrap_or(TimeKind::DateTime);
            let fsp = declared.as_ref().map_or(6, FieldType::fsp);
            literal(Datum::Time(Time::from_packed(number_of(&pb.val, number::decode_u64)?, kind, fsp)?))
        }
        ExprType::ColumnRef => {
            let index = number_of(&pb.val, number::decode_i64)?;
            let index = usize::try_from(index).ok().filter(|i| *i < input.len());
            let index = index.ok_or_else(|| EvalError::Unsupported("a column beyond the input".into()))?;
            Expr::column(index, input[index].clone())
        }
        ExprType::ScalarFunc => {
            let args = pb.children.iter().map(|c| from_pb_at(c, input, depth + 1)).collect::<Result<Vec<_>>>()?;
            call_from_pb(pb, args, declared.ok_or_else(unknown)?)?
        }
        _ => return Err(unknown()),
    })
}

/// Exactly these many arguments.
fn want(args: &[Expr], n: std::ops::RangeInclusive<usize>, sig: Sig) -> Result<()> {
    if n.contains(&args.len()) { Ok(()) } else { Err(EvalError::WrongParamCount(sig.as_str_name().into())) }
}

fn call_from_pb(pb: &tipb::Expr, args: Vec<Expr>, ty: FieldType) -> Result<Expr> {
    use Sig as S;
    let unknown = || EvalError::Unsupported(format!("function signature {}", pb.sig));
    let sig = Sig::try_from(pb.sig).map_err(|_| unknown())?;
    let collation = ty.collation;
    let many = 1..=usize::MAX;
    // Comparisons carry a collation but return a number.
    let plain = |ty: FieldType| if ty.tp.is_string() { ty } else { ty.with_collation(Collation::BINARY) };
    for (op, family) in COMPARISONS {
        if let Some(domain) = family.domain_of(sig) {
            want(&args, 2..=2, sig)?;
            check_domain(&args, domain, sig)?;
            return Ok(Expr::call(Func::Compare(op, domain, collation), args, bool_type()));
        }
    }
    if let Some(domain) = IN.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        check_domain(&args, domain, sig)?;
        return Ok(Expr::call(Func::In(domain, collation), args, bool_type()));
    }
    if IS_NULL.domain_of(sig).is_some() {
        want(&args, 1..=1, sig)?;
        return Ok(Expr::call(Func::IsNull, args, bool_type()));
    }
    if let Some((op, domain)) = arith_from(sig) {
        want(&args, 2..=2, sig)?;
        check_domain(&args, domain, sig)?;
        return Ok(Expr::call(Func::Arith(op, domain), args, plain(ty)));
    }
    if CASTS.iter().flatten().any(|s| *s == sig) {
        want(&args, 1..=1, sig)?;
        return Ok(Expr::call(Func::Cast, args, plain(ty)));
    }
    let result = |domain: EvalType, args: Vec<Expr>, func: Func, from: usize, step: usize| {
        // Branches take the layout of the result.
        let len = args.len();
        let args = (args.into_iter().enumerate())
            .map(|(i, a)| {
                let is_branch = i >= from && ((i - from).is_multiple_of(step) || i + 1 == len);
                if is_branch { crate::infer::coerce(a, &ty) } else { a }
            })
            .collect();
        if EvalType::of(&ty) != domain {
            return Err(EvalError::Unsupported(format!("{} of type {}", sig.as_str_name(), ty.declaration())));
        }
        Ok(Expr::call(func, args, ty.clone()))
    };
    if let Some(domain) = IF.domain_of(sig) {
        want(&args, 3..=3, sig)?;
        return result(domain, args, Func::If, 1, 1);
    }
    if let Some(domain) = COALESCE.domain_of(sig).or_else(|| IF_NULL.domain_of(sig)) {
        want(&args, many, sig)?;
        return result(domain, args, Func::Coalesce, 0, 1);
    }
    if let Some(domain) = CASE.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Case, 1, 2);
    }
    if let Some(domain) = GREATEST.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Greatest(domain, collation), 0, 1);
    }
    if let Some(domain) = LEAST.domain_of(sig) {
        want(&args, 2..=usize::MAX, sig)?;
        return result(domain, args, Func::Least(domain, collation), 0, 1);
    }
    let (func, count) = match sig {
        S::LogicalAnd => (Func::And, 2),
        S::LogicalOr => (Func::Or, 2),
        S::LogicalXor => (Func::Xor, 2),
        S::UnaryNotInt | S::UnaryNotReal | S::UnaryNotDecimal => (Func::Not, 1),
        S::IntIsTrue | S::RealIsTrue | S::DecimalIsTrue => (Func::IsTrue, 1),
        S::IntIsFalse | S::RealIsFalse | S::DecimalIsFalse => (Func::IsFalse, 1),
        S::IntIsTrueWithNull | S::RealIsTrueWithNull | S::DecimalIsTrueWithNull => {
            want(&args, 1..=1, sig)?;
            return Ok(crate::infer::not(crate::infer::not(args.into_iter().next().ok_or_else(unknown)?)));
        }
        S::IntIsFalseWithNull | S::RealIsFalseWithNull | S::DecimalIsFalseWithNull => (Func::Not, 1),
        S::UnaryMinusInt => (Func::Neg(EvalType::Int), 1),
        S::UnaryMinusReal => (Func::Neg(EvalType::Real), 1),
        S::UnaryMinusDecimal => (Func::Neg(EvalType::Decimal), 1),
        S::BitAndSig => (Func::Bit(BitOp::And), 2),
        S::BitOrSig => (Func::Bit(BitOp::Or), 2),
        S::BitXorSig => (Func::Bit(BitOp::Xor), 2),
        S::LeftShift => (Func::Bit(BitOp::ShiftLeft), 2),
        S::RightShift => (Func::Bit(BitOp::ShiftRight), 2),
        S::BitNegSig => (Func::BitNot, 1),
        S::LikeSig => (Func::Like(collation), 3),
        S::RegexpSig | S::RegexpUtf8Sig => (Func::Regexp(collation), 2),
        sig => {
            let f = functions::by_signature(sig).ok_or_else(unknown)?;
            if !f.takes(args.len()) {
                return Err(EvalError::WrongParamCount(sig.as_str_name().into()));
            }
            return Ok(Expr::call(Func::Scalar(ScalarFn(f)), args, plain(ty)));
        }
    };
    want(&args, count..=count, sig)?;
    let logical = matches!(
        func,
        Func::And | Func::Or | Func::Xor | Func::Not | Func::IsTrue | Func::IsFalse | Func::Like(_) | Func::Regexp(_)
    );
    Ok(Expr::call(func, args, if logical { bool_type() } else { plain(ty) }))
}

/// Arguments must live where the signature works; untyped NULLs do everywhere.
fn check_domain(args: &[Expr], domain: EvalType, sig: Sig) -> Result<()> {
    let fits = |a: &Expr| EvalType::of(a.ty()) == domain || a.is_null_const();
    if args.iter().all(fits) {
        return Ok(());
    }
    Err(EvalError::WrongArguments(sig.as_str_name().into()))
}

/// The aggregate of a message.
pub fn aggregate_from_pb(pb: &tipb::Expr, input: &[FieldType]) -> Result<Aggregate> {
    let unknown = || EvalError::Unsupported(format!("aggregate function {}", pb.tp));
    let tp = ExprType::try_from(pb.tp).map_err(|_| unknown())?;
    let (func, _) = AGGREGATES.iter().find(|a| a.1 == tp).ok_or_else(unknown)?;
    if pb.has_distinct {
        return Err(EvalError::Unsupported("DISTINCT aggregates in the coprocessor".into()));
    }
    let args = pb.children.iter().map(|c| from_pb(c, input)).collect::<Result<Vec<_>>>()?;
    if args.len() != 1 && *func != AggFunc::Count {
        return Err(EvalError::WrongParamCount(tp.as_str_name().into()));
    }
    let mut ty = match &pb.field_type {
        Some(ty) => field_type_from_pb(ty)?,
        None => return Err(unknown()),
    };
    ty.flags &= !flags::NOT_NULL;
    Ok(Aggregate { func: *func, args, ty, distinct: false })
}
