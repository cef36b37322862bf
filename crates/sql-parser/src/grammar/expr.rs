//! Expressions: from `sqlparser`'s to ours.

use query::error::EvalError;
use query::interval::Unit;
use sql_base::SqlError;
use sqlparser::ast::{self as tree, Value};

use super::{Lowered, Lowering, ident, name, refuse};
use crate::ast::{
    BinaryOp, CastType, Expr, Frame, FrameBound, FrameOffset, FrameUnits, Function, Ident, Interval, IsTest, Literal,
    Name, Nulls, OrderBy, Over, TemporalKind, TrimSide, UnaryOp, When, Window,
};

/// `CEIL(x)`, and not to some digit or unit of time.
const WHOLE: tree::CeilFloorKind = tree::CeilFloorKind::DateTimeField(tree::DateTimeField::NoDateTime);

impl Lowering {
    pub(super) fn expr(&mut self, e: tree::Expr) -> Lowered<Expr> {
        self.deeper(|l| l.expr_here(e))
    }

    pub(super) fn boxed(&mut self, e: Box<tree::Expr>) -> Lowered<Box<Expr>> {
        self.expr(*e).map(Box::new)
    }

    fn maybe(&mut self, e: Option<Box<tree::Expr>>) -> Lowered<Option<Box<Expr>>> {
        e.map(|e| self.boxed(e)).transpose()
    }

    pub(super) fn exprs(&mut self, list: Vec<tree::Expr>) -> Lowered<Vec<Expr>> {
        list.into_iter().map(|e| self.expr(e)).collect()
    }

