//! Expressions in definitions, over the columns of one row: generated columns, and what CHECK constraints demand.
//!
//! The catalogue keeps them as text, which is bound where it is used: over the columns of a change, or, for who has only rows,
//! over their places in the table. [`define_check`] and [`define_generated`] keep MySQL's rules of what they may say.

use codec::types::flags;
use query::expr::{Expr, Func};
use sql_base::SqlError;
use sql_catalog::{CheckInfo, ColumnInfo, Generation, Name, SchemaState, TableInfo};
use sql_parser::ast::{self, Place};
use sql_parser::canonical::{AsWritten, Names, expr_text};
use sql_parser::{CheckDef, Generated, parse_expr};

use super::binder::{Binder, Recorder, Visible};
use super::change::{Check, CheckOf, Step};
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

    /// What follows for a row that is written once its columns have values: generated columns, the check of a view, and
    /// constraints.
    pub(crate) fn steps_of_row(
        &mut self,
        table: &TableInfo,
        ids: &[ColId],
        check: Option<Check>,
    ) -> Result<Vec<Step>, SqlError> {
        let mut steps = Vec::new();
        let computed = table.computed_columns();
        if !computed.is_empty() {
            let one = |(column, generation): (&ColumnInfo, &Generation)| {
                Ok((column.offset, self.bind_over_row(table, ids, &parse_expr(&generation.expr)?)?))
            };
            steps.push(Step::Generated(computed.into_iter().map(one).collect::<Result<_, SqlError>>()?));
        }
        steps.extend(check.map(Step::Check));
        for check in table.checks.iter().filter(|check| check.is_kept()) {
            let e = self.bind_over_row(table, ids, &parse_expr(&check.expr)?)?;
            let of = CheckOf::Constraint(check.name.original.clone());
            steps.push(Step::Check(Check { of, conditions: vec![e] }));
        }
        Ok(steps)
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

/// What is wrong with an expression, in the words of what it defines.
trait Words {
    fn variable(&self) -> SqlError;
    fn unknown(&self, column: String) -> SqlError;
    fn function(&self, name: &str) -> SqlError;
    /// Of a subquery, and what else has no name.
    fn other(&self) -> SqlError;
}

/// A definition over a row, looked through.
struct Defined {
    bound: Expr,
    text: String,
    /// Offsets of its columns, each once.
    offsets: Vec<usize>,
}

fn define(env: &Definitions<'_>, table: &TableInfo, e: &ast::Expr, words: &dyn Words) -> Result<Defined, SqlError> {
    let mut binder = Binder::new(env);
    binder.record_names();
    let bound = bind(&mut binder, table, e).map_err(|e| match e {
        SqlError::ViewSelectVariable => words.variable(),
        SqlError::UnknownColumn { column, .. } => words.unknown(column),
        e => e,
    });
    let has_subquery = !binder.subqueries.is_empty();
    let names = OwnNames(binder.take_names());
    if has_subquery {
        return Err(words.other());
    }
    let bound = bound?;
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
        return Err(words.function(function));
    }
    if bound.is_of_run() {
        return Err(words.other());
    }
    let mut offsets = bound.columns();
    offsets.sort_unstable();
    offsets.dedup();
    let text = expr_text(e, &names)?;
    // A text that says something else than was written would be worse than none.
    if expr_text(&parse_expr(&text)?, &AsWritten)? != text {
        return Err(SqlError::NotSupported(format!("a definition over {e}")));
    }
    Ok(Defined { bound, text, offsets })
}

struct OfCheck<'n>(&'n str);

impl Words for OfCheck<'_> {
    fn variable(&self) -> SqlError {
        SqlError::CheckVariable(self.0.to_owned())
    }

    fn unknown(&self, column: String) -> SqlError {
        SqlError::CheckUnknownColumn { check: self.0.to_owned(), column }
    }

    fn function(&self, name: &str) -> SqlError {
        SqlError::CheckFunction { check: self.0.to_owned(), function: name.to_owned() }
    }

    fn other(&self) -> SqlError {
        SqlError::CheckSubquery(self.0.to_owned())
    }
}

/// A CHECK constraint as it will be kept, without an id.
pub fn define_check(
    env: &Definitions<'_>,
    table: &TableInfo,
    name: String,
    def: &CheckDef,
) -> Result<CheckInfo, SqlError> {
    let Defined { bound, text, offsets } = define(env, table, &def.expr, &OfCheck(&name))?;
    let truth = matches!(unnested(&def.expr), ast::Expr::Literal(ast::Literal::Boolean(_)));
    if !truth && !bound.ty().has(flags::IS_BOOLEAN) {
        return Err(SqlError::CheckNotBoolean(name));
    }
    let mut columns = Vec::new();
    for column in offsets.into_iter().filter_map(|offset| table.columns.get(offset)) {
        if def.column.as_ref().is_some_and(|own| !column.name.matches(own)) {
            return Err(SqlError::CheckOtherColumn(name));
        }
        if column.field_type.has(flags::AUTO_INCREMENT) {
            return Err(SqlError::CheckAutoIncrement(name));
        }
        columns.push(column.name.clone());
    }
    let (enforced, state) = (def.enforced, SchemaState::None);
    Ok(CheckInfo { id: 0, name: Name::new(name), columns, enforced, pending: false, expr: text, state })
}

