//! Scenario 4.3, and reputation: what was paid is told to everyone, from the ledger.

use aitbc_tests::harness::{Network, User, model_file, wait_for};
use serde_json::{Value, json};

const PRICING: &str = r#"aitbc marketplace pricing --model "RTX 4090""#;

fn document(user: &User, line: &str) -> Value {
    user.types(&format!("{line} --json")).succeeds().json()
}

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
