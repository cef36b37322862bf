//! Functions of dates and times.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, Int64Array};
use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::time::{Duration, Time, TimeKind};
use codec::types::{FieldType, TypeCode};
use proto::tipb::ScalarFuncSig as Sig;

use super::args::*;
use crate::calendar;
use crate::context::{EvalContext, TimeZone};
use crate::error::{EvalError, Result};
use crate::expr::function::{Arg, Body, Function, Group, Ret, RowKernel, When};
use crate::expr::{Call, Expr};
use crate::infer;
use crate::interval::Unit;
use crate::types::{EvalType, Physical, decimal_type};
use crate::value;

const fn of(name: &'static str, count: (usize, usize), args: &'static [Arg], ret: Ret, kernel: RowKernel) -> Function {
    Function::kernel(Group::Time, name, count, args, ret, kernel)
}

/// A number that is read off a date.
const fn part(name: &'static str, kernel: RowKernel) -> Function {
    of(name, (1, 1), &[Arg::Time], Ret::Int, kernel)
}

/// A number that is read off a time of day.
const fn clock(name: &'static str, kernel: RowKernel) -> Function {
    of(name, (1, 1), &[Arg::Span], Ret::Int, kernel)
}

const fn syntax(name: &'static str) -> Function {
    Function::new(Group::Time, name, Body::Syntax)
}

