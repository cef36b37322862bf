//! Rows of a table: by key, by range, or computed by the storage nodes.
//!
//! Where the pending writes over the snapshot ([`Reader`]) touch a table, the storage nodes alone cannot answer: pairs
//! are scanned, merged with them and decoded here, and the conditions that would have been pushed down are checked
//! here. Where they do not, the coprocessor does the work.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use codec::datum::Datum;
use codec::row::RowDecoder;
use codec::table;
use codec::types::FieldType;
use futures::StreamExt;
use futures::stream::BoxStream;
use query::batch::{Batch, BatchBuilder};
use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::row;
use sql_catalog::{IndexInfo, TableInfo};
use sql_planner::plan::{Access, ColId, Lock, Scan};

use crate::pushdown;
use crate::reader::Reader;
use crate::runtime::{Fixed, Operator, Runtime, filter_batch};

/// Pairs asked for at once when pairs are scanned.
const SCAN_PAIRS: usize = 1024;
/// Rows fetched at once: at first, at most, and the bytes that they should have at most.
const FETCH_ROWS_FIRST: usize = 32;
const FETCH_ROWS: usize = 1024;
const FETCH_BYTES: usize = 8 << 20;

/// Whether the rows are put together here, and what the plan leaves to the storage nodes is done here.
pub fn is_local(scan: &Scan, rt: &Runtime) -> bool {
    rt.reader_of(scan).is_dirty(&scan.table) || !rt.pushdown || !pushdown::can_send(scan, rt)
}

/// Builds the operator that reads a scan's rows. Its columns are the scan's outputs.
pub fn build(scan: &Scan, rt: &Arc<Runtime>) -> Result<Box<dyn Operator>, SqlError> {
    let types = rt.columns.types(&scan.base_outputs());
    let desc = scan.order == Some(true);
    let keep_order = scan.order.is_some();
    let source = rt.reader_of(scan);
    let local = is_local(scan, rt);
    let access = rt.access(scan)?;
    let root_filters = |pushed: bool| {
        let positions = sql_planner::optimize::positions(&scan.base_outputs());
        let conditions = scan.residual.iter().chain(scan.pushed.filters.iter().filter(|_| pushed));
        conditions.map(|c| rt.resolve(c, &positions)).collect::<Result<Vec<Expr>, _>>()
    };
    let rows_from = |reader: Reader, source: Source| -> Result<Box<dyn Operator>, SqlError> {
        Ok(Box::new(RowReader {
            rt: rt.clone(),
            reader,
            decoder: row_decoder(scan),
            table: scan.table.clone(),
            column_types: scan
                .columns
                .iter()
                .filter_map(|(o, _)| Some(scan.table.columns.get(*o)?.field_type.clone()))
                .collect(),
            handle: scan.handle.is_some(),
            lock: scan.lock,
            types: types.clone(),
            filters: root_filters(true)?,
            source,
            // What a limit needs first; more only if that was not enough.
            batch: match scan.pushed.limit {
                Some(n) => usize::try_from(n).unwrap_or(FETCH_ROWS).clamp(1, FETCH_ROWS_FIRST),
                None => FETCH_ROWS_FIRST,
            },
            done: false,
        }))
    };
    match &*access {
        Access::Empty => Ok(Box::new(Fixed::new(vec![]))),
        Access::PointHandles(handles) => {
            let keys = handles.iter().map(|h| (table::record_key(scan.table.id, *h), *h)).collect();
            rows_from(source.clone(), Source::Keys(keys))
        }
        Access::PointIndex { index, keys } => {
            let index = find_index(&scan.table, *index)?;
            let parts = row::index_parts(&scan.table, index);
            let keys = keys
                .iter()
                .map(|k| table::index_values_key(scan.table.id, index.id, &parts, k).map_err(row::damaged))
                .collect::<Result<VecDeque<_>, _>>()?;
            rows_from(source.through(&scan.table, index)?, Source::UniqueKeys(keys))
        }
        Access::Full | Access::Handles(_) => {
            let ranges = record_ranges(scan, &access, desc);
            if local {
                return rows_from(source.clone(), Source::Ranges { ranges, desc });
            }
            let sent = with_handle_if_bare(scan);
            let request = pushdown::table_scan(&sent, ranges, keep_order, desc, rt)?;
            let names = pushdown::message_names(scan, None, rt);
            pushed_reader(scan, request, names, rt, root_filters(false)?)
        }
        Access::Index { index, ranges, covering, .. } => {
            let index = find_index(&scan.table, *index)?;
            let mut ranges: VecDeque<_> = ranges.clone().into();
            if desc {
                ranges = ranges.into_iter().rev().collect();
            }
            if *covering && (local || scan.lock.is_some()) {
                return Ok(Box::new(IndexReader {
                    rt: rt.clone(),
                    reader: source.through(&scan.table, index)?,
                    table: scan.table.id,
                    index: index_columns(&scan.table, index),
                    wanted: index_positions(scan, index),
                    handle_type: scan.table.handle_column().map(|c| c.field_type.clone()),
                    handle: scan.handle.is_some(),
                    lock: scan.lock,
                    types,
                    filters: root_filters(true)?,
                    ranges,
                    desc,
                }));
            }
            if *covering {
                let sent = with_handle_if_bare(scan);
                let request = pushdown::index_scan(&sent, index, ranges, keep_order, desc, rt)?;
                let names = pushdown::message_names(scan, Some(index), rt);
                return pushed_reader(scan, request, names, rt, root_filters(false)?);
            }
            // Two steps: handles from the index, then rows by key, in the order of the index.
            let reader = source.through(&scan.table, index)?;
            rows_from(reader, Source::Index { columns: index_columns(&scan.table, index), ranges, desc })
        }
        Access::Late(_) => Err(SqlError::internal("plan", "keys that are not known yet")),
    }
}

