//! The people of the market: providers list, reprice and withdraw their GPUs; renters race for them, use them, extend,
//! release early, or never come; and a provider vanishes in the middle of a term.

use aitbc_common::hash::Hash;
use aitbc_common::ids::{ListingId, RentalId, shard_of};
use aitbc_common::runtime::status::ApiError;
use aitbc_coordinator::engine::command::{Command, NewListing, RentalSelector, Reply};
use aitbc_coordinator::market::listing::{Terms, TermsChange};
use aitbc_coordinator::payments::RentalTerms;
use aitbc_proto::v1::ErrorReason;
use rand::Rng;

use super::clients::{Call, ClientJob, call};
use super::context::{Context, Fault, START_MS, one_in};
use super::faults::Strike;
use super::ledger::Ledger;
use super::work;
use super::world::Event;

/// Rentals that are wished for in a run: at most so many, and two more who race for the last.
const WISHES: usize = 8;
/// A renter asks for so long what became of its lock.
const ASKS_MS: u64 = 240_000;

/// Somebody does something.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A provider lists its GPU, or changes its listing.
    Provide(usize),
    /// A wish is tried.
    Rent(usize),
    /// A renter asks what became of its lock.
    Ask(usize),
    /// It submits a job under its rental.
    Use(usize),
    Extend(usize),
    Release(usize),
}

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// At this rate.
    List(usize, u64),
    /// To this rate.
    Reprice(usize, u64),
    Withdraw(usize),
    /// The rental of a wish.
    Find(usize),
    Release(usize),
}

/// Somebody wants to rent a GPU.
struct Wish {
    renter: usize,
    provider: usize,
    term_ms: u64,
    /// Its lock and its terms, once they are signed.
    signed: Option<(Hash, RentalTerms)>,
    asks_until: u64,
    rental: Option<RentalId>,
    is_released: bool,
}

/// Everybody.
pub struct Market {
    /// What each provider was told of its listing: its id and its rate.
    offers: Vec<Option<(ListingId, u64)>>,
    wishes: Vec<Wish>,
}

fn term(ctx: &mut Context) -> u64 {
    let rng = &mut ctx.random.market;
    let tens = match rng.random_range(0..60) {
        0 => rng.random_range(361..420),
        1..20 => rng.random_range(40..90),
        _ => rng.random_range(6..30),
    };
    tens * 10_000
}

impl Market {
    /// Of so many miners in session and so many clients.
    pub fn new(ctx: &mut Context, providers: usize, clients: usize) -> Self {
        for provider in 0..providers {
            let begins = ctx.random.market.random_range(0..60_000);
            ctx.after(begins, Event::Market(Step::Provide(provider)));
        }
        let mut wishes = Vec::new();
        let wanted = ctx.random.market.random_range(0..=WISHES);
        while wishes.len() < wanted {
            let rng = &mut ctx.random.market;
            let at = rng.random_range(20_000..ctx.options.faulty_ms.max(30_000) * 4 / 5);
            let provider = rng.random_range(0..providers);
            // Several may want the same GPU at the same moment.
            for _ in 0..rng.random_range(1..=3) {
                ctx.after(at, Event::Market(Step::Rent(wishes.len())));
                wishes.push(Wish {
                    renter: ctx.random.market.random_range(0..clients),
                    provider,
                    term_ms: term(ctx),
                    signed: None,
                    asks_until: 0,
                    rental: None,
                    is_released: false,
                });
            }
        }
        Self {
            offers: vec![None; providers],
            wishes,
        }
    }

    pub fn step(
        &mut self,
        ctx: &mut Context,
        step: Step,
        ledger: &mut Ledger,
        jobs: &mut Vec<ClientJob>,
    ) {
        let is_late = ctx.now >= START_MS + ctx.options.faulty_ms;
        match step {
            Step::Provide(provider) if !is_late => self.provide(ctx, provider),
            Step::Rent(wish) if !is_late => self.rent(ctx, wish, ledger),
            Step::Extend(wish) if !is_late => self.extend(ctx, wish, ledger),
            Step::Ask(wish) => {
                let wanted = &self.wishes[wish];
                if wanted.rental.is_none() && ctx.now < wanted.asks_until {
                    call(ctx, Call::Market(Asked::Find(wish)));
                    let again = ctx.random.market.random_range(1_000..8_000);
                    ctx.after(again, Event::Market(Step::Ask(wish)));
                }
            }
            Step::Use(wish) => {
                let wanted = &self.wishes[wish];
                if let Some(rental) = wanted.rental {
                    let number = jobs.len();
                    jobs.push(ClientJob::under(ctx, number, wanted.renter, rental));
                }
            }
            Step::Release(wish) if !self.wishes[wish].is_released => {
                call(ctx, Call::Market(Asked::Release(wish)));
                let again = ctx.random.market.random_range(500..5_000);
                ctx.after(again, Event::Market(Step::Release(wish)));
            }
            _ => {}
        }
    }

    fn provide(&mut self, ctx: &mut Context, provider: usize) {
        let rng = &mut ctx.random.market;
        let (what, rate) = (rng.random_range(0..8), rng.random_range(1_000..5_000_000));
        let asked = match (self.offers[provider], what) {
            (None, _) | (_, 0) => Asked::List(provider, rate),
            (Some(_), 1 | 2) => Asked::Reprice(provider, rate),
            (Some(_), 3) => Asked::Withdraw(provider),
            _ => return self.provide_later(ctx, provider, 30_000),
        };
        call(ctx, Call::Market(asked));
        self.provide_later(ctx, provider, 60_000);
    }

    fn provide_later(&self, ctx: &mut Context, provider: usize, within: u64) {
        let pause = ctx.random.market.random_range(2_000..within);
        ctx.after(pause, Event::Market(Step::Provide(provider)));
    }

