//! Payees that wallets have bound to identities, as the ledger tells them: a miner that is bound is paid there and nowhere
//! else, and a wallet that has bound one is no new payee of others.

use std::collections::BTreeMap;

use aitbc_common::address::Address;
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::ErrorReason;
use bytes::Bytes;
use prost::Message;

use super::command::MinerChange;
use super::core::EngineCore;
use super::turn::Turn;
use crate::store::rows::{self, BindingRow};
use crate::store::{Batch, Family, StoreError, keys};

/// Who is bound to which wallet.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    by_identity: BTreeMap<PublicKey, Address>,
    /// How many identities are bound to each.
    wallets: BTreeMap<Address, u64>,
}

impl Bindings {
    /// `None` = it is bound to no wallet any more.
    fn set(&mut self, identity: PublicKey, wallet: Option<Address>) {
        let before = match wallet {
            Some(wallet) => {
                *self.wallets.entry(wallet).or_default() += 1;
                self.by_identity.insert(identity, wallet)
            }
            None => self.by_identity.remove(&identity),
        };
        if let Some(before) = before
            && let Some(count) = self.wallets.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.wallets.remove(&before);
            }
        }
    }

    /// Why this identity is not paid at this address.
    fn refuse(&self, identity: &PublicKey, payee: Address) -> Option<ApiError> {
        let message = match self.by_identity.get(identity) {
            Some(bound) if *bound == payee => return None,
            Some(bound) => format!(
                "this identity is bound to the wallet {bound}, which alone can change its payee"
            ),
            None if self.wallets.contains_key(&payee) => {
                format!("the wallet {payee} has bound its miners, and this one is not among them")
            }
            None => return None,
        };
        Some(ApiError::new(ErrorReason::PayeeBound, message))
    }
}

impl EngineCore {
    /// The ledger recorded that an identity is bound, or not any more.
    pub(super) fn bound(&mut self, turn: &mut Turn, identity: PublicKey, wallet: Option<Address>) {
        self.bindings.set(identity, wallet);
        turn.bound.insert(identity, wallet);
        let id = self.miner_keys.get(&identity).copied();
        let miner = id.and_then(|id| self.miners.get_mut(&id));
        if let (Some(miner), Some(wallet)) = (miner, wallet) {
            miner.record.payout_address = Bytes::copy_from_slice(&wallet.0);
            turn.saved_miners.insert(miner.id);
        }
    }

    /// Why a registration may not name this payee; one that stays as it is may.
    pub(super) fn refuse_payee(&self, key: &PublicKey, change: &MinerChange) -> Option<ApiError> {
        let payee = change.payout?;
        let miner = self.miner_keys.get(key).and_then(|id| self.miners.get(id));
        if miner.is_some_and(|miner| miner.record.payout_address == payee[..]) {
            return None;
        }
        self.bindings.refuse(key, Address(payee))
    }

    pub(super) fn restore_binding(&mut self, value: Bytes) -> Result<(), StoreError> {
        let row: BindingRow = rows::decode(value)?;
        let damaged = |_| StoreError::Corrupt("the row of a binding is damaged".into());
        let identity = PublicKey(row.identity.as_ref().try_into().map_err(damaged)?);
        let wallet = Address(row.wallet.as_ref().try_into().map_err(damaged)?);
        self.bindings.set(identity, Some(wallet));
        Ok(())
    }
}

/// Writes the bindings of a batch.
pub(super) fn put(batch: &mut Batch, bound: BTreeMap<PublicKey, Option<Address>>) {
    for (identity, wallet) in bound {
        let key = keys::binding(&identity);
        match wallet {
            Some(wallet) => {
                let row = BindingRow {
                    identity: Bytes::copy_from_slice(&identity.0),
                    wallet: Bytes::copy_from_slice(&wallet.0),
                };
                batch.put(Family::Active, key, row.encode_to_vec());
            }
            None => batch.delete(Family::Active, key),
        }
    }
}
