//! The executors above the scan: each takes a batch and passes what it makes of it to the next.

use std::sync::Arc;
use std::time::Instant;

use codec::types::FieldType;
use proto::tipb::{self, ExecType};
use query::batch::{BATCH_ROWS_MAX, Batch};
use query::context::EvalContext;
use query::eval;
use query::expr::Expr;
use query::ops::{Aggregate, HashAggregator, SortKey, TopN};
use query::pb;

use super::{CopError, unsupported};

/// Rows that a top-n may keep: more is a sort, which is not a storage node's work.
const TOPN_ROWS_MAX: u64 = 1 << 20;
/// Groups that an aggregation may hold before the request is refused.
const GROUPS_MAX: usize = 1 << 22;

/// One executor.
enum Stage {
    Selection(Vec<Expr>),
    Projection(Vec<Expr>, Arc<[FieldType]>),
    /// Absent once it has given its result.
    Aggregation(Option<Box<HashAggregator>>),
    TopN(Option<Box<TopN>>),
    /// Rows still to pass.
    Limit(u64),
}

#[derive(Clone, Copy, Default)]
struct Counters {
    rows: u64,
    iterations: u64,
    ns: u64,
}

/// What takes the result.
pub(super) type Sink<'a> = dyn FnMut(&Batch) -> Result<(), CopError> + 'a;

/// All executors above the scan.
pub(super) struct Pipeline {
    stages: Vec<Stage>,
    counters: Vec<Counters>,
    types: Arc<[FieldType]>,
    done: bool,
}

/// Reads expressions over rows of known types.
struct Reader {
    /// Whether TIMESTAMP values are in the session's zone.
    zone_is_known: bool,
}

impl Reader {
    fn all(&self, list: &[tipb::Expr], input: &[FieldType]) -> Result<Vec<Expr>, CopError> {
        list.iter().map(|e| self.one(e, input)).collect()
    }

    fn one(&self, e: &tipb::Expr, input: &[FieldType]) -> Result<Expr, CopError> {
        self.check(pb::from_pb(e, input)?)
    }

    fn check(&self, e: Expr) -> Result<Expr, CopError> {
        // A column alone is moved, not computed with.
        if !self.zone_is_known && !e.args().is_empty() && pb::uses_timestamp(&e) {
            return Err(unsupported("work on TIMESTAMP values in a time zone with rules"));
        }
        Ok(e)
    }

    fn aggregate(&self, e: &tipb::Expr, input: &[FieldType]) -> Result<Aggregate, CopError> {
        let mut agg = pb::aggregate_from_pb(e, input)?;
        agg.args = agg.args.into_iter().map(|a| self.check(a)).collect::<Result<_, _>>()?;
        Ok(agg)
    }
}

fn missing(name: &str) -> CopError {
    CopError::Request(format!("a {name} without its message"))
}

impl Pipeline {
    /// The executors over rows of these types. `zone_is_known`: TIMESTAMP values are in the session's zone.
    pub(super) fn new(
        executors: &[tipb::Executor],
        input: Arc<[FieldType]>,
        zone_is_known: bool,
    ) -> Result<Pipeline, CopError> {
        let reader = Reader { zone_is_known };
        let mut types = input;
        let mut stages = Vec::with_capacity(executors.len());
        let mut done = false;
        for executor in executors {
            let tp = ExecType::try_from(executor.tp)
                .map_err(|_| unsupported(format_args!("executor type {}", executor.tp)))?;
            stages.push(match tp {
                ExecType::TypeSelection => {
                    let m = executor.selection.as_ref().ok_or_else(|| missing("selection"))?;
                    Stage::Selection(reader.all(&m.conditions, &types)?)
                }
                ExecType::TypeProjection => {
                    let m = executor.projection.as_ref().ok_or_else(|| missing("projection"))?;
                    let exprs = reader.all(&m.exprs, &types)?;
                    types = exprs.iter().map(|e| e.ty().clone()).collect();
                    Stage::Projection(exprs, types.clone())
                }
                // Rows of a group are together in a stream aggregation; grouping by hash gives the same groups.
                ExecType::TypeAggregation | ExecType::TypeStreamAgg => {
                    let m = executor.aggregation.as_ref().ok_or_else(|| missing("aggregation"))?;
                    let aggs = m.agg_func.iter().map(|a| reader.aggregate(a, &types)).collect::<Result<_, _>>()?;
                    let aggregator = HashAggregator::new(reader.all(&m.group_by, &types)?, aggs);
                    types = aggregator.types();
                    Stage::Aggregation(Some(Box::new(aggregator)))
                }
                ExecType::TypeTopN => {
                    let m = executor.top_n.as_ref().ok_or_else(|| missing("top-n"))?;
                    if !m.partition_by.is_empty() {
                        return Err(unsupported("TopN by partitions"));
                    }
                    if m.limit > TOPN_ROWS_MAX {
                        return Err(unsupported(format_args!("TopN of over {TOPN_ROWS_MAX} rows")));
                    }
                    let mut keys = Vec::new();
                    for item in &m.order_by {
                        let expr = item.expr.as_ref().ok_or_else(|| missing("sort expression"))?;
                        keys.push(SortKey { expr: reader.one(expr, &types)?, desc: item.desc });
                    }
                    Stage::TopN(Some(Box::new(TopN::new(keys, m.limit as usize, types.clone()))))
                }
                ExecType::TypeLimit => {
                    let m = executor.limit.as_ref().ok_or_else(|| missing("limit"))?;
                    if !m.partition_by.is_empty() {
                        return Err(unsupported("Limit by partitions"));
                    }
                    done |= m.limit == 0;
                    Stage::Limit(m.limit)
                }
                tp => return Err(unsupported(tp.as_str_name())),
            });
        }
        let counters = vec![Counters::default(); stages.len()];
        Ok(Pipeline { stages, counters, types, done })
    }

