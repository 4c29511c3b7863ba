//! Which miner may run which job, and which is preferred. Pure and deterministic.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::ids::{MinerId, RentalId};
use aitbc_common::job_input::JobType;
use aitbc_common::money::cost;

/// A nominal job, by which miners are compared: prompt tokens.
const NOMINAL_TOKENS_IN: u64 = 1_000;
/// A nominal job: generated tokens.
const NOMINAL_TOKENS_OUT: u64 = 300;
/// The speed that an unmeasured miner is taken to have, in milli-tokens per second.
const UNMEASURED_SPEED: u64 = 10_000;

/// What a job asks of a miner. Jobs with equal requirements share one queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// What it computes.
    pub job_type: JobType,
    /// Canonical model name.
    pub model: String,
    /// Digest that the model must have; zero = any.
    pub digest: Hash,
    /// Least video memory of the largest GPU in GiB.
    pub min_vram_gib: u32,
    /// Highest price in micro-AIT per hour.
    pub max_rate: u64,
    /// The one miner that may run it.
    pub only_miner: Option<MinerId>,
    /// Least reputation in millionths.
    pub min_reputation_ppm: u32,
    /// What it pays whoever runs it, in micro-AIT per hour, in place of the miner's price: it names an offer, or has a rental.
    pub rate: Option<u64>,
    /// The rental that it is part of.
    pub rental: Option<RentalId>,
    /// Miners that failed it, sorted.
    pub excluded: Vec<MinerId>,
    /// No miner that is paid at one of these, sorted.
    pub not_paid_at: Vec<Address>,
    /// The tools that an agent's execution may use, sorted.
    pub tools: Vec<String>,
    /// It is paid for, or waits until it is.
    pub paid: bool,
}

/// A model that a miner offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelOffer {
    /// Its SHA-256.
    pub digest: Hash,
    /// Context in tokens.
    pub context_tokens: u32,
    /// Milli-tokens per second; 0 = not measured.
    pub prompt_speed: u32,
    /// Milli-tokens per second; 0 = not measured.
    pub output_speed: u32,
    /// Whether it answers embedding jobs.
    pub embeddings: bool,
}

/// What a miner offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// By canonical name.
    pub models: BTreeMap<String, ModelOffer>,
    /// Takes any model: it declared none and polls.
    pub any_model: bool,
    /// Video memory of its largest GPU in GiB.
    pub vram_gib: u32,
    /// Micro-AIT per hour and slot.
    pub price: u64,
    /// It is in session (or polls right now).
    pub live: bool,
    /// Its owner paused it, or it drains.
    pub paused: bool,
    /// It takes only jobs that are paid for.
    pub paid_only: bool,
    /// Where it is paid.
    pub payee: Address,
    /// In millionths.
    pub reputation_ppm: u32,
    /// Somebody rents it: nothing else runs there.
    pub rental: Option<RentalId>,
    /// The tools that agents may use there; none = it runs no agents.
    pub tools: BTreeSet<String>,
}

/// The filters, in the order they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// The job names another miner.
    Miner,
    /// The model is not offered.
    Model,
    /// The model has another digest.
    ModelDigest,
    /// The model does not do this type.
    Type,
    /// It lacks a tool of the agent, or runs no agents.
    Tools,
    /// Too little video memory.
    Vram,
    /// Too expensive.
    Price,
    /// Nobody pays for the job, and the miner takes only jobs that are paid for.
    Unpaid,
    /// Too little reputation.
    Reputation,
    /// Somebody else rents it, or the job's rental is not there.
    Rental,
    /// It failed this job before.
    Excluded,
    /// It belongs to somebody who must not run it.
    Payee,
    /// Not in session.
    Live,
    /// Paused or draining.
    Paused,
}

impl Filter {
    /// All of them, in the order they run.
    pub const ALL: [Self; 14] = [
        Self::Miner,
        Self::Model,
        Self::ModelDigest,
        Self::Type,
        Self::Tools,
        Self::Vram,
        Self::Price,
        Self::Unpaid,
        Self::Reputation,
        Self::Rental,
        Self::Excluded,
        Self::Payee,
        Self::Live,
        Self::Paused,
    ];

    /// Whether what it removes may match later, as it is.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Tools
                | Self::Reputation
                | Self::Rental
                | Self::Excluded
                | Self::Live
                | Self::Paused
        )
    }

    /// Its name, as ExplainJob shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Miner => "miner",
            Self::Model => "model",
            Self::ModelDigest => "model_digest",
            Self::Type => "type",
            Self::Tools => "tools",
            Self::Vram => "vram",
            Self::Price => "price",
            Self::Unpaid => "unpaid",
            Self::Reputation => "min_reputation",
            Self::Rental => "rental",
            Self::Excluded => "excluded",
            Self::Payee => "payee",
            Self::Live => "live",
            Self::Paused => "paused",
        }
    }
}

