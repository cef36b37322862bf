//! Operators: each gives batches of rows until it has no more.
//!
//! An operator owns what it needs (a snapshot, shared facts of the statement), so a result can be sent while it is
//! computed, and dropping it stops the work. Columns are found by position here: [`Runtime::resolve`] turned
//! numbers into positions when the operator was built.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use async_trait::async_trait;
use codec::datum::{self, Datum};
use codec::types::{FieldType, TypeCode};
use query::batch::{BATCH_ROWS_MAX, Batch, BatchBuilder, datum_at};
use query::expr::Expr;
use sql_base::SqlError;
use sql_planner::optimize::positions;
use sql_planner::plan::{ColId, JoinKind, Plan, Pushed, Scan, SortKey, Subquery, SubqueryKind, TestRows, add_params};

use crate::keys::{key_bytes, key_columns, row_key, sort_keys};
use crate::runtime::{Fixed, Operator, Runtime, Value, filter_batch};
use crate::{aggregate, cte, lateral, rollup, scan, window};

type Input = Box<dyn Operator>;

/// The operator for a plan.
pub fn build(plan: &Plan, rt: &Arc<Runtime>) -> Result<Input, SqlError> {
    let at = |input: &Plan| positions(&input.outputs());
    Ok(match plan {
        Plan::One => Box::new(Fixed::new(vec![Batch::one_empty_row()])),
        Plan::Nothing(_) => Box::new(Fixed::new(Vec::new())),
        Plan::Values { ids, rows } => {
            let types = rt.columns.types(ids);
            let one = Batch::one_empty_row();
            let mut builder = BatchBuilder::new(types, rows.len());
            for row in rows {
                let values = row.iter().map(|e| Ok(datum_at(&rt.column(&rt.settled(e)?, &one)?, 0, e.ty())));
                builder.push(&values.collect::<Result<Vec<_>, SqlError>>()?)?;
            }
            Box::new(Fixed::new(vec![builder.finish()]))
        }
        Plan::Scan(scan) => scan::build(scan, rt)?,
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
            let conditions = rt.resolve_all(conditions, &at(input))?;
            Box::new(Filter { input: build(input, rt)?, conditions, rt: rt.clone() })
        }
        Plan::Project { input, exprs } => {
            let types = rt.columns.types(&plan.outputs());
            let exprs = rt.resolve_all(exprs.iter().map(|e| &e.0), &at(input))?;
            Box::new(Project {
                input: build(input, rt)?,
                exprs,
                types,
                current: None,
                slice: SLICE_ROWS_MIN,
                rt: rt.clone(),
            })
        }
        Plan::Join { kind, left, right, equal, other, lookup } => {
            build_join(*kind, left, right, equal, other, *lookup, rt)?
        }
        // What storage nodes would have done in part is done here as a whole.
        Plan::Aggregate { input, group, aggs, merge: true }
            if let Plan::Scan(scan) = &**input
                && scan::is_local(scan, rt) =>
        {
            let rows = Scan { pushed: Pushed { aggregate: None, ..scan.pushed.clone() }, ..(**scan).clone() };
            aggregate::build(scan::build(&rows, rt)?, &positions(&rows.base_outputs()), group, aggs, false, rt)?
        }
        Plan::Aggregate { input, group, aggs, merge } => {
            aggregate::build(build(input, rt)?, &at(input), group, aggs, *merge, rt)?
        }
        Plan::Window { input, partition, order, calls } => {
            window::build(build(input, rt)?, &input.outputs(), partition, order, calls, rt)?
        }
        Plan::Distinct(input) => {
            let types = rt.columns.types(&input.outputs());
            Box::new(Distinct { input: build(input, rt)?, types, seen: HashSet::new(), rt: rt.clone() })
        }
        Plan::Sort { input, keys, limit } => {
            let at = at(input);
            let keys = keys
                .iter()
                .map(|k| Ok(SortKey { expr: rt.resolve(&k.expr, &at)?, desc: k.desc }))
                .collect::<Result<Vec<_>, SqlError>>()?;
            let types = rt.columns.types(&input.outputs());
            Box::new(Sort { input: Some(build(input, rt)?), keys, limit: *limit, types, sorted: None, rt: rt.clone() })
        }
        Plan::Limit { input, offset, count } => {
            Box::new(Limit { input: build(input, rt)?, skip: *offset, left: *count })
        }
        Plan::Union { inputs, ids } => {
            let types = rt.columns.types(ids);
            let mut list = inputs.iter().map(|i| build(i, rt)).collect::<Result<Vec<_>, _>>()?;
            list.reverse();
            Box::new(Union { inputs: list, types })
        }
        Plan::Expand { input, group, .. } => {
            let keys = rt.resolve_all(group.iter().map(|g| &g.0), &at(input))?;
            rollup::build(build(input, rt)?, keys, rt.columns.types(&plan.outputs()), rt)
        }
        Plan::Recursive(recursive) => cte::build(recursive, build, rt),
        Plan::WorkTable { number, ids, .. } => {
            let types = rt.columns.types(ids);
            let rows = rt.work_table(*number).into_iter();
            Box::new(Fixed::new(rows.map(|b| Batch::new(types.clone(), b.columns().to_vec(), b.num_rows())).collect()))
        }
        Plan::Repeat { input, times } => {
            let times = rt.resolve(times, &at(input))?;
            Box::new(Repeat { input: build(input, rt)?, times, current: None, rt: rt.clone() })
        }
        Plan::Lateral { left, right, outer } => {
            let sides = (build(left, rt)?, left.outputs(), (**right).clone());
            lateral::build(sides, *outer, build, rt.columns.types(&plan.outputs()), rt)
        }
        Plan::Apply { input, subquery } => {
            let inputs = input.outputs();
            let types = rt.columns.types(&plan.outputs());
            Box::new(Apply::new(build(input, rt)?, inputs, (**subquery).clone(), types, rt.clone()))
        }
    })
}

