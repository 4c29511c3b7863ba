//! `aitbc config show`.

use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::output::json::text_of;
use crate::output::table;

const EXAMPLES: &str = "\
Examples:
  aitbc config show
  AITBC_COORDINATOR=10.0.0.5:50051 aitbc config show --json

Later ones win: default, file, environment variable, option.";

/// Nothing to choose.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {}

/// Prints settings with their origins.
pub fn run(context: &Context, _arguments: &Arguments) -> Result<(), CommandError> {
    let loaded = context.settings()?;
    let settings = serde_json::to_value(&loaded.value).expect("settings are plain values");
    let mut document = Map::new();
    let mut rows = Vec::new();
    for (key, value) in settings.as_object().into_iter().flatten() {
        let origin = loaded.origins.get(key).map_or("default", String::as_str);
        rows.push(vec![key.clone(), text_of(value), origin.to_owned()]);
        document.insert(key.clone(), json!({"value": value, "origin": origin}));
    }
    let file = context.home.config_file().display().to_string();
    let document = json!({"settings": Value::Object(document), "file": file});
    context.result(
        &document,
        table::render(&["SETTING", "VALUE", "FROM"], rows),
    )?;
    context.note(format_args!("file: {file}"));
    Ok(())
}
