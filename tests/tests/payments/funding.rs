//! How much must be locked before a job starts, and who is told what.

use aitbc_tests::harness::{FakeOllama, Network, Script, User, wait_for};
use serde_json::Value;

use super::{available, count, network_and_user, scripted, submit, wallet};

const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

fn status(user: &User, job: &str) -> Value {
    let line = format!("aitbc client status {job} --json");
    user.types(&line).succeeds().json()
}

#[test]
fn strangers_neither_start_a_job_with_too_little_nor_fill_its_places() {
    let (network, owner) = network_and_user();
    wallet(&network, &owner, "test_wallet");
    let stranger = scripted(&network, "stranger");
    wallet(&network, &stranger, "theirs");
    let job = submit(&owner, "--min-funding 8");
    let pay = |amount: &str| format!("aitbc client pay {job} --amount {amount}");
    for _ in 0..3 {
        stranger
            .types(&pay("0.001"))
            .refuses(4, "its next payment takes at least 0.5 AIT");
    }
    assert_eq!(available(&stranger), "100.000000", "nothing was signed");
    let part = stranger.types(&pay("0.5")).succeeds();
    let waits = format!("Payment confirmed: {job} waits for 7.5 AIT more\n");
    assert!(part.text().starts_with(&waits), "{}", part.text());
    // Only its owner may look at it: everybody sees what becomes of a payment.
    assert!(part.stderr.contains("next: aitbc ledger tx 0x"), "{part:?}");
    let waiting = wait_for("the part to be taken", || {
        let status = status(&owner, &job);
        (status["payment_status"] == "funded").then_some(status)
    });
    assert_eq!(waiting["status"], "pending");
    assert_eq!(waiting["missing_ait"], "7.500000");
    assert_eq!(waiting["min_funding_ait"], "8.000000");
    let shown = owner
        .types(&format!("aitbc client status {job}"))
        .succeeds();
    let state = "pending, funded, waits for 7.5 AIT more";
    assert!(shown.text().contains(state), "{}", shown.text());
    let listed = owner.types("aitbc client list").succeeds();
    assert!(
        listed.text().contains("funded, lacks 7.5 AIT"),
        "{listed:?}"
    );
    let rest = owner.types(&format!("{} --json", pay("7.5"))).succeeds();
    assert_eq!(rest.json()["status"], "funded");
    wait_for("the job's funds", || {
        (status(&owner, &job)["status"] == "funded").then_some(())
    });
    // Now a payment is a sixteenth of the 8 AIT at least.
    stranger
        .types(&pay("0.4"))
        .refuses(4, "takes at least 0.5 AIT");
    // A retry waits for as much.
    let _cancelled = owner
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    wait_for("the money", || {
        (available(&stranger) == "100.000000").then_some(())
    });
    assert_eq!(count(&stranger, "returned"), 1);
    let line = format!("aitbc client retry {job} --json");
    let retried = owner.types(&line).succeeds().json();
    assert_eq!(
        (&retried["status"], &retried["missing_ait"]),
        (&"pending".into(), &"8.000000".into())
    );
}

#[test]
fn what_cannot_fit_is_refused_before_there_is_a_job() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let submit = "aitbc client submit --model llama3 --prompt Hi --min-funding";
    for amount in ["0", "1e3", "-1", "0.0000001", "0.0001"] {
        user.types(&format!("{submit} {amount}")).refuses(2, "AIT");
    }
    user.types(&format!("{submit} 10 --pay 0.5"))
        .refuses(2, "too small a part of 10 AIT");
    let jobs = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(0));
    // A part that fits is paid, and what is missing is proposed.
    let paid = user.types(&format!("{submit} 10 --pay 2.5")).succeeds();
    assert!(
        paid.text()
            .contains("pending, waits for 7.5 AIT more, 2.5 AIT locked"),
        "{paid:?}"
    );
    assert!(
        paid.stderr
            .contains("next: aitbc client pay last --amount 7.5"),
        "{paid:?}"
    );
}

