//! Distance between the regions of a cluster on one machine: the relay's process, what it is told, and what it tells.
//!
//! ```text
//!   127.0.0.1:4000  ─ relay ─▶ 127.0.1.3:4000   sql-1 in us-east-1, as every other program knows it
//!   127.0.0.1:4300  ─ relay ─▶ 127.0.1.3:4000   the same, as far away as from eu-west-1: a door
//!   127.0.1.253:P   ─ relay ─▶ 127.0.1.254:Q    an echo in us-east-1, with which round trips are measured
//! ```
//!
//! The relay tells where a caller is by its source address (`127.0.R.N`, see `spec`), or by the door that it takes; who
//! comes from elsewhere counts as being where the server is. What it does to bytes is told in the crate `wan`.
//!
//! Not here: what a link does (the crate `wan`), who asks (`supervisor`, `ctl`).

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;
use wan::config::{Config, LinkSpec, ListenerConfig, Tier, address_in_region};
use wan::control::{LinkState, Request, Response, TrafficRow, Usage};
use wan::shape::ShapeChange;

use crate::control::Door;
use crate::spec::{Cluster, Node, Role};
use crate::{note, ports, process, table};

/// The ports of a region's doors begin so far above the SQL servers' own.
const DOOR_STEP: u16 = 100;
/// The host numbers in a region's network: what measures round trips, the relay in front of the echo, and the echo.
const PROBE_HOST: u8 = 252;
const ECHO_DOOR_HOST: u8 = 253;
const ECHO_HOST: u8 = 254;
/// Round trips of which the least is shown: more than one, for the machine's own noise.
const PROBE_ROUNDS: usize = 3;
/// One measurement may take this long; a link that is cut takes for ever.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the relay may take to open its ports.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the profile, or the table of well-known regions, says of the links between `regions`.
pub(crate) fn links(profile: Option<&Path>, regions: &[String]) -> anyhow::Result<Vec<LinkSpec>> {
    let Some(path) = profile else { return Ok(wan::profile::well_known(regions)?) };
    let text = std::fs::read_to_string(path).with_context(|| format!("read the profile {}", path.display()))?;
    wan::profile::read(&text, regions).with_context(|| format!("profile {}", path.display()))
}

/// The relay of one cluster. Dropping it ends the relay.
pub(crate) struct Wan {
    regions: Vec<String>,
    socket: PathBuf,
    /// The relay ends when this does.
    _stdin: ChildStdin,
    pid: u32,
    started: Instant,
    /// By node.
    hosts: Vec<(String, Ipv4Addr)>,
    /// By SQL server and region.
    doors: Vec<(String, Door)>,
    /// Where the echo of each region answers through the relay.
    echoes: Vec<SocketAddrV4>,
    /// What answers there, as long as this lives.
    _answering: JoinSet<()>,
    /// What had crossed when somebody asked last, and when that was.
    seen: Mutex<(Instant, Vec<TrafficRow>)>,
    /// The targets that are cut off, with their nodes.
    isolated: Mutex<Vec<(String, Vec<String>)>>,
}

