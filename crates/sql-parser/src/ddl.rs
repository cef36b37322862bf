//! `CREATE`, `DROP`, `TRUNCATE`, `RENAME`, columns, keys, table options and placement options.

use crate::grammar::Token;
use sql_base::SqlError;

use super::ast::{Expr, Literal, UnaryOp};
use super::{
    Algorithm, CheckDef, Clustered, ColumnDef, ColumnType, CreateTable, DatabaseOptions, Ddl, DefaultValue, Dropped,
    Generated, IndexDef, IndexKind, IndexPart, IndexTarget, Parsed, PlacementOption, PolicyRef, Statement,
    StatementParser, TableOptions, TypeKind, ViewMode,
};

/// A column, or something else in the parenthesis of `CREATE TABLE`.
pub(super) enum TableElement {
    Column(ColumnDef),
    Index(IndexDef),
    Check(CheckDef),
    Refused(String),
}

impl StatementParser<'_> {
    pub(super) fn create(&mut self) -> Parsed<Statement> {
        let or_replace = self.eat("OR REPLACE");
        if self.eat("PLACEMENT POLICY") {
            let if_not_exists = self.if_not_exists()?;
            if or_replace && if_not_exists {
                return Err(SqlError::WrongUsage("OR REPLACE".into(), "IF NOT EXISTS".into()).into());
            }
            let name = self.name()?;
            let options = self.placement_options()?;
            return Ok(Statement::Ddl(Ddl::CreatePlacementPolicy { or_replace, if_not_exists, name, options }));
        }
        if self.begins_view() {
            return self.view(if or_replace { ViewMode::Replace } else { ViewMode::Create });
        }
        if or_replace {
            return self.refuse("CREATE OR REPLACE");
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_not_exists = self.if_not_exists()?;
            let name = self.name()?;
            let options = self.database_options()?;
            return Ok(Statement::Ddl(Ddl::CreateDatabase { if_not_exists, name, options }));
        }
        if self.eat("TABLE") {
            return self.create_table(false);
        }
        if self.eat("TEMPORARY TABLE") {
            return self.create_table(true);
        }
        if self.eat("GLOBAL TEMPORARY TABLE") {
            return self.unsupported("CREATE GLOBAL TEMPORARY TABLE");
        }
        let kind = match self.eat_any(&["UNIQUE", "FULLTEXT", "SPATIAL"]) {
            Some("UNIQUE") => IndexKind::Unique,
            Some("FULLTEXT") => IndexKind::FullText,
            Some(_) => IndexKind::Spatial,
            None => IndexKind::Plain,
        };
        if self.eat_any(&["INDEX", "KEY"]).is_some() {
            let if_not_exists = self.if_not_exists()?;
            let name = self.name()?;
            self.index_using()?;
            self.expect("ON")?;
            let table = self.table_name()?;
            let mut index = self.index_body(kind, Some(name))?;
            while let Some(how) = self.alter_how()? {
                if how == Some(Algorithm::Instant) {
                    return Err(SqlError::AlterAlgorithmNotSupported.into());
                }
            }
            index.if_not_exists = if_not_exists;
            return Ok(Statement::Ddl(Ddl::CreateIndex { if_not_exists, table, index }));
        }
        if kind != IndexKind::Plain {
            return self.unexpected();
        }
        let known = [
            "USER",
            "ROLE",
            "PROCEDURE",
            "FUNCTION",
            "TRIGGER",
            "EVENT",
            "SEQUENCE",
            "SERVER",
            "TABLESPACE",
            "BINDING",
            "SESSION",
            "GLOBAL",
            "DEFINER",
            "RESOURCE",
            "STATISTICS",
            "AGGREGATE",
            "LOGFILE",
            "SPATIAL",
            "UNDO",
        ];
        if known.iter().any(|w| self.is(w)) {
            return self.refuse("CREATE");
        }
        self.unexpected()
    }

    pub(super) fn drop(&mut self) -> Parsed<Statement> {
        if self.eat("PLACEMENT POLICY") {
            let if_exists = self.if_exists()?;
            return Ok(Statement::Ddl(Ddl::DropPlacementPolicy { if_exists, name: self.name()? }));
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let if_exists = self.if_exists()?;
            return Ok(Statement::Ddl(Ddl::DropDatabase { if_exists, name: self.name()? }));
        }
        if self.eat("PREPARE") {
            return Ok(Statement::Deallocate(self.name()?));
        }
        if self.eat("GLOBAL TEMPORARY") {
            return self.unsupported("DROP GLOBAL TEMPORARY TABLE");
        }
        let temporary = self.eat("TEMPORARY");
        if self.eat_any(&["TABLE", "TABLES"]).is_some() {
            let if_exists = self.if_exists()?;
            let tables = self.comma_separated(|s| s.table_name())?;
            self.eat_any(&["RESTRICT", "CASCADE"]);
            return Ok(Statement::Ddl(Ddl::DropTable { temporary, if_exists, tables }));
        }
        if temporary {
            return self.unexpected();
        }
        if self.eat("VIEW") {
            let if_exists = self.if_exists()?;
            let views = self.comma_separated(|s| s.table_name())?;
            self.eat_any(&["RESTRICT", "CASCADE"]);
            return Ok(Statement::Ddl(Ddl::DropView { if_exists, views }));
        }
        if self.eat_any(&["INDEX", "KEY"]).is_some() {
            let if_exists = self.if_exists()?;
            let name = if self.eat("PRIMARY") { "PRIMARY".to_owned() } else { self.name()? };
            self.expect("ON")?;
            let table = self.table_name()?;
            while self.alter_how()?.is_some() {}
            return Ok(Statement::Ddl(Ddl::DropIndex { if_exists, table, name }));
        }
        let known = [
            "USER",
            "ROLE",
            "PROCEDURE",
            "FUNCTION",
            "TRIGGER",
            "EVENT",
            "SEQUENCE",
            "SERVER",
            "TABLESPACE",
            "BINDING",
            "SESSION",
            "GLOBAL",
            "RESOURCE",
            "STATISTICS",
        ];
        if self.eat("STATS") {
            return self.drop_stats();
        }
        if known.iter().any(|w| self.is(w)) {
            return self.refuse("DROP");
        }
        self.unexpected()
    }

    pub(super) fn truncate(&mut self) -> Parsed<Statement> {
        self.eat("TABLE");
        Ok(Statement::Ddl(Ddl::TruncateTable(self.table_name()?)))
    }

    /// `RECOVER TABLE t`, `RECOVER TABLE BY JOB n`, `FLASHBACK TABLE t [TO name]`.
    pub(super) fn recover(&mut self, word: &str) -> Parsed<Statement> {
        if !self.eat("TABLE") {
            return self.refuse(word);
        }
        if word == "RECOVER" && self.eat("BY JOB") {
            let job = self.unsigned()?;
            return Ok(Statement::Ddl(Ddl::RecoverTable { dropped: Dropped::ByJob(job), name: None }));
        }
        let dropped = Dropped::Table(self.table_name()?);
        let name = if word == "FLASHBACK" && self.eat("TO") { Some(self.name()?) } else { None };
        Ok(Statement::Ddl(Ddl::RecoverTable { dropped, name }))
    }

    pub(super) fn rename(&mut self) -> Parsed<Statement> {
        if self.is("USER") {
            return self.refuse("RENAME");
        }
        if self.eat_any(&["TABLE", "TABLES"]).is_none() {
            return self.unexpected();
        }
        let pairs = self.comma_separated(|s| {
            let from = s.table_name()?;
            s.expect("TO")?;
            Ok((from, s.table_name()?))
        })?;
        Ok(Statement::Ddl(Ddl::RenameTable(pairs)))
    }

    // ---- Databases ----

    pub(super) fn database_options(&mut self) -> Parsed<DatabaseOptions> {
        let mut options = DatabaseOptions::default();
        while !self.at_end() {
            if self.is_placement() {
                options.placement = Some(self.placement_policy_ref()?);
                continue;
            }
            self.eat("DEFAULT");
            if self.is_placement() {
                options.placement = Some(self.placement_policy_ref()?);
            } else if self.eat_charset() {
                self.eat_token(&Token::Eq);
                options.charset = Some(self.string_or_word()?.to_ascii_lowercase());
            } else if self.eat("COLLATE") {
                self.eat_token(&Token::Eq);
                options.collate = Some(self.string_or_word()?.to_ascii_lowercase());
            } else if self.eat("ENCRYPTION") {
                self.eat_token(&Token::Eq);
                self.no_encryption()?;
            } else {
                return self.unexpected();
            }
        }
        Ok(options)
    }

    pub(super) fn eat_charset(&mut self) -> bool {
        self.eat_any(&["CHARACTER SET", "CHARSET", "CHAR SET"]).is_some()
    }

    // ---- Placement ----

    pub(super) fn is_placement(&self) -> bool {
        self.is("PLACEMENT") && self.is_nth(1, "POLICY")
    }

    /// `PLACEMENT POLICY [=] p | SET DEFAULT`.
    pub(super) fn placement_policy_ref(&mut self) -> Parsed<PolicyRef> {
        self.expect("PLACEMENT POLICY")?;
        if self.eat("SET DEFAULT") {
            return Ok(PolicyRef::Default);
        }
        self.eat_token(&Token::Eq);
        let quoted = !matches!(self.peek(), Token::Word(w) if w.quote_style.is_none());
        let name = if self.is("DEFAULT") { self.any_word()? } else { self.string_or_word()? };
        let is_string = quoted && !matches!(&self.p.last_token().token, Token::Word(_));
        Ok(match name.eq_ignore_ascii_case("default") && (!quoted || is_string) {
            true => PolicyRef::Default,
            false => PolicyRef::Named(name),
        })
    }

    pub(super) fn placement_options(&mut self) -> Parsed<Vec<PlacementOption>> {
        let mut options = vec![self.placement_option()?];
        while !self.at_end() {
            self.eat_token(&Token::Comma);
            options.push(self.placement_option()?);
        }
        Ok(options)
    }

    fn placement_option(&mut self) -> Parsed<PlacementOption> {
        let words: &[&'static str] = &[
            "PRIMARY_REGION",
            "REGIONS",
            "SCHEDULE",
            "FOLLOWERS",
            "VOTERS",
            "LEARNERS",
            "CONSTRAINTS",
            "LEADER_CONSTRAINTS",
            "FOLLOWER_CONSTRAINTS",
            "VOTER_CONSTRAINTS",
            "LEARNER_CONSTRAINTS",
            "SURVIVAL_PREFERENCES",
        ];
        let Some(option) = self.eat_any(words) else { return self.unexpected() };
        self.eat_token(&Token::Eq);
        Ok(match option {
            "PRIMARY_REGION" => PlacementOption::PrimaryRegion(self.string()?),
            "REGIONS" => PlacementOption::Regions(self.string()?),
            "SCHEDULE" => PlacementOption::Schedule(self.string()?),
            "FOLLOWERS" => match self.unsigned()? {
                0 => return Err(SqlError::Other("FOLLOWERS must be positive".into()).into()),
                n => PlacementOption::Followers(n),
            },
            "VOTERS" => PlacementOption::Voters(self.unsigned()?),
            "LEARNERS" => PlacementOption::Learners(self.unsigned()?),
            "CONSTRAINTS" => PlacementOption::Constraints(self.string()?),
            "LEADER_CONSTRAINTS" => PlacementOption::LeaderConstraints(self.string()?),
            "FOLLOWER_CONSTRAINTS" => PlacementOption::FollowerConstraints(self.string()?),
            "VOTER_CONSTRAINTS" => PlacementOption::VoterConstraints(self.string()?),
            "LEARNER_CONSTRAINTS" => PlacementOption::LearnerConstraints(self.string()?),
            _ => PlacementOption::SurvivalPreferences(self.string()?),
        })
    }

    // ---- Tables ----

    fn create_table(&mut self, temporary: bool) -> Parsed<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let table = self.table_name()?;
        let like_in_parens = *self.peek() == Token::LParen && self.is_nth(1, "LIKE");
        if like_in_parens || self.is("LIKE") {
            if like_in_parens {
                self.p.advance_token();
            }
            self.expect("LIKE")?;
            let like = self.table_name()?;
            if like_in_parens {
                self.expect_token(&Token::RParen)?;
            }
            return Ok(Statement::Ddl(Ddl::CreateTableLike { temporary, if_not_exists, table, like }));
        }
        if self.is("AS") || self.is("SELECT") {
            return self.unsupported("CREATE TABLE … SELECT");
        }
        let elements = self.parenthesized(|s| s.comma_separated(|s| s.table_element()))?;
        let mut create = CreateTable {
            temporary,
            if_not_exists,
            table,
            columns: Vec::new(),
            indexes: Vec::new(),
            checks: Vec::new(),
            refused: Vec::new(),
            options: self.table_options()?,
            partition: None,
        };
        self.check_engine(&create.table.name, &create.options)?;
        for element in elements {
            match element {
                TableElement::Column(c) => create.columns.push(c),
                TableElement::Index(i) => create.indexes.push(i),
                TableElement::Check(check) => create.checks.push(check),
                TableElement::Refused(what) => create.refused.push(what),
            }
        }
        if self.eat("PARTITION BY") {
            create.partition = Some(Box::new(self.partition_by()?));
        }
        if let Some(what) = self.eat_any(&["START TRANSACTION"]) {
            return self.unsupported(what);
        }
        if self.is("AS") || self.is("SELECT") || self.is("IGNORE") || self.is("REPLACE") {
            return self.unsupported("CREATE TABLE … SELECT");
        }
        Ok(Statement::Ddl(Ddl::CreateTable(Box::new(create))))
    }

    pub(super) fn table_element(&mut self) -> Parsed<TableElement> {
        let starts_constraint =
            ["CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"];
        if starts_constraint.iter().any(|w| self.is(w)) {
            return self.constraint();
        }
        let name = self.name()?;
        Ok(TableElement::Column(self.column_def(name)?))
    }

    /// `[CONSTRAINT [c]] PRIMARY KEY … | UNIQUE … | INDEX … | FOREIGN KEY … | CHECK …`.
    pub(super) fn constraint(&mut self) -> Parsed<TableElement> {
        let mut constraint = None;
        if self.eat("CONSTRAINT") {
            let unnamed = ["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"].iter().any(|w| self.is(w));
            constraint = if unnamed { None } else { Some(self.name()?) };
        }
        if self.eat("FOREIGN") {
            self.expect("KEY")?;
            if !matches!(self.peek(), Token::LParen) {
                self.if_not_exists()?;
                self.name()?;
            }
            self.skip_parenthesized()?;
            self.references()?;
            return Ok(TableElement::Refused("FOREIGN KEY".into()));
        }
        if self.eat("CHECK") {
            return Ok(TableElement::Check(self.check_body(constraint, None)?));
        }
        let kind = if self.eat("PRIMARY") {
            self.expect("KEY")?;
            IndexKind::Primary
        } else if self.eat("UNIQUE") {
            self.eat_any(&["INDEX", "KEY"]);
            IndexKind::Unique
        } else if self.eat("FULLTEXT") {
            self.eat_any(&["INDEX", "KEY"]);
            IndexKind::FullText
        } else if self.eat("SPATIAL") {
            self.eat_any(&["INDEX", "KEY"]);
            IndexKind::Spatial
        } else if constraint.is_none() && self.eat_any(&["INDEX", "KEY"]).is_some() {
            IndexKind::Plain
        } else {
            return self.unexpected();
        };
        let if_not_exists = self.if_not_exists()?;
        let named = !matches!(self.peek(), Token::LParen) && !self.is("USING") && !self.is("TYPE");
        let mut name = if named { Some(self.name()?) } else { None };
        if name.is_none() && kind != IndexKind::Primary {
            name = constraint;
        }
        self.index_using()?;
        let mut index = self.index_body(kind, name)?;
        index.if_not_exists = if_not_exists;
        Ok(TableElement::Index(index))
    }

    /// `(expr) [[NOT] ENFORCED]`.
    fn check_body(&mut self, name: Option<String>, column: Option<String>) -> Parsed<CheckDef> {
        let expr = self.parenthesized(|s| s.expr())?;
        Ok(CheckDef { name, expr, enforced: self.enforced()?.unwrap_or(true), column })
    }

    /// `ENFORCED`, `NOT ENFORCED`, if it is said.
    pub(super) fn enforced(&mut self) -> Parsed<Option<bool>> {
        if self.eat("NOT ENFORCED") {
            return Ok(Some(false));
        }
        Ok(self.eat("ENFORCED").then_some(true))
    }

    /// `USING BTREE`: there is one kind of index.
    pub(super) fn index_using(&mut self) -> Parsed<()> {
        if self.eat_any(&["USING", "TYPE"]).is_none() {
            return Ok(());
        }
        match self.eat_any(&["BTREE", "HASH", "RTREE", "HYPO"]) {
            Some("BTREE") => {}
            // An index that only EXPLAIN sees.
            Some("HYPO") => return self.unsupported("USING HYPO"),
            Some(kind) => self.warnings.push(SqlError::IndexAlgorithmReplaced(kind)),
            None => return self.unexpected(),
        }
        Ok(())
    }

    /// `(parts) options`.
    pub(super) fn index_body(&mut self, kind: IndexKind, name: Option<String>) -> Parsed<IndexDef> {
        let columns = self.parenthesized(|s| s.comma_separated(|s| s.index_part()))?;
        let mut index = IndexDef {
            kind,
            name,
            if_not_exists: false,
            columns,
            comment: None,
            invisible: false,
            clustered: Clustered::Unsaid,
        };
        loop {
            if self.eat("COMMENT") {
                index.comment = Some(self.string()?);
            } else if self.is("USING") || self.is("TYPE") {
                self.index_using()?;
            } else if self.eat("KEY_BLOCK_SIZE") {
                self.eat_token(&Token::Eq);
                self.unsigned()?;
                self.ignored("KEY_BLOCK_SIZE");
            } else if self.eat("VISIBLE") {
                index.invisible = false;
            } else if self.eat("INVISIBLE") {
                index.invisible = true;
            } else if self.eat("CLUSTERED") {
                index.clustered = Clustered::Clustered;
            } else if self.eat("NONCLUSTERED") {
                index.clustered = Clustered::NonClustered;
            } else if kind == IndexKind::FullText && self.eat("WITH PARSER") {
                self.name()?;
            } else if let Some(what) =
                self.eat_any(&["GLOBAL", "WHERE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"])
            {
                return self.unsupported(format!("{what} index"));
            } else {
                return Ok(index);
            }
        }
    }

    fn index_part(&mut self) -> Parsed<IndexPart> {
        let mut length = None;
        let target = if *self.peek() == Token::LParen {
            IndexTarget::Expr(self.parenthesized(|s| s.expr())?)
        } else {
            let name = self.name()?;
            if *self.peek() == Token::LParen {
                let here = self.here();
                let n = self.parenthesized(|s| s.unsigned32())?;
                if n == 0 {
                    return Err(super::Stop::At(here));
                }
                length = Some(n);
            }
            IndexTarget::Column(name)
        };
        let desc = matches!(self.eat_any(&["ASC", "DESC"]), Some("DESC"));
        if desc {
            self.ignored("DESC");
        }
        Ok(IndexPart { target, length, desc })
    }

    /// Options after the parenthesis, separated by blanks or commas.
    pub(super) fn table_options(&mut self) -> Parsed<TableOptions> {
        let mut options = TableOptions::default();
        while !self.at_end() {
            if !self.table_option(&mut options)? {
                break;
            }
            // In ALTER TABLE, a comma may also begin the next action.
            if *self.peek() == Token::Comma && self.starts_table_option(1) {
                self.p.advance_token();
            }
        }
        Ok(options)
    }

    pub(super) fn starts_table_option(&self, n: usize) -> bool {
        let Token::Word(w) = self.peek_nth(n) else { return false };
        let word = w.value.to_ascii_uppercase();
        let two = |next: &str| self.is_nth(n + 1, next);
        match word.as_str() {
            "DEFAULT" => two("CHARSET") || two("CHARACTER") || two("CHAR") || two("COLLATE") || two("PLACEMENT"),
            "CHARACTER" | "CHAR" => two("SET"),
            "PLACEMENT" => two("POLICY"),
            "DATA" | "INDEX" => two("DIRECTORY"),
            "ENGINE" | "CHARSET" | "COLLATE" | "COMMENT" | "AUTO_INCREMENT" | "AUTO_ID_CACHE" | "SHARD_ROW_ID_BITS"
            | "PRE_SPLIT_REGIONS" | "COMPRESSION" | "ENCRYPTION" | "STORAGE" => true,
            word => IGNORED_TABLE_OPTIONS.contains(&word) || REFUSED_TABLE_OPTIONS.contains(&word),
        }
    }

    fn table_option(&mut self, options: &mut TableOptions) -> Parsed<bool> {
        if !self.starts_table_option(0) {
            return Ok(false);
        }
        self.eat("DEFAULT");
        if self.is_placement() {
            options.placement = Some(self.placement_policy_ref()?);
            return Ok(true);
        }
        if self.eat_charset() {
            self.eat_token(&Token::Eq);
            options.charset = Some(self.string_or_word()?.to_ascii_lowercase());
            return Ok(true);
        }
        let name = self.any_word()?.to_ascii_uppercase();
        self.eat_token(&Token::Eq);
        match name.as_str() {
            "ENGINE" => options.engine = Some(self.string_or_word()?),
            "COLLATE" => options.collate = Some(self.string_or_word()?.to_ascii_lowercase()),
            "COMMENT" => options.comment = Some(self.string()?),
            "AUTO_INCREMENT" => options.auto_increment = Some(self.unsigned()?),
            // One id at a time is an order of ids over all servers, more are how fast they come.
            "AUTO_ID_CACHE" => options.auto_id_cache = Some(self.unsigned()?),
            "SHARD_ROW_ID_BITS" => options.shard_row_id_bits = Some(self.unsigned()?),
            "PRE_SPLIT_REGIONS" => options.pre_split_regions = Some(self.unsigned()?),
            "ENCRYPTION" => self.no_encryption()?,
            "COMPRESSION" => {
                let algorithm = self.string()?;
                if !algorithm.is_empty() && !algorithm.eq_ignore_ascii_case("none") {
                    return self.unsupported("table option COMPRESSION");
                }
            }
            "STORAGE" => self.storage()?,
            "DATA" | "INDEX" => return self.unsupported(format!("table option {name} DIRECTORY")),
            _ if REFUSED_TABLE_OPTIONS.contains(&name.as_str()) => {
                return self.unsupported(format!("table option {name}"));
            }
            _ => {
                if !matches!(self.peek(), Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_)) {
                    return self.unexpected();
                }
                self.p.advance_token();
                self.ignored(&name);
            }
        }
        Ok(true)
    }

    fn no_encryption(&mut self) -> Parsed<()> {
        let encrypt = self.string()?;
        if encrypt.is_empty() || encrypt.eq_ignore_ascii_case("n") { Ok(()) } else { self.unsupported("ENCRYPTION") }
    }

    /// `STORAGE …` of a table or column: everything is on disk.
    fn storage(&mut self) -> Parsed<()> {
        match self.eat_any(&["DISK", "DEFAULT", "MEMORY"]) {
            Some("MEMORY") => self.unsupported("STORAGE MEMORY"),
            Some(_) => Ok(()),
            None => self.unexpected(),
        }
    }

    /// There is one engine. It promises all that MyISAM and MEMORY do; others would put the rows elsewhere, or nowhere.
    pub(super) fn check_engine(&mut self, table: &str, options: &TableOptions) -> Parsed<()> {
        let Some(engine) = &options.engine else { return Ok(()) };
        match engine.to_ascii_uppercase().as_str() {
            "INNODB" => {}
            "MYISAM" | "MEMORY" | "HEAP" => self.warnings.push(SqlError::OtherEngine(table.to_owned())),
            "ARCHIVE" | "ARIA" | "BLACKHOLE" | "CSV" | "EXAMPLE" | "FEDERATED" | "MERGE" | "MRG_MYISAM" | "NDB"
            | "NDBCLUSTER" | "PERFORMANCE_SCHEMA" | "ROCKSDB" | "TOKUDB" => {
                return self.unsupported(format!("ENGINE = {engine}"));
            }
            _ => return Err(SqlError::UnknownEngine(engine.clone()).into()),
        }
        Ok(())
    }

    // ---- Columns ----

    /// Type and attributes of a column whose name has been read.
    pub(super) fn column_def(&mut self, name: String) -> Parsed<ColumnDef> {
        let mut serial = false;
        let ty = if self.eat("SERIAL") {
            serial = true;
            ColumnType { unsigned: true, ..plain(TypeKind::BigInt) }
        } else {
            self.column_type()?
        };
        let mut column = ColumnDef {
            name,
            ty,
            nullable: serial.then_some(false),
            default: None,
            on_update_now: None,
            auto_increment: serial,
            auto_random: None,
            primary_key: None,
            unique: serial,
            comment: None,
            generated: None,
            checks: Vec::new(),
            refused: Vec::new(),
        };
        while self.column_attribute(&mut column)? {}
        Ok(column)
    }

    fn column_attribute(&mut self, column: &mut ColumnDef) -> Parsed<bool> {
        if self.eat("NOT NULL") {
            column.nullable = Some(false);
        } else if self.eat("NULL") {
            column.nullable = Some(true);
        } else if self.eat("DEFAULT") {
            column.default = Some(self.default_value()?);
        } else if self.eat("ON UPDATE") {
            column.on_update_now = Some(self.current_timestamp()?);
        } else if self.eat("AUTO_INCREMENT") {
            column.auto_increment = true;
        } else if self.eat("AUTO_RANDOM") {
            let bits = if *self.peek() == Token::LParen {
                Some(self.parenthesized(|s| {
                    let bits = s.unsigned32()?;
                    if s.eat_token(&Token::Comma) {
                        s.unsigned32()?;
                    }
                    Ok(bits)
                })?)
            } else {
                None
            };
            column.auto_random = Some(bits);
        } else if self.eat("PRIMARY KEY") || self.eat("PRIMARY") || self.eat("KEY") {
            column.primary_key = Some(match self.eat_any(&["CLUSTERED", "NONCLUSTERED"]) {
                Some("CLUSTERED") => Clustered::Clustered,
                Some(_) => Clustered::NonClustered,
                None => Clustered::Unsaid,
            });
        } else if self.eat("UNIQUE") {
            self.eat("KEY");
            column.unique = true;
        } else if self.eat("COMMENT") {
            column.comment = Some(self.string()?);
        } else if self.eat("COLLATE") {
            column.ty.collate = Some(self.string_or_word()?.to_ascii_lowercase());
        } else if self.eat_charset() {
            column.ty.charset = Some(self.string_or_word()?.to_ascii_lowercase());
        } else if self.eat("GENERATED ALWAYS AS") || self.eat("AS") {
            let expr = self.parenthesized(|s| s.expr())?;
            let stored = matches!(self.eat_any(&["STORED", "VIRTUAL"]), Some("STORED"));
            column.generated = Some(Generated { expr, stored });
        } else if self.eat("COLUMN_FORMAT") {
            match self.eat_any(&["DEFAULT", "FIXED", "DYNAMIC"]) {
                Some("DEFAULT") => {}
                Some(format) => return self.unsupported(format!("COLUMN_FORMAT {format}")),
                None => return self.unexpected(),
            }
        } else if self.eat("STORAGE") {
            self.storage()?;
        } else if let Some(what) = self.eat_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE", "NOT SECONDARY"]) {
            return self.unsupported(what);
        } else if self.eat("VISIBLE") {
        } else if self.eat("INVISIBLE") {
            column.refused.push("INVISIBLE column".into());
        } else if self.is("REFERENCES") {
            self.references()?;
            // MySQL parses and ignores the column form; we don't pretend.
            column.refused.push("REFERENCES".into());
        } else if self.is("CHECK") || self.is("CONSTRAINT") {
            let named = self.eat("CONSTRAINT") && !self.is("CHECK");
            let name = if named { Some(self.name()?) } else { None };
            self.expect("CHECK")?;
            let check = self.check_body(name, Some(column.name.clone()))?;
            column.checks.push(check);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `REFERENCES t (…) [MATCH …] [ON DELETE …] [ON UPDATE …]`.
    fn references(&mut self) -> Parsed<()> {
        self.expect("REFERENCES")?;
        self.table_name()?;
        if *self.peek() == Token::LParen {
            self.skip_parenthesized()?;
        }
        if self.eat("MATCH") {
            self.any_word()?;
        }
        while self.is("ON") {
            self.p.advance_token();
            if self.eat_any(&["DELETE", "UPDATE"]).is_none() {
                return self.unexpected();
            }
            if self.eat_any(&["RESTRICT", "CASCADE", "SET NULL", "NO ACTION", "SET DEFAULT"]).is_none() {
                return self.unexpected();
            }
        }
        Ok(())
    }

    pub(super) fn default_value(&mut self) -> Parsed<DefaultValue> {
        let now = ["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"];
        if now.iter().any(|w| self.is(w)) {
            return Ok(DefaultValue::Now { fsp: self.current_timestamp()? });
        }
        if *self.peek() == Token::LParen {
            let expr = self.parenthesized(|s| s.expr())?;
            return Ok(DefaultValue::Expr(Expr::Nested(Box::new(expr))));
        }
        // A signed literal or a function call such as NEXTVAL or UUID; not a whole expression, or `NOT NULL` would join it.
        let minus = self.eat_token(&Token::Minus);
        if !minus {
            self.eat_token(&Token::Plus);
        }
        let value = match self.peek() {
            Token::Number(..) | Token::SingleQuotedString(_) | Token::HexStringLiteral(_) => self.p.operand()?,
            Token::SingleQuotedByteStringLiteral(_) | Token::TripleSingleQuotedByteStringLiteral(_) => {
                self.p.operand()?
            }
            Token::Word(w) if w.quote_style.is_none() => {
                let literal = ["NULL", "TRUE", "FALSE", "DATE", "TIME", "TIMESTAMP"].iter().any(|k| self.is(k));
                if !literal && *self.peek_nth(1) != Token::LParen {
                    return self.unexpected();
                }
                self.p.operand()?
            }
            _ => return self.unexpected(),
        };
        Ok(DefaultValue::Expr(match minus {
            false => value,
            true => match value {
                Expr::Literal(Literal::Number(n)) => Expr::Literal(Literal::Number(format!("-{n}"))),
                other => Expr::Unary { op: UnaryOp::Minus, expr: Box::new(other) },
            },
        }))
    }

    /// `CURRENT_TIMESTAMP[(fsp)]` or a synonym: the fsp.
    fn current_timestamp(&mut self) -> Parsed<u8> {
        if self.eat_any(&["CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"]).is_none() {
            return self.unexpected();
        }
        if !self.eat_token(&Token::LParen) {
            return Ok(0);
        }
        let mut fsp = 0;
        if *self.peek() != Token::RParen {
            let n = self.unsigned32()?;
            if n > 6 {
                return Err(SqlError::TooBigPrecision { column: "now".into(), precision: n, max: 6 }.into());
            }
            fsp = n as u8;
        }
        self.expect_token(&Token::RParen)?;
        Ok(fsp)
    }

    fn column_type(&mut self) -> Parsed<ColumnType> {
        use TypeKind::*;
        let Token::Word(word) = self.peek() else { return self.unexpected() };
        if word.quote_style.is_some() {
            return self.unexpected();
        }
        let word = word.value.to_ascii_uppercase();
        let mut ty = plain(match word.as_str() {
            "TINYINT" | "INT1" | "BOOL" | "BOOLEAN" => TinyInt,
            "SMALLINT" | "INT2" => SmallInt,
            "MEDIUMINT" | "INT3" | "MIDDLEINT" => MediumInt,
            "INT" | "INTEGER" | "INT4" => Int,
            "BIGINT" | "INT8" => BigInt,
            "FLOAT" | "FLOAT4" => Float,
            "DOUBLE" | "REAL" | "FLOAT8" => Double,
            "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => Decimal,
            "BIT" => Bit,
            "DATE" => Date,
            "DATETIME" => DateTime,
            "TIMESTAMP" => Timestamp,
            "TIME" => Time,
            "YEAR" => Year,
            "CHAR" | "CHARACTER" | "NCHAR" => Char,
            "VARCHAR" | "VARCHARACTER" | "NVARCHAR" => VarChar,
            "NATIONAL" => Char,
            "BINARY" => Binary,
            "VARBINARY" => VarBinary,
            "TINYTEXT" => TinyText,
            "TEXT" => Text,
            "MEDIUMTEXT" => MediumText,
            "LONGTEXT" => LongText,
            "LONG" => MediumText,
            "TINYBLOB" => TinyBlob,
            "BLOB" => Blob,
            "MEDIUMBLOB" => MediumBlob,
            "LONGBLOB" => LongBlob,
            "ENUM" => Enum,
            "SET" => Set,
            "JSON" => Json,
            "GEOMETRY" | "POINT" | "LINESTRING" | "POLYGON" | "MULTIPOINT" | "MULTILINESTRING" | "MULTIPOLYGON"
            | "GEOMETRYCOLLECTION" | "VECTOR" => return self.unsupported(format!("type {word}")),
            _ => return self.unexpected(),
        });
        self.p.advance_token();
        match word.as_str() {
            "BOOL" | "BOOLEAN" => ty.length = Some(1),
            "DOUBLE" => {
                self.eat("PRECISION");
            }
            "NATIONAL" => {
                if self.eat_any(&["VARCHAR", "VARCHARACTER"]).is_some() {
                    ty.kind = VarChar;
                } else if self.eat_any(&["CHAR", "CHARACTER"]).is_none() {
                    return self.unexpected();
                }
            }
            "LONG" => {
                let qualifier = self.eat_any(&["VARCHAR", "VARBINARY", "VARCHARACTER"]);
                if qualifier == Some("VARBINARY") {
                    ty.kind = MediumBlob;
                }
            }
            _ => {}
        }
        if matches!(word.as_str(), "CHAR" | "CHARACTER" | "NCHAR" | "NATIONAL" | "LONG") && self.eat("VARYING") {
            ty.kind = if word == "LONG" { MediumText } else { VarChar };
        }
        if matches!(ty.kind, Enum | Set) {
            ty.elems = self.parenthesized(|s| s.comma_separated(|s| s.string()))?;
        } else if *self.peek() == Token::LParen {
            let takes_none =
                matches!(ty.kind, Date | Json | TinyText | MediumText | LongText | TinyBlob | MediumBlob | LongBlob);
            if takes_none || matches!(word.as_str(), "BOOL" | "BOOLEAN" | "LONG") {
                return self.unexpected();
            }
            let takes_two = matches!(ty.kind, Float | Double | Decimal);
            (ty.length, ty.decimals) = self.parenthesized(|s| {
                let length = s.unsigned32()?;
                let decimals = if takes_two && s.eat_token(&Token::Comma) { Some(s.unsigned32()?) } else { None };
                Ok((Some(length), decimals))
            })?;
        }
        if matches!(ty.kind, VarChar | VarBinary) && ty.length.is_none() {
            return self.unexpected();
        }
        if matches!(word.as_str(), "NCHAR" | "NVARCHAR" | "NATIONAL") {
            ty.charset = Some("utf8".into());
        }
        self.type_attributes(&mut ty)?;
        Ok(ty)
    }

    fn type_attributes(&mut self, ty: &mut ColumnType) -> Parsed<()> {
        use TypeKind::*;
        let numeric = matches!(ty.kind, TinyInt | SmallInt | MediumInt | Int | BigInt | Float | Double | Decimal);
        let text = matches!(ty.kind, Char | VarChar | TinyText | Text | MediumText | LongText | Enum | Set);
        loop {
            if numeric && self.eat("UNSIGNED") {
                ty.unsigned = true;
            } else if numeric && self.eat("SIGNED") {
            } else if numeric && self.eat("ZEROFILL") {
                ty.zerofill = true;
                ty.unsigned = true;
            } else if text && self.eat_charset() {
                ty.charset = Some(self.string_or_word()?.to_ascii_lowercase());
            } else if text && self.eat("BINARY") {
                ty.binary = true;
            } else if text && let Some(word) = self.eat_any(&["ASCII", "UNICODE", "BYTE"]) {
                ty.charset = Some(match word {
                    "ASCII" => "latin1".into(),
                    "UNICODE" => "ucs2".into(),
                    _ => "binary".into(),
                });
            } else if text && self.eat("COLLATE") {
                ty.collate = Some(self.string_or_word()?.to_ascii_lowercase());
            } else {
                return Ok(());
            }
        }
    }
}