fn find_index(table: &TableInfo, id: i64) -> Result<&IndexInfo, SqlError> {
    table.indexes.iter().find(|i| i.id == id).ok_or_else(|| SqlError::internal("index of the plan", "gone"))
}

fn index_columns(table: &TableInfo, index: &IndexInfo) -> Vec<(i64, FieldType)> {
    index.columns.iter().filter_map(|c| table.columns.get(c.offset)).map(|c| (c.id, c.field_type.clone())).collect()
}

/// For each wanted column its place in the index; `None` is the handle.
fn index_positions(scan: &Scan, index: &IndexInfo) -> Vec<Option<usize>> {
    scan.columns.iter().map(|(o, _)| index.columns.iter().position(|c| c.offset == *o && c.length.is_none())).collect()
}

fn row_decoder(scan: &Scan) -> RowDecoder {
    row::decoder(&scan.table, &scan.columns.iter().map(|c| c.0).collect::<Vec<_>>())
}

/// Key ranges of rows.
fn record_ranges(scan: &Scan, access: &Access, desc: bool) -> VecDeque<(Vec<u8>, Vec<u8>)> {
    let id = scan.table.id;
    let mut ranges: VecDeque<_> = match access {
        Access::Handles(list) => list.iter().map(|(low, high)| table::record_range_between(id, *low, *high)).collect(),
        _ => VecDeque::from([table::record_range(id)]),
    };
    if desc {
        ranges = ranges.into_iter().rev().collect();
    }
    ranges
}

/// Where row keys come from.
enum Source {
    /// Known row keys.
    Keys(VecDeque<(Vec<u8>, i64)>),
    /// Keys of a unique index whose values are handles.
    UniqueKeys(VecDeque<Vec<u8>>),
    /// Ranges of rows.
    Ranges { ranges: VecDeque<(Vec<u8>, Vec<u8>)>, desc: bool },
    /// Ranges of index entries, whose rows are fetched.
    Index { columns: Vec<(i64, FieldType)>, ranges: VecDeque<(Vec<u8>, Vec<u8>)>, desc: bool },
}

/// Rows decoded here.
struct RowReader {
    rt: Arc<Runtime>,
    reader: Reader,
    decoder: RowDecoder,
    table: Arc<TableInfo>,
    column_types: Vec<FieldType>,
    handle: bool,
    lock: Option<Lock>,
    types: Arc<[FieldType]>,
    filters: Vec<Expr>,
    source: Source,
    /// Rows to fetch next.
    batch: usize,
    done: bool,
}

