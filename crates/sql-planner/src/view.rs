//! Views as definitions: what is stored of one that is being made, and what one that is there shows now.
//!
//! Not here: a view in FROM (`binder`), its storage (`sql-catalog`), the text (`sql-parser`'s `canonical`).

use std::collections::HashSet;
use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode, flags};
use query::context::EvalContext;
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, Schema, TableInfo, ViewAlgorithm};
use sql_parser::canonical::{AsWritten, query_text};
use sqlparser::ast;

use super::binder::{Binder, Environment};
use super::plan::{ColId, Plan};

/// Characters of a column's name.
const NAME_CHARS_MAX: usize = 64;

/// What a definition may ask: the schema, and no variable or parameter.
pub struct Definitions<'a> {
    /// The catalogue.
    pub schema: &'a Arc<Schema>,
    /// The current database.
    pub database: Option<&'a str>,
    /// The statement's context.
    pub eval: &'a EvalContext,
}

impl Environment for Definitions<'_> {
    fn schema(&self) -> &Arc<Schema> {
        self.schema
    }

    fn database(&self) -> Option<&str> {
        self.database
    }

    fn params(&self) -> &[Datum] {
        &[]
    }

    fn variable(&self, _: &str) -> Result<(Datum, FieldType), SqlError> {
        Err(SqlError::ViewSelectVariable)
    }

    fn eval(&self) -> &EvalContext {
        self.eval
    }
}

/// A view that is to be.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its query, canonical.
    pub select: String,
    /// Names and types of its columns.
    pub columns: Vec<(String, FieldType)>,
    /// UPDATE and DELETE may go through it.
    pub updatable: bool,
    /// Its rows are rows of other tables, and not put together from them: it needs no table of its own.
    pub merges: bool,
}

/// Makes the definition of a view `database.name` of a query. `names` are its columns' names, if they were given. A view of
/// the name that is there already will be replaced, so the query must not read it.
pub fn define(
    env: &Definitions<'_>,
    query: &ast::Query,
    (database, name): (&str, &str),
    names: &[String],
    algorithm: ViewAlgorithm,
) -> Result<Definition, SqlError> {
    let mut binder = Binder::new(env);
    // Variables and parameters are refused before anything else is looked at.
    refuse_variables(query)?;
    binder.record_names();
    binder.inside_of_view(database, name);
    let bound = binder.bind_query(query)?;
    let recorder = binder.take_names();
    let mut own: Vec<String> = bound.columns.iter().map(|c| c.name.clone()).collect();
    for (i, name) in own.iter_mut().enumerate() {
        if name.is_empty() || name.ends_with(' ') || name.chars().count() > NAME_CHARS_MAX {
            *name = format!("Name_exp_{}", i + 1);
        }
    }
    if !names.is_empty() && names.len() != own.len() {
        return Err(SqlError::ViewColumnCount);
    }
    let columns = if names.is_empty() { &own[..] } else { names };
    let mut seen = HashSet::new();
    for name in columns {
        if !seen.insert(name.to_lowercase()) {
            return Err(SqlError::DuplicateColumn(name.clone()));
        }
    }
    let select = query_text(query, &recorder, Some(&own), None)?;
    // A view that says something else than was written would be worse than none.
    if query_text(&*sql_parser::parse_query(&select)?, &AsWritten, None, None)? != select {
        return Err(SqlError::NotSupported(format!("a view of {query}")));
    }
    let types = bound.columns.iter().map(|c| column_type(binder.columns.ty(c.id)));
    let (writable, merges) = binder.definition_writable(&bound, query, algorithm);
    Ok(Definition { select, columns: columns.iter().cloned().zip(types).collect(), updatable: writable.change, merges })
}

/// A view as a table of what it shows now, and whether UPDATE and DELETE may go through it.
pub fn as_shown(env: &Definitions<'_>, database: &str, view: &TableInfo) -> Result<(TableInfo, bool), SqlError> {
    let mut binder = Binder::new(env);
    let part = |name: &str| ast::Ident::with_quote('`', name);
    let name = ast::ObjectName::from(vec![part(database), part(view.name.as_str())]);
    let (plan, columns) = binder.bind_table(&name)?;
    let bound = binder.bound_views().first();
    let mut shown = view.clone();
    for (at, (column, c)) in shown.columns.iter_mut().zip(&columns).enumerate() {
        column.field_type = column_type(binder.columns.ty(c.id));
        // The column of a table has its default here, too.
        let base = bound.and_then(|view| view.columns.get(at)).and_then(|c| c.1);
        if let Some(base) = base.and_then(|id| column_of(&plan, id)) {
            column.default = base.default;
        }
    }
    Ok((shown, bound.is_some_and(|view| view.writable.change)))
}

/// The column of a table that has this number.
fn column_of(plan: &Plan, id: ColId) -> Option<ColumnInfo> {
    match plan {
        Plan::Scan(scan) => scan.table.columns.get(scan.offset_of(id)?).cloned(),
        plan => plan.inputs().into_iter().find_map(|input| column_of(input, id)),
    }
}

fn refuse_variables(query: &ast::Query) -> Result<(), SqlError> {
    match query_text(query, &AnyNames, None, None) {
        Err(e @ SqlError::ViewSelectVariable) => Err(e),
        // Anything else is told once names are known.
        _ => Ok(()),
    }
}

/// Names whose meaning does not matter.
struct AnyNames;

impl sql_parser::canonical::Names for AnyNames {
    fn column(&self, _: sqlparser::tokenizer::Span) -> Option<Vec<String>> {
        None
    }

    fn star(&self, _: sqlparser::tokenizer::Span) -> Option<Vec<(Vec<String>, String)>> {
        Some(Vec::new())
    }

    fn database(&self, _: sqlparser::tokenizer::Span) -> Option<String> {
        None
    }
}

/// A column's type as a table would have it: without what belongs to keys, and with a width.
fn column_type(ty: &FieldType) -> FieldType {
    let mut ty = ty.clone();
    ty.flags &=
        flags::NOT_NULL | flags::UNSIGNED | flags::BINARY | flags::ZEROFILL | flags::ENUM | flags::SET | flags::BLOB;
    match ty.tp {
        TypeCode::Null => {
            FieldType { flen: 0, ..FieldType::new(TypeCode::String) }.with_collation(codec::types::Collation::BINARY)
        }
        TypeCode::VarString if ty.flen < 0 => FieldType { tp: TypeCode::LongBlob, flen: -1, ..ty },
        TypeCode::VarString => FieldType { tp: TypeCode::Varchar, ..ty },
        _ => ty,
    }
}
