//! The control socket: commands are carried out beside each other, and each fault that one injects is logged.

use anyhow::Context;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::{Progress, Slot, Supervisor, how};
use crate::control::{Control, Message, Reply, Request};
use crate::events::Origin;
use crate::faults::DiskFault;

impl Supervisor {
    /// Answers the control socket and reports servers that end, until it is dropped. Commands run beside each other,
    /// so that one that waits (a PD member for its quorum) keeps no other from starting what it waits for.
    pub(crate) async fn serve(&self, control: &Control, progress: Progress<'_>) -> std::convert::Infallible {
        let mut exits = self.exits.lock().await;
        let mut commands = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some((name, pid)) = exits.recv() => self.on_exit(&name, pid, progress),
                Ok(stream) = control.accept() => commands.push(self.answer(stream)),
                // A client that goes away in the middle does not concern the cluster.
                Some(_) = commands.next() => {}
            }
        }
    }

    pub(super) fn on_exit(&self, name: &str, pid: u32, progress: Progress<'_>) {
        let unasked = self.with_process(name, pid, |slot| {
            let running = slot.running.take_if(|_| !slot.told_to_end)?;
            let ended = running.exit_status().map_or_else(|| "ended".to_owned(), how);
            (slot.state, slot.gave_up) = (format!("exited ({ended})"), true);
            Some((slot.node.clone(), ended))
        });
        let Some((node, ended)) = unasked.flatten() else { return };
        self.events.record(Origin::Playground, "ended", name, &ended);
        progress(&format!("{name} (pid {pid}) ended by itself: {ended}{}", self.log_tail(&node)));
        progress(&format!("start it again with: ./playground/ctl start {name}, or heal if a fault ended it"));
    }

    pub(super) async fn answer(&self, stream: UnixStream) -> anyhow::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let line = BufReader::new(reader).lines().next_line().await?.context("no request")?;
        let Message { by, request } = serde_json::from_str(&line).context("the request")?;
        let (sender, mut lines) = mpsc::unbounded_channel::<String>();
        let mut progress = move |text: &str| {
            let _ = sender.send(text.to_owned());
        };
        let forward = async {
            while let Some(text) = lines.recv().await {
                send(&mut writer, &Reply::Line(text)).await?;
            }
            anyhow::Ok(writer)
        };
        let work = async move {
            let answer = self.handle(by, request, &mut progress).await;
            drop(progress); // ends the forwarding
            answer
        };
        let (answer, writer) = tokio::join!(work, forward);
        let mut writer = writer?;
        match answer {
            Ok(Value::Null) => send(&mut writer, &Reply::Done).await,
            Ok(answer) => {
                send(&mut writer, &Reply::Answer(answer)).await?;
                send(&mut writer, &Reply::Done).await
            }
            Err(error) => send(&mut writer, &Reply::Failed(format!("{error:#}"))).await,
        }
    }

    pub(super) async fn handle(&self, by: Origin, request: Request, progress: Progress<'_>) -> anyhow::Result<Value> {
        match request {
            Request::Display => return Ok(serde_json::to_value(self.display().await)?),
            Request::Conditions => return Ok(serde_json::to_value(self.conditions_status().await?)?),
            Request::Distances => return Ok(serde_json::to_value(self.wan()?.distances(false).await?)?),
            Request::Latency => return Ok(serde_json::to_value(self.wan()?.distances(true).await?)?),
            Request::Traffic => return Ok(serde_json::to_value(self.wan()?.traffic().await?)?),
            Request::Stop(target) => {
                let names = self.names(&target)?;
                let down = self.those(&names, |slot| slot.alive().is_none() && slot.restarted_by_healing());
                self.record(
                    by,
                    "stop",
                    &target,
                    &self.those(&names, |s| s.alive().is_some() || s.restarted_by_healing()),
                );
                self.stop(&names, progress).await;
                for name in down {
                    progress(&format!("healing will not start {name} any more"));
                }
            }
            Request::Kill(target) => {
                let names = self.names(&target)?;
                self.record(by, "kill", &target, &self.those(&names, |slot| slot.alive().is_some()));
                self.kill(&names, progress).await;
            }
            Request::Start(target) => {
                let names = self.names(&target)?;
                self.record(by, "start", &target, &self.those(&names, |slot| slot.alive().is_none()));
                self.start(&names, progress).await?;
            }
            Request::Pause(target) => {
                let names = self.names(&target)?;
                self.record(by, "pause", &target, &self.those(&names, |slot| slot.alive().is_some() && !slot.paused));
                self.pause(&names, true, progress);
            }
            Request::Resume(target) => {
                let names = self.names(&target)?;
                self.record(by, "resume", &target, &self.those(&names, |slot| slot.alive().is_some() && slot.paused));
                self.pause(&names, false, progress);
            }
            Request::Link { from, to, change } => {
                let wan = self.wan()?;
                let before = wan.disturbed().await?;
                let line = wan.change_link(&from, &to, &change).await?;
                if wan.disturbed().await? != before {
                    self.events.record(by, "link", &format!("{from} – {to}"), &change.to_string());
                }
                progress(&line);
            }
            Request::Isolate(target) => {
                let names = self.names(&target)?;
                let wan = self.wan()?;
                let before = wan.disturbed().await?;
                let line = wan.isolate(&target, self.cluster.breadth(&target), &names).await?;
                if wan.disturbed().await? != before {
                    self.events.record(by, "isolate", &target, &names.join(", "));
                }
                progress(&line);
            }
            Request::Heal(target) => {
                let cuts = self.heal(by, target.as_deref(), progress).await?;
                match &target {
                    Some(target) if !cuts.is_empty() => {
                        for cut in cuts {
                            progress(&format!("{target} is still cut off: {cut}"));
                        }
                    }
                    target => progress(&format!("{} healed", target.as_deref().unwrap_or("everything is"))),
                }
                let names = target.as_deref().map_or_else(|| Ok(self.all_names()), |target| self.names(target))?;
                for name in self.those(&names, |slot| slot.alive().is_none()) {
                    progress(&format!("{name} stays stopped; start it with: ./playground/ctl start {name}"));
                }
            }
            Request::Clock(target, change) => {
                for name in self.disturb(by, "clock", &target, &change, |node| node.set_clock(&change))? {
                    progress(&format!("{name}: clock {change}"));
                }
            }
            Request::Disk(target, fault) => {
                let failing = self.with_failing_disks(&self.names(&target)?);
                for name in self.disturb(by, "disk", &target, &fault, |node| node.set_disk(&fault))? {
                    progress(&format!("{name}: disk {fault}"));
                }
                if fault == DiskFault::None {
                    self.await_ends(&failing).await;
                    self.restart(by, &self.names(&target)?, Slot::ended_by_itself, progress).await?;
                }
            }
        }
        Ok(Value::Null)
    }

    /// Those of `names` that a command will do something to.
    fn those(&self, names: &[String], which: impl Fn(&Slot) -> bool) -> Vec<String> {
        let slots = self.slots.lock();
        slots.iter().filter(|s| names.contains(&s.node.name) && which(s)).map(|s| s.node.name.clone()).collect()
    }

    /// Logs what is done to some nodes; nothing, if they are none.
    fn record(&self, by: Origin, what: &str, target: &str, nodes: &[String]) {
        if !nodes.is_empty() {
            self.events.record(by, what, target, &nodes.join(", "));
        }
    }
}

