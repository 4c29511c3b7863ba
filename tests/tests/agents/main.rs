//! Agents as a user types them: kept by the coordinator, executed by real miners on a model server that plays its part.

mod bench;
mod executing;
mod handover;
mod keeping;
mod peers;
mod real;

use std::fs;

use aitbc_tests::harness::{FakeOllama, Network, Process, User};
use serde_json::{Value, json};

/// Revenue of Q3: July 120,400, August 118,250, September 131,900.
const Q3: &str = "month,revenue\nJuly,100000\nJuly,20400\nAugust,118250\nSeptember,131900\n";
const TASK: &str = "Analyze Q3 financial data";

/// Writes the config of an analysis and its file into a user's folder.
fn writes_config(user: &User, change: &Value) {
    let mut config = json!({
        "model": "llama3",
        "tools": ["sql", "calculator"],
        "files": ["q3.csv"],
    });
    for (name, value) in change.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    let text = format!("// An analysis.\n{config}");
    fs::write(user.home_dir().join("agent_config.json"), text).expect("it is writable");
    fs::write(user.home_dir().join("q3.csv"), Q3).expect("it is writable");
}

/// Creates the agent of that config; its id.
fn creates(user: &User, name: &str) -> String {
    let line = format!("aitbc agent create --name {name} --type analysis --json");
    let created = user.types(&line).succeeds().json();
    created["agent_id"].as_str().expect("an id").to_owned()
}

/// A step of a model without tool calling of its own.
fn calls_sql(thought: &str, query: &str) -> String {
    json!({"thought": thought, "tool": "sql", "arguments": {"query": query}}).to_string()
}

/// The step that ends it.
fn answers(text: &str) -> String {
    json!({"thought": "", "answer": text}).to_string()
}

/// A user with a wallet, which has what the faucet gives.
fn payer(network: &Network) -> User {
    let user = network
        .user("me")
        .with("AITBC_WALLET_PASSWORD", "a password");
    let _wallet = user
        .types("aitbc wallet create --name w --seed-phrase-file seed.txt")
        .succeeds();
    user
}

/// Somebody's miner on a model server.
fn mines(network: &Network, owner: &str, model: &FakeOllama) -> Process {
    let owner = network.user(owner).with("OLLAMA_HOST", model.address());
    let _registered = owner
        .types("aitbc miner register --price-per-hour 5")
        .succeeds();
    let miner = owner.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    miner
}
