//! INSERT and REPLACE: values or the rows of a query, ids, and what happens to duplicates.

use std::collections::HashMap;
use std::sync::Arc;

use codec::datum::Datum;
use codec::table::Handle;
use codec::types::{TypeCode, flags};
use query::context::TimeZone;
use query::expr::Expr;
use query::infer;
use sql_base::SqlError;
use sql_base::outcome::{Done, Outcome};
use sql_catalog::row;
use sql_catalog::{AutoIdKind, ColumnDefault, ColumnInfo, TableInfo};
use sql_context::ExecContext;
use sql_planner::binder::{Binder, BoundView, Environment, Visible, has_aggregate, table_name};
use sql_planner::optimize::optimize;
use sql_planner::plan::{ColId, Logical, NodeId, Plan};
use sqlparser::ast;

use super::change::{Target, widen};
use super::fitting::Fitting;
use super::through::{self, Check};
use super::{column_name, find_column, same_row, touch, unsupported, writable};
use crate::env::Env;
use crate::operator;
use crate::planned::{Reads, begin, settings};
use crate::reader::Reader;
use crate::runtime::resolve;
use crate::statement::{collect_context, lock_all_rows, lock_wait, reader_of, runtime, will_lock, write_context};
use crate::subqueries::run_subqueries;
use crate::writer::Writer;

/// Where a column's value comes from.
enum Source {
    /// An expression without columns, or over earlier columns of the row.
    Expr(Expr),
    /// DEFAULT, or not named.
    Default,
}

/// A view that rows are inserted through, into one of its tables.
struct Through {
    view: BoundView,
    target: Target,
    check: Option<Check>,
}

impl Through {
    /// Binds the view. `columns` are the names that values are given for.
    fn bind(binder: &mut Binder<'_>, insert: &ast::Insert, columns: &[String]) -> Result<Through, SqlError> {
        let ast::TableObject::TableName(name) = &insert.table else { return unsupported("INSERT into a function") };
        let (mut plan, _) = binder.bind_table(name)?;
        let mut targets = Vec::new();
        widen(&mut plan, binder, &mut targets);
        let view = binder.bound_views().first().cloned();
        let view = view.ok_or_else(|| SqlError::internal("binder", "a view that is none"))?;
        let operation = if insert.replace_into { "REPLACE" } else { "INSERT" };
        let refused = || SqlError::NotInsertable { table: view.alias.clone(), operation };
        if !view.writable.insert {
            return Err(refused());
        }
        if columns.is_empty() && targets.len() > 1 {
            return Err(SqlError::ViewNoFields(through::whole_name(&view)));
        }
        let mut at = 0;
        for (i, name) in columns.iter().enumerate() {
            let id = through::column_of(&view, name)?;
            let own = targets.iter().position(|t| t.ids.contains(&id)).ok_or_else(refused)?;
            if i > 0 && own != at {
                return Err(SqlError::ViewManyTables(through::whole_name(&view)));
            }
            at = own;
        }
        let target = if at < targets.len() { targets.swap_remove(at) } else { return Err(refused()) };
        let check = Check::of(&view)?;
        // A row of one table says nothing of those that it is joined with.
        if check
            .iter()
            .flat_map(Check::exprs)
            .flat_map(Expr::columns)
            .any(|id| targets.iter().any(|other| other.ids.contains(&id)))
        {
            return Err(refused());
        }
        Ok(Through { view, target, check })
    }

    /// The table's column that is a column of the view.
    fn column(&self, name: &str) -> Result<&ColumnInfo, SqlError> {
        let id = through::column_of(&self.view, name)?;
        let offset = self.target.ids.iter().position(|own| *own == id);
        offset
            .map(|offset| &self.target.table.columns[offset])
            .ok_or_else(|| SqlError::ViewManyTables(through::whole_name(&self.view)))
    }

