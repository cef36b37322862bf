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

mod field_type;

pub use model::{
    ColumnDefault, ColumnInfo, DatabaseInfo, IndexColumn, IndexInfo, IndexMaintenance, Name, PlacementSettings,
    PolicyInfo, PolicyRef, SchemaState, TableInfo, TableKind,
};
pub use schema::{Database, Schema, is_system_database, is_virtual_database};

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
