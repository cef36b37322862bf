//! One connection's statements, one at a time.
//!
//! [`Session::execute`] takes a parsed statement and gives an [`Outcome`]. It decides who does the work (executor, DDL,
//! ADMIN, or the session itself), wraps it in the transaction's rules (see `sql-context`), retries conflicts, and can
//! be interrupted by `KILL` or `max_execution_time` at any await outside of a commit.
//!
//! The wire is not known here: tests and tools run statements on a session directly.

mod constant;
mod explain;
mod into;
mod load;
mod prepared;
mod set;
mod show;
mod text;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use chrono::Utc;
use codec::datum::Datum;
use kv_client::{TripCounts, Trips};
use sql_base::SqlError;
use sql_base::outcome::{Outcome, ResultSet};
use sql_context::vars::{CompletionType, SessionVars};
use sql_context::{ExecContext, Identity, Level, NextTransaction, Services, SessionLocks, SessionState, TxnState};
use sql_exec::plan_cache::{PlanCache, PlanKey};
use sql_parser::{Completion, ParsedStatement, Statement};
use tracing::Instrument as _;

use crate::admin::Told;
use crate::cluster::statements::digest;
use crate::cluster::{ConnectionInfo, Server, Slow, Took};
use crate::metrics;
pub use load::LocalFiles;
pub use prepared::{ParamType, Prepared, PreparedId, Source};

/// How often a pessimistic statement is run again because rows changed between its read and its lock. Each time it reads
/// at a fresh timestamp, so that it ends unless someone else always wins.
const PESSIMISTIC_RETRIES_MAX: u32 = 256;

/// Bytes of a statement's text that the process list keeps.
const TEXT_BYTES_MAX: usize = 4096;

/// Texts without constants that a session remembers.
const NORMALIZED_MAX: usize = 256;

/// What `AND CHAIN` hands from a transaction to the next; nothing when none was open.
#[derive(Default)]
struct Characteristics {
    read_only: Option<bool>,
    read_committed: Option<bool>,
    pessimistic: Option<bool>,
}

impl Characteristics {
    fn of(txn: &TxnState) -> Self {
        let said = |flag: bool| txn.explicit.then_some(flag);
        Characteristics {
            read_only: said(txn.read_only),
            read_committed: said(txn.read_committed),
            pessimistic: txn.pessimistic,
        }
    }
}

/// A session.
pub struct Session {
    server: Arc<Server>,
    info: Arc<ConnectionInfo>,
    /// What statements see.
    pub state: SessionState,
    prepared: prepared::PreparedStatements,
    plans: PlanCache,
    texts: text::Texts,
    /// Under what the plan of the running statement is kept, if it may come again.
    plan_key: Option<Arc<str>>,
    /// Round trips of all its statements.
    trips: Arc<Trips>,
    /// The statement that runs, or whose rows are being sent.
    running: Option<Running>,
    /// Texts without constants, by what plans are kept under.
    normalized: HashMap<Arc<str>, Arc<str>>,
}

/// What is remembered of a statement until all of its rows are sent.
struct Running {
    began: Instant,
    /// Under what its plan is kept.
    key: Option<Arc<str>>,
    trips_before: TripCounts,
    kind: &'static str,
    affected: u64,
    span: tracing::Span,
}

fn state_at_login(server: &Arc<Server>, info: &ConnectionInfo, identity: Identity) -> SessionState {
    let vars = SessionVars::new(server.globals());
    let mut state = SessionState::new(info.id, identity, vars, Arc::clone(&info.interrupt));
    let services: Arc<dyn Services> = Arc::clone(server) as _;
    state.user_locks = Some(Arc::new(SessionLocks::new(services, info.id, Arc::clone(&info.interrupt))));
    state
}

impl Session {
    /// A session of a connection.
    pub fn new(server: Arc<Server>, info: Arc<ConnectionInfo>, identity: Identity) -> Self {
        let state = state_at_login(&server, &info, identity);
        Session {
            trips: Arc::new(Trips::new(server.region().as_deref())),
            server,
            info,
            state,
            prepared: Default::default(),
            plans: PlanCache::default(),
            texts: Default::default(),
            plan_key: None,
            running: None,
            normalized: HashMap::new(),
        }
    }

