//! Renting: a lock is recorded, and the engine answers it.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, RentalId, shard_of};
use aitbc_common::layouts::{
    LockPurpose, LockTerms, Record, RecordBody, SignedTransaction, TransactionKind,
};
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason, RentalEnd, RentalStatus};
use bytes::Bytes;
use tokio::time::Instant;

use super::convert::timestamp;
use super::{Services, ledger_reads, ledger_service, unexpected, validate};
use crate::engine::command::{Command, RentalSelector, Reply};
use crate::engine::rental_rows::read;
use crate::engine::rentals::{Kept, TERM_MS};
use crate::ledger::command::{self as ledger, Submission};
use crate::market::rental::{BEAT_MS, End};
use crate::payments::RentalTerms;
use crate::sessions::messages::duration;
use crate::sessions::stored::blocking;
use crate::store::{Family, Store, StoreError, keys};

/// The engine answers a lock within this, or the caller asks again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What is to be rented.
pub struct Wanted {
    /// The lock that pays for it.
    pub transaction: Bytes,
    /// Random bytes.
    pub salt: Bytes,
    /// For how long.
    pub term: Option<prost_types::Duration>,
    /// Micro-AIT per hour.
    pub rate: u64,
}

/// Rents a listing, or prolongs a rental; the rental, and the index of the lock's record.
pub async fn rent(
    services: &Arc<Services>,
    renter: PublicKey,
    listing: ListingId,
    extends: Option<RentalId>,
    wanted: Wanted,
    from: IpAddr,
) -> Result<(v1::Rental, u64), ApiError> {
    let terms = RentalTerms {
        new_id: RentalId::new(
            services.context.engine.now_ms(),
            shard_of(&renter),
            random_bytes(),
        ),
        extends,
        listing,
        renter,
        salt: salt(&wanted.salt)?,
        term_ms: term_ms(wanted.term)?,
        rate: wanted.rate,
    };
    let signed = lock(services, &wanted.transaction, &terms)?;
    services.limits.transaction(from, Some(&renter), false)?;
    let id = signed.transaction.id();
    let chain_id = services.network.chain_id;
    let signed =
        tokio::task::spawn_blocking(move || ledger::admit(signed, &chain_id, Default::default()));
    let signed = signed.await.map_err(|_| unexpected())?;
    let signed = signed.map_err(|error| ledger_service::refusal(&error.into()))?;
    let submission = Submission {
        signed,
        job: None,
        owner: None,
        caller: Some(renter),
        rental: Some(terms),
    };
    let command = ledger::Command::Submit(Box::new(submission));
    let index = match services.ledger.call(command).await? {
        ledger::Reply::Recorded { index, .. } => index,
        ledger::Reply::Refused(violation) => return Err(ledger_service::refusal(&violation)),
        ledger::Reply::Full => return Err(ledger_service::full()),
        _ => return Err(unexpected()),
    };
    Ok((answered(services, id).await?, index))
}

/// The rental that a lock is said to be for.
pub fn hint(
    given: Option<&v1::RentalTerms>,
    renter: Option<PublicKey>,
    now_ms: u64,
) -> Result<Option<RentalTerms>, ApiError> {
    let Some(given) = given else {
        return Ok(None);
    };
    let renter = renter.ok_or_else(|| {
        let message = "a lock for a rental needs the renter's token";
        ApiError::new(ErrorReason::TokenInvalid, message)
    })?;
    let extends = match given.extends_rental_id.as_str() {
        "" => None,
        id => Some(validate::rental_id(id)?),
    };
    Ok(Some(RentalTerms {
        new_id: RentalId::new(now_ms, shard_of(&renter), random_bytes()),
        extends,
        listing: validate::listing_id(&given.listing_id)?,
        renter,
        salt: salt(&given.salt)?,
        term_ms: term_ms(given.term)?,
        rate: given.hourly_rate_micro_ait,
    }))
}

