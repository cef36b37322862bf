//! What a parsed statement is, in MySQL's terms.
//!
//! | | |
//! |---|---|
//! | here | statements: names are unquoted, options are sorted into fields |
//! | [`Query`], [`Insert`], [`Update`], [`Delete`] | queries and changes of rows |
//! | [`Expr`] | expressions |
//! | [`CastType`] | types of casts |
//! | [`Name`], [`Ident`], [`Place`] | names, with where they stand |
//!
//! Nothing here needs the grammar again, and nothing is here that the server does not do: what the grammar takes beside
//! MySQL's, or what is not done, is refused by name before a tree is made of it (`grammar`). Statements that are only named
//! in a refusal are [`Statement::Unsupported`].
//!
//! A select item without alias has the text that it was written as for its alias, unless it has a name of its own.

mod display;
mod expr;
mod names;
mod partitions;
mod query;
mod types;

pub use expr::*;
pub use names::{Ident, Name, Place};
pub use partitions::*;
pub use query::*;
pub use types::CastType;

/// One statement, ready to be executed.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `SELECT`, `VALUES`, `TABLE`, `WITH … SELECT`, set operations; with `FOR UPDATE`/`FOR SHARE` inside.
    Query(Box<Query>),
    /// `SELECT … INTO @a, …`.
    SelectInto {
        /// Without that clause, a [`Statement::Query`].
        query: Box<Statement>,
        /// Names without `@`, lower case.
        variables: Vec<String>,
    },
    /// `INSERT` and `REPLACE`.
    Insert(Box<Insert>),
    /// `UPDATE`.
    Update(Box<Update>),
    /// `DELETE`.
    Delete(Box<Delete>),
    /// `CREATE`, `ALTER`, `DROP`, `TRUNCATE`, `RENAME`: commits implicitly.
    Ddl(Ddl),
    /// `SHOW …`.
    Show(Show),
    /// `EXPLAIN`/`DESCRIBE`/`DESC` of a statement.
    Explain(Explain),
    /// `EXPLAIN [FORMAT = …] FOR CONNECTION id`.
    ExplainConnection {
        /// Connection id.
        id: u64,
        /// `FORMAT`, lower case.
        format: Option<String>,
    },
    /// `EXPLAIN`/`DESCRIBE`/`DESC` of a table: the same rows as `SHOW COLUMNS`.
    Describe {
        /// The table.
        table: TableName,
        /// One column, or a pattern.
        column: Option<String>,
    },
    /// `SET …`, in order.
    Set(Vec<SetItem>),
    /// `USE db`.
    Use(String),
    /// `BEGIN`, `START TRANSACTION …`.
    Begin(Begin),
    /// `COMMIT [AND [NO] CHAIN] [[NO] RELEASE]`.
    Commit(Completion),
    /// `ROLLBACK …`.
    Rollback(Completion),
    /// `SAVEPOINT name`.
    Savepoint(String),
    /// `ROLLBACK TO [SAVEPOINT] name`.
    RollbackTo(String),
    /// `RELEASE SAVEPOINT name`.
    ReleaseSavepoint(String),
    /// `PREPARE name FROM …`.
    Prepare {
        /// Statement name.
        name: String,
        /// Text or user variable.
        source: PrepareSource,
    },
    /// `EXECUTE name [USING @a, …]`.
    Execute {
        /// Statement name.
        name: String,
        /// Names of user variables, without `@`, lower case.
        using: Vec<String>,
    },
    /// `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
    Deallocate(String),
    /// `ADMIN …`.
    Admin(Admin),
    /// `KILL [TIDB] [CONNECTION | QUERY] id`.
    Kill {
        /// Connection id.
        id: u64,
        /// Only what it runs now, not the connection.
        query_only: bool,
    },
    /// `FLUSH …`: the named things, upper case (`PRIVILEGES`, `STATUS`, `TABLES`, …).
    Flush(Vec<String>),
    /// `LOCK TABLES …`.
    LockTables(Vec<TableName>),
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `ANALYZE TABLE …`.
    AnalyzeTable(AnalyzeTable),
    /// `DROP STATS t, …`.
    DropStats(Vec<TableName>),
    /// `CHECK TABLE`, `CHECKSUM TABLE`, `OPTIMIZE TABLE`, `REPAIR TABLE`.
    MaintainTable {
        /// `check`, `checksum`, `optimize` or `repair`.
        op: &'static str,
        /// The tables.
        tables: Vec<TableName>,
    },
    /// `SPLIT TABLE … BETWEEN … REGIONS n` or `BY (…), …`.
    SplitTable(SplitTable),
    /// `LOAD DATA …`.
    LoadData(Box<LoadData>),
    /// `DO expr, …`.
    Do(Vec<Expr>),
    /// `CREATE`, `ALTER` or `DROP USER`, `GRANT`, `REVOKE`, … : understood far enough to be refused by name.
    Unsupported(String),
}

