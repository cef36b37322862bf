//! `EXPLAIN`: the statement is planned and its plan shown.

use codec::datum::Datum;
use codec::types::FieldType;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::TableInfo;
use sql_context::ExecContext;
use sql_parser::{Explain, Statement};
use sql_planner::binder::Binder;
use sql_planner::explain::{COLUMNS, change, lines};
use sql_planner::optimize::optimize;
use sql_planner::plan::Logical;

use crate::dml;
use crate::env::Env;
use crate::planned::settings;

/// Columns of the result.
pub(crate) fn columns() -> Vec<ColumnMeta> {
    COLUMNS.into_iter().map(|name| ColumnMeta::computed(name, FieldType::varchar(1024))).collect()
}

/// Plans a statement and prints the plan. Nothing of it is run.
pub(crate) fn explain(ctx: &mut ExecContext<'_>, explain: &Explain) -> Result<ResultSet, SqlError> {
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
            let warnings = std::mem::take(&mut binder.warnings);
            drop(binder);
            warnings.iter().for_each(|warning| ctx.warn(warning));
            (None, Some(optimize(Logical { plan: bound.plan, subqueries, columns }, &settings(ctx.server, &env.eval))))
        }
        Statement::Update { with, update } => (Some("Update"), Some(dml::plan_update(ctx, with.as_deref(), update)?)),
        Statement::Delete { with, delete, .. } => {
            (Some("Delete"), Some(dml::plan_delete(ctx, with.as_deref(), delete)?))
        }
        Statement::Insert(_) => (Some("Insert"), None),
        _ => return Err(SqlError::NotSupported("EXPLAIN of this statement".into())),
    };
    let lines = match planned {
        Some(physical) => lines(&physical, &|table| is_dirty(ctx, table), top),
        None => top.map(change).into_iter().collect(),
    };
    let rows = lines.into_iter().map(|line| line.map(Datum::string).to_vec()).collect();
    Ok(ResultSet { columns: columns().into(), rows: Rows::Datums(rows) })
}

/// Whether the transaction has changed rows of a table.
fn is_dirty(ctx: &ExecContext<'_>, table: &TableInfo) -> bool {
    let (start, end) = codec::table::table_range(table.physical_id());
    ctx.session.txn.kv().is_some_and(|txn| txn.iter_buffer(&start, &end).next().is_some())
}
