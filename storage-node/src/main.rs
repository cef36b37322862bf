//! The storage node's process: reads the configuration, opens ports, joins the parts, waits to be stopped.

use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use kv_client::pd::GrpcPd;
use net::grpc::{ChannelOptions, Channels};
use storage_node::config::{Args, Config};
use storage_node::node::{Node, NodeParts};

/// Pause between two attempts to reach the placement driver.
const PD_PAUSE: Duration = Duration::from_millis(500);

/// How long what still runs at the end may take.
const LAST_TASKS: Duration = Duration::from_millis(500);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    let config = match Config::load(&args) {
        Ok(config) => config,
        Err(e) => {
            eprintln!("storage-node: {}", net::error_line(&e));
            return ExitCode::from(2);
        }
    };
    let _log = match net::logging::init(&config.log) {
        Ok(guard) => guard,
        Err(e) => {
            eprintln!("storage-node: {}", net::error_line(&e));
            return ExitCode::from(2);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("node").build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(config));
            // What hangs in a call to a failing disk must not keep the process.
            runtime.shutdown_timeout(LAST_TASKS);
            outcome
        }
        Err(e) => Err(e.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // The log's last word, after whatever threads of a failed store have left there.
            tracing::error!("the storage node ends: {}", net::error_line(&*e));
            eprintln!("storage-node: {}", net::error_line(&*e));
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let stop = net::shutdown::on_signals()?;
    let channels = Channels::new(ChannelOptions {
        source: config.source_address,
        tls: config.security.is_set().then(|| config.security.clone()),
        ..ChannelOptions::default()
    });
    let listener = bind(&config.addr).await.context("--addr")?;
    let status_listener = match config.status_addr.as_str() {
        "" => None,
        addr => Some(bind(addr).await.context("--status-addr")?),
    };
    // Before the wait for the cluster, which may be long.
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("--data-dir {}", config.data_dir.display()))?;
    let start = async {
        let pd = loop {
            match GrpcPd::connect(&config.pd_endpoints, channels.clone()).await {
                Ok(pd) => break Arc::new(pd),
                Err(e) => tracing::warn!("waiting for the placement driver: {e}"),
            }
            tokio::time::sleep(PD_PAUSE).await;
        };
        Node::start(config, NodeParts { listener, status_listener, pd, channels }).await
    };
    let node = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        node = start => node?,
    };
    tokio::select! {
        () = stop.cancelled() => {
            tracing::info!("stopping");
            node.shutdown().await;
            Ok(())
        }
        reason = node.failed() => {
            node.abandon();
            anyhow::bail!("the store failed: {reason}")
        }
    }
}

async fn bind(addr: &str) -> anyhow::Result<tokio::net::TcpListener> {
    let resolved = addr.to_socket_addrs().with_context(|| addr.to_owned())?.next();
    let resolved = resolved.with_context(|| format!("{addr} names no address"))?;
    Ok(net::grpc::bind(resolved).await?)
}
