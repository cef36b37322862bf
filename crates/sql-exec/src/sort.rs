//! Rows in order.
//!
//! ```text
//!   input ─▶ waiting ─ RUN_ROWS of them ─▶ a run, sorted ─┐
//!                                    no memory: merged ─▶ a run on disk ─┐
//!                                                                        ├─▶ merged, batch by batch ─▶ output
//!                        FAN_IN runs of one level: merged ─▶ a run of the next level
//! ```
//!
//! Each row carries its sort key, as bytes that sort as the keys do, in a column of its own: it is computed once, so that
//! `ORDER BY RAND()` is an order, and goes to disk with the row. Runs are kept in the order of their rows' arrival, and of
//! equal keys the earlier run's comes first: the sort is stable.
//!
//! With a small limit only the first rows are kept on the way, as long as those find room.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BinaryArray, UInt32Array};
use async_trait::async_trait;
use codec::types::FieldType;
use query::batch::{BATCH_ROWS_MAX, Batch};
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::plan::{NodeId, SortKey};

use crate::keys::sort_keys;
use crate::runtime::Runtime;
use crate::spill::{Spill, SpillFile, SpillReader, Spilled};
use crate::stream::Operator;

/// Rows of a run in memory: they are sorted in one go, in some ten milliseconds.
const RUN_ROWS: usize = 1 << 15;
/// Runs on disk that are merged into one.
const FAN_IN: usize = 16;
/// Up to such a limit only the first rows are kept.
const FIRST_ROWS_MAX: u64 = 1 << 14;

/// Builds the operator.
pub(crate) fn build(
    input: Box<dyn Operator>,
    keys: Vec<SortKey>,
    limit: Option<u64>,
    types: Arc<[FieldType]>,
    at: NodeId,
    rt: &mut Runtime,
) -> Box<dyn Operator> {
    let with_key: Arc<[FieldType]> = types.iter().cloned().chain([FieldType::varbinary(-1)]).collect();
    Box::new(Sort {
        input: Some(input),
        keys,
        limit,
        types,
        with_key,
        waiting: Vec::new(),
        waiting_rows: 0,
        sorted: Vec::new(),
        on_disk: Vec::new(),
        merge: None,
        left: limit.unwrap_or(u64::MAX),
        held: rt.held_by(at),
        spill: rt.spill_of(at),
    })
}

struct Sort {
    input: Option<Box<dyn Operator>>,
    keys: Vec<SortKey>,
    limit: Option<u64>,
    types: Arc<[FieldType]>,
    /// The same with the key behind.
    with_key: Arc<[FieldType]>,
    /// Rows in no order.
    waiting: Vec<Batch>,
    waiting_rows: usize,
    /// Runs in memory.
    sorted: Vec<Batch>,
    /// Runs on disk, with their levels: all before those in memory.
    on_disk: Vec<(u32, Spilled)>,
    merge: Option<Merge>,
    /// Rows still to be given.
    left: u64,
    held: Held,
    spill: Spill,
}

impl Sort {
    async fn read(&mut self, mut input: Box<dyn Operator>, rt: &mut Runtime) -> Result<(), SqlError> {
        let mut first = self.limit.filter(|n| *n <= FIRST_ROWS_MAX).map(|n| n as usize);
        while let Some(batch) = input.next(rt).await? {
            rt.check_interrupted()?;
            if batch.is_empty() {
                continue;
            }
            let mut columns = batch.columns().to_vec();
            columns.push(key_column(&self.keys, &batch, rt)?);
            let batch = Batch::new(self.with_key.clone(), columns, batch.num_rows());
            let bytes = batch.data_bytes();
            self.waiting_rows += batch.num_rows();
            self.waiting.push(batch);
            let full = self.held.grow_or_spill(bytes)?;
            match first {
                Some(n) if full && self.waiting_rows > 2 * n || self.waiting_rows > 4 * n.max(BATCH_ROWS_MAX) => {
                    let best = self.run(Some(n))?;
                    self.held.clear();
                    self.held.grow_or_spill(best.data_bytes())?;
                    self.waiting_rows = best.num_rows();
                    self.waiting.push(best);
                    rt.pause().await?;
                }
                // Not even the first rows find room.
                _ if full => {
                    first = None;
                    self.write(rt).await?;
                }
                None if self.waiting_rows >= RUN_ROWS => {
                    let run = self.run(None)?;
                    self.sorted.push(run);
                    rt.pause().await?;
                }
                _ => {}
            }
        }
        if self.waiting_rows > 0 {
            let run = self.run(first)?;
            self.sorted.push(run);
        }
        Ok(())
    }