fn build_join(
    kind: JoinKind,
    left: &Plan,
    right: &Plan,
    equal: &[(Expr, Expr)],
    other: &[Expr],
    lookup: Option<usize>,
    rt: &Arc<Runtime>,
) -> Result<Input, SqlError> {
    let (left_ids, right_ids) = (left.outputs(), right.outputs());
    let mut all = left_ids.clone();
    all.extend(&right_ids);
    let left_keys = rt.resolve_all(equal.iter().map(|e| &e.0), &positions(&left_ids))?;
    let right_keys = rt.resolve_all(equal.iter().map(|e| &e.1), &positions(&right_ids))?;
    let right_side = match (lookup, right) {
        (Some(pair), Plan::Scan(_)) if let Expr::Column { index, .. } = &equal[pair].1 => {
            Right::Lookup { plan: Box::new(right.clone()), pair, keys: *index }
        }
        _ => Right::Build(build(right, rt)?),
    };
    Ok(Box::new(Join {
        kind,
        left: build(left, rt)?,
        right: right_side,
        left_keys,
        right_keys,
        other: rt.resolve_all(other, &positions(&all))?,
        right_types: rt.columns.types(&right_ids),
        table: None,
        current: None,
        rt: rt.clone(),
    }))
}

struct Filter {
    input: Input,
    conditions: Vec<Expr>,
    rt: Arc<Runtime>,
}

