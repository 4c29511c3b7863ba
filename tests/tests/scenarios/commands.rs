//! The commands beside the six scenarios.

use aitbc_tests::harness::{Network, model_file, wait_for};
use serde_json::json;

use super::{Lab, job_id};

#[test]
fn run_prints_the_output_and_nothing_else() {
    let mut lab = Lab::on_ollama();
    lab.mine().prints("polling");
    let user = &lab.user;
    let ran = user.types("aitbc run llama3 'Say hello.'").succeeds();
    let fetched = user.types("aitbc client result last").succeeds();
    assert_eq!(
        ran.stdout.strip_suffix(b"\n").unwrap_or(&ran.stdout),
        fetched
            .stdout
            .strip_suffix(b"\n")
            .unwrap_or(&fetched.stdout)
    );
}

#[test]
fn a_job_is_followed_listed_retried_and_deleted() {
    let mut lab = Lab::on_ollama();
    lab.mine().prints("polling");
    let user = lab.user.clone();
    let watched = user
        .types(r#"aitbc client submit --type inference --model llama3 --data '{"prompt":"Hi","options":{"num_predict":20}}' --watch --json"#)
        .succeeds();
    let events = watched.json_lines();
    assert!(events.len() > 1, "{watched:?}");
    let job = job_id(&watched.text());
    let listed = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(listed["jobs"][0]["job_id"], job.as_str());
    assert_eq!(listed["next_page_token"], json!(null));
    let logs = user.types(&format!("aitbc client logs {job}")).succeeds();
    for event in ["submitted", "assigned", "started", "completed"] {
        assert!(logs.text().contains(event), "{event}: {}", logs.text());
    }

    let retried = user
        .types(&format!("aitbc client retry {job} --json"))
        .succeeds()
        .json();
    assert_ne!(retried["job_id"], job.as_str());
    let _result = user.types("aitbc client result last --wait").succeeds();
    let _deleted = user.types(&format!("aitbc client delete {job}")).succeeds();
    let gone = user.types(&format!("aitbc client result {job}"));
    gone.refuses(5, "deleted");
}

#[test]
fn texts_become_vectors() {
    let mut lab = Lab::on_ollama();
    lab.mine().prints("polling");
    let submitted = lab
        .user
        .types(r#"aitbc client submit --type embedding --model llama3 --data '{"input":["one","two"]}' --json"#)
        .succeeds()
        .json();
    let job = submitted["job_id"].as_str().expect("a job id");
    let result = lab
        .user
        .types(&format!("aitbc client result {job} --wait --json"))
        .succeeds()
        .json();
    let vectors = result["embeddings"].as_array().expect("vectors");
    assert_eq!(vectors.len(), 2);
    assert!(
        vectors[0]
            .as_array()
            .is_some_and(|vector| vector.len() > 100)
    );
}

#[test]
fn a_cancelled_job_stops_the_model() {
    let mut lab = Lab::on_ollama();
    lab.mine().prints("polling");
    let user = lab.user.clone();
    let long = r#"aitbc client submit --type inference --model llama3 --data '{"prompt":"Count to ten thousand.","options":{"num_predict":8000,"temperature":0,"repeat_penalty":1.0}}'"#;
    let job = job_id(&user.types(long).succeeds().text());
    lab.miner().prints("inference");
    let cancelled = user
        .types(&format!("aitbc client cancel {job} --json"))
        .succeeds()
        .json();
    assert_eq!(cancelled["status"], "cancelled");
    user.types(&format!("aitbc client result {job}"))
        .refuses(6, "cancelled");
    // The slot is free at once.
    let _next = user.types("aitbc run llama3 Hi").succeeds();
}

#[test]
fn what_would_happen_is_explained_without_a_job() {
    let network = Network::start();
    let (client, miner) = (network.user("client"), network.user("miner"));
    let _registered = miner
        .types("aitbc miner register --price-per-hour 2")
        .succeeds();
    let explained = client
        .types("aitbc client submit --type inference --model llama3 --prompt Hi --max-price 1 --explain --json")
        .succeeds()
        .json();
    assert_eq!(explained["known_miners"], 1);
    assert_eq!(explained["matching_miners"], 0);
    let listed = client.types("aitbc client list --json").succeeds().json();
    assert_eq!(listed["jobs"], json!([]));
}

#[test]
fn a_miner_is_looked_after() {
    let network = Network::start();
    let user = network.user("me");
    let registered = user.types("aitbc miner register --json").succeeds().json();
    let own = user.types("aitbc miner status --json").succeeds().json();
    assert_eq!(own["miner_id"], registered["miner_id"]);
    let updated = user
        .types("aitbc miner update --price-per-hour 0.25 --json")
        .succeeds()
        .json();
    assert_eq!(updated["price_per_hour_ait"], "0.250000");
    let _paused = user.types("aitbc miner pause").succeeds();
    user.types("aitbc miner poll").refuses(1, "pause");
    let _resumed = user.types("aitbc miner resume").succeeds();
    let listed = network
        .user("other")
        .types("aitbc miner list --json")
        .succeeds()
        .json();
    assert_eq!(listed["miners"].as_array().map(Vec::len), Some(1));
    let _gone = user.types("aitbc miner deregister").succeeds();
    user.types("aitbc miner poll").refuses(1, "regist");
}

#[test]
fn commands_without_a_coordinator() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let shown = user.types("aitbc identity show --json").succeeds().json();
    assert!(shown.to_string().contains("ed25519:"), "{shown}");
    let _version = user.types("aitbc --version").succeeds();
    let _help = user.types("aitbc client submit --help").succeeds();
    let completions = user.types("aitbc completions bash").succeeds();
    assert!(completions.text().contains("aitbc"));
    let _set = user
        .types("aitbc config set coordinator 127.0.0.1:9")
        .succeeds();
    let shown = user
        .without("AITBC_COORDINATOR")
        .types("aitbc config show --json")
        .succeeds()
        .json();
    assert!(shown.to_string().contains("127.0.0.1:9"), "{shown}");
}

#[test]
fn a_network_of_one_command() {
    let network = Network::without_coordinator();
    let user = network.user("me").with("OLLAMA_HOST", "127.0.0.1:1");
    let line = format!(
        "aitbc dev --listen {} --data-dir dev --model llama3={}",
        network.address(),
        model_file().display()
    );
    let mut dev = user.starts(&line);
    wait_for("a model on the network", || {
        user.types("aitbc models")
            .text()
            .contains("llama3:latest")
            .then_some(())
    });
    let line = r#"aitbc client submit --model llama3 --data '{"prompt":"Hi","options":{"num_predict":20}}' --watch"#;
    let ran = user.types(line).succeeds();
    assert!(!ran.stdout.is_empty());
    dev.interrupt();
    assert_eq!(dev.wait().code, 0);
    dev.wait_for_children();
}

#[test]
fn a_conversation_goes_on() {
    let mut lab = Lab::on_ollama();
    lab.mine().prints("polling");
    let line = "printf 'My name is Ada.\\nWhat is my name?\\n' | aitbc chat llama3";
    let chat = lab.user.types(line).succeeds();
    assert!(!chat.stdout.is_empty(), "{chat:?}");
    let listed = lab.user.types("aitbc client list --json").succeeds().json();
    assert_eq!(
        listed["jobs"].as_array().map(Vec::len),
        Some(2),
        "one job for each turn"
    );
}
