//! Local multi-region clusters in one command.
fn main() {}
