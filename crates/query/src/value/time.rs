//! A value as a date or a span.

use codec::datum::Datum;
use codec::json::Json;
use codec::time::{Duration, Time, TimeKind};

use super::number::{to_decimal, truncated};
use super::print::display;
use crate::context::EvalContext;
use crate::error::{EvalError, Result};

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