impl Wan {
    /// Starts the relay in front of the ports of a cluster that is spread over its regions' networks.
    pub(crate) async fn start(cluster: &Cluster, links: Vec<LinkSpec>, dir: &Path) -> anyhow::Result<Wan> {
        let regions = cluster.regions();
        let mut listeners = Vec::new();
        for node in &cluster.nodes {
            for port in [node.port, node.second_port] {
                listeners.push(listener(node, Ipv4Addr::LOCALHOST, port, port)?);
            }
        }
        let doors = doors(cluster, &regions, &mut ports::owner_of)?;
        for (name, door) in &doors {
            let node = cluster.of(Role::Sql).find(|n| n.name == *name).context("a SQL server for its door")?;
            let listen: SocketAddrV4 = door.address.parse()?;
            listeners.push(ListenerConfig {
                caller: Some(door.region.clone()),
                ..listener(node, *listen.ip(), listen.port(), node.port)?
            });
        }
        let (mut answering, mut echoes) = (JoinSet::new(), Vec::new());
        for (index, region) in regions.iter().enumerate() {
            let echo = TcpListener::bind((address_in_region(index, ECHO_HOST), 0)).await?;
            let port = echo.local_addr()?.port();
            let listen = SocketAddrV4::new(address_in_region(index, ECHO_DOOR_HOST), port);
            let target = SocketAddrV4::new(address_in_region(index, ECHO_HOST), port);
            let node = format!("echo-{region}");
            listeners.push(ListenerConfig {
                listen,
                target,
                region: region.clone(),
                tier: Tier::Probe,
                node,
                caller: None,
            });
            answering.spawn(answer(echo));
            echoes.push(listen);
        }
        let config = Config { regions: regions.clone(), listeners, links };
        let (file, socket) = (dir.join("wan.json"), dir.join("wan.sock"));
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        let (child, stdin) = launch(&file, &socket, dir).await?;
        let pid = child.id().context("the relay ended at once")?;
        // Where the servers are batch processes, what stands between them must not wait as they do.
        process::wake_at_once(pid);
        tokio::spawn(report_end(child));
        let seen = Mutex::new((Instant::now(), Vec::new()));
        let isolated = Mutex::default();
        let hosts = cluster.nodes.iter().filter_map(|n| Some((n.name.clone(), n.own_host?))).collect();
        let started = Instant::now();
        Ok(Wan {
            regions,
            socket,
            _stdin: stdin,
            pid,
            started,
            hosts,
            doors,
            echoes,
            _answering: answering,
            seen,
            isolated,
        })
    }

    /// Ends the relay; its end is no news then.
    pub(crate) async fn stop(&self) {
        let _ = std::fs::remove_file(&self.socket);
        process::terminate(self.pid);
    }

    /// Where programs of each region find a SQL server.
    pub(crate) fn doors_to(&self, name: &str) -> Vec<Door> {
        self.doors.iter().filter(|(server, _)| server == name).map(|(_, door)| door.clone()).collect()
    }

    async fn call(&self, request: &Request) -> anyhow::Result<Response> {
        let asking = async {
            let mut stream = UnixStream::connect(&self.socket).await.context("the WAN relay does not run")?;
            stream.write_all(request.to_line().as_bytes()).await?;
            let answer = BufReader::new(stream).lines().next_line().await?;
            anyhow::Ok(answer.context("the WAN relay ended before it answered")?)
        };
        let line = tokio::time::timeout(PROBE_TIMEOUT, asking).await.context("the WAN relay does not answer")??;
        Ok(Response::from_line(&line)?)
    }

    /// The addresses of nodes in their regions' networks.
    fn hosts(&self, nodes: &[String]) -> Vec<Ipv4Addr> {
        self.hosts.iter().filter(|(name, _)| nodes.contains(name)).map(|(_, host)| *host).collect()
    }

    async fn link_states(&self) -> anyhow::Result<Vec<LinkState>> {
        match self.call(&Request::Links).await? {
            Response::Links(links) => Ok(links),
            other => bail!("the WAN relay answers {other:?}"),
        }
    }

    async fn usage(&self) -> anyhow::Result<Usage> {
        match self.call(&Request::Usage).await? {
            Response::Usage(usage) => Ok(usage),
            other => bail!("the WAN relay answers {other:?}"),
        }
    }

