//! Jobs and the market, asked by an agent.

use aitbc_tests::harness::{McpClient, Network, Script, wait_for};
use serde_json::{Value, json};

use super::market;

#[test]
fn an_agent_finds_the_tools() {
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let network = Network::start();
        let mut client = McpClient::start(&network.user("agent"), mode, &[]);
        assert_eq!(client.server["server"], "aitbc");
        assert_eq!(client.server["version"], version, "{}", client.server);
        let tools = client.tools();
        let names: Vec<&str> = tools
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "submit", "result", "status", "cancel", "models", "offers", "pricing", "balance"
            ]
        );
        for tool in &tools {
            assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
            assert!(tool["description"].is_string(), "{tool}");
        }
        let ended = client.end().succeeds();
        assert_eq!(
            ended.stderr, "",
            "a server says nothing where nothing is wrong"
        );
    }
}

#[test]
fn an_agent_gets_a_checked_result() {
    let mut market = market(Script::Answer, "auto", &[]);
    let client = &mut market.client;
    let asked = json!({"model": "llama3", "prompt": "Hello", "options": {"temperature": 0}});
    let answer = client.call("submit", &asked);
    let document = &answer["document"];
    assert_eq!(answer["is_error"], false, "{answer}");
    assert_eq!(document["output"], "Hello there", "{answer}");
    assert_eq!(document["proof"]["signature"], "valid");
    assert_eq!(document["payment_status"], "unfunded");
    assert_eq!(
        (&document["output_bytes"], &document["next_output_offset"]),
        (&json!(11), &Value::Null)
    );
    assert_eq!(answer["texts"][0], "Hello there");
    let job = document["job_id"].as_str().expect("a job id");
    let told = answer["texts"][1].as_str().expect("what came of it");
    assert!(told.contains(job) && told.contains("proof ✓"), "{told}");
    let progress = answer["progress"].as_array().expect("a list");
    assert!(
        progress
            .iter()
            .any(|message| message.to_string().contains(job)),
        "{answer}"
    );

    // The same job, fetched: by the CLI too, which is the same user.
    let fetched = client.gives("result", &json!({"job_id": "last"}));
    assert_eq!(
        (&fetched["job_id"], &fetched["output"]),
        (&document["job_id"], &document["output"])
    );
    let line = format!("aitbc client result {job} --json");
    let by_hand = market.agent.types(&line).succeeds().json();
    assert_eq!(by_hand["receipt"], fetched["receipt"]);
    let part = json!({"job_id": job, "output_offset": 2, "max_output_bytes": 4});
    let part = client.gives("result", &part);
    assert_eq!(
        (&part["output"], &part["next_output_offset"]),
        (&json!("llo "), &json!(6))
    );
    let status = client.gives("status", &json!({"job_id": job}));
    assert_eq!(
        (&status["status"], &status["model"]),
        (&json!("completed"), &json!("llama3"))
    );
    let ended = client.gives("cancel", &json!({"job_id": job}));
    assert_eq!(
        ended,
        json!({"job_id": job, "status": "completed", "cancelled": false})
    );

    let chat = json!({"model": "llama3", "messages": [{"role": "user", "content": "Hi"}], "system": "Be short."});
    assert_eq!(client.gives("submit", &chat)["output"], "Hello there");
}

#[test]
fn an_agent_sees_the_market() {
    let mut market = market(Script::Answer, "auto", &[]);
    let client = &mut market.client;
    let models = client.gives("models", &json!({}));
    assert_eq!(models["models"][0]["name"], "llama3:latest", "{models}");
    let nothing = client.gives("offers", &json!({"gpu_model": "RTX 4090"}));
    assert_eq!(nothing["offers"], json!([]));
    let owner = market.network.user("owner");
    let _listed = owner
        .types("aitbc marketplace gpu register --model \"RTX 4090\" --vram 24 --hourly-rate 0.5")
        .succeeds();
    let offers = client.gives("offers", &json!({"min_vram_gib": 24, "max_price": "0.6"}));
    assert_eq!(
        offers["offers"][0]["hourly_rate_ait"], "0.500000",
        "{offers}"
    );
    let dear = client.gives("offers", &json!({"max_price": 0.4}));
    assert_eq!(dear["offers"], json!([]));
    let pricing = client.gives("pricing", &json!({"gpu_model": "4090"}));
    assert_eq!(pricing["median_ait"], "0.500000", "{pricing}");
    assert_eq!(pricing["sufficient"], false);
}

