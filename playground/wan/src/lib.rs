//! The WAN emulator: puts the distances between regions between processes of one machine.
//!
//! ```text
//!   127.0.1.9 (a caller in region 1)
//!      │ connects to
//!      ▼
//!   127.0.2.3:4000  listener ──► delay line, region 1 → 2 ──► 127.0.2.3:14000 (the server, region 2)
//!                            ◄── delay line, region 2 → 1 ◄──
//! ```
//!
//! Region number R of a cluster owns the loopback network `127.0.R.0/24`. Every server's every port has a listener of
//! the relay in front of it; the relay reads the caller's region from its source address and holds what passes for as
//! long as the way would take. There is one relay for a whole cluster: bandwidth belongs to a pair of regions, not to
//! a connection, so one place has to share it out.
//!
//! The parts, in reading order:
//! - [`units`] and [`shape`]: what a link is like, and how people write it (`85ms`, `1gbit`, `0.1%`).
//! - [`regions`] and [`profile`]: where a cluster's links come from: a table of well-known regions, or a YAML file.
//! - [`config`]: what a relay is started with. [`control`]: what it can be asked while it runs.
//! - [`link`] and [`line`]: the pure core, with time as an argument: when does which byte arrive?
//! - [`relay`]: the sockets around it, one thread and one epoll.
//!
//! What it does not do: it does not lose bytes, since TCP is on top; a loss is the wait for a retransmission. It knows
//! nothing of congestion control, so a connection is at full speed from its first byte. UDP passes by it.

pub mod config;
pub mod control;
pub mod line;
pub mod link;
pub mod profile;
pub mod regions;
pub mod relay;
pub mod shape;
pub mod sockets;
pub mod units;
