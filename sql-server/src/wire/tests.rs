//! Whole connections over an in-memory stream, against a server that has no cluster.

use std::sync::Arc;
use std::time::Duration;

use net::config::Span;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::alive::Line;
use super::connection;
use super::handshake::capability;
use super::packet::{Framer, PacketWriter, Reader, put_bytes};
use crate::accounts::auth::{Plugin, Verifier};
use crate::cluster::{OpenConnection, Server};
use crate::config::Config;

struct Client {
    stream: DuplexStream,
    framer: Framer,
    task: JoinHandle<()>,
    server: Arc<Server>,
    stop: CancellationToken,
}

fn server() -> Arc<Server> {
    Arc::new(Server::new(Config { connect_timeout: Span::millis(300), ..Config::default() }))
}

impl Client {
    fn connect(server: &Arc<Server>) -> Client {
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let open: OpenConnection = server.connections().open(None, 0).unwrap();
        let stop = CancellationToken::new();
        let (shared, stopped) = (Arc::clone(server), stop.clone());
        let task = tokio::spawn(async move {
            connection::serve(shared, Arc::clone(&open.info), Box::new(theirs), Line::unwatched(), None, stopped).await;
        });
        Client { stream, framer: Framer::new(64 << 20), task, server: Arc::clone(server), stop }
    }

    async fn login(server: &Arc<Server>, user: &str, answer: &[u8], plugin: &str) -> (Client, Vec<u8>) {
        let mut client = Client::connect(server);
        client.read().await.unwrap();
        let mut packet = (capability::SERVER & !capability::CONNECT_WITH_DB).to_le_bytes().to_vec();
        packet.extend([0, 0, 0, 1, 46]);
        packet.extend([0; 23]);
        packet.extend(user.as_bytes());
        packet.push(0);
        put_bytes(&mut packet, answer);
        packet.extend(plugin.as_bytes());
        packet.push(0);
        client.send(&packet, 1).await;
        let answer = client.read().await.unwrap();
        (client, answer)
    }

    async fn root() -> Client {
        let (client, answer) = Client::login(&server(), "root", b"", "mysql_native_password").await;
        assert_eq!(answer[0], 0, "{answer:?}");
        client
    }

    async fn send(&mut self, payload: &[u8], sequence: u8) {
        let mut writer = PacketWriter::default();
        writer.set_sequence(sequence);
        writer.begin().extend_from_slice(payload);
        writer.end();
        // A server that closed early is what some tests look for.
        let _ = self.stream.write_all(writer.bytes()).await;
        self.framer.set_sequence(writer.sequence());
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(payload) = self.framer.next_payload().unwrap() {
                return Some(payload);
            }
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(self.framer.buffer()));
            if read.await.expect("an answer in time").unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    async fn command(&mut self, payload: &[u8]) -> Vec<u8> {
        self.send(payload, 0).await;
        self.read().await.unwrap()
    }

    async fn query(&mut self, sql: &str) -> Vec<u8> {
        self.command(&[b"\x03", sql.as_bytes()].concat()).await
    }

    /// Error number of an error packet.
    async fn errno(&mut self, sql: &str) -> u16 {
        let packet = self.query(sql).await;
        assert_eq!(packet[0], 0xFF, "{packet:?}");
        u16::from_le_bytes([packet[1], packet[2]])
    }

    /// All packets of a result set, up to its end.
    async fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let head = self.query(sql).await;
        let columns = Reader(&head).lenenc().unwrap();
        for _ in 0..columns {
            self.read().await.unwrap();
        }
        let mut rows = Vec::new();
        loop {
            let packet = self.read().await.unwrap();
            if packet[0] == 0xFE && packet.len() < 9 {
                return rows;
            }
            let mut reader = Reader(&packet);
            let mut row = Vec::new();
            while !reader.0.is_empty() {
                if reader.0[0] == 0xFB {
                    reader.u8().unwrap();
                    row.push("NULL".into());
                } else {
                    row.push(String::from_utf8_lossy(reader.bytes().unwrap()).into_owned());
                }
            }
            rows.push(row);
        }
    }
}

