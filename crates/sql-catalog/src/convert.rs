//! A value on its way into a column: MySQL's conversions with their errors.
//!
//! In strict mode a value that does not fit is an error; otherwise (or with `IGNORE`) the nearest value that fits is
//! stored and the error becomes a warning. [`convert`] returns that nearest value beside the complaint, and the caller
//! decides which of the two it is.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode};
use query::context::TimeZone;
use sql_base::SqlError;

/// What the conversion depends on beside value and type.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Column name, for messages.
    pub column: &'a str,
    /// Row number from 1, for messages.
    pub row: u64,
    /// The session's time zone: TIMESTAMP columns are kept in UTC.
    pub zone: &'a TimeZone,
    /// Whether dates with zero parts are refused (`NO_ZERO_DATE`, `NO_ZERO_IN_DATE`).
    pub no_zero_date: bool,
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
    /// 3140.
    Json,
}

impl Problem {
    /// As a warning it may have another number than as an error.
    pub fn of_warning(self, ty: &FieldType) -> Problem {
        match self {
            Problem::TooLong if ty.tp == TypeCode::Bit => Problem::OutOfRange,
            Problem::TooLong => Problem::Truncated,
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

    /// The error of this problem.
    pub fn error(&self, cx: &Context<'_>) -> SqlError {
        let (column, row) = (cx.column.to_owned(), cx.row);
        match self {
            Problem::OutOfRange => SqlError::OutOfRangeColumn { column, row },
            Problem::TooLong => SqlError::DataTooLong { column, row },
            Problem::Truncated | Problem::Note => SqlError::DataTruncated { column, row },
            Problem::Wrong(kind @ ("date" | "datetime" | "time"), value) => {
                SqlError::IncorrectTimeForColumn { kind: (*kind).to_owned(), value: value.clone(), column, row }
            }
            Problem::Wrong(kind, value) => {
                SqlError::TruncatedWrongValueForField { kind: (*kind).to_owned(), value: value.clone(), column, row }
            }
            Problem::Json => {
                SqlError::InvalidJsonText(format!("\"Invalid value.\" at position 0 in value for column '{column}'."))
            }
        }
    }
}

/// Text of a value, as MySQL prints it (without a type: times carry their own precision).
pub fn text_of(d: &Datum, ty: Option<&FieldType>) -> Vec<u8> {
    match d {
        Datum::Null | Datum::Max => Vec::new(),
        Datum::Int(v) => v.to_string().into_bytes(),
        Datum::UInt(v) => v.to_string().into_bytes(),
        Datum::Float(v) => float_text(*v).into_bytes(),
        Datum::Decimal(v) => v.to_string().into_bytes(),
        Datum::Bytes(b) => b.clone(),
        Datum::Time(t) => t.to_string().into_bytes(),
        Datum::Duration(t) => t.to_string().into_bytes(),
        Datum::Enum(n) => match ty {
            Some(t) => enum_name(t, *n).as_bytes().to_vec(),
            None => n.to_string().into_bytes(),
        },
        Datum::Set(n) => match ty {
            Some(t) => set_names(t, *n).into_bytes(),
            None => n.to_string().into_bytes(),
        },
        Datum::Bit(n) => {
            let bytes = n.to_be_bytes();
            let width = ty.map_or(8, |t| (t.flen.clamp(1, 64) as usize).div_ceil(8));
            bytes[8 - width..].to_vec()
        }
        Datum::Json(j) => j.to_string().into_bytes(),
    }
}

/// Member number `n` of an ENUM; empty for 0.
pub fn enum_name(ty: &FieldType, n: u64) -> &str {
    usize::try_from(n).ok().and_then(|n| n.checked_sub(1)).and_then(|n| ty.elems.get(n)).map_or("", String::as_str)
}

/// Members of a SET, separated by commas.
pub fn set_names(ty: &FieldType, mask: u64) -> String {
    let names: Vec<&str> =
        ty.elems.iter().take(64).enumerate().filter(|(i, _)| mask >> i & 1 == 1).map(|(_, e)| e.as_str()).collect();
    names.join(",")
}

/// MySQL's text of a DOUBLE: shortest digits, exponent only where it is shorter.
pub fn float_text(v: f64) -> String {
    let magnitude = v.abs();
    if magnitude != 0.0 && !(1e-15..1e15).contains(&magnitude) { format!("{v:e}") } else { format!("{v}") }
}

/// Fits a value into a column.
pub fn convert(d: Datum, ty: &FieldType, cx: &Context<'_>) -> Fitted {
    let (value, problem) = fit(d, ty, cx);
    Fitted { value, problem }
}

type Fit = (Datum, Option<Problem>);

fn ok(d: Datum) -> Fit {
    (d, None)
}

fn fit(d: Datum, ty: &FieldType, cx: &Context<'_>) -> Fit {
    use TypeCode::*;
    if d.is_null() {
        return ok(d);
    }
    match ty.tp {
        Tiny | Short | Int24 | Long | LongLong => integer(&d, ty),
        Float | Double => float(&d, ty),
        NewDecimal | Unspecified => decimal(&d, ty),
        Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob => string(d, ty),
        Date | NewDate | DateTime | Timestamp => time(&d, ty, cx),
        Duration => duration(&d, ty),
        Year => year(&d),
        Enum => enumeration(&d, ty),
        Set => set(&d, ty),
        Bit => bit(&d, ty),
        Json => json(d),
        Null | Geometry => ok(d),
    }
}

fn printable(b: &[u8]) -> std::string::String {
    std::string::String::from_utf8_lossy(b).into_owned()
}

/// A number exactly: integers as they are, the rest as DECIMAL. `None` for what is no number at all.
fn exact(d: &Datum, kind: &'static str) -> (Decimal, Option<Problem>) {
    match d {
        Datum::Int(v) => (Decimal::from(*v), None),
        Datum::UInt(v) | Datum::Enum(v) | Datum::Set(v) | Datum::Bit(v) => (Decimal::from(*v), None),
        Datum::Decimal(v) => (v.clone(), None),
        Datum::Float(v) => match Decimal::from_f64(*v) {
            Some(d) => (d, None),
            None if *v < 0.0 => (Decimal::max_value(65, 0).neg(), Some(Problem::OutOfRange)),
            None => (Decimal::max_value(65, 0), Some(Problem::OutOfRange)),
        },
        Datum::Time(t) => (Decimal::from(t.round_fraction(0).unwrap_or(*t).to_number()), None),
        Datum::Duration(t) => (Decimal::from(t.round(0).to_number()), None),
        Datum::Bytes(b) => {
            let text = std::str::from_utf8(b).unwrap_or("");
            let (number, rest) = Decimal::parse_prefix(text);
            match number {
                None => (Decimal::max_value(65, 0), Some(Problem::OutOfRange)),
                Some(n) if !rest => (n, None),
                Some(n)
                    if text.trim_start().starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                        && (text.bytes().any(|c| c.is_ascii_digit())) =>
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
            Json::Float(v) => (Decimal::from_f64(*v).unwrap_or_default(), None),
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
            Some(_) => (f64::MAX, Some(Problem::OutOfRange)),
            None => {
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
    if ty.decimal >= 0 && ty.flen > 0 {
        let unit = 10_f64.powi(ty.decimal);
        let max = 10_f64.powi(ty.flen - ty.decimal) - 1.0 / unit;
        v = (v * unit).round() / unit;
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
    if problem.is_none() && rounded != n && matches!(d, Datum::Decimal(_) | Datum::Bytes(_)) {
        problem = Some(Problem::Note);
    }
    (Datum::Decimal(rounded), problem)
}

fn string(d: Datum, ty: &FieldType) -> Fit {
    let mut b = match d {
        Datum::Bytes(b) => b,
        other => text_of(&other, None),
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
            let bad: std::string::String = b[e.valid_up_to()..].iter().take(6).map(|c| format!("\\x{c:02X}")).collect();
            b.truncate(e.valid_up_to());
            return (Datum::Bytes(b), Some(Problem::Wrong("string", bad)));
        }
    };
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

fn time(d: &Datum, ty: &FieldType, cx: &Context<'_>) -> Fit {
    let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
    let word = if kind == TimeKind::Date { "date" } else { "datetime" };
    let fsp = ty.fsp();
    let zero = Time::zero(kind, fsp);
    let wrong = || (Datum::Time(zero), Some(Problem::Wrong(word, printable(&text_of(d, None)))));
    let mut problem = None;
    let t = match d {
        Datum::Time(t) => {
            if kind == TimeKind::Date && !t.is_midnight() {
                problem = Some(Problem::Note);
            }
            Ok(t.convert(kind, fsp))
        }
        Datum::Int(v) => Time::from_number(*v, kind, fsp),
        Datum::UInt(v) => i64::try_from(*v)
            .map_err(|_| codec::Error::OutOfRange("time"))
            .and_then(|v| Time::from_number(v, kind, fsp)),
        other => match std::str::from_utf8(&text_of(other, None)) {
            Ok(text) => Time::parse(text, kind, fsp).map(|p| {
                if p.truncated {
                    problem = Some(Problem::Wrong(word, text.to_owned()));
                }
                p.value
            }),
            Err(_) => return wrong(),
        },
    };
    let Ok(t) = t else { return wrong() };
    if t.has_zero_date() && cx.no_zero_date {
        return wrong();
    }
    if kind == TimeKind::Timestamp && !t.is_zero() {
        let utc = cx.zone.timestamp_to_utc(&t);
        if t.has_zero_date() || !TIMESTAMP_RANGE.contains(&utc.to_epoch_micros()) {
            return wrong();
        }
    }
    (Datum::Time(t), problem)
}

fn duration(d: &Datum, ty: &FieldType) -> Fit {
    let fsp = ty.fsp();
    let parsed = match d {
        Datum::Duration(t) => return ok(Datum::Duration(t.round(fsp))),
        Datum::Time(t) => return ok(Datum::Duration(t.to_duration().round(fsp))),
        Datum::Int(v) => Duration::from_number(*v, fsp),
        other => match std::str::from_utf8(&text_of(other, None)) {
            Ok(text) => Duration::parse(text, fsp),
            Err(_) => Err(codec::Error::Invalid("time")),
        },
    };
    match parsed {
        Ok(p) if !p.truncated => ok(Datum::Duration(p.value)),
        Ok(p) => (Datum::Duration(p.value), Some(Problem::Wrong("time", printable(&text_of(d, None))))),
        Err(_) => {
            (Datum::Duration(Duration { micros: 0, fsp }), Some(Problem::Wrong("time", printable(&text_of(d, None)))))
        }
    }
}

fn year(d: &Datum) -> Fit {
    let (n, problem) = match d {
        Datum::Time(t) => (Decimal::from(i64::from(t.year)), None),
        other => exact(other, "integer"),
    };
    let short_text = matches!(d, Datum::Bytes(b) if b.len() <= 2);
    match n.to_i64() {
        Ok(0) if short_text => (Datum::UInt(2000), problem),
        Ok(0) => (Datum::UInt(0), problem),
        Ok(v @ 1..=69) => (Datum::UInt(v as u64 + 2000), problem),
        Ok(v @ 70..=99) => (Datum::UInt(v as u64 + 1900), problem),
        Ok(v @ 1901..=2155) => (Datum::UInt(v as u64), problem),
        _ => (Datum::UInt(0), Some(Problem::OutOfRange)),
    }
}

fn enumeration(d: &Datum, ty: &FieldType) -> Fit {
    let by_number = |n: u64| (1..=ty.elems.len() as u64).contains(&n).then_some(n);
    let found = match d {
        Datum::Bytes(b) => ty
            .elems
            .iter()
            .position(|e| ty.collation.compare(e.as_bytes(), b).is_eq() || e.eq_ignore_ascii_case(&printable(b)))
            .map(|i| i as u64 + 1)
            .or_else(|| printable(b).parse().ok().and_then(by_number)),
        other => exact(other, "integer").0.to_u64().ok().and_then(by_number),
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
            let text = printable(b);
            let mut mask = 0;
            let mut problem = None;
            for part in text.split(',') {
                match ty.elems.iter().position(|e| e.eq_ignore_ascii_case(part)) {
                    Some(i) => mask |= 1 << i,
                    None => problem = Some(Problem::Truncated),
                }
            }
            match (problem, text.parse::<u64>()) {
                (Some(_), Ok(n)) if n <= all => ok(Datum::Set(n)),
                (p, _) => (Datum::Set(mask), p),
            }
        }
        other => match exact(other, "integer").0.to_u64() {
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
        other => exact(other, "integer").0.to_u64().map_err(|_| ()),
    };
    match n {
        Ok(n) if n <= max => ok(Datum::Bit(n)),
        _ => (Datum::Bit(max), Some(Problem::TooLong)),
    }
}

fn json(d: Datum) -> Fit {
    match d {
        Datum::Json(_) => ok(d),
        Datum::Int(v) => ok(Datum::Json(Json::Int(v))),
        Datum::UInt(v) => ok(Datum::Json(Json::UInt(v))),
        Datum::Float(v) => ok(Datum::Json(Json::Float(v))),
        other => match std::str::from_utf8(&text_of(&other, None))
            .map_err(|_| codec::Error::Invalid("JSON"))
            .and_then(Json::parse)
        {
            Ok(j) => ok(Datum::Json(j)),
            Err(_) => (Datum::Json(Json::Null), Some(Problem::Json)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::types::flags;

    fn fitted(d: Datum, ty: &FieldType) -> (Datum, Option<Problem>) {
        let zone = TimeZone::Fixed(3600);
        let f = convert(d, ty, &Context { column: "c", row: 1, zone: &zone, no_zero_date: true });
        (f.value, f.problem)
    }

    #[test]
    fn integers_are_clipped_to_their_type() {
        let tiny = FieldType::new(TypeCode::Tiny);
        assert_eq!(fitted(Datum::Int(128), &tiny), (Datum::Int(127), Some(Problem::OutOfRange)));
        assert_eq!(fitted("1.5".into(), &tiny), (Datum::Int(2), None));
        assert_eq!(fitted("12abc".into(), &tiny), (Datum::Int(12), Some(Problem::Truncated)));
        assert_eq!(fitted("abc".into(), &tiny), (Datum::Int(0), Some(Problem::Wrong("integer", "abc".into()))));
        let unsigned = FieldType::new(TypeCode::Long).with_flags(flags::UNSIGNED);
        assert_eq!(fitted(Datum::Int(-1), &unsigned), (Datum::UInt(0), Some(Problem::OutOfRange)));
        assert_eq!(fitted(Datum::Float(2.5), &unsigned), (Datum::UInt(2), None));
        assert_eq!(fitted("2.5".into(), &unsigned), (Datum::UInt(3), None));
    }

    #[test]
    fn strings_are_measured_in_characters() {
        let two = FieldType::varchar(2);
        assert_eq!(fitted("éé".into(), &two), ("éé".into(), None));
        assert_eq!(fitted("ééé".into(), &two), ("éé".into(), Some(Problem::TooLong)));
        assert_eq!(fitted("ab  ".into(), &two), ("ab".into(), Some(Problem::Note)));
        assert_eq!(fitted(Datum::Bytes(vec![b'a', 0xff]), &two).1, Some(Problem::Wrong("string", "\\xFF".into())));
        let fixed = FieldType { flen: 3, ..FieldType::new(TypeCode::String) };
        assert_eq!(fitted("a ".into(), &fixed), ("a".into(), None));
        assert_eq!(fitted(Datum::Int(7), &fixed), ("7".into(), None));
    }

    #[test]
    fn decimals_round_with_a_note_and_overflow_with_an_error() {
        let t = FieldType::decimal(4, 2);
        assert_eq!(fitted("1.005".into(), &t), (Datum::Decimal("1.01".parse().unwrap()), Some(Problem::Note)));
        assert_eq!(fitted("100".into(), &t), (Datum::Decimal("99.99".parse().unwrap()), Some(Problem::OutOfRange)));
    }

    #[test]
    fn dates_enums_sets_bits_and_json() {
        let date = FieldType::new(TypeCode::Date);
        assert_eq!(fitted("2024-01-31".into(), &date).1, None);
        assert_eq!(fitted("0000-00-00".into(), &date).1, Some(Problem::Wrong("date", "0000-00-00".into())));
        let ts = FieldType::new(TypeCode::Timestamp);
        assert_eq!(fitted("1970-01-01 01:00:01".into(), &ts).1, None);
        assert!(fitted("1970-01-01 01:00:00".into(), &ts).1.is_some());
        let e = FieldType { elems: vec!["a".into(), "b".into()], ..FieldType::new(TypeCode::Enum) };
        assert_eq!(fitted("b".into(), &e), (Datum::Enum(2), None));
        assert_eq!(fitted("x".into(), &e), (Datum::Enum(0), Some(Problem::Truncated)));
        let s = FieldType { tp: TypeCode::Set, ..e.clone() };
        assert_eq!(fitted("a,b".into(), &s), (Datum::Set(3), None));
        let b = FieldType { flen: 3, ..FieldType::new(TypeCode::Bit) };
        assert_eq!(fitted(Datum::Int(8), &b).1, Some(Problem::TooLong));
        assert_eq!(fitted("{".into(), &FieldType::new(TypeCode::Json)).1, Some(Problem::Json));
    }
}
