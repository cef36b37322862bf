//! A storage node put together: engine, log, Raft store, transactions, gRPC and status ports.
//!
//! [`Node::start`] takes from outside what a test wants to own (listeners, the placement driver, connections), so that a
//! whole cluster runs in one process as well as in many. Starting means, in this order: know who this store is, bootstrap
//! the cluster if nobody did, open the regions, register with the placement driver, serve.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use axum::extract::State;
use axum::routing::get;
use engine::Engine;
use engine::disk::{FjallEngine, FjallOptions};
use engine::hot::{HotEngine, HotOptions, HotStats};
use futures::future::BoxFuture;
use kv_client::pd::{PdClient, PdError};
use net::grpc::{Channels, ServeOptions};
use proto::meridian_raft::StoreIdent;
use proto::metapb;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::coprocessor::DagCoprocessor;
use crate::gc::Collector;
use crate::raftstore::convert;
use crate::raftstore::driver::{Driver, Outside};
use crate::raftstore::handle::{RaftStoreHandle, Shared};
use crate::raftstore::log::{DiskLog, RaftLog};
use crate::raftstore::msg::Effects;
use crate::raftstore::pd::{BeforeTransfer, DiskUse, FORMAT_KIND, PdWorker};
use crate::raftstore::store::{self, Store};
use crate::raftstore::transport::Transport;
use crate::replication::{Epoch, Peer, PeerRole, Region};
use crate::server::{DeadlockService, TikvService};
use crate::txn::detector::{self, DetectorLocator};
use crate::txn::{Storage, StorageOptions, TimestampOracle};

/// Between attempts to reach the placement driver while starting.
const PD_RETRY: Duration = Duration::from_secs(1);
/// How long open connections may go on after a stop is asked for.
const GRACE: Duration = Duration::from_millis(500);

/// How often the metrics of hot ranges are brought up to date.
const SHOW_HOT: Duration = Duration::from_secs(2);

/// What a node gets from outside.
pub struct NodeParts {
    /// Where it serves gRPC.
    pub listener: TcpListener,
    /// Where it serves metrics and health, if anywhere.
    pub status_listener: Option<TcpListener>,
    /// The placement driver.
    pub pd: Arc<dyn PdClient>,
    /// Connections to other nodes.
    pub channels: Channels,
}

/// What keeps a node's data: on disk, and in memory where it is read.
pub type StoreEngine = HotEngine<FjallEngine>;

/// A running node.
pub struct Node<E: Engine = StoreEngine> {
    addr: SocketAddr,
    status_addr: Option<SocketAddr>,
    handle: RaftStoreHandle<E>,
    driver: Option<Driver<E>>,
    /// Why the store failed, once it has.
    failure: Arc<OnceLock<String>>,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// Sends effects to the transport and to PD.
struct Shell<E: Engine> {
    transport: Transport<E>,
    pd: PdWorker,
    shared: Arc<Shared<E>>,
}

impl<E: Engine> Outside<E> for Shell<E> {
    fn perform(&self, effects: Effects<E>) {
        self.transport.send(effects.messages);
        for snapshot in effects.snapshots {
            self.transport.send_snapshot(snapshot);
        }
        if !effects.pd.is_empty() {
            self.pd.perform(&self.shared, effects.pd);
        }
    }
}

/// Timestamps from the placement driver.
struct PdOracle(Arc<dyn PdClient>);

#[async_trait::async_trait]
impl TimestampOracle for PdOracle {
    async fn timestamp(&self) -> Result<codec::timestamp::Timestamp, String> {
        self.0.timestamp().await.map_err(|e| e.to_string())
    }
}

/// The node that leads the first region, where the cluster's wait-for graph is.
struct FirstRegionLeader {
    pd: Arc<dyn PdClient>,
    channels: Channels,
}

#[async_trait::async_trait]
impl DetectorLocator for FirstRegionLeader {
    async fn locate(&self) -> Option<tonic::transport::Channel> {
        let region = self.pd.get_region(b"").await.ok()??;
        let store = self.pd.get_store(region.leader?.store_id).await.ok()??;
        self.channels.get(&store.address).ok()
    }
}

impl Node<StoreEngine> {
    /// Starts a node on the data of `config.data_dir`.
    ///
    /// Boxed, so that the node is compiled here: an `async fn` is compiled with those who await it, once more in every
    /// program and test that starts a node.
    pub fn start(config: Config, parts: NodeParts) -> BoxFuture<'static, anyhow::Result<Node<StoreEngine>>> {
        Box::pin(Self::open(config, parts))
    }

