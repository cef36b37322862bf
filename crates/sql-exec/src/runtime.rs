//! What the operators of a statement share, and what an operator is.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, BooleanArray};
use async_trait::async_trait;
use codec::datum::Datum;
use codec::timestamp::Timestamp;
use parking_lot::Mutex;
use query::batch::Batch;
use query::context::{EvalContext, TimeZone};
use query::expr::Expr;
use sql_base::{Interrupt, SqlError};
use sql_planner::plan::{ColId, Columns, Lock, Scan};
use statistics::Statistics;

use crate::reader::Reader;

/// Where locking scans read.
struct Locking {
    reader: Reader,
    /// Whether what they find is locked already.
    locked: bool,
}

/// Facts that all operators of a statement share.
pub struct Runtime {
    /// Where rows come from.
    pub reader: Reader,
    /// Where the rows of scans with a lock clause come from, when not from `reader`: set before operators are built.
    locking: OnceLock<Locking>,
    /// All columns of the statement.
    pub columns: Arc<Columns>,
    /// The session's zone.
    pub zone: TimeZone,
    /// What is known of tables' values.
    pub statistics: Arc<Statistics>,
    /// Whether the coprocessor may be used.
    pub pushdown: bool,
    /// Rows of tables that the server computes, by (database, table) in lower case; whole rows.
    pub memory: HashMap<(String, String), Arc<Vec<Vec<Datum>>>>,
    /// Flag of `KILL`.
    pub interrupt: Arc<Interrupt>,
    /// Bytes that operators which collect rows (sorts, hash tables, groups) may hold together.
    pub memory_limit: usize,
    /// Rounds of a recursive query.
    pub rounds_max: u64,
    /// Connection, for messages.
    pub connection: u64,
    /// Rows of the last round of recursive queries, by the number of their work table.
    work_tables: Mutex<HashMap<usize, Vec<Batch>>>,
    cx: Mutex<EvalContext>,
    locks: Mutex<Vec<(Lock, Vec<u8>)>>,
    held: std::sync::atomic::AtomicUsize,
}

