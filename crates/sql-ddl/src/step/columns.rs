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
    index.name = Name::new(format!("_Idx$_{}_{}", index.name, index.id));
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
