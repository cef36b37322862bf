//! The tables that the server computes when they are read ([`sql_catalog::virtual_tables`]), as a statement asks for them.
//!
//! `sql-server` gives the rows: those of `information_schema`, and for SHOW and ADMIN those of the tables that only such a
//! statement has. They come whole; conditions are the executor's matter.

use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use sql_base::SqlError;
use sql_catalog::{Schema, TableInfo};

use crate::state::SessionState;

/// What a statement asks of a computed table.
#[derive(Clone, Copy)]
pub struct VirtualRead<'a> {
    /// The schema. It has none of the session's temporary tables: nobody is told of those, as in MySQL.
    pub schema: &'a Arc<Schema>,
    /// Who asks.
    pub session: &'a SessionState,
    /// Offsets of the columns that are read. What costs something may be left NULL in the others.
    pub columns: &'a [usize],
}

/// Where the rows of computed tables come from.
#[async_trait]
pub trait VirtualRows: Send + Sync {
    /// The rows of a table in the order in which they are shown, each with a value for every column.
    async fn virtual_rows(&self, table: &TableInfo, read: VirtualRead<'_>) -> Result<Vec<Vec<Datum>>, SqlError>;
}
