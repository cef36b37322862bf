//! A schema change as it is stored: what is wanted, how far it is, how it ended.

use serde::{Deserialize, Serialize};
use sql_base::SqlError;
use sql_catalog::{ColumnInfo, DatabaseInfo, IndexInfo, Name, PlacementSettings, PolicyRef, SchemaState, TableInfo};

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Behind all others.
    Last,
    /// Ahead of all others.
    First,
    /// Behind this one.
    After(String),
}

/// What a schema change does. Names have been resolved and definitions checked against the schema that the statement
/// saw; a step checks again what may have changed since.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// CREATE DATABASE.
    CreateDatabase(DatabaseInfo),
    /// DROP DATABASE.
    DropDatabase,
    /// ALTER DATABASE: what is `Some` changes.
    AlterDatabase {
        /// Default character set and collation of tables to come.
        charset: Option<(String, String)>,
        /// Policy of tables to come; the inner `None` detaches.
        policy: Option<Option<PolicyRef>>,
    },
    /// CREATE TABLE.
    CreateTable(Box<TableInfo>),
    /// CREATE VIEW.
    CreateView {
        /// The view.
        view: Box<TableInfo>,
        /// OR REPLACE.
        or_replace: bool,
    },
    /// ALTER VIEW.
    AlterView(Box<TableInfo>),
    /// DROP VIEW.
    DropView,
    /// DROP TABLE.
    DropTable,
    /// TRUNCATE TABLE: the same definition under a new id.
    TruncateTable {
        /// The new id.
        new_id: i64,
    },
    /// RENAME TABLE, all at once: (database and table it is now, name and database it shall have).
    RenameTables(Vec<Rename>),
    /// ADD COLUMN. The id is given when the change starts.
    AddColumn {
        /// The column in its final form.
        column: Box<ColumnInfo>,
        /// Where.
        position: Position,
    },
    /// DROP COLUMN.
    DropColumn {
        /// Its name.
        name: String,
    },
    /// MODIFY, CHANGE and RENAME COLUMN, ALTER COLUMN SET DEFAULT.
    ModifyColumn {
        /// The name it has.
        name: String,
        /// The column in its new form.
        column: Box<ColumnInfo>,
        /// Where, if it moves.
        position: Option<Position>,
    },
    /// ADD INDEX, ADD PRIMARY KEY. The id is given when the change starts.
    AddIndex(Box<IndexInfo>),
    /// DROP INDEX, DROP PRIMARY KEY.
    DropIndex {
        /// Its name.
        name: String,
    },
    /// RENAME INDEX.
    RenameIndex {
        /// The name it has.
        name: String,
        /// The name it shall have.
        new: String,
    },
    /// ALTER INDEX VISIBLE | INVISIBLE.
    IndexVisibility {
        /// Its name.
        name: String,
        /// INVISIBLE.
        invisible: bool,
    },
    /// Table options: what is `Some` changes.
    TableOptions {
        /// COMMENT.
        comment: Option<String>,
        /// Default character set and collation of columns to come.
        charset: Option<(String, String)>,
        /// The least that AUTO_INCREMENT gives next.
        auto_increment: Option<i64>,
    },
    /// ALTER TABLE PLACEMENT POLICY; `None` detaches.
    TablePolicy(Option<PolicyRef>),
    /// CREATE PLACEMENT POLICY, and CREATE OR REPLACE of one that is there.
    CreatePolicy {
        /// Its name.
        name: String,
        /// What it says.
        settings: PlacementSettings,
        /// OR REPLACE.
        or_replace: bool,
    },
    /// ALTER PLACEMENT POLICY.
    AlterPolicy {
        /// Its name.
        name: String,
        /// What it says now.
        settings: PlacementSettings,
    },
    /// DROP PLACEMENT POLICY.
    DropPolicy {
        /// Its name.
        name: String,
    },
    /// ALTER RANGE PLACEMENT POLICY; `None` detaches.
    RangePolicy {
        /// `global` or `meta`.
        range: String,
        /// The policy.
        policy: Option<PolicyRef>,
    },
}

/// One table of a RENAME TABLE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename {
    /// The database it is in.
    pub from_database: i64,
    /// The table.
    pub table: i64,
    /// The database it goes to.
    pub to_database: i64,
    /// The name it gets.
    pub name: String,
}

