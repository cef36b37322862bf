//! Expressions in definitions, over the columns of one row: what CHECK constraints demand.
//!
//! The catalogue keeps them as text, which is bound where it is used: over the columns of a change, or, for who has only rows,
//! over their places in the table. [`define_check`] says what of MySQL's rules a text that is written now keeps.

use codec::types::flags;
use query::expr::{Expr, Func};
use sql_base::SqlError;
use sql_catalog::{CheckInfo, Name, SchemaState, TableInfo};
use sql_parser::ast::{self, Place};
use sql_parser::canonical::{Names, expr_text};
use sql_parser::{CheckDef, parse_expr};

use super::binder::{Binder, Recorder, Visible};
use super::change::{Check, CheckOf};
use super::plan::ColId;
use super::view::Definitions;

impl Binder<'_> {
    /// An expression whose names are columns of the table, which have these numbers by offset.
    fn bind_over_row(&mut self, table: &TableInfo, ids: &[ColId], e: &ast::Expr) -> Result<Expr, SqlError> {
        let visible = table.columns.iter().zip(ids).map(|(c, id)| Visible {
            id: *id,
            name: c.name.original.clone(),
            table: table.name.original.clone(),
            database: String::new(),
            org_table: table.name.original.clone(),
            org_name: c.name.original.clone(),
            merged: false,
        });
        self.by_itself(visible.collect(), |binder| binder.bind_expr(e))
    }

    /// What the CHECK constraints of a table demand of a row that is written.
    pub(crate) fn constraints(&mut self, table: &TableInfo, ids: &[ColId]) -> Result<Vec<Check>, SqlError> {
        let kept = table.checks.iter().filter(|check| check.is_kept());
        kept.map(|check| {
            let e = self.bind_over_row(table, ids, &parse_expr(&check.expr)?)?;
            Ok(Check { of: CheckOf::Constraint(check.name.original.clone()), conditions: vec![e] })
        })
        .collect()
    }
}

/// An expression over the columns of a row by their offsets.
pub fn over_row(env: &Definitions<'_>, table: &TableInfo, e: &ast::Expr) -> Result<Expr, SqlError> {
    bind(&mut Binder::new(env), table, e)
}

fn bind(binder: &mut Binder<'_>, table: &TableInfo, e: &ast::Expr) -> Result<Expr, SqlError> {
    let numbers = table.columns.iter().map(|c| binder.columns.add(c.name.original.clone(), c.field_type.clone()));
    let ids: Vec<ColId> = numbers.collect();
    let bound = binder.bind_over_row(table, &ids, e)?;
    let bound = bound.map_columns(&|id| ids.iter().position(|own| *own == id));
    bound.ok_or_else(|| SqlError::internal("binder", "a definition that reads what is no column of its row"))
}

/// A CHECK constraint as it will be kept, without an id.
pub fn define_check(
    env: &Definitions<'_>,
    table: &TableInfo,
    name: String,
    def: &CheckDef,
) -> Result<CheckInfo, SqlError> {
    let mut binder = Binder::new(env);
    binder.record_names();
    let bound = bind(&mut binder, table, &def.expr).map_err(|e| match e {
        SqlError::ViewSelectVariable => SqlError::CheckVariable(name.clone()),
        SqlError::UnknownColumn { column, .. } => SqlError::CheckUnknownColumn { check: name.clone(), column },
        e => e,
    });
    let has_subquery = !binder.subqueries.is_empty();
    let names = OwnNames(binder.take_names());
    let bound = bound?;
    if has_subquery || bound.columns().iter().any(|offset| table.columns.get(*offset).is_none()) {
        return Err(SqlError::CheckSubquery(name));
    }
    let mut function = None;
    bound.walk(&mut |e| {
        if let Expr::Call(call) = e
            && let Func::Scalar(f) = call.func
            && (f.volatile || f.of_statement)
        {
            function.get_or_insert(f.name);
        }
    });
    if let Some(function) = function {
        return Err(SqlError::CheckFunction { check: name, function: function.to_owned() });
    }
    if bound.is_of_run() {
        return Err(SqlError::CheckSubquery(name));
    }
    let truth = matches!(unnested(&def.expr), ast::Expr::Literal(ast::Literal::Boolean(_)));
    if !truth && !bound.ty().has(flags::IS_BOOLEAN) {
        return Err(SqlError::CheckNotBoolean(name));
    }
    let mut columns: Vec<Name> = Vec::new();
    let mut offsets = bound.columns();
    offsets.sort_unstable();
    offsets.dedup();
    for column in offsets.into_iter().filter_map(|offset| table.columns.get(offset)) {
        if def.column.as_ref().is_some_and(|own| !column.name.matches(own)) {
            return Err(SqlError::CheckOtherColumn(name));
        }
        if column.field_type.has(flags::AUTO_INCREMENT) {
            return Err(SqlError::CheckAutoIncrement(name));
        }
        columns.push(column.name.clone());
    }
    let expr = expr_text(&def.expr, &names)?;
    // A text that says something else than was written would be worse than none.
    if expr_text(&parse_expr(&expr)?, &names)? != expr {
        return Err(SqlError::NotSupported(format!("a check of {}", def.expr)));
    }
    let (enforced, state) = (def.enforced, SchemaState::None);
    Ok(CheckInfo { id: 0, name: Name::new(name), columns, enforced, pending: false, expr, state })
}

fn unnested(e: &ast::Expr) -> &ast::Expr {
    match e {
        ast::Expr::Nested(e) => unnested(e),
        e => e,
    }
}

/// Columns go by their own names alone.
struct OwnNames(Recorder);

impl Names for OwnNames {
    fn column(&self, at: Place) -> Option<Vec<String>> {
        Some(vec![self.0.column(at)?.pop()?])
    }

    fn star(&self, _: Place) -> Option<Vec<(Vec<String>, String)>> {
        None
    }

    fn database(&self, _: Place) -> Option<String> {
        None
    }
}
