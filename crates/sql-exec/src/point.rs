//! The short path: `SELECT columns FROM t WHERE key = value [AND …]`, where the conditions are equalities on all columns
//! of the primary key or of a unique index, and nothing else is asked.
//!
//! It makes no plan and no batch: the syntax tree is matched, the value fitted to the column, the key fetched, the row
//! decoded. Without a transaction no timestamp is needed either: a read of one key may take the newest version. (Through a
//! secondary index two keys are read, and they must agree: that needs a timestamp.)
//!
//! Whatever does not match goes the long way, which also words all errors: this path never fails for what the user wrote.

use std::cmp::Ordering;

use codec::datum::Datum;
use codec::table;
use codec::timestamp::Timestamp;
use codec::types::TypeCode;
use kv_client::{Snapshot, Transaction};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::row;
use sql_catalog::{ColumnInfo, IndexInfo, TableInfo};
use sql_context::{ExecContext, time_zone};
use sql_planner::binder::check_clauses;
use sql_planner::ranges::in_column_type;
use sqlparser::ast;

use crate::statement::snapshot_of;

/// Runs the query if it is a point read.
pub(crate) async fn select(ctx: &mut ExecContext<'_>, query: &ast::Query) -> Result<Option<ResultSet>, SqlError> {
    if ctx.session.vars.settings().sql_select_limit == 0 {
        return Ok(None);
    }
    let Some(point) = match_query(ctx, query) else { return Ok(None) };
    let Point { table, columns, key, metas } = point;
    // Rows that the transaction has written may have other entries than in its snapshot: the long way knows.
    if let (Key::Entry(_), Some(txn)) = (&key, ctx.session.txn.kv()) {
        let (start, end) = table::record_range(table.id);
        if txn.iter_buffer(&start, &end).next().is_some() {
            return Ok(None);
        }
    }
    let snapshot = match &key {
        _ if !ctx.is_autocommit() => snapshot_of(ctx, false).await?,
        Key::Never | Key::Handle(_) => ctx.server.kv()?.snapshot(Timestamp::MAX),
        Key::Entry(_) => {
            let client = ctx.server.kv()?;
            client.snapshot(client.timestamp().await?)
        }
    };
    let from = (ctx.session.txn.kv(), &snapshot);
    let value = match &key {
        Key::Never => None,
        Key::Handle(handle) => get(from, &table::record_key(table.id, *handle)).await?.map(|v| (v, *handle)),
        Key::Entry(entry) => match get(from, entry).await? {
            None => None,
            Some(v) => {
                let handle = table::decode_unique_handle(&v).map_err(row::damaged)?;
                get(from, &table::record_key(table.id, handle)).await?.map(|v| (v, handle))
            }
        },
    };
    let mut out = Vec::new();
    if let Some((value, handle)) = value {
        let row = codec::row::Row::new(&value).map_err(row::damaged)?;
        let handle_id = table.handle_column().map(|c| c.id);
        let mut zone = None;
        let mut datums = Vec::with_capacity(columns.len());
        for offset in &columns {
            let c = &table.columns[*offset];
            let d = if Some(c.id) == handle_id {
                row::handle_datum(handle, &c.field_type)
            } else {
                match row.get(c.id) {
                    codec::row::Cell::Null => Datum::Null,
                    codec::row::Cell::Missing => row::origin_default(c),
                    codec::row::Cell::Value(b) => codec::row::decode_cell(b, &c.field_type).map_err(row::damaged)?,
                }
            };
            datums.push(match c.field_type.tp {
                TypeCode::Timestamp => {
                    row::to_local(d, &c.field_type, zone.get_or_insert_with(|| time_zone(ctx.session)))
                }
                _ => d,
            });
        }
        out.push(datums);
    }
    Ok(Some(ResultSet { columns: metas, rows: Rows::Datums(out) }))
}

/// The value of a key: what the transaction has written, or as of the snapshot.
async fn get(
    (txn, snapshot): (Option<&Transaction>, &Snapshot),
    key: &[u8],
) -> Result<Option<Vec<u8>>, kv_client::Error> {
    match txn {
        Some(txn) => txn.get_from(snapshot, key).await,
        None => snapshot.get(key).await,
    }
}

enum Key {
    /// The value is none that the column can have.
    Never,
    Handle(i64),
    Entry(Vec<u8>),
}

struct Point {
    table: std::sync::Arc<TableInfo>,
    /// Offsets of the wanted columns.
    columns: Vec<usize>,
    key: Key,
    metas: Vec<ColumnMeta>,
}

