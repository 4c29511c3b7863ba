use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hash::{hash_text, sha256};
use crate::ids::AgentId;

fn definition() -> Definition {
    Definition {
        agent_type: AgentType::Analysis,
        model: "llama3:latest".to_owned(),
        model_digest: None,
        system: "You analyse data.".to_owned(),
        tools: vec!["sql".to_owned(), "mcp:files/read_file".to_owned()],
        files: vec![file("q3.csv", 120)],
        limits: Limits::default(),
        options: json!({"temperature": 0.2}).as_object().cloned().unwrap(),
        egress_after_untrusted: false,
    }
}

fn file(name: &str, bytes: u64) -> FileRef {
    FileRef {
        name: name.to_owned(),
        sha256: hash_text(&sha256(name.as_bytes())),
        bytes,
    }
}

fn refused(change: impl FnOnce(&mut Definition)) -> String {
    let mut changed = definition();
    change(&mut changed);
    let error = changed.validate().unwrap_err();
    assert!(!error.hint.is_empty());
    error.field.unwrap_or_default()
}

fn accepted(change: impl FnOnce(&mut Definition)) {
    let mut changed = definition();
    change(&mut changed);
    changed.validate().unwrap();
    assert_eq!(Definition::read(&changed.to_bytes()), Ok(changed));
}

#[test]
fn the_stored_bytes_of_a_definition_are_frozen() {
    let hash = hash_text(&sha256(b"q3.csv"));
    let expected = format!(
        r#"{{"type":"analysis","model":"llama3:latest","system":"You analyse data.","tools":["sql","mcp:files/read_file"],"files":[{{"name":"q3.csv","sha256":"{hash}","bytes":120}}],"limits":{{"steps":20,"seconds":600,"tokens":200000}},"options":{{"temperature":0.2}},"egress_after_untrusted":false}}"#
    );
    let definition = definition();
    assert_eq!(String::from_utf8(definition.to_bytes()).unwrap(), expected);
    assert_eq!(definition.config_hash(), sha256(expected.as_bytes()));
    assert_eq!(Definition::read(expected.as_bytes()), Ok(definition));
}

#[test]
fn the_bounds_of_a_definition_are_kept_to_the_last_one() {
    accepted(|d| d.system = "x".repeat(MAX_SYSTEM_BYTES));
    assert_eq!(
        refused(|d| d.system = "x".repeat(MAX_SYSTEM_BYTES + 1)),
        "system"
    );
    let tools = |count: usize| (0..count).map(|i| format!("mcp:s{i}")).collect::<Vec<_>>();
    accepted(|d| d.tools = tools(MAX_TOOLS));
    assert_eq!(refused(|d| d.tools = tools(MAX_TOOLS + 1)), "tools");
    let files = |count: usize, bytes: u64| {
        (0..count)
            .map(|i| file(&format!("f{i}"), bytes))
            .collect::<Vec<_>>()
    };
    accepted(|d| d.files = files(MAX_FILES, 1));
    assert_eq!(refused(|d| d.files = files(MAX_FILES + 1, 1)), "files");
    accepted(|d| d.files = files(8, MAX_FILE_BYTES));
    assert_eq!(refused(|d| d.files = files(9, MAX_FILE_BYTES)), "files");
    assert_eq!(
        refused(|d| d.files[0].bytes = MAX_FILE_BYTES + 1),
        "files[0].bytes"
    );
    accepted(|d| d.files[0].name = "é".repeat(127));
    for name in ["", ".", "..", "a/b", "a\\b", "a\nb", &"é".repeat(128)] {
        assert_eq!(
            refused(|d| d.files[0].name = name.to_owned()),
            "files[0].name",
            "{name}"
        );
    }
    accepted(|d| {
        d.limits = Limits {
            steps: 200,
            seconds: 86_400,
            tokens: 10_000_000,
            spend_ait: Some("0.000001".to_owned()),
        };
    });
    assert_eq!(refused(|d| d.limits.steps = 0), "limits.steps");
    assert_eq!(refused(|d| d.limits.steps = 201), "limits.steps");
    assert_eq!(refused(|d| d.limits.seconds = 86_401), "limits.seconds");
    assert_eq!(refused(|d| d.limits.tokens = 10_000_001), "limits.tokens");
    for spend in ["0.000000", "0.5", "-1.000000", "", "lots"] {
        assert_eq!(
            refused(|d| d.limits.spend_ait = Some(spend.to_owned())),
            "limits.spend_ait"
        );
    }
}