/// Counts the lines that it passes on: healing says each thing that it undoes.
pub(super) fn counted<'a>(progress: Progress<'a>, lines: &'a mut usize) -> impl FnMut(&str) + Send + 'a {
    move |line: &str| {
        *lines += 1;
        progress(line);
    }
}

async fn send(writer: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::faults::{ClockChange, FaultLibrary};
    use crate::interrupts::Interrupts;
    use crate::supervisor::Conditions;

    #[tokio::test]
    async fn the_log_tells_what_was_done_and_the_last_healing_and_nothing_that_was_refused_or_empty() {
        if !cfg!(target_os = "linux") {
            return; // it has no fault library
        }
        let dir = tempfile::tempdir().unwrap();
        let library = FaultLibrary::build(dir.path()).unwrap();
        let node = dir.path().join("kv-1");
        library.environment(&node, &node.join("data")).unwrap();
        let conditions = Conditions { wan: None, faults: Some(library) };
        let supervisor = Supervisor::of_nothing_running(dir.path(), conditions);
        let (of, slow) = (|name: &str| name.to_owned(), DiskFault::Slow(Duration::from_millis(1)));
        let refused = [
            Request::Kill(of("mars")),
            Request::Isolate(of("kv-1")),
            Request::Clock(of("kv-2"), ClockChange::Reset),
            Request::Disk(of("mars"), slow),
        ];
        for request in refused {
            supervisor.handle(Origin::Command, request, &mut |_| ()).await.unwrap_err();
        }
        let empty = [
            Request::Kill(of("kv-1")),
            Request::Stop(of("eu")),
            Request::Pause(of("eu")),
            Request::Resume(of("us")),
            Request::Heal(None),
            Request::Clock(of("kv-1"), ClockChange::Reset),
            Request::Disk(of("kv-1"), slow),
            Request::Disk(of("kv-1"), slow),
        ];
        for request in empty {
            supervisor.handle(Origin::Drill, request, &mut |_| ()).await.unwrap();
        }
        supervisor.end(&mut Interrupts::listen().unwrap(), &mut |_| ()).await;
        let logged = supervisor.events.since(0);
        let logged: Vec<String> =
            logged.iter().map(|e| format!("{:?}: {} {}: {}", e.by, e.what, e.target, e.detail)).collect();
        let told = [format!("Drill: disk kv-1: {slow}"), "Playground: heal : as the playground ends".to_owned()];
        assert_eq!(logged, told);
    }

    #[tokio::test]
    async fn what_stays_stopped_is_said_by_healing_and_a_stop_of_what_was_killed_is_said_and_logged() {
        let dir = tempfile::tempdir().unwrap();
        let supervisor = Supervisor::of_nothing_running(dir.path(), Conditions::default());
        supervisor.slots.lock().iter_mut().filter(|s| s.node.name == "kv-1").for_each(|s| s.killed = true);
        let said = async |request| {
            let mut lines = Vec::new();
            supervisor.handle(Origin::Command, request, &mut |line| lines.push(line.to_owned())).await.unwrap();
            lines
        };
        let stop = || Request::Stop("kv-1".into());
        assert_eq!(said(stop()).await, ["kv-1 does not run", "healing will not start kv-1 any more"]);
        assert_eq!(said(stop()).await, ["kv-1 does not run"], "it was stopped already");
        let logged: Vec<String> =
            supervisor.events.since(0).iter().map(|e| format!("{} {}: {}", e.what, e.target, e.detail)).collect();
        assert_eq!(logged, ["stop kv-1: kv-1"]);
        let stays = "kv-1 stays stopped; start it with: ./playground/ctl start kv-1";
        assert_eq!(said(Request::Heal(Some("kv-1".into()))).await, ["kv-1 healed", stays]);
        assert!(said(Request::Heal(None)).await.contains(&stays.to_owned()));
    }
}
