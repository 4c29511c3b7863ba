//! Polled jobs: the coordinator's promise for each, kept until the job is delivered or given up.

use std::fs;
use std::io;
use std::path::PathBuf;

use aitbc_common::hash::sha256;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Assignment, JobSpec};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{SECRET_MODE, write_atomic};
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::{Assign, JobType};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::values::JobSelector;

/// A polled job as its file holds it. Bytes are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledJob {
    /// Its id.
    pub job_id: String,
    /// The attempt that this miner has.
    pub attempt: u32,
    /// What it computes: the contract's number.
    pub job_type: i32,
    /// The model's canonical name.
    pub model: String,
    /// Job spec layout.
    pub spec: String,
    /// Assignment layout.
    pub assignment: String,
    /// The coordinator's signature over it.
    pub assignment_signature: String,
    /// When it was polled: Unix time in milliseconds.
    pub polled_ms: u64,
    /// What the receipt says about the time worked, once one was made: a repeated delivery is the same delivery.
    pub work_ms: Option<u64>,
    /// The ledger checkpoint that the receipt says the miner saw: size and root (hexadecimal); none where it saw none.
    #[serde(default)]
    pub seen: Option<(u64, String)>,
    /// The receipt that was signed, in its layout: none but this one is ever sent.
    #[serde(default)]
    pub receipt: Option<String>,
    /// Receipts that were signed and refused: no later one may contradict them.
    #[serde(default)]
    pub refused: Vec<String>,
}

impl PolledJob {
    /// From the coordinator's answer. What it promises must be meant for this miner, this chain and this input.
    pub fn from_assign(
        assign: &Assign,
        job_type: JobType,
        connection: &Connection,
    ) -> Result<Self, CommandError> {
        let wrong = |what: &str| {
            CommandError::new(
                ExitCode::ProofFailed,
                "ASSIGNMENT_INVALID",
                format!("the coordinator's assignment does not check: {what}"),
            )
            .with_hint(
                "do not work on it: its lease ends by itself; tell the coordinator's operator",
            )
        };
        let assignment =
            Assignment::decode(&assign.assignment).map_err(|error| wrong(&error.to_string()))?;
        let spec = JobSpec::decode(&assign.spec).map_err(|error| wrong(&error.to_string()))?;
        let checks = [
            (
                assignment.verify(connection.service_key(), &assign.assignment_signature),
                "its signature is not the coordinator's",
            ),
            (
                assignment.chain_id == *connection.chain_id(),
                "it is for another chain",
            ),
            (
                assignment.miner_key == connection.identity.public(),
                "it is for another miner",
            ),
            (
                assignment.job_id.to_string() == assign.job_id,
                "it is for another job",
            ),
            (
                u32::from(assignment.attempt) == assign.attempt,
                "it is for another attempt",
            ),
            (
                assignment.job_ref == spec.job_ref(),
                "it is for another specification",
            ),
            (
                spec.input_hash == sha256(&assign.input),
                "the input is not the one in the specification",
            ),
            (
                spec.model_name_hash == sha256(assign.model.as_bytes()),
                "the model is not the one in the specification",
            ),
        ];
        if let Some((_, what)) = checks.iter().find(|(holds, _)| !holds) {
            return Err(wrong(what));
        }
        Ok(Self {
            job_id: assign.job_id.clone(),
            attempt: assign.attempt,
            job_type: job_type.into(),
            model: assign.model.clone(),
            spec: hex::encode(&assign.spec),
            assignment: hex::encode(&assign.assignment),
            assignment_signature: hex::encode(&assign.assignment_signature),
            polled_ms: unix_ms(),
            work_ms: None,
            seen: None,
            receipt: None,
            refused: Vec::new(),
        })
    }
}

/// A poll whose answer did not arrive: repeated just so, it brings the job that it took, if it took one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPoll {
    /// Its idempotency key.
    pub request_id: String,
    /// The lease it asks for.
    pub lease_ms: Option<u64>,
}

/// The polled jobs of one miner.
#[derive(Debug)]
pub struct PolledJobs {
    miner: String,
    folder: PathBuf,
}

impl PolledJobs {
    /// Of the miner with this name.
    pub fn of(context: &Context, miner: &str) -> Self {
        Self {
            miner: miner.to_owned(),
            folder: context.home.miner_dir(miner).join("polled"),
        }
    }

    fn path(&self, job_id: &str) -> PathBuf {
        self.folder.join(format!("{job_id}.json"))
    }

    /// Keeps one.
    pub fn save(&self, job: &PolledJob) -> Result<(), CommandError> {
        let bytes = serde_json::to_vec_pretty(job).expect("a polled job is plain values");
        write_atomic(&self.path(&job.job_id), &bytes, SECRET_MODE)
    }

    /// Forgets one; no error if it is gone already.
    pub fn remove(&self, job_id: &str) {
        let _already_gone = fs::remove_file(self.path(job_id));
    }

