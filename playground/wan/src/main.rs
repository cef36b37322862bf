//! `wan-relay`: one relay for one cluster, started by the playground.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use rustix::process::{Signal, set_parent_process_death_signal};
use wan::config::Config;
use wan::relay::{Relay, raise_open_files};

/// Puts the distances between regions between the servers of one machine.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The regions, the links between them and what to listen on, as JSON.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to take requests: a unix socket.
    #[arg(long, value_name = "SOCKET")]
    control: PathBuf,
    /// End when standard input ends. Otherwise: when the thread that started this process does.
    #[arg(long)]
    end_with_stdin: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let json = std::fs::read(&args.config).with_context(|| format!("read {}", args.config.display()))?;
    let config: Config = serde_json::from_slice(&json).with_context(|| format!("read {}", args.config.display()))?;
    raise_open_files().context("raise the limit of open files")?;
    let relay = Relay::start(&config, Some(&args.control))?;
    if args.end_with_stdin {
        let stop = relay.stop_handle();
        std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
            stop.stop();
        })?;
    } else {
        set_parent_process_death_signal(Some(Signal::TERM)).context("end with the parent")?;
    }
    println!("ready");
    relay.run().context("the relay's event loop")
}
