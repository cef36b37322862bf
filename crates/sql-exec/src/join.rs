//! Joins: a hash table of the right side's rows, and the left side's rows looked up in it, in their order.
//!
//! ```text
//!   right ─▶ table ◀─ left              all fits
//!
//!   right ─▶ 8 files ┐  pair by pair:   no memory for the table, and there are keys: both sides are split by a hash of
//!   left  ─▶ 8 files ┘  table ◀─ rows   them, and each pair of files is a join of its own, split again if need be
//!
//!   right ─▶ table ◀─ left ─▶ file      no keys, or too many rows of one key: a part of the right side at a time, and
//!     └────▶ file          ◀────┘       the left side again for each; which of its rows have matched is remembered
//! ```
//!
//! Rows that are looked up are read anew for each batch of left rows, by the keys that they have; of sides that both come in the
//! order of the keys the right one is read along with the left ([`sorted`]).
//!
//! A product of tables is never in memory, however large it is: pairs are made as they are asked for. A row whose key has a
//! NULL matches nothing.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use async_trait::async_trait;
use codec::datum::Datum;
use codec::types::FieldType;
use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};
use query::batch::{BATCH_ROWS_MAX, Batch, datum_at, repeat};
use query::expr::Expr;
use sql_base::SqlError;
use sql_base::memory::Held;
use sql_planner::plan::{ColId, JoinKind, NodeId, Plan};

use crate::keys::{key_bytes, key_columns, row_key};
use crate::runtime::{Runtime, Value, filter_batch};
use crate::spill::{DEPTH_MAX, PARTS, Spill, SpillFile, SpillReader, Spilled};
use crate::stream::{Build, Operator, Source};

mod sorted;

pub(crate) use sorted::Sorted;

/// Pairs that a join makes at once, and their bytes.
const PAIRS_MAX: usize = 4 * BATCH_ROWS_MAX;
const PAIRS_BYTES: usize = 32 << 20;

/// What a row of a table takes beside its values and its key.
const ROW_BYTES: usize = 40;

/// What a value that is looked up takes beside its key: itself, twice, and an expression around it.
const LOOKED_UP_BYTES: usize = 256;

/// Where the right side's rows come from.
pub(crate) enum Right {
    /// Read once.
    Build(Box<dyn Operator>),
    /// Looked up for each batch of left rows.
    Lookup(Lookup),
    /// In the order of the keys, as the left side's are.
    Sorted(Sorted),
}

/// Rows that are looked up by the values of a key.
pub(crate) struct Lookup {
    pub(crate) plan: Plan,
    pub(crate) at: NodeId,
    /// Which of the keys.
    pub(crate) pair: usize,
    /// The parameter of the plan that has the values.
    pub(crate) keys: ColId,
    pub(crate) build: Build,
}

/// What is joined, and how.
pub(crate) struct Spec {
    pub(crate) kind: JoinKind,
    pub(crate) left_keys: Vec<Expr>,
    pub(crate) right_keys: Vec<Expr>,
    /// Other conditions on a pair.
    pub(crate) other: Vec<Expr>,
    pub(crate) left_types: Arc<[FieldType]>,
    pub(crate) right_types: Arc<[FieldType]>,
}

/// Builds the operator.
pub(crate) fn build(
    spec: Spec,
    left: Box<dyn Operator>,
    right: Right,
    at: NodeId,
    rt: &mut Runtime,
) -> Box<dyn Operator> {
    Box::new(Join {
        spec,
        step: Step::Start(left, right),
        later: Vec::new(),
        held: rt.held_by(at),
        spill: rt.spill_of(at),
    })
}

struct Join {
    spec: Spec,
    step: Step,
    /// Pairs of files that wait, with how often their rows have been split: left, right.
    later: Vec<(u32, Option<Spilled>, Option<Spilled>)>,
    held: Held,
    spill: Spill,
}

