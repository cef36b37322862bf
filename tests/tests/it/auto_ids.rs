//! `AUTO_ID_CACHE`: with 1 no server keeps values, so those of several servers rise together and without gaps.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tests::cluster::{self, Cluster};

async fn given(connection: &mut Conn, table: &str) -> u64 {
    connection.query_drop(format!("INSERT INTO test.{table} (v) VALUES (1)")).await.expect("a row");
    connection.last_insert_id().expect("an id")
}

async fn values_rise_over_two_servers() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    cluster.add_sql().await;
    let mut first = Conn::new(cluster.mysql(0)).await.expect("a connection");
    let mut second = Conn::new(cluster.mysql(1)).await.expect("a connection");
    for (table, option) in [("central", "AUTO_ID_CACHE = 1"), ("tens", "AUTO_ID_CACHE = 10")] {
        let create = format!("CREATE TABLE test.{table} (id INT AUTO_INCREMENT PRIMARY KEY, v INT) {option}");
        second.query_drop(create).await.expect("a table");
    }
    let mut central = Vec::new();
    for _ in 0..3 {
        central.push(given(&mut first, "central").await);
        central.push(given(&mut second, "central").await);
    }
    assert_eq!(central, [1, 2, 3, 4, 5, 6]);
    // A value given by hand moves all servers on.
    first.query_drop("INSERT INTO test.central VALUES (20, 1)").await.expect("a row");
    assert_eq!((given(&mut second, "central").await, given(&mut first, "central").await), (21, 22));
    let mut tens = Vec::new();
    for _ in 0..3 {
        tens.push(given(&mut first, "tens").await);
        tens.push(given(&mut second, "tens").await);
    }
    assert_eq!(tens, [1, 11, 2, 12, 3, 13], "each server has its own batch");
    let (_, text): (String, String) =
        second.query_first("SHOW CREATE TABLE test.central").await.expect("a definition").expect("a row");
    assert!(text.contains("/*T![auto_id_cache] AUTO_ID_CACHE=1 */"), "{text}");
    let refused = first.query_drop("ALTER TABLE test.central AUTO_ID_CACHE = 10").await;
    assert!(refused.is_err_and(|e| e.to_string().contains("8200")));
    first.query_drop("ALTER TABLE test.tens AUTO_ID_CACHE = 100").await.expect("another size");
    for connection in [first, second] {
        connection.disconnect().await.expect("a goodbye");
    }
    cluster.stop().await;
}

#[test]
fn auto_id_cache_says_how_many_values_a_server_keeps() {
    cluster::runtime().block_on(values_rise_over_two_servers());
}
