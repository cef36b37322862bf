//! Local multi-region clusters in one command: real servers on loopback, without root, Docker or downloads.
//!
//! `playground` alone starts a cluster and stays in the foreground as its supervisor; the other commands talk to it
//! from another shell. Read next: `spec` for what a cluster is, `supervisor` for its life.

mod bench;
mod control;
mod home;
mod interrupts;
mod ports;
mod process;
mod readiness;
mod spec;
mod supervisor;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, Parser, Subcommand};

use crate::control::{Control, Request};
use crate::home::{CLUSTER_FILE, Home, Turn, base_dir, find_running, no_such_cluster, valid_tag};
use crate::interrupts::Interrupts;
use crate::spec::{Role, Wanted};
use crate::supervisor::Supervisor;

const EXAMPLES: &str = "\
Examples:
  ./playground/start                                          one PD, three storage nodes, one SQL server; data is removed at the end
  ./playground/start --tag shop --pd 3 --kv 3 --sql 2         eight processes in three regions; data is kept in ~/.meridian/shop
  ./playground/start --tag shop                               the same cluster again, with its data
  ./playground/ctl display                                    what runs: role, region, address, pid, state
  ./playground/ctl kill eu-west-1                             a region loses power
  ./playground/ctl start eu-west-1                            and comes back
  ./playground/ctl clean shop                                 removes the data of a stopped cluster
  ./playground/ctl bench                                      point select, read-write and insert loads with percentiles";

/// Start a multi-region Meridian cluster on this machine.
#[derive(Parser)]
#[command(name = "playground", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: UpArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Show every process of a running cluster: role, region, address, pid, state
    Display {
        #[command(flatten)]
        which: Which,
        /// Print JSON, with log files
        #[arg(long)]
        json: bool,
    },
    /// Stop a node or all nodes of a region, in order
    Stop(Target),
    /// Start a node or all nodes of a region that were stopped or killed
    Start(Target),
    /// Kill a node or all nodes of a region with SIGKILL, as a crash would
    Kill(Target),
    /// Remove the data of a stopped cluster
    Clean {
        /// The cluster's tag
        tag: String,
        /// First stop servers that run on although their playground is gone
        #[arg(long)]
        stop: bool,
        /// Where clusters are kept
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
    /// Measure a cluster: point select, read-write and insert loads as sysbench runs them
    Bench(bench::BenchArgs),
}

#[derive(Args)]
struct UpArgs {
    /// Name of the cluster: its data is kept under it and found again by it. Without one, data is removed at exit
    #[arg(long, short = 'T')]
    tag: Option<String>,
    #[command(flatten)]
    size: SizeArgs,
}

/// How large a cluster is and where it listens.
#[derive(Args, Clone, Debug)]
struct SizeArgs {
    /// PD members [default: 1, or as saved under the tag; for a benchmark, 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    pd: Option<u8>,
    /// Storage nodes [default: 3, or as saved]
    #[arg(long, alias = "tikv", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=50))]
    kv: Option<u8>,
    /// SQL servers [default: 1, or as saved]
    #[arg(long, aliases = ["db", "tidb"], value_name = "N", value_parser = clap::value_parser!(u8).range(1..=50))]
    sql: Option<u8>,
    /// Regions, dealt round-robin over the nodes of each tier
    #[arg(long, value_parser = valid_region, value_delimiter = ',', value_name = "A,B,C", default_value = "us-east-1,us-west-2,eu-west-1")]
    regions: Vec<String>,
    /// Address that the servers bind
    #[arg(long, value_name = "H", default_value = "127.0.0.1")]
    host: String,
    /// First port of the PDs; without it, 2379 or the next that is free
    #[arg(long, value_name = "PORT")]
    pd_port: Option<u16>,
    /// First port of the storage nodes; without it, 20160 or the next that is free
    #[arg(long, alias = "tikv-port", value_name = "PORT")]
    kv_port: Option<u16>,
    /// First port of the SQL servers; without it, 4000 or the next that is free
    #[arg(long, aliases = ["db-port", "tidb-port"], value_name = "PORT")]
    sql_port: Option<u16>,
    /// Where clusters are kept [default: ~/.meridian]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl SizeArgs {
    fn wanted(&self) -> Wanted {
        Wanted {
            pd: self.pd.map(usize::from),
            kv: self.kv.map(usize::from),
            sql: self.sql.map(usize::from),
            regions: self.regions.clone(),
            host: self.host.clone(),
            pd_port: self.pd_port,
            kv_port: self.kv_port,
            sql_port: self.sql_port,
        }
    }
}

#[derive(Args)]
struct Which {
    /// The cluster's tag; not needed while only one cluster runs
    #[arg(long, short = 'T')]
    tag: Option<String>,
    /// Where clusters are kept
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Args)]
struct Target {
    /// A node (kv-2) or a region (eu-west-1)
    target: String,
    #[command(flatten)]
    which: Which,
}

fn main() {
    let cli = Cli::parse();
    let starts_servers = match &cli.command {
        None => true,
        Some(Command::Bench(args)) => args.own_cluster(),
        Some(_) => false,
    };
    if starts_servers {
        share_the_cores();
    }
    run(cli);
}

