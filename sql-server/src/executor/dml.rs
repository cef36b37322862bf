//! INSERT, REPLACE, UPDATE, DELETE.
//!
//! Rows to change are found by a query plan over the table with all its columns and the row handle; their new values are
//! computed column by column over batches, fitted into the column types ([`super::convert`]), and written ([`super::writer`]).

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::time::TimeKind;
use codec::types::{FieldType, TypeCode, flags};
use kv_client::LockWait;
use query::batch::Batch;
use query::context::{EvalContext, TimeZone};
use query::expr::Expr;
use sqlparser::ast;

use super::convert::{self, Context, Problem};
use super::operator::{self, Runtime, resolve};
use super::reader::{Overlay, Reader};
use super::writer::Writer;
use super::{
    Env, Planned, collect_context, eval_context, lock_wait, optimize, overlay_of, plan_query, rows, run_subqueries,
};
use crate::catalog::{AutoIdKind, ColumnDefault, ColumnInfo, TableInfo, TableKind};
use crate::error::SqlError;
use crate::outcome::{Done, Outcome};
use crate::planner::binder::{Binder, Environment, Visible};
use crate::planner::optimize::positions;
use crate::planner::plan::{Access, ColId, Plan, SortKey};
use crate::session::context::ExecContext;

/// How values are fitted in this statement.
struct Fitting {
    zone: TimeZone,
    strict: bool,
    ignore: bool,
    no_zero_date: bool,
    /// NO_AUTO_VALUE_ON_ZERO.
    zero_is_value: bool,
    now: EvalContext,
    warnings: Vec<(bool, SqlError)>,
}

/// MySQL's number of NO_AUTO_VALUE_ON_ZERO.
const NO_AUTO_VALUE_ON_ZERO: u64 = 1 << 19;

impl Fitting {
    fn new(ctx: &ExecContext<'_>, ignore: bool) -> Fitting {
        let now = eval_context(ctx, true);
        let mode = now.sql_mode;
        Fitting {
            zone: now.time_zone.clone(),
            strict: now.is_strict(),
            ignore,
            no_zero_date: mode & query::context::sql_mode::NO_ZERO_DATE != 0,
            zero_is_value: mode & NO_AUTO_VALUE_ON_ZERO != 0,
            now,
            warnings: Vec::new(),
        }
    }

    /// A value as the column stores it (TIMESTAMPs in UTC).
    fn fit(&mut self, d: Datum, from: &FieldType, column: &ColumnInfo, row: u64) -> Result<Datum, SqlError> {
        let d = match d {
            Datum::Enum(_) | Datum::Set(_)
                if !matches!(column.field_type.tp, TypeCode::Enum | TypeCode::Set)
                    || from.elems != column.field_type.elems =>
            {
                if column.field_type.tp.is_string() || matches!(column.field_type.tp, TypeCode::Enum | TypeCode::Set) {
                    Datum::Bytes(convert::text_of(&d, Some(from)))
                } else {
                    d
                }
            }
            Datum::Bit(_) if column.field_type.tp.is_string() => Datum::Bytes(convert::text_of(&d, Some(from))),
            d => d,
        };
        let zone = self.zone.clone();
        let cx = Context { column: column.name.as_str(), row, zone: &zone, no_zero_date: self.no_zero_date };
        let fitted = convert::convert(d, &column.field_type, &cx);
        match fitted.problem {
            None => {}
            Some(Problem::Note) => self.warnings.push((false, Problem::Note.error(&cx))),
            Some(p) if self.strict && !self.ignore || p == Problem::Json => return Err(p.error(&cx)),
            Some(p) => self.warnings.push((true, p.error(&cx))),
        }
        Ok(rows::to_stored(fitted.value, &column.field_type, &zone))
    }

    /// What a column holds that the statement does not name.
    fn default(&mut self, column: &ColumnInfo) -> Result<Datum, SqlError> {
        match &column.default {
            ColumnDefault::Null => Ok(Datum::Null),
            ColumnDefault::Constant(text) => Ok(rows::constant_default(column, text, &self.zone.clone())
                .pipe(|d| rows::to_stored(d, &column.field_type, &self.zone))),
            ColumnDefault::CurrentTimestamp => Ok(self.now(&column.field_type)),
            ColumnDefault::None if !column.field_type.is_not_null() => Ok(Datum::Null),
            ColumnDefault::None if column.field_type.has(flags::AUTO_INCREMENT) => Ok(Datum::Null),
            ColumnDefault::None if column.field_type.tp == TypeCode::Enum => Ok(Datum::Enum(1)),
            ColumnDefault::None => {
                let error = SqlError::NoDefaultValue(column.name.original.clone());
                if self.strict && !self.ignore {
                    return Err(error);
                }
                self.warnings.push((true, error));
                Ok(implicit_default(&column.field_type))
            }
        }
    }

    fn now(&self, ty: &FieldType) -> Datum {
        let now = self.now.now(ty.fsp());
        let kind = TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime);
        rows::to_stored(Datum::Time(now.convert(kind, ty.fsp())), ty, &self.zone)
    }

    /// NOT NULL.
    fn check_null(&mut self, d: Datum, column: &ColumnInfo, single: bool) -> Result<Datum, SqlError> {
        if !d.is_null() || !column.field_type.is_not_null() {
            return Ok(d);
        }
        let error = SqlError::ColumnCannotBeNull(column.name.original.clone());
        if self.ignore || (!self.strict && !single) {
            self.warnings.push((true, error));
            return Ok(implicit_default(&column.field_type));
        }
        Err(error)
    }

    fn report(self, ctx: &mut ExecContext<'_>) -> u64 {
        let n = self.warnings.len() as u64;
        for (warning, e) in &self.warnings {
            if *warning { ctx.warn(e) } else { ctx.note(e) }
        }
        n
    }
}

fn unsupported<T>(what: &str) -> Result<T, SqlError> {
    Err(SqlError::NotSupported(what.to_owned()))
}

trait Pipe: Sized {
    fn pipe<T>(self, f: impl FnOnce(Self) -> T) -> T {
        f(self)
    }
}

impl Pipe for Datum {}

