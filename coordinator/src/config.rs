//! Settings: defaults < file (`--config`) < environment (`AITBC_COORDINATOR_…`) < options.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use aitbc_common::nearest::nearest;
use aitbc_common::runtime::config::{self, Layers};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::files::Home;
use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::init;
use crate::limits::LimitConfig;
use crate::retention::Retention;
use crate::server::ServerSettings;
use crate::tls::TlsFiles;

/// What begins the name of each environment variable.
const PREFIX: &str = "AITBC_COORDINATOR_";
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600_000;

/// Where data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// RocksDB in the data folder.
    Rocksdb,
    /// In memory: everything is gone when the process ends.
    Memory,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object each.
    Json,
}

/// Takes jobs, leases them to miners, keeps the record.
#[derive(Debug, Clone, Default, Parser, Serialize)]
#[command(
    name = "aitbc-coordinator",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:\n  aitbc-coordinator --dev\n  aitbc-coordinator --dev --listen 127.0.0.1:0 --data-dir /tmp/aitbc\n  \
                  aitbc-coordinator init --data-dir /var/lib/aitbc --allocate 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266=1000000\n  \
                  aitbc-coordinator --data-dir /var/lib/aitbc --listen 0.0.0.0:50051 --tls-certificate chain.pem --tls-key key.pem\n\n\
                  Every setting is also read from a TOML file (--config) and from AITBC_COORDINATOR_… variables."
)]
pub struct Options {
    /// What to do instead of serving.
    #[command(subcommand)]
    #[serde(skip)]
    pub command: Option<Command>,
    /// Run a development network on this machine: loopback only, funding optional.
    #[arg(long)]
    #[serde(skip)]
    pub dev: bool,
    /// Address to listen on; port 0 picks a free one [default: 127.0.0.1:50051].
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Folder for the network's keys and data [default: the XDG data folder, aitbc/coordinator].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Certificate, and the intermediate ones after it (PEM); needed to listen beyond loopback.
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Serve Prometheus metrics at /metrics here: loopback only, port 0 picks a free one [default: off].
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_listen: Option<String>,
    /// Where jobs are kept [default: rocksdb].
    #[arg(long, value_enum)]
    pub store: Option<StoreKind>,
    /// How log lines look [default: text].
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Serve gRPC reflection [default: only with --dev].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub reflection: Option<bool>,
    /// Read settings from this TOML file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Log more; twice for even more.
    #[arg(short, long, action = clap::ArgAction::Count)]
    #[serde(skip)]
    pub verbose: u8,
}

/// What the program does instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make a real network: its genesis file and keys, in a new data folder
    Init(init::Arguments),
}

/// The settings that there are, with their defaults.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Run a development network.
    pub dev: bool,
    /// Address to listen on.
    pub listen: String,
    /// Folder for keys and data; none = the XDG data folder.
    pub data_dir: Option<PathBuf>,
    /// Certificate and intermediate ones (PEM).
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Address of the metrics; none = they are not served.
    pub metrics_listen: Option<String>,
    /// Where jobs are kept.
    pub store: StoreKind,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Serve gRPC reflection; none = only on a development network.
    pub reflection: Option<bool>,
    /// Streams of one connection; none = 64, on a development network 256.
    pub streams_per_connection: Option<u32>,
    /// Connections at once.
    pub connections: u32,
    /// Connections of one address at once (an IPv6 /64 counts as one); none = 256, on a development network no bound of
    /// its own.
    pub connections_per_address: Option<u32>,
    /// Seconds until a call is answered.
    pub unary_timeout_seconds: u32,
    /// Seconds that running calls get when the coordinator stops.
    pub drain_seconds: u32,
    /// Live jobs of one identity.
    pub jobs_per_identity: u32,
    /// Days that input, output and result of a finished job are kept.
    pub content_days: u32,
    /// Days that the history of a finished job is kept.
    pub summary_days: u32,
    /// MiB that must be free on the disk for new jobs.
    pub free_space_mib: u64,
    /// AIT that are locked for audits of work on a day, at most; 0 = no audits.
    pub audit_ait_per_day: u64,
    /// Calls per second of one address before its token is known; 0 = unlimited; none = 100, on a development network 0.
    pub address_calls_per_second: Option<u32>,
    /// Jobs per second of one identity; 0 = unlimited; none = 100, on a development network 0.
    pub submits_per_second: Option<u32>,
    /// Other calls per second of one identity; 0 = unlimited; none = 1,000, on a development network 0.
    pub calls_per_second: Option<u32>,
    /// Transactions per second of one address, and of one identity; 0 = unlimited; none = 20, on a development network 0.
    pub transactions_per_second: Option<u32>,
    /// Allowances and bindings among them; 0 = unlimited; none = 1, on a development network 0.
    pub grants_per_second: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dev: false,
            listen: "127.0.0.1:50051".into(),
            data_dir: None,
            tls_certificate: None,
            tls_key: None,
            metrics_listen: None,
            store: StoreKind::Rocksdb,
            log_format: LogFormat::Text,
            reflection: None,
            streams_per_connection: None,
            connections: 20_000,
            connections_per_address: None,
            unary_timeout_seconds: 30,
            drain_seconds: 30,
            jobs_per_identity: 100_000,
            content_days: 7,
            summary_days: 90,
            free_space_mib: 256,
            audit_ait_per_day: 100,
            address_calls_per_second: None,
            submits_per_second: None,
            calls_per_second: None,
            transactions_per_second: None,
            grants_per_second: None,
        }
    }
}