/// `ANALYZE TABLE …`.
#[derive(Debug, Clone, PartialEq)]
pub struct AnalyzeTable {
    /// The tables.
    pub tables: Vec<TableName>,
    /// Which columns.
    pub columns: AnalyzeColumns,
    /// `INDEX`: these, or all when none is named.
    pub indexes: Option<Vec<String>>,
    /// `WITH value option, …`, as written.
    pub options: Vec<(AnalyzeOption, f64)>,
}

/// Which columns `ANALYZE TABLE` looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalyzeColumns {
    /// Not said.
    Unsaid,
    /// `ALL COLUMNS`.
    All,
    /// `PREDICATE COLUMNS`.
    Predicate,
    /// `COLUMNS c, …`.
    Named(Vec<String>),
}

/// What `ANALYZE TABLE … WITH` sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnalyzeOption {
    /// Buckets of a histogram.
    Buckets,
    /// Frequent values.
    TopN,
    /// Rows in the sample.
    Samples,
    /// The part of the rows in the sample.
    SampleRate,
    /// Of the count-min sketch that statistics of version 1 had.
    SketchDepth,
    /// As above.
    SketchWidth,
}

/// `[db.]name`, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// Database, when it was named.
    pub database: Option<String>,
    /// Table.
    pub name: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.database {
            Some(db) => write!(f, "{db}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A table that was dropped, or emptied by TRUNCATE.
#[derive(Debug, Clone, PartialEq)]
pub enum Dropped {
    /// The last of this name.
    Table(TableName),
    /// The one that this job dropped.
    ByJob(u64),
}

/// Definitions.
#[derive(Debug, Clone, PartialEq)]
pub enum Ddl {
    /// `CREATE DATABASE`.
    CreateDatabase {
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// Name.
        name: String,
        /// Options.
        options: DatabaseOptions,
    },
    /// `ALTER DATABASE [name] …`.
    AlterDatabase {
        /// Name; the current database if absent.
        name: Option<String>,
        /// Options.
        options: DatabaseOptions,
    },
    /// `DROP DATABASE`.
    DropDatabase {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Name.
        name: String,
    },
    /// `CREATE TABLE (…)`.
    CreateTable(Box<CreateTable>),
    /// `CREATE TABLE a LIKE b`.
    CreateTableLike {
        /// `TEMPORARY`.
        temporary: bool,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// New table.
        table: TableName,
        /// Model.
        like: TableName,
    },
    /// `DROP TABLE`.
    DropTable {
        /// `TEMPORARY`: no other table is dropped.
        temporary: bool,
        /// `IF EXISTS`.
        if_exists: bool,
        /// Tables.
        tables: Vec<TableName>,
    },
    /// `CREATE [OR REPLACE] VIEW`, `ALTER VIEW`.
    CreateView(Box<CreateView>),
    /// `DROP VIEW`.
    DropView {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Views.
        views: Vec<TableName>,
    },
    /// `TRUNCATE [TABLE]`.
    TruncateTable(TableName),
    /// `RECOVER TABLE`, `FLASHBACK TABLE … [TO name]` (TiDB).
    RecoverTable {
        /// Which.
        dropped: Dropped,
        /// Its name from now on; the one it had if absent.
        name: Option<String>,
    },
    /// `RENAME TABLE a TO b, …`.
    RenameTable(Vec<(TableName, TableName)>),
    /// `ALTER TABLE`.
    AlterTable {
        /// Table.
        table: TableName,
        /// Changes, in order. Empty is legal and does nothing.
        actions: Vec<AlterAction>,
        /// `ALGORITHM = …`.
        algorithm: Algorithm,
    },
    /// `CREATE [UNIQUE] INDEX`.
    CreateIndex {
        /// `IF NOT EXISTS` (TiDB).
        if_not_exists: bool,
        /// Table.
        table: TableName,
        /// Index; `name` is always there.
        index: IndexDef,
    },
    /// `DROP INDEX name ON table`.
    DropIndex {
        /// `IF EXISTS` (TiDB).
        if_exists: bool,
        /// Table.
        table: TableName,
        /// Index.
        name: String,
    },
    /// `CREATE [OR REPLACE] PLACEMENT POLICY [IF NOT EXISTS]`.
    CreatePlacementPolicy {
        /// `OR REPLACE`.
        or_replace: bool,
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// Name.
        name: String,
        /// At least one.
        options: Vec<PlacementOption>,
    },
    /// `ALTER PLACEMENT POLICY [IF EXISTS]`.
    AlterPlacementPolicy {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Name.
        name: String,
        /// At least one; replaces the whole definition.
        options: Vec<PlacementOption>,
    },
    /// `DROP PLACEMENT POLICY [IF EXISTS]`.
    DropPlacementPolicy {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Name.
        name: String,
    },
    /// `ALTER RANGE name PLACEMENT POLICY …`.
    AlterRange {
        /// `global` or `meta`, as written.
        range: String,
        /// Policy.
        policy: PolicyRef,
    },
}

/// Options of a database.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DatabaseOptions {
    /// `CHARACTER SET`.
    pub charset: Option<String>,
    /// `COLLATE`.
    pub collate: Option<String>,
    /// `PLACEMENT POLICY`.
    pub placement: Option<PolicyRef>,
}

/// The policy that is attached: a name, or `DEFAULT` to detach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyRef {
    /// `PLACEMENT POLICY = name`.
    Named(String),
    /// `PLACEMENT POLICY = DEFAULT` or `SET DEFAULT`.
    Default,
}

