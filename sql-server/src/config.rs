//! The server's settings: a YAML file, and flags that win over it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use net::config::{ByteSize, Span};
use net::grpc::TlsConfig;
use net::logging::{LogArgs, LogConfig};
use serde::{Deserialize, Serialize};

/// Settings, as in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// Address that MySQL clients connect to.
    pub host: String,
    /// Port that MySQL clients connect to.
    pub port: u16,
    /// Address that other processes are told; `host` if empty.
    pub advertise_address: String,
    /// Address of the HTTP status service.
    pub status_host: String,
    /// Port of the HTTP status service (`/status`, `/metrics`, `/health`); 0 takes a free one.
    pub status_port: u16,
    /// PD's client addresses, separated by commas.
    pub path: String,
    /// Labels of this server (`region=eu-west-1,zone=a`).
    pub labels: String,
    /// Source address of connections to the cluster; the system's choice if absent.
    pub source_address: Option<IpAddr>,
    /// Most connections at once; 0 is no limit.
    pub max_connections: usize,
    /// Largest packet that a client may send.
    pub max_allowed_packet: ByteSize,
    /// How long a client may take to log in.
    pub connect_timeout: Span,
    /// How long a shutdown waits for running statements.
    pub graceful_wait: Span,
    /// How long an operation on the cluster is tried over failures before the statement fails.
    pub cluster_timeout: Span,
    /// Where statements write what they have no memory for; the system's directory for temporary files if empty.
    pub tmp_storage_path: String,
    /// TLS for connections to the cluster.
    pub cluster_tls: TlsConfig,
    /// TLS offered to MySQL clients: certificate and key.
    pub client_tls: TlsConfig,
    /// Logs.
    pub log: LogConfig,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            host: "127.0.0.1".into(),
            port: 4000,
            advertise_address: String::new(),
            status_host: String::new(),
            status_port: 10080,
            path: "127.0.0.1:2379".into(),
            labels: String::new(),
            source_address: None,
            max_connections: 0,
            max_allowed_packet: ByteSize::mib(64),
            connect_timeout: Span::secs(10),
            graceful_wait: Span::secs(15),
            cluster_timeout: Span::secs(20),
            tmp_storage_path: String::new(),
            cluster_tls: TlsConfig::default(),
            client_tls: TlsConfig::default(),
            log: LogConfig::default(),
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("setting {setting}: {reason}")]
pub struct ConfigError {
    /// Its name in the file.
    pub setting: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl Config {
    /// Refuses what can't work, by name.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |setting, reason: &str| Err(ConfigError { setting, reason: reason.into() });
        if self.pd_endpoints().is_empty() {
            return wrong("path", "needs at least one PD address, as 127.0.0.1:2379");
        }
        if self.max_allowed_packet.0 < 1024 || self.max_allowed_packet.0 > 1 << 30 {
            return wrong("max-allowed-packet", "must be between 1KiB and 1GiB");
        }
        if self.connect_timeout.0 < Duration::from_millis(100) {
            return wrong("connect-timeout", "must be at least 100ms");
        }
        for label in self.labels.split(',').filter(|l| !l.trim().is_empty()) {
            if !label.contains('=') {
                return wrong("labels", "each label is name=value, separated by commas");
            }
        }
        Ok(())
    }

    /// PD's addresses, without a scheme as given by some tools.
    pub fn pd_endpoints(&self) -> Vec<String> {
        self.path.split(',').map(str::trim).filter(|e| !e.is_empty()).map(str::to_owned).collect()
    }

    /// Labels as pairs.
    pub fn label_pairs(&self) -> Vec<(String, String)> {
        let pairs = self.labels.split(',').filter_map(|l| l.split_once('='));
        pairs.map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned())).collect()
    }

    /// Where statements write what they have no memory for.
    pub fn temporary_directory(&self) -> PathBuf {
        match self.tmp_storage_path.as_str() {
            "" => std::env::temp_dir(),
            path => path.into(),
        }
    }

    /// Address of the status service.
    pub fn status_address(&self) -> String {
        let host = if self.status_host.is_empty() { &self.host } else { &self.status_host };
        format!("{host}:{}", self.status_port)
    }

    /// What others reach this server by.
    pub fn advertised(&self) -> String {
        if self.advertise_address.is_empty() { self.host.clone() } else { self.advertise_address.clone() }
    }
}

