//! An operator: the steps that bring one region from where it is to where it should be.
//!
//! A step is done when a heartbeat shows its effect, so a lost instruction is simply sent again, and an operator is
//! stale when the region changed in a way that none of its steps explains (tikv/pd pkg/schedule/operator does the
//! same with epochs).

use std::fmt;

use crate::cluster::model::{Epoch, Peer, PeerRole, Region};

/// One change of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new replica without a vote on that store.
    AddLearner {
        /// Where.
        store_id: u64,
        /// Its id, allocated for this step.
        peer_id: u64,
    },
    /// The learner gets a vote.
    PromoteLearner {
        /// Where it is.
        store_id: u64,
        /// Its id.
        peer_id: u64,
    },
    /// The replica goes.
    RemovePeer {
        /// Where it is.
        store_id: u64,
        /// Its id.
        peer_id: u64,
    },
    /// The replica on that store becomes the leader.
    TransferLeader {
        /// Where the leader should be.
        to_store: u64,
    },
    /// The region is split at these keys.
    Split {
        /// Memcomparable-encoded keys strictly inside the region.
        keys: Vec<Vec<u8>>,
    },
}

/// What a region's leader is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Change the membership by one peer.
    ChangePeer {
        /// The peer, with the role that it is to have.
        peer: Peer,
        /// Add it as a voter (or promote it), add it as a learner, or remove it.
        change: Change,
    },
    /// Give the leadership to that peer.
    TransferLeader {
        /// The next leader.
        peer: Peer,
    },
    /// Split at these keys.
    Split {
        /// Memcomparable-encoded.
        keys: Vec<Vec<u8>>,
    },
}

/// A membership change of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Becomes a voter.
    AddVoter,
    /// Becomes a learner.
    AddLearner,
    /// Is removed.
    Remove,
}

impl Step {
    /// Whether the region shows the step's effect.
    pub fn is_finished(&self, region: &Region) -> bool {
        match self {
            Step::AddLearner { store_id, peer_id } => {
                region.peer_on(*store_id).is_some_and(|p| p.id == *peer_id) && !region.is_pending(*peer_id)
            }
            Step::PromoteLearner { peer_id, .. } => region.peer(*peer_id).is_some_and(|p| p.role == PeerRole::Voter),
            Step::RemovePeer { peer_id, .. } => region.peer(*peer_id).is_none(),
            Step::TransferLeader { to_store } => region.leader_peer().is_some_and(|p| p.store_id == *to_store),
            // The region that keeps the id ends at the first key, or begins at the last one.
            Step::Split { keys } => keys.iter().all(|k| !region.contains(k) || *k == region.start_key),
        }
    }

    /// Why the step cannot be done any more, if so.
    fn obstacle(&self, region: &Region) -> Option<&'static str> {
        match self {
            Step::AddLearner { store_id, peer_id } => {
                region.peer_on(*store_id).is_some_and(|p| p.id != *peer_id).then_some("the store has another peer")
            }
            Step::PromoteLearner { peer_id, .. } => region.peer(*peer_id).is_none().then_some("the learner is gone"),
            Step::RemovePeer { peer_id, .. } => {
                (region.leader == Some(*peer_id)).then_some("the peer to remove became the leader")
            }
            Step::TransferLeader { to_store } => match region.peer_on(*to_store) {
                None => Some("the next leader is gone"),
                Some(peer) if peer.is_learner() => Some("the next leader is a learner"),
                Some(peer) if region.is_down(peer.id) => Some("the next leader is down"),
                Some(_) => None,
            },
            Step::Split { .. } => None,
        }
    }

    fn instruction(&self, region: &Region) -> Option<Instruction> {
        let change = |id, store_id, role, change| Instruction::ChangePeer { peer: Peer { id, store_id, role }, change };
        Some(match self {
            Step::AddLearner { store_id, peer_id } => {
                if region.peer(*peer_id).is_some() {
                    return None; // it is there and catching up
                }
                change(*peer_id, *store_id, PeerRole::Learner, Change::AddLearner)
            }
            Step::PromoteLearner { store_id, peer_id } => {
                change(*peer_id, *store_id, PeerRole::Voter, Change::AddVoter)
            }
            Step::RemovePeer { peer_id, .. } => {
                let peer = *region.peer(*peer_id)?;
                Instruction::ChangePeer { peer, change: Change::Remove }
            }
            Step::TransferLeader { to_store } => Instruction::TransferLeader { peer: *region.peer_on(*to_store)? },
            Step::Split { keys } => Instruction::Split { keys: keys.clone() },
        })
    }

    /// How many membership changes the step makes.
    fn conf_changes(&self) -> u64 {
        match self {
            Step::AddLearner { .. } | Step::PromoteLearner { .. } | Step::RemovePeer { .. } => 1,
            Step::TransferLeader { .. } | Step::Split { .. } => 0,
        }
    }

    /// How long the step may take. A snapshot may be large and the link far; everything else is a few round trips.
    fn timeout_ms(&self) -> u64 {
        match self {
            Step::AddLearner { .. } => 10 * 60_000,
            Step::TransferLeader { .. } => 10_000,
            Step::PromoteLearner { .. } | Step::RemovePeer { .. } | Step::Split { .. } => 60_000,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddLearner { store_id, peer_id } => write!(f, "add learner peer {peer_id} on store {store_id}"),
            Step::PromoteLearner { store_id, peer_id } => {
                write!(f, "promote learner peer {peer_id} on store {store_id} to voter")
            }
            Step::RemovePeer { store_id, peer_id } => write!(f, "remove peer {peer_id} on store {store_id}"),
            Step::TransferLeader { to_store } => write!(f, "transfer leader to store {to_store}"),
            Step::Split { keys } => write!(f, "split region at {} keys", keys.len()),
        }
    }
}

