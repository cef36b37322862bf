//! Reaching the cluster: in the background, for as long as it takes. Until it is there, a statement that needs it fails
//! with 9001, naming why.

use std::sync::Arc;
use std::time::Duration;

use kv_client::{Client, ClientOptions};
use net::grpc::{ChannelOptions, Channels};
use sql_context::vars::SERVER_VERSION;
use sql_ddl::{DomainOptions, ServerInfo};
use tokio_util::sync::CancellationToken;

use super::server::Server;
use crate::config::Config;

/// Pause between attempts to reach the cluster.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The server as others find it in the registry. The id is new each time, so that nobody takes a restarted server for
/// the one before it.
fn server_info(config: &Config) -> ServerInfo {
    let advertised = match (config.advertise_address.as_str(), config.host.as_str()) {
        ("", "0.0.0.0") => "127.0.0.1",
        ("", host) => host,
        (address, _) => address,
    };
    ServerInfo {
        id: format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()),
        ip: advertised.to_owned(),
        port: config.port,
        status_port: config.status_port,
        version: SERVER_VERSION.to_owned(),
        start_timestamp: chrono::Utc::now().timestamp(),
        labels: config.label_pairs().into_iter().collect(),
    }
}

/// Reaches the cluster, however long it takes.
pub async fn connect(server: Arc<Server>, stop: CancellationToken) {
    let config = &server.config;
    let endpoints: Vec<String> = config.pd_endpoints();
    let tls = config.cluster_tls.is_set().then(|| config.cluster_tls.clone());
    let channels = Channels::new(ChannelOptions { source: config.source_address, tls, ..ChannelOptions::default() });
    let options = ClientOptions { deadline: config.cluster_timeout.0, ..ClientOptions::default() };
    let mut attempts = 0u32;
    loop {
        let attempt = tokio::select! {
            () = stop.cancelled() => return,
            attempt = Client::connect(&endpoints, channels.clone(), options.clone()) => attempt,
        };
        match attempt {
            Ok(client) => {
                {
                    let mut cluster = server.cluster.write();
                    cluster.kv = Some(client.clone());
                    cluster.why = "the schema is not loaded yet, the storage is waited for".into();
                }
                let globals = Arc::clone(&server.globals);
                let options = DomainOptions { pd_endpoints: endpoints.clone(), server: server_info(config), globals };
                match sql_ddl::start(client, options, stop.clone()).await {
                    Ok(domain) => {
                        server.cluster.write().domain = Some(domain);
                        tracing::info!(pd = config.path, "connected to the cluster");
                    }
                    Err(e) => tracing::info!("the schema was not loaded: {e}"),
                }
                return;
            }
            Err(e) => {
                attempts += 1;
                let why = format!("{}: {e}", config.path);
                // Said when it begins, and then once a minute.
                if attempts % 60 == 1 {
                    tracing::warn!("the cluster can't be reached, trying on: {why}");
                }
                server.cluster.write().why = why;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CONNECT_PAUSE) => {}
        }
    }
}
