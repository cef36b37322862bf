//! `SHOW …`.

use crate::grammar::Token;

use super::{Parsed, Show, ShowFilter, ShowKind, ShowStatistics, Statement, StatementParser, TableName};

impl StatementParser<'_> {
    pub(super) fn show(&mut self) -> Parsed<Statement> {
        let kind = self.show_kind()?;
        let Some(kind) = kind else { return self.refuse("SHOW") };
        let filter = if self.eat("LIKE") {
            Some(ShowFilter::Like(self.string()?))
        } else if self.eat("WHERE") {
            Some(ShowFilter::Where(self.expr()?))
        } else {
            None
        };
        let limited = matches!(kind, ShowKind::Warnings | ShowKind::Errors | ShowKind::Profiles);
        let limit = if limited { self.limit_clause()? } else { None };
        Ok(Statement::Show(Show { kind, filter, limit }))
    }

    /// `[LIMIT [offset,] count]` or `LIMIT count OFFSET offset`.
    fn limit_clause(&mut self) -> Parsed<Option<(u64, u64)>> {
        if !self.eat("LIMIT") {
            return Ok(None);
        }
        let first = self.unsigned()?;
        if self.eat_token(&Token::Comma) {
            return Ok(Some((first, self.unsigned()?)));
        }
        Ok(Some((if self.eat("OFFSET") { self.unsigned()? } else { 0 }, first)))
    }

    fn show_kind(&mut self) -> Parsed<Option<ShowKind>> {
        if self.eat("CREATE") {
            return self.show_create();
        }
        if self.eat("PLACEMENT") {
            return self.show_placement().map(Some);
        }
        if self.is("TABLE") && !self.is_nth(1, "STATUS") {
            return self.show_table();
        }
        if self.eat("COUNT") {
            self.expect_token(&Token::LParen)?;
            self.expect_token(&Token::Mul)?;
            self.expect_token(&Token::RParen)?;
            return Ok(match self.eat_any(&["WARNINGS", "ERRORS"]) {
                Some("WARNINGS") => Some(ShowKind::CountWarnings),
                Some(_) => Some(ShowKind::CountErrors),
                None => return self.unexpected(),
            });
        }
        let scope = self.eat_any(&["GLOBAL", "SESSION", "LOCAL"]);
        let global = scope == Some("GLOBAL");
        if self.eat("VARIABLES") {
            return Ok(Some(ShowKind::Variables { global }));
        }
        if self.eat("STATUS") {
            return Ok(Some(ShowKind::Status { global }));
        }
        if scope.is_some() {
            return if self.is("BINDINGS") { Ok(None) } else { self.unexpected() };
        }
        if self.eat("EXTENDED") {
            return self.unsupported("SHOW EXTENDED");
        }
        let full = self.eat("FULL");
        if self.eat("TABLES") {
            return Ok(Some(ShowKind::Tables { full, database: self.database_clause()? }));
        }
        if self.eat_any(&["COLUMNS", "FIELDS"]).is_some() {
            return Ok(Some(ShowKind::Columns { full, table: self.table_clause()? }));
        }
        if self.eat("PROCESSLIST") {
            return Ok(Some(ShowKind::ProcessList { full }));
        }
        if full {
            return self.unexpected();
        }
        if self.eat_any(&["INDEX", "INDEXES", "KEYS"]).is_some() {
            return Ok(Some(ShowKind::Indexes { table: self.table_clause()? }));
        }
        if self.eat("TABLE STATUS") {
            return Ok(Some(ShowKind::TableStatus { database: self.database_clause()? }));
        }
        if self.eat("OPEN TABLES") {
            self.database_clause()?;
            return Ok(Some(ShowKind::OpenTables));
        }
        if self.eat("GRANTS") {
            let user = if self.eat("FOR") { Some(self.rest()) } else { None };
            return Ok(Some(ShowKind::Grants(user)));
        }
        let routines = ["PROCEDURE STATUS", "FUNCTION STATUS", "TRIGGERS", "EVENTS"];
        if let Some(what) = self.eat_any(&routines) {
            self.database_clause()?;
            return Ok(Some(ShowKind::Routines(what)));
        }
        if self.eat_any(&["MASTER STATUS", "BINARY LOG STATUS"]).is_some() {
            return Ok(Some(ShowKind::MasterStatus));
        }
        self.eat("STORAGE");
        let plain = [
            ("DATABASES", ShowKind::Databases),
            ("SCHEMAS", ShowKind::Databases),
            ("WARNINGS", ShowKind::Warnings),
            ("ERRORS", ShowKind::Errors),
            ("CHARACTER SET", ShowKind::Charset),
            ("CHARSET", ShowKind::Charset),
            ("COLLATION", ShowKind::Collation),
            ("ENGINES", ShowKind::Engines),
            ("PLUGINS", ShowKind::Plugins),
            ("PRIVILEGES", ShowKind::Privileges),
            ("PROFILES", ShowKind::Profiles),
            ("BUILTINS", ShowKind::Builtins),
        ];
        for (words, kind) in plain {
            if self.eat(words) {
                return Ok(Some(kind));
            }
        }
        let statistics = [
            ("STATS_META", ShowStatistics::Meta),
            ("STATS_HISTOGRAMS", ShowStatistics::Histograms),
            ("STATS_BUCKETS", ShowStatistics::Buckets),
            ("STATS_TOPN", ShowStatistics::TopN),
            ("STATS_HEALTHY", ShowStatistics::Healthy),
            ("ANALYZE STATUS", ShowStatistics::AnalyzeStatus),
        ];
        if let Some((_, what)) = statistics.into_iter().find(|(words, _)| self.eat(words)) {
            return Ok(Some(ShowKind::Statistics(what)));
        }
        if let Some(what) = self.eat_any(&["CONFIG"]) {
            return Ok(Some(ShowKind::Tidb(what.to_owned())));
        }
        let known = [
            "BINARY",
            "BINLOG",
            "BINDINGS",
            "ENGINE",
            "MASTER",
            "RELAYLOG",
            "REPLICA",
            "REPLICAS",
            "SLAVE",
            "PROFILE",
            "BACKUPS",
            "RESTORES",
            "IMPORT",
            "PUMP",
            "DRAINER",
            "SESSION_STATES",
            "AFFINITY",
            "DISTRIBUTION",
        ];
        if known.iter().any(|w| self.is(w)) { Ok(None) } else { self.unexpected() }
    }

    fn show_create(&mut self) -> Parsed<Option<ShowKind>> {
        if self.eat("PLACEMENT POLICY") {
            return Ok(Some(ShowKind::CreatePlacementPolicy(self.name()?)));
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_not_exists = self.if_not_exists()?;
            return Ok(Some(ShowKind::CreateDatabase { if_not_exists, name: self.name()? }));
        }
        if self.eat("TABLE") {
            return Ok(Some(ShowKind::CreateTable(self.table_name()?)));
        }
        if self.eat("VIEW") {
            return Ok(Some(ShowKind::CreateView(self.table_name()?)));
        }
        if self.eat("USER") {
            return Ok(Some(ShowKind::CreateUser(self.rest())));
        }
        let known = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "SEQUENCE", "IMPORT", "RESOURCE"];
        if known.iter().any(|w| self.is(w)) {
            let what = format!("SHOW CREATE {}", self.rest().to_ascii_uppercase());
            return self.unsupported(what);
        }
        self.unexpected()
    }

    fn show_placement(&mut self) -> Parsed<ShowKind> {
        if self.eat("LABELS") {
            return Ok(ShowKind::PlacementLabels);
        }
        if !self.eat("FOR") {
            return Ok(ShowKind::Placement);
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            return Ok(ShowKind::PlacementForDatabase(self.name()?));
        }
        self.expect("TABLE")?;
        let table = self.table_name()?;
        let partition = if self.eat("PARTITION") { Some(self.name()?) } else { None };
        Ok(ShowKind::PlacementForTable { table, partition })
    }

    /// `SHOW TABLE t [INDEX i] REGIONS`, `SHOW TABLE t NEXT_ROW_ID`.
    fn show_table(&mut self) -> Parsed<Option<ShowKind>> {
        self.expect("TABLE")?;
        let table = self.table_name()?;
        if self.eat("NEXT_ROW_ID") {
            return Ok(Some(ShowKind::TableNextRowId(table)));
        }
        if self.is("PARTITION") {
            return self.unsupported("SHOW TABLE PARTITION REGIONS");
        }
        let index = if self.eat("INDEX") { Some(self.name()?) } else { None };
        if self.is("DISTRIBUTIONS") {
            return Ok(None);
        }
        self.expect("REGIONS")?;
        Ok(Some(ShowKind::TableRegions { table, index }))
    }

    fn database_clause(&mut self) -> Parsed<Option<String>> {
        Ok(match self.eat_any(&["FROM", "IN"]) {
            Some(_) => Some(self.name()?),
            None => None,
        })
    }

    /// `FROM t [FROM db]`.
    fn table_clause(&mut self) -> Parsed<TableName> {
        if self.eat_any(&["FROM", "IN"]).is_none() {
            return self.unexpected();
        }
        let mut table = self.table_name()?;
        if let Some(database) = self.database_clause()? {
            table.database = Some(database);
        }
        Ok(table)
    }
}
