//! Where the drill's tables stand: led from the region that the fault strikes, with a replica in each region, so that the
//! fault hits what the clients use.

use std::collections::BTreeSet;

use crate::catalog::{Plan, Tier, Topology};

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
