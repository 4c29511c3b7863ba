//! Which miners match, and what removed the others.

use std::collections::BTreeMap;

use aitbc_common::ids::MinerId;
use aitbc_common::ledger::settlement::fee_of;
use aitbc_common::money::{MicroAit, cost};
use aitbc_common::nearest::nearest;
use aitbc_common::price::highest_cap_ms;
use aitbc_proto::v1;

use super::matching::{Filter, Rank, Requirement, predicted_ms, rank, removed_by};
use super::queue::{Queue, Supply};
use crate::market::listing::price_per_million_tokens;

/// Miners named in an explanation, at most.
const NAMED: usize = 10;
/// Tokens of output assumed for a prediction.
const ASSUMED_TOKENS_OUT: u64 = 300;

/// What is known of an input for a quote.
#[derive(Debug, Clone, Copy)]
pub struct InputSize {
    /// Bytes.
    pub bytes: u64,
    /// The most tokens that it lets a miner generate; `None` where it sets no bound, or is not at hand.
    pub output_tokens: Option<u64>,
}

/// Explains a job with these requirements; with its input and the market's fee in hundredths of a percent, also what it would
/// cost. `describe` gives miners their names and GPUs.
pub fn explain(
    queue: &Queue,
    requirement: &Requirement,
    quoted: Option<(InputSize, u16)>,
    describe: impl Fn(MinerId) -> (String, String),
) -> v1::ExplainJobResponse {
    let mut removed: BTreeMap<Filter, u32> = BTreeMap::new();
    let mut matching: Vec<(Rank, MinerId, &Supply)> = Vec::new();
    let over = cheapest_over(queue, requirement);
    let told = over.filter(|_| quoted.is_some());
    let mut response = v1::ExplainJobResponse {
        fee_bps: quoted.map_or(0, |(_, fee_bps)| fee_bps.into()),
        least_max_price_micro_ait: told.map(|(rate, _)| rate),
        least_max_price_gpu_model: told.map_or_else(String::new, |(_, id)| describe(id).1),
        ..v1::ExplainJobResponse::default()
    };
    for (id, supply) in queue.miners() {
        response.known_miners += 1;
        if let Some(filter) = removed_by(requirement, id, &supply.offer) {
            *removed.entry(filter).or_default() += 1;
            continue;
        }
        response.matching_miners += 1;
        response.free_miners += u32::from(supply.free_slots > 0);
        let warm = supply.warm_model.as_deref() == Some(&requirement.model);
        matching.push((
            rank(&requirement.model, id, &supply.offer, warm, supply.load),
            id,
            supply,
        ));
    }
    matching.sort_by_key(|(rank, ..)| *rank);
    let described = Filter::ALL
        .into_iter()
        .filter_map(|filter| removed.get(&filter).map(|count| (filter, *count)));
    response.filters = described
        .map(|(filter, removed)| v1::FilterResult {
            filter: filter.name().into(),
            removed,
            detail: detail(queue, requirement, filter, over.map(|(rate, _)| rate)),
        })
        .collect();
    response.miners = matching
        .iter()
        .take(NAMED)
        .map(|(_, id, s)| matching_miner(*id, s, requirement, quoted, &describe))
        .collect();
    response.queued_jobs = u32::try_from(waiting_like(queue, requirement)).unwrap_or(u32::MAX);
    response
}

/// Jobs that wait for the same model.
#[must_use]
pub fn waiting_like(queue: &Queue, requirement: &Requirement) -> usize {
    queue
        .classes()
        .filter(|(other, _)| other.model == requirement.model)
        .map(|(_, waiting)| waiting)
        .sum()
}

