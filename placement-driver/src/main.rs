//! The Placement Driver process: parses flags and file, binds the ports, runs a member until it is told to stop
//! or its disk fails.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use placement_driver::config::Args;
use placement_driver::{Config, Listeners, Pd};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("placement-driver: {}", net::error_line(&*e));
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let mut config: Config = net::config::load(args.config.as_deref())?;
    config.override_with(args)?;
    config.validate()?;
    let _log = net::logging::init(&config.log)?;
    // Two workers: the hot path is one stream's counter, the rest is waiting.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = net::shutdown::on_signals()?;
        let bind = |setting: &'static str, address: String| async move {
            tokio::net::TcpListener::bind(&address).await.with_context(|| format!("{setting}: can't listen on {address}"))
        };
        let client = bind("client-urls", config.client_address()?).await?;
        let peer = bind("peer-urls", config.peer_address()?).await?;
        tracing::info!(name = %config.name, client = %config.client_urls, data = %config.data_dir.display(), "starting");
        let pd = Pd::start(config, Listeners { client, peer })?;
        tokio::select! {
            () = stop.cancelled() => {
                pd.shutdown().await;
                anyhow::Ok(())
            }
            () = pd.failed() => {
                // It has nothing left to give its leadership back with.
                pd.crash().await;
                tracing::error!("the metadata store failed, this process ends");
                anyhow::bail!("the metadata store failed; the log says why")
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
