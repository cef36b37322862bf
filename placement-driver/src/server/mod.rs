//! What a member answers: [`grpc`] (pdpb.PD) and [`http`] (PD's API and pages). Wire types end here ([`convert`]).

pub mod convert;
pub mod grpc;
pub mod http;