    /// The server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Back to what it was at login: transaction rolled back, locks given back, variables and prepared statements
    /// forgotten.
    pub async fn reset(&mut self, identity: Identity, database: Option<String>) {
        self.close().await;
        self.prepared = Default::default();
        self.plans = PlanCache::default();
        self.texts = Default::default();
        self.state = state_at_login(&self.server, &self.info, identity);
        self.state.database = database;
    }

    /// The connection ends.
    pub async fn close(&mut self) {
        self.state.rollback().await;
        if let Some(locks) = &self.state.user_locks {
            locks.give_back().await;
        }
    }

    /// Keeps an error that happened outside of a statement's execution for `SHOW WARNINGS`.
    pub fn note_error(&mut self, error: &SqlError) {
        self.state.warnings.clear();
        self.state.warning_count = 0;
        self.state.push_warning(Level::Error, error);
    }

    /// Columns of a table, by unqualified name.
    pub async fn table_columns(&mut self, table: &str) -> Result<Vec<sql_base::outcome::ColumnMeta>, SqlError> {
        let quoted = format!("SELECT * FROM `{}` LIMIT 0", table.replace('`', "``"));
        let parsed = sql_parser::parse_one(quoted.as_bytes(), sql_parser::LexMode::default())?;
        self.describe_query(&parsed.statement, 0).await
    }

    /// Changes the current database.
    pub async fn use_database(&mut self, name: &str) -> Result<(), SqlError> {
        let schema = self.server.schema()?;
        let name = if let Some(database) = schema.database(name) {
            database.info.name.as_str().to_owned()
        } else if sql_catalog::is_virtual_database(name) {
            name.to_owned()
        } else {
            return Err(SqlError::UnknownDatabase(name.into()));
        };
        self.info.set_database(Some(&name));
        self.state.database = Some(name);
        Ok(())
    }

    /// Runs a statement. `text` is its source, `params` the values of its `?`.
    pub async fn execute(
        &mut self,
        parsed: &ParsedStatement,
        text: &str,
        params: &[Datum],
    ) -> Result<Outcome, SqlError> {
        self.execute_with(parsed, text, params, None).await
    }

    /// The same for a client that may have files to send.
    async fn execute_with(
        &mut self,
        parsed: &ParsedStatement,
        text: &str,
        params: &[Datum],
        files: Option<&mut dyn LocalFiles>,
    ) -> Result<Outcome, SqlError> {
        self.begin_statement(&parsed.statement, text);
        let span = tracing::debug_span!(
            "statement",
            conn = self.state.id,
            kind = kind_name(&parsed.statement),
            rows = tracing::field::Empty,
            ms = tracing::field::Empty,
            memory_bytes = tracing::field::Empty,
            pd_trips = tracing::field::Empty,
            storage_trips = tracing::field::Empty,
            other_region_trips = tracing::field::Empty,
        );
        self.running = Some(Running {
            began: Instant::now(),
            key: self.plan_key.clone(),
            trips_before: self.trips.counts(),
            kind: kind_name(&parsed.statement),
            affected: 0,
            span: span.clone(),
        });
        let began = Instant::now();
        let trips = Arc::clone(&self.trips);
        let result = trips.of(self.run_parsed(parsed, text, params, files).instrument(span)).await;
        self.end_statement(&parsed.statement, began.elapsed(), result)
    }

    /// Round trips of the session's statements; who computes rows of a result counts them here.
    pub fn trips(&self) -> &Arc<Trips> {
        &self.trips
    }

