//! CHECK constraints and generated columns as statements write them: named, looked through for what they may not say, and
//! found again.

use sql_base::SqlError;
use sql_catalog::{CheckInfo, ColumnInfo, Database, Generation, SchemaState, TableInfo};
use sql_parser::{AlterAction, CheckDef, CreateTable, Generated};
use sql_planner::row_expr::{define_check, define_generated};
use sql_planner::view::Definitions;

use super::build::{self, PRIMARY};
use super::exec::Statement;
use super::job::Action;

impl Statement<'_> {
    /// Gives a table that is being made what is defined over its columns.
    pub(super) fn define_over_columns(
        &self,
        database: &Database,
        table: &mut TableInfo,
        create: &CreateTable,
    ) -> Result<(), SqlError> {
        for (offset, def) in create.columns.iter().enumerate() {
            if let Some(generated) = &def.generated {
                let generation = self.generation(table, &table.columns[offset], generated)?;
                table.columns[offset].generated = Some(Box::new(generation));
            }
        }
        for def in create.columns.iter().flat_map(|column| &column.checks).chain(&create.checks) {
            let mut check = self.check(database, table, def)?;
            table.max_check_id += 1;
            (check.id, check.state) = (table.max_check_id, SchemaState::Public);
            table.checks.push(check);
        }
        Ok(())
    }

    /// How a column of a table is computed.
    pub(super) fn generation(
        &self,
        table: &TableInfo,
        column: &ColumnInfo,
        def: &Generated,
    ) -> Result<Generation, SqlError> {
        let env = Definitions { schema: &self.names, database: None, eval: &self.eval };
        define_generated(&env, table, column, def)
    }

    fn check(&self, database: &Database, table: &TableInfo, def: &CheckDef) -> Result<CheckInfo, SqlError> {
        let name = def.name.clone().unwrap_or_else(|| table.next_check_name());
        build::check_length(&name)?;
        let taken = |held: &TableInfo| held.checks.iter().any(|check| check.name.matches(&name));
        if taken(table) || database.tables().any(|other| other.id != table.id && taken(other)) {
            return Err(SqlError::CheckDuplicateName(name));
        }
        let env = Definitions { schema: &self.names, database: Some(database.info.name.as_str()), eval: &self.eval };
        define_check(&env, table, name, def)
    }

    /// ADD CHECK.
    pub(super) fn add_check(&self, database: &Database, table: &TableInfo, def: &CheckDef) -> Result<Action, SqlError> {
        let check = Box::new(self.check(database, table, def)?);
        Ok(Action::AddCheck { check, zone: self.eval.time_zone.name() })
    }

    /// ALTER CHECK; `None` if it is so already.
    pub(super) fn enforce_check(
        &self,
        table: &TableInfo,
        (name, enforced, constraint): (&str, bool, bool),
    ) -> Result<Option<Action>, SqlError> {
        let missing = || match constraint {
            true => SqlError::ConstraintNotFound(name.to_owned()),
            false => SqlError::CheckNotFound(name.to_owned()),
        };
        let check = table.check(name).ok_or_else(missing)?;
        let zone = self.eval.time_zone.name();
        let action = || Action::EnforceCheck { name: check.name.original.clone(), enforced, zone };
        Ok((check.enforced != enforced).then(action))
    }
}

/// DROP CHECK.
pub(super) fn drop_check(table: &TableInfo, name: &str) -> Result<Action, SqlError> {
    let check = table.check(name).ok_or_else(|| SqlError::CheckNotFound(name.to_owned()))?;
    Ok(Action::DropCheck { name: check.name.original.clone() })
}

/// What DROP CONSTRAINT means: a check or a key.
pub(super) fn dropped_constraint(table: &TableInfo, name: &str) -> Result<AlterAction, SqlError> {
    let check = table.check(name).map(|_| AlterAction::DropCheck(name.to_owned()));
    let primary = name.eq_ignore_ascii_case(PRIMARY) && table.has_key(name);
    let unique = table.index(name).filter(|index| index.unique && !index.primary);
    let key = match (primary, unique) {
        (true, _) => Some(AlterAction::DropPrimaryKey),
        (false, Some(_)) => Some(AlterAction::DropIndex { if_exists: false, name: name.to_owned() }),
        (false, None) => None,
    };
    match (check, key) {
        (Some(_), Some(_)) => Err(SqlError::ConstraintAmbiguous(name.to_owned())),
        (None, None) => Err(SqlError::ConstraintNotFound(name.to_owned())),
        (check, key) => check.or(key).ok_or_else(|| SqlError::ConstraintNotFound(name.to_owned())),
    }
}
