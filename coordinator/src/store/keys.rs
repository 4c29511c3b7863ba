//! Keys of every table. Frozen: a change needs a new table byte. The shard comes first, then the table; encoded order is
//! logical order (job ids are inverted, so that an owner's newest job comes first).

use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, RentalId, shard_of};

/// Live jobs: [`super::Family::Active`].
const ACTIVE_JOB: u8 = b'j';
/// Registered miners: [`super::Family::Active`].
const MINER: u8 = b'm';
/// Finished jobs: [`super::Family::Archive`].
const ARCHIVED_JOB: u8 = b'a';
/// Idempotency keys by day: [`super::Family::Archive`].
const REQUEST_ID: u8 = b'r';
/// Output and result bytes of attempts: [`super::Family::Output`].
const OUTPUT: u8 = b'o';

/// The engine's own row: [`super::Family::Active`].
const ENGINE: u8 = b'e';

/// What jobs tell the ledger: [`super::Family::Active`].
const ORDERS: u8 = b'x';
/// Final jobs whose payment waits for a receipt: [`super::Family::Active`].
const STOPPED: u8 = b's';
/// Newest checkpoints of running paid attempts: [`super::Family::Active`].
const CHECKPOINT: u8 = b'c';
/// Wallets that identities are bound to: [`super::Family::Active`].
const BINDING: u8 = b'b';
/// The jobs of open locks: [`super::Family::Archive`].
const LOCK: u8 = b'l';
/// Listed GPUs: [`super::Family::Active`].
const LISTING: u8 = b'g';
/// Rentals under way: [`super::Family::Active`]; those that are over: [`super::Family::Archive`].
const RENTAL: u8 = b'h';
/// What miners earned: [`super::Family::Archive`].
const EARNINGS: u8 = b'n';

/// Milliseconds of a day, the granularity at which idempotency keys are dropped.
pub const DAY_MS: u64 = 24 * 3_600_000;

fn owner_prefix(table: u8, owner: &PublicKey) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend([shard_of(owner), table]);
    key.extend(owner.0);
    key
}

fn job_key(table: u8, owner: &PublicKey, job_id: JobId) -> Vec<u8> {
    let mut key = owner_prefix(table, owner);
    key.extend(job_id.0.map(|b| !b));
    key
}

/// The end of the range of all keys with this prefix.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// A live job.
#[must_use]
pub fn active_job(owner: &PublicKey, job_id: JobId) -> Vec<u8> {
    job_key(ACTIVE_JOB, owner, job_id)
}

/// A finished job.
#[must_use]
pub fn archived_job(owner: &PublicKey, job_id: JobId) -> Vec<u8> {
    job_key(ARCHIVED_JOB, owner, job_id)
}

/// Prefix of an owner's live jobs.
#[must_use]
pub fn active_jobs_of(owner: &PublicKey) -> Vec<u8> {
    owner_prefix(ACTIVE_JOB, owner)
}

/// Prefix of an owner's finished jobs.
#[must_use]
pub fn archived_jobs_of(owner: &PublicKey) -> Vec<u8> {
    owner_prefix(ARCHIVED_JOB, owner)
}

/// Prefix of a shard's live jobs.
#[must_use]
pub fn active_jobs_in(shard: u8) -> Vec<u8> {
    vec![shard, ACTIVE_JOB]
}

/// Prefix of a shard's finished jobs.
#[must_use]
pub fn archived_jobs_in(shard: u8) -> Vec<u8> {
    vec![shard, ARCHIVED_JOB]
}

/// Owner and id of a job from its key.
#[must_use]
pub fn parse_job(key: &[u8]) -> Option<(PublicKey, JobId)> {
    let rest = key.get(2..)?;
    let (owner, id) = rest.split_first_chunk::<32>()?;
    let id: [u8; 16] = id.try_into().ok()?;
    Some((PublicKey(*owner), JobId(id.map(|b| !b))))
}