/// One option of a placement policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacementOption {
    /// `PRIMARY_REGION = 'r'`.
    PrimaryRegion(String),
    /// `REGIONS = 'a,b'`.
    Regions(String),
    /// `SCHEDULE = 'EVEN'`.
    Schedule(String),
    /// `FOLLOWERS = n`, positive.
    Followers(u64),
    /// `VOTERS = n` (accepted by the grammar, refused by the policy).
    Voters(u64),
    /// `LEARNERS = n`.
    Learners(u64),
    /// `CONSTRAINTS = '…'`.
    Constraints(String),
    /// `LEADER_CONSTRAINTS = '…'`.
    LeaderConstraints(String),
    /// `FOLLOWER_CONSTRAINTS = '…'`.
    FollowerConstraints(String),
    /// `VOTER_CONSTRAINTS = '…'`.
    VoterConstraints(String),
    /// `LEARNER_CONSTRAINTS = '…'`.
    LearnerConstraints(String),
    /// `SURVIVAL_PREFERENCES = '…'`.
    SurvivalPreferences(String),
}

impl Ddl {
    /// Whether it concerns only tables of the session itself, so that it commits nothing.
    pub fn is_temporary(&self) -> bool {
        match self {
            Ddl::CreateTable(create) => create.temporary,
            Ddl::CreateTableLike { temporary, .. } | Ddl::DropTable { temporary, .. } => *temporary,
            _ => false,
        }
    }
}

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// `TEMPORARY`.
    pub temporary: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Name.
    pub table: TableName,
    /// Columns, in order.
    pub columns: Vec<ColumnDef>,
    /// Table-level keys, in order. Column-level ones are in [`ColumnDef`].
    pub indexes: Vec<IndexDef>,
    /// Table-level checks, in order. Column-level ones are in [`ColumnDef`].
    pub checks: Vec<CheckDef>,
    /// `FOREIGN KEY` clauses, as text, for a refusal by name.
    pub refused: Vec<String>,
    /// Options after the parenthesis.
    pub options: TableOptions,
    /// `PARTITION BY`.
    pub partition: Option<Box<PartitionBy>>,
}

/// Whether a view has to be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewMode {
    /// `CREATE VIEW`: it must not.
    Create,
    /// `CREATE OR REPLACE VIEW`: it may.
    Replace,
    /// `ALTER VIEW`: it must.
    Alter,
}

/// `ALGORITHM` of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum ViewAlgorithm {
    #[default]
    Undefined,
    Merge,
    TempTable,
}

