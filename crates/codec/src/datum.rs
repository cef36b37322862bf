//! One value, and its two self-describing encodings.
//!
//! - [`encode_key`]: a flag byte and bytes that sort as the value; index keys are made of these.
//! - [`encode_value`]: a flag byte and fewer bytes that do not sort; rows of coprocessor responses are made of these.
//!
//! Times, enums, sets and bits have no flag of their own: they are numbers on disk, and the column's type tells them apart
//! again ([`Datum::unflatten`]).

use std::cmp::Ordering;

use crate::decimal::Decimal;
use crate::json::Json;
use crate::time::{Duration, Time, TimeKind};
use crate::types::{Collation, FieldType, TypeCode};
use crate::{Error, Result, bytes, number};

/// First byte of an encoded datum.
#[allow(missing_docs)]
pub mod flag {
    pub const NIL: u8 = 0;
    pub const BYTES: u8 = 1;
    pub const COMPACT_BYTES: u8 = 2;
    pub const INT: u8 = 3;
    pub const UINT: u8 = 4;
    pub const FLOAT: u8 = 5;
    pub const DECIMAL: u8 = 6;
    pub const DURATION: u8 = 7;
    pub const VARINT: u8 = 8;
    pub const UVARINT: u8 = 9;
    pub const JSON: u8 = 10;
    pub const MAX: u8 = 250;
}

/// One MySQL value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Datum {
    /// NULL.
    #[default]
    Null,
    /// Signed integers.
    Int(i64),
    /// Unsigned integers, YEAR.
    UInt(u64),
    /// FLOAT (rounded to 32 bits by whoever stores it) and DOUBLE.
    Float(f64),
    /// DECIMAL.
    Decimal(Decimal),
    /// Strings and binary strings.
    Bytes(Vec<u8>),
    /// DATE, DATETIME, TIMESTAMP (in UTC when stored).
    Time(Time),
    /// TIME.
    Duration(Duration),
    /// ENUM: number of the member from 1; 0 is the empty error value.
    Enum(u64),
    /// SET: bit mask of members.
    Set(u64),
    /// BIT(n).
    Bit(u64),
    /// JSON.
    Json(Json),
    /// Sorts after everything: the open end of key ranges. Never stored.
    Max,
}

impl Datum {
    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// A string.
    pub fn string(s: impl Into<String>) -> Datum {
        Datum::Bytes(s.into().into_bytes())
    }

    /// Integer value of INT, UINT (when it fits), ENUM, SET, BIT.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Datum::Int(v) => Some(*v),
            Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => i64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The value a column of type `ty` has when its stored form decoded to `self`.
    pub fn unflatten(self, ty: &FieldType) -> Result<Datum> {
        let bad = Err(Error::Invalid("datum of this column type"));
        Ok(match (self, ty.tp) {
            (Datum::Null, _) => Datum::Null,
            (Datum::UInt(v), tp) if TimeKind::from_type(tp).is_some() => match TimeKind::from_type(tp) {
                Some(kind) => Datum::Time(Time::from_packed(v, kind, ty.fsp())?),
                None => return bad,
            },
            (Datum::UInt(v), TypeCode::Enum) => Datum::Enum(v),
            (Datum::UInt(v), TypeCode::Set) => Datum::Set(v),
            (Datum::UInt(v), TypeCode::Bit) => Datum::Bit(v),
            (Datum::Int(v), TypeCode::Duration) => Datum::Duration(Duration::from_nanos(v, ty.fsp())),
            (Datum::Duration(d), TypeCode::Duration) => Datum::Duration(Duration { fsp: ty.fsp(), ..d }),
            (Datum::Int(v), TypeCode::Year) => Datum::UInt(v as u64),
            (Datum::Int(v), tp) if tp.is_integer() && ty.is_unsigned() => Datum::UInt(v as u64),
            (Datum::UInt(v), tp) if tp.is_integer() && !ty.is_unsigned() && tp != TypeCode::Year => {
                Datum::Int(v as i64)
            }
            (d @ Datum::Decimal(_), TypeCode::NewDecimal) => d,
            (d, _) => d,
        })
    }

