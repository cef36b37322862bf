//! Where rows and index entries live in the key space.
//!
//! ```text
//! row            t ++ i64(table) ++ _r ++ i64(handle)                          -> row (see `row`)
//! unique index   t ++ i64(table) ++ _i ++ i64(index) ++ datums                 -> handle, eight bytes
//! other index    t ++ i64(table) ++ _i ++ i64(index) ++ datums ++ 03 i64(handle) -> '0'
//! ```
//!
//! `i64` is eight sortable bytes, datums are [`crate::datum::encode_key`]. A unique index entry that contains a NULL is
//! laid out as in other indexes, because NULLs do not conflict. Strings are stored as sort keys; where one cannot be
//! turned back (trailing spaces, folded case) the value also holds the original strings:
//!
//! ```text
//! tail_len u8 ++ row format v2 of the strings by column id ++ [handle, eight bytes]      padded to at least 10 bytes
//! ```
//! where `tail_len` counts the bytes after the row.

use crate::datum::{self, Datum};
use crate::row::{self, Row};
use crate::types::FieldType;
use crate::{Error, Result, key, number};

/// First byte of all table data.
pub const TABLE_PREFIX: u8 = b't';
/// Separator before row handles.
pub const RECORD_SEP: &[u8; 2] = b"_r";
/// Separator before index ids.
pub const INDEX_SEP: &[u8; 2] = b"_i";
/// Length of a row key.
pub const RECORD_KEY_LEN: usize = 19;
/// Length of `t ++ id ++ _r`.
pub const PREFIX_LEN: usize = 11;

/// A half-open range of keys.
pub type Range = (Vec<u8>, Vec<u8>);

/// `t ++ id`.
pub fn table_prefix(table_id: i64) -> Vec<u8> {
    let mut k = Vec::with_capacity(RECORD_KEY_LEN);
    k.push(TABLE_PREFIX);
    number::encode_i64(&mut k, table_id);
    k
}

/// All data of a table: its rows and its indexes.
pub fn table_range(table_id: i64) -> Range {
    (table_prefix(table_id), table_prefix(table_id + 1))
}

/// `t ++ id ++ _r`.
pub fn record_prefix(table_id: i64) -> Vec<u8> {
    let mut k = table_prefix(table_id);
    k.extend_from_slice(RECORD_SEP);
    k
}

/// Key of a row.
pub fn record_key(table_id: i64, handle: i64) -> Vec<u8> {
    let mut k = record_prefix(table_id);
    number::encode_i64(&mut k, handle);
    k
}

/// All rows of a table.
pub fn record_range(table_id: i64) -> Range {
    let start = record_prefix(table_id);
    let end = key::prefix_next(&start);
    (start, end)
}

/// Rows with handles from `low` to `high`, both included.
pub fn record_range_between(table_id: i64, low: i64, high: i64) -> Range {
    (record_key(table_id, low), key::prefix_next(&record_key(table_id, high)))
}

/// `t ++ id ++ _i ++ index`.
pub fn index_prefix(table_id: i64, index_id: i64) -> Vec<u8> {
    let mut k = table_prefix(table_id);
    k.extend_from_slice(INDEX_SEP);
    number::encode_i64(&mut k, index_id);
    k
}

/// All entries of an index.
pub fn index_range(table_id: i64, index_id: i64) -> Range {
    let start = index_prefix(table_id, index_id);
    let end = key::prefix_next(&start);
    (start, end)
}

/// What a key of table data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKey<'a> {
    /// A row.
    Record {
        /// Table.
        table_id: i64,
        /// Row handle.
        handle: i64,
    },
    /// An index entry.
    Index {
        /// Table.
        table_id: i64,
        /// Index.
        index_id: i64,
        /// The encoded datums.
        values: &'a [u8],
    },
}

/// Takes a key of table data apart.
pub fn decode_key(k: &[u8]) -> Result<TableKey<'_>> {
    let bad = Error::Invalid("table key");
    let mut rest = k.strip_prefix(&[TABLE_PREFIX]).ok_or(bad.clone())?;
    let table_id = number::decode_i64(&mut rest)?;
    if let Some(mut rest) = rest.strip_prefix(RECORD_SEP) {
        let handle = number::decode_i64(&mut rest)?;
        return if rest.is_empty() { Ok(TableKey::Record { table_id, handle }) } else { Err(bad) };
    }
    let mut rest = rest.strip_prefix(INDEX_SEP).ok_or(bad)?;
    let index_id = number::decode_i64(&mut rest)?;
    Ok(TableKey::Index { table_id, index_id, values: rest })
}

