//! What can happen to a node's clocks, and how people write it: `1h`, `-30s`, `200ppm`.

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use net::config::Span;
use serde::{Deserialize, Serialize};

/// The farthest that a clock can be away.
pub(super) const JUMP_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
const DRIFT_PPM_MAX: i32 = 100_000;

/// What happens to a node's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClockChange {
    /// The wall clock steps by so many nanoseconds from where it is; back, if negative. Monotonic clocks don't notice.
    Jump(i64),
    /// All clocks gain so many microseconds in each second, instead of what they gained before.
    Drift(i32),
    /// The wall clock is right again and nothing drifts. The monotonic clocks go on from where they are.
    Reset,
}

impl ClockChange {
    /// Reads `1h` or `-30s`.
    pub(crate) fn jump(text: &str) -> anyhow::Result<ClockChange> {
        let (sign, length) = match text.split_at_checked(1) {
            Some(("-", length)) => (-1, length),
            Some(("+", length)) => (1, length),
            _ => (1, text),
        };
        match length.parse::<Span>() {
            Ok(Span(length)) if length <= JUMP_MAX => Ok(ClockChange::Jump(sign * length.as_nanos() as i64)),
            _ => {
                bail!("a clock jumps by a length of time such as 1h or, back, -30s, and by at most 10 years: '{text}'")
            }
        }
    }

    /// Reads `200ppm` or `-50ppm`.
    pub(crate) fn drift(text: &str) -> anyhow::Result<ClockChange> {
        match text.strip_suffix("ppm").and_then(|number| number.trim_end().parse().ok()) {
            Some(ppm) if (-DRIFT_PPM_MAX..=DRIFT_PPM_MAX).contains(&ppm) => Ok(ClockChange::Drift(ppm)),
            _ => bail!(
                "a clock drifts by parts in a million, such as 200ppm or, too slow, -200ppm, \
                 and by at most {DRIFT_PPM_MAX}ppm: '{text}'"
            ),
        }
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClockChange::Jump(ns) => {
                let direction = if *ns < 0 { "back" } else { "forward" };
                write!(f, "jumps {} {direction}", Span(Duration::from_nanos(ns.unsigned_abs())))
            }
            ClockChange::Drift(ppm) => write!(f, "drifts by {ppm}ppm"),
            ClockChange::Reset => f.write_str("is right again"),
        }
    }
}
