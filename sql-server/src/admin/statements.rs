//! ADMIN statements, SPLIT TABLE and CHECK TABLE.

use std::sync::Arc;

use codec::datum::Datum;
use codec::table::Handle;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, Outcome, ResultSet};
use sql_catalog::{Database, IndexInfo, TableInfo, TableKind};
use sql_catalog::{convert, row};
use sql_context::{ExecContext, eval_context};
use sql_ddl::check;
use sql_ddl::job::Job;
use sql_parser::ast::{Expr, Literal, UnaryOp};
use sql_parser::{Admin, SplitBy, SplitTable, TableName};
use sql_planner::view::{Definitions, as_shown};

use super::infoschema::time_of;
use super::show::{self, number, result, s, text};
use crate::cluster::Server;

/// Finished jobs that ADMIN SHOW DDL JOBS lists when it is not told how many.
const JOBS_SHOWN: u64 = 10;
/// Finished jobs among which a query is looked up by job.
const JOBS_SEARCHED: usize = 10_000;
/// Regions that one SPLIT may make.
const SPLIT_REGIONS_MAX: u64 = 1000;

/// Runs an ADMIN statement.
pub async fn execute(server: &Server, ctx: &mut ExecContext<'_>, admin: &Admin) -> Result<Outcome, SqlError> {
    match admin {
        Admin::ShowDdl => show_ddl(server).await.map(Outcome::Rows),
        Admin::ShowDdlJobs { filter: Some(_), .. } => {
            Err(SqlError::NotSupported("ADMIN SHOW DDL JOBS WHERE (use information_schema.ddl_jobs)".into()))
        }
        Admin::ShowDdlJobs { limit, filter: None } => {
            show_jobs(server, limit.unwrap_or(JOBS_SHOWN)).await.map(Outcome::Rows)
        }
        Admin::ShowDdlJobQueries(ids) => show_queries(server, ids).await.map(Outcome::Rows),
        Admin::CancelDdlJobs(ids) => cancel(server, ids).await.map(Outcome::Rows),
        Admin::CheckTable(tables) => {
            for name in tables {
                check_one(server, ctx, name, None).await?;
            }
            Ok(Outcome::ok())
        }
        Admin::CheckIndex { table, index } => check_one(server, ctx, table, Some(index)).await.map(|()| Outcome::ok()),
        Admin::ChecksumTable(_) => Err(SqlError::NotSupported("ADMIN CHECKSUM TABLE".into())),
        Admin::ShowNextRowId(name) => show::next_row_id(ctx, name).await.map(Outcome::Rows),
        Admin::Refused(what) => Err(SqlError::NotSupported(what.clone())),
    }
}

async fn check_one(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    name: &TableName,
    index: Option<&str>,
) -> Result<(), SqlError> {
    let (_, table) = stored_table(ctx, name)?;
    check::check_table(&*server.domain()?, &table, index).await
}

pub(super) fn stored_table(
    ctx: &ExecContext<'_>,
    name: &TableName,
) -> Result<(Arc<Database>, Arc<TableInfo>), SqlError> {
    let (database, table) = show::base_table(ctx, name)?;
    if table.kind == TableKind::Memory {
        return Err(SqlError::NotSupported(format!("this statement on the computed table '{}'", table.name)));
    }
    Ok((database, table))
}

/// CHECK TABLE: a row for each table, whatever is found.
pub async fn check_tables(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    names: &[TableName],
) -> Result<ResultSet, SqlError> {
    let mut rows = Vec::new();
    for name in names {
        let shown = match (&name.database, &ctx.session.database) {
            (Some(database), _) | (None, Some(database)) => format!("{database}.{}", name.name),
            (None, None) => return Err(SqlError::NoDatabaseSelected),
        };
        let checked = match show::table(ctx, name) {
            // Nothing but its definition can be wrong with a view.
            Ok((database, table)) if table.view.is_some() => {
                let eval = eval_context(ctx.session, false);
                let env = Definitions { schema: &ctx.schema, database: None, eval: &eval };
                as_shown(&env, database.info.name.as_str(), &table).map(drop)
            }
            _ => check_one(server, ctx, name, None).await,
        };
        let (kind, message) = match checked {
            Ok(()) => ("status", "OK".to_owned()),
            Err(error) => ("error", error.to_string()),
        };
        rows.push(vec![s(shown), s("check"), s(kind), s(message)]);
    }
    Ok(result(vec![text("Table", 128), text("Op", 10), text("Msg_type", 10), text("Msg_text", 1024)], rows))
}

