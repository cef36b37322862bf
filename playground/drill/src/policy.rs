//! Where the drill's tables stand: led from the region that the fault strikes, with a replica in each region, so that the
//! fault hits what the clients use. And what is said about other people's policies that no cluster of this size can meet:
//! a drill would wait for them in vain.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::Conn;

use crate::catalog::{Plan, Tier, Topology};
use crate::cluster::OutOfReach;
use crate::mysql::{self, Trouble, column};

/// How many placements that are out of reach are told.
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
    let told = out_of_reach.iter().map(|rule| {
        let (group, id, why) = (&rule.group, &rule.rule, &rule.why);
        let table = group.strip_prefix("TiDB_DDL_").and_then(|id| placed.get(&id.parse().ok()?));
        let range = [("TiDB_GLOBAL", "global"), ("TiDB_META", "meta")].into_iter().find(|(of, _)| of == group);
        match (table, range) {
            (Some(Placed { table, policy }), _) => format!(
                "placement policy `{policy}` of table {table} {why}: give it one that fits (ALTER TABLE {table} PLACEMENT \
                 POLICY=…, or DEFAULT for none)"
            ),
            (None, Some((_, range))) => {
                let policy = id.rsplit_once("_rule_").map_or(id.as_str(), |(policy, _)| policy);
                format!(
                    "placement policy `{policy}` of range {range} {why}: give it one that fits (ALTER RANGE {range} \
                     PLACEMENT POLICY=…, or DEFAULT for none)"
                )
            }
            (None, None) => format!("placement rule {group}/{id} of PD {why}"),
        }
    });
    // A policy often has several rules, and a database many tables.
    let told: Vec<String> = told.collect();
    let more = told.len().saturating_sub(TOLD_MAX);
    let mut text = told[..told.len().min(TOLD_MAX)].join("; ");
    if more > 0 {
        text += &format!("; and {more} more");
    }
    format!(
        "no waiting makes this cluster whole: {text}; or start it with more storage nodes where they are wanted (--kv)"
    )
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
            "policy `five` of table shop.orders wants 5 voter(s), and there are stores for 3 of them",
            "ALTER TABLE shop.orders PLACEMENT POLICY=",
            "--kv",
        ] {
            assert!(text.contains(part), "not `{part}` in: {text}");
        }
        let text = refusal(&[rule("TiDB_META", "far_away_rule_0")], &placed);
        assert!(text.contains("policy `far_away` of range meta wants") && text.contains("ALTER RANGE meta"), "{text}");
        let others = [rule("TiDB_DDL_7", "a"), rule("pd", "default"), rule("mine", "b"), rule("mine", "c")];
        let text = refusal(&others, &placed);
        assert!(text.contains("rule TiDB_DDL_7/a of PD") && text.contains("and 1 more; or"), "{text}");
    }
}
