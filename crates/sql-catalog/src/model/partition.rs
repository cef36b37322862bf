//! How the rows of a table are divided among partitions, and to which of them a row belongs.
//!
//! A partition is a range of keys of its own: rows and index entries begin with its id instead of the table's. Which one a row
//! belongs to depends on the row alone ([`TableInfo::partition_of`]), and on nothing of a session: expressions are computed in
//! UTC and with a fixed `sql_mode`, from values as they are stored. Every unique key has all columns that it depends on, so
//! rows that are in each other's way are in one partition, and a whole key tells where its row is.
//!
//! The definition is stored under TiDB's names, but for expressions, which are trees here ([`Term`]), so that nobody has to
//! parse SQL to find a row. Columns are named by id: they may move, and a name is looked up where it is printed.
//!
//! Not here: which partitions a condition leaves (`sql-planner`), what a definition may say (`sql-ddl`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use codec::datum::{self, Datum};
use codec::table::PhysicalTableId;
use codec::types::{FieldType, TypeCode};
use query::context::{EvalContext, TimeZone};
use query::expr::{ArithOp, Expr};
use query::interval::Unit;
use query::value::StoreContext;
use serde::{Deserialize, Serialize};
use sql_base::{PartitionError, SqlError};

use super::{Name, PolicyRef, SchemaState, TableInfo};

/// How rows are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Method {
    /// By ranges of an expression, or of columns.
    Range,
    /// By the remainder of an expression.
    Hash,
    /// By lists of values of an expression, or of columns.
    List,
    /// By a hash of columns.
    Key,
}

impl Method {
    /// `RANGE`, `LIST`, `HASH` or `KEY`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Range => "RANGE",
            Method::Hash => "HASH",
            Method::List => "LIST",
            Method::Key => "KEY",
        }
    }
}

impl From<Method> for u8 {
    fn from(method: Method) -> u8 {
        match method {
            Method::Range => 1,
            Method::Hash => 2,
            Method::List => 3,
            Method::Key => 4,
        }
    }
}

impl TryFrom<u8> for Method {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Ok(match number {
            1 => Method::Range,
            2 => Method::Hash,
            3 => Method::List,
            4 => Method::Key,
            other => return Err(format!("unknown partition type {other}")),
        })
    }
}

/// An expression over columns, of those that partitions may depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Term {
    /// A column, by id.
    Column(i64),
    /// An integer.
    Number(i64),
    /// A function in lower case, or one of `+ - * div %`, or `unaryminus`.
    Call(String, Vec<Term>),
    /// `EXTRACT(unit FROM …)`; the unit in lower case.
    Extract(String, Box<Term>),
}

/// Whether greater values of a column give greater values of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// They give none that are smaller.
    Up,
    /// They give none that are greater.
    Down,
}

impl Growth {
    fn turned(self) -> Growth {
        match self {
            Growth::Up => Growth::Down,
            Growth::Down => Growth::Up,
        }
    }
}

