//! From SQL text to [`Statement`].
//!
//! ```text
//! bytes ── lexer ──▶ tokens ── split at ; ──▶ one StatementParser each ──▶ Statement
//!                                              │ queries, data changes, expressions: sqlparser's grammar
//!                                              └ definitions, SHOW, SET, ADMIN, placement: ours, over the same tokens
//! ```
//!
//! The lexer is ours (see its header for why); the grammar of queries and expressions is `sqlparser`'s, under a dialect
//! that is its MySQL one with what it lacks, and only [`grammar`] knows it: what it reads becomes our trees ([`ast`]) or an
//! error there. Every syntax error tells MySQL's "near" text from the offending token on; what the grammar knows but the
//! server doesn't do is [`SqlError::NotSupported`] with the clause's name.
//!
//! May import `sql-base`, `query` for the names of functions and units, and in `grammar` `sqlparser`.
//!
//! Not here: what names mean, which types there are in the catalogue, anything of a session but its [`LexMode`].

mod alter;
mod analyze;
pub mod ast;
pub mod canonical;
mod ddl;
mod digest;
mod dml;
mod grammar;
mod headers;
mod into;
mod lexer;
mod lists;
mod literals;
mod load;
mod set;
mod shorthand;
mod show;
mod statement;
#[cfg(test)]
mod tests;
mod views;
mod windows;

use sql_base::SqlError;

use grammar::{Grammar, Parsed, Stop, Token, TokenWithSpan, is_word};

pub use ast::*;
pub use digest::normalized;
pub use lexer::LexMode;
pub use literals::{Generalised, Literal};

/// How many operators may follow each other at one nesting level (`1+1+1…`): such a chain makes a tree as deep as it is
/// long. A longer one is refused, because walking it would overflow the stack.
const OPERATOR_CHAIN_MAX: usize = 4000;

/// Bytes of SQL text that an error message repeats, as MySQL does.
const NEAR_BYTES_MAX: usize = 80;

/// Settings of one statement, from its optimizer hints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HintedSettings {
    /// `MAX_EXECUTION_TIME`, in milliseconds.
    pub max_execution_time: Option<u64>,
    /// `SET_VAR(name = value)`, and `MEMORY_QUOTA` under the variable's name.
    pub variables: Vec<(String, String)>,
}

/// Optimizer hints of a query that the planner reads, and warns of where it cannot follow them.
const PLANNER_HINTS: &[&str] = &[
    "USE_INDEX",
    "FORCE_INDEX",
    "IGNORE_INDEX",
    "INDEX",
    "NO_INDEX",
    "USE_INDEX_MERGE",
    "INDEX_MERGE",
    "NO_INDEX_MERGE",
    "HASH_JOIN",
    "NO_HASH_JOIN",
    "INL_JOIN",
    "INL_HASH_JOIN",
    "NO_INDEX_JOIN",
    "MERGE_JOIN",
    "TIDB_SMJ",
    "NO_MERGE_JOIN",
    "MERGE",
    "LEADING",
    "JOIN_ORDER",
    "JOIN_PREFIX",
    "STRAIGHT_JOIN",
    "JOIN_FIXED_ORDER",
];

/// One statement of a text, with where it is in it.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// The statement.
    pub statement: Statement,
    /// First byte in the text.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
    /// Number of `?` in it.
    pub params: usize,
    /// What it says that is not heeded, for `SHOW WARNINGS`.
    pub warnings: Vec<SqlError>,
    /// What hints set for this statement only.
    pub settings: HintedSettings,
}

/// Parses a text of any number of statements.
pub fn parse(sql: &[u8], mode: LexMode) -> Result<Vec<ParsedStatement>, SqlError> {
    split(sql, mode)?.into_iter().map(|piece| piece.parse(sql)).collect()
}

/// Parses exactly one statement (one trailing `;` is allowed).
pub fn parse_one(sql: &[u8], mode: LexMode) -> Result<ParsedStatement, SqlError> {
    let mut pieces = split(sql, mode)?;
    match pieces.len() {
        0 => Err(SqlError::EmptyQuery),
        1 => pieces.remove(0).parse(sql),
        _ => Err(syntax_error(sql, pieces[1].start)),
    }
}

/// Parses a query that the server wrote itself ([`canonical`]).
pub fn parse_query(text: &str) -> Result<Box<Query>, SqlError> {
    match parse_one(text.as_bytes(), LexMode::default())?.statement {
        Statement::Query(query) => Ok(query),
        _ => Err(syntax_error(text.as_bytes(), 0)),
    }
}

