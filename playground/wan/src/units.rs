//! Delays, bandwidths and losses as people write them: `65ms`, `1gbit`, `0.1%`.
//!
//! The same spelling everywhere: in a profile, in the relay's configuration, on the control socket, in what is printed.
//! What is printed reads back as the same value. Only values that make sense can be made: no delay is negative or
//! longer than ten seconds, no bandwidth is zero, no loss is 50 % or more.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is wrong with a quantity, and how it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number with a unit.
    #[error("`{text}` is not a {what}: write a number and its unit, such as {example}")]
    Malformed {
        /// What was read.
        text: String,
        /// "delay", "bandwidth" or "loss".
        what: &'static str,
        /// How it is written.
        example: &'static str,
    },
    /// A number that no network has.
    #[error("`{text}` is no possible {what}: it has to be {range}")]
    OutOfRange {
        /// What was read.
        text: String,
        /// "delay", "bandwidth" or "loss".
        what: &'static str,
        /// What it may be.
        range: &'static str,
    },
}

/// A number as YAML and JSON may give it: `65ms` is a text there, `65` is not. Both are read, so that both get an
/// answer that says what is missing.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `65ms`
    Text(String),
    /// `65`
    Number(f64),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Text(text) => f.write_str(text.trim()),
            Scalar::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A time on the way: zero to ten seconds, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "String")]
pub struct Delay {
    nanos: u64,
}

impl Delay {
    /// The longest delay: beyond it a network is better cut.
    pub const MAX: Delay = Delay { nanos: 10_000_000_000 };

    /// This many microseconds, and no more than [`Delay::MAX`].
    pub const fn from_micros(micros: u64) -> Delay {
        let nanos = micros.saturating_mul(1_000);
        if nanos > Delay::MAX.nanos { Delay::MAX } else { Delay { nanos } }
    }

    /// This many milliseconds, and no more than [`Delay::MAX`].
    pub const fn from_millis(millis: u64) -> Delay {
        Delay::from_micros(millis.saturating_mul(1_000))
    }

    /// As nanoseconds.
    pub const fn nanos(self) -> u64 {
        self.nanos
    }

    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

impl FromStr for Delay {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Delay, UnitError> {
        let units = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("", 0.0)];
        let nanos = quantity(text, "delay", "65ms, 0.5ms or 1s", &units)?;
        if !(0.0..=Delay::MAX.nanos as f64).contains(&nanos) {
            return Err(out_of_range(text, "delay", "between 0ms and 10s"));
        }
        Ok(Delay { nanos: nanos.round() as u64 })
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nanos {
            nanos if nanos >= 1_000_000_000 && nanos % 1_000_000_000 == 0 => write!(f, "{}s", nanos / 1_000_000_000),
            nanos => write!(f, "{}ms", nanos as f64 / 1e6),
        }
    }
}

/// How many bits a second go through a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "String")]
pub enum Bandwidth {
    /// As many as the machine can copy.
    #[default]
    Unlimited,
    /// This many, from a thousand to a million million.
    Bits(u64),
}

impl FromStr for Bandwidth {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bandwidth, UnitError> {
        if text.trim() == "unlimited" {
            return Ok(Bandwidth::Unlimited);
        }
        let units = [("bit", 1.0), ("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9), ("", 0.0)];
        let bits = quantity(text, "bandwidth", "500kbit, 10mbit, 1gbit or unlimited", &units)?;
        if !(1e3..=1e12).contains(&bits) {
            let range = "between 1kbit and 1000gbit, or unlimited; to let nothing pass, cut the link";
            return Err(out_of_range(text, "bandwidth", range));
        }
        Ok(Bandwidth::Bits(bits.round() as u64))
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Bandwidth::Unlimited => f.write_str("unlimited"),
            Bandwidth::Bits(bits) if bits % 1_000_000_000 == 0 => write!(f, "{}gbit", bits / 1_000_000_000),
            Bandwidth::Bits(bits) if bits % 1_000_000 == 0 => write!(f, "{}mbit", bits / 1_000_000),
            Bandwidth::Bits(bits) if bits % 1_000 == 0 => write!(f, "{}kbit", bits / 1_000),
            Bandwidth::Bits(bits) => write!(f, "{bits}bit"),
        }
    }
}

/// How many of a million segments get lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Scalar", into = "String")]
pub struct Loss {
    per_million: u32,
}

/// Losses are below it: a half.
const LOSS_PER_MILLION_END: f64 = 500_000.0;

impl Loss {
    /// No segment gets lost.
    pub const NONE: Loss = Loss { per_million: 0 };

    /// As a probability.
    pub fn probability(self) -> f64 {
        f64::from(self.per_million) / 1e6
    }
}

impl FromStr for Loss {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Loss, UnitError> {
        let percent = quantity(text, "loss", "0.1%", &[("%", 1.0), ("", 0.0)])?;
        // Retransmissions double their wait each time and are bounded: above a half, what comes out is neither a lossy
        // link nor one that is cut.
        let per_million = (percent * 1e4).round();
        if percent < 0.0 || !(0.0..LOSS_PER_MILLION_END).contains(&per_million) {
            let range = "0% or more and less than 50%; to let nothing through, cut the link (ctl link A B --cut)";
            return Err(out_of_range(text, "loss", range));
        }
        Ok(Loss { per_million: per_million as u32 })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.per_million) / 1e4)
    }
}

