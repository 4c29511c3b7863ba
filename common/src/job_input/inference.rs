//! The input document of an inference job.

use serde_json::{Map, Value};

use super::InputError;
use super::check::{join, known_keys, list, not_empty, object, text, wrong_type};
use super::options::{check_keep_alive, check_options};

/// Most messages of one conversation.
const MAX_MESSAGES: usize = 4096;
/// Most tools of one job, tool calls or images of one message.
const MAX_TOOLS: usize = 128;

const KEYS: [&str; 8] = [
    "prompt",
    "messages",
    "system",
    "tools",
    "think",
    "keep_alive",
    "format",
    "options",
];
const MESSAGE_KEYS: [&str; 5] = ["role", "content", "images", "tool_calls", "tool_name"];
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// What the model is asked: a prompt, or a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// One text, not empty.
    Text(String),
    /// Messages, at least one: objects of `role`, `content`, `images`, `tool_calls`, `tool_name`.
    Messages(Vec<Map<String, Value>>),
}

/// A checked input document of an inference job. Values are as a model server with Ollama's API takes them.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceInput {
    /// The prompt or the conversation.
    pub prompt: Prompt,
    /// Instructions that come before both.
    pub system: Option<String>,
    /// Tools that the model may call: objects of `type` "function" and `function`.
    pub tools: Vec<Value>,
    /// Whether (or how much: "low", "medium", "high") a thinking model thinks first.
    pub think: Option<Value>,
    /// How long the model stays loaded afterwards: seconds, or a duration such as "5m".
    pub keep_alive: Option<Value>,
    /// "json", or a JSON Schema that the answer must follow.
    pub format: Option<Value>,
    /// Sampling options, as `temperature`; `stop` is always a list.
    pub options: Map<String, Value>,
}

impl InferenceInput {
    /// The context that the job itself asks for (`options.num_ctx`), in tokens.
    pub fn context_tokens(&self) -> Option<u32> {
        self.options
            .get("num_ctx")
            .and_then(Value::as_u64)
            .and_then(|tokens| u32::try_from(tokens).ok())
    }
}

pub(super) fn check(mut document: Map<String, Value>) -> Result<InferenceInput, InputError> {
    // The most common slip deserves an answer of its own.
    if document.contains_key("images") {
        return Err(InputError::at(
            "images",
            "unknown field",
            r#"images belong to a message: {"messages":[{"role":"user","content":"…","images":["…"]}]}"#,
        ));
    }
    known_keys("", &document, &KEYS)?;
    let prompt = check_prompt(&mut document)?;
    let system = document
        .remove("system")
        .map(|system| text("system", system, "`system` is a text"))
        .transpose()?;
    if let (Prompt::Messages(messages), Some(_)) = (&prompt, &system)
        && messages
            .iter()
            .any(|message| message.get("role").is_some_and(|role| role == "system"))
    {
        return Err(InputError::at(
            "system",
            "is given twice",
            "leave out `system`, or the message with the role system",
        ));
    }
    let tools = document
        .remove("tools")
        .map_or(Ok(Vec::new()), check_tools)?;
    let think = document.remove("think").map(check_think).transpose()?;
    let keep_alive = document
        .remove("keep_alive")
        .map(check_keep_alive)
        .transpose()?;
    let format = document.remove("format").map(check_format).transpose()?;
    let options = document
        .remove("options")
        .map_or(Ok(Map::new()), check_options)?;
    Ok(InferenceInput {
        prompt,
        system,
        tools,
        think,
        keep_alive,
        format,
        options,
    })
}

fn check_prompt(document: &mut Map<String, Value>) -> Result<Prompt, InputError> {
    let hint = "give exactly one of `prompt` (a text) and `messages` (a list)";
    match (document.remove("prompt"), document.remove("messages")) {
        (Some(_), Some(_)) => Err(InputError::at("messages", "stands beside `prompt`", hint)),
        (None, None) => Err(InputError::at("prompt", "is missing", hint)),
        (Some(prompt), None) => {
            let prompt = not_empty(
                "prompt",
                text("prompt", prompt, "`prompt` is a text")?,
                "write what the model is asked",
            )?;
            Ok(Prompt::Text(prompt))
        }
        (None, Some(messages)) => {
            let messages = list(
                "messages",
                messages,
                MAX_MESSAGES,
                r#"for example [{"role":"user","content":"Hello"}]"#,
            )?;
            let checked: Result<_, _> = messages
                .into_iter()
                .enumerate()
                .map(|(index, message)| check_message(index, message))
                .collect();
            Ok(Prompt::Messages(checked?))
        }
    }
}