    fn expr_here(&mut self, e: tree::Expr) -> Lowered<Expr> {
        use tree::Expr as E;
        let is = |l: &mut Self, e, test, negated| Ok(Expr::Is { expr: l.boxed(e)?, test, negated });
        match e {
            E::Nested(inner) => self.boxed(inner).map(Expr::Nested),
            E::Value(v) => value(v.value),
            E::Identifier(part) => Ok(word(part)),
            E::CompoundIdentifier(parts) => Ok(Expr::Column(Name(super::idents(parts)))),
            E::IsNull(a) => is(self, a, IsTest::Null, false),
            E::IsNotNull(a) => is(self, a, IsTest::Null, true),
            E::IsTrue(a) => is(self, a, IsTest::True, false),
            E::IsNotTrue(a) => is(self, a, IsTest::True, true),
            E::IsFalse(a) => is(self, a, IsTest::False, false),
            E::IsNotFalse(a) => is(self, a, IsTest::False, true),
            E::IsUnknown(a) => is(self, a, IsTest::Unknown, false),
            E::IsNotUnknown(a) => is(self, a, IsTest::Unknown, true),
            E::BinaryOp { left, op, right } => self.binary(left, op, right),
            E::UnaryOp { op, expr } => {
                let op = unary_op(op)?;
                Ok(Expr::Unary { op, expr: self.boxed(expr)? })
            }
            E::Between { expr, negated, low, high } => {
                let (expr, low, high) = (self.boxed(expr)?, self.boxed(low)?, self.boxed(high)?);
                Ok(Expr::Between { expr, negated, low, high })
            }
            E::InList { expr, list, negated } => {
                Ok(Expr::InList { expr: self.boxed(expr)?, list: self.exprs(list)?, negated })
            }
            E::InSubquery { expr, subquery, negated } => {
                Ok(Expr::InSubquery { expr: self.boxed(expr)?, subquery: self.query(subquery)?, negated })
            }
            E::AnyOp { left, compare_op, right, is_some: _ } => self.quantified(left, compare_op, right, false),
            E::AllOp { left, compare_op, right } => self.quantified(left, compare_op, right, true),
            E::Exists { subquery, negated } => Ok(Expr::Exists { subquery: self.query(subquery)?, negated }),
            E::Subquery(query) => self.query(query).map(Expr::Subquery),
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let (expr, pattern, escape) = (self.boxed(expr)?, self.boxed(pattern)?, self.maybe(escape_char)?);
                Ok(Expr::Like { negated, expr, pattern, escape })
            }
            E::RLike { negated, expr, pattern, regexp: _ } => {
                Ok(Expr::Regexp { negated, expr: self.boxed(expr)?, pattern: self.boxed(pattern)? })
            }
            E::Case { operand, conditions, else_result, .. } => self.case(operand, conditions, else_result),
            E::Cast { kind: tree::CastKind::Cast, expr, data_type, format: None } => {
                let ty = cast_type(data_type)?;
                Ok(Expr::Cast { expr: self.boxed(expr)?, ty })
            }
            E::Convert { is_try: false, expr, data_type: Some(ty), charset: None, styles, .. } if styles.is_empty() => {
                let ty = cast_type(ty)?;
                Ok(Expr::Cast { expr: self.boxed(expr)?, ty })
            }
            E::Convert { is_try: false, expr, data_type: None, charset: Some(charset), styles, .. }
                if styles.is_empty() =>
            {
                let charset = name(charset)?.last().to_owned();
                Ok(Expr::ConvertUsing { expr: self.boxed(expr)?, charset })
            }
            E::Collate { expr, collation } => {
                let collation = name(collation)?.last().to_owned();
                Ok(Expr::Collate { expr: self.boxed(expr)?, collation })
            }
            // The lexer takes the introducers that it knows.
            E::Prefixed { prefix, .. } => {
                Err(SqlError::UnknownCharacterSet(prefix.value.trim_start_matches('_').to_owned()))
            }
            E::TypedString(t) => temporal(t),
            E::Extract { field, expr, .. } => {
                let unit = field.to_string().to_ascii_uppercase();
                if Unit::parse(&unit).is_none() {
                    return Err(SqlError::WrongArguments("EXTRACT".into()));
                }
                Ok(Expr::Extract { unit, expr: self.boxed(expr)? })
            }
            E::Position { expr, r#in } => self.call("LOCATE", vec![*expr, *r#in]),
            E::Substring { expr, substring_from, substring_for, special: _, shorthand } => {
                let from = substring_from.map_or_else(|| number("1"), |from| *from);
                let args = [*expr, from].into_iter().chain(substring_for.map(|n| *n)).collect();
                self.call(if shorthand { "SUBSTR" } else { "SUBSTRING" }, args)
            }
            E::Trim { trim_where, trim_what, expr, trim_characters: None } => self.trim(trim_where, trim_what, expr),
            E::Ceil { expr, field: WHOLE } => self.call("CEIL", vec![*expr]),
            E::Floor { expr, field: WHOLE } => self.call("FLOOR", vec![*expr]),
            // It is no value; where it may stand it is taken with what is around it.
            E::Interval(_) => Err(SqlError::WrongArguments("INTERVAL".into())),
            E::Function(f) => self.function(f),
            E::MemberOf(m) => Ok(Expr::MemberOf { value: self.boxed(m.value)?, array: self.boxed(m.array)? }),
            E::Tuple(items) => self.row(items, false),
            other => refuse(other),
        }
    }

    /// A call that was written with words in it.
    fn call(&mut self, name: &str, args: Vec<tree::Expr>) -> Lowered<Expr> {
        Ok(Expr::Function(Box::new(Function::plain(Ident::new(name), self.exprs(args)?))))
    }

    fn row(&mut self, mut items: Vec<tree::Expr>, explicit: bool) -> Lowered<Expr> {
        match (items.len(), explicit) {
            (1, false) => self.expr(items.remove(0)).map(|e| Expr::Nested(Box::new(e))),
            (0 | 1, _) => Err(SqlError::OperandColumns(1)),
            _ => Ok(Expr::Row { items: self.exprs(items)?, explicit }),
        }
    }

    /// A chain of operators, which is deep on its left, without as deep a recursion.
    fn binary(&mut self, left: Box<tree::Expr>, op: tree::BinaryOperator, right: Box<tree::Expr>) -> Lowered<Expr> {
        let mut rights = vec![(op, right)];
        let mut left = left;
        let first = loop {
            match *left {
                tree::Expr::BinaryOp { left: further, op, right } => {
                    rights.push((op, right));
                    left = further;
                }
                first => break first,
            }
        };
        let mut whole = match (first, rights.last()) {
            (tree::Expr::Interval(interval), Some((tree::BinaryOperator::Plus, _))) => {
                let (_, date) = rights.pop().ok_or_else(|| SqlError::WrongArguments("INTERVAL".into()))?;
                let interval = self.interval(interval)?;
                Expr::AddInterval { date: self.boxed(date)?, subtract: false, interval }
            }
            (first, _) => self.expr(first)?,
        };
        while let Some((op, right)) = rights.pop() {
            whole = self.operation(Box::new(whole), op, right)?;
        }
        Ok(whole)
    }

