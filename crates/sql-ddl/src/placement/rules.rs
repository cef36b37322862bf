//! From a policy's settings to PD's placement rules.
//!
//! Two ways to write a policy, never mixed. *Regions* (PRIMARY_REGION, REGIONS, SCHEDULE) become up to three rules over
//! the label `region`: the leader, the voters beside it, all other voters. *Constraints* become one rule for each
//! entry, the common ones added to all. Then rules of one role and one set of constraints are added together, and a
//! leader and voters that only one place can give become plain voters, because PD moves plain voters with less effort.
//!
//! Conformance is the table in the tests, which is TiDB's.

use codec::bytes;
use codec::table::table_range;
use serde::{Deserialize, Serialize};
use sql_base::SqlError;
use sql_catalog::{Partition, PlacementSettings, PolicyInfo, PolicyRef, TableInfo};

/// FOLLOWERS when the policy does not say.
pub const DEFAULT_FOLLOWERS: u64 = 2;
/// More followers than this are refused, as in TiDB.
pub const FOLLOWERS_MAX: u64 = 8;

const INDEX_GLOBAL_RANGE: u32 = 20;
const INDEX_META_RANGE: u32 = 21;
const INDEX_TABLE: u32 = 40;
const INDEX_PARTITION: u32 = 80;

/// What a peer is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes, may lead.
    Voter,
    /// Leads.
    Leader,
    /// Votes, does not lead.
    Follower,
    /// Receives the log without a vote.
    Learner,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Op {
    /// Has one of the values.
    #[serde(rename = "in")]
    In,
    /// Has none of the values.
    #[serde(rename = "notIn")]
    NotIn,
}

/// What a store's label must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub op: Op,
    /// With what.
    pub values: Vec<String>,
}

/// A rule of PD: `count` peers of `role` on stores that meet all constraints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The group's id.
    pub group_id: String,
    /// Unique in the group.
    pub id: String,
    /// First key, memcomparable and in hexadecimal.
    pub start_key: String,
    /// The key after the last.
    pub end_key: String,
    /// What the peers are to be.
    pub role: Role,
    /// How many.
    pub count: u64,
    /// Where.
    #[serde(rename = "label_constraints", default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// Labels whose values should differ among the peers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub location_labels: Vec<String>,
}

/// A group of rules that PD takes and replaces as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Of the group.
    #[serde(rename = "group_id")]
    pub id: String,
    /// Groups apply in this order.
    #[serde(rename = "group_index")]
    pub index: u32,
    /// Replaces the groups before it where it applies.
    #[serde(rename = "group_override")]
    pub override_: bool,
    /// The rules; none removes the group's effect.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// A rule before it is bound to a key range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What the peers are to be.
    pub role: Role,
    /// How many.
    pub count: u64,
    /// Where.
    pub constraints: Vec<Constraint>,
    /// Labels whose values should differ among the peers.
    pub location_labels: Vec<String>,
}

/// PD's group for a table, or for a partition that has a policy of its own.
pub fn table_group(table_id: i64) -> String {
    format!("TiDB_DDL_{table_id}")
}

/// The rules of a table that a policy places, with those of its partitions that have no policy of their own.
fn table_bundle(table: &TableInfo, policy: &PolicyInfo) -> Result<Bundle, SqlError> {
    let group = table_group(table.id);
    let drafts = rules_of(&policy.settings)?;
    let over = |at, id: String| {
        let (start, end) = table_range(at);
        bind(drafts.clone(), &group, &id, &hex_key(&start), &hex_key(&end))
    };
    let mut rules = over(table.physical_id(), format!("table_rule_{}", table.id));
    if let Some(division) = table.division.as_ref().filter(|division| division.partition.is_none()) {
        for at in division.physical_ids(table) {
            rules.extend(over(at, format!("table_rule_{at}_beside")));
        }
    }
    for partition in partitions(table).into_iter().filter(|partition| partition.policy.is_none()) {
        rules.extend(over(partition.physical_id(), format!("partition_rule_{}", partition.id)));
    }
    Ok(Bundle { id: group, index: INDEX_TABLE, override_: true, rules })
}

