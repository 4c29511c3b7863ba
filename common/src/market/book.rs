//! Reputation and prices, kept up to date record by record. What is stored of them is the owner's: [`Changes`] tells which
//! entries a record touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::pricing::{Trade, Trades};
use super::reputation::{Fault, Parties, Reputations, Success, merit};
use super::{FULL_FEE, day_of};
use crate::address::Address;
use crate::genesis::Genesis;
use crate::hash::Hash;
use crate::identity::PublicKey;
use crate::layouts::{
    BindConsent, FaultEntry, FaultReason, Outcome, Post, Record, RecordBody, SignedTransaction,
    TransactionKind,
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
    /// Wallets that pay for audits, ascending: the fees that they pay count nothing.
    pub auditors: Arc<[Address]>,
    chain: Option<Chain>,
}

/// The auditors that a genesis file names; none for what is no such file.
#[must_use]
pub fn auditors_of(genesis_file: &[u8]) -> Arc<[Address]> {
    Genesis::parse(genesis_file).map_or_else(|_| Arc::default(), |file| file.auditors.into())
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
            RecordBody::Genesis(file) => self.auditors = auditors_of(file),
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

    /// The weight of an attempt that its client's lock would have paid.
    fn failed(&mut self, entry: &FaultEntry, day: u32) -> u64 {
        let signer = self.locks.get(&entry.lock).and_then(|payer| payer.signer);
        let bound = |identity: PublicKey| self.bindings.get(&identity).copied();
        self.reputations.fault(&Fault {
            miner: entry.miner,
            parties: Parties {
                payer: entry.client,
                signer_wallet: signer.and_then(bound),
                payee: None,
                miner_wallet: bound(entry.miner),
            },
            weight: entry.weight,
            day,
        })
    }

    fn fault(&mut self, entry: &FaultEntry, record: &Record, changes: &mut Changes) {
        let day = day_of(record.time_ms);
        let weight = if entry.reason == FaultReason::Wrong {
            let (miner, auditor) = (entry.miner, entry.client);
            self.reputations.found_wrong(miner, auditor, day);
            FULL_FEE
        } else {
            self.failed(entry, day)
        };
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
        let audits = |payer: Payer| self.auditors.binary_search(&payer.account).is_ok();
        let fee = if payer.is_some_and(audits) {
            0
        } else {
            post.fee
        };
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
                fee,
                day,
            };
            self.reputations.success(&success);
            if !success.parties.are_one() && merit(fee) > 0 {
                changes.counted.push(Counted {
                    miner: post.miner,
                    index: record.index,
                    client: payer.account,
                    success: merit(fee),
                    fault: 0,
                });
            }
            changes.pairs.insert((post.miner, payer.account));
            changes.payers.insert(payer.account);
        }
        match &mut self.chain {
            Some(chain) => {
                let trade = &mut chain.placed.trade;
                trade.fee = trade.fee.saturating_add(fee);
            }
            None => {
                let trade = Trade {
                    day,
                    owner: post.payee,
                    provider: post.miner,
                    rate: post.rate,
                    fee,
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
mod tests;
