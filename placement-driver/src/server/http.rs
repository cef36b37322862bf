//! PD's HTTP API, as far as people, scripts and SQL servers use it, and the usual pages of a server.
//!
//! What needs the leader is passed on to it by the members that aren't, so any member can be asked. Bodies have the
//! shape of PD's. Keys in paths and queries are hexadecimal.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use net::config::Labels;
use serde_json::{Value, json};

use crate::cluster::model::{Liveness, Peer, PeerRole, Region, Store, StoreState};
use crate::leader::{Brain, Leader, LeaderError};
use crate::pd::Shared;
use crate::placement::rule::{GroupBundle, Rule, decode_hex, encode_hex};
use crate::schedule::checker::Replication;
use crate::schedule::operator::Step;
use prost::Message as _;
use proto::pdpb::Member;

/// How long the leader may take to answer what was passed on.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a member may take to show that it lives. Two round trips, and one more second if a packet is lost.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// Set on requests passed on, so that two members which each think the other leads don't play ball.
const PROXIED: &str = "x-pd-proxied";
/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;

type Handler = State<Arc<Shared>>;
type Answer = Result<Response, ApiError>;

struct ApiError(StatusCode, String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        // PD answers errors as a JSON string.
        (self.0, Json(Value::String(self.1))).into_response()
    }
}

impl From<LeaderError> for ApiError {
    fn from(error: LeaderError) -> ApiError {
        let status = match &error {
            LeaderError::Rule(_) | LeaderError::Invalid(_) | LeaderError::InvalidBootstrap(_) => {
                StatusCode::BAD_REQUEST
            }
            LeaderError::Store(crate::cluster::StoreError::NotFound(_)) => StatusCode::NOT_FOUND,
            LeaderError::Store(_) => StatusCode::BAD_REQUEST,
            LeaderError::Kv(_) | LeaderError::LeaseLapsed | LeaderError::Tso(_) => StatusCode::SERVICE_UNAVAILABLE,
            LeaderError::NotBootstrapped | LeaderError::AlreadyBootstrapped => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError(status, error.to_string())
    }
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError(StatusCode::BAD_REQUEST, message.into())
}

fn not_found(message: impl Into<String>) -> ApiError {
    ApiError(StatusCode::NOT_FOUND, message.into())
}

fn ok(message: &str) -> Answer {
    Ok(Json(Value::String(message.into())).into_response())
}

fn from_json<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| bad(format!("the body can't be read: {e}")))
}

/// All pages.
pub fn router(shared: Arc<Shared>) -> axum::Router {
    let leader_only = axum::Router::new()
        .route("/stores", get(stores))
        .route("/stores/remove-tombstone", delete(remove_tombstones))
        .route("/store/{id}", get(store).delete(remove_store))
        .route("/store/{id}/state", post(store_state))
        .route("/store/{id}/label", post(store_labels))
        .route("/cluster", get(cluster))
        .route("/cluster/status", get(cluster_status))
        .route("/regions", get(regions))
        .route("/regions/key", get(regions_by_key))
        .route("/regions/count", get(regions_count))
        .route("/regions/store/{id}", get(regions_of_store))
        .route("/regions/replicated", get(replicated))
        .route("/regions/split", post(split_regions))
        .route("/regions/check/{kind}", get(check_regions))
        .route("/region/id/{id}", get(region_by_id))
        .route("/region/key/{key}", get(region_by_key))
        .route("/stats/region", get(region_stats))
        .route("/operators", get(operators).post(add_operator))
        .route("/operators/records", get(operator_records))
        .route("/operators/{region}", get(operator).delete(cancel_operator))
        .route("/config", get(config))
        .route("/config/schedule", get(config_schedule))
        .route("/config/replicate", get(config_replicate))
        .route("/config/rules", get(rules).post(set_rules))
        .route("/config/rules/group/{group}", get(rules_of_group))
        .route("/config/rules/region/{id}", get(rules_of_region))
        .route("/config/rules/key/{key}", get(rules_of_key))
        .route("/config/rule", post(set_rule))
        .route("/config/rule/{group}/{id}", get(rule).delete(delete_rule))
        .route("/config/rule_groups", get(rule_groups))
        .route("/config/rule_group/{group}", get(rule_group))
        .route("/config/placement-rule", get(bundles).post(set_bundles))
        .route("/config/placement-rule/{group}", get(bundle).post(set_bundle).delete(delete_bundle))
        .route("/gc/safepoint", get(gc_safe_point))
        .route("/leader/resign", post(resign))
        .route("/leader/transfer/{name}", post(transfer_leader))
        .route("/min-resolved-ts", get(min_resolved))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), to_leader));
    let anywhere = axum::Router::new()
        .route("/members", get(members))
        .route("/members/name/{name}", post(set_member))
        .route("/leader", get(leader))
        .route("/health", get(members_health))
        .route("/version", get(version))
        .route("/status", get(status))
        .route("/ping", get(|| async { "" }));
    axum::Router::new()
        .nest("/pd/api/v1", leader_only.merge(anywhere))
        .route("/health", get(health))
        .route("/pd/health", get(health))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
        .merge(net::metrics::router())
}

