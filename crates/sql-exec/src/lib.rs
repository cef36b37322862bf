//! Runs queries and changes of rows.
//!
//! A query's way: [`point`] tries the short path (one row by primary or unique key); otherwise the binder and the rules of
//! [`sql_planner::optimize`] make a plan, its subqueries run first, [`operator::build`] makes operators of it with what is
//! known by then, and their batches are the result. Changes ([`dml`]) are planned too ([`sql_planner::change`]), and write
//! through [`writer`].
//!
//! Which timestamp is read at:
//!
//! | statement | reads at |
//! |---|---|
//! | query, no transaction | a fresh timestamp; one row by key: the newest version |
//! | query in a transaction | its read timestamp, over its pending writes. A pessimistic transaction takes it with its first such query, as in MySQL (or with `WITH CONSISTENT SNAPSHOT`): writes and locking reads before it do not; under READ COMMITTED each query takes a fresh one. An optimistic transaction reads at its start |
//! | tables under `FOR UPDATE` and `FOR SHARE`, changes, pessimistic | a fresh timestamp, over pending writes; rows are locked at it. A row that changed in between is a write conflict, and the session runs the statement again. Tables of the same query without such a clause are read as by any other query |
//! | rows by key that a change or a lock clause locks before it reads them, pessimistic or autocommit | as they are when the lock is taken, for which PD is asked only if one is newer than what the transaction knows |
//! | changes, optimistic | the transaction's start; conflicts are found at commit |
//!
//! May import the planner, the context of a statement, the catalogue, `kv-client` for rows and the coprocessor, `query`
//! for expressions and batches, and `sql-parser`, whose trees [`point`] matches.
//!
//! Not here: which statement is run when, retries and the transaction's end (`sql-server`'s session), definitions
//! (`sql-ddl`), the rows of virtual tables ([`sql_context::VirtualRows`]).

pub mod aggregate;
mod cte;
mod distinct;
mod dml;
pub mod env;
mod explain;
mod frames;
mod join;
pub mod keys;
mod lateral;
mod locking;
pub mod measure;
pub mod operator;
pub mod plan_cache;
mod planned;
mod point;
mod point_lock;
pub mod pushdown;
pub mod reader;
mod rollup;
pub mod runtime;
pub mod scan;
mod select;
mod shared;
mod sort;
mod spill;
pub mod statement;
mod stream;
pub mod subqueries;
#[cfg(test)]
mod testing;
mod window;
mod writer;

use query::batch::Batch;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Outcome};
use sql_context::{ExecContext, eval_context};
use sql_parser::Statement;
use sql_planner::binder::Binder;
use sql_planner::optimize::optimize;
use sql_planner::plan::{Logical, Plan};

use crate::env::Env;
use crate::plan_cache::PlanKey;
use crate::planned::settings;
use crate::select::metas;
use crate::statement::{collect_context, lock_all_rows, query_runtime, will_lock};
use crate::subqueries::run_subqueries;

/// Runs a query or a change. `key` says where the plan of a prepared query is kept.
pub async fn execute(
    ctx: &mut ExecContext<'_>,
    statement: &Statement,
    mut key: Option<PlanKey<'_>>,
) -> Result<Outcome, SqlError> {
    // All but a row read by its key is a future of many kilobytes, which would be copied with every future around it.
    match statement {
        Statement::Query(query) => match select::by_key(ctx, query, &mut key).await? {
            Some(result) => Ok(Outcome::Rows(result)),
            None => Box::pin(select::select(ctx, query, key)).await.map(Outcome::Rows),
        },
        Statement::Explain(explain) => Box::pin(explain::explain(ctx, explain)).await.map(Outcome::Rows),
        Statement::Do(exprs) => Box::pin(compute(ctx, exprs)).await,
        other => match dml::tree(other) {
            Some(tree) => Box::pin(dml::execute(ctx, tree, key)).await,
            None => Err(SqlError::internal("executor", "not a query or change")),
        },
    }
}

/// Computes expressions for what they do.
async fn compute(ctx: &mut ExecContext<'_>, exprs: &[sql_parser::ast::Expr]) -> Result<Outcome, SqlError> {
    let env = Env::new(ctx, false);
    let mut binder = Binder::new(&env);
    binder.open(Vec::new());
    let bound = exprs.iter().map(|e| binder.bind_expr(e)).collect::<Result<Vec<_>, _>>()?;
    binder.close()?;
    let Binder { subqueries, shared, columns, locked, .. } = binder;
    let physical = optimize(Logical { plan: Plan::One, subqueries, shared, columns }, &settings(ctx.server, &env.eval));
    will_lock(ctx, &locked);
    let cx = eval_context(ctx.session, false);
    let (columns, tables) = (physical.columns.clone(), physical.tables());
    let mut rt = query_runtime(ctx, cx, columns, &tables, !locked.is_empty()).await?;
    rt.memory = planned::load_memory_tables(ctx, &physical).await?;
    rt.share(&physical);
    let values = run_subqueries(&physical, &mut rt).await?;
    for mut e in bound {
        values.apply_expr(&mut e, &mut rt)?;
        rt.column(&e, &Batch::one_empty_row())?;
        rt.sleep().await?;
    }
    collect_context(ctx, &mut rt);
    lock_all_rows(ctx, &mut rt).await?;
    Ok(Outcome::ok())
}

/// Columns of a statement's result, for PREPARE. Parameters count as NULL.
pub async fn describe(ctx: &mut ExecContext<'_>, statement: &Statement) -> Result<Vec<ColumnMeta>, SqlError> {
    match statement {
        Statement::Query(query) => {
            let env = Env::new(ctx, false);
            let mut binder = Binder::new(&env);
            binder.describing = true;
            let bound = binder.bind_query(query)?;
            Ok(metas(&bound.columns, &binder.columns, &ctx.schema))
        }
        Statement::Explain(explain) => explain::columns(explain),
        _ => Ok(Vec::new()),
    }
}
