//! A schema change as it is stored: what is wanted, how far it is, how it ended.

use codec::types::flags;
use serde::{Deserialize, Serialize};
use sql_base::SqlError;
use sql_catalog::partition::Division;
use sql_catalog::{
    CheckInfo, ColumnInfo, Conversion, DatabaseInfo, IndexInfo, Name, Partition, PlacementSettings, PolicyRef,
    SchemaState, TableInfo,
};

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

/// What becomes of the policy of a database. An `Option` in another would not do: in JSON, both `None`s are `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// It has none.
    Detach,
    /// It has this one.
    Attach(PolicyRef),
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
        /// Policy of tables to come.
        policy: Option<PolicyChange>,
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
    /// RECOVER TABLE, FLASHBACK TABLE: the table of a dropped range is there again.
    RecoverTable {
        /// The range.
        range: i64,
        /// The table's name from now on.
        name: String,
    },
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
    /// MODIFY, CHANGE and RENAME COLUMN, ALTER COLUMN SET DEFAULT, where rows read the same afterwards.
    ModifyColumn(ColumnChange),
    /// MODIFY and CHANGE COLUMN, CONVERT TO CHARACTER SET, where values must be converted.
    ConvertColumns(Box<ConvertColumns>),
    /// Several changes of one table, which become visible together: they are in the job's parts. Columns that get a place of
    /// their own move in this order when all is there.
    Several {
        /// Names that columns have afterwards, and places.
        moves: Vec<(String, Position)>,
    },
    /// ADD INDEX, ADD PRIMARY KEY. The id is given when the change starts.
    AddIndex(Box<IndexInfo>),
    /// DROP INDEX, DROP PRIMARY KEY.
    DropIndex {
        /// Its name.
        name: String,
    },
    /// ADD CHECK. The id is given when the change starts.
    AddCheck {
        /// The constraint.
        check: Box<CheckInfo>,
        /// The zone in which rows that are there are looked through.
        zone: String,
    },
    /// DROP CHECK.
    DropCheck {
        /// Its name.
        name: String,
    },
    /// ALTER CHECK … [NOT] ENFORCED.
    EnforceCheck {
        /// Its name.
        name: String,
        /// Not NOT ENFORCED.
        enforced: bool,
        /// As of [`Action::AddCheck`].
        zone: String,
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
        /// AUTO_ID_CACHE.
        #[serde(default)]
        auto_id_cache: Option<i64>,
    },
    /// ADD PARTITION of RANGE and LIST. Ids are given when the change starts, as those of all partitions.
    AddPartitions(Vec<Partition>),
    /// DROP PARTITION.
    DropPartitions(Vec<String>),
    /// TRUNCATE PARTITION: the same partitions under new ids.
    TruncatePartitions {
        /// Their names.
        names: Vec<String>,
        /// The new ids.
        ids: Vec<i64>,
    },
    /// ALTER TABLE PARTITION PLACEMENT POLICY; `None` leaves it to the table's.
    PartitionPolicy {
        /// The partition's name.
        name: String,
        /// The policy.
        policy: Option<PolicyRef>,
    },
    /// PARTITION BY, REMOVE PARTITIONING, COALESCE and REORGANIZE PARTITION, ADD PARTITION of HASH and KEY: rows move into
    /// another division of the table.
    Divide(Box<Division>),
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

/// A column's new definition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ColumnChange {
    /// The name it has.
    pub name: String,
    /// The column in its new form.
    pub column: Box<ColumnInfo>,
    /// Where, if it moves.
    pub position: Option<Position>,
}

impl ColumnChange {
    /// A column that becomes another, where it is.
    pub fn of(old: &ColumnInfo, new: ColumnInfo) -> Self {
        ColumnChange { name: old.name.original.clone(), column: Box::new(new), position: None }
    }

    fn gives_auto_increment(&self) -> bool {
        self.column.field_type.has(flags::AUTO_INCREMENT)
    }
}

/// Columns whose values are converted, all in one pass over the rows, and what becomes of indexes with them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConvertColumns {
    /// The columns.
    pub columns: Vec<ColumnChange>,
    /// How values are converted; the columns' ids and names are not in it.
    pub how: Conversion,
    /// Indexes with such a column that the same statement adds, named and defined as they are to be.
    pub added: Vec<IndexInfo>,
    /// Indexes with such a column that the same statement drops, in lower case.
    pub dropped: Vec<String>,
}

