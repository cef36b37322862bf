//! The wire between tiers: PD, TiKV and etcd messages and services, as prost types and tonic services.
//!
//! The `.proto` files beside this crate are our own and declare only what Meridian serves or sends;
//! package, service, method and field numbers are those of the originals (pingcap/kvproto,
//! pingcap/tipb, etcd), so that either side of each boundary can be the original system.
//!
//! Not here: behaviour. Crates convert to their own types at the edge.
#![allow(missing_docs)] // generated from the .proto files, which carry the comments
#![allow(clippy::all)] // generated

pub mod coprocessor {
    tonic::include_proto!("coprocessor");
}
pub mod deadlock {
    tonic::include_proto!("deadlock");
}
pub mod eraftpb {
    tonic::include_proto!("eraftpb");
}
pub mod errorpb {
    tonic::include_proto!("errorpb");
}
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
pub mod kvrpcpb {
    tonic::include_proto!("kvrpcpb");
}
pub mod meridian_pd {
    tonic::include_proto!("meridian_pd");
}
pub mod metapb {
    tonic::include_proto!("metapb");
}
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
pub mod pdpb {
    tonic::include_proto!("pdpb");
}
pub mod meridian_raft {
    tonic::include_proto!("meridian_raft");
}
pub mod meridian_statistics {
    tonic::include_proto!("meridian_statistics");
}
pub mod raft_serverpb {
    tonic::include_proto!("raft_serverpb");
}
pub mod tikvpb {
    tonic::include_proto!("tikvpb");
}
pub mod tipb {
    tonic::include_proto!("tipb");
}
