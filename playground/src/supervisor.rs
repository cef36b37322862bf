//! The owner of a cluster's processes: starts them in order, stops them in reverse, and answers the control socket.
//!
//! Order: PD first (the others ask it for everything), then storage nodes, then SQL servers; a tier is waited for
//! before the next one starts, and the nodes of one tier start together. A server that ends unasked is reported with
//! the end of its log and stays down, as on a machine that broke: starting it again is the user's decision.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use crate::control::{NodeStatus, Reply, Request, SOCKET};
use crate::process::{self, Running};
use crate::readiness;
use crate::spec::{Cluster, Node, Role};

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
    running: Option<Running>,
    /// What `display` says while nothing runs.
    last_state: String,
}

/// The processes of one cluster.
pub(crate) struct Supervisor {
    cluster: Cluster,
    dir: PathBuf,
    slots: Vec<Slot>,
    exits: (mpsc::UnboundedSender<(String, u32)>, mpsc::UnboundedReceiver<(String, u32)>),
}

impl Supervisor {
    /// A cluster with its files below `dir`; nothing runs yet.
    pub(crate) fn new(cluster: Cluster, dir: PathBuf) -> Supervisor {
        let slot = |node: &Node| Slot { node: node.clone(), running: None, last_state: "stopped".into() };
        let slots = cluster.nodes.iter().map(slot).collect();
        Supervisor { cluster, dir, slots, exits: mpsc::unbounded_channel() }
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
        self.slots.iter().filter_map(|s| Some((s.node.name.clone(), s.running.as_ref()?.pid))).collect()
    }

    /// Starts everything and waits until all of it serves.
    pub(crate) async fn start_all(&mut self, progress: Progress<'_>) -> anyhow::Result<()> {
        for role in Role::ALL {
            let names: Vec<String> = self.cluster.of(role).map(|n| n.name.clone()).collect();
            self.start(&names, progress).await?;
        }
        Ok(())
    }

    /// Stops everything: SQL servers, then storage nodes, then PD.
    pub(crate) async fn stop_all(&mut self, progress: Progress<'_>) {
        let names: Vec<String> = self.cluster.nodes.iter().map(|n| n.name.clone()).collect();
        self.stop(&names, progress).await;
    }

    /// Starts those of `names` that do not run, together, and waits until they serve.
    async fn start(&mut self, names: &[String], progress: Progress<'_>) -> anyhow::Result<()> {
        let mut started = Vec::new();
        for slot in self.slots.iter_mut().filter(|s| names.contains(&s.node.name)) {
            if slot.running.as_ref().is_some_and(|r| r.exit_status().is_none()) {
                progress(&format!("{} runs already", slot.node.name));
                continue;
            }
            let dir = self.dir.join(&slot.node.name);
            if let Some(pid) = process::stop_leftover(&dir, slot.node.role).await {
                progress(&format!("{}: stopped pid {pid}, left behind by an earlier playground", slot.node.name));
            }
            let running = Running::start(&self.cluster, &slot.node, &dir)?;
            let (pid, mut exit, exits) = (running.pid, running.watch_exit(), self.exits.0.clone());
            let name = slot.node.name.clone();
            tokio::spawn(async move {
                if exit.wait_for(Option::is_some).await.is_ok() {
                    let _ = exits.send((name, pid));
                }
            });
            started.push((slot.node.clone(), running.watch_exit()));
            slot.running = Some(running);
        }
        let begin = Instant::now();
        for (node, exit) in started {
            while let Err(reason) = readiness::probe(&self.cluster, &node).await {
                if let Some(status) = *exit.borrow() {
                    bail!("{} ended while starting ({}){}", node.name, how(status), self.log_tail(&node));
                }
                if begin.elapsed() > READY_TIMEOUT {
                    let name = &node.name;
                    bail!("{name} does not serve after {READY_TIMEOUT:?}: {reason}{}", self.log_tail(&node));
                }
                tokio::time::sleep(PROBE_PAUSE).await;
            }
            let (name, title, seconds) = (&node.name, node.role.title(), begin.elapsed().as_secs_f64());
            progress(&format!(
                "{name:<6} {title:<16} {:<12} {:<21} ready in {seconds:.1} s",
                node.region,
                node.address()
            ));
        }
        Ok(())
    }

    /// Stops `names` in reverse order of starting.
    async fn stop(&mut self, names: &[String], progress: Progress<'_>) {
        for slot in self.slots.iter_mut().rev().filter(|s| names.contains(&s.node.name)) {
            let Some(mut running) = slot.running.take() else { continue };
            if running.exit_status().is_some() {
                continue;
            }
            slot.last_state = "stopped".into();
            let note = if running.stop().await { "stopped" } else { "did not stop in time, killed" };
            progress(&format!("{} {note}", slot.node.name));
        }
    }

