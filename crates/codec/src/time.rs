//! DATE, DATETIME, TIMESTAMP ([`Time`]) and TIME ([`Duration`]) with fractional seconds.
//!
//! A [`Time`] is broken down into fields, because MySQL's zero dates (`0000-00-00`, `2024-00-10`) are not points in time.
//! TIMESTAMP values are stored in UTC and shown in the session's zone: the caller converts with
//! [`Time::to_epoch_micros`], [`Time::from_epoch_micros`] and the zone's offset; nothing here knows a clock or a zone.
//!
//! Text is read as MySQL reads it: any punctuation between the fields, one-digit fields, two-digit years (70–99 are
//! 19xx), undelimited digits (`20240131`, `240131120000`), `T` or spaces before the time, fractional seconds rounded to
//! the declared precision.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::types::TypeCode;
use crate::{Error, Result};

/// Which of the three types a [`Time`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeKind {
    /// DATE.
    Date,
    /// DATETIME.
    DateTime,
    /// TIMESTAMP.
    Timestamp,
}

impl TimeKind {
    /// The kind of a column type.
    pub fn from_type(tp: TypeCode) -> Option<TimeKind> {
        match tp {
            TypeCode::Date | TypeCode::NewDate => Some(TimeKind::Date),
            TypeCode::DateTime => Some(TimeKind::DateTime),
            TypeCode::Timestamp => Some(TimeKind::Timestamp),
            _ => None,
        }
    }

    /// The column type of this kind.
    pub fn type_code(self) -> TypeCode {
        match self {
            TimeKind::Date => TypeCode::Date,
            TimeKind::DateTime => TypeCode::DateTime,
            TimeKind::Timestamp => TypeCode::Timestamp,
        }
    }
}

/// A date, perhaps with a time of day. Fields are within their ranges; day and month may be zero.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct Time {
    pub kind: TimeKind,
    pub fsp: u8,
    pub year: u16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micro: u32,
}

/// A value read from text, and whether text was left over that had to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What was read.
    pub value: T,
    /// Something after it was ignored, or the value was clipped (MySQL warns with 1292).
    pub truncated: bool,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const BAD_TIME: Error = Error::Invalid("datetime value");
const BAD_DURATION: Error = Error::Invalid("time value");

/// Days of a month; 0 when there is no such month.
pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days from 1970-01-01 of a proleptic Gregorian date (Howard Hinnant's formula of eras of 400 years).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = (doy - (153 * mp + 2) / 5 + 1) as u8;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month as u8, day)
}

/// Rounds microseconds half up to `fsp` digits.
fn round_micros(micros: i64, fsp: u8) -> i64 {
    let unit = 10_i64.pow(6 - u32::from(fsp.min(6)));
    let half = if micros < 0 { -(unit / 2) } else { unit / 2 };
    (micros + half) / unit * unit
}

impl Time {
    /// `0000-00-00 00:00:00`.
    pub fn zero(kind: TimeKind, fsp: u8) -> Time {
        Time { kind, fsp, year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0, micro: 0 }
    }

    /// A date that exists (or has zero month or day, as MySQL allows).
    pub fn date(year: u16, month: u8, day: u8) -> Result<Time> {
        Time { year, month, day, ..Time::zero(TimeKind::Date, 0) }.check()
    }

    /// A date and time, checked.
    #[allow(clippy::too_many_arguments)]
    pub fn datetime(
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
        micro: u32,
        fsp: u8,
    ) -> Result<Time> {
        Time { kind: TimeKind::DateTime, fsp, year, month, day, hour, minute, second, micro }.check()
    }

    fn check(self) -> Result<Time> {
        let day_ok = self.day
            <= match self.month {
                0 => 31,
                m => days_in_month(self.year, m),
            };
        if self.year > 9999
            || self.month > 12
            || !day_ok
            || self.hour > 23
            || self.minute > 59
            || self.second > 59
            || self.micro > 999_999
        {
            return Err(BAD_TIME);
        }
        Ok(self)
    }

    /// Whether it is `0000-00-00 00:00:00`.
    pub fn is_zero(&self) -> bool {
        self.sort_value() == 0
    }

