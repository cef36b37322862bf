//! A value on its way into a column: INSERT, UPDATE, LOAD DATA, DEFAULT.
//!
//! | value | into an integer | into DECIMAL, FLOAT(m,d) |
//! |---|---|---|
//! | 2.5 (exact), '2.5' | 3: half away from zero | half away from zero |
//! | 2.5e0 (double) | 2: half to even | DECIMAL: half away from zero; FLOAT: half to even |
//!
//! [`fit`] computes the nearest value that the column holds and says what was wrong with the one given; it decides nothing.
//! [`store`] decides as the statement wants: strict statements fail, others store the nearest value and warn. The same
//! problem can have another number as a warning than as an error ([`Problem::of_warning`]).
//!
//! NULL passes: NOT NULL is the caller's check. TIMESTAMP stays in the session's zone.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode, flags};

use super::print::{display, to_text};
use super::time::to_time;
use crate::context::{EvalContext, Occurs, Severity, TimeZone, sql_mode};
use crate::error::{EvalError, Result};

/// What a conversion depends on beside value and types.
#[derive(Clone, Debug)]
pub struct StoreContext<'a> {
    /// The session's zone: TIMESTAMP has its range in UTC.
    pub zone: &'a TimeZone,
    /// Whether `0000-00-00` is refused (NO_ZERO_DATE).
    pub no_zero_date: bool,
    /// Whether dates without a month or a day are refused (NO_ZERO_IN_DATE).
    pub no_zero_in_date: bool,
    /// The day of the statement, which a time of day takes in a DATETIME.
    pub today: Option<Time>,
}

impl StoreContext<'_> {
    /// Of a statement.
    pub fn of(ctx: &EvalContext) -> StoreContext<'_> {
        StoreContext {
            zone: &ctx.time_zone,
            no_zero_date: ctx.has_mode(sql_mode::NO_ZERO_DATE),
            no_zero_in_date: ctx.has_mode(sql_mode::NO_ZERO_IN_DATE),
            today: Some(ctx.now(0)),
        }
    }
}

/// The value that fits, and what was wrong with the one given.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// What to store.
    pub value: Datum,
    /// Why it is not quite what was given.
    pub problem: Option<Problem>,
}

/// What was wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 1264.
    OutOfRange,
    /// 1406.
    TooLong,
    /// 1265.
    Truncated,
    /// 1265 as a note, never an error: digits after the point were rounded away, spaces were cut.
    Note,
    /// 1366 (1292 for dates and times): kind and value.
    Wrong(&'static str, String),
    /// A TIMESTAMP that the zone's clocks skipped: 1292, as a warning 1299.
    NeverWas(String),
    /// 1299.
    InvalidTimestamp,
    /// 3140, also where nothing is strict.
    Json,
}

impl Problem {
    /// As a warning it may have another number than as an error.
    pub fn of_warning(self, ty: &FieldType) -> Problem {
        match self {
            Problem::TooLong if ty.tp == TypeCode::Bit => Problem::OutOfRange,
            Problem::TooLong => Problem::Truncated,
            Problem::NeverWas(_) => Problem::InvalidTimestamp,
            Problem::Wrong("date" | "datetime" | "time", value) => {
                // Digits that are no date, or no date here, are out of range.
                match value.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '-') {
                    true => Problem::OutOfRange,
                    false => Problem::Truncated,
                }
            }
            other => other,
        }
    }

    /// The error of this problem. `row` counts from one.
    pub fn error(&self, column: &str, row: u64) -> EvalError {
        let column = column.to_owned();
        match self {
            Problem::OutOfRange => EvalError::ColumnOutOfRange { column, row },
            Problem::TooLong => EvalError::DataTooLong { column, row },
            Problem::Truncated | Problem::Note => EvalError::DataTruncated { column, row },
            Problem::NeverWas(value) => {
                EvalError::IncorrectColumnValue { ty: "datetime".into(), value: value.clone(), column, row }
            }
            Problem::InvalidTimestamp => EvalError::InvalidTimestamp { column, row },
            Problem::Wrong(kind, value) => {
                EvalError::IncorrectColumnValue { ty: (*kind).into(), value: value.clone(), column, row }
            }
            Problem::Json => {
                EvalError::InvalidJson(format!("\"Invalid value.\" at position 0 in value for column '{column}'."))
            }
        }
    }
}