/// `CREATE VIEW`, `ALTER VIEW`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateView {
    /// Which of the two, and `OR REPLACE`.
    pub mode: ViewMode,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `ALGORITHM`.
    pub algorithm: ViewAlgorithm,
    /// `DEFINER`: user and host; `None` is the current user.
    pub definer: Option<(String, String)>,
    /// `SQL SECURITY INVOKER`.
    pub invoker: bool,
    /// Name.
    pub view: TableName,
    /// Names of its columns; none: those of the query.
    pub columns: Vec<String>,
    /// What it shows.
    pub query: Box<Query>,
    /// `WITH [CASCADED | LOCAL] CHECK OPTION`: `Some(true)` is `CASCADED`.
    pub check_option: Option<bool>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    /// Name.
    pub name: String,
    /// Type as written.
    pub ty: ColumnType,
    /// `Some(true)` = `NULL`, `Some(false)` = `NOT NULL`, `None` = not said.
    pub nullable: Option<bool>,
    /// `DEFAULT …`.
    pub default: Option<DefaultValue>,
    /// `ON UPDATE CURRENT_TIMESTAMP(fsp)`: its fsp.
    pub on_update_now: Option<u8>,
    /// `AUTO_INCREMENT`.
    pub auto_increment: bool,
    /// `AUTO_RANDOM[(shard bits)]`.
    pub auto_random: Option<Option<u32>>,
    /// `PRIMARY KEY` or `KEY` on the column, with TiDB's `CLUSTERED`/`NONCLUSTERED`.
    pub primary_key: Option<Clustered>,
    /// `UNIQUE [KEY]` on the column.
    pub unique: bool,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `GENERATED ALWAYS AS (expr) [VIRTUAL | STORED]`.
    pub generated: Option<Generated>,
    /// `CHECK (…)` on the column.
    pub checks: Vec<CheckDef>,
    /// `REFERENCES` and the like, as text, for a refusal by name.
    pub refused: Vec<String>,
}

/// `[CONSTRAINT [name]] CHECK (expr) [[NOT] ENFORCED]`.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckDef {
    /// Name, when given.
    pub name: Option<String>,
    /// What must not be false.
    pub expr: Expr,
    /// Not `NOT ENFORCED`.
    pub enforced: bool,
    /// The column that it is written on.
    pub column: Option<String>,
}

/// What TiDB's `CLUSTERED`/`NONCLUSTERED` said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clustered {
    /// Nothing: the server decides.
    #[default]
    Unsaid,
    /// `CLUSTERED`.
    Clustered,
    /// `NONCLUSTERED`.
    NonClustered,
}

/// A generated column's rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Expression.
    pub expr: Expr,
    /// `STORED` rather than `VIRTUAL`.
    pub stored: bool,
}

/// `DEFAULT …`.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// A literal or a (parenthesised) expression.
    Expr(Expr),
    /// `CURRENT_TIMESTAMP(fsp)`, `NOW()`, `LOCALTIME`, `LOCALTIMESTAMP`.
    Now {
        /// Fractional digits.
        fsp: u8,
    },
}

/// The kinds of column type, with synonyms folded (`INTEGER` is `Int`, `NUMERIC` is `Decimal`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TypeKind {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal,
    Bit,
    Date,
    DateTime,
    Timestamp,
    Time,
    Year,
    Char,
    VarChar,
    Binary,
    VarBinary,
    TinyText,
    Text,
    MediumText,
    LongText,
    TinyBlob,
    Blob,
    MediumBlob,
    LongBlob,
    Enum,
    Set,
    Json,
}

/// A column type as written; defaults (`VARCHAR` without length, `INT` display width) are for the consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    /// Kind.
    pub kind: TypeKind,
    /// `(n)`: length, display width, precision, or fractional digits of a time type.
    pub length: Option<u32>,
    /// `(m, d)`: decimals.
    pub decimals: Option<u32>,
    /// `UNSIGNED` (also implied by `ZEROFILL`, `SERIAL`).
    pub unsigned: bool,
    /// `ZEROFILL`.
    pub zerofill: bool,
    /// `BINARY` attribute of a character type: its charset's `_bin` collation.
    pub binary: bool,
    /// `CHARACTER SET`, lower case.
    pub charset: Option<String>,
    /// `COLLATE`, lower case.
    pub collate: Option<String>,
    /// Members of `ENUM` and `SET`.
    pub elems: Vec<String>,
}

