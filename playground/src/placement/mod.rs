//! Whether replicas are up and where they belong, judged from what PD tells of regions, stores and rules, and not from
//! its own verdict about them.
//!
//! ```text
//!   groups, rules ── rules ──▶ for each key range the rules in force ┐
//!   regions ─────────────────▶ peers of a range ─────────────────────┼── fill ──▶ places that nobody fills: misplaced
//!   stores ──────────────────▶ labels ───────────────────────────────┘       or nobody could fill: out of reach
//! ```

mod fill;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use drill::OutOfReach;
use serde_json::Value;

use self::fill::fill;
use self::rules::{Bundle, Labels, Role, Rule, segments};
use crate::drills::ask_pd;

/// How many misplaced regions are named.
const NAMED_MAX: usize = 5;

/// What PD says of the replicas.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    /// What is amiss, a sentence each.
    pub(crate) amiss: Vec<String>,
    /// What PD is about to change, a sentence each.
    pub(crate) moving: Vec<String>,
}

/// What is amiss with the replicas, and what is only under way.
pub(crate) async fn replicas(pds: &[String], storage_nodes: usize) -> anyhow::Result<Replicas> {
    let (mut amiss, mut moving) = (Vec::new(), Vec::new());
    let members = ask_pd(pds, "/pd/api/v1/health").await?;
    for member in list(&members).iter().filter(|m| m["health"] == false) {
        amiss.push(format!("PD member {} is not healthy", text(&member["name"])));
    }
    let stores = ask_pd(pds, "/pd/api/v1/stores").await?;
    let up = list(&stores["stores"]).iter().filter(|s| s["store"]["state_name"] == "Up").count();
    if up < storage_nodes {
        amiss.push(format!("{up} of {storage_nodes} stores are up"));
    }
    let regions = ask_pd(pds, "/pd/api/v1/regions").await?;
    let (mut down, mut pending, mut leaderless) = (0, 0, 0);
    for region in list(&regions["regions"]) {
        down += usize::from(!list(&region["down_peers"]).is_empty());
        pending += usize::from(!list(&region["pending_peers"]).is_empty());
        leaderless += usize::from(region["leader"]["store_id"].is_null());
    }
    let count = |of: &mut Vec<String>, count, what| {
        if count > 0 {
            of.push(format!("{count} region(s): each {what}"));
        }
    };
    count(&mut amiss, down, "has a replica that is down");
    count(&mut amiss, leaderless, "has no leader");
    count(&mut moving, pending, "has a replica that lags");
    let operators = list(&ask_pd(pds, "/pd/api/v1/operators").await?).len();
    if operators > 0 {
        moving.push(format!("{operators} operator(s) are pending"));
    }
    Ok(Replicas { amiss, moving })
}

/// What stands elsewhere than the placement rules want it, a sentence each: every replica fills at most one place that a
/// rule in force over its range has, and every place is filled.
pub(crate) async fn misplaced(pds: &[String]) -> anyhow::Result<Vec<String>> {
    let (bundles, stores) = bundles_and_stores(pds).await?;
    let regions = ask_pd(pds, "/pd/api/v1/regions").await?;
    let problems = compare(list(&regions["regions"]), &bundles, &stores);
    let more = problems.len().saturating_sub(NAMED_MAX);
    let mut named: Vec<String> = problems.into_iter().take(NAMED_MAX).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    Ok(named)
}

/// Rules that no scheduling can satisfy with the stores that there are. None as long as a storage node is not known to
/// PD yet.
pub(crate) async fn out_of_reach(pds: &[String], storage_nodes: usize) -> anyhow::Result<Vec<OutOfReach>> {
    let (bundles, stores) = bundles_and_stores(pds).await?;
    if stores.len() < storage_nodes {
        return Ok(Vec::new());
    }
    Ok(beyond(&bundles, &stores))
}

async fn bundles_and_stores(pds: &[String]) -> anyhow::Result<(Vec<Bundle>, BTreeMap<u64, Labels>)> {
    let bundles = serde_json::from_value(ask_pd(pds, "/pd/api/v1/config/placement-rule").await?)?;
    Ok((bundles, labels(list(&ask_pd(pds, "/pd/api/v1/stores").await?["stores"]))))
}

