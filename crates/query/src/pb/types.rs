//! Types and scanned columns as messages.

use codec::datum::{self, Datum};
use codec::types::{Collation, FieldType, TypeCode};
use proto::tipb;

use crate::error::{EvalError, Result};

/// A type as expressions carry it.
pub fn field_type_to_pb(ty: &FieldType) -> tipb::FieldType {
    let text = ty.tp.is_string() || matches!(ty.tp, TypeCode::Enum | TypeCode::Set);
    let id = i32::from(ty.collation.id());
    tipb::FieldType {
        tp: ty.tp as i32,
        flag: ty.flags,
        flen: ty.flen,
        decimal: ty.decimal,
        collate: if text { -id } else { id },
        charset: ty.collation.charset().into(),
        elems: ty.elems.clone(),
    }
}

fn type_code(tp: i32) -> Result<TypeCode> {
    u8::try_from(tp).ok().and_then(TypeCode::from_u8).ok_or_else(|| EvalError::Unsupported(format!("column type {tp}")))
}

fn collation(id: i32) -> Result<Collation> {
    match id {
        0 => Ok(Collation::BINARY),
        id => Collation::from_id(id).ok_or_else(|| EvalError::Unsupported(format!("collation {}", id.unsigned_abs()))),
    }
}

/// A type of an expression.
pub fn field_type_from_pb(ty: &tipb::FieldType) -> Result<FieldType> {
    Ok(FieldType {
        tp: type_code(ty.tp)?,
        flags: ty.flag,
        flen: ty.flen,
        decimal: ty.decimal,
        collation: collation(ty.collate)?,
        elems: ty.elems.clone(),
    })
}

/// A column of a scan. `default` is the value of rows that are older than the column: an encoded datum, or nothing.
pub fn column_to_pb(id: i64, ty: &FieldType, is_handle: bool, default: Option<&Datum>) -> Result<tipb::ColumnInfo> {
    let pb = field_type_to_pb(ty);
    let mut default_val = Vec::new();
    if let Some(value) = default.filter(|d| !d.is_null()) {
        datum::encode_value(&mut default_val, value)?;
    }
    Ok(tipb::ColumnInfo {
        column_id: id,
        tp: pb.tp,
        collation: pb.collate,
        column_len: ty.flen,
        decimal: ty.decimal,
        flag: ty.flags as i32,
        elems: pb.elems,
        default_val,
        pk_handle: is_handle,
    })
}

/// The type of a scanned column.
pub fn column_type(column: &tipb::ColumnInfo) -> Result<FieldType> {
    Ok(FieldType {
        tp: type_code(column.tp)?,
        flags: column.flag as u32,
        flen: column.column_len,
        decimal: column.decimal,
        collation: collation(column.collation)?,
        elems: column.elems.clone(),
    })
}
