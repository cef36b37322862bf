//! CHECK constraints: added, dropped, enforced or not.
//!
//! One that is enforced is kept by all servers (write reorg) before the rows that are there are looked through
//! ([`crate::backfill`]), and seen after. Otherwise both forms can be used side by side.

use sql_base::SqlError;
use sql_catalog::{CheckInfo, SchemaState, TableInfo};

use super::Next;
use crate::job::{Action, Job};

/// Takes the next step.
pub(super) fn advance(table: &mut TableInfo, job: &mut Job, action: &Action) -> Result<Next, SqlError> {
    if job.schema_state == SchemaState::WriteReorg {
        return Ok(Next::Fill);
    }
    match action {
        Action::AddCheck { check, .. } => {
            let mut check = (**check).clone();
            let taken = table.checks.iter().any(|held| held.name == check.name);
            if taken && !job.freed_names.contains(&check.name.lower) {
                return Err(SqlError::CheckDuplicateName(check.name.original));
            }
            // A column that the same statement adds is not public yet.
            if let Some(gone) = check.columns.iter().find(|name| table.any_column(name.as_str()).is_none()) {
                let column = gone.original.clone();
                return Err(SqlError::CheckUnknownColumn { check: check.name.original, column });
            }
            table.max_check_id += 1;
            check.id = table.max_check_id;
            check.state = if check.enforced { SchemaState::WriteReorg } else { SchemaState::Public };
            (job.element_id, job.schema_state) = (check.id, check.state);
            table.checks.push(check);
        }
        Action::DropCheck { name } => {
            let id = named(table, name)?.id;
            table.checks.retain(|check| check.id != id);
        }
        Action::EnforceCheck { name, enforced, .. } => {
            let check = named(table, name)?;
            match enforced {
                true => {
                    check.pending = true;
                    (job.element_id, job.schema_state) = (check.id, SchemaState::WriteReorg);
                }
                false => check.enforced = false,
            }
        }
        other => return Err(SqlError::InvalidDdlJob(format!("'{}' does not concern a check", other.name()))),
    }
    Ok(if job.schema_state == SchemaState::WriteReorg { Next::Step } else { Next::Done })
}

/// All rows are as it demands.
pub(super) fn looked_through(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    let check = by_id(table, job.element_id)?;
    (check.enforced, check.pending, check.state) = (true, false, SchemaState::Public);
    job.schema_state = SchemaState::Public;
    Ok(Next::Done)
}

/// It is as it was before, or gone.
pub(super) fn roll_back(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    by_id(table, job.element_id)?.pending = false;
    table.checks.retain(|check| check.id != job.element_id || check.state == SchemaState::Public);
    job.schema_state = SchemaState::None;
    Ok(Next::Done)
}

/// Refuses to drop or rename a column that a check names.
pub(super) fn refuse_if_used(table: &TableInfo, column: &str) -> Result<(), SqlError> {
    match table.checks.iter().find(|check| check.uses(column)) {
        Some(check) => Err(SqlError::CheckUsesColumn { check: check.name.original.clone(), column: column.to_owned() }),
        None => Ok(()),
    }
}

fn named<'t>(table: &'t mut TableInfo, name: &str) -> Result<&'t mut CheckInfo, SqlError> {
    let found = table.checks.iter_mut().find(|check| check.state == SchemaState::Public && check.name.matches(name));
    found.ok_or_else(|| SqlError::CheckNotFound(name.to_owned()))
}

fn by_id(table: &mut TableInfo, id: i64) -> Result<&mut CheckInfo, SqlError> {
    let gone = SqlError::InvalidDdlJob(format!("check {id} of table '{}' is gone", table.name));
    table.checks.iter_mut().find(|check| check.id == id).ok_or(gone)
}

#[cfg(test)]
mod tests {
    use codec::types::FieldType;
    use sql_catalog::{ColumnInfo, Name};

    use super::*;
    use crate::step;

    fn table() -> TableInfo {
        TableInfo::new(1, "t", vec![ColumnInfo::new(0, "a", FieldType::bigint())])
    }

    fn add(enforced: bool) -> Job {
        let check = CheckInfo {
            id: 0,
            name: Name::new("c"),
            columns: vec![Name::new("a")],
            enforced,
            pending: false,
            expr: "(`a` > 0)".into(),
            state: SchemaState::None,
        };
        Job::new(Action::AddCheck { check: Box::new(check), zone: "UTC".into() }, None, None, "")
    }

    #[test]
    fn a_check_is_kept_before_rows_are_looked_through_and_seen_after() {
        let (mut table, mut job) = (table(), add(true));
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Step);
        assert!(table.checks[0].is_kept() && table.check("c").is_none());
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Fill);
        assert_eq!(step::filled(&mut table, &mut job).unwrap(), Next::Done);
        assert!(table.check("c").is_some_and(CheckInfo::is_kept));
        assert_eq!(step::advance(&mut table, &mut add(true)).unwrap_err().code().0, 3822);
    }

    #[test]
    fn a_check_that_rows_violate_leaves_nothing_behind() {
        let (mut table, mut job) = (table(), add(true));
        step::advance(&mut table, &mut job).unwrap();
        assert!(step::start_rollback(&mut job));
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Done);
        assert!(table.checks.is_empty());
    }

    #[test]
    fn enforcing_a_check_that_rows_violate_leaves_it_as_it_was() {
        let (mut table, mut job) = (table(), add(false));
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Done);
        assert!(!table.check("c").unwrap().is_kept());
        let enforce = Action::EnforceCheck { name: "C".into(), enforced: true, zone: "UTC".into() };
        let mut job = Job::new(enforce, None, None, "");
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Step);
        let check = table.check("c").unwrap();
        assert!(check.is_kept() && !check.enforced, "writes keep what SHOW CREATE TABLE does not say yet");
        assert!(step::start_rollback(&mut job));
        assert_eq!(step::advance(&mut table, &mut job).unwrap(), Next::Done);
        assert!(!table.check("c").unwrap().is_kept());
    }

    #[test]
    fn a_column_that_a_check_names_neither_goes_nor_changes_its_name() {
        let mut table = table();
        table.columns.push(ColumnInfo::new(1, "b", FieldType::bigint()));
        step::advance(&mut table, &mut add(false)).unwrap();
        let drop = |name: &str| Job::new(Action::DropColumn { name: name.into() }, None, None, "");
        assert_eq!(step::advance(&mut table, &mut drop("a")).unwrap_err().code().0, 3959);
        assert_eq!(step::advance(&mut table, &mut drop("b")).unwrap(), Next::Step);
    }
}
