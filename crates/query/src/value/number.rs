//! A value as a number.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time};
use codec::types::FieldType;

use super::json::json_to_datum;
use super::print::format_float;
use crate::context::EvalContext;
use crate::error::{EvalError, Result};

pub(crate) fn truncated(ctx: &mut EvalContext, ty: &str, value: &[u8]) -> Result<()> {
    let value = String::from_utf8_lossy(value).into_owned();
    ctx.truncated(EvalError::TruncatedWrongValue { ty: ty.into(), value })
}

/// Length of the number at the front of trimmed text: (integer part, whole number with fraction and exponent).
pub(crate) fn number_prefix(b: &[u8]) -> (usize, usize) {
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
pub(crate) fn to_i128(value: &Datum, from: &FieldType, ctx: &mut EvalContext) -> Result<i128> {
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
