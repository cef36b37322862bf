//! Window functions: columns more for each row, computed from the rows around it.
//!
//! ```text
//! input, in the order of the keys     partitions         output
//!  ┌─────┐ ┌─────┐ ┌─────┐            a a a │ b │ c …    the same rows, with the results
//!  │a a a│ │b c c│ │c d d│  ────▶
//!  └─────┘ └─────┘ └─────┘            complete once the next one begins
//! ```
//!
//! Rows are kept until their partition is complete: that is what is in memory, with the results, and both are given back
//! when the rows have gone on. Complete partitions of one batch are computed together, however small they are.
//!
//! Aggregates slide: from one row's frame to the next, rows that come in are added and rows that leave are taken away where
//! the state can forget ([`Sliding`]); where it cannot, only a frame that does not begin where the last one began is computed
//! anew. So the default frame is computed in one pass over the partition.
//!
//! Not here: which rows a frame has ([`crate::frames`]), sorting (the planner puts a Sort below, or an index that has the
//! order).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::ArrayRef;
use async_trait::async_trait;
use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::FieldType;
use query::batch::{BATCH_ROWS_MAX, Batch, ColumnBuilder, datum_at};
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::optimize::positions;
use sql_planner::plan::{AggCall, ColId, Edge, NodeId, SortKey, WindowCall, WindowFunc};

use crate::aggregate::{Rank, State, VALUE_BYTES, bytes_of};
use crate::frames::{Partition, Row};
use crate::keys::{key_columns, row_key};
use crate::runtime::Runtime;
use crate::stream::Operator;

/// Builds the operator over an input with these columns.
pub(crate) fn build(
    input: Box<dyn Operator>,
    inputs: &[ColId],
    partition: &[Expr],
    order: &[SortKey],
    calls: &[(WindowCall, ColId)],
    node: NodeId,
    rt: &mut Runtime,
) -> Result<Box<dyn Operator>, SqlError> {
    let at = positions(inputs);
    let resolved = calls
        .iter()
        .map(|(call, _)| {
            let mut call = call.clone();
            call.try_each_expr(|e| {
                *e = rt.resolve(e, &at)?;
                Ok::<_, SqlError>(())
            })?;
            Ok(call)
        })
        .collect::<Result<Vec<_>, SqlError>>()?;
    let outputs: Vec<ColId> = inputs.iter().copied().chain(calls.iter().map(|c| c.1)).collect();
    Ok(Box::new(Window {
        input: Some(input),
        partition: rt.resolve_all(partition, &at)?,
        order: rt.resolve_all(order.iter().map(|k| &k.expr), &at)?,
        desc: order.first().is_some_and(|k| k.desc),
        calls: resolved,
        input_types: rt.columns.types(inputs),
        types: rt.columns.types(&outputs),
        pending: Vec::new(),
        last_key: None,
        ready: VecDeque::new(),
        held_pending: rt.held_by(node),
        held_ready: rt.held_by(node),
        held_states: rt.held_by(node),
    }))
}

struct Window {
    /// None once it has ended.
    input: Option<Box<dyn Operator>>,
    partition: Vec<Expr>,
    order: Vec<Expr>,
    /// Whether the first key of the order goes downwards.
    desc: bool,
    calls: Vec<WindowCall>,
    input_types: Arc<[FieldType]>,
    types: Arc<[FieldType]>,
    /// Rows of partitions of which the last is not complete, and the key of that one.
    pending: Vec<Batch>,
    last_key: Option<Vec<u8>>,
    /// Rows with results.
    ready: VecDeque<Batch>,
    /// Both, and what states keep while results are computed.
    held_pending: Held,
    held_ready: Held,
    held_states: Held,
}

#[async_trait]
impl Operator for Window {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some(batch));
            }
            self.held_ready.clear();
            let Some(input) = &mut self.input else { return Ok(None) };
            match input.next(rt).await? {
                Some(batch) => self.take_in(batch, rt).await?,
                None => {
                    self.input = None;
                    self.compute(rt).await?;
                }
            }
        }
    }
}

