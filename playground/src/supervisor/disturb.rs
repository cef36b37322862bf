//! What is done to servers and links on purpose, and how it is undone: pauses, cuts, clocks, disks.
//!
//! A fault is in force until `heal` or its own opposite; whatever ends the playground undoes all of them first, so that
//! servers can leave their cluster in order.

use std::time::Duration;

use anyhow::{Context, bail};

use super::serve::counted;
use super::{Conditions, Progress, Slot, Supervisor};
use crate::control::ConditionsStatus;
use crate::events::Origin;
use crate::faults::{FaultLibrary, NodeFaults};
use crate::spec::Node;
use crate::wan::Wan;

/// How long a server may take to end after its disk has failed.
const FAILURE_SHOWS_WITHIN: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Halts those of `names` that run, or lets those that are halted go on.
    pub(super) fn pause(&self, names: &[String], pause: bool, progress: Progress<'_>) {
        let mut slots = self.slots.lock();
        for slot in slots.iter_mut().filter(|s| names.contains(&s.node.name)) {
            let name = slot.node.name.clone();
            let Some(running) = slot.alive().cloned() else {
                progress(&format!("{name} does not run"));
                continue;
            };
            if slot.paused == pause {
                progress(&format!("{name} {}", if pause { "is paused already" } else { "is not paused" }));
                continue;
            }
            slot.paused = pause;
            if pause {
                running.pause();
                slot.state = "paused".into();
            } else {
                running.resume();
                slot.state = "running".into();
            }
            progress(&format!("{name} {} (pid {})", if pause { "paused" } else { "resumed" }, running.pid));
        }
    }

    /// Undoes what was done to `names`, but starts nothing; what was done to links only if these are all nodes.
    /// One that cannot be undone keeps no other from it.
    pub(super) async fn undo_faults(&self, names: &[String], progress: Progress<'_>) -> anyhow::Result<()> {
        let mut failed = Vec::new();
        if let Some(wan) = &self.conditions.wan
            && names.len() == self.cluster.nodes.len()
        {
            match wan.heal_all().await {
                Ok(lines) => lines.iter().for_each(|line| progress(line)),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        let halted: Vec<String> = {
            let slots = self.slots.lock();
            let halted = slots.iter().filter(|s| names.contains(&s.node.name) && s.paused && s.alive().is_some());
            halted.map(|s| s.node.name.clone()).collect()
        };
        if !halted.is_empty() {
            self.pause(&halted, false, progress);
        }
        if self.conditions.faults.is_some() {
            // A server that was never started has no faults.
            for name in names.iter().filter(|name| FaultLibrary::knows(&self.dir.join(name))) {
                match FaultLibrary::control(&self.dir.join(name)).and_then(|faults| faults.heal()) {
                    Ok(true) => progress(&format!("{name}: clock and disk are right again")),
                    Ok(false) => {}
                    Err(error) => failed.push(format!("{name}: {error:#}")),
                }
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("not undone: {}", failed.join("; ")) }
    }

    /// Undoes every fault of a target, or of the whole cluster: links, pauses, clocks, disks, kills, and that a server
    /// ended by itself. What `stop` stopped stays so.
    /// Returns what still cuts the target off, as that was done to more than the target.
    pub(super) async fn heal(
        &self,
        by: Origin,
        target: Option<&str>,
        progress: Progress<'_>,
    ) -> anyhow::Result<Vec<String>> {
        let names = match target {
            Some(target) => self.names(target)?,
            None => self.all_names(),
        };
        let failing = self.with_failing_disks(&names);
        let mut lines = 0;
        let mut say = counted(progress, &mut lines);
        let undone = self.undo_faults(&names, &mut say).await;
        let connected = match (&self.conditions.wan, target) {
            (Some(wan), Some(target)) => wan.heal_target(target, self.cluster.breadth(target), &names).await,
            _ => Ok(Vec::new()),
        };
        connected.iter().flatten().for_each(|line| say(line));
        drop(say);
        self.await_ends(&failing).await;
        // Before servers are started, which takes its time: who misses a fault meanwhile finds here who undid it.
        if lines > 0 || !self.that_ended(&names, Slot::restarted_by_healing).is_empty() {
            self.events.record(by, "heal", target.unwrap_or_default(), "");
        }
        connected?;
        self.restart(by, &names, Slot::restarted_by_healing, progress).await?;
        undone?;
        match (&self.conditions.wan, target) {
            (Some(wan), Some(target)) => wan.cuts(&self.cluster, target).await,
            _ => Ok(Vec::new()),
        }
    }

    /// Those of `names` that run on a disk whose calls fail.
    pub(super) fn with_failing_disks(&self, names: &[String]) -> Vec<String> {
        let fails = |name: &&String| {
            let dir = self.dir.join(name);
            FaultLibrary::knows(&dir)
                && FaultLibrary::control(&dir).is_ok_and(|faults| faults.disk_fails().unwrap_or(false))
        };
        names.iter().filter(|_| self.conditions.faults.is_some()).filter(fails).cloned().collect()
    }

    /// Waits until `names` have ended, or long enough to know that they run on: a server whose disk has failed ends
    /// soon after, and healing would start it only if that was noticed.
    pub(super) async fn await_ends(&self, names: &[String]) {
        let running: Vec<_> = {
            let slots = self.slots.lock();
            slots
                .iter()
                .filter(|s| names.contains(&s.node.name))
                .filter_map(|s| Some(s.alive()?.watch_exit()))
                .collect()
        };
        let ends = running.into_iter().map(|mut exit| async move { drop(exit.wait_for(Option::is_some).await) });
        let _ = tokio::time::timeout(FAILURE_SHOWS_WITHIN, futures::future::join_all(ends)).await;
    }

    /// Starts those of `names` again that ended in a way that healing undoes.
    pub(super) async fn restart(
        &self,
        by: Origin,
        names: &[String],
        undone: impl Fn(&Slot) -> bool,
        progress: Progress<'_>,
    ) -> anyhow::Result<()> {
        let ended = self.that_ended(names, undone);
        self.start(&ended.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), progress).await?;
        for (name, _) in ended.iter().filter(|(_, by_itself)| *by_itself) {
            self.events.record(by, "start", name, "had ended by itself");
            progress(&format!("{name} had ended: started again"));
        }
        Ok(())
    }

    /// Those of `names` that do not run and for which `which` holds, and whether they ended by themselves.
    fn that_ended(&self, names: &[String], which: impl Fn(&Slot) -> bool) -> Vec<(String, bool)> {
        let slots = self.slots.lock();
        let ended = slots.iter().filter(|s| names.contains(&s.node.name) && s.alive().is_none() && which(s));
        ended.map(|s| (s.node.name.clone(), s.ended_by_itself())).collect()
    }

    pub(super) fn names(&self, target: &str) -> anyhow::Result<Vec<String>> {
        let nodes = self.cluster.select(target).map_err(anyhow::Error::msg)?;
        Ok(nodes.iter().map(|n| n.name.clone()).collect())
    }

    pub(super) fn wan(&self) -> anyhow::Result<&Wan> {
        let hint = "this cluster has no distance between its regions: start it with --wan to cut or slow its links";
        self.conditions.wan.as_ref().context(hint)
    }

    /// The nodes that are cut off, for `display`. A relay that does not answer keeps nobody from looking.
    pub(super) async fn cut_off(&self) -> Vec<String> {
        match &self.conditions.wan {
            Some(wan) => wan.cut_off(&self.cluster).await.unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// What disturbs a node, for `display`. What cannot be read is left out.
    pub(super) fn disturbances(&self, node: &Node, cut_off: &[String]) -> Vec<String> {
        let mut phrases = Vec::new();
        if cut_off.contains(&node.name) {
            phrases.push("isolated".to_owned());
        }
        let dir = self.node_dir(node);
        if self.conditions.faults.is_some() && FaultLibrary::knows(&dir) {
            let faults = FaultLibrary::control(&dir).ok().and_then(|faults| faults.describe().ok());
            phrases.extend(faults.filter(|text| !text.is_empty()));
        }
        phrases
    }

    pub(super) async fn conditions_status(&self) -> anyhow::Result<ConditionsStatus> {
        let Conditions { wan, faults } = &self.conditions;
        let mut disturbed = Vec::new();
        if let Some(wan) = wan {
            disturbed.extend(wan.disturbed().await?);
        }
        if faults.is_some() {
            for node in self.cluster.nodes.iter().filter(|node| FaultLibrary::knows(&self.node_dir(node))) {
                let faults = FaultLibrary::control(&self.node_dir(node))?.describe()?;
                if !faults.is_empty() {
                    disturbed.push(format!("{}: {faults}", node.name));
                }
            }
        }
        Ok(ConditionsStatus { wan: wan.is_some(), faults: faults.is_some(), disturbed })
    }

    /// Hands a change to the fault library in each of the target's servers, and logs it if it changes anything.
    pub(super) fn disturb(
        &self,
        by: Origin,
        what: &str,
        target: &str,
        how: &dyn std::fmt::Display,
        change: impl Fn(&NodeFaults) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<String>> {
        let names = self.names(target)?;
        if self.conditions.faults.is_none() {
            bail!("the servers were started without the fault library: start the cluster with --faults");
        }
        let mut changed = false;
        let done = names.iter().try_for_each(|name| {
            let node = FaultLibrary::control(&self.dir.join(name))?;
            let before = node.describe()?;
            change(&node).with_context(|| format!("change {name}"))?;
            changed |= node.describe()? != before;
            Ok(())
        });
        if changed {
            self.events.record(by, what, target, &how.to_string());
        }
        done.map(|()| names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Request;

    #[tokio::test]
    async fn a_server_that_its_failing_disk_ended_is_started_by_healing_and_one_that_was_stopped_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::of_nothing_running(dir.path(), Conditions::default());
        for slot in supervisor.slots.lock().iter_mut() {
            match slot.node.name.as_str() {
                "kv-1" => slot.gave_up = true,
                "kv-2" => slot.killed = true,
                _ => {}
            }
        }
        let all = supervisor.all_names();
        let (by_itself, killed) = (("kv-1".to_owned(), true), ("kv-2".to_owned(), false));
        assert_eq!(supervisor.that_ended(&all, Slot::ended_by_itself), std::slice::from_ref(&by_itself), "a disk's");
        assert_eq!(supervisor.that_ended(&all, Slot::restarted_by_healing), [by_itself, killed]);
        supervisor.handle(Origin::Command, Request::Stop("kv-1".into()), &mut |_| ()).await.unwrap();
        supervisor.handle(Origin::Command, Request::Stop("kv-2".into()), &mut |_| ()).await.unwrap();
        assert_eq!(supervisor.that_ended(&all, Slot::restarted_by_healing), [], "now it was stopped");
        assert_eq!(supervisor.that_ended(&["kv-3".to_owned()], Slot::restarted_by_healing), []);
    }
}
