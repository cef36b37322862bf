//! What PD has as placement rules is what the catalogue says, whoever wrote them last.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sql_server::listen::SqlServer;
use tests::cluster::{self, Cluster, PATIENCE};

async fn connect(server: &SqlServer) -> Conn {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(e) = server.server().schema() {
        assert!(tokio::time::Instant::now() < deadline, "the schema is not read: {e}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let address = server.address();
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some("root"))
        .prefer_socket(Some(false));
    Conn::new(options).await.unwrap()
}

#[test]
fn an_owner_that_takes_over_sets_placement_rules_right_that_another_left_wrong() {
    cluster::runtime().block_on(async {
        let cluster = Cluster::start(1, 1).await;
        let first = cluster.start_sql(|_| {}).await;
        let mut conn = connect(&first).await;
        conn.query_drop("CREATE PLACEMENT POLICY p FOLLOWERS = 1").await.unwrap();
        conn.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY) PLACEMENT POLICY = p").await.unwrap();
        let id = "SELECT tidb_table_id FROM information_schema.tables WHERE table_name = 't'";
        let id: i64 = conn.query_first(id).await.unwrap().expect("a table");
        let group = format!("http://{}/pd/api/v1/config/placement-rule/TiDB_DDL_{id}", cluster.endpoints()[0]);
        let rules = || async { net::http::get(&group, PATIENCE).await.unwrap().text() };
        let right = rules().await;
        assert!(right.contains("table_rule"), "{right}");
        // As an owner would whose request was held up while others went on.
        let deleted =
            net::http::request("DELETE".parse().unwrap(), &group, Default::default(), PATIENCE).await.unwrap();
        assert!(deleted.status.is_success());
        assert_ne!(rules().await, right);
        drop(conn);
        first.shutdown().await;
        let second = cluster.start_sql(|_| {}).await;
        connect(&second).await;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while rules().await != right {
            assert!(tokio::time::Instant::now() < deadline, "{}", rules().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        second.shutdown().await;
        cluster.stop().await;
    });
}
