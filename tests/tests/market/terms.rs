//! Who gets a GPU, and what its time comes to: races, a provider that is killed, a renter who never uses it. What is paid
//! is compared with what this test saw, by the rules of docs/market.md and docs/concepts.md in its own arithmetic.

use std::collections::BTreeSet;
use std::time::Duration;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::ListingId;
use aitbc_common::layouts::{LockPurpose, LockTerms, rental_ref};
use aitbc_common::runtime::{random_bytes, unix_ms};
use aitbc_proto::v1::{GetAccountRequest, ListRentalsRequest, ReleaseRequest, RentRequest, Rental};
use aitbc_tests::harness::{FakeOllama, Network, Process, Script, User, wait_for};
use serde_json::{Value, json};
use tonic::Code;

use super::payer::Payer;
use super::{document, renter};

const RACES: u64 = 1_000;
/// 0.06 AIT an hour: a minute is 0.001 AIT, the least that a lock may be.
pub const RATE: u64 = 60_000;
const MINUTE_MS: u64 = 60_000;
const AIT: u64 = 1_000_000;

/// A provider whose GPU is free, and its listing.
fn provider(network: &Network, name: &str, gpu: &str, rate: &str) -> (Process, FakeOllama, String) {
    let server = FakeOllama::start(Script::Answer);
    let user = network
        .user(name)
        .with("OLLAMA_HOST", server.address())
        .with("AITBC_WALLET_PASSWORD", "a password");
    let _registered = user
        .types(&format!(
            "aitbc miner register --gpus '1x {gpu}' --price-per-hour 1"
        ))
        .succeeds();
    let listed = document(
        &user,
        &format!("aitbc marketplace gpu register --model '{gpu}' --hourly-rate {rate}"),
    );
    let mining = user.starts("aitbc miner mine-ollama --model llama3 --continuous");
    let listing = listed["listing_id"].as_str().expect("an id").to_owned();
    wait_for("the GPU to be free", || {
        let line = format!("aitbc marketplace offers list --available --model '{gpu}'");
        let offers = document(&user, &line);
        (offers["offers"].as_array().map(Vec::len) == Some(1)).then_some(())
    });
    (mining, server, listing)
}

pub struct Renter(Payer);

impl Renter {
    pub async fn new(user: &User, secret: u8) -> Self {
        Self(Payer::new(user, secret, 100 * AIT).await)
    }

    /// A lock for a minute of a listing.
    pub fn wants(&mut self, listing: ListingId, provider: PublicKey) -> RentRequest {
        let salt: Hash = random_bytes();
        let renter = self.0.connection.identity.public();
        let chain_id = *self.0.connection.chain_id();
        let terms = LockTerms {
            purpose: LockPurpose::Rental,
            expires_at: unix_ms() + 3 * 3_600_000,
            max_rate: RATE,
            max_fee_bps: 250,
            miner_key: provider,
        };
        let target = rental_ref(&chain_id, &listing, &renter, &salt, MINUTE_MS, RATE);
        RentRequest {
            transaction: self.0.lock(1_000, target, &terms).encode().into(),
            listing_id: listing.to_string(),
            salt: salt.to_vec().into(),
            term: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
            hourly_rate_micro_ait: RATE,
        }
    }

    pub async fn rent(&self, request: RentRequest) -> Result<Rental, tonic::Status> {
        let answer = self.0.connection.marketplace().rent(request).await?;
        Ok(answer.into_inner().rental.expect("a rental"))
    }

    /// A page of its rentals.
    async fn page(&self, page_size: u32, page_token: String) -> (Vec<Rental>, String) {
        let request = ListRentalsRequest {
            page_size,
            page_token,
        };
        let page = self.0.connection.marketplace().list_rentals(request).await;
        let page = page.expect("a page").into_inner();
        assert!(page.rentals.len() <= page_size as usize, "{page:?}");
        (page.rentals, page.next_page_token)
    }

    /// Its rentals, page by page.
    async fn rentals(&self) -> Vec<Rental> {
        let (mut all, mut token) = self.page(7, String::new()).await;
        while !token.is_empty() {
            let (more, next) = self.page(7, token).await;
            all.extend(more);
            token = next;
        }
        all
    }

    async fn release(&self, rental: &Rental) {
        let request = ReleaseRequest {
            rental_id: rental.rental_id.clone(),
        };
        let released = self.0.connection.marketplace().release(request).await;
        released.expect("the winner gives it back");
    }

    /// What it can spend and what is locked.
    pub async fn money(&self) -> (u64, u64) {
        let request = GetAccountRequest {
            address: self.0.key.address().0.to_vec().into(),
            ..GetAccountRequest::default()
        };
        let account = self.0.connection.ledger().get_account(request).await;
        let account = account.expect("an account").into_inner();
        (account.available_micro_ait, account.locked_micro_ait)
    }
}

