//! What a transaction did and what became of it, proven.

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    ExpireReason, Post, RecordBody, SignedTransaction, Transaction, TransactionKind, VoidReason,
    target_address,
};
use aitbc_common::ledger::entry::{Entry, OpenLock, StateKey, Unstaking};
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::{ProvenTransaction, VerifiedLedger};
use aitbc_common::runtime::status::words;
use aitbc_common::runtime::terminal::rfc3339_ms;
use serde_json::{Value, json};

use crate::output::record::{amount, proof_json, record_json, void_name};

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing can become of it: it did what it says.
    Done,
    /// The lock is open.
    Open(OpenLock),
    /// The lock paid, and the rest returned.
    Paid(Box<Post>),
    /// The lock returned whole.
    Returned(VoidReason),
    /// The lock's time was up, and it returned whole.
    Expired,
    /// The stake is leaving.
    Leaving(Unstaking),
    /// The stake has left.
    Left,
    /// The stake was slashed before it left.
    Slashed,
}

impl Fate {
    fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Open(_) => "open",
            Self::Paid(_) => "paid",
            Self::Returned(_) => "returned",
            Self::Expired => "expired",
            Self::Leaving(_) => "leaving",
            Self::Left => "left",
            Self::Slashed => "slashed",
        }
    }
}

/// A transaction, and what became of it: by a record, or by the state, where nothing has resolved it yet.
pub async fn look_up(
    ledger: &mut VerifiedLedger,
    id: &Hash,
) -> Result<(ProvenTransaction, Fate), CommandError> {
    let mut transaction = ledger.transaction(id).await?;
    if let Some(fate) = settled(&transaction) {
        return Ok((transaction, fate));
    }
    let key = match body(&transaction).kind {
        TransactionKind::Unstake => StateKey::Unstaking(*id),
        _ => StateKey::Lock(*id),
    };
    let fate = match ledger.entries(&[key]).await?.entries.pop().flatten() {
        Some(Entry::Lock(lock)) => Fate::Open(lock),
        Some(Entry::Unstaking(unstaking)) => Fate::Leaving(unstaking),
        _ => {
            // It may have been resolved between the two questions.
            transaction = ledger.transaction(id).await?;
            settled(&transaction).ok_or_else(hidden)?
        }
    };
    Ok((transaction, fate))
}

fn hidden() -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "LEDGER_RECORD_WITHHELD",
        "the transaction is no longer open, and the coordinator withholds the record that resolved it",
    )
    .with_hint("find it in the whole ledger: aitbc ledger export; and tell the coordinator's operator")
}

/// What became of it by the records alone; none where only the state can tell.
fn settled(transaction: &ProvenTransaction) -> Option<Fate> {
    match transaction
        .resolution
        .as_ref()
        .map(|proven| &proven.record.body)
    {
        Some(RecordBody::Post(post)) => Some(Fate::Paid(Box::new(post.clone()))),
        Some(RecordBody::Void { reason, .. }) => Some(Fate::Returned(*reason)),
        Some(RecordBody::Expire {
            reason: ExpireReason::Forfeited,
            ..
        }) => Some(Fate::Slashed),
        Some(_) if body(transaction).kind == TransactionKind::Unstake => Some(Fate::Left),
        Some(_) => Some(Fate::Expired),
        None => match body(transaction).kind {
            TransactionKind::Lock | TransactionKind::Unstake => None,
            _ => Some(Fate::Done),
        },
    }
}

fn signed(transaction: &ProvenTransaction) -> &SignedTransaction {
    match &transaction.record.record.body {
        RecordBody::Transaction(signed) => signed,
        _ => unreachable!("a proven transaction's record is one"),
    }
}

fn body(transaction: &ProvenTransaction) -> &Transaction {
    &signed(transaction).transaction
}

/// `{"tx_hash","status","record":{…},"resolution":{…},"proof":{…}}`.
pub fn document(transaction: &ProvenTransaction, fate: &Fate) -> Value {
    let record = &transaction.record;
    json!({
        "tx_hash": format!("0x{}", hex::encode(body(transaction).id())),
        "status": fate.name(),
        "record": record_json(record),
        "resolution": transaction.resolution.as_ref().map(record_json),
        "proof": proof_json(record.record.index, &record.head),
    })
}

/// What it did, for people.
pub fn deed(transaction: &ProvenTransaction) -> String {
    let body = body(transaction);
    let (account, sum, identity) = (body.account, amount(body.amount), PublicKey(body.target));
    match body.kind {
        TransactionKind::Transfer => match target_address(&body.target) {
            Some(to) => format!("sent {sum} from {account} to {to}"),
            None => format!("sent {sum} from {account}"),
        },
        TransactionKind::Lock => format!(
            "locked {sum} of {account} for the job with job_ref sha256:{}",
            hex::encode(body.target)
        ),
        TransactionKind::Stake => format!("staked {sum} of {account} on {identity}"),
        TransactionKind::Unstake => {
            format!("began to take {sum} of {account} back from {identity}")
        }
        TransactionKind::Bind => {
            format!("settled whether {account} is paid for the work of {identity}")
        }
        TransactionKind::Allow if body.amount == 0 => {
            format!("took the allowance of {account} away from {identity}")
        }
        TransactionKind::Allow => format!("allowed {identity} to lock up to {sum} of {account}"),
    }
}

/// What became of it, for people.
pub fn outcome(transaction: &ProvenTransaction, fate: &Fate) -> String {
    let locked = body(transaction).amount;
    match fate {
        Fate::Done => "done; nothing more follows from it".to_owned(),
        Fate::Open(lock) => format!(
            "open; it returns at the latest {}",
            rfc3339_ms(lock.expires_at)
        ),
        Fate::Paid(post) => format!(
            "paid {} to {} and {} to the market; {} returned",
            amount(post.posted.saturating_sub(post.fee)),
            post.payee,
            amount(post.fee),
            amount(locked.saturating_sub(post.posted))
        ),
        Fate::Returned(reason) => format!("all of it returned ({})", words(void_name(*reason))),
        Fate::Expired => "all of it returned: its time was up".to_owned(),
        Fate::Leaving(unstaking) => format!(
            "leaving; it is free at {}",
            rfc3339_ms(unstaking.matures_at)
        ),
        Fate::Slashed => "none of it came back: the stake was slashed first".to_owned(),
        Fate::Left => "all of it came back to the wallet".to_owned(),
    }
}
