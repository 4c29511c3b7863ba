//! `aitbc wallet`: keys that hold money, and what is done with it.

mod allow;
mod balance;
mod bind;
mod check_backup;
mod create;
mod export;
mod faucet;
mod history;
mod import;
mod leaving;
mod list;
mod send;
mod show;
mod stake;
mod transaction;
mod unstake;
mod r#use;
mod verify;

use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::wallets::{StoredWallet, WALLET_VARIABLE};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::Context;
use crate::secrets;

/// Its verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a wallet with a new seed phrase
    Create(create::Arguments),
    /// List your wallets
    List(list::Arguments),
    /// Make a wallet the active one
    Use(r#use::Arguments),
    /// Show a wallet's address and file
    Show(show::Arguments),
    /// Make a wallet of a seed phrase, a private key, a keystore file or an identity
    Import(import::Arguments),
    /// Write a wallet's keystore file or private key to a new file
    Export(export::Arguments),
    /// Check that your copy of the seed phrase opens a wallet
    CheckBackup(check_backup::Arguments),
    /// Check that a transaction is in the ledger, and what became of it
    Verify(verify::Arguments),
    /// Show what a wallet has, proven by the ledger
    Balance(balance::Arguments),
    /// Show what changed a wallet, newest first
    History(history::Arguments),
    /// Draw money of a development network
    Faucet(faucet::Arguments),
    /// Send money to an address
    Send(send::Arguments),
    /// Let an identity pay for jobs, up to a limit and a date
    Allow(allow::Arguments),
    /// Be the payee of a miner, so that only this wallet can change that
    Bind(bind::Arguments),
    /// Stake money on a miner
    Stake(stake::Arguments),
    /// Take money back from a miner's stake, in 7 days
    Unstake(unstake::Arguments),
}

/// Carries out a verb.
pub async fn run(context: &Context, command: Command) -> Result<(), CommandError> {
    secrets::keep_out_of_dumps();
    match command {
        Command::Create(arguments) => create::run(context, &arguments).await,
        Command::List(arguments) => list::run(context, &arguments),
        Command::Use(arguments) => r#use::run(context, &arguments),
        Command::Show(arguments) => show::run(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Export(arguments) => export::run(context, &arguments),
        Command::CheckBackup(arguments) => check_backup::run(context, &arguments),
        Command::Verify(arguments) => verify::run(context, &arguments).await,
        Command::Balance(arguments) => balance::run(context, arguments).await,
        Command::History(arguments) => history::run(context, arguments).await,
        Command::Faucet(arguments) => faucet::run(context, arguments).await,
        Command::Send(arguments) => send::run(context, arguments).await,
        Command::Allow(arguments) => allow::run(context, arguments).await,
        Command::Bind(arguments) => bind::run(context, arguments).await,
        Command::Stake(arguments) => stake::run(context, arguments).await,
        Command::Unstake(arguments) => unstake::run(context, arguments).await,
    }
}

/// Which wallet, for the verbs that need no password or open it otherwise.
#[derive(Debug, Args)]
pub struct Which {
    /// The wallet [env: AITBC_WALLET] [default: the active one]
    #[arg(conflicts_with = "wallet")]
    name: Option<String>,
    /// The same, as where a wallet signs
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
}

impl Which {
    fn select(&self, context: &Context) -> Result<StoredWallet, CommandError> {
        select(context, self.name.as_deref().or(self.wallet.as_deref()))
    }
}

/// The wallet that is named, else that of `AITBC_WALLET`, else the active one.
fn select(context: &Context, name: Option<&str>) -> Result<StoredWallet, CommandError> {
    let variable = std::env::var(WALLET_VARIABLE).ok();
    context.home.wallets().select(name, variable.as_deref())
}

/// Whether a wallet is the active one.
fn is_active(context: &Context, wallet: &StoredWallet) -> Result<bool, CommandError> {
    let active = context.home.wallets().active()?;
    Ok(active.as_deref() == Some(&wallet.name))
}

fn wallet_json(wallet: &StoredWallet, active: bool) -> Value {
    json!({
        "name": wallet.name,
        "address": wallet.address.to_string(),
        "active": active,
        "keystore_file": wallet.file.display().to_string(),
    })
}

/// What is said of a wallet that was made: `Wallet created and active: NAME  ADDRESS`.
fn made_text(done: &str, wallet: &StoredWallet, active: bool) -> String {
    let active = if active { " and active" } else { "" };
    format!("Wallet {done}{active}: {}  {}", wallet.name, wallet.address)
}

/// The command that names a wallet where it is not the active one.
fn command_for(verb: &str, wallet: &StoredWallet, active: bool) -> String {
    if active {
        format!("aitbc wallet {verb}")
    } else {
        format!("aitbc wallet {verb} {}", wallet.name)
    }
}
