//! Operators: each gives batches of rows until it has no more.
//!
//! An operator owns what it needs (a snapshot, shared facts of the statement), so a result can be sent while it is
//! computed, and dropping it stops the work. Columns are found by position here: [`Runtime::resolve`] turned
//! numbers into positions when the operator was built.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{Array, UInt32Array};
use async_trait::async_trait;
use codec::datum::{self, Datum};
use codec::types::{FieldType, TypeCode};
use query::batch::{BATCH_ROWS_MAX, Batch, BatchBuilder, datum_at};
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::optimize::positions;
use sql_planner::plan::{
    ColId, JoinWay, NodeId, Plan, Pushed, Scan, SortKey, Subquery, SubqueryKind, TestRows, add_params,
};

use crate::keys::key_bytes;
use crate::runtime::{Runtime, Value, filter_batch};
use crate::stream::{Fixed, Measured, Operator};
use crate::{aggregate, cte, distinct, join, lateral, rollup, scan, shared, sort, window};

type Input = Box<dyn Operator>;

/// The operator for a plan whose node has this number.
pub fn build(plan: &Plan, at: NodeId, rt: &mut Runtime) -> Result<Input, SqlError> {
    let operator = make(plan, at, rt)?;
    Ok(match &rt.meters {
        Some(meters) => Box::new(Measured { operator, meters: meters.clone(), at }),
        None => operator,
    })
}

