//! INSERT, REPLACE, UPDATE, DELETE: the steps of [`sql_planner::change`], done.
//!
//! [`insert`] makes new rows, [`change`] finds those that are changed or removed, by a query plan over the table with all its
//! columns and the row handle. All take their steps in [`row`], where [`fitting`] makes values fit into columns
//! ([`sql_catalog::convert`]); new ones get [`ids`] on the way and look at [`duplicates`]; [`crate::writer`] writes them.
//!
//! A prepared change is planned once for the types of its values, as a query is ([`crate::plan_cache`]).

mod change;
mod duplicates;
mod fitting;
mod ids;
mod insert;
mod row;

use std::sync::Arc;

use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_context::ExecContext;
use sql_parser::Statement;
use sql_planner::binder::{Binder, Tree};
use sql_planner::change::Action;
use sql_planner::inputs::{Input, Kept};
use sql_planner::optimize::optimize;

use crate::env::Env;
use crate::plan_cache::{Body, PlanKey, find_or_plan};
use crate::planned::{ChangePlan, settings};
use crate::runtime::Value;
use crate::statement::{lock_wait, will_lock};
use crate::writer::Writer;

/// The tree of a statement that changes rows; `None` of all others.
pub(crate) fn tree(statement: &Statement) -> Option<Tree<'_>> {
    match statement {
        Statement::Insert(insert) => Some(Tree::Insert(insert)),
        Statement::Update(update) => Some(Tree::Update(update)),
        Statement::Delete(delete) => Some(Tree::Delete(delete)),
        _ => None,
    }
}

/// Binds and plans a change, to `keep` the plan or to run it once; and what it asks of each run.
pub(crate) fn plan(ctx: &mut ExecContext<'_>, tree: Tree<'_>, keep: bool) -> Result<(ChangePlan, Vec<Kept>), SqlError> {
    let env = if keep { Env::kept(ctx, true) } else { Env::new(ctx, true) };
    let bound = Binder::new(&env).bind_change(tree)?;
    let physical = Arc::new(optimize(bound.rows, &settings(ctx.server, &env.eval)));
    // Only now is it known of which values something was made.
    let inputs = bound.inputs.into_iter().map(Input::kept).collect();
    let (action, locked, warnings) = (bound.action, bound.locked, bound.warnings);
    Ok((ChangePlan { physical, action, locked, warnings }, inputs))
}

/// Runs a change, with a plan that was kept if there is one.
pub(crate) async fn execute(
    ctx: &mut ExecContext<'_>,
    tree: Tree<'_>,
    key: Option<PlanKey<'_>>,
) -> Result<Outcome, SqlError> {
    let of_body = |body| if let Body::Change(plan) = body { Some(plan) } else { None };
    let (plan, values) = find_or_plan(ctx, key, (Body::Change, of_body), |ctx, keep| plan(ctx, tree, keep))?;
    run(ctx, &plan, values).await
}

/// Does what a plan says, with the values of its parameters.
pub(crate) async fn run(
    ctx: &mut ExecContext<'_>,
    plan: &ChangePlan,
    values: Vec<(usize, Value)>,
) -> Result<Outcome, SqlError> {
    plan.warnings.iter().for_each(|warning| ctx.warn(warning));
    will_lock(ctx, &plan.locked);
    match &plan.action {
        Action::Insert(insert) => insert::insert(ctx, &plan.physical, insert, values).await,
        Action::Update(change) => change::change(ctx, &plan.physical, change, values, false).await,
        Action::Delete(change) => change::change(ctx, &plan.physical, change, values, true).await,
    }
}

/// Ends the writes of a statement: their keys are locked, which finds duplicates too.
async fn finish(ctx: &mut ExecContext<'_>, writers: Vec<Writer>) -> Result<(), SqlError> {
    let client = ctx.server.kv()?;
    let wait = lock_wait(ctx.session, false);
    let changes: Vec<_> = writers.iter().map(Writer::changes).collect();
    for mut writer in writers {
        let txn = ctx.txn().await?;
        writer.finish(txn, &client, wait).await?;
        if !txn.is_pessimistic() {
            ctx.session.txn.remember_duplicates(writer.into_duplicates());
        }
    }
    changes.into_iter().for_each(|c| ctx.session.txn.count_changes(c));
    Ok(())
}
