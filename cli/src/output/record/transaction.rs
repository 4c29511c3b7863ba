//! Transactions, decoded.

use aitbc_common::hash::hash_text;
use aitbc_common::identity::PublicKey;
use aitbc_common::layouts::{
    AllowTerms, BindConsent, LockPurpose, LockTerms, NO_MAX_RATE, SignMode, SignedTransaction,
    Transaction, TransactionKind, target_address,
};
use aitbc_common::runtime::terminal::rfc3339_ms;
use serde_json::Value;

use super::{Fields, ait, hex_text, key_unless_zero, tx};

/// Its fields; those of the kind come last, before the signature.
pub(super) fn fields(signed: &SignedTransaction) -> Fields {
    let transaction = &signed.transaction;
    let mut fields = vec![
        ("tx_hash", tx(&transaction.id())),
        ("kind", kind_name(transaction.kind).into()),
        ("account", transaction.account.to_string().into()),
        ("signer", signer(transaction)),
        ("nonce", transaction.nonce.into()),
        ("valid_until", rfc3339_ms(transaction.valid_until).into()),
        ("amount_ait", ait(transaction.amount)),
    ];
    fields.extend(kind_fields(signed));
    fields.push(("signature", hex_text(&signed.signature)));
    fields
}

/// `transfer`, `lock`, …
pub fn kind_name(kind: TransactionKind) -> &'static str {
    match kind {
        TransactionKind::Transfer => "transfer",
        TransactionKind::Lock => "lock",
        TransactionKind::Stake => "stake",
        TransactionKind::Unstake => "unstake",
        TransactionKind::Bind => "bind",
        TransactionKind::Allow => "allow",
    }
}

/// The identity that signed under an allowance; else the account's own key did.
fn signer(transaction: &Transaction) -> Value {
    match transaction.sign_mode {
        SignMode::Wallet => Value::Null,
        SignMode::Identity => transaction
            .signing_identity()
            .map_or(Value::Null, |key| key.to_string().into()),
    }
}

/// What stands in target and payload; a payload that is not what the kind has is shown as bytes.
fn kind_fields(signed: &SignedTransaction) -> Fields {
    let (target, payload) = (&signed.transaction.target, &signed.payload[..]);
    let raw = || vec![("target", hex_text(target)), ("payload", hex_text(payload))];
    let identity = || Value::from(PublicKey(*target).to_string());
    match signed.transaction.kind {
        TransactionKind::Transfer => match target_address(target) {
            Some(to) => vec![("to", to.to_string().into()), ("memo", memo(payload))],
            None => raw(),
        },
        TransactionKind::Lock => LockTerms::decode(payload).map_or_else(
            |_| raw(),
            |terms| {
                let mut fields = vec![("job_ref", hash_text(target).into())];
                fields.extend(lock_fields(&terms));
                fields
            },
        ),
        TransactionKind::Stake | TransactionKind::Unstake => vec![("miner_key", identity())],
        TransactionKind::Bind => BindConsent::decode(payload).map_or_else(
            |_| raw(),
            |consent| {
                vec![
                    ("identity", identity()),
                    ("seq", consent.seq.into()),
                    ("consent_until", rfc3339_ms(consent.valid_until).into()),
                    ("releases", consent.is_release().into()),
                ]
            },
        ),
        TransactionKind::Allow => AllowTerms::decode(payload).map_or_else(
            |_| raw(),
            |terms| {
                vec![
                    ("identity", identity()),
                    ("seq", terms.seq.into()),
                    ("expires_at", rfc3339_ms(terms.expires_at).into()),
                ]
            },
        ),
    }
}

fn lock_fields(terms: &LockTerms) -> Fields {
    let purpose = match terms.purpose {
        LockPurpose::Job => "job",
        LockPurpose::Rental => "rental",
    };
    let max_price = if terms.max_rate == NO_MAX_RATE {
        Value::Null
    } else {
        ait(terms.max_rate)
    };
    vec![
        ("purpose", purpose.into()),
        ("expires_at", rfc3339_ms(terms.expires_at).into()),
        ("max_price_per_hour_ait", max_price),
        ("max_fee_bps", terms.max_fee_bps.into()),
        ("miner_key", key_unless_zero(&terms.miner_key)),
    ]
}

/// Text as text, other bytes as `0x…`.
fn memo(payload: &[u8]) -> Value {
    match std::str::from_utf8(payload) {
        Ok("") => Value::Null,
        Ok(text) => text.into(),
        Err(_) => hex_text(payload),
    }
}
