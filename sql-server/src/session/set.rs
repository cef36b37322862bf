//! `SET`: user variables, system variables, names, transaction characteristics.

use std::sync::Arc;

use codec::datum::Datum;
use codec::types::FieldType;
use query::value::to_text;
use sql_base::SqlError;
use sql_base::outcome::{Outcome, Rows};
use sql_context::vars::{self, SystemVariable};
use sql_parser::ast::{Expr, Literal, SelectItem, SetExpr, UnaryOp};
use sql_parser::{Scope, SetItem, Statement};

use super::Session;

impl Session {
    pub(super) async fn set(&mut self, item: &SetItem, params: &[Datum]) -> Result<(), SqlError> {
        match item {
            SetItem::User { name, value } => {
                let (value, _) = self.scalar(value, params).await?;
                Arc::make_mut(&mut self.state.user_vars).insert(name.clone(), value);
                Ok(())
            }
            SetItem::System { scope, name, value, .. } => {
                let variable = vars::find(name).ok_or_else(|| SqlError::UnknownSystemVariable(name.clone()))?;
                let value = match value {
                    Some(expr) => {
                        let (value, ty) = self.scalar(expr, params).await?;
                        Some(variable_text(variable, value, &ty)?)
                    }
                    None => None,
                };
                match scope {
                    Scope::Global => self.set_global(variable, value.as_deref()).await,
                    Scope::Session => {
                        // DEFAULT is the global value of now.
                        let value = value.unwrap_or_else(|| self.server.globals().get(variable));
                        self.set_session(variable, &value).await
                    }
                }
            }
            SetItem::Names { charset, collate } => self.state.vars.set_names(charset.as_deref(), collate.as_deref()),
            SetItem::CharacterSet(charset) => {
                let database = self.state.variables().database_collation(&*self.server);
                self.state.vars.set_character_set(charset.as_deref(), database)
            }
            SetItem::Transaction { scope, isolation, read_only } => {
                self.set_transaction(*scope, *isolation, *read_only).await
            }
        }
    }

    /// `SET_VAR(name = value)`: what concerns transactions and the connection is not for one statement.
    pub(super) fn set_for_statement(&mut self, name: &str, value: &str) -> Result<(), SqlError> {
        let hint = || SqlError::UnresolvedHintName { name: name.to_owned(), hint: "SET_VAR".to_owned() };
        let variable = vars::find(name).ok_or_else(hint)?;
        let fixed = ["autocommit", "last_insert_id", "identity", "sql_auto_is_null", "pseudo_thread_id", "timestamp"];
        let of_connection = ["transaction_", "tx_", "character_set_", "collation_", "wait_", "interactive_", "net_"];
        let here = matches!(variable.scope, vars::Scope::Both | vars::Scope::Session);
        if !here || fixed.contains(&variable.name) || of_connection.iter().any(|p| variable.name.starts_with(p)) {
            return Err(SqlError::NotHintable(variable.name.to_owned()));
        }
        self.state.vars.set(variable, value)
    }

    async fn set_session(&mut self, variable: &'static SystemVariable, value: &str) -> Result<(), SqlError> {
        match variable.name {
            "autocommit" => {
                let before = self.state.vars.settings().autocommit;
                self.state.vars.set(variable, value)?;
                // Turning it on commits what is open.
                if !before && self.state.vars.settings().autocommit {
                    self.state.commit(&*self.server).await?;
                }
                Ok(())
            }
            // They tell what the current database has; DEFAULT, and what they tell already, change nothing.
            "character_set_database" | "collation_database" => {
                let value = variable.normalize(value)?;
                let own = self.state.variables().value(&*self.server, variable);
                match value == own || value == variable.default {
                    true => Ok(()),
                    false => Err(SqlError::NotSupported(format!("SET {} = '{value}'", variable.name))),
                }
            }
            // `mysql --safe-updates` sets it when it connects, and goes away when that fails.
            "max_join_size" => {
                if variable.normalize(value)? != variable.default {
                    self.state
                        .push_warning(sql_context::Level::Warning, &SqlError::OptionIgnored("max_join_size".into()));
                }
                Ok(())
            }
            "last_insert_id" | "identity" => {
                self.state.last_insert_id = variable.accept(value)?.parse().unwrap_or(0);
                Ok(())
            }
            _ => {
                self.check_isolation(variable, value)?;
                self.state.vars.set(variable, value)
            }
        }
    }

    /// For the cluster, now and for good; `None` is the default.
    async fn set_global(&mut self, variable: &'static SystemVariable, value: Option<&str>) -> Result<(), SqlError> {
        match variable.scope {
            vars::Scope::Both | vars::Scope::Global => {}
            vars::Scope::Session => return Err(SqlError::LocalVariable(variable.name.into())),
            vars::Scope::ReadOnly => return Err(SqlError::ReadOnlyVariable(variable.name.into())),
        }
        let value = match value {
            Some(value) => {
                self.check_isolation(variable, value)?;
                Some(variable.accept(value)?)
            }
            None => None,
        };
        let name = variable.canonical().name;
        let mut changes = vec![(name, value.clone())];
        if let Some((name, value)) = vars::follower(name, value.as_deref().unwrap_or(variable.default)) {
            changes.push((name, Some(value)));
        }
        match (name, value.as_deref().unwrap_or(variable.default)) {
            ("require_secure_transport", "ON") if !self.server.config().client_tls.is_set() => {
                return Err(SqlError::NoSecureTransport);
            }
            // As in MySQL, each follows the other where it must.
            ("super_read_only", "ON") => changes.push(("read_only", value)),
            ("read_only", "OFF") => changes.push(("super_read_only", value)),
            _ => {}
        }
        self.server.domain()?.set_global_variables(&changes).await
    }

