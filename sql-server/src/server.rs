//! The server: what its connections share, and its life from start to shutdown.
//!
//! It starts whether or not the cluster can be reached: a background task connects and keeps trying, and until it has
//! succeeded a statement that needs the cluster fails with 9001, naming why.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use kv_client::{Client, ClientOptions};
use net::grpc::{ChannelOptions, Channels};
use parking_lot::{Mutex, RwLock};
use sql_base::Interrupt;
use sql_base::SqlError;
use sql_catalog::{AutoIds, Schema, SchemaCache};
use sql_context::Services;
use sql_context::vars::{GlobalVars, SERVER_VERSION};
use sql_ddl::{Domain, DomainOptions, ServerInfo};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::wire::auth::Verifier;
use crate::wire::connection;
use crate::wire::tls::{self, TlsAcceptor, TlsError};

/// Stack of the threads that run the server. Expressions nest up to the parser's limit, and evaluating them recurses.
pub const STACK_BYTES: usize = 16 << 20;
/// Pause between attempts to reach the cluster.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long the health page waits for PD, so that whoever asks gets the reason rather than a timeout of their own.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Sockets that wait to be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who may log in.
#[derive(Debug)]
pub struct Accounts {
    verifiers: RwLock<BTreeMap<String, Verifier>>,
}

impl Default for Accounts {
    /// `root` without a password, from anywhere.
    fn default() -> Self {
        Accounts { verifiers: RwLock::new(BTreeMap::from([("root".to_owned(), Verifier::Empty)])) }
    }
}

impl Accounts {
    /// What a user's password is checked against; none for an unknown user.
    pub fn verifier(&self, user: &str) -> Option<Verifier> {
        self.verifiers.read().get(user).cloned()
    }

    /// Adds or changes an account of this server.
    pub fn set(&self, user: &str, verifier: Verifier) {
        self.verifiers.write().insert(user.to_owned(), verifier);
    }
}

/// What a connection does now.
#[derive(Debug, Clone)]
pub struct Activity {
    /// User.
    pub user: String,
    /// Current database.
    pub database: Option<String>,
    /// Running statement.
    pub statement: Option<String>,
    /// Since when it runs, or the connection is idle.
    pub since: Instant,
    /// An explicit transaction is open.
    pub in_transaction: bool,
}

/// A connection as others see it.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// Number.
    pub id: u64,
    /// Address with port.
    pub peer: String,
    /// Address.
    pub host: String,
    /// How others interrupt it.
    pub interrupt: Arc<Interrupt>,
    /// Held for an assignment or a copy, never across an await.
    activity: Mutex<Activity>,
}

impl ConnectionInfo {
    fn new(id: u64, peer: Option<SocketAddr>) -> Self {
        ConnectionInfo {
            id,
            peer: peer.map_or_else(|| "local".into(), |p| p.to_string()),
            host: peer.map_or_else(|| "localhost".into(), |p| p.ip().to_canonical().to_string()),
            interrupt: Arc::default(),
            activity: Mutex::new(Activity {
                user: "unauthenticated user".into(),
                database: None,
                statement: None,
                since: Instant::now(),
                in_transaction: false,
            }),
        }
    }

    /// A copy of what it does.
    pub fn activity(&self) -> Activity {
        self.activity.lock().clone()
    }

    pub(crate) fn set_user(&self, user: &str) {
        self.activity.lock().user = user.to_owned();
    }

    pub(crate) fn set_database(&self, database: Option<&str>) {
        self.activity.lock().database = database.map(str::to_owned);
    }

    pub(crate) fn set_statement(&self, statement: &str) {
        let mut activity = self.activity.lock();
        activity.statement = Some(statement.to_owned());
        activity.since = Instant::now();
    }

    pub(crate) fn clear_statement(&self) {
        let mut activity = self.activity.lock();
        activity.statement = None;
        activity.since = Instant::now();
    }

    pub(crate) fn set_in_transaction(&self, in_transaction: bool) {
        self.activity.lock().in_transaction = in_transaction;
    }
}

/// The connections there are.
#[derive(Debug, Default)]
pub struct Connections {
    last_id: AtomicU64,
    /// Held for a lookup or a copy, never across an await.
    all: Mutex<BTreeMap<u64, Arc<ConnectionInfo>>>,
}

