//! Databases and tables by the names that a statement gives them.

use std::sync::Arc;

use sql_base::SqlError;
use sql_catalog::{Database, Schema, TableInfo, TableKind};
use sql_context::ExecContext;
use sql_parser::TableName;

/// What names mean to a statement.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The catalogue.
    pub(crate) schema: &'a Schema,
    /// The current database.
    pub(crate) current: Option<&'a str>,
}

/// A table in its database.
pub(crate) type Found = (Arc<Database>, Arc<TableInfo>);

impl<'a> Names<'a> {
    /// Of a statement.
    pub(crate) fn of(ctx: &'a ExecContext<'_>) -> Names<'a> {
        Names { schema: &ctx.schema, current: ctx.session.database.as_deref() }
    }

    fn database_name(self, name: Option<&'a str>) -> Result<&'a str, SqlError> {
        name.or(self.current).ok_or(SqlError::NoDatabaseSelected)
    }

    /// The database of that name, or the current one.
    pub(crate) fn database(self, name: Option<&'a str>) -> Result<Arc<Database>, SqlError> {
        let name = self.database_name(name)?;
        self.schema.database(name).cloned().ok_or_else(|| SqlError::UnknownDatabase(name.to_owned()))
    }

    /// A table or view.
    pub(crate) fn table(self, name: &'a TableName) -> Result<Found, SqlError> {
        let database = self.database_name(name.database.as_deref())?;
        let missing = || SqlError::NoSuchTable { database: database.to_owned(), table: name.name.clone() };
        let held = self.schema.database(database).ok_or_else(missing)?;
        let table = held.table(&name.name).ok_or_else(missing)?;
        Ok((Arc::clone(held), Arc::clone(table)))
    }

    /// A table with rows of its own.
    pub(crate) fn base_table(self, name: &'a TableName) -> Result<Found, SqlError> {
        let (database, table) = self.table(name)?;
        match table.view {
            None => Ok((database, table)),
            Some(_) => Err(wrong_object(&database, &table, "BASE TABLE")),
        }
    }

    /// A table whose rows are stored.
    pub(crate) fn stored_table(self, name: &'a TableName) -> Result<Found, SqlError> {
        let (database, table) = self.base_table(name)?;
        if table.kind == TableKind::Memory {
            return Err(SqlError::NotSupported(format!("this statement on the computed table '{}'", table.name)));
        }
        Ok((database, table))
    }

    /// `database.table` as statements that go over several tables show it, there or not.
    pub(crate) fn shown(self, name: &'a TableName) -> Result<String, SqlError> {
        Ok(format!("{}.{}", self.database_name(name.database.as_deref())?, name.name))
    }
}

/// The table is of another kind than the statement is for.
pub(crate) fn wrong_object(database: &Database, table: &TableInfo, expected: &'static str) -> SqlError {
    SqlError::WrongObject { object: format!("{}.{}", database.info.name, table.name), expected }
}