fn make(plan: &Plan, at: NodeId, rt: &mut Runtime) -> Result<Input, SqlError> {
    let places = |input: &Plan| positions(&input.outputs());
    // Only who measures needs the numbers of nodes.
    let measured = rt.meters.is_some();
    let below = |n: usize| if measured { at.below(plan, n) } else { at };
    let input_of = |input: &Plan, rt: &mut Runtime| build(input, below(0), rt);
    Ok(match plan {
        Plan::One => Box::new(Fixed::new(vec![Batch::one_empty_row()])),
        Plan::Nothing(_) => Box::new(Fixed::new(Vec::new())),
        Plan::Values { ids, rows } => {
            let types = rt.columns.types(ids);
            let one = Batch::one_empty_row();
            let mut builder = BatchBuilder::new(types, rows.len());
            for row in rows {
                let values = row.iter().map(|e| {
                    let settled = rt.settled(e)?;
                    Ok(datum_at(&rt.column(&settled, &one)?, 0, e.ty()))
                });
                builder.push(&values.collect::<Result<Vec<_>, SqlError>>()?)?;
            }
            Box::new(Fixed::new(vec![builder.finish()]))
        }
        Plan::Scan(scan) => scan::build(scan, at, rt)?,
        Plan::Memory { table, database, columns } => {
            let rows = rt.memory.get(&(database.to_lowercase(), table.name.lower.clone())).cloned().unwrap_or_default();
            let types = rt.columns.types(&columns.iter().map(|c| c.1).collect::<Vec<_>>());
            let mut builder = BatchBuilder::new(types, rows.len());
            for row in rows.iter() {
                let values: Vec<Datum> =
                    columns.iter().map(|(o, _)| row.get(*o).cloned().unwrap_or_default()).collect();
                builder.push(&values)?;
            }
            Box::new(Fixed::new(vec![builder.finish()]))
        }
        Plan::Filter { input, conditions } => {
            let conditions = rt.resolve_all(conditions, &places(input))?;
            Box::new(Filter { input: input_of(input, rt)?, conditions })
        }
        Plan::Project { input, exprs } => {
            let types = rt.columns.types(&plan.outputs());
            let exprs = rt.resolve_all(exprs.iter().map(|e| &e.0), &places(input))?;
            Box::new(Project { input: input_of(input, rt)?, exprs, types, current: None, slice: SLICE_ROWS_MIN })
        }
        Plan::Join { kind, left, right, equal, other, way } => {
            let (left_ids, right_ids) = (left.outputs(), right.outputs());
            let mut all = left_ids.clone();
            all.extend(&right_ids);
            let spec = join::Spec {
                kind: *kind,
                left_keys: rt.resolve_all(equal.iter().map(|e| &e.0), &positions(&left_ids))?,
                right_keys: rt.resolve_all(equal.iter().map(|e| &e.1), &positions(&right_ids))?,
                other: rt.resolve_all(other, &positions(&all))?,
                left_types: rt.columns.types(&left_ids),
                right_types: rt.columns.types(&right_ids),
            };
            let right_side = match (way, &**right) {
                (JoinWay::Lookup(pair), plan @ Plan::Scan(_)) if let Expr::Column { index, .. } = &equal[*pair].1 => {
                    let (plan, at) = (plan.clone(), below(1));
                    join::Right::Lookup(join::Lookup { plan, at, pair: *pair, keys: *index, build })
                }
                (JoinWay::Merge, right) => join::Right::Sorted(join::Sorted::new(build(right, below(1), rt)?)),
                (_, right) => join::Right::Build(build(right, below(1), rt)?),
            };
            join::build(spec, input_of(left, rt)?, right_side, at, rt)
        }
        // What storage nodes would have done in part is done here as a whole.
        Plan::Aggregate { input, group, aggs, merge: true }
            if let Plan::Scan(scan) = &**input
                && scan::is_local(scan, rt) =>
        {
            let rows = Scan { pushed: Pushed { aggregate: None, ..scan.pushed.clone() }, ..(**scan).clone() };
            let input = build(&Plan::Scan(Box::new(rows.clone())), below(0), rt)?;
            aggregate::build(input, &positions(&rows.base_outputs()), group, aggs, false, at, rt)?
        }
        Plan::Aggregate { input, group, aggs, merge } => {
            aggregate::build(input_of(input, rt)?, &places(input), group, aggs, *merge, at, rt)?
        }
        Plan::Window { input, partition, order, calls } => {
            window::build(input_of(input, rt)?, &input.outputs(), partition, order, calls, at, rt)?
        }
        Plan::Distinct(input) => distinct::build(input_of(input, rt)?, rt.columns.types(&input.outputs()), at, rt),
        Plan::Sort { input, keys, limit } => {
            let places = places(input);
            let keys = keys
                .iter()
                .map(|k| Ok(SortKey { expr: rt.resolve(&k.expr, &places)?, desc: k.desc }))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let types = rt.columns.types(&input.outputs());
            sort::build(input_of(input, rt)?, keys, *limit, types, at, rt)
        }
        Plan::Limit { input, offset, count } => {
            Box::new(Limit { input: input_of(input, rt)?, skip: *offset, left: *count })
        }
        Plan::Union { inputs, ids } => {
            let types = rt.columns.types(ids);
            let inputs = inputs.iter().enumerate();
            let mut list = inputs.map(|(n, input)| build(input, below(n), rt)).collect::<Result<Vec<_>, _>>()?;
            list.reverse();
            Box::new(Union { inputs: list, types })
        }
        Plan::Expand { input, group, .. } => {
            let keys = rt.resolve_all(group.iter().map(|g| &g.0), &places(input))?;
            Box::new(rollup::Expand::new(input_of(input, rt)?, keys, rt.columns.types(&plan.outputs())))
        }
        Plan::Recursive(recursive) => {
            let inputs_at = (0..recursive.inputs.len()).map(below).collect();
            cte::build(recursive, inputs_at, build, at, rt)
        }
        Plan::Cte(cte) => shared::build(cte.number, rt.columns.types(&cte.ids), build),
        Plan::WorkTable { number, ids, .. } => {
            let types = rt.columns.types(ids);
            let rows = rt.work_table(*number).into_iter();
            Box::new(Fixed::new(rows.map(|b| Batch::new(types.clone(), b.columns().to_vec(), b.num_rows())).collect()))
        }
        Plan::Repeat { input, times } => {
            let times = rt.resolve(times, &places(input))?;
            Box::new(Repeat { input: input_of(input, rt)?, times, current: None })
        }
        Plan::Lateral { left, right, outer } => {
            let sides = (input_of(left, rt)?, left.outputs(), (**right).clone(), below(1));
            lateral::build(sides, *outer, at, build, rt.columns.types(&plan.outputs()), rt)
        }
        Plan::Apply { input, subquery } => {
            let inputs = input.outputs();
            let types = rt.columns.types(&plan.outputs());
            Box::new(Apply::new(input_of(input, rt)?, inputs, (**subquery).clone(), (at, below(1)), types, rt))
        }
    })
}