fn active(shared: &Shared) -> Result<Arc<Leader>, ApiError> {
    shared.active().ok_or_else(|| ApiError(StatusCode::SERVICE_UNAVAILABLE, "no PD leader".into()))
}

/// Answers here when this member leads, else has the leader answer.
async fn to_leader(State(shared): Handler, request: Request, next: Next) -> Response {
    if shared.active().is_some() {
        return next.run(request).await;
    }
    let refused = |text: &str| ApiError(StatusCode::SERVICE_UNAVAILABLE, text.into()).into_response();
    if request.uri().query().is_some_and(|q| q.contains(PROXIED)) {
        return refused("not leader");
    }
    let Some(url) = shared.leader_seen().and_then(|m| m.client_urls.first().cloned()) else {
        return refused("no PD leader");
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return ApiError(StatusCode::PAYLOAD_TOO_LARGE, "request body is too large".into()).into_response();
    };
    // The nested router has cut the prefix off.
    let path = parts.uri.path().trim_start_matches("/pd/api/v1");
    let query = parts.uri.query().map_or_else(|| format!("{PROXIED}=1"), |q| format!("{q}&{PROXIED}=1"));
    let target = format!("{}/pd/api/v1{path}?{query}", url.trim_end_matches('/'));
    match shared.channels.http().request(parts.method, &target, body, PROXY_TIMEOUT).await {
        Ok(response) => {
            let kind = [(axum::http::header::CONTENT_TYPE, "application/json; charset=utf-8")];
            (response.status, kind, response.body).into_response()
        }
        Err(e) => ApiError(StatusCode::BAD_GATEWAY, format!("the PD leader doesn't answer: {e}")).into_response(),
    }
}

// ---- members ----

type LabelsByName = BTreeMap<String, Labels>;

/// Members have labels as objects where stores have lists of pairs: the original's members have none to be like.
fn member_json(member: &Member, labels: &LabelsByName) -> Value {
    json!({
        "name": member.name,
        "member_id": member.member_id,
        "peer_urls": member.peer_urls,
        "client_urls": member.client_urls,
        "leader_priority": member.leader_priority,
        "labels": labels.get(&member.name).cloned().unwrap_or_default(),
        "binary_version": member.binary_version,
    })
}

async fn all_members(shared: &Shared) -> Result<Vec<Member>, ApiError> {
    shared.members().await.map_err(|e| ApiError(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))
}

async fn all_labels(shared: &Shared) -> Result<LabelsByName, ApiError> {
    shared.member_labels().await.map_err(|e| ApiError(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))
}

