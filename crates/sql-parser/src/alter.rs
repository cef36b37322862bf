//! `ALTER DATABASE`, `ALTER TABLE`, `ALTER PLACEMENT POLICY`, `ALTER RANGE`.

use crate::grammar::Token;
use sql_base::SqlError;

use super::ddl::TableElement;
use super::{Algorithm, AlterAction, ColumnPosition, Ddl, Parsed, Statement, StatementParser, TableName, ViewMode};

impl StatementParser<'_> {
    pub(super) fn alter(&mut self) -> Parsed<Statement> {
        if self.eat("PLACEMENT POLICY") {
            let if_exists = self.if_exists()?;
            let name = self.name()?;
            let options = self.placement_options()?;
            return Ok(Statement::Ddl(Ddl::AlterPlacementPolicy { if_exists, name, options }));
        }
        if self.eat("RANGE") {
            let range = self.name()?;
            let policy = self.placement_policy_ref()?;
            return Ok(Statement::Ddl(Ddl::AlterRange { range, policy }));
        }
        if self.eat_any(&["DATABASE", "SCHEMA"]).is_some() {
            let option =
                ["CHARACTER", "CHARSET", "CHAR", "COLLATE", "DEFAULT", "ENCRYPTION"].iter().any(|w| self.is(w));
            let name = if option || self.is_placement() { None } else { Some(self.name()?) };
            if self.at_end() {
                return self.unexpected();
            }
            let options = self.database_options()?;
            return Ok(Statement::Ddl(Ddl::AlterDatabase { name, options }));
        }
        // MySQL dropped rows that a new unique key found double.
        if self.eat("IGNORE") {
            return self.unsupported("ALTER IGNORE TABLE");
        }
        if self.eat("TABLE") {
            let table = self.table_name()?;
            let mut actions = Vec::new();
            let mut algorithm = Algorithm::Default;
            if !self.at_end() {
                loop {
                    match self.alter_how()? {
                        Some(said) => algorithm = said.unwrap_or(algorithm),
                        None => self.alter_action(&table, &mut actions)?,
                    }
                    if !self.eat_token(&Token::Comma) {
                        break;
                    }
                }
            }
            return Ok(Statement::Ddl(Ddl::AlterTable { table, actions, algorithm }));
        }
        if self.begins_view() {
            return self.view(ViewMode::Alter);
        }
        let known =
            ["USER", "FUNCTION", "PROCEDURE", "EVENT", "SERVER", "TABLESPACE", "SEQUENCE", "INSTANCE", "RESOURCE"];
        if known.iter().any(|w| self.is(w)) {
            return self.refuse("ALTER");
        }
        self.unexpected()
    }

    /// `ALGORITHM = …` or `LOCK = …`, and what the former demands. Locks are not needed: every change is online.
    pub(super) fn alter_how(&mut self) -> Parsed<Option<Option<Algorithm>>> {
        let Some(what) = self.eat_any(&["ALGORITHM", "LOCK"]) else { return Ok(None) };
        self.eat_token(&Token::Eq);
        let word = self.any_word()?;
        Ok(Some(match (what, word.to_ascii_uppercase().as_str()) {
            ("ALGORITHM", "DEFAULT") => Some(Algorithm::Default),
            ("ALGORITHM", "INSTANT") => Some(Algorithm::Instant),
            ("ALGORITHM", "INPLACE") => Some(Algorithm::Inplace),
            ("ALGORITHM", "COPY") => {
                self.ignored("ALGORITHM=COPY");
                Some(Algorithm::Copy)
            }
            ("LOCK", "DEFAULT" | "NONE") => None,
            ("LOCK", "SHARED" | "EXCLUSIVE") => {
                self.ignored(&format!("{what}={word}"));
                None
            }
            ("ALGORITHM", _) => return Err(SqlError::UnknownAlterAlgorithm(word).into()),
            _ => return Err(SqlError::UnknownAlterLock(word).into()),
        }))
    }

    fn alter_action(&mut self, table: &TableName, actions: &mut Vec<AlterAction>) -> Parsed<()> {
        let action = if self.eat("ADD") {
            return self.alter_add(actions);
        } else if self.eat("DROP") {
            self.alter_drop()?
        } else if self.eat("MODIFY") {
            self.eat("COLUMN");
            let if_exists = self.if_exists()?;
            let name = self.column_name()?;
            let column = self.column_def(name)?;
            AlterAction::ModifyColumn { if_exists, column, position: self.position()? }
        } else if self.eat("CHANGE") {
            self.eat("COLUMN");
            let if_exists = self.if_exists()?;
            let old = self.column_name()?;
            let name = self.column_name()?;
            let column = self.column_def(name)?;
            AlterAction::ChangeColumn { if_exists, old, column, position: self.position()? }
        } else if self.eat("RENAME") {
            self.alter_rename()?
        } else if self.eat("ALTER") {
            self.alter_alter()?
        } else if self.eat("CONVERT TO") {
            if !self.eat_charset() {
                return self.unexpected();
            }
            self.eat_token(&Token::Eq);
            let charset = self.string_or_word()?.to_ascii_lowercase();
            let collate = match self.eat("COLLATE") {
                true => {
                    self.eat_token(&Token::Eq);
                    Some(self.string_or_word()?.to_ascii_lowercase())
                }
                false => None,
            };
            AlterAction::ConvertCharset { charset, collate }
        } else if let Some(what) = self.eat_any(&["ENABLE KEYS", "DISABLE KEYS"]) {
            // Keys are kept with every row.
            self.ignored(what);
            return Ok(());
        } else if self.eat_any(&["FORCE", "WITH VALIDATION", "WITHOUT VALIDATION"]).is_some() {
            // Nothing to rebuild, and nothing that is generated to look through.
            return Ok(());
        } else if self.starts_table_option(0) {
            let options = self.table_options()?;
            self.check_engine(&table.name, &options)?;
            AlterAction::Options(options)
        } else if let Some(change) = self.partition_change()? {
            change
        } else if self.starts_refused_change() {
            let text = self.rest();
            AlterAction::Refused(text.split('(').next().unwrap_or("").trim().to_owned())
        } else {
            return self.unexpected();
        };
        actions.push(action);
        Ok(())
    }

    fn starts_refused_change(&self) -> bool {
        let words = [
            "DISCARD",
            "IMPORT",
            "REBUILD",
            "ORDER",
            "CACHE",
            "NOCACHE",
            "COMPACT",
            "SPLIT",
            "MERGE",
            "FIRST",
            "LAST",
            "OPTIMIZE",
            "ANALYZE",
            "CHECK",
            "REPAIR",
            "SECONDARY_LOAD",
            "SECONDARY_UNLOAD",
            "ATTRIBUTES",
            "SET",
        ];
        words.iter().any(|w| self.is(w))
    }

    fn position(&mut self) -> Parsed<Option<ColumnPosition>> {
        if self.eat("FIRST") {
            return Ok(Some(ColumnPosition::First));
        }
        if self.eat("AFTER") {
            return Ok(Some(ColumnPosition::After(self.column_name()?)));
        }
        Ok(None)
    }

    fn alter_add(&mut self, actions: &mut Vec<AlterAction>) -> Parsed<()> {
        let constraint = ["CONSTRAINT", "PRIMARY", "UNIQUE", "INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"];
        if constraint.iter().any(|w| self.is(w)) {
            match self.constraint()? {
                TableElement::Index(index) => actions.push(AlterAction::AddIndex(index)),
                TableElement::Check(check) => actions.push(AlterAction::AddCheck(check)),
                TableElement::Refused(what) => actions.push(AlterAction::Refused(format!("ADD {what}"))),
                TableElement::Column(_) => return self.unexpected(),
            }
            return Ok(());
        }
        if self.eat("PARTITION") {
            actions.push(self.add_partition()?);
            return Ok(());
        }
        self.eat("COLUMN");
        let if_not_exists = self.if_not_exists()?;
        if *self.peek() == Token::LParen {
            for element in self.parenthesized(|s| s.comma_separated(|s| s.table_element()))? {
                actions.push(match element {
                    TableElement::Column(column) => AlterAction::AddColumn { if_not_exists, column, position: None },
                    TableElement::Index(index) => AlterAction::AddIndex(index),
                    TableElement::Check(check) => AlterAction::AddCheck(check),
                    TableElement::Refused(what) => AlterAction::Refused(format!("ADD {what}")),
                });
            }
            return Ok(());
        }
        let name = self.column_name()?;
        let column = self.column_def(name)?;
        let position = self.position()?;
        actions.push(AlterAction::AddColumn { if_not_exists, column, position });
        Ok(())
    }

    fn alter_drop(&mut self) -> Parsed<AlterAction> {
        if self.eat("PRIMARY KEY") {
            return Ok(AlterAction::DropPrimaryKey);
        }
        if self.eat_any(&["INDEX", "KEY"]).is_some() {
            let if_exists = self.if_exists()?;
            return Ok(AlterAction::DropIndex { if_exists, name: self.name()? });
        }
        if self.eat("CHECK") {
            return Ok(AlterAction::DropCheck(self.name()?));
        }
        if self.eat("CONSTRAINT") {
            return Ok(AlterAction::DropConstraint(self.name()?));
        }
        if self.eat("PARTITION") {
            return self.drop_partition();
        }
        if let Some(what) = self.eat_any(&["FOREIGN KEY", "STATS_EXTENDED"]) {
            self.if_exists()?;
            self.comma_separated(|s| s.name())?;
            return Ok(AlterAction::Refused(format!("DROP {what}")));
        }
        self.eat("COLUMN");
        let if_exists = self.if_exists()?;
        let name = self.column_name()?;
        self.eat_any(&["RESTRICT", "CASCADE"]);
        Ok(AlterAction::DropColumn { if_exists, name })
    }

    fn alter_rename(&mut self) -> Parsed<AlterAction> {
        if self.eat("COLUMN") {
            let old = self.column_name()?;
            self.expect("TO")?;
            return Ok(AlterAction::RenameColumn { old, new: self.column_name()? });
        }
        if self.eat_any(&["INDEX", "KEY"]).is_some() {
            let old = self.name()?;
            self.expect("TO")?;
            return Ok(AlterAction::RenameIndex { old, new: self.name()? });
        }
        if self.eat_any(&["TO", "AS"]).is_none() {
            self.eat_token(&Token::Eq);
        }
        Ok(AlterAction::RenameTo(self.table_name()?))
    }

    fn alter_alter(&mut self) -> Parsed<AlterAction> {
        if self.eat("INDEX") {
            let name = self.name()?;
            let invisible = match self.eat_any(&["VISIBLE", "INVISIBLE"]) {
                Some(word) => word == "INVISIBLE",
                None => return self.unexpected(),
            };
            return Ok(AlterAction::AlterIndexVisibility { name, invisible });
        }
        if let Some(what) = self.eat_any(&["CHECK", "CONSTRAINT"]) {
            let name = self.name()?;
            return match self.enforced()? {
                Some(enforced) => Ok(AlterAction::AlterCheck { name, enforced, constraint: what == "CONSTRAINT" }),
                None => self.unexpected(),
            };
        }
        self.eat("COLUMN");
        let name = self.column_name()?;
        if self.eat("SET DEFAULT") {
            return Ok(AlterAction::AlterColumnDefault { name, default: Some(self.default_value()?) });
        }
        self.expect("DROP DEFAULT")?;
        Ok(AlterAction::AlterColumnDefault { name, default: None })
    }
}
