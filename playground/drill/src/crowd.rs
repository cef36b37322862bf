//! The clients of a drill, in every region, and how many it takes for the wanted rate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::cluster::Door;
use crate::door::Doors;
use crate::history::{Kind, Op};
use crate::rto;
use crate::workload::{Client, Pace, RATE_PER_REGION, Shared, Workload};

/// Clients per region and kind to begin with.
pub(crate) const CLIENTS: u32 = 8;
/// Clients per region and kind at most: what operations of one and a half seconds need for the wanted rate.
const CLIENTS_MAX: u32 = 48;

/// The clients, and what they need. Dropping it ends them.
pub(crate) struct Crowd {
    /// What they record, and when they stop.
    pub(crate) shared: Arc<Shared>,
    tasks: JoinSet<()>,
    /// Dropped with the crowd, which ends the probers.
    _probers: JoinSet<()>,
    regions: Vec<(String, Arc<Doors>, [Arc<Pace>; 2])>,
    workload: Workload,
    seed: u64,
    next_process: u32,
}

impl Crowd {
    /// No clients yet, for these regions and the doors that each has.
    pub(crate) fn new(regions: impl Iterator<Item = (String, Vec<Door>)>, workload: Workload, seed: u64) -> Crowd {
        let mut probers = JoinSet::new();
        let regions = regions.map(|(region, doors)| {
            let doors = Arc::new(Doors::new(&region, doors));
            probers.spawn(doors.clone().probe(workload.database()));
            (region, doors, [Arc::new(Pace::default()), Arc::new(Pace::default())])
        });
        let regions = regions.collect();
        let shared = Arc::new(Shared::default());
        Crowd { shared, tasks: JoinSet::new(), _probers: probers, regions, workload, seed, next_process: 0 }
    }

    /// How many clients were added.
    pub(crate) fn clients(&self) -> u32 {
        self.next_process
    }

    /// Starts clients of a region, by its number.
    pub(crate) fn add(&mut self, region: usize, kind: Kind, count: u32) {
        let (name, doors, paces) = &self.regions[region];
        for _ in 0..count {
            let client = Client {
                process: self.next_process,
                region: name.clone(),
                workload: self.workload,
                kind,
                doors: doors.clone(),
                pace: paces[usize::from(kind == Kind::Write)].clone(),
                shared: self.shared.clone(),
                seed: self.seed,
            };
            self.next_process += 1;
            self.tasks.spawn(client.work());
        }
    }

    /// Lets every client finish its operation.
    pub(crate) async fn stop(&mut self) -> Vec<Op> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.shared.recorder.take()
    }

    /// `us 30 reads 29 writes/s; eu …` between two times.
    pub(crate) fn rates(&self, from_us: u64, to_us: u64) -> String {
        let ops = self.shared.recorder.since(from_us);
        let seconds = (to_us.saturating_sub(from_us) as f64 / 1e6).max(0.001);
        let region = |(name, _, _): &(String, Arc<Doors>, [Arc<Pace>; 2])| {
            let rate = |kind| {
                let of = ops.iter().filter(|op| op.region == *name && op.kind == kind && rto::answered(op));
                of.count() as f64 / seconds
            };
            format!("{name} {:.0} reads {:.0} writes/s", rate(Kind::Read), rate(Kind::Write))
        };
        self.regions.iter().map(region).collect::<Vec<_>>().join(", ")
    }
}

/// Clients that the wanted rate takes when `count` operations took `sum_us` together: as many as are under way at a time,
/// and a third more. Conflicts make no clients, which would make more conflicts.
pub(crate) fn clients_needed(count: u64, sum_us: u64) -> u32 {
    let mean_s = if count == 0 { f64::INFINITY } else { sum_us as f64 / 1e6 / count as f64 };
    (RATE_PER_REGION as f64 * mean_s * 1.33).ceil().clamp(CLIENTS.into(), CLIENTS_MAX.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_make_clients_and_never_too_many() {
        assert_eq!(clients_needed(100, 100 * 50_000), CLIENTS);
        assert_eq!(clients_needed(100, 100 * 600_000), 24);
        assert_eq!(clients_needed(0, 0), CLIENTS_MAX);
    }
}
