//! Drills: a fault is put into a running cluster while clients in every region work, and checkers that share nothing
//! with the servers judge what the clients saw.
//!
//! ```text
//!   catalog::plan ── Plan: expectation, faults, healing ──┐
//!                                                         ▼
//!   Cluster (playground: processes, WAN relay) ◄── act ── run ── starts ──► workload: clients of every region
//!        ▲ health, placement                               │                  │ door: which SQL server answers
//!        └─────────────────────────────────────────────────┤                  ▼
//!                                                          │              history: every operation with its times
//!                                                          ▼                  │
//!                     report.json, report.html ◄── report, html ◄── verdict ◄─┴─ check (pure), rto (pure)
//! ```
//!
//! What holds:
//! - the checkers are pure functions over a recorded history and rows that were read at the end; they take no server's
//!   word for anything;
//! - an operation whose fate the client cannot know counts as one that may happen at any later time, or never;
//! - whatever ends a drill (its end, an error, an interruption), the healing actions are carried out.
//!
//! Not here: processes, links and disks. Whoever has them implements [`Cluster`] and calls [`run::run`].
//!
//! Read next: [`catalog`] for the drills, [`run`] for what happens when, [`check`] for the judges.

pub mod catalog;
pub mod check;
pub mod cluster;
mod crowd;
mod door;
pub mod history;
pub mod html;
mod latency;
pub mod list;
pub mod model;
mod mysql;
mod policy;
pub mod report;
pub mod rto;
pub mod run;
pub mod verdict;
pub mod workload;

pub use catalog::{Action, Name, NodeInfo, Plan, PlanError, Tier, Topology, plan};
pub use cluster::{Cluster, Door, Ended, Health, Incident, OutOfReach};
pub use list::{Summary, list};
pub use report::Report;
pub use run::{Options, Outcome, run};
pub use workload::Workload;
