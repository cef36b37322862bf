//! The variables that statements and the server read all the time, decoded.
//!
//! They are decoded anew, all of them, whenever one is set: that happens a few times in a connection's life, and reading
//! happens several times in a statement's.

use std::time::Duration;

use codec::charset::Charset;
use codec::types::Collation;
use sql_base::memory::MACHINE_BYTES;

use query::context::TimeZone;

use super::duration::parse_duration;
use super::{SYSTEM_ZONE, parse_sql_mode, parse_time_zone};

/// What follows a plain `COMMIT` or `ROLLBACK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionType {
    /// Nothing.
    NoChain,
    /// The next transaction.
    Chain,
    /// The connection's end.
    Release,
}

/// Which primary keys are CLUSTERED where a definition does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusteredIndex {
    /// None.
    Off,
    /// All.
    On,
    /// Those of one integer column.
    IntOnly,
}

/// A session's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Bits of `sql_mode`, MySQL's numbers.
    pub sql_mode: u64,
    /// Each statement commits itself unless `BEGIN` was said.
    pub autocommit: bool,
    /// The session's time zone.
    pub time_zone: TimeZone,
    /// `character_set_client`: of what the client sends.
    pub client: Charset,
    /// `character_set_results`: of what it reads; `None` is each column's own.
    pub results: Option<Charset>,
    /// `collation_connection`.
    pub collation: Collation,
    /// `collation_server`: of a database that is made without one.
    pub collation_server: Collation,
    /// Digits that division adds to the scale.
    pub div_precision_increment: u8,
    /// What `NOW()` tells instead of the clock, in seconds since 1970.
    pub timestamp: Option<f64>,
    /// Transactions begin under READ COMMITTED.
    pub read_committed: bool,
    /// Transactions begin READ ONLY.
    pub read_only: bool,
    /// Transactions lock as they go.
    pub pessimistic: bool,
    /// What follows a plain `COMMIT`.
    pub completion_type: CompletionType,
    /// How often an autocommit statement that met a conflict runs again.
    pub retry_limit: u32,
    /// How long locks are waited for.
    pub lock_wait: Duration,
    /// How long a query may run.
    pub max_execution_time: Option<Duration>,
    /// Bytes that a statement may hold.
    pub memory_quota: Option<usize>,
    /// Rows that a query without LIMIT gives.
    pub sql_select_limit: u64,
    /// Plans that the session keeps at most.
    pub plan_cache_size: usize,
    /// Those of prepared statements are kept.
    pub prepared_plan_cache: bool,
    /// Those of statements that come as text are kept.
    pub text_plan_cache: bool,
    /// Rounds of a recursive CTE.
    pub cte_max_recursion_depth: u64,
    /// What a temporary table may take, in bytes.
    pub temporary_table_bytes: usize,
    /// UPDATE and DELETE need a key or a LIMIT.
    pub sql_safe_updates: bool,
    /// Tables need a primary key.
    pub sql_require_primary_key: bool,
    /// `tidb_enable_clustered_index`.
    pub clustered_index: ClusteredIndex,
    /// AUTO_INCREMENT values are `offset`, `offset + increment`, …
    pub auto_increment_increment: u64,
    /// See `auto_increment_increment`.
    pub auto_increment_offset: u64,
    /// Longest string that a function may build, and longest packet, in bytes.
    pub max_allowed_packet: u64,
    /// Longest GROUP_CONCAT, in bytes.
    pub group_concat_max_len: u64,
    /// Diagnostics that are kept.
    pub max_error_count: usize,
    /// Notes are diagnostics.
    pub sql_notes: bool,
    /// How long a connection may be idle.
    pub wait_timeout: Duration,
    /// How long the rest of a packet is waited for.
    pub net_read_timeout: Duration,
    /// How long the client may take to read.
    pub net_write_timeout: Duration,
}

