//! Everything that can go wrong with a statement, as the client will read it.
//!
//! The text of a variant is MySQL's (or TiDB's) message; its number and SQLSTATE are in `errno`, the only
//! place that spells them. A part of the tier that needs a new error adds a variant here and a line there.

use codec::table::{TableKey, decode_key};

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileWork {
    /// It is made.
    Create,
    /// Bytes are written.
    Write,
    /// Bytes are read.
    Read,
}

impl std::fmt::Display for FileWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FileWork::Create => "Can't create",
            FileWork::Write => "Error writing",
            FileWork::Read => "Error reading",
        })
    }
}

/// A statement, or a connection, failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SqlError {
    // ---- Syntax and names ----
    /// The statement isn't SQL as we know it.
    #[error(
        "You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version \
         for the right syntax to use near '{near}' at line {line}"
    )]
    Syntax {
        /// The text from the offending token on, cut short.
        near: String,
        /// Counted from 1.
        line: u64,
    },
    /// Nothing but blanks and comments.
    #[error("Query was empty")]
    EmptyQuery,
    /// Nested too deep, or too long a chain of operators.
    #[error("Thread stack overrun: the statement's expressions are nested too deeply")]
    StackOverrun,
    /// Understood, but not done here: names what.
    #[error("This version of Meridian doesn't yet support '{0}'")]
    NotSupported(String),
    /// An option that changes nothing but how another engine would do it (a warning).
    #[error("<{0}> option ignored")]
    OptionIgnored(String),
    /// An optimizer hint that is not heeded (a warning).
    #[error("Optimizer hint {0} is not supported by Meridian and is ignored")]
    HintIgnored(String),
    /// An optimizer hint that cannot be followed here (a warning).
    #[error("Optimizer Hint {hint} is inapplicable{why}")]
    HintInapplicable {
        /// As written.
        hint: String,
        /// Empty, or `because …` after a blank.
        why: String,
    },
    /// A hint names a variable that there is not (a warning).
    #[error("Unresolved name '{name}' for {hint} hint")]
    UnresolvedHintName {
        /// The name.
        name: String,
        /// The hint's.
        hint: String,
    },
    /// A variable that a hint cannot set (a warning).
    #[error("Variable '{0}' might not be affected by SET_VAR hint.")]
    NotHintable(String),
    /// An optimizer hint that names a table which is not in its block (a warning).
    #[error(
        "There are no matching table names for ({tables}) in optimizer hint {hint}. Maybe you can use the table alias name"
    )]
    HintWithoutTable {
        /// Those that there are not.
        tables: String,
        /// As written.
        hint: String,
    },
    /// Old syntax that is read as newer (a warning).
    #[error("{old} is no longer supported. The statement was converted to {new}.")]
    SyntaxConverted {
        /// As written.
        old: &'static str,
        /// As done.
        new: &'static str,
    },
    /// An engine that is not the one there is (a warning).
    #[error("Using storage engine InnoDB for table '{0}'")]
    OtherEngine(String),
    /// An engine that nobody has heard of.
    #[error("Unknown storage engine '{0}'")]
    UnknownEngine(String),
    /// `USING HASH` (a warning).
    #[error("This storage engine does not support the {0} index algorithm, storage engine default was used instead.")]
    IndexAlgorithmReplaced(&'static str),
    /// `ALGORITHM = x`.
    #[error("Unknown ALGORITHM '{0}'")]
    UnknownAlterAlgorithm(String),
    /// `LOCK = x`.
    #[error("Unknown LOCK type '{0}'")]
    UnknownAlterLock(String),
    /// `ALGORITHM = INSTANT` of what takes time.
    #[error("ALGORITHM=INSTANT is not supported. Reason: Cannot alter table by INSTANT. Try ALGORITHM=INPLACE.")]
    AlterAlgorithmNotSupported,
    /// `ALGORITHM = INSTANT` or `INPLACE` of what rewrites rows.
    #[error("ALGORITHM={0} is not supported. Reason: Cannot change column type INPLACE. Try ALGORITHM=COPY.")]
    AlterNeedsCopy(&'static str),
    /// A database that should be there isn't.
    #[error("Unknown database '{0}'")]
    UnknownDatabase(String),
    /// `CREATE DATABASE` of one that exists.
    #[error("Can't create database '{0}'; database exists")]
    DatabaseExists(String),
    /// `DROP DATABASE` of one that doesn't.
    #[error("Can't drop database '{0}'; database doesn't exist")]
    DatabaseDropMissing(String),
    /// No `USE` yet.
    #[error("No database selected")]
    NoDatabaseSelected,
    /// A table that should be there isn't.
    #[error("Table '{database}.{table}' doesn't exist")]
    NoSuchTable {
        /// Database.
        database: String,
        /// Table.
        table: String,
    },
    /// A table is in the way.
    #[error("Table '{0}' already exists")]
    TableExists(String),
    /// `DROP TABLE` of missing tables: comma separated `db.t`.
    #[error("Unknown table '{0}'")]
    UnknownTable(String),
    /// A column isn't known in that clause.
    #[error("Unknown column '{column}' in '{clause}'")]
    UnknownColumn {
        /// As written.
        column: String,
        /// `field list`, `where clause`, …
        clause: String,
    },
    /// More than one table has it.
    #[error("Column '{column}' in {clause} is ambiguous")]
    AmbiguousColumn {
        /// As written.
        column: String,
        /// `field list`, `where clause`, …
        clause: String,
    },
    /// Two columns of one name in a definition.
    #[error("Duplicate column name '{0}'")]
    DuplicateColumn(String),
    /// Two keys of one name.
    #[error("Duplicate key name '{0}'")]
    DuplicateKeyName(String),
    /// A column named twice in an `INSERT` list.
    #[error("Column '{0}' specified twice")]
    ColumnSpecifiedTwice(String),
    /// Two tables of one name in `FROM`.
    #[error("Not unique table/alias: '{0}'")]
    DuplicateAlias(String),
    /// `DROP`/`ALTER` of a column or key that isn't there.
    #[error("Can't DROP '{0}'; check that column/key exists")]
    CantDropFieldOrKey(String),
    /// A key names a column that the table doesn't have.
    #[error("Key column '{0}' doesn't exist in table")]
    KeyColumnMissing(String),
    /// A key that should be there isn't.
    #[error("Key '{key}' doesn't exist in table '{table}'")]
    NoSuchKey {
        /// Key.
        key: String,
        /// Table.
        table: String,
    },
    /// A function that doesn't exist.
    #[error("FUNCTION {0} does not exist")]
    UnknownFunction(String),
    /// Wrong number of arguments.
    #[error("Incorrect parameter count in the call to native function '{0}'")]
    WrongParameterCount(String),
    /// Too long, empty or otherwise impossible names.
    #[error("Identifier name '{0}' is too long")]
    IdentifierTooLong(String),
    /// Impossible database name.
    #[error("Incorrect database name '{0}'")]
    WrongDatabaseName(String),
    /// Impossible table name.
    #[error("Incorrect table name '{0}'")]
    WrongTableName(String),
    /// Impossible column name.
    #[error("Incorrect column name '{0}'")]
    WrongColumnName(String),
    /// Impossible index name.
    #[error("Incorrect index name '{0}'")]
    WrongIndexName(String),
    /// Two options that don't go together.
    #[error("Incorrect usage of {0} and {1}")]
    WrongUsage(String, String),

    // ---- Definitions ----
    /// More than one primary key.
    #[error("Multiple primary key defined")]
    MultiplePrimaryKey,
    /// A nullable part in a primary key.
    #[error("All parts of a PRIMARY KEY must be NOT NULL; if you need NULL in a key, use UNIQUE instead")]
    PrimaryCantHaveNull,
    /// `AUTO_INCREMENT` on what can't have it.
    #[error("Incorrect column specifier for column '{0}'")]
    WrongColumnSpecifier(String),
    /// `AUTO_INCREMENT` without a key, or twice.
    #[error("Incorrect table definition; there can be only one auto column and it must be defined as a key")]
    WrongAutoKey,
    /// A default that doesn't fit the type.
    #[error("Invalid default value for '{0}'")]
    InvalidDefault(String),
    /// BLOB/TEXT/JSON with a literal default.
    #[error("BLOB, TEXT, GEOMETRY or JSON column '{0}' can't have a default value")]
    BlobCantHaveDefault(String),
    /// BLOB/TEXT in a key without a length.
    #[error("BLOB/TEXT column '{0}' used in key specification without a key length")]
    BlobKeyWithoutLength(String),
    /// A prefix on what can't have one.
    #[error(
        "Incorrect prefix key; the used key part isn't a string, the used length is longer than the key part, \
         or the storage engine doesn't support unique prefix keys"
    )]
    WrongSubKey,
    /// Key over the byte limit.
    #[error("Specified key was too long; max key length is {0} bytes")]
    TooLongKey(u32),
    /// Length over the type's limit.
    #[error("Column length too big for column '{column}' (max = {max}); use BLOB or TEXT instead")]
    TooBigFieldLength {
        /// Column.
        column: String,
        /// Limit in characters.
        max: u32,
    },
    /// Display width over the limit.
    #[error("Display width out of range for column '{column}' (max = {max})")]
    TooBigDisplayWidth {
        /// Column.
        column: String,
        /// Limit.
        max: u32,
    },
    /// Decimals over the limit.
    #[error("Too big scale {scale} specified for column '{column}'. Maximum is {max}.")]
    TooBigScale {
        /// Column.
        column: String,
        /// Given.
        scale: u32,
        /// Limit.
        max: u32,
    },
    /// Precision over the limit.
    #[error("Too-big precision {precision} specified for '{column}'. Maximum is {max}.")]
    TooBigPrecision {
        /// Column.
        column: String,
        /// Given.
        precision: u32,
        /// Limit.
        max: u32,
    },
    /// `DECIMAL(2,3)`.
    #[error("For float(M,D), double(M,D) or decimal(M,D), M must be >= D (column '{0}').")]
    MBiggerThanD(String),
    /// Too many columns.
    #[error("Too many columns")]
    TooManyColumns,
    /// No columns at all.
    #[error("A table must have at least 1 column")]
    TableMustHaveColumns,
    /// The last column can't go.
    #[error("You can't delete all columns with ALTER TABLE; use DROP TABLE instead")]
    CantRemoveAllColumns,
    /// Unknown charset.
    #[error("Unknown character set: '{0}'")]
    UnknownCharacterSet(String),
    /// Unknown collation.
    #[error("Unknown collation: '{0}'")]
    UnknownCollation(String),
    /// Collation of another charset.
    #[error("COLLATION '{collation}' is not valid for CHARACTER SET '{charset}'")]
    CollationCharsetMismatch {
        /// Collation.
        collation: String,
        /// Charset.
        charset: String,
    },
    /// Duplicate ENUM/SET member.
    #[error("Column '{column}' has duplicated value '{value}' in {kind}")]
    DuplicatedValueInType {
        /// Column.
        column: String,
        /// Member.
        value: String,
        /// `ENUM` or `SET`.
        kind: &'static str,
    },
    /// `ON UPDATE` on what can't have it.
    #[error("Invalid ON UPDATE clause for '{0}' column")]
    InvalidOnUpdate(String),
    /// A key part of no characters.
    #[error("Key part '{0}' length cannot be 0")]
    KeyPartZero(String),
    /// JSON in a key.
    #[error("JSON column '{0}' supports indexing only via generated columns on a specified JSON path.")]
    JsonAsKey(String),
    /// Too many columns in a key.
    #[error("Too many key parts specified; max {0} parts allowed")]
    TooManyKeyParts(u32),
    /// Too many keys.
    #[error("Too many keys specified; max {0} keys allowed")]
    TooManyKeys(u32),
    /// A comment over the limit: `Comment for table 't'`.
    #[error("{what} is too long (max = {max})")]
    TooLongComment {
        /// What is commented on.
        what: String,
        /// Limit in characters.
        max: u64,
    },
    /// A policy named `default`.
    #[error("The '{0}' syntax is reserved for purposes internal to the MySQL server")]
    ReservedSyntax(String),
    /// No such partition.
    #[error("Unknown partition '{partition}' in table '{table}'")]
    UnknownPartition {
        /// Partition.
        partition: String,
        /// Table.
        table: String,
    },
    /// What is wrong with partitions, or with a row that belongs to none.
    #[error(transparent)]
    Partition(#[from] crate::PartitionError),
    /// What failed where it ran, on a storage node or (a schema change) maybe on another server: its number and text come
    /// as they were.
    #[error("{message}")]
    Remote {
        /// MySQL's number.
        code: u16,
        /// The text.
        message: String,
    },
    /// A job that can't be cancelled because there is none.
    #[error("DDL Job:{0} not found")]
    DdlJobNotFound(i64),
    /// A job that can't be cancelled any more.
    #[error("This job:{0} is finished, so can't be cancelled")]
    DdlJobFinished(i64),
    /// `ADMIN CHECK` found an index that doesn't match its rows.
    #[error("data inconsistency in table: {table}, index: {index}, handle: {handle}, {detail}")]
    DataInconsistent {
        /// Table.
        table: String,
        /// Index.
        index: String,
        /// Row.
        handle: String,
        /// What differs.
        detail: String,
    },
    /// This server may not have the current schema.
    #[error(
        "Information schema is out of date: schema failed to update in 1 lease, please make sure TiDB can connect to TiKV"
    )]
    SchemaOutdated,
    /// A DDL job failed for another reason.
    #[error("{0}")]
    InvalidDdlJob(String),
    /// The job was cancelled.
    #[error("Cancelled DDL job")]
    CancelledDdlJob,
    /// NULL where a column that becomes NOT NULL has none of its own.
    #[error("Invalid use of NULL value")]
    InvalidUseOfNull,
    /// A column change that is not done.
    #[error("Unsupported modify column: {0}")]
    UnsupportedModifyColumn(String),
    /// TiDB refuses to drop the primary key's column and the like.
    #[error("{0}")]
    UnsupportedDdl(String),

    // ---- Values ----
    /// A unique key has that value already.
    #[error("Duplicate entry '{value}' for key '{key}'")]
    DuplicateEntry {
        /// Values joined with `-`.
        value: String,
        /// `table.key`.
        key: String,
    },
    /// NULL into NOT NULL.
    #[error("Column '{0}' cannot be null")]
    ColumnCannotBeNull(String),
    /// No value and no default.
    #[error("Field '{0}' doesn't have a default value")]
    NoDefaultValue(String),
    /// Column count and value count differ.
    #[error("Column count doesn't match value count at row {0}")]
    ColumnCountMismatch(u64),
    /// A string that doesn't fit.
    #[error("Data too long for column '{column}' at row {row}")]
    DataTooLong {
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// A number that doesn't fit.
    #[error("Out of range value for column '{column}' at row {row}")]
    OutOfRangeColumn {
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// A computation that overflows.
    #[error("{kind} value is out of range in '{expr}'")]
    OutOfRange {
        /// `BIGINT`, `BIGINT UNSIGNED`, `DOUBLE`, `DECIMAL`.
        kind: String,
        /// Expression.
        expr: String,
    },
    /// A value cut short (ENUM, SET, or a number with rubbish after it).
    #[error("Data truncated for column '{column}' at row {row}")]
    DataTruncated {
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// A TIMESTAMP that the zone's clocks skipped.
    #[error("Invalid TIMESTAMP value in column '{column}' at row {row}")]
    InvalidTimestamp {
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// Bytes that are no text of a character set.
    #[error("Invalid {charset} character string: '{text}'")]
    InvalidCharacterString {
        /// Its name.
        charset: &'static str,
        /// The bytes, in hexadecimal.
        text: String,
    },
    /// A value of the wrong form for a column.
    #[error("Incorrect {kind} value: '{value}' for column '{column}' at row {row}")]
    TruncatedWrongValueForField {
        /// `integer`, `decimal`, `datetime`, `string`, …
        kind: String,
        /// As given.
        value: String,
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// A date or time of the wrong form for a column.
    #[error("Incorrect {kind} value: '{value}' for column '{column}' at row {row}")]
    IncorrectTimeForColumn {
        /// `date`, `datetime`, `time`.
        kind: String,
        /// As given.
        value: String,
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// An expression that can't be built or evaluated; has its own number.
    #[error(transparent)]
    Eval(query::error::EvalError),
    /// A value of the wrong form.
    #[error("Truncated incorrect {kind} value: '{value}'")]
    TruncatedWrongValue {
        /// `DOUBLE`, `INTEGER`, …
        kind: String,
        /// As given.
        value: String,
    },
    /// A value of the wrong form, other wording.
    #[error("Incorrect {kind} value: '{value}'")]
    WrongValue {
        /// `DATETIME`, `TIME`, …
        kind: String,
        /// As given.
        value: String,
    },
    /// Bad JSON.
    #[error("Invalid JSON text: {0}")]
    InvalidJsonText(String),
    /// Bad JSON path.
    #[error("Invalid JSON path expression. The error is around character position {0}.")]
    InvalidJsonPath(u64),
    /// Division by zero under strict mode.
    #[error("Division by 0")]
    DivisionByZero,
    /// Not for this function or operator.
    #[error("Incorrect arguments to {0}")]
    WrongArguments(String),
    /// Auto-increment is exhausted.
    #[error("Failed to read auto-increment value from storage engine")]
    AutoIncrementExhausted,

    // ---- Queries ----
    /// A non-aggregated column outside GROUP BY.
    #[error(
        "Expression #{position} of {clause} is not in GROUP BY clause and contains nonaggregated column '{column}' \
         which is not functionally dependent on columns in GROUP BY clause; this is incompatible with \
         sql_mode=only_full_group_by"
    )]
    NotInGroupBy {
        /// From 1.
        position: usize,
        /// `SELECT list`, `ORDER BY`, …
        clause: String,
        /// Column.
        column: String,
    },
    /// Aggregates and plain columns without GROUP BY.
    #[error(
        "In aggregated query without GROUP BY, expression #{position} of SELECT list contains nonaggregated column \
         '{column}'; this is incompatible with sql_mode=only_full_group_by"
    )]
    MixOfGroupAndFields {
        /// From 1.
        position: usize,
        /// Column.
        column: String,
    },
    /// An aggregate where none may be.
    #[error("Invalid use of group function")]
    InvalidGroupFunction,
    /// `GROUP BY` of what is computed after grouping.
    #[error("Can't group on '{0}'")]
    WrongGroupField(String),
    /// A scalar subquery gave several rows.
    #[error("Subquery returns more than 1 row")]
    SubqueryManyRows,
    // Windows: the text is the window's name, where nothing else is said.
    /// `OVER name` without a window of that name.
    #[error("Window name '{0}' is not defined.")]
    NoSuchWindow(String),
    /// Windows that are made of each other.
    #[error("There is a circularity in the window dependency graph.")]
    WindowCircularity,
    /// `(name PARTITION BY …)`.
    #[error("A window which depends on another cannot define partitioning.")]
    WindowPartitionsChild,
    /// `(name …)` of a window that has a frame.
    #[error("Window '{0}' has a frame definition, so cannot be referenced by another window.")]
    WindowFrameInherited(String),
    /// `(name ORDER BY …)` of a window that has an order.
    #[error("Window '{window}' cannot inherit '{parent}' since both contain an ORDER BY clause.")]
    WindowOrderRedefined {
        /// The one.
        window: String,
        /// The one it is made of.
        parent: String,
    },
    /// A frame from `UNBOUNDED FOLLOWING`.
    #[error("Window '{0}': frame start cannot be UNBOUNDED FOLLOWING.")]
    WindowFrameStart(String),
    /// A frame to `UNBOUNDED PRECEDING`.
    #[error("Window '{0}': frame end cannot be UNBOUNDED PRECEDING.")]
    WindowFrameEnd(String),
    /// A frame that is none.
    #[error("Window '{0}': frame start or end is negative, NULL or of non-integral type")]
    WindowFrameIllegal(String),
    /// `RANGE n PRECEDING` without one key to count in.
    #[error(
        "Window '{0}' with RANGE N PRECEDING/FOLLOWING frame requires exactly one ORDER BY expression, of numeric or \
         temporal type"
    )]
    WindowRangeOrder(String),
    /// `RANGE n PRECEDING` over dates.
    #[error(
        "Window '{0}' with RANGE frame has ORDER BY expression of datetime type. Only INTERVAL bound value allowed."
    )]
    WindowRangeTemporal(String),
    /// `RANGE INTERVAL … PRECEDING` over numbers.
    #[error("Window '{0}' with RANGE frame has ORDER BY expression of numeric type, INTERVAL bound value not allowed.")]
    WindowRangeNumeric(String),
    /// A frame whose bound depends on the row.
    #[error("Window '{0}' has a non-constant frame bound.")]
    WindowBoundNotConstant(String),
    /// Two windows of one name.
    #[error("Window '{0}' is defined twice.")]
    DuplicateWindow(String),
    /// `OVER (ORDER BY 1)`.
    #[error(
        "Window '{0}': ORDER BY or PARTITION BY uses legacy position indication which is not supported, use expression."
    )]
    WindowPosition(String),
    /// A window function (named) where none may stand. The quote at the end is MySQL's.
    #[error("You cannot use the window function '{0}' in this context.'")]
    WindowFunctionUse(String),
    /// The same by its alias.
    #[error("You cannot use the alias '{0}' of an expression containing a window function in this context.'")]
    WindowAliasUse(String),
    /// A window function among the keys of a window.
    #[error("You cannot nest a window function in the specification of window '{0}'.")]
    WindowNested(String),
    /// `ROWS INTERVAL …`.
    #[error("Window '{0}': INTERVAL can only be used with RANGE frames.")]
    WindowRowsInterval(String),
    /// A frame that changes nothing (a note).
    #[error(
        "Window function '{function}' ignores the frame clause of window '{window}' and aggregates over the whole partition"
    )]
    WindowFrameIgnored {
        /// The function.
        function: String,
        /// The window.
        window: String,
    },
    /// A row of the wrong width.
    #[error("Operand should contain {0} column(s)")]
    OperandColumns(usize),
    /// `UNION` of unequal widths.
    #[error("The used SELECT statements have a different number of columns")]
    UnionColumnCount,
    /// `VALUES ROW()` outside of INSERT.
    #[error(
        "Each row of a VALUES clause must have at least one column, unless when used as source in an INSERT statement."
    )]
    ValuesWithoutColumns,
    /// `VALUES ROW(DEFAULT)` outside of INSERT.
    #[error("A VALUES clause cannot use DEFAULT values, unless used as a source in an INSERT statement.")]
    ValuesWithDefault,
    /// A recursive CTE that is one query.
    #[error("Recursive Common Table Expression '{0}' should contain a UNION")]
    RecursionNeedsUnion(String),
    /// A recursive CTE that has nothing to begin with.
    #[error(
        "Recursive Common Table Expression '{0}' should have one or more non-recursive query blocks followed by one \
         or more recursive ones"
    )]
    RecursionNeedsSeed(String),
    /// Groups or windows in its recursive part.
    #[error(
        "Recursive Common Table Expression '{0}' can contain neither aggregation nor window functions in recursive \
         query block"
    )]
    RecursionAggregates(String),
    /// It stands where an outer join has NULLs.
    #[error(
        "In recursive query block of Recursive Common Table Expression '{0}', the recursive table must neither be in \
         the right argument of a LEFT JOIN, nor be forced to be non-first with join order hints"
    )]
    RecursionJoinOrder(String),
    /// It reads itself twice, or in a subquery.
    #[error(
        "In recursive query block of Recursive Common Table Expression '{0}', the recursive table must be referenced \
         only once, and not in any subquery"
    )]
    RecursionManyReferences(String),
    /// It reads itself under INTERSECT or EXCEPT.
    #[error("Recursive table reference in EXCEPT or INTERSECT operand is not allowed")]
    RecursionNotUnion,
    /// `cte_max_recursion_depth`.
    #[error(
        "Recursive query aborted after {0} iterations. Try increasing @@cte_max_recursion_depth to a larger value."
    )]
    RecursionDepth(u64),
    /// `GROUPING(x)` of what is no group.
    #[error("Argument #{0} of GROUPING function is not in GROUP BY")]
    GroupingNotInGroupBy(usize),
    /// A derived table without a name.
    #[error("Every derived table must have its own alias")]
    DerivedNeedsAlias,
    /// Tables and columns of unequal widths in a view or CTE.
    #[error(
        "In definition of view, derived table or common table expression, SELECT list and column names list have different column counts"
    )]
    ViewColumnCount,
    /// A view of what is gone. (`db.view`)
    #[error(
        "View '{0}' references invalid table(s) or column(s) or function(s) or definer/invoker of view lack rights to use them"
    )]
    ViewInvalid(String),
    /// A view that reads itself.
    #[error("`{database}`.`{view}` contains view recursion")]
    ViewRecursion {
        /// Database.
        database: String,
        /// View.
        view: String,
    },
    /// A view that would mean something else in each session.
    #[error("View's SELECT contains a variable or parameter")]
    ViewSelectVariable,
    /// A view that only one session could read.
    #[error("View's SELECT refers to a temporary table '{0}'")]
    ViewSelectTemporary(String),
    /// A statement on an account that is not there.
    #[error("Operation {operation} failed for {user}")]
    CannotUser {
        /// The statement.
        operation: &'static str,
        /// `'user'@'host'`.
        user: String,
    },
    /// A table where a view is wanted, or the other way round.
    #[error("'{object}' is not {expected}")]
    WrongObject {
        /// `db.name`.
        object: String,
        /// `VIEW` or `BASE TABLE`.
        expected: &'static str,
    },
    /// `ALGORITHM = MERGE` of a view that is no simple query.
    #[error("View merge algorithm can't be used here for now (assumed undefined algorithm)")]
    ViewNotMerged,
    /// A row that the view it is written through would not show. (`db.view`)
    #[error("CHECK OPTION failed '{0}'")]
    ViewCheckFailed(String),
    /// A row is not as a CHECK constraint demands.
    #[error("Check constraint '{0}' is violated.")]
    CheckViolated(String),
    /// The expression of a generated column holds what is not the row's.
    #[error("Expression of generated column '{0}' contains a disallowed function.")]
    GeneratedSubquery(String),
    /// The same of a function.
    #[error("Expression of generated column '{column}' contains a disallowed function: {function}.")]
    GeneratedFunction {
        /// The column.
        column: String,
        /// The function.
        function: String,
    },
    /// The same of a variable.
    #[error("Expression of generated column '{0}' cannot refer to user or system variables.")]
    GeneratedVariable(String),
    /// A value for a generated column.
    #[error("The value specified for generated column '{column}' in table '{table}' is not allowed.")]
    GeneratedValue {
        /// The column.
        column: String,
        /// Its table.
        table: String,
    },
    /// What generated columns cannot be or do.
    #[error("'{0}' is not supported for generated columns.")]
    UnsupportedOnGenerated(String),
    /// A generated column reads one that comes after it.
    #[error("Generated column can refer only to generated columns defined prior to it.")]
    GeneratedNotPrior,
    /// A generated column reads one that is to go or to be renamed.
    #[error("Column '{0}' has a generated column dependency.")]
    DependentGenerated(String),
    /// A generated column reads an AUTO_INCREMENT column.
    #[error("Generated column '{0}' cannot refer to auto-increment column.")]
    GeneratedAutoIncrement(String),
    /// A CHECK constraint is no condition.
    #[error("An expression of non-boolean type specified to a check constraint '{0}'.")]
    CheckNotBoolean(String),
    /// A CHECK constraint on a column names another.
    #[error("Column check constraint '{0}' references other column.")]
    CheckOtherColumn(String),
    /// A CHECK constraint calls a function whose value is not that of the row.
    #[error("An expression of a check constraint '{check}' contains disallowed function: {function}.")]
    CheckFunction {
        /// The constraint.
        check: String,
        /// The function.
        function: String,
    },
    /// The same of what has no name: a subquery.
    #[error("An expression of a check constraint '{0}' contains disallowed function.")]
    CheckSubquery(String),
    /// A CHECK constraint names a variable.
    #[error("An expression of a check constraint '{0}' cannot refer to a user or system variable.")]
    CheckVariable(String),
    /// A CHECK constraint names an AUTO_INCREMENT column.
    #[error("Check constraint '{0}' cannot refer to an auto-increment column.")]
    CheckAutoIncrement(String),
    /// A CHECK constraint names a column that there is not.
    #[error("Check constraint '{check}' refers to non-existing column '{column}'.")]
    CheckUnknownColumn {
        /// The constraint.
        check: String,
        /// The column.
        column: String,
    },
    /// There is no CHECK constraint of the name.
    #[error("Check constraint '{0}' is not found in the table.")]
    CheckNotFound(String),
    /// A database has a CHECK constraint of the name.
    #[error("Duplicate check constraint name '{0}'.")]
    CheckDuplicateName(String),
    /// There is no constraint of the name.
    #[error("Constraint '{0}' does not exist.")]
    ConstraintNotFound(String),
    /// Several constraints have the name.
    #[error("Table has multiple constraints with the name '{0}'. Please use constraint specific 'DROP' clause.")]
    ConstraintAmbiguous(String),
    /// A CHECK constraint names a column that is to go or to be renamed.
    #[error("Check constraint '{check}' uses column '{column}', hence column cannot be dropped or renamed.")]
    CheckUsesColumn {
        /// The constraint.
        check: String,
        /// The column.
        column: String,
    },
    /// CHECK OPTION of a view that nothing can be written through. (`db.view`)
    #[error("CHECK OPTION on non-updatable view '{0}'")]
    ViewCheckUseless(String),
    /// INSERT through a view that does not allow it.
    #[error("The target table {table} of the {operation} is not insertable-into")]
    NotInsertable {
        /// View.
        table: String,
        /// `INSERT` or `REPLACE`.
        operation: &'static str,
    },
    /// A column of a view that is no column of a table.
    #[error("Column '{0}' is not updatable")]
    NotUpdatableColumn(String),
    /// INSERT through a view that lacks a column which has to be given. (`db.view`)
    #[error("Field of view '{0}' underlying table doesn't have a default value")]
    ViewNoDefault(String),
    /// Columns of two tables of a view at once. (`db.view`)
    #[error("Can not modify more than one base table through a join view '{0}'")]
    ViewManyTables(String),
    /// INSERT into a view of several tables without columns. (`db.view`)
    #[error("Can not insert into join view '{0}' without fields list")]
    ViewNoFields(String),
    /// DELETE from a view of several tables. (`db.view`)
    #[error("Can not delete from join view '{0}'")]
    ViewDeleteJoin(String),
    /// `tidb_tmp_table_max_size`.
    #[error("The table '{0}' is full")]
    TableFull(String),
    /// RENAME of a view to another database.
    #[error("Changing schema from '{0}' to '{1}' is not allowed.")]
    SchemaChangeForbidden(String, String),
    /// `ORDER BY 9`.
    #[error("Unknown column '{0}' in 'order clause'")]
    UnknownOrderPosition(String),
    /// Update of a table that the statement reads.
    #[error("You can't specify target table '{0}' for update in FROM clause")]
    UpdateTableUsed(String),
    /// A table that can't be changed.
    #[error("The target table {table} of the {operation} is not updatable")]
    NotUpdatable {
        /// Table.
        table: String,
        /// `INSERT`, `UPDATE`, `DELETE`.
        operation: &'static str,
    },
    /// `SELECT *` without tables.
    #[error("No tables used")]
    NoTablesUsed,
    /// `EXPLAIN FORMAT = …` of a name that is none.
    #[error("Unknown EXPLAIN format name: '{0}'")]
    UnknownExplainFormat(String),
    /// The statement used more memory than allowed.
    #[error(
        "Your query has been cancelled due to exceeding the allowed memory limit for a single SQL query. Please try \
         narrowing your query scope or increase the tidb_mem_quota_query limit and try again.[conn={0}]"
    )]
    MemoryQuota(u64),
    /// The server's statements used more memory than allowed together, and this one most.
    #[error(
        "Your query has been cancelled due to exceeding the allowed memory limit for the tidb-server instance and this \
         query is currently using the most memory. Please try narrowing your query scope or increase the \
         tidb_server_memory_limit and try again.[conn={0}]"
    )]
    ServerMemoryLimit(u64),
    /// A file in which a statement keeps what it has no memory for.
    #[error("{doing} file '{path}' (errno: {number} - {reason})")]
    TemporaryFile {
        /// What failed.
        doing: FileWork,
        /// The file, or the directory that it is in.
        path: String,
        /// The system's number.
        number: i32,
        /// What the system says.
        reason: String,
    },
    /// `max_execution_time` is over.
    #[error("Query execution was interrupted, maximum statement execution time exceeded")]
    ExecutionTimeout,
    /// `KILL QUERY`.
    #[error("Query execution was interrupted")]
    Interrupted,

    // ---- Variables and prepared statements ----
    /// No such system variable.
    #[error("Unknown system variable '{0}'")]
    UnknownSystemVariable(String),
    /// Read-only variable.
    #[error("Variable '{0}' is a read only variable")]
    ReadOnlyVariable(String),
    /// Only with `SET GLOBAL`.
    #[error("Variable '{0}' is a GLOBAL variable and should be set with SET GLOBAL")]
    GlobalVariable(String),
    /// Only with `SET SESSION`.
    #[error("Variable '{0}' is a SESSION variable and can't be used with SET GLOBAL")]
    LocalVariable(String),
    /// `@@session.x` of a global variable, or the reverse.
    #[error("Variable '{name}' is a {scope} variable")]
    IncorrectScope {
        /// Name.
        name: String,
        /// `GLOBAL` or `SESSION`.
        scope: &'static str,
    },
    /// A value that the variable doesn't take.
    #[error("Variable '{name}' can't be set to the value of '{value}'")]
    WrongValueForVariable {
        /// Name.
        name: String,
        /// Value.
        value: String,
    },
    /// A type that the variable doesn't take.
    #[error("Incorrect argument type to variable '{0}'")]
    WrongTypeForVariable(String),
    /// Unknown time zone.
    #[error("Unknown or incorrect time zone: '{0}'")]
    UnknownTimeZone(String),
    /// `EXECUTE` of what isn't prepared.
    #[error("Unknown prepared statement handler ({name}) given to {command}")]
    UnknownStatement {
        /// Name or number.
        name: String,
        /// `EXECUTE`, `DEALLOCATE PREPARE`, `mysqld_stmt_execute`, …
        command: &'static str,
    },
    /// Wrong number of parameters.
    #[error("Incorrect arguments to {0}")]
    WrongParameters(&'static str),
    /// `SELECT … INTO` of more than one row.
    #[error("Result consisted of more than one row")]
    TooManyRows,
    /// `SELECT … INTO` of no row.
    #[error("No data - zero rows fetched, selected, or processed")]
    NoData,
    /// `SELECT … INTO` a name that is no user variable.
    #[error("Undeclared variable: {0}")]
    UndeclaredVariable(String),
    /// The session that `EXPLAIN FOR CONNECTION` names runs something else.
    #[error("EXPLAIN FOR CONNECTION command is supported only for SELECT/UPDATE/INSERT/DELETE/REPLACE")]
    NotExplainable,
    /// LOAD DATA LOCAL where one of the two sides does not have it.
    #[error("Loading local data is disabled; this must be enabled on both the client and server sides")]
    LocalInfileDisabled,
    /// Quotes or escapes of more than one byte in a file.
    #[error("Field separator argument is not what is expected; check the manual")]
    WrongFieldTerminators,
    /// A line of a file has no field for some column.
    #[error("Row {0} doesn't contain data for all columns")]
    TooFewFields(u64),
    /// A line of a file has more fields than there are columns.
    #[error("Row {0} was truncated; it contained more data than there were input columns")]
    TooManyFields(u64),
    /// NULL in a file for a column that takes none.
    #[error("Column set to default value; NULL supplied to NOT NULL column '{column}' at row {row}")]
    NullToNotNull {
        /// Column.
        column: String,
        /// Row, from 1.
        row: u64,
    },
    /// The client does not send what it was asked for.
    #[error("Got an error reading communication packets")]
    NetRead,
    /// A statement that can't be prepared.
    #[error("This command is not supported in the prepared statement protocol yet")]
    UnsupportedPrepare,
    /// More prepared statements than one session may keep.
    #[error("Can't create more than max_prepared_stmt_count statements (current value: {0})")]
    TooManyPrepared(usize),
    /// More `?` than the protocol can number.
    #[error("Prepared statement contains too many placeholders")]
    TooManyPlaceholders,
    /// `SERIALIZABLE`, `READ UNCOMMITTED`.
    #[error("The isolation level '{0}' is not supported. Set tidb_skip_isolation_level_check=1 to skip this error")]
    UnsupportedIsolationLevel(String),
    /// Several statements in one `PREPARE`.
    #[error("Can not prepare multiple statements")]
    PrepareMulti,

    // ---- Transactions ----
    /// Another transaction won.
    #[error("Write conflict, {0} [try again later]")]
    WriteConflict(String),
    /// Deadlock.
    #[error("Deadlock found when trying to get lock; try restarting transaction")]
    Deadlock,
    /// Waited too long.
    #[error("Lock wait timeout exceeded; try restarting transaction")]
    LockWaitTimeout,
    /// `FOR UPDATE OF` a table that the query does not read.
    #[error("Unresolved table name `{0}` in locking clause.")]
    UnresolvedTableLock(String),
    /// Two lock clauses of one query name the same table.
    #[error("Table {0} appears in multiple locking clauses.")]
    DuplicateTableLock(String),
    /// `NOWAIT`.
    #[error("Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.")]
    LockNoWait,
    /// The schema changed under the transaction.
    #[error(
        "Information schema is changed during the execution of the statement(for example, table definition may be updated by other DDL ran in parallel). If you see this error often, try increasing `tidb_max_delta_schema_count`. [try again later]"
    )]
    SchemaChanged,
    /// A change of the table is being switched to: writes wait for the next version of the schema. Where they cannot, it is
    /// as [`SqlError::SchemaChanged`].
    #[error("{}", SqlError::SchemaChanged)]
    TableSwitching,
    /// Too big.
    #[error("Transaction is too large, size: {0}")]
    TransactionTooLarge(u64),
    /// One entry too big.
    #[error("entry too large, the max entry size is {max}, the size of data is {size}")]
    EntryTooLarge {
        /// Limit.
        max: u64,
        /// Given.
        size: u64,
    },
    /// Write on a read-only server.
    #[error("The MySQL server is running with the {0} option so it cannot execute this statement")]
    ReadOnlyServer(&'static str),
    /// `sql_safe_updates`.
    #[error("You are using safe update mode and you tried to update a table without a WHERE that uses a KEY column")]
    UpdateWithoutKey,
    /// `sql_require_primary_key`.
    #[error(
        "Unable to create or change a table without a primary key, when the system variable 'sql_require_primary_key' is set. Add a primary key to the table or unset this variable to avoid this message. Note that tables without a primary key can cause performance problems in row-based replication, so please consult your DBA before changing this setting."
    )]
    TableWithoutPrimaryKey,
    /// Write in a read-only transaction.
    #[error("Cannot execute statement in a READ ONLY transaction.")]
    ReadOnlyTransaction,
    /// No such savepoint.
    #[error("SAVEPOINT {0} does not exist")]
    NoSuchSavepoint(String),
    /// `SET TRANSACTION` within one.
    #[error("Transaction characteristics can't be changed while a transaction is in progress")]
    CantChangeTransaction,
    /// Others ended it, because it was not heard of for too long.
    #[error(
        "TTL manager has timed out, pessimistic locks may expire, please commit or rollback this transaction: txn {start_ts}, {reason}"
    )]
    TransactionAborted {
        /// The transaction.
        start_ts: u64,
        /// What the storage said.
        reason: String,
    },
    /// The commit's outcome is unknown.
    #[error("Commit outcome is undetermined: {0}")]
    Undetermined(String),
    /// A table was dropped so long ago that its rows are being removed, or are.
    #[error("snapshot is older than GC safe point: the rows of '{0}' are gone")]
    DroppedTooLongAgo(String),
    /// Snapshot older than the GC safe point.
    #[error(
        "GC life time is shorter than transaction duration, transaction starts at {start_ts}, GC safe point is {safe_point}"
    )]
    SnapshotTooOld {
        /// The transaction's start, or the time read at.
        start_ts: u64,
        /// Versions before it may be gone.
        safe_point: u64,
    },

    // ---- Cluster ----
    /// PD can't be reached.
    #[error("PD server timeout: {0}")]
    PdTimeout(String),
    /// Storage can't be reached.
    #[error("TiKV server timeout")]
    StorageTimeout,
    /// Storage is overloaded.
    #[error("TiKV server is busy")]
    StorageBusy,
    /// No leader, no route.
    #[error("Region is unavailable")]
    RegionUnavailable,
    /// Locks could not be resolved in time.
    #[error("Resolve lock timeout")]
    ResolveLockTimeout,

    // ---- Placement ----
    /// Policy is there already.
    #[error("Placement policy '{0}' already exists")]
    PlacementPolicyExists(String),
    /// Policy isn't there.
    #[error("Unknown placement policy '{0}'")]
    UnknownPlacementPolicy(String),
    /// Policy is attached somewhere.
    #[error("Placement policy '{0}' is still in use")]
    PlacementPolicyInUse(String),
    /// The policy's options make no sense together.
    #[error("{0}")]
    PlacementOptions(String),
    /// PD refused the rules.
    #[error("{0}")]
    Placement(String),

    // ---- Connections and privileges ----
    /// Wrong user or password.
    #[error("Access denied for user '{user}'@'{host}' (using password: {})", if *password { "YES" } else { "NO" })]
    AccessDenied {
        /// User.
        user: String,
        /// Where from.
        host: String,
        /// A password was given.
        password: bool,
    },
    /// May not use that database.
    #[error("Access denied for user '{user}'@'{host}' to database '{database}'")]
    DatabaseAccessDenied {
        /// User.
        user: String,
        /// Where from.
        host: String,
        /// Database.
        database: String,
    },
    /// Missing privilege.
    #[error("Access denied; you need (at least one of) the {0} privilege(s) for this operation")]
    SpecificAccessDenied(String),
    /// Too many connections.
    #[error("Too many connections")]
    TooManyConnections,
    /// No such thread for `KILL`.
    #[error("Unknown thread id: {0}")]
    NoSuchThread(u64),
    /// An unknown command byte.
    #[error("Unknown command")]
    UnknownCommand,
    /// A packet that can't be decoded.
    #[error("Malformed communication packet.")]
    MalformedPacket,
    /// A packet over the limit.
    #[error("Got a packet bigger than 'max_allowed_packet' bytes")]
    PacketTooLarge,
    /// Packets in the wrong order.
    #[error("Got packets out of order")]
    PacketsOutOfOrder,
    /// The handshake failed.
    #[error("Bad handshake")]
    BadHandshake,
    /// The server is going away.
    #[error("Server shutdown in progress")]
    ShuttingDown,
    /// An authentication plugin that we don't have.
    #[error("The server requested authentication method unknown to the client [{0}]")]
    UnknownAuthMethod(String),
    /// TLS is required and wasn't used.
    #[error("Connections using insecure transport are prohibited while --require_secure_transport=ON.")]
    SecureTransportRequired,
    /// `require_secure_transport` on a server without TLS.
    #[error("No secure transports (SSL or Shared Memory) are configured, unable to set --require_secure_transport=ON.")]
    NoSecureTransport,

    // ---- The rest ----
    /// Anything that has no number of its own; says what and where.
    #[error("{0}")]
    Other(String),
}

