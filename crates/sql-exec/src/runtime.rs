//! What the operators of a statement share: one value, which belongs to whoever runs the statement and goes with every call.
//! So it needs no locks, and what operators make of each other's warnings, parameters and rows has one order.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Array, ArrayRef, BooleanArray};
use codec::datum::Datum;
use codec::timestamp::Timestamp;
use query::batch::Batch;
use query::context::{EvalContext, TimeZone};
use query::error::EvalError;
use query::expr::{CmpOp, Expr, Func};
use query::types::EvalType;
use sql_base::memory::{Held, Limits, ServerMemory, StatementMemory};
use sql_base::{Interrupt, SqlError};
use sql_planner::access::{settle, settle_merge};
use sql_planner::plan::{Access, ColId, Columns, LateKeys, Lock, MergePart, NodeId, Physical, Plan, Scan, Shared};

use crate::measure::Meters;
use crate::reader::Reader;
use crate::spill::{Spill, Spilled};

/// Where locking scans read.
struct Locking {
    reader: Reader,
    /// Whether what they find is locked already.
    locked: bool,
}

/// What a parameter of the plan is in this run.
#[derive(Debug, Clone)]
pub enum Value {
    /// A value.
    One(Datum),
    /// Those of a list, as constants, each once; a comparison with it must hold for one of them or, with `all`, for all.
    Many {
        /// For all.
        all: bool,
        /// The values.
        list: Arc<Vec<Expr>>,
    },
}

/// A CTE that several read.
#[derive(Clone)]
pub(crate) struct Definition {
    pub(crate) plan: Arc<Plan>,
    pub(crate) at: NodeId,
    /// Its rows, once somebody has asked for them.
    pub(crate) rows: Option<Arc<Collected>>,
}

/// Rows that are kept for whoever reads them.
pub(crate) struct Collected {
    pub(crate) batches: Vec<Batch>,
    /// Those for which there was no memory, which follow.
    pub(crate) rest: Option<Spilled>,
    /// What the batches take.
    pub(crate) _held: Held,
}

impl Definition {
    fn new(cte: &Shared, at: NodeId) -> Definition {
        Definition { plan: Arc::new(cte.plan.clone()), at, rows: None }
    }
}

/// What all operators of a statement share.
pub struct Runtime {
    /// Where rows come from.
    pub reader: Reader,
    /// Where the rows of scans with a lock clause come from, when not from `reader`: set before operators are built.
    locking: Option<Locking>,
    /// All columns of the statement.
    pub columns: Arc<Columns>,
    /// The session's zone.
    pub zone: TimeZone,
    /// Whether the coprocessor may be used.
    pub pushdown: bool,
    /// Rows of tables that the server computes, by (database, table) in lower case; whole rows.
    pub memory: HashMap<(String, String), Arc<Vec<Vec<Datum>>>>,
    /// Flag of `KILL`.
    pub interrupt: Arc<Interrupt>,
    /// What operators that collect rows (sorts, hash tables, groups) hold together, and may.
    pub budget: Arc<StatementMemory>,
    /// Where they write what there is no memory for.
    pub directory: Arc<Path>,
    /// What they did, if that is measured.
    pub meters: Option<Arc<Meters>>,
    /// Rounds of a recursive query.
    pub rounds_max: u64,
    /// Rows of the last round of recursive queries, by the number of their work table.
    work_tables: HashMap<usize, Vec<Batch>>,
    /// CTEs of the statement, by number.
    shared: HashMap<usize, Definition>,
    /// Values of parameters. Those of rows around subqueries and of keys to look up change while the statement runs: who
    /// changes them builds the operators that read them afterwards, and is done with those before the next change.
    params: HashMap<usize, Value>,
    cx: EvalContext,
    locks: Vec<(Lock, Vec<u8>)>,
    /// What is held until the statement ends.
    held: Held,
    /// Keys of rows that others have locked, and that are to be skipped.
    pub(crate) taken: Arc<HashSet<Vec<u8>>>,
}

impl Runtime {
    /// For one statement.
    pub fn new(reader: Reader, columns: Arc<Columns>, cx: EvalContext, interrupt: Arc<Interrupt>) -> Runtime {
        // Who runs it for a session sets that session's limits.
        let budget = StatementMemory::new(Arc::new(ServerMemory::default()), Limits::NONE, interrupt.clone(), 0);
        Runtime {
            reader,
            locking: None,
            columns,
            zone: cx.time_zone.clone(),
            pushdown: true,
            memory: HashMap::new(),
            interrupt,
            held: Held::new(budget.clone(), None),
            taken: Arc::default(),
            budget,
            directory: std::env::temp_dir().into(),
            meters: None,
            rounds_max: 1000,
            work_tables: HashMap::new(),
            shared: HashMap::new(),
            params: HashMap::new(),
            cx,
            locks: Vec::new(),
        }
    }

    /// What a scan reads from.
    pub fn reader_of(&self, scan: &Scan) -> &Reader {
        match (scan.lock, &self.locking) {
            (Some(_), Some(locking)) => &locking.reader,
            _ => &self.reader,
        }
    }

