//! What keeps a database from everything but reading its tables, and within bounds.

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, Error};

use super::super::ToolError;
use super::super::output::excerpt;
use super::database::{MAX_QUERY_BYTES, MAX_SHOWN_BYTES};
use super::json_rows::MAX_COLUMNS;
use super::sums;

/// Most bytes of a value and of a row. What a single instruction of SQLite takes grows with it.
const MAX_VALUE_BYTES: i32 = 512 * 1024;
/// Most pages of 4 KiB that the tables take: 512 MiB.
const MAX_PAGES: u32 = 131_072;
/// Most bytes that all databases of this process take, with what their queries need.
const MAX_HEAP_BYTES: u64 = 2 << 30;
/// Functions that reach out of the database.
const FORBIDDEN: [&str; 3] = ["load_extension", "fts3_tokenizer", "fts5"];
/// Tables about the database's own storage.
const INNER_TABLES: [&str; 1] = ["dbstat"];

/// An empty database in memory, within bounds.
pub(super) fn open() -> Result<Connection, Error> {
    let connection = Connection::open_in_memory()?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 4 * MAX_QUERY_BYTES as i32),
        (Limit::SQLITE_LIMIT_COLUMN, MAX_COLUMNS as i32),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_VDBE_OP, 100_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.execute_batch(&format!(
        "PRAGMA max_page_count = {MAX_PAGES}; PRAGMA hard_heap_limit = {MAX_HEAP_BYTES}; PRAGMA temp_store = MEMORY; \
         PRAGMA journal_mode = OFF"
    ))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A misspelt name between quotes is an error, not a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    sums::replace(&connection)?;
    Ok(connection)
}

/// Reading is allowed, and nothing else.
pub(super) fn authorize(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Read { table_name, .. } if INNER_TABLES.contains(&table_name) => {
            Authorization::Deny
        }
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name }
            if !FORBIDDEN.contains(&function_name.to_lowercase().as_str()) =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

/// The error of everything else.
pub(super) fn only_select() -> ToolError {
    ToolError::failed(
        "only one SELECT over the tables is allowed: nothing can be written, attached or set",
    )
}

/// SQLite's words, for the model.
pub(super) fn told(error: &Error) -> ToolError {
    match error {
        Error::MultipleStatement => only_select(),
        Error::SqlInputError { msg, .. } | Error::SqliteFailure(_, Some(msg)) => {
            match msg.as_str() {
                text if text.starts_with("not authorized") || text.ends_with("is prohibited") => {
                    only_select()
                }
                text if text.starts_with("table ") && text.ends_with(" may not be modified") => {
                    only_select()
                }
                "database or disk is full" => {
                    ToolError::failed("the files together are too large for tables (512 MiB)")
                }
                text => ToolError::failed(excerpt(text, MAX_SHOWN_BYTES)),
            }
        }
        other => ToolError::failed(excerpt(&other.to_string(), MAX_SHOWN_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_are_in_force() {
        let connection = open().unwrap();
        let of = |pragma: &str| {
            connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0))
        };
        assert_eq!(of("hard_heap_limit"), Ok(MAX_HEAP_BYTES as i64));
        assert_eq!(of("max_page_count"), Ok(i64::from(MAX_PAGES)));
        assert_eq!(of("page_size"), Ok(4096));
    }

    #[test]
    fn what_is_too_large_for_memory_is_told() {
        let connection = open().unwrap();
        connection
            .execute_batch("PRAGMA max_page_count = 10; CREATE TABLE t (a)")
            .unwrap();
        let filled = connection.execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100) INSERT INTO t SELECT zeroblob(4096) FROM n",
        );
        let error = told(&filled.unwrap_err()).to_string();
        assert!(error.contains("too large for tables"), "{error}");
    }
}