enum Step {
    Start(Box<dyn Operator>, Right),
    Probe(Probe),
    Done,
}

/// Left rows on their way through a table.
struct Probe {
    table: Table,
    left: Left,
    right: More,
    /// The left rows that are being paired.
    current: Option<LeftRows>,
}

/// What the right side gives beside the table that is there.
enum More {
    /// Nothing.
    Nothing,
    /// What the next left rows look up.
    Lookup(Lookup),
    /// What the next left rows are merged with.
    Sorted(Sorted),
    /// The next parts, one after the other: each is a table for all left rows.
    Parts { rest: SpillReader, matched: Vec<bool>, last: bool },
}

/// Left rows, and whether they are to be read once more.
struct Left {
    /// The first rows, which were waited for before the right side was read.
    first: Option<Batch>,
    source: Source,
    /// Where they are written, for when they are read again.
    copy: Option<Copy>,
    /// Rows that were read.
    rows: usize,
}

enum Copy {
    Writing(SpillFile),
    Written(Spilled),
}

impl Left {
    fn new(source: Source) -> Left {
        Left { first: None, source, copy: None, rows: 0 }
    }

    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        let batch = match self.first.take() {
            Some(batch) => Some(batch),
            None => self.source.next(rt).await?,
        };
        if let (Some(batch), Some(Copy::Writing(file))) = (&batch, &mut self.copy) {
            file.append(batch).await?;
        }
        Ok(batch)
    }

    /// Begins again.
    async fn rewind(&mut self) -> Result<(), SqlError> {
        let file = match self.copy.take() {
            Some(Copy::Writing(file)) => file.finish().await?,
            Some(Copy::Written(file)) => file,
            None => return Err(SqlError::internal("join", "left rows are gone")),
        };
        self.source = Source::File(file.read().await?);
        self.copy = Some(Copy::Written(file));
        self.rows = 0;
        Ok(())
    }
}

/// Rows of the left side that are being paired.
struct LeftRows {
    batch: Batch,
    keys: Vec<(ArrayRef, FieldType)>,
    /// Where the batch begins among the left rows.
    first: usize,
    /// The next row, and its next match if it has some.
    row: usize,
    next: Cursor,
    /// Whether rows have matched; `before`: with other parts of the right side.
    matched: Vec<bool>,
    before: Vec<bool>,
}

/// Which of a row's matches comes next.
#[derive(Clone, Copy, PartialEq)]
enum Cursor {
    /// The first; they were not looked for yet.
    Unknown,
    At(u32),
    End,
}

/// Rows of the right side by key.
struct Table {
    batches: Vec<Batch>,
    /// Rows that can match: (batch, row).
    rows: Vec<(u32, u32)>,
    /// Their keys, one behind the other, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    /// The next row with the same key; [`END`] for none.
    next: Vec<u32>,
    /// The first and the last row of each key.
    by_key: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
    bytes: usize,
}

const END: u32 = u32::MAX;

impl Table {
    fn new() -> Table {
        Table {
            batches: Vec::new(),
            rows: Vec::new(),
            keys: Vec::new(),
            ends: Vec::new(),
            next: Vec::new(),
            by_key: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            bytes: 0,
        }
    }

    /// Adds rows; the bytes that they take.
    fn add(&mut self, batch: Batch, keys: &[Expr], rt: &mut Runtime) -> Result<usize, SqlError> {
        let before = self.keys.len();
        let added = batch.num_rows();
        // Row numbers have 32 bits, and one is not a row.
        if self.rows.len() + added >= END as usize {
            return Err(SqlError::internal("join", "too many rows at once"));
        }
        let at = self.batches.len() as u32;
        if keys.is_empty() {
            self.rows.extend((0..added as u32).map(|row| (at, row)));
        } else {
            let columns = key_columns(keys, &batch, rt)?;
            for row in 0..added {
                let Some(key) = row_key(&columns, row, false)? else { continue };
                self.insert(&key, (at, row as u32));
            }
        }
        let bytes = batch.data_bytes() + added * ROW_BYTES + (self.keys.len() - before);
        self.batches.push(batch);
        self.bytes += bytes;
        Ok(bytes)
    }

