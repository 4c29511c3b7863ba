//! The reputations that a coordinator states, against what its records come to.

use std::collections::{BTreeMap, BTreeSet};

use aitbc_common::identity::PublicKey;
use aitbc_common::market::day_of;
use aitbc_common::market::replay::Replay;
use aitbc_common::market::reputation::Score;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_proto::v1::get_reputation_request::Provider;
use aitbc_proto::v1::{GetReputationRequest, GetReputationResponse, ListOffersRequest};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::output::json::timestamp_ms;

/// Questions that wait for their answers at once.
const AT_ONCE: usize = 16;
const PAGE_SIZE: u32 = 1_000;
/// Wrong ones that are named.
const NAMED: usize = 10;
/// Miners in a text; JSON has all.
const SHOWN: usize = 10;

/// What a coordinator says of a miner.
#[derive(Debug)]
struct Claim {
    miner: PublicKey,
    day: u32,
    score: Score,
    ppm: u32,
}

/// What a coordinator says, until the records come to the size that it says it of.
#[derive(Debug, Default)]
pub struct Claims {
    open: BTreeMap<u64, Vec<Claim>>,
    compared: usize,
    wrong: Vec<String>,
}

/// Whose reputations are asked for: whoever the records know, and whoever offers a GPU.
pub async fn providers(
    connection: &Connection,
    replay: &Replay,
) -> Result<BTreeSet<PublicKey>, CommandError> {
    let mut miners: BTreeSet<PublicKey> = replay.miners().copied().collect();
    let mut request = ListOffersRequest {
        page_size: PAGE_SIZE,
        ..ListOffersRequest::default()
    };
    loop {
        let page = connection
            .marketplace()
            .list_offers(request.clone())
            .await?;
        let page = page.into_inner();
        let listings = page
            .offers
            .iter()
            .filter_map(|offer| offer.listing.as_ref());
        let keys = listings.filter_map(|listing| listing.provider_key.as_ref().try_into().ok());
        miners.extend(keys.map(PublicKey));
        // A page that does not lead on would be asked for without end.
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            return Ok(miners);
        }
        request.page_token = page.next_page_token;
    }
}

impl Claims {
    /// Asks for them.
    pub async fn ask(
        connection: &Connection,
        miners: BTreeSet<PublicKey>,
        today: u32,
    ) -> Result<Self, CommandError> {
        let mut claims = Self::default();
        let mut answers = stream::iter(miners)
            .map(|miner| async move {
                let request = GetReputationRequest {
                    provider: Some(Provider::MinerKey(miner.0.to_vec().into())),
                    explain: false,
                };
                let answer = connection.marketplace().get_reputation(request).await?;
                Ok::<_, CommandError>((miner, answer.into_inner()))
            })
            .buffer_unordered(AT_ONCE);
        while let Some((miner, answer)) = answers.try_next().await? {
            claims.add(miner, &answer, today);
        }
        Ok(claims)
    }

    fn add(&mut self, miner: PublicKey, answer: &GetReputationResponse, today: u32) {
        let day = answer
            .day
            .as_ref()
            .map_or(0, |day| day_of(timestamp_ms(day)));
        if day.abs_diff(today) > 1 {
            let problem = format!("{miner}: it is stated as of another day than today");
            self.wrong.push(problem);
        }
        self.open.entry(answer.log_size).or_default().push(Claim {
            miner,
            day,
            score: Score {
                success: answer.success,
                fault: answer.fault,
            },
            ppm: answer.reputation_ppm,
        });
    }

