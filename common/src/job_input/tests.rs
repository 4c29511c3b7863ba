use serde_json::json;

use super::*;

fn inference(text: &str) -> Result<InferenceInput, InputError> {
    match JobInput::parse(JobType::Inference, text.as_bytes())? {
        JobInput::Inference(input) => Ok(input),
        JobInput::Embedding(_) => panic!("not an inference input"),
    }
}

fn refused(text: &str) -> InputError {
    inference(text).expect_err(text)
}

#[test]
fn reads_a_prompt() {
    let input = inference(r#"{"prompt":"Hello AITBC"}"#).expect("valid");
    assert_eq!(input.prompt, Prompt::Text("Hello AITBC".to_owned()));
    assert!(input.options.is_empty() && input.tools.is_empty());
    assert_eq!(
        JobInput::from_prompt("Hello \"you\""),
        br#"{"prompt":"Hello \"you\""}"#
    );
}

#[test]
fn reads_everything_that_is_allowed() {
    let input = inference(
        r#"{"messages":[{"role":"user","content":"What is on it?","images":["aGVsbG8="]},
             {"role":"assistant","tool_calls":[{"id":"call_1","function":{"name":"look","arguments":{"at":1}}}]},
             {"role":"tool","content":"a cat","tool_name":"look"}],
            "system":"Be brief.","tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object"}}}],
            "think":"low","keep_alive":"1m30s","format":{"type":"object"},
            "options":{"temperature":0,"top_p":0.9,"top_k":40,"min_p":0.05,"seed":-1,"num_predict":64,"stop":"END",
                       "num_ctx":2048,"repeat_penalty":1.1,"presence_penalty":-0.5,"frequency_penalty":0.5}}"#,
    )
    .expect("valid");
    assert!(matches!(&input.prompt, Prompt::Messages(messages) if messages.len() == 3));
    assert_eq!(input.system.as_deref(), Some("Be brief."));
    assert_eq!(
        input.options["stop"],
        json!(["END"]),
        "one stop text becomes a list"
    );
    assert_eq!(input.context_tokens(), Some(2048));
}