fn plain(kind: TypeKind) -> ColumnType {
    ColumnType {
        kind,
        length: None,
        decimals: None,
        unsigned: false,
        zerofill: false,
        binary: false,
        charset: None,
        collate: None,
        elems: Vec::new(),
    }
}

/// Options that say how another engine should store a table, or how much of it to sample: nothing that a query sees.
const IGNORED_TABLE_OPTIONS: &[&str] = &[
    "ROW_FORMAT",
    "KEY_BLOCK_SIZE",
    "MAX_ROWS",
    "MIN_ROWS",
    "AVG_ROW_LENGTH",
    "CHECKSUM",
    "TABLE_CHECKSUM",
    "DELAY_KEY_WRITE",
    "STATS_PERSISTENT",
    "STATS_AUTO_RECALC",
    "STATS_SAMPLE_PAGES",
    "STATS_SAMPLE_RATE",
    "STATS_BUCKETS",
    "STATS_TOPN",
    "STATS_COL_CHOICE",
    "STATS_COL_LIST",
    "PACK_KEYS",
    "AUTOEXTEND_SIZE",
];

/// Options that are not done and would be missed: the rows would be gone in time, elsewhere, or numbered otherwise.
const REFUSED_TABLE_OPTIONS: &[&str] = &[
    "TTL",
    "TTL_ENABLE",
    "TTL_JOB_INTERVAL",
    "UNION",
    "INSERT_METHOD",
    "CONNECTION",
    "PASSWORD",
    "TABLESPACE",
    "SECONDARY_ENGINE",
    "ENGINE_ATTRIBUTE",
    "SECONDARY_ENGINE_ATTRIBUTE",
    "AUTO_RANDOM_BASE",
];
