//! The market's figures, measured inside one process: what the coordinator computes for a call, without the call.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aitbc_common::address::Address;
use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, MinerId};
use aitbc_common::market::pricing::{KEPT_DAYS, Trade, Trades, USUAL_DAYS};
use aitbc_common::market::reputation::{Parties, Reputations, Success};
use aitbc_coordinator::market::listing::{Fastest, Listing, Provider, State, Terms};
use aitbc_coordinator::market::offers::{Filter, Offers, Reputation, Sort};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use super::latency::{Latencies, Summary};
use super::matching::{self, Matching};

/// Offers of a first page.
const PAGE: usize = 50;
/// GPU models among the listings, and owners among the trades.
const MODELS: u64 = 100;
const OWNERS: u64 = 1_000;

/// Orders of offers.
const SORTS: [(&str, Sort); 4] = [
    ("price", Sort::Price),
    ("effective price", Sort::EffectivePrice),
    ("reputation", Sort::Reputation),
    ("speed", Sort::Speed),
];

/// What was measured, with how many of each.
#[derive(Debug, Clone, Serialize)]
pub struct Market {
    /// Listings.
    pub listings: u32,
    /// Trades.
    pub trades: u32,
    /// Pages of 50 offers.
    pub pages: Vec<Pages>,
    /// Listings that are new or changed, per second.
    pub listed_per_s: f64,
    /// The price of one model with all the trades: 30 days, and the median of each.
    pub pricing: Summary,
    /// Trades that are counted, per second.
    pub traded_per_s: f64,
    /// Settlements that are counted for a reputation, and the reputation after each, per second.
    pub rated_per_s: f64,
    /// Jobs and miners.
    pub matching: Matching,
}

/// Pages of one kind.
#[derive(Debug, Clone, Serialize)]
pub struct Pages {
    /// Of which offers, in which order.
    pub of: String,
    /// Each.
    pub times: Summary,
}

/// Measures for so long.
#[must_use]
pub fn run(seconds: u64, listings: u32, trades: u32, miners: u32) -> Market {
    let each = Duration::from_secs(seconds).div_f64(8.0);
    let mut random = StdRng::seed_from_u64(5);
    let (pages, listed_per_s) = pages(each, listings, &mut random);
    let start = Instant::now();
    let mut of_model = Trades::default();
    for n in 0..trades {
        let day = KEPT_DAYS * n / trades.max(1);
        let _counted = of_model.add(&trade(&mut random, day));
    }
    let traded_per_s = per_second(trades, start);
    let pricing = timed(each, |_| {
        black_box(of_model.settled(KEPT_DAYS - 1, USUAL_DAYS));
        black_box(of_model.daily_medians(KEPT_DAYS - 1));
    });
    let start = Instant::now();
    let mut reputations = Reputations::default();
    for _ in 0..trades {
        let success = success(&mut random);
        reputations.success(&success);
        black_box(reputations.score(&success.miner, success.day).ppm());
    }
    Market {
        listings,
        trades,
        pages,
        listed_per_s,
        pricing,
        traded_per_s,
        rated_per_s: per_second(trades, start),
        matching: matching::run(each, miners, &mut random),
    }
}

fn pages(each: Duration, listings: u32, random: &mut StdRng) -> (Vec<Pages>, f64) {
    let start = Instant::now();
    let mut offers = Offers::default();
    for n in 0..listings {
        let listing = listing(random, n);
        let provider = listing.provider;
        offers.insert(Arc::new(listing));
        offers.know(provider, |known| {
            known.miner = Some(Arc::new(miner(random, n)));
            known.reputation = Reputation {
                ppm: random.random_range(25_000..1_000_000),
                settled: 1,
            };
        });
    }
    let listed_per_s = per_second(listings, start);
    let page = |filter: &Filter, sort| {
        black_box(offers.page(filter, sort, None, PAGE));
    };
    let every = Filter::default();
    let free = Filter {
        available: true,
        ..Filter::default()
    };
    let none = Filter {
        min_vram_gib: 25,
        ..Filter::default()
    };
    let mut pages: Vec<_> = SORTS
        .map(|(name, sort)| Pages {
            of: format!("first 50 offers by {name}"),
            times: timed(each, |_| page(&every, sort)),
        })
        .into();
    let filtered = [("first 50 that are free", free), ("none that fits", none)];
    pages.extend(filtered.map(|(name, filter)| Pages {
        of: name.to_owned(),
        times: timed(each, |_| page(&filter, Sort::Price)),
    }));
    pages.push(Pages {
        of: "first 50 of a model".to_owned(),
        times: timed(each, |n| {
            let filter = Filter {
                gpu: Some(format!("GPU {}", n as u64 % MODELS).into()),
                ..Filter::default()
            };
            page(&filter, Sort::Price);
        }),
    });
    (pages, listed_per_s)
}

