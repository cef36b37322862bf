//! INSERT and REPLACE: values or the rows of a query become rows of the table.

use std::sync::Arc;

use codec::datum::Datum;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::{ColumnDefault, TableInfo, row};
use sql_context::{ExecContext, Loaded};
use sql_planner::change::{Conflict, Insert, Value as Source};
use sql_planner::plan::{NodeId, Physical};

use super::duplicates::{self, NewRows};
use super::finish;
use super::fitting::Fitting;
use super::ids::{self, NewId};
use super::row::{End, Row, Way};
use crate::operator;
use crate::planned::load_memory_tables;
use crate::planned::{Planned, Reads, begin};
use crate::reader::Reader;
use crate::runtime::{Value, resolve};
use crate::statement::{collect_context, lock_all_rows, reader_of, runtime, write_context};
use crate::subqueries::run_subqueries;
use crate::writer::Writer;

/// What a statement did, and which ids it gave.
pub(super) struct Counts {
    /// Where the AUTO_INCREMENT column is.
    auto: Option<usize>,
    pub(super) affected: u64,
    pub(super) unchanged: u64,
    pub(super) duplicates: u64,
    /// The first id that was generated for a row which is there now.
    generated_id: u64,
    /// The id of the last row inserted or updated.
    last_id: u64,
}

impl Counts {
    pub(super) fn of(table: &TableInfo) -> Counts {
        let auto = table.auto_increment_column().map(|c| c.offset);
        Counts { auto, affected: 0, unchanged: 0, duplicates: 0, generated_id: 0, last_id: 0 }
    }

    /// A row was inserted.
    pub(super) fn inserted(&mut self, row: &[Datum], id: &NewId) {
        self.affected += 1;
        if self.generated_id == 0 {
            self.generated_id = id.generated;
        }
        self.last(row);
    }

    /// This row was the last.
    pub(super) fn last(&mut self, row: &[Datum]) {
        self.last_id = self.auto.and_then(|offset| row::handle_of(&row[offset])).map_or(0, |v| v as u64);
    }
}