impl RowReader {
    /// The next handles and row values.
    async fn fetch(&mut self) -> Result<Vec<(i64, Vec<u8>)>, SqlError> {
        let reader = self.reader.clone();
        let batch = self.batch;
        match &mut self.source {
            Source::Keys(keys) => {
                let some: Vec<(Vec<u8>, i64)> = keys.drain(..keys.len().min(batch)).collect();
                self.done = keys.is_empty();
                let (keys, handles): (Vec<_>, Vec<_>) = some.into_iter().unzip();
                let values = reader.batch_get(&keys).await?;
                Ok(handles.into_iter().zip(values).filter_map(|(h, v)| Some((h, v?))).collect())
            }
            Source::UniqueKeys(keys) => {
                let some: Vec<Vec<u8>> = keys.drain(..keys.len().min(batch)).collect();
                self.done = keys.is_empty();
                let mut handles = Vec::new();
                for (key, value) in some.iter().zip(reader.batch_get(&some).await?) {
                    let Some(value) = value else { continue };
                    let handle = table::decode_unique_handle(&value).map_err(row::damaged)?;
                    if !reader.is_stale(self.table.id, key, handle) {
                        handles.push(handle);
                    }
                }
                fetch_rows(&reader, self.table.id, handles).await
            }
            Source::Ranges { ranges, desc } => {
                let Some((start, end)) = ranges.pop_front() else {
                    self.done = true;
                    return Ok(Vec::new());
                };
                let (pairs, rest) = reader.scan(start, end, batch, *desc).await?;
                if let Some(rest) = rest {
                    ranges.push_front(rest);
                }
                self.done = ranges.is_empty();
                pairs.into_iter().map(|(k, v)| Ok((table::decode_handle(&k).map_err(row::damaged)?, v))).collect()
            }
            Source::Index { columns, ranges, desc } => {
                let Some((start, end)) = ranges.pop_front() else {
                    self.done = true;
                    return Ok(Vec::new());
                };
                let (pairs, rest) = reader.scan(start, end, batch, *desc).await?;
                if let Some(rest) = rest {
                    ranges.push_front(rest);
                }
                self.done = ranges.is_empty();
                let columns: Vec<(i64, &FieldType)> = columns.iter().map(|(id, t)| (*id, t)).collect();
                let mut handles = Vec::with_capacity(pairs.len());
                for (k, v) in &pairs {
                    let handle = table::decode_index_entry(k, v, &columns).map_err(row::damaged)?.1;
                    if !reader.is_stale(self.table.id, k, handle) {
                        handles.push(handle);
                    }
                }
                fetch_rows(&reader, self.table.id, handles).await
            }
        }
    }
}

async fn fetch_rows(reader: &Reader, table_id: i64, handles: Vec<i64>) -> Result<Vec<(i64, Vec<u8>)>, SqlError> {
    let keys: Vec<Vec<u8>> = handles.iter().map(|h| table::record_key(table_id, *h)).collect();
    let values = reader.batch_get(&keys).await?;
    Ok(handles.into_iter().zip(values).filter_map(|(h, v)| Some((h, v?))).collect())
}

