//! The config that `aitbc agent init` writes.

use aitbc_common::agents::{AgentType, BUILT_IN_TOOLS, Limits};
use serde_json::json;

/// A commented config of a type, to start from.
pub fn config(agent_type: AgentType) -> String {
    let preset = agent_type.preset();
    let limits = Limits::default();
    format!(
        r#"// An agent of type {agent_type}: it {purpose}. Comments like this one may stay.
// Is it right?    aitbc agent check --type {agent_type}
// Then:           aitbc agent create --name NAME --type {agent_type}
// What may be in it, for editors: aitbc agent schema
{{
  // The model, as `aitbc models` lists them; NAME@sha256:DIGEST pins its exact weights.
  "model": "llama3",

  // What the model is told first, at most 32 KiB.
  "system": {system},

  // What the model may call. Every miner has {built_in};
  // "mcp:SERVER" or "mcp:SERVER/TOOL" asks for a miner that offers that MCP server.
  "tools": {tools},

  // What the tools read: paths from this file's folder, 32 MiB each, 256 MiB together.
  "files": [
    // "q3.csv"
  ],

  // Where an execution ends at the latest, with what it has.
  "limits": {{
    "steps": {steps},
    "seconds": {seconds},
    // "spend_ait": "0.5",
    "tokens": {tokens}
  }},

  // How the model samples, as in `options` of an inference job.
  "options": {{
    "temperature": 0.2
  }},

  // true: a tool that sends data out may run even after one that read what strangers wrote.
  "egress_after_untrusted": false
}}
"#,
        purpose = preset.purpose,
        system = json!(preset.system),
        built_in = BUILT_IN_TOOLS.join(", "),
        tools = json!(preset.tools).to_string().replace(',', ", "),
        steps = limits.steps,
        seconds = limits.seconds,
        tokens = limits.tokens,
    )
}
