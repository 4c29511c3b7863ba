//! What is stored of the book: rows of the store's own, frozen. All stand in one partition.

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::market::book::{Book, Changes, Counted, Payer, PlacedTrade};
use aitbc_common::market::pricing::Trade;
use aitbc_common::market::reputation::{DaySums, Entry, PayerDay, Reputations};
use bytes::Bytes;
use prost::Message;

use super::live_time::LiveTime;
use crate::store::Reads;
use crate::store::keys::prefix_end;
use crate::store::{Batch, Family, StoreError, rows::decode};

/// Where the book stands.
const CURSOR: u8 = b'C';
/// Days of a miner and a client.
const PAIR: u8 = b'P';
/// Days of a payer.
const PAYER: u8 = b'Y';
/// Open locks.
const LOCK: u8 = b'K';
/// Wallets that identities are bound to.
const WALLET: u8 = b'W';
/// Trades by day and place.
const TRADE: u8 = b'T';
/// Payments of each miner.
const PAID: u8 = b'N';
/// Time that listings were live, by day and GPU.
const LIVE: u8 = b'V';

/// Records that count for or against a miner, newest first.
const COUNTED: u8 = b'X';

/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 10_000;

fn key(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[0, table], parts.concat().as_slice()].concat()
}

/// Where the book stands.
#[derive(Clone, PartialEq, Message)]
pub struct CursorRow {
    /// Index of the next record.
    #[prost(uint64, tag = "1")]
    pub next: u64,
}

/// A trade.
#[derive(Clone, PartialEq, Message)]
struct TradeRow {
    #[prost(bytes = "bytes", tag = "1")]
    gpu: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    owner: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    provider: Bytes,
    #[prost(uint64, tag = "4")]
    rate: u64,
    #[prost(uint64, tag = "5")]
    fee: u64,
    #[prost(uint64, tag = "6")]
    billed_ms: u64,
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a row of the market's book is damaged".into())
}

/// Writes what some records touched, up to before record `next`.
pub fn put(batch: &mut Batch, book: &Book, changes: &Changes, next: u64) {
    let mut put = |key: Vec<u8>, value: Option<Vec<u8>>| match value {
        Some(value) => batch.put(Family::Archive, key, value),
        None => batch.delete(Family::Archive, key),
    };
    let filled = |bytes: Vec<u8>| (!bytes.is_empty()).then_some(bytes);
    for (miner, client) in &changes.pairs {
        let days = book.reputations.pair(miner, client);
        put(key(PAIR, &[&miner.0, &client.0]), filled(pair_bytes(days)));
    }
    for payer in &changes.payers {
        let days = book.reputations.payer(payer);
        put(key(PAYER, &[&payer.0]), filled(payer_bytes(days)));
    }
    for (lock, payer) in &changes.locks {
        put(key(LOCK, &[lock]), payer.map(|payer| lock_bytes(&payer)));
    }
    for (identity, wallet) in &changes.bindings {
        put(
            key(WALLET, &[&identity.0]),
            wallet.map(|wallet| wallet.0.to_vec()),
        );
    }
    for miner in &changes.paid {
        let paid = book.paid.get(miner).copied().unwrap_or(0);
        put(key(PAID, &[&miner.0]), Some(paid.to_be_bytes().to_vec()));
    }
    for placed in &changes.trades {
        put(trade_key(placed), Some(trade_row(placed).encode_to_vec()));
    }
    for counted in &changes.counted {
        let mut value = counted.client.0.to_vec();
        value.extend(counted.success.to_be_bytes());
        value.extend(counted.fault.to_be_bytes());
        let place = (!counted.index).to_be_bytes();
        put(key(COUNTED, &[&counted.miner.0, &place]), Some(value));
    }
    put(key(CURSOR, &[]), Some(CursorRow { next }.encode_to_vec()));
}

/// Writes how long listings of a GPU were live on a day.
pub fn put_live(batch: &mut Batch, day: u32, gpu: &Hash, live_ms: u64) {
    let key = key(LIVE, &[&day.to_be_bytes(), gpu]);
    batch.put(Family::Archive, key, live_ms.to_be_bytes().to_vec());
}

/// Deletes what stands before a day and is of no use any more.
pub fn forget_before(batch: &mut Batch, day: u32) {
    for table in [TRADE, LIVE] {
        let (first, end) = (key(table, &[]), key(table, &[&day.to_be_bytes()]));
        batch.delete_range(Family::Archive, first, end);
    }
}

/// Deletes all of it.
pub fn forget(batch: &mut Batch) {
    for table in [
        CURSOR, PAIR, PAYER, LOCK, WALLET, TRADE, PAID, LIVE, COUNTED,
    ] {
        let first = key(table, &[]);
        let end = prefix_end(&first);
        batch.delete_range(Family::Archive, first, end);
    }
}

