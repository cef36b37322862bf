//! A table's rows and index entries as keys and values.
//!
//! A row in memory is a value for each column of [`TableInfo::columns`], whatever its state, by offset: columns that are
//! being added hold their default, columns that writes do not store hold NULL. TIMESTAMP values are in UTC here.

use std::borrow::Cow;

use codec::datum::Datum;
use codec::row::{self, RowColumn, RowDecoder};
use codec::table::{self, IndexEntry, IndexPart};
use codec::types::{FieldType, TypeCode};
use query::context::TimeZone;
use sql_base::SqlError;

use super::conversion;
use super::convert::{self, Context};
pub use super::convert::{to_local, to_stored};
use crate::{ColumnDefault, ColumnInfo, Conversion, IndexInfo, IndexMaintenance, TableInfo};

/// The error for stored bytes that are no row, key or value.
pub fn damaged(e: codec::Error) -> SqlError {
    SqlError::internal("stored data does not decode", e)
}

/// Parts of an index, for [`codec::table`].
pub fn index_parts<'a>(table: &'a TableInfo, index: &IndexInfo) -> Vec<IndexPart<'a>> {
    index
        .columns
        .iter()
        .filter_map(|c| {
            let column = table.columns.get(c.offset)?;
            Some(IndexPart { column_id: column.id, ty: &column.field_type, prefix: c.length.map(|n| n as usize) })
        })
        .collect()
}

/// The entry of a row in an index.
pub fn index_entry(table: &TableInfo, index: &IndexInfo, row: &[Datum], handle: i64) -> Result<IndexEntry, SqlError> {
    let parts = index_parts(table, index);
    let values: Vec<Datum> = index.columns.iter().map(|c| row.get(c.offset).cloned().unwrap_or_default()).collect();
    table::encode_index_entry(table.id, index.id, index.unique, &parts, &values, handle).map_err(damaged)
}

/// The indexes that writes maintain: entry of this row and what to do about it.
pub fn entries<'a>(
    table: &'a TableInfo,
    row: &[Datum],
    handle: i64,
) -> Result<Vec<(&'a IndexInfo, IndexMaintenance, IndexEntry)>, SqlError> {
    table.maintained_indexes().map(|(index, how)| Ok((index, how, index_entry(table, index, row, handle)?))).collect()
}

/// Value of a row key: every column that writes store, except the one that is the handle.
pub fn encode_row(table: &TableInfo, row: &[Datum]) -> Result<Vec<u8>, SqlError> {
    let handle = table.handle_column().map(|c| c.id);
    let columns = table
        .writable_columns()
        .filter(|c| Some(c.id) != handle)
        .filter_map(|c| row.get(c.offset).map(|d| (c.id, d, &c.field_type)));
    row::encode_row_v2(columns).map_err(damaged)
}

/// The value that rows have which were written before the column was added.
pub fn origin_default(column: &ColumnInfo) -> Datum {
    match &column.origin_default {
        Some(text) => constant_default(column, text),
        None => Datum::Null,
    }
}

/// A stored default's text as the column stores it: TIMESTAMPs are in UTC, in the text too.
pub fn constant_default(column: &ColumnInfo, text: &[u8]) -> Datum {
    let cx = Context { column: column.name.as_str(), row: 1, zone: &TimeZone::UTC, no_zero_date: false };
    convert::convert(Datum::Bytes(text.to_vec()), &column.field_type, &cx).value
}

/// The text of a DEFAULT that is a constant, as a session in this zone reads it.
pub fn default_text(column: &ColumnInfo, zone: &TimeZone) -> Option<Vec<u8>> {
    let ColumnDefault::Constant(text) = &column.default else { return None };
    let ty = &column.field_type;
    if ty.tp != TypeCode::Timestamp {
        return Some(text.clone());
    }
    let local = to_local(constant_default(column, text), ty, zone);
    Some(convert::text_of(&local, Some(ty)))
}

/// Decodes rows of these columns (by offset), in this order.
pub fn decoder(table: &TableInfo, offsets: &[usize]) -> RowDecoder {
    let handle = table.handle_column().map(|c| c.id);
    RowDecoder::new(
        offsets
            .iter()
            .filter_map(|o| table.columns.get(*o))
            .map(|c| RowColumn {
                id: c.id,
                ty: c.field_type.clone(),
                default: origin_default(c),
                is_handle: Some(c.id) == handle,
            })
            .collect(),
    )
}

/// Decodes rows of every column.
pub fn full_decoder(table: &TableInfo) -> RowDecoder {
    decoder(table, &(0..table.columns.len()).collect::<Vec<_>>())
}

/// A row with what its columns hold that are to take others' places. `None` of a value that does not convert.
fn with_conversions<'r>(
    table: &TableInfo,
    row: &'r [Datum],
    mut value: impl FnMut(&ColumnInfo, &Conversion) -> Result<Option<Datum>, SqlError>,
) -> Result<Cow<'r, [Datum]>, SqlError> {
    let mut row = Cow::Borrowed(row);
    for column in &table.columns {
        let Some(conversion) = &column.converts else { continue };
        let value = value(column, conversion)?.unwrap_or_default();
        if let Some(held) = row.to_mut().get_mut(column.offset) {
            *held = value;
        }
    }
    Ok(row)
}

