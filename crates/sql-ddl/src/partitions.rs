//! From partitions as written to those of the catalogue, with everything checked that does not need the storage.
//!
//! What partitions may depend on is MySQL's: columns, and functions of them that give an integer and the same one always. An
//! expression that asks for the session's time zone does not, so of a TIMESTAMP only UNIX_TIMESTAMP is taken.

use codec::datum::Datum;
use codec::types::{FieldType, TypeCode};
use query::context::EvalContext;
use query::expr::{ArithOp, Expr};
use query::interval::Unit;
use query::types::EvalType;
use sql_base::{PartitionError, SqlError};
use sql_catalog::partition::{Method, Term, Value};
use sql_catalog::{ColumnInfo, Name, Partition, PartitionInfo, PolicyRef, TableInfo, convert};
use sql_parser::ast::{self, BinaryOp, Literal, UnaryOp};
use sql_parser::{PartitionBy, PartitionChange, PartitionDef, PartitionMethod, PartitionValue, PartitionValues};

use super::build::{check_comment, check_length};

/// Partitions of a table, as in MySQL.
const PARTITIONS_MAX: usize = 8192;

/// Functions that partitions may depend on.
const FUNCTIONS: &[&str] = &[
    "abs",
    "ceil",
    "ceiling",
    "datediff",
    "day",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "floor",
    "hour",
    "microsecond",
    "minute",
    "mod",
    "month",
    "quarter",
    "second",
    "time_to_sec",
    "to_days",
    "to_seconds",
    "unix_timestamp",
    "weekday",
    "year",
    "yearweek",
];

/// What definitions are checked against.
pub(super) struct Context<'a> {
    /// Of the statement: values are computed in it.
    pub(super) eval: &'a EvalContext,
    /// Placement policies by name.
    pub(super) policy: &'a dyn Fn(&sql_parser::PolicyRef) -> Result<Option<PolicyRef>, SqlError>,
}

/// The partitions of a table, without ids. What is read otherwise than it is written is told to `warn`.
pub(super) fn partition_by(
    table: &TableInfo,
    by: &PartitionBy,
    cx: &Context<'_>,
    warn: &mut dyn FnMut(SqlError),
) -> Result<PartitionInfo, SqlError> {
    if table.columns.iter().any(|c| c.converts.is_some()) {
        return Err(SqlError::UnsupportedDdl("Unsupported partition by while columns are converted".into()));
    }
    let (method, expr, columns) = match &by.method {
        PartitionMethod::Range(e) => (Method::Range, Some(expression(table, e)?), Vec::new()),
        PartitionMethod::List(e) => (Method::List, Some(expression(table, e)?), Vec::new()),
        PartitionMethod::Hash(e) => (Method::Hash, Some(expression(table, e)?), Vec::new()),
        PartitionMethod::RangeColumns(names) => (Method::Range, None, columns(table, names)?),
        PartitionMethod::ListColumns(names) => (Method::List, None, columns(table, names)?),
        PartitionMethod::Key(names) => (Method::Key, None, key_columns(table, names)?),
    };
    if by.linear {
        let method = method.as_str();
        warn(SqlError::UnsupportedDdl(format!("LINEAR {method} is not supported, using non-linear {method} instead")));
    }
    let mut info = PartitionInfo::new(method, expr, columns, Vec::new());
    let hashed = matches!(method, Method::Hash | Method::Key);
    if by.count == Some(0) {
        return Err(PartitionError::NoPartitions.into());
    }
    if by.definitions.is_empty() && !hashed {
        return Err(PartitionError::MustBeDefined(method.as_str()).into());
    }
    if by.count.is_some_and(|n| !by.definitions.is_empty() && n != by.definitions.len() as u64) {
        return Err(PartitionError::WrongCount.into());
    }
    info.definitions = match by.definitions.is_empty() {
        true => numbered(0, by.count.unwrap_or(1))?,
        false => definitions(table, &info, &by.definitions, cx)?,
    };
    check(table, &info)?;
    check_keys(table, &info)?;
    Ok(info)
}

/// Partitions of HASH and KEY that nobody has named, from this number on.
pub(super) fn numbered(from: usize, count: u64) -> Result<Vec<Partition>, SqlError> {
    if count > PARTITIONS_MAX as u64 {
        return Err(PartitionError::TooMany.into());
    }
    Ok((from..from + count as usize).map(|n| unnamed(Name::new(format!("p{n}")))).collect())
}

