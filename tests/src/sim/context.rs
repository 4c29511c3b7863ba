//! What all parts of a run share: its clock, its randomness, its schedule and its network.

use std::collections::BTreeMap;
use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::agents::Calls;
use super::check::Checker;
use super::network::Network;
use super::rentals::Rentals;
use super::trace::Trace;
use super::wire::Wire;
use super::world::Event;

/// When every run begins: Unix time in ms, six minutes before midnight.
pub const START_MS: u64 = 1_767_225_240_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Connections break; what was on the way is lost.
    Cut,
    /// One or both sides learn late that a connection is broken.
    HalfOpen,
    /// A miner's messages do not get through for a while.
    Delay,
    /// Messages arrive twice.
    Duplicate,
    /// Calls or their answers are lost, or calls arrive twice.
    Calls,
    /// The coordinator's machine stops; writes that were not synced are lost.
    CoordinatorCrash,
    /// A miner stops; only its spool is kept.
    MinerCrash,
    /// Commits fail, come back fenced, or with an unknown outcome.
    Commit,
    /// Model servers fail or stall.
    Model,
    /// A miner signs two outputs of one attempt.
    Cheat,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Cut,
        Self::HalfOpen,
        Self::Delay,
        Self::Duplicate,
        Self::Calls,
        Self::CoordinatorCrash,
        Self::MinerCrash,
        Self::Commit,
        Self::Model,
        Self::Cheat,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::Delay => "delay",
            Self::Duplicate => "duplicate",
            Self::Calls => "calls",
            Self::CoordinatorCrash => "coordinator-crash",
            Self::MinerCrash => "miner-crash",
            Self::Commit => "commit",
            Self::Model => "model",
            Self::Cheat => "cheat",
        }
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|fault| fault.name() == name);
        known.ok_or_else(|| {
            format!(
                "unknown; known are {}",
                Self::ALL.map(Self::name).join(", ")
            )
        })
    }
}

/// Which kinds of faults happen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Faults(u16);

impl Faults {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self((1 << Fault::ALL.len()) - 1)
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self(0)
    }

    /// Without one kind.
    #[must_use]
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u16))
    }

    /// Whether this kind happens.
    #[must_use]
    pub fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u16 != 0
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(Fault::ALL.iter().filter(|fault| self.has(**fault)))
            .finish()
    }
}

/// A rule that can be broken on purpose, to show that the simulator notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A result counts only for the live attempt.
    AttemptCheck,
    /// A lost attempt's job goes back into the queue.
    RequeueOnLoss,
    /// Streams go on where the other side says.
    ResumeOffset,
    /// Nothing is answered before it is synced.
    Sync,
    /// The ledger carries out each order once.
    OrdersOnce,
    /// A specification is paid once, whoever submits it again.
    DoublePost,
    /// Money is locked only by who signed.
    LockSignature,
    /// What a lock does not pay returns whole.
    Remainder,
    /// Nonces have no gaps.
    Nonce,
    /// A checkpoint is signed once its seal is durable.
    SealBeforeSync,
    /// Who is paid is the payee of the assignment.
    AssignedPayee,
    /// One of two who want a GPU at once gets it.
    OneRenter,
    /// Nobody else's jobs run on a rented GPU.
    RentedOut,
    /// Only time counts in which the provider was there.
    HeardBeats,
    /// A rental's last payment gives the rest of its lock back.
    RentalRest,
    /// What was being unstaked when its stake was slashed goes nowhere.
    Forfeits,
    /// All time counts in which the provider was there.
    Attended,
    /// A job is found wrong once.
    FindingOnce,
    /// An audit's run is stored before it begins.
    RunStored,
    /// An agent's action is stored before its tool is called.
    CallConfirmed,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::AttemptCheck,
        Self::RequeueOnLoss,
        Self::ResumeOffset,
        Self::Sync,
        Self::OrdersOnce,
        Self::DoublePost,
        Self::LockSignature,
        Self::Remainder,
        Self::Nonce,
        Self::SealBeforeSync,
        Self::AssignedPayee,
        Self::OneRenter,
        Self::RentedOut,
        Self::HeardBeats,
        Self::RentalRest,
        Self::Forfeits,
        Self::Attended,
        Self::FindingOnce,
        Self::RunStored,
        Self::CallConfirmed,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AttemptCheck => "attempt-check",
            Self::RequeueOnLoss => "requeue-on-loss",
            Self::ResumeOffset => "resume-offset",
            Self::Sync => "sync",
            Self::OrdersOnce => "orders-once",
            Self::DoublePost => "double-post",
            Self::LockSignature => "lock-signature",
            Self::Remainder => "remainder",
            Self::Nonce => "nonce",
            Self::SealBeforeSync => "seal-before-sync",
            Self::AssignedPayee => "assigned-payee",
            Self::OneRenter => "one-renter",
            Self::RentedOut => "rented-out",
            Self::HeardBeats => "heard-beats",
            Self::RentalRest => "rental-rest",
            Self::Forfeits => "forfeits",
            Self::Attended => "attended",
            Self::FindingOnce => "finding-once",
            Self::RunStored => "run-stored",
            Self::CallConfirmed => "call-confirmed",
        }
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|rule| rule.name() == name);
        known.ok_or_else(|| {
            format!(
                "unknown; known are {}",
                Self::ALL.map(Self::name).join(", ")
            )
        })
    }
}