pub(super) static ROWS: &[Function] = &[
    part("year", |_, v, _| field(&v[0], |t| t.year.into()))
        .vector(|c, columns, _| fields(c, columns, |t| packed_month(t) / 13))
        .pb(&[(Sig::Year, When::Always)]),
    part("quarter", |_, v, _| field(&v[0], |t| (i64::from(t.month) + 2) / 3)).pb(&[(Sig::Quarter, When::Always)]),
    part("month", |_, v, _| field(&v[0], |t| t.month.into()))
        .vector(|c, columns, _| fields(c, columns, |t| packed_month(t) % 13))
        .pb(&[(Sig::Month, When::Always)]),
    part("dayofmonth", |_, v, _| field(&v[0], |t| t.day.into()))
        .alias(&["day"])
        .vector(|c, columns, _| fields(c, columns, |t| (t >> 41 & 31) as i64))
        .pb(&[(Sig::DayOfMonth, When::Always)]),
    part("dayofweek", |_, v, _| full_field(&v[0], |t| (i64::from(t.weekday()) + 1) % 7 + 1))
        .pb(&[(Sig::DayOfWeek, When::Always)]),
    part("weekday", |_, v, _| full_field(&v[0], |t| t.weekday().into())).pb(&[(Sig::WeekDay, When::Always)]),
    part("dayofyear", |_, v, _| full_field(&v[0], |t| t.day_of_year().into())).pb(&[(Sig::DayOfYear, When::Always)]),
    of("week", (1, 2), &[Arg::Time, Arg::Int], Ret::Int, |_, v, _| {
        let mode = int_at(v, 1, 0) as u8 & 7;
        full_field(&v[0], |t| calendar::week(t, mode).1.into())
    })
    .pb(&[(Sig::WeekWithoutMode, When::Count(1)), (Sig::WeekWithMode, When::Count(2))]),
    part("weekofyear", |_, v, _| full_field(&v[0], |t| calendar::week(t, 3).1.into()))
        .pb(&[(Sig::WeekOfYear, When::Always)]),
    of("yearweek", (1, 2), &[Arg::Time, Arg::Int], Ret::Int, |_, v, _| {
        full_field(&v[0], |t| {
            let (year, week) = calendar::week(t, int_at(v, 1, 0) as u8 & 7 | 2);
            i64::from(year) * 100 + i64::from(week)
        })
    })
    .pb(&[(Sig::YearWeekWithoutMode, When::Count(1)), (Sig::YearWeekWithMode, When::Count(2))]),
    clock("hour", |_, v, _| integer(span(&v[0]).parts().0.into())).pb(&[(Sig::Hour, When::Always)]),
    clock("minute", |_, v, _| integer(span(&v[0]).parts().1.into())).pb(&[(Sig::Minute, When::Always)]),
    clock("second", |_, v, _| integer(span(&v[0]).parts().2.into())).pb(&[(Sig::Second, When::Always)]),
    clock("microsecond", |_, v, _| integer(span(&v[0]).parts().3.into())).pb(&[(Sig::MicroSecond, When::Always)]),
    of("dayname", (1, 1), &[Arg::Time], Ret::Ascii(9), |_, v, _| {
        or_null(full_date(&v[0]).map(|t| Datum::from(calendar::DAY_NAMES[usize::from((t.weekday() + 1) % 7)])))
    })
    .pb(&[(Sig::DayName, When::Always)]),
    of("monthname", (1, 1), &[Arg::Time], Ret::Ascii(9), |_, v, _| match &v[0] {
        Datum::Time(t) if (1..=12).contains(&t.month) => string(calendar::MONTH_NAMES[usize::from(t.month) - 1]),
        _ => NULL,
    })
    .pb(&[(Sig::MonthName, When::Always)]),
    of("last_day", (1, 1), &[Arg::Time], Ret::Date, |_, v, _| match &v[0] {
        Datum::Time(t) if t.month > 0 => {
            let day = codec::time::days_in_month(t.year, t.month);
            Ok(Datum::Time(Time { day, ..*t }.convert(TimeKind::Date, 0)))
        }
        _ => NULL,
    })
    .pb(&[(Sig::LastDay, When::Always)]),
    of("date", (1, 1), &[Arg::Time], Ret::Date, |_, v, _| match &v[0] {
        Datum::Time(t) => Ok(Datum::Time(t.convert(TimeKind::Date, 0))),
        _ => NULL,
    })
    .pb(&[(Sig::Date, When::Always)]),
    of("time", (1, 1), &[Arg::Span], Ret::Span, |_, v, _| Ok(v[0].clone())),
    of("timestamp", (1, 2), &[Arg::Time, Arg::Span], Ret::DateTime, |c, v, _| match (&v[0], v.get(1)) {
        (Datum::Time(t), None) => Ok(Datum::Time(t.convert(TimeKind::DateTime, c.ty.fsp()))),
        (Datum::Time(t), Some(Datum::Duration(d))) => Ok(shift(t, d.micros, c.ty.fsp())),
        _ => NULL,
    }),
    of("datediff", (2, 2), &[Arg::Time], Ret::Int, |_, v, _| match (full_date(&v[0]), full_date(&v[1])) {
        (Some(a), Some(b)) => integer(a.day_number() - b.day_number()),
        _ => NULL,
    })
    .pb(&[(Sig::DateDiff, When::Always)]),
    of("date_format", (2, 2), &[Arg::Time, Arg::Str], Ret::Ascii(-1), |_, v, _| match &v[0] {
        Datum::Time(t) => or_null(calendar::format(t, &lossy(&v[1])).map(Datum::string)),
        _ => NULL,
    })
    .pb(&[(Sig::DateFormatSig, When::Always)]),
    of("time_format", (2, 2), &[Arg::Span, Arg::Str], Ret::Ascii(-1), |_, v, _| {
        or_null(calendar::format_duration(span(&v[0]), &lossy(&v[1])).map(Datum::string))
    }),
    of("str_to_date", (2, 2), &[Arg::Str, Arg::Str], Ret::Rule(parsed_type), parse),
    of("unix_timestamp", (0, 1), &[Arg::Time], Ret::Rule(unix_type), unix_timestamp).of_statement(),
    of("from_unixtime", (1, 2), &[Arg::Num, Arg::Str], Ret::Rule(from_unix_type), from_unixtime),
    of("now", (0, 1), &[Arg::Int], Ret::Rule(now_type), |c, _, x| Ok(Datum::Time(x.now(c.ty.fsp()))))
        .alias(&["current_timestamp", "localtime", "localtimestamp"])
        .of_statement(),
    // All of a statement is one moment here: SYSDATE() is NOW(), as with --sysdate-is-now.
    of("sysdate", (0, 1), &[Arg::Int], Ret::Rule(now_type), |c, _, x| Ok(Datum::Time(x.now(c.ty.fsp())))).volatile(),
    of("curdate", (0, 0), &[], Ret::Date, |_, _, x| Ok(Datum::Time(x.now(0).convert(TimeKind::Date, 0))))
        .alias(&["current_date"])
        .of_statement(),
    of("curtime", (0, 1), &[Arg::Int], Ret::Rule(now_span_type), |c, _, x| {
        Ok(Datum::Duration(x.now(c.ty.fsp()).to_duration()))
    })
    .alias(&["current_time"])
    .of_statement(),
    of("utc_timestamp", (0, 1), &[Arg::Int], Ret::Rule(now_type), |c, _, x| Ok(Datum::Time(utc_now(x, c.ty.fsp()))))
        .of_statement(),
    of("utc_date", (0, 0), &[], Ret::Date, |_, _, x| Ok(Datum::Time(utc_now(x, 0).convert(TimeKind::Date, 0))))
        .of_statement(),
    of("utc_time", (0, 1), &[Arg::Int], Ret::Rule(now_span_type), |c, _, x| {
        Ok(Datum::Duration(utc_now(x, c.ty.fsp()).to_duration()))
    })
    .of_statement(),
    part("to_days", |_, v, _| full_field(&v[0], Time::day_number)).pb(&[(Sig::ToDays, When::Always)]),
    part("to_seconds", |_, v, _| full_field(&v[0], |t| t.day_number() * 86_400 + t.clock_micros() / 1_000_000))
        .pb(&[(Sig::ToSeconds, When::Always)]),
    of("from_days", (1, 1), &[Arg::Int], Ret::Date, |_, v, _| {
        or_null(Time::from_day_number(int(&v[0])).ok().map(Datum::Time))
    }),
    of("makedate", (2, 2), &[Arg::Int], Ret::Date, make_date),
    of("maketime", (3, 3), &[Arg::Int, Arg::Int, Arg::Num], Ret::Rule(span_of_number), make_time),
    of("sec_to_time", (1, 1), &[Arg::Num], Ret::Rule(span_of_number), |c, v, x| {
        let d = value::to_decimal(&v[0], x)?.mul(&Decimal::from(1_000_000_i64));
        let micros = d.ok().and_then(|d| d.to_i64().ok()).unwrap_or(i64::MAX);
        Ok(Datum::Duration(Duration { micros, fsp: c.ty.fsp() }.clip().value.round(c.ty.fsp())))
    }),
    clock("time_to_sec", |_, v, _| integer(span(&v[0]).micros / 1_000_000)),
    of("addtime", (2, 2), &[Arg::Any, Arg::Span], Ret::Rule(moved_type), |c, v, x| {
        move_time(c, &v[0], span(&v[1]).micros, x)
    }),
    of("subtime", (2, 2), &[Arg::Any, Arg::Span], Ret::Rule(moved_type), |c, v, x| {
        move_time(c, &v[0], -span(&v[1]).micros, x)
    }),
    of("timediff", (2, 2), &[Arg::Any], Ret::Rule(difference_type), time_diff),
    of("period_add", (2, 2), &[Arg::Int], Ret::Int, |c, v, _| {
        let Some(first) = months_of_period(int(&v[0])) else { return wrong_arguments(c) };
        let sum = first.saturating_add(int(&v[1]));
        integer(sum.div_euclid(12).saturating_mul(100).saturating_add(sum.rem_euclid(12) + 1))
    }),
    of("period_diff", (2, 2), &[Arg::Int], Ret::Int, |c, v, _| {
        match (months_of_period(int(&v[0])), months_of_period(int(&v[1]))) {
            (Some(a), Some(b)) => integer(a - b),
            _ => wrong_arguments(c),
        }
    }),
    of("get_format", (2, 2), &[Arg::Str], Ret::Ascii(17), |_, v, _| {
        or_null(usual_format(&lossy(&v[0]).to_ascii_lowercase(), &lossy(&v[1]).to_ascii_lowercase()).map(Datum::from))
    }),
    of("convert_tz", (3, 3), &[Arg::Time, Arg::Str], Ret::DateTime, convert_tz),
    Function::built(Group::Time, "adddate", (2, 2), |args| {
        let [date, days] = super::take(args);
        infer::date_add(date, days, Unit::Day, false)
    }),
    Function::built(Group::Time, "subdate", (2, 2), |args| {
        let [date, days] = super::take(args);
        infer::date_add(date, days, Unit::Day, true)
    }),
    syntax("date_add"),
    syntax("date_sub"),
    syntax("extract"),
    syntax("timestampadd"),
    syntax("timestampdiff"),
];

