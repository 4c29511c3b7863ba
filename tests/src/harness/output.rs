//! What a command printed and how it ended.

use serde_json::Value;

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The bytes on stdout.
    pub stdout: Vec<u8>,
    /// The text on stderr.
    pub stderr: String,
    /// The exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
}

impl Output {
    /// Itself, where the exit code is this one; panics otherwise.
    #[must_use]
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(
            self.code == code,
            "{} ended with {} instead of {code}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.text(),
            self.stderr
        );
        self
    }

    /// Itself, where the exit code is 0.
    #[must_use]
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stdout as one JSON document.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!(
                "{}: stdout is not one JSON document: {error}\n{}\n{}",
                self.command,
                self.text(),
                self.stderr
            ),
        }
    }

    /// stdout as one JSON document a line.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{}: {error}: {line}", self.command))
            })
            .collect()
    }

    /// The error that a command reported with `--json`: its last line on stderr.
    #[must_use]
    #[track_caller]
    pub fn json_error(&self) -> Value {
        let line = self.stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| {
            panic!(
                "{}: stderr ends without a JSON error: {error}\n{}",
                self.command, self.stderr
            )
        });
        value["error"].clone()
    }

    /// Checks what holds for every refusal: the exit code, `error: …` and `hint: …` on stderr, nothing on stdout, no panic.
    #[track_caller]
    pub fn refuses(&self, code: i32, part: &str) {
        let shown = format!(
            "{}\ncode: {}\nstdout: {}\nstderr: {}",
            self.command,
            self.code,
            self.text(),
            self.stderr
        );
        assert!(!self.stderr.contains("panicked"), "{shown}");
        assert!(self.code == code, "exit code {code} was expected\n{shown}");
        assert!(self.stdout.is_empty(), "stdout should be empty\n{shown}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let error = lines.iter().position(|line| line.starts_with("error: "));
        let hint = lines.iter().position(|line| line.starts_with("hint: "));
        assert!(
            error.is_some() && hint > error,
            "an error and a hint were expected\n{shown}"
        );
        assert!(self.stderr.contains(part), "{part:?} was expected\n{shown}");
    }
}