/// What an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// `PRIMARY KEY`.
    Primary,
    /// `UNIQUE`.
    Unique,
    /// `INDEX`/`KEY`.
    Plain,
    /// `FULLTEXT`.
    FullText,
    /// `SPATIAL`.
    Spatial,
}

/// An index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexDef {
    /// Kind.
    pub kind: IndexKind,
    /// Name, when given (the constraint's name if only that was).
    pub name: Option<String>,
    /// `IF NOT EXISTS` (TiDB, in `ALTER TABLE ADD INDEX`).
    pub if_not_exists: bool,
    /// Parts, at least one.
    pub columns: Vec<IndexPart>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `INVISIBLE`.
    pub invisible: bool,
    /// `CLUSTERED`/`NONCLUSTERED` of a primary key.
    pub clustered: Clustered,
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexPart {
    /// Column, or an expression.
    pub target: IndexTarget,
    /// Prefix length.
    pub length: Option<u32>,
    /// `DESC` (parsed, the order is ascending as in TiDB).
    pub desc: bool,
}

/// What a part of an index covers.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexTarget {
    /// A column.
    Column(String),
    /// `((expr))`.
    Expr(Expr),
}

/// Options of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TableOptions {
    /// `ENGINE`, checked already.
    pub engine: Option<String>,
    /// `CHARACTER SET`, lower case.
    pub charset: Option<String>,
    /// `COLLATE`, lower case.
    pub collate: Option<String>,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `AUTO_INCREMENT`.
    pub auto_increment: Option<u64>,
    /// `AUTO_ID_CACHE`.
    pub auto_id_cache: Option<u64>,
    /// `SHARD_ROW_ID_BITS`.
    pub shard_row_id_bits: Option<u64>,
    /// `PRE_SPLIT_REGIONS`.
    pub pre_split_regions: Option<u64>,
    /// `PLACEMENT POLICY`.
    pub placement: Option<PolicyRef>,
}

/// Where a column goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnPosition {
    /// `FIRST`.
    First,
    /// `AFTER name`.
    After(String),
}

/// One change of `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub enum AlterAction {
    /// `ADD [COLUMN]`; the parenthesised list becomes several.
    AddColumn {
        /// `IF NOT EXISTS` (TiDB).
        if_not_exists: bool,
        /// Column.
        column: ColumnDef,
        /// Place.
        position: Option<ColumnPosition>,
    },
    /// `DROP [COLUMN]`.
    DropColumn {
        /// `IF EXISTS` (TiDB).
        if_exists: bool,
        /// Name.
        name: String,
    },
    /// `MODIFY [COLUMN]`.
    ModifyColumn {
        /// `IF EXISTS` (TiDB).
        if_exists: bool,
        /// New definition under the same name.
        column: ColumnDef,
        /// Place.
        position: Option<ColumnPosition>,
    },
    /// `CHANGE [COLUMN] old new …`.
    ChangeColumn {
        /// `IF EXISTS` (TiDB).
        if_exists: bool,
        /// Old name.
        old: String,
        /// New definition.
        column: ColumnDef,
        /// Place.
        position: Option<ColumnPosition>,
    },
    /// `RENAME COLUMN a TO b`.
    RenameColumn {
        /// Old name.
        old: String,
        /// New name.
        new: String,
    },
    /// `ALTER [COLUMN] c SET DEFAULT … | DROP DEFAULT`.
    AlterColumnDefault {
        /// Column.
        name: String,
        /// `None` drops it.
        default: Option<DefaultValue>,
    },
    /// `ADD [CONSTRAINT …] INDEX | KEY | UNIQUE | PRIMARY KEY`.
    AddIndex(IndexDef),
    /// `DROP INDEX | KEY`.
    DropIndex {
        /// `IF EXISTS` (TiDB).
        if_exists: bool,
        /// Name.
        name: String,
    },
    /// `DROP PRIMARY KEY`.
    DropPrimaryKey,
    /// `RENAME INDEX | KEY a TO b`.
    RenameIndex {
        /// Old name.
        old: String,
        /// New name.
        new: String,
    },
    /// `ALTER INDEX name VISIBLE | INVISIBLE`.
    AlterIndexVisibility {
        /// Name.
        name: String,
        /// `INVISIBLE`.
        invisible: bool,
    },
    /// `RENAME [TO | AS] t`.
    RenameTo(TableName),
    /// Options: only those that were named are `Some`.
    Options(TableOptions),
    /// `CONVERT TO CHARACTER SET c [COLLATE k]`.
    ConvertCharset {
        /// Charset, lower case.
        charset: String,
        /// Collation, lower case.
        collate: Option<String>,
    },
    /// `ADD [CONSTRAINT [name]] CHECK (…)`.
    AddCheck(CheckDef),
    /// `DROP CHECK name`.
    DropCheck(String),
    /// `DROP CONSTRAINT name`: a check or a key.
    DropConstraint(String),
    /// `ALTER {CHECK | CONSTRAINT} name [NOT] ENFORCED`.
    AlterCheck {
        /// Name.
        name: String,
        /// Not `NOT ENFORCED`.
        enforced: bool,
        /// `CONSTRAINT` rather than `CHECK`.
        constraint: bool,
    },
    /// What is said of partitions.
    Partitions(PartitionChange),
    /// Foreign keys and the like: refused by name.
    Refused(String),
}

