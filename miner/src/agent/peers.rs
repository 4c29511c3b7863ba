//! The MCP servers that the operator allows: `agents.toml` in the miner's folder, one section `[mcp.NAME]` each.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use serde::Deserialize;

use super::tools::Tool;
use super::tools::mcp::{Server, ServerConfig};

/// The file's name.
pub const FILE: &str = "agents.toml";
/// Servers of one miner, at most.
const SERVERS: usize = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    mcp: BTreeMap<String, ServerConfig>,
}

/// Starts the servers that a miner's folder names, and tells `note` what is not offered: a server that does not start takes
/// nothing from the others. An error where the file is not what it should be.
pub async fn start(
    folder: &Path,
    mut note: impl FnMut(String),
) -> Result<Vec<Arc<dyn Tool>>, CommandError> {
    let path = folder.join(FILE);
    let settings = match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str::<Settings>(&text).map_err(|error| bad(&path, &error))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Settings::default(),
        Err(error) => return Err(bad(&path, &error)),
    };
    if settings.mcp.len() > SERVERS {
        let problem = format!("has {} servers, at most {SERVERS}", settings.mcp.len());
        return Err(bad(&path, &problem));
    }
    for (name, config) in &settings.mcp {
        config.check(name).map_err(|error| bad(&path, &error))?;
    }
    let mut tools = Vec::new();
    for (name, config) in settings.mcp {
        match Server::start(&name, config).await {
            Ok(server) => {
                for refused in server.refused() {
                    note(format!(
                        "mcp:{name}/{} is not offered: {}",
                        refused.name, refused.reason
                    ));
                }
                tools.extend(server.tools());
            }
            Err(error) => note(format!("the MCP server {name} is not offered: {error}")),
        }
    }
    Ok(tools)
}

fn bad(path: &Path, problem: &dyn std::fmt::Display) -> CommandError {
    let message = format!("{}: {}", path.display(), problem.to_string().trim_end());
    CommandError::new(ExitCode::Usage, "INVALID_CONFIG", message)
        .with_hint("it takes sections [mcp.NAME] with command and args, or url: see docs/agents.md")
}
