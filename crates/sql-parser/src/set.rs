//! `SET …`.

use crate::grammar::Token;

use super::ast::{Expr, Literal};
use super::{Parsed, Scope, SetItem, Statement, StatementParser};

impl StatementParser<'_> {
    pub(super) fn set(&mut self) -> Parsed<Statement> {
        for what in ["PASSWORD", "ROLE", "RESOURCE GROUP", "BINDING", "CONFIG", "SESSION_STATES"] {
            let assigns = *self.peek_nth(1) == Token::Eq && what != "PASSWORD";
            if self.is(what.split(' ').next().unwrap_or(what)) && !assigns {
                return self.refuse("SET");
            }
        }
        if self.eat("DEFAULT ROLE") {
            return self.refuse("SET DEFAULT ROLE");
        }
        Ok(Statement::Set(self.comma_separated(|s| s.set_item())?))
    }

    fn set_item(&mut self) -> Parsed<SetItem> {
        let assigns = matches!(self.peek_nth(1), Token::Eq | Token::Assignment);
        if !assigns && self.eat("NAMES") {
            return self.set_names();
        }
        if !assigns && self.eat_charset() {
            let charset = if self.eat("DEFAULT") { None } else { Some(self.string_or_word()?.to_ascii_lowercase()) };
            return Ok(SetItem::CharacterSet(charset));
        }
        if let Token::Word(w) = self.peek()
            && w.quote_style.is_none()
            && w.value.starts_with('@')
        {
            return self.set_variable_sign();
        }
        let scope = match assigns {
            true => None,
            false => self.eat_any(&["GLOBAL", "SESSION", "LOCAL", "PERSIST_ONLY", "PERSIST"]),
        };
        if let Some(persist @ ("PERSIST" | "PERSIST_ONLY")) = scope {
            return self.unsupported(format!("SET {persist}"));
        }
        let said = scope.map(|s| if s == "GLOBAL" { Scope::Global } else { Scope::Session });
        if !matches!(self.peek_nth(1), Token::Eq | Token::Assignment) && self.eat("TRANSACTION") {
            return self.set_transaction(said);
        }
        let mut name = self.any_word()?;
        while self.eat_token(&Token::Period) {
            name = format!("{name}.{}", self.any_word()?);
        }
        self.assign()?;
        let value = self.set_value()?;
        let scope = said.unwrap_or(Scope::Session);
        Ok(SetItem::System { scope, scope_said: said.is_some(), name: name.to_ascii_lowercase(), value })
    }

    fn assign(&mut self) -> Parsed<()> {
        if self.eat_token(&Token::Eq) || self.eat_token(&Token::Assignment) { Ok(()) } else { self.unexpected() }
    }

    /// `@a = …`, `@@global.b = …`.
    fn set_variable_sign(&mut self) -> Parsed<SetItem> {
        let Token::Word(w) = self.peek() else { return self.unexpected() };
        let word = w.value.clone();
        self.p.advance_token();
        self.assign()?;
        let Some(system) = word.strip_prefix("@@") else {
            return Ok(SetItem::User { name: word[1..].to_owned(), value: self.expr()? });
        };
        let (scope, scope_said, name) = match system.split_once('.') {
            Some(("global", name)) => (Scope::Global, true, name),
            Some(("session", name)) => (Scope::Session, true, name),
            Some(("persist" | "persist_only", _)) => return self.unsupported("SET PERSIST"),
            _ => (Scope::Session, false, system),
        };
        let value = self.set_value()?;
        Ok(SetItem::System { scope, scope_said, name: name.to_owned(), value })
    }

    /// An expression; a bare word is a string (`SET sql_mode = ANSI`), `DEFAULT` is none.
    fn set_value(&mut self) -> Parsed<Option<Expr>> {
        if self.eat("DEFAULT") {
            return Ok(None);
        }
        let ends = matches!(self.peek_nth(1), Token::EOF | Token::Comma);
        if let Token::Word(w) = self.peek()
            && ends
            && w.quote_style.is_none()
            && !w.value.starts_with('@')
            && !["NULL", "TRUE", "FALSE", "CURRENT_TIMESTAMP"].iter().any(|k| w.value.eq_ignore_ascii_case(k))
        {
            let value = Expr::Literal(Literal::Text(w.value.clone()));
            self.p.advance_token();
            return Ok(Some(value));
        }
        // `BINARY` begins a cast in the expression grammar, but is a charset's name here.
        Ok(Some(self.expr()?))
    }

    fn set_names(&mut self) -> Parsed<SetItem> {
        if self.eat("DEFAULT") {
            return Ok(SetItem::Names { charset: None, collate: None });
        }
        let charset = Some(self.string_or_word()?.to_ascii_lowercase());
        let collate = match self.eat("COLLATE") {
            true if self.eat("DEFAULT") => None,
            true => Some(self.string_or_word()?.to_ascii_lowercase()),
            false => None,
        };
        Ok(SetItem::Names { charset, collate })
    }

    fn set_transaction(&mut self, scope: Option<Scope>) -> Parsed<SetItem> {
        let (mut isolation, mut read_only) = (None, None);
        loop {
            if self.eat("ISOLATION LEVEL") {
                let levels = ["REPEATABLE READ", "READ COMMITTED", "READ UNCOMMITTED", "SERIALIZABLE"];
                isolation = Some(match self.eat_any(&levels) {
                    Some("REPEATABLE READ") => "REPEATABLE-READ",
                    Some("READ COMMITTED") => "READ-COMMITTED",
                    Some("READ UNCOMMITTED") => "READ-UNCOMMITTED",
                    Some(_) => "SERIALIZABLE",
                    None => return self.unexpected(),
                });
            } else if self.eat("READ ONLY") {
                read_only = Some(true);
                if self.is("AS") {
                    return self.unsupported("SET TRANSACTION READ ONLY AS OF");
                }
            } else if self.eat("READ WRITE") {
                read_only = Some(false);
            } else {
                return self.unexpected();
            }
            if !self.eat_token(&Token::Comma) {
                return Ok(SetItem::Transaction { scope, isolation, read_only });
            }
        }
    }
}
