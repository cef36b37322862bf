//! Configuration of a storage node: the YAML file, the flags that override it, and what must hold between the settings.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use net::config::{ByteSize, Labels, Span};
use net::grpc::TlsConfig;
use net::logging::{LogArgs, LogConfig};
use serde::{Deserialize, Serialize};

use crate::raftstore::StoreConfig;

/// Everything a node can be told. `config.sample.yaml` explains each setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Where clients and other nodes are listened for.
    pub addr: String,
    /// What clients and other nodes are told to connect to; `addr` when empty.
    pub advertise_addr: String,
    /// Where metrics and health are served over HTTP; nowhere when empty.
    pub status_addr: String,
    /// What the placement driver is told of the status address; `status-addr` when empty.
    pub advertise_status_addr: String,
    /// The placement driver's client addresses.
    pub pd_endpoints: Vec<String>,
    /// Where the data is kept.
    pub data_dir: PathBuf,
    /// Where this node is: keys and values that placement rules name.
    pub labels: Labels,
    /// Space this node may claim to have; the file system's when zero.
    pub capacity: ByteSize,
    /// Local address that connections to other processes are made from.
    pub source_address: Option<IpAddr>,
    /// Raft and regions.
    pub raft: RaftConfig,
    /// The local storage engine.
    pub engine: EngineConfig,
    /// TLS on the port and towards others.
    pub security: TlsConfig,
    /// Log file and level.
    pub log: LogConfig,
    /// The newest format that is read and written: another than this version's is for tests.
    #[serde(skip)]
    pub format: u32,
}

/// Raft and regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RaftConfig {
    /// The unit of Raft's time.
    pub tick_interval: Span,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader before a follower stands for election; it waits up to twice as long.
    pub election_ticks: usize,
    /// How often an unchanged region is reported to the placement driver. Changes are reported at once.
    pub region_heartbeat_interval: Span,
    /// How often the store is reported.
    pub store_heartbeat_interval: Span,
    /// How often the engine is synced, after which Raft logs are truncated.
    pub engine_sync_interval: Span,
    /// Silence after which a replica is reported as down.
    pub peer_down_after: Span,
    /// How long a replica misses its leader before it asks whether it still belongs to its region.
    pub leader_missing_after: Span,
    /// A region above this size is split.
    pub region_max_size: ByteSize,
    /// Into parts of this size.
    pub region_split_size: ByteSize,
    /// Bytes written to a region before its size is looked at again.
    pub split_check_diff: ByteSize,
    /// Largest Raft entry, and so the largest write.
    pub entry_max_size: ByteSize,
    /// A region's log above this size is truncated even if a slow replica then needs a snapshot.
    pub log_max_size: ByteSize,
}

impl Default for RaftConfig {
    fn default() -> Self {
        RaftConfig {
            tick_interval: Span::millis(200),
            heartbeat_ticks: 2,
            election_ticks: 10,
            region_heartbeat_interval: Span::secs(10),
            store_heartbeat_interval: Span::secs(3),
            engine_sync_interval: Span::secs(10),
            peer_down_after: Span::secs(30),
            leader_missing_after: Span::secs(30),
            region_max_size: ByteSize::mib(144),
            region_split_size: ByteSize::mib(96),
            split_check_diff: ByteSize::mib(8),
            entry_max_size: ByteSize::mib(8),
            log_max_size: ByteSize::mib(48),
        }
    }
}

/// With less memory, single ranges would be too large for it.
const HOT_MIN: ByteSize = ByteSize::mib(4);

/// The local storage engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct EngineConfig {
    /// Memory for ranges that are read often; none are kept when zero.
    pub hot: ByteSize,
    /// Memory for blocks read from disk.
    pub block_cache: ByteSize,
    /// Size at which a memtable is flushed.
    pub memtable: ByteSize,
    /// Threads for flushes and compactions.
    pub background_threads: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            hot: ByteSize::mib(256),
            block_cache: ByteSize::mib(64),
            memtable: ByteSize::mib(16),
            background_threads: 2,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            addr: "127.0.0.1:20160".into(),
            advertise_addr: String::new(),
            status_addr: "127.0.0.1:20180".into(),
            advertise_status_addr: String::new(),
            pd_endpoints: vec!["127.0.0.1:2379".into()],
            data_dir: PathBuf::from("storage-node-data"),
            labels: Labels::new(),
            capacity: ByteSize(0),
            source_address: None,
            raft: RaftConfig::default(),
            engine: EngineConfig::default(),
            security: TlsConfig::default(),
            log: LogConfig::default(),
            format: net::format::NEWEST,
        }
    }
}

