//! The owner of a cluster's processes: starts them in order, stops them in reverse, and answers the control socket.
//!
//! Order: PD first (the others ask it for everything), then storage nodes, then SQL servers; a tier is waited for
//! before the next one starts, and the nodes of one tier start together. A server that ends unasked is reported with
//! the end of its log and stays down, as on a machine that broke: starting or healing it is the user's decision.
//!
//! ```text
//!   main ── select ┬─ start_all, then nothing more
//!                  ├─ serve: ends of servers, and commands, each beside the others
//!                  └─ an interrupt: drops both, then `end`
//! ```
//!
//! Any of these may be dropped at any await: a process stays in its slot until it has ended, so that `end` finds it.

mod disturb;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::control::{NodeStatus, STARTING};
use crate::events::{EventLog, Origin};
use crate::faults::FaultLibrary;
use crate::interrupts::Interrupts;
use crate::process::{self, Running};
use crate::readiness;
use crate::spec::{Cluster, Node, Role};
use crate::wan::Wan;

/// How long a server may take until it serves. A cluster on a busy two-core machine needs a few seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two probes of a server that is starting.
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Lines of a log that are shown when its server failed.
const LOG_TAIL_LINES: usize = 12;

/// Where a line of progress goes.
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(&str) + Send);

struct Slot {
    node: Node,
    /// From its start until its end was noticed.
    running: Option<Running>,
    /// What `display` says: what the process does, or how the last one ended.
    state: String,
    /// It was told to end: its end is no news.
    told_to_end: bool,
    /// Halted by SIGSTOP.
    paused: bool,
    /// Its end was a fault that somebody injected, which `heal` undoes.
    killed: bool,
    /// It ended by itself, and that was noticed. `heal` starts it again: a fault of its disk may have ended it.
    gave_up: bool,
}

impl Slot {
    fn alive(&self) -> Option<&Running> {
        self.running.as_ref().filter(|r| r.exit_status().is_none())
    }

    /// Whether it ended though nobody had asked for it, noticed or not.
    fn ended_by_itself(&self) -> bool {
        self.gave_up || (self.running.is_some() && self.alive().is_none() && !self.told_to_end)
    }

    /// Whether it ended in a way that healing undoes, by starting it again.
    fn restarted_by_healing(&self) -> bool {
        self.killed || self.ended_by_itself()
    }
}

/// What can be done to a cluster's servers from outside of them.
#[derive(Default)]
pub(crate) struct Conditions {
    /// The distance between its regions.
    pub(crate) wan: Option<Wan>,
    /// The library that its servers are started with.
    pub(crate) faults: Option<FaultLibrary>,
}

/// The processes of one cluster.
pub(crate) struct Supervisor {
    cluster: Cluster,
    dir: PathBuf,
    conditions: Conditions,
    events: EventLog,
    /// Held for a look, an assignment or the start of a process, never across an await.
    slots: Mutex<Vec<Slot>>,
    exit: mpsc::UnboundedSender<(String, u32)>,
    /// Held by `serve` as long as it runs.
    exits: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, u32)>>,
}

impl Supervisor {
    /// A cluster with its files below `dir`; nothing runs yet.
    pub(crate) fn new(cluster: Cluster, dir: PathBuf, conditions: Conditions) -> Supervisor {
        let slot = |node: &Node| Slot {
            node: node.clone(),
            running: None,
            state: "stopped".into(),
            told_to_end: false,
            paused: false,
            killed: false,
            gave_up: false,
        };
        let slots = Mutex::new(cluster.nodes.iter().map(slot).collect());
        let (exit, exits) = mpsc::unbounded_channel();
        let events = EventLog::in_dir(&dir);
        Supervisor { cluster, dir, conditions, events, slots, exit, exits: exits.into() }
    }

