//! One client's connection: log in, then one command after another.
//!
//! ```text
//! accept ─▶ greeting ─▶ (TLS) ─▶ login ─▶ ┌ read a packet ─▶ command ─▶ session ─▶ response, one write ┐ ─▶ close
//!                                         └───────────────────────────────────────────────────────────┘
//! ```
//!
//! A client that stops in the middle of a packet or of its login is dropped after a time; a packet over the limit and
//! packets out of order are told and end the connection, because what follows can't be understood. A response is
//! gathered and written at once; a large one is written in pieces as it comes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::types::TypeCode;
use futures::StreamExt;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome, ResultSet, Rows};
use sql_context::Identity;
use sql_context::vars::SERVER_VERSION;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::alive::Line;
use super::charset::{self, Sent, received};
use super::handshake::{self, ChangeUser, HandshakeResponse, capability};
use super::packet::{Framer, PacketWriter, Reader};
use super::response::{self, Tail, status};
use super::tls::{self, TlsAcceptor};
use super::value::read_param;
use crate::accounts::auth::{self, Plugin, Verifier};
use crate::cluster::{ConnectionInfo, Server};
use crate::session::{LocalFiles, ParamType, Session, Source};

/// A response is written out once it has this many bytes, so that a large result doesn't fill the memory.
const FLUSH_BYTES: usize = 64 << 10;

/// Bytes of a packet that is too large that are read over, so that the client sees why it is refused: the protocol's
/// largest packet.
const SKIP_BYTES_MAX: usize = 1 << 30;

/// How long that may take.
const SKIP_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a packet before the login: no honest client needs more.
const LOGIN_BYTES_MAX: usize = 1 << 20;

/// A byte stream to a client.
pub trait ClientStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ClientStream for T {}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    /// The client said goodbye, went away, or was told why.
    Closed,
    /// The socket failed.
    Io(std::io::Error),
}

impl From<std::io::Error> for End {
    fn from(e: std::io::Error) -> Self {
        End::Io(e)
    }
}

type Step<T = ()> = Result<T, End>;

/// A connection.
pub struct Connection {
    server: Arc<Server>,
    info: Arc<ConnectionInfo>,
    stream: Box<dyn ClientStream>,
    line: Arc<Line>,
    framer: Framer,
    writer: PacketWriter,
    capabilities: u32,
    nonce: [u8; auth::NONCE_BYTES],
    /// `COM_SET_OPTION` may switch it.
    multi_statements: bool,
    /// Bytes of a packet have arrived.
    framer_began: bool,
    /// Between two reads of one packet.
    net_read_timeout: Duration,
    /// For one write.
    net_write_timeout: Duration,
}

/// Serves a client until it ends.
pub async fn serve(
    server: Arc<Server>,
    info: Arc<ConnectionInfo>,
    stream: Box<dyn ClientStream>,
    line: Line,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let id = info.id;
    let peer = info.peer.clone();
    let mut connection = Connection {
        server,
        info,
        stream,
        line: Arc::new(line),
        framer: Framer::new(LOGIN_BYTES_MAX),
        writer: PacketWriter::default(),
        capabilities: 0,
        nonce: auth::nonce(),
        multi_statements: false,
        framer_began: false,
        net_read_timeout: Duration::from_secs(30),
        net_write_timeout: Duration::from_secs(60),
    };
    match connection.run(tls, stop).await {
        Ok(()) | Err(End::Closed) => tracing::debug!(conn = id, peer, "connection closed"),
        Err(End::Io(e)) => tracing::debug!(conn = id, peer, "connection lost: {e}"),
    }
}

/// Tells a client that it can't be served, before any greeting.
pub async fn refuse(mut stream: Box<dyn ClientStream>, error: &SqlError) {
    let mut writer = PacketWriter::default();
    // Before the capabilities are known an error has no SQLSTATE mark in old protocols; 4.1 clients accept both.
    response::put_error(&mut writer, error, None);
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.write_all(writer.bytes())).await;
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.shutdown()).await;
}

