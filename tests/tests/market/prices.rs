//! Scenario 4.3, and reputation: what was paid is told to everyone, from the ledger.

use aitbc_tests::harness::{Network, User, model_file, wait_for};
use aitbc_tests::lying_proxy::{Lie, LyingProxy};
use serde_json::{Value, json};

use super::document;

const PRICING: &str = r#"aitbc marketplace pricing --model "RTX 4090""#;

#[test]
fn the_price_of_one_offer_is_its_own_and_says_so() {
    let network = Network::start();
    let (provider, client) = (network.user("provider"), network.user("client"));
    let nothing = client.types(PRICING).succeeds().text();
    assert!(nothing.contains("no price: nobody offers it"), "{nothing}");
    let _listed = provider
        .types(r#"aitbc marketplace gpu register --model "RTX 4090" --vram 24 --hourly-rate 0.5"#)
        .succeeds();
    let text = client.types(PRICING).succeeds().text();
    assert!(
        text.starts_with("NVIDIA GeForce RTX 4090, AIT/hour   (insufficient data: 0 of 5"),
        "{text}"
    );
    assert!(
        text.contains("average 0.5   median 0.5   p10–p90 0.5–0.5   suggested 0.5       from 1 offer, 0 trades in 30 days"),
        "{text}"
    );
    let price = document(&client, &format!("{PRICING} --window 7d"));
    for (name, value) in [
        ("gpu_model", json!("NVIDIA GeForce RTX 4090")),
        ("average_ait", json!("0.500000")),
        ("suggested_ait", json!("0.500000")),
        ("volume_weighted_ait", Value::Null),
        ("offers", json!(1)),
        ("trades", json!(0)),
        ("sufficient", json!(false)),
        ("window_days", json!(7)),
    ] {
        assert_eq!(price[name], value, "{name}");
    }
    let unknown = client
        .types("aitbc marketplace pricing --model 'RTX 40900'")
        .succeeds();
    assert!(
        unknown.stderr.contains("did you mean"),
        "{}",
        unknown.stderr
    );
    for (line, part) in [
        ("--window 0d", "1d to 30d"),
        ("--window 40d", "1d to 30d"),
        ("--window x", "duration"),
    ] {
        client.types(&format!("{PRICING} {line}")).refuses(2, part);
    }
    client
        .types("aitbc marketplace pricing")
        .refuses(2, "--model");
    client
        .types("aitbc marketplace pricing --model ''")
        .refuses(2, "missing");
}

#[test]
fn paid_work_is_a_trade_and_makes_a_reputation_that_a_restart_keeps() {
    let mut network = Network::start();
    let client = network
        .user("client")
        .with("AITBC_WALLET_PASSWORD", "a password");
    let provider = network.user("provider").with("OLLAMA_HOST", "127.0.0.1:1");
    let _wallet = client
        .types("aitbc wallet create --name w --seed-phrase-file seed.txt")
        .succeeds();
    // Dear enough that a short job brings a fee that counts.
    let registered = document(
        &provider,
        "aitbc miner register --gpus '1x RTX 4090' --price-per-hour 1000",
    );
    let miner = registered["miner_id"].as_str().expect("an id").to_owned();
    let reputation = |user: &User, options: &str| {
        document(
            user,
            &format!("aitbc marketplace reputation {miner} {options}"),
        )
    };
    assert_eq!(reputation(&client, "")["reputation"], 0.025);
    let _mining = provider.starts(&format!(
        "aitbc miner mine --model llama3={} --threads 1 --context 1024 --continuous",
        model_file().display()
    ));
    let _submitted = client
        .types(r#"aitbc client submit --model llama3 --hold --data '{"prompt":"Hi","options":{"num_predict":24}}'"#)
        .succeeds();
    let _paid = client.types("aitbc client pay last --amount 50").succeeds();
    let _result = client.types("aitbc client result last --wait").succeeds();
    let rated = wait_for("the payment in the reputation", || {
        let rated = reputation(&client, "--explain");
        (rated["settled_jobs"] == 1).then_some(rated)
    });
    assert!(rated["reputation"].as_f64() > Some(0.025), "{rated}");
    assert_eq!(rated["clients"].as_array().map(Vec::len), Some(1));
    let index = &rated["records"][0]["index"];
    let record = document(&client, &format!("aitbc ledger record {index}"));
    assert!(record.to_string().contains("post"), "{record}");
    let price = document(&client, PRICING);
    assert_eq!(
        (&price["trades"], &price["sufficient"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(price["volume_weighted_ait"], "1000.000000");

    audited(&network, &client, &rated);

    network.kill_coordinator();
    network.restart_coordinator();
    wait_for("the same after a restart", || {
        (reputation(&client, "--explain") == rated).then_some(())
    });
    assert_eq!(document(&client, PRICING)["trades"], 1);
    let key = rated["miner_key"].as_str().expect("a key");
    let by_key = document(&client, &format!("aitbc marketplace reputation {key}"));
    assert_eq!(by_key["reputation"], rated["reputation"]);
    client
        .types("aitbc marketplace reputation nobody")
        .refuses(2, "miner");
    client
        .types("aitbc marketplace reputation miner_01m83xj880es8r65rzyjka792g")
        .refuses(5, "no miner");
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one quote, all that it says, and each bad price"
)]
fn a_quote_says_what_a_job_costs_before_there_is_one() {
    let network = Network::start();
    let client = network.user("client");
    let provider = network.user("provider").with("OLLAMA_HOST", "127.0.0.1:1");
    let _registered = provider
        .types("aitbc miner register --gpus '1x RTX 4090' --price-per-hour 3.6")
        .succeeds();
    let listed = document(
        &provider,
        "aitbc marketplace gpu register --model 'RTX 4090' --hourly-rate 7.2",
    );
    let listing = listed["listing_id"].as_str().expect("an id");
    let mining = provider.starts(&format!(
        "aitbc miner mine --model llama3={} --threads 1 --context 1024 --continuous",
        model_file().display()
    ));
    mining.prints("polling");
    // Speeds are measured at first use.
    let submit = r#"aitbc client submit --model llama3 --data '{"prompt":"Hi","options":{"num_predict":24}}'"#;
    let _used = client.types(&format!("{submit} --watch")).succeeds();
    let submit = format!("{submit} --explain");
    let submit = submit.as_str();
    wait_for("measured speeds", || {
        let told = document(&client, submit);
        told["miners"][0]["output_tokens_per_second"]
            .is_number()
            .then_some(())
    });
    let told = document(&client, submit);
    let miner = &told["miners"][0];
    for (field, value) in [
        ("most_output_tokens", json!(24)),
        ("rate_per_hour_ait", json!("3.600000")),
        ("gpu_model", json!("NVIDIA GeForce RTX 4090")),
    ] {
        assert_eq!(miner[field], value, "{field}: {told}");
    }
    // The settlement's formula, from the speeds that are told: 1 ms is one micro-AIT.
    let number = |value: &Value| match value.as_str() {
        Some(text) => text.parse::<f64>().expect("a number"),
        None => value.as_f64().expect("a number"),
    };
    let input = r#"{"prompt":"Hi","options":{"num_predict":24}}"#.len() as f64;
    let milli = |field: &str| (number(&miner[field]) * 1_000.0).round();
    let term = |tokens: f64, speed: f64| (tokens * 1e6 / speed).ceil();
    let cap = 1_000.0
        + term(input + 1_024.0, milli("prompt_tokens_per_second"))
        + term(24.0, milli("output_tokens_per_second"));
    assert_eq!((number(&miner["cap_seconds"]) * 1e3).round(), cap, "{told}");
    let highest = (number(&miner["highest_cost_ait"]) * 1e6).round();
    assert_eq!(highest, cap, "{told}");
    let fee = (number(&miner["highest_fee_ait"]) * 1e6).round();
    assert_eq!(fee, (cap * 0.025).ceil(), "{told}");
    let price = &told["prices"][0];
    assert_eq!(
        (&price["sufficient"], &price["suggested_ait"]),
        (&json!(false), &json!("7.200000")),
        "{told}"
    );
    // By the listing, at the listing's price.
    let offered = document(&client, &format!("{submit} --offer {listing}"));
    assert_eq!(offered["miners"][0]["rate_per_hour_ait"], "7.200000");
    let text = client.types(submit).succeeds().text();
    for part in ["AT MOST", "market's fee", "insufficient data"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let low = document(&client, &format!("{submit} --max-price 3.5"));
    assert_eq!(
        (&low["matching_miners"], &low["least_max_price_ait"]),
        (&json!(0), &json!("3.600000")),
        "{low}"
    );
    let text = client
        .types(&format!("{submit} --max-price 3.5"))
        .succeeds();
    assert!(text.text().contains("--max-price 3.6"), "{text:?}");
    let submit = "aitbc client submit --model llama3 --prompt Hi --max-price";
    client
        .types(&format!("{submit} 3.5 --require-miner"))
        .refuses(1, "asks 3.6");
    client
        .types(&format!("{submit} 7.1 --offer {listing}"))
        .refuses(1, "the listing asks 7.2 AIT/hour");
    for (bad, part) in [
        ("NaN", "NaN"),
        ("-1", "negative"),
        ("1e3", "exponents"),
        ("1000001", "too much"),
    ] {
        client
            .types(&format!("{submit} {bad} --explain"))
            .refuses(2, part);
    }
}

/// The ledger's audit comes to the same reputation, from the network and from an export, and catches who says otherwise.
fn audited(network: &Network, client: &User, rated: &Value) {
    let told = document(client, "aitbc ledger audit");
    assert!(told["reputations_compared"].as_u64() >= Some(1), "{told}");
    let miner = &told["reputations"][0];
    for field in ["miner_key", "reputation", "success", "fault"] {
        assert_eq!(miner[field], rated[field], "{field}: {told}");
    }
    let file = network.folder().join("rated.ndjson");
    let _written = client
        .types(&format!("aitbc ledger export {}", file.display()))
        .succeeds();
    let stranger = network
        .user("stranger")
        .with("AITBC_COORDINATOR", "127.0.0.1:1");
    let line = format!("aitbc ledger audit {}", file.display());
    let offline = document(&stranger, &line);
    assert_eq!(offline["reputations"], told["reputations"]);
    assert_eq!(offline["reputations_compared"], Value::Null);
    assert!(
        stranger
            .types(&line)
            .succeeds()
            .text()
            .contains("1 recomputed")
    );

    let proxy = LyingProxy::start(network.address());
    let lied_to = network
        .user("lied to")
        .with("AITBC_COORDINATOR", proxy.address());
    let _honest = document(&lied_to, "aitbc ledger audit");
    let key = rated["miner_key"].as_str().expect("a key");
    for (lie, part) in [
        (Lie::ReputationOverstated, key),
        (Lie::ReputationPostdated, "nothing proves them"),
    ] {
        proxy.tells(lie);
        let caught = lied_to.types("aitbc ledger audit --json").exits(8);
        let error = caught.json_error();
        assert_eq!(error["reason"], "REPUTATION_WRONG", "{error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(part), "{lie:?}: {message}");
    }
}