#[derive(Serialize)]
struct GivenOptions<'a> {
    dev: Option<bool>,
    #[serde(flatten)]
    rest: &'a Options,
}

impl Config {
    /// Puts the layers together and checks the outcome.
    pub fn load(options: &Options) -> Result<Self, CommandError> {
        let config = Self::read(options)?;
        config.check()?;
        Ok(config)
    }

    /// Environment variables that look like a misspelt setting, each with the one it may mean. Others with our prefix
    /// are let be: a cluster's own, such as `AITBC_COORDINATOR_PORT_50051_TCP`, come from the service's name.
    #[must_use]
    pub fn misspelt_variables(variables: impl Iterator<Item = String>) -> Vec<(String, String)> {
        let Ok(Value::Object(known)) = serde_json::to_value(Self::default()) else {
            return Vec::new();
        };
        let known: Vec<String> = known.into_iter().map(|(name, _)| name).collect();
        let misspelt = |variable: String| {
            let name = variable.strip_prefix(PREFIX)?.to_lowercase();
            if known.contains(&name) {
                return None;
            }
            let near = nearest(&name, known.iter().map(String::as_str))?;
            Some((variable, format!("{PREFIX}{}", near.to_uppercase())))
        };
        variables.filter_map(misspelt).collect()
    }

    /// Puts the layers together.
    pub fn read(options: &Options) -> Result<Self, CommandError> {
        let layers = Layers {
            defaults: Self::default(),
            file: options.config.as_deref(),
            file_required: true,
            prefix: PREFIX,
            see: "the settings are in docs/operations.md, the options in: aitbc-coordinator --help",
            environment: config::environment(),
            options: GivenOptions {
                dev: options.dev.then_some(true),
                rest: options,
            },
        };
        Ok(config::load(layers)?.value)
    }

