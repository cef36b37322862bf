//! `SET`: user variables, system variables, names, transaction characteristics.

use codec::datum::Datum;
use codec::types::FieldType;
use sqlparser::ast::{Expr, SelectItem, SetExpr, UnaryOperator, Value};

use super::Session;
use crate::error::SqlError;
use crate::outcome::{Outcome, Rows};
use crate::parser::{self, Scope, SetItem, Statement};
use crate::vars;
use crate::wire::value::text_of;

impl Session {
    pub(super) async fn set(&mut self, item: &SetItem, params: &[Datum]) -> Result<(), SqlError> {
        match item {
            SetItem::User { name, value } => {
                let (value, _) = self.scalar(value, params).await?;
                self.state.user_vars.insert(name.clone(), value);
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
                    Scope::Global => self.server.globals().set(variable, value.as_deref()),
                    Scope::Session => self.set_session(variable, value.as_deref()).await,
                }
            }
            SetItem::Names { charset, collate } => self.state.vars.set_names(charset.as_deref(), collate.as_deref()),
            SetItem::CharacterSet(charset) => self.state.vars.set_character_set(charset.as_deref()),
            SetItem::Transaction { scope, isolation, read_only } => {
                self.set_transaction(*scope, *isolation, *read_only).await
            }
        }
    }

    async fn set_session(
        &mut self,
        variable: &'static vars::SystemVariable,
        value: Option<&str>,
    ) -> Result<(), SqlError> {
        match variable.name {
            "autocommit" => {
                let before = self.state.vars.autocommit();
                self.state.vars.set(variable, value)?;
                // Turning it on commits what is open.
                if !before && self.state.vars.autocommit() {
                    self.state.commit(&self.server).await?;
                }
                Ok(())
            }
            "transaction_isolation" | "tx_isolation" => {
                let level = variable.normalize(value.unwrap_or(variable.default))?;
                self.check_isolation(&level)?;
                self.state.vars.set(variable, value)
            }
            "tidb_snapshot" | "tidb_read_staleness" if value.is_some_and(|v| !v.is_empty() && v != "0") => {
                Err(SqlError::NotSupported(format!("SET {}", variable.name)))
            }
            "last_insert_id" | "identity" => {
                let id = variable.normalize(value.unwrap_or("0"))?;
                self.state.last_insert_id = id.parse().unwrap_or(0);
                Ok(())
            }
            _ => self.state.vars.set(variable, value),
        }
    }

    /// TiDB's rule: levels that aren't there are refused, unless the user asked to be given what there is.
    fn check_isolation(&mut self, level: &str) -> Result<(), SqlError> {
        if matches!(level, "SERIALIZABLE" | "READ-UNCOMMITTED") {
            let error = SqlError::UnsupportedIsolationLevel(level.to_owned());
            if !self.state.vars.flag("tidb_skip_isolation_level_check") {
                return Err(error);
            }
            self.state.push_warning(super::Level::Warning, &error);
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
            self.check_isolation(level)?;
            let variable = variable("transaction_isolation")?;
            match scope {
                Some(Scope::Global) => self.server.globals().set(variable, Some(level))?,
                Some(Scope::Session) => self.state.vars.set(variable, Some(level))?,
                // For the next transaction alone, a level that differs would have to be remembered with it.
                None if self.state.vars.text("transaction_isolation") == level => {}
                None => {
                    return Err(SqlError::NotSupported(
                        "SET TRANSACTION ISOLATION LEVEL for the next transaction only (say SET SESSION TRANSACTION)"
                            .into(),
                    ));
                }
            }
        }
        if let Some(read_only) = read_only {
            let variable = variable("transaction_read_only")?;
            let value = Some(if read_only { "ON" } else { "OFF" });
            match scope {
                Some(Scope::Global) => self.server.globals().set(variable, value)?,
                Some(Scope::Session) => self.state.vars.set(variable, value)?,
                None => self.state.txn.next_read_only = Some(read_only),
            }
        }
        Ok(())
    }

    /// Value of an expression without tables.
    pub(super) async fn scalar(&mut self, expr: &Expr, params: &[Datum]) -> Result<(Datum, FieldType), SqlError> {
        match expr {
            Expr::Value(v) => {
                if let Some(value) = super::constant::literal(&v.value) {
                    return Ok(value);
                }
            }
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
                if let Expr::Value(v) = expr.as_ref()
                    && let Value::Number(text, _) = &v.value
                    && let Ok(n) = text.parse::<i64>()
                {
                    return Ok((Datum::Int(-n), FieldType::bigint()));
                }
            }
            Expr::Identifier(i) if i.quote_style.is_none() && i.value.starts_with("@@") => {
                return self.state.system_variable(&self.server, &i.value[2..]);
            }
            Expr::Identifier(i) if i.quote_style.is_none() && i.value.starts_with('@') => {
                return Ok(self.state.user_variable(&i.value[1..]));
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
            Rows::Batches(stream) => crate::outcome::collect(stream).await?,
        };
        let value = rows.into_iter().next().and_then(|r| r.into_iter().next()).unwrap_or(Datum::Null);
        Ok((value, ty))
    }
}

/// `SELECT expr`.
fn select_of(expr: &Expr) -> Result<Statement, SqlError> {
    let parsed = parser::parse_one(b"SELECT 1", parser::LexMode::default())?;
    let Statement::Query(mut query) = parsed.statement else {
        return Err(SqlError::Other("SELECT is not a query".into()));
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![SelectItem::UnnamedExpr(expr.clone())];
    }
    Ok(Statement::Query(query))
}

fn variable_text(variable: &vars::SystemVariable, value: Datum, ty: &FieldType) -> Result<String, SqlError> {
    match value {
        Datum::Null if variable.kind == vars::Kind::CharsetOrNull => Ok(String::new()),
        Datum::Null => Err(SqlError::WrongValueForVariable { name: variable.name.into(), value: "NULL".into() }),
        value => Ok(String::from_utf8_lossy(&text_of(&value, ty)).into_owned()),
    }
}