struct OfGenerated<'n>(&'n str);

impl Words for OfGenerated<'_> {
    fn variable(&self) -> SqlError {
        SqlError::GeneratedVariable(self.0.to_owned())
    }

    fn unknown(&self, column: String) -> SqlError {
        SqlError::UnknownColumn { column, clause: "generated column function".to_owned() }
    }

    fn function(&self, name: &str) -> SqlError {
        SqlError::GeneratedFunction { column: self.0.to_owned(), function: name.to_owned() }
    }

    fn other(&self) -> SqlError {
        SqlError::GeneratedSubquery(self.0.to_owned())
    }
}

/// A generated column of a table as it will be kept. The table has the column, and knows which ones are generated.
pub fn define_generated(
    env: &Definitions<'_>,
    table: &TableInfo,
    own: &ColumnInfo,
    def: &Generated,
) -> Result<Generation, SqlError> {
    let name = own.name.as_str();
    let Defined { text, offsets, .. } = define(env, table, &def.expr, &OfGenerated(name))?;
    let mut columns = Vec::new();
    for column in offsets.into_iter().filter_map(|offset| table.columns.get(offset)) {
        if column.is_generated() && column.offset >= own.offset {
            return Err(SqlError::GeneratedNotPrior);
        }
        if column.field_type.has(flags::AUTO_INCREMENT) {
            return Err(SqlError::GeneratedAutoIncrement(name.to_owned()));
        }
        columns.push(column.name.clone());
    }
    Ok(Generation { expr: text, stored: def.stored, columns, zone: env.eval.time_zone.name() })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codec::types::FieldType;
    use query::context::EvalContext;
    use sql_catalog::Schema;

    use super::*;

    fn table() -> TableInfo {
        let columns = ["a", "b", "g"].iter().enumerate();
        let columns = columns.map(|(at, name)| ColumnInfo::new(at, *name, FieldType::bigint())).collect();
        let mut table = TableInfo::new(1, "t", columns);
        table.columns[2].generated = Some(Box::default());
        table
    }

    fn with<T>(f: impl FnOnce(&Definitions<'_>, &TableInfo) -> T) -> T {
        let (schema, eval) = (Arc::new(Schema::new(1, [], [])), EvalContext::default());
        f(&Definitions { schema: &schema, database: None, eval: &eval }, &table())
    }

    fn check(text: &str, column: Option<&str>) -> Result<CheckInfo, SqlError> {
        let expr = parse_expr(text)?;
        let def = CheckDef { name: None, expr, enforced: true, column: column.map(str::to_owned) };
        with(|env, table| define_check(env, table, "c".into(), &def))
    }

    fn code<T: std::fmt::Debug>(result: Result<T, SqlError>) -> u16 {
        result.unwrap_err().code().0
    }

    #[test]
    fn a_check_is_kept_with_whole_parentheses_and_the_names_of_its_columns() {
        let kept = check("T.b + 1 > a AND b IN (1, 2)", None).unwrap();
        assert_eq!(kept.expr, "(((`b` + 1) > `a`) and (`b` in (1,2)))");
        assert_eq!(kept.columns, ["a", "b"].map(Name::new));
    }

    #[test]
    fn what_a_check_may_not_say_has_mysqls_numbers() {
        assert_eq!(code(check("a + 1", None)), 3812);
        assert_eq!(code(check("a > b", Some("a"))), 3813);
        assert_eq!(code(check("a > RAND()", None)), 3814);
        assert_eq!(code(check("a > (SELECT 1)", None)), 3815);
        assert_eq!(code(check("a > @x", None)), 3816);
        assert_eq!(code(check("a > nothing", None)), 3820);
    }

    #[test]
    fn a_generated_column_reads_what_is_there_before_it() {
        let generated = |text: &str, own: usize| {
            let def = Generated { expr: parse_expr(text)?, stored: false };
            with(|env, table| define_generated(env, table, &table.columns[own], &def))
        };
        let kept = generated("b * a", 2).unwrap();
        assert_eq!((kept.expr.as_str(), &kept.columns[..]), ("(`b` * `a`)", &["a", "b"].map(Name::new)[..]));
        assert_eq!(code(generated("g + 1", 1)), 3107, "it comes later");
        assert_eq!(code(generated("g + 1", 2)), 3107, "itself");
        assert_eq!(code(generated("UUID()", 2)), 3763);
        assert_eq!(code(generated("(SELECT 1)", 2)), 3102);
        assert_eq!(code(generated("nothing", 2)), 1054);
    }

    #[test]
    fn what_is_bound_over_rows_reads_places_in_the_table() {
        let e = with(|env, table| over_row(env, table, &parse_expr("b > a").unwrap())).unwrap();
        assert_eq!(e.columns(), [1, 0]);
    }
}
