//! What servers tell each other through the etcd keys of PD.
//!
//! ```text
//!   /tidb/server/info/<server>                 who is there          leased
//!   /tidb/ddl/global_schema_version            the latest version    a hint: the truth is in the key space
//!   /tidb/ddl/all_schema_versions/<server>     what each one uses    leased
//!   /tidb/ddl/fg/owner                         who changes schemas   leased
//!   /tidb/ddl/add_ddl_job                      there is a new job    a hint
//!   /tidb/sysvars                              SET GLOBAL was said   a hint
//!   /tidb/server/minstartts/<server>           its oldest timestamp  leased; none: it needs nothing old
//! ```
//!
//! Hints make things quick; nothing is wrong when one is lost, because whoever waits for one also looks from time to
//! time.

use std::time::Duration;

use etcd_client::{
    Channel, Client, Compare, CompareOp, EventType, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn,
    TxnOp, TxnOpResponse, WatchOptions,
};
use net::grpc::{ChannelOptions, Channels};
use serde::{Deserialize, Serialize};

const SERVERS: &str = "/tidb/server/info/";
const OLDEST: &str = "/tidb/server/minstartts/";
const ALL: &str = "/tidb/";
const GLOBAL_VERSION: &str = "/tidb/ddl/global_schema_version";
const ALL_VERSIONS: &str = "/tidb/ddl/all_schema_versions/";
const OWNER: &str = "/tidb/ddl/fg/owner";
const NEW_JOB: &str = "/tidb/ddl/add_ddl_job";
const VARIABLES: &str = "/tidb/sysvars";

/// A call that takes longer is given up; the caller decides whether to try again.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// A call to the metadata store failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}: {why}")]
pub struct CoordinationError {
    what: &'static str,
    why: String,
}

type Result<T> = std::result::Result<T, CoordinationError>;

/// A SQL server, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Unique over time: a restarted server is another one.
    #[serde(rename = "ddl_id")]
    pub id: String,
    /// Where clients reach it.
    pub ip: String,
    /// The MySQL port.
    #[serde(rename = "listening_port")]
    pub port: u16,
    /// Where its status page is.
    pub status_port: u16,
    /// Its version.
    pub version: String,
    /// Seconds since the epoch.
    pub start_timestamp: i64,
    /// Region, zone and so on.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Something that happened under the keys that servers watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// There is a newer schema, or a global variable was set.
    Schema,
    /// There is a new job.
    Job,
    /// Nobody changes schemas now.
    OwnerGone,
}

/// A client of the metadata store. Clones share the connection.
#[derive(Clone)]
pub struct Coordinator {
    client: Client,
    server: String,
}

async fn call<T>(
    what: &'static str,
    request: impl Future<Output = std::result::Result<T, etcd_client::Error>>,
) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CoordinationError { what, why: error.to_string() }),
        Err(_) => Err(CoordinationError { what, why: format!("no answer within {CALL_TIMEOUT:?}") }),
    }
}