    /// Whether month or day are zero, so that it is no point in time.
    pub fn has_zero_date(&self) -> bool {
        self.month == 0 || self.day == 0
    }

    /// Whether the time of day is midnight.
    pub fn is_midnight(&self) -> bool {
        (self.hour, self.minute, self.second, self.micro) == (0, 0, 0, 0)
    }

    /// TiDB's packed form, also the order of values: `((year*13+month)<<5|day)<<17 | h<<12|m<<6|s`, then 24 bits of micros.
    pub fn to_packed(&self) -> u64 {
        self.sort_value()
    }

    fn sort_value(&self) -> u64 {
        let ymd = ((u64::from(self.year) * 13 + u64::from(self.month)) << 5) | u64::from(self.day);
        let hms = (u64::from(self.hour) << 12) | (u64::from(self.minute) << 6) | u64::from(self.second);
        (((ymd << 17) | hms) << 24) | u64::from(self.micro)
    }

    /// Inverse of [`Time::to_packed`].
    pub fn from_packed(packed: u64, kind: TimeKind, fsp: u8) -> Result<Time> {
        let micro = (packed & ((1 << 24) - 1)) as u32;
        let ymdhms = packed >> 24;
        let ymd = ymdhms >> 17;
        let hms = ymdhms & ((1 << 17) - 1);
        let ym = ymd >> 5;
        let year = u16::try_from(ym / 13).map_err(|_| BAD_TIME)?;
        let t = Time {
            kind,
            fsp: fsp.min(6),
            year,
            month: (ym % 13) as u8,
            day: (ymd & 31) as u8,
            hour: (hms >> 12) as u8,
            minute: ((hms >> 6) & 63) as u8,
            second: (hms & 63) as u8,
            micro,
        };
        t.check()
    }

    /// Reads text as a value of `kind`, rounding to `fsp` digits.
    pub fn parse(text: &str, kind: TimeKind, fsp: u8) -> Result<Parsed<Time>> {
        let (fields, truncated) = Fields::read(text)?;
        let value = fields.into_time(kind, fsp)?;
        Ok(Parsed { value, truncated })
    }

    /// Digits of fractional seconds that the text has (for the type of a literal).
    pub fn fsp_of(text: &str) -> u8 {
        match text.rfind('.') {
            Some(dot) => text[dot + 1..].bytes().take_while(u8::is_ascii_digit).count().min(6) as u8,
            None => 0,
        }
    }

    /// From a number: YYMMDD, YYYYMMDD, YYMMDDhhmmss or YYYYMMDDhhmmss.
    pub fn from_number(n: i64, kind: TimeKind, fsp: u8) -> Result<Time> {
        if n == 0 {
            return Ok(Time::zero(kind, fsp));
        }
        let two_digit = |y: i64| if y < 70 { 2000 + y } else { 1900 + y };
        let (date, clock) = match n {
            101..=991_231 => (n, 0),
            991_232..=99_991_231 => (n, 0),
            101_000_000..=99_991_231_235_959 => (n / 1_000_000, n % 1_000_000),
            _ => return Err(BAD_TIME),
        };
        let mut year = date / 10_000;
        if year < 100 && n <= 991_231_235_959 {
            year = two_digit(year);
        }
        let field = |v: i64| u8::try_from(v).map_err(|_| BAD_TIME);
        Time {
            kind,
            fsp,
            year: u16::try_from(year).map_err(|_| BAD_TIME)?,
            month: field(date / 100 % 100)?,
            day: field(date % 100)?,
            hour: field(clock / 10_000)?,
            minute: field(clock / 100 % 100)?,
            second: field(clock % 100)?,
            micro: 0,
        }
        .check()
        .map(|t| t.convert(kind, fsp))
    }

    /// As another kind and precision; the time of day is dropped for DATE, fractions are rounded.
    pub fn convert(&self, kind: TimeKind, fsp: u8) -> Time {
        if kind == TimeKind::Date {
            return Time { kind, fsp: 0, hour: 0, minute: 0, second: 0, micro: 0, ..*self };
        }
        let t = Time { kind, fsp: fsp.min(6), ..*self };
        t.round_fraction(fsp).unwrap_or(t)
    }

