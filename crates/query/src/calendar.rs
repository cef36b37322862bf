//! Weeks, names of days and months, and DATE_FORMAT's and STR_TO_DATE's patterns.

use codec::time::{Duration, Time, TimeKind};

/// English names, Sunday first.
pub const DAY_NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// English names, January first.
pub const MONTH_NAMES: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// (year, week) of a date in one of MySQL's eight modes: bit 0 weeks start on Monday, bit 1 weeks count from 1 (days
/// before the first belong to the last year), bit 2 the first week is the first that has the start day (else: four days).
pub fn week(t: &Time, mode: u8) -> (u16, u8) {
    let monday_first = mode & 1 != 0;
    let counts_from_one = mode & 2 != 0;
    // Bit 2 means the opposite for weeks that start on Sunday.
    let needs_start_day = (mode & 4 != 0) == monday_first;
    let new_year = |y: u16| Time { year: y, month: 1, day: 1, ..Time::zero(TimeKind::Date, 0) }.day_number();
    // Days from the start of the week to this day.
    let weekday_of = |n: i64| if monday_first { (n + 5).rem_euclid(7) } else { (n + 6).rem_euclid(7) };
    // First day of the first week of a year.
    let first_of = |y: u16| {
        let n = new_year(y);
        let weekday = weekday_of(n);
        let next = if needs_start_day { weekday != 0 } else { weekday >= 4 };
        if next { n + 7 - weekday } else { n - weekday }
    };
    let day = t.day_number();
    let number = |first: i64| ((day - first) / 7 + 1) as u8;
    let first = first_of(t.year);
    if day < first {
        return match (counts_from_one, t.year.checked_sub(1)) {
            (true, Some(last)) => (last, number(first_of(last))),
            _ => (t.year, 0),
        };
    }
    if counts_from_one && day >= first_of(t.year + 1) {
        return (t.year + 1, 1);
    }
    (t.year, number(first))
}

/// `DATE_FORMAT(t, format)`; `None` when the format asks for a name of a zero month.
pub fn format(t: &Time, pattern: &str) -> Option<String> {
    format_hours(t, t.hour.into(), pattern)
}

/// `TIME_FORMAT(span, format)`: `%H` and `%k` tell all hours, those that count to twelve what is left of them.
pub fn format_duration(span: Duration, pattern: &str) -> Option<String> {
    let (hours, minute, second, micro) = span.parts();
    let t = Time {
        hour: (hours % 24) as u8,
        minute: minute as u8,
        second: second as u8,
        micro,
        ..Time::zero(TimeKind::DateTime, 6)
    };
    let text = format_hours(&t, hours, pattern)?;
    Some(if span.micros < 0 { format!("-{text}") } else { text })
}

fn format_hours(t: &Time, hours: u32, pattern: &str) -> Option<String> {
    use std::fmt::Write;
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars();
    let hour12 = match t.hour % 12 {
        0 => 12,
        h => h,
    };
    let half = if t.hour < 12 { "AM" } else { "PM" };
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let Some(c) = chars.next() else {
            out.push('%');
            break;
        };
        let weekday = usize::from((t.weekday() + 1) % 7);
        let month = || MONTH_NAMES.get(usize::from(t.month).wrapping_sub(1)).copied();
        let written = match c {
            'a' => write!(out, "{}", &DAY_NAMES[weekday][..3]),
            'b' => write!(out, "{}", &month()?[..3]),
            'c' => write!(out, "{}", t.month),
            'D' => {
                let suffix = match (t.day % 10, t.day / 10) {
                    (1, n) if n != 1 => "st",
                    (2, n) if n != 1 => "nd",
                    (3, n) if n != 1 => "rd",
                    _ => "th",
                };
                write!(out, "{}{suffix}", t.day)
            }
            'd' => write!(out, "{:02}", t.day),
            'e' => write!(out, "{}", t.day),
            'f' => write!(out, "{:06}", t.micro),
            'H' => write!(out, "{hours:02}"),
            'h' | 'I' => write!(out, "{hour12:02}"),
            'i' => write!(out, "{:02}", t.minute),
            'j' => write!(out, "{:03}", t.day_of_year()),
            'k' => write!(out, "{hours}"),
            'l' => write!(out, "{hour12}"),
            'M' => write!(out, "{}", month()?),
            'm' => write!(out, "{:02}", t.month),
            'p' => write!(out, "{half}"),
            'r' => write!(out, "{hour12:02}:{:02}:{:02} {half}", t.minute, t.second),
            'S' | 's' => write!(out, "{:02}", t.second),
            'T' => write!(out, "{hours:02}:{:02}:{:02}", t.minute, t.second),
            'U' => write!(out, "{:02}", week(t, 0).1),
            'u' => write!(out, "{:02}", week(t, 1).1),
            'V' => write!(out, "{:02}", week(t, 2).1),
            'v' => write!(out, "{:02}", week(t, 3).1),
            'W' => write!(out, "{}", DAY_NAMES[weekday]),
            'w' => write!(out, "{weekday}"),
            'X' => write!(out, "{:04}", week(t, 2).0),
            'x' => write!(out, "{:04}", week(t, 3).0),
            'Y' => write!(out, "{:04}", t.year),
            'y' => write!(out, "{:02}", t.year % 100),
            other => write!(out, "{other}"),
        };
        written.ok()?;
    }
    Some(out)
}

