//! `CREATE VIEW`, `ALTER VIEW`.
//!
//! `WITH CHECK OPTION` at their end is taken away before the grammar reads the query, which would take it for more of the
//! query.

use crate::grammar::{Token, TokenWithSpan};

use super::{CreateView, Ddl, Parsed, Statement, StatementParser, ViewAlgorithm, ViewMode, is_word};

/// Whether the statement defines a view.
pub(super) fn defines_view(tokens: &[TokenWithSpan]) -> bool {
    let is = |at: usize, words: &[&str]| tokens.get(at).is_some_and(|t| words.iter().any(|w| is_word(&t.token, w)));
    let other = ["TABLE", "TEMPORARY", "DATABASE", "SCHEMA"];
    is(0, &["CREATE", "ALTER"])
        && !is(1, &other)
        && tokens.iter().take_while(|t| !is_word(&t.token, "AS")).any(|t| is_word(&t.token, "VIEW"))
}

/// Takes `WITH [CASCADED | LOCAL] CHECK OPTION` off the end of a view's definition: `Some(true)` is `CASCADED`.
pub(super) fn take_check_option(tokens: &mut Vec<TokenWithSpan>) -> Option<bool> {
    if !defines_view(tokens) {
        return None;
    }
    let forms: [(&[&str], bool); 3] = [
        (&["WITH", "CHECK", "OPTION"], true),
        (&["WITH", "CASCADED", "CHECK", "OPTION"], true),
        (&["WITH", "LOCAL", "CHECK", "OPTION"], false),
    ];
    for (words, cascaded) in forms {
        let Some(start) = tokens.len().checked_sub(words.len()) else { continue };
        if tokens[start..].iter().zip(words).all(|(token, word)| is_word(&token.token, word)) {
            tokens.truncate(start);
            return Some(cascaded);
        }
    }
    None
}

impl StatementParser<'_> {
    /// Whether a definition of a view goes on here, after `CREATE [OR REPLACE]` or `ALTER`.
    pub(super) fn begins_view(&self) -> bool {
        self.is("VIEW") || self.view && ["ALGORITHM", "DEFINER", "SQL"].iter().any(|word| self.is(word))
    }

    /// After `CREATE [OR REPLACE]` or `ALTER`.
    pub(super) fn view(&mut self, mode: ViewMode) -> Parsed<Statement> {
        let mut algorithm = ViewAlgorithm::Undefined;
        let (mut definer, mut invoker) = (None, false);
        if self.eat("ALGORITHM") {
            self.expect_token(&Token::Eq)?;
            algorithm = match self.eat_any(&["UNDEFINED", "MERGE", "TEMPTABLE"]) {
                Some("UNDEFINED") => ViewAlgorithm::Undefined,
                Some("MERGE") => ViewAlgorithm::Merge,
                Some(_) => ViewAlgorithm::TempTable,
                None => return self.unexpected(),
            };
        }
        if self.eat("DEFINER") {
            self.expect_token(&Token::Eq)?;
            definer = self.definer()?;
        }
        if self.eat("SQL SECURITY") {
            match self.eat_any(&["DEFINER", "INVOKER"]) {
                Some(said) => invoker = said == "INVOKER",
                None => return self.unexpected(),
            }
        }
        self.expect("VIEW")?;
        let if_not_exists = mode == ViewMode::Create && self.if_not_exists()?;
        let view = self.table_name()?;
        let columns = match self.peek() {
            Token::LParen => self.parenthesized(|s| s.comma_separated(|s| s.name()))?,
            _ => Vec::new(),
        };
        self.expect("AS")?;
        let begins = ["SELECT", "WITH", "VALUES"];
        if *self.peek() != Token::LParen && !begins.iter().any(|word| self.is(word)) {
            return self.unexpected();
        }
        let query = self.query()?;
        let check_option = self.check_option.take();
        let create =
            CreateView { mode, if_not_exists, algorithm, definer, invoker, view, columns, query, check_option };
        Ok(Statement::Ddl(Ddl::CreateView(Box::new(create))))
    }

    /// `CURRENT_USER[()]` is nobody in particular; otherwise user and host.
    fn definer(&mut self) -> Parsed<Option<(String, String)>> {
        if self.eat("CURRENT_USER") {
            if self.eat_token(&Token::LParen) {
                self.expect_token(&Token::RParen)?;
            }
            return Ok(None);
        }
        let user = self.string_or_word()?;
        // The lexer takes `@host` for a variable.
        let host = match self.peek() {
            Token::Word(w) if w.quote_style.is_none() && w.value.starts_with('@') => {
                let host = w.value[1..].to_owned();
                self.p.advance_token();
                host
            }
            _ => "%".to_owned(),
        };
        Ok(Some((user, host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LexMode, parse_one};

    fn view(sql: &str) -> CreateView {
        match parse_one(sql.as_bytes(), LexMode::default()).unwrap().statement {
            Statement::Ddl(Ddl::CreateView(view)) => *view,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_clause_of_a_view_is_told_apart() {
        let v = view(
            "CREATE OR REPLACE ALGORITHM=MERGE DEFINER=`a b`@`10.%` SQL SECURITY INVOKER VIEW d.v (x, `y z`) AS \
             SELECT a, COUNT(*) FROM t GROUP BY a WITH LOCAL CHECK OPTION",
        );
        assert_eq!((v.mode, v.algorithm, v.invoker), (ViewMode::Replace, ViewAlgorithm::Merge, true));
        assert_eq!(v.definer, Some(("a b".into(), "10.%".into())));
        assert_eq!(v.view.to_string(), "d.v");
        assert_eq!(v.columns, ["x", "y z"]);
        assert_eq!(v.check_option, Some(false));
        assert_eq!(v.query.to_string(), "SELECT a, COUNT(*) AS `COUNT(*)` FROM t GROUP BY a");
        let v = view("ALTER DEFINER = CURRENT_USER VIEW v AS TABLE t WITH CHECK OPTION");
        assert_eq!((v.mode, v.definer, v.check_option), (ViewMode::Alter, None, Some(true)));
        assert_eq!(v.query.to_string(), "SELECT * FROM t");
    }

    #[test]
    fn what_mysqldump_writes_is_one_definition() {
        let v = view(
            "/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`root`@`%` SQL SECURITY DEFINER */\n\
             /*!50001 VIEW `v` AS select 1 AS `1` */\n/*!50002 WITH CASCADED CHECK OPTION */",
        );
        assert_eq!((v.mode, v.check_option), (ViewMode::Create, Some(true)));
    }

    #[test]
    fn a_check_option_belongs_to_views() {
        for sql in ["CREATE TABLE t (a INT) WITH CHECK OPTION", "SELECT 1 FROM t WITH CHECK OPTION"] {
            let error = parse_one(sql.as_bytes(), LexMode::default()).unwrap_err();
            assert_eq!(error.code().0, 1064, "{sql}");
        }
    }
}
