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

use std::ops::ControlFlow;
use std::time::Duration;

use sql_base::SqlError;

/// Attempts of [`transact!`] before a conflict is reported: others that change the catalogue finish within a few.
const TRANSACT_ATTEMPTS: u32 = 50;

/// `transact!(client, |meta| body)`: runs the body in a transaction of its own over the catalogue and commits it. Runs
/// it again when another transaction was faster; not when the outcome of the commit is unknown.
///
/// A macro and not a function with an async closure, whose future the compiler cannot yet prove to be `Send`.
macro_rules! transact {
    ($client:expr, |$meta:ident| $body:expr) => {{
        let mut attempt = 0_u32;
        loop {
            attempt += 1;
            let mut txn = match $client.begin(kv_client::TxnOptions::optimistic()).await {
                Ok(txn) => txn,
                Err(error) => break Err(::sql_base::SqlError::from(error)),
            };
            let result: Result<_, ::sql_base::SqlError> = {
                let mut meta = $crate::catalog::Meta::new(&mut txn);
                let $meta = &mut meta;
                async { $body }.await
            };
            match $crate::catalog::end_attempt(txn, result, attempt).await {
                std::ops::ControlFlow::Break(result) => break result,
                std::ops::ControlFlow::Continue(()) => {}
            }
        }
    }};
}
pub(crate) use transact;

/// The end of an attempt of [`transact!`]: commits or rolls back, and says whether there is to be another.
pub(crate) async fn end_attempt<T>(
    mut txn: kv_client::Transaction,
    result: Result<T, SqlError>,
    attempt: u32,
) -> ControlFlow<Result<T, SqlError>> {
    let result = match result {
        Ok(value) => txn.commit().await.map(|_| value).map_err(SqlError::from),
        Err(error) => {
            let _ = txn.rollback().await;
            Err(error)
        }
    };
    match result {
        Err(SqlError::WriteConflict(_)) if attempt < TRANSACT_ATTEMPTS => {
            let pause = rand::random_range(1..=10 * u64::from(attempt.min(10)));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            ControlFlow::Continue(())
        }
        result => ControlFlow::Break(result),
    }
}
