//! The operators under way: at most one per region, bounded per store, advanced by heartbeats.

use std::collections::{BTreeMap, VecDeque};

use super::operator::{Instruction, Operator, Progress, Step};
use crate::cluster::model::Region;

/// New replicas that a store may be receiving at once: more would only make each of them slower.
pub const ADDING_PER_STORE_MAX: usize = 8;
/// Finished operators that are remembered, for people who ask what happened.
const RECORDS_MAX: usize = 200;
/// An instruction is repeated after this long: it may have been lost with a stream or a leader.
const RESEND_MS: u64 = 1_000;

/// How an operator ended.
#[derive(Clone, Debug)]
pub struct Record {
    /// The operator, as text.
    pub operator: String,
    /// The region.
    pub region_id: u64,
    /// `finished`, or why it was cancelled.
    pub outcome: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// All operators.
#[derive(Debug, Default)]
pub struct Controller {
    running: BTreeMap<u64, Running>,
    records: VecDeque<Record>,
}

#[derive(Debug)]
struct Running {
    operator: Operator,
    sent_ms: u64,
    sent: Option<Instruction>,
}

impl Controller {
    /// Whether the region has an operator.
    pub fn is_busy(&self, region_id: u64) -> bool {
        self.running.contains_key(&region_id)
    }

    /// The operator of a region.
    pub fn get(&self, region_id: u64) -> Option<&Operator> {
        self.running.get(&region_id).map(|r| &r.operator)
    }

    /// All operators, by region.
    pub fn operators(&self) -> impl Iterator<Item = &Operator> {
        self.running.values().map(|r| &r.operator)
    }

    /// What ended lately, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter()
    }

    /// Takes the operator, unless the region has one that is as urgent or a store is receiving too much already.
    /// Returns whether it was taken.
    pub fn add(&mut self, operator: Operator, now_ms: u64) -> bool {
        if self.get(operator.region_id).is_some_and(|o| o.priority >= operator.priority) {
            return false;
        }
        let is_full = |step: &Step| match step {
            Step::AddLearner { store_id, .. } => self.adding_to(*store_id) >= ADDING_PER_STORE_MAX,
            _ => false,
        };
        if operator.steps().iter().any(is_full) {
            return false;
        }
        let region_id = operator.region_id;
        if let Some(old) = self.running.insert(region_id, Running { operator, sent_ms: 0, sent: None }) {
            self.record(&old.operator, "replaced by a more urgent one".into(), now_ms);
        }
        true
    }

    /// Gives an operator up.
    pub fn cancel(&mut self, region_id: u64, why: &str, now_ms: u64) -> bool {
        let Some(old) = self.running.remove(&region_id) else { return false };
        self.record(&old.operator, why.to_owned(), now_ms);
        true
    }

    /// Forgets everything: another PD leads now.
    pub fn clear(&mut self) {
        self.running.clear();
    }

    /// Advances the region's operator by what the region shows, and returns what its leader is to be told now. Called
    /// for each heartbeat, and from time to time without one, which repeats what may have been lost.
    pub fn dispatch(&mut self, region: &Region, now_ms: u64) -> Option<Instruction> {
        let running = self.running.get_mut(&region.id)?;
        let outcome = match running.operator.advance(region, now_ms) {
            Progress::Running(instruction) => {
                let repeat = now_ms.saturating_sub(running.sent_ms) >= RESEND_MS;
                if running.sent == instruction && !repeat {
                    return None;
                }
                running.sent_ms = now_ms;
                running.sent.clone_from(&instruction);
                return instruction;
            }
            Progress::Finished => "finished".to_owned(),
            Progress::Cancelled(why) => format!("cancelled: {why}"),
        };
        if let Some(done) = self.running.remove(&region.id) {
            self.record(&done.operator, outcome, now_ms);
        }
        None
    }

    fn adding_to(&self, store: u64) -> usize {
        let adds = |o: &&Operator| {
            o.steps().iter().any(|s| matches!(s, Step::AddLearner { store_id, .. } if *store_id == store))
        };
        self.operators().filter(adds).count()
    }

    fn record(&mut self, operator: &Operator, outcome: String, at_ms: u64) {
        if self.records.len() == RECORDS_MAX {
            self.records.pop_front();
        }
        let record = Record { operator: operator.to_string(), region_id: operator.region_id, outcome, at_ms };
        self.records.push_back(record);
    }
}
