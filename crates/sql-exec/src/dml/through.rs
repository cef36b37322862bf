//! Changes through views: which columns of which tables the columns of a view are, and what has to be true of a row that
//! is written through it.
//!
//! The rows of a view that can be changed are rows of its tables, so that a change of the view is one of the tables; the
//! binder says which views those are ([`BoundView`]).

use std::collections::HashMap;

use codec::datum::Datum;
use query::expr::Expr;
use query::value::truth;
use sql_base::SqlError;
use sql_planner::binder::{BoundView, Visible};
use sql_planner::plan::ColId;

use crate::runtime::{Runtime, resolve};
use crate::subqueries::SubqueryValues;

/// `db.view`.
pub(super) fn whole_name(view: &BoundView) -> String {
    format!("{}.{}", view.database, view.name)
}

/// The view that shows this column.
pub(super) fn view_of<'v>(views: &'v [BoundView], v: &Visible) -> Option<&'v BoundView> {
    let named = |view: &&BoundView| {
        view.alias.eq_ignore_ascii_case(&v.table) && view.database.eq_ignore_ascii_case(&v.database)
    };
    views.iter().filter(named).find(|view| view.columns.iter().any(|(c, _)| c.id == v.id))
}

/// The column of a table that a column of the view is.
pub(super) fn column_of(view: &BoundView, name: &str) -> Result<ColId, SqlError> {
    let found = view.columns.iter().find(|(c, _)| c.name.eq_ignore_ascii_case(name));
    let (column, base) =
        found.ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: "field list".to_owned() })?;
    base.ok_or_else(|| SqlError::NotUpdatableColumn(column.name.clone()))
}

/// The CHECK OPTION of a view, and of those that it is made of.
pub(super) struct Check {
    /// `db.view`.
    view: String,
    /// What has to be true, over columns of tables.
    conditions: Vec<Expr>,
}

impl Check {
    /// That of a view; `None` where anything may be written.
    pub(super) fn of(view: &BoundView) -> Result<Option<Check>, SqlError> {
        if view.unchecked {
            return Err(SqlError::NotSupported(format!(
                "a change through view '{}', whose CHECK OPTION has a subquery that depends on the row",
                whole_name(view)
            )));
        }
        let check = Check { view: whole_name(view), conditions: view.checks.clone() };
        Ok((!check.conditions.is_empty()).then_some(check))
    }

    /// What it reads.
    pub(super) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.conditions.iter()
    }

    /// Puts in what subqueries gave.
    pub(super) fn apply(&mut self, values: &SubqueryValues) -> Result<(), SqlError> {
        self.conditions.iter_mut().try_for_each(|e| values.apply_expr(e))
    }

    /// An error if the view would not show the row.
    pub(super) fn test(&self, rt: &Runtime, at: &HashMap<ColId, usize>, row: &[Datum]) -> Result<(), SqlError> {
        for e in &self.conditions {
            let e = resolve(e, at)?;
            let shown = rt.eval(|cx| {
                let value = query::eval::eval_row(&e, row, cx)?;
                truth(&value, cx)
            })?;
            if shown != Some(true) {
                return Err(SqlError::ViewCheckFailed(self.view.clone()));
            }
        }
        Ok(())
    }
}
