//! Queries and data changes: MySQL's modifiers around what the grammar reads.

use sql_base::SqlError;

use super::ast::{Cte, Join, JoinConstraint, JoinKind, Query, Update, With};
use super::grammar::Token;
use super::{Parsed, Statement, StatementParser};

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
        let ctes: Vec<Cte> = self.comma_separated(|s| s.p.cte())?;
        let named = Some(With { recursive, ctes });
        let mut statement = match self.eat_any(&["UPDATE", "DELETE"]) {
            Some("UPDATE") => self.update()?,
            Some(_) => self.delete()?,
            None => return self.unexpected(),
        };
        match &mut statement {
            Statement::Update(update) => update.with = named,
            Statement::Delete(delete) => delete.with = named,
            _ => {}
        }
        Ok(statement)
    }

    pub(super) fn query(&mut self) -> Parsed<Box<Query>> {
        self.refuse_select_into()?;
        self.p.query()
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
        let (mut insert, delayed) = self.p.insert(replace)?;
        insert.partitions = std::mem::take(&mut self.insert_partitions);
        if delayed {
            let (old, new) = if replace { ("REPLACE DELAYED", "REPLACE") } else { ("INSERT DELAYED", "INSERT") };
            self.warnings.push(SqlError::SyntaxConverted { old, new });
        }
        Ok(Statement::Insert(Box::new(insert)))
    }

    /// After `UPDATE`.
    pub(super) fn update(&mut self) -> Parsed<Statement> {
        self.eat("LOW_PRIORITY");
        let ignore = self.eat("IGNORE");
        let update = if self.update_has_comma_list() { self.update_of_list()? } else { self.p.update()? };
        let hints = std::mem::take(&mut self.change_hints);
        Ok(Statement::Update(Box::new(Update { hints, ignore, ..update })))
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
    fn update_of_list(&mut self) -> Parsed<Update> {
        let mut tables = self.comma_separated(|s| s.p.table_with_joins())?.into_iter();
        let Some(mut table) = tables.next() else { return self.unexpected() };
        for other in tables {
            let (kind, constraint) = (JoinKind::Inner, JoinConstraint::None);
            table.joins.push(Join { relation: other.relation, kind, constraint });
            table.joins.extend(other.joins);
        }
        self.expect("SET")?;
        let assignments = self.comma_separated(|s| s.p.assignment())?;
        let selection = if self.eat("WHERE") { Some(self.expr()?) } else { None };
        let (order_by, limit) = (Vec::new(), None);
        let hints = Vec::new();
        Ok(Update { with: None, hints, ignore: false, table, assignments, selection, order_by, limit })
    }

    /// After `DELETE`.
    pub(super) fn delete(&mut self) -> Parsed<Statement> {
        self.eat("LOW_PRIORITY");
        self.eat("QUICK");
        let ignore = self.eat("IGNORE");
        let mut delete = self.p.delete()?;
        (delete.hints, delete.ignore) = (std::mem::take(&mut self.change_hints), ignore);
        Ok(Statement::Delete(Box::new(delete)))
    }
}