    /// The rows that wait, in order; the first of them.
    fn run(&mut self, first: Option<usize>) -> Result<Batch, SqlError> {
        let rows = Batch::concat(&self.with_key, &std::mem::take(&mut self.waiting))?;
        self.waiting_rows = 0;
        let keys = keys_of(&rows);
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by(|a, b| keys.value(*a as usize).cmp(keys.value(*b as usize)));
        order.truncate(first.unwrap_or(usize::MAX));
        Ok(rows.take(&UInt32Array::from(order))?)
    }

    /// Everything in memory becomes a run on disk.
    async fn write(&mut self, rt: &Runtime) -> Result<(), SqlError> {
        if self.waiting_rows > 0 {
            let run = self.run(None)?;
            self.sorted.push(run);
        }
        let runs = std::mem::take(&mut self.sorted).into_iter().map(Run::Memory).collect();
        let file = self.merged(runs, rt).await?;
        self.on_disk.push((0, file));
        self.held.clear();
        // Runs of a level lie together, the older levels before.
        while let Some((level, _)) = self.on_disk.last()
            && self.on_disk.iter().rev().take_while(|(l, _)| l == level).count() >= FAN_IN
        {
            let level = *level;
            let files = self.on_disk.split_off(self.on_disk.len() - FAN_IN);
            let mut runs = Vec::with_capacity(FAN_IN);
            for (_, file) in files {
                runs.push(Run::Disk(file.read().await?));
            }
            let file = self.merged(runs, rt).await?;
            self.on_disk.push((level + 1, file));
        }
        Ok(())
    }

    /// Runs as one, on disk.
    async fn merged(&mut self, runs: Vec<Run>, rt: &Runtime) -> Result<Spilled, SqlError> {
        let mut file: SpillFile = self.spill.file(&self.with_key).await?;
        let mut merge = Merge::new(runs, self.with_key.clone()).await?;
        while let Some(batch) = merge.next().await? {
            rt.pause().await?;
            file.append(&batch).await?;
        }
        file.finish().await
    }
}

#[async_trait]
impl Operator for Sort {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        if let Some(input) = self.input.take() {
            self.read(input, rt).await?;
            let mut runs = Vec::new();
            for (_, file) in std::mem::take(&mut self.on_disk) {
                runs.push(Run::Disk(file.read().await?));
            }
            runs.extend(std::mem::take(&mut self.sorted).into_iter().map(Run::Memory));
            self.merge = Some(Merge::new(runs, self.with_key.clone()).await?);
        }
        let Some(merge) = self.merge.as_mut().filter(|_| self.left > 0) else { return Ok(None) };
        rt.pause().await?;
        let Some(batch) = merge.next().await? else {
            self.merge = None;
            self.held.clear();
            return Ok(None);
        };
        let rows = batch.num_rows().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows as u64;
        let columns = batch.columns()[..self.types.len()].iter().map(|c| c.slice(0, rows)).collect();
        Ok(Some(Batch::new(self.types.clone(), columns, rows)))
    }
}

fn key_column(keys: &[SortKey], batch: &Batch, rt: &mut Runtime) -> Result<ArrayRef, SqlError> {
    let keys = sort_keys(keys, batch, rt)?;
    let mut column = BinaryBuilder::with_capacity(keys.len(), keys.iter().map(Vec::len).sum());
    keys.iter().for_each(|key| column.append_value(key));
    Ok(Arc::new(column.finish()))
}