    async fn open(config: Config, parts: NodeParts) -> anyhow::Result<Node<StoreEngine>> {
        let dir = config.data_dir.clone();
        let options = FjallOptions {
            cache_bytes: config.engine.block_cache.0,
            memtable_bytes: config.engine.memtable.0,
            worker_threads: config.engine.background_threads,
            ..FjallOptions::default()
        };
        let hot = HotOptions { bytes: config.engine.hot.0 };
        let newest = config.format;
        let (engine, log) = tokio::task::spawn_blocking(move || open(&dir, options, newest)).await??;
        let engine = HotEngine::new(engine, hot).context("start the loader of hot ranges")?;
        let mut node = Node::start_with(config, parts, engine.clone(), log).await?;
        let stop = node.stop.clone();
        node.tasks.push(tokio::spawn(async move {
            stop.run_until_cancelled(show_hot_ranges(engine)).await;
        }));
        Ok(node)
    }
}

/// Keeps the metrics of hot ranges up to date.
async fn show_hot_ranges(engine: StoreEngine) {
    let mut shown = HotStats::default();
    loop {
        let stats = engine.stats();
        metrics::HOT_BYTES.add(stats.bytes as i64 - shown.bytes as i64);
        metrics::HOT_SEGMENTS.add(stats.segments as i64 - shown.segments as i64);
        metrics::HOT_HITS.inc_by(stats.hits - shown.hits);
        metrics::HOT_MISSES.inc_by(stats.misses - shown.misses);
        metrics::HOT_LOADS.inc_by(stats.loads - shown.loads);
        metrics::HOT_EVICTIONS.inc_by(stats.evictions - shown.evictions);
        shown = stats;
        tokio::time::sleep(SHOW_HOT).await;
    }
}

mod metrics {
    use std::sync::LazyLock;

    use net::metrics::{IntCounter, IntGauge, counter, gauge};

    /// Memory of the ranges that are kept in memory.
    pub(super) static HOT_BYTES: LazyLock<IntGauge> =
        LazyLock::new(|| gauge("storage_node_hot_bytes", "memory of hot ranges"));
    /// Their number.
    pub(super) static HOT_SEGMENTS: LazyLock<IntGauge> =
        LazyLock::new(|| gauge("storage_node_hot_segments", "ranges that are whole in memory"));
    /// Reads from memory.
    pub(super) static HOT_HITS: LazyLock<IntCounter> =
        LazyLock::new(|| counter("storage_node_hot_hits_total", "gets, and segments of scans, read from memory"));
    /// Reads that went on to the disk engine.
    pub(super) static HOT_MISSES: LazyLock<IntCounter> = LazyLock::new(|| {
        counter("storage_node_hot_misses_total", "gets and scans that found their place not in memory")
    });
    /// Ranges brought into memory.
    pub(super) static HOT_LOADS: LazyLock<IntCounter> =
        LazyLock::new(|| counter("storage_node_hot_loads_total", "ranges brought into memory"));
    /// Ranges that went for others.
    pub(super) static HOT_EVICTIONS: LazyLock<IntCounter> =
        LazyLock::new(|| counter("storage_node_hot_evictions_total", "ranges taken out of memory"));
}

/// Opens both halves of a store. One without the other is not a store: without its log it does not know what it voted for
/// and acknowledged, and would help others to forget it, too.
fn open(dir: &Path, options: FjallOptions, newest: u32) -> anyhow::Result<(FjallEngine, DiskLog)> {
    std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let (db, raft) = (dir.join("db"), dir.join("raft"));
    net::format::of_directory(dir, FORMAT_KIND, newest, db.exists() || raft.exists())?;
    let had_log = std::fs::read_dir(&raft).is_ok_and(|mut files| files.next().is_some());
    let engine = FjallEngine::open(&db, options).context("open the storage engine")?;
    let known = store::read_ident(&engine)?.is_some();
    if known && !had_log {
        bail!(
            "the raft log of this store is gone ({} is empty): put it back, or remove {} as well and let the placement \
             driver make the replicas anew, after deleting the store there",
            raft.display(),
            db.display()
        );
    }
    let log = DiskLog::open(&raft).context("open the raft log")?;
    if !known && !log.regions().is_empty() {
        bail!(
            "the data of this store is gone ({} has no store's identity) and its raft log is there: put the data back, or \
             remove {} as well and let the placement driver make the replicas anew, after deleting the store there",
            db.display(),
            raft.display()
        );
    }
    Ok((engine, log))
}