#[test]
fn a_slow_job_is_left_and_fetched() {
    let mut market = market(Script::Hang, "auto", &[]);
    let client = &mut market.client;
    let asked = json!({"model": "llama3", "prompt": "Hello", "wait_seconds": 1});
    let answer = client.call("submit", &asked);
    let document = &answer["document"];
    assert_eq!(answer["is_error"], false, "{answer}");
    assert!(document.get("output").is_none(), "{answer}");
    assert!(
        answer["texts"][1]
            .as_str()
            .is_some_and(|text| text.contains("tool result")),
        "{answer}"
    );
    let job = document["job_id"].clone();
    let running = client.gives("result", &json!({"job_id": job, "wait_seconds": 0}));
    assert_eq!(running["job_id"], job);
    let cancelled = client.gives("cancel", &json!({"job_id": job}));
    assert_eq!(cancelled["cancelled"], true);
    let error = client.refuses("result", &json!({"job_id": job}));
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("cancelled")),
        "{error}"
    );

    let asked = json!({"model": "llama3", "prompt": "Hello", "wait": false, "request_id": "one"});
    let first = client.gives("submit", &asked);
    let again = client.gives("submit", &asked);
    assert_eq!(
        first["job_id"], again["job_id"],
        "the same request is one job"
    );
    market.model.plays(Script::Answer);
    // The first attempt hangs in the model: another job goes to another slot or waits.
    let _cancelled = client.gives("cancel", &json!({"job_id": first["job_id"]}));
    let third = client.gives("submit", &json!({"model": "llama3", "prompt": "Hello"}));
    assert_eq!(third["output"], "Hello there");
}

#[test]
fn a_call_that_is_given_up_cancels_its_job() {
    let mut market = market(Script::Hang, "auto", &[]);
    let client = &mut market.client;
    let call = json!({"tool": "submit", "arguments": {"model": "llama3", "prompt": "Hello"}, "timeout": 2});
    client.begin(&call);
    let given_up = client.answer();
    assert!(given_up["raised"].is_string(), "{given_up}");
    wait_for("the job's end", || {
        let status = market
            .agent
            .types("aitbc client status last --json")
            .succeeds()
            .json();
        (status["status"] == "cancelled").then_some(())
    });
    // Giving up a call that only waits leaves the job alone.
    let job = client.gives(
        "submit",
        &json!({"model": "llama3", "prompt": "Hello", "wait": false}),
    )["job_id"]
        .clone();
    client.begin(&json!({"tool": "result", "arguments": {"job_id": job}, "timeout": 1}));
    assert!(client.answer()["raised"].is_string());
    let status = client.gives("status", &json!({"job_id": job}));
    assert!(status["status"] != "cancelled", "{status}");
}

#[test]
fn what_a_model_writes_cannot_control_a_terminal() {
    let script = Script::Say(r"\u001b[2J\u202eHello");
    let mut market = market(script, "auto", &["-vv"]);
    let answer = market
        .client
        .call("submit", &json!({"model": "llama3", "prompt": "Hello"}));
    assert_eq!(
        answer["document"]["output"], "\u{1b}[2J\u{202e}Hello",
        "{answer}"
    );
    assert_eq!(answer["texts"][0], r"\u{1b}[2J\u{202e}Hello");
    let ended = market.client.end().succeeds();
    assert!(!ended.stderr.is_empty(), "it logs");
    for control in ['\u{1b}', '\u{202e}'] {
        assert!(!ended.stderr.contains(control), "{}", ended.stderr);
    }
}

