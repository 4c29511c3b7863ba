//! Receipts in files: everything that somebody else needs in order to check one without a network.

use serde::{Deserialize, Serialize};

use super::{Proof, ProofParts, Trust, VerifyError, check_acknowledgement, check_record};
use crate::hash::{Hash, Sha256Stream, sha256};
use crate::identity::PublicKey;
use crate::job_input::JobType;
use crate::layouts::{Acknowledgement, Record};
use crate::ledger::checkpoint::LogIdentity;
use crate::ledger::log::TreeHead;
use crate::ledger::tlog_proof::TlogProof;

/// Bytes of a receipt file, at most: it has about 2 KiB, and 3 more with a place in the ledger.
const MAX_BYTES: usize = 1 << 20;

/// A receipt file: JSON, binary values in base64. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// Job spec layout.
    #[serde(with = "base64_bytes")]
    pub spec: Vec<u8>,
    /// Assignment layout.
    #[serde(with = "base64_bytes")]
    pub assignment: Vec<u8>,
    /// The service key's signature over it.
    #[serde(with = "base64_bytes")]
    pub assignment_sig: Vec<u8>,
    /// Receipt layout.
    #[serde(with = "base64_bytes")]
    pub receipt: Vec<u8>,
    /// The miner's signature over it.
    #[serde(with = "base64_bytes")]
    pub receipt_sig: Vec<u8>,
    /// The service key.
    #[serde(with = "base64_bytes")]
    pub service_key: Vec<u8>,
    /// Where it stands in the ledger; null before it is recorded there.
    pub ledger: Option<LedgerProof>,
    /// Acknowledgement layout of the job's owner; left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64_bytes")]
    pub acknowledgement: Vec<u8>,
    /// The owner's signature over it.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64_bytes")]
    pub acknowledgement_sig: Vec<u8>,
}

/// A record of the ledger that rests on the receipt, with the proof that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerProof {
    /// The POST or RECEIPT record.
    #[serde(with = "base64_bytes")]
    pub leaf: Vec<u8>,
    /// The text of a [`TlogProof`].
    pub proof: String,
    /// The log's key.
    #[serde(with = "base64_bytes")]
    pub log_key: Vec<u8>,
}

/// A receipt's place in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The POST or RECEIPT record.
    pub record: Record,
    /// The log that it is in.
    pub head: TreeHead,
    /// Which log that is: its key is the known one, or the file's own word.
    pub log: LogIdentity,
}

/// Bytes that are no receipt file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFileError {
    /// Too long to be one.
    #[error("it has {0} bytes, a receipt file has a few thousand")]
    TooLarge(usize),
    /// Not JSON, a field is missing, or a value is not base64.
    #[error("{0}")]
    Malformed(String),
}

impl ReceiptFile {
    /// From the parts of a proof.
    #[must_use]
    pub fn new(parts: &ProofParts<'_>) -> Self {
        Self {
            spec: parts.spec.to_vec(),
            assignment: parts.assignment.to_vec(),
            assignment_sig: parts.assignment_signature.to_vec(),
            receipt: parts.receipt.to_vec(),
            receipt_sig: parts.receipt_signature.to_vec(),
            service_key: parts.service_key.to_vec(),
            ledger: None,
            acknowledgement: Vec::new(),
            acknowledgement_sig: Vec::new(),
        }
    }

    /// Reads a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReceiptFileError> {
        if bytes.len() > MAX_BYTES {
            return Err(ReceiptFileError::TooLarge(bytes.len()));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| ReceiptFileError::Malformed(error.to_string()))
    }

    /// The file's bytes: one field a line.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a receipt file has only text keys");
        bytes.push(b'\n');
        bytes
    }

    /// The parts of the proof in it.
    #[must_use]
    pub fn parts(&self) -> ProofParts<'_> {
        ProofParts {
            spec: &self.spec,
            assignment: &self.assignment,
            assignment_signature: &self.assignment_sig,
            receipt: &self.receipt,
            receipt_signature: &self.receipt_sig,
            service_key: &self.service_key,
        }
    }
}

/// Checks a saved receipt without a network, and the output it is for where that is given.
///
/// What the client itself knows of the job (`trust`) is held against it. Without that, the file is only checked to be
/// consistent: its own service key signed its assignment, and the assigned miner its receipt.
///
/// The output of an embedding job is empty, so for one its whole result document may be given instead.
pub fn verify_receipt_file(
    file: &ReceiptFile,
    trust: Option<&Trust>,
    output: Option<&[u8]>,
) -> Result<Proof, VerifyError> {
    let proof = Proof::decode(&file.parts())?;
    let own_word = || Trust {
        chain_id: proof.spec.chain_id,
        service_key: proof.service_key,
        owner: proof.spec.owner,
        job_id: None,
        spec: None,
    };
    proof.check(&trust.cloned().unwrap_or_else(own_word))?;
    let Some(bytes) = output else {
        return Ok(proof);
    };
    let is_result = proof.spec.job_type == JobType::Embedding
        && !bytes.is_empty()
        && sha256(bytes) == proof.receipt.result_hash;
    if !is_result {
        let mut stream = Sha256Stream::default();
        stream.update(bytes);
        proof.check_output(&stream)?;
    }
    Ok(proof)
}

/// Checks what a file says of the ledger and of its owner's word, for a proof that [`verify_receipt_file`] gave. With the
/// log's key where that is known; without, the file is only checked to be consistent with its own.
pub fn verify_logged(
    file: &ReceiptFile,
    proof: &Proof,
    log_key: Option<PublicKey>,
) -> Result<(Option<Logged>, Option<Acknowledgement>), VerifyError> {
    let said = !file.acknowledgement.is_empty() || !file.acknowledgement_sig.is_empty();
    let acknowledgement = said
        .then(|| check_acknowledgement(proof, &file.acknowledgement, &file.acknowledgement_sig))
        .transpose()?;
    let Some(ledger) = &file.ledger else {
        return Ok((None, acknowledgement));
    };
    let own = Hash::try_from(&ledger.log_key[..]);
    let key = PublicKey(own.map_err(|_| VerifyError::PartSize("log key"))?);
    if log_key.is_some_and(|known| known != key) {
        return Err(VerifyError::LogKey);
    }
    let log = LogIdentity {
        chain_id: proof.spec.chain_id,
        key,
    };
    let text = TlogProof::parse(&ledger.proof)?;
    let head = text.check(&ledger.leaf, &log)?;
    let record = Record::decode(&ledger.leaf)?;
    if record.index != text.index {
        return Err(VerifyError::Record("the place"));
    }
    check_record(proof, &record.body)?;
    Ok((Some(Logged { record, head, log }), acknowledgement))
}

pub(super) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
