//! Statistics in the key space, and as this server holds them.
//!
//! ```text
//!   m Stats      / Meta:<table>    counts of the table, and which analysis holds    changes with every flush
//!   m Stats:<t>  / Col:<id>        distribution of a column                         changes with an analysis
//!   m Stats:<t>  / Idx:<id>        distribution of an index
//!   m AnalyzeJobs / <id>           JSON of an analysis, running or over
//! ```
//!
//! The messages are `meridian_statistics`; ids are those of the schema, so that a renamed table keeps its statistics, a
//! truncated one begins anew, and a column that is gone is simply not asked for.
//!
//! A server holds everything in a [`StatisticsCache`] and looks every few seconds whether something changed: the counts of
//! all tables are read, distributions only of tables whose analysis is another. Statements take the [`Statistics`] that is
//! there and never wait.
//!
//! Sessions report what their commits changed ([`StatisticsCache::record`]); it is added to the counts in the key space
//! with the same rhythm. What an analysis has seen already is not added again: a change carries the time of its commit.

use std::collections::HashMap;
use std::sync::Arc;

use ::statistics::{Distribution, Statistics, TableMeta, TableStatistics};
use codec::timestamp::Timestamp;
use kv_client::{Client, TxnOptions};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sql_base::SqlError;

use super::meta::Meta;
use super::schema::Schema;
use crate::transact;

/// Finished analyses that are remembered.
const JOBS_KEPT: usize = 100;
/// A table's rows change the worth of plans when they grow or shrink by this factor.
const ROWS_FACTOR: f64 = 2.0;

/// Rows that commits changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowChanges {
    /// Inserted less deleted.
    pub added: i64,
    /// Inserted, updated or deleted.
    pub touched: u64,
}

impl RowChanges {
    /// Both.
    pub fn add(&mut self, other: RowChanges) {
        self.added = self.added.saturating_add(other.added);
        self.touched = self.touched.saturating_add(other.touched);
    }
}

/// Changes of a table that are not in the key space yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    changes: RowChanges,
    /// Commit of the last of them.
    last_ts: u64,
}

/// An analysis, for SHOW ANALYZE STATUS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnalyzeJob {
    /// Unique; ids rise with time.
    pub id: u64,
    /// Database.
    pub schema: String,
    /// Table.
    pub table: String,
    /// What was analysed, in words.
    pub info: String,
    /// Rows seen.
    pub rows: u64,
    /// When it began: a timestamp.
    pub start_ts: u64,
    /// When it was over.
    pub end_ts: Option<u64>,
    /// Why it failed.
    pub failure: Option<String>,
    /// The server.
    pub server: String,
    /// The connection; 0 where the server decided.
    pub connection: u64,
}

impl AnalyzeJob {
    /// `running`, `finished` or `failed`.
    pub fn state(&self) -> &'static str {
        match (&self.end_ts, &self.failure) {
            (None, _) => "running",
            (Some(_), None) => "finished",
            (Some(_), Some(_)) => "failed",
        }
    }
}

/// What is changed of a table's statistics when an analysis ends.
#[derive(Debug, Default)]
pub struct Analysis {
    /// Counts, and the version of what follows.
    pub meta: TableMeta,
    /// Distributions of columns, by id.
    pub columns: HashMap<i64, Distribution>,
    /// Distributions of indexes, by id.
    pub indexes: HashMap<i64, Distribution>,
}

// ---- In the key space ----

const METAS: &str = "Stats";
const JOBS: &str = "AnalyzeJobs";

fn meta_field(table: i64) -> Vec<u8> {
    format!("Meta:{table}").into_bytes()
}

fn distributions_hash(table: i64) -> String {
    format!("Stats:{table}")
}

fn distribution_field(id: i64, is_index: bool) -> Vec<u8> {
    format!("{}:{id}", if is_index { "Idx" } else { "Col" }).into_bytes()
}

fn damaged(e: impl std::fmt::Display) -> SqlError {
    SqlError::internal("read statistics", e)
}

