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
//! Everything that is printed is named here; anything else of the grammar is refused, and nothing is left out silently.

use std::fmt::Write as _;

use sql_base::SqlError;
use sqlparser::ast::{self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, Ident, SetExpr, Value};
use sqlparser::tokenizer::Span;

/// What names mean, by where they stand in the text that was parsed.
pub trait Names {
    /// The whole name of a column: `[db.][table.]column`. `None` leaves it as it was written.
    fn column(&self, at: Span) -> Option<Vec<String>>;
    /// The columns that `*` or `t.*` stands for: whole names, and the names of the items.
    fn star(&self, at: Span) -> Option<Vec<(Vec<String>, String)>>;
    /// The database of a table that was named without one.
    fn database(&self, at: Span) -> Option<String>;
}

/// Names that are whole already.
#[derive(Debug, Clone, Copy)]
pub struct AsWritten;

impl Names for AsWritten {
    fn column(&self, _: Span) -> Option<Vec<String>> {
        None
    }

    fn star(&self, _: Span) -> Option<Vec<(Vec<String>, String)>> {
        None
    }

    fn database(&self, _: Span) -> Option<String> {
        None
    }
}

/// The text of a query. `items` are other names for the items of its first block, `hidden` a database that is not
/// printed.
pub fn query_text(
    query: &ast::Query,
    names: &dyn Names,
    items: Option<&[String]>,
    hidden: Option<&str>,
) -> Result<String, SqlError> {
    let mut printer = Printer { out: String::new(), names, items, hidden };
    printer.query(query)?;
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

/// Functions with a word for their first argument.
const TAKE_WORDS: &[&str] = &["timestampadd", "timestampdiff", "get_format"];

/// Calls that are printed as operators: (name, operator).
const ARITHMETIC: &[(&str, char)] = &[("date_add", '+'), ("adddate", '+'), ("date_sub", '-'), ("subdate", '-')];

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

    fn query(&mut self, query: &ast::Query) -> Done {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if fetch.is_some()
            || for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return refuse("this query clause");
        }
        if let Some(ast::With { with_token: _, recursive, cte_tables }) = with {
            // The names are the body's.
            let items = self.items.take();
            self.put(if *recursive { "with recursive " } else { "with " });
            self.list(cte_tables, |p, cte| {
                let ast::Cte { alias, query, from, materialized, closing_paren_token: _ } = cte;
                if from.is_some() || materialized.is_some() {
                    return refuse("this WITH");
                }
                p.alias(alias)?;
                p.put(" as ");
                p.parenthesized(|p| p.query(query))
            })?;
            self.put(" ");
            self.items = items;
        }
        self.body(body)?;
        if let Some(ast::OrderBy { kind, interpolate: None }) = order_by {
            let ast::OrderByKind::Expressions(keys) = kind else { return refuse("ORDER BY ALL") };
            self.put(" order by ");
            self.list(keys, Self::key)?;
        }
        match limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset { limit: Some(limit), offset, limit_by }) if limit_by.is_empty() => {
                self.put(" limit ");
                if let Some(offset) = offset {
                    self.expr(&offset.value)?;
                    self.put(",");
                }
                self.expr(limit)?;
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.put(" limit ");
                self.expr(offset)?;
                self.put(",");
                self.expr(limit)?;
            }
            Some(_) => return refuse("this LIMIT"),
        }
        for ast::LockClause { lock_type, of, nonblock } in locks {
            self.put(match lock_type {
                ast::LockType::Share => " for share",
                ast::LockType::Update => " for update",
            });
            if let Some(of) = of {
                self.put(" of ");
                let parts = idents(of)?;
                self.path(&parts);
            }
            self.put(match nonblock {
                None => "",
                Some(ast::NonBlock::Nowait) => " nowait",
                Some(ast::NonBlock::SkipLocked) => " skip locked",
            });
        }
        Ok(())
    }

    fn body(&mut self, body: &SetExpr) -> Done {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => self.parenthesized(|p| p.query(query)),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                self.body(left)?;
                let word = match op {
                    ast::SetOperator::Union => "union",
                    ast::SetOperator::Except => "except",
                    ast::SetOperator::Intersect => "intersect",
                    ast::SetOperator::Minus => return refuse("MINUS"),
                };
                let all = match set_quantifier {
                    ast::SetQuantifier::All => " all",
                    ast::SetQuantifier::Distinct | ast::SetQuantifier::None => "",
                    other => return refuse(other),
                };
                let _ = write!(self.out, " {word}{all} ");
                self.body(right)
            }
            SetExpr::Values(ast::Values { explicit_row: _, value_keyword: _, rows }) => {
                self.put("values ");
                self.list(rows, |p, row| {
                    p.put("row");
                    p.parenthesized(|p| p.exprs(&row.content))
                })
            }
            other => refuse(other),
        }
    }

    fn select(&mut self, select: &ast::Select) -> Done {
        let ast::Select {
            select_token: _,
            optimizer_hints: _,
            distinct,
            select_modifiers,
            top: None,
            top_before_distinct: _,
            projection,
            exclude: None,
            into: None,
            from,
            lateral_views,
            prewhere: None,
            selection,
            connect_by,
            group_by,
            cluster_by,
            distribute_by,
            sort_by,
            having,
            named_window,
            qualify: None,
            window_before_qualify: _,
            value_table_mode: None,
            flavor: ast::SelectFlavor::Standard,
        } = select
        else {
            return refuse("this SELECT clause");
        };
        if !(lateral_views.is_empty()
            && connect_by.is_empty()
            && cluster_by.is_empty()
            && distribute_by.is_empty()
            && sort_by.is_empty())
        {
            return refuse("this SELECT clause");
        }
        self.put("select ");
        match distinct {
            None | Some(ast::Distinct::All) => {}
            Some(ast::Distinct::Distinct) => self.put("distinct "),
            Some(ast::Distinct::On(_)) => return refuse("DISTINCT ON"),
        }
        if let Some(modifiers) = select_modifiers {
            let ast::SelectModifiers {
                high_priority,
                straight_join,
                sql_small_result,
                sql_big_result,
                sql_buffer_result,
                sql_no_cache: _,
                sql_calc_found_rows,
            } = modifiers;
            let words = [
                (*high_priority, "high_priority "),
                (*straight_join, "straight_join "),
                (*sql_small_result, "sql_small_result "),
                (*sql_big_result, "sql_big_result "),
                (*sql_buffer_result, "sql_buffer_result "),
                (*sql_calc_found_rows, "sql_calc_found_rows "),
            ];
            words.iter().filter(|w| w.0).for_each(|w| self.put(w.1));
        }
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
        match group_by {
            ast::GroupByExpr::Expressions(list, modifiers) => {
                if !list.is_empty() {
                    self.put(" group by ");
                    self.exprs(list)?;
                }
                match &modifiers[..] {
                    [] => {}
                    [ast::GroupByWithModifier::Rollup] => self.put(" with rollup"),
                    [other, ..] => return refuse(other),
                }
            }
            ast::GroupByExpr::All(_) => return refuse("GROUP BY ALL"),
        }
        if let Some(condition) = having {
            self.put(" having ");
            self.expr(condition)?;
        }
        if !named_window.is_empty() {
            self.put(" window ");
            self.list(named_window, |p, ast::NamedWindowDefinition(name, window)| {
                p.put(&quoted(&name.value));
                p.put(" as ");
                match window {
                    ast::NamedWindowExpr::NamedWindow(other) => p.put(&quoted(&other.value)),
                    ast::NamedWindowExpr::WindowSpec(spec) => p.window(spec)?,
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// An item of the select list. `number` is the number of the next column.
    fn item(&mut self, item: &ast::SelectItem, items: Option<&[String]>, number: &mut usize) -> Done {
        let mut named = |p: &mut Self, name: &str| {
            let name = items.and_then(|items| items.get(*number)).map_or(name, String::as_str);
            *number += 1;
            let _ = write!(p.out, " AS {}", quoted(name));
        };
        let star = match item {
            ast::SelectItem::UnnamedExpr(e) => {
                self.expr(e)?;
                if let Some(name) = own_name(e) {
                    named(self, &name);
                } else {
                    *number += 1;
                }
                return Ok(());
            }
            ast::SelectItem::ExprWithAlias { expr, alias } => {
                self.expr(expr)?;
                named(self, &alias.value);
                return Ok(());
            }
            ast::SelectItem::Wildcard(options) => self.names.star(options.wildcard_token.0.span),
            ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                idents(name)?.first().and_then(|first| self.names.star(first.span))
            }
            other => return refuse(other),
        };
        let Some(columns) = star else { return refuse(item) };
        self.list(&columns, |p, (parts, name)| {
            p.whole_column(parts);
            named(p, name);
            Ok(())
        })
    }

    fn key(&mut self, key: &ast::OrderByExpr) -> Done {
        let ast::OrderByExpr { expr, options: ast::OrderByOptions { sort, nulls_first: None }, with_fill: None } = key
        else {
            return refuse(key);
        };
        self.expr(expr)?;
        match sort {
            None | Some(ast::OrderBySort::Asc) => Ok(()),
            Some(ast::OrderBySort::Desc) => {
                self.put(" desc");
                Ok(())
            }
            Some(_) => refuse(key),
        }
    }

    // ---- FROM ----

    fn from(&mut self, from: &[ast::TableWithJoins]) -> Done {
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
    fn joins(&mut self, tables: &ast::TableWithJoins) -> Done {
        use ast::JoinOperator as Op;
        let start = self.out.len();
        self.factor(&tables.relation)?;
        for join in &tables.joins {
            if join.global {
                return refuse("GLOBAL JOIN");
            }
            let (word, constraint) = match &join.join_operator {
                Op::Join(c) | Op::Inner(c) | Op::CrossJoin(c) => ("join", c),
                Op::StraightJoin(c) => ("straight_join", c),
                Op::Left(c) | Op::LeftOuter(c) => ("left join", c),
                Op::Right(c) | Op::RightOuter(c) => ("right join", c),
                other => return refuse(format!("{other:?}")),
            };
            // As in MySQL, a right join is a left join the other way round; not where columns come from both sides.
            if word == "right join" && matches!(constraint, ast::JoinConstraint::On(_)) {
                let left = self.out.split_off(start);
                self.put("(");
                self.factor(&join.relation)?;
                let _ = write!(self.out, " left join {left}");
            } else {
                self.out.insert(start, '(');
                let natural = if *constraint == ast::JoinConstraint::Natural { "natural " } else { "" };
                let _ = write!(self.out, " {natural}{word} ");
                self.factor(&join.relation)?;
            }
            match constraint {
                ast::JoinConstraint::On(condition) => {
                    self.put(" on(");
                    self.expr(condition)?;
                    self.put(")");
                }
                ast::JoinConstraint::Using(columns) => {
                    self.put(" using (");
                    self.list(columns, |p, name| {
                        let parts = idents(name)?;
                        p.path(&parts);
                        Ok(())
                    })?;
                    self.put(")");
                }
                ast::JoinConstraint::Natural | ast::JoinConstraint::None => {}
            }
            self.put(")");
        }
        Ok(())
    }

    fn factor(&mut self, factor: &ast::TableFactor) -> Done {
        match factor {
            ast::TableFactor::Table {
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
            } if with_hints.is_empty() && partitions.is_empty() => {
                let parts = idents(name)?;
                match parts.first().and_then(|first| self.names.database(first.span)) {
                    Some(database) if parts.len() == 1 => {
                        self.table(&[database, parts[0].value.clone()]);
                    }
                    _ => {
                        let parts: Vec<String> = parts.iter().map(|part| part.value.clone()).collect();
                        self.table(&parts);
                    }
                }
                if let Some(alias) = alias {
                    self.put(" ");
                    self.alias(alias)?;
                }
                for hint in index_hints {
                    let ast::TableIndexHints { hint_type, index_type: _, for_clause, index_names } = hint;
                    self.put(match hint_type {
                        ast::TableIndexHintType::Use => " use index",
                        ast::TableIndexHintType::Ignore => " ignore index",
                        ast::TableIndexHintType::Force => " force index",
                    });
                    self.put(match for_clause {
                        None => " (",
                        Some(ast::TableIndexHintForClause::Join) => " for join (",
                        Some(ast::TableIndexHintForClause::OrderBy) => " for order by (",
                        Some(ast::TableIndexHintForClause::GroupBy) => " for group by (",
                    });
                    self.list(index_names, |p, name| {
                        p.put(&quoted(&name.value));
                        Ok(())
                    })?;
                    self.put(")");
                }
                Ok(())
            }
            ast::TableFactor::Derived { lateral, subquery, alias: Some(alias), sample: None } => {
                if *lateral {
                    self.put("lateral ");
                }
                self.parenthesized(|p| p.query(subquery))?;
                self.put(" ");
                self.alias(alias)
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => match &table_with_joins.joins[..] {
                [] => self.factor(&table_with_joins.relation),
                _ => self.joins(table_with_joins),
            },
            other => refuse(other),
        }
    }

    fn alias(&mut self, alias: &ast::TableAlias) -> Done {
        let ast::TableAlias { explicit: _, name, columns, at: None } = alias else { return refuse(alias) };
        self.put(&quoted(&name.value));
        if !columns.is_empty() {
            self.put(" ");
            self.parenthesized(|p| {
                p.list(columns, |p, column| {
                    p.put(&quoted(&column.name.value));
                    Ok(())
                })
            })?;
        }
        Ok(())
    }

    /// `[db.]table`.
    fn table(&mut self, parts: &[String]) {
        let hidden = parts.len() == 2 && self.hidden.is_some_and(|h| parts[0].eq_ignore_ascii_case(h));
        let text: Vec<String> = parts[usize::from(hidden)..].iter().map(|part| quoted(part)).collect();
        self.put(&text.join("."));
    }

    fn path(&mut self, parts: &[&Ident]) {
        let text: Vec<String> = parts.iter().map(|part| quoted(&part.value)).collect();
        self.put(&text.join("."));
    }

    // ---- Expressions ----

    fn expr(&mut self, e: &Expr) -> Done {
        match e {
            Expr::Nested(inner) => self.expr(inner),
            Expr::Value(v) => self.value(&v.value),
            Expr::Identifier(name) => self.column(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(parts) => self.column(parts),
            Expr::IsNull(a) | Expr::IsUnknown(a) => self.postfix(a, "is null"),
            Expr::IsNotNull(a) | Expr::IsNotUnknown(a) => self.postfix(a, "is not null"),
            Expr::IsTrue(a) => self.postfix(a, "is true"),
            Expr::IsNotTrue(a) => self.postfix(a, "is not true"),
            Expr::IsFalse(a) => self.postfix(a, "is false"),
            Expr::IsNotFalse(a) => self.postfix(a, "is not false"),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
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
            Expr::Like { negated, any: false, expr, pattern, escape_char } => self.negated(*negated, |p| {
                p.expr(expr)?;
                p.put(" like ");
                p.expr(pattern)?;
                if let Some(escape) = escape_char {
                    p.put(" escape ");
                    p.expr(escape)?;
                }
                Ok(())
            }),
            Expr::RLike { negated, expr, pattern, regexp: _ } => self.negated(*negated, |p| {
                p.expr(expr)?;
                p.put(" regexp ");
                p.expr(pattern)
            }),
            Expr::Case { case_token: _, end_token: _, operand, conditions, else_result } => self.parenthesized(|p| {
                p.put("case");
                if let Some(operand) = operand {
                    p.put(" ");
                    p.expr(operand)?;
                }
                for ast::CaseWhen { condition, result } in conditions {
                    p.put(" when ");
                    p.expr(condition)?;
                    p.put(" then ");
                    p.expr(result)?;
                }
                if let Some(e) = else_result {
                    p.put(" else ");
                    p.expr(e)?;
                }
                p.put(" end");
                Ok(())
            }),
            Expr::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None } => self.cast(expr, data_type),
            Expr::Convert {
                is_try: false,
                expr,
                data_type: Some(ty),
                charset: None,
                target_before_value: _,
                styles,
            } if styles.is_empty() => self.cast(expr, ty),
            Expr::Convert {
                is_try: false,
                expr,
                data_type: None,
                charset: Some(charset),
                target_before_value: _,
                styles,
            } if styles.is_empty() => {
                self.put("convert(");
                self.expr(expr)?;
                let _ = write!(self.out, " using {})", charset.to_string().trim_matches('`'));
                Ok(())
            }
            Expr::Collate { expr, collation } => self.parenthesized(|p| {
                p.expr(expr)?;
                let _ = write!(p.out, " collate {}", collation.to_string().trim_matches('`'));
                Ok(())
            }),
            Expr::TypedString(ast::TypedString { data_type, value, uses_odbc_syntax: _ }) => {
                let _ = write!(self.out, "{data_type}");
                self.value(&value.value)
            }
            Expr::Extract { field, syntax: _, expr } => {
                let _ = write!(self.out, "extract({} from ", field.to_string().to_lowercase());
                self.expr(expr)?;
                self.put(")");
                Ok(())
            }
            Expr::Position { expr, r#in } => self.call("locate", &[expr, r#in]),
            Expr::Substring { expr, substring_from, substring_for, special: _, shorthand: _ } => {
                self.put("substr(");
                self.expr(expr)?;
                self.put(",");
                match substring_from {
                    Some(from) => self.expr(from)?,
                    None => self.put("1"),
                }
                if let Some(length) = substring_for {
                    self.put(",");
                    self.expr(length)?;
                }
                self.put(")");
                Ok(())
            }
            Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
                let side = match trim_where {
                    Some(ast::TrimWhereField::Leading) => "leading ",
                    Some(ast::TrimWhereField::Trailing) => "trailing ",
                    None | Some(ast::TrimWhereField::Both) => "both ",
                };
                match (trim_what, side) {
                    (None, "leading ") => return self.call("ltrim", &[expr]),
                    (None, "trailing ") => return self.call("rtrim", &[expr]),
                    (None, _) => return self.call("trim", &[expr]),
                    (Some(what), side) => {
                        let _ = write!(self.out, "trim({side}");
                        self.expr(what)?;
                        self.put(" from ");
                        self.expr(expr)?;
                        self.put(")");
                    }
                }
                Ok(())
            }
            Expr::Ceil { expr, field: WHOLE } => self.call("ceiling", &[expr]),
            Expr::Floor { expr, field: WHOLE } => self.call("floor", &[expr]),
            Expr::Interval(interval) => self.interval(interval),
            Expr::Function(f) => self.function(f),
            Expr::MemberOf(m) => self.parenthesized(|p| {
                p.expr(&m.value)?;
                p.put(" member of (");
                p.expr(&m.array)?;
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
            Expr::AnyOp { left, compare_op, right, is_some: _ } => self.parenthesized(|p| {
                p.expr(left)?;
                let _ = write!(p.out, " {compare_op} any ");
                p.expr(right)
            }),
            Expr::AllOp { left, compare_op, right } => self.parenthesized(|p| {
                p.expr(left)?;
                let _ = write!(p.out, " {compare_op} all ");
                p.expr(right)
            }),
            Expr::Tuple(items) => self.parenthesized(|p| p.exprs(items)),
            other => refuse(other),
        }
    }

    fn column(&mut self, parts: &[Ident]) -> Done {
        let [first, ..] = parts else { return Ok(()) };
        if first.quote_style.is_none() && first.value.starts_with('@') {
            return Err(SqlError::ViewSelectVariable);
        }
        match self.names.column(first.span) {
            Some(whole) => self.whole_column(&whole),
            None => self.whole_column(&parts.iter().map(|part| part.value.clone()).collect::<Vec<_>>()),
        }
        Ok(())
    }

    /// `[db.][table.]column`.
    fn whole_column(&mut self, parts: &[String]) {
        let hidden = parts.len() == 3 && self.hidden.is_some_and(|h| parts[0].eq_ignore_ascii_case(h));
        let text: Vec<String> = parts[usize::from(hidden)..].iter().map(|part| quoted(part)).collect();
        self.put(&text.join("."));
    }

    fn value(&mut self, value: &Value) -> Done {
        match value {
            Value::Number(text, _) => self.put(text),
            Value::SingleQuotedString(s) | Value::DoubleQuotedString(s) | Value::NationalStringLiteral(s) => {
                self.put(&literal(s));
            }
            Value::Boolean(b) => self.put(if *b { "true" } else { "false" }),
            Value::Null => self.put("NULL"),
            Value::TripleSingleQuotedByteStringLiteral(hex) => {
                let bytes = sql_base::unhex(hex).unwrap_or_default();
                match std::str::from_utf8(&bytes) {
                    Ok(text) => {
                        self.put("_binary");
                        self.put(&literal(text));
                    }
                    Err(_) => {
                        let _ = write!(self.out, "cast(0x{hex} as binary)");
                    }
                }
            }
            Value::HexStringLiteral(hex) if hex.is_empty() => self.put("x''"),
            Value::HexStringLiteral(hex) => {
                let _ = write!(self.out, "0x{hex}");
            }
            Value::SingleQuotedByteStringLiteral(bits) => {
                let _ = write!(self.out, "b'{bits}'");
            }
            Value::Placeholder(_) => return Err(SqlError::ViewSelectVariable),
            other => return refuse(other),
        }
        Ok(())
    }

    fn postfix(&mut self, e: &Expr, text: &str) -> Done {
        self.parenthesized(|p| {
            p.expr(e)?;
            let _ = write!(p.out, " {text}");
            Ok(())
        })
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

    fn cast(&mut self, e: &Expr, ty: &ast::DataType) -> Done {
        self.put("cast(");
        self.expr(e)?;
        let _ = write!(self.out, " as {})", ty.to_string().to_lowercase());
        Ok(())
    }

    fn unary(&mut self, op: ast::UnaryOperator, e: &Expr) -> Done {
        use ast::UnaryOperator as U;
        match op {
            U::Plus => self.expr(e),
            // The least number is no number without its sign.
            U::Minus if matches!(e, Expr::Value(v) if matches!(v.value, Value::Number(..))) => {
                self.put("-");
                self.expr(e)
            }
            U::Minus => {
                self.put("-");
                self.parenthesized(|p| p.expr(e))
            }
            U::BitwiseNot => {
                self.put("~");
                self.parenthesized(|p| p.expr(e))
            }
            U::Not | U::BangNot => {
                self.put("(not(");
                self.expr(e)?;
                self.put("))");
                Ok(())
            }
            other => refuse(other),
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Done {
        use BinaryOperator as B;
        if matches!(op, B::And | B::Or) {
            let mut operands = Vec::new();
            chain(op, left, right, &mut operands);
            let word = if *op == B::And { " and " } else { " or " };
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
        let word = match op {
            B::Eq => "=",
            B::NotEq => "<>",
            B::Lt => "<",
            B::LtEq => "<=",
            B::Gt => ">",
            B::GtEq => ">=",
            B::Spaceship => "<=>",
            B::Plus => "+",
            B::Minus => "-",
            B::Multiply => "*",
            B::Divide => "/",
            B::Modulo => "%",
            B::MyIntegerDivide | B::DuckIntegerDivide => "DIV",
            B::Xor => "xor",
            B::BitwiseOr => "|",
            B::BitwiseAnd => "&",
            B::BitwiseXor | B::PGBitwiseXor => "^",
            B::PGBitwiseShiftLeft => "<<",
            B::PGBitwiseShiftRight => ">>",
            B::Regexp => "regexp",
            // The token exists only under PIPES_AS_CONCAT.
            B::StringConcat => return self.call("concat", &[left, right]),
            B::Arrow => return self.call("json_extract", &[left, right]),
            B::LongArrow => {
                self.put("json_unquote(");
                self.call("json_extract", &[left, right])?;
                self.put(")");
                return Ok(());
            }
            other => return refuse(other),
        };
        self.parenthesized(|p| {
            p.expr(left)?;
            let _ = write!(p.out, " {word} ");
            p.expr(right)
        })
    }

    fn interval(&mut self, interval: &ast::Interval) -> Done {
        let ast::Interval {
            value,
            leading_field,
            leading_precision: None,
            last_field,
            fractional_seconds_precision: None,
        } = interval
        else {
            return refuse(interval);
        };
        self.put("interval ");
        self.expr(value)?;
        match (leading_field, last_field) {
            (Some(unit), None) => {
                let _ = write!(self.out, " {}", unit.to_string().to_lowercase());
            }
            (Some(a), Some(b)) => {
                let _ = write!(self.out, " {}_{}", a.to_string().to_lowercase(), b.to_string().to_lowercase());
            }
            _ => return refuse(interval),
        }
        Ok(())
    }

    fn function(&mut self, f: &ast::Function) -> Done {
        let ast::Function {
            name,
            uses_odbc_syntax: _,
            parameters: ast::FunctionArguments::None,
            args,
            within_group,
            filter: None,
            null_treatment,
            over,
        } = f
        else {
            return refuse(f);
        };
        let [name] = &idents(name)?[..] else { return refuse(f) };
        if !within_group.is_empty() {
            return refuse(f);
        }
        let name = name.value.to_lowercase();
        let none = ast::FunctionArgumentList { duplicate_treatment: None, args: Vec::new(), clauses: Vec::new() };
        let list = match args {
            ast::FunctionArguments::None => &none,
            ast::FunctionArguments::List(list) => list,
            ast::FunctionArguments::Subquery(query) => {
                self.put(&name);
                return self.parenthesized(|p| p.parenthesized(|p| p.query(query)));
            }
        };
        let ast::FunctionArgumentList { duplicate_treatment, args, clauses } = list;
        if let [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(date)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Interval(i))),
        ] = &args[..]
            && let Some((_, operator)) = ARITHMETIC.iter().find(|(call, _)| *call == name)
        {
            return self.parenthesized(|p| {
                p.expr(date)?;
                let _ = write!(p.out, " {operator} ");
                p.interval(i)
            });
        }
        self.put(&name);
        self.put("(");
        match duplicate_treatment {
            None | Some(ast::DuplicateTreatment::All) => {}
            Some(ast::DuplicateTreatment::Distinct) => self.put("distinct "),
        }
        let takes_word = TAKE_WORDS.contains(&name.as_str());
        let mut first = true;
        self.list(args, |p, arg| {
            let is_first = std::mem::take(&mut first);
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(word))) if takes_word && is_first => {
                    p.put(&word.value);
                    Ok(())
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => p.expr(e),
                // Which counts rows as any constant does.
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "count" => {
                    p.put("0");
                    Ok(())
                }
                other => refuse(other),
            }
        })?;
        let mut separator = (name == "group_concat").then(|| ",".to_owned());
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => {
                    self.put(" order by ");
                    self.list(keys, Self::key)?;
                }
                ast::FunctionArgumentClause::Separator(s) => match &s.value {
                    Value::SingleQuotedString(s) | Value::DoubleQuotedString(s) => separator = Some(s.clone()),
                    other => return refuse(other),
                },
                other => return refuse(other),
            }
        }
        if let Some(separator) = separator {
            let _ = write!(self.out, " separator {}", literal(&separator));
        }
        self.put(")");
        match null_treatment {
            None => {}
            Some(ast::NullTreatment::RespectNulls) => self.put(" respect nulls"),
            Some(ast::NullTreatment::IgnoreNulls) => self.put(" ignore nulls"),
        }
        match over {
            None => {}
            Some(ast::WindowType::NamedWindow(name)) => {
                let _ = write!(self.out, " over {}", quoted(&name.value));
            }
            Some(ast::WindowType::WindowSpec(spec)) => {
                self.put(" over ");
                self.window(spec)?;
            }
        }
        Ok(())
    }

    fn window(&mut self, spec: &ast::WindowSpec) -> Done {
        let ast::WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
        self.put("(");
        let mut gap = "";
        if let Some(name) = window_name {
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
        if let Some(ast::WindowFrame { units, start_bound, end_bound }) = window_frame {
            let _ = write!(self.out, "{gap}{} ", units.to_string().to_lowercase());
            match end_bound {
                None => self.bound(start_bound)?,
                Some(end) => {
                    self.put("between ");
                    self.bound(start_bound)?;
                    self.put(" and ");
                    self.bound(end)?;
                }
            }
        }
        self.put(")");
        Ok(())
    }

    fn bound(&mut self, bound: &ast::WindowFrameBound) -> Done {
        use ast::WindowFrameBound as B;
        match bound {
            B::CurrentRow => self.put("current row"),
            B::Preceding(None) => self.put("unbounded preceding"),
            B::Following(None) => self.put("unbounded following"),
            B::Preceding(Some(e)) => {
                self.expr(e)?;
                self.put(" preceding");
            }
            B::Following(Some(e)) => {
                self.expr(e)?;
                self.put(" following");
            }
        }
        Ok(())
    }
}

/// `CEIL(x)`, and not to some digit or unit of time.
const WHOLE: ast::CeilFloorKind = ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime);

/// Operands of a chain of one operator, in order. A long chain is deep on its left.
fn chain<'a>(op: &BinaryOperator, left: &'a Expr, right: &'a Expr, out: &mut Vec<&'a Expr>) {
    let same = |e: &'a Expr| {
        let mut e = e;
        while let Expr::Nested(inner) = e {
            e = inner;
        }
        match e {
            Expr::BinaryOp { left, op: other, right } if other == op => Some((&**left, &**right)),
            _ => None,
        }
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
    Factor(&'a ast::TableFactor),
    Joins(&'a ast::TableWithJoins),
}

fn flatten<'a>(tables: &'a ast::TableWithJoins, out: &mut Vec<Unit<'a>>) {
    if !tables.joins.iter().all(|join| on(join).is_some_and(|c| *c == ast::JoinConstraint::None)) {
        return out.push(Unit::Joins(tables));
    }
    for factor in std::iter::once(&tables.relation).chain(tables.joins.iter().map(|join| &join.relation)) {
        match factor {
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => flatten(table_with_joins, out),
            factor => out.push(Unit::Factor(factor)),
        }
    }
}

/// The condition of an inner join.
fn on(join: &ast::Join) -> Option<&ast::JoinConstraint> {
    match &join.join_operator {
        ast::JoinOperator::Join(c) | ast::JoinOperator::Inner(c) | ast::JoinOperator::CrossJoin(c) if !join.global => {
            Some(c)
        }
        _ => None,
    }
}

fn idents(name: &ast::ObjectName) -> Result<Vec<&Ident>, SqlError> {
    name.0
        .iter()
        .map(|part| match part {
            ast::ObjectNamePart::Identifier(ident) => Ok(ident),
            other => refuse(other),
        })
        .collect()
}

/// The name of an item that was given none: the column's, or the text of a string.
fn own_name(e: &Expr) -> Option<String> {
    match e {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()),
        Expr::Nested(inner) => own_name(inner),
        Expr::Value(v) => match &v.value {
            Value::SingleQuotedString(s) => Some(s.clone()),
            Value::Null => Some("NULL".to_owned()),
            _ => None,
        },
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
