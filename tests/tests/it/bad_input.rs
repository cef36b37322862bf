//! What clients do wrong, and what breaks under a SQL server: every mistake is answered with MySQL's number, concerns
//! nobody else, and leaves nothing behind.
//!
//! Statements go through a real client; bytes that no client would send go over a socket of their own ([`Raw`]).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tests::cluster::{self, Cluster, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A packet of this length is continued by the next.
const FRAME_BYTES_MAX: usize = 0xFF_FFFF;
const COM_QUERY: u8 = 0x03;

/// Runs a test on a cluster of one PD member, one storage node in region `r1` and one SQL server, with an empty table
/// `bad.t`, and demands that the server still serves after it.
fn on_cluster(test: impl AsyncFnOnce(&mut Cluster)) {
    cluster::runtime().block_on(async {
        let mut cluster = Cluster::start_with(1, 1, |config| {
            config.labels.insert("region".into(), "r1".into());
        })
        .await;
        cluster.add_sql().await;
        let mut client = connect(&cluster).await;
        client.query_drop("CREATE DATABASE bad").await.unwrap();
        client.query_drop("CREATE TABLE bad.t (id INT PRIMARY KEY, small TINYINT)").await.unwrap();
        client.disconnect().await.unwrap();
        wait_for_connections(&cluster, 0).await;
        test(&mut cluster).await;
        let mut client = connect(&cluster).await;
        client.query_drop("REPLACE INTO bad.t VALUES (100, 7)").await.expect("the server still takes writes");
        let small: Option<i8> = client.query_first("SELECT small FROM bad.t WHERE id = 100").await.unwrap();
        assert_eq!(small, Some(7));
        client.disconnect().await.unwrap();
        cluster.stop().await;
    });
}

async fn connect(cluster: &Cluster) -> Conn {
    Conn::new(cluster.mysql(0)).await.expect("a connection")
}