    /// Four storage nodes, a PD member and a SQL server in two regions.
    #[cfg(test)]
    fn of_nothing_running(dir: &Path, conditions: Conditions) -> Supervisor {
        let regions = ["eu".to_owned(), "us".to_owned()].to_vec();
        let wanted = crate::spec::Wanted { kv: Some(4), regions, host: "127.0.0.1".into(), ..Default::default() };
        let cluster = crate::spec::plan(None, &wanted, &mut |_, _| None).unwrap();
        Supervisor::new(cluster, dir.to_path_buf(), conditions)
    }

    /// What can be done to it.
    pub(crate) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// The cluster's nodes.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The directory of a node.
    pub(crate) fn node_dir(&self, node: &Node) -> PathBuf {
        self.dir.join(&node.name)
    }

    /// The process ids of everything that runs, with names.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        self.slots.lock().iter().filter_map(|s| Some((s.node.name.clone(), s.running.as_ref()?.pid))).collect()
    }

    fn all_names(&self) -> Vec<String> {
        self.cluster.nodes.iter().map(|n| n.name.clone()).collect()
    }

    /// Starts everything and waits until all of it serves.
    pub(crate) async fn start_all(&self, progress: Progress<'_>) -> anyhow::Result<()> {
        for role in Role::ALL {
            let names: Vec<String> = self.cluster.of(role).map(|n| n.name.clone()).collect();
            self.start(&names, progress).await?;
        }
        Ok(())
    }

    /// Stops everything: SQL servers, then storage nodes, then PD. Another interrupt kills what still runs. Either way
    /// nothing is left behind.
    pub(crate) async fn end(&self, interrupts: &mut Interrupts, progress: Progress<'_>) {
        let names = self.all_names();
        let in_order = tokio::select! {
            () = async {
                // A server leaves its cluster in order only if it reaches it.
                let mut undone = 0;
                let healed = self.undo_faults(&names, &mut serve::counted(progress, &mut undone)).await;
                if undone > 0 {
                    self.events.record(Origin::Playground, "heal", "", "as the playground ends");
                }
                if let Err(e) = healed {
                    progress(&format!("{e:#}"));
                }
                self.stop(&names, progress).await;
            } => true,
            () = interrupts.next() => false,
        };
        if !in_order {
            self.kill(&names, progress).await;
        }
        if let Some(wan) = &self.conditions.wan {
            wan.stop().await;
        }
    }

    /// Starts those of `names` that do not run, together, and waits until they serve.
    async fn start(&self, names: &[String], progress: Progress<'_>) -> anyhow::Result<()> {
        let (mut started, mut failed) = (Vec::new(), None);
        for name in names {
            match self.launch(name) {
                Ok(Some(launched)) => started.push(launched),
                Ok(None) => progress(&format!("{name} runs already")),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        // One that fails keeps none of the others from being waited for.
        for (node, running) in started {
            if let Err(error) = self.wait_ready(&node, &running).await {
                failed = failed.or(Some(error));
                continue;
            }
            let (name, title, seconds) = (&node.name, node.role.title(), running.since.elapsed().as_secs_f64());
            progress(&format!(
                "{name:<6} {title:<16} {:<widest$} {:<21} ready in {seconds:.1} s",
                node.region,
                node.address(),
                widest = self.cluster.regions().iter().map(String::len).max().unwrap_or_default()
            ));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Starts the server of a node, unless it runs.
    fn launch(&self, name: &str) -> anyhow::Result<Option<(Node, Running)>> {
        let mut slots = self.slots.lock();
        let slot = slots.iter_mut().find(|s| s.node.name == name).with_context(|| format!("no node {name}"))?;
        if let Some(running) = slot.alive() {
            if slot.told_to_end {
                bail!("{name} (pid {}) is being stopped; start it once it has ended", running.pid);
            }
            return Ok(None);
        }
        let dir = self.dir.join(name);
        let environment = match &self.conditions.faults {
            Some(library) => library.environment(&dir, &process::data_dir(&dir))?,
            None => Vec::new(),
        };
        let running = Running::start(&self.cluster, &slot.node, &dir, &environment)?;
        (slot.running, slot.told_to_end, slot.state) = (Some(running.clone()), false, STARTING.into());
        (slot.paused, slot.killed, slot.gave_up) = (false, false, false);
        let (node, pid, mut exit, exits) = (slot.node.clone(), running.pid, running.watch_exit(), self.exit.clone());
        let name = name.to_owned();
        tokio::spawn(async move {
            if exit.wait_for(Option::is_some).await.is_ok() {
                let _ = exits.send((name, pid));
            }
        });
        Ok(Some((node, running)))
    }

    async fn wait_ready(&self, node: &Node, running: &Running) -> anyhow::Result<()> {
        let name = &node.name;
        while let Err(reason) = readiness::probe(&self.cluster, node).await {
            if let Some(status) = running.exit_status() {
                bail!(self.why_it_ended(node, status));
            }
            if running.since.elapsed() > READY_TIMEOUT {
                bail!("{name} does not serve after {READY_TIMEOUT:?}: {reason}{}", self.log_tail(node));
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
        self.with_process(name, running.pid, |slot| {
            if !slot.told_to_end {
                slot.state = "running".into();
            }
        });
        Ok(())
    }

    /// What to say of a server that ended before it served. Its end may have been noticed already, so that no slot holds
    /// its process any more.
    fn why_it_ended(&self, node: &Node, status: ExitStatus) -> String {
        let name = &node.name;
        if self.slots.lock().iter().any(|s| s.node.name == *name && s.told_to_end) {
            return format!("{name} was stopped while it was starting");
        }
        let disk = match self.with_failing_disks(std::slice::from_ref(name))[..] {
            [] => String::new(),
            _ => format!("; its disk fails or is full, undo that with: ./playground/ctl heal {name}"),
        };
        format!("{name} ended while starting ({}){disk}{}", how(status), self.log_tail(node))
    }

    /// Does something with the slot that holds a process, if one still does.
    fn with_process<T>(&self, name: &str, pid: u32, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.slots.lock();
        let holds = |s: &&mut Slot| s.node.name == name && s.running.as_ref().is_some_and(|r| r.pid == pid);
        slots.iter_mut().find(holds).map(act)
    }

    /// The process of a node that is about to be told to end.
    fn about_to_end(&self, name: &str, state: &str) -> Option<Running> {
        let mut slots = self.slots.lock();
        let slot = slots.iter_mut().find(|s| s.node.name == name)?;
        let running = slot.alive()?.clone();
        (slot.told_to_end, slot.state) = (true, state.to_owned());
        Some(running)
    }

    /// Notes that a node that had been killed, or had ended by itself, is to stay down: healing does not start it.
    fn leave_stopped(&self, name: &str) {
        if let Some(slot) = self.slots.lock().iter_mut().find(|s| s.node.name == name && s.alive().is_none()) {
            (slot.running, slot.state) = (None, "stopped".into());
            (slot.told_to_end, slot.killed, slot.gave_up) = (true, false, false);
        }
    }

    /// Notes that a process has ended as it was told.
    fn ended(&self, name: &str, pid: u32, state: &str) {
        self.with_process(name, pid, |slot| (slot.running, slot.state) = (None, state.to_owned()));
    }

    /// Stops `names` in reverse order of starting.
    async fn stop(&self, names: &[String], progress: Progress<'_>) {
        for name in names.iter().rev() {
            let Some(running) = self.about_to_end(name, "stopping") else {
                self.leave_stopped(name);
                progress(&format!("{name} does not run"));
                continue;
            };
            if self.with_process(name, running.pid, |slot| std::mem::take(&mut slot.paused)) == Some(true) {
                // Otherwise it would hear of its end only later.
                running.resume();
            }
            let note = if running.stop().await { "stopped" } else { "did not stop in time, killed" };
            self.ended(name, running.pid, "stopped");
            progress(&format!("{name} {note}"));
        }
    }

    /// Kills `names` with SIGKILL, all at once, as when a region's power fails.
    async fn kill(&self, names: &[String], progress: Progress<'_>) {
        let victims: Vec<(&String, Running)> =
            names.iter().filter_map(|name| Some((name, self.about_to_end(name, "killed")?))).collect();
        for name in names.iter().filter(|name| !victims.iter().any(|(victim, _)| victim == name)) {
            progress(&format!("{name} does not run"));
        }
        for (name, running) in &victims {
            self.with_process(name, running.pid, |slot| slot.killed = true);
        }
        futures::future::join_all(victims.iter().map(|(_, running)| running.kill())).await;
        for (name, running) in &victims {
            self.ended(name, running.pid, "killed");
            progress(&format!("{name} killed (pid {})", running.pid));
        }
    }

    /// The state of every node.
    pub(crate) async fn display(&self) -> Vec<NodeStatus> {
        let cut_off = self.cut_off().await;
        let row = |slot: &Slot| {
            let alive = slot.alive();
            NodeStatus {
                name: slot.node.name.clone(),
                role: slot.node.role,
                region: slot.node.region.clone(),
                zone: slot.node.zone.as_ref().map(|z| z.name.clone()),
                address: slot.node.address(),
                doors: self.conditions.wan.as_ref().map_or_else(Vec::new, |wan| wan.doors_to(&slot.node.name)),
                pid: alive.map(|r| r.pid),
                state: slot.state.clone(),
                disturbed: self.disturbances(&slot.node, &cut_off),
                uptime_seconds: alive.map(|r| r.since.elapsed().as_secs()),
                resident_bytes: alive.and_then(|r| process::usage(r.pid)).map(|(resident, _)| resident),
                log: process::log_file(&self.node_dir(&slot.node)),
            }
        };
        self.slots.lock().iter().map(row).collect()
    }

    /// The last lines of what a node logged and printed, ready to follow an error message.
    fn log_tail(&self, node: &Node) -> String {
        let dir = self.node_dir(node);
        let mut text = String::new();
        for file in [process::log_file(&dir), process::output_file(&dir)] {
            let tail = tail(&file);
            if !tail.is_empty() {
                text.push_str(&format!("\n--- end of {}\n{tail}", file.display()));
            }
        }
        text
    }
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::faults::DiskFault;

    #[test]
    fn a_server_that_its_disk_ended_while_it_was_starting_was_not_stopped() {
        if !cfg!(target_os = "linux") {
            return; // it has no fault library
        }
        let dir = tempfile::tempdir().unwrap();
        let library = FaultLibrary::build(dir.path()).unwrap();
        let kv = dir.path().join("kv-1");
        library.environment(&kv, &kv.join("data")).unwrap();
        std::fs::write(process::log_file(&kv), "the last words").unwrap();
        let conditions = Conditions { wan: None, faults: Some(library) };
        let supervisor = Supervisor::of_nothing_running(dir.path(), conditions);
        let why = |name: &str| {
            let node = supervisor.cluster.nodes.iter().find(|n| n.name == name).unwrap();
            supervisor.why_it_ended(node, ExitStatus::from_raw(1 << 8))
        };
        let ended = "kv-1 ended while starting (exit code 1)";
        assert!(
            why("kv-1").starts_with(&format!("{ended}\n")) && why("kv-1").ends_with("the last words"),
            "{}",
            why("kv-1")
        );
        FaultLibrary::control(&kv).unwrap().set_disk(&DiskFault::Fail).unwrap();
        assert!(why("kv-1").starts_with(&format!("{ended}; its disk fails or is full")), "{}", why("kv-1"));
        supervisor.leave_stopped("kv-1");
        assert_eq!(why("kv-1"), "kv-1 was stopped while it was starting");
    }
}
