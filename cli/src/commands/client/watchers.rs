//! How a followed job is shown: on a terminal, as lines of JSON, or not at all until its end.

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::terminal::{StreamEscaper, note_line, print_bytes, print_line};
use aitbc_common::runtime::unix_ms;
use aitbc_common::verify::AttemptStart;
use aitbc_proto::v1::{AttemptStarted, Job, JobStatus};
use serde_json::{Value, json};

use super::follow::Watcher;
use super::job_text;
use crate::output::clean_err;
use crate::output::job::job_json;

fn say_away(error: &CommandError) {
    note_line(format_args!(
        "coordinator away: {}; the job goes on, trying again for 5 min",
        clean_err(&error.message)
    ));
}

fn say_back() {
    note_line("coordinator back");
}

/// A status to show: the same one is shown once.
#[derive(Debug, Default)]
struct Changes {
    shown: String,
}

impl Changes {
    fn is_new(&mut self, job: &Job) -> bool {
        let state = format!("{} {}", job_text::state(job), job.attempt);
        let new = state != self.shown;
        self.shown = state;
        new
    }
}

/// Shows nothing of a job until it is final, but says when the coordinator is away.
#[derive(Debug, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn away(&mut self, error: &CommandError) {
        say_away(error);
    }

    fn back(&mut self) {
        say_back();
    }
}

/// Shows the output on a terminal as it comes, harmless.
#[derive(Debug, Default)]
pub struct Live {
    escaper: StreamEscaper,
    changes: Changes,
    // Whether the job's waiting is told on stderr.
    tells_waiting: bool,
    // Whether the cursor stands behind output, not at the beginning of a line.
    in_line: bool,
}

impl Live {
    /// With or without word of the job's place in the queue.
    pub fn new(tells_waiting: bool) -> Self {
        Self {
            tells_waiting,
            ..Self::default()
        }
    }

    fn show(&mut self, text: &str) -> Result<(), CommandError> {
        if let Some(last) = text.chars().next_back() {
            self.in_line = last != '\n';
        }
        print_bytes(text.as_bytes())
    }

    /// Ends the output with a line end.
    pub fn finish(&mut self) -> Result<(), CommandError> {
        let rest = self.escaper.finish();
        self.show(&rest)?;
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), CommandError> {
        if self.in_line {
            self.show("\n")
        } else {
            Ok(())
        }
    }
}

impl Watcher for Live {
    fn job(&mut self, job: &Job) -> Result<(), CommandError> {
        let waits = matches!(
            job.status(),
            JobStatus::Pending | JobStatus::Funded | JobStatus::Queued
        );
        if self.tells_waiting && waits && self.changes.is_new(job) {
            self.end_line()?;
            note_line(format_args!("waiting: {}", job_text::state(job)));
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        start: AttemptStart,
        attempt: &AttemptStarted,
    ) -> Result<(), CommandError> {
        if start == AttemptStart::New {
            let _incomplete = self.escaper.finish();
            self.end_line()?;
            let miner = clean_err(&attempt.miner_name);
            note_line(format_args!(
                "---- void up to here: attempt {} on {miner} begins anew ----",
                attempt.attempt
            ));
        }
        Ok(())
    }

    fn output(&mut self, _attempt: u32, _offset: u64, data: &[u8]) -> Result<(), CommandError> {
        let text = self.escaper.push(data);
        self.show(&text)
    }

    fn away(&mut self, error: &CommandError) {
        // A terminal that is gone shows on the next output.
        let _unread = self.end_line();
        say_away(error);
    }

    fn back(&mut self) {
        say_back();
    }
}

/// Prints a line at each change of the status.
#[derive(Debug, Default)]
pub struct StatusLines {
    changes: Changes,
}

impl Watcher for StatusLines {
    fn job(&mut self, job: &Job) -> Result<(), CommandError> {
        if self.changes.is_new(job) {
            let line = job_text::change(job, unix_ms());
            print_line(crate::output::clean(&line))?;
        }
        Ok(())
    }

