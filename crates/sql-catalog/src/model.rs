//! What the catalogue stores: databases, tables, columns, indexes and placement policies.
//!
//! Each object is one JSON value under a meta key (see [`super::meta`]), with the field names and the numbers that
//! TiDB uses, so that a tool which reads one reads the other:
//!
//! ```text
//!   DBs          -> DB:2      {"id":2,"db_name":{"O":"shop","L":"shop"},"charset":"utf8mb4",..,"state":5}
//!   DB:2         -> Table:104 {"id":104,"name":{..},"cols":[..],"index_info":[..],"pk_is_handle":true,..}
//!   Policies     -> Policy:7  {"id":7,"name":{..},"primary_region":"eu-west-1",..,"state":5}
//! ```
//!
//! An object that a schema change is adding or removing is present in a state other than [`SchemaState::Public`]:
//! statements do not see it, writes may have to maintain it. Which of the two is asked here, in one place
//! ([`TableInfo::writable_columns`], [`TableInfo::maintained_indexes`]), and nowhere by comparing states.
//!
//! Not here: lookup by name (`schema`), storage (`meta`), how states follow each other (`sql-ddl`).

use std::fmt;

use codec::table::PhysicalTableId;
use codec::types::{FieldType, flags};
use serde::{Deserialize, Serialize};

pub use super::name::Name;
use super::view::ViewInfo;
use partition::{Division, PartitionInfo};

pub mod partition;

/// How far a schema change has brought an object. Servers may be one state apart, never two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum SchemaState {
    /// Not there.
    #[default]
    None,
    /// Writes remove its entries and add none; reads do not see it.
    DeleteOnly,
    /// Writes maintain it; reads do not see it.
    WriteOnly,
    /// As write-only, while rows from before the change are filled in.
    WriteReorg,
    /// As delete-only, while what is left of it is removed.
    DeleteReorg,
    /// There.
    Public,
}

impl From<SchemaState> for u8 {
    fn from(state: SchemaState) -> u8 {
        match state {
            SchemaState::None => 0,
            SchemaState::DeleteOnly => 1,
            SchemaState::WriteOnly => 2,
            SchemaState::WriteReorg => 3,
            SchemaState::DeleteReorg => 4,
            SchemaState::Public => 5,
        }
    }
}

impl TryFrom<u8> for SchemaState {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        Ok(match number {
            0 => SchemaState::None,
            1 => SchemaState::DeleteOnly,
            2 => SchemaState::WriteOnly,
            3 => SchemaState::WriteReorg,
            4 => SchemaState::DeleteReorg,
            5 => SchemaState::Public,
            other => return Err(format!("unknown schema state {other}")),
        })
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SchemaState::None => "none",
            SchemaState::DeleteOnly => "delete only",
            SchemaState::WriteOnly => "write only",
            SchemaState::WriteReorg => "write reorganization",
            SchemaState::DeleteReorg => "delete reorganization",
            SchemaState::Public => "public",
        })
    }
}

/// The policy that an object is attached to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The policy's id.
    pub id: i64,
    /// The policy's name.
    pub name: Name,
}

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseInfo {
    /// Unique over all databases and tables, never used again.
    pub id: i64,
    /// Its name.
    #[serde(rename = "db_name")]
    pub name: Name,
    /// Default character set of its tables.
    pub charset: String,
    /// Default collation of its tables.
    pub collate: String,
    /// How far its creation or removal is.
    #[serde(default)]
    pub state: SchemaState,
    /// The policy that tables created in it inherit.
    #[serde(rename = "policy_ref_info", default)]
    pub policy: Option<PolicyRef>,
}

/// What a column holds when an INSERT does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnDefault {
    /// No DEFAULT clause: NULL for a nullable column, error 1364 for the others (in strict mode).
    #[default]
    None,
    /// DEFAULT NULL.
    Null,
    /// A constant, already converted to the column's type and written as MySQL's text of it (BIT and binary strings:
    /// the bytes), a TIMESTAMP in UTC. To be converted back by the column's type.
    Constant(#[serde(with = "bytes_text")] Vec<u8>),
    /// CURRENT_TIMESTAMP, with the column's own fractional digits.
    CurrentTimestamp,
}