async fn members(State(shared): Handler) -> Answer {
    let members = all_members(&shared).await?;
    let labels = all_labels(&shared).await?;
    let member_json = |member| member_json(member, &labels);
    let leader = shared.leader_seen();
    let store_leader = shared.metastore.as_ref().map(|s| s.status().leader);
    let etcd_leader = members.iter().find(|m| Some(m.member_id) == store_leader);
    Ok(Json(json!({
        "header": { "cluster_id": shared.connected().map_or(0, |c| c.cluster_id) },
        "members": members.iter().map(member_json).collect::<Vec<_>>(),
        "leader": leader.as_ref().map(member_json),
        "etcd_leader": etcd_leader.map(member_json),
    }))
    .into_response())
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberChange {
    #[serde(rename = "leader-priority")]
    leader_priority: f64,
}

async fn set_member(State(shared): Handler, Path(name): Path<String>, body: Bytes) -> Answer {
    let change: MemberChange = from_json(&body)?;
    let mut member = all_members(&shared)
        .await?
        .into_iter()
        .find(|m| m.name == name)
        .ok_or_else(|| not_found(format!("member {name} not found")))?;
    member.leader_priority = change.leader_priority as i32;
    let connected = shared.connected().ok_or_else(|| bad("the metadata store is not ready yet"))?;
    let put = connected.client.kv_client().put(connected.keys.member(&name), member.encode_to_vec(), None).await;
    put.map_err(|e| ApiError(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    ok("the leader priority is updated")
}

async fn leader(State(shared): Handler) -> Answer {
    match shared.leader_seen() {
        Some(leader) => Ok(Json(member_json(&leader, &all_labels(&shared).await?)).into_response()),
        None => Err(ApiError(StatusCode::SERVICE_UNAVAILABLE, "no PD leader".into())),
    }
}

/// Gives the leadership up; whoever is fastest takes it.
async fn resign(State(shared): Handler) -> Answer {
    shared.resign();
    ok("the leader resigns")
}

async fn transfer_leader(State(shared): Handler, Path(name): Path<String>) -> Answer {
    if !all_members(&shared).await?.iter().any(|m| m.name == name) {
        return Err(not_found(format!("member {name} not found")));
    }
    let connected = shared.connected().ok_or_else(|| bad("the metadata store is not ready yet"))?;
    crate::election::nominate(&connected.client, &connected.keys, &name)
        .await
        .map_err(|e| ApiError(StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
    if name != shared.config.name {
        shared.resign();
    }
    ok("the transfer command is submitted")
}

async fn members_health(State(shared): Handler) -> Answer {
    let http = shared.channels.http();
    let labels = all_labels(&shared).await?;
    let mut answers = Vec::new();
    for member in all_members(&shared).await? {
        let labels = labels.get(&member.name).cloned().unwrap_or_default();
        let url = member.client_urls.first().cloned().unwrap_or_default();
        answers.push(async move {
            let answer = http.get(&format!("{url}/pd/api/v1/ping"), PING_TIMEOUT).await;
            let health = answer.is_ok_and(|a| a.status.is_success());
            json!({
                "name": member.name,
                "member_id": member.member_id,
                "client_urls": member.client_urls,
                "labels": labels,
                "health": health,
            })
        });
    }
    Ok(Json(futures::future::join_all(answers).await).into_response())
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

async fn status(State(shared): Handler) -> Json<Value> {
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "git_hash": "",
        "build_ts": "",
        "start_timestamp": shared.started_s,
    }))
}

/// Ready to serve: the metadata store has a leader, and a PD leader is known.
async fn health(State(shared): Handler) -> Response {
    if shared.connected().is_some() && (shared.active().is_some() || shared.leader_seen().is_some()) {
        Json(json!({ "health": "true" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "health": "false" }))).into_response()
    }
}

// ---- stores ----

fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = format!("{value:.3}");
    format!("{}{}", digits.trim_end_matches('0').trim_end_matches('.'), UNITS[unit])
}

/// RFC 3339 in UTC.
fn time_text(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Civil date from days since 1970-01-01 (proleptic Gregorian, years from March).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:03}Z", ms % 1_000)
}

fn state_name(store: &Store, now_ms: u64, down_ms: u64) -> &'static str {
    match store.state {
        StoreState::Offline => "Offline",
        StoreState::Tombstone => "Tombstone",
        StoreState::Up => match store.liveness(now_ms, down_ms) {
            Liveness::Up => "Up",
            Liveness::Disconnected => "Disconnected",
            Liveness::Down => "Down",
        },
    }
}