    /// The statement has ended, and all of its rows have been sent: it is counted.
    pub fn finish_statement(&mut self, ok: bool, rows: u64) {
        let Some(running) = self.running.take() else { return };
        let took = running.began.elapsed();
        let settings = self.server.globals().server();
        let is_slow = settings.slow_log_threshold.is_some_and(|slow| took >= slow);
        let trips = self.trips.counts().since(running.trips_before);
        let held = self.state.memory.get().map_or((0, 0), |held| (held.peak() as u64, held.spilled()));
        let span = &running.span;
        span.record("rows", rows).record("ms", took.as_millis() as u64).record("memory_bytes", held.0);
        span.record("pd_trips", trips.pd).record("storage_trips", trips.storage);
        span.record("other_region_trips", trips.away());
        if !is_slow && settings.summary_kinds_max.is_none() {
            return;
        }
        let normalized = self.normalized(running.key.as_ref());
        let state = &self.state;
        let took = Took {
            began: state.statement_start,
            time: took,
            kind: running.kind,
            ok,
            rows,
            affected: running.affected,
            plan_from_cache: state.plan_from_cache,
            memory: held.0,
            disk: held.1,
            trips,
        };
        let (user, database) = (&state.identity.user, state.database.as_deref().unwrap_or(""));
        if let Some(kinds_max) = settings.summary_kinds_max {
            let sample = || (state.statement_text.clone(), user.clone());
            self.server.statements().count(&normalized, database, &took, kinds_max, sample);
        }
        if is_slow {
            self.server.statements().slow(Slow {
                took,
                connection: state.id,
                user: user.clone(),
                host: state.identity.host.clone(),
                database: database.to_owned(),
                digest: digest(&normalized),
                text: state.statement_text.clone(),
                start_ts: state.txn.start_ts(),
            });
        }
    }

    /// The text of the last statement without constants; of one that comes again it is remembered.
    fn normalized(&mut self, key: Option<&Arc<str>>) -> Arc<str> {
        if let Some(known) = key.and_then(|key| self.normalized.get(key)) {
            return Arc::clone(known);
        }
        let text: Arc<str> = sql_parser::normalized(&self.state.statement_text, self.state.vars.lex_mode()).into();
        if let Some(key) = key {
            if self.normalized.len() >= NORMALIZED_MAX {
                self.normalized.clear();
            }
            self.normalized.insert(Arc::clone(key), Arc::clone(&text));
        }
        text
    }

    /// Runs a statement within its limits, and tells what of it is not heeded.
    async fn run_parsed(
        &mut self,
        parsed: &ParsedStatement,
        text: &str,
        params: &[Datum],
        files: Option<&mut dyn LocalFiles>,
    ) -> Result<Outcome, SqlError> {
        // What hints set holds for this statement.
        let own = (!parsed.settings.variables.is_empty()).then(|| self.state.vars.clone());
        for (name, value) in &parsed.settings.variables {
            if let Err(why) = self.set_for_statement(name, value) {
                self.state.push_warning(Level::Warning, &why);
            }
        }
        self.state.time_limit = match parsed.settings.max_execution_time {
            Some(ms) => Some(Duration::from_millis(ms)).filter(|limit| !limit.is_zero()),
            None => self.state.vars.settings().max_execution_time,
        };
        let result = Box::pin(self.dispatch(&parsed.statement, text, params, files)).await;
        if let Some(own) = own {
            self.state.vars = own;
        }
        for warning in &parsed.warnings {
            self.state.push_warning(Level::Warning, warning);
        }
        result
    }

    fn begin_statement(&mut self, statement: &Statement, text: &str) {
        self.state.interrupt.reset();
        self.state.memory = OnceLock::new();
        self.state.last_plan_from_cache = std::mem::take(&mut self.state.plan_from_cache);
        self.state.statement_start = Utc::now();
        let cut = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.state.statement_text.clear();
        self.state.statement_text.push_str(&text[..cut]);
        self.info.set_statement(&text[..cut]);
        // What reads diagnostics keeps them.
        if !is_diagnostic(statement) {
            self.state.warnings.clear();
            self.state.warning_count = 0;
        }
    }

    fn end_statement(
        &mut self,
        statement: &Statement,
        took: Duration,
        result: Result<Outcome, SqlError>,
    ) -> Result<Outcome, SqlError> {
        self.info.clear_statement();
        metrics::STATEMENT_SECONDS.with_label_values(&[kind_name(statement)]).observe(took.as_secs_f64());
        match &result {
            Ok(Outcome::Ok(done)) => {
                if let Some(running) = &mut self.running {
                    running.affected = done.affected_rows;
                }
                self.state.row_count = i64::try_from(done.affected_rows).unwrap_or(i64::MAX);
                if done.generated_id != 0 {
                    self.state.last_insert_id = done.generated_id;
                }
            }
            Ok(Outcome::Rows(_)) => self.state.row_count = -1,
            Err(e) => {
                metrics::ERRORS.with_label_values(&[&e.code().0.to_string()]).inc();
                self.state.row_count = -1;
                self.state.push_warning(Level::Error, e);
            }
        }
        result
    }

