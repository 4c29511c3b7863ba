//! Paying for jobs under an allowance: no wallet is opened here, the identity signs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aitbc_common::address::Address;
use aitbc_common::ids::JobId;
use aitbc_common::layouts::RecordBody;
use aitbc_common::ledger::entry::{AccountId, Allowance, Entry, StateKey};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::runtime::unix_ms;
use aitbc_proto::v1::NetworkProfile;
use serde_json::{Value, json};

use super::answer::Answer;
use super::budget::{Budget, Reservation};
use crate::commands::client::{Paid, Payable, check_payer};
use crate::context::Context;
use crate::output::json::ait;
use crate::transactions::{Chosen, proven_entries};

/// Keys of paid jobs that are kept; an older one is paid under what is left, like a new job.
const MOST_KEYS: usize = 1_024;

/// Errors that say that nothing is locked.
const NOT_LOCKED: [&str; 7] = [
    "INSUFFICIENT_FUNDS",
    "NONCE",
    "NO_ALLOWANCE",
    "NOT_PAYABLE",
    "PAYMENT_RETURNED",
    "TOO_SMALL",
    "TRANSACTION_REFUSED",
];

/// Whose money may be spent, and how much by this process.
#[derive(Debug)]
pub struct Spending {
    payer: Address,
    budget: Mutex<Budget>,
    /// Idempotency keys of jobs that were paid, the newest last.
    paid: Mutex<VecDeque<String>>,
    /// Held from the look at those keys to the payment: the same request twice at a time pays once.
    turn: tokio::sync::Mutex<()>,
}

