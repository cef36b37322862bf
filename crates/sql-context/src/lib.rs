//! What a statement has around it while it runs.
//!
//! ```text
//!   ExecContext ─ session: SessionState ─ vars, TxnState, warnings, user variables
//!               ├ schema, params
//!               ├ server: Services         the key-value client, the schema cache, allocators of ids
//!               └ virtual_rows: VirtualRows   the tables that the server computes
//! ```
//!
//! The executor and DDL get an [`ExecContext`] and know no more of the server than [`Services`] and [`VirtualRows`],
//! which `sql-server` implements: so they can be run by a test without a server.
//!
//! May import `sql-base`, `sql-parser` for how text is read, `sql-catalog`, `kv-client` for the transaction, `codec`,
//! `query`.
//!
//! Not here: who decides what a statement does (`sql-server`'s session), planning, reading rows.

mod context;
mod duplicates;
mod evaluation;
mod services;
mod state;
mod temporary;
mod transaction;
mod txn;
mod user_locks;
pub mod vars;
mod virtual_rows;

pub use context::ExecContext;
pub use duplicates::Duplicates;
pub use evaluation::{eval_context, time_zone};
pub use services::Services;
pub use state::{Identity, Level, Loaded, SessionState, Variables, Warning, type_of_datum};
pub use temporary::TemporaryTables;
pub use txn::{NextTransaction, TxnState};
pub use user_locks::SessionLocks;
pub use virtual_rows::{VirtualRead, VirtualRows};