impl SqlError {
    /// Something internal: `context: cause`.
    pub fn internal(context: &str, cause: impl std::fmt::Display) -> Self {
        SqlError::Other(format!("{context}: {cause}"))
    }
}

impl From<kv_client::Error> for SqlError {
    fn from(error: kv_client::Error) -> Self {
        use kv_client::Error::*;
        match error {
            // Who inserted knows the key's columns, and words the error itself.
            KeyExists { key } => {
                let value = key.iter().map(|b| format!("{b:02X}")).collect();
                SqlError::DuplicateEntry { value, key: "unknown".into() }
            }
            WriteConflict { start_ts, conflict_ts, conflict_commit_ts, key } => SqlError::WriteConflict(format!(
                "txnStartTS={start_ts}, conflictStartTS={conflict_ts}, conflictCommitTS={conflict_commit_ts}, key={}",
                name_of_key(&key)
            )),
            Deadlock { .. } => SqlError::Deadlock,
            LockWaitTimeout { .. } => SqlError::LockWaitTimeout,
            LockNoWait { .. } => SqlError::LockNoWait,
            EntryTooLarge { size, limit } => SqlError::EntryTooLarge { max: limit as u64, size: size as u64 },
            TxnTooLarge { size, .. } => SqlError::TransactionTooLarge(size as u64),
            RegionUnavailable(_) => SqlError::RegionUnavailable,
            Pd(e) => SqlError::PdTimeout(e.to_string()),
            Undetermined(why) => SqlError::Undetermined(why),
            SchemaChanged(_) => SqlError::SchemaChanged,
            Aborted { start_ts, reason } => SqlError::TransactionAborted { start_ts, reason },
            Evaluation { code, message } => SqlError::Remote { code, message },
            TooOld { start_ts, safe_point } => SqlError::SnapshotTooOld { start_ts, safe_point },
            Coprocessor(_) | Refused(_) | Finished => SqlError::Other(error.to_string()),
        }
    }
}

/// A key as TiDB names it in messages: what it belongs to, without the values of index entries.
fn name_of_key(key: &[u8]) -> String {
    match decode_key(key) {
        Ok(TableKey::Record { table, handle }) => format!("{{tableID={table}, handle={handle}}}"),
        Ok(TableKey::Index { table, index, .. }) => format!("{{tableID={table}, indexID={index}}}"),
        _ => key.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

impl From<query::error::EvalError> for SqlError {
    fn from(e: query::error::EvalError) -> Self {
        match e {
            query::error::EvalError::Interrupted => SqlError::Interrupted,
            e => SqlError::Eval(e),
        }
    }
}
