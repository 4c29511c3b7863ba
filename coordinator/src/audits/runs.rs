//! Running a job again: an ordinary paid job whose owner is nobody.

use aitbc_common::address::Address;
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::ids::{JobId, MinerId, shard_of};
use aitbc_common::layouts::{
    JobSpec, LockPurpose, LockTerms, Requirements, SignMode, SignedTransaction, Transaction,
    TransactionKind,
};
use aitbc_common::ledger::entry::Account;
use aitbc_common::market::day_of;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;

use super::auditor::{Auditor, forget, keep};
use super::figures::Event;
use super::network::Network;
use super::plan;
use super::rows::{self, AuditRow, RunRow, WorkRow};
use super::wallets::{Funds, is_settled};
use crate::engine::command::{Command, JobSelector, Reply, Submission};
use crate::jobs::matching::Requirement;
use crate::ledger::command::{self as ledger, Command as ToLedger, Reply as FromLedger};
use crate::ledger::core::BrokenRules;
use crate::store::rows::{JobRow, address, uuid};
use crate::store::{Batch, Family, keys};

/// A run ends by then: milliseconds.
const RUN_MS: u64 = 600_000;
/// The lock outlives its job by so much, as the ledger asks: milliseconds.
const AFTER_DEADLINE_MS: u64 = 24 * 3_600_000;
/// The transaction may be recorded for so long: milliseconds.
const VALIDITY_MS: u64 = 12 * 3_600_000;
/// A reputation that is enough to speak against any, in millionths.
const ENOUGH_PPM: u32 = 500_000;
/// Attempts that may fail.
const RETRIES: u32 = 2;

impl Auditor {
    /// Decides on one more run. `false` = not now, or never: the audit ended for want of money, of a miner or of the job's input.
    pub(super) fn begin_run(
        &self,
        network: &mut dyn Network,
        audit: &mut AuditRow,
        not_paid_at: Vec<Address>,
        under_way: &[AuditRow],
        now: u64,
    ) -> Result<bool, ApiError> {
        let Some(original) = original(network, audit)? else {
            forget(network, audit, Batch::new(), Event::Unfinished)?;
            return Ok(false);
        };
        let wanted = wanted(audit, &original, not_paid_at);
        let Some(miner) = pick(network, &wanted)? else {
            // Somebody may come, or come back.
            if now.saturating_sub(audit.drawn_ms) > RUN_MS {
                forget(network, audit, Batch::new(), Event::Unfinished)?;
            }
            return Ok(false);
        };
        let spec = self.again(network, &original, &wanted, miner);
        let amount = plan::amount(audit.paid, wanted.max_rate);
        let asked = (usize::from(spec.salt[0]), amount);
        let (wallet, account, spending) = match self.funds(network, audit, under_way, asked, now)? {
            Funds::From(wallet, account, spending) => (wallet, account, spending),
            Funds::Later => return Ok(false),
            Funds::Lacking => {
                network.note(format_args!(
                    "no auditor can pay {amount} micro-AIT for an audit"
                ));
                forget(network, audit, Batch::new(), Event::Unaffordable)?;
                return Ok(false);
            }
        };
        let lock = self.sign_lock(wallet, &account, &spec, amount, now);
        let job = JobId::new(now, shard_of(&spec.owner), network.random_part());
        audit.runs.push(RunRow {
            owner: Bytes::copy_from_slice(&spec.owner.0),
            job_id: Bytes::copy_from_slice(&job.0),
            spec: spec.encode().into(),
            not_paid_at: wanted
                .not_paid_at
                .iter()
                .map(|address| Bytes::copy_from_slice(&address.0))
                .collect(),
            auditor: Bytes::copy_from_slice(&wallet.address().0),
            lock: lock.encode().into(),
            amount,
            miner: Bytes::copy_from_slice(&miner.0),
            ..RunRow::default()
        });
        let mut batch = Batch::new();
        let day = rows::spent(day_of(now));
        batch.put(Family::Active, day, spending.encode_to_vec());
        if !self.broken.run_unstored {
            keep(network, audit, batch)?;
        }
        Ok(true)
    }

