//! Telling the coordinator that a result arrived as its receipt says: for the miner, and for the ledger.

use std::time::Duration;

use aitbc_common::layouts::{Acknowledgement, Verdict};
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::unix_ms;
use aitbc_common::verify::check_acknowledgement;
use aitbc_proto::v1::AcknowledgeResultRequest;
use tonic::Request;

use super::delivery::Delivery;
use crate::context::Context;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An acknowledgement as it is kept beside a receipt.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Its layout.
    pub layout: Vec<u8>,
    /// The owner's signature over it.
    pub signature: Vec<u8>,
}

/// Acknowledges a result that checked, unless that was done before. A failure is only said: nothing waits for it.
pub async fn acknowledge(
    context: &Context,
    connection: &Connection,
    delivery: &Delivery,
) -> Option<Acknowledged> {
    let proof = &delivery.verified.proof;
    let shown = Acknowledged {
        layout: delivery.proof.acknowledgement.to_vec(),
        signature: delivery.proof.acknowledgement_signature.to_vec(),
    };
    if check_acknowledgement(proof, &shown.layout, &shown.signature).is_ok() {
        return Some(shown);
    }
    let acknowledgement = Acknowledgement {
        verdict: Verdict::Matches,
        chain_id: *connection.chain_id(),
        receipt_id: proof.receipt_id(),
        owner: connection.identity.public(),
        time_ms: unix_ms(),
    };
    let said = Acknowledged {
        layout: acknowledgement.encode(),
        signature: acknowledgement.sign(&connection.identity).to_vec(),
    };
    let mut request = Request::new(AcknowledgeResultRequest {
        job_id: delivery.job.job_id.clone(),
        acknowledgement: said.layout.clone().into(),
        signature: said.signature.clone().into(),
    });
    request.set_timeout(PATIENCE);
    match connection.jobs().acknowledge_result(request).await {
        Ok(_) => Some(said),
        Err(status) => {
            let error = CommandError::from(status);
            context.warn(
                "NOT_ACKNOWLEDGED",
                format_args!("the result was not acknowledged: {}", error.message),
            );
            None
        }
    }
}
