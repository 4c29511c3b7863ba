//! The tools of one execution, and the one way to call them.

use aitbc_common::nearest::nearest;
use jiff::Timestamp;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::output::{bounded, excerpt};
use super::{
    AttachedFile, Stop, Tool, ToolError, admit, calculator, datetime, json_query, sql, text_search,
};

/// What begins the names of tools that an MCP server has.
const PEER_PREFIX: &str = "mcp:";
/// Most mistakes of one call that are told.
const MAX_MISTAKES: usize = 5;
/// Most bytes of one of them.
const MAX_MISTAKE_BYTES: usize = 300;

/// Tools that this miner does not offer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this miner does not offer {}", .0.join(", "))]
pub struct MissingTools(pub Vec<String>);

/// How a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the tool answered; if not, `output` says why not.
    pub ok: bool,
    /// The answer for the model, at most [`MAX_OUTPUT_BYTES`](super::MAX_OUTPUT_BYTES).
    pub output: String,
    /// Whether the answer was longer.
    pub truncated: bool,
    /// How long it took.
    pub elapsed: Duration,
}

struct Offered {
    tool: Arc<dyn Tool>,
    validator: Validator,
}

/// The tools of one execution.
pub struct Toolbox {
    tools: Vec<Offered>,
    egress_after_untrusted: bool,
    untrusted_read: AtomicBool,
}

impl Toolbox {
    /// The tools that a definition names, over its files. `peers` are the tools of this miner's MCP servers, named
    /// `mcp:SERVER/TOOL`; `mcp:SERVER` takes all of a server's. Reads the files, so it is nothing for an async thread.
    pub fn new(
        names: &[String],
        files: &[AttachedFile],
        peers: &[Arc<dyn Tool>],
        egress_after_untrusted: bool,
    ) -> Result<Self, MissingTools> {
        let mut tools: Vec<Offered> = Vec::new();
        let mut missing = Vec::new();
        for name in names {
            let offered: Vec<Offered> = named(name, files, peers)
                .into_iter()
                .filter_map(|tool| {
                    let validator = validator(tool.parameters()).ok()?;
                    Some(Offered { tool, validator })
                })
                .collect();
            if offered.is_empty() {
                missing.push(name.clone());
            }
            for new in offered {
                if tools.iter().all(|old| old.tool.name() != new.tool.name()) {
                    tools.push(new);
                }
            }
        }
        if !missing.is_empty() {
            return Err(MissingTools(missing));
        }
        Ok(Self {
            tools,
            egress_after_untrusted,
            untrusted_read: AtomicBool::new(false),
        })
    }

    /// The tools, for the model's request.
    pub fn tools(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.iter().map(|offered| offered.tool.as_ref())
    }

    /// Notes that the execution goes on from what a stranger wrote.
    pub fn read_untrusted(&self) {
        self.untrusted_read.store(true, Ordering::Relaxed);
    }

    /// Calls a tool, one call at a time. Never fails otherwise than in its outcome, and ends soon after the tool's timeout
    /// or `cancel`.
    pub async fn call(&self, name: &str, arguments: &Value, cancel: &CancellationToken) -> Outcome {
        let started = Instant::now();
        let result = self.attempt(name, arguments, cancel).await;
        let ok = result.is_ok();
        let (output, truncated) = bounded(result.unwrap_or_else(|error| error.to_string()));
        Outcome {
            ok,
            output,
            truncated,
            elapsed: started.elapsed(),
        }
    }

    async fn attempt(
        &self,
        name: &str,
        arguments: &Value,
        cancel: &CancellationToken,
    ) -> Result<String, ToolError> {
        let offered = self.find(name).ok_or_else(|| self.unknown(name))?;
        let tool = &offered.tool;
        check(&offered.validator, arguments)?;
        let labels = tool.labels();
        let untrusted_read = self.untrusted_read.load(Ordering::Relaxed);
        admit(labels, untrusted_read, self.egress_after_untrusted)
            .map_err(|refusal| ToolError::failed(refusal.to_string()))?;

        let stop = Stop::after(tool.timeout(), cancel.clone());
        let result = tokio::select! {
            result = tool.call(arguments, stop.clone()) => result,
            error = stop.reached() => Err(error),
        };
        // What a tool failed with can be a stranger's text as well.
        if labels.reads_untrusted && matches!(result, Ok(_) | Err(ToolError::Failed(_))) {
            self.untrusted_read.store(true, Ordering::Relaxed);
        }
        result
    }

    fn find(&self, name: &str) -> Option<&Offered> {
        self.tools
            .iter()
            .find(|offered| offered.tool.name() == name)
    }

    fn unknown(&self, name: &str) -> ToolError {
        let names: Vec<&str> = self.tools().map(Tool::name).collect();
        let name = excerpt(name, MAX_MISTAKE_BYTES);
        ToolError::failed(match nearest(&name, names.iter().copied()) {
            Some(nearest) => format!("there is no tool {name:?}; did you mean {nearest:?}?"),
            None if names.is_empty() => format!("there is no tool {name:?}; there are none"),
            None => format!(
                "there is no tool {name:?}; the tools are: {}",
                names.join(", ")
            ),
        })
    }
}

/// The tools that one name of a definition stands for; none if this miner has no such tool.
fn named(name: &str, files: &[AttachedFile], peers: &[Arc<dyn Tool>]) -> Vec<Arc<dyn Tool>> {
    match name {
        "calculator" => vec![Arc::new(calculator::tool())],
        "datetime" => vec![Arc::new(datetime::tool(Timestamp::now))],
        "json_query" => vec![Arc::new(json_query::tool(files))],
        "sql" => vec![Arc::new(sql::tool(files))],
        "text_search" => vec![Arc::new(text_search::tool(files))],
        _ if name.starts_with(PEER_PREFIX) => {
            let of_server = format!("{name}/");
            peers
                .iter()
                .filter(|tool| tool.name() == name || tool.name().starts_with(&of_server))
                .cloned()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// What checks arguments. Nothing is fetched for it, and its patterns take time in proportion to what they match.
pub(super) fn validator(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_pattern_options(PatternOptions::regex())
        .build(schema)
        .map_err(|error| excerpt(&error.to_string(), MAX_MISTAKE_BYTES))
}

fn check(validator: &Validator, arguments: &Value) -> Result<(), ToolError> {
    let mistakes: Vec<String> = validator
        .iter_errors(arguments)
        .take(MAX_MISTAKES)
        .map(|mistake| {
            let text = excerpt(&mistake.to_string(), MAX_MISTAKE_BYTES);
            match mistake.instance_path().to_string() {
                path if path.is_empty() => text,
                path => format!("{}: {text}", excerpt(&path, MAX_MISTAKE_BYTES)),
            }
        })
        .collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(ToolError::failed(format!(
        "the arguments do not fit: {}",
        mistakes.join("; ")
    )))
}

#[cfg(test)]
mod tests;
