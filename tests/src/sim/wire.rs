//! What passed between the coordinator and the miners: which assignments a miner got, what it signed, and when it was heard.
//! The log is held against it: the miner's side of the wire knows nothing of the coordinator's memory.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{Assignment, Receipt, RecordBody, StreamCheckpoint};
use aitbc_proto::v1::coordinator_message::Message as Down;
use aitbc_proto::v1::miner_message::Message as Up;

/// What a miner signed.
#[derive(Debug)]
struct Signed {
    job: JobId,
    job_ref: Hash,
    attempt: u16,
    miner: PublicKey,
    /// The assignment that a receipt names.
    assignment: Option<Hash>,
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub struct Wire {
    /// Of each attempt: the assignments that its miner got, by their ids.
    assigned: BTreeMap<(JobId, u16), BTreeMap<Hash, Assignment>>,
    signed: BTreeMap<Hash, Signed>,
    /// job_ref of each job that was submitted.
    submitted: BTreeMap<JobId, Hash>,
    heard: BTreeMap<PublicKey, u64>,
    /// Miners that signed two outputs of an attempt.
    cheats: BTreeSet<(PublicKey, Hash, u16)>,
}

/// What a record of the log says of an attempt.
struct Named {
    job_ref: Hash,
    attempt: u16,
    miner: PublicKey,
    evidence: Hash,
    /// Who is paid, and at which rate.
    paid: Option<(Address, u64)>,
}

impl Wire {
    /// A job is submitted under this id.
    pub fn submits(&mut self, job: JobId, job_ref: Hash) {
        self.submitted.insert(job, job_ref);
    }

    /// A miner got a message.
    pub fn got(&mut self, message: &Down) {
        match message {
            Down::Assign(assign) => {
                self.got_layout(&assign.assignment, &assign.assignment_signature)
            }
            Down::Renew(renew) => self.got_layout(&renew.assignment, &renew.assignment_signature),
            _ => {}
        }
    }

    fn got_layout(&mut self, layout: &[u8], signature: &[u8]) {
        if let Ok(assignment) = Assignment::decode(layout) {
            self.assigned(assignment, signature);
        }
    }

    /// A miner got an assignment.
    pub fn assigned(&mut self, assignment: Assignment, signature: &[u8]) {
        let attempt = (assignment.job_id, assignment.attempt);
        let of_attempt = self.assigned.entry(attempt).or_default();
        of_attempt.insert(assignment.id(signature), assignment);
    }

    /// A miner sends a message.
    pub fn sends(&mut self, miner: PublicKey, message: &Up) {
        match message {
            Up::Complete(done) => self.signs_receipt(miner, &done.receipt, &done.signature),
            Up::Checkpoint(part) => {
                if let Ok(checkpoint) = StreamCheckpoint::decode(&part.checkpoint)
                    && checkpoint.verify(&miner, &part.signature)
                {
                    let signed = Signed {
                        job: checkpoint.job_id,
                        job_ref: checkpoint.job_ref,
                        attempt: checkpoint.attempt,
                        miner,
                        assignment: None,
                    };
                    self.signed.insert(checkpoint.id(&part.signature), signed);
                }
            }
            _ => {}
        }
    }

    /// A miner signs a receipt and sends it.
    pub fn signs_receipt(&mut self, miner: PublicKey, layout: &[u8], signature: &[u8]) {
        if let Ok(receipt) = Receipt::decode(layout)
            && receipt.verify(&miner, signature)
        {
            let signed = Signed {
                job: receipt.job_id,
                job_ref: receipt.job_ref,
                attempt: receipt.attempt,
                miner,
                assignment: Some(receipt.assignment_hash),
            };
            self.signed.insert(receipt.id(signature), signed);
        }
    }

    /// A miner signs another output of an attempt, too.
    pub fn cheats(&mut self, miner: PublicKey, lie: &StreamCheckpoint) {
        self.cheats.insert((miner, lie.job_ref, lie.attempt));
    }

    /// A message of a miner reached the coordinator.
    pub fn heard(&mut self, miner: PublicKey, now: u64) {
        self.heard.insert(miner, now);
    }

    /// When a miner was last heard: Unix ms; 0 = never.
    pub fn last_heard(&self, miner: &PublicKey) -> u64 {
        self.heard.get(miner).copied().unwrap_or(0)
    }

    /// Holds a record of the log against what was seen; a rental's payments have no attempt.
    pub fn check(&self, record: &RecordBody) -> Result<(), String> {
        let named = match record {
            RecordBody::Post(post) if !post.outcome.is_rental() => Named {
                job_ref: post.job_ref,
                attempt: post.attempt,
                miner: post.miner,
                evidence: post.evidence_id,
                paid: Some((post.payee, post.rate)),
            },
            RecordBody::Receipt(entry) => Named {
                job_ref: entry.job_ref,
                attempt: entry.attempt,
                miner: entry.miner,
                evidence: entry.receipt_id,
                paid: None,
            },
            RecordBody::Slash(slash) => {
                let (_, job_ref, attempt) = slash.evidence.subject();
                return if self
                    .cheats
                    .contains(&(slash.evidence.miner, job_ref, attempt))
                {
                    Ok(())
                } else {
                    Err("slashes an honest miner".into())
                };
            }
            _ => return Ok(()),
        };
        self.check_named(&named)
    }

    fn check_named(&self, named: &Named) -> Result<(), String> {
        let signed = self.signed.get(&named.evidence);
        let signed = signed.ok_or("names evidence that no miner signed")?;
        let same = (signed.job_ref, signed.attempt, signed.miner);
        if same != (named.job_ref, named.attempt, named.miner) {
            return Err("names another attempt than its evidence".into());
        }
        if self.submitted.get(&signed.job) != Some(&named.job_ref) {
            return Err("names another job_ref than the job's".into());
        }
        let attempt = (signed.job, signed.attempt);
        let got = self.assigned.get(&attempt).into_iter().flatten();
        let mut promised = got
            .filter(|(id, _)| signed.assignment.is_none_or(|named| named == **id))
            .map(|(_, assignment)| assignment);
        let holds = promised.any(|assignment| {
            assignment.job_ref == named.job_ref
                && assignment.miner_key == named.miner
                && named
                    .paid
                    .is_none_or(|paid| paid == (assignment.payee, assignment.rate))
        });
        if !holds {
            return Err(
                "names another payee, rate or miner than the assignment that its miner got".into(),
            );
        }
        Ok(())
    }
}
