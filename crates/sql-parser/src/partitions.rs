//! `PARTITION BY …`, and what `ALTER TABLE` says of partitions.

use crate::grammar::{Token, TokenWithSpan, is_word};

use super::{
    AlterAction, Ident, Parsed, PartitionBy, PartitionChange, PartitionDef, PartitionMethod, PartitionNames,
    PartitionValue, PartitionValues, Place, StatementParser, offset,
};

/// Takes `PARTITION (p, …)` after the table of an INSERT or REPLACE out of its tokens: the grammar knows another clause of
/// that name.
pub(super) fn take_of_insert(tokens: &mut Vec<TokenWithSpan>) -> Vec<Ident> {
    /// `EXPLAIN ANALYZE FORMAT = 'x' INSERT`.
    const BEFORE_MAX: usize = 6;
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| is_word(&token.token, word));
    let first = (0..tokens.len().min(BEFORE_MAX)).find(|at| is(*at, "INSERT") || is(*at, "REPLACE"));
    let Some(mut at) = first.map(|at| at + 1) else { return Vec::new() };
    while ["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"].iter().any(|word| is(at, word)) {
        at += 1;
    }
    at += 1;
    if tokens.get(at).is_some_and(|token| token.token == Token::Period) {
        at += 2;
    }
    if !is(at, "PARTITION") || tokens.get(at + 1).is_none_or(|token| token.token != Token::LParen) {
        return Vec::new();
    }
    let mut names = Vec::new();
    let mut end = at + 1;
    loop {
        let Some(TokenWithSpan { token: Token::Word(word), .. }) = tokens.get(end + 1) else { return Vec::new() };
        let place = Place(offset(&tokens[end + 1]));
        names.push(Ident { value: word.value.clone(), quoted: word.quote_style.is_some(), at: place });
        end += 2;
        match tokens.get(end).map(|token| &token.token) {
            Some(Token::Comma) => {}
            Some(Token::RParen) => break,
            _ => return Vec::new(),
        }
    }
    tokens.drain(at..=end);
    names
}

