//! The short path: `SELECT columns FROM t WHERE key = value [AND …]`, where the conditions are equalities on all columns
//! of the primary key or of a unique index, and nothing else is asked.
//!
//! It makes no batch: the syntax tree is matched once ([`plan`]; of a prepared statement never again), and then each time
//! ([`run`]) the value fitted to the column, the key fetched, the row decoded. Without a transaction no timestamp is needed either: a read of one key may take the newest version. (Through a
//! secondary index two keys are read, and they must agree: that needs a timestamp.)
//!
//! Whatever does not match goes the long way, which also words all errors: this path never fails for what the user wrote.

use std::cmp::Ordering;
use std::sync::Arc;

use codec::datum::Datum;
use codec::row::RowDecoder;
use codec::table::{self, Handle};
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

/// Reads the row of a plan with the values of this run; `None` where that takes the long way.
pub(crate) async fn run(ctx: &mut ExecContext<'_>, point: &PointPlan) -> Result<Option<ResultSet>, SqlError> {
    if ctx.session.vars.settings().sql_select_limit == 0 {
        return Ok(None);
    }
    let Some(key) = point.key(ctx) else { return Ok(None) };
    let PointPlan { table, decoder, metas, .. } = point;
    // Rows that the transaction has written may have other entries than in its snapshot: the long way knows.
    if let (Key::Entry(_), Some(txn)) = (&key, ctx.session.txn.kv()) {
        let (start, end) = table::record_range(table.physical_id());
        if txn.iter_buffer(&start, &end).next().is_some() {
            return Ok(None);
        }
    }
    let snapshot = match &key {
        _ if !ctx.is_autocommit() => snapshot_of(ctx, false).await?,
        Key::Never | Key::Row(_) => ctx.server.kv()?.snapshot(Timestamp::MAX),
        Key::Entry(_) => {
            let client = ctx.server.kv()?;
            client.snapshot(client.timestamp().await?)
        }
    };
    let from = (ctx.session.txn.kv(), &snapshot);
    let at = table.physical_id();
    let value = match &key {
        Key::Never => None,
        Key::Row(handle) => get(from, &table::record_key(at, handle)).await?.map(|v| (v, handle.clone())),
        Key::Entry(entry) => match get(from, entry).await? {
            None => None,
            Some(v) => {
                let handle = table::decode_unique_handle(&v).map_err(row::damaged)?;
                get(from, &table::record_key(at, &handle)).await?.map(|v| (v, handle))
            }
        },
    };
    let mut out = Vec::new();
    if let Some((value, handle)) = value {
        let mut datums = decoder.decode(&value, &handle).map_err(row::damaged)?;
        let mut zone = None;
        for (d, c) in datums.iter_mut().zip(decoder.columns()) {
            if c.ty.tp == TypeCode::Timestamp {
                let zone = zone.get_or_insert_with(|| time_zone(ctx.session));
                *d = row::to_local(std::mem::take(d), &c.ty, zone);
            }
        }
        out.push(datums);
    }
    Ok(Some(ResultSet { columns: metas.clone(), rows: Rows::Datums(out) }))
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
    Row(Handle),
    Entry(Vec<u8>),
}

/// What is read, whatever the values are.
pub(crate) struct PointPlan {
    table: Arc<TableInfo>,
    /// Of the wanted columns.
    decoder: RowDecoder,
    /// What columns are compared with, by their offsets.
    equal: Vec<(usize, Operand)>,
    /// The unique index, or the key that rows are clustered by; none for the number that is their handle.
    index: Option<i64>,
    metas: Arc<[ColumnMeta]>,
}

/// A value that a column is compared with.
enum Operand {
    Value(Datum),
    /// The `?` of this place, from 0.
    Param(usize),
}

impl PointPlan {
    /// The key of a run, its values as the columns hold them; `None` where they do not tell one.
    fn key(&self, ctx: &ExecContext<'_>) -> Option<Key> {
        let zone = time_zone(ctx.session);
        let mut values: Vec<(usize, Datum)> = Vec::with_capacity(self.equal.len());
        let mut never = false;
        for (offset, operand) in &self.equal {
            let value = match operand {
                Operand::Value(value) => value,
                Operand::Param(at) => ctx.params.get(*at)?,
            };
            if value.is_null() {
                // Nothing equals it. The long way says so, whatever else is asked.
                return None;
            }
            let from = sql_context::type_of_datum(value);
            let (value, order) = in_column_type(value, &from, &self.table.columns[*offset].field_type, &zone)?;
            never |= order != Ordering::Equal;
            values.push((*offset, value));
        }
        if never {
            return Some(Key::Never);
        }
        let Some(index) = self.index else { return Some(Key::Row(Handle::Int(row::handle_of(&values[0].1)?))) };
        let index = self.table.indexes.iter().find(|i| i.id == index)?;
        let list: Vec<Datum> = index
            .columns
            .iter()
            .map(|c| values.iter().find(|v| v.0 == c.offset).map(|v| v.1.clone()))
            .collect::<Option<_>>()?;
        Some(match self.table.is_clustered_by(index) {
            true => Key::Row(Handle::of_values(&row::index_parts(&self.table, index), &list).ok()?),
            false => Key::Entry(row::values_key(&self.table, self.table.physical_id(), index, &list).ok()?),
        })
    }
}

/// The plan of a query that reads one row by key.
pub(crate) fn plan(ctx: &ExecContext<'_>, query: &ast::Query) -> Option<PointPlan> {
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
    let mut equal: Vec<(usize, Operand)> = Vec::new();
    equalities(select.selection.as_ref()?, &table, alias_name, ctx.params.len(), &mut equal)?;
    if equal.iter().enumerate().any(|(i, (offset, _))| equal[..i].iter().any(|before| before.0 == *offset)) {
        return None;
    }

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

    let index = match (table.handle_column(), &equal[..]) {
        (Some(c), [(offset, _)]) if c.offset == *offset => None,
        _ => Some(table.public_indexes().find(|i| is_exactly(i, &equal))?.id),
    };
    let decoder = row::decoder(&table, &columns);
    Some(PointPlan { table, decoder, equal, index, metas: metas.into() })
}

fn is_exactly(index: &IndexInfo, values: &[(usize, Operand)]) -> bool {
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

fn equalities(
    e: &ast::Expr,
    table: &TableInfo,
    alias: &str,
    params: usize,
    out: &mut Vec<(usize, Operand)>,
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
                        ast::Value::Number(n, _) => Operand::Value(Datum::Int(format!("-{n}").parse().ok()?)),
                        _ => return None,
                    },
                    _ => return None,
                },
                _ => return None,
            };
            out.push((column.offset, d));
            Some(())
        }
        _ => None,
    }
}

fn literal(v: &ast::Value, params: usize, so_far: usize) -> Option<Operand> {
    let value = match v {
        ast::Value::Number(n, _) => match n.parse() {
            Ok(v) => Datum::Int(v),
            Err(_) => Datum::UInt(n.parse().ok()?),
        },
        ast::Value::SingleQuotedString(s) => Datum::string(s.as_str()),
        ast::Value::Placeholder(name) => {
            return match name.trim_start_matches('?').parse::<usize>() {
                Ok(n) => n.checked_sub(1).map(Operand::Param),
                // Not numbered: only safe when every value so far was a parameter too, or there is but one.
                Err(_) if params == 1 || so_far == 0 => Some(Operand::Param(so_far)),
                Err(_) => None,
            };
        }
        _ => return None,
    };
    Some(Operand::Value(value))
}
