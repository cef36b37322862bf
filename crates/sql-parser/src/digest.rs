//! A statement's text without what differs from one run to the next: constants become `?`, lists of them `...`, words are in
//! lower case, comments and spaces are gone. Statements with one such text count as one in summaries.

use crate::grammar::Token;

use crate::lexer::{LexMode, readable};

/// The text of a statement that is the same for all of its kind; of one that ends in the midst of a token (it was cut, for
/// example) without that token.
pub fn normalized(sql: &str, mode: LexMode) -> String {
    let tokens = readable(sql.as_bytes(), mode);
    let mut words: Vec<String> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let word = match token.token {
            Token::EOF | Token::SemiColon | Token::Whitespace(_) => continue,
            Token::Number(..) | Token::Placeholder(_) => "?".to_owned(),
            Token::Word(word) if word.quote_style.is_some() => format!("`{}`", word.value.to_lowercase()),
            Token::Word(word) if is_constant(&word.value) => "?".to_owned(),
            Token::Word(word) => word.value.to_lowercase(),
            Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::HexStringLiteral(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::NationalStringLiteral(_) => "?".to_owned(),
            other => other.to_string(),
        };
        // A sign belongs to the constant, where no operand is before it.
        if word == "?" && matches!(words.last().map(String::as_str), Some("-" | "+")) {
            let operand = words.len() > 1 && !begins_operand(&words[words.len() - 2]);
            if !operand {
                words.pop();
            }
        }
        if word == "?" && is_list(&words) {
            words.pop();
            if words.last().is_some_and(|w| w == "?") {
                words.pop();
                words.push("...".to_owned());
            }
            continue;
        }
        words.push(word);
        // Of rows of constants the first tells all.
        while let [.., first, close, comma, open, row, last] = &words[..]
            && [close, comma, open, last].map(String::as_str) == [")", ",", "(", ")"]
            && [first, row].into_iter().all(|w| w == "?" || w == "...")
        {
            words.truncate(words.len() - 6);
            words.extend(["...".to_owned(), ")".to_owned()]);
        }
    }
    words.join(" ")
}

/// Whether another constant goes on with a list: `(?,` or `(...,`.
fn is_list(words: &[String]) -> bool {
    matches!(words, [.., open, one, comma] if open == "(" && (one == "?" || one == "...") && comma == ",")
}

/// Whether an operand follows this word.
fn begins_operand(word: &str) -> bool {
    matches!(word, "(" | "," | "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" | "<=>" | "*" | "/" | "%" | "-" | "+")
        || matches!(
            word,
            "select" | "and" | "or" | "not" | "between" | "in" | "like" | "limit" | "values" | "set" | "by"
        )
        || matches!(word, "where" | "when" | "then" | "else" | "case" | "return" | "having" | "on" | "offset" | "is")
}

fn is_constant(word: &str) -> bool {
    word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_kind_have_one_text() {
        let text = |sql: &str| normalized(sql, LexMode::default());
        assert_eq!(
            text("SELECT  a FROM t /* so */ WHERE b = 'x' AND c > -1.5"),
            text("select A from T where B='y' and C > 7; -- end")
        );
        assert_eq!(text("SELECT a FROM t WHERE b = ?"), "select a from t where b = ?");
        assert_eq!(text("SELECT a - 1 FROM `T x` WHERE a IN (1, -2, 3)"), "select a - ? from `t x` where a in ( ... )");
        assert_eq!(text("SELECT a FROM t WHERE a IN (1)"), "select a from t where a in ( ? )");
        assert_eq!(text("INSERT INTO t VALUES (1, 'a', x'01')"), "insert into t values ( ... )");
        assert_eq!(text("INSERT INTO t VALUES (1, 2), (3, 4), (5,"), "insert into t values ( ... ) , ( ? ,");
        assert_eq!(text("INSERT INTO t VALUES (1), (2), (3)"), "insert into t values ( ... )");
        assert_eq!(text("SELECT 'open"), "select", "it was cut");
    }
}