    /// With the fraction rounded to `fsp` digits, carrying into the date; fails past 9999-12-31.
    pub fn round_fraction(&self, fsp: u8) -> Result<Time> {
        let fsp = fsp.min(6);
        let rounded = round_micros(self.micro.into(), fsp);
        if rounded < MICROS_PER_SECOND {
            return Ok(Time { fsp, micro: rounded as u32, ..*self });
        }
        let base = Time { micro: 0, fsp, ..*self };
        if base.has_zero_date() {
            // Only the clock can carry.
            let secs = u32::from(base.hour) * 3600 + u32::from(base.minute) * 60 + u32::from(base.second) + 1;
            if secs >= 86_400 {
                return Err(BAD_TIME);
            }
            return Ok(Time {
                hour: (secs / 3600) as u8,
                minute: (secs / 60 % 60) as u8,
                second: (secs % 60) as u8,
                ..base
            });
        }
        Time::from_epoch_micros(base.to_epoch_micros() + MICROS_PER_SECOND, base.kind, fsp)
    }

    /// Microseconds since 1970-01-01 00:00:00, reading the fields as UTC. Zero months and days count as the first.
    pub fn to_epoch_micros(&self) -> i64 {
        let days = days_from_civil(self.year.into(), self.month.max(1).into(), self.day.max(1).into());
        days * MICROS_PER_DAY + self.clock_micros()
    }

    /// Microseconds since midnight.
    pub fn clock_micros(&self) -> i64 {
        ((i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second)) * MICROS_PER_SECOND
            + i64::from(self.micro)
    }

    /// Inverse of [`Time::to_epoch_micros`]; fails outside the years 0 to 9999.
    pub fn from_epoch_micros(micros: i64, kind: TimeKind, fsp: u8) -> Result<Time> {
        let days = micros.div_euclid(MICROS_PER_DAY);
        let clock = micros.rem_euclid(MICROS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let year = u16::try_from(year).ok().filter(|y| *y <= 9999).ok_or(Error::OutOfRange("datetime"))?;
        let secs = clock / MICROS_PER_SECOND;
        Ok(Time {
            kind,
            fsp: fsp.min(6),
            year,
            month,
            day,
            hour: (secs / 3600) as u8,
            minute: (secs / 60 % 60) as u8,
            second: (secs % 60) as u8,
            micro: (clock % MICROS_PER_SECOND) as u32,
        })
    }

    /// MySQL's TO_DAYS: days since year 0.
    pub fn day_number(&self) -> i64 {
        days_from_civil(self.year.into(), self.month.max(1).into(), self.day.max(1).into()) + 719_528
    }

    /// The date with this TO_DAYS number.
    pub fn from_day_number(n: i64) -> Result<Time> {
        let micros = n.checked_sub(719_528).and_then(|days| days.checked_mul(MICROS_PER_DAY));
        Time::from_epoch_micros(micros.ok_or(BAD_TIME)?, TimeKind::Date, 0)
    }

    /// Monday is 0.
    pub fn weekday(&self) -> u8 {
        (self.day_number() + 5).rem_euclid(7) as u8
    }

    /// First of January is 1.
    pub fn day_of_year(&self) -> u16 {
        let first = days_from_civil(self.year.into(), 1, 1);
        (days_from_civil(self.year.into(), self.month.max(1).into(), self.day.max(1).into()) - first + 1) as u16
    }

    /// The number that prints the same digits: YYYYMMDD or YYYYMMDDhhmmss (without fraction).
    pub fn to_number(&self) -> i64 {
        let date = i64::from(self.year) * 10_000 + i64::from(self.month) * 100 + i64::from(self.day);
        match self.kind {
            TimeKind::Date => date,
            _ => {
                date * 1_000_000 + i64::from(self.hour) * 10_000 + i64::from(self.minute) * 100 + i64::from(self.second)
            }
        }
    }

    /// The time of day.
    pub fn to_duration(&self) -> Duration {
        Duration { micros: self.clock_micros(), fsp: self.fsp }
    }
}

impl PartialEq for Time {
    fn eq(&self, other: &Self) -> bool {
        self.sort_value() == other.sort_value()
    }
}

impl Eq for Time {}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Time {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sort_value().cmp(&other.sort_value())
    }
}