    /// Kills `names` with SIGKILL, all at once, as when a region's power fails.
    async fn kill(&mut self, names: &[String], progress: Progress<'_>) {
        let mut victims: Vec<(String, Running)> = Vec::new();
        for slot in self.slots.iter_mut().filter(|s| names.contains(&s.node.name)) {
            if let Some(running) = slot.running.take().filter(|r| r.exit_status().is_none()) {
                slot.last_state = "killed".into();
                victims.push((slot.node.name.clone(), running));
            }
        }
        futures::future::join_all(victims.iter_mut().map(|(_, running)| running.kill())).await;
        for (name, running) in &victims {
            progress(&format!("{name} killed (pid {})", running.pid));
        }
    }

    /// The state of every node.
    pub(crate) fn display(&self) -> Vec<NodeStatus> {
        let row = |slot: &Slot| {
            let alive = slot.running.as_ref().filter(|r| r.exit_status().is_none());
            NodeStatus {
                name: slot.node.name.clone(),
                role: slot.node.role,
                region: slot.node.region.clone(),
                address: slot.node.address(),
                pid: alive.map(|r| r.pid),
                state: if alive.is_some() { "running".into() } else { slot.last_state.clone() },
                uptime_seconds: alive.map(|r| r.since.elapsed().as_secs()),
                resident_bytes: alive.and_then(|r| process::usage(r.pid)).map(|(resident, _)| resident),
                log: process::log_file(&self.node_dir(&slot.node)),
            }
        };
        self.slots.iter().map(row).collect()
    }

    /// Serves the control socket and reports servers that end, until `interrupted` resolves.
    pub(crate) async fn run(
        &mut self,
        interrupted: impl Future<Output = ()>,
        progress: Progress<'_>,
    ) -> anyhow::Result<()> {
        let path = self.dir.join(SOCKET);
        let _ = std::fs::remove_file(&path); // a leftover: the caller has made sure that nobody serves it
        let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
        tokio::pin!(interrupted);
        loop {
            tokio::select! {
                () = &mut interrupted => break,
                Some((name, pid)) = self.exits.1.recv() => self.on_exit(&name, pid, progress),
                Ok((stream, _)) = listener.accept() => {
                    // A client that goes away in the middle does not concern the cluster.
                    let _ = self.serve(stream).await;
                }
            }
        }
        let _ = std::fs::remove_file(&path);
        Ok(())
    }

    fn on_exit(&mut self, name: &str, pid: u32, progress: Progress<'_>) {
        let Some(slot) = self.slots.iter_mut().find(|s| s.node.name == name) else { return };
        // A server that was stopped or killed on purpose is not in its slot any more.
        let Some(running) = slot.running.take_if(|r| r.pid == pid) else { return };
        let ended = running.exit_status().map_or_else(|| "ended".to_owned(), how);
        slot.last_state = format!("exited ({ended})");
        let node = slot.node.clone();
        progress(&format!("{name} (pid {pid}) ended by itself: {ended}{}", self.log_tail(&node)));
        progress(&format!("start it again with: ./playground/ctl start {name}"));
    }

    async fn serve(&mut self, stream: UnixStream) -> anyhow::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let line = BufReader::new(reader).lines().next_line().await?.context("no request")?;
        let request: Request = serde_json::from_str(&line).context("the request")?;
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
            let answer = self.handle(request, &mut progress).await;
            drop(progress); // ends the forwarding
            answer
        };
        let (answer, writer) = tokio::join!(work, forward);
        let mut writer = writer?;
        match answer {
            Ok(Some(nodes)) => {
                send(&mut writer, &Reply::Nodes(nodes)).await?;
                send(&mut writer, &Reply::Done).await
            }
            Ok(None) => send(&mut writer, &Reply::Done).await,
            Err(error) => send(&mut writer, &Reply::Failed(format!("{error:#}"))).await,
        }
    }

    async fn handle(&mut self, request: Request, progress: Progress<'_>) -> anyhow::Result<Option<Vec<NodeStatus>>> {
        let target = match &request {
            Request::Display => return Ok(Some(self.display())),
            Request::Stop(target) | Request::Start(target) | Request::Kill(target) => target,
        };
        let nodes = self.cluster.select(target).map_err(anyhow::Error::msg)?;
        let names: Vec<String> = nodes.iter().map(|n| n.name.clone()).collect();
        match request {
            Request::Stop(_) => self.stop(&names, progress).await,
            Request::Kill(_) => self.kill(&names, progress).await,
            _ => self.start(&names, progress).await?,
        }
        Ok(None)
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

async fn send(writer: &mut (impl tokio::io::AsyncWrite + Unpin), reply: &Reply) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    Ok(())
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
