//! The wire between tiers: PD, TiKV and etcd messages and services, as prost types and tonic services.
//!
//! The `.proto` files beside this crate are our own and declare only what Meridian serves or sends;
//! package, service, method and field numbers are those of the originals (pingcap/kvproto,
//! pingcap/tipb, etcd), so that either side of each boundary can be the original system.
//!
//! Not here: behaviour. Crates convert to their own types at the edge.
#![allow(missing_docs)] // generated from the .proto files, which carry the comments
#![allow(clippy::all)] // generated

macro_rules! packages {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name { tonic::include_proto!(stringify!($name)); })*
    };
}

packages! {
    coprocessor, deadlock, eraftpb, errorpb, etcdserverpb, kvrpcpb, metapb, mvccpb, pdpb,
    raft_serverpb, tikvpb,
}
