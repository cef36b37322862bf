//! What a node's disk can do wrong, and how people write it.

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use net::config::Span;
use serde::{Deserialize, Serialize};

/// The slowest that a sync can be made.
pub(super) const SLOW_MAX: Duration = Duration::from_secs(60);

/// What a node's disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DiskFault {
    /// Works.
    None,
    /// Takes that much longer for each sync.
    Slow(Duration),
    /// Fails writes and syncs.
    Fail,
    /// Fails writes for want of space.
    Full,
}

impl DiskFault {
    /// Reads `1s`.
    pub(crate) fn slow(text: &str) -> anyhow::Result<DiskFault> {
        match text.parse::<Span>() {
            Ok(Span(length)) if !length.is_zero() && length <= SLOW_MAX => Ok(DiskFault::Slow(length)),
            _ => bail!(
                "a disk is slow by a length of time such as 500ms or 1s, which each sync takes longer, \
                 and by at most 60s: '{text}'"
            ),
        }
    }
}

impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskFault::None => f.write_str("works"),
            DiskFault::Slow(by) => write!(f, "takes {} longer for each sync", Span(*by)),
            DiskFault::Fail => f.write_str("fails"),
            DiskFault::Full => f.write_str("is full"),
        }
    }
}
