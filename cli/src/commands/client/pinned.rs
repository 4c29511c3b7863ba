//! The networks that this user knows: those of the coordinators that were talked to from here.

use std::collections::BTreeMap;
use std::{fs, io};

use aitbc_common::hash::Hash;
use aitbc_common::identity::PublicKey;
use aitbc_common::runtime::errors::{CommandError, ExitCode};
use aitbc_common::runtime::files::Home;
use serde::Deserialize;

#[derive(Deserialize)]
struct PinnedNetwork {
    chain_id: String,
    service_key: String,
}

/// The service keys that are pinned for a chain, at whatever address; none where it is unknown here.
pub fn service_keys(home: &Home, chain_id: &Hash) -> Result<Vec<PublicKey>, CommandError> {
    let path = home.data_dir().join("networks.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(CommandError::file(
                format_args!("read {}", path.display()),
                &error,
            ));
        }
    };
    let damaged = || {
        CommandError::new(
            ExitCode::ProofFailed,
            "PINS_DAMAGED",
            format!("{} is damaged", path.display()),
        )
        .with_hint(
            "restore it from a backup; moving it away makes every network a first contact again",
        )
    };
    let pins: BTreeMap<String, PinnedNetwork> =
        serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    let chain = hex::encode(chain_id);
    pins.into_values()
        .filter(|pin| pin.chain_id.eq_ignore_ascii_case(&chain))
        .map(|pin| {
            let mut key = [0; 32];
            hex::decode_to_slice(&pin.service_key, &mut key).map_err(|_| damaged())?;
            Ok(PublicKey(key))
        })
        .collect()
}
