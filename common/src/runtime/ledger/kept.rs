//! What this user has seen of a chain's log: the newest checkpoint, and evidence where the log broke its word.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::genesis::{self, Genesis};
use crate::hash::{Hash, sha256};
use crate::identity::PublicKey;
use crate::layouts::MAX_GENESIS;
use crate::ledger::checkpoint::{LogIdentity, MAX_CHECKPOINT_BYTES};
use crate::runtime::errors::{CommandError, ExitCode};
use crate::runtime::files::{PLAIN_MODE, lock_file, make_folder, write_atomic, writing_failed};

/// Files of evidence that are kept of one chain: one for each text. More of the same proves no more.
const MAX_EVIDENCE: usize = 1_000;

/// The chain's genesis file.
const GENESIS: &str = "genesis.json";

/// The log of a chain whose genesis file was kept in its folder.
pub(super) fn known_log(
    folder: &Path,
    chain_id: &Hash,
) -> Result<Option<LogIdentity>, CommandError> {
    let path = folder.join(GENESIS);
    let mut bytes = Vec::new();
    let read = File::open(&path)
        .and_then(|file| file.take(MAX_GENESIS as u64 + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format_args!("read {}", path.display());
            return Err(CommandError::file(what, &error));
        }
    }
    // A file that is not this chain's says nothing about it.
    let genesis = Genesis::parse(&bytes)
        .ok()
        .filter(|_| genesis::chain_id(&bytes) == *chain_id);
    Ok(genesis.map(|genesis| LogIdentity {
        chain_id: *chain_id,
        key: PublicKey(genesis.log_key),
    }))
}

/// A chain's folder.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
    log: LogIdentity,
}

impl Kept {
    pub fn new(folder: PathBuf, log: LogIdentity) -> Self {
        Self { folder, log }
    }

    /// Keeps the chain's genesis file: the chain id is its hash, and it names the log's key.
    pub fn keep_genesis(&self, genesis: &[u8]) -> Result<(), CommandError> {
        let file = self.folder.join(GENESIS);
        if file.exists() {
            return Ok(());
        }
        make_folder(&self.folder)?;
        write_atomic(&file, genesis, PLAIN_MODE)
    }

