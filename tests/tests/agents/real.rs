//! An agent on a real Ollama with a small model, whose steps a schema constrains: its shape, and that what it observes is so.

use std::path::Path;
use std::time::Duration;

use aitbc_tests::harness::{Network, Ollama, Process, User, tool};
use serde_json::{Value, json};

use super::{TASK, creates, writes_config};

/// The model is small: it is shown how to begin.
const BEGINNING: &str = r#"Your first reply is {"thought": "I sum the revenue.", "tool": "sql", "arguments": {"query": "SELECT SUM(revenue) FROM q3"}}"#;

#[test]
fn a_real_model_works_in_steps_and_observes_what_the_data_says() {
    let network = Network::start();
    let ollama = Ollama::start();
    let owner = network.user("owner").with("OLLAMA_HOST", ollama.address());
    let miner = owner.starts("aitbc miner mine-ollama --model llama3 --continuous");
    miner.prints("polling");
    let user = network.user("me");
    let config = json!({
        "system": BEGINNING,
        "tools": ["sql"],
        "limits": {"steps": 3},
        "options": {"temperature": 0, "num_predict": 200},
    });
    writes_config(&user, &config);
    let agent = creates(&user, "a");
    let line = format!("aitbc agent execute {agent} --input '{TASK}' --json");
    let mut process = user.starts(&line);
    let executed = process.wait_at_most(Duration::from_secs(300)).succeeds();
    let events: Vec<Value> = executed
        .json_lines()
        .into_iter()
        .filter(|event| event["seq"].is_u64())
        .collect();
    for (event, seq) in events.iter().zip(1_u64..) {
        assert_eq!(event["seq"], seq);
    }
    let result = events.last().expect("a result");
    assert_eq!(result["event"], "result");
    assert!(result["output"].is_string() && result["steps"].as_u64() <= Some(3));
    let actions = events.iter().filter(|event| event["event"] == "action");
    let mut called = 0;
    for action in actions {
        called += 1;
        assert_eq!(action["tool"], "sql");
        let query = action["arguments"]["query"].as_str().expect("a query");
        let observation = events
            .iter()
            .find(|event| event["action"] == action["seq"])
            .expect("each call is answered");
        if observation["ok"] == true {
            let observed = observation["output"].as_str().expect("text");
            assert_eq!(rows(observed), computed(&user, query), "{query}");
        }
    }
    assert!(called > 0, "it calls the tool: {events:#?}");
}

/// The rows of what the tool said: beneath the names of the columns, before their number.
fn rows(observed: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = observed.lines().collect();
    let [_, rows @ .., _] = &lines[..] else {
        panic!("{observed}")
    };
    rows.iter()
        .map(|row| row.split(" | ").map(str::to_owned).collect())
        .collect()
}

/// The same by Python's own SQLite.
fn computed(user: &User, query: &str) -> Vec<Vec<String>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("agent_tools/query.py");
    let data = user.home_dir().join("q3.csv");
    let arguments = [&script, &data].map(|path| path.to_str().expect("UTF-8"));
    let command = user.command(
        &tool("AITBC_TEST_PYTHON"),
        &[arguments[0], arguments[1], query],
    );
    let rows = Process::start(command).wait().succeeds().json();
    let cell = |cell: &Value| {
        cell.as_str()
            .map_or_else(|| cell.to_string(), str::to_owned)
    };
    let rows = rows.as_array().expect("rows").iter();
    rows.map(|row| row.as_array().expect("cells").iter().map(cell).collect())
        .collect()
}
