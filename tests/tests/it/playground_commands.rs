//! The playground when things go wrong around it: signals at bad moments, a supervisor that was killed, commands that
//! wait for each other, and mistakes on the command line. Real processes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::playground::{Playground, binary, runs, signal, succeeded};

const SMALL: [&str; 6] = ["--pd", "1", "--kv", "1", "--sql", "1"];
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn playground(data: &Path, args: &[&str]) -> Result<String, String> {
    succeeded(Command::new(binary()).args(args).arg("--data").arg(data))
}

/// Starts a command that has to wait for something.
fn waiting(playground: &Playground, args: &[&str]) -> std::process::Child {
    playground.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("run a command")
}

fn state(playground: &Playground, name: &str) -> String {
    let nodes = playground.nodes();
    let node = nodes.iter().find(|n| n["name"] == name).unwrap_or_else(|| panic!("no node {name}"));
    node["state"].as_str().expect("a state").to_owned()
}

#[test]
fn servers_of_a_killed_playground_keep_their_data_and_a_restart_keeps_their_ports() {
    let data = tempfile::tempdir().unwrap();
    let mut killed = Playground::start(data.path(), "orphans", &SMALL);
    let (addresses, pids) = (addresses(&killed), killed.pids());
    assert_eq!(pids.len(), 3);
    assert!(playground(data.path(), &["clean", "orphans"]).unwrap_err().contains("is running"));
    signal(killed.supervisor(), "KILL");
    killed.wait();

    let refused = playground(data.path(), &["clean", "orphans"]).unwrap_err();
    for pid in &pids {
        assert!(refused.contains(&format!("(pid {pid})")), "{refused}");
        assert!(runs(*pid), "{pid} was to run on");
    }
    assert!(refused.contains("clean orphans --stop"), "{refused}");
    assert!(data.path().join("orphans/kv-1/data").is_dir(), "the data is still there");

    let mut again = Playground::start(data.path(), "orphans", &[]);
    assert_eq!(self::addresses(&again), addresses);
    assert!(pids.iter().all(|pid| !runs(*pid)), "the old servers are stopped");
    let pids = again.pids();
    signal(again.supervisor(), "KILL");
    again.wait();
    playground(data.path(), &["clean", "orphans", "--stop"]).unwrap();
    assert!(pids.iter().all(|pid| !runs(*pid)), "the servers are stopped");
    assert!(!data.path().join("orphans").exists());
}

fn addresses(playground: &Playground) -> Vec<String> {
    playground.nodes().iter().map(|n| n["address"].to_string()).collect()
}

#[test]
fn a_command_that_waits_keeps_neither_other_commands_nor_ctrl_c_from_working() {
    let data = tempfile::tempdir().unwrap();
    let mut playground = Playground::start(data.path(), "quorum", &["--pd", "3", "--kv", "1", "--sql", "1"]);
    let pds = ["pd-1", "pd-2", "pd-3"];
    // A PD member alone has no quorum: its start waits, until the others are started beside it.
    for pd in pds {
        playground.ctl(&["kill", pd]);
    }
    let mut first = waiting(&playground, &["start", "pd-1"]);
    wait_until("pd-1 starts", || state(&playground, "pd-1") == "starting");
    playground.ctl(&["start", "pd-2"]);
    assert!(first.wait().unwrap().success(), "pd-1 has its quorum");
    playground.ctl(&["start", "pd-3"]);
    assert_eq!(pds.map(|pd| state(&playground, pd)), ["running"; 3]);

    for pd in pds {
        playground.ctl(&["kill", pd]);
    }
    let mut waits = waiting(&playground, &["start", "pd-1"]);
    wait_until("pd-1 starts", || state(&playground, "pd-1") == "starting");
    let pids = playground.pids();
    assert_eq!(pids.len(), 3, "pd-1, kv-1 and sql-1");
    signal(playground.supervisor(), "INT");
    assert!(playground.wait().success());
    assert!(!waits.wait().unwrap().success(), "the command is told that it came to nothing");
    assert!(pids.iter().all(|pid| !runs(*pid)), "Ctrl-C stops what was starting, too");
}

