//! What every server process sets up: gRPC channels and servers, configuration, logs, metrics, shutdown.
//!
//! ```text
//!   main ── config::load(FILE) + flags ── logging::init ── shutdown::on_signals ──┐
//!                                                                                 │ token
//!   grpc::Channels (address → channel) ── the server's own parts ── grpc::serve ◄─┘
//!                                              └─ metrics::router: /metrics
//! ```
//!
//! Nothing here knows a Meridian message. Servers take listeners and `Channels` from outside, so that a whole
//! cluster also runs inside one process: ending one server's token closes exactly its connections.

pub mod config;
pub mod grpc;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod shutdown;

/// The text of `--version`: the program's name and the workspace's version.
pub fn version(program: &str) -> String {
    format!("{program} {} (Meridian)", env!("CARGO_PKG_VERSION"))
}

/// The version as servers report it to the cluster.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