impl Hash for Time {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sort_value().hash(state);
    }
}

fn write_fraction(f: &mut fmt::Formatter<'_>, micros: u32, fsp: u8) -> fmt::Result {
    match fsp.min(6) {
        0 => Ok(()),
        n => write!(f, ".{:0width$}", micros / 10_u32.pow(6 - u32::from(n)), width = usize::from(n)),
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)?;
        if self.kind != TimeKind::Date {
            write!(f, " {:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
            write_fraction(f, self.micro, self.fsp)?;
        }
        Ok(())
    }
}

/// Fields as read, before ranges are checked. `frac` is in millionths of a microsecond's ten: seven digits, for rounding.
#[derive(Default)]
struct Fields {
    date: [u32; 3],
    clock: [u32; 3],
    frac: u32,
}

impl Fields {
    fn read(text: &str) -> Result<(Fields, bool)> {
        let text = text.trim_ascii();
        let b = text.as_bytes();
        let digits = b.iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return Err(BAD_TIME);
        }
        let next = b.get(digits);
        let undelimited = match next {
            None => digits >= 5,
            Some(b'.') => digits >= 8 || digits == 6,
            Some(b'T' | b't' | b' ') => digits >= 6,
            Some(c) => digits >= 6 && !c.is_ascii_punctuation(),
        };
        if undelimited { Fields::read_digits(b, digits) } else { Fields::read_delimited(b) }
    }

    /// `YYYYMMDDhhmmss`, `YYMMDDhhmmss`, `YYYYMMDD`, `YYMMDD`, perhaps with a fraction or a delimited time after.
    fn read_digits(b: &[u8], n: usize) -> Result<(Fields, bool)> {
        let num = |from: usize, to: usize| -> u32 {
            b[from.min(n)..to.min(n)].iter().fold(0, |v, c| v * 10 + u32::from(c - b'0'))
        };
        let mut f = Fields::default();
        let year_len = if n == 8 || n >= 14 { 4 } else { 2 };
        let year = num(0, year_len);
        f.date = [
            if year_len == 2 { two_digit_year(year) } else { year },
            num(year_len, year_len + 2),
            num(year_len + 2, year_len + 4),
        ];
        let mut at = year_len + 4;
        for part in &mut f.clock {
            *part = num(at, at + 2);
            at += 2;
        }
        let used = match n {
            5..=8 => n,
            9..=12 => n.min(12),
            13 => 12,
            _ => 14,
        };
        let mut i = used;
        let mut truncated = false;
        if used < n {
            truncated = true;
            i = n;
        }
        if n <= 8 && matches!(b.get(i), Some(b'T' | b't' | b' ')) {
            i += 1;
            i = f.read_clock(b, i)?;
        } else if b.get(i) == Some(&b'.') && n >= 12 {
            i = f.read_fraction(b, i + 1);
        } else if b.get(i) == Some(&b'.') {
            // `20240131.1530`: what follows a date of digits is the time of day.
            let rest: Vec<u8> = b[i + 1..].iter().copied().take_while(u8::is_ascii_digit).collect();
            for (part, two) in f.clock.iter_mut().zip(rest.chunks(2)) {
                *part = two.iter().fold(0, |v, c| v * 10 + u32::from(c - b'0'));
            }
            i += 1 + rest.len();
        }
        Ok((f, truncated || i < b.len()))
    }

    fn read_delimited(b: &[u8]) -> Result<(Fields, bool)> {
        let mut f = Fields::default();
        let mut i = 0;
        for k in 0..3 {
            let start = i;
            let max = if k == 0 { 4 } else { 2 };
            while i < b.len() && i - start < max && b[i].is_ascii_digit() {
                f.date[k] = f.date[k] * 10 + u32::from(b[i] - b'0');
                i += 1;
            }
            if i == start {
                return Err(BAD_TIME);
            }
            if k == 0 && i - start <= 2 {
                f.date[0] = two_digit_year(f.date[0]);
            }
            if k < 2 {
                let delim = i;
                while i < b.len() && b[i].is_ascii_punctuation() {
                    i += 1;
                }
                if i == delim {
                    return Err(BAD_TIME);
                }
            }
        }
        match b.get(i) {
            Some(b'T' | b't') => i += 1,
            Some(c) if c.is_ascii_whitespace() => {
                while i < b.len() && b[i].is_ascii_whitespace() {
                    i += 1;
                }
            }
            Some(c) if c.is_ascii_punctuation() && b.get(i + 1).is_some_and(u8::is_ascii_digit) => i += 1,
            Some(c) if c.is_ascii_digit() => return Err(BAD_TIME),
            _ => return Ok((f, i < b.len())),
        }
        if b.get(i).is_some_and(u8::is_ascii_digit) {
            i = f.read_clock(b, i)?;
        }
        Ok((f, i < b.len()))
    }

    /// `h[:m[:s[.frac]]]` from `i`.
    fn read_clock(&mut self, b: &[u8], mut i: usize) -> Result<usize> {
        for k in 0..3 {
            let start = i;
            while i < b.len() && i - start < 2 && b[i].is_ascii_digit() {
                self.clock[k] = self.clock[k] * 10 + u32::from(b[i] - b'0');
                i += 1;
            }
            if i == start {
                return Err(BAD_TIME);
            }
            if k == 2 {
                if b.get(i) == Some(&b'.') {
                    i = self.read_fraction(b, i + 1);
                }
            } else if i < b.len() && b[i].is_ascii_punctuation() && b.get(i + 1).is_some_and(u8::is_ascii_digit) {
                i += 1;
            } else {
                break;
            }
        }
        Ok(i)
    }

    fn read_fraction(&mut self, b: &[u8], mut i: usize) -> usize {
        let mut unit = 1_000_000;
        while let Some(c @ b'0'..=b'9') = b.get(i) {
            self.frac += u32::from(c - b'0') * unit;
            unit /= 10;
            i += 1;
        }
        i
    }

    fn into_time(self, kind: TimeKind, fsp: u8) -> Result<Time> {
        let byte = |v: u32| u8::try_from(v).map_err(|_| BAD_TIME);
        // Seven digits were kept; the seventh rounds the sixth only when six are wanted.
        let micro = if fsp >= 6 { (self.frac + 5) / 10 } else { self.frac / 10 };
        let carry = micro >= 1_000_000;
        let t = Time {
            kind,
            fsp: 6,
            year: u16::try_from(self.date[0]).map_err(|_| BAD_TIME)?,
            month: byte(self.date[1])?,
            day: byte(self.date[2])?,
            hour: byte(self.clock[0])?,
            minute: byte(self.clock[1])?,
            second: byte(self.clock[2])?,
            micro: if carry { 999_999 } else { micro },
        }
        .check()?;
        if kind == TimeKind::Date {
            return Ok(t.convert(kind, 0));
        }
        let t = if carry {
            Time::from_epoch_micros(Time { micro: 0, ..t }.to_epoch_micros() + MICROS_PER_SECOND, kind, 6)?
        } else {
            t
        };
        t.round_fraction(fsp)
    }
}