/// INSERT and REPLACE.
pub(super) async fn insert(
    ctx: &mut ExecContext<'_>,
    physical: &Arc<Physical>,
    insert: &Insert,
    values: Vec<(usize, Value)>,
) -> Result<Outcome, SqlError> {
    let table = &insert.table;
    // What is in the way of new rows is judged as it is when it is locked, by a statement of its own too: it waits for whoever
    // has it.
    let careful = !matches!(insert.conflict, Conflict::Refuse);
    if careful && ctx.is_autocommit() {
        ctx.session.txn.pessimistic = Some(true);
    }
    ctx.session.txn.use_table(table);

    // Of a file these are perhaps not the first rows.
    let Loaded { rows: rows_before, missing } = ctx.session.loaded.clone().unwrap_or_default();
    let mut fitting = Fitting::new(ctx, insert.ignore);
    let unnamed = insert.defaults.iter().map(|offset| &table.columns[*offset]);
    fitting.check_unnamed(unnamed.filter(|c| rows_before == 0 && c.is_public())).map_err(|e| {
        match (e, &insert.view) {
            (SqlError::NoDefaultValue(_), Some(view)) => SqlError::ViewNoDefault(view.clone()),
            (e, _) => e,
        }
    })?;

    let cx = write_context(ctx, insert.ignore);
    let Planned { mut rt, subqueries, .. } = match &insert.values {
        None => begin(ctx, cx, physical.clone(), values, Reads::Current, &Arc::default()).await?,
        Some(_) => {
            let reader = match physical.subqueries.is_empty() {
                true => Reader::new(ctx.server.kv()?.snapshot(codec::timestamp::Timestamp::MAX)),
                false => reader_of(ctx, &physical.tables(), true).await?,
            };
            let mut rt = runtime(ctx, reader, physical.columns.clone(), cx);
            rt.memory = load_memory_tables(ctx, physical).await?;
            rt.share(physical);
            values.into_iter().for_each(|(id, value)| rt.set_param(id, value));
            let subqueries = run_subqueries(physical, &mut rt).await?;
            Planned { physical: physical.clone(), rt, subqueries }
        }
    };
    let single = insert.values.as_ref().is_some_and(|rows| rows.len() == 1);
    let way = Way::of_run(table, &insert.steps, &insert.at, &subqueries, &mut rt)?.of_new_rows(single);
    let changes = match &insert.conflict {
        Conflict::Update { steps, at } => Some(Way::of_run(table, steps, at, &subqueries, &mut rt)?),
        Conflict::Refuse | Conflict::Skip | Conflict::Replace => None,
    };

    // Rows of a SELECT, or expressions evaluated one by one.
    let mut rows: Vec<Row> = Vec::new();
    // What ON DUPLICATE KEY UPDATE reads of the query's tables, for each row.
    let mut source_rows: Vec<Vec<Datum>> = Vec::new();
    match &insert.values {
        None => {
            let mut op = operator::build(&physical.plan, NodeId::default(), &mut rt)?;
            while let Some(batch) = op.next(&mut rt).await? {
                rt.hold(batch.data_bytes())?;
                for r in 0..batch.num_rows() {
                    fitting.row = rows.len() as u64 + 1;
                    let mut row = Row::empty(table);
                    for (i, offset) in insert.offsets.iter().enumerate() {
                        way.fit(&mut row, *offset, (batch.datum(r, i), &batch.types()[i]), &mut fitting)?;
                    }
                    set_defaults(&way, &mut row, &insert.defaults, &mut fitting)?;
                    rows.push(row);
                    let others = insert.offsets.len()..batch.types().len();
                    source_rows.push(others.map(|i| batch.datum(r, i)).collect());
                }
            }
        }
        Some(sources) => {
            for (n, source) in sources.iter().enumerate() {
                fitting.row = rows_before + n as u64 + 1;
                let mut row = Row::empty(table);
                for (place, (offset, value)) in insert.offsets.iter().zip(source).enumerate() {
                    match value {
                        // It is computed later.
                        Source::Default if table.columns[*offset].is_generated() => {}
                        Source::Default if missing.contains(&place) => {
                            let missing = fitting.missing(&table.columns[*offset]);
                            way.set(&mut row, *offset, missing, &mut fitting)?;
                        }
                        Source::Default => way.assign(&mut row, *offset, None, &mut fitting, &mut rt)?,
                        Source::Expr(e) => {
                            let mut e = subqueries.of_run(e, &mut rt)?;
                            if !matches!(*e, query::expr::Expr::Const { .. }) {
                                *e.to_mut() = resolve(&e, &insert.at)?;
                            }
                            way.assign(&mut row, *offset, Some(&e), &mut fitting, &mut rt)?;
                        }
                    }
                }
                set_defaults(&way, &mut row, &insert.defaults, &mut fitting)?;
                rows.push(row);
            }
        }
    }
    lock_all_rows(ctx, &mut rt).await?;

    let records = rows.len() as u64;
    let mut generated = ids::auto_increment(ctx, table, &way, &mut rows, &mut fitting).await?;
    let mut numbers: Vec<u64> = (rows_before + 1..).take(rows.len()).collect();
    let mut arrived = Vec::with_capacity(rows.len());
    for (row, number) in rows.iter_mut().zip(&numbers) {
        fitting.row = *number;
        arrived.push(way.walk(row, None, &mut fitting, &mut rt)? == End::Reached);
    }
    let mut writer = Writer::new(table.clone(), fitting.zone.clone()).within(insert.named.as_deref());
    if table.partition.is_some() && (careful || insert.ignore) {
        for (row, arrived) in rows.iter().zip(&mut arrived).filter(|(_, arrived)| **arrived) {
            match writer.place(&row.new) {
                Err(e @ SqlError::Partition(_)) if insert.ignore => {
                    fitting.warnings.push((true, e));
                    *arrived = false;
                }
                result => result.map(drop)?,
            }
        }
    }
    keep(&mut rows, &arrived);
    keep(&mut generated, &arrived);
    keep(&mut numbers, &arrived);
    keep(&mut source_rows, &arrived);

    let ids = ids::handles(ctx, table, &rows, generated).await?;
    let counts = if careful {
        let new = NewRows { rows: &rows, ids: &ids, numbers: &numbers, sources: &source_rows };
        let conflict = (&insert.conflict, changes.as_ref());
        duplicates::write(ctx, table, conflict, new, &mut writer, &mut fitting, &mut rt).await?
    } else {
        let mut counts = Counts::of(table);
        let txn = ctx.txn().await?;
        for (row, id) in rows.iter().zip(&ids) {
            writer.insert(txn, &row.new, &id.handle, id.fresh)?;
            counts.inserted(&row.new, id);
        }
        counts
    };
    finish(ctx, vec![writer]).await?;
    let said_id = collect_context(ctx, &mut rt);
    let warnings = fitting.report(ctx);
    let info = if records > 1 || insert.counts {
        format!("Records: {records}  Duplicates: {}  Warnings: {warnings}", counts.duplicates)
    } else {
        String::new()
    };
    let last_insert_id = match counts.generated_id {
        0 => said_id.unwrap_or(counts.last_id),
        id => id,
    };
    Ok(Outcome::Ok(Done {
        affected_rows: counts.affected,
        matched_rows: changes.is_some().then_some(counts.affected + counts.unchanged),
        last_insert_id,
        generated_id: counts.generated_id,
        info,
    }))
}

/// Keeps what is marked; there may be nothing to keep.
fn keep<T>(list: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    list.retain(|_| marks.next().is_none_or(|mark| *mark));
}

/// Columns that the statement does not name. Those that are being added hold what old rows read as.
fn set_defaults(way: &Way<'_>, row: &mut Row, defaults: &[usize], fitting: &mut Fitting) -> Result<(), SqlError> {
    for offset in defaults {
        let column = &way.table.columns[*offset];
        let d = match (column.is_public(), &column.default) {
            (true, _) => fitting.unnamed(column)?,
            (false, ColumnDefault::CurrentTimestamp) => fitting.now(&column.field_type),
            (false, _) => row::origin_default(column),
        };
        way.set(row, *offset, d, fitting)?;
    }
    Ok(())
}