impl Term {
    /// The columns in it, by id, each once.
    pub fn columns(&self) -> Vec<i64> {
        let mut ids = match self {
            Term::Column(id) => vec![*id],
            Term::Number(_) => Vec::new(),
            Term::Call(_, args) => args.iter().flat_map(Term::columns).collect(),
            Term::Extract(_, arg) => arg.columns(),
        };
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether it grows or falls with the one column that it reads; `None` where it does neither or that is not known.
    pub fn growth(&self) -> Option<Growth> {
        match self {
            Term::Column(_) => Some(Growth::Up),
            Term::Number(_) => None,
            Term::Call(name, args) => match (name.as_str(), &args[..]) {
                ("year" | "to_days" | "to_seconds" | "unix_timestamp" | "floor" | "ceiling" | "ceil", [arg])
                | ("time_to_sec", [arg])
                | ("+", [arg, Term::Number(_)] | [Term::Number(_), arg])
                | ("-", [arg, Term::Number(_)]) => arg.growth(),
                ("-", [Term::Number(_), arg]) | ("unaryminus", [arg]) => arg.growth().map(Growth::turned),
                ("*", [arg, Term::Number(n)] | [Term::Number(n), arg]) | ("div", [arg, Term::Number(n)]) if *n != 0 => {
                    let growth = arg.growth()?;
                    Some(if *n > 0 { growth } else { growth.turned() })
                }
                _ => None,
            },
            Term::Extract(unit, arg) => match unit.as_str() {
                "year" | "year_month" => arg.growth(),
                _ => None,
            },
        }
    }

    /// Whether it may be NULL of a value that is not: of dates that are none.
    pub fn makes_nulls(&self) -> bool {
        match self {
            Term::Column(_) | Term::Number(_) => false,
            Term::Call(name, args) => {
                let date = matches!(name.as_str(), "to_days" | "to_seconds" | "datediff" | "weekday" | "yearweek");
                let divides = matches!(name.as_str(), "div" | "%" | "mod");
                let by_number = matches!(args.get(1), Some(Term::Number(n)) if *n != 0);
                date || name.starts_with("day") || (divides && !by_number) || args.iter().any(Term::makes_nulls)
            }
            Term::Extract(_, arg) => arg.makes_nulls(),
        }
    }

    /// The expression over rows of the table, whose columns are at their offsets.
    pub fn expr(&self, table: &TableInfo) -> Result<Expr, SqlError> {
        Ok(match self {
            Term::Column(id) => {
                let column = table.columns.iter().find(|c| c.id == *id).ok_or(PartitionError::NoSuchField)?;
                Expr::column(column.offset, column.field_type.clone())
            }
            Term::Number(n) => Expr::constant(*n),
            Term::Call(name, args) => {
                let args = args.iter().map(|arg| arg.expr(table)).collect::<Result<Vec<_>, _>>()?;
                let op = match name.as_str() {
                    "+" => Some(ArithOp::Add),
                    "-" => Some(ArithOp::Sub),
                    "*" => Some(ArithOp::Mul),
                    "div" => Some(ArithOp::IntDiv),
                    "%" => Some(ArithOp::Mod),
                    _ => None,
                };
                match (op, <[Expr; 2]>::try_from(args)) {
                    (Some(op), Ok([a, b])) => query::infer::arith(op, a, b)?,
                    (Some(_), Err(_)) => return Err(SqlError::WrongParameterCount(name.clone())),
                    (None, Ok([a, b])) => query::functions::call(name, vec![a, b])?,
                    (None, Err(mut args)) if name == "unaryminus" && args.len() == 1 => {
                        query::infer::neg(args.remove(0))?
                    }
                    (None, Err(args)) => query::functions::call(name, args)?,
                }
            }
            Term::Extract(unit, arg) => {
                let unit = Unit::parse(unit).ok_or(PartitionError::FunctionNotAllowed)?;
                query::infer::extract(unit, arg.expr(table)?)?
            }
        })
    }

    /// As SQL, with the names that columns have in the table.
    pub fn text(&self, table: &TableInfo) -> String {
        self.words(table, false)
    }

    fn words(&self, table: &TableInfo, inside: bool) -> String {
        match self {
            Term::Column(id) => quoted_column(table, *id),
            Term::Number(n) => n.to_string(),
            Term::Call(name, args) => {
                let infix = match name.as_str() {
                    "+" | "-" | "*" | "%" => Some(name.as_str()),
                    "div" => Some("DIV"),
                    _ => None,
                };
                match (infix, &args[..]) {
                    (Some(op), [a, b]) => {
                        let text = format!("{} {op} {}", a.words(table, true), b.words(table, true));
                        if inside { format!("({text})") } else { text }
                    }
                    (None, [a]) if name == "unaryminus" => format!("-({})", a.words(table, false)),
                    _ => {
                        let args: Vec<_> = args.iter().map(|arg| arg.words(table, false)).collect();
                        format!("{name}({})", args.join(","))
                    }
                }
            }
            Term::Extract(unit, arg) => format!("extract({unit} from {})", arg.words(table, false)),
        }
    }
}

fn quoted_column(table: &TableInfo, id: i64) -> String {
    let name = table.columns.iter().find(|c| c.id == id).map_or("?", |c| c.name.as_str());
    format!("`{}`", name.replace('`', "``"))
}

/// A value in a definition. Its text, in the catalogue too, is SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Value {
    /// MAXVALUE.
    Max,
    /// NULL.
    Null,
    /// DEFAULT: what is in no other list.
    Default,
    /// A number, as text.
    Number(String),
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Max => f.write_str("MAXVALUE"),
            Value::Null => f.write_str("NULL"),
            Value::Default => f.write_str("DEFAULT"),
            Value::Number(text) => f.write_str(text),
            Value::Text(text) => write!(f, "'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
            Value::Bytes(bytes) => write!(f, "x'{}'", sql_base::hex(bytes)),
        }
    }
}

impl From<Value> for String {
    fn from(value: Value) -> String {
        value.to_string()
    }
}

