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
//! [`Wan`] is what others see. Beside its start and end here: what is done to links in `links`, round trips in
//! `distances`, bytes and messages in `traffic`, where programs find servers in `doors`, the process in `relay`.
//!
//! Not here: what a link does (the crate `wan`), who asks (`supervisor`, `ctl`).

mod distances;
mod doors;
mod links;
mod relay;
mod traffic;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::process::ChildStdin;
use tokio::task::JoinSet;
use wan::config::{Config, LinkSpec, ListenerConfig, Tier, address_in_region};
use wan::control::TrafficRow;

pub(crate) use self::distances::Distances;
pub(crate) use self::links::LinkChange;
pub(crate) use self::traffic::Traffic;
use crate::control::Door;
use crate::spec::{Breadth, Cluster, Node, Role};
use crate::{ports, process};

/// What the profile, or the table of well-known regions, says of the links between `regions`.
pub(crate) fn links(profile: Option<&Path>, regions: &[String]) -> anyhow::Result<Vec<LinkSpec>> {
    let Some(path) = profile else { return Ok(wan::profile::well_known(regions)?) };
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "read the profile {}: --wan takes a file (./playground/start --help shows one), or none for the distances of \
             well-known cloud regions",
            path.display()
        )
    })?;
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
    /// What is cut off, but for regions, whose links are cut.
    isolated: Mutex<Vec<Isolation>>,
}

/// Nodes that are cut off from everything that is not among them.
#[derive(Clone, Debug, PartialEq)]
struct Isolation {
    /// As it was named.
    target: String,
    breadth: Breadth,
    nodes: Vec<String>,
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
        let doors = doors::lay_out(cluster, &regions, &mut ports::owner_of)?;
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
            let echo = TcpListener::bind((address_in_region(index, distances::ECHO_HOST), 0)).await?;
            let port = echo.local_addr()?.port();
            let listen = SocketAddrV4::new(address_in_region(index, distances::ECHO_DOOR_HOST), port);
            let target = SocketAddrV4::new(address_in_region(index, distances::ECHO_HOST), port);
            let node = format!("echo-{region}");
            listeners.push(ListenerConfig {
                listen,
                target,
                region: region.clone(),
                tier: Tier::Probe,
                node,
                caller: None,
            });
            answering.spawn(distances::answer(echo));
            echoes.push(listen);
        }
        let config = Config { regions: regions.clone(), listeners, links };
        let (file, socket) = (dir.join("wan.json"), dir.join("wan.sock"));
        std::fs::write(&file, serde_json::to_vec_pretty(&config)?)?;
        let (child, stdin) = relay::launch(&file, &socket, dir).await?;
        let pid = child.id().context("the relay ended at once")?;
        // Where the servers are batch processes, what stands between them must not wait as they do.
        process::wake_at_once(pid);
        tokio::spawn(relay::report_end(child));
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