/// A value as its column stores it. What does not fit is an error, or is cut to what fits, with a warning, or silently, as
/// the statement wants. `column` and `row` are for messages.
pub fn store(
    value: Datum,
    from: &FieldType,
    to: &FieldType,
    column: &str,
    row: u64,
    ctx: &mut EvalContext,
) -> Result<Datum> {
    let Fitted { value, problem } = fit(value, from, to, &StoreContext::of(ctx));
    match problem {
        None => {}
        Some(p @ Problem::Json) => return Err(p.error(column, row)),
        Some(Problem::Note) if ctx.on_truncate == Severity::Ignore => {}
        Some(p @ Problem::Note) => ctx.warn((&p.error(column, row)).into()),
        Some(p) => match ctx.on_truncate {
            Severity::Error => return Err(p.error(column, row)),
            Severity::Warn => ctx.warn((&p.of_warning(to).error(column, row)).into()),
            Severity::Ignore => {}
        },
    }
    Ok(value)
}

/// The nearest value of a column's type.
pub fn fit(value: Datum, from: &FieldType, to: &FieldType, cx: &StoreContext<'_>) -> Fitted {
    let (value, problem) = nearest(value, from, to, cx);
    Fitted { value, problem }
}

type Fit = (Datum, Option<Problem>);

fn ok(d: Datum) -> Fit {
    (d, None)
}

