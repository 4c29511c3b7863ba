//! `aitbc client submit --explain`: who could run a job, and what it would cost.

use std::fmt::Write as _;

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::explain_job_request::Subject;
use aitbc_proto::v1::{ExplainJobRequest, ExplainJobResponse, MatchingMiner};
use serde_json::{Value, json};

use super::job_text::{about, none_matches};
use super::new_job::NewJob;
use crate::context::Context;
use crate::output::json::{
    ait, duration_ms, seconds, seconds_of_ms, text_or_null, warning_name, warnings,
};
use crate::output::miner::speed;
use crate::output::pricing::{pricing_json, pricing_text};
use crate::output::table;
use crate::retries::with_retries;

/// Asks and prints; nothing is submitted.
pub async fn run(
    context: &Context,
    connection: &Connection,
    job: &NewJob,
) -> Result<(), CommandError> {
    let request = ExplainJobRequest {
        // Nothing is proven about it, so its salt may be known.
        subject: Some(Subject::Spec(job.spec([0; 32]))),
        paid: job.hold,
    };
    let answer = with_retries(connection.jobs(), request, |mut jobs, request| async move {
        jobs.explain_job(request).await
    })
    .await?;
    if !context.json {
        for warning in &answer.warnings {
            context.warn(&warning_name(warning), &warning.message);
        }
    }
    let (mut document, mut text) = (explanation_json(&answer), explanation_text(&answer));
    document["allow_audit"] = job.allow_audit.into();
    if job.allow_audit {
        text.push_str("\n  its work may be audited");
    }
    context.result(&document, text)
}

fn explanation_json(answer: &ExplainJobResponse) -> Value {
    json!({
        "known_miners": answer.known_miners,
        "matching_miners": answer.matching_miners,
        "free_miners": answer.free_miners,
        "filters": answer.filters.iter().map(|filter| json!({
            "filter": filter.filter,
            "removed": filter.removed,
            "detail": filter.detail,
        })).collect::<Value>(),
        "miners": answer.miners.iter().map(miner_json).collect::<Value>(),
        "queued_jobs": answer.queued_jobs,
        "estimated_start_seconds": seconds(answer.estimated_start.as_ref()),
        "warnings": warnings(&answer.warnings),
        "least_funding_ait": answer.least_micro_ait.map(ait),
        "fee_share": f64::from(answer.fee_bps) / 1e4,
        "least_max_price_ait": answer.least_max_price_micro_ait.map(ait),
        "prices": answer.prices.iter().map(pricing_json).collect::<Value>(),
    })
}

fn miner_json(miner: &MatchingMiner) -> Value {
    json!({
        "miner_id": miner.miner_id,
        "name": miner.name,
        "price_per_hour_ait": ait(miner.price_per_hour_micro_ait),
        "free_slots": miner.free_slots,
        "output_tokens_per_second": speed(miner.output_speed),
        "predicted_cost_ait": miner.predicted_cost_micro_ait.map(ait),
        "rate_per_hour_ait": ait(miner.rate_micro_ait),
        "prompt_tokens_per_second": speed(miner.prompt_speed),
        "most_output_tokens": miner.output_tokens,
        "cap_seconds": miner.cap_ms.map(seconds_of_ms),
        "highest_cost_ait": miner.highest_cost_micro_ait.map(ait),
        "highest_fee_ait": miner.highest_fee_micro_ait.map(ait),
        "price_per_million_tokens_ait": miner.price_per_million_tokens_micro_ait.map(ait),
        "gpu_model": text_or_null(&miner.gpu_model),
    })
}

fn explanation_text(answer: &ExplainJobResponse) -> String {
    let (matching, known) = (answer.matching_miners, answer.known_miners);
    let free = answer.free_miners;
    let mut text = match (matching, known) {
        (_, 0) => "no miner is known yet".to_owned(),
        (0, _) => {
            let live = answer.filters.iter().find(|filter| filter.filter == "live");
            none_matches(known, live.map_or(0, |filter| filter.removed))
        }
        (1, _) => format!("1 of {known} known miners matches, {free} free now"),
        _ => format!("{matching} of {known} known miners match, {free} free now"),
    };
    for filter in answer.filters.iter().filter(|filter| filter.removed > 0) {
        let detail = if filter.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", filter.detail)
        };
        let _infallible = write!(
            text,
            "\n  {} removed by {}{detail}",
            filter.removed, filter.filter
        );
    }
    if matching > 0 {
        let _infallible = write!(text, "\n  {} waiting in front", answer.queued_jobs);
        let estimate = answer.estimated_start.as_ref();
        if let Some(estimate) = estimate.filter(|estimate| duration_ms(estimate) > 0) {
            let _infallible = write!(text, ", would start in about {}", about(estimate));
        }
    }
    if let Some(least) = answer.least_micro_ait {
        let _infallible = write!(
            text,
            "\n  paid, it would wait until {} AIT are locked for it: 10 s of the cheapest",
            MicroAit(least)
        );
    }
    if let Some(least) = answer.least_max_price_micro_ait {
        let _infallible = write!(
            text,
            "\n  one more would match with --max-price {}",
            MicroAit(least)
        );
    }
    if !answer.miners.is_empty() {
        let header = [
            "MINER",
            "NAME",
            "GPU",
            ">FREE",
            ">AIT/HOUR",
            ">TOKENS/S",
            ">AIT/MTOK",
            ">WOULD COST",
            ">AT MOST",
            ">FEE IN IT",
        ];
        let rows = answer.miners.iter().map(row).collect();
        let _infallible = write!(text, "\n{}", table::render(&header, rows));
    }
    if let Some(bound) = bound(answer) {
        let _infallible = write!(text, "\n{bound}");
    }
    for price in &answer.prices {
        let _infallible = write!(text, "\n{}", pricing_text(price, false));
    }
    text
}

