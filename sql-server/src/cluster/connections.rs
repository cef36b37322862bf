//! The connections of a server, as `KILL` and the process list see them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use sql_base::{Interrupt, SqlError};

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
            interrupt: Arc::new(Interrupt::new(id)),
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
    pub(super) last_id: AtomicU64,
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
