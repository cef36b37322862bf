//! System variables: which there are, who may set them to what, and their values.
//!
//! ```text
//!   table       name, scope, kind, default                          the same everywhere
//!   GlobalVars  what `SET GLOBAL` changed, over what this server's configuration says
//!   SessionVars what `SET SESSION` changed, over the global values as they were when the session began
//! ```
//!
//! `SET GLOBAL` holds for the cluster and outlives it: the values are kept in the key space, and every server loads them
//! (see `sql-ddl`) and hands them to [`GlobalVars::install`]. What statements read all the time is kept
//! decoded, in [`Settings`] and [`ServerSettings`]; names are looked up when something is set or shown.

mod duration;
mod mode;
mod settings;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use codec::types::Collation;
use parking_lot::RwLock;
use query::context::{TimeZone, ZoneRules};
use sql_base::SqlError;
use sql_parser::LexMode;

pub use mode::{parse_sql_mode, sql_mode_text};
pub use settings::{ClusteredIndex, CompletionType, GcSettings, ServerSettings, Settings};
pub use table::{Kind, Scope, SystemVariable, VARIABLES, find};

/// What the server tells of itself in `@@version`.
pub const SERVER_VERSION: &str = concat!("8.0.11-Meridian-", env!("CARGO_PKG_VERSION"));

/// Values by name, of the variables that have another than the table's default.
type Values = HashMap<&'static str, String>;

/// The value of a variable in the first of some maps that has it.
fn value_in<'a>(maps: &[&'a Values], name: &str) -> &'a str {
    match maps.iter().find_map(|map| map.get(name)) {
        Some(value) => value,
        None => find(name).map_or("", |v| v.default),
    }
}

/// Global values at one moment.
#[derive(Debug, Default)]
struct Globals {
    values: Values,
    /// What a session that begins now is given.
    session: Arc<Settings>,
    server: ServerSettings,
}

impl Globals {
    fn new(values: Values) -> Arc<Globals> {
        let of = |name: &str| value_in(&[&values], name);
        let (session, server) = (Arc::new(Settings::decode(of)), ServerSettings::decode(of));
        Arc::new(Globals { values, session, server })
    }
}

/// Global values.
#[derive(Debug, Default)]
pub struct GlobalVars {
    /// What this server's configuration says (`port`, `max_connections`, …).
    own: Values,
    /// The lock protects the pointer only and is never held across an await.
    now: RwLock<Arc<Globals>>,
}

impl GlobalVars {
    /// The value of a variable.
    pub fn get(&self, variable: &SystemVariable) -> String {
        value_in(&[&self.now.read().values], variable.canonical().name).to_owned()
    }

    /// Those that the server itself obeys.
    pub fn server(&self) -> ServerSettings {
        self.now.read().server
    }

    /// A value that comes from the server's configuration.
    pub fn set_own(&mut self, name: &'static str, value: String) {
        self.own.insert(name, value);
        *self.now.write() = Globals::new(self.own.clone());
    }

    /// The cluster's values, all that `SET GLOBAL` ever set, replace those before. Another version of the server may
    /// have set what this one does not know or would not accept: that is passed over.
    pub fn install(&self, cluster: &[(String, String)]) {
        let mut values = self.own.clone();
        for (name, value) in cluster {
            match find(name).map(|v| (v.name, v.normalize(value))) {
                Some((name, Ok(value))) => {
                    values.insert(name, value);
                }
                _ => tracing::warn!(name, value, "a global variable's stored value is not for this server"),
            }
        }
        *self.now.write() = Globals::new(values);
    }
}

/// A session's variables. Copies share everything until one of them changes.
#[derive(Debug, Clone)]
pub struct SessionVars {
    globals: Arc<Globals>,
    changed: Arc<Values>,
    settings: Arc<Settings>,
}

impl SessionVars {
    /// What a session starts with.
    pub fn new(globals: &GlobalVars) -> Self {
        let globals = globals.now.read().clone();
        SessionVars { changed: Arc::default(), settings: globals.session.clone(), globals }
    }

    /// Those that statements read.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Value of a variable of the table, session's or global.
    pub fn value(&self, variable: &SystemVariable) -> &str {
        self.text(variable.canonical().name)
    }

    /// Text of a variable, by its canonical name.
    pub fn text(&self, name: &str) -> &str {
        value_in(&[&self.changed, &self.globals.values], name)
    }

