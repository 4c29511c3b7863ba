//! Prices and reputations as messages.

use std::collections::BTreeSet;

use aitbc_common::hash::sha256;
use aitbc_common::identity::PublicKey;
use aitbc_common::market::book::Counted;
use aitbc_common::market::day_of;
use aitbc_common::market::pricing::{
    Kept, LEAST_OWNERS, OfferStatistics, Percentiles, Settled, Suggestion, suggest, utilisation_bps,
};
use aitbc_common::market::reputation::{ClientTerms, Explanation};
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1;
use bytes::Bytes;
use prost_types::Timestamp;

use super::validate_listing::warning_of;
use crate::market::{Board, SharedBook, book_rows};
use crate::store::{Store, StoreError};

/// Days of a window, at most, and where nothing else is asked for.
const MOST_DAYS: u32 = 30;
/// Clients, and records, that are told of.
const TOLD: usize = 1_000;
const DAY_S: i64 = 86_400;

/// The days of a window.
pub fn window_days(given: u32) -> Result<u32, ApiError> {
    match given {
        0 => Ok(MOST_DAYS),
        1..=MOST_DAYS => Ok(given),
        _ => Err(ApiError::field(
            "window_days",
            format!("is {given}, takes 1 to {MOST_DAYS}"),
        )),
    }
}

/// What a GPU model costs.
pub fn pricing(
    board: &Board,
    book: &SharedBook,
    gpu: &str,
    now_ms: u64,
    days: u32,
) -> v1::GetPricingResponse {
    let today = day_of(now_ms);
    let hash = sha256(gpu.as_bytes());
    let offers = board.offers().statistics(gpu);
    let (settled, medians, live_ms) = {
        let kept = book.read();
        let trades = kept.book.trades.get(&hash);
        (
            trades.map_or_else(Settled::default, |trades| trades.settled(today, days)),
            trades.map_or_else(
                || vec![None; MOST_DAYS as usize],
                |trades| trades.daily_medians(today),
            ),
            kept.live.of(&hash, today, days),
        )
    };
    let utilisation = utilisation_bps(settled.billed_ms, live_ms);
    let suggestion = suggest(&settled, offers.as_ref(), utilisation);
    response(
        gpu,
        days,
        today,
        &Found {
            settled,
            offers,
            utilisation,
            suggestion,
            medians,
        },
    )
}

/// Adds to a quote what the market pays for the GPUs in it, and how a price limit compares with that.
pub fn quote(
    board: &Board,
    book: &SharedBook,
    now_ms: u64,
    limit: Option<u64>,
    quote: &mut v1::ExplainJobResponse,
) {
    let miners = quote.miners.iter().map(|miner| &miner.gpu_model);
    let gpus: BTreeSet<&String> = miners.chain([&quote.least_max_price_gpu_model]).collect();
    let named = gpus.into_iter().filter(|gpu| !gpu.is_empty());
    quote.prices = named
        .map(|gpu| pricing(board, book, gpu, now_ms, MOST_DAYS))
        .collect();
    let Some(limit) = limit else { return };
    let low = quote
        .prices
        .iter()
        .filter_map(|price| below_market(price, limit));
    quote.warnings.extend(low);
}

/// What to know of a limit that is below what nine of ten were paid.
fn below_market(price: &v1::GetPricingResponse, limit: u64) -> Option<v1::Warning> {
    let trades = price.trades.as_ref().filter(|_| price.sufficient)?;
    let range = trades.range.as_ref()?;
    let suggested = price.suggested_micro_ait?;
    (limit < range.p10_micro_ait).then(|| {
        let message = format!(
            "at most {} AIT/hour is below what nine in ten were paid for a {}: {} or more, {} in the middle; the market suggests {}",
            MicroAit(limit),
            price.gpu_model,
            MicroAit(range.p10_micro_ait),
            MicroAit(range.median_micro_ait),
            MicroAit(suggested),
        );
        warning_of(v1::ErrorReason::PriceBelowMarket, message)
    })
}

struct Found {
    settled: Settled,
    offers: Option<OfferStatistics>,
    utilisation: Option<u16>,
    suggestion: Suggestion,
    medians: Vec<Option<u64>>,
}

