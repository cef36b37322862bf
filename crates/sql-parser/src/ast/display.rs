//! Trees as SQL, for names of what is computed, messages and tests: what means the same is written in the same way, words
//! in upper case, names as they were written.
//!
//! Not here: text that is stored and read again, where names are whole and nothing depends on a session
//! ([`crate::canonical`]).

use std::fmt::{Display, Formatter, Result};

use super::expr::{
    BinaryOp, Expr, Frame, FrameBound, FrameOffset, FrameUnits, Function, Interval, IsTest, Literal, Nulls, Over,
    TemporalKind, TrimSide, UnaryOp, When, Window,
};
use super::query::{
    Assignment, Cte, Delete, Hint, IndexHint, IndexHintFor, IndexHintKind, Insert, InsertSource, Join, JoinConstraint,
    JoinKind, Limit, Lock, LockWait, NamedWindow, OrderBy, Query, Select, SelectItem, SelectModifiers, SetExpr,
    SetOperator, TableAlias, TableFactor, TableWithJoins, Update, With,
};
use super::types::CastType;

/// Items with commas between them.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// What may be there, with what stands before it.
fn clause(f: &mut Formatter<'_>, head: &str, of: Option<&impl Display>) -> Result {
    match of {
        Some(of) => write!(f, "{head}{of}"),
        None => Ok(()),
    }
}

/// A list that may be empty, with what stands before it.
fn clauses<T: Display>(f: &mut Formatter<'_>, head: &str, list: &[T]) -> Result {
    if list.is_empty() { Ok(()) } else { write!(f, "{head}{}", List(list)) }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Expr::Nested(inner) => write!(f, "({inner})"),
            Expr::Literal(literal) => literal.fmt(f),
            Expr::Param(at) => write!(f, "?{}", at + 1),
            Expr::Column(name) => name.fmt(f),
            Expr::Variable(name) => f.write_str(name),
            Expr::Default => f.write_str("DEFAULT"),
            Expr::Inserted(name) => write!(f, "VALUES({name})"),
            Expr::Temporal { kind, text } => write!(f, "{kind} {}", quoted(text)),
            Expr::Binary { left, op, right } => binary(f, left, *op, right),
            Expr::Unary { op, expr } => write!(f, "{op}{expr}"),
            Expr::Is { expr, test, negated } => write!(f, "{expr} IS {}{test}", not(*negated)),
            Expr::Between { expr, negated, low, high } => {
                write!(f, "{expr} {}BETWEEN {low} AND {high}", not(*negated))
            }
            Expr::InList { expr, list, negated } => write!(f, "{expr} {}IN ({})", not(*negated), List(list)),
            Expr::InSubquery { expr, subquery, negated } => write!(f, "{expr} {}IN ({subquery})", not(*negated)),
            Expr::Quantified { left, op, all, subquery } => {
                write!(f, "{left} {op} {}({subquery})", if *all { "ALL" } else { "ANY" })
            }
            Expr::Exists { subquery, negated } => write!(f, "{}EXISTS ({subquery})", not(*negated)),
            Expr::Subquery(query) => write!(f, "({query})"),
            Expr::Like { negated, expr, pattern, escape } => {
                write!(f, "{expr} {}LIKE {pattern}", not(*negated))?;
                clause(f, " ESCAPE ", escape.as_ref())
            }
            Expr::Regexp { negated, expr, pattern } => write!(f, "{expr} {}REGEXP {pattern}", not(*negated)),
            Expr::Case { operand, whens, otherwise } => {
                f.write_str("CASE")?;
                clause(f, " ", operand.as_ref())?;
                whens.iter().try_for_each(|when| write!(f, " {when}"))?;
                clause(f, " ELSE ", otherwise.as_ref())?;
                f.write_str(" END")
            }
            Expr::Cast { expr, ty } => write!(f, "CAST({expr} AS {ty})"),
            Expr::ConvertUsing { expr, charset } => write!(f, "CONVERT({expr} USING {charset})"),
            Expr::Collate { expr, collation } => write!(f, "{expr} COLLATE {collation}"),
            Expr::Extract { unit, expr } => write!(f, "EXTRACT({unit} FROM {expr})"),
            Expr::Trim { side, what, expr } => write!(f, "TRIM({side} {what} FROM {expr})"),
            Expr::AddInterval { date, subtract, interval } => {
                write!(f, "{date} {} {interval}", if *subtract { '-' } else { '+' })
            }
            Expr::Function(function) => function.fmt(f),
            Expr::MemberOf { value, array } => write!(f, "{value} MEMBER OF({array})"),
            Expr::Row { items, explicit } => {
                write!(f, "{}({})", if *explicit { "ROW" } else { "" }, List(items))
            }
        }
    }
}

