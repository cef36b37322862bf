//! What every server process sets up: gRPC channels and servers, configuration, formats of directories, the clock of leases,
//! logs, metrics, shutdown.
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

pub mod clock;
pub mod config;
mod dial;
mod failover;
pub mod format;
pub mod frames;
pub mod grpc;
pub mod http;
pub mod local;
pub mod logging;
pub mod metrics;
pub mod shutdown;

/// The text of `--version`: the program's name and the workspace's version.
pub fn version(program: &str) -> String {
    format!("{program} {} (Meridian)", env!("CARGO_PKG_VERSION"))
}

/// The version as servers report it to the cluster.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An error as one line: its text, and those of its causes that it does not contain already.
pub fn error_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<Box<Layer>>,
    }

    #[test]
    fn an_error_is_one_line_that_says_each_cause_once() {
        let layer = |text, source: Option<Layer>| Layer { text, source: source.map(Box::new) };
        let error = layer("start", Some(layer("listen: port\nin use", Some(layer("port\nin use", None)))));
        assert_eq!(super::error_line(&error), "start: listen: port in use");
    }
}
