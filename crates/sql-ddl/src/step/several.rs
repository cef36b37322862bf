//! Several changes of a table in one statement: all of them, or none.
//!
//! First what nobody sees is made ready, one part after the other: columns are added and indexes and converted columns
//! filled, up to the step before they are seen. A failure until then undoes them, and the table is as it was. Then one step
//! takes every part on, so that all become visible with one version of the schema; what is left (removing what is dropped)
//! goes on from there, side by side, and cannot fail.
//!
//! Each part takes the steps that it takes alone, so its neighbouring states go together; parts of different columns and
//! indexes do not concern each other. Where two do, the order does it: indexes come after the columns that are added, and a
//! column goes after its indexes. Combinations beyond that are refused before there is a job.

use sql_base::SqlError;
use sql_catalog::{SchemaState, TableInfo};

use super::{Next, build, filled, place};
use crate::job::{Action, Job, JobState, Position};

/// Takes the next step.
pub(super) fn advance(table: &mut TableInfo, job: &mut Job, moves: &[(String, Position)]) -> Result<Next, SqlError> {
    match job.schema_state {
        SchemaState::None => {
            // What others have changed since the statement looked is found out before anything is done.
            let mut trial = table.clone();
            let mut parts = job.parts.clone();
            parts.iter_mut().try_for_each(|part| to_the_end(&mut trial, part))?;
        }
        SchemaState::Public => return go_on(table, job),
        _ => {}
    }
    if let Some(part) = job.parts.iter_mut().find(|part| !is_ready(part)) {
        job.schema_state = SchemaState::WriteReorg;
        return super::advance(table, part);
    }
    job.schema_state = SchemaState::Public;
    let next = go_on(table, job)?;
    for (name, position) in moves {
        if let Some(id) = table.column(name).map(|column| column.id) {
            place(table, id, position);
        }
    }
    build::remark_keys(table);
    Ok(next)
}

/// Undoes the last part that is not undone.
pub(super) fn roll_back(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    let begun = |part: &&mut Job| part.schema_state != SchemaState::None;
    if let Some(part) = job.parts.iter_mut().rev().find(begun) {
        part.state = JobState::Rollingback;
        super::advance(table, part)?;
    }
    if job.parts.iter_mut().any(|part| begun(&part)) {
        return Ok(Next::Step);
    }
    job.unused_indexes = job.parts.iter().flat_map(|part| part.unused_indexes.clone()).collect();
    job.schema_state = SchemaState::None;
    Ok(Next::Done)
}

/// Takes all steps of one change.
pub(crate) fn to_the_end(table: &mut TableInfo, job: &mut Job) -> Result<(), SqlError> {
    if matches!(job.action, Action::RenameTables(_)) {
        return Ok(());
    }
    loop {
        let next = match super::advance(table, job)? {
            Next::Fill => filled(table, job)?,
            next => next,
        };
        if next == Next::Done {
            return Ok(());
        }
    }
}

/// Whether the next step of a part is the one that shows it.
fn is_ready(part: &Job) -> bool {
    match part.action {
        Action::AddColumn { ref column, .. } if !column.is_generated() => part.schema_state == SchemaState::WriteOnly,
        Action::AddColumn { .. } | Action::AddIndex(_) | Action::ConvertColumns(_) => {
            part.schema_state == SchemaState::WriteReorg && part.is_filled()
        }
        _ if part.action.looks_through().is_some() => part.schema_state == SchemaState::WriteReorg && part.is_filled(),
        _ => true,
    }
}

/// One step of every part that is not done.
fn go_on(table: &mut TableInfo, job: &mut Job) -> Result<Next, SqlError> {
    for part in job.parts.iter_mut().filter(|part| part.state != JobState::Synced) {
        let next = match part.action {
            // The table is renamed where tables are kept.
            Action::RenameTables(_) => Next::Done,
            _ => match super::advance(table, part)? {
                Next::Fill => filled(table, part)?,
                next => next,
            },
        };
        if next == Next::Done {
            part.state = JobState::Synced;
            job.unused_indexes.append(&mut part.unused_indexes);
        }
    }
    let done = job.parts.iter().all(|part| part.state == JobState::Synced);
    Ok(if done { Next::Done } else { Next::Step })
}
