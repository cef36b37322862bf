//! `ANALYZE TABLE` and `DROP STATS`.
//!
//! ```text
//!   ANALYZE TABLE t, … [ALL COLUMNS | PREDICATE COLUMNS | COLUMNS c, … | INDEX [i, …]] [WITH n BUCKETS, n TOPN, …]
//! ```

use crate::grammar::Token;

use super::{AnalyzeColumns, AnalyzeOption, AnalyzeTable, Parsed, Statement, StatementParser};

impl StatementParser<'_> {
    pub(super) fn analyze(&mut self) -> Parsed<Statement> {
        self.eat_any(&["NO_WRITE_TO_BINLOG", "LOCAL"]);
        if self.is("INCREMENTAL") {
            return self.unsupported("ANALYZE INCREMENTAL TABLE");
        }
        self.expect("TABLE")?;
        let tables = self.comma_separated(|s| s.table_name())?;
        if self.is("PARTITION") {
            return self.unsupported("ANALYZE TABLE … PARTITION");
        }
        if let Some(what) = self.eat_any(&["UPDATE HISTOGRAM", "DROP HISTOGRAM"]) {
            return self.unsupported(format!("ANALYZE TABLE … {what}"));
        }
        let (mut columns, mut indexes) = (AnalyzeColumns::Unsaid, None);
        if self.eat("ALL COLUMNS") {
            columns = AnalyzeColumns::All;
        } else if self.eat("PREDICATE COLUMNS") {
            columns = AnalyzeColumns::Predicate;
        } else if self.eat("COLUMNS") {
            columns = AnalyzeColumns::Named(self.comma_separated(|s| s.name())?);
        } else if self.eat("INDEX") {
            let named = !self.is("WITH") && !self.at_end();
            let name = |s: &mut Self| if s.eat("PRIMARY") { Ok("PRIMARY".to_owned()) } else { s.name() };
            indexes = Some(if named { self.comma_separated(name)? } else { Vec::new() });
        }
        let options = if self.eat("WITH") { self.comma_separated(Self::analyze_option)? } else { Vec::new() };
        Ok(Statement::AnalyzeTable(AnalyzeTable { tables, columns, indexes, options }))
    }

    fn analyze_option(&mut self) -> Parsed<(AnalyzeOption, f64)> {
        let value = match self.peek() {
            Token::Number(text, _) => text.parse().ok(),
            _ => None,
        };
        let Some(value) = value else { return self.unexpected() };
        self.p.advance_token();
        let known = [
            ("BUCKETS", AnalyzeOption::Buckets),
            ("TOPN", AnalyzeOption::TopN),
            ("SAMPLES", AnalyzeOption::Samples),
            ("SAMPLERATE", AnalyzeOption::SampleRate),
            ("CMSKETCH DEPTH", AnalyzeOption::SketchDepth),
            ("CMSKETCH WIDTH", AnalyzeOption::SketchWidth),
        ];
        match known.into_iter().find(|(words, _)| self.eat(words)) {
            Some((_, option)) => Ok((option, value)),
            None => self.unexpected(),
        }
    }

    /// What follows `DROP STATS`.
    pub(super) fn drop_stats(&mut self) -> Parsed<Statement> {
        let tables = self.comma_separated(|s| s.table_name())?;
        if self.is("PARTITION") || self.is("GLOBAL") {
            return self.unsupported("DROP STATS of partitions");
        }
        Ok(Statement::DropStats(tables))
    }
}
