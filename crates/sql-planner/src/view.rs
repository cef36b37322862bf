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
use sql_parser::ast::{self, Place};
use sql_parser::canonical::{AsWritten, query_text};

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
    let name = ast::Name(vec![ast::Ident::quoted(database), ast::Ident::quoted(view.name.as_str())]);
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
    fn column(&self, _: Place) -> Option<Vec<String>> {
        None
    }

    fn star(&self, _: Place) -> Option<Vec<(Vec<String>, String)>> {
        Some(Vec::new())
    }

    fn database(&self, _: Place) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use sql_catalog::{ColumnInfo, Database, DatabaseInfo, Definer, Name, SchemaState, ViewInfo};

    use super::*;

    fn table(id: i64, name: &str, columns: &[(&str, FieldType)], view: Option<ViewInfo>) -> Arc<TableInfo> {
        let column = |(offset, (name, ty)): (usize, &(&str, FieldType))| ColumnInfo::new(offset, *name, ty.clone());
        let columns = columns.iter().enumerate().map(column).collect();
        Arc::new(TableInfo { view: view.map(Box::new), ..TableInfo::new(id, name, columns) })
    }

    fn view(id: i64, name: &str, columns: &[&str], select: &str) -> Arc<TableInfo> {
        let types: Vec<_> = columns.iter().map(|name| (*name, FieldType::bigint())).collect();
        let info = ViewInfo {
            algorithm: ViewAlgorithm::Undefined,
            definer: Definer { user: "root".into(), host: "%".into() },
            invoker: false,
            select: select.to_owned(),
            check_option: None,
            columns: columns.iter().map(|name| Name::new(*name)).collect(),
            columns_given: false,
            charset: String::new(),
            collation: String::new(),
        };
        table(id, name, &types, Some(info))
    }

    fn schema(views: Vec<Arc<TableInfo>>) -> Arc<Schema> {
        let info = DatabaseInfo {
            id: 1,
            name: Name::new("d"),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            state: SchemaState::Public,
            policy: None,
        };
        let int = FieldType::bigint();
        let t = table(2, "t", &[("a", int.clone()), ("b", int)], None);
        Arc::new(Schema::new(1, [Arc::new(Database::new(info, views.into_iter().chain([t])))], []))
    }

    fn defined(schema: &Arc<Schema>, name: &str, sql: &str) -> Result<Definition, SqlError> {
        let eval = EvalContext::default();
        let env = Definitions { schema, database: Some("d"), eval: &eval };
        define(&env, &*sql_parser::parse_query(sql)?, ("d", name), &[], ViewAlgorithm::Undefined)
    }

    #[test]
    fn names_are_whole_where_the_binder_found_them() {
        let schema = schema(Vec::new());
        for (sql, expected) in [
            ("SELECT * FROM t", "select `d`.`t`.`a` AS `a`,`d`.`t`.`b` AS `b` from `d`.`t`"),
            (
                "SELECT x.*, a AS c FROM t x ORDER BY c, b",
                "select `x`.`a` AS `a`,`x`.`b` AS `b`,`x`.`a` AS `c` from `d`.`t` `x` order by `x`.`a`,`x`.`b`",
            ),
            (
                "SELECT (SELECT MAX(b) FROM t AS i WHERE i.a = t.a) AS m FROM t WHERE EXISTS (SELECT b)",
                "select (select max(`i`.`b`) from `d`.`t` `i` where (`i`.`a` = `d`.`t`.`a`)) AS `m` from `d`.`t` where \
                 exists(select `d`.`t`.`b` AS `b`)",
            ),
            (
                "WITH c AS (SELECT a FROM t) SELECT a FROM c UNION SELECT b FROM t ORDER BY a",
                "with `c` as (select `d`.`t`.`a` AS `a` from `d`.`t`) select `c`.`a` AS `a` from `c` union select \
                 `d`.`t`.`b` AS `b` from `d`.`t` order by `a`",
            ),
        ] {
            assert_eq!(defined(&schema, "v", sql).unwrap().select, expected, "{sql}");
        }
    }

    #[test]
    fn what_can_be_written_through_is_told_from_what_cannot() {
        let schema = schema(vec![view(3, "g", &["n"], "select count(0) AS `n` from `d`.`t`")]);
        let is = |sql: &str| {
            let definition = defined(&schema, "v", sql).unwrap();
            (definition.updatable, definition.merges)
        };
        assert_eq!(is("SELECT a + 1 AS c, b FROM t WHERE a > 1 ORDER BY b"), (true, true));
        assert_eq!(is("SELECT t.a FROM t JOIN g ON g.n = t.a"), (true, true));
        assert_eq!(is("SELECT a FROM t WHERE b IN (SELECT a FROM t)"), (false, true));
        assert_eq!(is("SELECT (SELECT n FROM g WHERE g.n = t.a) AS c FROM t"), (false, true));
        for sql in [
            "SELECT DISTINCT a FROM t",
            "SELECT MAX(a) FROM t",
            "SELECT a FROM t GROUP BY a",
            "SELECT a FROM t HAVING a > 1",
            "SELECT a FROM t LIMIT 1",
            "SELECT a FROM t UNION ALL SELECT 1",
            "SELECT 1 AS a",
            "SELECT n FROM g",
            "SELECT ROW_NUMBER() OVER () AS r FROM t",
            "SELECT x.a FROM (SELECT a FROM t) AS x",
        ] {
            assert_eq!(is(sql), (false, false), "{sql}");
        }
    }

    #[test]
    fn a_view_shows_what_its_tables_have_now_or_is_invalid() {
        let eval = EvalContext::default();
        let views = vec![
            view(3, "ok", &["x", "y"], "select `d`.`t`.`a` AS `a`,`d`.`t`.`b` AS `b` from `d`.`t`"),
            view(4, "gone", &["x"], "select `d`.`t`.`c` AS `c` from `d`.`t`"),
            view(5, "over", &["x"], "select `d`.`gone`.`x` AS `x` from `d`.`gone`"),
            view(6, "ring", &["x"], "select `d`.`round`.`x` AS `x` from `d`.`round`"),
            view(7, "round", &["x"], "select `d`.`ring`.`x` AS `x` from `d`.`ring`"),
        ];
        let schema = schema(views.clone());
        let env = Definitions { schema: &schema, database: None, eval: &eval };
        let shown =
            |i: usize| as_shown(&env, "d", &views[i]).map(|(table, updatable)| (table.columns.len(), updatable));
        assert_eq!(shown(0).unwrap(), (2, true));
        assert_eq!(shown(1).unwrap_err().to_string(), SqlError::ViewInvalid("d.gone".into()).to_string());
        assert_eq!(shown(2).unwrap_err().code().0, 1356);
        assert_eq!(shown(3).unwrap_err().code().0, 1462);
        assert_eq!(defined(&schema, "ok", "SELECT x FROM ok").unwrap_err().code().0, 1462);
    }
}
