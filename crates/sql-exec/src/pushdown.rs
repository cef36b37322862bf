//! Work for the storage nodes: scans with conditions, orders, limits and partial aggregates as coprocessor requests.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use codec::datum::{self, Datum};
use codec::table::Handle;
use codec::types::{FieldType, TypeCode};
use kv_client::{CopRequest, KeyRange};
use proto::tipb;
use query::batch::{Batch, BatchBuilder};
use query::context::{EvalContext, Severity, TimeZone, dag_flags};
use query::expr::Expr;
use sql_base::SqlError;
use sql_catalog::row;
use sql_catalog::{ColumnInfo, IndexInfo, TableInfo};
use sql_planner::optimize::positions;
use sql_planner::plan::{AggCall, ColId, Scan};

use crate::runtime::Runtime;

/// Rows after which a storage node ends a page of an answer that may be large.
const PAGE_ROWS: u64 = 8_192;

/// Whether what a plan leaves to the storage nodes can be said to them in this run. A plan knows types; a value that could
/// not be computed, because it fails or warns, stays an expression that they may not know.
pub fn can_send(scan: &Scan, rt: &mut Runtime) -> bool {
    let pushed = &scan.pushed;
    let aggregate = pushed.aggregate.iter();
    let of_groups = aggregate.flat_map(|a| a.group.iter().map(|g| &g.0).chain(a.aggs.iter().flat_map(|a| &a.0.args)));
    let of_order = pushed.topn.iter().flat_map(|t| t.0.iter().map(|k| &k.expr));
    let mut all = pushed.filters.iter().chain(of_groups).chain(of_order);
    all.all(|e| !e.is_of_run() || rt.settled(e).is_ok_and(|e| query::pb::to_pb(&e).is_some()))
}

fn column_pb(c: &ColumnInfo, is_handle: bool) -> Result<tipb::ColumnInfo, SqlError> {
    let ty = &c.field_type;
    let mut default_val = Vec::new();
    if !is_handle && c.origin_default.is_some() {
        datum::encode_value(&mut default_val, &row::origin_default(c)).map_err(row::damaged)?;
    }
    Ok(tipb::ColumnInfo {
        column_id: c.id,
        tp: ty.tp as i32,
        collation: -i32::from(ty.collation.id()),
        column_len: ty.flen,
        decimal: ty.decimal,
        flag: ty.flags as i32,
        elems: ty.elems.clone(),
        default_val,
        pk_handle: is_handle,
    })
}

/// The row handle, as a column.
fn handle_pb() -> tipb::ColumnInfo {
    let ty = FieldType::bigint();
    tipb::ColumnInfo {
        column_id: -1,
        tp: ty.tp as i32,
        collation: -63,
        column_len: 20,
        decimal: 0,
        flag: 0,
        pk_handle: true,
        ..Default::default()
    }
}

fn columns_pb(scan: &Scan) -> Result<Vec<tipb::ColumnInfo>, SqlError> {
    let handle = scan.table.handle_column().map(|c| c.id);
    let mut out = scan
        .columns
        .iter()
        .filter_map(|(o, _)| scan.table.columns.get(*o))
        .map(|c| column_pb(c, Some(c.id) == handle))
        .collect::<Result<Vec<_>, _>>()?;
    if scan.handle.is_some() {
        out.push(handle_pb());
    }
    Ok(out)
}

/// Scans rows.
pub fn table_scan(
    scan: &Scan,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    keep_order: bool,
    desc: bool,
    rt: &mut Runtime,
) -> Result<CopRequest, SqlError> {
    let executor = tipb::Executor {
        tp: tipb::ExecType::TypeTableScan as i32,
        tbl_scan: Some(tipb::TableScan {
            table_id: scan.physical.0,
            columns: columns_pb(scan)?,
            desc,
            keep_order,
            primary_column_ids: row::key_columns(&scan.table).into_iter().map(|c| c.0).collect(),
            primary_prefix_column_ids: row::key_prefix_columns(&scan.table),
            ..Default::default()
        }),
        ..Default::default()
    };
    request(scan, executor, ranges, keep_order, desc, rt)
}