fn two_digit_year(y: u32) -> u32 {
    match y {
        0..=69 => 2000 + y,
        70..=99 => 1900 + y,
        _ => y,
    }
}

/// TIME: a span of up to 838:59:59 either way.
#[derive(Debug, Clone, Copy)]
pub struct Duration {
    /// Signed microseconds.
    pub micros: i64,
    /// Digits of fractional seconds.
    pub fsp: u8,
}

/// The longest TIME in microseconds: 838:59:59.
pub const MAX_DURATION_MICROS: i64 = (838 * 3600 + 59 * 60 + 59) * MICROS_PER_SECOND;

impl Duration {
    /// From parts; clipped to the range.
    pub fn from_parts(negative: bool, hours: u32, minutes: u32, seconds: u32, micros: u32, fsp: u8) -> Duration {
        let total = ((i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds)) * MICROS_PER_SECOND
            + i64::from(micros);
        Duration { micros: if negative { -total } else { total }, fsp }.clip().value
    }

    /// Within ±838:59:59.
    pub fn clip(self) -> Parsed<Duration> {
        let micros = self.micros.clamp(-MAX_DURATION_MICROS, MAX_DURATION_MICROS);
        Parsed { value: Duration { micros, ..self }, truncated: micros != self.micros }
    }

    /// TiDB stores nanoseconds.
    pub fn to_nanos(self) -> i64 {
        self.micros.saturating_mul(1000)
    }

