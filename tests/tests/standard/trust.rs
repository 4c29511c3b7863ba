//! Another network behind a name that is known: on loopback a warning, elsewhere refused until its user trusts it.

use std::net::Ipv4Addr;

use rcgen::SanType;

use super::{Real, SUBMIT};

/// Reaches this machine, and is no loopback address.
const ELSEWHERE: &str = "0.0.0.0";

/// A real network that is known by two names, and the chain that took its place since.
fn replaced() -> (Real, String) {
    let (mut real, output) = Real::founded();
    let _founded = output.succeeds();
    let elsewhere: Ipv4Addr = ELSEWHERE.parse().expect("an address");
    real.certify(|parameters| {
        let name = SanType::IpAddress(elsewhere.into());
        parameters.subject_alt_names.push(name);
    });
    real.start(&[]);
    for host in ["localhost", ELSEWHERE] {
        let _pinned = real.user_at(host, host).types("aitbc models").succeeds();
    }
    real.stop();
    std::fs::remove_dir_all(real.place.data_dir()).expect("the test's own");
    let founded = real.init(&[]).succeeds().text();
    let chain = founded
        .lines()
        .find_map(|line| line.strip_prefix("chain id:"));
    let chain = chain.expect("init says it").trim().to_owned();
    real.start(&[]);
    (real, chain)
}

#[test]
fn elsewhere_another_network_is_refused_until_it_is_trusted() {
    let (real, chain) = replaced();
    let user = real.user_at(ELSEWHERE, ELSEWHERE);
    let user = user.with("AITBC_WALLET_PASSWORD", "correct horse");
    let line = "aitbc wallet create --name mine --no-faucet --seed-phrase-file seed.txt";
    let _made = user.types(line).succeeds();
    for line in [
        "aitbc models",
        SUBMIT,
        "aitbc client list",
        "aitbc ledger checkpoint",
        "aitbc ledger audit",
        "aitbc wallet balance",
        "aitbc wallet send 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 1",
        "aitbc miner register",
    ] {
        // Each time: what was refused is not taken for known the next time.
        for _ in 0..2 {
            let json = format!("{} --json", line.trim_end_matches(" --json"));
            let refused = user.types(&json).exits(8);
            let error = refused.json_error();
            assert_eq!(error["reason"], "NETWORK_CHANGED", "{line}: {error}");
            let told = |field: &str, part: &str| {
                let text = error[field].as_str().unwrap_or_default();
                assert!(text.contains(part), "{line}: {error}");
            };
            told("message", &chain);
            told("hint", "aitbc config trust");
            assert!(refused.stdout.is_empty(), "{line}: {refused:?}");
        }
    }
    user.types("aitbc models")
        .refuses(8, "is not the network that it was");

    let trusted = user.types("aitbc config trust --json").succeeds().json();
    assert_eq!(trusted["chain_id"], chain, "{trusted}");
    let nothing = user.types("aitbc client list --json").succeeds().json();
    assert_eq!(nothing["jobs"], serde_json::json!([]), "nothing was sent");
    let _job = user.types(SUBMIT).succeeds();
    let checkpoint = user.types("aitbc ledger checkpoint --json").succeeds();
    assert_eq!(checkpoint.json()["chain_id"], chain);
}

#[test]
fn on_loopback_another_network_is_a_warning_once() {
    let (real, chain) = replaced();
    let user = real.user_at("localhost", "localhost");
    let first = user.types("aitbc ledger checkpoint --json").succeeds();
    assert!(first.stderr.contains("NETWORK_CHANGED"), "{first:?}");
    assert_eq!(first.json()["chain_id"], chain);
    let second = user.types("aitbc ledger checkpoint --json").succeeds();
    assert!(!second.stderr.contains("NETWORK_CHANGED"), "{second:?}");
}
