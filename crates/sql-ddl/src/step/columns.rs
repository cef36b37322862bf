//! Columns whose values are converted: MODIFY and CHANGE COLUMN, CONVERT TO CHARACTER SET.
//!
//! ```text
//!            old columns and indexes         new ones, with names of their own
//!   none     public                          none
//!            public                          delete only
//!            public                          write only       writes compute the new values from the old
//!            public                          write reorg      rows from before are filled in
//!   switch   gone                            public           nobody writes: see below
//!   done     gone                            public
//! ```
//!
//! Up to the switch reads and writes know the old columns only, and [`sql_catalog::row::converted`] gives every written row
//! its new values, as it gives them to those that are filled in: each new column always is what its old one makes of it.
//! After the switch writes give the new columns values that the old ones may not be able to hold, so a server before the
//! switch must never read what one after it has written. Between the two is a version in which reads use the new columns and
//! writes wait ([`TableInfo::writes_wait`]):
//!
//! ```text
//!   write reorg   reads old, writes both    ─┐ beside each other: both are in step
//!   switch        reads new, writes nothing ─┤
//!   done          reads new, writes new     ─┘ beside each other: nobody reads old
//! ```
//!
//! What is left of the old columns in rows is never read again, and goes when a row is written anew; the entries of old
//! indexes are emptied when the job is over.

use codec::types::flags;
use sql_base::SqlError;
use sql_catalog::{ColumnDefault, ColumnInfo, Conversion, IndexInfo, Name, SchemaState, TableInfo};

use super::{Next, build, check_position, place, unknown_column};
use crate::job::{ColumnChange, ConvertColumns, Job, NewIndex};

/// Flags that a column has only while statements see it.
const PUBLIC_FLAGS: u32 = flags::NOT_NULL
    | flags::NO_DEFAULT_VALUE
    | flags::PRI_KEY
    | flags::UNIQUE_KEY
    | flags::MULTIPLE_KEY
    | flags::AUTO_INCREMENT
    | flags::ON_UPDATE_NOW;

/// Takes the next step.
pub(super) fn advance(table: &mut TableInfo, job: &mut Job, convert: &ConvertColumns) -> Result<Next, SqlError> {
    job.schema_state = match job.schema_state {
        SchemaState::None => {
            begin(table, job, convert)?;
            SchemaState::DeleteOnly
        }
        SchemaState::DeleteOnly => set(table, job, SchemaState::WriteOnly)?,
        SchemaState::WriteOnly => set(table, job, SchemaState::WriteReorg)?,
        SchemaState::Public => {
            table.writes_wait = false;
            return Ok(Next::Done);
        }
        _ => return Ok(Next::Fill),
    };
    Ok(Next::Step)
}

/// Undoes what nobody has seen.
pub(super) fn roll_back(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    if job.schema_state != SchemaState::DeleteOnly {
        job.schema_state = set(table, job, SchemaState::DeleteOnly)?;
        return Ok(Next::Step);
    }
    table.columns.retain(|column| !job.new_columns.contains(&column.id));
    table.indexes.retain(|index| !job.new_indexes.iter().any(|new| new.id == index.id));
    table.renumber();
    job.unused_indexes = job.new_indexes.iter().map(|new| new.id).collect();
    job.schema_state = SchemaState::None;
    Ok(Next::Done)
}

