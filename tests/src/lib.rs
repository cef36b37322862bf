//! Tests that cross tiers, and what they share: a cluster in one process, golden SQL scripts and the seeded simulation.

pub mod cluster;
pub mod golden;
pub mod sim;
