//! The check of a job's output while it streams.

use std::collections::VecDeque;

use super::proof::{check_assigned, check_assignment};
use super::{Proof, ProofParts, Trust, Verified, VerifyError};
use crate::hash::{Hash, Sha256Stream};
use crate::layouts::{Assignment, StreamCheckpoint};
use crate::limits::OUTPUT_BYTES;

/// Chunk ends whose hash is kept, for checkpoints that arrive a little later than the output they cover.
const KEPT_HASHES: usize = 64;

/// What the beginning of an attempt means for the output so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptStart {
    /// The first attempt that is seen.
    First,
    /// The attempt that was seen before goes on; its output so far stays.
    Resumed,
    /// Another attempt: output of earlier ones is void.
    New,
}

/// What a checkpoint says of the output so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointCheck {
    /// The miner signed exactly these bytes.
    Matches,
    /// Signed, but for a place whose hash is no longer known.
    Past,
}

#[derive(Debug)]
struct Attempt {
    number: u32,
    assignment: Assignment,
    output: Sha256Stream,
    // Hash by length, at the ends of the newest chunks.
    hashes: VecDeque<(u64, Hash)>,
}

/// Hashes a job's output as it arrives and checks every signature on the way.
///
/// It survives reconnections: [`StreamVerifier::position`] says where to resume.
#[derive(Debug)]
pub struct StreamVerifier {
    trust: Trust,
    current: Option<Attempt>,
}

impl StreamVerifier {
    /// For one job; what the client knows decides.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            current: None,
        }
    }

    /// Attempt and bytes of its output received so far; (0, 0) before the first attempt.
    #[must_use]
    pub fn position(&self) -> (u32, u64) {
        self.current
            .as_ref()
            .map_or((0, 0), |attempt| (attempt.number, attempt.output.len()))
    }

    /// What the client knows.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// An attempt begins, or goes on.
    pub fn start(
        &mut self,
        number: u32,
        assignment: &[u8],
        signature: &[u8],
    ) -> Result<AttemptStart, VerifyError> {
        let assignment = Assignment::decode(assignment)?;
        match &self.trust.spec {
            Some(spec) => check_assignment(&self.trust, spec, &assignment, signature)?,
            None => check_assigned(&self.trust, &assignment, signature)?,
        }
        same_attempt("assignment", assignment.attempt.into(), number)?;
        let start = match &mut self.current {
            None => AttemptStart::First,
            Some(current) if number < current.number => {
                return Err(VerifyError::StaleAttempt {
                    current: current.number,
                    given: number,
                });
            }
            Some(current) if number > current.number => AttemptStart::New,
            Some(current) => {
                if assignment.miner_key != current.assignment.miner_key {
                    return Err(VerifyError::MinerKey);
                }
                if assignment.issued_ms > current.assignment.issued_ms {
                    current.assignment = assignment;
                }
                return Ok(AttemptStart::Resumed);
            }
        };
        self.current = Some(Attempt {
            number,
            assignment,
            output: Sha256Stream::default(),
            hashes: VecDeque::new(),
        });
        Ok(start)
    }

    /// A chunk of output arrived; it must continue exactly where the one before ended.
    pub fn output(&mut self, number: u32, offset: u64, data: &[u8]) -> Result<(), VerifyError> {
        let current = self.current.as_mut().ok_or(VerifyError::NoAttempt)?;
        same_attempt("output", number, current.number)?;
        let expected = current.output.len();
        if offset > expected {
            return Err(VerifyError::Gap {
                expected,
                given: offset,
            });
        }
        if offset < expected {
            return Err(VerifyError::Replay {
                expected,
                given: offset,
            });
        }
        if expected + data.len() as u64 > OUTPUT_BYTES {
            return Err(VerifyError::OutputTooLong);
        }
        current.output.update(data);
        if current.hashes.len() == KEPT_HASHES {
            current.hashes.pop_front();
        }
        let end = (current.output.len(), current.output.digest());
        current.hashes.push_back(end);
        Ok(())
    }

    /// A checkpoint arrived.
    pub fn checkpoint(
        &mut self,
        number: u32,
        checkpoint: &[u8],
        signature: &[u8],
    ) -> Result<CheckpointCheck, VerifyError> {
        let current = self.current.as_ref().ok_or(VerifyError::NoAttempt)?;
        same_attempt("checkpoint", number, current.number)?;
        let checkpoint = StreamCheckpoint::decode(checkpoint)?;
        let assignment = &current.assignment;
        same_attempt("checkpoint", checkpoint.attempt.into(), current.number)?;
        if checkpoint.chain_id != assignment.chain_id {
            return Err(VerifyError::Chain("checkpoint"));
        }
        if checkpoint.job_id != assignment.job_id {
            return Err(VerifyError::OtherJob("checkpoint"));
        }
        if checkpoint.job_ref != assignment.job_ref {
            return Err(VerifyError::OtherSpec("checkpoint"));
        }
        if !checkpoint.verify(&assignment.miner_key, signature) {
            return Err(VerifyError::CheckpointSignature);
        }
        let received = current.output.len();
        if checkpoint.offset > received {
            return Err(VerifyError::CheckpointAhead {
                received,
                signed: checkpoint.offset,
            });
        }
        let known = if checkpoint.offset == received {
            Some(current.output.digest())
        } else {
            let at = |(length, hash): &(u64, Hash)| (*length == checkpoint.offset).then_some(*hash);
            current.hashes.iter().find_map(at)
        };
        match known {
            Some(hash) if hash == checkpoint.hash => Ok(CheckpointCheck::Matches),
            Some(_) => Err(VerifyError::CheckpointHash {
                offset: checkpoint.offset,
            }),
            None => Ok(CheckpointCheck::Past),
        }
    }

    /// The job completed: checks its proof and result against everything that streamed.
    pub fn finish(&self, parts: &ProofParts<'_>, result: &[u8]) -> Result<Verified, VerifyError> {
        let nothing = Sha256Stream::default();
        let output = self
            .current
            .as_ref()
            .map_or(&nothing, |attempt| &attempt.output);
        let proof = Proof::decode(parts)?;
        proof.check(&self.trust)?;
        if let Some(current) = &self.current {
            let (proven, seen) = (&proof.assignment, &current.assignment);
            same_attempt("receipt", proven.attempt.into(), current.number)?;
            // A later one may have been issued while nobody watched. An earlier one hides what was promised last, unless
            // that only raised the budget: it may have reached the miner too late.
            let earlier = proven.issued_ms < seen.issued_ms;
            let crossed = earlier && seen.flags == 1 && proven.differs_only_in_locks(seen);
            if (earlier && !crossed) || (proven.issued_ms == seen.issued_ms && proven != seen) {
                return Err(VerifyError::OldAssignment);
            }
        }
        proof.check_output(output)?;
        let document = proof.check_result(result, output)?;
        Ok(Verified { proof, document })
    }
}

fn same_attempt(part: &'static str, given: u32, wanted: u32) -> Result<(), VerifyError> {
    if given == wanted {
        return Ok(());
    }
    Err(VerifyError::OtherAttempt {
        part,
        given,
        wanted,
    })
}
