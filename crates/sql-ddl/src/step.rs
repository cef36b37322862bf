//! The states that a change of one table goes through: pure.
//!
//! Servers learn of a new schema version one after the other, and the owner takes the next step only when all have the
//! last one, so at any time two neighbouring states are in use side by side. Each pair below keeps rows and indexes
//! right, whatever the two do to the same row:
//!
//! ```text
//!   ADD INDEX     none → delete only → write only → write reorg → public
//!                 delete only first, so that no entry is left behind by a server that removes a row while another
//!                 already writes entries; rows from before are filled in under write reorg, when all servers write.
//!   DROP INDEX    public → write only → delete only → none
//!   ADD COLUMN    none → write only → public
//!                 a row without the column reads as its origin default, so nothing has to be filled in or removed.
//!                 A generated one: none → write only → write reorg → public, filled in under write reorg.
//!   DROP COLUMN   public → write only → none
//!   ADD CHECK     none → write reorg → public
//!                 every server refuses rows that violate it before those that are there are looked through.
//!   conversion of columns: see [`columns`]; partitions: see [`partitions`]; several changes in one: see [`several`]
//!   all others    one step: both forms can be used side by side
//! ```
//!
//! A failed or cancelled ADD INDEX goes back: delete only → none. A check that rows violate goes, or is NOT ENFORCED again.
//!
//! [`advance`] makes one step on a table that the caller read and will write in the same transaction. The caller gives
//! every step its own schema version.

use codec::types::flags;
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, Name, SchemaState, TableInfo};

use super::build;
use super::job::{Action, ColumnChange, Job, JobState, Position};

mod checks;
pub mod columns;
pub mod partitions;
pub mod several;

/// What follows a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The table changed; take the next step when every server knows.
    Step,
    /// Nothing changed: indexes or columns have to be filled first, then [`filled`].
    Fill,
    /// The table changed for the last time.
    Done,
}