/// A column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Unique in its table, never used again: what rows store it under.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// Its place in [`TableInfo::columns`].
    pub offset: usize,
    /// Type, flags (NOT NULL, key, AUTO_INCREMENT..), lengths, collation, members.
    #[serde(rename = "type", with = "super::field_type")]
    pub field_type: FieldType,
    /// What an INSERT that does not name it stores.
    #[serde(default)]
    pub default: ColumnDefault,
    /// What a row holds that was written before the column was added, or by a server that does not know it yet.
    /// `None` reads as NULL; otherwise as in [`ColumnDefault::Constant`].
    #[serde(rename = "origin_default", with = "bytes_text::option", default)]
    pub origin_default: Option<Vec<u8>>,
    /// ON UPDATE CURRENT_TIMESTAMP.
    #[serde(default)]
    pub on_update_now: bool,
    /// It is computed from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Box<Generation>>,
    /// How far its addition or removal is.
    pub state: SchemaState,
    /// COMMENT.
    #[serde(default)]
    pub comment: String,
    /// It is to take the place of another column: writes compute it from that one ([`super::row::converted`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converts: Option<Box<Conversion>>,
}

/// How a generated column is computed: by whoever writes a row. What is VIRTUAL is kept in rows too, as STORED is, so that
/// who reads them need not know.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Generation {
    /// The expression, in the form that SHOW CREATE TABLE prints.
    pub expr: String,
    /// STORED, not VIRTUAL.
    pub stored: bool,
    /// The columns that it reads, each once.
    pub columns: Vec<Name>,
    /// The zone in which it is computed of rows that were there before it.
    #[serde(default)]
    pub zone: String,
}

/// How a column is computed from the one whose place it is to take: the same way by every server, whatever its sessions
/// have set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Conversion {
    /// The other column's id.
    pub from: i64,
    /// What errors call the column.
    pub name: String,
    /// NULL is no value of it. (The column itself takes NULL until it is in use.)
    pub not_null: bool,
    /// `sql_mode` of the statement that changes it.
    pub sql_mode: u64,
    /// That statement's time zone, by name or offset.
    pub zone: String,
    /// That statement's day, which a time of day takes in a DATETIME.
    pub today: String,
}

impl ColumnInfo {
    /// A public column at a place of a new table, with the next id there, and nothing but a name and a type.
    pub fn new(offset: usize, name: impl Into<Name>, field_type: FieldType) -> Self {
        ColumnInfo {
            id: offset as i64 + 1,
            name: name.into(),
            offset,
            field_type,
            default: ColumnDefault::None,
            origin_default: None,
            on_update_now: false,
            generated: None,
            state: SchemaState::Public,
            comment: String::new(),
            converts: None,
        }
    }

    /// True when it is computed from others.
    pub fn is_generated(&self) -> bool {
        self.generated.is_some()
    }

    /// Whether it is computed from this column, among others.
    pub fn reads(&self, column: &str) -> bool {
        self.generated.as_ref().is_some_and(|generation| generation.columns.iter().any(|name| name.matches(column)))
    }

    /// True when statements see it.
    pub fn is_public(&self) -> bool {
        self.state == SchemaState::Public
    }

    /// True when INSERT and UPDATE must store it, whether or not statements see it.
    pub fn is_writable(&self) -> bool {
        matches!(self.state, SchemaState::Public | SchemaState::WriteOnly | SchemaState::WriteReorg)
    }
}

/// A column of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// The column's name.
    pub name: Name,
    /// The column's place in [`TableInfo::columns`].
    pub offset: usize,
    /// Characters (bytes for binary strings) that the index keeps, `None` for the whole value.
    #[serde(default)]
    pub length: Option<u32>,
}

/// An index: the entries that map column values to rows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IndexInfo {
    /// Unique in its table, never used again.
    pub id: i64,
    /// Its name, `PRIMARY` for the primary key.
    #[serde(rename = "idx_name")]
    pub name: Name,
    /// Its columns in order.
    #[serde(rename = "idx_cols")]
    pub columns: Vec<IndexColumn>,
    /// Refuses duplicates (except of NULL).
    #[serde(rename = "is_unique")]
    pub unique: bool,
    /// Is the primary key, unless that is the number that rows are keyed by.
    #[serde(rename = "is_primary")]
    pub primary: bool,
    /// Not used by the optimizer.
    #[serde(rename = "is_invisible", default)]
    pub invisible: bool,
    /// How far its addition or removal is.
    pub state: SchemaState,
    /// COMMENT.
    #[serde(default)]
    pub comment: String,
}