/// Scans index entries that have every wanted column.
pub fn index_scan(
    scan: &Scan,
    index: &IndexInfo,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    keep_order: bool,
    desc: bool,
    rt: &mut Runtime,
) -> Result<CopRequest, SqlError> {
    // An index scan gives the index's columns in order, then the handle or the columns that make it; what is wanted is chosen
    // by offset.
    let table: &TableInfo = &scan.table;
    let mut columns = Vec::new();
    for part in index.columns.iter().chain(table.clustered_index().into_iter().flat_map(|key| &key.columns)) {
        if let Some(c) = table.columns.get(part.offset) {
            columns.push(column_pb(c, false)?);
        }
    }
    match table.handle_column() {
        Some(c) => columns.push(column_pb(c, true)?),
        None if table.is_common_handle => {}
        None => columns.push(handle_pb()),
    }
    let executor = tipb::Executor {
        tp: tipb::ExecType::TypeIndexScan as i32,
        idx_scan: Some(tipb::IndexScan {
            table_id: scan.physical.0,
            index_id: index.id,
            columns,
            desc,
            unique: index.unique,
            primary_column_ids: row::key_columns(table).into_iter().map(|c| c.0).collect(),
        }),
        ..Default::default()
    };
    request_over(scan, executor, ranges, keep_order, desc, rt, &index_layout(scan, index))
}

/// Position in an index scan's rows of each of the scan's outputs.
fn index_layout(scan: &Scan, index: &IndexInfo) -> Vec<usize> {
    let last = index.columns.len();
    // Of a column that the key holds a part of, the part is wanted.
    let part_of_key = |offset: usize| {
        let key = scan.table.clustered_index()?;
        key.columns.iter().position(|c| c.offset == offset).map(|at| last + at)
    };
    let place =
        |offset| row::entry_position(&scan.table, index, offset).or_else(|| part_of_key(offset)).unwrap_or(last);
    let mut out: Vec<usize> = scan.columns.iter().map(|c| place(c.0)).collect();
    if scan.handle.is_some() {
        out.push(last);
    }
    out
}

fn request(
    scan: &Scan,
    first: tipb::Executor,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    keep_order: bool,
    desc: bool,
    rt: &mut Runtime,
) -> Result<CopRequest, SqlError> {
    let layout: Vec<usize> = (0..scan.base_outputs().len()).collect();
    request_over(scan, first, ranges, keep_order, desc, rt, &layout)
}