impl Window {
    /// Keeps rows, and computes the partitions that they show to be complete.
    async fn take_in(&mut self, batch: Batch, rt: &mut Runtime) -> Result<(), SqlError> {
        rt.check_interrupted()?;
        if batch.is_empty() {
            return Ok(());
        }
        let keys = key_columns(&self.partition, &batch, rt)?;
        let mut last_begins = None;
        for row in 0..batch.num_rows() {
            let key = row_key(&keys, row, true)?;
            if self.last_key.is_some() && key != self.last_key {
                last_begins = Some(row);
            }
            self.last_key = key;
        }
        let rest = match last_begins {
            None => batch,
            Some(row) => {
                if row > 0 {
                    self.keep(batch.slice(0, row))?;
                }
                self.compute(rt).await?;
                batch.slice(row, batch.num_rows() - row)
            }
        };
        self.keep(rest)
    }

    fn keep(&mut self, batch: Batch) -> Result<(), SqlError> {
        let bytes = batch.data_bytes();
        self.pending.push(batch);
        self.held_pending.grow(bytes)
    }

    /// Computes the rows that are kept: whole partitions, all of them.
    async fn compute(&mut self, rt: &mut Runtime) -> Result<(), SqlError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = Batch::concat(&self.input_types, &std::mem::take(&mut self.pending))?;
        // Counted as of the rows with results from here on.
        self.held_ready.take_over(&mut self.held_pending);
        let partitions = self.partitions(&rows, rt)?;
        let mut columns = rows.columns().to_vec();
        for call in &self.calls {
            let mut column = Column::new(call, &rows, self.desc, &mut self.held_states, rt)?;
            let edges = column.values.as_ref().map_or(0, Values::bytes);
            column.held.grow(edges)?;
            for (first, partition) in &partitions {
                column.compute(*first, partition, rt).await?;
                // What states held is gone with them.
                column.held.shrink_to(edges);
                self.held_ready.grow(column.take_bytes())?;
            }
            columns.push(column.builder.finish());
            self.held_states.clear();
        }
        let all = Batch::new(self.types.clone(), columns, rows.num_rows());
        let mut start = 0;
        while start < all.num_rows() {
            let n = (all.num_rows() - start).min(BATCH_ROWS_MAX);
            self.ready.push_back(all.slice(start, n));
            start += n;
        }
        Ok(())
    }

    /// The partitions of these rows: the first row of each, and what is in it.
    fn partitions(&self, rows: &Batch, rt: &mut Runtime) -> Result<Vec<(usize, Partition)>, SqlError> {
        let mut begins = |exprs: &[Expr]| -> Result<Vec<bool>, SqlError> {
            let columns = key_columns(exprs, rows, rt)?;
            let mut last = None;
            (0..rows.num_rows())
                .map(|row| {
                    let key = row_key(&columns, row, true)?;
                    Ok(std::mem::replace(&mut last, key.clone()) != key)
                })
                .collect()
        };
        let (partition_begins, peers_begin) = (begins(&self.partition)?, begins(&self.order)?);
        let mut firsts: Vec<usize> = (0..rows.num_rows()).filter(|row| *row == 0 || partition_begins[*row]).collect();
        firsts.push(rows.num_rows());
        let partition = |ends: &[usize]| {
            let first = ends[0];
            (first, Partition::new(ends[1] - first, |row| peers_begin[first + row]))
        };
        Ok(firsts.windows(2).map(partition).collect())
    }
}

/// A call's results, while they are computed.
struct Column<'a> {
    call: &'a WindowCall,
    args: Vec<(ArrayRef, FieldType)>,
    /// Where edges of the frame count in values.
    values: Option<Values>,
    builder: ColumnBuilder,
    /// Bytes of the results since somebody asked.
    bytes: usize,
    pace: Pace,
    /// What states keep.
    held: &'a mut Held,
}