/// A lease and what keeps it.
pub struct Session {
    /// The lease.
    pub lease: i64,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Coordinator {
    /// Connects on behalf of a server, in the manner of `channels` but over connections of its own: the schema lease
    /// does not outlast a dead connection by much, so that must be noticed sooner.
    pub async fn connect(endpoints: &[String], server: &str, channels: &Channels) -> Result<Self> {
        let what = "connect to the metadata store";
        let channels = Channels::new(ChannelOptions {
            connect_timeout: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(3),
            keepalive_timeout: Duration::from_secs(2),
            ..channels.options().clone()
        });
        let channel = channels.any(endpoints).map_err(|e| CoordinationError { what, why: e.to_string() })?;
        let client = call(what, Client::from_channel(Channel::Custom(channel), None)).await?;
        Ok(Coordinator { client, server: server.to_owned() })
    }

    // ---- The session ----

    /// A new lease.
    pub async fn open_session(&self, ttl: Duration) -> Result<Session> {
        let mut leases = self.client.lease_client();
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let lease = call("grant a lease", leases.grant(ttl, None)).await?.id();
        let (keeper, answers) = call("keep a lease", leases.keep_alive(lease)).await?;
        Ok(Session { lease, keeper, answers })
    }

    /// Keeps the lease once: whether it lives.
    pub async fn keep_alive(&self, session: &mut Session) -> Result<bool> {
        call("keep the lease", session.keeper.keep_alive()).await?;
        let answer = call("keep the lease", session.answers.message()).await?;
        match answer {
            Some(answer) => Ok(answer.ttl() > 0),
            None => Err(CoordinationError { what: "keep the lease", why: "the stream ended".into() }),
        }
    }

    /// Opens the stream of keep-alives anew for a lease that may still live, after the stream broke.
    pub async fn resume_session(&self, lease: i64) -> Result<Session> {
        let mut leases = self.client.lease_client();
        let (keeper, answers) = call("keep a lease", leases.keep_alive(lease)).await?;
        Ok(Session { lease, keeper, answers })
    }

    /// Gives the lease back, so that nobody waits for it to end.
    pub async fn close_session(&self, lease: i64) -> Result<()> {
        call("revoke the lease", self.client.lease_client().revoke(lease)).await.map(drop)
    }

    async fn put(&self, what: &'static str, key: &str, value: Vec<u8>, lease: Option<i64>) -> Result<()> {
        let options = lease.map(|lease| PutOptions::new().with_lease(lease));
        call(what, self.client.kv_client().put(key, value, options)).await.map(drop)
    }

    /// Registers this server.
    pub async fn register(&self, info: &ServerInfo, lease: i64) -> Result<()> {
        let value = serde_json::to_vec(info).unwrap_or_default();
        self.put("register the server", &format!("{SERVERS}{}", self.server), value, Some(lease)).await
    }

    /// The servers that are there.
    pub async fn servers(&self) -> Result<Vec<ServerInfo>> {
        let options = GetOptions::new().with_prefix();
        let answer = call("list the servers", self.client.kv_client().get(SERVERS, Some(options))).await?;
        Ok(answer.kvs().iter().filter_map(|pair| serde_json::from_slice(pair.value()).ok()).collect())
    }

    // ---- Versions ----

    /// Tells all servers that there is a newer schema.
    pub async fn announce_version(&self, version: i64) -> Result<()> {
        self.put("announce a schema version", GLOBAL_VERSION, version.to_string().into_bytes(), None).await
    }

    /// Tells all servers that a global variable was set.
    pub async fn announce_variables(&self) -> Result<()> {
        self.put("announce a global variable", VARIABLES, Vec::new(), None).await
    }

    /// Acknowledges a version on behalf of this server.
    pub async fn acknowledge(&self, version: i64, lease: i64) -> Result<()> {
        let key = format!("{ALL_VERSIONS}{}", self.server);
        self.put("acknowledge a schema version", &key, version.to_string().into_bytes(), Some(lease)).await
    }

    /// What the servers use: (server, version).
    pub async fn versions(&self) -> Result<Vec<(String, i64)>> {
        let options = GetOptions::new().with_prefix();
        let answer = call("read schema versions", self.client.kv_client().get(ALL_VERSIONS, Some(options))).await?;
        let versions = answer.kvs().iter().filter_map(|pair| {
            let server = pair.key_str().ok()?.strip_prefix(ALL_VERSIONS)?.to_owned();
            Some((server, pair.value_str().ok()?.parse().ok()?))
        });
        Ok(versions.collect())
    }

    // ---- What is still read ----

    /// Tells the oldest timestamp that this server may still read or commit at; `None`: it needs nothing old.
    pub async fn report_oldest(&self, oldest: Option<u64>, lease: i64) -> Result<()> {
        let key = format!("{OLDEST}{}", self.server);
        match oldest {
            Some(ts) => self.put("report the oldest transaction", &key, ts.to_string().into_bytes(), Some(lease)).await,
            None => {
                call("report no old transaction", self.client.kv_client().delete(key, None)).await?;
                Ok(())
            }
        }
    }

    /// The oldest timestamp that a server may still read or commit at.
    pub async fn oldest(&self) -> Result<Option<u64>> {
        let what = "read the oldest transactions";
        let options = GetOptions::new().with_prefix();
        let answer = call(what, self.client.kv_client().get(OLDEST, Some(options))).await?;
        let mut oldest = None;
        for pair in answer.kvs() {
            // One that cannot be read may be older than all others.
            let ts = pair.value_str().ok().and_then(|text| text.parse::<u64>().ok());
            let ts = ts.ok_or_else(|| CoordinationError { what, why: "a report is no timestamp".into() })?;
            oldest = Some(oldest.map_or(ts, |least: u64| least.min(ts)));
        }
        Ok(oldest)
    }

    // ---- The owner ----

    /// Becomes the owner if there is none. `true` when this server is it.
    pub async fn campaign(&self, lease: i64) -> Result<bool> {
        let txn = Txn::new()
            .when([Compare::create_revision(OWNER, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(OWNER, self.server.clone(), Some(PutOptions::new().with_lease(lease)))])
            .or_else([TxnOp::get(OWNER, None)]);
        let answer = call("campaign for DDL owner", self.client.kv_client().txn(txn)).await?;
        if answer.succeeded() {
            return Ok(true);
        }
        let held = answer.op_responses().into_iter().any(|response| match response {
            TxnOpResponse::Get(get) => {
                get.kvs().first().is_some_and(|pair| pair.value() == self.server.as_bytes() && pair.lease() == lease)
            }
            _ => false,
        });
        Ok(held)
    }

    /// The owner's id.
    pub async fn owner(&self) -> Result<Option<String>> {
        let answer = call("read the DDL owner", self.client.kv_client().get(OWNER, None)).await?;
        Ok(answer.kvs().first().map(|pair| String::from_utf8_lossy(pair.value()).into_owned()))
    }

    /// Tells the owner that there is a new job.
    pub async fn announce_job(&self, job: i64) -> Result<()> {
        self.put("announce a DDL job", NEW_JOB, job.to_string().into_bytes(), None).await
    }

    // ---- Hints ----

    /// Calls `on` for every hint, until the watch breaks.
    pub async fn watch(&self, mut on: impl FnMut(Hint)) -> Result<()> {
        let options = WatchOptions::new().with_prefix();
        let mut stream = call("watch schema changes", self.client.watch_client().watch(ALL, Some(options))).await?;
        // Whatever happened before the watch began.
        on(Hint::Schema);
        on(Hint::Job);
        loop {
            let broken = |why: String| CoordinationError { what: "watch schema changes", why };
            let message = stream.message().await.map_err(|e| broken(e.to_string()))?;
            let Some(message) = message else { return Err(broken("the stream ended".into())) };
            if message.canceled() {
                return Err(broken(message.cancel_reason().to_owned()));
            }
            for event in message.events() {
                let Some(key) = event.kv().and_then(|pair| pair.key_str().ok()) else { continue };
                match key {
                    GLOBAL_VERSION | VARIABLES => on(Hint::Schema),
                    NEW_JOB => on(Hint::Job),
                    OWNER if event.event_type() == EventType::Delete => on(Hint::OwnerGone),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_metadata_store_is_called_from_the_address_that_the_server_is_to_call_from() {
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = "127.0.7.1".parse().unwrap();
        let channels = Channels::new(ChannelOptions { source: Some(source), ..ChannelOptions::default() });
        let endpoints = [store.local_addr().unwrap().to_string()];
        let coordinator = Coordinator::connect(&endpoints, "server", &channels).await.unwrap();
        tokio::spawn(async move { coordinator.servers().await });
        assert_eq!(store.accept().await.unwrap().1.ip(), source);
    }

    #[tokio::test]
    async fn a_store_that_accepts_and_says_nothing_costs_one_call_and_not_the_lease() {
        let (silent, next) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let endpoints = [&silent, &next].map(|l| l.local_addr().unwrap().to_string());
        let coordinator = Coordinator::connect(&endpoints, "server", &Channels::default()).await.unwrap();
        let started = std::time::Instant::now();
        assert!(coordinator.servers().await.is_err());
        assert!(started.elapsed() <= CALL_TIMEOUT + Duration::from_secs(1), "{:?}", started.elapsed());
        tokio::spawn(async move { coordinator.servers().await });
        let reached = tokio::time::timeout(Duration::from_secs(1), next.accept()).await;
        reached.expect("the next one is called").unwrap();
    }
}