impl StatementParser<'_> {
    /// After `PARTITION BY`.
    pub(super) fn partition_by(&mut self) -> Parsed<PartitionBy> {
        let linear = self.eat("LINEAR");
        let method = if self.eat("HASH") {
            PartitionMethod::Hash(self.parenthesized(|s| s.expr())?)
        } else if self.eat("KEY") {
            if self.eat("ALGORITHM") {
                self.eat_token(&Token::Eq);
                self.unsigned()?;
                self.ignored("ALGORITHM");
            }
            PartitionMethod::Key(self.column_list(true)?)
        } else if linear {
            return self.unexpected();
        } else if self.eat("RANGE") {
            match self.eat_any(&["COLUMNS", "COLUMN"]) {
                Some(_) => PartitionMethod::RangeColumns(self.column_list(false)?),
                None => PartitionMethod::Range(self.parenthesized(|s| s.expr())?),
            }
        } else if self.eat("LIST") {
            match self.eat_any(&["COLUMNS", "COLUMN"]) {
                Some(_) => PartitionMethod::ListColumns(self.column_list(false)?),
                None => PartitionMethod::List(self.parenthesized(|s| s.expr())?),
            }
        } else if self.is("SYSTEM_TIME") {
            return self.unsupported("PARTITION BY SYSTEM_TIME");
        } else {
            return self.unexpected();
        };
        if self.is("INTERVAL") {
            return self.unsupported("PARTITION BY … INTERVAL");
        }
        let count = if self.eat("PARTITIONS") { Some(self.unsigned()?) } else { None };
        if self.eat("SUBPARTITION") {
            return self.unsupported("SUBPARTITION BY");
        }
        let definitions = match self.peek() {
            Token::LParen => self.partition_defs()?,
            _ => Vec::new(),
        };
        if self.is("UPDATE") {
            return self.unsupported("UPDATE INDEXES");
        }
        Ok(PartitionBy { method, linear, count, definitions })
    }

    fn column_list(&mut self, may_be_empty: bool) -> Parsed<Vec<String>> {
        self.parenthesized(|s| match may_be_empty && *s.peek() == Token::RParen {
            true => Ok(Vec::new()),
            false => s.comma_separated(|s| s.column_name()),
        })
    }

    /// `(PARTITION p …, …)`.
    fn partition_defs(&mut self) -> Parsed<Vec<PartitionDef>> {
        self.parenthesized(|s| s.comma_separated(|s| s.partition_def()))
    }

    fn partition_def(&mut self) -> Parsed<PartitionDef> {
        self.expect("PARTITION")?;
        let name = self.name()?;
        let mut values = PartitionValues::Unsaid;
        if self.eat("VALUES") {
            values = if self.eat("LESS THAN") {
                PartitionValues::LessThan(match self.eat("MAXVALUE") {
                    true => vec![PartitionValue::Max],
                    false => self.parenthesized(|s| s.comma_separated(|s| s.partition_value()))?,
                })
            } else {
                self.expect("IN")?;
                PartitionValues::In(self.parenthesized(|s| s.comma_separated(|s| s.partition_values()))?)
            };
        } else if self.eat("DEFAULT") {
            values = PartitionValues::In(vec![vec![PartitionValue::Default]]);
        }
        let mut def = PartitionDef { name, values, comment: None, placement: None };
        loop {
            if self.is_placement() {
                def.placement = Some(self.placement_policy_ref()?);
            } else if self.eat("COMMENT") {
                self.eat_token(&Token::Eq);
                def.comment = Some(self.string()?);
            } else if self.eat_any(&["STORAGE ENGINE", "ENGINE"]).is_some() {
                self.eat_token(&Token::Eq);
                self.string_or_word()?;
            } else if let Some(option) =
                self.eat_any(&["DATA DIRECTORY", "INDEX DIRECTORY", "MAX_ROWS", "MIN_ROWS", "TABLESPACE", "NODEGROUP"])
            {
                self.eat_token(&Token::Eq);
                match self.peek() {
                    Token::Number(..) => drop(self.unsigned()?),
                    _ => drop(self.string_or_word()?),
                }
                self.ignored(option);
            } else if *self.peek() == Token::LParen || self.is("SUBPARTITION") {
                return self.unsupported("SUBPARTITION");
            } else {
                return Ok(def);
            }
        }
    }

    /// One value of a list, or a row of them.
    fn partition_values(&mut self) -> Parsed<Vec<PartitionValue>> {
        // A row; what else begins with a parenthesis is an expression of one column, which is the same.
        match self.peek() {
            Token::LParen => self.parenthesized(|s| s.comma_separated(|s| s.partition_value())),
            _ => Ok(vec![self.partition_value()?]),
        }
    }

    fn partition_value(&mut self) -> Parsed<PartitionValue> {
        Ok(match self.eat_any(&["MAXVALUE", "DEFAULT"]) {
            Some("MAXVALUE") => PartitionValue::Max,
            Some(_) => PartitionValue::Default,
            None => PartitionValue::Expr(self.expr()?),
        })
    }

    /// After `ADD PARTITION`.
    pub(super) fn add_partition(&mut self) -> Parsed<AlterAction> {
        let if_not_exists = self.if_not_exists()?;
        self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        let (definitions, count) = match self.eat("PARTITIONS") {
            true => (Vec::new(), Some(self.unsigned()?)),
            false => (self.partition_defs()?, None),
        };
        Ok(AlterAction::Partitions(PartitionChange::Add { if_not_exists, definitions, count }))
    }

    /// After `DROP PARTITION`.
    pub(super) fn drop_partition(&mut self) -> Parsed<AlterAction> {
        let if_exists = self.if_exists()?;
        let names = self.comma_separated(|s| s.name())?;
        Ok(AlterAction::Partitions(PartitionChange::Drop { if_exists, names }))
    }

    /// Any other change of partitions that is done here.
    pub(super) fn partition_change(&mut self) -> Parsed<Option<AlterAction>> {
        let change = if self.eat("PARTITION BY") {
            PartitionChange::By(Box::new(self.partition_by()?))
        } else if self.eat("PARTITION") {
            let partition = self.name()?;
            if self.is("ATTRIBUTES") {
                return self.unsupported("PARTITION … ATTRIBUTES");
            }
            PartitionChange::Placement { partition, policy: self.placement_policy_ref()? }
        } else if self.eat("REMOVE PARTITIONING") {
            PartitionChange::Remove
        } else if self.eat("TRUNCATE PARTITION") {
            PartitionChange::Truncate(match self.eat("ALL") {
                true => PartitionNames::All,
                false => PartitionNames::Some(self.comma_separated(|s| s.name())?),
            })
        } else if self.eat("COALESCE PARTITION") {
            self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
            PartitionChange::Coalesce(self.unsigned()?)
        } else if self.eat("REORGANIZE PARTITION") {
            self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
            if self.at_end() {
                return self.unsupported("REORGANIZE PARTITION without partitions");
            }
            let names = self.comma_separated(|s| s.name())?;
            self.expect("INTO")?;
            PartitionChange::Reorganize { names, definitions: self.partition_defs()? }
        } else if self.eat("EXCHANGE PARTITION") {
            let partition = self.name()?;
            self.expect("WITH TABLE")?;
            let table = self.table_name()?;
            let validate = !matches!(self.eat_any(&["WITH VALIDATION", "WITHOUT VALIDATION"]), Some(how) if how.starts_with("WITHOUT"));
            PartitionChange::Exchange { partition, table, validate }
        } else {
            return Ok(None);
        };
        Ok(Some(AlterAction::Partitions(change)))
    }
}