/// `SHOW …`: the rows of a query, which the filter is put around.
#[derive(Debug, Clone, PartialEq)]
pub struct Show {
    /// What.
    pub kind: ShowKind,
    /// `LIKE` or `WHERE`.
    pub filter: Option<ShowFilter>,
    /// Rows to leave out and rows to show, of diagnostics.
    pub limit: Option<(u64, u64)>,
}

/// `LIKE 'pattern'` or `WHERE expr`.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowFilter {
    /// Pattern over the first column.
    Like(String),
    /// Condition over the result's columns, as written.
    Where(String),
}

/// What to show.
#[derive(Debug, Clone, PartialEq)]
pub enum ShowKind {
    /// `SHOW DATABASES`.
    Databases,
    /// `SHOW [FULL] TABLES [FROM db]`.
    Tables {
        /// `FULL`.
        full: bool,
        /// Database, or the current one.
        database: Option<String>,
    },
    /// `SHOW OPEN TABLES`.
    OpenTables,
    /// `SHOW TABLE STATUS [FROM db]`.
    TableStatus {
        /// Database, or the current one.
        database: Option<String>,
    },
    /// `SHOW [FULL] COLUMNS|FIELDS FROM t`.
    Columns {
        /// `FULL`.
        full: bool,
        /// Table.
        table: TableName,
    },
    /// `SHOW INDEX|INDEXES|KEYS FROM t`.
    Indexes {
        /// Table.
        table: TableName,
    },
    /// `SHOW CREATE DATABASE [IF NOT EXISTS] d`.
    CreateDatabase {
        /// `IF NOT EXISTS` in the output.
        if_not_exists: bool,
        /// Name.
        name: String,
    },
    /// `SHOW CREATE TABLE t`.
    CreateTable(TableName),
    /// `SHOW CREATE VIEW v`.
    CreateView(TableName),
    /// `SHOW CREATE PLACEMENT POLICY p`.
    CreatePlacementPolicy(String),
    /// `SHOW CREATE USER u`.
    CreateUser(String),
    /// `SHOW PLACEMENT`.
    Placement,
    /// `SHOW PLACEMENT FOR DATABASE d`.
    PlacementForDatabase(String),
    /// `SHOW PLACEMENT FOR TABLE t [PARTITION p]`.
    PlacementForTable {
        /// Table.
        table: TableName,
        /// Partition.
        partition: Option<String>,
    },
    /// `SHOW PLACEMENT LABELS`.
    PlacementLabels,
    /// `SHOW TABLE t [INDEX i] REGIONS`.
    TableRegions {
        /// Table.
        table: TableName,
        /// Index.
        index: Option<String>,
    },
    /// `SHOW TABLE t NEXT_ROW_ID`.
    TableNextRowId(TableName),
    /// `SHOW [GLOBAL|SESSION] VARIABLES`.
    Variables {
        /// `GLOBAL`.
        global: bool,
    },
    /// `SHOW [GLOBAL|SESSION] STATUS`.
    Status {
        /// `GLOBAL`.
        global: bool,
    },
    /// `SHOW WARNINGS`.
    Warnings,
    /// `SHOW ERRORS`.
    Errors,
    /// `SHOW COUNT(*) WARNINGS`.
    CountWarnings,
    /// `SHOW COUNT(*) ERRORS`.
    CountErrors,
    /// `SHOW [FULL] PROCESSLIST`.
    ProcessList {
        /// `FULL`.
        full: bool,
    },
    /// `SHOW CHARACTER SET | CHARSET`.
    Charset,
    /// `SHOW COLLATION`.
    Collation,
    /// `SHOW [STORAGE] ENGINES`.
    Engines,
    /// `SHOW PLUGINS`.
    Plugins,
    /// `SHOW PRIVILEGES`.
    Privileges,
    /// `SHOW GRANTS [FOR user]`.
    Grants(Option<String>),
    /// `SHOW PROCEDURE STATUS`, `FUNCTION STATUS`, `TRIGGERS`, `EVENTS`: always empty; the word tells which.
    Routines(&'static str),
    /// `SHOW MASTER STATUS`/`BINARY LOG STATUS`.
    MasterStatus,
    /// `SHOW PROFILES`.
    Profiles,
    /// `SHOW BUILTINS` (TiDB).
    Builtins,
    /// `SHOW STATS_META` and its like (TiDB).
    Statistics(ShowStatistics),
    /// `SHOW CONFIG …` (TiDB).
    Tidb(String),
}

/// What of the statistics is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShowStatistics {
    /// `SHOW STATS_META`.
    Meta,
    /// `SHOW STATS_HISTOGRAMS`.
    Histograms,
    /// `SHOW STATS_BUCKETS`.
    Buckets,
    /// `SHOW STATS_TOPN`.
    TopN,
    /// `SHOW STATS_HEALTHY`.
    Healthy,
    /// `SHOW ANALYZE STATUS`.
    AnalyzeStatus,
}

