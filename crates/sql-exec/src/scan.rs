//! Rows of a table: by key, by range, or computed by the storage nodes.
//!
//! Where the pending writes over the snapshot ([`Reader`]) touch a table, the storage nodes alone cannot answer: pairs
//! are scanned, merged with them and decoded here, and the conditions that would have been pushed down are checked
//! here. Where they do not, the coprocessor does the work.
//!
//! Rows that are fetched by their handles take those from [`handles`]; a table with partitions is [`partitions`]' matter.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::row::RowDecoder;
use codec::table::{self, Handle, PhysicalTableId};
use codec::types::FieldType;
use futures::StreamExt;
use futures::stream::BoxStream;
use query::batch::{Batch, BatchBuilder};
use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::row;
use sql_catalog::{IndexInfo, TableInfo};
use sql_planner::plan::{Access, NodeId, Scan};

use crate::locking;
use crate::pushdown;
use crate::reader::Reader;
use crate::runtime::{Runtime, filter_batch};
use crate::stream::{Fixed, Operator};

mod handles;
pub(crate) mod partitions;

use handles::{Handles, Merged};

/// Pairs asked for at once when pairs are scanned.
const SCAN_PAIRS: usize = 1024;
/// Rows fetched at once: at first, at most, and the bytes that they should have at most.
const FETCH_ROWS_FIRST: usize = 32;
const FETCH_ROWS: usize = 1024;
const FETCH_BYTES: usize = 8 << 20;

/// Whether the rows are put together here, and what the plan leaves to the storage nodes is done here.
pub fn is_local(scan: &Scan, rt: &mut Runtime) -> bool {
    let reader = rt.reader_of(scan);
    let is_dirty = match &scan.partitions {
        Some(_) => scan.table.physical_ids().into_iter().any(|at| reader.is_dirty(&scan.table, at)),
        None => reader.is_dirty(&scan.table, scan.physical),
    };
    let reads_here = is_dirty || !rt.pushdown || !pushdown::can_send(scan, rt);
    // Stores do not know which rows are to be skipped, and would count them.
    reads_here || (scan.lock.is_some() && rt.skips())
}

/// Builds the operator that reads a scan's rows. Its columns are the scan's outputs.
pub fn build(scan: &Scan, at: NodeId, rt: &mut Runtime) -> Result<Box<dyn Operator>, SqlError> {
    match scan.partitions {
        Some(_) => partitions::build(scan, at, rt),
        None => build_one(scan, &[], at, rt),
    }
}

/// The same where the rows are those of one table or partition; of others, too, whose ranges are read by the same request.
fn build_one(scan: &Scan, others: &[Scan], at: NodeId, rt: &mut Runtime) -> Result<Box<dyn Operator>, SqlError> {
    let rows = read(scan, others, at, rt)?;
    Ok(match scan.lock {
        Some(lock) if scan.handle.is_some() => locking::build(rows, scan, lock),
        Some(_) => return Err(SqlError::internal("plan", "rows to be locked without their handles")),
        None => rows,
    })
}