fn request_over(
    scan: &Scan,
    first: tipb::Executor,
    ranges: VecDeque<(Vec<u8>, Vec<u8>)>,
    keep_order: bool,
    desc: bool,
    rt: &mut Runtime,
    layout: &[usize],
) -> Result<CopRequest, SqlError> {
    let mut at = positions(&scan.base_outputs());
    at.values_mut().for_each(|p| *p = layout[*p]);
    let mut pb = |e: &Expr| -> Result<tipb::Expr, SqlError> {
        let e = rt.resolve(e, &at)?;
        query::pb::to_pb(&e).ok_or_else(|| SqlError::internal("pushdown", e))
    };
    let mut executors = vec![first];
    let pushed = &scan.pushed;
    if !pushed.filters.is_empty() {
        let conditions = pushed.filters.iter().map(&mut pb).collect::<Result<_, _>>()?;
        executors.push(tipb::Executor {
            tp: tipb::ExecType::TypeSelection as i32,
            selection: Some(tipb::Selection { conditions }),
            ..Default::default()
        });
    }
    let mut outputs: Vec<u32> = layout.iter().map(|p| *p as u32).collect();
    if let Some(agg) = &pushed.aggregate {
        let mut agg_func = Vec::new();
        for (call, _) in &agg.aggs {
            agg_func.push(partial_pb(call, &mut pb)?);
        }
        let group_by = agg.group.iter().map(|g| pb(&g.0)).collect::<Result<Vec<_>, _>>()?;
        outputs = (0..(agg_func.len() + group_by.len()) as u32).collect();
        executors.push(tipb::Executor {
            tp: tipb::ExecType::TypeAggregation as i32,
            aggregation: Some(tipb::Aggregation { group_by, agg_func, streamed: false }),
            ..Default::default()
        });
    }
    if let Some((keys, limit)) = &pushed.topn {
        let order_by = keys
            .iter()
            .map(|k| Ok(tipb::ByItem { expr: Some(pb(&k.expr)?), desc: k.desc }))
            .collect::<Result<_, SqlError>>()?;
        executors.push(tipb::Executor {
            tp: tipb::ExecType::TypeTopN as i32,
            top_n: Some(tipb::TopN { order_by, limit: *limit, partition_by: Vec::new() }),
            ..Default::default()
        });
    }
    if let Some(limit) = pushed.limit {
        executors.push(tipb::Executor {
            tp: tipb::ExecType::TypeLimit as i32,
            limit: Some(tipb::Limit { limit, partition_by: Vec::new() }),
            ..Default::default()
        });
    }
    let (time_zone_offset, time_zone_name) = match &rt.zone {
        TimeZone::Fixed(secs) => (i64::from(*secs), String::new()),
        TimeZone::Rules(rules) => (i64::from(rules.offset_at(0)), rules.name().to_owned()),
    };
    let (sql_mode, flags) = rt.eval(|cx| Ok((cx.sql_mode, context_flags(cx))))?;
    let dag = tipb::DagRequest {
        executors,
        time_zone_offset,
        time_zone_name,
        flags,
        output_offsets: outputs,
        sql_mode,
        encode_type: tipb::EncodeType::TypeDefault as i32,
        ..Default::default()
    };
    let mut ranges: Vec<KeyRange> = ranges.into_iter().map(|(start, end)| KeyRange { start, end }).collect();
    ranges.sort_by(|a, b| a.start.cmp(&b.start));
    let mut request = CopRequest::new(dag, ranges);
    request.keep_order = keep_order;
    request.desc = desc;
    // An early end is worth small pages: a limit is often met by the first.
    if pushed.aggregate.is_none() && pushed.topn.is_none() {
        request.paging_size = pushed.limit.map_or(PAGE_ROWS, |n| n.clamp(64, PAGE_ROWS));
    }
    if keep_order && pushed.limit.is_some() {
        request.concurrency = 1;
    }
    Ok(request)
}

/// What messages call the columns of the rows that a pushed scan (of an index, if one is given) gives to the work on top
/// of it. Storage nodes know them by number.
pub fn message_names(scan: &Scan, index: Option<&IndexInfo>, rt: &mut Runtime) -> HashMap<usize, Arc<str>> {
    let outputs = scan.base_outputs();
    let layout = match index {
        Some(index) => index_layout(scan, index),
        None => (0..outputs.len()).collect(),
    };
    layout.into_iter().zip(outputs).filter_map(|(at, id)| Some((at, rt.columns.in_messages(id)?))).collect()
}

/// Puts the names of columns into a storage node's error: it says `column#3`.
pub fn name_columns(error: SqlError, names: &HashMap<usize, Arc<str>>) -> SqlError {
    const NUMBERED: &str = "column#";
    let SqlError::Remote { code, message } = error else { return error };
    let mut named = String::with_capacity(message.len());
    let mut rest = message.as_str();
    while let Some(at) = rest.find(NUMBERED) {
        let after = &rest[at + NUMBERED.len()..];
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        named.push_str(&rest[..at]);
        match after[..digits].parse().ok().and_then(|n| names.get(&n)) {
            Some(name) => named.push_str(name),
            None => named.push_str(&rest[at..at + NUMBERED.len() + digits]),
        }
        rest = &after[digits..];
    }
    SqlError::Remote { code, message: named + rest }
}

