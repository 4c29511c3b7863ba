//! What a GPU model costs, as a document and as lines.

use aitbc_common::money::MicroAit;
use aitbc_proto::v1::{GetPricingResponse, PriceBucket, PriceRange};
use serde_json::{Value, json};

use super::json::{ait, time};

/// Characters of a histogram's longest bar.
const BAR: u64 = 30;
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// All of it. The figures at the top are those that the suggested price rests on.
pub fn pricing_json(pricing: &GetPricingResponse) -> Value {
    let range = rests_on(pricing);
    let of = |get: fn(&PriceRange) -> u64| range.map(|range| ait(get(range)));
    let trades = pricing.trades.as_ref();
    let paid_mean = trades.and_then(|trades| trades.range.as_ref());
    json!({
        "gpu_model": pricing.gpu_model,
        "average_ait": of(|range| range.mean_micro_ait),
        "median_ait": of(|range| range.median_micro_ait),
        "p10_ait": of(|range| range.p10_micro_ait),
        "p90_ait": of(|range| range.p90_micro_ait),
        "volume_weighted_ait": paid_mean.map(|range| ait(range.mean_micro_ait)),
        "suggested_ait": pricing.suggested_micro_ait.map(ait),
        "offers": pricing.offers.as_ref().map_or(0, |offers| offers.offers),
        "trades": trades.map_or(0, |trades| trades.trades),
        "owners": pricing.weighty_owners,
        "least_owners": pricing.least_owners,
        "sufficient": pricing.sufficient,
        "window_days": pricing.window_days,
        "utilisation": pricing.utilisation_bps.map(|bps| f64::from(bps) / 1e4),
        "adjustment": f64::from(pricing.adjustment_bps) / 1e4,
        "offer_statistics": pricing.offers.as_ref().and_then(|offers| offers.range.as_ref()).map(range_json),
        "trade_statistics": trades.map(|trades| json!({
            "kept_trades": trades.kept_trades,
            "owners": trades.owners,
            "scaled_owners": trades.scaled_owners,
            "providers": trades.providers,
            "fee_ait": ait(trades.fee_micro_ait),
            "billed_seconds": super::json::seconds_of_ms(trades.billed_ms),
            "deviation_ait": ait(trades.deviation_micro_ait),
            "range": trades.range.as_ref().map(range_json),
            "histogram": trades.histogram.iter().map(bucket_json).collect::<Value>(),
        })),
        "daily_medians": pricing.daily_medians.iter().map(|of| json!({
            "day": time(of.day.as_ref()),
            "median_ait": of.median_micro_ait.map(ait),
        })).collect::<Value>(),
    })
}

fn range_json(range: &PriceRange) -> Value {
    json!({
        "min_ait": ait(range.min_micro_ait),
        "max_ait": ait(range.max_micro_ait),
        "mean_ait": ait(range.mean_micro_ait),
        "p10_ait": ait(range.p10_micro_ait),
        "p25_ait": ait(range.p25_micro_ait),
        "median_ait": ait(range.median_micro_ait),
        "p75_ait": ait(range.p75_micro_ait),
        "p90_ait": ait(range.p90_micro_ait),
    })
}

fn bucket_json(bucket: &PriceBucket) -> Value {
    json!({
        "from_ait": ait(bucket.from_micro_ait),
        "to_ait": ait(bucket.to_micro_ait),
        "trades": bucket.trades,
        "weight_ait": ait(bucket.weight_micro_ait),
    })
}

/// What the suggested price rests on: the trades where they are enough, else the offers.
fn rests_on(pricing: &GetPricingResponse) -> Option<&PriceRange> {
    if pricing.sufficient {
        pricing.trades.as_ref()?.range.as_ref()
    } else {
        pricing.offers.as_ref()?.range.as_ref()
    }
}

/// A few lines; for a terminal with a histogram and the last 30 days as a sparkline.
pub fn pricing_text(pricing: &GetPricingResponse, drawn: bool) -> String {
    let offers = pricing.offers.as_ref().map_or(0, |offers| offers.offers);
    let trades = pricing.trades.as_ref().map_or(0, |trades| trades.trades);
    let insufficient = if pricing.sufficient {
        String::new()
    } else {
        format!(
            "   (insufficient data: {} of {} independent owners were paid)",
            pricing.weighty_owners, pricing.least_owners
        )
    };
    let mut text = format!("{}, AIT/hour{insufficient}", pricing.gpu_model);
    let basis = format!(
        "from {}, {} in {}",
        counted(offers, "offer"),
        counted(trades, "trade"),
        counted(pricing.window_days.into(), "day"),
    );
    match (rests_on(pricing), pricing.suggested_micro_ait) {
        (Some(range), Some(suggested)) => text.push_str(&format!(
            "\n  average {}   median {}   p10–p90 {}–{}   suggested {}       {basis}",
            MicroAit(range.mean_micro_ait),
            MicroAit(range.median_micro_ait),
            MicroAit(range.p10_micro_ait),
            MicroAit(range.p90_micro_ait),
            MicroAit(suggested),
        )),
        _ => text.push_str(&format!(
            "\n  no price: nobody offers it and nobody was paid for it       {basis}"
        )),
    }
    if let Some(bps) = pricing.utilisation_bps.filter(|_| pricing.sufficient) {
        text.push_str(&format!(
            "\n  listings were paid for {:.1} % of their time, which moves the median by {:+.2} %",
            f64::from(bps) / 100.0,
            f64::from(pricing.adjustment_bps) / 100.0,
        ));
    }
    if drawn {
        text.push_str(&histogram(pricing));
        text.push_str(&sparkline(pricing));
    }
    text
}