/// A registered miner.
#[must_use]
pub fn miner(key: &PublicKey) -> Vec<u8> {
    owner_prefix(MINER, key)
}

/// Prefix of a shard's miners.
#[must_use]
pub fn miners_in(shard: u8) -> Vec<u8> {
    vec![shard, MINER]
}

/// The engine's own row: its clock and change counter.
#[must_use]
pub fn engine() -> Vec<u8> {
    vec![0, ENGINE]
}

/// Orders to the ledger, the last of which has this number: what follows a number is read from it on.
#[must_use]
pub fn orders(last: u64) -> Vec<u8> {
    let mut key = vec![0, ORDERS];
    key.extend(last.to_be_bytes());
    key
}

/// The number of the last order of a row, from its key.
#[must_use]
pub fn last_order(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|last| u64::from_be_bytes(*last))
}

/// A final job whose payment waits for a receipt.
#[must_use]
pub fn stopped(owner: &PublicKey, job_id: JobId) -> Vec<u8> {
    job_key(STOPPED, owner, job_id)
}

/// Prefix of a shard's final jobs whose payment waits for a receipt.
#[must_use]
pub fn stopped_in(shard: u8) -> Vec<u8> {
    vec![shard, STOPPED]
}

/// The newest checkpoint of a live job's running attempt.
#[must_use]
pub fn checkpoint(owner: &PublicKey, job_id: JobId) -> Vec<u8> {
    job_key(CHECKPOINT, owner, job_id)
}

/// Prefix of a shard's checkpoints.
#[must_use]
pub fn checkpoints_in(shard: u8) -> Vec<u8> {
    vec![shard, CHECKPOINT]
}

/// The wallet that an identity is bound to.
#[must_use]
pub fn binding(identity: &PublicKey) -> Vec<u8> {
    owner_prefix(BINDING, identity)
}

/// Prefix of a shard's bindings.
#[must_use]
pub fn bindings_in(shard: u8) -> Vec<u8> {
    vec![shard, BINDING]
}

/// A listed GPU.
#[must_use]
pub fn listing(provider: &PublicKey, id: ListingId) -> Vec<u8> {
    let mut key = owner_prefix(LISTING, provider);
    key.extend(id.0);
    key
}

/// Prefix of a shard's listings.
#[must_use]
pub fn listings_in(shard: u8) -> Vec<u8> {
    vec![shard, LISTING]
}

/// A rental; an owner's newest comes first.
#[must_use]
pub fn rental(renter: &PublicKey, id: RentalId) -> Vec<u8> {
    let mut key = owner_prefix(RENTAL, renter);
    key.extend(id.0.map(|byte| !byte));
    key
}

/// Prefix of a renter's rentals.
#[must_use]
pub fn rentals_of(renter: &PublicKey) -> Vec<u8> {
    owner_prefix(RENTAL, renter)
}

/// Prefix of a shard's rentals.
#[must_use]
pub fn rentals_in(shard: u8) -> Vec<u8> {
    vec![shard, RENTAL]
}

/// The job of an open lock.
#[must_use]
pub fn lock(lock: &Hash) -> Vec<u8> {
    let mut key = vec![0, LOCK];
    key.extend(lock);
    key
}

/// Where what a miner earned on a day (since 1970) and before begins: newer days come first.
#[must_use]
pub fn earnings_from(miner: &PublicKey, day: u64) -> Vec<u8> {
    let mut key = owner_prefix(EARNINGS, miner);
    key.extend((!u32::try_from(day).unwrap_or(u32::MAX)).to_be_bytes());
    key
}

/// What a miner earned with a model on a day (since 1970).
#[must_use]
pub fn earnings(miner: &PublicKey, day: u64, model: &str) -> Vec<u8> {
    let mut key = earnings_from(miner, day);
    key.extend(&sha256(model.as_bytes())[..8]);
    key
}

