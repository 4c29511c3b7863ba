//! What the verbs that sign a transaction share.

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::MinerId;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::terminal::rfc3339_ms;
use aitbc_proto::v1::GetMinerRequest;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::json::ait;
use crate::transactions::{Chosen, Draft, send};
use crate::values;

/// What is said when it is recorded.
pub struct Done {
    /// For people: the first line.
    pub text: String,
    /// For programs: what the transaction was about.
    pub fields: Vec<(&'static str, Value)>,
}

/// Opens the wallet, sends, prints.
pub async fn carry_out(
    context: &Context,
    connection: &Connection,
    chosen: Chosen,
    draft: &Draft,
    done: Done,
) -> Result<(), CommandError> {
    let signer = chosen.unlock(&connection.identity).await?;
    let sent = send(context, connection, &signer, draft).await?;
    let id = format!("0x{}", hex::encode(sent.id));
    let mut document = json!({
        "tx_hash": id,
        "height": sent.index,
        "index": sent.index,
        "time": rfc3339_ms(sent.time_ms),
        "wallet": sent.from,
        "address": signer.account().to_string(),
        "amount_ait": ait(draft.amount),
    });
    for (name, value) in done.fields {
        document[name] = value;
    }
    let text = format!(
        "{}\n  transaction  {id} (record {})     from  {}",
        done.text, sent.index, sent.from
    );
    context.result(&document, text)
}

/// A miner on the command line: its id, or its identity's key.
#[derive(Debug, Clone, Copy)]
pub enum MinerName {
    /// Its id.
    Id(MinerId),
    /// Its key.
    Key(PublicKey),
}

/// Reads a miner's id or key.
pub fn miner_name(text: &str) -> Result<MinerName, CommandError> {
    if text.starts_with("ed25519:") {
        return values::identity_key(text).map(MinerName::Key);
    }
    values::miner_id(text).map(MinerName::Id).map_err(|error| {
        let hint = error.hint.clone().unwrap_or_default();
        error.with_hint(format!(
            "{hint}; or give its key: ed25519: and 64 hexadecimal digits"
        ))
    })
}

impl MinerName {
    /// Its identity's key.
    pub async fn key(self, connection: &Connection) -> Result<PublicKey, CommandError> {
        let id = match self {
            Self::Key(key) => return Ok(key),
            Self::Id(id) => id.to_string(),
        };
        let request = GetMinerRequest {
            miner_id: id.clone(),
        };
        let answer = connection.miners().get_miner(request).await?.into_inner();
        let miner = answer.miner.filter(|miner| miner.miner_id == id);
        let key = miner.and_then(|miner| miner.public_key.as_ref().try_into().ok());
        key.map(PublicKey).ok_or_else(|| {
            CommandError::new(
                ExitCode::Failed,
                "INTERNAL",
                format!("the coordinator answered without the key of {id}"),
            )
            .with_hint("name the miner by its key instead: ed25519:…")
        })
    }
}