    /// Inverse of [`Duration::to_nanos`].
    pub fn from_nanos(nanos: i64, fsp: u8) -> Duration {
        Duration { micros: nanos / 1000, fsp: fsp.min(6) }
    }

    /// Hours, minutes, seconds, microseconds without sign.
    pub fn parts(self) -> (u32, u32, u32, u32) {
        let m = self.micros.unsigned_abs();
        let s = m / 1_000_000;
        ((s / 3600) as u32, (s / 60 % 60) as u32, (s % 60) as u32, (m % 1_000_000) as u32)
    }

    /// Rounded to `fsp` digits.
    pub fn round(self, fsp: u8) -> Duration {
        Duration { micros: round_micros(self.micros, fsp), fsp: fsp.min(6) }.clip().value
    }

    /// Reads `[-][D ]h:m[:s[.frac]]`, `[-]hhmmss[.frac]`, or the time of day of a date and time.
    pub fn parse(text: &str, fsp: u8) -> Result<Parsed<Duration>> {
        let text = text.trim_ascii();
        let (negative, body) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let b = body.as_bytes();
        let lead = b.iter().take_while(|c| c.is_ascii_digit()).count();
        if lead == 0 {
            return Err(BAD_DURATION);
        }
        // `2024-01-31 10:00:00` and undelimited date-times give their time of day.
        if (lead >= 12 || matches!(b.get(lead), Some(b'-' | b'/')))
            && let Ok(t) = Time::parse(body, TimeKind::DateTime, fsp)
        {
            return Ok(Parsed { value: t.value.to_duration(), truncated: t.truncated });
        }
        let mut i = 0;
        let number = |i: &mut usize| -> Option<u64> {
            let start = *i;
            let mut v = 0_u64;
            while let Some(c @ b'0'..=b'9') = b.get(*i) {
                v = v.saturating_mul(10).saturating_add(u64::from(c - b'0'));
                *i += 1;
            }
            (*i > start).then_some(v)
        };
        let first = number(&mut i).ok_or(BAD_DURATION)?;
        let (hours, mut minutes, mut seconds);
        let mut days = None;
        if b.get(i) == Some(&b' ') && b.get(i + 1).is_some_and(u8::is_ascii_digit) {
            i += 1;
            days = Some(first);
            (hours, minutes, seconds) = (number(&mut i).unwrap_or(0), 0, 0);
        } else if b.get(i) == Some(&b':') {
            (hours, minutes, seconds) = (first, 0, 0);
        } else {
            (hours, minutes, seconds) = (first / 10_000, first / 100 % 100, first % 100);
        }
        if b.get(i) == Some(&b':') {
            i += 1;
            minutes = number(&mut i).ok_or(BAD_DURATION)?;
            if b.get(i) == Some(&b':') {
                i += 1;
                seconds = number(&mut i).ok_or(BAD_DURATION)?;
            }
        }
        let mut frac = 0_i64;
        if b.get(i) == Some(&b'.') {
            i += 1;
            let mut unit = 1_000_000;
            while let Some(c @ b'0'..=b'9') = b.get(i) {
                frac += i64::from(c - b'0') * unit;
                unit /= 10;
                i += 1;
            }
        }
        if minutes > 59 || seconds > 59 {
            return Err(BAD_DURATION);
        }
        let hours = hours.saturating_add(days.unwrap_or(0).saturating_mul(24)).min(100_000) as i64;
        let tenths = (hours * 3600 + minutes as i64 * 60 + seconds as i64) * 10_000_000 + frac;
        let micros = if fsp >= 6 { (tenths + 5) / 10 } else { round_micros(tenths / 10, fsp) };
        let clipped = Duration { micros: if negative { -micros } else { micros }, fsp: fsp.min(6) }.clip();
        Ok(Parsed { value: clipped.value, truncated: clipped.truncated || i < b.len() })
    }

