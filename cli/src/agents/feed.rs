//! The events of an execution, out of its output as it arrives.

use aitbc_common::agents::{Event, EventError, MAX_EVENT_BYTES};
use aitbc_common::hash::{Hash, sha256};

/// An event that was not shown before.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The event.
    pub event: Event,
    /// Its line, with the line feed.
    pub bytes: Vec<u8>,
    /// It and what follows take the place of what was shown from its `seq` on.
    pub replaces: bool,
}

/// Reads the events of one attempt after the other: a miner that takes over repeats what was stored, byte for byte, and that is
/// not shown again.
#[derive(Debug, Default)]
pub struct Feed {
    /// The beginning of a line whose end has not arrived.
    pending: Vec<u8>,
    /// Whole lines of the attempt so far.
    lines: u64,
    /// The lines that were shown.
    shown: Vec<Hash>,
    problem: Option<EventError>,
}

impl Feed {
    /// Another attempt begins.
    pub fn restart(&mut self) {
        self.pending.clear();
        self.lines = 0;
        self.problem = None;
    }

    /// Why the attempt's output is not that of an execution; then nothing more of it is read.
    pub fn problem(&self) -> Option<&EventError> {
        self.problem.as_ref()
    }

    /// Takes the next bytes of the attempt's output; what is new in them.
    pub fn push(&mut self, data: &[u8]) -> Vec<Line> {
        let mut new = Vec::new();
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            if self.problem.is_some() {
                break;
            }
            self.pending.extend_from_slice(part);
            if self.pending.ends_with(b"\n") {
                let bytes = std::mem::take(&mut self.pending);
                match self.line(bytes) {
                    Ok(line) => new.extend(line),
                    Err(problem) => self.problem = Some(problem),
                }
            } else if self.pending.len() >= MAX_EVENT_BYTES {
                self.problem = Some(EventError::TooLong {
                    line: self.lines + 1,
                });
            }
        }
        new
    }

    fn line(&mut self, bytes: Vec<u8>) -> Result<Option<Line>, EventError> {
        let before = usize::try_from(self.lines).unwrap_or(usize::MAX);
        self.lines += 1;
        let event = Event::read_line(self.lines, &bytes)?;
        if event.seq() != self.lines {
            return Err(EventError::Order {
                line: self.lines,
                problem: "seq does not count on",
            });
        }
        let hash = sha256(&bytes);
        if self.shown.get(before) == Some(&hash) {
            return Ok(None);
        }
        let replaces = before < self.shown.len();
        self.shown.truncate(before);
        self.shown.push(hash);
        Ok(Some(Line {
            event,
            bytes,
            replaces,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thought(seq: u64, text: &str) -> Vec<u8> {
        let text = text.to_owned();
        Event::Thought { seq, text }.to_line().unwrap()
    }

    fn texts(lines: &[Line]) -> Vec<(u64, bool)> {
        lines
            .iter()
            .map(|line| (line.event.seq(), line.replaces))
            .collect()
    }

    #[test]
    fn events_are_told_once_they_are_whole_however_they_are_cut() {
        let bytes = [thought(1, "ünï"), thought(2, "b")].concat();
        for size in 1..bytes.len() {
            let mut feed = Feed::default();
            let told: Vec<Line> = bytes
                .chunks(size)
                .flat_map(|part| feed.push(part))
                .collect();
            assert_eq!(texts(&told), [(1, false), (2, false)], "{size}");
            let lines: Vec<u8> = told.into_iter().flat_map(|line| line.bytes).collect();
            assert_eq!(lines, bytes);
        }
    }

    #[test]
    fn the_next_miner_repeats_what_is_not_told_again() {
        let mut feed = Feed::default();
        let torn = [thought(1, "a"), thought(2, "b"), b"{\"event".to_vec()].concat();
        assert_eq!(feed.push(&torn).len(), 2);
        feed.restart();
        let whole = [thought(1, "a"), thought(2, "b"), thought(3, "c")].concat();
        assert_eq!(texts(&feed.push(&whole)), [(3, false)]);
        // One that knew less of it, and went on in its own way.
        feed.restart();
        let other = [thought(1, "a"), thought(2, "x"), thought(3, "c")].concat();
        assert_eq!(texts(&feed.push(&other)), [(2, true), (3, false)]);
    }

    #[test]
    fn what_is_no_event_ends_the_attempt_but_not_the_next() {
        let long = vec![b'x'; MAX_EVENT_BYTES];
        for bad in [&b"hello\n"[..], &thought(2, "gap"), &long] {
            let mut feed = Feed::default();
            assert_eq!(feed.push(bad), []);
            assert!(feed.problem().is_some());
            assert_eq!(feed.push(&thought(1, "a")), []);
            assert!(feed.pending.len() <= MAX_EVENT_BYTES);
            feed.restart();
            assert_eq!(feed.push(&thought(1, "a")).len(), 1);
        }
    }
}