async fn show_ddl(server: &Server) -> Result<ResultSet, SqlError> {
    let domain = server.domain()?;
    let owner = domain.owner().await?.unwrap_or_default();
    let servers = domain.servers().await?;
    let address = servers.iter().find(|server| server.id == owner);
    let address = address.map_or(String::new(), |server| format!("{}:{}", server.ip, server.port));
    let (queued, _) = domain.jobs(0).await?;
    let running: Vec<_> = queued
        .iter()
        .rev()
        .map(|job| format!("ID:{}, Type:{}, State:{}", job.id, job.action.name(), job.state.as_str()))
        .collect();
    let queries: Vec<_> = queued.iter().rev().map(|job| job.query.clone()).collect();
    let columns = vec![
        number("SCHEMA_VER"),
        text("OWNER_ID", 64),
        text("OWNER_ADDRESS", 32),
        text("RUNNING_JOBS", 256),
        text("SELF_ID", 64),
        text("QUERY", 256),
    ];
    let row = vec![
        Datum::Int(domain.schemas().current().version()),
        s(owner),
        s(address),
        s(running.join("\n")),
        s(domain.server().id.as_str()),
        s(queries.join("\n")),
    ];
    Ok(result(columns, vec![row]))
}

async fn show_jobs(server: &Server, limit: u64) -> Result<ResultSet, SqlError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (queued, finished) = server.domain()?.jobs(limit).await?;
    let datetime = |name: &str| ColumnMeta::computed(name, codec::types::FieldType::datetime(0));
    let columns = vec![
        number("JOB_ID"),
        text("DB_NAME", 64),
        text("TABLE_NAME", 64),
        text("JOB_TYPE", 64),
        text("SCHEMA_STATE", 64),
        number("SCHEMA_ID"),
        number("TABLE_ID"),
        number("ROW_COUNT"),
        datetime("CREATE_TIME"),
        datetime("START_TIME"),
        datetime("END_TIME"),
        text("STATE", 64),
        text("COMMENTS", 1024),
    ];
    let rows = queued.into_iter().chain(finished).flat_map(Job::listed).map(|(job, kind)| {
        vec![
            Datum::Int(job.id),
            s(job.schema_name.as_str()),
            s(job.table_name.as_str()),
            s(kind),
            s(job.schema_state.to_string()),
            Datum::Int(job.schema_id),
            Datum::Int(job.table_id),
            Datum::Int(job.rows()),
            time_of(job.create_ts),
            time_of(job.start_ts),
            time_of(job.finish_ts),
            s(job.state.as_str()),
            s(job.error.map_or(String::new(), |error| error.message)),
        ]
    });
    Ok(result(columns, rows.collect()))
}

async fn show_queries(server: &Server, ids: &[u64]) -> Result<ResultSet, SqlError> {
    let (queued, finished) = server.domain()?.jobs(JOBS_SEARCHED).await?;
    let wanted = |id: i64| u64::try_from(id).is_ok_and(|id| ids.contains(&id));
    let rows = queued.into_iter().chain(finished).filter(|job| wanted(job.id)).map(|job| vec![s(job.query)]);
    Ok(result(vec![text("QUERY", 256)], rows.collect()))
}

async fn cancel(server: &Server, ids: &[u64]) -> Result<ResultSet, SqlError> {
    let ids: Vec<i64> = ids.iter().map(|id| i64::try_from(*id).unwrap_or(i64::MAX)).collect();
    let outcome = server.domain()?.cancel_jobs(&ids).await?;
    let rows = outcome.into_iter().map(|(id, refused)| {
        let told = refused.map_or("successful".to_owned(), |error| format!("error: [ddl:{}]{error}", error.code().0));
        vec![s(id.to_string()), s(told)]
    });
    Ok(result(vec![text("JOB_ID", 64), text("RESULT", 128)], rows.collect()))
}

// ---- SPLIT TABLE ----

/// Runs SPLIT TABLE.
pub async fn split_table(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    split: &SplitTable,
) -> Result<ResultSet, SqlError> {
    let (_, table) = stored_table(ctx, &split.table)?;
    let index = match &split.index {
        Some(name) if !table.has_key(name) => {
            return Err(SqlError::NoSuchKey { key: name.clone(), table: table.name.original.clone() });
        }
        // None of the number that rows are kept by.
        Some(name) => table.index(name),
        None => table.clustered_index(),
    };
    let keys = match &split.by {
        SplitBy::Points(points) => {
            points.iter().map(|point| split_key(&table, index, point)).collect::<Result<Vec<_>, _>>()?
        }
        SplitBy::Between { lower, upper, regions } => {
            if *regions < 2 || *regions > SPLIT_REGIONS_MAX {
                return Err(SqlError::Other(format!(
                    "Split table region num should be in [2, {SPLIT_REGIONS_MAX}], got {regions}"
                )));
            }
            let (lower, upper) = (split_key(&table, index, lower)?, split_key(&table, index, upper)?);
            if lower >= upper {
                return Err(SqlError::Other(format!(
                    "Split table `{}` region lower value should less than the upper value",
                    table.name
                )));
            }
            let mut keys = between(&lower, &upper, *regions);
            // The part of the table below the lower bound, and an index as a whole, begin a region too.
            keys.push(match index {
                Some(index) => row::entries_prefix(&table, table.physical_id(), index),
                None => codec::table::record_prefix(table.physical_id()),
            });
            keys
        }
    };
    let made = server.domain()?.kv().split_region(keys).await?;
    let columns = vec![
        number("TOTAL_SPLIT_REGION"),
        ColumnMeta::computed("SCATTER_FINISH_RATIO", codec::types::FieldType::double()),
    ];
    // Regions are not scattered by the split: the schedulers of PD spread them.
    Ok(result(columns, vec![vec![Datum::Int(made.len() as i64), Datum::Float(1.0)]]))
}

