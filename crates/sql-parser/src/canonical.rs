//! Queries as text, in the form in which MySQL stores and shows those of views.
//!
//! ```text
//! SELECT *, a+1 FROM t WHERE a > 1 AND b IS NULL
//! select `d`.`t`.`a` AS `a`,`d`.`t`.`b` AS `b`,(`d`.`t`.`a` + 1) AS `a+1` from `d`.`t`
//!   where ((`d`.`t`.`a` > 1) and (`d`.`t`.`b` is null))
//! ```
//!
//! Every operator has its parentheses, every name its quotes, so that the text does not depend on a session's SQL mode.
//! What names mean is asked of [`Names`]. The text of a text is the text itself: whoever stores one may check that nothing
//! got lost ([`super::parse_query`]).
//!
//! Every field of a tree is named here, so that nothing is left out silently.

use std::fmt::Write as _;

use sql_base::SqlError;

use super::ast::{
    BinaryOp, Cte, Expr, Frame, FrameBound, FrameOffset, FrameUnits, Function, Ident, IndexHint, IndexHintFor,
    IndexHintKind, Interval, IsTest, Join, JoinConstraint, JoinKind, Limit, Literal, Lock, LockWait, NamedWindow,
    Nulls, OrderBy, Over, Place, Query, Select, SelectItem, SelectModifiers, SetExpr, SetOperator, TableAlias,
    TableFactor, TableWithJoins, TrimSide, UnaryOp, When, Window, With,
};

/// What names mean, by where they stand in the text that was parsed.
pub trait Names {
    /// The whole name of a column: `[db.][table.]column`. `None` leaves it as it was written.
    fn column(&self, at: Place) -> Option<Vec<String>>;
    /// The columns that `*` or `t.*` stands for: whole names, and the names of the items.
    fn star(&self, at: Place) -> Option<Vec<(Vec<String>, String)>>;
    /// The database of a table that was named without one.
    fn database(&self, at: Place) -> Option<String>;
}

/// Names that are whole already.
#[derive(Debug, Clone, Copy)]
pub struct AsWritten;

impl Names for AsWritten {
    fn column(&self, _: Place) -> Option<Vec<String>> {
        None
    }

    fn star(&self, _: Place) -> Option<Vec<(Vec<String>, String)>> {
        None
    }

    fn database(&self, _: Place) -> Option<String> {
        None
    }
}

/// The text of a query. `items` are other names for the items of its first block, `hidden` a database that is not
/// printed.
pub fn query_text(
    query: &Query,
    names: &dyn Names,
    items: Option<&[String]>,
    hidden: Option<&str>,
) -> Result<String, SqlError> {
    let mut printer = Printer { out: String::new(), names, items, hidden };
    printer.query(query)?;
    Ok(printer.out)
}

/// The text of an expression.
pub fn expr_text(e: &Expr, names: &dyn Names) -> Result<String, SqlError> {
    let mut printer = Printer { out: String::new(), names, items: None, hidden: None };
    printer.expr(e)?;
    Ok(printer.out)
}

/// A name in backquotes.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A string in quotes, with what needs it escaped.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1a}' => out.push_str("\\Z"),
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("''"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

fn refuse<T>(what: impl std::fmt::Display) -> Result<T, SqlError> {
    Err(SqlError::NotSupported(format!("a view of {what}")))
}

/// Functions that are printed under another of their names.
const SHOWN_AS: &[(&str, &str)] = &[("ceil", "ceiling"), ("substring", "substr")];

type Done = Result<(), SqlError>;

struct Printer<'a> {
    out: String,
    names: &'a dyn Names,
    /// Taken by the first block.
    items: Option<&'a [String]>,
    hidden: Option<&'a str>,
}