#[test]
fn what_a_definition_names_exists_and_stands_once() {
    assert_eq!(refused(|d| d.model = "llama3".to_owned()), "model");
    assert_eq!(refused(|d| d.model = "lla ma".to_owned()), "model");
    let digest = hash_text(&[0xab; 32]);
    accepted(|d| d.model_digest = Some(digest.clone()));
    assert_eq!(
        refused(|d| d.model_digest = Some(digest.to_uppercase())),
        "model_digest"
    );
    assert_eq!(
        refused(|d| d.model_digest = Some(digest[7..].to_owned())),
        "model_digest"
    );
    assert_eq!(refused(|d| d.tools.push("sql".to_owned())), "tools[2]");
    assert_eq!(refused(|d| d.files.push(file("q3.csv", 1))), "files[1]");
    assert_eq!(
        refused(|d| d.files[0].sha256 = "sha256:00".to_owned()),
        "files[0].sha256"
    );
    assert_eq!(
        refused(|d| {
            d.options.insert("temprature".to_owned(), Value::from(1));
        }),
        "options.temprature"
    );
    let mut near = definition();
    near.tools = vec!["calculater".to_owned()];
    assert_eq!(
        near.validate().unwrap_err().hint,
        "did you mean \"calculator\"?"
    );
}

#[test]
fn tools_of_mcp_servers_have_two_names() {
    for (name, server, tool) in [
        ("mcp:files", "files", None),
        (
            "mcp:my-server.2/read_file",
            "my-server.2",
            Some("read_file"),
        ),
    ] {
        assert_eq!(McpTool::parse(name), Some(McpTool { server, tool }));
    }
    for bad in [
        "sql",
        "mcp:",
        "mcp:/x",
        "mcp:a/",
        "mcp:a/b/c",
        "mcp:a b",
        "MCP:a",
        &format!("mcp:{}", "a".repeat(129)),
    ] {
        assert_eq!(McpTool::parse(bad), None, "{bad}");
    }
}

#[test]
fn definitions_with_other_fields_are_refused() {
    let mut document: Value = serde_json::from_slice(&definition().to_bytes()).unwrap();
    document["extra"] = Value::from(1);
    assert!(
        Definition::read(document.to_string().as_bytes())
            .unwrap_err()
            .message
            .contains("extra")
    );
    assert!(Definition::read(b"{}").is_err());
    assert!(Definition::read(&vec![b' '; MAX_DEFINITION_BYTES + 1]).is_err());
}

#[test]
fn types_of_agents_have_names() {
    for agent_type in AgentType::ALL {
        assert_eq!(agent_type.as_str().parse(), Ok(agent_type));
        assert_eq!(
            serde_json::to_value(agent_type).unwrap(),
            agent_type.as_str()
        );
    }
    assert_eq!(
        "analysys".parse::<AgentType>().unwrap_err().hint,
        "did you mean analysis?"
    );
}

fn input() -> ExecutionInput {
    ExecutionInput {
        agent_id: AgentId::new(1, 2, [3; 10]).to_string(),
        version: 1,
        config_hash: hash_text(&definition().config_hash()),
        input: "Analyze Q3 financial data".to_owned(),
    }
}

