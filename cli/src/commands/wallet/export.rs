//! `aitbc wallet export`.

use std::path::{Path, PathBuf};

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::wallets::StoredWallet;
use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Which;
use crate::context::Context;
use crate::secrets::password::PasswordOptions;
use crate::secrets::{Terminal, check_new_file, write_file};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet export --keystore my_wallet.json          for geth, MetaMask or ethers, under the same password
  aitbc wallet export savings --private-key-file key.txt
  aitbc wallet export savings --show-private-key

The seed phrase is not kept, so it cannot be exported: it is on your paper. The private key is that of the first account.";

/// What to export, and where to.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    password: PasswordOptions,
}

/// Where it goes.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Copy the keystore file to this new file (mode 0600); its password stays the same
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// Write the private key to this new file (mode 0600), unprotected
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// Show the private key on the terminal, after a question
    #[arg(long)]
    show_private_key: bool,
}

/// Exports it.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallet = arguments.which.select(context)?;
    let target = &arguments.target;
    if let Some(path) = &target.keystore {
        write_file(path, &wallet.keystore_bytes())?;
        let text = format!("Keystore of {} written: {}", wallet.name, path.display());
        return context.result(&document(&wallet, Some(path), None), text);
    }
    if let Some(path) = &target.private_key_file {
        check_new_file(path)?;
        let digits = private_key(arguments, &wallet)?;
        write_file(path, digits.as_bytes())?;
        let text = format!(
            "Private key of {} written: {}; whoever has it has the money",
            wallet.name,
            path.display()
        );
        return context.result(&document(&wallet, None, Some(path)), text);
    }
    show_private_key(context, arguments, &wallet)
}

fn show_private_key(
    context: &Context,
    arguments: &Arguments,
    wallet: &StoredWallet,
) -> Result<(), CommandError> {
    let terminal = Terminal::find().ok_or_else(|| {
        refusal(
            "NO_TERMINAL",
            "there is no terminal to show the private key on",
        )
        .with_hint("write it to a new file: --private-key-file FILE")
    })?;
    terminal.show("Whoever sees the private key has the money.\n")?;
    let answer = terminal.ask_erased(&format!("To show it, type {}: ", wallet.name))?;
    if answer.trim() != wallet.name {
        return Err(refusal(
            "NOT_CONFIRMED",
            "that is not the wallet's name; nothing was shown",
        )
        .with_hint("to write it to a new file instead: --private-key-file FILE"));
    }
    let digits = private_key(arguments, wallet)?;
    terminal.show(&digits)?;
    let text = format!("Private key of {} shown", wallet.name);
    context.result(&document(wallet, None, None), text)
}

/// Opens the wallet: its key as a line of hexadecimal digits.
fn private_key(
    arguments: &Arguments,
    wallet: &StoredWallet,
) -> Result<Zeroizing<String>, CommandError> {
    let password = arguments.password.source()?.existing(&wallet.name)?;
    let key = wallet.unlock(&password)?;
    let digits = Zeroizing::new(hex::encode(*key.to_bytes()));
    Ok(Zeroizing::new(format!("0x{}\n", *digits)))
}

fn document(wallet: &StoredWallet, keystore: Option<&Path>, private_key: Option<&Path>) -> Value {
    let text = |path: Option<&Path>| path.map(|path| path.display().to_string());
    json!({
        "name": wallet.name,
        "address": wallet.address.to_string(),
        "keystore_file": text(keystore),
        "private_key_file": text(private_key),
    })
}

fn refusal(reason: &str, message: &str) -> CommandError {
    CommandError::new(ExitCode::Authentication, reason, message)
}
