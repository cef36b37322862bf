//! Units of `INTERVAL n UNIT`, and adding them to dates.

use codec::time::{Duration, Time, TimeKind, days_in_month};

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unit {
    Microsecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    SecondMicrosecond,
    MinuteMicrosecond,
    MinuteSecond,
    HourMicrosecond,
    HourSecond,
    HourMinute,
    DayMicrosecond,
    DaySecond,
    DayMinute,
    DayHour,
    YearMonth,
}

/// A number of months and of microseconds: every interval is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Months, which have no fixed length.
    pub months: i64,
    /// Everything shorter.
    pub micros: i64,
}

const SECOND: i64 = 1_000_000;

impl Unit {
    /// By its name in SQL, any case.
    pub fn parse(name: &str) -> Option<Unit> {
        use Unit::*;
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SQL_TSI_").unwrap_or(&name);
        Some(match name {
            "MICROSECOND" | "FRAC_SECOND" => Microsecond,
            "SECOND" => Second,
            "MINUTE" => Minute,
            "HOUR" => Hour,
            "DAY" => Day,
            "WEEK" => Week,
            "MONTH" => Month,
            "QUARTER" => Quarter,
            "YEAR" => Year,
            "SECOND_MICROSECOND" => SecondMicrosecond,
            "MINUTE_MICROSECOND" => MinuteMicrosecond,
            "MINUTE_SECOND" => MinuteSecond,
            "HOUR_MICROSECOND" => HourMicrosecond,
            "HOUR_SECOND" => HourSecond,
            "HOUR_MINUTE" => HourMinute,
            "DAY_MICROSECOND" => DayMicrosecond,
            "DAY_SECOND" => DaySecond,
            "DAY_MINUTE" => DayMinute,
            "DAY_HOUR" => DayHour,
            "YEAR_MONTH" => YearMonth,
            _ => return None,
        })
    }

    /// Whether the unit has a time of day, so that adding it to a DATE gives a DATETIME.
    pub fn has_clock(self) -> bool {
        use Unit::*;
        !matches!(self, Day | Week | Month | Quarter | Year | YearMonth)
    }

    /// Whether the unit counts microseconds.
    pub fn has_micros(self) -> bool {
        use Unit::*;
        matches!(self, Microsecond | SecondMicrosecond | MinuteMicrosecond | HourMicrosecond | DayMicrosecond)
    }

    /// Microseconds of one unit, for units of fixed length.
    fn fixed_micros(self) -> Option<i64> {
        Some(match self {
            Unit::Microsecond => 1,
            Unit::Second => SECOND,
            Unit::Minute => 60 * SECOND,
            Unit::Hour => 3600 * SECOND,
            Unit::Day => 86_400 * SECOND,
            Unit::Week => 7 * 86_400 * SECOND,
            _ => return None,
        })
    }

