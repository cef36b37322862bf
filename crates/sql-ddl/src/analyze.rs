//! ANALYZE TABLE: what storage nodes count and sample becomes statistics.
//!
//! ```text
//!   one snapshot ─► a request to each region ─► counts and samples, merged ─► a distribution of each column and index
//!                                                                           └► one transaction: all of them, the counts
//! ```
//!
//! Rows are read once, whatever is asked. The sample is of about [`SAMPLE_ROWS`] rows unless the statement says otherwise;
//! NULLs, sizes and different values are counted over all rows. Documents and long texts are left out, as in TiDB: they
//! are large, and no condition on them can use an index.
//!
//! Rows committed while it runs are in the counts: those of the snapshot, and what was counted since.
//!
//! Not here: when a table is analysed by itself (`auto_analyze`).

use std::collections::{BTreeSet, HashMap};

use codec::datum::{self, Datum, encode_key};
use codec::table;
use codec::types::{FieldType, TypeCode};
use futures::StreamExt;
use kv_client::KeyRange;
use proto::tipb;
use sql_base::SqlError;
use sql_catalog::statistics::Analysis;
use sql_catalog::{AnalyzeJob, ColumnInfo, Database, IndexColumn, IndexInfo, TableInfo, row, transact};
use statistics::{
    BuildOptions, Collector, CollectorOptions, Distribution, SamplingMethod, Sketch, TableMeta, Totals, build,
};

use super::domain::Domain;

/// Rows of a sample when the statement names no number.
pub const SAMPLE_ROWS: u64 = 110_000;
/// Buckets of a histogram when the statement names no number.
pub const BUCKETS: usize = 256;
/// Frequent values when the statement names no number.
pub const TOP_N: usize = 100;
/// Regions that are read at once: few, because nobody waits as for a query.
const CONCURRENCY: usize = 4;
/// Values longer than this are not in histograms: they would be most of what is kept.
const VALUE_BYTES_MAX: usize = 1_024;

/// How a table is analysed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnalyzeOptions {
    /// Buckets of a histogram at most.
    pub buckets: usize,
    /// Frequent values at most.
    pub top_n: usize,
    /// Rows of the sample; otherwise as many as fit the table.
    pub sample: Option<SamplingMethod>,
}

impl Default for AnalyzeOptions {
    fn default() -> Self {
        AnalyzeOptions { buckets: BUCKETS, top_n: TOP_N, sample: None }
    }
}

/// Who asked for an analysis.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The connection; 0: the server itself.
    pub connection: u64,
    /// In words: `analyze table`, `auto analyze table`.
    pub words: &'a str,
}

/// Analyses a table: all columns, or those of these ids and what is indexed. Its statistics are in use on this server
/// when it returns, and on the others within seconds.
pub async fn analyze_table(
    domain: &Domain,
    database: &Database,
    table: &TableInfo,
    only: Option<&BTreeSet<i64>>,
    options: AnalyzeOptions,
    asked: Asked<'_>,
) -> Result<(), SqlError> {
    let started = domain.kv().timestamp().await?;
    let which = if only.is_some() { "columns" } else { "all columns" };
    let sample = match options.sample {
        None => format!("{SAMPLE_ROWS} samples"),
        Some(SamplingMethod::Rate(rate)) => format!("{rate} samplerate"),
        Some(SamplingMethod::Size(rows)) => format!("{rows} samples"),
    };
    let (buckets, top_n) = (options.buckets, options.top_n);
    let mut job = AnalyzeJob {
        id: started.0,
        schema: database.info.name.original.clone(),
        table: table.name.original.clone(),
        info: format!("{} {which} with {buckets} buckets, {top_n} topn, {sample}", asked.words),
        rows: 0,
        start_ts: started.0,
        end_ts: None,
        failure: None,
        server: format!("{}:{}", domain.server().ip, domain.server().port),
        connection: asked.connection,
    };
    transact!(domain.kv(), |meta| meta.put_analyze_job(&job).await)?;
    let result = run(domain, table, only, options).await;
    match &result {
        Ok(rows) => job.rows = *rows,
        Err(error) => job.failure = Some(error.to_string()),
    }
    job.end_ts = Some(domain.kv().timestamp().await?.0);
    transact!(domain.kv(), |meta| meta.put_analyze_job(&job).await)?;
    result?;
    domain.statistics().refresh().await
}

