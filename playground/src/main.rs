//! Local multi-region clusters in one command: real servers on loopback, without root, Docker or downloads.
//!
//! `playground` alone starts a cluster and stays in the foreground as its supervisor; the other commands talk to it
//! from another shell. Read next: `spec` for what a cluster is, `supervisor` for its life, `wan` for the distance between
//! its regions, `drills` for what breaks it on purpose.

mod bench;
mod control;
mod ctl;
mod drills;
mod events;
mod faults;
mod home;
mod interrupts;
mod placement;
mod ports;
mod process;
mod readiness;
mod spec;
mod supervisor;
mod table;
mod up;
mod wan;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::control::Request;
use crate::faults::{ClockChange, DiskFault};
use crate::spec::Wanted;
use crate::wan::LinkChange;

// Lines of examples are short enough for clap not to break them.

const EXAMPLES: &str = "\
Examples:
  ./playground/start                                          1 PD, 3 storage nodes, 1 SQL server
  ./playground/start --tag shop --pd 3 --kv 3 --sql 2         in three regions; the data is kept
  ./playground/start --tag shop                               the same cluster again, with its data
  ./playground/ctl display                                    what runs, and where
  ./playground/ctl kill eu-west-1                             a region loses power
  ./playground/ctl start eu-west-1                            and comes back
  ./playground/start --tag far --pd 3 --kv 3 --sql 3 --wan    regions as far apart as real ones
  ./playground/start --regions a,b --kv 4 --wan way.yaml      as far apart as a profile says
  ./playground/ctl link us-east-1 eu-west-1 --cut             nothing passes; --heal undoes it
  ./playground/ctl drill region-failure                       breaks a region, judges what it cost
  ./playground/ctl clean shop                                 removes the data of a stopped cluster
  ./playground/ctl bench                                      three loads, with percentiles";

const LINK_EXAMPLES: &str = "\
Examples:
  ./playground/ctl link us-east-1 eu-west-1 --rtt 200ms --jitter 10ms   longer, and uneven
  ./playground/ctl link us-east-1 eu-west-1 --bandwidth 10mbit          what is not named stays
  ./playground/ctl link us-east-1 eu-west-1 --cut                       silence in both directions
  ./playground/ctl link us-east-1 eu-west-1 --cut-one-way               eu-west-1 hears nothing
  ./playground/ctl link us-east-1 us-east-1 --rtt 3ms                   the way inside of a region
  ./playground/ctl link us-east-1 eu-west-1 --heal                      as at the start
  ./playground/ctl heal                                                 all links, all faults
  ./playground/ctl display --latency                                    what is asked, and measured

A cut is silence, not a reset: what is under way arrives after healing, or times out before.";