    /// What scans with a lock clause read from here on; the rows that they find are to be locked afterwards.
    pub fn read_locked_from(&mut self, reader: Reader) {
        self.locking = Some(Locking { reader, locked: false });
    }

    /// The same when the rows are locked already.
    pub fn read_what_is_locked(&mut self, reader: Reader) {
        self.locking = Some(Locking { reader, locked: true });
    }

    /// Whether one of them was said.
    pub fn knows_locked(&self) -> bool {
        self.locking.is_some()
    }

    /// The timestamp at which rows were read that are to be locked.
    pub fn locked_at(&self) -> Result<Timestamp, SqlError> {
        Ok(self.locking.as_ref().map_or(&self.reader, |l| &l.reader).snapshot()?.ts())
    }

    /// Evaluates in the statement's context.
    pub fn eval<T>(
        &mut self,
        f: impl FnOnce(&mut EvalContext) -> Result<T, query::error::EvalError>,
    ) -> Result<T, SqlError> {
        Ok(f(&mut self.cx)?)
    }

    /// Gives a parameter its value, for what is built from here on.
    pub fn set_param(&mut self, id: usize, value: Value) {
        self.params.insert(id, value);
    }

    /// The expression of this run: with the values of parameters, and with what needs no row computed.
    pub fn settled(&mut self, e: &Expr) -> Result<Expr, SqlError> {
        if !e.is_of_run() {
            return Ok(e.clone());
        }
        let filled = fill(e, &self.params)?;
        self.eval(|cx| Ok(query::eval::fold(filled, cx)))
    }

    /// The same for an input whose columns are at these positions.
    pub fn resolve(&mut self, e: &Expr, at: &HashMap<ColId, usize>) -> Result<Expr, SqlError> {
        if e.is_of_run() { resolve(&self.settled(e)?, at) } else { resolve(e, at) }
    }

    pub(crate) fn resolve_all<'a>(
        &mut self,
        list: impl IntoIterator<Item = &'a Expr>,
        at: &HashMap<ColId, usize>,
    ) -> Result<Vec<Expr>, SqlError> {
        list.into_iter().map(|e| self.resolve(e, at)).collect()
    }

    /// The keys that a scan reads in this run.
    pub fn access<'s>(&mut self, scan: &'s Scan) -> Result<Cow<'s, Access>, SqlError> {
        let mut late = |late: &LateKeys| {
            let conditions = late.conditions.iter().map(|c| self.settled(c)).collect::<Result<Vec<_>, _>>()?;
            let access = settle(scan, late, conditions, &self.zone);
            access.ok_or_else(|| SqlError::internal("plan", "a condition chooses no keys after all"))
        };
        Ok(match &scan.access {
            Access::Late(keys) => Cow::Owned(late(keys)?),
            Access::Merge(merge) => {
                let mut part = |part: &MergePart| match &part.access {
                    Access::Late(keys) => Ok(MergePart { access: late(keys)?, ..*part }),
                    _ => Ok(part.clone()),
                };
                Cow::Owned(settle_merge(merge.all, merge.parts.iter().map(&mut part).collect::<Result<_, SqlError>>()?))
            }
            access => Cow::Borrowed(access),
        })
    }

    /// Values of an expression for a batch.
    pub fn column(&mut self, e: &Expr, batch: &Batch) -> Result<ArrayRef, SqlError> {
        self.eval(|cx| query::eval::eval(e, batch, cx))
    }

    /// What the evaluation gathered, taken out.
    pub fn take_context(&mut self) -> EvalContext {
        let fresh = EvalContext { warnings: Vec::new(), warning_count: 0, ..self.cx.clone() };
        std::mem::replace(&mut self.cx, fresh)
    }

    /// Waits as long as SLEEP() was called for since the last time.
    pub async fn sleep(&mut self) -> Result<(), SqlError> {
        /// How long a killed statement goes on sleeping at most.
        const NAP: Duration = Duration::from_millis(50);
        let mut left = Duration::from_micros(std::mem::take(&mut self.cx.sleep_micros));
        while !left.is_zero() {
            self.check_interrupted()?;
            let nap = left.min(NAP);
            tokio::time::sleep(nap).await;
            left -= nap;
        }
        Ok(())
    }

    /// Remembers row keys to be locked.
    pub fn add_locks(&mut self, lock: Lock, keys: impl IntoIterator<Item = Vec<u8>>) {
        if !self.locking.as_ref().is_some_and(|l| l.locked) {
            self.locks.extend(keys.into_iter().map(|key| (lock, key)));
        }
    }

    /// Whether rows are to be skipped.
    pub(crate) fn skips(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Whether the row of a key is to be skipped.
    pub(crate) fn is_taken(&self, key: &[u8]) -> bool {
        self.skips() && self.taken.contains(key)
    }

    /// Row keys to be locked, and how.
    pub fn take_locks(&mut self) -> Vec<(Lock, Vec<u8>)> {
        std::mem::take(&mut self.locks)
    }

    /// The rows that a round of a recursive query added: what operators read that are built from here on.
    pub(crate) fn put_work_table(&mut self, number: usize, rows: Vec<Batch>) {
        self.work_tables.insert(number, rows);
    }

    /// Those rows.
    pub(crate) fn work_table(&self, number: usize) -> Vec<Batch> {
        self.work_tables.get(&number).cloned().unwrap_or_default()
    }

    /// Makes the CTEs of a plan known, whose rows are the same for all who read them.
    pub(crate) fn share(&mut self, physical: &Physical) {
        let nodes = physical.shared_nodes();
        let found = physical.shared.iter().zip(nodes).map(|(cte, at)| (cte.number, Definition::new(cte, at)));
        self.shared.extend(found);
    }

    /// One of them.
    pub(crate) fn shared(&mut self, number: usize) -> Result<&mut Definition, SqlError> {
        self.shared.get_mut(&number).ok_or_else(|| SqlError::internal("plan", "a CTE that nobody has defined"))
    }

    /// Sets what the statement may hold, and where it writes what it may not, before operators are built.
    pub fn limit(&mut self, budget: Arc<StatementMemory>, directory: Arc<Path>) {
        self.held = Held::new(budget.clone(), None);
        (self.budget, self.directory) = (budget, directory);
    }

    /// Fails when the statement is to end: it was killed, or its time is over.
    pub fn check_interrupted(&self) -> Result<(), SqlError> {
        self.interrupt.check()
    }

    /// The same, and lets others run. Where nothing else is waited for, between pieces of work of some milliseconds.
    pub(crate) async fn pause(&self) -> Result<(), SqlError> {
        tokio::task::yield_now().await;
        self.check_interrupted()
    }

    /// What the operator of this node will hold.
    pub(crate) fn held_by(&self, at: NodeId) -> Held {
        Held::new(self.budget.clone(), self.meters.as_ref().map(|m| m.of(at).memory.clone()))
    }

    /// Where it writes what it has no memory for.
    pub(crate) fn spill_of(&self, at: NodeId) -> Spill {
        let written = self.meters.as_ref().map(|m| m.of(at).disk.clone());
        Spill::new(self.directory.clone(), self.budget.clone(), written)
    }

    /// Counts bytes that are kept until the statement ends; fails over its quota.
    pub fn hold(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.held.grow(bytes)
    }
}

