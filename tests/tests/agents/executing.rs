//! Executions from end to end: what is shown while they run, what they cost, what is left of them.

use std::time::Duration;

use aitbc_tests::harness::{FakeOllama, Network, wait_for};
use serde_json::{Value, json};

use super::{TASK, answers, calls_sql, creates, mines, payer, writes_config};

const QUERY: &str = "SELECT month, SUM(revenue) FROM q3 GROUP BY month ORDER BY 2";
const ANSWER: &str = "Q3 revenue was 370550; September was strongest.";

fn analysis() -> Vec<String> {
    vec![
        calls_sql("I need revenue by month.", QUERY),
        answers(ANSWER),
    ]
}

#[test]
fn an_agent_shows_what_it_does_and_the_answer_alone_is_on_stdout() {
    let network = Network::start();
    let model = FakeOllama::start_steps(analysis());
    let _miner = mines(&network, "owner", &model);
    let user = payer(&network);
    writes_config(&user, &json!({}));
    let ready = user
        .types("aitbc agent create --name data_analyzer --type analysis")
        .succeeds();
    assert!(ready.text().ends_with("files q3.csv, 1 miner can run it\n"));

    let line = format!("aitbc agent execute last --input '{TASK}' --budget 1");
    let executed = user.types(&line).succeeds();
    assert_eq!(executed.text(), ANSWER);
    let told: Vec<&str> = executed.stderr.lines().collect();
    let at = |beginning: &str| {
        let found = told.iter().position(|line| line.starts_with(beginning));
        found.unwrap_or_else(|| panic!("no {beginning:?} in {told:#?}"))
    };
    let places = [
        at("job_0"),
        at("thought      I need revenue by month."),
        at(&format!("action       sql  {QUERY}")),
        at("observation  "),
        at("done         2 steps, 1 tool call, 204 tokens, "),
    ];
    assert!(places.is_sorted(), "{told:#?}");
    for sum in ["120400", "118250", "131900"] {
        assert!(executed.stderr.contains(sum), "{sum}: {told:#?}");
    }
    assert!(
        told[places[4]].ends_with(" of 1 AIT; receipt ✓"),
        "{told:#?}"
    );
    let status = user
        .types("aitbc client status last --json")
        .succeeds()
        .json();
    assert_eq!(status["payment_status"], "settled");
    assert_eq!(status["locked_ait"], "1.000000");

    // Left alone, it is paid and answered in the same way.
    let left = user.types(&format!("{line} --detach")).succeeds();
    assert!(left.text().starts_with("Execution submitted\n"), "{left:?}");
    assert!(left.text().contains("funded, 1 AIT locked"), "{left:?}");
    let result = user.types("aitbc client result last --wait").succeeds();
    assert_eq!(result.text(), ANSWER);
    assert!(result.stderr.contains("payment 1 AIT locked"), "{result:?}");
}

#[test]
fn programs_get_the_events_as_they_are_and_can_have_them_again() {
    let network = Network::start();
    let model = FakeOllama::start_steps(analysis());
    let _miner = mines(&network, "owner", &model);
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let agent = creates(&user, "a");
    let line = format!("aitbc agent execute {agent} --input '{TASK}' --json");
    let executed = user.types(&line).succeeds();
    let is_event = |line: &&str| line.contains("\"seq\":") && !line.contains("\"result\"");
    let text = executed.text();
    let events: Vec<&str> = text.lines().filter(is_event).collect();
    let result = executed.json_lines().pop().expect("a last line");
    assert_eq!(result["event"], "result");
    assert_eq!(result["seq"], events.len() + 1);
    assert_eq!(
        (&result["output"], &result["steps"], &result["tool_calls"]),
        (&json!(ANSWER), &json!(2), &json!(1))
    );
    assert_eq!(
        (&result["end"], &result["agent_id"]),
        (&json!("answered"), &json!(agent))
    );

    // The same whoever asks for it later.
    let raw = user
        .types("aitbc client result last --raw")
        .succeeds()
        .text();
    assert_eq!(raw, events.join("\n") + "\n");
    let plain = user.types("aitbc client result last").succeeds();
    assert_eq!(plain.text(), ANSWER);
    let document = user
        .types("aitbc client result last --json")
        .succeeds()
        .json();
    assert_eq!(document["output"], ANSWER);
    let again: Vec<Value> = raw
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(document["events"], Value::Array(again));
    let logs = user.types("aitbc agent logs last --json").succeeds().text();
    assert_eq!(logs.lines().filter(is_event).collect::<Vec<_>>(), events);
    let logs = user.types("aitbc agent logs last").succeeds();
    assert_eq!(logs.text(), ANSWER);
    assert!(
        logs.stderr
            .contains("thought      I need revenue by month.")
    );

    // Executed again from what is stored, in the same way.
    let retried = user.types("aitbc client retry last --watch").succeeds();
    assert_eq!(retried.text(), ANSWER);
    assert!(retried.stderr.contains("observation  "));
}

