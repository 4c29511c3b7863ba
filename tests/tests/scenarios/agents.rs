//! Agents: a config is written, changed by hand, checked.

use std::fs;

use aitbc_common::hash::{hash_text, sha256};
use aitbc_tests::harness::Network;
use serde_json::{Value, json};

#[test]
fn a_config_is_written_once_and_is_right() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let file = user.home_dir().join("agent_config.json");
    let written = user.types("aitbc agent init --json").succeeds().json();
    assert_eq!(
        written,
        json!({"file": "agent_config.json", "type": "analysis"})
    );
    let text = fs::read_to_string(&file).expect("it is there");
    assert!(text.contains("// "), "{text}");
    let checked = user.types("aitbc agent check").succeeds().text();
    assert!(
        checked.contains("analysis, llama3:latest, tools sql + calculator"),
        "{checked}"
    );

    fs::write(&file, "mine").expect("it is writable");
    user.types("aitbc agent init --type chat")
        .refuses(1, "--force");
    assert_eq!(fs::read(&file).expect("it is there"), b"mine");
    let forced = user.types("aitbc agent init --type chat --force");
    assert!(forced.succeeds().text().contains("of type chat"));
    let _checked = user.types("aitbc agent check --type chat").succeeds();
    for agent_type in ["analysis", "research", "chat", "custom"] {
        let _written = user
            .types(&format!(
                "aitbc agent init --type {agent_type} --output {agent_type}.json"
            ))
            .succeeds();
        let _checked = user
            .types(&format!(
                "aitbc agent check --type {agent_type} --config {agent_type}.json"
            ))
            .succeeds();
    }
}

#[test]
fn a_config_becomes_a_definition_with_a_hash_of_its_own_and_of_its_files() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let folder = user.home_dir().join("agents");
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::write(folder.join("abc.txt"), "abc").expect("it is writable");
    let config = r#"{"model": "llama3", // files are beside this one
        "files": ["abc.txt"], "limits": {"spend_ait": "1.5"}, "options": {"stop": "END"}}"#;
    fs::write(folder.join("a.json"), config).expect("it is writable");
    let checked = user
        .types("aitbc agent check --type custom --config agents/a.json --json")
        .succeeds()
        .json();
    // SHA-256 of "abc" as FIPS 180-4 gives it.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let definition = json!({
        "type": "custom",
        "model": "llama3:latest",
        "system": "",
        "tools": [],
        "files": [{"name": "abc.txt", "sha256": abc, "bytes": 3}],
        "limits": {"steps": 20, "seconds": 600, "tokens": 200_000, "spend_ait": "1.500000"},
        "options": {"stop": ["END"]},
        "egress_after_untrusted": false,
    });
    assert_eq!(checked["definition"].to_string(), definition.to_string());
    let config_hash = hash_text(&sha256(definition.to_string().as_bytes()));
    assert_eq!(checked["config_hash"], config_hash);

    fs::write(folder.join("abc.txt"), "abd").expect("it is writable");
    let changed = user
        .types("aitbc agent check --type custom --config agents/a.json --json")
        .succeeds()
        .json();
    assert_ne!(changed["config_hash"], config_hash);
}

#[test]
fn the_schema_is_printed_for_people_and_programs() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let document = user.types("aitbc agent schema --json").succeeds().json();
    assert_eq!(
        document["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let text = user.types("aitbc agent schema").succeeds().text();
    let pretty: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(pretty, document);
}
