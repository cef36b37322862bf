//! What the client counts.

use std::sync::LazyLock;

use net::metrics::{HistogramVec, IntCounterVec, counters, seconds_by};

/// Time from queueing a command to its answer.
pub(crate) static REQUEST_SECONDS: LazyLock<HistogramVec> =
    LazyLock::new(|| seconds_by("kv_client_request_seconds", "Time from queueing a command to its answer", &["cmd"]));

/// Attempts that a store or region refused, by what the client did about it.
pub(crate) static RETRIES: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("kv_client_retries_total", "Commands tried again, by reason", &["reason"]));

/// How transactions were committed.
pub(crate) static COMMITS: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("kv_client_commits_total", "Transactions by the way they were committed", &["mode"]));