impl Connections {
    /// A new connection, unless there are too many.
    pub fn open(self: &Arc<Self>, peer: Option<SocketAddr>, max: usize) -> Result<OpenConnection, SqlError> {
        let mut all = self.all.lock();
        if max > 0 && all.len() >= max {
            return Err(SqlError::TooManyConnections);
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let info = Arc::new(ConnectionInfo::new(id, peer));
        all.insert(id, Arc::clone(&info));
        crate::metrics::CONNECTIONS.inc();
        Ok(OpenConnection { info, connections: Arc::clone(self) })
    }

    /// The connection of a number.
    pub fn get(&self, id: u64) -> Option<Arc<ConnectionInfo>> {
        self.all.lock().get(&id).cloned()
    }

    /// All, by number.
    pub fn list(&self) -> Vec<Arc<ConnectionInfo>> {
        self.all.lock().values().cloned().collect()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.all.lock().len()
    }
}

/// Keeps a connection in the list until it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    /// The connection.
    pub info: Arc<ConnectionInfo>,
    connections: Arc<Connections>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.all.lock().remove(&self.info.id);
        crate::metrics::CONNECTIONS.dec();
    }
}

/// What reaches the cluster, once it does.
#[derive(Default)]
struct Cluster {
    kv: Option<Client>,
    domain: Option<Arc<Domain>>,
    /// Why not yet.
    why: String,
}

/// What all sessions share.
pub struct Server {
    config: Config,
    globals: Arc<GlobalVars>,
    accounts: Accounts,
    connections: Arc<Connections>,
    /// Held for an assignment or a copy, never across an await.
    cluster: RwLock<Cluster>,
    started: Instant,
    questions: AtomicU64,
    shutting_down: AtomicBool,
}

impl Server {
    /// A server of these settings, connected to nothing yet.
    pub fn new(config: Config) -> Self {
        let mut globals = GlobalVars::default();
        globals.set_own("port", config.port.to_string());
        globals.set_own("max_connections", config.max_connections.to_string());
        globals.set_own("max_allowed_packet", config.max_allowed_packet.0.to_string());
        if let Ok(name) = std::fs::read_to_string("/etc/hostname") {
            globals.set_own("hostname", name.trim().to_owned());
        }
        if config.client_tls.is_set() {
            globals.set_own("have_ssl", "YES".into());
            globals.set_own("have_openssl", "YES".into());
        }
        Server {
            config,
            globals: Arc::new(globals),
            accounts: Accounts::default(),
            connections: Arc::default(),
            cluster: RwLock::new(Cluster { kv: None, domain: None, why: "not connected yet".into() }),
            started: Instant::now(),
            questions: AtomicU64::new(0),
            shutting_down: AtomicBool::new(false),
        }
    }

    /// Settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Global variables.
    pub fn globals(&self) -> &GlobalVars {
        &self.globals
    }

    /// Who may log in.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The connections there are.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The key-value client, or why there is none yet.
    pub fn kv(&self) -> Result<Client, SqlError> {
        let cluster = self.cluster.read();
        cluster.kv.clone().ok_or_else(|| SqlError::PdTimeout(cluster.why.clone()))
    }

    /// This server's part in the cluster's schema, or why there is none yet.
    pub fn domain(&self) -> Result<Arc<Domain>, SqlError> {
        let cluster = self.cluster.read();
        cluster.domain.clone().ok_or_else(|| SqlError::PdTimeout(cluster.why.clone()))
    }

    /// The schema of now.
    pub fn schema(&self) -> Result<Arc<Schema>, SqlError> {
        Ok(self.domain()?.schemas().current())
    }

