//! `ctl drill` and `ctl drills`: the crate `drill` on a running playground.
//!
//! This is a client of the control socket like every other command, so a drill does nothing to a cluster that a user
//! could not do by hand, and what it does stands in the cluster's event log, as its own, beside what others do meanwhile.
//! What is judged, and how, is told in the crate `drill`.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use drill::{Action, Cluster, Door, Ended, Health, Incident, NodeInfo, OutOfReach, Tier, Topology};
use net::config::Span;
use serde_json::Value;

use crate::control::{self, NodeStatus, Request, STARTING};
use crate::events::{EventLog, Origin};
use crate::faults::{ClockChange, DiskFault};
use crate::home::find_running;
use crate::interrupts::Interrupts;
use crate::spec::Role;
use crate::wan::{Distances, LinkChange};
use crate::{Which, note, placement, readiness, table};

/// Where reports are kept, in the cluster's directory.
const REPORTS: &str = "drills";
/// Locked by a drill as long as it runs.
const LOCK_FILE: &str = "drill.lock";
/// How often, and with which pauses, a drill that is given up looks whether a node has ended: longer than a stop takes.
const ENDING_LOOKS: usize = 300;
const ENDING_PAUSE: Duration = Duration::from_millis(100);
/// The shortest drill in which there is something to see.
const DURATION_MIN: Duration = Duration::from_secs(10);
/// What the moments of a drill are called in the cluster's log.
const OWN_EVENT: &str = "drill";

/// What follows the help of `ctl drill`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  ./playground/ctl drill region-failure                               a region loses power
  ./playground/ctl drill minority --region eu-west-1 --duration 30s   eu-west-1 is cut off for 15 s
  ./playground/ctl drill pd-leader --workload append --rto 2s         silent for 2 s at most
  ./playground/ctl drill slow-disk --json >report.json                for programs
  ./playground/ctl drills                                             the reports so far

What it needs: region-partition, one-way-cut, minority and slow-link a cluster that was started with --wan, slow-disk \
and clock-jump one with --faults, most of them three regions. It says what it lacks. Ctrl-C gives a drill up and heals \
what it broke; a second Ctrl-C leaves at once. A fault that another command heals meanwhile is not judged.

Exit status:
  0    every promise kept, every target met
  1    a promise broken: something is lost, or was read wrong
  2    a target missed
  3    it could not run, its fault did not last, or it was interrupted and has healed what it broke
  130  interrupted again while it healed: ./playground/ctl heal undoes the rest";

