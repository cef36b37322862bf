//! The tables that the server computes when they are read: MySQL's and TiDB's names, columns, order and types.
//!
//! They are part of every [`crate::Schema`], marked [`TableKind::Memory`], so names resolve as they do for other
//! tables. Those of SHOW and ADMIN that no schema has are in [`internal`]. Not here: their rows, which are the server's
//! matter.

mod internal;

use std::sync::{Arc, LazyLock};

use codec::types::{Collation, FieldType, TypeCode, flags};

use crate::{ColumnInfo, Database, DatabaseInfo, Schema, SchemaState, TableInfo, TableKind};

/// Ids of computed databases and tables start here, far above any that is given out.
const FIRST_ID: i64 = 1 << 62;
/// Those of `performance_schema`.
const FIRST_ID_PERFORMANCE: i64 = FIRST_ID + 1000;
/// Those of tables that no schema has.
const FIRST_ID_INTERNAL: i64 = FIRST_ID + 2000;

/// Types of columns, as short as the tables below need them.
enum T {
    /// VARCHAR(n).
    S(i32),
    /// LONGTEXT.
    L,
    /// BIGINT.
    I,
    /// BIGINT UNSIGNED.
    U,
    /// DOUBLE.
    D,
    /// DATETIME.
    W,
    /// DATETIME(6).
    X,
}

use T::{D, I, L, S, U, W, X};

impl T {
    fn field(&self) -> FieldType {
        match self {
            S(length) => FieldType::varchar(*length).with_collation(Collation::UTF8MB4_GENERAL_CI),
            L => FieldType::new(TypeCode::LongBlob).with_collation(Collation::UTF8MB4_GENERAL_CI),
            I => FieldType::bigint(),
            U => FieldType::bigint_unsigned(),
            D => FieldType::double(),
            W => FieldType::datetime(0),
            X => FieldType::datetime(6),
        }
    }
}

type Columns = &'static [(&'static str, T)];

