//! Measured speeds of models, kept by digest in the miner's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aitbc_common::hash::{Hash, hash_text};
use aitbc_common::runtime::errors::CommandError;
use aitbc_common::runtime::files::{PLAIN_MODE, write_atomic};
use serde::{Deserialize, Serialize};

use crate::runner::Speeds;

/// Speeds of one model, in milli-tokens per second; 0 = not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpeeds {
    /// Reading a prompt.
    pub prompt: u32,
    /// Generating.
    pub output: u32,
}

/// The speeds that were measured on this machine. Clones share them.
#[derive(Debug, Clone)]
pub struct SpeedStore {
    path: PathBuf,
    speeds: Arc<Mutex<BTreeMap<String, ModelSpeeds>>>,
}

impl SpeedStore {
    /// Those in the miner's folder. A file that is missing or damaged counts as empty: they are measured again.
    pub fn open(miner_folder: &Path) -> Self {
        let path = miner_folder.join("speeds.json");
        let speeds = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            path,
            speeds: Arc::new(Mutex::new(speeds.unwrap_or_default())),
        }
    }

    /// The speeds of the model with this digest.
    pub fn get(&self, digest: &Hash) -> ModelSpeeds {
        let speeds = self.speeds.lock().unwrap_or_else(PoisonError::into_inner);
        speeds.get(&hash_text(digest)).copied().unwrap_or_default()
    }

    /// Whether the model with this digest was measured.
    pub fn knows(&self, digest: &Hash) -> bool {
        self.speeds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&hash_text(digest))
    }

    /// Keeps a measurement.
    pub fn put(&self, digest: &Hash, measured: &Speeds) -> Result<(), CommandError> {
        let bytes = {
            let mut speeds = self.speeds.lock().unwrap_or_else(PoisonError::into_inner);
            let measured = ModelSpeeds {
                prompt: measured.prompt_milli_tokens_per_second,
                output: measured.output_milli_tokens_per_second,
            };
            speeds.insert(hash_text(digest), measured);
            serde_json::to_vec_pretty(&*speeds).expect("strings and numbers serialize")
        };
        write_atomic(&self.path, &bytes, PLAIN_MODE)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn measurements_are_kept_by_digest_and_damage_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let store = SpeedStore::open(folder.path());
        assert!(!store.knows(&[1; 32]));
        let measured = Speeds {
            prompt_milli_tokens_per_second: 400_000,
            output_milli_tokens_per_second: 28_500,
            load_duration: Duration::ZERO,
        };
        store.put(&[1; 32], &measured).unwrap();
        let again = SpeedStore::open(folder.path());
        assert_eq!(
            again.get(&[1; 32]),
            ModelSpeeds {
                prompt: 400_000,
                output: 28_500
            }
        );
        assert_eq!(again.get(&[2; 32]), ModelSpeeds::default());
        std::fs::write(folder.path().join("speeds.json"), "{").unwrap();
        assert!(!SpeedStore::open(folder.path()).knows(&[1; 32]));
    }
}
