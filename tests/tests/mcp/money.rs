//! Paying under an allowance, and nothing beyond.

use aitbc_tests::harness::{FakeOllama, McpClient, Network, Script, User, wait_for};
use serde_json::{Value, json};

use super::mining;

const PASSWORD: &str = "correct horse";

/// Somebody with a wallet of 100 AIT, and its address.
pub fn payer(network: &Network) -> (User, String) {
    let payer = network
        .user("payer")
        .with("AITBC_WALLET_PASSWORD", PASSWORD);
    let seed = network.folder().join("seed");
    let line = format!(
        "aitbc wallet create --name purse --seed-phrase-file {} --json",
        seed.display()
    );
    let made = payer.types(&line).succeeds().json();
    let address = made["address"].as_str().expect("an address").to_owned();
    (payer, address)
}

pub fn allow(payer: &User, agent: &User, amount: &str) {
    let line = format!(
        "aitbc wallet allow {} {amount} --until 1d",
        agent.identity().public()
    );
    let _allowed = payer.types(&line).succeeds();
}

pub fn available(payer: &User) -> String {
    let balance = payer.types("aitbc wallet balance --json").succeeds().json();
    balance["available_ait"]
        .as_str()
        .expect("an amount")
        .to_owned()
}

fn paid_job(pay: &str) -> Value {
    json!({"model": "llama3", "prompt": "Hello", "pay": pay})
}

