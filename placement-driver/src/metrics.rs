//! What `/metrics` tells about a member. Names say the unit; labels are few and fixed.

use std::sync::LazyLock;

use net::metrics::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Requests on timestamp streams.
pub(crate) static TSO_REQUESTS: LazyLock<IntCounter> =
    LazyLock::new(|| net::metrics::counter("pd_tso_requests_total", "Requests on timestamp streams"));
/// Timestamps given.
pub(crate) static TSO_TIMESTAMPS: LazyLock<IntCounter> =
    LazyLock::new(|| net::metrics::counter("pd_tso_timestamps_total", "Timestamps given"));
/// Region heartbeats taken.
pub(crate) static REGION_HEARTBEATS: LazyLock<IntCounter> =
    LazyLock::new(|| net::metrics::counter("pd_region_heartbeats_total", "Region heartbeats taken"));
/// Operators made, by description.
pub(crate) static OPERATORS: LazyLock<IntCounterVec> =
    LazyLock::new(|| net::metrics::counters("pd_operators_total", "Operators made", &["kind"]));
/// Instructions sent to stores.
pub(crate) static INSTRUCTIONS: LazyLock<IntCounter> =
    LazyLock::new(|| net::metrics::counter("pd_instructions_total", "Instructions sent to stores"));
/// 1 while this member leads.
pub(crate) static LEADS: LazyLock<IntGauge> =
    LazyLock::new(|| net::metrics::gauge("pd_leads", "1 while this member is the PD leader"));
/// Regions known.
pub(crate) static REGIONS: LazyLock<IntGauge> =
    LazyLock::new(|| net::metrics::gauge("pd_regions", "Regions known to the leader"));
/// Stores registered.
pub(crate) static STORES: LazyLock<IntGauge> =
    LazyLock::new(|| net::metrics::gauge("pd_stores", "Stores registered, without tombstones"));
/// One round of append, sync and apply in the metadata store.
pub(crate) static STORE_SYNC: LazyLock<Histogram> =
    LazyLock::new(|| net::metrics::seconds("pd_metastore_append_seconds", "Appending and syncing the metadata log"));

/// Makes every metric appear, even before its first use.
pub(crate) fn register() {
    for counter in [&TSO_REQUESTS, &TSO_TIMESTAMPS, &REGION_HEARTBEATS, &INSTRUCTIONS] {
        counter.inc_by(0);
    }
    for gauge in [&LEADS, &REGIONS, &STORES] {
        gauge.add(0);
    }
    LazyLock::force(&OPERATORS);
    LazyLock::force(&STORE_SYNC);
}