/// Table id of any key of table data, even a bare prefix.
pub fn decode_table_id(k: &[u8]) -> Option<i64> {
    let mut rest = k.strip_prefix(&[TABLE_PREFIX])?;
    number::decode_i64(&mut rest).ok()
}

/// Handle of a row key.
pub fn decode_handle(k: &[u8]) -> Result<i64> {
    match decode_key(k)? {
        TableKey::Record { handle, .. } => Ok(handle),
        TableKey::Index { .. } => Err(Error::Invalid("row key")),
    }
}

/// One column of an index.
#[derive(Debug, Clone)]
pub struct IndexPart<'a> {
    /// Column id, under which the original string is kept.
    pub column_id: i64,
    /// Column type.
    pub ty: &'a FieldType,
    /// Prefix length of `KEY (col(n))`: characters of text, bytes of binary strings.
    pub prefix: Option<usize>,
}

/// The part of a string that an index of prefix length `n` holds.
pub fn index_prefix_of<'a>(value: &'a [u8], ty: &FieldType, n: usize) -> &'a [u8] {
    if !ty.is_text() {
        return &value[..n.min(value.len())];
    }
    match std::str::from_utf8(value) {
        Ok(s) => match s.char_indices().nth(n) {
            Some((at, _)) => &value[..at],
            None => value,
        },
        Err(_) => &value[..n.min(value.len())],
    }
}

fn indexed_value(d: &Datum, part: &IndexPart<'_>) -> Option<Datum> {
    match (d, part.prefix) {
        (Datum::Bytes(b), Some(n)) => {
            let cut = index_prefix_of(b, part.ty, n);
            (cut.len() < b.len()).then(|| Datum::Bytes(cut.to_vec()))
        }
        _ => None,
    }
}

/// An index entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Key.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Whether a second entry with this key would be a duplicate (unique index, no NULL among the values).
    pub distinct: bool,
}

