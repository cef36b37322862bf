//! INSERT, REPLACE, UPDATE, DELETE.
//!
//! Rows to change are found by a query plan over the table with all its columns and the row handle; their new values
//! are computed column by column over batches, fitted into the column types ([`sql_catalog::convert`]), and written
//! ([`crate::writer`]). [`insert`] makes new rows, [`change`] changes and removes those that it finds, [`fitting`] is
//! what both do to values, [`through`] what views have to say.

mod change;
mod fitting;
mod insert;
mod through;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, TableInfo, TableKind};
use sqlparser::ast;

use self::fitting::Fitting;

pub(super) use change::{delete, plan_delete, plan_update, update};
pub(super) use insert::insert;

fn unsupported<T>(what: &str) -> Result<T, SqlError> {
    Err(SqlError::NotSupported(what.to_owned()))
}

fn writable(database: &str, table: &TableInfo, operation: &'static str) -> Result<(), SqlError> {
    if table.kind == TableKind::Memory {
        let _ = database;
        return Err(SqlError::NotUpdatable { table: table.name.original.clone(), operation });
    }
    Ok(())
}

fn column_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    Ok(sql_planner::binder::name_parts(name)?.pop().unwrap_or_default())
}

fn find_column<'t>(table: &'t TableInfo, name: &str, clause: &str) -> Result<&'t ColumnInfo, SqlError> {
    table.column(name).ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: clause.to_owned() })
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
