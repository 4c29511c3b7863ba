//! What a record changed for one wallet.

use std::collections::HashMap;

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    ExpireReason, MintReason, Outcome, Post, Record, RecordBody, SignedTransaction, Transaction,
    TransactionKind, target_address,
};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::terminal::rfc3339_ms;
use serde_json::{Value, json};

use crate::output::record::void_text;

/// One record as a wallet's owner reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Movement {
    /// Place in the log.
    pub index: u64,
    /// Ledger time: Unix ms.
    pub time_ms: u64,
    /// What it was.
    pub kind: &'static str,
    /// Micro-AIT by which what can be spent rose or fell.
    pub change: i128,
    /// With whom, or why.
    pub about: String,
    /// The transaction that it is, or that it resolves.
    pub transaction: Option<Hash>,
}

/// The transaction without which a record says too little.
pub fn needs(record: &Record) -> Option<Hash> {
    match &record.body {
        RecordBody::Post(post) => Some(post.lock),
        RecordBody::Void { lock, .. } | RecordBody::Expire { lock, .. } => Some(*lock),
        _ => None,
    }
}

impl Movement {
    /// What a record changed for `me`; `made` has the transactions that it speaks of.
    pub fn of(me: Address, record: &Record, made: &HashMap<Hash, SignedTransaction>) -> Self {
        let lock = needs(record);
        let resolved = lock.and_then(|id| made.get(&id)).map(|it| &it.transaction);
        let amount = i128::from(resolved.map_or(0, |it| it.amount));
        let (kind, change, about) = match &record.body {
            RecordBody::Transaction(signed) => transaction(me, &signed.transaction),
            RecordBody::Mint { amount, reason, .. } => (
                match reason {
                    MintReason::Genesis => "genesis",
                    MintReason::Faucet => "faucet",
                },
                i128::from(*amount),
                String::new(),
            ),
            RecordBody::Post(post) => paid(me, post, resolved),
            RecordBody::Void { reason, .. } => ("returned", amount, void_text(*reason).to_owned()),
            RecordBody::Expire { reason, .. } => match reason {
                ExpireReason::Lock => ("returned", amount, "the lock's time was up".to_owned()),
                ExpireReason::Unstaked => ("unstaked", amount, String::new()),
                ExpireReason::Forfeited => ("slashed", 0, "it was leaving a stake".to_owned()),
            },
            RecordBody::Slash(slash) => (
                "slashed",
                0,
                format!(
                    "{} AIT staked on {}: it signed two different outputs",
                    MicroAit(slash.amount),
                    slash.evidence.miner
                ),
            ),
            _ => ("other", 0, String::new()),
        };
        let own = match &record.body {
            RecordBody::Transaction(signed) => Some(signed.transaction.id()),
            _ => lock,
        };
        Self {
            index: record.index,
            time_ms: record.time_ms,
            kind,
            change,
            about,
            transaction: own,
        }
    }

    /// `+100`, `-2.5`, `0`.
    pub fn change_text(&self) -> String {
        format!("{}{}", self.sign(), self.micro())
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let sign = if self.change < 0 { "-" } else { "" };
        json!({
            "tx_hash": self.transaction.map(|id| format!("0x{}", hex::encode(id))),
            "height": self.index,
            "index": self.index,
            "time": rfc3339_ms(self.time_ms),
            "kind": self.kind,
            "change_ait": format!("{sign}{}", self.micro().six_decimals()),
            "about": (!self.about.is_empty()).then_some(&self.about),
        })
    }

    fn sign(&self) -> &'static str {
        match self.change {
            0 => "",
            1.. => "+",
            _ => "-",
        }
    }

    fn micro(&self) -> MicroAit {
        MicroAit(u64::try_from(self.change.unsigned_abs()).unwrap_or(u64::MAX))
    }
}

fn transaction(me: Address, transaction: &Transaction) -> (&'static str, i128, String) {
    let amount = i128::from(transaction.amount);
    let identity = || PublicKey(transaction.target).to_string();
    match transaction.kind {
        TransactionKind::Transfer => {
            let to = target_address(&transaction.target);
            match to {
                Some(to) if to == me && transaction.account == me => {
                    ("sent", 0, "to itself".to_owned())
                }
                Some(to) if to == me => {
                    ("received", amount, format!("from {}", transaction.account))
                }
                to => (
                    "sent",
                    -amount,
                    to.map(|to| format!("to {to}")).unwrap_or_default(),
                ),
            }
        }
        TransactionKind::Lock => {
            let by = transaction.signing_identity();
            let by = by.map(|key| format!("by {key}")).unwrap_or_default();
            ("locked", -amount, by)
        }
        TransactionKind::Stake => ("staked", -amount, identity()),
        TransactionKind::Unstake => ("unstaking", 0, identity()),
        TransactionKind::Bind => ("bound", 0, identity()),
        TransactionKind::Allow if transaction.amount == 0 => ("revoked", 0, identity()),
        TransactionKind::Allow => (
            "allowed",
            0,
            format!("{} AIT, {}", MicroAit(transaction.amount), identity()),
        ),
    }
}

