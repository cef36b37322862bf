//! Columns are converted while sessions of two servers write: no row is lost or mixed up, and every index fits.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tests::cluster::{self, Cluster};

/// Rows that writers share.
const ROWS: u64 = 60;
/// Errors that a writer may meet: the definition it was bound to has changed, another was faster, or what it writes does not
/// fit what the column is becoming.
const MAY_BE: [&str; 6] = ["8028", "9007", "8022", "1062", "1213", "1264"];

async fn run(connection: &mut Conn, sql: &str) {
    connection.query_drop(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// Changes rows until it is told to stop. Every value of `n` is the row's number plus a multiple of 1000, and `twin` says
/// the same, so a row that was converted wrongly shows.
async fn writer(opts: Opts, seed: u64, stop: Arc<AtomicBool>) -> u64 {
    let mut connection = Conn::new(opts).await.expect("a connection");
    let (mut state, mut done) = (seed, 0);
    while !stop.load(Ordering::Relaxed) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (id, turn) = ((state >> 33) % ROWS, (state >> 50) % 8);
        let n = id + 1000 * ((state >> 40) % 9);
        let sql = match state >> 61 {
            0 => format!("DELETE FROM test.moving WHERE id = {id}"),
            1 => format!("UPDATE test.moving SET note = 'x{turn}' WHERE id = {id}"),
            2 => format!("BEGIN; UPDATE test.moving SET n = {n}, twin = {n} WHERE id = {id}; COMMIT"),
            3 => format!("UPDATE test.moving SET n = n + 1000, twin = twin + 1000 WHERE id = {id} AND twin < 100000"),
            _ => format!("REPLACE INTO test.moving (id, n, u, twin) VALUES ({id}, {n}, {id}, {n})"),
        };
        for part in sql.split("; ") {
            match connection.query_drop(part).await {
                Ok(()) => done += 1,
                Err(e) => {
                    let text = e.to_string();
                    assert!(MAY_BE.iter().any(|code| text.contains(code)), "{part}: {text}");
                    let _ = connection.query_drop("ROLLBACK").await;
                    break;
                }
            }
        }
    }
    connection.disconnect().await.expect("a goodbye");
    done
}

async fn columns_are_converted_under_writes() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    cluster.add_sql().await;
    let mut connection = Conn::new(cluster.mysql(0)).await.expect("a connection");
    run(
        &mut connection,
        "CREATE TABLE test.moving (id INT PRIMARY KEY, n INT NOT NULL, u BIGINT, twin INT NOT NULL, note VARCHAR(20), \
         KEY k_n (n), UNIQUE KEY k_u (u), KEY k_both (note, n))",
    )
    .await;
    for id in 0..ROWS {
        run(&mut connection, &format!("INSERT INTO test.moving VALUES ({id}, {id}, {id}, {id}, NULL)")).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..4).map(|i| tokio::spawn(writer(cluster.mysql(i as usize % 2), 77 + i, Arc::clone(&stop)))).collect();
    for change in [
        "MODIFY n VARCHAR(20) NOT NULL",
        "MODIFY n BIGINT UNSIGNED NOT NULL FIRST, ADD COLUMN more INT DEFAULT 3, MODIFY u VARCHAR(30)",
        "CHANGE u u DECIMAL(20, 2), DROP COLUMN more, ADD KEY k_extra (n, u)",
        "MODIFY n DECIMAL(12) NOT NULL AFTER id, DROP KEY k_extra, MODIFY u BIGINT",
        "MODIFY n INT NOT NULL",
    ] {
        run(&mut connection, &format!("ALTER TABLE test.moving {change}")).await;
        run(&mut connection, "ADMIN CHECK TABLE test.moving").await;
        let wrong: Option<u64> = connection
            .query_first("SELECT COUNT(*) FROM test.moving WHERE n + 0 <> twin OR n % 1000 <> id OR u + 0 <> id")
            .await
            .expect("a count");
        assert_eq!(wrong, Some(0), "after {change}");
    }
    // One that some rows refuse leaves everything as it was.
    let refused = connection.query_drop("ALTER TABLE test.moving MODIFY n TINYINT NOT NULL, ADD COLUMN z INT").await;
    assert!(refused.as_ref().is_err_and(|e| e.to_string().contains("1264")), "{refused:?}");
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        let done = writer.await.expect("a writer");
        assert!(done > 20, "a writer did only {done} statements");
    }
    run(&mut connection, "ADMIN CHECK TABLE test.moving").await;
    let columns: Vec<String> = connection
        .query(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'moving' ORDER BY ordinal_position",
        )
        .await
        .expect("columns");
    assert_eq!(columns, ["id", "n", "u", "twin", "note"]);
    connection.disconnect().await.expect("a goodbye");
    cluster.stop().await;
}

#[test]
fn converted_columns_keep_up_with_writers_of_two_servers() {
    cluster::runtime().block_on(columns_are_converted_under_writes());
}
