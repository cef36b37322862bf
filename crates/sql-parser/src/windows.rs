//! What MySQL's grammar says of window functions and the one that we use does not.
//!
//! | text | here |
//! |---|---|
//! | `NTH_VALUE(a, 2) FROM FIRST OVER w` | the words say what is so anyway, and go |
//! | `… FROM LAST …`, `ROWS … EXCLUDE …` | refused by name, as in MySQL |
//! | `RANK()`, `ABS(a) OVER w` | a syntax error: OVER belongs to these functions and to no others |
//!
//! Statements without any such word pay for one look at each token.

use crate::grammar::{Token, TokenWithSpan};

use crate::{SqlError, offset};

/// Functions that must have OVER.
const WINDOW_FUNCTIONS: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// Functions that may have it.
const AGGREGATES: &[&str] = &[
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "count",
    "group_concat",
    "json_arrayagg",
    "json_objectagg",
    "max",
    "min",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];

fn is(token: Option<&TokenWithSpan>, word: &str) -> bool {
    matches!(token.map(|t| &t.token), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn is_one_of(token: &TokenWithSpan, words: &[&str]) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && words.iter().any(|o| w.value.eq_ignore_ascii_case(o)))
}

/// What comes after a window function's arguments, beside FROM FIRST and FROM LAST.
fn goes_on(tokens: &[TokenWithSpan], at: usize) -> bool {
    let nulls = || is(tokens.get(at), "respect") || is(tokens.get(at), "ignore");
    is(tokens.get(at), "over") || nulls() && is(tokens.get(at + 1), "nulls")
}

/// Makes the tokens of a query such as the grammar knows. The byte at which it cannot go on is the error where OVER is
/// missing or where it may not be.
pub(crate) fn prepare(tokens: &mut Vec<TokenWithSpan>) -> Result<(), Result<SqlError, Option<usize>>> {
    if !tokens.iter().any(|t| is_one_of(t, &["over"]) || is_one_of(t, WINDOW_FUNCTIONS)) {
        return Ok(());
    }
    let mut at = 0;
    while at < tokens.len() {
        if is(tokens.get(at), "from") && goes_on(tokens, at + 2) {
            if is(tokens.get(at + 1), "last") {
                return Err(Ok(SqlError::NotSupported("FROM LAST".into())));
            }
            if is(tokens.get(at + 1), "first") {
                tokens.drain(at..at + 2);
            }
        }
        if is(tokens.get(at), "exclude") && at > 0 && ends_frame(&tokens[at - 1]) && is_exclusion(&tokens[at + 1..]) {
            return Err(Ok(SqlError::NotSupported("EXCLUDE".into())));
        }
        at += 1;
    }
    // Only in queries: elsewhere the words may be names, which the grammar of definitions judges.
    let query = tokens.iter().find(|t| t.token != Token::LParen);
    if query.is_some_and(|t| is_one_of(t, &["select", "with", "explain", "do"])) {
        check_over(tokens).map_err(Err)?;
    }
    Ok(())
}

fn ends_frame(token: &TokenWithSpan) -> bool {
    is_one_of(token, &["row", "preceding", "following"])
}

fn is_exclusion(tokens: &[TokenWithSpan]) -> bool {
    let words = tokens.iter().take_while(|t| t.token != Token::RParen).take(3).count();
    match words {
        1 => is_one_of(&tokens[0], &["group", "ties"]),
        2 => {
            is(tokens.first(), "current") && is(tokens.get(1), "row")
                || is(tokens.first(), "no") && is(tokens.get(1), "others")
        }
        _ => false,
    }
}

/// The byte of the first token that should be OVER, or of an OVER that may not be; `None` for the end of the text.
fn check_over(tokens: &[TokenWithSpan]) -> Result<(), Option<usize>> {
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token.token {
            Token::LParen => open.push(at),
            Token::RParen => {
                let Some(name) = open.pop().and_then(|at: usize| at.checked_sub(1)) else { continue };
                let Token::Word(_) = &tokens[name].token else { continue };
                let after_period = name > 0 && tokens[name - 1].token == Token::Period;
                let windowed = !after_period && is_one_of(&tokens[name], WINDOW_FUNCTIONS);
                let may_be = windowed || is_one_of(&tokens[name], AGGREGATES);
                if windowed && !goes_on(tokens, at + 1) || !may_be && is(tokens.get(at + 1), "over") {
                    return Err(tokens.get(at + 1).map(offset));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{LexMode, SqlError, parse_one};

    fn parsed(sql: &str) -> String {
        match parse_one(sql.as_bytes(), LexMode::default()) {
            Ok(_) => "taken".into(),
            Err(SqlError::Syntax { near, .. }) => format!("near {near}"),
            Err(SqlError::NotSupported(what)) => format!("no {what}"),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn over_belongs_to_its_functions() {
        assert_eq!(
            parsed("SELECT RANK() OVER (ORDER BY a), SUM(b) OVER w FROM t WINDOW w AS (PARTITION BY c)"),
            "taken"
        );
        assert_eq!(parsed("SELECT ROW_NUMBER()"), "near ");
        assert_eq!(parsed("SELECT RANK() + 1 FROM t"), "near + 1 FROM t");
        assert_eq!(parsed("SELECT ABS(a) OVER w FROM t"), "near OVER w FROM t");
        assert_eq!(parsed("SELECT LAG(ABS(a), 2) OVER (ORDER BY (a)) FROM t"), "taken");
        assert_eq!(parsed("SELECT `rank`(1) FROM t"), "taken");
    }

    #[test]
    fn where_rows_are_counted_from() {
        assert_eq!(parsed("SELECT NTH_VALUE(a, 2) FROM FIRST OVER w FROM t WINDOW w AS ()"), "taken");
        assert_eq!(parsed("SELECT NTH_VALUE(a, 2) FROM FIRST RESPECT NULLS OVER w FROM t WINDOW w AS ()"), "taken");
        assert_eq!(parsed("SELECT NTH_VALUE(a, 2) FROM LAST OVER w FROM t WINDOW w AS ()"), "no FROM LAST");
        assert_eq!(parsed("SELECT RANK() OVER w FROM last IGNORE INDEX (k) WINDOW w AS ()"), "taken");
    }

    #[test]
    fn nothing_of_a_frame_is_left_out() {
        let frame = |end: &str| parsed(&format!("SELECT SUM(a) OVER (ORDER BY b ROWS 1 PRECEDING{end}) FROM t"));
        assert_eq!(frame(""), "taken");
        for end in ["CURRENT ROW", "GROUP", "TIES", "NO OTHERS"] {
            assert_eq!(frame(&format!(" EXCLUDE {end}")), "no EXCLUDE");
        }
    }
}