/// What a run is like, beside its seed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kinds of faults.
    pub faults: Faults,
    /// Jobs at most; a seed may want fewer.
    pub jobs: usize,
    /// Virtual milliseconds until the faults stop.
    pub faulty_ms: u64,
    /// A rule to break.
    pub broken: Option<Rule>,
    /// Keep the whole trace as text.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            faults: Faults::all(),
            jobs: 40,
            faulty_ms: 600_000,
            broken: None,
            trace: false,
        }
    }
}

/// One source of randomness for each concern, so that leaving a kind of fault out changes little else.
pub struct Randomness {
    /// Latencies and what becomes of messages.
    pub network: StdRng,
    /// When faults happen.
    pub faults: StdRng,
    /// What clients and pollers do.
    pub people: StdRng,
    /// What models do.
    pub models: StdRng,
    /// The coordinator's ids, delays and store.
    pub coordinator: StdRng,
    /// What payers and the ledger do.
    pub ledger: StdRng,
    /// What providers and renters do.
    pub market: StdRng,
    /// When miners cheat.
    pub cheats: StdRng,
}

impl Randomness {
    fn new(seed: u64) -> Self {
        let rng = |concern: u64| StdRng::seed_from_u64(seed.wrapping_mul(8) + concern);
        Self {
            network: rng(0),
            faults: rng(1),
            people: rng(2),
            models: rng(3),
            coordinator: rng(4),
            ledger: rng(5),
            market: rng(6),
            cheats: rng(7),
        }
    }
}

/// True once in `n` on average.
pub fn one_in(rng: &mut StdRng, n: u32) -> bool {
    rng.random_range(0..n) == 0
}

/// What all parts of a run share.
pub struct Context {
    /// Unix time in ms.
    pub now: u64,
    pub options: Options,
    /// Faults that happen now.
    pub faults: Faults,
    pub random: Randomness,
    pub network: Network,
    pub trace: Trace,
    pub checker: Checker,
    pub wire: Wire,
    pub rentals: Rentals,
    pub calls: Calls,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

impl Context {
    pub fn new(seed: u64, options: &Options) -> Self {
        Self {
            now: START_MS,
            options: options.clone(),
            faults: options.faults,
            random: Randomness::new(seed),
            network: Network::default(),
            trace: Trace::new(options.trace),
            checker: Checker::default(),
            wire: Wire::default(),
            rentals: Rentals::default(),
            calls: Calls::default(),
            events: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Lets `event` happen in `delay` ms.
    pub fn after(&mut self, delay: u64, event: Event) {
        self.scheduled += 1;
        self.events
            .insert((self.now + delay, self.scheduled), event);
    }

    /// The next event; the clock is moved to it.
    pub fn next(&mut self) -> Option<Event> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }

    /// Whether a fault of this kind happens now, once in `n`.
    pub fn strikes(&mut self, fault: Fault, n: u32) -> bool {
        // The number is drawn in any case, so that the others stay the same without this kind.
        one_in(&mut self.random.network, n) && self.faults.has(fault)
    }

    pub fn broken(&self, rule: Rule) -> bool {
        self.options.broken == Some(rule)
    }
}