struct Filter {
    input: Input,
    conditions: Vec<Expr>,
}

#[async_trait]
impl Operator for Filter {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while let Some(batch) = self.input.next(rt).await? {
            let (batch, _) = filter_batch(batch, &self.conditions, rt)?;
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

struct Project {
    input: Input,
    exprs: Vec<Expr>,
    types: Arc<[FieldType]>,
    /// Rows of the input that are still to be computed.
    current: Option<Batch>,
    /// How many of them at once.
    slice: usize,
}

/// Rows for which strings are computed at first, and the bytes that those of one batch should have at most:
/// `REPEAT(a, 1000000)` of a thousand rows is never in memory.
const SLICE_ROWS_MIN: usize = 32;
const SLICE_BYTES: usize = 8 << 20;

#[async_trait]
impl Operator for Project {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let batch = match self.current.take() {
            Some(batch) => batch,
            None => match self.input.next(rt).await? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let computed =
            |e: &&Expr| !matches!(e, Expr::Column { .. }) && (e.ty().tp.is_string() || e.ty().tp == TypeCode::Json);
        let rows = match self.exprs.iter().any(|e| computed(&e)) {
            true => self.slice.min(batch.num_rows()),
            false => batch.num_rows(),
        };
        let part = if rows < batch.num_rows() { batch.slice(0, rows) } else { batch.clone() };
        let columns = self.exprs.iter().map(|e| rt.column(e, &part)).collect::<Result<Vec<_>, _>>()?;
        let out = Batch::new(self.types.clone(), columns, rows);
        if rows < batch.num_rows() {
            self.current = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        if let Some(bytes) = out.data_bytes().checked_div(rows) {
            self.slice = (SLICE_BYTES / bytes.max(1)).clamp(1, self.slice * 8);
        }
        Ok(Some(out))
    }
}

struct Limit {
    input: Input,
    skip: u64,
    left: u64,
}

#[async_trait]
impl Operator for Limit {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while self.left > 0 {
            let Some(batch) = self.input.next(rt).await? else { return Ok(None) };
            let rows = batch.num_rows() as u64;
            if rows <= self.skip {
                self.skip -= rows;
                continue;
            }
            let start = std::mem::take(&mut self.skip);
            let count = (rows - start).min(self.left);
            self.left -= count;
            return Ok(Some(batch.slice(start as usize, count as usize)));
        }
        Ok(None)
    }
}

struct Union {
    inputs: Vec<Input>,
    types: Arc<[FieldType]>,
}

#[async_trait]
impl Operator for Union {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        while let Some(input) = self.inputs.last_mut() {
            match input.next(rt).await? {
                Some(batch) => {
                    return Ok(Some(Batch::new(self.types.clone(), batch.columns().to_vec(), batch.num_rows())));
                }
                None => drop(self.inputs.pop()),
            }
        }
        Ok(None)
    }
}

/// Each row as often as it says.
struct Repeat {
    input: Input,
    times: Expr,
    /// Rows, how often each is still to be given, and the first for which that is not zero.
    current: Option<(Batch, Vec<u64>, usize)>,
}

#[async_trait]
impl Operator for Repeat {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            let Some((batch, times, first)) = &mut self.current else {
                let Some(batch) = self.input.next(rt).await? else { return Ok(None) };
                let column = rt.column(&self.times, &batch)?;
                let times = (0..batch.num_rows()).map(|row| datum_at(&column, row, self.times.ty()));
                let times = times.map(|d| d.as_i64().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)).collect();
                self.current = Some((batch, times, 0));
                continue;
            };
            rt.check_interrupted()?;
            let mut rows = Vec::new();
            while *first < times.len() && rows.len() < BATCH_ROWS_MAX {
                let n = times[*first].min((BATCH_ROWS_MAX - rows.len()) as u64);
                rows.extend(std::iter::repeat_n(*first as u32, n as usize));
                times[*first] -= n;
                if times[*first] == 0 {
                    *first += 1;
                }
            }
            if rows.is_empty() {
                self.current = None;
                continue;
            }
            return Ok(Some(batch.take(&UInt32Array::from(rows))?));
        }
    }
}