impl Meta<'_> {
    /// Counts of all tables that have been counted: (table, counts).
    pub async fn statistics_metas(&mut self) -> Result<Vec<(i64, TableMeta)>, SqlError> {
        let fields = self.hash_fields(METAS, b"Meta:").await?;
        let one = |(field, value): (Vec<u8>, Vec<u8>)| {
            let id = std::str::from_utf8(&field).ok().and_then(|f| f.strip_prefix("Meta:")?.parse().ok());
            let id = id.ok_or_else(|| damaged("a key without a table"))?;
            Ok((id, ::statistics::decode_meta(&value).map_err(damaged)?))
        };
        fields.into_iter().map(one).collect()
    }

    /// Counts of a table.
    pub async fn statistics_meta(&mut self, table: i64) -> Result<Option<TableMeta>, SqlError> {
        let value = self.hash_get(METAS, &meta_field(table)).await?;
        value.map(|value| ::statistics::decode_meta(&value).map_err(damaged)).transpose()
    }

    /// Sets a table's counts.
    pub fn put_statistics_meta(&mut self, table: i64, meta: &TableMeta) -> Result<(), SqlError> {
        self.hash_put(METAS, &meta_field(table), ::statistics::encode_meta(meta))
    }

    /// Distributions of a table: of columns and of indexes, by id.
    pub async fn distributions(
        &mut self,
        table: i64,
    ) -> Result<(HashMap<i64, Arc<Distribution>>, HashMap<i64, Arc<Distribution>>), SqlError> {
        let (mut columns, mut indexes) = (HashMap::new(), HashMap::new());
        for (_, value) in self.hash_fields(&distributions_hash(table), b"").await? {
            let (id, is_index, distribution) = ::statistics::decode_distribution(&value).map_err(damaged)?;
            if is_index { &mut indexes } else { &mut columns }.insert(id, Arc::new(distribution));
        }
        Ok((columns, indexes))
    }

    /// Replaces what an analysis found. What it did not look at stays as an earlier one left it.
    pub fn put_analysis(&mut self, table: i64, analysis: &Analysis) -> Result<(), SqlError> {
        let hash = distributions_hash(table);
        for (list, is_index) in [(&analysis.columns, false), (&analysis.indexes, true)] {
            for (id, d) in list {
                let value = ::statistics::encode_distribution(*id, is_index, d);
                self.hash_put(&hash, &distribution_field(*id, is_index), value)?;
            }
        }
        self.put_statistics_meta(table, &analysis.meta)
    }

    /// Forgets a table's distributions; its counts stay unless the table is gone.
    pub async fn delete_statistics(&mut self, table: i64, table_is_gone: bool) -> Result<(), SqlError> {
        let hash = distributions_hash(table);
        for (field, _) in self.hash_fields(&hash, b"").await? {
            self.hash_delete(&hash, &field)?;
        }
        if table_is_gone {
            return self.hash_delete(METAS, &meta_field(table));
        }
        match self.statistics_meta(table).await? {
            Some(meta) => {
                // Whatever was known under the old version is not to be used on.
                let version = self.start_ts();
                self.put_statistics_meta(table, &TableMeta { version, snapshot_ts: 0, ..meta })
            }
            None => Ok(()),
        }
    }

    /// Analyses, oldest first.
    pub async fn analyze_jobs(&mut self) -> Result<Vec<AnalyzeJob>, SqlError> {
        let fields = self.hash_fields(JOBS, b"").await?;
        fields.iter().map(|(_, value)| serde_json::from_slice(value).map_err(damaged)).collect()
    }

    /// Remembers an analysis, and forgets old ones that are over.
    pub async fn put_analyze_job(&mut self, job: &AnalyzeJob) -> Result<(), SqlError> {
        let value = serde_json::to_vec(job).map_err(damaged)?;
        self.hash_put(JOBS, &job.id.to_be_bytes(), value)?;
        let jobs = self.analyze_jobs().await?;
        let over: Vec<u64> = jobs.iter().filter(|j| j.end_ts.is_some()).map(|j| j.id).collect();
        for id in over.iter().take(over.len().saturating_sub(JOBS_KEPT)) {
            self.hash_delete(JOBS, &id.to_be_bytes())?;
        }
        Ok(())
    }
}

// ---- On this server ----

/// The statistics that this server plans with, and the changes that it has not reported yet.
pub struct StatisticsCache {
    kv: Client,
    /// Held for a copy or an assignment.
    current: RwLock<Arc<Statistics>>,
    /// By table. Held for an addition.
    pending: Mutex<HashMap<i64, Pending>>,
    /// One flush and one load at a time, so that an older load does not replace a newer one.
    turn: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for StatisticsCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatisticsCache").field("version", &self.current().version()).finish_non_exhaustive()
    }
}

impl StatisticsCache {
    /// Over a cluster, with nothing known.
    pub fn new(kv: Client) -> StatisticsCache {
        StatisticsCache { kv, current: RwLock::default(), pending: Mutex::default(), turn: Default::default() }
    }

    /// The statistics of now.
    pub fn current(&self) -> Arc<Statistics> {
        Arc::clone(&self.current.read())
    }