/// An index that is being built beside the one whose place it is to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewIndex {
    /// Its id.
    pub id: i64,
    /// The other's, `None` for an index that is added.
    pub replaces: Option<i64>,
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
            Action::RecoverTable { .. } => "recover table",
            Action::TruncateTable { .. } => "truncate table",
            Action::RenameTables(renames) if renames.len() > 1 => "rename tables",
            Action::RenameTables(_) => "rename table",
            Action::AddColumn { .. } => "add column",
            Action::DropColumn { .. } => "drop column",
            Action::ModifyColumn(_) | Action::ConvertColumns(_) => "modify column",
            Action::Several { .. } => "alter table multi-schema change",
            Action::AddIndex(index) if index.primary => "add primary key",
            Action::AddIndex(_) => "add index",
            Action::DropIndex { name } if name.eq_ignore_ascii_case("primary") => "drop primary key",
            Action::DropIndex { .. } => "drop index",
            Action::AddCheck { .. } => "add check constraint",
            Action::DropCheck { .. } => "drop check constraint",
            Action::EnforceCheck { .. } => "alter check constraint",
            Action::RenameIndex { .. } => "rename index",
            Action::IndexVisibility { .. } => "alter index visibility",
            Action::TableOptions { auto_increment: Some(_), .. } => "rebase auto_increment ID",
            Action::TableOptions { charset: Some(_), .. } => "modify table charset and collate",
            Action::TableOptions { .. } => "modify table comment",
            Action::AddPartitions(_) => "add partition",
            Action::DropPartitions(_) => "drop partition",
            Action::TruncatePartitions { .. } => "truncate partition",
            Action::PartitionPolicy { .. } => "alter table partition placement",
            Action::Divide(division) if division.partition.is_none() => "remove partitioning",
            Action::Divide(_) => "reorganize partition",
            Action::TablePolicy(_) => "alter table placement",
            Action::CreatePolicy { .. } => "create placement policy",
            Action::AlterPolicy { .. } => "alter placement policy",
            Action::DropPolicy { .. } => "drop placement policy",
            Action::RangePolicy { .. } => "alter range placement policy",
        }
    }

    /// True when it may make a column an AUTO_INCREMENT one.
    pub fn gives_auto_increment(&self) -> bool {
        match self {
            Action::ModifyColumn(change) => change.gives_auto_increment(),
            Action::ConvertColumns(convert) => convert.columns.iter().any(ColumnChange::gives_auto_increment),
            _ => false,
        }
    }

    /// The zone in which it looks through the rows that are there, if it does.
    pub fn looks_through(&self) -> Option<&str> {
        match self {
            Action::AddCheck { check, zone } if check.enforced => Some(zone),
            Action::EnforceCheck { enforced: true, zone, .. } => Some(zone),
            _ => None,
        }
    }

    /// True when a transaction that used the table before must not commit after.
    pub fn is_structural(&self) -> bool {
        !matches!(
            self,
            Action::TableOptions { .. }
                | Action::TablePolicy(_)
                | Action::PartitionPolicy { .. }
                | Action::IndexVisibility { .. }
        )
    }

    /// True when it changes the partitions of a table, or where they are.
    pub fn is_of_partitions(&self) -> bool {
        matches!(
            self,
            Action::AddPartitions(_)
                | Action::DropPartitions(_)
                | Action::TruncatePartitions { .. }
                | Action::PartitionPolicy { .. }
                | Action::Divide(_)
        )
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

/// How far the filling of new indexes and columns is.
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
    /// The column, index or constraint that it adds or removes, once it has an id.
    #[serde(default)]
    pub element_id: i64,
    /// Rows that the filling of an index has seen.
    #[serde(default)]
    pub row_count: i64,
    /// How far the filling is.
    #[serde(default)]
    pub reorg: Option<Reorg>,
    /// Columns that take others' places, in the order in which the action names those.
    #[serde(default)]
    pub new_columns: Vec<i64>,
    /// Indexes that take others' places, or are added with converted columns.
    #[serde(default)]
    pub new_indexes: Vec<NewIndex>,
    /// Indexes that are no longer used: their entries go when the job is over.
    #[serde(default)]
    pub unused_indexes: Vec<i64>,
    /// Indexes and constraints that other changes of the same statement drop, in lower case: their names are free.
    #[serde(default)]
    pub freed_names: Vec<String>,
    /// The changes of [`Action::Several`], each with its own state.
    #[serde(default)]
    pub parts: Vec<Job>,
    /// What SHOW WARNINGS is to tell of converted rows, the first of them.
    #[serde(default)]
    pub warnings: Vec<JobError>,
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
            new_columns: Vec::new(),
            new_indexes: Vec::new(),
            unused_indexes: Vec::new(),
            freed_names: Vec::new(),
            parts: Vec::new(),
            warnings: Vec::new(),
            cancel: false,
            error: None,
            retries: 0,
            schema_version: 0,
            create_ts: 0,
            start_ts: 0,
            finish_ts: 0,
        }
    }

    /// A change that is a part of this one.
    pub fn part(&self, action: Action) -> Job {
        let mut part = Job::new(action, None, None, "");
        (part.schema_id, part.table_id) = (self.schema_id, self.table_id);
        (part.schema_name, part.table_name) = (self.schema_name.clone(), self.table_name.clone());
        part.state = JobState::Running;
        part
    }

    /// The change that fills: this one, or the part whose turn it is.
    pub fn filling(&self) -> &Job {
        self.parts.iter().find(|part| part.is_to_be_filled()).unwrap_or(self)
    }

    /// As [`Job::filling`].
    pub fn filling_mut(&mut self) -> &mut Job {
        match self.parts.iter().position(Job::is_to_be_filled) {
            Some(at) => &mut self.parts[at],
            None => self,
        }
    }

    /// Rows that its filling has seen.
    pub fn rows(&self) -> i64 {
        self.row_count + self.parts.iter().map(Job::rows).sum::<i64>()
    }

    /// The job and its parts as ADMIN SHOW DDL JOBS lists them, each with its kind.
    pub fn listed(self) -> Vec<(Job, String)> {
        let parts = self.parts.iter().map(|part| {
            let of_whole = Job { id: self.id, create_ts: self.create_ts, start_ts: self.start_ts, ..part.clone() };
            (Job { finish_ts: self.finish_ts, ..of_whole }, format!("{} /* subjob */", part.action.name()))
        });
        let parts: Vec<_> = parts.collect();
        let kind = self.action.name().to_owned();
        std::iter::once((self, kind)).chain(parts).collect()
    }

    /// All changes: those of its parts, or its own.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        let own = self.parts.is_empty().then_some(&self.action);
        own.into_iter().chain(self.parts.iter().map(|part| &part.action))
    }

    /// What it fills is filled.
    pub fn is_filled(&self) -> bool {
        self.reorg.as_ref().is_some_and(|reorg| reorg.next.is_empty())
    }

    fn is_to_be_filled(&self) -> bool {
        self.schema_state == SchemaState::WriteReorg && !self.is_filled()
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
