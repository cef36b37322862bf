//! Administration: what a statement asks about the schema, the servers and the cluster, and what it has them do beside
//! changing definitions.
//!
//! [`show`] is `SHOW` of what the catalogue and PD know, [`infoschema`] the rows of `information_schema`, and the
//! statements are ADMIN, SPLIT TABLE, CHECK TABLE and ANALYZE TABLE. The session calls all three.
//!
//! Not here: `SHOW` of what a session knows by itself, and its filters (`session`); definitions (`sql-ddl`).

pub mod infoschema;
pub mod show;

mod analyze;
mod statements;

pub use analyze::{analyze_tables, drop_stats};
pub use statements::{check_tables, execute, split_table};
