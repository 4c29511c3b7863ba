//! What users see, as snapshots: samples 1.1 to 2.3, for people and for programs. Ids, hashes, times and measured numbers
//! are replaced by what they are.

use aitbc_tests::harness::{Output, redact, redact_json};

use super::{Lab, job_id};

const SUBMIT: &str =
    r#"aitbc client submit --type inference --model "llama3" --data '{"prompt":"Hello AITBC"}'"#;
const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

/// stdout, and stderr beneath it.
fn seen(output: &Output) -> String {
    let mut text = redact(&output.text());
    for line in output.stderr.lines() {
        text.push_str(&format!("[stderr] {}\n", redact(line)));
    }
    text
}

fn document(output: &Output) -> String {
    serde_json::to_string_pretty(&redact_json(&output.json())).expect("JSON")
}

/// One line for each kind of event, in the order of their first appearance: how often progress is said depends on speed.
fn log(text: &str) -> String {
    let mut known: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = redact(line);
        let kind = |line: &str| line.split("  ").nth(1).unwrap_or_default().to_owned();
        if !known.iter().any(|other| kind(other) == kind(&line)) {
            known.push(line);
        }
    }
    known.join("\n")
}

#[test]
fn samples_for_people() {
    let mut lab = Lab::on_ollama();
    let user = lab.user.clone();
    insta::assert_snapshot!("2.1_register", seen(&user.types(REGISTER).succeeds()));
    insta::assert_snapshot!(
        "2.1_register_again",
        seen(&user.types(&REGISTER.replace("0.5", "0.4")).succeeds())
    );
    let _price = user.types(REGISTER).succeeds();
    insta::assert_snapshot!(
        "2.2_nothing",
        seen(&user.types("aitbc miner poll").succeeds())
    );
    let submitted = user.types(SUBMIT).succeeds();
    let job = job_id(&submitted.text());
    insta::assert_snapshot!("1.1_submit", seen(&submitted));
    insta::assert_snapshot!(
        "1.2_status_queued",
        seen(&user.types(&format!("aitbc client status {job}")).succeeds())
    );
    insta::assert_snapshot!(
        "1.3_result_too_early",
        seen(&user.types(&format!("aitbc client result {job}")).exits(7))
    );
    insta::assert_snapshot!("2.2_poll", seen(&user.types("aitbc miner poll").succeeds()));
    insta::assert_snapshot!(
        "2.2_return",
        seen(
            &user
                .types(&format!("aitbc miner fail {job} --return"))
                .succeeds()
        )
    );
    lab.mine().prints("result submitted");
    lab.miner().prints("waiting");
    lab.miner().interrupt();
    let mined = lab.miner().wait().succeeds();
    insta::assert_snapshot!("2.3_mine", log(&mined.text()));
    insta::assert_snapshot!(
        "1.2_status_completed",
        seen(&user.types(&format!("aitbc client status {job}")).succeeds())
    );
    let mut result = user.types(&format!("aitbc client result {job}")).succeeds();
    result.stdout.clear();
    insta::assert_snapshot!("1.3_result", seen(&result));
}

#[test]
fn samples_for_programs() {
    let mut lab = Lab::on_ollama();
    let user = lab.user.clone();
    let json = |line: &str| user.types(&format!("{line} --json"));
    insta::assert_snapshot!("2.1_register_json", document(&json(REGISTER).succeeds()));
    insta::assert_snapshot!(
        "2.2_nothing_json",
        document(&json("aitbc miner poll").succeeds())
    );
    let submitted = json(SUBMIT).succeeds();
    let job = submitted.json()["job_id"]
        .as_str()
        .expect("a job id")
        .to_owned();
    insta::assert_snapshot!("1.1_submit_json", document(&submitted));
    insta::assert_snapshot!(
        "1.2_status_queued_json",
        document(&json(&format!("aitbc client status {job}")).succeeds())
    );
    let early = json(&format!("aitbc client result {job}")).exits(7);
    insta::assert_snapshot!("1.3_result_too_early_json", redact(&early.stderr));
    insta::assert_snapshot!(
        "2.2_poll_json",
        document(&json("aitbc miner poll").succeeds())
    );
    let _returned = json(&format!("aitbc miner fail {job} --return")).succeeds();
    lab.mine_with("--json").prints("result_submitted");
    lab.miner().prints("\"waiting\"");
    lab.miner().interrupt();
    let mut seen: Vec<String> = Vec::new();
    let mut events: Vec<String> = Vec::new();
    for line in lab.miner().wait().succeeds().json_lines() {
        let event = line["event"].to_string();
        if !seen.contains(&event) {
            events.push(redact_json(&line).to_string());
            seen.push(event);
        }
    }
    insta::assert_snapshot!("2.3_mine_json", events.join("\n"));
    insta::assert_snapshot!(
        "1.2_status_completed_json",
        document(&json(&format!("aitbc client status {job}")).succeeds())
    );
    insta::assert_snapshot!(
        "1.3_result_json",
        document(&json(&format!("aitbc client result {job}")).succeeds())
    );
}
