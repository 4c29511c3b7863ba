//! Scenarios 4.1 and 4.2: GPUs are listed and found.

use aitbc_tests::harness::Network;
use serde_json::{Value, json};

use super::document;

const REGISTER: &str =
    r#"aitbc marketplace gpu register --model "RTX 4090" --vram 24 --hourly-rate 0.5"#;
const LIST: &str = r#"aitbc marketplace offers list --model "RTX 4090""#;

fn ids(offers: &Value) -> Vec<String> {
    let offers = offers["offers"].as_array().expect("offers");
    let id = |offer: &Value| offer["listing_id"].as_str().map(str::to_owned);
    offers.iter().filter_map(id).collect()
}

#[test]
fn a_gpu_is_listed_and_found_word_for_word() {
    let network = Network::start();
    let (provider, client) = (network.user("provider"), network.user("client"));
    let nothing = client.types(LIST).succeeds();
    assert!(nothing.text().contains("no GPU is offered"), "{nothing:?}");

    let listed = provider.types(REGISTER).succeeds();
    let text = listed.text();
    assert!(text.starts_with("Listing live: listing_0"), "{text}");
    assert!(
        text.contains("NVIDIA GeForce RTX 4090, 24 GiB, 0.5 AIT/hour"),
        "{text}"
    );
    assert!(text.contains("miner rig-1: not registered yet"), "{text}");
    assert!(listed.stderr.contains("declared"), "{}", listed.stderr);

    let again = document(&provider, REGISTER);
    assert_eq!(again["created"], false);
    assert_eq!(again["warnings"], json!(["GPU_NOT_DETECTED"]));
    let found = document(&client, LIST);
    assert_eq!(ids(&found), [again["listing_id"].as_str().expect("an id")]);
    let offer = &found["offers"][0];
    assert_eq!(offer["gpu_model"], "NVIDIA GeForce RTX 4090");
    assert_eq!(offer["state"], "no_miner");
    assert_eq!(offer["reputation"], 0.025);
    assert_eq!(offer["hourly_rate_ait"], "0.500000");
    assert_eq!(found["next_page_token"], Value::Null);
    // Every spelling finds it, and another model does not.
    for spelling in ["rtx4090", "NVIDIA GeForce RTX 4090"] {
        let line = format!("aitbc marketplace offers list --model '{spelling}'");
        assert_eq!(ids(&document(&client, &line)).len(), 1, "{spelling}");
    }
    let other = client
        .types("aitbc marketplace offers list --model 'RTX 409O'")
        .succeeds();
    assert!(
        other
            .stderr
            .contains("did you mean NVIDIA GeForce RTX 4090?"),
        "{}",
        other.stderr
    );

    let _miner = provider
        .types("aitbc miner register --gpus '1x RTX 4090' --price-per-hour 0.4")
        .succeeds();
    let offer = document(&client, LIST)["offers"][0].clone();
    assert_eq!(
        (&offer["state"], &offer["provider"]),
        (&json!("away"), &json!("rig-1"))
    );
    let table = client.types(LIST).succeeds().text();
    assert!(
        table.contains("RTX 4090") && table.contains("away since"),
        "{table}"
    );
}

#[test]
fn offers_are_filtered_sorted_and_paged() {
    let network = Network::start();
    let client = network.user("client");
    for (n, (model, rate, region)) in [
        ("RTX 4090", "0.5", "eu-west"),
        ("RTX 4090", "0.4", "us-east"),
        ("RTX 3090", "0.2", "eu-west"),
        ("RTX 4090", "0.6", "eu-west"),
    ]
    .into_iter()
    .enumerate()
    {
        let user = network.user(&format!("provider-{n}"));
        let line = format!(
            "aitbc marketplace gpu register --model '{model}' --hourly-rate {rate} --region {region}"
        );
        let _listed = user.types(&line).succeeds();
    }
    let rates = |line: &str| -> Vec<String> {
        let found = document(&client, &format!("aitbc marketplace offers list {line}"));
        let offers = found["offers"].as_array().expect("offers").clone();
        offers
            .iter()
            .map(|offer| {
                offer["hourly_rate_ait"]
                    .as_str()
                    .expect("a rate")
                    .to_owned()
            })
            .collect()
    };
    assert_eq!(rates(""), ["0.200000", "0.400000", "0.500000", "0.600000"]);
    assert_eq!(
        rates("--model rtx4090 --max-price 0.5"),
        ["0.400000", "0.500000"]
    );
    assert_eq!(
        rates("--region eu-west --min-vram 24"),
        ["0.200000", "0.500000", "0.600000"]
    );
    assert!(rates("--available").is_empty());
    assert!(rates("--min-reputation 0.03").is_empty());
    assert_eq!(rates("--sort reputation --min-reputation 0.025").len(), 4);
    // Pages follow each other; a token fits only the question that it came from.
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let line = format!("aitbc marketplace offers list --page-size 1 --page-token '{token}'");
        let page = document(&client, &line);
        seen.extend(ids(&page));
        match page["next_page_token"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => break,
        }
    }
    assert_eq!(seen.len(), 4);
    client
        .types(&format!(
            "aitbc marketplace offers list --sort speed --page-token {token}"
        ))
        .refuses(2, "page_token");
}

