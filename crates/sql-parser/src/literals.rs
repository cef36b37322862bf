//! The literals of a statement that can be parameters, so that one tree and one plan serve all texts that differ in them
//! only.
//!
//! ```text
//! SELECT b, 'x' FROM t WHERE id = 7 AND c IN ('p', 'q') LIMIT 5
//!   key     SELECT b, 'x' FROM t WHERE id = ? AND c IN (?, ?) LIMIT 5
//!   values  7, 'p', 'q'
//! ```
//!
//! These are literals that a name is compared with in a condition (`name = literal`, `name IN (literal, …)`,
//! `name BETWEEN literal AND literal`), and those that UPDATE sets. All others belong to the statement: one of the select
//! list names its column, one of ORDER BY or LIMIT is part of the plan, and one in an expression decides that one's type.
//! Only tokens are looked at. Whatever this finds means as a parameter what it means as a literal, so that nothing is lost
//! where it finds less than a reader would.
//!
//! Not here: where trees are kept and found again (`sql-server`), and plans (`sql-exec`).

use crate::grammar::{Keyword, Token, TokenWithSpan, Word};
use crate::{Piece, offset};

/// Bytes of a statement beyond which nothing is looked for: such texts seldom come again.
const TEXT_BYTES_MAX: usize = 4096;

/// Parameters of a statement at most.
const PARAMETERS_MAX: usize = 200;

/// A literal's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// As written, with its sign.
    Number(String),
    /// Without quotes and escapes.
    Text(String),
}

/// What the literals of a statement leave of it.
#[derive(Debug)]
pub struct Generalised {
    /// The statement's text with `?` for each of the literals.
    pub key: String,
    /// The literals, in the order of the text.
    pub values: Vec<Literal>,
    places: Vec<Place>,
}

/// Tokens that are one literal.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: usize,
    last: usize,
}

impl Piece {
    /// Takes the literals out of a query, an UPDATE or a DELETE. `None` for other statements, for those that have
    /// parameters already, and for long ones.
    pub fn generalise(&self, sql: &[u8]) -> Option<Generalised> {
        let text = sql.get(self.start..self.end).filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        let Token::Word(verb) = &self.tokens.first()?.token else { return None };
        if !matches!(verb.keyword, Keyword::SELECT | Keyword::UPDATE | Keyword::DELETE | Keyword::WITH) {
            return None;
        }
        let found = Finder { tokens: &self.tokens, sql, found: Vec::new() }.run(verb.keyword == Keyword::UPDATE)?;
        let mut key = String::with_capacity(text.len());
        let (mut values, mut places) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        let mut at = self.start;
        for (place, value) in found {
            key.push_str(std::str::from_utf8(sql.get(at..offset(&self.tokens[place.first]))?).ok()?);
            key.push('?');
            at = end(&self.tokens[place.last]);
            values.push(value);
            places.push(place);
        }
        key.push_str(std::str::from_utf8(sql.get(at..self.end)?).ok()?);
        Some(Generalised { key, values, places })
    }

    /// The statement with parameters where its literals were.
    pub fn with_parameters(&self, of: &Generalised) -> Piece {
        let mut tokens = Vec::with_capacity(self.tokens.len());
        let mut places = of.places.iter().peekable();
        let mut at = 0;
        while at < self.tokens.len() {
            let mut token = self.tokens[at].clone();
            if let Some(place) = places.next_if(|place| place.first == at) {
                token.token = Token::Placeholder("?".into());
                token.span.end = self.tokens[place.last].span.end;
                at = place.last;
            }
            tokens.push(token);
            at += 1;
        }
        Piece { tokens, hints: self.hints.clone(), start: self.start, end: self.end }
    }
}

fn end(token: &TokenWithSpan) -> usize {
    (token.span.end.column as usize).saturating_sub(1)
}

struct Finder<'a> {
    tokens: &'a [TokenWithSpan],
    sql: &'a [u8],
    found: Vec<(Place, Literal)>,
}