    fn insert(&mut self, key: &[u8], row: (u32, u32)) {
        let Table { rows, keys, ends, next, by_key, hasher, .. } = self;
        let number = rows.len() as u32;
        rows.push(row);
        next.push(END);
        let same = |(first, _): &(u32, u32)| key_of(keys, ends, *first) == key;
        let hash = |(first, _): &(u32, u32)| hasher.hash_one(key_of(keys, ends, *first));
        match by_key.entry(hasher.hash_one(key), same, hash) {
            // The key is there; this row's is never looked at.
            Entry::Occupied(mut entry) => {
                let (_, last) = entry.get_mut();
                next[*last as usize] = number;
                *last = number;
            }
            Entry::Vacant(entry) => {
                entry.insert((number, number));
                keys.extend_from_slice(key);
            }
        }
        ends.push(keys.len());
    }

    /// The first row of a key.
    fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        self.by_key.find(hash, |(first, _)| key_of(&self.keys, &self.ends, *first) == key).map(|(first, _)| *first)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What a row takes, on average.
    fn row_bytes(&self) -> usize {
        self.bytes / self.rows.len().max(1)
    }
}

fn key_of<'a>(keys: &'a [u8], ends: &[usize], number: u32) -> &'a [u8] {
    let number = number as usize;
    let start = number.checked_sub(1).map_or(0, |before| ends[before]);
    &keys[start..ends[number]]
}

