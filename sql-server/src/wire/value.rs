//! Values on the wire: column definitions, text rows, binary rows, parameters of prepared statements.
//!
//! The column's [`FieldType`] decides the form; a value of another kind is converted if that loses nothing, and an error
//! otherwise, so that a client never reads bytes under a wrong type.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{self, FieldType, TypeCode, flags};
use sql_base::SqlError;
use sql_base::outcome::ColumnMeta;

use super::charset::Sent;
use super::packet::{Reader, put_bytes, put_lenenc};
use crate::session::ParamType;

/// Writes a column definition.
pub fn put_column(out: &mut Vec<u8>, column: &ColumnMeta, sent: &Sent) {
    put_bytes(out, b"def");
    for text in [&column.schema, &column.table, &column.org_table, &column.name, &column.org_name] {
        put_bytes(out, &sent.text(text));
    }
    let ty = &column.ty;
    put_lenenc(out, 12);
    let (collation, character_bytes) = sent.collation(ty);
    out.extend_from_slice(&collation.to_le_bytes());
    out.extend_from_slice(&display_length(ty, character_bytes).to_le_bytes());
    out.push(wire_type(ty.tp) as u8);
    out.extend_from_slice(&wire_flags(ty).to_le_bytes());
    out.push(decimals(ty));
    out.extend_from_slice(&[0, 0]);
}

/// The type as clients know it.
fn wire_type(tp: TypeCode) -> TypeCode {
    use TypeCode::*;
    match tp {
        Varchar => VarString,
        Enum | Set => String,
        TinyBlob | MediumBlob | LongBlob => Blob,
        NewDate => Date,
        Unspecified => Null,
        other => other,
    }
}

fn wire_flags(ty: &FieldType) -> u16 {
    let mut bits = ty.flags & 0x7FFF;
    match ty.tp {
        TypeCode::Enum => bits |= flags::ENUM,
        TypeCode::Set => bits |= flags::SET,
        tp if tp.is_blob() || tp == TypeCode::Json => bits |= flags::BLOB,
        _ => {}
    }
    if !ty.is_text() {
        bits |= flags::BINARY;
    }
    bits as u16
}

/// `character_bytes`: most bytes of a character as it is sent.
fn display_length(ty: &FieldType, character_bytes: u32) -> u32 {
    let (flen, decimal) = match ty.flen {
        types::UNSPECIFIED_LENGTH => types::default_length(ty.tp, ty.is_unsigned()),
        flen => (flen, ty.decimal),
    };
    let flen = u32::try_from(flen).unwrap_or(0);
    let fraction = |base: u32| base + if ty.fsp() > 0 { u32::from(ty.fsp()) + 1 } else { 0 };
    match ty.tp {
        TypeCode::NewDecimal => flen + u32::from(decimal > 0) + u32::from(!ty.is_unsigned()),
        TypeCode::Date | TypeCode::NewDate => 10,
        TypeCode::DateTime | TypeCode::Timestamp => fraction(19),
        TypeCode::Duration => fraction(10),
        TypeCode::Json => u32::MAX,
        TypeCode::Enum => ty.elems.iter().map(|e| e.chars().count() as u32).max().unwrap_or(0) * character_bytes,
        TypeCode::Set => {
            let all: u32 = ty.elems.iter().map(|e| e.chars().count() as u32 + 1).sum();
            all.saturating_sub(1) * character_bytes
        }
        _ if ty.is_text() => flen.saturating_mul(character_bytes),
        _ => flen,
    }
}

fn decimals(ty: &FieldType) -> u8 {
    match ty.tp {
        TypeCode::Float | TypeCode::Double if !(0..types::NOT_FIXED_DEC).contains(&ty.decimal) => {
            types::NOT_FIXED_DEC as u8
        }
        TypeCode::Float | TypeCode::Double | TypeCode::NewDecimal => ty.decimal.clamp(0, 31) as u8,
        tp if tp.is_time() || tp == TypeCode::Duration => ty.fsp(),
        _ => 0,
    }
}

// ---- Text ----

/// Writes a value of a text row.
pub fn put_text(out: &mut Vec<u8>, value: &Datum, ty: &FieldType) {
    match value {
        Datum::Null | Datum::Max => out.push(0xFB),
        Datum::Int(n) if !ty.has(flags::ZEROFILL) => put_short(out, |o| put_i64(o, *n)),
        Datum::UInt(n) if !ty.has(flags::ZEROFILL) && ty.tp != TypeCode::Year => put_short(out, |o| put_u64(o, *n)),
        Datum::Bytes(bytes) => put_bytes(out, bytes),
        other => put_bytes(out, &text_of(other, ty)),
    }
}

