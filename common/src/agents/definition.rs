//! What an agent is: the resolved form of a user's `agent_config.json`, with every default filled in.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::genesis::SUPPLY_BOUND;
use crate::hash::{Hash, hash_text, parse_hash_text, sha256};
use crate::job_input::{InputError, check_options};
use crate::money::MicroAit;
use crate::names::{canonical_model, parse_digest};
use crate::nearest::nearest;

/// Most bytes of a definition's JSON: 512 KiB.
pub const MAX_DEFINITION_BYTES: usize = 512 << 10;
/// Most bytes of the system prompt: 32 KiB.
pub const MAX_SYSTEM_BYTES: usize = 32 << 10;
/// Most tools of one agent.
pub const MAX_TOOLS: usize = 32;
/// Most characters of the name of an MCP server, and of a tool of it.
pub const MAX_TOOL_NAME_CHARS: usize = 128;
/// Most files of one agent.
pub const MAX_FILES: usize = 64;
/// Most bytes of a file's name.
pub const MAX_FILE_NAME_BYTES: usize = 255;
/// Most bytes of one file: 32 MiB.
pub const MAX_FILE_BYTES: u64 = 32 << 20;
/// Most bytes of all files of an agent together: 256 MiB.
pub const MAX_FILES_BYTES: u64 = 256 << 20;
/// Most steps of the model in one execution.
pub const MAX_AGENT_STEPS: u32 = 200;
/// Longest time of one execution, in seconds: one day.
pub const MAX_AGENT_SECONDS: u32 = 86_400;
/// Most tokens of one execution, in and out together.
pub const MAX_AGENT_TOKENS: u64 = 10_000_000;

/// The tools that every miner has.
pub const BUILT_IN_TOOLS: [&str; 5] =
    ["sql", "calculator", "datetime", "json_query", "text_search"];

/// What an agent is for: it decides the prompt and the tools of a config that names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentType {
    /// Answers questions about data in files.
    Analysis,
    /// Finds and weighs what texts say.
    Research,
    /// Talks.
    Chat,
    /// Whatever its config says, and nothing else.
    Custom,
}

impl AgentType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Analysis, Self::Research, Self::Chat, Self::Custom];

    /// The name, as `--type` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analysis => "analysis",
            Self::Research => "research",
            Self::Chat => "chat",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for AgentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AgentType {
    type Err = InputError;

    fn from_str(name: &str) -> Result<Self, InputError> {
        Self::ALL
            .into_iter()
            .find(|agent_type| agent_type.as_str() == name)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str);
                let hint = match nearest(name, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("types of agents: {}", names.join(", ")),
                };
                let shown: String = name.chars().take(64).collect();
                InputError::document(format!("no type of agent is called {shown:?}"), hint)
            })
    }
}

/// An agent, as the coordinator stores it and a miner runs it. Its compact JSON with the fields in this order is what
/// [`Definition::config_hash`] covers; a field that is `None` is left out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it is for.
    #[serde(rename = "type")]
    pub agent_type: AgentType,
    /// The model's canonical name, such as `llama3:latest`.
    pub model: String,
    /// The model's digest, if it is pinned: `sha256:` and 64 lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    /// The system prompt, at most [`MAX_SYSTEM_BYTES`]; may be empty.
    pub system: String,
    /// Names of tools, at most [`MAX_TOOLS`], none twice: one of [`BUILT_IN_TOOLS`], `mcp:SERVER` (all its tools) or
    /// `mcp:SERVER/TOOL`.
    pub tools: Vec<String>,
    /// The files that its tools read, at most [`MAX_FILES`] and [`MAX_FILES_BYTES`], no name twice.
    pub files: Vec<FileRef>,
    /// Where an execution ends at the latest.
    pub limits: Limits,
    /// Options of the model, as in the input of an inference job: see [`check_options`].
    pub options: Map<String, Value>,
    /// Whether a tool that sends data out may still run after one that read untrusted data.
    pub egress_after_untrusted: bool,
}

/// A file of an agent, by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    /// Its base name, 1 to [`MAX_FILE_NAME_BYTES`] bytes, without `/`, `\` and control characters.
    pub name: String,
    /// SHA-256 of its bytes: `sha256:` and 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Its length in bytes, at most [`MAX_FILE_BYTES`].
    pub bytes: u64,
}

/// Where an execution ends at the latest. Whichever is reached first ends it with what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most steps of the model, 1 to [`MAX_AGENT_STEPS`].
    pub steps: u32,
    /// Longest time of running, in seconds, 1 to [`MAX_AGENT_SECONDS`].
    pub seconds: u32,
    /// Most tokens in and out together, 1 to [`MAX_AGENT_TOKENS`].
    pub tokens: u64,
    /// Most to spend, in AIT with six decimals, above zero; `None`: what the job has locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_ait: Option<String>,
}

