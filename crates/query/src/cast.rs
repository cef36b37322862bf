//! Conversions between types: implicit ones, CAST, and those of INSERT and UPDATE ([`store`]).
//!
//! A conversion that loses something tells the context, which warns or fails as the statement wants. TIMESTAMP values are
//! in the session's zone everywhere in this crate; whoever reads or writes rows converts from and to UTC
//! ([`crate::context::TimeZone::timestamp_to_local`], [`crate::context::TimeZone::timestamp_to_utc`]).

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode};

use crate::context::{EvalContext, sql_mode};
use crate::error::{EvalError, Result};
use crate::expr::Domain;

/// A double as MySQL prints it: shortest digits that read back, an exponent only outside 1e-15…1e15.
pub fn format_float(v: f64) -> String {
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    exponent_form(&format!("{v:e}"))
}

/// A FLOAT as MySQL prints it: with no more digits than every FLOAT is sure to keep.
pub fn format_float32(v: f32) -> String {
    if v == 0.0 {
        return if v.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let v = f64::from(v);
    exponent_form(&format!("{:e}", format!("{v:.5e}").parse().unwrap_or(v)))
}

fn exponent_form(text: &str) -> String {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let Some((mantissa, exponent)) = text.split_once('e') else { return format!("{sign}{text}") };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if !(-15..15).contains(&exponent) {
        return format!("{sign}{mantissa}e{exponent}");
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let point = exponent as usize + 1;
    if digits.len() <= point {
        return format!("{sign}{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

/// A value without its type, for messages.
pub fn display(value: &Datum) -> String {
    match value {
        Datum::Null => "NULL".into(),
        Datum::Int(v) => v.to_string(),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => v.to_string(),
        Datum::Float(v) => format_float(*v),
        Datum::Decimal(d) => d.to_string(),
        Datum::Bytes(b) => String::from_utf8_lossy(b).into_owned(),
        Datum::Time(t) => t.to_string(),
        Datum::Duration(d) => d.to_string(),
        Datum::Json(j) => j.to_string(),
        Datum::Max => "+inf".into(),
    }
}

/// The text of a value of type `ty`, as the text protocol and CAST AS CHAR give it; `None` for NULL.
pub fn to_text(value: &Datum, ty: &FieldType) -> Option<Vec<u8>> {
    Some(match value {
        Datum::Null => return None,
        Datum::Bytes(b) => b.clone(),
        Datum::Float(v) if ty.tp == TypeCode::Float => match ty.decimal {
            d @ 0..=30 => format!("{v:.*}", d as usize).into_bytes(),
            _ => format_float32(*v as f32).into_bytes(),
        },
        Datum::Float(v) if ty.tp == TypeCode::Double && (0..=30).contains(&ty.decimal) => {
            format!("{v:.*}", ty.decimal as usize).into_bytes()
        }
        Datum::UInt(v) if ty.tp == TypeCode::Year => format!("{v:04}").into_bytes(),
        Datum::UInt(v) if ty.has(codec::types::flags::ZEROFILL) && ty.flen > 0 => {
            format!("{v:0width$}", width = ty.flen as usize).into_bytes()
        }
        Datum::Enum(n) => enum_name(ty, *n).as_bytes().to_vec(),
        Datum::Set(bits) => set_names(ty, *bits).into_bytes(),
        Datum::Bit(v) => bit_bytes(*v, ty),
        v => display(v).into_bytes(),
    })
}

/// The name of an ENUM's member; empty for 0.
pub fn enum_name(ty: &FieldType, n: u64) -> &str {
    usize::try_from(n).ok().and_then(|n| n.checked_sub(1)).and_then(|i| ty.elems.get(i)).map_or("", String::as_str)
}

/// The names of a SET's members, separated by commas.
pub fn set_names(ty: &FieldType, bits: u64) -> String {
    let names: Vec<_> =
        ty.elems.iter().enumerate().filter(|(i, _)| *i < 64 && bits >> i & 1 == 1).map(|(_, e)| e.as_str()).collect();
    names.join(",")
}

/// BIT(n) as big-endian bytes.
fn bit_bytes(v: u64, ty: &FieldType) -> Vec<u8> {
    let len = (ty.flen.clamp(1, 64) as usize).div_ceil(8);
    v.to_be_bytes()[8 - len..].to_vec()
}

// ---------------------------------------------------------------------------------------------------- numbers

fn truncated(ctx: &mut EvalContext, ty: &str, value: &[u8]) -> Result<()> {
    let value = String::from_utf8_lossy(value).into_owned();
    ctx.truncated(EvalError::TruncatedWrongValue { ty: ty.into(), value })
}

/// Length of the number at the front of trimmed text: (integer part, whole number with fraction and exponent).
fn number_prefix(b: &[u8]) -> (usize, usize) {
    let mut i = usize::from(matches!(b.first(), Some(b'-' | b'+')));
    let digits = |from: usize| b[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let int = digits(i);
    i += int;
    let int_end = if int > 0 { i } else { 0 };
    let mut end = int_end;
    if b.get(i) == Some(&b'.') {
        let frac = digits(i + 1);
        if int + frac > 0 {
            i += 1 + frac;
            end = i;
        }
    }
    if end > 0 && matches!(b.get(end), Some(b'e' | b'E')) {
        let mut j = end + 1;
        j += usize::from(matches!(b.get(j), Some(b'-' | b'+')));
        if j <= b.len() && digits(j) > 0 {
            end = j + digits(j);
        }
    }
    (int_end, end)
}

/// Text as a double: its longest numeric prefix, telling when something is left over.
pub fn text_to_f64(text: &[u8], ctx: &mut EvalContext) -> Result<f64> {
    let b = text.trim_ascii();
    let (_, end) = number_prefix(b);
    if end < b.len() || b.is_empty() {
        truncated(ctx, "DOUBLE", text)?;
    }
    let v: f64 = std::str::from_utf8(&b[..end]).ok().and_then(|s| s.parse().ok()).unwrap_or(0.0);
    if v.is_infinite() {
        truncated(ctx, "DOUBLE", text)?;
        return Ok(if v > 0.0 { f64::MAX } else { f64::MIN });
    }
    Ok(v)
}

fn text_to_decimal(text: &[u8], ctx: &mut EvalContext) -> Result<Decimal> {
    let b = text.trim_ascii();
    let (_, end) = number_prefix(b);
    if end < b.len() || b.is_empty() {
        truncated(ctx, "DECIMAL", text)?;
    }
    let number = std::str::from_utf8(&b[..end]).unwrap_or("0");
    match Decimal::parse_prefix(number).0 {
        Some(d) => Ok(d),
        None => {
            truncated(ctx, "DECIMAL", text)?;
            let max = Decimal::max_value(65, 0);
            Ok(if number.starts_with('-') { max.neg() } else { max })
        }
    }
}

/// Text as an integer of 128 bits, saturating: its longest integer prefix.
fn text_to_i128(text: &[u8], ctx: &mut EvalContext) -> Result<i128> {
    let b = text.trim_ascii();
    let (end, _) = number_prefix(b);
    if end < b.len() || b.is_empty() {
        truncated(ctx, "INTEGER", text)?;
    }
    let number = std::str::from_utf8(&b[..end]).unwrap_or("0");
    if number.is_empty() {
        return Ok(0);
    }
    Ok(number.parse().unwrap_or(if number.starts_with('-') { i128::MIN } else { i128::MAX }))
}

/// Rounds to the nearest integer, halves to even, saturating.
fn round_f64(v: f64) -> i128 {
    v.round_ties_even() as i128
}

/// A time as the number that prints the same digits, with its fraction.
pub fn time_to_decimal(t: &Time) -> Decimal {
    with_fraction(t.to_number(), t.micro, t.fsp, false)
}

/// A span as the number that prints the same digits, with its fraction.
pub fn duration_to_decimal(d: &Duration) -> Decimal {
    with_fraction(d.to_number(), d.parts().3, d.fsp, d.micros < 0)
}

fn with_fraction(whole: i64, micros: u32, fsp: u8, negative: bool) -> Decimal {
    let micros = if negative { -i128::from(micros) } else { i128::from(micros) };
    Decimal::from_i128(i128::from(whole) * 1_000_000 + micros, 6).round(fsp.into())
}

/// A value as a wide integer: rounded, text by its integer prefix.
fn to_i128(value: &Datum, from: &FieldType, ctx: &mut EvalContext) -> Result<i128> {
    Ok(match value {
        Datum::Null | Datum::Max => 0,
        Datum::Int(v) => (*v).into(),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => (*v).into(),
        Datum::Float(v) => round_f64(*v),
        Datum::Decimal(d) => {
            let r = d.round(0);
            r.to_i128_unscaled().unwrap_or(if r.is_negative() { i128::MIN } else { i128::MAX })
        }
        Datum::Bytes(b) if from.is_binary_string() && from.has(codec::types::flags::UNSIGNED) => {
            // A hexadecimal literal is a number where a number is wanted.
            b.iter().rev().take(8).rev().fold(0, |n, b| n << 8 | i128::from(*b))
        }
        Datum::Bytes(b) => text_to_i128(b, ctx)?,
        Datum::Time(t) => time_to_decimal(t).round(0).to_i128_unscaled().unwrap_or(0),
        Datum::Duration(d) => duration_to_decimal(d).round(0).to_i128_unscaled().unwrap_or(0),
        Datum::Json(j) => match json_to_datum(j) {
            Datum::Json(_) => {
                truncated(ctx, "INTEGER", j.to_string().as_bytes())?;
                0
            }
            v => to_i128(&v, from, ctx)?,
        },
    })
}

/// A value as a double.
pub fn to_f64(value: &Datum, ctx: &mut EvalContext) -> Result<f64> {
    Ok(match value {
        Datum::Null | Datum::Max => 0.0,
        Datum::Int(v) => *v as f64,
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => *v as f64,
        Datum::Float(v) => *v,
        Datum::Decimal(d) => d.to_f64(),
        Datum::Bytes(b) => text_to_f64(b, ctx)?,
        Datum::Time(t) => time_to_decimal(t).to_f64(),
        Datum::Duration(d) => duration_to_decimal(d).to_f64(),
        Datum::Json(j) => match json_to_datum(j) {
            Datum::Json(_) => {
                truncated(ctx, "DOUBLE", j.to_string().as_bytes())?;
                0.0
            }
            v => to_f64(&v, ctx)?,
        },
    })
}

/// A value as an exact number, not rounded to any type yet.
pub fn to_decimal(value: &Datum, ctx: &mut EvalContext) -> Result<Decimal> {
    Ok(match value {
        Datum::Null | Datum::Max => Decimal::ZERO,
        Datum::Int(v) => Decimal::from(*v),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => Decimal::from(*v),
        Datum::Float(v) => match Decimal::from_f64(*v) {
            Some(d) => d,
            None => {
                truncated(ctx, "DECIMAL", format_float(*v).as_bytes())?;
                let max = Decimal::max_value(65, 0);
                if *v < 0.0 { max.neg() } else { max }
            }
        },
        Datum::Decimal(d) => d.clone(),
        Datum::Bytes(b) => text_to_decimal(b, ctx)?,
        Datum::Time(t) => time_to_decimal(t),
        Datum::Duration(d) => duration_to_decimal(d),
        Datum::Json(j) => match json_to_datum(j) {
            Datum::Json(_) => {
                truncated(ctx, "DECIMAL", j.to_string().as_bytes())?;
                Decimal::ZERO
            }
            v => to_decimal(&v, ctx)?,
        },
    })
}

/// A JSON scalar as the SQL value it stands for; other JSON stays.
pub fn json_to_datum(j: &Json) -> Datum {
    match j {
        Json::Bool(b) => Datum::Int((*b).into()),
        Json::Int(v) => Datum::Int(*v),
        Json::UInt(v) => Datum::UInt(*v),
        Json::Float(v) => Datum::Float(*v),
        Json::String(s) => Datum::string(s.clone()),
        other => Datum::Json(other.clone()),
    }
}

// ---------------------------------------------------------------------------------------------------- times

/// Text, number or span as a date of this kind; an error for what is none.
pub fn to_time(value: &Datum, kind: TimeKind, fsp: u8, ctx: &mut EvalContext) -> Result<Option<Time>> {
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Time(t) => Ok((t.convert(kind, fsp), false)),
        Datum::Bytes(b) => Time::parse(&String::from_utf8_lossy(b), kind, fsp).map(|p| (p.value, p.truncated)),
        Datum::Duration(d) => {
            let today = ctx.now(0);
            let midnight = Time { hour: 0, minute: 0, second: 0, micro: 0, ..today };
            Time::from_epoch_micros(midnight.to_epoch_micros() + d.micros, TimeKind::DateTime, 6)
                .map(|t| (t.convert(kind, fsp), false))
        }
        Datum::Int(v) => Time::from_number(*v, kind, fsp).map(|t| (t, false)),
        Datum::UInt(v) if i64::try_from(*v).is_ok() => Time::from_number(*v as i64, kind, fsp).map(|t| (t, false)),
        Datum::Decimal(_) | Datum::Float(_) => {
            let d = to_decimal(value, ctx)?;
            let whole = d.truncate(0).to_i64().unwrap_or(-1);
            let micros = d.sub(&d.truncate(0)).ok().map(|f| f.abs().round(6)).and_then(|f| f.to_i128_unscaled());
            Time::from_number(whole, TimeKind::DateTime, 6).map(|t| {
                let t = Time { micro: micros.unwrap_or(0).clamp(0, 999_999) as u32, ..t };
                (t.convert(kind, fsp), false)
            })
        }
        Datum::Json(Json::String(s)) => Time::parse(s, kind, fsp).map(|p| (p.value, p.truncated)),
        _ => Err(codec::Error::Invalid("datetime")),
    };
    let name = match kind {
        TimeKind::Date => "date",
        _ => "datetime",
    };
    match parsed {
        Ok((t, cut)) => {
            if cut {
                truncated(ctx, name, display(value).as_bytes())?;
            }
            Ok(Some(t))
        }
        Err(_) => {
            ctx.truncated(EvalError::WrongValue { ty: name.into(), value: display(value) })?;
            Ok(None)
        }
    }
}

/// Text, number or date as a span; an error for what is none.
pub fn to_duration(value: &Datum, fsp: u8, ctx: &mut EvalContext) -> Result<Option<Duration>> {
    let parsed = match value {
        Datum::Null => return Ok(None),
        Datum::Duration(d) => Ok((d.round(fsp), false)),
        Datum::Time(t) => Ok((t.to_duration().round(fsp), false)),
        Datum::Bytes(b) => Duration::parse(&String::from_utf8_lossy(b), fsp).map(|p| (p.value, p.truncated)),
        Datum::Int(v) => Duration::from_number(*v, fsp).map(|p| (p.value, p.truncated)),
        Datum::UInt(v) => {
            Duration::from_number(i64::try_from(*v).unwrap_or(i64::MAX), fsp).map(|p| (p.value, p.truncated))
        }
        Datum::Decimal(_) | Datum::Float(_) => {
            let d = to_decimal(value, ctx)?;
            Duration::parse(&d.to_string(), fsp).map(|p| (p.value, p.truncated))
        }
        Datum::Json(Json::String(s)) => Duration::parse(s, fsp).map(|p| (p.value, p.truncated)),
        _ => Err(codec::Error::Invalid("time")),
    };
    match parsed {
        Ok((d, cut)) => {
            if cut {
                truncated(ctx, "time", display(value).as_bytes())?;
            }
            Ok(Some(d))
        }
        Err(_) => {
            ctx.truncated(EvalError::WrongValue { ty: "time".into(), value: display(value) })?;
            Ok(None)
        }
    }
}

// ---------------------------------------------------------------------------------------------------- casts

/// Cuts text to a number of characters (bytes, when binary); whether anything was cut.
fn cut_text(text: &mut Vec<u8>, chars: i32, binary: bool) -> bool {
    let Ok(chars) = usize::try_from(chars) else { return false };
    if text.len() <= chars {
        return false;
    }
    let end = if binary {
        chars
    } else {
        match std::str::from_utf8(text) {
            Ok(s) => match s.char_indices().nth(chars) {
                Some((i, _)) => i,
                None => return false,
            },
            Err(_) => chars,
        }
    };
    text.truncate(end);
    true
}

/// A value of type `from` as a value of type `to`: CAST and every implicit conversion of an expression.
pub fn cast(value: Datum, from: &FieldType, to: &FieldType, ctx: &mut EvalContext) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    match to.tp {
        TypeCode::Enum | TypeCode::Set | TypeCode::Bit => return store(value, from, to, "", 0, ctx),
        TypeCode::Year => {
            let n = to_i128(&value, from, ctx)?;
            return Ok(match n {
                0 | 1901..=2155 => Datum::UInt(n as u64),
                1..=69 => Datum::UInt(n as u64 + 2000),
                70..=99 => Datum::UInt(n as u64 + 1900),
                _ => {
                    truncated(ctx, "YEAR", display(&value).as_bytes())?;
                    Datum::Null
                }
            });
        }
        _ => {}
    }
    Ok(match Domain::of(to) {
        Domain::Int => {
            let n = match &value {
                Datum::Int(v) if to.is_unsigned() => return Ok(Datum::UInt(*v as u64)),
                Datum::UInt(v) if !to.is_unsigned() => return Ok(Datum::Int(*v as i64)),
                _ => to_i128(&value, from, ctx)?,
            };
            if to.is_unsigned() {
                // A negative number keeps its bits, as in CAST(-1 AS UNSIGNED).
                let bits = match i64::try_from(n) {
                    Ok(n) => n as u64,
                    Err(_) => n.clamp(0, u64::MAX.into()) as u64,
                };
                if n > u64::MAX.into() || n < i64::MIN.into() {
                    truncated(ctx, "INTEGER", display(&value).as_bytes())?;
                }
                Datum::UInt(bits)
            } else {
                match i64::try_from(n) {
                    Ok(n) => Datum::Int(n),
                    // Text and exact numbers between 2^63 and 2^64 keep their bits.
                    Err(_) if matches!(value, Datum::Bytes(_)) && u64::try_from(n).is_ok() => {
                        Datum::Int(n as u64 as i64)
                    }
                    Err(_) => {
                        truncated(ctx, "INTEGER", display(&value).as_bytes())?;
                        Datum::Int(n.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
                    }
                }
            }
        }
        Domain::Real => {
            let v = to_f64(&value, ctx)?;
            Datum::Float(if to.tp == TypeCode::Float { f64::from(v as f32) } else { v })
        }
        Domain::Decimal => {
            let d = to_decimal(&value, ctx)?;
            let (p, s) = crate::infer::decimal_shape(to);
            let d = d.round(s);
            if d.fits(p as u8, s as u8) {
                Datum::Decimal(d)
            } else {
                ctx.truncated(EvalError::ColumnOutOfRange { column: "CAST".into(), row: 1 })?;
                let max = Decimal::max_value(p as u8, s as u8);
                Datum::Decimal(if d.is_negative() { max.neg() } else { max })
            }
        }
        Domain::String => {
            let mut text = to_text(&value, from).unwrap_or_default();
            let binary = to.collation == Collation::BINARY;
            if cut_text(&mut text, to.flen, binary) {
                truncated(ctx, if binary { "BINARY" } else { "CHAR" }, display(&value).as_bytes())?;
            }
            if binary && to.tp == TypeCode::String && to.flen > 0 {
                text.resize(to.flen as usize, 0);
            }
            Datum::Bytes(text)
        }
        Domain::Time => {
            let kind = TimeKind::from_type(to.tp).unwrap_or(TimeKind::DateTime);
            to_time(&value, kind, to.fsp(), ctx)?.map_or(Datum::Null, Datum::Time)
        }
        Domain::Duration => to_duration(&value, to.fsp(), ctx)?.map_or(Datum::Null, Datum::Duration),
        Domain::Json => match value {
            Datum::Bytes(b) if from.collation != Collation::BINARY => {
                let text = String::from_utf8_lossy(&b);
                Datum::Json(Json::parse(&text).map_err(|_| EvalError::InvalidJson(text.into_owned()))?)
            }
            v => Datum::Json(to_json(&v, from)),
        },
    })
}

/// A value as a JSON scalar (text stays text, it is not parsed).
pub fn to_json(value: &Datum, ty: &FieldType) -> Json {
    match value {
        Datum::Null => Json::Null,
        Datum::Int(v) if ty.has(codec::types::flags::IS_BOOLEAN) => Json::Bool(*v != 0),
        Datum::Int(v) => Json::Int(*v),
        Datum::UInt(v) | Datum::Bit(v) => Json::UInt(*v),
        Datum::Float(v) => Json::Float(*v),
        Datum::Decimal(d) => Json::Float(d.to_f64()),
        Datum::Json(j) => j.clone(),
        v => Json::String(String::from_utf8_lossy(&to_text(v, ty).unwrap_or_default()).into_owned()),
    }
}

/// Whether a value counts as true; `None` for NULL.
pub fn truth(value: &Datum, ctx: &mut EvalContext) -> Result<Option<bool>> {
    Ok(Some(match value {
        Datum::Null => return Ok(None),
        Datum::Int(v) => *v != 0,
        Datum::UInt(v) => *v != 0,
        Datum::Decimal(d) => !d.is_zero(),
        v => to_f64(v, ctx)? != 0.0,
    }))
}

// ---------------------------------------------------------------------------------------------------- storing

/// A value as its column stores it: INSERT, UPDATE, LOAD DATA, DEFAULT. In strict mode what does not fit is an error;
/// otherwise it is cut to what fits, with a warning. NULL passes: NOT NULL is the caller's check.
///
/// `column` and `row` are for messages.
pub fn store(
    value: Datum,
    from: &FieldType,
    to: &FieldType,
    column: &str,
    row: u64,
    ctx: &mut EvalContext,
) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    let out_of_range = || EvalError::ColumnOutOfRange { column: column.into(), row };
    let incorrect = |ty: &str, value: &Datum| EvalError::IncorrectColumnValue {
        ty: ty.into(),
        value: display(value),
        column: column.into(),
        row,
    };
    let cut = |column: &str| EvalError::DataTruncated { column: column.into(), row };
    match to.tp {
        tp if tp.is_integer() && tp != TypeCode::Year => {
            let n = match &value {
                Datum::Bytes(b) if !from.is_binary_string() || !from.is_unsigned() => {
                    store_text_number(b, "integer", &value, &incorrect, &cut, column, ctx)?
                        .round(0)
                        .to_i128_unscaled()
                        .unwrap_or(i128::MAX)
                }
                Datum::Float(v) => v.round() as i128,
                _ => to_i128(&value, from, ctx)?,
            };
            let (low, high) = if to.is_unsigned() {
                (0, i128::from(to.unsigned_max()))
            } else {
                let (low, high) = to.signed_range();
                (low.into(), high.into())
            };
            if n < low || n > high {
                ctx.truncated(out_of_range())?;
            }
            let n = n.clamp(low, high);
            Ok(if to.is_unsigned() { Datum::UInt(n as u64) } else { Datum::Int(n as i64) })
        }
        TypeCode::Float | TypeCode::Double => {
            let mut v = match &value {
                Datum::Bytes(b) => {
                    store_text_number(b, "double", &value, &incorrect, &cut, column, ctx)?;
                    let b = b.trim_ascii();
                    std::str::from_utf8(&b[..number_prefix(b).1]).ok().and_then(|s| s.parse().ok()).unwrap_or(0.0)
                }
                _ => to_f64(&value, ctx)?,
            };
            if (0..=30).contains(&to.decimal) && to.flen > 0 {
                let unit = 10_f64.powi(to.decimal);
                let rounded = (v * unit).round_ties_even() / unit;
                v = if rounded.is_finite() { rounded } else { v };
                let max = 10_f64.powi(to.flen - to.decimal) - 1.0 / unit;
                if v.abs() > max {
                    ctx.truncated(out_of_range())?;
                    v = v.clamp(-max, max);
                }
            }
            if to.tp == TypeCode::Float {
                if v.abs() > f64::from(f32::MAX) {
                    ctx.truncated(out_of_range())?;
                    v = v.clamp(f32::MIN.into(), f32::MAX.into());
                }
                v = f64::from(v as f32);
            }
            if to.is_unsigned() && v < 0.0 {
                ctx.truncated(out_of_range())?;
                v = 0.0;
            }
            Ok(Datum::Float(v))
        }
        TypeCode::NewDecimal | TypeCode::Unspecified => {
            let d = match &value {
                Datum::Bytes(b) => store_text_number(b, "decimal", &value, &incorrect, &cut, column, ctx)?,
                _ => to_decimal(&value, ctx)?,
            };
            let (p, s) = crate::infer::decimal_shape(to);
            let rounded = d.round(s);
            if rounded != d {
                // Digits beyond the scale are dropped with a note, never an error.
                ctx.warn((&cut(column)).into());
            }
            if !rounded.fits(p as u8, s as u8) {
                ctx.truncated(out_of_range())?;
                let max = Decimal::max_value(p as u8, s as u8);
                return Ok(Datum::Decimal(if d.is_negative() { max.neg() } else { max }));
            }
            if to.is_unsigned() && rounded.is_negative() {
                ctx.truncated(out_of_range())?;
                return Ok(Datum::Decimal(Decimal::from_i128(0, s as u8)));
            }
            Ok(Datum::Decimal(rounded))
        }
        TypeCode::Year => {
            let n = match &value {
                Datum::Bytes(b) => {
                    let d = store_text_number(b, "year", &value, &incorrect, &cut, column, ctx)?;
                    let n = d.to_i64().unwrap_or(-1).into();
                    if n == 0 && b.trim_ascii().len() < 4 { 2000 } else { n }
                }
                _ => to_i128(&value, from, ctx)?,
            };
            Ok(Datum::UInt(match n {
                0 | 1901..=2155 => n as u64,
                1..=69 => n as u64 + 2000,
                70..=99 => n as u64 + 1900,
                _ => {
                    ctx.truncated(out_of_range())?;
                    0
                }
            }))
        }
        TypeCode::Bit => {
            let n: u128 = match &value {
                Datum::Bytes(b) => {
                    let significant = &b[b.iter().take_while(|x| **x == 0).count()..];
                    if significant.len() > 8 {
                        u128::MAX
                    } else {
                        significant.iter().fold(0, |n, b| n << 8 | u128::from(*b))
                    }
                }
                Datum::Int(v) => u128::from(*v as u64),
                _ => u128::try_from(to_i128(&value, from, ctx)?).unwrap_or(u128::MAX),
            };
            let max = u128::from(to.unsigned_max());
            if n > max {
                ctx.truncated(EvalError::DataTooLong { column: column.into(), row })?;
            }
            Ok(Datum::Bit(n.min(max) as u64))
        }
        TypeCode::Enum => {
            let n = match &value {
                Datum::Bytes(_) | Datum::Enum(_) | Datum::Set(_) => {
                    let text = to_text(&value, from).unwrap_or_default();
                    let found = to.elems.iter().position(|e| to.collation.compare(e.as_bytes(), &text).is_eq());
                    match found {
                        Some(i) => i as u64 + 1,
                        // Text that is a number picks the member of that number.
                        None => match std::str::from_utf8(&text).ok().and_then(|s| s.trim().parse::<u64>().ok()) {
                            Some(n) if n >= 1 && n <= to.elems.len() as u64 => n,
                            _ => 0,
                        },
                    }
                }
                _ => u64::try_from(to_i128(&value, from, ctx)?).unwrap_or(0),
            };
            if n == 0 || n > to.elems.len() as u64 {
                ctx.truncated(cut(column))?;
                return Ok(Datum::Enum(0));
            }
            Ok(Datum::Enum(n))
        }
        TypeCode::Set => {
            let all = if to.elems.len() >= 64 { u64::MAX } else { (1 << to.elems.len()) - 1 };
            let bits = match &value {
                Datum::Bytes(_) | Datum::Enum(_) | Datum::Set(_) => {
                    let text = to_text(&value, from).unwrap_or_default();
                    let mut bits = 0;
                    let mut unknown = false;
                    for part in text.split(|b| *b == b',').filter(|p| !p.is_empty()) {
                        match to.elems.iter().position(|e| to.collation.compare(e.as_bytes(), part).is_eq()) {
                            Some(i) => bits |= 1 << i,
                            None => unknown = true,
                        }
                    }
                    if unknown {
                        match std::str::from_utf8(&text).ok().and_then(|s| s.trim().parse::<u64>().ok()) {
                            Some(n) if n & !all == 0 => bits = n,
                            _ => ctx.truncated(cut(column))?,
                        }
                    }
                    bits
                }
                _ => {
                    let n = to_i128(&value, from, ctx)? as u64;
                    if n & !all != 0 {
                        ctx.truncated(cut(column))?;
                    }
                    n & all
                }
            };
            Ok(Datum::Set(bits))
        }
        TypeCode::Date | TypeCode::NewDate | TypeCode::DateTime | TypeCode::Timestamp => {
            store_time(value, to, column, row, ctx)
        }
        TypeCode::Duration => {
            let quiet = &mut EvalContext { on_truncate: crate::context::Severity::Ignore, ..ctx.clone() };
            match to_duration(&value, to.fsp(), quiet)? {
                Some(d) => {
                    let again = &mut EvalContext {
                        on_truncate: crate::context::Severity::Error,
                        ..EvalContext::for_select(0, ctx.time_zone.clone(), ctx.now_utc_micros)
                    };
                    if to_duration(&value, to.fsp(), again).is_err() {
                        ctx.truncated(incorrect("time", &value))?;
                    }
                    Ok(Datum::Duration(d))
                }
                None => {
                    ctx.truncated(incorrect("time", &value))?;
                    Ok(Datum::Duration(Duration::from_nanos(0, to.fsp())))
                }
            }
        }
        TypeCode::Json => match value {
            Datum::Json(j) => Ok(Datum::Json(j)),
            Datum::Bytes(b) => {
                let text = String::from_utf8_lossy(&b);
                Ok(Datum::Json(Json::parse(&text).map_err(|_| EvalError::InvalidJson(text.into_owned()))?))
            }
            v => Ok(Datum::Json(to_json(&v, from))),
        },
        TypeCode::Null => Ok(Datum::Null),
        _ => store_text(value, from, to, column, row, ctx),
    }
}

/// A number from text as columns take it: nothing numeric is an error of its own, a tail is cut.
fn store_text_number(
    text: &[u8],
    ty: &str,
    value: &Datum,
    incorrect: &dyn Fn(&str, &Datum) -> EvalError,
    cut: &dyn Fn(&str) -> EvalError,
    column: &str,
    ctx: &mut EvalContext,
) -> Result<Decimal> {
    let b = text.trim_ascii();
    let (_, end) = number_prefix(b);
    if end == 0 {
        ctx.truncated(incorrect(ty, value))?;
        return Ok(Decimal::ZERO);
    }
    if end < b.len() {
        ctx.truncated(cut(column))?;
    }
    let number = std::str::from_utf8(&b[..end]).unwrap_or("0");
    let max = Decimal::max_value(80, 0);
    Ok(Decimal::parse_prefix(number).0.unwrap_or(if number.starts_with('-') { max.neg() } else { max }))
}

fn store_time(value: Datum, to: &FieldType, column: &str, row: u64, ctx: &mut EvalContext) -> Result<Datum> {
    let kind = TimeKind::from_type(to.tp).unwrap_or(TimeKind::DateTime);
    let name = match kind {
        TimeKind::Date => "date",
        _ => "datetime",
    };
    let incorrect =
        EvalError::IncorrectColumnValue { ty: name.into(), value: display(&value), column: column.into(), row };
    let zero = Datum::Time(Time::zero(kind, to.fsp()));
    let strict = &mut EvalContext { on_truncate: crate::context::Severity::Error, warnings: Vec::new(), ..ctx.clone() };
    let (t, cut) = match to_time(&value, kind, to.fsp(), strict) {
        Ok(t) => (t, false),
        Err(_) => {
            strict.on_truncate = crate::context::Severity::Ignore;
            (to_time(&value, kind, to.fsp(), strict)?, true)
        }
    };
    let Some(t) = t else {
        ctx.truncated(incorrect)?;
        return Ok(zero);
    };
    if cut {
        ctx.truncated(incorrect.clone())?;
    }
    let refused = if t.year == 0 && t.month == 0 && t.day == 0 {
        ctx.has_mode(sql_mode::NO_ZERO_DATE) && ctx.is_strict()
    } else {
        t.has_zero_date() && ctx.has_mode(sql_mode::NO_ZERO_IN_DATE)
    };
    if refused {
        ctx.truncated(incorrect.clone())?;
        return Ok(zero);
    }
    if kind == TimeKind::Timestamp && !t.is_zero() {
        let utc = ctx.time_zone.timestamp_to_utc(&t).to_epoch_micros();
        // 1970-01-01 00:00:01 to 2038-01-19 03:14:07.999999.
        if !(1_000_000..2_147_483_648_000_000).contains(&utc) || t.has_zero_date() {
            ctx.truncated(incorrect)?;
            return Ok(zero);
        }
    }
    Ok(Datum::Time(t))
}

fn store_text(
    value: Datum,
    from: &FieldType,
    to: &FieldType,
    column: &str,
    row: u64,
    ctx: &mut EvalContext,
) -> Result<Datum> {
    let mut text = match value {
        Datum::Bytes(b) => b,
        v => to_text(&v, from).unwrap_or_default(),
    };
    let binary = to.collation == Collation::BINARY;
    if !binary && let Err(e) = std::str::from_utf8(&text) {
        let bad = &text[e.valid_up_to()..];
        let shown: String = bad.iter().take(6).map(|b| format!("\\x{b:02X}")).collect();
        ctx.truncated(EvalError::IncorrectColumnValue {
            ty: "string".into(),
            value: shown,
            column: column.into(),
            row,
        })?;
        text.truncate(e.valid_up_to());
    }
    // TEXT and BLOB are bounded in bytes, CHAR and VARCHAR in characters.
    let limit = if to.tp.is_blob() {
        to.flen
    } else if to.flen < 0 {
        -1
    } else {
        to.flen
    };
    let before = text.clone();
    if cut_text(&mut text, limit, binary || to.tp.is_blob()) {
        let only_spaces = !binary && before[text.len()..].iter().all(|b| *b == b' ');
        if !only_spaces {
            ctx.truncated(EvalError::DataTooLong { column: column.into(), row })?;
        }
        if to.tp.is_blob() && !binary {
            // Never half a character.
            let valid = std::str::from_utf8(&text).map_or_else(|e| e.valid_up_to(), str::len);
            text.truncate(valid);
        }
    }
    if to.tp == TypeCode::String {
        if binary {
            text.resize(to.flen.max(0) as usize, 0);
        } else {
            text.truncate(codec::types::trim_spaces(&text).len());
        }
    }
    Ok(Datum::Bytes(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::types::flags;

    fn show(v: &Datum, ty: &FieldType) -> String {
        to_text(v, ty).map_or("NULL".into(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    fn check_store(value: impl Into<Datum>, to: &FieldType, want: &str) {
        let value = value.into();
        let from = crate::infer::literal_type(&value);
        let mut ctx = EvalContext::for_write(sql_mode::DEFAULT, crate::context::TimeZone::UTC, 0);
        let got = match store(value.clone(), &from, to, "c", 1, &mut ctx) {
            Ok(v) => show(&v, to),
            Err(e) => format!("{}", e.code()),
        };
        assert_eq!(got, want, "{value:?} into {}", to.declaration());
    }

    #[test]
    fn strict_columns_refuse_what_does_not_fit() {
        let tiny = FieldType::new(TypeCode::Tiny);
        check_store(127_i64, &tiny, "127");
        check_store(128_i64, &tiny, "1264");
        check_store("12", &tiny, "12");
        check_store("12.6", &tiny, "13");
        check_store("abc", &tiny, "1366");
        check_store("12abc", &tiny, "1265");
        check_store(-1_i64, &FieldType::bigint_unsigned(), "1264");
        check_store(u64::MAX, &FieldType::bigint_unsigned(), "18446744073709551615");
        check_store("abcd", &FieldType::varchar(3), "1406");
        check_store("abc  ", &FieldType::varchar(3), "abc");
        check_store("äöü", &FieldType::varchar(3), "äöü");
        check_store("10.555", &FieldType::decimal(5, 2), "10.56");
        check_store("1000", &FieldType::decimal(5, 2), "1264");
        check_store("x", &FieldType::decimal(5, 2), "1366");
        check_store("2024-02-30", &FieldType::new(TypeCode::Date), "1292");
        check_store("2024-02-29", &FieldType::new(TypeCode::Date), "2024-02-29");
        check_store("0000-00-00", &FieldType::new(TypeCode::Date), "1292");
        check_store("2024-02-29 10:11:12.6", &FieldType::datetime(0), "2024-02-29 10:11:13");
        check_store("2040-01-01", &FieldType::new(TypeCode::Timestamp), "1292");
        check_store(20_240_131_i64, &FieldType::new(TypeCode::Date), "2024-01-31");
        check_store("10:11:12", &FieldType::new(TypeCode::Duration), "10:11:12");
        check_store("nonsense", &FieldType::new(TypeCode::Duration), "1292");
        check_store(1.5, &FieldType::double(), "1.5");
        check_store(70_i64, &FieldType::new(TypeCode::Year), "1970");
        check_store(2156_i64, &FieldType::new(TypeCode::Year), "1264");
        let e = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Enum) };
        check_store("b", &e, "b");
        check_store("x", &e, "1265");
        check_store(1_i64, &e, "a");
        let s = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Set) };
        check_store("b,a", &s, "a,b");
        check_store("a,x", &s, "1265");
        check_store("{\"a\": 1}", &FieldType::new(TypeCode::Json), "{\"a\": 1}");
        check_store("{", &FieldType::new(TypeCode::Json), "3140");
    }

    #[test]
    fn lenient_columns_cut_and_warn() {
        let mut ctx = EvalContext::for_write(0, crate::context::TimeZone::UTC, 0);
        let from = FieldType::varchar(5);
        let tiny = FieldType::new(TypeCode::Tiny).with_flags(flags::UNSIGNED);
        assert_eq!(store(Datum::Int(300), &FieldType::bigint(), &tiny, "c", 1, &mut ctx), Ok(Datum::UInt(255)));
        assert_eq!(store(Datum::from("x"), &from, &tiny, "c", 1, &mut ctx), Ok(Datum::UInt(0)));
        assert_eq!(store(Datum::from("abcd"), &from, &FieldType::varchar(2), "c", 1, &mut ctx), Ok(Datum::from("ab")));
        assert_eq!(ctx.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [1264, 1366, 1406]);
    }

    #[test]
    fn doubles_print_as_mysql_prints_them() {
        for (v, want) in [
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (1.5e20, "1.5e20"),
            (1e-5, "0.00001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-2.5, "-2.5"),
            (100.0, "100"),
        ] {
            assert_eq!(format_float(v), want);
        }
        assert_eq!(format_float32(0.1), "0.1");
    }
}
