//! What can be asked for: the models of live miners, summed up.

use std::collections::BTreeMap;

use aitbc_proto::v1;
use bytes::Bytes;

use super::command::{ModelKey, Reply};
use super::core::EngineCore;
use super::dispatch::WARM_MS;
use crate::jobs::lifecycle::Millis;

/// A sum of all models serves for this long, in milliseconds: anyone may ask, and it takes a look at every miner.
const FRESH_MS: u64 = 1_000;
/// … and longer on a large network, a millisecond for so many offers, so that it never takes much of the engine's time.
const OFFERS_PER_MS: u64 = 100;

/// The newest sum of all models.
#[derive(Debug, Default)]
pub(super) struct Models {
    until: Millis,
    summaries: Vec<v1::ModelSummary>,
}

impl EngineCore {
    /// Those behind `after`, at most `limit`.
    pub(super) fn list_models(&mut self, after: Option<&ModelKey>, limit: usize) -> Reply {
        if self.now >= self.models.until {
            let summaries = self.sum_up();
            let offers: u64 = summaries.iter().map(|model| u64::from(model.miners)).sum();
            self.models = Models {
                until: self.now + FRESH_MS.max(offers / OFFERS_PER_MS),
                summaries,
            };
        }
        let summaries = &self.models.summaries;
        let start = after.map_or(0, |(name, digest)| {
            summaries.partition_point(|model| (&model.name, &model.digest) <= (name, digest))
        });
        let page: Vec<_> = summaries[start..].iter().take(limit).cloned().collect();
        let more = start + page.len() < summaries.len();
        Reply::Models(page, more)
    }

    /// What can be asked for now: models of live miners, by name and digest.
    fn sum_up(&self) -> Vec<v1::ModelSummary> {
        let mut summaries: BTreeMap<(String, Bytes), (v1::ModelSummary, Vec<u32>)> =
            BTreeMap::new();
        for miner in self.miners.values().filter(|miner| miner.session.is_some()) {
            let price = miner.record.price_per_hour_micro_ait;
            for model in miner.models() {
                let key = (model.name.clone(), model.digest.clone());
                let (summary, speeds) = summaries.entry(key).or_insert_with(|| {
                    let (name, digest) = (model.name.clone(), model.digest.clone());
                    (
                        v1::ModelSummary {
                            name,
                            digest,
                            min_price_per_hour_micro_ait: u64::MAX,
                            ..Default::default()
                        },
                        Vec::new(),
                    )
                });
                summary.context_tokens = summary.context_tokens.max(model.context_tokens);
                summary.miners += 1;
                let warm = miner
                    .warm
                    .as_ref()
                    .is_some_and(|(name, at)| *name == model.name && at + WARM_MS >= self.now);
                summary.warm_miners += u32::from(warm);
                summary.min_price_per_hour_micro_ait =
                    summary.min_price_per_hour_micro_ait.min(price);
                summary.max_price_per_hour_micro_ait =
                    summary.max_price_per_hour_micro_ait.max(price);
                speeds.extend((model.output_speed > 0).then_some(model.output_speed));
            }
        }
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        for (requirement, jobs) in self.queue.classes() {
            *waiting.entry(requirement.model.as_str()).or_default() += jobs;
        }
        let finished = summaries.into_values().map(|(mut summary, mut speeds)| {
            speeds.sort_unstable();
            summary.output_speed = speeds.get(speeds.len() / 2).copied().unwrap_or(0);
            let jobs = waiting.get(summary.name.as_str()).copied().unwrap_or(0);
            summary.queued_jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
            summary
        });
        finished.collect()
    }
}