fn read(scan: &Scan, others: &[Scan], at: NodeId, rt: &mut Runtime) -> Result<Box<dyn Operator>, SqlError> {
    let types = rt.columns.types(&scan.base_outputs());
    let desc = scan.order == Some(true);
    let keep_order = scan.order.is_some();
    let source = rt.reader_of(scan).clone();
    let local = is_local(scan, rt);
    let access = rt.access(scan)?;
    let root_filters = |pushed: bool, rt: &mut Runtime| {
        let positions = sql_planner::optimize::positions(&scan.base_outputs());
        let conditions = scan.residual.iter().chain(scan.pushed.filters.iter().filter(|_| pushed));
        conditions.map(|c| rt.resolve(c, &positions)).collect::<Result<Vec<Expr>, _>>()
    };
    let rows_from = |from: Source, rt: &mut Runtime| -> Result<Box<dyn Operator>, SqlError> {
        Ok(Box::new(RowReader {
            reader: source.clone(),
            decoder: row_decoder(scan),
            table: scan.physical,
            column_types: scan
                .columns
                .iter()
                .filter_map(|(o, _)| Some(scan.table.columns.get(*o)?.field_type.clone()))
                .collect(),
            handle: scan.handle.is_some(),
            types: types.clone(),
            filters: root_filters(true, rt)?,
            source: from,
            // What a limit needs first; more only if that was not enough.
            batch: match scan.pushed.limit {
                Some(n) => usize::try_from(n).unwrap_or(FETCH_ROWS).clamp(1, FETCH_ROWS_FIRST),
                None => FETCH_ROWS_FIRST,
            },
            done: false,
        }))
    };
    let of_records = |ranges, rt: &mut Runtime| {
        if local {
            return rows_from(Source::Ranges { ranges, desc }, rt);
        }
        let sent = pushdown::sent_scan(scan);
        let request = pushdown::table_scan(&sent, ranges, keep_order, desc, rt)?;
        let names = pushdown::message_names(scan, None, rt);
        let filters = root_filters(false, rt)?;
        pushed_reader(scan, &sent, at, request, names, rt, filters)
    };
    match &*access {
        Access::Empty => Ok(Box::new(Fixed::new(vec![]))),
        Access::PointHandles(_) | Access::PointIndex { .. } => {
            rows_from(Source::Handles(Handles::of(scan, &access, &source, desc)?), rt)
        }
        Access::Merge(merge) => rows_from(Source::Merged(Merged::of(scan, merge, &source, at, rt)?), rt),
        Access::Full | Access::Handles(_) => {
            let mut ranges = record_ranges(scan, &access, desc);
            ranges.extend(others.iter().flat_map(|other| record_ranges(other, &other.access, desc)));
            of_records(ranges, rt)
        }
        Access::Index { index, ranges, covering, .. } => {
            let index = find_index(&scan.table, *index)?;
            let mut ranges: VecDeque<_> = ranges.clone().into();
            for other in others {
                if let Access::Index { ranges: more, .. } = &other.access {
                    ranges.extend(more.iter().cloned());
                }
            }
            if desc {
                ranges = ranges.into_iter().rev().collect();
            }
            if scan.table.is_clustered_by(index) {
                return of_records(ranges, rt);
            }
            if *covering && (local || scan.lock.is_some()) {
                return Ok(Box::new(IndexReader {
                    reader: source.through(&scan.table, scan.physical, index)?,
                    table: scan.physical,
                    index: owned(row::entry_columns(&scan.table, index)),
                    key: owned(row::key_columns(&scan.table)),
                    wanted: scan.columns.iter().map(|c| row::entry_position(&scan.table, index, c.0)).collect(),
                    handle_type: scan.table.handle_column().map(|c| c.field_type.clone()),
                    handle: scan.handle.is_some(),
                    types,
                    filters: root_filters(true, rt)?,
                    ranges,
                    desc,
                }));
            }
            if *covering {
                let sent = pushdown::sent_scan(scan);
                let request = pushdown::index_scan(&sent, index, ranges, keep_order, desc, rt)?;
                let names = pushdown::message_names(scan, Some(index), rt);
                let filters = root_filters(false, rt)?;
                return pushed_reader(scan, &sent, at, request, names, rt, filters);
            }
            // Two steps: handles from the index, then rows by key, in the order of the index.
            rows_from(Source::Handles(Handles::of(scan, &access, &source, desc)?), rt)
        }
        Access::Late(_) => Err(SqlError::internal("plan", "keys that are not known yet")),
    }
}

fn find_index(table: &TableInfo, id: i64) -> Result<&IndexInfo, SqlError> {
    table.indexes.iter().find(|i| i.id == id).ok_or_else(|| SqlError::internal("index of the plan", "gone"))
}

fn owned(columns: Vec<(i64, &FieldType)>) -> Vec<(i64, FieldType)> {
    columns.into_iter().map(|(id, ty)| (id, ty.clone())).collect()
}