    /// Changes a link. Returns what it is like then.
    pub(crate) async fn change_link(&self, from: &str, to: &str, change: &LinkChange) -> anyhow::Result<String> {
        let (from, to) = (from.to_owned(), to.to_owned());
        if from == to && matches!(change, LinkChange::Cut | LinkChange::CutOneWay) {
            bail!(
                "a region is not cut off from itself; name two regions, or isolate a node: {}",
                self.regions.join(", ")
            );
        }
        let (a, b) = (from.clone(), to.clone());
        match change {
            LinkChange::Cut => self.call(&Request::Cut { from, to, one_way: false }).await?,
            LinkChange::CutOneWay => self.call(&Request::Cut { from, to, one_way: true }).await?,
            LinkChange::Shape(change) => {
                self.call(&Request::SetLink { from, to, one_way: false, change: *change }).await?
            }
            LinkChange::Heal => {
                self.restore(&a, &b).await?;
                Response::Done(())
            }
        };
        let states = self.link_states().await?;
        let mut text = String::new();
        for state in states.iter().filter(|l| (l.from == a && l.to == b) || (l.from == b && l.to == a)) {
            let how = if state.cut { "cut".to_owned() } else { state.shape.to_string() };
            text.push_str(&format!("{} to {}: {how}\n", state.from, state.to));
        }
        Ok(text.trim_end().to_owned())
    }

    /// Makes both directions of a link what they were at the start.
    async fn restore(&self, a: &str, b: &str) -> anyhow::Result<()> {
        self.call(&Request::Heal { from: a.to_owned(), to: b.to_owned(), one_way: false }).await?;
        for state in self.link_states().await? {
            let meant = (state.from == a && state.to == b) || (state.from == b && state.to == a);
            if meant && state.shape != state.original {
                let (from, to, change) = (state.from, state.to, state.original.into());
                self.call(&Request::SetLink { from, to, one_way: true, change }).await?;
            }
        }
        Ok(())
    }

    /// Cuts the nodes off from everything that is not among them.
    pub(crate) async fn isolate(&self, target: &str, nodes: &[String]) -> anyhow::Result<String> {
        if self.regions.iter().any(|r| r == target) {
            if self.regions.len() == 1 {
                bail!("there is no region that {target} could be cut off from");
            }
            for other in self.regions.iter().filter(|r| *r != target) {
                self.call(&Request::Cut { from: target.to_owned(), to: other.clone(), one_way: false }).await?;
            }
        } else {
            self.call(&Request::Isolate { name: target.to_owned(), hosts: self.hosts(nodes) }).await?;
            let mut isolated = self.isolated.lock();
            if !isolated.iter().any(|(t, _)| t == target) {
                isolated.push((target.to_owned(), nodes.to_vec()));
            }
        }
        Ok(format!("{target} is cut off from everything else"))
    }

    /// Undoes what was done to links. Returns a line for each that was.
    pub(crate) async fn heal_all(&self) -> anyhow::Result<Vec<String>> {
        let disturbed = self.disturbed().await?;
        self.call(&Request::HealAll).await?;
        self.isolated.lock().clear();
        Ok(disturbed.into_iter().map(|what| format!("no longer: {what}")).collect())
    }