    pub(crate) fn count_question(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// `SHOW STATUS`.
    pub fn status(&self) -> Vec<(&'static str, String)> {
        let connections = self.connections.count();
        let running = self.connections.list().iter().filter(|c| c.activity().statement.is_some()).count();
        vec![
            ("Connections", self.connections.last_id.load(Ordering::Relaxed).to_string()),
            ("Questions", self.questions.load(Ordering::Relaxed).to_string()),
            ("Queries", self.questions.load(Ordering::Relaxed).to_string()),
            ("Ssl_cipher", String::new()),
            ("Ssl_cipher_list", String::new()),
            ("Ssl_verify_mode", "0".into()),
            ("Ssl_version", String::new()),
            ("Threads_connected", connections.to_string()),
            ("Threads_running", running.to_string()),
            ("Uptime", self.started.elapsed().as_secs().to_string()),
        ]
    }

    /// `COM_STATISTICS`.
    pub fn statistics(&self) -> String {
        let secs = self.started.elapsed().as_secs();
        let questions = self.questions.load(Ordering::Relaxed);
        format!(
            "Uptime: {secs}  Threads: {}  Questions: {questions}  Slow queries: 0  Opens: 0  Flush tables: 1  \
             Open tables: 0  Queries per second avg: {:.3}",
            self.connections.count(),
            questions as f64 / secs.max(1) as f64,
        )
    }
}

impl Services for Server {
    fn globals(&self) -> &GlobalVars {
        &self.globals
    }

    fn kv(&self) -> Result<Client, SqlError> {
        Server::kv(self)
    }

    fn schemas(&self) -> Result<Arc<SchemaCache>, SqlError> {
        Ok(Arc::clone(self.domain()?.schemas()))
    }

