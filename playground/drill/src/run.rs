//! What happens when: the driver of a drill.
//!
//! ```text
//!   plan, say what is expected ─► healthy? ─► tables ─► clients warm up ─► calm ─► fault ─► hold ─► heal
//!        └ refused (exit 3)         └ refused                                        │
//!   report ◄─ judge ◄─ last reads, ADMIN CHECK TABLE, replicas ◄─ stop clients ◄─ after ◄─ wait until whole
//! ```
//!
//! Of `--duration`, a quarter is calm, a half is the fault, and a quarter is what comes after the cluster was whole again;
//! tables, warm-up and the wait come on top. A drill that ends early for whatever reason, interruption included, heals what
//! it broke before [`run`] returns, unless it is interrupted again meanwhile. (If the returned future itself is dropped,
//! nobody can heal: use `interrupted` instead.)
//!
//! A verdict is about a fault that lasted: as soon as somebody else undoes it, or disturbs the calm, the drill is given up
//! and says what happened. What others do beside the fault is in the report, as a mark and a warning.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use mysql_async::Conn;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::catalog::{Action, Name, Plan, Topology, plan};
use crate::check::check;
use crate::cluster::{Cluster, Door, Ended, Health, Incident};
use crate::crowd::{CLIENTS, Crowd, clients_needed};
use crate::history::{self, Final, Kind};
use crate::latency::{LOOKED_AT_US, fast_since, medians};
use crate::mysql;
use crate::policy::{placed, policy, refusal};
use crate::report::{Check, Event, EventKind, Facts, Report, draw_up};
use crate::rto::Phases;
use crate::verdict::{EXIT_COULD_NOT_RUN, EXIT_LEFT};
use crate::workload::Workload;

/// How long the driver waits for its own statements: tables, last reads, checks.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(60);
/// How long the cluster may take to be whole after healing.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);
/// How long a restarted process may take until the cluster is whole.
const RESTART_WHOLE_WITHIN: Duration = Duration::from_secs(60);
/// How long replicas may take to be where policies want them, the drill's and others'.
const PLACED_WITHIN: Duration = Duration::from_secs(90);
/// How long the last reads are repeated while a server does not answer.
const LAST_READ_WITHIN: Duration = Duration::from_secs(60);
/// How long the rate of the first clients is looked at.
const WARM_UP: Duration = Duration::from_secs(4);
/// The shortest calm and the shortest time after recovery.
const CALM_MIN: Duration = Duration::from_secs(5);
/// How long a cluster may take until it is healthy before a drill is refused: a new PD leader hears of every region
/// within 10 s.
const SETTLED_WITHIN: Duration = Duration::from_secs(25);
/// How long a drill that is given up tries to take its tables away.
const LEAVING_WITHIN: Duration = Duration::from_secs(15);
/// How long somebody who leaves at once waits to hear what is not healed.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How often the cluster is asked whether it is whole.
const POLL: Duration = Duration::from_millis(500);
/// How often it is looked whether the fault is still in force, and whether there is still a cluster.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a healing by another command may take until it is in the cluster's log.
const LOGGED_WITHIN: Duration = Duration::from_secs(3);
/// What the tables and the warm-up take, roughly.
const PREPARATION: Duration = Duration::from_secs(15);
/// How often a wait says what it waits for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The drill.
    pub name: Name,
    /// Where the fault strikes; by default in the region of PD's leader.
    pub region: Option<String>,
    /// Calm, fault and after together.
    pub duration: Duration,
    /// What the clients do.
    pub workload: Workload,
    /// The longest silence that a judged region is allowed.
    pub rto_target: Duration,
    /// `~/.meridian/TAG/drills`: the report goes into a directory of its own below it.
    pub drills: PathBuf,
    /// Seeds the clients' choices.
    pub seed: u64,
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// The drill ran; the report is in the directory.
    Done {
        /// The report.
        report: Box<Report>,
        /// Where `report.json`, `report.html` and `history.jsonl` are.
        directory: PathBuf,
    },
    /// It could not be run, for this reason.
    CouldNotRun(String),
    /// It was interrupted, and what it had broken was healed.
    Interrupted,
    /// It was interrupted while it healed, and has left at once.
    Left {
        /// What was still broken then, a sentence each.
        not_healed: Vec<String>,
    },
}

impl Outcome {
    /// The exit status of the command.
    pub fn exit(&self) -> u8 {
        match self {
            Outcome::Done { report, .. } => report.verdict.status.exit(),
            Outcome::CouldNotRun(_) | Outcome::Interrupted => EXIT_COULD_NOT_RUN,
            Outcome::Left { .. } => EXIT_LEFT,
        }
    }
}

/// Says things to the person who runs the drill, a line at a time.
pub type Say<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Runs a drill. `interrupted` is ready when somebody wants it to end: at the first time the drill is given up and what it
/// broke is healed, and at the next time it leaves at once. The error of a healing that fails is part of the reason why
/// the drill could not be run.
pub async fn run<C: Cluster>(
    cluster: &C,
    topology: &Topology,
    options: &Options,
    mut interrupted: impl AsyncFnMut(),
    say: Say<'_>,
) -> Outcome {
    let plan = match plan(options.name, topology, options.region.as_deref()) {
        Ok(plan) => plan,
        Err(refused) => return Outcome::CouldNotRun(refused.to_string()),
    };
    let broken = Mutex::default();
    let result = {
        let plan = plan.clone();
        let drill = Drill { cluster, topology, options, plan, broken: &broken, say: &mut *say, events: Vec::new() };
        tokio::select! {
            result = drill.run() => Some(result),
            () = interrupted() => None,
            ended = until_ended(cluster) => return Outcome::CouldNotRun(ended.to_string()),
        }
    };
    if !matches!(result, Some(Ok(_)))
        && let Some(ended) = cluster.ended().await
    {
        // Whatever the drill met on the way has this cause, and there is nothing left to heal.
        return Outcome::CouldNotRun(ended.to_string());
    }
    let healing = match heal_all(cluster, &broken, &mut interrupted, &mut *say).await {
        Ok(()) => String::new(),
        Err(stopped) => match not_healed(stopped) {
            Ok(healing) => healing,
            Err(outcome) => return outcome,
        },
    };
    if !matches!(result, Some(Ok(_))) {
        let drill = Drill { cluster, topology, options, plan, broken: &broken, say: &mut *say, events: Vec::new() };
        tokio::select! {
            _ = tokio::time::timeout(LEAVING_WITHIN, drill.drop_tables()) => {}
            // They are nothing broken, and the next drill drops them.
            () = interrupted() => {}
        }
    }
    match result {
        // Which leaves nothing broken.
        Some(Ok((report, directory))) => Outcome::Done { report: Box::new(report), directory },
        Some(Err(error)) => Outcome::CouldNotRun(format!("{error:#}{healing}")),
        None if healing.is_empty() => Outcome::Interrupted,
        None => Outcome::CouldNotRun(format!("interrupted{healing}")),
    }
}

