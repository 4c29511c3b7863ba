//! The AITBC wire contract, generated from `aitbc/v1/*.proto`.
//!
//! [`v1`] holds messages, clients and servers; [`DESCRIPTORS`] is what gRPC reflection serves.

pub mod codec;

/// Package `aitbc.v1`.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("aitbc.v1");
}

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with comments.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
