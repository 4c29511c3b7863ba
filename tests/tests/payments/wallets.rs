//! What the wallet commands say and refuse before any money moves.

use super::{OTHER, available, count, network_and_user, scripted, wallet};

#[test]
fn money_goes_to_nobody_only_for_those_who_insist() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    for nobody in [
        "0x0000000000000000000000000000000000000000",
        "0x0000000000000000000000000000000000000001",
        "0x000000000000000000000000000000000000dEaD",
        "0xffffffffffffffffffffffffffffffffffffffff",
    ] {
        user.types(&format!("aitbc wallet send {nobody} 1"))
            .refuses(2, "nobody can have the key of");
    }
    assert_eq!(
        (available(&user).as_str(), count(&user, "sent")),
        ("100.000000", 0)
    );
    let _burned = user
        .types("aitbc wallet send 0x000000000000000000000000000000000000dEaD 1 --force")
        .succeeds();
    assert_eq!(available(&user), "99.000000");
}

#[test]
fn secrets_go_to_no_folder_that_is_not_there() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let nowhere = network.folder().join("not-mounted");
    let file = nowhere.join("file");
    let file = file.display();
    for line in [
        format!("aitbc wallet create --name other --seed-phrase-file {file}"),
        format!("aitbc wallet export --keystore {file}"),
        format!("aitbc wallet export --private-key-file {file}"),
    ] {
        user.types(&line).refuses(4, "there is no folder");
    }
    assert!(!nowhere.exists());
    user.types("aitbc wallet show other").refuses(5, "other");
}

#[test]
fn a_wallet_is_named_in_one_way_everywhere() {
    let (network, user) = network_and_user();
    let savings = wallet(&network, &user, "savings");
    let active = wallet(&network, &user, "daily");
    assert_ne!(savings, active);
    let _active = user.types("aitbc wallet use daily").succeeds();
    for verb in ["show", "balance"] {
        for (line, expected) in [
            (format!("aitbc wallet {verb} --json"), &active),
            (format!("aitbc wallet {verb} savings --json"), &savings),
            (
                format!("aitbc wallet {verb} --wallet savings --json"),
                &savings,
            ),
        ] {
            let shown = user.types(&line).succeeds().json();
            assert_eq!(shown["address"].as_str(), Some(expected.as_str()), "{line}");
        }
        user.types(&format!("aitbc wallet {verb} savings --wallet daily"))
            .refuses(2, "--wallet");
    }
    let seed = network.folder().join("savings.seed");
    let seed = seed.display();
    for line in [
        "aitbc wallet history --wallet savings".to_owned(),
        format!("aitbc wallet check-backup --wallet savings --seed-phrase-file {seed}"),
        "aitbc wallet export --wallet savings --keystore copy.json".to_owned(),
        format!("aitbc wallet send {OTHER} 1 --wallet savings"),
        "aitbc wallet faucet --amount 1 --wallet savings".to_owned(),
    ] {
        let _done = user.types(&line).succeeds();
    }
    let copied = std::fs::read_to_string(user.home_dir().join("copy.json"));
    let address = savings.trim_start_matches("0x").to_lowercase();
    assert!(copied.expect("it was written").contains(&address));
    let balance = user.types("aitbc wallet balance --wallet savings --json");
    assert_eq!(balance.succeeds().json()["available_ait"], "100.000000");
}

#[test]
fn what_leaves_a_stake_is_shown_with_its_time() {
    let (network, user) = network_and_user();
    wallet(&network, &user, "test_wallet");
    let _registered = user
        .types(r#"aitbc miner register --gpus "1x RTX 4090""#)
        .succeeds();
    let bound = user.types("aitbc wallet bind --json").succeeds().json();
    let miner = bound["identity"].as_str().expect("a key");
    let _staked = user
        .types(&format!("aitbc wallet stake {miner} 10"))
        .succeeds();
    let nothing = user.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(nothing["leaving_ait"], "0.000000");
    let mut sent = Vec::new();
    for amount in [4, 1] {
        let line = format!("aitbc wallet unstake {miner} {amount} --json");
        let unstaked = user.types(&line).succeeds().json();
        sent.push(unstaked["tx_hash"].clone());
    }
    let balance = user.types("aitbc wallet balance --json").succeeds().json();
    for (field, amount) in [
        ("available_ait", "90.000000"),
        ("staked_ait", "10.000000"),
        ("leaving_ait", "5.000000"),
        ("total_ait", "100.000000"),
    ] {
        assert_eq!(balance[field], amount, "{balance}");
    }
    let leaving = balance["leaving"].as_array().expect("a list");
    assert_eq!(leaving.len(), 2, "{balance}");
    for ((one, hash), amount) in leaving.iter().zip(sent).zip(["4.000000", "1.000000"]) {
        assert_eq!(one["tx_hash"], hash, "{balance}");
        assert_eq!(one["amount_ait"], amount, "{balance}");
        assert_eq!(one["miner_key"], miner, "{balance}");
        let week: jiff::Timestamp = one["available_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a time");
        let days = week.duration_since(jiff::Timestamp::now()).as_hours() / 24;
        assert!((6..=7).contains(&days), "{balance}");
    }
    let text = user.types("aitbc wallet balance").succeeds().text();
    let line = "staked     10 AIT, of it leaving: 4 AIT on ";
    assert!(
        text.contains(line) && text.contains(", 1 AIT on "),
        "{text}"
    );
    // Somebody else's stake is nobody else's balance.
    let other = scripted(&network, "other");
    wallet(&network, &other, "theirs");
    let theirs = other.types("aitbc wallet balance --json").succeeds().json();
    assert_eq!(theirs["leaving"], serde_json::json!([]));
}
