//! System variables: which there are, who may set them to what, and a session's values.
//!
//! A session starts from the global values of its server and keeps only what it changed. Global values live in this
//! server's memory: `SET GLOBAL` reaches the sessions that start later on this server, not other servers, and not a
//! restart. What the executor reads per statement (`autocommit`, `sql_mode`, time zone) is kept decoded.

mod mode;
mod table;

use std::collections::HashMap;
use std::sync::Arc;

use codec::types::Collation;
use parking_lot::RwLock;

use crate::error::SqlError;
use crate::parser::LexMode;
pub use mode::{parse_sql_mode, sql_mode_text};
pub use table::{Kind, Scope, SystemVariable, VARIABLES, find};

/// What the server tells of itself in `@@version`.
pub const SERVER_VERSION: &str = concat!("8.0.11-Meridian-", env!("CARGO_PKG_VERSION"));

/// Global values that differ from the table's defaults.
#[derive(Debug, Default)]
pub struct GlobalVars {
    /// The lock protects the map only and is never held across an await.
    changed: RwLock<Arc<HashMap<&'static str, String>>>,
}

impl GlobalVars {
    /// The values as of now.
    fn snapshot(&self) -> Arc<HashMap<&'static str, String>> {
        self.changed.read().clone()
    }

    /// The value of a variable.
    pub fn get(&self, variable: &SystemVariable) -> String {
        self.changed.read().get(variable.name).cloned().unwrap_or_else(|| variable.default.to_owned())
    }

    /// Sets a variable that may be set globally. `None` is the default.
    pub fn set(&self, variable: &'static SystemVariable, value: Option<&str>) -> Result<(), SqlError> {
        match variable.scope {
            Scope::Both | Scope::Global => {}
            Scope::Session => return Err(SqlError::LocalVariable(variable.name.into())),
            Scope::ReadOnly => return Err(SqlError::ReadOnlyVariable(variable.name.into())),
        }
        let value = variable.normalize(value.unwrap_or(variable.default))?;
        Arc::make_mut(&mut self.changed.write()).insert(variable.name, value);
        Ok(())
    }

    /// A value that only the server itself decides (`port`, `hostname`, …).
    pub fn set_own(&self, name: &str, value: String) {
        if let Some(variable) = find(name) {
            Arc::make_mut(&mut self.changed.write()).insert(variable.name, value);
        }
    }
}

/// Offset of a session's time zone from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZone {
    /// Seconds east of UTC.
    Fixed(i32),
    /// The server's own zone, whose offset changes with the seasons.
    System,
}

/// A session's variables.
#[derive(Debug, Clone)]
pub struct SessionVars {
    globals: Arc<HashMap<&'static str, String>>,
    changed: HashMap<&'static str, String>,
    sql_mode: u64,
    autocommit: bool,
    time_zone: TimeZone,
    collation: Collation,
}

impl SessionVars {
    /// What a session starts with.
    pub fn new(globals: &GlobalVars) -> Self {
        let mut vars = SessionVars {
            globals: globals.snapshot(),
            changed: HashMap::new(),
            sql_mode: 0,
            autocommit: true,
            time_zone: TimeZone::System,
            collation: Collation::DEFAULT,
        };
        for name in ["sql_mode", "autocommit", "time_zone", "collation_connection"] {
            // A global value has been checked when it was set.
            let _ = vars.decode(name);
        }
        vars
    }

    /// Value of a variable of the table, session's or global.
    pub fn value(&self, variable: &SystemVariable) -> String {
        match variable.name {
            "transaction_isolation" | "tx_isolation" => return self.raw("transaction_isolation").to_owned(),
            "transaction_read_only" | "tx_read_only" => return self.raw("transaction_read_only").to_owned(),
            _ => {}
        }
        self.raw(variable.name).to_owned()
    }

    /// `@@name`.
    pub fn get(&self, name: &str) -> Result<String, SqlError> {
        find(name).map(|v| self.value(v)).ok_or_else(|| SqlError::UnknownSystemVariable(name.into()))
    }

    fn raw(&self, name: &str) -> &str {
        if let Some(value) = self.changed.get(name).or_else(|| self.globals.get(name)) {
            return value;
        }
        find(name).map_or("", |v| v.default)
    }

    /// A numeric variable; 0 if it isn't one.
    pub fn number(&self, name: &str) -> u64 {
        self.raw(name).parse().unwrap_or(0)
    }

