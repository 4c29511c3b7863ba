//! `aitbc chat`: talk to a model; each turn is a job that carries the conversation so far.

use std::io::Write as _;
use std::time::Duration;

use aitbc_common::job_input::{JobInput, JobType};
use aitbc_common::limits::INPUT_BYTES;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{
    is_terminal_stdin, is_terminal_stdout, note_line, print_bytes,
};
use aitbc_common::token::Scope;
use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::client::new_job::{self, Model, NewJob};
use super::client::show::{self, Telling};
use super::client::{input, submission, submit};
use crate::context::Context;
use crate::interrupt::{Interrupt, interrupted};
use crate::values;

const EXAMPLES: &str = "\
Examples:
  aitbc chat llama3
  aitbc chat llama3 --system \"Answer in one sentence.\"
  printf 'My name is Ada.\\nWhat is my name?\\n' | aitbc chat llama3

Ctrl-C stops an answer, Ctrl-D ends the conversation. It is kept in memory only.";

/// With whom.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The model, with the digest it must have where that matters
    #[arg(value_name = "MODEL", value_parser = new_job::model)]
    model: Model,
    /// Instructions that come before the conversation
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    /// The highest price in AIT per hour
    #[arg(long, value_name = "AIT", value_parser = values::price_per_hour, allow_hyphen_values = true)]
    max_price: Option<MicroAit>,
    /// Time until the job of one turn expires, 1s to 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = new_job::timeout, allow_hyphen_values = true)]
    timeout: Duration,
}

/// The conversation so far.
#[derive(Debug, Default)]
struct Conversation {
    system: Option<String>,
    messages: Vec<Value>,
}

impl Conversation {
    /// The input document with one more message of the user's.
    fn document(&self, line: &str) -> Vec<u8> {
        let mut messages = self.messages.clone();
        messages.push(message("user", line));
        let document = match &self.system {
            Some(system) => json!({"system": system, "messages": messages}),
            None => json!({"messages": messages}),
        };
        document.to_string().into_bytes()
    }

    fn add(&mut self, line: &str, answer: &str) {
        self.messages.push(message("user", line));
        self.messages.push(message("assistant", answer));
    }
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// Talks until the input ends.
pub async fn run(context: &Context, arguments: Arguments) -> Result<(), CommandError> {
    let connection = context.connect(Scope::Client).await?;
    let interactive = is_terminal_stdin();
    if interactive {
        context.note(format_args!(
            "talking to {}; Ctrl-D ends",
            arguments.model.name
        ));
    }
    let mut conversation = Conversation {
        system: arguments.system.clone(),
        messages: Vec::new(),
    };
    let mut stdin = BufReader::new(tokio::io::stdin());
    loop {
        let Some(line) = read_turn(&mut stdin, interactive).await? else {
            return Ok(());
        };
        if line.trim().is_empty() {
            continue;
        }
        match turn(context, &connection, &arguments, &conversation, &line).await {
            Ok(answer) => conversation.add(&line, &answer),
            // A person goes on talking; a script must not take the next answer for this one.
            Err(error) if interactive && !error.is_closed_pipe() => error.print(context.json),
            Err(error) => return Err(error),
        }
    }
}

/// One turn: a job with the conversation so far and this line; its answer is shown as it comes.
async fn turn(
    context: &Context,
    connection: &Connection,
    arguments: &Arguments,
    conversation: &Conversation,
    line: &str,
) -> Result<String, CommandError> {
    let document = conversation.document(line);
    JobInput::parse(JobType::Inference, &document).map_err(|error| input::refused(&error))?;
    let mut job = NewJob::new(JobType::Inference, arguments.model.clone(), document);
    job.max_price = arguments.max_price;
    job.timeout = arguments.timeout;
    let mut interrupt = Interrupt::listen(true);
    let submitted = tokio::select! {
        submitted = submission::submit(context, connection, &job) => submitted?,
        () = interrupt.received() => return Err(interrupted("stopped before the answer")),
    };
    submit::warn(context, &submitted.response);
    let delivery = show::submitted(
        context,
        connection,
        submitted,
        interrupt,
        Telling::OutputOnly,
    )
    .await?;
    let answer = String::from_utf8_lossy(&delivery.output).into_owned();
    if !context.json && !is_terminal_stdout() && !answer.ends_with('\n') {
        print_bytes(b"\n")?;
    }
    Ok(answer)
}

/// The next line; `None` at the end of the input.
async fn read_turn(
    stdin: &mut (impl AsyncBufRead + Unpin),
    interactive: bool,
) -> Result<Option<String>, CommandError> {
    let mut interrupt = Interrupt::listen(true);
    if interactive {
        let mut stderr = std::io::stderr();
        // If nobody sees the prompt, nothing is lost.
        let _unread = stderr.write_all(b"> ").and_then(|()| stderr.flush());
    }
    let line = tokio::select! {
        line = read_line(stdin) => line?,
        () = interrupt.received() => return Err(interrupted("the conversation is over")),
    };
    if line.is_none() && interactive {
        note_line("");
    }
    Ok(line)
}

async fn read_line(
    reader: &mut (impl AsyncBufRead + Unpin),
) -> Result<Option<String>, CommandError> {
    let mut bytes = Vec::new();
    let bound = INPUT_BYTES as u64;
    reader
        .take(bound + 1)
        .read_until(b'\n', &mut bytes)
        .await
        .map_err(|error| CommandError::file("read stdin", &error))?;
    if bytes.len() as u64 > bound {
        return Err(CommandError::new(
            ExitCode::Usage,
            "TOO_LARGE",
            "the line has more than 3 MiB",
        )
        .with_hint("say it in several turns"));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(bytes).map_err(|_| {
        CommandError::new(ExitCode::Usage, "INVALID_INPUT", "the line is not UTF-8")
            .with_hint("give UTF-8 text")
    })?;
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_carries_what_was_said_before() {
        let mut conversation = Conversation {
            system: Some("Be brief.".to_owned()),
            messages: Vec::new(),
        };
        conversation.add("My name is Ada.", "Hello Ada.");
        let document = String::from_utf8(conversation.document("What is my name?")).unwrap();
        assert_eq!(
            document,
            r#"{"system":"Be brief.","messages":[{"role":"user","content":"My name is Ada."},{"role":"assistant","content":"Hello Ada."},{"role":"user","content":"What is my name?"}]}"#
        );
        JobInput::parse(JobType::Inference, document.as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn lines_are_turns_until_the_input_ends() {
        let mut input: &[u8] = b"one\r\n\nlast";
        assert_eq!(read_line(&mut input).await.unwrap().as_deref(), Some("one"));
        assert_eq!(read_line(&mut input).await.unwrap().as_deref(), Some(""));
        assert_eq!(
            read_line(&mut input).await.unwrap().as_deref(),
            Some("last")
        );
        assert_eq!(read_line(&mut input).await.unwrap(), None);
        assert!(read_line(&mut &b"\xff\n"[..]).await.is_err());
        let endless = vec![b'x'; INPUT_BYTES + 1];
        assert_eq!(
            read_line(&mut &endless[..]).await.unwrap_err().reason,
            "TOO_LARGE"
        );
    }
}
