//! Offers as messages, and tokens of their pages.

use aitbc_common::hash::sha256;
use aitbc_common::ids::ListingId;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, GpuSource, OfferState};
use bytes::Bytes;
use prost::Message;

use super::convert::timestamp;
use super::validate::bad_page_token;
use crate::market::listing::{Listing, State};
use crate::market::offers::{Known, Place, effective_price};

/// A listing with what is known of its provider.
pub fn offer(listing: &Listing, known: &Known) -> v1::Offer {
    let mut offer = v1::Offer {
        listing: Some(message(listing)),
        state: state(known).into(),
        rented_until: known.rented_until.and_then(timestamp),
        reputation_ppm: known.reputation.ppm,
        settled_jobs: known.reputation.settled,
        ..v1::Offer::default()
    };
    let Some(miner) = &known.miner else {
        return offer;
    };
    if let State::Away(since) = miner.state {
        offer.away_since = timestamp(since);
    }
    offer.miner_id = miner.miner_id.to_string();
    offer.provider_name = miner.name.to_string();
    offer.payout_address = Bytes::copy_from_slice(&miner.payee);
    if let Some(fastest) = &miner.fastest {
        offer.output_speed = fastest.speed;
        offer.fastest_model = fastest.model.to_string();
        offer.price_per_million_tokens_micro_ait = effective_price(listing, known);
    }
    offer
}

fn state(known: &Known) -> OfferState {
    match &known.miner {
        None => OfferState::NoMiner,
        Some(_) if known.rented_until.is_some() => OfferState::Rented,
        Some(miner) => match miner.state {
            State::Free => OfferState::Free,
            State::Paused => OfferState::Paused,
            State::Away(_) => OfferState::Away,
        },
    }
}

fn message(listing: &Listing) -> v1::Listing {
    let source = if listing.detected {
        GpuSource::Detected
    } else {
        GpuSource::Declared
    };
    v1::Listing {
        listing_id: listing.id.to_string(),
        provider_key: Bytes::copy_from_slice(&listing.provider.0),
        gpu_model: listing.gpu.to_string(),
        vram_gib: listing.terms.vram_gib,
        count: listing.terms.count,
        hourly_rate_micro_ait: listing.terms.rate,
        region: listing.terms.region.to_string(),
        source: source.into(),
        created_at: timestamp(listing.created_ms),
        updated_at: timestamp(listing.updated_ms),
    }
}

/// The token of the page that follows this place, for the same question.
pub fn token(request: &v1::ListOffersRequest, (key, id): Place) -> String {
    let mut bytes = question(request).to_vec();
    bytes.extend(key.to_be_bytes());
    bytes.extend(id.0);
    hex::encode(bytes)
}

/// Where the page goes on that was asked for; `None` = the first.
pub fn place(request: &v1::ListOffersRequest) -> Result<Option<Place>, ApiError> {
    if request.page_token.is_empty() {
        return Ok(None);
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(&request.page_token, &mut bytes).map_err(|_| bad_page_token())?;
    let (asked, rest) = bytes.split_at(8);
    if asked != question(request) {
        return Err(bad_page_token());
    }
    let (key, id) = rest.split_at(8);
    let key = key.try_into().map_err(|_| bad_page_token())?;
    let id = id.try_into().map_err(|_| bad_page_token())?;
    Ok(Some((u64::from_be_bytes(key), ListingId(id))))
}

/// Of everything that must be the same for all pages.
fn question(request: &v1::ListOffersRequest) -> [u8; 8] {
    let asked = v1::ListOffersRequest {
        page_size: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let hash = sha256(&asked.encode_to_vec());
    hash.first_chunk().copied().unwrap_or_default()
}
