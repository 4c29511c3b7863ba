//! What was promised for an attempt.

use aitbc_common::hash::Hash;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{Assignment, JobSpec, LayoutError, NO_BUDGET};
use bytes::Bytes;

use crate::engine::command::{AttemptId, AttemptInfo};

/// What was promised for an attempt.
#[derive(Debug, Clone)]
pub struct AttemptFacts {
    /// The attempt.
    pub attempt: AttemptId,
    /// The job's owner.
    pub owner: PublicKey,
    /// Job spec layout.
    pub spec_bytes: Bytes,
    /// The specification.
    pub spec: JobSpec,
    /// Assignment layout.
    pub assignment_bytes: Bytes,
    /// The assignment.
    pub assignment: Assignment,
    /// The service key's signature over it.
    pub signature: [u8; 64],
    /// All assignments of the attempt, oldest first, as of when these facts were made.
    pub issued: Vec<Issued>,
    /// Canonical model name.
    pub model: String,
    /// The engine's epoch since which the streams grow.
    pub epoch: u64,
}

/// An assignment that was issued for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// [`Assignment::id`].
    pub hash: Hash,
    /// Milliseconds that its locks pay for.
    pub budget_ms: u64,
    /// Whether any locks pay.
    pub paid: bool,
}

impl Issued {
    /// Whether so much work, in ms, uses its budget up.
    #[must_use]
    pub fn is_used_up(&self, work_ms: u64) -> bool {
        self.budget_ms != NO_BUDGET && work_ms >= self.budget_ms
    }

    fn new(assignment: &Assignment, signature: &[u8; 64]) -> Self {
        Self {
            hash: assignment.id(signature),
            budget_ms: assignment.budget_ms,
            paid: assignment.locked > 0,
        }
    }
}

impl AttemptFacts {
    /// Decodes the layouts and signs the assignment: about 30 µs.
    pub fn sign(info: &AttemptInfo, service: &Identity) -> Result<Self, LayoutError> {
        let assignment = Assignment::decode(&info.assignment)?;
        let signature = assignment.sign(service);
        let mut issued = Vec::with_capacity(info.earlier.len() + 1);
        for earlier in &info.earlier {
            let earlier = Assignment::decode(earlier)?;
            issued.push(Issued::new(&earlier, &earlier.sign(service)));
        }
        issued.push(Issued::new(&assignment, &signature));
        Ok(Self {
            attempt: info.attempt,
            owner: info.owner,
            spec_bytes: info.spec.clone(),
            spec: JobSpec::decode(&info.spec)?,
            assignment_bytes: info.assignment.clone(),
            signature,
            issued,
            assignment,
            model: info.model.clone(),
            epoch: info.epoch,
        })
    }
}
