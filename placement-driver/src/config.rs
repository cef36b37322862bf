//! Configuration of a member: the YAML file, the flags that override it, and what must hold between the settings.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use net::config::{ByteSize, Labels, Span};
use net::grpc::TlsConfig;
use net::logging::{LogArgs, LogConfig};
use serde::{Deserialize, Serialize};

/// Everything a member can be told. `config.sample.yaml` explains each setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// The member's name, unique in the cluster.
    pub name: String,
    /// Where the metadata is kept. `default.<name>` when empty.
    pub data_dir: PathBuf,
    /// Where clients are listened for.
    pub client_urls: String,
    /// Where other members are listened for.
    pub peer_urls: String,
    /// What clients are told to connect to; `client-urls` when empty.
    pub advertise_client_urls: String,
    /// What other members are told to connect to; `peer-urls` when empty.
    pub advertise_peer_urls: String,
    /// All members as `name=peer-url,…`; this member alone when empty.
    pub initial_cluster: String,
    /// An etcd cluster to keep the metadata in, instead of the embedded store.
    pub external_etcd: Vec<String>,
    /// Memory that the embedded store may take before writes of others than PD are refused.
    pub quota_backend_bytes: ByteSize,
    /// How long the PD leader's lease lasts.
    pub lease: Span,
    /// How far ahead timestamps are reserved.
    pub tso_save_interval: Span,
    /// A member with a higher number takes the PD leadership over.
    pub leader_priority: i32,
    /// Where this member is, in the terms of the storage nodes' labels.
    pub labels: Labels,
    /// Local address that connections to other processes are made from.
    pub source_address: Option<IpAddr>,
    /// Defaults for data that no placement rule was written for.
    pub replication: ReplicationConfig,
    /// Limits of scheduling.
    pub schedule: ScheduleConfig,
    /// TLS on the ports and towards others.
    pub security: TlsConfig,
    /// Log file and level.
    pub log: LogConfig,
}

/// Replicas of data that no placement rule was written for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ReplicationConfig {
    /// How many replicas.
    pub max_replicas: usize,
    /// Labels that replicas are spread over, widest first.
    pub location_labels: Vec<String>,
    /// The label that no two replicas may share.
    pub isolation_level: String,
}

impl Default for ReplicationConfig {
    fn default() -> Self {
        ReplicationConfig { max_replicas: 3, location_labels: Vec::new(), isolation_level: String::new() }
    }
}

/// Limits of scheduling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct ScheduleConfig {
    /// A store without a heartbeat for this long has its replicas rebuilt elsewhere.
    pub max_store_down_time: Span,
    /// Balancing leader transfers at a time.
    pub leader_schedule_limit: usize,
    /// Balancing region moves at a time.
    pub region_schedule_limit: usize,
    /// Repairs at a time.
    pub replica_schedule_limit: usize,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig {
            max_store_down_time: Span::secs(30 * 60),
            leader_schedule_limit: 4,
            region_schedule_limit: 32,
            replica_schedule_limit: 64,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            name: "pd".into(),
            data_dir: PathBuf::new(),
            client_urls: "http://127.0.0.1:2379".into(),
            peer_urls: "http://127.0.0.1:2380".into(),
            advertise_client_urls: String::new(),
            advertise_peer_urls: String::new(),
            initial_cluster: String::new(),
            external_etcd: Vec::new(),
            quota_backend_bytes: ByteSize::mib(128),
            lease: Span::secs(3),
            tso_save_interval: Span::secs(3),
            leader_priority: 0,
            labels: Labels::new(),
            source_address: None,
            replication: ReplicationConfig::default(),
            schedule: ScheduleConfig::default(),
            security: TlsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// The whole store has to fit into one message to a member that has fallen far behind (256 MiB).
const QUOTA_MAX: ByteSize = ByteSize::mib(192);

/// The command line of the server.
#[derive(Debug, Default, clap::Parser)]
#[command(
    name = "placement-driver",
    version,
    about = "Meridian's Placement Driver: timestamps, cluster metadata and data placement.",
    after_help = "Examples:\n  \
    One member with its data in ./pd:\n    \
    placement-driver --name pd-0 --data-dir ./pd\n  \
    The first of three members on one machine:\n    \
    placement-driver --name pd-0 --client-urls http://127.0.0.1:2379 --peer-urls http://127.0.0.1:2380 \\\n      \
    --initial-cluster pd-0=http://127.0.0.1:2380,pd-1=http://127.0.0.1:2382,pd-2=http://127.0.0.1:2384\n  \
    Look inside (any etcd v3 client works, and the HTTP API is PD's):\n    \
    ETCDCTL_API=3 etcdctl --endpoints 127.0.0.1:2379 get --prefix --keys-only /pd\n    \
    curl http://127.0.0.1:2379/pd/api/v1/stores"
)]
pub struct Args {
    /// Configuration file (YAML); flags override it. See config.sample.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This member's name, unique in the cluster [default: pd].
    #[arg(long)]
    pub name: Option<String>,
    /// Directory of the metadata [default: default.<name>].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// URL to listen on for clients: gRPC, etcd v3 and HTTP on one port [default: http://127.0.0.1:2379].
    #[arg(long, value_name = "URL")]
    pub client_urls: Option<String>,
    /// URL to listen on for the other members [default: http://127.0.0.1:2380].
    #[arg(long, value_name = "URL")]
    pub peer_urls: Option<String>,
    /// URL that clients are told [default: --client-urls].
    #[arg(long, value_name = "URL")]
    pub advertise_client_urls: Option<String>,
    /// URL that other members are told [default: --peer-urls].
    #[arg(long, value_name = "URL")]
    pub advertise_peer_urls: Option<String>,
    /// All members as name=peer-url,…; the same on each. A cluster of this member alone when absent.
    #[arg(long, value_name = "NAME=URL,…")]
    pub initial_cluster: Option<String>,
    /// Keep the metadata in this etcd cluster instead of the embedded store.
    #[arg(long, value_name = "URL,…", value_delimiter = ',')]
    pub external_etcd: Option<Vec<String>>,
    /// A member with a higher number takes the PD leadership over [default: 0].
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub leader_priority: Option<i32>,
    /// Where this member is: key=value pairs.
    #[arg(long, value_name = "KEY=VALUE,…", value_delimiter = ',')]
    pub labels: Option<Vec<String>>,
    /// Local address that connections to other processes are made from.
    #[arg(long, value_name = "IP")]
    pub source_address: Option<IpAddr>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogArgs,
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Names the setting, its value and what is wrong.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name as in the file.
        setting: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}