/// The keys of rows that carry them.
fn keys_of(batch: &Batch) -> BinaryArray {
    batch.column(batch.types().len() - 1).as_binary::<i32>().clone()
}

/// Rows in order.
enum Run {
    Memory(Batch),
    Disk(SpillReader),
}

/// A run while it is merged.
struct Cursor {
    /// What comes after the rows that are there.
    rest: Option<SpillReader>,
    rows: Batch,
    keys: BinaryArray,
    /// The next row.
    row: usize,
    /// Which of the output's batches its rows are.
    slot: Option<usize>,
}

impl Cursor {
    fn key(&self) -> &[u8] {
        self.keys.value(self.row)
    }

    /// Goes to the first row of the next batch; false at the end.
    async fn refill(&mut self) -> Result<bool, SqlError> {
        loop {
            let Some(rest) = &mut self.rest else { return Ok(false) };
            let Some(rows) = rest.next().await? else { return Ok(false) };
            if !rows.is_empty() {
                (self.keys, self.rows, self.row, self.slot) = (keys_of(&rows), rows, 0, None);
                return Ok(true);
            }
        }
    }
}

/// Several runs as one.
struct Merge {
    types: Arc<[FieldType]>,
    cursors: Vec<Cursor>,
    /// Numbers of cursors that have rows: a heap, the one with the least row on top.
    heap: Vec<usize>,
}

impl Merge {
    async fn new(runs: Vec<Run>, types: Arc<[FieldType]>) -> Result<Merge, SqlError> {
        let mut merge = Merge { cursors: Vec::with_capacity(runs.len()), heap: Vec::new(), types };
        for run in runs {
            let (rows, rest) = match run {
                Run::Memory(rows) => (rows, None),
                Run::Disk(mut reader) => match reader.next().await? {
                    Some(rows) => (rows, Some(reader)),
                    None => (Batch::empty(merge.types.clone()), None),
                },
            };
            let mut cursor = Cursor { rest, keys: keys_of(&rows), rows, row: 0, slot: None };
            if !cursor.rows.is_empty() || cursor.refill().await? {
                merge.heap.push(merge.cursors.len());
                merge.cursors.push(cursor);
            }
        }
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sink(at);
        }
        Ok(merge)
    }

    fn order(&self, a: usize, b: usize) -> Ordering {
        // Of equal keys those of the earlier run come first.
        self.cursors[a].key().cmp(self.cursors[b].key()).then(a.cmp(&b))
    }

    /// Puts the cursor at a place of the heap where it belongs.
    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.order(self.heap[child], self.heap[least]).is_lt() {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    /// The next rows.
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        if let [only] = self.heap[..] {
            return self.rest_of(only).await;
        }
        let mut batches = Vec::new();
        let mut rows = Vec::with_capacity(BATCH_ROWS_MAX);
        self.cursors.iter_mut().for_each(|c| c.slot = None);
        while let Some(&top) = self.heap.first()
            && rows.len() < BATCH_ROWS_MAX
        {
            let cursor = &mut self.cursors[top];
            let slot = *cursor.slot.get_or_insert_with(|| {
                batches.push(cursor.rows.clone());
                batches.len() - 1
            });
            rows.push((slot, cursor.row));
            cursor.row += 1;
            if cursor.row == cursor.rows.num_rows() && !cursor.refill().await? {
                self.heap.swap_remove(0);
            }
            self.sink(0);
        }
        Ok((!rows.is_empty()).then(|| Batch::interleave(&self.types, &batches, &rows)).transpose()?)
    }

    /// The rows of the last run, as they are.
    async fn rest_of(&mut self, only: usize) -> Result<Option<Batch>, SqlError> {
        let cursor = &mut self.cursors[only];
        let n = (cursor.rows.num_rows() - cursor.row).min(BATCH_ROWS_MAX);
        let batch = cursor.rows.slice(cursor.row, n);
        cursor.row += n;
        if cursor.row == cursor.rows.num_rows() && !cursor.refill().await? {
            self.heap.clear();
        }
        Ok(Some(batch))
    }
}
