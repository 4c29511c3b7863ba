//! A coordinator that lies about its ledger: every lie ends with exit code 8, and what it signed is kept.

use aitbc_common::identity::Identity;
use aitbc_tests::harness::{Network, Output, User};
use aitbc_tests::lying_proxy::{Lie, LyingProxy};

use super::{Payer, somebody};
use aitbc_common::layouts::{TransactionKind, address_target};

struct Lab {
    network: Network,
    proxy: LyingProxy,
    me: User,
    payer: Payer,
}

fn lab() -> Lab {
    let network = Network::start();
    let proxy = LyingProxy::start(network.address());
    let digits =
        std::fs::read_to_string(network.data_dir().join("log.key")).expect("the log's key");
    let mut seed = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut seed).expect("64 digits");
    proxy.has_log_key(Identity::from_seed(&seed));
    let me = network
        .user("me")
        .with("AITBC_COORDINATOR", proxy.address())
        .with("AITBC_WALLET_PASSWORD", "correct horse battery staple");
    let payer = Payer::new(&me);
    Lab {
        network,
        proxy,
        me,
        payer,
    }
}

impl Lab {
    fn caught(&self, lie: Lie, line: &str, reason: &str) -> Output {
        self.proxy.tells(lie);
        let caught = self.me.types(&format!("{line} --json")).exits(8);
        let error = caught.json_error();
        assert_eq!(error["reason"], reason, "{lie:?}: {error}");
        assert!(
            error["hint"].is_string() && caught.stdout.is_empty(),
            "{lie:?}: {caught:?}"
        );
        self.proxy.tells(Lie::None);
        caught
    }

    /// Files of evidence of this kind, and that the error names them.
    fn evidence(&self, kind: &str, caught: &Output) -> Vec<String> {
        let chain = hex::encode(self.payer.connection.chain_id());
        let folder = self
            .me
            .home()
            .state_dir()
            .join("ledger")
            .join(chain)
            .join("evidence");
        let files = std::fs::read_dir(folder).expect("there is evidence");
        let mut paths: Vec<_> = files
            .map(|file| file.expect("a readable folder").path())
            .filter(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(kind))
            })
            .collect();
        paths.sort();
        for path in &paths {
            assert!(
                caught.stderr.contains(&path.display().to_string()),
                "{path:?}: {caught:?}"
            );
        }
        paths
            .iter()
            .map(|path| std::fs::read_to_string(path).expect("a text"))
            .collect()
    }

    fn checkpoint(&self) -> String {
        let shown = self
            .me
            .types("aitbc ledger checkpoint --json")
            .succeeds()
            .json();
        shown["checkpoint"].as_str().expect("a text").to_owned()
    }
}

#[test]
fn a_rollback_a_fork_and_another_key_are_caught_with_evidence() {
    let mut lab = lab();
    lab.payer.transfers(1, "one");
    let older = lab.checkpoint();
    lab.payer.transfers(1, "two");
    let newer = lab.checkpoint();

    let caught = lab.caught(Lie::Rollback, "aitbc ledger checkpoint", "LEDGER_ROLLBACK");
    let mut first = lab.evidence("rollback", &caught);
    assert_eq!(first.len(), 2);
    assert!(first.contains(&newer), "{first:?}");
    let shown = first.swap_remove(usize::from(first[0] == newer));
    assert!(
        shown == older || shown.lines().next() == older.lines().next(),
        "{shown}"
    );

    let caught = lab.caught(Lie::Fork, "aitbc ledger checkpoint", "LEDGER_FORK");
    let texts = lab.evidence("fork", &caught);
    let sizes: Vec<_> = texts.iter().map(|text| text.lines().nth(1)).collect();
    assert!(
        texts.len() == 2 && sizes[0] == sizes[1] && texts[0] != texts[1],
        "{texts:?}"
    );

    let caught = lab.caught(
        Lie::LogKeyChanged,
        "aitbc ledger audit",
        "LEDGER_KEY_CHANGED",
    );
    assert_eq!(lab.evidence("key", &caught).len(), 2);

    assert_eq!(
        lab.checkpoint(),
        newer,
        "the honest one is still what is kept"
    );
}

#[test]
fn proofs_that_prove_nothing_are_caught() {
    let mut lab = lab();
    let hash = lab.payer.unstakes();
    let tx = format!("aitbc ledger tx {hash}");
    let _honest = lab.me.types(&tx).succeeds();
    lab.caught(Lie::InclusionChanged, &tx, "LEDGER_PROOF_INVALID");
    lab.caught(Lie::StateChanged, &tx, "LEDGER_PROOF_INVALID");
    lab.payer.transfers(1, "later");
    let caught = lab.caught(Lie::ConsistencyChanged, &tx, "LEDGER_INCONSISTENT");
    assert_eq!(lab.evidence("inconsistent", &caught).len(), 2);
    let _newer = lab.checkpoint();
    let caught = lab.caught(Lie::StateStale, &tx, "LEDGER_ROLLBACK");
    assert_eq!(lab.evidence("rollback", &caught).len(), 2);
}

#[test]
fn nothing_is_counted_twice() {
    let mut lab = lab();
    lab.payer.unstakes();
    let key = lab.network.folder().join("key.txt");
    std::fs::write(&key, hex::encode([7; 32])).expect("a folder to write to");
    let import = format!(
        "aitbc wallet import --name payer --private-key-file {} --json",
        key.display()
    );
    let me = &lab.me;
    let _imported = me.types(&import).succeeds();
    let balance = me.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(balance["total_ait"], "100.000000", "{balance}");
    let _honest = me.types("aitbc wallet history").succeeds();
    for (lie, line) in [
        (Lie::StakeRepeated, "aitbc wallet balance"),
        (Lie::HistoryRepeated, "aitbc wallet balance"),
        (Lie::HistoryRepeated, "aitbc wallet history"),
    ] {
        lab.caught(lie, line, "LEDGER_PROOF_INVALID");
    }
}

#[test]
fn the_one_record_that_is_not_as_it_was_signed_is_named() {
    let mut lab = lab();
    for memo in ["one", "two", "three", "four", "five"] {
        lab.payer.transfers(1, memo);
    }
    let file = lab.network.folder().join("ledger.ndjson");
    let export = format!("aitbc ledger export --output {}", file.display());
    for line in ["aitbc ledger audit", &export] {
        let caught = lab.caught(Lie::RecordRetimed, line, "LEDGER_ROOT_DIFFERS");
        let message = caught.json_error()["message"].to_string();
        assert!(
            message.contains("record 5 is not the one that was signed"),
            "{message}"
        );
    }
    assert!(!file.exists());
}

#[test]
fn a_record_that_is_withheld_is_missed() {
    let mut lab = lab();
    lab.payer.transfers(1, "one");
    let _honest = lab.checkpoint();
    lab.caught(
        Lie::RecordWithheld,
        "aitbc ledger record 1",
        "LEDGER_RECORD_WITHHELD",
    );
    lab.caught(
        Lie::RecordWithheld,
        "aitbc ledger audit",
        "LEDGER_RECORD_WITHHELD",
    );
    // Acknowledged, and then no checkpoint ever covers it.
    lab.proxy.tells(Lie::RecordWithheld);
    let (hash, _) = lab.payer.submits(
        TransactionKind::Transfer,
        1,
        address_target(somebody()),
        "two",
    );
    let verify = format!("aitbc wallet verify {hash}");
    lab.caught(Lie::RecordWithheld, &verify, "LEDGER_RECORD_WITHHELD");
    let _honest = lab.me.types(&verify).succeeds();
    drop(lab.network);
}