/// Takes the next step of a job on its table. An error means that the job failed and nothing of it is left, unless
/// [`start_rollback`] says otherwise.
pub fn advance(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    let action = job.action.clone();
    if job.state == JobState::Rollingback {
        return roll_back(table, job, &action);
    }
    match &action {
        Action::AddIndex(index) => {
            let next = match job.schema_state {
                SchemaState::None => {
                    let mut index = (**index).clone();
                    let taken = table.any_index(index.name.as_str()).is_some()
                        || (index.primary && !table.primary_key().is_empty());
                    if taken && !job.freed_names.contains(&index.name.lower) {
                        return Err(if index.primary {
                            SqlError::MultiplePrimaryKey
                        } else {
                            SqlError::DuplicateKeyName(index.name.original)
                        });
                    }
                    for part in &mut index.columns {
                        // One that the same statement adds is not public yet.
                        let column = table
                            .any_column(part.name.as_str())
                            .ok_or_else(|| SqlError::KeyColumnMissing(part.name.original.clone()))?;
                        part.offset = column.offset;
                        if index.primary && !column.field_type.is_not_null() {
                            return Err(SqlError::PrimaryCantHaveNull);
                        }
                    }
                    table.max_index_id += 1;
                    index.id = table.max_index_id;
                    index.state = SchemaState::DeleteOnly;
                    job.element_id = index.id;
                    table.indexes.push(index);
                    SchemaState::DeleteOnly
                }
                SchemaState::DeleteOnly => set_index(table, job.element_id, SchemaState::WriteOnly)?,
                SchemaState::WriteOnly => set_index(table, job.element_id, SchemaState::WriteReorg)?,
                _ => return Ok(Next::Fill),
            };
            job.schema_state = next;
            Ok(Next::Step)
        }
        Action::DropIndex { name } => {
            let id = match job.schema_state {
                SchemaState::None => {
                    let index = table.index(name).ok_or_else(|| SqlError::CantDropFieldOrKey(name.clone()))?;
                    index.id
                }
                _ => job.element_id,
            };
            job.element_id = id;
            match job.schema_state {
                SchemaState::None => {
                    job.schema_state = set_index(table, id, SchemaState::WriteOnly)?;
                    build::remark_keys(table);
                    build::check_auto_increment_after_drop(table, id)?;
                }
                SchemaState::WriteOnly => job.schema_state = set_index(table, id, SchemaState::DeleteOnly)?,
                _ => {
                    table.indexes.retain(|index| index.id != id);
                    job.schema_state = SchemaState::None;
                    job.unused_indexes.push(id);
                    return Ok(Next::Done);
                }
            }
            Ok(Next::Step)
        }
        Action::AddColumn { column, position } => match job.schema_state {
            SchemaState::None => {
                if table.any_column(column.name.as_str()).is_some() {
                    return Err(SqlError::DuplicateColumn(column.name.original.clone()));
                }
                check_position(table, position)?;
                let mut column = (**column).clone();
                table.max_column_id += 1;
                column.id = table.max_column_id;
                column.offset = table.columns.len();
                column.state = SchemaState::WriteOnly;
                job.element_id = column.id;
                job.schema_state = SchemaState::WriteOnly;
                table.columns.push(column);
                Ok(Next::Step)
            }
            SchemaState::WriteOnly if column.is_generated() => {
                let at = column_at(table, job.element_id)?;
                table.columns[at].state = SchemaState::WriteReorg;
                job.schema_state = SchemaState::WriteReorg;
                Ok(Next::Step)
            }
            SchemaState::WriteReorg => Ok(Next::Fill),
            _ => show_column(table, job, position),
        },
        Action::DropColumn { name } => match job.schema_state {
            SchemaState::None => {
                check_drop_column(table, name)?;
                let at = table
                    .columns
                    .iter()
                    .position(|column| column.is_public() && column.name.matches(name))
                    .ok_or_else(|| SqlError::CantDropFieldOrKey(name.clone()))?;
                let column = &mut table.columns[at];
                column.state = SchemaState::WriteOnly;
                // Servers that no longer see it still store it, and may have to invent a value.
                if column.origin_default.is_none() {
                    column.origin_default = build::origin_default(column, "0000-00-00 00:00:00");
                }
                job.element_id = column.id;
                job.schema_state = SchemaState::WriteOnly;
                Ok(Next::Step)
            }
            _ => {
                let at = column_at(table, job.element_id)?;
                if table.indexes.iter().any(|index| index.columns.iter().any(|part| part.offset == at)) {
                    // An index goes with it, and its entries are still removed by the column's values.
                    return Ok(Next::Step);
                }
                table.columns.remove(at);
                table.renumber();
                job.schema_state = SchemaState::None;
                Ok(Next::Done)
            }
        },
        Action::AddCheck { .. } | Action::DropCheck { .. } | Action::EnforceCheck { .. } => {
            checks::advance(table, job, &action)
        }
        Action::ModifyColumn(change) => modify(table, job, change),
        Action::ConvertColumns(convert) => columns::advance(table, job, convert),
        Action::Several { moves } => several::advance(table, job, moves),
        Action::RenameIndex { name, new } => {
            if table.any_index(new).is_some_and(|index| !index.name.matches(name)) {
                return Err(SqlError::DuplicateKeyName(new.clone()));
            }
            let missing = || SqlError::NoSuchKey { key: name.clone(), table: table.name.original.clone() };
            let at = table.indexes.iter().position(|index| index.is_public() && index.name.matches(name));
            let at = at.ok_or_else(missing)?;
            table.indexes[at].name = Name::new(new.clone());
            Ok(Next::Done)
        }
        Action::IndexVisibility { name, invisible } => {
            let missing = || SqlError::NoSuchKey { key: name.clone(), table: table.name.original.clone() };
            let at = table.indexes.iter().position(|index| index.is_public() && index.name.matches(name));
            let at = at.ok_or_else(missing)?;
            table.indexes[at].invisible = *invisible;
            Ok(Next::Done)
        }
        Action::TableOptions { comment, charset, auto_increment, auto_id_cache } => {
            if let Some(size) = auto_id_cache {
                table.auto_id_cache = *size;
            }
            if let Some(least) = auto_increment {
                table.auto_inc_start = table.auto_inc_start.max(*least);
            }
            if let Some(comment) = comment {
                table.comment = comment.clone();
            }
            if let Some((charset, collate)) = charset {
                table.charset = charset.clone();
                table.collate = collate.clone();
            }
            Ok(Next::Done)
        }
        action if action.is_of_partitions() => partitions::advance(table, job),
        Action::TablePolicy(policy) => {
            table.policy = policy.clone();
            Ok(Next::Done)
        }
        other => Err(SqlError::InvalidDdlJob(format!("'{}' does not change one table", other.name()))),
    }
}

