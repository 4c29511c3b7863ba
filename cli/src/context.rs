//! What every command has at hand: options, settings, the user's files, a connection.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use aitbc_common::genesis::Genesis;
use aitbc_common::hash::Hash;
use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::config::{ClientOptions, ClientSettings, Loaded};
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{Home, Pin, changed_network, check_miner_name};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::terminal::{note_line, note_next};
use aitbc_common::token::Scope;
use serde_json::{Value, json};

use crate::output;

/// Warnings that are kept for one answer, at most; further ones are said on stderr.
const MOST_WARNINGS: usize = 32;

/// What a command has at hand.
#[derive(Debug, Clone)]
pub struct Context {
    /// Whether results and errors are JSON.
    pub json: bool,
    /// The user's files.
    pub home: Home,
    options: ClientOptions,
    /// What cannot be undone any more, whatever becomes of the output.
    done: Arc<Mutex<Option<String>>>,
    /// Where warnings go instead of stderr.
    warnings: Option<Arc<Mutex<Vec<Value>>>>,
}

impl Context {
    /// For a command line's options.
    pub fn new(options: &GlobalOptions) -> Result<Self, CommandError> {
        Ok(Self {
            json: options.json,
            home: Home::discover()?,
            options: ClientOptions {
                coordinator: options.coordinator.clone(),
                ca_certificate: options.ca_certificate.clone(),
                miner: None,
            },
            done: Arc::default(),
            warnings: None,
        })
    }

    /// For tests: files below a folder, a coordinator's address, results as JSON.
    #[cfg(test)]
    pub fn for_test(folder: &std::path::Path, coordinator: std::net::SocketAddr) -> Self {
        Self {
            json: true,
            home: Home::below(folder),
            options: ClientOptions {
                coordinator: Some(coordinator.to_string()),
                ..ClientOptions::default()
            },
            done: Arc::default(),
            warnings: None,
        }
    }

    /// The same for one more request of a process that answers many: its warnings are kept for its answer
    /// ([`Context::warnings`]).
    pub fn for_request(&self) -> Self {
        Self {
            done: Arc::default(),
            warnings: Some(Arc::default()),
            ..self.clone()
        }
    }

    /// The warnings that were kept so far.
    pub fn warnings(&self) -> Vec<Value> {
        self.warnings.as_ref().map_or_else(Vec::new, |kept| {
            kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// The settings: defaults, file, environment, options.
    pub fn settings(&self) -> Result<Loaded<ClientSettings>, CommandError> {
        ClientSettings::load(&self.home, self.options.clone())
    }

    /// Where the coordinator is.
    pub fn coordinator(&self) -> Result<CoordinatorUrl, CommandError> {
        self.settings()?.value.coordinator_url()
    }

    /// Connects as this user, to the network that is pinned for the address.
    pub async fn connect(&self, scope: Scope) -> Result<Connection, CommandError> {
        self.connect_as(self.home.identity()?, scope).await
    }

    /// Connects as another identity, to the network that is pinned for the address.
    pub async fn connect_as(
        &self,
        identity: Identity,
        scope: Scope,
    ) -> Result<Connection, CommandError> {
        let connection = Connection::open(&self.coordinator()?, Arc::new(identity), scope).await?;
        self.check_pin(&connection)?;
        Ok(connection)
    }

    /// The name of this user's miner: as given, else as set.
    pub fn miner_name(&self, given: Option<&str>) -> Result<String, CommandError> {
        let name = match given {
            Some(name) => name.to_owned(),
            None => self.settings()?.value.miner,
        };
        check_miner_name(&name)?;
        Ok(name)
    }

    fn check_pin(&self, connection: &Connection) -> Result<(), CommandError> {
        let (url, chain_id, service_key) = (
            &connection.url,
            connection.chain_id(),
            connection.service_key(),
        );
        match self.home.pin(url, chain_id, service_key)? {
            Pin::Same | Pin::New => Ok(()),
            // Development networks are made anew all the time; what can pose as one on loopback is this user's anyway.
            Pin::Changed {
                chain_id: pinned, ..
            } if url.is_loopback() => {
                self.home.repin(url, chain_id, service_key)?;
                let what = restored(&self.home, connection, &pinned)?
                    .unwrap_or_else(|| "serves another network than before".to_owned());
                self.warn(
                    "NETWORK_CHANGED",
                    format_args!("{} {what}; it is remembered now", url.host_and_port()),
                );
                Ok(())
            }
            Pin::Changed {
                chain_id: pinned,
                service_key: pinned_key,
            } => {
                let error = changed_network(url, (&pinned, &pinned_key), (chain_id, service_key));
                Err(match restored(&self.home, connection, &pinned)? {
                    Some(what) => CommandError {
                        message: format!("{url} {what}"),
                        ..error
                    },
                    None => error,
                })
            }
        }
    }

    /// Prints a result: the document where JSON was asked for, else the text.
    pub fn result(
        &self,
        document: &serde_json::Value,
        text: impl Display,
    ) -> Result<(), CommandError> {
        output::result(self.json, document, text).map_err(|error| self.though_done(error))
    }

    /// Notes that something is done for good: an error of the output then says so, or it would be done again.
    pub fn done(&self, what: impl Display) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done = Some(what.to_string());
    }

    fn though_done(&self, mut error: CommandError) -> CommandError {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = done.as_ref().filter(|_| error.exit != ExitCode::Done) {
            error.message = format!("{}; but {done}", error.message);
            error.hint = Some("do not run it again, which would do it a second time".to_owned());
        }
        error
    }

    /// Says something on stderr, but not to programs.
    pub fn note(&self, line: impl Display) {
        if !self.json {
            note_line(line);
        }
    }

    /// Names the usual next command on stderr, but not to programs.
    pub fn next(&self, command: impl Display) {
        if !self.json {
            note_next(command);
        }
    }

    /// Warns on stderr: `warning: …`, or `{"warning":{"reason","message"}}`.
    pub fn warn(&self, reason: &str, message: impl Display) {
        if let Some(warnings) = &self.warnings {
            let mut kept = warnings.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MOST_WARNINGS {
                kept.push(json!({"reason": reason, "message": message.to_string()}));
                return;
            }
        }
        if self.json {
            note_line(json!({"warning": {"reason": reason, "message": message.to_string()}}));
        } else {
            note_line(format_args!(
                "warning: {}",
                output::clean_err(&message.to_string())
            ));
        }
    }
}

/// What became of the chain that was pinned, where the new one's genesis file names it: the network was restored from a
/// backup.
fn restored(
    home: &Home,
    connection: &Connection,
    pinned: &Hash,
) -> Result<Option<String>, CommandError> {
    let genesis = Genesis::parse(&connection.info.genesis).ok();
    let previous = genesis.and_then(|genesis| genesis.previous);
    let Some(previous) = previous.filter(|previous| previous.chain_id == *pinned) else {
        return Ok(None);
    };
    let seen = match VerifiedLedger::known(pinned, home)? {
        Some(log) => VerifiedLedger::seen(log, home)?.map(|seen| seen.head),
        None => None,
    };
    let size = previous.size;
    let lost = match seen {
        Some(seen) if seen.size == size && seen.root != previous.root => {
            "; it is NOT the ledger that was seen here, which has other records".to_owned()
        }
        Some(seen) if seen.size > size => format!(
            "; {} records that were seen here are lost",
            seen.size - size
        ),
        _ => String::new(),
    };
    Ok(Some(format!(
        "was restored from a backup: a new ledger that takes over from the one before at {size} records{lost}"
    )))
}

#[cfg(test)]
mod tests;
