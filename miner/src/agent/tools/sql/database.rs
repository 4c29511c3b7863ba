//! The database: loaded once, then only read.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, params_from_iter};
use std::collections::BTreeSet;
use std::io::Read;

use super::super::output::excerpt;
use super::super::{AttachedFile, MAX_OUTPUT_BYTES, Stop, ToolError, files};
use super::csv_rows::CsvRows;
use super::guard::{authorize, only_select, open, told};
use super::json_rows::{JsonRows, MAX_COLUMNS};
use super::table::{Cell, Kind, quoted, table_name, unique};

/// Most bytes of a query.
pub(super) const MAX_QUERY_BYTES: usize = 16 * 1024;
/// Most bytes of a file: what an agent may attach.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// Instructions of SQLite between two looks at the clock.
const LOOK_EVERY: i32 = 1000;
/// Rows between two looks at the clock while loading.
const LOOK_EVERY_ROWS: u64 = 1024;
/// Most rows that are shown.
const MAX_ROWS: usize = 200;
/// Most bytes of a value that are shown.
pub(super) const MAX_SHOWN_BYTES: usize = 1000;

/// Tables that can be queried.
pub(super) struct Database {
    connection: Connection,
    tables: Vec<String>,
}

impl Database {
    /// Loads the files that are tables, and says for each what it became or why it could not be loaded.
    pub fn load(
        files: &[AttachedFile],
        stop: &Stop,
    ) -> Result<(Option<Self>, Vec<String>), ToolError> {
        let mut database = Self {
            connection: open().map_err(|error| told(&error))?,
            tables: Vec::new(),
        };
        let mut taken = BTreeSet::new();
        let mut said = Vec::new();
        for file in files {
            let lower = file.name.to_lowercase();
            let read: fn(&[u8]) -> Result<Rows<'_>, String> = match lower
                .rsplit_once('.')
                .map_or("", |(_, extension)| extension)
            {
                "csv" | "tsv" => |bytes| CsvRows::read(bytes).map(Rows::Csv),
                "json" | "ndjson" | "jsonl" => |bytes| JsonRows::read(bytes).map(Rows::Json),
                _ => continue,
            };
            let loaded = bytes_of(file)
                .and_then(|bytes| database.load_rows(file, &read(&bytes)?, &mut taken, stop));
            match loaded {
                Ok(table) => {
                    said.push(table.clone());
                    database.tables.push(table);
                }
                Err(reason) => said.push(format!("(none of {}: {reason})", file.name)),
            }
        }
        database.lock().map_err(|error| told(&error))?;
        Ok((Some(database), said))
    }

    fn load_rows(
        &mut self,
        file: &AttachedFile,
        rows: &Rows<'_>,
        taken: &mut BTreeSet<String>,
        stop: &Stop,
    ) -> Result<String, String> {
        let columns = column_names(rows.names())?;
        let mut kinds = vec![Kind::default(); columns.len()];
        let (mut count, mut left_over) = (0_u64, 0_u64);
        rows.each(&mut |cells, more| {
            look(count, stop)?;
            count += 1;
            left_over += u64::from(more);
            for (kind, cell) in kinds.iter_mut().zip(cells) {
                *kind = kind.with(Kind::of(cell));
            }
            Ok(())
        })?;

        let plain = |error: Error| told(&error).to_string();
        let name = self.free_name(&file.name, taken);
        let transaction = self.connection.transaction().map_err(plain)?;
        let definitions: Vec<String> = columns
            .iter()
            .zip(&kinds)
            .map(|(column, kind)| format!("{} {}", quoted(column), kind.name()))
            .collect();
        let table = quoted(&name);
        transaction
            .execute_batch(&format!(
                "CREATE TABLE {table} ({})",
                definitions.join(", ")
            ))
            .map_err(plain)?;
        let mut insert = transaction
            .prepare(&format!(
                "INSERT INTO {table} VALUES ({})",
                vec!["?"; columns.len()].join(", ")
            ))
            .map_err(plain)?;
        let mut number = 0;
        rows.each(&mut |cells, _| {
            look(number, stop)?;
            number += 1;
            let values = cells
                .iter()
                .zip(&kinds)
                .map(|(cell, kind)| value(cell, *kind));
            insert
                .execute(params_from_iter(values))
                .map_err(|error| format!("row {number}: {}", told(&error)))?;
            Ok(())
        })?;
        drop(insert);
        transaction.commit().map_err(plain)?;

        let columns: Vec<String> = columns
            .iter()
            .zip(&kinds)
            .map(|(column, kind)| format!("{} {}", self.written(column), kind.name()))
            .collect();
        let note = match left_over {
            0 => String::new(),
            rows => format!("; {rows} rows have more fields than the header, which were left out"),
        };
        Ok(format!(
            "{name} ({}), {count} rows{note}",
            columns.join(", ")
        ))
    }

    /// A name for a file's table that works without quotes.
    fn free_name(&self, file: &str, taken: &mut BTreeSet<String>) -> String {
        let name = table_name(file);
        if self.written(&name) == name {
            unique(&name, taken)
        } else {
            unique(&format!("{name}_table"), taken)
        }
    }

    /// A name as queries write it: between quotes where SQL needs them.
    fn written(&self, name: &str) -> String {
        let is_plain = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && self
                .connection
                .prepare(&format!(
                    "WITH {name} AS (SELECT 1) SELECT {name}.* FROM {name}"
                ))
                .is_ok();
        if is_plain {
            name.to_owned()
        } else {
            quoted(name)
        }
    }

    /// From here on, nothing can be written or reached but the tables.
    fn lock(&mut self) -> Result<(), Error> {
        self.connection.execute_batch("PRAGMA query_only = ON")?;
        self.connection.authorizer(Some(authorize))
    }