    /// The fields of a composed unit, largest first, in microseconds (or months).
    fn fields(self) -> &'static [i64] {
        const D: i64 = 86_400 * SECOND;
        const H: i64 = 3600 * SECOND;
        const M: i64 = 60 * SECOND;
        const S: i64 = SECOND;
        match self {
            Unit::SecondMicrosecond => &[S, 1],
            Unit::MinuteMicrosecond => &[M, S, 1],
            Unit::MinuteSecond => &[M, S],
            Unit::HourMicrosecond => &[H, M, S, 1],
            Unit::HourSecond => &[H, M, S],
            Unit::HourMinute => &[H, M],
            Unit::DayMicrosecond => &[D, H, M, S, 1],
            Unit::DaySecond => &[D, H, M, S],
            Unit::DayMinute => &[D, H, M],
            Unit::DayHour => &[D, H],
            Unit::YearMonth => &[12, 1],
            _ => &[],
        }
    }

    /// Reads the amount, which MySQL writes as a number or, for composed units, as text with any punctuation.
    pub fn read(self, text: &str) -> Option<Interval> {
        let text = text.trim();
        let fields = self.fields();
        if fields.is_empty() {
            let (negative, body) = match text.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, text.strip_prefix('+').unwrap_or(text)),
            };
            let sign = if negative { -1 } else { 1 };
            if self == Unit::Second {
                // Fractions of a second count.
                let d: codec::decimal::Decimal = codec::decimal::Decimal::parse_prefix(body).0?;
                let micros = d.mul(&codec::decimal::Decimal::from(SECOND)).ok()?.to_i64().ok()?;
                return Some(Interval { months: 0, micros: sign * micros });
            }
            // Other units take integers; a decimal or real amount was rounded by the caller.
            let digits: &str = &body[..body.bytes().take_while(u8::is_ascii_digit).count()];
            let n = sign * if digits.is_empty() { 0 } else { digits.parse::<i64>().ok()? };
            return match (self, self.fixed_micros()) {
                (_, Some(unit)) => Some(Interval { months: 0, micros: n.checked_mul(unit)? }),
                (Unit::Month, _) => Some(Interval { months: n, micros: 0 }),
                (Unit::Quarter, _) => Some(Interval { months: n.checked_mul(3)?, micros: 0 }),
                _ => Some(Interval { months: n.checked_mul(12)?, micros: 0 }),
            };
        }
        let negative = text.starts_with('-');
        let mut numbers = Vec::new();
        let mut lengths = Vec::new();
        for part in text.split(|c: char| !c.is_ascii_digit()).filter(|p| !p.is_empty()) {
            numbers.push(part.parse::<i64>().ok()?);
            lengths.push(part.len());
        }
        if numbers.len() > fields.len() {
            return None;
        }
        // Fewer numbers than fields are the smallest fields.
        let skip = fields.len() - numbers.len();
        let mut total = 0_i64;
        for (i, (n, unit)) in numbers.iter().zip(&fields[skip..]).enumerate() {
            // `1.5` seconds and microseconds: digits of the last field are a fraction.
            let n = match (*unit, self) {
                (1, u) if u != Unit::YearMonth && lengths[i] < 6 => n * 10_i64.pow(6 - lengths[i] as u32),
                _ => *n,
            };
            total = total.checked_add(n.checked_mul(*unit)?)?;
        }
        let total = if negative { -total } else { total };
        Some(match self {
            Unit::YearMonth => Interval { months: total, micros: 0 },
            _ => Interval { months: 0, micros: total },
        })
    }
}

impl Interval {
    /// The opposite interval.
    pub fn negate(self) -> Interval {
        Interval { months: self.months.saturating_neg(), micros: self.micros.saturating_neg() }
    }

    /// The date that is this much later; `None` outside the years 0 to 9999 and for dates with zero fields.
    pub fn add_to(self, t: &Time) -> Option<Time> {
        if t.has_zero_date() {
            return None;
        }
        if self.micros != 0 || self.months == 0 {
            let micros = t.to_epoch_micros().checked_add(self.micros)?;
            return Time::from_epoch_micros(micros, t.kind, t.fsp).ok();
        }
        let months = (i64::from(t.year) * 12 + i64::from(t.month) - 1).checked_add(self.months)?;
        let year = u16::try_from(months.div_euclid(12)).ok().filter(|y| *y <= 9999)?;
        let month = (months.rem_euclid(12) + 1) as u8;
        Some(Time { year, month, day: t.day.min(days_in_month(year, month)), ..*t })
    }

    /// The span that is this much longer; `None` for months, which a span has not.
    pub fn add_to_duration(self, d: Duration) -> Option<Duration> {
        if self.months != 0 {
            return None;
        }
        Some(Duration { micros: d.micros.checked_add(self.micros)?, ..d }.clip().value)
    }
}

/// Whole units from `a` to `b`, as TIMESTAMPDIFF counts.
pub fn timestamp_diff(unit: Unit, a: &Time, b: &Time) -> Option<i64> {
    if a.has_zero_date() || b.has_zero_date() {
        return None;
    }
    let (a, b) = (a.convert(TimeKind::DateTime, 6), b.convert(TimeKind::DateTime, 6));
    if let Some(micros) = unit.fixed_micros() {
        return Some((b.to_epoch_micros() - a.to_epoch_micros()) / micros);
    }
    let (from, to, sign) = if a <= b { (a, b, 1) } else { (b, a, -1) };
    let mut months =
        (i64::from(to.year) * 12 + i64::from(to.month)) - (i64::from(from.year) * 12 + i64::from(from.month));
    if (to.day, to.clock_micros()) < (from.day, from.clock_micros()) {
        months -= 1;
    }
    Some(
        sign * match unit {
            Unit::Month => months,
            Unit::Quarter => months / 3,
            Unit::Year => months / 12,
            _ => return None,
        },
    )
}

