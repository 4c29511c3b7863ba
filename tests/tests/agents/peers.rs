//! Tools of MCP servers that a miner's operator allows, from the miner's folder to the execution.

use aitbc_tests::harness::{FakeOllama, Network, User, tool};
use serde_json::{Value, json};

use super::{answers, creates, mines, writes_config};

const NOW: &str = "mcp:time/get_current_time";

fn calls(tool: &str, arguments: &Value) -> String {
    json!({"thought": "", "tool": tool, "arguments": arguments}).to_string()
}

/// Allows the real server of times on a user's miner, as a section of agents.toml with these lines more.
fn allows_time(owner: &User, more: &str) {
    let folder = owner.home().miner_dir("rig-1");
    std::fs::create_dir_all(&folder).expect("it is writable");
    let python = tool("AITBC_TEST_PYTHON");
    let text = format!(
        "[mcp.time]\ncommand = {:?}\nargs = [\"-m\", \"mcp_server_time\"]\n{more}\n",
        python.display()
    );
    std::fs::write(folder.join("agents.toml"), text).expect("it is writable");
}

fn observations(user: &User) -> Vec<Value> {
    let executed = user
        .types("aitbc agent execute last --input 'What time is it?' --json")
        .succeeds();
    let events = executed.json_lines().into_iter();
    events
        .filter(|event| event["event"] == "observation")
        .collect()
}

#[test]
fn an_agent_runs_where_its_tools_are_offered_and_nothing_is_sent_after_files_were_read() {
    let network = Network::start();
    let search = json!({"file": "q3.csv", "pattern": "July"});
    let zone = json!({"timezone": "UTC"});
    let model = FakeOllama::start_steps(vec![
        calls(NOW, &zone),
        calls("text_search", &search),
        calls(NOW, &json!({"timezone": "Europe/Berlin"})),
        answers("It is late."),
    ]);
    let _without = mines(&network, "plain", &model);
    allows_time(&network.user("with"), "reads_untrusted = false");
    let with = mines(&network, "with", &model);
    let user = network.user("me");
    writes_config(&user, &json!({"tools": ["text_search", "mcp:time"]}));
    let _agent = creates(&user, "a");
    let shown = user.types("aitbc agent show last --json").succeeds().json();
    assert_eq!(shown["matching_miners"], 1);

    let seen = observations(&user);
    with.prints("result submitted");
    assert_eq!(seen.len(), 3, "{seen:#?}");
    assert_eq!(seen[0]["ok"], true, "{seen:#?}");
    let told = seen[0]["output"].as_str().expect("text");
    assert!(
        told.contains("\"timezone\"") && told.contains("UTC"),
        "{told}"
    );
    // The server may send out what it is given, and the file may be anybody's text.
    assert_eq!(
        (&seen[2]["ok"], &seen[2]["tool"]),
        (&json!(false), &json!(NOW))
    );

    // Its owner may allow it.
    let config = json!({"tools": ["text_search", "mcp:time"], "egress_after_untrusted": true});
    writes_config(&user, &config);
    let _updated = user.types("aitbc agent update last").succeeds();
    let seen = observations(&user);
    assert_eq!(seen[2]["ok"], true, "{seen:#?}");
}

#[test]
fn what_is_wrong_in_agents_toml_is_told_before_anything_is_mined() {
    let network = Network::start();
    let model = FakeOllama::start_steps(Vec::new());
    let owner = network.user("owner").with("OLLAMA_HOST", model.address());
    allows_time(&owner, "timeout = 5");
    let line = "aitbc miner mine-ollama --model llama3 --continuous";
    let refused = owner.types(line).exits(2);
    for part in ["agents.toml", "unknown field `timeout`", "timeout_seconds"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    // A server that does not start takes nothing from the rest.
    allows_time(&owner, "[mcp.gone]\ncommand = \"/nonexistent/server\"");
    let miner = owner.starts(line);
    miner.notes("the MCP server gone is not offered: ");
    miner.prints("polling");
}
