//! Scans: key-value pairs of a table or of an index become batches of columns.
//!
//! Cells go straight from a row's bytes into column builders. Batches grow from 32 rows to 1024, so that a small limit above
//! does not pay for rows that nobody wants.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use codec::datum::{self, Datum};
use codec::row::{self, Cell, Row};
use codec::table::{self, Handle};
use codec::types::{FieldType, TypeCode};
use engine::{Direction, KeyRange};
use proto::coprocessor::{KeyRange as PbRange, Request};
use proto::tipb::{self, ExecType};
use query::batch::{BATCH_ROWS_MAX, Batch, BatchBuilder, ColumnBuilder};
use query::context::TimeZone;
use query::types::Physical;

use super::{CopError, unsupported};
use crate::mvcc::view::RowIter;
use crate::mvcc::{ReadView, ScanOptions};

/// Rows of the first batch.
const BATCH_ROWS_MIN: usize = 32;
/// Bytes of stored rows after which a batch ends, however few rows they are.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Column id of the row handle.
const HANDLE_ID: i64 = -1;

/// A column that a scan yields.
struct Column {
    id: i64,
    ty: FieldType,
    is_handle: bool,
    /// Its place in the key that rows are clustered by, where the key holds it: for rows whose value lacks it.
    in_key: Option<usize>,
    /// Value of rows that are older than the column.
    default: Datum,
}

/// What the pairs are.
enum Kind {
    Table,
    /// Columns of the index, and of the key that rows are clustered by, which follow them.
    Index {
        values: Vec<(i64, FieldType)>,
        key: Vec<(i64, FieldType)>,
    },
}

/// The lowest executor.
pub(super) struct Scan<'a> {
    view: &'a dyn ReadView,
    table_id: i64,
    kind: Kind,
    columns: Vec<Column>,
    types: Arc<[FieldType]>,
    builder: BatchBuilder,
    /// In the order in which they are read.
    ranges: Vec<KeyRange>,
    /// The range being read, and what is left of it.
    current: usize,
    rows: Option<RowIter<'a>>,
    direction: Direction,
    key_only: bool,
    zone: Option<TimeZone>,
    last_key: Option<Vec<u8>>,
    batch_rows: usize,
    batch_bytes: usize,
    produced: u64,
    iterations: u64,
    started: Instant,
    spent_ns: u64,
}