/// Why an operator was made: more urgent ones replace less urgent ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Evening out load.
    Balance,
    /// Bringing a region to its rules.
    Rule,
    /// Asked for by an operator of the cluster.
    Admin,
}

/// What became of an operator after a look at its region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The leader is to be told this, or nothing while it works on it.
    Running(Option<Instruction>),
    /// All steps are done.
    Finished,
    /// It makes no sense any more.
    Cancelled(String),
}

/// The steps for one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// What it is for, in words.
    pub description: String,
    /// The region.
    pub region_id: u64,
    /// Its urgency.
    pub priority: Priority,
    steps: Vec<Step>,
    current: usize,
    epoch: Epoch,
    step_since_ms: u64,
}

impl Operator {
    /// An operator on the region as it is now.
    ///
    /// # Panics
    /// Without steps: there would be nothing to wait for.
    pub fn new(
        description: impl Into<String>,
        region: &Region,
        priority: Priority,
        steps: Vec<Step>,
        now_ms: u64,
    ) -> Self {
        assert!(!steps.is_empty(), "region {}: an operator needs a step", region.id);
        Operator {
            description: description.into(),
            region_id: region.id,
            priority,
            steps,
            current: 0,
            epoch: region.epoch,
            step_since_ms: now_ms,
        }
    }

    /// All its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step that is being done.
    pub fn current_step(&self) -> Option<&Step> {
        self.steps.get(self.current)
    }

    /// Looks at the region as it is now: passes over what is done and tells what is next.
    pub fn advance(&mut self, region: &Region, now_ms: u64) -> Progress {
        while self.current_step().is_some_and(|s| s.is_finished(region)) {
            self.current += 1;
            self.step_since_ms = now_ms;
        }
        let Some(step) = self.current_step() else { return Progress::Finished };
        // The step under way may have had its effect on the epoch already, though it is not finished yet.
        let explained: u64 = self.steps[..=self.current].iter().map(Step::conf_changes).sum();
        if region.epoch.conf_ver > self.epoch.conf_ver + explained {
            return Progress::Cancelled("the membership was changed by somebody else".into());
        }
        if region.epoch.version != self.epoch.version {
            return Progress::Cancelled("the region was split or merged meanwhile".into());
        }
        if let Some(obstacle) = step.obstacle(region) {
            return Progress::Cancelled(obstacle.into());
        }
        if now_ms.saturating_sub(self.step_since_ms) > step.timeout_ms() {
            return Progress::Cancelled(format!("timeout: {step}"));
        }
        Progress::Running(step.instruction(region))
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (region {}):", self.description, self.region_id)?;
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{} {step}", if index == self.current { " ▶" } else { if index == 0 { "" } else { "," } })?;
        }
        Ok(())
    }
}