/// The day of such a row.
#[must_use]
pub fn earnings_day(key: &[u8]) -> Option<u64> {
    let day = key.get(34..38)?.try_into().ok()?;
    Some(u64::from(!u32::from_be_bytes(day)))
}

/// The methods that take idempotency keys: each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// SubmitJob, and each job of SubmitJobs.
    SubmitJob,
    /// RetryJob.
    RetryJob,
    /// PollJob.
    PollJob,
    /// CompleteJob, whose id is the attempt.
    CompleteJob,
}

impl Method {
    /// Follows the id in what is hashed; ids have no control characters. SubmitJob has none, so that keys which were
    /// stored before there were methods stay good.
    const fn suffix(self) -> &'static str {
        match self {
            Self::SubmitJob => "",
            Self::RetryJob => "\0RetryJob",
            Self::PollJob => "\0PollJob",
            Self::CompleteJob => "\0CompleteJob",
        }
    }
}

/// An idempotency key as used on the day of `time_ms`.
#[must_use]
pub fn request_id(caller: &PublicKey, method: Method, request_id: &str, time_ms: u64) -> Vec<u8> {
    let mut key = request_ids_on(shard_of(caller), time_ms / DAY_MS);
    let mut name = caller.0.to_vec();
    name.extend(request_id.as_bytes());
    name.extend(method.suffix().as_bytes());
    let name: Hash = sha256(&name);
    key.extend(&name[..16]);
    key
}

/// Prefix of a shard's idempotency keys of one day (days since 1970).
#[must_use]
pub fn request_ids_on(shard: u8, day: u64) -> Vec<u8> {
    let mut key = vec![shard, REQUEST_ID];
    key.extend(u32::try_from(day).unwrap_or(u32::MAX).to_be_bytes());
    key
}

/// Prefix of everything that an attempt delivered and the store keeps outside the job's row.
#[must_use]
pub fn outputs_of_job(job_id: JobId) -> Vec<u8> {
    let mut key = vec![job_id.shard(), OUTPUT];
    key.extend(job_id.0);
    key
}

/// Prefix of one stream of an attempt; `kind` is 1 for output, 2 for the result document.
#[must_use]
pub fn outputs_of(job_id: JobId, attempt: u16, kind: u8) -> Vec<u8> {
    let mut key = outputs_of_job(job_id);
    key.extend(attempt.to_be_bytes());
    key.push(kind);
    key
}

/// A chunk of one stream of an attempt that begins at `offset`.
#[must_use]
pub fn output(job_id: JobId, attempt: u16, kind: u8, offset: u64) -> Vec<u8> {
    let mut key = outputs_of(job_id, attempt, kind);
    key.extend(offset.to_be_bytes());
    key
}

/// The offset of a chunk from its key.
#[must_use]
pub fn output_offset(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|offset| u64::from_be_bytes(*offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owners_newest_job_comes_first() {
        let owner = PublicKey([7; 32]);
        let old = active_job(&owner, JobId::new(1, 0, [0; 10]));
        let new = active_job(&owner, JobId::new(2, 0, [0; 10]));
        assert!(new < old);
        assert_eq!(parse_job(&new), Some((owner, JobId::new(2, 0, [0; 10]))));
    }

    #[test]
    fn each_method_has_its_own_request_ids_and_old_ones_stay_good() {
        let caller = PublicKey([7; 32]);
        let key = |method| request_id(&caller, method, "r", DAY_MS);
        let mut keys = [
            key(Method::SubmitJob),
            key(Method::RetryJob),
            key(Method::PollJob),
            key(Method::CompleteJob),
        ];
        let mut stored_before = request_ids_on(shard_of(&caller), 1);
        stored_before.extend(&sha256(&[&caller.0[..], b"r"].concat())[..16]);
        assert_eq!(keys[0], stored_before);
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(prefix_end(&[1, 2]), [1, 3]);
        assert_eq!(prefix_end(&[1, 255]), [2]);
        assert!(prefix_end(&[255]).is_empty());
    }
}
