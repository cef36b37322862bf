//! Queries.

use std::sync::Arc;

use futures::StreamExt;
use query::batch::Batch;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::Schema;
use sql_context::{ExecContext, Level};
use sql_planner::binder::{Binder, Bound, Visible};
use sql_planner::plan::{Columns, Plan};

use crate::env::Env;
use crate::operator;
use crate::planned::{Planned, Reads, plan_query};
use crate::runtime::{Operator, Runtime};
use crate::statement::{collect_context, lock_rows, will_lock};

/// Batches of a result that are computed before the first is sent: small results are complete (with their warnings) when
/// the statement ends, large ones stream.
const EAGER_BATCHES: usize = 16;

pub(crate) async fn select(ctx: &mut ExecContext<'_>, query: &sqlparser::ast::Query) -> Result<ResultSet, SqlError> {
    let env = Env::new(ctx, false);
    let mut binder = Binder::new(&env);
    let Bound { mut plan, columns: visible } = binder.bind_query(query)?;
    let count = ctx.session.vars.settings().sql_select_limit;
    if count != u64::MAX && query.limit_clause.is_none() {
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    let columns = std::mem::take(&mut binder.columns);
    let subqueries = std::mem::take(&mut binder.subqueries);
    let locked = std::mem::take(&mut binder.locked);
    let (notes, warnings) = (std::mem::take(&mut binder.notes), std::mem::take(&mut binder.warnings));
    drop(binder);
    warnings.iter().for_each(|warning| ctx.warn(warning));
    for note in notes {
        ctx.session.push_diagnostic(Level::Note, note.code().0, note.to_string());
    }
    let meta = metas(&visible, &columns, &ctx.schema);
    will_lock(ctx, &locked);
    let locking = !locked.is_empty();
    let reads = match locking && ctx.session.is_pessimistic() {
        true => Reads::ByClause,
        false => Reads::Consistent,
    };
    let Planned { plan, rt, .. } = plan_query(ctx, env.eval, plan, columns, subqueries, reads).await?;
    let mut op = operator::build(&plan, &rt)?;
    let mut batches = Vec::new();
    let mut complete = false;
    while batches.len() < EAGER_BATCHES || locking {
        let batch = op.next().await?;
        rt.sleep().await?;
        match batch {
            Some(b) => batches.push(b),
            None => {
                complete = true;
                break;
            }
        }
    }
    collect_context(ctx, &rt);
    lock_rows(ctx, &rt).await?;
    let head = futures::stream::iter(batches.into_iter().map(Ok));
    let rows = if complete { Rows::Batches(head.boxed()) } else { Rows::Batches(head.chain(stream(op, rt)).boxed()) };
    Ok(ResultSet { columns: meta, rows })
}

pub(crate) fn stream(
    op: Box<dyn Operator>,
    rt: Arc<Runtime>,
) -> impl futures::Stream<Item = Result<Batch, SqlError>> + Send {
    futures::stream::unfold(Some((op, rt)), |state| async {
        let (mut op, rt) = state?;
        let batch = op.next().await;
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