/// Waits until the server has so many connections: what a closed one did is then over, rollback included.
async fn wait_for_connections(cluster: &Cluster, count: usize) {
    let connections = cluster.sql(0).server().connections();
    let begin = Instant::now();
    while connections.count() != count {
        assert!(begin.elapsed() < PATIENCE, "{} connections, not {count}", connections.count());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The number and SQLSTATE that a statement is refused with.
async fn refusal(client: &mut Conn, sql: &str) -> (u16, String) {
    match client.query_drop(sql).await {
        Err(Error::Server(e)) => (e.code, e.state),
        other => panic!("{sql}: {other:?} instead of an error"),
    }
}

async fn count(client: &mut Conn) -> u64 {
    client.query_first("SELECT COUNT(*) FROM bad.t").await.unwrap().unwrap()
}

/// A client made of bytes.
struct Raw(TcpStream);

impl Raw {
    /// Connects and reads the greeting.
    async fn greeted(cluster: &Cluster) -> Raw {
        let address: SocketAddr = cluster.sql(0).address();
        let mut raw = Raw(TcpStream::connect(address).await.unwrap());
        let (sequence, greeting) = raw.read().await.expect("a greeting");
        assert_eq!((sequence, greeting[0]), (0, 10), "protocol version 10 in packet 0");
        raw
    }

    /// Logs in as root, in the plainest way that the protocol has.
    async fn logged_in(cluster: &Cluster) -> Raw {
        const PROTOCOL_41: u32 = 0x200;
        const SECURE_CONNECTION: u32 = 0x8000;
        const PLUGIN_AUTH: u32 = 0x8_0000;
        let mut raw = Raw::greeted(cluster).await;
        let mut login = (PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH).to_le_bytes().to_vec();
        login.extend([0, 0, 0, 1, 45]); // largest packet, collation
        login.extend([0; 23]);
        login.extend(b"root\0\0mysql_native_password\0");
        raw.send(1, &login).await;
        let (_, answer) = raw.read().await.expect("an answer to the login");
        assert_eq!(answer[0], 0, "OK: {answer:?}");
        raw
    }

    /// Sends one frame.
    async fn send(&mut self, sequence: u8, payload: &[u8]) {
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        self.0.write_all(&[a, b, c, sequence]).await.unwrap();
        self.0.write_all(payload).await.unwrap();
    }

    /// Sends a statement whose packet is said to be `missing` bytes longer than what is sent of it.
    async fn send_cut_statement(&mut self, sql: &str, missing: u32) {
        let [a, b, c, _] = (sql.len() as u32 + 1 + missing).to_le_bytes();
        self.0.write_all(&[a, b, c, 0, COM_QUERY]).await.unwrap();
        self.0.write_all(sql.as_bytes()).await.unwrap();
    }

    async fn query(&mut self, sql: &str) -> Vec<u8> {
        self.send(0, &[&[COM_QUERY], sql.as_bytes()].concat()).await;
        self.read().await.unwrap_or_else(|| panic!("{sql}: the connection was closed")).1
    }

    /// The next packet's sequence number and payload; `None` once the server has closed the connection.
    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let packet = async {
            let mut header = [0; 4];
            self.0.read_exact(&mut header).await.ok()?;
            let mut payload = vec![0; u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((header[3], payload))
        };
        tokio::time::timeout(PATIENCE, packet).await.expect("an answer, or the connection's end")
    }

    /// Demands an error in packet `sequence`, and then the connection's end.
    async fn expect_error_and_end(mut self, sequence: u8, code: u16, state: &str) {
        let (seen, payload) = self.read().await.expect("an error packet");
        assert_eq!(payload[0], 0xFF, "an error packet: {payload:?}");
        let text = String::from_utf8_lossy(&payload[3..]).into_owned();
        assert_eq!((u16::from_le_bytes([payload[1], payload[2]]), seen), (code, sequence), "{text}");
        assert!(text.starts_with(&format!("#{state}")), "{text}");
        assert_eq!(self.read().await, None, "the connection ends after {code}");
    }
}

#[test]
fn wrong_statements_get_mysqls_numbers_and_the_connection_goes_on() {
    on_cluster(async |cluster| {
        let mut client = connect(cluster).await;
        client.query_drop("INSERT INTO bad.t VALUES (1, 1)").await.unwrap();
        client.query_drop("CREATE PLACEMENT POLICY far PRIMARY_REGION='mars' REGIONS='mars'").await.unwrap();
        let definition = "SHOW CREATE TABLE bad.t";
        let before: Option<(String, String)> = client.query_first(definition).await.unwrap();
        for (sql, code, state) in [
            ("SELEC 1", 1064, "42000"),
            ("SELECT * FROM bad.t WHERE (id = 1", 1064, "42000"),
            ("SELECT * FROM bad.missing", 1146, "42S02"),
            ("INSERT INTO bad.t VALUES (2, 2), (1, 9)", 1062, "23000"),
            ("INSERT INTO bad.t VALUES (3, 128)", 1264, "22003"),
            ("UPDATE bad.t SET small = -129", 1264, "22003"),
            // No storage node is in that region, which PD finds when the policy is to be used.
            ("ALTER TABLE bad.t PLACEMENT POLICY far", 8243, "HY000"),
        ] {
            assert_eq!(refusal(&mut client, sql).await, (code, state.to_owned()), "{sql}");
            let small: Vec<(i32, i8)> = client.query("SELECT id, small FROM bad.t").await.unwrap();
            assert_eq!(small, [(1, 1)], "{sql} left something behind");
            let after: Option<(String, String)> = client.query_first(definition).await.unwrap();
            assert_eq!(after, before, "{sql} changed the table");
        }
        client.disconnect().await.unwrap();
    });
}

#[test]
fn broken_packets_end_their_own_connection_and_nothing_of_them_is_executed() {
    on_cluster(async |cluster| {
        let mut witness = connect(cluster).await;

        // Half a packet whose beginning is a whole statement: others are served meanwhile, and nothing runs at its end.
        let mut half = Raw::logged_in(cluster).await;
        half.send_cut_statement("INSERT INTO bad.t VALUES (1, 1)", 10).await;
        let mut header_only = Raw::logged_in(cluster).await;
        header_only.0.write_all(&[40, 0]).await.unwrap();
        let silent = Raw::greeted(cluster).await;
        assert_eq!(count(&mut witness).await, 0);
        drop((half, header_only, silent));
        wait_for_connections(cluster, 1).await;
        assert_eq!(count(&mut witness).await, 0, "half a packet was executed");

        // More than max_allowed_packet (64 MiB), in five full frames and the last one: refused after its end.
        let mut large = Raw::logged_in(cluster).await;
        let mut frame = vec![b' '; FRAME_BYTES_MAX];
        frame[..8].copy_from_slice(b"\x03SELECT ");
        for sequence in 0..5 {
            large.send(sequence, &frame).await;
        }
        large.send(5, b"1").await;
        large.expect_error_and_end(6, 1153, "08S01").await;

        // Packet 7 where packet 0 was due: the answer follows what the client sent, so that it takes it.
        let mut disordered = Raw::logged_in(cluster).await;
        disordered.send(7, b"\x03INSERT INTO bad.t VALUES (2, 2)").await;
        disordered.expect_error_and_end(8, 1156, "08S01").await;

        // Logins that are none: no protocol 4.1, cut in the middle, and another protocol altogether.
        let mut garbage = Raw::greeted(cluster).await;
        garbage.send(1, &[0x00, 0x01, 0xFF, 0x80, 0x7F, 0x55, 0xAA, 0x13, 0x37]).await;
        garbage.expect_error_and_end(2, 1043, "08S01").await;
        let mut short = Raw::greeted(cluster).await;
        short.send(1, &0x200u32.to_le_bytes()).await;
        short.expect_error_and_end(2, 1043, "08S01").await;
        let mut http = Raw::greeted(cluster).await;
        http.0.write_all(b"GET / HTTP/1.1\r\nHost: sql\r\n\r\n").await.unwrap();
        http.0.shutdown().await.unwrap();
        while http.read().await.is_some() {}

        wait_for_connections(cluster, 1).await;
        assert_eq!(count(&mut witness).await, 0, "a broken packet was executed");
        witness.disconnect().await.unwrap();
    });
}

#[test]
fn a_client_that_vanishes_in_a_transaction_leaves_no_lock_and_no_row() {
    on_cluster(async |cluster| {
        let mut other = connect(cluster).await;
        other.query_drop("INSERT INTO bad.t VALUES (1, 1)").await.unwrap();
        let mut vanishing = Raw::logged_in(cluster).await;
        for sql in ["BEGIN", "UPDATE bad.t SET small = 2 WHERE id = 1", "INSERT INTO bad.t VALUES (2, 2)"] {
            assert_eq!(vanishing.query(sql).await[0], 0, "{sql}");
        }
        other.query_drop("BEGIN").await.unwrap();
        let lock = "SELECT small FROM bad.t WHERE id = 1 FOR UPDATE NOWAIT";
        assert_eq!(refusal(&mut other, lock).await.0, 3572, "the row is locked while the client is there");
        drop(vanishing);
        wait_for_connections(cluster, 1).await;
        let small: Option<i8> = other.query_first(lock).await.expect("the lock is released with the connection");
        assert_eq!(small, Some(1));
        other.query_drop("COMMIT").await.unwrap();
        assert_eq!(count(&mut other).await, 1);
        other.disconnect().await.unwrap();
    });
}

#[test]
fn without_pd_a_statement_fails_with_9001_in_time_and_works_again_once_pd_is_back() {
    on_cluster(async |cluster| {
        let mut client = connect(cluster).await;
        cluster.stop_pd(0).await;
        let begin = Instant::now();
        let (code, _) = refusal(&mut client, "INSERT INTO bad.t VALUES (1, 1)").await;
        assert_eq!(code, 9001, "PD server timeout");
        // The PD client gives up after 15 s, the statement's own limit is 20 s.
        assert!(begin.elapsed() < Duration::from_secs(30), "the refusal took {:?}", begin.elapsed());
        let one: Option<u8> = client.query_first("SELECT 1").await.unwrap();
        assert_eq!(one, Some(1), "what needs no cluster is answered on the same connection");
        cluster.start_pd(0).await;
        let begin = Instant::now();
        while let Err(e) = client.query_drop("REPLACE INTO bad.t VALUES (1, 1)").await {
            assert!(begin.elapsed() < PATIENCE, "PD is back, and still: {e}");
        }
        assert_eq!(count(&mut client).await, 1);
        client.disconnect().await.unwrap();
    });
}
