//! Metrics in Prometheus' text format: one registry per process, `/metrics` as an axum router.
//!
//! Metrics are statics made with the helpers here; in one process that runs a whole cluster (tests) they add up.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::core::Collector;
use prometheus::{Encoder, TextEncoder};

pub use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Buckets for request times in seconds: 0.1 ms doubling to 13 s, which spans a memory hit and a region failover.
const SECONDS_BUCKETS: usize = 18;

fn register<C: Collector + Clone + 'static>(made: prometheus::Result<C>) -> C {
    let metric = made.expect("metric names and labels are constants of the program");
    if let Err(e) = prometheus::default_registry().register(Box::new(metric.clone())) {
        tracing::error!("metric is not exported: {e}");
    }
    metric
}

/// A counter, registered.
pub fn counter(name: &str, help: &str) -> IntCounter {
    register(IntCounter::new(name, help))
}

/// Counters by label values, registered.
pub fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(prometheus::Opts::new(name, help), labels))
}

/// A gauge, registered.
pub fn gauge(name: &str, help: &str) -> IntGauge {
    register(IntGauge::new(name, help))
}

/// Gauges by label values, registered.
pub fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(IntGaugeVec::new(prometheus::Opts::new(name, help), labels))
}

/// A histogram of seconds, registered.
pub fn seconds(name: &str, help: &str) -> Histogram {
    register(Histogram::with_opts(prometheus::HistogramOpts::new(name, help).buckets(seconds_buckets())))
}

/// Histograms of seconds by label values, registered.
pub fn seconds_by(name: &str, help: &str, labels: &[&str]) -> HistogramVec {
    register(HistogramVec::new(prometheus::HistogramOpts::new(name, help).buckets(seconds_buckets()), labels))
}

fn seconds_buckets() -> Vec<f64> {
    (0..SECONDS_BUCKETS).map(|i| 0.0001 * f64::from(1u32 << i)).collect()
}

static RESIDENT_BYTES: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("process_resident_memory_bytes", "Resident memory of the process"));
static CPU_MILLIS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("process_cpu_milliseconds", "Processor time used by the process, user and system"));

/// Every metric of the process, as text.
pub fn text() -> String {
    if let Some(bytes) = resident_bytes() {
        RESIDENT_BYTES.set(bytes as i64);
    }
    if let Some(millis) = cpu_millis() {
        CPU_MILLIS.set(millis as i64);
    }
    let mut out = Vec::new();
    if let Err(e) = TextEncoder::new().encode(&prometheus::gather(), &mut out) {
        tracing::error!("metrics cannot be written: {e}");
    }
    String::from_utf8(out).unwrap_or_default()
}

/// `GET /metrics`, to be merged into a server's router.
pub fn router<S: Clone + Send + Sync + 'static>() -> axum::Router<S> {
    axum::Router::new().route("/metrics", get(handler))
}

async fn handler() -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text()).into_response()
}

/// Resident memory of this process, where the platform tells (Linux).
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Processor time of this process in milliseconds, where the platform tells (Linux, 100 ticks a second).
fn cpu_millis() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_metrics_are_in_the_text() {
        counter("net_test_things_total", "Things").inc_by(3);
        seconds_by("net_test_seconds", "Time", &["cmd"]).with_label_values(&["get"]).observe(0.01);
        let text = text();
        assert!(text.contains("net_test_things_total 3"), "{text}");
        assert!(text.contains("net_test_seconds_bucket{cmd=\"get\""), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}
