//! INSERT, REPLACE, UPDATE and DELETE: read, and from `sqlparser`'s trees to ours.

use sqlparser::ast as tree;

use super::{Grammar, Lowered, Lowering, Parsed, Stop, idents, name, refuse};
use crate::ast::{Assignment, Delete, Insert, InsertSource, RowAlias, TableFactor, Update};

impl Grammar<'_> {
    /// After `INSERT` or `REPLACE`; and whether it is `DELAYED`.
    pub(crate) fn insert(&mut self, replace: bool) -> Parsed<(Insert, bool)> {
        let token = self.last_token().clone();
        let statement = if replace { self.p.parse_replace(token)? } else { self.p.parse_insert(token)? };
        let tree::Statement::Insert(insert) = statement else { return Ok(refuse("this form of INSERT")?) };
        let delayed = insert.priority == Some(tree::MysqlInsertPriority::Delayed);
        Ok((Lowering::default().insert(insert)?, delayed))
    }

    /// After `UPDATE` and its modifiers: one table, with its joins.
    pub(crate) fn update(&mut self) -> Parsed<Update> {
        let token = self.last_token().clone();
        match self.p.parse_update(token)? {
            tree::Statement::Update(update) => Ok(Lowering::default().update(update)?),
            _ => Err(Stop::Here),
        }
    }

    /// `column = value`.
    pub(crate) fn assignment(&mut self) -> Parsed<Assignment> {
        let assignment = self.p.parse_assignment()?;
        Ok(Lowering::default().assignment(assignment)?)
    }

    /// After `DELETE` and its modifiers.
    pub(crate) fn delete(&mut self) -> Parsed<Delete> {
        let token = self.last_token().clone();
        match self.p.parse_delete(token)? {
            tree::Statement::Delete(delete) => Ok(Lowering::default().delete(delete)?),
            _ => Err(Stop::Here),
        }
    }
}

impl Lowering {
    fn insert(&mut self, insert: tree::Insert) -> Lowered<Insert> {
        let foreign = insert.or.is_some() || insert.has_table_keyword || insert.output.is_some();
        if foreign
            || insert.table_alias.is_some()
            || insert.settings.is_some()
            || insert.format_clause.is_some()
            || insert.multi_table_insert_type.is_some()
            || !insert.multi_table_into_clauses.is_empty()
        {
            return refuse("this form of INSERT");
        }
        if insert.overwrite
            || insert.partitioned.is_some()
            || insert.returning.is_some()
            || !insert.after_columns.is_empty()
        {
            return refuse("this INSERT clause");
        }
        let tree::TableObject::TableName(table) = insert.table else { return refuse("INSERT into a function") };
        let source = match insert.source {
            _ if !insert.assignments.is_empty() => InsertSource::Set(self.assignments(insert.assignments)?),
            // `INSERT INTO t VALUES ()`
            None => InsertSource::Values(vec![Vec::new()]),
            Some(query) => self.source(query)?,
        };
        let alias = match insert.insert_alias {
            None => None,
            Some(tree::InsertAliases { row_alias, col_aliases }) => Some(RowAlias {
                name: name(row_alias)?.last().to_owned(),
                columns: idents(col_aliases.unwrap_or_default()),
            }),
        };
        let on_duplicate = match insert.on {
            None => None,
            Some(tree::OnInsert::DuplicateKeyUpdate(assignments)) => Some(self.assignments(assignments)?),
            Some(_) => return refuse("ON CONFLICT"),
        };
        Ok(Insert {
            replace: insert.replace_into,
            ignore: insert.ignore,
            table: name(table)?,
            partitions: Vec::new(),
            columns: insert.columns.into_iter().map(name).collect::<Lowered<_>>()?,
            source,
            alias,
            on_duplicate,
        })
    }

    fn source(&mut self, query: Box<tree::Query>) -> Lowered<InsertSource> {
        let bare = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
        match *query.body {
            tree::SetExpr::Values(values) if bare => {
                let rows = values.rows.into_iter().map(|row| self.exprs(row.content));
                Ok(InsertSource::Values(rows.collect::<Lowered<_>>()?))
            }
            body => self.query(Box::new(tree::Query { body: Box::new(body), ..*query })).map(InsertSource::Query),
        }
    }

    fn assignments(&mut self, list: Vec<tree::Assignment>) -> Lowered<Vec<Assignment>> {
        list.into_iter().map(|assignment| self.assignment(assignment)).collect()
    }

    fn assignment(&mut self, assignment: tree::Assignment) -> Lowered<Assignment> {
        let tree::AssignmentTarget::ColumnName(column) = assignment.target else { return refuse("row assignment") };
        Ok(Assignment { column: name(column)?, value: self.expr(assignment.value)? })
    }

    fn update(&mut self, update: tree::Update) -> Lowered<Update> {
        if update.or.is_some() || update.output.is_some() {
            return refuse("this form of UPDATE");
        }
        if update.from.is_some() || update.returning.is_some() {
            return refuse("this UPDATE clause");
        }
        Ok(Update {
            with: None,
            hints: Vec::new(),
            ignore: false,
            table: self.tables(update.table)?,
            assignments: self.assignments(update.assignments)?,
            selection: update.selection.map(|e| self.expr(e)).transpose()?,
            order_by: self.order_by(update.order_by)?,
            limit: update.limit.map(|e| self.expr(e)).transpose()?,
        })
    }

    fn delete(&mut self, delete: tree::Delete) -> Lowered<Delete> {
        if delete.output.is_some() {
            return refuse("this form of DELETE");
        }
        if delete.returning.is_some() {
            return refuse("this DELETE clause");
        }
        let (tree::FromTable::WithFromKeyword(from) | tree::FromTable::WithoutKeyword(from)) = delete.from;
        let mut from = from.into_iter().map(|tables| self.tables(tables)).collect::<Lowered<Vec<_>>>()?;
        let mut targets = delete.tables.into_iter().map(name).collect::<Lowered<Vec<_>>>()?;
        // `DELETE a FROM …` names tables before FROM; `DELETE FROM a USING …` in it.
        if let Some(using) = delete.using {
            let using = using.into_iter().map(|tables| self.tables(tables)).collect::<Lowered<_>>()?;
            targets = std::mem::replace(&mut from, using)
                .into_iter()
                .filter_map(|tables| match tables.relation {
                    TableFactor::Table { name, .. } => Some(name),
                    _ => None,
                })
                .collect();
        }
        Ok(Delete {
            with: None,
            hints: Vec::new(),
            ignore: false,
            targets,
            from,
            selection: delete.selection.map(|e| self.expr(e)).transpose()?,
            order_by: self.order_by(delete.order_by)?,
            limit: delete.limit.map(|e| self.expr(e)).transpose()?,
        })
    }
}
