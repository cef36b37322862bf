//! Expressions.
//!
//! Each says what is meant, not by which words: `CONVERT(a, CHAR)` is a [`Expr::Cast`], `SUBSTRING(a FROM 2)` and
//! `TRIM(a)` are calls, `DATE_ADD(d, INTERVAL 1 DAY)` is [`Expr::AddInterval`] as `d + INTERVAL 1 DAY` is. What a name
//! means is not known here.

use super::names::{Ident, Name};
use super::query::{OrderBy, Query};
use super::types::CastType;

/// A scalar, a condition, or a row of them.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// In parentheses.
    Nested(Box<Expr>),
    /// A literal.
    Literal(Literal),
    /// `?`: numbered from 0 in the order of the text.
    Param(usize),
    /// `[[db.]table.]column`.
    Column(Name),
    /// `@name`, `@@name`, `@@global.name`, `@@session.name`: with its signs, lower case.
    Variable(String),
    /// The word `DEFAULT`, where a value is assigned.
    Default,
    /// `VALUES(column)`: what would have been inserted.
    Inserted(Name),
    /// `DATE '…'` and the like.
    Temporal {
        /// Which.
        kind: TemporalKind,
        /// The text.
        text: String,
    },
    /// `a op b`. A chain of operators is deep on its left.
    Binary {
        /// Left operand.
        left: Box<Expr>,
        /// Operator.
        op: BinaryOp,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `op a`.
    Unary {
        /// Operator.
        op: UnaryOp,
        /// Operand.
        expr: Box<Expr>,
    },
    /// `a IS [NOT] …`.
    Is {
        /// Operand.
        expr: Box<Expr>,
        /// What it is.
        test: IsTest,
        /// `NOT`.
        negated: bool,
    },
    /// `a [NOT] BETWEEN low AND high`.
    Between {
        /// Operand.
        expr: Box<Expr>,
        /// `NOT`.
        negated: bool,
        /// Lower bound.
        low: Box<Expr>,
        /// Upper bound.
        high: Box<Expr>,
    },
    /// `a [NOT] IN (b, …)`.
    InList {
        /// Operand.
        expr: Box<Expr>,
        /// At least one.
        list: Vec<Expr>,
        /// `NOT`.
        negated: bool,
    },
    /// `a [NOT] IN (SELECT …)`.
    InSubquery {
        /// Operand.
        expr: Box<Expr>,
        /// The query.
        subquery: Box<Query>,
        /// `NOT`.
        negated: bool,
    },
    /// `a op ANY (SELECT …)`, `a op ALL (SELECT …)`.
    Quantified {
        /// Operand.
        left: Box<Expr>,
        /// A comparison, and not `<=>`.
        op: BinaryOp,
        /// `ALL`; else `ANY`, `SOME`.
        all: bool,
        /// The query.
        subquery: Box<Query>,
    },
    /// `[NOT] EXISTS (SELECT …)`.
    Exists {
        /// The query.
        subquery: Box<Query>,
        /// `NOT`.
        negated: bool,
    },
    /// `(SELECT …)`.
    Subquery(Box<Query>),
    /// `a [NOT] LIKE b [ESCAPE c]`.
    Like {
        /// `NOT`.
        negated: bool,
        /// Operand.
        expr: Box<Expr>,
        /// Pattern.
        pattern: Box<Expr>,
        /// `ESCAPE`.
        escape: Option<Box<Expr>>,
    },
    /// `a [NOT] REGEXP b`, `a [NOT] RLIKE b`.
    Regexp {
        /// `NOT`.
        negated: bool,
        /// Operand.
        expr: Box<Expr>,
        /// Pattern.
        pattern: Box<Expr>,
    },
    /// `CASE [a] WHEN … THEN … [ELSE …] END`.
    Case {
        /// What is compared with the conditions.
        operand: Option<Box<Expr>>,
        /// At least one.
        whens: Vec<When>,
        /// `ELSE`.
        otherwise: Option<Box<Expr>>,
    },
    /// `CAST(a AS type)`, `CONVERT(a, type)`, `BINARY a`.
    Cast {
        /// Operand.
        expr: Box<Expr>,
        /// Type.
        ty: CastType,
    },
    /// `CONVERT(a USING charset)`.
    ConvertUsing {
        /// Operand.
        expr: Box<Expr>,
        /// Character set.
        charset: String,
    },
    /// `a COLLATE collation`.
    Collate {
        /// Operand.
        expr: Box<Expr>,
        /// Collation.
        collation: String,
    },
    /// `EXTRACT(unit FROM a)`.
    Extract {
        /// Upper case, one of [`query::interval::Unit`].
        unit: String,
        /// Operand.
        expr: Box<Expr>,
    },
    /// `TRIM([LEADING | TRAILING | BOTH] what FROM a)`.
    Trim {
        /// Where.
        side: TrimSide,
        /// What is taken away.
        what: Box<Expr>,
        /// From what.
        expr: Box<Expr>,
    },
    /// `date + INTERVAL n unit` and, with `subtract`, `date - INTERVAL n unit`.
    AddInterval {
        /// The date.
        date: Box<Expr>,
        /// Before it and not after it.
        subtract: bool,
        /// How far.
        interval: Interval,
    },
    /// A call, of an aggregate and a window function too.
    Function(Box<Function>),
    /// `a MEMBER OF (array)`.
    MemberOf {
        /// Operand.
        value: Box<Expr>,
        /// The array.
        array: Box<Expr>,
    },
    /// `(a, b, …)`, `ROW(a, b, …)`.
    Row {
        /// At least two.
        items: Vec<Expr>,
        /// `ROW` was said.
        explicit: bool,
    },
}

