//! A client's connection, its patience, and what its errors mean.
//!
//! What an error means depends on when it comes. Before COMMIT was sent, nothing has happened whatever the error, since
//! a server rolls back what its client leaves behind. In answer to a COMMIT, or to a write that commits itself, only the
//! few numbers of [`ROLLED_BACK`] say that nothing happened; everything else leaves the client in the dark.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Row};
use tokio::time::timeout;

use crate::cluster::Door;
use crate::history::Outcome;

/// How long a client waits for a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client waits for the answer to a statement. Far beyond what one takes over the longest distance, and short
/// enough for clients to look for another server within the 5 s that a region may be silent.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a statement waits for a lock, seconds: below [`STATEMENT_TIMEOUT`], so that the answer is a definite one.
const LOCK_WAIT_SECONDS: u32 = 2;

/// Errors at COMMIT after which nothing has happened: lock wait timeout, deadlock, duplicate key, NOWAIT, and TiDB's
/// write conflicts, schema change and size limits.
const ROLLED_BACK: [u16; 10] = [1205, 1213, 1062, 1406, 3572, 8002, 8004, 8025, 8028, 9007];
/// Errors by which a SQL server says that it cannot reach the rest of the cluster, or is about to go.
const UNREACHABLE: [u16; 6] = [1053, 9001, 9002, 9003, 9004, 9005];

/// Why an operation did not succeed.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// MySQL's number, or a word: `timeout`, `connection lost`, `no server`.
    pub(crate) code: String,
    /// Whether it may have happened nevertheless.
    pub(crate) unknown: bool,
    /// Whether the connection is of no use any more.
    pub(crate) gone: bool,
    /// Whether the server did not answer, or says that it cannot reach others.
    pub(crate) unreachable: bool,
    /// In the server's words.
    pub(crate) text: String,
}

impl Trouble {
    /// The outcome of an operation that ended so.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.unknown { Outcome::Unknown(self.code.clone()) } else { Outcome::Fail(self.code.clone()) }
    }

    /// Something of our own that is a definite failure.
    pub(crate) fn failed(code: &str) -> Trouble {
        Trouble { code: code.to_owned(), unknown: false, gone: false, unreachable: false, text: code.to_owned() }
    }

    fn of(error: &Error, commits: bool) -> Trouble {
        match error {
            Error::Server(e) => Trouble {
                code: e.code.to_string(),
                unknown: commits && !ROLLED_BACK.contains(&e.code),
                gone: e.code == 1053,
                unreachable: UNREACHABLE.contains(&e.code),
                text: format!("ERROR {}: {}", e.code, e.message),
            },
            _ => Trouble {
                code: "connection lost".to_owned(),
                unknown: commits,
                gone: true,
                unreachable: true,
                text: error.to_string(),
            },
        }
    }

    fn timeout(commits: bool) -> Trouble {
        let text = format!("no answer within {} s", STATEMENT_TIMEOUT.as_secs());
        Trouble { code: "timeout".to_owned(), unknown: commits, gone: true, unreachable: true, text }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

/// Opens a connection to a door.
pub(crate) async fn connect(door: &Door, database: Option<&str>) -> Result<Conn, Trouble> {
    let options = OptsBuilder::default()
        .ip_or_hostname(door.host.clone())
        .tcp_port(door.port)
        .user(Some("root"))
        .db_name(database)
        .prefer_socket(false)
        // Both would be asked for otherwise, a round trip each.
        .max_allowed_packet(Some(16 << 20))
        .wait_timeout(Some(28_800))
        .init(vec![format!("SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}")]);
    match timeout(CONNECT_TIMEOUT, Conn::new(options)).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(Trouble { gone: true, unreachable: true, ..Trouble::of(&error, false) }),
        Err(_) => Err(Trouble { code: "no server".to_owned(), ..Trouble::timeout(false) }),
    }
}

/// A statement that cannot commit anything: a read, or one inside of a transaction.
pub(crate) async fn statement(conn: &mut Conn, sql: &str) -> Result<Vec<Row>, Trouble> {
    match timeout(STATEMENT_TIMEOUT, conn.query(sql)).await {
        Ok(rows) => rows.map_err(|e| Trouble::of(&e, false)),
        Err(_) => Err(Trouble::timeout(false)),
    }
}

/// COMMIT, or a write that commits itself; returns the number of affected rows.
pub(crate) async fn committing(conn: &mut Conn, sql: &str) -> Result<u64, Trouble> {
    match timeout(STATEMENT_TIMEOUT, conn.query_drop(sql)).await {
        Ok(Ok(())) => Ok(conn.affected_rows()),
        Ok(Err(e)) => Err(Trouble::of(&e, true)),
        Err(_) => Err(Trouble::timeout(true)),
    }
}

/// A statement of the driver's own (tables, last reads), which may take long.
pub(crate) async fn patiently(conn: &mut Conn, sql: &str, patience: Duration) -> Result<Vec<Row>, Trouble> {
    match timeout(patience, conn.query(sql)).await {
        Ok(rows) => rows.map_err(|e| Trouble::of(&e, false)),
        Err(_) => Err(Trouble::timeout(false)),
    }
}

/// A column of a row: the server may answer a number as text.
pub(crate) fn column<T: mysql_async::prelude::FromValue>(row: &Row, index: usize) -> Result<T, Trouble> {
    let value = row.get_opt::<T, usize>(index).and_then(Result::ok);
    value.ok_or_else(|| Trouble::failed("unexpected answer"))
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    #[test]
    fn an_error_at_commit_is_definite_only_if_it_says_so() {
        let server = |code| Error::Server(ServerError { code, message: String::new(), state: "HY000".into() });
        assert_eq!(Trouble::of(&server(9007), true).outcome(), Outcome::Fail("9007".into()));
        for code in [8501, 9005, 9001, 8229, 1105, 1317, 1053] {
            assert_eq!(Trouble::of(&server(code), true).outcome(), Outcome::Unknown(code.to_string()));
            assert_eq!(Trouble::of(&server(code), false).outcome(), Outcome::Fail(code.to_string()));
        }
        assert!(Trouble::timeout(true).unknown && !Trouble::timeout(false).unknown);
    }
}
