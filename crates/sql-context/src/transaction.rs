//! A session's transaction: when it begins, what a failed statement undoes, how it ends.
//!
//! | | begins | a statement fails | ends |
//! |---|---|---|---|
//! | autocommit | with the statement, if it needs one | all is rolled back | the statement's end commits |
//! | `BEGIN`, `autocommit = 0` | with the first statement that needs it | its stage is undone, locks stay | `COMMIT`, `ROLLBACK`, DDL |
//!
//! Each statement of an explicit transaction runs in a *stage* of the write buffer; a savepoint is a stage that stays
//! open. A deadlock rolls the whole transaction back, as in MySQL. Conflicts are retried by `sql-server`.
//!
//! Commits go through [`sql_catalog::SchemaCache::begin_commit`]: tables that a transaction changed must still be as it
//! saw them.

use std::sync::Arc;

use kv_client::{Stage, Transaction, TxnOptions};
use sql_base::SqlError;
use sql_catalog::{CommitGuard, Schema, UsedTable};

use crate::evaluation::time_zone;
use crate::services::Services;
use crate::state::{Level, SessionState};
use crate::txn::Savepoint;

impl SessionState {
    /// The transaction, begun now if there is none.
    pub async fn transaction(&mut self, server: &dyn Services) -> Result<&mut Transaction, SqlError> {
        if self.txn.kv.is_none() {
            let pessimistic = self.is_pessimistic();
            let options = if pessimistic { TxnOptions::pessimistic() } else { TxnOptions::optimistic() };
            self.txn.kv = Some(server.kv()?.begin(options).await?);
            self.use_temporary_tables();
        }
        match self.txn.kv.as_mut() {
            Some(txn) => Ok(txn),
            None => Err(SqlError::Other("no transaction".into())),
        }
    }

    /// Lets the transaction that is open read and write the session's temporary tables.
    pub fn use_temporary_tables(&mut self) {
        if let (Some(txn), Some(rows)) = (self.txn.kv.as_mut(), self.temporary.rows()) {
            rows.set_limit(self.vars.settings().temporary_table_bytes);
            txn.use_private(rows);
        }
    }

    /// The schema that statements see: the transaction's, under the session's temporary tables.
    pub fn schema(&mut self, server: &dyn Services) -> Result<Arc<Schema>, SqlError> {
        let schema = self.txn.schema(server)?;
        Ok(self.temporary.over(&schema))
    }

    /// Whether the transaction locks as it goes. A statement that commits itself doesn't, unless it met a conflict.
    pub fn is_pessimistic(&self) -> bool {
        match self.txn.pessimistic {
            Some(said) => said,
            None => self.txn.explicit && self.vars.settings().pessimistic,
        }
    }

    /// `BEGIN`: ends what was open. What isn't said here, `SET TRANSACTION` or the session's variables say.
    pub async fn begin(
        &mut self,
        server: &dyn Services,
        read_only: Option<bool>,
        pessimistic: Option<bool>,
    ) -> Result<(), SqlError> {
        self.commit(server).await?;
        self.txn.pessimistic = pessimistic;
        self.open();
        self.txn.read_only = read_only.unwrap_or(self.txn.read_only);
        Ok(())
    }

    /// An explicit transaction is open from here on.
    pub fn open(&mut self) {
        if !self.txn.explicit {
            self.txn.explicit = true;
            self.txn.read_only = self.begins_read_only();
            let next = std::mem::take(&mut self.txn.next);
            self.txn.read_committed = next.read_committed.unwrap_or(self.vars.settings().read_committed);
            // As in TiDB, it reads as under REPEATABLE READ.
            if self.txn.read_committed && !self.is_pessimistic() {
                let option = "READ COMMITTED in an optimistic transaction".to_owned();
                self.push_warning(Level::Warning, &SqlError::OptionIgnored(option));
            }
        }
    }

    /// Whether a transaction that begins now may change nothing.
    pub fn begins_read_only(&self) -> bool {
        self.txn.next.read_only.unwrap_or(self.vars.settings().read_only)
    }

