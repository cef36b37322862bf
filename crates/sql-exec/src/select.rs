//! Queries: planned, or found planned ([`crate::plan_cache`]), and run.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use query::batch::Batch;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::Schema;
use sql_context::{ExecContext, Level, eval_context};
use sql_parser::ast;
use sql_planner::binder::{Binder, Bound, Visible};
use sql_planner::inputs::{Input, Kept};
use sql_planner::optimize::optimize;
use sql_planner::plan::{Columns, Logical, NodeId, Plan};

use crate::env::Env;
use crate::plan_cache::{Body, PlanKey, find_or_plan};
use crate::planned::{Planned, QueryPlan, Reads, begin, settings};
use crate::runtime::{Runtime, Value};
use crate::statement::{collect_context, lock_rows, will_lock};
use crate::stream::Operator;
use crate::{operator, point};

/// Batches of a result that are computed before the first is sent: small results are complete (with their warnings) when
/// the statement ends, large ones stream.
const EAGER_BATCHES: usize = 16;

/// Runs a query that reads one row by its key, with a plan that was kept if there is one; `None` for all others.
pub(crate) async fn by_key(
    ctx: &mut ExecContext<'_>,
    query: &ast::Query,
    key: &mut Option<PlanKey<'_>>,
) -> Result<Option<ResultSet>, SqlError> {
    let point = match key.as_mut().and_then(|key| key.find(ctx, true)) {
        Some((Body::Query(_) | Body::Change(_), _)) => return Ok(None),
        Some((Body::Point(point), _)) => {
            let result = point::run(ctx, &point).await?;
            ctx.session.plan_from_cache = result.is_some();
            return Ok(result);
        }
        None => match point::plan(ctx, query) {
            Some(point) => Arc::new(point),
            None => return Ok(None),
        },
    };
    if let Some(key) = key {
        key.keep(ctx, Vec::new(), Body::Point(point.clone()));
    }
    point::run(ctx, &point).await
}

/// Runs any query, with a plan that was kept if there is one.
pub(crate) async fn select(
    ctx: &mut ExecContext<'_>,
    query: &ast::Query,
    key: Option<PlanKey<'_>>,
) -> Result<ResultSet, SqlError> {
    let of_body = |body| if let Body::Query(plan) = body { Some(plan) } else { None };
    let (plan, values) = find_or_plan(ctx, key, (Body::Query, of_body), |ctx, keep| plan(ctx, query, keep))?;
    run(ctx, &plan, values).await
}

/// Binds and plans a query, to `keep` the plan or to run it once; and what it asks of each run.
fn plan(ctx: &mut ExecContext<'_>, query: &ast::Query, keep: bool) -> Result<(QueryPlan, Vec<Kept>), SqlError> {
    let env = if keep { Env::kept(ctx, false) } else { Env::new(ctx, false) };
    let mut binder = Binder::new(&env);
    let Bound { mut plan, columns: visible } = binder.bind_query(query)?;
    let count = ctx.session.vars.settings().sql_select_limit;
    if count != u64::MAX && query.limit.is_none() {
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    let Binder { columns, subqueries, shared, inputs, locked, notes, warnings, .. } = binder;
    let meta = metas(&visible, &columns, &ctx.schema).into();
    let physical = optimize(Logical { plan, subqueries, shared, columns }, &settings(ctx.server, &env.eval));
    let notes = notes.into_iter().map(|note| (Level::Note, note));
    let notes = notes.chain(warnings.into_iter().map(|warning| (Level::Warning, warning)));
    let notes = notes.map(|(level, e)| (level, e.code().0, e.to_string())).collect();
    // Only now is it known of which values something was made.
    let inputs = inputs.into_iter().map(Input::kept).collect();
    Ok((QueryPlan { physical: Arc::new(physical), meta, locked, notes }, inputs))
}

/// Runs a plan, with the values of its parameters.
async fn run(ctx: &mut ExecContext<'_>, plan: &QueryPlan, values: Vec<(usize, Value)>) -> Result<ResultSet, SqlError> {
    for (level, code, text) in &plan.notes {
        ctx.session.push_diagnostic(*level, *code, text.clone());
    }
    will_lock(ctx, &plan.locked);
    let locking = !plan.locked.is_empty();
    let reads = match locking && ctx.session.is_pessimistic() {
        true => Reads::ByClause,
        false => Reads::Consistent,
    };
    // Rows that others have, of those that are to be skipped then: known once it was tried to lock them.
    let mut taken = Arc::new(HashSet::new());
    let (batches, complete, op, rt) = loop {
        let cx = eval_context(ctx.session, false);
        let begun = begin(ctx, cx, plan.physical.clone(), values.clone(), reads, &taken).await?;
        let Planned { physical, mut rt, .. } = begun;
        let mut op = operator::build(&physical.plan, NodeId::default(), &mut rt)?;
        let mut batches = Vec::new();
        let mut complete = false;
        while batches.len() < EAGER_BATCHES || locking {
            let batch = op.next(&mut rt).await?;
            rt.sleep().await?;
            match batch {
                Some(b) => batches.push(b),
                None => {
                    complete = true;
                    break;
                }
            }
        }
        let more = lock_rows(ctx, &mut rt).await?;
        if more.is_empty() {
            collect_context(ctx, &mut rt);
            break (batches, complete, op, rt);
        }
        rt.check_interrupted()?;
        Arc::make_mut(&mut taken).extend(more);
    };
    let head = futures::stream::iter(batches.into_iter().map(Ok));
    let rows = if complete { Rows::Batches(head.boxed()) } else { Rows::Batches(head.chain(stream(op, rt)).boxed()) };
    Ok(ResultSet { columns: plan.meta.clone(), rows })
}

pub(crate) fn stream(
    op: Box<dyn Operator>,
    rt: Runtime,
) -> impl futures::Stream<Item = Result<Batch, SqlError>> + Send {
    futures::stream::unfold(Some((op, rt)), |state| async {
        let (mut op, mut rt) = state?;
        let batch = op.next(&mut rt).await;
        match rt.sleep().await.and(batch) {
            Ok(Some(b)) => Some((Ok(b), Some((op, rt)))),
            Ok(None) => None,
            Err(e) => Some((Err(e), None)),
        }
    })
}

/// What the client learns about the columns.
pub(crate) fn metas(visible: &[Visible], columns: &Columns, schema: &Schema) -> Vec<ColumnMeta> {
    visible
        .iter()
        .map(|v| {
            let mut ty = columns.ty(v.id).clone();
            // Key flags are the table column's own.
            if let Some(c) = schema.table(&v.database, &v.org_table).and_then(|t| t.column(&v.org_name)) {
                ty.flags |= c.field_type.flags;
            }
            ColumnMeta {
                schema: v.database.clone(),
                table: v.table.clone(),
                org_table: v.org_table.clone(),
                name: v.name.clone(),
                org_name: v.org_name.clone(),
                ty,
            }
        })
        .collect()
}
