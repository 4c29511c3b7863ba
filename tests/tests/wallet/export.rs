//! Getting a key out again, and who cannot.

use aitbc_tests::harness::Network;

use super::{JUNK_ADDRESS, JUNK_KEY, PASSWORD, import_junk, mode, private_key, scripted};

#[test]
fn a_keystore_is_copied_to_a_new_file() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    import_junk(&network, &user, "junk");
    let copy = network.folder().join("copy.json");
    let line = format!("aitbc wallet export --keystore {}", copy.display());
    // No password: the copy is under the same one.
    let exported = user
        .clone()
        .without("AITBC_WALLET_PASSWORD")
        .types(&format!("{line} --json"))
        .succeeds()
        .json();
    assert_eq!(exported["keystore_file"], *copy.to_string_lossy());
    assert_eq!(mode(&copy), 0o600);
    let original = user.aitbc_home().join("wallets/junk.json");
    assert_eq!(std::fs::read(&copy).ok(), std::fs::read(original).ok());
    user.types(&line).refuses(4, "exists already");
    user.types("aitbc wallet export").refuses(2, "--keystore");
    user.types("aitbc wallet export nobody --keystore x")
        .refuses(5, "nobody");
}

#[test]
fn a_private_key_is_shown_to_a_person_who_says_so() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    import_junk(&network, &user, "junk");
    let arguments = ["wallet", "export", "junk", "--show-private-key"];
    user.run(&arguments).refuses(4, "--private-key-file");
    for (answer, code) in [("yes", 4), ("junk", 0)] {
        let (mut process, keyboard) = user.starts_on_terminal(&arguments);
        process.notes("To show it, type junk: ");
        keyboard.types(answer);
        let output = process.wait().exits(code);
        assert_eq!(
            output.stderr.contains(JUNK_KEY),
            code == 0,
            "{}",
            output.stderr
        );
        assert!(!output.text().contains(JUNK_KEY), "never into a pipe");
    }
    assert_eq!(private_key(&network, &user, "junk"), JUNK_KEY);
}

#[test]
fn a_thief_has_the_file_and_not_the_password() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    import_junk(&network, &user, "junk");
    let stolen = user.aitbc_home().join("wallets/junk.json");
    let text = std::fs::read_to_string(&stolen).expect("stored");
    assert!(!text.contains(&JUNK_KEY[2..]));

    let thief = network.user("thief");
    let folder = thief.aitbc_home().join("wallets");
    std::fs::create_dir_all(&folder).expect("a temporary folder is writable");
    std::fs::copy(&stolen, folder.join("junk.json")).expect("a temporary folder is writable");
    let target = network.folder().join("loot");
    let line = format!(
        "aitbc wallet export junk --private-key-file {}",
        target.display()
    );
    thief.types(&line).refuses(4, "AITBC_WALLET_PASSWORD");
    for guess in ["wrong", " ", "correct horse battery"] {
        let guessing = thief.clone().with("AITBC_WALLET_PASSWORD", guess);
        guessing.types(&line).refuses(4, "does not open");
    }
    let import = format!(
        "aitbc wallet import --name mine --keystore {}",
        stolen.display()
    );
    let guessing = thief.with("AITBC_WALLET_PASSWORD", "wrong");
    guessing.types(&import).refuses(4, "does not open");
    assert!(!target.exists());

    // The owner, at a terminal and by a file.
    let owner = user.without("AITBC_WALLET_PASSWORD");
    let target = target.to_string_lossy();
    let arguments = ["wallet", "export", "junk", "--private-key-file", &target];
    let (mut process, keyboard) = owner.starts_on_terminal(&arguments);
    process.notes("Password of junk: ");
    keyboard.types(PASSWORD);
    let _opened = process.wait().succeeds();
    std::fs::remove_file(&*target).expect("it was written");
    let file = network.write("password", format!("{PASSWORD}\nanother line\n"));
    let _opened = owner
        .types(&format!("{line} --password-file {}", file.display()))
        .succeeds();
}

#[test]
fn a_file_with_another_address_is_not_believed() {
    let network = Network::without_coordinator();
    let user = scripted(&network);
    import_junk(&network, &user, "junk");
    let file = user.aitbc_home().join("wallets/junk.json");
    let text = std::fs::read_to_string(&file).expect("stored");
    let (real, other) = (JUNK_ADDRESS[2..].to_lowercase(), "11".repeat(20));
    std::fs::write(&file, text.replace(&real, &other)).expect("writable");
    user.types("aitbc wallet export junk --private-key-file x")
        .refuses(4, JUNK_ADDRESS);
}