#[test]
fn a_limit_ends_it_with_what_there_is() {
    let network = Network::start();
    let model = FakeOllama::start_steps(analysis());
    let _miner = mines(&network, "owner", &model);
    let user = network.user("me");
    // The model says that a step has 102 tokens.
    writes_config(&user, &json!({"limits": {"tokens": 100}}));
    let _id = creates(&user, "a");
    let line = format!("aitbc agent execute last --input '{TASK}'");
    let limited = user.types(&line).succeeds();
    let stopped = "warning: stopped: token limit of 100; ";
    assert!(limited.stderr.contains(stopped), "{limited:?}");
    let counted = "done         1 step, 1 tool call, 102 tokens";
    assert!(limited.stderr.contains(counted), "{limited:?}");

    // The next version has more; the one before can still be executed.
    writes_config(&user, &json!({}));
    let _updated = user.types("aitbc agent update last").succeeds();
    assert_eq!(user.types(&line).succeeds().text(), ANSWER);
    let before = user.types(&format!("{line} --version 1 --json")).succeeds();
    let result = before.json_lines().pop().expect("a last line");
    assert_eq!(
        (&result["end"], &result["agent_version"]),
        (&json!("token_limit"), &json!(1))
    );
}

#[test]
fn what_a_model_writes_cannot_control_a_terminal() {
    let network = Network::start();
    let model = FakeOllama::start_steps(vec![
        calls_sql("\u{1b}[2Jgone\u{202e}", "SELECT '\u{1b}[31mred' AS x"),
        answers("\u{9b}2Jdone"),
    ]);
    let _miner = mines(&network, "owner", &model);
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let _id = creates(&user, "a");
    let (mut executing, _keyboard) =
        user.starts_on_terminal(&["agent", "execute", "last", "--input", TASK]);
    let executed = executing.wait().succeeds();
    let told = &executed.stderr;
    assert!(
        told.contains("thought      \\u{1b}[2Jgone\\u{202e}"),
        "{told}"
    );
    assert!(
        told.contains("action       sql  SELECT '\\u{1b}[31mred'"),
        "{told}"
    );
    for control in ['\u{1b}', '\u{202e}', '\u{9b}'] {
        assert!(!told.contains(control), "{told:?}");
    }
    // A pipe gets what was answered.
    assert_eq!(executed.text(), "\u{9b}2Jdone");
}

#[test]
fn a_model_that_talks_nonsense_has_no_result() {
    let network = Network::start();
    let model = FakeOllama::start_steps(vec!["no JSON".into(); 4]);
    let _miner = mines(&network, "owner", &model);
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let _id = creates(&user, "a");
    let executed = user
        .types(&format!("aitbc agent execute last --input '{TASK}'"))
        .exits(6);
    let why = "error: stopped: the model twice gave no valid step\n";
    assert!(executed.stderr.contains(why), "{executed:?}");
}

#[test]
fn another_miner_goes_on_and_nothing_is_shown_twice() {
    let network = Network::start();
    // The first one never answers.
    let first = FakeOllama::start_steps(analysis()[..1].to_vec());
    let mut lost = mines(&network, "first", &first);
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let _id = creates(&user, "a");
    let mut executing = user.start(&["agent", "execute", "last", "--input", TASK]);
    executing.notes("observation  ");
    let second = FakeOllama::start_steps(analysis());
    let _second = mines(&network, "second", &second);
    lost.kill();

    let executed = executing.wait().succeeds();
    assert_eq!(executed.text(), ANSWER);
    let told = &executed.stderr;
    assert!(told.contains(" goes on with it, attempt 2\n"), "{told}");
    for once in ["thought  ", "action  ", "observation  "] {
        assert_eq!(told.matches(once).count(), 1, "{told}");
    }
    assert!(
        told.contains("done         2 steps, 1 tool call, 204 tokens"),
        "{told}"
    );
    assert_eq!(second.chats().len(), 1, "what was done is not done again");
}

#[test]
fn a_miner_executes_as_many_at_once_as_it_has_slots() {
    let network = Network::start();
    let model = FakeOllama::start_steps(analysis());
    model.paces(Duration::from_secs(3));
    let owner = network.user("owner").with("OLLAMA_HOST", model.address());
    let miner = owner.starts("aitbc miner mine-ollama --model llama3 --continuous --slots 2");
    miner.prints("polling");
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let agent = creates(&user, "a");
    let line = format!("aitbc agent execute {agent} --input '{TASK}'");
    let mut executions = [user.starts(&line), user.starts(&line)];
    wait_for("both to run", || {
        let listed = user
            .types("aitbc agent executions --json")
            .succeeds()
            .json();
        let jobs = listed["executions"].as_array()?;
        let running = jobs.iter().filter(|job| job["status"] == "processing");
        (running.count() == 2).then_some(())
    });
    for execution in &mut executions {
        assert_eq!(execution.wait().succeeds().text(), ANSWER);
    }
}