    fn operation(&mut self, left: Box<Expr>, op: tree::BinaryOperator, right: Box<tree::Expr>) -> Lowered<Expr> {
        use tree::BinaryOperator as B;
        match (op, *right) {
            (op @ (B::Plus | B::Minus), tree::Expr::Interval(interval)) => {
                let interval = self.interval(interval)?;
                Ok(Expr::AddInterval { date: left, subtract: op == B::Minus, interval })
            }
            (B::Regexp, right) => Ok(Expr::Regexp { negated: false, expr: left, pattern: Box::new(self.expr(right)?) }),
            (op, right) => {
                let Some(op) = binary_op(&op) else { return refuse(op) };
                Ok(Expr::Binary { left, op, right: Box::new(self.expr(right)?) })
            }
        }
    }

    fn interval(&mut self, interval: tree::Interval) -> Lowered<Interval> {
        let unit = match (&interval.leading_field, &interval.last_field) {
            (Some(unit), None) => unit.to_string(),
            (Some(a), Some(b)) => format!("{a}_{b}"),
            _ => return Err(SqlError::WrongArguments("INTERVAL".into())),
        };
        Ok(Interval { value: self.boxed(interval.value)?, unit: unit.to_ascii_uppercase() })
    }

    fn quantified(
        &mut self,
        left: Box<tree::Expr>,
        op: tree::BinaryOperator,
        right: Box<tree::Expr>,
        all: bool,
    ) -> Lowered<Expr> {
        use BinaryOp::{Eq, Ge, Gt, Le, Lt, Ne};
        match (binary_op(&op), *right) {
            (Some(op @ (Eq | Ne | Lt | Le | Gt | Ge)), tree::Expr::Subquery(query)) => {
                Ok(Expr::Quantified { left: self.boxed(left)?, op, all, subquery: self.query(query)? })
            }
            (_, other) => refuse(format!("{op} {} {other}", if all { "ALL" } else { "ANY" })),
        }
    }

    fn case(
        &mut self,
        operand: Option<Box<tree::Expr>>,
        whens: Vec<tree::CaseWhen>,
        otherwise: Option<Box<tree::Expr>>,
    ) -> Lowered<Expr> {
        let operand = self.maybe(operand)?;
        let whens = whens
            .into_iter()
            .map(|when| Ok(When { condition: self.expr(when.condition)?, result: self.expr(when.result)? }))
            .collect::<Lowered<_>>()?;
        Ok(Expr::Case { operand, whens, otherwise: self.maybe(otherwise)? })
    }

    fn trim(
        &mut self,
        side: Option<tree::TrimWhereField>,
        what: Option<Box<tree::Expr>>,
        expr: Box<tree::Expr>,
    ) -> Lowered<Expr> {
        let side = match side {
            None | Some(tree::TrimWhereField::Both) => TrimSide::Both,
            Some(tree::TrimWhereField::Leading) => TrimSide::Leading,
            Some(tree::TrimWhereField::Trailing) => TrimSide::Trailing,
        };
        match (what, side) {
            (Some(what), side) => Ok(Expr::Trim { side, what: self.boxed(what)?, expr: self.boxed(expr)? }),
            (None, TrimSide::Both) => self.call("TRIM", vec![*expr]),
            (None, TrimSide::Leading) => self.call("LTRIM", vec![*expr]),
            (None, TrimSide::Trailing) => self.call("RTRIM", vec![*expr]),
        }
    }

    // ---- Functions ----

