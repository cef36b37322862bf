//! INSERT and REPLACE: which columns, and their values.

use std::collections::HashMap;

use query::expr::Expr;
use query::infer;
use sql_base::{PartitionError, SqlError};
use sql_catalog::ColumnInfo;
use sql_parser::ast;

use super::super::{Binder, BoundView, Visible, has_aggregate, table_name, unsupported};
use super::{column_of, find_column, generated_value, widen, writable};
use crate::change::{Action, Bound, Check, Conflict, Insert, Target, Value, no_rows, steps_of_change};
use crate::partitions;
use crate::plan::{ColId, Logical, Plan};

/// A view that rows are inserted through, into one of its tables.
struct Through {
    view: BoundView,
    target: Target,
    check: Option<Check>,
}

impl Through {
    /// Binds the view. `columns` are the names that values are given for.
    fn bind(binder: &mut Binder<'_>, insert: &ast::Insert, columns: &[String]) -> Result<Through, SqlError> {
        let (mut plan, _) = binder.bind_table(&insert.table)?;
        let mut targets = Vec::new();
        widen(&mut plan, binder, &mut targets);
        let view = binder.bound_views().first().cloned();
        let view = view.ok_or_else(|| SqlError::internal("binder", "a view that is none"))?;
        let operation = if insert.replace { "REPLACE" } else { "INSERT" };
        let refused = || SqlError::NotInsertable { table: view.alias.clone(), operation };
        if !view.writable.insert {
            return Err(refused());
        }
        if columns.is_empty() && targets.len() > 1 {
            return Err(SqlError::ViewNoFields(view.whole_name()));
        }
        let mut at = 0;
        for (i, name) in columns.iter().enumerate() {
            let id = column_of(&view, name)?;
            let own = targets.iter().position(|t| t.ids.contains(&id)).ok_or_else(refused)?;
            if i > 0 && own != at {
                return Err(SqlError::ViewManyTables(view.whole_name()));
            }
            at = own;
        }
        let target = if at < targets.len() { targets.swap_remove(at) } else { return Err(refused()) };
        let check = view.check()?;
        // A row of one table says nothing of those that it is joined with.
        if check
            .iter()
            .flat_map(|check| &check.conditions)
            .flat_map(Expr::columns)
            .any(|id| targets.iter().any(|other| other.ids.contains(&id)))
        {
            return Err(refused());
        }
        Ok(Through { view, target, check })
    }

    /// The table's column that is a column of the view.
    fn column(&self, name: &str) -> Result<&ColumnInfo, SqlError> {
        let id = column_of(&self.view, name)?;
        let offset = self.target.ids.iter().position(|own| *own == id);
        offset
            .map(|offset| &self.target.table.columns[offset])
            .ok_or_else(|| SqlError::ViewManyTables(self.view.whole_name()))
    }

    /// The table's columns as the view shows them.
    fn as_shown(&self, columns: Vec<Visible>) -> Vec<Visible> {
        let shown = |v: Visible| {
            let offset = self.target.table.column(&v.org_name)?.offset;
            let (column, _) = self.view.columns.iter().find(|(_, id)| *id == Some(self.target.ids[offset]))?;
            let table = if v.table.is_empty() { String::new() } else { self.view.alias.clone() };
            Some(Visible { name: column.name.clone(), table, database: self.view.database.clone(), ..v })
        };
        columns.into_iter().filter_map(shown).collect()
    }

    /// Where columns of the table are in its rows.
    fn positions(&self) -> HashMap<ColId, usize> {
        self.target.ids.iter().enumerate().map(|(offset, id)| (*id, offset)).collect()
    }
}

