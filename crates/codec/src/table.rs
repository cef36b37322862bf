//! Where rows and index entries live in the key space.
//!
//! ```text
//! row            t ++ i64(table) ++ _r ++ handle                               -> row (see `row`)
//! unique index   t ++ i64(table) ++ _i ++ i64(index) ++ datums                 -> handle
//! other index    t ++ i64(table) ++ _i ++ i64(index) ++ datums ++ handle       -> '0'
//! ```
//!
//! A [`PhysicalTableId`] is that of a table or of a partition. A [`Handle`] tells a row from the others of it: a number (the
//! integer primary key, or one that the table's allocator gave), or the datums of a primary key that rows are clustered by.
//!
//! | | in a row's key | after the datums of an entry | in a unique entry's value |
//! |---|---|---|---|
//! | number | `i64` | datum of the number | eight bytes |
//! | key | datums | datums | segment `127 ++ u16 length ++ datums` |
//!
//! `i64` is eight sortable bytes, datums are [`crate::datum::encode_key`]; those of a key are filled up with zeros to nine bytes,
//! so that a row's key tells what its handle is. (NULL, which begins so, is in no primary key.) A unique index entry that contains a NULL is laid out as in other indexes, because NULLs
//! do not conflict. Strings are stored as sort keys; where one cannot be turned back (trailing spaces, folded case) the value
//! also holds the original strings, and where rows are clustered by a key, those of the key too:
//!
//! ```text
//! number   tail_len u8 ++ strings ++ [handle, eight bytes]                     padded to at least 10 bytes
//! key      00 ++ 125 ++ 01 ++ [segment of the handle] ++ strings
//! ```
//! where `tail_len` counts the bytes after the strings, which are row format v2 by column id.

use std::fmt;

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
/// Length of the key of a row whose handle is a number.
pub const RECORD_KEY_LEN: usize = 19;
/// Length of `t ++ id ++ _r`.
pub const PREFIX_LEN: usize = 11;

/// The least length of a handle that is a key: a number has eight bytes.
const KEY_HANDLE_LEN_MIN: usize = 9;
/// Before the handle in an index value, when it is a key.
const KEY_HANDLE_FLAG: u8 = 127;
/// Before the partition in an index value of an index over all partitions, eight bytes.
const PARTITION_FLAG: u8 = 126;
/// Second byte of an index value that says its version.
const VERSION_FLAG: u8 = 125;
/// The longest index value that is nothing but a number, and perhaps a mark.
const PLAIN_VALUE_LEN_MAX: usize = 9;

/// A half-open range of keys.
pub type Range = (Vec<u8>, Vec<u8>);

/// What has rows and index entries of its own: a table, or a partition of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalTableId(pub i64);

impl fmt::Display for PhysicalTableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An index, unique in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(pub i64);

impl fmt::Display for IndexId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells a row from all others of its physical table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handle {
    /// The integer primary key, an unsigned one as the signed number of the same bits; or a number that was given to the row.
    Int(i64),
    /// The sortable datums of the primary key that rows are clustered by.
    Key(Box<[u8]>),
}