/// The rules of a partition that has a policy of its own.
fn partition_bundle(partition: &Partition, policy: &PolicyInfo) -> Result<Bundle, SqlError> {
    let group = table_group(partition.id);
    let (start, end) = table_range(partition.physical_id());
    let id = format!("partition_rule_{}", partition.id);
    let rules = bind(rules_of(&policy.settings)?, &group, &id, &hex_key(&start), &hex_key(&end));
    Ok(Bundle { id: group, index: INDEX_PARTITION, override_: true, rules })
}

/// The partitions of a table, with those that are being made or left.
fn partitions(table: &TableInfo) -> Vec<&Partition> {
    let mut all: Vec<&Partition> = table.partition.iter().flat_map(|info| &info.definitions).collect();
    let beside = table.division.iter().filter_map(|division| division.partition.as_ref());
    for partition in beside.flat_map(|info| &info.definitions) {
        if !all.iter().any(|held| held.id == partition.id) {
            all.push(partition);
        }
    }
    all
}

/// All rules of a table and its partitions. `policy` knows policies by id; what it does not know has no rules.
pub fn bundles<'p>(table: &TableInfo, policy: impl Fn(i64) -> Option<&'p PolicyInfo>) -> Result<Vec<Bundle>, SqlError> {
    let mut bundles = Vec::new();
    if let Some(policy) = table.policy.as_ref().and_then(|held| policy(held.id)) {
        bundles.push(table_bundle(table, policy)?);
    }
    for partition in partitions(table) {
        if let Some(policy) = partition.policy.as_ref().and_then(|held| policy(held.id)) {
            bundles.push(partition_bundle(partition, policy)?);
        }
    }
    Ok(bundles)
}

/// The groups that a table and its partitions may have.
pub fn groups(table: &TableInfo) -> Vec<String> {
    let own = table.policy.is_some().then(|| table_group(table.id));
    let placed = partitions(table).into_iter().filter(|partition| partition.policy.is_some());
    own.into_iter().chain(placed.map(|partition| table_group(partition.id))).collect()
}

/// The policies of a table and its partitions.
pub fn policies(table: &TableInfo) -> Vec<PolicyRef> {
    let held = std::iter::once(&table.policy).chain(partitions(table).into_iter().map(|partition| &partition.policy));
    held.flatten().cloned().collect()
}

/// Whether the table or one of its partitions has this policy.
pub fn uses(table: &TableInfo, policy: i64) -> bool {
    policies(table).iter().any(|held| held.id == policy)
}

/// PD's group for a named key range.
pub fn range_group(range: &str) -> Option<(&'static str, u32)> {
    match range.to_lowercase().as_str() {
        "global" => Some(("TiDB_GLOBAL", INDEX_GLOBAL_RANGE)),
        "meta" => Some(("TiDB_META", INDEX_META_RANGE)),
        _ => None,
    }
}

/// The key range, in hexadecimal of memcomparable keys, that `ALTER RANGE` names.
pub fn range_keys(range: &str) -> (String, String) {
    if range.eq_ignore_ascii_case("meta") {
        let start = bytes::encoded(b"m");
        let end = codec::key::prefix_next(&start);
        (lower_hex(&start), lower_hex(&end))
    } else {
        (String::new(), String::new())
    }
}

/// The rules of a named key range that a policy places, `None` for a range that isn't one.
pub fn range_bundle(range: &str, policy: &PolicyInfo) -> Option<Result<Bundle, SqlError>> {
    let (group, index) = range_group(range)?;
    let (start, end) = range_keys(range);
    Some(rules_of(&policy.settings).map(|drafts| Bundle {
        id: group.to_owned(),
        index,
        override_: true,
        rules: bind(drafts, group, &format!("{}_rule", policy.name.lower), &start, &end),
    }))
}

