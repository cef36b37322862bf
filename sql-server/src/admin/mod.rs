//! Administration: what a statement asks about the schema, the servers and the cluster, and what it has them do beside
//! changing definitions.
//!
//! [`infoschema`] gives the rows of the tables that the server computes; [`show`] makes SHOW and what ADMIN shows queries
//! over those tables, and over some that nobody else sees. The other statements here do something first: ADMIN, SPLIT TABLE,
//! CHECK TABLE and ANALYZE TABLE. What they tell of it is shown in the same way ([`Told`]).
//!
//! Not here: running queries (`session`); definitions (`sql-ddl`).

pub mod infoschema;
pub mod show;

mod analyze;
pub(crate) mod names;
mod statements;

pub use analyze::{analyze_tables, drop_stats};
pub use statements::{check_tables, execute, split_table};

/// What a statement has to tell when it is done.
pub enum Told {
    /// That it is.
    Done,
    /// Rows of an internal table ([`sql_catalog::virtual_tables::internal`]).
    Rows(&'static str, infoschema::Rows),
}
