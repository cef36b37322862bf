//! Expressions whose types are settled.
//!
//! ```text
//!   balance * 1.1 > 10        becomes        Compare(Gt, Decimal)
//!                                            ├─ Arith(Mul, Decimal)  DECIMAL(14,3)
//!                                            │  ├─ column 2          DECIMAL(12,2)
//!                                            │  └─ 1.1               DECIMAL(2,1)
//!                                            └─ Cast                 DECIMAL(2,0)
//!                                               └─ 10                BIGINT
//! ```
//!
//! [`crate::infer`] builds such trees from names and arguments: it chooses the [`Domain`] in which an operator works, adds
//! casts, and settles the result type. [`crate::eval`] then has nothing to decide, and [`crate::pb`] has one signature for
//! each (function, domain).

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::{Collation, FieldType, TypeCode, flags};

/// An expression over the columns of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value.
    Const {
        /// The value, of the kind that `ty` says, or NULL.
        value: Datum,
        /// Its type.
        ty: FieldType,
    },
    /// A column of the input.
    Column {
        /// Position in the input batch.
        index: usize,
        /// Its type.
        ty: FieldType,
        /// What messages call it.
        name: ColumnName,
    },
    /// A function of other expressions.
    Call(Box<Call>),
}

/// What messages call a column: `` `db`.`table`.`column` ``. It is no part of what the expression computes: expressions that
/// differ in it alone are equal.
#[derive(Clone, Debug, Default)]
pub struct ColumnName(pub Option<Arc<str>>);

impl PartialEq for ColumnName {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A function with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is computed.
    pub func: Func,
    /// From what.
    pub args: Vec<Expr>,
    /// Type of the result.
    pub ty: FieldType,
}

/// The kind of values in which a function works; its arguments were cast to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// Integers of either signedness.
    Int,
    /// Floats.
    Real,
    /// DECIMAL.
    Decimal,
    /// Strings and binary strings.
    String,
    /// DATE, DATETIME, TIMESTAMP.
    Time,
    /// TIME.
    Duration,
    /// JSON.
    Json,
}

impl Domain {
    /// The domain that values of a type live in.
    pub fn of(ty: &FieldType) -> Domain {
        use TypeCode::*;
        match ty.tp {
            Tiny | Short | Int24 | Long | LongLong | Year | Bit | Null => Domain::Int,
            Float | Double => Domain::Real,
            NewDecimal | Unspecified => Domain::Decimal,
            Date | NewDate | DateTime | Timestamp => Domain::Time,
            Duration => Domain::Duration,
            Json => Domain::Json,
            Enum | Set | Varchar | VarString | String | TinyBlob | MediumBlob | LongBlob | Blob | Geometry => {
                Domain::String
            }
        }
    }
}

/// Comparison operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `<=>`: NULL equals NULL.
    NullEq,
}

impl CmpOp {
    /// The operator that holds for swapped operands.
    pub fn swap(self) -> CmpOp {
        match self {
            CmpOp::Lt => CmpOp::Gt,
            CmpOp::Le => CmpOp::Ge,
            CmpOp::Gt => CmpOp::Lt,
            CmpOp::Ge => CmpOp::Le,
            op => op,
        }
    }

    /// Whether operands in this order satisfy it.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            CmpOp::Eq | CmpOp::NullEq => order.is_eq(),
            CmpOp::Ne => order.is_ne(),
            CmpOp::Lt => order.is_lt(),
            CmpOp::Le => order.is_le(),
            CmpOp::Gt => order.is_gt(),
            CmpOp::Ge => order.is_ge(),
        }
    }

    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            CmpOp::Eq => "=",
            CmpOp::Ne => "<>",
            CmpOp::Lt => "<",
            CmpOp::Le => "<=",
            CmpOp::Gt => ">",
            CmpOp::Ge => ">=",
            CmpOp::NullEq => "<=>",
        }
    }
}

/// Arithmetic operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArithOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `DIV`
    IntDiv,
    /// `%`
    Mod,
}