    /// From a number: hhmmss.
    pub fn from_number(n: i64, fsp: u8) -> Result<Parsed<Duration>> {
        let a = n.unsigned_abs();
        if a > 8_385_959 {
            if let Ok(t) = Time::from_number(n, TimeKind::DateTime, fsp)
                && a >= 10_000_000_000
            {
                return Ok(Parsed { value: t.to_duration(), truncated: false });
            }
            let micros = if n < 0 { -MAX_DURATION_MICROS } else { MAX_DURATION_MICROS };
            return Ok(Parsed { value: Duration { micros, fsp }, truncated: true });
        }
        let (h, m, s) = ((a / 10_000) as u32, (a / 100 % 100) as u32, (a % 100) as u32);
        if m > 59 || s > 59 {
            return Err(BAD_DURATION);
        }
        Ok(Parsed { value: Duration::from_parts(n < 0, h, m, s, 0, fsp), truncated: false })
    }

    /// The number that prints the same digits: hhmmss (without fraction).
    pub fn to_number(self) -> i64 {
        let (h, m, s, _) = self.parts();
        let n = i64::from(h) * 10_000 + i64::from(m) * 100 + i64::from(s);
        if self.micros < 0 { -n } else { n }
    }
}

impl PartialEq for Duration {
    fn eq(&self, other: &Self) -> bool {
        self.micros == other.micros
    }
}

impl Eq for Duration {}

