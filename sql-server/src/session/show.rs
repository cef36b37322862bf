//! Statements that show rows: each is a query over tables that the server computes ([`crate::admin::show`]), bound, planned
//! and run as any other.
//!
//! It belongs to no transaction: it sees definitions as they are now, and changes neither what the transaction sees nor
//! what it has locked. It needs a cluster only if its rows, or its condition, do.

use std::sync::Arc;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Outcome};
use sql_catalog::{Schema, virtual_tables};
use sql_context::ExecContext;
use sql_parser::{ParsedStatement, Show, ShowFilter, ShowKind, TableName};

use super::Session;
use crate::admin::show::{self, Query};

/// DESCRIBE as the SHOW that it is.
pub(super) fn described(table: &TableName, column: Option<&str>) -> Show {
    let filter = column.map(|c| ShowFilter::Like(c.to_owned()));
    Show { kind: ShowKind::Columns { full: false, table: table.clone() }, filter, limit: None }
}

impl Session {
    /// Runs SHOW. `params` are the values of the `?` in its condition.
    pub(super) async fn show(&mut self, show: &Show, params: &[Datum]) -> Result<Outcome, SqlError> {
        let server = Arc::clone(&self.server);
        let query = show::show(&server, &self.state, show)?;
        self.run_shown(query, params).await
    }

    /// Columns of what SHOW will give.
    pub(super) async fn describe_show(&mut self, show: &Show, params: usize) -> Result<Vec<ColumnMeta>, SqlError> {
        let server = Arc::clone(&self.server);
        let query = show::show(&server, &self.state, show)?;
        let (parsed, schema) = self.prepare_shown(&query)?;
        let values = vec![Datum::Null; query.values.len() + params];
        let mut ctx = ExecContext {
            server: &*server,
            virtual_rows: query.rows(),
            session: &mut self.state,
            schema,
            params: &values,
        };
        super::describe_statement(&mut ctx, &parsed.statement).await
    }

    /// Runs such a query.
    pub(super) async fn run_shown(&mut self, mut query: Query<'_>, params: &[Datum]) -> Result<Outcome, SqlError> {
        let (parsed, schema) = self.prepare_shown(&query)?;
        query.values.extend_from_slice(params);
        // The time of a SELECT is limited, that of SHOW is not.
        self.state.time_limit = None;
        let interrupt = Arc::clone(&self.state.interrupt);
        let server = Arc::clone(&self.server);
        let mut ctx = ExecContext {
            server: &*server,
            virtual_rows: query.rows(),
            session: &mut self.state,
            schema,
            params: &query.values,
        };
        let result = tokio::select! {
            biased;
            result = super::execute(&mut ctx, &parsed.statement, None) => result,
            () = interrupt.killed() => Err(interrupt.reason()),
        };
        // A subquery of the condition may have begun something.
        if query.names_tables && self.state.is_autocommit() {
            self.state.rollback().await;
        }
        result
    }

    fn prepare_shown(&mut self, query: &Query<'_>) -> Result<(ParsedStatement, Arc<Schema>), SqlError> {
        let parsed = sql_parser::parse_one(query.text.as_bytes(), self.state.vars.lex_mode())?;
        let base = match query.names_tables {
            true => self.state.schema(&*self.server).unwrap_or_else(|_| virtual_tables::schema()),
            false => virtual_tables::schema(),
        };
        Ok((parsed, query.schema(base)))
    }
}