/// Returns when there is no cluster any more.
async fn until_ended<C: Cluster>(cluster: &C) -> Ended {
    loop {
        sleep(LOOK_EVERY).await;
        if let Some(ended) = cluster.ended().await {
            return ended;
        }
    }
}

/// The parts of `--duration`: calm, fault, and what comes after the cluster was whole again.
fn parts(duration: Duration) -> [Duration; 3] {
    let quarter = (duration / 4).max(CALM_MIN);
    [quarter, duration / 2, quarter]
}

/// How long the drill will take, for a person.
fn schedule(plan: &Plan, duration: Duration) -> String {
    let [calm, hold, after] = parts(duration);
    let (faulty, hold) = match plan.transient {
        true => ("as long as the restarts take".to_owned(), Duration::ZERO),
        false => (format!("{} under the fault", length(hold)), hold),
    };
    format!(
        "takes about {}, and as long as the cluster needs to be whole again (at most {}): {} calm, {faulty}, {} after",
        length(PREPARATION + calm + hold + after),
        length(WHOLE_WITHIN),
        length(calm),
        length(after)
    )
}

/// `5 h 20 min`, `1 min 15 s`, `7.5 s`.
fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{} s", time.as_secs_f64()),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn unhealthy(what: &str) -> String {
    format!(
        "the cluster is not healthy: {what}; undo faults with ./playground/ctl heal, and start what is down with \
         ./playground/ctl start"
    )
}

/// Why not everything is healed.
enum Stopped {
    Failed(anyhow::Error),
    /// What is not.
    Left(Vec<String>),
}

/// What to add to the reason why the drill could not be run; the outcome, if there is nothing more to do.
fn not_healed(stopped: Stopped) -> Result<String, Outcome> {
    match stopped {
        // Whatever the drill met on the way has this cause.
        Stopped::Failed(error) if error.is::<Ended>() => Err(Outcome::CouldNotRun(error.to_string())),
        Stopped::Failed(error) => Ok(format!("; healing failed: {error:#}")),
        Stopped::Left(not_healed) => Err(Outcome::Left { not_healed }),
    }
}

/// Undoes what is broken, if anything is, unless it is interrupted.
async fn heal_all<C: Cluster>(
    cluster: &C,
    broken: &Mutex<Vec<Action>>,
    interrupted: &mut impl AsyncFnMut(),
    say: Say<'_>,
) -> Result<(), Stopped> {
    if broken.lock().is_empty() {
        return Ok(());
    }
    say("healing; press Ctrl-C again to leave at once, ./playground/ctl heal undoes the rest");
    tokio::select! {
        healed = cluster.act(&Action::HealAll) => healed.map_err(Stopped::Failed),
        () = interrupted() => {
            let looked = tokio::time::timeout(LAST_LOOK, cluster.disturbed()).await;
            // Who does not hear at once is told what the drill did.
            let done = || broken.lock().iter().map(Action::to_string).collect();
            Err(Stopped::Left(looked.ok().and_then(Result::ok).unwrap_or_else(done)))
        }
    }
}

struct Drill<'a, C> {
    cluster: &'a C,
    topology: &'a Topology,
    options: &'a Options,
    plan: Plan,
    /// What was done and may not be undone.
    broken: &'a Mutex<Vec<Action>>,
    say: Say<'a>,
    events: Vec<Event>,
}

/// A fault as it was when all of it had been done.
struct Fault {
    since_ms: u64,
    /// What [`Cluster::disturbed`] said of it.
    signs: Vec<String>,
}