/// What to break, and under which load.
#[derive(Args)]
pub(crate) struct DrillArgs {
    /// The drill
    #[arg(value_enum)]
    name: drill::Name,
    /// Where the fault strikes [default: where PD's leader is]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// How long clients work, without preparation and recovery: a quarter in calm, half of it under the fault
    #[arg(long, value_name = "TIME", default_value = "60s")]
    duration: Span,
    /// What clients do: transfers, list appends, single registers, or orders with lines
    #[arg(long, value_enum, default_value_t = drill::Workload::Bank)]
    workload: drill::Workload,
    /// The longest silence that a region may have
    #[arg(long, value_name = "TIME", default_value = "5s")]
    rto: Span,
    /// Seed of what the clients choose [default: chosen by chance, and printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the report as JSON; progress goes to the error output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// Runs a drill. Returns the exit status: 0 passed, 1 a promise broken, 2 a target missed, 3 could not run, 130 left while
/// it healed.
pub(crate) async fn run(args: DrillArgs) -> i32 {
    match drill(&args).await {
        Ok(status) => status,
        Err(error) => {
            note(&format!("playground: {error:#}"));
            drill::verdict::EXIT_COULD_NOT_RUN.into()
        }
    }
}

async fn drill(args: &DrillArgs) -> anyhow::Result<i32> {
    if args.duration.0 < DURATION_MIN || args.rto.0.is_zero() {
        bail!("a drill needs --duration of at least {} s and an --rto above zero", DURATION_MIN.as_secs());
    }
    let dir = find_running(&args.which).await?;
    let lock = File::create(dir.join(LOCK_FILE)).with_context(|| format!("create {LOCK_FILE} in {}", dir.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            bail!("another drill runs on this cluster; wait for its end, or interrupt it with Ctrl-C in its shell")
        }
        Err(TryLockError::Error(e)) => return Err(e).with_context(|| format!("lock {LOCK_FILE}")),
    }
    let cluster = Live::look(dir.clone()).await?;
    let options = drill::Options {
        name: args.name,
        region: args.region.clone(),
        duration: args.duration.0,
        workload: args.workload,
        rto_target: args.rto.0,
        drills: dir.join(REPORTS),
        seed: args.seed.unwrap_or_else(rand::random),
    };
    let mut interrupts = Interrupts::listen()?;
    let mut say = |line: &str| if args.json { note(line) } else { crate::say(line) };
    let interrupted = async || interrupts.next().await;
    let outcome = drill::run(&cluster, &cluster.topology, &options, interrupted, &mut say).await;
    match &outcome {
        drill::Outcome::Done { report, .. } if args.json => crate::say(&serde_json::to_string_pretty(report)?),
        drill::Outcome::Done { report, directory } => {
            crate::say(&format!("\n{}\nReport: {}", report.text(), directory.join("report.html").display()));
        }
        drill::Outcome::CouldNotRun(reason) => note(&format!("playground: {reason}")),
        drill::Outcome::Interrupted => note("playground: interrupted; what the drill broke is healed"),
        drill::Outcome::Left { not_healed } => {
            let rest = match not_healed[..] {
                [] => "before it was sure that everything is healed".to_owned(),
                _ => format!("while not healed: {}", not_healed.join("; ")),
            };
            note(&format!("playground: left {rest}; ./playground/ctl heal undoes what is still broken"));
        }
    }
    Ok(outcome.exit().into())
}

/// Whether a drill runs on the cluster in that directory.
pub(crate) fn one_runs(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join(LOCK_FILE)) else { return false };
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Prints the reports of earlier drills, oldest first.
pub(crate) async fn list(which: &Which, json: bool) -> anyhow::Result<()> {
    let dir = crate::home::find(which).await?;
    let reports = drill::list(&dir.join(REPORTS)).with_context(|| format!("read {}", dir.join(REPORTS).display()))?;
    if json {
        crate::say(&serde_json::to_string_pretty(&reports)?);
        return Ok(());
    }
    if reports.is_empty() {
        crate::say("no drill was run yet; run one with: ./playground/ctl drill region-failure");
        return Ok(());
    }
    let row = |report: &drill::Summary| {
        let verdict = match report.status {
            drill::verdict::Status::Pass => "pass",
            drill::verdict::Status::Missed => "target missed",
            drill::verdict::Status::Broken => "promise broken",
        };
        vec![
            report.directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            report.workload.clone(),
            verdict.to_owned(),
            report.worst_rto_ms.map_or("-".to_owned(), |ms| format!("{:.1} s", ms / 1000.0)),
            report.acknowledged.to_string(),
            report.lost.to_string(),
            report.directory.join("report.html").display().to_string(),
        ]
    };
    let header = ["DRILL", "WORKLOAD", "VERDICT", "WORST RTO", "COMMITS", "LOST", "REPORT"];
    crate::say(table::lined_up(&header, reports.iter().map(row)).trim_end());
    Ok(())
}

/// A running playground, as a drill sees it.
struct Live {
    dir: PathBuf,
    topology: Topology,
    /// The addresses of PD, which answers through any of them.
    pds: Vec<String>,
    /// By region: its doors, the nearest first.
    doors: BTreeMap<String, Vec<Door>>,
}

impl Live {
    async fn look(dir: PathBuf) -> anyhow::Result<Live> {
        let nodes: Vec<NodeStatus> = control::ask(&dir, Request::Display).await?;
        let conditions: control::ConditionsStatus = control::ask(&dir, Request::Conditions).await?;
        let pds: Vec<String> = nodes.iter().filter(|n| n.role == Role::Pd).map(|n| n.address.clone()).collect();
        let pd_leader = ask_pd(&pds, "/pd/api/v1/leader").await.ok();
        let pd_leader = pd_leader.and_then(|leader| leader["name"].as_str().map(str::to_owned));
        let mut regions: Vec<String> = Vec::new();
        for node in &nodes {
            if !regions.contains(&node.region) {
                regions.push(node.region.clone());
            }
        }
        let tier = |role| match role {
            Role::Pd => Tier::Pd,
            Role::Kv => Tier::Kv,
            Role::Sql => Tier::Sql,
        };
        let distances: Option<Distances> =
            if conditions.wan { Some(control::ask(&dir, Request::Distances).await?) } else { None };
        let far = |from: &str, to: &str| distances.as_ref().and_then(|d| d.asked_us(from, to)).unwrap_or(0);
        let doors_of = |region: &String| {
            let mut servers: Vec<&NodeStatus> = nodes.iter().filter(|n| n.role == Role::Sql).collect();
            servers.sort_by_key(|n| (n.region != *region, far(region, &n.region)));
            let doors = servers.into_iter().filter_map(|n| {
                let door = n.doors.iter().find(|d| d.region == *region).map_or(&n.address, |d| &d.address);
                let (host, port) = door.rsplit_once(':')?;
                Some(Door {
                    server: n.name.clone(),
                    region: n.region.clone(),
                    host: host.to_owned(),
                    port: port.parse().ok()?,
                })
            });
            doors.collect::<Vec<Door>>()
        };
        let doors = regions.iter().map(|region| (region.clone(), doors_of(region))).collect();
        let infos =
            nodes.iter().map(|n| NodeInfo { name: n.name.clone(), tier: tier(n.role), region: n.region.clone() });
        let topology =
            Topology { regions, nodes: infos.collect(), pd_leader, wan: conditions.wan, faults: conditions.faults };
        Ok(Live { dir, topology, pds, doors })
    }