    async fn dispatch(
        &mut self,
        statement: &Statement,
        text: &str,
        params: &[Datum],
        files: Option<&mut dyn LocalFiles>,
    ) -> Result<Outcome, SqlError> {
        // Rare statements have futures of their own on the heap: inside of this one they would make it large for all.
        match statement {
            Statement::Query(query) => {
                if let Some(result) = constant::select(&self.server, &mut self.state, query)? {
                    return Ok(Outcome::Rows(result));
                }
                self.run(statement, params).await
            }
            Statement::Insert(_) | Statement::Update { .. } | Statement::Delete { .. } | Statement::Explain(_) => {
                self.run(statement, params).await
            }
            Statement::SelectInto { query, variables } => Box::pin(self.select_into(query, variables, params)).await,
            Statement::ExplainConnection { id, format } => {
                Box::pin(self.explain_connection(*id, format.as_deref())).await
            }
            Statement::LoadData(load) => Box::pin(self.load(load, files)).await,
            Statement::Do(exprs) if exprs.is_empty() => Ok(Outcome::ok()),
            Statement::Do(_) => self.run(statement, params).await,
            Statement::Set(items) => {
                for item in items {
                    Box::pin(self.set(item, params)).await?;
                }
                Ok(Outcome::ok())
            }
            Statement::Use(name) => {
                self.use_database(name).await?;
                Ok(Outcome::ok())
            }
            Statement::Begin(begin) => {
                if begin.as_of.is_some() {
                    return Err(SqlError::NotSupported("START TRANSACTION … AS OF TIMESTAMP".into()));
                }
                self.state.begin(&*self.server, begin.read_only, begin.pessimistic).await?;
                if begin.consistent_snapshot {
                    // The definitions before the rows: then these are filled that the definitions show.
                    self.state.schema(&*self.server)?;
                    let start = self.state.transaction(&*self.server).await?.start_ts();
                    self.state.txn.read_ts = Some(start);
                }
                Ok(Outcome::ok())
            }
            Statement::Commit(completion) => {
                let ended = Characteristics::of(&self.state.txn);
                self.state.commit(&*self.server).await?;
                self.complete(*completion, ended).await
            }
            Statement::Rollback(completion) => {
                let ended = Characteristics::of(&self.state.txn);
                self.state.rollback().await;
                self.complete(*completion, ended).await
            }
            Statement::Savepoint(name) => {
                self.state.savepoint(&*self.server, name).await?;
                Ok(Outcome::ok())
            }
            Statement::RollbackTo(name) => self.state.rollback_to_savepoint(name).map(|()| Outcome::ok()),
            Statement::ReleaseSavepoint(name) => self.state.release_savepoint(name).map(|()| Outcome::ok()),
            Statement::Prepare { name, source } => Box::pin(self.prepare_named(name, source)).await,
            Statement::Execute { name, using } => Box::pin(self.execute_named(name, using)).await,
            Statement::Deallocate(name) => self.deallocate_named(name),
            Statement::Show(show) => Box::pin(self.show(show, params)).await,
            Statement::Describe { table, column } => {
                Box::pin(self.show(&show::described(table, column.as_deref()), &[])).await
            }
            Statement::Kill { id, query_only } => self.kill(*id, *query_only),
            Statement::Flush(things) => flush(things),
            Statement::UnlockTables => Ok(Outcome::ok()),
            // As in TiDB, so that what mysqldump wrote can be read: nothing is locked, and a warning says so.
            Statement::LockTables(_) => {
                self.state.commit(&*self.server).await?;
                self.state.push_warning(Level::Warning, &SqlError::NotSupported("LOCK TABLES".into()));
                Ok(Outcome::ok())
            }
            Statement::MaintainTable { op: "check", .. } => Box::pin(self.run_definition(statement, text)).await,
            Statement::MaintainTable { op, .. } => Err(SqlError::NotSupported(format!("{} TABLE", op.to_uppercase()))),
            Statement::Unsupported(what) => Err(SqlError::NotSupported(what.clone())),
            Statement::Admin(admin) => {
                let server = Arc::clone(&self.server);
                match crate::admin::show::admin(&server, admin) {
                    Some(query) => Box::pin(self.run_shown(query, params)).await,
                    None => Box::pin(self.run_definition(statement, text)).await,
                }
            }
            Statement::Ddl(_) | Statement::SplitTable(_) | Statement::AnalyzeTable(_) | Statement::DropStats(_) => {
                Box::pin(self.run_definition(statement, text)).await
            }
        }
    }