#[test]
fn of_two_renters_that_race_a_thousand_times_one_wins_each_time() {
    let network = Network::start();
    let (_mining, _server, listing) = provider(&network, "provider", "RTX 4090", "0.06");
    let key = network.user("provider").miner_identity().public();
    let listing: ListingId = listing.parse().expect("a listing's id");
    let user = network.user("renter");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut renters = [Renter::new(&user, 11).await, Renter::new(&user, 12).await];
        let mut won = [0_u64; 2];
        for race in 0..RACES {
            let [one, other] = &mut renters;
            let wanted = (one.wants(listing, key), other.wants(listing, key));
            // Who begins takes turns.
            let answers = if race % 2 == 0 {
                let (first, second) = tokio::join!(one.rent(wanted.0), other.rent(wanted.1));
                [first, second]
            } else {
                let (second, first) = tokio::join!(other.rent(wanted.1), one.rent(wanted.0));
                [first, second]
            };
            let winner = match &answers {
                [Ok(_), Err(_)] => 0,
                [Err(_), Ok(_)] => 1,
                _ => panic!("race {race}: {answers:?}"),
            };
            let lost = answers[1 - winner].as_ref().expect_err("the loser");
            assert_eq!(lost.code(), Code::FailedPrecondition, "{lost:?}");
            assert!(lost.message().contains("has returned"), "{lost:?}");
            won[winner] += 1;
            // The loser has all its money again; nothing of it is locked.
            let (_, locked) = renters[1 - winner].money().await;
            assert_eq!(locked, 0, "race {race}");
            let rental = answers[winner].as_ref().expect("the winner");
            if race == RACES / 2 {
                // The first page begins with the one that is under way, and goes on with those that are over.
                let all = renters[winner].rentals().await;
                assert_eq!(all.len() as u64, won[winner]);
                assert_eq!(all[0].rental_id, rental.rental_id);
            }
            renters[winner].release(rental).await;
        }
        assert_eq!(won[0] + won[1], RACES);
        // A minute each, at 0.001 AIT; the last payment is recorded a little later.
        for (renter, won) in renters.iter().zip(won) {
            let expected = (100 * AIT - won * 1_000, 0);
            let end = tokio::time::Instant::now() + Duration::from_secs(20);
            while renter.money().await != expected {
                assert!(
                    tokio::time::Instant::now() < end,
                    "{:?}",
                    renter.money().await
                );
                tokio::task::yield_now().await;
            }
            let ids: BTreeSet<String> = renter
                .rentals()
                .await
                .into_iter()
                .map(|r| r.rental_id)
                .collect();
            assert_eq!(ids.len() as u64, won);
        }
    });
    let auditor = network.user("renter");
    let audited = wait_for("a checkpoint of all payments", || {
        let audited = document(&auditor, "aitbc ledger audit");
        (audited["paid_ait"] == "1.000000").then_some(audited)
    });
    assert_eq!(audited["open_locks"], 0, "{audited}");
}

fn ms_of(time: &Value) -> u64 {
    let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("a time");
    u64::try_from(time.as_millisecond()).expect("after 1970")
}

fn micro(amount: &Value) -> u64 {
    let (whole, decimals) = amount
        .as_str()
        .and_then(|text| text.split_once('.'))
        .expect("an amount");
    format!("{whole}{decimals}").parse().expect("digits")
}

/// What so many seconds cost at 36 AIT an hour, 0.01 AIT a second, and how much of that is the fee of 2.5 %.
fn price(seconds: u64) -> (u64, u64) {
    (seconds * 10_000, (seconds * 10_000 * 25).div_ceil(1_000))
}

/// A rental that is over and paid for.
fn settled(user: &User) -> Value {
    wait_for("the last payment", || {
        let rental = document(user, "aitbc marketplace rentals")["rentals"][0].clone();
        (rental["status"] == "ended").then_some(rental)
    })
}

fn is_settled_as(user: &User, rental: &Value, seconds: u64) {
    let (paid, fee) = price(seconds);
    let told = ["paid_ait", "fee_ait", "returned_ait"].map(|field| micro(&rental[field]));
    assert_eq!(told, [paid, fee, 600_000 - paid], "{seconds} s: {rental}");
    let balance = wait_for("the rest of the lock", || {
        let balance = document(user, "aitbc wallet balance");
        (balance["escrow_ait"] == "0.000000").then_some(balance)
    });
    assert_eq!(
        micro(&balance["available_ait"]),
        100 * AIT - paid,
        "{balance}"
    );
}

#[test]
fn a_killed_provider_is_paid_what_it_served_and_an_idle_renter_pays_for_what_it_had() {
    let network = Network::start();
    let (mut killed, _server, first) = provider(&network, "one", "RTX 4090", "36");
    let (_serving, _other, second) = provider(&network, "other", "RTX 3090", "36");
    let (left, idle) = (renter(&network, "left"), renter(&network, "idle"));
    let rental = document(&left, &format!("aitbc marketplace rent {first} --for 1m"));
    let unused = document(&idle, &format!("aitbc marketplace rent {second} --for 1m"));
    assert_eq!(micro(&rental["locked_ait"]), 600_000, "{rental}");
    // In the middle of a beat: which of them are whole leaves no doubt.
    let began = ms_of(&rental["began_at"]);
    let middle = began + 25_000;
    wait_for("the middle of a beat", || {
        (unix_ms() >= middle).then_some(())
    });
    killed.kill();
    let served = (unix_ms() - began) / 10_000 * 10;
    assert!((20..60).contains(&served), "{served} s");

    let over = settled(&left);
    assert_eq!(over["end"], "term", "{over}");
    is_settled_as(&left, &over, served);
    // Nobody used the other one. Its provider was there for all six beats.
    let over = settled(&idle);
    assert_eq!(ms_of(&over["ends_at"]) - ms_of(&unused["began_at"]), 60_000);
    is_settled_as(&idle, &over, 60);
    idle.types("aitbc marketplace extend last --hours 1")
        .refuses(1, "is over");
    let submit = "aitbc client submit --model llama3 --prompt Hi --rental last";
    idle.types(submit).refuses(5, "no rental of yours");
    let audited = document(&idle, "aitbc ledger audit");
    let all = price(served).0 + price(60).0;
    assert_eq!(
        (micro(&audited["paid_ait"]), &audited["open_locks"]),
        (all, &json!(0)),
        "{audited}"
    );
}
