//! What the ledger proves of a miner's pay: payments to its payout address, each with its proof.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{Record, RecordBody};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::ledger::{NewestFirst, VerifiedLedger};
use aitbc_proto::v1::LogRecord;

use crate::context::Context;
use crate::transactions::listed;

/// Payments that are proven, at most: each is asked for alone.
const MOST: usize = 200;
/// Pages of the address' history that are looked through, at most.
const PAGES: usize = 10;
const PAGE_SIZE: u32 = 1_000;

/// Payments that are proven to be in the ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ProvenPay {
    /// How many.
    pub payments: u64,
    /// What they come to for the miner, in micro-AIT: the market's fee is taken off.
    pub earned: u64,
    /// Older ones of the period were not looked at.
    pub more: bool,
}

/// Looks through the history of the address that a miner is paid at, newest first, and proves what this miner got from
/// `since_ms` on. Payments that went to another address before are not among them.
pub async fn proven_pay(
    context: &Context,
    connection: &Connection,
    miner: PublicKey,
    payee: Address,
    since_ms: u64,
) -> Result<ProvenPay, CommandError> {
    let mut ledger = VerifiedLedger::open(connection, &context.home)?;
    let mut pay = ProvenPay::default();
    let mut order = NewestFirst::default();
    let mut page_token = String::new();
    for _ in 0..PAGES {
        let answer = listed(connection, payee, PAGE_SIZE, page_token).await?;
        for shown in answer.records {
            order.take(shown.index)?;
            let Some((time_ms, earned)) = earned(&shown, miner, payee) else {
                continue;
            };
            if time_ms < since_ms {
                return Ok(pay);
            }
            if pay.payments == MOST as u64 {
                return Ok(ProvenPay { more: true, ..pay });
            }
            ledger.prove(shown).await?;
            pay.payments += 1;
            pay.earned = pay.earned.saturating_add(earned);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(pay);
        }
    }
    Ok(ProvenPay { more: true, ..pay })
}

/// When a record paid this miner at this address, and how much.
fn earned(shown: &LogRecord, miner: PublicKey, payee: Address) -> Option<(u64, u64)> {
    let record = Record::decode(&shown.leaf).ok()?;
    let RecordBody::Post(post) = record.body else {
        return None;
    };
    (post.miner == miner && post.payee == payee)
        .then(|| (record.time_ms, post.posted.saturating_sub(post.fee)))
}

#[cfg(test)]
mod tests {
    use aitbc_common::layouts::{Outcome, Post};

    use super::*;

    #[test]
    fn pay_is_what_this_miner_got_at_this_address() {
        let (miner, payee) = (PublicKey([1; 32]), Address([2; 20]));
        let record = Record {
            index: 7,
            time_ms: 1_000,
            body: RecordBody::Post(Post {
                lock: [3; 32],
                job_ref: [4; 32],
                attempt: 1,
                outcome: Outcome::Complete,
                miner,
                payee,
                evidence_id: [5; 32],
                gpu: [0; 32],
                rate: 1,
                observed_ms: 1,
                work_ms: 1,
                billed_ms: 1,
                posted: 298,
                fee: 8,
            }),
        };
        let shown = LogRecord {
            index: 7,
            leaf: record.encode().into(),
        };
        assert_eq!(earned(&shown, miner, payee), Some((1_000, 290)));
        assert_eq!(earned(&shown, PublicKey([9; 32]), payee), None);
        assert_eq!(earned(&shown, miner, Address([9; 20])), None);
        assert_eq!(earned(&LogRecord::default(), miner, payee), None);
    }
}