/// Rows that were seen.
async fn run(
    domain: &Domain,
    table: &TableInfo,
    only: Option<&BTreeSet<i64>>,
    options: AnalyzeOptions,
) -> Result<u64, SqlError> {
    // What this server knows of changes is in the counts before the snapshot, so that it is not added to them after.
    domain.statistics().flush(&domain.schemas().current()).await?;
    let before = transact!(domain.kv(), |meta| meta.statistics_meta(table.id).await)?.unwrap_or_default();
    let method = options.sample.unwrap_or(match before.rows {
        0 => SamplingMethod::Size(SAMPLE_ROWS as usize),
        rows => SamplingMethod::Rate((SAMPLE_ROWS as f64 / rows as f64).min(1.0)),
    });
    let columns = Columns::of(table, only);
    let request = columns.request(table, method)?;
    let snapshot = domain.kv().snapshot(domain.kv().timestamp().await?);
    let snapshot_ts = snapshot.ts().0;
    let ranges = table.physical_ids().into_iter().map(table::record_range);
    let ranges = ranges.map(|(start, end)| KeyRange { start, end }).collect();
    let mut answers = snapshot.analyze(&request, ranges, CONCURRENCY);
    let mut collector = Collector::new(columns.collector_options(method));
    while let Some(answer) = answers.next().await {
        let damaged = || SqlError::internal("merge samples", "an answer of other columns");
        let pb = answer?.row_collector.ok_or_else(damaged)?;
        let (counts, rows, samples) = statistics::collector_from_pb(pb, Sketch::HASHES_MAX).ok_or_else(damaged)?;
        if !collector.merge(&counts, rows, samples) {
            return Err(damaged());
        }
    }
    let rows = collector.rows;
    let table_id = table.id;
    let of = table.clone();
    // Sorting a hundred thousand values for each column is no work for a thread that serves connections.
    let built = tokio::task::spawn_blocking(move || columns.build(&of, &collector, options, snapshot_ts)).await;
    let mut analysis = built.map_err(|e| SqlError::internal("build statistics", e))??;
    transact!(domain.kv(), |meta| {
        let now = meta.statistics_meta(table_id).await?.unwrap_or_default();
        let since = i64::try_from(now.rows).unwrap_or(i64::MAX) - i64::try_from(before.rows).unwrap_or(i64::MAX);
        analysis.meta = TableMeta {
            rows: rows.saturating_add_signed(since),
            modified: now.modified.saturating_sub(before.modified),
            snapshot_ts,
            version: snapshot_ts,
        };
        meta.put_analysis(table_id, &analysis)
    })?;
    Ok(rows)
}

/// What is read of a table.
#[derive(Debug)]
struct Columns {
    /// Offsets in the table. The row handle follows them if it is none of them.
    offsets: Vec<usize>,
    hidden_handle: bool,
    /// Indexes, and where their columns are among `offsets`.
    indexes: Vec<(IndexInfo, Vec<usize>)>,
}

impl Columns {
    fn of(table: &TableInfo, only: Option<&BTreeSet<i64>>) -> Columns {
        let indexed: BTreeSet<usize> = table.public_indexes().flat_map(|i| &i.columns).map(|c| c.offset).collect();
        let wanted = |c: &&ColumnInfo| {
            indexed.contains(&c.offset)
                || only.map_or_else(|| is_analyzed(&c.field_type), |only| only.contains(&c.id))
                || table.handle_column().is_some_and(|h| h.id == c.id)
        };
        let offsets: Vec<usize> = table.public_columns().filter(wanted).map(|c| c.offset).collect();
        let place = |offset: &usize| offsets.iter().position(|o| o == offset);
        let indexes = table.public_indexes().filter_map(|i| {
            let places: Option<Vec<usize>> = i.columns.iter().map(|c| place(&c.offset)).collect();
            Some((i.clone(), places?))
        });
        let indexes = indexes.collect();
        Columns { offsets, hidden_handle: !table.is_clustered(), indexes }
    }

    fn count(&self) -> usize {
        self.offsets.len() + usize::from(self.hidden_handle)
    }

