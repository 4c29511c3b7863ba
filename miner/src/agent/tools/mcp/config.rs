//! What the miner's operator says about a server: the section `[mcp.NAME]`.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

use super::super::DEFAULT_TIMEOUT;

/// Most characters of a server's name.
const MAX_NAME_CHARS: usize = 32;
/// Longest timeout.
const MAX_TIMEOUT_SECONDS: u32 = 300;

/// The section `[mcp.NAME]`: either `command` or `url`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// A program that speaks MCP on its standard input and output; a path, or a name in /usr/bin or /bin.
    pub command: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// All of its environment: nothing of the miner's is handed on.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// A server that speaks streamable HTTP, `http://…`.
    pub url: Option<String>,
    /// Whether its tools can send out what they are given; true unless said.
    #[serde(default = "yes")]
    pub egress: bool,
    /// Whether its tools can answer with what a stranger wrote; true unless said.
    #[serde(default = "yes")]
    pub reads_untrusted: bool,
    /// The tools that agents may use; all unless said.
    pub tools: Option<Vec<String>>,
    /// How long one call may take, and the start, in seconds: 1 to 300; 30 unless said, of which a start gets 20 at most.
    pub timeout_seconds: Option<u32>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            command: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            url: None,
            egress: true,
            reads_untrusted: true,
            tools: None,
            timeout_seconds: None,
        }
    }
}

fn yes() -> bool {
    true
}

/// What is wrong with a section.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The name cannot be part of a tool's.
    #[error("[mcp.{0}]: a server's name has 1 to 32 letters, digits, - or _")]
    Name(String),
    /// Neither or both ways to reach it.
    #[error("[mcp.{0}]: give either command or url")]
    Transport(String),
    /// Arguments or environment without a program.
    #[error("[mcp.{0}]: args and env belong to command, not to url")]
    ForUrl(String),
    /// A timeout out of its bounds.
    #[error("[mcp.{0}]: timeout_seconds is 1 to 300")]
    Timeout(String),
    /// An address that is none.
    #[error(
        "[mcp.{name}]: {url:?} is no address such as http://127.0.0.1:8000/mcp; https is not supported yet"
    )]
    Url {
        /// The server.
        name: String,
        /// What was given.
        url: String,
    },
}

impl ServerConfig {
    /// How long one call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout_seconds.map_or(DEFAULT_TIMEOUT, |seconds| {
            Duration::from_secs(seconds.into())
        })
    }

    /// Looks for mistakes.
    pub fn check(&self, name: &str) -> Result<(), ConfigError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.chars().all(fits) {
            return Err(ConfigError::Name(name.to_owned()));
        }
        if self
            .timeout_seconds
            .is_some_and(|seconds| !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds))
        {
            return Err(ConfigError::Timeout(name.to_owned()));
        }
        match (&self.command, &self.url) {
            (Some(_), None) => Ok(()),
            (None, Some(_)) if !self.args.is_empty() || !self.env.is_empty() => {
                Err(ConfigError::ForUrl(name.to_owned()))
            }
            (None, Some(url)) => match reqwest::Url::parse(url) {
                Ok(parsed) if parsed.scheme() == "http" && parsed.has_host() => Ok(()),
                _ => Err(ConfigError::Url {
                    name: name.to_owned(),
                    url: url.clone(),
                }),
            },
            _ => Err(ConfigError::Transport(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(section: Value) -> ServerConfig {
        serde_json::from_value(section).unwrap()
    }

    #[test]
    fn a_server_is_a_stranger_unless_said() {
        let config = read(json!({"command": "x"}));
        assert!(config.egress && config.reads_untrusted && config.tools.is_none());
        let unknown = serde_json::from_value::<ServerConfig>(json!({"comand": "x"}));
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("unknown field `comand`")
        );
    }

    #[test]
    fn mistakes_are_found() {
        for (name, section, expected) in [
            (
                "time",
                json!({"command": "x", "args": ["y"], "env": {"A": "b"}}),
                None,
            ),
            ("time", json!({"url": "http://127.0.0.1:8000/mcp"}), None),
            ("a/b", json!({"command": "x"}), Some("letters, digits")),
            ("", json!({"command": "x"}), Some("letters, digits")),
            ("time", json!({}), Some("either command or url")),
            (
                "time",
                json!({"command": "x", "url": "http://a"}),
                Some("either command or url"),
            ),
            (
                "time",
                json!({"url": "http://a", "args": ["x"]}),
                Some("belong to command"),
            ),
            (
                "time",
                json!({"url": "file:///etc/passwd"}),
                Some("is no address"),
            ),
            (
                "time",
                json!({"url": "https://example.com/mcp"}),
                Some("https is not supported"),
            ),
        ] {
            let error = read(section.clone())
                .check(name)
                .err()
                .map(|e| e.to_string());
            match expected {
                None => assert_eq!(error, None, "{section}"),
                Some(text) => assert!(error.unwrap().contains(text), "{section}"),
            }
        }
    }
}