fn nearest(d: Datum, from: &FieldType, to: &FieldType, cx: &StoreContext<'_>) -> Fit {
    use TypeCode::*;
    // Members of another list are text, and literals such as 0x41 are numbers where numbers are wanted.
    let d = match d {
        Datum::Null => return ok(d),
        Datum::Enum(_) | Datum::Set(_) if matches!(to.tp, Enum | Set) && !from.elems.is_empty() => {
            Datum::Bytes(to_text(&d, from).unwrap_or_default())
        }
        Datum::Bytes(b) if from.has(flags::BIT_LITERAL) && to.tp.is_numeric() && to.tp != Bit => {
            Datum::UInt(b[b.len().saturating_sub(8)..].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        }
        d => d,
    };
    match to.tp {
        Tiny | Short | Int24 | Long | LongLong => integer(&d, to),
        Float | Double => float(&d, to),
        NewDecimal | Unspecified => decimal(&d, to),
        Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob => string(d, from, to),
        Date | NewDate | DateTime | Timestamp => time(&d, to, cx),
        Duration => duration(&d, to),
        Year => year(&d),
        Enum => enumeration(&d, to),
        Set => set(&d, to),
        Bit => bit(&d, to),
        Json => json(d, from),
        Null | Geometry => ok(d),
    }
}

fn printable(b: &[u8]) -> String {
    String::from_utf8_lossy(b).into_owned()
}

/// A number exactly: integers as they are, the rest as DECIMAL.
fn exact(d: &Datum, kind: &'static str) -> (Decimal, Option<Problem>) {
    let largest = |negative: bool| {
        let max = Decimal::max_value(65, 0);
        (if negative { max.neg() } else { max }, Some(Problem::OutOfRange))
    };
    match d {
        Datum::Int(v) => (Decimal::from(*v), None),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => (Decimal::from(*v), None),
        Datum::Decimal(v) => (v.clone(), None),
        Datum::Float(v) => match Decimal::from_f64(*v) {
            Some(d) => (d, None),
            None => largest(*v < 0.0),
        },
        Datum::Time(t) => (Decimal::from(t.round_fraction(0).unwrap_or(*t).to_number()), None),
        Datum::Duration(t) => (Decimal::from(t.round(0).to_number()), None),
        Datum::Bytes(b) => {
            let text = std::str::from_utf8(b).unwrap_or("");
            let (number, rest) = Decimal::parse_prefix(text);
            match number {
                None => largest(text.trim_start().starts_with('-')),
                Some(n) if !rest => (n, None),
                Some(n)
                    if text.trim_start().starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                        && text.bytes().any(|c| c.is_ascii_digit()) =>
                {
                    (n, Some(Problem::Truncated))
                }
                Some(n) => (n, Some(Problem::Wrong(kind, printable(b)))),
            }
        }
        Datum::Json(j) => match j {
            Json::Int(v) => (Decimal::from(*v), None),
            Json::UInt(v) => (Decimal::from(*v), None),
            Json::Bool(v) => (Decimal::from(i64::from(*v)), None),
            Json::Float(v) => exact(&Datum::Float(*v), kind),
            Json::String(s) => exact(&Datum::string(s.as_str()), kind),
            other => (Decimal::ZERO, Some(Problem::Wrong(kind, other.to_string()))),
        },
        Datum::Null | Datum::Max => (Decimal::ZERO, None),
    }
}

/// A float as the nearest whole number, of two equally near ones the even one. Exact numbers round by themselves, up.
fn whole(d: &Datum) -> Datum {
    match d {
        Datum::Float(v) => Datum::Float(v.round_ties_even()),
        d => d.clone(),
    }
}

fn integer(d: &Datum, ty: &FieldType) -> Fit {
    if ty.is_unsigned() {
        let max = ty.unsigned_max();
        let (v, problem) = match d {
            Datum::UInt(v) => (Ok(*v), None),
            Datum::Int(v) => (u64::try_from(*v).map_err(|_| 0), None),
            // Not even what rounds to zero.
            Datum::Decimal(v) if v.is_negative() && !v.is_zero() => (Err(0), None),
            // Negative floats round to zero only within half.
            other => {
                let (n, problem) = exact(&whole(other), "integer");
                (n.to_u64(), problem)
            }
        };
        match v {
            Ok(v) if v <= max => (Datum::UInt(v), problem),
            Ok(_) => (Datum::UInt(max), Some(Problem::OutOfRange)),
            Err(v) => (Datum::UInt(v.min(max)), Some(Problem::OutOfRange)),
        }
    } else {
        let (min, max) = ty.signed_range();
        let (v, problem) = match d {
            Datum::Int(v) => (Ok(*v), None),
            other => {
                let (n, problem) = exact(&whole(other), "integer");
                (n.to_i64(), problem)
            }
        };
        match v {
            Ok(v) if (min..=max).contains(&v) => (Datum::Int(v), problem),
            // What follows the number does not matter then.
            Ok(v) | Err(v) => (Datum::Int(v.clamp(min, max)), Some(Problem::OutOfRange)),
        }
    }
}

fn float(d: &Datum, ty: &FieldType) -> Fit {
    let (mut v, mut problem) = match d {
        Datum::Float(v) => (*v, None),
        Datum::Int(v) => (*v as f64, None),
        Datum::UInt(v) => (*v as f64, None),
        Datum::Bytes(b) => match std::str::from_utf8(b).ok().and_then(|s| s.trim().parse::<f64>().ok()) {
            Some(v) if v.is_finite() => (v, None),
            Some(v) if v.is_infinite() => (f64::MAX.copysign(v), Some(Problem::OutOfRange)),
            _ => {
                let (n, p) = exact(d, "double");
                (n.to_f64(), p)
            }
        },
        other => {
            let (n, p) = exact(other, "double");
            (n.to_f64(), p)
        }
    };
    if ty.is_unsigned() && v < 0.0 {
        (v, problem) = (0.0, Some(Problem::OutOfRange));
    }
    if (0..=30).contains(&ty.decimal) && ty.flen > 0 {
        let unit = 10_f64.powi(ty.decimal);
        let max = 10_f64.powi(ty.flen - ty.decimal) - 1.0 / unit;
        let rounded = (v * unit).round_ties_even() / unit;
        v = if rounded.is_finite() { rounded } else { v };
        if v.abs() > max {
            (v, problem) = (max.copysign(v), Some(Problem::OutOfRange));
        }
    }
    if ty.tp == TypeCode::Float {
        let narrow = v as f32;
        if narrow.is_infinite() {
            return (Datum::Float(f64::from(f32::MAX).copysign(v)), Some(Problem::OutOfRange));
        }
        v = f64::from(narrow);
    }
    (Datum::Float(v), problem)
}

fn decimal(d: &Datum, ty: &FieldType) -> Fit {
    let (n, mut problem) = exact(d, "decimal");
    let (precision, scale) = (ty.flen.clamp(1, 65) as u8, ty.decimal.clamp(0, 30) as u8);
    if ty.is_unsigned() && n.is_negative() {
        return (Datum::Decimal(Decimal::from_i128(0, scale)), problem.or(Some(Problem::OutOfRange)));
    }
    let rounded = n.round(scale.into());
    if !rounded.fits(precision, scale) {
        let max = Decimal::max_value(precision, scale);
        let clipped = if n.is_negative() { max.neg() } else { max };
        return (Datum::Decimal(clipped), problem.or(Some(Problem::OutOfRange)));
    }
    if problem.is_none() && rounded != n {
        problem = Some(Problem::Note);
    }
    (Datum::Decimal(rounded), problem)
}

fn string(d: Datum, from: &FieldType, ty: &FieldType) -> Fit {
    let mut b = match d {
        Datum::Bytes(b) => b,
        other => to_text(&other, from).unwrap_or_default(),
    };
    let limit = if ty.flen < 0 { usize::MAX } else { ty.flen as usize };
    if !ty.is_text() {
        if b.len() > limit {
            b.truncate(limit);
            return (Datum::Bytes(b), Some(Problem::TooLong));
        }
        if ty.tp == TypeCode::String && ty.flen > 0 {
            b.resize(limit, 0);
        }
        return ok(Datum::Bytes(b));
    }
    let mut problem = None;
    let text = match std::str::from_utf8(&b) {
        Ok(s) => s,
        Err(e) => {
            let bad: String = b[e.valid_up_to()..].iter().take(6).map(|c| format!("\\x{c:02X}")).collect();
            b.truncate(e.valid_up_to());
            return (Datum::Bytes(b), Some(Problem::Wrong("string", bad)));
        }
    };
    let set = ty.collation.set();
    if let Some(at) = set.unfit(text) {
        let bad: String = b[at..].iter().take(6).map(|c| format!("\\x{c:02X}")).collect();
        // Where it is no error, a question mark stands for each.
        let kept: String = text.chars().map(|c| if set.has(c) { c } else { '?' }).collect();
        let (value, _) = string(Datum::string(kept), from, ty);
        return (value, Some(Problem::Wrong("string", bad)));
    }
    // TEXT types are limited in bytes, CHAR and VARCHAR in characters.
    let cut = if ty.tp.is_blob() {
        (b.len() > limit).then(|| {
            let mut at = limit;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        })
    } else if b.len() > limit {
        text.char_indices().nth(limit).map(|(at, _)| at)
    } else {
        None
    };
    if let Some(at) = cut {
        let only_spaces = b[at..].iter().all(|c| *c == b' ');
        b.truncate(at);
        problem = Some(if only_spaces && !ty.tp.is_blob() { Problem::Note } else { Problem::TooLong });
    }
    if ty.tp == TypeCode::String {
        b.truncate(codec::types::trim_spaces(&b).len());
    }
    (Datum::Bytes(b), problem)
}

/// First and last TIMESTAMP in microseconds since the epoch.
const TIMESTAMP_RANGE: std::ops::RangeInclusive<i64> = 1_000_000..=2_147_483_647_999_999;

fn time(d: &Datum, ty: &FieldType, cx: &StoreContext<'_>) -> Fit {
    let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
    let word = if kind == TimeKind::Date { "date" } else { "datetime" };
    let fsp = ty.fsp();
    let zero = Time::zero(kind, fsp);
    let wrong = || (Datum::Time(zero), Some(Problem::Wrong(word, display(d))));
    let mut problem = None;
    // A clock's reading that a DATE does not keep.
    let mut whole = |t: Time| {
        if kind == TimeKind::Date && !t.is_midnight() {
            problem = Some(Problem::Note);
        }
        t.convert(kind, fsp)
    };
    let t = match d {
        Datum::Time(t) => Ok(whole(*t)),
        Datum::Int(v) => Time::from_number(*v, kind, fsp),
        Datum::UInt(v) => i64::try_from(*v)
            .map_err(|_| codec::Error::OutOfRange("time"))
            .and_then(|v| Time::from_number(v, kind, fsp)),
        Datum::Duration(span) if cx.today.is_some() => {
            let midnight = Time { hour: 0, minute: 0, second: 0, micro: 0, ..cx.today.unwrap_or(zero) };
            Time::from_epoch_micros(midnight.to_epoch_micros() + span.micros, TimeKind::DateTime, 6).map(whole)
        }
        Datum::Decimal(_) | Datum::Float(_) => {
            let mut strict = EvalContext { on_truncate: Severity::Error, ..EvalContext::default() };
            match to_time(d, TimeKind::DateTime, 6, &mut strict) {
                Ok(Some(t)) => Ok(whole(t)),
                _ => return wrong(),
            }
        }
        other => {
            let text = display(other);
            let parsed = Time::parse(&text, kind, fsp);
            parsed.map(|p| {
                if p.truncated {
                    problem = Some(Problem::Wrong(word, text));
                }
                p.value
            })
        }
    };
    let Ok(t) = t else { return wrong() };
    let refused = if t.is_zero() { cx.no_zero_date } else { t.has_zero_date() && cx.no_zero_in_date };
    if refused {
        return wrong();
    }
    if kind == TimeKind::Timestamp && !t.is_zero() {
        let utc = cx.zone.timestamp_to_utc(&t);
        if t.has_zero_date() || !TIMESTAMP_RANGE.contains(&utc.to_epoch_micros()) {
            return wrong();
        }
        if cx.zone.occurs(&t) == Occurs::Never {
            return (Datum::Time(cx.zone.timestamp_to_local(&utc)), Some(Problem::NeverWas(display(d))));
        }
    }
    (Datum::Time(t), problem)
}

fn duration(d: &Datum, ty: &FieldType) -> Fit {
    let fsp = ty.fsp();
    let parsed = match d {
        Datum::Duration(t) => return ok(Datum::Duration(t.round(fsp))),
        Datum::Time(t) => {
            // The day is lost.
            let problem = (!t.is_zero()).then_some(Problem::Note);
            return (Datum::Duration(t.to_duration().round(fsp)), problem);
        }
        Datum::Int(v) => Duration::from_number(*v, fsp),
        other => Duration::parse(&display(other), fsp),
    };
    match parsed {
        Ok(p) if !p.truncated => ok(Datum::Duration(p.value)),
        Ok(p) => (Datum::Duration(p.value), Some(Problem::Wrong("time", display(d)))),
        Err(_) => (Datum::Duration(Duration { micros: 0, fsp }), Some(Problem::Wrong("time", display(d)))),
    }
}

fn year(d: &Datum) -> Fit {
    let (n, problem) = match d {
        Datum::Time(t) => (Decimal::from(i64::from(t.year)), None),
        // Not rounded: 99.5e0 is 1999.
        Datum::Float(v) => exact(&Datum::Float(v.trunc()), "integer"),
        other => exact(other, "integer"),
    };
    let short_text = matches!(d, Datum::Bytes(b) if b.trim_ascii().len() < 4);
    match n.to_i64() {
        Ok(0) if short_text => (Datum::UInt(2000), problem),
        Ok(0) => (Datum::UInt(0), problem),
        Ok(v @ 1..=69) => (Datum::UInt(v as u64 + 2000), problem),
        Ok(v @ 70..=99) => (Datum::UInt(v as u64 + 1900), problem),
        Ok(v @ 1901..=2155) => (Datum::UInt(v as u64), problem),
        _ => (Datum::UInt(0), Some(Problem::OutOfRange)),
    }
}

/// A member by its name: by the collation, or but for the case of letters.
fn is_member(ty: &FieldType, member: &str, text: &[u8]) -> bool {
    ty.collation.compare(member.as_bytes(), text).is_eq() || member.as_bytes().eq_ignore_ascii_case(text)
}

fn enumeration(d: &Datum, ty: &FieldType) -> Fit {
    let by_number = |n: u64| (1..=ty.elems.len() as u64).contains(&n).then_some(n);
    let found = match d {
        Datum::Bytes(b) => {
            let named = ty.elems.iter().position(|e| is_member(ty, e, b)).map(|i| i as u64 + 1);
            // Text that is a number picks the member of that number.
            named.or_else(|| printable(b).trim().parse().ok().and_then(by_number))
        }
        other => exact(&whole(other), "integer").0.to_u64().ok().and_then(by_number),
    };
    match found {
        Some(n) => ok(Datum::Enum(n)),
        None => (Datum::Enum(0), Some(Problem::Truncated)),
    }
}

fn set(d: &Datum, ty: &FieldType) -> Fit {
    let all = if ty.elems.len() >= 64 { u64::MAX } else { (1 << ty.elems.len()) - 1 };
    match d {
        Datum::Bytes(b) if b.is_empty() => ok(Datum::Set(0)),
        Datum::Bytes(b) => {
            let mut mask = 0;
            let mut problem = None;
            for part in b.split(|c| *c == b',') {
                match ty.elems.iter().position(|e| is_member(ty, e, part)) {
                    Some(i) => mask |= 1 << i,
                    None => problem = Some(Problem::Truncated),
                }
            }
            match (problem, printable(b).trim().parse::<u64>()) {
                (Some(_), Ok(n)) if n <= all => ok(Datum::Set(n)),
                (p, _) => (Datum::Set(mask), p),
            }
        }
        other => match exact(&whole(other), "integer").0.to_u64() {
            Ok(n) if n <= all => ok(Datum::Set(n)),
            Ok(n) | Err(n) => (Datum::Set(n & all), Some(Problem::Truncated)),
        },
    }
}

fn bit(d: &Datum, ty: &FieldType) -> Fit {
    let max = ty.unsigned_max();
    let n = match d {
        Datum::Bytes(b) => {
            let b = &b[b.iter().take_while(|c| **c == 0).count()..];
            if b.len() > 8 { Err(()) } else { Ok(b.iter().fold(0_u64, |v, c| v << 8 | u64::from(*c))) }
        }
        Datum::Int(v) => Ok(*v as u64),
        other => exact(&whole(other), "integer").0.to_u64().map_err(|_| ()),
    };
    match n {
        Ok(n) if n <= max => ok(Datum::Bit(n)),
        _ => (Datum::Bit(max), Some(Problem::TooLong)),
    }
}

fn json(d: Datum, from: &FieldType) -> Fit {
    match d {
        Datum::Json(_) => ok(d),
        Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) => ok(Datum::Json(super::json::to_json(&d, from))),
        other => match Json::parse(&display(&other)) {
            Ok(j) => ok(Datum::Json(j)),
            Err(_) => (Datum::Json(Json::Null), Some(Problem::Json)),
        },
    }
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

    /// (what is stored, number of the warning) where nothing is strict. Values from MariaDB 10.11.
    fn lenient(value: impl Into<Datum>, to: &FieldType) -> (String, u16) {
        let value = value.into();
        let from = crate::types::literal_type(&value);
        let mut ctx = EvalContext::for_write(0, crate::context::TimeZone::UTC, 0);
        let stored = store(value, &from, to, "c", 1, &mut ctx).unwrap();
        (show(&stored, to), ctx.warnings.first().map_or(0, |w| w.code))
    }

    fn exact_value(text: &str) -> Datum {
        Datum::Decimal(text.parse().unwrap())
    }

    #[test]
    fn numbers_round_by_their_kind() {
        let int = FieldType::new(TypeCode::Long);
        let unsigned = FieldType::bigint_unsigned();
        for (value, to, want) in [
            (Datum::Float(2.5), &int, ("2", 0)),
            (Datum::Float(3.5), &int, ("4", 0)),
            (Datum::Float(-2.5), &int, ("-2", 0)),
            (exact_value("2.5"), &int, ("3", 0)),
            ("2.5".into(), &int, ("3", 0)),
            ("3.5e0".into(), &int, ("4", 0)),
            ("2.5abc".into(), &int, ("3", 1265)),
            (Datum::Float(1e300), &int, ("2147483647", 1264)),
            ("-1e300".into(), &int, ("-2147483648", 1264)),
            (Datum::Float(-0.5), &unsigned, ("0", 0)),
            (exact_value("-0.4"), &unsigned, ("0", 1264)),
            ("-0.4".into(), &unsigned, ("0", 0)),
            (Datum::Float(-1e300), &unsigned, ("0", 1264)),
        ] {
            assert_eq!(lenient(value.clone(), to), (want.0.into(), want.1), "{value:?} into {}", to.declaration());
        }
        let one = FieldType::decimal(5, 1);
        for (value, want) in [
            (exact_value("1.25"), ("1.3", 1265)),
            (Datum::Float(1.25), ("1.3", 1265)),
            ("1.25x".into(), ("1.3", 1265)),
            (Datum::Int(99_999), ("9999.9", 1264)),
            (Datum::Int(-99_999), ("-9999.9", 1264)),
            ("x".into(), ("0.0", 1366)),
            (Datum::Float(1.35), ("1.4", 1265)),
        ] {
            assert_eq!(lenient(value.clone(), &one), (want.0.into(), want.1), "{value:?} into DECIMAL(5,1)");
        }
        let short = FieldType { flen: 5, decimal: 1, ..FieldType::double() };
        assert_eq!(lenient(1.25, &short), ("1.2".into(), 0));
        assert_eq!(lenient("1.35", &short), ("1.4".into(), 0));
        assert_eq!(lenient(99_999_i64, &short), ("9999.9".into(), 1264));
    }

    #[test]
    fn years_have_a_century() {
        let year = FieldType::new(TypeCode::Year);
        let date = Time::parse("2024-03-04", TimeKind::Date, 0).unwrap().value;
        for (value, want) in [
            (Datum::Int(0), ("0000", 0)),
            ("0".into(), ("2000", 0)),
            ("00".into(), ("2000", 0)),
            ("0000".into(), ("0000", 0)),
            (Datum::Int(70), ("1970", 0)),
            ("69".into(), ("2069", 0)),
            ("2156".into(), ("0000", 1264)),
            (exact_value("1.5"), ("2002", 0)),
            ("1.5".into(), ("2002", 0)),
            ("20a".into(), ("2020", 1265)),
            (Datum::Time(date), ("2024", 0)),
            (Datum::Float(99.5), ("1999", 0)),
        ] {
            assert_eq!(lenient(value.clone(), &year), (want.0.into(), want.1), "{value:?} into YEAR");
        }
    }

    #[test]
    fn members_bits_and_times() {
        let e = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Enum) };
        let s = FieldType { tp: TypeCode::Set, ..e.clone() };
        let bits = FieldType { flen: 4, ..FieldType::new(TypeCode::Bit) };
        let time = FieldType::new(TypeCode::Duration);
        let date = FieldType::new(TypeCode::Date);
        let noon = Time::parse("2024-01-01 10:11:12", TimeKind::DateTime, 0).unwrap().value;
        for (value, to, want) in [
            ("A".into(), &e, ("a", 0)),
            ("a ".into(), &e, ("a", 0)),
            ("2".into(), &e, ("b", 0)),
            (Datum::Int(0), &e, ("", 1265)),
            (exact_value("1.4"), &e, ("a", 0)),
            ("B,A".into(), &s, ("a,b", 0)),
            ("3".into(), &s, ("a,b", 0)),
            (Datum::Int(4), &s, ("", 1265)),
            ("a,x".into(), &s, ("a", 1265)),
            (exact_value("3.5"), &bits, ("\u{4}", 0)),
            (Datum::Float(2.5), &bits, ("\u{2}", 0)),
            (Datum::Int(16), &bits, ("\u{f}", 1264)),
            (Datum::Int(-1), &bits, ("\u{f}", 1264)),
            (exact_value("101112.7"), &time, ("10:11:13", 0)),
            ("10:11:12xyz".into(), &time, ("10:11:12", 1264)),
            ("x".into(), &time, ("00:00:00", 1265)),
            (Datum::Time(noon), &time, ("10:11:12", 1265)),
            (Datum::Time(noon), &date, ("2024-01-01", 1265)),
            (exact_value("20240131.7"), &date, ("2024-01-31", 1265)),
            ("x".into(), &date, ("0000-00-00", 1265)),
        ] {
            assert_eq!(lenient(value.clone(), to), (want.0.into(), want.1), "{value:?} into {}", to.declaration());
        }
    }

    #[test]
    fn lenient_columns_cut_and_warn() {
        let mut ctx = EvalContext::for_write(0, crate::context::TimeZone::UTC, 0);
        let from = FieldType::varchar(5);
        let tiny = FieldType::new(TypeCode::Tiny).with_flags(flags::UNSIGNED);
        assert_eq!(store(Datum::Int(300), &FieldType::bigint(), &tiny, "c", 1, &mut ctx), Ok(Datum::UInt(255)));
        assert_eq!(store(Datum::from("x"), &from, &tiny, "c", 1, &mut ctx), Ok(Datum::UInt(0)));
        assert_eq!(store(Datum::from("abcd"), &from, &FieldType::varchar(2), "c", 1, &mut ctx), Ok(Datum::from("ab")));
        assert_eq!(ctx.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [1264, 1366, 1265]);
    }
}
