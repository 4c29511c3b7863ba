//! The official Python client of the Model Context Protocol, with `aitbc mcp` as its server.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;

use serde_json::{Value, json};

use super::{Output, Process, Stream, User, program, tool};

/// A client and its server.
#[derive(Debug)]
pub struct McpClient {
    process: Process,
    stdin: Option<ChildStdin>,
    answers: usize,
    /// What the server said of itself.
    pub server: Value,
}

impl McpClient {
    /// Starts both; the arguments are those of `aitbc mcp`. `mode`: `legacy` or `auto`.
    #[must_use]
    #[track_caller]
    pub fn start(user: &User, mode: &str, arguments: &[&str]) -> Self {
        let server = program("aitbc");
        let server = server.to_str().expect("paths here are UTF-8");
        Self::start_command(user, mode, &[&[server, "mcp"], arguments].concat())
    }

    /// As [`McpClient::start`], with another command as the server.
    #[must_use]
    #[track_caller]
    pub fn start_command(user: &User, mode: &str, command: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/mcp_client.py");
        let script = script.to_str().expect("paths here are UTF-8");
        let user = user.clone().with("PYTHONDONTWRITEBYTECODE", "1");
        let all = [&[script, mode], command].concat();
        let command = user.command(&tool("AITBC_TEST_PYTHON"), &all);
        let (process, stdin) = Process::start_with_stdin(command);
        let mut client = Self {
            process,
            stdin: Some(stdin),
            answers: 0,
            server: Value::Null,
        };
        client.server = client.answer();
        client
    }

    /// The tools.
    #[track_caller]
    pub fn tools(&mut self) -> Vec<Value> {
        self.say(&json!({"list": true}));
        let tools = self.answer();
        tools.as_array().expect("a list").clone()
    }

    /// Calls a tool: `{"is_error","document","texts","progress"}`, or `{"raised"}`.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.begin(&json!({"tool": tool, "arguments": arguments}));
        self.answer()
    }

    /// As [`McpClient::call`]: the document of a call that succeeds.
    #[track_caller]
    pub fn gives(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.call(tool, arguments);
        assert_eq!(answer["is_error"], false, "{tool} {arguments}: {answer}");
        answer["document"].clone()
    }

    /// As [`McpClient::call`]: the error of a call that fails, which says the same to programs and to people.
    #[track_caller]
    pub fn refuses(&mut self, tool: &str, arguments: &Value) -> Value {
        let answer = self.call(tool, arguments);
        let shown = answer.to_string();
        assert_eq!(answer["is_error"], true, "{tool}: {shown}");
        let error = &answer["document"]["error"];
        let text = answer["texts"][0].as_str().unwrap_or_default();
        for part in ["message", "hint"] {
            let part = error[part].as_str().expect("a message and a hint");
            assert!(text.contains(part), "{tool}: {shown}");
        }
        error.clone()
    }

    /// Sends a line, whose answer is not waited for.
    pub fn begin(&mut self, line: &Value) {
        self.say(line);
    }

    fn say(&mut self, line: &Value) {
        let stdin = self.stdin.as_mut().expect("it was not ended");
        writeln!(stdin, "{line}").expect("the client reads");
    }

    /// The next answer.
    #[track_caller]
    pub fn answer(&mut self) -> Value {
        let at = self.answers;
        self.answers += 1;
        self.process.wait_for(Stream::Stdout, "answer", |text| {
            let line = text.split_inclusive('\n').nth(at)?;
            let line = line.strip_suffix('\n')?;
            Some(serde_json::from_str(line).expect("the client writes JSON"))
        })
    }

    /// kill -9 of the client.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Lets the client end as it does, which closes the server's stdin.
    #[must_use]
    #[track_caller]
    pub fn end(mut self) -> Output {
        drop(self.stdin.take());
        self.process.wait()
    }
}