impl Settings {
    /// Out of the variables' values by name. They have been checked when they were set.
    pub fn decode<'a>(of: impl Fn(&str) -> &'a str) -> Settings {
        let number = |name: &str| of(name).parse::<u64>().unwrap_or(0);
        let flag = |name: &str| of(name) == "ON";
        let secs = |name: &str| Duration::from_secs(number(name).max(1));
        Settings {
            sql_mode: parse_sql_mode(of("sql_mode")).unwrap_or(0),
            autocommit: flag("autocommit"),
            time_zone: parse_time_zone(of("time_zone")).unwrap_or_else(|_| SYSTEM_ZONE.clone()),
            client: Charset::from_name(of("character_set_client")).unwrap_or(Charset::Utf8mb4),
            results: Charset::from_name(of("character_set_results")),
            collation: Collation::from_name(of("collation_connection")).unwrap_or(Collation::DEFAULT),
            collation_server: Collation::from_name(of("collation_server")).unwrap_or(Collation::DEFAULT),
            div_precision_increment: number("div_precision_increment").min(30) as u8,
            timestamp: of("timestamp").parse().ok().filter(|secs| *secs > 0.0),
            read_committed: of("transaction_isolation") == "READ-COMMITTED",
            read_only: flag("transaction_read_only"),
            pessimistic: of("tidb_txn_mode") == "pessimistic",
            completion_type: match of("completion_type") {
                "CHAIN" => CompletionType::Chain,
                "RELEASE" => CompletionType::Release,
                _ => CompletionType::NoChain,
            },
            retry_limit: u32::try_from(number("tidb_retry_limit")).unwrap_or(u32::MAX).max(1),
            lock_wait: secs("innodb_lock_wait_timeout"),
            max_execution_time: Some(number("max_execution_time")).filter(|ms| *ms > 0).map(Duration::from_millis),
            memory_quota: of("tidb_mem_quota_query").parse().ok().filter(|bytes| *bytes > 0),
            sql_select_limit: number("sql_select_limit"),
            // The first is the older name of the second. Whichever was made smaller counts.
            plan_cache_size: number("tidb_prepared_plan_cache_size").min(number("tidb_session_plan_cache_size"))
                as usize,
            prepared_plan_cache: flag("tidb_enable_prepared_plan_cache"),
            text_plan_cache: flag("tidb_enable_non_prepared_plan_cache"),
            cte_max_recursion_depth: number("cte_max_recursion_depth"),
            temporary_table_bytes: usize::try_from(number("tidb_tmp_table_max_size")).unwrap_or(usize::MAX),
            sql_safe_updates: flag("sql_safe_updates"),
            sql_require_primary_key: flag("sql_require_primary_key"),
            clustered_index: match of("tidb_enable_clustered_index") {
                "OFF" => ClusteredIndex::Off,
                "INT_ONLY" => ClusteredIndex::IntOnly,
                _ => ClusteredIndex::On,
            },
            auto_increment_increment: number("auto_increment_increment").max(1),
            auto_increment_offset: number("auto_increment_offset").max(1),
            max_allowed_packet: number("max_allowed_packet"),
            group_concat_max_len: number("group_concat_max_len"),
            max_error_count: number("max_error_count") as usize,
            sql_notes: flag("sql_notes"),
            wait_timeout: secs("wait_timeout"),
            net_read_timeout: secs("net_read_timeout"),
            net_write_timeout: secs("net_write_timeout"),
        }
    }
}

impl Default for Settings {
    /// The table's defaults.
    fn default() -> Self {
        Settings::decode(|name| super::find(name).map_or("", |v| v.default))
    }
}