impl TryFrom<String> for Value {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let quoted = |from: &str| text.strip_prefix(from)?.strip_suffix('\'').map(str::to_owned);
        Ok(match text.as_str() {
            "MAXVALUE" => Value::Max,
            "NULL" => Value::Null,
            "DEFAULT" => Value::Default,
            _ => match (quoted("x'"), quoted("'")) {
                (Some(hex), _) => Value::Bytes(sql_base::unhex(&hex).ok_or_else(|| format!("no value: {text}"))?),
                (_, Some(inner)) => Value::Text(inner.replace("''", "'").replace("\\\\", "\\")),
                _ => Value::Number(text),
            },
        })
    }
}

impl Value {
    /// The value as a column of the type holds it, and whether that is the very same value.
    pub fn fitted(&self, ty: &FieldType) -> (Datum, bool) {
        let bytes = match self {
            Value::Max => return (Datum::Max, true),
            Value::Null | Value::Default => return (Datum::Null, true),
            Value::Number(text) | Value::Text(text) => text.as_bytes().to_vec(),
            Value::Bytes(bytes) => bytes.clone(),
        };
        let cx = StoreContext { zone: &TimeZone::UTC, no_zero_date: false, no_zero_in_date: false, today: None };
        let fitted = query::value::fit(Datum::Bytes(bytes), &FieldType::new(TypeCode::Null), ty, &cx);
        (fitted.value, fitted.problem.is_none())
    }
}

/// A partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partition {
    /// What its keys begin with: unique over all databases, tables and partitions, never used again.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// RANGE: what its values lie below, one for each column. Those of the partitions before it are not its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub less_than: Vec<Value>,
    /// LIST: its values, each with one for each column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_values: Vec<Vec<Value>>,
    /// COMMENT.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The policy that places it; the table's where it has none.
    #[serde(rename = "policy_ref_info", default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// It is being added: it is read, and rows do not go there yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl Partition {
    /// What its keys begin with.
    pub fn physical_id(&self) -> PhysicalTableId {
        PhysicalTableId(self.id)
    }

    /// `LESS THAN (10)`, `IN (1,2)`: what comes after VALUES, if anything does.
    pub fn values_text(&self, columns: usize) -> Option<String> {
        self.description(columns).map(|text| match self.less_than.is_empty() {
            false => format!("LESS THAN ({text})"),
            true => format!("IN ({text})"),
        })
    }

    /// The values alone: PARTITION_DESCRIPTION.
    pub fn description(&self, columns: usize) -> Option<String> {
        let list = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
        if !self.less_than.is_empty() {
            return Some(list(&self.less_than));
        }
        let one = |values: &Vec<Value>| match columns > 1 && values[..] != [Value::Default] {
            true => format!("({})", list(values)),
            false => list(values),
        };
        (!self.in_values.is_empty()).then(|| self.in_values.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

/// How the rows of a table are divided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// How.
    #[serde(rename = "type")]
    pub method: Method,
    /// By the values of this; else of columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<Term>,
    /// The columns, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<i64>,
    /// The partitions; those of RANGE in the order of their values.
    pub definitions: Vec<Partition>,
    #[serde(skip)]
    routing: Made,
}

/// What is made of a definition when it is first needed. A copy, which may be changed, makes its own.
#[derive(Debug, Default)]
struct Made(OnceLock<Routing>);

impl Clone for Made {
    fn clone(&self) -> Self {
        Made::default()
    }
}

impl PartitionInfo {
    /// A definition.
    pub fn new(method: Method, expr: Option<Term>, columns: Vec<i64>, definitions: Vec<Partition>) -> PartitionInfo {
        PartitionInfo { method, expr, columns, definitions, routing: Made::default() }
    }

    /// The columns that it depends on, by id.
    pub fn depends_on(&self) -> Vec<i64> {
        self.expr.as_ref().map_or_else(|| self.columns.clone(), Term::columns)
    }

    /// Where the partition of this name is.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.definitions.iter().position(|p| p.name.matches(name))
    }

    /// `RANGE`, `RANGE COLUMNS`, …
    pub fn method_name(&self) -> String {
        match (self.method, &self.expr) {
            (Method::Range | Method::List, None) => format!("{} COLUMNS", self.method.as_str()),
            (method, _) => method.as_str().to_owned(),
        }
    }

    /// What it depends on as SQL: the expression, or the columns.
    pub fn expression_text(&self, table: &TableInfo) -> String {
        match &self.expr {
            Some(term) => term.text(table),
            None => self.columns.iter().map(|id| quoted_column(table, *id)).collect::<Vec<_>>().join(","),
        }
    }

    /// What tells where values belong.
    pub fn routing(&self, table: &TableInfo) -> Result<&Routing, SqlError> {
        if let Some(routing) = self.routing.0.get() {
            return Ok(routing);
        }
        let made = Routing::of(table, self)?;
        Ok(self.routing.0.get_or_init(|| made))
    }
}