/// The command line of the server.
#[derive(Debug, Default, clap::Parser)]
#[command(
    name = "storage-node",
    version,
    about = "Meridian's storage node: multi-Raft store, MVCC, transactions and coprocessor behind TiKV's gRPC interface",
    after_help = "Example, a node in a region of its own beside a placement driver on this machine:\n  \
        storage-node --pd 127.0.0.1:2379 --addr 127.0.0.1:20160 --data-dir data/kv-1 --labels region=eu-west-1\n\
        Settings without a flag are in the configuration file; config.sample.yaml explains them all."
)]
pub struct Args {
    /// Configuration file (YAML); flags override it.
    #[arg(long, short = 'C', value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to serve clients and other nodes on [default: 127.0.0.1:20160].
    #[arg(long, short = 'A', value_name = "HOST:PORT")]
    pub addr: Option<String>,
    /// Address that clients and other nodes are told [default: the one of --addr].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_addr: Option<String>,
    /// Address to serve /metrics, /health and /status on; empty for nowhere [default: 127.0.0.1:20180].
    #[arg(long, value_name = "HOST:PORT")]
    pub status_addr: Option<String>,
    /// Status address that the placement driver is told [default: the one of --status-addr].
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise_status_addr: Option<String>,
    /// Client addresses of the placement driver [default: 127.0.0.1:2379].
    #[arg(long = "pd-endpoints", visible_alias = "pd", value_name = "HOST:PORT,…", value_delimiter = ',')]
    pub pd_endpoints: Option<Vec<String>>,
    /// Directory for all data [default: storage-node-data].
    #[arg(long, short = 's', value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where this node is, as placement rules name it: key=value pairs.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub labels: Option<Vec<String>>,
    /// Space this node may claim to have, such as 100GiB [default: the file system's].
    #[arg(long, value_name = "SIZE")]
    pub capacity: Option<ByteSize>,
    /// Local address that connections to other processes are made from.
    #[arg(long, value_name = "IP")]
    pub source_address: Option<IpAddr>,
    /// Announce, read and write this format as if the version had it: for tests of clusters of mixed versions.
    #[arg(long, hide = true, value_name = "N")]
    pub format: Option<u32>,
    /// Log file and level.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or understood.
    #[error(transparent)]
    File(#[from] net::config::ConfigError),
    /// A value, or the relation of two, is wrong.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// The file, if one is named, with the flags laid over it, validated.
    pub fn load(args: &Args) -> Result<Config, ConfigError> {
        let mut config: Config = net::config::load(args.config.as_deref())?;
        let set = |field: &mut String, flag: &Option<String>| {
            if let Some(value) = flag {
                field.clone_from(value);
            }
        };
        set(&mut config.addr, &args.addr);
        set(&mut config.advertise_addr, &args.advertise_addr);
        set(&mut config.status_addr, &args.status_addr);
        set(&mut config.advertise_status_addr, &args.advertise_status_addr);
        if let Some(endpoints) = &args.pd_endpoints {
            config.pd_endpoints.clone_from(endpoints);
        }
        if let Some(dir) = &args.data_dir {
            config.data_dir.clone_from(dir);
        }
        let labels = net::config::parse_labels(args.labels.as_deref().unwrap_or_default());
        config.labels.extend(labels.map_err(|reason| ConfigError::Invalid(format!("--labels: {reason}")))?);
        if let Some(capacity) = args.capacity {
            config.capacity = capacity;
        }
        config.source_address = args.source_address.or(config.source_address);
        config.format = args.format.unwrap_or(config.format);
        config.log.override_with(&args.log);
        config.validate()?;
        Ok(config)
    }

    /// Checks every value and every relation between values, and names the broken one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let fail = |what: String| Err(ConfigError::Invalid(what));
        let raft = &self.raft;
        if self.pd_endpoints.iter().all(|e| e.trim().is_empty()) {
            return fail("pd-endpoints: name at least one placement driver".into());
        }
        if self.data_dir.as_os_str().is_empty() {
            return fail("data-dir: must not be empty".into());
        }
        if let Err(reason) = net::config::check_labels(&self.labels) {
            return fail(format!("labels: {reason}"));
        }
        let tick = raft.tick_interval.0;
        if tick < Duration::from_millis(10) || tick > Duration::from_secs(5) {
            return fail(format!("raft.tick-interval: {tick:?} is not between 10ms and 5s"));
        }
        if raft.heartbeat_ticks == 0 {
            return fail("raft.heartbeat-ticks: must be at least 1".into());
        }
        if raft.election_ticks < 3 * raft.heartbeat_ticks {
            return fail(format!(
                "raft.election-ticks: {} must be at least three times raft.heartbeat-ticks ({}), or one lost heartbeat \
                 starts an election",
                raft.election_ticks, raft.heartbeat_ticks
            ));
        }
        let longer_than_tick = [
            ("region-heartbeat-interval", raft.region_heartbeat_interval),
            ("store-heartbeat-interval", raft.store_heartbeat_interval),
            ("engine-sync-interval", raft.engine_sync_interval),
        ];
        for (name, span) in longer_than_tick {
            if span.0 < tick {
                return fail(format!("raft.{name}: {:?} is shorter than raft.tick-interval ({tick:?})", span.0));
            }
        }
        if raft.leader_missing_after.0 < tick * 2 * raft.election_ticks as u32 {
            return fail("raft.leader-missing-after: must be at least two election timeouts".into());
        }
        if raft.region_split_size > raft.region_max_size || raft.region_split_size.0 == 0 {
            return fail(format!(
                "raft.region-split-size: {} must be above zero and at most raft.region-max-size ({})",
                raft.region_split_size, raft.region_max_size
            ));
        }
        if raft.split_check_diff.0 == 0 {
            return fail("raft.split-check-diff: must be above zero".into());
        }
        if !(ByteSize::kib(64)..=ByteSize::mib(64)).contains(&raft.entry_max_size) {
            return fail(format!("raft.entry-max-size: {} is not between 64KiB and 64MiB", raft.entry_max_size));
        }
        if raft.log_max_size < raft.entry_max_size {
            return fail("raft.log-max-size: must not be below raft.entry-max-size".into());
        }
        let hot = self.engine.hot;
        if hot.0 > 0 && hot < HOT_MIN {
            return fail(format!("engine.hot: {hot} is neither 0 nor at least {HOT_MIN}"));
        }
        if self.engine.background_threads == 0 {
            return fail("engine.background-threads: must be at least 1".into());
        }
        Ok(())
    }