fn bind(drafts: Vec<Draft>, group: &str, id: &str, start: &str, end: &str) -> Vec<Rule> {
    let rules = drafts.into_iter().enumerate().map(|(number, draft)| Rule {
        group_id: group.to_owned(),
        id: format!("{id}_{number}"),
        start_key: start.to_owned(),
        end_key: end.to_owned(),
        role: draft.role,
        count: draft.count,
        constraints: draft.constraints,
        location_labels: draft.location_labels,
    });
    rules.collect()
}

/// A key as PD's HTTP interface names it.
pub fn hex_key(key: &[u8]) -> String {
    lower_hex(&bytes::encoded(key))
}

fn lower_hex(bytes: &[u8]) -> String {
    sql_base::hex(bytes).to_lowercase()
}

/// The rules that settings stand for, not bound to a key range. Refuses settings that make no sense.
pub fn rules_of(settings: &PlacementSettings) -> Result<Vec<Draft>, SqlError> {
    if settings.followers > FOLLOWERS_MAX {
        return Err(invalid(format!("followers should be less than or equal to 8: {}", settings.followers)));
    }
    let by_constraints = !settings.leader_constraints.is_empty()
        || !settings.learner_constraints.is_empty()
        || !settings.follower_constraints.is_empty()
        || !settings.constraints.is_empty()
        || settings.learners > 0;
    let mut drafts = if by_constraints { from_constraints(settings)? } else { from_regions(settings)? };
    let labels = survival_labels(&settings.survival_preferences)?;
    for draft in &mut drafts {
        draft.location_labels = labels.clone();
    }
    tidy(drafts)
}

fn draft(role: Role, count: u64, constraints: Vec<Constraint>) -> Draft {
    Draft { role, count, constraints, location_labels: Vec::new() }
}

fn in_regions(regions: &[String]) -> Vec<Constraint> {
    vec![Constraint { key: "region".into(), op: Op::In, values: regions.to_vec() }]
}

fn from_regions(settings: &PlacementSettings) -> Result<Vec<Draft>, SqlError> {
    let primary = settings.primary_region.trim().to_owned();
    let listed = settings.regions.trim();
    let mut regions: Vec<String> = match listed {
        "" => Vec::new(),
        _ => listed.split(',').map(|region| region.trim().to_owned()).collect(),
    };
    let replicas = if settings.followers == 0 { DEFAULT_FOLLOWERS } else { settings.followers } + 1;
    if primary.is_empty() && regions.is_empty() {
        return Ok(vec![draft(Role::Voter, replicas, Vec::new())]);
    }
    regions.sort();
    if !regions.contains(&primary) {
        return Err(invalid("primary region must be included in regions"));
    }
    let in_primary = match settings.schedule.to_lowercase().as_str() {
        "" | "even" => replicas.div_ceil(regions.len() as u64),
        "majority_in_primary" => replicas / 2 + 1,
        _ => return Err(invalid(format!("unsupported schedule {}", settings.schedule))),
    };
    let home = in_regions(std::slice::from_ref(&primary));
    if let Some(at) = regions.iter().position(|region| *region == primary) {
        regions.remove(at);
    }
    let away = if regions.is_empty() { Vec::new() } else { in_regions(&regions) };
    Ok(vec![
        draft(Role::Leader, 1, home.clone()),
        draft(Role::Voter, in_primary.saturating_sub(1), home),
        draft(Role::Voter, replicas.saturating_sub(in_primary), away),
    ])
}

