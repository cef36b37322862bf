//! What a session remembers between statements.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use codec::datum::Datum;
use codec::types::{Collation, FieldType, flags};
use sql_base::Interrupt;
use sql_base::SqlError;
use sql_base::memory::StatementMemory;
use sql_parser::Scope;

use super::temporary::TemporaryTables;
use super::txn::TxnState;
use crate::services::Services;
use crate::user_locks::SessionLocks;
use crate::vars::{self, Kind, SessionVars};

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Information.
    Note,
    /// The statement went on.
    Warning,
    /// It didn't.
    Error,
}

impl Level {
    /// As `SHOW WARNINGS` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Note => "Note",
            Level::Warning => "Warning",
            Level::Error => "Error",
        }
    }
}

/// A diagnostic.
#[derive(Debug, Clone)]
pub struct Warning {
    /// How bad.
    pub level: Level,
    /// MySQL's number.
    pub code: u16,
    /// Text.
    pub message: String,
}

/// Who is connected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// User, as given at login.
    pub user: String,
    /// Where from: an address.
    pub host: String,
}

/// Rows of a file, as an INSERT of some of them has to know.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Rows of the file that were inserted before.
    pub rows: u64,
    /// Those of the INSERT's columns that the file has no fields for in these rows.
    pub missing: Range<usize>,
}

/// A session's state, as statements see it.
pub struct SessionState {
    /// Connection id.
    pub id: u64,
    /// Who.
    pub identity: Identity,
    /// `USE`d database.
    pub database: Option<String>,
    /// System variables.
    pub vars: SessionVars,
    /// User variables, by lower-case name. A statement that runs has a copy.
    pub user_vars: Arc<HashMap<String, Datum>>,
    /// Diagnostics of the last statement.
    pub warnings: Vec<Warning>,
    /// All diagnostics of the last statement, kept or not.
    pub warning_count: u64,
    /// `LAST_INSERT_ID()`: of the last statement that generated one.
    pub last_insert_id: u64,
    /// `FOUND_ROWS()`.
    pub found_rows: u64,
    /// `ROW_COUNT()`.
    pub row_count: i64,
    /// The running statement found its plan among those that were kept.
    pub plan_from_cache: bool,
    /// The statement before it did: `@@last_plan_from_cache`.
    pub last_plan_from_cache: bool,
    /// When the running statement began: the time that `NOW()` tells.
    pub statement_start: DateTime<Utc>,
    /// Its text, cut.
    pub statement_text: String,
    /// How long it may take if it is a query.
    pub time_limit: Option<Duration>,
    /// Whose rows the INSERT that runs inserts, if LOAD DATA runs it.
    pub loaded: Option<Loaded>,
    /// What the running statement holds, once something is counted for it.
    pub memory: OnceLock<Arc<StatementMemory>>,
    /// The transaction.
    pub txn: TxnState,
    /// What `GET_LOCK()` took; `None` in sessions of the server's own.
    pub user_locks: Option<Arc<SessionLocks>>,
    /// Its temporary tables.
    pub temporary: TemporaryTables,
    /// How others interrupt this session.
    pub interrupt: Arc<Interrupt>,
}

impl SessionState {
    /// A new session.
    pub fn new(id: u64, identity: Identity, vars: SessionVars, interrupt: Arc<Interrupt>) -> Self {
        SessionState {
            id,
            identity,
            database: None,
            vars,
            user_vars: Arc::default(),
            warnings: Vec::new(),
            warning_count: 0,
            last_insert_id: 0,
            found_rows: 0,
            row_count: -1,
            plan_from_cache: false,
            last_plan_from_cache: false,
            statement_start: Utc::now(),
            statement_text: String::new(),
            time_limit: None,
            loaded: None,
            memory: OnceLock::new(),
            txn: TxnState::default(),
            user_locks: None,
            temporary: TemporaryTables::default(),
            interrupt,
        }
    }