    /// The table's columns as the view shows them.
    fn as_shown(&self, columns: Vec<Visible>) -> Vec<Visible> {
        let shown = |v: Visible| {
            let offset = self.target.table.column(&v.org_name)?.offset;
            let (column, _) = self.view.columns.iter().find(|(_, id)| *id == Some(self.target.ids[offset]))?;
            let table = if v.table.is_empty() { String::new() } else { self.view.alias.clone() };
            Some(Visible { name: column.name.clone(), table, database: self.view.database.clone(), ..v })
        };
        columns.into_iter().filter_map(shown).collect()
    }

    /// Where the columns that the check reads are in a row of the table.
    fn positions(&self) -> HashMap<ColId, usize> {
        self.target.ids.iter().enumerate().map(|(offset, id)| (*id, offset)).collect()
    }
}

/// INSERT and REPLACE.
pub(crate) async fn insert(ctx: &mut ExecContext<'_>, insert: &ast::Insert) -> Result<Outcome, SqlError> {
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
    let mut through = None;
    if table.view.is_some() {
        let assigned = insert.assignments.iter().map(|a| match &a.target {
            ast::AssignmentTarget::ColumnName(n) => column_name(n),
            ast::AssignmentTarget::Tuple(_) => unsupported("row assignment"),
        });
        let columns = insert.columns.iter().map(column_name).chain(assigned).collect::<Result<Vec<_>, _>>()?;
        through = Some(Through::bind(&mut binder, insert, &columns)?);
    }
    let mut check = through.as_mut().and_then(|through| through.check.take());
    let check_at = through.as_ref().map(Through::positions).unwrap_or_default();
    let (database, table) = match &through {
        Some(through) => (through.target.database.clone(), through.target.table.clone()),
        None => (database, table),
    };
    let alias = table.name.original.clone();
    let find = |name: &str| match &through {
        Some(through) => through.column(name),
        None => find_column(&table, name, "field list"),
    };
    let as_shown = |columns: Vec<Visible>| match &through {
        Some(through) => through.as_shown(columns),
        None => columns,
    };

    // Columns that values are given for.
    let assigned: Vec<(&ColumnInfo, Option<&ast::Expr>)> = if insert.assignments.is_empty() {
        match insert.columns.is_empty() {
            true => match &through {
                Some(through) => through
                    .view
                    .columns
                    .iter()
                    .map(|(c, _)| Ok((find(&c.name)?, None)))
                    .collect::<Result<_, SqlError>>()?,
                None => table.public_columns().map(|c| (c, None)).collect(),
            },
            false => {
                insert.columns.iter().map(|n| Ok((find(&column_name(n)?)?, None))).collect::<Result<_, SqlError>>()?
            }
        }
    } else {
        insert
            .assignments
            .iter()
            .map(|a| {
                let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
                Ok((find(&column_name(n)?)?, Some(&a.value)))
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
    let visible = as_shown(visible);
    let row_ids: HashMap<ColId, usize> =
        visible.iter().filter_map(|v| Some((v.id, table.column(&v.org_name)?.offset))).collect();
    binder.open(visible.clone());
    let mut sources: Vec<Vec<Source>> = Vec::new();
    let mut query_plan = None;
    // Columns of the query: those that are inserted, and those that only ON DUPLICATE KEY UPDATE may read.
    let mut source_columns: Vec<Visible> = Vec::new();
    let is_default = |e: &ast::Expr| matches!(e, ast::Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default"));
    let bind_value = |binder: &mut Binder<'_>, e: &ast::Expr, column: &ColumnInfo| -> Result<Source, SqlError> {
        if is_default(e) {
            return Ok(Source::Default);
        }
        if let ast::Expr::Function(f) = e
            && f.name.to_string().eq_ignore_ascii_case("default")
        {
            // The default of another column is another value.
            let own = match &f.args {
                ast::FunctionArguments::List(list) => match &list.args[..] {
                    [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Identifier(i)))] => {
                        column.name.matches(&i.value)
                    }
                    _ => false,
                },
                _ => false,
            };
            return if own { Ok(Source::Default) } else { unsupported("DEFAULT(…) of another column") };
        }
        Ok(Source::Expr(infer::exact(binder.bind_expr(e)?)))
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
                let with_tables = insert.on.as_ref().and_then(|_| with_all_columns(query));
                let bound = binder.bind_query(with_tables.as_ref().unwrap_or(query))?;
                let items = bound.columns.iter().position(|c| c.name == END_OF_ITEMS).unwrap_or(bound.columns.len());
                if items != assigned.len() {
                    return Err(SqlError::ColumnCountMismatch(1));
                }
                binder.open(visible.clone());
                source_columns = bound.columns;
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
            let (old_visible, new_visible) = (as_shown(old_visible), as_shown(new_visible));
            for v in &old_visible {
                old_ids.insert(v.id, table.column(&v.org_name).map_or(0, |c| c.offset));
            }
            let mut all = old_visible;
            for mut v in new_visible {
                old_ids.insert(v.id, width + table.column(&v.org_name).map_or(0, |c| c.offset));
                binder.inserted.insert(v.name.to_lowercase(), v.id);
                if let Some(row_alias) = &insert.insert_alias {
                    let at = assigned.iter().position(|(c, _)| c.name.matches(&v.org_name));
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
            all.extend(source_columns.iter().skip(assigned.len()).cloned());
            binder.open(all);
            for a in assignments {
                let ast::AssignmentTarget::ColumnName(n) = &a.target else { return unsupported("row assignment") };
                let column = find(&column_name(n)?)?;
                let e = if is_default(&a.value) {
                    let text = column.default.constant().map(<[u8]>::to_vec);
                    text.map_or_else(Expr::null, |t| sql_planner::expr::parameter(Datum::Bytes(t), env.eval()))
                } else {
                    infer::exact(binder.bind_expr(&a.value)?)
                };
                on_duplicate.push((column.offset, e));
            }
            binder.close()?;
        }
        Some(_) => return unsupported("ON CONFLICT"),
    }

    if let Some(plan) = query_plan.take() {
        let read: Vec<ColId> = on_duplicate.iter().flat_map(|(_, e)| e.columns()).collect();
        let mut at = 2 * width;
        let mut ids: Vec<ColId> = source_columns.iter().map(|v| v.id).collect();
        for id in ids.split_off(assigned.len()) {
            if read.contains(&id) {
                old_ids.insert(id, at);
                at += 1;
                ids.push(id);
            }
        }
        query_plan = Some(match ids.len() == source_columns.len() {
            true => plan,
            false => {
                let exprs = ids.iter().map(|id| (binder.columns.expr(*id), *id)).collect();
                Plan::Project { input: Box::new(plan), exprs }
            }
        });
    }
    let columns = std::mem::take(&mut binder.columns);
    let subqueries = std::mem::take(&mut binder.subqueries);
    let locked = std::mem::take(&mut binder.locked);
    drop(binder);
    will_lock(ctx, &locked);
    ctx.session.txn.use_table(&table);

    // Rows of a SELECT, or expressions evaluated one by one.
    let mut fitting = Fitting::new(ctx, insert.ignore);
    fitting.check_unnamed(table.public_columns().filter(|c| !assigned.iter().any(|(a, _)| a.id == c.id))).map_err(
        |e| match (e, &through) {
            (SqlError::NoDefaultValue(_), Some(through)) => SqlError::ViewNoDefault(through::whole_name(&through.view)),
            (e, _) => e,
        },
    )?;
    let assigned_offsets: Vec<usize> = assigned.iter().map(|(c, _)| c.offset).collect();
    let mut new_rows: Vec<Vec<Datum>> = Vec::new();
    // What ON DUPLICATE KEY UPDATE reads of the query's tables, for each row.
    let mut source_rows: Vec<Vec<Datum>> = Vec::new();
    let cx = write_context(ctx, insert.ignore);
    let rt;
    match query_plan {
        Some(plan) => {
            let physical = optimize(Logical { plan, subqueries, columns }, &settings(ctx.server, &cx));
            let planned = begin(ctx, cx, Arc::new(physical), Vec::new(), Reads::Current, &Arc::default()).await?;
            for (_, e) in &mut on_duplicate {
                planned.subqueries.apply_expr(e)?;
            }
            check.iter_mut().try_for_each(|check| check.apply(&planned.subqueries))?;
            let mut op = operator::build(&planned.physical.plan, NodeId::default(), &planned.rt)?;
            let mut n = 0;
            while let Some(batch) = op.next().await? {
                planned.rt.hold(batch.data_bytes())?;
                for r in 0..batch.num_rows() {
                    n += 1;
                    let mut row = vec![None; width];
                    for (i, offset) in assigned_offsets.iter().enumerate() {
                        let d = fitting.fit(batch.datum(r, i), &batch.types()[i], &table.columns[*offset], n)?;
                        row[*offset] = Some(d);
                    }
                    new_rows.push(complete_row(&table, row, &mut fitting, false)?);
                    let others = assigned_offsets.len()..batch.types().len();
                    source_rows.push(others.map(|i| batch.datum(r, i)).collect());
                }
            }
            rt = planned.rt;
        }
        None => {
            let physical = optimize(Logical { plan: Plan::One, subqueries, columns }, &settings(ctx.server, &cx));
            let reader = if physical.subqueries.is_empty() {
                Reader::new(ctx.server.kv()?.snapshot(codec::timestamp::Timestamp::MAX))
            } else {
                reader_of(ctx, &physical.tables(), true).await?
            };
            rt = Arc::new(runtime(ctx, reader, physical.columns.clone(), cx));
            let values = run_subqueries(&physical, &rt).await?;
            for (_, e) in &mut on_duplicate {
                values.apply_expr(e)?;
            }
            check.iter_mut().try_for_each(|check| check.apply(&values))?;
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

    lock_all_rows(ctx, &rt).await?;

    let records = new_rows.len() as u64;
    let mut ids = assign_ids(ctx, &table, &mut new_rows, &mut fitting).await?;
    if let Some(check) = &check {
        let mut shown = Vec::with_capacity(new_rows.len());
        for row in &new_rows {
            match check.test(&rt, &check_at, &local_values(&table, row, &fitting.zone)) {
                Err(e @ SqlError::ViewCheckFailed(_)) if insert.ignore => {
                    fitting.warnings.push((true, e));
                    shown.push(false);
                }
                result => {
                    result?;
                    shown.push(true);
                }
            }
        }
        keep(&mut new_rows, &shown);
        keep(&mut ids, &shown);
        keep(&mut source_rows, &shown);
    }
    let auto = table.auto_increment_column().map(|c| c.offset);
    let auto_value = |row: &[Datum]| auto.and_then(|offset| row::handle_of(&row[offset])).map_or(0, |v| v as u64);
    let wait = lock_wait(ctx.session, false);
    let zone = fitting.zone.clone();
    let mut writer = Writer::new(table.clone(), zone.clone());
    let (mut affected, mut unchanged) = (0, 0);
    let mut duplicates = 0;
    // The first id that was generated for a row which is there now, and the id of the last row inserted or updated.
    let (mut generated_id, mut last_id) = (0, 0);
    let careful = insert.ignore || insert.replace_into || !on_duplicate.is_empty();
    if !careful {
        let txn = ctx.txn().await?;
        for (row, id) in new_rows.iter().zip(&ids) {
            writer.insert(txn, row, &id.handle, id.fresh)?;
            affected += 1;
            if generated_id == 0 {
                generated_id = id.generated;
            }
            last_id = auto_value(row);
        }
        writer.finish(txn, wait).await?;
        let pessimistic = txn.is_pessimistic();
        ctx.session.txn.count_changes(writer.changes());
        if !pessimistic {
            ctx.session.txn.duplicates.extend(writer.into_duplicates());
        }
    } else {
        // Everything that may be in the way is read (and locked) at once.
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (row, id) in new_rows.iter().zip(&ids) {
            all.extend(writer.conflict_keys(row, &id.handle, id.fresh)?.into_iter().map(|k| k.0));
        }
        all.sort();
        all.dedup();
        let txn = ctx.txn().await?;
        let mut known: HashMap<Vec<u8>, Option<Vec<u8>>> = HashMap::new();
        let values = writer.current(txn, &all, wait).await?;
        known.extend(all.into_iter().zip(values));
        let decoder = row::full_decoder(&table);
        'rows: for (n, (row, id)) in new_rows.iter().zip(&ids).enumerate() {
            let row_number = n as u64 + 1;
            let (handle, fresh) = (&id.handle, id.fresh);
            loop {
                // The first key that is in the way: the primary key before the others.
                let mut conflict = None;
                for (key, index) in writer.conflict_keys(row, handle, fresh)? {
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
                    writer.insert(txn, row, handle, fresh)?;
                    affected += 1;
                    if generated_id == 0 {
                        generated_id = id.generated;
                    }
                    last_id = auto_value(row);
                    continue 'rows;
                };
                duplicates += 1;
                let index = index_id.and_then(|id| table.indexes.iter().find(|i| i.id == id));
                if insert.ignore && on_duplicate.is_empty() && !insert.replace_into {
                    fitting.warnings.push((true, row::duplicate_row(&table, index, row, &zone)));
                    continue 'rows;
                }
                let old_handle = match index {
                    None => handle.clone(),
                    Some(_) => codec::table::decode_unique_handle(&value).map_err(row::damaged)?,
                };
                let old_key = codec::table::record_key(table.physical_id(), &old_handle);
                let old_value = match index {
                    None => Some(value),
                    Some(_) => writer.current(txn, std::slice::from_ref(&old_key), wait).await?.pop().flatten(),
                };
                let Some(old_value) = old_value else {
                    // The entry outlived its row: a conflict with a transaction that is just committing.
                    return Err(SqlError::WriteConflict("an index entry without its row".into()));
                };
                let old = decoder.decode(&old_value, &old_handle).map_err(row::damaged)?;
                if insert.replace_into {
                    // MySQL updates a row that can be in the way only once, and an update that changes nothing is not
                    // counted.
                    let uniques = table.indexes_with_entries().filter(|i| i.is_public() && i.unique).map(|i| i.id);
                    if uniques.last() == index_id && same_row(&table, &old, row) {
                        affected += 1;
                        last_id = auto_value(row);
                        continue 'rows;
                    }
                    writer.remove(txn, &old, &old_handle)?;
                    affected += 1;
                    continue;
                }
                // ON DUPLICATE KEY UPDATE.
                let mut new = old.clone();
                for (offset, e) in &on_duplicate {
                    let column = &table.columns[*offset];
                    let mut both = local_values(&table, &new, &zone);
                    both.extend(local_values(&table, row, &zone));
                    both.extend(source_rows.get(n).into_iter().flatten().cloned());
                    let e = resolve(e, &old_ids)?;
                    let d = rt.eval(|cx| query::eval::eval_row(&e, &both, cx))?;
                    let d = fitting.fit(d, e.ty(), column, row_number)?;
                    new[*offset] = fitting.check_null(d, column, true)?;
                }
                if new == old {
                    unchanged += 1;
                } else {
                    touch(&table, &mut new, &on_duplicate.iter().map(|d| d.0).collect::<Vec<_>>(), &fitting);
                    if let Some(check) = &check {
                        match check.test(&rt, &check_at, &local_values(&table, &new, &zone)) {
                            Err(e @ SqlError::ViewCheckFailed(_)) if insert.ignore => {
                                fitting.warnings.push((true, e));
                                continue 'rows;
                            }
                            result => result?,
                        }
                    }
                    let new_handle = row::handle_of_row(&table, &new)?.unwrap_or_else(|| old_handle.clone());
                    writer.update(txn, (&old, &old_handle), (&new, &new_handle))?;
                    affected += 2;
                }
                last_id = auto_value(&new);
                continue 'rows;
            }
        }
        writer.finish(txn, wait).await?;
        ctx.session.txn.count_changes(writer.changes());
    }
    let said_id = collect_context(ctx, &rt);
    let warnings = fitting.report(ctx);
    let info = if records > 1 || insert.source.as_ref().is_some_and(|q| !matches!(*q.body, ast::SetExpr::Values(_))) {
        format!("Records: {records}  Duplicates: {duplicates}  Warnings: {warnings}")
    } else {
        String::new()
    };
    let last_insert_id = match generated_id {
        0 => said_id.unwrap_or(last_id),
        id => id,
    };
    let matched_rows = (!on_duplicate.is_empty()).then_some(affected + unchanged);
    Ok(Outcome::Ok(Done { affected_rows: affected, matched_rows, last_insert_id, generated_id, info }))
}

/// Keeps what is marked; there may be nothing to keep.
fn keep<T>(list: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    list.retain(|_| marks.next().is_none_or(|mark| *mark));
}

/// The name of a column that comes after a query's own items. Nothing that is written can be called so.
const END_OF_ITEMS: &str = "\0";

/// The query with all columns of its tables after its own items: ON DUPLICATE KEY UPDATE may name them. Only where each of
/// its rows is one of the tables', or of their join.
fn with_all_columns(query: &ast::Query) -> Option<ast::Query> {
    let mut query = query.clone();
    let ast::SetExpr::Select(select) = &mut *query.body else { return None };
    let plain_items = select.projection.iter().all(|item| match item {
        ast::SelectItem::UnnamedExpr(e) | ast::SelectItem::ExprWithAlias { expr: e, .. } => !has_aggregate(e),
        _ => true,
    });
    let grouped = !matches!(&select.group_by, ast::GroupByExpr::Expressions(list, _) if list.is_empty());
    if !plain_items || grouped || select.having.is_some() || select.distinct.is_some() {
        return None;
    }
    let mut names = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            names.push(match factor {
                ast::TableFactor::Table { alias: Some(alias), .. }
                | ast::TableFactor::Derived { alias: Some(alias), .. } => alias.name.value.clone(),
                ast::TableFactor::Table { name, .. } => match table_name(name).ok()?.1 {
                    dual if dual.eq_ignore_ascii_case("dual") => continue,
                    name => name,
                },
                _ => return None,
            });
        }
    }
    let end = ast::Expr::Value(ast::Value::Null.with_empty_span());
    let alias = ast::Ident::new(END_OF_ITEMS);
    select.projection.push(ast::SelectItem::ExprWithAlias { expr: end, alias });
    select.projection.extend(names.into_iter().map(|name| {
        let name = ast::ObjectName::from(vec![ast::Ident::with_quote('`', name)]);
        let kind = ast::SelectItemQualifiedWildcardKind::ObjectName(name);
        ast::SelectItem::QualifiedWildcard(kind, Default::default())
    }));
    Some(query)
}

/// The row so far as expressions see it: TIMESTAMPs in the session's zone, unset columns NULL.
fn local_row(table: &TableInfo, row: &[Option<Datum>], zone: &TimeZone) -> Vec<Datum> {
    let values: Vec<Datum> = row.iter().map(|d| d.clone().unwrap_or_default()).collect();
    local_values(table, &values, zone)
}

fn local_values(table: &TableInfo, row: &[Datum], zone: &TimeZone) -> Vec<Datum> {
    row.iter().zip(&table.columns).map(|(d, c)| row::to_local(d.clone(), &c.field_type, zone)).collect()
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
                _ => row::origin_default(c),
            },
            None => fitting.unnamed(c)?,
        };
        out.push(if auto { d } else { fitting.check_null(d, c, single)? });
    }
    Ok(out)
}

