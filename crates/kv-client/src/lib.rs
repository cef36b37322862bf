//! PD client and transactional client.

pub mod pd;

pub use pd::{GrpcPd, PdClient, PdError};
