//! Row format v2: the value of a row key.
//!
//! ```text
//! 128 u8 | flags u8 | not_null u16 | null u16 | ids of not-null columns, sorted | ids of null columns, sorted
//!        | end offset of each not-null value | values
//! ```
//! Little endian. Ids are one byte and offsets two, or four and four when flag bit 0 is set (an id over 255 or more than
//! 65,535 bytes of values). Numbers take one, two, four or eight bytes; strings are as they are; floats, decimals and
//! times are the bytes of the sortable encodings, without flags.
//!
//! A reader finds a column by binary search over the ids, so unwanted columns cost nothing.

use crate::datum::{Datum, decode_decimal, encode_decimal};
use crate::json::Json;
use crate::table::Handle;
use crate::time::{Duration, Time, TimeKind};
use crate::types::{FieldType, TypeCode};
use crate::{Error, Result, number};

/// First byte of a row in this format.
pub const CODEC_VERSION: u8 = 128;
const BIG: u8 = 1;
const HEADER: usize = 6;

fn put_int(buf: &mut Vec<u8>, v: i64) {
    if let Ok(v) = i8::try_from(v) {
        buf.extend_from_slice(&v.to_le_bytes());
    } else if let Ok(v) = i16::try_from(v) {
        buf.extend_from_slice(&v.to_le_bytes());
    } else if let Ok(v) = i32::try_from(v) {
        buf.extend_from_slice(&v.to_le_bytes());
    } else {
        buf.extend_from_slice(&v.to_le_bytes());
    }
}

fn put_uint(buf: &mut Vec<u8>, v: u64) {
    if let Ok(v) = u8::try_from(v) {
        buf.push(v);
    } else if let Ok(v) = u16::try_from(v) {
        buf.extend_from_slice(&v.to_le_bytes());
    } else if let Ok(v) = u32::try_from(v) {
        buf.extend_from_slice(&v.to_le_bytes());
    } else {
        buf.extend_from_slice(&v.to_le_bytes());
    }
}

/// Reads a signed number of 1, 2, 4 or 8 bytes.
pub fn read_int(b: &[u8]) -> Result<i64> {
    Ok(match *b {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(Error::Invalid("integer of a row")),
    })
}

/// Reads an unsigned number of 1, 2, 4 or 8 bytes.
pub fn read_uint(b: &[u8]) -> Result<u64> {
    Ok(match *b {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return Err(Error::Invalid("integer of a row")),
    })
}

fn put_cell(buf: &mut Vec<u8>, d: &Datum, ty: &FieldType) -> Result<()> {
    match d {
        Datum::Null | Datum::Max => return Err(Error::Invalid("value of a row")),
        Datum::Int(v) => put_int(buf, *v),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => put_uint(buf, *v),
        Datum::Float(v) => number::encode_f64(buf, *v),
        Datum::Decimal(v) => encode_decimal(buf, v, Some(ty))?,
        Datum::Bytes(v) => buf.extend_from_slice(v),
        Datum::Time(v) => put_uint(buf, v.to_packed()),
        Datum::Duration(v) => put_int(buf, v.to_nanos()),
        Datum::Json(v) => v.encode(buf),
    }
    Ok(())
}