/// The least value not under `from` of `offset`, `offset + step`, `offset + 2 * step`, … An offset greater than the step
/// is ignored, as in MySQL.
fn next_of_series(from: i64, step: u64, offset: u64) -> Option<i64> {
    let (step, offset) = (i64::try_from(step).ok()?, if offset > step { 0 } else { i64::try_from(offset).ok()? });
    from.checked_add((offset - from).rem_euclid(step))
}

/// What identifies a new row.
struct NewId {
    handle: Handle,
    /// The handle was made for the row, and cannot exist.
    fresh: bool,
    /// The AUTO_INCREMENT value, if it was made for the row; else 0.
    generated: u64,
}

/// Gives handles and AUTO_INCREMENT values to new rows. Values that are generated rise, and are above those given by hand
/// in the rows before.
async fn assign_ids(
    ctx: &mut ExecContext<'_>,
    table: &Arc<TableInfo>,
    new_rows: &mut [Vec<Datum>],
    fitting: &mut Fitting,
) -> Result<Vec<NewId>, SqlError> {
    let ids = ctx.auto_ids(table)?;
    let mut generated = vec![0; new_rows.len()];
    if let Some(column) = table.auto_increment_column() {
        let zero_is_value = fitting.zero_is_value;
        let to_generate = |row: &[Datum]| match &row[column.offset] {
            Datum::Null => true,
            Datum::Int(0) | Datum::UInt(0) => !zero_is_value,
            Datum::Float(v) => *v == 0.0 && !zero_is_value,
            _ => false,
        };
        let settings = ctx.session.vars.settings();
        let (step, offset) = (settings.auto_increment_increment, settings.auto_increment_offset);
        let (_, max) = column.field_type.signed_range();
        let limit = if column.field_type.is_unsigned() { column.field_type.unsigned_max() } else { max as u64 };
        let mut left = new_rows.iter().filter(|row| to_generate(row)).count() as u64;
        // The next value that is allocated already, and the greatest given by hand that the allocator has not heard of.
        let (mut next, mut given): (Option<i64>, i64) = (None, 0);
        for (row, generated) in new_rows.iter_mut().zip(&mut generated) {
            if !to_generate(row) {
                given = given.max(match &row[column.offset] {
                    Datum::Float(v) => *v as i64,
                    d => d.as_i64().unwrap_or(0),
                });
                continue;
            }
            let value = match next.filter(|next| *next > given) {
                Some(value) => value,
                None => {
                    if given > 0 {
                        ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
                    }
                    // Among `left * step` neighbours, `left` are of the series.
                    let from = ids.allocate(table, AutoIdKind::AutoIncrement, left.saturating_mul(step)).await?;
                    next_of_series(from, step, offset).ok_or(SqlError::AutoIncrementExhausted)?
                }
            };
            if value as u64 > limit {
                return Err(SqlError::AutoIncrementExhausted);
            }
            row[column.offset] = match column.field_type.tp {
                TypeCode::Float | TypeCode::Double => Datum::Float(value as f64),
                _ => row::handle_datum(value, &column.field_type),
            };
            *generated = value as u64;
            next = value.checked_add(step as i64);
            left -= 1;
        }
        if given > 0 {
            ids.rebase(table, AutoIdKind::AutoIncrement, given).await?;
        }
    }
    if table.is_clustered() {
        let ids = new_rows.iter().zip(generated).map(|(row, generated)| {
            let handle = row::handle_of_row(table, row)?.ok_or_else(|| {
                let missing = table.primary_key().into_iter().find(|c| row[c.offset].is_null());
                SqlError::ColumnCannotBeNull(missing.map_or_else(String::new, |c| c.name.original.clone()))
            })?;
            Ok(NewId { handle, fresh: false, generated })
        });
        return ids.collect();
    }
    let start = match new_rows.len() as u64 {
        0 => 0,
        n => ids.allocate(table, AutoIdKind::RowId, n).await?,
    };
    let given = (start..).map(Handle::Int).zip(generated);
    Ok(given.map(|(handle, generated)| NewId { handle, fresh: true, generated }).collect())
}

#[cfg(test)]
mod tests {
    use super::next_of_series;

    #[test]
    fn a_series_goes_on_from_anywhere() {
        assert_eq!(next_of_series(1, 1, 1), Some(1));
        assert_eq!(next_of_series(7, 1, 1), Some(7));
        assert_eq!(next_of_series(1, 10, 5), Some(5));
        assert_eq!(next_of_series(5, 10, 5), Some(5));
        assert_eq!(next_of_series(6, 10, 5), Some(15));
        assert_eq!(next_of_series(1, 5, 10), Some(5), "an offset beyond the step counts for nothing");
        assert_eq!(next_of_series(i64::MAX, 10, 5), None);
    }
}
