//! What ADMIN does, SPLIT TABLE and CHECK TABLE. What ADMIN shows is in [`super::show`].

use codec::datum::Datum;
use codec::table::{Handle, PhysicalTableId};
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{IndexInfo, TableInfo};
use sql_catalog::{convert, row};
use sql_context::{ExecContext, eval_context};
use sql_ddl::check;
use sql_parser::ast::{Expr, Literal, UnaryOp};
use sql_parser::{Admin, SplitBy, SplitTable, TableName};
use sql_planner::view::{Definitions, as_shown};

use super::Told;
use super::infoschema::{Rows, s};
use super::names::Names;
use crate::cluster::Server;

/// Regions that one SPLIT may make.
const SPLIT_REGIONS_MAX: u64 = 1000;

/// Runs an ADMIN statement that does something.
pub async fn execute(server: &Server, ctx: &ExecContext<'_>, admin: &Admin) -> Result<Told, SqlError> {
    match admin {
        Admin::CancelDdlJobs(ids) => Ok(Told::Rows("cancelled_jobs", cancel(server, ids).await?)),
        Admin::CheckTable(tables) => {
            for name in tables {
                check_one(server, ctx, name, None).await?;
            }
            Ok(Told::Done)
        }
        Admin::CheckIndex { table, index } => {
            check_one(server, ctx, table, Some(index)).await?;
            Ok(Told::Done)
        }
        Admin::ChecksumTable(_) => Err(SqlError::NotSupported("ADMIN CHECKSUM TABLE".into())),
        Admin::Refused(what) => Err(SqlError::NotSupported(what.clone())),
        Admin::ShowDdl | Admin::ShowDdlJobs { .. } | Admin::ShowDdlJobQueries(_) | Admin::ShowNextRowId(_) => {
            Err(SqlError::internal("ADMIN", "what shows something is a query"))
        }
    }
}

async fn check_one(
    server: &Server,
    ctx: &ExecContext<'_>,
    name: &TableName,
    index: Option<&str>,
) -> Result<(), SqlError> {
    let (_, table) = Names::of(ctx).stored_table(name)?;
    check::check_table(&*server.domain()?, &table, index).await
}

/// CHECK TABLE: a row for each table, whatever is found.
pub async fn check_tables(server: &Server, ctx: &ExecContext<'_>, names: &[TableName]) -> Result<Told, SqlError> {
    let mut rows = Vec::new();
    for name in names {
        let shown = Names::of(ctx).shown(name)?;
        let checked = match Names::of(ctx).table(name) {
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
    Ok(Told::Rows("maintenance", rows))
}

async fn cancel(server: &Server, ids: &[u64]) -> Result<Rows, SqlError> {
    let ids: Vec<i64> = ids.iter().map(|id| i64::try_from(*id).unwrap_or(i64::MAX)).collect();
    let outcome = server.domain()?.cancel_jobs(&ids).await?;
    let rows = outcome.into_iter().map(|(id, refused)| {
        let told = refused.map_or("successful".to_owned(), |error| format!("error: [ddl:{}]{error}", error.code().0));
        vec![s(id.to_string()), s(told)]
    });
    Ok(rows.collect())
}

// ---- SPLIT TABLE ----

/// Runs SPLIT TABLE.
pub async fn split_table(server: &Server, ctx: &ExecContext<'_>, split: &SplitTable) -> Result<Told, SqlError> {
    let (_, table) = Names::of(ctx).stored_table(&split.table)?;
    let index = match &split.index {
        Some(name) if !table.has_key(name) => {
            return Err(SqlError::NoSuchKey { key: name.clone(), table: table.name.original.clone() });
        }
        // None of the number that rows are kept by.
        Some(name) => table.index(name),
        None => table.clustered_index(),
    };
    let mut keys = Vec::new();
    for at in table.physical_ids() {
        keys.extend(split_keys(&table, at, index, split)?);
    }
    let made = server.domain()?.kv().split_region(keys).await?;
    // Regions are not scattered by the split: the schedulers of PD spread them.
    Ok(Told::Rows("split", vec![vec![Datum::Int(made.len() as i64), Datum::Float(1.0)]]))
}

/// The keys at which a table without partitions, or one partition, is to be split.
fn split_keys(
    table: &TableInfo,
    at: PhysicalTableId,
    index: Option<&IndexInfo>,
    split: &SplitTable,
) -> Result<Vec<Vec<u8>>, SqlError> {
    match &split.by {
        SplitBy::Points(points) => points.iter().map(|point| split_key(table, at, index, point)).collect(),
        SplitBy::Between { lower, upper, regions } => {
            if *regions < 2 || *regions > SPLIT_REGIONS_MAX {
                return Err(SqlError::Other(format!(
                    "Split table region num should be in [2, {SPLIT_REGIONS_MAX}], got {regions}"
                )));
            }
            let (lower, upper) = (split_key(table, at, index, lower)?, split_key(table, at, index, upper)?);
            if lower >= upper {
                return Err(SqlError::Other(format!(
                    "Split table `{}` region lower value should less than the upper value",
                    table.name
                )));
            }
            let mut keys = between(&lower, &upper, *regions);
            // The part of the table below the lower bound, and an index as a whole, begin a region too.
            keys.push(match index {
                Some(index) => row::entries_prefix(table, at, index),
                None => codec::table::record_prefix(at),
            });
            Ok(keys)
        }
    }
}

/// The key that a point names: of a row by its number, of an index entry by its leading values.
fn split_key(
    table: &TableInfo,
    at: PhysicalTableId,
    index: Option<&IndexInfo>,
    point: &[Expr],
) -> Result<Vec<u8>, SqlError> {
    let values = point.iter().map(constant).collect::<Result<Vec<_>, _>>()?;
    let Some(index) = index else {
        let handle = match values.as_slice() {
            [Datum::Int(handle)] => Some(*handle),
            [Datum::UInt(handle)] => Some(*handle as i64),
            _ => None,
        };
        let wrong = || SqlError::Other(format!("Split table `{}` region value should be one whole number", table.name));
        return Ok(codec::table::record_key(at, &handle.map(Handle::Int).ok_or_else(wrong)?));
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
    row::values_key(table, at, index, &typed)
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
        let key = |handle| codec::table::record_key(PhysicalTableId(1), &Handle::Int(handle));
        let (low, high) = (key(0), key(1000));
        let handles: Vec<_> =
            between(&low, &high, 4).iter().map(|key| codec::table::decode_handle(key).unwrap()).collect();
        assert_eq!(handles, [0, 250, 500, 750].map(Handle::Int));
    }
}
