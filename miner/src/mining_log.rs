//! The log of a miner at work: one line for each thing that happens, or one JSON document.

mod lines;
mod today;

use std::io::Write;
use std::path::Path;

use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::status::{reason_name, words};
use aitbc_common::runtime::terminal::{
    clock_ms, escape, is_terminal_stdout, print_line, rfc3339_ms,
};
use aitbc_common::runtime::unix_ms;
use serde_json::{Map, Value, json};

use crate::model_server::{ServerState, ServerStatus};
use crate::session::driver::Report;
use crate::session::{End, Notice};
use lines::{
    Line, failed, inference, not_wanted, plain, rounded, short, speed, submitted, with_key,
};
use today::Today;

/// Who mines where, for the first line.
#[derive(Debug, Clone)]
pub struct Banner {
    /// `host:port` of the coordinator.
    pub coordinator: String,
    /// The miner's name.
    pub miner: String,
    /// Its price per hour.
    pub price: MicroAit,
    /// Whether it takes only jobs that are paid for.
    pub paid_only: bool,
}

/// Writes the log to stdout.
#[derive(Debug)]
pub struct MiningLog {
    json: bool,
    terminal: bool,
    banner: Banner,
    server: ServerState,
    today: Today,
    /// Why the job that came last was stopped.
    stopped: Option<&'static str>,
    /// The last line has no end yet.
    redrawing: bool,
}

impl MiningLog {
    /// A log that has said nothing yet, of the miner with this folder.
    pub fn new(json: bool, banner: Banner, server: ServerState, miner_folder: &Path) -> Self {
        let terminal = !json && is_terminal_stdout();
        Self {
            json,
            terminal,
            banner,
            server,
            today: Today::open(miner_folder),
            stopped: None,
            redrawing: false,
        }
    }

    /// Says what happened.
    pub fn report(&mut self, report: Report) -> Result<(), CommandError> {
        let line = match report {
            Report::Notice(Notice::Progress {
                key,
                output_tokens,
                generating,
            }) => {
                let speed = speed(output_tokens, generating.as_secs_f64());
                return self.redraw(&format!(
                    "{}, {output_tokens} out, {speed:.1}/s so far",
                    short(&key.job)
                ));
            }
            Report::Notice(notice) => {
                match &notice {
                    Notice::JobReceived { .. } => self.stopped = None,
                    Notice::JobStopped { reason, .. } => self.stopped = Some(reason),
                    _ => {}
                }
                self.notice(notice)
            }
            Report::CoordinatorAway { message, retry_in } => {
                let seconds = retry_in.as_secs_f64();
                Line::new(
                    "coordinator away",
                    format!(
                        "{message}; running jobs go on; retry in {} s",
                        seconds.ceil()
                    ),
                    json!({"message": message, "retry_in_seconds": rounded(seconds)}),
                )
            }
            Report::Server(state) => self.server(state),
        };
        self.print(line)
    }

    /// Says that the owner paused the miner, so that no jobs will come.
    pub fn paused(&mut self) -> Result<(), CommandError> {
        self.print(Line::new(
            "paused",
            "no jobs come until: aitbc miner resume",
            json!({}),
        ))
    }

    /// Says how it ended.
    pub fn ended(&mut self, end: &End) -> Result<(), CommandError> {
        let text = match end {
            End::Drained => "drained",
            End::JobsDone { failed } => match self.stopped {
                _ if *failed > 0 => "the job failed",
                Some(reason) => &format!("the job was stopped: {reason}"),
                None => "the job is done",
            },
            End::SessionExists { .. } => "another session of this miner is live",
            End::WrongChain => "the coordinator serves another network now",
            End::Refused { reason, .. } => &words(reason_name(*reason)),
        };
        let (counts, fields) = self.counts();
        self.print(Line::new("stopped", format!("{text}; {counts}"), fields))
    }