/// The name nearest to a model that nobody serves, among those that are served.
#[must_use]
pub fn nearest_model(queue: &Queue, model: &str) -> Option<String> {
    let mut names: Vec<&str> = queue
        .miners()
        .flat_map(|(_, s)| s.offer.models.keys().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    nearest(model, names).map(str::to_owned)
}

/// The cheapest miner that only the price limit removes, and what it would take.
fn cheapest_over(queue: &Queue, requirement: &Requirement) -> Option<(u64, MinerId)> {
    let any_price = Requirement {
        max_rate: u64::MAX,
        ..requirement.clone()
    };
    let rates = queue
        .miners()
        .map(|(id, supply)| (rate_of(requirement, supply), id, supply));
    rates
        .filter(|(rate, id, supply)| {
            *rate > requirement.max_rate && removed_by(&any_price, *id, &supply.offer).is_none()
        })
        .map(|(rate, id, _)| (rate, id))
        .min()
}

fn rate_of(requirement: &Requirement, supply: &Supply) -> u64 {
    requirement.rate.unwrap_or(supply.offer.price)
}

fn matching_miner(
    id: MinerId,
    supply: &Supply,
    requirement: &Requirement,
    quoted: Option<(InputSize, u16)>,
    describe: impl Fn(MinerId) -> (String, String),
) -> v1::MatchingMiner {
    let rate = rate_of(requirement, supply);
    let (name, gpu_model) = describe(id);
    let mut told = v1::MatchingMiner {
        miner_id: id.to_string(),
        name,
        gpu_model,
        price_per_hour_micro_ait: supply.offer.price,
        rate_micro_ait: rate,
        free_slots: u32::try_from(supply.free_slots).unwrap_or(u32::MAX),
        ..v1::MatchingMiner::default()
    };
    let model = supply.offer.models.get(&requirement.model);
    let (Some(model), Some((input, fee_bps))) = (model, quoted) else {
        return told;
    };
    (told.prompt_speed, told.output_speed) = (model.prompt_speed, model.output_speed);
    if model.output_speed > 0 {
        // Some four bytes make a token in English text.
        let predicted = predicted_ms(model, input.bytes.div_ceil(4), ASSUMED_TOKENS_OUT);
        told.predicted_cost_micro_ait = Some(cost(rate, predicted));
        told.price_per_million_tokens_micro_ait =
            Some(price_per_million_tokens(rate, model.output_speed));
    }
    let context = Some(u64::from(model.context_tokens)).filter(|context| *context > 0);
    told.output_tokens = input.output_tokens.or(context);
    if let Some(tokens) = told.output_tokens {
        let cap = highest_cap_ms(model.prompt_speed, model.output_speed, input.bytes, tokens);
        let highest = cost(rate, cap);
        told.cap_ms = Some(cap);
        told.highest_cost_micro_ait = Some(highest);
        told.highest_fee_micro_ait = Some(fee_of(highest, fee_bps));
    }
    told
}

/// In words that fit one miner as well as many.
fn detail(
    queue: &Queue,
    requirement: &Requirement,
    filter: Filter,
    cheapest: Option<u64>,
) -> String {
    let offers = || queue.miners().map(|(_, s)| &s.offer);
    match filter {
        Filter::Miner => match requirement.only_miner {
            Some(miner) => format!("only {miner} was asked for"),
            None => String::new(),
        },
        Filter::Model => {
            let nearest = nearest_model(queue, &requirement.model);
            let nearest =
                nearest.map_or_else(String::new, |name| format!("; the nearest is {name}"));
            format!("{} is not offered{nearest}", requirement.model)
        }
        Filter::ModelDigest => format!(
            "{} there is not sha256:{}",
            requirement.model,
            hex_prefix(&requirement.digest)
        ),
        Filter::Type => format!(
            "{} jobs are not answered with {}",
            requirement.job_type, requirement.model
        ),
        Filter::Tools if requirement.tools.is_empty() => "runs no agents now".into(),
        Filter::Tools => format!(
            "does not offer agents all of {} now",
            requirement.tools.join(", ")
        ),
        Filter::Payee => "its owner must not run it: an audit needs others".into(),
        Filter::Vram => {
            let most = offers().map(|o| o.vram_gib).max().unwrap_or(0);
            format!(
                "{} GiB of video memory wanted; the most there is: {most} GiB",
                requirement.min_vram_gib
            )
        }
        Filter::Price => {
            let wanted = MicroAit(requirement.max_rate);
            match cheapest {
                Some(least) => format!(
                    "at most {wanted} AIT/hour wanted; the cheapest that otherwise matches asks {}",
                    MicroAit(least)
                ),
                None => {
                    let asked = queue
                        .miners()
                        .map(|(_, supply)| rate_of(requirement, supply));
                    let least = asked.filter(|rate| *rate > requirement.max_rate).min();
                    let least = MicroAit(least.unwrap_or(0));
                    format!("at most {wanted} AIT/hour wanted; the cheapest asks {least}")
                }
            }
        }
        Filter::Unpaid => "takes only jobs that are paid for".into(),
        Filter::Reputation => {
            let most = offers().map(|o| o.reputation_ppm).max().unwrap_or(0);
            format!(
                "a reputation of {:.3} wanted; the highest there is: {:.3}",
                f64::from(requirement.min_reputation_ppm) / 1e6,
                f64::from(most) / 1e6
            )
        }
        Filter::Rental => match requirement.rental {
            Some(rental) => format!("not the miner of {rental}"),
            None => "rented by somebody else".into(),
        },
        Filter::Excluded => "failed this job before".into(),
        Filter::Live => "away".into(),
        Filter::Paused => "paused or draining".into(),
    }
}

fn hex_prefix(digest: &[u8; 32]) -> String {
    digest[..6]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<String>()
        + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(max_rate: u64) -> Requirement {
        Requirement {
            max_rate,
            ..Requirement::of_model("llama3:latest")
        }
    }

    fn measured(price: u64, live: bool) -> Supply {
        let model = crate::jobs::matching::ModelOffer {
            context_tokens: 4_096,
            prompt_speed: 500_000,
            output_speed: 50_000,
            ..Default::default()
        };
        Supply {
            offer: crate::jobs::matching::Offer {
                models: [("llama3:latest".to_owned(), model)].into(),
                price,
                live,
                ..Default::default()
            },
            ..Supply::default()
        }
    }

    fn quoted(
        queue: &Queue,
        requirement: &Requirement,
        output_tokens: Option<u64>,
    ) -> v1::ExplainJobResponse {
        let input = InputSize {
            bytes: 476,
            output_tokens,
        };
        explain(queue, requirement, Some((input, 250)), |_| {
            Default::default()
        })
    }

    #[test]
    fn a_quote_is_what_the_settlement_could_bill_at_most() {
        let mut queue = Queue::default();
        queue.set_miner(MinerId([1; 16]), measured(3_600_000, true));
        let told = quoted(&queue, &requirement(u64::MAX), Some(100));
        let miner = &told.miners[0];
        // 1 s, 1,500 tokens read at 500/s, 100 written at 50/s; at 1,000 micro-AIT a second.
        assert_eq!(miner.cap_ms, Some(1_000 + 3_000 + 2_000));
        assert_eq!(miner.highest_cost_micro_ait, Some(6_000));
        assert_eq!(
            (miner.highest_fee_micro_ait, told.fee_bps),
            (Some(150), 250)
        );
        // A million tokens take 20,000 s.
        assert_eq!(miner.price_per_million_tokens_micro_ait, Some(20_000_000));
        // Without a bound of its own, the model's context is one.
        let told = quoted(&queue, &requirement(u64::MAX), None);
        assert_eq!(told.miners[0].output_tokens, Some(4_096));
        // A listing's price counts in place of the miner's, and a rental costs no more.
        for rate in [1_800_000, 0] {
            let agreed = Requirement {
                rate: Some(rate),
                ..requirement(u64::MAX)
            };
            let told = quoted(&queue, &agreed, Some(100));
            assert_eq!(told.miners[0].rate_micro_ait, rate);
            assert_eq!(told.miners[0].highest_cost_micro_ait, Some(rate / 600));
        }
    }

    #[test]
    fn a_limit_below_all_prices_is_told_the_least_that_would_do() {
        let mut queue = Queue::default();
        queue.set_miner(MinerId([1; 16]), measured(700_000, true));
        queue.set_miner(MinerId([2; 16]), measured(600_000, true));
        queue.set_miner(MinerId([3; 16]), measured(500_000, false));
        let told = quoted(&queue, &requirement(400_000), None);
        // The cheapest is away.
        assert_eq!(told.least_max_price_micro_ait, Some(600_000));
        let detail = &told.filters[0].detail;
        assert!(
            detail.contains("at most 0.4") && detail.contains("asks 0.6"),
            "{detail}"
        );
        let told = quoted(&queue, &requirement(600_000), None);
        assert_eq!(
            (told.matching_miners, told.least_max_price_micro_ait),
            (1, Some(700_000))
        );
        let told = quoted(&queue, &requirement(700_000), None);
        assert_eq!(
            (told.matching_miners, told.least_max_price_micro_ait),
            (2, None)
        );
    }

    #[test]
    fn what_removed_one_miner_is_not_said_of_many() {
        let mut queue = Queue::default();
        queue.set_miner(
            MinerId([1; 16]),
            Supply {
                offer: crate::jobs::matching::Offer {
                    any_model: true,
                    live: true,
                    paused: true,
                    ..Default::default()
                },
                ..Supply::default()
            },
        );
        let explained = explain(&queue, &requirement(u64::MAX), None, |_| Default::default());
        let [removed] = &explained.filters[..] else {
            panic!("one filter")
        };
        assert_eq!(
            (
                removed.removed,
                removed.filter.as_str(),
                removed.detail.as_str()
            ),
            (1, "paused", "paused or draining")
        );
    }
}