impl<'a> Scan<'a> {
    /// The scan that the first executor describes, over the request's ranges.
    pub(super) fn new(
        executor: &tipb::Executor,
        request: &Request,
        view: &'a dyn ReadView,
    ) -> Result<Scan<'a>, CopError> {
        let none = Vec::new();
        let (table_id, infos, desc, is_index, key_ids, prefix_ids) = match ExecType::try_from(executor.tp) {
            Ok(ExecType::TypeTableScan) => {
                let scan = executor.tbl_scan.as_ref();
                let scan = scan.ok_or_else(|| CopError::Request("a table scan without its message".into()))?;
                if !scan.pushed_down_filter_conditions.is_empty() {
                    return Err(unsupported("conditions inside a table scan"));
                }
                let prefixes = &scan.primary_prefix_column_ids;
                (scan.table_id, &scan.columns, scan.desc, false, &scan.primary_column_ids, prefixes)
            }
            Ok(ExecType::TypeIndexScan) => {
                let scan = executor.idx_scan.as_ref();
                let scan = scan.ok_or_else(|| CopError::Request("an index scan without its message".into()))?;
                let of_key = scan.columns.iter().rev().zip(scan.primary_column_ids.iter().rev());
                if of_key.filter(|(column, id)| column.column_id == **id).count() != scan.primary_column_ids.len() {
                    return Err(CopError::Request("the key's columns are the last ones of an index scan".into()));
                }
                (scan.table_id, &scan.columns, scan.desc, true, &scan.primary_column_ids, &none)
            }
            Ok(tp) => return Err(unsupported(format_args!("{} as the first executor", tp.as_str_name()))),
            Err(_) => return Err(unsupported(format_args!("executor type {}", executor.tp))),
        };
        let mut columns = Vec::with_capacity(infos.len());
        for (i, info) in infos.iter().enumerate() {
            let ty = query::pb::column_type(info)?;
            let is_handle = info.pk_handle || info.column_id == HANDLE_ID;
            if is_handle && is_index && i + 1 != infos.len() {
                return Err(CopError::Request("the handle is the last column of an index scan".into()));
            }
            let default = match &info.default_val[..] {
                [] => Datum::Null,
                bytes => datum::decode_one(&mut &bytes[..])
                    .and_then(|d| d.unflatten(&ty))
                    .map_err(|source| CopError::Row { table: table_id, source })?,
            };
            let in_key = match prefix_ids.contains(&info.column_id) {
                true => None,
                false => key_ids.iter().position(|id| *id == info.column_id),
            };
            columns.push(Column { id: info.column_id, ty, is_handle, in_key, default });
        }
        let kind = if is_index {
            let mut values: Vec<_> = columns.iter().filter(|c| !c.is_handle).map(|c| (c.id, c.ty.clone())).collect();
            let key = values.split_off(values.len().saturating_sub(key_ids.len()));
            Kind::Index { values, key }
        } else {
            Kind::Table
        };
        let types: Arc<[FieldType]> = columns.iter().map(|c| c.ty.clone()).collect();
        let mut ranges: Vec<KeyRange> =
            request.ranges.iter().map(|r| KeyRange::new(r.start.clone(), r.end.clone())).collect();
        ranges.sort_by(|a, b| a.start.cmp(&b.start));
        if desc {
            ranges.reverse();
        }
        let key_only = !is_index && columns.iter().all(|c| c.is_handle);
        Ok(Scan {
            view,
            table_id,
            kind,
            builder: BatchBuilder::new(types.clone(), BATCH_ROWS_MIN),
            columns,
            types,
            ranges,
            current: 0,
            rows: None,
            direction: if desc { Direction::Backward } else { Direction::Forward },
            key_only,
            zone: None,
            last_key: None,
            batch_rows: BATCH_ROWS_MIN,
            batch_bytes: 0,
            produced: 0,
            iterations: 0,
            started: Instant::now(),
            spent_ns: 0,
        })
    }

    /// From here on TIMESTAMP values are in this zone.
    pub(super) fn shift_to(&mut self, zone: Option<TimeZone>) {
        self.zone = zone.filter(|_| self.types.iter().any(|ty| ty.tp == TypeCode::Timestamp));
    }

    /// Types of the columns.
    pub(super) fn types(&self) -> &Arc<[FieldType]> {
        &self.types
    }

    /// The next rows; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, CopError> {
        self.started = Instant::now();
        let limit = self.batch_rows;
        self.batch_rows = (limit * 2).min(BATCH_ROWS_MAX);
        self.batch_bytes = 0;
        while self.builder.len() < limit && self.batch_bytes < BATCH_BYTES_MAX {
            let Some(range) = self.ranges.get(self.current) else { break };
            if let Some(rows) = &mut self.rows {
                match rows.next() {
                    Some(row) => {
                        let (key, value) = row?;
                        self.add(&key, &value)?;
                        self.last_key = Some(key);
                    }
                    None => {
                        self.rows = None;
                        self.current += 1;
                    }
                }
                continue;
            }
            if let Some(key) = point(range) {
                // One key needs no scan.
                let value = self.view.get(key)?;
                let key = key.to_vec();
                if let Some(value) = value {
                    self.add(&key, &value)?;
                }
                self.last_key = Some(key);
                self.current += 1;
                continue;
            }
            let options = ScanOptions { direction: self.direction, key_only: self.key_only };
            self.rows = Some(self.view.scan(range, options)?);
        }
        self.iterations += 1;
        self.produced += self.builder.len() as u64;
        self.spent_ns += self.started.elapsed().as_nanos() as u64;
        Ok((!self.builder.is_empty()).then(|| self.builder.finish()))
    }

    /// Decodes a pair into the columns.
    fn add(&mut self, key: &[u8], value: &Bytes) -> Result<(), CopError> {
        self.batch_bytes += value.len();
        let table = self.table_id;
        let broken = |source| CopError::Row { table, source };
        match &self.kind {
            Kind::Table => {
                let handle = table::decode_handle(key).map_err(broken)?;
                let row = Row::new(value).map_err(broken)?;
                let mut of_key = None;
                for (column, out) in self.columns.iter().zip(self.builder.columns_mut()) {
                    if column.is_handle {
                        out.push_raw_i64(number(&handle).map_err(broken)?)?;
                        continue;
                    }
                    match row.get(column.id) {
                        Cell::Null => out.push_null(),
                        Cell::Missing => {
                            let value = match (column.in_key, &handle) {
                                (Some(place), Handle::Key(bytes)) => {
                                    let values: &Vec<Datum> = match &of_key {
                                        Some(values) => values,
                                        None => of_key.insert(Handle::values(bytes).map_err(broken)?),
                                    };
                                    let value = values.get(place).ok_or(codec::Error::Invalid("row handle"));
                                    value.and_then(|d| d.clone().unflatten(&column.ty)).map_err(broken)?
                                }
                                _ => column.default.clone(),
                            };
                            push(out, value, self.zone.as_ref())?
                        }
                        Cell::Value(bytes) => {
                            push_cell(out, bytes, &column.ty, self.zone.as_ref()).map_err(|e| match e {
                                CopError::Eval(query::EvalError::Codec(source)) => broken(source),
                                e => e,
                            })?
                        }
                    }
                }
            }
            Kind::Index { values, key: of_key } => {
                let columns: Vec<(i64, &FieldType)> = values.iter().map(|(id, ty)| (*id, ty)).collect();
                let of_key: Vec<(i64, &FieldType)> = of_key.iter().map(|(id, ty)| (*id, ty)).collect();
                let (data, handle) = table::decode_index_entry(key, value, &columns, &of_key).map_err(broken)?;
                let outs = self.builder.columns_mut();
                for (value, out) in data.into_iter().zip(outs.iter_mut()) {
                    push(out, value, self.zone.as_ref())?;
                }
                if let Some(out) = outs.get_mut(columns.len() + of_key.len()) {
                    out.push_raw_i64(number(&handle).map_err(broken)?)?;
                }
            }
        }
        self.builder.row_done();
        Ok(())
    }

    /// From the beginning of the request's ranges to behind the last pair that was read, or the other way round.
    pub(super) fn consumed(&self) -> Option<PbRange> {
        let last = self.last_key.as_ref()?;
        let first = self.ranges.first()?;
        Some(match self.direction {
            Direction::Forward => {
                let mut end = last.clone();
                end.push(0);
                PbRange { start: first.start.clone(), end }
            }
            Direction::Backward => PbRange { start: last.clone(), end: first.end.clone() },
        })
    }

    /// What it did.
    pub(super) fn summary(&self) -> tipb::ExecutorExecutionSummary {
        tipb::ExecutorExecutionSummary {
            time_processed_ns: Some(self.spent_ns),
            num_produced_rows: Some(self.produced),
            num_iterations: Some(self.iterations),
            concurrency: Some(1),
            ..Default::default()
        }
    }
}