/// A chain of operators, which is deep on its left, from its first operand on.
fn binary(f: &mut Formatter<'_>, left: &Expr, op: BinaryOp, right: &Expr) -> Result {
    let mut rights = vec![(op, right)];
    let mut first = left;
    while let Expr::Binary { left, op, right } = first {
        rights.push((*op, right));
        first = left;
    }
    first.fmt(f)?;
    rights.iter().rev().try_for_each(|(op, right)| write!(f, " {op} {right}"))
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Literal::Null => f.write_str("NULL"),
            Literal::Boolean(truth) => f.write_str(if *truth { "true" } else { "false" }),
            Literal::Number(text) => f.write_str(text),
            Literal::Text(text) => f.write_str(&quoted(text)),
            Literal::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => write!(f, "_binary {}", quoted(text)),
                Err(_) => {
                    f.write_str("X'")?;
                    bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
                    f.write_str("'")
                }
            },
            Literal::Hex(digits) => write!(f, "X'{digits}'"),
            Literal::Bits(digits) => write!(f, "B'{digits}'"),
        }
    }
}

impl Display for TemporalKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            TemporalKind::Date => "DATE",
            TemporalKind::Time => "TIME",
            TemporalKind::Timestamp => "TIMESTAMP",
            TemporalKind::DateTime => "DATETIME",
        })
    }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            BinaryOp::Or => "OR",
            BinaryOp::Xor => "XOR",
            BinaryOp::And => "AND",
            BinaryOp::Eq => "=",
            BinaryOp::NullEq => "<=>",
            BinaryOp::Ne => "<>",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::BitOr => "|",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitXor => "^",
            BinaryOp::ShiftLeft => "<<",
            BinaryOp::ShiftRight => ">>",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::IntDivide => "DIV",
            BinaryOp::Modulo => "%",
            BinaryOp::Concat => "||",
            BinaryOp::JsonExtract => "->",
            BinaryOp::JsonUnquote => "->>",
        })
    }
}

impl Display for UnaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
            UnaryOp::Not => "NOT ",
            UnaryOp::Bang => "!",
            UnaryOp::BitNot => "~",
        })
    }
}

impl Display for IsTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            IsTest::Null => "NULL",
            IsTest::True => "TRUE",
            IsTest::False => "FALSE",
            IsTest::Unknown => "UNKNOWN",
        })
    }
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "WHEN {} THEN {}", self.condition, self.result)
    }
}

impl Display for TrimSide {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            TrimSide::Both => "BOTH",
            TrimSide::Leading => "LEADING",
            TrimSide::Trailing => "TRAILING",
        })
    }
}

impl Display for Interval {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "INTERVAL {} {}", self.value, self.unit)
    }
}