impl<'a> Column<'a> {
    fn new(
        call: &'a WindowCall,
        rows: &Batch,
        desc: bool,
        held: &'a mut Held,
        rt: &mut Runtime,
    ) -> Result<Column<'a>, SqlError> {
        let args = match &call.func {
            WindowFunc::Aggregate(agg) => &agg.args,
            _ => &call.args,
        };
        Ok(Column {
            call,
            args: key_columns(args, rows, rt)?,
            values: Values::new(call, rows, desc, rt)?,
            builder: ColumnBuilder::new(&call.ty, rows.num_rows()),
            bytes: 0,
            pace: Pace { steps: 0 },
            held,
        })
    }

    fn take_bytes(&mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }

    fn push(&mut self, value: &Datum) -> Result<(), SqlError> {
        self.bytes += match value {
            Datum::Bytes(_) | Datum::Json(_) => bytes_of(value),
            _ => size_of::<u64>(),
        };
        if self.bytes > BYTES_UNCOUNTED {
            // Too much of one partition to be counted at its end: the limit must be noticed before.
            self.held.grow(self.bytes)?;
            self.held.shrink(self.bytes);
        }
        Ok(self.builder.push(value)?)
    }

    /// The results for a partition.
    async fn compute(&mut self, first: usize, partition: &Partition, rt: &mut Runtime) -> Result<(), SqlError> {
        let call = self.call;
        match &call.func {
            WindowFunc::Aggregate(agg) => self.aggregate(agg, first, partition, rt).await,
            _ => {
                for row in partition.rows() {
                    self.pace.step(rt).await?;
                    let value = self.of_row(first, &row);
                    self.push(&value)?;
                }
                Ok(())
            }
        }
    }

    /// The value of a function that is no aggregate.
    fn of_row(&self, first: usize, row: &Row) -> Datum {
        let at = |argument: usize, row: usize| {
            let (column, ty) = &self.args[argument];
            datum_at(column, first + row, ty)
        };
        let shifted = |other: Option<usize>| match other {
            Some(other) => at(0, other),
            None if self.args.len() > 1 => at(1, row.number),
            None => Datum::Null,
        };
        let in_frame = |pick: &dyn Fn(Range<usize>) -> Option<usize>| {
            let frame = self.frame(first, row);
            pick(frame).map_or(Datum::Null, |other| at(0, other))
        };
        match &self.call.func {
            WindowFunc::RowNumber => Datum::UInt(row.number as u64 + 1),
            WindowFunc::Rank => Datum::UInt(row.rank()),
            WindowFunc::DenseRank => Datum::UInt(row.group as u64 + 1),
            WindowFunc::PercentRank => Datum::Float(row.percent_rank()),
            WindowFunc::CumeDist => Datum::Float(row.cume_dist()),
            WindowFunc::Ntile(parts) => Datum::UInt(row.ntile(*parts)),
            WindowFunc::Lag(n) => shifted(row.before(*n)),
            WindowFunc::Lead(n) => shifted(row.after(*n)),
            WindowFunc::FirstValue => in_frame(&|mut frame| frame.next()),
            WindowFunc::LastValue => in_frame(&|mut frame| frame.next_back()),
            WindowFunc::NthValue(n) => in_frame(&|mut frame| frame.nth(usize::try_from(n - 1).ok()?)),
            WindowFunc::Aggregate(_) => Datum::Null,
        }
    }

    /// A row's frame.
    fn frame(&self, first: usize, row: &Row) -> Range<usize> {
        let frame = &self.call.frame;
        let start = row.start(frame.units, &frame.start, || match &self.values {
            Some(values) => values.start(first, row),
            None => row.peers.start,
        });
        let end = row.end(frame.units, &frame.end, || match &self.values {
            Some(values) => values.end(first, row),
            None => row.peers.end,
        });
        start..end.max(start)
    }

    async fn aggregate(
        &mut self,
        call: &AggCall,
        first: usize,
        partition: &Partition,
        rt: &mut Runtime,
    ) -> Result<(), SqlError> {
        let mut sliding = Sliding::new(call);
        let held = self.held.bytes();
        let mut now = 0..0;
        let mut value = sliding.value(call, rt)?;
        for row in partition.rows() {
            self.pace.step(rt).await?;
            let frame = self.frame(first, &row);
            if frame != now {
                let forgets = sliding.forgets() && frame.start <= now.end;
                if frame.start != now.start && !forgets || frame.start < now.start || frame.end < now.end {
                    sliding = Sliding::new(call);
                    self.held.shrink_to(held);
                    now = frame.start..frame.start;
                }
                for leaving in now.start..frame.start {
                    self.pace.step(rt).await?;
                    sliding.forget(leaving, &self.arguments(first + leaving), self.held)?;
                }
                for coming in now.end..frame.end {
                    self.pace.step(rt).await?;
                    sliding.add(coming, call, &self.arguments(first + coming), self.held)?;
                }
                value = sliding.value(call, rt)?;
                now = frame;
            }
            self.push(&value)?;
        }
        Ok(())
    }

    fn arguments(&self, row: usize) -> Vec<Datum> {
        self.args.iter().map(|(column, ty)| datum_at(column, row, ty)).collect()
    }
}

