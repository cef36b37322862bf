//! The catalogue: which databases, tables and policies there are, and how every server comes to agree on it.
//!
//! ```text
//!   key space (m…)  --load/diff-->  SchemaCache --Arc--> statement
//!        ^                              ^  |
//!        | a DDL step's transaction     |  | ack: /tidb/ddl/all_schema_versions/<server>
//!   DDL owner --put--> /tidb/ddl/global_schema_version --watch--
//! ```
//!
//! [`model`] is what is stored, [`schema`] the immutable snapshot that statements use, [`mod@row`] the format of rows
//! and index entries, [`convert`] a value on its way into a column, [`mod@statistics`] what is known of tables' values, [`virtual_tables`] what the server computes.
//!
//! May import `sql-base`, `codec`, `query` and `kv-client`, for [`meta`] and [`autoid`] to read and write through.
//!
//! Not here: how a definition changes (`sql-ddl`), SQL text, sessions.

pub mod model;
pub mod schema;
pub mod view;

pub mod autoid;
pub mod cache;
pub mod load;
pub mod meta;
pub mod statistics;

pub mod convert;
pub mod row;
pub mod virtual_tables;

mod conversion;
mod field_type;
mod name;
mod transact;

pub use autoid::AutoIds;
pub use cache::{CommitGuard, SchemaCache, UsedTable};
pub use meta::{AutoIdKind, DroppedTable, Meta};

pub use self::statistics::{AnalyzeJob, RowChanges, StatisticsCache};
pub use model::partition::{self, Partition, PartitionInfo};
pub use model::{
    CheckInfo, ColumnDefault, ColumnInfo, Conversion, DatabaseInfo, Generation, IndexColumn, IndexInfo,
    IndexMaintenance, Name, PlacementSettings, PolicyInfo, PolicyRef, SchemaState, TableInfo, TableKind,
};
pub use schema::{Database, Schema, is_system_database, is_virtual_database};
pub use transact::end_attempt;
pub use view::{CheckOption, Definer, ViewAlgorithm, ViewInfo};