fn per_second(count: u32, since: Instant) -> f64 {
    f64::from(count) / since.elapsed().as_secs_f64()
}

fn timed(each: Duration, mut work: impl FnMut(usize)) -> Summary {
    let mut latencies = Latencies::default();
    let end = Instant::now() + each;
    let mut count = 0;
    while Instant::now() < end {
        let start = Instant::now();
        work(count);
        latencies.add(start.elapsed());
        count += 1;
    }
    latencies.summary()
}

fn listing(random: &mut StdRng, n: u32) -> Listing {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    Listing {
        id: ListingId(id),
        provider: key(random.random_range(0..u64::from(n / 2 + 1))),
        gpu: format!("GPU {}", random.random_range(0..MODELS)).into(),
        terms: Terms {
            vram_gib: 24,
            count: 1,
            rate: random.random_range(100_000..3_000_000),
            region: "eu-west".into(),
        },
        detected: false,
        created_ms: 0,
        updated_ms: 0,
    }
}

/// One of ten is free.
fn miner(random: &mut StdRng, n: u32) -> Provider {
    let state = match random.random_range(0..10) {
        0 => State::Free,
        _ => State::Paused,
    };
    Provider {
        miner_id: MinerId([1; 16]),
        name: format!("rig-{n}").into(),
        payee: [1; 20],
        state,
        fastest: Some(Fastest {
            model: "llama3".into(),
            speed: random.random_range(10_000..200_000),
        }),
    }
}

fn trade(random: &mut StdRng, day: u32) -> Trade {
    let owner = random.random_range(0..OWNERS);
    Trade {
        day,
        owner: address(owner),
        provider: key(owner),
        rate: random.random_range(100_000..3_000_000),
        fee: random.random_range(1..100_000),
        billed_ms: 1_000,
    }
}

fn success(random: &mut StdRng) -> Success {
    Success {
        miner: key(random.random_range(0..OWNERS)),
        parties: Parties {
            payer: address(OWNERS + random.random_range(0..OWNERS)),
            ..Parties::default()
        },
        fee: random.random_range(1..100_000),
        day: 100,
    }
}

fn key(n: u64) -> PublicKey {
    let mut key: Hash = [0; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    PublicKey(key)
}

fn address(n: u64) -> Address {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Address(bytes)
}

/// For people.
pub fn text(market: &Market, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\nmarket, inside one process; {} listings of {MODELS} models, {} trades of {OWNERS} owners; times in ms\n",
        market.listings, market.trades
    )?;
    let matching = &market.matching;
    let any = format!("a job to a miner, of {}", matching.listings);
    let pages = market.pages.iter().map(|page| (&*page.of, page.times));
    let rest = [
        ("price of a model, 30 days", market.pricing),
        (any.as_str(), matching.any),
        ("the same, naming a listing", matching.named),
    ];
    for (what, times) in pages.chain(rest) {
        writeln!(
            out,
            "{what:<33}  p50 {:.3}  p99 {:.3}  max {:.3}  ({} times)",
            times.p50_ms, times.p99_ms, times.max_ms, times.count
        )?;
    }
    writeln!(
        out,
        "listings {:.0}/s, trades counted {:.0}/s, settlements with the reputation after each {:.0}/s",
        market.listed_per_s, market.traded_per_s, market.rated_per_s
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ones_are_measured() {
        let market = run(1, 500, 500, 50);
        let times = market.pages.iter().map(|page| page.times);
        for times in times.chain([market.pricing, market.matching.any, market.matching.named]) {
            assert!(times.count > 0, "{market:?}");
        }
        assert!(market.rated_per_s > 0.0);
        let mut out = String::new();
        text(&market, &mut out).unwrap();
        assert!(out.contains("500 listings"), "{out}");
    }
}