    /// The most records that one is said to rest on.
    pub fn last(&self) -> u64 {
        self.open.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// The least.
    pub fn first(&self) -> Option<u64> {
        self.open.first_key_value().map(|(size, _)| *size)
    }

    /// The records have come to this size.
    pub fn compare(&mut self, size: u64, replay: &Replay) {
        for claim in self.open.remove(&size).into_iter().flatten() {
            self.compared += 1;
            let found = replay.score(&claim.miner, claim.day);
            if (found, found.ppm()) != (claim.score, claim.ppm) {
                self.wrong.push(format!(
                    "{}: the first {size} records come to {} (for it {}, against it {}), it is said to have {} ({}, {})",
                    claim.miner,
                    share(found.ppm()),
                    found.success,
                    found.fault,
                    share(claim.ppm),
                    claim.score.success,
                    claim.score.fault,
                ));
            }
        }
    }

    /// How many were compared.
    pub fn finish(self) -> Result<usize, CommandError> {
        let hint = "do not choose by these reputations, and tell the coordinator's operator and its other users";
        if !self.wrong.is_empty() {
            let named = self.wrong.iter().take(NAMED).cloned().collect::<Vec<_>>();
            let more = self.wrong.len() - named.len();
            let more = if more > 0 {
                format!("; and {more} more")
            } else {
                String::new()
            };
            let message = format!("a reputation is wrong: {}{more}", named.join("; "));
            return Err(
                CommandError::new(ExitCode::ProofFailed, "REPUTATION_WRONG", message)
                    .with_hint(hint),
            );
        }
        if let Some(size) = self.first() {
            let message = format!(
                "reputations are stated as of {size} records, to which the checkpoints do not come: nothing proves them"
            );
            return Err(
                CommandError::new(ExitCode::ProofFailed, "REPUTATION_WRONG", message)
                    .with_hint(hint),
            );
        }
        Ok(self.compared)
    }
}

/// The reputations that the records come to, as of the day of the newest.
#[derive(Debug)]
pub struct Recomputed {
    day: u32,
    miners: Vec<(PublicKey, Score)>,
}

impl Recomputed {
    /// Of these records.
    pub fn of(replay: &Replay) -> Self {
        let day = replay.day();
        let of = |miner: &PublicKey| (*miner, replay.score(miner, day));
        Self {
            day,
            miners: replay.miners().map(of).collect(),
        }
    }

    /// In ascending order of the keys.
    pub fn document(&self) -> Value {
        let miners = self.miners.iter().map(|(miner, score)| {
            json!({
                "miner_key": miner.to_string(),
                "reputation": f64::from(score.ppm()) / 1e6,
                "success": score.success,
                "fault": score.fault,
            })
        });
        miners.collect()
    }

    /// The day as text.
    pub fn day(&self) -> String {
        let midnight = prost_types::Timestamp {
            seconds: i64::from(self.day) * 86_400,
            nanos: 0,
        };
        crate::output::json::text_of(&crate::output::json::time(Some(&midnight)))
    }

    /// For people: how many, and the first of them.
    pub fn text(&self, compared: Option<usize>) -> String {
        let compared = match compared {
            Some(compared) => format!("; {compared} are what the coordinator states"),
            None => String::new(),
        };
        let mut text = format!("{} recomputed{compared}", self.miners.len());
        for (miner, score) in self.miners.iter().take(SHOWN) {
            text.push_str(&format!("\n    {miner}  {}", share(score.ppm())));
        }
        if self.miners.len() > SHOWN {
            text.push_str("\n    … (all with --json)");
        }
        text
    }
}

fn share(ppm: u32) -> String {
    format!("{:.6}", f64::from(ppm) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINER: PublicKey = PublicKey([7; 32]);

    fn stated(ppm: u32, day: u32, log_size: u64) -> GetReputationResponse {
        GetReputationResponse {
            reputation_ppm: ppm,
            day: Some(prost_types::Timestamp {
                seconds: i64::from(day) * 86_400,
                nanos: 0,
            }),
            log_size,
            ..GetReputationResponse::default()
        }
    }

    fn checked(answer: &GetReputationResponse) -> Result<usize, CommandError> {
        let mut claims = Claims::default();
        claims.add(MINER, answer, 20_000);
        claims.compare(9, &Replay::default());
        claims.finish()
    }

    #[test]
    fn what_no_record_backs_is_wrong_and_named() {
        assert_eq!(checked(&stated(25_000, 20_000, 9)).unwrap(), 1);
        for (answer, part) in [
            (stated(900_000, 20_000, 9), "it is said to have 0.900000"),
            (stated(25_000, 19_000, 9), "another day"),
            (stated(25_000, 20_000, 10), "10 records"),
            (stated(25_000, 20_000, 8), "8 records"),
        ] {
            let error = checked(&answer).unwrap_err();
            assert_eq!(error.reason, "REPUTATION_WRONG");
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
}
