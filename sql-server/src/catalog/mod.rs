//! The catalogue: which databases, tables and policies there are, and how every server comes to agree on it.
//!
//! ```text
//!   key space (m…)  --load/diff-->  SchemaCache --Arc--> statement
//!        ^                              ^  |
//!        | a DDL step's transaction     |  | ack: /tidb/ddl/all_schema_versions/<server>
//!   crate::ddl (owner) --put--> /tidb/ddl/global_schema_version --watch--
//! ```
//!
//! [`model`] is what is stored, [`schema`] the immutable snapshot that statements use.

pub mod model;
pub mod schema;

pub mod autoid;
pub mod cache;
pub mod load;
pub mod meta;

mod field_type;

pub use autoid::AutoIds;
pub use cache::{CommitGuard, SchemaCache, UsedTable};
pub use meta::{AutoIdKind, Meta};

pub use model::{
    ColumnDefault, ColumnInfo, DatabaseInfo, IndexColumn, IndexInfo, IndexMaintenance, Name, PlacementSettings,
    PolicyInfo, PolicyRef, SchemaState, TableInfo, TableKind,
};
pub use schema::{Database, Schema, is_system_database, is_virtual_database};

use crate::error::SqlError;

/// Attempts of [`transact`] before a conflict is reported: others that change the catalogue finish within a few.
const TRANSACT_ATTEMPTS: u32 = 50;

/// Runs `work` in a transaction of its own over the catalogue and commits it. Runs it again when another transaction
/// was faster; not when the outcome of the commit is unknown.
pub async fn transact<T>(
    client: &kv_client::Client,
    mut work: impl AsyncFnMut(&mut Meta<'_>) -> Result<T, SqlError>,
) -> Result<T, SqlError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut txn = client.begin(kv_client::TxnOptions::optimistic()).await?;
        let result = match work(&mut Meta::new(&mut txn)).await {
            Ok(value) => txn.commit().await.map(|_| value).map_err(SqlError::from),
            Err(error) => {
                let _ = txn.rollback().await;
                Err(error)
            }
        };
        match result {
            Err(SqlError::WriteConflict(_)) if attempt < TRANSACT_ATTEMPTS => {
                let pause = rand::random_range(1..=10 * u64::from(attempt.min(10)));
                tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            }
            result => return result,
        }
    }
}

/// Upper-case hexadecimal of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The bytes of hexadecimal text.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
