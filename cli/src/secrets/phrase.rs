//! Seed phrases: shown once on a terminal or written to a new file, and read back.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::wallet::{SeedPhrase, SeedPhraseError, is_seed_word, nearest_seed_word};
use zeroize::Zeroizing;

use super::{SEED_PHRASE_FILE_VARIABLE, Terminal, check_new_file, read_file, refusal, write_file};

/// Words of a row, on the terminal and on paper.
const WORDS_PER_ROW: usize = 6;
/// Words of the longest seed phrase.
const MAX_WORDS: usize = 24;

/// Where a new seed phrase goes. That there is such a place is known before anything is made.
#[derive(Debug)]
pub enum PhraseSink {
    /// A file that does not exist yet.
    File(PathBuf),
    /// A person.
    Terminal(Terminal),
}

/// The file where one is given or set in the environment.
pub fn given_file(given: Option<&Path>) -> Option<PathBuf> {
    let variable = || std::env::var_os(SEED_PHRASE_FILE_VARIABLE).filter(|path| !path.is_empty());
    given
        .map(ToOwned::to_owned)
        .or_else(|| variable().map(PathBuf::from))
}

impl PhraseSink {
    /// The file where one is given or set in the environment, else a person; without any of them it refuses.
    pub fn find(given: Option<&Path>) -> Result<Self, CommandError> {
        if let Some(path) = given_file(given) {
            check_new_file(&path)?;
            return Ok(Self::File(path));
        }
        Terminal::find().map(Self::Terminal).ok_or_else(|| {
            refusal(
                "NO_TERMINAL",
                "there is no terminal to show the seed phrase on",
            )
            .with_hint("name a new file for it: --seed-phrase-file FILE")
        })
    }
}

/// Writes the words to a new file of mode 0600.
pub fn write(path: &Path, phrase: &SeedPhrase) -> Result<(), CommandError> {
    let mut text = phrase.text();
    text.push('\n');
    write_file(path, text.as_bytes())
}

/// Shows the words in numbered rows.
pub fn show(terminal: Terminal, phrase: &SeedPhrase) -> Result<(), CommandError> {
    terminal.show("Write these 24 words on paper, in order. They are not shown again; whoever has them has the money, without them it is lost.\n")?;
    terminal.show(&rows(phrase))
}

fn rows(phrase: &SeedPhrase) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1_024));
    let words: Vec<&str> = phrase.words().collect();
    for (row, words) in words.chunks(WORDS_PER_ROW).enumerate() {
        for (column, word) in words.iter().enumerate() {
            let number = row * WORDS_PER_ROW + column + 1;
            let last = column + 1 == words.len();
            let width = if last { 0 } else { 8 };
            write!(text, "  {number:>2} {word:<width$}").expect("a string takes any text");
        }
        text.push('\n');
    }
    text
}

/// Reads a seed phrase from the file where one is given or set in the environment, else from a person.
pub fn read(given: Option<&Path>) -> Result<SeedPhrase, CommandError> {
    let text = match given_file(given) {
        Some(path) => read_file(&path)?,
        None => ask()?,
    };
    SeedPhrase::parse(&text).map_err(|error| {
        let unknown = match error {
            SeedPhraseError::UnknownWord(number) => text.split_whitespace().nth(number - 1),
            _ => None,
        };
        let hint = match unknown.and_then(nearest_seed_word) {
            Some(near) => format!("it may be meant to be {near}; compare with your copy"),
            None => "compare with your copy, word by word".to_owned(),
        };
        refusal("SEED_PHRASE_INVALID", error.to_string()).with_hint(hint)
    })
}

/// The passphrase in the file that is named; empty without one.
pub fn passphrase(file: Option<&Path>) -> Result<Zeroizing<String>, CommandError> {
    let Some(path) = file else {
        return Ok(Zeroizing::new(String::new()));
    };
    let text = read_file(path)?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}

/// Asks for words in rows of any length; a row with an unknown word is asked for again.
fn ask() -> Result<Zeroizing<String>, CommandError> {
    let terminal = Terminal::find().ok_or_else(|| {
        refusal(
            "NO_TERMINAL",
            "there is no terminal to ask for the seed phrase",
        )
        .with_hint("name the file that it is in: --seed-phrase-file FILE")
    })?;
    terminal.show(
        "Type the words, several in a row; each row is erased after Enter. An empty row ends a phrase of less than 24 words.\n",
    )?;
    let mut words = Zeroizing::new(String::with_capacity(2 * 4_096));
    let mut count = 0;
    while count < MAX_WORDS {
        let row = terminal.ask_erased(&format!("from word {}: ", count + 1))?;
        let typed = row.split_whitespace().count();
        if typed == 0 {
            break;
        }
        if let Some(problem) = unknown_word(&row, count) {
            terminal.show(&problem)?;
            continue;
        }
        if count + typed > MAX_WORDS {
            terminal.show("more than 24 words; type this row again\n")?;
            continue;
        }
        words.push_str(&row);
        words.push(' ');
        count += typed;
        terminal.show(&format!("{count} words\n"))?;
    }
    Ok(words)
}

/// What to tell about the first word of a row that is in no list; `before` words came before the row.
fn unknown_word(row: &str, before: usize) -> Option<Zeroizing<String>> {
    let (index, word) = row
        .split_whitespace()
        .enumerate()
        .find(|(_, word)| !is_seed_word(&word.to_lowercase()))?;
    let number = before + index + 1;
    let near = match nearest_seed_word(word) {
        Some(near) => format!("; {near}?"),
        None => String::new(),
    };
    Some(Zeroizing::new(format!(
        "word {number} is not in the list{near} Type this row again\n"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_shown_in_four_numbered_rows() {
        let phrase = SeedPhrase::from_entropy(&[0; 32]);
        let rows = rows(&phrase);
        let lines: Vec<&str> = rows.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0],
            "   1 abandon    2 abandon    3 abandon    4 abandon    5 abandon    6 abandon"
        );
        assert!(lines[3].ends_with("24 art"));
    }

    #[test]
    fn a_mistyped_word_is_named_by_its_number() {
        assert_eq!(unknown_word("Test junk", 6), None);
        let problem = unknown_word("test jnuk", 6).unwrap();
        assert!(
            problem.contains("word 8") && problem.contains("junk"),
            "{}",
            *problem
        );
    }
}
