mod attacks;
mod plain;
mod rules;

use proptest::prelude::*;

use super::*;
use crate::address::Address;
use crate::identity::PublicKey;

fn trade(day: u32, owner: u8, rate: u64, fee: u64) -> Trade {
    Trade {
        day,
        owner: Address([owner; 20]),
        provider: PublicKey([owner; 32]),
        rate,
        fee,
        billed_ms: fee / 7,
    }
}

fn all(trades: &[Trade]) -> Trades {
    let mut kept = Trades::default();
    for trade in trades {
        let _counts = kept.add(trade);
    }
    kept
}