/// `EXPLAIN [ANALYZE] [FORMAT = …] statement`.
#[derive(Debug, Clone, PartialEq)]
pub struct Explain {
    /// Run it too.
    pub analyze: bool,
    /// `FORMAT`, lower case.
    pub format: Option<String>,
    /// The statement.
    pub statement: Box<Statement>,
}

/// Where a variable lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `GLOBAL`.
    Global,
    /// `SESSION`, `LOCAL`, or unsaid.
    Session,
}

/// One assignment of `SET`.
#[derive(Debug, Clone, PartialEq)]
pub enum SetItem {
    /// `@name = expr` (name without `@`, lower case).
    User {
        /// Name.
        name: String,
        /// Value.
        value: Expr,
    },
    /// `[GLOBAL | SESSION] name = expr`; a bare word on the right is a string. `None` is `DEFAULT`.
    System {
        /// Scope.
        scope: Scope,
        /// `SET SESSION x`/`SET @@session.x` was said, not only `SET x`.
        scope_said: bool,
        /// Name, lower case.
        name: String,
        /// Value.
        value: Option<Expr>,
    },
    /// `NAMES charset [COLLATE c]`; `None` is `DEFAULT`.
    Names {
        /// Charset, lower case.
        charset: Option<String>,
        /// Collation, lower case.
        collate: Option<String>,
    },
    /// `CHARACTER SET c`; `None` is `DEFAULT`.
    CharacterSet(Option<String>),
    /// `[GLOBAL | SESSION] TRANSACTION …`.
    Transaction {
        /// `None`: the next transaction only.
        scope: Option<Scope>,
        /// `ISOLATION LEVEL`, as the variable's value (`READ-COMMITTED`).
        isolation: Option<&'static str>,
        /// `READ ONLY` = true, `READ WRITE` = false.
        read_only: Option<bool>,
    },
}

/// What `ALGORITHM` demands of a change of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// Nothing.
    #[default]
    Default,
    /// That only the definition changes.
    Instant,
    /// That rows stay where they are.
    Inplace,
    /// That rows are copied.
    Copy,
}

/// How a transaction begins.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Begin {
    /// `READ ONLY` = true, `READ WRITE` = false.
    pub read_only: Option<bool>,
    /// `WITH CONSISTENT SNAPSHOT`.
    pub consistent_snapshot: bool,
    /// `BEGIN PESSIMISTIC` = true, `BEGIN OPTIMISTIC` = false (TiDB).
    pub pessimistic: Option<bool>,
    /// `AS OF TIMESTAMP expr` (TiDB).
    pub as_of: Option<Expr>,
}

