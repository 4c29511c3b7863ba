use std::fs;
use std::path::Path;

use aitbc_common::agents::{
    AgentType, CONFIG_SCHEMA, Limits, MAX_CONFIG_BYTES, MAX_FILE_BYTES, MAX_FILES_BYTES,
};
use aitbc_common::hash::{hash_text, sha256};
use aitbc_common::runtime::errors::ExitCode;
use proptest::prelude::*;
use serde_json::Value;

use super::document::line_and_column;
use super::load::parse;
use super::{load, template};

/// A folder of this test's own, removed at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aitbc-agents-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.join(name), bytes).unwrap();
    }

    /// A file with a hole.
    fn write_sparse(&self, name: &str, bytes: u64) {
        fs::File::create(self.0.join(name))
            .unwrap()
            .set_len(bytes)
            .unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// `LINE:COLUMN: problem | hint` of a config that is wrong.
fn refused(text: &str) -> String {
    let mistake = parse(text, Path::new("/nowhere"), AgentType::Custom).unwrap_err();
    let (line, column) = line_and_column(text, mistake.offset);
    format!("{line}:{column}: {} | {}", mistake.problem, mistake.hint)
}

#[test]
fn what_is_no_json_is_shown_with_its_place() {
    for (text, place, part) in [
        ("", "1:1: ", "no document"),
        ("// nothing\n", "1:1: ", "no document"),
        ("{\n  \"model\": \"a\",\n}", "2:15: ", "trailing comma"),
        ("{\"model\": \"a\" \"tools\": []}", "1:14: ", "comma"),
        ("{\n  model: \"a\"\n}", "2:3: ", "string"),
        ("{\"model\": 'a'}", "1:11: ", "single-quoted"),
        ("{\"model\": \"a\"} {}", "1:16: ", "more than one"),
        ("{\"model\": \"a\"", "1:1: ", "unterminated object"),
        ("{\"model\": \"a\" /* ", "1:15: ", "unterminated comment"),
        ("{\"é\": 0x10}", "1:7: ", "hexadecimal"),
        (
            "{\"model\": \"a\", \"options\": {\"temperature\": 1e999}}",
            "1:43: ",
            "fits",
        ),
        (
            "{\"model\": \"a\",\n \"model\": \"b\"}",
            "2:2: ",
            "stands twice",
        ),
    ] {
        let shown = refused(text);
        assert!(shown.starts_with(place), "{text:?}: {shown}");
        assert!(shown.contains(part), "{text:?}: {shown}");
    }
}

/// Configs that are wrong, and how what is told about them begins.
const MISTAKES: [(&str, &str); 28] = [
    (
        "[]",
        "1:1: is a list, must be an object | An agent of AITBC",
    ),
    ("{}", "1:1: model is missing | The model's name, such as"),
    (
        "{\"model\": 5}",
        "1:11: model: is a number, must be a text | The model's name",
    ),
    (
        "{\"model\": \"\"}",
        "1:11: model: is empty | The model's name",
    ),
    (
        "{\"model\": \"lla ma\"}",
        "1:11: model: the model name has ' ' at character 4 | a model name looks",
    ),
    (
        "{\n  // a comment\n  \"modle\": \"a\"\n}",
        "3:3: modle: unknown key | did you mean model?",
    ),
    (
        "{\n  \"model\": \"a\", /* é */ \"sytem\": \"\"\n}",
        "2:25: sytem: unknown key | did you mean system?",
    ),
    (
        "{\"model\": \"a\", \"zzz\": 1}",
        "1:16: zzz: unknown key | allowed here: $schema, model, system",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\n\t\"step\": 3}}",
        "2:2: limits.step: unknown key | did you mean limits.steps?",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"steps\": 201}}",
        "1:36: limits.steps: 201 is out of range | Most steps of the model, a whole number from 1 to 200.",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"steps\": 1.5}}",
        "1:36: limits.steps: is a number, must be a whole number | Most steps",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"steps\": 20.0}}",
        "1:36: limits.steps: 20.0 is no whole number above zero | write it without",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"spend_ait\": 1}}",
        "1:40: limits.spend_ait: is a number, must be a text | Most to spend",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"spend_ait\": \"1,5\"}}",
        "1:40: limits.spend_ait: \"1,5\" is not allowed | Most to spend",
    ),
    (
        "{\"model\": \"a\", \"limits\": {\"spend_ait\": \"0\"}}",
        "1:40: limits.spend_ait: is not an amount above zero",
    ),
    (
        "{\"model\": \"a\", \"tools\": [\"sql\",\n  \"calculater\"]}",
        "2:3: tools[1]: \"calculater\" is not allowed | did you mean \"calculator\"?",
    ),
    (
        "{\"model\": \"a\", \"tools\": [\"shell\"]}",
        "1:26: tools[0]: \"shell\" is not allowed | A tool is one of sql",
    ),
    (
        "{\"model\": \"a\", \"tools\": [\"sql\", \"sql\"]}",
        "1:25: tools: has the same item twice | The tools that",
    ),
    (
        "{\"model\": \"a\", \"tools\": \"sql\"}",
        "1:25: tools: is a text, must be a list | The tools that",
    ),
    (
        "{\"model\": \"a\", \"options\": {\"stop\": 1}}",
        "1:36: options.stop: is a number, must be a text or a list | A text or a list",
    ),
    (
        "{\"model\": \"a\", \"options\": {\"stop\": []}}",
        "1:36: options.stop: is empty | ",
    ),
    (
        "{\"model\": \"a\", \"options\": {\"temprature\": 1}}",
        "1:28: options.temprature: unknown key | did you mean options.temperature?",
    ),
    (
        "{\"model\": \"a\", \"options\": {\"top_k\": 1.0}}",
        "1:37: options.top_k: 1.0 is out of range or not whole | ",
    ),
    (
        "{\"model\": \"a\", \"egress_after_untrusted\": null}",
        "1:42: egress_after_untrusted: is null, must be true or false | ",
    ),
    (
        "{\"model\": \"a\", \"files\": [\"a.csv\"]}",
        "1:26: files[0]: cannot read /nowhere/a.csv: no such file",
    ),
    (
        "{\"model\": \"a\", \"files\": [\"..\"]}",
        "1:26: files[0]: \"..\" names no file",
    ),
    // Of two mistakes the first is told.
    (
        "{\"model\": \"a\", \"tools\": 1, \"files\": 2}",
        "1:25: tools: ",
    ),
    ("{\"files\": 2, \"model\": 1}", "1:11: files: "),
];

#[test]
fn mistakes_are_shown_with_their_place_and_what_was_expected() {
    for (text, expected) in MISTAKES {
        let shown = refused(text);
        assert!(
            shown.to_lowercase().starts_with(&expected.to_lowercase()),
            "{text}\n  {shown}\n  {expected}"
        );
        assert!(!shown.ends_with("| "), "{text}: no hint");
    }
}

#[test]
fn depth_and_size_have_bounds() {
    let nested = |levels: usize| {
        format!(
            "{{\"model\": \"a\", \"x\": {}{}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(refused(&nested(31)).contains("unknown key"));
    assert!(refused(&nested(32)).starts_with("1:52: more than 32 levels"));
    assert!(refused(&"[".repeat(MAX_CONFIG_BYTES)).contains("depth"));
    let folder = Folder::new("size");
    folder.write("large.json", " ".repeat(MAX_CONFIG_BYTES + 1));
    let error = load(&folder.0.join("large.json"), AgentType::Chat).unwrap_err();
    assert_eq!(error.reason, "TOO_LARGE");
}

#[test]
fn a_file_that_is_missing_or_no_text_is_told() {
    let folder = Folder::new("missing");
    let error = load(&folder.0.join("none.json"), AgentType::Chat).unwrap_err();
    assert_eq!(error.exit, ExitCode::Failed);
    assert_eq!(
        error.hint.as_deref(),
        Some("write one with: aitbc agent init")
    );
    folder.write("latin1.json", b"{\n \"model\": \"\xe9\"}");
    let error = load(&folder.0.join("latin1.json"), AgentType::Chat).unwrap_err();
    assert!(
        error.message.ends_with("latin1.json:2:12: not UTF-8"),
        "{}",
        error.message
    );
}

#[test]
fn what_init_writes_is_right_and_means_the_preset() {
    for agent_type in AgentType::ALL {
        let text = template::config(agent_type);
        let loaded = parse(&text, Path::new(""), agent_type).unwrap();
        let preset = agent_type.preset();
        assert_eq!(loaded.definition.system, preset.system);
        assert_eq!(loaded.definition.tools, preset.tools);
        assert_eq!(loaded.definition.limits, Limits::default());
        for commented in ["// \"q3.csv\"", "// \"spend_ait\": \"0.5\","] {
            assert!(text.contains(commented));
        }
        let with_spend = text.replace("// \"spend_ait\"", "\"spend_ait\"");
        let loaded = parse(&with_spend, Path::new(""), agent_type).unwrap();
        assert_eq!(
            loaded.definition.limits.spend_ait.as_deref(),
            Some("0.500000")
        );
        assert!(
            text.lines()
                .all(|line| line.chars().count() <= 120 || line.contains("\"system\""))
        );
    }
}

#[test]
fn files_are_found_beside_the_config_and_hashed() {
    let folder = Folder::new("files");
    folder.write("q3.csv", "month,revenue\nJuly,120400\n");
    folder.write("empty.txt", "");
    folder.write(
        "agent.json",
        "\u{feff}{\"model\": \"llama3\", \"files\": [\"q3.csv\", \"./empty.txt\"]}",
    );
    let loaded = load(&folder.0.join("agent.json"), AgentType::Analysis).unwrap();
    let files = &loaded.definition.files;
    assert_eq!((files[0].name.as_str(), files[0].bytes), ("q3.csv", 26));
    assert_eq!(
        files[0].sha256,
        hash_text(&sha256(b"month,revenue\nJuly,120400\n"))
    );
    assert_eq!((files[1].name.as_str(), files[1].bytes), ("empty.txt", 0));
    assert_eq!(loaded.files[0].path, folder.0.join("q3.csv"));
    assert_eq!(loaded.files.len(), 2);
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let folder = Folder::new("bounds");
    folder.write_sparse("most.bin", MAX_FILE_BYTES);
    folder.write_sparse("more.bin", MAX_FILE_BYTES + 1);
    fs::create_dir_all(folder.0.join("sub")).unwrap();
    folder.write("sub/most.bin", "x");
    let files = |names: &[&str]| {
        let text = serde_json::json!({"model": "a", "files": names}).to_string();
        parse(&text, &folder.0, AgentType::Custom)
    };
    assert_eq!(
        files(&["most.bin"]).unwrap().definition.files[0].bytes,
        MAX_FILE_BYTES
    );
    assert!(files(&["more.bin"]).unwrap_err().problem.contains("32 MiB"));
    assert!(
        files(&["sub/most.bin", "most.bin"])
            .unwrap_err()
            .problem
            .contains("also the name")
    );
    assert!(
        files(&["sub"])
            .unwrap_err()
            .problem
            .contains("no regular file")
    );
    let count = MAX_FILES_BYTES / MAX_FILE_BYTES;
    let names: Vec<String> = (0..=count).map(|index| format!("f{index}")).collect();
    for name in &names {
        folder.write_sparse(name, MAX_FILE_BYTES);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = files(&names).unwrap_err();
    assert!(
        error.problem.starts_with("files[8]: ") && error.problem.contains("256 MiB"),
        "{}",
        error.problem
    );
}

#[test]
fn the_schema_is_one_and_describes_every_part() {
    fn visit(schema: &Value, path: &str) {
        assert!(
            schema["description"].is_string(),
            "{path} has no description"
        );
        for (key, part) in schema["properties"].as_object().into_iter().flatten() {
            visit(part, &format!("{path}.{key}"));
        }
        if schema.get("items").is_some() {
            visit(&schema["items"], &format!("{path}[]"));
        }
    }
    let schema: Value = serde_json::from_str(CONFIG_SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    assert!(!CONFIG_SCHEMA.contains("$ref"));
    visit(&schema, "");
}

/// Texts that begin as a config does, and go on as nobody writes them.
fn broken_configs() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[{}\\[\\],:\"'/*+\\-0-9eEx.\\\\ué\n\r\t ]{0,12}",
        any::<char>().prop_map(String::from),
        Just("\"limits\": {\"steps\": 3}".to_owned()),
    ];
    let places =
        proptest::collection::vec((any::<proptest::sample::Index>(), 0_usize..30, piece), 1..4);
    places.prop_map(|places| {
        let mut text: Vec<char> = template::config(AgentType::Chat).chars().collect();
        for (place, removed, piece) in places {
            let at = place.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn every_text_is_read_or_refused_at_a_place_within_it(text in broken_configs()) {
        if let Err(mistake) = parse(&text, Path::new("/nowhere"), AgentType::Chat) {
            prop_assert!(mistake.offset <= text.len());
            let (line, _) = line_and_column(&text, mistake.offset);
            prop_assert!(line <= text.matches('\n').count() + 1);
            prop_assert!(!mistake.problem.is_empty() && !mistake.hint.is_empty());
        }
    }
}
