//! Distance between regions, through the real playground: who connects from where, how far the regions are apart, and
//! what a cut does. What the relay does to bytes is tested in the crate `wan`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tests::playground::{Playground, binary, succeeded};

const PATIENCE: Duration = Duration::from_secs(60);

/// An established connection: the local and the remote address, as `/proc/net/tcp` has them (proc(5)).
struct Established {
    local: (Ipv4Addr, u16),
    remote: (Ipv4Addr, u16),
    inode: u64,
}

fn sockets(state: &str) -> Vec<Established> {
    let address = |text: &str| {
        let (ip, port) = text.split_once(':')?;
        let ip = u32::from_str_radix(ip, 16).ok()?;
        Some((Ipv4Addr::from(ip.to_le_bytes()), u16::from_str_radix(port, 16).ok()?))
    };
    let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let parsed = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let socket =
            Established { local: address(fields[1])?, remote: address(fields[2])?, inode: fields[9].parse().ok()? };
        (fields[3] == state).then_some(socket)
    });
    parsed.collect()
}

/// The sockets of servers that offer themselves without a network, and of connections to them.
fn unix_sockets() -> BTreeSet<u64> {
    let table = std::fs::read_to_string("/proc/net/unix").expect("/proc/net/unix");
    let named = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    named
        .filter(|f| f.get(7).is_some_and(|name| name.starts_with("@meridian/")))
        .map(|f| f[6].parse().unwrap())
        .collect()
}

fn inodes_of(pid: u32) -> BTreeSet<u64> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the descriptors of a server");
    let inode = |entry: std::io::Result<std::fs::DirEntry>| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    descriptors.filter_map(inode).collect()
}

fn sql(playground: &Playground, region: &str, statement: &str) -> Result<String, String> {
    let mut command = playground.command(&["client", region]);
    command.args(["--", "--connect-timeout=5", "-N", "-B", "-e", statement]);
    succeeded(&mut command)
}

fn measured(playground: &Playground) -> (Vec<Vec<Option<f64>>>, Vec<Vec<Option<f64>>>) {
    let answer: serde_json::Value =
        serde_json::from_str(&playground.ctl(&["display", "--latency", "--json"])).expect("distances");
    let matrix = |name: &str| {
        let rows = answer[name].as_array().expect("a matrix").iter();
        let row = |row: &serde_json::Value| {
            row.as_array().expect("a row").iter().map(|us| us.as_f64().map(|us| us / 1000.0)).collect()
        };
        rows.map(row).collect()
    };
    (matrix("asked_us"), matrix("measured_us"))
}

#[test]
fn wan_every_connection_comes_from_a_region_and_a_cut_link_heals() {
    let data = tempfile::tempdir().unwrap();
    let playground = Playground::start(data.path(), "far", &["--pd", "3", "--kv", "3", "--sql", "3", "--wan"]);

    // The servers are at work: schema, placement rules over HTTP, the DDL owner's etcd client, reads and writes.
    let policy = "CREATE DATABASE far; CREATE PLACEMENT POLICY p PRIMARY_REGION='eu-west-1' REGIONS='eu-west-1,us-east-1'; \
        CREATE TABLE far.t (id INT PRIMARY KEY, v INT) PLACEMENT POLICY p; INSERT INTO far.t VALUES (1, 10), (2, 20)";
    sql(&playground, "us-west-2", policy).unwrap();
    assert_eq!(sql(&playground, "eu-west-1", "SELECT SUM(v) FROM far.t").unwrap().trim(), "30");

    every_outgoing_connection_has_a_region(&playground);
    the_distances_are_those_that_were_asked_for(&playground);
    doors_are_as_far_away_as_their_region(&playground);
    a_cut_link_is_silent_until_it_heals(&playground);
    mistakes_are_refused_with_what_to_do(&playground, data.path());
    playground.stop();
}

fn every_outgoing_connection_has_a_region(playground: &Playground) {
    let nodes = playground.nodes();
    let mut regions: Vec<&str> = Vec::new();
    for node in &nodes {
        let region = node["region"].as_str().expect("a region");
        if !regions.contains(&region) {
            regions.push(region);
        }
    }
    let listening: BTreeSet<u16> = sockets("0A").iter().map(|socket| socket.local.1).collect();
    let established = sockets("01");
    let past_the_relay = unix_sockets();
    let mut outgoing: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &nodes {
        let name = node["name"].as_str().expect("a name");
        let number = regions.iter().position(|r| node["region"] == *r).expect("its region") as u8 + 1;
        let own = inodes_of(node["pid"].as_u64().expect("it runs") as u32);
        let calls = |s: &&Established| {
            own.contains(&s.inode) && listening.contains(&s.remote.1) && !listening.contains(&s.local.1)
        };
        for socket in established.iter().filter(calls) {
            let [a, b, region, _] = socket.local.0.octets();
            assert_eq!((a, b, region), (127, 0, number), "{name} calls {:?} from {:?}", socket.remote, socket.local);
            *outgoing.entry(name).or_default() += 1;
        }
        assert!(own.is_disjoint(&past_the_relay), "{name} has a unix socket, past the relay");
    }
    for node in &nodes {
        let name = node["name"].as_str().expect("a name");
        assert!(outgoing.contains_key(name), "{name} calls nobody: {outgoing:?}");
    }
}

