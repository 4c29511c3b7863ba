//! Reputation and market price of random histories, from the records alone.

use std::fmt::Write;
use std::time::Duration;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::market::day_of;
use aitbc_common::market::pricing::{self, Basis, OfferStatistics, Offers, Trade, Trades};
use aitbc_common::market::reputation::{Explanation, Fault, Parties, Reputations, Success};
use aitbc_tests::harness::Network;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{file, python, text};

const DAY_MS: u64 = 86_400_000;
/// The GPU model that prices are asked of; some work is done by others.
const MODEL: u8 = 7;

/// What answers must occur, and how to tell them.
type Case = (&'static str, fn(&Value) -> bool);

/// A history: what Python is told, and what it has to answer.
struct History {
    random: SmallRng,
    rates: usize,
    time_ms: u64,
    jobs: u64,
    book: Reputations,
    trades: Trades,
    told: String,
    answers: Vec<Value>,
}

/// Pays for audits: one of the payers.
const AUDITOR: Address = Address([5; 20]);

impl History {
    fn new(seed: u64) -> Self {
        let mut history = Self {
            random: SmallRng::seed_from_u64(seed),
            rates: (seed % 3) as usize,
            time_ms: 20_000 * DAY_MS,
            jobs: 0,
            book: Reputations::default(),
            trades: Trades::default(),
            told: String::new(),
            answers: Vec::new(),
        };
        history.tell(&json!({"history": {"auditors": [name(&AUDITOR)]}}));
        history
    }

    fn tell(&mut self, line: &Value) {
        writeln!(self.told, "{line}").expect("a string takes all");
    }

    fn pick<const N: usize>(&mut self, of: [u64; N]) -> u64 {
        of[self.random.random_range(0..N)]
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    fn wallet(&mut self, from: u8, count: u8) -> Address {
        Address([from + self.random.random_range(0..count); 20])
    }

    fn maybe(&mut self, wallet: Address) -> Option<Address> {
        self.random.random_bool(0.1).then_some(wallet)
    }

    fn miner(&mut self) -> PublicKey {
        PublicKey([self.random.random_range(0..6); 32])
    }

    /// Wallets of payers from 0, of payees from 4: some are both.
    fn parties(&mut self, payee: Option<Address>) -> Parties {
        let (signer, bound) = (self.wallet(2, 8), self.wallet(2, 8));
        Parties {
            payer: self.wallet(0, 6),
            signer_wallet: self.maybe(signer),
            payee,
            miner_wallet: self.maybe(bound),
        }
    }

    /// Rates from everywhere, or those at which it is decided whether a trade is kept: a tenth of the median away, or 4.448
    /// deviations of 20,000.
    fn rate(&mut self) -> u64 {
        let near = 500_000 + self.below(20_000);
        let far = self.below(10_u64.pow(12));
        let most = 10_u64.pow(12);
        let from_everywhere = self.pick([near, near, near, near, 510_000, far, 1, most, most + 1]);
        let tenth = self.pick([500_000, 500_000, 450_000, 449_999, 550_000, 550_001]);
        let deviations = self.pick([
            500_000, 480_000, 520_000, 588_960, 588_961, 411_040, 411_039,
        ]);
        [from_everywhere, tenth, deviations][self.rates]
    }

    /// A fee, far enough below 2^63 that many of a history are too.
    fn fee(&mut self) -> u64 {
        let (small, usual, huge) = (self.below(200), self.below(200_000), self.below(1 << 54));
        self.pick([0, 1, small, usual, usual, usual, 500_000, 3_000_000, huge])
    }

    fn job(&mut self) {
        let other = self.random.random_bool(0.2);
        let (payee, miner, rate) = (self.wallet(4, 8), self.miner(), self.rate());
        let billed_ms = self.below(3_600_000);
        let day = day_of(self.time_ms);
        let (mut fees, records) = (0, self.pick([1, 1, 1, 2, 3]));
        for record in 0..records {
            let fee = match other && record == 0 {
                true => self.pick([u64::MAX, 49_999, 50_000, 50_001]),
                false => self.fee(),
            };
            let parties = self.parties(Some(payee));
            // As the book takes what an auditor pays.
            let counted = if parties.payer == AUDITOR { 0 } else { fee };
            let success = Success {
                miner,
                parties,
                fee: counted,
                day: day_of(self.time_ms),
            };
            self.book.success(&success);
            fees += if other { 0 } else { counted };
            let post = json!({"post": {
                "job_ref": self.jobs, "miner": hex::encode(miner.0), "payer": name(&parties.payer),
                "signer_wallet": parties.signer_wallet.as_ref().map(name), "payee": name(&payee),
                "miner_wallet": parties.miner_wallet.as_ref().map(name), "gpu": if other { 0 } else { MODEL },
                "rate": rate, "billed_ms": billed_ms, "fee": fee, "time_ms": self.time_ms,
            }});
            self.tell(&post);
            // Chains may reach over midnight.
            self.time_ms += self.pick([0, 0, 1]);
        }
        self.jobs += 1;
        let counts = self.trades.add(&Trade {
            day,
            owner: payee,
            provider: miner,
            rate,
            fee: fees,
            billed_ms,
        });
        assert_eq!(counts, fees > 0 && rate <= 10_u64.pow(12));
    }

    fn fault(&mut self) {
        let (miner, parties) = (self.miner(), self.parties(None));
        let weight = self.fee();
        let fault = Fault {
            miner,
            parties,
            weight,
            day: day_of(self.time_ms),
        };
        let counted = self.book.fault(&fault);
        let line = json!({"fault": {
            "miner": hex::encode(miner.0), "payer": name(&parties.payer),
            "signer_wallet": parties.signer_wallet.as_ref().map(name),
            "miner_wallet": parties.miner_wallet.as_ref().map(name), "weight": weight, "time_ms": self.time_ms,
        }});
        self.tell(&line);
        self.answers.push(json!({"weight": counted}));
    }

    fn found_wrong(&mut self) {
        let miner = self.miner();
        self.book.found_wrong(miner, AUDITOR, day_of(self.time_ms));
        self.tell(&json!({"found_wrong": {
            "miner": hex::encode(miner.0), "auditor": name(&AUDITOR), "time_ms": self.time_ms,
        }}));
    }

    /// Some hours, to the last millisecond of a day, or so many days that something fades away.
    fn wait(&mut self) {
        let midnight = DAY_MS - 1 - self.time_ms % DAY_MS;
        let hours = self.below(DAY_MS / 2);
        let days = self.pick([6, 7, 28, 29, 30, 31, 59, 298, 299, 300, 301]) * DAY_MS;
        self.time_ms += self.pick([hours, hours, hours, hours, hours, midnight, midnight, days]);
    }

    fn ask(&mut self) {
        let today = day_of(self.time_ms) + self.random.random_range(0..3);
        let miner = self.miner();
        self.tell(&json!({"reputation": {"miner": hex::encode(miner.0), "today": today}}));
        let explained = self.book.explain(&miner, today);
        assert_eq!(explained.score, self.book.score(&miner, today));
        self.answers.push(reputation(&explained));

        let days = self.pick([1, 2, 7, 7, 7, 30]);
        let live_ms = self.below(1 << 26);
        let live_ms = self.pick([0, live_ms, live_ms, u64::MAX]);
        let mut offers = Offers::default();
        let rates: Vec<u64> = (0..self.below(5)).map(|_| self.rate()).collect();
        for rate in &rates {
            offers.add(*rate);
        }
        self.tell(&json!({"price": {
            "gpu": MODEL, "today": today, "days": days, "live_ms": live_ms, "offers": rates,
        }}));
        let days = u32::try_from(days).expect("few");
        self.answers.push(price(
            &self.trades,
            today,
            days,
            offers.statistics(),
            live_ms,
        ));
    }

    fn run(&mut self) {
        for _ in 0..self.pick([20, 60, 150]) {
            match self.below(10) {
                0 => self.wait(),
                1 => self.ask(),
                2 => self.fault(),
                3 if self.jobs.is_multiple_of(3) => self.found_wrong(),
                3 => self.fault(),
                _ => self.job(),
            }
        }
        self.ask();
    }
}

fn name(wallet: &Address) -> String {
    hex::encode(wallet.0)
}

fn reputation(of: &Explanation) -> Value {
    let clients = of.clients.iter().map(|terms| {
        let days = terms.days.iter().map(|day| {
            let (sums, faded) = (day.sums, day.faded);
            json!([
                sums.day,
                sums.success,
                sums.fault,
                faded.success,
                faded.fault
            ])
        });
        let counted = [terms.counted.success, terms.counted.fault];
        json!([name(&terms.client), days.collect::<Vec<_>>(), counted])
    });
    json!({
        "success": of.score.success, "fault": of.score.fault, "ppm": of.score.ppm(),
        "clients": clients.collect::<Vec<_>>(),
    })
}

fn price(
    trades: &Trades,
    today: u32,
    days: u32,
    offers: Option<OfferStatistics>,
    live_ms: u64,
) -> Value {
    let settled = trades.settled(today, days);
    let utilisation = pricing::utilisation_bps(settled.billed_ms, live_ms);
    let suggestion = pricing::suggest(&settled, offers.as_ref(), utilisation);
    let kept = settled.kept.as_ref().map(|kept| {
        let buckets = kept.histogram.iter();
        let buckets = buckets.map(|of| json!([of.from, of.to, of.trades, of.weight]));
        json!({
            "trades": kept.trades, "weight": kept.weight, "min": kept.min, "max": kept.max, "mean": kept.mean,
            "percentiles": kept.percentiles.0, "deviation": kept.deviation, "histogram": buckets.collect::<Vec<_>>(),
        })
    });
    let offers = offers.map(|of| {
        json!({"count": of.count, "min": of.min, "max": of.max, "mean": of.mean, "percentiles": of.percentiles.0})
    });
    let basis = match suggestion.basis {
        Basis::Trades => "trades",
        Basis::Offers => "offers",
        Basis::Nothing => "nothing",
    };
    json!({
        "trades": settled.trades, "weight": settled.weight, "owners": settled.owners,
        "weighty_owners": settled.weighty_owners, "scaled_owners": settled.scaled_owners,
        "providers": settled.providers, "billed_ms": settled.billed_ms, "kept": kept, "offers": offers,
        "utilisation_bps": utilisation, "adjustment_bps": suggestion.adjustment_bps, "suggested": suggestion.rate,
        "basis": basis, "daily": trades.daily_medians(today),
    })
}

#[test]
fn python_computes_the_same_reputation_and_price() {
    let mut told = String::new();
    let mut answers = Vec::new();
    for seed in 0..60 {
        let mut history = History::new(seed);
        history.run();
        told += &history.told;
        answers.append(&mut history.answers);
    }
    // Histories without these would show little.
    let count = |meets: fn(&Value) -> bool| answers.iter().filter(|answer| meets(answer)).count();
    let cases: [Case; 8] = [
        ("scaled owners", |of| of["scaled_owners"].as_u64() > Some(0)),
        ("several scaled owners", |of| {
            of["scaled_owners"].as_u64() > Some(1)
        }),
        ("no deviation", |of| {
            of["kept"]["deviation"] == 0 && of["trades"].as_u64() > Some(5)
        }),
        ("something dropped", |of| {
            of["basis"] == "trades" && of["kept"]["trades"] != of["trades"]
        }),
        ("lowered prices", |of| {
            of["adjustment_bps"].as_i64() < Some(0)
        }),
        ("raised prices", |of| {
            of["adjustment_bps"].as_i64() > Some(0)
        }),
        ("prices of offers", |of| {
            of["basis"] == "offers" && of["trades"].as_u64() > Some(0)
        }),
        ("faults", |of| {
            of["fault"].as_u64() > Some(0) && of["success"].as_u64() > Some(0)
        }),
    ];
    for (case, meets) in cases {
        assert!(count(meets) > 5, "{} with {case}", count(meets));
    }

    let network = Network::without_coordinator();
    let histories = network.folder().join("histories.ndjson");
    std::fs::write(&histories, told).expect("a temporary folder is writable");
    let script = file("interop/market.py");
    let computed = python(&network.user("me"), &[text(&script), text(&histories)])
        .wait_at_most(Duration::from_secs(120))
        .succeeds();
    let computed = computed.text();
    let mut lines = computed.lines();
    for (place, answer) in answers.iter().enumerate() {
        let line = lines.next().expect("an answer to each question");
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(&line, answer, "answer {place}");
    }
    assert_eq!(lines.next(), None);
}