impl<E: Engine> Node<E> {
    /// Starts a node on an engine and a log from outside.
    pub async fn start_with<L: RaftLog + Sync>(
        config: Config,
        parts: NodeParts,
        engine: E,
        log: L,
    ) -> anyhow::Result<Node<E>> {
        let NodeParts { listener, status_listener, pd, channels } = parts;
        let addr = listener.local_addr()?;
        let status_addr = status_listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let mut me = describe(&config, addr, status_addr);
        me.id = identify(&engine, &*pd).await?;
        bootstrap(&engine, &*pd, &me).await?;
        until_reached(|| pd.put_store(me.clone())).await.context("register the store")?;

        // Leases are counted by it, so it runs while the machine sleeps. Zero means "no lease" to readers.
        let clock: crate::raftstore::handle::Clock = Arc::new(|| 1 + net::clock::since_boot().as_nanos() as u64);
        let cfg = config.store_config();
        let tick = Duration::from_nanos(cfg.tick_nanos);
        let shared = Shared::new(me.id, engine, clock, cfg.entry_bytes_max);
        let handle = RaftStoreHandle::new(shared.clone());
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Handle::current();
        let transport = Transport::new(runtime.clone(), shared.clone(), pd.clone(), channels.clone(), stop.clone());
        let disk = DiskUse { data_dir: config.data_dir.clone(), capacity: config.capacity.0, format: config.format };
        let storage = Storage::new(handle.clone(), Some(Arc::new(PdOracle(pd.clone()))), StorageOptions::default());
        let before_transfer = before_transfer(storage.clone());
        storage.safe_point().raise(until_reached(|| pd.gc_safe_point()).await.context("the safe point")?);
        let collector = Collector::new(handle.clone(), storage.safe_point().clone());
        let worker = PdWorker::start(&runtime, shared.clone(), pd.clone(), disk, before_transfer, stop.clone());
        let shell = Shell { transport, pd: worker, shared: shared.clone() };
        let seed = rand::random();
        let store_shared = shared.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(cfg, store_shared, log, seed)).await??;
        let failure = Arc::new(OnceLock::new());
        let (told, failed) = (failure.clone(), stop.clone());
        let driver = Driver::start(store, tick, shell, move |reason: &str| {
            // The first reason is the cause of the others.
            let _ = told.set(reason.to_owned());
            failed.cancel();
        })?;

        collector.start(pd.clone(), stop.clone());
        let locator = FirstRegionLeader { pd: pd.clone(), channels: channels.clone() };
        detector::start(storage.clone(), Arc::new(locator), stop.clone());
        let service = TikvService::new(storage, handle.clone(), Arc::new(DagCoprocessor));
        let local = me.address == addr.to_string();
        let tls = config.security.is_set().then(|| config.security.clone());
        let mut tasks = Vec::new();
        if local
            && tls.is_none()
            && let Some(listener) = net::frames::listen(addr)
        {
            tasks.push(tokio::spawn(service.clone().serve_local(listener, GRACE, stop.clone())));
        }
        let routes =
            tonic::service::Routes::new(service.into_server()).add_service(DeadlockService::default().into_server());
        let options = ServeOptions { tls, grace: GRACE, local };
        tasks.push(serve(listener, net::grpc::router(routes), options, stop.clone()));
        if let Some(listener) = status_listener {
            let options = ServeOptions { grace: GRACE, ..ServeOptions::default() };
            tasks.push(serve(
                listener,
                status_router(handle.clone(), me.clone(), local.then(|| net::local::name(addr))),
                options,
                stop.clone(),
            ));
        }
        tracing::info!(store = me.id, %addr, labels = ?config.labels, "storage node serves");
        Ok(Node { addr, status_addr, handle, driver: Some(driver), failure, stop, tasks })
    }

    /// Where gRPC is served.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where metrics and health are served.
    pub fn status_addr(&self) -> Option<SocketAddr> {
        self.status_addr
    }

    /// The store's id.
    pub fn store_id(&self) -> u64 {
        self.handle.store_id()
    }

    /// The Raft store.
    pub fn raft_store(&self) -> &RaftStoreHandle<E> {
        &self.handle
    }

    /// Ends when the node stopped by itself, with the reason: its storage failed.
    pub async fn failed(&self) -> String {
        self.stop.cancelled().await;
        self.failure.get().cloned().unwrap_or_default()
    }

    /// Stops serving, then stops the store. Returns when its files are closed, as far as this node holds them.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        if let Some(mut driver) = self.driver.take() {
            let _ = tokio::task::spawn_blocking(move || driver.stop()).await;
        }
    }

    /// Gives up a node whose storage [`failed`](Self::failed), without waiting for anything: the process is to end.
    pub fn abandon(mut self) {
        if let Some(mut driver) = self.driver.take() {
            driver.abandon();
        }
    }
}

