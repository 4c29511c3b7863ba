//! `aitbc wallet import`.

use std::path::{Path, PathBuf};

use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::check_miner_name;
use aitbc_common::runtime::wallets::{StoredWallet, keystore_error, read_keystore};
use aitbc_common::wallet::WalletKey;
use clap::Args;
use zeroize::Zeroizing;

use super::{is_active, made_text, wallet_json};
use crate::context::Context;
use crate::secrets::password::{PasswordOptions, PasswordSource};
use crate::secrets::{phrase, read_file};

const EXAMPLES: &str = "\
Examples:
  aitbc wallet import --name old                                    asks for the words
  aitbc wallet import --name old --seed-phrase-file seed.txt
  aitbc wallet import --name geth --keystore UTC--2026-11-23T10-00-00.000Z--f39fd6e5…
  aitbc wallet import --name payee --identity --miner rig-1         what a miner without a wallet earned

A keystore file is opened with its password, which then protects the wallet too.";

/// What to import.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Its name: 1 to 64 lower-case letters, digits, - and _
    #[arg(long)]
    name: String,
    #[command(flatten)]
    origin: Origin,
    /// File with the BIP-39 passphrase (a 25th word), where the words have one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["private_key_file", "keystore", "identity"])]
    passphrase_file: Option<PathBuf>,
    /// With --identity: of this miner of yours, not of the client
    #[arg(long, value_name = "NAME", requires = "identity")]
    miner: Option<String>,
    #[command(flatten)]
    password: PasswordOptions,
}

/// Where the key comes from; without any of them a person is asked for the words.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Origin {
    /// File with the 12 to 24 words [env: AITBC_SEED_PHRASE_FILE]
    #[arg(long, value_name = "FILE")]
    seed_phrase_file: Option<PathBuf>,
    /// File with the 64 hexadecimal digits of a private key
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// A keystore file, Web3 Secret Storage version 3, of any program
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// The key that receives an identity's earnings on development networks
    #[arg(long)]
    identity: bool,
}

/// Imports it. Whatever it needs to ask is known to be possible before anything is made.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let wallets = context.home.wallets();
    if wallets.exists(&arguments.name)? {
        return Err(wallets.taken(&arguments.name));
    }
    let source = arguments.password.source()?;
    let (key, password) = match &arguments.origin.keystore {
        Some(path) => open_keystore(path, &source)?,
        None => (read_key(context, arguments)?, source.chosen()?),
    };
    let wallet = wallets.add(&arguments.name, &key, &password)?;
    report(context, &wallet)
}

fn report(context: &Context, wallet: &StoredWallet) -> Result<(), CommandError> {
    let active = is_active(context, wallet)?;
    context.result(
        &wallet_json(wallet, active),
        made_text("imported", wallet, active),
    )?;
    if !active {
        context.next(format_args!("aitbc wallet use {}", wallet.name));
    }
    Ok(())
}

fn open_keystore(
    path: &Path,
    source: &PasswordSource,
) -> Result<(WalletKey, Zeroizing<String>), CommandError> {
    let keystore = read_keystore(path)?;
    let password = source.existing(&path.display().to_string())?;
    let key = keystore
        .decrypt(&password)
        .map_err(|error| keystore_error(path, &error))?;
    Ok((key, password))
}

fn read_key(context: &Context, arguments: &Arguments) -> Result<WalletKey, CommandError> {
    let origin = &arguments.origin;
    if let Some(path) = &origin.private_key_file {
        return read_private_key(path);
    }
    if origin.identity {
        return identity_key(context, arguments.miner.as_deref());
    }
    let phrase = phrase::read(origin.seed_phrase_file.as_deref())?;
    let passphrase = phrase::passphrase(arguments.passphrase_file.as_deref())?;
    Ok(phrase.key(&passphrase))
}

fn read_private_key(path: &Path) -> Result<WalletKey, CommandError> {
    let text = read_file(path)?;
    let digits = text.trim();
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits.strip_prefix("0x").unwrap_or(digits), &mut *bytes)
        .ok()
        .and_then(|()| WalletKey::from_bytes(&bytes))
        .ok_or_else(|| {
            CommandError::new(
                ExitCode::Authentication,
                "PRIVATE_KEY_INVALID",
                format!("{} holds no private key", path.display()),
            )
            .with_hint("it takes 64 hexadecimal digits, with or without 0x before them")
        })
}

/// An identity that exists: a new one has earned nothing.
fn identity_key(context: &Context, miner: Option<&str>) -> Result<WalletKey, CommandError> {
    let home = &context.home;
    let file = match miner {
        Some(name) => {
            check_miner_name(name)?;
            home.miner_dir(name).join("identity.key")
        }
        None => home.identity_file(),
    };
    if !file.exists() {
        return Err(CommandError::new(
            ExitCode::NotFound,
            "IDENTITY_UNKNOWN",
            format!("there is no identity in {}", file.display()),
        )
        .with_hint("see which there are: aitbc identity show, aitbc identity show --miner NAME"));
    }
    let identity = match miner {
        Some(name) => home.miner_identity(name)?,
        None => home.identity()?,
    };
    Ok(WalletKey::dev_payee(&identity))
}
