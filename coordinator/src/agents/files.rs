//! Files of agents: kept once for each owner, by their hash.

use std::sync::Arc;

use aitbc_common::agents::MAX_FILE_BYTES;
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::limits::CHUNK_BYTES;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;
use tokio::sync::SemaphorePermit;

use super::registry::{Registry, too_many};
use super::rows::{self, FileRow};
use crate::engine::command::Command;
use crate::sessions::stored::blocking;
use crate::store::keys::prefix_end;
use crate::store::rows::decode;
use crate::store::{Batch, Durability, Family, Store, StoreError};

/// Bytes of all files of one identity, at most: 1 GiB.
pub const FILES_BYTES: u64 = 1 << 30;
/// Files of one identity, at most.
const FILES: usize = 1_000;
/// What no agent names is kept for so long after its upload: one hour.
const UNNAMED_MS: u64 = 3_600_000;

impl Registry {
    /// Room for an upload; waits for it.
    pub async fn upload_room(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        self.uploads
            .acquire()
            .await
            .map_err(|_| ApiError::new(ErrorReason::Unavailable, "the coordinator is stopping"))
    }

    /// Whether the owner has this file; then it is as if it were uploaded now.
    pub async fn has_file(
        &self,
        owner: PublicKey,
        hash: Hash,
        size: u64,
    ) -> Result<bool, ApiError> {
        let key = rows::file(&owner, &hash);
        let stored: Option<FileRow> = self.read(key.clone()).await?;
        if stored.is_none_or(|stored| stored.size != size) {
            return Ok(false);
        }
        self.keep_file(key, size).await?;
        Ok(true)
    }

    /// Those of these files that the owner does not have.
    pub async fn missing(
        &self,
        owner: PublicKey,
        hashes: Vec<Hash>,
    ) -> Result<Vec<Hash>, ApiError> {
        let mut missing = Vec::new();
        for hash in hashes {
            let stored: Option<FileRow> = self.read(rows::file(&owner, &hash)).await?;
            if stored.is_none() {
                missing.push(hash);
            }
        }
        Ok(missing)
    }

    /// Keeps a whole file.
    pub async fn put_file(
        &self,
        owner: PublicKey,
        hash: Hash,
        bytes: Bytes,
    ) -> Result<(), ApiError> {
        if sha256(&bytes) != hash {
            let problem = "is not the SHA-256 of the bytes that were sent";
            return Err(ApiError::field("file.sha256", problem));
        }
        let size = bytes.len() as u64;
        self.make_room(owner, size).await?;
        let (store, fence) = (self.engine.store(), self.engine.fence());
        blocking(move || {
            for (chunk, at) in bytes
                .chunks(CHUNK_BYTES)
                .zip((0_u64..).step_by(CHUNK_BYTES))
            {
                let mut batch = Batch::new();
                let chunk = bytes.slice_ref(chunk);
                batch.put(Family::Output, rows::chunk(&owner, &hash, at), chunk);
                store.commit(&fence, batch, Durability::Buffered)?;
            }
            Ok(())
        })
        .await?;
        self.keep_file(rows::file(&owner, &hash), size).await
    }

    async fn keep_file(&self, key: Vec<u8>, size: u64) -> Result<(), ApiError> {
        let row = FileRow {
            size,
            uploaded_ms: self.engine.now_ms(),
        };
        let mut batch = Batch::new();
        batch.put(Family::Active, key, row.encode_to_vec());
        self.engine.call(Command::Keep(batch)).await.map(|_| ())
    }

    async fn files(&self, owner: PublicKey) -> Result<Vec<(Hash, FileRow)>, ApiError> {
        let prefix = rows::files_of(&owner);
        self.scan(prefix, FILES, |key, row| {
            let hash = rows::file_hash(key).unwrap_or_default();
            Ok((hash, decode(row)?))
        })
        .await
    }

    async fn make_room(&self, owner: PublicKey, size: u64) -> Result<(), ApiError> {
        for swept in [false, true] {
            let files = self.files(owner).await?;
            let kept: u64 = files.iter().map(|(_, row)| row.size).sum();
            if files.len() < FILES && kept + size <= FILES_BYTES {
                return Ok(());
            }
            if !swept {
                self.sweep(owner).await?;
            }
        }
        Err(too_many(format!(
            "this identity's files have {FILES} or 1 GiB together already: delete agents that are not needed"
        )))
    }

    /// Deletes files that no agent names for an hour.
    pub(super) async fn sweep(&self, owner: PublicKey) -> Result<(), ApiError> {
        let named = self.named_files(owner).await?;
        let before = self.engine.now_ms().saturating_sub(UNNAMED_MS);
        let mut batch = Batch::new();
        for (hash, row) in self.files(owner).await? {
            if row.uploaded_ms <= before && !named.contains(&hash) {
                batch.delete(Family::Active, rows::file(&owner, &hash));
                let chunks = rows::chunks(&owner, &hash);
                batch.delete_range(Family::Output, chunks.clone(), prefix_end(&chunks));
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.engine.call(Command::Keep(batch)).await.map(|_| ())
    }

    /// The next bytes of a file, at most 256 KiB; none at its end.
    pub async fn read_file(
        &self,
        owner: PublicKey,
        hash: Hash,
        offset: u64,
    ) -> Result<Option<Bytes>, ApiError> {
        let store = self.engine.store();
        blocking(move || read_chunk(&store, &owner, &hash, offset)).await
    }
}

fn read_chunk(
    store: &Arc<dyn Store>,
    owner: &PublicKey,
    hash: &Hash,
    offset: u64,
) -> Result<Option<Bytes>, StoreError> {
    let key = rows::chunk(owner, hash, offset);
    Ok(store.get_many(&[(Family::Output, &key)])?.pop().flatten())
}

/// Whether a file of so many bytes may be uploaded.
pub fn check_size(size: u64) -> Result<(), ApiError> {
    if size > MAX_FILE_BYTES {
        let message =
            format!("file.size: is {size} bytes, takes at most {MAX_FILE_BYTES} (32 MiB)");
        return Err(ApiError::new(ErrorReason::TooLarge, message));
    }
    Ok(())
}
