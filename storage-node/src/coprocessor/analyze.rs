//! ANALYZE: counts all rows of the request's ranges, and samples some of them, each with all its columns.
//!
//! The rows come from the same [`Scan`] as a query's; what is made of them is `statistics::Collector`'s matter. TIMESTAMP
//! values stay in UTC: what is collected belongs to the table, and not to who asked. Strings are sampled as they are and
//! counted by their sort keys.
//!
//! Of the kinds of analysis that the message knows only the one that samples whole rows is served.

use std::time::{Duration, Instant};

use codec::datum::flag;
use codec::table;
use prost::Message;
use proto::coprocessor::Request;
use proto::tipb::{self, AnalyzeType, ExecType};
use query::context::EvalContext;
use query::types::Physical;
use statistics::{Cell, Collector, CollectorOptions, SamplingMethod, Sketch};

use super::scan::Scan;
use super::{CopError, DURATION_MAX, encode, unsupported};
use crate::mvcc::ReadView;

/// Rows of a sample at most: more would be an answer of its own size.
const SAMPLE_ROWS_MAX: i64 = 1 << 20;
/// Hashes of a sketch at most.
const SKETCH_HASHES_MAX: i64 = 1 << 20;

/// Answers a request of type 104.
pub(super) fn run(request: &Request, view: &dyn ReadView) -> Result<tipb::AnalyzeColumnsResp, CopError> {
    let analyze =
        tipb::AnalyzeReq::decode(&request.data[..]).map_err(|e| CopError::Request(format!("analyze request: {e}")))?;
    match AnalyzeType::try_from(analyze.tp) {
        Ok(AnalyzeType::TypeFullSampling) => {}
        Ok(tp) => return Err(unsupported(format_args!("analysis of {}", tp.as_str_name()))),
        Err(_) => return Err(unsupported(format_args!("analysis of type {}", analyze.tp))),
    }
    let asked = analyze.col_req.ok_or_else(|| CopError::Request("an analysis without its message".into()))?;
    let limit_ms = request.context.as_ref().map_or(0, |c| c.max_execution_duration_ms);
    let deadline = Instant::now() + if limit_ms == 0 { DURATION_MAX } else { Duration::from_millis(limit_ms) };

    let ctx = EvalContext::default();
    let mut scan = Scan::new(&table_scan(request, &asked)?, request, view, &ctx)?;
    let types = scan.types().clone();
    let mut collector = Collector::new(options(request, &asked, types.len())?);
    let mut row = Row::default();
    while let Some(batch) = scan.next_batch()? {
        if Instant::now() >= deadline {
            return Err(CopError::Deadline);
        }
        let physical: Vec<Physical> = types.iter().map(Physical::of).collect();
        for number in 0..batch.num_rows() {
            row.clear();
            for (at, ty) in types.iter().enumerate() {
                let from = row.bytes.len();
                encode::encode_value(&mut row.bytes, batch.column(at), number, ty, physical[at], None)?;
                let to = row.bytes.len();
                let key = match (&row.bytes[from..to], ty.is_text()) {
                    ([flag::COMPACT_BYTES, ..], true) => {
                        let text = encode::bytes_at(batch.column(at), number);
                        row.bytes.extend_from_slice(&ty.collation.sort_key(text));
                        to..row.bytes.len()
                    }
                    _ => from..to,
                };
                row.cells.push((from..to, key));
            }
            let cells = row.cells.iter().map(|(value, identity)| Cell {
                value: &row.bytes[value.clone()],
                identity: &row.bytes[identity.clone()],
                is_null: row.bytes[value.start] == flag::NIL,
            });
            collector.add(&cells.collect::<Vec<_>>());
        }
    }
    Ok(tipb::AnalyzeColumnsResp { row_collector: Some(statistics::collector_to_pb(&collector)) })
}

/// Where the values of a row are.
#[derive(Default)]
struct Row {
    bytes: Vec<u8>,
    /// Of each column its encoded datum, and what is counted of it.
    cells: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
}

impl Row {
    fn clear(&mut self) {
        self.bytes.clear();
        self.cells.clear();
    }
}

/// The scan of the columns, as a query would ask for it.
fn table_scan(request: &Request, asked: &tipb::AnalyzeColumnsReq) -> Result<tipb::Executor, CopError> {
    if asked.columns_info.is_empty() {
        return Err(CopError::Request("an analysis of no columns".into()));
    }
    let first = request.ranges.first().map_or(&[][..], |range| &range.start);
    let table =
        table::decode_table_id(first).ok_or_else(|| CopError::Request("an analysis of what is no table".into()))?;
    let scan = tipb::TableScan {
        table_id: table.0,
        columns: asked.columns_info.clone(),
        primary_column_ids: asked.primary_column_ids.clone(),
        primary_prefix_column_ids: asked.primary_prefix_column_ids.clone(),
        ..Default::default()
    };
    Ok(tipb::Executor { tp: ExecType::TypeTableScan.into(), tbl_scan: Some(scan), ..Default::default() })
}

fn options(request: &Request, asked: &tipb::AnalyzeColumnsReq, columns: usize) -> Result<CollectorOptions, CopError> {
    let method = match (asked.sample_rate, asked.sample_size) {
        (rate, _) if rate > 0.0 => SamplingMethod::Rate(rate.min(1.0)),
        (_, 1..=SAMPLE_ROWS_MAX) => SamplingMethod::Size(asked.sample_size as usize),
        (_, size) => return Err(CopError::Request(format!("a sample of {size} rows"))),
    };
    let sketch_size = match asked.sketch_size {
        0 => Sketch::HASHES_MAX,
        size @ 1..=SKETCH_HASHES_MAX => size as usize,
        size => return Err(CopError::Request(format!("a sketch of {size} hashes"))),
    };
    let offset = |at: &i64| {
        let known = usize::try_from(*at).ok().filter(|at| *at < columns);
        known.ok_or_else(|| CopError::Request(format!("column {at} of {columns} in a group")))
    };
    let groups = asked.column_groups.iter().map(|g| g.column_offsets.iter().map(offset).collect());
    // Two regions draw differently, and one draws the same again when it is asked again.
    let place = request.ranges.first().map_or(0, |range| hash(&range.start));
    Ok(CollectorOptions {
        method,
        sketch_size,
        columns,
        groups: groups.collect::<Result<_, _>>()?,
        seed: request.start_ts ^ place,
    })
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
