//! The clock and the disk of a server are wrong: real servers with the playground's library of faults in front of libc.
//! How the library behaves in itself is tested beside it, in `playground/src/faults`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tests::playground::Playground;

const TAG: &str = "faults";
const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: u64 = 3600;

/// What a server's calls have counted in its control file; the layout is at the top of `playground/faults/faults.c`.
#[derive(Debug)]
struct Counters {
    clock_calls: u64,
    writes: u64,
    syncs: u64,
    injected: u64,
    loads: u64,
}

fn counters(data: &Path, node: &str) -> Counters {
    let bytes = std::fs::read(data.join(TAG).join(node).join("faults")).expect("a control file");
    let at = |offset: usize| u64::from_ne_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"));
    Counters { clock_calls: at(256), writes: at(320), syncs: at(328), injected: at(336), loads: at(344) }
}

async fn connect(playground: &Playground) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(playground.port("sql-1"));
    Conn::new(options.user(Some("root")).prefer_socket(false)).await.expect("connect")
}

/// The time of day that a server's status port shows in the header of its answers, such as `10:20:25`.
fn time_of_day(data: &Path, node: &str) -> String {
    let cluster = std::fs::read_to_string(data.join(TAG).join("cluster.json")).expect("the cluster's layout");
    let cluster: serde_json::Value = serde_json::from_str(&cluster).expect("JSON");
    let nodes = cluster["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|n| n["name"] == node).expect("the node");
    let port = &node[if node["role"] == "pd" { "port" } else { "second_port" }];
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("connect to the status port");
    stream.write_all(b"GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("ask");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let date = answer.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
    date.split(' ').nth(4).expect("a time of day").to_owned()
}

/// Whether that, or its end, is the time of day in `ahead` seconds, give or take a few.
fn shows(time: &str, ahead: u64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + ahead;
    let time = time.rsplit(' ').next().unwrap_or_default();
    let parts: Vec<u64> = time.split(':').map(|part| part.parse().expect("a number")).collect();
    let apart = (now % 86_400).abs_diff(parts[0] * 3600 + parts[1] * 60 + parts[2]);
    apart.min(86_400 - apart) <= 5
}

async fn insert(connection: &mut Conn, id: u32) -> Result<Duration, mysql_async::Error> {
    let begin = Instant::now();
    connection.query_drop(format!("INSERT INTO shop.orders VALUES ({id})")).await?;
    Ok(begin.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_servers_clock_and_disk_calls_pass_through_the_library_of_faults() {
    let dir = tempfile::tempdir().expect("a directory");
    // As the playground has it: a control file is found by its place.
    let data = dir.path().canonicalize().expect("its path");
    let playground = Playground::start(&data, TAG, &["--pd", "1", "--kv", "1", "--sql", "1", "--faults"]);
    let mut connection = connect(&playground).await;
    connection.query_drop("CREATE DATABASE shop").await.expect("create a database");
    connection.query_drop("CREATE TABLE shop.orders (id INT PRIMARY KEY)").await.expect("create a table");

    // Every call: the clocks of all three, the disks of the two that have one.
    let nodes = ["pd-1", "kv-1", "sql-1"];
    let before = nodes.map(|node| counters(&data, node));
    for id in 0..20 {
        insert(&mut connection, id).await.expect("insert");
    }
    connection.query_drop("CREATE TABLE shop.items (id INT PRIMARY KEY)").await.expect("have PD write");
    // PD writes for itself as well, which may take until its next turn.
    let begin = Instant::now();
    while counters(&data, "pd-1").syncs == before[0].syncs {
        assert!(begin.elapsed() < PATIENCE, "PD has not written: {:?}", counters(&data, "pd-1"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = nodes.map(|node| counters(&data, node));
    for ((node, before), after) in nodes.iter().zip(&before).zip(&after) {
        assert!(after.clock_calls > before.clock_calls && after.loads == 1, "{node}: {before:?}, {after:?}");
        assert_eq!(after.injected, 0, "{node}");
        if *node == "sql-1" {
            assert_eq!((after.writes, after.syncs), (0, 0), "a SQL server has no data");
        } else {
            assert!(after.writes > before.writes && after.syncs > before.syncs, "{node}: {before:?}, {after:?}");
        }
    }
    assert!(after[1].syncs - before[1].syncs >= 20, "each insert is synced: {before:?}, {after:?}");

    // A clock jumps: each server shows another time, and only that one.
    for (node, others) in [("sql-1", vec!["kv-1", "pd-1"]), ("kv-1", vec!["pd-1"]), ("pd-1", vec![])] {
        playground.ctl(&["clock", node, "--jump", "1h"]);
        // The header is made once a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let time = time_of_day(&data, node);
        assert!(shows(&time, HOUR), "{node}: {time}");
        for other in others {
            let time = time_of_day(&data, other);
            assert!(shows(&time, 0), "{other}: {time}");
        }
    }
    let now: Option<String> = connection.query_first("SELECT NOW()").await.expect("now");
    assert!(now.as_ref().is_some_and(|now| shows(now, HOUR)), "{now:?}");
    insert(&mut connection, 100).await.expect("insert with all clocks wrong alike");
    playground.ctl(&["clock", "sql-1", "--reset"]);
    let now: Option<String> = connection.query_first("SELECT NOW()").await.expect("now");
    assert!(now.as_ref().is_some_and(|now| shows(now, 0)), "{now:?}");
    playground.ctl(&["heal"]);

    // A slow disk makes commits slow, and then is quick again.
    playground.ctl(&["disk", "kv-1", "--slow", "1s"]);
    let took = insert(&mut connection, 101).await.expect("insert on a slow disk");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    playground.ctl(&["disk", "kv-1", "--heal"]);
    assert!(counters(&data, "kv-1").injected > 0);
    insert(&mut connection, 102).await.expect("insert on a disk that is quick again");

    // A full disk ends the store, and so does one that fails, under which the log panics. Healing starts the store again,
    // which comes back with all that it has acknowledged.
    for (lives, fault, id) in [(2, "--full", 103), (3, "--fail", 104)] {
        playground.ctl(&["disk", "kv-1", fault]);
        let failing = tokio::spawn(async move { insert(&mut connection, id).await });
        let begin = Instant::now();
        while playground.nodes().iter().any(|n| n["name"] == "kv-1" && n["pid"].is_u64()) {
            let passed = begin.elapsed();
            assert!(passed < PATIENCE, "{fault}: the store goes on: {:?}", counters(&data, "kv-1"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        playground.ctl(&["disk", "kv-1", "--heal"]);
        // Whatever was answered: that row is there, or is not.
        let _ = failing.await.expect("the client");
        connection = connect(&playground).await;
        let count: Option<u32> =
            connection.query_first("SELECT COUNT(*) FROM shop.orders WHERE id < 103").await.expect("count");
        assert_eq!(count, Some(23), "{fault}");
        assert_eq!(counters(&data, "kv-1").loads, lives, "it was started again with the library");
    }
    connection.disconnect().await.expect("disconnect");
    playground.stop();
}
