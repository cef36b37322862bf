//! MySQL's lexical rules, giving tokens that the [`grammar`](crate::grammar) reads.
//!
//! That has a tokenizer of its own; it isn't used, because a MySQL server's differs where it shows: input is
//! bytes (a literal need not be UTF-8), double quotes mean a string unless `ANSI_QUOTES`, `/*! … */` and `/*T! … */`
//! are code, `||` means OR unless `PIPES_AS_CONCAT`, `@@session.x` and `@'a b'` are one name, `1a` is a name, and an
//! error must tell the text from the offending byte on. Whitespace gives no token, which also makes parsing cheaper; a hint for the planner gives one.
//!
//! A token's span tells its line, and as *column* its byte offset in the input plus one.

use codec::charset::Charset;

use crate::grammar::{Keyword, Location, Token, TokenWithSpan, Whitespace, Word};

/// What of `sql_mode` changes the reading of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexMode {
    /// `character_set_client`: what the text was in before it was UTF-8.
    pub client: Charset,
    /// `ANSI_QUOTES`: `"x"` is a name.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES`: `\` is an ordinary character.
    pub no_backslash_escapes: bool,
    /// `PIPES_AS_CONCAT`: `||` joins strings.
    pub pipes_as_concat: bool,
    /// `REAL_AS_FLOAT`: the type REAL is FLOAT.
    pub real_as_float: bool,
}

impl Default for LexMode {
    fn default() -> Self {
        LexMode {
            client: Charset::Utf8mb4,
            ansi_quotes: false,
            no_backslash_escapes: false,
            pipes_as_concat: false,
            real_as_float: false,
        }
    }
}

/// Text that no token starts with, or a literal or comment without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LexError {
    /// Byte offset.
    pub(crate) offset: usize,
    /// Line, from 1.
    pub(crate) line: u64,
}

/// `/*!80011 … */` is code up to this version: what the server tells in its greeting.
const EXECUTABLE_COMMENT_VERSION_MAX: u32 = 80011;

/// Features whose `/*T![feature] … */` comments are code.
const TIDB_FEATURES: &[&str] =
    &["auto_rand", "auto_id_cache", "auto_rand_base", "clustered_index", "force_inc", "placement", "ttl"];

/// Introducers of literals in a character set.
const INTRODUCERS: &[&str] = &["_utf8mb4", "_utf8", "_utf8mb3", "_ascii", "_latin1", "_binary", "_gbk"];

/// Words that `/*+ … */` may follow.
const HINTED: &[Keyword] = &[Keyword::SELECT, Keyword::INSERT, Keyword::REPLACE, Keyword::UPDATE, Keyword::DELETE];

/// An optimizer hint: `/*+ NAME(argument) … */` behind the verb of a query or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hint {
    /// First byte of the comment.
    pub(crate) offset: usize,
    /// First byte of the verb.
    pub(crate) verb: usize,
    /// The verb is SELECT.
    pub(crate) of_query: bool,
    /// The verb is UPDATE or DELETE.
    pub(crate) of_change: bool,
    /// Names, with what is in their parentheses.
    pub(crate) calls: Vec<(String, String)>,
}

/// An input's tokens, and the hints between them.
#[derive(Debug)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) hints: Vec<Hint>,
}

/// All tokens of the input.
pub(crate) fn tokenize(sql: &[u8], mode: LexMode) -> Result<Lexed, LexError> {
    let tokens = Vec::with_capacity(sql.len() / 4 + 4);
    let mut lexer = Lexer { sql, at: 0, line: 1, mode, in_comment: false, tokens, rest: Vec::new(), hints: Vec::new() };
    lexer.run()?;
    Ok(Lexed { tokens: lexer.tokens, hints: lexer.hints })
}

/// The tokens of the input up to one that is none.
pub(crate) fn readable(sql: &[u8], mode: LexMode) -> Vec<TokenWithSpan> {
    let mut lexer =
        Lexer { sql, at: 0, line: 1, mode, in_comment: false, tokens: Vec::new(), rest: Vec::new(), hints: Vec::new() };
    let _ = lexer.run();
    lexer.tokens
}

