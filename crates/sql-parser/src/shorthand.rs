//! `TABLE t` wherever a query may stand: it is `SELECT * FROM t`, and is made that before the grammar reads it, which
//! takes it only where nothing follows.
//!
//! ```text
//! INSERT INTO a TABLE b ORDER BY x      a word TABLE that no definition, SHOW or ADMIN has
//!               │
//!               └ SELECT * FROM b ORDER BY x
//! ```

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::{is_word, offset};

/// First words of statements that may have a query in them.
const HEADS: &[&str] = &[
    "SELECT", "WITH", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE", "DO", "SET", "EXPLAIN", "DESC",
    "DESCRIBE",
];

/// What may follow the name of the table.
const FOLLOWERS: &[&str] = &["ORDER", "LIMIT", "UNION", "EXCEPT", "INTERSECT", "INTO", "FOR", "LOCK", "ON"];

/// Writes the statements `TABLE t` in these tokens out. What follows one and cannot is the offset of a syntax error. A
/// definition has none, unless `view`: it is of a view.
pub(super) fn expand(tokens: &mut Vec<TokenWithSpan>, view: bool) -> Result<(), usize> {
    let Some(head) = tokens.first() else { return Ok(()) };
    if !view && head.token != Token::LParen && !HEADS.iter().any(|word| is_word(&head.token, word)) {
        return Ok(());
    }
    let mut at = 0;
    while at < tokens.len() {
        let length = match begins(tokens, at) {
            true => name_length(&tokens[at + 1..]),
            false => None,
        };
        let Some(length) = length else {
            at += 1;
            continue;
        };
        let next = at + 1 + length;
        if let Some(follower) = tokens.get(next)
            && follower.token != Token::RParen
            && !FOLLOWERS.iter().any(|word| is_word(&follower.token, word))
        {
            return Err(offset(follower));
        }
        let span = tokens[at].span;
        let written = [Token::make_keyword("SELECT"), Token::Mul, Token::make_keyword("FROM")];
        tokens.splice(at..=at, written.map(|token| TokenWithSpan { token, span }));
        at = next + 2;
    }
    Ok(())
}

/// Whether a statement begins here: TABLE that is not part of a name and not the table that an INSERT names.
fn begins(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| &tokens[i].token);
    matches!(&tokens[at].token, Token::Word(w) if w.keyword == Keyword::TABLE && w.quote_style.is_none())
        && before.is_none_or(|t| *t != Token::Period && !is_word(t, "INTO"))
}

/// Tokens of `t` or `db.t`.
fn name_length(tokens: &[TokenWithSpan]) -> Option<usize> {
    let word = |i: usize| tokens.get(i).is_some_and(|t| matches!(t.token, Token::Word(_)));
    match (word(0), tokens.get(1).is_some_and(|t| t.token == Token::Period) && word(2)) {
        (true, true) => Some(3),
        (true, false) => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{LexMode, parse_one};

    fn written_out(sql: &str) -> String {
        match parse_one(sql.as_bytes(), LexMode::default()) {
            Ok(parsed) => match parsed.statement {
                crate::Statement::Query(query) => query.to_string(),
                crate::Statement::Insert(insert) => insert.to_string(),
                other => format!("{other:?}"),
            },
            Err(e) => e.to_string(),
        }
    }

    #[test]
    fn table_is_a_select_of_everything_wherever_a_query_stands() {
        for (sql, expected) in [
            ("TABLE t", "SELECT * FROM t"),
            ("TABLE db.t ORDER BY a LIMIT 2", "SELECT * FROM db.t ORDER BY a LIMIT 2"),
            ("(TABLE t) UNION ALL TABLE s", "(SELECT * FROM t) UNION ALL SELECT * FROM s"),
            ("SELECT * FROM (TABLE t) x", "SELECT * FROM (SELECT * FROM t) x"),
            ("INSERT INTO a TABLE b", "INSERT INTO a SELECT * FROM b"),
            (
                "SELECT 1 IN (TABLE t), (TABLE t)",
                "SELECT 1 IN (SELECT * FROM t) AS `1 IN (TABLE t)`, (SELECT * FROM t) AS `(TABLE t)`",
            ),
            ("SELECT s.table FROM s", "SELECT s.table FROM s"),
        ] {
            assert_eq!(written_out(sql), expected, "{sql}");
        }
    }

    #[test]
    fn table_takes_no_more_than_an_order_and_a_limit() {
        for sql in ["TABLE t WHERE a = 1", "TABLE t, s", "TABLE t x", "TABLE t JOIN s"] {
            assert!(written_out(sql).starts_with("You have an error in your SQL syntax"), "{sql}");
        }
    }
}
