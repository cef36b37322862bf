//! `GET_LOCK` across SQL servers: who waits gets the lock when it is given back, when its holder's connection ends, or not
//! at all when the wait is killed. What the functions answer without waiting is in `scripts/user_locks.test`.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tests::cluster::{self, Cluster};
use tokio::task::JoinHandle;
use tokio::time::{Duration, sleep};

async fn number(connection: &mut Conn, query: &str) -> Option<i64> {
    connection.query_first(query).await.unwrap_or_else(|e| panic!("{query}: {e}")).expect("a row")
}

/// A session that waits for the lock `m` without an end; it is waiting when this returns.
async fn waiter(cluster: &Cluster, observer: &mut Conn) -> (u64, JoinHandle<(Result<Option<i64>, String>, Conn)>) {
    let mut connection = Conn::new(cluster.mysql(1)).await.expect("a connection");
    let id: u64 = connection.query_first("SELECT CONNECTION_ID()").await.expect("its id").expect("a row");
    let waiting = tokio::spawn(async move {
        let got = connection.query_first("SELECT GET_LOCK('m', -1)").await;
        (got.map(|row| row.expect("a row")).map_err(|e| e.to_string()), connection)
    });
    let asked =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {id} AND info LIKE '%GET_LOCK%'");
    while number(observer, &asked).await != Some(1) {
        sleep(Duration::from_millis(5)).await;
    }
    (id, waiting)
}

async fn a_lock_goes_to_who_waits_for_it() {
    let mut cluster = Cluster::start(1, 1).await;
    cluster.add_sql().await;
    cluster.add_sql().await;
    let mut holder = Conn::new(cluster.mysql(0)).await.expect("a connection");
    let mut observer = Conn::new(cluster.mysql(1)).await.expect("a connection");
    let holder_id = number(&mut holder, "SELECT CONNECTION_ID()").await;
    assert_eq!(number(&mut holder, "SELECT GET_LOCK('m', 0)").await, Some(1));
    assert_eq!(number(&mut observer, "SELECT GET_LOCK('M', 0)").await, Some(0), "on another server as well");
    assert_eq!(number(&mut observer, "SELECT IS_USED_LOCK('m')").await, holder_id);

    // One whose wait is killed gets nothing.
    let (id, killed) = waiter(&cluster, &mut observer).await;
    observer.query_drop(format!("KILL QUERY {id}")).await.expect("kill");
    let (refused, killed) = killed.await.expect("the waiter");
    assert!(refused.as_ref().is_err_and(|e| e.contains("1317")), "{refused:?}");

    // Given back, it goes to the next.
    let (id, next) = waiter(&cluster, &mut observer).await;
    assert_eq!(number(&mut holder, "SELECT RELEASE_LOCK('m')").await, Some(1));
    let (got, next) = next.await.expect("the waiter");
    assert_eq!((got, number(&mut observer, "SELECT IS_USED_LOCK('m')").await), (Ok(Some(1)), Some(id as i64)));

    // So it does when its holder goes.
    let (id, last) = waiter(&cluster, &mut observer).await;
    next.disconnect().await.expect("a goodbye");
    let (got, mut last) = last.await.expect("the waiter");
    assert_eq!((got, number(&mut observer, "SELECT IS_USED_LOCK('m')").await), (Ok(Some(1)), Some(id as i64)));
    last.reset().await.expect("a reset");
    assert_eq!(number(&mut observer, "SELECT IS_FREE_LOCK('m')").await, Some(1), "a session that begins anew has none");
    for connection in [holder, observer, killed, last] {
        connection.disconnect().await.expect("a goodbye");
    }
    cluster.stop().await;
}

#[test]
fn a_user_level_lock_goes_to_who_waits_for_it_and_a_killed_wait_gets_nothing() {
    cluster::runtime().block_on(a_lock_goes_to_who_waits_for_it());
}