fn store_json(store: &Store, brain: &Brain, leader: &Leader) -> Value {
    let now_ms = leader.now_ms();
    let down_ms = leader.config().schedule.max_store_down_time.0.as_millis() as u64;
    let counts = brain.cluster.regions.counts(store.id);
    let (state, node_state) = match store.state {
        StoreState::Up => (0, "Serving"),
        StoreState::Offline => (1, "Removing"),
        StoreState::Tombstone => (2, "Removed"),
    };
    let labels: Vec<Value> = store.labels.iter().map(|(k, v)| json!({ "key": k, "value": v })).collect();
    let uptime_s = (now_ms / 1000).saturating_sub(store.start_time_s);
    json!({
        "store": {
            "id": store.id,
            "address": store.address,
            "status_address": store.status_address,
            "labels": labels,
            "version": store.version,
            "start_timestamp": store.start_time_s,
            "last_heartbeat": store.last_heartbeat_ms.saturating_mul(1_000_000),
            "state": state,
            "node_state": node_state,
            "state_name": state_name(store, now_ms, down_ms),
        },
        "status": {
            "capacity": bytes_text(store.capacity_bytes),
            "available": bytes_text(store.available_bytes),
            "used_size": bytes_text(store.used_bytes),
            "leader_count": counts.leaders,
            "leader_weight": 1,
            "leader_score": counts.leaders,
            "leader_size": counts.leader_bytes >> 20,
            "region_count": counts.peers,
            "region_weight": 1,
            "region_score": counts.peers,
            "region_size": counts.bytes >> 20,
            "start_ts": time_text(store.start_time_s * 1000),
            "last_heartbeat_ts": time_text(store.last_heartbeat_ms),
            "uptime": format!("{}h{}m{}s", uptime_s / 3600, uptime_s / 60 % 60, uptime_s % 60),
        },
    })
}

async fn stores(State(shared): Handler, Query(query): Query<HashMap<String, String>>) -> Answer {
    let leader = active(&shared)?;
    // As PD: tombstones only when asked for by state=2.
    let wanted: Vec<&str> = query.get("state").map(|s| s.split(',').collect()).unwrap_or_default();
    let stores: Vec<Value> = leader.read(|brain| {
        let shown = brain.cluster.stores().values().filter(|s| {
            let number = match s.state {
                StoreState::Up => "0",
                StoreState::Offline => "1",
                StoreState::Tombstone => "2",
            };
            if wanted.is_empty() { s.state != StoreState::Tombstone } else { wanted.contains(&number) }
        });
        shown.map(|s| store_json(s, brain, &leader)).collect()
    });
    Ok(Json(json!({ "count": stores.len(), "stores": stores })).into_response())
}

async fn store(State(shared): Handler, Path(id): Path<u64>) -> Answer {
    let leader = active(&shared)?;
    let found = leader.read(|brain| brain.cluster.store(id).map(|s| store_json(s, brain, &leader)));
    found.map(|s| Json(s).into_response()).ok_or_else(|| not_found(format!("store {id} not found")))
}

async fn remove_store(State(shared): Handler, Path(id): Path<u64>) -> Answer {
    active(&shared)?.set_store_state(id, StoreState::Offline).await?;
    ok("The store is set as Offline.")
}

async fn store_state(
    State(shared): Handler,
    Path(id): Path<u64>,
    Query(query): Query<HashMap<String, String>>,
) -> Answer {
    let state = match query.get("state").map(String::as_str) {
        Some("Up") => StoreState::Up,
        Some("Offline") => StoreState::Offline,
        Some("Tombstone") => StoreState::Tombstone,
        other => return Err(bad(format!("invalid state {}", other.unwrap_or_default()))),
    };
    active(&shared)?.set_store_state(id, state).await?;
    ok("The store's state is updated.")
}

async fn store_labels(State(shared): Handler, Path(id): Path<u64>, body: Bytes) -> Answer {
    let labels: BTreeMap<String, String> = from_json(&body)?;
    active(&shared)?.set_store_labels(id, labels).await?;
    ok("The store's label is updated.")
}

async fn remove_tombstones(State(shared): Handler) -> Answer {
    let count = active(&shared)?.remove_tombstones().await?;
    ok(&format!("Removed {count} tombstones."))
}

async fn cluster(State(shared): Handler) -> Answer {
    let cluster = active(&shared)?.bootstrapped();
    let id = shared.connected().map_or(0, |c| c.cluster_id);
    Ok(Json(json!({ "id": id, "max_peer_count": cluster.map_or(0, |c| c.max_peer_count) })).into_response())
}

async fn cluster_status(State(shared): Handler) -> Answer {
    let bootstrapped = active(&shared)?.bootstrapped().is_some();
    Ok(Json(json!({
        "raft_bootstrap_time": Value::Null,
        "is_initialized": bootstrapped,
        "replication_status": "",
    }))
    .into_response())
}

async fn gc_safe_point(State(shared): Handler) -> Answer {
    let safe_point = active(&shared)?.gc_safe_point().await;
    Ok(Json(json!({ "gc_safe_point": safe_point })).into_response())
}