/// Waits for what the engine says of a lock.
async fn answered(services: &Arc<Services>, lock: Hash) -> Result<v1::Rental, ApiError> {
    let end = Instant::now() + ANSWERED_WITHIN;
    loop {
        let command = Command::GetRental(RentalSelector::Lock(lock));
        if let Reply::Rental(Some(kept)) = services.call(command).await? {
            return Ok(message(&kept));
        }
        let store = services.ledger.store();
        if blocking(move || is_void(&store, &lock)).await? {
            let message = "the listing cannot be rented now, or not on these terms: somebody has it, its miner is away, or its price \
                           changed; the whole lock has returned";
            return Err(ApiError::new(ErrorReason::NotAvailable, message));
        }
        if Instant::now() >= end {
            let message = "the lock is recorded and the rental is not decided yet; ask again with the same transaction";
            return Err(ApiError::new(ErrorReason::Unavailable, message));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Whether a lock has returned whole.
fn is_void(store: &Arc<dyn Store>, lock: &Hash) -> Result<bool, StoreError> {
    let known = ledger_reads::transaction(store, lock)?;
    let resolution = known.and_then(|known| known.resolution);
    let record = resolution.and_then(|record| Record::decode(&record.leaf).ok());
    Ok(record.is_some_and(|record| {
        matches!(
            record.body,
            RecordBody::Void { .. } | RecordBody::Expire { .. }
        )
    }))
}

fn salt(bytes: &[u8]) -> Result<[u8; 32], ApiError> {
    bytes.try_into().map_err(|_| {
        let problem = format!("has {} bytes, takes 32 random ones", bytes.len());
        ApiError::field("salt", problem)
    })
}

fn term_ms(term: Option<prost_types::Duration>) -> Result<u64, ApiError> {
    let takes = "takes 1 minute to 30 days, in steps of 10 s";
    let term = term.ok_or_else(|| ApiError::field("term", takes))?;
    let whole = term.nanos == 0;
    let ms = u64::try_from(term.seconds)
        .ok()
        .and_then(|s| s.checked_mul(1_000));
    ms.filter(|ms| whole && (TERM_MS.0..=TERM_MS.1).contains(ms) && ms % BEAT_MS == 0)
        .ok_or_else(|| ApiError::field("term", takes))
}

/// The lock, which must be for these terms: others would return at once.
fn lock(
    services: &Services,
    stored: &[u8],
    terms: &RentalTerms,
) -> Result<SignedTransaction, ApiError> {
    let wrong = |problem: &str| ApiError::field("transaction", problem);
    let signed = SignedTransaction::decode(stored).map_err(|error| wrong(&error.to_string()))?;
    let transaction = &signed.transaction;
    let lock = LockTerms::decode(&signed.payload).map_err(|error| wrong(&error.to_string()))?;
    if transaction.kind != TransactionKind::Lock || lock.purpose != LockPurpose::Rental {
        return Err(wrong("is no lock for a rental"));
    }
    if transaction.target != terms.reference(&services.network.chain_id) {
        return Err(wrong(
            "is for other terms than these: its target is not their rental_ref",
        ));
    }
    let known = services.context.hub.board.offers().get(terms.listing);
    let (listing, _) = known.ok_or_else(|| {
        let message = format!("no listing {}; it may have been withdrawn", terms.listing);
        ApiError::new(ErrorReason::ListingNotFound, message)
    })?;
    if listing.provider == terms.renter {
        let message = "this is your own GPU: jobs of your own run there without a rental";
        return Err(ApiError::new(ErrorReason::NotAvailable, message));
    }
    if lock.miner_key != listing.provider {
        return Err(wrong(
            "pays another miner than the one that serves the listing",
        ));
    }
    Ok(signed)
}

/// A rental of which the caller is one of the two parties.
pub async fn get(
    services: &Arc<Services>,
    caller: PublicKey,
    id: RentalId,
) -> Result<v1::Rental, ApiError> {
    let command = Command::GetRental(RentalSelector::Id(id));
    if let Reply::Rental(Some(kept)) = services.call(command).await?
        && (kept.rental.renter == caller || kept.rental.provider == caller)
    {
        return Ok(message(&kept));
    }
    let store = services.ledger.store();
    let name = keys::rental(&caller, id);
    let stored = blocking(move || store.get_many(&[(Family::Archive, name.as_slice())])).await?;
    let kept = stored.into_iter().next().flatten().map(read).transpose();
    let kept = kept.map_err(|_| unexpected())?;
    kept.map(|kept| message(&kept)).ok_or_else(|| unknown(id))
}

/// Gives a rental back.
pub async fn release(
    services: &Arc<Services>,
    renter: PublicKey,
    id: RentalId,
) -> Result<v1::Rental, ApiError> {
    match services.call(Command::ReleaseRental { renter, id }).await {
        Ok(Reply::Rental(Some(kept))) => Ok(message(&kept)),
        Ok(_) => Err(unexpected()),
        // Idempotent: one that is over already is told as it ended.
        Err(refused) => get(services, renter, id).await.map_err(|_| refused),
    }
}

/// Begins the token of a page that goes on among the rentals under way.
const UNDER_WAY: &str = "under_way:";

/// Where a page begins: among the rentals under way, after one of them where it says so, or behind them in the archive.
enum Begin {
    UnderWay(Option<RentalId>),
    Archive(RentalId),
}

fn begin(token: &str) -> Result<Begin, ApiError> {
    let id = |text: &str| text.parse().map_err(|_| validate::bad_page_token());
    Ok(match token.strip_prefix(UNDER_WAY) {
        Some(last) => Begin::UnderWay(Some(id(last)?)),
        None if token.is_empty() => Begin::UnderWay(None),
        None => Begin::Archive(id(token)?),
    })
}

/// A page of the caller's rentals: those under way, then those that are over, the newest first of each.
pub async fn list(
    services: &Arc<Services>,
    caller: PublicKey,
    request: &v1::ListRentalsRequest,
) -> Result<v1::ListRentalsResponse, ApiError> {
    let limit = validate::page_size(request.page_size, 50)?;
    let prefix = keys::rentals_of(&caller);
    let end = keys::prefix_end(&prefix);
    let (mut found, begin) = match begin(&request.page_token)? {
        Begin::Archive(id) => {
            let mut begin = keys::rental(&caller, id);
            begin.push(0);
            (Vec::new(), begin)
        }
        Begin::UnderWay(after) => {
            let Reply::Rentals(mut live) = services.call(Command::ListRentals { caller }).await?
            else {
                return Err(unexpected());
            };
            live.retain(|kept| after.is_none_or(|after| kept.rental.id < after));
            live.sort_unstable_by_key(|kept| Reverse(kept.rental.id));
            (live, prefix)
        }
    };
    let mut more = found.len() > limit;
    found.truncate(limit);
    let under_way = found.len();
    if !more {
        let store = services.ledger.store();
        let room = limit - under_way;
        // One at least, to know whether another page follows.
        let page = blocking(move || store.scan(Family::Archive, &begin..&end, room.max(1))).await?;
        more = page.next.is_some() || page.rows.len() > room;
        for (_, value) in page.rows.into_iter().take(room) {
            found.push(read(value).map_err(|_| unexpected())?);
        }
    }
    let token = found.last().filter(|_| more).map(|last| {
        let is_under_way = found.len() == under_way;
        let begin = if is_under_way { UNDER_WAY } else { "" };
        format!("{begin}{}", last.rental.id)
    });
    Ok(v1::ListRentalsResponse {
        rentals: found.iter().map(message).collect(),
        next_page_token: token.unwrap_or_default(),
    })
}

fn unknown(id: RentalId) -> ApiError {
    let message = format!("{id} is no rental of yours");
    ApiError::new(ErrorReason::RentalNotFound, message)
}

fn message(kept: &Kept) -> v1::Rental {
    let rental = &kept.rental;
    let status = match rental.end {
        None => RentalStatus::Active,
        Some(_) if kept.is_settled() => RentalStatus::Ended,
        Some(_) => RentalStatus::Settling,
    };
    let end = match kept.end() {
        None => RentalEnd::Unspecified,
        Some(End::Term) => RentalEnd::Term,
        Some(End::Released) => RentalEnd::Released,
        Some(End::ProviderGone) => RentalEnd::ProviderGone,
    };
    let terms = rental.terms.iter().zip(&kept.paid);
    let terms = terms.map(|(term, paid)| v1::RentalTerm {
        rental_ref: Bytes::copy_from_slice(&term.rental_ref),
        transaction_id: Bytes::copy_from_slice(&term.lock),
        payer: Bytes::copy_from_slice(&term.payer.0),
        locked_micro_ait: term.amount,
        hourly_rate_micro_ait: term.rate,
        ends_at: timestamp(term.ends_ms),
        counted: Some(duration(term.counted_ms)),
        billed: Some(duration(term.billed_ms)),
        payments: paid.payments.into(),
        paid_micro_ait: paid.posted,
        fee_micro_ait: paid.fee,
        returned_micro_ait: paid.returned,
    });
    v1::Rental {
        rental_id: rental.id.to_string(),
        listing_id: rental.listing.to_string(),
        gpu_model: rental.gpu.to_string(),
        provider_key: Bytes::copy_from_slice(&rental.provider.0),
        miner_id: rental.miner.to_string(),
        renter_key: Bytes::copy_from_slice(&rental.renter.0),
        status: status.into(),
        end: end.into(),
        began_at: timestamp(rental.began_ms),
        ends_at: timestamp(rental.ends_ms()),
        ended_at: rental.end.and_then(|(_, at)| timestamp(at)),
        terms: terms.collect(),
        away_since: rental.away_since.and_then(timestamp),
    }
}