/// Writes a length-encoded string of at most 250 bytes in place.
fn put_short(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    out[at] = (out.len() - at - 1) as u8;
}

fn put_i64(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    put_u64(out, n.unsigned_abs());
}

fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The value as a client reads it.
fn text_of(value: &Datum, ty: &FieldType) -> Vec<u8> {
    query::value::to_text(value, ty).unwrap_or_default()
}

// ---- Binary ----

/// Writes a row of the binary protocol, from its zero byte on.
pub fn put_binary_row(out: &mut Vec<u8>, row: &[Datum], columns: &[ColumnMeta]) -> Result<(), SqlError> {
    out.push(0);
    let bitmap = out.len();
    out.resize(bitmap + (columns.len() + 9) / 8, 0);
    for (i, (value, column)) in row.iter().zip(columns).enumerate() {
        if matches!(value, Datum::Null | Datum::Max) {
            out[bitmap + (i + 2) / 8] |= 1 << ((i + 2) % 8);
        } else {
            put_binary(out, value, &column.ty)?;
        }
    }
    Ok(())
}

fn put_binary(out: &mut Vec<u8>, value: &Datum, ty: &FieldType) -> Result<(), SqlError> {
    match wire_type(ty.tp) {
        TypeCode::Tiny => out.push(integer(value)? as u8),
        TypeCode::Short | TypeCode::Year => out.extend_from_slice(&(integer(value)? as u16).to_le_bytes()),
        TypeCode::Int24 | TypeCode::Long => out.extend_from_slice(&(integer(value)? as u32).to_le_bytes()),
        TypeCode::LongLong => out.extend_from_slice(&(integer(value)? as u64).to_le_bytes()),
        TypeCode::Float => out.extend_from_slice(&(float(value)? as f32).to_le_bytes()),
        TypeCode::Double => out.extend_from_slice(&float(value)?.to_le_bytes()),
        TypeCode::Date | TypeCode::DateTime | TypeCode::Timestamp => match value {
            Datum::Time(t) => put_binary_time(out, t, ty.tp == TypeCode::Date),
            other => return mismatch(other, ty),
        },
        TypeCode::Duration => match value {
            Datum::Duration(d) => put_binary_duration(out, *d),
            other => return mismatch(other, ty),
        },
        TypeCode::Null => {}
        _ => put_bytes(out, &text_of(value, ty)),
    }
    Ok(())
}

fn mismatch<T>(value: &Datum, ty: &FieldType) -> Result<T, SqlError> {
    Err(SqlError::Other(format!("a value of type {} came out as {value:?}", ty.declaration())))
}

/// Two's complement of any integer value.
fn integer(value: &Datum) -> Result<i64, SqlError> {
    match value {
        Datum::Int(n) => Ok(*n),
        Datum::UInt(n) | Datum::Bit(n) | Datum::Enum(n) | Datum::Set(n) => Ok(*n as i64),
        Datum::Decimal(d) if d.scale() == 0 => d
            .to_i64()
            .or_else(|_| d.to_u64().map(|n| n as i64))
            .map_err(|_| SqlError::Other(format!("{d} came out of an integer column"))),
        other => mismatch(other, &FieldType::bigint()),
    }
}

fn float(value: &Datum) -> Result<f64, SqlError> {
    match value {
        Datum::Float(v) => Ok(*v),
        Datum::Int(n) => Ok(*n as f64),
        Datum::UInt(n) => Ok(*n as f64),
        Datum::Decimal(d) => Ok(d.to_f64()),
        other => mismatch(other, &FieldType::double()),
    }
}

fn put_binary_time(out: &mut Vec<u8>, t: &Time, date_only: bool) {
    let clock = !date_only && (t.hour, t.minute, t.second, t.micro) != (0, 0, 0, 0);
    let length = match (t.is_zero(), clock, t.micro != 0) {
        (true, ..) => 0,
        (_, false, _) => 4,
        (_, true, false) => 7,
        (_, true, true) => 11,
    };
    out.push(length);
    if length >= 4 {
        out.extend_from_slice(&t.year.to_le_bytes());
        out.extend_from_slice(&[t.month, t.day]);
    }
    if length >= 7 {
        out.extend_from_slice(&[t.hour, t.minute, t.second]);
    }
    if length == 11 {
        out.extend_from_slice(&t.micro.to_le_bytes());
    }
}