fn check_message(index: usize, message: Value) -> Result<Map<String, Value>, InputError> {
    let path = format!("messages[{index}]");
    let message = object(
        &path,
        message,
        r#"a message is {"role":"user","content":"…"}"#,
    )?;
    known_keys(&path, &message, &MESSAGE_KEYS)?;
    let at = |key: &str| join(&path, key);
    let role_hint = "roles: system, user, assistant, tool";
    match message.get("role") {
        None => return Err(InputError::at(at("role"), "is missing", role_hint)),
        Some(Value::String(role)) if ROLES.contains(&role.as_str()) => {}
        Some(Value::String(role)) => {
            let hint = crate::nearest::nearest(role, ROLES).map_or_else(
                || role_hint.to_owned(),
                |near| format!("did you mean {near}?"),
            );
            let shown: String = role.chars().take(64).collect();
            return Err(InputError::at(
                at("role"),
                &format!("no role is called {shown:?}"),
                hint,
            ));
        }
        Some(other) => return Err(wrong_type(&at("role"), other, "a text", role_hint)),
    }
    match message.get("content") {
        Some(Value::String(_)) => {}
        None if message.contains_key("images") || message.contains_key("tool_calls") => {}
        None => {
            return Err(InputError::at(
                at("content"),
                "is missing",
                "`content` is a text",
            ));
        }
        Some(other) => {
            return Err(wrong_type(
                &at("content"),
                other,
                "a text",
                "`content` is a text",
            ));
        }
    }
    if let Some(name) = message.get("tool_name") {
        text(
            &at("tool_name"),
            name.clone(),
            "the name of the tool whose result this is",
        )?;
    }
    if let Some(images) = message.get("images") {
        check_images(&at("images"), images)?;
    }
    if let Some(calls) = message.get("tool_calls") {
        check_tool_calls(&at("tool_calls"), calls)?;
    }
    Ok(message)
}

fn check_images(path: &str, images: &Value) -> Result<(), InputError> {
    use base64::Engine as _;
    let hint = "a list of images, each as base64";
    let Value::Array(images) = images else {
        return Err(wrong_type(path, images, "a list", hint));
    };
    if images.len() > MAX_TOOLS {
        return Err(InputError::at(
            path,
            &format!("has more than {MAX_TOOLS} images"),
            hint,
        ));
    }
    for (index, image) in images.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Value::String(image) = image else {
            return Err(wrong_type(&path, image, "a text", hint));
        };
        let decoded = base64::engine::general_purpose::STANDARD.decode(image);
        if decoded.is_err() || image.is_empty() {
            return Err(InputError::at(path, "is not base64", hint));
        }
    }
    Ok(())
}

fn check_tool_calls(path: &str, calls: &Value) -> Result<(), InputError> {
    let hint = r#"a list such as [{"function":{"name":"search","arguments":{"query":"…"}}}]"#;
    let Value::Array(calls) = calls else {
        return Err(wrong_type(path, calls, "a list", hint));
    };
    if calls.len() > MAX_TOOLS {
        return Err(InputError::at(
            path,
            &format!("has more than {MAX_TOOLS} calls"),
            hint,
        ));
    }
    for (index, call) in calls.iter().enumerate() {
        let function = join(&format!("{path}[{index}]"), "function");
        let Some(Value::Object(content)) = call.get("function") else {
            return Err(InputError::at(
                function,
                "is missing or not an object",
                hint,
            ));
        };
        if !content.get("name").is_some_and(Value::is_string) {
            return Err(InputError::at(
                join(&function, "name"),
                "is missing or not a text",
                hint,
            ));
        }
        if !content.get("arguments").is_some_and(Value::is_object) {
            return Err(InputError::at(
                join(&function, "arguments"),
                "is missing or not an object",
                hint,
            ));
        }
    }
    Ok(())
}

fn check_tools(tools: Value) -> Result<Vec<Value>, InputError> {
    let hint =
        r#"a list such as [{"type":"function","function":{"name":"search","parameters":{…}}}]"#;
    let tools = list("tools", tools, MAX_TOOLS, hint)?;
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        if tool.get("type").is_some_and(|kind| kind != "function") {
            return Err(InputError::at(
                join(&path, "type"),
                "must be \"function\"",
                hint,
            ));
        }
        let function = join(&path, "function");
        let Some(Value::Object(content)) = tool.get("function") else {
            return Err(InputError::at(
                function,
                "is missing or not an object",
                hint,
            ));
        };
        let name = content.get("name").and_then(Value::as_str);
        if name.is_none_or(str::is_empty) {
            return Err(InputError::at(
                join(&function, "name"),
                "is missing or not a text",
                hint,
            ));
        }
        if content
            .get("parameters")
            .is_some_and(|parameters| !parameters.is_object())
        {
            return Err(InputError::at(
                join(&function, "parameters"),
                "is not a JSON Schema object",
                hint,
            ));
        }
    }
    Ok(tools)
}

fn check_think(think: Value) -> Result<Value, InputError> {
    match &think {
        Value::Bool(_) => Ok(think),
        Value::String(level) if ["low", "medium", "high"].contains(&level.as_str()) => Ok(think),
        _ => Err(InputError::at(
            "think",
            "is not understood",
            "true, false, \"low\", \"medium\" or \"high\"",
        )),
    }
}

fn check_format(format: Value) -> Result<Value, InputError> {
    match &format {
        Value::Object(_) => Ok(format),
        Value::String(name) if name == "json" => Ok(format),
        _ => Err(InputError::at(
            "format",
            "is not understood",
            "\"json\", or a JSON Schema as an object",
        )),
    }
}
