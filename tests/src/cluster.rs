//! A cluster inside the test's process: PD members, storage nodes and SQL servers on real sockets, Raft logs and disks,
//! in a temporary directory.
//!
//! ```text
//!   let cluster = Cluster::start(1, 3).await;
//!   let client = cluster.client().await;
//!   cluster.add_sql().await;
//!   let connection = mysql_async::Conn::new(cluster.mysql(0)).await?;
//!   cluster.stop().await;
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kv_client::{Client, ClientOptions, GrpcPd, PdClient};
use net::grpc::Channels;
use placement_driver::{Listeners, Pd};
use sql_server::listen::{STACK_BYTES, SqlServer};
use storage_node::node::{Node, NodeParts};
use tokio::net::TcpListener;

/// No step of a test takes this long on a machine that is only slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime for clusters with SQL servers, whose threads want the stack that the real server gives them.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The running parts. Dropping it stops them without order.
pub struct Cluster {
    dir: tempfile::TempDir,
    pd_configs: Vec<placement_driver::Config>,
    /// As configured; `None` while a member is stopped.
    pds: Vec<Option<Pd>>,
    nodes: Vec<Node>,
    node_configs: Vec<storage_node::config::Config>,
    sqls: Vec<SqlServer>,
    endpoints: Vec<String>,
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// Binds an address that was in use a moment ago.
async fn rebind(address: &str) -> TcpListener {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(e) => assert!(tokio::time::Instant::now() < deadline, "{address} does not become free: {e}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Cluster {
    /// Starts so many PD members and storage nodes, and waits until the first region has a leader.
    pub async fn start(pds: usize, nodes: usize) -> Cluster {
        Self::start_with(pds, nodes, |_| {}).await
    }

    /// The same with nodes configured by the test.
    pub async fn start_with(
        pds: usize,
        nodes: usize,
        configure: impl Fn(&mut storage_node::config::Config),
    ) -> Cluster {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut listeners = Vec::new();
        for _ in 0..pds {
            listeners.push(Listeners { client: listener().await, peer: listener().await });
        }
        let local = |l: &TcpListener| format!("http://{}", l.local_addr().expect("a bound address"));
        let initial: Vec<String> =
            listeners.iter().enumerate().map(|(i, l)| format!("pd-{i}={}", local(&l.peer))).collect();
        let (mut pd_configs, mut pds) = (Vec::new(), Vec::new());
        let mut endpoints = Vec::new();
        for (i, listeners) in listeners.into_iter().enumerate() {
            let config = placement_driver::Config {
                name: format!("pd-{i}"),
                data_dir: dir.path().join(format!("pd-{i}")),
                client_urls: local(&listeners.client),
                peer_urls: local(&listeners.peer),
                initial_cluster: initial.join(","),
                lease: net::config::Span::secs(3),
                ..placement_driver::Config::default()
            };
            endpoints.push(listeners.client.local_addr().expect("a bound address").to_string());
            pds.push(Some(Pd::start(config.clone(), listeners).expect("a PD member")));
            pd_configs.push(config);
        }
        let mut cluster =
            Cluster { dir, pd_configs, pds, nodes: Vec::new(), node_configs: Vec::new(), sqls: Vec::new(), endpoints };
        for _ in 0..nodes {
            cluster.add_node(&configure).await;
        }
        if nodes > 0 {
            cluster.wait_served().await;
        }
        cluster
    }

    /// Stops a PD member in order; the cluster may then be without PD.
    pub async fn stop_pd(&mut self, index: usize) {
        self.pds[index].take().expect("a running member").shutdown().await;
    }

    /// Starts a stopped PD member again, with its data and at its addresses.
    pub async fn start_pd(&mut self, index: usize) {
        assert!(self.pds[index].is_none(), "PD member {index} runs");
        let config = self.pd_configs[index].clone();
        let address = |found: Result<String, _>| found.expect("an address that was bound before");
        let client = rebind(&address(config.client_address())).await;
        let peer = rebind(&address(config.peer_address())).await;
        self.pds[index] = Some(Pd::start(config, Listeners { client, peer }).expect("a PD member"));
    }

    /// Starts one more storage node.
    pub async fn add_node(&mut self, configure: impl Fn(&mut storage_node::config::Config)) {
        self.try_add_node(configure).await.expect("a storage node");
    }

    /// Starts one more storage node, if it lets itself be started.
    pub async fn try_add_node(&mut self, configure: impl Fn(&mut storage_node::config::Config)) -> anyhow::Result<()> {
        let index = self.nodes.len();
        let listener = listener().await;
        let address = listener.local_addr().expect("a bound address").to_string();
        let mut config = storage_node::config::Config {
            addr: address,
            data_dir: self.dir.path().join(format!("kv-{index}")),
            pd_endpoints: self.endpoints.clone(),
            labels: BTreeMap::from([("host".to_string(), format!("kv-{index}"))]),
            ..storage_node::config::Config::default()
        };
        configure(&mut config);
        let parts = NodeParts { listener, status_listener: None, pd: self.pd().await, channels: Channels::default() };
        self.nodes.push(Node::start(config.clone(), parts).await?);
        self.node_configs.push(config);
        Ok(())
    }

    /// Stops a storage node in order and starts it again with its data and at its address, if it lets itself be started.
    pub async fn restart_node(
        &mut self,
        index: usize,
        configure: impl Fn(&mut storage_node::config::Config),
    ) -> anyhow::Result<()> {
        let mut config = self.node_configs[index].clone();
        self.nodes.remove(index).shutdown().await;
        self.node_configs.remove(index);
        configure(&mut config);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let node = loop {
            let (listener, pd) = (rebind(&config.addr).await, self.pd().await);
            let parts = NodeParts { listener, status_listener: None, pd, channels: Channels::default() };
            match Node::start(config.clone(), parts).await {
                // Calls that were under way hold the engine for a moment longer than the node.
                Err(e) if format!("{e:#}").contains("open in another process") => {
                    assert!(tokio::time::Instant::now() < deadline, "{e:#}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                started => break started?,
            }
        };
        self.nodes.insert(index, node);
        self.node_configs.insert(index, config);
        Ok(())
    }

    /// Where the cluster keeps its data.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Starts one more SQL server, and waits until it has read the schema.
    pub async fn add_sql(&mut self) {
        let sql = self.start_sql(|_| {}).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while let Err(e) = sql.server().schema() {
            assert!(tokio::time::Instant::now() < deadline, "the schema is not read: {e}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.sqls.push(sql);
    }

    /// Starts a SQL server, configured by the test, that is the test's to stop.
    pub async fn start_sql(&self, configure: impl FnOnce(&mut sql_server::config::Config)) -> SqlServer {
        let mut config = sql_server::config::Config {
            path: self.endpoints.join(","),
            graceful_wait: net::config::Span::secs(1),
            ..sql_server::config::Config::default()
        };
        configure(&mut config);
        let listeners = sql_server::listen::Listeners { mysql: listener().await, status: Some(listener().await) };
        SqlServer::start(config, listeners).expect("a SQL server")
    }

    /// How a MySQL client reaches a SQL server.
    pub fn mysql(&self, index: usize) -> mysql_async::Opts {
        let address = self.sqls[index].address();
        mysql_async::OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(Some("root"))
            .prefer_socket(Some(false))
            .into()
    }

    /// A SQL server, to look inside.
    pub fn sql(&self, index: usize) -> &SqlServer {
        &self.sqls[index]
    }

    /// Waits until the region of the first key answers.
    async fn wait_served(&self) {
        let client = self.client().await;
        let read = client.snapshot(kv_client::Timestamp::MAX);
        tokio::time::timeout(PATIENCE, read.get(b"")).await.expect("a first read in time").expect("a first read");
    }

    /// Where PD is served, as `host:port`.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// The storage nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A PD client of its own.
    pub async fn pd(&self) -> Arc<dyn PdClient> {
        Arc::new(GrpcPd::connect(&self.endpoints, Channels::default()).await.expect("a PD leader"))
    }

    /// A key-value client of its own: its own connections, routes and lock resolver.
    pub async fn client(&self) -> Client {
        self.client_with(ClientOptions::default()).await
    }

    /// The same with other options.
    pub async fn client_with(&self, options: ClientOptions) -> Client {
        Client::connect(&self.endpoints, Channels::default(), options).await.expect("a cluster")
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        for sql in self.sqls {
            sql.shutdown().await;
        }
        for node in self.nodes {
            node.shutdown().await;
        }
        for pd in self.pds.into_iter().flatten() {
            pd.shutdown().await;
        }
    }
}