    /// A transaction has committed changes of rows: (table, changes).
    pub fn record(&self, changes: &[(i64, RowChanges)], commit_ts: Timestamp) {
        if changes.is_empty() {
            return;
        }
        let mut pending = self.pending.lock();
        for (table, changed) in changes {
            let of_table = pending.entry(*table).or_insert(Pending { changes: RowChanges::default(), last_ts: 0 });
            of_table.changes.add(*changed);
            of_table.last_ts = of_table.last_ts.max(commit_ts.0);
        }
    }

    /// Adds what was recorded to the counts in the key space, of tables that there are.
    pub async fn flush(&self, schema: &Schema) -> Result<(), SqlError> {
        let _turn = self.turn.lock().await;
        let taken = std::mem::take(&mut *self.pending.lock());
        if taken.is_empty() {
            return Ok(());
        }
        let added = transact!(&self.kv, |meta| {
            for (table, pending) in &taken {
                if schema.table_by_id(*table).is_some() {
                    let held = meta.statistics_meta(*table).await?.unwrap_or_default();
                    if let Some(sum) = added_to(held, pending) {
                        meta.put_statistics_meta(*table, &sum)?;
                    }
                }
            }
            Ok(())
        });
        if added.is_err() && !matches!(added, Err(SqlError::Undetermined(_))) {
            let mut pending = self.pending.lock();
            for (table, back) in taken {
                let of_table = pending.entry(table).or_insert(Pending { changes: RowChanges::default(), last_ts: 0 });
                of_table.changes.add(back.changes);
                of_table.last_ts = of_table.last_ts.max(back.last_ts);
            }
        }
        added
    }

    /// Loads what has changed in the key space.
    pub async fn refresh(&self) -> Result<(), SqlError> {
        let _turn = self.turn.lock().await;
        let held = self.current();
        let mut txn = self.kv.begin(TxnOptions::optimistic()).await?;
        let mut meta = Meta::new(&mut txn);
        let metas = meta.statistics_metas().await?;
        let mut changed = metas.len() != held.tables().len();
        let mut worth = false;
        let mut tables = HashMap::with_capacity(metas.len());
        for (id, counts) in metas {
            let table = match held.tables().get(&id) {
                Some(old) if old.meta == counts => Arc::clone(old),
                Some(old) if old.meta.version == counts.version => {
                    changed = true;
                    let new = old.with_meta(counts);
                    let factor = new.rows() / old.rows();
                    worth |= !(1.0 / ROWS_FACTOR..=ROWS_FACTOR).contains(&factor);
                    Arc::new(new)
                }
                _ => {
                    (changed, worth) = (true, true);
                    let (columns, indexes) = meta.distributions(id).await?;
                    Arc::new(TableStatistics::new(counts, columns, indexes))
                }
            };
            tables.insert(id, table);
        }
        if changed {
            let version = held.version() + u64::from(worth);
            *self.current.write() = Arc::new(Statistics::new(version, tables));
        }
        Ok(())
    }

    /// Forgets the statistics of tables that are gone.
    pub async fn forget_dropped(&self, schema: &Schema) -> Result<(), SqlError> {
        let gone: Vec<i64> =
            self.current().tables().keys().copied().filter(|id| schema.table_by_id(*id).is_none()).collect();
        if gone.is_empty() {
            return Ok(());
        }
        transact!(&self.kv, |meta| {
            // A table that this schema does not know may be newer than the schema.
            if meta.schema_version().await? == schema.version() {
                for table in &gone {
                    meta.delete_statistics(*table, true).await?;
                }
            }
            Ok(())
        })
    }
}

/// Counts with changes added. `None`: the analysis has seen all of them.
fn added_to(held: TableMeta, pending: &Pending) -> Option<TableMeta> {
    if pending.last_ts <= held.snapshot_ts {
        return None;
    }
    let RowChanges { added, touched } = pending.changes;
    let rows = held.rows.saturating_add_signed(added);
    Some(TableMeta { rows, modified: held.modified.saturating_add(touched), ..held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_analysis_has_seen_is_not_counted_again() {
        let held = TableMeta { rows: 100, modified: 0, snapshot_ts: 50, version: 50 };
        let pending = |last_ts| Pending { changes: RowChanges { added: 10, touched: 12 }, last_ts };
        assert_eq!(added_to(held, &pending(50)), None);
        assert_eq!(added_to(held, &pending(51)), Some(TableMeta { rows: 110, modified: 12, ..held }));
    }

    #[test]
    fn a_table_never_has_less_than_no_rows() {
        let pending = Pending { changes: RowChanges { added: -10, touched: 10 }, last_ts: 9 };
        let held = TableMeta { rows: 3, ..TableMeta::default() };
        assert_eq!(added_to(held, &pending).map(|m| m.rows), Some(0));
    }
}