macro_rules! as_text {
    ($($quantity:ty),*) => {$(
        impl TryFrom<Scalar> for $quantity {
            type Error = UnitError;

            fn try_from(scalar: Scalar) -> Result<Self, UnitError> {
                scalar.to_string().parse()
            }
        }

        impl From<$quantity> for String {
            fn from(quantity: $quantity) -> String {
                quantity.to_string()
            }
        }
    )*};
}

as_text!(Delay, Bandwidth, Loss);

/// The number in `text` times its unit's factor. The factor of no unit at all is 0: only zero needs none.
fn quantity(text: &str, what: &'static str, example: &'static str, units: &[(&str, f64)]) -> Result<f64, UnitError> {
    let malformed = || UnitError::Malformed { text: text.trim().to_owned(), what, example };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.parse().map_err(|_| malformed())?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(malformed)?;
    if *factor == 0.0 && number != 0.0 {
        return Err(malformed());
    }
    Ok(number * factor)
}

fn out_of_range(text: &str, what: &'static str, range: &'static str) -> UnitError {
    UnitError::OutOfRange { text: text.trim().to_owned(), what, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromStr<Err = UnitError> + fmt::Display>(text: &str, expect: Result<&str, &str>) {
        let got = text.parse::<T>().map(|value| value.to_string()).map_err(|error| error.to_string());
        match (&got, expect) {
            (Ok(got), Ok(expect)) => assert_eq!(got, expect, "{text}"),
            (Err(got), Err(expect)) => assert!(got.contains(expect), "{text}: {got}"),
            _ => panic!("{text}: {got:?}, not {expect:?}"),
        }
    }

    #[test]
    fn delays() {
        check::<Delay>("65ms", Ok("65ms"));
        check::<Delay>("0.5ms", Ok("0.5ms"));
        check::<Delay>("250us", Ok("0.25ms"));
        check::<Delay>("250 µs", Ok("0.25ms"));
        check::<Delay>("1s", Ok("1s"));
        check::<Delay>("1.5s", Ok("1500ms"));
        check::<Delay>("0", Ok("0ms"));
        check::<Delay>("10s", Ok("10s"));
        check::<Delay>("10.001s", Err("between 0ms and 10s"));
        check::<Delay>("-5ms", Err("between 0ms and 10s"));
        check::<Delay>("65", Err("`65` is not a delay: write a number and its unit, such as 65ms"));
        check::<Delay>("65 minutes", Err("not a delay"));
        check::<Delay>("ms", Err("not a delay"));
        check::<Delay>("1e3ms", Err("not a delay"));
        check::<Delay>("", Err("not a delay"));
    }

    #[test]
    fn bandwidths() {
        check::<Bandwidth>("500kbit", Ok("500kbit"));
        check::<Bandwidth>("10mbit", Ok("10mbit"));
        check::<Bandwidth>("1gbit", Ok("1gbit"));
        check::<Bandwidth>("1.5gbit", Ok("1500mbit"));
        check::<Bandwidth>("1234bit", Ok("1234bit"));
        check::<Bandwidth>("unlimited", Ok("unlimited"));
        check::<Bandwidth>("0", Err("cut the link"));
        check::<Bandwidth>("-1mbit", Err("cut the link"));
        check::<Bandwidth>("1tbit", Err("not a bandwidth"));
        check::<Bandwidth>("100", Err("500kbit, 10mbit"));
    }

    #[test]
    fn a_loss_that_would_work_as_a_cut_is_refused_and_the_cut_is_named() {
        for loss in ["49.99999%", "50%", "100%", "101%"] {
            check::<Loss>(loss, Err("less than 50%"));
            check::<Loss>(loss, Err("--cut"));
        }
    }

    #[test]
    fn losses() {
        check::<Loss>("0.1%", Ok("0.1%"));
        check::<Loss>("0", Ok("0%"));
        check::<Loss>("49.9 %", Ok("49.9%"));
        check::<Loss>("-1%", Err("0% or more"));
        check::<Loss>("0.1", Err("`0.1` is not a loss: write a number and its unit, such as 0.1%"));
    }

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [0, 1, 999, 123_456_789, 1_000_000_000, 9_999_999_999] {
            let delay = Delay { nanos };
            assert_eq!(delay.to_string().parse(), Ok(delay));
            let json = serde_json::to_string(&delay).expect("a text");
            assert_eq!(serde_json::from_str::<Delay>(&json).expect("reads back"), delay);
        }
        for per_million in [0, 1, 1_000, 333_333, 499_999] {
            assert_eq!(Loss { per_million }.to_string().parse(), Ok(Loss { per_million }));
        }
    }
}