impl ArithOp {
    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            ArithOp::Add => "+",
            ArithOp::Sub => "-",
            ArithOp::Mul => "*",
            ArithOp::Div => "/",
            ArithOp::IntDiv => "DIV",
            ArithOp::Mod => "%",
        }
    }
}

/// Bit operators, on 64 unsigned bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BitOp {
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// What a call computes. Operators and control flow carry what evaluation needs; all else is a [`ScalarFn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Func {
    /// Two arguments of one domain; strings by this collation.
    Compare(CmpOp, Domain, Collation),
    /// First argument equals one of the others.
    In(Domain, Collation),
    /// `a AND b`
    And,
    /// `a OR b`
    Or,
    /// `a XOR b`
    Xor,
    /// `NOT a`
    Not,
    /// `a IS NULL`
    IsNull,
    /// `a IS TRUE`
    IsTrue,
    /// `a IS FALSE`
    IsFalse,
    /// Two numbers.
    Arith(ArithOp, Domain),
    /// `-a`
    Neg(Domain),
    /// Two integers.
    Bit(BitOp),
    /// `~a`
    BitNot,
    /// To the type of the call.
    Cast,
    /// `IF(condition, a, b)`
    If,
    /// The first that is not NULL (also IFNULL).
    Coalesce,
    /// Condition, result, condition, result, …, [else].
    Case,
    /// The largest, in this domain.
    Greatest(Domain, Collation),
    /// The smallest, in this domain.
    Least(Domain, Collation),
    /// Text, pattern, escape character.
    Like(Collation),
    /// Text, regular expression.
    Regexp(Collation),
    /// A date, a number of units; adds (or subtracts when the flag is set).
    DateAdd(crate::interval::Unit, bool),
    /// Everything else.
    Scalar(crate::scalar::ScalarFn),
}

impl Expr {
    /// A value with the type that a literal of it has.
    pub fn constant(value: impl Into<Datum>) -> Expr {
        let value = value.into();
        let ty = crate::infer::literal_type(&value);
        Expr::Const { value, ty }
    }

    /// NULL.
    pub fn null() -> Expr {
        Expr::Const { value: Datum::Null, ty: FieldType::new(TypeCode::Null) }
    }

    /// TRUE or FALSE.
    pub fn bool(value: bool) -> Expr {
        Expr::Const { value: Datum::Int(value.into()), ty: bool_type() }
    }

    /// A column of the input.
    pub fn column(index: usize, ty: FieldType) -> Expr {
        Expr::Column { index, ty, name: ColumnName::default() }
    }

    /// The same column with a name.
    pub fn with_name(self, name: Option<Arc<str>>) -> Expr {
        match self {
            Expr::Column { index, ty, .. } => Expr::Column { index, ty, name: ColumnName(name) },
            other => other,
        }
    }

    /// A call whose arguments and type are settled already.
    pub fn call(func: Func, args: Vec<Expr>, ty: FieldType) -> Expr {
        Expr::Call(Box::new(Call { func, args, ty }))
    }

    /// The type of its values.
    pub fn ty(&self) -> &FieldType {
        match self {
            Expr::Const { ty, .. } | Expr::Column { ty, .. } => ty,
            Expr::Call(call) => &call.ty,
        }
    }

    /// The value of a constant.
    pub fn as_const(&self) -> Option<&Datum> {
        match self {
            Expr::Const { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether it is the constant NULL.
    pub fn is_null_const(&self) -> bool {
        self.as_const().is_some_and(Datum::is_null)
    }

    /// Whether both compute the same, though one may keep more digits of a quotient (see [`crate::infer::exact`]).
    pub fn computes_same(&self, other: &Expr) -> bool {
        match (self, other) {
            (Expr::Call(a), Expr::Call(b)) => {
                a.func == b.func
                    && a.ty.tp == b.ty.tp
                    && (a.ty == b.ty || a.ty.tp == TypeCode::NewDecimal && a.func != Func::Cast)
                    && a.args.len() == b.args.len()
                    && a.args.iter().zip(&b.args).all(|(a, b)| a.computes_same(b))
            }
            (a, b) => a == b,
        }
    }

    /// Direct arguments.
    pub fn args(&self) -> &[Expr] {
        match self {
            Expr::Call(call) => &call.args,
            _ => &[],
        }
    }

    /// Calls `f` on this and everything below.
    pub fn walk(&self, f: &mut impl FnMut(&Expr)) {
        f(self);
        self.args().iter().for_each(|a| a.walk(f));
    }

    /// Positions of all columns in it, in order of appearance, repeated as they repeat.
    pub fn columns(&self) -> Vec<usize> {
        let mut out = Vec::new();
        self.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                out.push(*index);
            }
        });
        out
    }