/// A CHECK constraint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CheckInfo {
    /// Unique in its table, never used again.
    pub id: i64,
    /// Its name, unique in the database.
    #[serde(rename = "constraint_name")]
    pub name: Name,
    /// The columns that it names, each once.
    #[serde(rename = "constraint_cols")]
    pub columns: Vec<Name>,
    /// Rows keep it: it is not NOT ENFORCED.
    pub enforced: bool,
    /// It is to be enforced: writes keep it already, and the rows that are there are looked through.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// What must not be false, in the form that SHOW CREATE TABLE prints.
    #[serde(rename = "expr_string")]
    pub expr: String,
    /// How far its addition is.
    pub state: SchemaState,
}

impl CheckInfo {
    /// True when writes must keep it.
    pub fn is_kept(&self) -> bool {
        self.state != SchemaState::None && (self.enforced || self.pending)
    }

    /// Whether it names a column.
    pub fn uses(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name.matches(column))
    }
}

/// What a write must do for an index in its present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexMaintenance {
    /// Add entries of new rows, remove entries of old ones.
    Full,
    /// Remove entries of old rows, add none.
    DeleteOnly,
}

/// What begins the name of an index that is to take another's place, which follows, and its own id.
const NEW_INDEX: &str = "_Idx$_";

impl IndexInfo {
    /// The name of an index that is to take the place of this one, until it does.
    pub fn new_name(&self, id: i64) -> Name {
        Name::new(format!("{NEW_INDEX}{}_{id}", self.name))
    }

    /// What errors call it: one that is to take another's place has its name.
    pub fn shown_name(&self) -> &str {
        let name = self.name.as_str();
        match name.strip_prefix(NEW_INDEX).filter(|_| !self.is_public()).and_then(|rest| rest.rsplit_once('_')) {
            Some((shown, _)) => shown,
            None => name,
        }
    }

    /// True when statements may read it.
    pub fn is_public(&self) -> bool {
        self.state == SchemaState::Public
    }

    /// What writes must do for it, `None` when it does not concern them.
    pub fn maintenance(&self) -> Option<IndexMaintenance> {
        match self.state {
            SchemaState::Public | SchemaState::WriteOnly | SchemaState::WriteReorg => Some(IndexMaintenance::Full),
            SchemaState::DeleteOnly => Some(IndexMaintenance::DeleteOnly),
            SchemaState::None | SchemaState::DeleteReorg => None,
        }
    }
}

/// Where a table's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableKind {
    /// The key space.
    #[default]
    Base,
    /// The server computes them when they are read ([`crate::virtual_tables`]).
    Memory,
    /// The session that made the table keeps them to itself.
    Temporary,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// How long a handle may be that is a key: index keys of 3,072 bytes, encoded.
const KEY_HANDLE_BYTES_MAX: i32 = 4_096;