/// Puts the new columns and indexes beside the old ones.
fn begin(table: &mut TableInfo, job: &mut Job, convert: &ConvertColumns) -> Result<(), SqlError> {
    let mut finals = table.clone();
    let mut new_names = Vec::new();
    for change in &convert.columns {
        let old = table.column(&change.name).cloned().ok_or_else(|| unknown_column(&change.name, table))?;
        check(table, convert, change, &old)?;
        table.max_column_id += 1;
        let name = format!("_Col$_{}_{}", old.name, table.max_column_id);
        let mut field_type = change.column.field_type.clone();
        field_type.flags &= !PUBLIC_FLAGS;
        let how = Conversion {
            from: old.id,
            name: change.column.name.original.clone(),
            not_null: change.column.field_type.is_not_null(),
            ..convert.how.clone()
        };
        table.columns.push(ColumnInfo {
            id: table.max_column_id,
            name: Name::new(name.clone()),
            offset: table.columns.len(),
            field_type,
            default: ColumnDefault::None,
            origin_default: None,
            on_update_now: false,
            generated: None,
            state: SchemaState::DeleteOnly,
            comment: String::new(),
            converts: Some(Box::new(how)),
        });
        job.new_columns.push(table.max_column_id);
        new_names.push((old.name.clone(), Name::new(name)));
        let at = old.offset;
        finals.columns[at] = ColumnInfo { offset: at, ..(*change.column).clone() };
    }
    let touched: Vec<IndexInfo> = table
        .public_indexes()
        .filter(|index| index.columns.iter().any(|part| new_names.iter().any(|(old, _)| *old == part.name)))
        .filter(|index| !convert.dropped.contains(&index.name.lower))
        .cloned()
        .collect();
    for mut index in touched {
        let replaces = Some(index.id);
        build::keep_prefixes(&finals, &mut index)?;
        for part in &mut index.columns {
            if let Some((_, new)) = new_names.iter().find(|(old, _)| *old == part.name) {
                part.name = new.clone();
            }
        }
        push_index(table, job, index, replaces);
    }
    for index in &convert.added {
        let mut index = index.clone();
        for part in &mut index.columns {
            let converted = convert.columns.iter().position(|change| change.column.name == part.name);
            match converted {
                Some(at) => part.name = new_names[at].1.clone(),
                None if table.any_column(part.name.as_str()).is_some() => {}
                None => return Err(SqlError::KeyColumnMissing(part.name.original.clone())),
            }
        }
        push_index(table, job, index, None);
    }
    table.renumber();
    Ok(())
}

fn check(table: &TableInfo, convert: &ConvertColumns, change: &ColumnChange, old: &ColumnInfo) -> Result<(), SqlError> {
    let new = &change.column.name;
    // The name may become free with another of the columns.
    let freed = convert.columns.iter().any(|other| new.matches(&other.name));
    if !freed && table.any_column(new.as_str()).is_some() {
        return Err(SqlError::DuplicateColumn(new.original.clone()));
    }
    if let Some(position) = &change.position {
        check_position(table, position)?;
    }
    build::change_takes(table, old, &change.column).map(drop)
}

fn push_index(table: &mut TableInfo, job: &mut Job, mut index: IndexInfo, replaces: Option<i64>) {
    table.max_index_id += 1;
    index.id = table.max_index_id;
    index.name = index.new_name(index.id);
    index.state = SchemaState::DeleteOnly;
    job.new_indexes.push(NewIndex { id: index.id, replaces });
    table.indexes.push(index);
}

fn set(table: &mut TableInfo, job: &Job, state: SchemaState) -> Result<SchemaState, SqlError> {
    for id in &job.new_columns {
        let at = super::column_at(table, *id)?;
        table.columns[at].state = state;
    }
    for new in &job.new_indexes {
        super::set_index(table, new.id, state)?;
    }
    Ok(state)
}