impl Default for Limits {
    /// 20 steps, 600 seconds, 200,000 tokens, and what the job has locked.
    fn default() -> Self {
        Self {
            steps: 20,
            seconds: 600,
            tokens: 200_000,
            spend_ait: None,
        }
    }
}

/// What a tool's name such as `mcp:files/read` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpTool<'a> {
    /// The server, as its miner's operator calls it.
    pub server: &'a str,
    /// One tool of it; `None` for all.
    pub tool: Option<&'a str>,
}

impl<'a> McpTool<'a> {
    /// Reads `mcp:SERVER` or `mcp:SERVER/TOOL`; both names are 1 to [`MAX_TOOL_NAME_CHARS`] of `A-Z a-z 0-9 _ - .`
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let rest = name.strip_prefix("mcp:")?;
        let (server, tool) = match rest.split_once('/') {
            None => (rest, None),
            Some((server, tool)) => (server, Some(tool)),
        };
        let fits = |part: &str| {
            (1..=MAX_TOOL_NAME_CHARS).contains(&part.len())
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        (fits(server) && tool.is_none_or(fits)).then_some(Self { server, tool })
    }
}

impl Definition {
    /// Reads and checks the stored bytes of a definition, at most [`MAX_DEFINITION_BYTES`].
    pub fn read(bytes: &[u8]) -> Result<Self, InputError> {
        if bytes.len() > MAX_DEFINITION_BYTES {
            return Err(too_long(
                "the definition",
                bytes.len(),
                MAX_DEFINITION_BYTES,
            ));
        }
        let definition: Self = serde_json::from_slice(bytes).map_err(|error| {
            InputError::document(
                format!("the definition is not understood: {error}"),
                "create the agent again with: aitbc agent create",
            )
        })?;
        definition.validate()?;
        Ok(definition)
    }

    /// The bytes that are stored and hashed: compact JSON, fields in their order.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and maps with text keys always serialize")
    }

    /// Plain SHA-256 of [`Definition::to_bytes`].
    #[must_use]
    pub fn config_hash(&self) -> Hash {
        sha256(&self.to_bytes())
    }

    /// Checks every bound that the fields name.
    pub fn validate(&self) -> Result<(), InputError> {
        check_model(&self.model, self.model_digest.as_deref())?;
        if self.system.len() > MAX_SYSTEM_BYTES {
            return Err(InputError::at(
                "system",
                &format!(
                    "has {} bytes, at most {MAX_SYSTEM_BYTES} (32 KiB) are allowed",
                    self.system.len()
                ),
                "shorten the prompt, or attach long texts as files",
            ));
        }
        check_tools(&self.tools)?;
        check_files(&self.files)?;
        self.limits.validate()?;
        check_options(Value::Object(self.options.clone()))?;
        match self.to_bytes().len() {
            length if length > MAX_DEFINITION_BYTES => {
                Err(too_long("the definition", length, MAX_DEFINITION_BYTES))
            }
            _ => Ok(()),
        }
    }
}

pub(super) fn too_long(what: &str, bytes: usize, most: usize) -> InputError {
    InputError::document(
        format!(
            "{what} has {bytes} bytes, at most {most} ({} KiB) are allowed",
            most >> 10
        ),
        "shorten its texts",
    )
}

fn check_model(model: &str, digest: Option<&str>) -> Result<(), InputError> {
    let canonical = canonical_model(model)
        .map_err(|error| InputError::at("model", &error.to_string(), error.hint()))?;
    if canonical != model {
        return Err(InputError::at(
            "model",
            "is not the canonical name",
            format!("write {canonical:?}"),
        ));
    }
    match digest {
        Some(digest) if parse_digest(digest).is_err() || !is_lower_hash(digest) => {
            Err(not_a_hash("model_digest"))
        }
        _ => Ok(()),
    }
}

pub(super) fn is_lower_hash(text: &str) -> bool {
    parse_hash_text(text).is_some_and(|hash| hash_text(&hash) == text)
}

pub(super) fn not_a_hash(field: &str) -> InputError {
    InputError::at(
        field,
        "is not a hash",
        "it is sha256: and 64 lower-case hexadecimal digits",
    )
}

