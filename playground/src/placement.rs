//! Whether replicas are up and where they belong, judged from what PD tells of regions, stores and rules, and not from
//! its own verdict about them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::drills::ask_pd;

/// How many misplaced regions are named.
const NAMED_MAX: usize = 5;

/// What is amiss with the replicas, a sentence each.
pub(crate) async fn unhealthy(pds: &[String], storage_nodes: usize) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let members = ask_pd(pds, "/pd/api/v1/health").await?;
    for member in list(&members).iter().filter(|m| m["health"] == false) {
        problems.push(format!("PD member {} is not healthy", text(&member["name"])));
    }
    let stores = ask_pd(pds, "/pd/api/v1/stores").await?;
    let up = list(&stores["stores"]).iter().filter(|s| s["store"]["state_name"] == "Up").count();
    if up < storage_nodes {
        problems.push(format!("{up} of {storage_nodes} stores are up"));
    }
    let regions = ask_pd(pds, "/pd/api/v1/regions").await?;
    let (mut down, mut pending, mut leaderless) = (0, 0, 0);
    for region in list(&regions["regions"]) {
        down += usize::from(!list(&region["down_peers"]).is_empty());
        pending += usize::from(!list(&region["pending_peers"]).is_empty());
        leaderless += usize::from(region["leader"]["store_id"].is_null());
    }
    for (count, what) in
        [(down, "has a replica that is down"), (pending, "has a replica that lags"), (leaderless, "has no leader")]
    {
        if count > 0 {
            problems.push(format!("{count} region(s): each {what}"));
        }
    }
    let operators = ask_pd(pds, "/pd/api/v1/operators").await?;
    let pending = list(&operators).len();
    if pending > 0 {
        problems.push(format!("{pending} operator(s) are pending"));
    }
    Ok(problems)
}

/// What stands elsewhere than the placement rules want it, a sentence each: for every region and every rule over its
/// range, the replicas of the rule's role on stores that meet its constraints are counted.
pub(crate) async fn misplaced(pds: &[String]) -> anyhow::Result<Vec<String>> {
    let stores = ask_pd(pds, "/pd/api/v1/stores").await?;
    let rules = ask_pd(pds, "/pd/api/v1/config/rules").await?;
    let regions = ask_pd(pds, "/pd/api/v1/regions").await?;
    let problems = compare(list(&regions["regions"]), list(&rules), list(&stores["stores"]));
    let more = problems.len().saturating_sub(NAMED_MAX);
    let mut named: Vec<String> = problems.into_iter().take(NAMED_MAX).collect();
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    Ok(named)
}

fn compare(regions: &[Value], rules: &[Value], stores: &[Value]) -> Vec<String> {
    let labels: BTreeMap<u64, BTreeMap<&str, &str>> = stores
        .iter()
        .filter_map(|s| {
            let pairs = list(&s["store"]["labels"]).iter().map(|l| (text(&l["key"]), text(&l["value"])));
            Some((s["store"]["id"].as_u64()?, pairs.collect()))
        })
        .collect();
    let mut problems = Vec::new();
    for region in regions {
        let covering: Vec<&Value> = in_force(rules.iter().filter(|rule| overlaps(region, rule)));
        for rule in covering {
            let leads = |peer: &Value| peer["id"] == region["leader"]["id"];
            let learner = |peer: &Value| peer["is_learner"] == true;
            let plays = |peer: &Value| match text(&rule["role"]) {
                "leader" => leads(peer),
                "follower" => !leads(peer) && !learner(peer),
                "learner" => learner(peer),
                _ => !learner(peer),
            };
            let fits = |peer: &&Value| {
                let store = peer["store_id"].as_u64().and_then(|id| labels.get(&id));
                plays(peer) && store.is_some_and(|labels| meets(labels, list(&rule["label_constraints"])))
            };
            let found = list(&region["peers"]).iter().filter(fits).count() as u64;
            let wanted = rule["count"].as_u64().unwrap_or(0);
            if found < wanted {
                problems.push(format!(
                    "region {}: {found} of {wanted} {} where rule {}/{} wants them",
                    region["id"],
                    text(&rule["role"]),
                    text(&rule["group_id"]),
                    text(&rule["id"]),
                ));
            }
        }
    }
    problems
}

/// The rules that count where several groups cover a range: a rule or group that overrides hides what comes before it.
/// PD's own default group is hidden by any other, as TiDB's bundles are written.
fn in_force<'a>(rules: impl Iterator<Item = &'a Value>) -> Vec<&'a Value> {
    let rules: Vec<&Value> = rules.collect();
    let special = |rule: &&Value| text(&rule["group_id"]) != "pd";
    if rules.iter().any(special) { rules.into_iter().filter(special).collect() } else { rules }
}

fn overlaps(region: &Value, rule: &Value) -> bool {
    let before =
        |end: &Value, start: &Value| !text(end).is_empty() && text(end).to_lowercase() <= text(start).to_lowercase();
    !before(&region["end_key"], &rule["start_key"]) && !before(&rule["end_key"], &region["start_key"])
}

fn meets(labels: &BTreeMap<&str, &str>, constraints: &[Value]) -> bool {
    constraints.iter().all(|constraint| {
        let value = labels.get(text(&constraint["key"]));
        let listed = value.is_some_and(|v| list(&constraint["values"]).iter().any(|wanted| text(wanted) == *v));
        match text(&constraint["op"]) {
            "in" => listed,
            "notIn" => !listed,
            "exists" => value.is_some(),
            "notExists" => value.is_none(),
            _ => false,
        }
    })
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

    fn store(id: u64, region: &str) -> Value {
        json!({ "store": { "id": id, "labels": [{ "key": "region", "value": region }] } })
    }

    #[test]
    fn a_replica_on_a_store_that_its_rule_excludes_is_named() {
        let stores = [store(1, "us"), store(2, "us"), store(3, "eu")];
        let rule = |role: &str, count: u64, region: &str| {
            json!({ "group_id": "TiDB_DDL_7", "id": role, "role": role, "count": count, "start_key": "74", "end_key": "75",
                "label_constraints": [{ "key": "region", "op": "in", "values": [region] }] })
        };
        let default =
            json!({ "group_id": "pd", "id": "default", "role": "voter", "count": 3, "start_key": "", "end_key": "" });
        let rules = [default, rule("leader", 1, "eu"), rule("follower", 2, "us")];
        let region = |leader: u64, start: &str| {
            let peer = |id: u64| json!({ "id": id * 10, "store_id": id });
            json!({ "id": 4, "start_key": start, "end_key": "", "leader": peer(leader), "peers": [peer(1), peer(2), peer(3)] })
        };
        assert_eq!(compare(&[region(3, "7400")], &rules, &stores), Vec::<String>::new());
        let wrong = compare(&[region(1, "7400")], &rules, &stores);
        assert_eq!(
            wrong,
            [
                "region 4: 0 of 1 leader where rule TiDB_DDL_7/leader wants them",
                "region 4: 1 of 2 follower where rule TiDB_DDL_7/follower wants them",
            ]
        );
        assert_eq!(compare(&[region(1, "75")], &rules, &stores), Vec::<String>::new(), "only the default covers it");
        assert_eq!(compare(&[region(1, "75")], &rules, &stores[..2]).len(), 1, "a replica on a store that is gone");
    }
}
