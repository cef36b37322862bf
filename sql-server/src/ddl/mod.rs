//! Schema changes, online.
//!
//! A statement becomes jobs in a queue in the key space; the one server that is the owner takes them through their
//! states, one schema version each, and waits after each until every server uses it. Read in this order:
//!
//! 1. [`job`]: what is stored of a change;
//! 2. [`step`]: the states, pure, and why neighbours go together;
//! 3. `worker`: a step as a transaction; `backfill`: filling an index;
//! 4. [`domain`]: leases, acknowledgements, the owner's election; [`coordinator`]: the keys for it;
//! 5. `build`, `default`, `exec`: from statements to jobs.
//!
//! [`check`] compares a table with its indexes, for ADMIN CHECK TABLE.

pub mod check;
pub mod coordinator;
pub mod domain;
pub mod job;
pub mod step;

mod backfill;
mod build;
mod default;
mod exec;
mod worker;

pub use coordinator::ServerInfo;
pub use domain::{Domain, DomainOptions};

use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_context::ExecContext;
use sql_parser::Ddl;

/// Runs a DDL statement to its end. The session has committed what it had open.
pub async fn execute(domain: &Domain, ctx: &mut ExecContext<'_>, ddl: &Ddl, sql: &str) -> Result<Outcome, SqlError> {
    let database = ctx.session.database.clone();
    let mut statement = exec::Statement {
        domain,
        schema: domain.schemas().current(),
        database: database.as_deref(),
        sql,
        collation: ctx.session.vars.settings().collation_server,
        require_primary_key: ctx.session.vars.settings().sql_require_primary_key,
        notes: Vec::new(),
        affected: 0,
    };
    let result = statement.execute(ddl).await;
    for note in statement.notes {
        ctx.note(&note);
    }
    result.map(|()| Outcome::affected(statement.affected))
}
