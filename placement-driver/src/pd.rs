//! A running member: its ports, its part of the metadata store, and the loop in which it follows or leads.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, GetOptions, Txn, TxnOp, TxnOpResponse};
use net::config::Labels;
use net::grpc::{ChannelOptions, Channels, ServeOptions};
use parking_lot::RwLock;
use prost::Message as _;
use proto::pdpb::Member;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, InvalidConfig};
use crate::election;
use crate::kv::{self, CLUSTER_ID, Keys, KvError, timed};
use crate::leader::{Clock, Leader, system_clock};
use crate::metastore::service::EtcdService;
use crate::metastore::transport::PeerService;
use crate::metastore::{Metastore, Options, member_id};
use crate::server::etcd_proxy::EtcdProxy;
use crate::{metrics, server};

/// The ports, bound by the caller.
#[derive(Debug)]
pub struct Listeners {
    /// For clients.
    pub client: TcpListener,
    /// For the other members.
    pub peer: TcpListener,
}

/// Why a member can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The data directory.
    #[error("data directory {path}: {source}")]
    Data {
        /// The directory.
        path: String,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// What the data directory holds.
    #[error("data directory {0}")]
    Format(#[from] net::format::FormatError),
    /// A port.
    #[error("listener: {0}")]
    Listener(#[from] io::Error),
    /// Asked for, but not there.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// What the services of one member share.
pub struct Shared {
    /// The settings.
    pub config: Config,
    /// This member's id, as in the metadata store.
    pub member_id: u64,
    /// Where to reach others.
    pub channels: Channels,
    /// The embedded store, unless an external one is used.
    pub metastore: Option<Metastore>,
    /// The wall clock.
    pub clock: Clock,
    /// When the process started, in seconds since the Unix epoch.
    pub started_s: u64,
    store: OnceLock<Connected>,
    leader_seen: RwLock<Option<Member>>,
    active: RwLock<Option<Arc<Leader>>>,
    resign: tokio::sync::Notify,
}

/// What is known once the metadata store has answered.
#[derive(Clone)]
pub struct Connected {
    /// The store.
    pub client: Client,
    /// PD's cluster id.
    pub cluster_id: u64,
    /// Where things are.
    pub keys: Keys,
}

impl Shared {
    /// The metadata store, once it has answered.
    pub fn connected(&self) -> Option<&Connected> {
        self.store.get()
    }

    /// The leader as last seen.
    pub fn leader_seen(&self) -> Option<Member> {
        self.leader_seen.read().clone()
    }

    /// This member's term, while it leads.
    pub fn active(&self) -> Option<Arc<Leader>> {
        self.active.read().clone().filter(|leader| leader.is_valid())
    }

    /// Makes this member give up its leadership.
    pub fn resign(&self) {
        self.resign.notify_one();
    }

    /// This member's record as configured.
    pub fn member(&self) -> Member {
        let urls = |text: &str| text.split(',').map(str::to_string).collect();
        Member {
            name: self.config.name.clone(),
            member_id: self.member_id,
            peer_urls: urls(&self.config.advertise_peer_urls),
            client_urls: urls(&self.config.advertise_client_urls),
            leader_priority: self.config.leader_priority,
            binary_version: env!("CARGO_PKG_VERSION").into(),
            // Clients count what they ask of another region.
            dc_location: self.config.labels.get("region").cloned().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// All members that have registered. Works without a majority: it may be a little old.
    pub async fn members(&self) -> Result<Vec<Member>, KvError> {
        let Some(connected) = self.connected() else { return Ok(Vec::new()) };
        let options = GetOptions::new().with_prefix().with_serializable();
        let response = timed(connected.client.kv_client().get(connected.keys.members(), Some(options))).await?;
        let corrupt = |kv: &etcd_client::KeyValue| KvError::Corrupt(String::from_utf8_lossy(kv.key()).into_owned());
        response.kvs().iter().map(|kv| Member::decode(kv.value()).map_err(|_| corrupt(kv))).collect()
    }

    /// Where the members are that have said so, by name. May be a little old, as [`Shared::members`].
    pub async fn member_labels(&self) -> Result<BTreeMap<String, Labels>, KvError> {
        let Some(connected) = self.connected() else { return Ok(BTreeMap::new()) };
        let prefix = connected.keys.member_labels("");
        let options = GetOptions::new().with_prefix().with_serializable();
        let response = timed(connected.client.kv_client().get(prefix.as_str(), Some(options))).await?;
        let read = |kv: &etcd_client::KeyValue| {
            let name = kv.key_str().ok()?.strip_prefix(&prefix)?.to_owned();
            Some((name, serde_json::from_slice(kv.value()).ok()?))
        };
        let corrupt = |kv: &etcd_client::KeyValue| KvError::Corrupt(String::from_utf8_lossy(kv.key()).into_owned());
        response.kvs().iter().map(|kv| read(kv).ok_or_else(|| corrupt(kv))).collect()
    }
}

/// A running member.
pub struct Pd {
    shared: Arc<Shared>,
    client_address: std::net::SocketAddr,
    peer_address: std::net::SocketAddr,
    stop_leading: CancellationToken,
    stop_serving: CancellationToken,
    leading: JoinHandle<()>,
    serving: Vec<JoinHandle<()>>,
}

impl Pd {
    /// Starts a member on bound listeners. It serves from the moment this returns, and elects a leader with the other
    /// members in the background, on the runtime within which it is called.
    pub fn start(config: Config, listeners: Listeners) -> Result<Pd, StartError> {
        Pd::start_with_clock(config, listeners, system_clock())
    }

    /// Starts with another wall clock.
    pub fn start_with_clock(mut config: Config, listeners: Listeners, clock: Clock) -> Result<Pd, StartError> {
        config.validate()?;
        metrics::register();
        if config.security.is_set() {
            return Err(StartError::Unsupported("security (TLS on the Placement Driver's ports)"));
        }
        let client_address = listeners.client.local_addr()?;
        let peer_address = listeners.peer.local_addr()?;
        let channels = Channels::new(ChannelOptions { source: config.source_address, ..ChannelOptions::default() });
        let metastore = if config.external_etcd.is_empty() {
            let used = config.data_dir.join("meta").exists();
            net::format::of_directory(&config.data_dir, "placement driver", net::format::NEWEST, used)?;
            let options = Options {
                name: config.name.clone(),
                members: config.members()?,
                peer_urls: vec![config.advertise_peer_urls.clone()],
                client_urls: vec![config.advertise_client_urls.clone()],
                quota_bytes: config.quota_backend_bytes.0,
            };
            let dir = config.data_dir.join("meta");
            let data_error = |source| StartError::Data { path: config.data_dir.display().to_string(), source };
            Some(Metastore::start(Some(&dir), options, channels.clone()).map_err(data_error)?)
        } else {
            None
        };
        let shared = Arc::new(Shared {
            member_id: member_id(&config.name),
            channels,
            metastore,
            started_s: clock() / 1000,
            clock,
            store: OnceLock::new(),
            leader_seen: RwLock::new(None),
            active: RwLock::new(None),
            resign: tokio::sync::Notify::new(),
            config,
        });

        let stop_serving = CancellationToken::new();
        let mut serving = Vec::new();
        let mut routes = server::grpc::routes(shared.clone(), stop_serving.clone());
        if let Some(store) = &shared.metastore {
            routes = EtcdService::add_to(store.clone(), routes);
            let peer_routes = tonic::service::Routes::new(PeerService::server(store.clone()));
            let local = shared.config.advertise_peer_urls == format!("http://{peer_address}");
            serving.push(serve(listeners.peer, net::grpc::router(peer_routes), local, stop_serving.clone()));
        } else {
            routes = EtcdProxy::add_to(shared.channels.clone(), shared.config.external_etcd.clone(), routes);
        }
        let router = net::grpc::router(routes).merge(server::http::router(shared.clone()));
        let local = shared.config.advertise_client_urls == format!("http://{client_address}");
        serving.push(serve(listeners.client, router, local, stop_serving.clone()));

        let stop_leading = CancellationToken::new();
        let own = match client_address.ip() {
            ip if ip.is_unspecified() => format!("127.0.0.1:{}", client_address.port()),
            _ => client_address.to_string(),
        };
        let leading = tokio::spawn(run(shared.clone(), own, stop_leading.clone()));
        Ok(Pd { shared, client_address, peer_address, stop_leading, stop_serving, leading, serving })
    }

    /// Where clients are served.
    pub fn client_address(&self) -> std::net::SocketAddr {
        self.client_address
    }

    /// `http://host:port` of the client port.
    pub fn client_url(&self) -> String {
        format!("http://{}", self.client_address)
    }

    /// Where the other members are served.
    pub fn peer_address(&self) -> std::net::SocketAddr {
        self.peer_address
    }

    /// Whether this member leads.
    pub fn is_leader(&self) -> bool {
        self.shared.active().is_some()
    }

    /// What the services share, for tests that look inside.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Ends when the member can't go on: the disk of its part of the metadata store failed. It still holds its ports
    /// then, though nothing behind them answers: who runs it must end it.
    pub async fn failed(&self) {
        match &self.shared.metastore {
            Some(store) => store.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Stops in order: gives the leadership back, closes the ports, closes the files.
    pub async fn shutdown(self) {
        self.stop_leading.cancel();
        let _ = tokio::time::timeout(Duration::from_secs(3), self.leading).await;
        self.stop_serving.cancel();
        for task in self.serving {
            let _ = task.await;
        }
        stop_store(&self.shared).await;
        tracing::info!("stopped");
    }

    /// Stops at once without telling anybody, as a crash would, except that ports and files are closed.
    pub async fn crash(self) {
        self.leading.abort();
        *self.shared.active.write() = None;
        self.stop_serving.cancel();
        for task in self.serving {
            let _ = task.await;
        }
        stop_store(&self.shared).await;
    }
}

/// Ends the embedded store's thread, which may be in the middle of a sync.
async fn stop_store(shared: &Shared) {
    if let Some(store) = shared.metastore.clone() {
        let _ = tokio::task::spawn_blocking(move || store.stop()).await;
    }
}

fn serve(listener: TcpListener, router: axum::Router, local: bool, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        // No grace: streams are endless, and what was answered is durable.
        let options = ServeOptions { grace: Duration::from_millis(100), local, ..ServeOptions::default() };
        if let Err(e) = net::grpc::serve(listener, router, options, stop).await {
            tracing::error!(error = %e, "serving failed");
        }
    })
}

/// Connects to the metadata store, then follows or leads until told to stop.
async fn run(shared: Arc<Shared>, own: String, stop: CancellationToken) {
    let connected = tokio::select! {
        connected = connect(&shared, own) => connected,
        () = stop.cancelled() => return,
    };
    let _ = shared.store.set(connected.clone());
    loop {
        tokio::select! {
            result = follow_or_lead(&shared, &connected, &stop) => if let Err(e) = result {
                tracing::debug!(error = %e, "metadata store is not available");
                tokio::select! {
                    () = tokio::time::sleep(election::RETRY) => {}
                    () = stop.cancelled() => return,
                }
            },
            () = stop.cancelled(), if shared.active.read().is_none() => return,
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Tries until the store has answered, this member is announced and the cluster has an id.
async fn connect(shared: &Shared, own: String) -> Connected {
    let endpoints = if shared.metastore.is_some() { vec![own] } else { shared.config.external_etcd.clone() };
    let mut told = false;
    loop {
        match try_connect(shared, &endpoints).await {
            Ok(connected) => {
                tracing::info!(cluster = connected.cluster_id, "metadata store is ready");
                return connected;
            }
            Err(e) => {
                if !told {
                    tracing::info!(error = %e, "waiting for the metadata store");
                    told = true;
                }
                tokio::time::sleep(election::RETRY).await;
            }
        }
    }
}

async fn try_connect(shared: &Shared, endpoints: &[String]) -> Result<Connected, KvError> {
    if let Some(store) = &shared.metastore
        && let Err(e) = store.announce().await
    {
        tracing::debug!(error = %e, "metadata store has no leader yet");
        return Err(KvError::Timeout);
    }
    let channel = shared.channels.any(endpoints).map_err(|e| etcd_client::Error::InvalidArgs(e.to_string()))?;
    let client = timed(Client::from_channel(etcd_client::Channel::Custom(channel), None)).await?;
    let proposed = ((shared.clock)() / 1000) << 32 | u64::from(rand::random::<u32>());
    let absent = Compare::create_revision(CLUSTER_ID, CompareOp::Equal, 0);
    let txn = Txn::new()
        .when([absent])
        .and_then([TxnOp::put(CLUSTER_ID, proposed.to_be_bytes(), None)])
        .or_else([TxnOp::get(CLUSTER_ID, None)]);
    let response = timed(client.kv_client().txn(txn)).await?;
    let cluster_id = match response.op_responses().into_iter().next() {
        Some(TxnOpResponse::Get(get)) => {
            let bytes = get.kvs().first().and_then(|kv| kv.value().try_into().ok());
            bytes.map(u64::from_be_bytes).ok_or_else(|| KvError::Corrupt(CLUSTER_ID.into()))?
        }
        _ => proposed,
    };
    let keys = Keys::new(cluster_id);
    let mut member = shared.member();
    // A priority set at run time outlives a restart, unless the configuration names one.
    if let Some(kv) = kv::get(&client, &keys.member(&member.name)).await?
        && let Ok(known) = Member::decode(kv.value())
        && member.leader_priority == 0
    {
        member.leader_priority = known.leader_priority;
    }
    let labels = serde_json::to_vec(&shared.config.labels).unwrap_or_default();
    let announced = Txn::new().and_then([
        TxnOp::put(keys.member(&member.name), member.encode_to_vec(), None),
        TxnOp::put(keys.member_labels(&member.name), labels, None),
    ]);
    timed(client.kv_client().txn(announced)).await?;
    Ok(Connected { client, cluster_id, keys })
}

async fn follow_or_lead(shared: &Arc<Shared>, connected: &Connected, stop: &CancellationToken) -> Result<(), KvError> {
    let Connected { client, keys, .. } = connected;
    let Some(leader) = election::leader(client, keys).await? else {
        *shared.leader_seen.write() = None;
        return campaign(shared, connected, stop).await;
    };
    if leader.member.member_id == shared.member_id {
        return election::clear_own(client, keys, &leader).await;
    }
    *shared.leader_seen.write() = Some(leader.member.clone());
    let changed = election::leader_changed(client, keys, &leader);
    tokio::pin!(changed);
    loop {
        tokio::select! {
            result = &mut changed => {
                *shared.leader_seen.write() = None;
                return result;
            }
            () = tokio::time::sleep(election::PRIORITY_CHECK) => {
                let members = shared.members().await?;
                let priority = |name: &str| members.iter().find(|m| m.name == name).map(|m| m.leader_priority);
                let (own, theirs) = (priority(&shared.config.name), priority(&leader.member.name));
                if own.unwrap_or(0) > theirs.unwrap_or(0) && election::nominated(client, keys).await?.is_none() {
                    tracing::info!(leader = %leader.member.name, "this member has the higher priority, it takes over");
                    election::nominate(client, keys, &shared.config.name).await?;
                }
            }
        }
    }
}

async fn campaign(shared: &Arc<Shared>, connected: &Connected, stop: &CancellationToken) -> Result<(), KvError> {
    let Connected { client, keys, cluster_id } = connected;
    let lease = shared.config.lease.0;
    let mut member = shared.member();
    if let Some(known) = shared.members().await?.into_iter().find(|m| m.name == member.name) {
        member.leader_priority = known.leader_priority;
    }
    let Some(term) = election::campaign(client, keys, &member, lease).await? else { return Ok(()) };
    let clock = term.clock.clone();
    let term_id = (term.lease_id, term.created);
    let guard = EndOfTerm(shared.clone());
    let load =
        Leader::load(term, client.clone(), keys.clone(), *cluster_id, shared.config.clone(), shared.clock.clone());
    // Renewed from the start: loading a large cluster may take longer than a lease.
    let renewing = election::Term { lease_id: term_id.0, created: term_id.1, clock: clock.clone() };
    let keep = election::keep(client, &renewing, lease);
    tokio::pin!(keep);
    let loaded = tokio::select! {
        loaded = load => loaded,
        () = &mut keep => Err(KvError::NotLeader),
        () = stop.cancelled() => Err(KvError::NotLeader),
    };
    let leader = match loaded {
        Ok(leader) => Arc::new(leader),
        Err(e) => {
            tracing::warn!(error = %e, "won the election, but the term could not begin");
            election::resign(client, &renewing).await;
            return Err(e);
        }
    };
    *shared.leader_seen.write() = Some(member);
    *shared.active.write() = Some(leader.clone());
    metrics::LEADS.set(1);
    if let Some(store) = &shared.metastore {
        // Writes of the PD leader then save a hop.
        store.lead();
    }
    let stop_term = CancellationToken::new();
    let mut work = tokio::spawn(leader.clone().run(stop_term.clone()));
    let succession = async {
        loop {
            tokio::time::sleep(election::PRIORITY_CHECK).await;
            if let Ok(Some(next)) = election::nominated(client, keys).await
                && next != shared.config.name
            {
                return next;
            }
        }
    };
    let why = tokio::select! {
        () = &mut keep => "the lease is lost".to_string(),
        next = succession => format!("{next} is to lead"),
        () = shared.resign.notified() => "asked to resign".to_string(),
        () = stop.cancelled() => "stopping".to_string(),
        _ = &mut work => "the term's work ended".to_string(),
    };
    tracing::info!(why, "leadership ends");
    stop_term.cancel();
    let _ = tokio::time::timeout(Duration::from_secs(1), work).await;
    drop(guard);
    election::resign(client, &renewing).await;
    Ok(())
}

/// Whatever way a term ends, services stop answering for it.
struct EndOfTerm(Arc<Shared>);

impl Drop for EndOfTerm {
    fn drop(&mut self) {
        metrics::LEADS.set(0);
        *self.0.active.write() = None;
        *self.0.leader_seen.write() = None;
    }
}