    /// Undoes the isolation of what is among the target's nodes, and if it is a region what was done to its links.
    pub(crate) async fn heal_target(&self, target: &str, nodes: &[String]) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        let isolated = self.isolated.lock().clone();
        for (name, _) in isolated.into_iter().filter(|(_, among)| among.iter().all(|node| nodes.contains(node))) {
            self.call(&Request::Rejoin { name: name.clone() }).await?;
            self.isolated.lock().retain(|(t, _)| *t != name);
            lines.push(format!("{name} is connected again"));
        }
        if self.regions.iter().any(|r| r == target) {
            for state in self.link_states().await? {
                if state.from == target && disturbance(&state).is_some() {
                    self.restore(&state.from, &state.to).await?;
                    lines.push(format!("the link between {} and {} is as at the start", state.from, state.to));
                } else if state.to == target && disturbance(&state).is_some() {
                    self.restore(&state.from, &state.to).await?;
                }
            }
        }
        Ok(lines)
    }

    /// What is not as at the start, a sentence each.
    pub(crate) async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
        let mut sentences: Vec<String> = self.link_states().await?.iter().filter_map(disturbance).collect();
        sentences.extend(self.isolated.lock().iter().map(|(target, _)| format!("{target} is cut off")));
        Ok(sentences)
    }

    /// The round trips that are asked of the links; with `measure`, also how long bytes take.
    pub(crate) async fn distances(&self, measure: bool) -> anyhow::Result<Distances> {
        let states = self.link_states().await?;
        let one_way = |from: &str, to: &str| {
            let state = states.iter().find(|l| l.from == from && l.to == to)?;
            (!state.cut).then(|| state.shape.rtt.nanos() / 2)
        };
        let round_trip = |a: &String, b: &String| Some((one_way(a, b)? + one_way(b, a)?) / 1000);
        let matrix = |of: &dyn Fn(&String, &String) -> Option<u64>| -> Vec<Vec<Option<u64>>> {
            self.regions.iter().map(|a| self.regions.iter().map(|b| of(a, b)).collect()).collect()
        };
        let asked_us = matrix(&round_trip);
        let mut measured_us = Vec::new();
        if measure {
            for from in 0..self.regions.len() {
                let probes = self.echoes.iter().map(|echo| probe(address_in_region(from, PROBE_HOST), *echo));
                measured_us.push(futures::future::join_all(probes).await);
            }
        }
        Ok(Distances { regions: self.regions.clone(), asked_us, measured_us, relay: self.cost().await? })
    }

    /// What crossed since the last call.
    pub(crate) async fn traffic(&self) -> anyhow::Result<Traffic> {
        let rows = match self.call(&Request::Traffic).await? {
            Response::Traffic(rows) => rows,
            other => bail!("the WAN relay answers {other:?}"),
        };
        let relay = self.cost().await?;
        let mut seen = self.seen.lock();
        let (since, before) = std::mem::replace(&mut *seen, (Instant::now(), rows.clone()));
        let mut flows = Vec::new();
        for row in rows.into_iter().filter(|row| row.tier != Tier::Probe) {
            let same = |b: &&TrafficRow| b.from == row.from && b.to == row.to && b.tier == row.tier;
            let (bytes, messages) = before.iter().find(same).map_or((0, 0), |b| (b.bytes, b.messages));
            let tier = match row.tier {
                Tier::Pd => "pd",
                Tier::Kv => "kv",
                Tier::Sql => "sql",
                Tier::Probe => "probe",
            };
            flows.push(Flow {
                from: row.from,
                to: row.to,
                tier: tier.to_owned(),
                bytes: row.bytes - bytes,
                messages: row.messages - messages,
            });
        }
        flows.retain(|flow| flow.messages > 0);
        Ok(Traffic { seconds: since.elapsed().as_secs_f64(), flows, relay })
    }

    /// What the relay costs, in a line.
    async fn cost(&self) -> anyhow::Result<String> {
        let usage = self.usage().await?;
        Ok(format!(
            "Relay: {} connections, {:.1} % of a core so far, {:.1} µs for each of {} messages, {} KiB on their way",
            usage.connections,
            usage.cpu_us as f64 / 1e4 / self.started.elapsed().as_secs_f64().max(0.001),
            usage.cpu_us_per_message,
            usage.messages,
            usage.buffered_bytes >> 10
        ))
    }
}

/// What is not as at the start about one direction.
fn disturbance(link: &LinkState) -> Option<String> {
    if link.cut {
        Some(format!("nothing passes from {} to {}", link.from, link.to))
    } else if link.shape != link.original {
        Some(format!("{} to {}: {} instead of {}", link.from, link.to, link.shape, link.original))
    } else {
        None
    }
}