fn field(v: &Datum, f: impl Fn(&Time) -> i64) -> Result<Datum> {
    match v {
        Datum::Time(t) => integer(f(t)),
        _ => NULL,
    }
}

/// Of dates that have a month and a day.
fn full_field(v: &Datum, f: impl Fn(&Time) -> i64) -> Result<Datum> {
    or_null(full_date(v).map(|t| Datum::Int(f(t))))
}

/// Read off packed times, without unpacking them.
fn fields(call: &Call, columns: &[ArrayRef], f: impl Fn(u64) -> i64) -> Option<ArrayRef> {
    if Physical::of(call.args.first()?.ty()) != Physical::Time {
        return None;
    }
    let out: Int64Array = columns.first()?.as_primitive_opt::<UInt64Type>()?.unary(f);
    Some(Arc::new(out))
}

/// year * 13 + month, which is how `codec::time` packs them.
fn packed_month(packed: u64) -> i64 {
    (packed >> 46) as i64
}

fn span_type(fsp: i32) -> FieldType {
    FieldType { decimal: fsp, ..FieldType::new(TypeCode::Duration) }
}

/// Fractional digits from a constant argument such as `NOW(6)`.
fn fsp_argument(args: &[Expr]) -> Result<i32> {
    match args.first().map(|a| a.as_const()) {
        None => Ok(0),
        Some(Some(Datum::Int(n))) if (0..=6).contains(n) => Ok(*n as i32),
        _ => Err(EvalError::WrongArguments("now".into())),
    }
}