#[test]
fn an_allowance_pays_and_its_limits_hold() {
    let network = Network::start();
    let model = FakeOllama::start(Script::AnswerLate);
    let _miner = mining(&network, &model);
    let ((payer, address), agent) = (payer(&network), network.user("agent"));
    let limits = ["--allowance", &address, "--max-spend", "2"];
    let mut client = McpClient::start(&agent, "auto", &limits);
    let none = client.refuses("submit", &paid_job("1"));
    assert_eq!(none["reason"], "NO_ALLOWANCE", "{none}");
    allow(&payer, &agent, "3");
    let balance = client.gives("balance", &json!({}));
    assert_eq!(balance["allowance"]["left_ait"], "3.000000", "{balance}");
    assert_eq!(
        (&balance["available_ait"], &balance["proof"]),
        (&json!("2.000000"), &json!("valid"))
    );

    let done = client.gives("submit", &paid_job("1.5"));
    assert_eq!(
        (&done["output"], &done["payment_status"]),
        (&json!("Hello there"), &json!("settled"))
    );
    assert_eq!(done["locked_ait"], "1.500000", "{done}");
    let paid = done["paid_ait"].as_str().expect("an amount").to_owned();
    let spent: f64 = paid.parse().expect("a number");
    assert!(spent > 0.0 && spent < 0.01, "{done}");
    // What it did not use may be spent again: it is more than the half that was left.
    let balance = client.gives("balance", &json!({}));
    assert_eq!(balance["spent_ait"], *paid, "{balance}");
    let again = client.gives("submit", &paid_job("1.9"));
    assert_eq!(again["payment_status"], "settled");

    let over = client.refuses("submit", &paid_job("2"));
    assert_eq!(
        (&over["reason"], &over["exit_code"]),
        (&json!("SPENDING_LIMIT"), &json!(4)),
        "{over}"
    );
    let jobs = agent.types("aitbc client list --json").succeeds().json();
    assert_eq!(
        jobs["jobs"].as_array().map(Vec::len),
        Some(2),
        "what is refused is not submitted"
    );
    // No higher limit of the server lifts the allowance's.
    let limits = ["--allowance", &address, "--max-spend", "50"];
    let mut client = McpClient::start(&agent, "auto", &limits);
    let over = client.refuses("submit", &paid_job("3.5"));
    assert_eq!(over["reason"], "INSUFFICIENT_FUNDS", "{over}");
    assert!(
        over["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("aitbc wallet allow")),
        "{over}"
    );
    allow(&payer, &agent, "0");
    let revoked = client.refuses("submit", &paid_job("0.5"));
    assert_eq!(revoked["reason"], "NO_ALLOWANCE", "{revoked}");
    let balance = client.gives("balance", &json!({}));
    assert_eq!(
        (&balance["available_ait"], &balance["allowance"]),
        (&json!("0.000000"), &Value::Null)
    );
}

#[test]
fn locked_money_counts_until_it_returns() {
    let network = Network::start();
    let (payer, address) = payer(&network);
    let agent = network.user("agent");
    allow(&payer, &agent, "10");
    let limits = ["--allowance", &address, "--max-spend", "2"];
    let mut client = McpClient::start(&agent, "legacy", &limits);
    // Nobody mines: the money stays locked.
    let mut asked = paid_job("1.5");
    asked["wait"] = json!(false);
    asked["request_id"] = json!("once");
    let first = client.gives("submit", &asked);
    assert_eq!(first["payment"]["amount_ait"], "1.500000", "{first}");
    let again = client.gives("submit", &asked);
    assert_eq!(again["job_id"], first["job_id"]);
    assert_eq!(available(&payer), "98.500000", "the same request pays once");
    let balance = client.gives("balance", &json!({}));
    assert_eq!(
        (&balance["locked_ait"], &balance["available_ait"]),
        (&json!("1.500000"), &json!("0.500000"))
    );
    let over = client.refuses("submit", &paid_job("1"));
    assert_eq!(over["reason"], "SPENDING_LIMIT", "{over}");
    let _cancelled = client.gives("cancel", &json!({"job_id": first["job_id"]}));
    wait_for("the money", || {
        (available(&payer) == "100.000000").then_some(())
    });
    let mut asked = paid_job("2");
    asked["wait"] = json!(false);
    let whole = client.gives("submit", &asked);
    assert_eq!(whole["payment"]["amount_ait"], "2.000000", "{whole}");
}

#[test]
fn without_an_allowance_nothing_is_spent() {
    let network = Network::start();
    // Its own wallet, its password and the setting are at hand: an agent does not reach them.
    let (payer, address) = payer(&network);
    let _set = payer
        .types(&format!("aitbc config set payer {address}"))
        .succeeds();
    allow(&payer, &payer, "10");
    let mut client = McpClient::start(&payer, "auto", &[]);
    let refused = client.refuses("submit", &paid_job("1"));
    assert_eq!(refused["reason"], "NO_ALLOWANCE", "{refused}");
    assert!(
        refused["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("--allowance")),
        "{refused}"
    );
    let balance = client.gives("balance", &json!({}));
    assert_eq!(
        (&balance["available_ait"], &balance["payer"]),
        (&json!("0.000000"), &Value::Null)
    );
    let asked = json!({"model": "llama3", "prompt": "Hello", "wait": false});
    let unpaid = client.gives("submit", &asked);
    assert_eq!(unpaid["payment_status"], "unfunded");
    assert_eq!(available(&payer), "100.000000");
    // Half of the options is none.
    for half in ["--max-spend 1".to_owned(), format!("--allowance {address}")] {
        payer.types(&format!("aitbc mcp {half}")).refuses(2, "--");
    }
}

#[test]
fn no_wallet_is_opened_even_where_it_pays() {
    let network = Network::start();
    let model = FakeOllama::start(Script::AnswerLate);
    let _miner = mining(&network, &model);
    let (payer, address) = payer(&network);
    allow(&payer, &payer, "10");
    // A keystore that nobody can read would end a command that opens it.
    let wallets = payer.aitbc_home().join("wallets");
    let moved = payer.aitbc_home().join("moved");
    std::fs::rename(&wallets, &moved).expect("the wallets are there");
    std::fs::create_dir(&wallets).expect("the folder is writable");
    let limits = ["--allowance", &address, "--max-spend", "1"];
    let mut client = McpClient::start(&payer, "auto", &limits);
    let done = client.gives("submit", &paid_job("1"));
    assert_eq!(done["payment_status"], "settled", "{done}");
    drop(client);
    std::fs::remove_dir_all(&wallets).expect("the folder is ours");
    std::fs::rename(&moved, &wallets).expect("the folder is ours");
}
