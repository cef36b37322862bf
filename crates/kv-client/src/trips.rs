//! Round trips of a piece of work: how often PD and stores were asked on its behalf, and how often in another region.
//!
//! Whoever runs the work hands it to [`Trips::of`]; what it asks until then is counted, however deep below. What it leaves to
//! tasks of their own (second commits, heartbeats of locks) is not its own any more, and not counted. Of a timestamp that
//! many callers share one request for, each counts its own.
//!
//! Where a store is, its label `region` says; where PD's leader is, the place that it tells its clients
//! (`dc_location`). What tells none counts as near.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The label that says where a server is.
pub const REGION_LABEL: &str = "region";

/// Counts the round trips of one session.
#[derive(Debug, Default)]
pub struct Trips {
    /// Where the session's server is.
    region: Option<Arc<str>>,
    pd: AtomicU64,
    pd_away: AtomicU64,
    storage: AtomicU64,
    storage_away: AtomicU64,
}

/// Numbers of round trips.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TripCounts {
    /// To PD.
    pub pd: u64,
    /// Of those, into another region.
    pub pd_away: u64,
    /// To stores.
    pub storage: u64,
    /// Of those, into another region.
    pub storage_away: u64,
}

impl TripCounts {
    /// Those since an earlier moment.
    pub fn since(self, earlier: TripCounts) -> TripCounts {
        TripCounts {
            pd: self.pd - earlier.pd,
            pd_away: self.pd_away - earlier.pd_away,
            storage: self.storage - earlier.storage,
            storage_away: self.storage_away - earlier.storage_away,
        }
    }

    /// Those of both.
    pub fn and(self, other: TripCounts) -> TripCounts {
        TripCounts {
            pd: self.pd + other.pd,
            pd_away: self.pd_away + other.pd_away,
            storage: self.storage + other.storage,
            storage_away: self.storage_away + other.storage_away,
        }
    }

    /// Those that left the region.
    pub fn away(self) -> u64 {
        self.pd_away + self.storage_away
    }
}

tokio::task_local! {
    static CURRENT: Arc<Trips>;
}

impl Trips {
    /// Of a server in this region, if it knows one.
    pub fn new(region: Option<&str>) -> Trips {
        Trips { region: region.map(Arc::from), ..Trips::default() }
    }

    /// Runs work, and counts its trips here.
    pub async fn of<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self.clone(), work).await
    }

    /// The trips so far.
    pub fn counts(&self) -> TripCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TripCounts {
            pd: load(&self.pd),
            pd_away: load(&self.pd_away),
            storage: load(&self.storage),
            storage_away: load(&self.storage_away),
        }
    }

    fn is_away(&self, region: Option<&str>) -> bool {
        matches!((self.region.as_deref(), region), (Some(own), Some(other)) if own != other)
    }
}

/// The trips so far of whoever runs this work; none where nobody counts.
pub fn current() -> TripCounts {
    CURRENT.try_with(|trips| trips.counts()).unwrap_or_default()
}

fn count(region: Option<&str>, all: impl Fn(&Trips) -> &AtomicU64, away: impl Fn(&Trips) -> &AtomicU64) {
    let _ = CURRENT.try_with(|trips| {
        all(trips).fetch_add(1, Ordering::Relaxed);
        if trips.is_away(region) {
            away(trips).fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// A request to PD's leader in this region.
pub(crate) fn to_pd(region: Option<&str>) {
    count(region, |trips| &trips.pd, |trips| &trips.pd_away);
}

/// A request to a store in this region.
pub(crate) fn to_storage(region: Option<&str>) {
    count(region, |trips| &trips.storage, |trips| &trips.storage_away);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn trips_are_counted_for_whoever_runs_the_work() {
        let (own, other) = (Arc::new(Trips::new(Some("eu"))), Arc::new(Trips::new(None)));
        let work = |trips: Arc<Trips>| async move {
            trips
                .of(async {
                    to_pd(Some("eu"));
                    tokio::task::yield_now().await;
                    to_pd(None);
                    to_storage(Some("us"));
                    current()
                })
                .await
        };
        to_storage(Some("us"));
        let (a, b) = tokio::join!(work(own.clone()), work(other.clone()));
        assert_eq!(a, TripCounts { pd: 2, pd_away: 0, storage: 1, storage_away: 1 });
        assert_eq!(b, TripCounts { pd: 2, pd_away: 0, storage: 1, storage_away: 0 }, "it does not know where it is");
        assert_eq!(current(), TripCounts::default());
        let before = own.counts();
        work(own.clone()).await;
        assert_eq!(own.counts().since(before), a);
        assert_eq!(a.away(), 1);
    }
}