impl Binder<'_> {
    /// INSERT and REPLACE.
    pub(super) fn bind_insert(mut self, insert: &ast::Insert) -> Result<Bound, SqlError> {
        let binder = &mut self;
        let (database, table) = binder.find_table(&insert.table)?;
        writable(&table, "INSERT")?;
        let set: &[ast::Assignment] = match &insert.source {
            ast::InsertSource::Set(assignments) => assignments,
            ast::InsertSource::Values(_) | ast::InsertSource::Query(_) => &[],
        };
        let mut through = None;
        if table.view.is_some() {
            let assigned = set.iter().map(|a| &a.column);
            let columns: Vec<String> = insert.columns.iter().chain(assigned).map(|c| c.last().to_owned()).collect();
            through = Some(Through::bind(binder, insert, &columns)?);
        }
        let check = through.as_mut().and_then(|through| through.check.take());
        let (database, table) = match &through {
            Some(through) => (through.target.database.clone(), through.target.table.clone()),
            None => (database, table),
        };
        let named = match table.view.is_some() || through.is_some() {
            // A view has no partitions, whatever its tables have.
            true if !insert.partitions.is_empty() => return Err(PartitionError::ClauseOnNonPartitioned.into()),
            true => None,
            false => partitions::named(&table, &insert.partitions)?,
        };
        let alias = table.name.original.clone();
        let find = |name: &str| match &through {
            Some(through) => through.column(name),
            None => find_column(&table, name, "field list"),
        };
        let as_shown = |columns: Vec<Visible>| match &through {
            Some(through) => through.as_shown(columns),
            None => columns,
        };

        // Columns that values are given for.
        let assigned: Vec<(&ColumnInfo, Option<&ast::Expr>)> = if set.is_empty() {
            match insert.columns.is_empty() {
                true => match &through {
                    Some(through) => through
                        .view
                        .columns
                        .iter()
                        .map(|(c, _)| Ok((find(&c.name)?, None)))
                        .collect::<Result<_, SqlError>>()?,
                    None => table.public_columns().map(|c| (c, None)).collect(),
                },
                false => insert.columns.iter().map(|n| Ok((find(n.last())?, None))).collect::<Result<_, SqlError>>()?,
            }
        } else {
            set.iter().map(|a| Ok((find(a.column.last())?, Some(&a.value)))).collect::<Result<_, SqlError>>()?
        };
        for (i, (c, _)) in assigned.iter().enumerate() {
            if assigned[..i].iter().any(|(o, _)| o.id == c.id) {
                return Err(SqlError::ColumnSpecifiedTwice(c.name.original.clone()));
            }
        }

        // Values may name columns of the row given before them; unset ones read as their default.
        let (_, visible, _) = binder.scan(&database, &table, &alias, false);
        let visible = as_shown(visible);
        let mut at = through.as_ref().map(Through::positions).unwrap_or_default();
        at.extend(visible.iter().filter_map(|v| Some((v.id, table.column(&v.org_name)?.offset))));
        binder.open(visible.clone());
        let mut sources: Vec<Vec<Value>> = Vec::new();
        let mut query_plan = None;
        // Columns of the query: those that are inserted, and those that only ON DUPLICATE KEY UPDATE may read.
        let mut source_columns: Vec<Visible> = Vec::new();
        let bind_value = |binder: &mut Binder<'_>, e: &ast::Expr, column: &ColumnInfo| -> Result<Value, SqlError> {
            match e {
                ast::Expr::Default => return Ok(Value::Default),
                ast::Expr::Function(f) if f.name.value.eq_ignore_ascii_case("default") => {
                    // The default of another column is another value.
                    let own = match &f.args[..] {
                        [of] => of.as_plain_column().is_some_and(|of| column.name.matches(&of.value)),
                        _ => false,
                    };
                    return if own { Ok(Value::Default) } else { unsupported("DEFAULT(…) of another column") };
                }
                _ => {}
            }
            Ok(Value::Expr(infer::exact(binder.bind_expr(e)?)))
        };
        match &insert.source {
            ast::InsertSource::Set(_) => {
                let mut row = Vec::new();
                for (c, e) in &assigned {
                    if let Some(e) = e {
                        row.push(bind_value(binder, e, c)?);
                    }
                }
                sources.push(row);
            }
            ast::InsertSource::Values(rows) => {
                for (i, row) in rows.iter().enumerate() {
                    if row.is_empty() && (insert.columns.is_empty() || assigned.is_empty()) {
                        sources.push(assigned.iter().map(|_| Value::Default).collect());
                        continue;
                    }
                    if row.len() != assigned.len() {
                        return Err(SqlError::ColumnCountMismatch(i as u64 + 1));
                    }
                    let row = row.iter().zip(&assigned).map(|(e, (c, _))| bind_value(binder, e, c));
                    sources.push(row.collect::<Result<_, _>>()?);
                }
            }
            ast::InsertSource::Query(query) => {
                binder.close()?;
                let with_tables = insert.on_duplicate.as_ref().and_then(|_| with_all_columns(query));
                let bound = binder.bind_query(with_tables.as_ref().unwrap_or(query))?;
                let items = bound.columns.iter().position(|c| c.name == END_OF_ITEMS).unwrap_or(bound.columns.len());
                if items != assigned.len() {
                    return Err(SqlError::ColumnCountMismatch(1));
                }
                binder.open(visible.clone());
                source_columns = bound.columns;
                query_plan = Some(bound.plan);
            }
        }
        binder.close()?;
        // Generated columns may be named, and given nothing but what they are anyway.
        for (i, (c, _)) in assigned.iter().enumerate().filter(|(_, (c, _))| c.is_generated()) {
            if query_plan.is_some() || sources.iter().any(|row| row[i].expr().is_some()) {
                return Err(generated_value(&table, c));
            }
        }

        // ON DUPLICATE KEY UPDATE sees the old row as the table's columns and the new one through VALUES() or an alias.
        let mut on_duplicate: Vec<(usize, Value)> = Vec::new();
        // The check reads the old row.
        let mut old_ids: HashMap<ColId, usize> = through.as_ref().map(Through::positions).unwrap_or_default();
        let width = table.columns.len();
        match &insert.on_duplicate {
            None => {}
            Some(assignments) => {
                let (_, old_visible, _) = binder.scan(&database, &table, &alias, false);
                let (_, new_visible, _) = binder.scan(&database, &table, "", false);
                let (old_visible, new_visible) = (as_shown(old_visible), as_shown(new_visible));
                for v in &old_visible {
                    old_ids.insert(v.id, table.column(&v.org_name).map_or(0, |c| c.offset));
                }
                let mut all = old_visible;
                for mut v in new_visible {
                    old_ids.insert(v.id, width + table.column(&v.org_name).map_or(0, |c| c.offset));
                    binder.inserted.insert(v.name.to_lowercase(), v.id);
                    if let Some(row_alias) = &insert.alias {
                        let at = assigned.iter().position(|(c, _)| c.name.matches(&v.org_name));
                        if let Some(n) = at.and_then(|at| row_alias.columns.get(at)) {
                            v.name = n.value.clone();
                        }
                        v.table = row_alias.name.clone();
                        v.database = String::new();
                        v.merged = false;
                        all.push(v);
                    }
                }
                all.extend(source_columns.iter().skip(assigned.len()).cloned());
                binder.open(all);
                for a in assignments {
                    let column = find(a.column.last())?;
                    let value = bind_value(binder, &a.value, column)?;
                    match (column.is_generated(), &value) {
                        (true, Value::Expr(_)) => return Err(generated_value(&table, column)),
                        (true, Value::Default) => {}
                        (false, _) => on_duplicate.push((column.offset, value)),
                    }
                }
                binder.close()?;
            }
        }

        if let Some(plan) = query_plan.take() {
            let read: Vec<ColId> =
                on_duplicate.iter().filter_map(|(_, value)| value.expr()).flat_map(Expr::columns).collect();
            let mut place = 2 * width;
            let mut ids: Vec<ColId> = source_columns.iter().map(|v| v.id).collect();
            for id in ids.split_off(assigned.len()) {
                if read.contains(&id) {
                    old_ids.insert(id, place);
                    place += 1;
                    ids.push(id);
                }
            }
            query_plan = Some(match ids.len() == source_columns.len() {
                true => plan,
                false => {
                    let exprs = ids.iter().map(|id| (binder.columns.expr(*id), *id)).collect();
                    Plan::Project { input: Box::new(plan), exprs }
                }
            });
        }
        let of_query = query_plan.is_some();
        // What is defined over columns is over the row, whatever of it the statement can name.
        let defined: &[ColumnInfo] = if table.defines_over_columns() { &table.columns } else { &[] };
        let row_ids: Vec<ColId> =
            defined.iter().map(|c| binder.columns.add(c.name.original.clone(), c.field_type.clone())).collect();
        let steps = binder.steps_of_row(&table, &row_ids, check)?;
        let places = || row_ids.iter().enumerate().map(|(offset, id)| (*id, offset));
        at.extend(places());
        old_ids.extend(places());
        let offsets: Vec<usize> = assigned.iter().map(|(c, _)| c.offset).collect();
        let bound = Insert {
            defaults: table
                .writable_columns()
                .filter(|c| !c.is_generated() && !offsets.contains(&c.offset))
                .map(|c| c.offset)
                .collect(),
            offsets,
            values: (!of_query).then_some(sources),
            steps: steps.clone(),
            at,
            ignore: insert.ignore,
            named,
            conflict: match (&insert.on_duplicate, insert.replace, insert.ignore) {
                (Some(_), ..) => Conflict::Update { steps: steps_of_change(&table, on_duplicate, steps), at: old_ids },
                (None, true, _) => Conflict::Replace,
                (None, false, true) => Conflict::Skip,
                (None, false, false) => Conflict::Refuse,
            },
            view: through.as_ref().map(|through| through.view.whole_name()),
            counts: matches!(&insert.source, ast::InsertSource::Query(q) if !matches!(q.body, ast::SetExpr::Values(_))),
            table: table.clone(),
        };
        let Binder { columns, subqueries, shared, locked, inputs, warnings, .. } = self;
        let rows = match query_plan {
            Some(plan) => Logical { plan, subqueries, shared, columns },
            None => no_rows(subqueries, shared, columns),
        };
        Ok(Bound { rows, action: Action::Insert(Box::new(bound)), locked, inputs, warnings })
    }
}

