//! Queries and data changes: `sqlparser`'s grammar, with MySQL's modifiers around it.

use sql_base::SqlError;
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, LockClause, LockType, MysqlInsertPriority, NonBlock, Query, SqliteOnConflict,
    Statement as Tree, With,
};
use sqlparser::tokenizer::Token;

use super::{Parsed, Statement, StatementParser, Stop};

impl StatementParser<'_> {
    pub(super) fn query_statement(&mut self) -> Parsed<Statement> {
        if self.is("WITH") && self.with_of_change() {
            return self.change_with();
        }
        Ok(Statement::Query(self.query()?))
    }

    /// Whether the first verb outside of parentheses, after `WITH`, is not a query's.
    fn with_of_change(&self) -> bool {
        let (mut depth, mut n) = (0, 1);
        loop {
            match self.peek_nth(n) {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return false,
                _ if depth == 0 && (self.is_nth(n, "UPDATE") || self.is_nth(n, "DELETE")) => return true,
                _ if depth == 0 && (self.is_nth(n, "SELECT") || self.is_nth(n, "VALUES")) => return false,
                _ => {}
            }
            n += 1;
        }
    }

    /// `WITH … UPDATE`, `WITH … DELETE`.
    fn change_with(&mut self) -> Parsed<Statement> {
        self.expect("WITH")?;
        let recursive = self.eat("RECURSIVE");
        let cte_tables = self.comma_separated(|s| Ok(s.p.parse_cte()?))?;
        let named = Some(Box::new(With { with_token: AttachedToken::empty(), recursive, cte_tables }));
        let mut statement = match self.eat_any(&["UPDATE", "DELETE"]) {
            Some("UPDATE") => self.update()?,
            Some(_) => self.delete()?,
            None => return self.unexpected(),
        };
        if let Statement::Update { with, .. } | Statement::Delete { with, .. } = &mut statement {
            *with = named;
        }
        Ok(statement)
    }

    pub(super) fn query(&mut self) -> Parsed<Box<Query>> {
        self.refuse_select_into()?;
        let mut query = self.p.parse_query()?;
        self.more_locks(&mut query.locks)?;
        if self.eat("LOCK IN SHARE MODE") {
            query.locks.push(LockClause { lock_type: LockType::Share, of: None, nonblock: None });
        }
        Ok(query)
    }

    /// What the grammar leaves of `FOR UPDATE OF a, b NOWAIT FOR SHARE OF c`, because its clause has one table: each
    /// table becomes a clause of its own.
    fn more_locks(&mut self, locks: &mut Vec<LockClause>) -> Parsed<()> {
        while let Some(last) = locks.last_mut()
            && last.of.is_some()
        {
            let lock_type = last.lock_type;
            if last.nonblock.is_none() && self.p.consume_token(&Token::Comma) {
                let of = Some(self.p.parse_object_name(false)?);
                let nonblock = if self.eat("NOWAIT") {
                    Some(NonBlock::Nowait)
                } else if self.eat("SKIP LOCKED") {
                    Some(NonBlock::SkipLocked)
                } else {
                    None
                };
                locks.push(LockClause { lock_type, of, nonblock });
            } else if self.eat("FOR") {
                locks.push(self.p.parse_lock()?);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// `SELECT … INTO OUTFILE 'f'`, `INTO DUMPFILE`, `INTO @a`: named before the grammar takes it for something else.
    fn refuse_select_into(&self) -> Parsed<()> {
        let mut n = 0;
        while *self.peek_nth(n) != Token::EOF {
            if self.is_nth(n, "INTO") {
                if self.is_nth(n + 1, "OUTFILE") || self.is_nth(n + 1, "DUMPFILE") {
                    return self.unsupported("SELECT … INTO OUTFILE");
                }
                if matches!(self.peek_nth(n + 1), Token::Word(w) if w.quote_style.is_none() && w.value.starts_with('@'))
                {
                    return self.unsupported("SELECT … INTO @variable");
                }
            }
            n += 1;
        }
        Ok(())
    }

    /// After `INSERT` or `REPLACE`.
    pub(super) fn insert(&mut self, replace: bool) -> Parsed<Statement> {
        let token = self.p.get_current_token().clone();
        let tree = if replace { self.p.parse_replace(token)? } else { self.p.parse_insert(token)? };
        match tree {
            Tree::Insert(insert) => {
                let foreign = insert.or.is_some() || insert.has_table_keyword || insert.output.is_some();
                if foreign || insert.table_alias.is_some() || insert.settings.is_some() {
                    return self.unsupported("this form of INSERT");
                }
                if insert.priority == Some(MysqlInsertPriority::Delayed) {
                    let (old, new) =
                        if replace { ("REPLACE DELAYED", "REPLACE") } else { ("INSERT DELAYED", "INSERT") };
                    self.warnings.push(SqlError::SyntaxConverted { old, new });
                }
                Ok(Statement::Insert(Box::new(insert)))
            }
            _ => self.unsupported("this form of INSERT"),
        }
    }

    /// After `UPDATE`. `IGNORE` is kept in `or`.
    pub(super) fn update(&mut self) -> Parsed<Statement> {
        let token = self.p.get_current_token().clone();
        self.eat("LOW_PRIORITY");
        let ignore = self.eat("IGNORE");
        let comma_list = self.update_has_comma_list();
        if comma_list {
            return self.update_of_list(ignore);
        }
        match self.p.parse_update(token)? {
            Tree::Update(mut update) => {
                if update.or.is_some() || update.output.is_some() {
                    return self.unsupported("this form of UPDATE");
                }
                if ignore {
                    update.or = Some(SqliteOnConflict::Ignore);
                }
                Ok(Statement::Update { with: None, update: Box::new(update) })
            }
            _ => self.unexpected(),
        }
    }

    /// Is there a comma between the tables and `SET`?
    fn update_has_comma_list(&self) -> bool {
        let (mut depth, mut n) = (0i32, 0);
        loop {
            match self.peek_nth(n) {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 => return true,
                Token::EOF => return false,
                _ if depth == 0 && self.is_nth(n, "SET") => return false,
                _ => {}
            }
            n += 1;
        }
    }

    /// `UPDATE t1, t2 SET …`: a comma is an inner join without condition.
    fn update_of_list(&mut self, ignore: bool) -> Parsed<Statement> {
        let mut tables = self.comma_separated(|s| Ok(s.p.parse_table_and_joins()?))?.into_iter();
        let Some(mut table) = tables.next() else { return self.unexpected() };
        for other in tables {
            table.joins.push(Join {
                relation: other.relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            });
            table.joins.extend(other.joins);
        }
        self.expect("SET")?;
        let assignments = self.comma_separated(|s| Ok(s.p.parse_assignment()?))?;
        let selection = if self.eat("WHERE") { Some(self.expr()?) } else { None };
        let update = sqlparser::ast::Update {
            update_token: AttachedToken::empty(),
            optimizer_hints: Vec::new(),
            table,
            assignments,
            from: None,
            selection,
            returning: None,
            output: None,
            or: ignore.then_some(SqliteOnConflict::Ignore),
            order_by: Vec::new(),
            limit: None,
        };
        Ok(Statement::Update { with: None, update: Box::new(update) })
    }

    /// After `DELETE`.
    pub(super) fn delete(&mut self) -> Parsed<Statement> {
        let token = self.p.get_current_token().clone();
        self.eat("LOW_PRIORITY");
        self.eat("QUICK");
        let ignore = self.eat("IGNORE");
        match self.p.parse_delete(token).map_err(Stop::from)? {
            Tree::Delete(delete) if delete.output.is_some() => self.unsupported("this form of DELETE"),
            Tree::Delete(delete) => Ok(Statement::Delete { with: None, delete: Box::new(delete), ignore }),
            _ => self.unexpected(),
        }
    }
}
