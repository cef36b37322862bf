//! A value of one type as a value of another: CAST and every implicit conversion of an expression.

use std::borrow::Cow;

use codec::charset::Charset;
use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::TimeKind;
use codec::types::{Collation, FieldType, TypeCode};

use super::json::to_json;
use super::number::{to_decimal, to_f64, to_i128, truncated};
use super::print::{display, to_text};
use super::store::{cut_text, store};
use super::time::{to_duration, to_time};
use crate::context::EvalContext;
use crate::error::{EvalError, Result};
use crate::types::{EvalType, decimal_shape};

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
    Ok(match EvalType::of(to) {
        EvalType::Int => {
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
        EvalType::Real => {
            let v = to_f64(&value, ctx)?;
            Datum::Float(if to.tp == TypeCode::Float { f64::from(v as f32) } else { v })
        }
        EvalType::Decimal => {
            let d = to_decimal(&value, ctx)?;
            let (p, s) = decimal_shape(to);
            let d = d.round(s);
            if d.fits(p as u8, s as u8) {
                Datum::Decimal(d)
            } else {
                ctx.truncated(EvalError::ColumnOutOfRange { column: "CAST".into(), row: 1 })?;
                let max = Decimal::max_value(p as u8, s as u8);
                Datum::Decimal(if d.is_negative() { max.neg() } else { max })
            }
        }
        EvalType::String => {
            let text = to_text(&value, from).unwrap_or_default();
            let Some(mut text) = transcode(text, from, to) else { return Ok(Datum::Null) };
            let binary = to.collation == Collation::BINARY;
            if cut_text(&mut text, to.flen, binary) {
                truncated(ctx, if binary { "BINARY" } else { "CHAR" }, display(&value).as_bytes())?;
            }
            if binary && to.tp == TypeCode::String && to.flen > 0 {
                text.resize(to.flen as usize, 0);
            }
            Datum::Bytes(text)
        }
        EvalType::Time => {
            let kind = TimeKind::from_type(to.tp).unwrap_or(TimeKind::DateTime);
            to_time(&value, kind, to.fsp(), ctx)?.map_or(Datum::Null, Datum::Time)
        }
        EvalType::Duration => to_duration(&value, to.fsp(), ctx)?.map_or(Datum::Null, Datum::Duration),
        EvalType::Json => match value {
            Datum::Bytes(b) if from.collation != Collation::BINARY => {
                let text = String::from_utf8_lossy(&b);
                Datum::Json(Json::parse(&text).map_err(|_| EvalError::InvalidJson(text.into_owned()))?)
            }
            v => Datum::Json(to_json(&v, from)),
        },
    })
}

/// Text as another type of string has it: a binary string holds the bytes of its character set, and is read as such; text
/// of another set has a question mark for what that has not. `None`: the bytes are no text of the set.
pub fn transcode(text: Vec<u8>, from: &FieldType, to: &FieldType) -> Option<Vec<u8>> {
    let set = |ty: &FieldType| if ty.is_text() { ty.collation.set() } else { Charset::Binary };
    let from = match from.tp.is_string() || matches!(from.tp, TypeCode::Enum | TypeCode::Set) {
        true => set(from),
        // Digits and the like.
        false => return Some(text),
    };
    match (from, set(to)) {
        (from, to) if from == to => Some(text),
        (Charset::Binary, to) if to.is_utf8() => Some(text),
        (Charset::Binary, to) => to.decode(&text).ok().map(Cow::into_owned),
        (from, Charset::Binary) => Some(from.encode(&text).into_owned()),
        (_, to) if to.is_utf8() => Some(to.encode(&text).into_owned()),
        (_, to) => to.decode(&to.encode(&text)).ok().map(Cow::into_owned),
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
