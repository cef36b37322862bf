//! SHOW STATS_META and its like: what is known of tables' values, in TiDB's columns.
//!
//! Values are shown as the statistics have them: of a string under a collation that folds case only its sort key is
//! known, and that is shown in hexadecimal.

use ::statistics::{Distribution, Statistics, TableStatistics};
use codec::datum::{self, Datum};
use codec::types::FieldType;
use query::context::TimeZone;
use sql_base::SqlError;
use sql_catalog::{Schema, TableInfo, row};
use sql_context::{SessionState, time_zone};
use sql_parser::ShowStatistics;

use crate::admin::infoschema::{self, Rows, s, time_of};
use crate::cluster::Server;

/// The rows of one of them.
pub(super) async fn rows(
    server: &Server,
    session: &SessionState,
    schema: &Schema,
    what: ShowStatistics,
) -> Result<Rows, SqlError> {
    if what == ShowStatistics::AnalyzeStatus {
        return infoschema::analyze_status(server).await;
    }
    // Who asks wants what is so now, with what this server has counted itself.
    let domain = server.domain()?;
    domain.statistics().flush(schema).await?;
    domain.statistics().refresh().await?;
    let known = domain.statistics().current();
    let shown = Shown { schema, known: &known, zone: time_zone(session) };
    Ok(match what {
        ShowStatistics::Meta => shown.meta(),
        ShowStatistics::Healthy => shown.healthy(),
        ShowStatistics::Histograms => shown.histograms(),
        ShowStatistics::Buckets => shown.buckets(),
        ShowStatistics::TopN => shown.top_n(),
        ShowStatistics::AnalyzeStatus => Vec::new(),
    })
}

struct Shown<'a> {
    schema: &'a Schema,
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
        let databases = self.schema.databases();
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

    fn meta(&self) -> Rows {
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
        rows.collect()
    }

    fn healthy(&self) -> Rows {
        let analyzed = self.tables().filter(|(.., known)| known.meta.snapshot_ts > 0);
        let rows = analyzed.map(|(database, table, known)| {
            vec![s(database), s(table.name.as_str()), s(""), Datum::Int(known.meta.health().into())]
        });
        rows.collect()
    }

    fn histograms(&self) -> Rows {
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
        rows
    }

    fn buckets(&self) -> Rows {
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
        rows
    }

    fn top_n(&self) -> Rows {
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
        rows
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

/// A row of what is shown of one column or index of a table, with what tells of it behind.
fn part_row<const N: usize>(database: &str, table: &TableInfo, part: &Part<'_>, more: [Datum; N]) -> Vec<Datum> {
    let names = [database, table.name.as_str(), "", part.name].map(s);
    names.into_iter().chain([Datum::Int(part.is_index.into())]).chain(more).collect()
}
