//! Clock and disk faults for single servers: one small library that `--faults` loads into each of them.
//!
//! ```text
//!   ctl clock kv-1 --jump 1h ──> NodeFaults ── pwrite ──> kv-1/faults <── mmap ── libfaults.so in kv-1's server
//! ```
//!
//! [`FaultLibrary`] is `faults/faults.c`, compiled in the cluster's directory. [`NodeFaults`] is the file through which
//! one node's servers are told what to do; they count in it what they did, which only tests read. What they can be told
//! is a [`ClockChange`] or a [`DiskFault`]. What a fault does and does not do is at the top of the C file. A node keeps
//! its faults while its server is stopped and started, and loses them with the playground.
//!
//! Read next: `control_file`, for how a change reaches a server that runs.

mod clock;
mod control_file;
mod disk;
mod library;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use clock::ClockChange;
pub(crate) use control_file::NodeFaults;
pub(crate) use disk::DiskFault;
pub(crate) use library::FaultLibrary;
