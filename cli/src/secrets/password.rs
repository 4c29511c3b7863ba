//! Where a wallet's password comes from.

use std::path::PathBuf;

use aitbc_common::runtime::errors::CommandError;
use clap::Args;
use zeroize::Zeroizing;

use super::{PASSWORD_VARIABLE, Terminal, read_file, refusal};

/// The options of commands that need a password.
#[derive(Debug, Clone, Args)]
pub struct PasswordOptions {
    /// File whose first line is the password [env: AITBC_WALLET_PASSWORD, the password itself] [default: ask]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Where a password comes from. That there is one is known before anything is made.
#[derive(Debug)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// The environment.
    Variable(Zeroizing<String>),
    /// A person.
    Terminal(Terminal),
}

impl PasswordOptions {
    /// The file where one is named, else the environment, else a person; without any of them it refuses.
    pub fn source(&self) -> Result<PasswordSource, CommandError> {
        if let Some(path) = &self.password_file {
            return Ok(PasswordSource::File(path.clone()));
        }
        match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => return Ok(PasswordSource::Variable(Zeroizing::new(password))),
            Err(std::env::VarError::NotPresent) => {}
            Err(std::env::VarError::NotUnicode(_)) => {
                return Err(refusal(
                    "PASSWORD_UNUSABLE",
                    format!("{PASSWORD_VARIABLE} is no UTF-8 text"),
                )
                .with_hint("give the password in a file: --password-file FILE"));
            }
        }
        Terminal::find()
            .map(PasswordSource::Terminal)
            .ok_or_else(|| {
                refusal(
                    "NO_TERMINAL",
                    "there is no terminal to ask for the password",
                )
                .with_hint(format!(
                    "set {PASSWORD_VARIABLE}, or name a file: --password-file FILE"
                ))
            })
    }
}

impl PasswordSource {
    /// The password of something that exists; `of` names it for a person.
    pub fn existing(&self, of: &str) -> Result<Zeroizing<String>, CommandError> {
        let password = match self {
            Self::Terminal(terminal) => terminal.ask_hidden(&format!("Password of {of}: "))?,
            other => other.given()?,
        };
        not_empty(password)
    }

    /// The password for something new; a person types it twice.
    pub fn chosen(&self) -> Result<Zeroizing<String>, CommandError> {
        let Self::Terminal(terminal) = self else {
            return not_empty(self.given()?);
        };
        let password = not_empty(terminal.ask_hidden("New password: ")?)?;
        if *terminal.ask_hidden("Repeat: ")? == *password {
            return Ok(password);
        }
        Err(
            refusal("PASSWORD_MISMATCH", "the two passwords are not the same")
                .with_hint("nothing was made; try again"),
        )
    }

    fn given(&self) -> Result<Zeroizing<String>, CommandError> {
        match self {
            Self::File(path) => {
                let text = read_file(path)?;
                let line = text.split('\n').next().unwrap_or_default();
                let line = line.strip_suffix('\r').unwrap_or(line);
                Ok(Zeroizing::new(line.to_owned()))
            }
            Self::Variable(password) => Ok(password.clone()),
            Self::Terminal(_) => unreachable!("a person was asked before"),
        }
    }
}

fn not_empty(password: Zeroizing<String>) -> Result<Zeroizing<String>, CommandError> {
    if password.is_empty() {
        return Err(
            refusal("PASSWORD_EMPTY", "the password is empty").with_hint(format!(
                "choose one; without a terminal: {PASSWORD_VARIABLE}, or --password-file FILE"
            )),
        );
    }
    Ok(password)
}
