//! How far an execution is, by its events.

use aitbc_common::agents::{End, Event, Limits};

/// A step that is not valid is asked for once more.
const CHATS_PER_STEP: u32 = 2;
/// This many steps in a row that are not valid end an execution.
const MALFORMED_STEPS: u32 = 2;

/// Each reply of the model adds a usage, and each valid one besides an answer at least an action: a step with as many
/// usages as it may have and no action was not valid.
#[derive(Debug, Default)]
pub(super) struct Progress {
    seq: u64,
    /// The step of the last reply; 0 before the first.
    step: u32,
    /// Its replies.
    chats: u32,
    /// Whether it called tools.
    acted: bool,
    /// Steps in a row before it that were not valid.
    malformed: u32,
    tokens: u64,
    bytes: u64,
    answered: bool,
}

impl Progress {
    pub(super) fn apply(&mut self, event: &Event) {
        self.seq = event.seq();
        let bytes = event.to_line().map_or(0, |line| line.len() as u64);
        self.bytes = self.bytes.saturating_add(bytes);
        match event {
            Event::Usage {
                step,
                tokens_in,
                tokens_out,
                ..
            } => {
                self.tokens = self
                    .tokens
                    .saturating_add(*tokens_in)
                    .saturating_add(*tokens_out);
                if *step != self.step {
                    self.malformed = self.malformed_in_a_row();
                    self.step = *step;
                    self.chats = 0;
                    self.acted = false;
                }
                self.chats = self.chats.saturating_add(1);
            }
            Event::Action { .. } => self.acted = true,
            Event::Answer { .. } => self.answered = true,
            Event::Thought { .. } | Event::Observation { .. } => {}
        }
    }

    /// `seq` of the last event.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// The step of the last reply.
    pub(super) fn step(&self) -> u32 {
        self.step
    }

    /// Tokens so far, in and out.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Bytes of the output so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the last event is an answer.
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// The step that the next reply belongs to.
    pub(super) fn next_step(&self) -> u32 {
        if self.acted || self.chats >= CHATS_PER_STEP || self.step == 0 {
            self.step.saturating_add(1)
        } else {
            self.step
        }
    }

    /// Why there is no next step, if so.
    pub(super) fn end(&self, limits: &Limits) -> Option<End> {
        if self.malformed_in_a_row() >= MALFORMED_STEPS {
            Some(End::Malformed)
        } else if self.next_step() > limits.steps {
            Some(End::StepLimit)
        } else if self.tokens >= limits.tokens {
            Some(End::TokenLimit)
        } else {
            None
        }
    }

    fn malformed_in_a_row(&self) -> u32 {
        match (self.acted, self.chats >= CHATS_PER_STEP) {
            (true, _) => 0,
            (false, true) => self.malformed + 1,
            (false, false) => self.malformed,
        }
    }
}