    /// No explicit transaction is open, and none will be after this statement.
    pub fn is_autocommit(&self) -> bool {
        !self.txn.explicit && self.vars.settings().autocommit
    }

    /// Keeps a diagnostic.
    pub fn push_warning(&mut self, level: Level, error: &SqlError) {
        if level != Level::Note || self.vars.settings().sql_notes {
            self.push_diagnostic(level, error.code().0, error.to_string());
        }
    }

    /// Keeps a diagnostic that isn't an error of ours (the coprocessor's, for example).
    pub fn push_diagnostic(&mut self, level: Level, code: u16, message: String) {
        self.warning_count += 1;
        if self.warnings.len() < self.vars.settings().max_error_count {
            self.warnings.push(Warning { level, code, message });
        }
    }

    /// Whether the server lets anything be changed. Every account but `root`'s counts as one without the privilege to
    /// change a `read_only` server.
    pub fn check_server_writable(&self, server: &dyn Services) -> Result<(), SqlError> {
        let settings = server.globals().server();
        if settings.super_read_only {
            return Err(SqlError::ReadOnlyServer("--super-read-only"));
        }
        if settings.read_only && self.identity.user != "root" {
            return Err(SqlError::ReadOnlyServer("--read-only"));
        }
        Ok(())
    }

    /// An error if the statement is to end.
    pub fn check_interrupted(&self) -> Result<(), SqlError> {
        self.interrupt.check()
    }

    /// `NOW()` as UTC; the variable `timestamp` replaces the clock.
    pub fn now(&self) -> DateTime<Utc> {
        let fixed = self.vars.settings().timestamp;
        fixed.and_then(|secs| DateTime::from_timestamp_micros((secs * 1e6) as i64)).unwrap_or(self.statement_start)
    }

    /// Value and type of a user variable (`name` without `@`); NULL if it was never set.
    pub fn user_variable(&self, name: &str) -> (Datum, FieldType) {
        let value = self.user_vars.get(name).cloned().unwrap_or(Datum::Null);
        let ty = type_of_datum(&value);
        (value, ty)
    }

    /// What system variables are read from, as of now.
    pub fn variables(&self) -> Variables {
        Variables {
            id: self.id,
            vars: self.vars.clone(),
            last_insert_id: self.last_insert_id,
            warning_count: self.warning_count,
            error_count: self.warnings.iter().filter(|w| w.level == Level::Error).count(),
            statement_start: self.statement_start,
            start_ts: self.txn.start_ts(),
            database: self.database.clone(),
            last_plan_from_cache: self.last_plan_from_cache,
        }
    }
}

/// A session's system variables at one moment: of a statement, which can't ask the session while it runs.
#[derive(Debug, Clone)]
pub struct Variables {
    id: u64,
    vars: SessionVars,
    last_insert_id: u64,
    warning_count: u64,
    error_count: usize,
    statement_start: DateTime<Utc>,
    start_ts: u64,
    database: Option<String>,
    last_plan_from_cache: bool,
}

impl Variables {
    /// The current database's; the server's if there is none.
    pub fn database_collation(&self, server: &dyn Services) -> Collation {
        let database = self.database.as_ref().and_then(|name| server.schema().ok()?.database(name).cloned());
        match database {
            Some(database) => Collation::from_name(&database.info.collate).unwrap_or(Collation::DEFAULT),
            None => self.vars.settings().collation_server,
        }
    }

    /// Value and type of a variable as an expression sees it: `name` is what follows `@@`, perhaps with `global.` or
    /// `session.` in front.
    pub fn get(&self, server: &dyn Services, name: &str) -> Result<(Datum, FieldType), SqlError> {
        let (scope, name) = match name.split_once('.') {
            Some(("global", rest)) => (Some(Scope::Global), rest),
            Some(("session" | "local", rest)) => (Some(Scope::Session), rest),
            _ => (None, name),
        };
        let variable = vars::find(name).ok_or_else(|| SqlError::UnknownSystemVariable(name.into()))?;
        let wrong = |scope| Err(SqlError::IncorrectScope { name: name.into(), scope });
        let value = match (scope, variable.scope) {
            (Some(Scope::Global), vars::Scope::Session) => return wrong("SESSION"),
            (Some(Scope::Session), vars::Scope::Global) => return wrong("GLOBAL"),
            (Some(Scope::Global), _) => server.globals().get(variable),
            _ => self.value(server, variable),
        };
        Ok(variable_datum(variable, &value))
    }

