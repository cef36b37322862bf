//! Configuration: a YAML file into a typed struct, then flags on top; and values with units.
//!
//! Structs use `#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]`, so that a misspelt key is
//! refused by name with its file and line, and a missing one takes its default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// A key or value is wrong; the text names it with its place.
    #[error("configuration file {path}: {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The key, what is wrong with it, line and column.
        reason: String,
    },
}

/// Reads a configuration file; without one, the defaults. An empty file means the defaults too.
pub fn load<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, ConfigError> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = std::fs::read_to_string(path).map_err(|reason| ConfigError::Read { path: path.into(), reason })?;
    parse(&text, path)
}

/// Parses the text of a configuration file; `path` is for messages.
pub fn parse<T: DeserializeOwned + Default>(text: &str, path: &Path) -> Result<T, ConfigError> {
    match serde_yaml::from_str::<Option<T>>(text) {
        Ok(value) => Ok(value.unwrap_or_default()),
        Err(e) => Err(ConfigError::Parse { path: path.into(), reason: with_line(&e, text) }),
    }
}

/// The parser's message; an unknown key with its own line. The parser knows the place of the mapping that the key is in
/// only, and doesn't say it if that is the file's beginning.
fn with_line(error: &serde_yaml::Error, text: &str) -> String {
    let reason = error.to_string();
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    let unknown = reason.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
    let Some((key, _)) = unknown else { return reason };
    let is_it = |line: &str| {
        let bare = line.trim_start();
        line.len() - bare.len() == column - 1
            && bare.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    match text.lines().enumerate().skip(line - 1).find(|(_, line)| is_it(line)) {
        Some((index, _)) => {
            let said = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(said, _)| said);
            format!("{said} at line {}", index + 1)
        }
        None => reason,
    }
}

/// A size in bytes, written `96MiB`, `1.5GiB`, `10MB` or plain `4096`. `KB`, `MB` and `GB` mean 1024 steps as
/// TiDB's do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// So many kibibytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// The number of bytes, capped to what the platform can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The value has no number, or a unit that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {what}: write a number and a unit, such as {example}")]
pub struct UnitError {
    value: String,
    what: &'static str,
    example: &'static str,
}

/// Splits `"1.5GiB"` into 1.5 and `"gib"`.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..split].parse().ok()?;
    Some((number, text[split..].trim().to_ascii_lowercase()))
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError { value: text.to_string(), what: "size", example: "96MiB or 4GiB" };
        let (number, unit) = number_and_unit(text).ok_or_else(error)?;
        let factor: u64 = match unit.as_str() {
            "" | "b" => 1,
            "k" | "kb" | "kib" => 1 << 10,
            "m" | "mb" | "mib" => 1 << 20,
            "g" | "gb" | "gib" => 1 << 30,
            "t" | "tb" | "tib" => 1 << 40,
            _ => return Err(error()),
        };
        Ok(Self((number * factor as f64).round() as u64))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A length of time, written `500ms`, `3s`, `10m`, `1h30m` or `2d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// So many milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// So many seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError { value: text.to_string(), what: "length of time", example: "500ms, 3s or 1h30m" };
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
            let number: f64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let seconds = match rest[..letters].trim() {
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return Err(error()),
            };
            rest = &rest[letters..];
            total += Duration::try_from_secs_f64(number * seconds).map_err(|_| error())?;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros == 0 {
            return f.write_str("0s");
        }
        for (factor, unit) in
            [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s"), (1000, "ms")]
        {
            if micros.is_multiple_of(factor) {
                return write!(f, "{}{unit}", micros / factor);
            }
        }
        write!(f, "{micros}us")
    }
}

/// Where a server is: keys and values that placement rules name, such as `region` and `zone`.
pub type Labels = BTreeMap<String, String>;

/// Labels of a flag: `region=eu-west-1`, `zone=a`. Empty ones are passed over.
pub fn parse_labels(pairs: &[String]) -> Result<Labels, String> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form key=value"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    pairs.iter().filter(|p| !p.is_empty()).map(pair).collect()
}

/// Refuses labels that a rule could not name, or not without quotes.
pub fn check_labels(labels: &Labels) -> Result<(), String> {
    let ok = |s: &str| !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || "-_./".contains(c));
    match labels.iter().find(|(key, value)| !ok(key) || !ok(value)) {
        Some((key, value)) => Err(format!("{key}={value} may only have letters, digits and - _ . /")),
        None => Ok(()),
    }
}

macro_rules! serde_through_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a number with a unit")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.to_string().parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

serde_through_text!(ByteSize);
serde_through_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
    struct Raft {
        region_split_size: ByteSize,
        tick: Span,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
    struct Config {
        addr: String,
        raft: Raft,
    }

    fn read(text: &str) -> Result<Config, String> {
        parse(text, Path::new("node.yaml")).map_err(|e| e.to_string())
    }

    #[test]
    fn values_with_units() {
        let config = read("addr: a:1\nraft:\n  region-split-size: 96MiB\n  tick: 1h30m\n").unwrap();
        assert_eq!(config.raft, Raft { region_split_size: ByteSize::mib(96), tick: Span::secs(5400) });
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("# only a comment\n").unwrap(), Config::default());
        assert_eq!("4096".parse(), Ok(ByteSize(4096)));
        assert_eq!("1.5GB".parse(), Ok(ByteSize::mib(1536)));
        assert_eq!("250ms".parse(), Ok(Span::millis(250)));
        for text in ["96MiB", "3GiB", "17B", "1TiB"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["3s", "90s", "2d", "15ms", "7us"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string().parse::<Span>(), text.parse::<Span>());
        }
    }

    #[test]
    fn refusals_name_file_key_and_place() {
        let unknown = read("raft:\n  region-split-sise: 1MiB\n").unwrap_err();
        assert!(unknown.contains("node.yaml") && unknown.contains("region-split-sise"), "{unknown}");
        assert!(unknown.contains("line 2"), "{unknown}");
        // The line is the key's own, wherever its mapping begins.
        for (text, line) in [
            ("adr: a:1\n", 1),
            ("# a comment\naddr: a:1\nadr: b\n", 3),
            ("addr: a:1\nraft:\n  tick: 1s\n  # more\n  adr: 4\n", 5),
            ("raft:\n  tick: 1s\nadr : 4\n", 3),
        ] {
            let unknown = read(text).unwrap_err();
            assert!(unknown.contains("unknown field `adr`"), "{unknown}");
            assert!(unknown.ends_with(&format!("at line {line}")), "{unknown}");
        }
        let unit = read("raft:\n  tick: 3 parsecs\n").unwrap_err();
        assert!(unit.contains("3 parsecs") && unit.contains("raft.tick"), "{unit}");
        assert!("3".parse::<Span>().is_err());
        assert!("".parse::<ByteSize>().is_err());
        let missing = crate::error_line(&load::<Config>(Some(Path::new("/no/such/file.yaml"))).unwrap_err());
        assert_eq!(missing, "configuration file /no/such/file.yaml: No such file or directory (os error 2)");
    }
}