/// The labels of the stores that replicas may stand on, by the store's id. One that is being removed is none of them.
fn labels(stores: &[Value]) -> BTreeMap<u64, Labels> {
    let staying = stores.iter().filter(|s| !matches!(text(&s["store"]["state_name"]), "Offline" | "Tombstone"));
    let labels = |s: &Value| {
        let pairs = list(&s["store"]["labels"]).iter();
        pairs.map(|l| (text(&l["key"]).to_owned(), text(&l["value"]).to_owned())).collect()
    };
    staying.filter_map(|s| Some((s["store"]["id"].as_u64()?, labels(s)))).collect()
}

fn compare(regions: &[Value], bundles: &[Bundle], stores: &BTreeMap<u64, Labels>) -> Vec<String> {
    let segments = segments(bundles);
    let mut problems = Vec::new();
    for region in regions {
        let (start, end) = (text(&region["start_key"]).to_lowercase(), text(&region["end_key"]).to_lowercase());
        let peers = list(&region["peers"]);
        let fits = |rule: &Rule, peer: usize| {
            let peer = &peers[peer];
            let (leads, learns) = (peer["id"] == region["leader"]["id"], peer["is_learner"] == true);
            let plays = match rule.role {
                Role::Voter => !learns,
                Role::Leader => leads,
                Role::Follower => !learns && !leads,
                Role::Learner => learns,
            };
            let store = peer["store_id"].as_u64().and_then(|id| stores.get(&id));
            plays && store.is_some_and(|labels| rule.takes(labels))
        };
        for segment in segments.iter().filter(|s| s.overlaps(&start, &end)) {
            let filled = fill(&segment.rules, peers.len(), fits);
            let short: Vec<_> = filled.short(&segment.rules).collect();
            let id = &region["id"];
            for (rule, found) in &short {
                let (count, role, name) = (rule.count, rule.role, rule.name());
                problems.push(format!("region {id}: {found} of {count} {role} where rule {name} wants them"));
            }
            for peer in filled.idle.iter().filter(|_| short.is_empty()) {
                problems.push(format!("region {id}: its replica on store {} serves no rule", peers[*peer]["store_id"]));
            }
        }
    }
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
    problems
}

