//! Lists of tables in parentheses: `FROM (a, b JOIN c ON …)` is a product of its parts, and is made that before the grammar
//! reads it, which takes a list only where a FROM begins.
//!
//! ```text
//! LEFT JOIN (a, b JOIN c ON x) ON y    ─▶    LEFT JOIN (a CROSS JOIN (b JOIN c ON x)) ON y
//! ```
//!
//! A part with a join of its own gets parentheses: a comma binds less than any join.

use crate::grammar::{Token, TokenWithSpan};

use super::is_word;

/// What ends a list of tables at its level.
const ENDS: &[&str] = &[
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "INTO",
    "FOR",
    "LOCK",
    "SET",
    "SELECT",
];

/// First words of what is in parentheses and is a query.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];

/// A pair of parentheses, or the statement around all.
#[derive(Default)]
struct Level {
    /// Where it opens.
    open: usize,
    /// What stands here are tables.
    tables: bool,
    /// They are a list in parentheses.
    list: bool,
    /// Where its commas are.
    commas: Vec<usize>,
    /// Parts that have a join, by number.
    joins: Vec<usize>,
}

/// Writes the lists in these tokens out.
pub(super) fn expand(tokens: &mut Vec<TokenWithSpan>) {
    let any =
        |tokens: &[TokenWithSpan]| tokens.iter().any(|t| is_word(&t.token, "FROM") || is_word(&t.token, "UPDATE"));
    if !tokens.iter().any(|t| t.token == Token::Comma) || !any(tokens) {
        return;
    }
    // What to put before a token, or in the place of a comma.
    let mut edits: Vec<(usize, Vec<Token>)> = Vec::new();
    let mut levels = vec![Level::default()];
    for at in 0..tokens.len() {
        let Some(level) = levels.last_mut() else { return };
        let token = &tokens[at].token;
        let word = |words: &[&str]| words.iter().any(|w| is_word(token, w));
        match token {
            Token::LParen => {
                let before = at.checked_sub(1).map(|i| &tokens[i].token);
                let begins = before.is_some_and(|t| {
                    matches!(t, Token::Comma | Token::LParen)
                        || ["FROM", "JOIN", "STRAIGHT_JOIN", "UPDATE"].iter().any(|w| is_word(t, w))
                });
                let query = tokens.get(at + 1).is_some_and(|t| QUERIES.iter().any(|w| is_word(&t.token, w)));
                let list = level.tables && begins && !query;
                levels.push(Level { open: at, tables: list, list, ..Level::default() });
            }
            Token::RParen => {
                let Some(done) = levels.pop().filter(|_| !levels.is_empty()) else { return };
                if done.list && !done.commas.is_empty() {
                    edits.extend(done.edits(at));
                }
            }
            Token::Comma if level.list => level.commas.push(at),
            _ if word(&["FROM", "UPDATE"]) && !level.list => level.tables = true,
            _ if word(&["JOIN", "STRAIGHT_JOIN"]) && level.list => level.joins.push(level.commas.len()),
            _ if word(ENDS) => level.tables = level.list,
            _ => {}
        }
    }
    // From the last to the first, so that places stay right.
    edits.sort_by_key(|(at, _)| *at);
    for (at, written) in edits.into_iter().rev() {
        let span = tokens[at].span;
        let replaced = usize::from(tokens[at].token == Token::Comma);
        tokens.splice(at..at + replaced, written.into_iter().map(|token| TokenWithSpan { token, span }));
    }
}

impl Level {
    /// What makes a product of the list, which ends at this token.
    fn edits(&self, end: usize) -> Vec<(usize, Vec<Token>)> {
        let joined = |part: usize| self.joins.contains(&part);
        let mut edits = Vec::new();
        if joined(0) {
            edits.push((self.open + 1, vec![Token::LParen]));
        }
        for (part, comma) in self.commas.iter().enumerate() {
            let mut written = Vec::new();
            if joined(part) {
                written.push(Token::RParen);
            }
            written.extend(["CROSS", "JOIN"].map(Token::make_keyword));
            if joined(part + 1) {
                written.push(Token::LParen);
            }
            edits.push((*comma, written));
        }
        if joined(self.commas.len()) {
            edits.push((end, vec![Token::RParen]));
        }
        edits
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::written_out;

    #[test]
    fn a_list_of_tables_in_parentheses_is_their_product() {
        for (sql, expected) in [
            ("SELECT 1 FROM (t, s)", "FROM (t JOIN s)"),
            (
                "SELECT 1 FROM (t a, db.s AS b) WHERE (1, 2) = (3, 4)",
                "FROM (t AS a JOIN db.s AS b) WHERE (1, 2) = (3, 4)",
            ),
            (
                "SELECT 1 FROM u LEFT JOIN (t, s RIGHT JOIN r ON a = b) ON c = d",
                "FROM u LEFT JOIN (t JOIN (s RIGHT JOIN r ON a = b)) ON c = d",
            ),
            ("SELECT 1 FROM u, ((t, s), r JOIN q)", "FROM u, ((t JOIN s) JOIN (r JOIN q))"),
            ("SELECT (SELECT 1 FROM (a, b)) FROM t", "FROM (a JOIN b))"),
            ("SELECT 1 FROM ((SELECT 1, f(2, 3)) x, t)", ") AS x JOIN t)"),
            ("SELECT 1 FROM t WHERE (1, 2) IN ((1, 2), (3, 4))", "IN ((1, 2), (3, 4))"),
        ] {
            let written = written_out(sql);
            assert!(written.contains(expected), "{sql}: {written}");
        }
    }
}
