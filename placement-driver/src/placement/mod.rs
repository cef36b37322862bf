//! Placement rules: where replicas must be, and how well a region's replicas are there.
//!
//! ```text
//!   SQL policy ──▶ bundle of rules ──▶ RuleSet: for each key range, the rules in force
//!                                         │
//!   region heartbeat ──▶ peers, leader ──▶ fit ──▶ satisfied, or what is missing (schedule::checker acts on it)
//! ```
//!
//! Names, JSON fields and semantics are those of PD's placement rules (pkg/schedule/placement in tikv/pd), because SQL
//! servers and operators' scripts speak them. Not here: deciding what to move (`schedule`), storage, HTTP.

pub mod fit;
pub mod rule;
pub mod rules;
