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
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::wallet::WalletKey;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;

use super::choice::Wanted;
use super::driver::Auditor;
use super::figures::Event;
use super::plan;
use super::rows::{self, AuditRow, RunRow, WorkRow};
use super::wallets::{busy, is_settled};
use crate::engine::command::{Command, JobSelector, Submission};
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
    pub(super) async fn begin_run(
        &self,
        audit: &mut AuditRow,
        not_paid_at: Vec<Address>,
        under_way: &[AuditRow],
        now: u64,
    ) -> Result<bool, ApiError> {
        let busy = &busy(under_way);
        let Some(original) = self.original(audit).await? else {
            self.forget(audit, Batch::new(), Event::Unfinished).await?;
            return Ok(false);
        };
        let max_rate = plan::highest_rate(audit.rate);
        let amount = plan::amount(audit.paid, max_rate);
        let wanted = wanted(audit, &original, not_paid_at, max_rate);
        let Some(miner) = self.choose(&wanted, now).await? else {
            // Somebody may come, or come back.
            if now.saturating_sub(audit.drawn_ms) > RUN_MS {
                self.forget(audit, Batch::new(), Event::Unfinished).await?;
            }
            return Ok(false);
        };
        let spec = again(&original, self.chain_id, &wanted, miner);
        let is_covered = self.is_covered(audit, under_way, amount, now).await?;
        let spending = self.spending(amount, now).await?.filter(|_| is_covered);
        let start = usize::from(spec.salt[0]);
        let payer = self.payer(start, amount, busy).await?;
        let turns = &self.wallets[start % self.wallets.len()];
        let is_its_turn = |(wallet, _): &(&WalletKey, Account)| wallet.address() == turns.address();
        let is_short = spending.is_some()
            && !payer.as_ref().is_some_and(is_its_turn)
            && !busy.contains(&turns.address());
        if is_short && self.ask_the_faucet(turns, amount).await? {
            // Its money is there at the next look.
            return Ok(false);
        }
        let (Some(spending), Some((wallet, account))) = (spending, payer) else {
            // A wallet that signs something now is free in a moment.
            if !is_covered || busy.is_empty() {
                tracing::info!(amount, "no auditor can pay for an audit");
                self.forget(audit, Batch::new(), Event::Unaffordable)
                    .await?;
            }
            return Ok(false);
        };
        let lock = self.sign_lock(wallet, &account, &spec, amount, now);
        let job = JobId::new(now, shard_of(&spec.owner), random_bytes());
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
        self.keep(audit, batch).await?;
        Ok(true)
    }

    /// The job that was drawn, while its input is there.
    async fn original(&self, audit: &AuditRow) -> Result<Option<JobRow>, ApiError> {
        let Some((owner, job)) = audit.job() else {
            return Ok(None);
        };
        let row = self.archived(keys::archived_job(&owner, job)).await?;
        Ok(row.filter(|row| !row.content_deleted && !row.input.is_empty()))
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
    pub(super) async fn go_on(&self, audit: &mut AuditRow) -> Result<(), ApiError> {
        let Some(run) = audit.runs.last() else {
            return Ok(());
        };
        let (Some((owner, job)), locked) = (run.job(), run.is_locked) else {
            return self.change(audit, |run| run.failed = true).await;
        };
        if locked {
            let row = self.archived(keys::archived_job(&owner, job)).await?;
            return match row {
                Some(row) if is_settled(&row) => self.change(audit, |run| run.ended(&row)).await,
                _ => Ok(()),
            };
        }
        let Some((submission, lock)) = self.asked(audit, owner, job).await? else {
            return self.change(audit, |run| run.failed = true).await;
        };
        let reply = self
            .engine
            .call(Command::Submit(Box::new(submission)))
            .await;
        match reply {
            Err(error) if is_passing(error.reason) => return Ok(()),
            Err(error) => {
                tracing::info!(%job, error = %error.message, "an audit's job was refused");
                return self.change(audit, |run| run.failed = true).await;
            }
            Ok(_) => {}
        }
        match self.ledger.call(ToLedger::Submit(Box::new(lock))).await? {
            FromLedger::Recorded { .. } => self.change(audit, |run| run.is_locked = true).await,
            FromLedger::Full => Ok(()),
            refused => {
                tracing::info!(%job, ?refused, "an audit's lock was refused");
                let job = JobSelector::Id(job);
                // It ends by its deadline at the latest.
                let _cancelled = self.engine.call(Command::Cancel { owner, job }).await;
                self.change(audit, |run| run.failed = true).await
            }
        }
    }

    /// Nobody else keeps what the runs were given and gave: it goes with the audit.
    pub(super) async fn delete_copies(&self, audit: &AuditRow) {
        for (owner, job) in audit.runs.iter().filter_map(RunRow::job) {
            let job = JobSelector::Id(job);
            // One that still waits ends by its deadline, and its content by its age.
            let _deleted = self.engine.call(Command::Delete { owner, job }).await;
        }
    }

    async fn change(
        &self,
        audit: &mut AuditRow,
        change: impl FnOnce(&mut RunRow),
    ) -> Result<(), ApiError> {
        if let Some(run) = audit.runs.last_mut() {
            change(run);
        }
        self.keep(audit, Batch::new()).await
    }

    /// The last run's job and its lock; `None` where the drawn job's input is gone, or the run is damaged.
    async fn asked(
        &self,
        audit: &AuditRow,
        owner: PublicKey,
        job: JobId,
    ) -> Result<Option<(Submission, ledger::Submission)>, ApiError> {
        let original = self.original(audit).await?;
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

/// Who may run a drawn job again: who is nobody speaks against nobody that is known.
fn wanted(audit: &AuditRow, original: &JobRow, not_paid_at: Vec<Address>, max_rate: u64) -> Wanted {
    let work = audit.work.as_ref().and_then(WorkRow::work);
    Wanted {
        model: original.model.clone(),
        digest: work.map_or_else(Hash::default, |work| work.receipt.model_digest),
        min_vram_gib: original.min_vram_gib,
        max_rate,
        min_reputation_ppm: audit.reputation_ppm.min(ENOUGH_PPM),
        not_paid_at,
    }
}

fn requirements(miner: Option<MinerId>) -> Requirements {
    Requirements {
        miner,
        ..Requirements::default()
    }
}

/// The drawn job's specification, as a job of nobody's: the same input and the very model that answered.
fn again(original: &JobRow, chain_id: Hash, wanted: &Wanted, miner: MinerId) -> JobSpec {
    let before = JobSpec::decode(&original.spec).expect("the engine wrote it");
    JobSpec {
        flags: 0,
        chain_id,
        owner: Identity::from_seed(&random_bytes()).public(),
        salt: random_bytes(),
        model_digest: wanted.digest,
        requirements_hash: requirements(Some(miner)).hash(),
        max_rate: wanted.max_rate,
        deadline_ms: RUN_MS,
        ..before
    }
}

/// Whether it goes away by waiting.
fn is_passing(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::RateLimited | ErrorReason::StorageFull | ErrorReason::Unavailable
    )
}