/// The key that a point names: of a row by its number, of an index entry by its leading values.
fn split_key(table: &TableInfo, index: Option<&IndexInfo>, point: &[Expr]) -> Result<Vec<u8>, SqlError> {
    let values = point.iter().map(constant).collect::<Result<Vec<_>, _>>()?;
    let Some(index) = index else {
        let handle = match values.as_slice() {
            [Datum::Int(handle)] => Some(*handle),
            [Datum::UInt(handle)] => Some(*handle as i64),
            _ => None,
        };
        let wrong = || SqlError::Other(format!("Split table `{}` region value should be one whole number", table.name));
        return Ok(codec::table::record_key(table.physical_id(), &handle.map(Handle::Int).ok_or_else(wrong)?));
    };
    if values.len() > index.columns.len() {
        return Err(SqlError::ColumnCountMismatch(1));
    }
    let mut typed = Vec::new();
    for (part, value) in index.columns.iter().zip(values) {
        let Some(column) = table.columns.get(part.offset) else { continue };
        let zone = TimeZone::UTC;
        let cx = convert::Context { column: column.name.as_str(), row: 1, zone: &zone, no_zero_date: false };
        let fitted = convert::convert(value, &column.field_type, &cx);
        if let Some(problem) = fitted.problem {
            return Err(convert::error(&problem, &cx));
        }
        typed.push(fitted.value);
    }
    row::values_key(table, table.physical_id(), index, &typed)
}

fn constant(expr: &Expr) -> Result<Datum, SqlError> {
    let refused = || SqlError::NotSupported(format!("the expression '{expr}' in SPLIT TABLE"));
    match expr {
        Expr::Literal(value) => match value {
            Literal::Number(text) => match (text.parse(), text.parse()) {
                (Ok(number), _) => Ok(Datum::Int(number)),
                (_, Ok(number)) => Ok(Datum::UInt(number)),
                _ => Ok(Datum::string(text.clone())),
            },
            Literal::Text(text) => Ok(Datum::string(text.clone())),
            Literal::Null => Ok(Datum::Null),
            _ => Err(refused()),
        },
        Expr::Unary { op: UnaryOp::Minus, expr } => match constant(expr)? {
            Datum::Int(number) => Ok(Datum::Int(-number)),
            Datum::UInt(number) if number == 1 << 63 => Ok(Datum::Int(i64::MIN)),
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

/// Keys that cut what is between two keys into equal parts, by the eight bytes in which they begin to differ. The
/// bounds themselves are the first and the last.
fn between(lower: &[u8], upper: &[u8], regions: u64) -> Vec<Vec<u8>> {
    let same = lower.iter().zip(upper).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut bytes = [0_u8; 8];
        for (byte, held) in bytes.iter_mut().zip(key.get(same..).unwrap_or_default()) {
            *byte = *held;
        }
        u64::from_be_bytes(bytes)
    };
    let (low, high) = (number(lower), number(upper));
    let step = high.saturating_sub(low) / regions;
    let mut keys = vec![lower.to_vec()];
    if step > 0 {
        keys.extend((1..regions).map(|at| {
            let mut key = lower[..same].to_vec();
            key.extend_from_slice(&(low + step * at).to_be_bytes());
            if lower.len() == upper.len() {
                key.truncate(lower.len());
            }
            key
        }));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_rows_is_cut_into_equal_parts() {
        let key = |handle| codec::table::record_key(codec::table::PhysicalTableId(1), &Handle::Int(handle));
        let (low, high) = (key(0), key(1000));
        let handles: Vec<_> =
            between(&low, &high, 4).iter().map(|key| codec::table::decode_handle(key).unwrap()).collect();
        assert_eq!(handles, [0, 250, 500, 750].map(Handle::Int));
    }
}