async fn min_resolved(State(shared): Handler) -> Answer {
    let stores: BTreeMap<u64, u64> = active(&shared)?.read(|brain| brain.min_resolved.clone());
    Ok(Json(json!({
        "is_real_time": !stores.is_empty(),
        "min_resolved_ts": stores.values().min().copied().unwrap_or(0),
        "stores_min_resolved_ts": stores,
    }))
    .into_response())
}

// ---- regions ----

fn role_name(role: PeerRole) -> (&'static str, u8) {
    match role {
        PeerRole::Voter => ("Voter", 0),
        PeerRole::Learner => ("Learner", 1),
        PeerRole::IncomingVoter => ("IncomingVoter", 2),
        PeerRole::DemotingVoter => ("DemotingVoter", 3),
    }
}

fn peer_json(peer: &Peer) -> Value {
    let (name, role) = role_name(peer.role);
    let mut json = json!({ "id": peer.id, "store_id": peer.store_id, "role_name": name });
    if role != 0 {
        json["role"] = role.into();
        json["is_learner"] = peer.is_learner().into();
    }
    json
}

fn region_json(region: &Region) -> Value {
    let down: Vec<Value> = region
        .down_peers
        .iter()
        .filter_map(|(id, s)| Some(json!({ "peer": peer_json(region.peer(*id)?), "down_seconds": s })))
        .collect();
    let pending: Vec<Value> = region.pending_peers.iter().filter_map(|id| region.peer(*id)).map(peer_json).collect();
    json!({
        "id": region.id,
        "start_key": encode_hex(&region.start_key),
        "end_key": encode_hex(&region.end_key),
        "epoch": { "conf_ver": region.epoch.conf_ver, "version": region.epoch.version },
        "peers": region.peers.iter().map(peer_json).collect::<Vec<_>>(),
        "leader": region.leader_peer().map_or_else(|| json!({ "role_name": "Voter" }), peer_json),
        "down_peers": down,
        "pending_peers": pending,
        "cpu_usage": 0,
        "written_bytes": region.written_bytes,
        "read_bytes": region.read_bytes,
        "written_keys": 0,
        "read_keys": 0,
        "approximate_size": (region.approximate_size_bytes >> 20).max(1),
        "approximate_keys": region.approximate_keys,
    })
}

fn regions_json<'a>(regions: impl Iterator<Item = &'a Region>) -> Value {
    let regions: Vec<Value> = regions.map(region_json).collect();
    json!({ "count": regions.len(), "regions": regions })
}

async fn regions(State(shared): Handler) -> Answer {
    let leader = active(&shared)?;
    Ok(Json(leader.read(|brain| regions_json(brain.cluster.regions.iter()))).into_response())
}

/// A key in a query: hexadecimal, as PD's `format=hex`.
fn query_key(query: &HashMap<String, String>, names: &[&str]) -> Result<Vec<u8>, ApiError> {
    let text = names.iter().find_map(|name| query.get(*name)).map_or("", String::as_str);
    decode_hex(text).map_err(bad)
}

async fn regions_by_key(State(shared): Handler, Query(query): Query<HashMap<String, String>>) -> Answer {
    let leader = active(&shared)?;
    let start = query_key(&query, &["key", "start_key"])?;
    let end = query_key(&query, &["end_key"])?;
    let limit: usize = match query.get("limit") {
        Some(text) => text.parse().map_err(|_| bad(format!("limit '{text}' is no number")))?,
        None => 16,
    };
    let answer = leader.read(|brain| regions_json(brain.cluster.regions.scan(&start, &end).take(limit)));
    Ok(Json(answer).into_response())
}

async fn regions_count(State(shared): Handler) -> Answer {
    let count = active(&shared)?.read(|brain| brain.cluster.regions.len());
    Ok(Json(json!({ "count": count })).into_response())
}

async fn regions_of_store(State(shared): Handler, Path(id): Path<u64>) -> Answer {
    let leader = active(&shared)?;
    let answer = leader.read(|brain| regions_json(brain.cluster.regions.iter().filter(|r| r.peer_on(id).is_some())));
    Ok(Json(answer).into_response())
}

async fn region_by_id(State(shared): Handler, Path(id): Path<u64>) -> Answer {
    let found = active(&shared)?.read(|brain| brain.cluster.regions.get(id).map(region_json));
    Ok(Json(found).into_response())
}

async fn region_by_key(State(shared): Handler, Path(key): Path<String>) -> Answer {
    let key = decode_hex(&key).map_err(bad)?;
    let found = active(&shared)?.read(|brain| brain.cluster.regions.by_key(&key).map(region_json));
    Ok(Json(found).into_response())
}

