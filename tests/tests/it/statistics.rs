//! ANALYZE TABLE over several regions, and what other servers learn of it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use tests::cluster::{self, Cluster, PATIENCE};

/// A number in a column of the first row, once it is as wanted.
async fn eventually(conn: &mut Conn, show: &str, column: &str, wanted: u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let row: Option<Row> = conn.query_first(show).await.unwrap();
        let found: Option<u64> = row.as_ref().and_then(|row| row.get(column));
        if found == Some(wanted) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{show}: {column} is {found:?} and not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

const ROWS: &str = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900)";

#[test]
fn an_analysis_puts_regions_together_and_every_server_learns_of_it() {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 1).await;
        cluster.add_sql().await;
        cluster.add_sql().await;
        let mut one = Conn::new(cluster.mysql(0)).await.unwrap();
        let mut two = Conn::new(cluster.mysql(1)).await.unwrap();
        one.query_drop("SET GLOBAL tidb_enable_auto_analyze = OFF").await.unwrap();
        one.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY, v INT, KEY kv (v))").await.unwrap();
        // A value in three is 0 wherever it is; all others are in one region only.
        let fill = format!("INSERT INTO test.t {ROWS} SELECT i, IF(i % 3 = 0, 0, i) FROM n");
        one.query_drop(fill).await.unwrap();
        let regions: Option<(i64, f64)> =
            one.query_first("SPLIT TABLE test.t BY (200), (400), (600), (800)").await.unwrap();
        assert!(regions.is_some_and(|r| r.0 >= 4), "{regions:?}");
        let told: Vec<(String, String, String, String)> = one.query("ANALYZE TABLE test.t").await.unwrap();
        assert_eq!(told.into_iter().map(|t| t.3).collect::<Vec<_>>(), ["OK"]);

        for conn in [&mut one, &mut two] {
            eventually(conn, "SHOW STATS_META WHERE Table_name = 't'", "Row_count", 900).await;
            for of in ["Column_name = 'v'", "Column_name = 'kv'"] {
                let table = format!("WHERE Table_name = 't' AND {of}");
                eventually(conn, &format!("SHOW STATS_HISTOGRAMS {table}"), "Distinct_count", 601).await;
                eventually(conn, &format!("SHOW STATS_TOPN {table}"), "Count", 300).await;
            }
        }
        let status: Option<Row> = two.query_first("SHOW ANALYZE STATUS").await.unwrap();
        let status = status.expect("an analysis");
        assert_eq!(status.get::<String, _>("State").as_deref(), Some("finished"));
        assert_eq!(status.get::<u64, _>("Processed_rows"), Some(900));

        // What either server changes is counted once, and by both.
        two.query_drop("DELETE FROM test.t WHERE id <= 100").await.unwrap();
        one.query_drop("UPDATE test.t SET v = v + 1 WHERE id > 800").await.unwrap();
        for conn in [&mut one, &mut two] {
            eventually(conn, "SHOW STATS_META WHERE Table_name = 't'", "Row_count", 800).await;
            eventually(conn, "SHOW STATS_META WHERE Table_name = 't'", "Modify_count", 200).await;
        }
        cluster.stop().await;
    });
}

#[test]
fn a_table_that_has_grown_is_analyzed_by_itself() {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 1).await;
        cluster.add_sql().await;
        let mut conn = Conn::new(cluster.mysql(0)).await.unwrap();
        conn.query_drop("SET cte_max_recursion_depth = 10000").await.unwrap();
        conn.query_drop("CREATE TABLE test.small (id INT PRIMARY KEY)").await.unwrap();
        conn.query_drop("CREATE TABLE test.large (id INT PRIMARY KEY)").await.unwrap();
        conn.query_drop("INSERT INTO test.small VALUES (1), (2)").await.unwrap();
        let rows = ROWS.replace("900", "1500");
        conn.query_drop(format!("INSERT INTO test.large {rows} SELECT i FROM n")).await.unwrap();
        eventually(&mut conn, "SHOW STATS_HISTOGRAMS WHERE Table_name = 'large'", "Distinct_count", 1500).await;
        let status: Option<Row> = conn.query_first("SHOW ANALYZE STATUS").await.unwrap();
        let info: String = status.and_then(|row| row.get("Job_info")).unwrap_or_default();
        assert!(info.starts_with("auto analyze table"), "{info}");
        let small: Option<Row> = conn.query_first("SHOW STATS_HISTOGRAMS WHERE Table_name = 'small'").await.unwrap();
        assert!(small.is_none(), "two rows are not worth an analysis: {small:?}");
        cluster.stop().await;
    });
}