fn listener(node: &Node, listen: Ipv4Addr, port: u16, target_port: u16) -> anyhow::Result<ListenerConfig> {
    let own = node.own_host.with_context(|| format!("{} has no address in its region's network", node.name))?;
    let tier = match node.role {
        Role::Pd => Tier::Pd,
        Role::Kv => Tier::Kv,
        Role::Sql => Tier::Sql,
    };
    Ok(ListenerConfig {
        listen: SocketAddrV4::new(listen, port),
        target: SocketAddrV4::new(own, target_port),
        region: node.region.clone(),
        tier,
        node: node.name.clone(),
        caller: None,
    })
}

/// Lays out the doors: every region has one to every SQL server.
fn doors(
    cluster: &Cluster,
    regions: &[String],
    owner_of: &mut dyn FnMut(&str, u16) -> Option<String>,
) -> anyhow::Result<Vec<(String, Door)>> {
    let mut used: Vec<u16> = cluster.nodes.iter().flat_map(|n| [n.port, n.second_port]).collect();
    let Some(first) = cluster.of(Role::Sql).map(|n| n.port).min() else { return Ok(Vec::new()) };
    let mut doors = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        for (number, node) in cluster.of(Role::Sql).enumerate() {
            let wanted = usize::from(first) + usize::from(DOOR_STEP) * (index + 1) + number;
            let free = (wanted..wanted + 1000)
                .filter_map(|port| u16::try_from(port).ok())
                .find(|port| !used.contains(port) && owner_of(&Ipv4Addr::LOCALHOST.to_string(), *port).is_none());
            let port =
                free.with_context(|| format!("no free port above {wanted} for a door; choose another --sql-port"))?;
            used.push(port);
            doors.push((node.name.clone(), Door { region: region.clone(), address: format!("127.0.0.1:{port}") }));
        }
    }
    Ok(doors)
}

/// Starts the relay and waits until its ports are open.
async fn launch(config: &Path, socket: &Path, dir: &Path) -> anyhow::Result<(Child, ChildStdin)> {
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

async fn report_end(mut child: Child) {
    use std::os::unix::process::ExitStatusExt as _;
    let Ok(status) = child.wait().await else { return };
    if !status.success() && status.signal() != Some(15) {
        note(&format!(
            "the WAN relay ended by itself ({status}): nothing reaches the servers any more; stop the cluster"
        ));
    }
}

/// Sends back what it is sent, on every connection.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        });
    }
}

/// The least round trip of a few from an address to an echo, in microseconds; `None` if none comes back in time.
async fn probe(from: Ipv4Addr, echo: SocketAddrV4) -> Option<u64> {
    let rounds = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let mut stream: TcpStream = socket.connect(echo.into()).await?;
        stream.set_nodelay(true)?;
        let mut least = Duration::MAX;
        // The first pays for the handshake.
        for round in 0..=PROBE_ROUNDS {
            let begin = Instant::now();
            stream.write_all(b"?").await?;
            stream.read_exact(&mut [0]).await?;
            if round > 0 {
                least = least.min(begin.elapsed());
            }
        }
        Ok::<_, std::io::Error>(least.as_micros() as u64)
    };
    tokio::time::timeout(PROBE_TIMEOUT, rounds).await.ok()?.ok()
}

/// What becomes of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LinkChange {
    /// Other properties; those that are not named stay.
    Shape(ShapeChange),
    /// Nothing passes.
    Cut,
    /// Nothing passes in the first direction.
    CutOneWay,
    /// As at the start.
    Heal,
}

