//! Making a wallet, and checking one's copy of its words.

use aitbc_common::wallet::SeedPhrase;
use aitbc_tests::harness::{Network, Stream, User};

use super::{JUNK, JUNK_ADDRESS, PASSWORD, import_junk, mode, scripted, stored, words_on};

/// Creates a wallet as a person does: what went to stdout, and what the terminal showed.
fn create(user: &User, options: &[&str]) -> (String, String) {
    let mut arguments = vec!["wallet", "create", "--name", "test_wallet"];
    arguments.extend(options);
    let (mut process, keyboard) = user.starts_on_terminal(&arguments);
    process.notes("New password: ");
    keyboard.types(PASSWORD);
    process.notes("Repeat: ");
    keyboard.types(PASSWORD);
    let output = process.wait().succeeds();
    assert!(keyboard.echoes());
    assert!(!output.stderr.contains(PASSWORD), "{}", output.stderr);
    (output.text(), output.stderr)
}

#[test]
fn a_person_sees_the_words_once_and_checks_the_copy() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let (stdout, screen) = create(&user, &[]);
    let phrase = words_on(&screen);
    let address = phrase.key("").address();
    assert_eq!(
        stdout,
        format!("Wallet created and active: test_wallet  {address}\n")
    );
    assert!(screen.contains("Write these 24 words on paper"), "{screen}");
    assert!(
        screen.contains("check your copy: aitbc wallet check-backup\r\n"),
        "{screen}"
    );
    let file = user.aitbc_home().join("wallets/test_wallet.json");
    assert_eq!(mode(&file), 0o600);
    let wallet = user.home().wallets().get("test_wallet").expect("stored");
    assert_eq!(
        wallet.unlock(PASSWORD).expect("its password").address(),
        address
    );

    let (mut check, keyboard) = user.starts_on_terminal(&["wallet", "check-backup"]);
    let words: Vec<&str> = phrase.words().collect();
    for (row, words) in words.chunks(6).enumerate() {
        check.notes(&format!("from word {}: ", row * 6 + 1));
        keyboard.types(&words.join(" "));
    }
    let checked = check.wait().succeeds();
    assert!(checked.text().contains("✓ your copy opens test_wallet"));
    // Each row goes away again: the terminal ends on the last erased one.
    assert!(
        checked.stderr.contains("\r\x1b[K24 words"),
        "{}",
        checked.stderr
    );
}

#[test]
fn the_words_never_go_into_a_pipe() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let (stdout, screen) = create(&user, &["--json"]);
    let phrase = words_on(&screen);
    let document: serde_json::Value = serde_json::from_str(&stdout).expect("one document");
    let fields: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(
        fields,
        [
            "name",
            "address",
            "active",
            "keystore_file",
            "seed_phrase_file",
            "faucet_ait"
        ]
    );
    assert_eq!(document["address"], phrase.key("").address().to_string());
    assert!(document["seed_phrase_file"].is_null() && document["active"] == true);
}

#[test]
fn without_a_terminal_it_refuses_before_anything_is_made() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let seed = network.folder().join("seed.txt");
    let with_seed = format!(
        "aitbc wallet create --name x --seed-phrase-file {}",
        seed.display()
    );
    user.types("aitbc wallet create --name x")
        .refuses(4, "--seed-phrase-file");
    user.types(&with_seed).refuses(4, "AITBC_WALLET_PASSWORD");
    let scripted = scripted(&network);
    scripted
        .types("aitbc wallet create --name x")
        .refuses(4, "--seed-phrase-file");
    user.clone()
        .with("AITBC_WALLET_PASSWORD", "")
        .types(&with_seed)
        .refuses(4, "empty");
    assert!(!seed.exists() && !user.aitbc_home().exists());
}

