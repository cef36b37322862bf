//! Tests that cross tiers.
