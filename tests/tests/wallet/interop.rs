//! PyPI's eth-account and npm's ethers open our wallets, and we open theirs.

use std::path::{Path, PathBuf};

use aitbc_common::wallet::SeedPhrase;
use aitbc_tests::harness::{Network, Process, User, tool};

use super::{JUNK, JUNK_ADDRESS, PASSWORD, private_key, scripted};

/// Another wallet program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    EthAccount,
    Ethers,
}

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("interop")
        .join(name);
    path.to_string_lossy().into_owned()
}

impl Tool {
    fn run(self, user: &User, arguments: &[&str]) -> String {
        let (program, mut all): (PathBuf, Vec<String>) = match self {
            Self::EthAccount => (tool("AITBC_TEST_PYTHON"), vec![script("wallet.py")]),
            Self::Ethers => {
                let modules = tool("AITBC_TEST_NODE_MODULES");
                let modules = modules.to_string_lossy().into_owned();
                (tool("AITBC_TEST_NODE"), vec![script("wallet.mjs"), modules])
            }
        };
        all.extend(arguments.iter().map(ToString::to_string));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let user = user.clone().with("PYTHONDONTWRITEBYTECODE", "1");
        let output = Process::start(user.command(&program, &all))
            .wait()
            .succeeds();
        output.text().trim().to_owned()
    }

    /// A private key that it prints, as we write them.
    fn key(self, user: &User, arguments: &[&str]) -> String {
        let printed = self.run(user, arguments);
        format!("0x{}", printed.trim_start_matches("0x"))
    }
}

fn our_wallets_open_in(other: Tool) {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    let seed = network.folder().join("seed.txt");
    let line = format!(
        "aitbc wallet create --name ours --seed-phrase-file {}",
        seed.display()
    );
    let _made = user.types(&line).succeeds();
    let key = private_key(&network, &user, "ours");
    let keystore = network.folder().join("ours.json");
    let keystore = keystore.to_string_lossy();
    let _copied = user
        .types(&format!("aitbc wallet export --keystore {keystore}"))
        .succeeds();
    assert_eq!(other.key(&user, &["open", &keystore, PASSWORD]), key);
    let words = std::fs::read_to_string(&seed).expect("written");
    assert_eq!(other.key(&user, &["words", words.trim(), ""]), key);
}

fn wallets_of_another_open_here(other: Tool) {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    let key = other.key(&user, &["words", JUNK, "pässphrase"]);
    let expected = SeedPhrase::parse(JUNK).expect("12 words").key("pässphrase");
    assert_eq!(key, format!("0x{}", hex::encode(*expected.to_bytes())));
    let file = network.folder().join("theirs.json");
    let file = file.to_string_lossy();
    other.run(&user, &["make", &file, PASSWORD, &key]);
    let _imported = user
        .types(&format!(
            "aitbc wallet import --name theirs --keystore {file}"
        ))
        .succeeds();
    assert_eq!(private_key(&network, &user, "theirs"), key);
    user.clone()
        .with("AITBC_WALLET_PASSWORD", "wrong")
        .types(&format!(
            "aitbc wallet import --name again --keystore {file}"
        ))
        .refuses(4, "does not open");
}

#[test]
fn our_wallets_open_in_eth_account() {
    our_wallets_open_in(Tool::EthAccount);
}

#[test]
fn our_wallets_open_in_ethers() {
    our_wallets_open_in(Tool::Ethers);
}

#[test]
fn wallets_of_eth_account_open_here() {
    wallets_of_another_open_here(Tool::EthAccount);
}

#[test]
fn wallets_of_ethers_open_here() {
    wallets_of_another_open_here(Tool::Ethers);
}

#[test]
fn eth_account_finds_our_signatures_good() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let key = SeedPhrase::parse(JUNK).expect("12 words").key("");
    for byte in 0..4 {
        let hash = [byte; 32];
        let signature = hex::encode(key.sign(&hash));
        let addresses = Tool::EthAccount.run(&user, &["recover", &hex::encode(hash), &signature]);
        assert!(addresses.contains(JUNK_ADDRESS), "{addresses}");
    }
}