    fn notice(&mut self, notice: Notice) -> Line {
        match notice {
            Notice::Polling { free_slots } => self.polling(free_slots),
            Notice::JobReceived {
                key,
                job_type,
                model,
                locked,
            } => {
                let funds = match locked {
                    0 => "unfunded".to_owned(),
                    locked => format!("{} AIT locked", MicroAit(locked)),
                };
                let name = model.strip_suffix(":latest").unwrap_or(&model);
                let text = format!(
                    "{} {job_type} {name}, attempt {}, {funds}",
                    short(&key.job),
                    key.attempt
                );
                let locked = MicroAit(locked).six_decimals();
                let fields =
                    json!({"type": job_type.as_str(), "model": model, "locked_ait": locked});
                Line::new("job received", text, with_key(key, fields))
            }
            Notice::Inference { key, summary } => inference(key, &summary),
            Notice::Submitted { key, summary } => {
                self.today.count(unix_ms(), |counts| counts.done += 1);
                submitted(key, &summary)
            }
            Notice::Refused { key, message } => {
                self.today.count(unix_ms(), |counts| counts.failed += 1);
                let text = format!("{}: {message}", short(&key.job));
                Line::new(
                    "result refused",
                    text,
                    with_key(key, json!({"message": message})),
                )
            }
            Notice::JobFailed { key, failure } => {
                self.today.count(unix_ms(), |counts| counts.failed += 1);
                failed("job failed", key, &failure)
            }
            Notice::JobRejected { key, failure } => failed("job rejected", key, &failure),
            Notice::JobStopped { key, reason } => {
                let text = format!("{}: {reason}; the model was told to stop", short(&key.job));
                Line::new(
                    "job stopped",
                    text,
                    with_key(key, json!({"message": reason})),
                )
            }
            Notice::NotWanted { key, reason } => not_wanted(key, reason),
            Notice::Waiting => {
                let (counts, fields) = self.counts();
                Line::new("waiting", counts, fields)
            }
            Notice::Draining { running } => {
                let text = format!(
                    "no more jobs; {running} running, at most 30 s more; Ctrl-C again stops at once"
                );
                Line::new("draining", text, json!({"running": running}))
            }
            Notice::Odd { message } => {
                Line::new("odd message", message.clone(), json!({"message": message}))
            }
            Notice::Progress { .. } => Line::new("inference", String::new(), json!({})),
        }
    }

    fn polling(&self, free_slots: u32) -> Line {
        let names: Vec<&str> = self
            .server
            .models
            .iter()
            .map(|model| model.name.as_str())
            .collect();
        let Banner {
            coordinator,
            miner,
            price,
            paid_only,
        } = &self.banner;
        let models = match names.len() {
            0..=3 => names.join(", "),
            more => format!("{} and {} more", names[..2].join(", "), more - 2),
        };
        let slots = if free_slots == 1 { "slot" } else { "slots" };
        let text = format!(
            "{coordinator} as {miner}; {models} on {}; {free_slots} {slots} free; {price} AIT/hour{}",
            self.server.name(),
            if *paid_only { ", paid jobs only" } else { "" }
        );
        let fields = json!({
            "coordinator": coordinator,
            "miner_name": miner,
            "models": names,
            "engine": self.server.inventory.engine,
            "free_slots": free_slots,
            "price_per_hour_ait": price.six_decimals(),
            "paid_only": paid_only,
        });
        Line::new("polling", text, fields)
    }

    fn server(&mut self, state: ServerState) -> Line {
        let word = state.kind.word();
        let line = match &state.status {
            ServerStatus::Away { detail } => Line::new(
                format!("{word} away"),
                format!("{detail}; no jobs are taken until it answers again"),
                json!({"message": detail}),
            ),
            ServerStatus::ModelMissing { missing } => {
                let text = match missing.first() {
                    Some(name) => format!(
                        "{}; get it with: ollama pull {}",
                        missing.join(", "),
                        plain(name)
                    ),
                    None => "no local model; get one with: ollama pull llama3".to_owned(),
                };
                Line::new("model missing", text, json!({"models": missing}))
            }
            ServerStatus::Ready => {
                let names: Vec<&str> = state
                    .models
                    .iter()
                    .map(|model| model.name.as_str())
                    .collect();
                let fields = json!({"engine": state.inventory.engine, "models": names});
                Line::new(
                    format!("{word} ready"),
                    format!("{} on {}", names.join(", "), state.name()),
                    fields,
                )
            }
        };
        self.server = state;
        line
    }

    /// What was done today, in both forms.
    fn counts(&mut self) -> (String, Value) {
        let counts = self.today.at(unix_ms());
        let (done, failed) = (counts.done, counts.failed);
        (
            format!("{done} done, {failed} failed today"),
            json!({"done": done, "failed": failed}),
        )
    }

    fn print(&mut self, line: Line) -> Result<(), CommandError> {
        if self.json {
            let mut document = Map::new();
            document.insert("time".to_owned(), rfc3339_ms(unix_ms()).into());
            document.insert("event".to_owned(), line.event.into());
            if let Value::Object(fields) = line.fields {
                document.extend(fields);
            }
            return print_line(Value::Object(document));
        }
        let begin = if std::mem::take(&mut self.redrawing) {
            "\r\u{1b}[2K"
        } else {
            ""
        };
        let text = self.format(&line.label, &line.text);
        print_line(format_args!("{begin}{text}"))
    }

    /// Shows progress on a terminal, in a line that the next one replaces.
    fn redraw(&mut self, text: &str) -> Result<(), CommandError> {
        if !self.terminal {
            return Ok(());
        }
        let line = self.format("inference", text);
        let mut stdout = std::io::stdout().lock();
        write!(stdout, "\r\u{1b}[2K{line}")?;
        stdout.flush()?;
        self.redrawing = true;
        Ok(())
    }

    fn format(&self, label: &str, text: &str) -> String {
        let time = clock_ms(unix_ms());
        let line = format!("{}  {label:<16}  {text}", time.trim_end_matches('Z'));
        if self.terminal {
            escape(&line).replace('\n', " ")
        } else {
            line.replace('\n', " ")
        }
    }
}