impl Handle {
    /// The handle that these values of a primary key make. `values` are in the order of `parts`.
    pub fn of_values(parts: &[IndexPart<'_>], values: &[Datum]) -> Result<Handle> {
        let mut key = Vec::new();
        append_values(&mut key, parts, values)?;
        key.resize(key.len().max(KEY_HANDLE_LEN_MIN), 0);
        Ok(Handle::Key(key.into()))
    }

    /// The datums of a handle that is a key.
    pub fn values(mut key: &[u8]) -> Result<Vec<Datum>> {
        let mut out = Vec::new();
        while key.first().is_some_and(|flag| *flag != datum::flag::NIL) {
            out.push(datum::decode_one(&mut key)?);
        }
        Ok(out)
    }

    /// As it is in a row's key.
    pub fn encode(&self, buf: &mut Vec<u8>) {
        match self {
            Handle::Int(number) => number::encode_i64(buf, *number),
            Handle::Key(key) => buf.extend_from_slice(key),
        }
    }

    /// Takes what [`Handle::encode`] wrote; the bytes are nothing else.
    pub fn decode(mut bytes: &[u8]) -> Result<Handle> {
        match bytes.len() {
            0..8 => Err(Error::Invalid("row handle")),
            8 => number::decode_i64(&mut bytes).map(Handle::Int),
            _ => Ok(Handle::Key(bytes.into())),
        }
    }

    /// The handle as a column of rows has it: a number, or a binary string.
    pub fn to_datum(&self) -> Datum {
        match self {
            Handle::Int(number) => Datum::Int(*number),
            Handle::Key(key) => Datum::Bytes(key.to_vec()),
        }
    }

    /// Inverse of [`Handle::to_datum`]; `None` where there is no row.
    pub fn from_datum(datum: Datum) -> Option<Handle> {
        match datum {
            Datum::Int(number) => Some(Handle::Int(number)),
            Datum::Bytes(key) => Some(Handle::Key(key.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Handle {
    /// The number, or the values of the key as far as it holds them: `{a, 1}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self {
            Handle::Int(number) => return number.fmt(f),
            Handle::Key(key) => key,
        };
        let Ok(values) = Handle::values(key) else { return f.write_str("{?}") };
        f.write_str("{")?;
        for (i, value) in values.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            match value {
                Datum::Int(v) => write!(f, "{comma}{v}")?,
                Datum::UInt(v) => write!(f, "{comma}{v}")?,
                Datum::Float(v) => write!(f, "{comma}{v}")?,
                Datum::Decimal(v) => write!(f, "{comma}{v}")?,
                Datum::Bytes(v) => write!(f, "{comma}{}", String::from_utf8_lossy(v))?,
                other => write!(f, "{comma}{other:?}")?,
            }
        }
        f.write_str("}")
    }
}

/// `t ++ id`.
pub fn table_prefix(table: PhysicalTableId) -> Vec<u8> {
    let mut k = Vec::with_capacity(RECORD_KEY_LEN);
    k.push(TABLE_PREFIX);
    number::encode_i64(&mut k, table.0);
    k
}

/// All data of a table: its rows and its indexes.
pub fn table_range(table: PhysicalTableId) -> Range {
    (table_prefix(table), table_prefix(PhysicalTableId(table.0 + 1)))
}

/// `t ++ id ++ _r`.
pub fn record_prefix(table: PhysicalTableId) -> Vec<u8> {
    let mut k = table_prefix(table);
    k.extend_from_slice(RECORD_SEP);
    k
}

/// Key of a row.
pub fn record_key(table: PhysicalTableId, handle: &Handle) -> Vec<u8> {
    let mut k = record_prefix(table);
    handle.encode(&mut k);
    k
}

/// All rows of a table.
pub fn record_range(table: PhysicalTableId) -> Range {
    let start = record_prefix(table);
    let end = key::prefix_next(&start);
    (start, end)
}

/// Rows with numbers from `low` to `high` for handles, both included.
pub fn record_range_between(table: PhysicalTableId, low: i64, high: i64) -> Range {
    (record_key(table, &Handle::Int(low)), key::prefix_next(&record_key(table, &Handle::Int(high))))
}

/// `t ++ id ++ _i ++ index`.
pub fn index_prefix(table: PhysicalTableId, index: IndexId) -> Vec<u8> {
    let mut k = table_prefix(table);
    k.extend_from_slice(INDEX_SEP);
    number::encode_i64(&mut k, index.0);
    k
}

/// All entries of an index.
pub fn index_range(table: PhysicalTableId, index: IndexId) -> Range {
    let start = index_prefix(table, index);
    let end = key::prefix_next(&start);
    (start, end)
}

/// What a key of table data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableKey<'a> {
    /// A row.
    Record {
        /// Table.
        table: PhysicalTableId,
        /// Row handle.
        handle: Handle,
    },
    /// An index entry.
    Index {
        /// Table.
        table: PhysicalTableId,
        /// Index.
        index: IndexId,
        /// The encoded datums.
        values: &'a [u8],
    },
}

/// Takes a key of table data apart.
pub fn decode_key(k: &[u8]) -> Result<TableKey<'_>> {
    let bad = Error::Invalid("table key");
    let mut rest = k.strip_prefix(&[TABLE_PREFIX]).ok_or(bad.clone())?;
    let table = PhysicalTableId(number::decode_i64(&mut rest)?);
    if let Some(rest) = rest.strip_prefix(RECORD_SEP) {
        return Ok(TableKey::Record { table, handle: Handle::decode(rest)? });
    }
    let mut rest = rest.strip_prefix(INDEX_SEP).ok_or(bad)?;
    let index = IndexId(number::decode_i64(&mut rest)?);
    Ok(TableKey::Index { table, index, values: rest })
}

/// Table id of any key of table data, even a bare prefix.
pub fn decode_table_id(k: &[u8]) -> Option<PhysicalTableId> {
    let mut rest = k.strip_prefix(&[TABLE_PREFIX])?;
    number::decode_i64(&mut rest).ok().map(PhysicalTableId)
}

/// Handle of a row key.
pub fn decode_handle(k: &[u8]) -> Result<Handle> {
    Handle::decode(handle_bytes(k)?)
}

/// The same as it is in the key.
pub fn handle_bytes(k: &[u8]) -> Result<&[u8]> {
    let is_record = k.first() == Some(&TABLE_PREFIX) && k.get(PREFIX_LEN - 2..PREFIX_LEN) == Some(RECORD_SEP);
    if is_record { Ok(&k[PREFIX_LEN..]) } else { Err(Error::Invalid("row key")) }
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

/// Appends values of an index, or of a key that rows are clustered by, as its keys have them.
pub fn append_values(buf: &mut Vec<u8>, parts: &[IndexPart<'_>], values: &[Datum]) -> Result<()> {
    parts.iter().zip(values).try_for_each(|(part, value)| {
        let cut = indexed_value(value, part);
        datum::encode_key(buf, cut.as_ref().unwrap_or(value), Some(part.ty))
    })
}

/// A row as an index entry leads to it.
#[derive(Debug, Clone, Copy)]
pub struct RowRef<'a> {
    /// Its handle.
    pub handle: &'a Handle,
    /// The columns of the primary key that rows are clustered by: none where handles are numbers.
    pub key: &'a [IndexPart<'a>],
    /// The row's values of them.
    pub key_values: &'a [Datum],
}

impl<'a> RowRef<'a> {
    /// A row whose handle is a number.
    pub fn numbered(handle: &'a Handle) -> RowRef<'a> {
        RowRef { handle, key: &[], key_values: &[] }
    }
}

/// The entry of a row. `values` are in the order of `parts`.
pub fn encode_index_entry(
    table: PhysicalTableId,
    index: IndexId,
    unique: bool,
    parts: &[IndexPart<'_>],
    values: &[Datum],
    row: RowRef<'_>,
) -> Result<IndexEntry> {
    if parts.len() != values.len() || row.key.len() != row.key_values.len() {
        return Err(Error::Invalid("number of index values"));
    }
    let distinct = unique && !values.iter().any(Datum::is_null);
    let mut k = index_prefix(table, index);
    append_values(&mut k, parts, values)?;
    // Strings that their sort keys do not tell; of a column that is in both, the longer part.
    let mut restored: Vec<(i64, Datum, &FieldType)> = Vec::new();
    for (part, value) in parts.iter().zip(values).chain(row.key.iter().zip(row.key_values)) {
        let cut = indexed_value(value, part);
        let value = cut.as_ref().unwrap_or(value);
        let Datum::Bytes(bytes) = value else { continue };
        let held = restored.iter().position(|(id, ..)| *id == part.column_id);
        match held.map(|at| &mut restored[at].1) {
            Some(Datum::Bytes(held)) if held.len() < bytes.len() => *held = bytes.clone(),
            Some(_) => {}
            None if part.ty.needs_restored_data(bytes) => restored.push((part.column_id, value.clone(), part.ty)),
            None => {}
        }
    }
    if !distinct {
        match row.handle {
            Handle::Int(number) => datum::encode_key(&mut k, &Datum::Int(*number), None)?,
            Handle::Key(key) => k.extend_from_slice(key),
        }
    }
    let strings = match restored.is_empty() {
        true => Vec::new(),
        false => row::encode_row_v2(restored.iter().map(|(id, d, t)| (*id, d, *t)))?,
    };
    let value = match row.handle {
        Handle::Int(number) if strings.is_empty() => match distinct {
            true => number.to_be_bytes().to_vec(),
            false => vec![b'0'],
        },
        Handle::Int(number) => {
            let handle = if distinct { number.to_be_bytes().to_vec() } else { Vec::new() };
            let mut v = vec![0_u8];
            v.extend_from_slice(&strings);
            // Ten bytes or more tell this layout from the plain ones.
            let padding = (PLAIN_VALUE_LEN_MAX + 1).saturating_sub(v.len() + handle.len());
            v[0] = (padding + handle.len()) as u8;
            v.resize(v.len() + padding, 0);
            v.extend_from_slice(&handle);
            v
        }
        Handle::Key(key) => {
            let mut v = vec![0, VERSION_FLAG, 1];
            if distinct {
                let length = u16::try_from(key.len()).map_err(|_| Error::Invalid("length of a row handle"))?;
                v.push(KEY_HANDLE_FLAG);
                v.extend_from_slice(&length.to_be_bytes());
                v.extend_from_slice(key);
            }
            v.extend_from_slice(&strings);
            v
        }
    };
    Ok(IndexEntry { key: k, value, distinct })
}

/// What an index value holds.
#[derive(Default)]
struct IndexValue<'a> {
    /// The handle of a unique entry.
    handle: Option<Handle>,
    /// Strings by column id.
    strings: Option<&'a [u8]>,
}

impl<'a> IndexValue<'a> {
    fn parse(value: &'a [u8]) -> Result<IndexValue<'a>> {
        let bad = || Error::Invalid("index value");
        let mut out = IndexValue::default();
        if value.len() <= PLAIN_VALUE_LEN_MAX {
            out.handle = value.first_chunk::<8>().map(|h| Handle::Int(i64::from_be_bytes(*h)));
            return Ok(out);
        }
        let tail = usize::from(value[0]);
        let (versioned, head) = if tail <= 1 && value[1] == VERSION_FLAG { (true, 3) } else { (false, 1) };
        let mut rest = value.get(head..value.len().saturating_sub(tail)).ok_or_else(bad)?;
        if !versioned && tail >= 8 {
            out.handle = value.last_chunk::<8>().map(|h| Handle::Int(i64::from_be_bytes(*h)));
        }
        while let Some((&flag, after)) = rest.split_first() {
            match flag {
                KEY_HANDLE_FLAG => {
                    let (length, after) = after.split_first_chunk::<2>().ok_or_else(bad)?;
                    let length = usize::from(u16::from_be_bytes(*length));
                    let (handle, after) = after.split_at_checked(length).ok_or_else(bad)?;
                    out.handle = Some(Handle::Key(handle.into()));
                    rest = after;
                }
                PARTITION_FLAG => rest = after.get(8..).ok_or_else(bad)?,
                row::CODEC_VERSION => {
                    out.strings = Some(rest);
                    break;
                }
                // Padding.
                _ => break,
            }
        }
        Ok(out)
    }
}

/// Handle stored in the value of a unique entry.
pub fn decode_unique_handle(value: &[u8]) -> Result<Handle> {
    IndexValue::parse(value)?.handle.ok_or(Error::Invalid("index value"))
}

/// Handle of an entry of an index over so many columns. `clustered`: rows are clustered by a key.
pub fn decode_entry_handle(k: &[u8], value: &[u8], columns: usize, clustered: bool) -> Result<Handle> {
    let mut rest = entry_values(k)?;
    for _ in 0..columns {
        rest = rest.get(datum::skip_len(rest)?..).unwrap_or_default();
    }
    handle_after_values(rest, value, clustered)
}

fn entry_values(k: &[u8]) -> Result<&[u8]> {
    match decode_key(k)? {
        TableKey::Index { values, .. } => Ok(values),
        TableKey::Record { .. } => Err(Error::Invalid("index key")),
    }
}

fn handle_after_values(mut rest: &[u8], value: &[u8], clustered: bool) -> Result<Handle> {
    let handle = match rest.is_empty() {
        true => decode_unique_handle(value)?,
        false if clustered => Handle::Key(rest.into()),
        false => match datum::decode_one(&mut rest)? {
            Datum::Int(h) => Handle::Int(h),
            Datum::UInt(h) => Handle::Int(h as i64),
            _ => return Err(Error::Invalid("handle of an index key")),
        },
    };
    if matches!(handle, Handle::Key(_)) == clustered { Ok(handle) } else { Err(Error::Invalid("kind of a row handle")) }
}

/// Values and handle of an entry. `columns` are (column id, type) of the index in order, `key` those of the primary key that
/// rows are clustered by, none where handles are numbers; their values come after those of the index.
pub fn decode_index_entry(
    k: &[u8],
    value: &[u8],
    columns: &[(i64, &FieldType)],
    key: &[(i64, &FieldType)],
) -> Result<(Vec<Datum>, Handle)> {
    let mut rest = entry_values(k)?;
    let mut out = Vec::with_capacity(columns.len() + key.len());
    for (_, ty) in columns {
        out.push(datum::decode_one(&mut rest)?.unflatten(ty)?);
    }
    let handle = handle_after_values(rest, value, !key.is_empty())?;
    if let Handle::Key(bytes) = &handle {
        let mut rest = &bytes[..];
        for (_, ty) in key {
            out.push(datum::decode_one(&mut rest)?.unflatten(ty)?);
        }
    }
    if let Some(strings) = IndexValue::parse(value)?.strings {
        let row = Row::new(strings)?;
        for ((id, ty), slot) in columns.iter().chain(key).zip(&mut out) {
            if let row::Cell::Value(b) = row.get(*id) {
                *slot = row::decode_cell(b, ty)?;
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

    const T: PhysicalTableId = PhysicalTableId(1);

    fn part(column_id: i64, ty: &FieldType) -> IndexPart<'_> {
        IndexPart { column_id, ty, prefix: None }
    }

    #[test]
    fn golden_keys() {
        assert_eq!(record_key(T, &Handle::Int(2)), b"t\x80\0\0\0\0\0\0\x01_r\x80\0\0\0\0\0\0\x02");
        assert_eq!(index_prefix(T, IndexId(3)), b"t\x80\0\0\0\0\0\0\x01_i\x80\0\0\0\0\0\0\x03");
        let key = record_key(PhysicalTableId(7), &Handle::Int(-1));
        assert_eq!(decode_key(&key), Ok(TableKey::Record { table: PhysicalTableId(7), handle: Handle::Int(-1) }));
        assert_eq!(decode_table_id(&table_prefix(PhysicalTableId(9))), Some(PhysicalTableId(9)));
        assert!(decode_key(b"t123").is_err());
        let int = FieldType::bigint();
        let parts = [part(1, &int)];
        let (nine, three) = (Handle::Int(9), IndexId(3));
        let row = RowRef::numbered(&nine);
        let e = encode_index_entry(T, three, false, &parts, &[Datum::Int(5)], row).unwrap();
        assert_eq!(&e.key[19..], b"\x03\x80\0\0\0\0\0\0\x05\x03\x80\0\0\0\0\0\0\x09");
        assert_eq!(e.value, b"0");
        let e = encode_index_entry(T, three, true, &parts, &[Datum::Int(5)], row).unwrap();
        assert_eq!((&e.key[19..], &e.value[..]), (&b"\x03\x80\0\0\0\0\0\0\x05"[..], &b"\0\0\0\0\0\0\0\x09"[..]));
        let e = encode_index_entry(T, three, true, &parts, &[Datum::Null], row).unwrap();
        assert!(!e.distinct);
    }

    #[test]
    fn golden_keys_of_clustered_rows() {
        let (int, text) = (FieldType::bigint(), FieldType::varchar(20));
        let (key, key_values) = ([part(1, &text), part(2, &int)], ["ab".into(), Datum::Int(5)]);
        let handle = Handle::of_values(&key, &key_values).unwrap();
        let bytes = b"\x01ab\0\0\0\0\0\0\xf9\x03\x80\0\0\0\0\0\0\x05";
        let stored = record_key(T, &handle);
        assert_eq!(&stored[PREFIX_LEN..], bytes);
        assert_eq!(decode_handle(&stored), Ok(handle.clone()));
        assert_eq!(handle.to_string(), "{ab, 5}");
        let (parts, values, three) = ([part(3, &int)], [Datum::Int(7)], IndexId(3));
        let row = RowRef { handle: &handle, key: &key, key_values: &key_values };
        let e = encode_index_entry(T, three, false, &parts, &values, row).unwrap();
        assert_eq!(&e.key[19..], [&b"\x03\x80\0\0\0\0\0\0\x07"[..], bytes].concat());
        assert_eq!(e.value, [0, 125, 1]);
        let e = encode_index_entry(T, three, true, &parts, &values, row).unwrap();
        assert_eq!(&e.key[19..], b"\x03\x80\0\0\0\0\0\0\x07");
        assert_eq!(e.value, [&[0, 125, 1, 127, 0, 19][..], bytes].concat());
    }

    #[test]
    fn a_short_key_is_no_number() {
        let ty = FieldType::decimal(5, 1);
        let key = [part(1, &ty)];
        let key_values = [Datum::Decimal("1.5".parse().unwrap())];
        let handle = Handle::of_values(&key, &key_values).unwrap();
        let stored = record_key(T, &handle);
        assert_eq!(stored.len(), PREFIX_LEN + 9);
        assert_eq!(decode_handle(&stored), Ok(handle.clone()));
        assert_eq!(Handle::values(handle_bytes(&stored).unwrap()), Ok(key_values.to_vec()));
        let int = FieldType::bigint();
        let row = RowRef { handle: &handle, key: &key, key_values: &key_values };
        let e = encode_index_entry(T, IndexId(1), false, &[part(2, &int)], &[Datum::Int(7)], row).unwrap();
        let got = decode_index_entry(&e.key, &e.value, &[(2, &int)], &[(1, &ty)]);
        assert_eq!(got, Ok((vec![Datum::Int(7), key_values[0].clone()], handle)));
    }

    #[test]
    fn prefix_indexes_hold_characters() {
        let text = FieldType::varchar(20);
        let parts = [IndexPart { column_id: 1, ty: &text, prefix: Some(2) }];
        let one = Handle::Int(1);
        let e = encode_index_entry(T, IndexId(1), false, &parts, &["éàx".into()], RowRef::numbered(&one)).unwrap();
        let (v, h) = decode_index_entry(&e.key, &e.value, &[(1, &text)], &[]).unwrap();
        assert_eq!((v, h), (vec!["éà".into()], one));
    }

    #[test]
    fn the_longer_part_of_a_string_is_restored() {
        let text = FieldType::varchar(20).with_collation(Collation::UTF8MB4_GENERAL_CI);
        let key = [part(1, &text)];
        let key_values = ["Abc".into()];
        let handle = Handle::of_values(&key, &key_values).unwrap();
        let parts = [IndexPart { column_id: 1, ty: &text, prefix: Some(2) }];
        let row = RowRef { handle: &handle, key: &key, key_values: &key_values };
        let e = encode_index_entry(T, IndexId(1), true, &parts, &key_values, row).unwrap();
        let (v, _) = decode_index_entry(&e.key, &e.value, &[(1, &text)], &[(1, &text)]).unwrap();
        assert_eq!(v[1], "Abc".into());
    }

    proptest! {
        #[test]
        fn entries_come_back(s in "[ a-zA-Z]{0,12}", n: i64, handle: i64, unique: bool, ci: bool, null: bool) {
            let text = FieldType::varchar(20).with_collation(if ci { Collation::UTF8MB4_GENERAL_CI } else { Collation::UTF8MB4_BIN });
            let int = FieldType::bigint();
            let parts = [part(3, &text), part(300, &int)];
            let values = [Datum::string(s), if null { Datum::Null } else { Datum::Int(n) }];
            let handle = Handle::Int(handle);
            let e = encode_index_entry(PhysicalTableId(5), IndexId(6), unique, &parts, &values, RowRef::numbered(&handle)).unwrap();
            let got = decode_index_entry(&e.key, &e.value, &[(3, &text), (300, &int)], &[]);
            prop_assert_eq!(got, Ok((values.to_vec(), handle.clone())));
            prop_assert_eq!(decode_entry_handle(&e.key, &e.value, 2, false), Ok(handle.clone()));
            if e.distinct {
                prop_assert_eq!(decode_unique_handle(&e.value), Ok(handle));
            }
        }

        #[test]
        fn entries_of_clustered_rows_come_back(s in "[ a-zA-Z]{0,12}", k in "[ a-zA-Z]{0,20}", n: i64, unique: bool, ci: bool, null: bool) {
            let text = FieldType::varchar(20).with_collation(if ci { Collation::UTF8MB4_GENERAL_CI } else { Collation::UTF8MB4_BIN });
            let int = FieldType::bigint();
            let (key, key_values) = ([part(1, &text), part(2, &int)], [Datum::string(k), Datum::Int(n)]);
            let handle = Handle::of_values(&key, &key_values).unwrap();
            prop_assert_eq!(decode_handle(&record_key(T, &handle)), Ok(handle.clone()));
            let values = [if null { Datum::Null } else { Datum::string(s) }];
            let row = RowRef { handle: &handle, key: &key, key_values: &key_values };
            let e = encode_index_entry(T, IndexId(6), unique, &[part(3, &text)], &values, row).unwrap();
            let got = decode_index_entry(&e.key, &e.value, &[(3, &text)], &[(1, &text), (2, &int)]);
            prop_assert_eq!(got, Ok((values.iter().chain(&key_values).cloned().collect(), handle.clone())));
            prop_assert_eq!(decode_entry_handle(&e.key, &e.value, 1, true), Ok(handle.clone()));
            if e.distinct {
                prop_assert_eq!(decode_unique_handle(&e.value), Ok(handle));
            }
        }

        #[test]
        fn rows_are_in_the_order_of_their_keys(a in "[ -~é]{0,12}", b in "[ -~é]{0,12}", m: i64, n: i64) {
            let (text, int) = (FieldType::varchar(20).with_collation(Collation::UTF8MB4_GENERAL_CI), FieldType::bigint());
            let key = [part(1, &text), part(2, &int)];
            let of = |s: &str, n| record_key(T, &Handle::of_values(&key, &[Datum::string(s), Datum::Int(n)]).unwrap());
            let order = text.collation.compare(a.as_bytes(), b.as_bytes()).then(m.cmp(&n));
            prop_assert_eq!(of(&a, m).cmp(&of(&b, n)), order);
        }

        #[test]
        fn any_entry_decodes_or_fails(k: Vec<u8>, v: Vec<u8>, clustered: bool) {
            let text = FieldType::varchar(20);
            let mut key = index_prefix(T, IndexId(1));
            key.extend(k);
            let of_key: &[(i64, &FieldType)] = if clustered { &[(2, &text)] } else { &[] };
            let _ = decode_index_entry(&key, &v, &[(1, &text)], of_key);
            let _ = decode_entry_handle(&key, &v, 1, clustered);
            let _ = decode_unique_handle(&v);
            let _ = Handle::Key(v.into()).to_string();
        }
    }
}
