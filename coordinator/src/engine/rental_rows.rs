//! Rentals as the store has them: those under way in one table, those that are over in another.

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, MinerId, RentalId};
use bytes::Bytes;
use prost::Message;

use super::rentals::Kept;
use crate::market::rental::{End, Rental, Term};
use crate::store::{Batch, Family, StoreError, keys, rows::decode};

/// What the ledger told of a term's payments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Paid {
    /// Payments that are recorded.
    pub payments: u16,
    /// Micro-AIT paid, fees included.
    pub posted: u64,
    /// Micro-AIT of it that are the market's fee.
    pub fee: u64,
    /// Micro-AIT that went back to the payer.
    pub returned: u64,
}

/// A [`Kept`].
#[derive(Clone, PartialEq, Message)]
struct RentalRow {
    #[prost(bytes = "bytes", tag = "1")]
    rental_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    listing: Bytes,
    #[prost(string, tag = "3")]
    gpu: String,
    #[prost(bytes = "bytes", tag = "4")]
    provider: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    miner: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    payee: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    renter: Bytes,
    #[prost(uint64, tag = "8")]
    began_ms: u64,
    #[prost(message, repeated, tag = "9")]
    terms: Vec<TermRow>,
    #[prost(uint64, tag = "10")]
    beats: u64,
    #[prost(uint64, optional, tag = "11")]
    away_since: Option<u64>,
    /// 0 = it goes on, 1 its time was up, 2 released, 3 the provider was gone.
    #[prost(uint32, tag = "12")]
    end: u32,
    #[prost(uint64, tag = "13")]
    ended_ms: u64,
}

/// A [`Term`] and what was paid for it.
#[derive(Clone, PartialEq, Message)]
struct TermRow {
    #[prost(bytes = "bytes", tag = "1")]
    rental_ref: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    lock: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    payer: Bytes,
    #[prost(uint64, tag = "4")]
    amount: u64,
    #[prost(uint64, tag = "5")]
    rate: u64,
    #[prost(uint64, tag = "6")]
    ends_ms: u64,
    #[prost(uint64, tag = "7")]
    counted_ms: u64,
    #[prost(uint64, tag = "8")]
    billed_ms: u64,
    #[prost(uint32, tag = "9")]
    payments: u32,
    #[prost(bool, tag = "10")]
    is_done: bool,
    #[prost(uint32, tag = "11")]
    paid_payments: u32,
    #[prost(uint64, tag = "12")]
    posted: u64,
    #[prost(uint64, tag = "13")]
    fee: u64,
    #[prost(uint64, tag = "14")]
    returned: u64,
}

/// Writes a rental where it belongs.
pub fn put(batch: &mut Batch, kept: &Kept) {
    let rental = &kept.rental;
    let active = keys::rental(&rental.renter, rental.id);
    let row = row(kept).encode_to_vec();
    if kept.is_settled() {
        batch.delete(Family::Active, active.clone());
        batch.put(Family::Archive, active, row);
    } else {
        batch.put(Family::Active, active, row);
    }
}

fn row(kept: &Kept) -> RentalRow {
    let rental = &kept.rental;
    let bytes = Bytes::copy_from_slice;
    let terms = rental.terms.iter().zip(&kept.paid);
    let (end, ended_ms) = match rental.end {
        None => (0, 0),
        Some((End::Term, at)) => (1, at),
        Some((End::Released, at)) => (2, at),
        Some((End::ProviderGone, at)) => (3, at),
    };
    RentalRow {
        rental_id: bytes(&rental.id.0),
        listing: bytes(&rental.listing.0),
        gpu: rental.gpu.to_string(),
        provider: bytes(&rental.provider.0),
        miner: bytes(&rental.miner.0),
        payee: bytes(&rental.payee.0),
        renter: bytes(&rental.renter.0),
        began_ms: rental.began_ms,
        terms: terms.map(|(term, paid)| term_row(term, paid)).collect(),
        beats: rental.beats,
        away_since: rental.away_since,
        end,
        ended_ms,
    }
}

fn term_row(term: &Term, paid: &Paid) -> TermRow {
    TermRow {
        rental_ref: Bytes::copy_from_slice(&term.rental_ref),
        lock: Bytes::copy_from_slice(&term.lock),
        payer: Bytes::copy_from_slice(&term.payer.0),
        amount: term.amount,
        rate: term.rate,
        ends_ms: term.ends_ms,
        counted_ms: term.counted_ms,
        billed_ms: term.billed_ms,
        payments: term.payments.into(),
        is_done: term.is_done,
        paid_payments: paid.payments.into(),
        posted: paid.posted,
        fee: paid.fee,
        returned: paid.returned,
    }
}

/// Reads a stored rental.
///
/// # Errors
/// A damaged row.
pub fn read(value: Bytes) -> Result<Kept, StoreError> {
    let row: RentalRow = decode(value)?;
    kept(&row).ok_or_else(|| StoreError::Corrupt("the row of a rental is damaged".into()))
}

fn kept(row: &RentalRow) -> Option<Kept> {
    let end = match row.end {
        0 => None,
        1 => Some(End::Term),
        2 => Some(End::Released),
        3 => Some(End::ProviderGone),
        _ => return None,
    };
    let rental = Rental {
        id: RentalId(row.rental_id.as_ref().try_into().ok()?),
        listing: ListingId(row.listing.as_ref().try_into().ok()?),
        gpu: row.gpu.as_str().into(),
        provider: PublicKey(row.provider.as_ref().try_into().ok()?),
        miner: MinerId(row.miner.as_ref().try_into().ok()?),
        payee: Address(row.payee.as_ref().try_into().ok()?),
        renter: PublicKey(row.renter.as_ref().try_into().ok()?),
        began_ms: row.began_ms,
        terms: row.terms.iter().map(term).collect::<Option<_>>()?,
        beats: row.beats,
        away_since: row.away_since,
        end: end.map(|end| (end, row.ended_ms)),
    };
    let paid = row.terms.iter().map(|term| {
        Some(Paid {
            payments: u16::try_from(term.paid_payments).ok()?,
            posted: term.posted,
            fee: term.fee,
            returned: term.returned,
        })
    });
    Some(Kept {
        rental,
        paid: paid.collect::<Option<_>>()?,
    })
}

fn term(row: &TermRow) -> Option<Term> {
    Some(Term {
        rental_ref: row.rental_ref.as_ref().try_into().ok()?,
        lock: row.lock.as_ref().try_into().ok()?,
        payer: Address(row.payer.as_ref().try_into().ok()?),
        amount: row.amount,
        rate: row.rate,
        ends_ms: row.ends_ms,
        counted_ms: row.counted_ms,
        billed_ms: row.billed_ms,
        payments: u16::try_from(row.payments).ok()?,
        is_done: row.is_done,
    })
}