fn response(gpu: &str, days: u32, today: u32, found: &Found) -> v1::GetPricingResponse {
    let settled = &found.settled;
    let first = (today + 1).saturating_sub(u32::try_from(found.medians.len()).unwrap_or(0));
    let medians = (first..)
        .zip(&found.medians)
        .map(|(day, median)| v1::DailyMedian {
            day: Some(beginning(day)),
            median_micro_ait: *median,
        });
    v1::GetPricingResponse {
        gpu_model: gpu.to_owned(),
        window_days: days,
        offers: found.offers.as_ref().map(offer_statistics),
        trades: (settled.trades > 0).then(|| trade_statistics(settled)),
        suggested_micro_ait: found.suggestion.rate,
        sufficient: settled.is_sufficient(),
        weighty_owners: small(settled.weighty_owners),
        least_owners: small(LEAST_OWNERS),
        utilisation_bps: found.utilisation.map(u32::from),
        adjustment_bps: found.suggestion.adjustment_bps.into(),
        daily_medians: medians.collect(),
        warnings: Vec::new(),
    }
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn offer_statistics(offers: &OfferStatistics) -> v1::OfferStatistics {
    v1::OfferStatistics {
        offers: offers.count,
        range: Some(range(
            offers.min,
            offers.max,
            offers.mean,
            &offers.percentiles,
        )),
    }
}

fn trade_statistics(settled: &Settled) -> v1::TradeStatistics {
    let kept = settled.kept.as_ref();
    let buckets = kept.into_iter().flat_map(|kept| &kept.histogram);
    v1::TradeStatistics {
        trades: settled.trades,
        kept_trades: kept.map_or(0, |kept| kept.trades),
        owners: settled.owners,
        scaled_owners: settled.scaled_owners,
        providers: settled.providers,
        fee_micro_ait: settled.weight,
        billed_ms: settled.billed_ms,
        range: kept.map(|kept| range(kept.min, kept.max, kept.mean, &kept.percentiles)),
        deviation_micro_ait: kept.map_or(0, |kept: &Kept| kept.deviation),
        histogram: buckets
            .map(|bucket| v1::PriceBucket {
                from_micro_ait: bucket.from,
                to_micro_ait: bucket.to,
                trades: bucket.trades,
                weight_micro_ait: bucket.weight,
            })
            .collect(),
    }
}

fn range(min: u64, max: u64, mean: u64, percentiles: &Percentiles) -> v1::PriceRange {
    let [p10, p25, median, p75, p90] = percentiles.0;
    v1::PriceRange {
        min_micro_ait: min,
        max_micro_ait: max,
        mean_micro_ait: mean,
        p10_micro_ait: p10,
        p25_micro_ait: p25,
        median_micro_ait: median,
        p75_micro_ait: p75,
        p90_micro_ait: p90,
    }
}

/// A miner's reputation, with what it rests on where that is asked for. Reads the store then.
pub fn reputation(
    store: &std::sync::Arc<dyn Store>,
    book: &SharedBook,
    miner: PublicKey,
    now_ms: u64,
    explain: bool,
) -> Result<v1::GetReputationResponse, StoreError> {
    let today = day_of(now_ms);
    let (score, paid, log_size, explanation) = {
        let kept = book.read();
        let reputations = &kept.book.reputations;
        (
            reputations.score(&miner, today),
            kept.book.paid.get(&miner).copied().unwrap_or(0),
            kept.log_size(),
            explain.then(|| reputations.explain(&miner, today)),
        )
    };
    let mut response = v1::GetReputationResponse {
        miner_key: Bytes::copy_from_slice(&miner.0),
        reputation_ppm: score.ppm(),
        success: score.success,
        fault: score.fault,
        settled_jobs: paid,
        day: Some(beginning(today)),
        log_size,
        ..v1::GetReputationResponse::default()
    };
    if let Some(Explanation { clients, .. }) = explanation {
        response.clients = clients.iter().take(TOLD).map(client).collect();
        let records = book_rows::counted(store, &miner, TOLD)?;
        response.records = records.iter().map(record).collect();
    }
    Ok(response)
}

fn client(terms: &ClientTerms) -> v1::ReputationClient {
    let days = terms.days.iter().map(|day| v1::ReputationDay {
        day: Some(beginning(day.sums.day)),
        success: day.sums.success.into(),
        fault: day.sums.fault.into(),
        faded_success: day.faded.success,
        faded_fault: day.faded.fault,
    });
    v1::ReputationClient {
        client: Bytes::copy_from_slice(&terms.client.0),
        success: terms.all.success,
        fault: terms.all.fault,
        days: days.collect(),
    }
}

fn record(counted: &Counted) -> v1::ReputationRecord {
    v1::ReputationRecord {
        index: counted.index,
        client: Bytes::copy_from_slice(&counted.client.0),
        success: counted.success.into(),
        fault: counted.fault.into(),
    }
}

fn beginning(day: u32) -> Timestamp {
    Timestamp {
        seconds: i64::from(day) * DAY_S,
        nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_the_lowest_decile_is_told_the_figures() {
        let mut price = v1::GetPricingResponse {
            gpu_model: "A".into(),
            sufficient: true,
            suggested_micro_ait: Some(450_000),
            trades: Some(v1::TradeStatistics {
                range: Some(v1::PriceRange {
                    p10_micro_ait: 300_000,
                    median_micro_ait: 500_000,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let told = below_market(&price, 299_999).expect("a warning");
        assert_eq!(told.reason(), v1::ErrorReason::PriceBelowMarket);
        for part in [
            "0.299999",
            "0.3 or more",
            "0.5 in the middle",
            "suggests 0.45",
        ] {
            assert!(told.message.contains(part), "{part}: {}", told.message);
        }
        assert_eq!(below_market(&price, 300_000), None);
        price.sufficient = false;
        assert_eq!(
            below_market(&price, 1),
            None,
            "nothing is claimed of too few trades"
        );
    }
}