    /// Sets a variable for this session.
    pub fn set(&mut self, variable: &'static SystemVariable, value: &str) -> Result<(), SqlError> {
        match variable.scope {
            Scope::Both | Scope::Session => {}
            Scope::Global => return Err(SqlError::GlobalVariable(variable.name.into())),
            Scope::ReadOnly => return Err(SqlError::ReadOnlyVariable(variable.name.into())),
        }
        let value = variable.accept(value)?;
        let name = variable.canonical().name;
        let follower = follower(name, &value);
        self.change([(name, value)].into_iter().chain(follower));
        Ok(())
    }

    fn change(&mut self, values: impl IntoIterator<Item = (&'static str, String)>) {
        Arc::make_mut(&mut self.changed).extend(values);
        let (changed, globals) = (&self.changed, &self.globals.values);
        self.settings = Arc::new(Settings::decode(|name| value_in(&[changed, globals], name)));
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
        let charsets = ["character_set_client", "character_set_results", "character_set_connection"];
        let values = charsets.map(|name| (name, charset.to_owned()));
        self.change(values.into_iter().chain([("collation_connection", collation.name().to_owned())]));
        Ok(())
    }

    /// `SET CHARACTER SET`: as `SET NAMES`, but the connection gets the database's charset and collation.
    pub fn set_character_set(&mut self, charset: Option<&str>, database: Collation) -> Result<(), SqlError> {
        self.set_names(charset, None)?;
        self.change([
            ("character_set_connection", database.charset().to_owned()),
            ("collation_connection", database.name().to_owned()),
        ]);
        Ok(())
    }

    /// Bad values are errors, not warnings.
    pub fn is_strict(&self) -> bool {
        self.settings.sql_mode & (mode::STRICT_TRANS_TABLES | mode::STRICT_ALL_TABLES) != 0
    }

    /// How text is read.
    pub fn lex_mode(&self) -> LexMode {
        let bits = self.settings.sql_mode;
        LexMode {
            client: self.settings.client,
            ansi_quotes: bits & mode::ANSI_QUOTES != 0,
            no_backslash_escapes: bits & mode::NO_BACKSLASH_ESCAPES != 0,
            pipes_as_concat: bits & mode::PIPES_AS_CONCAT != 0,
            real_as_float: bits & mode::REAL_AS_FLOAT != 0,
        }
    }
}

/// A charset and its collation follow each other.
pub fn follower(name: &str, value: &str) -> Option<(&'static str, String)> {
    let charset = || Collation::from_name(value).map(|c| c.charset().to_owned());
    let collation = || Collation::default_of_charset(value).map(|c| c.name().to_owned());
    match name {
        "collation_connection" => Some(("character_set_connection", charset()?)),
        "character_set_connection" => Some(("collation_connection", collation()?)),
        "collation_server" => Some(("character_set_server", charset()?)),
        "character_set_server" => Some(("collation_server", collation()?)),
        _ => None,
    }
}

/// The server's own zone.
#[derive(Debug)]
struct SystemZone;

impl ZoneRules for SystemZone {
    fn offset_at(&self, utc_secs: i64) -> i32 {
        use chrono::{Offset, TimeZone};
        chrono::Local.timestamp_opt(utc_secs, 0).single().map_or(0, |t| t.offset().fix().local_minus_utc())
    }

    fn name(&self) -> &str {
        "SYSTEM"
    }
}

/// The server's own zone, found once. A server in UTC, as most are, spares the rules.
pub(crate) static SYSTEM_ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
    const YEAR_SECS: i64 = 31_556_952;
    // Every month of the last years and of this one: a zone that was UTC throughout is taken to stay so.
    let now = chrono::Utc::now().timestamp();
    match (0..120).all(|month| SystemZone.offset_at(now - month * YEAR_SECS / 12) == 0) {
        true => TimeZone::UTC,
        false => TimeZone::Rules(Arc::new(SystemZone)),
    }
});