    /// A variable that is `ON` or `OFF`.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.raw(name), "ON" | "1")
    }

    /// Text of a variable.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name)
    }

    /// Sets a variable for this session. `None` is the global value.
    pub fn set(&mut self, variable: &'static SystemVariable, value: Option<&str>) -> Result<(), SqlError> {
        match variable.scope {
            Scope::Both | Scope::Session => {}
            Scope::Global => return Err(SqlError::GlobalVariable(variable.name.into())),
            Scope::ReadOnly => return Err(SqlError::ReadOnlyVariable(variable.name.into())),
        }
        let name = match variable.name {
            "tx_isolation" => "transaction_isolation",
            "tx_read_only" => "transaction_read_only",
            name => name,
        };
        let before = match value {
            Some(value) => {
                let value = variable.normalize(value)?;
                self.changed.insert(name, value)
            }
            None => self.changed.remove(name),
        };
        if let Err(e) = self.decode(name) {
            match before {
                Some(before) => self.changed.insert(name, before),
                None => self.changed.remove(name),
            };
            return Err(e);
        }
        // A charset and its collation follow each other.
        match name {
            "collation_connection" => {
                let charset = self.collation.charset();
                self.changed.insert("character_set_connection", charset.to_owned());
            }
            "character_set_connection" => {
                if let Some(collation) = Collation::default_of_charset(self.raw(name)) {
                    self.changed.insert("collation_connection", collation.name().to_owned());
                    self.collation = collation;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn decode(&mut self, name: &str) -> Result<(), SqlError> {
        match name {
            "sql_mode" => self.sql_mode = parse_sql_mode(self.raw("sql_mode"))?,
            "autocommit" => self.autocommit = self.flag("autocommit"),
            "time_zone" => self.time_zone = parse_time_zone(self.raw("time_zone"))?,
            "collation_connection" => {
                let collation = self.raw("collation_connection");
                self.collation =
                    Collation::from_name(collation).ok_or_else(|| SqlError::UnknownCollation(collation.to_owned()))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// `SET NAMES`.
    pub fn set_names(&mut self, charset: Option<&str>, collate: Option<&str>) -> Result<(), SqlError> {
        let charset = charset.unwrap_or("utf8mb4");
        let default =
            Collation::default_of_charset(charset).ok_or_else(|| SqlError::UnknownCharacterSet(charset.to_owned()))?;
        let collation = match collate {
            None => default,
            Some(name) => Collation::from_name(name).ok_or_else(|| SqlError::UnknownCollation(name.to_owned()))?,
        };
        if collation.charset() != default.charset() {
            return Err(SqlError::CollationCharsetMismatch {
                collation: collation.name().into(),
                charset: charset.into(),
            });
        }
        for name in ["character_set_client", "character_set_results", "character_set_connection"] {
            self.changed.insert(name, charset.to_owned());
        }
        self.changed.insert("collation_connection", collation.name().to_owned());
        self.collation = collation;
        Ok(())
    }

    /// `SET CHARACTER SET`: as `SET NAMES`, but the connection gets the database's charset.
    pub fn set_character_set(&mut self, charset: Option<&str>) -> Result<(), SqlError> {
        self.set_names(charset, None)?;
        let database = self.raw("character_set_database").to_owned();
        self.changed.insert("character_set_connection", database);
        Ok(())
    }

    /// Bits of `sql_mode`, MySQL's numbers.
    pub fn sql_mode(&self) -> u64 {
        self.sql_mode
    }

    /// Bad values are errors, not warnings.
    pub fn is_strict(&self) -> bool {
        self.sql_mode & (mode::STRICT_TRANS_TABLES | mode::STRICT_ALL_TABLES) != 0
    }

    /// How text is read.
    pub fn lex_mode(&self) -> LexMode {
        LexMode {
            ansi_quotes: self.sql_mode & mode::ANSI_QUOTES != 0,
            no_backslash_escapes: self.sql_mode & mode::NO_BACKSLASH_ESCAPES != 0,
            pipes_as_concat: self.sql_mode & mode::PIPES_AS_CONCAT != 0,
        }
    }

    /// Each statement commits itself unless `BEGIN` was said.
    pub fn autocommit(&self) -> bool {
        self.autocommit
    }

    /// The session's time zone.
    pub fn time_zone(&self) -> TimeZone {
        self.time_zone
    }

    /// Seconds east of UTC at an instant.
    pub fn utc_offset_secs(&self, at: chrono::DateTime<chrono::Utc>) -> i32 {
        match self.time_zone {
            TimeZone::Fixed(secs) => secs,
            TimeZone::System => {
                use chrono::Offset as _;
                at.with_timezone(&chrono::Local).offset().fix().local_minus_utc()
            }
        }
    }

    /// `collation_connection`.
    pub fn collation(&self) -> Collation {
        self.collation
    }
}

fn parse_time_zone(text: &str) -> Result<TimeZone, SqlError> {
    let unknown = || SqlError::UnknownTimeZone(text.to_owned());
    if text.eq_ignore_ascii_case("system") {
        return Ok(TimeZone::System);
    }
    if text.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::Fixed(0));
    }
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(unknown()),
    };
    let (hours, minutes) = text[1..].split_once(':').ok_or_else(unknown)?;
    let (hours, minutes): (i32, i32) = (hours.parse().map_err(|_| unknown())?, minutes.parse().map_err(|_| unknown())?);
    let secs = sign * (hours * 3600 + minutes * 60);
    // MySQL's range: -13:59 to +14:00.
    if !(0..60).contains(&minutes) || !(0..=14).contains(&hours) || !(-13 * 3600 - 59 * 60..=14 * 3600).contains(&secs)
    {
        return Err(unknown());
    }
    Ok(TimeZone::Fixed(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(vars: &mut SessionVars, name: &str, value: &str) -> Result<(), SqlError> {
        vars.set(find(name).unwrap(), Some(value))
    }

    #[test]
    fn names_are_unique_and_defaults_are_legal() {
        assert!(VARIABLES.len() > 300, "{}", VARIABLES.len());
        for pair in VARIABLES.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} {}", pair[0].name, pair[1].name);
        }
        for variable in VARIABLES {
            assert_eq!(variable.normalize(variable.default).unwrap(), variable.default, "{}", variable.name);
        }
    }

    #[test]
    fn a_session_keeps_its_own_values() {
        let globals = GlobalVars::default();
        let mut a = SessionVars::new(&globals);
        set(&mut a, "autocommit", "0").unwrap();
        assert!(!a.autocommit());
        assert_eq!(a.get("autocommit").unwrap(), "OFF");
        globals.set(find("wait_timeout").unwrap(), Some("77")).unwrap();
        assert_eq!(a.number("wait_timeout"), 28800);
        assert_eq!(SessionVars::new(&globals).number("wait_timeout"), 77);
    }

    #[test]
    fn bad_values_and_scopes_are_refused() {
        let globals = GlobalVars::default();
        let mut vars = SessionVars::new(&globals);
        let code = |r: Result<(), SqlError>| r.unwrap_err().code().0;
        assert_eq!(code(set(&mut vars, "autocommit", "maybe")), 1231);
        assert_eq!(code(set(&mut vars, "max_connections", "10")), 1229);
        assert_eq!(code(set(&mut vars, "version", "10")), 1238);
        assert_eq!(code(set(&mut vars, "sql_mode", "NOPE")), 1231);
        assert_eq!(code(set(&mut vars, "time_zone", "Nowhere/City")), 1298);
        assert_eq!(code(set(&mut vars, "time_zone", "+15:00")), 1298);
        assert_eq!(code(set(&mut vars, "collation_connection", "nope")), 1273);
        assert_eq!(vars.get("nope").unwrap_err().code().0, 1193);
        assert_eq!(vars.time_zone(), TimeZone::System);
    }

    #[test]
    fn charset_and_collation_go_together() {
        let mut vars = SessionVars::new(&GlobalVars::default());
        vars.set_names(Some("utf8mb4"), Some("utf8mb4_general_ci")).unwrap();
        assert_eq!(vars.text("collation_connection"), "utf8mb4_general_ci");
        assert_eq!(vars.set_names(Some("nope"), None).unwrap_err().code().0, 1115);
        set(&mut vars, "collation_connection", "utf8mb4_bin").unwrap();
        assert_eq!(vars.collation().name(), "utf8mb4_bin");
    }

    #[test]
    fn modes_are_normalised() {
        let mut vars = SessionVars::new(&GlobalVars::default());
        assert!(vars.is_strict());
        set(&mut vars, "sql_mode", "ansi_quotes,strict_all_tables,ANSI_QUOTES").unwrap();
        assert_eq!(vars.text("sql_mode"), "ANSI_QUOTES,STRICT_ALL_TABLES");
        assert!(vars.lex_mode().ansi_quotes);
        set(&mut vars, "sql_mode", "").unwrap();
        assert!(!vars.is_strict());
    }
}