/// The value of NOT NULL columns that nobody gave one.
fn implicit_default(ty: &FieldType) -> Datum {
    use codec::time::{Duration, Time};
    match ty.tp {
        TypeCode::Float | TypeCode::Double => Datum::Float(0.0),
        TypeCode::NewDecimal | TypeCode::Unspecified => {
            Datum::Decimal(codec::decimal::Decimal::from_i128(0, ty.decimal.clamp(0, 30) as u8))
        }
        TypeCode::Date | TypeCode::NewDate | TypeCode::DateTime | TypeCode::Timestamp => {
            Datum::Time(Time::zero(TimeKind::from_type(ty.tp).unwrap_or(TimeKind::DateTime), ty.fsp()))
        }
        TypeCode::Duration => Datum::Duration(Duration { micros: 0, fsp: ty.fsp() }),
        TypeCode::Year => Datum::UInt(0),
        TypeCode::Enum => Datum::Enum(1),
        TypeCode::Set => Datum::Set(0),
        TypeCode::Bit => Datum::Bit(0),
        TypeCode::Json => Datum::Json(codec::json::Json::Null),
        tp if tp.is_string() => Datum::Bytes(Vec::new()),
        _ if ty.is_unsigned() => Datum::UInt(0),
        _ => Datum::Int(0),
    }
}

fn writable(database: &str, table: &TableInfo, operation: &'static str) -> Result<(), SqlError> {
    if table.kind == TableKind::Memory {
        let _ = database;
        return Err(SqlError::NotUpdatable { table: table.name.original.clone(), operation });
    }
    Ok(())
}

/// The handle of a row: its integer primary key.
fn row_handle(table: &TableInfo, row: &[Datum]) -> Option<i64> {
    table.handle_column().and_then(|c| row.get(c.offset)).and_then(rows::handle_of)
}

// ---- INSERT and REPLACE ----

/// Where a column's value comes from.
enum Source {
    /// An expression without columns, or over earlier columns of the row.
    Expr(Expr),
    /// DEFAULT, or not named.
    Default,
}