fn unnamed(name: Name) -> Partition {
    Partition {
        id: 0,
        name,
        less_than: Vec::new(),
        in_values: Vec::new(),
        comment: String::new(),
        policy: None,
        closed: false,
    }
}

/// Partitions as they are defined, each for itself.
pub(super) fn definitions(
    table: &TableInfo,
    info: &PartitionInfo,
    defs: &[PartitionDef],
    cx: &Context<'_>,
) -> Result<Vec<Partition>, SqlError> {
    defs.iter().map(|def| definition(table, info, def, cx)).collect()
}

fn definition(
    table: &TableInfo,
    info: &PartitionInfo,
    def: &PartitionDef,
    cx: &Context<'_>,
) -> Result<Partition, SqlError> {
    check_length(&def.name)?;
    if def.name.is_empty() || def.name.ends_with(' ') {
        return Err(SqlError::WrongTableName(def.name.clone()));
    }
    let mut partition = unnamed(Name::new(def.name.clone()));
    partition.comment = def.comment.clone().unwrap_or_default();
    check_comment(&format!("Comment for table partition '{}'", def.name), &partition.comment)?;
    if let Some(policy) = &def.placement {
        partition.policy = (cx.policy)(policy)?;
    }
    let types: Vec<FieldType> = match &info.expr {
        Some(term) => vec![term.expr(table)?.ty().clone()],
        None => info.columns.iter().filter_map(|id| column_by_id(table, *id)).map(|c| c.field_type.clone()).collect(),
    };
    let values = |list: &[PartitionValue]| -> Result<Vec<Value>, SqlError> {
        if list.len() != types.len() {
            return Err(PartitionError::ColumnList.into());
        }
        let one = |(value, ty): (&PartitionValue, &FieldType)| self::value(info, def, value, ty, cx.eval);
        list.iter().zip(&types).map(one).collect()
    };
    match (info.method, &def.values) {
        (Method::Range, PartitionValues::LessThan(list)) => {
            partition.less_than = values(list)?;
            if partition.less_than.contains(&Value::Null) {
                return Err(PartitionError::NullInLessThan.into());
            }
        }
        (Method::List, PartitionValues::In(rows)) => {
            for row in rows {
                if row[..] == [PartitionValue::Default] {
                    partition.in_values.push(vec![Value::Default]);
                    continue;
                }
                partition.in_values.push(values(row)?);
            }
        }
        (Method::Hash | Method::Key, PartitionValues::Unsaid) => {}
        (Method::Range, PartitionValues::Unsaid) => {
            return Err(PartitionError::RequiresValues { method: "RANGE", values: "LESS THAN" }.into());
        }
        (Method::List, PartitionValues::Unsaid) => {
            return Err(PartitionError::RequiresValues { method: "LIST", values: "IN" }.into());
        }
        (_, PartitionValues::LessThan(_)) => {
            return Err(PartitionError::WrongValues { method: "RANGE", values: "LESS THAN" }.into());
        }
        (_, PartitionValues::In(_)) => {
            return Err(PartitionError::WrongValues { method: "LIST", values: "IN" }.into());
        }
    }
    Ok(partition)
}

fn value(
    info: &PartitionInfo,
    def: &PartitionDef,
    value: &PartitionValue,
    ty: &FieldType,
    eval: &EvalContext,
) -> Result<Value, SqlError> {
    let expr = match value {
        PartitionValue::Max if info.method == Method::Range => return Ok(Value::Max),
        PartitionValue::Max => return Err(PartitionError::MaxValueNotLast.into()),
        PartitionValue::Default => return Err(PartitionError::WrongColumnValue.into()),
        PartitionValue::Expr(expr) => expr,
    };
    let datum = query::eval::eval_const(&constant(expr)?, &mut eval.clone())?;
    if info.expr.is_some() {
        return match datum {
            Datum::Null => Ok(Value::Null),
            Datum::Int(v) if v < 0 && ty.is_unsigned() => Err(PartitionError::ConstantOutOfDomain.into()),
            Datum::Int(v) => Ok(Value::Number(v.to_string())),
            Datum::UInt(v) => Ok(Value::Number(v.to_string())),
            _ => Err(PartitionError::ValuesNotInt(def.name.clone()).into()),
        };
    }
    let given = match &datum {
        Datum::Null => return Ok(Value::Null),
        Datum::Int(_) | Datum::UInt(_) if ty.tp.is_integer() => Value::Number(text(&datum, None)),
        Datum::Bytes(bytes) if !ty.tp.is_integer() => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.clone()),
        },
        Datum::Time(_) if !ty.tp.is_integer() && !ty.tp.is_string() => Value::Text(text(&datum, None)),
        _ => return Err(PartitionError::WrongColumnValue.into()),
    };
    match given.fitted(ty) {
        (_, false) => Err(PartitionError::WrongColumnValue.into()),
        (fitted, true) if ty.tp.is_integer() => Ok(Value::Number(text(&fitted, Some(ty)))),
        (_, true) if ty.tp.is_string() => Ok(given),
        (fitted, true) => Ok(Value::Text(text(&fitted, Some(ty)))),
    }
}

