//! 3.1, 3.2 and 3.3, after the six scenarios before them, and what else can be done with money.

use aitbc_tests::harness::{Network, User, wait_for};
use serde_json::Value;

use super::{OTHER, PASSWORD, available, count, mine, network_and_user, scripted, submit, wallet};

const SUBMIT: &str =
    r#"aitbc client submit --type inference --model "llama3" --data '{"prompt":"Hello AITBC"}'"#;
const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

fn status(user: &User, job: &str) -> Value {
    let line = format!("aitbc client status {job} --json");
    user.types(&line).succeeds().json()
}

fn settled(user: &User, job: &str) -> Value {
    wait_for("the job's settlement", || {
        let status = status(user, job);
        (status["payment_status"] == "settled").then_some(status)
    })
}

fn number(value: &Value) -> f64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("an amount")
}

#[test]
fn the_order_in_which_somebody_tries_them() {
    let network = Network::start();
    let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
    let submitted = user.types(&format!("{SUBMIT} --json")).succeeds().json();
    let job = submitted["job_id"].as_str().expect("a job id").to_owned();
    assert_eq!(submitted["status"], "queued");
    let _early = user.types(&format!("aitbc client result {job}")).exits(7);
    let _registered = user.types(REGISTER).succeeds();
    let _polled = user.types("aitbc miner poll").succeeds();
    let _returned = user
        .types(&format!("aitbc miner fail {job} --return"))
        .succeeds();
    mine(&user);
    let _result = user.types(&format!("aitbc client result {job}")).succeeds();

    let (mut create, keyboard) =
        user.starts_on_terminal(&["wallet", "create", "--name", "test_wallet"]);
    create.notes("New password: ");
    keyboard.types(PASSWORD);
    create.notes("Repeat: ");
    keyboard.types(PASSWORD);
    let created = create.wait().succeeds();
    assert!(created.stderr.contains("24 words"), "{}", created.stderr);
    let lines: Vec<String> = created.text().lines().map(str::to_owned).collect();
    assert!(lines[0].starts_with("Wallet created and active: test_wallet  0x"));
    assert_eq!(lines[1], "100 AIT from the development faucet.");

    // It needs no password.
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(balance["available_ait"], "100.000000");
    assert_eq!(balance["proof"], "valid");

    let user = user.with("AITBC_WALLET_PASSWORD", PASSWORD);
    let paid = user
        .types(&format!("aitbc client pay {job} --amount 10 --json"))
        .succeeds()
        .json();
    assert_eq!(paid["status"], "funded");
    let (cost, back) = (
        number(&paid["settlement"]["paid_ait"]),
        number(&paid["settlement"]["returned_ait"]),
    );
    assert!(cost > 0.0 && (cost + back - 10.0).abs() < 1e-9, "{paid}");
    let status = settled(&user, &job);
    assert_eq!(status["paid_ait"], paid["settlement"]["paid_ait"]);
    assert_eq!(status["locked_ait"], "10.000000");
    // Nothing is paid twice.
    user.types(&format!("aitbc client pay {job} --amount 10"))
        .refuses(4, "it is paid");
    held(&user);
}

/// A held job: pending, funded, processing, completed, settled.
fn held(user: &User) {
    let job = submit(user, "--hold");
    assert_eq!(status(user, &job)["status"], "pending");
    let paid = user
        .types(&format!("aitbc client pay {job} --amount 10"))
        .succeeds();
    let confirmed = format!("Payment confirmed: {job} is funded");
    assert!(paid.text().starts_with(&confirmed), "{}", paid.text());
    assert!(!paid.text().contains("settled"), "{}", paid.text());
    let funded = wait_for("the job's funds", || {
        let status = status(user, &job);
        (status["payment_status"] == "funded").then_some(status)
    });
    assert!(["funded", "queued"].contains(&funded["status"].as_str().unwrap_or_default()));
    // Another payment adds to the first.
    let _more = user
        .types(&format!("aitbc client pay {job} --amount 2.5"))
        .succeeds();
    let _polled = user.types("aitbc miner poll --wait").succeeds();
    assert_eq!(status(user, &job)["status"], "processing");
    let _returned = user
        .types(&format!("aitbc miner fail {job} --return"))
        .succeeds();
    mine(user);
    let done = settled(user, &job);
    assert_eq!(done["status"], "completed");
    assert_eq!(done["locked_ait"], "12.500000");
    let sum = number(&done["paid_ait"]) + number(&done["returned_ait"]);
    assert!((sum - 12.5).abs() < 1e-9, "{done}");
    let earned = user.types("aitbc miner earnings --json").succeeds().json();
    assert_eq!(earned["earnings"][0]["jobs"], 2);
    proven_earnings(user, &earned);
    let result = user.types(&format!("aitbc client result {job}")).succeeds();
    assert!(result.stderr.contains("(settled)"), "{}", result.stderr);
}