async fn region_stats(State(shared): Handler, Query(query): Query<HashMap<String, String>>) -> Answer {
    let leader = active(&shared)?;
    let (start, end) = (query_key(&query, &["start_key"])?, query_key(&query, &["end_key"])?);
    let (mut count, mut empty, mut size, mut keys) = (0u64, 0u64, 0u64, 0u64);
    let (mut leaders, mut peers): (BTreeMap<u64, u64>, BTreeMap<u64, u64>) = Default::default();
    leader.read(|brain| {
        for region in brain.cluster.regions.scan(&start, &end) {
            count += 1;
            size += region.approximate_size_bytes >> 20;
            empty += u64::from(region.approximate_size_bytes >> 20 == 0);
            keys += region.approximate_keys;
            if let Some(leader) = region.leader_peer() {
                *leaders.entry(leader.store_id).or_default() += 1;
            }
            for peer in &region.peers {
                *peers.entry(peer.store_id).or_default() += 1;
            }
        }
    });
    Ok(Json(json!({
        "count": count, "empty_count": empty, "storage_size": size, "storage_keys": keys,
        "store_leader_count": leaders, "store_peer_count": peers,
    }))
    .into_response())
}

async fn check_regions(State(shared): Handler, Path(kind): Path<String>) -> Answer {
    let leader = active(&shared)?;
    let replicas = leader.config().replication.max_replicas;
    let wanted: fn(&Region, usize) -> bool = match kind.as_str() {
        "miss-peer" => |r, n| r.peers.len() < n,
        "extra-peer" => |r, n| r.peers.len() > n,
        "pending-peer" => |r, _| !r.pending_peers.is_empty(),
        "down-peer" => |r, _| !r.down_peers.is_empty(),
        "learner-peer" => |r, _| r.peers.iter().any(Peer::is_learner),
        "empty-region" => |r, _| r.approximate_size_bytes >> 20 == 0,
        _ => return Err(not_found(format!("region check '{kind}' is not supported"))),
    };
    let answer = leader.read(|brain| regions_json(brain.cluster.regions.iter().filter(|r| wanted(r, replicas))));
    Ok(Json(answer).into_response())
}

async fn replicated(State(shared): Handler, Query(query): Query<HashMap<String, String>>) -> Answer {
    let leader = active(&shared)?;
    let start = query_key(&query, &["startKey", "start_key"])?;
    let end = query_key(&query, &["endKey", "end_key"])?;
    let state = match leader.replication(&start, &end) {
        Replication::Replicated => "REPLICATED",
        Replication::InProgress => "INPROGRESS",
        Replication::Pending => "PENDING",
    };
    ok(state)
}

#[derive(serde::Deserialize)]
struct SplitBody {
    split_keys: Vec<String>,
}

async fn split_regions(State(shared): Handler, body: Bytes) -> Answer {
    let body: SplitBody = from_json(&body)?;
    let keys: Vec<Vec<u8>> =
        body.split_keys.iter().map(|key| decode_hex(key)).collect::<Result<_, _>>().map_err(bad)?;
    if keys.is_empty() {
        return Err(bad("split_keys is empty"));
    }
    let (done, ids) = active(&shared)?.split_at(&keys, Duration::from_secs(8)).await;
    let percentage = done * 100 / keys.len();
    Ok(Json(json!({ "processed-percentage": percentage, "regions-id": ids })).into_response())
}

// ---- operators ----

async fn operators(State(shared): Handler) -> Answer {
    let list: Vec<Value> = active(&shared)?.read(|brain| {
        brain.controller.operators().map(|o| json!({ "region_id": o.region_id, "operator": o.to_string() })).collect()
    });
    Ok(Json(list).into_response())
}

async fn operator(State(shared): Handler, Path(region): Path<u64>) -> Answer {
    let found = active(&shared)?.read(|brain| brain.controller.get(region).map(ToString::to_string));
    found.map(|o| Json(o).into_response()).ok_or_else(|| not_found("operator not found"))
}

async fn operator_records(State(shared): Handler) -> Answer {
    let list: Vec<Value> = active(&shared)?.read(|brain| {
        let record = |r: &crate::schedule::controller::Record| {
            json!({
                "region_id": r.region_id, "operator": r.operator, "status": r.outcome, "finish_time": time_text(r.at_ms),
            })
        };
        brain.controller.records().map(record).collect()
    });
    Ok(Json(list).into_response())
}