/// Start a multi-region Meridian cluster on this machine.
#[derive(Parser)]
#[command(name = "playground", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: up::UpArgs,
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
        /// Show the round trips between the regions instead, measured now and as asked
        #[arg(long)]
        latency: bool,
    },
    /// Stop a node or all nodes of a region, in order
    Stop(Target),
    /// Start a node or all nodes of a region that were stopped or killed, or ended by themselves
    Start(Target),
    /// Kill a node or all nodes of a region with SIGKILL, as a crash would
    Kill(Target),
    /// Halt a node or all nodes of a region with SIGSTOP, as a machine that hangs
    Pause(Target),
    /// Let what was paused go on
    Resume(Target),
    /// Slow, throttle or cut the link between two regions (needs --wan)
    #[command(after_help = LINK_EXAMPLES)]
    Link(LinkArgs),
    /// Cut a node or all nodes of a region off from everything else (needs --wan)
    Isolate(Target),
    /// Undo the faults of a node, a region or the whole cluster: links, pauses, clocks, disks, kills, crashes
    Heal {
        /// A node (kv-2), a region (eu-west-1) or a zone of it (eu-west-1/a); everything if left out
        target: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Set the clock of a node or of all nodes of a region wrong (needs --faults)
    Clock(ClockArgs),
    /// Make the disk of a node or of all nodes of a region slow, broken or full (needs --faults)
    Disk(DiskArgs),
    /// Open a mysql shell that is as far away as a region (needs --wan)
    Client {
        /// The region to come from
        region: String,
        #[command(flatten)]
        which: Which,
        /// Arguments for mysql
        #[arg(last = true, value_name = "MYSQL ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Show bytes and messages between the regions since the last call (needs --wan)
    Traffic {
        /// Show them every second
        #[arg(long)]
        watch: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Break something under load, heal it, and judge whether anything was lost and how long it took
    #[command(after_help = drills::EXAMPLES)]
    Drill(drills::DrillArgs),
    /// List the reports of earlier drills
    Drills {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        which: Which,
    },
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
    /// Regions, dealt round-robin over the nodes of each tier [default: us-east-1,us-west-2,eu-west-1, or as saved]
    #[arg(long, value_parser = valid_region, value_delimiter = ',', value_name = "A,B,C")]
    regions: Vec<String>,
    /// Zones in each region, dealt round-robin over its nodes of each tier [default: none, or as saved]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=26))]
    zones: Option<u8>,
    /// Address that the servers bind
    #[arg(long, value_name = "H", default_value = SizeArgs::HOST)]
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
    /// What servers bind unless told otherwise.
    const HOST: &'static str = "127.0.0.1";

    fn wanted(&self) -> Wanted {
        Wanted {
            pd: self.pd.map(usize::from),
            kv: self.kv.map(usize::from),
            sql: self.sql.map(usize::from),
            regions: self.regions.clone(),
            zones: self.zones.map(usize::from),
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
    /// A node (kv-2), a region (eu-west-1) or a zone of it (eu-west-1/a)
    target: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
struct LinkArgs {
    /// One region; of --cut-one-way, the one whose bytes are lost
    a: String,
    /// The other region
    b: String,
    /// Round trip, such as 200ms
    #[arg(long, group = "change", value_name = "TIME", allow_hyphen_values = true)]
    rtt: Option<String>,
    /// Up to how much longer a message may take, such as 10ms
    #[arg(long, group = "change", value_name = "TIME", allow_hyphen_values = true)]
    jitter: Option<String>,
    /// Bandwidth in each direction, such as 10mbit or 1gbit
    #[arg(long, group = "change", value_name = "RATE", allow_hyphen_values = true)]
    bandwidth: Option<String>,
    /// Share of messages that are sent again, such as 0.1%
    #[arg(long, group = "change", value_name = "PERCENT", allow_hyphen_values = true)]
    loss: Option<String>,
    /// Let nothing through
    #[arg(long, group = "change", conflicts_with_all = ["rtt", "jitter", "bandwidth", "loss", "cut_one_way", "heal"])]
    cut: bool,
    /// Let nothing through from A to B; what B sends arrives
    #[arg(long, group = "change", conflicts_with_all = ["rtt", "jitter", "bandwidth", "loss", "heal"])]
    cut_one_way: bool,
    /// Back to how the link was at the start
    #[arg(long, group = "change", conflicts_with_all = ["rtt", "jitter", "bandwidth", "loss"])]
    heal: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("change").required(true)))]
struct ClockArgs {
    /// A node (kv-2), a region (eu-west-1) or a zone of it (eu-west-1/a)
    target: String,
    /// Step the wall clock forward (1h) or back (-30s)
    #[arg(long, group = "change", value_name = "TIME", allow_hyphen_values = true)]
    jump: Option<String>,
    /// Let clocks run too fast (200ppm) or too slow (-200ppm)
    #[arg(long, group = "change", value_name = "PPM", allow_hyphen_values = true)]
    drift: Option<String>,
    /// Back to the machine's time
    #[arg(long, group = "change")]
    reset: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("change").required(true)))]
struct DiskArgs {
    /// A node (kv-2), a region (eu-west-1) or a zone of it (eu-west-1/a)
    target: String,
    /// Let each sync take so much longer, such as 1s
    #[arg(long, group = "change", value_name = "TIME", allow_hyphen_values = true)]
    slow: Option<String>,
    /// Let writes and syncs fail with an input/output error
    #[arg(long, group = "change")]
    fail: bool,
    /// Let writes fail because no space is left
    #[arg(long, group = "change")]
    full: bool,
    /// Back to how it was
    #[arg(long, group = "change")]
    heal: bool,
    #[command(flatten)]
    which: Which,
}

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|usage| {
        // Of a drill, 2 says that a target was missed.
        let of_drill = usage.use_stderr() && std::env::args().nth(1).as_deref() == Some("drill");
        let _ = usage.print();
        std::process::exit(if of_drill { drill::verdict::EXIT_COULD_NOT_RUN.into() } else { usage.exit_code() });
    });
    let starts_servers = match &cli.command {
        None => true,
        Some(Command::Bench(args)) => args.own_cluster(),
        Some(_) => false,
    };
    if starts_servers {
        // Before there are threads, which keep what they were born with. A cluster on one machine has more processes
        // than cores, each of which does better to finish what it has gathered: on two cores, up to a tenth more commits.
        process::share_the_cores();
    }
    run(cli);
}

