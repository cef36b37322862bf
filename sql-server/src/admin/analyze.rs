//! ANALYZE TABLE and DROP STATS as statements: names, options, and what a client is told.

use sql_base::SqlError;
use sql_catalog::transact;
use sql_context::ExecContext;
use sql_ddl::analyze::{self, AnalyzeOptions, Asked};
use sql_parser::{AnalyzeColumns, AnalyzeOption, AnalyzeTable, TableName};
use statistics::SamplingMethod;

use super::Told;
use super::infoschema::s;
use super::names::Names;
use crate::cluster::Server;

/// What options may be at most, as in TiDB.
const BUCKETS_MAX: f64 = 100_000.0;
const TOP_N_MAX: f64 = 100_000.0;
const SAMPLES_MAX: f64 = 500_000.0;

/// ANALYZE TABLE: a row for each table, whatever becomes of it.
pub async fn analyze_tables(
    server: &Server,
    ctx: &mut ExecContext<'_>,
    statement: &AnalyzeTable,
) -> Result<Told, SqlError> {
    let options = options(&statement.options)?;
    if statement.indexes.is_some() {
        ctx.warn(&SqlError::Other(
            "the statistics of all columns and indexes are collected, not those of INDEX only".into(),
        ));
    }
    if statement.columns == AnalyzeColumns::Predicate {
        ctx.warn(&SqlError::Other("columns of predicates are not tracked: all columns are analyzed".into()));
    }
    let mut rows = Vec::new();
    for name in &statement.tables {
        let shown = Names::of(ctx).shown(name)?;
        let mut tell = |kind: &str, message: String| {
            rows.push(vec![s(shown.as_str()), s("analyze"), s(kind), s(message)]);
        };
        match analyze_one(server, ctx, name, statement, options).await {
            Ok(()) => tell("status", "OK".into()),
            Err(error) if matches!(error, SqlError::Interrupted | SqlError::ShuttingDown) => return Err(error),
            Err(error) => {
                tell("Error", error.to_string());
                tell("status", "Operation failed".into());
            }
        }
    }
    Ok(Told::Rows("maintenance", rows))
}

async fn analyze_one(
    server: &Server,
    ctx: &ExecContext<'_>,
    name: &TableName,
    statement: &AnalyzeTable,
    options: AnalyzeOptions,
) -> Result<(), SqlError> {
    let (database, table) = Names::of(ctx).stored_table(name)?;
    for index in statement.indexes.iter().flatten() {
        if !table.has_key(index) {
            return Err(SqlError::NoSuchKey { key: index.clone(), table: table.name.original.clone() });
        }
    }
    let only = match &statement.columns {
        AnalyzeColumns::Named(names) => Some(analyze::columns_named(&table, names)?),
        _ => None,
    };
    let asked = Asked { connection: ctx.session.id, words: "analyze table" };
    analyze::analyze_table(&*server.domain()?, &database, &table, only.as_ref(), options, asked).await
}

fn options(said: &[(AnalyzeOption, f64)]) -> Result<AnalyzeOptions, SqlError> {
    let mut options = AnalyzeOptions::default();
    for (option, value) in said {
        let whole = |name: &str, max: f64| {
            let fits = value.fract() == 0.0 && (1.0..=max).contains(value);
            let wrong = || {
                SqlError::Other(format!(
                    "Value of analyze option {name} should be positive and not larger than {max}, got {value}"
                ))
            };
            fits.then_some(*value as usize).ok_or_else(wrong)
        };
        match option {
            AnalyzeOption::Buckets => options.buckets = whole("BUCKETS", BUCKETS_MAX)?,
            // None are a choice, too.
            AnalyzeOption::TopN if *value == 0.0 => options.top_n = 0,
            AnalyzeOption::TopN => options.top_n = whole("TOPN", TOP_N_MAX)?,
            AnalyzeOption::Samples => options.sample = Some(SamplingMethod::Size(whole("SAMPLES", SAMPLES_MAX)?)),
            AnalyzeOption::SampleRate if *value > 0.0 && *value <= 1.0 => {
                options.sample = Some(SamplingMethod::Rate(*value));
            }
            AnalyzeOption::SampleRate => {
                return Err(SqlError::Other(format!(
                    "Value of analyze option SAMPLERATE should not larger than 1.000000, and should be greater than 0, got {value}"
                )));
            }
            // Statistics of version 2, the only ones there are, have no such sketch.
            AnalyzeOption::SketchDepth | AnalyzeOption::SketchWidth => {}
        }
    }
    let says = |wanted| said.iter().any(|(option, _)| *option == wanted);
    if says(AnalyzeOption::Samples) && says(AnalyzeOption::SampleRate) {
        return Err(SqlError::Other(
            "You can only either set the value of the sample num or set the value of the sample rate. Don't set both of them"
                .into(),
        ));
    }
    Ok(options)
}

/// DROP STATS: what is known of the tables' values is forgotten; their rows are still counted.
pub async fn drop_stats(server: &Server, ctx: &ExecContext<'_>, names: &[TableName]) -> Result<Told, SqlError> {
    let domain = server.domain()?;
    let tables = names.iter().map(|name| Names::of(ctx).stored_table(name)).collect::<Result<Vec<_>, _>>()?;
    for (_, table) in tables {
        transact!(domain.kv(), |meta| meta.delete_statistics(table.id, false).await)?;
    }
    domain.statistics().refresh().await?;
    Ok(Told::Done)
}