    fn away(&mut self, error: &CommandError) {
        say_away(error);
    }

    fn back(&mut self) {
        say_back();
    }
}

/// Prints every event as one line of JSON.
#[derive(Debug, Default)]
pub struct JsonLines {
    changes: Changes,
    // Whether output is told, or the status alone.
    tells_output: bool,
    // The beginning of a character whose rest has not arrived.
    pending: Vec<u8>,
}

impl JsonLines {
    /// With or without the output.
    pub fn new(tells_output: bool) -> Self {
        Self {
            tells_output,
            ..Self::default()
        }
    }
}

impl Watcher for JsonLines {
    fn job(&mut self, job: &Job) -> Result<(), CommandError> {
        if self.changes.is_new(job) {
            print_line(event("status", job_json(job)))?;
        }
        Ok(())
    }

    fn attempt(
        &mut self,
        start: AttemptStart,
        attempt: &AttemptStarted,
    ) -> Result<(), CommandError> {
        if start == AttemptStart::Resumed {
            return Ok(());
        }
        self.pending.clear();
        print_line(event(
            "attempt_started",
            json!({"attempt": attempt.attempt, "miner_id": attempt.miner_id, "miner_name": attempt.miner_name}),
        ))
    }

    fn output(&mut self, attempt: u32, offset: u64, data: &[u8]) -> Result<(), CommandError> {
        if !self.tells_output {
            return Ok(());
        }
        let offset = offset - self.pending.len() as u64;
        self.pending.extend_from_slice(data);
        let text = whole_characters(&mut self.pending);
        if text.is_empty() {
            return Ok(());
        }
        print_line(event(
            "output",
            json!({"attempt": attempt, "offset": offset, "text": text}),
        ))
    }

    fn away(&mut self, error: &CommandError) {
        note_line(event(
            "coordinator_away",
            json!({"reason": error.reason, "message": error.message}),
        ));
    }

    fn back(&mut self) {
        note_line(event("coordinator_back", json!({})));
    }
}

/// Takes what is text from the front; at most three bytes of a character that is not whole yet stay.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let incomplete = match bytes.utf8_chunks().last() {
        Some(chunk)
            if chunk.invalid().len() < 4
                && std::str::from_utf8(chunk.invalid()).is_err_and(|e| e.error_len().is_none()) =>
        {
            chunk.invalid().len()
        }
        _ => 0,
    };
    let rest = bytes.split_off(bytes.len() - incomplete);
    let text = String::from_utf8_lossy(bytes).into_owned();
    *bytes = rest;
    text
}

/// A line of a stream: the document with `event` in front.
pub fn event(name: &str, document: Value) -> Value {
    let mut line = serde_json::Map::new();
    line.insert("event".to_owned(), Value::from(name));
    if let Value::Object(fields) = document {
        line.extend(fields);
    }
    Value::Object(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_in_whole_characters() {
        let mut pending = "aü".as_bytes()[..2].to_vec();
        assert_eq!(whole_characters(&mut pending), "a");
        assert_eq!(pending, [0xc3]);
        pending.push(0xbc);
        assert_eq!(whole_characters(&mut pending), "ü");
        pending.extend([b'x', 0xff]);
        assert_eq!(
            whole_characters(&mut pending),
            "x\u{fffd}",
            "never text: not waited for"
        );
        assert!(pending.is_empty());
        assert_eq!(whole_characters(&mut pending), "");
    }

    #[test]
    fn the_event_stands_in_front() {
        let line = event("output", json!({"attempt": 1}));
        assert_eq!(line.to_string(), r#"{"event":"output","attempt":1}"#);
    }

    #[test]
    fn a_status_is_told_once() {
        let mut changes = Changes::default();
        let mut job = Job {
            status: JobStatus::Queued.into(),
            ..Default::default()
        };
        assert!(changes.is_new(&job));
        assert!(!changes.is_new(&job));
        job.queue_position = Some(2);
        assert!(changes.is_new(&job));
    }
}
