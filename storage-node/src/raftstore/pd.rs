//! The store's side of its talk with PD: reports go out, commands come back as messages.
//!
//! A report that cannot be queued is dropped, since the next one says it all again; a question always gets an answer,
//! if only "PD did not say".

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::Engine;
use futures::future::BoxFuture;
use kv_client::pd::PdClient;
use proto::pdpb;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::convert;
use super::handle::Shared;
use super::metrics;
use super::msg::{Msg, PdTask};
use crate::replication::RegionContext;

/// What a node's directory holds, as its file of the format says.
pub const FORMAT_KIND: &str = "storage node";

/// Tasks that may wait.
const QUEUE_MAX: usize = 4096;
/// What is done before a hand-over may take so long; the hand-over itself matters more.
const BEFORE_TRANSFER_MAX: Duration = Duration::from_secs(1);

/// Does what is to be done before this store hands over the leadership of a region on PD's word, or splits one: what is
/// in the memory of its leader only would be lost.
pub type BeforeTransfer = Arc<dyn Fn(RegionContext) -> BoxFuture<'static, ()> + Send + Sync>;

/// Where tasks for PD are put.
#[derive(Clone)]
pub struct PdWorker {
    queue: mpsc::Sender<PdTask>,
}

/// What a store heartbeat says of the disk.
#[derive(Clone, Debug)]
pub struct DiskUse {
    /// Where the data is; its file system is what capacity means.
    pub data_dir: PathBuf,
    /// A smaller capacity than the file system's; zero for none.
    pub capacity: u64,
    /// The newest format that this node reads.
    pub format: u32,
}

impl DiskUse {
    /// Writes the cluster's format from now on, if the directory is allowed to hold it; at the latest the next heartbeat
    /// brings it again.
    fn follow_format<E: Engine>(&self, shared: &Shared<E>, cluster: u32) {
        let format = cluster.min(self.format);
        if format <= shared.format() {
            return;
        }
        match net::format::write(&self.data_dir, FORMAT_KIND, format) {
            Ok(()) => {
                tracing::info!(format, "all stores read it: entries are written in this format from now on");
                shared.set_format(format);
            }
            Err(error) => tracing::warn!(%error, format, "the directory cannot take a newer format"),
        }
    }

    /// Capacity and what is available of it, in bytes.
    fn measure(&self, used: u64) -> (u64, u64) {
        let (mut capacity, mut available) = (0, 0);
        if let Ok(stat) = rustix::fs::statvfs(&self.data_dir) {
            capacity = stat.f_blocks * stat.f_frsize;
            available = stat.f_bavail * stat.f_frsize;
        }
        if self.capacity > 0 && (capacity == 0 || self.capacity < capacity) {
            capacity = self.capacity;
            available = available.min(capacity.saturating_sub(used));
        }
        (capacity, available)
    }
}

/// Bytes of the files under a directory. Files that come and go while it is walked are skipped.
fn directory_bytes(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |e: std::fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => directory_bytes(&e.path()),
        Ok(m) => m.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

impl PdWorker {
    /// Starts the tasks on a runtime; they end with the token.
    pub fn start<E: Engine>(
        runtime: &tokio::runtime::Handle,
        shared: Arc<Shared<E>>,
        pd: Arc<dyn PdClient>,
        disk: DiskUse,
        before_transfer: BeforeTransfer,
        stop: CancellationToken,
    ) -> Self {
        let (queue, mut tasks) = mpsc::channel(QUEUE_MAX);
        let work = async move {
            let start_time = unix_seconds();
            let mut heartbeats = pd.region_heartbeats();
            let mut last_store_heartbeat = start_time;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    Some(command) = heartbeats.receiver.recv() => {
                        if !moves_leader(&command, shared.store_id) {
                            shared.inbox.push(Msg::PdCommand(Box::new(command)));
                            continue;
                        }
                        let (before, shared) = (before_transfer(context_of(&command)), shared.clone());
                        tokio::spawn(async move {
                            let _ = tokio::time::timeout(BEFORE_TRANSFER_MAX, before).await;
                            shared.inbox.push(Msg::PdCommand(Box::new(command)));
                        });
                    }
                    task = tasks.recv() => match task {
                        None => return,
                        Some(PdTask::RegionHeartbeat(heartbeat)) => {
                            let _ = heartbeats.sender.try_send(*heartbeat);
                        }
                        Some(PdTask::StoreHeartbeat(mut stats)) => {
                            let now = unix_seconds();
                            stats.start_time = start_time as u32;
                            stats.interval = Some(pdpb::TimeInterval {
                                start_timestamp: last_store_heartbeat,
                                end_timestamp: now,
                            });
                            last_store_heartbeat = now;
                            metrics::REGIONS.set(i64::from(stats.region_count));
                            let (pd, disk, shared) = (pd.clone(), disk.clone(), shared.clone());
                            tokio::spawn(async move { store_heartbeat(&*pd, &disk, &shared, *stats).await });
                        }
                        Some(task) => {
                            tokio::spawn(answer(task, pd.clone(), shared.clone(), before_transfer.clone()));
                        }
                    }
                }
            }
        };
        runtime.spawn(work);
        PdWorker { queue }
    }

    /// Queues tasks. Never blocks.
    pub fn perform<E: Engine>(&self, shared: &Shared<E>, tasks: Vec<PdTask>) {
        for task in tasks {
            if let Err(e) = self.queue.try_send(task)
                && let PdTask::AskSplit { token, .. } = e.into_inner()
            {
                shared.inbox.push(Msg::SplitIds { token, result: Err("too many tasks wait for PD".into()) });
            }
        }
    }
}