/// Encodes a row: (column id, value, type) in any order. Values must already be of their column's type.
pub fn encode_row_v2<'a>(columns: impl IntoIterator<Item = (i64, &'a Datum, &'a FieldType)>) -> Result<Vec<u8>> {
    let mut nulls: Vec<i64> = Vec::new();
    let mut cells: Vec<(i64, &Datum, &FieldType)> = Vec::new();
    for (id, d, t) in columns {
        if d.is_null() {
            nulls.push(id);
        } else {
            cells.push((id, d, t));
        }
    }
    cells.sort_unstable_by_key(|c| c.0);
    nulls.sort_unstable();
    let mut data = Vec::with_capacity(cells.len() * 8);
    let mut ends = Vec::with_capacity(cells.len());
    for (_, d, t) in &cells {
        put_cell(&mut data, d, t)?;
        ends.push(data.len());
    }
    let mut max_id = 0;
    for id in cells.iter().map(|c| c.0).chain(nulls.iter().copied()) {
        if !(0..=i64::from(u32::MAX)).contains(&id) {
            return Err(Error::Invalid("column id"));
        }
        max_id = max_id.max(id);
    }
    let big = max_id > 255 || data.len() > usize::from(u16::MAX);
    let (Ok(n), Ok(m), true) =
        (u16::try_from(cells.len()), u16::try_from(nulls.len()), u32::try_from(data.len()).is_ok())
    else {
        return Err(Error::OutOfRange("row"));
    };
    let (id_len, offset_len) = if big { (4, 4) } else { (1, 2) };
    let mut out =
        Vec::with_capacity(HEADER + (cells.len() + nulls.len()) * id_len + ends.len() * offset_len + data.len());
    out.extend_from_slice(&[CODEC_VERSION, if big { BIG } else { 0 }]);
    out.extend_from_slice(&n.to_le_bytes());
    out.extend_from_slice(&m.to_le_bytes());
    for id in cells.iter().map(|c| c.0).chain(nulls) {
        out.extend_from_slice(&(id as u32).to_le_bytes()[..id_len]);
    }
    for end in ends {
        out.extend_from_slice(&(end as u32).to_le_bytes()[..offset_len]);
    }
    out.extend_from_slice(&data);
    Ok(out)
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The row was written before the column existed: it has the column's original default.
    Missing,
    /// NULL.
    Null,
    /// The bytes, for [`decode_cell`].
    Value(&'a [u8]),
}

/// A row, not yet decoded. Finding a column is a binary search.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    big: bool,
    ids: &'a [u8],
    null_ids: &'a [u8],
    offsets: &'a [u8],
    data: &'a [u8],
}

impl<'a> Row<'a> {
    /// Checks the header. A row with no columns may also be the empty string.
    pub fn new(bytes: &'a [u8]) -> Result<Row<'a>> {
        const EOF: Error = Error::Eof("row");
        if bytes.is_empty() {
            return Ok(Row { big: false, ids: &[], null_ids: &[], offsets: &[], data: &[] });
        }
        let (&[version, flags, n0, n1, m0, m1], rest) = bytes.split_first_chunk::<HEADER>().ok_or(EOF)?;
        if version != CODEC_VERSION {
            return Err(Error::Invalid("row format"));
        }
        let big = flags & BIG != 0;
        let (id_len, offset_len) = if big { (4, 4) } else { (1, 2) };
        let n = usize::from(u16::from_le_bytes([n0, n1]));
        let m = usize::from(u16::from_le_bytes([m0, m1]));
        let (ids, rest) = rest.split_at_checked(n * id_len).ok_or(EOF)?;
        let (null_ids, rest) = rest.split_at_checked(m * id_len).ok_or(EOF)?;
        let (offsets, data) = rest.split_at_checked(n * offset_len).ok_or(EOF)?;
        Ok(Row { big, ids, null_ids, offsets, data })
    }

    fn find(&self, ids: &[u8], id: u32) -> Option<usize> {
        if self.big {
            let (ids, _) = ids.as_chunks::<4>();
            ids.binary_search_by_key(&id, |b| u32::from_le_bytes(*b)).ok()
        } else {
            ids.binary_search(&u8::try_from(id).ok()?).ok()
        }
    }

    fn end(&self, i: usize) -> usize {
        if self.big {
            self.offsets.as_chunks::<4>().0.get(i).map_or(0, |b| u32::from_le_bytes(*b) as usize)
        } else {
            self.offsets.as_chunks::<2>().0.get(i).map_or(0, |b| u16::from_le_bytes(*b).into())
        }
    }

    /// The column with this id.
    pub fn get(&self, id: i64) -> Cell<'a> {
        let Ok(id) = u32::try_from(id) else { return Cell::Missing };
        if let Some(i) = self.find(self.ids, id) {
            let start = if i == 0 { 0 } else { self.end(i - 1) };
            return match self.data.get(start..self.end(i)) {
                Some(b) => Cell::Value(b),
                // Offsets that point nowhere: give bytes that no type decodes except an empty string.
                None => Cell::Value(&[]),
            };
        }
        if self.find(self.null_ids, id).is_some() { Cell::Null } else { Cell::Missing }
    }
}