/// What the highest costs rest on.
fn bound(answer: &ExplainJobResponse) -> Option<String> {
    let bounded = answer.miners.iter().filter(|m| m.cap_ms.is_some());
    let tokens = bounded.clone().filter_map(|m| m.output_tokens).max()?;
    let paid = bounded.filter_map(|m| m.cap_ms).max()?;
    let paid = paid.div_ceil(1_000);
    Some(format!(
        "at most: up to {tokens} tokens out and {paid} s that are paid for at the measured speeds, whatever it takes; {} % of it is the market's fee",
        f64::from(answer.fee_bps) / 100.0
    ))
}

fn row(miner: &MatchingMiner) -> Vec<String> {
    let unknown = || "–".to_owned();
    let money = |micro: Option<u64>| micro.map_or_else(unknown, |m| MicroAit(m).to_string());
    let cost = |micro: Option<u64>| micro.map_or_else(unknown, |m| format!("{} AIT", MicroAit(m)));
    vec![
        miner.miner_id.clone(),
        miner.name.clone(),
        if miner.gpu_model.is_empty() {
            unknown()
        } else {
            miner.gpu_model.clone()
        },
        miner.free_slots.to_string(),
        MicroAit(miner.rate_micro_ait).to_string(),
        if miner.output_speed == 0 {
            unknown()
        } else {
            format!("{:.1}", f64::from(miner.output_speed) / 1_000.0)
        },
        money(miner.price_per_million_tokens_micro_ait),
        cost(miner.predicted_cost_micro_ait),
        cost(miner.highest_cost_micro_ait),
        money(miner.highest_fee_micro_ait),
    ]
}

#[cfg(test)]
mod tests {
    use aitbc_proto::v1::FilterResult;

    use super::*;

    #[test]
    fn what_removed_miners_is_named() {
        let answer = ExplainJobResponse {
            known_miners: 3,
            matching_miners: 1,
            free_miners: 1,
            filters: vec![
                FilterResult {
                    filter: "live".into(),
                    removed: 0,
                    detail: String::new(),
                },
                FilterResult {
                    filter: "vram".into(),
                    removed: 2,
                    detail: "wanted 48 GiB, the most is 24 GiB".into(),
                },
            ],
            miners: vec![MatchingMiner {
                name: "rig-1".into(),
                price_per_hour_micro_ait: 500_000,
                rate_micro_ait: 400_000,
                predicted_cost_micro_ait: Some(298),
                output_tokens: Some(64),
                cap_ms: Some(3_500),
                highest_cost_micro_ait: Some(389),
                highest_fee_micro_ait: Some(10),
                ..Default::default()
            }],
            fee_bps: 250,
            least_max_price_micro_ait: Some(600_000),
            prices: vec![aitbc_proto::v1::GetPricingResponse {
                gpu_model: "A".into(),
                least_owners: 5,
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = explanation_text(&answer);
        for part in [
            "--max-price 0.6",
            "up to 64 tokens out and 4 s",
            "2.5 % of it is the market's fee",
            "0.000389 AIT",
            "insufficient data: 0 of 5",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            text.starts_with(
                "1 of 3 known miners matches, 1 free now\n  2 removed by vram: wanted 48 GiB"
            ),
            "{text}"
        );
        assert!(
            !text.contains("live") && text.contains("0.000298 AIT"),
            "{text}"
        );
        let document = explanation_json(&answer);
        assert_eq!(document["miners"][0]["predicted_cost_ait"], "0.000298");
        assert_eq!(document["filters"][1]["removed"], 2);
        assert_eq!(document["miners"][0]["highest_fee_ait"], "0.000010");
        assert_eq!(document["miners"][0]["rate_per_hour_ait"], "0.400000");
    }
}
