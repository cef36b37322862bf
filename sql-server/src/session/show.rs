//! `SHOW` of what the session and the server know by themselves; the rest goes to the catalogue.

use codec::charset::Charset;
use codec::datum::Datum;
use codec::types::{Collation, FieldType};
use sql_base::SqlError;
use sql_base::outcome::{ColumnMeta, ResultSet};
use sql_context::ExecContext;
use sql_context::Level;
use sql_context::vars::{self, VARIABLES};
use sql_parser::{Show, ShowFilter, ShowKind, TableName};

use super::{Session, filter, rows};

/// A column of text.
pub(crate) fn text_column(name: &str, length: i32) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::varchar(length))
}

/// A column of whole numbers.
pub(crate) fn number_column(name: &str) -> ColumnMeta {
    ColumnMeta::computed(name, FieldType::bigint())
}

fn text_row<const N: usize>(values: [&str; N]) -> Vec<Datum> {
    values.iter().map(|v| Datum::string(*v)).collect()
}

impl Session {
    pub(super) async fn show(&mut self, show: &Show) -> Result<ResultSet, SqlError> {
        let result = match self.show_own(&show.kind)? {
            Some(result) => result,
            None => {
                let mut schema = self.server.schema()?;
                // Lists do not have temporary tables; who names one means it.
                if matches!(show.kind, ShowKind::CreateTable(_) | ShowKind::Columns { .. } | ShowKind::Indexes { .. }) {
                    schema = self.state.temporary.over(&schema);
                }
                let mut ctx = ExecContext {
                    server: &*self.server,
                    virtual_rows: &*self.server,
                    session: &mut self.state,
                    schema,
                    params: &[],
                };
                super::show_catalog(&self.server, &mut ctx, &show.kind).await?
            }
        };
        let mut result = filter::apply(result, show.filter.as_ref(), 0).await?;
        if let (Some((offset, count)), sql_base::outcome::Rows::Datums(rows)) = (show.limit, &mut result.rows) {
            let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            *rows = std::mem::take(rows).into_iter().skip(number(offset)).take(number(count)).collect();
        }
        if let sql_base::outcome::Rows::Datums(rows) = &result.rows {
            self.state.found_rows = rows.len() as u64;
        }
        Ok(result)
    }

    pub(super) async fn describe(&mut self, table: &TableName, column: Option<&str>) -> Result<ResultSet, SqlError> {
        let filter = column.map(|c| ShowFilter::Like(c.to_owned()));
        self.show(&Show { kind: ShowKind::Columns { full: false, table: table.clone() }, filter, limit: None }).await
    }

    /// What needs no catalogue.
    fn show_own(&mut self, kind: &ShowKind) -> Result<Option<ResultSet>, SqlError> {
        Ok(Some(match kind {
            ShowKind::Variables { global } => self.show_variables(*global),
            ShowKind::Status { .. } => {
                let status = self.server.status();
                rows(
                    vec![text_column("Variable_name", 64), text_column("Value", 1024)],
                    status.into_iter().map(|(name, value)| text_row([name, &value])).collect(),
                )
            }
            ShowKind::Warnings => self.show_diagnostics(false),
            ShowKind::Errors => self.show_diagnostics(true),
            ShowKind::CountWarnings => count("@@session.warning_count", self.state.warning_count as i64),
            ShowKind::CountErrors => {
                let errors = self.state.warnings.iter().filter(|w| w.level == Level::Error).count();
                count("@@session.error_count", errors as i64)
            }
            ShowKind::ProcessList { full } => self.show_processes(*full),
            ShowKind::Charset => show_charsets(),
            ShowKind::Collation => show_collations(),
            ShowKind::Engines => rows(
                ["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"].map(|n| text_column(n, 80)).into(),
                vec![text_row([
                    "InnoDB",
                    "DEFAULT",
                    "Supports transactions, row-level locking, and placement over regions",
                    "YES",
                    "NO",
                    "YES",
                ])],
            ),
            ShowKind::Plugins => {
                rows(["Name", "Status", "Type", "Library", "License"].map(|n| text_column(n, 64)).into(), Vec::new())
            }
            ShowKind::Privileges => {
                rows(["Privilege", "Context", "Comment"].map(|n| text_column(n, 64)).into(), Vec::new())
            }
            ShowKind::Profiles => {
                rows(vec![number_column("Query_ID"), number_column("Duration"), text_column("Query", 300)], Vec::new())
            }
            ShowKind::Grants(user) => self.show_grants(user.as_deref())?,
            ShowKind::Routines(what) => show_routines(what),
            ShowKind::OpenTables => {
                rows(["Database", "Table", "In_use", "Name_locked"].map(|n| text_column(n, 64)).into(), Vec::new())
            }
            ShowKind::MasterStatus => {
                return Err(SqlError::NotSupported("SHOW MASTER STATUS (there is no binary log)".into()));
            }
            ShowKind::Builtins => return Err(SqlError::NotSupported("SHOW BUILTINS".into())),
            ShowKind::Tidb(what) => return Err(SqlError::NotSupported(format!("SHOW {what}"))),
            ShowKind::CreateUser(_) => return Err(SqlError::NotSupported("SHOW CREATE USER".into())),
            _ => return Ok(None),
        }))
    }

