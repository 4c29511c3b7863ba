//! From a config file to a definition.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use aitbc_common::agents::{AgentType, Config, Definition, MAX_CONFIG_BYTES};
use aitbc_common::job_input::InputError;
use aitbc_common::runtime::errors::{CommandError, ExitCode};

use super::document::{Document, Mistake, line_and_column};
use super::files::{Attachment, attach};
use super::schema;

/// A config with everything that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The agent, every default filled in.
    pub definition: Definition,
    /// Its files, in the order of the definition.
    pub files: Vec<Attachment>,
}

/// Reads a config and the files that it names. A mistake is reported as `FILE:LINE:COLUMN: …`.
pub fn load(path: &Path, agent_type: AgentType) -> Result<Loaded, CommandError> {
    let bytes = read(path)?;
    let refuse = |text: &str, mistake: &Mistake| {
        let (line, column) = line_and_column(text, mistake.offset);
        let message = format!("{}:{line}:{column}: {}", path.display(), mistake.problem);
        CommandError::new(ExitCode::Usage, "INVALID_CONFIG", message).with_hint(&*mistake.hint)
    };
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let mistake = Mistake::at(text.len(), "not UTF-8", "save the file as UTF-8");
            return Err(refuse(&text, &mistake));
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(text, folder, agent_type).map_err(|mistake| refuse(text, &mistake))
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(MAX_CONFIG_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
    });
    read.map_err(|error| {
        let failed = CommandError::file(format_args!("read {}", path.display()), &error);
        match error.kind() {
            io::ErrorKind::NotFound => failed.with_hint("write one with: aitbc agent init"),
            _ => failed.with_hint("name the agent's config file with --config FILE"),
        }
    })?;
    if bytes.len() > MAX_CONFIG_BYTES {
        let message = format!(
            "{} has more than {MAX_CONFIG_BYTES} bytes (256 KiB)",
            path.display()
        );
        return Err(CommandError::new(ExitCode::Usage, "TOO_LARGE", message)
            .with_hint("attach long texts as files of the agent"));
    }
    Ok(bytes)
}

/// Reads the text of a config; paths of files count from `folder`.
pub(super) fn parse(text: &str, folder: &Path, agent_type: AgentType) -> Result<Loaded, Mistake> {
    let document = Document::parse(text)?;
    schema::check(&document)?;
    let placed = |error: InputError| document.mistake(error);
    let config: Config = serde_json::from_value(document.value().clone())
        .map_err(|error| Mistake::at(0, error.to_string(), "see: aitbc agent schema"))?;
    let files = attach(folder, &config.files).map_err(placed)?;
    let references = files.iter().map(|file| file.reference.clone()).collect();
    let definition = config.resolve(agent_type, references).map_err(placed)?;
    Ok(Loaded { definition, files })
}