/// The book, the time that listings were live, and the index of the next record.
///
/// # Errors
/// A store that fails, or a damaged row.
pub fn load(reads: &dyn Reads) -> Result<(Book, LiveTime, u64), StoreError> {
    let stored = reads.get_many(&[(Family::Archive, &key(CURSOR, &[]))])?;
    let cursor = stored.into_iter().next().flatten();
    let cursor: CursorRow = cursor.map(decode).transpose()?.unwrap_or_default();
    let mut entries = Vec::new();
    each(reads, PAIR, |name, value| {
        entries.push(Entry::Pair {
            miner: PublicKey(part(name, 0)?),
            client: Address(part(name, 32)?),
            days: pair_days(value)?,
        });
        Some(())
    })?;
    each(reads, PAYER, |name, value| {
        entries.push(Entry::Payer {
            payer: Address(part(name, 0)?),
            days: payer_days(value)?,
        });
        Some(())
    })?;
    let mut book = Book::with(Reputations::load(entries).map_err(|_| damaged())?);
    each(reads, LOCK, |name, value| {
        book.locks.insert(part(name, 0)?, lock_payer(value)?);
        Some(())
    })?;
    each(reads, WALLET, |name, value| {
        book.bindings
            .insert(PublicKey(part(name, 0)?), Address(part(value, 0)?));
        Some(())
    })?;
    each(reads, PAID, |name, value| {
        book.paid.insert(PublicKey(part(name, 0)?), number(value)?);
        Some(())
    })?;
    each(reads, TRADE, |name, value| {
        let _counted = book.add(&placed_trade(name, value)?);
        Some(())
    })?;
    let mut live = LiveTime::default();
    each(reads, LIVE, |name, value| {
        let day = u32::from_be_bytes(part(name, 0)?);
        live.add(day, part(name, 4)?, number(value)?);
        Some(())
    })?;
    Ok((book, live, cursor.next))
}

/// The newest records that count for or against a miner, newest first.
///
/// # Errors
/// A store that fails, or a damaged row.
pub fn counted(
    reads: &dyn Reads,
    miner: &PublicKey,
    limit: usize,
) -> Result<Vec<Counted>, StoreError> {
    let first = key(COUNTED, &[&miner.0]);
    let end = prefix_end(&first);
    let page = reads.scan(Family::Archive, &first..&end, limit)?;
    let rows = page.rows.iter().map(|(name, value)| {
        Some(Counted {
            miner: *miner,
            index: !u64::from_be_bytes(part(name, first.len())?),
            client: Address(part(value, 0)?),
            success: u16::from_be_bytes(part(value, 20)?),
            fault: u16::from_be_bytes(part(value, 22)?),
        })
    });
    rows.collect::<Option<_>>().ok_or_else(damaged)
}

/// Every row of a table; the names are without its prefix.
fn each(
    reads: &dyn Reads,
    table: u8,
    mut row: impl FnMut(&[u8], &[u8]) -> Option<()>,
) -> Result<(), StoreError> {
    let first = key(table, &[]);
    let end = prefix_end(&first);
    let mut from = Bytes::from(first);
    loop {
        let page = reads.scan(Family::Archive, &from..&end, ROWS_AT_ONCE)?;
        for (name, value) in page.rows {
            let read = name.get(2..).and_then(|name| row(name, &value));
            read.ok_or_else(damaged)?;
        }
        match page.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

fn part<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..)?.first_chunk().copied()
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// 8 bytes a day: day u32, success u16, fault u16.
fn pair_bytes(days: &[DaySums]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * days.len());
    for sums in days {
        bytes.extend(sums.day.to_be_bytes());
        bytes.extend(sums.success.to_be_bytes());
        bytes.extend(sums.fault.to_be_bytes());
    }
    bytes
}

fn pair_days(bytes: &[u8]) -> Option<Vec<DaySums>> {
    let days = bytes.chunks(8).map(|day| {
        Some(DaySums {
            day: u32::from_be_bytes(part(day, 0)?),
            success: u16::from_be_bytes(part(day, 4)?),
            fault: u16::from_be_bytes(part(day, 6)?),
        })
    });
    days.collect()
}

/// 20 bytes a day: day u32, fees u64, faults u64.
fn payer_bytes(days: &[PayerDay]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 * days.len());
    for of in days {
        bytes.extend(of.day.to_be_bytes());
        bytes.extend(of.fees.to_be_bytes());
        bytes.extend(of.faults.to_be_bytes());
    }
    bytes
}

fn payer_days(bytes: &[u8]) -> Option<Vec<PayerDay>> {
    let days = bytes.chunks(20).map(|day| {
        Some(PayerDay {
            day: u32::from_be_bytes(part(day, 0)?),
            fees: u64::from_be_bytes(part(day, 4)?),
            faults: u64::from_be_bytes(part(day, 12)?),
        })
    });
    days.collect()
}

/// The account, and the key of the identity that signed, if one did.
fn lock_bytes(payer: &Payer) -> Vec<u8> {
    let mut bytes = payer.account.0.to_vec();
    bytes.extend(payer.signer.iter().flat_map(|signer| signer.0));
    bytes
}