/// INSERT and REPLACE.
pub(super) async fn insert(ctx: &mut ExecContext<'_>, insert: &ast::Insert) -> Result<Outcome, SqlError> {
    if insert.overwrite
        || insert.partitioned.is_some()
        || insert.returning.is_some()
        || !insert.after_columns.is_empty()
    {
        return unsupported("this INSERT clause");
    }
    let ast::TableObject::TableName(name) = &insert.table else { return unsupported("INSERT into a function") };
    let env = Env::new(ctx, true);
    let mut binder = Binder::new(&env);
    let (database, table) = binder.find_table(name)?;
    writable(&database, &table, "INSERT")?;
    let alias = table.name.original.clone();

    // Columns that values are given for.
    let assigned: Vec<(&ColumnInfo, Option<&ast::Expr>)> = if insert.assignments.is_empty() {
        match insert.columns.is_empty() {
            true => table.public_columns().map(|c| (c, None)).collect(),
            false => insert
                .columns
                .iter()
                .map(|n| Ok((find_column(&table, &column_name(n)?, "field list")?, None)))
                .collect::<Result<_, SqlError>>()?,
        }
    } else {
        insert
            .assignments
            .iter()
            .map(|a| {
                let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
                Ok((find_column(&table, &column_name(n)?, "field list")?, Some(&a.value)))
            })
            .collect::<Result<_, SqlError>>()?
    };
    for (i, (c, _)) in assigned.iter().enumerate() {
        if assigned[..i].iter().any(|(o, _)| o.id == c.id) {
            return Err(SqlError::ColumnSpecifiedTwice(c.name.original.clone()));
        }
    }

    // Values may name columns of the row given before them; unset ones read as their default.
    let (_, visible, _) = binder.scan(&database, &table, &alias, false);
    let row_ids: HashMap<ColId, usize> =
        visible.iter().filter_map(|v| Some((v.id, table.column(&v.org_name)?.offset))).collect();
    binder.open(visible.clone());
    let mut sources: Vec<Vec<Source>> = Vec::new();
    let mut query_plan = None;
    let is_default = |e: &ast::Expr| matches!(e, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
    let bind_value = |binder: &mut Binder<'_>, e: &ast::Expr, column: &ColumnInfo| -> Result<Source, SqlError> {
        if is_default(e) {
            return Ok(Source::Default);
        }
        if let ast::Expr::Function(f) = e
            && f.name.to_string().eq_ignore_ascii_case("default")
        {
            let _ = column;
            return Ok(Source::Default);
        }
        binder.bind_expr(e).map(Source::Expr)
    };
    if !insert.assignments.is_empty() {
        let mut row = Vec::new();
        for (c, e) in &assigned {
            if let Some(e) = e {
                row.push(bind_value(&mut binder, e, c)?);
            }
        }
        sources.push(row);
    } else {
        match insert.source.as_deref() {
            // `INSERT INTO t VALUES ()`
            None => sources.push(assigned.iter().map(|_| Source::Default).collect()),
            Some(ast::Query { body, with: None, order_by: None, limit_clause: None, .. })
                if matches!(**body, ast::SetExpr::Values(_)) =>
            {
                if let ast::SetExpr::Values(values) = &**body {
                    for (i, row) in values.rows.iter().enumerate() {
                        let row = &row.content;
                        if row.is_empty() && (insert.columns.is_empty() || assigned.is_empty()) {
                            sources.push(assigned.iter().map(|_| Source::Default).collect());
                            continue;
                        }
                        if row.len() != assigned.len() {
                            return Err(SqlError::ColumnCountMismatch(i as u64 + 1));
                        }
                        let row = row.iter().zip(&assigned).map(|(e, (c, _))| bind_value(&mut binder, e, c));
                        sources.push(row.collect::<Result<_, _>>()?);
                    }
                }
            }
            Some(query) => {
                binder.close()?;
                let bound = binder.bind_query(query)?;
                if bound.columns.len() != assigned.len() {
                    return Err(SqlError::ColumnCountMismatch(1));
                }
                binder.open(visible.clone());
                query_plan = Some(bound.plan);
            }
        }
    }
    binder.close()?;

    // ON DUPLICATE KEY UPDATE sees the old row as the table's columns and the new one through VALUES() or an alias.
    let mut on_duplicate: Vec<(usize, Expr)> = Vec::new();
    let mut old_ids: HashMap<ColId, usize> = HashMap::new();
    let width = table.columns.len();
    match &insert.on {
        None => {}
        Some(ast::OnInsert::DuplicateKeyUpdate(assignments)) => {
            let (_, old_visible, _) = binder.scan(&database, &table, &alias, false);
            let (_, new_visible, _) = binder.scan(&database, &table, "", false);
            for v in &old_visible {
                old_ids.insert(v.id, table.column(&v.org_name).map_or(0, |c| c.offset));
            }
            let mut all = old_visible;
            for mut v in new_visible {
                old_ids.insert(v.id, width + table.column(&v.org_name).map_or(0, |c| c.offset));
                binder.inserted.insert(v.name.to_lowercase(), v.id);
                if let Some(row_alias) = &insert.insert_alias {
                    let at = assigned.iter().position(|(c, _)| c.name.matches(&v.name));
                    if let (Some(names), Some(at)) = (&row_alias.col_aliases, at)
                        && let Some(n) = names.get(at)
                    {
                        v.name = n.value.clone();
                    }
                    v.table = column_name(&row_alias.row_alias)?;
                    v.database = String::new();
                    v.merged = row_alias.col_aliases.is_none();
                    all.push(v);
                }
            }
            binder.open(all);
            for a in assignments {
                let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
                let column = find_column(&table, &column_name(n)?, "field list")?;
                let e = if is_default(&a.value) {
                    let text = column.default.constant().map(<[u8]>::to_vec);
                    text.map_or_else(Expr::null, |t| crate::planner::expr::parameter(Datum::Bytes(t), env.eval()))
                } else {
                    binder.bind_expr(&a.value)?
                };
                on_duplicate.push((column.offset, e));
            }
            binder.close()?;
        }
        Some(_) => return unsupported("ON CONFLICT"),
    }

    let columns = std::mem::take(&mut binder.columns);
    let subqueries = std::mem::take(&mut binder.subqueries);
    drop(binder);
    ctx.session.txn.use_table(&table);

    // Rows of a SELECT, or expressions evaluated one by one.
    let mut fitting = Fitting::new(ctx, insert.ignore);
    let assigned_offsets: Vec<usize> = assigned.iter().map(|(c, _)| c.offset).collect();
    let mut new_rows: Vec<Vec<Datum>> = Vec::new();
    let rt;
    match query_plan {
        Some(plan) => {
            let planned = plan_query(ctx, plan, columns, subqueries, true).await?;
            let mut op = operator::build(&planned.plan, &planned.rt)?;
            let mut n = 0;
            while let Some(batch) = op.next().await? {
                for r in 0..batch.num_rows() {
                    n += 1;
                    let mut row = vec![None; width];
                    for (i, offset) in assigned_offsets.iter().enumerate() {
                        let d = fitting.fit(batch.datum(r, i), &batch.types()[i], &table.columns[*offset], n)?;
                        row[*offset] = Some(d);
                    }
                    new_rows.push(complete_row(&table, row, &mut fitting, false)?);
                }
            }
            rt = planned.rt;
        }
        None => {
            let reader = if subqueries.is_empty() {
                Reader::new(ctx.server.kv()?.snapshot(codec::timestamp::Timestamp::MAX))
            } else {
                let mut tables = Vec::new();
                subqueries.iter().for_each(|s| s.plan.tables(&mut tables));
                super::reader_of(ctx, &tables, true).await?
            };
            let runtime =
                Runtime::new(reader, Arc::new(columns), eval_context(ctx, true), ctx.session.interrupt.clone());
            rt = Arc::new(runtime);
            let values = run_subqueries(subqueries, &rt).await?;
            for (_, e) in &mut on_duplicate {
                values.apply_expr(e)?;
            }
            let single = sources.len() == 1;
            for (n, source) in sources.into_iter().enumerate() {
                let row_number = n as u64 + 1;
                let mut row: Vec<Option<Datum>> = vec![None; width];
                for (offset, s) in assigned_offsets.iter().zip(source) {
                    let column = &table.columns[*offset];
                    let d = match s {
                        Source::Default => fitting.default(column)?,
                        Source::Expr(mut e) => {
                            values.apply_expr(&mut e)?;
                            let d = match &e {
                                Expr::Const { value, .. } => value.clone(),
                                e => {
                                    let e = resolve(e, &row_ids)?;
                                    let so_far = local_row(&table, &row, &fitting.zone);
                                    rt.eval(|cx| query::eval::eval_row(&e, &so_far, cx))?
                                }
                            };
                            fitting.fit(d, e.ty(), column, row_number)?
                        }
                    };
                    row[*offset] = Some(d);
                }
                new_rows.push(complete_row(&table, row, &mut fitting, single)?);
            }
        }
    }

    let records = new_rows.len() as u64;
    let (handles, last_insert_id) = assign_ids(ctx, &table, &mut new_rows, &mut fitting).await?;
    let wait = lock_wait(ctx.session, false);
    let found_rows = false;
    let zone = fitting.zone.clone();
    let mut writer = Writer::new(table.clone(), zone.clone());
    let mut affected = 0;
    let mut duplicates = 0;
    let careful = insert.ignore || insert.replace_into || !on_duplicate.is_empty();
    let mut updated_id = 0;
    if !careful {
        let txn = ctx.txn().await?;
        for (row, (handle, fresh)) in new_rows.iter().zip(&handles) {
            writer.insert(txn, row, *handle, *fresh)?;
            affected += 1;
        }
        writer.finish(txn, wait).await?;
    } else {
        // Everything that may be in the way is read (and locked) at once.
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (row, (handle, fresh)) in new_rows.iter().zip(&handles) {
            all.extend(writer.conflict_keys(row, *handle, *fresh)?.into_iter().map(|k| k.0));
        }
        all.sort();
        all.dedup();
        let txn = ctx.txn().await?;
        let mut known: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
        let values = writer.current(txn, &all, wait).await?;
        known.extend(all.into_iter().zip(values));
        let decoder = rows::full_decoder(&table);
        'rows: for (n, (row, (handle, fresh))) in new_rows.iter().zip(&handles).enumerate() {
            let row_number = n as u64 + 1;
            loop {
                // The first key that is in the way: the primary key before the others.
                let mut conflict = None;
                for (key, index) in writer.conflict_keys(row, *handle, *fresh)? {
                    let value = match txn.buffer().get(&key) {
                        Some(entry) => entry.value.clone(),
                        None => known.get(&key).cloned().flatten(),
                    };
                    if let Some(value) = value {
                        conflict = Some((index.map(|i| i.id), value));
                        break;
                    }
                }
                let Some((index_id, value)) = conflict else {
                    let mut probe = Writer::new(table.clone(), zone.clone());
                    std::mem::swap(&mut probe, &mut writer);
                    let result = probe.insert(txn, row, *handle, *fresh);
                    writer = probe;
                    result?;
                    affected += 1;
                    continue 'rows;
                };
                duplicates += 1;
                let index = index_id.and_then(|id| table.indexes.iter().find(|i| i.id == id));
                if insert.ignore && on_duplicate.is_empty() && !insert.replace_into {
                    fitting.warnings.push((true, rows::duplicate_row(&table, index, row, &zone)));
                    continue 'rows;
                }
                let old_handle = match index {
                    None => *handle,
                    Some(_) => codec::table::decode_unique_handle(&value).map_err(rows::damaged)?,
                };
                let old_key = codec::table::record_key(table.id, old_handle);
                let old_value = match index {
                    None => Some(value),
                    Some(_) => writer.current(txn, std::slice::from_ref(&old_key), wait).await?.pop().flatten(),
                };
                let Some(old_value) = old_value else {
                    // The entry outlived its row: a conflict with a transaction that is just committing.
                    return Err(SqlError::WriteConflict("an index entry without its row".into()));
                };
                let old = decoder.decode(&old_value, old_handle).map_err(rows::damaged)?;
                if insert.replace_into {
                    writer.remove(txn, &old, old_handle)?;
                    affected += 1;
                    continue;
                }
                // ON DUPLICATE KEY UPDATE.
                let mut new = old.clone();
                for (offset, e) in &on_duplicate {
                    let column = &table.columns[*offset];
                    let mut both = local_values(&table, &new, &zone);
                    both.extend(local_values(&table, row, &zone));
                    let e = resolve(e, &old_ids)?;
                    let d = rt.eval(|cx| query::eval::eval_row(&e, &both, cx))?;
                    let d = fitting.fit(d, e.ty(), column, row_number)?;
                    new[*offset] = fitting.check_null(d, column, true)?;
                }
                if new == old {
                    affected += u64::from(found_rows);
                } else {
                    touch(&table, &mut new, &on_duplicate.iter().map(|d| d.0).collect::<Vec<_>>(), &fitting);
                    let new_handle = row_handle(&table, &new).unwrap_or(old_handle);
                    writer.update(txn, &old, old_handle, &new, new_handle)?;
                    affected += 2;
                }
                if let Some(c) = table.auto_increment_column() {
                    updated_id = new.get(c.offset).and_then(rows::handle_of).map_or(0, |v| v as u64);
                }
                continue 'rows;
            }
        }
        writer.finish(txn, wait).await?;
    }
    collect_context(ctx, &rt);
    let warnings = fitting.report(ctx);
    let info = if records > 1
        || insert.source.as_ref().is_some_and(|q| !matches!(*q.body, ast::SetExpr::Values(_)))
    {
        format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}")
    } else {
        String::new()
    };
    let last_insert_id =
        if duplicates > 0 && updated_id != 0 && !on_duplicate.is_empty() { updated_id } else { last_insert_id };
    Ok(Outcome::Ok(Done { affected_rows: affected, matched_rows: None, last_insert_id, info }))
}