fn text(datum: &Datum, ty: Option<&FieldType>) -> String {
    String::from_utf8_lossy(&convert::text_of(datum, ty)).into_owned()
}

/// What all partitions of a table must be together.
pub(super) fn check(table: &TableInfo, info: &PartitionInfo) -> Result<(), SqlError> {
    let all = &info.definitions;
    if all.len() > PARTITIONS_MAX {
        return Err(PartitionError::TooMany.into());
    }
    if let Some(same) = all.iter().enumerate().find(|(at, p)| all[..*at].iter().any(|other| other.name == p.name)) {
        return Err(PartitionError::SameName(same.1.name.original.clone()).into());
    }
    match info.method {
        Method::Range => check_ranges(table, info),
        Method::List => check_lists(table, info),
        Method::Hash | Method::Key => Ok(()),
    }
}

/// The values of a partition in the order that counts.
pub(super) fn in_order(
    table: &TableInfo,
    info: &PartitionInfo,
    values: &[Value],
) -> Vec<(Datum, codec::types::Collation)> {
    let ty = |at: usize| match &info.expr {
        Some(_) => FieldType::bigint(),
        None => {
            let column = info.columns.get(at).and_then(|id| column_by_id(table, *id));
            column.map_or_else(FieldType::bigint, |c| c.field_type.clone())
        }
    };
    let one = |(at, value): (usize, &Value)| {
        let ty = ty(at);
        let datum = match (&info.expr, value) {
            (Some(_), Value::Number(text)) => match (text.parse(), text.parse()) {
                (Ok(v), _) => Datum::Int(v),
                (_, Ok(v)) => Datum::UInt(v),
                _ => Datum::Null,
            },
            _ => value.fitted(&ty).0,
        };
        (datum, ty.collation)
    };
    values.iter().enumerate().map(one).collect()
}

fn check_ranges(table: &TableInfo, info: &PartitionInfo) -> Result<(), SqlError> {
    let last = info.definitions.len().saturating_sub(1);
    let ends: Vec<_> = info.definitions.iter().map(|p| in_order(table, info, &p.less_than)).collect();
    for (at, pair) in ends.windows(2).enumerate() {
        let whole = info.definitions[at].less_than.iter().all(|value| *value == Value::Max);
        if whole && at < last {
            return Err(PartitionError::MaxValueNotLast.into());
        }
        let order = pair[0].iter().zip(&pair[1]).map(|(a, b)| a.0.compare(&b.0, a.1)).find(|order| order.is_ne());
        if order.is_none_or(|order| order.is_ge()) {
            return Err(PartitionError::NotIncreasing.into());
        }
    }
    Ok(())
}

fn check_lists(table: &TableInfo, info: &PartitionInfo) -> Result<(), SqlError> {
    let mut seen: Vec<Vec<(Datum, codec::types::Collation)>> = Vec::new();
    let mut defaults = 0;
    for values in info.definitions.iter().flat_map(|p| &p.in_values) {
        if values.contains(&Value::Default) {
            defaults += 1;
            continue;
        }
        seen.push(in_order(table, info, values));
    }
    let compare = |a: &Vec<(Datum, codec::types::Collation)>, b: &Vec<(Datum, codec::types::Collation)>| {
        let order = a.iter().zip(b).map(|(a, b)| a.0.compare(&b.0, a.1)).find(|order| order.is_ne());
        order.unwrap_or(std::cmp::Ordering::Equal)
    };
    seen.sort_by(compare);
    match defaults > 1 || seen.windows(2).any(|pair| compare(&pair[0], &pair[1]).is_eq()) {
        true => Err(PartitionError::DuplicateValue.into()),
        false => Ok(()),
    }
}

