//! Following an execution: its events as they happen, its answer once that is proven.

use aitbc_common::agents::{Event, Limits};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{is_terminal_stdout, note_line, print_bytes, print_line};
use aitbc_common::verify::AttemptStart;
use aitbc_proto::v1::{AttemptStarted, Job};
use serde_json::{Value, json};

use crate::agents::Feed;
use crate::agents::execution::{Execution, end_name, event_text, is_result, named, stopped};
use crate::commands::client::delivery::{Delivery, print_delivery};
use crate::commands::client::follow::{Target, Watcher, follow};
use crate::commands::client::ledger_proof::Logged;
use crate::commands::client::proof_text::{cost_of, result_json};
use crate::commands::client::show::{completed, settlement};
use crate::commands::client::submission::Submitted;
use crate::commands::client::watchers::{JsonLines, Live};
use crate::context::Context;
use crate::interrupt::Interrupt;
use crate::output::json::ait;
use crate::output::{clean, clean_err};

/// Shows the events of an execution as they happen: on stderr for people, on stdout as they are for programs.
struct Shown<'a> {
    context: &'a Context,
    job_id: String,
    feed: Feed,
    people: Live,
    programs: JsonLines,
    miner: String,
    told_problem: bool,
}

impl<'a> Shown<'a> {
    fn new(context: &'a Context, job_id: &str) -> Self {
        Self {
            context,
            job_id: job_id.to_owned(),
            feed: Feed::default(),
            people: Live::new(true),
            programs: JsonLines::new(false),
            miner: String::new(),
            told_problem: false,
        }
    }

    fn show(&self, event: &Event, line: &[u8], replaces: bool) -> Result<(), CommandError> {
        if self.context.json {
            return if is_terminal_stdout() {
                print_bytes(clean(&String::from_utf8_lossy(line)).as_bytes())
            } else {
                print_bytes(line)
            };
        }
        if replaces {
            note_line("---- what follows takes the place of what the miner before did last ----");
        }
        if let Some(text) = event_text(event) {
            note_line(clean_err(&text));
        }
        Ok(())
    }
}

impl Watcher for Shown<'_> {
    fn job(&mut self, job: &Job) -> Result<(), CommandError> {
        if self.context.json {
            self.programs.job(job)
        } else {
            self.people.job(job)
        }
    }

    fn attempt(
        &mut self,
        start: AttemptStart,
        attempt: &AttemptStarted,
    ) -> Result<(), CommandError> {
        if start == AttemptStart::Resumed {
            return Ok(());
        }
        self.feed.restart();
        self.told_problem = false;
        self.miner.clone_from(&attempt.miner_name);
        if self.context.json {
            return self.programs.attempt(start, attempt);
        }
        let miner = clean_err(&attempt.miner_name);
        match start {
            AttemptStart::New => note_line(format_args!(
                "{miner} goes on with it, attempt {}",
                attempt.attempt
            )),
            _ => note_line(format_args!("{}  on {miner}", self.job_id)),
        }
        Ok(())
    }

    fn output(&mut self, _attempt: u32, _offset: u64, data: &[u8]) -> Result<(), CommandError> {
        for line in self.feed.push(data) {
            self.show(&line.event, &line.bytes, line.replaces)?;
        }
        if let Some(problem) = self.feed.problem().filter(|_| !self.told_problem) {
            let message = format!(
                "what {} puts out is no execution's: {problem}; it is not shown",
                self.miner
            );
            self.told_problem = true;
            self.context.warn("NO_EVENTS", message);
        }
        Ok(())
    }

    fn away(&mut self, error: &CommandError) {
        if self.context.json {
            self.programs.away(error);
        } else {
            self.people.away(error);
        }
    }

    fn back(&mut self) {
        if self.context.json {
            self.programs.back();
        } else {
            self.people.back();
        }
    }
}