fn parse_time_zone(text: &str) -> Result<TimeZone, SqlError> {
    if text.eq_ignore_ascii_case("system") {
        return Ok(SYSTEM_ZONE.clone());
    }
    TimeZone::parse(text).ok_or_else(|| SqlError::UnknownTimeZone(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(vars: &mut SessionVars, name: &str, value: &str) -> Result<(), SqlError> {
        vars.set(find(name).unwrap(), value)
    }

    fn installed(values: &[(&str, &str)]) -> GlobalVars {
        let globals = GlobalVars::default();
        globals.install(&values.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect::<Vec<_>>());
        globals
    }

    #[test]
    fn a_session_keeps_its_own_values() {
        let globals = GlobalVars::default();
        let mut a = SessionVars::new(&globals);
        set(&mut a, "autocommit", "0").unwrap();
        assert!(!a.settings().autocommit);
        assert_eq!(a.text("autocommit"), "OFF");
        globals.install(&[("wait_timeout".into(), "77".into())]);
        assert_eq!(a.settings().wait_timeout.as_secs(), 28800);
        assert_eq!(SessionVars::new(&globals).settings().wait_timeout.as_secs(), 77);
    }

    #[test]
    fn a_copy_does_not_see_what_is_set_later() {
        let mut a = SessionVars::new(&GlobalVars::default());
        let copy = a.clone();
        set(&mut a, "sql_select_limit", "3").unwrap();
        assert_eq!((a.settings().sql_select_limit, copy.settings().sql_select_limit), (3, u64::MAX));
    }

    #[test]
    fn another_name_is_the_same_variable() {
        let globals = installed(&[("transaction_isolation", "READ-COMMITTED")]);
        assert_eq!(globals.get(find("tx_isolation").unwrap()), "READ-COMMITTED");
        let mut vars = SessionVars::new(&globals);
        assert!(vars.settings().read_committed);
        set(&mut vars, "tx_isolation", "REPEATABLE-READ").unwrap();
        assert_eq!(vars.text("transaction_isolation"), "REPEATABLE-READ");
        assert!(!vars.settings().read_committed);
    }

    #[test]
    fn the_configuration_yields_to_set_global_and_comes_back() {
        let mut globals = GlobalVars::default();
        globals.set_own("max_connections", "10".into());
        globals.install(&[("max_connections".into(), "20".into())]);
        assert_eq!(globals.server().max_connections, 20);
        globals.install(&[]);
        assert_eq!(globals.server().max_connections, 10);
    }

    #[test]
    fn a_stored_value_of_another_version_is_passed_over() {
        let globals = installed(&[("no_such_variable", "1"), ("autocommit", "perhaps"), ("wait_timeout", "5")]);
        assert_eq!(globals.get(find("autocommit").unwrap()), "ON");
        assert_eq!(globals.get(find("wait_timeout").unwrap()), "5");
    }

    #[test]
    fn bad_values_and_scopes_are_refused() {
        let mut vars = SessionVars::new(&GlobalVars::default());
        let code = |r: Result<(), SqlError>| r.unwrap_err().code().0;
        assert_eq!(code(set(&mut vars, "autocommit", "maybe")), 1231);
        assert_eq!(code(set(&mut vars, "max_connections", "10")), 1229);
        assert_eq!(code(set(&mut vars, "version", "10")), 1238);
        assert_eq!(code(set(&mut vars, "sql_mode", "NOPE")), 1231);
        assert_eq!(code(set(&mut vars, "time_zone", "Nowhere/City")), 1298);
        assert_eq!(code(set(&mut vars, "time_zone", "+15:00")), 1298);
        assert_eq!(code(set(&mut vars, "time_zone", "+2000000:00")), 1298);
        assert_eq!(code(set(&mut vars, "collation_connection", "nope")), 1273);
        assert_eq!(vars.settings().time_zone, *SYSTEM_ZONE);
        set(&mut vars, "time_zone", "europe/berlin").unwrap();
        assert_eq!(vars.settings().time_zone.name(), "Europe/Berlin");
    }

    #[test]
    fn charset_and_collation_go_together() {
        let mut vars = SessionVars::new(&GlobalVars::default());
        vars.set_names(Some("utf8mb4"), Some("utf8mb4_general_ci")).unwrap();
        assert_eq!(vars.text("collation_connection"), "utf8mb4_general_ci");
        assert_eq!(vars.set_names(Some("nope"), None).unwrap_err().code().0, 1115);
        set(&mut vars, "collation_connection", "utf8mb4_bin").unwrap();
        assert_eq!(vars.settings().collation.name(), "utf8mb4_bin");
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