    fn request(&self, table: &TableInfo, method: SamplingMethod) -> Result<tipb::AnalyzeReq, SqlError> {
        let handle = table.handle_column().map(|c| c.id);
        let mut columns_info = Vec::with_capacity(self.count());
        for column in self.offsets.iter().filter_map(|o| table.columns.get(*o)) {
            let default = column.origin_default.is_some().then(|| row::origin_default(column));
            let pb =
                query::pb::column_to_pb(column.id, &column.field_type, Some(column.id) == handle, default.as_ref());
            columns_info.push(pb.map_err(|e| SqlError::internal("describe a column", e))?);
        }
        if self.hidden_handle {
            let pb = query::pb::column_to_pb(-1, &FieldType::bigint(), true, None);
            columns_info.push(pb.map_err(|e| SqlError::internal("describe the row handle", e))?);
        }
        let group = |places: &Vec<usize>| tipb::AnalyzeColumnGroup {
            column_offsets: places.iter().map(|p| *p as i64).collect(),
            prefix_lengths: Vec::new(),
        };
        let (sample_rate, sample_size) = match method {
            SamplingMethod::Rate(rate) => (rate, 0),
            SamplingMethod::Size(rows) => (0.0, i64::try_from(rows).unwrap_or(i64::MAX)),
        };
        let col_req = tipb::AnalyzeColumnsReq {
            sample_size,
            sketch_size: Sketch::HASHES_MAX as i64,
            columns_info,
            primary_column_ids: row::key_columns(table).into_iter().map(|c| c.0).collect(),
            primary_prefix_column_ids: row::key_prefix_columns(table),
            version: 2,
            column_groups: self.indexes.iter().map(|(_, places)| group(places)).collect(),
            sample_rate,
        };
        let tp = tipb::AnalyzeType::TypeFullSampling.into();
        Ok(tipb::AnalyzeReq { tp, col_req: Some(col_req), ..Default::default() })
    }

    fn collector_options(&self, method: SamplingMethod) -> CollectorOptions {
        CollectorOptions {
            method,
            sketch_size: Sketch::HASHES_MAX,
            columns: self.count(),
            groups: self.indexes.iter().map(|(_, places)| places.clone()).collect(),
            seed: 0,
        }
    }

    /// Distributions of what was collected.
    fn build(
        &self,
        table: &TableInfo,
        collector: &Collector,
        options: AnalyzeOptions,
        version: u64,
    ) -> Result<Analysis, SqlError> {
        let build_options = BuildOptions { buckets: options.buckets, top_n: options.top_n };
        let types: Vec<&FieldType> =
            self.offsets.iter().filter_map(|o| table.columns.get(*o)).map(|c| &c.field_type).collect();
        let handle_type = FieldType::bigint();
        let handle_place = match table.handle_column() {
            Some(handle) => self.offsets.iter().position(|o| *o == handle.offset).unwrap_or_default(),
            None => self.offsets.len(),
        };
        let key = table.clustered_index().and_then(|key| {
            let place = |part: &IndexColumn| self.offsets.iter().position(|o| *o == part.offset);
            let places: Vec<usize> = key.columns.iter().map(place).collect::<Option<_>>()?;
            Some((row::index_parts(table, key), places))
        });
        let mut rows: Vec<(Vec<u8>, Vec<Datum>)> = Vec::with_capacity(collector.samples().len());
        for sample in collector.samples() {
            let decode = |bytes: &Vec<u8>, ty: &FieldType| {
                datum::decode_one(&mut &bytes[..]).and_then(|d| d.unflatten(ty)).map_err(row::damaged)
            };
            let values = sample.row.iter().zip(&types).map(|(bytes, ty)| decode(bytes, ty));
            let values = values.collect::<Result<Vec<Datum>, _>>()?;
            let mut place = Vec::new();
            match &key {
                Some((parts, places)) => {
                    let values: Vec<Datum> = places.iter().map(|p| values[*p].clone()).collect();
                    table::append_values(&mut place, parts, &values).map_err(row::damaged)?;
                }
                None => {
                    let handle = sample.row.get(handle_place).map(|bytes| decode(bytes, &handle_type)).transpose()?;
                    encode_key(&mut place, &handle.unwrap_or_default(), None).map_err(row::damaged)?;
                }
            }
            rows.push((place, values));
        }
        // In the order of the rows, against which the order of values is held.
        rows.sort_unstable_by(|a, b| a.0.cmp(&b.0));

        let mut analysis = Analysis::default();
        for (at, (offset, ty)) in self.offsets.iter().zip(&types).enumerate() {
            let Some(column) = table.columns.get(*offset) else { continue };
            let mut keys = Vec::with_capacity(rows.len());
            let mut too_long = 0_u64;
            for (_, values) in &rows {
                if values[at].is_null() {
                    continue;
                }
                let mut key = Vec::new();
                encode_key(&mut key, &values[at], Some(ty)).map_err(row::damaged)?;
                if key.len() > VALUE_BYTES_MAX { too_long += 1 } else { keys.push(key) }
            }
            let counts = &collector.counts[at];
            let totals = Totals {
                rows: collector.rows,
                nulls: counts.nulls,
                distinct: counts.sketch.distinct(),
                bytes: counts.bytes,
            };
            let d = finish(keys, too_long, totals, build_options, version);
            analysis.columns.insert(column.id, d);
        }
        for (number, (index, places)) in self.indexes.iter().enumerate() {
            let parts = row::index_parts(table, index);
            let mut keys = Vec::with_capacity(rows.len());
            let mut too_long = 0_u64;
            for (_, values) in &rows {
                let values: Vec<Datum> = places.iter().map(|p| values[*p].clone()).collect();
                let mut key = Vec::new();
                table::append_values(&mut key, &parts, &values).map_err(row::damaged)?;
                if key.len() > VALUE_BYTES_MAX { too_long += 1 } else { keys.push(key) }
            }
            let counts = &collector.counts[self.count() + number];
            let totals =
                Totals { rows: collector.rows, nulls: 0, distinct: counts.sketch.distinct(), bytes: counts.bytes };
            analysis.indexes.insert(index.id, finish(keys, too_long, totals, build_options, version));
        }
        Ok(analysis)
    }
}