/// A table.
///
/// Rows are keyed by the primary key where it is CLUSTERED: by the number that it is when it is one integer column
/// (`pk_is_handle`), else by its columns (`is_common_handle`), which [`TableInfo::clustered_index`] tells and which has no
/// entries of its own. Otherwise they are keyed by a hidden number that the table's allocator gives, and the primary key is a
/// unique index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableInfo {
    /// Unique over all databases and tables, never used again. Keys of rows and index entries start with it.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// Default character set of its columns.
    pub charset: String,
    /// Default collation of its columns.
    pub collate: String,
    /// All columns, those being added or removed too, in the order of `offset`.
    #[serde(rename = "cols")]
    pub columns: Vec<ColumnInfo>,
    /// All indexes, those being added or removed too.
    #[serde(rename = "index_info", default)]
    pub indexes: Vec<IndexInfo>,
    /// All CHECK constraints, those being added too.
    #[serde(rename = "constraint_info", default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckInfo>,
    /// The last id given to one.
    #[serde(rename = "max_cst_id", default, skip_serializing_if = "is_zero")]
    pub max_check_id: i64,
    /// How far its creation or removal is.
    #[serde(default)]
    pub state: SchemaState,
    /// Rows are keyed by the one integer column of the primary key.
    pub pk_is_handle: bool,
    /// Rows are keyed by the columns of the primary key.
    #[serde(default)]
    pub is_common_handle: bool,
    /// COMMENT.
    #[serde(default)]
    pub comment: String,
    /// AUTO_INCREMENT=n as given at creation; what comes next is in the allocator's key.
    #[serde(rename = "auto_inc_id", default)]
    pub auto_inc_start: i64,
    /// AUTO_ID_CACHE: how many values a server takes at a time, 1 for each when it needs it; 0 is as the server thinks.
    #[serde(default)]
    pub auto_id_cache: i64,
    /// The last column id given.
    #[serde(rename = "max_col_id")]
    pub max_column_id: i64,
    /// The last index id given.
    #[serde(rename = "max_idx_id")]
    pub max_index_id: i64,
    /// The schema version of the last change to this table: a transaction that began under another one must not
    /// commit (8028).
    #[serde(default)]
    pub revision: i64,
    /// The database under whose key its allocators count: the one it was created in, wherever it is moved.
    #[serde(rename = "old_schema_id", default)]
    pub auto_id_schema_id: i64,
    /// When it was last changed (a timestamp of the oracle).
    #[serde(rename = "update_timestamp", default)]
    pub update_ts: u64,
    /// A change of columns is being switched to: reads see it, writes wait for the next version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writes_wait: bool,
    /// The policy that places its rows and indexes.
    #[serde(rename = "policy_ref_info", default)]
    pub policy: Option<PolicyRef>,
    /// Its rows are divided among partitions, each with an id of its own that its keys begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Box<PartitionInfo>>,
    /// What its keys begin with, if it has no partitions and that is not its id, because it had some once; else 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rows_at: i64,
    /// Another division of its rows, which is being made or left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<Box<Division>>,
    /// It is a view, and this is what it shows. The columns are then as they were when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<Box<ViewInfo>>,
    /// Where its rows come from.
    #[serde(skip)]
    pub kind: TableKind,
}

impl TableInfo {
    /// A public table that nobody has stored yet, with these columns, which have the first ids, and nothing else.
    pub fn new(id: i64, name: impl Into<Name>, columns: Vec<ColumnInfo>) -> Self {
        TableInfo {
            id,
            name: name.into(),
            charset: "utf8mb4".into(),
            collate: "utf8mb4_bin".into(),
            max_column_id: columns.len() as i64,
            columns,
            indexes: Vec::new(),
            checks: Vec::new(),
            max_check_id: 0,
            state: SchemaState::Public,
            pk_is_handle: false,
            is_common_handle: false,
            comment: String::new(),
            auto_inc_start: 0,
            max_index_id: 0,
            revision: 0,
            auto_id_schema_id: 0,
            update_ts: 0,
            writes_wait: false,
            auto_id_cache: 0,
            policy: None,
            partition: None,
            rows_at: 0,
            division: None,
            view: None,
            kind: TableKind::Base,
        }
    }

    /// True when it has rows of its own in the key space.
    pub fn is_base(&self) -> bool {
        self.view.is_none() && self.kind == TableKind::Base
    }