impl Spec {
    /// The next pairs, and left rows of which all is known then. `last`: no other part of the right side follows.
    fn pair(&self, left: &mut LeftRows, table: &Table, last: bool, rt: &mut Runtime) -> Result<Batch, SqlError> {
        let batch = left.batch.clone();
        let pair_bytes = (batch.data_bytes() / batch.num_rows().max(1) + table.row_bytes()).max(1);
        let pairs_max = (PAIRS_BYTES / pair_bytes).clamp(1, PAIRS_MAX);
        let first = left.row;
        // Where nothing else is asked of a pair, one match is as good as all.
        let one = !self.kind.has_right() && self.other.is_empty();
        let (mut l, mut r): (Vec<u32>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        while left.row < batch.num_rows() && l.len() < pairs_max {
            if left.next == Cursor::Unknown {
                left.next = if self.left_keys.is_empty() {
                    if table.is_empty() { Cursor::End } else { Cursor::At(0) }
                } else {
                    let key = row_key(&left.keys, left.row, false)?;
                    key.and_then(|key| table.find(&key)).map_or(Cursor::End, Cursor::At)
                };
            }
            while let Cursor::At(number) = left.next
                && l.len() < pairs_max
            {
                let (at, row) = table.rows[number as usize];
                l.push(left.row as u32);
                r.push((at as usize, row as usize));
                let next = match self.left_keys.is_empty() {
                    true => Some(number + 1).filter(|next| (*next as usize) < table.rows.len()),
                    false => Some(table.next[number as usize]).filter(|next| *next != END),
                };
                left.next = next.filter(|_| !one).map_or(Cursor::End, Cursor::At);
            }
            if left.next == Cursor::End {
                left.row += 1;
                left.next = Cursor::Unknown;
            }
        }
        let right = Batch::interleave(&self.right_types, &table.batches, &r)?;
        let pairs = batch.take(&UInt32Array::from(l.clone()))?.zip(&right);
        let (pairs, kept) = filter_batch(pairs, &self.other, rt)?;
        for (i, row) in l.iter().enumerate() {
            left.matched[*row as usize] |= kept.as_ref().is_none_or(|k| k[i]);
        }
        let done = (first..left.row).map(|row| (row as u32, left.matched[row], left.before[row]));
        // Rows that go out alone.
        let alone: Vec<u32> = match self.kind {
            JoinKind::Inner => return Ok(pairs),
            JoinKind::Semi => done.filter(|(_, matched, before)| *matched && !before).map(|d| d.0).collect(),
            JoinKind::Left | JoinKind::Anti => done.filter(|(_, matched, _)| last && !matched).map(|d| d.0).collect(),
        };
        if self.kind.has_right() && alone.is_empty() {
            return Ok(pairs);
        }
        let n = alone.len();
        let alone = batch.take(&UInt32Array::from(alone))?;
        if !self.kind.has_right() {
            return Ok(alone);
        }
        let nulls = self.right_types.iter().map(|t| repeat(&Datum::Null, t, n)).collect::<Result<Vec<_>, _>>()?;
        let alone = alone.zip(&Batch::new(self.right_types.clone(), nulls, n));
        if pairs.is_empty() {
            return Ok(alone);
        }
        Ok(Batch::concat(&alone.types().clone(), &[alone, pairs])?)
    }
}

impl Join {
    /// Reads the right side's rows, and says how the left's are to be looked up in them. `None`: both sides were split.
    async fn start(
        &mut self,
        mut left: Left,
        right: Option<Source>,
        depth: u32,
        rt: &mut Runtime,
    ) -> Result<Option<Probe>, SqlError> {
        let mut table = Table::new();
        let Some(mut right) = right else {
            return Ok(Some(Probe { table, left, right: More::Nothing, current: None }));
        };
        let can_split = !self.spec.right_keys.is_empty() && depth < DEPTH_MAX;
        while let Some(batch) = right.next(rt).await? {
            rt.pause().await?;
            let bytes = table.add(batch, &self.spec.right_keys, rt)?;
            if !self.held.grow_or_spill(bytes)? {
                continue;
            }
            if can_split {
                self.split(table, right, left, depth, rt).await?;
                return Ok(None);
            }
            let rest = self.write_rest(&mut right, rt).await?;
            if rest.rows() > 0 {
                left.copy = Some(Copy::Writing(self.spill.file(&self.spec.left_types).await?));
                let right = More::Parts { rest: rest.read().await?, matched: Vec::new(), last: false };
                return Ok(Some(Probe { table, left, right, current: None }));
            }
        }
        Ok(Some(Probe { table, left, right: More::Nothing, current: None }))
    }

    /// Splits both sides by their keys.
    async fn split(
        &mut self,
        table: Table,
        mut right: Source,
        mut left: Left,
        depth: u32,
        rt: &mut Runtime,
    ) -> Result<(), SqlError> {
        let mut parts = self.spill.parts(&self.spec.right_types, depth);
        let mut known = table.batches;
        drop((table.rows, table.keys, table.ends, table.next, table.by_key));
        known.reverse();
        loop {
            let batch = match known.pop() {
                Some(batch) => batch,
                None => match right.next(rt).await? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            rt.pause().await?;
            let columns = key_columns(&self.spec.right_keys, &batch, rt)?;
            let mut rows = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                // What has no key matches nothing, and nobody wants it for itself.
                if let Some(key) = row_key(&columns, row, false)? {
                    rows.push((row as u32, parts.of(&key)));
                }
            }
            parts.add(&batch, &rows).await?;
        }
        self.held.clear();
        let of_right = parts.finish().await?;
        let mut parts = self.spill.parts(&self.spec.left_types, depth);
        while let Some(batch) = left.next(rt).await? {
            rt.pause().await?;
            let columns = key_columns(&self.spec.left_keys, &batch, rt)?;
            let mut rows = Vec::with_capacity(batch.num_rows());
            for row in 0..batch.num_rows() {
                let part = row_key(&columns, row, false)?.map(|key| parts.of(&key));
                // What has no key goes anywhere, where rows without a match count.
                match part {
                    Some(part) => rows.push((row as u32, part)),
                    None if matches!(self.spec.kind, JoinKind::Left | JoinKind::Anti) => {
                        rows.push((row as u32, row % PARTS));
                    }
                    None => {}
                }
            }
            parts.add(&batch, &rows).await?;
        }
        let of_left = parts.finish().await?;
        self.later.extend(of_left.into_iter().zip(of_right).map(|(left, right)| (depth + 1, left, right)));
        Ok(())
    }