/// The first filter that removes this miner; `None` = it matches.
#[must_use]
pub fn removed_by(requirement: &Requirement, miner: MinerId, offer: &Offer) -> Option<Filter> {
    let model = offer.models.get(&requirement.model);
    let removed = |filter| match filter {
        Filter::Miner => requirement.only_miner.is_some_and(|only| only != miner),
        Filter::Model => model.is_none() && !offer.any_model,
        Filter::ModelDigest => {
            requirement.digest != Hash::default()
                && model.is_some_and(|m| m.digest != requirement.digest)
        }
        Filter::Type => {
            requirement.job_type == JobType::Embedding && model.is_some_and(|m| !m.embeddings)
        }
        Filter::Tools => {
            requirement.job_type == JobType::Agent
                && (offer.tools.is_empty()
                    || requirement
                        .tools
                        .iter()
                        .any(|tool| !offer.tools.contains(tool)))
        }
        Filter::Vram => offer.vram_gib < requirement.min_vram_gib,
        Filter::Price => requirement.rate.unwrap_or(offer.price) > requirement.max_rate,
        Filter::Reputation => offer.reputation_ppm < requirement.min_reputation_ppm,
        Filter::Rental => offer.rental != requirement.rental,
        Filter::Unpaid => offer.paid_only && !requirement.paid,
        Filter::Excluded => requirement.excluded.binary_search(&miner).is_ok(),
        Filter::Payee => requirement.not_paid_at.binary_search(&offer.payee).is_ok(),
        Filter::Live => !offer.live,
        Filter::Paused => offer.paused,
    };
    Filter::ALL.into_iter().find(|filter| removed(*filter))
}

/// Whether this miner could run the job at some time: all filters but those that pass by themselves. One that declared
/// no models promised none, whatever it may take by polling.
#[must_use]
pub fn could_run(requirement: &Requirement, miner: MinerId, offer: &Offer) -> bool {
    !offer.any_model && removed_by(requirement, miner, offer).is_none_or(Filter::passes)
}

/// How a free miner ranks for a job: lower is better. Predicted cost first, then reputation, then a warm model, then load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Predicted cost of a nominal job in micro-AIT.
    pub cost: u64,
    /// Millionths of reputation that it lacks.
    pub lacks_ppm: u32,
    /// Whether the model would have to be loaded.
    pub cold: bool,
    /// Jobs that run there.
    pub load: usize,
    /// Ties are broken by age.
    pub miner: MinerId,
}

/// Milliseconds that a job of these tokens takes on this model.
#[must_use]
pub fn predicted_ms(model: &ModelOffer, tokens_in: u64, tokens_out: u64) -> u64 {
    let term = |tokens: u64, speed: u32| {
        let speed = if speed == 0 {
            UNMEASURED_SPEED
        } else {
            u64::from(speed)
        };
        tokens.saturating_mul(1_000_000).div_ceil(speed)
    };
    term(tokens_in, model.prompt_speed.max(model.output_speed))
        .saturating_add(term(tokens_out, model.output_speed))
}

/// Milliseconds that a nominal job takes on this model.
#[must_use]
pub fn nominal_ms(model: &ModelOffer) -> u64 {
    predicted_ms(model, NOMINAL_TOKENS_IN, NOMINAL_TOKENS_OUT)
}

/// Ranks a miner for jobs of this model.
#[must_use]
pub fn rank(model: &str, miner: MinerId, offer: &Offer, warm: bool, load: usize) -> Rank {
    let time = offer.models.get(model).map_or(0, nominal_ms);
    Rank {
        cost: cost(offer.price, time),
        lacks_ppm: 1_000_000_u32.saturating_sub(offer.reputation_ppm),
        cold: !warm,
        load,
        miner,
    }
}