    /// `BASE TABLE`, `VIEW` or `SYSTEM VIEW`.
    pub fn type_name(&self) -> &'static str {
        match (self.kind, &self.view) {
            (TableKind::Memory, _) => "SYSTEM VIEW",
            (TableKind::Base, Some(_)) => "VIEW",
            (TableKind::Base, None) => "BASE TABLE",
            (TableKind::Temporary, _) => "TEMPORARY",
        }
    }

    /// The columns that statements see, in order.
    pub fn public_columns(&self) -> impl Iterator<Item = &ColumnInfo> {
        self.columns.iter().filter(|column| column.is_public())
    }

    /// The columns that INSERT and UPDATE store: the public ones and those being added (with their default) or removed.
    pub fn writable_columns(&self) -> impl Iterator<Item = &ColumnInfo> {
        self.columns.iter().filter(|column| column.is_writable())
    }

    /// The indexes that statements may read.
    pub fn public_indexes(&self) -> impl Iterator<Item = &IndexInfo> {
        self.indexes.iter().filter(|index| index.is_public())
    }

    /// The CHECK constraints that statements see, in order.
    pub fn public_checks(&self) -> impl Iterator<Item = &CheckInfo> {
        self.checks.iter().filter(|check| check.state == SchemaState::Public)
    }

    /// One of them, by name.
    pub fn check(&self, name: &str) -> Option<&CheckInfo> {
        self.public_checks().find(|check| check.name.matches(name))
    }

    /// The next name of a CHECK constraint that was given none: `t_chk_1`, `t_chk_2`, …
    pub fn next_check_name(&self) -> String {
        let base = generated_check_base(&self.name);
        let number = |check: &CheckInfo| check.name.lower.strip_prefix(&base.to_lowercase())?.parse::<u64>().ok();
        let last = self.checks.iter().filter_map(number).max().unwrap_or(0);
        format!("{base}{}", last + 1)
    }

    /// Gives the table another name, and the CHECK constraints that are named after it.
    pub fn rename(&mut self, name: Name) {
        let old = generated_check_base(&self.name).to_lowercase();
        for check in &mut self.checks {
            if let Some(number) = check.name.lower.strip_prefix(&old).filter(|n| n.parse::<u64>().is_ok()) {
                check.name = Name::new(format!("{}{number}", generated_check_base(&name)));
            }
        }
        self.name = name;
    }

    /// The indexes that have entries beside the rows, in any state.
    pub fn indexes_with_entries(&self) -> impl Iterator<Item = &IndexInfo> {
        self.indexes.iter().filter(|index| !self.is_clustered_by(index))
    }

    /// The indexes that writes must keep in step, and how.
    pub fn maintained_indexes(&self) -> impl Iterator<Item = (&IndexInfo, IndexMaintenance)> {
        self.indexes_with_entries().filter_map(|index| index.maintenance().map(|how| (index, how)))
    }

    /// The generated columns that writes compute, in the order in which they can be: each reads only older ones.
    pub fn computed_columns<'t>(&'t self) -> Vec<(&'t ColumnInfo, &'t Generation)> {
        let of = |column: &'t ColumnInfo| Some((column, &**column.generated.as_ref()?));
        let mut columns: Vec<_> = self.writable_columns().filter_map(of).collect();
        columns.sort_by_key(|(column, _)| column.id);
        columns
    }

    /// Whether writes have to compute columns or to keep constraints.
    pub fn defines_over_columns(&self) -> bool {
        !self.checks.is_empty() || self.columns.iter().any(ColumnInfo::is_generated)
    }

    /// A column that statements see, by name.
    pub fn column(&self, name: &str) -> Option<&ColumnInfo> {
        self.public_columns().find(|column| column.name.matches(name))
    }

    /// A column in any state, by name.
    pub fn any_column(&self, name: &str) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.name.matches(name))
    }

    /// An index that statements may read, by name.
    pub fn index(&self, name: &str) -> Option<&IndexInfo> {
        self.public_indexes().find(|index| index.name.matches(name))
    }

    /// An index in any state, by name.
    pub fn any_index(&self, name: &str) -> Option<&IndexInfo> {
        self.indexes.iter().find(|index| index.name.matches(name))
    }

    /// The column whose value is the row's key, when there is one.
    pub fn handle_column(&self) -> Option<&ColumnInfo> {
        if !self.pk_is_handle {
            return None;
        }
        self.columns.iter().find(|column| column.field_type.has(flags::PRI_KEY))
    }

    /// What its keys begin with, where it is not partitioned; of one that is, its ranges hold nothing
    /// ([`TableInfo::physical_ids`]).
    pub fn physical_id(&self) -> PhysicalTableId {
        PhysicalTableId(if self.rows_at == 0 { self.id } else { self.rows_at })
    }

    /// Whether rows are keyed by the primary key.
    pub fn is_clustered(&self) -> bool {
        self.pk_is_handle || self.is_common_handle
    }

    /// The index whose entries are the rows: the primary key's, where it is more than an integer column.
    pub fn clustered_index(&self) -> Option<&IndexInfo> {
        self.primary_index().filter(|_| self.is_common_handle)
    }

    /// Whether the rows are the entries of this index.
    pub fn is_clustered_by(&self, index: &IndexInfo) -> bool {
        self.is_common_handle && index.primary
    }

    /// The type of the column that holds a row's handle.
    pub fn handle_type(&self) -> FieldType {
        match self.is_common_handle {
            true => FieldType::varbinary(KEY_HANDLE_BYTES_MAX),
            false => FieldType::bigint(),
        }
    }

    /// Whether whole values of the column, by its offset, are in the key of every row, and so in all index entries.
    pub fn is_in_row_key(&self, offset: usize) -> bool {
        self.handle_column().is_some_and(|column| column.offset == offset)
            || self
                .clustered_index()
                .is_some_and(|index| index.columns.iter().any(|part| part.offset == offset && part.length.is_none()))
    }

    /// Whether an index is there by this name, the primary key's too, for statements that only name it.
    pub fn has_key(&self, name: &str) -> bool {
        self.index(name).is_some() || (self.pk_is_handle && name.eq_ignore_ascii_case("primary"))
    }

    /// The primary key's index, when the rows are not keyed by a number that it is.
    pub fn primary_index(&self) -> Option<&IndexInfo> {
        let primary = |index: &&IndexInfo| index.primary;
        self.public_indexes().find(primary).or_else(|| self.indexes.iter().find(primary))
    }

    /// The names of the primary key's columns in order, empty without one.
    pub fn primary_key(&self) -> Vec<&ColumnInfo> {
        match (self.handle_column(), self.primary_index()) {
            (Some(column), _) => vec![column],
            (None, Some(index)) if index.is_public() => {
                index.columns.iter().filter_map(|column| self.columns.get(column.offset)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The AUTO_INCREMENT column, when there is one.
    pub fn auto_increment_column(&self) -> Option<&ColumnInfo> {
        self.columns.iter().find(|column| column.field_type.has(flags::AUTO_INCREMENT))
    }

    /// Makes every `offset` the column's place again, after columns were added, removed or moved.
    pub fn renumber(&mut self) {
        for (offset, column) in self.columns.iter_mut().enumerate() {
            column.offset = offset;
        }
        for index in &mut self.indexes {
            for part in &mut index.columns {
                if let Some(column) = self.columns.iter().find(|column| column.name == part.name) {
                    part.offset = column.offset;
                }
            }
        }
    }
}

/// What the names of CHECK constraints begin with that were given none.
fn generated_check_base(table: &Name) -> String {
    format!("{table}_chk_")
}

/// What a placement policy says, as the user wrote it; `sql-ddl` gives it meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementSettings {
    /// PRIMARY_REGION.
    pub primary_region: String,
    /// REGIONS, separated by commas.
    pub regions: String,
    /// LEARNERS, 0 when not given.
    pub learners: u64,
    /// FOLLOWERS, 0 when not given.
    pub followers: u64,
    /// VOTERS, 0 when not given.
    pub voters: u64,
    /// SCHEDULE.
    pub schedule: String,
    /// CONSTRAINTS.
    pub constraints: String,
    /// LEADER_CONSTRAINTS.
    pub leader_constraints: String,
    /// LEARNER_CONSTRAINTS.
    pub learner_constraints: String,
    /// FOLLOWER_CONSTRAINTS.
    pub follower_constraints: String,
    /// VOTER_CONSTRAINTS.
    pub voter_constraints: String,
    /// SURVIVAL_PREFERENCES.
    pub survival_preferences: String,
}

/// A placement policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Unique over all policies, never used again.
    pub id: i64,
    /// Its name.
    pub name: Name,
    /// How far its creation or removal is.
    pub state: SchemaState,
    /// What it says.
    #[serde(flatten)]
    pub settings: PlacementSettings,
}

/// Bytes as JSON: text where they are UTF-8 (every default but that of a binary column), otherwise `{"hex": ".."}`.
mod bytes_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Hex { hex: String },
    }

    fn to_form(bytes: &[u8]) -> Form {
        match std::str::from_utf8(bytes) {
            Ok(text) => Form::Text(text.to_owned()),
            Err(_) => Form::Hex { hex: sql_base::hex(bytes) },
        }
    }

    fn from_form<E: Error>(form: Form) -> Result<Vec<u8>, E> {
        match form {
            Form::Text(text) => Ok(text.into_bytes()),
            Form::Hex { hex } => sql_base::unhex(&hex).ok_or_else(|| E::custom("not hexadecimal")),
        }
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        to_form(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        from_form(Form::deserialize(deserializer)?)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Form, Serialize, Serializer, from_form, to_form};

        pub(in super::super) fn serialize<S: Serializer>(
            bytes: &Option<Vec<u8>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            bytes.as_deref().map(to_form).serialize(serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Vec<u8>>, D::Error> {
            Option::<Form>::deserialize(deserializer)?.map(from_form).transpose()
        }
    }
}