/// Runs a subquery for each row.
struct Apply {
    input: Input,
    inputs: Vec<ColId>,
    /// Positions of the input that the subquery reads.
    used: Vec<usize>,
    subquery: Subquery,
    subquery_at: NodeId,
    /// Its rows, where only the test of them depends on the input.
    rows: Rows,
    /// Those rows.
    held: Held,
    types: Arc<[FieldType]>,
}

/// A subquery's rows.
enum Rows {
    /// Other ones for each row of the input.
    Dependent,
    /// The same for all; not read yet.
    Unread,
    /// Read.
    Known(Vec<ColId>, Vec<Batch>),
}

impl Apply {
    fn new(
        input: Input,
        inputs: Vec<ColId>,
        mut subquery: Subquery,
        (at, subquery_at): (NodeId, NodeId),
        types: Arc<[FieldType]>,
        rt: &Runtime,
    ) -> Self {
        let mut read = HashSet::new();
        subquery.plan.each_expr(&mut |e| add_params(e, &mut read));
        let rows = if inputs.iter().any(|id| read.contains(id)) { Rows::Dependent } else { Rows::Unread };
        if let SubqueryKind::Test { condition, .. } = &subquery.kind {
            add_params(condition, &mut read);
        }
        let used = (0..inputs.len()).filter(|i| read.contains(&inputs[*i])).collect();
        Apply { input, inputs, used, subquery, subquery_at, rows, held: rt.held_by(at), types }
    }

    /// The answer for the row whose values the parameters have.
    async fn answer(&mut self, rt: &mut Runtime) -> Result<Datum, SqlError> {
        if matches!(self.rows, Rows::Unread) {
            let mut op = build(&self.subquery.plan, self.subquery_at, rt)?;
            let mut batches = Vec::new();
            while let Some(b) = op.next(rt).await? {
                self.held.grow(b.data_bytes())?;
                batches.push(b);
            }
            self.rows = Rows::Known(self.subquery.plan.outputs(), batches);
        }
        match &self.rows {
            Rows::Known(ids, batches) => answer(&self.subquery.kind, ids, &mut Fixed::new(batches.clone()), rt).await,
            _ => run_subquery(&self.subquery, self.subquery_at, rt).await,
        }
    }
}

#[async_trait]
impl Operator for Apply {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let Some(batch) = self.input.next(rt).await? else { return Ok(None) };
        let mut builder = BatchBuilder::new(self.types.clone(), batch.num_rows());
        // Rows with equal outer values have equal answers.
        let mut known: HashMap<Vec<u8>, Datum> = HashMap::new();
        for row in 0..batch.num_rows() {
            rt.pause().await?;
            let mut values = batch.row(row);
            let mut key = Vec::new();
            for i in &self.used {
                match &values[*i] {
                    Datum::Json(json) => key.extend(format!("{json:?},").into_bytes()),
                    d => datum::encode_key(&mut key, d, None).map_err(sql_catalog::row::damaged)?,
                }
            }
            let answer = match known.get(&key) {
                Some(d) => d.clone(),
                None => {
                    for i in &self.used {
                        rt.set_param(self.inputs[*i], Value::One(values[*i].clone()));
                    }
                    let d = self.answer(rt).await?;
                    known.insert(key, d.clone());
                    d
                }
            };
            values.push(answer);
            builder.push(&values)?;
        }
        Ok(Some(builder.finish()))
    }
}