impl<C: Cluster> Drill<'_, C> {
    async fn run(mut self) -> anyhow::Result<(Report, PathBuf)> {
        let started_unix = chrono::Utc::now().timestamp();
        self.say(&self.plan.title.clone());
        self.say("expected:");
        for sentence in self.plan.expectation.clone() {
            self.say(&format!("  - {sentence}"));
        }
        let rto = self.options.rto_target.as_secs_f64();
        self.say(&format!("  - A region that is judged is silent for at most {rto} s, reads and writes each."));
        self.say(&schedule(&self.plan, self.options.duration));
        self.refuse_unhealthy().await?;
        self.tables().await?;

        let mut crowd = self.crowd();
        let mut phases = Phases::default();
        self.warm_up(&mut crowd).await?;
        phases.calm_us = crowd.shared.recorder.now_us();
        self.event(phases.calm_us, EventKind::Note, "calm");
        let [calm, hold, after] = parts(self.options.duration);
        self.say(&format!("calm: {}", length(calm)));
        sleep(calm).await;
        let before = medians(&crowd.shared.recorder.since(phases.calm_us));
        self.say(&format!("calm: {}", before_text(&before, calm, &crowd, phases.calm_us)));

        let (fault, mut not_whole) = self.inject(&crowd, &mut phases).await?;
        if !self.plan.transient {
            self.hold(&crowd, &fault, hold).await?;
        }
        self.heal(&crowd, &mut phases).await?;
        match self.until_whole(&crowd, &before, WHOLE_WITHIN).await {
            Ok(at) => {
                phases.whole_us = Some(at);
                self.event(at, EventKind::Note, "whole");
                let seconds = (at - phases.healed_us) as f64 / 1e6;
                self.say(&format!("whole and as fast as before, {seconds:.1} s after healing"));
            }
            Err(why) => not_whole.extend(why),
        }
        sleep(after).await;
        phases.end_us = crowd.shared.recorder.now_us();
        self.say("stopping the clients, reading everything back");
        let mut ops = crowd.stop().await;
        // The last operations end a little later than the drill; the timeline ends with it.
        ops.sort_by_key(|op| (op.invoke_us, op.process));

        let (finals, mut checks) = self.read_back(&crowd).await;
        match self.admin_check(LAST_READ_WITHIN).await {
            Ok(check) => checks.push(check),
            Err(unreachable) => not_whole.push(unreachable),
        }
        checks.push(self.replicas().await);
        let findings = check(self.options.workload, &ops, &finals);
        let warnings = self.mark_incidents(&crowd, &phases);
        let facts = Facts {
            tag: self.cluster.tag(),
            plan: self.plan.clone(),
            regions: self.topology.regions.clone(),
            homes: self.topology.homes(),
            workload: self.options.workload,
            seed: self.options.seed,
            started_unix,
            rto_target_ms: self.options.rto_target.as_millis() as u64,
            phases,
            events: std::mem::take(&mut self.events),
            checks,
            not_whole,
            warnings,
        };
        let report = draw_up(facts, &ops, findings);
        let directory = self.directory(started_unix);
        report.write(&directory).with_context(|| format!("write the report to {}", directory.display()))?;
        history::write_jsonl(&directory.join("history.jsonl"), &ops).context("write the history")?;
        let finals = serde_json::to_vec(&finals)?;
        std::fs::write(directory.join("final.json"), finals).context("write the last reads")?;
        if report.verdict.status != crate::verdict::Status::Broken {
            self.drop_tables().await;
        }
        Ok((report, directory))
    }

    fn say(&mut self, line: &str) {
        (self.say)(line);
    }

    fn event(&mut self, at_us: u64, kind: EventKind, text: &str) {
        self.cluster.log_event(&format!("drill {}: {text}", self.plan.name));
        self.events.push(Event { at_us, kind, text: text.to_owned() });
    }

    /// Marks what happened beside the drill's own doing. Returns a warning if anything did.
    fn mark_incidents(&mut self, crowd: &Crowd, phases: &Phases) -> Vec<String> {
        let begin_ms = unix_ms().saturating_sub(crowd.shared.recorder.now_us() / 1000);
        let mut incidents = self.cluster.incidents(begin_ms);
        incidents.retain(|i| i.time_ms.saturating_sub(begin_ms) * 1000 <= phases.end_us);
        for Incident { time_ms, text } in &incidents {
            let at_us = time_ms.saturating_sub(begin_ms) * 1000;
            self.events.push(Event { at_us, kind: EventKind::Note, text: text.clone() });
        }
        self.events.sort_by_key(|e| e.at_us);
        match incidents.is_empty() {
            true => Vec::new(),
            false => vec![format!("this happened meanwhile, and was not the drill's doing: {}", told(&incidents))],
        }
    }

    /// `TIME-NAME`, as `20260131-154500-minority`; with a number if that is taken.
    fn directory(&self, started_unix: i64) -> PathBuf {
        let time = chrono::DateTime::from_timestamp(started_unix, 0).unwrap_or_default();
        let name = format!("{}-{}", time.format("%Y%m%d-%H%M%S"), self.plan.name);
        let mut directory = self.options.drills.join(&name);
        let mut number = 1;
        while directory.exists() {
            number += 1;
            directory = self.options.drills.join(format!("{name}-{number}"));
        }
        directory
    }

    async fn problems(&self) -> Vec<String> {
        match self.cluster.health().await {
            Ok(health) => health.missing(),
            Err(error) => vec![format!("{error:#}")],
        }
    }

    /// Refuses a cluster that no waiting makes whole.
    async fn refuse_out_of_reach(&self) -> anyhow::Result<()> {
        // Who does not answer is a matter of health.
        let out_of_reach = self.cluster.out_of_reach().await.unwrap_or_default();
        if out_of_reach.is_empty() {
            return Ok(());
        }
        let tables = async { anyhow::Ok(placed(&mut self.any().await?).await?) };
        bail!(refusal(&out_of_reach, &tables.await.unwrap_or_default()))
    }

    async fn refuse_unhealthy(&mut self) -> anyhow::Result<()> {
        self.refuse_out_of_reach().await?;
        let disturbed = self.cluster.disturbed().await.unwrap_or_default();
        if !disturbed.is_empty() {
            bail!(unhealthy(&disturbed.join("; ")));
        }
        // One that was just started, or healed, has a moment to settle; one that moves replicas may finish.
        let begin = Instant::now();
        let mut said = begin;
        loop {
            let health = self.cluster.health().await;
            let Health { problems, moving } =
                health.unwrap_or_else(|error| Health { problems: vec![format!("{error:#}")], moving: vec![] });
            if problems.is_empty() && moving.is_empty() {
                break;
            }
            let within = if problems.is_empty() { PLACED_WITHIN } else { SETTLED_WITHIN };
            let missing = if problems.is_empty() { moving } else { problems.clone() }.join("; ");
            if begin.elapsed() > within && problems.is_empty() {
                bail!(
                    "the cluster is still moving replicas after {} s: {missing}; wait until it rests",
                    within.as_secs()
                );
            }
            if begin.elapsed() > within {
                bail!(unhealthy(&missing));
            }
            self.say_what_is_waited_for(&missing, begin, within, &mut said);
            sleep(POLL).await;
        }
        for region in &self.topology.regions {
            if self.cluster.doors(region).is_empty() {
                bail!("clients in {region} have no SQL server to talk to");
            }
        }
        Ok(())
    }

    /// The doors of the regions' own servers: each server once, without a detour.
    fn own_doors(&self) -> Vec<Door> {
        let mut doors: BTreeMap<String, Door> = BTreeMap::new();
        for region in &self.topology.regions {
            for door in self.cluster.doors(region) {
                if door.region == *region || !doors.contains_key(&door.server) {
                    doors.insert(door.server.clone(), door);
                }
            }
        }
        doors.into_values().collect()
    }

    /// A connection to any server, for the driver's own statements.
    async fn any(&self) -> anyhow::Result<Conn> {
        let mut last = None;
        for door in self.own_doors() {
            match mysql::connect(&door, None).await {
                Ok(conn) => return Ok(conn),
                Err(trouble) => last = Some(anyhow::Error::new(trouble).context(door.server)),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("the cluster has no SQL server")))
    }

    async fn tables(&mut self) -> anyhow::Result<()> {
        let database = self.options.workload.database();
        self.say(&format!("creating the tables of {database}"));
        let mut conn = self.any().await.context("connect to create the tables")?;
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {database}")];
        match policy(&self.plan, self.topology) {
            Some(policy) => {
                statements.push(policy.create);
                statements.push(format!("CREATE DATABASE {database} PLACEMENT POLICY=`{}`", policy.name));
            }
            None => statements.push(format!("CREATE DATABASE {database}")),
        }
        statements.push(format!("USE {database}"));
        statements.push("CREATE TABLE probe (id INT PRIMARY KEY, n INT NOT NULL)".to_owned());
        statements.push("INSERT INTO probe VALUES (1, 0)".to_owned());
        statements.extend(self.options.workload.setup());
        for sql in statements {
            let short: String = sql.chars().take(60).collect();
            mysql::patiently(&mut conn, &sql, READ_PATIENCE).await.with_context(|| short)?;
        }
        let _ = conn.disconnect().await;
        // Replicas and leaders move to where the policy wants them.
        let begin = Instant::now();
        let mut said = begin;
        loop {
            let mut wrong = self.problems().await;
            match self.cluster.placement(&database).await {
                Ok(more) => wrong.extend(more),
                Err(error) => wrong.push(format!("{error:#}")),
            }
            if wrong.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > PLACED_WITHIN {
                bail!(
                    "replicas are not where policies want them after {} s: {}",
                    PLACED_WITHIN.as_secs(),
                    wrong.join("; ")
                );
            }
            if self.say_what_is_waited_for(&wrong.join("; "), begin, PLACED_WITHIN, &mut said) {
                // Somebody may have made a policy meanwhile.
                self.refuse_out_of_reach().await?;
            }
            sleep(POLL).await;
        }
    }

    /// From time to time; returns whether it was now.
    fn say_what_is_waited_for(&mut self, missing: &str, begin: Instant, within: Duration, said: &mut Instant) -> bool {
        let due = said.elapsed() > SAY_EVERY;
        if due {
            *said = Instant::now();
            let (waited, most) = (begin.elapsed().as_secs(), within.as_secs());
            self.say(&format!("waiting, {waited} s of at most {most} s: {missing}"));
        }
        due
    }

    /// The clients of every region, before there are any.
    fn crowd(&self) -> Crowd {
        let doors = self.topology.regions.iter().map(|region| (region.clone(), self.cluster.doors(region)));
        Crowd::new(doors, self.options.workload, self.options.seed)
    }

    /// Starts the clients, looks at their rate, and adds as many as the wanted rate takes.
    async fn warm_up(&mut self, crowd: &mut Crowd) -> anyhow::Result<()> {
        let regions = self.topology.regions.clone();
        let per = 2 * CLIENTS;
        self.say(&format!("{per} clients in each of {}: {} warm up", regions.join(", "), self.options.workload));
        for region in 0..regions.len() {
            crowd.add(region, Kind::Read, CLIENTS);
            crowd.add(region, Kind::Write, CLIENTS);
        }
        sleep(WARM_UP).await;
        let now = crowd.shared.recorder.now_us();
        let window_us = WARM_UP.as_micros() as u64 * 3 / 4;
        let ops = crowd.shared.recorder.since(now.saturating_sub(window_us));
        let mut added = false;
        for (index, region) in regions.iter().enumerate() {
            for kind in [Kind::Read, Kind::Write] {
                let of = ops.iter().filter(|op| op.region == *region && op.kind == kind);
                let (count, sum_us) = of.fold((0, 0), |(n, sum), op| (n + 1, sum + op.latency_us()));
                let needed = clients_needed(count, sum_us);
                if needed > CLIENTS {
                    crowd.add(index, kind, needed - CLIENTS);
                    added = true;
                }
            }
        }
        if added {
            self.say(&format!("distances are long: {} clients", crowd.clients()));
            sleep(WARM_UP).await;
        }
        Ok(())
    }

    /// Carries out the faults. Returns what there is of them then, and what was not whole in time between the steps of a
    /// rolling restart.
    async fn inject(&mut self, crowd: &Crowd, phases: &mut Phases) -> anyhow::Result<(Fault, Vec<String>)> {
        let disturbed = self.cluster.disturbed().await?;
        if !disturbed.is_empty() {
            bail!("no verdict, as the calm was disturbed: {}", disturbed.join("; "));
        }
        let mut not_whole = Vec::new();
        let since_ms = unix_ms();
        phases.fault_us = crowd.shared.recorder.now_us();
        let mut at_us = phases.fault_us;
        for action in self.plan.inject.clone() {
            if action == Action::AwaitWhole {
                if let Err(why) = self.until_healthy(RESTART_WHOLE_WITHIN).await {
                    // To go on would be to take the majority away.
                    not_whole.extend(why);
                    break;
                }
                continue;
            }
            self.say(&format!("fault: {action}"));
            self.event(at_us, EventKind::Fault, &action.to_string());
            self.broken.lock().push(action.clone());
            self.cluster.act(&action).await.with_context(|| action.to_string())?;
            if matches!(action, Action::Restart { .. }) {
                // Which undoes itself.
                self.broken.lock().pop();
            }
            at_us = crowd.shared.recorder.now_us();
        }
        Ok((Fault { since_ms, signs: self.cluster.disturbed().await? }, not_whole))
    }

    /// Lets the fault last, and tells how the regions fare. Fails as soon as it does not last.
    async fn hold(&mut self, crowd: &Crowd, fault: &Fault, hold: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + hold;
        self.say(&format!("holding for {}", length(hold)));
        let mut said = Instant::now();
        loop {
            let over = Instant::now() >= end;
            match self.cluster.disturbed().await {
                Ok(disturbed) => self.refuse_undone(fault, &disturbed).await?,
                // One look that fails is followed by another, but for the last.
                Err(error) if over => return Err(error.context("look whether the fault is still in force")),
                Err(_) => {}
            }
            if over || said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let now = crowd.shared.recorder.now_us();
                self.say(&format!("  {}", crowd.rates(now.saturating_sub(2_000_000), now)));
            }
            if over {
                return Ok(());
            }
            sleep(LOOK_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Refuses to judge a fault that is not in force any more, or never was.
    async fn refuse_undone(&self, fault: &Fault, disturbed: &[String]) -> anyhow::Result<()> {
        let gone: Vec<&String> = fault.signs.iter().filter(|sign| !disturbed.contains(sign)).collect();
        if gone.is_empty() && !fault.signs.is_empty() {
            return Ok(());
        }
        let after = unix_ms().saturating_sub(fault.since_ms) as f64 / 1e3;
        let what = match gone[..] {
            [] => "it is not in force".to_owned(),
            [one] => format!("this is no longer so: {one}"),
            [first, ..] => format!("this is no longer so: {first}, and {} more", gone.len() - 1),
        };
        // A healing that is under way may have changed something and not logged it yet.
        let deadline = Instant::now() + LOGGED_WITHIN;
        let mut incidents = self.cluster.incidents(fault.since_ms);
        while incidents.is_empty() && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
            incidents = self.cluster.incidents(fault.since_ms);
        }
        let who = match incidents.is_empty() {
            true => "and the cluster's log does not say why".to_owned(),
            false => format!("as this was done meanwhile: {}", told(&incidents)),
        };
        bail!("no verdict, as the fault did not last: {after:.1} s after it began, {what}, {who}")
    }

    async fn heal(&mut self, crowd: &Crowd, phases: &mut Phases) -> anyhow::Result<()> {
        phases.healed_us = crowd.shared.recorder.now_us();
        let mut at_us = phases.healed_us;
        for action in self.plan.heal.clone() {
            self.say(&format!("heal: {action}"));
            // Before it is done, as the phase begins: that servers need time to start belongs to the recovery.
            self.event(at_us, EventKind::Heal, &action.to_string());
            self.cluster.act(&action).await.with_context(|| action.to_string())?;
            at_us = crowd.shared.recorder.now_us();
        }
        self.broken.lock().clear();
        if self.plan.transient {
            self.event(at_us, EventKind::Heal, "the last process is back");
        }
        Ok(())
    }

    /// Waits until nothing is amiss with processes, replicas and operators.
    async fn until_healthy(&mut self, within: Duration) -> Result<(), Vec<String>> {
        let deadline = Instant::now() + within;
        loop {
            let problems = self.problems().await;
            if problems.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(problems);
            }
            sleep(POLL).await;
        }
    }

    /// Waits until the cluster is healthy, its tables are consistent, and it has been as fast as before for a few windows.
    /// Returns since when.
    async fn until_whole(
        &mut self,
        crowd: &Crowd,
        before: &BTreeMap<(String, Kind), f64>,
        within: Duration,
    ) -> Result<u64, Vec<String>> {
        let deadline = Instant::now() + within;
        let healed_us = crowd.shared.recorder.now_us();
        let mut healthy_us = healed_us;
        let mut said = Instant::now();
        loop {
            let mut missing = self.problems().await;
            let now = crowd.shared.recorder.now_us();
            if !missing.is_empty() {
                healthy_us = now;
            }
            let mut fast_us = now;
            if missing.is_empty() {
                let from = healed_us.max(now.saturating_sub(LOOKED_AT_US));
                match fast_since(&crowd.shared.recorder.since(from), before, healed_us, now) {
                    Ok(since) => fast_us = since,
                    Err(why) => missing = why,
                }
            }
            if missing.is_empty() {
                let tables = self.admin_check(Duration::ZERO).await;
                if tables.as_ref().is_ok_and(|check| check.passed) {
                    return Ok(fast_us.max(healthy_us));
                }
                missing.extend(tables.map_or_else(|unreachable| vec![unreachable], |check| check.details));
            }
            if Instant::now() > deadline {
                return Err(missing);
            }
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                self.say(&format!("not whole yet: {}", missing.join("; ")));
            }
            sleep(POLL).await;
        }
    }

    /// Reads all rows through every SQL server.
    async fn read_back(&mut self, crowd: &Crowd) -> (Vec<Final>, Vec<Check>) {
        let (mut finals, mut unread) = (Vec::new(), Vec::new());
        for door in self.own_doors() {
            let deadline = Instant::now() + LAST_READ_WITHIN;
            loop {
                let invoke_us = crowd.shared.recorder.now_us();
                let read = async {
                    let mut conn = mysql::connect(&door, Some(&self.options.workload.database())).await?;
                    let rows = self.options.workload.rows(&mut conn).await?;
                    let _ = conn.disconnect().await;
                    Ok::<_, mysql::Trouble>(rows)
                };
                match read.await {
                    Ok(rows) => {
                        let complete_us = crowd.shared.recorder.now_us();
                        finals.push(Final { server: door.server.clone(), invoke_us, complete_us, rows });
                        break;
                    }
                    Err(trouble) if Instant::now() > deadline => {
                        unread.push(format!("{}: {trouble}", door.server));
                        break;
                    }
                    Err(_) => sleep(POLL).await,
                }
            }
        }
        let passed = unread.is_empty() && !finals.is_empty();
        let details = if passed { vec![format!("{} SQL servers", finals.len())] } else { unread };
        let name = "everything can be read back through every SQL server".to_owned();
        (finals, vec![Check { name, passed, details }])
    }

    /// `ADMIN CHECK TABLE` of every table. What cannot be asked for long is an error, not an inconsistency.
    async fn admin_check(&self, patience: Duration) -> Result<Check, String> {
        let (database, tables) = (self.options.workload.database(), self.options.workload.tables());
        let deadline = Instant::now() + patience;
        let mut details = Vec::new();
        for table in tables {
            let sql = format!("ADMIN CHECK TABLE {database}.{table}");
            loop {
                let unreachable = match self.any().await {
                    Ok(mut conn) => match mysql::patiently(&mut conn, &sql, READ_PATIENCE).await {
                        Ok(_) => break,
                        Err(trouble) if trouble.gone || trouble.unreachable => trouble.to_string(),
                        Err(trouble) => {
                            details.push(format!("{table}: {trouble}"));
                            break;
                        }
                    },
                    Err(error) => format!("{error:#}"),
                };
                if Instant::now() > deadline {
                    return Err(format!("ADMIN CHECK TABLE {table} cannot be asked: {unreachable}"));
                }
                sleep(POLL).await;
            }
        }
        let passed = details.is_empty();
        if passed {
            details.push(tables.join(", "));
        }
        Ok(Check { name: "ADMIN CHECK TABLE: rows and indexes agree".to_owned(), passed, details })
    }

    /// Replicas stand where the policies want them. Waits a while: the last moves may be under way.
    async fn replicas(&mut self) -> Check {
        let name = "replicas stand where the policies want them".to_owned();
        let deadline = Instant::now() + PLACED_WITHIN;
        loop {
            let details = match self.cluster.placement(&self.options.workload.database()).await {
                Ok(wrong) => wrong,
                Err(error) => vec![format!("{error:#}")],
            };
            if details.is_empty() {
                let details = match &self.plan.primary {
                    Some(primary) => vec![format!("led from {primary}, a replica in each region")],
                    None => vec!["no policy was made for the drill".to_owned()],
                };
                return Check { name, passed: true, details };
            }
            if Instant::now() > deadline {
                return Check { name, passed: false, details };
            }
            sleep(POLL).await;
        }
    }

    /// Best effort: a drill leaves nothing behind that nobody wants to look at.
    async fn drop_tables(&self) {
        let Ok(mut conn) = self.any().await else { return };
        let sql = format!("DROP DATABASE IF EXISTS {}", self.options.workload.database());
        let _ = mysql::patiently(&mut conn, &sql, READ_PATIENCE).await;
        if let Some(policy) = policy(&self.plan, self.topology) {
            let sql = format!("DROP PLACEMENT POLICY IF EXISTS `{}`", policy.name);
            let _ = mysql::patiently(&mut conn, &sql, READ_PATIENCE).await;
        }
        let _ = conn.disconnect().await;
    }
}