#[tokio::main]
async fn run(cli: Cli) {
    let result = match cli.command {
        None => up::run(&cli.up).await,
        Some(Command::Display { which, json, latency: true }) => ctl::latency(&which, json).await,
        Some(Command::Display { which, json, latency: false }) => ctl::display(&which, json).await,
        Some(Command::Stop(t)) => ctl::send(&t.which, Request::Stop(t.target)).await,
        Some(Command::Start(t)) => ctl::send(&t.which, Request::Start(t.target)).await,
        Some(Command::Kill(t)) => ctl::send(&t.which, Request::Kill(t.target)).await,
        Some(Command::Pause(t)) => ctl::send(&t.which, Request::Pause(t.target)).await,
        Some(Command::Resume(t)) => ctl::send(&t.which, Request::Resume(t.target)).await,
        Some(Command::Isolate(t)) => ctl::send(&t.which, Request::Isolate(t.target)).await,
        Some(Command::Heal { target, which }) => ctl::send(&which, Request::Heal(target)).await,
        Some(Command::Link(args)) => link(args).await,
        Some(Command::Clock(args)) => clock(args).await,
        Some(Command::Disk(args)) => disk(args).await,
        Some(Command::Client { region, which, arguments }) => ctl::client(&which, &region, &arguments).await,
        Some(Command::Traffic { watch, json, which }) => ctl::traffic(&which, watch, json).await,
        Some(Command::Clean { tag, stop, data }) => ctl::clean(&tag, stop, data.as_deref()).await,
        Some(Command::Bench(args)) => bench::run(args).await,
        Some(Command::Drills { json, which }) => drills::list(&which, json).await,
        // Its exit status tells a missed target from a broken promise.
        Some(Command::Drill(args)) => std::process::exit(drills::run(args).await),
    };
    if let Err(error) = result {
        note(&format!("playground: {error:#}"));
        std::process::exit(1);
    }
}

/// A line for the user. A terminal that is gone must not end the supervisor, which would leave its servers behind, and a
/// reader that has seen enough (`| head`) is no error.
fn say(line: &str) {
    heard(line);
}

/// The same, for who would go on for ever: whether anybody still reads.
fn heard(line: &str) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// A line about what goes on, beside a command's result, for the user of the same terminal.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

async fn link(args: LinkArgs) -> anyhow::Result<()> {
    let change = if args.cut {
        LinkChange::Cut
    } else if args.cut_one_way {
        LinkChange::CutOneWay
    } else if args.heal {
        LinkChange::Heal
    } else {
        LinkChange::shape(args.rtt.as_deref(), args.jitter.as_deref(), args.bandwidth.as_deref(), args.loss.as_deref())?
    };
    ctl::send(&args.which, Request::Link { from: args.a, to: args.b, change }).await
}

async fn clock(args: ClockArgs) -> anyhow::Result<()> {
    let change = match (&args.jump, &args.drift) {
        (Some(jump), _) => ClockChange::jump(jump)?,
        (_, Some(drift)) => ClockChange::drift(drift)?,
        _ => ClockChange::Reset,
    };
    ctl::send(&args.which, Request::Clock(args.target, change)).await
}

async fn disk(args: DiskArgs) -> anyhow::Result<()> {
    let fault = match &args.slow {
        Some(time) => DiskFault::slow(time)?,
        None if args.fail => DiskFault::Fail,
        None if args.full => DiskFault::Full,
        None => DiskFault::None,
    };
    ctl::send(&args.which, Request::Disk(args.target, fault)).await
}

fn valid_region(region: &str) -> Result<String, String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if region.is_empty() || !region.chars().all(fine) {
        return Err("a region's name consists of letters, digits, '-', '_' and '.'".into());
    }
    Ok(region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_in_the_help_is_a_command_and_stays_on_its_line() {
        for text in [EXAMPLES, LINK_EXAMPLES, drills::EXAMPLES] {
            let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("  ./playground/")).collect();
            assert!(examples.len() >= 5 && text.starts_with("Examples:\n"), "{text}");
            for line in examples {
                assert!(line.len() < 100, "{line}");
                let command = line.trim().split("  ").next().unwrap_or_default();
                // The shell takes what goes to a file.
                let words = command.split(' ').skip(1).filter(|word| !word.starts_with('>'));
                let parsed = Cli::try_parse_from(std::iter::once("playground").chain(words));
                assert!(parsed.is_ok(), "{line}: {}", parsed.err().map_or(String::new(), |e| e.to_string()));
            }
        }
    }
}