#[test]
fn an_input_reads_back_and_keeps_its_bounds() {
    let whole = input();
    assert_eq!(ExecutionInput::read(&whole.to_bytes()), Ok(whole.clone()));
    assert_eq!(whole.definition_hash(), Some(definition().config_hash()));
    let most = ExecutionInput {
        input: "\u{1}".repeat(MAX_TASK_BYTES),
        ..whole.clone()
    };
    assert_eq!(ExecutionInput::read(&most.to_bytes()), Ok(most));
    for (field, bad) in [
        (
            "agent_id",
            ExecutionInput {
                agent_id: "job_x".to_owned(),
                ..whole.clone()
            },
        ),
        (
            "version",
            ExecutionInput {
                version: 0,
                ..whole.clone()
            },
        ),
        (
            "config_hash",
            ExecutionInput {
                config_hash: "00".repeat(32),
                ..whole.clone()
            },
        ),
        (
            "input",
            ExecutionInput {
                input: " \n".to_owned(),
                ..whole.clone()
            },
        ),
        (
            "input",
            ExecutionInput {
                input: "x".repeat(MAX_TASK_BYTES + 1),
                ..whole
            },
        ),
    ] {
        let error = ExecutionInput::read(&bad.to_bytes()).unwrap_err();
        assert_eq!(error.field.as_deref(), Some(field));
    }
}

fn thought(seq: u64, text: &str) -> Event {
    Event::Thought {
        seq,
        text: text.to_owned(),
    }
}

fn action(seq: u64, tool: &str) -> Event {
    Event::Action {
        seq,
        step: 1,
        tool: tool.to_owned(),
        arguments: json!({"query": "SELECT 1"}),
    }
}

fn observation(seq: u64, action: u64, tool: &str, output: &str) -> Event {
    Event::Observation {
        seq,
        action,
        tool: tool.to_owned(),
        ok: true,
        output: output.to_owned(),
        truncated: false,
        interrupted: false,
        elapsed_ms: 12,
    }
}

fn answer(seq: u64) -> Event {
    Event::Answer {
        seq,
        text: "370550".to_owned(),
        end: End::Answered,
    }
}

fn lines(events: &[Event]) -> Vec<u8> {
    events
        .iter()
        .flat_map(|event| event.to_line().unwrap())
        .collect()
}

#[test]
fn the_lines_of_events_are_frozen() {
    let usage = Event::Usage {
        seq: 4,
        step: 1,
        tokens_in: 200,
        tokens_out: 11,
    };
    let text = lines(&[
        thought(1, "a"),
        action(2, "sql"),
        observation(3, 2, "sql", "1"),
        usage,
        answer(5),
    ]);
    let expected = r#"{"event":"thought","seq":1,"text":"a"}
{"event":"action","seq":2,"step":1,"tool":"sql","arguments":{"query":"SELECT 1"}}
{"event":"observation","seq":3,"action":2,"tool":"sql","ok":true,"output":"1","truncated":false,"interrupted":false,"elapsed_ms":12}
{"event":"usage","seq":4,"step":1,"tokens_in":200,"tokens_out":11}
{"event":"answer","seq":5,"text":"370550","end":"answered"}
"#;
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    for (end, name) in [
        (End::Answered, "answered"),
        (End::StepLimit, "step_limit"),
        (End::TimeLimit, "time_limit"),
        (End::TokenLimit, "token_limit"),
        (End::SpendLimit, "spend_limit"),
        (End::Malformed, "malformed"),
        (End::ContextFull, "context_full"),
    ] {
        assert_eq!(serde_json::to_value(end).unwrap(), name);
    }
}