impl Display for CastType {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut sized = |word: &str, size: &Option<u64>| match size {
            Some(n) => write!(f, "{word}({n})"),
            None => f.write_str(word),
        };
        match self {
            CastType::Char(n) => sized("CHAR", n),
            CastType::Binary(n) => sized("BINARY", n),
            CastType::DateTime(n) => sized("DATETIME", n),
            CastType::Time(n) => sized("TIME", n),
            CastType::Decimal(Some((precision, 0))) => sized("DECIMAL", &Some(*precision)),
            CastType::Decimal(Some((precision, scale))) => write!(f, "DECIMAL({precision},{scale})"),
            CastType::Decimal(None) => f.write_str("DECIMAL"),
            CastType::Signed => f.write_str("SIGNED"),
            CastType::Unsigned => f.write_str("UNSIGNED"),
            CastType::Double => f.write_str("DOUBLE"),
            CastType::Float => f.write_str("FLOAT"),
            CastType::Date => f.write_str("DATE"),
            CastType::Year => f.write_str("YEAR"),
            CastType::Json => f.write_str("JSON"),
        }
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}({}", self.name, if self.distinct { "DISTINCT " } else { "" })?;
        clause(f, "", self.word.as_ref())?;
        let mut gap = if self.word.is_some() { ", " } else { "" };
        if self.star {
            f.write_str("*")?;
            gap = ", ";
        }
        clauses(f, gap, &self.args)?;
        clauses(f, " ORDER BY ", &self.order_by)?;
        clause(f, " SEPARATOR ", self.separator.as_deref().map(quoted).as_ref())?;
        f.write_str(")")?;
        clause(f, " ", self.nulls.as_ref())?;
        clause(f, " OVER ", self.over.as_ref())
    }
}

impl Display for Nulls {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Nulls::Respect => "RESPECT NULLS",
            Nulls::Ignore => "IGNORE NULLS",
        })
    }
}

impl Display for Over {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Over::Named(name) => name.fmt(f),
            Over::Window(window) => write!(f, "({window})"),
        }
    }
}

impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let mut parts = Vec::new();
        parts.extend(self.base.as_ref().map(ToString::to_string));
        if !self.partition_by.is_empty() {
            parts.push(format!("PARTITION BY {}", List(&self.partition_by)));
        }
        if !self.order_by.is_empty() {
            parts.push(format!("ORDER BY {}", List(&self.order_by)));
        }
        parts.extend(self.frame.as_ref().map(ToString::to_string));
        f.write_str(&parts.join(" "))
    }
}

impl Display for Frame {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let units = match self.units {
            FrameUnits::Rows => "ROWS",
            FrameUnits::Range => "RANGE",
        };
        match &self.end {
            Some(end) => write!(f, "{units} BETWEEN {} AND {end}", self.start),
            None => write!(f, "{units} {}", self.start),
        }
    }
}

impl Display for FrameBound {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            FrameBound::CurrentRow => f.write_str("CURRENT ROW"),
            FrameBound::Preceding(None) => f.write_str("UNBOUNDED PRECEDING"),
            FrameBound::Following(None) => f.write_str("UNBOUNDED FOLLOWING"),
            FrameBound::Preceding(Some(offset)) => write!(f, "{offset} PRECEDING"),
            FrameBound::Following(Some(offset)) => write!(f, "{offset} FOLLOWING"),
        }
    }
}

impl Display for FrameOffset {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            FrameOffset::Value(e) => e.fmt(f),
            FrameOffset::Interval(interval) => interval.fmt(f),
        }
    }
}

// ---- Queries ----

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(with) = &self.with {
            write!(f, "{with} ")?;
        }
        self.body.fmt(f)?;
        clauses(f, " ORDER BY ", &self.order_by)?;
        clause(f, " ", self.limit.as_ref())?;
        self.locks.iter().try_for_each(|lock| write!(f, " {lock}"))
    }
}

impl Display for With {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "WITH {}{}", if self.recursive { "RECURSIVE " } else { "" }, List(&self.ctes))
    }
}

impl Display for Cte {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} AS ({})", self.alias, self.query)
    }
}

impl Display for TableAlias {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.name.fmt(f)?;
        if self.columns.is_empty() { Ok(()) } else { write!(f, " ({})", List(&self.columns)) }
    }
}

