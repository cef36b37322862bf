//! What a statement may use while it runs.
//!
//! The session makes one for each statement and hands it to whoever does the work: the executor (queries, changes,
//! `EXPLAIN`, `DO`, columns for `PREPARE`, and SHOW, which is a query), DDL and ADMIN.

use std::sync::Arc;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_catalog::{AutoIds, Schema, TableInfo, TableKind};

use crate::services::Services;
use crate::state::{Level, SessionState};
use crate::virtual_rows::VirtualRows;

/// One statement's surroundings.
pub struct ExecContext<'a> {
    /// Parts that all sessions share: `server.kv()?` is the key-value client, `server.schemas()?` the schema cache.
    pub server: &'a dyn Services,
    /// The tables that the server computes.
    pub virtual_rows: &'a dyn VirtualRows,
    /// The session's state: variables, current database, transaction, warnings.
    pub session: &'a mut SessionState,
    /// The schema that this statement sees throughout.
    pub schema: Arc<Schema>,
    /// Values of `?`, in order.
    pub params: &'a [Datum],
}

impl ExecContext<'_> {
    /// The transaction that this statement is part of, begun now if there is none yet.
    ///
    /// Autocommit statements get one too: the session commits it when the statement has succeeded and rolls it back when
    /// it failed. In an explicit transaction the session puts a stage under each statement, so the executor needs no
    /// undo of its own.
    pub async fn txn(&mut self) -> Result<&mut kv_client::Transaction, SqlError> {
        self.session.transaction(self.server).await
    }

    /// No explicit transaction is open, and none will be after this statement: a read may choose its own timestamp.
    pub fn is_autocommit(&self) -> bool {
        self.session.is_autocommit()
    }

    /// The counters of a table.
    pub fn auto_ids(&self, table: &TableInfo) -> Result<Arc<AutoIds>, SqlError> {
        match table.kind {
            TableKind::Temporary => Ok(Arc::clone(self.session.temporary.ids())),
            _ => self.server.auto_ids(),
        }
    }

    /// The database that unqualified names mean.
    pub fn database(&self) -> Result<&str, SqlError> {
        self.session.database.as_deref().ok_or(SqlError::NoDatabaseSelected)
    }

    /// Adds a warning for `SHOW WARNINGS`.
    pub fn warn(&mut self, error: &SqlError) {
        self.session.push_warning(Level::Warning, error);
    }

    /// Adds a note for `SHOW WARNINGS`.
    pub fn note(&mut self, error: &SqlError) {
        self.session.push_warning(Level::Note, error);
    }

    /// `KILL` and `max_execution_time`: call between batches.
    pub fn check_interrupted(&self) -> Result<(), SqlError> {
        self.session.check_interrupted()
    }
}