fn beyond(bundles: &[Bundle], stores: &BTreeMap<u64, Labels>) -> Vec<OutOfReach> {
    let stores: Vec<&Labels> = stores.values().collect();
    let mut beyond: Vec<OutOfReach> = Vec::new();
    for segment in segments(bundles) {
        let filled = fill(&segment.rules, stores.len(), |rule: &Rule, store: usize| rule.takes(stores[store]));
        for (rule, found) in filled.short(&segment.rules) {
            let known = beyond.iter().any(|b| b.group == rule.group_id && b.rule == rule.id);
            if !known {
                let (count, role, place) = (rule.count, rule.role, rule.place());
                let why = format!("wants {count} {role}(s){place}, and there are stores for {found} of them");
                beyond.push(OutOfReach { group: rule.group_id.clone(), rule: rule.id.clone(), why });
            }
        }
    }
    beyond
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stores(regions: &[&str]) -> BTreeMap<u64, Labels> {
        let store = |(index, region): (usize, &&str)| json!({ "store": { "id": index + 1, "state_name": "Up", "labels": [{ "key": "region", "value": region }] } });
        labels(&regions.iter().enumerate().map(store).collect::<Vec<_>>())
    }

    /// PD's default, and a table's group over the keys from 74 to 75 with `rules` as "leader 1 eu".
    fn bundles(rules: &[&str]) -> Vec<Bundle> {
        let rule = |(index, rule): (usize, &&str)| {
            let words: Vec<&str> = rule.split(' ').collect();
            let count: u64 = words[1].parse().unwrap();
            let constraints = match words.get(2) {
                Some(region) => json!([{ "key": "region", "op": "in", "values": [region] }]),
                None => json!([]),
            };
            json!({ "group_id": "TiDB_DDL_7", "id": index.to_string(), "role": words[0], "count": count,
                "start_key": "74", "end_key": "75", "label_constraints": constraints })
        };
        let rules: Vec<Value> = rules.iter().enumerate().map(rule).collect();
        let default = json!({ "group_id": "pd", "id": "default", "role": "voter", "count": 3 });
        let bundles = json!([
            { "group_id": "pd", "rules": [default] },
            { "group_id": "TiDB_DDL_7", "group_index": 40, "group_override": true, "rules": rules },
        ]);
        serde_json::from_value(bundles).unwrap()
    }

    /// A region from `start` on with a replica on each store, led by `leader`; `learner` does not vote.
    fn region(start: &str, stores: &[u64], leader: u64, learner: u64) -> Value {
        let peer = |id: &u64| json!({ "id": id * 10, "store_id": id, "is_learner": *id == learner });
        json!({ "id": 4, "start_key": start, "end_key": "", "leader": peer(&leader),
            "peers": stores.iter().map(peer).collect::<Vec<_>>() })
    }

    fn within_table(stores: &[u64], leader: u64, learner: u64) -> Value {
        Value::Object({
            let mut region = region("7400", stores, leader, learner).as_object().unwrap().clone();
            region.insert("end_key".to_owned(), json!("74FF"));
            region
        })
    }

    #[test]
    fn a_replica_on_a_store_that_its_rule_excludes_is_named() {
        let (stores, bundles) = (stores(&["us", "us", "eu"]), bundles(&["leader 1 eu", "follower 2 us"]));
        let compare = |region: Value| compare(&[region], &bundles, &stores);
        assert_eq!(compare(within_table(&[1, 2, 3], 3, 0)), Vec::<String>::new());
        assert_eq!(
            compare(within_table(&[1, 2, 3], 1, 0)),
            [
                "region 4: 0 of 1 leader where rule TiDB_DDL_7/0 wants them",
                "region 4: 1 of 2 follower where rule TiDB_DDL_7/1 wants them",
            ]
        );
        assert_eq!(compare(region("75", &[1, 2, 3], 1, 0)), Vec::<String>::new(), "only the default covers it");
        assert_eq!(
            compare(region("75", &[1, 2, 9], 1, 0)),
            ["region 4: 2 of 3 voter where rule pd/default wants them"],
            "a replica on a store that is gone"
        );
    }

    #[test]
    fn a_replica_does_not_count_for_two_rules_and_one_too_many_is_named() {
        let (stores, bundles) = (stores(&["us", "us", "eu", "ap"]), bundles(&["leader 1 us", "voter 2"]));
        let compare = |region: Value| compare(&[region], &bundles, &stores);
        assert_eq!(compare(within_table(&[1, 3], 1, 0)), ["region 4: 1 of 2 voter where rule TiDB_DDL_7/1 wants them"]);
        assert_eq!(compare(within_table(&[1, 2, 3], 2, 0)), Vec::<String>::new());
        assert_eq!(compare(within_table(&[1, 2, 3, 4], 1, 0)), ["region 4: its replica on store 4 serves no rule"]);
        assert_eq!(compare(within_table(&[1, 2, 3, 4], 1, 3)), ["region 4: its replica on store 3 serves no rule"]);
    }

    #[test]
    fn a_region_across_the_bound_of_two_groups_has_to_please_both() {
        let (stores, bundles) = (stores(&["us", "us", "eu", "ap"]), bundles(&["voter 4"]));
        let across = compare(&[region("7400", &[1, 2, 3], 1, 0)], &bundles, &stores);
        assert_eq!(across, ["region 4: 3 of 4 voter where rule TiDB_DDL_7/0 wants them"]);
        let across = compare(&[region("7400", &[1, 2, 3, 4], 1, 0)], &bundles, &stores);
        assert_eq!(across, ["region 4: its replica on store 4 serves no rule"], "one too many for the default");
    }

    #[test]
    fn what_more_time_cannot_place_is_out_of_reach() {
        let beyond = |regions: &[&str], rules: &[&str]| {
            let beyond = beyond(&bundles(rules), &stores(regions));
            beyond.into_iter().map(|b| format!("{}/{} {}", b.group, b.rule, b.why)).collect::<Vec<_>>()
        };
        let three = ["us", "eu", "ap"];
        assert_eq!(beyond(&three, &["leader 1 us", "voter 2"]), Vec::<String>::new());
        assert_eq!(beyond(&three, &["voter 5"]), ["TiDB_DDL_7/0 wants 5 voter(s), and there are stores for 3 of them"]);
        assert_eq!(
            beyond(&three, &["leader 1 us", "voter 1 us", "voter 1 eu"]),
            ["TiDB_DDL_7/1 wants 1 voter(s) on stores with region us, and there are stores for 0 of them"],
            "each of the two alone could be met"
        );
        assert_eq!(
            beyond(&three, &["leader 1 us", "voter 2 mars"]),
            ["TiDB_DDL_7/1 wants 2 voter(s) on stores with region mars, and there are stores for 0 of them"]
        );
        assert_eq!(
            beyond(&["us"], &["voter 1"]),
            ["pd/default wants 3 voter(s), and there are stores for 1 of them"],
            "what the default wants where it holds"
        );
    }
}
