//! Garbage collection through all tiers: old versions go, what is still read stays, and what is dropped is emptied.

use std::time::Duration;

use engine::{Cf, Direction, Engine, KeyRange, Snapshot};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tests::cluster::{self, Cluster, PATIENCE};

const ROWS: u32 = 20;

/// How many entries of each family all nodes hold for a table: records and values.
fn entries(cluster: &Cluster, table: i64) -> (usize, usize) {
    let (start, end) = codec::table::table_range(codec::table::PhysicalTableId(table));
    let range = KeyRange::new(codec::bytes::encoded(&start), codec::bytes::encoded(&end));
    let count = |cf| {
        let of = |node: &storage_node::node::Node| {
            node.raft_store().shared().engine.snapshot().scan(cf, &range, Direction::Forward).count()
        };
        cluster.nodes().iter().map(of).sum()
    };
    (count(Cf::Write), count(Cf::Default))
}

async fn table_id(conn: &mut Conn, name: &str) -> i64 {
    let query = format!("SELECT tidb_table_id FROM information_schema.tables WHERE table_name = '{name}'");
    conn.query_first(query).await.unwrap().expect("a table")
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Changes every row, several times over.
async fn update(conn: &mut Conn, times: usize) {
    for _ in 0..times {
        conn.query_drop("UPDATE test.t SET v = v + 1, pad = REPEAT('x', 300)").await.unwrap();
    }
}

async fn setup(cluster: &Cluster) -> Conn {
    let mut conn = Conn::new(cluster.mysql(0)).await.unwrap();
    for set in ["tidb_gc_life_time = '10s'", "tidb_gc_run_interval = '10s'", "tidb_enable_auto_analyze = OFF"] {
        conn.query_drop(format!("SET GLOBAL {set}")).await.unwrap();
    }
    conn.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY, v INT, pad VARCHAR(400))").await.unwrap();
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0, 'x')")).collect();
    conn.query_drop(format!("INSERT INTO test.t VALUES {}", rows.join(","))).await.unwrap();
    conn
}

#[test]
fn old_versions_go_on_every_node_and_not_before_the_oldest_transaction_ends() {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 3).await;
        cluster.add_sql().await;
        cluster.add_sql().await;
        let mut conn = setup(&cluster).await;
        let table = table_id(&mut conn, "t").await;
        // On another server than the one that collects, as far as chance permits.
        let mut old = Conn::new(cluster.mysql(1)).await.unwrap();
        old.query_drop("BEGIN").await.unwrap();
        let sum = "SELECT CAST(SUM(v) AS SIGNED) FROM test.t";
        assert_eq!(old.query_first(sum).await.unwrap(), Some(0));
        update(&mut conn, 30).await;
        let safe_point =
            "SELECT variable_value FROM mysql.tidb WHERE variable_name = 'tikv_gc_safe_point' AND variable_value <> ''";
        until("a first run", async || conn.query_first::<String, _>(safe_point).await.unwrap().is_some()).await;
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(old.query_first(sum).await.unwrap(), Some(0), "it sees what it saw");
        assert!(entries(&cluster, table).0 > 30 * ROWS as usize, "{:?}", entries(&cluster, table));
        old.query_drop("COMMIT").await.unwrap();
        let replicas = 3;
        let few = ROWS as usize * replicas;
        until("versions go", async || entries(&cluster, table) == (few, few)).await;
        assert_eq!(conn.query_first(sum).await.unwrap(), Some(30 * ROWS));

        // What is dropped leaves nothing.
        conn.query_drop("DELETE FROM test.t WHERE id < 5").await.unwrap();
        conn.query_drop("DROP TABLE test.t").await.unwrap();
        until("a dropped table is emptied", async || entries(&cluster, table) == (0, 0)).await;
        cluster.stop().await;
    });
}

#[test]
fn a_transaction_that_is_too_old_is_told_so_and_holds_nothing_back() {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 1).await;
        cluster.add_sql().await;
        let mut conn = setup(&cluster).await;
        let table = table_id(&mut conn, "t").await;
        conn.query_drop("SET GLOBAL tidb_gc_max_wait_time = 10").await.unwrap();
        let mut readers = Vec::new();
        for begin in ["BEGIN", "BEGIN", "BEGIN OPTIMISTIC"] {
            let mut reader = Conn::new(cluster.mysql(0)).await.unwrap();
            reader.query_drop(begin).await.unwrap();
            reader.query_drop("SELECT v FROM test.t WHERE id = 3").await.unwrap();
            readers.push(reader);
        }
        // One holds a lock that others would wait for.
        readers[1].query_drop("UPDATE test.t SET v = -1 WHERE id = 7").await.unwrap();
        readers[2].query_drop("UPDATE test.t SET v = -1 WHERE id = 3").await.unwrap();
        for _ in 0..30 {
            conn.query_drop("UPDATE test.t SET v = v + 1 WHERE id <> 7").await.unwrap();
        }
        until("versions go", async || entries(&cluster, table).0 <= ROWS as usize).await;
        for (reader, next) in readers.iter_mut().zip(["SELECT * FROM test.t", "COMMIT", "COMMIT"]) {
            let refused = reader.query_drop(next).await.unwrap_err().to_string();
            assert!(refused.contains("9006") || refused.contains("GC life time"), "{next}: {refused}");
        }
        conn.query_drop("UPDATE test.t SET v = v + 1 WHERE id IN (3, 7)").await.unwrap();
        let values: Vec<i32> = conn.query("SELECT v FROM test.t WHERE id IN (3, 7) ORDER BY id").await.unwrap();
        assert_eq!(values, [31, 1]);
        cluster.stop().await;
    });
}