    /// TiDB's rule: levels that aren't there are refused, unless the user asked to be given what there is.
    fn check_isolation(&mut self, variable: &SystemVariable, value: &str) -> Result<(), SqlError> {
        if variable.canonical().name != "transaction_isolation" {
            return Ok(());
        }
        let level = variable.normalize(value)?;
        if matches!(level.as_str(), "SERIALIZABLE" | "READ-UNCOMMITTED") {
            let error = SqlError::UnsupportedIsolationLevel(level);
            if self.state.vars.text("tidb_skip_isolation_level_check") != "ON" {
                return Err(error);
            }
            self.state.push_warning(sql_context::Level::Warning, &error);
        }
        Ok(())
    }

    async fn set_transaction(
        &mut self,
        scope: Option<Scope>,
        isolation: Option<&'static str>,
        read_only: Option<bool>,
    ) -> Result<(), SqlError> {
        if scope.is_none() && self.state.txn.explicit {
            return Err(SqlError::CantChangeTransaction);
        }
        let variable = |name| vars::find(name).ok_or_else(|| SqlError::UnknownSystemVariable(String::from(name)));
        if let Some(level) = isolation {
            let variable = variable("transaction_isolation")?;
            match scope {
                Some(Scope::Global) => self.set_global(variable, Some(level)).await?,
                Some(Scope::Session) => self.set_session(variable, level).await?,
                None => {
                    self.check_isolation(variable, level)?;
                    self.state.txn.next.read_committed = Some(level == "READ-COMMITTED");
                }
            }
        }
        if let Some(read_only) = read_only {
            let variable = variable("transaction_read_only")?;
            let value = if read_only { "ON" } else { "OFF" };
            match scope {
                Some(Scope::Global) => self.set_global(variable, Some(value)).await?,
                Some(Scope::Session) => self.set_session(variable, value).await?,
                None => self.state.txn.next.read_only = Some(read_only),
            }
        }
        Ok(())
    }

    /// Value of an expression without tables.
    pub(super) async fn scalar(&mut self, expr: &Expr, params: &[Datum]) -> Result<(Datum, FieldType), SqlError> {
        match expr {
            Expr::Literal(literal) => {
                if let Some(value) = super::constant::literal(literal) {
                    return Ok(value);
                }
            }
            Expr::Unary { op: UnaryOp::Minus, expr } => {
                if let Expr::Literal(Literal::Number(text)) = expr.as_ref()
                    && let Ok(n) = text.parse::<i64>()
                {
                    return Ok((Datum::Int(-n), FieldType::bigint()));
                }
            }
            Expr::Variable(name) => {
                return match name.strip_prefix("@@") {
                    Some(name) => self.state.variables().get(&*self.server, name),
                    None => Ok(self.state.user_variable(name.trim_start_matches('@'))),
                };
            }
            _ => {}
        }
        let statement = select_of(expr)?;
        let Outcome::Rows(result) = self.run(&statement, params).await? else {
            return Err(SqlError::Other("a query without rows".into()));
        };
        let ty = result.columns.first().map(|c| c.ty.clone()).unwrap_or_else(FieldType::bigint);
        let rows = match result.rows {
            Rows::Datums(rows) => rows,
            Rows::Batches(stream) => sql_base::outcome::collect(stream).await?,
        };
        let value = rows.into_iter().next().and_then(|r| r.into_iter().next()).unwrap_or(Datum::Null);
        Ok((value, ty))
    }
}

/// `SELECT expr`.
fn select_of(expr: &Expr) -> Result<Statement, SqlError> {
    let parsed = sql_parser::parse_one(b"SELECT 1", sql_parser::LexMode::default())?;
    let Statement::Query(mut query) = parsed.statement else {
        return Err(SqlError::Other("SELECT is not a query".into()));
    };
    if let SetExpr::Select(select) = &mut query.body {
        select.projection = vec![SelectItem::Expr { expr: expr.clone(), alias: None }];
    }
    Ok(Statement::Query(query))
}

fn variable_text(variable: &vars::SystemVariable, value: Datum, ty: &FieldType) -> Result<String, SqlError> {
    match value {
        Datum::Null if variable.kind == vars::Kind::CharsetOrNull => Ok(String::new()),
        Datum::Null => Err(SqlError::WrongValueForVariable { name: variable.name.into(), value: "NULL".into() }),
        value => Ok(String::from_utf8_lossy(&to_text(&value, ty).unwrap_or_default()).into_owned()),
    }
}
