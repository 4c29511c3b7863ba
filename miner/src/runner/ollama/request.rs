//! Requests as the server takes them, and whether a prompt can fit at all.

use aitbc_common::job_input::{InferenceInput, JobInput, Prompt};
use serde_json::{Map, Value, json};

use crate::runner::estimate::{self, Estimate};
use crate::runner::{RunError, RunRequest};

/// Path and body of an inference request.
pub(super) fn inference(request: &RunRequest, job: &InferenceInput) -> (&'static str, Value) {
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| {
        body.insert(key.to_owned(), value);
    };
    set("model", Value::from(request.model.as_str()));
    // `/api/generate` knows no tools.
    let path = match &job.prompt {
        Prompt::Text(prompt) if job.tools.is_empty() => {
            set("prompt", Value::from(prompt.as_str()));
            if let Some(system) = &job.system {
                set("system", Value::from(system.as_str()));
            }
            "api/generate"
        }
        prompt => {
            set(
                "messages",
                Value::Array(messages(job.system.as_deref(), prompt)),
            );
            if !job.tools.is_empty() {
                set("tools", Value::from(job.tools.clone()));
            }
            "api/chat"
        }
    };
    for (key, value) in [
        ("think", &job.think),
        ("keep_alive", &job.keep_alive),
        ("format", &job.format),
    ] {
        if let Some(value) = value {
            set(key, value.clone());
        }
    }
    set("options", options(&job.options, request.context_tokens));
    set("stream", Value::Bool(true));
    // An error, where the server would otherwise cut the prompt or forget its beginning.
    set("truncate", Value::Bool(false));
    set("shift", Value::Bool(false));
    (path, Value::Object(body))
}

/// Body of an embedding request.
pub(super) fn embedding(request: &RunRequest, texts: &[String]) -> Value {
    json!({
        "model": request.model,
        "input": texts,
        "truncate": false,
        "options": options(&Map::new(), request.context_tokens),
    })
}

fn messages(system: Option<&str>, prompt: &Prompt) -> Vec<Value> {
    let mut all: Vec<Value> = system
        .map(|system| json!({"role": "system", "content": system}))
        .into_iter()
        .collect();
    match prompt {
        Prompt::Text(prompt) => all.push(json!({"role": "user", "content": prompt})),
        Prompt::Messages(messages) => all.extend(messages.iter().cloned().map(Value::Object)),
    }
    all
}

fn options(asked: &Map<String, Value>, context_tokens: u32) -> Value {
    let mut options = asked.clone();
    options.insert("num_ctx".to_owned(), Value::from(context_tokens));
    Value::Object(options)
}

/// Refuses at once what cannot fit; else estimates how much of the context the prompt takes.
pub(super) fn check_context(request: &RunRequest) -> Result<Estimate, RunError> {
    let available = request.context_tokens;
    if let JobInput::Inference(job) = &request.input
        && let Some(asked) = job.context_tokens()
        && asked > available
    {
        return Err(RunError::ContextExceeded {
            needed: asked,
            available,
            estimated: false,
        });
    }
    let estimate = estimate::input(&request.input);
    if estimate.least > available {
        return Err(too_long(estimate, available));
    }
    Ok(estimate)
}

/// The error of a prompt that does not fit, where the server does not say how long it is.
pub(super) fn too_long(estimate: Estimate, available: u32) -> RunError {
    let needed = estimate.likely.max(available.saturating_add(1));
    RunError::ContextExceeded {
        needed,
        available,
        estimated: true,
    }
}

/// Finds a prompt that was cut without a word: the server read as much as fits, or less than there is.
pub(super) fn check_read(
    tokens_in: Option<u32>,
    estimate: Estimate,
    available: u32,
) -> Result<(), RunError> {
    let Some(read) = tokens_in else { return Ok(()) };
    let least = estimate.least - estimate.least / 10;
    if read >= available || read < least {
        return Err(too_long(estimate, available));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aitbc_common::job_input::JobType;

    use super::*;

    fn request(document: &str) -> RunRequest {
        let input = JobInput::parse(JobType::Inference, document.as_bytes()).expect(document);
        RunRequest {
            model: "llama3:latest".to_owned(),
            input,
            context_tokens: 512,
            output_limit: 1000,
        }
    }

    fn body(document: &str) -> (&'static str, Value) {
        let request = request(document);
        match &request.input {
            JobInput::Inference(job) => inference(&request, job),
            JobInput::Embedding(_) => panic!("not an inference job"),
        }
    }

    #[test]
    fn a_prompt_is_generated_and_messages_are_chatted() {
        let (path, generate) =
            body(r#"{"prompt":"Hi","system":"Be brief.","options":{"seed":7,"num_ctx":256}}"#);
        assert_eq!(path, "api/generate");
        assert_eq!(
            generate,
            json!({"model": "llama3:latest", "prompt": "Hi", "system": "Be brief.", "options": {"seed": 7, "num_ctx": 512},
                   "stream": true, "truncate": false, "shift": false})
        );
        let (path, chat) = body(
            r#"{"messages":[{"role":"user","content":"Hi"}],"system":"Be brief.","format":"json"}"#,
        );
        assert_eq!(path, "api/chat");
        assert_eq!(
            chat["messages"][0],
            json!({"role": "system", "content": "Be brief."})
        );
        assert_eq!(chat["format"], "json");
    }

    #[test]
    fn tools_make_a_prompt_a_conversation() {
        let (path, chat) =
            body(r#"{"prompt":"Hi","tools":[{"type":"function","function":{"name":"look"}}]}"#);
        assert_eq!(path, "api/chat");
        assert_eq!(chat["messages"], json!([{"role": "user", "content": "Hi"}]));
        assert_eq!(chat["tools"][0]["function"]["name"], "look");
    }

    #[test]
    fn what_cannot_fit_is_refused_at_once() {
        let long = format!(r#"{{"prompt":"{}"}}"#, "word ".repeat(600));
        let error = check_context(&request(&long)).expect_err("600 words in 512 tokens");
        assert_eq!(
            error.to_string(),
            "context exceeded: about 600 of 512 tokens"
        );
        let greedy = check_context(&request(r#"{"prompt":"Hi","options":{"num_ctx":513}}"#))
            .expect_err("more than there is");
        assert_eq!(greedy.to_string(), "context exceeded: 513 of 512 tokens");
        assert!(check_context(&request(r#"{"prompt":"Hi"}"#)).is_ok());
    }

    #[test]
    fn a_cut_prompt_is_noticed() {
        let estimate = Estimate {
            least: 300,
            likely: 400,
        };
        assert!(check_read(Some(401), estimate, 512).is_ok());
        assert!(
            check_read(Some(290), estimate, 512).is_ok(),
            "the estimate may be a little off"
        );
        assert!(
            check_read(None, estimate, 512).is_ok(),
            "a server that does not say"
        );
        assert!(
            check_read(Some(512), estimate, 512).is_err(),
            "filled to the brim"
        );
        assert!(
            check_read(Some(40), estimate, 512).is_err(),
            "messages were dropped"
        );
    }
}
