//! Which statement is it? The first word decides; small statements are read here, families in the files beside.

use crate::grammar::Token;
use sql_base::SqlError;

use super::{
    Admin, Begin, Completion, Explain, Parsed, PrepareSource, SplitBy, SplitTable, Statement, StatementParser,
    TableName,
};

/// How deep `EXPLAIN` may nest.
const EXPLAIN_DEPTH_MAX: usize = 8;

impl StatementParser<'_> {
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        if *self.peek() == Token::LParen {
            return self.query_statement();
        }
        let Token::Word(word) = self.peek() else {
            return if self.at_end() { Err(SqlError::EmptyQuery.into()) } else { self.unexpected() };
        };
        if word.quote_style.is_some() {
            return self.unexpected();
        }
        let word = word.value.to_ascii_uppercase();
        match word.as_str() {
            "SELECT" | "WITH" | "VALUES" | "TABLE" => return self.query_statement(),
            _ => self.p.advance_token(),
        }
        match word.as_str() {
            "INSERT" => self.insert(false),
            "REPLACE" => self.insert(true),
            "UPDATE" => self.update(),
            "DELETE" => self.delete(),
            "CREATE" => self.create(),
            "ALTER" => self.alter(),
            "DROP" => self.drop(),
            "TRUNCATE" => self.truncate(),
            "RENAME" => self.rename(),
            "SHOW" => self.show(),
            "SET" => self.set(),
            "EXPLAIN" | "DESCRIBE" | "DESC" => self.explain(),
            "USE" => Ok(Statement::Use(self.any_word()?)),
            "BEGIN" => self.begin(),
            "START" => self.start(),
            "COMMIT" => {
                self.eat("WORK");
                Ok(Statement::Commit(self.completion()?))
            }
            "ROLLBACK" => self.rollback(),
            "SAVEPOINT" => Ok(Statement::Savepoint(self.name()?)),
            "RELEASE" => {
                self.expect("SAVEPOINT")?;
                Ok(Statement::ReleaseSavepoint(self.name()?))
            }
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(),
            "DEALLOCATE" => {
                self.expect("PREPARE")?;
                Ok(Statement::Deallocate(self.name()?))
            }
            "ADMIN" => self.admin(),
            "KILL" => self.kill(),
            "FLUSH" => self.flush(),
            "LOCK" => self.lock(),
            "UNLOCK" => {
                if self.eat_any(&["TABLES", "TABLE"]).is_none() {
                    return self.unexpected();
                }
                Ok(Statement::UnlockTables)
            }
            "ANALYZE" => self.analyze(),
            "CHECK" => self.maintain("check"),
            "CHECKSUM" => self.maintain("checksum"),
            "OPTIMIZE" => self.maintain("optimize"),
            "REPAIR" => self.maintain("repair"),
            "SPLIT" => self.split(),
            "DO" => Ok(Statement::Do(self.comma_separated(|s| s.expr())?)),
            "RECOVER" | "FLASHBACK" => self.recover(&word),
            "GRANT" | "REVOKE" => self.refuse(&word),
            "CALL" | "HANDLER" | "LOAD" | "IMPORT" | "INSTALL" | "UNINSTALL" | "XA" | "HELP" | "SIGNAL"
            | "RESIGNAL" | "GET" | "PURGE" | "CHANGE" | "STOP" | "RESET" | "BINLOG" | "CACHE" | "CLONE" | "RESTART"
            | "SHUTDOWN" | "BACKUP" | "RESTORE" | "TRACE" | "PLAN" | "BATCH" | "CALIBRATE" | "CANCEL" | "PAUSE"
            | "RESUME" | "QUERY" | "REFRESH" => self.refuse(&word),
            _ => {
                self.p.prev_token();
                self.unexpected()
            }
        }
    }

    /// A statement that we know and don't do: named by its first words.
    pub(super) fn refuse(&mut self, head: &str) -> Parsed<Statement> {
        let mut name = head.to_owned();
        if let Token::Word(w) = self.peek()
            && w.quote_style.is_none()
            && !w.value.starts_with('@')
        {
            name = format!("{head} {}", w.value.to_ascii_uppercase());
        }
        self.rest();
        Ok(Statement::Unsupported(name))
    }

    fn explain(&mut self) -> Parsed<Statement> {
        self.depth += 1;
        if self.depth > EXPLAIN_DEPTH_MAX {
            return self.unexpected();
        }
        let analyze = self.eat("ANALYZE");
        let mut format = None;
        if self.is("FORMAT") && *self.peek_nth(1) == Token::Eq {
            self.p.advance_token();
            self.p.advance_token();
            format = Some(self.string_or_word()?.to_ascii_lowercase());
        } else {
            self.eat_any(&["EXTENDED", "PARTITIONS"]);
        }
        if self.eat("FOR CONNECTION") {
            let _ = self.unsigned()?;
            return self.unsupported("EXPLAIN FOR CONNECTION");
        }
        let begins = ["SELECT", "WITH", "VALUES", "TABLE", "INSERT", "REPLACE", "UPDATE", "DELETE", "ALTER"];
        if *self.peek() == Token::LParen || begins.iter().any(|w| self.is(w)) {
            let statement = Box::new(self.statement()?);
            return Ok(Statement::Explain(Explain { analyze, format, statement }));
        }
        if analyze || format.is_some() {
            return self.unexpected();
        }
        let table = self.table_name()?;
        let column = match self.peek() {
            Token::EOF => None,
            Token::SingleQuotedString(_) => Some(self.string()?),
            _ => Some(self.name()?),
        };
        Ok(Statement::Describe { table, column })
    }

    fn begin(&mut self) -> Parsed<Statement> {
        let mut begin = Begin::default();
        if self.eat("PESSIMISTIC") {
            begin.pessimistic = Some(true);
        } else if self.eat("OPTIMISTIC") {
            begin.pessimistic = Some(false);
        } else {
            self.eat("WORK");
        }
        Ok(Statement::Begin(begin))
    }

    fn start(&mut self) -> Parsed<Statement> {
        self.expect("TRANSACTION")?;
        let mut begin = Begin::default();
        if self.at_end() {
            return Ok(Statement::Begin(begin));
        }
        loop {
            if self.eat("READ ONLY") {
                begin.read_only = Some(true);
                if self.eat("AS OF TIMESTAMP") {
                    begin.as_of = Some(self.expr()?);
                }
            } else if self.eat("READ WRITE") {
                begin.read_only = Some(false);
            } else if self.eat("WITH CONSISTENT SNAPSHOT") {
                begin.consistent_snapshot = true;
            } else {
                return self.unexpected();
            }
            if !self.eat_token(&Token::Comma) {
                return Ok(Statement::Begin(begin));
            }
        }
    }

    fn completion(&mut self) -> Parsed<Completion> {
        let mut completion = Completion::default();
        if self.eat("AND") {
            completion.chain = Some(!self.eat("NO"));
            self.expect("CHAIN")?;
        }
        if self.eat("NO RELEASE") {
            completion.release = Some(false);
        } else if self.eat("RELEASE") {
            completion.release = Some(true);
        }
        Ok(completion)
    }

    fn rollback(&mut self) -> Parsed<Statement> {
        self.eat("WORK");
        if self.eat("TO") {
            self.eat("SAVEPOINT");
            return Ok(Statement::RollbackTo(self.name()?));
        }
        Ok(Statement::Rollback(self.completion()?))
    }

    /// `@name`, without the sign.
    pub(super) fn user_variable(&mut self) -> Parsed<String> {
        match self.peek() {
            Token::Word(w) if w.quote_style.is_none() && w.value.starts_with('@') && !w.value.starts_with("@@") => {
                let name = w.value[1..].to_owned();
                self.p.advance_token();
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    fn prepare(&mut self) -> Parsed<Statement> {
        let name = self.name()?;
        self.expect("FROM")?;
        let source = match self.peek() {
            Token::SingleQuotedString(_) => PrepareSource::Text(self.string()?),
            _ => PrepareSource::Variable(self.user_variable()?),
        };
        Ok(Statement::Prepare { name, source })
    }

    fn execute(&mut self) -> Parsed<Statement> {
        let name = self.name()?;
        let using = if self.eat("USING") { self.comma_separated(|s| s.user_variable())? } else { Vec::new() };
        Ok(Statement::Execute { name, using })
    }

    fn kill(&mut self) -> Parsed<Statement> {
        self.eat("TIDB");
        let query_only = self.eat("QUERY");
        if !query_only {
            self.eat("CONNECTION");
        }
        Ok(Statement::Kill { id: self.unsigned()?, query_only })
    }

    fn flush(&mut self) -> Parsed<Statement> {
        self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        let things = self.comma_separated(|s| {
            let mut thing = s.any_word()?.to_ascii_uppercase();
            if thing == "TABLE" {
                thing = "TABLES".into();
            }
            while let Token::Word(w) = s.peek() {
                thing = format!("{thing} {}", w.value.to_ascii_uppercase());
                s.p.advance_token();
            }
            Ok(thing)
        })?;
        Ok(Statement::Flush(things))
    }

    fn lock(&mut self) -> Parsed<Statement> {
        if self.eat_any(&["TABLES", "TABLE"]).is_none() {
            return self.unexpected();
        }
        let tables = self.comma_separated(|s| {
            let table = s.table_name()?;
            if !s.is("READ") && !s.is("WRITE") && !s.is("LOW_PRIORITY") {
                s.eat("AS");
                s.name()?;
            }
            if s.eat("READ") {
                s.eat("LOCAL");
            } else {
                s.eat("LOW_PRIORITY");
                s.expect("WRITE")?;
            }
            Ok(table)
        })?;
        Ok(Statement::LockTables(tables))
    }

    fn table_names(&mut self) -> Parsed<Vec<TableName>> {
        self.comma_separated(|s| s.table_name())
    }

    fn maintain(&mut self, op: &'static str) -> Parsed<Statement> {
        self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        if self.eat_any(&["TABLE", "TABLES"]).is_none() {
            return self.unexpected();
        }
        let tables = self.table_names()?;
        self.eat_any(&["FOR UPGRADE", "QUICK", "FAST", "MEDIUM", "EXTENDED", "CHANGED"]);
        Ok(Statement::MaintainTable { op, tables })
    }

    fn split(&mut self) -> Parsed<Statement> {
        if self.eat("PARTITION") {
            return self.unsupported("SPLIT PARTITION TABLE");
        }
        self.expect("TABLE")?;
        let table = self.table_name()?;
        let index = if self.eat("INDEX") { Some(self.name()?) } else { None };
        let row = |s: &mut Self| s.parenthesized(|s| s.comma_separated(|s| s.expr()));
        let by = if self.eat("BETWEEN") {
            let lower = row(self)?;
            self.expect("AND")?;
            let upper = row(self)?;
            self.expect("REGIONS")?;
            SplitBy::Between { lower, upper, regions: self.unsigned()? }
        } else {
            self.expect("BY")?;
            SplitBy::Points(self.comma_separated(row)?)
        };
        Ok(Statement::SplitTable(SplitTable { table, index, by }))
    }

    fn admin(&mut self) -> Parsed<Statement> {
        let ids = |s: &mut Self| s.comma_separated(|s| s.unsigned());
        let admin = if self.eat("SHOW DDL JOB QUERIES") {
            Admin::ShowDdlJobQueries(ids(self)?)
        } else if self.eat("SHOW DDL JOBS") {
            let limit = if matches!(self.peek(), Token::Number(..)) { Some(self.unsigned()?) } else { None };
            let filter = if self.eat("WHERE") { Some(self.expr()?) } else { None };
            Admin::ShowDdlJobs { limit, filter }
        } else if self.eat("SHOW DDL") {
            Admin::ShowDdl
        } else if self.eat("CANCEL DDL JOBS") {
            Admin::CancelDdlJobs(ids(self)?)
        } else if self.eat("CHECK TABLE") {
            Admin::CheckTable(self.table_names()?)
        } else if self.eat("CHECK INDEX") {
            let table = self.table_name()?;
            Admin::CheckIndex { table, index: self.name()? }
        } else if self.eat("CHECKSUM TABLE") {
            Admin::ChecksumTable(self.table_names()?)
        } else if self.is("SHOW") && !self.is_nth(1, "SLOW") {
            self.p.advance_token();
            let table = self.table_name()?;
            self.expect("NEXT_ROW_ID")?;
            Admin::ShowNextRowId(table)
        } else if matches!(self.peek(), Token::Word(_)) {
            Admin::Refused(format!("ADMIN {}", self.rest().to_ascii_uppercase()))
        } else {
            return self.unexpected();
        };
        Ok(Statement::Admin(admin))
    }
}
