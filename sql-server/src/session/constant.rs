//! Queries that need neither table nor executor: `SELECT @@version_comment LIMIT 1`, `SELECT DATABASE()`, `SELECT 1`.
//!
//! Clients send these when they connect and to see whether the server lives; they work while the cluster can't be
//! reached. Anything else in the select list hands the whole query to the executor.

use codec::datum::Datum;
use codec::decimal::Decimal;
use codec::types::{FieldType, TypeCode, flags};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet};
use sql_context::SessionState;
use sql_context::vars::SERVER_VERSION;
use sql_parser::ast::{Expr, Limit, Literal, Query, Select, SelectItem, SetExpr};

use crate::cluster::Server;

/// Answers the query if it is of this kind.
pub(super) fn select(server: &Server, state: &mut SessionState, query: &Query) -> Result<Option<ResultSet>, SqlError> {
    let Some(select) = plain_select(query) else { return Ok(None) };
    let mut columns = Vec::with_capacity(select.projection.len());
    let mut row = Vec::with_capacity(select.projection.len());
    for item in &select.projection {
        let (expr, alias) = match item {
            SelectItem::Expr { expr, alias } => (expr, alias.as_ref().map(|alias| alias.value.clone())),
            SelectItem::Star(_) | SelectItem::StarOf(_) => return Ok(None),
        };
        let Some((value, ty)) = evaluate(server, state, expr)? else { return Ok(None) };
        columns.push(ColumnMeta::computed(alias.unwrap_or_else(|| column_name(expr)), ty));
        row.push(value);
    }
    state.found_rows = 1;
    Ok(Some(super::rows(columns, vec![row])))
}

/// The query reads `@@warning_count` or `@@error_count`, which it must then not reset.
pub(super) fn reads_diagnostics(query: &Query) -> bool {
    let Some(select) = plain_select(query) else { return false };
    select.projection.iter().any(|item| match item {
        SelectItem::Expr { expr: Expr::Variable(name), .. } => {
            matches!(name.as_str(), "@@warning_count" | "@@error_count")
        }
        _ => false,
    })
}

/// A select list and nothing else, but perhaps a limit of at least one row.
fn plain_select(query: &Query) -> Option<&Select> {
    let SetExpr::Select(select) = &query.body else { return None };
    let limit = match &query.limit {
        None => true,
        Some(Limit { count: Expr::Literal(Literal::Number(n)), offset: None }) => n != "0",
        Some(_) => false,
    };
    let bare = query.with.is_none()
        && query.order_by.is_empty()
        && query.locks.is_empty()
        && limit
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && !select.distinct
        && select.windows.is_empty()
        && select.group_by.is_empty()
        && !select.rollup;
    bare.then_some(select)
}

/// MySQL names a column after its text; a string literal after its value.
fn column_name(expr: &Expr) -> String {
    match expr {
        Expr::Literal(Literal::Text(text)) => text.clone(),
        other => other.to_string(),
    }
}

fn evaluate(server: &Server, state: &SessionState, expr: &Expr) -> Result<Option<(Datum, FieldType)>, SqlError> {
    Ok(match expr {
        Expr::Literal(value) => literal(value),
        Expr::Variable(name) => Some(match name.strip_prefix("@@") {
            Some(name) => state.variables().get(server, name)?,
            None => state.user_variable(name.trim_start_matches('@')),
        }),
        Expr::Function(f) => {
            let plain = f.args.is_empty() && f.word.is_none() && !f.star && f.over.is_none();
            if plain { session_function(state, &f.name.value) } else { None }
        }
        _ => None,
    })
}

/// Value of a literal.
pub(super) fn literal(value: &Literal) -> Option<(Datum, FieldType)> {
    Some(match value {
        Literal::Number(text) => match text.parse::<i64>() {
            Ok(n) => {
                let ty = FieldType { flen: text.len() as i32, ..FieldType::bigint() };
                (Datum::Int(n), ty.with_flags(flags::NOT_NULL))
            }
            Err(_) => number(text)?,
        },
        Literal::Text(s) => {
            let ty = FieldType::varchar(i32::try_from(s.chars().count()).unwrap_or(i32::MAX));
            (Datum::string(s.clone()), ty.with_flags(flags::NOT_NULL))
        }
        Literal::Null => (Datum::Null, FieldType::new(TypeCode::Null)),
        Literal::Boolean(b) => (Datum::Int(i64::from(*b)), FieldType::bigint().with_flags(flags::NOT_NULL)),
        Literal::Binary(_) | Literal::Hex(_) | Literal::Bits(_) => return None,
    })
}

fn number(text: &str) -> Option<(Datum, FieldType)> {
    if let Ok(n) = text.parse::<u64>() {
        return Some((Datum::UInt(n), FieldType::bigint_unsigned().with_flags(flags::NOT_NULL)));
    }
    if text.contains(['e', 'E']) {
        return Some((Datum::Float(text.parse().ok()?), FieldType::double().with_flags(flags::NOT_NULL)));
    }
    let (Some(d), false) = Decimal::parse_prefix(text) else { return None };
    let ty = FieldType::decimal(i32::from(d.precision()), i32::from(d.scale()));
    Some((Datum::Decimal(d), ty.with_flags(flags::NOT_NULL)))
}

/// Functions of the session.
fn session_function(state: &SessionState, name: &str) -> Option<(Datum, FieldType)> {
    let text = |s: String| (Datum::string(s), FieldType::varchar(64));
    Some(match name.to_ascii_uppercase().as_str() {
        "VERSION" => text(SERVER_VERSION.to_owned()),
        "DATABASE" | "SCHEMA" => match &state.database {
            Some(name) => text(name.clone()),
            None => (Datum::Null, FieldType::varchar(64)),
        },
        "USER" | "SESSION_USER" | "SYSTEM_USER" => text(format!("{}@{}", state.identity.user, state.identity.host)),
        "CURRENT_USER" => text(format!("{}@%", state.identity.user)),
        "CONNECTION_ID" => (Datum::UInt(state.id), FieldType::bigint_unsigned()),
        "LAST_INSERT_ID" => (Datum::UInt(state.last_insert_id), FieldType::bigint_unsigned()),
        "ROW_COUNT" => (Datum::Int(state.row_count), FieldType::bigint()),
        "FOUND_ROWS" => (Datum::UInt(state.found_rows), FieldType::bigint_unsigned()),
        _ => return None,
    })
}
