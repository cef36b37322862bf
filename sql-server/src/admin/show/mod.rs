//! `SHOW` of what the catalogue and PD know. Filters are applied by the session to what comes from here.

mod create;
mod placement;
mod regions;
mod statistics;

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{Collation, FieldType, TypeCode};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::{AutoIdKind, Database, TableInfo, TableKind, ViewInfo};
use sql_context::{ExecContext, eval_context};
use sql_parser::{ShowKind, TableName};
use sql_planner::view::{Definitions, as_shown};

use crate::admin::infoschema;
use crate::cluster::Server;
pub(crate) use create::security;
pub use create::{create_database, create_policy, create_table, create_view};

/// Runs one of the SHOW statements that the session does not answer itself.
pub async fn execute(server: &Server, ctx: &mut ExecContext<'_>, kind: &ShowKind) -> Result<ResultSet, SqlError> {
    match kind {
        ShowKind::Databases => {
            let mut names: Vec<_> =
                ctx.schema.databases().map(|database| database.info.name.original.clone()).collect();
            names
                .iter_mut()
                .filter(|name| *name == "information_schema")
                .for_each(|name| *name = "INFORMATION_SCHEMA".into());
            names.sort_by_key(|name| name.to_lowercase());
            Ok(result(vec![text("Database", 64)], names.into_iter().map(|name| vec![s(name)]).collect()))
        }
        ShowKind::Tables { full, database } => tables(ctx, *full, database.as_deref()),
        ShowKind::TableStatus { database } => table_status(ctx, database.as_deref()).await,
        ShowKind::Columns { full, table } => columns(ctx, *full, table),
        ShowKind::Indexes { table } => indexes(ctx, table),
        ShowKind::CreateDatabase { if_not_exists, name } => {
            let database = database(ctx, Some(name))?;
            let columns = vec![text("Database", 64), text("Create Database", 1024)];
            let row = vec![s(database.info.name.as_str()), s(create_database(&database.info, *if_not_exists))];
            Ok(result(columns, vec![row]))
        }
        ShowKind::CreateTable(name) => {
            let (database, table) = table(ctx, name)?;
            if let Some(view) = &table.view {
                return show_create_view(ctx, &database, &table, view);
            }
            let next = match table.auto_increment_column() {
                Some(_) if table.kind != TableKind::Memory => {
                    Some(ctx.auto_ids(&table)?.next(&table, AutoIdKind::AutoIncrement).await?)
                }
                _ => None,
            };
            let columns = vec![text("Table", 64), text("Create Table", 1024)];
            Ok(result(columns, vec![vec![s(table.name.as_str()), s(create_table(&table, next))]]))
        }
        ShowKind::CreateView(name) => {
            let (database, table) = table(ctx, name)?;
            match &table.view {
                Some(view) => show_create_view(ctx, &database, &table, view),
                None => Err(SqlError::WrongObject {
                    object: format!("{}.{}", database.info.name, table.name),
                    expected: "VIEW",
                }),
            }
        }
        ShowKind::CreatePlacementPolicy(name) => {
            let policy = ctx.schema.policy(name).ok_or_else(|| SqlError::UnknownPlacementPolicy(name.clone()))?;
            let columns = vec![text("Policy", 64), text("Create Policy", 1024)];
            Ok(result(columns, vec![vec![s(policy.name.as_str()), s(create_policy(policy))]]))
        }
        ShowKind::Placement => placement::all(server, ctx).await,
        ShowKind::PlacementForDatabase(name) => placement::for_database(server, ctx, name).await,
        ShowKind::PlacementForTable { table, partition } => {
            placement::for_table(server, ctx, table, partition.as_deref()).await
        }
        ShowKind::PlacementLabels => placement::labels(server).await,
        ShowKind::TableRegions { table, index } => regions::table_regions(server, ctx, table, index.as_deref()).await,
        ShowKind::Statistics(what) => statistics::show(server, ctx, *what).await,
        ShowKind::TableNextRowId(name) => next_row_id(ctx, name).await,
        other => Err(SqlError::NotSupported(format!("SHOW {other:?}"))),
    }
}

pub(crate) fn s(text: impl Into<String>) -> Datum {
    Datum::string(text)
}

pub(crate) fn text(name: &str, length: i32) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::varchar(length))
}

pub(crate) fn number(name: &str) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::bigint())
}

fn long_text(name: &str) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::new(TypeCode::LongBlob).with_collation(Collation::DEFAULT))
}

