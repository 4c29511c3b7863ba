//! A wallet binds a miner: then nobody who has the miner's machine can have it paid elsewhere.

use aitbc_common::identity::PublicKey;
use aitbc_tests::harness::wait_for;

use super::{OTHER, network_and_user, scripted, wallet};

const REGISTER: &str = r#"aitbc miner register --gpus "1x RTX 4090" --price-per-hour 0.5"#;

#[test]
fn a_bound_miner_is_paid_nowhere_else_until_its_wallet_lets_it_go() {
    let (network, user) = network_and_user();
    let address = wallet(&network, &user, "test_wallet");
    user.types("aitbc wallet bind").refuses(5, "no miner rig-1");
    let _registered = user.types(REGISTER).succeeds();
    let bound = user.types("aitbc wallet bind --json").succeeds().json();
    assert_eq!(bound["address"].as_str(), Some(&*address));
    let again = user.types("aitbc wallet bind").succeeds();
    assert!(again.text().contains("Bound already"), "{}", again.text());
    let elsewhere = format!("aitbc miner update --payout {OTHER}");
    wait_for("the binding", || {
        (user.types(&elsewhere).code == 4).then_some(())
    });
    user.types(&elsewhere).refuses(4, "is bound to the wallet");
    // Another wallet can neither take it nor let it go.
    let thief = scripted(&network, "thief");
    wallet(&network, &thief, "theirs");
    let identity = bound["identity"].as_str().expect("a key");
    thief
        .types(&format!("aitbc wallet bind --release {identity}"))
        .refuses(4, "is bound to the wallet");
    // A second miner consents on its machine; the wallet binds it from here.
    let rig = network.user("rig");
    let _registered = rig
        .types(&format!("{REGISTER} --payout {OTHER}"))
        .succeeds();
    rig.types(&format!("aitbc miner update --payout {address}"))
        .refuses(4, "has bound its miners");
    let consent = rig
        .types(&format!("aitbc wallet bind --consent-for {address}"))
        .succeeds();
    let bind = format!("aitbc wallet bind --consent {}", consent.text().trim());
    thief.types(&bind).refuses(4, "another wallet");
    let _bound = user.types(&bind).succeeds();
    wait_for("the second binding", || {
        let shown = rig.types("aitbc miner status --json").succeeds().json();
        shown.to_string().contains(&address).then_some(())
    });
    let _again = user.types(&bind).succeeds();
    // Nor can it take the miner's place by a first stake, bound or not.
    let stake = format!("aitbc wallet stake {identity} 1");
    thief.types(&stake).refuses(4, "is bound to the wallet");
    let free = PublicKey([9; 32]);
    thief
        .types(&format!("aitbc wallet stake {free} 0.000001"))
        .refuses(4, "--consent-for");
    let _staked = user.types(&stake).succeeds();
    let _released = user
        .types(&format!("aitbc wallet bind --release {identity}"))
        .succeeds();
    wait_for("the release", || {
        (user.types(&elsewhere).code == 0).then_some(())
    });
    let _sound = user.types("aitbc ledger audit").succeeds();
}
