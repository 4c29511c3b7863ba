//! Which miners match, and what removed the others.

use std::collections::BTreeMap;

use aitbc_common::ids::MinerId;
use aitbc_common::money::{MicroAit, cost};
use aitbc_common::nearest::nearest;
use aitbc_proto::v1;

use super::matching::{Filter, Rank, Requirement, predicted_ms, rank, removed_by};
use super::queue::{Queue, Supply};

/// Miners named in an explanation, at most.
const NAMED: usize = 10;
/// Tokens of output assumed for a prediction.
const ASSUMED_TOKENS_OUT: u64 = 300;

/// Explains a job with these requirements and so many bytes of input; `names` gives miners their names.
pub fn explain(
    queue: &Queue,
    requirement: &Requirement,
    input_len: u64,
    names: impl Fn(MinerId) -> String,
) -> v1::ExplainJobResponse {
    let mut removed: BTreeMap<Filter, u32> = BTreeMap::new();
    let mut matching: Vec<(Rank, MinerId, &Supply)> = Vec::new();
    let mut response = v1::ExplainJobResponse::default();
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
            detail: detail(queue, requirement, filter),
        })
        .collect();
    response.miners = matching
        .iter()
        .take(NAMED)
        .map(|(_, id, s)| matching_miner(*id, s, requirement, input_len, &names))
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

fn matching_miner(
    id: MinerId,
    supply: &Supply,
    requirement: &Requirement,
    input_len: u64,
    names: impl Fn(MinerId) -> String,
) -> v1::MatchingMiner {
    let model = supply.offer.models.get(&requirement.model);
    let measured = model.filter(|m| m.output_speed > 0);
    // Some four bytes make a token in English text.
    let predicted = measured.map(|m| {
        cost(
            supply.offer.price,
            predicted_ms(m, input_len.div_ceil(4), ASSUMED_TOKENS_OUT),
        )
    });
    v1::MatchingMiner {
        miner_id: id.to_string(),
        name: names(id),
        price_per_hour_micro_ait: supply.offer.price,
        free_slots: u32::try_from(supply.free_slots).unwrap_or(u32::MAX),
        output_speed: model.map_or(0, |m| m.output_speed),
        predicted_cost_micro_ait: predicted,
    }
}

/// In words that fit one miner as well as many.
fn detail(queue: &Queue, requirement: &Requirement, filter: Filter) -> String {
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
        Filter::Vram => {
            let most = offers().map(|o| o.vram_gib).max().unwrap_or(0);
            format!(
                "{} GiB of video memory wanted; the most there is: {most} GiB",
                requirement.min_vram_gib
            )
        }
        Filter::Price => {
            let least = offers().map(|o| o.price).min().unwrap_or(0);
            format!(
                "at most {} AIT/hour wanted; the cheapest asks {}",
                MicroAit(requirement.max_rate),
                MicroAit(least)
            )
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
        let requirement = Requirement {
            job_type: aitbc_common::job_input::JobType::Inference,
            model: "llama3:latest".to_owned(),
            digest: [0; 32],
            min_vram_gib: 0,
            max_rate: u64::MAX,
            only_miner: None,
            min_reputation_ppm: 0,
            rate: None,
            rental: None,
            excluded: Vec::new(),
            paid: false,
        };
        let explained = explain(&queue, &requirement, 0, |_| String::new());
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
