//! Refusals that a user who writes an agent's config meets.

use std::fs;

use aitbc_tests::harness::Network;

use super::command_line::refusals;

/// Configs of the test, their exit code, and what the error or hint must say.
const CASES: [(&str, i32, &str); 17] = [
    (
        "broken.json",
        2,
        "broken.json:2:20: not valid JSON: expected comma",
    ),
    (
        "comma.json",
        2,
        "comma.json:2:20: not valid JSON: trailing commas",
    ),
    ("key.json", 2, "key.json:4:14: limits.step: unknown key"),
    ("key.json", 2, "did you mean limits.steps?"),
    (
        "type.json",
        2,
        "type.json:3:12: tools: is a text, must be a list",
    ),
    ("tool.json", 2, "tool.json:3:4: tools[1]: "),
    ("tool.json", 2, "did you mean \"calculator\"?"),
    (
        "range.json",
        2,
        "range.json:1:51: limits.seconds: 0 is out of range",
    ),
    ("range.json", 2, "a whole number from 1 to 86400"),
    (
        "twice.json",
        2,
        "twice.json:2:1: the key \"model\" stands twice",
    ),
    ("model.json", 2, "model.json:2:11: model: "),
    (
        "file.json",
        2,
        "file.json:3:3: files[0]: cannot read gone.csv",
    ),
    (
        "list.json",
        2,
        "list.json:1:1: is a list, must be an object",
    ),
    ("latin1.json", 2, "latin1.json:2:2: not UTF-8"),
    ("deep.json", 2, "depth"),
    ("long.json", 2, "256 KiB"),
    ("none.json", 1, "aitbc agent init"),
];

#[test]
fn configs() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    for (name, text) in [
        (
            "broken.json",
            "{\n  \"model\": \"llama3\"\n  \"tools\": []\n}\n",
        ),
        ("comma.json", "{\n  \"model\": \"llama3\",\n}\n"),
        (
            "key.json",
            "{\n  // how far\n  \"model\": \"llama3\",\n  \"limits\": {\"step\": 3}\n}\n",
        ),
        (
            "type.json",
            "{\n  \"model\": \"llama3\",\n  \"tools\": \"sql\"\n}\n",
        ),
        (
            "tool.json",
            "{\"model\": \"llama3\",\n \"tools\": [\"sql\",\n   \"calculater\"]}\n",
        ),
        (
            "range.json",
            "{\"model\": \"llama3\", /* é */ \"limits\": {\"seconds\": 0}}\n",
        ),
        (
            "twice.json",
            "{\"model\": \"llama3\",\n\"model\": \"llama2\"}\n",
        ),
        ("model.json", "{\n\t\"model\": \"lla ma\"}\n"),
        (
            "file.json",
            "{\"model\": \"llama3\",\n \"files\": [\n  \"gone.csv\"]}\n",
        ),
        ("list.json", "[]"),
    ] {
        fs::write(user.home_dir().join(name), text).expect("it is writable");
    }
    fs::write(
        user.home_dir().join("latin1.json"),
        b"{\"model\":\n\"\xe9\"}",
    )
    .expect("it is writable");
    fs::write(user.home_dir().join("deep.json"), "[".repeat(100_000)).expect("it is writable");
    fs::write(user.home_dir().join("long.json"), " ".repeat(300_000)).expect("it is writable");
    let check = "aitbc agent check --type custom --config";
    let lines: Vec<String> = CASES
        .iter()
        .map(|(file, ..)| format!("{check} {file}"))
        .collect();
    let typed: Vec<(&str, i32, &str)> = lines
        .iter()
        .zip(CASES)
        .map(|(line, (_, code, part))| (line.as_str(), code, part))
        .collect();
    refusals(&user, &typed);
}

#[test]
fn options() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    fs::write(user.home_dir().join("type.json"), "{}").expect("it is writable");
    refusals(
        &user,
        &[
            (
                "aitbc agent init --type analysys",
                2,
                "did you mean analysis?",
            ),
            (
                "aitbc agent init --type zzz",
                2,
                "types of agents: analysis, research, chat, custom",
            ),
            ("aitbc agent init --output type.json", 1, "--force"),
            ("aitbc agent init --output type.json/x", 1, "type.json"),
            ("aitbc agent", 2, "a command is missing"),
        ],
    );
}
