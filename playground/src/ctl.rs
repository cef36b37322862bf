//! The commands that talk to a running cluster, or clean up after one.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;

use crate::control::{self, NodeStatus, Request};
use crate::events::Origin;
use crate::home::{CLUSTER_FILE, Home, base_dir, find_running, no_such_cluster, valid_tag};
use crate::spec::Role;
use crate::wan::{Distances, Traffic};
use crate::{Which, drills, heard, note, say};

/// Pause between two tables of `traffic --watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn display(which: &Which, json: bool) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    let nodes: Vec<NodeStatus> = control::ask(&dir, Request::Display).await?;
    say(&if json { serde_json::to_string_pretty(&nodes)? } else { control::table(&nodes).trim_end().to_owned() });
    Ok(())
}

/// The matrix of round trips between the regions, measured now.
pub(crate) async fn latency(which: &Which, json: bool) -> anyhow::Result<()> {
    let distances: Distances = control::ask(&find_running(which).await?, Request::Latency).await?;
    say(&if json { serde_json::to_string_pretty(&distances)? } else { distances.table().trim_end().to_owned() });
    Ok(())
}

/// What crossed between the regions since the last call; with `watch`, every second until Ctrl-C or until nobody reads.
pub(crate) async fn traffic(which: &Which, watch: bool, json: bool) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    loop {
        let traffic: Traffic = control::ask(&dir, Request::Traffic).await?;
        let text = match (json, watch) {
            (true, _) => serde_json::to_string(&traffic)?,
            (false, true) => traffic.table(), // and an empty line
            (false, false) => traffic.table().trim_end().to_owned(),
        };
        if !heard(&text) || !watch {
            return Ok(());
        }
        tokio::time::sleep(WATCH_PAUSE).await;
    }
}

/// Becomes a `mysql` shell through the door that a region has to the nearest SQL server.
pub(crate) async fn client(which: &Which, region: &str, arguments: &[String]) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    let nodes: Vec<NodeStatus> = control::ask(&dir, Request::Display).await?;
    let doors = || {
        nodes.iter().filter(|n| n.pid.is_some()).filter_map(|n| Some((n, n.doors.iter().find(|d| d.region == region)?)))
    };
    if nodes.iter().all(|n| n.doors.is_empty()) {
        bail!(
            "this cluster has no distance between its regions: start it with --wan, or connect to a port of `ctl display`"
        );
    }
    let distances: Distances = control::ask(&dir, Request::Distances).await?;
    let nearest = doors().min_by_key(|(node, _)| distances.asked_us(region, &node.region).unwrap_or(u64::MAX));
    if !distances.regions.iter().any(|known| known == region) {
        bail!("there is no region '{region}'; a client comes from one of: {}", distances.regions.join(", "));
    }
    let Some((server, door)) = nearest else {
        bail!("no SQL server runs; start one with: ./playground/ctl start sql-1");
    };
    if let Some(detour) = detour(&nodes, region, server) {
        note(&detour);
    }
    let (host, port) = door.address.rsplit_once(':').unwrap_or((&door.address, "4000"));
    let mut mysql = std::process::Command::new("mysql");
    mysql.args(["-h", host, "-P", port, "-u", "root"]).args(arguments);
    let error = std::os::unix::process::CommandExt::exec(&mut mysql);
    bail!("start the mysql client: {error}; install it (Debian, Ubuntu: apt-get install mariadb-client)")
}

/// What to say of a client that goes to a server outside of its region; `None` if it does not.
fn detour(nodes: &[NodeStatus], region: &str, server: &NodeStatus) -> Option<String> {
    if server.region == region {
        return None;
    }
    let own: Vec<&str> =
        nodes.iter().filter(|n| n.role == Role::Sql && n.region == region).map(|n| n.name.as_str()).collect();
    let why = match own[..] {
        [] => format!("no SQL server stands in {region}"),
        [one] => format!("{one}, the SQL server of {region}, does not run"),
        _ => format!("none of the SQL servers of {region} runs ({})", own.join(", ")),
    };
    Some(format!("note: {why}; the client goes through {} in {}", server.name, server.region))
}

/// Has something done to the cluster.
pub(crate) async fn send(which: &Which, request: Request) -> anyhow::Result<()> {
    let dir = find_running(which).await?;
    if drills::one_runs(&dir) {
        note(
            "note: a drill runs on this cluster; its report will tell of this, and if it undoes the drill's fault there \
              will be no verdict",
        );
    }
    control::call(&dir, Origin::Command, request, say).await.map(drop)
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
    say(&format!("Removed {}", home.dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_whose_regions_own_server_is_down_is_told_of_the_detour() {
        let node = |name: &str, region: &str, pid: Option<u32>| NodeStatus {
            name: name.into(),
            role: Role::Sql,
            region: region.into(),
            zone: None,
            address: "127.0.0.1:4000".into(),
            doors: Vec::new(),
            pid,
            state: "running".into(),
            disturbed: Vec::new(),
            uptime_seconds: None,
            resident_bytes: None,
            log: "server.log".into(),
        };
        let nodes = [node("sql-1", "us", None), node("sql-2", "eu", Some(7))];
        let to = |region| detour(&nodes, region, &nodes[1]);
        assert_eq!(to("eu"), None);
        let us = "note: sql-1, the SQL server of us, does not run; the client goes through sql-2 in eu";
        assert_eq!(to("us").unwrap(), us);
        assert!(to("ap").unwrap().starts_with("note: no SQL server stands in ap; "));
    }
}
