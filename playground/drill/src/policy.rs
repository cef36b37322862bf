//! Where the drill's tables stand: led from the region that the fault strikes, with a replica in each region, so that the
//! fault hits what the clients use. And what is said about other people's policies that no cluster of this size can meet:
//! a drill would wait for them in vain.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;

use crate::catalog::{Plan, Tier, Topology};
use crate::cluster::OutOfReach;
use crate::mysql::{self, Trouble, column};

/// How many policies that are out of reach are told, and tables of each.
const TOLD_MAX: usize = 3;

/// The placement policy of the drill's database.
pub(crate) struct Policy {
    /// Its name.
    pub(crate) name: String,
    /// The statement that creates it.
    pub(crate) create: String,
}

/// The policy for a plan; `None` when the cluster has too few regions for one.
pub(crate) fn policy(plan: &Plan, topology: &Topology) -> Option<Policy> {
    let primary = plan.primary.as_ref()?;
    let stores: BTreeSet<&str> =
        topology.nodes.iter().filter(|n| n.tier == Tier::Kv).map(|n| n.region.as_str()).collect();
    let regions: Vec<&str> = stores.into_iter().collect();
    let name: String = primary.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = format!("drill_{name}");
    let create = format!(
        "CREATE PLACEMENT POLICY IF NOT EXISTS `{name}` PRIMARY_REGION=\"{primary}\" REGIONS=\"{}\" FOLLOWERS=2",
        regions.join(",")
    );
    Some(Policy { name, create })
}

/// A table that has a policy of its own.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// `shop.orders`.
    table: String,
    /// The policy's name.
    policy: String,
}

/// The tables with a policy, by the id that PD's groups are named after.
pub(crate) async fn placed(conn: &mut Conn) -> Result<BTreeMap<i64, Placed>, Trouble> {
    let rows = mysql::statement(
        conn,
        "SELECT tidb_table_id, table_schema, table_name, tidb_placement_policy_name FROM information_schema.tables \
         WHERE tidb_placement_policy_name IS NOT NULL",
    );
    let placed = |row: &mysql_async::Row| {
        let (database, table): (String, String) = (column(row, 1)?, column(row, 2)?);
        Ok((column(row, 0)?, Placed { table: format!("{database}.{table}"), policy: column(row, 3)? }))
    };
    rows.await?.iter().map(placed).collect()
}

/// Why a cluster with placement that is out of reach is refused, and what to do.
pub(crate) fn refusal(out_of_reach: &[OutOfReach], placed: &BTreeMap<i64, Placed>) -> String {
    // By what is wanted in vain, since a policy often places many tables: what it places, and the statement for one.
    let mut policies: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for OutOfReach { group, rule, why } in out_of_reach {
        let table = group.strip_prefix("TiDB_DDL_").and_then(|id| placed.get(&id.parse().ok()?));
        let range = [("TiDB_GLOBAL", "global"), ("TiDB_META", "meta")].into_iter().find(|(of, _)| of == group);
        let (wants, of) = match (table, range) {
            (Some(Placed { table, policy }), _) => (
                format!("placement policy `{policy}` {why}"),
                Some((format!("table {table}"), format!("ALTER TABLE {table}"))),
            ),
            (None, Some((_, range))) => {
                let policy = rule.rsplit_once("_rule_").map_or(rule.as_str(), |(policy, _)| policy);
                (
                    format!("placement policy `{policy}` {why}"),
                    Some((format!("range {range}"), format!("ALTER RANGE {range}"))),
                )
            }
            (None, None) => (format!("placement rule {group}/{rule} of PD {why}"), None),
        };
        match policies.iter_mut().find(|(known, _)| *known == wants) {
            Some((_, places)) => places.extend(of),
            None => policies.push((wants, of.into_iter().collect())),
        }
    }
    let told = policies.iter().map(|(wants, places)| match places.first() {
        None => wants.clone(),
        Some((_, alter)) => format!(
            "{wants}, for {}: change it (ALTER PLACEMENT POLICY), or give what it places another one ({alter} PLACEMENT \
             POLICY=…, DEFAULT for none)",
            some(places.iter().map(|(place, _)| place.as_str()), ", ")
        ),
    });
    let told: Vec<String> = told.collect();
    format!(
        "no waiting makes this cluster whole: {}; or start it with more storage nodes where they are wanted (--kv)",
        some(told.iter().map(String::as_str), "; ")
    )
}

/// The first few, and how many more there are.
fn some<'a>(texts: impl ExactSizeIterator<Item = &'a str>, between: &str) -> String {
    let more = texts.len().saturating_sub(TOLD_MAX);
    let mut text = texts.take(TOLD_MAX).collect::<Vec<_>>().join(between);
    if more > 0 {
        text += &format!("{between}and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_cannot_be_met_is_named_with_its_table_and_what_to_do() {
        let rule = |group: &str, rule: &str| OutOfReach {
            group: group.into(),
            rule: rule.into(),
            why: "wants 5 voter(s), and there are stores for 3 of them".into(),
        };
        let placed = BTreeMap::from([(104, Placed { table: "shop.orders".into(), policy: "five".into() })]);
        let text = refusal(&[rule("TiDB_DDL_104", "table_rule_104_0")], &placed);
        for part in [
            "policy `five` wants 5 voter(s), and there are stores for 3 of them, for table shop.orders:",
            "ALTER PLACEMENT POLICY",
            "ALTER TABLE shop.orders PLACEMENT POLICY=",
            "--kv",
        ] {
            assert!(text.contains(part), "not `{part}` in: {text}");
        }
        let text = refusal(&[rule("TiDB_META", "far_away_rule_0")], &placed);
        assert!(text.contains("policy `far_away` wants") && text.contains("for range meta: "), "{text}");
        let others = [rule("TiDB_DDL_7", "a"), rule("pd", "default"), rule("mine", "b"), rule("mine", "c")];
        let text = refusal(&others, &placed);
        assert!(text.contains("rule TiDB_DDL_7/a of PD") && text.contains("and 1 more; or"), "{text}");
    }

    #[test]
    fn the_tables_of_a_policy_are_told_together() {
        let table = |id: i64| (id, Placed { table: format!("shop.t{id}"), policy: "five".into() });
        let rule = |id: i64| OutOfReach { group: format!("TiDB_DDL_{id}"), rule: "r".into(), why: "wants much".into() };
        let rules: Vec<OutOfReach> = (1..=5).map(rule).collect();
        let text = refusal(&rules, &(1..=5).map(table).collect());
        assert!(text.contains("for table shop.t1, table shop.t2, table shop.t3, and 2 more: change it"), "{text}");
        assert_eq!(text.matches("wants much").count(), 1, "{text}");
    }
}