    /// What `SHOW VARIABLES` tells: some are the session's own counters, and those that only exist globally are as they
    /// are now, not as when the session began.
    pub fn value(&self, server: &dyn Services, variable: &vars::SystemVariable) -> String {
        match variable.name {
            "last_insert_id" | "identity" => self.last_insert_id.to_string(),
            "warning_count" => self.warning_count.to_string(),
            "error_count" => self.error_count.to_string(),
            "pseudo_thread_id" => self.id.to_string(),
            "last_plan_from_cache" => u8::from(self.last_plan_from_cache).to_string(),
            "tidb_current_ts" => self.start_ts.to_string(),
            "collation_database" => self.database_collation(server).name().to_owned(),
            "character_set_database" => self.database_collation(server).charset().to_owned(),
            "timestamp" if self.vars.settings().timestamp.is_none() => {
                let micros = self.statement_start.timestamp_micros();
                format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
            }
            _ if variable.scope == vars::Scope::Global => server.globals().get(variable),
            _ => self.vars.value(variable).to_owned(),
        }
    }
}

/// The type that an expression over a value has.
pub fn type_of_datum(value: &Datum) -> FieldType {
    use codec::types::TypeCode;
    match value {
        Datum::Null | Datum::Max => FieldType::new(TypeCode::Null),
        Datum::Int(_) => FieldType::bigint(),
        Datum::UInt(_) | Datum::Bit(_) | Datum::Enum(_) | Datum::Set(_) => FieldType::bigint_unsigned(),
        Datum::Float(_) => FieldType::double(),
        Datum::Decimal(d) => FieldType::decimal(i32::from(d.precision()), i32::from(d.scale())),
        Datum::Bytes(b) => FieldType::varchar(i32::try_from(b.len().max(1)).unwrap_or(i32::MAX)),
        Datum::Time(t) => FieldType { decimal: i32::from(t.fsp), ..FieldType::new(t.kind.type_code()) },
        Datum::Duration(d) => FieldType { decimal: i32::from(d.fsp), ..FieldType::new(TypeCode::Duration) },
        Datum::Json(_) => FieldType::new(TypeCode::Json),
    }
}

fn variable_datum(variable: &vars::SystemVariable, value: &str) -> (Datum, FieldType) {
    let text = || (Datum::string(value), FieldType::varchar(value.chars().count().max(1) as i32));
    match variable.kind {
        Kind::Bool => (Datum::Int(i64::from(value == "ON")), FieldType::bigint()),
        Kind::Int(min, _) if min < 0 => match value.parse() {
            Ok(n) => (Datum::Int(n), FieldType::bigint()),
            Err(_) => text(),
        },
        Kind::Int(..) => match value.parse() {
            Ok(n) => (Datum::UInt(n), FieldType::bigint().with_flags(flags::UNSIGNED)),
            Err(_) => text(),
        },
        Kind::Float => match value.parse() {
            Ok(v) => (Datum::Float(v), FieldType::double()),
            Err(_) => text(),
        },
        Kind::CharsetOrNull if value.is_empty() => (Datum::Null, FieldType::varchar(1)),
        // Read-only numbers (`port`, `protocol_version`, …).
        _ if variable.scope == vars::Scope::ReadOnly && !value.is_empty() => match value.parse() {
            Ok(n) => (Datum::Int(n), FieldType::bigint()),
            Err(_) => text(),
        },
        _ => text(),
    }
}
