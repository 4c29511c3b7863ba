//! From token bytes to the text of a stream: whole characters only, and never a part of a stop sequence.

/// Collects bytes until they form whole characters: a token may hold a part of one.
#[derive(Debug, Default)]
pub(super) struct Utf8Buffer {
    incomplete: Vec<u8>,
}

impl Utf8Buffer {
    /// Adds a token's bytes and returns the characters that are now complete. Bytes that can never
    /// become valid turn into U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.incomplete.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.incomplete.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).expect("validated up to here"));
                    let Some(invalid) = error.error_len() else {
                        rest = after;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[invalid..];
                }
            }
        }
        self.incomplete = rest.to_vec();
        text
    }

    /// What is left at the end of the stream: U+FFFD for a character that was never completed.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.incomplete)).into_owned()
    }
}

/// Watches a stream of text for stop sequences. The result does not depend on how the text is cut
/// into pieces, and no part of a stop sequence that matches is ever emitted.
#[derive(Debug)]
pub(super) struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

/// What [`StopMatcher::push`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// Text that is safe to emit (possibly empty); no stop sequence so far.
    Continue(String),
    /// A stop sequence is complete; this is the last text before it.
    Stopped(String),
}

impl StopMatcher {
    /// Empty stop sequences are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds text to the stream.
    pub fn push(&mut self, text: &str) -> Scan {
        self.held.push_str(text);
        if let Some(start) = self.first_match() {
            self.held.truncate(start);
            return Scan::Stopped(std::mem::take(&mut self.held));
        }
        let keep_from = self.held.len() - self.possible_prefix();
        let kept = self.held.split_off(keep_from);
        Scan::Continue(std::mem::replace(&mut self.held, kept))
    }

    /// What was held back when the stream ends without a stop sequence.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Where the match begins that is complete first; of several that end together, the longest.
    fn first_match(&self) -> Option<usize> {
        self.stops
            .iter()
            .filter_map(|stop| {
                self.held
                    .find(stop.as_str())
                    .map(|start| (start + stop.len(), start))
            })
            .min()
            .map(|(_, start)| start)
    }

    /// Length in bytes of the longest end of the held text that may still become a stop sequence.
    fn possible_prefix(&self) -> usize {
        self.held
            .char_indices()
            .map(|(start, _)| &self.held[start..])
            .find(|end| self.stops.iter().any(|stop| stop.starts_with(end)))
            .map_or(0, str::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(ToString::to_string));
        let mut emitted = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Scan::Continue(text) => emitted.push_str(&text),
                Scan::Stopped(text) => return (emitted + &text, true),
            }
        }
        emitted.push_str(&matcher.finish());
        (emitted, false)
    }

    #[test]
    fn stop_sequences_are_found_across_pieces() {
        assert_eq!(
            run(&["END"], &["ab E", "N", "D more"]),
            ("ab ".into(), true)
        );
        assert_eq!(run(&["END"], &["ab E", "N", "x"]), ("ab ENx".into(), false));
        assert_eq!(run(&["END"], &["ab EN"]), ("ab EN".into(), false));
        assert_eq!(
            run(&["\n\n"], &["a\n", "b\n", "\nc"]),
            ("a\nb".into(), true)
        );
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["", "x"], &["ab"]), ("ab".into(), false));
        assert_eq!(run(&[], &["a", "b"]), ("ab".into(), false));
    }

    #[test]
    fn the_stop_sequence_that_is_complete_first_wins() {
        assert_eq!(run(&["abcd", "bc"], &["abcd"]), ("a".into(), true));
        assert_eq!(
            run(&["abcd", "bc"], &["a", "b", "c", "d"]),
            ("a".into(), true)
        );
        assert_eq!(run(&["c", "abc"], &["xabc"]), ("x".into(), true));
    }

    #[test]
    fn a_prefix_of_a_stop_sequence_is_held_back() {
        let mut matcher = StopMatcher::new(["</s>".to_owned()]);
        assert_eq!(matcher.push("hello</"), Scan::Continue("hello".into()));
        assert_eq!(matcher.push("b"), Scan::Continue("</b".into()));
    }

    #[test]
    fn characters_are_whole() {
        let mut buffer = Utf8Buffer::default();
        let bytes = "a😀é".as_bytes();
        assert_eq!(buffer.push(&bytes[..2]), "a");
        assert_eq!(buffer.push(&bytes[2..4]), "");
        assert_eq!(buffer.push(&bytes[4..6]), "😀");
        assert_eq!(buffer.push(&bytes[6..]), "é");
        assert_eq!(buffer.finish(), "");
    }

    #[test]
    fn impossible_bytes_become_replacement_characters() {
        let mut buffer = Utf8Buffer::default();
        assert_eq!(buffer.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(buffer.push(b"\xf0\x9f"), "");
        assert_eq!(buffer.finish(), "\u{fffd}");
        assert_eq!(buffer.finish(), "");
    }

    proptest! {
        #[test]
        fn how_text_is_cut_never_matters(
            text in "[ab\u{e9}]{0,24}",
            stops in proptest::collection::vec("[ab\u{e9}]{1,3}", 0..3),
            cuts in proptest::collection::vec(0usize..30, 0..6),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&text[from..cut]);
                from = cut;
            }
            pieces.push(&text[from..]);
            prop_assert_eq!(run(&stops, &pieces), run(&stops, &[&text]));
        }

        #[test]
        fn valid_text_survives_any_cut(text in "\\PC{0,16}", size in 1usize..5) {
            let mut buffer = Utf8Buffer::default();
            let mut joined: String = text.as_bytes().chunks(size).map(|bytes| buffer.push(bytes)).collect();
            joined.push_str(&buffer.finish());
            prop_assert_eq!(joined, text);
        }
    }
}
