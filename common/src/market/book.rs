//! Reputation and prices, kept up to date record by record. What is stored of them is the owner's: [`Changes`] tells which
//! entries a record touched.

use std::collections::{BTreeMap, BTreeSet};

use super::day_of;
use super::pricing::{Trade, Trades};
use super::reputation::{Fault, Parties, Reputations, Success, merit};
use crate::address::Address;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    BindConsent, FaultEntry, Outcome, Post, Record, RecordBody, SignedTransaction, TransactionKind,
};

/// Who stands behind an open lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payer {
    /// Whose money is locked.
    pub account: Address,
    /// The identity that signed under an allowance.
    pub signer: Option<PublicKey>,
}

/// A trade as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedTrade {
    /// Index of its first record.
    pub index: u64,
    /// SHA-256 of the GPU's name.
    pub gpu: Hash,
    /// The trade.
    pub trade: Trade,
}

/// Which entries some records touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Miners with a client.
    pub pairs: BTreeSet<(PublicKey, Address)>,
    /// Payers.
    pub payers: BTreeSet<Address>,
    /// Locks that opened, or (`None`) are done with.
    pub locks: BTreeMap<Hash, Option<Payer>>,
    /// Identities that were bound to a wallet, or (`None`) let go.
    pub bindings: BTreeMap<PublicKey, Option<Address>>,
    /// Miners that were paid.
    pub paid: BTreeSet<PublicKey>,
    /// Trades.
    pub trades: Vec<PlacedTrade>,
    /// Records that count for or against a miner.
    pub counted: Vec<Counted>,
}

/// A record that counts for or against a miner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Which miner.
    pub miner: PublicKey,
    /// Index of the record.
    pub index: u64,
    /// Whose money it was.
    pub client: Address,
    /// What it counts for it.
    pub success: u16,
    /// What it counts against it.
    pub fault: u16,
}

/// What the records of a log come to for the market.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// How far each miner is to be preferred.
    pub reputations: Reputations,
    /// Trades by the hash of the GPU's name; none for work without a GPU.
    pub trades: BTreeMap<Hash, Trades>,
    /// Payments with a fee that each miner had: of jobs, and of times of rentals.
    pub paid: BTreeMap<PublicKey, u64>,
    /// Open locks.
    pub locks: BTreeMap<Hash, Payer>,
    /// Wallets that identities are bound to.
    pub bindings: BTreeMap<PublicKey, Address>,
    chain: Option<Chain>,
}

/// A chain of POST records that may go on.
#[derive(Debug, Clone, Copy)]
struct Chain {
    job_ref: Hash,
    attempt: u16,
    placed: PlacedTrade,
}

impl Book {
    /// With reputations that were stored.
    #[must_use]
    pub fn with(reputations: Reputations) -> Self {
        Self {
            reputations,
            ..Self::default()
        }
    }

    /// Counts a record of a log whose rules it keeps. Records come in order; after the last one of a batch
    /// [`Self::end_chain`] counts a trade that it may end with.
    pub fn record(&mut self, record: &Record, changes: &mut Changes) {
        if !matches!(&record.body, RecordBody::Post(post) if self.goes_on(post)) {
            self.end_chain(changes);
        }
        match &record.body {
            RecordBody::Transaction(signed) => self.transaction(signed, changes),
            RecordBody::Post(post) => self.post(post, record, changes),
            RecordBody::Fault(fault) => self.fault(fault, record, changes),
            RecordBody::Void { lock, .. } | RecordBody::Expire { lock, .. }
                if self.locks.remove(lock).is_some() =>
            {
                changes.locks.insert(*lock, None);
            }
            _ => {}
        }
    }

    /// No more records of the newest chain follow.
    pub fn end_chain(&mut self, changes: &mut Changes) {
        let Some(Chain { placed, .. }) = self.chain.take() else {
            return;
        };
        if placed.trade.fee > 0 {
            let paid = self.paid.entry(placed.trade.provider).or_default();
            *paid = paid.saturating_add(1);
            changes.paid.insert(placed.trade.provider);
        }
        if placed.gpu != Hash::default() && self.add(&placed) {
            changes.trades.push(placed);
        }
    }

    /// Counts a stored trade, in the order of the log. Says whether it counts.
    pub fn add(&mut self, placed: &PlacedTrade) -> bool {
        let trades = self.trades.entry(placed.gpu).or_default();
        trades.add(&placed.trade)
    }

    fn goes_on(&self, post: &Post) -> bool {
        self.chain
            .is_some_and(|chain| (chain.job_ref, chain.attempt) == (post.job_ref, post.attempt))
    }

