//! Temporary tables of a session: `CREATE TEMPORARY TABLE`.
//!
//! A temporary table hides the table that has its name, for this session only, until it is dropped or the session ends or
//! is reset. Its definition is laid over the schema of each statement; its rows are in the memory of this server
//! ([`kv_client::Private`]), under keys that no stored table has, so that whatever reads and writes rows knows no
//! difference. As in TiDB its rows are part of the transaction, and `tidb_tmp_table_max_size` bounds each table.
//!
//! Not here: how a definition is built (`sql-ddl`), which statements may name one.

use std::sync::Arc;

use codec::table::{self, PhysicalTableId};
use kv_client::Private;
use sql_catalog::{AutoIds, Schema, TableInfo};

/// Ids of temporary tables begin here. Those of others are counted from 1, and never come near.
const FIRST_ID: i64 = 1 << 60;

/// The temporary tables of a session.
pub struct TemporaryTables {
    /// Database in lower case, and table.
    tables: Vec<(String, Arc<TableInfo>)>,
    next_id: i64,
    rows: Private,
    ids: Arc<AutoIds>,
    /// The last schema that the tables were laid over, and what came of it.
    laid: Option<(Arc<Schema>, Arc<Schema>)>,
}

impl Default for TemporaryTables {
    fn default() -> Self {
        let (start, end) =
            (table::table_prefix(PhysicalTableId(FIRST_ID)), table::table_prefix(PhysicalTableId(i64::MAX)));
        TemporaryTables {
            tables: Vec::new(),
            next_id: FIRST_ID,
            rows: Private::new(&start, &end),
            ids: Arc::new(AutoIds::private()),
            laid: None,
        }
    }
}

impl TemporaryTables {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// A temporary table by name.
    pub fn find(&self, database: &str, name: &str) -> Option<&Arc<TableInfo>> {
        let database = database.to_lowercase();
        self.tables.iter().find(|(d, t)| *d == database && t.name.matches(name)).map(|(_, t)| t)
    }

    /// A schema with these tables over those that it has.
    pub fn over(&mut self, schema: &Arc<Schema>) -> Arc<Schema> {
        if self.tables.is_empty() {
            return Arc::clone(schema);
        }
        if let Some((base, laid)) = &self.laid
            && Arc::ptr_eq(base, schema)
        {
            return Arc::clone(laid);
        }
        let first = (**schema).clone();
        let laid =
            self.tables.iter().fold(first, |schema, (database, table)| schema.with_table(database, Arc::clone(table)));
        let laid = Arc::new(laid);
        self.laid = Some((Arc::clone(schema), Arc::clone(&laid)));
        laid
    }

    /// The rows of all of them, if there may be any.
    pub fn rows(&self) -> Option<&Private> {
        (!self.tables.is_empty()).then_some(&self.rows)
    }

    /// Their counters.
    pub fn ids(&self) -> &Arc<AutoIds> {
        &self.ids
    }

    /// Adds a table, under an id that none has had.
    pub fn add(&mut self, database: &str, mut table: TableInfo) {
        table.id = self.next_id;
        self.next_id += 1;
        self.laid = None;
        self.tables.push((database.to_lowercase(), Arc::new(table)));
    }

    /// Drops a table and its rows; says whether there was one.
    pub fn remove(&mut self, database: &str, name: &str) -> bool {
        let Some(id) = self.find(database, name).map(|table| table.id) else { return false };
        self.tables.retain(|(_, table)| table.id != id);
        self.laid = None;
        self.empty(id);
        true
    }

    /// Removes all rows of a table and begins its counters anew.
    pub fn empty(&self, id: i64) {
        let (start, end) = table::table_range(PhysicalTableId(id));
        self.rows.forget(&start, &end);
        self.ids.forget(id);
    }
}