fn from_constraints(settings: &PlacementSettings) -> Result<Vec<Draft>, SqlError> {
    if !settings.primary_region.is_empty() || !settings.regions.is_empty() || !settings.schedule.is_empty() {
        return Err(invalid(format!(
            "should be [LEADER/VOTER/LEARNER/FOLLOWER]_CONSTRAINTS=.. [VOTERS/FOLLOWERS/LEARNERS]=.., mixed other \
             sugar options {}",
            super::settings::render(settings)
        )));
    }
    let mut drafts = Vec::new();
    // A list constrains every role; a dictionary says where the voters are, one by one.
    let common = match parse_list(&settings.constraints) {
        Ok(list) => list,
        Err(_) => {
            drafts = parse_dict(Role::Voter, &settings.constraints)?;
            Vec::new()
        }
    };
    let by_role = drafts.is_empty();

    let mut leader = parse_list(&settings.leader_constraints).map_err(|error| {
        refuse(format!(
            "{error}: 'LeaderConstraints' should be [constraint1, ...] or any yaml compatible array representation"
        ))
    })?;
    add_all(&mut leader, &common, "LeaderConstraints conflicts with Constraints")?;
    if by_role || !settings.leader_constraints.is_empty() {
        drafts.push(draft(Role::Leader, 1, leader));
    }

    if !by_role && settings.follower_constraints.is_empty() && settings.followers > 0 {
        return Err(invalid(
            "specify follower count without specify follower constraints when specify other constraints",
        ));
    }
    if by_role || !settings.follower_constraints.is_empty() {
        let count = if settings.followers == 0 { DEFAULT_FOLLOWERS } else { settings.followers };
        let mut followers = parse_rules(Role::Voter, count, settings.followers == 0, &settings.follower_constraints)
            .map_err(|error| refuse(format!("{error}: invalid FollowerConstraints")))?;
        for follower in &mut followers {
            add_all(&mut follower.constraints, &common, "FollowerConstraints conflicts with Constraints")?;
        }
        drafts.extend(followers);
    }

    let mut learners =
        parse_rules(Role::Learner, settings.learners, settings.learners == 0, &settings.learner_constraints)
            .map_err(|error| refuse(format!("{error}: invalid LearnerConstraints")))?;
    for learner in &mut learners {
        add_all(&mut learner.constraints, &common, "LearnerConstraints conflicts with Constraints")?;
    }
    drafts.extend(learners);
    Ok(drafts)
}

/// Rules of one role from a list (`count` peers) or a dictionary (which brings its own counts; they must add up to
/// `count` unless `count_is_open`).
fn parse_rules(role: Role, count: u64, count_is_open: bool, text: &str) -> Result<Vec<Draft>, SqlError> {
    match parse_list(text) {
        Ok(_) if count == 0 && text.is_empty() => Ok(Vec::new()),
        Ok(_) if count == 0 => Err(refuse(format!(
            "label constraints with invalid REPLICAS: count of replicas should be positive, but got 0, constraint {text}"
        ))),
        Ok(list) => Ok(vec![draft(role, count, list)]),
        Err(list_error) => {
            if is_list(text) {
                return Err(list_error);
            }
            let drafts = parse_dict(role, text)?;
            let total: u64 = drafts.iter().map(|draft| draft.count).sum();
            if !count_is_open && total != count {
                return Err(refuse(format!(
                    "label constraints with invalid REPLICAS: count of replicas in dict constrains is {total}, but got {count}"
                )));
            }
            Ok(drafts)
        }
    }
}

fn is_list(text: &str) -> bool {
    serde_yaml::from_str::<Vec<String>>(text).is_ok()
}

fn parse_list(text: &str) -> Result<Vec<Constraint>, SqlError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let labels: Vec<String> =
        serde_yaml::from_str(text).map_err(|_| refuse("invalid label constraints format".to_owned()))?;
    parse_labels(labels.iter().map(String::as_str))
}

fn parse_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Result<Vec<Constraint>, SqlError> {
    let mut constraints = Vec::new();
    for label in labels {
        add(&mut constraints, parse_constraint(label.trim())?)?;
    }
    Ok(constraints)
}