impl Printer<'_> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn list<T>(&mut self, list: &[T], mut each: impl FnMut(&mut Self, &T) -> Done) -> Done {
        for (i, item) in list.iter().enumerate() {
            if i > 0 {
                self.put(",");
            }
            each(self, item)?;
        }
        Ok(())
    }

    fn exprs(&mut self, list: &[Expr]) -> Done {
        self.list(list, Self::expr)
    }

    fn parenthesized(&mut self, f: impl FnOnce(&mut Self) -> Done) -> Done {
        self.put("(");
        f(self)?;
        self.put(")");
        Ok(())
    }

    // ---- Queries ----

    fn query(&mut self, query: &Query) -> Done {
        let Query { with, body, order_by, limit, locks } = query;
        if let Some(With { recursive, ctes }) = with {
            // The names are the body's.
            let items = self.items.take();
            self.put(if *recursive { "with recursive " } else { "with " });
            self.list(ctes, |p, Cte { alias, query }| {
                p.alias(alias);
                p.put(" as ");
                p.parenthesized(|p| p.query(query))
            })?;
            self.put(" ");
            self.items = items;
        }
        self.body(body)?;
        if !order_by.is_empty() {
            self.put(" order by ");
            self.list(order_by, Self::key)?;
        }
        if let Some(Limit { count, offset }) = limit {
            self.put(" limit ");
            if let Some(offset) = offset {
                self.expr(offset)?;
                self.put(",");
            }
            self.expr(count)?;
        }
        for Lock { share, of, wait } in locks {
            self.put(if *share { " for share" } else { " for update" });
            if let Some(of) = of {
                self.put(" of ");
                self.path(&of.0);
            }
            self.put(match wait {
                LockWait::Wait => "",
                LockWait::NoWait => " nowait",
                LockWait::SkipLocked => " skip locked",
            });
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr) -> Done {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.parenthesized(|p| p.query(query)),
            SetExpr::SetOperation { left, op, all, right } => {
                self.body(left)?;
                let word = match op {
                    SetOperator::Union => "union",
                    SetOperator::Except => "except",
                    SetOperator::Intersect => "intersect",
                };
                let all = if *all { " all" } else { "" };
                let _ = write!(self.out, " {word}{all} ");
                self.body(right)
            }
            SetExpr::Values(rows) => {
                self.put("values ");
                self.list(rows, |p, row| {
                    p.put("row");
                    p.parenthesized(|p| p.exprs(row))
                })
            }
        }
    }

    fn select(&mut self, select: &Select) -> Done {
        let Select {
            at: _,
            hints: _,
            distinct,
            modifiers,
            projection,
            from,
            selection,
            group_by,
            rollup,
            having,
            windows,
        } = select;
        self.put("select ");
        if *distinct {
            self.put("distinct ");
        }
        let SelectModifiers { high_priority, straight_join, small_result, big_result, buffer_result, no_cache: _ } =
            modifiers;
        let words = [
            (*high_priority, "high_priority "),
            (*straight_join, "straight_join "),
            (*small_result, "sql_small_result "),
            (*big_result, "sql_big_result "),
            (*buffer_result, "sql_buffer_result "),
        ];
        words.iter().filter(|w| w.0).for_each(|w| self.put(w.1));
        let items = self.items.take();
        let mut number = 0;
        self.list(projection, |p, item| p.item(item, items, &mut number))?;
        if !from.is_empty() {
            self.put(" from ");
            self.from(from)?;
        }
        if let Some(condition) = selection {
            self.put(" where ");
            self.expr(condition)?;
        }
        if !group_by.is_empty() {
            self.put(" group by ");
            self.exprs(group_by)?;
        }
        if *rollup {
            self.put(" with rollup");
        }
        if let Some(condition) = having {
            self.put(" having ");
            self.expr(condition)?;
        }
        if !windows.is_empty() {
            self.put(" window ");
            self.list(windows, |p, NamedWindow { name, window }| {
                p.put(&quoted(&name.value));
                p.put(" as ");
                p.window(window)
            })?;
        }
        Ok(())
    }

    /// An item of the select list. `number` is the number of the next column.
    fn item(&mut self, item: &SelectItem, items: Option<&[String]>, number: &mut usize) -> Done {
        let mut named = |p: &mut Self, name: &str| {
            let name = items.and_then(|items| items.get(*number)).map_or(name, String::as_str);
            *number += 1;
            let _ = write!(p.out, " AS {}", quoted(name));
        };
        let star = match item {
            SelectItem::Expr { expr, alias } => {
                self.expr(expr)?;
                match alias.as_ref().map(|alias| alias.value.clone()).or_else(|| own_name(expr)) {
                    Some(name) => named(self, &name),
                    None => *number += 1,
                }
                return Ok(());
            }
            SelectItem::Star(at) => self.names.star(*at),
            SelectItem::StarOf(name) => self.names.star(name.at()),
        };
        let Some(columns) = star else { return refuse(item) };
        self.list(&columns, |p, (parts, name)| {
            p.whole_column(parts);
            named(p, name);
            Ok(())
        })
    }

    fn key(&mut self, OrderBy { expr, desc }: &OrderBy) -> Done {
        self.expr(expr)?;
        if *desc {
            self.put(" desc");
        }
        Ok(())
    }

    // ---- FROM ----

    fn from(&mut self, from: &[TableWithJoins]) -> Done {
        let mut units = Vec::new();
        from.iter().for_each(|tables| flatten(tables, &mut units));
        for (i, unit) in units.into_iter().enumerate() {
            if i > 0 {
                self.put(" join ");
            }
            match unit {
                Unit::Factor(factor) => self.factor(factor)?,
                Unit::Joins(tables) => self.joins(tables)?,
            }
        }
        Ok(())
    }

    /// Joins, each in its parentheses.
    fn joins(&mut self, tables: &TableWithJoins) -> Done {
        let start = self.out.len();
        self.factor(&tables.relation)?;
        for Join { relation, kind, constraint } in &tables.joins {
            // As in MySQL, a right join is a left join the other way round; not where columns come from both sides.
            if *kind == JoinKind::Right && matches!(constraint, JoinConstraint::On(_)) {
                let left = self.out.split_off(start);
                self.put("(");
                self.factor(relation)?;
                let _ = write!(self.out, " left join {left}");
            } else {
                self.out.insert(start, '(');
                let natural = if *constraint == JoinConstraint::Natural { "natural " } else { "" };
                let word = match kind {
                    JoinKind::Inner => "join",
                    JoinKind::Straight => "straight_join",
                    JoinKind::Left => "left join",
                    JoinKind::Right => "right join",
                };
                let _ = write!(self.out, " {natural}{word} ");
                self.factor(relation)?;
            }
            match constraint {
                JoinConstraint::On(condition) => {
                    self.put(" on(");
                    self.expr(condition)?;
                    self.put(")");
                }
                JoinConstraint::Using(columns) => {
                    self.put(" using (");
                    self.names(columns);
                    self.put(")");
                }
                JoinConstraint::Natural | JoinConstraint::None => {}
            }
            self.put(")");
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Done {
        match factor {
            TableFactor::Table { name, partitions, alias, index_hints } => {
                match (self.names.database(name.at()), name.single()) {
                    (Some(database), Some(table)) => self.table(&[database, table.value.clone()]),
                    _ => self.table(&name.parts()),
                }
                if !partitions.is_empty() {
                    self.put(" partition (");
                    self.names(partitions);
                    self.put(")");
                }
                if let Some(alias) = alias {
                    let _ = write!(self.out, " {}", quoted(&alias.value));
                }
                for IndexHint { kind, purpose, indexes } in index_hints {
                    self.put(match kind {
                        IndexHintKind::Use => " use index",
                        IndexHintKind::Ignore => " ignore index",
                        IndexHintKind::Force => " force index",
                    });
                    self.put(match purpose {
                        None => " (",
                        Some(IndexHintFor::Join) => " for join (",
                        Some(IndexHintFor::OrderBy) => " for order by (",
                        Some(IndexHintFor::GroupBy) => " for group by (",
                    });
                    self.names(indexes);
                    self.put(")");
                }
                Ok(())
            }
            TableFactor::Derived { lateral, subquery, alias } => {
                if *lateral {
                    self.put("lateral ");
                }
                self.parenthesized(|p| p.query(subquery))?;
                self.put(" ");
                self.alias(alias);
                Ok(())
            }
            TableFactor::Nested(tables) => match &tables.joins[..] {
                [] => self.factor(&tables.relation),
                _ => self.joins(tables),
            },
        }
    }

    fn alias(&mut self, TableAlias { name, columns }: &TableAlias) {
        self.put(&quoted(&name.value));
        if !columns.is_empty() {
            self.put(" (");
            self.names(columns);
            self.put(")");
        }
    }

    /// Names with commas between them.
    fn names(&mut self, names: &[Ident]) {
        let text: Vec<String> = names.iter().map(|name| quoted(&name.value)).collect();
        self.put(&text.join(","));
    }

    /// `[db.]table`.
    fn table(&mut self, parts: &[String]) {
        let hidden = parts.len() == 2 && self.hidden.is_some_and(|h| parts[0].eq_ignore_ascii_case(h));
        let text: Vec<String> = parts[usize::from(hidden)..].iter().map(|part| quoted(part)).collect();
        self.put(&text.join("."));
    }

    fn path(&mut self, parts: &[Ident]) {
        let text: Vec<String> = parts.iter().map(|part| quoted(&part.value)).collect();
        self.put(&text.join("."));
    }

    // ---- Expressions ----

    fn expr(&mut self, e: &Expr) -> Done {
        match e {
            Expr::Nested(inner) => self.expr(inner),
            Expr::Literal(value) => {
                self.value(value);
                Ok(())
            }
            Expr::Param(_) | Expr::Variable(_) => Err(SqlError::ViewSelectVariable),
            Expr::Column(name) => {
                let whole = self.names.column(name.at()).unwrap_or_else(|| name.parts());
                self.whole_column(&whole);
                Ok(())
            }
            Expr::Default => {
                self.put(&quoted("DEFAULT"));
                Ok(())
            }
            Expr::Inserted(name) => {
                self.put("values(");
                self.path(&name.0);
                self.put(")");
                Ok(())
            }
            Expr::Is { expr, test, negated } => self.parenthesized(|p| {
                p.expr(expr)?;
                let test = match test {
                    IsTest::Null | IsTest::Unknown => "null",
                    IsTest::True => "true",
                    IsTest::False => "false",
                };
                let _ = write!(p.out, " is {}{test}", if *negated { "not " } else { "" });
                Ok(())
            }),
            Expr::Binary { left, op, right } => self.binary(left, *op, right),
            Expr::Unary { op, expr } => self.unary(*op, expr),
            Expr::Between { expr, negated, low, high } => self.parenthesized(|p| {
                p.expr(expr)?;
                p.put(if *negated { " not between " } else { " between " });
                p.expr(low)?;
                p.put(" and ");
                p.expr(high)
            }),
            Expr::InList { expr, list, negated } => self.parenthesized(|p| {
                p.expr(expr)?;
                p.put(if *negated { " not in " } else { " in " });
                p.parenthesized(|p| p.exprs(list))
            }),
            Expr::InSubquery { expr, subquery, negated } => self.parenthesized(|p| {
                p.expr(expr)?;
                p.put(if *negated { " not in " } else { " in " });
                p.parenthesized(|p| p.query(subquery))
            }),
            Expr::Like { negated, expr, pattern, escape } => self.negated(*negated, |p| {
                p.expr(expr)?;
                p.put(" like ");
                p.expr(pattern)?;
                if let Some(escape) = escape {
                    p.put(" escape ");
                    p.expr(escape)?;
                }
                Ok(())
            }),
            Expr::Regexp { negated, expr, pattern } => self.negated(*negated, |p| {
                p.expr(expr)?;
                p.put(" regexp ");
                p.expr(pattern)
            }),
            Expr::Case { operand, whens, otherwise } => self.parenthesized(|p| {
                p.put("case");
                if let Some(operand) = operand {
                    p.put(" ");
                    p.expr(operand)?;
                }
                for When { condition, result } in whens {
                    p.put(" when ");
                    p.expr(condition)?;
                    p.put(" then ");
                    p.expr(result)?;
                }
                if let Some(e) = otherwise {
                    p.put(" else ");
                    p.expr(e)?;
                }
                p.put(" end");
                Ok(())
            }),
            Expr::Cast { expr, ty } => {
                self.put("cast(");
                self.expr(expr)?;
                let _ = write!(self.out, " as {})", ty.to_string().to_lowercase());
                Ok(())
            }
            Expr::ConvertUsing { expr, charset } => {
                self.put("convert(");
                self.expr(expr)?;
                let _ = write!(self.out, " using {charset})");
                Ok(())
            }
            Expr::Collate { expr, collation } => self.parenthesized(|p| {
                p.expr(expr)?;
                let _ = write!(p.out, " collate {collation}");
                Ok(())
            }),
            Expr::Temporal { kind, text } => {
                let _ = write!(self.out, "{kind}{}", literal(text));
                Ok(())
            }
            Expr::Extract { unit, expr } => {
                let _ = write!(self.out, "extract({} from ", unit.to_lowercase());
                self.expr(expr)?;
                self.put(")");
                Ok(())
            }
            Expr::Trim { side, what, expr } => {
                let side = match side {
                    TrimSide::Both => "both",
                    TrimSide::Leading => "leading",
                    TrimSide::Trailing => "trailing",
                };
                let _ = write!(self.out, "trim({side} ");
                self.expr(what)?;
                self.put(" from ");
                self.expr(expr)?;
                self.put(")");
                Ok(())
            }
            Expr::AddInterval { date, subtract, interval } => self.parenthesized(|p| {
                p.expr(date)?;
                p.put(if *subtract { " - " } else { " + " });
                p.interval(interval)
            }),
            Expr::Function(f) => self.function(f),
            Expr::MemberOf { value, array } => self.parenthesized(|p| {
                p.expr(value)?;
                p.put(" member of (");
                p.expr(array)?;
                p.put(")");
                Ok(())
            }),
            Expr::Subquery(query) => self.parenthesized(|p| p.query(query)),
            Expr::Exists { subquery, negated } => {
                let exists = |p: &mut Self| {
                    p.put("exists");
                    p.parenthesized(|p| p.query(subquery))
                };
                match negated {
                    false => exists(self),
                    true => {
                        self.put("(not(");
                        exists(self)?;
                        self.put("))");
                        Ok(())
                    }
                }
            }
            Expr::Quantified { left, op, all, subquery } => self.parenthesized(|p| {
                p.expr(left)?;
                let _ = write!(p.out, " {op} {} ", if *all { "all" } else { "any" });
                p.parenthesized(|p| p.query(subquery))
            }),
            Expr::Row { items, explicit } => {
                self.put(if *explicit { "row" } else { "" });
                self.parenthesized(|p| p.exprs(items))
            }
        }
    }

    /// `[db.][table.]column`.
    fn whole_column(&mut self, parts: &[String]) {
        let hidden = parts.len() == 3 && self.hidden.is_some_and(|h| parts[0].eq_ignore_ascii_case(h));
        let text: Vec<String> = parts[usize::from(hidden)..].iter().map(|part| quoted(part)).collect();
        self.put(&text.join("."));
    }

    fn value(&mut self, value: &Literal) {
        match value {
            Literal::Number(text) => self.put(text),
            Literal::Text(text) => self.put(&literal(text)),
            Literal::Boolean(truth) => self.put(if *truth { "true" } else { "false" }),
            Literal::Null => self.put("NULL"),
            Literal::Binary(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    self.put("_binary");
                    self.put(&literal(text));
                }
                Err(_) => {
                    self.put("cast(0x");
                    bytes.iter().for_each(|byte| {
                        let _ = write!(self.out, "{byte:02X}");
                    });
                    self.put(" as binary)");
                }
            },
            Literal::Hex(digits) if digits.is_empty() => self.put("x''"),
            Literal::Hex(digits) => {
                let _ = write!(self.out, "0x{digits}");
            }
            Literal::Bits(digits) => {
                let _ = write!(self.out, "b'{digits}'");
            }
        }
    }

    /// `(…)` or `(not((…)))`.
    fn negated(&mut self, negated: bool, f: impl FnOnce(&mut Self) -> Done) -> Done {
        if negated {
            self.put("(not(");
        }
        self.parenthesized(f)?;
        if negated {
            self.put("))");
        }
        Ok(())
    }

    fn call(&mut self, name: &str, args: &[&Expr]) -> Done {
        self.put(name);
        self.parenthesized(|p| p.list(args, |p, e| p.expr(e)))
    }

    fn unary(&mut self, op: UnaryOp, e: &Expr) -> Done {
        let sign = match op {
            UnaryOp::Plus => return self.expr(e),
            // The least number is no number without its sign.
            UnaryOp::Minus if matches!(e, Expr::Literal(Literal::Number(_))) => {
                self.put("-");
                return self.expr(e);
            }
            UnaryOp::Minus => "-",
            UnaryOp::BitNot => "~",
            UnaryOp::Not | UnaryOp::Bang => {
                self.put("(not(");
                self.expr(e)?;
                self.put("))");
                return Ok(());
            }
        };
        self.put(sign);
        self.parenthesized(|p| p.expr(e))
    }

    fn binary(&mut self, left: &Expr, op: BinaryOp, right: &Expr) -> Done {
        if matches!(op, BinaryOp::And | BinaryOp::Or) {
            let mut operands = Vec::new();
            chain(op, left, right, &mut operands);
            let word = if op == BinaryOp::And { " and " } else { " or " };
            return self.parenthesized(|p| {
                for (i, operand) in operands.iter().enumerate() {
                    if i > 0 {
                        p.put(word);
                    }
                    p.expr(operand)?;
                }
                Ok(())
            });
        }
        match op {
            BinaryOp::Concat => return self.call("concat", &[left, right]),
            BinaryOp::JsonExtract => return self.call("json_extract", &[left, right]),
            BinaryOp::JsonUnquote => {
                self.put("json_unquote(");
                self.call("json_extract", &[left, right])?;
                self.put(")");
                return Ok(());
            }
            _ => {}
        }
        self.parenthesized(|p| {
            p.expr(left)?;
            let _ = match op {
                BinaryOp::Xor => write!(p.out, " xor "),
                op => write!(p.out, " {op} "),
            };
            p.expr(right)
        })
    }

    fn interval(&mut self, Interval { value, unit }: &Interval) -> Done {
        self.put("interval ");
        self.expr(value)?;
        let _ = write!(self.out, " {}", unit.to_lowercase());
        Ok(())
    }

    fn function(&mut self, f: &Function) -> Done {
        let Function { name, word, star, distinct, args, order_by, separator, nulls, over } = f;
        let called = name.value.to_lowercase();
        let shown = SHOWN_AS.iter().find(|(alias, _)| *alias == called).map_or(&called[..], |(_, shown)| shown);
        self.put(shown);
        self.put(if *distinct { "(distinct " } else { "(" });
        if let Some(word) = word {
            self.put(word);
            self.put(if args.is_empty() { "" } else { "," });
        }
        if *star {
            // Which counts rows as any constant does.
            self.put("0");
        }
        self.exprs(args)?;
        if !order_by.is_empty() {
            self.put(" order by ");
            self.list(order_by, Self::key)?;
        }
        match separator {
            Some(separator) => {
                let _ = write!(self.out, " separator {}", literal(separator));
            }
            None if called == "group_concat" => self.put(" separator ','"),
            None => {}
        }
        self.put(")");
        match nulls {
            None => {}
            Some(Nulls::Respect) => self.put(" respect nulls"),
            Some(Nulls::Ignore) => self.put(" ignore nulls"),
        }
        match over {
            None => {}
            Some(Over::Named(name)) => {
                let _ = write!(self.out, " over {}", quoted(&name.value));
            }
            Some(Over::Window(window)) => {
                self.put(" over ");
                self.window(window)?;
            }
        }
        Ok(())
    }

    fn window(&mut self, window: &Window) -> Done {
        let Window { base, partition_by, order_by, frame } = window;
        self.put("(");
        let mut gap = "";
        if let Some(name) = base {
            self.put(&quoted(&name.value));
            gap = " ";
        }
        if !partition_by.is_empty() {
            let _ = write!(self.out, "{gap}partition by ");
            self.exprs(partition_by)?;
            gap = " ";
        }
        if !order_by.is_empty() {
            let _ = write!(self.out, "{gap}order by ");
            self.list(order_by, Self::key)?;
            gap = " ";
        }
        if let Some(Frame { units, start, end }) = frame {
            let units = match units {
                FrameUnits::Rows => "rows",
                FrameUnits::Range => "range",
            };
            let _ = write!(self.out, "{gap}{units} ");
            match end {
                None => self.bound(start)?,
                Some(end) => {
                    self.put("between ");
                    self.bound(start)?;
                    self.put(" and ");
                    self.bound(end)?;
                }
            }
        }
        self.put(")");
        Ok(())
    }

    fn bound(&mut self, bound: &FrameBound) -> Done {
        let (offset, side) = match bound {
            FrameBound::CurrentRow => {
                self.put("current row");
                return Ok(());
            }
            FrameBound::Preceding(offset) => (offset, " preceding"),
            FrameBound::Following(offset) => (offset, " following"),
        };
        match offset {
            None => self.put("unbounded"),
            Some(FrameOffset::Value(e)) => self.expr(e)?,
            Some(FrameOffset::Interval(interval)) => self.interval(interval)?,
        }
        self.put(side);
        Ok(())
    }
}

