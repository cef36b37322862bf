//! What crosses between the regions.

use std::time::Instant;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use wan::config::Tier;
use wan::control::{Request, Response, TrafficRow};

use super::Wan;
use super::relay::Cost;
use crate::table;

/// What crossed between the regions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// For how long, seconds.
    pub(crate) seconds: f64,
    /// Every directed pair of regions and tier with any.
    pub(crate) flows: Vec<Flow>,
    /// The relay's cost.
    pub(crate) relay: Cost,
}

/// What went from one region to a tier's servers in another, or came back from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// Where it came from.
    pub(crate) from: String,
    /// Where it went.
    pub(crate) to: String,
    /// The tier whose servers were called: `pd`, `kv`, `sql`.
    pub(crate) tier: String,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Messages: what was there to read at once counts as one.
    pub(crate) messages: u64,
}

impl Traffic {
    /// For a person.
    pub(crate) fn table(&self) -> String {
        let row = |flow: &Flow| {
            let per_second = |n: u64| format!("{:.1}", n as f64 / self.seconds.max(0.001));
            vec![
                flow.from.clone(),
                flow.to.clone(),
                flow.tier.clone(),
                flow.bytes.to_string(),
                flow.messages.to_string(),
                per_second(flow.bytes),
                per_second(flow.messages),
            ]
        };
        let header = ["FROM", "TO", "TIER", "BYTES", "MESSAGES", "BYTES/S", "MESSAGES/S"];
        let mut text = format!("In the last {:.1} s\n", self.seconds);
        text.push_str(&table::lined_up(&header, self.flows.iter().map(row)));
        text.push_str(&format!("{}\n", self.relay));
        text
    }
}

impl Wan {
    /// What crossed since the last call.
    pub(crate) async fn traffic(&self) -> anyhow::Result<Traffic> {
        let rows = match self.call(&Request::Traffic).await? {
            Response::Traffic(rows) => rows,
            other => bail!("the WAN relay answers {other:?}"),
        };
        let relay = self.cost().await?;
        let mut seen = self.seen.lock();
        let (since, before) = std::mem::replace(&mut *seen, (Instant::now(), rows.clone()));
        let mut flows = Vec::new();
        for row in rows.into_iter().filter(|row| row.tier != Tier::Probe) {
            let same = |b: &&TrafficRow| b.from == row.from && b.to == row.to && b.tier == row.tier;
            let (bytes, messages) = before.iter().find(same).map_or((0, 0), |b| (b.bytes, b.messages));
            let tier = match row.tier {
                Tier::Pd => "pd",
                Tier::Kv => "kv",
                Tier::Sql => "sql",
                Tier::Probe => "probe",
            };
            flows.push(Flow {
                from: row.from,
                to: row.to,
                tier: tier.to_owned(),
                bytes: row.bytes - bytes,
                messages: row.messages - messages,
            });
        }
        flows.retain(|flow| flow.messages > 0);
        Ok(Traffic { seconds: since.elapsed().as_secs_f64(), flows, relay })
    }
}
