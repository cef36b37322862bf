//! Tests that cross tiers, and what they share: golden SQL scripts and the seeded simulation.

pub mod golden;
pub mod sim;