#[async_trait]
impl Operator for Filter {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while let Some(batch) = self.input.next().await? {
            let (batch, _) = filter_batch(batch, &self.conditions, &self.rt)?;
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
    rt: Arc<Runtime>,
}

/// Rows for which strings are computed at first, and the bytes that those of one batch should have at most:
/// `REPEAT(a, 1000000)` of a thousand rows is never in memory.
const SLICE_ROWS_MIN: usize = 32;
const SLICE_BYTES: usize = 8 << 20;

#[async_trait]
impl Operator for Project {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        let batch = match self.current.take() {
            Some(batch) => batch,
            None => match self.input.next().await? {
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
        let columns = self.exprs.iter().map(|e| self.rt.column(e, &part)).collect::<Result<Vec<_>, _>>()?;
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
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while self.left > 0 {
            let Some(batch) = self.input.next().await? else { return Ok(None) };
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
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while let Some(input) = self.inputs.last_mut() {
            match input.next().await? {
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
    rt: Arc<Runtime>,
}

#[async_trait]
impl Operator for Repeat {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        loop {
            let Some((batch, times, first)) = &mut self.current else {
                let Some(batch) = self.input.next().await? else { return Ok(None) };
                let column = self.rt.column(&self.times, &batch)?;
                let times = (0..batch.num_rows()).map(|row| datum_at(&column, row, self.times.ty()));
                let times = times.map(|d| d.as_i64().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)).collect();
                self.current = Some((batch, times, 0));
                continue;
            };
            self.rt.check_interrupted()?;
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

struct Distinct {
    input: Input,
    types: Arc<[FieldType]>,
    seen: HashSet<Vec<u8>>,
    rt: Arc<Runtime>,
}

#[async_trait]
impl Operator for Distinct {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        while let Some(batch) = self.input.next().await? {
            let columns: Vec<_> = batch.columns().iter().cloned().zip(self.types.iter().cloned()).collect();
            let mut keep = Vec::new();
            for row in 0..batch.num_rows() {
                let key = row_key(&columns, row, true)?.unwrap_or_default();
                let bytes = key.len() + 48;
                if self.seen.insert(key) {
                    self.rt.hold(bytes)?;
                    keep.push(row as u32);
                }
            }
            if !keep.is_empty() {
                return Ok(Some(batch.take(&UInt32Array::from(keep))?));
            }
        }
        Ok(None)
    }
}

/// All rows in order. With a limit only the first rows are kept on the way.
struct Sort {
    input: Option<Input>,
    keys: Vec<SortKey>,
    limit: Option<u64>,
    types: Arc<[FieldType]>,
    sorted: Option<Fixed>,
    rt: Arc<Runtime>,
}

impl Sort {
    async fn sort(&mut self) -> Result<Fixed, SqlError> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let Some(mut input) = self.input.take() else { return Ok(Fixed::new(Vec::new())) };
        let keep = self.limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n < 1 << 20);
        while let Some(batch) = input.next().await? {
            self.rt.hold(batch.data_bytes())?;
            keys.extend(sort_keys(&self.keys, &batch, &self.rt)?);
            batches.push(batch);
            // With a limit, throw away what cannot be among the first rows any more.
            if let Some(n) = keep
                && keys.len() > 4 * n.max(BATCH_ROWS_MAX)
            {
                (batches, keys) = self.order(batches, keys, Some(n))?;
            }
        }
        let (batches, _) = self.order(batches, keys, keep)?;
        let mut out = Vec::new();
        for b in batches {
            let mut start = 0;
            while start < b.num_rows() {
                let n = (b.num_rows() - start).min(BATCH_ROWS_MAX);
                out.push(b.slice(start, n));
                start += n;
            }
        }
        Ok(Fixed::new(out))
    }

    #[allow(clippy::type_complexity)]
    fn order(
        &self,
        batches: Vec<Batch>,
        mut keys: Vec<Vec<u8>>,
        keep: Option<usize>,
    ) -> Result<(Vec<Batch>, Vec<Vec<u8>>), SqlError> {
        let all = Batch::concat(&self.types, &batches)?;
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_by(|a, b| keys[*a as usize].cmp(&keys[*b as usize]));
        order.truncate(keep.unwrap_or(usize::MAX));
        let kept = order.iter().map(|i| std::mem::take(&mut keys[*i as usize])).collect();
        Ok((vec![all.take(&UInt32Array::from(order))?], kept))
    }
}

#[async_trait]
impl Operator for Sort {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        if self.sorted.is_none() {
            self.sorted = Some(self.sort().await?);
        }
        match &mut self.sorted {
            Some(s) => s.next().await,
            None => Ok(None),
        }
    }
}

enum Right {
    /// Read once, into a hash table.
    Build(Input),
    /// Looked up by the values of one key for each batch of left rows.
    Lookup { plan: Box<Plan>, pair: usize, keys: ColId },
}

/// The right side's rows by key.
struct HashTable {
    rows: Batch,
    by_key: HashMap<Vec<u8>, Vec<u32>>,
}

struct Join {
    kind: JoinKind,
    left: Input,
    right: Right,
    left_keys: Vec<Expr>,
    right_keys: Vec<Expr>,
    other: Vec<Expr>,
    right_types: Arc<[FieldType]>,
    table: Option<HashTable>,
    current: Option<LeftRows>,
    rt: Arc<Runtime>,
}

/// Left rows that are being joined, and how far that has come.
struct LeftRows {
    batch: Batch,
    keys: Vec<(ArrayRef, FieldType)>,
    row: usize,
    /// Matches of this row that were paired already, and whether one of the pairs was kept.
    paired: usize,
    matched: bool,
}

/// Pairs that a join makes at once, and their bytes: a product of tables is never in memory, however large it is.
const JOIN_ROWS_MAX: usize = 4 * BATCH_ROWS_MAX;
const JOIN_BYTES: usize = 32 << 20;

impl Join {
    fn hash(&self, batches: Vec<Batch>) -> Result<HashTable, SqlError> {
        let rows = Batch::concat(&self.right_types, &batches)?;
        let columns = key_columns(&self.right_keys, &rows, &self.rt)?;
        let mut by_key: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for row in 0..rows.num_rows() {
            if let Some(key) = row_key(&columns, row, false)? {
                by_key.entry(key).or_default().push(row as u32);
            }
        }
        Ok(HashTable { rows, by_key })
    }

