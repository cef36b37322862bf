//! What all sessions share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use kv_client::Client;
use kv_client::trips::REGION_LABEL;
use parking_lot::RwLock;
use sql_base::SqlError;
use sql_base::memory::ServerMemory;
use sql_catalog::{AutoIds, Schema, SchemaCache, StatisticsCache};
use sql_context::Services;
use sql_context::vars::GlobalVars;
use sql_ddl::Domain;

use super::connections::Connections;
use super::statements::Statements;
use crate::accounts::Accounts;
use crate::config::Config;

/// What reaches the cluster, once it does.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) kv: Option<Client>,
    pub(super) domain: Option<Arc<Domain>>,
    /// Why not yet.
    pub(super) why: String,
}

/// What all sessions share.
pub struct Server {
    pub(super) config: Config,
    pub(super) globals: Arc<GlobalVars>,
    accounts: Accounts,
    connections: Arc<Connections>,
    memory: Arc<ServerMemory>,
    statements: Statements,
    temporary_directory: PathBuf,
    /// Held for an assignment or a copy, never across an await.
    pub(super) cluster: RwLock<Cluster>,
    started: Instant,
    questions: AtomicU64,
    /// It takes no new connections, and is not healthy.
    pub(crate) shutting_down: AtomicBool,
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
            temporary_directory: config.temporary_directory(),
            config,
            globals: Arc::new(globals),
            accounts: Accounts::default(),
            connections: Arc::default(),
            memory: Arc::default(),
            statements: Statements::default(),
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

    /// What statements took.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// The region that the server is in, as its labels say.
    pub fn region(&self) -> Option<String> {
        self.config.label_pairs().into_iter().find(|(name, _)| name == REGION_LABEL).map(|(_, region)| region)
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

    fn statistics(&self) -> Result<Arc<StatisticsCache>, SqlError> {
        Ok(Arc::clone(self.domain()?.statistics()))
    }

    fn memory(&self) -> &Arc<ServerMemory> {
        &self.memory
    }

    fn temporary_directory(&self) -> &Path {
        &self.temporary_directory
    }
}
