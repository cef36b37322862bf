//! SHOW STATS_META and its like: what is known of tables' values, in TiDB's columns.
//!
//! Values are shown as the statistics have them: of a string under a collation that folds case only its sort key is
//! known, and that is shown in hexadecimal.

use ::statistics::{Distribution, Statistics, TableStatistics};
use codec::datum::{self, Datum};
use codec::types::FieldType;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet};
use sql_catalog::{AnalyzeJob, TableInfo, row, transact};
use sql_context::{ExecContext, time_zone};
use sql_parser::ShowStatistics;

use super::{long_text, number, result, s, text};
use crate::admin::infoschema::time_of;
use crate::cluster::Server;

fn datetime(name: &str) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::datetime(0))
}

fn real(name: &str) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::double())
}

/// Runs one of them.
pub(super) async fn show(server: &Server, ctx: &ExecContext<'_>, what: ShowStatistics) -> Result<ResultSet, SqlError> {
    let domain = server.domain()?;
    if what == ShowStatistics::AnalyzeStatus {
        let jobs = transact!(domain.kv(), |meta| meta.analyze_jobs().await)?;
        return Ok(jobs_shown(jobs));
    }
    // Who asks wants what is so now, with what this server has counted itself.
    domain.statistics().flush(&ctx.schema).await?;
    domain.statistics().refresh().await?;
    let known = domain.statistics().current();
    let shown = Shown { ctx, known: &known, zone: time_zone(ctx.session) };
    Ok(match what {
        ShowStatistics::Meta => shown.meta(),
        ShowStatistics::Healthy => shown.healthy(),
        ShowStatistics::Histograms => shown.histograms(),
        ShowStatistics::Buckets => shown.buckets(),
        ShowStatistics::TopN => shown.top_n(),
        ShowStatistics::AnalyzeStatus => jobs_shown(Vec::new()),
    })
}

struct Shown<'a> {
    ctx: &'a ExecContext<'a>,
    known: &'a Statistics,
    zone: TimeZone,
}

/// A column's or an index's distribution.
struct Part<'a> {
    name: &'a str,
    is_index: bool,
    of: &'a Distribution,
    /// Of the values in a key.
    types: Vec<&'a FieldType>,
}