/// Operands of a chain of one operator, in order. A long chain is deep on its left.
fn chain<'a>(op: BinaryOp, left: &'a Expr, right: &'a Expr, out: &mut Vec<&'a Expr>) {
    let same = |e: &'a Expr| match e.without_parentheses() {
        Expr::Binary { left, op: other, right } if *other == op => Some((&**left, &**right)),
        _ => None,
    };
    let mut rights = vec![right];
    let mut left = left;
    while let Some((l, r)) = same(left) {
        rights.push(r);
        left = l;
    }
    out.push(left);
    for right in rights.into_iter().rev() {
        match same(right) {
            Some((l, r)) => chain(op, l, r, out),
            None => out.push(right),
        }
    }
}

/// What is joined without a condition, so that it may stand in one row.
enum Unit<'a> {
    Factor(&'a TableFactor),
    Joins(&'a TableWithJoins),
}

fn flatten<'a>(tables: &'a TableWithJoins, out: &mut Vec<Unit<'a>>) {
    let free = |join: &Join| join.kind == JoinKind::Inner && join.constraint == JoinConstraint::None;
    if !tables.joins.iter().all(free) {
        return out.push(Unit::Joins(tables));
    }
    for factor in std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation)) {
        match factor {
            TableFactor::Nested(tables) => flatten(tables, out),
            factor => out.push(Unit::Factor(factor)),
        }
    }
}