fn the_distances_are_those_that_were_asked_for(playground: &Playground) {
    let expected = [[0.5, 65.0, 85.0], [65.0, 0.5, 140.0], [85.0, 140.0, 0.5]];
    let begin = Instant::now();
    // A busy machine may hold a measurement up, but not every time.
    loop {
        let (asked, measured) = measured(playground);
        let pairs = || (0..3).flat_map(|a| (0..3).map(move |b| (a, b)));
        for (a, b) in pairs() {
            assert_eq!(asked[a][b], Some(expected[a][b]));
        }
        let close = |(a, b): (usize, usize)| {
            let (asked, measured): (f64, Option<f64>) = (expected[a][b], measured[a][b]);
            measured.is_some_and(|ms| (ms - asked).abs() <= (asked * 0.05).max(1.0))
        };
        if pairs().all(close) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "asked {asked:?}, measured {measured:?}");
    }
}

fn doors_are_as_far_away_as_their_region(playground: &Playground) {
    let nodes = playground.nodes();
    let server = nodes.iter().find(|n| n["name"] == "sql-1").expect("sql-1");
    let doors = server["doors"].as_array().expect("doors");
    assert_eq!(doors.len(), 3, "{server}");
    let shown = playground.ctl(&["display"]);
    for door in doors {
        assert!(shown.contains(door["address"].as_str().expect("an address")), "{shown}");
    }
    let crossed = playground.ctl(&["traffic", "--json"]);
    let crossed: serde_json::Value = serde_json::from_str(&crossed).expect("traffic");
    let flows = crossed["flows"].as_array().expect("flows");
    let far = |f: &&serde_json::Value| f["tier"] == "kv" && f["from"] != f["to"];
    assert!(flows.iter().any(|f| far(&f) && f["bytes"].as_u64() > Some(1000)), "{crossed}");
}

fn a_cut_link_is_silent_until_it_heals(playground: &Playground) {
    playground.ctl(&["link", "us-east-1", "eu-west-1", "--cut"]);
    let (_, cut) = measured(playground);
    assert_eq!((cut[0][2], cut[2][0]), (None, None), "nothing passes");
    assert!(cut[0][1].is_some() && cut[1][2].is_some(), "other links are untouched: {cut:?}");
    playground.ctl(&["link", "us-west-2", "eu-west-1", "--rtt", "20ms"]);
    let (asked, _) = measured(playground);
    assert_eq!(asked[1][2], Some(20.0));
    playground.ctl(&["isolate", "kv-2"]);
    playground.ctl(&["pause", "pd-3"]);
    playground.ctl(&["heal"]);
    let (asked, healed) = measured(playground);
    assert_eq!((asked[0][2], asked[1][2]), (Some(85.0), Some(140.0)));
    assert!(healed.iter().flatten().all(Option::is_some), "{healed:?}");
    let begin = Instant::now();
    while sql(playground, "eu-west-1", "SELECT SUM(v) FROM far.t").map(|sum| sum.trim().to_owned())
        != Ok("30".to_owned())
    {
        assert!(begin.elapsed() < PATIENCE, "the cluster does not come back");
    }
}

fn mistakes_are_refused_with_what_to_do(playground: &Playground, data: &Path) {
    let refused = |args: &[&str]| succeeded(&mut playground.command(args)).expect_err("refused");
    for (args, hint) in [
        (&["link", "us-east-1", "mars", "--cut"][..], "us-east-1, us-west-2, eu-west-1"),
        (&["link", "us-east-1", "eu-west-1", "--rtt", "-5ms"], "--rtt"),
        (&["link", "us-east-1", "eu-west-1", "--rtt", "1h"], "--rtt"),
        (&["link", "us-east-1", "eu-west-1"], "--cut"),
        (&["isolate", "kv-9"], "kv-1"),
        (&["client", "mars"], "eu-west-1"),
        (&["disk", "kv-1", "--full"], "--faults"),
        (&["drill", "clock-jump"], "--faults"),
        (&["drill", "region-failure", "--region", "mars"], "eu-west-1"),
    ] {
        let error = refused(args);
        assert!(error.contains(hint), "{args:?}: {error}");
    }
    let up = |args: &[&str]| {
        succeeded(Command::new(binary()).args(["--tag", "never", "--data"]).arg(data).args(args)).expect_err("refused")
    };
    assert!(up(&["--wan", "--host", "127.0.0.2"]).contains("--host"));
    assert!(
        up(&["--wan", "--regions", "here,there"]).contains("between"),
        "an unknown region shows how to write a profile"
    );
    let profile = data.join("profile.yaml");
    std::fs::write(&profile, "links:\n  - between: [us-east-1, us-west-2]\n    rtt: 65ms\n").unwrap();
    let error = up(&["--wan", profile.to_str().unwrap()]);
    assert!(error.contains("eu-west-1"), "{error}");
    assert!(!data.join("never").exists(), "a cluster that never was leaves nothing behind");
}