/// Every unique key has the columns that partitions depend on, whole.
pub(super) fn check_keys(table: &TableInfo, info: &PartitionInfo) -> Result<(), SqlError> {
    let needed: Vec<usize> =
        info.depends_on().into_iter().filter_map(|id| column_by_id(table, id)).map(|c| c.offset).collect();
    if let Some(column) = table.handle_column()
        && needed.iter().any(|offset| *offset != column.offset)
    {
        return Err(PartitionError::UniqueKeyNeedsAllColumns("PRIMARY KEY".into()).into());
    }
    for index in table.indexes.iter().filter(|index| index.unique) {
        let has = |offset: &usize| index.columns.iter().any(|part| part.offset == *offset && part.length.is_none());
        if needed.iter().all(has) {
            continue;
        }
        return Err(match table.is_clustered_by(index) {
            true => PartitionError::UniqueKeyNeedsAllColumns("PRIMARY KEY".into()),
            false => PartitionError::NeedsGlobalIndex(index.name.original.clone()),
        }
        .into());
    }
    Ok(())
}

/// Refuses changes of a table that would leave partitions depending on what is no longer there, or not the same.
pub(super) fn check_altered(before: &TableInfo, after: &TableInfo) -> Result<(), SqlError> {
    let Some(info) = &after.partition else { return Ok(()) };
    for id in info.depends_on() {
        let Some(old) = column_by_id(before, id) else { continue };
        let new = column_by_id(after, id).filter(|new| new.is_public() && new.name == old.name);
        let Some(new) = new else { return Err(PartitionError::ColumnInUse(old.name.original.clone()).into()) };
        let (was, is) = (&old.field_type, &new.field_type);
        let converted = after.columns.iter().any(|c| c.converts.as_ref().is_some_and(|how| how.from == id));
        if converted || was.declaration() != is.declaration() || was.collation != is.collation {
            let what = format!("column '{}' decides in which partition a row is", old.name);
            return Err(SqlError::UnsupportedModifyColumn(what));
        }
    }
    check_keys(after, info)
}

/// What a change of partitions is called.
pub(super) fn words(change: &PartitionChange) -> &'static str {
    match change {
        PartitionChange::By(_) => "ALTER TABLE … PARTITION BY",
        PartitionChange::Remove => "REMOVE PARTITIONING",
        PartitionChange::Add { .. } => "ADD PARTITION",
        PartitionChange::Drop { .. } => "DROP PARTITION",
        PartitionChange::Truncate(_) => "TRUNCATE PARTITION",
        PartitionChange::Coalesce(_) => "COALESCE PARTITION",
        PartitionChange::Reorganize { .. } => "REORGANIZE PARTITION",
        PartitionChange::Exchange { .. } => "EXCHANGE PARTITION",
        PartitionChange::Placement { .. } => "ALTER TABLE … PARTITION … PLACEMENT POLICY",
    }
}

fn column_by_id(table: &TableInfo, id: i64) -> Option<&ColumnInfo> {
    table.columns.iter().find(|c| c.id == id)
}

fn listed<'t>(table: &'t TableInfo, name: &str) -> Result<&'t ColumnInfo, SqlError> {
    table.column(name).ok_or_else(|| PartitionError::NoSuchField.into())
}

fn columns(table: &TableInfo, names: &[String]) -> Result<Vec<i64>, SqlError> {
    use TypeCode::*;
    let mut ids = Vec::new();
    for name in names {
        let column = listed(table, name)?;
        if ids.contains(&column.id) {
            return Err(SqlError::DuplicateColumn(name.clone()));
        }
        match column.field_type.tp {
            Tiny | Short | Int24 | Long | LongLong | Date | DateTime | Duration | String | Varchar | VarString => {}
            _ => return Err(PartitionError::FieldType(column.name.original.clone()).into()),
        }
        ids.push(column.id);
    }
    Ok(ids)
}