    async fn write_rest(&mut self, right: &mut Source, rt: &mut Runtime) -> Result<Spilled, SqlError> {
        let mut file = self.spill.file(&self.spec.right_types).await?;
        while let Some(batch) = right.next(rt).await? {
            rt.pause().await?;
            file.append(&batch).await?;
        }
        file.finish().await
    }

    /// The next pair of files, if one is left.
    async fn next_files(&mut self, rt: &mut Runtime) -> Result<Step, SqlError> {
        loop {
            let Some((depth, left, right)) = self.later.pop() else { return Ok(Step::Done) };
            let Some(left) = left else { continue };
            self.held.clear();
            let right = match right {
                Some(right) => Some(Source::File(right.read().await?)),
                None => None,
            };
            let left = Left::new(Source::File(left.read().await?));
            if let Some(probe) = self.start(left, right, depth, rt).await? {
                return Ok(Step::Probe(probe));
            }
        }
    }

    /// The rows that a batch of left rows looks up.
    async fn look_up(&mut self, right: &Lookup, left: &Batch, rt: &mut Runtime) -> Result<Table, SqlError> {
        let mut table = Table::new();
        self.held.clear();
        let key = &self.spec.left_keys[right.pair];
        let values = rt.column(key, left)?;
        let mut distinct = HashMap::new();
        for row in 0..left.num_rows() {
            let d = datum_at(&values, row, key.ty());
            if !d.is_null() {
                let mut k = Vec::new();
                key_bytes(&mut k, &d, key.ty())?;
                let bytes = k.len() + LOOKED_UP_BYTES;
                if distinct.insert(k, d).is_none() {
                    self.held.grow(bytes)?;
                }
            }
        }
        if distinct.is_empty() {
            return Ok(table);
        }
        let list = distinct.into_values().map(|value| Expr::Const { value, ty: key.ty().clone() }).collect();
        rt.set_param(right.keys, Value::Many { all: false, list: Arc::new(list) });
        let mut input = (right.build)(&right.plan, right.at, rt)?;
        while let Some(batch) = input.next(rt).await? {
            rt.check_interrupted()?;
            let bytes = table.add(batch, &self.spec.right_keys, rt)?;
            self.held.grow(bytes)?;
        }
        Ok(table)
    }

    /// The table for the next part of the right side; false when there was none.
    async fn next_part(&mut self, probe: &mut Probe, rt: &mut Runtime) -> Result<bool, SqlError> {
        let More::Parts { rest, last, .. } = &mut probe.right else { return Ok(false) };
        if *last {
            return Ok(false);
        }
        probe.table = Table::new();
        self.held.clear();
        *last = true;
        while let Some(batch) = rest.next().await? {
            rt.pause().await?;
            let bytes = probe.table.add(batch, &self.spec.right_keys, rt)?;
            if self.held.grow_or_spill(bytes)? {
                // There may be no row after these; then the next part is an empty one.
                *last = false;
                break;
            }
        }
        probe.left.rewind().await?;
        Ok(true)
    }

