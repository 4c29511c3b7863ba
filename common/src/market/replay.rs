//! Reputations recomputed from a log alone, by whoever reads it: what one checks a coordinator's word against.

use super::book::{Book, Changes};
use super::day_of;
use super::reputation::Score;
use crate::identity::PublicKey;
use crate::layouts::Record;

/// Payers that are looked at once.
const AT_ONCE: usize = 10_000;

/// The reputations that the records so far come to. What is kept is bounded by miners, clients and days that still count, by the
/// payers of 30 days, and by open locks and bindings: it does not grow with the log.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    book: Book,
    day: u32,
}

impl Replay {
    /// Takes the next record of a log whose rules it keeps.
    pub fn record(&mut self, record: &Record) {
        let day = day_of(record.time_ms);
        if day > self.day {
            self.day = day;
            self.forget();
        }
        self.book.record(record, &mut Changes::default());
        // Prices are not asked for here.
        self.book.trades.clear();
    }

    /// The day of the newest record.
    #[must_use]
    pub fn day(&self) -> u32 {
        self.day
    }

    /// The miners of whom anything counts, in ascending order.
    pub fn miners(&self) -> impl Iterator<Item = &PublicKey> {
        self.book.reputations.miners(None)
    }

    /// What a miner's records come to on a day, which is none before [`Self::day`].
    #[must_use]
    pub fn score(&self, miner: &PublicKey, day: u32) -> Score {
        self.book.reputations.score(miner, day)
    }

    /// What counts no more on the new day goes.
    fn forget(&mut self) {
        let reputations = &mut self.book.reputations;
        let miners: Vec<PublicKey> = reputations.miners(None).copied().collect();
        for miner in miners {
            let _gone = reputations.advance(&miner, self.day);
        }
        let mut after = None;
        loop {
            (_, after) = reputations.forget_payers(self.day, after, AT_ONCE);
            if after.is_none() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::layouts::{
        LockPurpose, LockTerms, Outcome, Post, RecordBody, SignMode, SignedTransaction,
        Transaction, TransactionKind,
    };

    const DAY: u64 = 86_400_000;
    const MINER: PublicKey = PublicKey([1; 32]);

    fn lock(job: u64) -> SignedTransaction {
        let terms = LockTerms {
            purpose: LockPurpose::Job,
            expires_at: 0,
            max_rate: u64::MAX,
            max_fee_bps: 10_000,
            miner_key: PublicKey::default(),
        };
        SignedTransaction {
            transaction: Transaction {
                kind: TransactionKind::Lock,
                sign_mode: SignMode::Wallet,
                chain_id: [0; 32],
                public_key: [2; 33],
                account: Address([u8::try_from(job % 7).unwrap() + 1; 20]),
                nonce: job,
                valid_until: 0,
                amount: 1_000_000,
                max_fee: 0,
                target: [0; 32],
                payload_hash: [0; 32],
            },
            signature: [0; 64],
            payload: terms.encode(),
        }
    }

    /// A job a day.
    fn log(days: u64) -> impl Iterator<Item = Record> {
        (0..days).flat_map(|day| {
            let lock = lock(day);
            let post = RecordBody::Post(Post {
                lock: lock.transaction.id(),
                job_ref: lock.transaction.id(),
                attempt: 1,
                outcome: Outcome::Complete,
                miner: MINER,
                payee: Address([9; 20]),
                evidence_id: [0; 32],
                gpu: [9; 32],
                rate: 500_000,
                observed_ms: 10,
                work_ms: 10,
                billed_ms: 10,
                posted: 1_000_000,
                fee: 25_000,
            });
            let bodies = [RecordBody::Transaction(lock), post];
            bodies
                .into_iter()
                .zip([0, 1])
                .map(move |(body, next)| Record {
                    index: 2 * day + next,
                    time_ms: (20_000 + day) * DAY,
                    body,
                })
        })
    }

    #[test]
    fn it_forgets_what_counts_no_more_and_comes_to_the_same() {
        let (mut replay, mut book) = (Replay::default(), Book::default());
        for record in log(1_000) {
            replay.record(&record);
            book.record(&record, &mut Changes::default());
        }
        let today = replay.day();
        assert_eq!(today, 20_999);
        for day in [today, today + 1, today + 200] {
            let ours = replay.score(&MINER, day);
            assert_eq!(ours, book.reputations.score(&MINER, day));
            assert!(ours.success > 0);
        }
        assert_eq!(replay.miners().collect::<Vec<_>>(), [&MINER]);
        let kept = replay.book.reputations.entries().count();
        assert!(kept <= 14, "7 clients and 7 payers, not {kept}");
        assert!(replay.book.trades.is_empty() && replay.book.locks.is_empty());
    }
}