    /// Order among values of one type; NULL first. Values of different kinds compare by kind.
    pub fn compare(&self, other: &Datum, collation: Collation) -> Ordering {
        use Datum::*;
        match (self, other) {
            (Null, Null) | (Max, Max) => Ordering::Equal,
            (Null, _) | (_, Max) => Ordering::Less,
            (_, Null) | (Max, _) => Ordering::Greater,
            (Int(a), Int(b)) => a.cmp(b),
            (UInt(a) | Enum(a) | Set(a) | Bit(a), UInt(b) | Enum(b) | Set(b) | Bit(b)) => a.cmp(b),
            (Int(a), UInt(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (UInt(a), Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (Float(a), Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Decimal(a), Decimal(b)) => a.cmp(b),
            (Bytes(a), Bytes(b)) => collation.compare(a, b),
            (Time(a), Time(b)) => a.cmp(b),
            (Duration(a), Duration(b)) => a.cmp(b),
            (Json(a), Json(b)) => a.cmp(b),
            (a, b) => a.kind_rank().cmp(&b.kind_rank()),
        }
    }

    fn kind_rank(&self) -> u8 {
        match self {
            Datum::Null => flag::NIL,
            Datum::Bytes(_) => flag::BYTES,
            Datum::Int(_) => flag::INT,
            Datum::UInt(_) | Datum::Enum(_) | Datum::Set(_) | Datum::Bit(_) | Datum::Time(_) => flag::UINT,
            Datum::Float(_) => flag::FLOAT,
            Datum::Decimal(_) => flag::DECIMAL,
            Datum::Duration(_) => flag::DURATION,
            Datum::Json(_) => flag::JSON,
            Datum::Max => flag::MAX,
        }
    }
}

impl From<i64> for Datum {
    fn from(v: i64) -> Self {
        Datum::Int(v)
    }
}

impl From<u64> for Datum {
    fn from(v: u64) -> Self {
        Datum::UInt(v)
    }
}

impl From<f64> for Datum {
    fn from(v: f64) -> Self {
        Datum::Float(v)
    }
}

impl From<&str> for Datum {
    fn from(v: &str) -> Self {
        Datum::string(v)
    }
}

impl From<Decimal> for Datum {
    fn from(v: Decimal) -> Self {
        Datum::Decimal(v)
    }
}

impl From<Time> for Datum {
    fn from(v: Time) -> Self {
        Datum::Time(v)
    }
}

impl From<Duration> for Datum {
    fn from(v: Duration) -> Self {
        Datum::Duration(v)
    }
}

/// Appends precision, scale and the binary form. The declared type decides the two; without one, the value's own digits.
pub fn encode_decimal(buf: &mut Vec<u8>, d: &Decimal, ty: Option<&FieldType>) -> Result<()> {
    let declared = ty.filter(|t| t.tp == TypeCode::NewDecimal && t.flen > 0 && t.decimal >= 0);
    let (precision, scale) = match declared {
        Some(t) => (u8::try_from(t.flen), u8::try_from(t.decimal)),
        None => (Ok(d.precision()), Ok(d.scale())),
    };
    let (Ok(precision), Ok(scale)) = (precision, scale) else { return Err(Error::Invalid("DECIMAL precision")) };
    buf.extend_from_slice(&[precision, scale]);
    d.to_bin(buf, precision, scale)
}

/// Takes what [`encode_decimal`] wrote.
pub fn decode_decimal(data: &mut &[u8]) -> Result<Decimal> {
    let ([precision, scale], rest) = data.split_first_chunk::<2>().ok_or(Error::Eof("DECIMAL"))?;
    *data = rest;
    Decimal::from_bin(data, *precision, *scale)
}

/// Appends flag and sortable bytes. With a type, strings are replaced by their sort key and decimals take its precision.
pub fn encode_key(buf: &mut Vec<u8>, d: &Datum, ty: Option<&FieldType>) -> Result<()> {
    match d {
        Datum::Null => buf.push(flag::NIL),
        Datum::Int(v) => {
            buf.push(flag::INT);
            number::encode_i64(buf, *v);
        }
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => {
            buf.push(flag::UINT);
            number::encode_u64(buf, *v);
        }
        Datum::Float(v) => {
            buf.push(flag::FLOAT);
            number::encode_f64(buf, *v);
        }
        Datum::Decimal(v) => {
            buf.push(flag::DECIMAL);
            encode_decimal(buf, v, ty)?;
        }
        Datum::Bytes(v) => encode_string_key(buf, v, ty),
        Datum::Time(v) => {
            buf.push(flag::UINT);
            number::encode_u64(buf, v.to_packed());
        }
        Datum::Duration(v) => {
            buf.push(flag::DURATION);
            number::encode_i64(buf, v.to_nanos());
        }
        Datum::Json(v) => {
            // JSON is in no index: the bytes are for sorting and grouping, and are not read back.
            buf.push(flag::JSON);
            v.sort_key(buf);
        }
        Datum::Max => buf.push(flag::MAX),
    }
    Ok(())
}

/// The same for a string that is in no datum.
pub fn encode_string_key(buf: &mut Vec<u8>, v: &[u8], ty: Option<&FieldType>) {
    buf.push(flag::BYTES);
    match ty {
        Some(t) => bytes::encode_bytes(buf, &t.collation.sort_key(v)),
        None => bytes::encode_bytes(buf, v),
    }
}

/// Appends flag and compact bytes.
pub fn encode_value(buf: &mut Vec<u8>, d: &Datum) -> Result<()> {
    match d {
        Datum::Int(v) => {
            buf.push(flag::VARINT);
            number::encode_varint(buf, *v);
        }
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => {
            buf.push(flag::UVARINT);
            number::encode_uvarint(buf, *v);
        }
        Datum::Bytes(v) => {
            buf.push(flag::COMPACT_BYTES);
            bytes::encode_compact_bytes(buf, v);
        }
        Datum::Json(v) => {
            buf.push(flag::JSON);
            v.encode(buf);
        }
        _ => encode_key(buf, d, None)?,
    }
    Ok(())
}

/// Takes one datum of either encoding from the front. Times, enums, sets and bits come as numbers; see
/// [`Datum::unflatten`].
pub fn decode_one(data: &mut &[u8]) -> Result<Datum> {
    let (&f, rest) = data.split_first().ok_or(Error::Eof("datum"))?;
    *data = rest;
    Ok(match f {
        flag::NIL => Datum::Null,
        flag::BYTES => Datum::Bytes(bytes::decode_bytes(data)?),
        flag::COMPACT_BYTES => Datum::Bytes(bytes::decode_compact_bytes(data)?.to_vec()),
        flag::INT => Datum::Int(number::decode_i64(data)?),
        flag::UINT => Datum::UInt(number::decode_u64(data)?),
        flag::FLOAT => Datum::Float(number::decode_f64(data)?),
        flag::DECIMAL => Datum::Decimal(decode_decimal(data)?),
        flag::DURATION => Datum::Duration(Duration::from_nanos(number::decode_i64(data)?, 6)),
        flag::VARINT => Datum::Int(number::decode_varint(data)?),
        flag::UVARINT => Datum::UInt(number::decode_uvarint(data)?),
        flag::JSON => Datum::Json(Json::decode(data)?),
        flag::MAX => Datum::Max,
        _ => return Err(Error::Invalid("datum flag")),
    })
}

/// Bytes that the datum at the front occupies.
pub fn skip_len(data: &[u8]) -> Result<usize> {
    if let Some((&flag::BYTES, rest)) = data.split_first() {
        return Ok(1 + bytes::skip_len(rest)?);
    }
    let mut rest = data;
    decode_one(&mut rest)?;
    Ok(data.len() - rest.len())
}

/// All datums, sortable, one after another; `types` as for [`encode_key`].
pub fn encode_keys<'a>(buf: &mut Vec<u8>, values: impl IntoIterator<Item = (&'a Datum, &'a FieldType)>) -> Result<()> {
    values.into_iter().try_for_each(|(d, t)| encode_key(buf, d, Some(t)))
}

/// Every datum to the end of the bytes.
pub fn decode_all(mut data: &[u8]) -> Result<Vec<Datum>> {
    let mut out = Vec::new();
    while !data.is_empty() {
        out.push(decode_one(&mut data)?);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(d: &Datum, t: &FieldType) -> Vec<u8> {
        let mut b = Vec::new();
        encode_key(&mut b, d, Some(t)).unwrap();
        b
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(key(&Datum::Int(1), &FieldType::bigint()), [3, 0x80, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(key(&Datum::Null, &FieldType::bigint()), [0]);
        assert_eq!(key(&"abc".into(), &FieldType::varchar(9)), [1, b'a', b'b', b'c', 0, 0, 0, 0, 0, 250]);
        let mut v = Vec::new();
        encode_value(&mut v, &"abc".into()).unwrap();
        encode_value(&mut v, &Datum::Int(-1)).unwrap();
        assert_eq!(v, [2, 6, b'a', b'b', b'c', 8, 1]);
    }

    fn typed_pair() -> impl Strategy<Value = (FieldType, Datum, Datum)> {
        fn pair<T: Strategy<Value = Datum> + Clone + 'static>(
            t: FieldType,
            s: T,
        ) -> BoxedStrategy<(FieldType, Datum, Datum)> {
            let s = prop_oneof![9 => s, 1 => Just(Datum::Null)];
            (Just(t), s.clone(), s).boxed()
        }
        let time = (0_i64..200_000_000_000_000_000)
            .prop_map(|m| Datum::Time(Time::from_epoch_micros(m, TimeKind::DateTime, 6).unwrap()));
        let dec = "-?[0-9]{1,20}\\.[0-9]{0,10}".prop_map(|s| Datum::Decimal(s.parse().unwrap()));
        prop_oneof![
            pair(FieldType::bigint(), any::<i64>().prop_map(Datum::Int)),
            pair(FieldType::bigint_unsigned(), any::<u64>().prop_map(Datum::UInt)),
            pair(FieldType::double(), (-1e300..1e300).prop_map(Datum::Float)),
            pair(FieldType::decimal(30, 10), dec),
            pair(FieldType::varchar(100), "[ -~é]{0,20}".prop_map(Datum::string)),
            pair(
                FieldType::varchar(100).with_collation(Collation::UTF8MB4_GENERAL_CI),
                "[ -~é]{0,20}".prop_map(Datum::string)
            ),
            pair(FieldType::varbinary(100), any::<Vec<u8>>().prop_map(Datum::Bytes)),
            pair(FieldType::datetime(6), time),
            pair(
                FieldType { decimal: 6, ..FieldType::new(TypeCode::Duration) },
                (-3_000_000_000_000_i64..3_000_000_000_000)
                    .prop_map(|micros| Datum::Duration(Duration { micros, fsp: 6 }))
            ),
        ]
    }

    proptest! {
        #[test]
        fn encoded_order_is_value_order((t, a, b) in typed_pair()) {
            prop_assert_eq!(key(&a, &t).cmp(&key(&b, &t)), a.compare(&b, t.collation));
        }

        #[test]
        fn decoding_inverts_encoding((t, a, b) in typed_pair()) {
            let mut v = Vec::new();
            encode_value(&mut v, &a).unwrap();
            encode_value(&mut v, &b).unwrap();
            prop_assert_eq!(skip_len(&v).unwrap() + skip_len(&v[skip_len(&v).unwrap()..]).unwrap(), v.len());
            let got: Vec<_> = decode_all(&v).unwrap().into_iter().map(|d| d.unflatten(&t).unwrap()).collect();
            prop_assert_eq!(&got, &[a.clone(), b]);
            if t.collation.kind() == crate::types::CollationKind::Binary {
                prop_assert_eq!(decode_one(&mut &key(&a, &t)[..]).unwrap().unflatten(&t).unwrap(), a);
            }
        }

        #[test]
        fn any_bytes_decode_or_fail(b: Vec<u8>) {
            let _ = decode_all(&b);
        }
    }
}