fn key_columns(table: &TableInfo, names: &[String]) -> Result<Vec<i64>, SqlError> {
    let columns: Vec<&ColumnInfo> = match names.is_empty() {
        false => names.iter().map(|name| listed(table, name)).collect::<Result<_, _>>()?,
        true => {
            let parts = |index: &sql_catalog::IndexInfo| {
                index.columns.iter().filter_map(|part| table.columns.get(part.offset)).collect::<Vec<_>>()
            };
            let not_null = |columns: &Vec<&ColumnInfo>| columns.iter().all(|c| c.field_type.is_not_null());
            match table.primary_key() {
                primary if !primary.is_empty() => primary,
                _ => {
                    let mut unique = table.public_indexes().filter(|index| index.unique).map(parts);
                    unique.find(not_null).ok_or(PartitionError::NoSuchField)?
                }
            }
        }
    };
    if columns.iter().any(|c| c.field_type.tp.is_blob() || c.field_type.tp == TypeCode::Json) {
        return Err(PartitionError::BlobField.into());
    }
    Ok(columns.into_iter().map(|c| c.id).collect())
}

/// An expression that partitions may depend on.
fn expression(table: &TableInfo, e: &ast::Expr) -> Result<Term, SqlError> {
    let term = term(table, e)?;
    if term.columns().is_empty() {
        return Err(PartitionError::NotDeterministic.into());
    }
    if let Term::Column(id) = &term
        && let Some(column) = column_by_id(table, *id)
    {
        let ty = &column.field_type;
        if ty.tp.is_blob() {
            return Err(PartitionError::BlobField.into());
        }
        if !ty.tp.is_integer() {
            return Err(PartitionError::FieldType(column.name.original.clone()).into());
        }
    }
    check_operands(table, &term)?;
    match EvalType::of(term.expr(table)?.ty()) {
        EvalType::Int => Ok(term),
        _ => Err(PartitionError::WrongType("PARTITION").into()),
    }
}

/// Whether functions are of columns of the types for which they are the same always.
fn check_operands(table: &TableInfo, term: &Term) -> Result<(), SqlError> {
    use TypeCode::*;
    let ty_of = |arg: &Term| match arg {
        Term::Column(id) => column_by_id(table, *id).map(|c| c.field_type.tp),
        _ => None,
    };
    let dated = |arg: &Term| matches!(ty_of(arg), Some(Date | DateTime));
    let timed = |arg: &Term| matches!(ty_of(arg), Some(Duration | DateTime));
    let (args, fits): (&[Term], bool) = match term {
        Term::Column(_) | Term::Number(_) => return Ok(()),
        Term::Extract(unit, arg) => {
            let clock = Unit::parse(unit).is_some_and(Unit::has_clock);
            let fits = if clock { timed(arg) && !unit.starts_with("day") || dated(arg) } else { dated(arg) };
            (std::slice::from_ref(&**arg), fits && unit != "week")
        }
        Term::Call(name, args) => {
            let fits = match (name.as_str(), &args[..]) {
                ("unix_timestamp", [arg]) => ty_of(arg) == Some(Timestamp),
                ("unix_timestamp", _) => false,
                ("hour" | "minute" | "second" | "microsecond" | "time_to_sec", [arg]) => timed(arg),
                ("datediff", [a, b]) => dated(a) && dated(b),
                ("yearweek", [arg, Term::Number(_)]) => dated(arg),
                (
                    "day" | "dayofmonth" | "dayofweek" | "dayofyear" | "month" | "quarter" | "to_days" | "to_seconds"
                    | "weekday" | "year" | "yearweek",
                    [arg],
                ) => dated(arg),
                (name, _) if name.starts_with("year") || name.starts_with("to_") => false,
                _ => args.iter().all(|arg| match ty_of(arg) {
                    Some(tp) => tp.is_numeric() && !matches!(tp, Float | Double | Bit),
                    None => true,
                }),
            };
            (args, fits)
        }
    };
    if !fits {
        return Err(PartitionError::NotDeterministic.into());
    }
    args.iter().try_for_each(|arg| check_operands(table, arg))
}

/// The operator or function by its name, of those that may be.
fn operator(op: BinaryOp) -> Result<&'static str, SqlError> {
    Ok(match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::IntDivide => "div",
        BinaryOp::Modulo => "%",
        _ => return Err(PartitionError::FunctionNotAllowed.into()),
    })
}

fn function(f: &ast::Function) -> Result<String, SqlError> {
    let name = f.name.value.to_lowercase();
    let bare = !f.star && !f.distinct && f.order_by.is_empty() && f.over.is_none();
    match bare && FUNCTIONS.contains(&name.as_str()) {
        true => Ok(name),
        false => Err(PartitionError::FunctionNotAllowed.into()),
    }
}