    /// What others are told to connect to, when listening on `bound`.
    pub fn advertised(&self, bound: std::net::SocketAddr) -> String {
        advertised(&self.advertise_addr, &self.addr, bound)
    }

    /// What the placement driver is told of the status port.
    pub fn advertised_status(&self, bound: std::net::SocketAddr) -> String {
        advertised(&self.advertise_status_addr, &self.status_addr, bound)
    }

    /// What the Raft store needs to know.
    pub fn store_config(&self) -> StoreConfig {
        let raft = &self.raft;
        let tick = raft.tick_interval.0.as_nanos().max(1);
        let ticks = |span: Span| (span.0.as_nanos() / tick).max(1) as u64;
        StoreConfig {
            tick_nanos: tick as u64,
            heartbeat_ticks: raft.heartbeat_ticks,
            election_ticks: raft.election_ticks,
            region_heartbeat_ticks: ticks(raft.region_heartbeat_interval),
            store_heartbeat_ticks: ticks(raft.store_heartbeat_interval),
            sync_ticks: ticks(raft.engine_sync_interval),
            leader_missing_ticks: ticks(raft.leader_missing_after),
            peer_down_secs: raft.peer_down_after.0.as_secs(),
            region_bytes_max: raft.region_max_size.0,
            region_bytes_split: raft.region_split_size.0,
            split_check_bytes: raft.split_check_diff.0,
            entry_bytes_max: raft.entry_max_size.as_usize(),
            log_bytes_max: raft.log_max_size.0,
            format: self.format,
        }
    }
}

/// The advertised address if one is set, else the configured one with the port that was really bound.
fn advertised(advertise: &str, configured: &str, bound: std::net::SocketAddr) -> String {
    if !advertise.is_empty() {
        return advertise.to_owned();
    }
    match configured.rsplit_once(':') {
        Some((host, _)) if !host.is_empty() && !host.starts_with("0.0.0.0") && host != "[::]" => {
            format!("{host}:{}", bound.port())
        }
        _ => bound.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn the_sample_file_is_the_default_configuration() {
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config.sample.yaml"));
        let sample: Config = net::config::load(Some(path)).unwrap();
        assert_eq!(sample, Config::default());
    }

    #[test]
    fn flags_override_and_labels_are_pairs() {
        let args = Args::parse_from([
            "storage-node",
            "--pd",
            "a:1,b:2",
            "--labels",
            "region=eu-west-1,zone=z1",
            "--addr",
            "127.0.0.1:0",
        ]);
        let config = Config::load(&args).unwrap();
        assert_eq!(config.pd_endpoints, ["a:1", "b:2"]);
        assert_eq!(config.labels["region"], "eu-west-1");
        assert_eq!(config.labels["zone"], "z1");
        assert_eq!(config.advertised("127.0.0.1:4242".parse().unwrap()), "127.0.0.1:4242");
        assert!(Config::load(&Args::parse_from(["storage-node", "--labels", "region"])).is_err());
    }

    #[test]
    fn a_broken_relation_is_named() {
        let mut config = Config::default();
        config.raft.election_ticks = 3;
        assert!(config.validate().unwrap_err().to_string().contains("election-ticks"));
        config = Config::default();
        config.raft.region_split_size = ByteSize::mib(1000);
        assert!(config.validate().unwrap_err().to_string().contains("region-split-size"));
        config = Config::default();
        config.engine.hot = ByteSize::kib(64);
        assert!(config.validate().unwrap_err().to_string().contains("engine.hot"));
        config.engine.hot = ByteSize(0);
        config.validate().unwrap();
    }
}