/// Decodes the bytes of one column.
pub fn decode_cell(b: &[u8], ty: &FieldType) -> Result<Datum> {
    use TypeCode::*;
    Ok(match ty.tp {
        Tiny | Short | Int24 | Long | LongLong if ty.is_unsigned() => Datum::UInt(read_uint(b)?),
        Tiny | Short | Int24 | Long | LongLong => Datum::Int(read_int(b)?),
        Year => Datum::UInt(read_uint(b).map(|v| v & 0xffff)?),
        Float | Double => Datum::Float(number::decode_f64(&mut &b[..])?),
        NewDecimal => Datum::Decimal(decode_decimal(&mut &b[..])?),
        Date | NewDate | DateTime | Timestamp => {
            let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
            Datum::Time(Time::from_packed(read_uint(b)?, kind, ty.fsp())?)
        }
        Duration => Datum::Duration(self::Duration::from_nanos(read_int(b)?, ty.fsp())),
        Enum => Datum::Enum(read_uint(b)?),
        Set => Datum::Set(read_uint(b)?),
        Bit => Datum::Bit(read_uint(b)?),
        Json => Datum::Json(self::Json::decode(&mut &b[..])?),
        Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob => Datum::Bytes(b.to_vec()),
        Null => Datum::Null,
        Unspecified | Geometry => return Err(Error::Invalid("column type")),
    })
}

/// A column to decode.
#[derive(Debug, Clone)]
pub struct RowColumn {
    /// Column id.
    pub id: i64,
    /// Type.
    pub ty: FieldType,
    /// Value of rows written before the column existed.
    pub default: Datum,
    /// Its place in the primary key by which rows are stored: where a row's value lacks the column, its key has it.
    pub in_key: Option<usize>,
}

/// Decodes rows into datums of fixed columns.
#[derive(Debug, Clone)]
pub struct RowDecoder {
    columns: Vec<RowColumn>,
}

impl RowDecoder {
    /// A decoder of these columns, in this order.
    pub fn new(columns: Vec<RowColumn>) -> RowDecoder {
        RowDecoder { columns }
    }

    /// The columns.
    pub fn columns(&self) -> &[RowColumn] {
        &self.columns
    }