impl Spending {
    /// With the allowance that `payer` gave this identity, `limit` in all.
    pub fn new(payer: Address, limit: MicroAit) -> Self {
        Self {
            payer,
            budget: Mutex::new(Budget::new(limit.0)),
            paid: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chosen(&self) -> Chosen {
        Chosen::Allowance {
            payer: self.payer,
            instead_of: None,
        }
    }

    /// Sets an amount aside, where allowance, wallet and limit have it: before there is a job.
    pub async fn reserve(
        &self,
        context: &Context,
        connection: &Connection,
        amount: MicroAit,
    ) -> Result<Reservation, CommandError> {
        if self.budget().left() < amount.0 {
            self.settle(context, connection).await?;
        }
        let reservation = self.budget().reserve(amount)?;
        let checked = check_payer(context, connection, &self.chosen(), Some(amount)).await;
        if checked.is_err() {
            self.release(reservation);
        }
        checked.map(|()| reservation)
    }

    /// Waits until no other payment is under way.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Whether the job under this key was paid by this process.
    pub fn has_paid(&self, key: Option<&str>) -> bool {
        let paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        key.is_some_and(|key| paid.iter().any(|known| known == key))
    }

    /// Notes that the job under this key is paid.
    pub fn note_paid(&self, key: Option<&str>) {
        let Some(key) = key else { return };
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        if paid.len() >= MOST_KEYS {
            let _oldest = paid.pop_front();
        }
        paid.push_back(key.to_owned());
    }

    /// Gives back what was set aside for a lock that was not signed.
    pub fn release(&self, reservation: Reservation) {
        self.budget().release(reservation);
    }

    /// Locks what was set aside. Where it may be recorded in spite of an error, it stays counted.
    pub async fn pay(
        &self,
        context: &Context,
        connection: &Connection,
        job: JobId,
        (reservation, amount): (Reservation, MicroAit),
    ) -> Result<Paid, CommandError> {
        let signer = self.chosen().unlock(&connection.identity).await?;
        let paid = async {
            let payable = Payable::find(context, connection, job, None).await?;
            payable.pay(context, connection, &signer, amount).await
        };
        match paid.await {
            Ok(paid) => {
                self.budget().locked_by(reservation, paid.transaction());
                Ok(paid)
            }
            Err(error) => {
                if NOT_LOCKED.contains(&error.reason.as_str()) && !error.retryable {
                    self.release(reservation);
                }
                Err(error)
            }
        }
    }

    /// Asks the ledger what became of the open locks: what is proven to have been paid is spent, the rest is there again.
    async fn settle(&self, context: &Context, connection: &Connection) -> Result<(), CommandError> {
        let open = self.budget().open();
        if open.is_empty() {
            return Ok(());
        }
        let mut ledger = VerifiedLedger::open(connection, &context.home)?;
        for transaction in open {
            let found = match ledger.transaction(&transaction).await {
                Ok(found) => found,
                // A development network that began anew: what was locked on it stays counted.
                Err(error) if error.exit == ExitCode::NotFound => continue,
                Err(error) => return Err(error),
            };
            let Some(proven) = found.resolution else {
                continue;
            };
            let paid = match proven.record.body {
                RecordBody::Post(post) => post.posted,
                _ => 0,
            };
            self.budget().settle(&transaction, paid);
        }
        Ok(())
    }

    /// What may still be spent, proven by the ledger.
    pub async fn balance(
        &self,
        context: &Context,
        connection: &Connection,
    ) -> Result<Answer, CommandError> {
        self.settle(context, connection).await?;
        let identity = connection.identity.public();
        let keys = [
            StateKey::Account(AccountId::Wallet(self.payer)),
            StateKey::Allowance(self.payer, identity),
        ];
        let proven = proven_entries(context, connection, &keys).await?;
        let wallet = match proven.entries.first() {
            Some(Some(Entry::Account(account))) => account.available(),
            _ => 0,
        };
        let wallet = u64::try_from(wallet).unwrap_or(u64::MAX);
        let allowance = match proven.entries.get(1) {
            Some(Some(Entry::Allowance(allowance))) if allowance.amount > 0 => Some(*allowance),
            _ => None,
        };
        let allowed = allowance.map_or(0, |allowance| left_of(&allowance, unix_ms()));
        let budget = self.budget();
        let available = allowed.min(wallet).min(budget.left());
        let document = json!({
            "identity": identity.to_string(),
            "payer": self.payer.to_string(),
            "available_ait": ait(available),
            "allowance": allowance.map(|allowance| json!({
                "amount_ait": ait(allowance.amount),
                "used_ait": ait(allowance.used),
                "left_ait": ait(allowed),
                "expires_at": rfc3339_ms(allowance.expires_at),
            })),
            "limit_ait": ait(budget.limit()),
            "spent_ait": ait(budget.spent()),
            "locked_ait": ait(budget.locked()),
            "height": proven.size,
            "size": proven.size,
            "proof": "valid",
        });
        let allowance = allowance.map_or_else(
            || "has given no allowance".to_owned(),
            |allowance| {
                format!(
                    "allows {} AIT more until {}",
                    MicroAit(allowed),
                    rfc3339_ms(allowance.expires_at)
                )
            },
        );
        let text = format!(
            "{} AIT can be locked for jobs\n  payer  {} {allowance}\n  limit  {} AIT for this run of the server: {} AIT spent, {} AIT locked",
            MicroAit(available),
            self.payer,
            MicroAit(budget.limit()),
            MicroAit(budget.spent()),
            MicroAit(budget.locked()),
        );
        Ok(Answer::new(document, text))
    }
}

/// Micro-AIT that an allowance leaves.
fn left_of(allowance: &Allowance, now_ms: u64) -> u64 {
    if allowance.expires_at < now_ms {
        return 0;
    }
    allowance.amount.saturating_sub(allowance.used)
}

/// The balance of a server without an allowance.
pub fn nothing(connection: &Connection) -> Answer {
    let identity = connection.identity.public();
    let document = json!({
        "identity": identity.to_string(),
        "payer": Value::Null,
        "available_ait": ait(0),
        "allowance": Value::Null,
    });
    let text = format!(
        "nothing can be spent: {}",
        no_allowance(connection).hint.unwrap_or_default()
    );
    Answer::new(document, text)
}

/// Whether what is asked for can be had: who pays, where somebody is to.
pub fn payer<'a>(
    spending: Option<&'a Arc<Spending>>,
    connection: &Connection,
    amount: Option<MicroAit>,
) -> Result<Option<(&'a Arc<Spending>, MicroAit)>, CommandError> {
    match (amount, spending) {
        (Some(amount), Some(spending)) => Ok(Some((spending, amount))),
        (Some(_), None) => Err(no_allowance(connection)),
        (None, _) if connection.info.profile() == NetworkProfile::Dev => Ok(None),
        (None, Some(_)) => Err(CommandError::usage("on this network jobs are paid for")
            .with_hint("give pay, the most that the job may cost in AIT, for example \"0.5\"")),
        (None, None) => {
            let error = no_allowance(connection);
            Err(CommandError {
                message: format!("on this network jobs are paid for, and {}", error.message),
                ..error
            })
        }
    }
}

fn no_allowance(connection: &Connection) -> CommandError {
    let identity = connection.identity.public();
    CommandError::new(
        ExitCode::Authentication,
        "NO_ALLOWANCE",
        "this server was started without an allowance",
    )
    .with_hint(format!(
        "the wallet's owner gives one with: aitbc wallet allow {identity} AMOUNT; the server is then started with: aitbc mcp --allowance ADDRESS --max-spend AIT"
    ))
}
