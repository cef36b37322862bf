//! The cluster as PD knows it.

pub mod model;
