//! `sql-server`: reads settings, binds its ports, runs until it is told to end.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use sql_server::config::{Args, Config};
use sql_server::listen::{Listeners, STACK_BYTES, SqlServer};
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sql-server: {}", net::error_line(&*e));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let mut config: Config = net::config::load(args.config.as_deref())?;
    args.apply(&mut config);
    config.validate()?;
    let _log = net::logging::init(&config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build()?;
    runtime.block_on(async {
        let stop = net::shutdown::on_signals()?;
        let mysql_address = format!("{}:{}", config.host, config.port);
        let mysql = TcpListener::bind(&mysql_address)
            .await
            .with_context(|| format!("port: can't listen for MySQL clients on {mysql_address}"))?;
        let status_address = config.status_address();
        let status = TcpListener::bind(&status_address)
            .await
            .with_context(|| format!("status-port: can't listen on {status_address}"))?;
        let server = SqlServer::start(config, Listeners { mysql, status: Some(status) })?;
        stop.cancelled().await;
        server.shutdown().await;
        anyhow::Ok(())
    })?;
    tracing::info!("ended");
    Ok(())
}