    fn function(&mut self, f: tree::Function) -> Lowered<Expr> {
        let tree::Function {
            name: of_function,
            uses_odbc_syntax: _,
            parameters,
            args,
            within_group,
            filter,
            null_treatment,
            over,
        } = f;
        let mut parts = name(of_function)?;
        let written = match (parts.0.pop(), parts.0.is_empty()) {
            (Some(written), true) => written,
            // There are no stored functions, and the built-in ones belong to no database.
            (last, _) => {
                parts.0.extend(last);
                return Err(EvalError::NoSuchFunction(parts.parts().join(".")).into());
            }
        };
        let called = written.value.to_lowercase();
        let foreign = filter.is_some() || !within_group.is_empty() || parameters != tree::FunctionArguments::None;
        if foreign || null_treatment.is_some() && over.is_none() {
            return refuse(format!("this form of {called}"));
        }
        let tree::FunctionArgumentList { duplicate_treatment, args, clauses } = match args {
            tree::FunctionArguments::List(list) => list,
            tree::FunctionArguments::None => {
                tree::FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() }
            }
            tree::FunctionArguments::Subquery(query) => return syntax(format!("{query})")),
        };
        let mut star = false;
        let mut exprs = Vec::with_capacity(args.len());
        for arg in args {
            match arg {
                tree::FunctionArg::Unnamed(tree::FunctionArgExpr::Expr(e)) => exprs.push(e),
                tree::FunctionArg::Unnamed(tree::FunctionArgExpr::Wildcard) if called == "count" => star = true,
                other => match over {
                    Some(over) => return syntax(format!("{other}) OVER {over}")),
                    None => return refuse(other),
                },
            }
        }
        let plain = clauses.is_empty() && over.is_none() && duplicate_treatment.is_none();
        let (exprs, word) = match if plain { self.special(&called, exprs)? } else { Special::None(exprs) } {
            Special::Instead(e) => return Ok(e),
            Special::Word(word, rest) => (rest, Some(word)),
            Special::None(exprs) => (exprs, None),
        };
        let distinct = duplicate_treatment == Some(tree::DuplicateTreatment::Distinct);
        let mut function = Function { word, star, distinct, ..Function::plain(written, self.exprs(exprs)?) };
        for clause in clauses {
            match clause {
                tree::FunctionArgumentClause::OrderBy(keys) => function.order_by = self.order_by(keys)?,
                tree::FunctionArgumentClause::Separator(separator) => match separator.value {
                    Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => {
                        function.separator = Some(text);
                    }
                    other => return refuse(other),
                },
                other => return refuse(other),
            }
        }
        function.nulls = null_treatment.map(|nulls| match nulls {
            tree::NullTreatment::RespectNulls => Nulls::Respect,
            tree::NullTreatment::IgnoreNulls => Nulls::Ignore,
        });
        function.over = match over {
            None => None,
            Some(tree::WindowType::NamedWindow(name)) => Some(Over::Named(ident(name))),
            Some(tree::WindowType::WindowSpec(spec)) => Some(Over::Window(self.window(spec)?)),
        };
        Ok(Expr::Function(Box::new(function)))
    }

    /// Calls that are something else, or take a word. `called` is in lower case.
    fn special(&mut self, called: &str, mut args: Vec<tree::Expr>) -> Lowered<Special> {
        use tree::Expr as E;
        Ok(match (called, &args[..]) {
            ("date_add" | "adddate" | "date_sub" | "subdate", [_, E::Interval(_)]) => match (args.pop(), args.pop()) {
                (Some(E::Interval(interval)), Some(date)) => {
                    let date = Box::new(self.expr(date)?);
                    let (subtract, interval) = (called.contains("sub"), self.interval(interval)?);
                    Special::Instead(Expr::AddInterval { date, subtract, interval })
                }
                _ => return Err(SqlError::WrongArguments("INTERVAL".into())),
            },
            ("timestampadd" | "timestampdiff", [E::Identifier(_), _, _]) | ("get_format", [E::Identifier(_), _]) => {
                match args.remove(0) {
                    E::Identifier(word) => Special::Word(word.value, args),
                    other => return refuse(other),
                }
            }
            ("values", [E::Identifier(_) | E::CompoundIdentifier(_)]) => match self.expr(args.remove(0))? {
                Expr::Column(name) => Special::Instead(Expr::Inserted(name)),
                other => return refuse(format!("VALUES({other})")),
            },
            ("row", _) => Special::Instead(self.row(args, true)?),
            _ => Special::None(args),
        })
    }

    pub(super) fn window(&mut self, spec: tree::WindowSpec) -> Lowered<Window> {
        let tree::WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        Ok(Window {
            base: window_name.map(ident),
            partition_by: self.exprs(partition_by)?,
            order_by: self.order_by(order_by)?,
            frame: window_frame.map(|frame| self.frame(frame)).transpose()?,
        })
    }

    fn frame(&mut self, frame: tree::WindowFrame) -> Lowered<Frame> {
        let units = match frame.units {
            tree::WindowFrameUnits::Rows => FrameUnits::Rows,
            tree::WindowFrameUnits::Range => FrameUnits::Range,
            tree::WindowFrameUnits::Groups => return refuse("GROUPS"),
        };
        let (start, end) = (self.bound(frame.start_bound)?, frame.end_bound.map(|end| self.bound(end)).transpose()?);
        Ok(Frame { units, start, end })
    }

    fn bound(&mut self, bound: tree::WindowFrameBound) -> Lowered<FrameBound> {
        let mut offset = |e: Box<tree::Expr>| match *e {
            tree::Expr::Interval(interval) => self.interval(interval).map(FrameOffset::Interval),
            e => self.expr(e).map(FrameOffset::Value),
        };
        Ok(match bound {
            tree::WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            tree::WindowFrameBound::Preceding(e) => FrameBound::Preceding(e.map(&mut offset).transpose()?),
            tree::WindowFrameBound::Following(e) => FrameBound::Following(e.map(&mut offset).transpose()?),
        })
    }

    pub(super) fn order_by(&mut self, keys: Vec<tree::OrderByExpr>) -> Lowered<Vec<OrderBy>> {
        keys.into_iter().map(|key| self.sort_key(key)).collect()
    }

    fn sort_key(&mut self, key: tree::OrderByExpr) -> Lowered<OrderBy> {
        if key.options.nulls_first.is_some() {
            return refuse("NULLS FIRST and NULLS LAST");
        }
        let desc = match &key.options.sort {
            None | Some(tree::OrderBySort::Asc) => false,
            Some(tree::OrderBySort::Desc) => true,
            Some(_) => return refuse("ORDER BY … USING"),
        };
        if key.with_fill.is_some() {
            return refuse("WITH FILL");
        }
        Ok(OrderBy { expr: self.expr(key.expr)?, desc })
    }
}