    fn storage_nodes(&self) -> usize {
        self.topology.nodes.iter().filter(|n| n.tier == Tier::Kv).count()
    }

    async fn send(&self, request: Request) -> anyhow::Result<()> {
        control::call(&self.dir, Origin::Drill, request, |_| ()).await.map(drop)
    }

    async fn heal_all(&self) -> anyhow::Result<()> {
        // What was asked for just before goes on: a node that is about to end is not healed before it has.
        for _ in 0..ENDING_LOOKS {
            let nodes: Vec<NodeStatus> = control::ask(&self.dir, Request::Display).await?;
            let ending = |n: &NodeStatus| n.pid.is_some() && matches!(n.state.as_str(), "stopping" | "killed");
            if !nodes.iter().any(ending) {
                break;
            }
            tokio::time::sleep(ENDING_PAUSE).await;
        }
        self.send(Request::Heal(None)).await?;
        // A restart that was interrupted has stopped a node, which to the playground is no fault.
        let nodes: Vec<NodeStatus> = control::ask(&self.dir, Request::Display).await?;
        let stopped: Vec<String> = nodes.into_iter().filter(|n| n.pid.is_none()).map(|n| n.name).collect();
        self.send_to_all(&stopped, Request::Start).await
    }

    /// Carries out a request for each node, all at the same time.
    async fn send_to_all(&self, nodes: &[String], request: fn(String) -> Request) -> anyhow::Result<()> {
        let requests = nodes.iter().map(|node| self.send(request(node.clone())));
        futures::future::try_join_all(requests).await.map(drop)
    }
}

impl Cluster for Live {
    fn tag(&self) -> String {
        self.dir.file_name().map_or_else(String::new, |n| n.to_string_lossy().trim_start_matches('.').to_owned())
    }

    fn doors(&self, region: &str) -> Vec<Door> {
        self.doors.get(region).cloned().unwrap_or_default()
    }

