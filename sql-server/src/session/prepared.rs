//! Prepared statements: those of the binary protocol, by number, and those of `PREPARE`, by name.
//!
//! A statement is parsed once, when it is prepared; each execution gives it values. A query or a change is planned once as
//! well, as far as the values allow: `sql_exec::plan_cache`.

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use query::value::to_text;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Outcome};
use sql_context::ExecContext;
use sql_parser::{ParsedStatement, PrepareSource, Statement};

use super::Session;
use crate::metrics;

/// Number of a prepared statement of the binary protocol.
pub type PreparedId = u32;

/// Statements that one session may keep, so that a leak in a client can't fill the server's memory.
const PREPARED_MAX: usize = 16_382;

/// The type a client declares for a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParamType {
    /// Type number.
    pub code: u8,
    /// Unsigned flag.
    pub unsigned: bool,
}

/// A prepared statement.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What each of its executions needs of it.
    pub source: Source,
    /// Number of `?`.
    pub params: usize,
    /// Columns of its result, as known when it was prepared.
    pub columns: Vec<ColumnMeta>,
    /// Types of the parameters, as the client declared them last.
    pub param_types: Vec<ParamType>,
    /// Parameters that were sent in pieces.
    pub long_data: HashMap<u16, Vec<u8>>,
}

/// What was prepared.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its text.
    pub text: Arc<str>,
    /// Under what its plans are kept: the text, and how it was read if that is not as usual.
    plan_key: Arc<str>,
    /// Parsed.
    pub parsed: Arc<ParsedStatement>,
    /// The database that its unqualified names mean: the current one when it was prepared.
    database: Option<Arc<str>>,
}

#[derive(Default)]
pub(super) struct PreparedStatements {
    by_id: HashMap<PreparedId, Prepared>,
    by_name: HashMap<String, Prepared>,
    last_id: PreparedId,
}

impl Session {
    /// Prepares a statement of the binary protocol.
    pub async fn prepare(&mut self, text: &str) -> Result<(PreparedId, &Prepared), SqlError> {
        self.state.warnings.clear();
        self.state.warning_count = 0;
        let prepared = self.make_prepared(text).await?;
        let statements = &mut self.prepared;
        if statements.by_id.len() + statements.by_name.len() >= PREPARED_MAX {
            return Err(SqlError::TooManyPrepared(PREPARED_MAX));
        }
        statements.last_id = statements.last_id.wrapping_add(1).max(1);
        let id = statements.last_id;
        Ok((id, &*statements.by_id.entry(id).insert_entry(prepared).into_mut()))
    }

    async fn make_prepared(&mut self, text: &str) -> Result<Prepared, SqlError> {
        let mode = self.state.vars.lex_mode();
        let mut pieces = sql_parser::split(text.as_bytes(), mode)?;
        let parsed = match pieces.len() {
            0 => return Err(SqlError::EmptyQuery),
            1 => pieces.remove(0).parse(text.as_bytes())?,
            _ => return Err(SqlError::PrepareMulti),
        };
        if parsed.params > usize::from(u16::MAX) {
            return Err(SqlError::TooManyPlaceholders);
        }
        match &parsed.statement {
            Statement::Prepare { .. }
            | Statement::Execute { .. }
            | Statement::Deallocate(_)
            | Statement::LoadData(_) => {
                return Err(SqlError::UnsupportedPrepare);
            }
            Statement::Unsupported(what) => return Err(SqlError::NotSupported(what.clone())),
            _ => {}
        }
        let columns = match &parsed.statement {
            Statement::Query(_) => self.describe_query(&parsed.statement, parsed.params).await?,
            Statement::Show(show) => self.describe_show(show, parsed.params).await?,
            Statement::Describe { table, column } => {
                self.describe_show(&super::show::described(table, column.as_deref()), 0).await?
            }
            _ => Vec::new(),
        };
        let source: Arc<str> = text.into();
        let plan_key = match mode == sql_parser::LexMode::default() {
            true => source.clone(),
            false => format!("{mode:?} {text}").into(),
        };
        Ok(Prepared {
            params: parsed.params,
            source: Source {
                text: source,
                plan_key,
                parsed: Arc::new(parsed),
                database: self.state.database.as_deref().map(Arc::from),
            },
            columns,
            param_types: Vec::new(),
            long_data: HashMap::new(),
        })
    }

