//! Durations as variables have them: `10m0s`, `1h30m`, `24h0m0s`.

use std::time::Duration;

/// Reads numbers with units (`h`, `m`, `s`, `ms`), one after the other. `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let secs = match &rest[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * secs).ok()?)?;
        rest = &rest[unit..];
    }
    Some(total)
}

/// Whole seconds in the form in which they are shown.
pub(crate) fn duration_text(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, secs, shown) in [
            ("10s", 10, "10s"),
            ("10m", 600, "10m0s"),
            ("1h30m", 5400, "1h30m0s"),
            ("24h0m0s", 86_400, "24h0m0s"),
            ("1.5h", 5400, "1h30m0s"),
            (" 90s ", 90, "1m30s"),
        ] {
            let read = parse_duration(text);
            assert_eq!(read, Some(Duration::from_secs(secs)), "{text}");
            assert_eq!(read.map(duration_text).as_deref(), Some(shown));
        }
        for text in ["", "10", "s", "10x", "-10s", "10s 5", "1e3s", "10m5", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
