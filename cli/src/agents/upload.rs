//! Uploading an agent's files: what the coordinator does not have.

use std::fs::File;
use std::io::Read;

use aitbc_common::agents::MAX_FILE_BYTES;
use aitbc_common::hash::{Hash, hash_text, parse_hash_text, sha256};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_proto::v1::upload_file_request::Part;
use aitbc_proto::v1::{FindMissingFilesRequest, UploadFileRequest, UploadedFile};
use bytes::Bytes;

use super::files::Attachment;
use crate::context::Context;
use crate::retries::with_retries;

/// Bytes of one message of an upload: 256 KiB.
const PART_BYTES: usize = 256 << 10;

/// Uploads what the coordinator does not have of these files, one after the other.
pub async fn upload(
    context: &Context,
    connection: &Connection,
    files: &[Attachment],
) -> Result<(), CommandError> {
    if files.is_empty() {
        return Ok(());
    }
    let hashes = files.iter().map(|file| hash(file).to_vec().into());
    let request = FindMissingFilesRequest {
        sha256: hashes.collect(),
    };
    let missing = with_retries(
        connection.agents(),
        request,
        |mut agents, request| async move { agents.find_missing_files(request).await },
    )
    .await?
    .sha256;
    // Two names may have the same content, which is sent once.
    let mut sent: Vec<Hash> = Vec::new();
    for file in files {
        let hash = hash(file);
        if sent.contains(&hash) || !missing.iter().any(|missing| missing[..] == hash) {
            continue;
        }
        context.note(format_args!(
            "uploading {} ({} bytes)",
            file.path.display(),
            file.reference.bytes
        ));
        send(connection, file, hash).await?;
        sent.push(hash);
    }
    Ok(())
}

fn hash(file: &Attachment) -> Hash {
    parse_hash_text(&file.reference.sha256).expect("an attachment is hashed")
}

async fn send(connection: &Connection, file: &Attachment, hash: Hash) -> Result<(), CommandError> {
    let bytes = read(file)?;
    let first = Part::File(UploadedFile {
        sha256: hash.to_vec().into(),
        size: file.reference.bytes,
    });
    let starts = (0..bytes.len()).step_by(PART_BYTES);
    let data = starts.map(|at| Part::Data(bytes.slice(at..bytes.len().min(at + PART_BYTES))));
    let parts: Vec<UploadFileRequest> = std::iter::once(first)
        .chain(data)
        .map(|part| UploadFileRequest { part: Some(part) })
        .collect();
    with_retries(connection.agents(), parts, |mut agents, parts| async move {
        agents.upload_file(tokio_stream::iter(parts)).await
    })
    .await?;
    Ok(())
}

/// Its bytes, if they are still those that the definition names.
fn read(file: &Attachment) -> Result<Bytes, CommandError> {
    let mut bytes = Vec::new();
    let read = File::open(&file.path)
        .and_then(|open| open.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        CommandError::file(format_args!("read {}", file.path.display()), &error)
            .with_hint("name a file that you may read")
    })?;
    if hash_text(&sha256(&bytes)) != file.reference.sha256 {
        let message = format!("{} changes while it is sent", file.path.display());
        return Err(CommandError::new(ExitCode::Failed, "FILE_CHANGED", message)
            .with_hint("run the command again once nothing writes to it"));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use aitbc_common::agents::FileRef;

    use super::*;

    #[test]
    fn a_file_that_changed_since_it_was_hashed_is_not_sent() {
        let path = std::env::temp_dir().join(format!("aitbc-upload-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        let mut file = Attachment {
            reference: FileRef {
                name: "a".into(),
                sha256: hash_text(&sha256(b"abc")),
                bytes: 3,
            },
            path: path.clone(),
        };
        assert_eq!(read(&file).unwrap(), "abc");
        file.reference.sha256 = hash_text(&sha256(b"abd"));
        let changed = read(&file).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(changed.reason, "FILE_CHANGED");
        assert!(read(&file).unwrap_err().message.contains("aitbc-upload-"));
    }
}