/// Another division of a table's rows. While it is made, and while the one before it is left, rows are written into both, as
/// its state demands; statements read [`TableInfo::partition`] only. A partition that is in both is written once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Division {
    /// How far it is.
    pub state: SchemaState,
    /// Its partitions; `None`: the table has none,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Box<PartitionInfo>>,
    /// and its keys begin with this; 0: with the table's id.
    #[serde(default)]
    pub rows_at: i64,
}

impl Division {
    /// What the keys of its rows begin with.
    pub fn physical_ids(&self, table: &TableInfo) -> Vec<PhysicalTableId> {
        match (&self.partition, self.rows_at) {
            (Some(info), _) => info.definitions.iter().map(Partition::physical_id).collect(),
            (None, 0) => vec![PhysicalTableId(table.id)],
            (None, id) => vec![PhysicalTableId(id)],
        }
    }

    fn place(&self, table: &TableInfo, row: &[Datum]) -> Result<PhysicalTableId, SqlError> {
        match (&self.partition, self.rows_at) {
            (Some(info), _) => Ok(info.definitions[info.routing(table)?.of_row(row)?].physical_id()),
            (None, 0) => Ok(PhysicalTableId(table.id)),
            (None, id) => Ok(PhysicalTableId(id)),
        }
    }
}

/// Which partition values belong to.
#[derive(Debug)]
pub struct Routing {
    /// What is computed of a row: one expression, or columns as they are.
    keys: Vec<Expr>,
    places: Places,
}

#[derive(Debug)]
enum Places {
    /// The ends of the partitions.
    Ranges(Vec<Vec<Datum>>),
    /// The partition of each value, and of those that are in no list.
    Lists {
        lists: HashMap<Vec<u8>, usize>,
        values: Vec<(Vec<Datum>, usize)>,
        others: Option<usize>,
    },
    /// How many.
    Remainder(u64),
    Hash(u64),
}

/// Where in the order of ranges an interval of values begins or ends.
#[derive(Debug, Clone)]
pub enum Edge {
    /// It has no end there; at the lower end NULL is inside.
    Open,
    /// These are inside.
    At(Vec<Datum>),
    /// The interval begins right after these, or ends right before.
    Beside(Vec<Datum>),
}

impl Routing {
    fn of(table: &TableInfo, info: &PartitionInfo) -> Result<Routing, SqlError> {
        let keys = match &info.expr {
            Some(term) => vec![term.expr(table)?],
            None => info.columns.iter().map(|id| Term::Column(*id).expr(table)).collect::<Result<Vec<_>, _>>()?,
        };
        let typed = |values: &[Value]| -> Vec<Datum> {
            let one = |(value, key): (&Value, &Expr)| match info.expr.is_some() {
                true => number(value),
                false => value.fitted(key.ty()).0,
            };
            values.iter().zip(&keys).map(one).collect()
        };
        let count = info.definitions.len() as u64;
        let places = match info.method {
            Method::Range => Places::Ranges(info.definitions.iter().map(|p| typed(&p.less_than)).collect()),
            Method::Hash => Places::Remainder(count),
            Method::Key => Places::Hash(count),
            Method::List => {
                let (mut lists, mut all, mut others) = (HashMap::new(), Vec::new(), None);
                for (at, partition) in info.definitions.iter().enumerate() {
                    for values in &partition.in_values {
                        if values.contains(&Value::Default) {
                            others = Some(at);
                            continue;
                        }
                        let values = typed(values);
                        lists.insert(encoded(&keys, &values)?, at);
                        all.push((values, at));
                    }
                }
                Places::Lists { lists, values: all, others }
            }
        };
        Ok(Routing { keys, places })
    }

    /// What decides, of a row of the table.
    fn values(&self, row: &[Datum]) -> Result<Vec<Datum>, SqlError> {
        // Nothing that a session sets has a say.
        let mut cx = EvalContext::default();
        self.keys.iter().map(|key| Ok(query::eval::eval_row(key, row, &mut cx)?)).collect()
    }