fn now_type(args: &[Expr]) -> Result<FieldType> {
    Ok(FieldType::datetime(fsp_argument(args)?))
}

fn now_span_type(args: &[Expr]) -> Result<FieldType> {
    Ok(span_type(fsp_argument(args)?))
}

fn utc_now(ctx: &EvalContext, fsp: u8) -> Time {
    EvalContext { time_zone: TimeZone::UTC, now_utc_micros: ctx.now_utc_micros, ..EvalContext::default() }.now(fsp)
}

fn parsed_type(args: &[Expr]) -> Result<FieldType> {
    let pattern = match args[1].as_const() {
        Some(Datum::Bytes(b)) => String::from_utf8_lossy(b).into_owned(),
        _ => "%Y %f %T".into(),
    };
    let has = |set: &str| pattern.as_bytes().windows(2).any(|w| w[0] == b'%' && set.as_bytes().contains(&w[1]));
    let fsp = if has("f") { 6 } else { 0 };
    Ok(match (has("YymcdeDMbWaj"), has("HkhIlisSfpT")) {
        (true, false) => FieldType::new(TypeCode::Date),
        (false, true) => span_type(fsp),
        _ => FieldType::datetime(fsp),
    })
}

fn parse(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let (s, pattern) = (lossy(&v[0]), lossy(&v[1]));
    let Some((t, _, _)) = calendar::parse(&s, &pattern) else {
        ctx.truncated(EvalError::WrongValue { ty: "datetime".into(), value: s.into_owned() })?;
        return NULL;
    };
    if EvalType::of(&call.ty) == EvalType::Duration {
        return Ok(Datum::Duration(t.to_duration().round(call.ty.fsp())));
    }
    let kind = TimeKind::from_type(call.ty.tp).unwrap_or(TimeKind::DateTime);
    Ok(Datum::Time(t.convert(kind, call.ty.fsp())))
}

fn unix_type(args: &[Expr]) -> Result<FieldType> {
    Ok(match super::fsp_of(args) {
        0 => FieldType::bigint(),
        fsp => decimal_type(12 + fsp, fsp),
    })
}

fn unix_timestamp(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let t = match v.first() {
        None => return integer(ctx.now_utc_micros.div_euclid(1_000_000)),
        Some(Datum::Time(t)) => t,
        _ => return NULL,
    };
    let micros = ctx.time_zone.to_utc_micros(t.to_epoch_micros());
    let micros = if t.has_zero_date() || !(0..=2_147_483_647_999_999).contains(&micros) { 0 } else { micros };
    if EvalType::of(&call.ty) == EvalType::Int {
        return integer(micros / 1_000_000);
    }
    Ok(Datum::Decimal(Decimal::from_i128(micros.into(), 6).truncate(call.ty.decimal)))
}