    /// Columns that a query will give.
    pub(super) async fn describe_query(
        &mut self,
        statement: &Statement,
        params: usize,
    ) -> Result<Vec<ColumnMeta>, SqlError> {
        let nulls = vec![Datum::Null; params];
        if let Statement::Query(query) = statement
            && let Some(result) = super::constant::select(&self.server, &mut self.state, query)?
        {
            return Ok(result.columns.to_vec());
        }
        let schema = self.state.schema(&*self.server)?;
        let mut ctx = ExecContext {
            server: &*self.server,
            virtual_rows: &*self.server,
            session: &mut self.state,
            schema,
            params: &nulls,
        };
        super::describe_statement(&mut ctx, statement).await
    }

    /// The statement of a number.
    pub fn prepared(&mut self, id: PreparedId, command: &'static str) -> Result<&mut Prepared, SqlError> {
        let name = id.to_string();
        self.prepared.by_id.get_mut(&id).ok_or(SqlError::UnknownStatement { name, command })
    }

    /// Forgets a statement; an unknown number is ignored, as the protocol has no answer to it.
    pub fn close_prepared(&mut self, id: PreparedId) {
        self.prepared.by_id.remove(&id);
    }

    /// Runs a statement of the binary protocol.
    pub async fn execute_prepared(&mut self, source: &Source, params: &[Datum]) -> Result<Outcome, SqlError> {
        let database = self.enter_prepared(source);
        let result = self.execute(&source.parsed, &source.text, params).await;
        self.leave_prepared(source, database);
        result
    }

    /// A prepared statement finds its plans, and its names mean what they meant when it was prepared, whatever database is
    /// the current one by now: that one is given.
    fn enter_prepared(&mut self, source: &Source) -> Option<Option<String>> {
        self.plan_key = self.state.vars.settings().prepared_plan_cache.then(|| source.plan_key.clone());
        let statement = &source.parsed.statement;
        let reads = is_planned(statement) || matches!(statement, Statement::SelectInto { .. });
        (reads && self.state.database.as_deref() != source.database.as_deref())
            .then(|| std::mem::replace(&mut self.state.database, source.database.as_deref().map(str::to_owned)))
    }

    fn leave_prepared(&mut self, source: &Source, database: Option<Option<String>>) {
        self.count_plan(&source.parsed.statement);
        self.plan_key = None;
        if let Some(database) = database {
            self.state.database = database;
        }
    }

    /// Counts whether a statement that may have a plan found it.
    pub(super) fn count_plan(&self, statement: &Statement) {
        if is_planned(statement) && self.plan_key.is_some() {
            let result = if self.state.plan_from_cache { "hit" } else { "miss" };
            metrics::PLANS.with_label_values(&[result]).inc();
        }
    }

    pub(super) async fn prepare_named(&mut self, name: &str, source: &PrepareSource) -> Result<Outcome, SqlError> {
        let text = match source {
            PrepareSource::Text(text) => text.clone(),
            PrepareSource::Variable(variable) => {
                let (value, ty) = self.state.user_variable(variable);
                let bytes = if value.is_null() { b"NULL".to_vec() } else { to_text(&value, &ty).unwrap_or_default() };
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        // A failed PREPARE forgets the older statement of that name.
        self.prepared.by_name.remove(&name.to_lowercase());
        let prepared = self.make_prepared(&text).await?;
        if self.prepared.by_id.len() + self.prepared.by_name.len() >= PREPARED_MAX {
            return Err(SqlError::TooManyPrepared(PREPARED_MAX));
        }
        self.prepared.by_name.insert(name.to_lowercase(), prepared);
        Ok(Outcome::ok())
    }

    pub(super) async fn execute_named(&mut self, name: &str, using: &[String]) -> Result<Outcome, SqlError> {
        let prepared = self.prepared.by_name.get(&name.to_lowercase());
        let unknown = || SqlError::UnknownStatement { name: name.into(), command: "EXECUTE" };
        let prepared = prepared.ok_or_else(unknown)?;
        if using.len() != prepared.params {
            return Err(SqlError::WrongParameters("EXECUTE"));
        }
        let source = prepared.source.clone();
        let values: Vec<Datum> = using.iter().map(|v| self.state.user_variable(v).0).collect();
        let database = self.enter_prepared(&source);
        let result = self.run_parsed(&source.parsed, &source.text, &values, None).await;
        self.leave_prepared(&source, database);
        result
    }

    pub(super) fn deallocate_named(&mut self, name: &str) -> Result<Outcome, SqlError> {
        match self.prepared.by_name.remove(&name.to_lowercase()) {
            Some(_) => Ok(Outcome::ok()),
            None => Err(SqlError::UnknownStatement { name: name.into(), command: "DEALLOCATE PREPARE" }),
        }
    }
}

/// Whether a statement is one that has a plan.
fn is_planned(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_) | Statement::Insert(_) | Statement::Update { .. } | Statement::Delete { .. }
    )
}