/// Everything is filled: the new columns and indexes take the places of the old ones, and writes wait.
pub(super) fn switch(table: &mut TableInfo, job: &mut Job, convert: &ConvertColumns) -> Result<Next, SqlError> {
    let mut names = Vec::new();
    let mut gone = Vec::new();
    for (id, change) in job.new_columns.iter().zip(&convert.columns) {
        let new = table.columns.remove(super::column_at(table, *id)?);
        let old = super::column_at(table, new.converts.as_ref().map_or(0, |how| how.from))?;
        names.push((new.name, change.column.name.clone()));
        gone.push(table.columns[old].name.clone());
        table.columns[old] = ColumnInfo {
            id: *id,
            offset: old,
            state: SchemaState::Public,
            origin_default: None,
            converts: None,
            ..(*change.column).clone()
        };
    }
    let mut added = convert.added.iter();
    for new in &job.new_indexes {
        let mut index = table.indexes.remove(index_at(table, new.id)?);
        index.state = SchemaState::Public;
        for part in &mut index.columns {
            if let Some((_, name)) = names.iter().find(|(hidden, _)| *hidden == part.name) {
                part.name = name.clone();
            }
        }
        match new.replaces {
            Some(old) => {
                let at = index_at(table, old)?;
                index.name = table.indexes[at].name.clone();
                table.indexes[at] = index;
                job.unused_indexes.push(old);
            }
            None => {
                index.name = added.next().map_or(index.name, |definition| definition.name.clone());
                table.indexes.push(index);
            }
        }
    }
    // What is left with a column that is gone was to be dropped.
    let of_gone = |index: &IndexInfo| {
        convert.dropped.contains(&index.name.lower) && index.columns.iter().any(|part| gone.contains(&part.name))
    };
    let unused = table.indexes.iter().filter(|index| of_gone(index) && !is_new(job, index)).map(|index| index.id);
    let unused: Vec<i64> = unused.collect();
    table.indexes.retain(|index| !unused.contains(&index.id));
    job.unused_indexes.extend(unused);
    table.renumber();
    for (id, change) in job.new_columns.iter().zip(&convert.columns) {
        if let Some(position) = &change.position {
            place(table, *id, position);
        }
    }
    build::remark_keys(table);
    table.writes_wait = true;
    job.schema_state = SchemaState::Public;
    Ok(Next::Step)
}

fn is_new(job: &Job, index: &IndexInfo) -> bool {
    job.new_indexes.iter().any(|new| new.id == index.id)
}

