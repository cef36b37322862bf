//! What a statement is told to have done: EXPLAIN ANALYZE, and round trips within and out of the server's region.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use tests::cluster::{self, Cluster, PATIENCE};

/// The rows of EXPLAIN ANALYZE as texts by column.
async fn analyze(conn: &mut Conn, sql: &str) -> Vec<Row> {
    conn.query(format!("EXPLAIN ANALYZE {sql}")).await.unwrap()
}

fn text(row: &Row, column: &str) -> String {
    row.get::<String, _>(column).unwrap_or_else(|| panic!("no column '{column}' in {row:?}"))
}

/// The operator whose name begins so.
fn operator<'r>(rows: &'r [Row], name: &str) -> &'r Row {
    let found = rows.iter().find(|row| text(row, "id").trim_start_matches(['└', '├', '─', '│', ' ']).starts_with(name));
    found.unwrap_or_else(|| panic!("no {name} in {:?}", rows.iter().map(|r| text(r, "id")).collect::<Vec<_>>()))
}

/// A number after a word of the execution info.
fn number(row: &Row, word: &str) -> u64 {
    let info = text(row, "execution info");
    let rest = info.split_once(word).unwrap_or_else(|| panic!("no '{word}' in '{info}'")).1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn what_operators_did_is_told_and_how_often_others_were_asked() {
    cluster::runtime().block_on(async {
        let cluster = Cluster::start_with(1, 1, |config| {
            config.labels.insert("region".into(), "r1".into());
        })
        .await;
        let near = cluster.start_sql(|config| config.labels = "region=r1".into()).await;
        let far = cluster.start_sql(|config| config.labels = "region=r2".into()).await;
        let mut conns = Vec::new();
        for sql in [&near, &far] {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while let Err(e) = sql.server().schema() {
                assert!(tokio::time::Instant::now() < deadline, "{e}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let address = sql.address();
            let options =
                OptsBuilder::default().ip_or_hostname(address.ip().to_string()).tcp_port(address.port()).user(Some("root"));
            conns.push(Conn::new(options).await.unwrap());
        }
        let conn = &mut conns[0];
        conn.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY, v INT, s VARCHAR(100))").await.unwrap();
        let rows = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900)";
        conn.query_drop(format!("INSERT INTO test.t {rows} SELECT i, i % 30, REPEAT('x', 90) FROM n")).await.unwrap();
        for (region, conn) in conns.iter_mut().enumerate() {
            let deadline = Instant::now() + PATIENCE;
            while conn.query_drop("SELECT 1 FROM test.t LIMIT 1").await.is_err() {
                assert!(Instant::now() < deadline, "the table is not known");
            }
            let found = analyze(conn, "SELECT v, COUNT(*) FROM test.t WHERE id > 300 GROUP BY v ORDER BY v LIMIT 7").await;
            assert_eq!(text(&found[0], "actRows"), "7", "the first operator gives the result");
            let groups = operator(&found, "HashAgg");
            assert_eq!(text(groups, "actRows"), "30");
            assert!(number(groups, "loops:") >= 1 && text(groups, "memory") != "N/A", "{groups:?}");
            assert_eq!(text(groups, "disk"), "0 Bytes");
            let scan = operator(&found, "TableRangeScan");
            assert_eq!((text(scan, "actRows"), text(scan, "task")), ("600".into(), "cop[tikv]".into()));
            assert!(number(operator(&found, "TableReader"), "cop_task:{num:") >= 1);
            let (pd, storage, away) =
                (number(&found[0], "pd:"), number(&found[0], "storage:"), number(&found[0], "other_region:"));
            assert!(pd >= 1 && storage >= 1, "{found:?}");
            // Where the PD member is nobody told it.
            assert_eq!(away, if region == 0 { 0 } else { storage }, "{found:?}");
        }

        // An operator that runs for each row around it gives all of its rows; what is written to disk is told.
        let conn = &mut conns[0];
        let found =
            analyze(conn, "SELECT id, (SELECT COUNT(*) FROM test.t u WHERE u.v = t.v AND u.id < t.id) FROM test.t WHERE id <= 3")
                .await;
        assert_eq!(text(&found[0], "actRows"), "3");
        conn.query_drop("SET tidb_mem_quota_query = 60000").await.unwrap();
        let found = analyze(conn, "SELECT s, id FROM test.t ORDER BY s, v DESC").await;
        let sort = operator(&found, "Sort");
        assert!(text(sort, "disk").ends_with("KB") && text(sort, "actRows") == "900", "{sort:?}");
        conn.query_drop("SET tidb_mem_quota_query = DEFAULT").await.unwrap();

        // A change is done, and its commit counts.
        let found = analyze(conn, "UPDATE test.t SET v = v + 1000 WHERE id <= 10").await;
        assert_eq!(text(&found[0], "id"), "Update_1");
        assert!(number(&found[0], "storage:") >= 2, "a read and a commit: {found:?}");
        let changed: Option<u64> = conn.query_first("SELECT COUNT(*) FROM test.t WHERE v >= 1000").await.unwrap();
        assert_eq!(changed, Some(10));

        // The same counts in the summary.
        let sums: Option<(u64, u64, u64)> = conns[1]
            .query_first(
                "SELECT exec_count, sum_storage_trips, sum_other_region_trips FROM information_schema.statements_summary \
                 WHERE digest_text LIKE 'explain analyze select v ,%'",
            )
            .await
            .unwrap();
        assert!(sums.is_some_and(|(count, storage, away)| count == 1 && storage >= 1 && away == storage), "{sums:?}");
        drop(conns);
        near.shutdown().await;
        far.shutdown().await;
        cluster.stop().await;
    });
}

/// A statement that nobody waits for any more ends, also where it never waits itself.
#[test]
fn the_statement_of_a_client_that_has_gone_ends() {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start(1, 1).await;
        cluster.add_sql().await;
        let mut watcher = Conn::new(cluster.mysql(0)).await.unwrap();
        let rows = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)";
        watcher.query_drop("CREATE TABLE test.t (id INT PRIMARY KEY)").await.unwrap();
        watcher.query_drop(format!("INSERT INTO test.t {rows} SELECT i FROM n")).await.unwrap();
        let mut client = Conn::new(cluster.mysql(0)).await.unwrap();
        let id = client.id();
        // Billions of pairs, of which none is kept.
        let never = "SELECT COUNT(*) FROM test.t a, test.t b, test.t c WHERE a.id + b.id + c.id < 0";
        let running = tokio::spawn(async move { client.query_drop(never).await });
        let runs = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id} AND command = 'Query'");
        let deadline = Instant::now() + PATIENCE;
        while watcher.query_first::<u64, _>(&runs).await.unwrap() != Some(1) {
            assert!(Instant::now() < deadline, "it never began");
        }
        // Its socket is closed without a word.
        running.abort();
        let _ = running.await;
        let gone = Instant::now();
        while watcher.query_first::<u64, _>(&runs).await.unwrap() != Some(0) {
            assert!(gone.elapsed() < Duration::from_secs(5), "it runs on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The time limit ends it as soon.
        let began = Instant::now();
        watcher.query_drop("SET max_execution_time = 200").await.unwrap();
        let refused = watcher.query_drop(never).await.unwrap_err().to_string();
        assert!(refused.contains("3024"), "{refused}");
        assert!(began.elapsed() < Duration::from_millis(200 + 1500), "{:?}", began.elapsed());
        drop(watcher);
        cluster.stop().await;
    });
}