fn term(table: &TableInfo, e: &ast::Expr) -> Result<Term, SqlError> {
    Ok(match e {
        ast::Expr::Nested(inner) => term(table, inner)?,
        ast::Expr::Column(name) => {
            let unknown =
                || SqlError::UnknownColumn { column: name.last().to_owned(), clause: "partition function".into() };
            Term::Column(table.column(name.last()).ok_or_else(unknown)?.id)
        }
        ast::Expr::Literal(Literal::Number(text)) => {
            Term::Number(text.parse().map_err(|_| SqlError::from(PartitionError::WrongType("PARTITION")))?)
        }
        ast::Expr::Literal(_) => return Err(PartitionError::NotDeterministic.into()),
        ast::Expr::Unary { op: UnaryOp::Plus, expr } => term(table, expr)?,
        ast::Expr::Unary { op: UnaryOp::Minus, expr } => match term(table, expr)? {
            Term::Number(n) => Term::Number(n.wrapping_neg()),
            other => Term::Call("unaryminus".into(), vec![other]),
        },
        ast::Expr::Binary { left, op, right } => {
            Term::Call(operator(*op)?.into(), vec![term(table, left)?, term(table, right)?])
        }
        ast::Expr::Extract { unit, expr } => Term::Extract(unit.to_lowercase(), Box::new(term(table, expr)?)),
        ast::Expr::Function(f) => {
            let name = function(f)?;
            let args = f.args.iter().map(|arg| term(table, arg)).collect::<Result<Vec<_>, _>>()?;
            match (name.as_str(), args.len()) {
                ("mod", 2) => Term::Call("%".into(), args),
                _ => Term::Call(name, args),
            }
        }
        _ => return Err(PartitionError::FunctionNotAllowed.into()),
    })
}

/// A value of a definition, which may be computed, but of no column.
fn constant(e: &ast::Expr) -> Result<Expr, SqlError> {
    Ok(match e {
        ast::Expr::Nested(inner) => constant(inner)?,
        ast::Expr::Literal(literal) => match literal {
            Literal::Null => Expr::null(),
            Literal::Boolean(truth) => Expr::constant(i64::from(*truth)),
            Literal::Number(text) => number(text)?,
            Literal::Text(text) => Expr::constant(Datum::string(text.as_str())),
            Literal::Binary(bytes) => Expr::constant(Datum::Bytes(bytes.clone())),
            Literal::Hex(hex) => {
                let hex = if hex.len().is_multiple_of(2) { hex.clone() } else { format!("0{hex}") };
                Expr::constant(Datum::Bytes(sql_base::unhex(&hex).unwrap_or_default()))
            }
            Literal::Bits(_) => return Err(PartitionError::WrongColumnValue.into()),
        },
        ast::Expr::Unary { op: UnaryOp::Plus, expr } => constant(expr)?,
        ast::Expr::Unary { op: UnaryOp::Minus, expr } => match &**expr {
            ast::Expr::Literal(Literal::Number(text)) => number(&format!("-{text}"))?,
            expr => query::infer::neg(constant(expr)?)?,
        },
        ast::Expr::Binary { left, op, right } => {
            let op = match operator(*op)? {
                "+" => ArithOp::Add,
                "-" => ArithOp::Sub,
                "*" => ArithOp::Mul,
                "div" => ArithOp::IntDiv,
                _ => ArithOp::Mod,
            };
            query::infer::arith(op, constant(left)?, constant(right)?)?
        }
        ast::Expr::Temporal { kind, text } => sql_planner::expr::typed_literal(*kind, text)?,
        ast::Expr::Extract { unit, expr } => {
            let unit = Unit::parse(unit).ok_or(PartitionError::FunctionNotAllowed)?;
            query::infer::extract(unit, constant(expr)?)?
        }
        ast::Expr::Function(f) => {
            let args = f.args.iter().map(constant).collect::<Result<Vec<_>, _>>()?;
            query::functions::call(&function(f)?, args)?
        }
        ast::Expr::Column(_) => return Err(PartitionError::NotDeterministic.into()),
        _ => return Err(PartitionError::FunctionNotAllowed.into()),
    })
}

fn number(text: &str) -> Result<Expr, SqlError> {
    sql_planner::expr::number(text)
}