fn row_decoder(scan: &Scan) -> RowDecoder {
    row::decoder(&scan.table, &scan.columns.iter().map(|c| c.0).collect::<Vec<_>>())
}

fn borrowed(columns: &[(i64, FieldType)]) -> Vec<(i64, &FieldType)> {
    columns.iter().map(|(id, ty)| (*id, ty)).collect()
}

/// Key ranges of rows.
fn record_ranges(scan: &Scan, access: &Access, desc: bool) -> VecDeque<(Vec<u8>, Vec<u8>)> {
    let id = scan.physical;
    let mut ranges: VecDeque<_> = match access {
        Access::Handles(list) => list.iter().map(|(low, high)| table::record_range_between(id, *low, *high)).collect(),
        _ => VecDeque::from([table::record_range(id)]),
    };
    if desc {
        ranges = ranges.into_iter().rev().collect();
    }
    ranges
}

/// Where rows come from.
enum Source {
    /// Their ranges.
    Ranges { ranges: VecDeque<(Vec<u8>, Vec<u8>)>, desc: bool },
    /// Their handles, by which they are fetched.
    Handles(Handles),
    /// The same, found in several ways.
    Merged(Merged),
}

/// Rows decoded here.
struct RowReader {
    reader: Reader,
    decoder: RowDecoder,
    table: PhysicalTableId,
    column_types: Vec<FieldType>,
    handle: bool,
    types: Arc<[FieldType]>,
    filters: Vec<Expr>,
    source: Source,
    /// Rows to fetch next.
    batch: usize,
    done: bool,
}

impl RowReader {
    /// The next handles and row values.
    async fn fetch(&mut self, rt: &Runtime) -> Result<Vec<(Handle, Vec<u8>)>, SqlError> {
        let handles = match &mut self.source {
            Source::Ranges { ranges, desc } => {
                let Some((start, end)) = ranges.pop_front() else {
                    self.done = true;
                    return Ok(Vec::new());
                };
                let (pairs, rest) = self.reader.scan(start, end, self.batch, *desc).await?;
                if let Some(rest) = rest {
                    ranges.push_front(rest);
                }
                self.done = ranges.is_empty();
                let decoded = |(k, v): (Vec<u8>, _)| Ok((table::decode_handle(&k).map_err(row::damaged)?, v));
                return pairs.into_iter().map(decoded).collect();
            }
            Source::Handles(handles) => handles.next(self.batch).await?,
            Source::Merged(merged) => merged.next(self.batch, rt).await?,
        };
        match handles {
            Some(handles) => fetch_rows(&self.reader, self.table, handles).await,
            None => {
                self.done = true;
                Ok(Vec::new())
            }
        }
    }
}

async fn fetch_rows(
    reader: &Reader,
    table: PhysicalTableId,
    handles: Vec<Handle>,
) -> Result<Vec<(Handle, Vec<u8>)>, SqlError> {
    let keys: Vec<Vec<u8>> = handles.iter().map(|h| table::record_key(table, h)).collect();
    let values = reader.batch_get(&keys).await?;
    Ok(handles.into_iter().zip(values).filter_map(|(h, v)| Some((h, v?))).collect())
}