/// The value of a subquery. What it reads of rows around it, parameters say.
pub async fn run_subquery(subquery: &Subquery, at: NodeId, rt: &mut Runtime) -> Result<Datum, SqlError> {
    let mut rows = build(&subquery.plan, at, rt)?;
    answer(&subquery.kind, &subquery.plan.outputs(), &mut *rows, rt).await
}

/// What a subquery's rows answer. No more of them are read than it takes.
async fn answer(
    kind: &SubqueryKind,
    ids: &[ColId],
    rows: &mut dyn Operator,
    rt: &mut Runtime,
) -> Result<Datum, SqlError> {
    match kind {
        SubqueryKind::Exists => {
            while let Some(batch) = rows.next(rt).await? {
                if !batch.is_empty() {
                    return Ok(Datum::Int(1));
                }
            }
            Ok(Datum::Int(0))
        }
        SubqueryKind::Scalar => {
            let mut value = None;
            while let Some(batch) = rows.next(rt).await? {
                for row in 0..batch.num_rows() {
                    if value.replace(batch.datum(row, 0)).is_some() {
                        return Err(SqlError::SubqueryManyRows);
                    }
                }
            }
            Ok(value.unwrap_or_default())
        }
        SubqueryKind::Test { condition, rows: which } => {
            let condition = rt.resolve(condition, &positions(ids))?;
            // What decides for all rows, whatever the others say.
            let decisive = match which {
                TestRows::One => None,
                TestRows::Any => Some(true),
                TestRows::All => Some(false),
            };
            let (mut seen, mut last, mut unknown) = (0_usize, None, false);
            while let Some(batch) = rows.next(rt).await? {
                rt.check_interrupted()?;
                let truth = rt.eval(|cx| query::eval::eval_truth(&condition, &batch, cx))?;
                for row in 0..batch.num_rows() {
                    seen += 1;
                    last = truth.is_valid(row).then(|| truth.value(row));
                    unknown |= last.is_none();
                    if last.is_some() && last == decisive {
                        return Ok(Datum::Int(i64::from(last == Some(true))));
                    }
                }
                if decisive.is_none() && seen > 1 {
                    return Err(SqlError::SubqueryManyRows);
                }
            }
            let truth = match decisive {
                None => last,
                Some(_) if unknown => None,
                Some(decisive) => Some(!decisive),
            };
            Ok(truth.map_or(Datum::Null, |truth| Datum::Int(i64::from(truth))))
        }
        SubqueryKind::List { .. } => Err(SqlError::internal("subquery", "a list of values is not one value")),
    }
}

/// The values of the one column of a plan, each once, as constants.
pub async fn list(plan: &Plan, at: NodeId, rt: &mut Runtime) -> Result<Vec<Expr>, SqlError> {
    /// What a value takes beside its bytes.
    const VALUE_BYTES: usize = 256;
    let mut op = build(plan, at, rt)?;
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    while let Some(batch) = op.next(rt).await? {
        rt.check_interrupted()?;
        let ty = &batch.types()[0];
        for row in 0..batch.num_rows() {
            let value = batch.datum(row, 0);
            let mut key = Vec::new();
            if ty.tp != TypeCode::Json && key_bytes(&mut key, &value, ty).is_ok() && !seen.insert(key) {
                continue;
            }
            rt.hold(VALUE_BYTES)?;
            out.push(Expr::Const { value, ty: ty.clone() });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