    /// The same with each column position replaced; `None` when `f` refuses one.
    pub fn map_columns(&self, f: &impl Fn(usize) -> Option<usize>) -> Option<Expr> {
        Some(match self {
            Expr::Const { .. } => self.clone(),
            Expr::Column { index, ty, name } => Expr::Column { index: f(*index)?, ty: ty.clone(), name: name.clone() },
            Expr::Call(call) => Expr::Call(Box::new(Call {
                func: call.func,
                args: call.args.iter().map(|a| a.map_columns(f)).collect::<Option<_>>()?,
                ty: call.ty.clone(),
            })),
        })
    }

    /// The same with each column replaced by an expression (for projections that are merged).
    pub fn substitute(&self, f: &impl Fn(usize) -> Expr) -> Expr {
        match self {
            Expr::Const { .. } => self.clone(),
            Expr::Column { index, .. } => f(*index),
            Expr::Call(call) => Expr::Call(Box::new(Call {
                func: call.func,
                args: call.args.iter().map(|a| a.substitute(f)).collect(),
                ty: call.ty.clone(),
            })),
        }
    }

    /// Whether its value can differ between two evaluations on the same row (RAND, UUID, SLEEP, …).
    pub fn is_volatile(&self) -> bool {
        let mut volatile = false;
        self.walk(&mut |e| {
            if let Expr::Call(call) = e
                && let Func::Scalar(f) = call.func
            {
                volatile |= f.is_volatile();
            }
        });
        volatile
    }

    /// Whether it needs no row: no columns, not volatile.
    pub fn is_constant(&self) -> bool {
        self.columns().is_empty() && !self.is_volatile()
    }

    /// The parts of a conjunction.
    pub fn split_and(self, out: &mut Vec<Expr>) {
        match self {
            Expr::Call(call) if call.func == Func::And => call.args.into_iter().for_each(|a| a.split_and(out)),
            e => out.push(e),
        }
    }

    /// The conjunction of these; TRUE when there are none.
    pub fn conjunction(parts: impl IntoIterator<Item = Expr>) -> Expr {
        parts
            .into_iter()
            .reduce(|a, b| Expr::call(Func::And, vec![a, b], bool_type()))
            .unwrap_or_else(|| Expr::bool(true))
    }
}

/// The type of comparisons and conditions: BIGINT(1), 0 or 1.
pub fn bool_type() -> FieldType {
    FieldType { flen: 1, ..FieldType::bigint() }.with_flags(flags::IS_BOOLEAN | flags::BINARY)
}

impl std::fmt::Display for Expr {
    /// For EXPLAIN and error messages: `gt(column#2, 10)` as TiDB writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f, &|i| format!("column#{i}"))
    }
}

/// An expression with column names, for EXPLAIN.
pub struct Named<'a, F: Fn(usize) -> String>(pub &'a Expr, pub F);

impl<F: Fn(usize) -> String> std::fmt::Display for Named<'_, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.write(f, &self.1)
    }
}

impl Expr {
    fn write(&self, f: &mut std::fmt::Formatter<'_>, names: &dyn Fn(usize) -> String) -> std::fmt::Result {
        match self {
            Expr::Const { value, .. } => match value {
                Datum::Null => f.write_str("NULL"),
                Datum::Bytes(b) => write!(f, "\"{}\"", String::from_utf8_lossy(b)),
                v => f.write_str(&crate::cast::display(v)),
            },
            Expr::Column { index, .. } => f.write_str(&names(*index)),
            Expr::Call(call) => {
                write!(f, "{}(", call.func.name())?;
                for (i, a) in call.args.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    a.write(f, names)?;
                }
                if call.func == Func::Cast {
                    write!(f, ", {}", call.ty.declaration())?;
                }
                f.write_str(")")
            }
        }
    }
}

