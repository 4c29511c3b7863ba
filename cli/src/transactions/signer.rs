//! Who signs a transaction: a wallet, or this user's identity under a wallet's allowance.

use std::sync::Arc;

use aitbc_common::address::Address;
use aitbc_common::hash::sha256;
use aitbc_common::identity::{Identity, PublicKey};
use aitbc_common::layouts::{SignMode, SignedTransaction, Transaction};
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::wallets::StoredWallet;
use aitbc_common::wallet::WalletKey;

use crate::secrets::password::PasswordSource;

/// Who is going to sign; nothing was asked yet.
#[derive(Debug)]
pub enum Chosen {
    /// A wallet, and where its password comes from.
    Wallet(Box<StoredWallet>, PasswordSource),
    /// The identity, with money of this address.
    Allowance {
        /// Whose money it is.
        payer: Address,
        /// Why no wallet signs, where the user did not ask for the allowance: the error where there is none.
        instead_of: Option<CommandError>,
    },
}

/// Who signs.
pub enum Signer {
    /// A wallet's key.
    Wallet {
        /// The wallet's name.
        name: String,
        /// Its key.
        key: WalletKey,
    },
    /// This user's identity.
    Identity {
        /// Whose money it is.
        payer: Address,
        /// Who signs.
        identity: Arc<Identity>,
    },
}

impl Chosen {
    /// Whose money it is.
    pub fn account(&self) -> Address {
        match self {
            Self::Wallet(wallet, _) => wallet.address,
            Self::Allowance { payer, .. } => *payer,
        }
    }

    /// Asks for the password, where one is needed, and opens the wallet: about a second.
    pub async fn unlock(self, identity: &Arc<Identity>) -> Result<Signer, CommandError> {
        let (wallet, source) = match self {
            Self::Wallet(wallet, source) => (wallet, source),
            Self::Allowance { payer, .. } => {
                return Ok(Signer::Identity {
                    payer,
                    identity: Arc::clone(identity),
                });
            }
        };
        let password = source.existing(&wallet.name)?;
        let opened = tokio::task::spawn_blocking(move || {
            let key = wallet.unlock(&password)?;
            let name = wallet.name;
            Ok(Signer::Wallet { name, key })
        });
        opened.await.map_err(|_| stopped())?
    }
}

impl Signer {
    /// Whose money it is.
    pub fn account(&self) -> Address {
        match self {
            Self::Wallet { key, .. } => key.address(),
            Self::Identity { payer, .. } => *payer,
        }
    }

    /// The identity that signs, where one does.
    pub fn identity(&self) -> Option<PublicKey> {
        match self {
            Self::Wallet { .. } => None,
            Self::Identity { identity, .. } => Some(identity.public()),
        }
    }

    /// How messages name it: the wallet's name, else the payer's address.
    pub fn name(&self) -> String {
        match self {
            Self::Wallet { name, .. } => name.clone(),
            Self::Identity { payer, .. } => payer.to_string(),
        }
    }

    /// What is locked while it sends, and names its unanswered transaction: everything with a nonce of its own.
    pub fn lock_name(&self) -> String {
        lock_name(self.account(), self.identity())
    }

    /// Signs.
    pub fn sign(
        &self,
        mut transaction: Transaction,
        payload: Vec<u8>,
    ) -> Result<SignedTransaction, CommandError> {
        let signed = match self {
            Self::Wallet { key, .. } => SignedTransaction::by_wallet(transaction, payload, key),
            Self::Identity { payer, identity } => {
                transaction.account = *payer;
                transaction.sign_mode = SignMode::Identity;
                SignedTransaction::by_identity(transaction, payload, identity)
            }
        };
        signed.map_err(|error| {
            CommandError::usage(error.to_string()).with_hint("a memo has at most 512 bytes")
        })
    }
}

/// One wallet may be stored under two names: its address counts. An allowance has a nonce of its own.
pub fn lock_name(account: Address, identity: Option<PublicKey>) -> String {
    match identity {
        None => account.to_string().to_lowercase(),
        Some(identity) => {
            let both = sha256(&[&account.0[..], &identity.0].concat());
            format!("allowance-{}", hex::encode(&both[..16]))
        }
    }
}

/// A task that did not come to its end.
pub fn stopped() -> CommandError {
    CommandError::new(
        ExitCode::Failed,
        "INTERNAL",
        "a task of this command stopped",
    )
    .with_hint("run the command again")
}
