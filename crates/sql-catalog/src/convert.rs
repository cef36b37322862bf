//! A value on its way into a column, with the errors of this tier. The conversions are [`query::value::fit`].
//!
//! In strict mode a value that does not fit is an error; otherwise (or with `IGNORE`) the nearest value that fits is
//! stored and the error becomes a warning. [`convert`] returns that nearest value beside the complaint, and the caller
//! decides which of the two it is.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode, flags};
use query::context::TimeZone;
use query::value::StoreContext;
pub use query::value::{Fitted, Problem};
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

/// The error of a problem.
pub fn error(problem: &Problem, cx: &Context<'_>) -> SqlError {
    let (column, row) = (cx.column.to_owned(), cx.row);
    match problem {
        Problem::OutOfRange => SqlError::OutOfRangeColumn { column, row },
        Problem::TooLong => SqlError::DataTooLong { column, row },
        Problem::Truncated | Problem::Note => SqlError::DataTruncated { column, row },
        Problem::NeverWas(value) => {
            SqlError::IncorrectTimeForColumn { kind: "datetime".into(), value: value.clone(), column, row }
        }
        Problem::InvalidTimestamp => SqlError::InvalidTimestamp { column, row },
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

/// Text of a value, as MySQL prints it (without a type: times carry their own precision).
pub fn text_of(d: &Datum, ty: Option<&FieldType>) -> Vec<u8> {
    match ty {
        Some(ty) => query::value::to_text(d, ty),
        None => query::value::to_text(d, &FieldType::new(TypeCode::Null)),
    }
    .unwrap_or_default()
}

/// A value as the statement has it, before a column takes it: how it reads is a matter of its own type. Members of an ENUM
/// or SET are their names to text and to other lists, `b'…'` is a number to numbers, and text takes the digits of a FLOAT,
/// the zeros of ZEROFILL, the bytes of a BIT.
pub fn as_written(d: Datum, from: &FieldType, to: &FieldType) -> Datum {
    let named = matches!(to.tp, TypeCode::Enum | TypeCode::Set);
    match d {
        Datum::Bytes(b) if from.tp.is_string() && to.tp.is_string() && (from.is_text() != to.is_text()) => {
            // What is no text of the column's character set is told of when it is fitted.
            Datum::Bytes(query::value::transcode(b.clone(), from, to).unwrap_or(b))
        }
        Datum::Enum(_) | Datum::Set(_) if to.tp.is_string() || named && from.elems != to.elems => {
            Datum::Bytes(text_of(&d, Some(from)))
        }
        Datum::Bytes(b) if from.has(flags::BIT_LITERAL) && to.tp.is_numeric() => {
            Datum::UInt(query::infer::number_of_bytes(&b))
        }
        Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) | Datum::Bit(_) if to.tp.is_string() => {
            Datum::Bytes(text_of(&d, Some(from)))
        }
        d => d,
    }
}

/// Fits a value into a column. Its own type is of no account any more: [`as_written`] has made text and numbers of members
/// and literals.
pub fn convert(d: Datum, ty: &FieldType, cx: &Context<'_>) -> Fitted {
    let cx =
        StoreContext { zone: cx.zone, no_zero_date: cx.no_zero_date, no_zero_in_date: cx.no_zero_date, today: None };
    query::value::fit(d, &FieldType::new(TypeCode::Null), ty, &cx)
}

/// The value of NOT NULL columns that nobody gave one.
pub fn implicit_default(ty: &FieldType) -> Datum {
    match ty.tp {
        TypeCode::Float | TypeCode::Double => Datum::Float(0.0),
        TypeCode::NewDecimal | TypeCode::Unspecified => {
            Datum::Decimal(Decimal::from_i128(0, ty.decimal.clamp(0, 30) as u8))
        }
        TypeCode::Date | TypeCode::NewDate | TypeCode::DateTime | TypeCode::Timestamp => {
            Datum::Time(Time::zero(TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime), ty.fsp()))
        }
        TypeCode::Duration => Datum::Duration(Duration { micros: 0, fsp: ty.fsp() }),
        TypeCode::Year => Datum::UInt(0),
        TypeCode::Enum => Datum::Enum(1),
        TypeCode::Set => Datum::Set(0),
        TypeCode::Bit => Datum::Bit(0),
        TypeCode::Json => Datum::Json(Json::Null),
        tp if tp.is_string() => Datum::Bytes(Vec::new()),
        _ if ty.is_unsigned() => Datum::UInt(0),
        _ => Datum::Int(0),
    }
}

/// A stored value in the session's time zone: only TIMESTAMPs change.
pub fn to_local(d: Datum, ty: &FieldType, zone: &TimeZone) -> Datum {
    match d {
        Datum::Time(t) if ty.tp == TypeCode::Timestamp => Datum::Time(zone.timestamp_to_local(&t)),
        d => d,
    }
}

/// A value of the session as it is stored: only TIMESTAMPs change.
pub fn to_stored(d: Datum, ty: &FieldType, zone: &TimeZone) -> Datum {
    match d {
        Datum::Time(t) if ty.tp == TypeCode::Timestamp => Datum::Time(zone.timestamp_to_utc(&t)),
        d => d,
    }
}