impl Connection {
    async fn run(&mut self, tls: Option<TlsAcceptor>, stop: CancellationToken) -> Step {
        let connect_timeout = self.server.config().connect_timeout.0;
        let login = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            login = tokio::time::timeout(connect_timeout, self.login(tls)) => login,
        };
        let Ok(session) = login else {
            tracing::debug!(conn = self.info.id, "login took too long");
            return Err(End::Closed);
        };
        let mut session = session?;
        let result = self.commands(&mut session, stop).await;
        session.close().await;
        result
    }

    // ---- Bytes ----

    /// The next payload; `None` when the client closed the connection between packets.
    async fn read_packet(&mut self) -> Step<Option<Vec<u8>>> {
        loop {
            match self.framer.next_payload() {
                Ok(Some(payload)) => {
                    self.framer_began = !self.framer.is_empty();
                    self.writer.set_sequence(self.framer.next_sequence());
                    return Ok(Some(payload));
                }
                Ok(None) => {}
                Err(e) => {
                    // The client reads the answer once it has sent everything, and numbers it from there.
                    if matches!(e, SqlError::PacketTooLarge) {
                        let _ = tokio::time::timeout(SKIP_TIMEOUT, self.skip_packet()).await;
                    }
                    self.writer.set_sequence(self.framer.next_sequence());
                    self.send_error(&e).await?;
                    self.drain().await;
                    return Err(End::Closed);
                }
            }
            // A packet that was begun must go on coming; between packets the caller decides how long to wait.
            let read = self.stream.read_buf(self.framer.buffer());
            let read = match self.framer_began {
                true => match tokio::time::timeout(self.net_read_timeout, read).await {
                    Ok(read) => read?,
                    Err(_) => return Err(End::Closed),
                },
                false => read.await?,
            };
            if read == 0 {
                return if self.framer.is_empty() { Ok(None) } else { Err(End::Closed) };
            }
            self.framer_began = true;
        }
    }

    /// Reads over the rest of a payload that is too large.
    async fn skip_packet(&mut self) -> Step {
        let mut skipped = 0;
        while !self.framer.skip() {
            let n = self.stream.read_buf(self.framer.buffer()).await?;
            skipped += n;
            if n == 0 || skipped > SKIP_BYTES_MAX {
                return Err(End::Closed);
            }
        }
        Ok(())
    }

    /// Takes what the client is still sending, for a moment: closing over unread bytes would reset the connection, and
    /// the client would not see the error.
    async fn drain(&mut self) {
        let _ = self.stream.shutdown().await;
        let mut sink = vec![0u8; 64 << 10];
        let drain = async {
            while let Ok(n) = self.stream.read(&mut sink).await {
                if n == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), drain).await;
    }

    /// A packet that must come.
    async fn expect_packet(&mut self) -> Step<Vec<u8>> {
        self.read_packet().await?.ok_or(End::Closed)
    }

    async fn flush(&mut self) -> Step {
        if !self.writer.is_empty() {
            let write = async {
                self.stream.write_all(self.writer.bytes()).await?;
                self.stream.flush().await
            };
            match tokio::time::timeout(self.net_write_timeout, write).await {
                Ok(written) => written?,
                // It doesn't read what it asked for.
                Err(_) => return Err(End::Closed),
            }
            self.writer.clear();
        }
        self.framer.set_sequence(self.writer.sequence());
        Ok(())
    }

    async fn send_error(&mut self, error: &SqlError) -> Step {
        response::put_error(&mut self.writer, error, None);
        self.flush().await
    }

    /// Tells the error and ends.
    async fn fail<T>(&mut self, error: SqlError) -> Step<T> {
        self.send_error(&error).await?;
        let _ = self.stream.shutdown().await;
        Err(End::Closed)
    }

    // ---- Login ----

    async fn login(&mut self, tls: Option<TlsAcceptor>) -> Step<Session> {
        let offered = capability::SERVER | if tls.is_some() { capability::SSL } else { 0 };
        let (id, nonce) = (self.info.id, self.nonce);
        handshake::greeting(self.writer.begin(), SERVER_VERSION, id, &nonce, offered, status::AUTOCOMMIT);
        self.writer.end();
        self.flush().await?;
        let mut response = self.handshake_response().await?;
        if response.ssl_request {
            let Some(acceptor) = tls else { return self.fail(SqlError::BadHandshake).await };
            self.upgrade(acceptor).await?;
            response = self.handshake_response().await?;
            if response.ssl_request {
                return self.fail(SqlError::BadHandshake).await;
            }
        } else if self.server.globals().server().require_secure_transport {
            return self.fail(SqlError::SecureTransportRequired).await;
        }
        self.capabilities = response.capabilities & offered;
        self.multi_statements = self.capabilities & capability::MULTI_STATEMENTS != 0;
        let plugin = Plugin::from_name(&response.plugin);
        let identity = self.authenticate(&response.user, plugin, response.auth_response).await?;
        self.info.set_user(&identity.user);
        let mut session = Session::new(Arc::clone(&self.server), Arc::clone(&self.info), identity);
        self.framer.set_limit(session.state.vars.settings().max_allowed_packet as usize);
        if self.capabilities & capability::INTERACTIVE != 0
            && let Some(variable) = sql_context::vars::find("wait_timeout")
        {
            let interactive = session.state.vars.text("interactive_timeout").to_owned();
            let _ = session.state.vars.set(variable, &interactive);
        }
        set_collation(&mut session, u16::from(response.collation));
        if let Some(database) = &response.database
            && let Err(e) = session.use_database(database).await
        {
            return self.fail(e).await;
        }
        let tail = tail(&session, false);
        response::put_ok(&mut self.writer, &Done::default(), tail, self.capabilities);
        self.flush().await?;
        Ok(session)
    }

    async fn handshake_response(&mut self) -> Step<HandshakeResponse> {
        let payload = self.expect_packet().await?;
        match HandshakeResponse::parse(&payload) {
            Ok(response) => Ok(response),
            Err(e) => self.fail(e).await,
        }
    }

    async fn upgrade(&mut self, acceptor: TlsAcceptor) -> Step {
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let early = self.framer.take_rest();
        self.stream = tls::accept(acceptor, plain, early.freeze()).await?;
        Ok(())
    }

    /// Checks a user's answer, asking again with the account's plugin if the client used another.
    async fn authenticate(&mut self, user: &str, plugin: Option<Plugin>, mut answer: Vec<u8>) -> Step<Identity> {
        let host = self.info.host.clone();
        let verifier = self.server.accounts().verifier(user);
        let given = !(answer.is_empty() || answer == [0]);
        let needed = match &verifier {
            Some(verifier) => verifier.plugin(),
            None => None,
        };
        let mut plugin = plugin;
        let switch = match (plugin, needed) {
            // An unknown plugin's answer can't be judged.
            (None, needed) => Some(needed.unwrap_or(Plugin::Native)),
            (Some(used), Some(needed)) if used != needed => Some(needed),
            _ => None,
        };
        if let Some(needed) = switch
            && (given || verifier != Some(Verifier::Empty))
        {
            let nonce = self.nonce;
            handshake::auth_switch(self.writer.begin(), needed, &nonce);
            self.writer.end();
            self.flush().await?;
            answer = self.expect_packet().await?;
            plugin = Some(needed);
        }
        let accepted = verifier.as_ref().is_some_and(|v| v.accepts(&self.nonce, &answer));
        if !accepted {
            let password = !(answer.is_empty() || answer == [0]);
            let error = SqlError::AccessDenied { user: user.to_owned(), host, password };
            tracing::info!(conn = self.info.id, "{error}");
            return self.fail(error).await;
        }
        if plugin == Some(Plugin::CachingSha2) && verifier != Some(Verifier::Empty) {
            // "Fast authentication succeeded."
            response::put_auth_more(&mut self.writer, &[3]);
        }
        Ok(Identity { user: user.to_owned(), host })
    }

    // ---- Commands ----

    async fn commands(&mut self, session: &mut Session, stop: CancellationToken) -> Step {
        loop {
            self.framer.restart_sequence();
            let settings = session.state.vars.settings();
            let idle = settings.wait_timeout;
            (self.net_read_timeout, self.net_write_timeout) = (settings.net_read_timeout, settings.net_write_timeout);
            let interrupt = Arc::clone(&session.state.interrupt);
            interrupt.reset();
            let payload = tokio::select! {
                biased;
                payload = self.read_packet() => payload?,
                () = stop.cancelled() => return self.fail(SqlError::ShuttingDown).await,
                () = interrupt.killed() => return Err(End::Closed),
                () = tokio::time::sleep(idle) => {
                    tracing::info!(conn = self.info.id, "closed after wait_timeout");
                    return Err(End::Closed);
                }
            };
            let Some(payload) = payload else { return Ok(()) };
            // Nobody waits for the answer any more: the statement ends where it can.
            let line = Arc::clone(&self.line);
            let watch = async {
                line.lost().await;
                interrupt.kill_connection();
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                biased;
                done = self.command(session, &payload) => done?,
                never = watch => match never {},
            }
            self.flush().await?;
            self.info.set_in_transaction(session.state.txn.explicit);
            if session.state.interrupt.connection_killed() {
                return Err(End::Closed);
            }
        }
    }

    async fn command(&mut self, session: &mut Session, payload: &[u8]) -> Step {
        let Some((&command, body)) = payload.split_first() else {
            return self.fail(SqlError::MalformedPacket).await;
        };
        let result = match command {
            0x01 => return Err(End::Closed),
            0x02 => self.init_db(session, body).await,
            0x03 => return self.query(session, body).await,
            0x04 => self.field_list(session, body).await,
            0x09 => {
                let text = self.server.statistics();
                response::put_string(&mut self.writer, &text);
                Ok(())
            }
            0x0c => self.process_kill(session, body),
            0x0e => {
                self.put_done(session, &Done::default(), false);
                Ok(())
            }
            0x11 => return self.change_user(session, body).await,
            0x16 => self.stmt_prepare(session, body).await,
            0x17 => return self.stmt_execute(session, body).await,
            0x18 => {
                // No answer, not even to a mistake; execution will tell.
                let _ = stmt_long_data(session, body, self.server.config().max_allowed_packet.0 as usize);
                return Ok(());
            }
            0x19 => {
                if let Ok(id) = Reader(body).u32() {
                    session.close_prepared(id);
                }
                return Ok(());
            }
            0x1a => self.stmt_reset(session, body),
            0x1b => self.set_option(session, body),
            0x1c => Err(SqlError::NotSupported("COM_STMT_FETCH (cursors)".into())),
            0x1f => {
                let identity = session.state.identity.clone();
                // All of the session goes but the current database (manual, COM_RESET_CONNECTION).
                let database = session.state.database.take();
                session.reset(identity, database).await;
                self.put_done(session, &Done::default(), false);
                Ok(())
            }
            _ => Err(SqlError::UnknownCommand),
        };
        if let Err(e) = result {
            response::put_error(&mut self.writer, &e, Some(&sent(session)));
        }
        Ok(())
    }

    fn put_done(&mut self, session: &Session, done: &Done, more: bool) {
        response::put_ok(&mut self.writer, done, tail(session, more), self.capabilities);
    }

    async fn init_db(&mut self, session: &mut Session, body: &[u8]) -> Result<(), SqlError> {
        let name = received(session.state.vars.settings().client, body)?;
        session.use_database(&String::from_utf8_lossy(&name)).await?;
        self.put_done(session, &Done::default(), false);
        Ok(())
    }

    fn process_kill(&mut self, session: &Session, body: &[u8]) -> Result<(), SqlError> {
        let id = u64::from(Reader(body).u32()?);
        let target = self.server.connections().get(id).ok_or(SqlError::NoSuchThread(id))?;
        target.interrupt.kill_connection();
        self.put_done(session, &Done::default(), false);
        Ok(())
    }

    fn set_option(&mut self, session: &Session, body: &[u8]) -> Result<(), SqlError> {
        match Reader(body).u16()? {
            0 => self.multi_statements = true,
            1 => self.multi_statements = false,
            _ => return Err(SqlError::UnknownCommand),
        }
        response::put_end(&mut self.writer, tail(session, false), self.capabilities);
        Ok(())
    }

    async fn change_user(&mut self, session: &mut Session, body: &[u8]) -> Step {
        let change = match ChangeUser::parse(body, self.capabilities) {
            Ok(change) => change,
            Err(e) => return self.fail(e).await,
        };
        let plugin = if change.plugin.is_empty() { Some(Plugin::Native) } else { Plugin::from_name(&change.plugin) };
        let identity = self.authenticate(&change.user, plugin, change.auth_response).await?;
        self.info.set_user(&identity.user);
        session.reset(identity, None).await;
        self.info.set_database(None);
        if let Some(collation) = change.collation {
            set_collation(session, collation);
        }
        if let Some(database) = &change.database
            && let Err(e) = session.use_database(database).await
        {
            return self.fail(e).await;
        }
        self.put_done(session, &Done::default(), false);
        Ok(())
    }

    /// `COM_FIELD_LIST`: columns of a table, as old clients ask for name completion.
    async fn field_list(&mut self, session: &mut Session, body: &[u8]) -> Result<(), SqlError> {
        let name = received(session.state.vars.settings().client, Reader(body).until_zero())?;
        let table = String::from_utf8_lossy(&name).into_owned();
        let columns = session.table_columns(&table).await?;
        for column in &columns {
            let out = self.writer.begin();
            super::value::put_column(out, column, &sent(session));
            // The column's default, which nobody reads.
            out.push(0xFB);
            self.writer.end();
        }
        response::put_end(&mut self.writer, tail(session, false), self.capabilities);
        Ok(())
    }

    // ---- Statements ----

    /// `COM_QUERY`: one statement, or several if the client may.
    async fn query(&mut self, session: &mut Session, sql: &[u8]) -> Step {
        let received = received(session.state.vars.settings().client, sql);
        let sql = received.as_deref().unwrap_or_default();
        let pieces = match received
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|sql| sql_parser::split(sql, session.state.vars.lex_mode()))
        {
            Ok(pieces) if pieces.is_empty() => Err(SqlError::EmptyQuery),
            Ok(pieces) if pieces.len() > 1 && !self.multi_statements => Err(SqlError::Syntax {
                near: String::from_utf8_lossy(&sql[pieces[1].start..]).chars().take(80).collect(),
                line: 1,
            }),
            other => other,
        };
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(e) => {
                session.note_error(&e);
                response::put_error(&mut self.writer, &e, Some(&sent(session)));
                return Ok(());
            }
        };
        self.server.count_question();
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            let more = at < last;
            let result = session.execute_text(piece, sql, self).await;
            if !self.put_outcome(session, result, false, more).await? {
                return Ok(());
            }
            if session.state.interrupt.connection_killed() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn stmt_prepare(&mut self, session: &mut Session, body: &[u8]) -> Result<(), SqlError> {
        let body = received(session.state.vars.settings().client, body)?;
        let text = std::str::from_utf8(&body).map_err(|_| SqlError::MalformedPacket)?;
        let (id, prepared) = session.prepare(text).await?;
        let (params, columns) = (prepared.params, prepared.columns.clone());
        let (sent, tail) = (sent(session), tail(session, false));
        response::put_prepared(&mut self.writer, id, params, &columns, &sent, tail, self.capabilities);
        Ok(())
    }

    async fn stmt_execute(&mut self, session: &mut Session, body: &[u8]) -> Step {
        self.server.count_question();
        let result = match read_execute(session, body) {
            Ok((source, params)) => session.execute_prepared(&source, &params).await,
            Err(e) => {
                session.note_error(&e);
                Err(e)
            }
        };
        self.put_outcome(session, result, true, false).await?;
        Ok(())
    }

    fn stmt_reset(&mut self, session: &mut Session, body: &[u8]) -> Result<(), SqlError> {
        let id = Reader(body).u32()?;
        session.prepared(id, "mysqld_stmt_reset")?.long_data.clear();
        self.put_done(session, &Done::default(), false);
        Ok(())
    }

    /// Writes a statement's outcome. False: it failed, what would follow isn't run.
    async fn put_outcome(
        &mut self,
        session: &mut Session,
        result: Result<Outcome, SqlError>,
        binary: bool,
        more: bool,
    ) -> Step<bool> {
        match result {
            Ok(Outcome::Ok(done)) => {
                session.finish_statement(true, 0);
                self.put_done(session, &done, more);
                Ok(true)
            }
            Ok(Outcome::Rows(rows)) => match self.put_rows(session, rows, binary).await? {
                Ok(rows) => {
                    session.finish_statement(true, rows);
                    response::put_end(&mut self.writer, tail(session, more), self.capabilities);
                    Ok(true)
                }
                Err(e) => {
                    session.finish_statement(false, 0);
                    session.note_error(&e);
                    response::put_error(&mut self.writer, &e, Some(&sent(session)));
                    Ok(false)
                }
            },
            Err(e) => {
                session.finish_statement(false, 0);
                response::put_error(&mut self.writer, &e, Some(&sent(session)));
                Ok(false)
            }
        }
    }

    /// Writes columns and rows, and says how many. A row that can't be made ends the result with an error, in place of the
    /// end of rows.
    async fn put_rows(
        &mut self,
        session: &mut Session,
        result: ResultSet,
        binary: bool,
    ) -> Step<Result<u64, SqlError>> {
        let columns = result.columns;
        let (sent, tail) = (sent(session), tail(session, false));
        let translates = sent.translates(&columns);
        let rows = match result.rows {
            Rows::Datums(rows) => {
                response::put_columns(&mut self.writer, &columns, &sent, tail, self.capabilities);
                for row in &rows {
                    if let Err(e) = self.put_row(&sent.row(row, &columns, translates), &columns, binary) {
                        return Ok(Err(e));
                    }
                    if self.writer.len() >= FLUSH_BYTES {
                        self.flush().await?;
                    }
                }
                return Ok(Ok(rows.len() as u64));
            }
            Rows::Batches(rows) => rows,
        };
        let interrupt = Arc::clone(&session.state.interrupt);
        // The time that the statement has left also holds for what is computed while it is sent.
        let taken = (chrono::Utc::now() - session.state.statement_start).to_std().unwrap_or_default();
        let deadline = session.state.time_limit.map(|limit| Instant::now() + limit.saturating_sub(taken));
        let timeout = async {
            match deadline {
                None => std::future::pending().await,
                Some(deadline) => tokio::time::sleep_until(deadline).await,
            }
        };
        tokio::pin!(timeout);
        let mut rows = rows;
        let trips = Arc::clone(session.trips());
        let mut found = 0;
        // The first batch is waited for before the columns go out, so that an early error is an ordinary error.
        let mut head = false;
        loop {
            let batch = tokio::select! {
                biased;
                batch = trips.of(rows.next()) => batch,
                () = interrupt.killed() => return Ok(Err(interrupt.reason())),
                () = &mut timeout => return Ok(Err(SqlError::ExecutionTimeout)),
            };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Err(SqlError::ExecutionTimeout));
            }
            let batch = match batch {
                Some(Ok(batch)) => batch,
                Some(Err(e)) => return Ok(Err(e)),
                None => break,
            };
            if !head {
                head = true;
                response::put_columns(&mut self.writer, &columns, &sent, tail, self.capabilities);
            }
            for row in batch.rows() {
                found += 1;
                if let Err(e) = self.put_row(&sent.row(&row, &columns, translates), &columns, binary) {
                    return Ok(Err(e));
                }
                if self.writer.len() >= FLUSH_BYTES {
                    self.flush().await?;
                }
            }
        }
        if !head {
            response::put_columns(&mut self.writer, &columns, &sent, tail, self.capabilities);
        }
        session.state.found_rows = found;
        Ok(Ok(found))
    }

    fn put_row(
        &mut self,
        row: &[Datum],
        columns: &[sql_base::outcome::ColumnMeta],
        binary: bool,
    ) -> Result<(), SqlError> {
        if binary {
            response::put_row_binary(&mut self.writer, row, columns)
        } else {
            response::put_text_row(&mut self.writer, row, columns);
            Ok(())
        }
    }
}