/// `NAME(argument) NAME …`: the argument may have parentheses of its own.
fn hint_calls(text: &str) -> Vec<(String, String)> {
    let mut calls: Vec<(String, String)> = Vec::new();
    let (mut depth, mut in_name) = (0, false);
    for c in text.chars() {
        depth -= i32::from(c == ')' && depth > 0);
        match calls.last_mut() {
            Some((_, argument)) if depth > 0 => argument.push(c),
            Some((name, _)) if in_name && (c.is_alphanumeric() || c == '_') => name.push(c),
            _ if depth == 0 && (c.is_alphanumeric() || c == '_') => calls.push((c.to_string(), String::new())),
            _ => {}
        }
        in_name = depth == 0 && (c.is_alphanumeric() || c == '_');
        depth += i32::from(c == '(');
    }
    calls
}

struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    line: u64,
    mode: LexMode,
    /// Inside an executable comment, whose `*/` is still to come.
    in_comment: bool,
    tokens: Vec<TokenWithSpan>,
    /// Tokens that stand for the same text as the one before them, to be put behind it.
    rest: Vec<Token>,
    hints: Vec<Hint>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), LexError> {
        loop {
            self.skip_blanks()?;
            let start = self.at;
            let line = self.line;
            let Some(&byte) = self.sql.get(self.at) else { break };
            let token = self.token(byte)?;
            let from = Location { line, column: start as u64 + 1 };
            let to = Location { line: self.line, column: self.at as u64 + 1 };
            self.tokens.push(TokenWithSpan::at(token, from, to));
            let rest = std::mem::take(&mut self.rest).into_iter();
            self.tokens.extend(rest.map(|token| TokenWithSpan::at(token, from, to)));
        }
        if self.in_comment {
            return Err(self.error_at(self.sql.len()));
        }
        Ok(())
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.sql.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error_at(&self, offset: usize) -> LexError {
        LexError { offset, line: self.line }
    }

    /// Blanks and comments; enters and leaves executable comments.
    fn skip_blanks(&mut self) -> Result<(), LexError> {
        while let Some(&byte) = self.sql.get(self.at) {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                // Clients written in C sometimes count the terminator.
                0 if self.sql[self.at..].iter().all(|&b| b == 0) => self.at = self.sql.len(),
                b'#' => self.skip_line(),
                b'-' if self.peek(1) == b'-' && (self.at + 2 >= self.sql.len() || self.peek(2) <= b' ') => {
                    self.skip_line()
                }
                b'/' if self.peek(1) == b'*' => self.comment()?,
                b'*' if self.in_comment && self.peek(1) == b'/' => {
                    self.in_comment = false;
                    self.at += 2;
                }
                _ => break,
            }
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        while let Some(&byte) = self.sql.get(self.at) {
            if byte == b'\n' {
                break;
            }
            self.at += 1;
        }
    }

    fn comment(&mut self) -> Result<(), LexError> {
        let start = self.at;
        if !self.in_comment && self.executable_comment() {
            self.in_comment = true;
            return Ok(());
        }
        self.at = start + 2;
        while self.at < self.sql.len() {
            if self.peek(0) == b'*' && self.peek(1) == b'/' {
                self.keep_hint(start);
                self.at += 2;
                return Ok(());
            }
            if self.peek(0) == b'\n' {
                self.line += 1;
            }
            self.at += 1;
        }
        Err(self.error_at(start))
    }

    /// Keeps the comment that ends here if it is a hint.
    fn keep_hint(&mut self, start: usize) {
        let Some(text) = self.sql[start + 2..self.at].strip_prefix(b"+") else { return };
        if let Some(TokenWithSpan { token: Token::Word(verb), span }) = self.tokens.last()
            && HINTED.contains(&verb.keyword)
        {
            let calls = hint_calls(&String::from_utf8_lossy(text));
            let of_query = verb.keyword == Keyword::SELECT;
            let of_change = matches!(verb.keyword, Keyword::UPDATE | Keyword::DELETE);
            let verb = span.start.column as usize - 1;
            if of_query {
                // The grammar keeps those for the planner in the tree of the block they are of: one comment each.
                let of_planner = |call: &&(String, String)| super::is_planner_hint(&call.0);
                for (name, argument) in calls.iter().filter(of_planner) {
                    let comment = Whitespace::MultiLineComment(format!("+{name}({argument})"));
                    let at = Location { line: self.line, column: start as u64 + 1 };
                    self.tokens.push(TokenWithSpan::at(Token::Whitespace(comment), at, at));
                }
            }
            self.hints.push(Hint { offset: start, verb, of_query, of_change, calls });
        }
    }

    /// Steps over the head of a comment whose content is code, if it is one.
    fn executable_comment(&mut self) -> bool {
        let rest = &self.sql[self.at + 2..];
        if let Some(rest) = rest.strip_prefix(b"!") {
            let digits = rest.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
            let digits = if digits >= 5 { digits } else { 0 };
            let version = rest[..digits].iter().fold(0u32, |v, b| v * 10 + u32::from(b - b'0'));
            self.at += 3 + digits;
            return version <= EXECUTABLE_COMMENT_VERSION_MAX;
        }
        let Some(rest) = rest.strip_prefix(b"T!") else { return false };
        self.at += 4;
        let Some(rest) = rest.strip_prefix(b"[") else { return true };
        let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
        let known = |name: &[u8]| TIDB_FEATURES.iter().any(|f| f.as_bytes().eq_ignore_ascii_case(name.trim_ascii()));
        let all = rest[..end].split(|&b| b == b',').all(known);
        self.at += end + 2;
        all
    }

    fn token(&mut self, byte: u8) -> Result<Token, LexError> {
        Ok(match byte {
            b'\'' => self.string(b'\'')?,
            b'"' if self.mode.ansi_quotes => {
                let name = self.quoted_name(b'"')?;
                // Grammar knows one quote for names.
                word(name, Some('`'))
            }
            b'"' => self.string(b'"')?,
            b'`' => {
                let name = self.quoted_name(b'`')?;
                word(name, Some('`'))
            }
            b'0'..=b'9' => self.number_or_word()?,
            b'.' if self.peek(1).is_ascii_digit() && !self.after_name() => self.number_or_word()?,
            b'@' => self.variable()?,
            b'?' => self.one(Token::Placeholder("?".into())),
            b'x' | b'X' if self.peek(1) == b'\'' => self.hex_string()?,
            b'b' | b'B' if self.peek(1) == b'\'' => self.bit_string()?,
            b'n' | b'N' if self.peek(1) == b'\'' => {
                self.at += 1;
                self.string(b'\'')?
            }
            b'_' => self.introducer_or_word()?,
            b if is_word_byte(b) => self.bare_word()?,
            b'\\' if self.peek(1) == b'N' => {
                self.at += 2;
                Token::make_keyword("NULL")
            }
            _ => self.operator(byte)?,
        })
    }

    fn one(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn take(&mut self, bytes: usize, token: Token) -> Token {
        self.at += bytes;
        token
    }

    fn operator(&mut self, byte: u8) -> Result<Token, LexError> {
        let (one, two) = (self.peek(1), self.peek(2));
        Ok(match (byte, one, two) {
            (b'<', b'=', b'>') => self.take(3, Token::Spaceship),
            (b'<', b'=', _) => self.take(2, Token::LtEq),
            (b'<', b'>', _) => self.take(2, Token::Neq),
            (b'<', b'<', _) => self.take(2, Token::ShiftLeft),
            (b'<', ..) => self.one(Token::Lt),
            (b'>', b'=', _) => self.take(2, Token::GtEq),
            (b'>', b'>', _) => self.take(2, Token::ShiftRight),
            (b'>', ..) => self.one(Token::Gt),
            (b'!', b'=', _) => self.take(2, Token::Neq),
            (b'!', ..) => self.one(Token::ExclamationMark),
            (b'-', b'>', b'>') => self.take(3, Token::LongArrow),
            (b'-', b'>', _) => self.take(2, Token::Arrow),
            (b'-', ..) => self.one(Token::Minus),
            (b'|', b'|', _) if self.mode.pipes_as_concat => self.take(2, Token::StringConcat),
            (b'|', b'|', _) => self.take(2, Token::make_keyword("OR")),
            (b'|', ..) => self.one(Token::Pipe),
            (b'&', b'&', _) => self.take(2, Token::make_keyword("AND")),
            (b'&', ..) => self.one(Token::Ampersand),
            (b':', b'=', _) => self.take(2, Token::Assignment),
            (b':', ..) => self.one(Token::Colon),
            (b'=', ..) => self.one(Token::Eq),
            (b'+', ..) => self.one(Token::Plus),
            (b'*', ..) => self.one(Token::Mul),
            (b'/', ..) => self.one(Token::Div),
            (b'%', ..) => self.one(Token::Mod),
            (b'^', ..) => self.one(Token::Caret),
            (b'~', ..) => self.one(Token::Tilde),
            (b'(', ..) => self.one(Token::LParen),
            (b')', ..) => self.one(Token::RParen),
            (b'{', ..) => self.one(Token::LBrace),
            (b'}', ..) => self.one(Token::RBrace),
            (b',', ..) => self.one(Token::Comma),
            (b';', ..) => self.one(Token::SemiColon),
            (b'.', ..) => self.one(Token::Period),
            _ => return Err(self.error_at(self.at)),
        })
    }

    /// A literal in quotes: UTF-8 gives a string, other bytes (or `binary`) a binary string.
    fn string(&mut self, quote: u8) -> Result<Token, LexError> {
        self.quoted_bytes(quote).map(string_token)
    }

    /// A string behind an introducer: its bytes, as the client sent them, are of that character set.
    fn string_of(&mut self, set: Charset, quote: u8) -> Result<Token, LexError> {
        let bytes = self.quoted_bytes(quote)?;
        let sent = self.mode.client.encode(&bytes);
        Ok(self.text_of(set, &sent))
    }

    /// A literal of bytes in that character set. Where its characters have other bytes than in UTF-8 it is what
    /// `CONVERT(text USING set)` gives: the literals of the grammar know no character set.
    fn text_of(&mut self, set: Charset, bytes: &[u8]) -> Token {
        let text = match set.decode(bytes) {
            Ok(text) if set != Charset::Binary => string_token(text.into_owned()),
            _ => return binary_string(bytes),
        };
        if set.is_utf8() || bytes.is_ascii() {
            return text;
        }
        let name = word(set.name().to_owned(), None);
        self.rest = vec![Token::LParen, text, Token::make_keyword("USING"), name, Token::RParen];
        Token::make_keyword("CONVERT")
    }

    fn quoted_bytes(&mut self, quote: u8) -> Result<Vec<u8>, LexError> {
        let start = self.at;
        let mut bytes = Vec::new();
        self.at += 1;
        loop {
            let Some(&byte) = self.sql.get(self.at) else { return Err(self.error_at(start)) };
            self.at += 1;
            match byte {
                b if b == quote => {
                    if self.peek(0) != quote || self.at >= self.sql.len() {
                        return Ok(bytes);
                    }
                    bytes.push(quote);
                    self.at += 1;
                }
                b'\\' if !self.mode.no_backslash_escapes => {
                    let Some(&escaped) = self.sql.get(self.at) else { return Err(self.error_at(start)) };
                    self.at += 1;
                    match escaped {
                        b'0' => bytes.push(0),
                        b'b' => bytes.push(8),
                        b'n' => bytes.push(b'\n'),
                        b'r' => bytes.push(b'\r'),
                        b't' => bytes.push(b'\t'),
                        b'Z' => bytes.push(0x1a),
                        // Kept for LIKE, which reads them itself.
                        b'%' | b'_' => bytes.extend([b'\\', escaped]),
                        other => bytes.push(other),
                    }
                    if escaped == b'\n' {
                        self.line += 1;
                    }
                }
                other => {
                    if other == b'\n' {
                        self.line += 1;
                    }
                    bytes.push(other);
                }
            }
        }
    }

    fn quoted_name(&mut self, quote: u8) -> Result<String, LexError> {
        let start = self.at;
        let mut name = Vec::new();
        self.at += 1;
        loop {
            let Some(&byte) = self.sql.get(self.at) else { return Err(self.error_at(start)) };
            self.at += 1;
            if byte != quote {
                name.push(byte);
            } else if self.at < self.sql.len() && self.peek(0) == quote {
                name.push(quote);
                self.at += 1;
            } else {
                break;
            }
        }
        String::from_utf8(name).map_err(|_| self.error_at(start))
    }

    fn after_name(&self) -> bool {
        match self.tokens.last() {
            Some(t) => matches!(t.token, Token::Word(_)) && t.span.end.column == self.at as u64 + 1,
            None => false,
        }
    }

    fn number_or_word(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        let after_period = self.tokens.last().is_some_and(|t| {
            matches!(t.token, Token::Period) && t.span.end.column == start as u64 + 1 && self.tokens.len() > 1
        });
        let word_end = |from: usize| from + self.sql[from..].iter().take_while(|&&b| is_word_byte(b)).count();
        if after_period {
            // `db.1st`: after a period, only a name can come.
            return self.bare_word();
        }
        if self.peek(0) == b'0' && (self.peek(1) == b'x' || self.peek(1) == b'b') {
            let end = word_end(start + 2);
            let digits = &self.sql[start + 2..end];
            let (is_hex, is_bit) =
                (digits.iter().all(u8::is_ascii_hexdigit), digits.iter().all(|b| matches!(b, b'0' | b'1')));
            if !digits.is_empty() && self.peek(1) == b'x' && is_hex {
                let mut text = String::from_utf8_lossy(digits).into_owned();
                if text.len() % 2 == 1 {
                    text.insert(0, '0');
                }
                self.at = end;
                return Ok(Token::HexStringLiteral(text));
            }
            if !digits.is_empty() && self.peek(1) == b'b' && is_bit {
                let text = String::from_utf8_lossy(digits).into_owned();
                self.at = end;
                return Ok(Token::SingleQuotedByteStringLiteral(text));
            }
        }
        let digits = |from: usize| from + self.sql[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut end = digits(start);
        let mut fraction = false;
        if self.sql.get(end) == Some(&b'.') {
            fraction = true;
            end = digits(end + 1);
        }
        // An exponent needs digits, or `1e` is a name.
        if matches!(self.sql.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.sql.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > end + 1 + sign {
                self.at = exponent;
                return Ok(number(&self.sql[start..exponent]));
            }
        }
        if !fraction && self.sql.get(end).is_some_and(|&b| is_word_byte(b)) {
            return self.bare_word();
        }
        self.at = end;
        Ok(number(&self.sql[start..end]))
    }

    fn bare_word(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        self.at += self.sql[start..].iter().take_while(|&&b| is_word_byte(b)).count();
        let text = std::str::from_utf8(&self.sql[start..self.at]).map_err(|_| self.error_at(start))?;
        // After a period only a name can come, whatever keyword it looks like.
        let after_period = self
            .tokens
            .last()
            .is_some_and(|t| matches!(t.token, Token::Period) && t.span.end.column == start as u64 + 1);
        Ok(match after_period {
            true => word(text.to_owned(), None),
            // The word is reserved: it can only be the type.
            false if self.mode.real_as_float && text.eq_ignore_ascii_case("real") => Token::make_keyword("FLOAT"),
            false => Token::make_word(text, None),
        })
    }

    fn introducer_or_word(&mut self) -> Result<Token, LexError> {
        let len = self.sql[self.at..].iter().take_while(|&&b| is_word_byte(b)).count();
        let name = &self.sql[self.at..self.at + len];
        if INTRODUCERS.iter().any(|i| i.as_bytes().eq_ignore_ascii_case(name)) {
            let set = std::str::from_utf8(&name[1..]).ok().and_then(Charset::from_name).unwrap_or(Charset::Utf8mb4);
            let (at, line) = (self.at, self.line);
            self.at += len;
            self.skip_blanks()?;
            match (self.peek(0), self.peek(1)) {
                (b'\'', _) => return self.string_of(set, b'\''),
                (b'"', _) if !self.mode.ansi_quotes => return self.string_of(set, b'"'),
                (b'x' | b'X', b'\'') => {
                    let literal = self.hex_string()?;
                    return Ok(self.hex_of(set, literal));
                }
                (b'0', b'x') => {
                    let literal = self.number_or_word()?;
                    return Ok(self.hex_of(set, literal));
                }
                _ => (self.at, self.line) = (at, line),
            }
        }
        self.bare_word()
    }

    /// A literal in hexadecimal behind an introducer: text, but of `_binary`.
    fn hex_of(&mut self, set: Charset, literal: Token) -> Token {
        match &literal {
            Token::HexStringLiteral(digits) if set != Charset::Binary => {
                let even = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.clone() };
                sql_base::unhex(&even).map_or(literal, |bytes| self.text_of(set, &bytes))
            }
            _ => literal,
        }
    }

    fn hex_string(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        self.at += 1;
        let digits = self.quoted_bytes(b'\'')?;
        if digits.len() % 2 == 1 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.error_at(start));
        }
        Ok(Token::HexStringLiteral(String::from_utf8_lossy(&digits).into_owned()))
    }

    fn bit_string(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        self.at += 1;
        let digits = self.quoted_bytes(b'\'')?;
        if !digits.iter().all(|b| matches!(b, b'0' | b'1')) {
            return Err(self.error_at(start));
        }
        Ok(Token::SingleQuotedByteStringLiteral(String::from_utf8_lossy(&digits).into_owned()))
    }

    /// `@a`, `@'a b'`, `@@x`, `@@global.x`: one name each.
    fn variable(&mut self) -> Result<Token, LexError> {
        let start = self.at;
        self.at += 1;
        let system = self.peek(0) == b'@';
        if system {
            self.at += 1;
        }
        let name = match self.peek(0) {
            b'`' => self.quoted_name(b'`')?,
            quote @ (b'\'' | b'"') if !system => {
                String::from_utf8(self.quoted_bytes(quote)?).map_err(|_| self.error_at(start))?
            }
            _ => {
                let from = self.at;
                self.at += self.sql[from..].iter().take_while(|&&b| is_word_byte(b) || b == b'.').count();
                String::from_utf8(self.sql[from..self.at].to_vec()).map_err(|_| self.error_at(start))?
            }
        };
        if !system {
            return Ok(word(format!("@{}", name.to_lowercase()), None));
        }
        let mut name = name.to_lowercase();
        // `@@global.`x``: the scope bare, the name quoted.
        if name.ends_with('.') && self.peek(0) == b'`' {
            name.push_str(&self.quoted_name(b'`')?.to_lowercase());
        }
        if let Some(rest) = name.strip_prefix("local.") {
            name = format!("session.{rest}");
        }
        if name.is_empty() {
            return Err(self.error_at(start));
        }
        Ok(word(format!("@@{name}"), None))
    }
}

