//! The terms of a reputation, so that a reader can add them up.

use super::{DaySums, Score, faded, terms_of};
use crate::address::Address;

/// A miner's reputation on a day, term by term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The day.
    pub day: u32,
    /// The clients of whom anything counts, in ascending order.
    pub clients: Vec<ClientTerms>,
    /// S and F; α, β, the margin and the reputation follow from it.
    pub score: Score,
}

/// What one client adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTerms {
    /// The client.
    pub client: Address,
    /// The days of which anything counts, in ascending order.
    pub days: Vec<DayTerms>,
    /// The sums over the days.
    pub all: Score,
    /// What of them counts: at most [`super::MAX_PER_CLIENT`] of either.
    pub counted: Score,
}

/// What one day adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTerms {
    /// The day and its sums.
    pub sums: DaySums,
    /// Days since then.
    pub age: u32,
    /// What is left of the sums.
    pub faded: Score,
}

impl Explanation {
    pub(super) fn new<'a>(
        clients: impl Iterator<Item = (&'a Address, &'a Vec<DaySums>)>,
        day: u32,
    ) -> Self {
        let clients: Vec<ClientTerms> = clients
            .map(|(client, days)| ClientTerms::new(*client, days, day))
            .filter(|terms| !terms.days.is_empty())
            .collect();
        let mut score = Score::default();
        for terms in &clients {
            score.success += terms.counted.success;
            score.fault += terms.counted.fault;
        }
        Self {
            day,
            clients,
            score,
        }
    }
}

impl ClientTerms {
    fn new(client: Address, days: &[DaySums], day: u32) -> Self {
        let (all, counted) = terms_of(days, day);
        let terms = days.iter().map(|sums| {
            let age = day.saturating_sub(sums.day);
            DayTerms {
                sums: *sums,
                age,
                faded: Score {
                    success: faded(sums.success, age),
                    fault: faded(sums.fault, age),
                },
            }
        });
        Self {
            client,
            days: terms
                .filter(|terms| terms.faded != Score::default())
                .collect(),
            all,
            counted,
        }
    }
}