#[async_trait]
impl LocalFiles for Connection {
    fn may_send(&self) -> bool {
        self.capabilities & capability::LOCAL_FILES != 0
    }

    async fn open(&mut self, name: &[u8]) -> Result<(), SqlError> {
        let out = self.writer.begin();
        out.push(0xFB);
        out.extend_from_slice(name);
        self.writer.end();
        self.flush().await.map_err(|_| SqlError::NetRead)
    }

    /// An empty packet ends the file.
    async fn read(&mut self) -> Result<Option<Vec<u8>>, SqlError> {
        match tokio::time::timeout(self.net_read_timeout, self.read_packet()).await {
            Ok(Ok(Some(piece))) => Ok((!piece.is_empty()).then_some(piece)),
            Ok(Ok(None) | Err(_)) | Err(_) => Err(SqlError::NetRead),
        }
    }
}

/// Status and warnings after a statement.
fn tail(session: &Session, more: bool) -> Tail {
    let state = &session.state;
    let mut bits = 0;
    for (set, bit) in [
        (state.txn.explicit, status::IN_TRANSACTION),
        (state.txn.explicit && state.txn.read_only, status::IN_READ_ONLY_TRANSACTION),
        (state.vars.settings().autocommit, status::AUTOCOMMIT),
        (more, status::MORE_RESULTS),
        (state.vars.lex_mode().no_backslash_escapes, status::NO_BACKSLASH_ESCAPES),
    ] {
        if set {
            bits |= bit;
        }
    }
    Tail { status: bits, warnings: u16::try_from(state.warning_count).unwrap_or(u16::MAX) }
}

