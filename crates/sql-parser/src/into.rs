//! `SELECT … INTO @a, @b`: the clause is taken out of a query's tokens, which are then those of the query alone.
//!
//! MySQL has it before FROM, before a lock clause and at the end. Not here: INTO in a subquery, and files, which are refused.

use sql_base::SqlError;

use crate::grammar::{Token, TokenWithSpan, is_word};

/// Takes the variables' names (without `@`, lower case); none if there is no such clause.
pub(super) fn take_variables(tokens: &mut Vec<TokenWithSpan>) -> Result<Option<Vec<String>>, SqlError> {
    let queries = ["SELECT", "WITH", "VALUES", "TABLE"];
    let is_query = tokens
        .first()
        .is_some_and(|first| first.token == Token::LParen || queries.iter().any(|word| is_word(&first.token, word)));
    let Some(at) = is_query.then(|| place(tokens)).flatten() else { return Ok(None) };
    let (mut names, mut end) = (Vec::new(), at);
    loop {
        let Some(Token::Word(word)) = tokens.get(end + 1).map(|token| &token.token) else { return Ok(None) };
        match word.value.strip_prefix('@').filter(|name| !name.starts_with('@') && word.quote_style.is_none()) {
            Some(name) => names.push(name.to_lowercase()),
            // A variable of a stored program, of which there are none.
            None => return Err(SqlError::UndeclaredVariable(word.value.clone())),
        }
        end += 2;
        if tokens.get(end).is_none_or(|token| token.token != Token::Comma) {
            break;
        }
    }
    tokens.drain(at..end);
    Ok(Some(names))
}

/// Where INTO is, outside of parentheses, if variables follow.
fn place(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_word(&token.token, "INTO") => {
                let next = &tokens.get(at + 1)?.token;
                let file = is_word(next, "OUTFILE") || is_word(next, "DUMPFILE");
                return (!file && matches!(next, Token::Word(_))).then_some(at);
            }
            _ => {}
        }
    }
    None
}
