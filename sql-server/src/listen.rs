//! The server's life from start to shutdown: its sockets, and who is let in.
//!
//! It starts whether or not the cluster can be reached: a background task connects and keeps trying, and until it has
//! succeeded a statement that needs the cluster fails with 9001, naming why.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sql_context::vars::SERVER_VERSION;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Server;
use crate::cluster::connect::connect;
use crate::config::Config;
use crate::status::serve_status;
use crate::wire::alive::Line;
use crate::wire::connection;
use crate::wire::tls::{self, TlsAcceptor, TlsError};

/// Stack of the threads that run the server. Expressions nest up to the parser's limit, and evaluating them recurses.
pub const STACK_BYTES: usize = 16 << 20;
/// Pause after a socket could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
        let wait = self.server.config().graceful_wait.0;
        if tokio::time::timeout(wait, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.server.connections().count(), "statements still run, ending them");
            for connection in self.server.connections().list() {
                connection.interrupt.kill_connection();
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), self.tasks.wait()).await;
        }
        if let Ok(domain) = self.server.domain() {
            domain.shutdown().await;
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
    let line = Line::of(&stream);
    let stream = Box::new(stream);
    // `SET GLOBAL max_connections` counts from the next connection on.
    match server.connections().open(Some(peer), server.globals().server().max_connections) {
        Ok(open) => {
            let (server, stop) = (Arc::clone(server), stop.clone());
            tasks.spawn(async move {
                connection::serve(server, Arc::clone(&open.info), stream, line, tls, stop).await;
                drop(open);
            });
        }
        Err(e) => {
            tracing::info!(%peer, "connection refused: {e}");
            tasks.spawn(async move { connection::refuse(stream, &e).await });
        }
    }
}