/// The collation that a client asks for at login; one that we don't have leaves the default.
fn set_collation(session: &mut Session, id: u16) {
    let collation = codec::types::Collation::from_id(i32::from(id)).map(codec::types::Collation::name);
    if let Some(set) = charset::of_collation_id(id) {
        let _ = session.state.vars.set_names(Some(set.name()), collation);
    }
}

/// What the session's results are sent in.
fn sent(session: &Session) -> Sent {
    Sent::of(session.state.vars.settings())
}

/// Reads `COM_STMT_EXECUTE`: the statement and its parameters.
fn read_execute(session: &mut Session, body: &[u8]) -> Result<(Source, Vec<Datum>), SqlError> {
    let mut reader = Reader(body);
    let id = reader.u32()?;
    // A cursor may be asked for; the protocol lets the server answer with all rows instead, and says so by the status.
    let _cursor = reader.u8()?;
    let _iterations = reader.u32()?;
    let client = session.state.vars.settings().client;
    let prepared = session.prepared(id, "mysqld_stmt_execute")?;
    let mut params = Vec::with_capacity(prepared.params);
    if prepared.params > 0 {
        let nulls = reader.take(prepared.params.div_ceil(8))?;
        if reader.u8()? == 1 {
            let mut types = Vec::with_capacity(prepared.params);
            for _ in 0..prepared.params {
                let [code, unsigned] = [reader.u8()?, reader.u8()?];
                types.push(ParamType { code, unsigned: unsigned & 0x80 != 0 });
            }
            prepared.param_types = types;
        }
        if prepared.param_types.len() != prepared.params {
            return Err(SqlError::WrongParameters("mysqld_stmt_execute"));
        }
        for (i, ty) in prepared.param_types.iter().enumerate() {
            // Blobs are bytes, strings are text of the client's.
            let is_text =
                matches!(TypeCode::from_u8(ty.code), Some(TypeCode::Varchar | TypeCode::VarString | TypeCode::String));
            let value = if let Some(data) = prepared.long_data.remove(&(i as u16)) {
                Datum::Bytes(data)
            } else if nulls[i / 8] >> (i % 8) & 1 == 1 {
                Datum::Null
            } else {
                read_param(&mut reader, *ty)?
            };
            params.push(match value {
                Datum::Bytes(bytes) if is_text => Datum::Bytes(received(client, &bytes)?.into_owned()),
                value => value,
            });
        }
    }
    prepared.long_data.clear();
    Ok((prepared.source.clone(), params))
}

/// Reads `COM_STMT_SEND_LONG_DATA`: a piece of a parameter.
fn stmt_long_data(session: &mut Session, body: &[u8], bytes_max: usize) -> Result<(), SqlError> {
    let mut reader = Reader(body);
    let (id, param) = (reader.u32()?, reader.u16()?);
    let prepared = session.prepared(id, "mysqld_stmt_send_long_data")?;
    if usize::from(param) >= prepared.params {
        return Err(SqlError::WrongParameters("mysqld_stmt_send_long_data"));
    }
    let held: usize = prepared.long_data.values().map(Vec::len).sum();
    if held + reader.0.len() > bytes_max {
        return Err(SqlError::PacketTooLarge);
    }
    prepared.long_data.entry(param).or_default().extend_from_slice(reader.0);
    Ok(())
}