const TABLES: &[(&str, Columns)] = &[
    (
        "SCHEMATA",
        &[
            ("CATALOG_NAME", S(512)),
            ("SCHEMA_NAME", S(64)),
            ("DEFAULT_CHARACTER_SET_NAME", S(64)),
            ("DEFAULT_COLLATION_NAME", S(32)),
            ("SQL_PATH", S(512)),
            ("TIDB_PLACEMENT_POLICY_NAME", S(64)),
        ],
    ),
    (
        "TABLES",
        &[
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("TABLE_TYPE", S(64)),
            ("ENGINE", S(64)),
            ("VERSION", U),
            ("ROW_FORMAT", S(10)),
            ("TABLE_ROWS", U),
            ("AVG_ROW_LENGTH", U),
            ("DATA_LENGTH", U),
            ("MAX_DATA_LENGTH", U),
            ("INDEX_LENGTH", U),
            ("DATA_FREE", U),
            ("AUTO_INCREMENT", U),
            ("CREATE_TIME", W),
            ("UPDATE_TIME", W),
            ("CHECK_TIME", W),
            ("TABLE_COLLATION", S(32)),
            ("CHECKSUM", U),
            ("CREATE_OPTIONS", S(255)),
            ("TABLE_COMMENT", S(2048)),
            ("TIDB_TABLE_ID", I),
            ("TIDB_ROW_ID_SHARDING_INFO", S(255)),
            ("TIDB_PK_TYPE", S(64)),
            ("TIDB_PLACEMENT_POLICY_NAME", S(64)),
        ],
    ),
    (
        "COLUMNS",
        &[
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("COLUMN_NAME", S(64)),
            ("ORDINAL_POSITION", I),
            ("COLUMN_DEFAULT", L),
            ("IS_NULLABLE", S(3)),
            ("DATA_TYPE", S(64)),
            ("CHARACTER_MAXIMUM_LENGTH", U),
            ("CHARACTER_OCTET_LENGTH", U),
            ("NUMERIC_PRECISION", U),
            ("NUMERIC_SCALE", U),
            ("DATETIME_PRECISION", U),
            ("CHARACTER_SET_NAME", S(32)),
            ("COLLATION_NAME", S(32)),
            ("COLUMN_TYPE", L),
            ("COLUMN_KEY", S(3)),
            ("EXTRA", S(256)),
            ("PRIVILEGES", S(154)),
            ("COLUMN_COMMENT", S(1024)),
            ("GENERATION_EXPRESSION", L),
            ("SRS_ID", U),
        ],
    ),
    (
        "STATISTICS",
        &[
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("NON_UNIQUE", I),
            ("INDEX_SCHEMA", S(64)),
            ("INDEX_NAME", S(64)),
            ("SEQ_IN_INDEX", I),
            ("COLUMN_NAME", S(64)),
            ("COLLATION", S(1)),
            ("CARDINALITY", I),
            ("SUB_PART", I),
            ("PACKED", S(10)),
            ("NULLABLE", S(3)),
            ("INDEX_TYPE", S(16)),
            ("COMMENT", S(16)),
            ("INDEX_COMMENT", S(1024)),
            ("IS_VISIBLE", S(3)),
            ("EXPRESSION", S(64)),
        ],
    ),
    (
        "KEY_COLUMN_USAGE",
        &[
            ("CONSTRAINT_CATALOG", S(512)),
            ("CONSTRAINT_SCHEMA", S(64)),
            ("CONSTRAINT_NAME", S(64)),
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("COLUMN_NAME", S(64)),
            ("ORDINAL_POSITION", I),
            ("POSITION_IN_UNIQUE_CONSTRAINT", I),
            ("REFERENCED_TABLE_SCHEMA", S(64)),
            ("REFERENCED_TABLE_NAME", S(64)),
            ("REFERENCED_COLUMN_NAME", S(64)),
        ],
    ),
    (
        "TABLE_CONSTRAINTS",
        &[
            ("CONSTRAINT_CATALOG", S(512)),
            ("CONSTRAINT_SCHEMA", S(64)),
            ("CONSTRAINT_NAME", S(64)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("CONSTRAINT_TYPE", S(64)),
            ("ENFORCED", S(3)),
        ],
    ),
    (
        "REFERENTIAL_CONSTRAINTS",
        &[
            ("CONSTRAINT_CATALOG", S(512)),
            ("CONSTRAINT_SCHEMA", S(64)),
            ("CONSTRAINT_NAME", S(64)),
            ("UNIQUE_CONSTRAINT_CATALOG", S(512)),
            ("UNIQUE_CONSTRAINT_SCHEMA", S(64)),
            ("UNIQUE_CONSTRAINT_NAME", S(64)),
            ("MATCH_OPTION", S(64)),
            ("UPDATE_RULE", S(64)),
            ("DELETE_RULE", S(64)),
            ("TABLE_NAME", S(64)),
            ("REFERENCED_TABLE_NAME", S(64)),
        ],
    ),
    (
        "CHECK_CONSTRAINTS",
        &[("CONSTRAINT_CATALOG", S(64)), ("CONSTRAINT_SCHEMA", S(64)), ("CONSTRAINT_NAME", S(64)), ("CHECK_CLAUSE", L)],
    ),
    // Always empty: there are no tablespaces. mysqldump asks for them.
    (
        "FILES",
        &[
            ("FILE_ID", I),
            ("FILE_NAME", L),
            ("FILE_TYPE", S(256)),
            ("TABLESPACE_NAME", S(268)),
            ("TABLE_CATALOG", S(64)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("LOGFILE_GROUP_NAME", S(256)),
            ("LOGFILE_GROUP_NUMBER", I),
            ("ENGINE", S(64)),
            ("FULLTEXT_KEYS", S(64)),
            ("DELETED_ROWS", I),
            ("UPDATE_COUNT", I),
            ("FREE_EXTENTS", I),
            ("TOTAL_EXTENTS", I),
            ("EXTENT_SIZE", I),
            ("INITIAL_SIZE", I),
            ("MAXIMUM_SIZE", I),
            ("AUTOEXTEND_SIZE", I),
            ("CREATION_TIME", W),
            ("LAST_UPDATE_TIME", W),
            ("LAST_ACCESS_TIME", W),
            ("RECOVER_TIME", I),
            ("TRANSACTION_COUNTER", I),
            ("VERSION", I),
            ("ROW_FORMAT", S(10)),
            ("TABLE_ROWS", I),
            ("AVG_ROW_LENGTH", I),
            ("DATA_LENGTH", I),
            ("MAX_DATA_LENGTH", I),
            ("INDEX_LENGTH", I),
            ("DATA_FREE", I),
            ("CREATE_TIME", W),
            ("UPDATE_TIME", W),
            ("CHECK_TIME", W),
            ("CHECKSUM", I),
            ("STATUS", S(256)),
            ("EXTRA", S(256)),
        ],
    ),
    (
        "ENGINES",
        &[
            ("ENGINE", S(64)),
            ("SUPPORT", S(8)),
            ("COMMENT", S(80)),
            ("TRANSACTIONS", S(3)),
            ("XA", S(3)),
            ("SAVEPOINTS", S(3)),
        ],
    ),
    (
        "CHARACTER_SETS",
        &[("CHARACTER_SET_NAME", S(32)), ("DEFAULT_COLLATE_NAME", S(32)), ("DESCRIPTION", S(60)), ("MAXLEN", I)],
    ),
    (
        "COLLATIONS",
        &[
            ("COLLATION_NAME", S(32)),
            ("CHARACTER_SET_NAME", S(32)),
            ("ID", I),
            ("IS_DEFAULT", S(3)),
            ("IS_COMPILED", S(3)),
            ("SORTLEN", I),
            ("PAD_ATTRIBUTE", S(9)),
        ],
    ),
    ("COLLATION_CHARACTER_SET_APPLICABILITY", &[("COLLATION_NAME", S(32)), ("CHARACTER_SET_NAME", S(32))]),
    (
        "PLACEMENT_POLICIES",
        &[
            ("POLICY_ID", I),
            ("CATALOG_NAME", S(512)),
            ("POLICY_NAME", S(64)),
            ("PRIMARY_REGION", S(1024)),
            ("REGIONS", S(1024)),
            ("CONSTRAINTS", S(1024)),
            ("LEADER_CONSTRAINTS", S(1024)),
            ("FOLLOWER_CONSTRAINTS", S(1024)),
            ("LEARNER_CONSTRAINTS", S(1024)),
            ("SCHEDULE", S(20)),
            ("FOLLOWERS", I),
            ("LEARNERS", I),
            // Ours, behind TiDB's columns, so that nothing of a policy is hidden.
            ("SURVIVAL_PREFERENCES", S(1024)),
        ],
    ),
    (
        "TIDB_INDEXES",
        &[
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("NON_UNIQUE", I),
            ("KEY_NAME", S(64)),
            ("SEQ_IN_INDEX", I),
            ("COLUMN_NAME", S(64)),
            ("SUB_PART", I),
            ("INDEX_COMMENT", S(1024)),
            ("EXPRESSION", S(64)),
            ("INDEX_ID", I),
            ("IS_VISIBLE", S(64)),
            ("CLUSTERED", S(64)),
        ],
    ),
    (
        "TIKV_STORE_STATUS",
        &[
            ("STORE_ID", I),
            ("ADDRESS", S(64)),
            ("STORE_STATE", I),
            ("STORE_STATE_NAME", S(64)),
            ("LABEL", L),
            ("VERSION", S(64)),
            ("CAPACITY", S(64)),
            ("AVAILABLE", S(64)),
            ("LEADER_COUNT", I),
            ("LEADER_WEIGHT", D),
            ("LEADER_SCORE", D),
            ("LEADER_SIZE", I),
            ("REGION_COUNT", I),
            ("REGION_WEIGHT", D),
            ("REGION_SCORE", D),
            ("REGION_SIZE", I),
            ("START_TS", W),
            ("LAST_HEARTBEAT_TS", W),
            ("UPTIME", S(64)),
        ],
    ),
    (
        "TIKV_REGION_STATUS",
        &[
            ("REGION_ID", I),
            ("START_KEY", L),
            ("END_KEY", L),
            ("TABLE_ID", I),
            ("DB_NAME", S(64)),
            ("TABLE_NAME", S(64)),
            ("IS_INDEX", I),
            ("INDEX_ID", I),
            ("INDEX_NAME", S(64)),
            ("IS_PARTITION", I),
            ("PARTITION_ID", I),
            ("PARTITION_NAME", S(64)),
            ("EPOCH_CONF_VER", I),
            ("EPOCH_VERSION", I),
            ("WRITTEN_BYTES", I),
            ("READ_BYTES", I),
            ("APPROXIMATE_SIZE", I),
            ("APPROXIMATE_KEYS", I),
            ("REPLICATIONSTATUS_STATE", S(64)),
            ("REPLICATIONSTATUS_STATEID", I),
        ],
    ),
    (
        "TIKV_REGION_PEERS",
        &[
            ("REGION_ID", I),
            ("PEER_ID", I),
            ("STORE_ID", I),
            ("IS_LEARNER", I),
            ("IS_LEADER", I),
            ("STATUS", S(10)),
            ("DOWN_SECONDS", I),
        ],
    ),
    (
        "CLUSTER_INFO",
        &[
            ("TYPE", S(64)),
            ("INSTANCE", S(64)),
            ("STATUS_ADDRESS", S(64)),
            ("VERSION", S(64)),
            ("GIT_HASH", S(64)),
            ("START_TIME", S(32)),
            ("UPTIME", S(32)),
            ("SERVER_ID", U),
        ],
    ),
    (
        "TIDB_SERVERS_INFO",
        &[
            ("DDL_ID", S(64)),
            ("IP", S(64)),
            ("PORT", I),
            ("STATUS_PORT", I),
            ("LEASE", S(64)),
            ("VERSION", S(64)),
            ("GIT_HASH", S(64)),
            ("BINLOG_STATUS", S(64)),
            ("LABELS", S(128)),
        ],
    ),
    (
        "PROCESSLIST",
        &[
            ("ID", U),
            ("USER", S(32)),
            ("HOST", S(261)),
            ("DB", S(64)),
            ("COMMAND", S(16)),
            ("TIME", I),
            ("STATE", S(64)),
            ("INFO", L),
        ],
    ),
    (
        "SLOW_QUERY",
        &[
            ("TIME", X),
            ("TXN_START_TS", U),
            ("USER", S(64)),
            ("HOST", S(64)),
            ("CONN_ID", U),
            ("QUERY_TIME", D),
            ("DB", S(64)),
            ("DIGEST", S(64)),
            ("MEM_MAX", I),
            ("DISK_MAX", I),
            ("RESULT_ROWS", I),
            ("SUCC", I),
            ("PLAN_FROM_CACHE", I),
            ("PD_TRIPS", I),
            ("STORAGE_TRIPS", I),
            ("OTHER_REGION_TRIPS", I),
            ("QUERY", L),
        ],
    ),
    (
        "STATEMENTS_SUMMARY",
        &[
            ("STMT_TYPE", S(64)),
            ("SCHEMA_NAME", S(64)),
            ("DIGEST", S(64)),
            ("DIGEST_TEXT", L),
            ("SAMPLE_USER", S(64)),
            ("EXEC_COUNT", U),
            ("SUM_ERRORS", U),
            ("SUM_LATENCY", U),
            ("MAX_LATENCY", U),
            ("MIN_LATENCY", U),
            ("AVG_LATENCY", U),
            ("AVG_MEM", U),
            ("MAX_MEM", U),
            ("AVG_DISK", U),
            ("MAX_DISK", U),
            ("AVG_AFFECTED_ROWS", D),
            ("AVG_RESULT_ROWS", D),
            ("SUM_RESULT_ROWS", U),
            ("SUM_PD_TRIPS", U),
            ("SUM_STORAGE_TRIPS", U),
            ("SUM_OTHER_REGION_TRIPS", U),
            ("PLAN_CACHE_HITS", U),
            ("FIRST_SEEN", W),
            ("LAST_SEEN", W),
            ("QUERY_SAMPLE_TEXT", L),
        ],
    ),
    (
        "DDL_JOBS",
        &[
            ("JOB_ID", I),
            ("DB_NAME", S(64)),
            ("TABLE_NAME", S(64)),
            ("JOB_TYPE", S(64)),
            ("SCHEMA_STATE", S(64)),
            ("SCHEMA_ID", I),
            ("TABLE_ID", I),
            ("ROW_COUNT", I),
            ("CREATE_TIME", W),
            ("START_TIME", W),
            ("END_TIME", W),
            ("STATE", S(64)),
            ("QUERY", L),
        ],
    ),
    (
        "ANALYZE_STATUS",
        &[
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("PARTITION_NAME", S(64)),
            ("JOB_INFO", S(512)),
            ("PROCESSED_ROWS", U),
            ("START_TIME", W),
            ("END_TIME", W),
            ("STATE", S(64)),
            ("FAIL_REASON", S(2048)),
            ("INSTANCE", S(512)),
            ("PROCESS_ID", U),
        ],
    ),
    // Always empty.
    (
        "PLUGINS",
        &[
            ("PLUGIN_NAME", S(64)),
            ("PLUGIN_VERSION", S(20)),
            ("PLUGIN_STATUS", S(10)),
            ("PLUGIN_TYPE", S(80)),
            ("PLUGIN_TYPE_VERSION", S(20)),
            ("PLUGIN_LIBRARY", S(64)),
            ("PLUGIN_LIBRARY_VERSION", S(20)),
            ("PLUGIN_AUTHOR", S(64)),
            ("PLUGIN_DESCRIPTION", L),
            ("PLUGIN_LICENSE", S(80)),
            ("LOAD_OPTION", S(64)),
        ],
    ),
    (
        "VIEWS",
        &[
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("VIEW_DEFINITION", L),
            ("CHECK_OPTION", S(8)),
            ("IS_UPDATABLE", S(3)),
            ("DEFINER", S(77)),
            ("SECURITY_TYPE", S(7)),
            ("CHARACTER_SET_CLIENT", S(32)),
            ("COLLATION_CONNECTION", S(32)),
        ],
    ),
    (
        "ROUTINES",
        &[
            ("SPECIFIC_NAME", S(64)),
            ("ROUTINE_CATALOG", S(512)),
            ("ROUTINE_SCHEMA", S(64)),
            ("ROUTINE_NAME", S(64)),
            ("ROUTINE_TYPE", S(9)),
            ("DATA_TYPE", S(64)),
            ("CHARACTER_MAXIMUM_LENGTH", I),
            ("CHARACTER_OCTET_LENGTH", I),
            ("NUMERIC_PRECISION", U),
            ("NUMERIC_SCALE", I),
            ("DATETIME_PRECISION", U),
            ("CHARACTER_SET_NAME", S(64)),
            ("COLLATION_NAME", S(64)),
            ("DTD_IDENTIFIER", L),
            ("ROUTINE_BODY", S(8)),
            ("ROUTINE_DEFINITION", L),
            ("EXTERNAL_NAME", S(64)),
            ("EXTERNAL_LANGUAGE", S(64)),
            ("PARAMETER_STYLE", S(8)),
            ("IS_DETERMINISTIC", S(3)),
            ("SQL_DATA_ACCESS", S(64)),
            ("SQL_PATH", S(64)),
            ("SECURITY_TYPE", S(7)),
            ("CREATED", W),
            ("LAST_ALTERED", W),
            ("SQL_MODE", S(8192)),
            ("ROUTINE_COMMENT", L),
            ("DEFINER", S(77)),
            ("CHARACTER_SET_CLIENT", S(32)),
            ("COLLATION_CONNECTION", S(32)),
            ("DATABASE_COLLATION", S(32)),
        ],
    ),
    (
        "PARAMETERS",
        &[
            ("SPECIFIC_CATALOG", S(512)),
            ("SPECIFIC_SCHEMA", S(64)),
            ("SPECIFIC_NAME", S(64)),
            ("ORDINAL_POSITION", I),
            ("PARAMETER_MODE", S(5)),
            ("PARAMETER_NAME", S(64)),
            ("DATA_TYPE", S(64)),
            ("CHARACTER_MAXIMUM_LENGTH", I),
            ("CHARACTER_OCTET_LENGTH", I),
            ("NUMERIC_PRECISION", U),
            ("NUMERIC_SCALE", I),
            ("DATETIME_PRECISION", U),
            ("CHARACTER_SET_NAME", S(64)),
            ("COLLATION_NAME", S(64)),
            ("DTD_IDENTIFIER", L),
            ("ROUTINE_TYPE", S(9)),
        ],
    ),
    (
        "TRIGGERS",
        &[
            ("TRIGGER_CATALOG", S(512)),
            ("TRIGGER_SCHEMA", S(64)),
            ("TRIGGER_NAME", S(64)),
            ("EVENT_MANIPULATION", S(6)),
            ("EVENT_OBJECT_CATALOG", S(512)),
            ("EVENT_OBJECT_SCHEMA", S(64)),
            ("EVENT_OBJECT_TABLE", S(64)),
            ("ACTION_ORDER", I),
            ("ACTION_CONDITION", L),
            ("ACTION_STATEMENT", L),
            ("ACTION_ORIENTATION", S(9)),
            ("ACTION_TIMING", S(6)),
            ("ACTION_REFERENCE_OLD_TABLE", S(64)),
            ("ACTION_REFERENCE_NEW_TABLE", S(64)),
            ("ACTION_REFERENCE_OLD_ROW", S(3)),
            ("ACTION_REFERENCE_NEW_ROW", S(3)),
            ("CREATED", W),
            ("SQL_MODE", S(8192)),
            ("DEFINER", S(77)),
            ("CHARACTER_SET_CLIENT", S(32)),
            ("COLLATION_CONNECTION", S(32)),
            ("DATABASE_COLLATION", S(32)),
        ],
    ),
    (
        "EVENTS",
        &[
            ("EVENT_CATALOG", S(64)),
            ("EVENT_SCHEMA", S(64)),
            ("EVENT_NAME", S(64)),
            ("DEFINER", S(77)),
            ("TIME_ZONE", S(64)),
            ("EVENT_BODY", S(8)),
            ("EVENT_DEFINITION", L),
            ("EVENT_TYPE", S(9)),
            ("EXECUTE_AT", W),
            ("INTERVAL_VALUE", S(256)),
            ("INTERVAL_FIELD", S(18)),
            ("SQL_MODE", S(8192)),
            ("STARTS", W),
            ("ENDS", W),
            ("STATUS", S(18)),
            ("ON_COMPLETION", S(12)),
            ("CREATED", W),
            ("LAST_ALTERED", W),
            ("LAST_EXECUTED", W),
            ("EVENT_COMMENT", S(64)),
            ("ORIGINATOR", I),
            ("CHARACTER_SET_CLIENT", S(32)),
            ("COLLATION_CONNECTION", S(32)),
            ("DATABASE_COLLATION", S(32)),
        ],
    ),
    (
        "PARTITIONS",
        &[
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("PARTITION_NAME", S(64)),
            ("SUBPARTITION_NAME", S(64)),
            ("PARTITION_ORDINAL_POSITION", I),
            ("SUBPARTITION_ORDINAL_POSITION", I),
            ("PARTITION_METHOD", S(18)),
            ("SUBPARTITION_METHOD", S(12)),
            ("PARTITION_EXPRESSION", L),
            ("SUBPARTITION_EXPRESSION", L),
            ("PARTITION_DESCRIPTION", L),
            ("TABLE_ROWS", I),
            ("AVG_ROW_LENGTH", I),
            ("DATA_LENGTH", I),
            ("MAX_DATA_LENGTH", I),
            ("INDEX_LENGTH", I),
            ("DATA_FREE", I),
            ("CREATE_TIME", W),
            ("UPDATE_TIME", W),
            ("CHECK_TIME", W),
            ("CHECKSUM", I),
            ("PARTITION_COMMENT", S(80)),
            ("NODEGROUP", S(12)),
            ("TABLESPACE_NAME", S(64)),
            ("TIDB_PARTITION_ID", I),
            ("TIDB_PLACEMENT_POLICY_NAME", S(64)),
        ],
    ),
    (
        "USER_PRIVILEGES",
        &[("GRANTEE", S(81)), ("TABLE_CATALOG", S(512)), ("PRIVILEGE_TYPE", S(64)), ("IS_GRANTABLE", S(3))],
    ),
    (
        "SCHEMA_PRIVILEGES",
        &[
            ("GRANTEE", S(81)),
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("PRIVILEGE_TYPE", S(64)),
            ("IS_GRANTABLE", S(3)),
        ],
    ),
    (
        "TABLE_PRIVILEGES",
        &[
            ("GRANTEE", S(81)),
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("PRIVILEGE_TYPE", S(64)),
            ("IS_GRANTABLE", S(3)),
        ],
    ),
    ("COLUMN_STATISTICS", &[("SCHEMA_NAME", S(64)), ("TABLE_NAME", S(64)), ("COLUMN_NAME", S(64)), ("HISTOGRAM", L)]),
    (
        "COLUMN_PRIVILEGES",
        &[
            ("GRANTEE", S(81)),
            ("TABLE_CATALOG", S(512)),
            ("TABLE_SCHEMA", S(64)),
            ("TABLE_NAME", S(64)),
            ("COLUMN_NAME", S(64)),
            ("PRIVILEGE_TYPE", S(64)),
            ("IS_GRANTABLE", S(3)),
        ],
    ),
];

/// Names of what is set, and values.
const SETTINGS: Columns = &[("VARIABLE_NAME", S(64)), ("VARIABLE_VALUE", S(1024))];

const PERFORMANCE_TABLES: &[(&str, Columns)] = &[
    ("global_status", SETTINGS),
    ("global_variables", SETTINGS),
    ("session_status", SETTINGS),
    ("session_variables", SETTINGS),
];

/// Computed tables of the stored database `mysql`.
const MYSQL_TABLES: &[(&str, Columns)] =
    &[("tidb", &[("VARIABLE_NAME", S(64)), ("VARIABLE_VALUE", S(1024)), ("COMMENT", S(1024))])];

/// The computed tables of a stored database, by its name in lower case.
pub fn tables_in(database: &str) -> Vec<Arc<TableInfo>> {
    let tables = if database == "mysql" { MYSQL_TABLES } else { &[] };
    numbered(tables, FIRST_ID + 1 + TABLES.len() as i64).collect()
}

static DATABASES: LazyLock<Vec<Arc<Database>>> = LazyLock::new(|| {
    vec![
        define(FIRST_ID, "information_schema", TABLES),
        define(FIRST_ID_PERFORMANCE, "performance_schema", PERFORMANCE_TABLES),
    ]
});

/// The databases whose tables are computed.
pub fn databases() -> Vec<Arc<Database>> {
    DATABASES.clone()
}

/// A schema of those databases and no others: of statements that name nothing else, which so need no cluster.
pub fn schema() -> Arc<Schema> {
    static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::new(0, databases(), [])));
    SCHEMA.clone()
}

