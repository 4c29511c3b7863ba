//! Money, as a user types it: wallets, the faucet, payments of jobs, and what happens when an answer is lost.

mod adversarial;
mod at_once;
mod bench;
mod binding;
mod funding;
mod lost_answers;
mod metering;
mod overflow;
mod paid_only;
mod refusals;
mod samples;
mod scenarios;
mod slashing;
mod thefts;
mod wallets;

use aitbc_tests::harness::{Network, User, model_file};

const PASSWORD: &str = "correct horse bättery";
/// Nobody's address, with the case of EIP-55.
const OTHER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";

/// A network and someone on it whose scripts have the password in the environment; the model runs on the miner's own
/// engine.
fn network_and_user() -> (Network, User) {
    let network = Network::start();
    let user = scripted(&network, "me");
    (network, user)
}

fn scripted(network: &Network, name: &str) -> User {
    let user = network.user(name).with("AITBC_WALLET_PASSWORD", PASSWORD);
    user.with("OLLAMA_HOST", "127.0.0.1:1")
}

/// Makes a wallet with 100 AIT; its address.
fn wallet(network: &Network, user: &User, name: &str) -> String {
    let seed = network.folder().join(format!("{name}.seed"));
    let line = format!(
        "aitbc wallet create --name {name} --seed-phrase-file {} --json",
        seed.display()
    );
    let made = user.types(&line).succeeds().json();
    assert_eq!(made["faucet_ait"], "100.000000", "{made}");
    made["address"].as_str().expect("an address").to_owned()
}

/// Runs one job, then ends.
fn mine(user: &User) {
    let line = format!(
        "aitbc miner mine --model llama3={} --threads 1 --context 1024",
        model_file().display()
    );
    let _mined = user.types(&line).succeeds();
}

fn submit(user: &User, options: &str) -> String {
    let line = format!(
        r#"aitbc client submit --type inference --model llama3 --data '{{"prompt":"Hi","options":{{"num_predict":20}}}}' --json {options}"#
    );
    let submitted = user.types(&line).succeeds().json();
    submitted["job_id"].as_str().expect("a job id").to_owned()
}

fn available(user: &User) -> String {
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(balance["proof"], "valid");
    balance["available_ait"]
        .as_str()
        .expect("an amount")
        .to_owned()
}

/// How many records of this kind changed the active wallet.
fn count(user: &User, kind: &str) -> usize {
    let history = user.types("aitbc wallet history --json").succeeds().json();
    let records = history["transactions"].as_array().expect("a list");
    records
        .iter()
        .filter(|record| record["kind"] == kind)
        .count()
}