#[test]
fn an_output_that_does_not_follow_is_refused() {
    for (line, events) in [
        (1, vec![thought(2, "")]),
        (2, vec![thought(1, ""), thought(1, "")]),
        (2, vec![answer(1), thought(2, "")]),
        (1, vec![observation(1, 1, "sql", "")]),
        (
            2,
            vec![action(1, "sql"), observation(2, 1, "calculator", "")],
        ),
        (
            3,
            vec![
                action(1, "sql"),
                observation(2, 1, "sql", ""),
                observation(3, 1, "sql", ""),
            ],
        ),
    ] {
        match Event::read(&lines(&events)) {
            Err(EventError::Order { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
    }
    for bad in ["\n", "{}\n", "{\"event\":\"dance\",\"seq\":1}\n", "\u{1}\n"] {
        assert!(matches!(
            Event::read(bad.as_bytes()),
            Err(EventError::NoEvent { line: 1, .. })
        ));
    }
    let endless = vec![b'x'; MAX_EVENT_BYTES];
    assert_eq!(Event::read(&endless), Err(EventError::TooLong { line: 1 }));
}

#[test]
fn actions_may_be_answered_in_any_order() {
    let events = [
        action(1, "sql"),
        action(2, "datetime"),
        observation(3, 2, "datetime", ""),
        observation(4, 1, "sql", ""),
    ];
    assert_eq!(Event::read(&lines(&events)).unwrap().0, events);
}

#[test]
fn the_longest_line_is_allowed_and_one_more_byte_is_not() {
    let frame = thought(1, "").to_line().unwrap().len();
    let longest = thought(1, &"x".repeat(MAX_EVENT_BYTES - frame));
    assert_eq!(
        Event::read(&longest.to_line().unwrap()).unwrap().0,
        [longest]
    );
    let longer = thought(1, &"x".repeat(MAX_EVENT_BYTES - frame + 1));
    assert_eq!(longer.to_line(), Err(EventError::TooLong { line: 1 }));
    assert!(
        longer
            .fitted()
            .to_line()
            .unwrap()
            .ends_with(" … (cut)\"}\n".as_bytes())
    );
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        proptest::collection::vec(any::<char>(), 0..40).prop_map(|c| c.into_iter().collect())
    ]
}

fn histories() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((0_u8..3, texts()), 0..12).prop_map(|steps| {
        let mut events = Vec::new();
        for (kind, text) in steps {
            let seq = events.len() as u64 + 1;
            match kind {
                0 => events.push(thought(seq, &text)),
                1 => events.push(Event::Usage {
                    seq,
                    step: 1,
                    tokens_in: seq,
                    tokens_out: u64::MAX,
                }),
                _ => {
                    let arguments = json!({ "text": text });
                    events.push(Event::Action {
                        seq,
                        step: 1,
                        tool: text.clone(),
                        arguments,
                    });
                    events.push(observation(seq + 1, seq, &text, &text));
                }
            }
        }
        events
    })
}

proptest! {
    #[test]
    fn a_torn_output_is_read_to_its_last_whole_line(events in histories(), cut in any::<proptest::sample::Index>()) {
        let whole = lines(&events);
        prop_assert_eq!(Event::read(&whole).unwrap(), (events.clone(), whole.len()));
        let torn = &whole[..cut.index(whole.len() + 1)];
        let (read, bytes) = Event::read(torn).unwrap();
        prop_assert_eq!(&read[..], &events[..read.len()]);
        prop_assert_eq!(lines(&read), &torn[..bytes]);
        prop_assert!(!torn[bytes..].contains(&b'\n'));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Event::read(&bytes);
        let _ = Definition::read(&bytes);
        let _ = ExecutionInput::read(&bytes);
    }

    #[test]
    fn a_fitted_event_fits_and_loses_no_more_than_it_must(part in texts(), times in 1_usize..4_000) {
        let text = part.repeat(times);
        for event in [thought(1, &text), observation(1, 1, "sql", &text)] {
            let fitted = event.clone().fitted();
            let length = fitted.to_line().unwrap().len();
            match event.to_line() {
                Ok(_) => prop_assert_eq!(fitted, event),
                Err(_) => prop_assert!(length + CUT_SLACK >= MAX_EVENT_BYTES),
            }
        }
    }
}

/// A character's longest form in JSON, twice: for the last that was taken off, and `truncated` losing a letter.
const CUT_SLACK: usize = 12;
