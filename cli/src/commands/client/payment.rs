//! Locking money for a job, and what becomes of it.

use std::time::Duration;

use aitbc_common::genesis::Genesis;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::{
    LockPurpose, LockTerms, NO_MAX_RATE, Record, RecordBody, TransactionKind, VoidReason,
};
use aitbc_common::money::{MAX_PRICE_PER_HOUR, MicroAit};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::{GetPayableRequest, GetPayableResponse, Job, PaymentStatus};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::lock_bound::check_deadline;
use super::payment_errors::{refused, returned, too_small};
use super::records;
use super::submission::about;
use crate::context::Context;
use crate::output::json::{ait, timestamp_ms};
use crate::retries::with_retries;
use crate::transactions::{Chosen, Draft, Payload, Sent, Signer, has_unanswered, send};

/// A lock holds for this long after the job's deadline: 24 hours.
const AFTER_DEADLINE_MS: u64 = 24 * 3_600_000;
/// How long a completed job may take to be settled: usually far below a second.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A job that money can be locked for.
#[derive(Debug, Clone)]
pub struct Payable {
    /// The job.
    pub job: JobId,
    owner: PublicKey,
    job_ref: Hash,
    max_rate: u64,
    deadline_ms: u64,
    /// Whether its work is done, so that it is settled at once.
    pub completed: bool,
    /// Micro-AIT that others, or earlier payments, locked.
    locked: u64,
    /// Micro-AIT for which the cheapest miner that matches runs it.
    least: Option<u64>,
    /// Micro-AIT that must be locked before it starts.
    least_funding: u64,
    /// Micro-AIT that a payment must have.
    least_lock: Option<u64>,
    /// Whether it is this user's.
    yours: bool,
    refusal: Option<CommandError>,
}

/// Money that is locked.
#[derive(Debug, Clone)]
pub struct Paid {
    sent: Sent,
    job: JobId,
    amount: MicroAit,
    /// Micro-AIT that the job waits for beside it, before it starts.
    missing: u64,
    settlement: Option<Settlement>,
}

/// What became of a lock.
#[derive(Debug, Clone, Copy)]
struct Settlement {
    paid: u64,
    fee: u64,
    returned: u64,
    index: u64,
}

impl Payable {
    /// Asks what a payer needs to know; a job of this user must be the one that was submitted.
    pub async fn find(
        context: &Context,
        connection: &Connection,
        job: JobId,
        owner: Option<PublicKey>,
    ) -> Result<Self, CommandError> {
        let owner = owner.unwrap_or_else(|| connection.identity.public());
        let request = GetPayableRequest {
            job_id: job.to_string(),
            owner: owner.0.to_vec().into(),
        };
        let answer = with_retries(
            connection.ledger(),
            request,
            |mut ledger, request| async move { ledger.get_payable(request).await },
        )
        .await
        .map_err(about(job))
        .map_err(|error| match error.exit {
            ExitCode::NotFound => error.with_hint(
                "check the id, or ask the job's owner; a finished job of somebody else is found with --owner KEY, and paid where \
                 its network is for development",
            ),
            _ => error,
        })?;
        let job_ref = Hash::try_from(&answer.job_ref[..])
            .map_err(|_| super::status::empty_answer("the job's specification"))?;
        let record = records::read_job(&context.home, &job)?;
        let submitted_ms = record.as_ref().map(|record| record.submitted_ms);
        let own = record.and_then(|record| record.spec().ok());
        if own.as_ref().is_some_and(|spec| spec.job_ref() != job_ref) {
            return Err(CommandError::new(
                ExitCode::ProofFailed,
                "PROOF_WRONG_SPEC",
                format!("the coordinator asks money for another job than {job}, the one that was submitted"),
            )
            .with_hint("do not pay; tell the coordinator's operator"));
        }
        let deadline_ms = answer.deadline.as_ref().map_or(0, timestamp_ms);
        let own_terms = own.as_ref().map(|spec| spec.deadline_ms).zip(submitted_ms);
        check_deadline(&job, deadline_ms, own_terms, unix_ms())?;
        Ok(Self {
            job,
            owner,
            job_ref,
            max_rate: highest_rate(own.map(|spec| spec.max_rate), &answer),
            deadline_ms,
            completed: answer.cost_micro_ait.is_some(),
            locked: answer.locked_micro_ait,
            least: answer.least_micro_ait,
            least_funding: answer.least_funding_micro_ait,
            least_lock: answer.least_lock_micro_ait,
            yours: answer.yours,
            refusal: (!answer.payable).then(|| refused(&job, answer.yours, &answer.refusal)),
        })
    }