    /// `AND CHAIN` begins the next transaction with the same characteristics. `RELEASE` ends the connection. Where
    /// neither is said, `completion_type` decides.
    async fn complete(&mut self, said: Completion, ended: Characteristics) -> Result<Outcome, SqlError> {
        let default = self.state.vars.settings().completion_type;
        let release = said.release.unwrap_or(default == CompletionType::Release && said.chain != Some(true));
        if said.chain.unwrap_or(default == CompletionType::Chain && !release) {
            self.state.begin(&*self.server, ended.read_only, ended.pessimistic).await?;
            self.state.txn.read_committed = ended.read_committed.unwrap_or(self.state.txn.read_committed);
        }
        if release {
            self.state.interrupt.kill_connection();
        }
        Ok(Outcome::ok())
    }

    fn kill(&mut self, id: u64, query_only: bool) -> Result<Outcome, SqlError> {
        let target = self.server.connections().get(id).ok_or(SqlError::NoSuchThread(id))?;
        if query_only {
            target.interrupt.kill_query();
            // Killing one's own query interrupts it.
            if id == self.state.id {
                return Err(SqlError::Interrupted);
            }
        } else {
            target.interrupt.kill_connection();
        }
        Ok(Outcome::ok())
    }

    // ---- Work of the executor ----

    /// Runs a query or a change in the transaction it belongs to.
    async fn run(&mut self, statement: &Statement, params: &[Datum]) -> Result<Outcome, SqlError> {
        let run = what_is_run(statement);
        let changes = matches!(run, Statement::Insert(_) | Statement::Update { .. } | Statement::Delete { .. });
        if self.state.is_autocommit() {
            let writable = if changes { self.check_writable(self.state.begins_read_only()) } else { Ok(()) };
            let result = match writable {
                Ok(()) => self.run_autocommit(statement, params).await,
                Err(e) => Err(e),
            };
            // It was the next transaction, however it ended.
            self.state.txn.next = NextTransaction::default();
            result
        } else {
            self.state.open();
            if changes {
                self.check_writable(self.state.txn.read_only)?;
            }
            self.run_in_transaction(statement, params).await
        }
    }

    /// Whether the transaction and the server let anything be changed.
    fn check_writable(&self, read_only: bool) -> Result<(), SqlError> {
        if read_only {
            return Err(SqlError::ReadOnlyTransaction);
        }
        self.state.check_server_writable(&*self.server)
    }

    /// The statement is its own transaction: commits, or leaves nothing. A conflict runs it again; from the second time
    /// on it locks as it goes, so that it ends.
    async fn run_autocommit(&mut self, statement: &Statement, params: &[Datum]) -> Result<Outcome, SqlError> {
        let retries_max = self.state.vars.settings().retry_limit;
        let patience = self.state.vars.settings().lock_wait;
        let began = Instant::now();
        let mut attempt = 0;
        loop {
            let seen = self.server.schema().map_or(0, |schema| schema.version());
            let result = match self.interruptible(statement, params).await {
                Ok(outcome) => self.state.commit(&*self.server).await.map(|()| outcome),
                Err(e) => {
                    self.state.rollback().await;
                    Err(e)
                }
            };
            match result {
                Err(SqlError::TableSwitching) if self.newer_schema(seen, began + patience).await => {}
                Err(SqlError::WriteConflict(_) | SqlError::SchemaChanged) if attempt < retries_max => {
                    attempt += 1;
                    self.state.warnings.clear();
                    self.state.warning_count = 0;
                    self.state.txn.pessimistic = Some(true);
                    metrics::RETRIES.with_label_values(&["autocommit"]).inc();
                    tracing::debug!(conn = self.state.id, attempt, "statement met a conflict, running it again");
                }
                result => {
                    self.state.txn.pessimistic = None;
                    return result;
                }
            }
        }
    }