fn lock_payer(bytes: &[u8]) -> Option<Payer> {
    let signer = match bytes.len() {
        20 => None,
        _ => Some(PublicKey(part(bytes, 20)?)),
    };
    Some(Payer {
        account: Address(part(bytes, 0)?),
        signer,
    })
}

fn trade_key(placed: &PlacedTrade) -> Vec<u8> {
    let day = placed.trade.day.to_be_bytes();
    key(TRADE, &[&day, &placed.index.to_be_bytes()])
}

fn trade_row(placed: &PlacedTrade) -> TradeRow {
    let trade = &placed.trade;
    TradeRow {
        gpu: Bytes::copy_from_slice(&placed.gpu),
        owner: Bytes::copy_from_slice(&trade.owner.0),
        provider: Bytes::copy_from_slice(&trade.provider.0),
        rate: trade.rate,
        fee: trade.fee,
        billed_ms: trade.billed_ms,
    }
}

fn placed_trade(name: &[u8], value: &[u8]) -> Option<PlacedTrade> {
    let row = TradeRow::decode(value).ok()?;
    Some(PlacedTrade {
        index: u64::from_be_bytes(part(name, 4)?),
        gpu: row.gpu.as_ref().try_into().ok()?,
        trade: Trade {
            day: u32::from_be_bytes(part(name, 0)?),
            owner: Address(row.owner.as_ref().try_into().ok()?),
            provider: PublicKey(row.provider.as_ref().try_into().ok()?),
            rate: row.rate,
            fee: row.fee,
            billed_ms: row.billed_ms,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Durability, MemoryStore, SHARDS, Store};

    fn trade(index: u64, day: u32) -> PlacedTrade {
        PlacedTrade {
            index,
            gpu: [9; 32],
            trade: Trade {
                day,
                owner: Address([7; 20]),
                provider: PublicKey([1; 32]),
                rate: 500_000,
                fee: 50_000,
                billed_ms: 10,
            },
        }
    }

    fn counted(index: u64) -> Counted {
        Counted {
            miner: PublicKey([1; 32]),
            index,
            client: Address([2; 20]),
            success: 700,
            fault: 3,
        }
    }

    #[test]
    fn a_book_reads_back_and_is_forgotten() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let fence = store.claim(0..=SHARDS - 1).unwrap();
        let (miner, client) = (PublicKey([1; 32]), Address([2; 20]));
        let pair = Entry::Pair {
            miner,
            client,
            days: vec![DaySums {
                day: 40,
                success: 700,
                fault: 3,
            }],
        };
        let payer = Entry::Payer {
            payer: client,
            days: vec![PayerDay {
                day: 40,
                fees: 5,
                faults: 1,
            }],
        };
        let mut book = Book::with(Reputations::load([pair, payer]).unwrap());
        let signed = Payer {
            account: client,
            signer: Some(miner),
        };
        book.locks.insert([5; 32], signed);
        book.bindings.insert(miner, client);
        book.paid.insert(miner, 12);
        let old = trade(3, 20);
        let new = trade(8, 40);
        let changes = Changes {
            pairs: [(miner, client)].into(),
            payers: [client].into(),
            locks: [([5; 32], Some(signed)), ([6; 32], None)].into(),
            bindings: [(miner, Some(client))].into(),
            paid: [miner].into(),
            trades: vec![old, new],
            counted: vec![counted(7), counted(70)],
        };
        let mut batch = Batch::new();
        put(&mut batch, &book, &changes, 77);
        put_live(&mut batch, 40, &[9; 32], 1_000);
        store.commit(&fence, batch, Durability::Buffered).unwrap();
        let (loaded, live, next) = load(&store).unwrap();
        assert_eq!(next, 77);
        let newest = super::counted(&store, &miner, 10).unwrap();
        assert_eq!(newest, [counted(70), counted(7)]);
        assert_eq!(super::counted(&store, &miner, 1).unwrap(), [counted(70)]);
        assert!(loaded.reputations.entries().eq(book.reputations.entries()));
        assert_eq!(
            (&loaded.locks, &loaded.bindings, &loaded.paid),
            (&book.locks, &book.bindings, &book.paid)
        );
        assert_eq!(loaded.trades[&[9; 32]].settled(40, 30).trades, 2);
        assert_eq!(live.of(&[9; 32], 40, 7), 1_000);

        let mut batch = Batch::new();
        forget_before(&mut batch, 40);
        store.commit(&fence, batch, Durability::Buffered).unwrap();
        let (loaded, live, _) = load(&store).unwrap();
        assert_eq!(loaded.trades[&[9; 32]].settled(40, 30).trades, 1);
        assert_eq!(live.of(&[9; 32], 40, 1), 1_000);

        let mut batch = Batch::new();
        forget(&mut batch);
        store.commit(&fence, batch, Durability::Buffered).unwrap();
        let (loaded, _, next) = load(&store).unwrap();
        assert!(loaded.locks.is_empty() && loaded.paid.is_empty() && next == 0);
    }
}