fn parse_dict(role: Role, text: &str) -> Result<Vec<Draft>, SqlError> {
    let entries: serde_yaml::Mapping = serde_yaml::from_str(text).map_err(|error| {
        // A list in which one constraint is wrong is told by that constraint.
        match serde_yaml::from_str::<Vec<String>>(text) {
            Ok(labels) => parse_labels(labels.iter().map(String::as_str)).err(),
            Err(_) => None,
        }
        .unwrap_or_else(|| {
            refuse(format!(
                "invalid label constraints format: should be [constraint1, ...] or {{constraint1: cnt1, ...}}, error \
                 {error}, or any yaml compatible representation"
            ))
        })
    })?;
    let mut drafts = Vec::new();
    for (labels, count) in &entries {
        let labels = labels.as_str().ok_or_else(|| {
            refuse("invalid label constraints format: should be {constraint1: cnt1, ...}, a key is not text".to_owned())
        })?;
        let count = match count {
            serde_yaml::Value::Null => 0,
            other => other.as_i64().ok_or_else(|| {
                refuse(format!(
                    "invalid label constraints format: should be {{constraint1: cnt1, ...}}, the count of '{labels}' is not a number"
                ))
            })?,
        };
        if count <= 0 {
            return Err(refuse(if !text.contains(':') {
                "no colon found".to_owned()
            } else if colon_without_blank(text) {
                "mappings use a colon and space (“: ”) to mark each key/value pair".to_owned()
            } else {
                format!(
                    "label constraints in map syntax have invalid replicas: count of labels '{labels}' should be \
                     positive, but got {count}"
                )
            }));
        }
        let mut role = role;
        let mut plain = Vec::new();
        for label in labels.split(',') {
            match label.strip_prefix('#') {
                Some("evict-leader") if role == Role::Voter => role = Role::Follower,
                Some("evict-leader") => {}
                Some(_) => {
                    return Err(refuse(format!("unsupported label constraint: unsupported attribute '{label}'")));
                }
                None => plain.push(label),
            }
        }
        drafts.push(draft(role, count.unsigned_abs(), parse_labels(plain)?));
    }
    Ok(drafts)
}

/// `key:2` where `key: 2` was meant.
fn colon_without_blank(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(3).any(|w| !matches!(w[0], b'"' | b'\'' | b':') && w[1] == b':' && w[2].is_ascii_digit())
}

fn parse_constraint(label: &str) -> Result<Constraint, SqlError> {
    let wrong = || refuse(format!("label constraint should be in format '{{+|-}}key=value': {label}"));
    let op = match label.as_bytes().first() {
        Some(b'+') => Op::In,
        Some(b'-') => Op::NotIn,
        _ => return Err(wrong()),
    };
    let (key, value) = label[1..].split_once('=').ok_or_else(wrong)?;
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() || value.is_empty() || value.contains('=') {
        return Err(wrong());
    }
    if op == Op::In && key == "engine" && value.eq_ignore_ascii_case("tiflash") {
        return Err(refuse(format!("unsupported label constraint: {label}")));
    }
    Ok(Constraint { key: key.into(), op, values: value.split(',').map(str::to_owned).collect() })
}

fn restore(constraint: &Constraint) -> String {
    let sign = if constraint.op == Op::In { '+' } else { '-' };
    format!("{sign}{}={}", constraint.key, constraint.values.join(","))
}

/// Adds a constraint: once only, and not against one that is there.
fn add(constraints: &mut Vec<Constraint>, new: Constraint) -> Result<(), SqlError> {
    for held in constraints.iter() {
        if held.key != new.key {
            continue;
        }
        match (held.op == new.op, held.values == new.values) {
            (true, true) => return Ok(()),
            (true, false) if new.op == Op::NotIn => {}
            (false, false) => {}
            // Nothing is in two places at once, and nothing is both in and not in one.
            (true, false) | (false, true) => {
                return Err(refuse(format!(
                    "conflicting label constraints: '{}' and '{}'",
                    restore(&new),
                    restore(held)
                )));
            }
        }
    }
    constraints.push(new);
    Ok(())
}

fn add_all(constraints: &mut Vec<Constraint>, common: &[Constraint], what: &str) -> Result<(), SqlError> {
    for constraint in common {
        add(constraints, constraint.clone()).map_err(|error| refuse(format!("{error}: {what}")))?;
    }
    Ok(())
}

