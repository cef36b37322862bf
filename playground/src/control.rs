//! How another shell talks to a running playground: JSON lines over a Unix socket in the cluster's directory.
//!
//! The client says who it is, sends one [`Request`] and reads [`Reply`]s: any number of lines to print, then the end. Several
//! clients are answered at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::events::Origin;
use crate::faults::{ClockChange, DiskFault};
use crate::spec::Role;
use crate::table;
use crate::wan::LinkChange;

/// The socket's name in the cluster's directory.
const SOCKET: &str = "control.sock";

/// What a client sends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Who asks.
    pub(crate) by: Origin,
    /// For what.
    pub(crate) request: Request,
}

/// What is asked. A target is a node, a region, or a zone as `REGION/ZONE`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// The state of every process: [`NodeStatus`]es.
    Display,
    /// Stop the target's nodes, in order.
    Stop(String),
    /// Start the target's nodes.
    Start(String),
    /// Kill the target's nodes with SIGKILL.
    Kill(String),
    /// Halt the target's nodes with SIGSTOP.
    Pause(String),
    /// Let the target's nodes go on.
    Resume(String),
    /// Change or cut the link between two regions.
    Link {
        /// One region; of a one-way cut, the one whose bytes are lost.
        from: String,
        /// The other region.
        to: String,
        /// What becomes of it.
        change: LinkChange,
    },
    /// Cut the target off from everything outside of it.
    Isolate(String),
    /// Undo the faults of the target, or all of them.
    Heal(Option<String>),
    /// Change the clocks of the target's nodes.
    Clock(String, ClockChange),
    /// Change how the disks of the target's nodes behave.
    Disk(String, DiskFault),
    /// What can be done to the cluster, and what was: a [`ConditionsStatus`].
    Conditions,
    /// What is asked of the links between the regions: a [`crate::wan::Distances`].
    Distances,
    /// The same, and measured: round trips of bytes, which take a moment.
    Latency,
    /// What crossed between the regions since the last time: a [`crate::wan::Traffic`].
    Traffic,
}

/// What is answered, line by line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    /// Progress for a person.
    Line(String),
    /// What was asked for.
    Answer(Value),
    /// The end, well.
    Done,
    /// The end, with the reason.
    Failed(String),
}

/// The state of a server that was started and does not serve yet.
pub(crate) const STARTING: &str = "starting";

/// One row of `display`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// Name of the node.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) role: Role,
    /// Its region.
    pub(crate) region: String,
    /// Its zone, in a cluster with zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) zone: Option<String>,
    /// `host:port` for clients.
    pub(crate) address: String,
    /// Of a SQL server with distance between the regions: where programs of each region find it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) doors: Vec<Door>,
    /// Process id while it runs.
    pub(crate) pid: Option<u32>,
    /// `starting`, `running`, `stopping`, `stopped`, `killed`, or `exited (…)` when nobody asked for it.
    pub(crate) state: String,
    /// What else disturbs it, a phrase each: that it is cut off, its clock, its disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) disturbed: Vec<String>,
    /// Seconds since it was started, while it runs.
    pub(crate) uptime_seconds: Option<u64>,
    /// Resident memory in bytes, while it runs.
    pub(crate) resident_bytes: Option<u64>,
    /// Its log file.
    pub(crate) log: PathBuf,
}

/// What can be done to a running cluster's servers from outside of them, and what was done and not undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConditionsStatus {
    /// It has distance between its regions.
    pub(crate) wan: bool,
    /// Its servers run with the fault library.
    pub(crate) faults: bool,
    /// The faults of links, clocks and disks that are in force, a sentence each.
    pub(crate) disturbed: Vec<String>,
}

/// An address at which a SQL server is as far away as from a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Door {
    /// Where who connects here counts as being.
    pub(crate) region: String,
    /// `host:port`.
    pub(crate) address: String,
}