/// The name of a column that comes after a query's own items. Nothing that is written can be called so.
const END_OF_ITEMS: &str = "\0";

/// The query with all columns of its tables after its own items: ON DUPLICATE KEY UPDATE may name them. Only where each of
/// its rows is one of the tables', or of their join.
fn with_all_columns(query: &ast::Query) -> Option<ast::Query> {
    let mut query = query.clone();
    let ast::SetExpr::Select(select) = &mut query.body else { return None };
    let plain_items = select.projection.iter().all(|item| match item {
        ast::SelectItem::Expr { expr, .. } => !has_aggregate(expr),
        ast::SelectItem::Star(_) | ast::SelectItem::StarOf(_) => true,
    });
    if !plain_items || !select.group_by.is_empty() || select.having.is_some() || select.distinct {
        return None;
    }
    let mut names = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            names.push(match factor {
                ast::TableFactor::Table { alias: Some(alias), .. } => alias.value.clone(),
                ast::TableFactor::Derived { alias, .. } => alias.name.value.clone(),
                ast::TableFactor::Table { name, .. } => match table_name(name).ok()?.1 {
                    dual if dual.eq_ignore_ascii_case("dual") => continue,
                    name => name,
                },
                ast::TableFactor::Nested(_) => return None,
            });
        }
    }
    let (expr, alias) = (ast::Expr::Literal(ast::Literal::Null), Some(ast::Ident::quoted(END_OF_ITEMS)));
    select.projection.push(ast::SelectItem::Expr { expr, alias });
    select.projection.extend(names.into_iter().map(|name| ast::SelectItem::StarOf(ast::Ident::quoted(name).into())));
    Some(query)
}