#[test]
fn a_listing_is_looked_after_by_its_owner_alone() {
    let network = Network::start();
    let (provider, stranger) = (network.user("provider"), network.user("stranger"));
    let listed = document(&provider, REGISTER);
    let id = listed["listing_id"].as_str().expect("an id").to_owned();
    let _own = stranger
        .types("aitbc marketplace gpu register --model A100 --hourly-rate 1")
        .succeeds();
    for line in [
        format!("aitbc marketplace gpu update {id} --hourly-rate 9"),
        format!("aitbc marketplace gpu withdraw {id}"),
    ] {
        stranger.types(&line).refuses(5, "no listing");
    }
    let dearer = provider
        .types(&REGISTER.replace("0.5", "0.6"))
        .succeeds()
        .text();
    assert!(dearer.contains("price 0.5 -> 0.6 AIT/hour"), "{dearer}");
    let updated = document(
        &provider,
        "aitbc marketplace gpu update last --count 2 --region eu-west",
    );
    assert_eq!(
        (&updated["count"], &updated["region"]),
        (&json!(2), &json!("eu-west"))
    );
    let own = document(&provider, "aitbc marketplace gpu list");
    assert_eq!(own["listings"].as_array().map(Vec::len), Some(1));
    let _gone = provider
        .types("aitbc marketplace gpu withdraw last")
        .succeeds();
    let again = provider
        .types(&format!("aitbc marketplace gpu withdraw {id}"))
        .succeeds();
    assert!(again.stderr.contains("no such listing"), "{again:?}");
    provider
        .types("aitbc marketplace gpu update last --count 1")
        .refuses(5, "no listing");
    assert_eq!(ids(&document(&stranger, LIST)).len(), 0);
}

#[test]
fn listings_survive_a_kill() {
    let mut network = Network::start();
    let provider = network.user("provider");
    let listed = document(&provider, REGISTER);
    network.kill_coordinator();
    network.restart_coordinator();
    let found = document(&network.user("client"), LIST);
    assert_eq!(ids(&found), [listed["listing_id"].as_str().expect("an id")]);
}

#[test]
fn bad_input_is_refused_with_a_hint() {
    let network = Network::start();
    let user = network.user("me");
    let _listed = user.types(REGISTER).succeeds();
    for (line, code, part) in [
        (
            "gpu register --model 'RTX 4090' --hourly-rate -1",
            2,
            "negative",
        ),
        ("gpu register --model 'RTX 4090' --hourly-rate NaN", 2, ""),
        ("gpu register --model 'RTX 4090' --hourly-rate 1e3", 2, ""),
        (
            "gpu register --model 'RTX 4090' --hourly-rate 1000001",
            2,
            "",
        ),
        ("gpu register --model 'RTX 4090'", 2, "--hourly-rate"),
        ("gpu register --model '' --hourly-rate 1", 2, "gpu_model"),
        (
            "gpu register --model 'RTX 4090' --vram 0 --hourly-rate 1",
            2,
            "1 to 4096",
        ),
        (
            "gpu register --model 'RTX 4090' --vram -24 --hourly-rate 1",
            2,
            "1 to 4096",
        ),
        (
            "gpu register --model 'RTX 4090' --count 65 --hourly-rate 1",
            2,
            "64",
        ),
        (
            "gpu register --model 'RTX 4090' --region 'EU West' --hourly-rate 1",
            2,
            "eu-west",
        ),
        (
            "gpu register --model 'RTX 4090' --hourly-rate 1 --miner 'no/name'",
            2,
            "",
        ),
        ("gpu update listing_123 --hourly-rate 1", 2, "26 characters"),
        ("gpu update last", 2, "--hourly-rate"),
        (
            "gpu withdraw listing_01m83xj880e4ma4jz41b93y214 --miner other",
            1,
            "not registered",
        ),
        ("offers list --min-reputation 1.5", 2, "0 to 1"),
        ("offers list --max-price -1", 2, "negative"),
        ("offers list --sort colour", 2, "effective-price"),
        ("offers list --page-token nonsense", 2, "page_token"),
        ("offers list --page-size 0", 2, ""),
    ] {
        user.types(&format!("aitbc marketplace {line}"))
            .refuses(code, part);
    }
}