/// What follows a `COMMIT` or `ROLLBACK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Completion {
    /// `AND [NO] CHAIN`, if said.
    pub chain: Option<bool>,
    /// `[NO] RELEASE`, if said.
    pub release: Option<bool>,
}

/// What `PREPARE` prepares.
#[derive(Debug, Clone, PartialEq)]
pub enum PrepareSource {
    /// A string.
    Text(String),
    /// A user variable, without `@`, lower case.
    Variable(String),
}

/// `ADMIN …`.
#[derive(Debug, Clone, PartialEq)]
pub enum Admin {
    /// `ADMIN SHOW DDL`.
    ShowDdl,
    /// `ADMIN SHOW DDL JOBS [n] [WHERE …]`.
    ShowDdlJobs {
        /// How many.
        limit: Option<u64>,
        /// Condition over the result's columns.
        filter: Option<ShowFilter>,
    },
    /// `ADMIN SHOW DDL JOB QUERIES id, …`.
    ShowDdlJobQueries(Vec<u64>),
    /// `ADMIN CANCEL DDL JOBS id, …`.
    CancelDdlJobs(Vec<u64>),
    /// `ADMIN CHECK TABLE t, …`.
    CheckTable(Vec<TableName>),
    /// `ADMIN CHECK INDEX t i`.
    CheckIndex {
        /// Table.
        table: TableName,
        /// Index.
        index: String,
    },
    /// `ADMIN CHECKSUM TABLE t, …`.
    ChecksumTable(Vec<TableName>),
    /// `ADMIN SHOW t NEXT_ROW_ID`.
    ShowNextRowId(TableName),
    /// Anything else: refused by name.
    Refused(String),
}

/// `SPLIT TABLE t [INDEX i] …`.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitTable {
    /// Table.
    pub table: TableName,
    /// Index; rows if absent.
    pub index: Option<String>,
    /// Where.
    pub by: SplitBy,
}

/// Where to split.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitBy {
    /// `BETWEEN (…) AND (…) REGIONS n`.
    Between {
        /// Lower bound.
        lower: Vec<Expr>,
        /// Upper bound.
        upper: Vec<Expr>,
        /// How many regions.
        regions: u64,
    },
    /// `BY (…), (…)`.
    Points(Vec<Vec<Expr>>),
}

/// `LOAD DATA [LOCAL] INFILE …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadData {
    /// The client reads the file.
    pub local: bool,
    /// Its name.
    pub file: String,
    /// `REPLACE` or `IGNORE`.
    pub conflict: Option<LoadConflict>,
    /// Where the rows go.
    pub table: TableName,
    /// `CHARACTER SET`, lower case.
    pub charset: Option<String>,
    /// How the file is read.
    pub format: FileFormat,
    /// `IGNORE n LINES`.
    pub skip: u64,
    /// Where fields go, in the order of the file; none: to the columns of the table.
    pub targets: Vec<LoadTarget>,
    /// `SET`.
    pub set: Vec<LoadValue>,
}

/// What becomes of rows of a file whose keys are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LoadConflict {
    Replace,
    Ignore,
}

/// `FIELDS …` and `LINES …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFormat {
    /// What ends a field.
    pub terminated: Vec<u8>,
    /// What may be around a field.
    pub enclosed: Option<u8>,
    /// What makes the next character an ordinary one, or a special one.
    pub escaped: Option<u8>,
    /// What comes before a line's fields; anything before that is left out.
    pub starting: Vec<u8>,
    /// What ends a line.
    pub line_terminated: Vec<u8>,
}

impl Default for FileFormat {
    fn default() -> Self {
        FileFormat {
            terminated: b"\t".to_vec(),
            enclosed: None,
            escaped: Some(b'\\'),
            starting: Vec::new(),
            line_terminated: b"\n".to_vec(),
        }
    }
}

/// Where a field of a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadTarget {
    /// To a column.
    Column(String),
    /// To a user variable (name without `@`, lower case).
    Variable(String),
}

/// `column = expr` of `LOAD DATA … SET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadValue {
    /// Column.
    pub column: String,
    /// The expression as written, with `?` for each of `fields`.
    pub text: String,
    /// The fields that it reads, as numbers of [`LoadData::targets`].
    pub fields: Vec<usize>,
}