/// The operators that pd-ctl's users make by hand most.
#[derive(serde::Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum OperatorBody {
    TransferLeader { region_id: u64, to_store_id: u64 },
    SplitRegion { region_id: u64, keys: Vec<String> },
}

async fn add_operator(State(shared): Handler, body: Bytes) -> Answer {
    let leader = active(&shared)?;
    match from_json::<OperatorBody>(&body)? {
        OperatorBody::TransferLeader { region_id, to_store_id } => {
            let steps = vec![Step::TransferLeader { to_store: to_store_id }];
            leader.add_admin(region_id, "transfer leader on request", steps)?;
        }
        OperatorBody::SplitRegion { region_id, keys } => {
            let keys = keys.iter().map(|k| decode_hex(k)).collect::<Result<_, _>>().map_err(bad)?;
            leader.add_admin(region_id, "split on request", vec![Step::Split { keys }])?;
        }
    }
    ok("The operator is created.")
}

async fn cancel_operator(State(shared): Handler, Path(region): Path<u64>) -> Answer {
    if active(&shared)?.cancel_operator(region) {
        ok("The pending operator is canceled.")
    } else {
        Err(not_found("operator not found"))
    }
}

// ---- configuration and rules ----

fn schedule_json(leader: &Leader) -> Value {
    let schedule = &leader.config().schedule;
    json!({
        "max-store-down-time": schedule.max_store_down_time.to_string(),
        "leader-schedule-limit": schedule.leader_schedule_limit,
        "region-schedule-limit": schedule.region_schedule_limit,
        "replica-schedule-limit": schedule.replica_schedule_limit,
    })
}

fn replicate_json(leader: &Leader) -> Value {
    let replication = &leader.config().replication;
    json!({
        "max-replicas": replication.max_replicas,
        "location-labels": replication.location_labels.join(","),
        "isolation-level": replication.isolation_level,
        "strictly-match-label": "false",
        "enable-placement-rules": "true",
    })
}

async fn config(State(shared): Handler) -> Answer {
    let leader = active(&shared)?;
    let config = leader.config();
    Ok(Json(json!({
        "name": config.name,
        "data-dir": config.data_dir,
        "client-urls": config.client_urls,
        "peer-urls": config.peer_urls,
        "advertise-client-urls": config.advertise_client_urls,
        "advertise-peer-urls": config.advertise_peer_urls,
        "initial-cluster": config.initial_cluster,
        "lease": config.lease.0.as_secs(),
        "schedule": schedule_json(&leader),
        "replication": replicate_json(&leader),
        "cluster-version": "8.5.0",
    }))
    .into_response())
}

async fn config_schedule(State(shared): Handler) -> Answer {
    Ok(Json(schedule_json(&*active(&shared)?)).into_response())
}

async fn config_replicate(State(shared): Handler) -> Answer {
    Ok(Json(replicate_json(&*active(&shared)?)).into_response())
}

async fn rules(State(shared): Handler) -> Answer {
    let rules: Vec<Rule> = active(&shared)?.read(|brain| brain.rules.rules().cloned().collect());
    Ok(Json(rules).into_response())
}

async fn rules_of_group(State(shared): Handler, Path(group): Path<String>) -> Answer {
    let rules: Vec<Rule> =
        active(&shared)?.read(|brain| brain.rules.rules().filter(|r| r.group_id == group).cloned().collect());
    Ok(Json(rules).into_response())
}

async fn rules_of_region(State(shared): Handler, Path(id): Path<u64>) -> Answer {
    let rules = active(&shared)?.read(|brain| {
        let region = brain.cluster.regions.get(id)?;
        Some(brain.rules.rules_at(&region.start_key).to_vec())
    });
    rules.map(|r| Json(r).into_response()).ok_or_else(|| not_found(format!("region {id} not found")))
}

async fn rules_of_key(State(shared): Handler, Path(key): Path<String>) -> Answer {
    let key = decode_hex(&key).map_err(bad)?;
    Ok(Json(active(&shared)?.read(|brain| brain.rules.rules_at(&key).to_vec())).into_response())
}

async fn set_rules(State(shared): Handler, body: Bytes) -> Answer {
    let rules: Vec<Rule> = from_json(&body)?;
    active(&shared)?.change_rules(|set, stores| set.with_rules(rules, stores)).await?;
    ok("Update rules successfully.")
}