/// The name of an item that was given none: the column's, or the text of a string.
fn own_name(e: &Expr) -> Option<String> {
    match e.without_parentheses() {
        Expr::Column(name) => Some(name.last().to_owned()),
        Expr::Literal(Literal::Text(text)) => Some(text.clone()),
        Expr::Literal(Literal::Null) => Some("NULL".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_query;

    fn text(sql: &str) -> String {
        query_text(&parse_query(sql).unwrap(), &AsWritten, None, None).unwrap()
    }

    #[test]
    fn a_text_is_mysqls() {
        for (sql, expected) in [
            ("SELECT a, 1+1 FROM d.t", "select `a` AS `a`,(1 + 1) AS `1+1` from `d`.`t`"),
            (
                "select COUNT(*) c from t x where a>1 and (b is null and c in (1,2)) or not d",
                "select count(0) AS `c` from `t` `x` where (((`a` > 1) and (`b` is null) and (`c` in (1,2))) or (not(`d`)))",
            ),
            (
                "select a from t join s on t.a=s.a left join u using (a), w",
                "select `a` AS `a` from ((`t` join `s` on((`t`.`a` = `s`.`a`))) left join `u` using (`a`)) join `w`",
            ),
            ("select a from t right join s on 1", "select `a` AS `a` from (`s` left join `t` on(1))"),
            ("select a from t, s, u", "select `a` AS `a` from `t` join `s` join `u`"),
            (
                "select case a when 1 then 'x''\\n' end, -1, -a, date_add(d, interval 1 day) + interval a month from t",
                "select (case `a` when 1 then 'x''\\n' end) AS `case a when 1 then 'x''\\n' end`,-1 AS `-1`,\
                 -(`a`) AS `-a`,((`d` + interval 1 day) + interval `a` month) AS \
                 `date_add(d, interval 1 day) + interval a month` from `t`",
            ),
            (
                "select a from t union all (select b from s order by 1 desc limit 2) order by a limit 3 offset 4",
                "select `a` AS `a` from `t` union all (select `b` AS `b` from `s` order by 1 desc limit 2) order by `a` \
                 limit 4,3",
            ),
            (
                "with recursive c (n) as (select 1 union select n+1 from c where n < 5) select n from c",
                "with recursive `c` (`n`) as (select 1 AS `1` union select (`n` + 1) AS `n+1` from `c` where (`n` < 5)) \
                 select `n` AS `n` from `c`",
            ),
            (
                "select group_concat(distinct a order by b desc), sum(a) over (partition by b rows 1 preceding) s from t",
                "select group_concat(distinct `a` order by `b` desc separator ',') AS \
                 `group_concat(distinct a order by b desc)`,sum(`a`) over (partition by `b` rows 1 preceding) AS `s` \
                 from `t`",
            ),
        ] {
            assert_eq!(text(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_text_of_a_text_is_the_text() {
        for sql in [
            "select distinct a from t where a like 'x\\%y\\\\' escape '|' and b not like 'z' and c regexp 'q' group by a with rollup having count(distinct b) > 1",
            "select cast(a as char(10)), cast(a as unsigned), cast(a as decimal(10,2)), convert(a using utf8mb4), a collate utf8mb4_bin from t",
            "select x'4142', b'101', true, null, _binary'ab', date'2020-01-01', 1e5, .5, 'a\\0b' from t",
            "select extract(year_month from d), position('a' in b), substring(a from 2 for 3), trim(both 'x' from a), trim(a), ceil(a), floor(b) from t",
            "select timestampdiff(day, a, b), timestampadd(hour, 1, a), get_format(date, 'USA'), interval(1, 2, 3), current_timestamp, now(3) from t",
            "select a->'$.x', a->>'$.y', 1 member of (a), ~a, !b, a xor b, a div 2, a mod 2, a << 1, a <=> null from t",
            "select (select max(b) from s where s.a = t.a), exists(select 1 from s), not exists (select 2 from s), a in (select a from s), (a, b) in ((1, 2)), a > all (select 1), a = any (select 2) from t",
            "select a from (t join s) left join (u join w on u.a = w.a) on t.a = u.a",
            "select a from (select 1 as a) x (b), t as y use index (k) ignore index for join (l)",
            "select a from t, s, (u join w), x left join y on x.a = y.a, z",
            "select a from t join (s join u) join w on t.a = w.a",
            "select row_number() over w, lead(a, 1) over (w order by b range between unbounded preceding and current row) from t window w as (partition by a)",
            "(select 1) union (select 2 intersect select 3) except all select 4",
            "values row(1, 'a'), row(2, 'b') order by 1",
            "select a is true, a is not false, a between 1 and 2, a not between 3 and 4, a not in (1) from t where 1 for update of t nowait",
            "with a as (select 1 as x), b (y) as (select x from a) select straight_join high_priority x from a natural join b",
        ] {
            let once = text(sql);
            assert_eq!(text(&once), once, "{sql}");
        }
    }

    #[test]
    fn a_long_chain_is_printed() {
        let sql = format!("select a from t where {}", vec!["a = 1"; 1900].join(" or "));
        assert!(text(&sql).contains("(`a` = 1) or (`a` = 1)"));
    }

    #[test]
    fn a_hidden_database_is_not_printed() {
        let query =
            parse_query("select d.t.a, e.t.b, x.d from d.t join e.t join d.s x join (d.u join e.w on 1)").unwrap();
        assert_eq!(
            query_text(&query, &AsWritten, None, Some("d")).unwrap(),
            "select `t`.`a` AS `a`,`e`.`t`.`b` AS `b`,`x`.`d` AS `d` from `t` join `e`.`t` join `s` `x` join (`u` join \
             `e`.`w` on(1))"
        );
    }

    #[test]
    fn variables_and_parameters_are_refused() {
        for sql in ["select @a", "select @@version", "select ? + 1", "select 1 limit ?"] {
            let error = query_text(&parse_query(sql).unwrap(), &AsWritten, None, None).unwrap_err();
            assert_eq!(error.code().0, 1351, "{sql}");
        }
    }
}
