//! The CHECK OPTION of views: what has to be true of a row that is written through one.

use std::collections::HashMap;

use codec::datum::Datum;
use query::value::truth;
use sql_base::SqlError;
use sql_planner::change::Check;
use sql_planner::plan::ColId;

use crate::runtime::{Runtime, resolve};
use crate::subqueries::SubqueryValues;

/// The check of this run, with what subqueries gave.
pub(super) fn of_run(check: &Check, values: &SubqueryValues, rt: &mut Runtime) -> Result<Check, SqlError> {
    let mut check = check.clone();
    check.conditions.iter_mut().try_for_each(|e| values.apply_expr(e, rt))?;
    Ok(check)
}

/// An error if the view would not show the row.
pub(super) fn test(check: &Check, rt: &mut Runtime, at: &HashMap<ColId, usize>, row: &[Datum]) -> Result<(), SqlError> {
    for e in &check.conditions {
        let e = resolve(e, at)?;
        let shown = rt.eval(|cx| {
            let value = query::eval::eval_row(&e, row, cx)?;
            truth(&value, cx)
        })?;
        if shown != Some(true) {
            return Err(SqlError::ViewCheckFailed(check.view.clone()));
        }
    }
    Ok(())
}
