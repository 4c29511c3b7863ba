//! Agents on the coordinator: created once, in versions, with files that are uploaded once; and executions that wait.

use std::fs;

use aitbc_common::hash::{hash_text, sha256};
use aitbc_tests::harness::Network;
use serde_json::{Value, json};

use super::{TASK, creates, writes_config};

#[test]
fn an_agent_is_created_once() {
    let network = Network::start();
    let user = network.user("me");
    user.types("aitbc agent create --name data_analyzer")
        .refuses(1, "aitbc agent init");
    let listed = user.types("aitbc agent list").succeeds();
    assert_eq!(listed.text(), "you have no agent\n");
    writes_config(&user, &json!({}));
    let create = "aitbc agent create --name data_analyzer --type analysis";
    let created = user.types(create).succeeds();
    let said = created.text();
    assert!(said.starts_with("Agent ready: agent_0"), "{said}");
    let rest = "  data_analyzer v1, analysis, llama3, tools sql + calculator, files q3.csv, no known miner can run it now\n";
    assert!(said.ends_with(rest), "{said}");
    assert!(created.stderr.contains("uploading q3.csv"), "{created:?}");

    let again = user.types(&format!("{create} --json")).succeeds();
    assert!(!again.stderr.contains("uploading"), "{again:?}");
    let document = again.json();
    assert_eq!(document["created"], false);
    assert_eq!(document["version"], 1);
    let id = document["agent_id"].as_str().expect("an id");
    assert!(said.contains(id));

    writes_config(&user, &json!({"system": "Be brief."}));
    let other = user.types(create);
    other.refuses(1, "has another definition");
    assert!(other.stderr.contains("aitbc agent update"), "{other:?}");

    let listed = user.types("aitbc agent list --json").succeeds().json();
    assert_eq!(listed["agents"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["agents"][0]["agent_id"], id);
    let _deleted = user.types("aitbc agent delete last").succeeds();
    user.types(&format!("aitbc agent show {id}"))
        .refuses(5, "aitbc agent list");
    user.types("aitbc agent show last")
        .refuses(5, "no agent yet");
}

#[test]
fn what_changes_is_the_next_version_and_the_type_stays() {
    let network = Network::start();
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let _created = user
        .types("aitbc agent create --name a --type research")
        .succeeds();
    let unchanged = user.types("aitbc agent update last").succeeds();
    assert!(unchanged.text().starts_with("Agent unchanged: "));
    writes_config(&user, &json!({"system": "Be brief."}));
    let updated = user.types("aitbc agent update last").succeeds().text();
    assert!(updated.starts_with("Agent updated: "), "{updated}");
    assert!(updated.contains("  a v2, research, "), "{updated}");
    let renamed = user
        .types("aitbc agent update last --name b --json")
        .succeeds()
        .json();
    assert_eq!(
        (&renamed["name"], &renamed["version"], &renamed["changed"]),
        (&json!("b"), &json!(2), &json!(false))
    );

    let shown = |version: &str| -> Value {
        let line = format!("aitbc agent show last --json {version}");
        let shown = user.types(&line).succeeds().json();
        let hash = hash_text(&sha256(shown["definition"].to_string().as_bytes()));
        assert_eq!(shown["config_hash"], hash);
        shown
    };
    let (first, second) = (shown("--version 1"), shown(""));
    assert_eq!(
        (&first["version"], &second["version"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(second["definition"]["system"], "Be brief.");
    assert_ne!(first["definition"], second["definition"]);
    user.types("aitbc agent show last --version 3")
        .refuses(5, "has no version 3");
    user.types("aitbc agent show last --version 0")
        .refuses(2, "versions count from 1");
    user.types("aitbc agent update last --config gone.json")
        .refuses(1, "gone.json");
}

#[test]
fn a_file_is_sent_once() {
    let network = Network::start();
    let user = network.user("me");
    writes_config(
        &user,
        &json!({"files": ["q3.csv", "copy.csv", "empty.csv"]}),
    );
    fs::copy(
        user.home_dir().join("q3.csv"),
        user.home_dir().join("copy.csv"),
    )
    .expect("a copy");
    fs::write(user.home_dir().join("empty.csv"), "").expect("it is writable");
    let uploads = |name: &str| {
        let created = user.types(&format!("aitbc agent create --name {name}"));
        created.succeeds().stderr.matches("uploading").count()
    };
    assert_eq!(uploads("first"), 2, "two of the three differ");
    assert_eq!(uploads("second"), 0);
    // More than one message of the upload.
    fs::write(user.home_dir().join("copy.csv"), "x\n".repeat(3 << 20)).expect("it is writable");
    assert_eq!(uploads("third"), 1);
    let shown = user.types("aitbc agent show last").succeeds().text();
    assert!(
        shown.contains("copy.csv (6291456 bytes) sha256:"),
        "{shown}"
    );
    // What another agent still names stays when one is deleted.
    let _deleted = user.types("aitbc agent delete last").succeeds();
    let _deleted = user.types("aitbc agent delete last").succeeds();
    writes_config(&user, &json!({"files": ["q3.csv"]}));
    assert_eq!(uploads("fourth"), 0);
}

#[test]
fn somebody_elses_agent_is_as_unknown_as_none() {
    let network = Network::start();
    let (owner, other) = (network.user("owner"), network.user("other"));
    writes_config(&owner, &json!({}));
    writes_config(&other, &json!({}));
    let foreign = creates(&owner, "mine");
    let unknown = "agent_01m83xj880e60tak362xesvjfr";
    for line in [
        "aitbc agent show ID",
        "aitbc agent update ID --name x",
        "aitbc agent update ID",
        "aitbc agent delete ID",
        "aitbc agent execute ID --input x",
    ] {
        let said = |id: &str| {
            let refused = other.types(&line.replace("ID", id));
            refused.refuses(5, "no agent");
            refused.stderr.replace(id, "ID")
        };
        assert_eq!(said(&foreign), said(unknown), "{line}");
    }
    other
        .types("aitbc agent show agent_x")
        .refuses(2, "\"last\" is your newest agent");
    let _still_there = owner.types("aitbc agent show last").succeeds();
}

#[test]
fn a_task_that_is_none_is_refused() {
    let network = Network::start();
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let _id = creates(&user, "a");
    let long = "x".repeat(65_537);
    for (task, part) in [(long.as_str(), "64 KiB"), (" ", "input: is empty")] {
        user.run(&["agent", "execute", "last", "--input", task])
            .refuses(2, part);
    }
    user.types("aitbc agent execute last").refuses(2, "--input");
    user.types("aitbc agent execute last --input x --require-miner")
        .refuses(1, "miner");
    let listed = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(listed["jobs"], json!([]));
    user.types("aitbc agent logs last")
        .refuses(5, "no execution yet");
    let _job = user
        .types("aitbc client submit --model llama3 --prompt x")
        .succeeds();
    let job = user.types("aitbc client list --json").succeeds().json();
    let job = job["jobs"][0]["job_id"].as_str().expect("an id").to_owned();
    user.types(&format!("aitbc agent logs {job}"))
        .refuses(2, "is no execution of an agent");
}

#[test]
fn an_execution_waits_for_a_miner_and_is_cancelled_as_any_job() {
    let network = Network::start();
    let user = network.user("me");
    writes_config(&user, &json!({}));
    let (first, second) = (creates(&user, "first"), creates(&user, "second"));
    for agent in [&first, &second, &first] {
        let line = format!("aitbc agent execute {agent} --input '{TASK}' --detach");
        let submitted = user.types(&line).succeeds();
        assert!(submitted.text().starts_with("Execution submitted\n"));
        assert!(submitted.text().contains("queued"), "{submitted:?}");
    }
    let executions = |of: &str| {
        let line = format!("aitbc agent executions {of} --json");
        let listed = user.types(&line).succeeds().json();
        listed["executions"].as_array().expect("a list").clone()
    };
    assert_eq!(executions("").len(), 3);
    assert_eq!(executions(&first).len(), 2);
    assert_eq!(executions("last").len(), 1);
    assert_eq!(executions("--limit 1")[0]["agent_id"], first.as_str());
    let listed = user.types("aitbc agent executions").succeeds().text();
    assert!(
        listed.contains("second") && listed.contains("queued"),
        "{listed}"
    );

    let status = user.types("aitbc client status last").succeeds().text();
    assert!(status.contains(&format!("agent   {first} v1")), "{status}");
    let job = executions("")[0]["job_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let _cancelled = user.types(&format!("aitbc client cancel {job}")).succeeds();
    user.types(&format!("aitbc agent logs {job}"))
        .refuses(6, "cancelled");
    user.types(&format!("aitbc client result {job}"))
        .refuses(6, "cancelled");
    let mut waiting = user.start(&[
        "agent",
        "execute",
        "last",
        "--input",
        TASK,
        "--cancel-on-interrupt",
    ]);
    waiting.notes("waiting: queued");
    waiting.interrupt();
    assert!(waiting.wait().exits(130).stderr.contains("is cancelled"));
}
