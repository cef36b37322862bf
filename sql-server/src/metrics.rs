//! What `/metrics` tells of this server.

use std::sync::LazyLock;

use net::metrics::{HistogramVec, IntCounterVec, IntGauge};

/// Time of statements, by kind.
pub(crate) static STATEMENT_SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    net::metrics::seconds_by("sql_server_statement_seconds", "Time of statements until their first row", &["kind"])
});

/// Failed statements, by error number.
pub(crate) static ERRORS: LazyLock<IntCounterVec> =
    LazyLock::new(|| net::metrics::counters("sql_server_errors_total", "Statements that failed", &["errno"]));

/// Statements run again after a conflict.
pub(crate) static RETRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    net::metrics::counters("sql_server_statement_retries_total", "Statements run again after a conflict", &["mode"])
});

/// Queries and changes whose plans may be kept: those that found theirs (`hit`), and those that had to be planned (`miss`).
pub(crate) static PLANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    net::metrics::counters(
        "sql_server_plan_cache_total",
        "Queries and changes that are prepared or come again, by whether their plan was kept",
        &["result"],
    )
});

/// Connections now.
pub(crate) static CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| net::metrics::gauge("sql_server_connections", "Client connections"));