#[test]
fn a_second_ctrl_c_kills_what_hangs_and_leaves_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let mut playground = Playground::start(data.path(), "hangs", &SMALL);
    let pids = playground.pids();
    let kv = playground.nodes().iter().find(|n| n["name"] == "kv-1").and_then(|n| n["pid"].as_u64()).unwrap() as u32;
    let sql = playground.nodes().iter().find(|n| n["name"] == "sql-1").and_then(|n| n["pid"].as_u64()).unwrap() as u32;
    signal(kv, "STOP");
    signal(playground.supervisor(), "INT");
    wait_until("the SQL server is stopped, and kv-1's turn has come", || !runs(sql));
    assert!(runs(kv));
    let begin = Instant::now();
    signal(playground.supervisor(), "INT");
    assert!(playground.wait().success());
    assert!(begin.elapsed() < Duration::from_secs(10), "it was killed, not waited for: {:?}", begin.elapsed());
    assert!(pids.iter().all(|pid| !runs(*pid)), "nothing is left behind");
}

#[test]
fn mistakes_on_the_command_line_are_named_and_leave_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let refused = |args: &[&str]| playground(data.path(), args).unwrap_err();
    assert!(refused(&["--tag", "new", "--regions", ""]).contains("--regions"));
    assert!(refused(&["--tag", "new", "--regions", "eu,,us"]).contains("--regions"));
    // A port that somebody has: no cluster comes of it, and no directory.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(refused(&["--tag", "new", "--sql-port", &port]).contains(&format!("port {port} for sql-1 is in use")));
    assert!(!data.path().join("new").exists());
    std::fs::create_dir(data.path().join("shop")).unwrap();
    std::fs::write(data.path().join("shop/cluster.json"), r#"{"nodes":[]}"#).unwrap();
    for command in ["display", "clean"] {
        let tag: &[&str] = if command == "clean" { &["shap"] } else { &["--tag", "shap"] };
        let text = refused(&[&[command], tag].concat());
        assert!(text.contains("there is no cluster 'shap'") && text.contains("known: shop"), "{text}");
    }
    assert!(refused(&["display", "--tag", "shop"]).contains("start it with ./playground/start --tag shop"));
    assert!(!data.path().join("shap").exists());
}

#[test]
fn an_untagged_cluster_of_a_killed_playground_is_removed_by_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let mut killed = Playground::start_untagged(data.path(), &SMALL);
    let pids = killed.pids();
    signal(killed.supervisor(), "KILL");
    killed.wait();
    assert!(pids.len() == 3 && pids.iter().all(|pid| runs(*pid)), "its servers run on");
    let next = Playground::start(data.path(), "next", &SMALL);
    assert!(pids.iter().all(|pid| !runs(*pid)), "nobody could stop them by name");
    next.stop();
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".run-")), "{left:?}");
}

#[test]
fn playgrounds_that_start_at_once_give_out_different_ports() {
    let data = tempfile::tempdir().unwrap();
    let clusters: Vec<Playground> = std::thread::scope(|scope| {
        let start = |tag: &'static str| scope.spawn(|| Playground::start(data.path(), tag, &SMALL));
        ["one", "two"].map(start).into_iter().map(|start| start.join().unwrap()).collect()
    });
    let mut ports: Vec<String> = clusters.iter().flat_map(addresses).collect();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 6, "{ports:?}");
}

#[test]
fn two_benchmarks_at_once_do_not_take_each_others_ports() {
    let data = tempfile::tempdir().unwrap();
    let bench = || {
        let args = ["bench", "idle", "read-write", "--json", "--rows", "100", "--warmup", "0", "--seconds", "1"];
        playground(data.path(), &[&args[..], &SMALL].concat())
    };
    let results = std::thread::scope(|scope| [scope.spawn(bench), scope.spawn(bench)].map(|run| run.join().unwrap()));
    for result in results {
        let lines: Vec<serde_json::Value> =
            result.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!([&lines[0]["load"], &lines[1]["load"]], ["idle", "read-write"]);
        assert!(lines[0]["resident_bytes"].as_u64().unwrap() > 1 << 20, "{lines:?}");
        assert!(lines[1]["transactions"].as_u64().unwrap() > 0, "{lines:?}");
    }
    let left: Vec<_> = std::fs::read_dir(data.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".starting"]);
}
