//! Asking a person at a terminal.

use std::io::{self, Write};
use std::os::fd::AsFd;

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::{is_terminal_stderr, is_terminal_stdin};
use nix::errno::Errno;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::line::{Line, Step};
use super::refusal;

/// Characters of a visible line that are shown: it must not wrap, or it could not be erased.
const SHOWN_CHARS: usize = 60;

/// A person who types on stdin and reads stderr; stdout may go elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Terminal(());

impl Terminal {
    /// The terminal, where there is one on both sides.
    pub fn find() -> Option<Self> {
        (is_terminal_stdin() && is_terminal_stderr()).then_some(Self(()))
    }

    /// Asks for a line that is not shown.
    pub fn ask_hidden(self, prompt: &str) -> Result<Zeroizing<String>, CommandError> {
        let line = read_line(prompt, false);
        self.show("\n")?;
        line
    }

    /// Asks for a line that is shown while it is typed and erased afterwards.
    pub fn ask_erased(self, prompt: &str) -> Result<Zeroizing<String>, CommandError> {
        let line = read_line(prompt, true);
        self.show("\r\x1b[K")?;
        line
    }

    /// Shows text as it is. It may be secret: a terminal is the only place where it goes.
    pub fn show(self, text: &str) -> Result<(), CommandError> {
        let mut stderr = io::stderr().lock();
        stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush())
            .map_err(|error| CommandError::file("write to the terminal", &error))
    }
}

/// The terminal without echo and without signals by key, until dropped: Ctrl-C must not leave it without echo.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> Result<Self, Errno> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG | LocalFlags::IEXTEN);
        quiet.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        quiet.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _terminal_is_gone = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

fn read_line(prompt: &str, visible: bool) -> Result<Zeroizing<String>, CommandError> {
    let failed = |errno: Errno| CommandError::file("read from the terminal", &errno.into());
    let terminal = Terminal(());
    let _quiet = Quiet::begin().map_err(failed)?;
    terminal.show(prompt)?;
    let mut line = Line::new();
    loop {
        // Not by way of std's buffer, which nobody wipes.
        let mut byte = [0];
        match nix::unistd::read(io::stdin().as_fd(), &mut byte) {
            Ok(0) => return Err(closed()),
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(failed(errno)),
        }
        match line.push(byte[0]) {
            Step::More if visible => terminal.show(&redrawn(prompt, line.text()))?,
            Step::More => {}
            Step::Done => {
                return line.finish().ok_or_else(|| {
                    refusal("SECRET_UNUSABLE", "what was typed is no UTF-8 text")
                        .with_hint("check the terminal's encoding")
                });
            }
            Step::Interrupted => {
                return Err(CommandError::new(
                    ExitCode::Interrupted,
                    "INTERRUPTED",
                    "given up",
                ));
            }
            Step::Closed => return Err(closed()),
            Step::TooLong => {
                return Err(refusal("SECRET_UNUSABLE", "that is too long")
                    .with_hint("give at most 4096 bytes"));
            }
        }
    }
}

fn closed() -> CommandError {
    refusal("INPUT_ENDED", "the input ended before an answer")
        .with_hint("type the answer, then Enter")
}

fn redrawn(prompt: &str, text: &str) -> Zeroizing<String> {
    let hidden = text.chars().count().saturating_sub(SHOWN_CHARS);
    let start = text
        .char_indices()
        .nth(hidden)
        .map_or(text.len(), |(at, _)| at);
    Zeroizing::new(format!("\r\x1b[K{prompt}{}", &text[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_shows_its_end() {
        assert_eq!(redrawn("> ", "ab").as_str(), "\r\x1b[K> ab");
        let long = format!("é{}", "x".repeat(SHOWN_CHARS));
        assert_eq!(
            redrawn("> ", &long).as_str(),
            format!("\r\x1b[K> {}", "x".repeat(SHOWN_CHARS))
        );
        assert_eq!(redrawn("> ", "").as_str(), "\r\x1b[K> ");
    }
}