/// What a job fills is filled.
pub fn filled(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    if let Action::ConvertColumns(convert) = job.action.clone() {
        return columns::switch(table, job, &convert);
    }
    if job.action.looks_through().is_some() {
        return checks::looked_through(table, job);
    }
    if let Action::AddColumn { position, .. } = job.action.clone() {
        return show_column(table, job, &position);
    }
    if let Action::Divide(_) = job.action {
        return partitions::switch(table, job);
    }
    job.schema_state = set_index(table, job.element_id, SchemaState::Public)?;
    if let Some(index) = table.indexes.iter().find(|index| index.id == job.element_id).cloned() {
        build::mark_key_columns(table, &index);
    }
    Ok(Next::Done)
}

/// A column that was added is there.
fn show_column(table: &mut TableInfo, job: &mut Job, position: &Position) -> Result<Next, SqlError> {
    let at = column_at(table, job.element_id)?;
    table.columns[at].state = SchemaState::Public;
    place(table, job.element_id, position);
    job.schema_state = SchemaState::Public;
    Ok(Next::Done)
}

/// Turns a job that failed or is cancelled around. `false` when it left nothing that would have to be undone, or when
/// it is too far to be undone.
pub fn start_rollback(job: &mut Job) -> bool {
    let undoable = can_be_undone(&job.action) && !matches!(job.schema_state, SchemaState::None | SchemaState::Public);
    if undoable {
        job.state = JobState::Rollingback;
    }
    undoable
}

/// True when a job is between two states and there is no way back: it has to go on until it is done. Given up there, it
/// would leave an element that statements neither see nor may make or drop, or a table that nobody may write.
pub fn must_go_on(job: &Job) -> bool {
    let shown = matches!(job.action, Action::ConvertColumns(_) | Action::Several { .. } | Action::Divide(_))
        && job.schema_state == SchemaState::Public;
    let half_way = !matches!(job.schema_state, SchemaState::None | SchemaState::Public);
    shown || half_way && (!can_be_undone(&job.action) || job.state == JobState::Rollingback)
}

/// True when a job that is not finished can still be cancelled.
pub fn is_cancellable(job: &Job) -> bool {
    job.schema_state == SchemaState::None || (can_be_undone(&job.action) && job.schema_state != SchemaState::Public)
}

/// True of changes that prepare what nobody sees yet.
fn can_be_undone(action: &Action) -> bool {
    matches!(
        action,
        Action::AddIndex(_)
            | Action::AddColumn { .. }
            | Action::ConvertColumns(_)
            | Action::AddPartitions(_)
            | Action::Divide(_)
            | Action::Several { .. }
    ) || action.looks_through().is_some()
}