impl Action {
    /// As ADMIN SHOW DDL JOBS names it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::CreateDatabase(_) => "create schema",
            Action::DropDatabase => "drop schema",
            Action::AlterDatabase { policy: Some(_), .. } => "alter schema default placement",
            Action::AlterDatabase { .. } => "modify schema charset and collate",
            Action::CreateTable(_) => "create table",
            Action::DropTable => "drop table",
            Action::CreateView { .. } => "create view",
            Action::AlterView(_) => "alter view",
            Action::DropView => "drop view",
            Action::TruncateTable { .. } => "truncate table",
            Action::RenameTables(renames) if renames.len() > 1 => "rename tables",
            Action::RenameTables(_) => "rename table",
            Action::AddColumn { .. } => "add column",
            Action::DropColumn { .. } => "drop column",
            Action::ModifyColumn { .. } => "modify column",
            Action::AddIndex(index) if index.primary => "add primary key",
            Action::AddIndex(_) => "add index",
            Action::DropIndex { name } if name.eq_ignore_ascii_case("primary") => "drop primary key",
            Action::DropIndex { .. } => "drop index",
            Action::RenameIndex { .. } => "rename index",
            Action::IndexVisibility { .. } => "alter index visibility",
            Action::TableOptions { auto_increment: Some(_), .. } => "rebase auto_increment ID",
            Action::TableOptions { charset: Some(_), .. } => "modify table charset and collate",
            Action::TableOptions { .. } => "modify table comment",
            Action::TablePolicy(_) => "alter table placement",
            Action::CreatePolicy { .. } => "create placement policy",
            Action::AlterPolicy { .. } => "alter placement policy",
            Action::DropPolicy { .. } => "drop placement policy",
            Action::RangePolicy { .. } => "alter range placement policy",
        }
    }

    /// True when a transaction that used the table before must not commit after.
    pub fn is_structural(&self) -> bool {
        !matches!(self, Action::TableOptions { .. } | Action::TablePolicy(_) | Action::IndexVisibility { .. })
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for those before it.
    Queueing,
    /// Under way.
    Running,
    /// What it did is being undone: it failed or was cancelled.
    Rollingback,
    /// Undone after a failure.
    RollbackDone,
    /// Done, and every server knows.
    Synced,
    /// Failed or cancelled before it did anything.
    Cancelled,
}

impl JobState {
    /// As ADMIN SHOW DDL JOBS prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queueing => "queueing",
            JobState::Running => "running",
            JobState::Rollingback => "rollingback",
            JobState::RollbackDone => "rollback done",
            JobState::Synced => "synced",
            JobState::Cancelled => "cancelled",
        }
    }

    /// True when nothing more will happen.
    pub fn is_finished(self) -> bool {
        matches!(self, JobState::RollbackDone | JobState::Synced | JobState::Cancelled)
    }
}

/// Why a job failed, for the statement that waits for it on whatever server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// MySQL's number.
    pub code: u16,
    /// The text.
    pub message: String,
}

impl From<&SqlError> for JobError {
    fn from(error: &SqlError) -> Self {
        JobError { code: error.code().0, message: error.to_string() }
    }
}

impl From<JobError> for SqlError {
    fn from(error: JobError) -> Self {
        SqlError::Remote { code: error.code, message: error.message }
    }
}

/// How far the filling of a new index is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reorg {
    /// The next row key to look at, in hexadecimal.
    pub next: String,
}

/// A schema change, in the queue and later in the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Jobs on one object run in this order.
    pub id: i64,
    /// What it does.
    pub action: Action,
    /// How far it is.
    pub state: JobState,
    /// The state of what it adds or removes.
    #[serde(default)]
    pub schema_state: SchemaState,
    /// The database that it changes or whose table it changes, 0 for none.
    #[serde(default)]
    pub schema_id: i64,
    /// The table, 0 for none.
    #[serde(default)]
    pub table_id: i64,
    /// The database's name when the job was made.
    #[serde(default)]
    pub schema_name: String,
    /// The table's name when the job was made.
    #[serde(default)]
    pub table_name: String,
    /// The statement.
    #[serde(default)]
    pub query: String,
    /// The column or index that it adds or removes, once it has an id.
    #[serde(default)]
    pub element_id: i64,
    /// Rows that the filling of an index has seen.
    #[serde(default)]
    pub row_count: i64,
    /// How far the filling of an index is.
    #[serde(default)]
    pub reorg: Option<Reorg>,
    /// Someone asked to cancel it.
    #[serde(default)]
    pub cancel: bool,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<JobError>,
    /// Steps that failed for a passing reason.
    #[serde(default)]
    pub retries: u32,
    /// The schema version of its last step.
    #[serde(default)]
    pub schema_version: i64,
    /// When it was made, a timestamp of the oracle.
    #[serde(default)]
    pub create_ts: u64,
    /// When its first step ran.
    #[serde(default)]
    pub start_ts: u64,
    /// When its last step ran.
    #[serde(default)]
    pub finish_ts: u64,
}

impl Job {
    /// A job that is not in the queue yet.
    pub fn new(action: Action, schema: Option<(i64, &Name)>, table: Option<(i64, &Name)>, query: &str) -> Self {
        Job {
            id: 0,
            action,
            state: JobState::Queueing,
            schema_state: SchemaState::None,
            schema_id: schema.map_or(0, |(id, _)| id),
            table_id: table.map_or(0, |(id, _)| id),
            schema_name: schema.map_or(String::new(), |(_, name)| name.original.clone()),
            table_name: table.map_or(String::new(), |(_, name)| name.original.clone()),
            query: query.to_owned(),
            element_id: 0,
            row_count: 0,
            reorg: None,
            cancel: false,
            error: None,
            retries: 0,
            schema_version: 0,
            create_ts: 0,
            start_ts: 0,
            finish_ts: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_survives_storage() {
        let mut job =
            Job::new(Action::TruncateTable { new_id: 7 }, Some((1, &"d".into())), Some((2, &"t".into())), "q");
        job.error = Some(JobError { code: 1062, message: "Duplicate entry".into() });
        job.reorg = Some(Reorg { next: "74".into() });
        let bytes = serde_json::to_vec(&job).unwrap();
        let back: Job = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(format!("{job:?}"), format!("{back:?}"));
        let error = SqlError::from(back.error.unwrap());
        assert_eq!(error.code(), (1062, "23000"));
    }
}
