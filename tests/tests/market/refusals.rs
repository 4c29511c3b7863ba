//! What the market refuses or warns of, beside what stands with each command: one's own GPU, another's, a price that nobody
//! takes.

use aitbc_common::identity::Identity;
use aitbc_common::ids::ListingId;
use aitbc_common::token::Scope;
use aitbc_proto::v1::CreateListingRequest;
use aitbc_tests::harness::{FakeOllama, Network, Process, Script, wait_for};
use serde_json::Value;
use tonic::Code;

use super::terms::{RATE, Renter};
use super::{document, renter};

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_gpu_and_another_miner_than_the_listings_are_refused_and_nothing_is_locked() {
    let network = Network::start();
    let user = network.user("user");
    let identity = || Identity::from_seed(&[1; 32]);
    let request = CreateListingRequest {
        gpu_model: "RTX 4090".to_owned(),
        count: 1,
        hourly_rate_micro_ait: RATE,
        ..CreateListingRequest::default()
    };
    let miner = user.connect_as(identity(), Scope::Miner).await;
    let created = miner.marketplace().create_listing(request).await;
    let offer = created.expect("a listing").into_inner().offer;
    let listing = offer.and_then(|offer| offer.listing).expect("a listing");
    let id: ListingId = listing.listing_id.parse().expect("an id");

    let (mut own, mut other) = (Renter::new(&user, 1).await, Renter::new(&user, 2).await);
    let request = own.wants(id, identity().public());
    let refused = own.rent(request).await.expect_err("one's own");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("your own GPU"), "{refused:?}");

    let request = other.wants(id, Identity::from_seed(&[3; 32]).public());
    let refused = other.rent(request).await.expect_err("another's");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(refused.message().contains("another miner"), "{refused:?}");

    let unknown: ListingId = "listing_01m83xj880e4ma4jz41b93y214".parse().expect("an id");
    let request = other.wants(unknown, identity().public());
    let refused = other.rent(request).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");

    for renter in [own, other] {
        assert_eq!(renter.money().await, (100_000_000, 0));
    }
}

/// Command lines after `aitbc`, their exit code, and what the error or hint must say.
type Refusals = &'static [(&'static str, i32, &'static str)];

const LISTINGS: Refusals = &[
    ("marketplace offers list --page-size -1", 2, "1 to 1000"),
    ("marketplace offers list --min-vram NaN", 2, "1 to 4096"),
    ("marketplace offers list --region EU", 2, "eu-west"),
    ("marketplace offers list --max-price 1000001", 2, "too much"),
    ("marketplace offers list --min-reputation NaN", 2, "0 to 1"),
    ("marketplace gpu list --miner other", 1, "not registered"),
    (
        "marketplace gpu update last --hourly-rate -1",
        2,
        "negative",
    ),
    ("marketplace gpu update last --vram 0", 2, "1 to 4096"),
    ("marketplace gpu update last --count 65", 2, "64"),
    ("marketplace gpu update last --region 'A B'", 2, "eu-west"),
    (
        "marketplace gpu update LISTING --hourly-rate 1",
        5,
        "no listing",
    ),
    (
        "miner register --gpus '1x RTX 4090' --price-per-hour NaN",
        2,
        "decimal",
    ),
    (
        "miner register --gpus '1x RTX 4090' --price-per-hour -1",
        2,
        "negative",
    ),
    (
        "miner register --gpus '1x RTX 4090' --price-per-hour 1000001",
        2,
        "too much",
    ),
];

const RENTALS: Refusals = &[
    ("marketplace rent LISTING --for 31d", 2, "1m to 30d"),
    ("marketplace rent LISTING --hours 721", 2, "1 to 720"),
    ("marketplace rent LISTING --hours 1 --for 1h", 2, "--for"),
    (
        "marketplace rent LISTING --hours 1 --max-price -1",
        2,
        "negative",
    ),
    (
        "marketplace rent LISTING --hours 1 --max-price 1000001",
        2,
        "too much",
    ),
    (
        "marketplace extend RENTAL --hours 1",
        5,
        "no rental of yours",
    ),
    ("marketplace extend last --hours 0", 2, "1 to 720"),
    ("marketplace extend last --for -1h", 2, "1m to 30d"),
    (
        "marketplace extend last --hours 1 --max-price NaN",
        2,
        "NaN",
    ),
    ("marketplace extend Last --hours 1", 2, "rental"),
    ("marketplace release job_x", 2, "rental"),
    ("marketplace rentals --page-token zz", 2, "page_token"),
    ("marketplace rentals --page-size -1", 2, "1 to 1000"),
    (
        "marketplace rentals --as-provider --miner other",
        1,
        "not registered",
    ),
];

const PRICES: Refusals = &[
    ("marketplace pricing --model ''", 2, "RTX 4090"),
    (
        "marketplace pricing --model 'RTX 4090' --window NaN",
        2,
        "1d to 30d",
    ),
    (
        "marketplace pricing --model 'RTX 4090' --window -1d",
        2,
        "1d to 30d",
    ),
    ("marketplace reputation rig-1", 2, "26 characters"),
    (
        "marketplace reputation ed25519:5f",
        2,
        "64 hexadecimal digits",
    ),
    (
        "marketplace reputation miner_01m83xj880es8r65rzyjka792g",
        5,
        "no miner",
    ),
];