/// The SQL server of a Meridian cluster: speaks MySQL's protocol to clients, and to the cluster through its Placement
/// Drivers. It keeps no data: start as many as there are machines for it.
#[derive(Debug, Parser)]
#[command(
    name = "sql-server",
    version = net::VERSION,
    about,
    long_about = None,
    after_help = "Examples:\n  \
    A server beside a placement driver on this machine:\n    \
    sql-server --path 127.0.0.1:2379\n  \
    A second one on the same machine, in a region, knowing all members of the placement driver:\n    \
    sql-server -P 4001 --status 10081 --path 127.0.0.1:2379,127.0.0.1:2381,127.0.0.1:2383 --labels region=eu-west-1\n  \
    Connect, and look whether it is ready:\n    \
    mysql -h 127.0.0.1 -P 4000 -u root\n    \
    curl http://127.0.0.1:10080/health\n\
    Settings without a flag are in the configuration file; config.sample.yaml explains them all."
)]
pub struct Args {
    /// Read settings from this YAML file; flags win over it. See config.sample.yaml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address that MySQL clients connect to [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port that MySQL clients connect to [default: 4000].
    #[arg(short = 'P', long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Address that other processes are told [default: the host].
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_address: Option<String>,
    /// Address of the HTTP status service [default: the host].
    #[arg(long, value_name = "ADDRESS")]
    pub status_host: Option<String>,
    /// Port of the HTTP status service: /status, /metrics, /health [default: 10080].
    #[arg(long = "status", alias = "status-port", value_name = "PORT")]
    pub status_port: Option<u16>,
    /// PD's client addresses, separated by commas [default: 127.0.0.1:2379].
    #[arg(long, alias = "pd", alias = "pd-endpoints", value_name = "HOST:PORT,…")]
    pub path: Option<String>,
    /// Labels of this server, as region=eu-west-1,zone=a.
    #[arg(long, value_name = "NAME=VALUE,…")]
    pub labels: Option<String>,
    /// Source address of connections to the cluster.
    #[arg(long, value_name = "ADDRESS")]
    pub source_address: Option<IpAddr>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogArgs,
}

impl Args {
    /// Puts the flags over the file's settings.
    pub fn apply(&self, config: &mut Config) {
        fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *setting = value.clone();
            }
        }
        set(&mut config.host, &self.host);
        set(&mut config.port, &self.port);
        set(&mut config.advertise_address, &self.advertise_address);
        set(&mut config.status_host, &self.status_host);
        set(&mut config.status_port, &self.status_port);
        set(&mut config.path, &self.path);
        set(&mut config.labels, &self.labels);
        if self.source_address.is_some() {
            config.source_address = self.source_address;
        }
        config.log.override_with(&self.log);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_sample_file_holds_the_defaults() {
        let sample = include_str!("../config.sample.yaml");
        let config: Config = net::config::parse(sample, Path::new("config.sample.yaml")).unwrap();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn flags_win_and_mistakes_are_named() {
        let args = Args::parse_from(["sql-server", "-P", "4001", "--status", "10081", "--path", "a:1,b:2"]);
        let mut config = Config::default();
        args.apply(&mut config);
        assert_eq!((config.port, config.status_port), (4001, 10081));
        assert_eq!(config.pd_endpoints(), ["a:1", "b:2"]);
        config.validate().unwrap();
        config.path = " ,".into();
        assert!(config.validate().unwrap_err().to_string().contains("path"));
        let unknown = net::config::parse::<Config>("prot: 5", Path::new("x.yaml")).unwrap_err();
        assert!(unknown.to_string().contains("prot"), "{unknown}");
    }
}