fn survival_labels(text: &str) -> Result<Vec<String>, SqlError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_yaml::from_str(text)
        .map_err(|_| refuse("survival preference format should be in format [xxx=yyy, ...]".to_owned()))
}

/// Adds rules of one role and one set of constraints together. When the leader's place is the only one that can give a
/// leader, its leader and voters become plain voters.
fn tidy(drafts: Vec<Draft>) -> Result<Vec<Draft>, SqlError> {
    let place = |draft: &Draft| {
        let mut constraints = draft.constraints.clone();
        for constraint in &mut constraints {
            constraint.values.sort();
        }
        constraints.sort();
        constraints
    };
    let mut merged: Vec<Draft> = Vec::new();
    for draft in drafts.into_iter().filter(|draft| draft.count > 0) {
        match merged.iter_mut().find(|held| held.role == draft.role && place(held) == place(&draft)) {
            Some(held) => held.count += draft.count,
            None => merged.push(draft),
        }
    }
    let mut leading: Vec<_> =
        merged.iter().filter(|d| matches!(d.role, Role::Leader | Role::Voter)).map(place).collect();
    leading.sort();
    leading.dedup();
    let leaders: Vec<_> = merged.iter().filter(|d| d.role == Role::Leader).map(place).collect();
    if leaders.len() > 1 {
        return Err(SqlError::PlacementOptions("invalid placement option".into()));
    }
    let (Some(home), 1) = (leaders.first(), leading.len()) else { return Ok(merged) };
    let mut tidied: Vec<Draft> = Vec::new();
    let mut voters: Option<usize> = None;
    let alone = merged.iter().filter(|d| place(d) == *home).count() == 1;
    for mut draft in merged {
        if alone || place(&draft) != *home || draft.role == Role::Learner {
            tidied.push(draft);
            continue;
        }
        match voters {
            Some(at) => tidied[at].count += draft.count,
            None => {
                draft.role = Role::Voter;
                voters = Some(tidied.len());
                tidied.push(draft);
            }
        }
    }
    Ok(tidied)
}

fn invalid(detail: impl std::fmt::Display) -> SqlError {
    SqlError::PlacementOptions(format!("invalid placement option: {detail}"))
}