fn is_word_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80
}

/// A word that is never a keyword.
fn word(value: String, quote_style: Option<char>) -> Token {
    Token::Word(Word { value, quote_style, keyword: Keyword::NoKeyword })
}

fn number(bytes: &[u8]) -> Token {
    Token::Number(String::from_utf8_lossy(bytes).into_owned(), false)
}

fn string_token(bytes: Vec<u8>) -> Token {
    match String::from_utf8(bytes) {
        Ok(text) => Token::SingleQuotedString(text),
        Err(e) => binary_string(e.as_bytes()),
    }
}

/// Bytes that are no number, whatever the context, as `x'…'` would be. MySQL has no literal of this kind, so the token is
/// one that it leaves free.
fn binary_string(bytes: &[u8]) -> Token {
    Token::TripleSingleQuotedByteStringLiteral(hex(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02X}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(sql: &str) -> Vec<String> {
        match tokenize(sql.as_bytes(), LexMode::default()) {
            Ok(lexed) => lexed.tokens.iter().map(|t| t.token.to_string()).collect(),
            Err(e) => vec![format!("error at {} line {}", e.offset, e.line)],
        }
    }

    #[test]
    fn words_numbers_and_strings() {
        assert_eq!(
            lex("SELECT a1, 1a, 1e5, 1.5, .5, t.1st"),
            ["SELECT", "a1", ",", "1a", ",", "1e5", ",", "1.5", ",", ".5", ",", "t", ".", "1st"]
        );
        assert_eq!(lex(r#"'it''s' "dq" 'a\n\%'"#), ["'it's'", "'dq'", "'a\n\\%'"]);
        assert_eq!(lex("0x1F 0xF x'41' 0b101 b'1'"), ["X'1F'", "X'0F'", "X'41'", "B'101'", "B'1'"]);
        assert_eq!(lex("_utf8mb4'x' _binary 'AB' N'n' _foo"), ["'x'", "B'''4142'''", "'n'", "_foo"]);
    }

    #[test]
    fn comments_that_are_code_and_comments_that_are_not() {
        assert_eq!(lex("a /*! b */ c /*!40101 d*/ /*!99999 e*/ /* f */ /*+ g */"), ["a", "b", "c", "d"]);
        assert_eq!(lex("a /*T! b */ /*T![placement] c */ /*T![nope] d */ -- e\n f # g"), ["a", "b", "c", "f"]);
        assert_eq!(lex("1--1"), ["1", "-", "-", "1"]);
        assert_eq!(lex("a /* open"), ["error at 2 line 1"]);
        assert_eq!(lex("a /*! open"), ["error at 10 line 1"]);
    }

    #[test]
    fn hints_are_told_by_name() {
        let hints = |sql: &str| {
            let hints = tokenize(sql.as_bytes(), LexMode::default()).unwrap().hints.into_iter();
            hints.map(|hint| (sql[hint.verb..hint.verb + 6].to_owned(), hint.calls)).collect::<Vec<_>>()
        };
        let call = |name: &str, argument: &str| (name.to_owned(), argument.to_owned());
        assert_eq!(
            hints("select /*+ MAX_EXECUTION_TIME(10) set_var(a = f(1)),X */ 1, (SELECT /*+ Y(t, u) */ 2)"),
            [
                ("select".into(), vec![call("MAX_EXECUTION_TIME", "10"), call("set_var", "a = f(1)"), call("X", "")]),
                ("SELECT".into(), vec![call("Y", "t, u")])
            ]
        );
        assert_eq!(hints("select 1 /*+ X */ from t /*+ Y */"), []);
        assert_eq!(hints("select /* + X */ /*+*/ 1"), [("select".to_owned(), Vec::new())]);
    }

    #[test]
    fn variables_are_one_name() {
        assert_eq!(
            lex("@A @`b c` @'d' @@Session.Sql_Mode @@local.x @@version"),
            ["@a", "@b c", "@d", "@@session.sql_mode", "@@session.x", "@@version"]
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_become_a_binary_string() {
        let tokens = tokenize(b"'\xff\x00'", LexMode::default()).unwrap().tokens;
        assert_eq!(tokens[0].token, Token::TripleSingleQuotedByteStringLiteral("FF00".into()));
    }

    #[test]
    fn modes() {
        let mode = LexMode {
            ansi_quotes: true,
            no_backslash_escapes: true,
            pipes_as_concat: true,
            real_as_float: true,
            ..LexMode::default()
        };
        let tokens: Vec<_> = tokenize(br#""a" 'b\' || c real t.real"#, mode)
            .unwrap()
            .tokens
            .into_iter()
            .map(|t| t.token.to_string())
            .collect();
        assert_eq!(tokens, ["`a`", "'b\\'", "||", "c", "FLOAT", "t", ".", "real"]);
    }
}