impl Runtime {
    /// For one statement.
    pub fn new(reader: Reader, columns: Arc<Columns>, cx: EvalContext, interrupt: Arc<Interrupt>) -> Runtime {
        Runtime {
            reader,
            locking: OnceLock::new(),
            columns,
            zone: cx.time_zone.clone(),
            statistics: Arc::default(),
            pushdown: true,
            memory: HashMap::new(),
            interrupt,
            memory_limit: 1 << 30,
            rounds_max: 1000,
            connection: cx.session.connection_id,
            work_tables: Mutex::new(HashMap::new()),
            cx: Mutex::new(cx),
            locks: Mutex::new(Vec::new()),
            held: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// What a scan reads from.
    pub fn reader_of(&self, scan: &Scan) -> &Reader {
        match (scan.lock, self.locking.get()) {
            (Some(_), Some(locking)) => &locking.reader,
            _ => &self.reader,
        }
    }

    /// What scans with a lock clause read from here on; the rows that they find are to be locked afterwards. The first
    /// word counts, as of the other.
    pub fn read_locked_from(&self, reader: Reader) {
        let _ = self.locking.set(Locking { reader, locked: false });
    }

    /// The same when the rows are locked already.
    pub fn read_what_is_locked(&self, reader: Reader) {
        let _ = self.locking.set(Locking { reader, locked: true });
    }

    /// Whether one of them was said.
    pub fn knows_locked(&self) -> bool {
        self.locking.get().is_some()
    }

    /// The timestamp at which rows were read that are to be locked.
    pub fn locked_at(&self) -> Timestamp {
        self.locking.get().map_or(&self.reader, |l| &l.reader).snapshot().ts()
    }

    /// The evaluation context. Evaluation never waits, so nobody waits long for it.
    pub fn eval<T>(
        &self,
        f: impl FnOnce(&mut EvalContext) -> Result<T, query::error::EvalError>,
    ) -> Result<T, SqlError> {
        Ok(f(&mut self.cx.lock())?)
    }

    /// Values of an expression for a batch.
    pub fn column(&self, e: &Expr, batch: &Batch) -> Result<ArrayRef, SqlError> {
        self.eval(|cx| query::eval::eval(e, batch, cx))
    }

    /// What the evaluation gathered, taken out.
    pub fn take_context(&self) -> EvalContext {
        let mut cx = self.cx.lock();
        let fresh = EvalContext { warnings: Vec::new(), warning_count: 0, ..cx.clone() };
        std::mem::replace(&mut *cx, fresh)
    }

    /// Waits as long as SLEEP() was called for since the last time.
    pub async fn sleep(&self) -> Result<(), SqlError> {
        /// How long a killed statement goes on sleeping at most.
        const NAP: Duration = Duration::from_millis(50);
        let mut left = Duration::from_micros(std::mem::take(&mut self.cx.lock().sleep_micros));
        while !left.is_zero() {
            self.check_interrupted()?;
            let nap = left.min(NAP);
            tokio::time::sleep(nap).await;
            left -= nap;
        }
        Ok(())
    }

    /// Remembers row keys to be locked.
    pub fn add_locks(&self, lock: Lock, keys: impl IntoIterator<Item = Vec<u8>>) {
        if !self.locking.get().is_some_and(|l| l.locked) {
            self.locks.lock().extend(keys.into_iter().map(|key| (lock, key)));
        }
    }

    /// Row keys to be locked, and how.
    pub fn take_locks(&self) -> Vec<(Lock, Vec<u8>)> {
        std::mem::take(&mut *self.locks.lock())
    }

    /// The rows that a round of a recursive query added: what operators read that are built from here on.
    pub(crate) fn put_work_table(&self, number: usize, rows: Vec<Batch>) {
        self.work_tables.lock().insert(number, rows);
    }

    /// Those rows.
    pub(crate) fn work_table(&self, number: usize) -> Vec<Batch> {
        self.work_tables.lock().get(&number).cloned().unwrap_or_default()
    }

    /// Fails when the statement was killed.
    pub fn check_interrupted(&self) -> Result<(), SqlError> {
        if self.interrupt.is_killed() { Err(SqlError::Interrupted) } else { Ok(()) }
    }

    /// Bytes that operators hold now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Goes back to what was held, when what held more is gone.
    pub(crate) fn release_to(&self, bytes: usize) {
        self.held.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Gives back bytes that an operator kept.
    pub fn release(&self, bytes: usize) {
        use std::sync::atomic::Ordering;
        // What held more may have been given back for it already.
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| Some(all.saturating_sub(bytes)));
    }

    /// Counts bytes that an operator keeps; fails over the limit.
    pub fn hold(&self, bytes: usize) -> Result<(), SqlError> {
        use std::sync::atomic::Ordering;
        let all = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if all > self.memory_limit { Err(SqlError::MemoryQuota(self.connection)) } else { Ok(()) }
    }
}

/// Gives batches until it has no more. Batches may be empty.
#[async_trait]
pub trait Operator: Send {
    /// The next rows.
    async fn next(&mut self) -> Result<Option<Batch>, SqlError>;
}

/// Column numbers to positions.
pub fn resolve(e: &Expr, at: &HashMap<ColId, usize>) -> Result<Expr, SqlError> {
    e.map_columns(&|id| at.get(&id).copied())
        .ok_or_else(|| SqlError::internal("plan", format!("{e} reads a column that its input lacks")))
}

pub(crate) fn resolve_all<'a>(
    list: impl IntoIterator<Item = &'a Expr>,
    at: &HashMap<ColId, usize>,
) -> Result<Vec<Expr>, SqlError> {
    list.into_iter().map(|e| resolve(e, at)).collect()
}

/// Rows for which all conditions are true; and which those are, unless all.
#[allow(clippy::type_complexity)]
pub fn filter_batch(batch: Batch, conditions: &[Expr], rt: &Runtime) -> Result<(Batch, Option<Vec<bool>>), SqlError> {
    if conditions.is_empty() || batch.is_empty() {
        return Ok((batch, None));
    }
    let mut keep = vec![true; batch.num_rows()];
    for c in conditions {
        let truth = rt.eval(|cx| query::eval::eval_truth(c, &batch, cx))?;
        for (row, k) in keep.iter_mut().enumerate() {
            *k &= truth.is_valid(row) && truth.value(row);
        }
    }
    if keep.iter().all(|k| *k) {
        return Ok((batch, None));
    }
    let batch = batch.filter(&BooleanArray::from(keep.clone()))?;
    Ok((batch, Some(keep)))
}

/// Batches that are there already.
pub struct Fixed {
    batches: std::vec::IntoIter<Batch>,
}

impl Fixed {
    /// These batches.
    pub fn new(batches: Vec<Batch>) -> Fixed {
        Fixed { batches: batches.into_iter() }
    }
}

#[async_trait]
impl Operator for Fixed {
    async fn next(&mut self) -> Result<Option<Batch>, SqlError> {
        Ok(self.batches.next())
    }
}
