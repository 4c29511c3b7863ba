//! Refusals that a user of the command line meets.

use aitbc_tests::harness::{Network, User};

const SUBMIT: &str = "aitbc client submit --type inference --model llama3";

/// Command lines, their exit code, and what the error or hint must say.
pub fn refusals(user: &User, cases: &[(&str, i32, &str)]) {
    for (line, code, part) in cases {
        let line = line.replace("SUBMIT", SUBMIT);
        user.types(&line).refuses(*code, part);
        // The same for programs: one line of JSON with the same exit code.
        let error = user
            .types(&format!("{line} --json"))
            .exits(*code)
            .json_error();
        assert_eq!(error["exit_code"], *code, "{line}");
        assert!(
            error["hint"].is_string() && error["reason"].is_string(),
            "{line}: {error}"
        );
    }
}

#[test]
fn documents() {
    let network = Network::start();
    let user = network.user("me");
    refusals(
        &user,
        &[
            (r#"SUBMIT --data '{"prompt" "x"}'"#, 2, "line 1, column 11"),
            (r#"SUBMIT --data '{"prompt":"x"'"#, 2, "column 13"),
            (
                r#"SUBMIT --data '{"promt":"x"}'"#,
                2,
                "did you mean prompt?",
            ),
            (
                r#"SUBMIT --data '{"prompt":"x","options":{"temprature":1}}'"#,
                2,
                "did you mean options.temperature?",
            ),
            (
                r#"SUBMIT --data '{"prompt":"x","options":{"temperature":-1}}'"#,
                2,
                "options.temperature",
            ),
            (
                r#"SUBMIT --data '{"prompt":"x","messages":[]}'"#,
                2,
                "messages",
            ),
            (
                r#"SUBMIT --data '{"prompt":"x","prompt":"y"}'"#,
                2,
                "stands twice",
            ),
            ("SUBMIT --data '{}'", 2, "prompt"),
            ("SUBMIT --data '[]'", 2, "JSON object"),
            ("SUBMIT --data ''", 2, "empty"),
            ("SUBMIT --prompt ''", 2, "prompt"),
            ("SUBMIT --data @missing.json", 1, "missing.json"),
            (
                r#"aitbc client submit --type embedding --model llama3 --data '{"prompt":"x"}'"#,
                2,
                "prompt",
            ),
        ],
    );
}

#[test]
fn payloads() {
    let network = Network::start();
    let user = network.user("me");
    let overhead = r#"{"prompt":""}"#.len();
    let largest = format!(
        r#"{{"prompt":"{}"}}"#,
        "a".repeat(3 * 1024 * 1024 - overhead)
    );
    let fits = network.write("fits.json", &largest);
    let _accepted = user
        .types(&format!("{SUBMIT} --data @{}", fits.display()))
        .succeeds();
    let over = network.write("over.json", format!("{largest} "));
    let empty = network.write("empty.json", "");
    let binary = network.write("binary.json", b"{\"prompt\":\"\xff\"}");
    for (file, part) in [(over, "3 MiB"), (empty, "empty"), (binary, "not UTF-8")] {
        user.types(&format!("{SUBMIT} --data @{}", file.display()))
            .refuses(2, part);
        user.types(&format!("cat {} | {SUBMIT} --data -", file.display()))
            .refuses(2, part);
    }
}

#[test]
fn names_options_and_numbers() {
    let network = Network::start();
    refusals(
        &network.user("me"),
        &[
            (
                "aitbc client submit --type inferense --model llama3 --prompt x",
                2,
                "inference",
            ),
            (
                "aitbc client submit --type agent --model llama3 --prompt x",
                2,
                "",
            ),
            (
                "aitbc client submit --modle llama3 --prompt x",
                2,
                "--model",
            ),
            ("aitbc client sumbit --model llama3 --prompt x", 2, "submit"),
            ("aitbc clinet list", 2, "client"),
            ("aitbc client submit --model llama3", 2, "--prompt"),
            (
                "aitbc client submit --model 'lla ma' --prompt x",
                2,
                "llama3:8b",
            ),
            ("aitbc client submit --model '' --prompt x", 2, "model"),
            (
                "aitbc client submit --model llama3@sha256:12 --prompt x",
                2,
                "64 hexadecimal",
            ),
            ("SUBMIT --prompt x --max-price -1", 2, "negative"),
            ("SUBMIT --prompt x --max-price NaN", 2, "not an amount"),
            ("SUBMIT --prompt x --max-price 1e9", 2, "not an amount"),
            ("SUBMIT --prompt x --max-price 1000000.1", 2, "1000000 AIT"),
            ("SUBMIT --prompt x --max-price 0.0000001", 2, "6 decimals"),
            ("SUBMIT --prompt x --timeout -5s", 2, "negative"),
            ("SUBMIT --prompt x --timeout NaN", 2, "duration"),
            ("SUBMIT --prompt x --timeout 0", 2, "1s to 7d"),
            ("SUBMIT --prompt x --timeout 99999d", 2, ""),
            ("SUBMIT --prompt x --min-vram -1", 2, "vram"),
            ("SUBMIT --prompt x --min-vram 4097", 2, "4096"),
            ("SUBMIT --prompt x --min-vram many", 2, "vram"),
            ("SUBMIT --prompt x --priority 101", 2, "100"),
            ("SUBMIT --prompt x --offer x", 2, "--offer"),
            ("SUBMIT --prompt x --hodl", 2, "--hold"),
            ("SUBMIT --prompt x --pay -1", 2, "negative"),
            ("SUBMIT --prompt x --pay 0", 2, "at least 0.001 AIT"),
            (
                "SUBMIT --prompt x --pay 1 --payer 0x12",
                2,
                "40 hexadecimal",
            ),
            ("SUBMIT --prompt x --request-id ''", 2, "request-id"),
            ("SUBMIT --prompt x --miner rig-1", 2, "miner_"),
            (
                "aitbc models --coordinator not/an/address",
                2,
                "127.0.0.1:50051",
            ),
        ],
    );
}

#[test]
fn miners() {
    let network = Network::start();
    refusals(
        &network.user("me"),
        &[
            ("aitbc miner register --price-per-hour -1", 2, "negative"),
            (
                "aitbc miner register --price-per-hour NaN",
                2,
                "not an amount",
            ),
            (
                "aitbc miner register --price-per-hour 1000001",
                2,
                "1000000 AIT",
            ),
            ("aitbc miner register --gpus 'RTX 4090'", 2, "1x"),
            ("aitbc miner register --gpus '0x RTX 4090'", 2, "1 to 64"),
            (
                "aitbc miner register --gpus '1x RTX 4900'",
                2,
                "did you mean NVIDIA GeForce RTX 4090?",
            ),
            (
                "aitbc miner register --gpus '1x RTX 4090 48GB'",
                2,
                "no version with 48 GiB",
            ),
            ("aitbc miner register --gpus ''", 2, "number of GPUs"),
            ("aitbc miner register --miner ../x", 2, "name"),
            ("aitbc miner poll", 1, "aitbc miner register"),
        ],
    );
}

#[test]
fn leases() {
    let network = Network::start();
    let user = network.user("me");
    let _registered = user.types("aitbc miner register").succeeds();
    refusals(
        &user,
        &[
            ("aitbc miner poll --lease 1s", 2, "10s to 1h"),
            ("aitbc miner poll --lease 2h", 2, "10s to 1h"),
            ("aitbc miner poll --lease NaN", 2, "duration"),
            ("aitbc miner complete last --output missing", 5, ""),
        ],
    );
}

#[test]
fn ids() {
    let network = Network::start();
    let (owner, other) = (network.user("owner"), network.user("other"));
    let submitted = owner
        .types(&format!("{SUBMIT} --prompt x --json"))
        .succeeds()
        .json();
    let foreign = submitted["job_id"].as_str().expect("a job id").to_owned();
    let unknown = aitbc_common::ids::JobId::new(1_700_000_000_000, 3, [7; 10]).to_string();

    for verb in ["status", "result", "cancel", "retry", "delete", "logs"] {
        let of = |job: &str| other.types(&format!("aitbc client {verb} {job}"));
        let (foreign_answer, unknown_answer) = (of(&foreign), of(&unknown));
        foreign_answer.refuses(5, "");
        unknown_answer.refuses(5, "");
        let same = |text: &str| text.replace(&foreign, "JOB").replace(&unknown, "JOB");
        assert_eq!(
            same(&foreign_answer.stderr),
            same(&unknown_answer.stderr),
            "a foreign id answers as an unknown one"
        );
        for malformed in [
            "job_",
            "job_01m83xj880emq8k9w39qsaek",
            "miner_01m83xj880es8r65rzyjka792g",
            "JOB_01M83XJ880EMQ8K9W39QSAEKF4",
            "x",
        ] {
            of(malformed).refuses(2, "job_");
        }
    }
    other.types("aitbc client status last").refuses(5, "");
    other
        .types("aitbc miner status miner_01m83xj880es8r65rzyjka792g")
        .refuses(5, "");
    // The job itself is untouched.
    let status = owner
        .types(&format!("aitbc client status {foreign} --json"))
        .succeeds()
        .json();
    assert_eq!(status["status"], "queued");
}

#[test]
fn unknown_models() {
    let network = Network::start();
    let user = network.user("me");
    let line = format!("{} --prompt x", SUBMIT.replace("llama3", "lama3"));
    let accepted = user.types(&line).succeeds();
    assert!(
        accepted.stderr.contains("warning") || accepted.text().contains("warning"),
        "{accepted:?}"
    );
    let network = Network::start();
    let user = network.user("me");
    user.types(&format!("{line} --require-miner"))
        .refuses(1, "");
    let listed = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(
        listed["jobs"].as_array().map(Vec::len),
        Some(0),
        "a refused job is none"
    );
    // A miner that declared no models promised none.
    let _registered = user.types("aitbc miner register").succeeds();
    let accepted = user.types(&line).succeeds();
    assert!(
        accepted.stderr.contains("warning: no known miner"),
        "{accepted:?}"
    );
    assert!(
        accepted.text().contains("1 known miner, away"),
        "{accepted:?}"
    );
    user.types(&format!("{line} --require-miner"))
        .refuses(1, "");
}

#[test]
fn request_ids_that_are_used_again() {
    let network = Network::start();
    let user = network.user("me");
    let submit = |prompt: &str| {
        user.types(&format!(
            "{SUBMIT} --prompt {prompt} --request-id mine --json"
        ))
    };
    let first = submit("one").succeeds().json();
    assert_eq!(
        submit("one").succeeds().json()["job_id"],
        first["job_id"],
        "the same request is the same job"
    );
    let error = submit("two").exits(1).json_error();
    assert_eq!(error["reason"], "REQUEST_ID_REUSED");
}

#[test]
fn final_jobs() {
    let network = Network::start();
    let user = network.user("me");
    let submitted = user
        .types(&format!("{SUBMIT} --prompt x --json"))
        .succeeds()
        .json();
    let job = submitted["job_id"].as_str().expect("a job id");
    user.types(&format!("aitbc client retry {job}"))
        .refuses(1, "");
    user.types(&format!("aitbc client delete {job}"))
        .refuses(1, "");
    let _cancelled = user.types(&format!("aitbc client cancel {job}")).succeeds();
    user.types(&format!("aitbc client result {job}"))
        .refuses(6, "cancelled");
    let error = user
        .types(&format!("aitbc client result {job} --wait --json"))
        .exits(6)
        .json_error();
    assert_eq!(error["reason"], "NO_RESULT");
    let deleted = user.types(&format!("aitbc client delete {job}")).succeeds();
    assert!(!deleted.text().contains("the receipt stays"), "{deleted:?}");
}

#[test]
fn deadlines() {
    let network = Network::start();
    let user = network.user("me");
    let _submitted = user
        .types(&format!("{SUBMIT} --prompt x --timeout 1s"))
        .succeeds();
    user.types("aitbc client result last --wait")
        .refuses(6, "expired");
}