/// `1 offer`, `2 offers`.
fn counted(count: u64, what: &str) -> String {
    if count == 1 {
        format!("1 {what}")
    } else {
        format!("{count} {what}s")
    }
}

fn histogram(pricing: &GetPricingResponse) -> String {
    let trades = pricing.trades.as_ref();
    let buckets = trades.map_or(&[][..], |trades| &trades.histogram);
    let most = buckets.iter().map(|bucket| bucket.weight_micro_ait).max();
    let Some(most) = most.filter(|most| *most > 0) else {
        return String::new();
    };
    let mut text = "\n  paid".to_owned();
    for bucket in buckets {
        let scaled = u128::from(bucket.weight_micro_ait) * u128::from(BAR);
        let length = usize::try_from(scaled.div_ceil(u128::from(most))).unwrap_or(0);
        text.push_str(&format!(
            "\n    {:>10}  {}  {}",
            MicroAit(bucket.from_micro_ait).to_string(),
            "█".repeat(length),
            bucket.trades
        ));
    }
    text
}

/// The medians of the last days, a character each; a dot where nothing was paid.
fn sparkline(pricing: &GetPricingResponse) -> String {
    let medians: Vec<Option<u64>> = pricing
        .daily_medians
        .iter()
        .map(|of| of.median_micro_ait)
        .collect();
    let known = || medians.iter().flatten().copied();
    let (Some(least), Some(most)) = (known().min(), known().max()) else {
        return String::new();
    };
    let steps = STEPS.len() as u128 - 1;
    let step = |median: u64| {
        let above = u128::from(median - least) * steps;
        let place = above
            .checked_div(u128::from(most - least))
            .unwrap_or(steps / 2);
        STEPS[usize::try_from(place).unwrap_or(0)]
    };
    let line: String = medians
        .iter()
        .map(|median| median.map_or('·', step))
        .collect();
    format!(
        "\n  last {} days  {line}  {}–{}",
        medians.len(),
        MicroAit(least),
        MicroAit(most)
    )
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::{DailyMedian, OfferStatistics, TradeStatistics};

    use super::*;

    fn range(rate: u64) -> Option<PriceRange> {
        Some(PriceRange {
            min_micro_ait: rate,
            max_micro_ait: rate,
            mean_micro_ait: rate,
            p10_micro_ait: rate,
            p25_micro_ait: rate,
            median_micro_ait: rate,
            p75_micro_ait: rate,
            p90_micro_ait: rate,
        })
    }

    fn one_offer() -> GetPricingResponse {
        GetPricingResponse {
            gpu_model: "NVIDIA GeForce RTX 4090".into(),
            window_days: 30,
            offers: Some(OfferStatistics {
                offers: 1,
                range: range(500_000),
            }),
            suggested_micro_ait: Some(500_000),
            least_owners: 5,
            daily_medians: vec![DailyMedian::default(); 30],
            ..Default::default()
        }
    }

    #[test]
    fn an_offers_price_says_that_it_is_no_market_price() {
        let text = pricing_text(&one_offer(), true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "NVIDIA GeForce RTX 4090, AIT/hour   (insufficient data: 0 of 5 independent owners were paid)",
                "  average 0.5   median 0.5   p10–p90 0.5–0.5   suggested 0.5       from 1 offer, 0 trades in 30 days",
            ]
        );
        let document = pricing_json(&one_offer());
        assert_eq!(document["median_ait"], "0.500000");
        assert_eq!(document["volume_weighted_ait"], Value::Null);
        assert_eq!(
            (&document["offers"], &document["trades"]),
            (&json!(1), &json!(0))
        );
        assert_eq!(document["sufficient"], false);
    }

    #[test]
    fn nothing_known_is_said_so() {
        let nothing = GetPricingResponse {
            gpu_model: "X".into(),
            window_days: 7,
            ..Default::default()
        };
        assert!(pricing_text(&nothing, true).contains("nobody offers it"));
        assert_eq!(pricing_json(&nothing)["suggested_ait"], Value::Null);
    }

    #[test]
    fn a_market_price_is_drawn_for_a_terminal() {
        let bucket = |from, weight| PriceBucket {
            from_micro_ait: from,
            to_micro_ait: from,
            trades: weight,
            weight_micro_ait: weight,
        };
        let mut paid = one_offer();
        paid.sufficient = true;
        paid.trades = Some(TradeStatistics {
            trades: 4,
            range: range(400_000),
            histogram: vec![bucket(400_000, 3), bucket(450_000, 1)],
            ..Default::default()
        });
        paid.utilisation_bps = Some(7_500);
        paid.adjustment_bps = 1_250;
        paid.daily_medians[28].median_micro_ait = Some(400_000);
        paid.daily_medians[29].median_micro_ait = Some(450_000);
        let text = pricing_text(&paid, true);
        assert!(
            text.contains("median 0.4 ") && !text.contains("insufficient"),
            "{text}"
        );
        assert!(
            text.contains("75.0 %") && text.contains("+12.50 %"),
            "{text}"
        );
        assert!(text.contains(&format!("{}  3", "█".repeat(30))), "{text}");
        assert!(text.contains("·▁█  0.4–0.45"), "{text}");
        assert!(!pricing_text(&paid, false).contains('█'));
    }
}