/// Makes this process, and with it the servers that it starts, batch processes as far as Linux's scheduler goes: who is
/// sent a message waits for a core instead of taking the sender's. A cluster on one machine has more processes than
/// cores, each of which does better to finish what it has gathered. (On two cores it commits up to a tenth more.)
///
/// Before there are threads, which keep what they were born with. Where it cannot be had, nothing is lost but that.
fn share_the_cores() {
    let own = std::process::id().to_string();
    let mut chrt = std::process::Command::new("chrt");
    let _ = chrt.args(["--batch", "--pid", "0", &own]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[tokio::main]
async fn run(cli: Cli) {
    let result = match cli.command {
        None => up(&cli.up).await,
        Some(Command::Display { which, json }) => display(&which, json).await,
        Some(Command::Stop(t)) => send(&t.which, Request::Stop(t.target)).await,
        Some(Command::Start(t)) => send(&t.which, Request::Start(t.target)).await,
        Some(Command::Kill(t)) => send(&t.which, Request::Kill(t.target)).await,
        Some(Command::Clean { tag, stop, data }) => clean(&tag, stop, data.as_deref()).await,
        Some(Command::Bench(args)) => bench::run(args).await,
    };
    if let Err(error) = result {
        eprintln!("playground: {error:#}");
        std::process::exit(1);
    }
}

/// A line for the user. A terminal that is gone must not end the supervisor, which would leave its servers behind.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about what goes on, beside a command's result, for the user of the same terminal.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Starts the cluster and supervises it until Ctrl-C.
async fn up(args: &UpArgs) -> anyhow::Result<()> {
    let base = base_dir(args.size.data.as_deref())?;
    if let Some(tag) = &args.tag {
        valid_tag(tag)?;
    }
    let mut interrupts = Interrupts::listen()?;
    let turn = tokio::select! {
        turn = Turn::wait(&base) => turn?,
        () = interrupts.next() => return Ok(()),
    };
    let home = Home::open_to_start(&base, args.tag.as_deref()).await?;
    let cluster = home.plan(args.size.wanted())?;
    for node in &cluster.nodes {
        if let Some(asked) = home.moved_from(node) {
            say(&format!("note: port {asked} is in use; {} listens on {}", node.name, node.port));
        }
    }
    let (pd, kv, sql) = (cluster.of(Role::Pd).count(), cluster.of(Role::Kv).count(), cluster.of(Role::Sql).count());
    say(&format!("Starting {pd} PD, {kv} storage and {sql} SQL processes; this takes a few seconds"));
    let begin = Instant::now();
    let supervisor = Supervisor::new(cluster, home.dir.clone());
    let print = |line: &str| say(&format!("  {line}"));
    let (mut of_start, mut of_life, mut of_end) = (print, print, print);
    let control = Control::listen(&home.dir)?;
    let start = async {
        supervisor.start_all(&mut of_start).await?;
        drop(turn);
        say(&format!("\nMeridian is up after {:.1} s\n", begin.elapsed().as_secs_f64()));
        print_guide(&supervisor, &home);
        std::future::pending::<anyhow::Result<()>>().await
    };
    let result = tokio::select! {
        failed = start => failed,
        never = supervisor.serve(&control, &mut of_life) => match never {},
        () = interrupts.next() => Ok(()),
    };
    drop(control);
    say("\nStopping; Ctrl-C again kills what still runs");
    supervisor.end(&mut interrupts, &mut of_end).await;
    // A failed start is kept when it has a tag, and is worth a look in any case.
    match (&args.tag, &result) {
        (None, Ok(())) => home.remove()?,
        (None, Err(_)) => {
            note(&format!("the files of the failed start are in {} until the next start", home.dir.display()))
        }
        (Some(tag), _) => say(&format!(
            "The data is kept; start again with --tag {tag}, or remove it with: ./playground/ctl clean {tag}"
        )),
    }
    result
}

fn print_guide(supervisor: &Supervisor, home: &Home) {
    for node in supervisor.cluster().of(Role::Sql) {
        say(&format!("Connect ({}): mysql -h {} -P {} -u root", node.region, node.host, node.port));
    }
    let pd = supervisor.cluster().of(Role::Pd).next().map_or(String::new(), |n| n.address());
    say(&format!("PD:      http://{pd}"));
    say(&format!("Logs:    {}/*/server.log", home.dir.display()));
    let kept = match &home.tag {
        Some(tag) => format!("kept; --tag {tag} finds it again"),
        None => "removed at exit; start with --tag NAME to keep it".to_owned(),
    };
    say(&format!("Data:    {} ({kept})", home.dir.display()));
    say("Control: ./playground/ctl display | stop | start | kill NAME-or-region");
    say("Ctrl-C stops everything");
}

async fn display(which: &Which, json: bool) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    let nodes = control::call(&dir, &Request::Display, |_| ()).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&nodes)?);
    } else {
        print!("{}", control::table(&nodes));
    }
    Ok(())
}

async fn send(which: &Which, request: Request) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    control::call(&dir, &request, |line| println!("{line}")).await.map(drop)
}

async fn clean(tag: &str, stop: bool, data: Option<&Path>) -> anyhow::Result<()> {
    let base = base_dir(data)?;
    if !base.join(valid_tag(tag)?).join(CLUSTER_FILE).exists() {
        bail!("{}", no_such_cluster(tag, &base));
    }
    let home = Home::open(&base, Some(tag))?;
    if stop {
        home.stop_leftovers().await;
    }
    let running: Vec<String> = home.left_running().map(|(node, pid)| format!("{} (pid {pid})", node.name)).collect();
    if !running.is_empty() {
        bail!(
            "servers of cluster '{tag}' run on although their playground is gone: {}; \
             stop them and remove the data with: ./playground/ctl clean {tag} --stop",
            running.join(", ")
        );
    }
    home.remove()?;
    println!("Removed {}", home.dir.display());
    Ok(())
}

fn valid_region(region: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if region.is_empty() || !region.chars().all(fine) {
        return Err("a region's name consists of letters, digits, '-', '_' and '.'".into());
    }
    Ok(region.to_owned())
}