    /// Locks the price of a term.
    fn sign(
        &mut self,
        ctx: &mut Context,
        wish: usize,
        ledger: &mut Ledger,
        extends: Option<RentalId>,
    ) -> Option<(Hash, RentalTerms)> {
        let wanted = &self.wishes[wish];
        let (listing, rate) = self.offers[wanted.provider]?;
        let renter = work::client(wanted.renter).public();
        let rng = &mut ctx.random.market;
        let terms = RentalTerms {
            new_id: RentalId::new(ctx.now, shard_of(&renter), rng.random()),
            extends,
            listing,
            renter,
            salt: rng.random(),
            term_ms: wanted.term_ms,
            rate,
        };
        // Some lock more than they need; what is left returns.
        let more = if one_in(rng, 3) {
            rng.random_range(0..100_000)
        } else {
            0
        };
        let amount = aitbc_common::money::cost(rate, wanted.term_ms) + more;
        let provider = work::miner(wanted.provider).public();
        let lock = ledger.rent(ctx, &terms, amount.max(1_000), provider);
        Some((lock, terms))
    }

    fn rent(&mut self, ctx: &mut Context, wish: usize, ledger: &mut Ledger) {
        self.wishes[wish].signed = self.sign(ctx, wish, ledger, None);
        if self.wishes[wish].signed.is_none() {
            let later = ctx.random.market.random_range(5_000..30_000);
            return ctx.after(later, Event::Market(Step::Rent(wish)));
        }
        self.wishes[wish].asks_until = ctx.now + ASKS_MS;
        ctx.after(1_000, Event::Market(Step::Ask(wish)));
    }

    fn extend(&mut self, ctx: &mut Context, wish: usize, ledger: &mut Ledger) {
        let wanted = &mut self.wishes[wish];
        if let Some(rental) = wanted.rental {
            wanted.term_ms = term(ctx);
            self.sign(ctx, wish, ledger, Some(rental));
        }
    }

    /// What a call asks the engine.
    pub fn command(&self, ctx: &mut Context, asked: Asked) -> Option<Command> {
        let provider = |number: usize| work::miner(number).public();
        let id = |number: usize| self.offers[number].map(|(id, _)| id);
        Some(match asked {
            Asked::List(number, rate) => {
                let rng = &mut ctx.random.market;
                let key = provider(number);
                let terms = Terms {
                    vram_gib: 24,
                    count: 1,
                    rate,
                    region: "".into(),
                };
                Command::CreateListing {
                    provider: key,
                    new: Box::new(NewListing {
                        new_id: ListingId::new(ctx.now, shard_of(&key), rng.random()),
                        gpu: "NVIDIA GeForce RTX 4090".into(),
                        terms,
                    }),
                }
            }
            Asked::Reprice(number, rate) => Command::UpdateListing {
                provider: provider(number),
                id: id(number)?,
                change: TermsChange {
                    rate: Some(rate),
                    ..TermsChange::default()
                },
            },
            Asked::Withdraw(number) => Command::WithdrawListing {
                provider: provider(number),
                id: id(number)?,
            },
            Asked::Find(wish) => {
                let (lock, _) = self.wishes[wish].signed.as_ref()?;
                Command::GetRental(RentalSelector::Lock(*lock))
            }
            Asked::Release(wish) => Command::ReleaseRental {
                renter: work::client(self.wishes[wish].renter).public(),
                id: self.wishes[wish].rental?,
            },
        })
    }

    /// An answer arrived.
    pub fn answered(&mut self, ctx: &mut Context, asked: Asked, answer: Result<Reply, ApiError>) {
        match (asked, answer) {
            (
                Asked::List(number, rate) | Asked::Reprice(number, rate),
                Ok(Reply::Listed { id, .. }),
            ) => self.offers[number] = Some((id, rate)),
            (Asked::Withdraw(number), Ok(_)) => self.offers[number] = None,
            (Asked::Find(wish), Ok(Reply::Rental(Some(kept)))) => {
                let wanted = &mut self.wishes[wish];
                if wanted.rental.replace(kept.rental.id).is_none() {
                    self.plan(ctx, wish);
                }
            }
            (Asked::Release(wish), Ok(_)) => self.wishes[wish].is_released = true,
            // It is over, and all of it is paid for.
            (Asked::Release(wish), Err(error)) => {
                self.wishes[wish].is_released |= error.reason == ErrorReason::RentalNotFound;
            }
            _ => {}
        }
    }

    /// What a renter does with its GPU, and what happens to it.
    fn plan(&self, ctx: &mut Context, wish: usize) {
        let wanted = &self.wishes[wish];
        let (term_ms, provider) = (wanted.term_ms, wanted.provider);
        let rng = &mut ctx.random.market;
        // Some never use it.
        let jobs = [0, 1, 1, 2, 3][rng.random_range(0..5)];
        let mut steps = vec![Step::Use(wish); jobs];
        if one_in(rng, 3) {
            steps.push(Step::Release(wish));
        }
        if one_in(rng, 4) {
            steps.push(Step::Extend(wish));
        }
        for step in steps {
            let at = ctx.random.market.random_range(0..term_ms);
            ctx.after(at, Event::Market(step));
        }
        let rng = &mut ctx.random.market;
        let (vanishes, at) = (one_in(rng, 3), rng.random_range(0..term_ms.div_ceil(4)));
        let down = rng.random_range(310_000..450_000);
        let is_late = ctx.now + at >= START_MS + ctx.options.faulty_ms;
        if vanishes && !is_late && ctx.faults.has(Fault::MinerCrash) {
            ctx.after(at, Event::Strike(Strike::Vanish(provider, down)));
        }
    }
}
