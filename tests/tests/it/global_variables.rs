//! `SET GLOBAL` with several SQL servers: one sets, all obey, and so do those that start later.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tests::cluster::{self, Cluster, PATIENCE};
use tokio::time::{Instant, sleep};

/// The values of `wait_timeout` for new sessions and of `super_read_only` on a connection's server.
async fn values(connection: &mut Conn) -> (u64, u64) {
    let row = connection.query_first("SELECT @@global.wait_timeout, @@super_read_only").await;
    row.expect("the variables").expect("a row")
}

async fn wait_for(connection: &mut Conn, expected: (u64, u64)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = values(connection).await;
        if seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{seen:?} instead of {expected:?}");
        sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn set_on_one_server_is_set_on_all() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    cluster.add_sql().await;
    let mut first = Conn::new(cluster.mysql(0)).await.expect("a connection");
    let mut second = Conn::new(cluster.mysql(1)).await.expect("a connection");
    second.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY)").await.expect("a table");
    assert_eq!(values(&mut second).await, (28800, 0));

    first.query_drop("SET GLOBAL wait_timeout = 1234, GLOBAL super_read_only = 1").await.expect("SET GLOBAL");
    assert_eq!(values(&mut first).await, (1234, 1), "where it was said it holds at once");
    wait_for(&mut second, (1234, 1)).await;
    let refused = second.query_drop("INSERT INTO test.t VALUES (1)").await;
    assert!(refused.is_err_and(|e| e.to_string().contains("1290")), "a session that is open obeys, too");

    cluster.add_sql().await;
    let mut third = Conn::new(cluster.mysql(2)).await.expect("a connection");
    assert_eq!(values(&mut third).await, (1234, 1), "a server that starts later knows");

    third.query_drop("SET GLOBAL wait_timeout = DEFAULT, GLOBAL super_read_only = DEFAULT").await.expect("SET GLOBAL");
    wait_for(&mut first, (28800, 0)).await;
    wait_for(&mut second, (28800, 0)).await;
    second.query_drop("INSERT INTO test.t VALUES (1)").await.expect("a row");
    for connection in [first, second, third] {
        connection.disconnect().await.expect("a goodbye");
    }
    cluster.stop().await;
}

#[test]
fn set_global_holds_for_every_server_and_for_those_to_come() {
    cluster::runtime().block_on(set_on_one_server_is_set_on_all());
}
