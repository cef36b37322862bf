//! What PD and the other servers know.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use codec::datum::Datum;
use codec::table::{Handle, IndexId, PhysicalTableId, TableKey};
use codec::time::{Time, TimeKind};
use codec::timestamp::Timestamp;
use codec::types::TypeCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sql_base::{SqlError, unhex};
use sql_catalog::{AnalyzeJob, Schema, transact};
use sql_ddl::job::Job;
use sql_ddl::placement::pd::PdHttp;

use super::{Rows, s};
use crate::cluster::Server;
use crate::cluster::statements::{Slow, Sums};

/// Finished jobs that `DDL_JOBS` lists.
const JOBS_SHOWN: usize = 100;
/// Regions that one request brings.
const REGIONS_PER_CALL: usize = 1024;

fn int(value: u64) -> Datum {
    Datum::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// A timestamp of the oracle as a DATETIME in UTC, NULL for none.
pub(crate) fn time_of(ts: u64) -> Datum {
    if ts == 0 {
        return Datum::Null;
    }
    time_of_ms(u64::try_from(Timestamp(ts).physical()).unwrap_or(0))
}

fn time_of_ms(ms: u64) -> Datum {
    let micros = i64::try_from(ms / 1000 * 1_000_000).unwrap_or(i64::MAX);
    let kind = TimeKind::from_type(TypeCode::DateTime);
    kind.and_then(|kind| Time::from_epoch_micros(micros, kind, 0).ok()).map_or(Datum::Null, Datum::Time)
}

async fn json<T: DeserializeOwned>(pd: &PdHttp, path: &str) -> Result<T, SqlError> {
    let text = pd.get(path).await?;
    serde_json::from_str(&text).map_err(|error| SqlError::internal("read an answer of PD", error))
}

// ---- Stores ----

#[derive(Debug, Deserialize)]
struct Stores {
    #[serde(default)]
    stores: Vec<StoreAndStatus>,
}

#[derive(Debug, Deserialize)]
struct StoreAndStatus {
    store: Store,
    #[serde(default)]
    status: Value,
}

#[derive(Debug, Deserialize)]
struct Store {
    id: u64,
    #[serde(default)]
    address: String,
    #[serde(default)]
    status_address: String,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    state: u64,
    #[serde(default)]
    state_name: String,
    #[serde(default)]
    start_timestamp: i64,
    /// Nanoseconds since the epoch.
    #[serde(default)]
    last_heartbeat: i64,
}

#[derive(Debug, Clone, Deserialize, serde::Serialize)]
struct Label {
    key: String,
    value: String,
}

async fn stores(server: &Server) -> Result<Vec<StoreAndStatus>, SqlError> {
    Ok(json::<Stores>(server.domain()?.pd(), "/pd/api/v1/stores").await?.stores)
}

/// Label keys and their values over all stores.
pub(crate) type LabelList = BTreeMap<String, std::collections::BTreeSet<String>>;

/// What SHOW PLACEMENT LABELS lists.
pub(crate) async fn store_labels(server: &Server) -> Result<LabelList, SqlError> {
    let mut labels = LabelList::new();
    for store in stores(server).await? {
        for label in store.store.labels {
            labels.entry(label.key).or_default().insert(label.value);
        }
    }
    Ok(labels)
}

pub(super) async fn store_status(server: &Server) -> Result<Rows, SqlError> {
    let row = |held: StoreAndStatus| {
        let status = |key: &str| held.status.get(key).cloned().unwrap_or(Value::Null);
        let whole = |key: &str| int(status(key).as_u64().unwrap_or(0));
        let float = |key: &str| Datum::Float(status(key).as_f64().unwrap_or(0.0));
        let text = |key: &str| s(status(key).as_str().unwrap_or_default());
        let ms = |at: i64| u64::try_from(at).unwrap_or(0);
        vec![
            int(held.store.id),
            s(held.store.address),
            int(held.store.state),
            s(held.store.state_name),
            s(serde_json::to_string(&held.store.labels).unwrap_or_default()),
            s(held.store.version),
            text("capacity"),
            text("available"),
            whole("leader_count"),
            float("leader_weight"),
            float("leader_score"),
            whole("leader_size"),
            whole("region_count"),
            float("region_weight"),
            float("region_score"),
            whole("region_size"),
            time_of_ms(ms(held.store.start_timestamp) * 1000),
            time_of_ms(ms(held.store.last_heartbeat) / 1_000_000),
            text("uptime"),
        ]
    };
    Ok(stores(server).await?.into_iter().map(row).collect())
}

// ---- Regions ----

#[derive(Debug, Deserialize)]
struct Regions {
    #[serde(default)]
    regions: Vec<Region>,
}

/// A region as PD tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Region {
    /// Its id.
    pub(crate) id: u64,
    /// Memcomparable, in hexadecimal.
    #[serde(default)]
    pub(crate) start_key: String,
    #[serde(default)]
    pub(crate) end_key: String,
    #[serde(default)]
    epoch: Epoch,
    #[serde(default)]
    pub(crate) peers: Vec<Peer>,
    #[serde(default)]
    pub(crate) leader: Peer,
    #[serde(default)]
    down_peers: Vec<DownPeer>,
    #[serde(default)]
    pending_peers: Vec<Peer>,
    #[serde(default)]
    pub(crate) written_bytes: u64,
    #[serde(default)]
    pub(crate) read_bytes: u64,
    /// MiB.
    #[serde(default)]
    pub(crate) approximate_size: u64,
    #[serde(default)]
    pub(crate) approximate_keys: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Epoch {
    #[serde(default)]
    conf_ver: u64,
    #[serde(default)]
    version: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Peer {
    #[serde(default)]
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) store_id: u64,
    #[serde(default)]
    is_learner: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct DownPeer {
    peer: Peer,
    #[serde(default)]
    down_seconds: u64,
}

/// The regions of a range of memcomparable keys in hexadecimal, in order.
pub(crate) async fn region_rows(pd: &PdHttp, start: &str, end: &str) -> Result<Vec<Region>, SqlError> {
    let (mut found, mut at) = (Vec::<Region>::new(), start.to_owned());
    loop {
        let path = format!("/pd/api/v1/regions/key?key={at}&end_key={end}&limit={REGIONS_PER_CALL}");
        let regions = json::<Regions>(pd, &path).await?.regions;
        let full = regions.len() == REGIONS_PER_CALL;
        found.extend(regions);
        match found.last() {
            Some(last) if full && !last.end_key.is_empty() => at.clone_from(&last.end_key),
            _ => return Ok(found),
        }
    }
}

pub(super) async fn region_peers(server: &Server) -> Result<Rows, SqlError> {
    let mut rows = Vec::new();
    for region in region_rows(server.domain()?.pd(), "", "").await? {
        for peer in &region.peers {
            let down = region.down_peers.iter().find(|down| down.peer.id == peer.id);
            let pending = region.pending_peers.iter().any(|pending| pending.id == peer.id);
            let status = match (down, pending) {
                (Some(_), _) => "DOWN",
                (None, true) => "PENDING",
                (None, false) => "NORMAL",
            };
            rows.push(vec![
                int(region.id),
                int(peer.id),
                int(peer.store_id),
                Datum::Int(peer.is_learner.into()),
                Datum::Int((region.leader.id == peer.id).into()),
                s(status),
                down.map_or(Datum::Null, |down| int(down.down_seconds)),
            ]);
        }
    }
    Ok(rows)
}

pub(super) async fn region_status(server: &Server, schema: &Schema) -> Result<Rows, SqlError> {
    let row = |region: &Region, owner: Option<(PhysicalTableId, Option<i64>)>| {
        let table = owner.and_then(|(id, _)| schema.table_by_physical(id));
        let database = table.and_then(|table| schema.database_of_table(table.id));
        let partitions = table.and_then(|table| table.partition.as_ref());
        let partition =
            partitions.and_then(|info| info.definitions.iter().find(|p| owner.is_some_and(|o| p.physical_id() == o.0)));
        let index = owner.and_then(|(_, index)| index);
        let index_name = table
            .zip(index)
            .and_then(|(table, id)| table.indexes.iter().find(|index| index.id == id))
            .map(|index| s(index.name.as_str()));
        vec![
            int(region.id),
            s(region.start_key.as_str()),
            s(region.end_key.as_str()),
            owner.map_or(Datum::Null, |(id, _)| Datum::Int(table.map_or(id.0, |table| table.id))),
            database.map_or(Datum::Null, |database| s(database.info.name.as_str())),
            table.map_or(Datum::Null, |table| s(table.name.as_str())),
            Datum::Int(index.is_some().into()),
            index.map_or(Datum::Null, Datum::Int),
            index_name.unwrap_or(Datum::Null),
            Datum::Int(partition.is_some().into()),
            partition.map_or(Datum::Null, |partition| Datum::Int(partition.id)),
            partition.map_or(Datum::Null, |partition| s(partition.name.as_str())),
            int(region.epoch.conf_ver),
            int(region.epoch.version),
            int(region.written_bytes),
            int(region.read_bytes),
            int(region.approximate_size),
            int(region.approximate_keys),
            Datum::Null,
            Datum::Null,
        ]
    };
    let regions = region_rows(server.domain()?.pd(), "", "").await?;
    let tables: Vec<_> = schema.databases().flat_map(|database| database.tables()).collect();
    let mut rows = Vec::new();
    for region in &regions {
        // A row for each table and index that has a part of the region.
        let (start, end) = (unhex(&region.start_key).unwrap_or_default(), unhex(&region.end_key).unwrap_or_default());
        let overlaps = |range: (Vec<u8>, Vec<u8>)| {
            let (low, high) = (codec::bytes::encoded(&range.0), codec::bytes::encoded(&range.1));
            start < high && (end.is_empty() || low < end)
        };
        let before = rows.len();
        for (table, at) in tables.iter().flat_map(|table| table.physical_ids().into_iter().map(move |at| (table, at))) {
            if !overlaps(codec::table::table_range(at)) {
                continue;
            }
            if overlaps(codec::table::record_range(at)) {
                rows.push(row(region, Some((at, None))));
            }
            for index in table.indexes_with_entries() {
                if overlaps(codec::table::index_range(at, IndexId(index.id))) {
                    rows.push(row(region, Some((at, Some(index.id)))));
                }
            }
        }
        if rows.len() == before {
            rows.push(row(region, None));
        }
    }
    Ok(rows)
}

/// A region's boundary as SHOW TABLE REGIONS prints it: `t_104_`, `t_104_r_2000`, `t_104_i_1_…`, or hexadecimal.
pub(crate) fn boundary(hex: &str) -> String {
    let readable = || {
        let bytes = unhex(hex)?;
        let key = codec::bytes::decode_bytes(&mut bytes.as_slice()).ok()?;
        let table = codec::table::decode_table_id(&key)?;
        let (prefix, rows) = (codec::table::table_prefix(table), codec::table::record_prefix(table));
        if key == prefix {
            return Some(format!("t_{table}_"));
        }
        if key == rows {
            return Some(format!("t_{table}_r"));
        }
        Some(match codec::table::decode_key(&key).ok()? {
            TableKey::Record { handle: Handle::Int(handle), .. } => format!("t_{table}_r_{handle}"),
            TableKey::Record { handle: Handle::Key(key), .. } => {
                format!("t_{table}_r_{}", sql_base::hex(&key).to_lowercase())
            }
            TableKey::Index { index, values, .. } => {
                format!("t_{table}_i_{index}_{}", sql_base::hex(values).to_lowercase())
            }
        })
    };
    readable().unwrap_or_else(|| hex.to_lowercase())
}

// ---- Servers ----

#[derive(Debug, Deserialize)]
struct Members {
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    #[serde(default)]
    client_urls: Vec<String>,
    #[serde(default)]
    binary_version: String,
}

pub(super) async fn cluster_info(server: &Server) -> Result<Rows, SqlError> {
    let domain = server.domain()?;
    let now = chrono::Utc::now().timestamp();
    let row = |kind: &str, instance: String, status: String, version: String, started: i64, id: u64| {
        let (start, uptime) = if started > 0 {
            let start = chrono::DateTime::from_timestamp(started, 0).map(|at| at.to_rfc3339()).unwrap_or_default();
            let seconds = (now - started).max(0);
            (s(start), s(format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)))
        } else {
            (Datum::Null, Datum::Null)
        };
        vec![s(kind), s(instance), s(status), s(version), s(""), start, uptime, Datum::UInt(id)]
    };
    let mut rows = Vec::new();
    for info in domain.servers().await? {
        let instance = format!("{}:{}", info.ip, info.port);
        let status = format!("{}:{}", info.ip, info.status_port);
        rows.push(row("tidb", instance, status, info.version, info.start_timestamp, 0));
    }
    for member in json::<Members>(domain.pd(), "/pd/api/v1/members").await?.members {
        let address = member.client_urls.first().map_or("", String::as_str);
        let address = address.split_once("://").map_or(address, |(_, rest)| rest).to_owned();
        // How long a PD has been running it tells itself.
        let started = match domain.pd().only(&address).get("/pd/api/v1/status").await {
            Ok(text) => serde_json::from_str::<Value>(&text)
                .ok()
                .and_then(|status| status.get("start_timestamp").and_then(Value::as_i64))
                .unwrap_or(0),
            Err(_) => 0,
        };
        rows.push(row("pd", address.clone(), address, member.binary_version, started, 0));
    }
    for held in stores(server).await? {
        let store = held.store;
        rows.push(row("tikv", store.address, store.status_address, store.version, store.start_timestamp, 0));
    }
    Ok(rows)
}

pub(super) async fn servers_info(server: &Server) -> Result<Rows, SqlError> {
    let lease = format!("{}s", sql_ddl::domain::LEASE.as_secs());
    let row = |info: sql_ddl::ServerInfo| {
        let labels: Vec<_> = info.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            s(info.id),
            s(info.ip),
            int(info.port.into()),
            int(info.status_port.into()),
            s(lease.as_str()),
            s(info.version),
            s(""),
            s(""),
            s(labels.join(",")),
        ]
    };
    Ok(server.domain()?.servers().await?.into_iter().map(row).collect())
}