    fn file(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// The newest checkpoint that was seen.
    pub fn read(&self) -> Result<Option<Checkpoint>, CommandError> {
        let path = self.file();
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            file.take(MAX_CHECKPOINT_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(CommandError::file(
                    format_args!("read {}", path.display()),
                    &error,
                ));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| damaged(&path))?;
        let head = self.log.open(&text).map_err(|_| damaged(&path))?;
        Ok(Some(Checkpoint { text, head }))
    }

    /// Keeps a newer checkpoint, unless another command has kept one since `expected` was read.
    pub fn replace(
        &self,
        expected: Option<&Checkpoint>,
        newer: &Checkpoint,
    ) -> Result<bool, CommandError> {
        let _lock = self.lock()?;
        if self.read()?.map(|kept| kept.head) != expected.map(|kept| kept.head) {
            return Ok(false);
        }
        write_atomic(&self.file(), newer.text.as_bytes(), PLAIN_MODE)?;
        Ok(true)
    }

    /// Keeps what was shown, and what it contradicts, word for word; tells where. The same again is not written twice.
    pub fn keep_evidence(
        &self,
        kind: &str,
        seen: Option<&str>,
        shown: &str,
    ) -> Result<Vec<PathBuf>, CommandError> {
        let folder = self.folder.join("evidence");
        make_folder(&folder)?;
        let name = hex::encode(&sha256(shown.as_bytes())[..8]);
        let texts = [("seen", seen), ("shown", Some(shown))];
        let mut paths = Vec::new();
        for (role, text) in texts {
            let Some(text) = text else { continue };
            let path = folder.join(format!("{kind}-{name}-{role}.txt"));
            if !path.exists() {
                let files = fs::read_dir(&folder).map_err(|error| writing_failed(&path, &error))?;
                if files.take(MAX_EVIDENCE).count() == MAX_EVIDENCE {
                    return Ok(vec![folder]);
                }
                let text = &text.as_bytes()[..text.len().min(MAX_CHECKPOINT_BYTES)];
                write_atomic(&path, text, PLAIN_MODE)?;
            }
            paths.push(path);
        }
        Ok(paths)
    }

    fn lock(&self) -> Result<File, CommandError> {
        make_folder(&self.folder)?;
        lock_file(&self.folder.join("lock"))
    }
}

fn damaged(path: &Path) -> CommandError {
    CommandError::new(
        ExitCode::ProofFailed,
        "LEDGER_KEPT_DAMAGED",
        format!(
            "{} is not the checkpoint of the ledger that was kept there",
            path.display()
        ),
    )
    .with_hint(
        "restore it from a backup; moving it away forgets what was seen, so that a rollback before now goes unnoticed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::ledger::checkpoint::sign;
    use crate::ledger::log::TreeHead;
    use crate::runtime::random_bytes;

    const CHAIN: [u8; 32] = [1; 32];

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    fn kept() -> (Folder, Kept) {
        let name = format!("aitbc-kept-{}", hex::encode(random_bytes::<8>()));
        let folder = std::env::temp_dir().join(name);
        let log = LogIdentity {
            chain_id: CHAIN,
            key: Identity::from_seed(&[2; 32]).public(),
        };
        (Folder(folder.clone()), Kept::new(folder, log))
    }

    fn checkpoint(size: u64) -> Checkpoint {
        let head = TreeHead {
            size,
            root: [9; 32],
        };
        let text = sign(&CHAIN, &head, &Identity::from_seed(&[2; 32]));
        Checkpoint { text, head }
    }

    #[test]
    fn only_the_one_that_was_read_is_replaced() {
        let (_folder, kept) = kept();
        let (one, two, three) = (checkpoint(1), checkpoint(2), checkpoint(3));
        assert_eq!(kept.read().unwrap(), None);
        assert!(kept.replace(None, &two).unwrap());
        // Two others read the state before: neither puts the older one back.
        assert!(!kept.replace(None, &one).unwrap());
        assert!(!kept.replace(Some(&one), &three).unwrap());
        assert_eq!(kept.read().unwrap(), Some(two.clone()));
        assert!(kept.replace(Some(&two), &three).unwrap());
        assert_eq!(kept.read().unwrap(), Some(three));
    }

    #[test]
    fn a_chains_log_is_known_by_the_genesis_file_that_hashes_to_its_id() {
        let (folder, kept) = kept();
        let genesis = Genesis {
            allocations: Default::default(),
            faucet: None,
            auditors: Vec::new(),
            fee_bps: 250,
            log_key: [3; 32],
            previous: None,
            profile: "dev".into(),
            random: [1; 32],
            service_key: [2; 32],
            version: 1,
        }
        .to_bytes();
        let chain_id = genesis::chain_id(&genesis);
        assert_eq!(known_log(&folder.0, &chain_id).unwrap(), None);
        kept.keep_genesis(&genesis).unwrap();
        let known = known_log(&folder.0, &chain_id).unwrap().unwrap();
        assert_eq!((known.chain_id, known.key.0), (chain_id, [3; 32]));
        assert_eq!(known_log(&folder.0, &[8; 32]).unwrap(), None);
    }

    #[test]
    fn a_checkpoint_that_another_key_signed_is_not_taken_for_what_was_seen() {
        let (_folder, kept) = kept();
        assert!(kept.replace(None, &checkpoint(1)).unwrap());
        let other = sign(&CHAIN, &checkpoint(1).head, &Identity::from_seed(&[3; 32]));
        fs::write(kept.file(), other).unwrap();
        let error = kept.read().unwrap_err();
        assert_eq!(error.exit, ExitCode::ProofFailed);
        assert!(error.hint.unwrap().contains("backup"));
    }

    #[test]
    fn evidence_is_kept_word_for_word_and_once() {
        let (folder, kept) = kept();
        let texts = (checkpoint(2).text, checkpoint(1).text);
        for _ in 0..2 {
            let paths = kept
                .keep_evidence("rollback", Some(&texts.0), &texts.1)
                .unwrap();
            let found = paths.iter().map(|path| fs::read_to_string(path).unwrap());
            assert_eq!(found.collect::<Vec<_>>(), [&*texts.0, &*texts.1]);
        }
        assert_eq!(fs::read_dir(folder.0.join("evidence")).unwrap().count(), 2);
        let first_contact = kept.keep_evidence("key", None, "anything").unwrap();
        assert_eq!(first_contact.len(), 1);
    }
}
