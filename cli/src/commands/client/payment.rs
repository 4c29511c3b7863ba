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
use super::records;
use super::submission::about;
use crate::context::Context;
use crate::output::json::{ait, timestamp_ms};
use crate::output::record::void_text;
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
    refusal: Option<CommandError>,
}

/// Money that is locked.
#[derive(Debug, Clone)]
pub struct Paid {
    sent: Sent,
    job: JobId,
    amount: MicroAit,
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
                "check the id; a finished job of somebody else is found with --owner KEY",
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
            refusal: (!answer.payable).then(|| refused(&job, &answer.refusal)),
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
        let identity = match payer {
            Chosen::Wallet(..) => None,
            Chosen::Allowance { .. } => Some(connection.identity.public()),
        };
        match &self.refusal {
            Some(refusal) if !has_unanswered(context, connection, payer.account(), identity) => {
                Err(refusal.clone())
            }
            _ => Ok(()),
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
            refusal: self.refusal.clone(),
        };
        self.warn_of_little(context, amount);
        let sent = send(context, connection, signer, &draft).await?;
        // What is not done yet is funded, whatever follows; unless the lock was answered already, and returned.
        let within = if self.completed {
            SETTLED_WITHIN
        } else {
            Duration::ZERO
        };
        let settlement = settlement(context, connection, &sent, amount, within)
            .await?
            .filter(|_| self.completed);
        Ok(Paid {
            sent,
            job: self.job,
            amount,
            settlement,
        })
    }

    fn warn_of_little(&self, context: &Context, amount: MicroAit) {
        let total = MicroAit(self.locked.saturating_add(amount.0));
        if let Some(least) = self.least.filter(|least| total.0 < *least) {
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

/// The highest rate that the specification allows; the network's highest where it allows any.
fn highest_rate(own: Option<u64>, answer: &GetPayableResponse) -> u64 {
    let told = answer.max_price_per_hour_micro_ait;
    let allowed = own.or(told).filter(|rate| *rate != NO_MAX_RATE);
    allowed.unwrap_or(MAX_PRICE_PER_HOUR.0)
}

/// The network's fee as its genesis file says it, in hundredths of a percent.
fn fee_bps(connection: &Connection) -> Result<u16, CommandError> {
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

fn refused(job: &JobId, why: &str) -> CommandError {
    CommandError::new(
        ExitCode::Authentication,
        "NOT_PAYABLE",
        format!("{job} takes no payment: {why}"),
    )
    .with_hint(format!("see where it stands: aitbc client status {job}"))
}

/// What became of a lock, proven; `None` where the ledger has not said so in time.
async fn settlement(
    context: &Context,
    connection: &Connection,
    sent: &Sent,
    amount: MicroAit,
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
                        reason: VoidReason::Failed | VoidReason::Cancelled | VoidReason::Deadline,
                        ..
                    },
                ..
            }) if within.is_zero() => return Ok(None),
            Some(record) => {
                let why = match record.body {
                    RecordBody::Void { reason, .. } => void_text(reason),
                    _ => "its time was up",
                };
                return Err(CommandError::new(
                    ExitCode::Failed,
                    "PAYMENT_RETURNED",
                    format!("the {amount} AIT returned whole: {why}"),
                )
                .with_hint("see the records: aitbc wallet history"));
            }
            None if Instant::now() >= end => return Ok(None),
            None => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}

impl Paid {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "Payment confirmed: {} is funded\n  transaction  0x{} (record {})     locked  {} AIT from {}; you pay what the job \
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
        json!({
            "tx_hash": format!("0x{}", hex::encode(self.sent.id)),
            "height": self.sent.index,
            "index": self.sent.index,
            "job_id": self.job.to_string(),
            "status": "funded",
            "payment_status": payment,
            "amount_ait": ait(self.amount.0),
            "settlement": self.settlement.map(|settled| json!({
                "paid_ait": ait(settled.paid),
                "fee_ait": ait(settled.fee),
                "returned_ait": ait(settled.returned),
                "height": settled.index,
                "index": settled.index,
            })),
        })
    }

    /// `10 AIT locked (transaction 0x…, record 13)`.
    pub fn short_text(&self) -> String {
        format!(
            "{} AIT locked (transaction 0x{}, record {})",
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
mod tests {
    use super::*;

    #[test]
    fn a_lock_never_allows_more_than_the_specification() {
        let told = |rate| GetPayableResponse {
            max_price_per_hour_micro_ait: rate,
            ..GetPayableResponse::default()
        };
        assert_eq!(highest_rate(Some(7), &told(Some(9))), 7);
        assert_eq!(highest_rate(None, &told(Some(9))), 9);
        for any in [
            highest_rate(None, &told(None)),
            highest_rate(Some(NO_MAX_RATE), &told(Some(9))),
        ] {
            assert_eq!(any, MAX_PRICE_PER_HOUR.0);
        }
    }

    #[test]
    fn a_payment_reads_as_documented() {
        let mut paid = Paid {
            sent: Sent {
                id: [0x5c; 32],
                index: 13,
                time_ms: 0,
                from: "test_wallet".into(),
            },
            job: "job_01m83xj880emq8k9w39qsaekf4".parse().unwrap(),
            amount: MicroAit(10_000_000),
            settlement: None,
        };
        let id = "5c".repeat(32);
        let funded = format!(
            "Payment confirmed: job_01m83xj880emq8k9w39qsaekf4 is funded\n  transaction  0x{id} (record 13)     locked  10 AIT \
             from test_wallet; you pay what the job uses, the rest returns"
        );
        assert_eq!(paid.text(), funded);
        let json = format!(
            r#"{{"tx_hash":"0x{id}","height":13,"index":13,"job_id":"job_01m83xj880emq8k9w39qsaekf4","status":"funded","payment_status":"funded","amount_ait":"10.000000","settlement":null}}"#
        );
        assert_eq!(paid.json().to_string(), json);
        paid.settlement = Some(Settlement {
            paid: 298,
            fee: 8,
            returned: 9_999_702,
            index: 14,
        });
        let settled = "\n  settled      0.000298 AIT (fee included), 9.999702 AIT returned";
        assert_eq!(paid.text(), format!("{funded}{settled}"));
        assert_eq!(paid.json()["settlement"]["fee_ait"], "0.000008");
    }

    #[test]
    fn a_jobs_payment_is_told_where_there_is_one() {
        assert_eq!(job_payment(&Job::default()), None);
        let job = Job {
            locked_micro_ait: 10_000_000,
            paid_micro_ait: 298,
            fee_micro_ait: 8,
            returned_micro_ait: 9_999_702,
            ..Job::default()
        };
        assert_eq!(
            job_payment(&job).unwrap(),
            "10 AIT locked, 0.000298 AIT paid (0.000008 AIT of it fee), 9.999702 AIT returned"
        );
    }
}