fn roll_back(table: &mut TableInfo, job: &mut Job, action: &Action) -> Result<Next, SqlError> {
    match action {
        Action::ConvertColumns(_) => columns::roll_back(table, job),
        Action::Several { .. } => several::roll_back(table, job),
        Action::AddCheck { .. } | Action::EnforceCheck { .. } => checks::roll_back(table, job),
        Action::AddPartitions(_) | Action::Divide(_) => partitions::roll_back(table, job),
        Action::AddColumn { .. } => {
            // Nobody has seen the column; what was stored in it was its default.
            table.columns.retain(|column| column.id != job.element_id);
            table.renumber();
            job.schema_state = SchemaState::None;
            Ok(Next::Done)
        }
        _ => match job.schema_state {
            SchemaState::WriteOnly | SchemaState::WriteReorg => {
                job.schema_state = set_index(table, job.element_id, SchemaState::DeleteOnly)?;
                Ok(Next::Step)
            }
            _ => {
                table.indexes.retain(|index| index.id != job.element_id);
                job.schema_state = SchemaState::None;
                job.unused_indexes.push(job.element_id);
                Ok(Next::Done)
            }
        },
    }
}

/// Refuses to drop a column that the table or one of its keys cannot do without.
pub(super) fn check_drop_column(table: &TableInfo, name: &str) -> Result<(), SqlError> {
    let column = table.column(name).ok_or_else(|| SqlError::CantDropFieldOrKey(name.to_owned()))?;
    if table.public_columns().count() == 1 {
        return Err(SqlError::CantRemoveAllColumns);
    }
    checks::refuse_if_used(table, name)?;
    refuse_if_read(table, name)?;
    let in_primary = table.primary_key().iter().any(|key| key.id == column.id);
    // An index that the same statement drops is no longer public.
    let in_index = table.public_indexes().any(|index| index.columns.iter().any(|part| part.name == column.name));
    if in_primary || in_index {
        return Err(SqlError::UnsupportedDdl(format!(
            "can't drop column {} with composite index covered or Primary Key covered now",
            column.name
        )));
    }
    Ok(())
}

/// Refuses to drop or rename a column that others are computed from.
fn refuse_if_read(table: &TableInfo, name: &str) -> Result<(), SqlError> {
    match table.columns.iter().any(|column| column.is_public() && column.reads(name)) {
        true => Err(SqlError::DependentGenerated(name.to_owned())),
        false => Ok(()),
    }
}

/// A column's new definition, under which rows read the same.
fn modify(table: &mut TableInfo, job: &mut Job, change: &ColumnChange) -> Result<Next, SqlError> {
    if job.schema_state == SchemaState::Public {
        // It has become an AUTO_INCREMENT one, and now every server knows: the counter was set again.
        return Ok(Next::Done);
    }
    let ColumnChange { name, column, position } = change;
    let old = table.column(name).cloned().ok_or_else(|| unknown_column(name, table))?;
    if old.name != column.name && table.any_column(column.name.as_str()).is_some() {
        return Err(SqlError::DuplicateColumn(column.name.original.clone()));
    }
    if old.name != column.name {
        checks::refuse_if_used(table, name)?;
        refuse_if_read(table, name)?;
    }
    if build::change_takes(table, &old, column)? != build::Takes::Nothing {
        return Err(SqlError::UnsupportedModifyColumn(format!("column {name} has changed meanwhile")));
    }
    if let Some(position) = position {
        check_position(table, position)?;
    }
    let new = ColumnInfo {
        id: old.id,
        offset: old.offset,
        state: SchemaState::Public,
        origin_default: old.origin_default.clone(),
        ..(**column).clone()
    };
    table.columns[old.offset] = new;
    for part in table.indexes.iter_mut().flat_map(|index| &mut index.columns) {
        if part.name == old.name {
            part.name = column.name.clone();
        }
    }
    // Key flags belong to the keys, not to the definition that was written.
    let keys = flags::PRI_KEY | flags::UNIQUE_KEY | flags::MULTIPLE_KEY;
    let field = &mut table.columns[old.offset].field_type;
    field.flags = (field.flags & !keys) | (old.field_type.flags & keys);
    let counts = !old.field_type.has(flags::AUTO_INCREMENT) && field.has(flags::AUTO_INCREMENT);
    if let Some(position) = position {
        place(table, old.id, position);
    }
    if counts {
        job.schema_state = SchemaState::Public;
        return Ok(Next::Step);
    }
    Ok(Next::Done)
}