/// The row so far as expressions see it: TIMESTAMPs in the session's zone, unset columns NULL.
fn local_row(table: &TableInfo, row: &[Option<Datum>], zone: &TimeZone) -> Vec<Datum> {
    let values: Vec<Datum> = row.iter().map(|d| d.clone().unwrap_or_default()).collect();
    local_values(table, &values, zone)
}

fn local_values(table: &TableInfo, row: &[Datum], zone: &TimeZone) -> Vec<Datum> {
    row.iter().zip(&table.columns).map(|(d, c)| rows::to_local(d.clone(), &c.field_type, zone)).collect()
}

/// Fills in defaults and checks NOT NULL. AUTO_INCREMENT columns may still be NULL.
fn complete_row(
    table: &TableInfo,
    row: Vec<Option<Datum>>,
    fitting: &mut Fitting,
    single: bool,
) -> Result<Vec<Datum>, SqlError> {
    let mut out = Vec::with_capacity(row.len());
    for (d, c) in row.into_iter().zip(&table.columns) {
        if !c.is_writable() {
            out.push(Datum::Null);
            continue;
        }
        let auto = c.field_type.has(flags::AUTO_INCREMENT);
        let d = match d {
            Some(d) => d,
            // Columns being added hold what old rows read as.
            None if !c.is_public() => match c.default {
                ColumnDefault::CurrentTimestamp => fitting.now(&c.field_type),
                _ => rows::origin_default(c),
            },
            None => fitting.default(c)?,
        };
        out.push(if auto { d } else { fitting.check_null(d, c, single)? });
    }
    Ok(out)
}

