//! Wallets as a person, a script and a thief meet them. None of this needs a coordinator.

mod create;
mod environment;
mod export;
mod import;
mod interop;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aitbc_common::wallet::SeedPhrase;
use aitbc_tests::harness::{Network, User};
use serde_json::Value;

const PASSWORD: &str = "correct horse bättery";
/// The words that every Ethereum tool's tests use, and what they open.
const JUNK: &str = "test test test test test test test test test test test junk";
const JUNK_ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
const JUNK_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

/// Someone whose scripts have the password in the environment.
fn scripted(network: &Network) -> User {
    network.user("me").with("AITBC_WALLET_PASSWORD", PASSWORD)
}

/// Imports the well-known words under a name.
fn import_junk(network: &Network, user: &User, name: &str) -> Value {
    let file = network.write("junk.txt", JUNK);
    let line = format!(
        "aitbc wallet import --name {name} --seed-phrase-file {} --json",
        file.display()
    );
    user.types(&line).succeeds().json()
}

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}

/// The names of the wallets' files.
fn stored(user: &User) -> Vec<String> {
    let names = user.home().wallets().names();
    names.expect("the folder can be read")
}

/// The private key of a wallet, by way of a file.
fn private_key(network: &Network, user: &User, name: &str) -> String {
    let file = network.folder().join(format!("{name}.key"));
    let line = format!(
        "aitbc wallet export {name} --private-key-file {}",
        file.display()
    );
    let _written = user.types(&line).succeeds();
    assert_eq!(mode(&file), 0o600);
    let text = std::fs::read_to_string(&file).expect("it was written");
    std::fs::remove_file(&file).expect("it is there");
    text.trim().to_owned()
}

/// The 24 words that a terminal showed, by their numbers.
fn words_on(screen: &str) -> SeedPhrase {
    let mut tokens = screen.split_whitespace();
    let words: Vec<&str> = (1..=24)
        .map(|number| {
            let number = number.to_string();
            tokens.find(|token| *token == number);
            tokens
                .next()
                .unwrap_or_else(|| panic!("no word {number} in:\n{screen}"))
        })
        .collect();
    SeedPhrase::parse(&words.join(" ")).expect("words that belong together")
}
