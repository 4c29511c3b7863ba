//! `aitbc client verify`: whether a saved receipt checks, without a network.

use std::fs;
use std::path::{Path, PathBuf};

use aitbc_common::job_input::JobType;
use aitbc_common::layouts::{Acknowledgement, RecordBody, Verdict};
use aitbc_common::limits::OUTPUT_BYTES;
use aitbc_common::money::MicroAit;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::ledger::VerifiedLedger;
use aitbc_common::verify::{
    Logged, Proof, ReceiptFile, Trust, VerifyError, verify_logged, verify_receipt_file,
};
use clap::Args;
use serde_json::{Value, json};

use super::delivery::proof_failed;
use super::job_text::elapsed_seconds;
use super::proof_text::{digest_text, receipt_json};
use super::records;
use crate::context::Context;
use crate::output::record::{decoded_json, proof_json, proof_line};

const EXAMPLES: &str = "\
Examples:
  aitbc client verify receipt.json
  aitbc client verify receipt.json --output answer.txt";

/// Which receipt.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A file that aitbc client result --receipt FILE wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whether this is the output that the receipt is for
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn refused(file: &ReceiptFile, with_output: bool, error: &VerifyError) -> CommandError {
    let embeds =
        Proof::decode(&file.parts()).is_ok_and(|proof| proof.spec.job_type == JobType::Embedding);
    let about_output = matches!(
        error,
        VerifyError::OutputLength { .. } | VerifyError::OutputHash
    );
    if embeds && with_output && about_output {
        return proof_failed(error).with_hint(
            "an embedding job's receipt covers its whole result document, not the vectors alone; leave out --output",
        );
    }
    proof_failed(error)
}

/// Checks and prints.
pub fn run(context: &Context, arguments: &Arguments) -> Result<(), CommandError> {
    let file = read_receipt(&arguments.file)?;
    let output = arguments.output.as_deref().map(read_output).transpose()?;
    let claimed = Proof::decode(&file.parts()).map_err(|error| proof_failed(&error))?;
    let own = own_trust(context, &claimed)?;
    let is_own = own.is_some();
    let trust = match own {
        Some(trust) => Some(trust),
        None => pinned_trust(context, &claimed)?,
    };
    let proof = verify_receipt_file(&file, trust.as_ref(), output.as_deref())
        .map_err(|error| refused(&file, output.is_some(), &error))?;
    let ledger = check_ledger(context, &file, &proof)?;
    if !is_own {
        warn(context, &proof, trust.is_some());
    }
    if let Ledger {
        logged: Some(logged),
        is_known: false,
        ..
    } = &ledger
    {
        context.warn(
            "LOG_KEY_NOT_KNOWN",
            format_args!(
                "this network's ledger is not known here: the checkpoint was only checked with the log key in the file; \
                 compare it with your network's: {}",
                logged.log.key
            ),
        );
    }
    print(context, &proof, is_own, output.is_some(), &ledger)
}

/// What a file says of the ledger and of its owner's word, checked.
struct Ledger {
    logged: Option<Logged>,
    acknowledgement: Option<Acknowledgement>,
    /// Whether the log's key is known here, or only the file's own word.
    is_known: bool,
}

fn check_ledger(
    context: &Context,
    file: &ReceiptFile,
    proof: &Proof,
) -> Result<Ledger, CommandError> {
    let known = VerifiedLedger::known(&proof.spec.chain_id, &context.home)?;
    let key = known.map(|log| log.key);
    let (logged, acknowledgement) =
        verify_logged(file, proof, key).map_err(|error| proof_failed(&error))?;
    if let (Some(log), Some(logged)) = (known, &logged)
        && let Some(seen) = VerifiedLedger::seen(log, &context.home)?
        && seen.head.size == logged.head.size
        && seen.head.root != logged.head.root
    {
        let message = format!(
            "the ledger's key signed two ledgers of {} records: the file's, and the one that was seen here",
            seen.head.size
        );
        return Err(
            CommandError::new(ExitCode::ProofFailed, "LEDGER_FORK", message).with_hint(
                "keep the file; show both checkpoints to the coordinator's operator: aitbc ledger checkpoint",
            ),
        );
    }
    Ok(Ledger {
        logged,
        acknowledgement,
        is_known: known.is_some(),
    })
}

impl Ledger {
    fn json(&self) -> Value {
        let Some(logged) = &self.logged else {
            return Value::Null;
        };
        let mut document = proof_json(logged.record.index, &logged.head);
        document["log_key"] = if self.is_known { "known" } else { "not_known" }.into();
        document["record"] = decoded_json(&logged.record);
        document
    }