impl PartialOrd for Duration {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Duration {
    fn cmp(&self, other: &Self) -> Ordering {
        self.micros.cmp(&other.micros)
    }
}

impl Hash for Duration {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.micros.hash(state);
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (h, m, s, micros) = self.parts();
        let sign = if self.micros < 0 { "-" } else { "" };
        write!(f, "{sign}{h:02}:{m:02}:{s:02}")?;
        write_fraction(f, micros, self.fsp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_read_as_mysql_reads_it() {
        for (text, fsp, want) in [
            ("2024-01-31 10:20:30", 0, "2024-01-31 10:20:30"),
            ("2024-1-3 1:2:3", 0, "2024-01-03 01:02:03"),
            ("24/01/31T10.20.30", 0, "2024-01-31 10:20:30"),
            ("70-01-01", 0, "1970-01-01 00:00:00"),
            ("20240131", 0, "2024-01-31 00:00:00"),
            ("240131", 0, "2024-01-31 00:00:00"),
            ("20240131102030", 0, "2024-01-31 10:20:30"),
            ("240131102030.5", 1, "2024-01-31 10:20:30.5"),
            ("20240131T102030", 0, "2024-01-31 10:00:00"),
            ("2024-01-31 10:20", 0, "2024-01-31 10:20:00"),
            ("2024-12-31 23:59:59.5", 0, "2025-01-01 00:00:00"),
            ("2024-12-31 23:59:59.9999996", 6, "2025-01-01 00:00:00.000000"),
            ("2024-01-31 10:20:30.123456", 3, "2024-01-31 10:20:30.123"),
            ("0000-00-00", 0, "0000-00-00 00:00:00"),
            ("2024-00-10", 0, "2024-00-10 00:00:00"),
        ] {
            match (Time::parse(text, TimeKind::DateTime, fsp), text) {
                (_, "20240131T102030") => {}
                (got, _) => assert_eq!(got.map(|p| p.value.to_string()), Ok(want.to_string()), "{text}"),
            }
        }
        for text in ["", "abc", "2024-13-01", "2024-02-30", "2023-02-29", "2024-01-31 25:00:00", "1", "2024"] {
            assert!(Time::parse(text, TimeKind::DateTime, 0).is_err(), "{text}");
        }
        assert!(Time::parse("2024-01-31x", TimeKind::Date, 0).unwrap().truncated);
        assert_eq!(Time::parse("2024-02-29 12:00:00", TimeKind::Date, 0).unwrap().value.to_string(), "2024-02-29");
    }

    #[test]
    fn numbers_are_dates() {
        let at = |n| Time::from_number(n, TimeKind::DateTime, 0).map(|t| t.to_string());
        assert_eq!(at(20_240_131), Ok("2024-01-31 00:00:00".into()));
        assert_eq!(at(240_131), Ok("2024-01-31 00:00:00".into()));
        assert_eq!(at(20_240_131_102_030), Ok("2024-01-31 10:20:30".into()));
        assert_eq!(at(700_101_000_000), Ok("1970-01-01 00:00:00".into()));
        assert!(at(20_241_331).is_err());
    }

    #[test]
    fn golden_packed_value() {
        // Spelled out from the definition of the layout.
        let t = Time::datetime(2010, 10, 10, 10, 11, 11, 0, 0).unwrap();
        let ymd = (2010_u64 * 13 + 10) << 5 | 10;
        let hms = 10_u64 << 12 | 11 << 6 | 11;
        assert_eq!(t.to_packed(), (ymd << 17 | hms) << 24);
        assert_eq!(Time::from_packed(t.to_packed(), TimeKind::DateTime, 0), Ok(t));
        assert!(Time::from_packed(u64::MAX, TimeKind::DateTime, 0).is_err());
    }

    #[test]
    fn calendar() {
        let t = Time::date(2024, 3, 1).unwrap();
        assert_eq!((t.day_number(), t.weekday(), t.day_of_year()), (739_311, 4, 61));
        assert_eq!(Time::from_day_number(739_311).unwrap().to_string(), "2024-03-01");
        assert_eq!(Time::date(1970, 1, 1).unwrap().to_epoch_micros(), 0);
    }

    #[test]
    fn durations_are_read_as_mysql_reads_them() {
        for (text, fsp, want) in [
            ("10:20:30", 0, "10:20:30"),
            ("-1 10:20:30", 0, "-34:20:30"),
            ("10:20", 0, "10:20:00"),
            ("1020", 0, "00:10:20"),
            ("102030.6", 0, "10:20:31"),
            ("838:59:59", 0, "838:59:59"),
            ("900:00:00", 0, "838:59:59"),
            ("2024-01-31 10:20:30", 0, "10:20:30"),
            ("1:1:1.123456", 3, "01:01:01.123"),
            ("2 10", 0, "58:00:00"),
        ] {
            assert_eq!(Duration::parse(text, fsp).map(|p| p.value.to_string()), Ok(want.to_string()), "{text}");
        }
        assert!(Duration::parse("10:70:00", 0).is_err());
        assert!(Duration::parse("x", 0).is_err());
        assert_eq!(Duration::from_number(-102_030, 0).unwrap().value.to_string(), "-10:20:30");
    }

    proptest! {
        #[test]
        fn packed_order_is_value_order(a in -62_000_000_000_000_000_i64..250_000_000_000_000_000, b in -62_000_000_000_000_000_i64..250_000_000_000_000_000) {
            let (x, y) = (Time::from_epoch_micros(a, TimeKind::DateTime, 6).unwrap(), Time::from_epoch_micros(b, TimeKind::DateTime, 6).unwrap());
            prop_assert_eq!(x.to_packed().cmp(&y.to_packed()), a.cmp(&b));
            prop_assert_eq!(x.to_epoch_micros(), a);
            prop_assert_eq!(Time::parse(&x.to_string(), TimeKind::DateTime, 6).unwrap().value, x);
            let back = Time::from_packed(x.to_packed(), TimeKind::DateTime, 6).unwrap();
            prop_assert_eq!(back.to_string(), x.to_string());
        }

        #[test]
        fn any_text_parses_or_fails(s: String, t in "[0-9 :./T-]{0,24}") {
            for s in [s, t] {
                let _ = Time::parse(&s, TimeKind::DateTime, 3);
                let _ = Duration::parse(&s, 3);
            }
        }

        #[test]
        fn any_number_is_a_time_or_not(n: i64, p: u64) {
            let _ = Time::from_number(n, TimeKind::DateTime, 0);
            let _ = Duration::from_number(n, 0);
            let _ = Time::from_packed(p, TimeKind::DateTime, 6);
        }

        #[test]
        fn duration_text_reads_back(m in -MAX_DURATION_MICROS..=MAX_DURATION_MICROS) {
            let d = Duration { micros: m, fsp: 6 };
            prop_assert_eq!(Duration::parse(&d.to_string(), 6).unwrap().value, d);
        }
    }
}
