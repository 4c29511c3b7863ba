//! What users see, as snapshots: samples 3.1 to 3.3, for people and for programs.

use aitbc_tests::harness::{Network, Output, User, redact, redact_json};

use super::{PASSWORD, mine, network_and_user, submit, wallet};

const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

/// stdout, and stderr beneath it.
fn seen(output: &Output) -> String {
    let mut text = redact(&output.text());
    for line in output.stderr.lines() {
        text.push_str(&format!("[stderr] {}\n", redact(line)));
    }
    height(&text)
}

fn document(output: &Output) -> String {
    height(&serde_json::to_string_pretty(&redact_json(&output.json())).expect("JSON"))
}

/// How many records there are depends on how often the log was sealed meanwhile.
fn height(text: &str) -> String {
    ["\"height\": ", "(height ", "ledger height "]
        .iter()
        .fold(text.to_owned(), |text, before| {
            let mut parts = text.split(before);
            let mut out = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
                assert!(rest.len() < part.len(), "a number after {before}: {text}");
                out.push_str(&format!("{before}[height]{rest}"));
            }
            out
        })
}

fn finished_job(user: &User) -> String {
    let _registered = user.types(REGISTER).succeeds();
    let job = submit(user, "");
    mine(user);
    job
}

#[test]
fn samples_for_people() {
    let network = Network::start();
    let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
    let job = finished_job(&user);
    let (mut create, keyboard) =
        user.starts_on_terminal(&["wallet", "create", "--name", "test_wallet"]);
    create.notes("New password: ");
    keyboard.types(PASSWORD);
    create.notes("Repeat: ");
    keyboard.types(PASSWORD);
    let created = create.wait().succeeds();
    insta::assert_snapshot!("3.1_create", redact(&created.text()));
    let user = user.with("AITBC_WALLET_PASSWORD", PASSWORD);
    insta::assert_snapshot!(
        "3.2_balance",
        seen(&user.types("aitbc wallet balance").succeeds())
    );
    let pay =
        |job: &str, amount: &str| user.types(&format!("aitbc client pay {job} --amount {amount}"));
    insta::assert_snapshot!("3.3_pay_finished", seen(&pay(&job, "10").succeeds()));
    let held = submit(&user, "--hold");
    insta::assert_snapshot!("3.3_pay_held", seen(&pay(&held, "10").succeeds()));
    insta::assert_snapshot!("3.3_too_little", seen(&pay(&held, "1000").exits(4)));
}

#[test]
fn samples_for_programs() {
    let (network, user) = network_and_user();
    let job = finished_job(&user);
    wallet(&network, &user, "first");
    let seed = network.folder().join("second.seed");
    let line = format!(
        "aitbc wallet create --name test_wallet --seed-phrase-file {} --json",
        seed.display()
    );
    let made = user.types(&line).succeeds().json();
    let fields: Vec<&String> = made.as_object().expect("an object").keys().collect();
    let expected = [
        "name",
        "address",
        "active",
        "keystore_file",
        "seed_phrase_file",
        "faucet_ait",
    ];
    assert_eq!(fields, expected);
    insta::assert_snapshot!(
        "3.2_balance_json",
        document(&user.types("aitbc wallet balance --json").succeeds())
    );
    let pay = |job: &str| user.types(&format!("aitbc client pay {job} --amount 10 --json"));
    insta::assert_snapshot!("3.3_pay_finished_json", document(&pay(&job).succeeds()));
    let held = submit(&user, "--hold");
    insta::assert_snapshot!("3.3_pay_held_json", document(&pay(&held).succeeds()));
}
