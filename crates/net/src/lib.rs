//! What every server process sets up: gRPC channels and servers, configuration, logs, metrics, shutdown.

pub mod http;