/// Column numbers to positions.
pub fn resolve(e: &Expr, at: &HashMap<ColId, usize>) -> Result<Expr, SqlError> {
    e.map_columns(&|id| at.get(&id).copied())
        .ok_or_else(|| SqlError::internal("plan", format!("{e} reads a column that its input lacks")))
}

/// The expression with the values of its parameters.
fn fill(e: &Expr, values: &HashMap<usize, Value>) -> Result<Expr, SqlError> {
    match e {
        Expr::Const { .. } | Expr::Column { .. } => Ok(e.clone()),
        Expr::Param(param) => match values.get(&param.id) {
            Some(Value::One(value)) => Ok(Expr::Const { value: value.clone(), ty: param.ty.clone() }),
            Some(Value::Many { .. }) => Err(SqlError::internal("plan", "a list of values where one is wanted")),
            None => Err(EvalError::NoValue(param.id).into()),
        },
        Expr::Call(call) => {
            let comparison = match call.func {
                Func::In(EvalType::String, collation) => Some((CmpOp::Eq, Some(collation))),
                Func::In(..) => Some((CmpOp::Eq, None)),
                Func::Compare(op, EvalType::String, collation) => Some((op, Some(collation))),
                Func::Compare(op, ..) => Some((op, None)),
                _ => None,
            };
            if let (Some((op, collation)), [probe, list]) = (comparison, &call.args[..])
                && let Some(Value::Many { all, list }) = list_of(list).and_then(|id| values.get(&id))
            {
                // The probe may be another such comparison.
                let probe = fill(probe, values)?;
                return Ok(query::infer::quantified(op, *all, probe, list.to_vec(), collation)?);
            }
            let args = call.args.iter().map(|a| fill(a, values)).collect::<Result<Vec<_>, _>>()?;
            Ok(Expr::call(call.func, args, call.ty.clone()))
        }
    }
}

/// The parameter that stands for a list of values, perhaps under a cast.
fn list_of(e: &Expr) -> Option<usize> {
    match e {
        Expr::Param(param) => param.many.then_some(param.id),
        Expr::Call(call) if matches!(call.func, Func::Cast | Func::JsonAtom) => list_of(call.args.first()?),
        _ => None,
    }
}

/// Rows for which all conditions are true; and which those are, unless all.
#[allow(clippy::type_complexity)]
pub fn filter_batch(
    batch: Batch,
    conditions: &[Expr],
    rt: &mut Runtime,
) -> Result<(Batch, Option<Vec<bool>>), SqlError> {
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
