//! Filling new indexes, and columns whose values are converted, from the rows that were there before them; and looking
//! through those rows for a CHECK constraint, which every server keeps by then: rows as of now are all that have to be seen.
//!
//! When this runs every server writes entries and new values for what it changes, so only rows nobody touches have to be
//! filled in. A batch locks its rows, reads them as of the locks, and adds what is missing: a row that is changed meanwhile
//! either waits for the batch or is seen by it as it has become. Each batch is a transaction of its own, and how far it
//! came is stored with the job, so a new owner goes on where the last one ended.

use std::collections::{HashMap, VecDeque};

use codec::datum::Datum;
use codec::table::Handle;
use kv_client::{LockOptions, Transaction, TxnOptions};
use query::context::{EvalContext, TimeZone};
use query::expr::Expr;
use sql_base::{SqlError, hex, unhex};
use sql_catalog::convert::{self, Context, Problem};
use sql_catalog::row;
use sql_catalog::{IndexInfo, IndexMaintenance, TableInfo, transact};
use sql_planner::row_expr;
use sql_planner::view::Definitions;

use super::domain::Domain;
use super::job::{Action, Job, JobError, Reorg};

/// Rows of a batch: few enough that a statement which waits for its locks hardly notices.
const BATCH_ROWS: usize = 256;
/// Batches between two notes of how far it came.
const NOTE_BATCHES: usize = 8;

/// Rows whose conversion is told of.
const WARNINGS_MAX: usize = 64;

/// What is filled.
struct Target<'t> {
    table: &'t TableInfo,
    indexes: Vec<&'t IndexInfo>,
    /// Rows are written anew, with converted columns.
    rows: bool,
    /// Rows are written anew, with this generated column.
    computed: Option<Computed>,
    /// Nothing is filled: rows have to be as this says.
    check: Option<Checked>,
    /// Rows are copied into another division of the table.
    divides: bool,
}

/// A definition over rows.
struct OverRow {
    e: Expr,
    zone: TimeZone,
}

impl OverRow {
    fn of(domain: &Domain, table: &TableInfo, text: &str, zone: &str) -> Result<OverRow, SqlError> {
        let (schema, eval) = (domain.schemas().current(), EvalContext::default());
        let env = Definitions { schema: &schema, database: None, eval: &eval };
        let e = row_expr::over_row(&env, table, &sql_parser::parse_expr(text)?)?;
        Ok(OverRow { e, zone: TimeZone::parse(zone).unwrap_or(TimeZone::UTC) })
    }

    fn context(&self) -> EvalContext {
        EvalContext { time_zone: self.zone.clone(), ..EvalContext::default() }
    }

    /// What it is for a row.
    fn value(&self, table: &TableInfo, stored: &[Datum], cx: &mut EvalContext) -> Result<Datum, SqlError> {
        let columns = stored.iter().zip(&table.columns);
        let local: Vec<_> = columns.map(|(d, c)| row::to_local(d.clone(), &c.field_type, &self.zone)).collect();
        Ok(query::eval::eval_row(&self.e, &local, cx)?)
    }
}

/// A generated column that is added.
struct Computed {
    offset: usize,
    from: OverRow,
}

impl Computed {
    fn of(domain: &Domain, job: &Job, table: &TableInfo) -> Result<Option<Computed>, SqlError> {
        let Action::AddColumn { .. } = job.action else { return Ok(None) };
        let column = table.columns.iter().find(|column| column.id == job.element_id);
        let Some((column, generation)) = column.and_then(|c| Some((c, c.generated.as_ref()?))) else {
            return Err(SqlError::InvalidDdlJob(format!(
                "column {} of table '{}' is gone",
                job.element_id, table.name
            )));
        };
        let from = OverRow::of(domain, table, &generation.expr, &generation.zone)?;
        Ok(Some(Computed { offset: column.offset, from }))
    }

    /// The column's value for a row, as it is stored.
    fn value(&self, table: &TableInfo, stored: &[Datum], number: u64) -> Result<Datum, SqlError> {
        let column = &table.columns[self.offset];
        let ty = &column.field_type;
        let d = self.from.value(table, stored, &mut self.from.context())?;
        let cx = Context { column: column.name.as_str(), row: number, zone: &self.from.zone, no_zero_date: false };
        let fitted = convert::convert(convert::as_written(d, self.from.e.ty(), ty), ty, &cx);
        match fitted.problem {
            None | Some(Problem::Note) => {}
            Some(problem) => return Err(convert::error(&problem, &cx)),
        }
        if fitted.value.is_null() && ty.is_not_null() {
            return Err(SqlError::ColumnCannotBeNull(column.name.original.clone()));
        }
        Ok(row::to_stored(fitted.value, ty, &self.from.zone))
    }
}

/// A CHECK constraint over rows.
struct Checked {
    name: String,
    condition: OverRow,
}