/// Whether a command of PD moves the leadership away from this store, which leads the region: by itself, or since a leader
/// that is to leave, or to vote no more, hands over first.
pub fn moves_leader(command: &pdpb::RegionHeartbeatResponse, store_id: u64) -> bool {
    use proto::eraftpb::ConfChangeType;
    let several = command.change_peer_v2.iter().flat_map(|change| &change.changes);
    command.transfer_leader.is_some()
        || command.change_peer.iter().chain(several).any(|change| {
            change.change_type() != ConfChangeType::AddNode
                && change.peer.as_ref().is_some_and(|peer| peer.store_id == store_id)
        })
}

/// The region that a command of PD is for.
pub fn context_of(command: &pdpb::RegionHeartbeatResponse) -> RegionContext {
    let epoch = convert::epoch_from_proto(command.region_epoch.as_ref());
    RegionContext { region_id: command.region_id, epoch, ..RegionContext::default() }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

async fn store_heartbeat<E: Engine>(
    pd: &dyn PdClient,
    disk: &DiskUse,
    shared: &Shared<E>,
    mut stats: pdpb::StoreStats,
) {
    let measured = {
        let disk = disk.clone();
        tokio::task::spawn_blocking(move || {
            let used = directory_bytes(&disk.data_dir);
            (used, disk.measure(used))
        })
    };
    if let Ok((used, (capacity, available))) = measured.await {
        (stats.used_size, stats.capacity, stats.available) = (used, capacity, available);
    }
    stats.used_memory = net::metrics::resident_bytes().unwrap_or(0);
    match pd.store_heartbeat(stats).await {
        Ok(response) => disk.follow_format(shared, response.meridian_format),
        Err(e) => tracing::info!("store heartbeat: {e}"),
    }
}

async fn answer<E: Engine>(
    task: PdTask,
    pd: Arc<dyn PdClient>,
    shared: Arc<Shared<E>>,
    before_transfer: BeforeTransfer,
) {
    match task {
        PdTask::AskSplit { token, region, count } => {
            let ids = pd.ask_batch_split(convert::region_to_proto(&region), count).await;
            let ctx = RegionContext { region_id: region.id, epoch: region.epoch, ..RegionContext::default() };
            let _ = tokio::time::timeout(BEFORE_TRANSFER_MAX, before_transfer(ctx)).await;
            shared.inbox.push(Msg::SplitIds { token, result: ids.map_err(|e| e.to_string()) });
        }
        PdTask::ReportSplit(regions) => {
            let regions = regions.iter().map(convert::region_to_proto).collect();
            if let Err(e) = pd.report_batch_split(regions).await {
                tracing::info!("split not reported: {e}");
            }
        }
        PdTask::CheckRegion { region_id } => {
            // A failure is not "PD does not know it": the check is repeated.
            if let Ok(info) = pd.get_region_by_id(region_id).await {
                let region = info.map(|i| convert::region_from_proto(&i.region));
                shared.inbox.push(Msg::RegionChecked { region_id, region });
            }
        }
        PdTask::RegionHeartbeat(_) | PdTask::StoreHeartbeat(_) => {}
    }
}