fn refuse(text: String) -> SqlError {
    SqlError::PlacementOptions(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> PlacementSettings {
        let mut settings = PlacementSettings::default();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once(' ').expect("KEY value");
            let value = value.to_owned();
            match key {
                "PRIMARY" => settings.primary_region = value,
                "REGIONS" => settings.regions = value,
                "SCHEDULE" => settings.schedule = value,
                "FOLLOWERS" => settings.followers = value.parse().unwrap(),
                "LEARNERS" => settings.learners = value.parse().unwrap(),
                "CONSTRAINTS" => settings.constraints = value,
                "LEADER" => settings.leader_constraints = value,
                "FOLLOWER" => settings.follower_constraints = value,
                "LEARNER" => settings.learner_constraints = value,
                "SURVIVAL" => settings.survival_preferences = value,
                other => panic!("no option {other}"),
            }
        }
        settings
    }

    fn show(drafts: &[Draft]) -> String {
        let rule = |draft: &Draft| {
            let role = serde_json::to_value(draft.role).unwrap();
            let place: Vec<_> = draft.constraints.iter().map(restore).collect();
            let labels = if draft.location_labels.is_empty() {
                String::new()
            } else {
                format!(" by {}", draft.location_labels.join("/"))
            };
            format!("{}{} {}{labels}", role.as_str().unwrap(), draft.count, place.join("&")).trim_end().to_owned()
        };
        drafts.iter().map(rule).collect::<Vec<_>>().join(", ")
    }

    fn check(input: &str, expect: &str) {
        let found = match rules_of(&settings(input)) {
            Ok(drafts) => show(&drafts),
            Err(error) => {
                assert_eq!(error.code().0, 1105, "{input}");
                format!("error: {error}")
            }
        };
        assert_eq!(found, expect, "{input}");
    }

    #[test]
    fn regions_become_rules() {
        check("", "voter3");
        // Where the primary region alone can lead, leader and voters are one rule.
        check("PRIMARY us; REGIONS us", "voter3 +region=us");
        check("PRIMARY us; REGIONS us; SCHEDULE MAJORITY_IN_PRIMARY", "leader1 +region=us, voter1 +region=us, voter1");
        check("PRIMARY us; REGIONS bj,sh,us; FOLLOWERS 1", "leader1 +region=us, voter1 +region=bj,sh");
        check(
            "PRIMARY us; REGIONS sh,us; FOLLOWERS 5; SCHEDULE EVEN",
            "leader1 +region=us, voter2 +region=us, voter3 +region=sh",
        );
        check(
            "PRIMARY sh; REGIONS bj,sh; FOLLOWERS 4; SCHEDULE majority_in_primary",
            "leader1 +region=sh, voter2 +region=sh, voter2 +region=bj",
        );
        check(
            "PRIMARY eu-west-1; REGIONS eu-west-1,us-east-1,us-west-2",
            "leader1 +region=eu-west-1, voter2 +region=us-east-1,us-west-2",
        );
        check(
            "PRIMARY us; REGIONS us , sh; SURVIVAL [zone, host]",
            "leader1 +region=us by zone/host, voter1 +region=us by zone/host, voter1 +region=sh by zone/host",
        );
    }

    #[test]
    fn constraints_become_rules() {
        check("CONSTRAINTS [+region=us]", "voter3 +region=us");
        check("CONSTRAINTS [+region=us]; FOLLOWERS 2; LEARNERS 2", "voter3 +region=us, learner2 +region=us");
        check("LEADER [+region=as]", "leader1 +region=as, voter2");
        check(r#"LEADER [+region=as]; FOLLOWER {"+region=us": 2}"#, "leader1 +region=as, voter2 +region=us");
        check(r#"LEARNER {"+region=us": 2}"#, "voter3, learner2 +region=us");
        check(
            r#"CONSTRAINTS {"+region=us-east-1":2,"+region=us-east-2":2,"+region=us-west-1":1}"#,
            "voter2 +region=us-east-1, voter2 +region=us-east-2, voter1 +region=us-west-1",
        );
        check("FOLLOWER {+disk=ssd: 1}", "leader1, voter1 +disk=ssd");
        check(
            r#"LEADER [+region=a]; FOLLOWER {"+region=b,#evict-leader": 2}"#,
            "leader1 +region=a, follower2 +region=b",
        );
        check(
            "LEADER [+region=as,-disk=hdd]; CONSTRAINTS [-disk=hdd]",
            "leader1 +region=as&-disk=hdd, voter2 -disk=hdd",
        );
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_in_tidbs_words() {
        let primary = "error: invalid placement option: primary region must be included in regions";
        check("REGIONS g", primary);
        check("PRIMARY us", primary);
        check("PRIMARY us; REGIONS bj,sh", primary);
        check("FOLLOWERS 9", "error: invalid placement option: followers should be less than or equal to 8: 9");
        check("PRIMARY us; REGIONS us; SCHEDULE x", "error: invalid placement option: unsupported schedule x");
        check(
            "LEARNER [+region=us]",
            "error: label constraints with invalid REPLICAS: count of replicas should be positive, but got 0, \
             constraint [+region=us]: invalid LearnerConstraints",
        );
        check(
            "CONSTRAINTS [+region=us]; LEADER [-region=us]",
            "error: conflicting label constraints: '+region=us' and '-region=us': LeaderConstraints conflicts with \
             Constraints",
        );
        check(
            "CONSTRAINTS [+region=us,+region=eu]",
            "error: conflicting label constraints: '+region=eu' and '+region=us'",
        );
        check("CONSTRAINTS [region=us]", "error: label constraint should be in format '{+|-}key=value': region=us");
        check("CONSTRAINTS [+engine=tiflash]", "error: unsupported label constraint: +engine=tiflash");
        check(r#"CONSTRAINTS {"+region=us,#x": 1}"#, "error: unsupported label constraint: unsupported attribute '#x'");
        check(
            r#"FOLLOWER {"+region=us": 1}; FOLLOWERS 2"#,
            "error: label constraints with invalid REPLICAS: count of replicas in dict constrains is 1, but got 2: \
             invalid FollowerConstraints",
        );
        check(
            r#"CONSTRAINTS {"+region=us": 0}"#,
            "error: label constraints in map syntax have invalid replicas: count of labels '+region=us' should be \
             positive, but got 0",
        );
        check("CONSTRAINTS {+region=us:2}", "error: mappings use a colon and space (“: ”) to mark each key/value pair");
        check("CONSTRAINTS {+region=us}", "error: no colon found");
        check(
            r#"CONSTRAINTS {"+region=us": 3}; FOLLOWERS 2"#,
            "error: invalid placement option: specify follower count without specify follower constraints when \
             specify other constraints",
        );
        check("SURVIVAL {a: 1}", "error: survival preference format should be in format [xxx=yyy, ...]");
        let mixed = rules_of(&settings("PRIMARY us; REGIONS us; LEARNERS 1")).unwrap_err().to_string();
        assert!(mixed.starts_with("invalid placement option: should be [LEADER/VOTER/LEARNER/FOLLOWER]_CONSTRAINTS=.. [VOTERS/FOLLOWERS/LEARNERS]=.., mixed other sugar options "), "{mixed}");
    }

    #[test]
    fn bundles_carry_the_ids_and_the_range_that_pd_expects() {
        let policy = PolicyInfo {
            id: 1,
            name: "p".into(),
            state: sql_catalog::SchemaState::Public,
            settings: settings("PRIMARY us; REGIONS us,eu"),
        };
        let mut table = TableInfo::new(104, "t", Vec::new());
        let bundle = table_bundle(&table, &policy).unwrap();
        let json = serde_json::to_value(&bundle).unwrap();
        assert_eq!(json["group_id"], "TiDB_DDL_104");
        assert_eq!(json["group_index"], 40);
        assert_eq!(json["group_override"], true);
        assert_eq!(json["rules"][0]["id"], "table_rule_104_0");
        assert_eq!(json["rules"][0]["role"], "leader");
        assert_eq!(json["rules"][0]["start_key"], "7480000000000000ff6800000000000000f8");
        assert_eq!(json["rules"][0]["label_constraints"][0]["op"], "in");
        let held = sql_catalog::PolicyRef { id: 1, name: "p".into() };
        let partition = |id: i64, policy| {
            let json = serde_json::json!({"id": id, "name": {"O": "p", "L": "p"}, "policy_ref_info": policy});
            serde_json::from_value::<Partition>(json).unwrap()
        };
        let definitions = vec![partition(105, None), partition(106, Some(&held))];
        let info = sql_catalog::PartitionInfo::new(sql_catalog::partition::Method::Hash, None, vec![], definitions);
        table.partition = Some(Box::new(info));
        table.policy = Some(held.clone());
        let all = bundles(&table, |id| (id == 1).then_some(&policy)).unwrap();
        let ids: Vec<_> = all.iter().map(|b| (b.id.as_str(), b.index, b.rules.len())).collect();
        let rules = table_bundle(&table, &policy).unwrap().rules;
        assert_eq!(ids, [("TiDB_DDL_104", 40, rules.len()), ("TiDB_DDL_106", 80, rules.len() / 2)]);
        assert!(rules.iter().any(|rule| rule.id == "partition_rule_105_0"));
        assert_eq!(groups(&table), ["TiDB_DDL_104", "TiDB_DDL_106"]);
        let bundle = range_bundle("meta", &policy).unwrap().unwrap();
        assert_eq!(bundle.rules[1].id, "p_rule_1");
        assert_eq!((bundle.index, bundle.rules[0].start_key.as_str()), (21, "6d00000000000000f8"));
        assert!(range_bundle("other", &policy).is_none());
    }
}