impl<E: Engine> Drop for Node<E> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Replicates what is in the memory of a region's leader before another one takes its place.
fn before_transfer<E: Engine>(storage: Storage<RaftStoreHandle<E>>) -> BeforeTransfer {
    Arc::new(move |ctx| {
        let storage = storage.clone();
        Box::pin(async move {
            if let Err(e) = storage.hand_over_locks(&ctx).await {
                tracing::info!(region = ctx.region_id, "locks are not handed over: {e}");
            }
        })
    })
}

fn serve(
    listener: TcpListener,
    router: axum::Router,
    options: ServeOptions,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(e) = net::grpc::serve(listener, router, options, stop).await {
            tracing::error!("serving ended: {e}");
        }
    })
}

fn describe(config: &Config, addr: SocketAddr, status: Option<SocketAddr>) -> metapb::Store {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    metapb::Store {
        address: config.advertised(addr),
        status_address: status.map(|s| config.advertised_status(s)).unwrap_or_default(),
        meridian_format: config.format,
        labels: config
            .labels
            .iter()
            .map(|(key, value)| metapb::StoreLabel { key: key.clone(), value: value.clone() })
            .collect(),
        // The version of the interface that is served, which clients compare with what they need.
        version: "8.5.0".into(),
        start_timestamp: now.map_or(0, |d| d.as_secs() as i64),
        deploy_path: std::env::current_exe().map(|p| p.display().to_string()).unwrap_or_default(),
        ..Default::default()
    }
}

/// Repeats a call until the placement driver answers it, one way or the other.
async fn until_reached<T, F: Future<Output = Result<T, PdError>>>(mut call: impl FnMut() -> F) -> Result<T, PdError> {
    loop {
        match call().await {
            Err(PdError::Unavailable(why)) => {
                tracing::warn!("waiting for the placement driver: {why}");
                tokio::time::sleep(PD_RETRY).await;
            }
            answer => return answer,
        }
    }
}

/// Who this store is: read from its data, or newly made.
async fn identify<E: Engine>(engine: &E, pd: &dyn PdClient) -> anyhow::Result<u64> {
    let cluster_id = pd.cluster_id();
    if let Some(ident) = store::read_ident(engine)? {
        if ident.cluster_id != cluster_id {
            bail!("the data belongs to cluster {}, the placement driver to cluster {cluster_id}", ident.cluster_id);
        }
        return Ok(ident.store_id);
    }
    let store_id = until_reached(|| pd.alloc_id()).await.context("a store id")?;
    store::write_ident(engine, StoreIdent { cluster_id, store_id })?;
    Ok(store_id)
}

/// Makes the cluster's first region if nobody did. A crash in between is repaired by the next start.
async fn bootstrap<E: Engine>(engine: &E, pd: &dyn PdClient, me: &metapb::Store) -> anyhow::Result<()> {
    let prepared = store::read_only_region(engine)?;
    if until_reached(|| pd.is_bootstrapped()).await.context("is the cluster bootstrapped")? {
        // A bootstrap of ours that another node won leaves a region that PD never heard of.
        if let Some(region) = prepared.filter(|r| r.epoch == FIRST_EPOCH)
            && until_reached(|| pd.get_region_by_id(region.id)).await?.is_none()
        {
            store::forget_first_region(engine, region.id)?;
        }
        return Ok(());
    }
    let region = match prepared {
        Some(region) => region,
        None => {
            let id = until_reached(|| pd.alloc_id()).await.context("a region id")?;
            let peer_id = until_reached(|| pd.alloc_id()).await.context("a peer id")?;
            let peer = Peer { id: peer_id, store_id: me.id, role: PeerRole::Voter };
            Region { id, range: Default::default(), epoch: FIRST_EPOCH, peers: vec![peer] }
        }
    };
    store::write_first_region(engine, &region)?;
    match until_reached(|| pd.bootstrap(me.clone(), convert::region_to_proto(&region))).await {
        Ok(()) => {
            tracing::info!(store = me.id, region = region.id, "cluster bootstrapped");
            Ok(())
        }
        Err(PdError::AlreadyBootstrapped) => {
            let ours = until_reached(|| pd.get_region_by_id(region.id)).await?.is_some();
            if !ours {
                store::forget_first_region(engine, region.id)?;
            }
            Ok(())
        }
        Err(e) => Err(e).context("bootstrap the cluster"),
    }
}

