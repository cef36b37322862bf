//! `playground` alone: starts a cluster, stays in the foreground as its supervisor, and ends it on Ctrl-C.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use crate::control::Control;
use crate::faults::FaultLibrary;
use crate::home::{Home, Turn, base_dir, valid_tag};
use crate::interrupts::Interrupts;
use crate::spec::{Cluster, Role};
use crate::supervisor::{Conditions, Supervisor};
use crate::wan::{self, Wan};
use crate::{SizeArgs, note, say};

const WAN_HELP: &str = "\
Put distance between the regions, as measured between well-known cloud regions or as a profile says (Linux)

A profile names every pair of the regions in which nodes stand, once:

  links:
    - between: [here, there]
      rtt: 85ms          # there and back; the only one that has to be given
      jitter: 2ms        # up to this much more, each message by chance
      bandwidth: 1gbit   # in each direction
      loss: 0.1%         # is sent again, and comes late
  inside: { rtt: 0.5ms } # within a region; this is what holds without the line
";

/// What to start.
#[derive(Args)]
pub(crate) struct UpArgs {
    /// Name of the cluster: its data is kept under it and found again by it. Without one, data is removed at exit
    #[arg(long, short = 'T')]
    tag: Option<String>,
    #[command(flatten)]
    size: SizeArgs,
    /// Put distance between the regions, as measured between well-known cloud regions or as a profile says (Linux)
    #[arg(long, value_name = "PROFILE.yaml", num_args = 0..=1, long_help = WAN_HELP)]
    #[allow(clippy::option_option, reason = "the flag may stand alone")]
    wan: Option<Option<PathBuf>>,
    /// Start the servers with the library that changes their clocks and disks, for `ctl clock` and `ctl disk` (Linux)
    #[arg(long)]
    faults: bool,
}

/// Starts the cluster and supervises it until Ctrl-C.
pub(crate) async fn run(args: &UpArgs) -> anyhow::Result<()> {
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
    let mut cluster = home.plan(args.size.wanted())?;
    let conditions = match prepare(args, &mut cluster, &home).await {
        Ok(conditions) => conditions,
        Err(error) => {
            home.forget_unstarted()?;
            return Err(error);
        }
    };
    let without = runs_without(&cluster, &conditions);
    (cluster.wan, cluster.faults) = (conditions.wan.is_some(), conditions.faults.is_some());
    home.save(&cluster)?;
    for node in &cluster.nodes {
        if let Some(asked) = home.moved_from(node) {
            say(&format!("note: port {asked} is in use; {} listens on {}", node.name, node.port));
        }
    }
    let (pd, kv, sql) = (cluster.of(Role::Pd).count(), cluster.of(Role::Kv).count(), cluster.of(Role::Sql).count());
    say(&format!("Starting {pd} PD, {kv} storage and {sql} SQL processes; this takes a few seconds"));
    let begin = Instant::now();
    let supervisor = Supervisor::new(cluster, home.dir.clone(), conditions);
    let print = |line: &str| say(&format!("  {line}"));
    let (mut of_start, mut of_life, mut of_end) = (print, print, print);
    let control = Control::listen(&home.dir)?;
    let start = async {
        supervisor.start_all(&mut of_start).await?;
        drop(turn);
        say(&format!("\nMeridian is up after {:.1} s\n", begin.elapsed().as_secs_f64()));
        print_guide(&supervisor, &home);
        if let Some(note) = without {
            say(&note);
        }
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

/// The distance and the fault library that were asked for.
async fn prepare(args: &UpArgs, cluster: &mut Cluster, home: &Home) -> anyhow::Result<Conditions> {
    let mut conditions = Conditions::default();
    if (args.wan.is_some() || args.faults) && !cfg!(target_os = "linux") {
        bail!("--wan and --faults need Linux: its loopback networks and its loader");
    }
    if args.faults {
        conditions.faults = Some(FaultLibrary::build(&home.dir).context("build the fault library")?);
    }
    if let Some(profile) = &args.wan {
        if args.size.host != SizeArgs::HOST || cluster.nodes.iter().any(|n| n.host != SizeArgs::HOST) {
            bail!("--wan and --host exclude each other: with distance, each region has a loopback network of its own");
        }
        let regions = cluster.regions();
        let links = wan::links(profile.as_deref(), &regions)?;
        cluster.spread_over_networks()?;
        conditions.wan = Some(Wan::start(cluster, links, &home.dir).await?);
    }
    Ok(conditions)
}

/// What a saved cluster had at its last start and has not now, for a person; `None` if nothing is missing.
fn runs_without(saved: &Cluster, now: &Conditions) -> Option<String> {
    let missing = |before: bool, now: bool, flag: &'static str| (before && !now).then_some(flag);
    let flags =
        [missing(saved.wan, now.wan.is_some(), "--wan"), missing(saved.faults, now.faults.is_some(), "--faults")];
    let flags: Vec<&str> = flags.into_iter().flatten().collect();
    (!flags.is_empty())
        .then(|| format!("Note:    it runs without {} this time, which it had before", flags.join(" and ")))
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
    say("Control: ./playground/ctl display | stop | start | kill | pause | resume NAME-or-region");
    if supervisor.conditions().wan.is_some() {
        say("         ./playground/ctl link A B --cut | isolate REGION | heal | client REGION | traffic | drill NAME");
    }
    say("Ctrl-C stops everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_is_started_without_the_distance_it_had_says_so() {
        let now = Conditions::default();
        let saved = |wan, faults| Cluster { wan, faults, ..Cluster::default() };
        assert_eq!(runs_without(&saved(false, false), &now), None);
        let note = |wan, faults| runs_without(&saved(wan, faults), &now).unwrap();
        assert!(note(true, false).contains("without --wan this time"));
        assert!(note(true, true).contains("without --wan and --faults this time"));
    }
}
