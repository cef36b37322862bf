//! The type that holds values of several expressions.

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode, flags};

use super::cast::cast_to;
use super::collation::merge_collations;
use crate::error::Result;
use crate::expr::Expr;
use crate::types::{Physical, decimal_shape, decimal_type, text_type};

/// The type that holds values of all these expressions (CASE, IF, COALESCE, UNION, VALUES).
pub fn unify(args: &[&Expr]) -> Result<FieldType> {
    let types: Vec<&FieldType> = args.iter().map(|a| a.ty()).filter(|t| t.tp != TypeCode::Null).collect();
    let Some(first) = types.first() else { return Ok(FieldType::new(TypeCode::Null)) };
    let not_null = args.iter().all(|a| a.ty().is_not_null());
    let all = |f: fn(&FieldType) -> bool| types.iter().all(|t| f(t));
    let mut ty = if types.iter().all(|t| t == first) {
        let mut same = (*first).clone();
        same.flags &= flags::UNSIGNED | flags::BINARY | flags::IS_BOOLEAN | flags::ZEROFILL;
        if matches!(same.tp, TypeCode::Enum | TypeCode::Set) { text_type(&same) } else { same }
    } else if all(|t| t.tp.is_integer() || t.tp == TypeCode::Bit) {
        let unsigned =
            types.iter().filter(|t| t.is_unsigned() || matches!(t.tp, TypeCode::Year | TypeCode::Bit)).count();
        match unsigned {
            0 => FieldType::bigint(),
            n if n == types.len() => FieldType::bigint_unsigned(),
            // A narrower unsigned type fits BIGINT; only BIGINT UNSIGNED needs more.
            _ if types.iter().all(|t| !t.is_unsigned() || t.tp != TypeCode::LongLong) => FieldType::bigint(),
            _ => decimal_type(20, 0),
        }
    } else if all(|t| t.tp.is_numeric() || t.tp == TypeCode::Unspecified) {
        if types.iter().any(|t| t.tp.is_float()) {
            FieldType::double()
        } else {
            let shapes: Vec<_> = types.iter().map(|t| decimal_shape(t)).collect();
            let scale = shapes.iter().map(|s| s.1).max().unwrap_or(0);
            let digits = shapes.iter().map(|s| s.0 - s.1).max().unwrap_or(1);
            decimal_type(digits + scale, scale)
        }
    } else if all(|t| t.tp.is_time() || t.tp == TypeCode::Duration) {
        let fsp = types.iter().map(|t| t.fsp()).max().unwrap_or(0).into();
        if all(|t| t.tp == TypeCode::Duration) {
            FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) }
        } else if all(|t| matches!(t.tp, TypeCode::Date | TypeCode::NewDate)) {
            FieldType::new(TypeCode::Date)
        } else {
            FieldType::datetime(fsp)
        }
    } else if all(|t| t.tp == TypeCode::Json) {
        FieldType::new(TypeCode::Json)
    } else {
        let collation = merge_collations(args.iter().copied(), "case")?;
        let flen = types.iter().map(|t| text_type(t).flen.max(t.flen)).max().unwrap_or(-1);
        let open = types.iter().any(|t| t.tp.is_string() && t.flen < 0);
        let blob = types.iter().find(|t| t.tp.is_blob()).map(|t| t.tp);
        let ty =
            FieldType { flen: if open { -1 } else { flen }, ..FieldType::new(blob.unwrap_or(TypeCode::VarString)) };
        ty.with_collation(collation)
    };
    ty.flags &= !flags::NOT_NULL;
    if not_null {
        ty.flags |= flags::NOT_NULL;
    }
    Ok(ty)
}

/// Casts each to the type of all.
pub(crate) fn unified(args: Vec<Expr>) -> Result<(Vec<Expr>, FieldType)> {
    let ty = unify(&args.iter().collect::<Vec<_>>())?;
    let args = args.into_iter().map(|a| coerce(a, &ty)).collect();
    Ok((args, ty))
}

/// Casts to `ty` where the layout of values or their printing would differ.
pub fn coerce(e: Expr, ty: &FieldType) -> Expr {
    if let Expr::Const { value: Datum::Null, .. } = e {
        return Expr::Const { value: Datum::Null, ty: ty.clone() };
    }
    let from = e.ty();
    let same = Physical::of(from) == Physical::of(ty)
        && (from.tp == ty.tp || from.tp.is_string() && ty.tp.is_string() || from.tp.is_integer() && ty.tp.is_integer())
        && (!from.tp.is_time() && from.tp != TypeCode::Duration || from.fsp() == ty.fsp());
    if same { e } else { cast_to(e, ty.clone()) }
}