    async fn read_right(&mut self, left: &Batch) -> Result<(), SqlError> {
        let mut batches = Vec::new();
        match &mut self.right {
            Right::Build(input) => {
                if self.table.is_some() {
                    return Ok(());
                }
                while let Some(b) = input.next().await? {
                    self.rt.hold(b.data_bytes())?;
                    batches.push(b);
                }
            }
            Right::Lookup { plan, pair, keys } => {
                let key = &self.left_keys[*pair];
                let values = self.rt.column(key, left)?;
                let mut distinct = HashMap::new();
                for row in 0..left.num_rows() {
                    let d = datum_at(&values, row, key.ty());
                    if !d.is_null() {
                        let mut k = Vec::new();
                        key_bytes(&mut k, &d, key.ty())?;
                        distinct.entry(k).or_insert(d);
                    }
                }
                if distinct.is_empty() {
                    self.table = Some(self.hash(Vec::new())?);
                    return Ok(());
                }
                let list = distinct.into_values().map(|value| Expr::Const { value, ty: key.ty().clone() }).collect();
                self.rt.set_param(*keys, Value::Many { all: false, list: Arc::new(list) });
                let mut input = build(plan, &self.rt)?;
                while let Some(b) = input.next().await? {
                    batches.push(b);
                }
            }
        }
        self.table = Some(self.hash(batches)?);
        Ok(())
    }

    /// The next pairs and the left rows that turned out to have no match.
    fn join(&self, left: &mut LeftRows, table: &HashTable) -> Result<Batch, SqlError> {
        let everything = table.rows.num_rows();
        let batch = &left.batch;
        let row_bytes = |b: &Batch| b.data_bytes() / b.num_rows().max(1);
        let pair_bytes = (row_bytes(batch) + row_bytes(&table.rows)).max(1);
        let pairs_max = (JOIN_BYTES / pair_bytes).clamp(1, JOIN_ROWS_MAX);
        let first = left.row;
        // Where nothing else is asked of a pair, one match is as good as all.
        let one = !self.kind.has_right() && self.other.is_empty();
        let (mut l, mut r): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        // Whether each row from the first on has a kept pair; the first may have had one before.
        let mut matched = vec![left.matched];
        while left.row < batch.num_rows() && l.len() < pairs_max {
            let room = pairs_max - l.len();
            let (skip, before) = (left.paired, r.len());
            let all = if self.left_keys.is_empty() {
                let all = if one { everything.min(1) } else { everything };
                r.extend((skip..all).take(room).map(|i| i as u32));
                all
            } else {
                let matches: &[u32] = match row_key(&left.keys, left.row, false)? {
                    Some(key) => table.by_key.get(&key).map_or(&[], Vec::as_slice),
                    None => &[],
                };
                let matches = if one { &matches[..matches.len().min(1)] } else { matches };
                r.extend(matches[skip..].iter().take(room));
                matches.len()
            };
            let taken = r.len() - before;
            l.extend(std::iter::repeat_n(left.row as u32, taken));
            left.paired += taken;
            if left.paired == all {
                left.row += 1;
                left.paired = 0;
                matched.push(false);
            }
        }
        let pairs = batch.take(&UInt32Array::from(l.clone()))?.zip(&table.rows.take(&UInt32Array::from(r))?);
        let (pairs, kept) = filter_batch(pairs, &self.other, &self.rt)?;
        for (i, row) in l.iter().enumerate() {
            matched[*row as usize - first] |= kept.as_ref().is_none_or(|k| k[i]);
        }
        left.matched = matched.pop().unwrap_or(false);
        if self.kind == JoinKind::Inner {
            return Ok(pairs);
        }
        if !self.kind.has_right() {
            let wanted = self.kind == JoinKind::Semi;
            let rows: Vec<u32> =
                (first..left.row).filter(|row| matched[row - first] == wanted).map(|row| row as u32).collect();
            return Ok(batch.take(&UInt32Array::from(rows))?);
        }
        let lonely: Vec<u32> = (first..left.row).filter(|row| !matched[row - first]).map(|row| row as u32).collect();
        if lonely.is_empty() {
            return Ok(pairs);
        }
        let n = lonely.len();
        let nulls =
            self.right_types.iter().map(|t| query::batch::repeat(&Datum::Null, t, n)).collect::<Result<Vec<_>, _>>()?;
        let nulls = Batch::new(self.right_types.clone(), nulls, n);
        let lonely = batch.take(&UInt32Array::from(lonely))?.zip(&nulls);
        if pairs.is_empty() {
            return Ok(lonely);
        }
        Ok(Batch::concat(&lonely.types().clone(), &[lonely, pairs])?)
    }
}

#[async_trait]
impl Operator for Join {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        loop {
            // Nothing else here may ever wait, and others want to run: KILL, time limits, other sessions.
            tokio::task::yield_now().await;
            if self.current.is_none() {
                let Some(batch) = self.left.next().await? else { return Ok(None) };
                if batch.is_empty() {
                    continue;
                }
                self.read_right(&batch).await?;
                let keys = key_columns(&self.left_keys, &batch, &self.rt)?;
                self.current = Some(LeftRows { batch, keys, row: 0, paired: 0, matched: false });
            }
            let (Some(mut left), Some(table)) = (self.current.take(), &self.table) else { continue };
            if matches!(self.kind, JoinKind::Inner | JoinKind::Semi) && table.rows.is_empty() {
                if matches!(self.right, Right::Build(_)) {
                    return Ok(None);
                }
                continue;
            }
            self.rt.check_interrupted()?;
            let out = self.join(&mut left, table)?;
            if left.row < left.batch.num_rows() {
                self.current = Some(left);
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
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
    /// Its rows, where only the test of them depends on the input.
    rows: Rows,
    types: Arc<[FieldType]>,
    rt: Arc<Runtime>,
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
        types: Arc<[FieldType]>,
        rt: Arc<Runtime>,
    ) -> Self {
        let mut read = HashSet::new();
        subquery.plan.each_expr(&mut |e| add_params(e, &mut read));
        let rows = if inputs.iter().any(|id| read.contains(id)) { Rows::Dependent } else { Rows::Unread };
        if let SubqueryKind::Test { condition, .. } = &subquery.kind {
            add_params(condition, &mut read);
        }
        let used = (0..inputs.len()).filter(|i| read.contains(&inputs[*i])).collect();
        Apply { input, inputs, used, subquery, rows, types, rt }
    }