    fn verdict(&self) -> Option<&'static str> {
        let acknowledgement = self.acknowledgement.as_ref()?;
        Some(match acknowledgement.verdict {
            Verdict::Matches => "matches",
            Verdict::Disputed => "disputed",
        })
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        match &self.logged {
            None => text.push_str("\n  ledger   not in the file"),
            Some(logged) => {
                let line = proof_line(logged.record.index, &logged.head);
                text.push_str(&format!("\n  {line}"));
                if let RecordBody::Post(post) = &logged.record.body {
                    text.push_str(&format!(
                        ", {} AIT paid (fee {} AIT included)",
                        MicroAit(post.posted),
                        MicroAit(post.fee)
                    ));
                }
            }
        }
        text.push_str(match self.verdict() {
            None => "",
            Some("matches") => "\n  owner    acknowledged it: it is what arrived",
            Some(_) => "\n  owner    disputes it: something else arrived",
        });
        text
    }
}

fn warn(context: &Context, proof: &Proof, known_network: bool) {
    let job = proof.receipt.job_id;
    let doubt = if known_network {
        "its specification is the one in the file".to_owned()
    } else {
        format!(
            "compare the service key with your network's: {}",
            proof.service_key
        )
    };
    context.warn(
        "OWN_SPEC_MISSING",
        format_args!("{job} was not submitted from here; {doubt}"),
    );
}

fn print(
    context: &Context,
    proof: &Proof,
    own: bool,
    with_output: bool,
    ledger: &Ledger,
) -> Result<(), CommandError> {
    let receipt = &proof.receipt;
    let document = json!({
        "job_id": receipt.job_id.to_string(),
        "receipt": receipt_json(proof, "", ""),
        "proof": {
            "signature": "valid",
            "output": if with_output { "matches" } else { "not_given" },
            "spec": if own { "own" } else { "not_known" },
            "ledger": ledger.json(),
            "acknowledgement": ledger.verdict(),
        },
        "service_key": proof.service_key.to_string(),
    });
    let output = if with_output {
        "; the output matches"
    } else {
        "; give --output FILE to check the output too"
    };
    let (tokens_in, tokens_out) = (receipt.tokens_in, receipt.tokens_out);
    let tokens = if receipt.is_manual() {
        String::new()
    } else {
        format!(", {tokens_in} tokens in, {tokens_out} out")
    };
    let text = format!(
        "receipt ✓ {job}, attempt {attempt}, model {digest}{tokens}, {work}{output}\n  \
         miner    {miner}\n  \
         pays     {payee}\n  \
         output   {bytes} bytes, sha256:{hash}{ledger}",
        job = receipt.job_id,
        attempt = receipt.attempt,
        digest = digest_text(receipt),
        work = elapsed_seconds(receipt.work_ms),
        miner = receipt.miner_key,
        payee = receipt.payee,
        bytes = receipt.output_len,
        hash = hex::encode(receipt.output_hash),
        ledger = ledger.lines(),
    );
    context.result(&document, text)
}

fn read_receipt(path: &Path) -> Result<ReceiptFile, CommandError> {
    let bytes = fs::read(path).map_err(|error| {
        CommandError::file(format_args!("read {}", path.display()), &error)
            .with_hint("save a receipt with: aitbc client result JOB_ID --receipt FILE")
    })?;
    ReceiptFile::from_bytes(&bytes).map_err(|error| {
        CommandError::usage(format!("{} is no receipt file: {error}", path.display()))
            .with_hint("save it again with: aitbc client result JOB_ID --receipt FILE")
    })
}

fn read_output(path: &Path) -> Result<Vec<u8>, CommandError> {
    let failed =
        |error: std::io::Error| CommandError::file(format_args!("read {}", path.display()), &error);
    let length = fs::metadata(path).map_err(failed)?.len();
    // A result document in JSON may be a little longer than the output it escapes.
    if length > OUTPUT_BYTES * 2 {
        return Err(CommandError::new(
            ExitCode::ProofFailed,
            "PROOF_OUTPUT_DIFFERS",
            "the output is longer than any job's",
        )
        .with_hint("give the file that aitbc client result --output FILE wrote"));
    }
    fs::read(path).map_err(failed)
}

/// What this user kept of the job, where it was submitted from here.
fn own_trust(context: &Context, claimed: &Proof) -> Result<Option<Trust>, CommandError> {
    let record = records::read_job(&context.home, &claimed.receipt.job_id)?;
    Ok(record.and_then(|record| record.trust().ok()))
}

/// What this user knows of the job's network, where a coordinator of it was talked to from here.
fn pinned_trust(context: &Context, claimed: &Proof) -> Result<Option<Trust>, CommandError> {
    let chain_id = claimed.spec.chain_id;
    let keys = context.home.pinned_service_keys(&chain_id)?;
    let known = keys.iter().find(|key| **key == claimed.service_key);
    Ok(known.or(keys.first()).map(|key| Trust {
        chain_id,
        service_key: *key,
        owner: claimed.spec.owner,
        job_id: None,
        spec: None,
    }))
}