/// Results of a partition that are counted only when it is done.
const BYTES_UNCOUNTED: usize = 1 << 20;

/// Counts steps, and now and then lets others run and looks whether the statement was killed.
struct Pace {
    steps: usize,
}

impl Pace {
    /// Steps without a look around: some hundred microseconds.
    const STEPS: usize = 4096;

    async fn step(&mut self, rt: &Runtime) -> Result<(), SqlError> {
        self.steps += 1;
        if self.steps.is_multiple_of(Self::STEPS) {
            rt.pause().await?;
        }
        Ok(())
    }
}

/// What edges that count in values compare, for each row, as sortable bytes.
struct Values {
    keys: Vec<Vec<u8>>,
    /// Whether a row has a key.
    known: Vec<bool>,
    start: Vec<Vec<u8>>,
    end: Vec<Vec<u8>>,
    desc: bool,
}

impl Values {
    fn new(call: &WindowCall, rows: &Batch, desc: bool, rt: &mut Runtime) -> Result<Option<Values>, SqlError> {
        /// Between NULL and all values, and beyond all values.
        const LEAST: &[u8] = &[codec::datum::flag::NIL, u8::MAX];
        const GREATEST: &[u8] = &[u8::MAX];
        let Some(key) = &call.frame.key else { return Ok(None) };
        let mut bytes = |e: &Expr| -> Result<(ArrayRef, Vec<Vec<u8>>), SqlError> {
            let columns = key_columns(std::slice::from_ref(e), rows, rt)?;
            let keys = (0..rows.num_rows()).map(|row| Ok(row_key(&columns, row, true)?.unwrap_or_default()));
            let keys = keys.collect::<Result<Vec<_>, SqlError>>()?;
            Ok((columns[0].0.clone(), keys))
        };
        let (column, keys) = bytes(key)?;
        let known: Vec<bool> = (0..rows.num_rows()).map(|row| arrow_array::Array::is_valid(&column, row)).collect();
        let mut edge = |e: &Edge| -> Result<Vec<Vec<u8>>, SqlError> {
            let Edge::Value { value, preceding, .. } = e else { return Ok(Vec::new()) };
            let (column, mut values) = bytes(value)?;
            for (row, bytes) in values.iter_mut().enumerate() {
                if known[row] && arrow_array::Array::is_null(&column, row) {
                    // There is no such value, because it would be beyond all.
                    *bytes = if *preceding == desc { GREATEST } else { LEAST }.to_vec();
                }
            }
            Ok(values)
        };
        let (start, end) = (edge(&call.frame.start)?, edge(&call.frame.end)?);
        Ok(Some(Values { keys, known, start, end, desc }))
    }

    /// What it takes, roughly.
    fn bytes(&self) -> usize {
        self.keys.iter().chain(&self.start).chain(&self.end).map(|key| key.len() + size_of::<Vec<u8>>()).sum()
    }

    /// The first row of the partition at or after the start edge of a row.
    fn start(&self, first: usize, row: &Row) -> usize {
        if !self.known[first + row.number] {
            return row.peers.start;
        }
        let edge = &self.start[first + row.number];
        let keys = &self.keys[first..first + row.rows];
        keys.partition_point(|key| if self.desc { key > edge } else { key < edge })
    }

