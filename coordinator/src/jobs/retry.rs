//! What a failure means for a job: whose fault it is, whether it is retried, and when.

use aitbc_common::hash::tagged;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::FaultReason;
use aitbc_proto::v1::FailureReason;

/// The first retry waits at most this, in milliseconds.
const BACKOFF_BASE_MS: u64 = 1_000;
/// A retry never waits longer than this, in milliseconds.
const BACKOFF_MAX_MS: u64 = 60_000;

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The job itself: final at once.
    Job,
    /// The miner: one retry is spent, elsewhere.
    Miner,
    /// Nobody: back into the queue, nothing is spent.
    Nobody,
}

/// Classifies a miner's or the coordinator's reason.
#[must_use]
pub fn classify(reason: FailureReason) -> FailureClass {
    use FailureReason as R;
    match reason {
        R::InputRefused | R::ContextExceeded => FailureClass::Job,
        R::Returned | R::Busy | R::NotAccepted => FailureClass::Nobody,
        R::Unspecified
        | R::EngineUnavailable
        | R::ModelMissing
        | R::OutOfMemory
        | R::StreamCut
        | R::Stalled
        | R::Garbage
        | R::Lost
        | R::InvalidResult
        | R::Operator => FailureClass::Miner,
    }
}

/// What the ledger says of a miner whose paid attempt failed so: too little memory is nobody's fault, nor is what costs no retry.
#[must_use]
pub fn fault(reason: FailureReason) -> Option<FaultReason> {
    match reason {
        _ if classify(reason) != FailureClass::Miner => None,
        FailureReason::OutOfMemory => None,
        FailureReason::Lost => Some(FaultReason::Lost),
        FailureReason::InvalidResult => Some(FaultReason::Invalid),
        _ => Some(FaultReason::Failed),
    }
}

/// Milliseconds before retry number `retries_spent` (from 1): full jitter between 0 and 1 s · 2^(n−1), at most 60 s
/// ("Exponential Backoff and Jitter", AWS Architecture Blog). The jitter is a hash of job and number, so that it needs
/// no randomness.
#[must_use]
pub fn backoff_ms(job: JobId, retries_spent: u32) -> u64 {
    let doublings = retries_spent.saturating_sub(1).min(16);
    let ceiling = (BACKOFF_BASE_MS << doublings).min(BACKOFF_MAX_MS);
    let seed = [&job.0[..], &retries_spent.to_be_bytes()].concat();
    let hash = tagged("aitbc/backoff/v1", &seed);
    let random = u64::from_be_bytes(*hash.first_chunk().expect("a hash has 32 bytes"));
    random % (ceiling + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_ceiling_and_differs_between_jobs() {
        let job = |n: u8| JobId([n; 16]);
        for spent in 1..100 {
            assert!(backoff_ms(job(1), spent) <= BACKOFF_MAX_MS);
        }
        assert!((0..50).all(|n| backoff_ms(job(n), 1) <= BACKOFF_BASE_MS));
        assert!((0..50).any(|n| backoff_ms(job(n), 7) > 30_000));
        assert_ne!(backoff_ms(job(1), 5), backoff_ms(job(2), 5));
    }
}
