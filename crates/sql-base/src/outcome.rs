//! What a statement gives back, before it is packets.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use futures::StreamExt;
use futures::stream::BoxStream;
use query::batch::Batch;

use crate::error::SqlError;

/// Result of one statement.
#[derive(Debug)]
pub enum Outcome {
    /// A result set.
    Rows(ResultSet),
    /// No result set.
    Ok(Done),
}

impl Outcome {
    /// Nothing changed.
    pub fn ok() -> Self {
        Outcome::Ok(Done::default())
    }

    /// Rows changed.
    pub fn affected(rows: u64) -> Self {
        Outcome::Ok(Done { affected_rows: rows, ..Done::default() })
    }
}

/// What a statement without a result set reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that changed. `REPLACE` counts deleted and inserted ones, `ON DUPLICATE KEY UPDATE` counts 1 or 2.
    pub affected_rows: u64,
    /// Rows that an `UPDATE` found (`ON DUPLICATE KEY UPDATE` too, also if it left them as they were), reported instead
    /// when the client asked for found rows. `None`: same as affected.
    pub matched_rows: Option<u64>,
    /// What the client is told: the first id that was generated, else that of `LAST_INSERT_ID(id)`, else the last one
    /// given by hand, or 0.
    pub last_insert_id: u64,
    /// The first id that was generated: what `LAST_INSERT_ID()` is from now on. 0: it stays.
    pub generated_id: u64,
    /// `Records: 2  Duplicates: 0  Warnings: 0`, `Rows matched: 1  Changed: 1  Warnings: 0`, or empty.
    pub info: String,
}

/// Columns and rows.
pub struct ResultSet {
    /// Metadata, one for each column.
    pub columns: Arc<[ColumnMeta]>,
    /// The rows.
    pub rows: Rows,
}

impl std::fmt::Debug for ResultSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResultSet").field("columns", &self.columns).finish_non_exhaustive()
    }
}

/// A stream of batches. It owns what it needs; dropping it stops the work.
pub type BatchStream = BoxStream<'static, Result<Batch, SqlError>>;

/// Rows of a result set.
pub enum Rows {
    /// All of them, in memory: `SHOW` and point reads.
    Datums(Vec<Vec<Datum>>),
    /// Batches, as the operators give them.
    Batches(BatchStream),
}

/// All rows of a stream, for results that are known to be small.
pub async fn collect(mut stream: BatchStream) -> Result<Vec<Vec<Datum>>, SqlError> {
    let mut rows = Vec::new();
    while let Some(batch) = stream.next().await {
        rows.extend(batch?.rows());
    }
    Ok(rows)
}

/// What a client learns about a column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMeta {
    /// Database of the table, or empty.
    pub schema: String,
    /// Table's alias, or empty.
    pub table: String,
    /// Table's own name, or empty.
    pub org_table: String,
    /// Column's alias.
    pub name: String,
    /// Column's own name, or empty.
    pub org_name: String,
    /// Type, with flags, length, decimals and collation.
    pub ty: FieldType,
}

impl ColumnMeta {
    /// A column that belongs to no table.
    pub fn computed(name: impl Into<String>, ty: FieldType) -> Self {
        ColumnMeta {
            schema: String::new(),
            table: String::new(),
            org_table: String::new(),
            name: name.into(),
            org_name: String::new(),
            ty,
        }
    }
}
