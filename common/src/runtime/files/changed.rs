//! Another network at an address that is known.

use crate::hash::{Hash, hash_text};
use crate::identity::PublicKey;
use crate::runtime::channel::CoordinatorUrl;
use crate::runtime::errors::{CommandError, ExitCode};

/// Why a coordinator is not talked to whose chain or service key is not the pinned one: each as chain and key.
#[must_use]
pub fn changed_network(
    url: &CoordinatorUrl,
    pinned: (&Hash, &PublicKey),
    found: (&Hash, &PublicKey),
) -> CommandError {
    let what = if pinned.0 == found.0 {
        format!("service key {} instead of {}", found.1, pinned.1)
    } else {
        format!(
            "chain {} instead of {}",
            hash_text(found.0),
            hash_text(pinned.0)
        )
    };
    CommandError::new(
        ExitCode::ProofFailed,
        "NETWORK_CHANGED",
        format!("{url} is not the network that it was: {what}"),
    )
    .with_hint("if its operator confirms the change: aitbc config trust")
}