    /// The first row of the partition after the end edge of a row.
    fn end(&self, first: usize, row: &Row) -> usize {
        if !self.known[first + row.number] {
            return row.peers.end;
        }
        let edge = &self.end[first + row.number];
        let keys = &self.keys[first..first + row.rows];
        keys.partition_point(|key| if self.desc { key >= edge } else { key <= edge })
    }
}

/// The state of an aggregate over a frame that moves on.
enum Sliding {
    /// COUNT: values that are not NULL; all rows where there is no argument.
    Count(i64),
    /// SUM of exact numbers: how many, and their sum.
    Sum(i64, Decimal),
    /// MIN, or MAX when true: rows of which each is beaten by none behind it, the best first.
    Best(bool, VecDeque<(usize, Rank, Datum)>),
    /// What cannot forget.
    Growing(Box<State>),
}

impl Sliding {
    fn new(call: &AggCall) -> Sliding {
        match call.name.as_str() {
            "count" => Sliding::Count(0),
            "sum" if !call.ty.tp.is_float() => Sliding::Sum(0, Decimal::ZERO),
            "min" | "max" => Sliding::Best(call.name == "max", VecDeque::new()),
            _ => Sliding::Growing(Box::new(State::new(call))),
        }
    }

    /// Whether rows can leave.
    fn forgets(&self) -> bool {
        !matches!(self, Sliding::Growing(_))
    }

    fn add(&mut self, row: usize, call: &AggCall, args: &[Datum], held: &mut Held) -> Result<(), SqlError> {
        match self {
            Sliding::Growing(state) => return state.add(call, args, &[], held),
            _ if args.iter().any(Datum::is_null) => {}
            Sliding::Count(n) => *n += 1,
            Sliding::Sum(n, sum) => {
                if let Datum::Decimal(d) = &args[0] {
                    *n += 1;
                    *sum = sum.add(d).map_err(|_| overflow(call))?;
                }
            }
            Sliding::Best(largest, rows) => {
                let rank = Rank::of(&args[0], call)?;
                while rows.back().is_some_and(|(_, old, _)| rank.beats(old, *largest)) {
                    rows.pop_back();
                    held.shrink(VALUE_BYTES);
                }
                held.grow(VALUE_BYTES)?;
                rows.push_back((row, rank, args[0].clone()));
            }
        }
        Ok(())
    }

    /// Takes the first row of the frame away.
    fn forget(&mut self, row: usize, args: &[Datum], held: &mut Held) -> Result<(), SqlError> {
        match self {
            _ if args.iter().any(Datum::is_null) => {}
            Sliding::Count(n) => *n -= 1,
            Sliding::Sum(n, sum) => {
                if let Datum::Decimal(d) = &args[0] {
                    *n -= 1;
                    *sum = sum.sub(d).map_err(|e| SqlError::internal("sum of a frame", e))?;
                }
            }
            Sliding::Best(_, rows) => {
                if rows.front().is_some_and(|(first, ..)| *first == row) {
                    rows.pop_front();
                    held.shrink(VALUE_BYTES);
                }
            }
            Sliding::Growing(_) => return Err(SqlError::internal("window", "this aggregate forgets nothing")),
        }
        Ok(())
    }

    fn value(&self, call: &AggCall, rt: &mut Runtime) -> Result<Datum, SqlError> {
        Ok(match self {
            Sliding::Count(n) => Datum::Int(*n),
            Sliding::Sum(0, _) => Datum::Null,
            Sliding::Sum(_, sum) => Datum::Decimal(sum.round(call.ty.decimal)),
            Sliding::Best(_, rows) => rows.front().map_or(Datum::Null, |(_, _, value)| value.clone()),
            Sliding::Growing(state) => return state.as_ref().clone().finish(call, rt),
        })
    }
}

fn overflow(call: &AggCall) -> SqlError {
    SqlError::OutOfRange { kind: "DECIMAL".into(), expr: call.name.clone() }
}
