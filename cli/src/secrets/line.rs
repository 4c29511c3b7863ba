//! Editing one line of input, byte by byte: what is typed is never in a buffer that is not wiped.

use zeroize::{Zeroize, Zeroizing};

use super::MAX_BYTES;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const TAB: u8 = 9;
const CTRL_U: u8 = 21;
const ESCAPE: u8 = 27;
const DELETE: u8 = 127;

/// What a byte did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The line goes on.
    More,
    /// The line is complete.
    Done,
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    Closed,
    /// The line is longer than any secret.
    TooLong,
}

/// A key's escape sequence, which means nothing here: its bytes are no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sequence {
    None,
    Begun,
    Parameters,
}

/// A line as far as it was typed.
#[derive(Debug)]
pub struct Line {
    bytes: Zeroizing<Vec<u8>>,
    sequence: Sequence,
}

impl Line {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(MAX_BYTES)),
            sequence: Sequence::None,
        }
    }

    /// Takes one byte of what a terminal sends.
    pub fn push(&mut self, byte: u8) -> Step {
        match self.sequence {
            Sequence::Begun => {
                self.sequence = if matches!(byte, b'[' | b'O') {
                    Sequence::Parameters
                } else {
                    Sequence::None
                };
                return Step::More;
            }
            Sequence::Parameters => {
                if (0x40..=0x7e).contains(&byte) {
                    self.sequence = Sequence::None;
                }
                return Step::More;
            }
            Sequence::None => {}
        }
        match byte {
            b'\r' | b'\n' => return Step::Done,
            CTRL_C => return Step::Interrupted,
            CTRL_D if self.bytes.is_empty() => return Step::Closed,
            BACKSPACE | DELETE => self.remove_last(),
            CTRL_U => self.bytes.zeroize(),
            ESCAPE => self.sequence = Sequence::Begun,
            TAB => return self.append(b' '),
            0..=31 => {}
            byte => return self.append(byte),
        }
        Step::More
    }

    fn append(&mut self, byte: u8) -> Step {
        // Growing would leave a copy behind.
        if self.bytes.len() == MAX_BYTES {
            return Step::TooLong;
        }
        self.bytes.push(byte);
        Step::More
    }

    fn remove_last(&mut self) {
        while let Some(byte) = self.bytes.pop() {
            let continues = byte & 0b1100_0000 == 0b1000_0000;
            if !continues {
                return;
            }
        }
    }

    /// The text so far; what is not UTF-8 is left out at its end.
    pub fn text(&self) -> &str {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => {
                std::str::from_utf8(&self.bytes[..error.valid_up_to()]).expect("valid up to there")
            }
        }
    }

    /// The whole line; `None` where it is not UTF-8.
    pub fn finish(self) -> Option<Zeroizing<String>> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        Some(Zeroizing::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> (Step, String) {
        let mut line = Line::new();
        let mut step = Step::More;
        for byte in bytes {
            step = line.push(*byte);
            if step != Step::More {
                break;
            }
        }
        (step, line.text().to_owned())
    }

    #[test]
    fn a_line_can_be_corrected() {
        for (bytes, text) in [
            (b"secret\r".as_slice(), "secret"),
            (b"secrex\x7ft\n", "secret"),
            ("é漢\x7f\x08x\r".as_bytes(), "x"),
            (b"\x7f\x7fa\r", "a"),
            (b"wrong\x15right\r", "right"),
            (b"a\x1b[Ab\x1b[1;5Cc\x1bOAd\x1bxe\r", "abcde"),
            (b"a\tb\x01\x07\r", "a b"),
            (b"a\x04\r", "a"),
        ] {
            assert_eq!(typed(bytes), (Step::Done, text.to_owned()), "{bytes:?}");
        }
    }

    #[test]
    fn a_line_can_be_given_up() {
        assert_eq!(typed(b"abc\x03").0, Step::Interrupted);
        assert_eq!(typed(b"\x04").0, Step::Closed);
        assert_eq!(typed(&[b'a'; MAX_BYTES + 1]).0, Step::TooLong);
    }

    #[test]
    fn what_is_no_text_is_no_line() {
        let mut line = Line::new();
        for byte in [b'a', 0xc3] {
            line.push(byte);
        }
        assert_eq!(line.text(), "a");
        assert!(line.finish().is_none());
    }
}