fn check_tools(tools: &[String]) -> Result<(), InputError> {
    if tools.len() > MAX_TOOLS {
        return Err(InputError::at(
            "tools",
            &format!("has {} items, at most {MAX_TOOLS} are allowed", tools.len()),
            "leave out what the agent does not need; mcp:SERVER stands for all tools of a server",
        ));
    }
    let mut seen = BTreeSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let field = || format!("tools[{index}]");
        let shown: String = tool.chars().take(64).collect();
        if !BUILT_IN_TOOLS.contains(&tool.as_str()) && McpTool::parse(tool).is_none() {
            let hint = match nearest(tool, BUILT_IN_TOOLS) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!(
                    "tools: {}, mcp:SERVER, mcp:SERVER/TOOL",
                    BUILT_IN_TOOLS.join(", ")
                ),
            };
            return Err(InputError::at(
                field(),
                &format!("no tool is called {shown:?}"),
                hint,
            ));
        }
        if !seen.insert(tool) {
            return Err(InputError::at(
                field(),
                &format!("{shown:?} stands twice"),
                "name each tool once",
            ));
        }
    }
    Ok(())
}

fn check_files(files: &[FileRef]) -> Result<(), InputError> {
    if files.len() > MAX_FILES {
        return Err(InputError::at(
            "files",
            &format!("has {} items, at most {MAX_FILES} are allowed", files.len()),
            "join small files, or split the work over several agents",
        ));
    }
    let mut seen = BTreeSet::new();
    let mut total = 0_u64;
    for (index, file) in files.iter().enumerate() {
        let field = format!("files[{index}]");
        file.validate(&field)?;
        if !seen.insert(&file.name) {
            return Err(InputError::at(
                field,
                &format!("a file called {:?} stands there already", file.name),
                "tools know files by their base names: rename one of them",
            ));
        }
        total = total.saturating_add(file.bytes);
    }
    if total > MAX_FILES_BYTES {
        return Err(InputError::at(
            "files",
            &format!(
                "have {total} bytes together, at most {MAX_FILES_BYTES} (256 MiB) are allowed"
            ),
            "leave some out, or split the work over several agents",
        ));
    }
    Ok(())
}

impl FileRef {
    /// Checks one file; `field` is where it stands, for the error.
    pub(super) fn validate(&self, field: &str) -> Result<(), InputError> {
        let is_base_name = (1..=MAX_FILE_NAME_BYTES).contains(&self.name.len())
            && !matches!(self.name.as_str(), "." | "..")
            && !self
                .name
                .contains(|c: char| c.is_control() || matches!(c, '/' | '\\'));
        if !is_base_name {
            let shown: String = self.name.chars().take(64).collect();
            return Err(InputError::at(
                format!("{field}.name"),
                &format!("{shown:?} is no name of a file"),
                "1 to 255 bytes without slashes and control characters, for example q3.csv",
            ));
        }
        if !is_lower_hash(&self.sha256) {
            return Err(not_a_hash(&format!("{field}.sha256")));
        }
        if self.bytes > MAX_FILE_BYTES {
            return Err(InputError::at(
                format!("{field}.bytes"),
                &format!(
                    "{:?} has {} bytes, at most {MAX_FILE_BYTES} (32 MiB) are allowed",
                    self.name, self.bytes
                ),
                "split the file, or keep only the columns that are needed",
            ));
        }
        Ok(())
    }
}

impl Limits {
    /// Checks every bound that the fields name.
    pub fn validate(&self) -> Result<(), InputError> {
        let whole = |field: &str, value: u64, most: u64| match value {
            value if (1..=most).contains(&value) => Ok(()),
            value => Err(InputError::at(
                field,
                &format!("{value} is out of range"),
                format!("a whole number from 1 to {most}"),
            )),
        };
        whole("limits.steps", self.steps.into(), MAX_AGENT_STEPS.into())?;
        whole(
            "limits.seconds",
            self.seconds.into(),
            MAX_AGENT_SECONDS.into(),
        )?;
        whole("limits.tokens", self.tokens, MAX_AGENT_TOKENS)?;
        let Some(text) = &self.spend_ait else {
            return Ok(());
        };
        let field = "limits.spend_ait";
        let amount = MicroAit::parse(text, MicroAit(SUPPLY_BOUND - 1))
            .map_err(|error| InputError::at(field, &error.to_string(), error.hint()))?;
        if amount == MicroAit(0) || amount.six_decimals() != *text {
            return Err(InputError::at(
                field,
                "is not an amount above zero with six decimals",
                "write for example 0.500000",
            ));
        }
        Ok(())
    }

    /// Most to spend in micro-AIT, of limits that are valid; `None`: what the job has locked.
    #[must_use]
    pub fn spend(&self) -> Option<MicroAit> {
        let text = self.spend_ait.as_deref()?;
        MicroAit::parse(text, MicroAit(SUPPLY_BOUND - 1)).ok()
    }
}