impl Finder<'_> {
    /// `None` where there are parameters already, or too many would be.
    fn run(mut self, update: bool) -> Option<Vec<(Place, Literal)>> {
        // Whether what is read is a condition, for each open parenthesis.
        let mut condition = vec![false];
        let mut at = 0;
        while at < self.tokens.len() {
            let inner = condition.last().copied().unwrap_or(false);
            match &self.tokens[at].token {
                Token::Placeholder(_) => return None,
                Token::LParen => condition.push(inner),
                Token::RParen if condition.len() > 1 => drop(condition.pop()),
                Token::Word(word) if word.quote_style.is_none() => {
                    if let Some(now) = begins(word, update && condition.len() == 1)
                        && let Some(inner) = condition.last_mut()
                    {
                        *inner = now;
                    }
                }
                _ => {}
            }
            let taken = if inner { self.compared(at) } else { None };
            if self.found.len() > PARAMETERS_MAX {
                return None;
            }
            at = taken.unwrap_or(at + 1);
        }
        Some(self.found)
    }

    /// Takes the literals that the name at `at` is compared with, and tells the token behind them.
    fn compared(&mut self, at: usize) -> Option<usize> {
        if !is_name(&self.tokens[at].token) {
            return None;
        }
        let mut next = at + 1;
        if self.is(next, Keyword::NOT) {
            next += 1;
        }
        let literals = match self.token(next)? {
            Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq | Token::Spaceship
                if next == at + 1 =>
            {
                vec![self.literal(next + 1)?]
            }
            Token::Word(word) if word.keyword == Keyword::BETWEEN && word.quote_style.is_none() => {
                let low = self.literal(next + 1)?;
                let and = low.0.last + 1;
                if !self.is(and, Keyword::AND) {
                    return None;
                }
                vec![low, self.literal(and + 1)?]
            }
            Token::Word(word) if word.keyword == Keyword::IN && word.quote_style.is_none() => {
                if !matches!(self.token(next + 1)?, Token::LParen) {
                    return None;
                }
                let mut list = vec![self.literal(next + 2)?];
                while let after = list.last()?.0.last + 1
                    && !matches!(self.token(after)?, Token::RParen)
                {
                    if !matches!(self.token(after)?, Token::Comma) || list.len() > PARAMETERS_MAX {
                        return None;
                    }
                    list.push(self.literal(after + 1)?);
                }
                let behind = list.last()?.0.last + 2;
                return self.ends_comparison(behind).then(|| self.take(list, behind));
            }
            _ => return None,
        };
        let behind = literals.last()?.0.last + 1;
        self.ends_comparison(behind).then(|| self.take(literals, behind))
    }

    fn take(&mut self, literals: Vec<(Place, Literal)>, behind: usize) -> usize {
        self.found.extend(literals);
        behind
    }

    fn token(&self, at: usize) -> Option<&Token> {
        self.tokens.get(at).map(|t| &t.token)
    }

    fn is(&self, at: usize, keyword: Keyword) -> bool {
        matches!(self.token(at), Some(Token::Word(word)) if word.keyword == keyword && word.quote_style.is_none())
    }

    fn literal(&self, at: usize) -> Option<(Place, Literal)> {
        match self.token(at)? {
            Token::Minus => match self.token(at + 1)? {
                Token::Number(text, _) => {
                    Some((Place { first: at, last: at + 1 }, Literal::Number(format!("-{text}"))))
                }
                _ => None,
            },
            Token::Number(text, _) => Some((Place { first: at, last: at }, Literal::Number(text.clone()))),
            // One with an introducer begins with that.
            Token::SingleQuotedString(text) if matches!(self.sql.get(offset(&self.tokens[at]))?, b'\'' | b'"') => {
                Some((Place { first: at, last: at }, Literal::Text(text.clone())))
            }
            _ => None,
        }
    }

    /// Whether what was compared is complete before the token at `at`: nothing binds more tightly to the literal.
    fn ends_comparison(&self, at: usize) -> bool {
        match self.token(at) {
            None | Some(Token::RParen | Token::Comma) => true,
            Some(Token::Word(word)) => {
                word.quote_style.is_none()
                    && matches!(
                        word.keyword,
                        Keyword::AND
                            | Keyword::OR
                            | Keyword::XOR
                            | Keyword::WHERE
                            | Keyword::GROUP
                            | Keyword::HAVING
                            | Keyword::ORDER
                            | Keyword::LIMIT
                            | Keyword::FOR
                            | Keyword::LOCK
                            | Keyword::UNION
                            | Keyword::EXCEPT
                            | Keyword::INTERSECT
                    )
            }
            _ => false,
        }
    }
}

/// Whether a word begins a condition, or ends one; `None` where it does neither.
fn begins(word: &Word, sets: bool) -> Option<bool> {
    match word.keyword {
        Keyword::WHERE => Some(true),
        Keyword::SET => Some(sets),
        Keyword::SELECT
        | Keyword::FROM
        | Keyword::GROUP
        | Keyword::HAVING
        | Keyword::ORDER
        | Keyword::LIMIT
        | Keyword::FOR
        | Keyword::UNION
        | Keyword::EXCEPT
        | Keyword::INTERSECT
        | Keyword::WINDOW => Some(false),
        _ => None,
    }
}

