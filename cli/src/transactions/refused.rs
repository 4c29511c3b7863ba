//! Transactions that were refused. Whoever was sent one can still record it until its time is up, whatever they answered: so
//! nothing is signed in its place that could be recorded beside it.

use std::fs;
use std::io;
use std::path::PathBuf;

use aitbc_common::hash::Hash;
use aitbc_common::layouts::{Record, RecordBody, SignedTransaction, Transaction};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{Home, SECRET_MODE, write_atomic};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::{ListTransactionsRequest, LogRecord};

use crate::retries::with_retries;

/// Records of one page of an account's history.
const PAGE: u32 = 1_000;
/// Pages that are looked through for who used a nonce.
const PAGES: usize = 10;
/// Refused transactions of one signer that are kept; with more, nothing is signed until the oldest are over.
const MOST: usize = 1_000;

/// The refused transactions of one signer on one chain, while they may be recorded yet.
#[derive(Debug)]
pub struct Refused {
    file: PathBuf,
    kept: Vec<SignedTransaction>,
}

impl Refused {
    /// Of a signer's name (see `Chosen::lock_name`), without those whose time is up at `now_ms`.
    pub fn read(
        home: &Home,
        chain_id: &Hash,
        signer: &str,
        now_ms: u64,
    ) -> Result<Self, CommandError> {
        let folder = home.state_dir().join("transactions");
        let file = folder
            .join(hex::encode(chain_id))
            .join(format!("{signer}.refused.json"));
        let mut refused = Self {
            file,
            kept: Vec::new(),
        };
        let bytes = match fs::read(&refused.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(refused),
            Err(error) => return Err(refused.failed("read", &error)),
        };
        let texts: Vec<String> =
            serde_json::from_slice(&bytes).map_err(|error| refused.failed("use", &error.into()))?;
        for text in texts {
            let signed = hex::decode(text)
                .ok()
                .and_then(|bytes| SignedTransaction::decode(&bytes).ok());
            let signed = signed.ok_or_else(|| {
                refused.failed("use", &io::Error::other("it holds no transactions"))
            })?;
            if signed.transaction.valid_until >= now_ms {
                refused.kept.push(signed);
            }
        }
        Ok(refused)
    }

    fn failed(&self, what: &str, error: &io::Error) -> CommandError {
        CommandError::file(format_args!("{what} {}", self.file.display()), error).with_hint(
            "see whether the last transactions are recorded (aitbc wallet history), then remove that file",
        )
    }

    /// On disk when it returns.
    pub fn add(&mut self, signed: &SignedTransaction) -> Result<(), CommandError> {
        self.kept.push(signed.clone());
        self.write()
    }

    fn write(&self) -> Result<(), CommandError> {
        let texts: Vec<String> = self
            .kept
            .iter()
            .map(|signed| hex::encode(signed.encode()))
            .collect();
        let bytes = serde_json::to_vec_pretty(&texts).expect("texts are JSON");
        write_atomic(&self.file, &bytes, SECRET_MODE)
    }

    /// Whether a transaction with this nonce may be signed: each refused one has the same nonce, so that at most one of them is
    /// ever recorded, or the ledger proves that another transaction used its nonce.
    pub async fn allows(
        &mut self,
        connection: &Connection,
        home: &Home,
        nonce: u64,
    ) -> Result<(), CommandError> {
        if self.kept.len() >= MOST {
            return Err(self.too_many());
        }
        let mut at = 0;
        while let Some(signed) = self.kept.get(at).cloned() {
            if signed.transaction.nonce == nonce {
                at += 1;
                continue;
            }
            let user = used_by(connection, home, &signed.transaction).await?;
            let Some(user) = user else {
                return Err(still_open(&signed, nonce));
            };
            self.kept.remove(at);
            self.write()?;
            if user == signed.transaction.id() {
                return Err(recorded_after_all(&signed));
            }
        }
        Ok(())
    }

    fn too_many(&self) -> CommandError {
        let until = self
            .kept
            .iter()
            .map(|signed| signed.transaction.valid_until);
        let until = until.min().unwrap_or_default();
        CommandError::new(
            ExitCode::Authentication,
            "TOO_MANY_REFUSED",
            format!("{MOST} transactions of this wallet were refused and may be recorded yet"),
        )
        .with_hint(format!("try again after {}", rfc3339_ms(until)))
    }
}

