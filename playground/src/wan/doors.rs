//! Where programs of each region find the SQL servers, as far away as they are from there.

use std::net::Ipv4Addr;

use anyhow::Context;

use crate::control::Door;
use crate::spec::{Cluster, Role};

/// The ports of a region's doors begin so far above the SQL servers' own.
const DOOR_STEP: u16 = 100;

/// Lays out the doors: every region has one to every SQL server.
pub(super) fn lay_out(
    cluster: &Cluster,
    regions: &[String],
    owner_of: &mut dyn FnMut(&str, u16) -> Option<String>,
) -> anyhow::Result<Vec<(String, Door)>> {
    let mut used: Vec<u16> = cluster.nodes.iter().flat_map(|n| [n.port, n.second_port]).collect();
    let Some(first) = cluster.of(Role::Sql).map(|n| n.port).min() else { return Ok(Vec::new()) };
    let mut doors = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        for (number, node) in cluster.of(Role::Sql).enumerate() {
            let wanted = usize::from(first) + usize::from(DOOR_STEP) * (index + 1) + number;
            let free = (wanted..wanted + 1000)
                .filter_map(|port| u16::try_from(port).ok())
                .find(|port| !used.contains(port) && owner_of(&Ipv4Addr::LOCALHOST.to_string(), *port).is_none());
            let port =
                free.with_context(|| format!("no free port above {wanted} for a door; choose another --sql-port"))?;
            used.push(port);
            doors.push((node.name.clone(), Door { region: region.clone(), address: format!("127.0.0.1:{port}") }));
        }
    }
    Ok(doors)
}