/// `STR_TO_DATE(text, format)`: the value and whether the format names a date and a clock.
pub fn parse(text: &str, pattern: &str) -> Option<(Time, bool, bool)> {
    let mut t = Time::zero(TimeKind::DateTime, 6);
    let (mut has_date, mut has_clock) = (false, false);
    let mut afternoon = None;
    let mut day_of_year = None;
    let mut rest = text;
    let mut chars = pattern.chars();
    fn number(rest: &str, digits: usize) -> Option<(u32, &str, usize)> {
        let n = rest.bytes().take(digits).take_while(u8::is_ascii_digit).count();
        (n > 0).then(|| rest[..n].parse().ok().map(|v| (v, &rest[n..], n))).flatten()
    }
    fn name<'a>(rest: &'a str, names: &[&str], short: bool) -> Option<(usize, &'a str)> {
        names.iter().enumerate().find_map(|(i, n)| {
            let n = if short { &n[..3] } else { *n };
            let head = rest.get(..n.len())?;
            head.eq_ignore_ascii_case(n).then(|| (i, &rest[n.len()..]))
        })
    }
    let mut take = |rest: &mut &str, digits: usize, date: bool| -> Option<u32> {
        let (v, r, _) = number(rest, digits)?;
        *rest = r;
        if date {
            has_date = true;
        } else {
            has_clock = true;
        }
        Some(v)
    };
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        if c != '%' {
            rest = rest.trim_start().strip_prefix(c)?;
            continue;
        }
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        match chars.next()? {
            'Y' => t.year = take(&mut rest, 4, true)? as u16,
            'y' => {
                let y = take(&mut rest, 2, true)? as u16;
                t.year = if y < 70 { 2000 + y } else { 1900 + y };
            }
            'm' | 'c' => t.month = take(&mut rest, 2, true)? as u8,
            'd' | 'e' => t.day = take(&mut rest, 2, true)? as u8,
            'D' => {
                t.day = take(&mut rest, 2, true)? as u8;
                rest = rest.get(2..)?;
            }
            'M' => {
                let (i, r) = name(rest, &MONTH_NAMES, false)?;
                (t.month, rest) = (i as u8 + 1, r);
                has_date_by_name(&mut take, &mut t)?;
            }
            'b' => {
                let (i, r) = name(rest, &MONTH_NAMES, true)?;
                (t.month, rest) = (i as u8 + 1, r);
                has_date_by_name(&mut take, &mut t)?;
            }
            'W' => rest = name(rest, &DAY_NAMES, false)?.1,
            'a' => rest = name(rest, &DAY_NAMES, true)?.1,
            'j' => day_of_year = Some(take(&mut rest, 3, true)?),
            'H' | 'k' => t.hour = take(&mut rest, 2, false)? as u8,
            'h' | 'I' | 'l' => {
                let h = take(&mut rest, 2, false)? as u8;
                if !(1..=12).contains(&h) {
                    return None;
                }
                t.hour = h % 12;
                afternoon = afternoon.or(Some(false));
            }
            'i' => t.minute = take(&mut rest, 2, false)? as u8,
            's' | 'S' => t.second = take(&mut rest, 2, false)? as u8,
            'f' => {
                let n = rest.bytes().take(6).take_while(u8::is_ascii_digit).count();
                t.micro = take(&mut rest, 6, false)? * 10_u32.pow(6 - n as u32);
            }
            'p' => {
                let head = rest.get(..2)?;
                afternoon = Some(match head {
                    h if h.eq_ignore_ascii_case("PM") => true,
                    h if h.eq_ignore_ascii_case("AM") => false,
                    _ => return None,
                });
                rest = &rest[2..];
            }
            'T' => {
                t.hour = take(&mut rest, 2, false)? as u8;
                rest = rest.strip_prefix(':')?;
                t.minute = take(&mut rest, 2, false)? as u8;
                rest = rest.strip_prefix(':')?;
                t.second = take(&mut rest, 2, false)? as u8;
            }
            '%' => rest = rest.strip_prefix('%')?,
            _ => return None,
        }
    }
    if afternoon == Some(true) {
        t.hour += 12;
    }
    if let Some(n) = day_of_year {
        let first = Time { year: t.year, month: 1, day: 1, ..t };
        let d = Time::from_day_number(first.day_number() + i64::from(n) - 1).ok()?;
        (t.month, t.day) = (d.month, d.day);
    }
    let checked = Time::datetime(t.year, t.month, t.day, t.hour, t.minute, t.second, t.micro, 6).ok()?;
    Some((checked, has_date, has_clock))
}

