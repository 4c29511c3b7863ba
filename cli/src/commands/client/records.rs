//! What is kept of submitted jobs under the user's state folder.

use std::fs;
use std::io;
use std::path::PathBuf;

use aitbc_common::hash::sha256;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::JobSpec;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{Home, SECRET_MODE, write_atomic};
use aitbc_common::verify::{JobRecord, Trust};

use crate::context::Context;

/// How long an idempotency key stands for the same job, in milliseconds: 24 hours.
const REQUEST_LIFETIME_MS: u64 = 24 * 3_600_000;

fn job_file(home: &Home, job_id: &JobId) -> PathBuf {
    home.jobs_dir().join(format!("{job_id}.json"))
}

fn request_file(home: &Home, request_id: &str) -> PathBuf {
    let name = format!("{}.json", hex::encode(sha256(request_id.as_bytes())));
    home.jobs_dir().join("requests").join(name)
}

/// Keeps a request that is about to be sent. Where another one was sent under the same key before, that one stays: it
/// is what the key stands for, unless the coordinator accepts the new one.
pub fn keep_request(home: &Home, record: &JobRecord) -> Result<(), CommandError> {
    match read_request(home, &record.request_id, record.submitted_ms) {
        Some(earlier) if earlier.spec != record.spec => Ok(()),
        _ => replace_request(home, record),
    }
}

/// Keeps a request as what its key stands for.
pub fn replace_request(home: &Home, record: &JobRecord) -> Result<(), CommandError> {
    let path = request_file(home, &record.request_id);
    write_atomic(&path, &record.to_bytes(), SECRET_MODE)
}

/// The request that a key stands for.
fn read_request(home: &Home, request_id: &str, now_ms: u64) -> Option<JobRecord> {
    let bytes = fs::read(request_file(home, request_id)).ok()?;
    let record = JobRecord::from_bytes(&bytes).ok()?;
    let fresh = now_ms.saturating_sub(record.submitted_ms) < REQUEST_LIFETIME_MS;
    (fresh && record.request_id == request_id).then_some(record)
}

/// Keeps a job under the id that the coordinator gave it; exit code 8 where that is the id of another job.
pub fn keep_job(home: &Home, job_id: &JobId, record: &JobRecord) -> Result<(), CommandError> {
    // A damaged record is no loss; a whole one is what that job's result is checked against.
    if let Ok(Some(earlier)) = read_job(home, job_id)
        && earlier.spec != record.spec
    {
        return Err(CommandError::new(
            ExitCode::ProofFailed,
            "PROOF_WRONG_JOB",
            format!("the coordinator gave the new job the id of an earlier one: {job_id}"),
        )
        .with_hint(
            "do not use its result; what is known here of the earlier job was left as it is",
        ));
    }
    let record = JobRecord {
        job_id: Some(job_id.to_string()),
        ..record.clone()
    };
    write_atomic(&job_file(home, job_id), &record.to_bytes(), SECRET_MODE)
}

/// Forgets a request whose job is kept under its id.
pub fn forget_request(home: &Home, request_id: &str) {
    let _already_gone = fs::remove_file(request_file(home, request_id));
}

/// The salt of the request that was sent under this key before, where it asked for the same; then it is that request
/// again, and not another one under the same key.
pub fn earlier_salt(
    home: &Home,
    request_id: &str,
    wanted: &JobSpec,
    now_ms: u64,
) -> Option<[u8; 32]> {
    let earlier = read_request(home, request_id, now_ms)?.spec().ok()?;
    let same = JobSpec {
        salt: earlier.salt,
        ..wanted.clone()
    } == earlier;
    same.then_some(earlier.salt)
}