/// Gives handles and AUTO_INCREMENT values to new rows: (handle, whether it is certainly new) of each, and the first value
/// generated.
async fn assign_ids(
    ctx: &mut ExecContext<'_>,
    table: &Arc<TableInfo>,
    new_rows: &mut [Vec<Datum>],
    fitting: &mut Fitting,
) -> Result<(Vec<(i64, bool)>, u64), SqlError> {
    let domain = ctx.server.domain()?;
    let ids = domain.auto_ids();
    let mut first = 0_u64;
    if let Some(column) = table.auto_increment_column() {
        let generate = |d: &Datum| match d {
            Datum::Null => true,
            Datum::Int(0) | Datum::UInt(0) => !fitting.zero_is_value,
            Datum::Float(v) => *v == 0.0 && !fitting.zero_is_value,
            _ => false,
        };
        let wanted = new_rows.iter().filter(|r| generate(&r[column.offset])).count() as u64;
        let given = new_rows.iter().filter(|r| !generate(&r[column.offset])).filter_map(|r| match &r[column.offset] {
            Datum::Float(v) => Some(*v as i64),
            d => d.as_i64(),
        });
        if let Some(most) = given.max()
            && most > 0
        {
            ids.rebase(table, AutoIdKind::AutoIncrement, most).await?;
        }
        if wanted > 0 {
            let start = ids.allocate(table, AutoIdKind::AutoIncrement, wanted).await?;
            let (_, max) = column.field_type.signed_range();
            let limit = if column.field_type.is_unsigned() { column.field_type.unsigned_max() } else { max as u64 };
            let mut next = start;
            first = start as u64;
            for row in new_rows.iter_mut().filter(|r| generate(&r[column.offset])) {
                if next as u64 > limit {
                    return Err(SqlError::AutoIncrementExhausted);
                }
                row[column.offset] = match column.field_type.tp {
                    TypeCode::Float | TypeCode::Double => Datum::Float(next as f64),
                    _ => rows::handle_datum(next, &column.field_type),
                };
                next += 1;
            }
        }
    }
    if table.pk_is_handle {
        let mut handles = Vec::with_capacity(new_rows.len());
        for row in new_rows.iter() {
            let handle = row_handle(table, row).ok_or_else(|| {
                SqlError::ColumnCannotBeNull(
                    table.handle_column().map_or_else(String::new, |c| c.name.original.clone()),
                )
            })?;
            handles.push((handle, false));
        }
        return Ok((handles, first));
    }
    let start = match new_rows.len() as u64 {
        0 => 0,
        n => ids.allocate(table, AutoIdKind::RowId, n).await?,
    };
    Ok(((0..new_rows.len() as i64).map(|i| (start + i, true)).collect(), first))
}

fn column_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    Ok(crate::planner::binder::name_parts(name)?.pop().unwrap_or_default())
}

fn find_column<'t>(table: &'t TableInfo, name: &str, clause: &str) -> Result<&'t ColumnInfo, SqlError> {
    table.column(name).ok_or_else(|| SqlError::UnknownColumn { column: name.to_owned(), clause: clause.to_owned() })
}

/// ON UPDATE CURRENT_TIMESTAMP of columns that the statement does not set.
fn touch(table: &TableInfo, new: &mut [Datum], set: &[usize], fitting: &Fitting) {
    for c in table.writable_columns().filter(|c| c.on_update_now && !set.contains(&c.offset)) {
        new[c.offset] = fitting.now(&c.field_type);
    }
}

// ---- UPDATE and DELETE ----

/// A table that the statement changes: its columns' numbers by offset, and its handle's.
struct Target {
    table: Arc<TableInfo>,
    database: String,
    alias: String,
    ids: Vec<ColId>,
    handle: ColId,
}

/// A change, bound: which rows, and what is set.
struct Change {
    plan: Plan,
    targets: Vec<Target>,
    /// (target, column offset, value; `None` is DEFAULT).
    assignments: Vec<(usize, usize, Option<Expr>)>,
    columns: crate::planner::plan::Columns,
    subqueries: Vec<crate::planner::plan::Subquery>,
    single: bool,
}

/// Tables of a FROM clause in which all columns and handles of the tables are wanted.
fn bind_targets<'a>(
    binder: &mut Binder<'a>,
    from: &[ast::TableWithJoins],
) -> Result<(Plan, Vec<Visible>, Vec<Target>), SqlError> {
    let (mut plan, visible) = binder.bind_from(from)?;
    let mut targets = Vec::new();
    widen(&mut plan, binder, &mut targets);
    Ok((plan, visible, targets))
}

/// Adds every column and the handle to each scan.
fn widen(plan: &mut Plan, binder: &mut Binder<'_>, targets: &mut Vec<Target>) {
    match plan {
        Plan::Scan(scan) => {
            for c in &scan.table.columns {
                if !scan.columns.iter().any(|(o, _)| *o == c.offset) {
                    let id = binder.columns.add(c.name.original.clone(), c.field_type.clone());
                    scan.columns.push((c.offset, id));
                }
            }
            let handle = binder.columns.add("_tidb_rowid", FieldType::bigint());
            scan.handle = Some(handle);
            let mut ids = vec![0; scan.table.columns.len()];
            for (o, id) in &scan.columns {
                ids[*o] = *id;
            }
            targets.push(Target {
                table: scan.table.clone(),
                database: scan.database.clone(),
                alias: scan.alias.clone(),
                ids,
                handle,
            });
        }
        Plan::Join { left, right, .. } => {
            widen(left, binder, targets);
            widen(right, binder, targets);
        }
        _ => {}
    }
}