    fn show_variables(&self, global: bool) -> ResultSet {
        let (globals, own) = (self.server.globals(), self.state.variables());
        let visible = VARIABLES.iter().filter(|v| !global || v.scope != vars::Scope::Session);
        let all = visible.map(|v| {
            let value = if global { globals.get(v) } else { own.value(&*self.server, v) };
            text_row([v.name, &value])
        });
        rows(vec![text_column("Variable_name", 64), text_column("Value", 1024)], all.collect())
    }

    fn show_diagnostics(&self, errors_only: bool) -> ResultSet {
        let kept = self.state.warnings.iter().filter(|w| !errors_only || w.level == Level::Error);
        rows(
            vec![text_column("Level", 7), number_column("Code"), text_column("Message", 512)],
            kept.map(|w| {
                vec![Datum::string(w.level.name()), Datum::Int(i64::from(w.code)), Datum::string(w.message.clone())]
            })
            .collect(),
        )
    }

    fn show_processes(&self, full: bool) -> ResultSet {
        let columns = vec![
            ColumnMeta::computed("Id", FieldType::bigint_unsigned()),
            text_column("User", 32),
            text_column("Host", 261),
            text_column("db", 64),
            text_column("Command", 16),
            number_column("Time"),
            text_column("State", 64),
            text_column("Info", if full { 4096 } else { 100 }),
        ];
        let optional = |s: Option<String>| s.map_or(Datum::Null, Datum::string);
        let processes = self.server.connections().list().into_iter().map(|c| {
            let activity = c.activity();
            let info = activity.statement.map(|s| if full { s } else { s.chars().take(100).collect() });
            vec![
                Datum::UInt(c.id),
                Datum::string(activity.user),
                Datum::string(c.peer.clone()),
                optional(activity.database),
                Datum::string(if info.is_some() { "Query" } else { "Sleep" }),
                Datum::Int(activity.since.elapsed().as_secs() as i64),
                Datum::string(if activity.in_transaction { "in transaction" } else { "autocommit" }),
                optional(info),
            ]
        });
        rows(columns, processes.collect())
    }

    fn show_grants(&self, user: Option<&str>) -> Result<ResultSet, SqlError> {
        let own = match user {
            None => true,
            Some(text) => {
                let name = text.split('@').next().unwrap_or("").trim().trim_matches(['\'', '"', '`']);
                let current = ["current_user", "current_user()"].contains(&text.trim().to_lowercase().as_str());
                current || name == self.state.identity.user
            }
        };
        if !own {
            return Err(SqlError::NotSupported("SHOW GRANTS for another user".into()));
        }
        let name = format!("Grants for {}@%", self.state.identity.user);
        let grant = format!("GRANT ALL PRIVILEGES ON *.* TO '{}'@'%' WITH GRANT OPTION", self.state.identity.user);
        Ok(rows(vec![text_column(&name, 1024)], vec![vec![Datum::string(grant)]]))
    }
}

fn count(name: &str, n: i64) -> ResultSet {
    rows(vec![number_column(name)], vec![vec![Datum::Int(n)]])
}

fn show_charsets() -> ResultSet {
    let columns = vec![
        text_column("Charset", 64),
        text_column("Description", 64),
        text_column("Default collation", 64),
        number_column("Maxlen"),
    ];
    let known = Charset::ALL.into_iter().filter_map(|set| {
        let collation = Collation::default_of_charset(set.name())?;
        let mut row = text_row([set.name(), set.description(), collation.name()]);
        row.push(Datum::Int(set.bytes_max().into()));
        Some(row)
    });
    rows(columns, known.collect())
}

fn show_collations() -> ResultSet {
    let columns = vec![
        text_column("Collation", 64),
        text_column("Charset", 64),
        number_column("Id"),
        text_column("Default", 3),
        text_column("Compiled", 3),
        number_column("Sortlen"),
        text_column("Pad_attribute", 9),
    ];
    let all = Collation::all().map(|c| {
        let default = Collation::default_of_charset(c.charset()) == Some(c);
        let no_pad = c == Collation::BINARY || c.name().contains("0900");
        vec![
            Datum::string(c.name()),
            Datum::string(c.charset()),
            Datum::Int(i64::from(c.id())),
            Datum::string(if default { "Yes" } else { "" }),
            Datum::string("Yes"),
            Datum::Int(1),
            Datum::string(if no_pad { "NO PAD" } else { "PAD SPACE" }),
        ]
    });
    rows(columns, all.collect())
}

/// There are none of these, and the clients that list them expect so.
fn show_routines(what: &str) -> ResultSet {
    let names: &[&str] = match what {
        "TRIGGERS" => &[
            "Trigger",
            "Event",
            "Table",
            "Statement",
            "Timing",
            "Created",
            "sql_mode",
            "Definer",
            "character_set_client",
            "collation_connection",
            "Database Collation",
        ],
        "EVENTS" => &[
            "Db",
            "Name",
            "Definer",
            "Time zone",
            "Type",
            "Execute At",
            "Interval Value",
            "Interval Field",
            "Starts",
            "Ends",
            "Status",
            "Originator",
            "character_set_client",
            "collation_connection",
            "Database Collation",
        ],
        _ => &[
            "Db",
            "Name",
            "Type",
            "Definer",
            "Modified",
            "Created",
            "Security_type",
            "Comment",
            "character_set_client",
            "collation_connection",
            "Database Collation",
        ],
    };
    rows(names.iter().map(|n| text_column(n, 64)).collect(), Vec::new())
}