fn from_unix_type(args: &[Expr]) -> Result<FieldType> {
    if args.len() == 2 {
        return Ok(super::text_of(-1));
    }
    Ok(match EvalType::of(args[0].ty()) {
        EvalType::Int => FieldType::datetime(0),
        EvalType::Decimal => FieldType::datetime(args[0].ty().decimal.clamp(0, 6)),
        _ => FieldType::datetime(6),
    })
}

fn from_unixtime(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let d = value::to_decimal(&v[0], ctx)?;
    let micros = d.mul(&Decimal::from(1_000_000_i64)).ok().and_then(|d| d.to_i64().ok());
    let Some(micros) = micros.filter(|m| (0..=32_536_771_199_999_999).contains(m)) else { return NULL };
    let local = ctx.time_zone.to_local_micros(micros);
    let fsp = if v.len() == 2 { 6 } else { call.ty.fsp() };
    let t = Time::from_epoch_micros(local, TimeKind::DateTime, 6)?.convert(TimeKind::DateTime, fsp);
    match v.get(1) {
        Some(pattern) => or_null(calendar::format(&t, &lossy(pattern)).map(Datum::string)),
        None => Ok(Datum::Time(t)),
    }
}

fn make_date(_: &Call, v: &[Datum], _: &mut EvalContext) -> Result<Datum> {
    let (year, day) = (int(&v[0]), int(&v[1]));
    let year = match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        y => y,
    };
    match (u16::try_from(year), day > 0) {
        (Ok(year), true) if year <= 9999 => {
            let first = Time { year, month: 1, day: 1, ..Time::zero(TimeKind::Date, 0) };
            or_null(Time::from_day_number(first.day_number().saturating_add(day - 1)).ok().map(Datum::Time))
        }
        _ => NULL,
    }
}

/// TIME with the fractional digits of the last argument, which is a number.
fn span_of_number(args: &[Expr]) -> Result<FieldType> {
    let ty = args[args.len() - 1].ty();
    Ok(span_type(match EvalType::of(ty) {
        EvalType::Int => 0,
        EvalType::Decimal => ty.decimal.clamp(0, 6),
        _ => 6,
    }))
}

fn make_time(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let (h, m, s) = (int(&v[0]), int(&v[1]), value::to_f64(&v[2], ctx)?);
    if !(0..60).contains(&m) || !(0.0..60.0).contains(&s) {
        return NULL;
    }
    let micros = (s * 1e6).round() as i64;
    let total = (h.unsigned_abs().min(1000) as i64 * 3600 + m * 60) * 1_000_000 + micros;
    let d = Duration { micros: if h < 0 { -total } else { total }, fsp: call.ty.fsp() };
    Ok(Datum::Duration(d.clip().value.round(call.ty.fsp())))
}

fn moved_type(args: &[Expr]) -> Result<FieldType> {
    let fsp = super::fsp_of(args).max(args[1].ty().fsp().into());
    Ok(match EvalType::of(args[0].ty()) {
        EvalType::Time => FieldType::datetime(fsp),
        EvalType::Duration => span_type(fsp),
        _ => super::text_of(29),
    })
}

fn move_time(call: &Call, v: &Datum, by: i64, ctx: &mut EvalContext) -> Result<Datum> {
    match v {
        Datum::Time(t) => Ok(shift(t, by, call.ty.fsp())),
        Datum::Duration(d) => {
            Ok(Datum::Duration(Duration { micros: d.micros.saturating_add(by), fsp: call.ty.fsp() }.clip().value))
        }
        s => {
            let t = value::to_text(s, call.args[0].ty()).unwrap_or_default();
            let t = String::from_utf8_lossy(&t).into_owned();
            let fsp = if t.contains('.') || by % 1_000_000 != 0 { 6 } else { 0 };
            if t.trim().len() > 10 && t.contains('-') {
                return match value::to_time(s, TimeKind::DateTime, 6, ctx)?.map(|t| shift(&t, by, fsp)) {
                    Some(Datum::Time(t)) => string(t.to_string()),
                    _ => NULL,
                };
            }
            match value::to_duration(s, 6, ctx)? {
                Some(d) => string(Duration { micros: d.micros.saturating_add(by), fsp }.clip().value.to_string()),
                None => NULL,
            }
        }
    }
}

