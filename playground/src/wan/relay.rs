//! The relay's process: how it is started, asked and noticed when it ends.

use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, Command};
use wan::control::{LinkState, Request, Response, Usage};

use super::Wan;
use crate::{note, process};

/// How long the relay may take to open its ports.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What the relay costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Connections open now.
    pub(crate) connections: u64,
    /// Its share of a core since it was started.
    pub(crate) cpu_percent_of_a_core: f64,
    /// CPU time for each message, microseconds.
    pub(crate) cpu_us_per_message: f64,
    /// Messages handed over since it was started.
    pub(crate) messages: u64,
    /// Bytes on their way now.
    pub(crate) buffered_bytes: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Relay: {} connections, {:.1} % of a core so far, {:.1} µs for each of {} messages, {} KiB on their way",
            self.connections,
            self.cpu_percent_of_a_core,
            self.cpu_us_per_message,
            self.messages,
            self.buffered_bytes >> 10
        )
    }
}

impl Wan {
    pub(super) async fn call(&self, request: &Request) -> anyhow::Result<Response> {
        let asking = async {
            let mut stream = UnixStream::connect(&self.socket).await.context("the WAN relay does not run")?;
            stream.write_all(request.to_line().as_bytes()).await?;
            let answer = BufReader::new(stream).lines().next_line().await?;
            anyhow::Ok(answer.context("the WAN relay ended before it answered")?)
        };
        let line = tokio::time::timeout(ANSWER_TIMEOUT, asking).await.context("the WAN relay does not answer")??;
        Ok(Response::from_line(&line)?)
    }

    pub(super) async fn link_states(&self) -> anyhow::Result<Vec<LinkState>> {
        match self.call(&Request::Links).await? {
            Response::Links(links) => Ok(links),
            other => bail!("the WAN relay answers {other:?}"),
        }
    }

    pub(super) async fn usage(&self) -> anyhow::Result<Usage> {
        match self.call(&Request::Usage).await? {
            Response::Usage(usage) => Ok(usage),
            other => bail!("the WAN relay answers {other:?}"),
        }
    }

    pub(super) async fn cost(&self) -> anyhow::Result<Cost> {
        let usage = self.usage().await?;
        Ok(Cost {
            connections: usage.connections,
            cpu_percent_of_a_core: usage.cpu_us as f64 / 1e4 / self.started.elapsed().as_secs_f64().max(0.001),
            cpu_us_per_message: usage.cpu_us_per_message,
            messages: usage.messages,
            buffered_bytes: usage.buffered_bytes,
        })
    }
}

/// Starts the relay and waits until its ports are open.
pub(super) async fn launch(config: &Path, socket: &Path, dir: &Path) -> anyhow::Result<(Child, ChildStdin)> {
    let _ = std::fs::remove_file(socket);
    let log = std::fs::File::create(dir.join("wan.log"))?;
    let binary = process::binary("wan-relay")?;
    let mut child = Command::new(&binary)
        .arg("--config")
        .arg(config)
        .arg("--control")
        .arg(socket)
        .arg("--end-with-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        // A Ctrl-C in the terminal is for the playground, which still needs the relay.
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let stdin = child.stdin.take().context("the relay's input")?;
    let stdout = child.stdout.take().context("the relay's output")?;
    let ready = async { BufReader::new(stdout).lines().next_line().await };
    match tokio::time::timeout(READY_TIMEOUT, ready).await {
        Ok(Ok(Some(line))) if line.starts_with("ready") => Ok((child, stdin)),
        _ => {
            let _ = child.kill().await;
            let said = std::fs::read_to_string(dir.join("wan.log")).unwrap_or_default();
            bail!("the WAN relay does not start: {}", said.trim())
        }
    }
}

pub(super) async fn report_end(mut child: Child) {
    use std::os::unix::process::ExitStatusExt as _;
    let Ok(status) = child.wait().await else { return };
    if !status.success() && status.signal() != Some(15) {
        note(&format!(
            "the WAN relay ended by itself ({status}): nothing reaches the servers any more; stop the cluster"
        ));
    }
}