impl Display for SetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            SetExpr::Select(select) => select.fmt(f),
            SetExpr::Query(query) => write!(f, "({query})"),
            SetExpr::SetOperation { .. } => {
                let (mut rights, mut first) = (Vec::new(), self);
                while let SetExpr::SetOperation { op, all, left, right } = first {
                    rights.push((op, all, right));
                    first = left;
                }
                first.fmt(f)?;
                let word = |all: bool| if all { " ALL" } else { "" };
                rights.iter().rev().try_for_each(|(op, all, right)| write!(f, " {op}{} {right}", word(**all)))
            }
            SetExpr::Values(rows) => {
                f.write_str("VALUES ")?;
                let rows = rows.iter().map(|row| format!("ROW({})", List(row))).collect::<Vec<_>>();
                f.write_str(&rows.join(", "))
            }
        }
    }
}

impl Display for SetOperator {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            SetOperator::Union => "UNION",
            SetOperator::Except => "EXCEPT",
            SetOperator::Intersect => "INTERSECT",
        })
    }
}

impl Display for Select {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("SELECT")?;
        self.hints.iter().try_for_each(|hint| write!(f, " {hint}"))?;
        if self.distinct {
            f.write_str(" DISTINCT")?;
        }
        self.modifiers.fmt(f)?;
        write!(f, " {}", List(&self.projection))?;
        clauses(f, " FROM ", &self.from)?;
        clause(f, " WHERE ", self.selection.as_ref())?;
        clauses(f, " GROUP BY ", &self.group_by)?;
        if self.rollup {
            f.write_str(" WITH ROLLUP")?;
        }
        clause(f, " HAVING ", self.having.as_ref())?;
        clauses(f, " WINDOW ", &self.windows)
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "/*+{}({})*/", self.name, self.argument)
    }
}

impl Display for SelectModifiers {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let words = [
            (self.high_priority, " HIGH_PRIORITY"),
            (self.straight_join, " STRAIGHT_JOIN"),
            (self.small_result, " SQL_SMALL_RESULT"),
            (self.big_result, " SQL_BIG_RESULT"),
            (self.buffer_result, " SQL_BUFFER_RESULT"),
            (self.no_cache, " SQL_NO_CACHE"),
        ];
        words.iter().filter(|(said, _)| *said).try_for_each(|(_, word)| f.write_str(word))
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            SelectItem::Expr { expr, alias } => {
                expr.fmt(f)?;
                clause(f, " AS ", alias.as_ref())
            }
            SelectItem::Star(_) => f.write_str("*"),
            SelectItem::StarOf(name) => write!(f, "{name}.*"),
        }
    }
}

impl Display for NamedWindow {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} AS ({})", self.name, self.window)
    }
}

impl Display for TableWithJoins {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.relation.fmt(f)?;
        self.joins.iter().try_for_each(|join| write!(f, " {join}"))
    }
}

impl Display for TableFactor {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            TableFactor::Table { name, partitions, alias, index_hints } => {
                name.fmt(f)?;
                if !partitions.is_empty() {
                    write!(f, " PARTITION ({})", List(partitions))?;
                }
                clause(f, " AS ", alias.as_ref())?;
                index_hints.iter().try_for_each(|hint| write!(f, " {hint}"))
            }
            TableFactor::Derived { lateral, subquery, alias } => {
                write!(f, "{}({subquery}) AS {alias}", if *lateral { "LATERAL " } else { "" })
            }
            TableFactor::Nested(tables) => write!(f, "({tables})"),
        }
    }
}