#[async_trait]
impl Operator for RowReader {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while !self.done {
            self.rt.check_interrupted()?;
            let found = self.fetch().await?;
            self.batch = (self.batch * 4).min(FETCH_ROWS);
            if found.is_empty() {
                continue;
            }
            let bytes: usize = found.iter().map(|(_, value)| value.len()).sum();
            self.batch = self.batch.min(FETCH_BYTES / (bytes / found.len()).max(1)).max(1);
            let mut builder = BatchBuilder::new(self.types.clone(), found.len());
            let mut handles = Vec::with_capacity(if self.lock.is_some() { found.len() } else { 0 });
            for (handle, value) in found {
                let mut row = self.decoder.decode(&value, handle).map_err(row::damaged)?;
                for (d, ty) in row.iter_mut().zip(&self.column_types) {
                    if ty.tp == codec::types::TypeCode::Timestamp {
                        *d = row::to_local(std::mem::take(d), ty, &self.rt.zone);
                    }
                }
                if self.handle {
                    row.push(Datum::Int(handle));
                }
                builder.push(&row)?;
                if self.lock.is_some() {
                    handles.push(handle);
                }
            }
            let batch = builder.finish();
            let (batch, kept) = filter_batch(batch, &self.filters, &self.rt)?;
            if let Some(lock) = self.lock {
                let keys = handles.iter().enumerate().filter(|(i, _)| kept.as_ref().is_none_or(|k| k[*i]));
                self.rt.add_locks(lock, keys.map(|(_, h)| table::record_key(self.table.id, *h)));
            }
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Index entries decoded here.
struct IndexReader {
    rt: Arc<Runtime>,
    reader: Reader,
    table: i64,
    index: Vec<(i64, FieldType)>,
    wanted: Vec<Option<usize>>,
    handle_type: Option<FieldType>,
    handle: bool,
    lock: Option<Lock>,
    types: Arc<[FieldType]>,
    filters: Vec<Expr>,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    desc: bool,
}

#[async_trait]
impl Operator for IndexReader {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while let Some((start, end)) = self.ranges.pop_front() {
            self.rt.check_interrupted()?;
            let (pairs, rest) = self.reader.scan(start, end, SCAN_PAIRS, self.desc).await?;
            if let Some(rest) = rest {
                self.ranges.push_front(rest);
            }
            if pairs.is_empty() {
                continue;
            }
            let columns: Vec<(i64, &FieldType)> = self.index.iter().map(|(id, t)| (*id, t)).collect();
            let mut builder = BatchBuilder::new(self.types.clone(), pairs.len());
            let mut handles = Vec::new();
            for (k, v) in &pairs {
                let (values, handle) = table::decode_index_entry(k, v, &columns).map_err(row::damaged)?;
                if self.reader.is_stale(self.table, k, handle) {
                    continue;
                }
                let mut row: Vec<Datum> = self
                    .wanted
                    .iter()
                    .map(|w| match (w, &self.handle_type) {
                        (Some(i), _) => row::to_local(values[*i].clone(), &self.index[*i].1, &self.rt.zone),
                        (None, Some(ty)) => row::handle_datum(handle, ty),
                        (None, None) => Datum::Null,
                    })
                    .collect();
                if self.handle {
                    row.push(Datum::Int(handle));
                }
                builder.push(&row)?;
                handles.push(handle);
            }
            let (batch, kept) = filter_batch(builder.finish(), &self.filters, &self.rt)?;
            if let Some(lock) = self.lock {
                let keys = handles.iter().enumerate().filter(|(i, _)| kept.as_ref().is_none_or(|k| k[*i]));
                self.rt.add_locks(lock, keys.map(|(_, h)| table::record_key(self.table, *h)));
            }
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// Rows that the storage nodes computed.
struct PushedReader {
    rt: Arc<Runtime>,
    stream: BoxStream<'static, Result<proto::tipb::SelectResponse, kv_client::Error>>,
    types: Arc<[FieldType]>,
    /// What messages call the columns that storage nodes know by number.
    names: HashMap<usize, Arc<str>>,
    filters: Vec<Expr>,
    /// Column of the handle, and the table, when rows are to be locked.
    lock: Option<(usize, i64, Lock)>,
    /// Nothing is wanted but the number of rows.
    bare: bool,
}

/// A scan none of whose columns is read (`SELECT 1 FROM t`) asks for the handles: rows of no columns are no bytes, and
/// could not be counted when they arrive.
fn with_handle_if_bare(scan: &Scan) -> Cow<'_, Scan> {
    match is_bare(scan) {
        true => Cow::Owned(Scan { handle: Some(ColId::MAX), ..scan.clone() }),
        false => Cow::Borrowed(scan),
    }
}

fn is_bare(scan: &Scan) -> bool {
    scan.columns.is_empty() && scan.handle.is_none() && scan.pushed.aggregate.is_none()
}

fn pushed_reader(
    scan: &Scan,
    request: kv_client::CopRequest,
    names: HashMap<usize, Arc<str>>,
    rt: &Arc<Runtime>,
    filters: Vec<Expr>,
) -> Result<Box<dyn Operator>, SqlError> {
    let bare = is_bare(scan);
    let types = if bare { [FieldType::bigint()].into() } else { pushdown::sent_types(scan, rt) };
    let lock = scan.handle.and(scan.lock).map(|lock| (scan.columns.len(), scan.table.id, lock));
    Ok(Box::new(PushedReader {
        rt: rt.clone(),
        stream: rt.reader_of(scan).snapshot().coprocessor(request),
        types,
        names,
        filters,
        lock,
        bare,
    }))
}

#[async_trait]
impl Operator for PushedReader {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        loop {
            self.rt.check_interrupted()?;
            let Some(response) = self.stream.next().await else { return Ok(None) };
            let response = response.map_err(|e| pushdown::name_columns(e.into(), &self.names))?;
            let batch = pushdown::decode(&response, &self.types, &self.rt)?;
            let (batch, _) = filter_batch(batch, &self.filters, &self.rt)?;
            if let Some((column, table_id, lock)) = self.lock {
                let handles = (0..batch.num_rows()).filter_map(|r| batch.datum(r, column).as_i64());
                self.rt.add_locks(lock, handles.map(|h| table::record_key(table_id, h)));
            }
            if !batch.is_empty() {
                let rows = batch.num_rows();
                return Ok(Some(if self.bare { Batch::new([].into(), Vec::new(), rows) } else { batch }));
            }
        }
    }
}