fn index_at(table: &TableInfo, id: i64) -> Result<usize, SqlError> {
    let found = table.indexes.iter().position(|index| index.id == id);
    found.ok_or_else(|| SqlError::InvalidDdlJob(format!("index {id} of table '{}' is gone", table.name)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use codec::datum::Datum;
    use codec::table::{Handle, IndexId};
    use codec::types::FieldType;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use sql_catalog::{IndexColumn, IndexMaintenance, row};

    use super::*;
    use crate::job::{Action, JobError, JobState, Position};
    use crate::step::{self, several};

    const HANDLES: i64 = 25;

    fn table() -> TableInfo {
        let text = ["id", "a", "b"].into_iter().enumerate();
        let columns = text.map(|(at, name)| ColumnInfo::new(at, name, FieldType::bigint())).collect();
        let mut table = TableInfo { auto_id_schema_id: 1, ..TableInfo::new(100, "t", columns) };
        for (id, unique, names) in [(1, false, &["a", "b"][..]), (2, true, &["b"])] {
            let part = |name: &&str| {
                let offset = table.column(name).unwrap().offset;
                IndexColumn { name: (*name).into(), offset, length: None }
            };
            let columns = names.iter().map(part).collect();
            table.indexes.push(IndexInfo {
                id,
                name: Name::new(format!("k{id}")),
                columns,
                unique,
                primary: false,
                invisible: false,
                state: SchemaState::Public,
                comment: String::new(),
            });
        }
        table.max_index_id = 2;
        table
    }

    fn to_text(name: &str, position: Option<Position>) -> ColumnChange {
        let old = ColumnInfo::new(0, name, FieldType::bigint());
        let column = ColumnInfo::new(0, name, FieldType::varchar(10));
        ColumnChange { position, ..ColumnChange::of(&old, column) }
    }

    fn conversion(columns: Vec<ColumnChange>) -> Action {
        let how = Conversion { zone: "UTC".into(), today: "2020-01-01".into(), ..Conversion::default() };
        Action::ConvertColumns(Box::new(ConvertColumns { columns, how, added: Vec::new(), dropped: Vec::new() }))
    }

    /// The key space: rows by handle, and the entries of all indexes.
    #[derive(Default)]
    struct Storage {
        rows: BTreeMap<i64, Vec<u8>>,
        entries: BTreeMap<Vec<u8>, Vec<u8>>,
        /// What the rows mean: `a`; `b` is always the handle.
        model: BTreeMap<i64, i64>,
    }

    /// A value as its column has it.
    fn of_type(value: i64, column: &ColumnInfo) -> Datum {
        if column.field_type.tp.is_string() { Datum::string(value.to_string()) } else { Datum::Int(value) }
    }

    impl Storage {
        fn row(&self, table: &TableInfo, handle: i64) -> Option<Vec<Datum>> {
            self.rows.get(&handle).map(|bytes| row::full_decoder(table).decode(bytes, &Handle::Int(handle)).unwrap())
        }

        /// What a server with this schema does to a row.
        fn write(&mut self, table: &TableInfo, handle: i64, value: Option<i64>) {
            if table.writes_wait {
                return;
            }
            if let Some(old) = self.row(table, handle) {
                for (_, _, entry) in
                    row::entries(table, table.physical_id(), &row::as_converted(table, &old), &Handle::Int(handle))
                        .unwrap()
                {
                    self.entries.remove(&entry.key);
                }
            }
            self.rows.remove(&handle);
            self.model.remove(&handle);
            let Some(value) = value else { return };
            let mut new = vec![Datum::Null; table.columns.len()];
            for (name, value) in [("id", handle), ("a", value), ("b", handle)] {
                let column = table.column(name).unwrap();
                new[column.offset] = of_type(value, column);
            }
            let new = row::converted(table, &new, 1, &mut |_| {}).unwrap();
            for (_, how, entry) in row::entries(table, table.physical_id(), &new, &Handle::Int(handle)).unwrap() {
                if how == IndexMaintenance::Full {
                    self.entries.insert(entry.key, entry.value);
                }
            }
            self.rows.insert(handle, row::encode_row(table, &new).unwrap());
            self.model.insert(handle, value);
        }

        /// What the filling does to a row.
        fn fill(&mut self, table: &TableInfo, job: &Job, handle: i64) {
            let Some(stored) = self.row(table, handle) else { return };
            let row = row::converted(table, &stored, 1, &mut |_| {}).unwrap();
            self.rows.insert(handle, row::encode_row(table, &row).unwrap());
            for new in &job.filling().new_indexes {
                let index = table.indexes.iter().find(|index| index.id == new.id).unwrap();
                let entry = row::index_entry(table, table.physical_id(), index, &row, &Handle::Int(handle)).unwrap();
                self.entries.insert(entry.key, entry.value);
            }
        }

        /// A server with this schema sees what the rows mean, by the rows and by every index.
        fn check(&self, table: &TableInfo, what: &str) {
            let mut expected = BTreeMap::new();
            for (handle, value) in &self.model {
                let row = self.row(table, *handle).unwrap();
                for (name, value) in [("a", *value), ("b", *handle)] {
                    let column = table.column(name).unwrap();
                    assert_eq!(row[column.offset], of_type(value, column), "{what}: {name} of row {handle}");
                }
                for index in table.public_indexes() {
                    let entry =
                        row::index_entry(table, table.physical_id(), index, &row, &Handle::Int(*handle)).unwrap();
                    expected.insert(entry.key, entry.value);
                }
            }
            for index in table.public_indexes() {
                let (start, end) = codec::table::index_range(table.physical_id(), IndexId(index.id));
                let found: BTreeMap<_, _> = self.entries.range(start.clone()..end.clone()).collect();
                let expected: BTreeMap<_, _> = expected.range(start..end).collect();
                assert_eq!(found, expected, "{what}: index {}", index.name);
            }
        }
    }

    /// Two servers, never more than one version apart, write and read at random between the steps of a job.
    fn run(seed: u64, action: Action, parts: Vec<Action>, fail_at: Option<usize>) -> (TableInfo, Job) {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut storage, mut old) = (Storage::default(), table());
        let mut job = Job::new(action, Some((1, &"d".into())), Some((100, &"t".into())), "");
        job.parts = parts.into_iter().map(|part| job.part(part)).collect();
        job.state = JobState::Running;
        for _ in 0..20 {
            storage.write(&old, rng.random_range(0..HANDLES), Some(rng.random_range(0..5)));
        }
        for at in 0.. {
            assert!(at < 30, "seed {seed}: the job does not end");
            if fail_at == Some(at) && step::start_rollback(&mut job) {
                job.error = Some(JobError { code: 1264, message: String::new() });
            }
            let mut new = old.clone();
            let mut next = step::advance(&mut new, &mut job).unwrap();
            if next == Next::Fill {
                for handle in 0..HANDLES {
                    storage.fill(&old, &job, handle);
                    let value = rng.random_bool(0.7).then(|| rng.random_range(0..5));
                    storage.write(&old, rng.random_range(0..HANDLES), value);
                }
                job.filling_mut().reorg = Some(crate::job::Reorg { next: String::new() });
                next = match job.parts.is_empty() {
                    true => step::filled(&mut new, &mut job).unwrap(),
                    false => step::advance(&mut new, &mut job).unwrap(),
                };
            }
            for _ in 0..40 {
                let table = if rng.random_bool(0.5) { &old } else { &new };
                let value = rng.random_bool(0.7).then(|| rng.random_range(0..5));
                storage.write(table, rng.random_range(0..HANDLES), value);
                storage.check(&old, &format!("seed {seed}, before step {at}"));
                storage.check(&new, &format!("seed {seed}, after step {at}"));
            }
            old = new;
            if next == Next::Done {
                return (old, job);
            }
        }
        unreachable!()
    }

    #[test]
    fn columns_are_converted_under_writes_of_servers_one_version_apart() {
        for seed in 0..60 {
            let columns = vec![to_text("a", Some(Position::Last)), to_text("b", None)];
            let (table, job) = run(seed, conversion(columns), Vec::new(), None);
            let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names, ["id", "b", "a"]);
            assert!(!table.writes_wait);
            assert_eq!(table.indexes.iter().map(|index| index.name.as_str()).collect::<Vec<_>>(), ["k1", "k2"]);
            assert_eq!(job.unused_indexes, [1, 2]);
        }
    }

    #[test]
    fn a_conversion_that_fails_leaves_the_table_as_it_was() {
        for seed in 0..20 {
            for at in 1..5 {
                let (table, job) = run(seed, conversion(vec![to_text("a", None)]), Vec::new(), Some(at));
                let undone = job.state == JobState::Rollingback;
                assert_eq!(undone, table.column("a").unwrap().field_type == FieldType::bigint(), "failed at {at}");
                if undone {
                    assert_eq!((table.columns.len(), table.indexes.len()), (3, 2));
                }
            }
        }
    }

    #[test]
    fn several_changes_become_visible_together_and_are_undone_together() {
        let parts = || {
            let added = ColumnInfo::new(0, "c", FieldType::bigint());
            vec![
                Action::AddColumn { column: Box::new(added), position: Position::Last },
                conversion(vec![to_text("a", None)]),
                Action::DropIndex { name: "k2".into() },
            ]
        };
        let whole = || Action::Several { moves: vec![("c".into(), Position::First)] };
        for seed in 0..30 {
            let (table, job) = run(seed, whole(), parts(), None);
            let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names, ["c", "id", "a", "b"]);
            assert_eq!(table.indexes.len(), 1);
            assert_eq!(job.unused_indexes.len(), 2);
            for at in 1..7 {
                let (table, job) = run(seed, whole(), parts(), Some(at));
                if job.state == JobState::Rollingback {
                    assert_eq!((table.columns.len(), table.indexes.len()), (3, 2), "failed at {at}");
                }
            }
        }
        // A part that cannot be is found before anything is done.
        let mut job = Job::new(whole(), None, None, "");
        let drop = Action::DropColumn { name: "none".into() };
        job.parts = parts().into_iter().chain([drop]).map(|part| job.part(part)).collect();
        let mut table = table();
        assert_eq!(several::advance(&mut table, &mut job, &[]).unwrap_err().code().0, 1091);
        assert_eq!(table.columns.len(), 3);
    }
}
