//! What every command has at hand.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::identity::Identity;
use aitbc_common::runtime::channel::{Connection, CoordinatorUrl};
use aitbc_common::runtime::command_line::GlobalOptions;
use aitbc_common::runtime::config::{ClientOptions, ClientSettings};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::files::{Home, Pin, changed_network, check_miner_name};
use aitbc_common::runtime::terminal::note_line;
use aitbc_common::runtime::wallets::WALLET_VARIABLE;
use aitbc_common::token::Scope;
use serde_json::json;

/// Options, settings and the miner's identity.
#[derive(Debug, Clone)]
pub struct Context {
    /// Whether results and errors are JSON.
    pub json: bool,
    /// The user's files.
    pub home: Home,
    /// Where the coordinator is.
    pub url: CoordinatorUrl,
    /// The miner's name.
    pub miner: String,
}

impl Context {
    /// For a command line's options.
    pub fn new(options: &GlobalOptions, miner: Option<String>) -> Result<Self, CommandError> {
        let home = Home::discover()?;
        let given = ClientOptions {
            coordinator: options.coordinator.clone(),
            ca_certificate: options.ca_certificate.clone(),
            miner,
        };
        let settings = ClientSettings::load(&home, given)?.value;
        check_miner_name(&settings.miner)?;
        Ok(Self {
            json: options.json,
            home,
            url: settings.coordinator_url()?,
            miner: settings.miner,
        })
    }

    /// The miner's folder.
    pub fn folder(&self) -> PathBuf {
        self.home.miner_dir(&self.miner)
    }

    /// The address of the wallet in use (`AITBC_WALLET`, else the active one), where there is one.
    pub fn wallet(&self) -> Result<Option<Address>, CommandError> {
        let wallets = self.home.wallets();
        let variable = std::env::var(WALLET_VARIABLE).ok();
        match wallets.select(None, variable.as_deref()) {
            Ok(wallet) => Ok(Some(wallet.address)),
            // Nobody named one.
            Err(_)
                if variable.is_none_or(|name| name.is_empty()) && wallets.active()?.is_none() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Connects as the miner, to the network that is pinned for the address.
    pub async fn connect(&self) -> Result<(Connection, Arc<Identity>), CommandError> {
        let identity = Arc::new(self.home.miner_identity(&self.miner)?);
        let connection = Connection::open(&self.url, identity.clone(), Scope::Miner).await?;
        let (chain_id, service_key) = (connection.chain_id(), connection.service_key());
        match self.home.pin(&self.url, chain_id, service_key)? {
            Pin::Same | Pin::New => {}
            // Development networks are made anew all the time; what can pose as one on loopback is this user's anyway.
            Pin::Changed { .. } if self.url.is_loopback() => {
                self.home.repin(&self.url, chain_id, service_key)?;
                let place = self.url.host_and_port();
                let message =
                    format!("{place} serves another network than before; it is remembered now");
                self.warn("NETWORK_CHANGED", message);
            }
            Pin::Changed {
                chain_id: pinned,
                service_key: pinned_key,
            } => {
                return Err(changed_network(
                    &self.url,
                    (&pinned, &pinned_key),
                    (chain_id, service_key),
                ));
            }
        }
        Ok((connection, identity))
    }

    /// Says something on stderr, but not to programs.
    pub fn note(&self, line: impl Display) {
        if !self.json {
            note_line(line);
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, reason: &str, message: impl Display) {
        if self.json {
            note_line(json!({"warning": {"reason": reason, "message": message.to_string()}}));
        } else {
            note_line(format_args!("warning: {message}"));
        }
    }
}
