//! `LOAD DATA …`.

use sql_base::SqlError;

use super::{FileFormat, LoadConflict, LoadData, LoadTarget, LoadValue, Parsed, Statement, StatementParser, offset};
use crate::grammar::{Token, Word};

impl StatementParser<'_> {
    /// After `LOAD`, if `DATA` is next.
    pub(super) fn load_data(&mut self) -> Parsed<Statement> {
        self.expect("DATA")?;
        self.eat_any(&["LOW_PRIORITY", "CONCURRENT"]);
        let local = self.eat("LOCAL");
        self.expect("INFILE")?;
        let file = self.string()?;
        let conflict = self.eat_any(&["REPLACE", "IGNORE"]).map(|word| match word {
            "REPLACE" => LoadConflict::Replace,
            _ => LoadConflict::Ignore,
        });
        self.expect("INTO TABLE")?;
        let table = self.table_name()?;
        if self.is("PARTITION") {
            return self.unsupported("PARTITION selection");
        }
        let charset = match self.eat_charset() {
            true => Some(self.string_or_word()?.to_ascii_lowercase()),
            false => None,
        };
        let format = self.file_format()?;
        let mut skip = 0;
        if self.eat("IGNORE") {
            skip = self.unsigned()?;
            if self.eat_any(&["LINES", "ROWS"]).is_none() {
                return self.unexpected();
            }
        }
        let mut targets = Vec::new();
        if *self.peek() == Token::LParen && *self.peek_nth(1) == Token::RParen {
            self.parenthesized(|_| Ok(()))?;
        } else if *self.peek() == Token::LParen {
            targets = self.parenthesized(|s| s.comma_separated(Self::load_target))?;
        }
        let set = if self.eat("SET") { self.comma_separated(|s| s.load_value(&targets))? } else { Vec::new() };
        Ok(Statement::LoadData(Box::new(LoadData {
            local,
            file,
            conflict,
            table,
            charset,
            format,
            skip,
            targets,
            set,
        })))
    }

    /// `[FIELDS …] [LINES …]`.
    fn file_format(&mut self) -> Parsed<FileFormat> {
        let mut format = FileFormat::default();
        if self.eat_any(&["FIELDS", "COLUMNS"]).is_some() {
            let mut any = false;
            loop {
                if self.eat("TERMINATED BY") {
                    format.terminated = self.bytes()?;
                } else if self.eat("OPTIONALLY ENCLOSED BY") || self.eat("ENCLOSED BY") {
                    format.enclosed = self.separator()?;
                } else if self.eat("ESCAPED BY") {
                    format.escaped = self.separator()?;
                } else if any {
                    break;
                } else {
                    return self.unexpected();
                }
                any = true;
            }
        }
        if self.eat("LINES") {
            let mut any = false;
            loop {
                if self.eat("STARTING BY") {
                    format.starting = self.bytes()?;
                } else if self.eat("TERMINATED BY") {
                    format.line_terminated = self.bytes()?;
                } else if any {
                    break;
                } else {
                    return self.unexpected();
                }
                any = true;
            }
        }
        Ok(format)
    }

    /// A string, perhaps in hexadecimal.
    fn bytes(&mut self) -> Parsed<Vec<u8>> {
        let digits = match self.peek() {
            Token::HexStringLiteral(digits) => digits.clone(),
            _ => return Ok(self.string()?.into_bytes()),
        };
        let even = format!("{}{digits}", if digits.len() % 2 == 1 { "0" } else { "" });
        match sql_base::unhex(&even) {
            Some(bytes) => {
                self.p.advance_token();
                Ok(bytes)
            }
            None => self.unexpected(),
        }
    }

    /// At most one byte.
    fn separator(&mut self) -> Parsed<Option<u8>> {
        match self.bytes()?[..] {
            [] => Ok(None),
            [byte] => Ok(Some(byte)),
            _ => Err(SqlError::WrongFieldTerminators.into()),
        }
    }

    fn load_target(&mut self) -> Parsed<LoadTarget> {
        if let Token::Word(word) = self.peek()
            && let Some(name) = variable(word)
        {
            let target = LoadTarget::Variable(name);
            self.p.advance_token();
            return Ok(target);
        }
        Ok(LoadTarget::Column(self.column_name()?))
    }

    /// `column = expr`, with `?` for what it reads of the file.
    fn load_value(&mut self, targets: &[LoadTarget]) -> Parsed<LoadValue> {
        let column = self.column_name()?;
        self.expect_token(&Token::Eq)?;
        let mut at = self.p.index();
        self.expr()?;
        let end = self.p.index();
        let (mut text, mut fields) = (String::new(), Vec::new());
        let mut copied = offset(self.p.token_at(at));
        while at < end {
            let token = self.p.token_at(at);
            if let Some(field) = self.field_read(at, targets) {
                text.push_str(&String::from_utf8_lossy(&self.sql[copied..offset(token)]));
                text.push('?');
                fields.push(field);
                copied = token.span.end.column as usize - 1;
            }
            if at + 1 == end {
                let last = token.span.end.column as usize - 1;
                text.push_str(&String::from_utf8_lossy(&self.sql[copied..last]));
            }
            at += 1;
        }
        Ok(LoadValue { column, text, fields })
    }

    /// The field of the file that the token at this place reads: by the name of a variable or of a column.
    fn field_read(&self, at: usize, targets: &[LoadTarget]) -> Option<usize> {
        let Token::Word(word) = &self.p.token_at(at).token else { return None };
        if let Some(name) = variable(word) {
            return targets.iter().position(|target| *target == LoadTarget::Variable(name.clone()));
        }
        let joined = |token: &Token| matches!(token, Token::Period | Token::LParen);
        let part =
            joined(&self.p.token_at(at + 1).token) || self.p.token_at(at.saturating_sub(1)).token == Token::Period;
        let named =
            |target: &LoadTarget| matches!(target, LoadTarget::Column(c) if c.eq_ignore_ascii_case(&word.value));
        targets.iter().position(|target| !part && named(target))
    }
}

/// The name of a user variable, in lower case.
fn variable(word: &Word) -> Option<String> {
    let name = word.value.strip_prefix('@').filter(|name| !name.starts_with('@'))?;
    word.quote_style.is_none().then(|| name.to_lowercase())
}