/// Parses one expression, for defaults kept as text and the like.
pub fn parse_expr(text: &str) -> Result<Expr, SqlError> {
    let sql = text.as_bytes();
    let lexer::Lexed { mut tokens, .. } =
        lexer::tokenize(sql, LexMode::default()).map_err(|e| syntax_error(sql, e.offset))?;
    check_chains(&tokens)?;
    number_parameters(&mut tokens);
    let mut parser = StatementParser::new(sql, sql.len(), tokens);
    let result = parser.expr().and_then(|e| parser.expect_end().map(|()| e));
    result.map_err(|e| parser.to_sql_error(e))
}

/// The tokens of one statement.
#[derive(Debug)]
pub struct Piece {
    tokens: Vec<TokenWithSpan>,
    hints: Vec<lexer::Hint>,
    /// First byte of the statement in the text.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

impl Piece {
    /// Parses the statement out of the text that it was split from.
    pub fn parse(mut self, sql: &[u8]) -> Result<ParsedStatement, SqlError> {
        check_chains(&self.tokens)?;
        let defines_view = views::defines_view(&self.tokens);
        let check_option = views::take_check_option(&mut self.tokens);
        let into = into::take_variables(&mut self.tokens)?;
        shorthand::check_values(&self.tokens).map_err(|at| syntax_error(sql, at))?;
        shorthand::expand(&mut self.tokens, defines_view).map_err(|at| syntax_error(sql, at))?;
        lists::expand(&mut self.tokens);
        let params = number_parameters(&mut self.tokens);
        windows::prepare(&mut self.tokens).map_err(|why| match why {
            Ok(e) => e,
            Err(at) => syntax_error(sql, at.unwrap_or(self.end)),
        })?;
        let mut parser = StatementParser::new(sql, self.end, self.tokens);
        (parser.view, parser.check_option) = (defines_view, check_option);
        let settings = parser.hints(&self.hints, self.start);
        let result = parser.statement().and_then(|s| parser.expect_end().map(|()| s));
        match result {
            Ok(mut statement) => {
                match &mut statement {
                    Statement::Query(query) => headers::name_items(&parser, query),
                    Statement::Ddl(Ddl::CreateView(view)) => headers::name_items(&parser, &mut view.query),
                    Statement::Update(update) => headers::name_items_of_with(&parser, update.with.as_mut()),
                    Statement::Delete(delete) => headers::name_items_of_with(&parser, delete.with.as_mut()),
                    _ => {}
                }
                if let Some(variables) = into {
                    statement = Statement::SelectInto { query: Box::new(statement), variables };
                }
                let warnings = parser.warnings;
                Ok(ParsedStatement { statement, start: self.start, end: self.end, params, warnings, settings })
            }
            Err(e) => Err(parser.to_sql_error(e)),
        }
    }
}

/// Splits a text at its semicolons; empty statements vanish. Statements are parsed one at a time by the caller, because
/// MySQL runs those before a syntax error.
pub fn split(sql: &[u8], mode: LexMode) -> Result<Vec<Piece>, SqlError> {
    let lexer::Lexed { tokens, hints } = lexer::tokenize(sql, mode).map_err(|e| syntax_error(sql, e.offset))?;
    let mut hints = hints.into_iter().peekable();
    let mut pieces = Vec::new();
    let mut current = Vec::with_capacity(tokens.len());
    let mut finish = |tokens: Vec<TokenWithSpan>| {
        if let (Some(first), Some(last)) = (tokens.first(), tokens.last()) {
            let (start, end) = (offset(first), last.span.end.column as usize - 1);
            let hints = std::iter::from_fn(|| hints.next_if(|hint| hint.offset < end)).collect();
            pieces.push(Piece { start, end, tokens, hints });
        }
    };
    for token in tokens {
        if token.token == Token::SemiColon {
            finish(std::mem::take(&mut current));
        } else {
            current.push(token);
        }
    }
    finish(current);
    Ok(pieces)
}

/// Parameters are numbered from 1 in the order of the text, whatever order the tree is read in. Returns how many there are.
fn number_parameters(tokens: &mut [TokenWithSpan]) -> usize {
    let mut params = 0;
    for token in tokens {
        if let Token::Placeholder(name) = &mut token.token {
            params += 1;
            *name = format!("?{params}");
        }
    }
    params
}

fn offset(token: &TokenWithSpan) -> usize {
    (token.span.start.column as usize).saturating_sub(1)
}

/// Refuses chains of operators that would make too deep a tree.
fn check_chains(tokens: &[TokenWithSpan]) -> Result<(), SqlError> {
    if tokens.len() < OPERATOR_CHAIN_MAX {
        return Ok(());
    }
    let mut chains = vec![0usize];
    for token in tokens {
        match &token.token {
            Token::LParen => chains.push(0),
            Token::RParen if chains.len() > 1 => {
                chains.pop();
            }
            Token::Comma => *chains.last_mut().expect("never empty") = 0,
            Token::Word(w) => {
                let joins =
                    ["AND", "OR", "XOR", "DIV", "MOD", "NOT", "UNION", "EXCEPT", "INTERSECT", "JOIN", "COLLATE"];
                if w.quote_style.is_none() && joins.iter().any(|j| w.value.eq_ignore_ascii_case(j)) {
                    *chains.last_mut().expect("never empty") += 1;
                }
            }
            Token::Number(..) | Token::SingleQuotedString(_) | Token::HexStringLiteral(_) => {}
            Token::Placeholder(_) | Token::Period | Token::SingleQuotedByteStringLiteral(_) => {}
            Token::TripleSingleQuotedByteStringLiteral(_) => {}
            _ => *chains.last_mut().expect("never empty") += 1,
        }
        if *chains.last().expect("never empty") > OPERATOR_CHAIN_MAX {
            return Err(SqlError::StackOverrun);
        }
    }
    Ok(())
}

/// `10 MB` or `1 GB`, in bytes.
fn memory_quota(argument: &str) -> Option<u64> {
    let (number, unit) = argument.trim().split_once(|c: char| c.is_whitespace())?;
    let factor = match unit.trim().to_ascii_uppercase().as_str() {
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Whether the planner reads a hint of that name.
fn is_planner_hint(name: &str) -> bool {
    PLANNER_HINTS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn syntax_error(sql: &[u8], offset: usize) -> SqlError {
    syntax_error_until(sql, offset, sql.len())
}

fn syntax_error_until(sql: &[u8], offset: usize, end: usize) -> SqlError {
    let end = end.min(sql.len());
    let offset = offset.min(end);
    let line = 1 + sql[..offset].iter().filter(|&&b| b == b'\n').count() as u64;
    let near = String::from_utf8_lossy(&sql[offset..end.min(offset + NEAR_BYTES_MAX)]).into_owned();
    SqlError::Syntax { near, line }
}

/// Reads one statement. The methods in this file are the vocabulary; the statements are in the files beside it.
struct StatementParser<'a> {
    sql: &'a [u8],
    /// Where the statement ends in the text.
    end: usize,
    p: Grammar<'a>,
    /// How deep `EXPLAIN` and the like are nested.
    depth: usize,
    /// The statement defines a view,
    view: bool,
    /// and says this of what may be written through it.
    check_option: Option<bool>,
    /// Hints of an UPDATE or DELETE for the planner.
    change_hints: Vec<Hint>,
    /// What was read and will not be heeded.
    warnings: Vec<SqlError>,
}

impl<'a> StatementParser<'a> {
    fn new(sql: &'a [u8], end: usize, tokens: Vec<TokenWithSpan>) -> Self {
        StatementParser {
            sql,
            end,
            p: Grammar::new(tokens),
            depth: 0,
            view: false,
            check_option: None,
            change_hints: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn to_sql_error(&self, stop: Stop) -> SqlError {
        match stop {
            Stop::Sql(e) => e,
            Stop::At(offset) => syntax_error(self.sql, offset),
            Stop::Here => syntax_error(self.sql, self.here()),
            Stop::End => syntax_error(self.sql, self.sql.len()),
        }
    }

    /// Byte offset of the next token.
    fn here(&self) -> usize {
        let token = self.p.peek();
        if token.token == Token::EOF { self.end } else { offset(token) }
    }

    /// The error "not this token".
    fn unexpected<T>(&self) -> Parsed<T> {
        Err(Stop::At(self.here()))
    }

    fn unsupported<T>(&self, what: impl Into<String>) -> Parsed<T> {
        Err(Stop::Sql(SqlError::NotSupported(what.into())))
    }

    /// An option that changes nothing but how something would be done elsewhere.
    fn ignored(&mut self, option: &str) {
        self.warnings.push(SqlError::OptionIgnored(option.to_owned()));
    }

    /// Reads the optimizer hints: those that set something for the whole statement are returned.
    fn hints(&mut self, hints: &[lexer::Hint], start: usize) -> HintedSettings {
        let mut settings = HintedSettings::default();
        for hint in hints {
            for (name, argument) in &hint.calls {
                let whole = hint.verb == start;
                match name.to_ascii_uppercase().as_str() {
                    "MAX_EXECUTION_TIME" if whole && argument.trim().parse::<u64>().is_ok() => {
                        settings.max_execution_time = argument.trim().parse().ok();
                    }
                    "SET_VAR" if whole && argument.contains('=') => {
                        let (name, value) = argument.split_once('=').unwrap_or_default();
                        let value = value.trim().trim_matches(['\'', '"']);
                        settings.variables.push((name.trim().to_lowercase(), value.to_owned()));
                    }
                    "MEMORY_QUOTA" if whole && memory_quota(argument).is_some() => {
                        let bytes = memory_quota(argument).unwrap_or_default();
                        settings.variables.push(("tidb_mem_quota_query".to_owned(), bytes.to_string()));
                    }
                    // The planner reads these in the tree.
                    _ if hint.of_query && is_planner_hint(name) => {}
                    _ if hint.of_change && is_planner_hint(name) => {
                        self.change_hints.push(Hint { name: name.clone(), argument: argument.clone() });
                    }
                    _ => self.warnings.push(SqlError::HintIgnored(name.clone())),
                }
            }
        }
        settings
    }

    fn peek(&self) -> &Token {
        &self.p.peek().token
    }

    fn peek_nth(&self, n: usize) -> &Token {
        &self.p.peek_nth(n).token
    }

    fn at_end(&self) -> bool {
        *self.peek() == Token::EOF
    }

    fn expect_end(&self) -> Parsed<()> {
        if self.at_end() { Ok(()) } else { self.unexpected() }
    }

    /// The rest of the statement's text, which is thereby read.
    fn rest(&mut self) -> String {
        let from = self.here().min(self.end);
        while !self.at_end() {
            self.p.advance_token();
        }
        String::from_utf8_lossy(&self.sql[from..self.end]).into_owned()
    }

    // ---- Words ----

    /// The nth next token is this unquoted word.
    fn is_nth(&self, n: usize, word: &str) -> bool {
        self.p.is_nth(n, word)
    }

    fn is(&self, word: &str) -> bool {
        self.is_nth(0, word)
    }

    /// Takes the words if they come next, all of them or none.
    fn eat(&mut self, words: &str) -> bool {
        self.p.eat(words)
    }

    /// Takes one of several words (or phrases).
    fn eat_any(&mut self, choices: &[&'static str]) -> Option<&'static str> {
        choices.iter().copied().find(|words| self.eat(words))
    }

    fn expect(&mut self, words: &str) -> Parsed<()> {
        for word in words.split(' ') {
            if !self.eat(word) {
                return self.unexpected();
            }
        }
        Ok(())
    }

    fn eat_token(&mut self, token: &Token) -> bool {
        self.p.consume_token(token)
    }

    fn expect_token(&mut self, token: &Token) -> Parsed<()> {
        if self.eat_token(token) { Ok(()) } else { self.unexpected() }
    }

    fn if_exists(&mut self) -> Parsed<bool> {
        if self.eat("IF") {
            self.expect("EXISTS")?;
            return Ok(true);
        }
        Ok(false)
    }

    fn if_not_exists(&mut self) -> Parsed<bool> {
        if self.eat("IF") {
            self.expect("NOT EXISTS")?;
            return Ok(true);
        }
        Ok(false)
    }

    // ---- Names and values ----

    /// An identifier: quoted, or a word that MySQL doesn't reserve.
    fn name(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::Word(w) if w.quote_style.is_some() || !is_reserved(&w.value) => {
                if w.quote_style.is_none() && w.value.starts_with('@') {
                    return self.unexpected();
                }
                let name = w.value.clone();
                self.p.advance_token();
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    /// A name in a place where any word may stand, as after a period.
    fn any_word(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::Word(w) if !w.value.starts_with('@') || w.quote_style.is_some() => {
                let name = w.value.clone();
                self.p.advance_token();
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    fn table_name(&mut self) -> Parsed<TableName> {
        let first = self.name()?;
        if self.eat_token(&Token::Period) {
            return Ok(TableName { database: Some(first), name: self.any_word()? });
        }
        Ok(TableName { database: None, name: first })
    }

    /// `[tbl.]col`: the column's name.
    fn column_name(&mut self) -> Parsed<String> {
        let mut name = self.name()?;
        while self.eat_token(&Token::Period) {
            name = self.any_word()?;
        }
        Ok(name)
    }

    fn string(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::SingleQuotedString(s) => {
                let s = s.clone();
                self.p.advance_token();
                Ok(s)
            }
            _ => self.unexpected(),
        }
    }

    /// A string or a word, as charset names and `ENGINE` values are.
    fn string_or_word(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::SingleQuotedString(_) => self.string(),
            Token::Word(w) if !w.value.starts_with('@') => self.any_word(),
            _ => self.unexpected(),
        }
    }

    fn unsigned(&mut self) -> Parsed<u64> {
        match self.peek() {
            Token::Number(n, _) => match n.parse() {
                Ok(n) => {
                    self.p.advance_token();
                    Ok(n)
                }
                Err(_) => self.unexpected(),
            },
            Token::HexStringLiteral(h) => match u64::from_str_radix(h, 16) {
                Ok(n) => {
                    self.p.advance_token();
                    Ok(n)
                }
                Err(_) => self.unexpected(),
            },
            _ => self.unexpected(),
        }
    }

    fn unsigned32(&mut self) -> Parsed<u32> {
        let here = self.here();
        u32::try_from(self.unsigned()?).map_err(|_| Stop::At(here))
    }

    fn expr(&mut self) -> Parsed<Expr> {
        self.p.expr()
    }

    fn comma_separated<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn parenthesized<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.expect_token(&Token::LParen)?;
        let value = inner(self)?;
        self.expect_token(&Token::RParen)?;
        Ok(value)
    }

    /// The text between here and the end of a balanced parenthesis, for clauses that are only named in a refusal.
    fn skip_parenthesized(&mut self) -> Parsed<()> {
        self.expect_token(&Token::LParen)?;
        let mut depth = 1;
        while depth > 0 {
            match self.peek() {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return self.unexpected(),
                _ => {}
            }
            self.p.advance_token();
        }
        Ok(())
    }
}

/// Words that MySQL 8 reserves: as a name they need backticks.
fn is_reserved(word: &str) -> bool {
    let mut buffer = [0u8; 24];
    let Some(upper) = buffer.get_mut(..word.len()) else { return false };
    upper.copy_from_slice(word.as_bytes());
    upper.make_ascii_uppercase();
    std::str::from_utf8(upper).is_ok_and(|w| RESERVED.binary_search(&w).is_ok())
}

/// Sorted. The words added by MySQL 8 for window functions and the like are reserved as there.
const RESERVED: &[&str] = &[
    "ACCESSIBLE",
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "ASENSITIVE",
    "BEFORE",
    "BETWEEN",
    "BIGINT",
    "BINARY",
    "BLOB",
    "BOTH",
    "BY",
    "CALL",
    "CASCADE",
    "CASE",
    "CHANGE",
    "CHAR",
    "CHARACTER",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONDITION",
    "CONSTRAINT",
    "CONTINUE",
    "CONVERT",
    "CREATE",
    "CROSS",
    "CUBE",
    "CUME_DIST",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "CURSOR",
    "DATABASE",
    "DATABASES",
    "DAY_HOUR",
    "DAY_MICROSECOND",
    "DAY_MINUTE",
    "DAY_SECOND",
    "DEC",
    "DECIMAL",
    "DECLARE",
    "DEFAULT",
    "DELAYED",
    "DELETE",
    "DENSE_RANK",
    "DESC",
    "DESCRIBE",
    "DETERMINISTIC",
    "DISTINCT",
    "DISTINCTROW",
    "DIV",
    "DOUBLE",
    "DROP",
    "DUAL",
    "EACH",
    "ELSE",
    "ELSEIF",
    "EMPTY",
    "ENCLOSED",
    "ESCAPED",
    "EXCEPT",
    "EXISTS",
    "EXIT",
    "EXPLAIN",
    "FALSE",
    "FETCH",
    "FIRST_VALUE",
    "FLOAT",
    "FLOAT4",
    "FLOAT8",
    "FOR",
    "FORCE",
    "FOREIGN",
    "FROM",
    "FULLTEXT",
    "FUNCTION",
    "GENERATED",
    "GET",
    "GRANT",
    "GROUP",
    "GROUPING",
    "GROUPS",
    "HAVING",
    "HIGH_PRIORITY",
    "HOUR_MICROSECOND",
    "HOUR_MINUTE",
    "HOUR_SECOND",
    "IF",
    "IGNORE",
    "IN",
    "INDEX",
    "INFILE",
    "INNER",
    "INOUT",
    "INSENSITIVE",
    "INSERT",
    "INT",
    "INT1",
    "INT2",
    "INT3",
    "INT4",
    "INT8",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IO_AFTER_GTIDS",
    "IO_BEFORE_GTIDS",
    "IS",
    "ITERATE",
    "JOIN",
    "JSON_TABLE",
    "KEY",
    "KEYS",
    "KILL",
    "LAG",
    "LAST_VALUE",
    "LATERAL",
    "LEAD",
    "LEADING",
    "LEAVE",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LINEAR",
    "LINES",
    "LOAD",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "LOCK",
    "LONG",
    "LONGBLOB",
    "LONGTEXT",
    "LOOP",
    "LOW_PRIORITY",
    "MASTER_BIND",
    "MASTER_SSL_VERIFY_SERVER_CERT",
    "MATCH",
    "MAXVALUE",
    "MEDIUMBLOB",
    "MEDIUMINT",
    "MEDIUMTEXT",
    "MIDDLEINT",
    "MINUTE_MICROSECOND",
    "MINUTE_SECOND",
    "MOD",
    "MODIFIES",
    "NATURAL",
    "NOT",
    "NO_WRITE_TO_BINLOG",
    "NTH_VALUE",
    "NTILE",
    "NULL",
    "NUMERIC",
    "OF",
    "ON",
    "OPTIMIZE",
    "OPTIMIZER_COSTS",
    "OPTION",
    "OPTIONALLY",
    "OR",
    "ORDER",
    "OUT",
    "OUTER",
    "OUTFILE",
    "OVER",
    "PARTITION",
    "PERCENT_RANK",
    "PRECISION",
    "PRIMARY",
    "PROCEDURE",
    "PURGE",
    "RANGE",
    "RANK",
    "READ",
    "READS",
    "READ_WRITE",
    "REAL",
    "RECURSIVE",
    "REFERENCES",
    "REGEXP",
    "RELEASE",
    "RENAME",
    "REPEAT",
    "REPLACE",
    "REQUIRE",
    "RESIGNAL",
    "RESTRICT",
    "RETURN",
    "REVOKE",
    "RIGHT",
    "RLIKE",
    "ROW",
    "ROWS",
    "ROW_NUMBER",
    "SCHEMA",
    "SCHEMAS",
    "SECOND_MICROSECOND",
    "SELECT",
    "SENSITIVE",
    "SEPARATOR",
    "SET",
    "SHOW",
    "SIGNAL",
    "SMALLINT",
    "SPATIAL",
    "SPECIFIC",
    "SQL",
    "SQLEXCEPTION",
    "SQLSTATE",
    "SQLWARNING",
    "SQL_BIG_RESULT",
    "SQL_CALC_FOUND_ROWS",
    "SQL_SMALL_RESULT",
    "SSL",
    "STARTING",
    "STORED",
    "STRAIGHT_JOIN",
    "SYSTEM",
    "TABLE",
    "TERMINATED",
    "THEN",
    "TINYBLOB",
    "TINYINT",
    "TINYTEXT",
    "TO",
    "TRAILING",
    "TRIGGER",
    "TRUE",
    "UNDO",
    "UNION",
    "UNIQUE",
    "UNLOCK",
    "UNSIGNED",
    "UPDATE",
    "USAGE",
    "USE",
    "USING",
    "UTC_DATE",
    "UTC_TIME",
    "UTC_TIMESTAMP",
    "VALUES",
    "VARBINARY",
    "VARCHAR",
    "VARCHARACTER",
    "VARYING",
    "VIRTUAL",
    "WHEN",
    "WHERE",
    "WHILE",
    "WINDOW",
    "WITH",
    "WRITE",
    "XOR",
    "YEAR_MONTH",
    "ZEROFILL",
];