pub(crate) fn result(columns: Vec<ColumnMeta>, rows: Vec<Vec<Datum>>) -> ResultSet {
    ResultSet { columns: columns.into(), rows: Rows::Datums(rows) }
}

/// The database of that name, or the current one.
fn database(ctx: &ExecContext<'_>, name: Option<&str>) -> Result<Arc<Database>, SqlError> {
    let name = match name {
        Some(name) => name,
        None => ctx.database()?,
    };
    ctx.schema.database(name).cloned().ok_or_else(|| SqlError::UnknownDatabase(name.to_owned()))
}

/// A table by name, in its database.
pub(crate) fn table(ctx: &ExecContext<'_>, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
    let database = match &name.database {
        Some(database) => database.as_str(),
        None => ctx.database()?,
    };
    let missing = || SqlError::NoSuchTable { database: database.to_owned(), table: name.name.clone() };
    let held = ctx.schema.database(database).ok_or_else(missing)?;
    let table = held.table(&name.name).ok_or_else(missing)?;
    Ok((Arc::clone(held), Arc::clone(table)))
}

/// A table with rows of its own, by name.
pub(crate) fn base_table(ctx: &ExecContext<'_>, name: &TableName) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
    let (database, table) = table(ctx, name)?;
    match table.view {
        None => Ok((database, table)),
        Some(_) => Err(SqlError::WrongObject {
            object: format!("{}.{}", database.info.name, table.name),
            expected: "BASE TABLE",
        }),
    }
}

fn show_create_view(
    ctx: &ExecContext<'_>,
    database: &Database,
    table: &TableInfo,
    view: &ViewInfo,
) -> Result<ResultSet, SqlError> {
    let name = table.name.as_str();
    let columns = vec![
        text("View", 64),
        text("Create View", 1024),
        text("character_set_client", 32),
        text("collation_connection", 64),
    ];
    let text = create_view(database.info.name.as_str(), name, view, ctx.session.database.as_deref())?;
    Ok(result(columns, vec![vec![s(name), s(text), s(view.charset.as_str()), s(view.collation.as_str())]]))
}

fn tables(ctx: &ExecContext<'_>, full: bool, name: Option<&str>) -> Result<ResultSet, SqlError> {
    let database = database(ctx, name)?;
    let mut columns = vec![text(&format!("Tables_in_{}", database.info.name), 64)];
    if full {
        columns.push(text("Table_type", 64));
    }
    let row = |table: &Arc<TableInfo>| {
        let mut row = vec![s(table.name.as_str())];
        if full {
            row.push(s(table.type_name()));
        }
        row
    };
    Ok(result(columns, database.tables().map(row).collect()))
}

async fn table_status(ctx: &mut ExecContext<'_>, name: Option<&str>) -> Result<ResultSet, SqlError> {
    let database = database(ctx, name)?;
    let datetime = |name: &str| ColumnMeta::computed(name, FieldType::datetime(0));
    let columns = vec![
        text("Name", 64),
        text("Engine", 64),
        number("Version"),
        text("Row_format", 64),
        number("Rows"),
        number("Avg_row_length"),
        number("Data_length"),
        number("Max_data_length"),
        number("Index_length"),
        number("Data_free"),
        number("Auto_increment"),
        datetime("Create_time"),
        datetime("Update_time"),
        datetime("Check_time"),
        text("Collation", 32),
        text("Checksum", 64),
        text("Create_options", 255),
        text("Comment", 2048),
    ];
    let known = ctx.server.statistics()?.current();
    let mut rows = Vec::new();
    for table in database.tables() {
        if table.view.is_some() {
            let mut row = vec![Datum::Null; columns.len()];
            row[0] = s(table.name.as_str());
            row[columns.len() - 1] = s("VIEW");
            rows.push(row);
            continue;
        }
        let size = infoschema::size(known.table(table.id), table);
        let auto_increment = match table.auto_increment_column() {
            Some(_) => Datum::Int(ctx.server.auto_ids()?.next(table, AutoIdKind::AutoIncrement).await?),
            None => Datum::Null,
        };
        rows.push(vec![
            s(table.name.as_str()),
            s("InnoDB"),
            Datum::Int(10),
            s("Compact"),
            Datum::UInt(size.rows),
            Datum::UInt(size.row_bytes),
            Datum::UInt(size.rows * size.row_bytes),
            Datum::Int(0),
            Datum::UInt(size.index_bytes),
            Datum::Int(0),
            auto_increment,
            infoschema::time_of(table.update_ts),
            Datum::Null,
            Datum::Null,
            s(table.collate.as_str()),
            s(""),
            s(""),
            s(table.comment.as_str()),
        ]);
    }
    Ok(result(columns, rows))
}

