//! `PARTITION BY …` and the changes of partitions, as written.

use super::{Expr, PolicyRef};

/// `PARTITION BY …`.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionBy {
    /// How rows are divided.
    pub method: PartitionMethod,
    /// `LINEAR`.
    pub linear: bool,
    /// `PARTITIONS n`.
    pub count: Option<u64>,
    /// The partitions.
    pub definitions: Vec<PartitionDef>,
}

/// How rows are divided.
#[derive(Debug, Clone, PartialEq)]
pub enum PartitionMethod {
    /// `RANGE (expr)`.
    Range(Expr),
    /// `RANGE COLUMNS (a, b)`.
    RangeColumns(Vec<String>),
    /// `LIST (expr)`.
    List(Expr),
    /// `LIST COLUMNS (a, b)`.
    ListColumns(Vec<String>),
    /// `HASH (expr)`.
    Hash(Expr),
    /// `KEY (a, b)`; without columns those of the primary key.
    Key(Vec<String>),
}

/// `PARTITION name …`.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionDef {
    /// Name.
    pub name: String,
    /// Which rows.
    pub values: PartitionValues,
    /// `COMMENT`.
    pub comment: Option<String>,
    /// `PLACEMENT POLICY`.
    pub placement: Option<PolicyRef>,
}

/// Which rows a partition is for.
#[derive(Debug, Clone, PartialEq)]
pub enum PartitionValues {
    /// Nothing is said.
    Unsaid,
    /// `VALUES LESS THAN (…)`.
    LessThan(Vec<PartitionValue>),
    /// `VALUES IN (…)`: rows of values.
    In(Vec<Vec<PartitionValue>>),
}

/// A value in a definition.
#[derive(Debug, Clone, PartialEq)]
pub enum PartitionValue {
    /// `MAXVALUE`.
    Max,
    /// `DEFAULT`.
    Default,
    /// An expression.
    Expr(Expr),
}

/// Partitions that a change names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionNames {
    /// `ALL`.
    All,
    /// These.
    Some(Vec<String>),
}

/// A change of partitions.
#[derive(Debug, Clone, PartialEq)]
pub enum PartitionChange {
    /// `PARTITION BY …`.
    By(Box<PartitionBy>),
    /// `REMOVE PARTITIONING`.
    Remove,
    /// `ADD PARTITION (…)`, or `ADD PARTITION PARTITIONS n`.
    Add {
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// The new ones.
        definitions: Vec<PartitionDef>,
        /// How many.
        count: Option<u64>,
    },
    /// `DROP PARTITION`.
    Drop {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Which.
        names: Vec<String>,
    },
    /// `TRUNCATE PARTITION`.
    Truncate(PartitionNames),
    /// `COALESCE PARTITION n`.
    Coalesce(u64),
    /// `REORGANIZE PARTITION a, b INTO (…)`.
    Reorganize {
        /// Those that go.
        names: Vec<String>,
        /// Those that come.
        definitions: Vec<PartitionDef>,
    },
    /// `EXCHANGE PARTITION p WITH TABLE t`.
    Exchange {
        /// The partition.
        partition: String,
        /// The table.
        table: super::TableName,
        /// `WITHOUT VALIDATION` is not said.
        validate: bool,
    },
    /// `PARTITION p PLACEMENT POLICY …`.
    Placement {
        /// The partition.
        partition: String,
        /// The policy.
        policy: PolicyRef,
    },
}