/// An expression as MySQL's messages print it: `(a + 1)`. The casts that type rules have put in are not in it.
pub struct Sql<'a>(pub &'a Expr);

impl std::fmt::Display for Sql<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call = match self.0 {
            Expr::Const { value: Datum::Bytes(b), .. } => return write!(f, "'{}'", String::from_utf8_lossy(b)),
            Expr::Column { name: ColumnName(Some(name)), .. } => return f.write_str(name),
            Expr::Call(call) => call,
            other => return write!(f, "{other}"),
        };
        let infix = |f: &mut std::fmt::Formatter<'_>, symbol: &str| {
            write!(f, "({} {symbol} {})", Sql(&call.args[0]), Sql(&call.args[1]))
        };
        match call.func {
            Func::Arith(op, _) => infix(f, op.symbol()),
            Func::Compare(op, ..) => infix(f, op.symbol()),
            Func::Bit(op) => infix(f, op.symbol()),
            Func::And | Func::Or | Func::Xor => infix(f, call.func.name()),
            Func::Neg(_) => write!(f, "-({})", Sql(&call.args[0])),
            Func::BitNot => write!(f, "~({})", Sql(&call.args[0])),
            // No rule casts to this type but for ENUM and SET: the user did.
            Func::Cast if call.ty.tp == TypeCode::LongLong && call.ty.is_unsigned() => {
                write!(f, "cast({} as unsigned)", Sql(&call.args[0]))
            }
            Func::Cast => Sql(&call.args[0]).fmt(f),
            _ => {
                write!(f, "{}(", call.func.name())?;
                for (i, a) in call.args.iter().enumerate() {
                    write!(f, "{}{}", if i > 0 { "," } else { "" }, Sql(a))?;
                }
                f.write_str(")")
            }
        }
    }
}

impl BitOp {
    /// As SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            BitOp::And => "&",
            BitOp::Or => "|",
            BitOp::Xor => "^",
            BitOp::ShiftLeft => "<<",
            BitOp::ShiftRight => ">>",
        }
    }
}

impl Func {
    /// The name in EXPLAIN, as TiDB writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Func::Compare(op, ..) => match op {
                CmpOp::Eq => "eq",
                CmpOp::Ne => "ne",
                CmpOp::Lt => "lt",
                CmpOp::Le => "le",
                CmpOp::Gt => "gt",
                CmpOp::Ge => "ge",
                CmpOp::NullEq => "nulleq",
            },
            Func::In(..) => "in",
            Func::And => "and",
            Func::Or => "or",
            Func::Xor => "xor",
            Func::Not => "not",
            Func::IsNull => "isnull",
            Func::IsTrue => "istrue",
            Func::IsFalse => "isfalse",
            Func::Arith(op, _) => match op {
                ArithOp::Add => "plus",
                ArithOp::Sub => "minus",
                ArithOp::Mul => "mul",
                ArithOp::Div => "div",
                ArithOp::IntDiv => "intdiv",
                ArithOp::Mod => "mod",
            },
            Func::Neg(_) => "unaryminus",
            Func::Bit(op) => match op {
                BitOp::And => "bitand",
                BitOp::Or => "bitor",
                BitOp::Xor => "bitxor",
                BitOp::ShiftLeft => "leftshift",
                BitOp::ShiftRight => "rightshift",
            },
            Func::BitNot => "bitneg",
            Func::Cast => "cast",
            Func::If => "if",
            Func::Coalesce => "coalesce",
            Func::Case => "case",
            Func::Greatest(..) => "greatest",
            Func::Least(..) => "least",
            Func::Like(_) => "like",
            Func::Regexp(_) => "regexp",
            Func::DateAdd(_, false) => "date_add",
            Func::DateAdd(_, true) => "date_sub",
            Func::Scalar(f) => f.name(),
        }
    }
}