    /// Commits what is open, if anything.
    pub async fn commit(&mut self, server: &dyn Services) -> Result<(), SqlError> {
        let used: Vec<UsedTable> =
            self.txn.used.iter().map(|(id, revision)| UsedTable { id: *id, revision: *revision }).collect();
        let schema = self.txn.schema.clone();
        let duplicates = std::mem::take(&mut self.txn.duplicates);
        let changes = std::mem::take(&mut self.txn.changes);
        let Some(mut txn) = self.txn.reset() else { return Ok(()) };
        if txn.is_readonly() {
            // Nothing to commit and nothing locked.
            return Ok(());
        }
        // The server may have become read-only since it wrote.
        if !txn.buffer().is_empty()
            && let Err(e) = self.check_server_writable(server)
        {
            roll_back(txn).await;
            return Err(e);
        }
        // Held until the commit has returned: schema changes wait for it.
        let guard = match begin_commit(server, &used).await {
            Ok(guard) => guard,
            Err(e) => {
                roll_back(txn).await;
                return Err(e);
            }
        };
        let fence = guard.fence();
        txn.set_commit_check(Arc::new(move |_| fence()));
        let result = txn.commit().await;
        drop(guard);
        match result {
            Ok(commit_ts) => {
                // Counted for statistics; that there are none is no reason to fail.
                if let (false, Ok(statistics)) = (changes.is_empty(), server.statistics()) {
                    statistics.record(&changes, commit_ts);
                }
                Ok(())
            }
            Err(e) => {
                if !matches!(e, kv_client::Error::Undetermined(_)) && !txn.is_finished() {
                    roll_back(txn).await;
                }
                // A duplicate that only the commit found. Its key says which columns and values, as far as the collation
                // keeps them.
                if let (kv_client::Error::KeyExists { key }, Ok(client)) = (&e, server.kv())
                    && let Some(duplicate) = duplicates.first(key, None, &client).await
                {
                    return Err(duplicate.clone());
                }
                if let (kv_client::Error::KeyExists { key }, Some(schema)) = (&e, &schema) {
                    let zone = time_zone(self);
                    return Err(sql_catalog::row::duplicate_key(schema, key, &zone));
                }
                Err(e.into())
            }
        }
    }

    /// Rolls back what is open, if anything.
    pub async fn rollback(&mut self) {
        if let Some(txn) = self.txn.reset() {
            roll_back(txn).await;
        }
    }

    /// Opens a stage for a statement of an explicit transaction that began already.
    pub fn begin_statement_stage(&mut self) -> Option<Stage> {
        self.txn.kv.as_mut().map(Transaction::stage)
    }

    /// Ends the statement's stage: `undo` takes its writes back. If the transaction began within the statement, its
    /// writes are all the statement's, and it is rolled back whole.
    pub async fn end_statement_stage(&mut self, stage: Option<Stage>, undo: bool) {
        match (stage, self.txn.kv.as_mut()) {
            (Some(stage), Some(txn)) => {
                if undo {
                    txn.rollback_to(stage);
                }
                txn.release(stage);
            }
            (None, Some(_)) if undo => {
                if let Some(txn) = self.txn.kv.take() {
                    roll_back(txn).await;
                }
                self.txn.read_ts = None;
                self.txn.savepoints.clear();
                self.txn.changes.clear();
                self.txn.used.clear();
                self.txn.schema = None;
            }
            _ => {}
        }
    }

    /// `SAVEPOINT name`; replaces an older one of that name.
    pub async fn savepoint(&mut self, server: &dyn Services, name: &str) -> Result<(), SqlError> {
        // Outside of a transaction a savepoint means nothing, as in MySQL.
        if self.is_autocommit() {
            return Ok(());
        }
        self.open();
        let stage = self.transaction(server).await?.stage();
        if let Some(at) = self.find_savepoint(name) {
            let old = self.txn.savepoints.remove(at);
            if let Some(txn) = self.txn.kv.as_mut() {
                txn.release(old.stage);
            }
        }
        let changes = self.txn.changes.clone();
        self.txn.savepoints.push(Savepoint { name: name.to_lowercase(), stage, changes });
        Ok(())
    }

    /// `ROLLBACK TO name`: it stays, later ones go.
    pub fn rollback_to_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let at = self.find_savepoint(name).ok_or_else(|| SqlError::NoSuchSavepoint(name.into()))?;
        self.txn.savepoints.truncate(at + 1);
        let stage = self.txn.savepoints[at].stage;
        self.txn.changes = self.txn.savepoints[at].changes.clone();
        if let Some(txn) = self.txn.kv.as_mut() {
            txn.rollback_to(stage);
        }
        Ok(())
    }

    /// `RELEASE SAVEPOINT name`: it and later ones go, their writes stay.
    pub fn release_savepoint(&mut self, name: &str) -> Result<(), SqlError> {
        let at = self.find_savepoint(name).ok_or_else(|| SqlError::NoSuchSavepoint(name.into()))?;
        for savepoint in self.txn.savepoints.split_off(at) {
            if let Some(txn) = self.txn.kv.as_mut() {
                txn.release(savepoint.stage);
            }
        }
        Ok(())
    }

    fn find_savepoint(&self, name: &str) -> Option<usize> {
        let name = name.to_lowercase();
        self.txn.savepoints.iter().position(|s| s.name == name)
    }
}

/// Lets a transaction commit that changed these tables, if they are still as it saw them. The guard is kept until the
/// commit has returned.
async fn begin_commit(server: &dyn Services, tables: &[UsedTable]) -> Result<CommitGuard, SqlError> {
    server.schemas()?.begin_commit(tables).await
}

async fn roll_back(mut txn: Transaction) {
    if let Err(e) = txn.rollback().await {
        // Its locks expire by themselves, and whoever meets them resolves them.
        tracing::info!(start_ts = txn.start_ts().0, "rollback failed, locks are left to expire: {e}");
    }
}