    /// The drawn job's specification, as a job of nobody's: the same input and the very model that answered.
    fn again(
        &self,
        network: &mut dyn Network,
        original: &JobRow,
        wanted: &Requirement,
        miner: MinerId,
    ) -> JobSpec {
        let before = JobSpec::decode(&original.spec).expect("the engine wrote it");
        JobSpec {
            flags: 0,
            chain_id: self.chain_id,
            owner: Identity::from_seed(&network.random()).public(),
            salt: network.random(),
            model_digest: wanted.digest,
            requirements_hash: requirements(Some(miner)).hash(),
            max_rate: wanted.max_rate,
            deadline_ms: RUN_MS,
            ..before
        }
    }

    fn sign_lock(
        &self,
        wallet: &WalletKey,
        account: &Account,
        spec: &JobSpec,
        amount: u64,
        now: u64,
    ) -> SignedTransaction {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: now + RUN_MS + AFTER_DEADLINE_MS,
            max_rate: spec.max_rate,
            max_fee_bps: self.fee_bps,
            miner_key: PublicKey::default(),
        };
        let transaction = Transaction {
            kind: TransactionKind::Lock,
            sign_mode: SignMode::Wallet,
            chain_id: self.chain_id,
            public_key: [0; 33],
            account: Address::default(),
            nonce: account.nonce,
            valid_until: now + VALIDITY_MS,
            amount,
            max_fee: 0,
            target: spec.job_ref(),
            payload_hash: Hash::default(),
        };
        SignedTransaction::by_wallet(transaction, terms.encode(), wallet)
            .expect("the terms of a lock are a short payload")
    }

    /// Takes the last run a step further.
    pub(super) fn go_on(
        &self,
        network: &mut dyn Network,
        audit: &mut AuditRow,
    ) -> Result<(), ApiError> {
        let Some(run) = audit.runs.last() else {
            return Ok(());
        };
        let (Some((owner, job)), locked) = (run.job(), run.is_locked) else {
            return change(network, audit, |run| run.failed = true);
        };
        if locked {
            let row = network.archived(&keys::archived_job(&owner, job))?;
            return match row {
                Some(row) if is_settled(&row) => change(network, audit, |run| run.ended(&row)),
                _ => Ok(()),
            };
        }
        let Some((submission, lock)) = self.asked(network, audit, owner, job)? else {
            return change(network, audit, |run| run.failed = true);
        };
        match network.engine(Command::Submit(Box::new(submission))) {
            Err(error) if is_passing(error.reason) => return Ok(()),
            Err(error) => {
                network.note(format_args!(
                    "the audit's {job} was refused: {}",
                    error.message
                ));
                return change(network, audit, |run| run.failed = true);
            }
            Ok(_) => {}
        }
        match network.ledger(ToLedger::Submit(Box::new(lock)))? {
            FromLedger::Recorded { .. } => change(network, audit, |run| run.is_locked = true),
            FromLedger::Full => Ok(()),
            refused => {
                network.note(format_args!(
                    "the lock of the audit's {job} was refused: {refused:?}"
                ));
                let job = JobSelector::Id(job);
                // It ends by its deadline at the latest.
                let _cancelled = network.engine(Command::Cancel { owner, job });
                change(network, audit, |run| run.failed = true)
            }
        }
    }

    /// The last run's job and its lock; `None` where the drawn job's input is gone, or the run is damaged.
    fn asked(
        &self,
        network: &dyn Network,
        audit: &AuditRow,
        owner: PublicKey,
        job: JobId,
    ) -> Result<Option<(Submission, ledger::Submission)>, ApiError> {
        let original = original(network, audit)?;
        let (Some(original), Some(run)) = (original, audit.runs.last()) else {
            return Ok(None);
        };
        let spec = JobSpec::decode(&run.spec);
        let lock = SignedTransaction::decode(&run.lock)
            .map(|signed| ledger::admit(signed, &self.chain_id, BrokenRules::default()));
        let (Ok(spec), Ok(Ok(signed))) = (spec, lock) else {
            return Ok(None);
        };
        let submission = Submission {
            job_id: job,
            owner,
            request_id: "audit".into(),
            body_hash: sha256(&run.spec),
            requirements: requirements(uuid(&run.miner).map(MinerId)),
            spec,
            model: original.model.clone(),
            input: original.input.clone(),
            priority: 0,
            max_retries: RETRIES,
            require_miner: false,
            retry_of: None,
            hold: true,
            least_funding: 0,
            not_paid_at: run.not_paid_at.iter().filter_map(address).collect(),
            agent: None,
        };
        let lock = ledger::Submission {
            signed,
            job: Some(job),
            owner: Some(owner),
            rental: None,
            caller: None,
        };
        Ok(Some((submission, lock)))
    }
}