    /// Types of the result.
    pub(super) fn types(&self) -> &Arc<[FieldType]> {
        &self.types
    }

    /// Whether no further rows of the scan can change the result.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Takes in rows of the scan.
    pub(super) fn push(&mut self, batch: Batch, ctx: &mut EvalContext, sink: &mut Sink<'_>) -> Result<(), CopError> {
        self.push_from(0, batch, ctx, sink)
    }

    fn push_from(
        &mut self,
        from: usize,
        mut batch: Batch,
        ctx: &mut EvalContext,
        sink: &mut Sink<'_>,
    ) -> Result<(), CopError> {
        let absorbs = |s: &Stage| matches!(s, Stage::Aggregation(_) | Stage::TopN(_));
        for i in from..self.stages.len() {
            if batch.is_empty() {
                return Ok(());
            }
            let started = Instant::now();
            let before_absorbs = !self.stages[..i].iter().any(absorbs);
            match &mut self.stages[i] {
                Stage::Selection(conditions) => batch = eval::filter(conditions, batch, ctx)?,
                Stage::Projection(exprs, types) => batch = eval::project(exprs, types, &batch, ctx)?,
                Stage::Limit(left) => {
                    let rows = usize::try_from(*left).unwrap_or(usize::MAX).min(batch.num_rows());
                    batch = batch.slice(0, rows);
                    *left -= rows as u64;
                    self.done |= *left == 0 && before_absorbs;
                }
                Stage::Aggregation(aggregator) => {
                    if let Some(a) = aggregator {
                        a.push(&batch, ctx)?;
                        if a.len() > GROUPS_MAX {
                            return Err(unsupported(format_args!("over {GROUPS_MAX} groups")));
                        }
                    }
                    self.counters[i].ns += started.elapsed().as_nanos() as u64;
                    return Ok(());
                }
                Stage::TopN(topn) => {
                    if let Some(t) = topn {
                        t.push(&batch, ctx)?;
                    }
                    self.counters[i].ns += started.elapsed().as_nanos() as u64;
                    return Ok(());
                }
            }
            let counters = &mut self.counters[i];
            counters.rows += batch.num_rows() as u64;
            counters.iterations += 1;
            counters.ns += started.elapsed().as_nanos() as u64;
        }
        if batch.is_empty() { Ok(()) } else { sink(&batch) }
    }

    /// Gives what the absorbing executors hold.
    pub(super) fn finish(&mut self, ctx: &mut EvalContext, sink: &mut Sink<'_>) -> Result<(), CopError> {
        for i in 0..self.stages.len() {
            let batches = match &mut self.stages[i] {
                Stage::Aggregation(aggregator) => match aggregator.take() {
                    Some(a) => a.finish()?,
                    None => continue,
                },
                Stage::TopN(topn) => match topn.take() {
                    Some(t) => {
                        let all = t.finish()?;
                        (0..all.num_rows())
                            .step_by(BATCH_ROWS_MAX)
                            .map(|from| all.slice(from, BATCH_ROWS_MAX.min(all.num_rows() - from)))
                            .collect()
                    }
                    None => continue,
                },
                _ => continue,
            };
            for batch in batches {
                self.counters[i].rows += batch.num_rows() as u64;
                self.counters[i].iterations += 1;
                self.push_from(i + 1, batch, ctx, sink)?;
            }
        }
        Ok(())
    }

    /// What each executor did.
    pub(super) fn summaries(&self) -> impl Iterator<Item = tipb::ExecutorExecutionSummary> + '_ {
        self.counters.iter().map(|c| tipb::ExecutorExecutionSummary {
            time_processed_ns: Some(c.ns),
            num_produced_rows: Some(c.rows),
            num_iterations: Some(c.iterations),
            concurrency: Some(1),
            ..Default::default()
        })
    }
}