impl Shown<'_> {
    /// The tables that something is known of, with their databases' names.
    fn tables(&self) -> impl Iterator<Item = (&str, &TableInfo, &TableStatistics)> {
        let databases = self.ctx.schema.databases();
        let tables = databases.flat_map(|d| d.tables().map(|t| (d.info.name.as_str(), &**t)));
        tables
            .filter(|(_, table)| table.is_base())
            .filter_map(|(database, table)| Some((database, table, &**self.known.tables().get(&table.id)?)))
    }

    /// The distributions of a table: columns, then indexes.
    fn parts<'a>(table: &'a TableInfo, known: &'a TableStatistics) -> Vec<Part<'a>> {
        let columns = table.public_columns().filter_map(|c| {
            let of = known.columns().find(|(id, _)| *id == c.id)?.1;
            Some(Part { name: c.name.as_str(), is_index: false, of, types: vec![&c.field_type] })
        });
        let indexes = table.public_indexes().filter_map(|i| {
            let of = known.indexes().find(|(id, _)| *id == i.id)?.1;
            let types = i.columns.iter().filter_map(|c| table.columns.get(c.offset)).map(|c| &c.field_type);
            Some(Part { name: i.name.as_str(), is_index: true, of, types: types.collect() })
        });
        columns.chain(indexes).collect()
    }

    fn meta(&self) -> ResultSet {
        let columns = vec![
            text("Db_name", 64),
            text("Table_name", 64),
            text("Partition_name", 64),
            datetime("Update_time"),
            number("Modify_count"),
            number("Row_count"),
            datetime("Last_analyze_time"),
        ];
        let rows = self.tables().map(|(database, table, known)| {
            vec![
                s(database),
                s(table.name.as_str()),
                s(""),
                time_of(known.meta.version),
                Datum::UInt(known.meta.modified),
                Datum::UInt(known.meta.rows),
                time_of(known.meta.snapshot_ts),
            ]
        });
        result(columns, rows.collect())
    }

    fn healthy(&self) -> ResultSet {
        let columns = vec![text("Db_name", 64), text("Table_name", 64), text("Partition_name", 64), number("Healthy")];
        let analyzed = self.tables().filter(|(.., known)| known.meta.snapshot_ts > 0);
        let rows = analyzed.map(|(database, table, known)| {
            vec![s(database), s(table.name.as_str()), s(""), Datum::Int(known.meta.health().into())]
        });
        result(columns, rows.collect())
    }

    fn histograms(&self) -> ResultSet {
        let columns = part_columns([
            datetime("Update_time"),
            number("Distinct_count"),
            number("Null_count"),
            real("Avg_col_size"),
            real("Correlation"),
            text("Load_status", 16),
            number("Total_mem_usage"),
            number("Hist_mem_usage"),
            number("Topn_mem_usage"),
            number("Cms_mem_usage"),
        ]);
        let mut rows = Vec::new();
        for (database, table, known) in self.tables() {
            for part in Self::parts(table, known) {
                let d = part.of;
                let of_buckets: usize = d.buckets.iter().map(|b| size_of_val(b) + b.lower.len() + b.upper.len()).sum();
                let of_top_n: usize = d.frequent.iter().map(|f| size_of_val(f) + f.key.len()).sum();
                let bytes = |n: usize| Datum::Int(i64::try_from(n).unwrap_or(i64::MAX));
                rows.push(part_row(
                    database,
                    table,
                    &part,
                    [
                        time_of(d.version),
                        Datum::UInt(d.distinct),
                        Datum::UInt(d.nulls),
                        Datum::Float((d.average_bytes() * 100.0).round() / 100.0),
                        Datum::Float(d.correlation),
                        s("allLoaded"),
                        bytes(of_buckets + of_top_n),
                        bytes(of_buckets),
                        bytes(of_top_n),
                        Datum::Int(0),
                    ],
                ));
            }
        }
        result(columns, rows)
    }

    fn buckets(&self) -> ResultSet {
        let columns = part_columns([
            number("Bucket_id"),
            number("Count"),
            number("Repeats"),
            long_text("Lower_Bound"),
            long_text("Upper_Bound"),
            number("Ndv"),
        ]);
        let mut rows = Vec::new();
        for (database, table, known) in self.tables() {
            for part in Self::parts(table, known) {
                let mut count = 0;
                for (number, bucket) in (0..).zip(&part.of.buckets) {
                    // As TiDB counts: all rows up to the upper bound.
                    count += bucket.rows;
                    rows.push(part_row(
                        database,
                        table,
                        &part,
                        [
                            Datum::Int(number),
                            Datum::UInt(count),
                            Datum::UInt(bucket.repeats),
                            s(self.value(&bucket.lower, &part.types)),
                            s(self.value(&bucket.upper, &part.types)),
                            Datum::UInt(bucket.distinct),
                        ],
                    ));
                }
            }
        }
        result(columns, rows)
    }

    fn top_n(&self) -> ResultSet {
        let columns = part_columns([long_text("Value"), number("Count")]);
        let mut rows = Vec::new();
        for (database, table, known) in self.tables() {
            for part in Self::parts(table, known) {
                for value in &part.of.frequent {
                    rows.push(part_row(
                        database,
                        table,
                        &part,
                        [s(self.value(&value.key, &part.types)), Datum::UInt(value.rows)],
                    ));
                }
            }
        }
        result(columns, rows)
    }

    /// A key in words: `7`, and `(7, abc)` where it has several values.
    fn value(&self, key: &[u8], types: &[&FieldType]) -> String {
        let mut rest = key;
        let one = |ty: &&FieldType| {
            let value = datum::decode_one(&mut rest).and_then(|d| d.unflatten(ty)).unwrap_or_default();
            self.datum(value, ty)
        };
        let values: Vec<String> = types.iter().map(one).collect();
        if let [only] = &values[..] { only.clone() } else { format!("({})", values.join(", ")) }
    }

    fn datum(&self, value: Datum, ty: &FieldType) -> String {
        // A key of text is text only where the collation compares bytes.
        if let (Datum::Bytes(bytes), true) = (&value, ty.is_text() && !ty.collation.is_bin()) {
            return format!("0x{}", bytes.iter().map(|b| format!("{b:02X}")).collect::<String>());
        }
        let value = row::to_local(value, ty, &self.zone);
        match query::value::to_text(&value, ty) {
            Some(text) => String::from_utf8_lossy(&text).into_owned(),
            None => "NULL".to_owned(),
        }
    }
}

/// The columns of what is shown of one column or index of a table, before those that tell of it.
fn part_columns<const N: usize>(more: [ColumnMeta; N]) -> Vec<ColumnMeta> {
    let names = ["Db_name", "Table_name", "Partition_name", "Column_name"];
    names.into_iter().map(|name| text(name, 64)).chain([number("Is_index")]).chain(more).collect()
}

/// The values of those columns.
fn part_row<const N: usize>(database: &str, table: &TableInfo, part: &Part<'_>, more: [Datum; N]) -> Vec<Datum> {
    let names = [database, table.name.as_str(), "", part.name].map(s);
    names.into_iter().chain([Datum::Int(part.is_index.into())]).chain(more).collect()
}

fn jobs_shown(jobs: Vec<AnalyzeJob>) -> ResultSet {
    let columns = vec![
        text("Table_schema", 64),
        text("Table_name", 64),
        text("Partition_name", 64),
        text("Job_info", 512),
        number("Processed_rows"),
        datetime("Start_time"),
        datetime("End_time"),
        text("State", 64),
        text("Fail_reason", 2048),
        text("Instance", 512),
        number("Process_ID"),
    ];
    // The latest first.
    let rows = jobs.into_iter().rev().map(|job| {
        let process = if job.connection == 0 { Datum::Null } else { Datum::UInt(job.connection) };
        vec![
            s(job.schema.as_str()),
            s(job.table.as_str()),
            s(""),
            s(job.info.as_str()),
            Datum::UInt(job.rows),
            time_of(job.start_ts),
            time_of(job.end_ts.unwrap_or(0)),
            s(job.state()),
            job.failure.map_or(Datum::Null, s),
            s(job.server.as_str()),
            process,
        ]
    });
    result(columns, rows.collect())
}