impl Checked {
    fn of(domain: &Domain, job: &Job, table: &TableInfo) -> Result<Option<Checked>, SqlError> {
        let Some(zone) = job.action.looks_through() else { return Ok(None) };
        let gone = || SqlError::InvalidDdlJob(format!("check {} of table '{}' is gone", job.element_id, table.name));
        let check = table.checks.iter().find(|check| check.id == job.element_id).ok_or_else(gone)?;
        let condition = OverRow::of(domain, table, &check.expr, zone)?;
        Ok(Some(Checked { name: check.name.original.clone(), condition }))
    }

    /// An error if a row is not as it has to be.
    fn test(&self, table: &TableInfo, stored: &[Datum], cx: &mut EvalContext) -> Result<(), SqlError> {
        let value = self.condition.value(table, stored, cx)?;
        match query::value::truth(&value, cx)? {
            Some(false) => Err(SqlError::CheckViolated(self.name.clone())),
            _ => Ok(()),
        }
    }
}

impl<'t> Target<'t> {
    fn of(domain: &Domain, job: &Job, table: &'t TableInfo) -> Result<Target<'t>, SqlError> {
        let mut ids: Vec<i64> = job.new_indexes.iter().map(|index| index.id).collect();
        if let Action::AddIndex(_) = job.action {
            ids.push(job.element_id);
        }
        let index = |id: &i64| {
            let gone = || SqlError::InvalidDdlJob(format!("index {id} of table '{}' is gone", table.name));
            table.indexes.iter().find(|index| index.id == *id).ok_or_else(gone)
        };
        let indexes = ids.iter().map(index).collect::<Result<_, _>>()?;
        let (computed, check) = (Computed::of(domain, job, table)?, Checked::of(domain, job, table)?);
        let rows = !job.new_columns.is_empty() || computed.is_some();
        let divides = matches!(job.action, Action::Divide(_));
        Ok(Target { table, indexes, rows, computed, check, divides })
    }
}

/// Fills what a job makes. On success the job says so, with an empty next key.
pub(super) async fn fill(domain: &Domain, whole: &Job, table: &TableInfo) -> Result<(), SqlError> {
    let job = whole.filling();
    let target = Target::of(domain, job, table)?;
    // Partitions come in the order of their keys, so that one key tells how far it came.
    let mut from = table.physical_ids();
    if let Some(division) = table.division.as_ref().filter(|_| target.divides) {
        // What stays where it is need not be read.
        let to = division.physical_ids(table);
        from.retain(|at| !to.contains(at));
    }
    let mut ranges: VecDeque<_> = from.into_iter().map(codec::table::record_range).collect();
    let Some((start, mut end)) = ranges.pop_front() else {
        // Everything stays where it is.
        return note(domain, whole.id, 0, &[], Vec::new()).await.map(drop);
    };
    let mut next = job.reorg.as_ref().and_then(|reorg| unhex(&reorg.next)).unwrap_or(start);
    while next >= end
        && let Some((start, other)) = ranges.pop_front()
    {
        (next, end) = (next.max(start), other);
    }
    let mut rows = job.row_count;
    let mut batches = 0;
    let mut warnings = Vec::new();
    loop {
        let (read, last) = fill_batch(domain, &target, (&next, &end), rows, &mut warnings).await?;
        rows += i64::try_from(read).unwrap_or(i64::MAX);
        batches += 1;
        let mut done = false;
        match (last, ranges.is_empty()) {
            (Some(mut last), _) => {
                last.push(0);
                next = last;
            }
            (None, false) => (next, end) = ranges.pop_front().unwrap_or_default(),
            (None, true) => done = true,
        }
        if done || batches % NOTE_BATCHES == 0 {
            let next: &[u8] = if done { &[] } else { &next };
            if !note(domain, whole.id, rows, next, std::mem::take(&mut warnings)).await? {
                return Ok(());
            }
        }
        if done {
            tracing::info!(job = whole.id, rows, indexes = target.indexes.len(), columns = target.rows, "filled");
            return Ok(());
        }
    }
}

/// Stores how far it came. `false` when it is to stop: the job is cancelled, or another server's.
async fn note(domain: &Domain, id: i64, rows: i64, next: &[u8], warnings: Vec<JobError>) -> Result<bool, SqlError> {
    let me = &domain.server().id;
    transact!(domain.kv(), |meta| {
        if meta.owner().await?.as_deref() != Some(me) {
            return Ok(false);
        }
        let Some(mut job) = meta.queued_job::<Job>(id).await? else { return Ok(false) };
        if job.cancel {
            return Ok(false);
        }
        job.retries = 0;
        let room = WARNINGS_MAX.saturating_sub(job.warnings.len());
        job.warnings.extend(warnings.iter().take(room).cloned());
        let filling = job.filling_mut();
        filling.row_count = rows;
        filling.reorg = Some(Reorg { next: hex(next) });
        meta.put_queued_job(id, &job).await?;
        Ok(true)
    })
}

/// Fills in one batch from `start` on: how many rows it read, and the last one's key, `None` when there are no more.
async fn fill_batch(
    domain: &Domain,
    target: &Target<'_>,
    (start, end): (&[u8], &[u8]),
    before: i64,
    warnings: &mut Vec<JobError>,
) -> Result<(usize, Option<Vec<u8>>), SqlError> {
    let kv = domain.kv();
    let snapshot = kv.snapshot(kv.timestamp().await?);
    let pairs = snapshot.scan(start, end, BATCH_ROWS, false, target.check.is_none()).await?;
    let more = (pairs.len() == BATCH_ROWS).then(|| pairs.last().map(|(key, _)| key.clone())).flatten();
    let read = pairs.len();
    if read == 0 {
        return Ok((0, None));
    }
    if let Some(check) = &target.check {
        let decoder = row::full_decoder(target.table);
        let mut cx = check.condition.context();
        for (key, value) in &pairs {
            let handle = codec::table::decode_handle(key).map_err(row::damaged)?;
            check.test(target.table, &decoder.decode(value, &handle).map_err(row::damaged)?, &mut cx)?;
        }
        return Ok((read, more));
    }
    let keys: Vec<_> = pairs.into_iter().map(|(key, _)| key).collect();
    let mut txn = kv.begin(TxnOptions::pessimistic()).await?;
    let mut told = Vec::new();
    let filled = match add_missing(&mut txn, target, keys, before, &mut told).await {
        Ok(()) => txn.commit().await.map(drop).map_err(SqlError::from),
        Err(error) => {
            let _ = txn.rollback().await;
            Err(error)
        }
    };
    filled?;
    told.truncate(WARNINGS_MAX.saturating_sub(warnings.len()));
    warnings.append(&mut told);
    Ok((read, more))
}

/// Adds what the rows of these keys lack. `before` is how many rows come before them.
async fn add_missing(
    txn: &mut Transaction,
    target: &Target<'_>,
    keys: Vec<Vec<u8>>,
    before: i64,
    told: &mut Vec<JobError>,
) -> Result<(), SqlError> {
    let table = target.table;
    let values = LockOptions { return_values: true, ..LockOptions::default() };
    let locked = txn.lock_keys(keys.clone(), values.clone()).await?;
    let decoder = row::full_decoder(table);
    let mut entries = Vec::new();
    for (number, (key, value)) in (before.unsigned_abs() + 1..).zip(keys.iter().zip(locked.values)) {
        let Some(value) = value else { continue };
        let handle = codec::table::decode_handle(key).map_err(row::damaged)?;
        let stored = decoder.decode(&value, &handle).map_err(row::damaged)?;
        let mut row = row::converted(table, &stored, number, &mut |warning| told.push(JobError::from(&warning)))?;
        if let Some(computed) = &target.computed {
            row.to_mut()[computed.offset] = computed.value(table, &stored, number)?;
        }
        if target.rows && *row != *stored {
            txn.put(key.clone(), row::encode_row(table, &row)?)?;
        }
        if target.divides
            && let Some((at, _)) = table.beside(&row)?
        {
            // Whoever changes the row meanwhile changes it there, too, and waits for its lock here.
            txn.put(codec::table::record_key(at, &handle), row::encode_row(table, &row)?)?;
            for (_, how, entry) in row::entries(table, at, &row, &handle)? {
                if how == IndexMaintenance::Full {
                    txn.put(entry.key, entry.value)?;
                }
            }
        }
        for index in &target.indexes {
            let at = codec::table::decode_table_id(key).unwrap_or(table.physical_id());
            let entry = row::index_entry(table, at, index, &row, &handle)?;
            entries.push((*index, handle.clone(), row.to_vec(), entry));
        }
    }
    // A unique entry is locked and looked at, so that it is there once, whoever adds it.
    let distinct: Vec<_> = entries.iter().filter(|(.., entry)| entry.distinct).map(|(.., e)| e.key.clone()).collect();
    let mut there: HashMap<Vec<u8>, Handle> = HashMap::new();
    if !distinct.is_empty() {
        let locked = txn.lock_keys(distinct.clone(), values).await?;
        for (key, value) in distinct.into_iter().zip(locked.values) {
            if let Some(value) = value {
                there.insert(key, codec::table::decode_unique_handle(&value).map_err(row::damaged)?);
            }
        }
    }
    for (index, handle, row, entry) in entries {
        if entry.distinct {
            match there.get(&entry.key) {
                Some(held) if *held == handle => continue,
                Some(_) => return Err(row::duplicate_row(table, Some(index), &row, &TimeZone::UTC)),
                None => {
                    there.insert(entry.key.clone(), handle);
                }
            }
        }
        txn.put(entry.key, entry.value)?;
    }
    Ok(())
}
