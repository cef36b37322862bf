//! INSERT, REPLACE, UPDATE, DELETE: the steps of [`sql_planner::change`], done.
//!
//! Rows to change are found by a query plan over the table with all its columns and the row handle; new values are fitted into
//! the column types ([`sql_catalog::convert`]), and written ([`crate::writer`]). [`insert`] makes new rows, [`change`] changes
//! and removes those that it finds, [`fitting`] is what both do to values, [`check`] what views have to say.
//!
//! A prepared change is planned once for the types of its values, as a query is ([`crate::plan_cache`]).

mod change;
mod check;
mod fitting;
mod insert;

use std::sync::Arc;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_base::outcome::Outcome;
use sql_catalog::TableInfo;
use sql_context::ExecContext;
use sql_parser::Statement;
use sql_planner::binder::{Binder, Tree};
use sql_planner::change::Action;
use sql_planner::inputs::{Input, Kept};
use sql_planner::optimize::optimize;

use self::fitting::Fitting;
use crate::env::Env;
use crate::plan_cache::{Body, PlanKey, find_or_plan};
use crate::planned::{ChangePlan, settings};
use crate::runtime::Value;
use crate::statement::will_lock;

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
    Ok((ChangePlan { physical, action: bound.action, locked: bound.locked }, inputs))
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
    will_lock(ctx, &plan.locked);
    match &plan.action {
        Action::Insert(insert) => insert::insert(ctx, &plan.physical, insert, values).await,
        Action::Update(change) => change::update(ctx, &plan.physical, change, values).await,
        Action::Delete(change) => change::delete(ctx, &plan.physical, change, values).await,
    }
}

/// ON UPDATE CURRENT_TIMESTAMP of columns that the statement does not set.
fn touch(table: &TableInfo, new: &mut [Datum], set: &[usize], fitting: &Fitting) {
    for c in table.writable_columns().filter(|c| c.on_update_now && !set.contains(&c.offset)) {
        new[c.offset] = fitting.now(&c.field_type);
    }
}

/// Whether a change changes nothing: bytes count, not collations.
fn same_row(table: &TableInfo, old: &[Datum], new: &[Datum]) -> bool {
    old.iter().zip(new).zip(&table.columns).all(|((a, b), c)| match (a, b) {
        (Datum::Float(x), Datum::Float(y)) => x.to_bits() == y.to_bits(),
        (a, b) => a == b || !c.is_writable(),
    })
}