/// Submissions that make no sense, and what the error says.
fn bad_submissions() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("submit", json!({}), "model"),
        ("submit", json!({"model": "llama3"}), "one way"),
        (
            "submit",
            json!({"model": "llama3", "prompt": "a", "data": {}}),
            "one way",
        ),
        ("submit", json!({"model": "llama3", "promt": "a"}), "promt"),
        (
            "submit",
            json!({"model": "llama3", "data": "@/etc/passwd"}),
            "data",
        ),
        (
            "submit",
            json!({"model": "llama3", "data": {"promt": "a"}}),
            "promt",
        ),
        (
            "submit",
            json!({"model": "../../x y", "prompt": "a"}),
            "model",
        ),
        (
            "submit",
            json!({"model": "llama3", "prompt": "a", "max_price": "-1"}),
            "-1",
        ),
        (
            "submit",
            json!({"model": "llama3", "prompt": "a", "timeout": "9d"}),
            "9d",
        ),
        (
            "submit",
            json!({"model": "llama3", "prompt": "a", "wait_seconds": 601}),
            "wait_seconds",
        ),
        (
            "submit",
            json!({"model": "llama3", "prompt": "x".repeat(4 << 20)}),
            "3 MiB",
        ),
    ]
}

/// The same for the other tools.
fn bad_calls() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("result", json!({"job_id": "job_nonsense"}), "job"),
        (
            "result",
            json!({"job_id": "last", "max_output_bytes": 0}),
            "max_output_bytes",
        ),
        (
            "status",
            json!({"job_id": "job_01m83xj880emq8k9w39qsaekf4"}),
            "job_01m83xj880emq8k9w39qsaekf4",
        ),
        ("cancel", json!({"job_id": 7}), "job_id"),
        ("models", json!({"page_size": 0}), "page_size"),
        ("offers", json!({"min_vram_gib": 5_000}), "min_vram_gib"),
        (
            "pricing",
            json!({"gpu_model": "RTX 4090", "window_days": 31}),
            "window_days",
        ),
        ("balance", json!({"wallet": "mine"}), "wallet"),
    ]
}

#[test]
fn bad_arguments_are_answered_and_nothing_breaks() {
    let network = Network::start();
    let mut client = McpClient::start(&network.user("agent"), "auto", &[]);
    for (tool, arguments, part) in bad_submissions().into_iter().chain(bad_calls()) {
        let error = client.refuses(tool, &arguments);
        let said = format!("{} {}", error["message"], error["hint"]);
        assert!(said.contains(part), "{tool} {part}: {error}");
        assert!(said.len() < 1_000, "{tool} {part}: {error}");
    }
    let unknown = client.call("wallet", &json!({}));
    assert!(
        unknown["raised"]
            .as_str()
            .is_some_and(|text| text.contains("no such tool")),
        "{unknown}"
    );
    let jobs = network
        .user("agent")
        .types("aitbc client list --json")
        .succeeds()
        .json();
    assert_eq!(jobs["jobs"], json!([]), "nothing was submitted");
    assert_eq!(client.gives("models", &json!({}))["models"], json!([]));
}

#[test]
fn a_coordinator_that_is_away_is_an_error_until_it_is_back() {
    let mut network = Network::start();
    let mut client = McpClient::start(&network.user("agent"), "auto", &[]);
    let _there = client.gives("models", &json!({}));
    network.kill_coordinator();
    let error = client.refuses("models", &json!({}));
    assert_eq!(
        (&error["exit_code"], &error["retryable"]),
        (&json!(3), &json!(true)),
        "{error}"
    );
    network.restart_coordinator();
    let _back = client.gives("models", &json!({}));
}
