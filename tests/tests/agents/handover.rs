//! Miners are killed with -9 in the midst of executions: the next one goes on from the stored events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use aitbc_tests::harness::{FakeOllama, Network, Process, Stream, User};
use serde_json::{Value, json};

use super::{TASK, answers, calls_sql, creates, mines, payer, writes_config};

/// A miner is killed once its client saw so many events: after each event of a step, and once in each other step.
const KILLED_AFTER: [usize; 8] = [1, 2, 3, 4, 7, 10, 12, 15];
const ANSWER: &str = "Q3 revenue was 370550.";
/// An attempt is given up when nothing was heard of its miner for 30 s.
const PATIENCE: Duration = Duration::from_secs(180);

/// Four calls, then the answer.
fn five_steps() -> Vec<String> {
    let call = |n: u32| {
        let query = format!("SELECT SUM(revenue) + {n} AS total FROM q3");
        calls_sql(&format!("Step {n}."), &query)
    };
    let answer = answers(ANSWER);
    (1..=4).map(call).chain([answer]).collect()
}

#[test]
fn a_killed_miners_successor_repeats_no_call_and_is_paid_once() {
    let network = Network::start();
    let model = FakeOllama::start_steps(five_steps());
    model.paces(Duration::from_millis(1_000));
    let user = payer(&network);
    writes_config(&user, &json!({}));
    let agent = creates(&user, "a");
    let miners: BTreeMap<String, Mutex<Process>> = (0..2 * KILLED_AFTER.len())
        .map(|n| {
            let owner = format!("owner-{n}");
            let process = mines(&network, &owner, &model);
            let owner = network.user(&owner);
            let listed = owner.types("aitbc miner status --json").succeeds().json();
            let id = listed["miner_id"].as_str().expect("an id").to_owned();
            (id, Mutex::new(process))
        })
        .collect();
    let line = format!("aitbc agent execute {agent} --input '{TASK}' --budget 1 --json");
    let mut runs: Vec<(usize, Process)> = KILLED_AFTER
        .into_iter()
        .map(|seen| (seen, user.starts(&line)))
        .collect();
    std::thread::scope(|scope| {
        for (seen, process) in &runs {
            let (user, miners) = (&user, &miners);
            scope.spawn(move || kill_after(*seen, process, user, miners));
        }
    });
    for (_, process) in &mut runs {
        let output = process.wait_at_most(PATIENCE).succeeds();
        check(&events(&output.text()));
        let result = output.json_lines().pop().expect("a last line");
        assert_eq!(
            (&result["event"], &result["output"]),
            (&json!("result"), &json!(ANSWER))
        );
        let job = result["job_id"].as_str().expect("an id");
        let status = user.types(&format!("aitbc client status {job} --json"));
        let status = status.succeeds().json();
        assert_eq!(status["payment_status"], "settled");
        assert!(status["attempt"].as_u64() >= Some(2), "{status}");
    }
    let _audited = user.types("aitbc ledger audit").succeeds();
}

/// Kills the miner of an execution once its client saw so many events.
fn kill_after(
    seen: usize,
    client: &Process,
    user: &User,
    miners: &BTreeMap<String, Mutex<Process>>,
) {
    client.wait_for(Stream::Stdout, "enough events", |text| {
        (events(text).len() >= seen).then_some(())
    });
    let status = user.types(&format!("aitbc client status {} --json", job_of(client)));
    let status = status.succeeds().json();
    let miner = status["miner_id"].as_str().expect("a miner runs it");
    let mut miner = miners[miner].lock().expect("nobody panicked");
    assert_ne!(status["status"], "completed", "it had not ended");
    miner.kill();
}

fn job_of(process: &Process) -> String {
    let told = process.stdout();
    let mut lines = told.lines();
    let told = lines.find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["job_id"].as_str().map(str::to_owned)
    });
    told.expect("the job is told before its events")
}

/// The events that a client printed so far.
fn events(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|event: &Value| event["seq"].is_u64() && event["event"] != "result")
        .collect()
}

/// They count on without a gap, each call has one answer, none that was answered was made again, and one was interrupted at
/// most.
fn check(events: &[Value]) {
    for (event, seq) in events.iter().zip(1_u64..) {
        assert_eq!(event["seq"], seq);
    }
    let of = |kind: &str| {
        let found = events.iter().filter(|event| event["event"] == kind);
        found.cloned().collect::<Vec<_>>()
    };
    let (actions, observations) = (of("action"), of("observation"));
    let calls: BTreeSet<String> = actions
        .iter()
        .map(|action| action["arguments"].to_string())
        .collect();
    assert_eq!((calls.len(), observations.len()), (4, actions.len()));
    assert_eq!(actions.len(), 4, "no call is made twice: {actions:#?}");
    let interrupted = observations
        .iter()
        .filter(|event| event["interrupted"] == true);
    assert!(interrupted.count() <= 1);
    let answers = of("answer");
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0]["text"], ANSWER);
}