    /// The partition of a row.
    pub fn of_row(&self, row: &[Datum]) -> Result<usize, SqlError> {
        let values = self.values(row)?;
        self.place(&values)?.ok_or_else(|| PartitionError::NoPartition(self.told(&values)).into())
    }

    /// Values as 1526 tells them.
    fn told(&self, values: &[Datum]) -> String {
        match values {
            [Datum::Null] => "NULL".to_owned(),
            [value] if !matches!(value, Datum::Bytes(_)) => {
                let text = self.first_type().and_then(|ty| query::value::to_text(value, ty));
                String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
            }
            _ => "from column_list".to_owned(),
        }
    }

    fn place(&self, values: &[Datum]) -> Result<Option<usize>, SqlError> {
        Ok(match &self.places {
            Places::Ranges(ends) => {
                let at = ends.partition_point(|end| self.compare(values, end).is_ge());
                (at < ends.len()).then_some(at)
            }
            Places::Lists { lists, others, .. } => lists.get(&encoded(&self.keys, values)?).copied().or(*others),
            Places::Remainder(count) => Some(match values {
                [Datum::Int(v)] => (v.unsigned_abs() % count) as usize,
                [Datum::UInt(v)] => (v % count) as usize,
                _ => 0,
            }),
            Places::Hash(_) if values.iter().all(Datum::is_null) => Some(0),
            Places::Hash(count) => Some((xxhash_rust::xxh3::xxh3_64(&encoded(&self.keys, values)?) % count) as usize),
        })
    }

    fn compare(&self, a: &[Datum], b: &[Datum]) -> Ordering {
        let one = |((a, b), key): ((&Datum, &Datum), &Expr)| a.compare(b, key.ty().collation);
        a.iter().zip(b).zip(&self.keys).map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    /// How many values decide.
    pub fn width(&self) -> usize {
        self.keys.len()
    }

    /// The type of the first of them.
    pub fn first_type(&self) -> Option<&FieldType> {
        self.keys.first().map(Expr::ty)
    }

    /// The first value of a row.
    pub fn first_value(&self, row: &[Datum]) -> Result<Datum, SqlError> {
        let mut cx = EvalContext::default();
        let key = self.keys.first().ok_or_else(|| SqlError::internal("partitions", "they depend on nothing"))?;
        Ok(query::eval::eval_row(key, row, &mut cx)?)
    }

    /// The partitions that may have rows whose first value is in an interval; `None` where an interval says nothing. An edge
    /// may have fewer values than decide.
    pub fn between(&self, low: &Edge, high: &Edge) -> Option<Vec<usize>> {
        match &self.places {
            Places::Ranges(ends) => {
                let first = match low {
                    Edge::Open => 0,
                    // Rows with greater values after the same first ones may be in the same partition.
                    Edge::At(values) | Edge::Beside(values) => {
                        ends.partition_point(|end| match self.compare(values, end) {
                            Ordering::Greater => true,
                            Ordering::Equal => end.len() <= values.len(),
                            Ordering::Less => false,
                        })
                    }
                };
                let last = match high {
                    Edge::Open => ends.len(),
                    Edge::At(values) => {
                        ends.partition_point(|end| match self.compare(values, end) {
                            Ordering::Greater => true,
                            // Only rows with greater values behind it come after an end that begins so.
                            Ordering::Equal => true,
                            Ordering::Less => false,
                        }) + 1
                    }
                    Edge::Beside(values) => ends.partition_point(|end| self.compare(values, end).is_gt()) + 1,
                };
                Some((first..last.min(ends.len())).collect())
            }
            Places::Lists { values, others, .. } => {
                let inside = |value: &[Datum]| {
                    let above = match low {
                        Edge::Open => true,
                        Edge::At(low) => self.compare(value, low).is_ge(),
                        Edge::Beside(low) => self.compare(value, low).is_gt(),
                    };
                    let below = match high {
                        Edge::Open => true,
                        Edge::At(high) => self.compare(value, high).is_le(),
                        Edge::Beside(high) => self.compare(value, high).is_lt(),
                    };
                    above && below
                };
                let found = values.iter().filter(|(value, _)| inside(value)).map(|(_, at)| *at);
                let mut found: Vec<usize> = found.chain(*others).collect();
                found.sort_unstable();
                found.dedup();
                Some(found)
            }
            Places::Remainder(_) | Places::Hash(_) => None,
        }
    }
}

/// A value of an expression that is an integer.
fn number(value: &Value) -> Datum {
    match value {
        Value::Max => Datum::Max,
        Value::Number(text) => match (text.parse(), text.parse()) {
            (Ok(v), _) => Datum::Int(v),
            (_, Ok(v)) => Datum::UInt(v),
            _ => Datum::Null,
        },
        _ => Datum::Null,
    }
}

/// Bytes that are equal for equal values.
fn encoded(keys: &[Expr], values: &[Datum]) -> Result<Vec<u8>, SqlError> {
    let mut buf = Vec::new();
    for (value, key) in values.iter().zip(keys) {
        // Numbers of either sign are one domain.
        let value = match value {
            Datum::UInt(v) => i64::try_from(*v).map_or_else(|_| value.clone(), Datum::Int),
            other => other.clone(),
        };
        let encoded = datum::encode_key(&mut buf, &value, Some(key.ty()));
        encoded.map_err(|e| SqlError::internal("partitions", e))?;
    }
    Ok(buf)
}

impl TableInfo {
    /// What its keys begin with: of each partition, in the order of their ids, or of the table.
    pub fn physical_ids(&self) -> Vec<PhysicalTableId> {
        let Some(info) = &self.partition else { return vec![self.physical_id()] };
        let mut ids: Vec<_> = info.definitions.iter().map(Partition::physical_id).collect();
        ids.sort_unstable();
        ids
    }