pub(crate) fn processlist(server: &Server) -> Rows {
    let optional = |text: Option<String>| text.map_or(Datum::Null, s);
    let rows = server.connections().list().into_iter().map(|connection| {
        let activity = connection.activity();
        vec![
            Datum::UInt(connection.id),
            s(activity.user),
            s(connection.peer.clone()),
            optional(activity.database),
            s(if activity.statement.is_some() { "Query" } else { "Sleep" }),
            int(activity.since.elapsed().as_secs()),
            s(if activity.in_transaction { "in transaction" } else { "autocommit" }),
            optional(activity.statement),
        ]
    });
    rows.collect()
}

fn moment(at: &DateTime<Utc>, digits: u8) -> Datum {
    let kind = TimeKind::from_type(TypeCode::DateTime);
    let micros = if digits == 0 { at.timestamp() * 1_000_000 } else { at.timestamp_micros() };
    kind.and_then(|kind| Time::from_epoch_micros(micros, kind, digits).ok()).map_or(Datum::Null, Datum::Time)
}

pub(super) fn slow_queries(server: &Server) -> Rows {
    let row = |slow: Slow| {
        let took = slow.took;
        vec![
            moment(&took.began, 6),
            Datum::UInt(slow.start_ts),
            s(slow.user),
            s(slow.host),
            Datum::UInt(slow.connection),
            Datum::Float(took.time.as_secs_f64()),
            s(slow.database),
            s(slow.digest),
            int(took.memory),
            int(took.disk),
            int(took.rows),
            Datum::Int(i64::from(took.ok)),
            Datum::Int(i64::from(took.plan_from_cache)),
            int(took.trips.pd),
            int(took.trips.storage),
            int(took.trips.away()),
            s(slow.text),
        ]
    };
    server.statements().slow_ones().into_iter().map(row).collect()
}

