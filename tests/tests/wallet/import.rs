//! Wallets of keys that exist already.

use aitbc_common::address::Address;
use aitbc_common::wallet::SeedPhrase;
use aitbc_tests::harness::Network;

use super::{JUNK, JUNK_ADDRESS, JUNK_KEY, PASSWORD, import_junk, private_key, scripted, stored};

#[test]
fn words_keys_and_keystores_give_the_same_wallet() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    assert_eq!(
        import_junk(&network, &user, "words")["address"],
        JUNK_ADDRESS
    );
    let key = network.write("key.txt", JUNK_KEY);
    let imported = user
        .types(&format!(
            "aitbc wallet import --name key --private-key-file {} --json",
            key.display()
        ))
        .succeeds()
        .json();
    assert_eq!(imported["address"], JUNK_ADDRESS);
    let keystore = user.aitbc_home().join("wallets/key.json");
    let imported = user
        .types(&format!(
            "aitbc wallet import --name copy --keystore {} --json",
            keystore.display()
        ))
        .succeeds()
        .json();
    assert_eq!(imported["address"], JUNK_ADDRESS);
    assert_eq!(private_key(&network, &user, "copy"), JUNK_KEY);
    assert_eq!(stored(&user), ["copy", "key", "words"]);
}

#[test]
fn words_can_be_typed_and_have_a_passphrase() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let passphrase = network.write("passphrase", "25th\n");
    let passphrase = passphrase.to_string_lossy();
    let arguments = [
        "wallet",
        "import",
        "--name",
        "old",
        "--passphrase-file",
        &passphrase,
    ];
    let (mut process, keyboard) = user.starts_on_terminal(&arguments);
    process.notes("from word 1: ");
    keyboard.types(JUNK);
    process.notes("from word 13: ");
    keyboard.types("");
    process.notes("New password: ");
    keyboard.types(PASSWORD);
    process.notes("Repeat: ");
    keyboard.types(PASSWORD);
    let output = process.wait().succeeds();
    let expected = SeedPhrase::parse(JUNK)
        .expect("12 words")
        .key("25th")
        .address();
    assert_eq!(
        output.text(),
        format!("Wallet imported and active: old  {expected}\n")
    );
}

#[test]
fn what_an_identity_earned_can_be_had() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    user.types("aitbc wallet import --name x --identity")
        .refuses(5, "identity");
    user.types("aitbc wallet import --name x --identity --miner rig-1")
        .refuses(5, "identity");
    for (option, identity) in [
        ("", user.identity()),
        (" --miner rig-1", user.miner_identity()),
    ] {
        let name = if option.is_empty() { "client" } else { "miner" };
        let line = format!("aitbc wallet import --name {name} --identity{option} --json");
        let imported = user.types(&line).succeeds().json();
        let payee = Address::dev_payee(&identity).to_string();
        assert_eq!(imported["address"], payee);
        let line = format!("aitbc identity show{option} --json");
        let shown = user.types(&line).succeeds().json();
        assert_eq!(shown["development_payee"], payee);
    }
}

#[test]
fn what_is_no_key_is_refused_and_nothing_is_made() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    let file = network.write("file", "nonsense");
    let zeros = network.write("zeros", "0".repeat(64));
    let hostile = network.write(
        "hostile",
        r#"{"version":3,"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"00"},"ciphertext":"00","kdf":"scrypt",
            "kdfparams":{"dklen":32,"n":1099511627776,"r":8,"p":1,"salt":"00"},"mac":"00"}}"#,
    );
    let import = |options: &str| user.types(&format!("aitbc wallet import --name x {options}"));
    let of = |option: &str, path: &std::path::Path| format!("{option} {}", path.display());
    import(&of("--seed-phrase-file", &file)).refuses(4, "12, 15, 18, 21 or 24 words");
    import(&of("--private-key-file", &file)).refuses(4, "64 hexadecimal digits");
    import(&of("--private-key-file", &zeros)).refuses(4, "no private key");
    import(&of("--keystore", &file)).refuses(4, "no keystore file");
    import(&of("--keystore", &hostile)).refuses(4, "too much memory or time");
    import("--keystore /nonexistent").refuses(1, "/nonexistent");
    import("--seed-phrase-file /dev/zero").refuses(4, "4 KiB");
    import("").refuses(4, "--seed-phrase-file");
    import("--identity --keystore x").refuses(2, "--keystore");
    import("--miner rig-1").refuses(2, "--identity");
    let other = user.clone().without("AITBC_WALLET_PASSWORD");
    let line = format!(
        "aitbc wallet import --name x {}",
        of("--private-key-file", &network.write("key", JUNK_KEY))
    );
    other.types(&line).refuses(4, "--password-file");
    assert_eq!(stored(&user), Vec::<String>::new());

    import_junk(&network, &user, "x");
    user.types(&line).refuses(4, "left as it is");
}