/// A lock's pay: what a payer gets back of it, what a payee earns.
fn paid(me: Address, post: &Post, lock: Option<&Transaction>) -> (&'static str, i128, String) {
    let earned = i128::from(post.posted) - i128::from(post.fee);
    let (posted, fee) = (MicroAit(post.posted), MicroAit(post.fee));
    let own = lock.filter(|lock| lock.account == me);
    if own.is_some() && post.outcome == Outcome::Rental {
        let gained = if post.payee == me { earned } else { 0 };
        return (
            "rented",
            gained,
            format!("paid {posted} AIT, payment {}", post.attempt),
        );
    }
    // What a rental paid before is in the payments before.
    let whole = post.outcome != Outcome::RentalEnd;
    let rest = own
        .map(|lock| i128::from(lock.amount) - i128::from(post.posted))
        .map(|rest| if whole { rest } else { 0 });
    match rest {
        None => ("earned", earned, format!("{posted} AIT less {fee} AIT fee")),
        Some(rest) if post.payee == me => (
            "settled",
            rest + earned,
            format!("paid itself {posted} AIT less {fee} AIT fee"),
        ),
        Some(rest) => (
            "settled",
            rest,
            format!("paid {posted} AIT of {} AIT", micro(lock)),
        ),
    }
}

fn micro(lock: Option<&Transaction>) -> MicroAit {
    MicroAit(lock.map_or(0, |lock| lock.amount))
}

#[cfg(test)]
mod tests {
    use aitbc_common::layouts::{SignMode, VoidReason, address_target};

    use super::*;

    const ME: Address = Address([1; 20]);
    const OTHER: Address = Address([2; 20]);

    fn signed(kind: TransactionKind, account: Address, target: Hash) -> SignedTransaction {
        SignedTransaction {
            transaction: Transaction {
                kind,
                sign_mode: SignMode::Wallet,
                chain_id: [0; 32],
                public_key: [0; 33],
                account,
                nonce: 0,
                valid_until: 0,
                amount: 10_000_000,
                max_fee: 0,
                target,
                payload_hash: [0; 32],
            },
            signature: [0; 64],
            payload: Vec::new(),
        }
    }

    fn movement(body: RecordBody, made: &[&SignedTransaction]) -> Movement {
        let made = made
            .iter()
            .map(|signed| (signed.transaction.id(), (*signed).clone()))
            .collect();
        let record = Record {
            index: 5,
            time_ms: 0,
            body,
        };
        Movement::of(ME, &record, &made)
    }

    #[test]
    fn transfers_have_a_direction() {
        let to_other = signed(TransactionKind::Transfer, ME, address_target(OTHER));
        let to_me = signed(TransactionKind::Transfer, OTHER, address_target(ME));
        let to_self = signed(TransactionKind::Transfer, ME, address_target(ME));
        for (transfer, kind, text) in [
            (to_other, "sent", "-10"),
            (to_me, "received", "+10"),
            (to_self, "sent", "0"),
        ] {
            let shown = movement(RecordBody::Transaction(transfer), &[]);
            assert_eq!((shown.kind, shown.change_text().as_str()), (kind, text));
        }
    }

    #[test]
    fn a_settlement_is_the_rest_for_payers_and_the_pay_for_payees() {
        let post = |lock: &SignedTransaction, payee| {
            RecordBody::Post(Post {
                lock: lock.transaction.id(),
                job_ref: [0; 32],
                attempt: 1,
                outcome: aitbc_common::layouts::Outcome::Complete,
                miner: PublicKey::default(),
                payee,
                evidence_id: [0; 32],
                gpu: [0; 32],
                rate: 0,
                observed_ms: 0,
                work_ms: 0,
                billed_ms: 0,
                posted: 1_000,
                fee: 25,
            })
        };
        let mine = signed(TransactionKind::Lock, ME, [9; 32]);
        let theirs = signed(TransactionKind::Lock, OTHER, [9; 32]);
        for (lock, payee, kind, change) in [
            (&mine, OTHER, "settled", 9_999_000),
            (&theirs, ME, "earned", 975),
            (&mine, ME, "settled", 9_999_975),
        ] {
            let shown = movement(post(lock, payee), &[lock]);
            assert_eq!((shown.kind, shown.change), (kind, change));
            assert_eq!(shown.transaction, Some(lock.transaction.id()));
        }
        let void = RecordBody::Void {
            lock: mine.transaction.id(),
            reason: VoidReason::Failed,
        };
        let shown = movement(void, &[&mine]).json();
        assert_eq!(shown["change_ait"], "10.000000");
        assert_eq!(shown["about"], "the job failed");
    }
}
