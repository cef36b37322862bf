//! A table's rows and index entries as keys and values.
//!
//! A row in memory is a value for each column of [`TableInfo::columns`], whatever its state, by offset: columns that are
//! being added hold their default, columns that writes do not store hold NULL. TIMESTAMP values are in UTC here.

use std::borrow::Cow;

use codec::datum::Datum;
use codec::row::{self, RowColumn, RowDecoder};
use codec::table::{self, Handle, IndexEntry, IndexId, IndexPart, PhysicalTableId, RowRef};
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

/// The row's values of an index's columns.
fn index_values(index: &IndexInfo, row: &[Datum]) -> Vec<Datum> {
    index.columns.iter().map(|c| row.get(c.offset).cloned().unwrap_or_default()).collect()
}

/// The handle that a row's primary key makes; `None` where the key is not clustered, and the handle is a number that was given
/// to the row, or where the row lacks it.
pub fn handle_of_row(table: &TableInfo, row: &[Datum]) -> Result<Option<Handle>, SqlError> {
    if let Some(column) = table.handle_column() {
        return Ok(row.get(column.offset).and_then(handle_of).map(Handle::Int));
    }
    let Some(key) = table.clustered_index() else { return Ok(None) };
    let values = index_values(key, row);
    if values.iter().any(Datum::is_null) {
        return Ok(None);
    }
    Handle::of_values(&index_parts(table, key), &values).map(Some).map_err(damaged)
}

/// What the keys of an index's entries begin with: those of the rows, where they are its entries.
pub fn entries_prefix(table: &TableInfo, at: PhysicalTableId, index: &IndexInfo) -> Vec<u8> {
    match table.is_clustered_by(index) {
        true => table::record_prefix(at),
        false => table::index_prefix(at, IndexId(index.id)),
    }
}

/// All entries of an index.
pub fn entries_range(table: &TableInfo, at: PhysicalTableId, index: &IndexInfo) -> table::Range {
    let start = entries_prefix(table, at, index);
    let end = codec::key::prefix_next(&start);
    (start, end)
}

/// Key of an index's entries that have these leading values, without what follows them.
pub fn values_key(
    table: &TableInfo,
    at: PhysicalTableId,
    index: &IndexInfo,
    values: &[Datum],
) -> Result<Vec<u8>, SqlError> {
    let mut key = entries_prefix(table, at, index);
    table::append_values(&mut key, &index_parts(table, index), values).map_err(damaged)?;
    Ok(key)
}

/// The entry of a row in an index that has entries.
pub fn index_entry(
    table: &TableInfo,
    at: PhysicalTableId,
    index: &IndexInfo,
    row: &[Datum],
    handle: &Handle,
) -> Result<IndexEntry, SqlError> {
    let (parts, values) = (index_parts(table, index), index_values(index, row));
    let key = table.clustered_index();
    let key_parts = key.map_or_else(Vec::new, |key| index_parts(table, key));
    let key_values = key.map_or_else(Vec::new, |key| index_values(key, row));
    let of = RowRef { handle, key: &key_parts, key_values: &key_values };
    table::encode_index_entry(at, IndexId(index.id), index.unique, &parts, &values, of).map_err(damaged)
}

/// The indexes that writes maintain: entry of this row and what to do about it.
pub fn entries<'a>(
    table: &'a TableInfo,
    at: PhysicalTableId,
    row: &[Datum],
    handle: &Handle,
) -> Result<Vec<(&'a IndexInfo, IndexMaintenance, IndexEntry)>, SqlError> {
    let entry = |(index, how)| Ok((index, how, index_entry(table, at, index, row, handle)?));
    table.maintained_indexes().map(entry).collect()
}

/// Column ids and types of an index, to decode its entries by.
pub fn entry_columns<'a>(table: &'a TableInfo, index: &IndexInfo) -> Vec<(i64, &'a FieldType)> {
    index.columns.iter().filter_map(|c| table.columns.get(c.offset)).map(|c| (c.id, &c.field_type)).collect()
}

