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
use codec::table::{self, Handle, PhysicalTableId};
use codec::timestamp::Timestamp;
use codec::types::TypeCode;
use kv_client::{Snapshot, Transaction};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet, Rows};
use sql_catalog::row;
use sql_catalog::{ColumnInfo, IndexInfo, TableInfo};
use sql_context::{ExecContext, time_zone};
use sql_parser::ast;
use sql_planner::ranges::in_column_type;

use crate::statement::snapshot_of;

/// Reads the row of a plan with the values of this run; `None` where that takes the long way.
pub(crate) async fn run(ctx: &mut ExecContext<'_>, point: &PointPlan) -> Result<Option<ResultSet>, SqlError> {
    if ctx.session.vars.settings().sql_select_limit == 0 {
        return Ok(None);
    }
    let Some((at, key)) = point.key(ctx) else { return Ok(None) };
    let PointPlan { decoder, metas, .. } = point;
    // Rows that the transaction has written may have other entries than in its snapshot: the long way knows.
    if let (Key::Entry(_), Some(txn)) = (&key, ctx.session.txn.kv()) {
        let (start, end) = table::record_range(at);
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
    /// The key of a run, its values as the columns hold them, and where it is; `None` where they do not tell one.
    fn key(&self, ctx: &ExecContext<'_>) -> Option<(PhysicalTableId, Key)> {
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
        let never_there = Some((self.table.physical_id(), Key::Never));
        if never {
            return never_there;
        }
        // A whole key has all columns that partitions depend on.
        let at = self.table.partition_of_key(values.iter().map(|(offset, value)| (*offset, value))).ok()?;
        let Some(at) = at else { return never_there };
        let Some(index) = self.index else { return Some((at, Key::Row(Handle::Int(row::handle_of(&values[0].1)?)))) };
        let index = self.table.indexes.iter().find(|i| i.id == index)?;
        let list: Vec<Datum> = index
            .columns
            .iter()
            .map(|c| values.iter().find(|v| v.0 == c.offset).map(|v| v.1.clone()))
            .collect::<Option<_>>()?;
        let key = match self.table.is_clustered_by(index) {
            true => Key::Row(Handle::of_values(&row::index_parts(&self.table, index), &list).ok()?),
            false => Key::Entry(row::values_key(&self.table, at, index, &list).ok()?),
        };
        Some((at, key))
    }
}

/// The plan of a query that reads one row by key.
pub(crate) fn plan(ctx: &ExecContext<'_>, query: &ast::Query) -> Option<PointPlan> {
    if query.with.is_some() || !query.order_by.is_empty() || query.limit.is_some() || !query.locks.is_empty() {
        return None;
    }
    let ast::SetExpr::Select(select) = &query.body else { return None };
    if select.distinct
        || select.having.is_some()
        || !select.windows.is_empty()
        || !select.group_by.is_empty()
        || select.rollup
    {
        return None;
    }
    let [ast::TableWithJoins { relation, joins }] = &select.from[..] else { return None };
    let ast::TableFactor::Table { name, partitions, alias, index_hints } = relation else { return None };
    if !joins.is_empty() || !index_hints.is_empty() || !partitions.is_empty() {
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
    let alias_name = alias.as_ref().map_or(table.name.as_str(), |a| a.value.as_str());

    // Conditions: column = literal, and nothing else.
    let mut equal: Vec<(usize, Operand)> = Vec::new();
    equalities(select.selection.as_ref()?, &table, alias_name, &mut equal)?;
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
            ast::SelectItem::Star(_) => table.public_columns().for_each(|c| want(c, None)),
            ast::SelectItem::Expr { expr, alias: None } => match expr {
                ast::Expr::Column(name) => want(column_of(expr, &table, alias_name)?, Some(name.last())),
                _ => return None,
            },
            ast::SelectItem::Expr { expr, alias: Some(alias) } => {
                want(column_of(expr, &table, alias_name)?, Some(&alias.value))
            }
            ast::SelectItem::StarOf(_) => return None,
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
    let ast::Expr::Column(name) = e.without_parentheses() else { return None };
    match &name.0[..] {
        [c] => table.column(&c.value),
        [t, c] if t.value.eq_ignore_ascii_case(alias) => table.column(&c.value),
        _ => None,
    }
}

fn equalities(e: &ast::Expr, table: &TableInfo, alias: &str, out: &mut Vec<(usize, Operand)>) -> Option<()> {
    match e.without_parentheses() {
        ast::Expr::Binary { left, op: ast::BinaryOp::And, right } => {
            equalities(left, table, alias, out)?;
            equalities(right, table, alias, out)
        }
        ast::Expr::Binary { left, op: ast::BinaryOp::Eq, right } => {
            let (column, value) = match column_of(left, table, alias) {
                Some(c) => (c, right),
                None => (column_of(right, table, alias)?, left),
            };
            out.push((column.offset, operand(value)?));
            Some(())
        }
        _ => None,
    }
}

fn operand(e: &ast::Expr) -> Option<Operand> {
    let value = match e {
        ast::Expr::Param(at) => return Some(Operand::Param(*at)),
        ast::Expr::Literal(ast::Literal::Number(n)) => match n.parse() {
            Ok(v) => Datum::Int(v),
            Err(_) => Datum::UInt(n.parse().ok()?),
        },
        ast::Expr::Literal(ast::Literal::Text(s)) => Datum::string(s.as_str()),
        ast::Expr::Unary { op: ast::UnaryOp::Minus, expr } => match &**expr {
            ast::Expr::Literal(ast::Literal::Number(n)) => Datum::Int(format!("-{n}").parse().ok()?),
            _ => return None,
        },
        _ => return None,
    };
    Some(Operand::Value(value))
}