#[tokio::test]
async fn statements_without_a_cluster() {
    let mut client = Client::root().await;
    assert_eq!(client.rows("SELECT 1, 'a', NULL").await, [["1", "a", "NULL"]]);
    assert_eq!(client.rows("SELECT @@autocommit").await, [["1"]]);
    assert_eq!(client.rows("SHOW VARIABLES LIKE 'wait_timeout'").await, [["wait_timeout", "28800"]]);
    assert_eq!(client.errno("SELECT * FROM t").await, 9001);
    assert_eq!(client.errno("selct").await, 1064);
    assert_eq!(client.rows("SHOW COUNT(*) ERRORS").await, [["1"]]);
    assert_eq!(client.errno("").await, 1065);
    assert_eq!(client.errno("GRANT ALL ON *.* TO x").await, 1235);
    assert_eq!(client.errno("KILL 99").await, 1094);
    assert_eq!(client.errno("EXPLAIN FOR CONNECTION 99").await, 1094);
    // What the session knows by itself is shown as any other rows are.
    let own = "SHOW SESSION VARIABLES WHERE Variable_name IN ('wait_timeout', 'port') AND Value > 5000";
    assert_eq!(client.rows(own).await, [["wait_timeout", "28800"]]);
    assert_eq!(client.rows("SHOW PROCESSLIST").await.len(), 1);
    assert_eq!(client.errno("SHOW TABLES FROM t").await, 9001);
    assert_eq!(client.errno("LOAD DATA INFILE 'x' INTO TABLE t").await, 1290);
    assert_eq!(client.errno("LOAD DATA LOCAL INFILE 'x' INTO TABLE t").await, 3948);
}

#[tokio::test]
async fn commands() {
    let mut client = Client::root().await;
    assert_eq!(client.command(&[0x0e]).await[0], 0, "ping");
    assert!(client.command(&[0x09]).await.starts_with(b"Uptime"), "statistics");
    let unknown = client.command(&[0x77]).await;
    assert_eq!(unknown[..3], [0xFF, 0x17, 0x04], "1047");
    assert_eq!(client.command(&[0x1f]).await[0], 0, "reset connection");
    client.send(&[0x01], 0).await;
    assert!(client.read().await.is_none());
    client.task.await.unwrap();
    assert_eq!(client.server.connections().count(), 0);
}

#[tokio::test]
async fn prepared_statements() {
    let mut client = Client::root().await;
    let prepared = client.command(b"\x16SELECT 7, 'x'").await;
    assert_eq!(prepared[0], 0);
    let id = prepared[1..5].to_vec();
    client.read().await.unwrap();
    client.read().await.unwrap();
    let execute = [&[0x17], &id[..], &[0, 1, 0, 0, 0]].concat();
    assert_eq!(client.command(&execute).await, [2]);
    client.read().await.unwrap();
    client.read().await.unwrap();
    assert_eq!(client.read().await.unwrap(), [0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, b'x']);
    client.read().await.unwrap();
    // Closing has no answer; running it afterwards does.
    client.send(&[&[0x19], &id[..]].concat(), 0).await;
    let gone = client.command(&execute).await;
    assert_eq!(gone[..3], [0xFF, 0xDB, 0x04], "1243");
}

#[tokio::test]
async fn several_statements_give_several_results() {
    let mut client = Client::root().await;
    let first = client.query("SET @a = 1; SELEC; SET @b = 1").await;
    assert_eq!(first[0], 0);
    assert_eq!(client.read().await.unwrap()[..3], [0xFF, 0x28, 0x04], "1064");
    assert_eq!(client.rows("SELECT @a, @b").await, [["1", "NULL"]]);
    // Without leave, none of them runs.
    assert_eq!(client.command(&[0x1b, 1, 0]).await[0], 0xFE);
    assert_eq!(client.errno("SET @c = 1; SET @d = 1").await, 1064);
    assert_eq!(client.rows("SELECT @c").await, [["NULL"]]);
}

