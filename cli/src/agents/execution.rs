//! What an execution did, by its events, and how that is told.

use aitbc_common::agents::{End, Event, Limits};
use serde_json::Value;

/// Width of the names in front of the events: `observation  `.
const NAMES: usize = 13;
/// Characters of an observation that people are shown.
const SHOWN_CHARS: usize = 2_000;

/// A whole execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The answer, or what there is of it.
    pub answer: String,
    /// Why it ended.
    pub end: End,
    /// Steps of the model.
    pub steps: u32,
    /// Calls of tools.
    pub tool_calls: usize,
    /// Tokens that the model read.
    pub tokens_in: u64,
    /// Tokens that it wrote.
    pub tokens_out: u64,
    /// How many events there are.
    pub events: u64,
}

impl Execution {
    /// Reads the whole output of an execution; why it is none.
    pub fn read(output: &[u8]) -> Result<Self, String> {
        let (events, whole) = Event::read(output).map_err(|error| error.to_string())?;
        let Some(Event::Answer { seq, text, end }) = events.last() else {
            return Err("there is no answer".to_owned());
        };
        if whole < output.len() {
            return Err("something follows the answer".to_owned());
        }
        let mut execution = Self {
            answer: text.clone(),
            end: *end,
            steps: 0,
            tool_calls: 0,
            tokens_in: 0,
            tokens_out: 0,
            events: *seq,
        };
        for event in &events {
            match event {
                Event::Usage {
                    step,
                    tokens_in,
                    tokens_out,
                    ..
                } => {
                    execution.steps = execution.steps.max(*step);
                    execution.tokens_in = execution.tokens_in.saturating_add(*tokens_in);
                    execution.tokens_out = execution.tokens_out.saturating_add(*tokens_out);
                }
                Event::Action { .. } => execution.tool_calls += 1,
                _ => {}
            }
        }
        Ok(execution)
    }

    /// `2 steps, 1 tool call, 311 tokens`.
    pub fn summary(&self) -> String {
        let counted = |count: u64, name: &str| match count {
            1 => format!("1 {name}"),
            count => format!("{count} {name}s"),
        };
        format!(
            "{}, {}, {}",
            counted(self.steps.into(), "step"),
            counted(self.tool_calls as u64, "tool call"),
            counted(self.tokens_in.saturating_add(self.tokens_out), "token")
        )
    }
}

/// An event for people; `None` for those that are counted, or told otherwise.
pub fn event_text(event: &Event) -> Option<String> {
    let (name, text) = match event {
        Event::Thought { text, .. } => ("thought", text.trim_end().to_owned()),
        Event::Action {
            tool, arguments, ..
        } => ("action", format!("{tool}  {}", arguments_text(arguments))),
        Event::Observation {
            ok,
            output,
            truncated,
            interrupted,
            elapsed_ms,
            ..
        } => {
            let failed = if *ok || *interrupted { "" } else { "failed: " };
            let cut = if *truncated { ", cut" } else { "" };
            let after = if *interrupted {
                String::new()
            } else {
                format!("   ({elapsed_ms} ms{cut})")
            };
            (
                "observation",
                format!("{failed}{}{after}", shortened(output.trim_end())),
            )
        }
        Event::Usage { .. } | Event::Answer { .. } => return None,
    };
    let indent = format!("\n{:NAMES$}", "");
    Some(named(name, &text.replace('\n', &indent)))
}

/// A line with its name in front: `done         2 steps`.
pub fn named(name: &str, text: &str) -> String {
    format!("{name:NAMES$}{text}")
}

/// A single text as it is, such as a query; other arguments as JSON.
fn arguments_text(arguments: &Value) -> String {
    let only = arguments.as_object().filter(|fields| fields.len() == 1);
    let only = only.and_then(|fields| fields.values().next());
    match only.and_then(Value::as_str) {
        Some(text) => text.trim_end().to_owned(),
        None => arguments.to_string(),
    }
}

fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS) else {
        return text.to_owned();
    };
    format!(
        "{} … ({} characters in all: --json)",
        &text[..end],
        text.chars().count()
    )
}

