//! What each SHOW statement selects, and from where: names of columns, and which of them LIKE is for, are MySQL's and TiDB's.

use sql_base::SqlError;
use sql_context::SessionState;
use sql_parser::{Show, ShowFilter, ShowKind, ShowStatistics};

use super::source::table_named;
use super::{Items, List, users};
use crate::admin::names::Names;
use crate::cluster::Server;

const SETTINGS: Items = &[("VARIABLE_NAME", "Variable_name"), ("VARIABLE_VALUE", "Value")];

const TABLES: Items = &[("TABLE_NAME", "Tables")];

const FULL_TABLES: Items = &[("TABLE_NAME", "Tables"), ("TABLE_TYPE", "Table_type")];

const TABLE_STATUS: Items = &[
    ("TABLE_NAME", "Name"),
    ("ENGINE", "Engine"),
    ("VERSION", "Version"),
    ("ROW_FORMAT", "Row_format"),
    ("TABLE_ROWS", "Rows"),
    ("AVG_ROW_LENGTH", "Avg_row_length"),
    ("DATA_LENGTH", "Data_length"),
    ("MAX_DATA_LENGTH", "Max_data_length"),
    ("INDEX_LENGTH", "Index_length"),
    ("DATA_FREE", "Data_free"),
    ("AUTO_INCREMENT", "Auto_increment"),
    ("CREATE_TIME", "Create_time"),
    ("UPDATE_TIME", "Update_time"),
    ("CHECK_TIME", "Check_time"),
    ("TABLE_COLLATION", "Collation"),
    ("CHECKSUM", "Checksum"),
    ("CREATE_OPTIONS", "Create_options"),
    ("TABLE_COMMENT", "Comment"),
];

const COLUMNS: Items = &[
    ("COLUMN_NAME", "Field"),
    ("COLUMN_TYPE", "Type"),
    ("IS_NULLABLE", "Null"),
    ("COLUMN_KEY", "Key"),
    ("COLUMN_DEFAULT", "Default"),
    ("EXTRA", "Extra"),
];

const FULL_COLUMNS: Items = &[
    ("COLUMN_NAME", "Field"),
    ("COLUMN_TYPE", "Type"),
    ("COLLATION_NAME", "Collation"),
    ("IS_NULLABLE", "Null"),
    ("COLUMN_KEY", "Key"),
    ("COLUMN_DEFAULT", "Default"),
    ("EXTRA", "Extra"),
    ("PRIVILEGES", "Privileges"),
    ("COLUMN_COMMENT", "Comment"),
];

const PROCESSES: Items = &[
    ("ID", "Id"),
    ("USER", "User"),
    ("HOST", "Host"),
    ("DB", "db"),
    ("COMMAND", "Command"),
    ("TIME", "Time"),
    ("STATE", "State"),
    ("LEFT(INFO, 100)", "Info"),
];

const FULL_PROCESSES: Items = &[
    ("ID", "Id"),
    ("USER", "User"),
    ("HOST", "Host"),
    ("DB", "db"),
    ("COMMAND", "Command"),
    ("TIME", "Time"),
    ("STATE", "State"),
    ("INFO", "Info"),
];

const CHARACTER_SETS: Items = &[
    ("CHARACTER_SET_NAME", "Charset"),
    ("DESCRIPTION", "Description"),
    ("DEFAULT_COLLATE_NAME", "Default collation"),
    ("MAXLEN", "Maxlen"),
];

const COLLATIONS: Items = &[
    ("COLLATION_NAME", "Collation"),
    ("CHARACTER_SET_NAME", "Charset"),
    ("ID", "Id"),
    ("IS_DEFAULT", "Default"),
    ("IS_COMPILED", "Compiled"),
    ("SORTLEN", "Sortlen"),
    ("PAD_ATTRIBUTE", "Pad_attribute"),
];

const ENGINES: Items = &[
    ("ENGINE", "Engine"),
    ("SUPPORT", "Support"),
    ("COMMENT", "Comment"),
    ("TRANSACTIONS", "Transactions"),
    ("XA", "XA"),
    ("SAVEPOINTS", "Savepoints"),
];

