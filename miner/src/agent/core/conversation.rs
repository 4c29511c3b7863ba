//! What was said and done, by the events.

use aitbc_common::agents::Event;
use serde_json::Value;

use super::steps::ToolCall;

/// A call and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// `seq` of its action.
    pub(super) action: u64,
    pub(super) tool: String,
    pub(super) arguments: Value,
    pub(super) answer: Option<Answer>,
}

#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// `seq` of its observation.
    pub(super) seq: u64,
    pub(super) ok: bool,
    pub(super) output: String,
}

/// A valid step of the model: what it said, and its calls.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) step: u32,
    pub(super) thought: Option<String>,
    pub(super) calls: Vec<Call>,
}

#[derive(Debug, Default)]
pub(super) struct Conversation {
    turns: Vec<Turn>,
    /// A thought whose actions are still to come. One without actions is nothing to go on from.
    thought: Option<String>,
    last_text: String,
}

impl Conversation {
    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Usage { .. } => self.thought = None,
            Event::Thought { text, .. } => {
                self.said(text);
                self.thought = Some(text.clone());
            }
            Event::Action {
                seq,
                step,
                tool,
                arguments,
            } => {
                let call = Call {
                    action: *seq,
                    tool: tool.clone(),
                    arguments: arguments.clone(),
                    answer: None,
                };
                match self.turns.last_mut() {
                    Some(turn) if turn.step == *step && self.thought.is_none() => {
                        turn.calls.push(call);
                    }
                    _ => self.turns.push(Turn {
                        step: *step,
                        thought: self.thought.take(),
                        calls: vec![call],
                    }),
                }
            }
            Event::Observation {
                seq,
                action,
                ok,
                output,
                ..
            } => {
                let call = self
                    .turns
                    .iter_mut()
                    .rev()
                    .flat_map(|turn| turn.calls.iter_mut().rev())
                    .find(|call| call.action == *action);
                if let Some(call) = call {
                    call.answer = Some(Answer {
                        seq: *seq,
                        ok: *ok,
                        output: output.clone(),
                    });
                }
            }
            Event::Answer { .. } => {}
        }
    }

    /// Notes what the model said, for an execution that ends without an answer.
    pub(super) fn said(&mut self, text: &str) {
        if !text.trim().is_empty() {
            text.clone_into(&mut self.last_text);
        }
    }

    /// The last words of the model; empty if there are none.
    pub(super) fn last_text(&self) -> &str {
        &self.last_text
    }

    pub(super) fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// Actions without observation, and their tools.
    pub(super) fn open_calls(&self) -> Vec<(u64, String)> {
        self.turns
            .iter()
            .flat_map(|turn| &turn.calls)
            .filter(|call| call.answer.is_none())
            .map(|call| (call.action, call.tool.clone()))
            .collect()
    }

    /// Tool and arguments of an action without observation.
    pub(super) fn open_call(&self, action: u64) -> Option<(String, Value)> {
        self.newest_first()
            .find(|call| call.action == action && call.answer.is_none())
            .map(|call| (call.tool.clone(), call.arguments.clone()))
    }

    /// How often the same call was made, one after the other, just before.
    pub(super) fn calls_in_a_row(&self, next: &ToolCall) -> usize {
        self.newest_first()
            .take_while(|call| call.tool == next.tool && call.arguments == next.arguments)
            .count()
    }

    /// How often the newest call was made, one after the other.
    pub(super) fn last_call_in_a_row(&self) -> usize {
        let Some(last) = self.newest_first().next() else {
            return 0;
        };
        self.newest_first()
            .take_while(|call| call.tool == last.tool && call.arguments == last.arguments)
            .count()
    }

    fn newest_first(&self) -> impl Iterator<Item = &Call> {
        self.turns
            .iter()
            .rev()
            .flat_map(|turn| turn.calls.iter().rev())
    }
}