#[tokio::test]
async fn too_large_a_packet_is_told_and_ends_the_connection() {
    let server =
        Arc::new(Server::new(Config { max_allowed_packet: net::config::ByteSize::kib(64), ..Config::default() }));
    let (mut client, _) = Client::login(&server, "root", b"", "mysql_native_password").await;
    client.send(&vec![3u8; 1 << 20], 0).await;
    let answer = client.read().await.unwrap();
    assert_eq!(answer[..3], [0xFF, 0x81, 0x04], "1153");
    assert!(client.read().await.is_none());
}

#[tokio::test]
async fn a_client_that_stops_in_its_login_is_dropped() {
    let mut client = Client::connect(&server());
    client.read().await.unwrap();
    client.stream.write_all(&[0x50, 0, 0, 1, 7]).await.unwrap();
    assert!(client.read().await.is_none());
    client.task.await.unwrap();
}

#[tokio::test]
async fn passwords_and_plugins() {
    let server = server();
    server.accounts().set("native", Verifier::of_password(Plugin::Native, b"pw"));
    server.accounts().set("sha2", Verifier::of_password(Plugin::CachingSha2, b"pw"));
    // Nobody of that name, and a wrong password.
    for (user, answer) in [("nobody", &b""[..]), ("root", &[1; 20]), ("native", b"")] {
        let (_, answer) = Client::login(&server, user, answer, "mysql_native_password").await;
        assert_eq!(answer[..3], [0xFF, 0x15, 0x04], "1045 for {user}");
    }
    // The wrong plugin is switched.
    let (mut client, switch) = Client::login(&server, "sha2", &[1; 20], "mysql_native_password").await;
    assert_eq!(switch[0], 0xFE);
    let mut reader = Reader(&switch[1..]);
    assert_eq!(reader.until_zero(), b"caching_sha2_password");
    let nonce = reader.until_zero().to_vec();
    let answer = mysql_common::scramble::scramble_sha256(&nonce, b"pw").unwrap();
    client.send(&answer, 3).await;
    assert_eq!(client.read().await.unwrap(), [1, 3]);
    assert_eq!(client.read().await.unwrap()[0], 0);
    assert_eq!(client.rows("SELECT CURRENT_USER()").await, [["sha2@%"]]);
}

#[tokio::test]
async fn kill_and_shutdown_close_idle_connections() {
    let server = server();
    let (mut a, _) = Client::login(&server, "root", b"", "mysql_native_password").await;
    let (mut b, _) = Client::login(&server, "root", b"", "mysql_native_password").await;
    let id = b.rows("SELECT CONNECTION_ID()").await[0][0].clone();
    assert_eq!(a.query(&format!("KILL {id}")).await[0], 0);
    assert!(b.read().await.is_none());
    b.task.await.unwrap();
    a.stop.cancel();
    let told = a.read().await.unwrap();
    assert_eq!(told[..3], [0xFF, 0x1D, 0x04], "1053");
    a.task.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_at_login_and_after_end_without_harm(
        login in proptest::collection::vec(any::<u8>(), 0..200),
        commands in proptest::collection::vec((0u8..0x20, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect(&server());
            client.read().await;
            client.stream.write_all(&login).await.unwrap();
            client.stream.shutdown().await.unwrap();
            let mut sink = Vec::new();
            let _ = client.stream.read_to_end(&mut sink).await;
            client.task.await.expect("no panic at login");

            let mut client = Client::root().await;
            for (command, body) in commands {
                client.send(&[&[command][..], &body].concat(), 0).await;
            }
            client.stream.shutdown().await.unwrap();
            let mut sink = Vec::new();
            let _ = client.stream.read_to_end(&mut sink).await;
            client.task.await.expect("no panic in a command");
        });
    }
}
