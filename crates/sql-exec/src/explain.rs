//! `EXPLAIN`: the statement is planned and its plan shown.

use codec::datum::Datum;
use codec::types::FieldType;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_context::{ExecContext, eval_context};
use sql_parser::{Explain, Statement};
use sql_planner::binder::Binder;
use sql_planner::explain::{COLUMNS, change, lines};

use crate::dml;
use crate::env::Env;
use crate::planned::{Reads, plan_query};

/// Columns of the result.
pub(crate) fn columns() -> Vec<ColumnMeta> {
    COLUMNS.into_iter().map(|name| ColumnMeta::computed(name, FieldType::varchar(1024))).collect()
}

/// Plans a statement and prints the plan.
pub(crate) async fn explain(ctx: &mut ExecContext<'_>, explain: &Explain) -> Result<ResultSet, SqlError> {
    if explain.analyze {
        return Err(SqlError::NotSupported("EXPLAIN ANALYZE".into()));
    }
    match explain.format.as_deref() {
        None | Some("row" | "brief" | "traditional") => {}
        Some(other) => return Err(SqlError::NotSupported(format!("EXPLAIN FORMAT = {other}"))),
    }
    let (top, planned) = match &*explain.statement {
        Statement::Query(query) => {
            let env = Env::new(ctx, false);
            let mut binder = Binder::new(&env);
            let bound = binder.bind_query(query)?;
            let (columns, subqueries) = (std::mem::take(&mut binder.columns), std::mem::take(&mut binder.subqueries));
            drop(binder);
            let cx = eval_context(ctx.session, false);
            (None, Some(plan_query(ctx, cx, bound.plan, columns, subqueries, Reads::Consistent).await?))
        }
        Statement::Update(update) => (Some("Update"), Some(dml::plan_update(ctx, update).await?)),
        Statement::Delete { delete, .. } => (Some("Delete"), Some(dml::plan_delete(ctx, delete).await?)),
        Statement::Insert(_) => (Some("Insert"), None),
        _ => return Err(SqlError::NotSupported("EXPLAIN of this statement".into())),
    };
    let lines = match planned {
        Some(p) => lines(&p.plan, &p.rt.columns, &|t| p.rt.reader.is_dirty(t) || !p.rt.pushdown, top),
        None => top.map(change).into_iter().collect(),
    };
    let rows = lines.into_iter().map(|line| line.map(Datum::string).to_vec()).collect();
    Ok(ResultSet { columns: columns(), rows: Rows::Datums(rows) })
}
