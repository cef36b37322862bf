//! Queries: read, and from `sqlparser`'s trees to ours.

use sql_base::SqlError;
use sqlparser::ast as tree;

use super::{Grammar, Lowered, Lowering, Parsed, Token, ident, idents, name, place, refuse};
use crate::ast::{
    Cte, Hint, IndexHint, IndexHintFor, IndexHintKind, Join, JoinConstraint, JoinKind, Limit, Lock, LockWait,
    NamedWindow, Query, Select, SelectItem, SelectModifiers, SetExpr, SetOperator, TableAlias, TableFactor,
    TableWithJoins, With,
};

impl Grammar<'_> {
    /// A query with all that is around it.
    pub(crate) fn query(&mut self) -> Parsed<Box<Query>> {
        let mut query = self.p.parse_query()?;
        self.more_locks(&mut query.locks)?;
        if self.eat("LOCK IN SHARE MODE") {
            query.locks.push(tree::LockClause { lock_type: tree::LockType::Share, of: None, nonblock: None });
        }
        Ok(Lowering::default().query(query)?)
    }

    /// What the grammar leaves of `FOR UPDATE OF a, b NOWAIT FOR SHARE OF c`, because its clause has one table: each
    /// table becomes a clause of its own.
    fn more_locks(&mut self, locks: &mut Vec<tree::LockClause>) -> Parsed<()> {
        while let Some(last) = locks.last_mut()
            && last.of.is_some()
        {
            let lock_type = last.lock_type;
            if last.nonblock.is_none() && self.consume_token(&Token::Comma) {
                let of = Some(self.p.parse_object_name(false)?);
                let nonblock = if self.eat("NOWAIT") {
                    Some(tree::NonBlock::Nowait)
                } else if self.eat("SKIP LOCKED") {
                    Some(tree::NonBlock::SkipLocked)
                } else {
                    None
                };
                locks.push(tree::LockClause { lock_type, of, nonblock });
            } else if self.eat("FOR") {
                locks.push(self.p.parse_lock()?);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// `name [(column, …)] AS (query)`.
    pub(crate) fn cte(&mut self) -> Parsed<Cte> {
        let cte = self.p.parse_cte()?;
        Ok(Lowering::default().cte(cte)?)
    }

    /// A table of FROM, with its joins.
    pub(crate) fn table_with_joins(&mut self) -> Parsed<TableWithJoins> {
        let tables = self.p.parse_table_and_joins()?;
        Ok(Lowering::default().tables(tables)?)
    }
}

impl Lowering {
    pub(super) fn query(&mut self, query: Box<tree::Query>) -> Lowered<Box<Query>> {
        self.deeper(|l| l.query_here(*query)).map(Box::new)
    }

    fn query_here(&mut self, query: tree::Query) -> Lowered<Query> {
        let tree::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch: None,
            locks,
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators,
        } = query
        else {
            return refuse("this query clause");
        };
        if !pipe_operators.is_empty() {
            return refuse("this query clause");
        }
        let with = with.map(|with| self.with(with)).transpose()?;
        let body = self.body(*body)?;
        let order_by = match order_by {
            None => Vec::new(),
            Some(tree::OrderBy { kind: tree::OrderByKind::Expressions(list), interpolate: None }) => {
                self.order_by(list)?
            }
            Some(_) => return refuse("ORDER BY ALL"),
        };
        let limit = self.limit(limit_clause)?;
        let locks = locks.into_iter().map(lock).collect::<Lowered<_>>()?;
        Ok(Query { with, body, order_by, limit, locks })
    }

    fn limit(&mut self, clause: Option<tree::LimitClause>) -> Lowered<Option<Limit>> {
        let (count, offset) = match clause {
            None => return Ok(None),
            Some(tree::LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty() => return refuse("LIMIT BY"),
            Some(tree::LimitClause::LimitOffset { limit: None, offset: None, .. }) => return Ok(None),
            Some(tree::LimitClause::LimitOffset { limit: None, .. }) => return refuse("OFFSET without LIMIT"),
            Some(tree::LimitClause::LimitOffset { limit: Some(limit), offset, .. }) => (limit, offset.map(|o| o.value)),
            Some(tree::LimitClause::OffsetCommaLimit { offset, limit }) => (limit, Some(offset)),
        };
        Ok(Some(Limit { count: self.expr(count)?, offset: offset.map(|e| self.expr(e)).transpose()? }))
    }

    pub(super) fn with(&mut self, with: tree::With) -> Lowered<With> {
        let ctes = with.cte_tables.into_iter().map(|cte| self.cte(cte)).collect::<Lowered<_>>()?;
        Ok(With { recursive: with.recursive, ctes })
    }

    fn cte(&mut self, cte: tree::Cte) -> Lowered<Cte> {
        let tree::Cte { alias, query, from: None, materialized: None, closing_paren_token: _ } = cte else {
            return refuse("this WITH");
        };
        Ok(Cte { alias: table_alias(alias)?, query: self.query(query)? })
    }

    /// Set operations in a row are deep on their left, without as deep a recursion.
    fn body(&mut self, body: tree::SetExpr) -> Lowered<SetExpr> {
        let mut rights = Vec::new();
        let mut first = body;
        while let tree::SetExpr::SetOperation { left, op, set_quantifier, right } = first {
            rights.push((op, set_quantifier, right));
            first = *left;
        }
        let mut whole = match first {
            tree::SetExpr::Select(select) => SetExpr::Select(Box::new(self.select(*select)?)),
            tree::SetExpr::Query(query) => SetExpr::Query(self.query(query)?),
            tree::SetExpr::Values(values) => {
                SetExpr::Values(values.rows.into_iter().map(|row| self.exprs(row.content)).collect::<Lowered<_>>()?)
            }
            other => return refuse(other),
        };
        while let Some((op, quantifier, right)) = rights.pop() {
            let all = match quantifier {
                tree::SetQuantifier::All => true,
                tree::SetQuantifier::None | tree::SetQuantifier::Distinct => false,
                other => return refuse(other),
            };
            let op = match op {
                tree::SetOperator::Union => SetOperator::Union,
                tree::SetOperator::Intersect => SetOperator::Intersect,
                tree::SetOperator::Except => SetOperator::Except,
                tree::SetOperator::Minus => return refuse("MINUS"),
            };
            let right = Box::new(self.deeper(|l| l.body(*right))?);
            whole = SetExpr::SetOperation { op, all, left: Box::new(whole), right };
        }
        Ok(whole)
    }

    fn select(&mut self, select: tree::Select) -> Lowered<Select> {
        check_clauses(&select)?;
        let distinct = match select.distinct {
            None | Some(tree::Distinct::All) => false,
            Some(tree::Distinct::Distinct) => true,
            Some(tree::Distinct::On(_)) => return refuse("DISTINCT ON"),
        };
        let modifiers = select.select_modifiers.map(|said| SelectModifiers {
            high_priority: said.high_priority,
            straight_join: said.straight_join,
            small_result: said.sql_small_result,
            big_result: said.sql_big_result,
            buffer_result: said.sql_buffer_result,
            no_cache: said.sql_no_cache,
        });
        let projection = select.projection.into_iter().map(|item| self.item(item)).collect::<Lowered<_>>()?;
        let from = select.from.into_iter().map(|tables| self.tables(tables)).collect::<Lowered<_>>()?;
        let selection = select.selection.map(|e| self.expr(e)).transpose()?;
        let (group_by, rollup) = match select.group_by {
            tree::GroupByExpr::Expressions(list, modifiers) => match &modifiers[..] {
                [] => (self.exprs(list)?, false),
                [tree::GroupByWithModifier::Rollup] => (self.exprs(list)?, true),
                [other, ..] => return refuse(other),
            },
            tree::GroupByExpr::All(_) => return refuse("GROUP BY ALL"),
        };
        let having = select.having.map(|e| self.expr(e)).transpose()?;
        let windows =
            select.named_window.into_iter().map(|window| self.named_window(window)).collect::<Lowered<_>>()?;
        Ok(Select {
            at: place(select.select_token.0.span),
            hints: select.optimizer_hints.into_iter().filter_map(hint).collect(),
            distinct,
            modifiers: modifiers.unwrap_or_default(),
            projection,
            from,
            selection,
            group_by,
            rollup,
            having,
            windows,
        })
    }

    fn item(&mut self, item: tree::SelectItem) -> Lowered<SelectItem> {
        match item {
            tree::SelectItem::UnnamedExpr(e) => Ok(SelectItem::Expr { expr: self.expr(e)?, alias: None }),
            tree::SelectItem::ExprWithAlias { expr, alias } => {
                Ok(SelectItem::Expr { expr: self.expr(expr)?, alias: Some(ident(alias)) })
            }
            tree::SelectItem::Wildcard(options) if options == Default::default() => {
                Ok(SelectItem::Star(place(options.wildcard_token.0.span)))
            }
            tree::SelectItem::QualifiedWildcard(tree::SelectItemQualifiedWildcardKind::ObjectName(table), options)
                if options == Default::default() =>
            {
                name(table).map(SelectItem::StarOf)
            }
            other => refuse(other),
        }
    }

    fn named_window(&mut self, definition: tree::NamedWindowDefinition) -> Lowered<NamedWindow> {
        let tree::NamedWindowDefinition(name, window) = definition;
        match window {
            tree::NamedWindowExpr::WindowSpec(spec) => {
                Ok(NamedWindow { name: ident(name), window: self.window(spec)? })
            }
            // MySQL wants parentheses.
            tree::NamedWindowExpr::NamedWindow(other) => Err(SqlError::Syntax { near: other.to_string(), line: 1 }),
        }
    }

    // ---- FROM ----

    pub(super) fn tables(&mut self, tables: tree::TableWithJoins) -> Lowered<TableWithJoins> {
        let relation = self.factor(tables.relation)?;
        let joins = tables.joins.into_iter().map(|join| self.join(join)).collect::<Lowered<_>>()?;
        Ok(TableWithJoins { relation, joins })
    }

    fn join(&mut self, join: tree::Join) -> Lowered<Join> {
        use tree::JoinOperator as Op;
        if join.global {
            return refuse("GLOBAL JOIN");
        }
        let (kind, constraint) = match join.join_operator {
            Op::Join(c) | Op::Inner(c) | Op::CrossJoin(c) => (JoinKind::Inner, c),
            Op::StraightJoin(c) => (JoinKind::Straight, c),
            Op::Left(c) | Op::LeftOuter(c) => (JoinKind::Left, c),
            Op::Right(c) | Op::RightOuter(c) => (JoinKind::Right, c),
            other => return refuse(format!("{other:?}").split('(').next().unwrap_or("JOIN").to_uppercase()),
        };
        let constraint = match constraint {
            tree::JoinConstraint::None => JoinConstraint::None,
            tree::JoinConstraint::Natural => JoinConstraint::Natural,
            tree::JoinConstraint::On(condition) => JoinConstraint::On(self.expr(condition)?),
            tree::JoinConstraint::Using(columns) => {
                let last = |column| Ok(name(column)?.0.pop());
                let columns = columns.into_iter().filter_map(|column| last(column).transpose());
                JoinConstraint::Using(columns.collect::<Lowered<_>>()?)
            }
        };
        Ok(Join { relation: self.factor(join.relation)?, kind, constraint })
    }

    fn factor(&mut self, factor: tree::TableFactor) -> Lowered<TableFactor> {
        match factor {
            tree::TableFactor::Table {
                name: table,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() => {
                let alias = match alias {
                    None => None,
                    Some(alias) if alias.columns.is_empty() && alias.at.is_none() => Some(ident(alias.name)),
                    Some(_) => return refuse("column aliases of a table"),
                };
                let index_hints = index_hints.into_iter().map(index_hint).collect();
                Ok(TableFactor::Table { name: name(table)?, partitions: idents(partitions), alias, index_hints })
            }
            tree::TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                let alias = table_alias(alias.ok_or(SqlError::DerivedNeedsAlias)?)?;
                Ok(TableFactor::Derived { lateral, subquery: self.query(subquery)?, alias })
            }
            tree::TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.deeper(|l| l.tables(*table_with_joins)).map(|tables| TableFactor::Nested(Box::new(tables)))
            }
            other => refuse(other),
        }
    }
}

/// Refuses what the grammar takes beside MySQL's clauses, and what is not done.
fn check_clauses(select: &tree::Select) -> Lowered<()> {
    let clauses = [
        (select.into.is_some(), "SELECT … INTO"),
        (select.select_modifiers.as_ref().is_some_and(|m| m.sql_calc_found_rows), "SQL_CALC_FOUND_ROWS"),
        (select.top.is_some(), "TOP"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
        (select.flavor != tree::SelectFlavor::Standard, "FROM before SELECT"),
    ];
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, name)) => refuse(*name),
        None => Ok(()),
    }
}