    async fn act(&self, action: &Action) -> anyhow::Result<()> {
        match action.clone() {
            Action::Kill { nodes } => self.send_to_all(&nodes, Request::Kill).await,
            Action::Start { nodes } => self.send_to_all(&nodes, Request::Start).await,
            Action::Pause { node } => self.send(Request::Pause(node)).await,
            Action::Resume { node } => self.send(Request::Resume(node)).await,
            Action::Restart { node } => {
                self.send(Request::Stop(node.clone())).await?;
                self.send(Request::Start(node)).await
            }
            Action::Cut { from, to, one_way } => {
                let change = if one_way { LinkChange::CutOneWay } else { LinkChange::Cut };
                self.send(Request::Link { from, to, change }).await
            }
            Action::Isolate { region } => self.send(Request::Isolate(region)).await,
            Action::SlowLink { a, b, extra_rtt_ms } => {
                let distances: Distances = control::ask(&self.dir, Request::Distances).await?;
                let asked = distances.asked_us(&a, &b).context("the regions have no link")?;
                let rtt = format!("{}us", asked + extra_rtt_ms * 1000);
                let change = LinkChange::shape(Some(&rtt), None, None, None)?;
                self.send(Request::Link { from: a, to: b, change }).await
            }
            Action::HealLink { a, b } => self.send(Request::Link { from: a, to: b, change: LinkChange::Heal }).await,
            Action::HealRegion { region } => self.send(Request::Heal(Some(region))).await,
            Action::SlowDisk { node, ms } => {
                self.send(Request::Disk(node, DiskFault::Slow(Duration::from_millis(ms)))).await
            }
            Action::HealDisk { node } => self.send(Request::Disk(node, DiskFault::None)).await,
            Action::ClockJump { node, ms } => {
                self.send(Request::Clock(node, ClockChange::jump(&format!("{ms}ms"))?)).await
            }
            Action::ResetClock { node } => self.send(Request::Clock(node, ClockChange::Reset)).await,
            Action::AwaitWhole => Ok(()),
            Action::HealAll => match self.heal_all().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.ended().await.map_or(error, Into::into)),
            },
        }
    }

    async fn health(&self) -> anyhow::Result<Health> {
        let nodes: Vec<NodeStatus> = control::ask(&self.dir, Request::Display).await?;
        let starting = nodes.iter().filter(|n| n.state == STARTING);
        let mut problems: Vec<String> = starting.map(|n| format!("{} is starting", n.name)).collect();
        problems.extend(self.disturbed().await?);
        let replicas = placement::replicas(&self.pds, self.storage_nodes()).await?;
        problems.extend(replicas.amiss);
        Ok(Health { problems, moving: replicas.moving })
    }

    async fn out_of_reach(&self) -> anyhow::Result<Vec<OutOfReach>> {
        placement::out_of_reach(&self.pds, self.storage_nodes()).await
    }

    async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
        let nodes: Vec<NodeStatus> = control::ask(&self.dir, Request::Display).await?;
        let stopped = nodes.iter().filter(|n| n.state != "running" && n.state != STARTING);
        let mut sentences: Vec<String> = stopped.map(|n| format!("{} is {}", n.name, n.state)).collect();
        let conditions: control::ConditionsStatus = control::ask(&self.dir, Request::Conditions).await?;
        sentences.extend(conditions.disturbed);
        Ok(sentences)
    }

    async fn placement(&self, _database: &str) -> anyhow::Result<Vec<String>> {
        placement::misplaced(&self.pds).await
    }

    fn log_event(&self, text: &str) {
        EventLog::in_dir(&self.dir).record(Origin::Drill, OWN_EVENT, "", text);
    }

    fn incidents(&self, since_ms: u64) -> Vec<Incident> {
        incidents(&EventLog::in_dir(&self.dir), since_ms)
    }

    async fn ended(&self) -> Option<Ended> {
        match control::is_running(&self.dir).await {
            true => None,
            // On its way out it heals.
            false if control::has_ended(&self.dir) => Some(Ended::InOrder),
            false => Some(Ended::Killed),
        }
    }
}

/// What the log tells that was not done by a drill.
fn incidents(log: &EventLog, since_ms: u64) -> Vec<Incident> {
    let others = log.since(since_ms).into_iter().filter(|e| e.by != Origin::Drill);
    let text = |what: &str, target: &str, detail: &str| {
        let detail = if detail == target { "" } else { detail };
        [what, target, detail].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    };
    others.map(|e| Incident { time_ms: e.time_ms, text: text(&e.what, &e.target, &e.detail) }).collect()
}

/// Asks the PD members for a page until one answers.
pub(crate) async fn ask_pd(pds: &[String], path: &str) -> anyhow::Result<Value> {
    let mut reason = "there is no PD".to_owned();
    for pd in pds {
        match readiness::get(pd, path).await {
            Ok(answer) => return Ok(answer),
            Err(error) => reason = error,
        }
    }
    bail!(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_healing_by_another_command_is_not_taken_for_the_drills_own() {
        let dir = tempfile::tempdir().unwrap();
        let log = EventLog::in_dir(dir.path());
        log.record(Origin::Drill, "isolate", "us-east-1", "pd-1, kv-1");
        log.record(Origin::Command, "heal", "us-east-1", "");
        log.record(Origin::Command, "heal", "", "");
        log.record(Origin::Drill, "heal", "us-east-1", "");
        log.record(Origin::Command, "kill", "kv-1", "kv-1");
        log.record(Origin::Playground, "ended", "kv-2", "exit code 1");
        let texts: Vec<String> = incidents(&log, 0).into_iter().map(|i| i.text).collect();
        assert_eq!(texts, ["heal us-east-1", "heal", "kill kv-1", "ended kv-2 exit code 1"]);
    }

    #[test]
    fn a_drill_that_runs_is_known_by_its_lock_and_one_that_ran_is_not_taken_for_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!one_runs(dir.path()), "none ever ran");
        let lock = File::create(dir.path().join(LOCK_FILE)).unwrap();
        assert!(!one_runs(dir.path()));
        lock.lock().unwrap();
        assert!(one_runs(dir.path()));
        drop(lock);
        assert!(!one_runs(dir.path()));
    }
}
