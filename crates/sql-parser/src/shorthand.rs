//! Queries that are no SELECT. VALUES has the word ROW before each row, unless it gives the rows of an INSERT.
//!
//! `TABLE t` wherever a query may stand: it is `SELECT * FROM t`, and is made that before the grammar reads it, which
//! takes it only where nothing follows.
//!
//! ```text
//! INSERT INTO a TABLE b ORDER BY x      a word TABLE that no definition, SHOW or ADMIN has
//!               │
//!               └ SELECT * FROM b ORDER BY x
//! ```

use crate::grammar::{Keyword, Token, TokenWithSpan};

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

/// The offset of what follows a VALUES that is a query and is not ROW: a syntax error.
pub(super) fn check_values(tokens: &[TokenWithSpan]) -> Result<(), usize> {
    let is_one_of = |token: &TokenWithSpan, words: &[&str]| words.iter().any(|word| is_word(&token.token, word));
    let inserts = tokens.iter().take(2).any(|token| is_one_of(token, &["INSERT", "REPLACE"]));
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        let Some(next) = tokens.get(at + 1).filter(|next| next.token == Token::LParen) else { continue };
        if !is_word(&token.token, "VALUES") || inserts && depth == 0 {
            continue;
        }
        // Anywhere else it is the function.
        let begins = match at.checked_sub(1).map(|before| &tokens[before]) {
            None => true,
            Some(before) if before.token == Token::LParen => match at.checked_sub(2).map(|open| &tokens[open]) {
                None => true,
                Some(open) => {
                    matches!(open.token, Token::LParen | Token::Comma)
                        || is_one_of(open, &["FROM", "JOIN", "IN", "EXISTS", "ANY", "ALL", "SOME", "AS", "UNION"])
                }
            },
            Some(before) => is_one_of(
                before,
                &["UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT", "AS", "EXPLAIN", "DESCRIBE", "DESC", "ANALYZE"],
            ),
        };
        if begins {
            return Err(offset(next));
        }
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
    use crate::tests::written_out;

    #[test]
    fn table_is_a_select_of_everything_wherever_a_query_stands() {
        for (sql, expected) in [
            ("TABLE t", "SELECT * FROM t"),
            ("TABLE db.t ORDER BY a LIMIT 2", "SELECT * FROM db.t ORDER BY a LIMIT 2"),
            ("(TABLE t) UNION ALL TABLE s", "(SELECT * FROM t) UNION ALL SELECT * FROM s"),
            ("SELECT * FROM (TABLE t) x", "SELECT * FROM (SELECT * FROM t) AS x"),
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
    fn values_of_a_query_are_rows() {
        for sql in [
            "VALUES (1)",
            "(VALUES (1), (2))",
            "SELECT * FROM (VALUES (1)) AS x",
            "SELECT 1 UNION ALL VALUES (2)",
            "SELECT 1 IN (VALUES (1))",
            "EXPLAIN VALUES (1)",
        ] {
            let error = written_out(sql);
            assert!(
                error.starts_with("You have an error in your SQL syntax") && error.contains("near '(1)")
                    || error.contains("near '(2)"),
                "{sql}: {error}"
            );
        }
        for sql in [
            "VALUES ROW(1), ROW(2)",
            "INSERT INTO t VALUES (1), (2)",
            "INSERT INTO t VALUES ROW(1) ON DUPLICATE KEY UPDATE a = VALUES(a) + (VALUES(b))",
            "SELECT VALUES(a) FROM t",
        ] {
            assert!(!written_out(sql).starts_with("You have"), "{sql}");
        }
    }

    #[test]
    fn table_takes_no_more_than_an_order_and_a_limit() {
        for sql in ["TABLE t WHERE a = 1", "TABLE t, s", "TABLE t x", "TABLE t JOIN s"] {
            assert!(written_out(sql).starts_with("You have an error in your SQL syntax"), "{sql}");
        }
    }
}