fn difference_type(args: &[Expr]) -> Result<FieldType> {
    let digits = args.iter().map(|a| match a {
        a if a.ty().tp.is_string() => match a.as_const() {
            Some(Datum::Bytes(b)) => Time::fsp_of(&String::from_utf8_lossy(b)).into(),
            _ => 6,
        },
        a => i32::from(a.ty().fsp()),
    });
    Ok(span_type(digits.max().unwrap_or(0)))
}

fn time_diff(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let mut sides = [None, None];
    for (side, v) in sides.iter_mut().zip(v) {
        *side = match v {
            Datum::Time(t) => Some((true, t.to_epoch_micros())),
            Datum::Duration(d) => Some((false, d.micros)),
            s => {
                let t = value::to_text(s, call.args[0].ty()).unwrap_or_default();
                if t.len() > 10 && t.contains(&b'-') && !t.starts_with(b"-") {
                    value::to_time(s, TimeKind::DateTime, 6, ctx)?.map(|t| (true, t.to_epoch_micros()))
                } else {
                    value::to_duration(s, 6, ctx)?.map(|d| (false, d.micros))
                }
            }
        };
    }
    match sides {
        [Some((x, a)), Some((y, b))] if x == y => {
            Ok(Datum::Duration(Duration { micros: a - b, fsp: call.ty.fsp() }.clip().value))
        }
        _ => NULL,
    }
}

/// Months since year 0 of a period `YYMM` or `YYYYMM`; `None` when it is none.
fn months_of_period(period: i64) -> Option<i64> {
    let (year, month) = (period.div_euclid(100), period.rem_euclid(100));
    if !(1..=12).contains(&month) || !(0..=9999).contains(&year) {
        return None;
    }
    let year = match year {
        0..=69 => year + 2000,
        70..=99 => year + 1900,
        y => y,
    };
    Some(year * 12 + month - 1)
}

/// How a place writes dates, times, or both.
fn usual_format(kind: &str, place: &str) -> Option<&'static str> {
    let (date, time, both) = match place {
        "eur" => ("%d.%m.%Y", "%H.%i.%s", "%Y-%m-%d %H.%i.%s"),
        "usa" => ("%m.%d.%Y", "%h:%i:%s %p", "%Y-%m-%d %H.%i.%s"),
        "jis" | "iso" => ("%Y-%m-%d", "%H:%i:%s", "%Y-%m-%d %H:%i:%s"),
        "internal" => ("%Y%m%d", "%H%i%s", "%Y%m%d%H%i%s"),
        _ => return None,
    };
    match kind {
        "date" => Some(date),
        "time" => Some(time),
        "datetime" | "timestamp" => Some(both),
        _ => None,
    }
}

/// Instants that a TIMESTAMP can hold, but for its zero.
const TIMESTAMP_MICROS: std::ops::Range<i64> = 1_000_000..(i32::MAX as i64 + 1) * 1_000_000;

fn convert_tz(call: &Call, v: &[Datum], ctx: &mut EvalContext) -> Result<Datum> {
    let zone = |name: &Datum| match lossy(name).as_ref() {
        name if name.eq_ignore_ascii_case("system") => Some(ctx.system_zone.clone()),
        name => TimeZone::parse(name),
    };
    match (full_date(&v[0]), zone(&v[1]), zone(&v[2])) {
        (Some(t), Some(from), Some(to)) => {
            let utc = from.to_utc_micros(t.to_epoch_micros());
            // Outside of what a TIMESTAMP can hold, MySQL converts nothing.
            let micros = if TIMESTAMP_MICROS.contains(&utc) { to.to_local_micros(utc) } else { t.to_epoch_micros() };
            Ok(Datum::Time(Time::from_epoch_micros(micros, TimeKind::DateTime, call.ty.fsp())?))
        }
        _ => NULL,
    }
}