    fn auto_ids(&self) -> Result<Arc<AutoIds>, SqlError> {
        Ok(Arc::clone(self.domain()?.auto_ids()))
    }
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// TLS can't be offered.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket has no address.
    #[error("listener: {0}")]
    Listener(#[from] io::Error),
}

/// Sockets that a server accepts on.
pub struct Listeners {
    /// MySQL clients.
    pub mysql: TcpListener,
    /// The HTTP status service, if there is to be one.
    pub status: Option<TcpListener>,
}

/// A running server.
pub struct SqlServer {
    server: Arc<Server>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl SqlServer {
    /// Starts serving. Returns at once; the cluster need not be there.
    pub fn start(mut config: Config, listeners: Listeners) -> Result<SqlServer, StartError> {
        config.validate()?;
        let tls = tls::acceptor(&config.client_tls)?;
        let address = listeners.mysql.local_addr()?;
        config.port = address.port();
        if let Some(status) = &listeners.status {
            config.status_port = status.local_addr()?.port();
        }
        let server = Arc::new(Server::new(config));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(connect(Arc::clone(&server), stop.clone()));
        tasks.spawn(accept(Arc::clone(&server), listeners.mysql, tls, stop.clone(), tasks.clone()));
        if let Some(listener) = listeners.status {
            tasks.spawn(serve_status(Arc::clone(&server), listener, stop.clone()));
        }
        tracing::info!(%address, version = SERVER_VERSION, "serving MySQL clients");
        Ok(SqlServer { server, address, stop, tasks })
    }

    /// Where MySQL clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the sessions share, for tests and tools in the same process.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Stops: no new connections, idle ones are closed, running statements have a while to end.
    pub async fn shutdown(self) {
        self.server.shutting_down.store(true, Ordering::Release);
        self.stop.cancel();
        self.tasks.close();
        let wait = self.server.config.graceful_wait.0;
        if tokio::time::timeout(wait, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.server.connections.count(), "statements still run, ending them");
            for connection in self.server.connections.list() {
                connection.interrupt.kill_connection();
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        }
        if let Ok(domain) = self.server.domain() {
            domain.shutdown().await;
        }
    }
}

/// The server as others find it in the registry. The id is new each time, so that nobody takes a restarted server for
/// the one before it.
fn server_info(config: &Config) -> ServerInfo {
    let advertised = match (config.advertise_address.as_str(), config.host.as_str()) {
        ("", "0.0.0.0") => "127.0.0.1",
        ("", host) => host,
        (address, _) => address,
    };
    ServerInfo {
        id: format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()),
        ip: advertised.to_owned(),
        port: config.port,
        status_port: config.status_port,
        version: SERVER_VERSION.to_owned(),
        start_timestamp: chrono::Utc::now().timestamp(),
        labels: config.label_pairs().into_iter().collect(),
    }
}

/// Reaches the cluster, however long it takes.
async fn connect(server: Arc<Server>, stop: CancellationToken) {
    let config = &server.config;
    let endpoints: Vec<String> = config.pd_endpoints();
    let tls = config.cluster_tls.is_set().then(|| config.cluster_tls.clone());
    let channels = Channels::new(ChannelOptions { source: config.source_address, tls, ..ChannelOptions::default() });
    let options = ClientOptions { deadline: config.cluster_timeout.0, ..ClientOptions::default() };
    let mut attempts = 0u32;
    loop {
        let attempt = tokio::select! {
            () = stop.cancelled() => return,
            attempt = Client::connect(&endpoints, channels.clone(), options.clone()) => attempt,
        };
        match attempt {
            Ok(client) => {
                {
                    let mut cluster = server.cluster.write();
                    cluster.kv = Some(client.clone());
                    cluster.why = "the schema is not loaded yet, the storage is waited for".into();
                }
                let globals = Arc::clone(&server.globals);
                let options = DomainOptions { pd_endpoints: endpoints.clone(), server: server_info(config), globals };
                match sql_ddl::start(client, options, stop.clone()).await {
                    Ok(domain) => {
                        server.cluster.write().domain = Some(domain);
                        tracing::info!(pd = config.path, "connected to the cluster");
                    }
                    Err(e) => tracing::info!("the schema was not loaded: {e}"),
                }
                return;
            }
            Err(e) => {
                attempts += 1;
                let why = format!("{}: {e}", config.path);
                // Said when it begins, and then once a minute.
                if attempts % 60 == 1 {
                    tracing::warn!("the cluster can't be reached, trying on: {why}");
                }
                server.cluster.write().why = why;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
        }
    }
}

async fn accept(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => welcome(&server, stream, peer, tls.clone(), &stop, &tasks),
            Err(e) => {
                // Out of file descriptors, most likely: others end and free theirs.
                tracing::warn!("can't accept a connection: {e}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn welcome(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let _ = stream.set_nodelay(true);
    let stream = Box::new(stream);
    // `SET GLOBAL max_connections` counts from the next connection on.
    match server.connections.open(Some(peer), server.globals.server().max_connections) {
        Ok(open) => {
            let (server, stop) = (Arc::clone(server), stop.clone());
            tasks.spawn(async move {
                connection::serve(server, Arc::clone(&open.info), stream, tls, stop).await;
                drop(open);
            });
        }
        Err(e) => {
            tracing::info!(%peer, "connection refused: {e}");
            tasks.spawn(async move { connection::refuse(stream, &e).await });
        }
    }
}

// ---- HTTP ----

async fn serve_status(server: Arc<Server>, listener: TcpListener, stop: CancellationToken) {
    let router = axum::Router::new()
        .route("/status", get(status_page))
        .route("/health", get(health_page))
        .with_state(server)
        .merge(net::metrics::router());
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(e) = served.await {
        tracing::error!("the status service ended: {e}");
    }
}

async fn status_page(State(server): State<Arc<Server>>) -> axum::Json<serde_json::Value> {
    axum::Json(serde_json::json!({
        "connections": server.connections.count(),
        "version": SERVER_VERSION,
        "cluster": server.kv().map_or_else(|e| e.to_string(), |_| "connected".to_owned()),
        "labels": server.config.label_pairs().into_iter().collect::<BTreeMap<_, _>>(),
    }))
}

async fn health_page(State(server): State<Arc<Server>>) -> (StatusCode, axum::Json<serde_json::Value>) {
    match health(&server).await {
        Ok(()) => (StatusCode::OK, axum::Json(serde_json::json!({ "health": true }))),
        Err(reason) => {
            let body = serde_json::json!({ "health": false, "reason": reason });
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body))
        }
    }
}

/// Whether statements can be served: the schema is known, and PD gives timestamps, without which none can read.
async fn health(server: &Server) -> Result<(), String> {
    if server.shutting_down.load(Ordering::Acquire) {
        return Err(SqlError::ShuttingDown.to_string());
    }
    server.schema().map_err(|e| e.to_string())?;
    let kv = server.kv().map_err(|e| e.to_string())?;
    match tokio::time::timeout(HEALTH_TIMEOUT, kv.timestamp()).await {
        Ok(timestamp) => timestamp.map(drop).map_err(|e| e.to_string()),
        Err(_) => Err(format!("PD at {} gives no timestamp within {HEALTH_TIMEOUT:?}", server.config.path)),
    }
}
