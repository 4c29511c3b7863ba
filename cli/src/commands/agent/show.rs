//! `aitbc agent show`.

use std::fmt::Write as _;

use aitbc_common::agents::Definition;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::Value;

use super::version;
use crate::agents::Stored;
use crate::context::Context;
use crate::output::agent::{agent_json, agent_line};
use crate::output::json::{hash_or_null, text_of, timestamp_ms};
use crate::values::AgentSelector;

const EXAMPLES: &str = "\
Examples:
  aitbc agent show last
  aitbc agent show agent_01m83xj880e60tak362xesvjfr --version 1 --json";

/// Which agent.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its id, or last for your newest
    #[arg(value_name = "AGENT_ID")]
    agent: AgentSelector,
    /// A version of it [default: its newest]
    #[arg(long, value_name = "N", value_parser = version, allow_hyphen_values = true)]
    version: Option<u32>,
}

/// Asks, checks the definition against its hash, prints.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Read).await?;
    let stored = Stored::get(&connection, &arguments.agent, arguments.version).await?;
    let mut document = agent_json(&stored.agent);
    document["definition"] = stored.document();
    context.result(&document, text(&stored))
}

fn text(stored: &Stored) -> String {
    let (agent, definition) = (&stored.agent, &stored.definition);
    let mut text = agent_line(agent);
    let mut line = |name: &str, value: &str| {
        let _infallible = write!(text, "\n  {name:<8}{value}");
    };
    line("hash", &text_of(&hash_or_null(&agent.config_hash)));
    if let (Some(created), Some(updated)) = (&agent.created_at, &agent.updated_at) {
        let (created, updated) = (timestamp_ms(created), timestamp_ms(updated));
        line(
            "times",
            &format!(
                "created {}, this version {}",
                rfc3339_ms(created),
                rfc3339_ms(updated)
            ),
        );
    }
    line("limits", &limits(definition));
    if !definition.options.is_empty() {
        line(
            "options",
            &Value::Object(definition.options.clone()).to_string(),
        );
    }
    for file in &definition.files {
        line(
            "file",
            &format!("{} ({} bytes) {}", file.name, file.bytes, file.sha256),
        );
    }
    if definition.egress_after_untrusted {
        line("egress", "also after a tool that read what strangers wrote");
    }
    if !definition.system.is_empty() {
        line("system", &definition.system.replace('\n', "\n          "));
    }
    text
}

/// `20 steps, 600 s, 200000 tokens, 0.500000 AIT`.
fn limits(definition: &Definition) -> String {
    let limits = &definition.limits;
    let spend = match &limits.spend_ait {
        Some(most) => format!("{most} AIT"),
        None => "what is locked for an execution".to_owned(),
    };
    format!(
        "{} steps, {} s, {} tokens, {spend}",
        limits.steps, limits.seconds, limits.tokens
    )
}