impl LinkChange {
    /// Reads the properties as they are written on a command line.
    pub(crate) fn shape(
        rtt: Option<&str>,
        jitter: Option<&str>,
        bandwidth: Option<&str>,
        loss: Option<&str>,
    ) -> anyhow::Result<LinkChange> {
        Ok(LinkChange::Shape(ShapeChange {
            rtt: rtt.map(str::parse).transpose().context("--rtt")?,
            jitter: jitter.map(str::parse).transpose().context("--jitter")?,
            bandwidth: bandwidth.map(str::parse).transpose().context("--bandwidth")?,
            loss: loss.map(str::parse).transpose().context("--loss")?,
        }))
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkChange::Cut => f.write_str("cut"),
            LinkChange::CutOneWay => f.write_str("cut one way"),
            LinkChange::Heal => f.write_str("healed"),
            LinkChange::Shape(change) => {
                let mut parts = Vec::new();
                let mut add = |name: &str, value: Option<String>| parts.extend(value.map(|v| format!("{name} {v}")));
                add("rtt", change.rtt.map(|v| v.to_string()));
                add("jitter", change.jitter.map(|v| v.to_string()));
                add("bandwidth", change.bandwidth.map(|v| v.to_string()));
                add("loss", change.loss.map(|v| v.to_string()));
                f.write_str(&parts.join(", "))
            }
        }
    }
}

/// The round trips between the regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distances {
    /// The regions, in the cluster's order.
    pub(crate) regions: Vec<String>,
    /// From each region (row) to each (column), microseconds; `None` while the link is cut in a direction.
    pub(crate) asked_us: Vec<Vec<Option<u64>>>,
    /// The same, measured; `None` where nothing came back in time. Empty if not measured.
    pub(crate) measured_us: Vec<Vec<Option<u64>>>,
    /// The relay's cost, in a line.
    pub(crate) relay: String,
}

impl Distances {
    /// The round trip that is asked of a link.
    pub(crate) fn asked_us(&self, a: &str, b: &str) -> Option<u64> {
        let at = |region: &str| self.regions.iter().position(|r| r == region);
        self.asked_us[at(a)?][at(b)?]
    }

    /// For a person: measured, and asked in brackets.
    pub(crate) fn table(&self) -> String {
        let header: Vec<&str> = std::iter::once("FROM \\ TO").chain(self.regions.iter().map(String::as_str)).collect();
        let ms = |us: Option<u64>| us.map_or_else(|| "cut".to_owned(), |us| format!("{:.1} ms", us as f64 / 1000.0));
        let row = |from: usize| {
            let cell = |to: usize| format!("{} ({})", ms(self.measured_us[from][to]), ms(self.asked_us[from][to]));
            std::iter::once(self.regions[from].clone()).chain((0..self.regions.len()).map(cell)).collect()
        };
        let mut text = "Round trips, measured (and asked)\n".to_owned();
        text.push_str(&table::lined_up(&header, (0..self.regions.len()).map(row)));
        text.push_str(&format!("{}\n", self.relay));
        text
    }
}

/// What crossed between the regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// For how long, seconds.
    pub(crate) seconds: f64,
    /// Every directed pair of regions and tier with any.
    pub(crate) flows: Vec<Flow>,
    /// The relay's cost, in a line.
    pub(crate) relay: String,
}

/// What went from one region to a tier's servers in another, or came back from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Where it came from.
    pub(crate) from: String,
    /// Where it went.
    pub(crate) to: String,
    /// The tier whose servers were called: `pd`, `kv`, `sql`.
    pub(crate) tier: String,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Messages: what was there to read at once counts as one.
    pub(crate) messages: u64,
}

impl Traffic {
    /// For a person.
    pub(crate) fn table(&self) -> String {
        let row = |flow: &Flow| {
            let per_second = |n: u64| format!("{:.1}", n as f64 / self.seconds.max(0.001));
            vec![
                flow.from.clone(),
                flow.to.clone(),
                flow.tier.clone(),
                flow.bytes.to_string(),
                flow.messages.to_string(),
                per_second(flow.bytes),
                per_second(flow.messages),
            ]
        };
        let header = ["FROM", "TO", "TIER", "BYTES", "MESSAGES", "BYTES/S", "MESSAGES/S"];
        let mut text = format!("In the last {:.1} s\n", self.seconds);
        text.push_str(&table::lined_up(&header, self.flows.iter().map(row)));
        text.push_str(&format!("{}\n", self.relay));
        text
    }
}