/// A row to be stored, with its columns that are to take others' places. A value that does not convert is an error as soon
/// as such a column is stored. `number` is the row's, from 1, for messages; what was cut where nothing is strict is told to
/// `warn`.
pub fn converted<'r>(
    table: &TableInfo,
    row: &'r [Datum],
    number: u64,
    warn: &mut dyn FnMut(SqlError),
) -> Result<Cow<'r, [Datum]>, SqlError> {
    with_conversions(table, row, |column, conversion| {
        match conversion::value(table, column, conversion, row, number, warn) {
            Err(_) if !column.is_writable() => Ok(None),
            value => value.map(Some),
        }
    })
}

/// The same of a row that is stored already. One that does not convert has no entry in an index of such a column, and NULL,
/// which it cannot have there either, stands for what it has not.
pub fn as_converted<'r>(table: &TableInfo, row: &'r [Datum]) -> Cow<'r, [Datum]> {
    let value = |column: &ColumnInfo, conversion: &Conversion| {
        Ok(conversion::value(table, column, conversion, row, 1, &mut |_| {}).ok())
    };
    // Without errors of values there are none.
    with_conversions(table, row, value).unwrap_or(Cow::Borrowed(row))
}

/// Handle of a value of the integer primary key.
pub fn handle_of(d: &Datum) -> Option<i64> {
    match d {
        Datum::Int(v) => Some(*v),
        Datum::UInt(v) => Some(*v as i64),
        _ => None,
    }
}

/// Value of the integer primary key with this handle.
pub fn handle_datum(handle: i64, ty: &FieldType) -> Datum {
    if ty.is_unsigned() { Datum::UInt(handle as u64) } else { Datum::Int(handle) }
}

/// The values of an index entry as MySQL words them in error 1062: joined with `-`.
pub fn duplicate_error(
    table: &TableInfo,
    index: Option<&IndexInfo>,
    values: &[(Datum, &FieldType)],
    zone: &TimeZone,
) -> SqlError {
    let texts: Vec<String> = values
        .iter()
        .map(|(d, ty)| {
            if d.is_null() {
                return "NULL".into();
            }
            let text = convert::text_of(&to_local(d.clone(), ty, zone), Some(ty));
            if ty.is_binary_string() {
                text.iter()
                    .map(|b| {
                        if b.is_ascii_graphic() || *b == b' ' {
                            (*b as char).to_string()
                        } else {
                            format!("\\x{b:02X}")
                        }
                    })
                    .collect()
            } else {
                String::from_utf8_lossy(&text).into_owned()
            }
        })
        .collect();
    let key = index.map_or("PRIMARY", |i| i.name.as_str());
    SqlError::DuplicateEntry { value: texts.join("-"), key: format!("{}.{key}", table.name) }
}

/// The error for a row that has this row's value of a unique index (`None`: of the integer primary key).
pub fn duplicate_row(table: &TableInfo, index: Option<&IndexInfo>, row: &[Datum], zone: &TimeZone) -> SqlError {
    let offsets: Vec<usize> = match index {
        Some(index) => index.columns.iter().map(|c| c.offset).collect(),
        None => table.handle_column().map(|c| c.offset).into_iter().collect(),
    };
    let values: Vec<_> =
        offsets.iter().filter_map(|o| Some((row.get(*o)?.clone(), &table.columns.get(*o)?.field_type))).collect();
    duplicate_error(table, index, &values, zone)
}

/// The error for a key that the storage says exists already, found out only at commit.
pub fn duplicate_key(schema: &crate::Schema, key: &[u8], zone: &TimeZone) -> SqlError {
    let unknown = || SqlError::DuplicateEntry { value: sql_base::hex(key), key: "PRIMARY".into() };
    let Some(table) = table::decode_table_id(key).and_then(|id| schema.table_by_id(id)) else { return unknown() };
    match table::decode_key(key) {
        Ok(table::TableKey::Record { handle, .. }) => match table.handle_column() {
            Some(c) => duplicate_error(table, None, &[(handle_datum(handle, &c.field_type), &c.field_type)], zone),
            None => duplicate_error(table, None, &[(Datum::Int(handle), &FieldType::bigint())], zone),
        },
        Ok(table::TableKey::Index { index_id, mut values, .. }) => {
            let Some(index) = table.indexes.iter().find(|i| i.id == index_id) else { return unknown() };
            let mut parts = Vec::new();
            for c in &index.columns {
                let Some(column) = table.columns.get(c.offset) else { return unknown() };
                match codec::datum::decode_one(&mut values).and_then(|d| d.unflatten(&column.field_type)) {
                    Ok(d) => parts.push((d, &column.field_type)),
                    Err(_) => return unknown(),
                }
            }
            duplicate_error(table, Some(index), &parts, zone)
        }
        Err(_) => unknown(),
    }
}
