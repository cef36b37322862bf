//! INSERT, REPLACE, UPDATE and DELETE: from the tree to a [`crate::change`].
//!
//! [`insert`] makes new rows, [`rows`] finds those that are changed or removed; both also through views, whose rows are rows
//! of their tables ([`super::BoundView`] says which).

mod insert;
mod rows;

use sql_base::SqlError;
use sql_catalog::{ColumnInfo, TableInfo, TableKind};
use sql_parser::ast;

use super::{Binder, BoundView, Visible};
use crate::change::{Bound, Target};
use crate::plan::{ColId, Plan};

/// A statement that changes rows.
#[derive(Debug, Clone, Copy)]
pub enum Tree<'s> {
    /// INSERT and REPLACE.
    Insert(&'s ast::Insert),
    /// UPDATE.
    Update(&'s ast::Update),
    /// DELETE.
    Delete(&'s ast::Delete),
}

impl Binder<'_> {
    /// Binds a change. The binder is not used for anything else after it.
    pub fn bind_change(mut self, tree: Tree<'_>) -> Result<Bound, SqlError> {
        match tree {
            Tree::Insert(insert) => self.bind_insert(insert),
            Tree::Update(update) => {
                update.with.as_ref().map_or(Ok(()), |with| self.open_with(with))?;
                self.bind_update(update)
            }
            Tree::Delete(delete) => {
                delete.with.as_ref().map_or(Ok(()), |with| self.open_with(with))?;
                self.bind_delete(delete)
            }
        }
    }
}

fn writable(table: &TableInfo, operation: &'static str) -> Result<(), SqlError> {
    match table.kind {
        TableKind::Memory => Err(SqlError::NotUpdatable { table: table.name.original.clone(), operation }),
        TableKind::Base | TableKind::Temporary => Ok(()),
    }
}

/// The error of a value for a generated column.
fn generated_value(table: &TableInfo, column: &ColumnInfo) -> SqlError {
    let (column, table) = (column.name.original.clone(), table.name.original.clone());
    SqlError::GeneratedValue { column, table }
}

fn find_column<'t>(table: &'t TableInfo, name: &str, clause: &str) -> Result<&'t ColumnInfo, SqlError> {
    table.column(name).ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: clause.to_owned() })
}

/// Adds every column and the handle to each scan whose rows can be changed.
fn widen(plan: &mut Plan, binder: &mut Binder<'_>, targets: &mut Vec<Target>) {
    match plan {
        // Rows of a derived table, or of a view that puts rows together, are nobody's.
        Plan::Scan(scan) if !scan.inside => {
            for c in &scan.table.columns {
                if !scan.columns.iter().any(|(o, _)| *o == c.offset) {
                    let id = binder.columns.add(c.name.original.clone(), c.field_type.clone());
                    scan.columns.push((c.offset, id));
                }
            }
            let handle = binder.columns.add("_tidb_rowid", scan.table.handle_type());
            scan.handle = Some(handle);
            let mut ids = vec![0; scan.table.columns.len()];
            for (o, id) in &scan.columns {
                ids[*o] = *id;
            }
            targets.push(Target {
                table: scan.table.clone(),
                database: scan.database.clone(),
                alias: scan.view.as_ref().map_or(&scan.alias, |view| &view.1).clone(),
                ids,
                handle,
                steps: Vec::new(),
                named: scan.partitions.as_ref().and_then(|partitions| partitions.named.clone()),
            });
        }
        Plan::Join { left, right, .. } => {
            widen(left, binder, targets);
            widen(right, binder, targets);
        }
        // What depends on these rows is nobody's.
        Plan::Lateral { left, .. } => widen(left, binder, targets),
        // A subquery in a join condition; the conditions and the order of a view.
        Plan::Apply { input, .. } | Plan::Filter { input, .. } | Plan::Sort { input, .. } => {
            widen(input, binder, targets)
        }
        // What a view computes, beside its tables' columns.
        Plan::Project { input, exprs } => {
            let before = targets.len();
            widen(input, binder, targets);
            for id in targets[before..].iter().flat_map(|t| t.ids.iter().copied().chain([t.handle])) {
                if !exprs.iter().any(|e| e.1 == id) {
                    exprs.push((binder.columns.expr(id), id));
                }
            }
        }
        _ => {}
    }
}

/// The view that shows this column.
fn view_of<'v>(views: &'v [BoundView], v: &Visible) -> Option<&'v BoundView> {
    let named = |view: &&BoundView| {
        view.alias.eq_ignore_ascii_case(&v.table) && view.database.eq_ignore_ascii_case(&v.database)
    };
    views.iter().filter(named).find(|view| view.columns.iter().any(|(c, _)| c.id == v.id))
}

/// The column of a table that a column of the view is.
fn column_of(view: &BoundView, name: &str) -> Result<ColId, SqlError> {
    let found = view.columns.iter().find(|(c, _)| c.name.eq_ignore_ascii_case(name));
    let (column, base) =
        found.ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: "field list".to_owned() })?;
    base.ok_or_else(|| SqlError::NotUpdatableColumn(column.name.clone()))
}
