//! What one session sees and ends of another's statements.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tests::cluster::Cluster;
use tokio::time::{Duration, sleep};

/// The operators that a plan names.
fn operators(plan: &[Row]) -> Vec<String> {
    plan.iter().map(|row| row.get::<String, _>(0).expect("an operator")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_for_connection_shows_the_plan_of_what_another_session_runs() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    let mut runs = Conn::new(cluster.mysql(0)).await.expect("a connection");
    let mut asks = Conn::new(cluster.mysql(0)).await.expect("a connection");
    runs.query_drop("CREATE DATABASE other").await.expect("a database");
    runs.query_drop("USE other").await.expect("it is there");
    runs.query_drop("CREATE TABLE t (id INT PRIMARY KEY, a INT)").await.expect("a table");
    runs.query_drop("INSERT INTO t VALUES (1, 1)").await.expect("a row");
    let id: u64 = runs.query_first("SELECT CONNECTION_ID()").await.expect("its id").expect("a row");
    let explain = format!("EXPLAIN FOR CONNECTION {id}");
    let idle: Vec<Row> = asks.query(&explain).await.expect("nothing to explain");
    assert!(idle.is_empty(), "{idle:?}");

    let query = "SELECT SLEEP(60) FROM t WHERE a = 1 ORDER BY id LIMIT 3";
    let expected: Vec<Row> = runs.query(format!("EXPLAIN {query}")).await.expect("a plan");
    let running = tokio::spawn(async move { (runs.query_drop(query).await.map_err(|e| e.to_string()), runs) });
    let runs_it =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id} AND info LIKE '%SLEEP%'");
    while asks.query_first::<u64, _>(&runs_it).await.expect("a list").expect("a row") == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    // The asking session has no database of its own.
    let seen: Vec<Row> = asks.query(&explain).await.expect("a plan");
    assert_eq!(operators(&seen), operators(&expected));
    assert!(!seen.is_empty());
    asks.query_drop(format!("KILL QUERY {id}")).await.expect("kill");
    let (_, runs) = running.await.expect("the session");

    let running = tokio::spawn(async move {
        let mut runs = runs;
        runs.query_drop("DO SLEEP(60)").await.map_err(|e| e.to_string())
    });
    while asks.query_first::<u64, _>(&runs_it).await.expect("a list").expect("a row") == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    let refused = asks.query_drop(&explain).await.expect_err("DO has no plan").to_string();
    assert!(refused.contains("3012"), "{refused}");
    asks.query_drop(format!("KILL QUERY {id}")).await.expect("kill");
    let _ = running.await.expect("the session");
    cluster.stop().await;
}