fn columns(ctx: &ExecContext<'_>, full: bool, name: &TableName) -> Result<ResultSet, SqlError> {
    let (database, mut table) = table(ctx, name)?;
    if table.view.is_some() {
        let eval = eval_context(ctx.session, false);
        let env = Definitions { schema: &ctx.schema, database: None, eval: &eval };
        table = Arc::new(as_shown(&env, database.info.name.as_str(), &table)?.0);
    }
    let mut columns = vec![text("Field", 64), long_text("Type")];
    if full {
        columns.push(text("Collation", 64));
    }
    columns.extend([text("Null", 3), text("Key", 3), long_text("Default"), text("Extra", 256)]);
    if full {
        columns.extend([text("Privileges", 154), long_text("Comment")]);
    }
    let rows = table.public_columns().map(|column| {
        let ty = &column.field_type;
        let mut row = vec![s(column.name.as_str()), s(ty.declaration())];
        if full {
            row.push(if ty.is_text() { s(ty.collation.name()) } else { Datum::Null });
        }
        row.extend([
            s(if ty.is_not_null() { "NO" } else { "YES" }),
            s(infoschema::column_key(column)),
            infoschema::column_default(column),
            s(infoschema::column_extra(column)),
        ]);
        if full {
            row.extend([s("select,insert,update,references"), s(column.comment.as_str())]);
        }
        row
    });
    Ok(result(columns, rows.collect()))
}

fn indexes(ctx: &ExecContext<'_>, name: &TableName) -> Result<ResultSet, SqlError> {
    let (_, table) = table(ctx, name)?;
    let columns = vec![
        text("Table", 64),
        number("Non_unique"),
        text("Key_name", 64),
        number("Seq_in_index"),
        text("Column_name", 64),
        text("Collation", 1),
        number("Cardinality"),
        number("Sub_part"),
        text("Packed", 10),
        text("Null", 3),
        text("Index_type", 16),
        text("Comment", 16),
        text("Index_comment", 1024),
        text("Visible", 3),
        text("Expression", 1024),
        text("Clustered", 3),
    ];
    let known = ctx.server.statistics()?.current();
    let mut rows = Vec::new();
    for key in infoschema::keys(&table) {
        for (number, (column, prefix)) in (1..).zip(&key.columns) {
            rows.push(vec![
                s(table.name.as_str()),
                Datum::Int((!key.unique).into()),
                s(key.name),
                Datum::Int(number),
                s(column.name.as_str()),
                s("A"),
                Datum::Int(infoschema::cardinality(known.table(table.id), &key, number as usize)),
                prefix.map_or(Datum::Null, |length| Datum::Int(length.into())),
                Datum::Null,
                s(if column.field_type.is_not_null() { "" } else { "YES" }),
                s("BTREE"),
                s(""),
                s(key.index.map_or("", |index| index.comment.as_str())),
                s(if key.index.is_some_and(|index| index.invisible) { "NO" } else { "YES" }),
                Datum::Null,
                s(if key.clustered { "YES" } else { "NO" }),
            ]);
        }
    }
    Ok(result(columns, rows))
}

/// SHOW TABLE t NEXT_ROW_ID and ADMIN SHOW t NEXT_ROW_ID.
pub(crate) async fn next_row_id(ctx: &mut ExecContext<'_>, name: &TableName) -> Result<ResultSet, SqlError> {
    let (database, table) = base_table(ctx, name)?;
    let ids = ctx.server.auto_ids()?;
    let columns = vec![
        text("DB_NAME", 64),
        text("TABLE_NAME", 64),
        text("COLUMN_NAME", 64),
        number("NEXT_GLOBAL_ROW_ID"),
        text("ID_TYPE", 15),
    ];
    let mut rows = Vec::new();
    let mut row = |column: &str, next: i64, kind: &str| {
        let names = [database.info.name.as_str(), table.name.as_str(), column];
        let mut row: Vec<_> = names.into_iter().map(s).collect();
        row.extend([Datum::Int(next), s(kind)]);
        rows.push(row);
    };
    if !table.is_clustered() {
        row("_tidb_rowid", ids.next(&table, AutoIdKind::RowId).await?, "_TIDB_ROWID");
    }
    if let Some(column) = table.auto_increment_column() {
        let next = ids.next(&table, AutoIdKind::AutoIncrement).await?;
        row(column.name.as_str(), next, "AUTO_INCREMENT");
    }
    Ok(result(columns, rows))
}