/// The socket of a running playground; its file goes with it.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in the directory of a cluster that the caller owns: a socket that is there is a leftover.
    pub(crate) fn listen(dir: &Path) -> anyhow::Result<Control> {
        let path = dir.join(SOCKET);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
        Ok(Control { listener, path })
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> std::io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a playground answers in that directory.
pub(crate) async fn is_running(dir: &Path) -> bool {
    UnixStream::connect(dir.join(SOCKET)).await.is_ok()
}

/// Whether the playground in that directory has ended in order: one that was killed leaves its socket behind.
pub(crate) fn has_ended(dir: &Path) -> bool {
    !dir.join(SOCKET).exists()
}

/// Sends a request, hands each line to `print`, and returns the answer, which is null unless something was asked for.
pub(crate) async fn call(
    dir: &Path,
    by: Origin,
    request: Request,
    mut print: impl FnMut(&str),
) -> anyhow::Result<Value> {
    let stream = UnixStream::connect(dir.join(SOCKET))
        .await
        .with_context(|| format!("no playground is running in {}", dir.display()))?;
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(&Message { by, request })?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    let mut answer = Value::Null;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line).context("the playground's answer")? {
            Reply::Line(text) => print(&text),
            Reply::Answer(value) => answer = value,
            Reply::Done => return Ok(answer),
            Reply::Failed(reason) => bail!(reason),
        }
    }
    bail!("the playground ended before it answered")
}

/// Asks for something that changes nothing, and prints nothing.
pub(crate) async fn ask<T: DeserializeOwned>(dir: &Path, request: Request) -> anyhow::Result<T> {
    serde_json::from_value(call(dir, Origin::Command, request, |_| ()).await?).context("the playground's answer")
}

/// `display` as a table for a person.
pub(crate) fn table(nodes: &[NodeStatus]) -> String {
    let header = ["NAME", "ROLE", "REGION", "ADDRESS", "PID", "STATE", "UPTIME", "MEMORY"];
    let row = |node: &NodeStatus| {
        vec![
            node.name.clone(),
            node.role.title().to_owned(),
            node.zone.clone().unwrap_or_else(|| node.region.clone()),
            node.address.clone(),
            node.pid.map_or("-".into(), |pid| pid.to_string()),
            std::iter::once(&node.state).chain(&node.disturbed).map(String::as_str).collect::<Vec<_>>().join(", "),
            node.uptime_seconds.map_or("-".into(), uptime),
            node.resident_bytes.map_or("-".into(), |bytes| format!("{} MiB", bytes >> 20)),
        ]
    };
    let mut text = table::lined_up(&header, nodes.iter().map(row));
    let mut regions: Vec<&str> = Vec::new();
    for door in nodes.iter().flat_map(|n| &n.doors) {
        if !regions.contains(&door.region.as_str()) {
            regions.push(&door.region);
        }
    }
    if !regions.is_empty() {
        let servers = || nodes.iter().filter(|n| !n.doors.is_empty());
        let header: Vec<&str> = std::iter::once("FROM").chain(servers().map(|n| n.name.as_str())).collect();
        let row = |region: &&str| {
            let to = |node: &NodeStatus| {
                let door = node.doors.iter().find(|d| d.region == *region);
                door.map_or("-".to_owned(), |d| d.address.clone())
            };
            std::iter::once((*region).to_owned()).chain(servers().map(to)).collect()
        };
        text.push_str("\nDoors: a program that connects here is as far away as one in that region\n");
        text.push_str(&table::lined_up(&header, regions.iter().map(row)));
    }
    text
}

fn uptime(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_shows_a_dash_for_what_a_stopped_node_lacks() {
        let node = |name: &str, pid: Option<u32>, state: &str, disturbed: &[&str]| NodeStatus {
            name: name.into(),
            role: Role::Kv,
            region: "eu".into(),
            zone: None,
            address: "127.0.0.1:20160".into(),
            doors: Vec::new(),
            pid,
            state: state.into(),
            disturbed: disturbed.iter().map(|what| (*what).to_owned()).collect(),
            uptime_seconds: pid.map(|_| 3725),
            resident_bytes: pid.map(|_| 30 << 20),
            log: "server.log".into(),
        };
        assert_eq!(
            table(&[node("kv-1", Some(42), "running", &[]), node("kv-2", None, "killed", &[])]),
            "NAME  ROLE          REGION  ADDRESS          PID  STATE    UPTIME  MEMORY\n\
             kv-1  storage node  eu      127.0.0.1:20160  42   running  1h02m   30 MiB\n\
             kv-2  storage node  eu      127.0.0.1:20160  -    killed   -       -\n"
        );
        let table = table(&[node("kv-1", Some(42), "running", &["isolated", "disk slow 1s"])]);
        assert!(table.contains(" running, isolated, disk slow 1s "), "{table}");
    }
}
