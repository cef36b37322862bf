//! A drill without a fault against any running cluster: do the workloads and the judges work?
//!
//! ```text
//! cargo run -p drill --example against -- bank 20 us-east-1=127.0.0.1:4000 us-west-2=127.0.0.1:4001 …
//! ```

use std::time::Duration;

use clap::ValueEnum;
use drill::{Action, Cluster, Door, Health, Name, NodeInfo, Options, OutOfReach, Tier, Topology, Workload};
use parking_lot::Mutex;

/// A cluster of which nothing is known but its SQL servers; nothing is done to it, but it says that it was.
struct Calm {
    doors: Vec<Door>,
    pretended: Mutex<Vec<String>>,
}

impl Cluster for Calm {
    fn tag(&self) -> String {
        "calm".to_owned()
    }

    fn doors(&self, _region: &str) -> Vec<Door> {
        self.doors.clone()
    }

    async fn act(&self, action: &Action) -> anyhow::Result<()> {
        println!("(would {action})");
        let mut pretended = self.pretended.lock();
        match action {
            Action::Kill { .. } => pretended.push(action.to_string()),
            _ => pretended.clear(),
        }
        Ok(())
    }

    async fn health(&self) -> anyhow::Result<Health> {
        Ok(Health::default())
    }

    async fn disturbed(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.pretended.lock().clone())
    }

    async fn out_of_reach(&self) -> anyhow::Result<Vec<OutOfReach>> {
        Ok(Vec::new())
    }

    async fn placement(&self, _database: &str) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let workload = arguments.next().and_then(|w| Workload::from_str(&w, true).ok()).unwrap_or_default();
    let seconds = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(20);
    let mut doors = Vec::new();
    for (i, argument) in arguments.enumerate() {
        let (region, address) = argument.split_once('=').expect("REGION=HOST:PORT");
        let (host, port) = address.split_once(':').expect("HOST:PORT");
        let server = format!("sql-{}", i + 1);
        doors.push(Door { server, region: region.to_owned(), host: host.to_owned(), port: port.parse()? });
    }
    let regions: Vec<String> = doors.iter().map(|d| d.region.clone()).collect();
    let tiers = [(Tier::Pd, "pd"), (Tier::Kv, "kv"), (Tier::Sql, "sql")];
    let node = |(tier, prefix): &(Tier, &str), (i, region): (usize, &String)| NodeInfo {
        name: format!("{prefix}-{}", i + 1),
        tier: *tier,
        region: region.clone(),
    };
    let nodes = tiers.iter().flat_map(|t| regions.iter().enumerate().map(move |r| node(t, r))).collect();
    let topology = Topology { regions, nodes, pd_leader: Some("pd-1".to_owned()), wan: true, faults: true };
    let options = Options {
        name: Name::PdLeader,
        region: None,
        duration: Duration::from_secs(seconds),
        workload,
        rto_target: Duration::from_secs(5),
        drills: std::env::temp_dir().join("drills"),
        seed: 7,
    };
    let interrupted = async || {
        let _ = tokio::signal::ctrl_c().await;
    };
    let calm = Calm { doors, pretended: Mutex::default() };
    let outcome = drill::run(&calm, &topology, &options, interrupted, &mut |line| println!("{line}")).await;
    match &outcome {
        drill::Outcome::Done { report, directory } => print!("\n{}{}\n", report.text(), directory.display()),
        drill::Outcome::CouldNotRun(why) => println!("could not run: {why}"),
        drill::Outcome::Interrupted => println!("interrupted"),
        drill::Outcome::Left { not_healed } => println!("interrupted twice; not healed: {not_healed:?}"),
    }
    std::process::exit(outcome.exit().into());
}
