//! `sql`: SELECT over the attached files, each a table of an SQLite database in memory.
//!
//! Memory: one file at a time (32 MiB) while it is loaded, the database (512 MiB), and whatever queries take within
//! SQLite's own bound, which all executions of the miner share (2 GiB).

mod csv_rows;
mod database;
mod decimal;
mod guard;
mod json_rows;
mod sums;
mod table;

use serde::Deserialize;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

use super::built_in::BuiltIn;
use super::output::excerpt;
use super::{AttachedFile, Labels, Stop, ToolError};
use database::{Database, MAX_QUERY_BYTES};

/// How long loading all the files may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Most bytes of what the description says about one table, and about all.
const MAX_TABLE_BYTES: usize = 1500;
const MAX_TABLES_BYTES: usize = 6000;

#[derive(Deserialize)]
struct Arguments {
    query: String,
}

/// Loads the files, which takes its time.
pub(super) fn tool(files: &[AttachedFile]) -> BuiltIn {
    let stop = Stop::after(LOAD_TIMEOUT, CancellationToken::new());
    let (database, tables) = match Database::load(files, &stop) {
        Ok(loaded) => loaded,
        Err(error) => (None, vec![format!("no database could be made: {error}")]),
    };
    let database = Mutex::new(database);
    let tables = if tables.is_empty() {
        "none, as no CSV or JSON file is attached".to_owned()
    } else {
        let tables: Vec<String> = tables.iter().map(|t| excerpt(t, MAX_TABLE_BYTES)).collect();
        excerpt(&tables.join("; "), MAX_TABLES_BYTES)
    };
    BuiltIn::new(
        "sql",
        format!(
            "Runs one SELECT in SQLite's dialect over the attached files and shows at most 200 rows: aggregate rather than \
             list. SUM, AVG and TOTAL are exact on decimals. Tables: {tables}"
        ),
        json!({
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_BYTES, "description": "one SELECT statement"},
            },
            "required": ["query"],
            "additionalProperties": false,
        }),
        Labels {
            egress: false,
            reads_untrusted: true,
        },
        move |arguments: Arguments, stop: &Stop| {
            let mut database = database.lock().unwrap_or_else(PoisonError::into_inner);
            let database = database
                .as_mut()
                .ok_or_else(|| ToolError::failed("there are no tables"))?;
            database.query(&arguments.query, stop)
        },
    )
}

#[cfg(test)]
mod tests;
