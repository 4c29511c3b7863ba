//! Listings and offers as documents, lines and tables.

use aitbc_common::address::Address;
use aitbc_common::gpus::short_name;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::{Listing, Offer, OfferState};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::json::{ait, enum_value, key_or_null, text_or_null, time, timestamp_ms};
use super::miner::speed;
use super::{short_id, table};

/// A listing, as its owner sees it.
pub fn listing_json(offer: &Offer) -> Value {
    let listing = offer.listing.clone().unwrap_or_default();
    json!({
        "listing_id": listing.listing_id,
        "status": "live",
        "gpu_model": listing.gpu_model,
        "vram_gib": vram(&listing),
        "count": listing.count,
        "hourly_rate_ait": ait(listing.hourly_rate_micro_ait),
        "region": text_or_null(&listing.region),
        "source": enum_value!(GpuSource, "GPU_SOURCE_", listing.source),
        "miner_id": text_or_null(&offer.miner_id),
        "miner_status": state_json(offer),
        "rented_until": time(offer.rented_until.as_ref()),
        "created_at": time(listing.created_at.as_ref()),
        "updated_at": time(listing.updated_at.as_ref()),
    })
}

/// An offer, as others see it.
pub fn offer_json(offer: &Offer) -> Value {
    let listing = offer.listing.clone().unwrap_or_default();
    let address = <[u8; 20]>::try_from(&offer.payout_address[..]).ok();
    json!({
        "listing_id": listing.listing_id,
        "gpu_model": listing.gpu_model,
        "vram_gib": vram(&listing),
        "count": listing.count,
        "region": text_or_null(&listing.region),
        "source": enum_value!(GpuSource, "GPU_SOURCE_", listing.source),
        "provider": text_or_null(&offer.provider_name),
        "provider_key": key_or_null(&listing.provider_key),
        "provider_address": address.map(|bytes| Address(bytes).to_string()),
        "miner_id": text_or_null(&offer.miner_id),
        "reputation": f64::from(offer.reputation_ppm) / 1e6,
        "settled_jobs": offer.settled_jobs,
        "hourly_rate_ait": ait(listing.hourly_rate_micro_ait),
        "price_per_million_tokens_ait": offer.price_per_million_tokens_micro_ait.map(ait),
        "fastest_model": text_or_null(&offer.fastest_model),
        "output_tokens_per_second": speed(offer.output_speed),
        "state": state_json(offer),
        "rented_until": time(offer.rented_until.as_ref()),
        "away_since": time(offer.away_since.as_ref()),
    })
}

fn state_json(offer: &Offer) -> Value {
    enum_value!(OfferState, "OFFER_STATE_", offer.state)
}

fn vram(listing: &Listing) -> Value {
    if listing.vram_gib == 0 {
        Value::Null
    } else {
        listing.vram_gib.into()
    }
}

/// `NVIDIA GeForce RTX 4090, 24 GiB, 0.5 AIT/hour (market median 0.45)     miner rig-1: away; …`.
pub fn offer_summary(offer: &Offer, miner: &str, median: Option<MicroAit>) -> String {
    let listing = offer.listing.clone().unwrap_or_default();
    let count = match listing.count {
        1 => String::new(),
        count => format!("{count}x "),
    };
    let vram = match listing.vram_gib {
        0 => String::new(),
        gib => format!(", {gib} GiB"),
    };
    let region = match listing.region.as_str() {
        "" => String::new(),
        region => format!(", {region}"),
    };
    let median = median.map_or_else(String::new, |median| format!(" (market median {median})"));
    let option = if miner == "rig-1" {
        String::new()
    } else {
        format!(" --miner {miner}")
    };
    let serve =
        format!("to rent it out run: aitbc miner mine-ollama --model llama3 --continuous{option}");
    let state = match offer.state() {
        OfferState::Free => "can be rented now".to_owned(),
        OfferState::NoMiner => format!("not registered yet; {serve}"),
        OfferState::Away => format!("away; {serve}"),
        OfferState::Paused => format!("paused; to rent it out run: aitbc miner resume{option}"),
        OfferState::Rented | OfferState::Unspecified => state_text(offer),
    };
    format!(
        "{count}{}{vram}, {} AIT/hour{median}{region}     miner {miner}: {state}",
        listing.gpu_model,
        MicroAit(listing.hourly_rate_micro_ait),
    )
}