/// The server's: global ones that hold for every session at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// Only `root` may change anything.
    pub read_only: bool,
    /// Nobody may change anything.
    pub super_read_only: bool,
    /// Clients must use TLS.
    pub require_secure_transport: bool,
    /// Connections at once; 0 is any number.
    pub max_connections: usize,
    /// A statement that takes this long is logged.
    pub slow_log_threshold: Option<Duration>,
    /// Kinds of statements that are summed up at most; none where that is turned off.
    pub summary_kinds_max: Option<usize>,
    /// Bytes that all statements may hold together.
    pub memory_limit: Option<usize>,
    /// Statements that hold less are not ended when they hold more.
    pub memory_limit_spares: usize,
    /// Operators write to disk what they have no memory for.
    pub spill: bool,
    /// LOAD DATA LOCAL may ask clients for files.
    pub local_infile: bool,
    /// How long old versions are kept.
    pub gc: GcSettings,
}

/// How long old versions are kept, and how they are collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcSettings {
    /// They are collected at all.
    pub enabled: bool,
    /// A version is kept for so long after it was replaced.
    pub life_time: Duration,
    /// Time between two runs.
    pub run_interval: Duration,
    /// Regions whose locks are resolved at once; `None` for as many as there are stores.
    pub concurrency: Option<usize>,
    /// How long a transaction keeps what it may read from being collected.
    pub max_wait: Duration,
}

/// A limit of the server's memory: bytes, perhaps in `KB` to `TB`, or a part of the machine's as `80%`; 0 for none. The inner
/// `None` is no limit, the outer one a text that says none of these.
pub(super) fn parse_memory_limit(text: &str) -> Option<Option<usize>> {
    let text = text.trim();
    if let Some(percent) = text.strip_suffix('%') {
        let percent: usize = percent.trim().parse().ok().filter(|p| (1..=99).contains(p))?;
        return Some(MACHINE_BYTES.map(|bytes| bytes / 100 * percent));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1_usize << 40,
        _ => return None,
    };
    let bytes = text[..digits].parse::<usize>().ok()?.checked_mul(unit)?;
    match bytes {
        0 => Some(None),
        // Less is a slip of the hand, which would end every statement.
        bytes if bytes < MEMORY_LIMIT_MIN => None,
        bytes => Some(Some(bytes)),
    }
}

/// The least limit of the server's memory, as in TiDB.
const MEMORY_LIMIT_MIN: usize = 512 << 20;

impl ServerSettings {
    /// Out of the variables' values by name.
    pub fn decode<'a>(of: impl Fn(&str) -> &'a str) -> ServerSettings {
        let number = |name: &str| of(name).parse::<u64>().unwrap_or(0);
        let flag = |name: &str| of(name) == "ON";
        ServerSettings {
            read_only: flag("read_only"),
            super_read_only: flag("super_read_only"),
            require_secure_transport: flag("require_secure_transport"),
            max_connections: number("max_connections") as usize,
            // As in TiDB, 0 logs every statement, and less than that none.
            slow_log_threshold: of("tidb_slow_log_threshold")
                .parse()
                .ok()
                .filter(|_| flag("tidb_enable_slow_log"))
                .map(Duration::from_millis),
            summary_kinds_max: flag("tidb_enable_stmt_summary")
                .then(|| usize::try_from(number("tidb_stmt_summary_max_stmt_count")).unwrap_or(usize::MAX)),
            memory_limit: parse_memory_limit(of("tidb_server_memory_limit")).flatten(),
            memory_limit_spares: usize::try_from(number("tidb_server_memory_limit_sess_min_size"))
                .unwrap_or(usize::MAX),
            spill: flag("tidb_enable_tmp_storage_on_oom"),
            local_infile: flag("local_infile"),
            gc: GcSettings {
                enabled: flag("tidb_gc_enable"),
                life_time: parse_duration(of("tidb_gc_life_time")).unwrap_or_default(),
                run_interval: parse_duration(of("tidb_gc_run_interval")).unwrap_or_default(),
                concurrency: Some(number("tidb_gc_concurrency") as usize).filter(|n| *n > 0),
                max_wait: Duration::from_secs(number("tidb_gc_max_wait_time")),
            },
        }
    }
}

impl Default for ServerSettings {
    /// The table's defaults.
    fn default() -> Self {
        ServerSettings::decode(|name| super::find(name).map_or("", |v| v.default))
    }
}
