//! What can be wrong with partitions: MySQL's texts, and TiDB's where it has its own. Their numbers are in `errno`.

/// A definition of partitions, a change of them or a row that belongs to none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Partitions without the values that they are for.
    #[error("Syntax error: {method} PARTITIONING requires definition of VALUES {values} for each partition")]
    RequiresValues {
        /// `RANGE` or `LIST`.
        method: &'static str,
        /// `LESS THAN` or `IN`.
        values: &'static str,
    },
    /// Values of another kind of partitioning.
    #[error("Only {method} PARTITIONING can use VALUES {values} in partition definition")]
    WrongValues {
        /// `RANGE` or `LIST`.
        method: &'static str,
        /// `LESS THAN` or `IN`.
        values: &'static str,
    },
    /// MAXVALUE before the end.
    #[error("MAXVALUE can only be used in last partition definition")]
    MaxValueNotLast,
    /// A number of partitions, and another number of definitions.
    #[error("Wrong number of partitions defined, mismatch with previous setting")]
    WrongCount,
    /// An expression that is not the same for a row always, or the same for all.
    #[error("Constant, random or timezone-dependent expressions in (sub)partitioning function are not allowed")]
    NotDeterministic,
    /// A column that is not there.
    #[error("Field in list of fields for partition function not found in table")]
    NoSuchField,
    /// An expression that is no integer.
    #[error("The {0} function returns the wrong type")]
    WrongType(&'static str),
    /// RANGE or LIST without partitions.
    #[error("For {0} partitions each partition must be defined")]
    MustBeDefined(&'static str),
    /// Ends of ranges that do not rise.
    #[error("VALUES LESS THAN value must be strictly increasing for each partition")]
    NotIncreasing,
    /// A value in two partitions.
    #[error("Multiple definition of same constant in list partitioning")]
    DuplicateValue,
    /// Too many.
    #[error("Too many partitions (including subpartitions) were defined")]
    TooMany,
    /// TEXT, BLOB and JSON.
    #[error("A BLOB field is not allowed in partition function")]
    BlobField,
    /// A primary key by which rows are kept, without a column that partitions depend on.
    #[error("A {0} must include all columns in the table's partitioning function")]
    UniqueKeyNeedsAllColumns(String),
    /// Another unique key without one.
    #[error(
        "Global Index is needed for index '{0}', since the unique index is not including all partitioning columns, \
         and GLOBAL is not given as IndexOption"
    )]
    NeedsGlobalIndex(String),
    /// No partitions.
    #[error("Number of partitions = 0 is not an allowed value")]
    NoPartitions,
    /// A change of partitions where there are none.
    #[error("Partition management on a not partitioned table is not possible")]
    NotPartitioned,
    /// DROP or TRUNCATE of one that is not there.
    #[error("Error in list of partitions to {0}")]
    NotInList(&'static str),
    /// DROP of all.
    #[error("Cannot remove all partitions, use DROP TABLE instead")]
    DropLast,
    /// COALESCE of what is not hashed.
    #[error("COALESCE PARTITION can only be used on HASH/KEY partitions")]
    CoalesceOnlyHash,
    /// A change that hashed partitions do not take.
    #[error("{0} PARTITION can only be used on RANGE/LIST partitions")]
    OnlyRangeList(&'static str),
    /// ADD of none.
    #[error("At least one partition must be added")]
    NothingAdded,
    /// COALESCE by none.
    #[error("At least one partition must be coalesced")]
    NothingCoalesced,
    /// A name twice.
    #[error("Duplicate partition name {0}")]
    SameName(String),
    /// REORGANIZE of partitions with others between them.
    #[error("When reorganizing a set of partitions they must be in consecutive order")]
    NotConsecutive,
    /// REORGANIZE into other ranges.
    #[error(
        "Reorganize of range partitions cannot change total ranges except for last partition where it can extend the range"
    )]
    OutsideRange,
    /// A row that belongs nowhere.
    #[error("Table has no partition for value {0}")]
    NoPartition(String),
    /// A temporary table.
    #[error("Cannot create temporary table with partitions")]
    NoTemporary,
    /// A value that the expression can never have.
    #[error("Partition constant is out of partition function domain")]
    ConstantOutOfDomain,
    /// A function that partitions may not depend on.
    #[error("This partition function is not allowed")]
    FunctionNotAllowed,
    /// NULL as the end of a range.
    #[error("Not allowed to use NULL value in VALUES LESS THAN")]
    NullInLessThan,
    /// As many values as columns there must be.
    #[error("Inconsistency in usage of column lists for partitioning")]
    ColumnList,
    /// A value that the column does not have.
    #[error("Partition column values of incorrect type")]
    WrongColumnValue,
    /// A column whose type does not do.
    #[error("Field '{0}' is of a not allowed type for this type of partitioning")]
    FieldType(String),
    /// A value that is no integer where the expression is one.
    #[error("VALUES value for partition '{0}' must have type INT")]
    ValuesNotInt(String),
    /// EXCHANGE with a table that is partitioned itself.
    #[error("Table to exchange with partition is partitioned: '{0}'")]
    ExchangePartitioned(String),
    /// EXCHANGE of unlike tables.
    #[error("Tables have different definitions")]
    DifferentTables,
    /// EXCHANGE of rows that belong elsewhere.
    #[error("Found a row that does not match the partition")]
    RowDoesNotMatch,
    /// `PARTITION (p)` of a table without any.
    #[error("PARTITION () clause on non partitioned table")]
    ClauseOnNonPartitioned,
    /// A row outside of the partitions that are named.
    #[error("Found a row not matching the given partition set")]
    OutsideOfSet,
    /// A change of a column that partitions depend on.
    #[error("Column '{0}' has a partitioning function dependency and cannot be dropped or renamed.")]
    ColumnInUse(String),
}
