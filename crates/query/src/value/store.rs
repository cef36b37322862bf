//! A value on its way into a column: INSERT, UPDATE, LOAD DATA, DEFAULT.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{Collation, FieldType, TypeCode};

use super::json::to_json;
use super::number::{number_prefix, to_decimal, to_f64, to_i128};
use super::print::{display, to_text};
use super::time::{to_duration, to_time};
use crate::context::{EvalContext, sql_mode};
use crate::error::{EvalError, Result};

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
            let (p, s) = crate::types::decimal_shape(to);
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

/// Cuts text to a number of characters (bytes, when binary); whether anything was cut.
pub(super) fn cut_text(text: &mut Vec<u8>, chars: i32, binary: bool) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use codec::types::flags;

    fn show(v: &Datum, ty: &FieldType) -> String {
        to_text(v, ty).map_or("NULL".into(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    fn check_store(value: impl Into<Datum>, to: &FieldType, want: &str) {
        let value = value.into();
        let from = crate::types::literal_type(&value);
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
}
