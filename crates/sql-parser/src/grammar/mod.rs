//! `sqlparser`, and the way out of it: the grammar of queries and expressions is that crate's, the trees are ours.
//!
//! ```text
//! tokens ──▶ Grammar ──▶ sqlparser's Parser, under our dialect ──▶ its tree ──▶ Lowering ──▶ ast::Query, ast::Expr, …
//!               └ statements that are ours take token by token from it
//! ```
//!
//! No other module names `sqlparser`. It reads many dialects, and its tree has the clauses of all of them; the lowering
//! takes what MySQL has and the server does, says what is meant where the tree has only words (an interval that is added, a
//! row, a variable, the word DEFAULT), and refuses the rest by name. So whoever reads a tree of [`ast`](crate::ast) needs no
//! arm for what cannot be there.
//!
//! The tokens are `sqlparser`'s too, because its parser reads them: what our lexer finds is told in its words
//! (`TripleSingleQuotedByteStringLiteral` is a binary string), which the trees do not have.
//!
//! Not here: which statement it is (`statement`), what is done to tokens before they are read (`shorthand`, `windows`,
//! `views`), names of select items (`headers`).

mod changes;
mod dialect;
mod expr;
mod query;

use sql_base::SqlError;
use sqlparser::ast as tree;
use sqlparser::parser::{Parser, ParserError};

pub(crate) use sqlparser::keywords::Keyword;
pub(crate) use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Whitespace, Word};

use super::ast::{Expr, Ident, Name, Place};

/// How deep expressions and subqueries may nest. The parser grows its stack as needed; the limit bounds what later
/// stages, which recurse over the tree, must bear.
const NESTING_MAX: usize = 200;

/// How deep a tree may be, chains of operators aside: `a IS NULL IS NULL …` nests in no parenthesis. The binder bears as
/// much.
const DEPTH_MAX: usize = 256;

/// Why parsing stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Here: a byte offset in the text.
    At(usize),
    /// At the next token.
    Here,
    /// At the end of the text.
    End,
    /// An error with its own number.
    Sql(SqlError),
}

impl From<ParserError> for Stop {
    fn from(e: ParserError) -> Self {
        match e {
            ParserError::RecursionLimitExceeded => Stop::Sql(SqlError::StackOverrun),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
                // Our spans carry the byte offset as the column, at the end of the message.
                let at = text.rsplit_once("Column: ").and_then(|(_, n)| n.trim().parse::<usize>().ok());
                match at {
                    Some(column) if column > 0 => Stop::At(column - 1),
                    _ if text.contains("found: EOF") => Stop::End,
                    _ => Stop::Here,
                }
            }
        }
    }
}

impl From<SqlError> for Stop {
    fn from(e: SqlError) -> Self {
        Stop::Sql(e)
    }
}

pub(crate) type Parsed<T> = Result<T, Stop>;

static DIALECT: dialect::MeridianDialect = dialect::MeridianDialect;

/// The tokens of a statement, and what is read from them.
pub(crate) struct Grammar<'a> {
    p: Parser<'a>,
}

impl Grammar<'_> {
    pub(crate) fn new(tokens: Vec<TokenWithSpan>) -> Self {
        Grammar { p: Parser::new(&DIALECT).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens) }
    }

    // ---- Tokens ----

    /// The next token; after the last, `EOF`.
    pub(crate) fn peek(&self) -> &TokenWithSpan {
        self.p.peek_token_ref()
    }

    /// The nth token after the next.
    ///
    /// `sqlparser`'s own counts from here to skip whitespace, which our lexer has dropped already; looking for a word in
    /// a long statement would take a square of its length.
    pub(crate) fn peek_nth(&self, n: usize) -> &TokenWithSpan {
        self.p.token_at(self.p.index() + n)
    }

    /// The token of this number from the start.
    pub(crate) fn token_at(&self, at: usize) -> &TokenWithSpan {
        self.p.token_at(at)
    }

    /// The token that was taken last.
    pub(crate) fn last_token(&self) -> &TokenWithSpan {
        self.p.get_current_token()
    }

    pub(crate) fn advance_token(&mut self) {
        self.p.advance_token();
    }

    pub(crate) fn prev_token(&mut self) {
        self.p.prev_token();
    }

    /// Takes the token if it comes next.
    pub(crate) fn consume_token(&mut self, token: &Token) -> bool {
        self.p.consume_token(token)
    }

    /// The nth next token is this unquoted word.
    pub(crate) fn is_nth(&self, n: usize, word: &str) -> bool {
        is_word(&self.peek_nth(n).token, word)
    }

    /// Takes the words if they come next, all of them or none.
    pub(crate) fn eat(&mut self, words: &str) -> bool {
        let mut n = 0;
        for word in words.split(' ') {
            if !self.is_nth(n, word) {
                return false;
            }
            n += 1;
        }
        (0..n).for_each(|_| self.advance_token());
        true
    }

    // ---- Expressions; queries and changes are in the files beside ----

    /// A whole expression.
    pub(crate) fn expr(&mut self) -> Parsed<Expr> {
        let e = self.p.parse_expr()?;
        Ok(Lowering::default().expr(e)?)
    }

    /// An operand: up to the first operator that would go on with it.
    pub(crate) fn operand(&mut self) -> Parsed<Expr> {
        let e = self.p.parse_prefix()?;
        Ok(Lowering::default().expr(e)?)
    }
}

/// Makes our trees of `sqlparser`'s, and refuses what we do not have.
#[derive(Default)]
struct Lowering {
    /// How deep in the tree.
    depth: usize,
}

type Lowered<T> = Result<T, SqlError>;

impl Lowering {
    /// One step down in the tree.
    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Lowered<T>) -> Lowered<T> {
        if self.depth >= DEPTH_MAX {
            return Err(SqlError::StackOverrun);
        }
        self.depth += 1;
        let lowered = f(self);
        self.depth -= 1;
        lowered
    }
}

fn refuse<T>(what: impl ToString) -> Lowered<T> {
    Err(SqlError::NotSupported(what.to_string()))
}

fn place(span: sqlparser::tokenizer::Span) -> Place {
    Place((span.start.column as usize).saturating_sub(1))
}

fn ident(ident: tree::Ident) -> Ident {
    Ident { quoted: ident.quote_style.is_some(), at: place(ident.span), value: ident.value }
}

fn idents(list: Vec<tree::Ident>) -> Vec<Ident> {
    list.into_iter().map(ident).collect()
}

fn name(name: tree::ObjectName) -> Lowered<Name> {
    let parts = name.0.into_iter().map(|part| match part {
        tree::ObjectNamePart::Identifier(part) => Ok(ident(part)),
        other => refuse(other),
    });
    parts.collect::<Lowered<Vec<_>>>().map(Name)
}

pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
