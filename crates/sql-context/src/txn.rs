//! The transaction of a session: what it remembers of it. How it begins and ends is in `transaction`.

use std::collections::BTreeSet;
use std::sync::Arc;

use codec::timestamp::Timestamp;
use kv_client::{Stage, Transaction};
use sql_base::SqlError;
use sql_catalog::{RowChanges, Schema, TableInfo, TableKind};

use crate::duplicates::Duplicates;
use crate::services::Services;

/// The transaction of a session.
#[derive(Default)]
pub struct TxnState {
    /// `BEGIN` was said, or autocommit is off and a statement ran.
    pub explicit: bool,
    /// It may change nothing.
    pub read_only: bool,
    /// Each of its statements sees what was committed before the statement, not before the transaction. Fixed when it
    /// begins, whatever the session's level becomes.
    pub read_committed: bool,
    /// `BEGIN PESSIMISTIC` or `OPTIMISTIC` was said, or a retry decided.
    pub pessimistic: Option<bool>,
    /// What its plain reads read at, once the first of them has fixed it. An optimistic transaction reads at its start.
    pub read_ts: Option<Timestamp>,
    pub(crate) kv: Option<Transaction>,
    pub(crate) savepoints: Vec<Savepoint>,
    pub(crate) schema: Option<Arc<Schema>>,
    /// Tables whose rows it changes or locks: id and revision as it saw them.
    pub(crate) used: BTreeSet<(i64, i64)>,
    /// Rows that it has changed, by table: a few, so they are looked through.
    pub(crate) changes: Vec<(i64, RowChanges)>,
    /// What to say of keys that its commit finds to exist.
    pub(crate) duplicates: Duplicates,
    /// What `SET TRANSACTION …` said.
    pub next: NextTransaction,
}

/// A state of the transaction that can be gone back to.
pub(crate) struct Savepoint {
    /// In lower case.
    pub(crate) name: String,
    pub(crate) stage: Stage,
    /// Rows that had been changed.
    pub(crate) changes: Vec<(i64, RowChanges)>,
}

/// Characteristics of the next transaction only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NextTransaction {
    /// It may change nothing.
    pub read_only: Option<bool>,
    /// It reads what is committed.
    pub read_committed: Option<bool>,
}

impl TxnState {
    /// Remembers what to say of keys that only the commit finds to exist.
    pub fn remember_duplicates(&mut self, found: Duplicates) {
        if let Some(txn) = &self.kv {
            self.duplicates.extend(found, txn.buffer());
        }
    }

    /// Its start timestamp, 0 if it has none yet.
    pub fn start_ts(&self) -> u64 {
        self.kv.as_ref().map_or(0, |t| t.start_ts().0)
    }

    /// The key-value transaction, if it began.
    pub fn kv(&self) -> Option<&Transaction> {
        self.kv.as_ref()
    }

    /// A table whose rows this transaction changes or locks, as it sees it.
    pub fn use_table(&mut self, table: &TableInfo) {
        // Nobody else can change a temporary one.
        if table.kind != TableKind::Temporary {
            self.used.insert((table.id, table.revision));
        }
    }

    /// A statement has changed rows of a table. They are counted when the transaction commits.
    pub fn count_changes(&mut self, (table, changes): (i64, RowChanges)) {
        if changes == RowChanges::default() {
            return;
        }
        match self.changes.iter_mut().find(|c| c.0 == table) {
            Some((_, sum)) => sum.add(changes),
            None => self.changes.push((table, changes)),
        }
    }

    /// The schema that the transaction's statements see: the one of its first statement, from when on it is bound to that.
    pub fn schema(&mut self, server: &dyn Services) -> Result<Arc<Schema>, SqlError> {
        if let Some(schema) = &self.schema
            && self.explicit
            && self.kv.is_some()
            // What reads anew each time, and has written nothing, sees a table's newest definition too.
            && !(self.read_committed && self.used.is_empty())
        {
            return Ok(Arc::clone(schema));
        }
        let current = server.schema()?;
        self.schema = Some(Arc::clone(&current));
        Ok(current)
    }

    /// The schema of its last statement, without the session's temporary tables.
    pub fn stored_schema(&self) -> Option<&Arc<Schema>> {
        self.schema.as_ref()
    }

    /// Forgets all but what was said of the next one, and gives what is open.
    pub(crate) fn reset(&mut self) -> Option<Transaction> {
        let kv = self.kv.take();
        *self = TxnState { next: self.next, ..TxnState::default() };
        kv
    }
}
