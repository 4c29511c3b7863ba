//! An agent as the CLI shows it.

use aitbc_proto::v1::Agent;
use serde_json::{Value, json};

use super::json::{hash_or_null, time};

/// A model's name as people write it: without the tag that is meant where none is given.
fn model(agent: &Agent) -> &str {
    agent.model.strip_suffix(":latest").unwrap_or(&agent.model)
}

/// An agent, every field that the coordinator sent but its definition.
pub fn agent_json(agent: &Agent) -> Value {
    json!({
        "agent_id": agent.agent_id,
        "name": agent.name,
        "type": agent.r#type,
        "version": agent.version,
        "status": "ready",
        "model": model(agent),
        "tools": agent.tools,
        "files": agent.files,
        "matching_miners": agent.matching_miners,
        "config_hash": hash_or_null(&agent.config_hash),
        "created_at": time(agent.created_at.as_ref()),
        "updated_at": time(agent.updated_at.as_ref()),
    })
}

/// An agent of a list, which does not know how many miners match.
pub fn listed_agent_json(agent: &Agent) -> Value {
    let mut document = agent_json(agent);
    document["matching_miners"] = Value::Null;
    document
}

/// `agent_01m8…fr  data_analyzer v1, analysis, llama3, tools sql + calculator, files q3.csv, 1 miner can run it`.
pub fn agent_line(agent: &Agent) -> String {
    format!(
        "{}  {} v{}, {}, {}, {}, {}",
        agent.agent_id,
        agent.name,
        agent.version,
        agent.r#type,
        model(agent),
        parts(&agent.tools, &agent.files),
        match agent.matching_miners {
            0 => "no known miner can run it now".to_owned(),
            1 => "1 miner can run it".to_owned(),
            miners => format!("{miners} miners can run it"),
        }
    )
}

/// `tools sql + calculator, files q3.csv`; none of them is said so.
pub fn parts(tools: &[impl AsRef<str>], files: &[impl AsRef<str>]) -> String {
    format!("tools {}, files {}", joined(tools), joined(files))
}

/// `sql + calculator`, or `none`.
pub fn joined(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(" + ")
}

/// A row of a list: beneath [`AGENT_HEADER`].
pub fn agent_row(agent: &Agent) -> Vec<String> {
    vec![
        agent.agent_id.clone(),
        agent.name.clone(),
        agent.version.to_string(),
        agent.r#type.clone(),
        model(agent).to_owned(),
        joined(&agent.tools),
        joined(&agent.files),
    ]
}

/// The header of a list.
pub const AGENT_HEADER: [&str; 7] = [
    "AGENT", "NAME", ">VERSION", "TYPE", "MODEL", "TOOLS", "FILES",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_shown_with_its_fields_in_order() {
        let mut agent = Agent {
            agent_id: "agent_01m83xj880e60tak362xesvjfr".into(),
            name: "data_analyzer".into(),
            r#type: "analysis".into(),
            version: 1,
            model: "llama3:latest".into(),
            tools: vec!["sql".into(), "calculator".into()],
            files: vec!["q3.csv".into()],
            matching_miners: 1,
            ..Agent::default()
        };
        assert_eq!(
            agent_line(&agent),
            "agent_01m83xj880e60tak362xesvjfr  data_analyzer v1, analysis, llama3, tools sql + calculator, files q3.csv, \
             1 miner can run it"
        );
        let beginning = r#"{"agent_id":"agent_01m83xj880e60tak362xesvjfr","name":"data_analyzer","type":"analysis","version":1,"status":"ready","model":"llama3","tools":["sql","calculator"],"files":["q3.csv"],"matching_miners":1,"#;
        let text = agent_json(&agent).to_string();
        assert!(text.starts_with(beginning), "{text}");
        (agent.tools, agent.files, agent.matching_miners) = (vec![], vec![], 0);
        assert!(
            agent_line(&agent).ends_with("tools none, files none, no known miner can run it now")
        );
        assert_eq!(listed_agent_json(&agent)["matching_miners"], Value::Null);
    }
}
