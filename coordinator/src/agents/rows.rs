//! What is stored of agents: rows of their own, in their owner's shard, frozen.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{AgentId, shard_of};
use bytes::Bytes;
use prost::Message;

/// Agents: [`crate::store::Family::Active`].
const AGENT: u8 = b'1';
/// Their versions: [`crate::store::Family::Active`].
const VERSION: u8 = b'2';
/// What files there are: [`crate::store::Family::Active`].
const FILE: u8 = b'3';
/// Their bytes: [`crate::store::Family::Output`].
const CHUNK: u8 = b'4';

fn key(table: u8, owner: &PublicKey, parts: &[&[u8]]) -> Vec<u8> {
    [&[shard_of(owner), table], &owner.0[..], &parts.concat()].concat()
}

/// An agent.
#[must_use]
pub fn agent(owner: &PublicKey, id: AgentId) -> Vec<u8> {
    key(AGENT, owner, &[&id.0])
}

/// Prefix of an owner's agents, oldest first.
#[must_use]
pub fn agents_of(owner: &PublicKey) -> Vec<u8> {
    key(AGENT, owner, &[])
}

/// A version of an agent.
#[must_use]
pub fn version(owner: &PublicKey, id: AgentId, version: u32) -> Vec<u8> {
    key(VERSION, owner, &[&id.0, &version.to_be_bytes()])
}

/// Prefix of an agent's versions.
#[must_use]
pub fn versions(owner: &PublicKey, id: AgentId) -> Vec<u8> {
    key(VERSION, owner, &[&id.0])
}

/// Prefix of the versions of all of an owner's agents.
#[must_use]
pub fn versions_of(owner: &PublicKey) -> Vec<u8> {
    key(VERSION, owner, &[])
}

/// A file.
#[must_use]
pub fn file(owner: &PublicKey, sha256: &Hash) -> Vec<u8> {
    key(FILE, owner, &[sha256])
}

/// Prefix of an owner's files.
#[must_use]
pub fn files_of(owner: &PublicKey) -> Vec<u8> {
    key(FILE, owner, &[])
}

/// The SHA-256 of such a key.
#[must_use]
pub fn file_hash(key: &[u8]) -> Option<Hash> {
    key.get(34..)?.try_into().ok()
}

/// The bytes of a file from an offset on.
#[must_use]
pub fn chunk(owner: &PublicKey, sha256: &Hash, offset: u64) -> Vec<u8> {
    key(CHUNK, owner, &[sha256, &offset.to_be_bytes()])
}

/// Prefix of a file's bytes.
#[must_use]
pub fn chunks(owner: &PublicKey, sha256: &Hash) -> Vec<u8> {
    key(CHUNK, owner, &[sha256])
}

/// An agent.
#[derive(Clone, PartialEq, Message)]
pub struct AgentRow {
    /// Its id (UUID bytes).
    #[prost(bytes = "bytes", tag = "1")]
    pub id: Bytes,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The newest version, from 1.
    #[prost(uint32, tag = "3")]
    pub version: u32,
    /// Unix time in ms.
    #[prost(uint64, tag = "4")]
    pub created_ms: u64,
}

/// A version of an agent.
#[derive(Clone, PartialEq, Message)]
pub struct VersionRow {
    /// Its definition, as its owner sent it.
    #[prost(bytes = "bytes", tag = "1")]
    pub definition: Bytes,
    /// Unix time in ms.
    #[prost(uint64, tag = "2")]
    pub created_ms: u64,
}

/// A file that is there.
#[derive(Clone, PartialEq, Message)]
pub struct FileRow {
    /// Its bytes.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// Unix time in ms of its newest upload.
    #[prost(uint64, tag = "2")]
    pub uploaded_ms: u64,
}