/// The job that was drawn, while its input is there.
fn original(network: &dyn Network, audit: &AuditRow) -> Result<Option<JobRow>, ApiError> {
    let Some((owner, job)) = audit.job() else {
        return Ok(None);
    };
    let row = network.archived(&keys::archived_job(&owner, job))?;
    Ok(row.filter(|row| !row.content_deleted && !row.input.is_empty()))
}

/// Deletes the input and the output of an audit's runs.
pub(super) fn delete_copies(network: &mut dyn Network, audit: &AuditRow) -> Result<(), ApiError> {
    for (owner, job) in audit.runs.iter().filter_map(RunRow::job) {
        let job = JobSelector::Id(job);
        match network.engine(Command::Delete { owner, job }) {
            Err(error) if is_passing(error.reason) => return Err(error),
            // One that still waits ends by its deadline, and its content by its age.
            _ => {}
        }
    }
    Ok(())
}

fn change(
    network: &mut dyn Network,
    audit: &mut AuditRow,
    change: impl FnOnce(&mut RunRow),
) -> Result<(), ApiError> {
    if let Some(run) = audit.runs.last_mut() {
        change(run);
    }
    keep(network, audit, Batch::new())
}

/// Who may run a drawn job again: who is nobody speaks against nobody that is known.
fn wanted(audit: &AuditRow, original: &JobRow, not_paid_at: Vec<Address>) -> Requirement {
    let receipt = audit.work.as_ref().and_then(WorkRow::work);
    Requirement {
        job_type: JobSpec::decode(&original.spec)
            .expect("the engine wrote it")
            .job_type,
        model: original.model.clone(),
        digest: receipt.map_or_else(Hash::default, |work| work.receipt.model_digest),
        min_vram_gib: original.min_vram_gib,
        max_rate: plan::highest_rate(audit.rate),
        only_miner: None,
        min_reputation_ppm: audit.reputation_ppm.min(ENOUGH_PPM),
        rate: None,
        rental: None,
        excluded: Vec::new(),
        not_paid_at,
        tools: Vec::new(),
        paid: true,
    }
}

/// One of all that may, at random: nobody is asked because it wants to be.
fn pick(network: &mut dyn Network, wanted: &Requirement) -> Result<Option<MinerId>, ApiError> {
    let random = u64::from_be_bytes(network.random_part());
    let requirement = Box::new(wanted.clone());
    match network.engine(Command::PickMiner {
        requirement,
        random,
    })? {
        Reply::Picked(miner) => Ok(miner),
        _ => Ok(None),
    }
}

fn requirements(miner: Option<MinerId>) -> Requirements {
    Requirements {
        miner,
        ..Requirements::default()
    }
}

/// Whether it goes away by waiting.
fn is_passing(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::RateLimited | ErrorReason::StorageFull | ErrorReason::Unavailable
    )
}