/// What storage nodes are to do about values that they have to cut, and divisions by zero: what this server does.
fn context_flags(cx: &EvalContext) -> u64 {
    let truncate = match cx.on_truncate {
        Severity::Ignore => dag_flags::IGNORE_TRUNCATE,
        Severity::Warn => dag_flags::TRUNCATE_AS_WARNING,
        Severity::Error => 0,
    };
    let division = match cx.on_division_by_zero {
        Severity::Warn => dag_flags::IN_SELECT | dag_flags::DIVIDED_BY_ZERO_AS_WARNING,
        // A change: which of the two, the SQL mode tells.
        Severity::Ignore | Severity::Error => dag_flags::IN_UPDATE_OR_DELETE,
    };
    truncate | division
}

/// The partial function of a call.
fn partial_pb(
    call: &AggCall,
    pb: &mut dyn FnMut(&Expr) -> Result<tipb::Expr, SqlError>,
) -> Result<tipb::Expr, SqlError> {
    use tipb::ExprType::{Count, First, Max, Min, Sum};
    let children = call.args.iter().map(&mut *pb).collect::<Result<Vec<_>, _>>()?;
    let children = match children.is_empty() {
        // COUNT(*) counts a constant.
        true => vec![pb(&Expr::constant(Datum::Int(1)))?],
        false => children,
    };
    let tp = match call.name.as_str() {
        "count" => Count,
        "sum" => Sum,
        "min" => Min,
        "max" => Max,
        _ => First,
    };
    let field_type = Some(query::pb::field_type_to_pb(&partial_type(call)));
    Ok(tipb::Expr { tp: tp as i32, children, field_type, ..Default::default() })
}

/// The type of a call's partial result: a sum has all digits of what is summed.
fn partial_type(call: &AggCall) -> FieldType {
    match call.name.as_str() {
        "sum" => sql_planner::aggregate::sum_type(call.args[0].ty()),
        _ => call.ty.clone(),
    }
}

/// Nothing is wanted of a scan but the number of its rows.
pub fn is_bare(scan: &Scan) -> bool {
    scan.columns.is_empty() && scan.handle.is_none() && scan.pushed.aggregate.is_none()
}

/// The scan that storage nodes are asked for: they know no handle but a number, so where rows are clustered by a key they send
/// its columns. A scan none of whose columns is read (`SELECT 1 FROM t`) asks for a part of the key: rows of no columns are no
/// bytes, and could not be counted when they arrive.
pub fn sent_scan(scan: &Scan) -> Cow<'_, Scan> {
    let bare = is_bare(scan);
    let Some(key) = scan.table.clustered_index() else {
        return match bare {
            true => Cow::Owned(Scan { handle: Some(ColId::MAX), ..scan.clone() }),
            false => Cow::Borrowed(scan),
        };
    };
    let wanted = match (bare, scan.handle) {
        (true, _) => 1,
        (false, Some(_)) if scan.pushed.aggregate.is_none() => key.columns.len(),
        _ => return Cow::Borrowed(scan),
    };
    let mut sent = Scan { handle: None, ..scan.clone() };
    for (at, part) in key.columns.iter().take(wanted).enumerate() {
        if !sent.columns.iter().any(|(offset, _)| *offset == part.offset) {
            sent.columns.push((part.offset, ColId::MAX - at));
        }
    }
    Cow::Owned(sent)
}

/// What storage nodes send, and what becomes of it.
pub struct Shape {
    /// Types of the values that are sent.
    sent: Vec<FieldType>,
    /// Types of the rows that are made of them.
    types: Arc<[FieldType]>,
    /// How many of the values are columns of the rows; the handle that is made of the key's follows them.
    columns: usize,
    /// The table whose key the handle is made of, and where the values of the key are among those that are sent.
    key: Option<(Arc<TableInfo>, Vec<usize>)>,
}

