//! `aitbc config set`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use aitbc_common::nearest::nearest;
use aitbc_common::runtime::channel::CoordinatorUrl;
use aitbc_common::runtime::config::ClientSettings;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::files::{PLAIN_MODE, check_miner_name, write_atomic};
use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc config set coordinator 127.0.0.1:50052
  aitbc config set ca_certificate /etc/aitbc/ca.pem
  aitbc config set miner rig-2
  aitbc config set miner \"\"                    back to the default

Settings: coordinator, ca_certificate, miner, payer.";

/// What to set.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The setting
    key: String,
    /// Its value; an empty one removes it from the file
    value: String,
}

/// Checks the value and writes the file; other lines of it stay as they are.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let (key, value) = (arguments.key.as_str(), arguments.value.as_str());
    check(key, value)?;
    let path = context.home.config_file();
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(CommandError::file(
                format_args!("read {}", path.display()),
                &error,
            ));
        }
    };
    write_atomic(&path, changed(&old, key, value).as_bytes(), PLAIN_MODE)?;
    let document = json!({"key": key, "value": (!value.is_empty()).then_some(value), "file": path.display().to_string()});
    let text = if value.is_empty() {
        format!("{key} is back to its default")
    } else {
        format!("{key} = {value}")
    };
    context.result(&document, text)?;
    warn_if_overridden(context, key);
    Ok(())
}

fn check(key: &str, value: &str) -> Result<(), CommandError> {
    let known = known_settings();
    if !known.iter().any(|name| name == key) {
        let there = known.join(", ");
        let hint = match nearest(key, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}? There are: {there}"),
            None => format!("there are: {there}"),
        };
        return Err(CommandError::usage(format!("unknown setting {key:?}")).with_hint(hint));
    }
    match key {
        _ if value.is_empty() => Ok(()),
        "coordinator" => CoordinatorUrl::parse(value).map(|_| ()),
        "miner" => check_miner_name(value),
        "payer" => values::address(value).map(|_| ()),
        "ca_certificate" if !Path::new(value).is_absolute() => Err(CommandError::usage(format!(
            "{value:?} is not an absolute path"
        ))
        .with_hint("give the whole path, beginning with /")),
        _ => Ok(()),
    }
}

fn known_settings() -> Vec<String> {
    let settings =
        serde_json::to_value(ClientSettings::default()).expect("settings are plain values");
    settings
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default()
}

/// The file's text with one setting replaced, added at its end or removed. Settings are top-level strings.
fn changed(old: &str, key: &str, value: &str) -> String {
    let is_setting = |line: &str| {
        line.split_once('=')
            .is_some_and(|(name, _)| name.trim().trim_matches('"') == key)
    };
    let mut lines: Vec<String> = old
        .lines()
        .filter(|line| !is_setting(line))
        .map(ToOwned::to_owned)
        .collect();
    if !value.is_empty() {
        // A JSON string of printable text is a TOML string.
        lines.push(format!("{key} = {}", json!(value)));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn warn_if_overridden(context: &Context, key: &str) {
    let origins: BTreeMap<String, String> = context
        .settings()
        .map(|loaded| loaded.origins)
        .unwrap_or_default();
    if let Some(origin) = origins.get(key)
        && !origin.starts_with("file ")
        && origin != "default"
    {
        context.warn(
            "SETTING_OVERRIDDEN",
            format_args!("the {origin} still wins over the file"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_changes_and_the_rest_stays() {
        let old = "# mine\ncoordinator = \"a:1\"\n\nminer = \"rig-2\"\n";
        let new = changed(old, "coordinator", "b:2");
        assert_eq!(new, "# mine\n\nminer = \"rig-2\"\ncoordinator = \"b:2\"\n");
        assert_eq!(
            changed(&new, "coordinator", ""),
            "# mine\n\nminer = \"rig-2\"\n"
        );
        assert_eq!(changed("", "miner", "x"), "miner = \"x\"\n");
        assert_eq!(
            changed("", "ca_certificate", "/a \"b\"\\c"),
            "ca_certificate = \"/a \\\"b\\\"\\\\c\"\n"
        );
    }

    #[test]
    fn unknown_settings_and_bad_values_are_refused() {
        let error = check("cordinator", "a:1").unwrap_err();
        assert!(error.hint.unwrap().contains("\"coordinator\""));
        for (key, value) in [
            ("coordinator", "nonsense"),
            ("miner", "../x"),
            ("payer", "0x12"),
            ("ca_certificate", "relative.pem"),
        ] {
            assert!(check(key, value).unwrap_err().hint.is_some(), "{key}");
        }
        check("coordinator", "127.0.0.1:1").unwrap();
        check("coordinator", "").unwrap();
    }
}