#[test]
fn a_script_gets_the_words_in_a_new_file() {
    let network = Network::without_coordinator();
    let seed = network.folder().join("seed.txt");
    let user = scripted(&network).with("AITBC_SEED_PHRASE_FILE", &seed.to_string_lossy());
    let made = user
        .types("aitbc wallet create --name test_wallet --json")
        .succeeds();
    assert!(made.stderr.is_empty(), "{}", made.stderr);
    let document = made.json();
    assert_eq!(mode(&seed), 0o600);
    let phrase = SeedPhrase::parse(&std::fs::read_to_string(&seed).expect("written"));
    let address = phrase.expect("24 words").key("").address();
    assert_eq!(document["address"], address.to_string());
    assert_eq!(document["seed_phrase_file"], *seed.to_string_lossy());
    // The same file, now as the copy that is checked.
    let checked = user.types("aitbc wallet check-backup --json").succeeds();
    assert_eq!(checked.json()["backup"], "valid");

    user.types("aitbc wallet create --name second")
        .refuses(4, "exists already");
    let other = network.folder().join("other.txt");
    user.types(&format!(
        "aitbc wallet create --name test_wallet --seed-phrase-file {}",
        other.display()
    ))
    .refuses(4, "left as it is");
    assert!(!other.exists());
    assert_eq!(stored(&user), ["test_wallet"]);
}

#[test]
fn a_person_who_gives_up_or_mistypes_has_made_nothing() {
    let network = Network::without_coordinator();
    let user = network.user("me");
    let arguments = ["wallet", "create", "--name", "x"];
    for (first, second, code, part) in [
        ("\x03", None, 130, "given up"),
        ("\x04", None, 4, "ended"),
        ("\r", None, 4, "empty"),
        ("one\r", Some("two\r"), 4, "not the same"),
    ] {
        let (mut process, keyboard) = user.starts_on_terminal(&arguments);
        process.notes("New password: ");
        assert!(!keyboard.echoes());
        keyboard.press(first);
        if let Some(second) = second {
            process.notes("Repeat: ");
            keyboard.press(second);
        }
        let output = process.wait().exits(code);
        assert!(output.stderr.contains(part), "{}", output.stderr);
        assert!(keyboard.echoes(), "the terminal is as it was");
    }
    assert!(!user.aitbc_home().join("wallets").exists());
}

#[test]
fn a_copy_that_is_wrong_is_found_out() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    import_junk(&network, &user, "junk");
    let check = |words: &str| {
        let file = network.write("copy.txt", words);
        user.types(&format!(
            "aitbc wallet check-backup --seed-phrase-file {}",
            file.display()
        ))
    };
    let right = check(&format!("  {}\n", JUNK.to_uppercase())).succeeds();
    assert!(right.text().contains(JUNK_ADDRESS));
    let other = SeedPhrase::from_entropy(&[7; 32]);
    check(&other.text()).refuses(4, &other.key("").address().to_string());
    check(&JUNK.replace("junk", "jnuk")).refuses(4, "may be meant to be junk");
    check(&JUNK.replace("junk", "test")).refuses(4, "do not belong together");
    check("test").refuses(4, "12, 15, 18, 21 or 24 words");
    user.types("aitbc wallet check-backup")
        .refuses(4, "--seed-phrase-file");
    user.types("aitbc wallet check-backup nobody")
        .refuses(5, "nobody");

    // At a terminal a mistake is told at once, and the row can be typed again.
    let (mut process, keyboard) = user.starts_on_terminal(&["wallet", "check-backup"]);
    process.notes("from word 1: ");
    keyboard.types("test tset");
    process.notes("word 2 is not in the list");
    keyboard.types("test test test test test test");
    process.wait_for(Stream::Stderr, "second row", |screen| {
        screen.contains("from word 7: ").then_some(())
    });
    keyboard.types("test test test test test junk");
    process.notes("from word 13: ");
    keyboard.types("");
    assert!(process.wait().succeeds().text().contains(JUNK_ADDRESS));
}

#[test]
fn a_passphrase_makes_another_wallet_of_the_same_words() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    std::fs::write(user.home_dir().join("word"), "TREZOR\n").expect("a folder");
    let made = user
        .types("aitbc wallet create --name safe --seed-phrase-file seed.txt --passphrase-file word --json")
        .succeeds()
        .json();
    let text = std::fs::read_to_string(user.home_dir().join("seed.txt")).expect("the words");
    let phrase = SeedPhrase::parse(&text).expect("24 words");
    let (with, without) = (phrase.key("TREZOR").address(), phrase.key("").address());
    assert_eq!(made["address"], with.to_string());
    assert_ne!(with, without);
    let check = "aitbc wallet check-backup safe --seed-phrase-file seed.txt";
    user.types(check).refuses(4, &without.to_string());
    let _same = user
        .types(&format!("{check} --passphrase-file word"))
        .succeeds();
    user.types(
        "aitbc wallet create --name other --seed-phrase-file other.txt --passphrase-file none",
    )
    .refuses(1, "cannot read none");
}