/// A computed table that no schema has, by its name: what only SHOW and ADMIN tell.
pub fn internal(name: &str) -> Option<Arc<TableInfo>> {
    static INTERNAL: LazyLock<Vec<Arc<TableInfo>>> =
        LazyLock::new(|| numbered(internal::TABLES, FIRST_ID_INTERNAL).collect());
    INTERNAL.iter().find(|table| table.name.matches(name)).cloned()
}

fn define(id: i64, name: &str, tables: &'static [(&str, Columns)]) -> Arc<Database> {
    let info = DatabaseInfo {
        id,
        name: name.into(),
        charset: "utf8mb4".into(),
        collate: "utf8mb4_bin".into(),
        state: SchemaState::Public,
        policy: None,
    };
    Arc::new(Database::new(info, numbered(tables, id + 1)))
}

/// Tables, with ids from `first` on.
fn numbered(tables: &'static [(&str, Columns)], first: i64) -> impl Iterator<Item = Arc<TableInfo>> {
    tables.iter().zip(first..).map(|((name, columns), id)| Arc::new(table(id, name, columns)))
}

fn table(id: i64, name: &str, columns: Columns) -> TableInfo {
    let column = |(offset, (name, ty)): (usize, &(&str, T))| {
        let field_type = match ty {
            L => ty.field().with_flags(flags::BLOB),
            _ => ty.field(),
        };
        ColumnInfo::new(offset, *name, field_type)
    };
    let columns = columns.iter().enumerate().map(column).collect();
    TableInfo { kind: TableKind::Memory, ..TableInfo::new(id, name, columns) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_table_has_columns() {
        let databases = databases();
        assert_eq!(databases[0].tables().count(), TABLES.len());
        let internal: Vec<_> = internal::TABLES.iter().filter_map(|(name, _)| internal(name)).collect();
        for table in databases.iter().flat_map(|database| database.tables()).chain(&internal) {
            let mut names: Vec<_> = table.columns.iter().map(|column| &column.name.lower).collect();
            assert!(!names.is_empty(), "{}", table.name);
            names.sort();
            names.dedup();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
        }
    }
}