    /// Runs one SELECT and shows its rows.
    pub fn query(&mut self, query: &str, stop: &Stop) -> Result<String, ToolError> {
        let watch = stop.clone();
        self.connection
            .progress_handler(LOOK_EVERY, Some(move || watch.check().is_err()))
            .map_err(|error| told(&error))?;
        let shown = self.shown(query, stop);
        self.connection
            .progress_handler(0, None::<fn() -> bool>)
            .map_err(|error| told(&error))?;
        shown
    }

    fn shown(&self, query: &str, stop: &Stop) -> Result<String, ToolError> {
        // An interruption is the clock's or the user's.
        let failed = |error: Error| match stop.check() {
            Err(stopped) => stopped,
            Ok(()) => self.explained(&error),
        };
        let mut statement = self.connection.prepare(query).map_err(failed)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(only_select());
        }
        let names: Vec<&str> = statement.column_names().collect();
        let mut output = excerpt(&names.join(" | "), MAX_OUTPUT_BYTES / 4);
        let width = statement.column_count();
        let mut rows = statement.query([]).map_err(failed)?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(failed)? {
            if count == MAX_ROWS || output.len() > MAX_OUTPUT_BYTES - 4 * MAX_SHOWN_BYTES {
                output.push_str(&format!(
                    "\n[more rows are not shown after the first {count}: aggregate, or use LIMIT and OFFSET]"
                ));
                return Ok(output);
            }
            let mut line = String::new();
            for column in 0..width {
                if line.len() > 3 * MAX_SHOWN_BYTES {
                    line.push_str(" | [more columns are not shown: name those you need]");
                    break;
                }
                line.push_str(if column == 0 { "\n" } else { " | " });
                line.push_str(&written_value(row.get_ref(column).map_err(failed)?));
            }
            output.push_str(&line);
            count += 1;
        }
        output.push_str(&match count {
            1 => "\n(1 row)".to_owned(),
            count => format!("\n({count} rows)"),
        });
        Ok(output)
    }

    /// SQLite's words, and the tables where one was missed.
    fn explained(&self, error: &Error) -> ToolError {
        let told = told(error);
        let text = told.to_string();
        if text.starts_with("no such ") {
            let tables = excerpt(&self.tables.join("; "), MAX_SHOWN_BYTES);
            return ToolError::failed(format!("{text}; tables: {tables}"));
        }
        told
    }
}

enum Rows<'a> {
    Csv(CsvRows<'a>),
    Json(JsonRows<'a>),
}

type OnRow<'f> = &'f mut dyn FnMut(&[Cell<'_>], bool) -> Result<(), String>;

impl Rows<'_> {
    fn names(&self) -> &[String] {
        match self {
            Self::Csv(rows) => &rows.names,
            Self::Json(rows) => &rows.names,
        }
    }

    fn each(&self, row: OnRow<'_>) -> Result<(), String> {
        match self {
            Self::Csv(rows) => rows.each(row),
            Self::Json(rows) => rows.each(row),
        }
    }
}

fn bytes_of(file: &AttachedFile) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    files::open(file)
        .map_err(|error| error.to_string())?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| files::unreadable(file, &error).to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("it is larger than 32 MiB".to_owned());
    }
    Ok(bytes)
}

fn look(row: u64, stop: &Stop) -> Result<(), String> {
    if row.is_multiple_of(LOOK_EVERY_ROWS) {
        stop.check()
            .map_err(|error| format!("loading it: {error}"))?;
    }
    Ok(())
}

fn column_names(names: &[String]) -> Result<Vec<String>, String> {
    if names.len() > MAX_COLUMNS {
        return Err(format!("it has more than {MAX_COLUMNS} columns"));
    }
    let mut taken = BTreeSet::new();
    let named = names.iter().enumerate().map(|(index, name)| {
        if name.is_empty() {
            unique(&format!("column_{}", index + 1), &mut taken)
        } else {
            // No name holds a zero byte, which would end SQLite's statement.
            unique(&excerpt(&name.replace('\0', ""), 200), &mut taken)
        }
    });
    Ok(named.collect())
}

/// A cell in its column's type, which holds all of the column.
fn value(cell: &Cell<'_>, kind: Kind) -> Value {
    let text = match cell {
        Cell::Null => return Value::Null,
        Cell::Boolean(value) if kind == Kind::Text => return Value::Text(value.to_string()),
        Cell::Boolean(value) => return Value::Integer(i64::from(*value)),
        Cell::Plain(text) | Cell::Text(text) => text,
    };
    let number = match kind {
        Kind::Integer | Kind::LongInteger => text.trim().parse().ok().map(Value::Integer),
        Kind::Real => text.trim().parse().ok().map(Value::Real),
        Kind::Empty | Kind::Text => None,
    };
    number.unwrap_or_else(|| Value::Text(text.clone().into_owned()))
}

/// A value as the model reads it, in one line.
fn written_value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => written_real(value),
        ValueRef::Text(bytes) => {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2 * MAX_SHOWN_BYTES)]);
            excerpt(
                &text.replace('\r', "\\r").replace('\n', "\\n"),
                MAX_SHOWN_BYTES,
            )
        }
        ValueRef::Blob(bytes) => format!("[{} bytes]", bytes.len()),
    }
}

/// 15 significant digits, without the noise of floating point; all of them where 15 do not reach the decimals.
fn written_real(value: f64) -> String {
    const LARGE: f64 = 1e12;
    let fifteen = || format!("{value:.14e}").parse().unwrap_or(value);
    let shown: f64 = if value.abs() < LARGE {
        fifteen()
    } else {
        value
    };
    if shown != 0.0 && !(1e-9..1e18).contains(&shown.abs()) {
        return format!("{shown:e}");
    }
    shown.to_string()
}