    /// The next rows of a probe; `None` at its end.
    async fn advance(&mut self, probe: &mut Probe, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            // Nothing else here may ever wait, and others want to run: KILL, time limits, other sessions.
            rt.pause().await?;
            let mut current = match probe.current.take() {
                Some(current) => current,
                None => {
                    let Some(batch) = probe.left.next(rt).await? else {
                        if self.next_part(probe, rt).await? {
                            continue;
                        }
                        return Ok(None);
                    };
                    if batch.is_empty() {
                        continue;
                    }
                    let mut batch = batch;
                    match &mut probe.right {
                        More::Lookup(right) => probe.table = self.look_up(right, &batch, rt).await?,
                        More::Sorted(right) => {
                            // What the last rows were paired with goes first.
                            probe.table = Table::new();
                            let Join { spec, held, .. } = self;
                            let keys = (&spec.left_keys[..], &spec.right_keys[..]);
                            let (table, rows) = right.table_for(&batch, keys, held, rt).await?;
                            probe.table = table;
                            if rows < batch.num_rows() {
                                probe.left.first = Some(batch.slice(rows, batch.num_rows() - rows));
                                batch = batch.slice(0, rows);
                            }
                        }
                        More::Nothing | More::Parts { .. } => {}
                    }
                    self.take_up(probe, batch, rt)?
                }
            };
            let whole = matches!(probe.right, More::Nothing);
            if probe.table.is_empty() && matches!(self.spec.kind, JoinKind::Inner | JoinKind::Semi) {
                if whole {
                    return Ok(None);
                }
                continue;
            }
            let last = !matches!(probe.right, More::Parts { last: false, .. });
            let out = self.spec.pair(&mut current, &probe.table, last, rt)?;
            if current.row < current.batch.num_rows() {
                probe.current = Some(current);
            } else if let More::Parts { matched, .. } = &mut probe.right {
                matched[current.first..][..current.matched.len()].copy_from_slice(&current.matched);
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
    }

    fn take_up(&self, probe: &mut Probe, batch: Batch, rt: &mut Runtime) -> Result<LeftRows, SqlError> {
        let (first, n) = (probe.left.rows, batch.num_rows());
        probe.left.rows += n;
        let before = match &mut probe.right {
            More::Parts { matched, .. } => {
                matched.resize(matched.len().max(first + n), false);
                matched[first..first + n].to_vec()
            }
            _ => vec![false; n],
        };
        let keys = key_columns(&self.spec.left_keys, &batch, rt)?;
        Ok(LeftRows { batch, keys, first, row: 0, next: Cursor::Unknown, matched: before.clone(), before })
    }
}

#[async_trait]
impl Operator for Join {
    async fn next(&mut self, rt: &mut Runtime) -> Result<Option<Batch>, SqlError> {
        loop {
            // After an error there is nothing more.
            match std::mem::replace(&mut self.step, Step::Done) {
                Step::Done => return Ok(None),
                Step::Start(left, right) => {
                    let mut left = Left::new(Source::Operator(left));
                    // Without a left row the right side need not be read.
                    left.first = loop {
                        match left.source.next(rt).await? {
                            Some(batch) if batch.is_empty() => {}
                            first => break first,
                        }
                    };
                    if left.first.is_none() {
                        continue;
                    }
                    let probe = match right {
                        Right::Build(right) => self.start(left, Some(Source::Operator(right)), 0, rt).await?,
                        Right::Sorted(right) => {
                            let right = More::Sorted(right);
                            Some(Probe { table: Table::new(), left, right, current: None })
                        }
                        Right::Lookup(right) => {
                            let right = More::Lookup(right);
                            Some(Probe { table: Table::new(), left, right, current: None })
                        }
                    };
                    self.step = match probe {
                        Some(probe) => Step::Probe(probe),
                        None => self.next_files(rt).await?,
                    };
                }
                Step::Probe(mut probe) => match self.advance(&mut probe, rt).await? {
                    Some(batch) => {
                        self.step = Step::Probe(probe);
                        return Ok(Some(batch));
                    }
                    None => {
                        drop(probe);
                        self.held.clear();
                        self.step = self.next_files(rt).await?;
                    }
                },
            }
        }
    }
}