#[test]
fn locks_pay_for_ten_seconds_of_a_miner_to_the_micro_ait() {
    let network = Network::start();
    let user = scripted(&network, "me");
    wallet(&network, &user, "test_wallet");
    let server = FakeOllama::start(Script::Answer);
    let rig = network.user("rig").with("OLLAMA_HOST", server.address());
    let _registered = rig.types(REGISTER).succeeds();
    let mining = rig.starts("aitbc miner mine-ollama --model llama3 --continuous");
    mining.prints("polling");
    let explained = user
        .types("aitbc client submit --model llama3 --prompt Hi --explain --json")
        .succeeds()
        .json();
    assert_eq!(explained["least_funding_ait"], "0.001389", "{explained}");
    // 0.001389 AIT are 10 s of 0.5 AIT an hour; one micro-AIT less is not.
    let paid = user
        .types("aitbc client submit --model llama3 --prompt Hi --pay 0.001388")
        .succeeds();
    assert!(paid.stderr.contains("until 0.001389 AIT"), "{paid:?}");
    let jobs = user.types("aitbc client list --json").succeeds().json();
    let job = jobs["jobs"][0]["job_id"]
        .as_str()
        .expect("a job")
        .to_owned();
    let waiting = wait_for("the job's funds", || {
        let status = status(&user, &job);
        (status["status"] == "funded").then_some(status)
    });
    assert_eq!(waiting["missing_ait"], "0.000001", "{waiting}");
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1));
    let shown = user.types(&format!("aitbc client status {job}")).succeeds();
    let text = shown.text();
    assert!(text.contains("waits for 0.000001 AIT more"), "{text}");
    let exact = "aitbc client submit --model llama3 --prompt Hi --pay 0.001389 --watch";
    let watched = user.types(exact).succeeds();
    // It ends with what the ledger proves.
    assert!(watched.stderr.contains("(settled)"), "{watched:?}");
    assert!(
        watched.stderr.contains("✓ in the ledger: leaf"),
        "{watched:?}"
    );
    assert!(
        watched.stderr.contains("payment 0.001389 AIT locked, "),
        "{watched:?}"
    );
    assert_eq!(status(&user, &job)["status"], "funded", "it still waits");
    // And is run for the least that can be added.
    let _added = user
        .types(&format!("aitbc client pay {job} --amount 0.001"))
        .succeeds();
    let line = format!("aitbc client result {job} --wait");
    let _result = user.types(&line).succeeds();
}

#[test]
fn who_does_not_own_a_job_is_told_what_he_can_do() {
    let (network, payer) = network_and_user();
    wallet(&network, &payer, "test_wallet");
    let owner = network.user("owner");
    let job = submit(&owner, "--hold");
    let _cancelled = owner
        .types(&format!("aitbc client cancel {job}"))
        .succeeds();
    let pay = format!("aitbc client pay {job} --amount 1");
    let late = payer.types(&pay);
    late.refuses(5, "it is not known, or it has ended");
    assert!(late.stderr.contains("ask the job's owner"), "{late:?}");
    assert!(!late.stderr.contains("client result"), "{late:?}");
    let shown = owner.types("aitbc identity show --json").succeeds().json();
    let text = shown.to_string();
    let start = text.find("ed25519:").expect("a key");
    let named = payer.types(&format!("{pay} --owner {}", &text[start..start + 72]));
    named.refuses(4, "it ended without a result");
    assert!(named.stderr.contains("only its owner sees"), "{named:?}");
    assert_eq!(available(&payer), "100.000000");
    // To its owner it says where to look.
    let own = owner.with("AITBC_WALLET_PASSWORD", super::PASSWORD);
    wallet(&network, &own, "own");
    let own = own.types(&pay);
    own.refuses(4, "it ended without a result");
    assert!(own.stderr.contains("aitbc client status"), "{own:?}");
}