/// What a call is beside its name and arguments.
enum Special {
    /// Nothing.
    None(Vec<tree::Expr>),
    /// Its first argument is a word.
    Word(String, Vec<tree::Expr>),
    /// No call.
    Instead(Expr),
}

fn syntax<T>(near: String) -> Lowered<T> {
    Err(SqlError::Syntax { near, line: 1 })
}

fn number(text: &str) -> tree::Expr {
    tree::Expr::Value(Value::Number(text.to_owned(), false).into())
}

/// A name of one part: a column, a variable, or the word DEFAULT.
fn word(part: tree::Ident) -> Expr {
    match part.quote_style {
        None if part.value.starts_with('@') => Expr::Variable(part.value),
        None if part.value.eq_ignore_ascii_case("default") => Expr::Default,
        _ => Expr::Column(ident(part).into()),
    }
}

fn value(value: Value) -> Lowered<Expr> {
    Ok(Expr::Literal(match value {
        Value::Number(text, _) => Literal::Number(text),
        Value::SingleQuotedString(text)
        | Value::DoubleQuotedString(text)
        | Value::NationalStringLiteral(text)
        | Value::EscapedStringLiteral(text) => Literal::Text(text),
        Value::Boolean(truth) => Literal::Boolean(truth),
        Value::Null => Literal::Null,
        // What the lexer calls a binary string.
        Value::TripleSingleQuotedByteStringLiteral(hex) => match sql_base::unhex(&hex) {
            Some(bytes) => Literal::Binary(bytes),
            None => return syntax(hex),
        },
        Value::HexStringLiteral(digits) => Literal::Hex(digits),
        Value::SingleQuotedByteStringLiteral(digits) => Literal::Bits(digits),
        Value::Placeholder(name) => {
            // They were numbered from 1 before they were parsed.
            let number = name.strip_prefix('?').and_then(|n| n.parse::<usize>().ok()).and_then(|n| n.checked_sub(1));
            return number.map(Expr::Param).map_or_else(|| refuse(name), Ok);
        }
        other => return refuse(other),
    }))
}

