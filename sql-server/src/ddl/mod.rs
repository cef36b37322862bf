//! Schema changes, online.
pub mod job;
pub mod step;

mod build;
mod default;
