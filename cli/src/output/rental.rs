//! Rentals as documents, lines and tables.

use aitbc_common::address::Address;
use aitbc_common::gpus::short_name;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::{Rental, RentalTerm};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::json::{
    ait, duration_ms, enum_value, hash_or_null, hex_or_null, key_or_null, seconds, text_of, time,
    timestamp_ms,
};
use super::{short_id, table};

/// All of it.
pub fn rental_json(rental: &Rental) -> Value {
    let sum = |of: fn(&RentalTerm) -> u64| rental.terms.iter().map(of).fold(0, u64::saturating_add);
    json!({
        "rental_id": rental.rental_id,
        "listing_id": rental.listing_id,
        "gpu_model": rental.gpu_model,
        "provider_key": key_or_null(&rental.provider_key),
        "miner_id": rental.miner_id,
        "renter_key": key_or_null(&rental.renter_key),
        "status": enum_value!(RentalStatus, "RENTAL_STATUS_", rental.status),
        "end": enum_value!(RentalEnd, "RENTAL_END_", rental.end),
        "began_at": time(rental.began_at.as_ref()),
        "ends_at": time(rental.ends_at.as_ref()),
        "ended_at": time(rental.ended_at.as_ref()),
        "away_since": time(rental.away_since.as_ref()),
        "locked_ait": ait(sum(|term| term.locked_micro_ait)),
        "paid_ait": ait(sum(|term| term.paid_micro_ait)),
        "fee_ait": ait(sum(|term| term.fee_micro_ait)),
        "returned_ait": ait(sum(|term| term.returned_micro_ait)),
        "terms": rental.terms.iter().map(term_json).collect::<Value>(),
    })
}

fn term_json(term: &RentalTerm) -> Value {
    let payer = <[u8; 20]>::try_from(&term.payer[..]).ok();
    json!({
        "rental_ref": hash_or_null(&term.rental_ref),
        "tx_hash": hex_or_null(&term.transaction_id),
        "payer": payer.map(|bytes| Address(bytes).to_string()),
        "locked_ait": ait(term.locked_micro_ait),
        "hourly_rate_ait": ait(term.hourly_rate_micro_ait),
        "ends_at": time(term.ends_at.as_ref()),
        "counted_seconds": seconds(term.counted.as_ref()),
        "billed_seconds": seconds(term.billed.as_ref()),
        "payments": term.payments,
        "paid_ait": ait(term.paid_micro_ait),
        "fee_ait": ait(term.fee_micro_ait),
        "returned_ait": ait(term.returned_micro_ait),
    })
}

/// `active`, `ended (released)`.
fn state(rental: &Rental) -> String {
    let status = text_of(&enum_value!(RentalStatus, "RENTAL_STATUS_", rental.status));
    match enum_value!(RentalEnd, "RENTAL_END_", rental.end) {
        Value::Null => status,
        end => format!("{status} ({})", text_of(&end).replace('_', " ")),
    }
}

fn at(time: Option<&Timestamp>) -> String {
    let text = time.map(|time| rfc3339_ms(timestamp_ms(time)));
    let short = text.and_then(|text| Some(format!("{}Z", text.get(..19)?.replace('T', " "))));
    short.unwrap_or_else(|| "–".to_owned())
}

/// What counted so far, paid for or not, in whole seconds.
fn counted_s(rental: &Rental) -> u64 {
    let of = |term: &RentalTerm| {
        let ms = |time: &Option<prost_types::Duration>| time.as_ref().map_or(0, duration_ms);
        ms(&term.counted).saturating_add(ms(&term.billed))
    };
    rental.terms.iter().map(of).fold(0, u64::saturating_add) / 1_000
}

/// A few lines.
pub fn rental_text(rental: &Rental) -> String {
    let rate = rental
        .terms
        .last()
        .map_or(0, |term| term.hourly_rate_micro_ait);
    let sum = |of: fn(&RentalTerm) -> u64| {
        MicroAit(rental.terms.iter().map(of).fold(0, u64::saturating_add))
    };
    let mut text = format!(
        "  {}, {} AIT/hour, {}\n  from         {} until {}",
        rental.gpu_model,
        MicroAit(rate),
        state(rental),
        at(rental.began_at.as_ref()),
        at(rental.ended_at.as_ref().or(rental.ends_at.as_ref())),
    );
    if rental.away_since.is_some() {
        text.push_str(&format!(
            "; its provider is away since {}",
            at(rental.away_since.as_ref())
        ));
    }
    let (counted, paid) = (counted_s(rental), sum(|term| term.paid_micro_ait));
    if counted > 0 || paid.0 > 0 {
        text.push_str(&format!(
            "\n  counted      {counted} s, {paid} AIT paid so far"
        ));
        let returned = sum(|term| term.returned_micro_ait);
        if returned.0 > 0 {
            text.push_str(&format!(", {returned} AIT returned"));
        }
    }
    text
}

const HEADER: [&str; 7] = [
    "RENTAL",
    "GPU",
    "STATE",
    "FROM",
    "UNTIL",
    ">COUNTED",
    ">PAID AIT",
];

/// Rentals with full ids where the terminal is wide enough.
pub fn rentals_table(rentals: &[Rental]) -> String {
    let rows = |full| table::render(&HEADER, rentals.iter().map(|r| row(r, full)).collect());
    table::first_that_fits(rows(true), || rows(false))
}

fn row(rental: &Rental, full_id: bool) -> Vec<String> {
    let paid = rental.terms.iter().map(|term| term.paid_micro_ait);
    vec![
        if full_id {
            rental.rental_id.clone()
        } else {
            short_id(&rental.rental_id)
        },
        short_name(&rental.gpu_model).to_owned(),
        state(rental),
        at(rental.began_at.as_ref()),
        at(rental.ended_at.as_ref().or(rental.ends_at.as_ref())),
        format!("{} s", counted_s(rental)),
        MicroAit(paid.fold(0, u64::saturating_add)).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rental_says_what_counted_and_why_it_is_over() {
        let term = RentalTerm {
            locked_micro_ait: 1_000_000,
            hourly_rate_micro_ait: 500_000,
            billed: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            payments: 1,
            paid_micro_ait: 8_334,
            returned_micro_ait: 991_666,
            ..Default::default()
        };
        let rental = Rental {
            rental_id: "rental_x".into(),
            gpu_model: "NVIDIA GeForce RTX 4090".into(),
            status: 3,
            end: 2,
            terms: vec![term],
            ..Default::default()
        };
        let text = rental_text(&rental);
        assert!(text.contains("0.5 AIT/hour, ended (released)"), "{text}");
        assert!(
            text.contains("60 s, 0.008334 AIT paid so far, 0.991666 AIT returned"),
            "{text}"
        );
        let document = rental_json(&rental);
        assert_eq!(
            (&document["status"], &document["end"]),
            (&json!("ended"), &json!("released"))
        );
        assert_eq!(document["terms"][0]["billed_seconds"], 60);
        assert!(rentals_table(&[rental]).contains("RTX 4090"));
    }
}