    fn transaction(&mut self, signed: &SignedTransaction, changes: &mut Changes) {
        let transaction = &signed.transaction;
        match transaction.kind {
            TransactionKind::Lock => {
                let payer = Payer {
                    account: transaction.account,
                    signer: transaction.signing_identity(),
                };
                let id = transaction.id();
                self.locks.insert(id, payer);
                changes.locks.insert(id, Some(payer));
            }
            TransactionKind::Bind => {
                let identity = PublicKey(transaction.target);
                let releases =
                    BindConsent::decode(&signed.payload).is_ok_and(|consent| consent.is_release());
                let wallet = (!releases).then_some(transaction.account);
                match wallet {
                    Some(wallet) => self.bindings.insert(identity, wallet),
                    None => self.bindings.remove(&identity),
                };
                changes.bindings.insert(identity, wallet);
            }
            _ => {}
        }
    }

    fn fault(&mut self, entry: &FaultEntry, record: &Record, changes: &mut Changes) {
        let signer = self.locks.get(&entry.lock).and_then(|payer| payer.signer);
        let bound = |identity: PublicKey| self.bindings.get(&identity).copied();
        let weight = self.reputations.fault(&Fault {
            miner: entry.miner,
            parties: Parties {
                payer: entry.client,
                signer_wallet: signer.and_then(bound),
                payee: None,
                miner_wallet: bound(entry.miner),
            },
            weight: entry.weight,
            day: day_of(record.time_ms),
        });
        changes.pairs.insert((entry.miner, entry.client));
        changes.payers.insert(entry.client);
        if merit(weight) > 0 {
            changes.counted.push(Counted {
                miner: entry.miner,
                index: record.index,
                client: entry.client,
                success: 0,
                fault: merit(weight),
            });
        }
    }