/// Milliseconds since 1970.
fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// `heal us-east-1 at 16:03:04 UTC; …`
fn told(incidents: &[Incident]) -> String {
    let told = |Incident { time_ms, text }: &Incident| {
        let time = chrono::DateTime::from_timestamp_millis(*time_ms as i64).unwrap_or_default();
        format!("{text} at {} UTC", time.format("%H:%M:%S"))
    };
    incidents.iter().map(told).collect::<Vec<_>>().join("; ")
}

fn before_text(before: &BTreeMap<(String, Kind), f64>, calm: Duration, crowd: &Crowd, calm_us: u64) -> String {
    let rates = crowd.rates(calm_us, calm_us + calm.as_micros() as u64);
    let slowest = before.iter().max_by(|a, b| a.1.total_cmp(b.1));
    match slowest {
        Some(((region, kind), ms)) => {
            let kind = if *kind == Kind::Read { "reads" } else { "writes" };
            format!("{rates}; slowest median: {ms:.0} ms for {kind} in {region}")
        }
        None => rates,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{NodeInfo, Tier};
    use crate::cluster::OutOfReach;

    /// A cluster that takes for ever to heal, or has ended.
    struct Slow {
        disturbed: Option<Vec<String>>,
        ended: bool,
    }

    impl Cluster for Slow {
        fn tag(&self) -> String {
            "slow".to_owned()
        }

        fn doors(&self, _region: &str) -> Vec<Door> {
            Vec::new()
        }

        async fn act(&self, action: &Action) -> anyhow::Result<()> {
            assert_eq!(*action, Action::HealAll);
            if self.ended {
                return Err(Ended::InOrder.into());
            }
            std::future::pending().await
        }

        async fn health(&self) -> anyhow::Result<Health> {
            std::future::pending().await
        }

        async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
            match &self.disturbed {
                Some(sentences) => Ok(sentences.clone()),
                None => std::future::pending().await,
            }
        }

        async fn out_of_reach(&self) -> anyhow::Result<Vec<OutOfReach>> {
            let (group, rule) = ("TiDB_DDL_104".to_owned(), "table_rule_104_0".to_owned());
            Ok(vec![OutOfReach { group, rule, why: "wants 5 voter(s), and there are stores for 3 of them".to_owned() }])
        }

        async fn placement(&self, _database: &str) -> anyhow::Result<Vec<String>> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_policy_that_cannot_be_met_is_refused_at_once_and_not_waited_for() {
        let node = |tier| NodeInfo { name: format!("{tier:?}"), tier, region: "eu".into() };
        let nodes = [Tier::Pd, Tier::Kv, Tier::Sql].map(node).to_vec();
        let topology =
            Topology { regions: vec!["eu".into()], nodes, pd_leader: Some("Pd".into()), wan: false, faults: true };
        let options = Options {
            name: Name::SlowDisk,
            region: None,
            duration: Duration::from_secs(60),
            workload: Workload::Bank,
            rto_target: Duration::from_secs(5),
            drills: PathBuf::new(),
            seed: 1,
        };
        let cluster = Slow { disturbed: None, ended: false };
        let never = async || std::future::pending().await;
        let outcome = run(&cluster, &topology, &options, never, &mut |_: &str| ()).await;
        assert_eq!(outcome.exit(), EXIT_COULD_NOT_RUN);
        let Outcome::CouldNotRun(why) = outcome else { panic!("{outcome:?}") };
        assert!(why.contains("TiDB_DDL_104/table_rule_104_0 of PD wants 5 voter(s)"), "{why}");
    }

    async fn left(disturbed: Option<Vec<String>>, broken: Vec<Action>) -> (Option<Vec<String>>, Vec<String>) {
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let healed = heal_all(&Slow { disturbed, ended: false }, &Mutex::new(broken), &mut async || (), &mut say).await;
        match healed {
            Err(Stopped::Left(not_healed)) => (Some(not_healed), said),
            Err(Stopped::Failed(error)) => panic!("{error:#}"),
            Ok(()) => (None, said),
        }
    }

    #[tokio::test]
    async fn a_second_interrupt_leaves_a_healing_that_takes_its_time_and_says_what_is_broken() {
        let broken = vec![Action::Kill { nodes: vec!["kv-1".into(), "sql-1".into()] }];
        let (not_healed, said) = left(Some(vec!["kv-1 is killed".into()]), broken.clone()).await;
        assert_eq!(not_healed.unwrap(), ["kv-1 is killed"]);
        assert!(said[0].contains("Ctrl-C again") && said[0].contains("ctl heal"), "{said:?}");
        let (not_healed, _) = left(None, broken.clone()).await;
        assert_eq!(not_healed.unwrap(), [broken[0].to_string()], "nobody answers: what was done");
        assert_eq!(left(None, vec![]).await, (None, vec![]), "nothing is broken");
        assert_eq!(Outcome::Left { not_healed: vec![] }.exit(), 130);
    }

    #[tokio::test]
    async fn a_playground_that_ended_meanwhile_is_told_once_and_as_what_it_is() {
        let broken = Mutex::new(vec![Action::Isolate { region: "eu".into() }]);
        let mut said = Vec::new();
        let mut say = |line: &str| said.push(line.to_owned());
        let cluster = Slow { disturbed: None, ended: true };
        let never = async || std::future::pending().await;
        let healed = heal_all(&cluster, &broken, &mut { never }, &mut say).await;
        assert!(matches!(&healed, Err(Stopped::Failed(error)) if error.is::<Ended>()));
        let outcome = not_healed(healed.err().unwrap()).unwrap_err();
        assert_eq!(outcome.exit(), EXIT_COULD_NOT_RUN);
        let Outcome::CouldNotRun(why) = outcome else { panic!("{outcome:?}") };
        assert_eq!(why, "the playground has ended, and healed what was broken before it did");
        assert!(!said.iter().any(|line| line.contains("failed") || line.contains("ended")), "{said:?}");
    }

    /// A cluster that does what it is told at once, and that others may meddle with.
    #[derive(Default)]
    struct Obedient {
        disturbed: Mutex<Vec<String>>,
        incidents: Vec<Incident>,
        ended: Option<Ended>,
        start_takes: Duration,
    }

    impl Cluster for Obedient {
        fn tag(&self) -> String {
            "obedient".to_owned()
        }

        fn doors(&self, _region: &str) -> Vec<Door> {
            Vec::new()
        }

        async fn act(&self, action: &Action) -> anyhow::Result<()> {
            match action {
                Action::Isolate { region } => self.disturbed.lock().push(format!("nothing passes from {region} to eu")),
                Action::HealRegion { .. } => {
                    sleep(self.start_takes).await;
                    self.disturbed.lock().clear();
                }
                other => panic!("{other}"),
            }
            Ok(())
        }

        async fn health(&self) -> anyhow::Result<Health> {
            std::future::pending().await
        }

        async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
            Ok(self.disturbed.lock().clone())
        }

        async fn out_of_reach(&self) -> anyhow::Result<Vec<OutOfReach>> {
            Ok(Vec::new())
        }

        async fn placement(&self, _database: &str) -> anyhow::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn incidents(&self, _since_ms: u64) -> Vec<Incident> {
            self.incidents.clone()
        }

        async fn ended(&self) -> Option<Ended> {
            self.ended
        }
    }

    fn minority() -> (Topology, Options) {
        let regions: Vec<String> = ["us", "eu", "ap"].map(String::from).to_vec();
        let node =
            |tier: Tier, region: &String| NodeInfo { name: format!("{tier:?}-{region}"), tier, region: region.clone() };
        let tiers = [Tier::Pd, Tier::Kv, Tier::Sql];
        let nodes = tiers.iter().flat_map(|tier| regions.iter().map(|r| node(*tier, r))).collect();
        let topology = Topology { regions, nodes, pd_leader: Some("Pd-us".into()), wan: true, faults: false };
        let options = Options {
            name: Name::Minority,
            region: None,
            duration: Duration::from_secs(24),
            workload: Workload::Bank,
            rto_target: Duration::from_secs(5),
            drills: PathBuf::new(),
            seed: 1,
        };
        (topology, options)
    }

    /// Isolates a region and lets that last for a short while, in which `meddle` is done.
    async fn held(cluster: &Obedient, meddle: impl FnOnce(&Obedient)) -> anyhow::Result<(Phases, Vec<Event>)> {
        let (topology, options) = minority();
        let plan = plan(options.name, &topology, None).unwrap();
        let (broken, mut say) = (Mutex::default(), |_: &str| ());
        let (topology, options) = (&topology, &options);
        let mut drill = Drill { cluster, topology, options, plan, broken: &broken, say: &mut say, events: Vec::new() };
        let (crowd, mut phases) = (drill.crowd(), Phases::default());
        let (fault, not_whole) = drill.inject(&crowd, &mut phases).await?;
        assert_eq!((&not_whole[..], broken.lock().len()), (&[][..], 1));
        meddle(cluster);
        drill.hold(&crowd, &fault, Duration::from_millis(50)).await?;
        drill.heal(&crowd, &mut phases).await?;
        phases.end_us = crowd.shared.recorder.now_us();
        let warnings = drill.mark_incidents(&crowd, &phases);
        assert_eq!(warnings.len(), cluster.incidents.len().min(1));
        Ok((phases, drill.events))
    }

    #[tokio::test]
    async fn a_fault_that_another_command_heals_gets_no_verdict_and_the_refusal_names_it() {
        let healed = Incident { time_ms: 1_780_000_000_000, text: "heal us".into() };
        let cluster = Obedient { incidents: vec![healed], ..Obedient::default() };
        let refused = held(&cluster, |cluster| cluster.disturbed.lock().clear()).await.unwrap_err().to_string();
        for part in ["no verdict", "did not last", "nothing passes from us to eu", "heal us at 20:26:40 UTC"] {
            assert!(refused.contains(part), "{refused}");
        }
        let never = Obedient::default();
        let unseen = Fault { since_ms: unix_ms(), signs: vec![] };
        let (topology, options) = minority();
        let plan = plan(options.name, &topology, None).unwrap();
        let (broken, mut say) = (Mutex::default(), |_: &str| ());
        let (cluster, topology, options) = (&never, &topology, &options);
        let drill = Drill { cluster, topology, options, plan, broken: &broken, say: &mut say, events: Vec::new() };
        let refused = drill.refuse_undone(&unseen, &[]).await.unwrap_err().to_string();
        assert!(refused.contains("not in force") && refused.contains("does not say why"), "{refused}");
    }

    #[tokio::test]
    async fn what_others_do_beside_the_fault_is_marked_and_the_fault_is_judged() {
        let incident = Incident { time_ms: unix_ms(), text: "kill sql-3".into() };
        let cluster = Obedient { incidents: vec![incident], ..Obedient::default() };
        let (_, events) =
            held(&cluster, |cluster| cluster.disturbed.lock().push("sql-3 is killed".into())).await.unwrap();
        assert!(events.iter().any(|e| e.kind == EventKind::Note && e.text == "kill sql-3"), "{events:?}");
        assert!(events.is_sorted_by_key(|e| e.at_us));
        *cluster.disturbed.lock() = vec!["sql-3 is killed".into()];
        let refused = held(&cluster, |_| ()).await.unwrap_err().to_string();
        assert!(refused.contains("the calm was disturbed: sql-3 is killed"), "{refused}");
    }

    #[tokio::test]
    async fn the_marks_of_fault_and_healing_stand_where_the_phases_begin() {
        let cluster = Obedient { start_takes: Duration::from_millis(30), ..Obedient::default() };
        let (phases, events) = held(&cluster, |_| ()).await.unwrap();
        let mark = |kind| events.iter().find(|e| e.kind == kind).unwrap().at_us;
        assert_eq!((mark(EventKind::Fault), mark(EventKind::Heal)), (phases.fault_us, phases.healed_us));
    }

    #[tokio::test]
    async fn a_drill_gives_up_soon_after_the_playground_has_ended_and_does_not_heal() {
        for (ended, word) in [(Ended::InOrder, "healed what was broken"), (Ended::Killed, "clean TAG --stop")] {
            let cluster = Obedient { ended: Some(ended), ..Obedient::default() };
            let (topology, options) = minority();
            let mut said = Vec::new();
            let mut say = |line: &str| said.push(line.to_owned());
            let never = async || std::future::pending().await;
            let begin = Instant::now();
            // It waits for the cluster's health for ever.
            let outcome = run(&cluster, &topology, &options, never, &mut say).await;
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
            let Outcome::CouldNotRun(why) = outcome else { panic!("{outcome:?}") };
            assert!(why.contains(word), "{why}");
            assert!(!said.iter().any(|line| line.contains("healing;")), "{said:?}");
        }
    }

    #[test]
    fn a_drill_says_beforehand_how_long_it_will_take() {
        let (topology, options) = minority();
        let of = |name| schedule(&plan(name, &topology, None).unwrap(), options.duration);
        assert_eq!(
            of(Name::Minority),
            "takes about 39 s, and as long as the cluster needs to be whole again (at most 2 min): 6 s calm, 12 s under \
             the fault, 6 s after"
        );
        assert!(of(Name::RollingRestart).contains("as long as the restarts take"));
        let long = schedule(&plan(Name::Minority, &topology, None).unwrap(), Duration::from_secs(5 * 3600));
        assert!(long.starts_with("takes about 5 h, ") && long.contains("1 h 15 min calm"), "{long}");
    }
}