    /// The same, with those of another division that is being made or left, each once.
    pub fn all_physical_ids(&self) -> Vec<PhysicalTableId> {
        let mut ids = self.physical_ids();
        ids.extend(self.division.iter().flat_map(|division| division.physical_ids(self)));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether keys that begin with this are its own.
    pub fn has_physical(&self, id: PhysicalTableId) -> bool {
        self.id == id.0 || self.all_physical_ids().contains(&id)
    }

    /// Where a row that is written goes: [`TableInfo::partition_of`], if rows may go there already.
    pub fn place_of(&self, row: &[Datum]) -> Result<PhysicalTableId, SqlError> {
        let Some(info) = &self.partition else { return Ok(self.physical_id()) };
        let routing = info.routing(self)?;
        let partition = &info.definitions[routing.of_row(row)?];
        match partition.closed {
            false => Ok(partition.physical_id()),
            true => Err(PartitionError::NoPartition(routing.told(&routing.values(row)?)).into()),
        }
    }

    /// Where the row is written, too, and how; `None` where that is nowhere else.
    ///
    /// # Errors
    /// 1526 of a row that has no place there, as far as it would be written and not only removed.
    pub fn beside(&self, row: &[Datum]) -> Result<Option<(PhysicalTableId, SchemaState)>, SqlError> {
        let Some(division) = &self.division else { return Ok(None) };
        let at = match division.place(self, row) {
            Err(SqlError::Partition(PartitionError::NoPartition(_))) if division.state == SchemaState::DeleteOnly => {
                return Ok(None);
            }
            place => place?,
        };
        Ok(Some((at, division.state)).filter(|(at, _)| !self.physical_ids().contains(at)))
    }

    /// The policy that places what is in these keys: of the partition, or of the table.
    pub fn policy_of(&self, at: PhysicalTableId) -> Option<&PolicyRef> {
        let own = self.partition.as_ref().and_then(|info| info.definitions.iter().find(|p| p.physical_id() == at));
        own.and_then(|partition| partition.policy.as_ref()).or(self.policy.as_ref())
    }

    /// What the keys of a row begin with. The row's values are as they are stored; of its columns only those matter that
    /// partitions depend on.
    ///
    /// # Errors
    /// 1526 for a row that belongs to no partition, and what computing the expression gives.
    pub fn partition_of(&self, row: &[Datum]) -> Result<PhysicalTableId, SqlError> {
        match &self.partition {
            None => Ok(self.physical_id()),
            Some(info) => Ok(info.definitions[info.routing(self)?.of_row(row)?].physical_id()),
        }
    }

    /// The same where only some values are known, by offset: those of a whole key. `None` if no partition has such rows.
    pub fn partition_of_key<'d>(
        &self,
        values: impl IntoIterator<Item = (usize, &'d Datum)>,
    ) -> Result<Option<PhysicalTableId>, SqlError> {
        if self.partition.is_none() {
            return Ok(Some(self.physical_id()));
        }
        let mut row = vec![Datum::Null; self.columns.len()];
        for (offset, value) in values {
            if let Some(held) = row.get_mut(offset) {
                *held = value.clone();
            }
        }
        match self.partition_of(&row) {
            Ok(id) => Ok(Some(id)),
            Err(SqlError::Partition(PartitionError::NoPartition(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