/// Follows an execution that was just submitted to its end and shows it.
pub async fn submitted(
    context: &Context,
    connection: &Connection,
    submitted: Submitted,
    interrupt: Interrupt,
    limits: Option<&Limits>,
) -> Result<Delivery, CommandError> {
    let target = Target {
        job_id: submitted.response.job_id,
        trust: submitted.trust,
        interrupt,
    };
    to_its_end(context, connection, target, limits).await
}

/// Follows an execution to its end and shows it. Exit code 6 where it has no result.
pub async fn to_its_end(
    context: &Context,
    connection: &Connection,
    target: Target,
    limits: Option<&Limits>,
) -> Result<Delivery, CommandError> {
    let mut shown = Shown::new(context, &target.job_id);
    let mut delivery = completed(follow(connection, target, &mut shown).await?)?;
    let execution = Execution::read(&delivery.output)
        .map_err(|problem| no_events(&delivery.job.job_id, &problem))?;
    if !context.json {
        print_delivery(&delivery)?;
    }
    let logged = settlement(context, connection, &mut delivery).await?;
    if context.json {
        print_line(result_event(&delivery, &execution, logged.as_ref()))?;
    } else {
        note_line(named("done", &done(&delivery, &execution)));
    }
    match stopped(execution.end, limits) {
        Some(why) if is_result(execution.end) => {
            context.warn("STOPPED", format!("{why}; the answer is what there was"));
            Ok(delivery)
        }
        Some(why) => Err(CommandError::new(ExitCode::NoResult, "NO_RESULT", why).with_hint(
            "try a larger model, fewer tools or files, or a simpler task: aitbc agent update last",
        )),
        None => Ok(delivery),
    }
}

/// An execution whose output is not one.
pub fn no_events(job_id: &str, problem: &str) -> CommandError {
    CommandError::new(
        ExitCode::NoResult,
        "NO_EVENTS",
        format!("what the miner delivered is no execution's output: {problem}"),
    )
    .with_hint(format!(
        "see it with: aitbc client result {job_id} --raw; once more: aitbc client retry {job_id}"
    ))
}

/// `2 steps, 1 tool call, 311 tokens, 9.8 s, 0.001362 of 1 AIT; receipt ✓`.
fn done(delivery: &Delivery, execution: &Execution) -> String {
    let (job, cost) = (&delivery.job, cost_of(delivery));
    let cost = aitbc_common::money::MicroAit(cost);
    let cost = match job.locked_micro_ait {
        0 => format!("{cost} AIT (unfunded)"),
        locked => format!("{cost} of {} AIT", aitbc_common::money::MicroAit(locked)),
    };
    let work_ms = delivery.verified.proof.receipt.work_ms;
    format!(
        "{}, {}.{} s, {cost}; receipt ✓",
        execution.summary(),
        work_ms / 1_000,
        work_ms % 1_000 / 100
    )
}

/// The last line of an execution for programs.
fn result_event(delivery: &Delivery, execution: &Execution, logged: Option<&Logged>) -> Value {
    let job = &delivery.job;
    let mut document = json!({
        "event": "result",
        "seq": execution.events + 1,
        "job_id": job.job_id,
        "status": "completed",
        "output": execution.answer,
        "steps": execution.steps,
        "tool_calls": execution.tool_calls,
        "cost_ait": ait(cost_of(delivery)),
        "end": end_name(execution.end),
        "tokens_in": execution.tokens_in,
        "tokens_out": execution.tokens_out,
        "agent_id": job.agent_id,
        "agent_version": job.agent_version,
    });
    // What every result has; its tool calls would be those of a model.
    let result: Value = serde_json::from_str(&result_json(delivery, logged)).unwrap_or_default();
    for (name, value) in result.as_object().into_iter().flatten() {
        let other = ["thinking", "embeddings"].contains(&name.as_str());
        if !other && document.get(name).is_none() {
            document[name] = value.clone();
        }
    }
    document
}
