//! What of a conversation fits into the model's context.

use serde_json::Value;

use super::conversation::Conversation;
use super::messages::{Draft, of_turn};

/// Bytes of JSON that are taken for one token.
const BYTES_PER_TOKEN: u64 = 3;
/// What a chat template adds to each message.
const TOKENS_PER_MESSAGE: u64 = 4;
/// Kept free for the reply, unless `num_predict` asks otherwise; of small contexts at most a quarter.
const REPLY_TOKENS: u64 = 2048;
/// Tokens of the note that turns were left out.
const NOTE_TOKENS: u64 = 32;
/// The estimate as it is, in per cent, and the most it is corrected to.
const EXACT: u64 = 100;
const MOST_SCALE: u64 = 1000;

/// How many tokens the prompt may have; `asked` is `num_predict`.
pub(super) fn prompt_tokens(context_tokens: u32, asked: Option<u64>) -> u64 {
    let context = u64::from(context_tokens);
    let reply = match asked {
        Some(asked) => asked.min(context / 2),
        None => REPLY_TOKENS.min(context / 4),
    };
    context - reply
}

/// Fits conversations, and learns how far its estimate is off. It is only ever corrected upwards.
#[derive(Debug)]
pub(super) struct Fit {
    scale: u64,
    /// The estimate of the last request, before the correction.
    last: u64,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            scale: EXACT,
            last: 0,
        }
    }
}

impl Fit {
    /// The model read this many tokens for the last request.
    pub(super) fn read(&mut self, tokens: u64) {
        if let Some(scale) = tokens.saturating_mul(EXACT).checked_div(self.last) {
            self.scale = self.scale.max(scale.saturating_add(1)).min(MOST_SCALE);
        }
    }

    /// The last request was too long, by the server's count or without one.
    pub(super) fn exceeded(&mut self, needed: Option<u64>) {
        let half_more = self.scale + self.scale / 2;
        match needed {
            Some(needed) if needed.saturating_mul(EXACT) > self.last * self.scale => {
                self.read(needed);
            }
            _ => self.scale = half_more.min(MOST_SCALE),
        }
    }

    /// Tokens of the last request, estimated.
    pub(super) fn asked(&self) -> u64 {
        self.last * self.scale / EXACT
    }

    /// The messages of a request, or `None` where what must be kept does not fit: system prompt, task, tools and the newest
    /// turn. The outputs in older turns are left out first, oldest first, then those turns; the text says what is missing. A
    /// single turn's outputs get at most half of what there is.
    pub(super) fn fit(
        &mut self,
        draft: &Draft,
        conversation: &Conversation,
        tools: &[Value],
        budget: u64,
    ) -> Option<Vec<Value>> {
        let budget = budget * EXACT / self.scale;
        let mut frame = draft.head(None);
        draft.finish(&mut frame);
        let fixed = tokens(&frame) + tokens(tools);
        let room = budget.checked_sub(fixed)?;
        let (turns, left_out, used) = fit_turns(conversation, draft.constrained, room)?;

        self.last = fixed + used;
        let mut messages = draft.head(left_out);
        messages.extend(turns);
        draft.finish(&mut messages);
        Some(messages)
    }
}

type Fitted = (Vec<Value>, Option<(u32, u32)>, u64);

fn fit_turns(conversation: &Conversation, constrained: bool, room: u64) -> Option<Fitted> {
    let turns = conversation.turns();
    let Some((newest, older)) = turns.split_last() else {
        return Some((Vec::new(), None, 0));
    };
    let share = |tokens: u64, calls: usize| {
        usize::try_from(tokens * BYTES_PER_TOKEN).unwrap_or(usize::MAX) / calls.max(1)
    };
    let mut kept: Vec<(Vec<Value>, u64)> = turns
        .iter()
        .map(|turn| {
            sized(of_turn(
                turn,
                constrained,
                share(room / 2, turn.calls.len()),
            ))
        })
        .collect();
    let mut used: u64 = kept.iter().map(|(_, tokens)| tokens).sum();

    for (turn, full) in older.iter().zip(&mut kept) {
        if used <= room {
            break;
        }
        let short = sized(of_turn(turn, constrained, 0));
        if short.1 < full.1 {
            used -= full.1 - short.1;
            *full = short;
        }
    }
    let mut dropped = 0;
    if used > room {
        used += NOTE_TOKENS;
        while used > room && dropped < older.len() {
            used -= kept[dropped].1;
            dropped += 1;
        }
    }
    if used > room {
        let others = used - kept[older.len()].1;
        let bare = sized(of_turn(newest, constrained, 0));
        let left = room.checked_sub(others + bare.1)?;
        let short = sized(of_turn(
            newest,
            constrained,
            share(left / 2, newest.calls.len()),
        ));
        let newest = if others + short.1 <= room {
            short
        } else {
            bare
        };
        used = others + newest.1;
        kept[older.len()] = newest;
    }
    let left_out = dropped
        .checked_sub(1)
        .map(|last| (turns[0].step, turns[last].step));
    let messages = kept.drain(dropped..).flat_map(|(messages, _)| messages);
    Some((messages.collect(), left_out, used))
}

fn sized(messages: Vec<Value>) -> (Vec<Value>, u64) {
    let tokens = tokens(&messages);
    (messages, tokens)
}

/// Most vocabularies need fewer for usual text, and more for digits and signs.
fn tokens(messages: &[Value]) -> u64 {
    messages
        .iter()
        .map(|message| message.to_string().len() as u64 / BYTES_PER_TOKEN + TOKENS_PER_MESSAGE)
        .sum()
}