fn unary_op(op: tree::UnaryOperator) -> Lowered<UnaryOp> {
    Ok(match op {
        tree::UnaryOperator::Plus => UnaryOp::Plus,
        tree::UnaryOperator::Minus => UnaryOp::Minus,
        tree::UnaryOperator::Not => UnaryOp::Not,
        tree::UnaryOperator::BangNot => UnaryOp::Bang,
        tree::UnaryOperator::BitwiseNot => UnaryOp::BitNot,
        other => return refuse(other),
    })
}

fn binary_op(op: &tree::BinaryOperator) -> Option<BinaryOp> {
    use tree::BinaryOperator as B;
    Some(match op {
        B::Or => BinaryOp::Or,
        B::Xor => BinaryOp::Xor,
        B::And => BinaryOp::And,
        B::Eq => BinaryOp::Eq,
        B::Spaceship => BinaryOp::NullEq,
        B::NotEq => BinaryOp::Ne,
        B::Lt => BinaryOp::Lt,
        B::LtEq => BinaryOp::Le,
        B::Gt => BinaryOp::Gt,
        B::GtEq => BinaryOp::Ge,
        B::BitwiseOr => BinaryOp::BitOr,
        B::BitwiseAnd => BinaryOp::BitAnd,
        B::BitwiseXor | B::PGBitwiseXor => BinaryOp::BitXor,
        B::PGBitwiseShiftLeft => BinaryOp::ShiftLeft,
        B::PGBitwiseShiftRight => BinaryOp::ShiftRight,
        B::Plus => BinaryOp::Add,
        B::Minus => BinaryOp::Subtract,
        B::Multiply => BinaryOp::Multiply,
        B::Divide => BinaryOp::Divide,
        B::MyIntegerDivide | B::DuckIntegerDivide => BinaryOp::IntDivide,
        B::Modulo => BinaryOp::Modulo,
        // The token exists only under PIPES_AS_CONCAT.
        B::StringConcat => BinaryOp::Concat,
        B::Arrow => BinaryOp::JsonExtract,
        B::LongArrow => BinaryOp::JsonUnquote,
        _ => return None,
    })
}

fn temporal(literal: tree::TypedString) -> Lowered<Expr> {
    let text = match literal.value.value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => text,
        other => return refuse(other),
    };
    let kind = match literal.data_type {
        tree::DataType::Date => TemporalKind::Date,
        tree::DataType::Time(..) => TemporalKind::Time,
        tree::DataType::Timestamp(..) => TemporalKind::Timestamp,
        tree::DataType::Datetime(_) => TemporalKind::DateTime,
        other => return refuse(format!("{other} literal")),
    };
    Ok(Expr::Temporal { kind, text })
}

fn cast_type(ty: tree::DataType) -> Lowered<CastType> {
    use tree::DataType as D;
    let length = |length: Option<tree::CharacterLength>| match length {
        Some(tree::CharacterLength::IntegerLength { length, .. }) => Some(length),
        _ => None,
    };
    Ok(match ty {
        D::Signed | D::SignedInteger | D::Int(_) | D::Integer(_) | D::BigInt(_) => CastType::Signed,
        D::Unsigned | D::UnsignedInteger | D::IntUnsigned(_) | D::IntegerUnsigned(_) | D::BigIntUnsigned(_) => {
            CastType::Unsigned
        }
        D::Char(n) | D::Character(n) | D::Varchar(n) => CastType::Char(length(n)),
        D::Text => CastType::Char(None),
        D::Binary(n) => CastType::Binary(n),
        D::Decimal(info) | D::Numeric(info) | D::Dec(info) => CastType::Decimal(match info {
            tree::ExactNumberInfo::None => None,
            tree::ExactNumberInfo::Precision(precision) => Some((precision, 0)),
            tree::ExactNumberInfo::PrecisionAndScale(precision, scale) => Some((precision, scale)),
        }),
        D::Double(_) | D::DoublePrecision | D::Real => CastType::Double,
        D::Float(_) => CastType::Float,
        D::Date => CastType::Date,
        D::Datetime(n) => CastType::DateTime(n),
        D::Time(n, _) => CastType::Time(n),
        D::JSON => CastType::Json,
        D::Custom(name, _) if name.to_string().eq_ignore_ascii_case("year") => CastType::Year,
        other => return refuse(format!("CAST AS {other}")),
    })
}