fn put_binary_duration(out: &mut Vec<u8>, d: Duration) {
    let (hours, minutes, seconds, micros) = d.parts();
    let length = match (d.micros == 0, micros == 0) {
        (true, _) => 0,
        (_, true) => 8,
        (_, false) => 12,
    };
    out.push(length);
    if length >= 8 {
        out.push(u8::from(d.micros < 0));
        out.extend_from_slice(&(hours / 24).to_le_bytes());
        out.extend_from_slice(&[(hours % 24) as u8, minutes as u8, seconds as u8]);
    }
    if length == 12 {
        out.extend_from_slice(&micros.to_le_bytes());
    }
}

// ---- Parameters ----

/// Reads a parameter's value.
pub fn read_param(reader: &mut Reader<'_>, ty: ParamType) -> Result<Datum, SqlError> {
    let code = TypeCode::from_u8(ty.code).ok_or(SqlError::MalformedPacket)?;
    Ok(match (code, ty.unsigned) {
        (TypeCode::Null, _) => Datum::Null,
        (TypeCode::Tiny, false) => Datum::Int(i64::from(reader.u8()? as i8)),
        (TypeCode::Tiny, true) => Datum::UInt(u64::from(reader.u8()?)),
        (TypeCode::Short, false) => Datum::Int(i64::from(reader.u16()? as i16)),
        (TypeCode::Short, true) | (TypeCode::Year, _) => Datum::UInt(u64::from(reader.u16()?)),
        (TypeCode::Long | TypeCode::Int24, false) => Datum::Int(i64::from(reader.u32()? as i32)),
        (TypeCode::Long | TypeCode::Int24, true) => Datum::UInt(u64::from(reader.u32()?)),
        (TypeCode::LongLong, false) => Datum::Int(reader.u64()? as i64),
        (TypeCode::LongLong, true) => Datum::UInt(reader.u64()?),
        (TypeCode::Float, _) => Datum::Float(f64::from(f32::from_bits(reader.u32()?))),
        (TypeCode::Double, _) => Datum::Float(f64::from_bits(reader.u64()?)),
        (TypeCode::Date | TypeCode::NewDate, _) => read_time(reader, TimeKind::Date)?,
        (TypeCode::DateTime | TypeCode::Timestamp, _) => read_time(reader, TimeKind::DateTime)?,
        (TypeCode::Duration, _) => read_duration(reader)?,
        (TypeCode::NewDecimal, _) => read_decimal(reader)?,
        _ => Datum::Bytes(reader.bytes()?.to_vec()),
    })
}

fn read_time(reader: &mut Reader<'_>, kind: TimeKind) -> Result<Datum, SqlError> {
    let length = reader.u8()?;
    let mut r = Reader(reader.take(usize::from(length))?);
    let (mut year, mut month, mut day, mut clock, mut micro) = (0, 0, 0, [0u8; 3], 0);
    if length >= 4 {
        (year, month, day) = (r.u16()?, r.u8()?, r.u8()?);
    }
    if length >= 7 {
        clock = [r.u8()?, r.u8()?, r.u8()?];
    }
    if length >= 11 {
        micro = r.u32()?;
    }
    let bad = |_| SqlError::WrongArguments("mysqld_stmt_execute".into());
    if kind == TimeKind::Date && length <= 4 {
        return Ok(Datum::Time(if year == 0 && month == 0 && day == 0 {
            Time::zero(TimeKind::Date, 0)
        } else {
            Time::date(year, month, day).map_err(bad)?
        }));
    }
    let fsp = if micro > 0 { 6 } else { 0 };
    if (year, month, day) == (0, 0, 0) && clock == [0; 3] && micro == 0 {
        return Ok(Datum::Time(Time::zero(TimeKind::DateTime, 0)));
    }
    let text = format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}.{micro:06}", clock[0], clock[1], clock[2]);
    Ok(Datum::Time(Time::parse(&text, TimeKind::DateTime, fsp).map_err(bad)?.value))
}