async fn set_rule(State(shared): Handler, body: Bytes) -> Answer {
    let rule: Rule = from_json(&body)?;
    active(&shared)?.change_rules(|set, stores| set.with_rules(vec![rule], stores)).await?;
    ok("Update rule successfully.")
}

async fn rule(State(shared): Handler, Path((group, id)): Path<(String, String)>) -> Answer {
    let found = active(&shared)?.read(|brain| brain.rules.rule(&group, &id).cloned());
    found.map(|r| Json(r).into_response()).ok_or_else(|| not_found(format!("rule {group}/{id} not found")))
}

async fn delete_rule(State(shared): Handler, Path((group, id)): Path<(String, String)>) -> Answer {
    active(&shared)?.change_rules(|set, _| set.without_rule(&group, &id)).await?;
    ok("Delete rule successfully.")
}

async fn rule_groups(State(shared): Handler) -> Answer {
    let groups: Vec<_> = active(&shared)?.read(|brain| brain.rules.groups().cloned().collect());
    Ok(Json(groups).into_response())
}

async fn rule_group(State(shared): Handler, Path(group): Path<String>) -> Answer {
    let found = active(&shared)?.read(|brain| brain.rules.groups().find(|g| g.id == group).cloned());
    found.map(|g| Json(g).into_response()).ok_or_else(|| not_found(format!("rule group {group} not found")))
}

async fn bundles(State(shared): Handler) -> Answer {
    Ok(Json(active(&shared)?.read(|brain| brain.rules.bundles())).into_response())
}

/// PD's `partial=true` leaves the groups that are not named; without it they are removed.
async fn set_bundles(State(shared): Handler, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Answer {
    let mut bundles: Vec<GroupBundle> = from_json(&body)?;
    fill_groups(&mut bundles)?;
    let partial = query.contains_key("partial");
    let change = |set: &crate::placement::rules::RuleSet, stores: &[&Store]| {
        if !partial {
            let named: Vec<String> = bundles.iter().map(|b| b.group_id.clone()).collect();
            let others = set.bundles().into_iter().filter(|b| !named.contains(&b.group_id));
            let removed: Vec<GroupBundle> = others.map(|b| GroupBundle { rules: Vec::new(), ..b }).collect();
            bundles.extend(removed);
        }
        set.with_bundles(bundles, stores)
    };
    active(&shared)?.change_rules(change).await?;
    ok("Update all placement rules successfully.")
}

/// A rule in a bundle may leave out its group, and must not name another.
fn fill_groups(bundles: &mut [GroupBundle]) -> Result<(), ApiError> {
    for bundle in bundles {
        for rule in &mut bundle.rules {
            if rule.group_id.is_empty() {
                rule.group_id.clone_from(&bundle.group_id);
            } else if rule.group_id != bundle.group_id {
                return Err(bad(format!("rule group {} does not match group ID {}", rule.group_id, bundle.group_id)));
            }
        }
    }
    Ok(())
}

async fn bundle(State(shared): Handler, Path(group): Path<String>) -> Answer {
    let found = active(&shared)?.read(|brain| brain.rules.bundle(&group));
    let bundle = found.unwrap_or_else(|| GroupBundle { group_id: group, ..GroupBundle::default() });
    Ok(Json(bundle).into_response())
}

async fn set_bundle(State(shared): Handler, Path(group): Path<String>, body: Bytes) -> Answer {
    let mut value: Value = from_json(&body)?;
    if value["group_id"].as_str().unwrap_or("").is_empty() {
        value["group_id"] = group.clone().into();
    }
    let bundle: GroupBundle = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
    if bundle.group_id != group {
        return Err(bad(format!("group id {} does not match request URI {group}", bundle.group_id)));
    }
    let mut bundles = vec![bundle];
    fill_groups(&mut bundles)?;
    active(&shared)?.change_rules(|set, stores| set.with_bundles(bundles, stores)).await?;
    ok("Update group and rules successfully.")
}

async fn delete_bundle(State(shared): Handler, Path(group): Path<String>) -> Answer {
    let bundle = GroupBundle { group_id: group, ..GroupBundle::default() };
    active(&shared)?.change_rules(|set, stores| set.with_bundles(vec![bundle], stores)).await?;
    ok("Delete group and rules successfully.")
}
