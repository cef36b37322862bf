//! A server's part in the cluster: its schema and its lease.
//!
//! Tasks, all ended by [`Domain::shutdown`]:
//!
//! ```text
//!   session   keeps the lease; registers the server and the version it uses; renews the cache's promise
//!   watch     turns hints into wake-ups
//!   reload    on a wake-up, and once a second: loads the schema, waits for older commits, acknowledges; and loads
//!             what SET GLOBAL has set
//!   age       every few seconds: tells how old its oldest transaction is, gives up on those that are too old
//!   statistics  every few seconds: adds what sessions changed to the tables' counts, loads statistics that are new
//!   owner     campaigns; while it is the owner, runs jobs (`worker`) and empties dropped ranges (see `owner`)
//! ```
//!
//! A server that keeps its lease but cannot follow the schema (the region of the catalogue is out of its reach, say) would
//! hold up the schema changes of all others. So it gives its lease up by itself after [`BEHIND_MAX`], does without one,
//! which refuses statements that need a schema, and registers anew when it has caught up.
//!
//! Starting: the server registers a version *before* it loads the schema that it will use, so the owner waits for it
//! from its first statement on.

use std::sync::Arc;
use std::time::Duration;

use kv_client::{Client, Timestamp, TxnOptions};
use parking_lot::Mutex;
use sql_base::SqlError;
use sql_catalog::{AutoIds, Meta, SchemaCache, StatisticsCache, load, transact};
use sql_context::vars::GlobalVars;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::coordinator::{CoordinationError, Coordinator, Hint, ServerInfo, Session};
use crate::placement::pd::PdHttp;

/// The lease of a server. A server that is killed holds up schema changes for at most this long.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often the lease is kept: several tries fit into it.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// A server that has not followed the schema for this long gives its lease up.
const BEHIND_MAX: Duration = Duration::from_secs(2 * LEASE.as_secs());
/// The part of the lease that is not relied on: clocks of two machines do not run equally fast.
const LEASE_MARGIN: Duration = Duration::from_secs(1);
/// A schema change is seen after this long even when its hint is lost.
const RELOAD: Duration = Duration::from_secs(1);
/// How often statistics are written and looked at: they are never newer than this on another server.
const STATISTICS: Duration = Duration::from_secs(3);
/// How often the age of transactions is looked at. Versions live for several times as long at least, so that a
/// transaction is told of before they go.
const AGE: Duration = Duration::from_secs(2);
/// Pause after a failed call.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// What a server brings.
#[derive(Debug)]
pub struct DomainOptions {
    /// The PDs' client addresses, `http://host:port`.
    pub pd_endpoints: Vec<String>,
    /// The server. Its id must be new.
    pub server: ServerInfo,
    /// Its global variables, to be kept up to date.
    pub globals: Arc<GlobalVars>,
}

/// A server's part in the cluster.
pub struct Domain {
    pub(super) kv: Client,
    pub(super) pd: PdHttp,
    pub(super) coordinator: Coordinator,
    pub(super) server: ServerInfo,
    globals: Arc<GlobalVars>,
    /// The version of the global variables that are installed.
    globals_version: tokio::sync::Mutex<Option<i64>>,
    schemas: Arc<SchemaCache>,
    auto_ids: Arc<AutoIds>,
    statistics: Arc<StatisticsCache>,
    /// The present lease, `None` while there is none.
    pub(super) lease: watch::Sender<Option<i64>>,
    /// When this server last held the newest schema, with no commit under an older one.
    followed: Mutex<Instant>,
    pub(super) is_owner: Mutex<bool>,
    reload: Notify,
    pub(super) queue: Notify,
    /// Wakes statements that wait for a job that this server's owner task finished.
    pub(super) finished: Notify,
    pub(super) owner_gone: Notify,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Domain").field("server", &self.server).finish_non_exhaustive()
    }
}

impl From<CoordinationError> for SqlError {
    fn from(error: CoordinationError) -> Self {
        SqlError::PdTimeout(error.to_string())
    }
}