impl Shape {
    /// Of a scan for which [`sent_scan`] is asked.
    pub fn of(scan: &Scan, sent: &Scan, rt: &mut Runtime) -> Shape {
        let plain = |types: Arc<[FieldType]>| Shape { sent: types.to_vec(), columns: types.len(), types, key: None };
        if let Some(agg) = &scan.pushed.aggregate {
            let of_calls = agg.aggs.iter().map(|a| partial_type(&a.0));
            return plain(of_calls.chain(agg.group.iter().map(|g| g.0.ty().clone())).collect());
        }
        let own = |(offset, _): &(usize, ColId)| scan.table.columns.get(*offset).map(|c| c.field_type.clone());
        if is_bare(scan) {
            return plain(
                sent.columns.iter().filter_map(own).chain(sent.handle.map(|_| FieldType::bigint())).collect(),
            );
        }
        let types = rt.columns.types(&scan.base_outputs());
        let (Some(key), Some(_)) = (scan.table.clustered_index(), scan.handle) else { return plain(types) };
        let columns = scan.columns.len();
        let added = sent.columns[columns..].iter().filter_map(own);
        let place = |offset| sent.columns.iter().position(|(o, _)| *o == offset);
        let places = key.columns.iter().filter_map(|part| place(part.offset)).collect();
        let sent = types[..columns].iter().cloned().chain(added).collect();
        Shape { sent, types, columns, key: Some((Arc::clone(&scan.table), places)) }
    }
}

/// Rows of an answer.
pub fn decode(response: &tipb::SelectResponse, shape: &Shape, rt: &mut Runtime) -> Result<Batch, SqlError> {
    if response.encode_type != tipb::EncodeType::TypeDefault as i32 {
        return Err(SqlError::internal("coprocessor", "rows in an encoding that was not asked for"));
    }
    for w in &response.warnings {
        let warning = query::error::Warning { code: u16::try_from(w.code).unwrap_or(1105), message: w.msg.clone() };
        rt.eval(|cx| {
            cx.warn(warning);
            Ok(())
        })?;
    }
    let mut builder = BatchBuilder::new(shape.types.clone(), 1024);
    let mut row = Vec::with_capacity(shape.sent.len());
    let key = shape.key.as_ref().and_then(|(table, places)| {
        let index = table.clustered_index()?;
        Some((row::index_parts(table, index), places))
    });
    for chunk in &response.chunks {
        let mut data = &chunk.rows_data[..];
        while !data.is_empty() {
            row.clear();
            for ty in &shape.sent {
                row.push(datum::decode_one(&mut data).and_then(|d| d.unflatten(ty)).map_err(row::damaged)?);
            }
            if let Some((parts, places)) = &key {
                let values: Vec<Datum> = places.iter().map(|at| row[*at].clone()).collect();
                let handle = Handle::of_values(parts, &values).map_err(row::damaged)?;
                row.truncate(shape.columns);
                row.push(handle.to_datum());
            }
            for (d, ty) in row.iter_mut().zip(shape.types.iter()).filter(|(_, ty)| ty.tp == TypeCode::Timestamp) {
                *d = row::to_local(std::mem::take(d), ty, &rt.zone);
            }
            builder.push(&row)?;
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storage_nodes_error_names_columns() {
        let names = HashMap::from([(1, Arc::from("`d`.`t`.`a`")), (12, Arc::from("`d`.`t`.`b`"))]);
        let named = |message: &str| match name_columns(SqlError::Remote { code: 1690, message: message.into() }, &names)
        {
            SqlError::Remote { code: 1690, message } => message,
            other => other.to_string(),
        };
        assert_eq!(named("in '(column#1 - column#12)'"), "in '(`d`.`t`.`a` - `d`.`t`.`b`)'");
        assert_eq!(named("column#2, column#, column#1"), "column#2, column#, `d`.`t`.`a`");
        assert_eq!(named("nothing"), "nothing");
    }
}