    fn post(&mut self, post: &Post, record: &Record, changes: &mut Changes) {
        let day = day_of(record.time_ms);
        let payer = self.locks.get(&post.lock).copied();
        if post.outcome != Outcome::Rental {
            self.locks.remove(&post.lock);
            changes.locks.insert(post.lock, None);
        }
        if let Some(payer) = payer {
            let bound = |identity: PublicKey| self.bindings.get(&identity).copied();
            let success = Success {
                miner: post.miner,
                parties: Parties {
                    payer: payer.account,
                    signer_wallet: payer.signer.and_then(bound),
                    payee: Some(post.payee),
                    miner_wallet: bound(post.miner),
                },
                fee: post.fee,
                day,
            };
            self.reputations.success(&success);
            if !success.parties.are_one() && merit(post.fee) > 0 {
                changes.counted.push(Counted {
                    miner: post.miner,
                    index: record.index,
                    client: payer.account,
                    success: merit(post.fee),
                    fault: 0,
                });
            }
            changes.pairs.insert((post.miner, payer.account));
            changes.payers.insert(payer.account);
        }
        match &mut self.chain {
            Some(chain) => {
                let trade = &mut chain.placed.trade;
                trade.fee = trade.fee.saturating_add(post.fee);
            }
            None => {
                let trade = Trade {
                    day,
                    owner: post.payee,
                    provider: post.miner,
                    rate: post.rate,
                    fee: post.fee,
                    billed_ms: post.billed_ms,
                };
                self.chain = Some(Chain {
                    job_ref: post.job_ref,
                    attempt: post.attempt,
                    placed: PlacedTrade {
                        index: record.index,
                        gpu: post.gpu,
                        trade,
                    },
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pricing::KEPT_DAYS;
    use super::*;
    use crate::layouts::{FaultReason, LockPurpose, LockTerms, SignMode, Transaction};

    const DAY: u64 = 86_400_000;
    const GPU: Hash = [9; 32];

    fn signed(
        kind: TransactionKind,
        account: u8,
        target: Hash,
        payload: Vec<u8>,
    ) -> SignedTransaction {
        SignedTransaction {
            transaction: Transaction {
                kind,
                sign_mode: SignMode::Wallet,
                chain_id: [0; 32],
                public_key: [2; 33],
                account: Address([account; 20]),
                nonce: 0,
                valid_until: 0,
                amount: 1_000_000,
                max_fee: 0,
                target,
                payload_hash: [0; 32],
            },
            signature: [0; 64],
            payload,
        }
    }

    fn lock(account: u8, job: u8) -> SignedTransaction {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: 0,
            max_rate: u64::MAX,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        signed(TransactionKind::Lock, account, [job; 32], terms.encode())
    }

    fn post(lock: &SignedTransaction, job: u8, fee: u64) -> RecordBody {
        RecordBody::Post(Post {
            lock: lock.transaction.id(),
            job_ref: [job; 32],
            attempt: 1,
            outcome: Outcome::Complete,
            miner: PublicKey([1; 32]),
            payee: Address([7; 20]),
            evidence_id: [0; 32],
            gpu: GPU,
            rate: 500_000,
            observed_ms: 10,
            work_ms: 10,
            billed_ms: 10,
            posted: fee * 40,
            fee,
        })
    }

    fn play(bodies: Vec<RecordBody>) -> (Book, Changes) {
        let (mut book, mut changes) = (Book::default(), Changes::default());
        for (index, body) in bodies.into_iter().enumerate() {
            let record = Record {
                index: index as u64,
                time_ms: 20_000 * DAY,
                body,
            };
            book.record(&record, &mut changes);
        }
        book.end_chain(&mut changes);
        (book, changes)
    }

    #[test]
    fn a_chain_is_one_trade_and_one_success_for_each_payer() {
        let (one, other) = (lock(1, 5), lock(2, 5));
        let (book, changes) = play(vec![
            RecordBody::Transaction(one.clone()),
            RecordBody::Transaction(other.clone()),
            post(&one, 5, 50_000),
            post(&other, 5, 25_000),
        ]);
        let settled = book.trades[&GPU].settled(20_000, KEPT_DAYS);
        assert_eq!(
            (settled.trades, settled.weight, settled.billed_ms),
            (1, 75_000, 10)
        );
        assert_eq!(book.paid[&PublicKey([1; 32])], 1);
        let score = book.reputations.score(&PublicKey([1; 32]), 20_000);
        assert_eq!((score.success, score.fault), (1_500, 0));
        assert!(book.locks.is_empty());
        assert_eq!(
            (
                changes.pairs.len(),
                changes.payers.len(),
                changes.trades.len()
            ),
            (2, 2, 1)
        );
        assert_eq!(changes.trades[0].index, 2);
    }

    #[test]
    fn chains_of_two_jobs_are_two_trades() {
        let (one, other) = (lock(1, 5), lock(2, 6));
        let (book, _) = play(vec![
            RecordBody::Transaction(one.clone()),
            RecordBody::Transaction(other.clone()),
            post(&one, 5, 50_000),
            post(&other, 6, 50_000),
        ]);
        assert_eq!(book.trades[&GPU].settled(20_000, 1).trades, 2);
        assert_eq!(book.paid[&PublicKey([1; 32])], 2);
    }

    #[test]
    fn who_pays_the_wallet_of_the_miner_says_nothing_about_it() {
        let consent = BindConsent {
            seq: 1,
            valid_until: 0,
            consent: [3; 64],
        };
        let bind = signed(TransactionKind::Bind, 1, [1; 32], consent.encode());
        let own = lock(1, 5);
        let (book, changes) = play(vec![
            RecordBody::Transaction(bind),
            RecordBody::Transaction(own.clone()),
            post(&own, 5, 50_000),
        ]);
        assert_eq!(
            book.reputations.score(&PublicKey([1; 32]), 20_000).success,
            0
        );
        assert_eq!(
            book.trades[&GPU].settled(20_000, 1).weight,
            50_000,
            "a trade all the same"
        );
        assert_eq!(
            changes.bindings[&PublicKey([1; 32])],
            Some(Address([1; 20]))
        );
    }

    #[test]
    fn a_rental_is_a_trade_with_each_payment_and_keeps_its_lock_until_the_last() {
        let rental = lock(1, 5);
        let paid = |number, outcome| {
            let RecordBody::Post(post) = post(&rental, 5, 50_000) else {
                unreachable!()
            };
            RecordBody::Post(Post {
                attempt: number,
                outcome,
                ..post
            })
        };
        let first = vec![
            RecordBody::Transaction(rental.clone()),
            paid(1, Outcome::Rental),
        ];
        let (book, _) = play(first.clone());
        assert_eq!(book.locks.len(), 1);
        let (book, _) = play([first, vec![paid(2, Outcome::RentalEnd)]].concat());
        assert!(book.locks.is_empty());
        assert_eq!(book.trades[&GPU].settled(20_000, 1).trades, 2);
    }

    #[test]
    fn a_fault_weighs_what_its_client_paid_in_fees() {
        let (paid, failed) = (lock(1, 5), lock(1, 6));
        let fault = |attempt| {
            RecordBody::Fault(FaultEntry {
                job_ref: [6; 32],
                attempt,
                miner: PublicKey([1; 32]),
                client: Address([1; 20]),
                reason: FaultReason::Lost,
                weight: 30_000,
                lock: failed.transaction.id(),
            })
        };
        let (book, changes) = play(vec![
            RecordBody::Transaction(failed.clone()),
            fault(1),
            RecordBody::Transaction(paid.clone()),
            post(&paid, 5, 50_000),
            fault(2),
            fault(3),
        ]);
        let score = book.reputations.score(&PublicKey([1; 32]), 20_000);
        assert_eq!((score.success, score.fault), (1_000, 1_000));
        let faults: Vec<u16> = changes
            .counted
            .iter()
            .map(|counted| counted.fault)
            .collect();
        assert_eq!(
            faults,
            [0, 600, 400],
            "nothing paid, then what is left of 50,000"
        );
    }

    #[test]
    fn returned_locks_are_forgotten() {
        let returned = lock(1, 5);
        let (book, changes) = play(vec![
            RecordBody::Transaction(returned.clone()),
            RecordBody::Void {
                lock: returned.transaction.id(),
                reason: crate::layouts::VoidReason::Failed,
            },
        ]);
        assert!(book.locks.is_empty());
        assert_eq!(changes.locks[&returned.transaction.id()], None);
    }
}
