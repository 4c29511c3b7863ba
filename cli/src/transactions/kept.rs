//! The transaction of a wallet that was signed and not answered yet: one file, on disk before it is sent.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, RentalId};
use aitbc_common::layouts::SignedTransaction;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::{Home, SECRET_MODE, write_atomic};
use serde::{Deserialize, Serialize};

/// A signed transaction with what is sent beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The transaction.
    pub transaction: SignedTransaction,
    /// The job that a lock is for, and its owner.
    pub job: Option<(JobId, PublicKey)>,
    /// The rental that a lock is for.
    pub rental: Option<RentalHint>,
}

/// The rental that a lock is for: what its target is the hash of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RentalHint {
    /// The listing.
    pub listing: ListingId,
    /// The rental that it prolongs.
    pub extends: Option<RentalId>,
    /// Random bytes.
    pub salt: [u8; 32],
    /// Milliseconds.
    pub term_ms: u64,
    /// Micro-AIT per hour.
    pub rate: u64,
}

/// As its file holds it.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// Its stored form, hexadecimal.
    transaction: String,
    job_id: Option<String>,
    /// Hexadecimal.
    job_owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rental: Option<StoredRental>,
}

/// A [`RentalHint`] as its file holds it.
#[derive(Serialize, Deserialize)]
struct StoredRental {
    listing_id: String,
    extends: Option<String>,
    /// Hexadecimal.
    salt: String,
    term_ms: u64,
    rate: u64,
}

impl RentalHint {
    fn stored(&self) -> StoredRental {
        StoredRental {
            listing_id: self.listing.to_string(),
            extends: self.extends.map(|id| id.to_string()),
            salt: hex::encode(self.salt),
            term_ms: self.term_ms,
            rate: self.rate,
        }
    }

    fn read(stored: &StoredRental) -> Option<Self> {
        let mut salt = [0; 32];
        hex::decode_to_slice(&stored.salt, &mut salt).ok()?;
        let extends = stored.extends.as_ref().map(|id| id.parse()).transpose();
        Some(Self {
            listing: stored.listing_id.parse().ok()?,
            extends: extends.ok()?,
            salt,
            term_ms: stored.term_ms,
            rate: stored.rate,
        })
    }
}

/// Where the unanswered transaction of one signer on one chain is.
#[derive(Debug, Clone)]
pub struct Kept {
    file: PathBuf,
}

impl Kept {
    /// For a signer's name (see `Chosen::lock_name`).
    pub fn new(home: &Home, chain_id: &Hash, signer: &str) -> Self {
        let folder = home.state_dir().join("transactions");
        Self {
            file: folder
                .join(hex::encode(chain_id))
                .join(format!("{signer}.json")),
        }
    }

    /// What is there.
    pub fn read(&self) -> Result<Option<Signed>, CommandError> {
        let bytes = match fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(CommandError::file(
                    format_args!("read {}", self.file.display()),
                    &error,
                )
                .with_hint("check who may read it"));
            }
        };
        parse(&bytes).map(Some).ok_or_else(|| {
            CommandError::new(
                ExitCode::Authentication,
                "TRANSACTION_UNREADABLE",
                format!("{} holds no transaction", self.file.display()),
            )
            .with_hint(
                "see whether the last one was recorded (aitbc wallet history), then remove that file",
            )
        })
    }

    /// Whether there is one.
    pub fn exists(&self) -> bool {
        self.file.exists()
    }

    /// On disk when it returns.
    pub fn write(&self, signed: &Signed) -> Result<(), CommandError> {
        let stored = Stored {
            transaction: hex::encode(signed.transaction.encode()),
            job_id: signed.job.map(|(job, _)| job.to_string()),
            job_owner: signed.job.map(|(_, owner)| hex::encode(owner.0)),
            rental: signed.rental.as_ref().map(RentalHint::stored),
        };
        let bytes = serde_json::to_vec_pretty(&stored).expect("fields are strings");
        write_atomic(&self.file, &bytes, SECRET_MODE)
    }

    /// Its fate is known. Gone from the disk when it returns: if it came back, the next equal one would not be sent.
    pub fn forget(&self) -> Result<(), CommandError> {
        let removed = fs::remove_file(&self.file).and_then(|()| match self.file.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        });
        removed.map_err(|error| {
            CommandError::file(format_args!("remove {}", self.file.display()), &error)
                .with_hint("remove it by hand: its transaction has its answer")
        })
    }
}

fn parse(bytes: &[u8]) -> Option<Signed> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let job = match (stored.job_id, stored.job_owner) {
        (Some(job), Some(owner)) => {
            let mut key = Hash::default();
            hex::decode_to_slice(owner, &mut key).ok()?;
            Some((job.parse().ok()?, PublicKey(key)))
        }
        _ => None,
    };
    let rental = match &stored.rental {
        Some(rental) => Some(RentalHint::read(rental)?),
        None => None,
    };
    let transaction = SignedTransaction::decode(&hex::decode(stored.transaction).ok()?).ok()?;
    Some(Signed {
        transaction,
        job,
        rental,
    })
}