/// The epoch of a cluster's first region.
const FIRST_EPOCH: Epoch = Epoch { conf_ver: 1, version: 1 };

struct Status<E: Engine> {
    handle: RaftStoreHandle<E>,
    me: metapb::Store,
    /// What gRPC is offered on beside its port, for callers on this machine.
    unix_socket: Option<String>,
    started: Instant,
}

fn status_router<E: Engine>(
    handle: RaftStoreHandle<E>,
    me: metapb::Store,
    unix_socket: Option<String>,
) -> axum::Router {
    let status = Arc::new(Status { handle, me, unix_socket, started: Instant::now() });
    axum::Router::new()
        .route("/status", get(status_page::<E>))
        .route("/health", get(|| async { axum::Json(serde_json::json!({ "health": true })) }))
        .with_state(status)
        .merge(net::metrics::router())
}

async fn status_page<E: Engine>(State(status): State<Arc<Status<E>>>) -> axum::Json<serde_json::Value> {
    let regions = status.handle.regions();
    let leaders = regions.iter().filter(|r| r.leader.is_some_and(|l| l.id == r.peer.id)).count();
    let labels: serde_json::Map<_, _> =
        status.me.labels.iter().map(|l| (l.key.clone(), l.value.clone().into())).collect();
    let rows: Vec<_> = regions
        .iter()
        .map(|r| {
            serde_json::json!({
                "region": r.region.id,
                "start": hex(&r.region.range.start),
                "end": hex(&r.region.range.end),
                "epoch": { "conf_ver": r.region.epoch.conf_ver, "version": r.region.epoch.version },
                "peers": r.region.peers.iter().map(|p| serde_json::json!({
                    "id": p.id, "store": p.store_id, "role": format!("{:?}", p.role),
                })).collect::<Vec<_>>(),
                "term": r.term,
                "leader": r.leader.map(|l| l.store_id),
            })
        })
        .collect();
    axum::Json(serde_json::json!({
        "store": status.me.id,
        "address": status.me.address,
        "unix_socket": status.unix_socket,
        "version": env!("CARGO_PKG_VERSION"),
        "labels": labels,
        "uptime_seconds": status.started.elapsed().as_secs(),
        "region_count": regions.len(),
        "leader_count": leaders,
        "resident_bytes": net::metrics::resident_bytes(),
        "regions": rows,
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raftstore::log::{LogBatchWrites, LogWrite};

    /// Why a directory is refused.
    fn refused(dir: &Path) -> String {
        match open(dir, FjallOptions::default(), net::format::NEWEST) {
            Ok(_) => panic!("half a store was opened"),
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn half_a_store_is_not_opened() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        {
            let (engine, log) = open(dir.path(), FjallOptions::default(), net::format::NEWEST).expect("a new store");
            store::write_ident(&engine, StoreIdent { cluster_id: 1, store_id: 2 }).expect("on disk");
            let mut batch = LogBatchWrites { sync: true, ..Default::default() };
            let state = proto::meridian_raft::LogState { peer_id: 3, term: 7, vote: 3, ..Default::default() };
            batch.push(9, LogWrite::State(state));
            log.write(batch).expect("on disk");
        }
        drop(open(dir.path(), FjallOptions::default(), net::format::NEWEST).expect("a whole store"));
        let away = |half: &str| (dir.path().join(half), dir.path().join("away"));
        for (half, words) in [("raft", "the raft log of this store is gone"), ("db", "the data of this store is gone")]
        {
            let (from, to) = away(half);
            std::fs::rename(&from, &to).expect("on one file system");
            assert!(refused(dir.path()).starts_with(words));
            let _ = std::fs::remove_dir_all(&from);
            std::fs::rename(&to, &from).expect("on one file system");
        }
        drop(open(dir.path(), FjallOptions::default(), net::format::NEWEST).expect("whole again"));
    }
}
