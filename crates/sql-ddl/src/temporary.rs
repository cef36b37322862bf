//! CREATE, DROP and TRUNCATE of temporary tables: no job, no schema version, nobody else hears of them.
//!
//! What would change one in another way is refused by name: it must not reach the table that the temporary one hides.

use std::sync::Arc;

use sql_base::{PartitionError, SqlError};
use sql_catalog::{TableInfo, TableKind};
use sql_context::ExecContext;
use sql_parser::{Ddl, TableName};

use super::build;
use super::exec::{Statement, check_is_table, collation};

/// The database and the temporary table that a name means, if it means one.
fn find(ctx: &ExecContext<'_>, name: &TableName) -> Option<(String, Arc<TableInfo>)> {
    let database = match &name.database {
        Some(database) => database.clone(),
        None => ctx.session.database.clone()?,
    };
    let table = ctx.session.temporary.find(&database, &name.name)?;
    Some((database, Arc::clone(table)))
}

/// Does what a statement says of temporary tables, and gives what is left of it to be done: all that concerns others.
pub(super) fn execute(
    ctx: &mut ExecContext<'_>,
    statement: &mut Statement<'_>,
    ddl: &Ddl,
) -> Result<Option<Ddl>, SqlError> {
    match ddl {
        Ddl::CreateTable(create) if create.temporary => {
            let database = statement.database_of(&create.table)?;
            let zone = &statement.eval.time_zone;
            let mut table = build::table(create, collation(&database.info.collate), zone, statement.clustered_index)?;
            if create.partition.is_some() {
                return Err(PartitionError::NoTemporary.into());
            }
            statement.define_over_columns(&database, &mut table, create)?;
            if create.options.placement.is_some() {
                return Err(SqlError::NotSupported("a placement policy of a temporary table".into()));
            }
            statement.check_primary_key(&table)?;
            add(ctx, statement, &create.table, create.if_not_exists, database.info.name.as_str(), table)?;
            return Ok(None);
        }
        Ddl::CreateTableLike { temporary: true, if_not_exists, table: name, like } => {
            let database = statement.database_of(name)?;
            build::check_table_name(&name.name)?;
            let (model_database, model) = statement.model(like)?;
            check_is_table(&model_database, &model)?;
            if model.kind == TableKind::Memory {
                return Err(SqlError::NotSupported("CREATE TABLE LIKE a table that the server computes".into()));
            }
            if model.partition.is_some() {
                return Err(PartitionError::NoTemporary.into());
            }
            let table = build::like(&model, &name.name);
            add(ctx, statement, name, *if_not_exists, database.info.name.as_str(), table)?;
            return Ok(None);
        }
        Ddl::DropTable { temporary, if_exists, tables } => {
            let (found, others): (Vec<_>, Vec<_>) = tables.iter().partition(|name| find(ctx, name).is_some());
            let others: Vec<TableName> = others.into_iter().cloned().collect();
            if *temporary && !others.is_empty() {
                let missing = others.iter().map(|name| Ok(format!("{}.{}", statement.database_name(name)?, name.name)));
                let missing: Vec<String> = missing.collect::<Result<_, SqlError>>()?;
                statement.note_if(*if_exists, SqlError::UnknownTable(missing.join(",")))?;
            }
            for name in found {
                if let Some((database, table)) = find(ctx, name) {
                    ctx.session.temporary.remove(&database, table.name.as_str());
                }
            }
            let left = Ddl::DropTable { temporary: false, if_exists: *if_exists, tables: others.clone() };
            return Ok((!*temporary && !others.is_empty()).then_some(left));
        }
        Ddl::TruncateTable(name) => {
            if let Some((_, table)) = find(ctx, name) {
                ctx.session.temporary.empty(table.id);
                return Ok(None);
            }
        }
        Ddl::AlterTable { table, .. } => refuse(ctx, table, "ALTER TABLE")?,
        Ddl::CreateIndex { table, .. } => refuse(ctx, table, "CREATE INDEX")?,
        Ddl::DropIndex { table, .. } => refuse(ctx, table, "DROP INDEX")?,
        _ => {}
    }
    Ok(Some(ddl.clone()))
}

fn refuse(ctx: &ExecContext<'_>, name: &TableName, what: &str) -> Result<(), SqlError> {
    match find(ctx, name) {
        Some(_) => Err(SqlError::NotSupported(format!("{what} of a temporary table"))),
        None => Ok(()),
    }
}

fn add(
    ctx: &mut ExecContext<'_>,
    statement: &mut Statement<'_>,
    name: &TableName,
    if_not_exists: bool,
    database: &str,
    mut table: TableInfo,
) -> Result<(), SqlError> {
    if ctx.session.temporary.find(database, &name.name).is_some() {
        return statement.note_if(if_not_exists, SqlError::TableExists(format!("{database}.{}", name.name)));
    }
    table.kind = TableKind::Temporary;
    table.policy = None;
    ctx.session.temporary.add(database, table);
    ctx.session.use_temporary_tables();
    Ok(())
}
