//! 1.1, 1.2, 1.3, 2.1, 2.2 and 2.3, in the order in which somebody tries them.

use aitbc_tests::harness::Output;
use serde_json::Value;

use super::{Lab, job_id};

const SUBMIT: &str =
    r#"aitbc client submit --type inference --model "llama3" --data '{"prompt":"Hello AITBC"}'"#;
const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

#[test]
fn on_a_real_ollama() {
    walk(Lab::on_ollama());
}

#[test]
fn on_the_embedded_engine() {
    walk(Lab::on_the_embedded_engine());
}

#[test]
fn on_an_engine_that_any_ollama_client_can_use() {
    walk(Lab::on_an_engine());
}

#[test]
fn on_a_real_ollama_as_json() {
    walk_as_json(Lab::on_ollama());
}

#[test]
fn on_the_embedded_engine_as_json() {
    walk_as_json(Lab::on_the_embedded_engine());
}

fn contains(output: &Output, parts: &[&str]) {
    for part in parts {
        assert!(
            output.text().contains(part),
            "{part:?} is missing in {}:\n{}",
            output.command,
            output.text()
        );
    }
}

fn walk(mut lab: Lab) {
    let user = lab.user.clone();

    let submitted = user.types(SUBMIT).succeeds();
    contains(&submitted, &["job_id", "queued"]);
    let job = job_id(&submitted.text());

    let status = user.types(&format!("aitbc client status {job}")).succeeds();
    contains(&status, &[&job, "queued", "position 1"]);
    let early = user.types(&format!("aitbc client result {job}")).exits(7);
    assert!(
        early.stdout.is_empty() && early.stderr.contains("--wait"),
        "{early:?}"
    );

    let registered = user.types(REGISTER).succeeds();
    contains(
        &registered,
        &[
            "miner_0",
            "rig-1",
            "NVIDIA GeForce RTX 4090",
            "24 GiB",
            "declared",
            "0.5 AIT/hour",
        ],
    );

    let polled = user.types("aitbc miner poll").succeeds();
    contains(
        &polled,
        &[
            &job,
            "processing",
            "inference",
            "llama3",
            r#"{"prompt":"Hello AITBC"}"#,
        ],
    );
    let status = user.types(&format!("aitbc client status {job}")).succeeds();
    contains(&status, &["processing", "rig-1"]);
    let nothing = user.types("aitbc miner poll");
    assert!(
        nothing.code == 1 || nothing.text().contains("no jobs in queue"),
        "{nothing:?}"
    );

    let returned = user
        .types(&format!("aitbc miner fail {job} --return"))
        .succeeds();
    contains(&returned, &[&job]);
    mine_and_fetch(&mut lab, &job);
}

/// 2.3, then 1.3 and 1.2 again.
fn mine_and_fetch(lab: &mut Lab, job: &str) {
    let user = lab.user.clone();
    let miner = lab.mine();
    for step in [
        "polling",
        "job received",
        "inference",
        "result submitted",
        "waiting",
    ] {
        miner.prints(step);
    }

    let result = user
        .types(&format!("aitbc client result {job} --wait"))
        .succeeds();
    assert!(!result.stdout.is_empty(), "a model says something");
    assert!(
        result.stderr.contains("signed by rig-1"),
        "{}",
        result.stderr
    );
    contains(&user.types("aitbc models").succeeds(), &["llama3:latest"]);
    let again = user.types(&format!("aitbc client result {job}")).succeeds();
    assert_eq!(again.stdout, result.stdout, "the same bytes each time");
    let status = user.types(&format!("aitbc client status {job}")).succeeds();
    contains(
        &status,
        &["completed", "unfunded", "rig-1", "0 of 3 retries spent"],
    );

    // Ctrl-C drains and exits 0.
    lab.miner().interrupt();
    let _drained = lab.miner().wait().succeeds();
    contains(
        &user.types("aitbc miner poll").succeeds(),
        &["no jobs in queue"],
    );
}

fn walk_as_json(mut lab: Lab) {
    let user = lab.user.clone();

    let submitted = user.types(&format!("{SUBMIT} --json")).succeeds().json();
    assert_eq!(submitted["status"], "queued");
    assert_eq!(submitted["payment_status"], "unfunded");
    assert_eq!(submitted["queue_position"], 1);
    assert_eq!(submitted["warnings"][0], "UNKNOWN_MODEL");
    let job = submitted["job_id"].as_str().expect("a job id").to_owned();
    let error = user
        .types(&format!("aitbc client result {job} --json"))
        .exits(7)
        .json_error();
    assert_eq!(
        (&error["reason"], &error["exit_code"]),
        (&"NOT_FINISHED".into(), &7.into())
    );

    let registered = user.types(&format!("{REGISTER} --json")).succeeds().json();
    assert_eq!(registered["created"], true);
    assert_eq!(registered["price_per_hour_ait"], "0.500000");
    assert_eq!(registered["gpus"][0]["vram_gib"], 24);
    assert_eq!(registered["gpus"][0]["source"], "declared");
    let again = user.types(&format!("{REGISTER} --json")).succeeds().json();
    assert_eq!(
        (&again["created"], &again["miner_id"]),
        (&false.into(), &registered["miner_id"])
    );

    let polled = user.types("aitbc miner poll --json").succeeds().json();
    assert_eq!(polled["job"]["job_id"], job.as_str());
    assert_eq!(polled["job"]["status"], "processing");
    assert_eq!(polled["job"]["payload"]["prompt"], "Hello AITBC");
    let _returned = user
        .types(&format!("aitbc miner fail {job} --return --json"))
        .succeeds()
        .json();

    lab.mine_with("--json").prints("result_submitted");
    lab.miner().prints("waiting");
    let result = user
        .types(&format!("aitbc client result {job} --wait --json"))
        .succeeds()
        .json();
    check_result(&result, &job, &registered);
    lab.miner().terminate();
    let log = lab.miner().wait().succeeds().json_lines();
    let events: Vec<&str> = log
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect();
    for event in [
        "polling",
        "job_received",
        "inference",
        "result_submitted",
        "waiting",
    ] {
        assert!(events.contains(&event), "{event} is missing in {events:?}");
    }
    let nothing = user.types("aitbc miner poll --json").succeeds().json();
    assert_eq!(
        (&nothing["job"], &nothing["message"]),
        (&Value::Null, &"no jobs in queue".into())
    );
}

fn check_result(result: &Value, job: &str, registered: &Value) {
    assert_eq!(result["job_id"], job);
    assert_eq!(result["status"], "completed");
    assert_eq!(result["proof"]["signature"], "valid");
    assert_eq!(result["proof"]["output"], "matches");
    assert_eq!(result["proof"]["ledger"]["inclusion"], "valid");
    assert_eq!(result["receipt"]["miner_id"], registered["miner_id"]);
    assert_eq!(result["receipt"]["model"], "llama3:latest");
    let output = result["output"].as_str().expect("text");
    let hash = aitbc_common::hash::hash_text(&aitbc_common::hash::sha256(output.as_bytes()));
    assert_eq!(result["receipt"]["output_hash"], hash.as_str());
    assert!(result["receipt"]["output_tokens"].as_u64() > Some(0));
}