/// What the coordinator counts is what the ledger proves, and both are told apart.
fn proven_earnings(user: &User, earned: &Value) {
    assert_eq!(earned["counted_by"], "coordinator", "{earned}");
    let proven = &earned["proven"];
    assert_eq!(proven["earned_ait"], earned["earned_ait"], "{earned}");
    // A lock each: one job has two.
    assert_eq!(
        (&proven["payments"], &proven["complete"]),
        (&3.into(), &true.into()),
        "{earned}"
    );
    let text = user.types("aitbc miner earnings").succeeds().text();
    assert!(
        text.contains("✓ proven by the ledger: 3 payments to 0x"),
        "{text}"
    );
    assert!(
        text.contains("the table is the coordinator's count"),
        "{text}"
    );
    // Paid elsewhere from now on: what came before is not among what is proven there, and that is said.
    let elsewhere = format!("aitbc miner update --payout {OTHER}");
    let _updated = user.types(&elsewhere).succeeds();
    let later = user.types("aitbc miner earnings --json").succeeds().json();
    assert_eq!(later["earned_ait"], earned["earned_ait"], "{later}");
    assert_eq!(later["proven"]["payments"], 0, "{later}");
    let text = user.types("aitbc miner earnings").succeeds().text();
    assert!(text.contains("not proven: "), "{text}");
}

#[test]
fn a_job_is_paid_where_it_is_submitted() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let registered = user.types(&format!("{REGISTER} --json")).succeeds().json();
    let shown = user.types("aitbc wallet show --json").succeeds().json();
    assert_eq!(registered["payout_address"], shown["address"]);
    let job = submit(&user, "--pay 1");
    mine(&user);
    let status = settled(&user, &job);
    // The payer is the payee: only the market's fee is gone.
    let left = number(&Value::from(available(&user)));
    assert!((left + number(&status["fee_ait"]) - 100.0).abs() < 1e-9);
    // A job that cannot be paid is not submitted.
    user.types("aitbc client submit --model llama3 --prompt Hi --pay 1000")
        .refuses(4, "insufficient funds: available 99.");
    let jobs = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn an_allowance_pays_without_a_password() {
    let (network, owner) = network_and_user();
    let payer = wallet(&network, &owner, "test_wallet");
    let agent = network.user("agent");
    let shown = agent.types("aitbc identity show --json").succeeds().json();
    let text = shown.to_string();
    let start = text.find("ed25519:").expect("a key");
    let key = &text[start..start + 72];
    let job = submit(&agent, "--hold");
    let pay = format!("aitbc client pay {job} --amount 2 --payer {payer}");
    agent.types(&pay).refuses(4, "no allowance");
    let _allowed = owner
        .types(&format!("aitbc wallet allow {key} 3 --until 1d"))
        .succeeds();
    let paid = agent.types(&pay).succeeds();
    assert!(paid.text().contains(&payer), "{}", paid.text());
    agent.types(&pay).refuses(4, "the allowance leaves 1 AIT");
    // As a setting it does the same.
    let _set = agent
        .types(&format!("aitbc config set payer {payer}"))
        .succeeds();
    let _paid = agent
        .types(&format!("aitbc client pay {job} --amount 0.5"))
        .succeeds();
    let revoke = format!("aitbc wallet allow {key} 0");
    let revoked = owner.types(&revoke).succeeds().text();
    assert!(revoked.starts_with("Revoked"), "{revoked}");
    // Nobody needs a second record of it.
    let again = owner.types(&revoke).succeeds().text();
    assert!(again.starts_with("Nothing to revoke"), "{again}");
    agent
        .types(&format!("aitbc client pay {job} --amount 0.1"))
        .refuses(4, "no allowance");
    assert_eq!(available(&owner), "97.500000");
}

#[test]
fn anybody_may_pay_for_a_job() {
    let (network, payer) = network_and_user();
    wallet(&network, &payer, "test_wallet");
    let owner = network.user("owner");
    let job = submit(&owner, "--hold");
    let _paid = payer
        .types(&format!("aitbc client pay {job} --amount 1"))
        .succeeds();
    // Paying gives no right to read it.
    let _unknown = payer.types(&format!("aitbc client status {job}")).exits(5);
    wait_for("the job's funds", || {
        (status(&owner, &job)["payment_status"] == "funded").then_some(())
    });
    let _cancelled = owner
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    wait_for("the money", || {
        (available(&payer) == "100.000000").then_some(())
    });
    assert_eq!(count(&payer, "returned"), 1);
}

#[test]
fn money_is_sent_staked_and_drawn() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let other = scripted(&network, "other");
    let address = wallet(&network, &other, "theirs");
    let _sent = user
        .types(&format!("aitbc wallet send {address} 2.5 --memo October"))
        .succeeds();
    assert_eq!(available(&other), "102.500000");
    assert_eq!(count(&other, "received"), 1);
    let registered = user.types(&format!("{REGISTER} --json")).succeeds().json();
    let miner = registered["miner_id"].as_str().expect("a miner's id");
    let stake = format!("aitbc wallet stake {miner} 50");
    user.types(&stake)
        .refuses(4, "aitbc wallet bind --miner rig-1");
    let _bound = user.types("aitbc wallet bind").succeeds();
    let _staked = user.types(&stake).succeeds();
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(
        (&balance["staked_ait"], &balance["total_ait"]),
        (&"50.000000".into(), &"97.500000".into())
    );
    user.types(&format!("aitbc wallet unstake {miner} 51"))
        .refuses(4, "insufficient funds");
    let _leaving = user
        .types(&format!("aitbc wallet unstake {miner} 20"))
        .succeeds();
    let _drawn = user.types("aitbc wallet faucet --amount 2.5").succeeds();
    assert_eq!(available(&user), "50.000000");
    assert_eq!(count(&user, "faucet"), 2);
    let _nobody = user
        .types(&format!("aitbc wallet send {OTHER} 1"))
        .succeeds();
}
