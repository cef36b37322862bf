//! Servers whose cluster is not, or no longer, there: what the health page says, and that they can be stopped.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sql_server::listen::SqlServer;
use tests::cluster::{Cluster, PATIENCE};
use tests::playground::{binary, signal};

/// The health page's status code and body.
async fn health(sql: &SqlServer) -> (u16, serde_json::Value) {
    let url = format!("http://{}/health", sql.server().config().status_address());
    let answer = net::http::get(&url, Duration::from_secs(10)).await.expect("an answer");
    (answer.status.as_u16(), serde_json::from_slice(&answer.body).expect("JSON"))
}

/// Waits until the page's code is that, and returns its body.
async fn health_becomes(sql: &SqlServer, code: u16) -> serde_json::Value {
    let begin = Instant::now();
    loop {
        let (seen, body) = health(sql).await;
        if seen == code {
            return body;
        }
        assert!(begin.elapsed() < PATIENCE, "{seen} {body}, not {code}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sql_server_is_healthy_as_long_as_there_is_a_pd_and_says_what_is_missing() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    assert_eq!(health(cluster.sql(0)).await, (200, serde_json::json!({ "health": true })));
    cluster.stop_pd(0).await;
    let body = health_becomes(cluster.sql(0), 503).await;
    assert_eq!(body["health"], false);
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("PD")), "{body}");
    cluster.start_pd(0).await;
    assert_eq!(health_becomes(cluster.sql(0), 200).await["health"], true);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sql_server_that_waits_for_the_storage_stops_when_it_is_told() {
    let cluster = Cluster::start(1, 0).await;
    let graceful_wait = Duration::from_secs(30);
    let sql = cluster.start_sql(|config| config.graceful_wait = net::config::Span(graceful_wait)).await;
    // It registers with PD first, and then reads the schema from the storage.
    let etcd = etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap();
    let servers = etcd_client::GetOptions::new().with_prefix().with_count_only();
    let begin = Instant::now();
    while etcd.kv_client().get("/tidb/server/info/", Some(servers.clone())).await.unwrap().count() == 0 {
        assert!(begin.elapsed() < PATIENCE, "the server does not register");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (code, body) = health(&sql).await;
    assert_eq!(code, 503);
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("storage")), "{body}");
    let begin = Instant::now();
    sql.shutdown().await;
    assert!(begin.elapsed() < graceful_wait / 3, "stopping took {:?}", begin.elapsed());
    cluster.stop().await;
}

#[test]
fn a_storage_node_that_waits_for_its_placement_driver_stops_when_it_is_told() {
    let data = tempfile::tempdir().unwrap();
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Command::new(binary().with_file_name("storage-node"))
        .args(["--addr", "127.0.0.1:0", "--status-addr", "", "--pd-endpoints"])
        .arg(silent.local_addr().unwrap().to_string())
        .arg("--data-dir")
        .arg(data.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    silent.accept().unwrap();
    signal(node.id(), "TERM");
    let begin = Instant::now();
    let mut log = String::new();
    node.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(node.wait().unwrap().success(), "{log}");
    assert!(begin.elapsed() < Duration::from_secs(3), "stopping took {:?}:\n{log}", begin.elapsed());
}
