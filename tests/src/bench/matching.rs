//! Jobs that meet miners: what the coordinator's queue does for each, without calls and storage.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, MinerId};
use aitbc_common::job_input::JobType;
use aitbc_coordinator::jobs::matching::{ModelOffer, Offer, Requirement};
use aitbc_coordinator::jobs::queue::{Queue, Supply, Waiting};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;

use super::latency::{Latencies, Summary};

/// Models that the miners serve, one each, and owners of jobs.
const MODELS: u32 = 10;
const OWNERS: u8 = 100;
/// Highest prices that jobs name: with the models, the requirements that are known.
const PRICES: u64 = 5;

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Matching {
    /// Miners, a listing each.
    pub listings: u32,
    /// Of a job that any miner of its model may run: from the queue to a miner and back.
    pub any: Summary,
    /// Of a job that names a listing that no job named before.
    pub named: Summary,
}

/// Measures each for so long.
pub fn run(each: Duration, listings: u32, random: &mut StdRng) -> Matching {
    let mut queue = Queue::default();
    for n in 0..listings {
        queue.set_miner(miner(n), supply(n, random));
    }
    let mut jobs = 0;
    let any = timed(each, &mut queue, &mut jobs, |job| {
        requirement(job % MODELS, u64::from(job) % PRICES)
    });
    let named = timed(each, &mut queue, &mut jobs, |job| {
        let n = job.wrapping_mul(7_919) % listings;
        Requirement {
            only_miner: Some(miner(n)),
            ..requirement(n % MODELS, 0)
        }
    });
    Matching {
        listings,
        any,
        named,
    }
}

fn timed(
    each: Duration,
    queue: &mut Queue,
    jobs: &mut u32,
    wanted: impl Fn(u32) -> Requirement,
) -> Summary {
    let mut latencies = Latencies::default();
    let end = Instant::now() + each;
    while Instant::now() < end {
        *jobs += 1;
        let requirement = wanted(*jobs);
        let start = Instant::now();
        let requirement = queue.shared(requirement);
        assert!(queue.anyone_could_run(&requirement), "a miner serves it");
        let owner = PublicKey([(*jobs % u32::from(OWNERS)) as u8; 32]);
        let tag = queue.new_tag(&requirement, &owner);
        let job = JobId::new(u64::from(*jobs), 0, [0; 10]);
        let waiting = Waiting {
            job,
            owner,
            priority: 0,
            tag,
        };
        queue.push(&requirement, waiting);
        let (_, _, miner) = queue.next_match().expect("all miners are free");
        queue.set_load(miner, 0, 1, None);
        queue.set_load(miner, 1, 0, Some(&requirement.model));
        latencies.add(start.elapsed());
    }
    latencies.summary()
}

fn requirement(model: u32, price: u64) -> Requirement {
    Requirement {
        job_type: JobType::Inference,
        model: model_name(model),
        digest: [0; 32],
        min_vram_gib: 0,
        max_rate: 3_000_000 + price,
        only_miner: None,
        min_reputation_ppm: 0,
        rate: None,
        rental: None,
        excluded: Vec::new(),
        not_paid_at: Vec::new(),
        tools: Vec::new(),
        paid: false,
    }
}

fn supply(n: u32, random: &mut StdRng) -> Supply {
    let model = ModelOffer {
        context_tokens: 8_192,
        prompt_speed: random.random_range(100_000..2_000_000),
        output_speed: random.random_range(10_000..200_000),
        ..ModelOffer::default()
    };
    Supply {
        offer: Offer {
            models: BTreeMap::from([(model_name(n % MODELS), model)]),
            vram_gib: 24,
            price: random.random_range(100_000..3_000_000),
            live: true,
            reputation_ppm: random.random_range(25_000..1_000_000),
            ..Offer::default()
        },
        free_slots: 1,
        ..Supply::default()
    }
}

fn model_name(n: u32) -> String {
    format!("model-{n}:latest")
}

fn miner(n: u32) -> MinerId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    MinerId(id)
}