    /// Decodes one row.
    pub fn decode(&self, value: &[u8], handle: &Handle) -> Result<Vec<Datum>> {
        let row = Row::new(value)?;
        let mut of_key = None;
        self.columns
            .iter()
            .map(|c| match (c.in_key, handle) {
                (Some(_), Handle::Int(handle)) => {
                    Ok(if c.ty.is_unsigned() { Datum::UInt(*handle as u64) } else { Datum::Int(*handle) })
                }
                (in_key, _) => match (row.get(c.id), in_key, handle) {
                    (Cell::Null, ..) => Ok(Datum::Null),
                    (Cell::Value(b), ..) => decode_cell(b, &c.ty),
                    (Cell::Missing, Some(place), Handle::Key(key)) => {
                        let values: &Vec<Datum> = match &of_key {
                            Some(values) => values,
                            None => of_key.insert(Handle::values(key)?),
                        };
                        let value = values.get(place).ok_or(Error::Invalid("row handle"))?;
                        value.clone().unflatten(&c.ty)
                    }
                    (Cell::Missing, ..) => Ok(c.default.clone()),
                },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::IndexPart;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        // Columns 1: bigint 1, 2: NULL, 3: varchar 'ab', 4: -300.
        let (int, text) = (FieldType::bigint(), FieldType::varchar(10));
        let row = encode_row_v2([
            (4, &Datum::Int(-300), &int),
            (1, &Datum::Int(1), &int),
            (2, &Datum::Null, &int),
            (3, &"ab".into(), &text),
        ])
        .unwrap();
        assert_eq!(row, [128, 0, 3, 0, 1, 0, 1, 3, 4, 2, 1, 0, 3, 0, 5, 0, 1, b'a', b'b', 0xd4, 0xfe]);
        let r = Row::new(&row).unwrap();
        assert_eq!((r.get(2), r.get(3), r.get(9)), (Cell::Null, Cell::Value(b"ab"), Cell::Missing));
    }

    #[test]
    fn large_rows_use_wide_ids_and_offsets() {
        let (int, text) = (FieldType::bigint(), FieldType::varchar(100_000));
        for (id, len) in [(256, 1), (3, 70_000)] {
            let s = Datum::Bytes(vec![b'x'; len]);
            let row = encode_row_v2([(id, &s, &text), (1, &Datum::Int(7), &int), (2, &Datum::Null, &int)]).unwrap();
            assert_eq!(row[1], 1);
            let column = |id, ty: &FieldType| RowColumn { id, ty: ty.clone(), default: Datum::Int(5), in_key: None };
            let d = RowDecoder::new(vec![column(1, &int), column(2, &int), column(id, &text), column(9, &int)]);
            assert_eq!(d.decode(&row, &Handle::Int(0)).unwrap(), [Datum::Int(7), Datum::Null, s, Datum::Int(5)]);
        }
    }

    #[test]
    fn what_a_row_lacks_is_in_its_key() {
        let (int, text) = (FieldType::bigint(), FieldType::varchar(10));
        let column = |id, ty: &FieldType, in_key| RowColumn { id, ty: ty.clone(), default: Datum::Null, in_key };
        let decoder = RowDecoder::new(vec![column(1, &int, Some(1)), column(2, &text, Some(0)), column(3, &int, None)]);
        let parts = [(2, &text), (1, &int)].map(|(column_id, ty)| IndexPart { column_id, ty, prefix: None });
        let handle = Handle::of_values(&parts, &["key".into(), Datum::Int(7)]).unwrap();
        let row = encode_row_v2([(2, &"Key".into(), &text), (3, &Datum::Int(9), &int)]).unwrap();
        let (of_key, of_row) = (Datum::Int(7), "Key".into());
        assert_eq!(decoder.decode(&row, &handle).unwrap(), [of_key, of_row, Datum::Int(9)]);
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding(i: i64, u: u64, f in -1e300..1e300, s: Vec<u8>, dec in "-?[0-9]{1,8}\\.[0-9]{2}", m in 0_i64..200_000_000_000_000_000) {
            let types = [FieldType::bigint(), FieldType::bigint_unsigned(), FieldType::double(), FieldType::varbinary(9), FieldType::decimal(10, 2), FieldType::datetime(6),
                FieldType { decimal: 6, ..FieldType::new(TypeCode::Duration) }, FieldType::new(TypeCode::Json)];
            let values = [Datum::Int(i), Datum::UInt(u), Datum::Float(f), Datum::Bytes(s), Datum::Decimal(dec.parse().unwrap()),
                Datum::Time(Time::from_epoch_micros(m, TimeKind::DateTime, 6).unwrap()), Datum::Duration(Duration { micros: m % 1_000_000_000, fsp: 6 }),
                Datum::Json(crate::json::Json::Array(vec![crate::json::Json::Int(i)]))];
            let row = encode_row_v2(types.iter().zip(&values).enumerate().map(|(n, (t, v))| (n as i64 + 1, v, t))).unwrap();
            let columns = types.iter().enumerate().map(|(n, t)| RowColumn { id: n as i64 + 1, ty: t.clone(), default: Datum::Null, in_key: None }).collect();
            prop_assert_eq!(RowDecoder::new(columns).decode(&row, &Handle::Int(0)).unwrap(), values);
        }

        #[test]
        fn any_bytes_decode_or_fail(mut b: Vec<u8>, id in 0_i64..300) {
            for first in [None, Some(128)] {
                if let (Some(f), Some(x)) = (first, b.first_mut()) { *x = f; }
                if let Ok(r) = Row::new(&b)
                    && let Cell::Value(v) = r.get(id) {
                        for tp in [TypeCode::LongLong, TypeCode::NewDecimal, TypeCode::DateTime, TypeCode::Json, TypeCode::Double] {
                            let _ = decode_cell(v, &FieldType::new(tp));
                        }
                }
            }
        }
    }
}