/// Why an execution ended that did not end with an answer: `stopped: step limit of 20`.
pub fn stopped(end: End, limits: Option<&Limits>) -> Option<String> {
    let limit = |name: &str, most: Option<String>| match most {
        Some(most) => format!("stopped: {name} limit of {most}"),
        None => format!("stopped: {name} limit"),
    };
    Some(match end {
        End::Answered => return None,
        End::StepLimit => limit("step", limits.map(|limits| limits.steps.to_string())),
        End::TimeLimit => limit("time", limits.map(|limits| format!("{} s", limits.seconds))),
        End::TokenLimit => limit("token", limits.map(|limits| limits.tokens.to_string())),
        // Which of the two it was, the lock or the agent's own limit, is not told.
        End::SpendLimit => limit("spend", None),
        End::Malformed => "stopped: the model twice gave no valid step".to_owned(),
        End::ContextFull => {
            "stopped: what must be kept does not fit into the model's context".to_owned()
        }
    })
}

/// Whether an execution that ended so has what it was for, be it in part.
pub fn is_result(end: End) -> bool {
    !matches!(end, End::Malformed | End::ContextFull)
}

/// How the end is called in events.
pub fn end_name(end: End) -> Value {
    serde_json::to_value(end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Vec<Event> {
        vec![
            Event::Usage {
                seq: 1,
                step: 1,
                tokens_in: 200,
                tokens_out: 20,
            },
            Event::Thought {
                seq: 2,
                text: "I need revenue\nby month.".into(),
            },
            Event::Action {
                seq: 3,
                step: 1,
                tool: "sql".into(),
                arguments: json!({"query": "SELECT 1"}),
            },
            Event::Observation {
                seq: 4,
                action: 3,
                tool: "sql".into(),
                ok: true,
                output: "July 120400.00".into(),
                truncated: false,
                interrupted: false,
                elapsed_ms: 12,
            },
            Event::Usage {
                seq: 5,
                step: 2,
                tokens_in: 80,
                tokens_out: 11,
            },
            Event::Answer {
                seq: 6,
                text: "Q3".into(),
                end: End::Answered,
            },
        ]
    }

    fn output(events: &[Event]) -> Vec<u8> {
        events
            .iter()
            .flat_map(|event| event.to_line().unwrap())
            .collect()
    }

    #[test]
    fn events_are_told_as_documented() {
        let told: Vec<String> = sample().iter().filter_map(event_text).collect();
        let expected = [
            "thought      I need revenue\n             by month.",
            "action       sql  SELECT 1",
            "observation  July 120400.00   (12 ms)",
        ];
        assert_eq!(told, expected);
        let observed = |ok, truncated, interrupted, output: &str| {
            event_text(&Event::Observation {
                seq: 2,
                action: 1,
                tool: "sql".into(),
                ok,
                output: output.into(),
                truncated,
                interrupted,
                elapsed_ms: 5,
            })
            .unwrap()
        };
        assert_eq!(
            observed(false, false, false, "no"),
            "observation  failed: no   (5 ms)"
        );
        assert_eq!(
            observed(true, true, false, "much"),
            "observation  much   (5 ms, cut)"
        );
        assert_eq!(
            observed(false, false, true, "interrupted: x"),
            "observation  interrupted: x"
        );
        assert!(
            observed(true, false, false, &"é".repeat(9_000)).contains("(9000 characters in all")
        );
        let two = json!({"a": 1, "b": "x"});
        assert_eq!(arguments_text(&two), two.to_string());
    }

    #[test]
    fn an_execution_is_counted_by_its_events() {
        let execution = Execution::read(&output(&sample())).unwrap();
        assert_eq!(execution.summary(), "2 steps, 1 tool call, 311 tokens");
        assert_eq!((execution.answer.as_str(), execution.events), ("Q3", 6));
        for (bad, problem) in [
            (output(&sample()[..5]), "there is no answer"),
            (
                [output(&sample()), b"{".to_vec()].concat(),
                "something follows the answer",
            ),
            (output(&sample()[1..]), "seq does not count on"),
            (b"Hello".to_vec(), "there is no answer"),
        ] {
            let refused = Execution::read(&bad).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
    }

    #[test]
    fn an_early_end_is_said_with_its_limit() {
        let limits = Limits::default();
        let said = |end| stopped(end, Some(&limits));
        assert_eq!(said(End::Answered), None);
        assert_eq!(said(End::StepLimit).unwrap(), "stopped: step limit of 20");
        assert_eq!(
            said(End::TimeLimit).unwrap(),
            "stopped: time limit of 600 s"
        );
        assert_eq!(
            stopped(End::StepLimit, None).unwrap(),
            "stopped: step limit"
        );
        assert!(is_result(End::SpendLimit) && !is_result(End::Malformed));
        assert_eq!(end_name(End::ContextFull), "context_full");
    }
}