#[cfg(test)]
impl Requirement {
    /// What an inference job asks for with nothing but a model named.
    pub fn of_model(model: &str) -> Self {
        Self {
            job_type: JobType::Inference,
            model: model.into(),
            digest: [0; 32],
            min_vram_gib: 0,
            max_rate: u64::MAX,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement() -> Requirement {
        Requirement::of_model("llama3:latest")
    }

    fn offer() -> Offer {
        let model = ModelOffer {
            digest: [1; 32],
            context_tokens: 8_192,
            ..ModelOffer::default()
        };
        Offer {
            models: BTreeMap::from([("llama3:latest".to_owned(), model)]),
            vram_gib: 24,
            price: 500_000,
            live: true,
            reputation_ppm: 25_000,
            ..Offer::default()
        }
    }

    const ME: MinerId = MinerId([1; 16]);
    const OTHER: MinerId = MinerId([2; 16]);

    #[test]
    fn each_filter_removes_what_it_should() {
        assert_eq!(removed_by(&requirement(), ME, &offer()), None);
        type Change = fn(&mut Requirement, &mut Offer);
        let cases: [(Filter, Change); 14] = [
            (Filter::Miner, |r, _| r.only_miner = Some(OTHER)),
            (Filter::Model, |r, _| r.model = "other:latest".into()),
            (Filter::ModelDigest, |r, _| r.digest = [9; 32]),
            (Filter::Type, |r, _| r.job_type = JobType::Embedding),
            (Filter::Tools, |r, o| {
                r.job_type = JobType::Agent;
                r.tools = vec!["calculator".into(), "sql".into()];
                o.tools = ["sql".to_owned()].into();
            }),
            (Filter::Vram, |r, _| r.min_vram_gib = 25),
            (Filter::Price, |r, _| r.max_rate = 499_999),
            (Filter::Unpaid, |_, o| o.paid_only = true),
            (Filter::Reputation, |r, _| r.min_reputation_ppm = 25_001),
            (Filter::Rental, |_, o| o.rental = Some(RentalId([1; 16]))),
            (Filter::Excluded, |r, _| r.excluded = vec![ME, OTHER]),
            (Filter::Payee, |r, o| {
                r.not_paid_at = vec![o.payee];
            }),
            (Filter::Live, |_, o| o.live = false),
            (Filter::Paused, |_, o| o.paused = true),
        ];
        for (filter, change) in cases {
            let (mut requirement, mut offer) = (requirement(), offer());
            change(&mut requirement, &mut offer);
            assert_eq!(removed_by(&requirement, ME, &offer), Some(filter));
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let at_bound = Requirement {
            min_vram_gib: 24,
            max_rate: 500_000,
            min_reputation_ppm: 25_000,
            digest: [1; 32],
            only_miner: Some(ME),
            ..requirement()
        };
        assert_eq!(removed_by(&at_bound, ME, &offer()), None);
    }

    #[test]
    fn a_miner_that_works_for_money_takes_what_is_paid_for() {
        let miner = Offer {
            paid_only: true,
            ..offer()
        };
        assert!(!could_run(&requirement(), ME, &miner), "nobody pays");
        let paid = Requirement {
            paid: true,
            ..requirement()
        };
        assert_eq!(removed_by(&paid, ME, &miner), None);
        assert_eq!(removed_by(&paid, ME, &offer()), None);
    }

    #[test]
    fn a_rented_miner_serves_its_rental_and_nothing_else() {
        let rental = Some(RentalId([1; 16]));
        let rented = Offer { rental, ..offer() };
        let part = Requirement {
            rental,
            rate: Some(0),
            max_rate: 0,
            ..requirement()
        };
        assert_eq!(removed_by(&part, ME, &rented), None, "at no further cost");
        assert_eq!(removed_by(&part, ME, &offer()), Some(Filter::Rental));
        assert!(could_run(&requirement(), ME, &rented), "once it is over");
    }

    #[test]
    fn a_price_that_was_agreed_stands_for_the_miners_own() {
        let agreed = Requirement {
            rate: Some(400_000),
            max_rate: 400_000,
            ..requirement()
        };
        assert_eq!(removed_by(&agreed, ME, &offer()), None);
        let dear = Requirement {
            rate: Some(400_001),
            ..agreed
        };
        assert_eq!(removed_by(&dear, ME, &offer()), Some(Filter::Price));
    }

    #[test]
    fn a_miner_that_declared_no_models_takes_any() {
        let any = Offer {
            models: BTreeMap::new(),
            any_model: true,
            ..offer()
        };
        let pinned = Requirement {
            digest: [9; 32],
            ..requirement()
        };
        assert_eq!(removed_by(&pinned, ME, &any), None);
        assert!(!could_run(&pinned, ME, &any), "but it promised none");
        let away = Offer {
            live: false,
            ..offer()
        };
        assert!(could_run(&requirement(), ME, &away));
        assert!(!could_run(&pinned, ME, &away), "nobody has that digest");
    }

    #[test]
    fn cheaper_then_trusted_then_warm_then_idle_is_preferred() {
        let cheap = Offer {
            price: 1,
            ..offer()
        };
        let model = "llama3:latest";
        assert!(rank(model, ME, &cheap, false, 9) < rank(model, ME, &offer(), true, 0));
        let trusted = Offer {
            reputation_ppm: 900_000,
            ..offer()
        };
        assert!(rank(model, ME, &trusted, false, 9) < rank(model, ME, &offer(), true, 0));
        assert!(rank(model, ME, &cheap, false, 9) < rank(model, ME, &trusted, true, 0));
        assert!(rank(model, ME, &offer(), true, 9) < rank(model, ME, &offer(), false, 0));
        assert!(rank(model, OTHER, &offer(), true, 0) < rank(model, ME, &offer(), true, 1));
        assert!(rank(model, ME, &offer(), true, 0) < rank(model, OTHER, &offer(), true, 0));
    }
}
