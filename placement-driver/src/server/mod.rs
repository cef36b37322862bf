//! What a member answers: [`grpc`] (pdpb.PD), [`http`] (PD's API and pages) and, when the metadata is in an external
//! etcd, [`etcd_proxy`]. Wire types end here ([`convert`]).

pub mod convert;
pub mod etcd_proxy;
pub mod grpc;
pub mod http;