/// The transaction that used another's nonce, proven to be in the ledger; none where the coordinator shows none.
async fn used_by(
    connection: &Connection,
    home: &Home,
    wanted: &Transaction,
) -> Result<Option<Hash>, CommandError> {
    let mut page_token = String::new();
    for _ in 0..PAGES {
        let request = ListTransactionsRequest {
            address: wanted.account.0.to_vec().into(),
            page_size: PAGE,
            page_token,
        };
        let client = connection.ledger();
        let answer = with_retries(client, request, |mut ledger, request| async move {
            ledger.list_transactions(request).await
        });
        let answer = answer.await?;
        for record in &answer.records {
            if let Some(other) = same_signer(record, wanted)
                && other.nonce == wanted.nonce
            {
                let mut ledger = VerifiedLedger::open(connection, home)?;
                ledger.included(record.index, &record.leaf).await?;
                return Ok(Some(other.id()));
            }
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(None)
}

/// A recorded transaction that counts under the same nonce as another.
fn same_signer(record: &LogRecord, wanted: &Transaction) -> Option<Transaction> {
    let decoded = Record::decode(&record.leaf).ok()?;
    let RecordBody::Transaction(signed) = decoded.body else {
        return None;
    };
    let found = signed.transaction;
    let same = found.account == wanted.account
        && found.sign_mode == wanted.sign_mode
        && found.public_key == wanted.public_key;
    (same && decoded.index == record.index).then_some(found)
}

fn still_open(signed: &SignedTransaction, nonce: u64) -> CommandError {
    let transaction = &signed.transaction;
    CommandError::new(
        ExitCode::Authentication,
        "NONCE",
        format!(
            "the coordinator refused the transaction 0x{} (nonce {}), which it may record yet, and asks for another one with \
             nonce {nonce}: both could be recorded",
            hex::encode(transaction.id()),
            transaction.nonce,
        ),
    )
    .with_hint(format!(
        "nothing was signed; see what is recorded with aitbc wallet history, and try again after {}",
        rfc3339_ms(transaction.valid_until)
    ))
}

fn recorded_after_all(signed: &SignedTransaction) -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "RECORDED_AFTER_ALL",
        format!(
            "the transaction 0x{} is recorded, which the coordinator had refused or not proven",
            hex::encode(signed.transaction.id())
        ),
    )
    .with_hint("see what it did with aitbc wallet history before you send another one; tell the coordinator's operator")
}

#[cfg(test)]
mod tests {
    use aitbc_common::layouts::{SignMode, TransactionKind};
    use aitbc_common::runtime::random_bytes;
    use aitbc_common::wallet::WalletKey;

    use super::*;

    fn signed(nonce: u64, valid_until: u64) -> SignedTransaction {
        let key = WalletKey::from_bytes(&[7; 32]).unwrap();
        let transaction = Transaction {
            kind: TransactionKind::Transfer,
            sign_mode: SignMode::Wallet,
            chain_id: [1; 32],
            public_key: [0; 33],
            account: key.address(),
            nonce,
            valid_until,
            amount: 10,
            max_fee: 0,
            target: aitbc_common::layouts::address_target(key.address()),
            payload_hash: [0; 32],
        };
        SignedTransaction::by_wallet(transaction, Vec::new(), &key).unwrap()
    }

    #[test]
    fn what_was_refused_is_kept_until_its_time_is_up() {
        let folder = std::env::temp_dir().join(format!(
            "aitbc-refused-{}",
            hex::encode(random_bytes::<8>())
        ));
        let home = Home::below(&folder);
        let read = |now_ms| Refused::read(&home, &[1; 32], "me", now_ms).unwrap();
        let mut refused = read(0);
        assert!(refused.kept.is_empty());
        let (first, second) = (signed(4, 100), signed(4, 200));
        refused.add(&first).unwrap();
        refused.add(&second).unwrap();
        assert_eq!(read(100).kept, [first, second.clone()]);
        assert_eq!(read(101).kept, [second]);
        assert!(read(201).kept.is_empty());
        fs::write(&refused.file, "[\"00\"]").unwrap();
        let damaged = Refused::read(&home, &[1; 32], "me", 0).unwrap_err();
        assert!(damaged.hint.unwrap().contains("wallet history"));
        fs::remove_dir_all(folder).unwrap();
    }
}