impl Expr {
    /// What is in the parentheses, if there are any.
    pub fn without_parentheses(&self) -> &Expr {
        let mut e = self;
        while let Expr::Nested(inner) = e {
            e = inner;
        }
        e
    }

    /// The column that it is, if its name has one part.
    pub fn as_plain_column(&self) -> Option<&Ident> {
        match self {
            Expr::Column(name) => name.single(),
            _ => None,
        }
    }
}

/// A literal.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `NULL`.
    Null,
    /// `TRUE`, `FALSE`.
    Boolean(bool),
    /// As written.
    Number(String),
    /// Without quotes and escapes.
    Text(String),
    /// A string that is not UTF-8, or has the introducer `_binary`.
    Binary(Vec<u8>),
    /// `0x…`, `x'…'`: the digits.
    Hex(String),
    /// `0b…`, `b'…'`: the digits.
    Bits(String),
}

/// What `DATE '…'` and the like are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TemporalKind {
    Date,
    Time,
    Timestamp,
    DateTime,
}

/// Operators between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Or,
    Xor,
    And,
    Eq,
    /// `<=>`.
    NullEq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    BitOr,
    BitAnd,
    BitXor,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    /// `DIV`.
    IntDivide,
    /// `%`, `MOD`.
    Modulo,
    /// `||` under PIPES_AS_CONCAT; otherwise it is [`BinaryOp::Or`].
    Concat,
    /// `->`.
    JsonExtract,
    /// `->>`.
    JsonUnquote,
}

/// Operators before an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UnaryOp {
    Plus,
    Minus,
    /// `NOT`.
    Not,
    /// `!`, which binds more tightly.
    Bang,
    /// `~`.
    BitNot,
}

/// What `IS` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IsTest {
    Null,
    True,
    False,
    Unknown,
}

/// `WHEN condition THEN result`.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// The condition, or what the operand is compared with.
    pub condition: Expr,
    /// The value then.
    pub result: Expr,
}

/// Where TRIM takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TrimSide {
    Both,
    Leading,
    Trailing,
}

/// `INTERVAL value unit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// How many, or a text of several numbers.
    pub value: Box<Expr>,
    /// Upper case, one of [`query::interval::Unit`].
    pub unit: String,
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// As written.
    pub name: Ident,
    /// The word that it has for its first argument: the unit of `TIMESTAMPADD` and `TIMESTAMPDIFF`, the kind of
    /// `GET_FORMAT`.
    pub word: Option<String>,
    /// `COUNT(*)`.
    pub star: bool,
    /// `DISTINCT`.
    pub distinct: bool,
    /// Arguments.
    pub args: Vec<Expr>,
    /// `ORDER BY` of an aggregate.
    pub order_by: Vec<OrderBy>,
    /// `SEPARATOR`.
    pub separator: Option<String>,
    /// `RESPECT NULLS`, `IGNORE NULLS` of a window function.
    pub nulls: Option<Nulls>,
    /// `OVER`.
    pub over: Option<Over>,
}

impl Function {
    /// A call that is no more than its name and arguments.
    pub fn plain(name: Ident, args: Vec<Expr>) -> Function {
        let (word, star, distinct) = (None, false, false);
        Function { name, word, star, distinct, args, order_by: Vec::new(), separator: None, nulls: None, over: None }
    }
}

/// Whether a window function counts NULLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// `RESPECT NULLS`.
    Respect,
    /// `IGNORE NULLS`.
    Ignore,
}

/// The window of a function.
#[derive(Debug, Clone, PartialEq)]
pub enum Over {
    /// One of the WINDOW clause.
    Named(Ident),
    /// Written out.
    Window(Window),
}

/// A window.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The window that it goes on from.
    pub base: Option<Ident>,
    /// `PARTITION BY`.
    pub partition_by: Vec<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderBy>,
    /// `ROWS …`, `RANGE …`.
    pub frame: Option<Frame>,
}

/// The rows of a window that a function sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// What its bounds count.
    pub units: FrameUnits,
    /// First.
    pub start: FrameBound,
    /// Last; the current row, if not said.
    pub end: Option<FrameBound>,
}

/// What the bounds of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FrameUnits {
    Rows,
    Range,
}

/// A bound of a frame; without an offset it is unbounded.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum FrameBound {
    CurrentRow,
    Preceding(Option<FrameOffset>),
    Following(Option<FrameOffset>),
}

/// How far a bound is.
#[derive(Debug, Clone, PartialEq)]
pub enum FrameOffset {
    /// In rows, or in what the key counts.
    Value(Expr),
    /// In time.
    Interval(Interval),
}