/// `EXTRACT(unit FROM t)`.
pub fn extract(unit: Unit, t: &Time) -> i64 {
    let clock = extract_duration(unit, t.to_duration());
    let (y, m, d) = (i64::from(t.year), i64::from(t.month), i64::from(t.day));
    match unit {
        Unit::Year => y,
        Unit::Quarter => (m + 2) / 3,
        Unit::Month => m,
        Unit::Week => crate::calendar::week(t, 0).1.into(),
        Unit::Day => d,
        Unit::YearMonth => y * 100 + m,
        Unit::DayHour => d * 100 + clock,
        Unit::DayMinute => d * 10_000 + clock,
        Unit::DaySecond => d * 1_000_000 + clock,
        Unit::DayMicrosecond => d * 1_000_000_000_000 + clock,
        _ => clock,
    }
}

/// `EXTRACT(unit FROM span)`.
pub fn extract_duration(unit: Unit, span: Duration) -> i64 {
    let (h, m, s, us) = span.parts();
    let (h, m, s, us) = (i64::from(h), i64::from(m), i64::from(s), i64::from(us));
    let hms = (h * 100 + m) * 100 + s;
    let v = match unit {
        Unit::Microsecond => us,
        Unit::Second => s,
        Unit::Minute => m,
        Unit::Hour | Unit::DayHour => h,
        Unit::SecondMicrosecond => s * SECOND + us,
        Unit::MinuteMicrosecond => (m * 100 + s) * SECOND + us,
        Unit::MinuteSecond => m * 100 + s,
        Unit::HourMicrosecond | Unit::DayMicrosecond => hms * SECOND + us,
        Unit::HourSecond | Unit::DaySecond => hms,
        Unit::HourMinute | Unit::DayMinute => h * 100 + m,
        _ => 0,
    };
    if span.micros < 0 { -v } else { v }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(date: &str, amount: &str, unit: &str, want: &str) {
        let t = Time::parse(date, TimeKind::DateTime, 0).unwrap().value;
        let unit = Unit::parse(unit).unwrap();
        let got = unit.read(amount).and_then(|i| i.add_to(&t));
        assert_eq!(got.map(|t| t.to_string()).as_deref().unwrap_or("NULL"), want, "{date} + {amount} {unit:?}");
    }

    #[test]
    fn dates_move_by_intervals() {
        check("2024-01-31", "1", "month", "2024-02-29 00:00:00");
        check("2024-01-31", "-1", "DAY", "2024-01-30 00:00:00");
        check("2024-02-29", "1", "year", "2025-02-28 00:00:00");
        check("2024-12-31 23:59:59", "1", "SECOND", "2025-01-01 00:00:00");
        check("2024-01-01", "1:30", "hour_minute", "2024-01-01 01:30:00");
        check("2024-01-01", "1 1:1:1", "day_second", "2024-01-02 01:01:01");
        check("2024-01-01", "1-2", "year_month", "2025-03-01 00:00:00");
        check("9999-12-31", "1", "day", "NULL");
        check("2024-01-01", "2", "quarter", "2024-07-01 00:00:00");
    }

    #[test]
    fn differences_count_whole_units() {
        let t = |s| Time::parse(s, TimeKind::DateTime, 0).unwrap().value;
        assert_eq!(timestamp_diff(Unit::Month, &t("2024-01-31"), &t("2024-02-29")), Some(0));
        assert_eq!(timestamp_diff(Unit::Month, &t("2024-01-15"), &t("2024-03-15")), Some(2));
        assert_eq!(timestamp_diff(Unit::Year, &t("2024-01-15"), &t("2020-01-15")), Some(-4));
        assert_eq!(timestamp_diff(Unit::Hour, &t("2024-01-15"), &t("2024-01-15 05:59:59")), Some(5));
    }
}
