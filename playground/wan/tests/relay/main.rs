//! The relay with real sockets and real time, on the loopback.
//!
//! The machine is noisy: what is measured is the least of several, or compared with a generous upper bound. Nothing
//! here sleeps to let something happen; what must *not* happen is given a time to happen in.

mod harness;

mod connections;
mod control;
mod cost;
mod cuts;
mod delays;
mod flow;
mod program;