const JOBS: Refusals = &[
    ("SUBMIT --offer last", 2, "26 characters"),
    ("SUBMIT --offer LISTING", 5, "no listing"),
    ("SUBMIT --rental x", 2, "your newest rental"),
    ("SUBMIT --rental last", 5, "you have no rental"),
    ("SUBMIT --rental last --explain", 5, "you have no rental"),
    ("SUBMIT --rental RENTAL", 5, "no rental of yours"),
    ("SUBMIT --rental last --pay 1", 2, "--pay"),
    ("SUBMIT --rental last --offer LISTING", 2, "--offer"),
    ("SUBMIT --min-reputation -0.1", 2, "0 to 1"),
    ("SUBMIT --min-reputation NaN", 2, "0 to 1"),
    ("SUBMIT --min-reputation 1.01 --explain", 2, "0 to 1"),
    ("SUBMIT --max-price NaN", 2, "decimal"),
    ("SUBMIT --max-price -1", 2, "negative"),
    ("SUBMIT --max-price 1000001", 2, "too much"),
];

#[test]
fn what_cannot_be_read_or_is_not_there_is_refused_with_a_hint_and_nothing_is_locked() {
    let network = Network::start();
    let user = renter(&network, "me");
    let _listed = user
        .types("aitbc marketplace gpu register --model A100 --hourly-rate 1")
        .succeeds();
    for (line, code, part) in [LISTINGS, RENTALS, PRICES, JOBS].concat() {
        let line = line
            .replace("SUBMIT", "client submit --model llama3 --prompt Hi")
            .replace("LISTING", "listing_01m83xj880e4ma4jz41b93y214")
            .replace("RENTAL", "rental_01m83xj880e4ma4jz41b93y214");
        user.types(&format!("aitbc {line}")).refuses(code, part);
    }
    let jobs = document(&user, "aitbc client list");
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(0), "{jobs}");
    let history = document(&user, "aitbc wallet history");
    assert!(!history.to_string().contains("lock"), "{history}");
}

#[test]
fn a_price_that_nobody_takes_is_told_with_what_is_asked_and_with_what_was_paid() {
    let network = Network::start();
    let mut serving: Vec<(Process, FakeOllama)> = Vec::new();
    for n in 0..5 {
        let server = FakeOllama::start(Script::Answer);
        let provider = network
            .user(&format!("provider-{n}"))
            .with("OLLAMA_HOST", server.address());
        for line in [
            "aitbc miner register --gpus '1x RTX 4090' --price-per-hour 1",
            "aitbc marketplace gpu register --model 'RTX 4090' --hourly-rate 1300",
        ] {
            let _done = provider.types(line).succeeds();
        }
        let mining = provider.starts("aitbc miner mine-ollama --model llama3 --continuous");
        serving.push((mining, server));
    }
    let (one, other) = (renter(&network, "one"), renter(&network, "other"));
    let listings = wait_for("five GPUs to be free", || {
        let offers = document(&one, "aitbc marketplace offers list --available");
        let offers = offers["offers"].as_array()?.clone();
        (offers.len() == 5).then_some(offers)
    });
    let submit = "aitbc client submit --model llama3 --prompt Hi";
    let low = one.types(&format!("{submit} --max-price 0.5")).succeeds();
    for part in [
        "at most 0.5 AIT/hour wanted",
        "the cheapest that otherwise matches asks 1",
    ] {
        assert!(low.stderr.contains(part), "{part}: {low:?}");
    }
    // A minute is paid at least: 21.67 AIT, with 0.54 of it the fee, to each of five owners.
    for (n, offer) in listings.iter().enumerate() {
        let user = if n < 3 { &one } else { &other };
        let id = offer["listing_id"].as_str().expect("an id");
        for line in [
            format!("aitbc marketplace rent {id} --for 1m"),
            "aitbc marketplace release last".to_owned(),
        ] {
            let _done = user.types(&line).succeeds();
        }
    }
    wait_for("the market to know what was paid", || {
        let price = document(&one, "aitbc marketplace pricing --model 'RTX 4090'");
        (price["sufficient"] == true).then_some(())
    });
    let is_told = |told: &Value| told["warnings"].to_string().contains("PRICE_BELOW_MARKET");
    let below = document(&one, &format!("{submit} --max-price 1299 --explain"));
    assert!(is_told(&below), "{below}");
    let at = document(&one, &format!("{submit} --max-price 1300 --explain"));
    assert!(!is_told(&at), "{at}");
    let text = one
        .types(&format!("{submit} --max-price 1299 --explain"))
        .succeeds();
    for part in ["nine in ten were paid", "1300 or more"] {
        assert!(text.stderr.contains(part), "{part}: {text:?}");
    }
}