/// A column's name: quoted, or a word that is nothing in the grammar of conditions.
fn is_name(token: &Token) -> bool {
    let Token::Word(word) = token else { return false };
    let constant = matches!(word.keyword, Keyword::NULL | Keyword::TRUE | Keyword::FALSE | Keyword::END);
    word.quote_style.is_some() || !(constant || word.value.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LexMode, split};

    fn generalised(sql: &str) -> Option<(String, String)> {
        let pieces = split(sql.as_bytes(), LexMode::default()).unwrap();
        let [piece] = &pieces[..] else { panic!("one statement") };
        let found = piece.generalise(sql.as_bytes())?;
        let parsed = piece.with_parameters(&found).parse(sql.as_bytes()).unwrap();
        assert_eq!(parsed.params, found.values.len(), "{sql}");
        let values = found.values.iter().map(|v| match v {
            Literal::Number(n) => n.clone(),
            Literal::Text(t) => format!("'{t}'"),
        });
        Some((found.key.clone(), values.collect::<Vec<_>>().join(" ")))
    }

    fn check(sql: &str, key: &str, values: &str) {
        assert_eq!(generalised(sql), Some((key.into(), values.into())), "{sql}");
    }

    #[test]
    fn what_names_are_compared_with_becomes_parameters() {
        check("SELECT b, 'x', 5 FROM t WHERE id = 7 LIMIT 5", "SELECT b, 'x', 5 FROM t WHERE id = ? LIMIT 5", "7");
        check(
            "select * from t where a=-7 and t.`b`<=>\"it's\"",
            "select * from t where a=? and t.`b`<=>?",
            "-7 'it's'",
        );
        check("SELECT 1 FROM t WHERE a IN (1, -2,'x') OR b", "SELECT 1 FROM t WHERE a IN (?, ?,?) OR b", "1 -2 'x'");
        check("SELECT 1 FROM t WHERE a NOT IN (1)", "SELECT 1 FROM t WHERE a NOT IN (?)", "1");
        let between = "SELECT 1 FROM t WHERE (a NOT BETWEEN 1 AND 2.5) AND b > 1e3 ORDER BY 1";
        check(between, "SELECT 1 FROM t WHERE (a NOT BETWEEN ? AND ?) AND b > ? ORDER BY 1", "1 2.5 1e3");
        check("UPDATE t SET a = 5, b = b + 1 WHERE c = 6", "UPDATE t SET a = ?, b = b + 1 WHERE c = ?", "5 6");
        check("DELETE FROM t WHERE c <> 'é' LIMIT 1", "DELETE FROM t WHERE c <> ? LIMIT 1", "'é'");
        let nested = "SELECT 1 FROM t WHERE a = (SELECT 3 FROM s WHERE b = 4 GROUP BY 1) AND c = 5";
        check(nested, "SELECT 1 FROM t WHERE a = (SELECT 3 FROM s WHERE b = ? GROUP BY 1) AND c = ?", "4 5");
    }

    #[test]
    fn what_is_part_of_an_expression_stays() {
        for sql in [
            "SELECT a = 1 FROM t",
            "SELECT 1 FROM t WHERE a = 1 + b",
            "SELECT 1 FROM t WHERE a = 'x' 'y'",
            "SELECT 1 FROM t WHERE a = 'x' COLLATE utf8mb4_bin",
            "SELECT 1 FROM t WHERE a = 1 = 1",
            "SELECT 1 FROM t WHERE a = 1 IS TRUE",
            "SELECT 1 FROM t WHERE a = _binary'x'",
            "SELECT 1 FROM t WHERE a IN (1, 2 + 3)",
            "SELECT 1 FROM t WHERE a IN (1) IS NULL",
            "SELECT 1 FROM t WHERE a BETWEEN 1 AND 2 + 3",
            "SELECT 1 FROM t WHERE 1 = 1 AND NULL = 1 AND @a = 1",
            "SELECT 1 FROM t HAVING a = 1",
            "SELECT 1 FROM t ORDER BY a = 1",
            "SELECT 1 FROM t WHERE a = DATE '2020-01-01'",
        ] {
            check(sql, sql, "");
        }
    }

    #[test]
    fn other_statements_are_left_alone() {
        for sql in ["INSERT INTO t VALUES (1)", "SELECT 1 FROM t WHERE a = ? AND b = 1", "SHOW TABLES WHERE a = 1"] {
            assert_eq!(generalised(sql), None, "{sql}");
        }
        let long = format!("SELECT 1 FROM t WHERE a = '{}'", "x".repeat(TEXT_BYTES_MAX));
        assert_eq!(generalised(&long), None);
        let many = format!("SELECT 1 FROM t WHERE a IN (1{})", ",1".repeat(PARAMETERS_MAX + 1));
        check(&many, &many, "");
    }
}