/// `NAME(argument)`, as the lexer made it.
fn hint(hint: tree::OptimizerHint) -> Option<Hint> {
    let (name, rest) = hint.text.split_once('(')?;
    Some(Hint { name: name.to_owned(), argument: rest.strip_suffix(')').unwrap_or(rest).to_owned() })
}

fn table_alias(alias: tree::TableAlias) -> Lowered<TableAlias> {
    if alias.at.is_some() || alias.columns.iter().any(|column| column.data_type.is_some()) {
        return refuse(alias);
    }
    let columns = idents(alias.columns.into_iter().map(|column| column.name).collect());
    Ok(TableAlias { name: ident(alias.name), columns })
}

fn index_hint(hint: tree::TableIndexHints) -> IndexHint {
    IndexHint {
        kind: match hint.hint_type {
            tree::TableIndexHintType::Use => IndexHintKind::Use,
            tree::TableIndexHintType::Force => IndexHintKind::Force,
            tree::TableIndexHintType::Ignore => IndexHintKind::Ignore,
        },
        purpose: hint.for_clause.map(|purpose| match purpose {
            tree::TableIndexHintForClause::Join => IndexHintFor::Join,
            tree::TableIndexHintForClause::OrderBy => IndexHintFor::OrderBy,
            tree::TableIndexHintForClause::GroupBy => IndexHintFor::GroupBy,
        }),
        indexes: idents(hint.index_names),
    }
}

fn lock(lock: tree::LockClause) -> Lowered<Lock> {
    Ok(Lock {
        share: matches!(lock.lock_type, tree::LockType::Share),
        of: lock.of.map(name).transpose()?,
        wait: match lock.nonblock {
            None => LockWait::Wait,
            Some(tree::NonBlock::Nowait) => LockWait::NoWait,
            Some(tree::NonBlock::SkipLocked) => LockWait::SkipLocked,
        },
    })
}