fn number(handle: &Handle) -> codec::Result<i64> {
    match handle {
        Handle::Int(number) => Ok(*number),
        Handle::Key(_) => Err(codec::Error::Invalid("a key for a row handle where a number is wanted")),
    }
}

/// The key of a range that holds only one.
fn point(range: &KeyRange) -> Option<&[u8]> {
    match range.end.split_last() {
        Some((0, head)) if head == range.start => Some(&range.start),
        _ => None,
    }
}

fn push(out: &mut ColumnBuilder, value: Datum, zone: Option<&TimeZone>) -> Result<(), CopError> {
    let value = match (value, zone) {
        (Datum::Time(t), Some(zone)) if out.field_type().tp == TypeCode::Timestamp => {
            Datum::Time(zone.timestamp_to_local(&t))
        }
        (value, _) => value,
    };
    Ok(out.push(&value)?)
}

/// The bytes of one column of a row, without a [`Datum`] where the layout allows.
fn push_cell(out: &mut ColumnBuilder, bytes: &[u8], ty: &FieldType, zone: Option<&TimeZone>) -> Result<(), CopError> {
    let bad = |e| CopError::Eval(query::EvalError::Codec(e));
    match Physical::of(ty) {
        Physical::Int if ty.tp != TypeCode::Null => out.push_raw_i64(row::read_int(bytes).map_err(bad)?)?,
        Physical::Duration => out.push_raw_i64(row::read_int(bytes).map_err(bad)?)?,
        Physical::UInt if ty.tp != TypeCode::Year => out.push_raw_i64(row::read_uint(bytes).map_err(bad)? as i64)?,
        Physical::Bytes if ty.tp != TypeCode::Geometry => out.push_bytes(bytes)?,
        _ => push(out, row::decode_cell(bytes, ty).map_err(bad)?, zone)?,
    }
    Ok(())
}