pub(super) fn statements_summary(server: &Server) -> Rows {
    let nanos = |time: Duration| Datum::UInt(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    let row = |sums: Sums| {
        let (sum, most, least) = sums.latency;
        let count = sums.count.max(1);
        vec![
            s(sums.kind),
            s(sums.database),
            s(sums.digest),
            s(&*sums.normalized),
            s(sums.user),
            Datum::UInt(sums.count),
            Datum::UInt(sums.errors),
            nanos(sum),
            nanos(most),
            nanos(least),
            nanos(sum / u32::try_from(count).unwrap_or(u32::MAX)),
            Datum::UInt(sums.memory.1 / count),
            Datum::UInt(sums.memory.0),
            Datum::UInt(sums.disk.1 / count),
            Datum::UInt(sums.disk.0),
            Datum::Float(sums.affected as f64 / count as f64),
            Datum::Float(sums.rows as f64 / count as f64),
            Datum::UInt(sums.rows),
            Datum::UInt(sums.trips.pd),
            Datum::UInt(sums.trips.storage),
            Datum::UInt(sums.trips.away()),
            Datum::UInt(sums.plans_from_cache),
            moment(&sums.seen.0, 0),
            moment(&sums.seen.1, 0),
            s(sums.sample),
        ]
    };
    server.statements().kinds().into_iter().map(row).collect()
}

pub(super) async fn ddl_jobs(server: &Server) -> Result<Rows, SqlError> {
    jobs(server, JOBS_SHOWN, |job| s(job.query.as_str())).await
}

/// Jobs of schema changes: all that are queued and so many of those that are finished, with what `last` tells of each behind.
pub(crate) async fn jobs(server: &Server, finished_max: usize, last: impl Fn(&Job) -> Datum) -> Result<Rows, SqlError> {
    let (queued, finished) = server.domain()?.jobs(finished_max).await?;
    let row = |(job, kind): (Job, String)| {
        vec![
            Datum::Int(job.id),
            s(job.schema_name.as_str()),
            s(job.table_name.as_str()),
            s(kind),
            s(job.schema_state.to_string()),
            Datum::Int(job.schema_id),
            Datum::Int(job.table_id),
            Datum::Int(job.rows()),
            time_of(job.create_ts),
            time_of(job.start_ts),
            time_of(job.finish_ts),
            s(job.state.as_str()),
            last(&job),
        ]
    };
    Ok(queued.into_iter().chain(finished).flat_map(Job::listed).map(row).collect())
}

/// information_schema.ANALYZE_STATUS, the latest first.
pub(crate) async fn analyze_status(server: &Server) -> Result<Rows, SqlError> {
    let jobs = transact!(server.domain()?.kv(), |meta| meta.analyze_jobs().await)?;
    let row = |job: AnalyzeJob| {
        let process = if job.connection == 0 { Datum::Null } else { Datum::UInt(job.connection) };
        vec![
            s(job.schema.as_str()),
            s(job.table.as_str()),
            s(""),
            s(job.info.as_str()),
            Datum::UInt(job.rows),
            time_of(job.start_ts),
            time_of(job.end_ts.unwrap_or(0)),
            s(job.state()),
            job.failure.map_or(Datum::Null, s),
            s(job.server.as_str()),
            process,
        ]
    };
    Ok(jobs.into_iter().rev().map(row).collect())
}

/// A timestamp as the rows of `mysql.tidb` show one: UTC to the millisecond.
fn gc_time(ts: u64) -> String {
    let time = match ts {
        0 => None,
        ts => chrono::DateTime::from_timestamp_millis(Timestamp(ts).physical()),
    };
    time.map_or_else(String::new, |time| time.format("%Y%m%d-%H:%M:%S%.3f +0000").to_string())
}

/// `mysql.tidb`: how far garbage collection has come, and its settings, under the names by which tools look for them.
pub(super) async fn cluster_variables(server: &Server) -> Result<Rows, SqlError> {
    let domain = server.domain()?;
    let state = domain.gc_state().await?;
    let servers = domain.servers().await?;
    let leader = servers.iter().find(|info| info.id == state.leader);
    let variable = |name: &str| sql_context::vars::find(name).map_or_else(String::new, |v| server.globals().get(v));
    let enabled = variable("tidb_gc_enable") == "ON";
    let concurrency = variable("tidb_gc_concurrency");
    let automatic = concurrency.parse::<i64>().is_ok_and(|n| n <= 0);
    let rows: [(&str, String, &str); 12] = [
        ("bootstrapped", "True".into(), "Bootstrap flag. Do not delete."),
        ("tikv_gc_leader_uuid", state.leader.clone(), "Current GC worker leader UUID. (DO NOT EDIT)"),
        (
            "tikv_gc_leader_desc",
            leader.map_or_else(String::new, |info| format!("host:{}, port:{}", info.ip, info.port)),
            "Host name and pid of current GC leader. (DO NOT EDIT)",
        ),
        ("tikv_gc_enable", enabled.to_string(), "Current GC enable status"),
        ("tikv_gc_run_interval", variable("tidb_gc_run_interval"), "GC run interval, at least 10s, in Go format."),
        (
            "tikv_gc_life_time",
            variable("tidb_gc_life_time"),
            "All versions within life time will not be collected by GC, at least 10s, in Go format.",
        ),
        ("tikv_gc_last_run_time", gc_time(state.last_run), "The time when last GC starts. (DO NOT EDIT)"),
        (
            "tikv_gc_safe_point",
            gc_time(state.safe_point),
            "All versions after safe point can be accessed. (DO NOT EDIT)",
        ),
        (
            "tikv_gc_auto_concurrency",
            automatic.to_string(),
            "Let TiDB pick the concurrency automatically. If set false, tikv_gc_concurrency will be used",
        ),
        ("tikv_gc_concurrency", concurrency, "How many goroutines used to do GC parallel, [1, 256], default 2"),
        ("tikv_gc_mode", "distributed".into(), "Mode of GC, \"central\" or \"distributed\""),
        (
            "tikv_gc_scan_lock_mode",
            variable("tidb_gc_scan_lock_mode").to_lowercase(),
            "Mode of scanning locks, \"physical\" or \"legacy\"",
        ),
    ];
    Ok(rows.into_iter().map(|(name, value, comment)| vec![s(name), s(value), s(comment)]).collect())
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn boundaries_are_readable_where_they_are_keys_of_tables() {
        let hex = |key: &[u8]| sql_ddl::placement::rules::hex_key(key);
        assert_eq!(boundary(""), "");
        assert_eq!(boundary(&hex(&codec::table::table_prefix(PhysicalTableId(104)))), "t_104_");
        assert_eq!(boundary(&hex(&codec::table::record_prefix(PhysicalTableId(104)))), "t_104_r");
        assert_eq!(boundary(&hex(&codec::table::record_key(PhysicalTableId(104), &Handle::Int(2000)))), "t_104_r_2000");
        assert!(
            boundary(&hex(&codec::table::index_prefix(PhysicalTableId(104), IndexId(3)))).starts_with("t_104_i_3_")
        );
        assert_eq!(boundary(&hex(b"m")), hex(b"m"));
    }
}
