//! The seam to whoever has the processes: the playground in earnest, a few lines in tests.

use std::future::Future;

use serde::{Deserialize, Serialize};

use crate::catalog::Action;

/// An address at which clients of a region find a SQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Door {
    /// The SQL server's name.
    pub server: String,
    /// The region in which the server stands.
    pub region: String,
    /// Where to connect, so that the way is as long as from the client's region: the server itself, or the relay in front
    /// of it.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Whether the cluster is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is amiss, a sentence each: a process that is down, a replica that is down, a link that is still cut.
    pub problems: Vec<String>,
    /// What is under way and passes by itself, a sentence each: an operator that is pending, a replica that lags.
    pub moving: Vec<String>,
}

impl Health {
    /// Everything that keeps the cluster from being whole.
    pub fn missing(self) -> Vec<String> {
        [self.problems, self.moving].concat()
    }
}

/// A placement rule that no scheduling can satisfy, because the stores for it are not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfReach {
    /// PD's group of the rule; `TiDB_DDL_104` for the table with this id.
    pub group: String,
    /// The rule.
    pub rule: String,
    /// What it wants and what there is: `wants 5 voter(s), and there are stores for 3 of them`.
    pub why: String,
}

/// Why a cluster is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// Whoever has its processes was told to end.
    #[error("the playground has ended, and healed what was broken before it did")]
    InOrder,
    /// Whoever had its processes is gone, and they may run on.
    #[error(
        "the playground was killed, and what was broken stays so; start the cluster again, or stop what still runs of it \
         with ./playground/ctl clean TAG --stop"
    )]
    Killed,
}

/// Something that happened to the cluster, and was not the drill's doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// In words: `heal us-east-1`.
    pub text: String,
}

/// A running cluster. All methods may be called at any time and at the same time.
pub trait Cluster: Send + Sync {
    /// The tag under which the cluster is known.
    fn tag(&self) -> String;

    /// The addresses of *all* SQL servers as clients standing in `region` reach them, in any order: clients try those of
    /// their own region first.
    fn doors(&self, region: &str) -> Vec<Door>;

    /// Carries out one action, and returns when it is done (a process is dead or answers, a link is cut). Never called
    /// with [`Action::AwaitWhole`]. [`Action::HealAll`] must undo whatever earlier actions broke, and be harmless when
    /// nothing is broken; it fails with [`Ended`] if the cluster has ended.
    fn act(&self, action: &Action) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Whether the cluster is whole: all processes up, all replicas up, no operator pending. An error is one more
    /// problem ("PD does not answer").
    fn health(&self) -> impl Future<Output = anyhow::Result<Health>> + Send;

    /// What is not as it was at the start and does not pass by itself, a sentence each: processes that do not run, links,
    /// clocks and disks. Without a question to the servers, so that it is known at once. What is said of a fault stays the
    /// same, word for word, as long as the fault is in force.
    fn disturbed(&self) -> impl Future<Output = anyhow::Result<Vec<String>>> + Send;

    /// The placement that waiting cannot bring about.
    fn out_of_reach(&self) -> impl Future<Output = anyhow::Result<Vec<OutOfReach>>> + Send;

    /// What stands elsewhere than the placement policies want it, a sentence each, as PD's regions and the stores'
    /// labels tell. Asked until nothing does, before the clients start and after they have stopped; the drill's own tables are
    /// in database `database`.
    fn placement(&self, database: &str) -> impl Future<Output = anyhow::Result<Vec<String>>> + Send;

    /// Told of every event of the drill, for the cluster's own log.
    fn log_event(&self, _text: &str) {}

    /// What happened to the cluster from that moment on (milliseconds since 1970) and was not done by the drill, in order.
    fn incidents(&self, _since_ms: u64) -> Vec<Incident> {
        Vec::new()
    }

    /// Whether there is no cluster any more.
    fn ended(&self) -> impl Future<Output = Option<Ended>> + Send {
        async { None }
    }
}