#[test]
fn the_position_of_a_syntax_error_is_shown() {
    for (text, position) in [
        (r#"{"prompt" "x"}"#, "line 1, column 11"),
        ("{\n  \"prompt\": \"a\",\n  oops\n}", "line 3, column 3"),
        (r#"{"prompt":"ä", x}"#, "line 1, column 16"),
        (r#"{"prompt":"x""#, "line 1, column 13"),
        (r#"{"prompt":"x"} y"#, "line 1, column 16"),
        (r#"{"prompt":"x","prompt":"y"}"#, "line 1, column"),
        (r#"{"prompt":NaN}"#, "line 1, column 11"),
    ] {
        let error = refused(text);
        assert!(error.message.contains(position), "{text}: {error}");
        assert!(error.hint.contains("prompt") && error.field.is_none());
    }
    assert!(
        refused(r#"{"prompt":"x","prompt":"y"}"#)
            .message
            .contains("stands twice")
    );
    let deep = "[".repeat(100_000);
    assert!(refused(&deep).message.contains("recursion limit"));
}

#[test]
fn documents_that_are_none() {
    for text in ["", " \n\t "] {
        assert_eq!(refused(text).message, "the input is empty");
    }
    assert!(refused("[]").message.contains("a list, not a JSON object"));
    assert!(
        refused("\"text\"")
            .message
            .contains("a text, not a JSON object")
    );
    let binary =
        JobInput::parse(JobType::Inference, b"{\"prompt\":\"\xff\"}").expect_err("not UTF-8");
    assert!(binary.message.contains("byte 12"), "{binary}");
}

#[test]
fn the_size_is_bounded() {
    let overhead = r#"{"prompt":""}"#.len();
    let fits = JobInput::from_prompt(&"a".repeat(MAX_INPUT_BYTES - overhead));
    assert!(JobInput::parse(JobType::Inference, &fits).is_ok());
    let too_big = JobInput::from_prompt(&"a".repeat(MAX_INPUT_BYTES - overhead + 1));
    let error = JobInput::parse(JobType::Inference, &too_big).expect_err("too big");
    assert!(error.message.contains("3145729 bytes"), "{error}");
}

#[test]
fn unknown_fields_name_the_nearest() {
    for (text, field, hint) in [
        (r#"{"promt":"x"}"#, "promt", "did you mean prompt?"),
        (
            r#"{"prompt":"x","options":{"temprature":1}}"#,
            "options.temprature",
            "did you mean options.temperature?",
        ),
        (
            r#"{"messages":[{"rol":"user","content":"x"}]}"#,
            "messages[0].rol",
            "did you mean messages[0].role?",
        ),
        (
            r#"{"prompt":"x","logit_bias":{}}"#,
            "logit_bias",
            "allowed here: prompt, messages",
        ),
        (
            r#"{"prompt":"x","images":["aGVsbG8="]}"#,
            "images",
            "belong to a message",
        ),
    ] {
        let error = refused(text);
        assert_eq!(error.field.as_deref(), Some(field), "{error}");
        assert!(error.hint.contains(hint), "{}", error.hint);
    }
}

#[test]
fn wrong_values_name_their_path() {
    for (text, field) in [
        (r#"{}"#, "prompt"),
        (r#"{"prompt":""}"#, "prompt"),
        (r#"{"prompt":1}"#, "prompt"),
        (r#"{"prompt":null}"#, "prompt"),
        (r#"{"prompt":"x","messages":[]}"#, "messages"),
        (r#"{"messages":[]}"#, "messages"),
        (r#"{"messages":["x"]}"#, "messages[0]"),
        (r#"{"messages":[{"content":"x"}]}"#, "messages[0].role"),
        (
            r#"{"messages":[{"role":"usr","content":"x"}]}"#,
            "messages[0].role",
        ),
        (r#"{"messages":[{"role":"user"}]}"#, "messages[0].content"),
        (
            r#"{"messages":[{"role":"user","content":"x"},{"role":"tool","content":[]}]}"#,
            "messages[1].content",
        ),
        (
            r#"{"messages":[{"role":"user","content":"x","images":["%"]}]}"#,
            "messages[0].images[0]",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{}]}]}"#,
            "messages[0].tool_calls[0].function",
        ),
        (
            r#"{"messages":[{"role":"system","content":"x"}],"system":"y"}"#,
            "system",
        ),
        (
            r#"{"prompt":"x","tools":[{"function":{}}]}"#,
            "tools[0].function.name",
        ),
        (r#"{"prompt":"x","think":"much"}"#, "think"),
        (r#"{"prompt":"x","keep_alive":-1}"#, "keep_alive"),
        (r#"{"prompt":"x","keep_alive":"2h"}"#, "keep_alive"),
        (r#"{"prompt":"x","keep_alive":"5"}"#, "keep_alive"),
        (r#"{"prompt":"x","format":"xml"}"#, "format"),
        (r#"{"prompt":"x","options":[]}"#, "options"),
        (
            r#"{"prompt":"x","options":{"temperature":-0.1}}"#,
            "options.temperature",
        ),
        (
            r#"{"prompt":"x","options":{"temperature":"hot"}}"#,
            "options.temperature",
        ),
        (r#"{"prompt":"x","options":{"top_k":1.5}}"#, "options.top_k"),
        (
            r#"{"prompt":"x","options":{"num_ctx":0}}"#,
            "options.num_ctx",
        ),
        (
            r#"{"prompt":"x","options":{"stop":[""]}}"#,
            "options.stop[0]",
        ),
        (
            r#"{"prompt":"x","options":{"seed":18446744073709551615}}"#,
            "options.seed",
        ),
    ] {
        let error = refused(text);
        assert_eq!(error.field.as_deref(), Some(field), "{text}: {error}");
        assert!(!error.hint.is_empty(), "{text}");
    }
}

#[test]
fn embedding_takes_a_text_or_a_list() {
    let parse = |text: &str| JobInput::parse(JobType::Embedding, text.as_bytes());
    assert_eq!(
        parse(r#"{"input":"a"}"#),
        Ok(JobInput::Embedding(vec!["a".to_owned()]))
    );
    assert_eq!(
        parse(r#"{"input":["a","b"]}"#),
        Ok(JobInput::Embedding(vec!["a".to_owned(), "b".to_owned()]))
    );
    for (text, field) in [
        (r#"{}"#, "input"),
        (r#"{"input":[]}"#, "input"),
        (r#"{"input":""}"#, "input"),
        (r#"{"input":["a",1]}"#, "input[1]"),
        (r#"{"prompt":"a"}"#, "prompt"),
    ] {
        assert_eq!(parse(text).expect_err(text).field.as_deref(), Some(field));
    }
}

#[test]
fn job_types_have_names_and_numbers() {
    for job_type in JobType::ALL {
        assert_eq!(job_type.as_str().parse(), Ok(job_type));
        assert_eq!(JobType::try_from(job_type as u8), Ok(job_type));
    }
    assert_eq!(
        "inferense".parse::<JobType>().expect_err("unknown").hint,
        "did you mean inference?"
    );
    assert!(JobType::try_from(0).is_err());
    assert!(JobInput::parse(JobType::Agent, b"{}").is_err());
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = JobInput::parse(JobType::Inference, &bytes);
        let _ = JobInput::parse(JobType::Embedding, &bytes);
    }

    #[test]
    fn any_prompt_survives(prompt in "\\PC{1,80}") {
        let parsed = JobInput::parse(JobType::Inference, &JobInput::from_prompt(&prompt));
        let is_same = matches!(&parsed, Ok(JobInput::Inference(input)) if input.prompt == Prompt::Text(prompt.clone()));
        proptest::prop_assert!(is_same, "{parsed:?}");
    }
}