fn invalid<T>(setting: &'static str, reason: impl Into<String>) -> Result<T, InvalidConfig> {
    Err(InvalidConfig::Setting { setting, reason: reason.into() })
}

impl Config {
    /// Overrides settings with the flags given; labels are added to the file's.
    pub fn override_with(&mut self, args: Args) -> Result<(), InvalidConfig> {
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        set(&mut self.name, args.name);
        set(&mut self.data_dir, args.data_dir);
        set(&mut self.client_urls, args.client_urls);
        set(&mut self.peer_urls, args.peer_urls);
        set(&mut self.advertise_client_urls, args.advertise_client_urls);
        set(&mut self.advertise_peer_urls, args.advertise_peer_urls);
        set(&mut self.initial_cluster, args.initial_cluster);
        set(&mut self.external_etcd, args.external_etcd);
        set(&mut self.leader_priority, args.leader_priority);
        if args.source_address.is_some() {
            self.source_address = args.source_address;
        }
        match net::config::parse_labels(args.labels.as_deref().unwrap_or_default()) {
            Ok(labels) => self.labels.extend(labels),
            Err(reason) => return invalid("labels", reason),
        }
        self.log.override_with(&args.log);
        Ok(())
    }

    /// Fills in what follows from other settings and checks all of them.
    pub fn validate(&mut self) -> Result<(), InvalidConfig> {
        if self.name.is_empty() || self.name.contains(['=', ',', '/']) {
            return invalid("name", format!("'{}' must not be empty nor contain '=', ',' or '/'", self.name));
        }
        if self.data_dir.as_os_str().is_empty() {
            self.data_dir = format!("default.{}", self.name).into();
        }
        if self.advertise_client_urls.is_empty() {
            self.advertise_client_urls = self.client_urls.clone();
        }
        if self.advertise_peer_urls.is_empty() {
            self.advertise_peer_urls = self.peer_urls.clone();
        }
        if self.initial_cluster.is_empty() {
            self.initial_cluster = format!("{}={}", self.name, self.advertise_peer_urls);
        }
        for (setting, url) in [("client-urls", &self.client_urls), ("peer-urls", &self.peer_urls)] {
            if url.contains(',') {
                return invalid(setting, format!("'{url}': listening on more than one URL is not supported"));
            }
            listen_address(setting, url)?;
        }
        let members = self.members()?;
        if self.external_etcd.is_empty() && !members.contains_key(&self.name) {
            return invalid("initial-cluster", format!("member '{}' is not in '{}'", self.name, self.initial_cluster));
        }
        let quota = self.quota_backend_bytes;
        if quota < ByteSize::mib(1) || quota > QUOTA_MAX {
            return invalid("quota-backend-bytes", format!("{quota} is not between 1MiB and {QUOTA_MAX}"));
        }
        if self.lease.0.as_secs() < 1 || self.lease.0.as_secs() > 60 {
            return invalid("lease", format!("{} is not between 1s and 60s", self.lease));
        }
        if self.tso_save_interval.0.as_millis() < 200 || self.tso_save_interval.0.as_secs() > 60 {
            return invalid("tso-save-interval", format!("{} is not between 200ms and 60s", self.tso_save_interval));
        }
        if let Err(reason) = net::config::check_labels(&self.labels) {
            return invalid("labels", reason);
        }
        if self.replication.max_replicas == 0 {
            return invalid("replication.max-replicas", "must be at least 1");
        }
        let isolation = &self.replication.isolation_level;
        if !isolation.is_empty() && !self.replication.location_labels.contains(isolation) {
            return invalid("replication.isolation-level", format!("'{isolation}' is not among the location labels"));
        }
        Ok(())
    }