impl Display for IndexHint {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let kind = match self.kind {
            IndexHintKind::Use => "USE",
            IndexHintKind::Force => "FORCE",
            IndexHintKind::Ignore => "IGNORE",
        };
        let purpose = match self.purpose {
            None => "",
            Some(IndexHintFor::Join) => "FOR JOIN ",
            Some(IndexHintFor::OrderBy) => "FOR ORDER BY ",
            Some(IndexHintFor::GroupBy) => "FOR GROUP BY ",
        };
        write!(f, "{kind} INDEX {purpose}({})", List(&self.indexes))
    }
}

impl Display for Join {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let natural = if self.constraint == JoinConstraint::Natural { "NATURAL " } else { "" };
        let kind = match self.kind {
            JoinKind::Inner => "JOIN",
            JoinKind::Straight => "STRAIGHT_JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
        };
        write!(f, "{natural}{kind} {}", self.relation)?;
        match &self.constraint {
            JoinConstraint::On(condition) => write!(f, " ON {condition}"),
            JoinConstraint::Using(columns) => write!(f, " USING({})", List(columns)),
            JoinConstraint::None | JoinConstraint::Natural => Ok(()),
        }
    }
}

impl Display for OrderBy {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}{}", self.expr, if self.desc { " DESC" } else { "" })
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "LIMIT {}", self.count)?;
        clause(f, " OFFSET ", self.offset.as_ref())
    }
}

impl Display for Lock {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(if self.share { "FOR SHARE" } else { "FOR UPDATE" })?;
        clause(f, " OF ", self.of.as_ref())?;
        f.write_str(match self.wait {
            LockWait::Wait => "",
            LockWait::NoWait => " NOWAIT",
            LockWait::SkipLocked => " SKIP LOCKED",
        })
    }
}

// ---- Changes ----

impl Display for Assignment {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} = {}", self.column, self.value)
    }
}

impl Display for Insert {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let verb = if self.replace { "REPLACE" } else { "INSERT" };
        write!(f, "{verb}{} INTO {}", if self.ignore { " IGNORE" } else { "" }, self.table)?;
        if !self.columns.is_empty() {
            write!(f, " ({})", List(&self.columns))?;
        }
        match &self.source {
            InsertSource::Values(rows) => {
                let rows = rows.iter().map(|row| format!("({})", List(row))).collect::<Vec<_>>();
                write!(f, " VALUES {}", rows.join(", "))?;
            }
            InsertSource::Set(assignments) => write!(f, " SET {}", List(assignments))?,
            InsertSource::Query(query) => write!(f, " {query}")?,
        }
        if let Some(alias) = &self.alias {
            write!(f, " AS {}", alias.name)?;
            if !alias.columns.is_empty() {
                write!(f, " ({})", List(&alias.columns))?;
            }
        }
        clauses(f, " ON DUPLICATE KEY UPDATE ", self.on_duplicate.as_deref().unwrap_or_default())
    }
}

impl Display for Update {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(with) = &self.with {
            write!(f, "{with} ")?;
        }
        f.write_str("UPDATE")?;
        self.hints.iter().try_for_each(|hint| write!(f, " {hint}"))?;
        write!(f, " {}{}", if self.ignore { "IGNORE " } else { "" }, self.table)?;
        clauses(f, " SET ", &self.assignments)?;
        clause(f, " WHERE ", self.selection.as_ref())?;
        clauses(f, " ORDER BY ", &self.order_by)?;
        clause(f, " LIMIT ", self.limit.as_ref())
    }
}

impl Display for Delete {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(with) = &self.with {
            write!(f, "{with} ")?;
        }
        f.write_str("DELETE")?;
        self.hints.iter().try_for_each(|hint| write!(f, " {hint}"))?;
        write!(f, " {}", if self.ignore { "IGNORE " } else { "" })?;
        clauses(f, "", &self.targets)?;
        write!(f, "{}FROM {}", if self.targets.is_empty() { "" } else { " " }, List(&self.from))?;
        clause(f, " WHERE ", self.selection.as_ref())?;
        clauses(f, " ORDER BY ", &self.order_by)?;
        clause(f, " LIMIT ", self.limit.as_ref())
    }
}