    /// The answer for the row whose values the parameters have.
    async fn answer(&mut self) -> Result<Datum, SqlError> {
        if matches!(self.rows, Rows::Unread) {
            let mut op = build(&self.subquery.plan, &self.rt)?;
            let mut batches = Vec::new();
            while let Some(b) = op.next().await? {
                self.rt.hold(b.data_bytes())?;
                batches.push(b);
            }
            self.rows = Rows::Known(self.subquery.plan.outputs(), batches);
        }
        let held = self.rt.held();
        let answer = match &self.rows {
            Rows::Known(ids, batches) => {
                answer(&self.subquery.kind, ids, &mut Fixed::new(batches.clone()), &self.rt).await
            }
            _ => run_subquery(&self.subquery, &self.rt).await,
        };
        // What its operators held is gone with them.
        self.rt.release_to(held);
        answer
    }
}

#[async_trait]
impl Operator for Apply {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        let Some(batch) = self.input.next().await? else { return Ok(None) };
        let mut builder = BatchBuilder::new(self.types.clone(), batch.num_rows());
        // Rows with equal outer values have equal answers.
        let mut known: HashMap<Vec<u8>, Datum> = HashMap::new();
        for row in 0..batch.num_rows() {
            self.rt.check_interrupted()?;
            tokio::task::yield_now().await;
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
                        self.rt.set_param(self.inputs[*i], Value::One(values[*i].clone()));
                    }
                    let d = self.answer().await?;
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
pub async fn run_subquery(subquery: &Subquery, rt: &Arc<Runtime>) -> Result<Datum, SqlError> {
    let mut rows = build(&subquery.plan, rt)?;
    answer(&subquery.kind, &subquery.plan.outputs(), &mut *rows, rt).await
}

/// What a subquery's rows answer. No more of them are read than it takes.
async fn answer(kind: &SubqueryKind, ids: &[ColId], rows: &mut dyn Operator, rt: &Runtime) -> Result<Datum, SqlError> {
    match kind {
        SubqueryKind::Exists => {
            while let Some(batch) = rows.next().await? {
                if !batch.is_empty() {
                    return Ok(Datum::Int(1));
                }
            }
            Ok(Datum::Int(0))
        }
        SubqueryKind::Scalar => {
            let mut value = None;
            while let Some(batch) = rows.next().await? {
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
            while let Some(batch) = rows.next().await? {
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
pub async fn list(plan: &Plan, rt: &Arc<Runtime>) -> Result<Vec<Expr>, SqlError> {
    /// What a value takes beside its bytes.
    const VALUE_BYTES: usize = 256;
    let mut op = build(plan, rt)?;
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    while let Some(batch) = op.next().await? {
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