fn bind_tail(
    binder: &mut Binder<'_>,
    mut plan: Plan,
    selection: Option<&ast::Expr>,
    order: &[ast::OrderByExpr],
    limit: Option<&ast::Expr>,
) -> Result<Plan, SqlError> {
    if let Some(e) = selection {
        let mut conditions = Vec::new();
        binder.bind_condition(e)?.split_and(&mut conditions);
        plan = binder.place_applies(plan);
        plan = Plan::Filter { input: Box::new(plan), conditions };
    }
    if !order.is_empty() {
        let keys = order
            .iter()
            .map(|o| {
                Ok(SortKey { expr: binder.bind_expr(&o.expr)?, desc: o.options.sort == Some(ast::OrderBySort::Desc) })
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        plan = Plan::Sort { input: Box::new(plan), keys, limit: None };
    }
    if let Some(e) = limit {
        let count = binder.row_count(e)?;
        plan = Plan::Limit { input: Box::new(plan), offset: 0, count };
    }
    Ok(plan)
}

/// A projection of the columns that the change needs, so that nothing else is read.
fn keep_columns(plan: Plan, targets: &[Target], others: &[&Expr], columns: &crate::planner::plan::Columns) -> Plan {
    let mut ids: Vec<ColId> = targets.iter().flat_map(|t| t.ids.iter().copied().chain([t.handle])).collect();
    for e in others {
        ids.extend(e.columns());
    }
    let available = plan.outputs();
    ids.retain(|i| available.contains(i));
    ids.sort_unstable();
    ids.dedup();
    let exprs = ids.into_iter().map(|id| (columns.expr(id), id)).collect();
    Plan::Project { input: Box::new(plan), exprs }
}

fn bind_update(env: &Env, update: &ast::Update) -> Result<Change, SqlError> {
    let mut binder = Binder::new(env);
    if update.from.is_some() || update.returning.is_some() {
        return unsupported("this UPDATE clause");
    }
    let from = [update.table.clone()];
    let (plan, visible, mut targets) = bind_targets(&mut binder, &from)?;
    let single = matches!(plan, Plan::Scan(_));
    if matches!(plan, Plan::Memory { .. }) {
        return Err(SqlError::NotUpdatable { table: update.table.relation.to_string(), operation: "UPDATE" });
    }
    binder.open(visible.clone());
    let plan = bind_tail(&mut binder, plan, update.selection.as_ref(), &update.order_by, update.limit.as_ref())?;
    let mut assignments = Vec::new();
    for a in &update.assignments {
        let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
        let parts = crate::planner::binder::name_parts(n)?;
        let unknown = || SqlError::UnknownColumn { column: parts.join("."), clause: "field list".into() };
        let name = parts.last().ok_or_else(unknown)?;
        let table_part = parts.len().checked_sub(2).map(|i| &parts[i]);
        let mut found = visible.iter().filter(|v| {
            v.name.eq_ignore_ascii_case(name) && table_part.is_none_or(|t| v.table.eq_ignore_ascii_case(t))
        });
        let v = found.next().ok_or_else(unknown)?;
        if found.next().is_some() {
            return Err(SqlError::AmbiguousColumn { column: parts.join("."), clause: "field list".into() });
        }
        let (target, offset) = targets
            .iter()
            .enumerate()
            .find_map(|(i, t)| t.ids.iter().position(|id| *id == v.id).map(|o| (i, o)))
            .ok_or_else(|| SqlError::NotUpdatable { table: v.table.clone(), operation: "UPDATE" })?;
        let is_default = matches!(&a.value, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
        let value = if is_default { None } else { Some(binder.bind_expr(&a.value)?) };
        assignments.push((target, offset, value));
    }
    let plan = binder.place_applies(plan);
    binder.close()?;
    // Only the tables that are set.
    let used: Vec<bool> = (0..targets.len()).map(|i| assignments.iter().any(|a| a.0 == i)).collect();
    let mut renumber = HashMap::new();
    let mut kept = Vec::new();
    for (i, t) in targets.drain(..).enumerate() {
        if used[i] {
            renumber.insert(i, kept.len());
            kept.push(t);
        }
    }
    for a in &mut assignments {
        a.0 = renumber[&a.0];
    }
    for t in &kept {
        writable(&t.database, &t.table, "UPDATE")?;
    }
    let values: Vec<&Expr> = assignments.iter().filter_map(|a| a.2.as_ref()).collect();
    let plan = keep_columns(plan, &kept, &values, &binder.columns);
    Ok(Change {
        plan,
        targets: kept,
        assignments,
        columns: std::mem::take(&mut binder.columns),
        subqueries: std::mem::take(&mut binder.subqueries),
        single,
    })
}

fn bind_delete(env: &Env, delete: &ast::Delete) -> Result<Change, SqlError> {
    let mut binder = Binder::new(env);
    if delete.returning.is_some() {
        return Err(SqlError::NotSupported("this DELETE clause".into()));
    }
    let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
    // `DELETE a FROM …` names tables before FROM; `DELETE FROM a USING …` in it.
    let (sources, named): (&[ast::TableWithJoins], Vec<String>) = match (&delete.using, delete.tables.is_empty()) {
        (Some(using), _) => {
            let mut names = Vec::new();
            for f in from {
                if let ast::TableFactor::Table { name, .. } = &f.relation {
                    names.push(column_name(name)?);
                }
            }
            (using, names)
        }
        (None, false) => (from, delete.tables.iter().map(column_name).collect::<Result<_, _>>()?),
        (None, true) => (from, Vec::new()),
    };
    let (plan, visible, mut targets) = bind_targets(&mut binder, sources)?;
    let single = matches!(plan, Plan::Scan(_));
    if matches!(plan, Plan::Memory { .. }) {
        return Err(SqlError::NotUpdatable { table: sources[0].relation.to_string(), operation: "DELETE" });
    }
    if !named.is_empty() {
        for n in &named {
            if !targets.iter().any(|t| t.alias.eq_ignore_ascii_case(n)) {
                return Err(SqlError::UnknownTable(n.clone()));
            }
        }
        targets.retain(|t| named.iter().any(|n| t.alias.eq_ignore_ascii_case(n)));
    }
    for t in &targets {
        writable(&t.database, &t.table, "DELETE")?;
    }
    binder.open(visible);
    let plan = bind_tail(&mut binder, plan, delete.selection.as_ref(), &delete.order_by, delete.limit.as_ref())?;
    binder.close()?;
    let plan = keep_columns(plan, &targets, &[], &binder.columns);
    Ok(Change {
        plan,
        targets,
        assignments: Vec::new(),
        columns: std::mem::take(&mut binder.columns),
        subqueries: std::mem::take(&mut binder.subqueries),
        single,
    })
}

/// For EXPLAIN.
pub(super) async fn plan_update(ctx: &mut ExecContext<'_>, update: &ast::Update) -> Result<Planned, SqlError> {
    let env = Env::new(ctx, true);
    let change = bind_update(&env, update)?;
    plan_query(ctx, change.plan, change.columns, change.subqueries, false).await
}

/// For EXPLAIN.
pub(super) async fn plan_delete(ctx: &mut ExecContext<'_>, delete: &ast::Delete) -> Result<Planned, SqlError> {
    let env = Env::new(ctx, true);
    let change = bind_delete(&env, delete)?;
    plan_query(ctx, change.plan, change.columns, change.subqueries, false).await
}

/// Rows found, locked in a pessimistic transaction.
struct Found {
    batches: Vec<Batch>,
    at: HashMap<ColId, usize>,
    rt: Arc<Runtime>,
    targets: Vec<Target>,
    assignments: Vec<(usize, usize, Option<Expr>)>,
}

async fn find_rows(ctx: &mut ExecContext<'_>, change: Change) -> Result<Found, SqlError> {
    let Change { mut plan, targets, assignments, columns, subqueries, single } = change;
    let mut tables = Vec::new();
    plan.tables(&mut tables);
    subqueries.iter().for_each(|s| s.plan.tables(&mut tables));
    for t in &targets {
        ctx.session.txn.use_table(&t.table);
    }
    let wait = lock_wait(ctx.session, false);
    let client = ctx.server.kv()?.clone();
    let cx = eval_context(ctx, true);
    let interrupt = ctx.session.interrupt.clone();
    let pessimistic = ctx.txn().await?.is_pessimistic();
    let columns = Arc::new(columns);
    let plans: Vec<&Plan> = std::iter::once(&plan).chain(subqueries.iter().map(|s| &s.plan)).collect();
    let memory = super::load_memory_tables(ctx, &plans).await?;
    let txn = ctx.txn().await?;
    let start = txn.snapshot().clone();
    let overlay = overlay_of(txn, &tables);

    // Rows by key are locked before they are read: one request instead of two.
    if pessimistic && single && subqueries.is_empty() {
        let probe = Runtime::new(
            Reader::with_overlay(start.clone(), overlay.clone()),
            columns.clone(),
            cx.clone(),
            interrupt.clone(),
        );
        let placed = optimize(plan.clone(), &probe);
        if let Some(keys) = point_keys(&placed) {
            let locked = lock_points(txn, &keys, wait).await?;
            let mut overlay = overlay;
            for (k, v) in locked.values {
                overlay.entry(k).or_insert(v);
            }
            let reader = Reader::with_overlay(client.snapshot(locked.ts), overlay);
            let mut runtime = Runtime::new(reader, columns, cx, interrupt);
            runtime.memory = memory;
            let rt = Arc::new(runtime);
            return collect_rows(placed, rt, targets, assignments).await;
        }
    }
    let reader = match pessimistic {
        true => Reader::with_overlay(client.snapshot(client.timestamp().await?), overlay),
        false => Reader::with_overlay(start, overlay),
    };
    let mut runtime = Runtime::new(reader, columns, cx, interrupt);
    runtime.memory = memory;
    let rt = Arc::new(runtime);
    let values = run_subqueries(subqueries, &rt).await?;
    values.apply(&mut plan)?;
    let mut assignments = assignments;
    for e in assignments.iter_mut().filter_map(|a| a.2.as_mut()) {
        values.apply_expr(e)?;
    }
    let placed = optimize(plan, &rt);
    let found = collect_rows(placed, rt.clone(), targets, assignments).await?;
    if pessimistic {
        let mut keys = Vec::new();
        for t in &found.targets {
            let column = found.at[&t.handle];
            for b in &found.batches {
                let handles = (0..b.num_rows()).filter_map(|r| b.datum(r, column).as_i64());
                keys.extend(handles.map(|h| codec::table::record_key(t.table.id, h)));
            }
        }
        if !keys.is_empty() {
            let options =
                kv_client::LockOptions { wait, for_update_ts: Some(rt.reader.snapshot().ts()), ..Default::default() };
            ctx.txn().await?.lock_keys(keys, options).await?;
        }
    }
    Ok(found)
}

/// Keys of a plan that reads single rows of one table.
struct PointKeys {
    table: Arc<TableInfo>,
    rows: Vec<Vec<u8>>,
    /// Keys of a unique index, whose values lead to the rows.
    entries: Vec<Vec<u8>>,
}

fn point_keys(plan: &Plan) -> Option<PointKeys> {
    match plan {
        Plan::Scan(scan) => match &scan.access {
            Access::PointHandles(h) => {
                let rows = h.iter().map(|h| codec::table::record_key(scan.table.id, *h)).collect();
                Some(PointKeys { table: scan.table.clone(), rows, entries: Vec::new() })
            }
            Access::PointIndex { index, keys } => {
                let index = scan.table.indexes.iter().find(|i| i.id == *index)?;
                let parts = rows::index_parts(&scan.table, index);
                let entries = keys
                    .iter()
                    .map(|k| codec::table::index_values_key(scan.table.id, index.id, &parts, k).ok())
                    .collect::<Option<Vec<_>>>()?;
                Some(PointKeys { table: scan.table.clone(), rows: Vec::new(), entries })
            }
            _ => None,
        },
        Plan::Project { input, .. }
        | Plan::Filter { input, .. }
        | Plan::Sort { input, .. }
        | Plan::Limit { input, .. } => point_keys(input),
        _ => None,
    }
}

struct LockedPoints {
    ts: codec::timestamp::Timestamp,
    values: Overlay,
}

async fn lock_points(
    txn: &mut kv_client::Transaction,
    keys: &PointKeys,
    wait: LockWait,
) -> Result<LockedPoints, SqlError> {
    let options = || kv_client::LockOptions { wait, return_values: true, ..Default::default() };
    let mut values = Overlay::new();
    let mut ts = txn.for_update_ts();
    let mut row_keys = keys.rows.clone();
    if !keys.entries.is_empty() {
        let locked = txn.lock_keys(keys.entries.clone(), options()).await?;
        ts = ts.max(locked.for_update_ts);
        for (k, v) in keys.entries.iter().zip(locked.values) {
            let current = match txn.buffer().get(k) {
                Some(entry) => entry.value.clone(),
                None => v,
            };
            if let Some(v) = &current {
                let handle = codec::table::decode_unique_handle(v).map_err(rows::damaged)?;
                row_keys.push(codec::table::record_key(keys.table.id, handle));
            }
            values.insert(k.clone(), current);
        }
    }
    if !row_keys.is_empty() {
        let locked = txn.lock_keys(row_keys.clone(), options()).await?;
        ts = ts.max(locked.for_update_ts);
        values.extend(row_keys.into_iter().zip(locked.values));
    }
    Ok(LockedPoints { ts, values })
}

async fn collect_rows(
    placed: Plan,
    rt: Arc<Runtime>,
    targets: Vec<Target>,
    assignments: Vec<(usize, usize, Option<Expr>)>,
) -> Result<Found, SqlError> {
    let at = positions(&placed.outputs());
    let mut op = operator::build(&placed, &rt)?;
    let mut batches = Vec::new();
    while let Some(b) = op.next().await? {
        if !b.is_empty() {
            rt.hold(b.memory_bytes())?;
            batches.push(b);
        }
    }
    Ok(Found { batches, at, rt, targets, assignments })
}

/// The stored row of a target within a row of the plan.
fn stored_row(found: &Found, target: &Target, batch: &Batch, r: usize, zone: &TimeZone) -> Option<(Vec<Datum>, i64)> {
    // A table on the inner side of an outer join may have no row here.
    let handle = batch.datum(r, found.at[&target.handle]).as_i64()?;
    let row = target
        .ids
        .iter()
        .zip(&target.table.columns)
        .map(|(id, c)| {
            found.at.get(id).map_or(Datum::Null, |i| rows::to_stored(batch.datum(r, *i), &c.field_type, zone))
        })
        .collect();
    Some((row, handle))
}

/// UPDATE.
pub(super) async fn update(ctx: &mut ExecContext<'_>, update: &ast::Update) -> Result<Outcome, SqlError> {
    let ignore = matches!(update.or, Some(ast::SqliteOnConflict::Ignore));
    let change = {
        let env = Env::new(ctx, true);
        bind_update(&env, update)?
    };
    let found = find_rows(ctx, change).await?;
    let mut fitting = Fitting::new(ctx, ignore);
    let zone = fitting.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let (mut matched, mut changed) = (0, 0);
    let mut done: Vec<std::collections::HashSet<i64>> = vec![Default::default(); found.targets.len()];
    let mut writers: Vec<Writer> = found.targets.iter().map(|t| Writer::new(t.table.clone(), zone.clone())).collect();
    let mut rebase: Option<i64> = None;
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            // Assignments see what earlier ones have set.
            let mut values = batch.row(r);
            for (i, target) in found.targets.iter().enumerate() {
                let Some((old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle) {
                    continue;
                }
                matched += 1;
                let mut new = old.clone();
                let mut set = Vec::new();
                for (_, offset, value) in found.assignments.iter().filter(|a| a.0 == i) {
                    let column = &target.table.columns[*offset];
                    let d = match value {
                        None => fitting.default(column)?,
                        Some(e) => {
                            let e = resolve(e, &found.at)?;
                            let d = found.rt.eval(|cx| query::eval::eval_row(&e, &values, cx))?;
                            fitting.fit(d, e.ty(), column, matched)?
                        }
                    };
                    let d = fitting.check_null(d, column, true)?;
                    if let Some(at) = found.at.get(&target.ids[*offset]) {
                        values[*at] = rows::to_local(d.clone(), &column.field_type, &zone);
                    }
                    new[*offset] = d;
                    set.push(*offset);
                }
                if same_row(&target.table, &old, &new) {
                    continue;
                }
                changed += 1;
                touch(&target.table, &mut new, &set, &fitting);
                if let Some(c) = target.table.auto_increment_column()
                    && set.contains(&c.offset)
                {
                    rebase = rebase.max(rows::handle_of(&new[c.offset]));
                }
                let new_handle = row_handle(&target.table, &new).unwrap_or(handle);
                let txn = ctx.txn().await?;
                match writers[i].update(txn, &old, handle, &new, new_handle) {
                    Err(e @ SqlError::DuplicateEntry { .. }) if ignore => fitting.warnings.push((true, e)),
                    result => result?,
                }
            }
        }
    }
    if let Some(value) = rebase
        && value > 0
        && let [target] = &found.targets[..]
    {
        ctx.server.domain()?.auto_ids().rebase(&target.table, AutoIdKind::AutoIncrement, value).await?;
    }
    for w in &mut writers {
        let txn = ctx.txn().await?;
        w.finish(txn, wait).await?;
    }
    collect_context(ctx, &found.rt);
    let warnings = fitting.report(ctx);
    Ok(Outcome::Ok(Done {
        affected_rows: changed,
        matched_rows: Some(matched),
        last_insert_id: 0,
        info: format!("Rows matched: {matched}  Changed: {changed}  Warnings: {warnings}"),
    }))
}

/// Whether a change changes nothing: bytes count, not collations.
fn same_row(table: &TableInfo, old: &[Datum], new: &[Datum]) -> bool {
    old.iter().zip(new).zip(&table.columns).all(|((a, b), c)| match (a, b) {
        (Datum::Float(x), Datum::Float(y)) => x.to_bits() == y.to_bits(),
        (a, b) => a == b || !c.is_writable(),
    })
}

/// DELETE.
pub(super) async fn delete(ctx: &mut ExecContext<'_>, delete: &ast::Delete) -> Result<Outcome, SqlError> {
    let change = {
        let env = Env::new(ctx, true);
        bind_delete(&env, delete)?
    };
    let found = find_rows(ctx, change).await?;
    let zone = found.rt.zone.clone();
    let wait = lock_wait(ctx.session, false);
    let mut affected = 0;
    let mut done: Vec<std::collections::HashSet<i64>> = vec![Default::default(); found.targets.len()];
    let mut writers: Vec<Writer> = found.targets.iter().map(|t| Writer::new(t.table.clone(), zone.clone())).collect();
    for batch in &found.batches {
        found.rt.check_interrupted()?;
        for r in 0..batch.num_rows() {
            for (i, target) in found.targets.iter().enumerate() {
                let Some((old, handle)) = stored_row(&found, target, batch, r, &zone) else { continue };
                if !done[i].insert(handle) {
                    continue;
                }
                let txn = ctx.txn().await?;
                writers[i].remove(txn, &old, handle)?;
                affected += 1;
            }
        }
    }
    for w in &mut writers {
        let txn = ctx.txn().await?;
        w.finish(txn, wait).await?;
    }
    collect_context(ctx, &found.rt);
    Ok(Outcome::affected(affected))
}