const PLUGINS: Items = &[
    ("PLUGIN_NAME", "Name"),
    ("PLUGIN_STATUS", "Status"),
    ("PLUGIN_TYPE", "Type"),
    ("PLUGIN_LIBRARY", "Library"),
    ("PLUGIN_LICENSE", "License"),
];

const ROUTINES: Items = &[
    ("ROUTINE_SCHEMA", "Db"),
    ("ROUTINE_NAME", "Name"),
    ("ROUTINE_TYPE", "Type"),
    ("DEFINER", "Definer"),
    ("LAST_ALTERED", "Modified"),
    ("CREATED", "Created"),
    ("SECURITY_TYPE", "Security_type"),
    ("ROUTINE_COMMENT", "Comment"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const TRIGGERS: Items = &[
    ("TRIGGER_NAME", "Trigger"),
    ("EVENT_MANIPULATION", "Event"),
    ("EVENT_OBJECT_TABLE", "Table"),
    ("ACTION_STATEMENT", "Statement"),
    ("ACTION_TIMING", "Timing"),
    ("CREATED", "Created"),
    ("SQL_MODE", "sql_mode"),
    ("DEFINER", "Definer"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const EVENTS: Items = &[
    ("EVENT_SCHEMA", "Db"),
    ("EVENT_NAME", "Name"),
    ("DEFINER", "Definer"),
    ("TIME_ZONE", "Time zone"),
    ("EVENT_TYPE", "Type"),
    ("EXECUTE_AT", "Execute At"),
    ("INTERVAL_VALUE", "Interval Value"),
    ("INTERVAL_FIELD", "Interval Field"),
    ("STARTS", "Starts"),
    ("ENDS", "Ends"),
    ("STATUS", "Status"),
    ("ORIGINATOR", "Originator"),
    ("CHARACTER_SET_CLIENT", "character_set_client"),
    ("COLLATION_CONNECTION", "collation_connection"),
    ("DATABASE_COLLATION", "Database Collation"),
];

const ANALYZE_STATUS: Items = &[
    ("TABLE_SCHEMA", "Table_schema"),
    ("TABLE_NAME", "Table_name"),
    ("PARTITION_NAME", "Partition_name"),
    ("JOB_INFO", "Job_info"),
    ("PROCESSED_ROWS", "Processed_rows"),
    ("START_TIME", "Start_time"),
    ("END_TIME", "End_time"),
    ("STATE", "State"),
    ("FAIL_REASON", "Fail_reason"),
    ("INSTANCE", "Instance"),
    ("PROCESS_ID", "Process_ID"),
];

const WARNING_COUNT: Items = &[("@@session.warning_count", "@@session.warning_count")];

const ERROR_COUNT: Items = &[("@@session.error_count", "@@session.error_count")];

/// What a statement selects.
pub(super) fn of(server: &Server, session: &SessionState, show: &Show) -> Result<List, SqlError> {
    let settings = |name| List::public("performance_schema", name, SETTINGS);
    Ok(match &show.kind {
        ShowKind::Databases => {
            let list = List::info("SCHEMATA", &[("SCHEMA_NAME", "Database")]);
            list.headed("", with_pattern("Database", show))
        }
        ShowKind::Tables { full, database } => {
            let schema = server.schema()?;
            let names = Names { schema: &schema, current: session.database.as_deref() };
            let database = names.database(database.as_deref())?;
            let list = List::info("TABLES", if *full { FULL_TABLES } else { TABLES });
            list.headed("", with_pattern(&format!("Tables_in_{}", database.info.name), show))
        }
        ShowKind::TableStatus { .. } => List::info("TABLES", TABLE_STATUS),
        ShowKind::OpenTables => List::internal("open_tables"),
        ShowKind::Columns { full, .. } => List::info("COLUMNS", if *full { FULL_COLUMNS } else { COLUMNS }),
        ShowKind::Indexes { .. } => List::internal("keys"),
        ShowKind::CreateDatabase { .. } => List::internal("create_database"),
        ShowKind::CreateTable(name) => match table_named(server, session, name)?.1.view {
            Some(_) => List::internal("create_view"),
            None => List::internal("create_table"),
        },
        ShowKind::CreateView(_) => List::internal("create_view"),
        ShowKind::CreatePlacementPolicy(_) => List::internal("create_policy"),
        ShowKind::CreateUser(user) => {
            let user = users::named(session, Some(user));
            List::internal("create_user").headed("`Create User`", format!("CREATE USER for {user}"))
        }
        ShowKind::Grants(user) => {
            let user = users::named(session, user.as_deref());
            List::internal("grants").headed("`Grants`", format!("Grants for {user}"))
        }
        ShowKind::Placement | ShowKind::PlacementForDatabase(_) | ShowKind::PlacementForTable { .. } => {
            List::internal("placement")
        }
        ShowKind::PlacementLabels => List::internal("placement_labels"),
        ShowKind::TableRegions { .. } => List::internal("regions"),
        ShowKind::TableNextRowId(_) => List::internal("next_row_id"),
        ShowKind::Variables { global } => settings(if *global { "global_variables" } else { "session_variables" }),
        ShowKind::Status { global } => settings(if *global { "global_status" } else { "session_status" }),
        ShowKind::Warnings | ShowKind::Errors => List::internal("diagnostics"),
        ShowKind::CountWarnings => List::of_no_table(WARNING_COUNT),
        ShowKind::CountErrors => List::of_no_table(ERROR_COUNT),
        ShowKind::ProcessList { full } => List::info("PROCESSLIST", if *full { FULL_PROCESSES } else { PROCESSES }),
        ShowKind::Charset => List::info("CHARACTER_SETS", CHARACTER_SETS),
        ShowKind::Collation => List::info("COLLATIONS", COLLATIONS),
        ShowKind::Engines => List::info("ENGINES", ENGINES),
        ShowKind::Plugins => List::info("PLUGINS", PLUGINS),
        ShowKind::Privileges => List::internal("privileges"),
        ShowKind::Profiles => List::internal("profiles"),
        ShowKind::Builtins => List::internal("builtins"),
        ShowKind::MasterStatus => List::internal("binary_log_status"),
        // LIKE is for the names of tables.
        ShowKind::Routines("TRIGGERS") => List { like: 2, ..List::info("TRIGGERS", TRIGGERS) },
        ShowKind::Routines("EVENTS") => List { like: 1, ..List::info("EVENTS", EVENTS) },
        ShowKind::Routines(what) => {
            let functions = what.starts_with("FUNCTION");
            let kind = if functions { "ROUTINE_TYPE = 'FUNCTION'" } else { "ROUTINE_TYPE = 'PROCEDURE'" };
            List { like: 1, condition: Some(kind), ..List::info("ROUTINES", ROUTINES) }
        }
        ShowKind::Statistics(ShowStatistics::AnalyzeStatus) => List::info("ANALYZE_STATUS", ANALYZE_STATUS),
        ShowKind::Statistics(ShowStatistics::Meta) => List::internal("stats_meta"),
        ShowKind::Statistics(ShowStatistics::Healthy) => List::internal("stats_healthy"),
        ShowKind::Statistics(ShowStatistics::Histograms) => List::internal("stats_histograms"),
        ShowKind::Statistics(ShowStatistics::Buckets) => List::internal("stats_buckets"),
        ShowKind::Statistics(ShowStatistics::TopN) => List::internal("stats_topn"),
        ShowKind::Tidb(what) => return Err(SqlError::NotSupported(format!("SHOW {what}"))),
    })
}

/// The name of the first column says the pattern, as in MySQL.
fn with_pattern(name: &str, show: &Show) -> String {
    match &show.filter {
        Some(ShowFilter::Like(pattern)) => format!("{name} ({pattern})"),
        _ => name.to_owned(),
    }
}