pub(super) fn unknown_column(name: &str, table: &TableInfo) -> SqlError {
    SqlError::UnknownColumn { column: name.to_owned(), clause: table.name.original.clone() }
}

pub(super) fn check_position(table: &TableInfo, position: &Position) -> Result<(), SqlError> {
    match position {
        Position::After(name) if table.any_column(name).is_none() => Err(unknown_column(name, table)),
        _ => Ok(()),
    }
}

fn column_at(table: &TableInfo, id: i64) -> Result<usize, SqlError> {
    table
        .columns
        .iter()
        .position(|column| column.id == id)
        .ok_or_else(|| SqlError::InvalidDdlJob(format!("column {id} of table '{}' is gone", table.name)))
}

pub(super) fn set_index(table: &mut TableInfo, id: i64, state: SchemaState) -> Result<SchemaState, SqlError> {
    let index = table.indexes.iter_mut().find(|index| index.id == id);
    match index {
        Some(index) => {
            index.state = state;
            Ok(state)
        }
        None => Err(SqlError::InvalidDdlJob(format!("index {id} of table '{}' is gone", table.name))),
    }
}

/// Moves a column to its place. Columns that are not public stay behind the public ones.
pub(super) fn place(table: &mut TableInfo, id: i64, position: &Position) {
    let Some(from) = table.columns.iter().position(|column| column.id == id) else { return };
    let column = table.columns.remove(from);
    let end = table.columns.iter().position(|column| !column.is_public()).unwrap_or(table.columns.len());
    let at = match position {
        Position::Last => end,
        Position::First => 0,
        Position::After(name) => {
            table.columns.iter().position(|held| held.name.matches(name)).map_or(end, |found| found + 1)
        }
    };
    table.columns.insert(at, column);
    table.renumber();
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use codec::types::FieldType;
    use sql_catalog::IndexMaintenance;

    fn column(id: i64, name: &str) -> ColumnInfo {
        ColumnInfo::new(id as usize - 1, name, FieldType::bigint())
    }

    fn table(columns: &[&str]) -> TableInfo {
        let columns = columns.iter().enumerate().map(|(at, name)| column(at as i64 + 1, name)).collect();
        TableInfo { auto_id_schema_id: 1, ..TableInfo::new(100, "t", columns) }
    }

    fn index_on(table: &TableInfo, column: &str, unique: bool) -> sql_catalog::IndexInfo {
        sql_catalog::IndexInfo {
            id: 0,
            name: "k".into(),
            columns: vec![sql_catalog::IndexColumn {
                name: column.into(),
                offset: table.column(column).unwrap().offset,
                length: None,
            }],
            unique,
            primary: false,
            invisible: false,
            state: SchemaState::None,
            comment: String::new(),
        }
    }

    fn job(action: Action) -> Job {
        Job::new(action, Some((1, &"d".into())), Some((100, &"t".into())), "")
    }

    #[test]
    fn a_job_that_fails_between_states_is_never_left_there() {
        let in_state = |action: Action, state, schema_state| Job { state, schema_state, ..job(action) };
        let drop_column = || Action::DropColumn { name: "a".into() };
        for schema_state in [SchemaState::WriteOnly, SchemaState::DeleteOnly, SchemaState::DeleteReorg] {
            let mut half = in_state(drop_column(), JobState::Running, schema_state);
            assert!(must_go_on(&half) && !start_rollback(&mut half) && !is_cancellable(&half));
        }
        assert!(!must_go_on(&in_state(drop_column(), JobState::Running, SchemaState::None)));
        let index = index_on(&table(&["a"]), "a", false);
        let mut add = in_state(Action::AddIndex(Box::new(index)), JobState::Running, SchemaState::WriteOnly);
        assert!(!must_go_on(&add) && start_rollback(&mut add));
        assert!(must_go_on(&add), "nor is its way back");
    }

    /// Rows (handle → value) and the entries of one index, as the storage would hold them.
    #[derive(Default)]
    struct Storage {
        rows: BTreeMap<i64, i64>,
        entries: BTreeSet<(i64, i64)>,
    }

    impl Storage {
        /// What a server with this schema does to a row.
        fn write(&mut self, table: &TableInfo, handle: i64, value: Option<i64>) {
            let old = match value {
                Some(value) => self.rows.insert(handle, value),
                None => self.rows.remove(&handle),
            };
            for (_, how) in table.maintained_indexes() {
                if let Some(old) = old {
                    self.entries.remove(&(old, handle));
                }
                if let (Some(value), IndexMaintenance::Full) = (value, how) {
                    self.entries.insert((value, handle));
                }
            }
        }

        fn expected(&self) -> BTreeSet<(i64, i64)> {
            self.rows.iter().map(|(handle, value)| (*value, *handle)).collect()
        }
    }

    /// Two servers, never more than one version apart, write at random between the steps of a job.
    fn run(
        seed: u64,
        action: impl Fn(&TableInfo) -> Action,
        mut old: TableInfo,
        cancel_at: Option<usize>,
    ) -> (TableInfo, Job, Storage) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut storage = Storage::default();
        let mut job = job(action(&old));
        job.state = JobState::Running;
        for _ in 0..20 {
            storage.write(&old, rng.random_range(0..30), Some(rng.random_range(0..5)));
        }
        for step in 0.. {
            assert!(step < 20, "seed {seed}: the job does not end");
            if cancel_at == Some(step) && start_rollback(&mut job) {
                job.error = Some(super::super::job::JobError { code: 8214, message: "Cancelled DDL job".into() });
            }
            let mut new = old.clone();
            let mut next = advance(&mut new, &mut job).unwrap();
            if next == Next::Fill {
                // In batches, with writes in between; an entry is made only for a row that is there now.
                for handle in 0..30 {
                    if let Some(value) = storage.rows.get(&handle) {
                        storage.entries.insert((*value, handle));
                    }
                    storage.write(&old, rng.random_range(0..30), rng.random_bool(0.7).then(|| rng.random_range(0..5)));
                }
                next = filled(&mut new, &mut job).unwrap();
            }
            for _ in 0..40 {
                let table = if rng.random_bool(0.5) { &old } else { &new };
                storage.write(table, rng.random_range(0..30), rng.random_bool(0.7).then(|| rng.random_range(0..5)));
                for index in table.public_indexes() {
                    assert_eq!(
                        storage.entries,
                        storage.expected(),
                        "seed {seed}: readers of {} see wrong rows",
                        index.name
                    );
                }
            }
            old = new;
            if next == Next::Done {
                return (old, job, storage);
            }
        }
        unreachable!()
    }

    #[test]
    fn an_index_is_added_under_writes_of_servers_one_version_apart() {
        for seed in 0..300 {
            let add = |table: &TableInfo| Action::AddIndex(Box::new(index_on(table, "a", false)));
            let (table, job, storage) = run(seed, add, table(&["a", "b"]), None);
            assert_eq!(job.schema_state, SchemaState::Public);
            assert!(table.index("k").is_some());
            assert_eq!(storage.entries, storage.expected(), "seed {seed}");
            // And dropped again: no server that may read it ever sees it wrong.
            let drop = |_: &TableInfo| Action::DropIndex { name: "K".into() };
            let mut table = table;
            table.indexes[0].state = SchemaState::Public;
            let mut fresh = table.clone();
            let mut job = self::job(drop(&fresh));
            let mut states = Vec::new();
            loop {
                let next = advance(&mut fresh, &mut job).unwrap();
                states.push(job.schema_state);
                if next == Next::Done {
                    assert_eq!(job.unused_indexes, [1]);
                    break;
                }
            }
            assert_eq!(states, [SchemaState::WriteOnly, SchemaState::DeleteOnly, SchemaState::None]);
            assert!(fresh.indexes.is_empty());
        }
    }

    #[test]
    fn a_cancelled_index_leaves_nothing_in_the_table() {
        for seed in 0..50 {
            for at in 0..4 {
                let add = |table: &TableInfo| Action::AddIndex(Box::new(index_on(table, "a", true)));
                let (table, job, _) = run(seed, add, table(&["a", "b"]), Some(at));
                match at {
                    0 => assert_eq!(job.schema_state, SchemaState::Public, "not started: nothing to undo"),
                    _ => assert!(table.indexes.is_empty() && job.state == JobState::Rollingback, "cancelled at {at}"),
                }
            }
        }
    }

    #[test]
    fn a_column_goes_where_it_was_put() {
        for (position, expect) in [
            (Position::Last, ["a", "b", "c"]),
            (Position::First, ["c", "a", "b"]),
            (Position::After("A".into()), ["a", "c", "b"]),
        ] {
            let mut table = table(&["a", "b"]);
            table.indexes.push(index_on(&table, "b", false));
            let mut job = job(Action::AddColumn { column: Box::new(column(1, "c")), position });
            assert_eq!(advance(&mut table, &mut job).unwrap(), Next::Step);
            assert!(table.column("c").is_none(), "not seen before it is public");
            assert_eq!(table.writable_columns().count(), 3, "but stored");
            assert_eq!(advance(&mut table, &mut job).unwrap(), Next::Done);
            let names: Vec<_> = table.public_columns().map(|column| column.name.lower.clone()).collect();
            assert_eq!(names, expect);
            assert_eq!(table.column("c").unwrap().id, 3);
            assert_eq!(table.columns[table.indexes[0].columns[0].offset].name.lower, "b");
        }
    }

    #[test]
    fn a_dropped_column_disappears_at_once_and_is_stored_until_all_know() {
        let mut table = table(&["a", "b"]);
        let mut job = job(Action::DropColumn { name: "a".into() });
        advance(&mut table, &mut job).unwrap();
        assert!(table.column("a").is_none());
        assert_eq!(table.writable_columns().count(), 2);
        assert_eq!(advance(&mut table, &mut job).unwrap(), Next::Done);
        assert_eq!(table.columns.len(), 1);
        assert_eq!(table.columns[0].offset, 0);
        let mut job = self::job(Action::DropColumn { name: "b".into() });
        assert_eq!(advance(&mut table, &mut job).unwrap_err().code().0, 1090);
    }

    #[test]
    fn a_column_in_an_index_is_not_dropped() {
        let mut table = table(&["a", "b"]);
        table.indexes.push(sql_catalog::IndexInfo { state: SchemaState::Public, ..index_on(&table, "a", false) });
        let mut job = job(Action::DropColumn { name: "a".into() });
        assert_eq!(advance(&mut table, &mut job).unwrap_err().code().0, 8200);
    }

    #[test]
    fn a_renamed_column_keeps_its_id_and_its_indexes() {
        let mut table = table(&["a", "b"]);
        table.indexes.push(index_on(&table, "a", false));
        let mut job = job(Action::ModifyColumn(ColumnChange {
            name: "a".into(),
            column: Box::new(column(9, "z")),
            position: Some(Position::Last),
        }));
        assert_eq!(advance(&mut table, &mut job).unwrap(), Next::Done);
        let names: Vec<_> = table.columns.iter().map(|column| (column.id, column.name.lower.as_str())).collect();
        assert_eq!(names, [(2, "b"), (1, "z")]);
        assert_eq!((table.indexes[0].columns[0].name.as_str(), table.indexes[0].columns[0].offset), ("z", 1));
    }
}