/// Whether a column is analysed unless it is named.
fn is_analyzed(ty: &FieldType) -> bool {
    use TypeCode::*;
    !matches!(ty.tp, Json | Geometry | MediumBlob | LongBlob) && (ty.tp != Blob || ty.is_text())
}

/// A distribution of keys in the order of their rows, without the values that are too long to be kept: of those nothing
/// is known but that they are there.
fn finish(keys: Vec<Vec<u8>>, too_long: u64, totals: Totals, options: BuildOptions, version: u64) -> Distribution {
    let correlation = correlation(&keys);
    let sampled = keys.len() as u64 + too_long;
    let present = totals.rows.saturating_sub(totals.nulls);
    // The rest stands for its part of the table only.
    let left_out = present.saturating_mul(too_long).checked_div(sampled).unwrap_or(0);
    let seen = Totals { rows: totals.rows - left_out, ..totals };
    let built = build(keys, seen, options);
    Distribution {
        version,
        correlation,
        rows: totals.rows,
        distinct: built.distinct.max(if too_long > 0 { totals.distinct } else { 0 }),
        ..built
    }
}

/// How far the order of values is the order of the rows: the correlation of the ranks of both.
fn correlation(keys: &[Vec<u8>]) -> f64 {
    let n = keys.len() as f64;
    if keys.len() < 2 {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
    // Both ranks are a permutation of 0..n, so their means and variances are known.
    let mean = (n - 1.0) / 2.0;
    let variance = (n * n - 1.0) / 12.0;
    let product: f64 = order.iter().enumerate().map(|(rank, row)| (rank as f64 - mean) * (*row as f64 - mean)).sum();
    (product / n / variance).clamp(-1.0, 1.0)
}

/// Ids of columns by name; the first that there is not is an error.
pub fn columns_named(table: &TableInfo, names: &[String]) -> Result<BTreeSet<i64>, SqlError> {
    let id = |name: &String| {
        let missing = || SqlError::UnknownColumn { column: name.clone(), clause: "analyze table".into() };
        table.column(name).map(|c| c.id).ok_or_else(missing)
    };
    names.iter().map(id).collect()
}

/// The tables that an analysis by itself begins with: those that have changed most.
pub fn most_changed(counts: &HashMap<i64, TableMeta>, ratio: f64, rows_min: u64) -> Vec<i64> {
    let mut wanted: Vec<(f64, i64)> = counts
        .iter()
        .filter(|(_, meta)| meta.rows.max(meta.modified) >= rows_min)
        .filter_map(|(id, meta)| {
            let changed = meta.modified as f64 / meta.rows.max(1) as f64;
            // A table that was never analysed is as good as changed throughout.
            let never = meta.snapshot_ts == 0;
            (never || changed > ratio).then_some((if never { f64::INFINITY } else { changed }, *id))
        })
        .collect();
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    wanted.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_the_order_of_rows_correlate() {
        let keys = |list: &[u8]| list.iter().map(|b| vec![*b]).collect::<Vec<_>>();
        assert_eq!(correlation(&keys(&[1, 2, 3, 4])), 1.0);
        assert_eq!(correlation(&keys(&[4, 3, 2, 1])), -1.0);
        assert!(correlation(&keys(&[2, 4, 1, 3])).abs() < 0.3);
        assert_eq!(correlation(&keys(&[7])), 0.0);
    }

    #[test]
    fn the_table_that_changed_most_comes_first_and_small_ones_never() {
        let meta = |rows, modified, snapshot_ts| TableMeta { rows, modified, snapshot_ts, version: 1 };
        let counts = HashMap::from([
            (1, meta(10_000, 6_000, 5)),
            (2, meta(10_000, 9_000, 5)),
            (3, meta(10_000, 4_000, 5)),
            (4, meta(2_000, 0, 0)),
            (5, meta(999, 999, 0)),
            // All rows are gone: that is a change as well.
            (6, meta(0, 5_000, 5)),
        ]);
        assert_eq!(most_changed(&counts, 0.5, 1_000), [4, 6, 2, 1]);
    }
}
