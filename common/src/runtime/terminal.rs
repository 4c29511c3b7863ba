//! Output: results to stdout, everything else to stderr; untrusted text made harmless on terminals; time formats.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;

use super::errors::CommandError;

/// Whether stdout is a terminal.
#[must_use]
pub fn is_terminal_stdout() -> bool {
    io::stdout().is_terminal()
}

/// Whether stderr is a terminal.
#[must_use]
pub fn is_terminal_stderr() -> bool {
    io::stderr().is_terminal()
}

/// Whether stdin is a terminal.
#[must_use]
pub fn is_terminal_stdin() -> bool {
    io::stdin().is_terminal()
}

/// Whether a character could move the cursor, change a terminal's state or reorder the text around it.
fn is_unsafe(c: char) -> bool {
    let bidirectional = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    bidirectional || (c.is_control() && c != '\n' && c != '\t')
}

/// Text with control and bidirectional characters replaced by `\u{…}`; line ends and tabs stay.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            write!(escaped, "{}", c.escape_unicode()).expect("a string takes any text");
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Escapes a byte stream for a terminal, whatever its chunking: a character may be split between chunks.
#[derive(Debug, Default)]
pub struct StreamEscaper {
    pending: Vec<u8>,
}

impl StreamEscaper {
    /// The text that can be shown after these bytes; what is not UTF-8 becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let pending = std::mem::take(&mut self.pending);
        let mut text = String::with_capacity(pending.len());
        let mut rest = pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.pending = after.to_vec();
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &after[bad..];
                }
            }
        }
        escape(&text).into_owned()
    }

    /// What is left of a character that was never completed.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Writes to stdout without a line end and flushes, for text that appears as it comes.
///
/// A closed pipe is the error [`CommandError::is_closed_pipe`], which ends a command quietly.
pub fn print_bytes(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    Ok(stdout.flush()?)
}

/// Writes one line of results to stdout. A closed pipe is the error [`CommandError::is_closed_pipe`].
pub fn print_line(line: impl Display) -> Result<(), CommandError> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Writes one line of prose, progress or hints to stderr; if nobody reads it, nothing is lost.
pub fn note_line(line: impl Display) {
    let mut stderr = anstream::stderr().lock();
    let _unread = writeln!(stderr, "{line}");
}

/// Writes `next: COMMAND` to stderr: what one usually does afterwards.
pub fn note_next(command: impl Display) {
    note_line(format_args!("next: {command}"));
}

fn format_ms(ms: u64, format: &str) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(Timestamp::MAX).strftime(format).to_string()
}

/// Time of day in UTC, `10:00:00.000Z`, of a Unix time in milliseconds.
#[must_use]
pub fn clock_ms(unix_ms: u64) -> String {
    format_ms(unix_ms, "%H:%M:%S.%3fZ")
}

/// Time of day in UTC to the second, `10:00:00Z`, of a Unix time in milliseconds.
#[must_use]
pub fn clock_s(unix_ms: u64) -> String {
    format_ms(unix_ms, "%H:%M:%SZ")
}

/// RFC 3339 in UTC with milliseconds, `2026-11-23T10:00:00.000Z`, of a Unix time in milliseconds.
#[must_use]
pub fn rfc3339_ms(unix_ms: u64) -> String {
    format_ms(unix_ms, "%Y-%m-%dT%H:%M:%S.%3fZ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_shown_not_obeyed() {
        assert_eq!(escape("plain\n\ttext – ünï 漢"), "plain\n\ttext – ünï 漢");
        assert_eq!(escape("\x1b[2Jgone\r\x07"), "\\u{1b}[2Jgone\\u{d}\\u{7}");
        assert_eq!(
            escape("a\u{202e}b\u{2066}c\u{9b}"),
            "a\\u{202e}b\\u{2066}c\\u{9b}"
        );
    }

    #[test]
    fn a_split_character_appears_once_it_is_whole() {
        let mut escaper = StreamEscaper::default();
        let bytes = "é\x1b漢".as_bytes();
        let shown: String = bytes.iter().map(|b| escaper.push(&[*b])).collect();
        assert_eq!(shown + &escaper.finish(), "é\\u{1b}漢");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut escaper = StreamEscaper::default();
        assert_eq!(escaper.push(b"a\xff\xffb\xe6"), "a\u{fffd}\u{fffd}b");
        assert_eq!(escaper.finish(), "\u{fffd}");
        assert_eq!(escaper.finish(), "");
    }

    #[test]
    fn times_have_milliseconds_and_are_utc() {
        assert_eq!(rfc3339_ms(1_795_428_000_007), "2026-11-23T10:00:00.007Z");
        assert_eq!(clock_ms(1_795_428_000_007), "10:00:00.007Z");
        assert_eq!(clock_s(1_795_428_000_007), "10:00:00Z");
        assert!(rfc3339_ms(u64::MAX).starts_with("9999-"));
    }
}