    fn check(&self) -> Result<(), CommandError> {
        let address = self.address()?;
        if self.dev && !address.ip().is_loopback() {
            return Err(CommandError::usage(format!(
                "--dev listens on loopback only, not on {}",
                self.listen
            ))
            .with_hint("leave --listen away, or take 127.0.0.1:PORT"));
        }
        if self.tls()?.is_none() && !address.ip().is_loopback() {
            return Err(CommandError::usage(format!(
                "beyond loopback everything is encrypted, and no certificate is named to listen on {}",
                self.listen
            ))
            .with_hint(
                "give --tls-certificate FILE and --tls-key FILE, or listen on 127.0.0.1:PORT",
            ));
        }
        if !self.dev && self.store == StoreKind::Memory {
            return Err(
                CommandError::usage("a real network's money is not kept in memory")
                    .with_hint("leave --store away, or try things with --dev"),
            );
        }
        self.metrics_address()?;
        let positive = [
            ("connections", self.connections),
            (
                "connections_per_address",
                self.connections_per_address.unwrap_or(1),
            ),
            ("unary_timeout_seconds", self.unary_timeout_seconds),
            ("drain_seconds", self.drain_seconds),
            ("jobs_per_identity", self.jobs_per_identity),
            ("content_days", self.content_days),
            ("summary_days", self.summary_days),
            (
                "streams_per_connection",
                self.streams_per_connection.unwrap_or(1),
            ),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(CommandError::usage(format!("setting {name:?} is 0"))
                    .with_hint("it takes 1 or more"));
            }
        }
        Ok(())
    }

    /// Where to listen.
    pub fn address(&self) -> Result<SocketAddr, CommandError> {
        parse_address(&self.listen)
    }

    /// Where metrics are served, if they are.
    pub fn metrics_address(&self) -> Result<Option<SocketAddr>, CommandError> {
        let Some(text) = &self.metrics_listen else {
            return Ok(None);
        };
        let address = parse_address(text)?;
        if address.ip().is_loopback() {
            return Ok(Some(address));
        }
        Err(CommandError::usage(format!(
            "metrics are served on loopback only, not on {address}: whoever can ask is not asked who they are"
        ))
        .with_hint("take 127.0.0.1:PORT, and a proxy with TLS and authentication where Prometheus runs elsewhere"))
    }

    /// The certificate's files, if it encrypts.
    pub fn tls(&self) -> Result<Option<TlsFiles>, CommandError> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(
                CommandError::usage("the certificate's private key is missing")
                    .with_hint("name it with --tls-key FILE"),
            ),
            (None, Some(_)) => Err(
                CommandError::usage("the private key's certificate is missing")
                    .with_hint("name it with --tls-certificate FILE"),
            ),
        }
    }

    /// The folder for keys and data.
    pub fn folder(&self) -> Result<PathBuf, CommandError> {
        match &self.data_dir {
            Some(folder) => Ok(folder.clone()),
            None => Home::discover()
                .map(|home| home.data_dir().join("coordinator"))
                .map_err(|error| error.with_hint("name a data folder with --data-dir")),
        }
    }

    /// How often callers may call.
    #[must_use]
    pub fn limits(&self) -> LimitConfig {
        let default = if self.dev {
            LimitConfig::default()
        } else {
            LimitConfig::STANDARD
        };
        LimitConfig {
            address_calls: self
                .address_calls_per_second
                .unwrap_or(default.address_calls),
            identity_submits: self.submits_per_second.unwrap_or(default.identity_submits),
            identity_calls: self.calls_per_second.unwrap_or(default.identity_calls),
            transactions: self.transactions_per_second.unwrap_or(default.transactions),
            grants: self.grants_per_second.unwrap_or(default.grants),
        }
    }

    /// How long things are kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention {
            content_ms: u64::from(self.content_days) * DAY_MS,
            summary_ms: u64::from(self.summary_days) * DAY_MS,
        }
    }

    /// Bounds of the server.
    #[must_use]
    pub fn server(&self) -> ServerSettings {
        ServerSettings {
            streams_per_connection: self.streams_per_connection.unwrap_or(if self.dev {
                256
            } else {
                64
            }),
            connections: self.connections as usize,
            connections_per_address: self.connections_per_address.unwrap_or(if self.dev {
                self.connections
            } else {
                256
            }) as usize,
            unary_timeout: Duration::from_secs(self.unary_timeout_seconds.into()),
            drain: Duration::from_secs(self.drain_seconds.into()),
            reflection: self.reflection.unwrap_or(self.dev),
            jobs_per_identity: self.jobs_per_identity,
            retention: self.retention(),
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, CommandError> {
    let port = text.strip_prefix("localhost:");
    let loopback =
        port.and_then(|port| Some((Ipv4Addr::LOCALHOST, port.parse::<u16>().ok()?).into()));
    loopback.or_else(|| text.parse().ok()).ok_or_else(|| {
        let given: String = text.chars().take(100).collect();
        CommandError::usage(format!("{given:?} is no address to listen on"))
            .with_hint("give IP:PORT, for example 127.0.0.1:50051; port 0 picks a free one")
    })
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
