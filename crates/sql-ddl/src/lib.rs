//! Schema changes, online.
//!
//! A statement becomes jobs in a queue in the key space; the one server that is the owner takes them through their
//! states, one schema version each, and waits after each until every server uses it. Read in this order:
//!
//! 1. [`job`]: what is stored of a change;
//! 2. [`step`]: the states, pure, and why neighbours go together;
//! 3. `worker`: a step as a transaction; `backfill`: filling indexes and columns;
//! 4. [`domain`]: a server's lease, its schema and its acknowledgements; [`coordinator`]: the keys for it;
//! 5. `owner`: the election, and the owner's work; `queue`: jobs as statements see them; [`gc`]: old versions;
//! 6. `build`, `default`, `constraints`, `exec`, `alter`, `views`: from statements to jobs; `temporary`: what needs none;
//! 7. [`placement`]: policies as PD's rules.
//!
//! [`check`] compares a table with its indexes, for ADMIN CHECK TABLE; [`analyze`] learns how its values are distributed.
//!
//! May import the parser, the catalogue, the planner for what a view shows, the context of a statement, `kv-client`, `net` for PD's HTTP and etcd
//! interfaces. It stands beside `sql-exec`, and neither names the other: a backfill reads and writes rows by the
//! catalogue's format.
//!
//! Not here: what a statement shows of jobs, servers and placement (`sql-server`'s admin), the server itself.

pub mod analyze;
pub mod check;
pub mod coordinator;
pub mod domain;
pub mod job;
pub mod step;

pub mod placement;

mod alter;
mod auto_analyze;
mod backfill;
mod build;
mod constraints;
mod default;
mod exec;
pub mod gc;
mod owner;
mod partitions;
mod queue;
mod reconcile;
mod recover;
mod temporary;
mod views;
mod worker;

pub use coordinator::ServerInfo;
pub use domain::{Domain, DomainOptions};
pub use owner::start;

use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_context::{ExecContext, eval_context};
use sql_parser::Ddl;

/// Runs a DDL statement to its end. The session has committed what it had open.
pub async fn execute(domain: &Domain, ctx: &mut ExecContext<'_>, ddl: &Ddl, sql: &str) -> Result<Outcome, SqlError> {
    let database = ctx.session.database.clone();
    let eval = eval_context(ctx.session, true);
    let mut statement = exec::Statement {
        domain,
        names: ctx.session.temporary.over(&domain.schemas().current()),
        schema: domain.schemas().current(),
        database: database.as_deref(),
        sql,
        eval,
        collation: ctx.session.vars.settings().collation_server,
        require_primary_key: ctx.session.vars.settings().sql_require_primary_key,
        clustered_index: ctx.session.vars.settings().clustered_index,
        user: (ctx.session.identity.user.clone(), "%".to_owned()),
        client: client(ctx),
        notes: Vec::new(),
        warnings: Vec::new(),
        affected: 0,
    };
    let result = match temporary::execute(ctx, &mut statement, ddl) {
        Ok(Some(ddl)) => statement.execute(&ddl).await,
        Ok(None) => Ok(()),
        Err(e) => Err(e),
    };
    for warning in statement.warnings {
        ctx.warn(&warning);
    }
    for note in statement.notes {
        ctx.note(&note);
    }
    result.map(|()| Outcome::affected(statement.affected))
}

/// What SHOW CREATE VIEW tells of the session that made a view.
fn client(ctx: &ExecContext<'_>) -> (String, String) {
    let variables = ctx.session.variables();
    let text = |name: &str| match variables.get(ctx.server, name) {
        Ok((codec::datum::Datum::Bytes(text), _)) => String::from_utf8_lossy(&text).into_owned(),
        _ => String::new(),
    };
    (text("character_set_client"), text("collation_connection"))
}
