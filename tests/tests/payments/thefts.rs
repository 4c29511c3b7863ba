//! A keystore in the wrong hands: without the password it moves nothing. (That it shows nothing either is a test of wallets.)

use super::{OTHER, available, count, network_and_user, scripted, submit, wallet};

#[test]
fn a_stolen_keystore_sends_nothing_without_its_password() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let stored = user.home().wallets().get("test_wallet").expect("stored");
    let thief = scripted(&network, "thief").with("AITBC_WALLET_PASSWORD", "password123");
    let folder = thief.aitbc_home().join("wallets");
    std::fs::create_dir_all(&folder).expect("the thief's own");
    std::fs::copy(&stored.file, folder.join("mine.json")).expect("the thief's own");
    let job = submit(&thief, "--hold");
    let friend = "ed25519:".to_owned() + &"05".repeat(32);
    for line in [
        format!("aitbc wallet send {OTHER} 1 --wallet mine"),
        format!("aitbc client pay {job} --amount 1 --wallet mine"),
        format!("aitbc wallet allow {friend} 1 --wallet mine"),
    ] {
        thief.types(&line).refuses(4, "the password does not open");
    }
    assert_eq!(available(&user), "100.000000");
    // The faucet's record is all that there is, and the next number is free.
    for kind in ["sent", "locked", "allowed"] {
        assert_eq!(count(&user, kind), 0, "{kind}");
    }
    let _owner = user
        .types(&format!("aitbc wallet send {OTHER} 1"))
        .succeeds();
}