fn read_duration(reader: &mut Reader<'_>) -> Result<Datum, SqlError> {
    let length = reader.u8()?;
    let mut r = Reader(reader.take(usize::from(length))?);
    if length < 8 {
        return Ok(Datum::Duration(Duration { micros: 0, fsp: 0 }));
    }
    let (negative, days, hours, minutes, seconds) = (r.u8()? != 0, r.u32()?, r.u8()?, r.u8()?, r.u8()?);
    let micros = if length >= 12 { r.u32()? } else { 0 };
    let hours = days.saturating_mul(24).saturating_add(u32::from(hours)).min(839);
    let (minutes, seconds, micros) = (u32::from(minutes).min(59), u32::from(seconds).min(59), micros.min(999_999));
    let fsp = if micros > 0 { 6 } else { 0 };
    Ok(Datum::Duration(Duration::from_parts(negative, hours, minutes, seconds, micros, fsp)))
}

fn read_decimal(reader: &mut Reader<'_>) -> Result<Datum, SqlError> {
    let text = String::from_utf8_lossy(reader.bytes()?).into_owned();
    match Decimal::parse_prefix(&text) {
        (Some(d), false) => Ok(Datum::Decimal(d)),
        // Leftover text: the expression layer warns about strings.
        _ => Ok(Datum::string(text)),
    }
}

#[cfg(test)]
mod tests {
    use codec::json::Json;
    use proptest::prelude::*;

    use super::*;

    fn text(value: Datum, ty: &FieldType) -> String {
        let mut out = Vec::new();
        put_text(&mut out, &value, ty);
        if out == [0xFB] {
            return "NULL".into();
        }
        String::from_utf8_lossy(Reader(&out).bytes().unwrap()).into_owned()
    }

    #[test]
    fn values_print_as_in_mysql() {
        let double = FieldType::double();
        let cases: Vec<(Datum, FieldType, &str)> = vec![
            (Datum::Null, FieldType::bigint(), "NULL"),
            (Datum::Int(i64::MIN), FieldType::bigint(), "-9223372036854775808"),
            (Datum::UInt(u64::MAX), FieldType::bigint_unsigned(), "18446744073709551615"),
            (Datum::Float(0.1), double.clone(), "0.1"),
            (Datum::Float(1e15), double.clone(), "1e15"),
            (Datum::Float(123456789012345.0), double.clone(), "123456789012345"),
            (Datum::Float(1.5e-20), double, "1.5e-20"),
            (Datum::Float(f64::from(1.1f32)), FieldType::new(TypeCode::Float), "1.1"),
            (
                Datum::UInt(5),
                FieldType { flen: 4, ..FieldType::new(TypeCode::Long) }.with_flags(flags::ZEROFILL),
                "0005",
            ),
            (Datum::Enum(2), FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Enum) }, "b"),
            (Datum::Set(3), FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Set) }, "a,b"),
            (Datum::Bit(0x41), FieldType { flen: 8, ..FieldType::new(TypeCode::Bit) }, "A"),
            (
                Datum::Json(Json::parse("{\"a\": [1, null]}").unwrap()),
                FieldType::new(TypeCode::Json),
                "{\"a\": [1, null]}",
            ),
        ];
        for (value, ty, expected) in cases {
            assert_eq!(text(value.clone(), &ty), expected, "{value:?}");
        }
    }

    #[test]
    fn binary_times() {
        let t = Time::parse("2024-02-29 10:20:30.5", TimeKind::DateTime, 1).unwrap().value;
        let mut out = Vec::new();
        put_binary(&mut out, &Datum::Time(t), &FieldType::datetime(1)).unwrap();
        assert_eq!(out, [11, 0xE8, 7, 2, 29, 10, 20, 30, 0x20, 0xA1, 7, 0]);
        let back = read_param(&mut Reader(&out), ParamType { code: 12, unsigned: false }).unwrap();
        assert_eq!(text(back, &FieldType::datetime(6)), "2024-02-29 10:20:30.500000");
        let mut out = Vec::new();
        let d = Duration::from_parts(true, 49, 1, 2, 0, 0);
        put_binary(&mut out, &Datum::Duration(d), &FieldType::new(TypeCode::Duration)).unwrap();
        assert_eq!(out, [8, 1, 2, 0, 0, 0, 1, 1, 2]);
    }

    proptest! {
        #[test]
        fn any_parameter_bytes_read_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..40), code: u8, unsigned: bool) {
            let _ = read_param(&mut Reader(&bytes), ParamType { code, unsigned });
        }
    }
}