/// `free`, `rented until …`, `away since …`.
pub fn state_text(offer: &Offer) -> String {
    let at = |time: &Option<Timestamp>| {
        let time = time.as_ref().map(|time| rfc3339_ms(timestamp_ms(time)));
        time.and_then(|text| Some(format!("{}Z", text.get(..16)?.replace('T', " "))))
    };
    match offer.state() {
        OfferState::Free => "free".to_owned(),
        OfferState::Rented => match at(&offer.rented_until) {
            Some(until) => format!("rented until {until}"),
            None => "rented".to_owned(),
        },
        OfferState::Away => match at(&offer.away_since) {
            Some(since) => format!("away since {since}"),
            None => "away".to_owned(),
        },
        OfferState::Paused => "paused".to_owned(),
        OfferState::NoMiner => "no miner yet".to_owned(),
        OfferState::Unspecified => "–".to_owned(),
    }
}

const HEADER: [&str; 9] = [
    "LISTING",
    "GPU",
    ">VRAM",
    "PROVIDER",
    "REPUTATION",
    ">AIT/HOUR",
    ">AIT/1M TOK",
    "REGION",
    "STATE",
];

/// Offers with full ids where the terminal is wide enough.
pub fn offers_table(offers: &[Offer]) -> String {
    let rows = |full| table::render(&HEADER, offers.iter().map(|o| row(o, full)).collect());
    table::first_that_fits(rows(true), || rows(false))
}

fn row(offer: &Offer, full_id: bool) -> Vec<String> {
    let listing = offer.listing.clone().unwrap_or_default();
    let or_dash = |text: String| {
        if text.is_empty() {
            "–".to_owned()
        } else {
            text
        }
    };
    let gpu = short_name(&listing.gpu_model);
    let jobs = match offer.settled_jobs {
        0 => "no jobs".to_owned(),
        1 => "1 job".to_owned(),
        jobs => format!("{jobs} jobs"),
    };
    vec![
        if full_id {
            listing.listing_id.clone()
        } else {
            short_id(&listing.listing_id)
        },
        match listing.count {
            1 => gpu.to_owned(),
            count => format!("{count}x {gpu}"),
        },
        match listing.vram_gib {
            0 => "–".to_owned(),
            gib => format!("{gib} GiB"),
        },
        or_dash(offer.provider_name.clone()),
        format!("{:.3} ({jobs})", f64::from(offer.reputation_ppm) / 1e6),
        MicroAit(listing.hourly_rate_micro_ait).to_string(),
        offer
            .price_per_million_tokens_micro_ait
            .map_or_else(|| "–".to_owned(), |price| MicroAit(price).to_string()),
        or_dash(listing.region.clone()),
        state_text(offer),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(state: OfferState) -> Offer {
        Offer {
            listing: Some(Listing {
                listing_id: "listing_01m83xj880e4ma4jz41b93y214".into(),
                gpu_model: "NVIDIA GeForce RTX 4090".into(),
                vram_gib: 24,
                count: 1,
                hourly_rate_micro_ait: 500_000,
                source: 2,
                ..Default::default()
            }),
            state: state.into(),
            reputation_ppm: 25_000,
            ..Default::default()
        }
    }

    #[test]
    fn what_is_not_known_is_null_or_a_dash() {
        let document = offer_json(&offer(OfferState::NoMiner));
        for absent in [
            "provider",
            "provider_address",
            "region",
            "price_per_million_tokens_ait",
            "away_since",
        ] {
            assert_eq!(document[absent], Value::Null, "{absent}");
        }
        assert_eq!(document["state"], "no_miner");
        assert_eq!(document["reputation"], 0.025);
        let table = offers_table(&[offer(OfferState::NoMiner)]);
        assert!(
            table.contains("RTX 4090") && table.contains("0.025 (no jobs)"),
            "{table}"
        );
        assert!(table.contains("no miner yet"), "{table}");
    }

    #[test]
    fn a_listing_says_how_it_is_rented_out() {
        let away = offer_summary(&offer(OfferState::Away), "rig-2", Some(MicroAit(450_000)));
        assert!(
            away.contains("NVIDIA GeForce RTX 4090, 24 GiB, 0.5 AIT/hour (market median 0.45)"),
            "{away}"
        );
        assert!(
            away.contains("mine-ollama") && away.contains("--miner rig-2"),
            "{away}"
        );
        let free = offer_summary(&offer(OfferState::Free), "rig-1", None);
        assert!(free.ends_with("miner rig-1: can be rented now"), "{free}");
    }

    #[test]
    fn times_of_a_state_are_short_and_utc() {
        let mut rented = offer(OfferState::Rented);
        rented.rented_until = Some(Timestamp {
            seconds: 1_795_428_000,
            nanos: 0,
        });
        assert_eq!(state_text(&rented), "rented until 2026-11-23 10:00Z");
    }
}