    fn poll_path(&self) -> PathBuf {
        self.folder.join("unanswered.json")
    }

    /// Keeps a poll for the next command.
    pub fn keep_poll(&self, poll: &OpenPoll) -> Result<(), CommandError> {
        let bytes = serde_json::to_vec_pretty(poll).expect("a poll is plain values");
        write_atomic(&self.poll_path(), &bytes, SECRET_MODE)
    }

    /// The poll that was kept. It is gone then, so that of two commands at once one gets it.
    pub fn take_poll(&self) -> Option<OpenPoll> {
        let bytes = fs::read(self.poll_path()).ok()?;
        fs::remove_file(self.poll_path()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The one that was asked for; `last` is the one polled last.
    pub fn load(&self, selector: JobSelector) -> Result<PolledJob, CommandError> {
        let id = match selector {
            JobSelector::Id(id) => id,
            JobSelector::Last => self.newest()?.ok_or_else(|| self.missing("a job"))?,
        };
        let path = self.path(&id.to_string());
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(&id.to_string()));
            }
            Err(error) => {
                return Err(CommandError::file(
                    format_args!("read {}", path.display()),
                    &error,
                ));
            }
        };
        serde_json::from_slice(&bytes).map_err(|error| {
            CommandError::new(
                ExitCode::Failed,
                "POLLED_JOB_DAMAGED",
                format!("{} is damaged: {error}", path.display()),
            )
            .with_hint("poll the job again once its lease has ended")
        })
    }

    fn newest(&self) -> Result<Option<JobId>, CommandError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(CommandError::file(
                    format_args!("read {}", self.folder.display()),
                    &error,
                ));
            }
        };
        let jobs = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let id: JobId = path.file_stem()?.to_str()?.parse().ok()?;
            let job: PolledJob = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((job.polled_ms, id))
        });
        Ok(jobs.max().map(|(_, id)| id))
    }

    fn missing(&self, what: &str) -> CommandError {
        CommandError::new(
            ExitCode::NotFound,
            "JOB_NOT_POLLED",
            format!(
                "the miner {} has not polled {what} here, or is done with it",
                self.miner
            ),
        )
        .with_hint("take a job with: aitbc miner poll; name another miner with --miner NAME")
    }

    /// Of a miner in a folder of a test's own.
    #[cfg(test)]
    pub fn below(folder: PathBuf) -> Self {
        Self {
            miner: "rig-1".into(),
            folder,
        }
    }

    /// An error of a call about a job; one that says that the lease is over forgets the job.
    pub fn explain(&self, job_id: &str, status: tonic::Status) -> CommandError {
        let error = CommandError::from(status);
        if matches!(error.reason.as_str(), "STALE_ATTEMPT" | "JOB_NOT_FOUND") {
            self.remove(job_id);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: JobId, polled_ms: u64) -> PolledJob {
        PolledJob {
            job_id: id.to_string(),
            attempt: 1,
            job_type: 1,
            model: "llama3:latest".into(),
            spec: String::new(),
            assignment: String::new(),
            assignment_signature: String::new(),
            polled_ms,
            work_ms: None,
            seen: None,
            receipt: None,
            refused: Vec::new(),
        }
    }

    #[test]
    fn jobs_are_kept_until_they_are_removed() {
        let folder = std::env::temp_dir().join(format!(
            "aitbc-polled-{}",
            hex::encode(aitbc_common::runtime::random_bytes::<8>())
        ));
        let jobs = PolledJobs {
            miner: "rig-1".into(),
            folder: folder.clone(),
        };
        assert_eq!(
            jobs.load(JobSelector::Last).unwrap_err().exit,
            ExitCode::NotFound
        );
        let (one, two) = (JobId::new(1, 0, [1; 10]), JobId::new(2, 0, [2; 10]));
        jobs.save(&job(one, 2_000)).unwrap();
        jobs.save(&job(two, 1_000)).unwrap();
        assert_eq!(
            jobs.load(JobSelector::Last).unwrap().job_id,
            one.to_string()
        );
        assert_eq!(jobs.load(JobSelector::Id(two)).unwrap(), job(two, 1_000));
        jobs.remove(&one.to_string());
        let error = jobs.load(JobSelector::Id(one)).unwrap_err();
        assert!(error.hint.unwrap().contains("poll"));
        let poll = OpenPoll {
            request_id: "r".into(),
            lease_ms: Some(60_000),
        };
        jobs.keep_poll(&poll).unwrap();
        assert_eq!(
            jobs.load(JobSelector::Last).unwrap().job_id,
            two.to_string()
        );
        assert_eq!((jobs.take_poll(), jobs.take_poll()), (Some(poll), None));
        fs::write(jobs.path(&two.to_string()), "{").unwrap();
        assert_eq!(
            jobs.load(JobSelector::Id(two)).unwrap_err().reason,
            "POLLED_JOB_DAMAGED"
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
