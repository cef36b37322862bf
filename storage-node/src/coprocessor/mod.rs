//! The coprocessor: runs `tipb` requests over an MVCC view of one region: plans of executors, and ANALYZE.
//!
//! ```text
//! executors[0]   executors[1..]                        answer
//! scan ───────►  selection │ projection │ limit ─────► rows of encoded datums
//!   batches of   aggregation │ top-n (absorb all,
//!   ≤1024 rows   emit at the end)
//! ```
//!
//! [`handle`] is a function of the request and the view: no state, no clock but the deadline's. What goes wrong is told in
//! the place where a client looks for it:
//!
//! - a lock that hides the answer: `locked`, resolve it and ask again;
//! - an expression that fails on a row: `error` in the `SelectResponse`, with MySQL's number;
//! - anything unknown or unsupported (an executor, a signature, a column type): `other_error`, by name.
//!
//! With paging, a page ends after at least `paging_size` rows of result, or [`PAGE_BYTES_MAX`]; `range` tells what was
//! read, and a client goes on behind it. No `range` means that all of the request's ranges are done.
//!
//! Not here: region epochs and leadership (checked before the view exists), choosing what to push down (`query::pb`).

mod analyze;
mod encode;
mod pipeline;
mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::types::FieldType;
use prost::Message;
use proto::coprocessor::{KeyRange as PbRange, Request, Response};
use proto::tipb;
use query::context::{EvalContext, Severity, TimeZone, dag_flags};
use query::error::EvalError;

use self::pipeline::Pipeline;
use self::scan::Scan;
use crate::mvcc::{MvccError, ReadView};

/// `Request.tp` of a DAG request.
pub const REQ_TYPE_DAG: i64 = 103;
/// `Request.tp` of ANALYZE.
pub const REQ_TYPE_ANALYZE: i64 = 104;

