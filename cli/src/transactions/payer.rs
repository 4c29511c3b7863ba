//! Which wallet pays.

use aitbc_common::address::Address;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::wallets::{StoredWallet, WALLET_VARIABLE};
use clap::Args;

use super::Chosen;
use crate::context::Context;
use crate::secrets;
use crate::secrets::password::PasswordOptions;
use crate::values;

/// The wallet that signs.
#[derive(Debug, Clone, Args)]
pub struct WalletOptions {
    /// The wallet [env: AITBC_WALLET] [default: the active one]
    #[arg(long, value_name = "NAME")]
    wallet: Option<String>,
    #[command(flatten)]
    password: PasswordOptions,
}

/// Who pays.
#[derive(Debug, Clone, Args)]
pub struct PayerOptions {
    #[command(flatten)]
    signer: WalletOptions,
    /// Pay with the allowance that this wallet gave your identity: no password [default: the setting payer]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address, conflicts_with = "wallet")]
    payer: Option<Address>,
}

impl WalletOptions {
    /// The wallet and where its password comes from; nothing is asked yet.
    pub fn choose(&self, context: &Context) -> Result<Chosen, CommandError> {
        secrets::keep_out_of_dumps();
        let wallet = self.select(context)?;
        Ok(Chosen::Wallet(Box::new(wallet), self.password.source()?))
    }

    fn select(&self, context: &Context) -> Result<StoredWallet, CommandError> {
        let variable = std::env::var(WALLET_VARIABLE).ok();
        let wallets = context.home.wallets();
        wallets.select(self.wallet.as_deref(), variable.as_deref())
    }
}

impl PayerOptions {
    /// The wallet; where no password of it can be had, the identity under an allowance.
    pub fn choose(&self, context: &Context) -> Result<Chosen, CommandError> {
        let set = match &context.settings()?.value.payer {
            Some(text) => Some(values::address(text)?),
            None => None,
        };
        if let Some(payer) = self.payer {
            return Ok(Chosen::Allowance {
                payer,
                instead_of: None,
            });
        }
        let error = match self.signer.choose(context) {
            Ok(chosen) => return Ok(chosen),
            Err(error) => error,
        };
        let nothing_named = self.signer.wallet.is_none();
        let may_be_allowed = match error.reason.as_str() {
            "NO_TERMINAL" => true,
            "WALLET_UNKNOWN" => nothing_named,
            _ => false,
        };
        let own = self.signer.select(context).ok();
        match (may_be_allowed, set, own.map(|wallet| wallet.address)) {
            (true, Some(payer), _) => Ok(Chosen::Allowance {
                payer,
                instead_of: None,
            }),
            (true, None, Some(payer)) => Ok(Chosen::Allowance {
                payer,
                instead_of: Some(error),
            }),
            _ => Err(error),
        }
    }
}