/// Marks that a date part was seen by name: reads nothing.
fn has_date_by_name(take: &mut impl FnMut(&mut &str, usize, bool) -> Option<u32>, _t: &mut Time) -> Option<()> {
    let mut one = "1";
    take(&mut one, 1, true).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_in_all_modes() {
        let t = |s| Time::parse(s, TimeKind::Date, 0).unwrap().value;
        // From MySQL's manual and a server: WEEK('2008-02-20', mode).
        for (date, mode, want) in [
            ("2008-02-20", 0, 7),
            ("2008-02-20", 1, 8),
            ("2008-12-31", 1, 53),
            ("2000-01-01", 0, 0),
            ("2000-01-01", 2, 52),
            ("2000-01-01", 1, 0),
            ("2000-01-01", 3, 52),
            ("2024-12-30", 3, 1),
            ("2024-12-30", 1, 53),
            ("2024-01-01", 5, 1),
            ("2024-01-01", 4, 1),
            ("2024-01-01", 6, 1),
            ("2024-01-01", 7, 1),
        ] {
            assert_eq!(week(&t(date), mode).1, want, "WEEK('{date}', {mode})");
        }
        assert_eq!(week(&t("2000-01-01"), 2).0, 1999);
    }

    #[test]
    fn patterns_write_and_read() {
        let t = Time::parse("2009-10-04 22:23:00.5", TimeKind::DateTime, 6).unwrap().value;
        assert_eq!(format(&t, "%W %M %Y").unwrap(), "Sunday October 2009");
        assert_eq!(format(&t, "%H:%i:%s %p %r %f").unwrap(), "22:23:00 PM 10:23:00 PM 500000");
        assert_eq!(format(&t, "%D %y %a %d %m %b %j %%").unwrap(), "4th 09 Sun 04 10 Oct 277 %");
        let (d, date, clock) = parse("01,5,2013", "%d,%m,%Y").unwrap();
        assert_eq!((d.to_string().as_str(), date, clock), ("2013-05-01 00:00:00.000000", true, false));
        let (d, date, clock) = parse("May 1, 2013 9:30 PM", "%M %d, %Y %h:%i %p").unwrap();
        assert_eq!((d.to_string().as_str(), date, clock), ("2013-05-01 21:30:00.000000", true, true));
        assert!(parse("2013-02-30", "%Y-%m-%d").is_none());
    }
}