/// Bytes after which a page ends, however few rows it has: an answer is one message, and a client holds several.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Time that a request may take when it names none.
const DURATION_MAX: Duration = Duration::from_secs(60);

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum CopError {
    /// The client resolves the lock and asks again.
    #[error(transparent)]
    Mvcc(#[from] MvccError),
    /// An expression failed, or cannot be evaluated here.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The request makes no sense, or asks for what we do not have.
    #[error("{0}")]
    Request(String),
    /// A row or key that does not decode.
    #[error("row of table {table}: {source}")]
    Row { table: i64, source: codec::Error },
    /// The deadline is past.
    #[error("coprocessor deadline exceeded")]
    Deadline,
}

fn unsupported(what: impl std::fmt::Display) -> CopError {
    CopError::Request(format!("the coprocessor does not support {what}"))
}

/// The coprocessor as the service takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DagCoprocessor;

impl crate::server::Coprocessor for DagCoprocessor {
    fn handle(&self, request: &Request, view: &dyn ReadView) -> Response {
        handle(request, view)
    }
}

/// Answers a request from a view at its timestamp, cut to its region.
pub fn handle(request: &Request, view: &dyn ReadView) -> Response {
    let answer = match request.tp {
        REQ_TYPE_DAG => run(request, view).map(|(select, range)| (select.encode_to_vec(), range)),
        REQ_TYPE_ANALYZE => analyze::run(request, view).map(|collected| (collected.encode_to_vec(), None)),
        tp => Err(unsupported(format_args!("requests of type {tp}"))),
    };
    match answer {
        Ok((data, range)) => Response { data, range, ..Response::default() },
        Err(CopError::Mvcc(MvccError::KeyIsLocked(info))) => {
            Response { locked: Some(crate::server::lock_info(*info)), ..Response::default() }
        }
        Err(CopError::Eval(e)) if !matches!(e, EvalError::Unsupported(_) | EvalError::Mismatch { .. }) => {
            let error = tipb::Error { code: e.code().into(), msg: e.to_string() };
            let select = tipb::SelectResponse { error: Some(error), ..Default::default() };
            Response { data: select.encode_to_vec(), ..Response::default() }
        }
        Err(e) => {
            tracing::warn!(error = %e, start_ts = request.start_ts, "coprocessor request refused");
            Response { other_error: e.to_string(), ..Response::default() }
        }
    }
}

fn run(request: &Request, view: &dyn ReadView) -> Result<(tipb::SelectResponse, Option<PbRange>), CopError> {
    let dag =
        tipb::DagRequest::decode(&request.data[..]).map_err(|e| CopError::Request(format!("DAG request: {e}")))?;
    let mut ctx = context(&dag)?;
    let limit_ms = request.context.as_ref().map_or(0, |c| c.max_execution_duration_ms);
    let deadline = Instant::now() + if limit_ms == 0 { DURATION_MAX } else { Duration::from_millis(limit_ms) };

    let Some((first, rest)) = dag.executors.split_first() else {
        return Err(CopError::Request("a DAG request without executors".into()));
    };
    let mut scan = Scan::new(first, request, view)?;
    let (mut pipeline, shifted) = planned(rest, scan.types(), &ctx.time_zone)?;
    let zone = shifted.then(|| ctx.time_zone.clone());
    scan.shift_to(zone.clone());
    let mut out = encode::Output::new(&dag.output_offsets, pipeline.types(), zone)?;
    let paging_size = usize::try_from(request.paging_size).unwrap_or(usize::MAX);
    let mut drained = false;
    while !pipeline.is_done() {
        if Instant::now() >= deadline {
            return Err(CopError::Deadline);
        }
        let Some(batch) = scan.next_batch()? else {
            drained = true;
            break;
        };
        pipeline.push(batch, &mut ctx, &mut |b| out.push(b))?;
        if paging_size > 0 && (out.rows() >= paging_size || out.bytes() >= PAGE_BYTES_MAX) {
            break;
        }
    }
    // Whatever absorbed rows gives its result for this page; a client merges the pages' partial results.
    pipeline.finish(&mut ctx, &mut |b| out.push(b))?;
    let range = (paging_size > 0 && !drained && !pipeline.is_done()).then(|| scan.consumed()).flatten();
    let mut select = out.finish();
    select.warnings =
        ctx.warnings.iter().map(|w| tipb::Error { code: w.code.into(), msg: w.message.clone() }).collect();
    select.warning_count = ctx.warning_count as i64;
    if dag.collect_execution_summaries {
        select.execution_summaries = std::iter::once(scan.summary()).chain(pipeline.summaries()).collect();
        for (summary, executor) in select.execution_summaries.iter_mut().zip(&dag.executors) {
            summary.executor_id = executor.executor_id.clone();
        }
    }
    Ok((select, range))
}

/// The executors above a scan of these types, and whether they need its TIMESTAMP values in the session's zone. In a zone
/// with rules values are shifted only for those who compute with them: a reading that a zone has twice would come back as
/// another moment.
fn planned(
    executors: &[tipb::Executor],
    types: &Arc<[FieldType]>,
    zone: &TimeZone,
) -> Result<(Pipeline, bool), CopError> {
    let of = |in_zone: bool| Pipeline::new(executors, types.clone(), in_zone);
    match zone {
        TimeZone::Fixed(secs) => Ok((of(true)?, *secs != 0)),
        TimeZone::Rules(_) => match of(false) {
            Err(_) if zone.is_known() => Ok((of(true)?, true)),
            unshifted => Ok((unshifted?, false)),
        },
    }
}

/// The statement's context as the request tells it.
fn context(dag: &tipb::DagRequest) -> Result<EvalContext, CopError> {
    let name = dag.time_zone_name.as_str();
    let time_zone = match TimeZone::parse(name) {
        Some(zone) => zone,
        None if name.is_empty() || name.eq_ignore_ascii_case("system") => {
            let secs = i32::try_from(dag.time_zone_offset).ok().filter(|s| s.abs() <= 14 * 3600);
            TimeZone::Fixed(secs.ok_or_else(|| CopError::Request("a time zone offset of over 14 hours".into()))?)
        }
        // Rows of zones that this node does not know travel in UTC; only work on TIMESTAMP values would need the rules.
        None => TimeZone::Rules(Arc::new(UnknownZone(name.into()))),
    };
    let mut ctx = EvalContext::for_select(dag.sql_mode, time_zone, 0);
    ctx.on_truncate = match dag.flags {
        f if f & dag_flags::IGNORE_TRUNCATE != 0 => Severity::Ignore,
        f if f & dag_flags::TRUNCATE_AS_WARNING != 0 => Severity::Warn,
        _ => Severity::Error,
    };
    let writes = dag.flags & (dag_flags::IN_INSERT | dag_flags::IN_UPDATE_OR_DELETE) != 0;
    ctx.on_division_by_zero = match dag.flags {
        f if f & dag_flags::DIVIDED_BY_ZERO_AS_WARNING != 0 || !writes => Severity::Warn,
        _ if dag.sql_mode & query::context::sql_mode::ERROR_FOR_DIVISION_BY_ZERO == 0 => Severity::Ignore,
        _ if ctx.is_strict() => Severity::Error,
        _ => Severity::Warn,
    };
    if dag.max_warning_count > 0 {
        ctx.max_warnings = usize::try_from(dag.max_warning_count).unwrap_or(64).min(1024);
    }
    if dag.max_allowed_packet > 0 {
        ctx.max_allowed_packet = dag.max_allowed_packet;
    }
    Ok(ctx)
}

/// A zone whose rules this node does not have. TIMESTAMP values stay in UTC; a request that computes with them is refused
/// when it is built ([`pipeline::Pipeline::new`]).
#[derive(Debug)]
struct UnknownZone(String);

impl query::context::ZoneRules for UnknownZone {
    fn offset_at(&self, _: i64) -> i32 {
        0
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn is_known(&self) -> bool {
        false
    }
}