    /// The members of `initial-cluster`: name and peer URL.
    pub fn members(&self) -> Result<BTreeMap<String, String>, InvalidConfig> {
        let mut members = BTreeMap::new();
        for member in self.initial_cluster.split(',').map(str::trim).filter(|m| !m.is_empty()) {
            let Some((name, url)) = member.split_once('=') else {
                return invalid("initial-cluster", format!("'{member}' is not name=url"));
            };
            listen_address("initial-cluster", url)?;
            if members.insert(name.to_string(), url.to_string()).is_some() {
                return invalid("initial-cluster", format!("member '{name}' is named twice"));
            }
        }
        Ok(members)
    }

    /// `host:port` to listen on for clients.
    pub fn client_address(&self) -> Result<String, InvalidConfig> {
        listen_address("client-urls", &self.client_urls)
    }

    /// `host:port` to listen on for other members.
    pub fn peer_address(&self) -> Result<String, InvalidConfig> {
        listen_address("peer-urls", &self.peer_urls)
    }
}

/// `host:port` of a URL.
fn listen_address(setting: &'static str, url: &str) -> Result<String, InvalidConfig> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(address) = rest.map(|r| r.trim_end_matches('/')) else {
        return invalid(setting, format!("'{url}' does not begin with http:// or https://"));
    };
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(address.to_string()),
        _ => invalid(setting, format!("'{url}' has no host and port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_file_is_the_default_configuration() {
        let text = include_str!("../config.sample.yaml");
        let sample: Config = net::config::parse(text, std::path::Path::new("config.sample.yaml")).unwrap();
        assert_eq!(sample, Config::default());
    }

    #[test]
    fn labels_come_from_the_file_and_from_a_flag_as_pairs() {
        use clap::Parser;
        let mut config: Config =
            net::config::parse("labels:\n  region: eu\n  zone: a\n", std::path::Path::new("x")).unwrap();
        config.override_with(Args::parse_from(["placement-driver", "--labels", "region=us,host=h1"])).unwrap();
        config.validate().unwrap();
        let expected = [("host", "h1"), ("region", "us"), ("zone", "a")];
        assert!(config.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).eq(expected));
        let refused = Config::default().override_with(Args::parse_from(["placement-driver", "--labels", "region"]));
        assert_eq!(refused.unwrap_err().to_string(), "labels: \"region\" is not of the form key=value");
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let refused = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(refused(&|c| c.name = "a=b".into()).starts_with("name:"));
        assert!(refused(&|c| c.client_urls = "127.0.0.1:2379".into()).starts_with("client-urls:"));
        assert!(refused(&|c| c.initial_cluster = "other=http://h:1".into()).contains("'pd' is not in"));
        assert!(refused(&|c| c.initial_cluster = "pd=http://h:1,pd=http://h:2".into()).contains("twice"));
        assert!(refused(&|c| c.labels = [("region".into(), "a b".into())].into()).starts_with("labels: region=a b"));
        assert!(refused(&|c| c.lease = Span::millis(10)).starts_with("lease:"));
        assert!(refused(&|c| c.quota_backend_bytes = ByteSize(0)).starts_with("quota-backend-bytes:"));
        assert!(refused(&|c| c.quota_backend_bytes = ByteSize::mib(4096)).contains("192MiB"));
        assert!(refused(&|c| c.replication.isolation_level = "zone".into()).contains("zone"));
        let unknown =
            net::config::parse::<Config>("schedule:\n  leader-limit: 3\n", std::path::Path::new("x")).unwrap_err();
        assert!(unknown.to_string().contains("leader-limit"), "{unknown}");
    }
}
