//! Files of agents on this machine, kept by their hash for the next execution.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aitbc_common::agents::FileRef;
use aitbc_common::hash::{Hash, parse_hash_text, sha256};
use aitbc_common::runtime::files::write_atomic;
use aitbc_proto::v1::FailureReason;

use super::coordinator::Coordinator;
use super::driver::Host;
use super::tools::AttachedFile;
use crate::execution::{RunFailure, failed};

/// What is kept is made fewer bytes than this: 2 GiB.
const KEPT_BYTES: u64 = 2 << 30;
/// What was used so lately stays.
const IN_USE: Duration = Duration::from_secs(24 * 3600);

/// All of these files, fetched where they are not here.
pub async fn fetch(
    host: &Host,
    coordinator: &mut Coordinator<'_>,
    files: &[FileRef],
) -> Result<Vec<AttachedFile>, RunFailure> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let folder = host.folder.clone();
    disk(move || Ok(make_room(&folder)?)).await?;
    let mut attached = Vec::new();
    for file in files {
        let hash = parse_hash_text(&file.sha256).unwrap_or_default();
        let path = host.folder.join(file.sha256.trim_start_matches("sha256:"));
        let here = path.clone();
        if !disk(move || Ok(is_here(&here, &hash))).await? {
            let length = usize::try_from(file.bytes).unwrap_or(usize::MAX);
            let bytes = coordinator.file(&hash, length).await?.concat();
            if sha256(&bytes) != hash {
                let message = format!("the file {:?} is not the one that was asked for", file.name);
                return Err(failed(FailureReason::Garbage, message));
            }
            let there = path.clone();
            disk(move || Ok(write_atomic(&there, &bytes, 0o600)?)).await?;
        }
        attached.push(AttachedFile {
            name: file.name.clone(),
            path,
        });
    }
    Ok(attached)
}

async fn disk<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, RunFailure> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.unwrap_or_else(|error| Err(error.into()));
    done.map_err(|error| {
        let message = format!("the miner cannot keep the agent's files: {error}");
        failed(FailureReason::Operator, message)
    })
}

/// Whether the file is here, whole; it was used now.
fn is_here(path: &Path, hash: &Hash) -> bool {
    let is_whole = std::fs::read(path).is_ok_and(|bytes| sha256(&bytes) == *hash);
    if is_whole && let Ok(file) = std::fs::File::options().append(true).open(path) {
        // It may be dropped earlier then.
        let _older = file.set_modified(SystemTime::now());
    }
    is_whole
}

/// Drops what was not used for longest.
fn make_room(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let known = entry.metadata()?;
        files.push((known.modified()?, known.len(), entry.path()));
    }
    files.sort();
    let mut kept: u64 = files.iter().map(|(_, size, _)| size).sum();
    let before = SystemTime::now() - IN_USE;
    for (used, size, path) in files {
        if kept <= KEPT_BYTES || used > before {
            break;
        }
        std::fs::remove_file(path)?;
        kept -= size;
    }
    Ok(())
}