#[async_trait]
impl Operator for RowReader {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while !self.done {
            rt.check_interrupted()?;
            let found = self.fetch(rt).await?;
            self.batch = (self.batch * 4).min(FETCH_ROWS);
            if found.is_empty() {
                continue;
            }
            let bytes: usize = found.iter().map(|(_, value)| value.len()).sum();
            self.batch = self.batch.min(FETCH_BYTES / (bytes / found.len()).max(1)).max(1);
            let mut builder = BatchBuilder::new(self.types.clone(), found.len());
            for (handle, value) in found {
                let mut row = self.decoder.decode(&value, &handle).map_err(row::damaged)?;
                for (d, ty) in row.iter_mut().zip(&self.column_types) {
                    if ty.tp == codec::types::TypeCode::Timestamp {
                        *d = row::to_local(std::mem::take(d), ty, &rt.zone);
                    }
                }
                if self.handle {
                    row.push(handle.to_datum());
                }
                builder.push(&row)?;
            }
            let (batch, _) = filter_batch(builder.finish(), &self.filters, rt)?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Index entries decoded here.
struct IndexReader {
    reader: Reader,
    table: PhysicalTableId,
    /// Columns of the index, and of the key that rows are clustered by.
    index: Vec<(i64, FieldType)>,
    key: Vec<(i64, FieldType)>,
    /// Where among them each wanted column is; `None` is the number that is the handle.
    wanted: Vec<Option<usize>>,
    handle_type: Option<FieldType>,
    handle: bool,
    types: Arc<[FieldType]>,
    filters: Vec<Expr>,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    desc: bool,
}

#[async_trait]
impl Operator for IndexReader {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while let Some((start, end)) = self.ranges.pop_front() {
            rt.check_interrupted()?;
            let (pairs, rest) = self.reader.scan(start, end, SCAN_PAIRS, self.desc).await?;
            if let Some(rest) = rest {
                self.ranges.push_front(rest);
            }
            if pairs.is_empty() {
                continue;
            }
            let (columns, key) = (borrowed(&self.index), borrowed(&self.key));
            let mut builder = BatchBuilder::new(self.types.clone(), pairs.len());
            for (k, v) in &pairs {
                let (values, handle) = table::decode_index_entry(k, v, &columns, &key).map_err(row::damaged)?;
                if self.reader.is_stale(self.table, k, &handle) {
                    continue;
                }
                let mut row: Vec<Datum> = self
                    .wanted
                    .iter()
                    .map(|w| match (w, &self.handle_type, &handle) {
                        (Some(i), ..) => {
                            let ty = columns.get(*i).or_else(|| key.get(*i - columns.len())).map(|c| c.1);
                            let value = values[*i].clone();
                            ty.map_or(Datum::Null, |ty| row::to_local(value, ty, &rt.zone))
                        }
                        (None, Some(ty), Handle::Int(handle)) => row::handle_datum(*handle, ty),
                        (None, ..) => Datum::Null,
                    })
                    .collect();
                if self.handle {
                    row.push(handle.to_datum());
                }
                builder.push(&row)?;
            }
            let (batch, _) = filter_batch(builder.finish(), &self.filters, rt)?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Rows that the storage nodes computed.
struct PushedReader {
    stream: BoxStream<'static, Result<proto::tipb::SelectResponse, kv_client::Error>>,
    shape: pushdown::Shape,
    /// What messages call the columns that storage nodes know by number.
    names: HashMap<usize, Arc<str>>,
    filters: Vec<Expr>,
    /// Nothing is wanted but the number of rows.
    bare: bool,
    /// Its node.
    at: NodeId,
}

fn pushed_reader(
    scan: &Scan,
    sent: &Scan,
    at: NodeId,
    mut request: kv_client::CopRequest,
    names: HashMap<usize, Arc<str>>,
    rt: &mut Runtime,
    filters: Vec<Expr>,
) -> Result<Box<dyn Operator>, SqlError> {
    request.dag.collect_execution_summaries = rt.meters.is_some();
    Ok(Box::new(PushedReader {
        stream: rt.reader_of(scan).snapshot()?.coprocessor(request),
        shape: pushdown::Shape::of(scan, sent, rt),
        names,
        filters,
        bare: pushdown::is_bare(scan),
        at,
    }))
}

#[async_trait]
impl Operator for PushedReader {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            rt.check_interrupted()?;
            let Some(response) = self.stream.next().await else { return Ok(None) };
            let response = response.map_err(|e| pushdown::name_columns(e.into(), &self.names))?;
            if let Some(meters) = &rt.meters {
                meters.of(self.at).answered(&response.execution_summaries);
            }
            let batch = pushdown::decode(&response, &self.shape, rt)?;
            let (batch, _) = filter_batch(batch, &self.filters, rt)?;
            if !batch.is_empty() {
                let rows = batch.num_rows();
                return Ok(Some(if self.bare { Batch::new([].into(), Vec::new(), rows) } else { batch }));
            }
        }
    }
}
