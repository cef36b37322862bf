//! The commands that talk to a running cluster, or clean up after one.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::Which;
use crate::control::{self, NodeStatus, Request};
use crate::home::{CLUSTER_FILE, Home, base_dir, find_running, no_such_cluster, valid_tag};
use crate::wan::{Distances, Traffic};

/// Pause between two tables of `traffic --watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn display(which: &Which, json: bool) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    let nodes: Vec<NodeStatus> = control::ask(&dir, &Request::Display).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&nodes)?);
    } else {
        print!("{}", control::table(&nodes));
    }
    Ok(())
}

/// The matrix of round trips between the regions, measured now.
pub(crate) async fn latency(which: &Which, json: bool) -> anyhow::Result<()> {
    let distances: Distances = control::ask(&find_running(which).await?, &Request::Latency).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&distances)?);
    } else {
        print!("{}", distances.table());
    }
    Ok(())
}

/// What crossed between the regions since the last call; with `watch`, every second until Ctrl-C.
pub(crate) async fn traffic(which: &Which, watch: bool, json: bool) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    loop {
        let traffic: Traffic = control::ask(&dir, &Request::Traffic).await?;
        if json {
            println!("{}", serde_json::to_string(&traffic)?);
        } else {
            print!("{}", traffic.table());
        }
        if !watch {
            return Ok(());
        }
        println!();
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Becomes a `mysql` shell through the door that a region has to the nearest SQL server.
pub(crate) async fn client(which: &Which, region: &str, arguments: &[String]) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    let nodes: Vec<NodeStatus> = control::ask(&dir, &Request::Display).await?;
    let doors = || {
        nodes.iter().filter(|n| n.pid.is_some()).filter_map(|n| Some((n, n.doors.iter().find(|d| d.region == region)?)))
    };
    if nodes.iter().all(|n| n.doors.is_empty()) {
        bail!(
            "this cluster has no distance between its regions: start it with --wan, or connect to a port of `ctl display`"
        );
    }
    let distances: Distances = control::ask(&dir, &Request::Distances).await?;
    let nearest = doors().min_by_key(|(node, _)| distances.asked_us(region, &node.region).unwrap_or(u64::MAX));
    if !distances.regions.iter().any(|known| known == region) {
        bail!("there is no region '{region}'; a client comes from one of: {}", distances.regions.join(", "));
    }
    let Some((_, door)) = nearest else {
        bail!("no SQL server runs; start one with: ./playground/ctl start sql-1");
    };
    let (host, port) = door.address.rsplit_once(':').unwrap_or((&door.address, "4000"));
    let mut mysql = std::process::Command::new("mysql");
    mysql.args(["-h", host, "-P", port, "-u", "root"]).args(arguments);
    let error = std::os::unix::process::CommandExt::exec(&mut mysql);
    bail!("start the mysql client: {error}; install it (Debian, Ubuntu: apt-get install mariadb-client)")
}

pub(crate) async fn send(which: &Which, request: Request) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    control::call(&dir, &request, |line| println!("{line}")).await.map(drop)
}

pub(crate) async fn clean(tag: &str, stop: bool, data: Option<&Path>) -> anyhow::Result<()> {
    let base = base_dir(data)?;
    if !base.join(valid_tag(tag)?).join(CLUSTER_FILE).exists() {
        bail!("{}", no_such_cluster(tag, &base));
    }
    let home = Home::open(&base, Some(tag))?;
    if stop {
        home.stop_leftovers().await;
    }
    let running: Vec<String> = home.left_running().map(|(node, pid)| format!("{} (pid {pid})", node.name)).collect();
    if !running.is_empty() {
        bail!(
            "servers of cluster '{tag}' run on although their playground is gone: {}; \
             stop them and remove the data with: ./playground/ctl clean {tag} --stop",
            running.join(", ")
        );
    }
    home.remove()?;
    println!("Removed {}", home.dir.display());
    Ok(())
}