impl Domain {
    /// Joins the cluster. Waits for PD and the storage as long as it takes; ends early when `cancel` does.
    pub async fn start(kv: Client, options: DomainOptions, cancel: CancellationToken) -> Result<Arc<Self>, SqlError> {
        let coordinator = loop {
            match Coordinator::connect(&options.pd_endpoints, &options.server.id, kv.channels()).await {
                Ok(coordinator) => break coordinator,
                Err(error) => tracing::info!(%error, "waiting for PD"),
            }
            pause(&cancel).await?;
        };
        let domain = Arc::new(Domain {
            auto_ids: Arc::new(AutoIds::new(kv.clone())),
            statistics: Arc::new(StatisticsCache::new(kv.clone())),
            pd: PdHttp::new(options.pd_endpoints, kv.channels().http()),
            kv,
            coordinator,
            server: options.server,
            globals: options.globals,
            globals_version: Default::default(),
            schemas: Arc::default(),
            lease: watch::Sender::new(None),
            followed: Mutex::new(Instant::now()),
            is_owner: Mutex::new(false),
            reload: Notify::new(),
            queue: Notify::new(),
            finished: Notify::new(),
            owner_gone: Notify::new(),
            cancel: cancel.child_token(),
            tasks: TaskTracker::new(),
        });
        domain.spawn("session", |domain| async move { domain.run_session().await });
        let joined = async {
            // The session registers before the first schema is loaded.
            let _ = domain.lease.subscribe().wait_for(Option::is_some).await;
            loop {
                let first = async {
                    transact!(&domain.kv, |meta| load::bootstrap(meta).await)?;
                    domain.load_variables().await?;
                    domain.load().await
                };
                match first.await {
                    Ok(()) => break,
                    Err(error) => tracing::info!(%error, "waiting for the storage"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            () = joined => {}
            () = cancel.cancelled() => {
                domain.shutdown().await;
                return Err(SqlError::ShuttingDown);
            }
        }
        domain.spawn("watch", |domain| async move { domain.run_watch().await });
        domain.spawn("reload", |domain| async move { domain.run_reload().await });
        domain.spawn("age", |domain| async move { domain.run_age().await });
        domain.spawn("statistics", |domain| async move { domain.run_statistics().await });
        domain.reload.notify_one();
        Ok(domain)
    }

    /// A task that ends with the domain.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        run: impl FnOnce(Arc<Self>) -> F,
    ) {
        let cancel = self.cancel.clone();
        let task = run(Arc::clone(self));
        self.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => tracing::debug!(task = name, "domain task ended"),
            }
        });
    }

    /// Leaves the cluster: ends the tasks and gives the lease back, so that no schema change waits for this server.
    pub async fn shutdown(&self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        // What is not written now nobody counts; but nobody waits for a cluster that is gone either.
        let counted = tokio::time::timeout(PAUSE, self.statistics.flush(&self.schemas.current())).await;
        if !matches!(counted, Ok(Ok(()))) {
            tracing::info!("the last changes of rows were not counted");
        }
        self.schemas.renew(None);
        let lease = *self.lease.borrow();
        if let Some(lease) = lease
            && let Err(error) = self.coordinator.close_session(lease).await
        {
            tracing::info!(%error, "the lease is left to end by itself");
        }
    }

    /// The schema of this server.
    pub fn schemas(&self) -> &Arc<SchemaCache> {
        &self.schemas
    }

    /// The allocators of AUTO_INCREMENT values and row numbers.
    pub fn auto_ids(&self) -> &Arc<AutoIds> {
        &self.auto_ids
    }

    /// What is known of tables' values.
    pub fn statistics(&self) -> &Arc<StatisticsCache> {
        &self.statistics
    }

    /// Global variables, as this server holds them.
    pub(super) fn globals(&self) -> &GlobalVars {
        &self.globals
    }

    /// The key-value client.
    pub fn kv(&self) -> &Client {
        &self.kv
    }

    /// PD's HTTP interface.
    pub fn pd(&self) -> &PdHttp {
        &self.pd
    }

    /// This server as registered.
    pub fn server(&self) -> &ServerInfo {
        &self.server
    }

    /// The servers that are there.
    pub async fn servers(&self) -> Result<Vec<ServerInfo>, SqlError> {
        Ok(self.coordinator.servers().await?)
    }

    /// The server that changes schemas, by id.
    pub async fn owner(&self) -> Result<Option<String>, SqlError> {
        Ok(self.coordinator.owner().await?)
    }

    // ---- Session ----

    async fn run_session(self: Arc<Self>) {
        let mut session: Option<Session> = None;
        let mut certain_until = Instant::now();
        loop {
            if self.followed.lock().elapsed() > BEHIND_MAX {
                if let Some(behind) = session.take() {
                    self.resign(behind).await;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let asked = Instant::now();
            let alive = match &mut session {
                Some(session) => self.coordinator.keep_alive(session).await,
                None => Ok(false),
            };
            match alive {
                Ok(true) => {
                    certain_until = asked + LEASE - LEASE_MARGIN;
                    self.schemas.renew(Some(certain_until));
                    tokio::time::sleep(KEEP_ALIVE).await;
                    continue;
                }
                Ok(false) => {
                    // No lease, or it has ended: the owner no longer waits for this server.
                    self.lease.send_replace(None);
                    self.schemas.renew(None);
                    session = None;
                    match self.new_session().await {
                        Ok(new) => session = Some(new),
                        Err(error) => tracing::warn!(%error, "no schema lease"),
                    }
                }
                Err(error) => {
                    tracing::info!(%error, "the schema lease was not kept");
                    if Instant::now() >= certain_until {
                        // Too long without an answer: it may have ended, so begin anew.
                        self.schemas.renew(None);
                        session = None;
                    } else if let Some(lease) = session.as_ref().map(|session| session.lease) {
                        match self.coordinator.resume_session(lease).await {
                            Ok(resumed) => session = Some(resumed),
                            Err(error) => tracing::debug!(%error, "the keep-alive stream is not back"),
                        }
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives the lease up, so that schema changes no longer wait for this server: it promises nothing from before on.
    async fn resign(&self, session: Session) {
        tracing::error!(
            "no schema could be loaded for {} s: this server gives its schema lease up, so that schema changes go on; \
             statements are refused until it can load the schema again",
            BEHIND_MAX.as_secs()
        );
        self.schemas.renew(None);
        self.lease.send_replace(None);
        if let Err(error) = self.coordinator.close_session(session.lease).await {
            tracing::info!(%error, "the lease is left to end by itself");
        }
    }

    /// A lease under which this server and the version it uses are registered. The version may be old; the reload
    /// that follows acknowledges the present one, and until then nothing is promised.
    async fn new_session(&self) -> Result<Session, CoordinationError> {
        let session = self.coordinator.open_session(LEASE).await?;
        self.coordinator.acknowledge(self.schemas.current().version(), session.lease).await?;
        self.coordinator.register(&self.server, session.lease).await?;
        self.lease.send_replace(Some(session.lease));
        self.reload.notify_one();
        Ok(session)
    }

    // ---- Schema ----

    async fn run_watch(self: Arc<Self>) {
        loop {
            let ended = self
                .coordinator
                .watch(|hint| match hint {
                    Hint::Schema => self.reload.notify_one(),
                    Hint::Job => self.queue.notify_one(),
                    Hint::OwnerGone => self.owner_gone.notify_one(),
                })
                .await;
            if let Err(error) = ended {
                tracing::info!(%error, "watching again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn run_reload(self: Arc<Self>) {
        let mut acknowledged = (0, 0);
        loop {
            let _ = tokio::time::timeout(RELOAD, self.reload.notified()).await;
            if let Err(error) = self.load_variables().await {
                tracing::info!(%error, "the global variables could not be loaded");
            }
            if let Err(error) = self.load().await {
                tracing::info!(%error, "the schema could not be loaded");
                tokio::time::sleep(PAUSE).await;
                self.reload.notify_one();
                continue;
            }
            let version = self.schemas.current().version();
            self.schemas.older_commits_finished(version).await;
            *self.followed.lock() = Instant::now();
            let Some(lease) = *self.lease.borrow() else { continue };
            if acknowledged == (version, lease) {
                continue;
            }
            match self.coordinator.acknowledge(version, lease).await {
                Ok(()) => acknowledged = (version, lease),
                Err(error) => {
                    tracing::info!(%error, version, "the schema version could not be acknowledged");
                    tokio::time::sleep(PAUSE).await;
                    self.reload.notify_one();
                }
            }
        }
    }

    async fn run_age(self: Arc<Self>) {
        let mut reported = (None, 0);
        loop {
            tokio::time::sleep(AGE).await;
            let Some(lease) = *self.lease.borrow() else { continue };
            match self.report_age(lease, &mut reported).await {
                Ok(()) => {}
                Err(error) => tracing::info!(%error, "the oldest transaction is not told"),
            }
        }
    }

    /// Refuses what is too old, then tells the oldest that is left: so nothing here is older than what is told.
    async fn report_age(&self, lease: i64, reported: &mut (Option<u64>, i64)) -> Result<(), SqlError> {
        let now = self.kv.timestamp().await?;
        let safe_point = self.kv.pd().gc_safe_point().await.map_err(kv_client::Error::from)?;
        let max_wait = self.globals.server().gc.max_wait;
        let limit = Timestamp::compose(now.physical().saturating_sub_unsigned(max_wait.as_millis() as u64).max(0), 0);
        let old = |ts: &Timestamp| now.physical() - ts.physical() > AGE.as_millis() as i64;
        let oldest = self.kv.oldest(limit.max(safe_point)).filter(old).map(|ts| ts.0);
        if *reported != (oldest, lease) {
            self.coordinator.report_oldest(oldest, lease).await?;
            *reported = (oldest, lease);
        }
        Ok(())
    }

    async fn run_statistics(self: Arc<Self>) {
        loop {
            let turn = async {
                self.statistics.flush(&self.schemas.current()).await?;
                self.statistics.refresh().await
            };
            if let Err(error) = turn.await {
                tracing::info!(%error, "statistics are not up to date");
            }
            tokio::time::sleep(STATISTICS).await;
        }
    }

    async fn load(&self) -> Result<(), SqlError> {
        let held = self.schemas.current();
        let loaded = {
            let mut txn = self.kv.begin(TxnOptions::optimistic()).await?;
            load::load(&mut Meta::new(&mut txn), &held).await?
        };
        if let Some(schema) = loaded {
            tracing::info!(version = schema.version(), before = held.version(), "schema loaded");
            self.schemas.install(schema);
        }
        Ok(())
    }

    /// Installs the cluster's global variables if they have changed.
    async fn load_variables(&self) -> Result<(), SqlError> {
        // Held throughout, so that an older load does not install over a newer one.
        let mut installed = self.globals_version.lock().await;
        let mut txn = self.kv.begin(TxnOptions::optimistic()).await?;
        let mut meta = Meta::new(&mut txn);
        let version = meta.global_variables_version().await?;
        if *installed != Some(version) {
            self.globals.install(&meta.global_variables().await?);
            *installed = Some(version);
        }
        Ok(())
    }

    /// Sets global variables for the cluster; `None` is the default. They hold on this server when it returns, and on
    /// the others as soon as they hear of it.
    pub async fn set_global_variables(&self, changes: &[(&'static str, Option<String>)]) -> Result<(), SqlError> {
        transact!(&self.kv, |meta| meta.put_global_variables(changes).await)?;
        if let Err(error) = self.coordinator.announce_variables().await {
            tracing::info!(%error, "the other servers will see a global variable late");
        }
        self.load_variables().await
    }

    /// Announces a version and waits until every server that is there uses it.
    pub(super) async fn synchronize(&self, version: i64) -> Result<(), SqlError> {
        self.reload.notify_one();
        let mut announced = false;
        let mut wait = Duration::from_millis(2);
        let started = Instant::now();
        let mut told = started;
        loop {
            if !announced {
                match self.coordinator.announce_version(version).await {
                    Ok(()) => announced = true,
                    Err(error) => tracing::info!(%error, "a schema version was not announced"),
                }
            }
            match self.coordinator.versions().await {
                Ok(versions) => {
                    let behind: Vec<_> = versions.iter().filter(|(_, held)| *held < version).collect();
                    if behind.is_empty() {
                        return Ok(());
                    }
                    if told.elapsed() > LEASE {
                        told = Instant::now();
                        tracing::warn!(version, ?behind, "waiting for servers to use the schema");
                    }
                }
                Err(error) => {
                    tracing::info!(%error, "schema versions could not be read");
                    if !*self.is_owner.lock() {
                        return Err(error.into());
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_millis(100));
        }
    }

    /// Returns when this server uses at least that version.
    pub(super) async fn wait_for_version(&self, version: i64) {
        self.reload.notify_one();
        let mut versions = self.schemas.subscribe();
        let _ = tokio::time::timeout(LEASE, versions.wait_for(|held| *held >= version)).await;
    }
}

async fn pause(cancel: &CancellationToken) -> Result<(), SqlError> {
    tokio::select! {
        () = cancel.cancelled() => Err(SqlError::ShuttingDown),
        () = tokio::time::sleep(PAUSE) => Ok(()),
    }
}