/// The record of a job; `None` where this machine did not submit it.
pub fn read_job(home: &Home, job_id: &JobId) -> Result<Option<JobRecord>, CommandError> {
    let path = job_file(home, job_id);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(CommandError::file(
                format_args!("read {}", path.display()),
                &error,
            ));
        }
    };
    let damaged = |error: &dyn std::fmt::Display| {
        let invalid = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
        CommandError::file(format_args!("use {}", path.display()), &invalid)
            .with_hint("move it away; the coordinator's copy of the specification is used then")
    };
    let record = JobRecord::from_bytes(&bytes).map_err(|error| damaged(&error))?;
    record.trust().map_err(|error| damaged(&error))?;
    if record.job_id.as_deref() != Some(job_id.to_string().as_str()) {
        return Err(damaged(&"it is another job's"));
    }
    Ok(Some(record))
}

/// What the user knows of a job on this network; says so where the specification is only the coordinator's copy.
pub fn trust(
    context: &Context,
    connection: &Connection,
    job_id: JobId,
) -> Result<Trust, CommandError> {
    let mut trust = Trust {
        chain_id: *connection.chain_id(),
        service_key: *connection.service_key(),
        owner: connection.identity.public(),
        job_id: Some(job_id),
        spec: None,
    };
    match read_job(&context.home, &job_id)? {
        Some(record) => trust.spec = record.spec().ok(),
        None => context.warn(
            "OWN_SPEC_MISSING",
            format_args!(
                "{job_id} was not submitted from here; its specification is the coordinator's copy"
            ),
        ),
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use aitbc_common::identity::PublicKey;
    use aitbc_common::job_input::JobType;
    use aitbc_common::runtime::random_bytes;

    use super::*;

    fn spec(salt: u8) -> JobSpec {
        JobSpec {
            job_type: JobType::Inference,
            flags: 0,
            chain_id: [1; 32],
            owner: PublicKey([2; 32]),
            salt: [salt; 32],
            model_name_hash: [3; 32],
            model_digest: [0; 32],
            input_len: 1,
            input_hash: [4; 32],
            requirements_hash: [5; 32],
            max_rate: u64::MAX,
            deadline_ms: 1_000,
        }
    }

    #[test]
    fn a_repeated_request_is_the_same_request_for_a_day() {
        let folder = std::env::temp_dir().join(format!(
            "aitbc-records-{}",
            hex::encode(random_bytes::<8>())
        ));
        let home = Home::below(&folder);
        let record = JobRecord::new(&spec(7), &PublicKey([9; 32]), "key", 1_000);
        keep_request(&home, &record).unwrap();
        assert_eq!(earlier_salt(&home, "key", &spec(8), 2_000), Some([7; 32]));
        assert_eq!(earlier_salt(&home, "other", &spec(8), 2_000), None);
        let other = JobSpec {
            input_len: 2,
            ..spec(8)
        };
        assert_eq!(
            earlier_salt(&home, "key", &other, 2_000),
            None,
            "another request"
        );
        assert_eq!(
            earlier_salt(&home, "key", &spec(8), 1_000 + REQUEST_LIFETIME_MS),
            None
        );

        let refused = JobRecord::new(&other, &PublicKey([9; 32]), "key", 3_000);
        keep_request(&home, &refused).unwrap();
        assert_eq!(
            earlier_salt(&home, "key", &spec(8), 4_000),
            Some([7; 32]),
            "the key stands for the first request"
        );

        let job_id = JobId::new(1_000, 2, [3; 10]);
        assert_eq!(read_job(&home, &job_id).unwrap(), None);
        keep_job(&home, &job_id, &record).unwrap();
        assert_eq!(
            read_job(&home, &job_id).unwrap().unwrap().spec().unwrap(),
            spec(7)
        );
        keep_job(&home, &job_id, &record).unwrap();
        let error = keep_job(&home, &job_id, &refused).unwrap_err();
        assert_eq!(error.exit, ExitCode::ProofFailed, "{error:?}");
        assert_eq!(
            read_job(&home, &job_id).unwrap().unwrap().spec().unwrap(),
            spec(7),
            "an earlier job's record stays"
        );
        forget_request(&home, "key");
        assert_eq!(earlier_salt(&home, "key", &spec(8), 2_000), None);
        fs::write(job_file(&home, &job_id), b"{}").unwrap();
        assert!(read_job(&home, &job_id).unwrap_err().hint.is_some());
        fs::remove_dir_all(folder).unwrap();
    }
}