/// The entry of a row. `values` are in the order of `parts`.
pub fn encode_index_entry(
    table_id: i64,
    index_id: i64,
    unique: bool,
    parts: &[IndexPart<'_>],
    values: &[Datum],
    handle: i64,
) -> Result<IndexEntry> {
    if parts.len() != values.len() {
        return Err(Error::Invalid("number of index values"));
    }
    let distinct = unique && !values.iter().any(Datum::is_null);
    let mut k = index_prefix(table_id, index_id);
    let mut restored: Vec<(i64, Datum, &FieldType)> = Vec::new();
    for (part, value) in parts.iter().zip(values) {
        let cut = indexed_value(value, part);
        let value = cut.as_ref().unwrap_or(value);
        datum::encode_key(&mut k, value, Some(part.ty))?;
        if let Datum::Bytes(b) = value
            && part.ty.needs_restored_data(b)
        {
            restored.push((part.column_id, value.clone(), part.ty));
        }
    }
    if !distinct {
        datum::encode_key(&mut k, &Datum::Int(handle), None)?;
    }
    let value = if restored.is_empty() {
        if distinct { handle.to_be_bytes().to_vec() } else { vec![b'0'] }
    } else {
        let strings = row::encode_row_v2(restored.iter().map(|(id, d, t)| (*id, d, *t)))?;
        let handle_bytes = if distinct { handle.to_be_bytes().to_vec() } else { Vec::new() };
        let mut v = vec![0_u8];
        v.extend_from_slice(&strings);
        // Ten bytes or more tell this layout from the plain ones.
        let padding = 10_usize.saturating_sub(v.len() + handle_bytes.len());
        v[0] = (padding + handle_bytes.len()) as u8;
        v.resize(v.len() + padding, 0);
        v.extend_from_slice(&handle_bytes);
        v
    };
    Ok(IndexEntry { key: k, value, distinct })
}

/// Index key of these leading values (for point gets and ranges), without handle.
pub fn index_values_key(table_id: i64, index_id: i64, parts: &[IndexPart<'_>], values: &[Datum]) -> Result<Vec<u8>> {
    let mut k = index_prefix(table_id, index_id);
    for (part, value) in parts.iter().zip(values) {
        let cut = indexed_value(value, part);
        datum::encode_key(&mut k, cut.as_ref().unwrap_or(value), Some(part.ty))?;
    }
    Ok(k)
}

/// Handle stored in the value of a unique entry.
pub fn decode_unique_handle(value: &[u8]) -> Result<i64> {
    let handle = if value.len() < 10 {
        value.first_chunk::<8>()
    } else {
        match usize::from(value[0]) {
            tail if tail >= 8 && tail < value.len() => value.last_chunk::<8>(),
            _ => None,
        }
    };
    handle.map(|h| i64::from_be_bytes(*h)).ok_or(Error::Invalid("index value"))
}

/// Values and handle of an entry; `columns` are (column id, type) of the index in order.
pub fn decode_index_entry(k: &[u8], value: &[u8], columns: &[(i64, &FieldType)]) -> Result<(Vec<Datum>, i64)> {
    let TableKey::Index { values: mut rest, .. } = decode_key(k)? else {
        return Err(Error::Invalid("index key"));
    };
    let mut out = Vec::with_capacity(columns.len());
    for (_, ty) in columns {
        out.push(datum::decode_one(&mut rest)?.unflatten(ty)?);
    }
    let handle = if rest.is_empty() {
        decode_unique_handle(value)?
    } else {
        match datum::decode_one(&mut rest)? {
            Datum::Int(h) => h,
            Datum::UInt(h) => h as i64,
            _ => return Err(Error::Invalid("handle of an index key")),
        }
    };
    if value.len() >= 10 {
        let tail = usize::from(value[0]);
        let strings = value.get(1..value.len().saturating_sub(tail)).ok_or(Error::Invalid("index value"))?;
        if strings.first() == Some(&row::CODEC_VERSION) {
            let row = Row::new(strings)?;
            for ((id, ty), slot) in columns.iter().zip(&mut out) {
                if let row::Cell::Value(b) = row.get(*id) {
                    *slot = row::decode_cell(b, ty)?;
                }
            }
        }
    }
    Ok((out, handle))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Collation;
    use proptest::prelude::*;

    #[test]
    fn golden_keys() {
        assert_eq!(record_key(1, 2), b"t\x80\0\0\0\0\0\0\x01_r\x80\0\0\0\0\0\0\x02");
        assert_eq!(index_prefix(1, 3), b"t\x80\0\0\0\0\0\0\x01_i\x80\0\0\0\0\0\0\x03");
        assert_eq!(decode_key(&record_key(7, -1)), Ok(TableKey::Record { table_id: 7, handle: -1 }));
        assert_eq!(decode_table_id(&table_prefix(9)), Some(9));
        assert!(decode_key(b"t123").is_err());
        let int = FieldType::bigint();
        let parts = [IndexPart { column_id: 1, ty: &int, prefix: None }];
        let e = encode_index_entry(1, 3, false, &parts, &[Datum::Int(5)], 9).unwrap();
        assert_eq!(&e.key[19..], b"\x03\x80\0\0\0\0\0\0\x05\x03\x80\0\0\0\0\0\0\x09");
        assert_eq!(e.value, b"0");
        let e = encode_index_entry(1, 3, true, &parts, &[Datum::Int(5)], 9).unwrap();
        assert_eq!((&e.key[19..], &e.value[..]), (&b"\x03\x80\0\0\0\0\0\0\x05"[..], &b"\0\0\0\0\0\0\0\x09"[..]));
        let e = encode_index_entry(1, 3, true, &parts, &[Datum::Null], 9).unwrap();
        assert!(!e.distinct);
    }

    #[test]
    fn prefix_indexes_hold_characters() {
        let text = FieldType::varchar(20);
        let parts = [IndexPart { column_id: 1, ty: &text, prefix: Some(2) }];
        let e = encode_index_entry(1, 1, false, &parts, &["éàx".into()], 1).unwrap();
        let (v, h) = decode_index_entry(&e.key, &e.value, &[(1, &text)]).unwrap();
        assert_eq!((v, h), (vec!["éà".into()], 1));
    }

    proptest! {
        #[test]
        fn entries_come_back(s in "[ a-zA-Z]{0,12}", n: i64, handle: i64, unique: bool, ci: bool, null: bool) {
            let text = FieldType::varchar(20).with_collation(if ci { Collation::UTF8MB4_GENERAL_CI } else { Collation::UTF8MB4_BIN });
            let int = FieldType::bigint();
            let parts = [IndexPart { column_id: 3, ty: &text, prefix: None }, IndexPart { column_id: 300, ty: &int, prefix: None }];
            let values = [Datum::string(s), if null { Datum::Null } else { Datum::Int(n) }];
            let e = encode_index_entry(5, 6, unique, &parts, &values, handle).unwrap();
            let got = decode_index_entry(&e.key, &e.value, &[(3, &text), (300, &int)]);
            prop_assert_eq!(got, Ok((values.to_vec(), handle)));
            if e.distinct {
                prop_assert_eq!(decode_unique_handle(&e.value), Ok(handle));
            }
        }

        #[test]
        fn any_entry_decodes_or_fails(k: Vec<u8>, v: Vec<u8>) {
            let text = FieldType::varchar(20);
            let mut key = index_prefix(1, 1);
            key.extend(k);
            let _ = decode_index_entry(&key, &v, &[(1, &text)]);
            let _ = decode_unique_handle(&v);
        }
    }
}