    /// Refuses a job that takes no money, before anybody is asked for a password; one that may be paid already is let
    /// through.
    pub fn check(
        &self,
        context: &Context,
        connection: &Connection,
        payer: &Chosen,
    ) -> Result<(), CommandError> {
        unless_unanswered(self.refusal.as_ref(), context, connection, payer)
    }

    /// The same for an amount that would return.
    pub fn check_amount(
        &self,
        context: &Context,
        connection: &Connection,
        payer: &Chosen,
        amount: MicroAit,
    ) -> Result<(), CommandError> {
        unless_unanswered(self.refusal_of(amount).as_ref(), context, connection, payer)
    }

    /// Why it does not take this amount.
    fn refusal_of(&self, amount: MicroAit) -> Option<CommandError> {
        let least = MicroAit(self.least_lock.unwrap_or(0));
        if self.refusal.is_some() || amount >= least {
            return self.refusal.clone();
        }
        Some(too_small(&self.job, amount, least))
    }

    /// What to do after a payment.
    pub fn next(&self, paid: &Paid) -> Option<String> {
        let job = self.job;
        match (self.completed, self.yours, paid.missing()) {
            (true, ..) => None,
            (_, true, Some(missing)) => Some(format!("aitbc client pay {job} --amount {missing}")),
            (_, true, None) => Some(format!("aitbc client result {job} --wait")),
            // Only its owner may read it: what becomes of the money is for everybody to see.
            (_, false, _) => Some(format!("aitbc ledger tx 0x{}", hex::encode(paid.sent.id))),
        }
    }

    /// Locks money for it; waits for the settlement of work that is done.
    pub async fn pay(
        &self,
        context: &Context,
        connection: &Connection,
        signer: &Signer,
        amount: MicroAit,
    ) -> Result<Paid, CommandError> {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: self
                .deadline_ms
                .max(unix_ms())
                .saturating_add(AFTER_DEADLINE_MS),
            max_rate: self.max_rate,
            max_fee_bps: fee_bps(connection)?,
            miner_key: PublicKey::default(),
        };
        let draft = Draft {
            kind: TransactionKind::Lock,
            amount: amount.0,
            target: self.job_ref,
            payload: Payload::Fixed(terms.encode()),
            job: Some((self.job, self.owner)),
            rental: None,
            refusal: self.refusal_of(amount),
        };
        self.warn_of_little(context, amount);
        let sent = send(context, connection, signer, &draft).await?;
        // What is not done yet is funded, whatever follows; unless the lock was answered already, and returned.
        let within = if self.completed {
            SETTLED_WITHIN
        } else {
            Duration::ZERO
        };
        let settlement = self
            .settlement(context, connection, (&sent, amount), within)
            .await?
            .filter(|_| self.completed);
        let locked = self.locked.saturating_add(amount.0);
        Ok(Paid {
            sent,
            job: self.job,
            amount,
            missing: self.least_funding.saturating_sub(locked),
            settlement,
        })
    }

    fn warn_of_little(&self, context: &Context, amount: MicroAit) {
        let total = MicroAit(self.locked.saturating_add(amount.0));
        let least = self.least.filter(|least| total.0 < *least);
        // While its owner waits for more than that, the confirmation says so.
        if let Some(least) = least.filter(|_| total.0 >= self.least_funding) {
            let least = MicroAit(least);
            context.warn(
                "LITTLE_FUNDS",
                format_args!(
                    "{total} AIT pay for less than 10 s of the cheapest miner that matches now: the job waits until {least} AIT are locked for it"
                ),
            );
        }
    }
}

/// A refusal, unless an earlier transaction has no answer yet: it may be the very payment.
fn unless_unanswered(
    refusal: Option<&CommandError>,
    context: &Context,
    connection: &Connection,
    payer: &Chosen,
) -> Result<(), CommandError> {
    let identity = match payer {
        Chosen::Wallet(..) => None,
        Chosen::Allowance { .. } => Some(connection.identity.public()),
    };
    match refusal {
        Some(refusal) if !has_unanswered(context, connection, payer.account(), identity) => {
            Err(refusal.clone())
        }
        _ => Ok(()),
    }
}

/// The highest rate that the specification allows; the network's highest where it allows any.
fn highest_rate(own: Option<u64>, answer: &GetPayableResponse) -> u64 {
    let told = answer.max_price_per_hour_micro_ait;
    let allowed = own.or(told).filter(|rate| *rate != NO_MAX_RATE);
    allowed.unwrap_or(MAX_PRICE_PER_HOUR.0)
}

/// The network's fee as its genesis file says it, in hundredths of a percent.
pub fn fee_bps(connection: &Connection) -> Result<u16, CommandError> {
    let genesis = Genesis::parse(&connection.info.genesis);
    genesis.map(|genesis| genesis.fee_bps).map_err(|error| {
        CommandError::new(
            ExitCode::ProofFailed,
            "NETWORK_CONTRADICTION",
            error.to_string(),
        )
        .with_hint("do not use it; tell its operator")
    })
}

