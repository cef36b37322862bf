//! Values as bytes that are equal for equal values and sort as the values do: of joins, groups, sorts.

use arrow_array::{Array, ArrayRef};
use codec::datum::{self, Datum};
use codec::types::FieldType;
use query::batch::{Batch, bytes_at, datum_at};
use query::expr::Expr;
use sql_base::SqlError;
use sql_planner::plan::SortKey;

use crate::runtime::Runtime;

/// Appends bytes that are equal for equal values and sort as the values do. Values of one key column must be of one domain.
pub fn key_bytes(buf: &mut Vec<u8>, d: &Datum, ty: &FieldType) -> Result<(), SqlError> {
    let encoded = match d {
        // One form for both signednesses.
        Datum::Int(v) => {
            buf.push(if *v < 0 { datum::flag::INT } else { datum::flag::UINT });
            codec::number::encode_i64(buf, *v);
            Ok(())
        }
        Datum::UInt(v) | Datum::Set(v) | Datum::Bit(v) => {
            buf.push(datum::flag::UINT);
            codec::number::encode_u64(buf, if *v < 1 << 63 { *v | 1 << 63 } else { *v });
            if *v >= 1 << 63 {
                // Above every signed value.
                let at = buf.len() - 9;
                buf[at] = datum::flag::UINT + 1;
            }
            Ok(())
        }
        Datum::Decimal(v) => {
            let wide = FieldType::decimal(81, 30);
            datum::encode_key(buf, &Datum::Decimal(v.clone()), Some(&wide))
        }
        Datum::Bytes(_) => datum::encode_key(buf, d, Some(ty)),
        other => datum::encode_key(buf, other, None),
    };
    encoded.map_err(sql_catalog::row::damaged)
}

/// The key of a row over evaluated columns; `None` when a value is NULL and NULLs do not match.
pub(crate) fn row_key(columns: &[(ArrayRef, FieldType)], row: usize, nulls: bool) -> Result<Option<Vec<u8>>, SqlError> {
    let mut key = empty_key(columns, row);
    for (column, ty) in columns {
        if column.is_null(row) && !nulls {
            return Ok(None);
        }
        cell_key_bytes(&mut key, column, row, ty)?;
    }
    Ok(Some(key))
}

/// [`key_bytes`] of a value in its column.
pub(crate) fn cell_key_bytes(buf: &mut Vec<u8>, column: &ArrayRef, row: usize, ty: &FieldType) -> Result<(), SqlError> {
    match bytes_at(column, row, ty) {
        Some(bytes) => datum::encode_string_key(buf, bytes, Some(ty)),
        None => key_bytes(buf, &datum_at(column, row, ty), ty)?,
    }
    Ok(())
}

/// A buffer with room for what [`cell_key_bytes`] appends of a row's numbers, and of its strings as far as their
/// collation leaves them as they are.
pub(crate) fn empty_key(columns: &[(ArrayRef, FieldType)], row: usize) -> Vec<u8> {
    let room = |(column, ty): &(ArrayRef, FieldType)| {
        1 + bytes_at(column, row, ty).map_or(size_of::<u64>(), |bytes| codec::bytes::encoded_len(bytes.len()))
    };
    Vec::with_capacity(columns.iter().map(room).sum())
}

pub(crate) fn key_columns(
    exprs: &[Expr],
    batch: &Batch,
    rt: &mut Runtime,
) -> Result<Vec<(ArrayRef, FieldType)>, SqlError> {
    exprs.iter().map(|e| Ok((rt.column(e, batch)?, e.ty().clone()))).collect()
}

/// The sort keys of every row of a batch.
pub fn sort_keys(keys: &[SortKey], batch: &Batch, rt: &mut Runtime) -> Result<Vec<Vec<u8>>, SqlError> {
    let columns = keys
        .iter()
        .map(|k| Ok((rt.column(&k.expr, batch)?, k.expr.ty().clone())))
        .collect::<Result<Vec<_>, SqlError>>()?;
    (0..batch.num_rows())
        .map(|row| {
            let mut bytes = empty_key(&columns, row);
            for (k, (column, ty)) in keys.iter().zip(&columns) {
                let start = bytes.len();
                cell_key_bytes(&mut bytes, column, row, ty)?;
                if k.desc {
                    bytes[start..].iter_mut().for_each(|b| *b = !*b);
                }
            }
            Ok(bytes)
        })
        .collect()
}