/// The same of the key that rows are clustered by; none where handles are numbers.
pub fn key_columns(table: &TableInfo) -> Vec<(i64, &FieldType)> {
    table.clustered_index().map_or_else(Vec::new, |key| entry_columns(table, key))
}

/// Ids of the columns of which that key holds only the beginning.
pub fn key_prefix_columns(table: &TableInfo) -> Vec<i64> {
    let parts = table.clustered_index().into_iter().flat_map(|key| &key.columns).filter(|c| c.length.is_some());
    parts.filter_map(|c| table.columns.get(c.offset)).map(|c| c.id).collect()
}

/// Where columns (by offset) are in the entries of an index as [`codec::table::decode_index_entry`] gives them: among its own
/// columns, or those of the key after them. `None` for what is not there as a whole: the number that is a handle, too.
pub fn entry_position(table: &TableInfo, index: &IndexInfo, offset: usize) -> Option<usize> {
    let key = table.clustered_index().into_iter().flat_map(|key| &key.columns);
    index.columns.iter().chain(key).position(|c| c.offset == offset && c.length.is_none())
}

/// The place of a column in the key by which rows are stored, if whole values of it are there.
fn place_in_key(table: &TableInfo, column: &ColumnInfo) -> Option<usize> {
    if table.handle_column().is_some_and(|c| c.id == column.id) {
        return Some(0);
    }
    table.clustered_index()?.columns.iter().position(|c| c.offset == column.offset && c.length.is_none())
}

/// Value of a row key: every column that writes store, except those that the key tells.
pub fn encode_row(table: &TableInfo, row: &[Datum]) -> Result<Vec<u8>, SqlError> {
    let columns = table
        .writable_columns()
        .filter(|c| c.field_type.loses_in_keys() || place_in_key(table, c).is_none())
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
    RowDecoder::new(
        offsets
            .iter()
            .filter_map(|o| table.columns.get(*o))
            .map(|c| RowColumn {
                id: c.id,
                ty: c.field_type.clone(),
                default: origin_default(c),
                in_key: place_in_key(table, c),
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
    let key = index.map_or("PRIMARY", IndexInfo::shown_name);
    SqlError::DuplicateEntry { value: texts.join("-"), key: format!("{}.{key}", table.name) }
}

/// The error for a row that has this row's value of a unique index (`None`: of the key that rows are clustered by).
pub fn duplicate_row(table: &TableInfo, index: Option<&IndexInfo>, row: &[Datum], zone: &TimeZone) -> SqlError {
    let offsets: Vec<usize> = match index.or_else(|| table.clustered_index()) {
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
    let Some(table) = table::decode_table_id(key).and_then(|id| schema.table_by_physical(id)) else { return unknown() };
    let of_index = |index: &IndexInfo, mut values: &[u8]| {
        let mut parts = Vec::new();
        for (_, ty) in entry_columns(table, index) {
            match codec::datum::decode_one(&mut values).and_then(|d| d.unflatten(ty)) {
                Ok(d) => parts.push((d, ty)),
                Err(_) => return unknown(),
            }
        }
        duplicate_error(table, Some(index), &parts, zone)
    };
    match table::decode_key(key) {
        Ok(table::TableKey::Record { handle: Handle::Int(handle), .. }) => match table.handle_column() {
            Some(c) => duplicate_error(table, None, &[(handle_datum(handle, &c.field_type), &c.field_type)], zone),
            None => duplicate_error(table, None, &[(Datum::Int(handle), &FieldType::bigint())], zone),
        },
        Ok(table::TableKey::Record { handle: Handle::Key(values), .. }) => match table.clustered_index() {
            Some(index) => of_index(index, &values),
            None => unknown(),
        },
        Ok(table::TableKey::Index { index, values, .. }) => {
            table.indexes.iter().find(|i| i.id == index.0).map_or_else(unknown, |index| of_index(index, values))
        }
        Err(_) => unknown(),
    }
}