fn match_query(ctx: &mut ExecContext<'_>, query: &ast::Query) -> Option<Point> {
    if query.with.is_some()
        || query.order_by.is_some()
        || query.limit_clause.is_some()
        || query.fetch.is_some()
        || !query.locks.is_empty()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        return None;
    }
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    let plain_group =
        matches!(&select.group_by, ast::GroupByExpr::Expressions(list, m) if list.is_empty() && m.is_empty());
    if select.distinct.is_some()
        || select.having.is_some()
        || !select.named_window.is_empty()
        || !plain_group
        || check_clauses(select).is_err()
    {
        return None;
    }
    let [ast::TableWithJoins { relation, joins }] = &select.from[..] else { return None };
    let ast::TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = relation
    else {
        return None;
    };
    if !joins.is_empty()
        || !with_hints.is_empty()
        || !partitions.is_empty()
        || !index_hints.is_empty()
        || alias.as_ref().is_some_and(|a| !a.columns.is_empty())
    {
        return None;
    }
    let (db, table_name) = sql_planner::binder::table_name(name).ok()?;
    let db = match &db {
        Some(db) => db.as_str(),
        None => ctx.session.database.as_deref()?,
    };
    let database = ctx.schema.database(db)?;
    let table = database.table(&table_name)?.clone();
    if !table.is_base() {
        return None;
    }
    let alias_name = alias.as_ref().map_or(table.name.as_str(), |a| a.name.value.as_str());

    // Conditions: column = literal, and nothing else.
    let mut equal: Vec<(&ColumnInfo, Datum)> = Vec::new();
    equalities(select.selection.as_ref()?, &table, alias_name, ctx.params, &mut equal)?;

    let mut columns = Vec::new();
    let mut metas = Vec::new();
    let mut want = |c: &ColumnInfo, shown: Option<&str>| {
        columns.push(c.offset);
        metas.push(ColumnMeta {
            schema: database.info.name.original.clone(),
            table: alias_name.to_owned(),
            org_table: table.name.original.clone(),
            name: shown.unwrap_or(c.name.as_str()).to_owned(),
            org_name: c.name.original.clone(),
            ty: c.field_type.clone(),
        });
    };
    for item in &select.projection {
        match item {
            ast::SelectItem::Wildcard(options) if *options == Default::default() => {
                table.public_columns().for_each(|c| want(c, None));
            }
            ast::SelectItem::UnnamedExpr(e) => {
                let c = column_of(e, &table, alias_name)?;
                let written = match e {
                    ast::Expr::Identifier(i) => i.value.as_str(),
                    ast::Expr::CompoundIdentifier(p) => p.last()?.value.as_str(),
                    _ => return None,
                };
                want(c, Some(written));
            }
            ast::SelectItem::ExprWithAlias { expr, alias } => {
                want(column_of(expr, &table, alias_name)?, Some(&alias.value))
            }
            _ => return None,
        }
    }

    let zone = time_zone(ctx.session);
    // The values as the columns hold them; exact or never.
    let mut never = false;
    let mut values: Vec<(usize, Datum)> = Vec::new();
    for (c, d) in equal {
        let from = sql_context::type_of_datum(&d);
        if d.is_null() {
            return None;
        }
        let (d, order) = in_column_type(&d, &from, &c.field_type, &zone)?;
        never |= order != Ordering::Equal;
        if values.iter().any(|(o, _)| *o == c.offset) {
            return None;
        }
        values.push((c.offset, d));
    }
    let key = if never {
        Key::Never
    } else if let (Some(c), [(offset, d)]) = (table.handle_column(), &values[..])
        && c.offset == *offset
    {
        Key::Handle(row::handle_of(d)?)
    } else {
        let index = table.public_indexes().find(|i| is_exactly(i, &values))?;
        let parts = row::index_parts(&table, index);
        let list: Vec<Datum> = index
            .columns
            .iter()
            .map(|c| values.iter().find(|v| v.0 == c.offset).map(|v| v.1.clone()))
            .collect::<Option<_>>()?;
        Key::Entry(table::index_values_key(table.id, index.id, &parts, &list).ok()?)
    };
    Some(Point { table, columns, key, metas })
}

fn is_exactly(index: &IndexInfo, values: &[(usize, Datum)]) -> bool {
    index.unique
        && !index.invisible
        && index.columns.len() == values.len()
        && index.columns.iter().all(|c| c.length.is_none() && values.iter().any(|v| v.0 == c.offset))
}

fn column_of<'t>(e: &ast::Expr, table: &'t TableInfo, alias: &str) -> Option<&'t ColumnInfo> {
    match e {
        ast::Expr::Identifier(i) if !i.value.starts_with('@') => table.column(&i.value),
        ast::Expr::CompoundIdentifier(parts) => match &parts[..] {
            [t, c] if t.value.eq_ignore_ascii_case(alias) => table.column(&c.value),
            _ => None,
        },
        ast::Expr::Nested(e) => column_of(e, table, alias),
        _ => None,
    }
}

fn equalities<'t>(
    e: &ast::Expr,
    table: &'t TableInfo,
    alias: &str,
    params: &[Datum],
    out: &mut Vec<(&'t ColumnInfo, Datum)>,
) -> Option<()> {
    match e {
        ast::Expr::Nested(e) => equalities(e, table, alias, params, out),
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::And, right } => {
            equalities(left, table, alias, params, out)?;
            equalities(right, table, alias, params, out)
        }
        ast::Expr::BinaryOp { left, op: ast::BinaryOperator::Eq, right } => {
            // Parameters are numbered in the order of the text, which is the order of this walk.
            let (column, value) = match column_of(left, table, alias) {
                Some(c) => (c, right),
                None => (column_of(right, table, alias)?, left),
            };
            let d = match &**value {
                ast::Expr::Value(v) => literal(&v.value, params, out.len())?,
                ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match &**expr {
                    ast::Expr::Value(v) => match &v.value {
                        ast::Value::Number(n, _) => Datum::Int(format!("-{n}").parse().ok()?),
                        _ => return None,
                    },
                    _ => return None,
                },
                _ => return None,
            };
            out.push((column, d));
            Some(())
        }
        _ => None,
    }
}

fn literal(v: &ast::Value, params: &[Datum], so_far: usize) -> Option<Datum> {
    match v {
        ast::Value::Number(n, _) => match n.parse() {
            Ok(v) => Some(Datum::Int(v)),
            Err(_) => n.parse().ok().map(Datum::UInt),
        },
        ast::Value::SingleQuotedString(s) => Some(Datum::string(s.as_str())),
        ast::Value::Placeholder(name) => match name.trim_start_matches('?').parse::<usize>() {
            Ok(n) => params.get(n.checked_sub(1)?).cloned(),
            // Not numbered: only safe when every value so far was a parameter too, or there is but one.
            Err(_) if params.len() == 1 || so_far == 0 => params.get(so_far).cloned(),
            Err(_) => None,
        },
        _ => None,
    }
}