    /// Waits for a version of the schema after this one. `false` when there is none until then.
    async fn newer_schema(&mut self, seen: i64, until: Instant) -> bool {
        let Ok(schemas) = self.server.schemas() else { return false };
        let mut versions = schemas.subscribe();
        let newer = versions.wait_for(|version| *version > seen);
        tokio::select! {
            newer = tokio::time::timeout_at(until.into(), newer) => matches!(newer, Ok(Ok(_))),
            () = self.state.interrupt.killed() => false,
        }
    }

    async fn run_in_transaction(&mut self, statement: &Statement, params: &[Datum]) -> Result<Outcome, SqlError> {
        let mut attempt = 0;
        loop {
            let stage = self.state.begin_statement_stage();
            let result = self.interruptible(statement, params).await;
            self.state.end_statement_stage(stage, result.is_err()).await;
            match result {
                Err(SqlError::WriteConflict(_)) if self.state.is_pessimistic() && attempt < PESSIMISTIC_RETRIES_MAX => {
                    attempt += 1;
                    self.state.warnings.clear();
                    self.state.warning_count = 0;
                }
                Err(e @ SqlError::Deadlock) => {
                    self.state.rollback().await;
                    return Err(e);
                }
                result => return result,
            }
        }
    }

    /// Runs the executor until it ends, is killed, or runs out of time.
    async fn interruptible(&mut self, statement: &Statement, params: &[Datum]) -> Result<Outcome, SqlError> {
        let limit = match what_is_run(statement) {
            Statement::Query(_) => self.state.time_limit,
            _ => None,
        };
        let interrupt = Arc::clone(&self.state.interrupt);
        // Operators that never wait look at it themselves.
        interrupt.limit(limit);
        let schema = self.state.schema(&*self.server)?;
        let size = self.state.vars.settings().plan_cache_size;
        let key = self.plan_key.as_ref().map(|text| PlanKey { cache: &mut self.plans, text, size });
        let mut ctx = ExecContext {
            server: &*self.server,
            virtual_rows: &*self.server,
            session: &mut self.state,
            schema,
            params,
        };
        let work = execute(&mut ctx, statement, key);
        let limit = async {
            match limit {
                None => std::future::pending().await,
                Some(limit) => tokio::time::sleep(limit).await,
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            () = interrupt.killed() => Err(interrupt.reason()),
            () = limit => Err(SqlError::ExecutionTimeout),
        }
    }

    /// Runs what changes or inspects definitions. It commits what is open first, as in MySQL.
    async fn run_definition(&mut self, statement: &Statement, text: &str) -> Result<Outcome, SqlError> {
        let commits = match statement {
            Statement::Ddl(ddl) => !ddl.is_temporary(),
            Statement::AnalyzeTable(_) | Statement::DropStats(_) => true,
            _ => false,
        };
        if commits {
            self.state.commit(&*self.server).await?;
            self.check_writable(self.state.vars.settings().read_only)?;
        }
        let interrupt = Arc::clone(&self.state.interrupt);
        let schema = self.server.schema()?;
        let mut ctx = ExecContext {
            server: &*self.server,
            virtual_rows: &*self.server,
            session: &mut self.state,
            schema,
            params: &[],
        };
        let told = tokio::select! {
            biased;
            result = define(&self.server, &mut ctx, statement, text) => result,
            () = interrupt.killed() => Err(interrupt.reason()),
        };
        self.forget_dropped_database();
        match told? {
            Defined::Outcome(outcome) => Ok(outcome),
            Defined::Told(Told::Done) => Ok(Outcome::ok()),
            Defined::Told(Told::Rows(table, rows)) => {
                let server = Arc::clone(&self.server);
                self.run_shown(crate::admin::show::told(&server, table, rows), &[]).await
            }
        }
    }

    /// After `DROP DATABASE` of the current one there is none.
    fn forget_dropped_database(&mut self) {
        if let Some(name) = &self.state.database
            && !sql_catalog::is_virtual_database(name)
            && self.server.schema().is_ok_and(|s| s.database(name).is_none())
        {
            self.state.database = None;
            self.info.set_database(None);
        }
    }
}

/// The statement that is run: `EXPLAIN ANALYZE` runs the one that it explains.
fn what_is_run(statement: &Statement) -> &Statement {
    match statement {
        Statement::Explain(explain) if explain.analyze => &explain.statement,
        other => other,
    }
}

fn is_diagnostic(statement: &Statement) -> bool {
    use sql_parser::ShowKind::*;
    match statement {
        Statement::Show(show) => matches!(show.kind, Warnings | Errors | CountWarnings | CountErrors),
        Statement::Query(query) => constant::reads_diagnostics(query),
        Statement::SelectInto { query, .. } => is_diagnostic(query),
        _ => false,
    }
}

fn flush(things: &[String]) -> Result<Outcome, SqlError> {
    for thing in things {
        match thing.as_str() {
            // Nothing is cached that these would drop.
            "PRIVILEGES" | "STATUS" | "TABLES" | "LOGS" | "HOSTS" | "QUERY CACHE" | "CLIENT_ERRORS_SUMMARY" => {}
            other => return Err(SqlError::NotSupported(format!("FLUSH {other}"))),
        }
    }
    Ok(Outcome::ok())
}

/// Queries and changes.
async fn execute(
    ctx: &mut ExecContext<'_>,
    statement: &Statement,
    key: Option<PlanKey<'_>>,
) -> Result<Outcome, SqlError> {
    sql_exec::execute(ctx, statement, key).await
}

/// What came of a definition or an administrative statement.
enum Defined {
    Outcome(Outcome),
    Told(Told),
}

/// Definitions and administration.
async fn define(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    statement: &Statement,
    text: &str,
) -> Result<Defined, SqlError> {
    match statement {
        Statement::Ddl(ddl) => sql_ddl::execute(&*server.domain()?, ctx, ddl, text).await.map(Defined::Outcome),
        Statement::Admin(admin) => crate::admin::execute(server, ctx, admin).await.map(Defined::Told),
        Statement::SplitTable(split) => crate::admin::split_table(server, ctx, split).await.map(Defined::Told),
        Statement::AnalyzeTable(analyze) => crate::admin::analyze_tables(server, ctx, analyze).await.map(Defined::Told),
        Statement::DropStats(tables) => crate::admin::drop_stats(server, ctx, tables).await.map(Defined::Told),
        Statement::MaintainTable { op: "check", tables } => {
            crate::admin::check_tables(server, ctx, tables).await.map(Defined::Told)
        }
        other => Err(SqlError::NotSupported(kind_name(other).to_owned())),
    }
}

fn kind_name(statement: &Statement) -> &'static str {
    match statement {
        Statement::Query(_) | Statement::SelectInto { .. } => "SELECT",
        Statement::Insert(_) => "INSERT",
        Statement::Update { .. } => "UPDATE",
        Statement::Delete { .. } => "DELETE",
        Statement::LoadData(_) => "LOAD DATA",
        Statement::Explain(_) | Statement::ExplainConnection { .. } => "EXPLAIN",
        Statement::Do(_) => "DO",
        Statement::Ddl(_) => "DDL",
        Statement::Show(_) | Statement::Describe { .. } => "SHOW",
        Statement::Set(_) => "SET",
        Statement::Begin(_) => "BEGIN",
        Statement::Commit(_) => "COMMIT",
        Statement::Rollback(_) => "ROLLBACK",
        _ => "other",
    }
}

/// A result of rows in memory.
pub(crate) fn rows(columns: Vec<sql_base::outcome::ColumnMeta>, rows: Vec<Vec<Datum>>) -> ResultSet {
    ResultSet { columns: columns.into(), rows: sql_base::outcome::Rows::Datums(rows) }
}

/// Columns of a query's result, for `PREPARE`.
async fn describe_statement(
    ctx: &mut ExecContext<'_>,
    statement: &Statement,
) -> Result<Vec<sql_base::outcome::ColumnMeta>, SqlError> {
    sql_exec::describe(ctx, statement).await
}