impl Payable {
    /// What became of a lock, proven; `None` where the ledger has not said so in time.
    async fn settlement(
        &self,
        context: &Context,
        connection: &Connection,
        (sent, amount): (&Sent, MicroAit),
        within: Duration,
    ) -> Result<Option<Settlement>, CommandError> {
        let mut ledger = VerifiedLedger::open(connection, &context.home)?;
        let end = Instant::now() + within;
        loop {
            let resolution = ledger.transaction(&sent.id).await?.resolution;
            match resolution.map(|proven| proven.record) {
                Some(Record {
                    index,
                    body: RecordBody::Post(post),
                    ..
                }) => {
                    return Ok(Some(Settlement {
                        paid: post.posted,
                        fee: post.fee,
                        returned: amount.0.saturating_sub(post.posted),
                        index,
                    }));
                }
                // It was taken, and what it paid for has ended since.
                Some(Record {
                    body:
                        RecordBody::Void {
                            reason:
                                VoidReason::Failed | VoidReason::Cancelled | VoidReason::Deadline,
                            ..
                        },
                    ..
                }) if within.is_zero() => return Ok(None),
                Some(record) => {
                    let reason = match record.body {
                        RecordBody::Void { reason, .. } => Some(reason),
                        _ => None,
                    };
                    return Err(returned(&self.job, self.yours, amount, reason));
                }
                None if Instant::now() >= end => return Ok(None),
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

impl Paid {
    /// The transaction that locks it.
    pub fn transaction(&self) -> Hash {
        self.sent.id
    }

    /// For people.
    pub fn text(&self) -> String {
        let state = match self.missing() {
            Some(missing) => format!("waits for {missing} AIT more"),
            None => "is funded".to_owned(),
        };
        let mut text = format!(
            "Payment confirmed: {} {state}\n  transaction  0x{} (height {})     locked  {} AIT from {}; you pay what the job \
             uses, the rest returns",
            self.job,
            hex::encode(self.sent.id),
            self.sent.index,
            self.amount,
            self.sent.from,
        );
        if let Some(settled) = &self.settlement {
            text.push_str(&format!(
                "\n  settled      {} AIT (fee included), {} AIT returned",
                MicroAit(settled.paid),
                MicroAit(settled.returned)
            ));
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let payment = if self.settlement.is_some() {
            "settled"
        } else {
            "funded"
        };
        let mut document = json!({
            "tx_hash": format!("0x{}", hex::encode(self.sent.id)),
            "height": self.sent.index,
            "index": self.sent.index,
            "job_id": self.job.to_string(),
            "status": if self.missing > 0 { "pending" } else { "funded" },
            "payment_status": payment,
            "amount_ait": ait(self.amount.0),
            "settlement": self.settlement.map(|settled| json!({
                "paid_ait": ait(settled.paid),
                "fee_ait": ait(settled.fee),
                "returned_ait": ait(settled.returned),
                "height": settled.index,
                "index": settled.index,
            })),
        });
        if let Some(missing) = self.missing() {
            document["missing_ait"] = ait(missing.0);
        }
        document
    }

    /// What its owner wants locked beside it before it starts.
    pub fn missing(&self) -> Option<MicroAit> {
        Some(MicroAit(self.missing)).filter(|missing| missing.0 > 0)
    }

    /// `funded, 10 AIT locked (transaction 0x…, height 13)`.
    pub fn short_text(&self) -> String {
        let state = match self.missing() {
            Some(missing) => format!("pending, waits for {missing} AIT more"),
            None => "funded".to_owned(),
        };
        format!(
            "{state}, {} AIT locked (transaction 0x{}, height {})",
            self.amount,
            hex::encode(self.sent.id),
            self.sent.index
        )
    }
}

/// `10 AIT locked, 0.000298 AIT paid (0.000008 AIT of it fee), 9.999702 AIT returned`; `None` for a job that nobody paid.
pub fn job_payment(job: &Job) -> Option<String> {
    if job.locked_micro_ait == 0 && job.payment_status() != PaymentStatus::Refunded {
        return None;
    }
    let mut text = format!("{} AIT locked", MicroAit(job.locked_micro_ait));
    if job.paid_micro_ait > 0 {
        text.push_str(&format!(
            ", {} AIT paid ({} AIT of it fee)",
            MicroAit(job.paid_micro_ait),
            MicroAit(job.fee_micro_ait)
        ));
    }
    if job.returned_micro_ait > 0 {
        text.push_str(&format!(
            ", {} AIT returned",
            MicroAit(job.returned_micro_ait)
        ));
    }
    Some(text)
}

#[cfg(test)]
mod tests;
