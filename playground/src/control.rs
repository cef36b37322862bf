//! How another shell talks to a running playground: JSON lines over a Unix socket in the cluster's directory.
//!
//! The client sends one [`Request`] and reads [`Reply`]s: any number of lines to print, then the end. Several
//! clients are answered at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::spec::Role;

/// The socket's name in the cluster's directory.
const SOCKET: &str = "control.sock";

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// The state of every process.
    Display,
    /// Stop the named node, or all of a region, in order.
    Stop(String),
    /// Start the named node, or all of a region.
    Start(String),
    /// Kill the named node, or all of a region, with SIGKILL.
    Kill(String),
}

/// What is answered, line by line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    /// Progress for a person.
    Line(String),
    /// The answer to `Display`.
    Nodes(Vec<NodeStatus>),
    /// The end, well.
    Done,
    /// The end, with the reason.
    Failed(String),
}

/// One row of `display`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeStatus {
    /// Name of the node.
    pub(crate) name: String,
    /// Its tier.
    pub(crate) role: Role,
    /// Its region.
    pub(crate) region: String,
    /// `host:port` for clients.
    pub(crate) address: String,
    /// Process id while it runs.
    pub(crate) pid: Option<u32>,
    /// `starting`, `running`, `stopping`, `stopped`, `killed`, or `exited (…)` when nobody asked for it.
    pub(crate) state: String,
    /// Seconds since it was started, while it runs.
    pub(crate) uptime_seconds: Option<u64>,
    /// Resident memory in bytes, while it runs.
    pub(crate) resident_bytes: Option<u64>,
    /// Its log file.
    pub(crate) log: PathBuf,
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

/// Sends a request, hands each line to `print`, and returns the nodes if that was the question.
pub(crate) async fn call(
    dir: &Path,
    request: &Request,
    mut print: impl FnMut(&str),
) -> anyhow::Result<Vec<NodeStatus>> {
    let stream = UnixStream::connect(dir.join(SOCKET))
        .await
        .with_context(|| format!("no playground is running in {}", dir.display()))?;
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    let mut nodes = Vec::new();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line).context("the playground's answer")? {
            Reply::Line(text) => print(&text),
            Reply::Nodes(list) => nodes = list,
            Reply::Done => return Ok(nodes),
            Reply::Failed(reason) => bail!(reason),
        }
    }
    bail!("the playground ended before it answered")
}

/// `display` as a table for a person.
pub(crate) fn table(nodes: &[NodeStatus]) -> String {
    let header = ["NAME", "ROLE", "REGION", "ADDRESS", "PID", "STATE", "UPTIME", "MEMORY"].map(String::from);
    let mut rows = vec![header];
    for node in nodes {
        rows.push([
            node.name.clone(),
            node.role.title().to_owned(),
            node.region.clone(),
            node.address.clone(),
            node.pid.map_or("-".into(), |pid| pid.to_string()),
            node.state.clone(),
            node.uptime_seconds.map_or("-".into(), uptime),
            node.resident_bytes.map_or("-".into(), |bytes| format!("{} MiB", bytes >> 20)),
        ]);
    }
    let widths: Vec<usize> = (0..rows[0].len()).map(|i| rows.iter().map(|r| r[i].len()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
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
        let node = |name: &str, pid: Option<u32>, state: &str| NodeStatus {
            name: name.into(),
            role: Role::Kv,
            region: "eu".into(),
            address: "127.0.0.1:20160".into(),
            pid,
            state: state.into(),
            uptime_seconds: pid.map(|_| 3725),
            resident_bytes: pid.map(|_| 30 << 20),
            log: "server.log".into(),
        };
        assert_eq!(
            table(&[node("kv-1", Some(42), "running"), node("kv-2", None, "killed")]),
            "NAME  ROLE          REGION  ADDRESS          PID  STATE    UPTIME  MEMORY\n\
             kv-1  storage node  eu      127.0.0.1:20160  42   running  1h02m   30 MiB\n\
             kv-2  storage node  eu      127.0.0.1:20160  -    killed   -       -\n"
        );
    }
}
